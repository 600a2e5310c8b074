//! Writing: how proposals and row writes become entries, on the leader.
//!
//! One batch is in flight at a time. A row write is captured upon the applied state while nothing is in flight, so
//! the state it was captured upon is the one it is applied to; its `base` and the fence of the leader's term let the
//! log prove that, and where they do not hold nothing changes.
//!
//! A transaction holds the writer from its turn to its end. Meanwhile only what changes rights, and how jobs are, is
//! proposed; the rest waits. At COMMIT it becomes one entry, or several of which the last one counts.
//!
//! T4: what changes rights only waits for no transaction and costs none its work.
//! T5: what makes a job waits for open transactions, so that the number which one was told is the number that its job has.
//!
//! W1: a submission is answered once: with what came of it, with why nothing was proposed, or as unknown.
//! W2: "nothing was proposed" is said only of what never reached the log.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use grantd_catalog::command::{Actor, Command, Done, Outcome};
use grantd_catalog::id::{Timestamp, Version};
use grantd_catalog::refusal::{Refusal, state as sqlstate};
use grantd_catalog::require::Requirement;
use grantd_catalog::view::View;
use tokio::sync::{Mutex, OwnedSemaphorePermit, oneshot};

use crate::codec;
use crate::config::{BATCH_ITEMS_MAX, BATCH_TIME_MAX, ENTRY_BYTES_MAX, NodeId};
use crate::entry::{Body, Entry, Proposal, Reply, RowChange};
use crate::machine::Job;
use crate::machine::core::{Core, MachineError, RETRY};
use crate::machine::open::{Answer, Open};
use crate::rows::Captured;
use crate::types::{CommittedLeaderId, EntryBytes};
use crate::write::{Mark, Ran, ReadSet, Receipt, RowWrite, Unavailable, WriteRefused};

mod holder;

/// How often a row write is captured before its client is told to run it again.
pub(super) const ATTEMPTS_MAX: u32 = 4;
/// Room in an entry for what is not in its items.
pub(super) const ENTRY_OVERHEAD_BYTES: usize = 1_024;

/// Whether this node may propose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// It may, fenced by this.
    Leads(CommittedLeaderId),
    /// It may not; who may, as far as is known.
    Follows(Option<NodeId>),
}

/// The way into the log.
pub trait Proposer: Send {
    /// Whether this node leads, as far as it knows. Cost: a lock.
    fn leadership(&self) -> Leadership;

    /// Proposes an entry, unless the leader is not `leader` any more. Does not wait. `settle` is called or dropped
    /// once. False: too much is under way, and nothing was proposed; `settle` was dropped.
    fn propose(&self, leader: CommittedLeaderId, entry: EntryBytes, settle: Settle) -> bool;
}

/// What came of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It was applied as this entry.
    Applied {
        /// Its index.
        index: u64,
        /// What came of the items.
        reply: Reply,
    },
    /// It never reached the log.
    NotLeader {
        /// Who leads, as far as is known.
        leader: Option<NodeId>,
    },
    /// It may or may not be applied.
    Unknown(String),
}

/// Tells the writer what came of its batch; when it is dropped untold, that nobody knows.
pub struct Settle {
    jobs: mpsc::Sender<Job>,
    told: bool,
}

impl Settle {
    /// Tells it.
    pub fn tell(mut self, settled: Settled) {
        self.told = true;
        let _ = self.jobs.send(Job::Settled(settled));
    }
}

impl Drop for Settle {
    fn drop(&mut self) {
        if !self.told {
            let unknown = Settled::Unknown("the node stopped before it was applied".to_owned());
            let _ = self.jobs.send(Job::Settled(unknown));
        }
    }
}

/// A row write, shared with its client, who takes it back with what it holds.
pub type SharedWrite = Arc<Mutex<Option<Box<dyn RowWrite>>>>;

/// What is to be written.
pub enum Work {
    /// Catalog changes.
    Catalog(Proposal),
    /// A row write.
    Rows(SharedWrite),
    /// A transaction, to be opened.
    Begin {
        /// Its number, as the node counts them.
        number: u64,
        /// What it read before.
        read: Option<ReadSet>,
    },
}

impl Work {
    /// Whether it is a change of the catalog that waits for open transactions: what changes tables, and what makes jobs (T5).
    pub fn takes_turns(&self) -> bool {
        match self {
            Self::Catalog(proposal) => {
                proposal.commands.iter().any(|command| command.changes_shape() || command.makes_jobs())
            }
            Self::Rows(_) | Self::Begin { .. } => false,
        }
    }
}

/// What is asked of an open transaction. Answers that nobody wants any more are dropped.
pub enum Act {
    /// Run a statement.
    Run(SharedWrite, oneshot::Sender<Answer<Ran>>),
    /// Change the catalog.
    Propose(Proposal, oneshot::Sender<Answer<Vec<Outcome>>>),
    /// The catalog as it has it.
    View(oneshot::Sender<Answer<Arc<View>>>),
    /// A place to come back to.
    Mark(oneshot::Sender<Answer<Mark>>),
    /// To come back to it.
    RollBackTo(Mark, oneshot::Sender<Answer<()>>),
    /// How many bytes its changes take.
    Bytes(oneshot::Sender<Answer<usize>>),
    /// To make it take effect.
    Commit(oneshot::Sender<Result<Receipt, Unavailable>>),
    /// To end it without effect, or not to open it.
    RollBack,
}

/// One client's write, waiting.
pub struct Submission {
    /// What.
    pub work: Work,
    /// Where the answer goes.
    pub answer: oneshot::Sender<Result<Receipt, Unavailable>>,
    /// Set by whoever takes it: the writer, to propose it, or the client, to give it up. Who comes second leaves it.
    pub taken: Arc<AtomicBool>,
    /// Its place in the queue.
    pub permit: OwnedSemaphorePermit,
    /// It is to be proposed by this leader or not at all; none: by whoever leads here then.
    pub fence: Option<CommittedLeaderId>,
}

struct Waiting {
    work: Work,
    /// What came before it has a smaller one.
    turn: u64,
    answer: oneshot::Sender<Result<Receipt, Unavailable>>,
    taken: Arc<AtomicBool>,
    attempts: u32,
    /// Of a row write that changes nothing, run upon others of its batch: what came of it, told when they are applied.
    /// Until then it has seen what nobody may see.
    unchanged: Option<Vec<Outcome>>,
    fence: Option<CommittedLeaderId>,
    _permit: OwnedSemaphorePermit,
}

impl Waiting {
    fn answer(self, answer: Result<Receipt, Unavailable>) {
        // A client that is gone does not want it.
        let _ = self.answer.send(answer);
    }

    fn done(self, version: Version, outcomes: Vec<Outcome>) {
        self.answer(Ok(Receipt { version, outcomes }));
    }

    /// Takes it for proposing, the first time. False: its client gave it up.
    fn take(&self) -> bool {
        self.attempts > 0 || !self.taken.swap(true, Ordering::AcqRel)
    }
}

/// The queues, the transaction that holds the writer, and what is in flight.
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    proposer: Option<Box<dyn Proposer>>,
    transaction_time: Duration,
    turns: u64,
    /// Proposals that no transaction holds up.
    rights: VecDeque<Waiting>,
    /// Row writes, proposals that take turns with transactions, and transactions that are to be opened.
    queue: VecDeque<Waiting>,
    flight: Option<Flight>,
    holder: Holder,
    /// Whether there is one, for those who wait.
    held: Arc<AtomicBool>,
    /// Why the last transaction that was ended from here is over, for its client to hear.
    ended: Option<(u64, Refusal)>,
}

/// Who holds the writer.
enum Holder {
    Nobody,
    Open(Box<Open>),
    Committing(Committing),
}

/// A transaction on its way into the log.
struct Committing {
    /// What is still to be proposed of it.
    entries: VecDeque<Body>,
    turn: u64,
    answer: oneshot::Sender<Result<Receipt, Unavailable>>,
    leader: CommittedLeaderId,
}

/// What is in flight.
enum Flight {
    Batch(Vec<Waiting>),
    /// An entry of the transaction that is committing.
    Transaction,
}

/// A batch that is about to be proposed.
struct Batch {
    body: Body,
    items: Vec<Waiting>,
}

/// Whose turn it is.
enum Next {
    Rights,
    Queue,
    Commit,
}

impl Writer {
    pub(super) fn new(jobs: mpsc::Sender<Job>, transaction_time: Duration) -> Self {
        Self {
            jobs,
            transaction_time,
            proposer: None,
            turns: 0,
            rights: VecDeque::new(),
            queue: VecDeque::new(),
            flight: None,
            holder: Holder::Nobody,
            held: Arc::default(),
            ended: None,
        }
    }

    /// Whether a transaction holds the writer, as it changes.
    pub(super) fn held(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.held)
    }

    /// Returns who held it before.
    fn hand_to(&mut self, holder: Holder) -> Holder {
        self.held.store(!matches!(holder, Holder::Nobody), Ordering::Release);
        std::mem::replace(&mut self.holder, holder)
    }

    pub(super) fn lead(&mut self, proposer: Box<dyn Proposer>) {
        self.proposer = Some(proposer);
    }

    pub(super) fn submit(&mut self, submission: Submission) {
        let Submission { work, answer, taken, permit, fence } = submission;
        let turn = self.turn();
        let queue = if passes_transactions(&work) { &mut self.rights } else { &mut self.queue };
        queue.push_back(Waiting {
            work,
            turn,
            answer,
            taken,
            attempts: 0,
            unchanged: None,
            fence,
            _permit: permit,
        });
    }

    fn turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }

    /// Answers the clients of the batch in flight, or queues again, first, what has to be captured anew.
    pub(super) fn settled(&mut self, settled: Settled) {
        let items = match self.flight.take() {
            None => return,
            Some(Flight::Transaction) => return self.settled_transaction(settled),
            Some(Flight::Batch(items)) => items,
        };
        match settled {
            Settled::Applied { index, reply } => self.applied(Version(index), items, reply),
            Settled::NotLeader { leader } => {
                for item in items {
                    item.answer(Err(Unavailable::NotLeader { leader }));
                }
            }
            Settled::Unknown(reason) => {
                for item in items {
                    let error = match item.unchanged {
                        None => Unavailable::Unknown(reason.clone()),
                        // What it was run upon may be lost: to be run again, wherever the leader is now.
                        Some(_) => Unavailable::NotLeader { leader: None },
                    };
                    item.answer(Err(error));
                }
            }
        }
    }

    /// Answers the items of an applied entry, in which each that changes something has its part of the reply.
    fn applied(&mut self, version: Version, items: Vec<Waiting>, reply: Reply) {
        let (mut reply, mut refused, mut again) = (reply.into_iter(), false, Vec::new());
        for mut item in items {
            let outcomes = match item.unchanged.take() {
                None => reply.next().unwrap_or_default(),
                Some(_) if refused => vec![Outcome::Refused(exhausted())],
                Some(outcomes) => outcomes,
            };
            refused |= outcomes.iter().any(|outcome| matches!(outcome, Outcome::Refused(_)));
            let retry = matches!(item.work, Work::Rows(_)) && outcomes.iter().any(is_retry);
            if retry && item.attempts < ATTEMPTS_MAX {
                again.push(item);
            } else {
                item.done(version, outcomes);
            }
        }
        debug_assert!(reply.next().is_none(), "one reply for each item that changes something");
        for item in again.into_iter().rev() {
            self.queue.push_front(item);
        }
    }

    /// Proposes the next batch if this node leads, nothing is in flight, and something waits. Writes that need no
    /// entry do not keep the thread from its other work for long.
    pub(super) fn step(&mut self, core: &mut Core) -> Result<(), MachineError> {
        self.check_holder(core)?;
        let began = Instant::now();
        while self.flight.is_none()
            && let Some(next) = self.next()
        {
            if began.elapsed() >= BATCH_TIME_MAX {
                // Here again when what came meanwhile is done.
                let _ = self.jobs.send(Job::LeaderChanged);
                return Ok(());
            }
            let Some(proposer) = &self.proposer else { return Ok(()) };
            let leader = match proposer.leadership() {
                Leadership::Follows(leader) => {
                    for waiting in self.rights.drain(..).chain(self.queue.drain(..)) {
                        waiting.answer(Err(Unavailable::NotLeader { leader }));
                    }
                    return self.check_holder(core);
                }
                // Until its first entry is applied, entries of leaders before it may still come.
                Leadership::Leads(leader) if core.applied().is_none_or(|id| id.leader_id != leader) => {
                    return Ok(());
                }
                Leadership::Leads(leader) => leader,
            };
            match next {
                Next::Commit => self.propose_commit(core.last_time()),
                Next::Rights => {
                    let mut rights = std::mem::take(&mut self.rights);
                    let batch = catalog_batch(core, leader, &mut rights);
                    self.rights = rights;
                    if let Some(batch) = batch? {
                        self.propose(leader, batch, core.last_time());
                    }
                }
                Next::Queue => {
                    if let Some(batch) = self.next_batch(core, leader)? {
                        self.propose(leader, batch, core.last_time());
                    }
                }
            }
        }
        Ok(())
    }

    /// Whose turn it is; none: nobody who waits may go on now.
    fn next(&self) -> Option<Next> {
        let rights = self.rights.front().map(|waiting| (waiting.turn, Next::Rights));
        let other = match &self.holder {
            Holder::Nobody => self.queue.front().map(|waiting| (waiting.turn, Next::Queue)),
            Holder::Open(_) => None,
            Holder::Committing(committing) => Some((committing.turn, Next::Commit)),
        };
        rights.into_iter().chain(other).min_by_key(|(turn, _)| *turn).map(|(_, next)| next)
    }

    fn propose(&mut self, leader: CommittedLeaderId, batch: Batch, last: Timestamp) {
        // In flight before it is proposed: the answer may be there before this returns.
        self.flight = Some(Flight::Batch(batch.items));
        if !self.send(leader, batch.body, last)
            && let Some(Flight::Batch(items)) = self.flight.take()
        {
            for item in items {
                item.answer(Err(Unavailable::Busy));
            }
        }
    }

    /// False: nothing was proposed.
    fn send(&self, leader: CommittedLeaderId, body: Body, last: Timestamp) -> bool {
        let Some(proposer) = &self.proposer else { return false };
        let entry = Entry { time: stamp(last), body };
        let settle = Settle { jobs: self.jobs.clone(), told: false };
        proposer.propose(leader, EntryBytes::seal(&entry), settle)
    }

    /// None: what was first in the queue needed no entry.
    fn next_batch(
        &mut self,
        core: &mut Core,
        leader: CommittedLeaderId,
    ) -> Result<Option<Batch>, MachineError> {
        match self.queue.front().map(|waiting| &waiting.work) {
            None => Ok(None),
            Some(Work::Catalog(_)) => catalog_batch(core, leader, &mut self.queue),
            Some(Work::Rows(_)) => self.rows_batch(core),
            Some(Work::Begin { .. }) => {
                self.open(core, leader);
                Ok(None)
            }
        }
    }

    /// Runs the writes at the front of the queue one after another, each on what the one before left, takes their
    /// changes and undoes them.
    fn rows_batch(&mut self, core: &mut Core) -> Result<Option<Batch>, MachineError> {
        let (base, version) = (core.last_data(), core.view().version());
        let (mut changes, mut items, mut bytes) = (Vec::new(), Vec::new(), ENTRY_OVERHEAD_BYTES);
        core.store().begin_captures()?;
        let began = Instant::now();
        while items.len() < BATCH_ITEMS_MAX
            && began.elapsed() < BATCH_TIME_MAX
            && let Some(mut waiting) = self.queue.pop_front()
        {
            let Work::Rows(write) = &waiting.work else {
                self.queue.push_front(waiting);
                break;
            };
            if !waiting.take() {
                continue;
            }
            let write = Arc::clone(write);
            waiting.attempts += 1;
            match capture(core, &write)? {
                // Its client gave it up and took it back.
                None => {}
                Some(Captured::Refused(_)) => unchanged(waiting, version, Vec::new(), &mut items),
                Some(Captured::Changed(_, changeset)) if changeset.is_empty() => {
                    unchanged(waiting, version, vec![Outcome::Done(Done::default())], &mut items);
                }
                Some(Captured::Changed((actor, requirement), changeset)) => {
                    let size = changeset.len() + codec::encode(&requirement).len();
                    if bytes + size > ENTRY_BYTES_MAX {
                        // Its changes must not be seen by what comes after it: the batch ends here.
                        if items.is_empty() {
                            waiting.done(version, vec![Outcome::Refused(too_large(size))]);
                        } else {
                            self.queue.push_front(waiting);
                        }
                        break;
                    }
                    bytes += size;
                    changes.push(RowChange { actor, requirement, changeset });
                    items.push(waiting);
                }
                // The transaction is gone, but what was captured before it holds: it is undone in any case.
                Some(Captured::Lost(Err(_))) => {
                    unchanged(waiting, version, Vec::new(), &mut items);
                    break;
                }
                Some(Captured::Lost(Ok(_))) => {
                    if waiting.attempts < ATTEMPTS_MAX {
                        self.queue.push_front(waiting);
                    } else {
                        waiting.done(version, vec![Outcome::Refused(exhausted())]);
                    }
                    break;
                }
            }
        }
        core.suspend()?;
        Ok((!items.is_empty()).then_some(Batch { body: Body::Rows { base, items: changes }, items }))
    }
}

/// A proposal that changes the shape of things is a batch of its own: what it does to the row store is tried upon exactly
/// the state that it is for.
fn catalog_batch(
    core: &mut Core,
    leader: CommittedLeaderId,
    queue: &mut VecDeque<Waiting>,
) -> Result<Option<Batch>, MachineError> {
    let (mut proposals, mut items, mut bytes) = (Vec::new(), Vec::new(), ENTRY_OVERHEAD_BYTES);
    while items.len() < BATCH_ITEMS_MAX
        && let Some(waiting) = queue.pop_front()
    {
        let Work::Catalog(proposal) = &waiting.work else {
            queue.push_front(waiting);
            break;
        };
        let size = codec::encode(proposal).len();
        let alone = !passes_transactions(&waiting.work) || proposal.commands.iter().any(Command::is_tried);
        if (bytes + size > ENTRY_BYTES_MAX || alone) && !items.is_empty() {
            queue.push_front(waiting);
            break;
        }
        if !waiting.take() {
            continue;
        }
        if waiting.fence.is_some_and(|fence| fence != leader) {
            waiting.answer(Err(Unavailable::NotLeader { leader: None }));
            continue;
        }
        if ENTRY_OVERHEAD_BYTES + size > ENTRY_BYTES_MAX {
            waiting.done(core.view().version(), vec![Outcome::Refused(too_large(size))]);
            continue;
        }
        if alone && let Some(refusal) = core.try_storage(proposal)? {
            waiting.done(core.view().version(), vec![Outcome::Refused(refusal)]);
            continue;
        }
        bytes += size;
        proposals.push(proposal.clone());
        items.push(waiting);
        if alone {
            break;
        }
    }
    Ok((!items.is_empty()).then_some(Batch { body: Body::Catalog(proposals), items }))
}

/// Answers a write that changes nothing: now if nothing was run before it, else with what was.
fn unchanged(mut waiting: Waiting, version: Version, outcomes: Vec<Outcome>, items: &mut Vec<Waiting>) {
    if items.is_empty() {
        waiting.done(version, outcomes);
    } else {
        waiting.unchanged = Some(outcomes);
        items.push(waiting);
    }
}

type Captures = Captured<(Actor, Requirement), WriteRefused>;

fn capture(core: &mut Core, write: &SharedWrite) -> Result<Option<Captures>, MachineError> {
    let mut held = write.blocking_lock();
    let Some(write) = held.as_mut() else { return Ok(None) };
    let view = Arc::clone(core.view());
    Ok(Some(core.store().capture(|rows| write.run(&view, rows))?))
}

/// Whether no transaction holds it up: rows that are captured before it can be applied after it.
fn passes_transactions(work: &Work) -> bool {
    match work {
        Work::Catalog(_) => !work.takes_turns(),
        Work::Rows(_) | Work::Begin { .. } => false,
    }
}

fn is_retry(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Refused(refusal) if refusal.code == RETRY)
}

/// After everything that is in the log: nothing else is in flight, and a leader proposes only when it has applied
/// what the leaders before it left.
fn stamp(last: Timestamp) -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
    if nanos > last.nanos {
        Timestamp { nanos, logical: 0 }
    } else {
        Timestamp { nanos: last.nanos, logical: last.logical.saturating_add(1) }
    }
}

fn too_large(bytes: usize) -> Refusal {
    Refusal::new(
        sqlstate::PROGRAM_LIMIT_EXCEEDED,
        format!(
            "the statement's changes take {bytes} bytes, and an entry of the log takes {ENTRY_BYTES_MAX}"
        ),
    )
    .with_hint("Change fewer rows with each statement.")
}

pub(super) fn exhausted() -> Refusal {
    Refusal::new(RETRY, "restart transaction: the write was interrupted several times")
        .with_hint("Run the statement again.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_after_the_last_time_also_when_the_clock_is_behind() {
        let ahead = Timestamp { nanos: u64::MAX - 1, logical: 7 };
        assert_eq!(stamp(ahead), Timestamp { nanos: u64::MAX - 1, logical: 8 });
        let behind = Timestamp { nanos: 5, logical: 7 };
        let stamped = stamp(behind);
        assert!(stamped > behind && stamped.logical == 0);
    }
}
