//! The log and the row store on a disk that fails, is full, or loses power, at the n-th operation, for every n of a
//! scripted history: after reopening, what was acknowledged is there.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]
#![allow(unsafe_code, reason = "a file system for SQLite, in module disk; each block argues why it is sound")]

#[path = "crash/disk.rs"]
mod disk;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Column, ColumnType, Sequence, Table};
use grantd_raft::log::{self, Identity, LogStore, OpenOptions};
use grantd_raft::rows::{Captured, Extensions, MetaKey, RowsError, Store, StoreOptions, TableChecksum};
use grantd_raft::types::{EntryBytes, LeaderId, LogEntry, LogId, Payload, TypeConfig, Vote};
use openraft::storage::{IOFlushed, RaftLogReader, RaftLogStorage};
use openraft::type_config::TypeConfigExt;

use disk::{Disk, Fault};

/// Far more than any history here takes; a loop that reaches it does not end.
const OPERATIONS_MAX: u64 = 5_000;
/// So few that a history sees several checkpoints.
const CHECKPOINT_PAGES: i32 = 12;

fn id(term: u64, index: u64) -> LogId {
    LogId { leader_id: LeaderId { term, node_id: 1 }, index }
}

fn entry(term: u64, index: u64, bytes: usize) -> LogEntry {
    let fill = u8::try_from(index % 251).unwrap();
    LogEntry { log_id: id(term, index), payload: Payload::Normal(EntryBytes(vec![fill; bytes].into())) }
}

/// What the log holds, as far as its caller can see.
#[derive(Clone, Debug, Default, PartialEq)]
struct LogModel {
    identity: Option<Identity>,
    vote: Option<Vote>,
    purged: Option<LogId>,
    entries: Vec<LogEntry>,
}

#[derive(Clone, Debug)]
enum Step {
    Identity(Identity),
    Vote(Vote),
    Append(Vec<LogEntry>),
    /// Does not wait for the disk, and promises nothing.
    Committed(LogId),
    Truncate(LogId),
    Purge(LogId),
}

fn log_history() -> Vec<Step> {
    let entries = |term, indexes: std::ops::Range<u64>, bytes| {
        Step::Append(indexes.map(|index| entry(term, index, bytes)).collect())
    };
    vec![
        Step::Identity(Identity { cluster: None, node: 1, directory: 77 }),
        Step::Vote(Vote::new(1, 1)),
        Step::Vote(Vote::new_committed(1, 1)),
        entries(1, 0..1, 10),
        entries(1, 1..9, 300),
        Step::Committed(id(1, 4)),
        entries(1, 9..11, 9_000),
        Step::Truncate(id(1, 6)),
        Step::Vote(Vote::new_committed(2, 2)),
        entries(2, 7..8, 20_000),
        Step::Committed(id(2, 7)),
        Step::Purge(id(1, 5)),
        entries(2, 8..30, 100),
        Step::Identity(Identity { cluster: None, node: 1, directory: 78 }),
        // A snapshot that reaches beyond the log was installed.
        Step::Purge(id(3, 40)),
        entries(3, 41..43, 5_000),
    ]
}

impl LogModel {
    fn after(&self, step: &Step) -> Self {
        let mut after = self.clone();
        match step {
            Step::Identity(identity) => after.identity = Some(*identity),
            Step::Vote(vote) => after.vote = Some(*vote),
            Step::Append(entries) => after.entries.extend(entries.iter().cloned()),
            Step::Committed(_) => {}
            Step::Truncate(last) => after.entries.retain(|entry| entry.log_id.index <= last.index),
            Step::Purge(upto) => {
                after.purged = Some(*upto);
                after.entries.retain(|entry| entry.log_id.index > upto.index);
            }
        }
        after
    }

    async fn read(log: &mut LogStore) -> Self {
        let state = log.get_log_state().await.unwrap();
        let entries = log.try_get_log_entries(..).await.unwrap();
        let last = entries.last().map(|entry| entry.log_id).or(state.last_purged_log_id);
        assert_eq!(state.last_log_id, last);
        Self { identity: log.identity(), vote: log.vote(), purged: state.last_purged_log_id, entries }
    }
}

async fn take(log: &mut LogStore, step: &Step) -> std::io::Result<()> {
    match step {
        Step::Identity(identity) => log.set_identity(*identity).await,
        Step::Vote(vote) => log.save_vote(vote).await,
        Step::Append(entries) => {
            let (done, flushed) = TypeConfig::oneshot();
            log.append(entries.clone(), IOFlushed::signal(done)).await?;
            flushed.await.map_err(std::io::Error::other)?
        }
        Step::Committed(id) => log.save_committed(Some(*id)).await,
        Step::Truncate(last) => log.truncate_after(Some(*last)).await,
        Step::Purge(upto) => log.purge(*upto).await,
    }
}

/// Runs the history on a faulty disk, up to the first error, and returns what was acknowledged, and what would also
/// be right to find.
async fn run_log(disk: &Disk, path: &Path) -> (LogModel, LogModel) {
    let failed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&failed);
    let options = OpenOptions {
        on_failure: Arc::new(move |_| told.store(true, Ordering::Relaxed)),
        vfs: Some(disk.name()),
        checkpoint_pages: CHECKPOINT_PAGES,
    };
    let mut model = LogModel::default();
    let mut log = match log::open(path, options) {
        Ok(log) => log,
        Err(error) => {
            assert!(disk.fired() && error.to_string().contains("raft.db"), "{error}");
            return (model.clone(), model);
        }
    };
    for step in log_history() {
        let after = model.after(&step);
        if take(&mut log, &step).await.is_err() {
            assert!(disk.fired() && failed.load(Ordering::Relaxed), "the failure handler was not called");
            // A write after a failure would be acknowledged on a disk of unknown content.
            assert!(log.save_vote(&Vote::new(9, 9)).await.is_err());
            let _ = log.close().await;
            return (model, after);
        }
        model = after;
    }
    let _ = log.close().await;
    (model.clone(), model)
}

/// The number of faults that came, and how many lost something.
fn every_log_fault(disk: &Disk, fault: impl Fn(u64) -> Fault) -> (u64, u64) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut lost = 0;
    for operation in 1..OPERATIONS_MAX {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("raft.db");
        disk.arm(fault(operation));
        let (acknowledged, attempted) = runtime.block_on(run_log(disk, &path));
        let fired = disk.fired();
        disk.lose_power(operation);
        disk.arm(Fault::None);
        let options = OpenOptions { vfs: Some(disk.name()), ..OpenOptions::default() };
        let found = log::open(&path, options).map(|mut log| {
            runtime.block_on(async {
                let model = LogModel::read(&mut log).await;
                log.close().await.unwrap();
                model
            })
        });
        match found {
            Ok(found) if found == acknowledged || found == attempted => {}
            Ok(_) | Err(_) => lost += 1,
        }
        if !fired {
            return (operation - 1, lost);
        }
    }
    panic!("the history takes more than {OPERATIONS_MAX} operations");
}

#[test]
fn the_log_keeps_what_it_acknowledged_when_the_power_goes_at_any_operation() {
    let (faults, lost) = every_log_fault(&Disk::register("log-crash"), Fault::Crash);
    assert!(faults > 100, "only {faults}");
    assert_eq!(lost, 0, "of {faults}");
    println!("log, power loss: {faults} operations");
}

#[test]
fn the_log_keeps_what_it_acknowledged_when_any_operation_fails() {
    let (faults, lost) = every_log_fault(&Disk::register("log-fail"), Fault::Fail);
    assert!(faults > 100, "only {faults}");
    assert_eq!(lost, 0, "of {faults}");
    println!("log, failing operation: {faults} operations");
}

#[test]
fn the_log_keeps_what_it_acknowledged_when_the_disk_is_full_from_any_operation_on() {
    let (faults, lost) = every_log_fault(&Disk::register("log-full"), Fault::Full);
    assert!(faults > 100, "only {faults}");
    assert_eq!(lost, 0, "of {faults}");
    println!("log, full disk: {faults} operations");
}

#[test]
fn a_disk_that_lies_about_syncs_is_caught_by_these_checks() {
    let disk = Disk::register("log-lie");
    disk.lie();
    let (faults, lost) = every_log_fault(&disk, Fault::Crash);
    assert!(lost > faults / 2, "{lost} of {faults}");
}

/// What the row store holds: the number of the last applied entry and the sums over everything.
type RowsState = (Option<Vec<u8>>, u32, Vec<TableChecksum>, u32);

fn rows_state(store: &Store) -> Result<RowsState, RowsError> {
    let (catalog, tables) = store.checksum()?;
    Ok((store.meta(MetaKey::Applied)?, catalog, tables, store.stages()?))
}

fn shape() -> Table {
    let column = |name: &str, column_type, nullable| Column {
        name: Name::normalize(name),
        column_type,
        nullable,
        default: None,
        hidden: false,
        comment: None,
        computed: None,
        identity: None,
    };
    Table {
        columns: vec![column("k", ColumnType::Int8, false), column("v", ColumnType::Bytes, true)],
        primary_key: vec![0],
        unique: Vec::new(),
        checks: Vec::new(),
        key_name: Name::from("t_pkey"),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
    }
}

/// Entry `number`, as the machine would apply it: catalog records or rows, and the number, in one transaction.
fn apply_rows(store: &mut Store, number: u8) -> Result<(), RowsError> {
    let statement = match number {
        0 | 4 => None,
        1 => Some("INSERT INTO t104 VALUES (1, zeroblob(100)), (2, NULL)".to_owned()),
        7 => Some("DELETE FROM t104 WHERE k % 3 = 0".to_owned()),
        number if number % 2 == 0 => Some(format!("UPDATE t104 SET v = zeroblob({number} * 900)")),
        number => Some(format!("INSERT INTO t104 SELECT k + {number} * 1000, zeroblob(4000) FROM t104")),
    };
    let changeset = match &statement {
        None => Vec::new(),
        Some(statement) => {
            store.begin()?;
            let captured = store.capture(|rows| {
                // A value of the sequence for each statement, as nextval() takes it.
                rows.run("UPDATE t106 SET last_value = last_value + 1, is_called = 1", &[])?;
                rows.run(statement, &[])
            })?;
            store.rollback()?;
            match captured {
                Captured::Changed(_, changeset) => changeset,
                Captured::Refused(error) | Captured::Lost(Err(error)) => return Err(error),
                Captured::Lost(Ok(_)) => panic!("lost without an error"),
            }
        }
    };
    store.begin()?;
    match number {
        0 => {
            store.create_table(ObjectId(104), &shape())?;
            store.create_sequence(ObjectId(106), &SEQUENCE)?;
        }
        4 => store.create_table(ObjectId(105), &shape())?,
        STAGED => {
            // A stage, then a transaction that is refused after all that it did.
            store.put_stage(7, 0, &[number; 9_000])?;
            store.savepoint()?;
            apply_changeset(store, &changeset)?;
            store.create_table(ObjectId(107), &shape())?;
            store.undo()?;
        }
        WHOLE => {
            store.savepoint()?;
            apply_changeset(store, &changeset)?;
            store.create_table(ObjectId(107), &shape())?;
            store.release()?;
            store.clear_stages()?;
        }
        _ => apply_changeset(store, &changeset)?,
    }
    store.write_records(&[
        (vec![number], Some(vec![number; 50 * usize::from(number)])),
        (vec![number.wrapping_sub(3)], None),
    ])?;
    store.put_meta(MetaKey::Applied, &[number])?;
    store.commit()
}

fn apply_changeset(store: &mut Store, changeset: &[u8]) -> Result<(), RowsError> {
    let applied = store.apply_changeset(changeset, &mut |_| Ok(()));
    applied.map(drop).map_err(|error| RowsError { code: 10, message: error.to_string() })
}

const SEQUENCE: Sequence = Sequence { start: 1, increment: 1, min: 1, max: i64::MAX, owned_by: None };
const ROWS_ENTRIES: u8 = 14;
/// The entry that stages a transaction, and the one that has a whole one.
const STAGED: u8 = 11;
const WHOLE: u8 = 13;
/// After these entries everything is made durable, as before a purge of the log.
const ROWS_DURABLE: [u8; 2] = [3, 8];
/// After this entry a snapshot replaces everything.
const ROWS_INSTALL: u8 = 10;

fn rows_options(disk: Option<&Disk>) -> StoreOptions {
    StoreOptions { vfs: disk.map(Disk::name), checkpoint_pages: CHECKPOINT_PAGES }
}

/// How far the history came, in positions of the reference.
#[derive(Default)]
struct RowsRun {
    /// The last state that was reached.
    reached: usize,
    /// The last one that was promised to last.
    durable: usize,
    /// Whether an error ended the step after `reached`, which may have been taken all the same.
    attempted: bool,
}

/// Runs the history up to the first error.
fn run_rows(store: &mut Store, snapshot: &Path) -> RowsRun {
    let mut run = RowsRun { attempted: true, ..RowsRun::default() };
    for number in 0..ROWS_ENTRIES {
        if apply_rows(store, number).is_err() {
            return run;
        }
        run.reached += 1;
        if ROWS_DURABLE.contains(&number) {
            if store.make_durable().is_err() {
                return run;
            }
            run.durable = run.reached;
        }
        if number == ROWS_INSTALL {
            if store.install(snapshot).is_err() {
                return run;
            }
            run.reached += 1;
            run.durable = run.reached;
        }
    }
    run.attempted = false;
    run
}

/// The states of the history without faults, and a snapshot for it to install.
fn rows_reference(directory: &Path) -> Vec<RowsState> {
    let snapshot = directory.join("snapshot");
    let mut other = Store::open(&directory.join("other.db"), &Extensions::default()).unwrap();
    for number in [0, 1, 5] {
        apply_rows(&mut other, number).unwrap();
    }
    other.begin().unwrap();
    other.put_meta(MetaKey::Applied, &[ROWS_INSTALL, ROWS_INSTALL]).unwrap();
    other.commit().unwrap();
    other.backup_to(&snapshot).unwrap();
    let mut store = Store::open(&directory.join("reference.db"), &Extensions::default()).unwrap();
    let mut states = vec![rows_state(&store).unwrap()];
    for number in 0..ROWS_ENTRIES {
        apply_rows(&mut store, number).unwrap();
        states.push(rows_state(&store).unwrap());
        if number == ROWS_INSTALL {
            store.install(&snapshot).unwrap();
            states.push(rows_state(&store).unwrap());
        }
    }
    states
}

/// The number of faults that came, and how many lost something.
fn every_rows_fault(disk: &Disk, fault: impl Fn(u64) -> Fault) -> (u64, u64) {
    let shared = tempfile::tempdir().unwrap();
    let reference = rows_reference(shared.path());
    let mut lost = 0;
    for operation in 1..OPERATIONS_MAX {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db");
        disk.arm(fault(operation));
        let run = match Store::open_with(rows_options(Some(disk)), &path, &Extensions::default()) {
            Ok(mut store) => run_rows(&mut store, &shared.path().join("snapshot")),
            Err(error) => {
                assert!(disk.fired() && error.to_string().contains("state.db"), "{error}");
                RowsRun::default()
            }
        };
        let fired = disk.fired();
        assert!(fired || run.reached + 1 == reference.len());
        disk.lose_power(operation);
        disk.arm(Fault::None);
        let found = Store::open_with(rows_options(Some(disk)), &path, &Extensions::default()).ok();
        let found = found.and_then(|store| rows_state(&store).ok());
        let last = (run.reached + usize::from(run.attempted)).min(reference.len() - 1);
        let right = found.is_some_and(|found| reference[run.durable..=last].contains(&found));
        lost += u64::from(!right);
        if !fired {
            return (operation - 1, lost);
        }
    }
    panic!("the history takes more than {OPERATIONS_MAX} operations");
}

#[test]
fn the_row_store_is_at_a_version_not_before_the_durable_one_when_the_power_goes_at_any_operation() {
    let (faults, lost) = every_rows_fault(&Disk::register("rows-crash"), Fault::Crash);
    assert!(faults > 100, "only {faults}");
    assert_eq!(lost, 0, "of {faults}");
    println!("rows, power loss: {faults} operations");
}

#[test]
fn the_row_store_is_at_a_version_not_before_the_durable_one_when_any_operation_fails() {
    let (faults, lost) = every_rows_fault(&Disk::register("rows-fail"), Fault::Fail);
    assert!(faults > 100, "only {faults}");
    assert_eq!(lost, 0, "of {faults}");
    println!("rows, failing operation: {faults} operations");
}

#[test]
fn the_row_store_is_at_a_version_not_before_the_durable_one_when_the_disk_is_full() {
    let (faults, lost) = every_rows_fault(&Disk::register("rows-full"), Fault::Full);
    assert!(faults > 100, "only {faults}");
    assert_eq!(lost, 0, "of {faults}");
    println!("rows, full disk: {faults} operations");
}

#[test]
fn a_disk_that_lies_about_syncs_is_caught_in_the_row_store_too() {
    let disk = Disk::register("rows-lie");
    disk.lie();
    let (faults, lost) = every_rows_fault(&disk, Fault::Crash);
    assert!(lost > faults / 2, "{lost} of {faults}");
}
