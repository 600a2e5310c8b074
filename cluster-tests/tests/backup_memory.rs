//! What a writer of a backup holds in memory while it writes a table of 200 MiB: in a process of its own, where nothing else happens.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use grantd_catalog::command::{Actor, Command, NameContext, ObjectName, Outcome};
use grantd_catalog::id::{ObjectId, PrincipalId, Timestamp, Version};
use grantd_catalog::name::Name;
use grantd_catalog::object::{Body, Column, ColumnType, Object, Table};
use grantd_catalog::record::{Record, RecordKey};
use grantd_catalog::refusal::Refusal;
use grantd_catalog::require::Requirement;
use grantd_catalog::state::State;
use grantd_catalog::view::View;
use grantd_catalog::wire;
use grantd_node::backup::cipher::Keys;
use grantd_node::backup::collection::{Collection, Which};
use grantd_node::backup::manifest::Targets;
use grantd_node::backup::read::{Backup, RowSink};
use grantd_node::backup::write::{CHECKPOINT_EVERY, Order, write};
use grantd_node::backup::{Job, Progress, names};
use grantd_node::gate::{Gate, PastRead, Permit, Replica, RowRead, Snapshot, Writer};
use grantd_node::sql::system;
use grantd_raft::entry::Proposal;
use grantd_raft::handle::{ForwardHandler, ReadSet, Receipt, RowWrite, Unavailable};
use grantd_raft::rows::{Captured, MetaKey, Readers, Store, Value};

#[path = "backup/stage.rs"]
#[allow(dead_code, reason = "shared with the tests of backups")]
mod stage;

/// Rows of a kilobyte, half of which compresses.
const ROWS: u64 = 200 * 1_024;
/// Two files of 8 MiB with their last groups, and a group and a page of rows, each of which is held twice while it becomes the next:
/// 30 MiB. As much again for libraries, and what glibc does not give back of each thread's own heap.
const GOAL_BYTES: u64 = 80 << 20;
const NOW: Timestamp = Timestamp { nanos: 1_795_370_000_000_000_000, logical: 0 };

/// A node on which nothing happens any more.
struct Still {
    view: Arc<View>,
    readers: Arc<Readers>,
}

fn nothing<T>() -> Result<T, Unavailable> {
    Err(Unavailable::NotInitialized)
}

#[async_trait]
impl Replica for Still {
    fn node_id(&self) -> u64 {
        1
    }

    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    fn is_current(&self, _: &View) -> bool {
        true
    }

    async fn linearizable(&self) -> Result<Arc<View>, Unavailable> {
        Ok(self.view())
    }

    async fn at_least(&self, _: Version) -> Result<Arc<View>, Unavailable> {
        Ok(self.view())
    }

    async fn propose(&self, _: Proposal) -> Result<Receipt, Unavailable> {
        nothing()
    }

    async fn write_rows(&self, _: Box<dyn RowWrite>) -> Result<Receipt, Unavailable> {
        nothing()
    }

    async fn read_rows(&self, _: RowRead) -> Result<(), Unavailable> {
        nothing()
    }

    async fn past(&self, read: PastRead) -> Result<(), Unavailable> {
        let mut reader = self.readers.acquire().await.unwrap();
        let version = self.view.version();
        let run = move || reader.past(|_, _| (NOW, Timestamp::default()), |_, past| read(version, past));
        tokio::task::spawn_blocking(run).await.unwrap().unwrap();
        Ok(())
    }

    async fn pin(&self) -> Result<Box<dyn Snapshot>, Unavailable> {
        nothing()
    }

    async fn begin(&self, _: Option<ReadSet>) -> Result<Result<Box<dyn Writer>, Refusal>, Unavailable> {
        nothing()
    }

    async fn forward(&self, _: Bytes, _: Duration) -> Result<Bytes, Unavailable> {
        nothing()
    }

    fn serve_forwards(&self, _: Arc<dyn ForwardHandler>) {}
}

/// A file with the table, and the catalog that says so.
fn still(directory: &Path) -> (Still, ObjectId) {
    let column = |name: &str, column_type| Column {
        name: Name::from(name),
        column_type,
        nullable: false,
        default: None,
        hidden: false,
        comment: None,
        computed: None,
        identity: None,
    };
    let table = Table {
        columns: vec![column("k", ColumnType::Int8), column("s", ColumnType::Text { chars_max: None })],
        primary_key: vec![0],
        key_name: Name::from("t_pkey"),
        unique: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
    };
    let command = Command::CreateTable {
        name: ObjectName { parts: vec![Name::from("t")] },
        table: table.clone(),
        foreign_keys: Vec::new(),
        identities: Vec::new(),
        if_not_exists: false,
    };
    let context =
        NameContext { database: Some(Name::from("defaultdb")), search_path: vec![Name::from("public")] };
    let (mut state, version, mut changes) = (State::bootstrap(), Version(2), Vec::new());
    let outcome = state.apply(version, NOW, Actor::of(PrincipalId::ROOT), &context, &command, &mut changes);
    assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
    let (id, object) = state.objects().find(|(_, object)| matches!(object.body, Body::Table(_))).unwrap();
    let record = wire::encode_record(&Record::Object(Arc::new(Object::clone(object)))).unwrap();

    let mut store = Store::open(&directory.join("state.db"), &system::extensions()).unwrap();
    store.begin().unwrap();
    store.create_table(id, &table).unwrap();
    store.write_records(&[(wire::encode_key(RecordKey::Object(id)), Some(record))]).unwrap();
    store.put_meta(MetaKey::Applied, &version.0.to_le_bytes()).unwrap();
    store.commit().unwrap();
    for from in (0..ROWS).step_by(4_096) {
        let sql = format!(
            "INSERT INTO t{id} WITH RECURSIVE g(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM g WHERE n < {})
             SELECT n, hex(randomblob(256)) || printf('%512d', n) FROM g",
            from + 4_095
        );
        store.begin_captures().unwrap();
        let captured = store.capture(|rows| rows.run(&sql, &[]).map(drop)).unwrap();
        store.rollback().unwrap();
        let Captured::Changed((), changeset) = captured else { panic!("{captured:?}") };
        store.begin().unwrap();
        store.apply_changeset(&changeset, &mut |_| Ok(())).unwrap();
        store.commit().unwrap();
    }
    (Still { view: Arc::new(View::build(version, state)), readers: store.readers() }, id)
}

struct Anybody(Gate);

#[async_trait]
impl Job for Anybody {
    async fn permit(&self, _: &[ObjectId]) -> Result<Permit, Refusal> {
        self.0.permit(&*self.0.view().await?, Actor::of(PrincipalId::ROOT), &Requirement::default())
    }

    async fn step(&self, _: &Progress) -> Result<(), Refusal> {
        Ok(())
    }
}

struct Counted(u64);

#[async_trait]
impl RowSink for Counted {
    async fn rows(&mut self, rows: Vec<Vec<Value>>) -> Result<(), Refusal> {
        self.0 += rows.len() as u64;
        Ok(())
    }
}

/// A line of what Linux tells of this process, in bytes.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

/// What the process holds at most in memory of its own while `work` runs, beside what it held before: looked at each millisecond.
/// Pages of files do not count.
async fn peak<T>(work: impl Future<Output = T>) -> (T, u64, Duration) {
    let (before, begun) = (status("RssAnon"), Instant::now());
    let over = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&over);
    let looking = std::thread::spawn(move || {
        let mut most = 0;
        while !seen.load(Ordering::Relaxed) {
            most = status("RssAnon").max(most);
            std::thread::sleep(Duration::from_millis(1));
        }
        most
    });
    let done = work.await;
    over.store(true, Ordering::Relaxed);
    (done, looking.join().unwrap().saturating_sub(before), begun.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_of_a_large_table_holds_little_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let (still, id) = still(directory.path());
    let view = still.view();
    let gate = Gate::new(Arc::new(still));
    let order = Order {
        full: names::full(NOW),
        incremental: false,
        end: NOW,
        catalog_time: NOW,
        view,
        targets: Targets { tables: vec![id.0], ..Targets::default() },
        revision_history: false,
        cluster: "0a1b2c3d".to_owned(),
        job: "7".to_owned(),
        file_bytes: None,
        checkpoint_every: CHECKPOINT_EVERY,
    };
    let job = Anybody(gate.clone());
    for keys in [Keys::None, stage::passphrase("correct horse")] {
        let what = if matches!(keys, Keys::None) { "clear" } else { "encrypted" };
        let to = Collection::new(stage::files(&directory.path().join(what)).await, None);
        let (manifest, held, took) = peak(write(&to, &order, &keys, &gate, &job)).await;
        let manifest = manifest.unwrap();
        let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
        println!(
            "{what}: {} MiB of rows in {:.1} s, {} files of {} MiB together, at most {} MiB more memory",
            bytes >> 20,
            took.as_secs_f64(),
            manifest.files.len(),
            manifest.file_bytes() >> 20,
            held >> 20
        );
        assert!(bytes > 200 << 20 && manifest.files.len() > 5);
        let written = held;
        let backup = Backup::open(&to, &Which::Named(order.full.clone()), None, &keys).await.unwrap();
        let mut counted = Counted(0);
        let table = backup.tables().unwrap().remove(0);
        let (read, held, took) = peak(backup.rows(&table, &mut counted)).await;
        read.unwrap();
        println!("{what}: read in {:.1} s, at most {} MiB more memory", took.as_secs_f64(), held >> 20);
        assert_eq!(counted.0, ROWS);
        for held in [written, held] {
            assert!(held < GOAL_BYTES, "{} MiB", held >> 20);
        }
    }
}
