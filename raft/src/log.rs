//! The durable Raft log: entries, vote, and whose directory it is, in `raft.db`.
//!
//! One thread owns the file. It drains a bounded queue into one transaction and one sync, then completes everything
//! that was in it; so many appends share a sync, and writes are strictly ordered as Raft demands. The tail of the log
//! stays in memory for replication. SQLite in WAL mode with `synchronous=FULL`: why this and not a log of our own is
//! in `docs/adr`.
//!
//! Invariants. L1: what was reported complete is on disk. L2: the log has no holes between `purged` and `last`.
//! L3: a failed write or sync ends the process: what the disk then holds is unknown, and a second sync may lie.
//! L4: entries in memory below `flushed` may be forgotten, others never.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bincode::{Decode, Encode};
use futures::stream::{self, Stream, StreamExt};
use openraft::OptionalSend;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use tokio::sync::{mpsc, oneshot};

use crate::config::{APPEND_BYTES_MAX, LOG_TAIL_BYTES, NodeId};
use crate::types::{ClusterId, LogEntry, LogId, TypeConfig, Vote};

mod file;
mod lock;
mod wal;
mod writer;

use self::file::Reader;
pub use self::file::{OpenLogError, OpenOptions, open};
pub use self::lock::{DirectoryLock, LockError};
use self::writer::Job;

/// Jobs that wait for the log's thread. One more waits for room: openraft itself bounds what is in flight.
const QUEUE_MAX: usize = 1_024;
/// What an entry in memory costs beside its payload, about.
const ENTRY_OVERHEAD_BYTES: usize = 128;

/// Whose directory this is. Written once when a directory is made, and once more when it joins a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Identity {
    /// The cluster; none before `init` or `join`.
    pub cluster: Option<ClusterId>,
    /// The member's number.
    pub node: NodeId,
    /// Random, made with the directory.
    pub directory: u128,
}

/// What to do when the log cannot be written any more. The default logs it and aborts the process (L3).
pub type FailureHandler = Arc<dyn Fn(&io::Error) + Send + Sync>;

/// The log. Cheap to clone; all clones are one log.
#[derive(Clone)]
pub struct LogStore {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
}

/// What clones, readers and the thread share.
struct Shared {
    path: PathBuf,
    memory: Mutex<Memory>,
    reader: Mutex<Reader>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What is known without the disk. Ahead of it: see [`Memory::flushed`].
struct Memory {
    identity: Option<Identity>,
    /// Which opening of the file this is, from 1.
    boot: u64,
    vote: Option<Vote>,
    committed: Option<LogId>,
    purged: Option<LogId>,
    last: Option<LogId>,
    /// Consecutive, ending at `last`.
    tail: VecDeque<(LogEntry, usize)>,
    tail_bytes: usize,
    /// The first index that is not known to be on disk.
    flushed: u64,
    failed: Option<String>,
}

impl LogStore {
    /// Whose directory it is; none: it is new.
    pub fn identity(&self) -> Option<Identity> {
        self.memory().identity
    }

    /// Which run of this node it is, from 1: counted on disk, so a later run has a greater number.
    pub fn boot(&self) -> u64 {
        self.memory().boot
    }

    /// Says whose directory it is. Returns when it is on disk.
    pub async fn set_identity(&self, identity: Identity) -> io::Result<()> {
        self.wait(|done| Job::Identity { identity, done }).await?;
        self.memory().identity = Some(identity);
        Ok(())
    }

    /// Whether the directory has taken part in a cluster: it has a vote or entries.
    pub fn is_pristine(&self) -> bool {
        let memory = self.memory();
        memory.vote.is_none() && memory.last.is_none()
    }

    /// The id of the last entry.
    pub fn last_log_id(&self) -> Option<LogId> {
        self.memory().last
    }

    /// The vote.
    pub fn vote(&self) -> Option<Vote> {
        self.memory().vote
    }

    /// Writes what is pending and closes the file. What is asked for later fails. Blocks until the thread has ended.
    pub async fn close(&self) -> io::Result<()> {
        let closed = self.wait(|done| Job::Close { done }).await;
        let thread = self.shared.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            joined.map_err(io::Error::other)?.map_err(|_| io::Error::other("the log's thread panicked"))?;
        }
        closed
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.shared.memory()
    }

    /// Sends a job and waits until it is on disk.
    async fn wait(&self, job: impl FnOnce(oneshot::Sender<io::Result<()>>) -> Job) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.send(job(done)).await?;
        answer.await.unwrap_or_else(|_| Err(self.shared.failure()))
    }

    async fn send(&self, job: Job) -> io::Result<()> {
        self.jobs.send(job).await.map_err(|_| self.shared.failure())
    }
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        // A panic while it was held is a broken invariant, and the process is ending.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&self) -> io::Error {
        let failed = self.memory().failed.clone();
        let why = failed.unwrap_or_else(|| "it was closed".to_owned());
        io::Error::other(format!("the log `{}` takes no more: {why}", self.path.display()))
    }
}

impl Memory {
    /// The index of the first entry in memory; that after the last if there is none.
    fn tail_first(&self) -> u64 {
        self.tail.front().map_or_else(|| next_index(self.last.as_ref()), |(entry, _)| entry.log_id.index)
    }

    /// The index of the first entry that was not purged.
    fn first(&self) -> u64 {
        next_index(self.purged.as_ref())
    }

    fn push(&mut self, entry: LogEntry) {
        let bytes = entry_bytes(&entry);
        self.last = Some(entry.log_id);
        self.tail_bytes += bytes;
        self.tail.push_back((entry, bytes));
    }

    /// Forgets the oldest entries that are on disk until the tail is small enough (L4).
    fn trim(&mut self) {
        while self.tail_bytes > LOG_TAIL_BYTES
            && self.tail.front().is_some_and(|(entry, _)| entry.log_id.index < self.flushed)
        {
            let (_, bytes) = self.tail.pop_front().expect("looked at above");
            self.tail_bytes -= bytes;
        }
    }

    fn truncate_after(&mut self, last: Option<LogId>) {
        if next_index(last.as_ref()) > next_index(self.last.as_ref()) {
            return;
        }
        let keep = next_index(last.as_ref());
        while self.tail.back().is_some_and(|(entry, _)| entry.log_id.index >= keep) {
            let (_, bytes) = self.tail.pop_back().expect("looked at above");
            self.tail_bytes -= bytes;
        }
        self.last = last.or(self.purged);
        self.flushed = self.flushed.min(keep);
    }

    fn purge(&mut self, upto: LogId) {
        while self.tail.front().is_some_and(|(entry, _)| entry.log_id.index <= upto.index) {
            let (_, bytes) = self.tail.pop_front().expect("looked at above");
            self.tail_bytes -= bytes;
        }
        self.purged = Some(upto);
        if self.last.is_none_or(|last| last.index <= upto.index) {
            // A snapshot was installed that reaches beyond the log.
            self.last = Some(upto);
        }
    }

    /// Entries of `[start, end)` that are in memory, up to `bytes_max` but at least one.
    fn entries(&self, start: u64, end: u64, bytes_max: usize) -> Vec<LogEntry> {
        let skip = usize::try_from(start.saturating_sub(self.tail_first())).unwrap_or(usize::MAX);
        let mut bytes = 0;
        let wanted = self.tail.iter().skip(skip).take_while(|(entry, size)| {
            let fits = bytes == 0 || bytes + size <= bytes_max;
            bytes += size;
            fits && entry.log_id.index < end
        });
        wanted.map(|(entry, _)| entry.clone()).collect()
    }
}

impl LogStore {
    /// Entries of `[start, end)` as far as the log has them, up to `bytes_max` but at least one.
    async fn read(&self, start: u64, end: u64, bytes_max: usize) -> io::Result<Vec<LogEntry>> {
        let (start, disk_end) = {
            let memory = self.memory();
            let start = start.max(memory.first());
            let end = end.min(next_index(memory.last.as_ref()));
            if start >= end {
                return Ok(Vec::new());
            }
            if start >= memory.tail_first() {
                return Ok(memory.entries(start, end, bytes_max));
            }
            (start, end.min(memory.tail_first()))
        };
        let shared = Arc::clone(&self.shared);
        let read = move || {
            let mut reader = shared.reader.lock().unwrap_or_else(PoisonError::into_inner);
            reader.entries(start, disk_end, bytes_max)
        };
        let entries = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        if entries.is_empty() {
            // Purged meanwhile.
            return Ok(self.memory().entries(disk_end, end, bytes_max));
        }
        Ok(entries)
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<LogEntry>, io::Error> {
        let (mut start, end) = bounds(&range);
        let mut entries = Vec::new();
        loop {
            let chunk = self.read(start, end, APPEND_BYTES_MAX).await?;
            let Some(last) = chunk.last() else { return Ok(entries) };
            start = last.log_id.index + 1;
            entries.extend(chunk);
        }
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        Ok(self.memory().vote)
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<LogEntry>, io::Error> {
        self.read(start, end, APPEND_BYTES_MAX).await
    }

    /// In chunks: what is applied after a long stop may not fit into memory.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<LogEntry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (start, end) = bounds(&range);
        let chunks = stream::try_unfold((self.clone(), start), move |(log, start)| async move {
            let chunk = log.read(start, end, APPEND_BYTES_MAX).await?;
            let Some(last) = chunk.last() else { return Ok::<_, io::Error>(None) };
            let next = last.log_id.index + 1;
            Ok(Some((chunk, (log, next))))
        });
        let entries = chunks.flat_map(|chunk| match chunk {
            Ok(entries) => stream::iter(entries.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(error) => stream::iter(vec![Err(error)]),
        });
        Box::pin(entries)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let memory = self.memory();
        Ok(LogState { last_purged_log_id: memory.purged, last_log_id: memory.last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let vote = *vote;
        self.wait(|done| Job::Vote { vote, done }).await?;
        // After the disk: a reader must not see a vote that a crash takes back.
        self.memory().vote = Some(vote);
        Ok(())
    }

    /// Written with an append now and then, and at close, so it costs no sync of its own. After a crash it may lag: a
    /// node serves nothing before it has caught up with what a quorum committed.
    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        self.memory().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        Ok(self.memory().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = LogEntry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut records = Vec::new();
        {
            let mut memory = self.memory();
            for entry in entries {
                let expected = next_index(memory.last.as_ref());
                let index = entry.log_id.index;
                assert!(memory.last.is_none() || index == expected, "L2: entry {index} after {expected} - 1");
                records.push((index, file::encode_entry(&entry)));
                memory.push(entry);
            }
        }
        self.send(Job::Append { records, done: callback }).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        self.memory().truncate_after(last_log_id);
        let keep = next_index(last_log_id.as_ref());
        self.wait(|done| Job::Truncate { keep, done }).await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        self.memory().purge(log_id);
        self.wait(|done| Job::Purge { upto: log_id, done }).await
    }
}

fn next_index(id: Option<&LogId>) -> u64 {
    id.map_or(0, |id| id.index + 1)
}

fn entry_bytes(entry: &LogEntry) -> usize {
    ENTRY_OVERHEAD_BYTES
        + match &entry.payload {
            openraft::EntryPayload::Blank => 0,
            openraft::EntryPayload::Normal(bytes) => bytes.0.len(),
            openraft::EntryPayload::Membership(membership) => {
                membership.nodes().count() * ENTRY_OVERHEAD_BYTES
            }
        }
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}
