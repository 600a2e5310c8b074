//! The face of this crate for `node`: propose, read at a version, forward to the leader, watch, join, leave, status.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use grantd_catalog::id::Version;
use grantd_catalog::view::View;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::{Semaphore, watch};

use crate::config::{NodeId, Tuning};
use crate::entry::Proposal;
use crate::log::{DirectoryLock, LogStore};
use crate::machine::{Machine, StateMachine};
use crate::metrics::Metrics;
use crate::rows::{Past, Transaction};
use crate::snapshot::Snapshots;
use crate::transport::{Identity, Transport};
use crate::types::{ClusterId, NodeInfo, TypeConfig};

pub use self::lease::{Decider, NoLease};
pub use self::start::{Options, StartError, start, start_with};
pub use self::transaction::{OpenTransaction, PinnedSnapshot};
pub use crate::machine::{CatalogChange, CatalogChanges, Forgotten};
pub use crate::write::{Mark, Ran, ReadSet, Receipt, RowWrite, TransactionError, Unavailable, WriteRefused};

mod ask;
mod grant;
mod lease;
mod members;
mod propose;
mod reads;
mod service;
mod start;
mod status;
mod transaction;

/// Openraft, as we configure it.
type Raft = openraft::Raft<TypeConfig, StateMachine>;

/// Serves what other nodes send to this one: statements that they forward while it leads, or questions about itself.
pub trait ForwardHandler: Send + Sync {
    /// Answers one request. Never fails: what goes wrong is part of the answer's bytes.
    fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Bytes>;
}

/// A member as status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its number.
    pub id: NodeId,
    /// Where its peers reach it.
    pub raft_address: String,
    /// Where clients reach it.
    pub sql_address: String,
    /// Whether it counts in every quorum; a learner only follows, and while the members change so do those that come
    /// or go.
    pub voter: bool,
    /// The last entry that the leader knows it has; none: unknown, as this node does not lead.
    pub matched: Option<u64>,
    /// Milliseconds since the leader heard of it; none: unknown, as this node does not lead.
    pub heard_ms: Option<u64>,
}

/// The state of this node and, while it leads, of the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// This node.
    pub node_id: NodeId,
    /// The cluster; none before `init` or `join`.
    pub cluster_id: Option<String>,
    /// `leader`, `follower`, `candidate`, `learner` or `shutdown`.
    pub server_state: &'static str,
    /// The current term.
    pub term: u64,
    /// Who leads, as far as is known.
    pub leader: Option<NodeId>,
    /// The last entry in the log.
    pub last_log: u64,
    /// The last entry that was applied: the version.
    pub applied: Version,
    /// The last entry in a snapshot.
    pub snapshot: u64,
    /// The last entry that is not in the log any more; 0: none is gone.
    pub purged: u64,
    /// The members.
    pub members: Vec<Member>,
}

/// What replicas are compared by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksum {
    /// The version that it is of.
    pub version: Version,
    /// CRC-32C over all catalog records in key order.
    pub catalog: u32,
    /// For each table of the row store, by name: its rows in key order.
    pub tables: Vec<(String, u64, u32)>,
}

/// Why an operator's request failed: the fact, the cause and the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct AdminError {
    /// What the operator reads.
    pub message: String,
}

impl AdminError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// A running node. Cheap to clone; the node stops when `shutdown` is called.
#[derive(Clone)]
pub struct Handle {
    node: Arc<Node>,
}

/// What the parts of a running node share.
struct Node {
    id: NodeId,
    info: NodeInfo,
    join: Vec<String>,
    tuning: Tuning,
    directory: PathBuf,
    raft: Raft,
    log: LogStore,
    machine: Machine,
    metrics: Metrics,
    snapshots: Arc<Snapshots>,
    transport: Arc<dyn Transport>,
    cluster: Arc<OnceLock<ClusterId>>,
    /// Holds the node, as a rule: emptied at shutdown, or neither would ever go.
    forwards: std::sync::Mutex<Option<Arc<dyn ForwardHandler>>>,
    /// The same, for questions.
    questions: std::sync::Mutex<Option<Arc<dyn ForwardHandler>>>,
    /// Places for writes that wait.
    places: Arc<Semaphore>,
    /// The number of the next transaction.
    transactions: AtomicU64,
    rounds: reads::Rounds,
    leases: lease::Leases,
    /// One change of the members at a time.
    members: tokio::sync::Mutex<()>,
    /// Why the node cannot go on; none: it can.
    failure: watch::Sender<Option<String>>,
    stopping: watch::Sender<bool>,
    tasks: std::sync::Mutex<Vec<tokio::task::JoinHandle<()>>>,
    thread: std::sync::Mutex<Option<std::thread::JoinHandle<()>>>,
    lock: std::sync::Mutex<Option<DirectoryLock>>,
}

impl Handle {
    /// This node's number.
    pub fn node_id(&self) -> NodeId {
        self.node.id
    }

    /// The newest view that this node has applied. May be stale: for listings of this node's own state only.
    pub fn view(&self) -> Arc<View> {
        self.node.machine.published().view()
    }

    /// A view that contains everything that was acknowledged, by any node, before the call. On a follower: one round
    /// trip to the leader, which confirms itself with a quorum (ReadIndex); concurrent calls share rounds that begin
    /// after they came in.
    pub async fn linearizable(&self) -> Result<Arc<View>, Unavailable> {
        self.node.linearizable().await
    }

    /// A view of at least `version`.
    pub async fn at_least(&self, version: Version) -> Result<Arc<View>, Unavailable> {
        self.node.at_least(version, self.node.deadline()).await
    }

    /// Proposes catalog changes; forwards to the leader if need be. Returns when this node has applied them too, so
    /// that its next read sees them. Dropping the future does not take back what was proposed.
    ///
    /// A proposal that would be refused costs an entry: try it on a [`Self::linearizable`] view before.
    pub async fn propose(&self, proposal: Proposal) -> Result<Receipt, Unavailable> {
        self.node.propose(proposal).await
    }

    /// Runs a write of rows. Only on the leader: elsewhere `NotLeader`, and `node` forwards the statement.
    /// Gives the write back with what it holds (its result or its reason). What it finds unchanged or refuses is as new as
    /// what a read would say: a leader that another one has replaced answers `NotLeader`.
    pub async fn write_rows(
        &self,
        write: Box<dyn RowWrite>,
    ) -> (Box<dyn RowWrite>, Result<Receipt, Unavailable>) {
        self.node.write_rows(write).await
    }

    /// Runs `read` on a consistent snapshot of the rows, of the version that `read` is told, on a thread that may
    /// block. Waits for a free reader.
    pub async fn read_rows<T: Send + 'static>(
        &self,
        read: impl FnOnce(Version, &mut dyn Transaction) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.node.read_rows(read).await
    }

    /// Runs `read` on the change history as this node has applied it, told the version, on a thread that may block. For what others did:
    /// take a [`Self::linearizable`] view first.
    pub async fn past<T: Send + 'static>(
        &self,
        read: impl FnOnce(Version, &Past<'_>) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        self.node.past(read).await
    }

    /// Sends `request` to the leader's [`ForwardHandler`] and waits for its answer, at most `timeout`.
    pub async fn forward(&self, request: Bytes, timeout: Duration) -> Result<Bytes, Unavailable> {
        self.node.forward(request, timeout).await
    }

    /// Sends `request` to one member's [`ForwardHandler`].
    pub async fn send(&self, node: NodeId, request: Bytes, timeout: Duration) -> Result<Bytes, Unavailable> {
        self.node.send(node, request, timeout).await
    }

    /// Who answers what others forward. Until it is set they are told that this node is not ready. The first one
    /// stays.
    pub fn serve_forwards(&self, handler: Arc<dyn ForwardHandler>) {
        let mut forwards = lock(&self.node.forwards);
        if forwards.is_some() {
            tracing::warn!("a second handler of forwarded statements is not used");
        } else if !self.node.is_stopping() {
            *forwards = Some(handler);
        }
    }

    /// Asks one member about itself, through its handler of questions, and waits at most `timeout`; this node too. The
    /// error says why there is no answer.
    pub async fn ask(&self, node: NodeId, question: Bytes, timeout: Duration) -> Result<Bytes, String> {
        self.node.ask(node, question, timeout).await
    }

    /// Asks every other member at once; returns after at most `timeout`. Order: by number.
    pub async fn ask_others(
        &self,
        question: Bytes,
        timeout: Duration,
    ) -> Vec<(NodeId, Result<Bytes, String>)> {
        self.node.ask_others(question, timeout).await
    }

    /// Who answers what others ask about this node. As [`Self::serve_forwards`].
    pub fn serve_questions(&self, handler: Arc<dyn ForwardHandler>) {
        let mut questions = lock(&self.node.questions);
        if questions.is_some() {
            tracing::warn!("a second handler of questions is not used");
        } else if !self.node.is_stopping() {
            *questions = Some(handler);
        }
    }

    /// The applied version, and each later one as it comes.
    pub fn watch(&self) -> watch::Receiver<Version> {
        self.node.machine.published().watch()
    }

    /// Which records of the catalog changed after `version`, from the oldest on, as much as is told at once. It has at least
    /// what [`Self::view`] had before the call.
    pub fn changes_after(&self, version: Version) -> Result<CatalogChanges, Forgotten> {
        self.node.machine.published().changes_after(version)
    }

    /// The state of this node.
    pub fn status(&self) -> Status {
        self.node.status()
    }

    /// Makes a new cluster with this node as its only member. Refused if it is in one.
    pub async fn initialize(&self) -> Result<(), AdminError> {
        self.node.initialize().await
    }

    /// Takes a member out, on the leader. Its number is never used again.
    pub async fn remove(&self, node: NodeId) -> Result<(), AdminError> {
        self.node.remove(node).await
    }

    /// Hands leadership to another voter, if this node leads.
    pub async fn transfer_leadership(&self) -> Result<(), AdminError> {
        self.node.transfer_leadership().await
    }

    /// Takes a snapshot now and waits for it.
    pub async fn snapshot(&self) -> Result<(), AdminError> {
        self.node.snapshot().await
    }

    /// Hashes of the catalog and of each table's rows at the applied version, for comparing replicas.
    pub async fn checksum(&self) -> Result<Checksum, Unavailable> {
        self.node.checksum().await
    }

    /// Waits until the node cannot go on, and says why: it was refused by the cluster that it wants to join, or its
    /// storage failed. The process should then end with that message.
    pub async fn failed(&self) -> String {
        let mut failure = self.node.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            // The node is gone, and with it everybody who could fail it.
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops: no new work, connections closed, files closed.
    pub async fn shutdown(&self) {
        self.node.shutdown().await;
    }

    /// After [`Self::shutdown`]: gives the address for peers back though handles of this node live on. Until then who dials it
    /// is refused at once; afterwards it hears nothing.
    pub async fn release_address(&self) {
        self.node.transport.release().await;
    }
}

impl Node {
    fn identity(&self) -> Identity {
        Identity { cluster_id: self.cluster.get().copied(), node_id: self.id, directory: self.info.directory }
    }

    fn forward_handler(&self) -> Option<Arc<dyn ForwardHandler>> {
        lock(&self.forwards).clone()
    }

    fn question_handler(&self) -> Option<Arc<dyn ForwardHandler>> {
        lock(&self.questions).clone()
    }

    fn deadline(&self) -> tokio::time::Instant {
        tokio::time::Instant::now() + self.tuning.request_timeout
    }

    fn is_stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// The address of a member, as of the newest membership that this node's log has.
    fn member(&self, id: NodeId) -> Option<NodeInfo> {
        let membership = Arc::clone(&self.raft.metrics().borrow_watched().membership_config);
        membership.get_node(&id).cloned()
    }

    /// Who leads, as far as is known.
    fn leader(&self) -> Option<NodeId> {
        self.raft.metrics().borrow_watched().current_leader
    }

    fn fail(&self, reason: String) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                *failure = Some(reason);
            }
            first
        });
    }

    async fn shutdown(&self) {
        // Order: no new work from inside, none from outside, then raft, then what it writes to.
        self.stopping.send_replace(true);
        drop(lock(&self.forwards).take());
        drop(lock(&self.questions).take());
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        for task in tasks {
            task.abort();
            // Aborted or done: either way it is over.
            let _ = task.await;
        }
        self.transport.close().await;
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop in order");
        }
        self.machine.stop();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                tracing::error!("the machine's thread panicked");
            }
        }
        if let Err(error) = self.log.close().await {
            tracing::error!(%error, "the log did not close in order");
        }
        drop(lock(&self.lock).take());
    }
}

/// A panic elsewhere does not make these cells wrong: each is written in one step.
fn lock<T>(cell: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    cell.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
