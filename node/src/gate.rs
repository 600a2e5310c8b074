//! The only way from a statement to the cluster: an act needs a [`Permit`], and only the gate makes one, from an allow.
//!
//! Reading rows takes a permit that is decided again if the rows are newer than the view it was decided on. A write
//! of rows is decided on the exact view it is captured upon, and again where it is applied. Catalog commands carry
//! their own checks; the gate runs them on a copy of the catalog first, so that most refusals never enter the log.
//!
//! What is decided on which view, so that nothing is allowed by a right whose taking away was reported:
//!
//! | what | view |
//! |---|---|
//! | a statement, each EXECUTE, a login, SHOW | [`Gate::view`], asked for after it came |
//! | a query with `grantd.read`, a check | the newest applied one, told if [`Gate::is_current`] afterwards; else [`Gate::asked`] |
//! | rows that are newer than the permit | the newest applied one, which is newer than the permit's |
//! | a change, where it is applied | the one before it in the log |
//! | what a session begins with, how it is displayed, ending sessions that may not log in | the newest applied one: they allow nothing |
//! | more rows of a portal, FETCH from a cursor | that of its first execution: the rows were read then |

mod past;
mod transaction;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use bytes::Bytes;
use grantd_catalog::command::{Actor, Outcome};
use grantd_catalog::decide::{Decision, decide};
use grantd_catalog::id::{Timestamp, Version};
use grantd_catalog::refusal::{Refusal, SqlState};
use grantd_catalog::require::Requirement;
use grantd_catalog::view::View;
use grantd_raft::entry::Proposal;
use grantd_raft::handle::{
    CatalogChanges, Forgotten, ForwardHandler, Handle, ReadSet, Receipt, RowWrite, Status, TransactionError,
    Unavailable, WriteRefused,
};
use grantd_raft::rows::Transaction;

use crate::metrics::Decisions;

/// What the gate needs of a node of the cluster: [`Handle`], and in tests a stand-in of one process.
#[async_trait]
pub trait Replica: Send + Sync + 'static {
    /// This node's number.
    fn node_id(&self) -> u64;
    /// The newest view that was applied here.
    fn view(&self) -> Arc<View>;
    /// Whether what was decided on a view before the call may be told, by this node's own word.
    fn is_current(&self, view: &View) -> bool;
    /// Decides by this node's own word: no change that took rights away and was reported is missing in what the last call
    /// of `decide` saw. False: it has no such word now.
    fn decide(&self, decide: &mut dyn FnMut(&View)) -> bool {
        let view = self.view();
        decide(&view);
        self.is_current(&view)
    }
    /// Which records of the catalog changed after a version; at least those that a view has that was loaded before.
    fn changes_after(&self, version: Version) -> Result<CatalogChanges, Forgotten> {
        Err(Forgotten(version))
    }
    /// A view that contains everything acknowledged before the call.
    async fn linearizable(&self) -> Result<Arc<View>, Unavailable>;
    /// The same, for who would rather be refused than wait: a node that knows that it is cut off says so at once.
    async fn linearizable_soon(&self) -> Result<Arc<View>, Unavailable> {
        self.linearizable().await
    }
    /// A view of at least `version`.
    async fn at_least(&self, version: Version) -> Result<Arc<View>, Unavailable>;
    /// Proposes catalog changes.
    async fn propose(&self, proposal: Proposal) -> Result<Receipt, Unavailable>;
    /// Runs a write of rows, on the leader.
    async fn write_rows(&self, write: Box<dyn RowWrite>) -> Result<Receipt, Unavailable>;
    /// Runs `read` on a consistent snapshot of the rows.
    async fn read_rows(&self, read: RowRead) -> Result<(), Unavailable>;
    /// Runs `read` on the change history of a consistent snapshot.
    async fn past(&self, read: PastRead) -> Result<(), Unavailable> {
        drop(read);
        Err(Unavailable::NotInitialized)
    }
    /// Keeps a snapshot of the rows as they are now.
    async fn pin(&self) -> Result<Box<dyn Snapshot>, Unavailable>;
    /// Begins a transaction, on the leader, when its turn comes. The refusal: what it read has changed.
    async fn begin(&self, read: Option<ReadSet>) -> Result<Result<Box<dyn Writer>, Refusal>, Unavailable>;
    /// Sends a request to the leader.
    async fn forward(&self, request: Bytes, timeout: Duration) -> Result<Bytes, Unavailable>;
    /// Who answers what others forward.
    fn serve_forwards(&self, handler: Arc<dyn ForwardHandler>);
    /// Asks one member about itself; the error says why there is no answer.
    async fn ask(&self, node: u64, question: Bytes, timeout: Duration) -> Result<Bytes, String> {
        let _ = (question, timeout);
        Err(format!("node {node} is not a member"))
    }
    /// Asks every other member, at once.
    async fn ask_others(&self, question: Bytes, timeout: Duration) -> Vec<(u64, Result<Bytes, String>)> {
        let _ = (question, timeout);
        Vec::new()
    }
    /// Who answers what others ask about this node.
    fn serve_questions(&self, handler: Arc<dyn ForwardHandler>) {
        drop(handler);
    }
    /// How the cluster is, as this node knows; none: it is in none.
    fn status(&self) -> Option<Status> {
        None
    }
}

/// How fresh an answer must be. Whatever is asked for, nothing is missing in it that was taken away, and reported, before it
/// was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// As this node knows it. Costs nothing while the node holds a read lease.
    #[default]
    Local,
    /// With at least this version.
    AtLeast(Version),
    /// With everything that was acknowledged before: a round trip to the leader.
    Linearizable,
}

/// A snapshot of the rows that is kept until it is dropped.
#[async_trait]
pub trait Snapshot: Send + Sync {
    /// The catalog of its version.
    fn view(&self) -> Arc<View>;
    /// Runs `read` on it.
    async fn read(&mut self, read: PinnedRead) -> Result<(), Unavailable>;
}

/// A read of the rows of a snapshot.
pub type PinnedRead = Box<dyn FnOnce(&mut dyn Transaction) + Send>;

/// A transaction that holds the leader's writer; dropped, it is rolled back.
#[async_trait]
pub trait Writer: Send {
    /// The version that it was opened upon.
    fn base(&self) -> Version;
    /// The newest catalog, with the transaction's own changes of it.
    async fn view(&mut self) -> Result<Arc<View>, TransactionError>;
    /// Runs a change, or a read of what was changed so far.
    async fn run(&mut self, write: Box<dyn RowWrite>) -> Result<(), TransactionError>;
    /// Changes the catalog.
    async fn propose(&mut self, proposal: Proposal) -> Result<Vec<Outcome>, TransactionError>;
    /// A number for where it is; 0 is where it began.
    async fn mark(&mut self) -> Result<u32, TransactionError>;
    /// Takes back everything after a place where it was.
    async fn roll_back_to(&mut self, mark: u32) -> Result<(), TransactionError>;
    /// Ends it; all of it takes effect, or nothing.
    async fn commit(self: Box<Self>) -> Result<Receipt, Unavailable>;
}

/// A read of rows, told the version of its snapshot.
pub type RowRead = Box<dyn FnOnce(Version, &mut dyn Transaction) + Send>;

#[async_trait]
impl Replica for Handle {
    fn node_id(&self) -> u64 {
        Handle::node_id(self)
    }

    fn view(&self) -> Arc<View> {
        Handle::view(self)
    }

    fn is_current(&self, view: &View) -> bool {
        Handle::is_current(self, view)
    }

    fn decide(&self, decide: &mut dyn FnMut(&View)) -> bool {
        Handle::decide(self, decide).is_ok()
    }

    fn changes_after(&self, version: Version) -> Result<CatalogChanges, Forgotten> {
        Handle::changes_after(self, version)
    }

    async fn linearizable(&self) -> Result<Arc<View>, Unavailable> {
        Handle::linearizable(self).await
    }

    async fn linearizable_soon(&self) -> Result<Arc<View>, Unavailable> {
        Handle::linearizable_soon(self).await
    }

    async fn at_least(&self, version: Version) -> Result<Arc<View>, Unavailable> {
        Handle::at_least(self, version).await
    }

    async fn propose(&self, proposal: Proposal) -> Result<Receipt, Unavailable> {
        Handle::propose(self, proposal).await
    }

    async fn write_rows(&self, write: Box<dyn RowWrite>) -> Result<Receipt, Unavailable> {
        Handle::write_rows(self, write).await.1
    }

    async fn read_rows(&self, read: RowRead) -> Result<(), Unavailable> {
        Handle::read_rows(self, read).await
    }

    async fn past(&self, read: PastRead) -> Result<(), Unavailable> {
        Handle::past(self, read).await
    }

    async fn pin(&self) -> Result<Box<dyn Snapshot>, Unavailable> {
        Ok(Box::new(Handle::pin(self).await?))
    }

    async fn begin(&self, read: Option<ReadSet>) -> Result<Result<Box<dyn Writer>, Refusal>, Unavailable> {
        match Handle::begin(self, read).await? {
            Ok(open) => Ok(Ok(transaction::marked(open))),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    async fn forward(&self, request: Bytes, timeout: Duration) -> Result<Bytes, Unavailable> {
        Handle::forward(self, request, timeout).await
    }

    fn serve_forwards(&self, handler: Arc<dyn ForwardHandler>) {
        Handle::serve_forwards(self, handler);
    }

    async fn ask(&self, node: u64, question: Bytes, timeout: Duration) -> Result<Bytes, String> {
        Handle::ask(self, node, question, timeout).await
    }

    async fn ask_others(&self, question: Bytes, timeout: Duration) -> Vec<(u64, Result<Bytes, String>)> {
        Handle::ask_others(self, question, timeout).await
    }

    fn serve_questions(&self, handler: Arc<dyn ForwardHandler>) {
        Handle::serve_questions(self, handler);
    }

    fn status(&self) -> Option<Status> {
        Some(Handle::status(self))
    }
}

/// Leave to act on rows: an allow for exactly this actor and requirement, at a version.
#[derive(Debug)]
pub struct Permit {
    actor: Actor,
    requirement: Requirement,
    version: Version,
}

/// Leave to propose exactly these commands: they were tried on a copy of the catalog and none was refused.
#[derive(Debug)]
pub struct CommandPermit {
    proposal: Proposal,
}

pub use self::past::PastRead;
pub use self::transaction::{Begun, Open, Pinned, Stopped, restart};

/// A write of rows as `sql` makes it.
pub trait Write: Send + 'static {
    /// Plans on the exact view that the change will be applied upon, and says what it needs.
    fn plan(&mut self, view: &Arc<View>) -> Result<(Actor, Requirement), Refusal>;
    /// Runs what was planned.
    fn run(&mut self, permit: &Permit, rows: &mut dyn Transaction) -> Result<(), Refusal>;
}

/// What came of a read.
#[derive(Debug)]
pub enum ReadOutcome<T> {
    /// It ran.
    Done(T),
    /// The rows are of this version, and no view that new is here yet: get one, plan and ask again.
    Behind(Version),
}

/// What came of a write.
#[derive(Debug)]
pub enum WriteOutcome {
    /// It is part of this version.
    Written(Version),
    /// This node does not lead; nothing was done.
    NotLeader,
}

const CANNOT_CONNECT_NOW: SqlState = SqlState::new("57P03");
const INSUFFICIENT_RESOURCES: SqlState = SqlState::new("53000");
const COMPLETION_UNKNOWN: SqlState = SqlState::new("40003");
const INTERNAL: SqlState = SqlState::new("XX000");

/// How often a view is looked for that does not change in the same moment, before the leader is asked.
const PINS_MAX: usize = 8;

/// Makes permits, and takes them. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    replica: Arc<dyn Replica>,
    decisions: Decisions,
}

impl Gate {
    /// The gate to `replica`.
    pub fn new(replica: Arc<dyn Replica>) -> Self {
        let decisions = Decisions::of(replica.node_id());
        Self { replica, decisions }
    }

    /// This node's number.
    pub fn node_id(&self) -> u64 {
        self.replica.node_id()
    }

    /// A view that contains everything that was acknowledged before the call.
    pub async fn view(&self) -> Result<Arc<View>, Refusal> {
        self.replica.linearizable().await.map_err(unavailable)
    }

    /// The newest view that this node has applied, which may be stale. For what no change of the catalog can make wrong; for
    /// plans that are decided again elsewhere or later; and for a decision that is told only if [`Self::is_current`] says
    /// after it that it may be.
    pub fn applied_view(&self) -> Arc<View> {
        self.replica.view()
    }

    /// Whether what was decided on `view` before the call may be told without asking the leader: this node's read lease says
    /// that nothing that was taken away is missing in it. False: perhaps, and [`Self::view`] tells.
    pub fn is_current(&self, view: &View) -> bool {
        self.replica.is_current(view)
    }

    /// A view of at least `version`.
    pub async fn at_least(&self, version: Version) -> Result<Arc<View>, Refusal> {
        self.replica.at_least(version).await.map_err(unavailable)
    }

    /// Counts a decision that [`Self::is_current`] let be told.
    pub fn count_local(&self) {
        self.decisions.local.increment(1);
    }

    /// What `decide` says on one view, as fresh as asked for. It may be called again where the view has changed meanwhile;
    /// the last call counts.
    ///
    /// Errors: 57P03, where this node holds no read lease and does not reach the leader.
    pub async fn decide<T>(
        &self,
        freshness: Freshness,
        mut decide: impl FnMut(&View) -> T,
    ) -> Result<T, Refusal> {
        match freshness {
            Freshness::Linearizable => return self.asked().await.map(|view| decide(&view)),
            Freshness::AtLeast(version) => drop(self.at_least(version).await?),
            Freshness::Local => (),
        }
        match self.decide_here(&mut decide) {
            Some(answer) => Ok(answer),
            None => self.asked().await.map(|view| decide(&view)),
        }
    }

    /// As [`Self::view`], for what is decided under the node's own read lease else: in a node that is cut off, whose lease is
    /// over and to whom no leader has said anything for as long as a lease is, it refuses at once (57P03) and waits for no
    /// election.
    pub async fn asked(&self) -> Result<Arc<View>, Refusal> {
        let view = self.replica.linearizable_soon().await.map_err(unavailable);
        self.decisions.asked(&view);
        view
    }

    /// A view to decide a batch on: nothing is missing in it that was taken away, and reported, before the call.
    ///
    /// Errors: as [`Self::decide`].
    pub async fn pinned_view(&self) -> Result<Arc<View>, Refusal> {
        for _ in 0..PINS_MAX {
            let view = self.applied_view();
            match self.decide_here(|newest| newest.version() == view.version()) {
                Some(true) => return Ok(view),
                Some(false) => (),
                None => break,
            }
        }
        self.asked().await
    }

    /// As [`Self::decide`] with [`Freshness::Local`], without waiting. None: this node holds no read lease.
    pub fn decide_here<T>(&self, mut decide: impl FnMut(&View) -> T) -> Option<T> {
        let mut answer = None;
        if !self.replica.decide(&mut |view| answer = Some(decide(view))) {
            return None;
        }
        self.decisions.local.increment(1);
        answer
    }

    /// Which records of the catalog changed after `version`, as much as is told at once.
    pub fn changes_after(&self, version: Version) -> Result<CatalogChanges, Forgotten> {
        self.replica.changes_after(version)
    }

    /// How the cluster is, as this node knows; none: it is in none.
    pub fn status(&self) -> Option<Status> {
        self.replica.status()
    }

    /// Decides on `view`.
    pub fn permit(&self, view: &View, actor: Actor, requirement: &Requirement) -> Result<Permit, Refusal> {
        match decide(view, actor.current, requirement) {
            Decision::Allow => {
                Ok(Permit { actor, requirement: requirement.clone(), version: view.version() })
            }
            Decision::Deny(refusal) => Err(refusal),
        }
    }

    /// Tries the commands on a copy of the catalog. The first refusal is the answer, and nothing is proposed.
    ///
    /// What this node has applied is enough to propose upon, as the command is decided again where it is applied: that
    /// saves the round that a linearizable view costs. It is not enough to refuse upon, so a refusal is made sure of.
    pub async fn permit_commands(&self, proposal: Proposal) -> Result<CommandPermit, Refusal> {
        if tried(&self.replica.view(), &proposal).is_err() {
            tried(self.view().await?.as_ref(), &proposal)?;
        }
        Ok(CommandPermit { proposal })
    }

    /// Proposes what was permitted. It is decided again where it is applied; a refusal there is in the receipt. None: a
    /// transaction holds the writer, or too much waits for it, and nothing was proposed.
    pub async fn propose(&self, permit: CommandPermit) -> Result<Option<Receipt>, Refusal> {
        match self.replica.propose(permit.proposal).await {
            Ok(receipt) => Ok(Some(receipt)),
            Err(Unavailable::Busy) => Ok(None),
            Err(other) => Err(unavailable(other)),
        }
    }

    /// Reads rows. Where they are newer than the permit it is decided again on a view that is at least as new, so
    /// that no row is seen by a right that was taken away before the row was there.
    pub async fn read<T: Send + 'static>(
        &self,
        permit: Permit,
        read: impl FnOnce(&mut dyn Transaction) -> T + Send + 'static,
    ) -> Result<ReadOutcome<T>, Refusal> {
        let answer = Arc::new(Mutex::new(None));
        let (slot, replica) = (Arc::clone(&answer), Arc::clone(&self.replica));
        let guarded = move |version: Version, rows: &mut dyn Transaction| {
            let outcome = match still_allowed(&permit, version, &replica) {
                Ok(true) => Ok(ReadOutcome::Done(read(rows))),
                Ok(false) => Ok(ReadOutcome::Behind(version.max(permit.version))),
                Err(refusal) => Err(refusal),
            };
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        };
        self.replica.read_rows(Box::new(guarded)).await.map_err(unavailable)?;
        let outcome = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        outcome.unwrap_or_else(|| Err(no_answer()))
    }

    /// Reads what is computed from the catalog, on a transaction's own catalog. No stored row may be named: rows are
    /// of another version than that.
    pub async fn read_computed<T: Send + 'static>(
        &self,
        _permit: Permit,
        read: impl FnOnce(&mut dyn Transaction) -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let answer = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&answer);
        let run = move |_: Version, rows: &mut dyn Transaction| {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(read(rows));
        };
        self.replica.read_rows(Box::new(run)).await.map_err(unavailable)?;
        let outcome = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        outcome.ok_or_else(no_answer)
    }

    /// Tries commands on a copy of `view`.
    pub fn try_commands(&self, view: &View, proposal: &Proposal) -> Result<(), Refusal> {
        tried(view, proposal)
    }

    /// Runs a write on the leader. It is given back with what it holds.
    pub async fn write<W: Write>(&self, write: W) -> (Result<WriteOutcome, Refusal>, Option<W>) {
        let shared = Arc::new(Mutex::new(Guarded { write: Some(write), refused: None }));
        let outcome = self.replica.write_rows(Box::new(GuardedWrite(Arc::clone(&shared)))).await;
        let mut guarded = shared.lock().unwrap_or_else(PoisonError::into_inner);
        let write = guarded.write.take();
        let refused = guarded.refused.take();
        let outcome = match outcome {
            // What it said itself counts only where what it was run upon holds.
            Ok(receipt) => match (applied(&receipt), refused) {
                (Err(refusal), _) | (Ok(()), Some(refusal)) => Err(refusal),
                (Ok(()), None) => Ok(WriteOutcome::Written(receipt.version)),
            },
            Err(Unavailable::NotLeader { .. }) => Ok(WriteOutcome::NotLeader),
            Err(other) => Err(unavailable(other)),
        };
        (outcome, write)
    }

    /// Sends a request to the leader. None: there is no leader now, and nothing was done.
    pub async fn forward(&self, request: Bytes, timeout: Duration) -> Result<Option<Bytes>, Refusal> {
        match self.replica.forward(request, timeout).await {
            Ok(answer) => Ok(Some(answer)),
            Err(Unavailable::NotLeader { .. } | Unavailable::NoLeader(_)) => Ok(None),
            Err(other) => Err(unavailable(other)),
        }
    }

    /// Who answers what others forward to this node.
    pub fn serve_forwards(&self, handler: Arc<dyn ForwardHandler>) {
        self.replica.serve_forwards(handler);
    }
}

/// What time the log has, more or less: its leader's clock says, and this is the node's own. For trials, and for guesses of
/// what will be applied.
pub fn log_now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp { nanos: u64::try_from(since.as_nanos()).unwrap_or(u64::MAX), logical: 0 }
}

fn no_answer() -> Refusal {
    Refusal::new(INTERNAL, "a read ended without an answer")
}

/// What the commands would come to on `view`.
fn tried(view: &View, proposal: &Proposal) -> Result<(), Refusal> {
    let mut trial = view.state().clone();
    let next = Version(view.version().0 + 1);
    let now = log_now();
    let mut changes = Vec::new();
    for command in &proposal.commands {
        let outcome = trial.apply(next, now, proposal.actor, &proposal.context, command, &mut changes);
        if let Outcome::Refused(refusal) = outcome {
            return Err(refusal);
        }
    }
    Ok(())
}

/// Whether a permit holds for rows of `version`; `false`: no view is here to say so.
fn still_allowed(permit: &Permit, version: Version, replica: &Arc<dyn Replica>) -> Result<bool, Refusal> {
    if version == permit.version {
        return Ok(true);
    }
    let view = replica.view();
    if version < permit.version || view.version() < version {
        return Ok(false);
    }
    match decide(&view, permit.actor.current, &permit.requirement) {
        Decision::Allow => Ok(true),
        Decision::Deny(refusal) => Err(refusal),
    }
}

/// The refusal of a receipt, if it was refused where it was applied.
pub fn applied(receipt: &Receipt) -> Result<(), Refusal> {
    match receipt.outcomes.last() {
        Some(Outcome::Refused(refusal)) => Err(refusal.clone()),
        Some(Outcome::Done(_)) | None => Ok(()),
    }
}

struct Guarded<W> {
    write: Option<W>,
    refused: Option<Refusal>,
}

struct GuardedWrite<W>(Arc<Mutex<Guarded<W>>>);

impl<W: Write> RowWrite for GuardedWrite<W> {
    fn run(
        &mut self,
        view: &Arc<View>,
        rows: &mut dyn Transaction,
    ) -> Result<(Actor, Requirement), WriteRefused> {
        let mut guarded = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let guarded = &mut *guarded;
        // It may run again on a newer view: an older refusal no longer counts.
        guarded.refused = None;
        let Some(write) = guarded.write.as_mut() else { return Err(WriteRefused) };
        // This runs on the thread that applies what the cluster has agreed on. A bug in planning one client's
        // statement must not stop that; the write is dropped, so nothing that it left half done is used again.
        let ran = catch_unwind(AssertUnwindSafe(|| planned_and_run(write, view, rows)));
        let outcome = ran.unwrap_or_else(|_panic| {
            guarded.write = None;
            Err(Refusal::new(INTERNAL, "the statement met a bug in this node and was not run")
                .with_hint("The node's log has the place. Please report it."))
        });
        outcome.map_err(|error| {
            guarded.refused = Some(error);
            WriteRefused
        })
    }
}

fn planned_and_run<W: Write>(
    write: &mut W,
    view: &Arc<View>,
    rows: &mut dyn Transaction,
) -> Result<(Actor, Requirement), Refusal> {
    let (actor, requirement) = write.plan(view)?;
    match decide(view, actor.current, &requirement) {
        Decision::Deny(refusal) => Err(refusal),
        Decision::Allow => {
            let permit = Permit { actor, requirement, version: view.version() };
            write.run(&permit, rows).map(|()| (permit.actor, permit.requirement))
        }
    }
}

/// What a client is told when nothing can be said.
fn unavailable(error: Unavailable) -> Refusal {
    let message = error.to_string();
    match error {
        Unavailable::NotInitialized => Refusal::new(CANNOT_CONNECT_NOW, message)
            .with_hint("Run `grantd init` on one node, or start this one with `join`."),
        Unavailable::NoLeader(_) | Unavailable::NotLeader { .. } => Refusal::new(CANNOT_CONNECT_NOW, message)
            .with_hint(
                "Nothing was changed. Ask another node, or try again; if it stays so everywhere, most nodes are down.",
            ),
        Unavailable::Busy => {
            Refusal::new(INSUFFICIENT_RESOURCES, message).with_hint("Nothing was changed. Try again.")
        }
        Unavailable::Expired(_) => restart(&message),
        Unavailable::Unknown(_) => Refusal::new(COMPLETION_UNKNOWN, message)
            .with_hint("Look whether the statement took effect before you send it again."),
        Unavailable::Stopping => Refusal::new(CANNOT_CONNECT_NOW, message)
            .with_hint("Nothing was changed. Connect to another node."),
    }
}
