//! The thread that writes: whatever waits becomes one transaction and one sync.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle, Thread};
use std::time::Instant;

use bytes::Bytes;
use openraft::storage::IOFlushed;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use crate::codec::{self, Kind};
use crate::log::file::{RECORD_FORMAT, describe, encode_log_id, sql_index};
use crate::log::{FailureHandler, Identity, QUEUE_MAX, Shared, next_index};
use crate::types::{LogId, TypeConfig, Vote, VoteV1};

/// Entries that one transaction purges, and their bytes: half a log at once would hold up appends for seconds. SQLite
/// reads the whole of an entry that it deletes, for the list of its pages, and by then it is seldom in memory.
const PURGE_ENTRIES: u32 = 1_000;
const PURGE_BYTES: i64 = 256 << 10;
/// How much longer than a slice took the purge rests after it. All members purge at about the same time: without a rest, what they
/// read takes the disk and the processors away from who writes.
const PURGE_REST: u32 = 4;

/// Entries that may be committed before the file says so again: that takes a second page in an append's transaction, and
/// the file lags in any case.
const COMMITTED_LAG: u64 = 64;

/// Answered when the job is on disk, or when the log has failed.
pub(super) type Done = oneshot::Sender<io::Result<()>>;

/// What the thread is asked to write.
pub(super) enum Job {
    /// Entries with their indexes, in order.
    Append { records: Vec<(u64, Bytes)>, done: IOFlushed<TypeConfig> },
    /// The vote.
    Vote { vote: Vote, done: Done },
    /// Whose directory it is.
    Identity { identity: Identity, done: Done },
    /// Forget the entries from index `keep` on.
    Truncate { keep: u64, done: Done },
    /// Forget the entries up to `upto`.
    Purge { upto: LogId, done: Done },
    /// Write what is pending and end.
    Close { done: Done },
}

/// Starts the thread. It ends at [`Job::Close`], when all senders are gone, or after a failure.
pub(super) fn start(
    connection: Connection,
    queue: mpsc::Receiver<Job>,
    shared: Arc<Shared>,
    on_failure: FailureHandler,
) -> io::Result<JoinHandle<()>> {
    // A purge that was under way when the file was closed goes on. If there was none that is one look.
    let (committed, purge) = {
        let memory = shared.memory();
        (memory.committed, memory.purged.map(|id| id.index))
    };
    let next_slice = Instant::now();
    let writer =
        Writer { connection, queue, shared, on_failure, committed, purge, next_slice, appended: None };
    thread::Builder::new().name("log".to_owned()).spawn(move || writer.run())
}

struct Writer {
    connection: Connection,
    queue: mpsc::Receiver<Job>,
    shared: Arc<Shared>,
    on_failure: FailureHandler,
    /// The committed id as it is on disk.
    committed: Option<LogId>,
    /// A purge under way: entries up to here are still to be deleted.
    purge: Option<u64>,
    /// Until then it rests.
    next_slice: Instant,
    /// The index after the last entry of this batch.
    appended: Option<u64>,
}

impl Writer {
    fn run(mut self) {
        let mut batch = Vec::with_capacity(QUEUE_MAX);
        loop {
            self.fill(&mut batch);
            let closing = batch.is_empty() && self.purge.is_none()
                || batch.iter().any(|job| matches!(job, Job::Close { .. }));
            let written = self.write(&batch, closing);
            if let Err(error) = &written {
                self.fail(error, std::mem::take(&mut batch));
                return;
            }
            let mut memory = self.shared.memory();
            if let Some(appended) = self.appended.take() {
                memory.flushed = appended;
            }
            memory.trim();
            drop(memory);
            if closing {
                self.close(batch);
                return;
            }
            for job in batch.drain(..) {
                job.complete(Ok(()));
            }
        }
    }

    /// Waits for a job, or until a purge goes on, and takes what else waits. Empty without a purge: nobody is left to ask.
    fn fill(&mut self, batch: &mut Vec<Job>) {
        let first = match self.purge {
            None => self.queue.blocking_recv(),
            Some(_) => self.receive_until(self.next_slice),
        };
        batch.extend(first);
        while batch.len() < QUEUE_MAX
            && let Ok(job) = self.queue.try_recv()
        {
            batch.push(job);
        }
    }

    fn receive_until(&mut self, deadline: Instant) -> Option<Job> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match self.queue.poll_recv(&mut context) {
                Poll::Ready(Some(job)) => return Some(job),
                Poll::Ready(None) => {
                    // What is left of the purge is done after the next start.
                    self.purge = None;
                    return None;
                }
                Poll::Pending => {}
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            thread::park_timeout(left);
        }
    }

    /// One transaction, one sync.
    fn write(&mut self, batch: &[Job], closing: bool) -> Result<(), rusqlite::Error> {
        let begun = Instant::now();
        self.execute("BEGIN IMMEDIATE")?;
        for job in batch {
            self.write_job(job)?;
        }
        let slice = self.purge.filter(|_| !closing && begun >= self.next_slice);
        if let Some(upto) = slice {
            self.purge_slice(upto)?;
        }
        let (committed, flushed) = {
            let memory = self.shared.memory();
            (memory.committed, memory.flushed)
        };
        // Never ahead of the entries: opening takes that for a lost end.
        let end = self.appended.unwrap_or(flushed);
        let due =
            closing || next_index(committed.as_ref()) >= next_index(self.committed.as_ref()) + COMMITTED_LAG;
        if due && committed != self.committed && committed.is_none_or(|id| id.index < end) {
            if let Some(id) = &committed {
                self.put("committed", &encode_log_id(id))?;
            }
            self.committed = committed;
        }
        self.execute("COMMIT")?;
        if slice.is_some() {
            self.next_slice = Instant::now() + begun.elapsed() * PURGE_REST;
        }
        Ok(())
    }

    /// Stays prepared, instead of being parsed for each transaction.
    fn execute(&self, sql: &str) -> Result<(), rusqlite::Error> {
        self.connection.prepare_cached(sql)?.execute([]).map(drop)
    }

    fn write_job(&mut self, job: &Job) -> Result<(), rusqlite::Error> {
        match job {
            Job::Append { records, .. } => {
                let mut statement = self.connection.prepare_cached("INSERT INTO log VALUES (?1, ?2)")?;
                for (index, record) in records {
                    statement.execute((sql_index(*index), record.as_ref()))?;
                    self.appended = Some(index + 1);
                }
                Ok(())
            }
            Job::Vote { vote, .. } => {
                self.put("vote", &codec::seal_value(Kind::Vote, RECORD_FORMAT, &VoteV1::from(vote)))
            }
            Job::Identity { identity, .. } => {
                self.put("identity", &codec::seal_value(Kind::Identity, RECORD_FORMAT, identity))
            }
            Job::Truncate { keep, .. } => {
                let mut statement = self.connection.prepare_cached("DELETE FROM log WHERE idx >= ?1")?;
                statement.execute([sql_index(*keep)])?;
                let end = self.appended.unwrap_or_else(|| self.shared.memory().flushed);
                self.appended = Some(end.min(*keep));
                Ok(())
            }
            // Said first, deleted later: opening takes what is below `purged` for gone.
            Job::Purge { upto, .. } => {
                self.purge = Some(upto.index);
                let end = self.appended.unwrap_or_else(|| self.shared.memory().flushed);
                self.appended = Some(end.max(upto.index + 1));
                self.put("purged", &encode_log_id(upto))
            }
            Job::Close { .. } => Ok(()),
        }
    }

    /// Deletes the oldest entries up to `upto`: at least one, and no more than a slice.
    fn purge_slice(&mut self, upto: u64) -> Result<(), rusqlite::Error> {
        // SQLite knows a length without reading what is so long.
        let mut lengths = self
            .connection
            .prepare_cached("SELECT idx, length(record) FROM log WHERE idx <= ?1 ORDER BY idx LIMIT ?2")?;
        let mut oldest = lengths.query((sql_index(upto), PURGE_ENTRIES))?;
        let (mut last, mut bytes) = (None, 0);
        while bytes < PURGE_BYTES
            && let Some(row) = oldest.next()?
        {
            last = Some(row.get::<_, i64>(0)?);
            bytes += row.get::<_, i64>(1)?;
        }
        drop(oldest);
        let Some(last) = last else {
            self.purge = None;
            return Ok(());
        };
        self.connection.prepare_cached("DELETE FROM log WHERE idx <= ?1")?.execute([last]).map(drop)
    }

    fn put(&self, key: &str, value: &[u8]) -> Result<(), rusqlite::Error> {
        let mut statement = self.connection.prepare_cached(
            "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value",
        )?;
        statement.execute((key, value)).map(drop)
    }

    fn close(mut self, batch: Vec<Job>) {
        self.shared.reader.lock().unwrap_or_else(std::sync::PoisonError::into_inner).close();
        self.queue.close();
        let closed = self.connection.close().map_err(|(_, error)| error);
        for job in batch {
            job.complete(closed.as_ref().copied().map_err(|error| io::Error::other(describe(error))));
        }
    }

    /// L3: says so, then tells everybody who waits, if the handler lets this process live.
    fn fail(mut self, error: &rusqlite::Error, batch: Vec<Job>) {
        let what = describe(error);
        let error = || io::Error::other(format!("writing `{}` failed: {what}", self.shared.path.display()));
        self.shared.memory().failed = Some(what.clone());
        (self.on_failure)(&error());
        self.queue.close();
        for job in batch {
            job.complete(Err(error()));
        }
        while let Some(job) = self.queue.blocking_recv() {
            job.complete(Err(error()));
        }
    }
}

/// Wakes a thread that is parked.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Job {
    /// Whoever waited may be gone; then nobody needs the answer.
    fn complete(self, result: io::Result<()>) {
        match self {
            Self::Append { done, .. } => done.io_completed(result),
            Self::Vote { done, .. }
            | Self::Identity { done, .. }
            | Self::Truncate { done, .. }
            | Self::Purge { done, .. }
            | Self::Close { done } => {
                let _ = done.send(result);
            }
        }
    }
}
