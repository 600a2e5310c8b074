//! The machine: one thread that owns catalog and row store, applies what the log commits, and writes what the leader
//! proposes.
//!
//! A batch of entries is applied in one SQLite transaction together with the position that it reaches; then the view
//! is published and watchers are woken; then whoever proposed is answered. The same thread captures row writes, so
//! that nothing can change between the state that a write is captured upon and its proposal.
//!
//! M1: the file's `applied` is the position of exactly the entries whose effects are in it.
//! M2: a published view is never older than one published before.
//! M3: an entry that does not decode, a changeset that does not apply, or a broken invariant ends the node: one that
//! may be wrong must not answer.

use std::collections::BTreeSet;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use futures::{FutureExt, Stream, StreamExt};
use grantd_catalog::id::Version;
use grantd_catalog::live::{Live, Reader};
use grantd_catalog::view::View;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, RaftSnapshotBuilder};
use tokio::sync::{oneshot, watch};

use crate::config::NodeId;
use crate::rows::{Readers, SnapshotSource};
use crate::snapshot::{Pinned, SnapshotData, Snapshots};
use crate::types::{
    Applied, ClusterId, LogEntry, LogId, LogIdV1, SnapshotMeta, StoredMembership, StoredMembershipV1,
    TypeConfig,
};

pub use self::core::{
    MachineError, OpenMachineError, history_from_record, time_of_record, version_of_record,
};
pub use self::open::{Answer, leader_lost};
pub use self::recent::{CatalogChange, CatalogChanges, Forgotten, RECORDS_MAX};
pub use self::writer::{Act, Leadership, Proposer, Settle, Settled, SharedWrite, Submission, Work};

mod catalog;
mod core;
mod open;
mod recent;
mod writer;

use self::core::Core;
use self::recent::Recent;
use self::writer::Writer;

/// The most entries that share one transaction.
const APPLY_ENTRIES_MAX: usize = 1_024;
/// The most bytes of entries that share one transaction.
const APPLY_BYTES_MAX: usize = 16 << 20;

/// Called once with the reason when the machine can go on no longer; see M3. In life it ends the process.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// What readers see of the machine, without waiting for it.
pub struct Published {
    live: Live,
    version: watch::Sender<Version>,
    /// The newest version that took rights away, since this node started.
    tightened: watch::Sender<Version>,
    members: ArcSwap<Members>,
    recent: Mutex<Recent>,
}

/// The members as of the newest applied entry.
#[derive(Clone, Debug, Default)]
pub struct Members {
    /// The membership and its entry.
    pub stored: StoredMembership,
    /// Who was a member and is none any more. Their ids are never used again.
    pub removed: BTreeSet<NodeId>,
}

impl Published {
    fn new(view: View, members: Members) -> Self {
        let version = watch::Sender::new(view.version());
        let tightened = watch::Sender::new(view.version());
        let recent = Mutex::new(Recent::since(view.version()));
        Self { live: Live::new(view), version, tightened, members: ArcSwap::new(Arc::new(members)), recent }
    }

    /// The newest view.
    pub fn view(&self) -> Arc<View> {
        self.live.load_full()
    }

    /// The newest view, for one decision: nothing is counted that other threads count too.
    pub fn guard(&self) -> Guard<Arc<View>> {
        self.live.load()
    }

    /// A way to the newest view for one thread that decides often.
    pub fn reader(&self) -> Reader {
        self.live.reader()
    }

    /// The newest version, and each later one.
    pub fn watch(&self) -> watch::Receiver<Version> {
        self.version.subscribe()
    }

    /// The newest version that took rights away, and each later one.
    pub fn watch_tightened(&self) -> watch::Receiver<Version> {
        self.tightened.subscribe()
    }

    /// The members.
    pub fn members(&self) -> Arc<Members> {
        self.members.load_full()
    }

    /// Which records of the catalog changed after `version`, as much as is told at once. It has at least what a view has
    /// that was loaded before.
    pub fn changes_after(&self, version: Version) -> Result<CatalogChanges, Forgotten> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).after(version)
    }

    /// To be published next; none: nobody knows what changed.
    fn remember(&self, changes: Option<Vec<CatalogChange>>, complete_to: Version) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        match changes {
            Some(changes) => recent.add(changes, complete_to),
            None => *recent = Recent::since(complete_to),
        }
    }

    fn publish(&self, view: Arc<View>, members: Option<Members>, tightened: bool) {
        if let Some(members) = members {
            self.members.store(Arc::new(members));
        }
        let version = view.version();
        if version > self.live.load().version() {
            self.live.publish(view);
        }
        self.version.send_replace(version);
        if tightened {
            self.tightened.send_replace(version);
        }
    }
}

/// What the thread is asked. The channel has no bound of its own: openraft has one request under way at a time,
/// submissions hold a permit each, and of the rest there is one at a time.
enum Job {
    Apply(Vec<EntryResponder<TypeConfig>>, oneshot::Sender<io::Result<()>>),
    State(oneshot::Sender<(Option<LogId>, StoredMembership)>),
    Pin(oneshot::Sender<io::Result<(SnapshotSource, Position)>>),
    Install(SnapshotData, oneshot::Sender<io::Result<()>>),
    SetCluster(ClusterId, oneshot::Sender<io::Result<()>>),
    Lead(Box<dyn Proposer>),
    Submit(Submission),
    /// Of the transaction with this number.
    Act(u64, Box<Act>),
    Settled(Settled),
    LeaderChanged,
    Stop,
}

type Position = (Option<LogIdV1>, StoredMembershipV1);

/// The way to the thread.
#[derive(Clone)]
pub struct Machine {
    jobs: mpsc::Sender<Job>,
    published: Arc<Published>,
    readers: Arc<Readers>,
    pins: Arc<Readers>,
    held: Arc<AtomicBool>,
}

/// What the machine is opened with.
pub struct MachineParts {
    /// The file, opened.
    pub store: crate::rows::Store,
    /// Where snapshots are copied to.
    pub snapshots: Arc<Snapshots>,
    /// The cluster, once it is known.
    pub cluster: Arc<OnceLock<ClusterId>>,
    /// See [`OnFatal`].
    pub on_fatal: OnFatal,
    /// See [`crate::config::Tuning`].
    pub transaction_time: Duration,
}

impl Machine {
    /// Loads the catalog from the file and starts the thread. The second value is openraft's side.
    pub fn start(parts: MachineParts) -> Result<(Self, StateMachine, JoinHandle<()>), OpenMachineError> {
        let MachineParts { store, snapshots, cluster, on_fatal, transaction_time } = parts;
        let (readers, pins) = (store.readers(), store.pins());
        let core = Core::load(store, Arc::clone(&snapshots), &cluster)?;
        let published = Arc::clone(core.published());
        let (jobs, queue) = mpsc::channel();
        let writer = Writer::new(jobs.clone(), transaction_time);
        let held = writer.held();
        let thread = std::thread::Builder::new()
            .name("grantd-machine".to_owned())
            .spawn(move || {
                let thread = Thread { core, writer, on_fatal: Arc::clone(&on_fatal), failed: None };
                // Nobody knows what a panic left behind: the node must not go on, nor wait for a thread that is gone.
                if catch_unwind(AssertUnwindSafe(|| thread.run(&queue))).is_err() {
                    on_fatal("the machine's thread panicked; this is a bug, and the log above says where");
                }
            })
            .map_err(OpenMachineError::Thread)?;
        let machine = Self { jobs: jobs.clone(), published, readers, pins, held };
        Ok((machine, StateMachine { jobs, snapshots, cluster }, thread))
    }

    /// What is published.
    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// The pool of readers of the row store.
    pub fn readers(&self) -> &Arc<Readers> {
        &self.readers
    }

    /// The pool of readers for snapshots that stay.
    pub fn pins(&self) -> &Arc<Readers> {
        &self.pins
    }

    /// Asks the open transaction `number`. If the machine has stopped the answer's sender is dropped.
    pub fn transact(&self, number: u64, act: Act) {
        let _ = self.jobs.send(Job::Act(number, Box::new(act)));
    }

    /// Whether a transaction holds the writer.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Gives the writer its way to propose.
    pub fn lead(&self, proposer: Box<dyn Proposer>) {
        // A stopped thread has dropped its queue, and nobody waits for an answer.
        let _ = self.jobs.send(Job::Lead(proposer));
    }

    /// Queues a proposal or a write. If the machine has stopped the answer's sender is dropped.
    pub fn submit(&self, submission: Submission) {
        let _ = self.jobs.send(Job::Submit(submission));
    }

    /// Tells the writer that leadership may have changed.
    pub fn leader_changed(&self) {
        let _ = self.jobs.send(Job::LeaderChanged);
    }

    /// Records whose file this is.
    pub async fn set_cluster(&self, cluster: ClusterId) -> io::Result<()> {
        ask(&self.jobs, |answer| Job::SetCluster(cluster, answer)).await?
    }

    /// Stops the thread after what was asked before.
    pub fn stop(&self) {
        let _ = self.jobs.send(Job::Stop);
    }
}

async fn ask<T>(jobs: &mpsc::Sender<Job>, job: impl FnOnce(oneshot::Sender<T>) -> Job) -> io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    let stopped = || io::Error::other("the machine has stopped");
    jobs.send(job(sender)).map_err(|_| stopped())?;
    receiver.await.map_err(|_| stopped())
}

struct Thread {
    core: Core,
    writer: Writer,
    on_fatal: OnFatal,
    /// Set by M3: from then on nothing is applied, answered or proposed.
    failed: Option<String>,
}

impl Thread {
    fn run(mut self, queue: &mpsc::Receiver<Job>) {
        while let Some(first) = self.wait(queue) {
            // Everything that is there: proposals that came meanwhile share the next entry.
            let mut next = Some(first);
            while let Some(job) = next {
                if matches!(job, Job::Stop) {
                    return;
                }
                self.handle(job);
                next = queue.try_recv().ok();
            }
            if self.failed.is_none()
                && let Err(error) = self.writer.step(&mut self.core)
            {
                self.fail(&error);
            }
        }
    }

    /// The next job. None: whoever could ask is gone.
    fn wait(&self, queue: &mpsc::Receiver<Job>) -> Option<Job> {
        let Some(deadline) = self.writer.deadline() else { return queue.recv().ok() };
        match queue.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(job) => Some(job),
            // The step that follows ends the transaction.
            Err(mpsc::RecvTimeoutError::Timeout) => Some(Job::LeaderChanged),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
        }
    }

    fn handle(&mut self, job: Job) {
        // A receiver that is gone has lost interest.
        match job {
            Job::Apply(entries, answer) => {
                let _ = answer.send(self.apply(entries));
            }
            Job::State(answer) => {
                let _ = answer.send(self.core.state());
            }
            Job::Pin(answer) => {
                let _ = answer.send(self.core.pin().map_err(io::Error::other));
            }
            Job::Install(snapshot, answer) => {
                let _ = answer.send(self.install(snapshot));
            }
            Job::SetCluster(cluster, answer) => {
                let _ = answer.send(self.core.set_cluster(cluster).map_err(io::Error::other));
            }
            Job::Lead(proposer) => self.writer.lead(proposer),
            Job::Submit(submission) => self.writer.submit(submission),
            Job::Act(number, act) => {
                if self.failed.is_none()
                    && let Err(error) = self.writer.act(&mut self.core, number, *act)
                {
                    self.fail(&error);
                }
            }
            Job::Settled(settled) => self.writer.settled(settled),
            // The step that follows looks at it.
            Job::LeaderChanged | Job::Stop => {}
        }
    }

    fn apply(&mut self, entries: Vec<EntryResponder<TypeConfig>>) -> io::Result<()> {
        self.working()?;
        let (entries, responders): (Vec<LogEntry>, Vec<_>) = entries.into_iter().unzip();
        let replies = self.core.apply(&entries).map_err(|error| self.fail(&error))?;
        for (reply, responder) in replies.into_iter().zip(responders) {
            if let Some(responder) = responder {
                responder.send(Applied(reply));
            }
        }
        Ok(())
    }

    fn install(&mut self, snapshot: SnapshotData) -> io::Result<()> {
        self.working()?;
        let file = snapshot.into_file()?;
        self.core.install(&file).map_err(|error| self.fail(&error))
    }

    fn working(&self) -> io::Result<()> {
        match &self.failed {
            None => Ok(()),
            Some(reason) => Err(io::Error::other(reason.clone())),
        }
    }

    fn fail(&mut self, error: &MachineError) -> io::Error {
        let reason = error.to_string();
        if self.failed.is_none() {
            tracing::error!(%reason, "the replicated state cannot be kept up to date, and the node stops");
            self.failed = Some(reason.clone());
            (self.on_fatal)(&reason);
        }
        io::Error::other(reason)
    }
}

/// Openraft's side of the machine.
pub struct StateMachine {
    jobs: mpsc::Sender<Job>,
    snapshots: Arc<Snapshots>,
    cluster: Arc<OnceLock<ClusterId>>,
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        ask(&self.jobs, Job::State).await
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        while let Some(first) = entries.next().await {
            let first = first?;
            let mut bytes = size_of_entry(&first.0);
            let mut batch = vec![first];
            while batch.len() < APPLY_ENTRIES_MAX && bytes < APPLY_BYTES_MAX {
                // Only what is there: the first must not wait for the last.
                let Some(Some(next)) = entries.next().now_or_never() else { break };
                let next = next?;
                bytes += size_of_entry(&next.0);
                batch.push(next);
            }
            ask(&self.jobs, |answer| Job::Apply(batch, answer)).await??;
        }
        Ok(())
    }

    async fn try_create_snapshot_builder(&mut self, _force: bool) -> Option<Builder> {
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        // The position is the one of now, before the next batch is applied.
        Builder(Mutex::new(Some(self.pin().await)))
    }

    async fn install_snapshot(&mut self, _: &SnapshotMeta, snapshot: SnapshotData) -> Result<(), io::Error> {
        ask(&self.jobs, |answer| Job::Install(snapshot, answer)).await?
    }

    /// What a member gets that needs one is the state as it is now, perhaps newer than the snapshot that was taken last: the log
    /// that follows it is there in any case.
    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        match self.applied_state().await? {
            (None, _) => Ok(None),
            (Some(_), _) => Ok(Some(with_meta(self.pin().await?)?)),
        }
    }
}

impl StateMachine {
    async fn pin(&self) -> io::Result<Pinned> {
        let cluster = self.cluster.get().copied();
        let cluster = cluster.ok_or_else(|| io::Error::other("there is no cluster yet"))?;
        let (source, (last, membership)) = ask(&self.jobs, Job::Pin).await??;
        Ok(Pinned { source, cluster, last, membership, snapshots: Arc::clone(&self.snapshots) })
    }
}

fn size_of_entry(entry: &LogEntry) -> usize {
    match &entry.payload {
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
        EntryPayload::Normal(bytes) => bytes.0.len(),
    }
}

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotData>;

fn with_meta(pinned: Pinned) -> io::Result<Snapshot> {
    Ok(openraft::storage::Snapshot { meta: pinned.meta()?, snapshot: SnapshotData::Pinned(pinned) })
}

/// Takes one snapshot, which copies nothing: openraft wants its position, see [`crate::snapshot`].
///
/// In a lock because openraft wants to share what it builds with, and a connection is for one thread at a time.
pub struct Builder(Mutex<Option<io::Result<Pinned>>>);

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let pinned = self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        with_meta(pinned.ok_or_else(|| io::Error::other("a builder builds one snapshot"))??)
    }
}

#[cfg(test)]
mod tests;
