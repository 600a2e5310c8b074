//! The log against openraft's own storage suite, and what the suite does not ask: restarts, damage, purges.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{Stream, StreamExt};
use grantd_raft::config::APPEND_BYTES_MAX;
use grantd_raft::log::{self, Identity, LogStore, OpenLogError, OpenOptions};
use grantd_raft::types::{
    ClusterId, EntryBytes, LeaderId, LogEntry, LogId, Payload, SnapshotMeta, StoredMembership, TypeConfig,
    Vote,
};
use openraft::storage::{
    EntryResponder, IOFlushed, RaftLogReader, RaftLogStorage, RaftStateMachine, Snapshot,
};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::type_config::TypeConfigExt;
use openraft::{OptionalSend, RaftSnapshotBuilder, StorageError};
use tempfile::TempDir;

/// The least state machine that the suite accepts: it remembers where it is.
#[derive(Clone, Default)]
struct NoMachine(Arc<Mutex<Position>>);

#[derive(Default)]
struct Position {
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: Option<SnapshotMeta>,
}

type NoSnapshot = openraft::alias::SnapshotOf<TypeConfig, ()>;

impl RaftSnapshotBuilder<TypeConfig> for NoMachine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> Result<NoSnapshot, io::Error> {
        let mut position = self.0.lock().unwrap();
        let meta =
            SnapshotMeta { last_log_id: position.applied, last_membership: position.membership.clone() };
        position.snapshot = Some(meta.clone());
        Ok(Snapshot { meta, snapshot: () })
    }
}

impl RaftStateMachine<TypeConfig> for NoMachine {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let position = self.0.lock().unwrap();
        Ok((position.applied, position.membership.clone()))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, _responder) = entry?;
            let mut position = self.0.lock().unwrap();
            position.applied = Some(entry.log_id);
            if let openraft::EntryPayload::Membership(membership) = entry.payload {
                position.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, _snapshot: ()) -> Result<(), io::Error> {
        let mut position = self.0.lock().unwrap();
        position.applied = meta.last_log_id;
        position.membership = meta.last_membership.clone();
        position.snapshot = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<NoSnapshot>, io::Error> {
        let meta = self.0.lock().unwrap().snapshot.clone();
        Ok(meta.map(|meta| Snapshot { meta, snapshot: () }))
    }
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, NoMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, LogStore, NoMachine), StorageError<TypeConfig>> {
        let directory = tempfile::tempdir().unwrap();
        let log = log::open(&directory.path().join("raft.db"), OpenOptions::default()).unwrap();
        Ok((directory, log, NoMachine::default()))
    }
}

#[test]
fn the_log_passes_openrafts_storage_suite() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(Suite::test_all(Builder)).unwrap();
}

fn id(term: u64, index: u64) -> LogId {
    LogId { leader_id: LeaderId { term, node_id: 1 }, index }
}

fn entry(term: u64, index: u64, bytes: usize) -> LogEntry {
    let fill = u8::try_from(index % 251).unwrap();
    LogEntry { log_id: id(term, index), payload: Payload::Normal(EntryBytes(vec![fill; bytes].into())) }
}

async fn append(log: &mut LogStore, entries: Vec<LogEntry>) {
    let (done, flushed) = TypeConfig::oneshot();
    log.append(entries, IOFlushed::signal(done)).await.unwrap();
    flushed.await.unwrap().unwrap();
}

fn open(directory: &Path) -> Result<LogStore, OpenLogError> {
    log::open(&directory.join("raft.db"), OpenOptions::default())
}

/// A closed log with `count` entries of `bytes` each in `directory`.
async fn filled(directory: &Path, count: u64, bytes: usize) {
    let mut log = open(directory).unwrap();
    for first in (0..count).step_by(64) {
        let entries = (first..count.min(first + 64)).map(|index| entry(1, index, bytes)).collect();
        append(&mut log, entries).await;
    }
    log.close().await.unwrap();
}

#[tokio::test]
async fn what_is_committed_lags_on_disk_by_some_entries_and_is_exact_after_a_close() {
    let (running, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut log = open(running.path()).unwrap();
    for index in 0..200 {
        append(&mut log, vec![entry(1, index, 10)]).await;
        log.save_committed(Some(id(1, index))).await.unwrap();
    }
    // What a process leaves that ends now.
    for file in ["raft.db", "raft.db-wal"] {
        std::fs::copy(running.path().join(file), crashed.path().join(file)).unwrap();
    }
    log.close().await.unwrap();
    let mut found = open(crashed.path()).unwrap();
    let committed = found.read_committed().await.unwrap().unwrap();
    assert!((199 - 2 * 64..199).contains(&committed.index), "{committed}");
    found.close().await.unwrap();
    let mut log = open(running.path()).unwrap();
    assert_eq!(log.read_committed().await.unwrap(), Some(id(1, 199)));
    log.close().await.unwrap();
}

#[tokio::test]
async fn what_was_written_is_there_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let identity = Identity { cluster: Some(ClusterId(7)), node: 3, directory: 99 };
    let mut log = open(directory.path()).unwrap();
    assert!(log.is_pristine());
    log.set_identity(identity).await.unwrap();
    log.save_vote(&Vote::new_committed(2, 1)).await.unwrap();
    append(&mut log, (0..10).map(|index| entry(2, index, 100)).collect()).await;
    log.truncate_after(Some(id(2, 7))).await.unwrap();
    append(&mut log, vec![entry(3, 8, 5)]).await;
    log.save_committed(Some(id(2, 7))).await.unwrap();
    log.purge(id(2, 4)).await.unwrap();
    log.close().await.unwrap();

    let mut log = open(directory.path()).unwrap();
    assert_eq!(log.identity(), Some(identity));
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new_committed(2, 1)));
    assert_eq!(log.read_committed().await.unwrap(), Some(id(2, 7)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(2, 4)), Some(id(3, 8))));
    let entries = log.try_get_log_entries(0..100).await.unwrap();
    assert_eq!(entries, vec![entry(2, 5, 100), entry(2, 6, 100), entry(2, 7, 100), entry(3, 8, 5)]);
}

#[tokio::test]
async fn entries_that_left_memory_are_read_from_disk_in_chunks() {
    let directory = tempfile::tempdir().unwrap();
    // Twice what stays in memory.
    let (count, bytes) = (128, 1 << 20);
    filled(directory.path(), count, bytes).await;
    let mut log = open(directory.path()).unwrap();
    let limited = log.limited_get_log_entries(0, count).await.unwrap();
    assert!(!limited.is_empty() && limited.len() * bytes <= APPEND_BYTES_MAX, "{} entries", limited.len());
    assert_eq!(limited[0], entry(1, 0, bytes));
    let mut streamed = std::pin::pin!(log.entries_stream(3..).await);
    let mut expected = 3;
    while let Some(next) = streamed.next().await {
        assert_eq!(next.unwrap(), entry(1, expected, bytes));
        expected += 1;
    }
    assert_eq!(expected, count);
}

/// Waits until the file has so many entries, also those that count as gone.
async fn entries_in_file(directory: &Path, wanted: i64) {
    let sqlite = rusqlite::Connection::open(directory.join("raft.db")).unwrap();
    let count = || sqlite.query_row("SELECT count(*) FROM log", [], |row| row.get::<_, i64>(0)).unwrap();
    for _ in 0..1_000 {
        if count() == wanted {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{} entries and not {wanted}", count());
}

#[tokio::test]
async fn a_purge_of_many_slices_lets_appends_through_and_goes_on_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 12_000, 8).await;
    let mut log = open(directory.path()).unwrap();
    log.purge(id(1, 11_500)).await.unwrap();
    assert_eq!(log.try_get_log_entries(0..11_502).await.unwrap(), vec![entry(1, 11_501, 8)]);
    append(&mut log, vec![entry(1, 12_000, 8)]).await;
    log.close().await.unwrap();
    let mut log = open(directory.path()).unwrap();
    assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 500);
    entries_in_file(directory.path(), 500).await;
    assert_eq!(log.try_get_log_entries(..).await.unwrap().len(), 500);
}

/// An append waits for the transaction before it: with one for all of these it waited for seconds, and its node lost its
/// leadership.
#[tokio::test]
async fn a_purge_of_large_entries_takes_many_transactions() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 40, 1 << 20).await;
    // All transactions stay in the write-ahead log, to be counted.
    let options = OpenOptions { checkpoint_pages: i32::MAX, ..OpenOptions::default() };
    let mut log = log::open(&directory.path().join("raft.db"), options).unwrap();
    log.purge(id(1, 38)).await.unwrap();
    entries_in_file(directory.path(), 1).await;
    let wal = std::fs::read(directory.path().join("raft.db-wal")).unwrap();
    let committed = wal[32..].chunks_exact(24 + 4096).filter(|frame| frame[4..8] != [0; 4]).count();
    assert!(committed >= 39, "{committed}");
    assert_eq!(log.try_get_log_entries(..).await.unwrap(), vec![entry(1, 39, 1 << 20)]);
}

#[tokio::test]
async fn a_damaged_entry_in_the_middle_is_refused_by_index_and_file() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 20, 50).await;
    let path = directory.path().join("raft.db");
    let sqlite = rusqlite::Connection::open(&path).unwrap();
    sqlite.execute("UPDATE log SET record = (SELECT CAST(substr(record, 1, 30) || x'ff' || substr(record, 32) AS BLOB)) WHERE idx = 11", [])
        .unwrap();
    sqlite.close().unwrap();
    let Err(OpenLogError::Damaged { path: named, place, what }) = open(directory.path()) else { panic!() };
    assert_eq!((named, place.as_str()), (path.clone(), "entry 11"));
    assert!(what.contains("checksum"), "{what}");

    let sqlite = rusqlite::Connection::open(&path).unwrap();
    sqlite.execute("DELETE FROM log WHERE idx = 11", []).unwrap();
    sqlite.close().unwrap();
    let Err(error) = open(directory.path()) else { panic!() };
    assert!(error.to_string().contains("entry 11: it is missing; the next one is 12"), "{error}");
    assert!(error.to_string().contains("join again with an empty directory"), "{error}");
}

#[tokio::test]
async fn a_flipped_byte_anywhere_in_the_entries_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    filled(directory.path(), 64, 500).await;
    let path = directory.path().join("raft.db");
    let good = std::fs::read(&path).unwrap();
    // Inside the payload of entry 40: 500 times its fill byte.
    let at = good.windows(300).position(|window| window.iter().all(|byte| *byte == 40)).unwrap();
    let mut bad = good.clone();
    bad[at + 7] ^= 1;
    std::fs::write(&path, &bad).unwrap();
    let Err(OpenLogError::Damaged { place, .. }) = open(directory.path()) else { panic!() };
    assert_eq!(place, "entry 40");
    std::fs::write(&path, &good).unwrap();
    assert!(open(directory.path()).is_ok());
}

#[tokio::test]
async fn a_newer_format_and_a_strangers_file_are_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("raft.db");
    open(directory.path()).unwrap().close().await.unwrap();
    let sqlite = rusqlite::Connection::open(&path).unwrap();
    sqlite.pragma_update(None, "user_version", 2).unwrap();
    sqlite.close().unwrap();
    let Err(error) = open(directory.path()) else { panic!() };
    assert!(
        error.to_string().ends_with("has format 2, and this release reads up to 1; start the newer release")
    );

    std::fs::remove_file(&path).unwrap();
    let sqlite = rusqlite::Connection::open(&path).unwrap();
    sqlite.execute_batch("CREATE TABLE other (x)").unwrap();
    sqlite.close().unwrap();
    assert!(matches!(open(directory.path()), Err(OpenLogError::Foreign { .. })));
    std::fs::write(&path, vec![0x5a; 8192]).unwrap();
    assert!(matches!(open(directory.path()), Err(OpenLogError::Damaged { .. })));
}

/// Copies the files of a log that is open, as a crash would leave them, to another directory.
fn crashed_copy(from: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    for name in ["raft.db", "raft.db-wal"] {
        std::fs::copy(from.join(name), to.path().join(name)).unwrap();
    }
    to
}

#[tokio::test]
async fn a_torn_tail_is_dropped_and_damage_before_it_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path()).unwrap();
    for index in 0..6 {
        append(&mut log, vec![entry(1, index, 3_000)]).await;
    }
    let crashed = crashed_copy(directory.path());
    let wal = std::fs::read(crashed.path().join("raft.db-wal")).unwrap();
    let (header, frame) = (32, 24 + 4096);
    let frames = (wal.len() - header) / frame;
    let last_commit = |frames: usize| {
        // The frame that commits before the last one does.
        (0..frames - 1).rev().find(|at| wal[header + at * frame + 4..][..4] != [0; 4]).unwrap()
    };
    let reopened = |bytes: &[u8]| {
        let copy = crashed_copy(crashed.path());
        std::fs::write(copy.path().join("raft.db-wal"), bytes).unwrap();
        let opened = open(copy.path());
        (copy, opened)
    };

    // Torn anywhere in the last transaction: that one is gone, the others stay.
    for cut in (header + (last_commit(frames) + 1) * frame..wal.len()).step_by(701) {
        let (_copy, opened) = reopened(&wal[..cut]);
        assert_eq!(opened.unwrap().last_log_id(), Some(id(1, 4)), "cut at {cut}");
    }
    let mut garbled = wal.clone();
    garbled[header + (frames - 1) * frame + 100] ^= 0x10;
    assert_eq!(reopened(&garbled).1.unwrap().last_log_id(), Some(id(1, 4)));

    // A flip in any earlier frame, or in the header: SQLite would drop what was acknowledged, and say nothing.
    let damaged_frames = (0..=last_commit(frames)).map(|at| header + at * frame + 24 + 200);
    for at in damaged_frames.chain([9, 17, 25]) {
        let mut damaged = wal.clone();
        damaged[at] ^= 0x10;
        let (_copy, opened) = reopened(&damaged);
        let Err(OpenLogError::Damaged { path, place, .. }) = opened else {
            panic!("opened with a flip at {at}")
        };
        assert!(path.ends_with("raft.db-wal") && place.starts_with("frame "), "{path:?} {place}");
    }
    log.close().await.unwrap();
}

#[tokio::test]
async fn many_appends_share_a_sync_and_all_are_reported() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path()).unwrap();
    let mut waiting = Vec::new();
    for index in 0..500 {
        let (done, flushed) = TypeConfig::oneshot();
        log.append(vec![entry(1, index, 100)], IOFlushed::signal(done)).await.unwrap();
        waiting.push(flushed);
    }
    for flushed in waiting {
        flushed.await.unwrap().unwrap();
    }
    let copy = crashed_copy(directory.path());
    assert_eq!(open(copy.path()).unwrap().last_log_id(), Some(id(1, 499)));
}

#[tokio::test]
async fn a_closed_log_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = open(directory.path()).unwrap();
    log.close().await.unwrap();
    let error = log.save_vote(&Vote::new(1, 1)).await.unwrap_err();
    assert!(error.to_string().contains("it was closed"), "{error}");
}
