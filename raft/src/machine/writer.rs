//! Writing: how proposals and row writes become entries, on the leader.
//!
//! One batch is in flight at a time. A row write is captured upon the applied state while nothing is in flight, so
//! the state it was captured upon is the one it is applied to; its `base` and the fence of the leader's term let the
//! log prove that, and where they do not hold nothing changes.
//!
//! W1: a submission is answered once: with what came of it, with why nothing was proposed, or as unknown.
//! W2: "nothing was proposed" is said only of what never reached the log.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use grantd_catalog::command::{Command, Done, Outcome};
use grantd_catalog::id::{Timestamp, Version};
use grantd_catalog::refusal::{Refusal, state as sqlstate};
use tokio::sync::{Mutex, OwnedSemaphorePermit, oneshot};

use crate::codec;
use crate::config::{BATCH_ITEMS_MAX, BATCH_TIME_MAX, ENTRY_BYTES_MAX, NodeId};
use crate::entry::{Body, Entry, Proposal, Reply, RowChange};
use crate::machine::Job;
use crate::machine::core::{Core, MachineError, RETRY};
use crate::rows::Captured;
use crate::types::{CommittedLeaderId, EntryBytes};
use crate::write::{Receipt, RowWrite, Unavailable};

/// How often a row write is captured before its client is told to run it again.
const ATTEMPTS_MAX: u32 = 4;
/// Room in an entry for what is not in its items.
const ENTRY_OVERHEAD_BYTES: usize = 1_024;

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
}

struct Waiting {
    work: Work,
    answer: oneshot::Sender<Result<Receipt, Unavailable>>,
    taken: Arc<AtomicBool>,
    attempts: u32,
    /// Of a row write that changes nothing, run upon others of its batch: what came of it, told when they are applied.
    /// Until then it has seen what nobody may see.
    unchanged: Option<Vec<Outcome>>,
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

/// The queue, and what is in flight.
pub(super) struct Writer {
    jobs: mpsc::Sender<Job>,
    proposer: Option<Box<dyn Proposer>>,
    queue: VecDeque<Waiting>,
    /// Empty: nothing is in flight.
    in_flight: Vec<Waiting>,
}

/// A batch that is about to be proposed.
struct Batch {
    body: Body,
    items: Vec<Waiting>,
}

impl Writer {
    pub(super) fn new(jobs: mpsc::Sender<Job>) -> Self {
        Self { jobs, proposer: None, queue: VecDeque::new(), in_flight: Vec::new() }
    }

    pub(super) fn lead(&mut self, proposer: Box<dyn Proposer>) {
        self.proposer = Some(proposer);
    }

    pub(super) fn submit(&mut self, submission: Submission) {
        let Submission { work, answer, taken, permit } = submission;
        self.queue.push_back(Waiting { work, answer, taken, attempts: 0, unchanged: None, _permit: permit });
    }

    /// Answers the clients of the batch in flight, or queues again, first, what has to be captured anew.
    pub(super) fn settled(&mut self, settled: Settled) {
        let items = std::mem::take(&mut self.in_flight);
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
        let began = Instant::now();
        while self.in_flight.is_empty() && !self.queue.is_empty() {
            if began.elapsed() >= BATCH_TIME_MAX {
                // Here again when what came meanwhile is done.
                let _ = self.jobs.send(Job::LeaderChanged);
                return Ok(());
            }
            let Some(proposer) = &self.proposer else { return Ok(()) };
            let leader = match proposer.leadership() {
                Leadership::Follows(leader) => {
                    for waiting in self.queue.drain(..) {
                        waiting.answer(Err(Unavailable::NotLeader { leader }));
                    }
                    return Ok(());
                }
                // Until its first entry is applied, entries of leaders before it may still come.
                Leadership::Leads(leader) if core.applied().is_none_or(|id| id.leader_id != leader) => {
                    return Ok(());
                }
                Leadership::Leads(leader) => leader,
            };
            if let Some(batch) = self.next_batch(core)? {
                self.propose(leader, batch, core.last_time());
            }
        }
        Ok(())
    }

    fn propose(&mut self, leader: CommittedLeaderId, batch: Batch, last: Timestamp) {
        let Some(proposer) = &self.proposer else { return };
        let entry = Entry { time: stamp(last), body: batch.body };
        let settle = Settle { jobs: self.jobs.clone(), told: false };
        // In flight before it is proposed: the answer may be there before this returns.
        self.in_flight = batch.items;
        if !proposer.propose(leader, EntryBytes::seal(&entry), settle) {
            for item in std::mem::take(&mut self.in_flight) {
                item.answer(Err(Unavailable::Busy));
            }
        }
    }

    /// None: what was first in the queue needed no entry.
    fn next_batch(&mut self, core: &mut Core) -> Result<Option<Batch>, MachineError> {
        match self.queue.front().map(|waiting| &waiting.work) {
            None => Ok(None),
            Some(Work::Catalog(_)) => self.catalog_batch(core),
            Some(Work::Rows(_)) => self.rows_batch(core),
        }
    }

    /// A proposal that makes tables is a batch of its own: they are tried upon exactly the state that they are for.
    fn catalog_batch(&mut self, core: &mut Core) -> Result<Option<Batch>, MachineError> {
        let (mut proposals, mut items, mut bytes) = (Vec::new(), Vec::new(), ENTRY_OVERHEAD_BYTES);
        while items.len() < BATCH_ITEMS_MAX
            && let Some(waiting) = self.queue.pop_front()
        {
            let Work::Catalog(proposal) = &waiting.work else {
                self.queue.push_front(waiting);
                break;
            };
            let size = codec::encode(proposal).len();
            let tables = makes_tables(proposal);
            if (bytes + size > ENTRY_BYTES_MAX || tables) && !items.is_empty() {
                self.queue.push_front(waiting);
                break;
            }
            if !waiting.take() {
                continue;
            }
            if ENTRY_OVERHEAD_BYTES + size > ENTRY_BYTES_MAX {
                waiting.done(core.view().version(), vec![Outcome::Refused(too_large(size))]);
                continue;
            }
            if tables && let Some(refusal) = core.try_tables(proposal)? {
                waiting.done(core.view().version(), vec![Outcome::Refused(refusal)]);
                continue;
            }
            bytes += size;
            proposals.push(proposal.clone());
            items.push(waiting);
            if tables {
                break;
            }
        }
        Ok((!items.is_empty()).then_some(Batch { body: Body::Catalog(proposals), items }))
    }

    /// Runs the writes at the front of the queue one after another, each on what the one before left, takes their
    /// changes and undoes them.
    fn rows_batch(&mut self, core: &mut Core) -> Result<Option<Batch>, MachineError> {
        let (base, version) = (core.last_data(), core.view().version());
        let (mut changes, mut items, mut bytes) = (Vec::new(), Vec::new(), ENTRY_OVERHEAD_BYTES);
        core.store().begin()?;
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
        core.store().rollback()?;
        Ok((!items.is_empty()).then_some(Batch { body: Body::Rows { base, items: changes }, items }))
    }
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

type Ran = (grantd_catalog::command::Actor, grantd_catalog::require::Requirement);

fn capture(
    core: &mut Core,
    write: &SharedWrite,
) -> Result<Option<Captured<Ran, crate::write::WriteRefused>>, MachineError> {
    let mut held = write.blocking_lock();
    let Some(write) = held.as_mut() else { return Ok(None) };
    let view = Arc::clone(core.view());
    Ok(Some(core.store().capture(|rows| write.run(&view, rows))?))
}

fn makes_tables(proposal: &Proposal) -> bool {
    let makes =
        |command: &Command| matches!(command, Command::CreateTable { .. } | Command::CreateSequence { .. });
    proposal.commands.iter().any(makes)
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

fn exhausted() -> Refusal {
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
