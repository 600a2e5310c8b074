//! All replicas are byte-equal after many mixed transactions, with kills, changes of shape, changes of rights and
//! snapshots in between: by checksums, by what their files hold, and by what clients are shown. And what clients were
//! told of their transactions is so.
//!
//! `GRANTD_TRANSACTIONS` sets how many transactions are acknowledged before it ends; the whole is 100,000, in a release
//! build: `GRANTD_TRANSACTIONS=100000 cargo test --release -p grantd-cluster-tests --test replicas_equal`.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[path = "replicas_equal/compare.rs"]
mod compare;
#[path = "replicas_equal/ledger.rs"]
mod ledger;
#[path = "replicas_equal/tables.rs"]
mod tables;
#[path = "replicas_equal/load.rs"]
mod load;
#[path = "replicas_equal/disturb.rs"]
mod disturb;

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use grantd_cluster_tests::dice::Dice;
use grantd_cluster_tests::process::{Cluster, Node, until};
use grantd_node::cert;
use grantd_node::sql::system;
use grantd_raft::config::STATE_FILE;
use grantd_raft::rows::Store;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use ledger::{Ledger, Rows, Thing};
use load::{World, Writer};

/// Acknowledged transactions unless the environment says otherwise.
const TRANSACTIONS: u64 = 6_000;
const CLIENTS: i64 = 48;
/// Users whose rights come and go; every third client is one of them.
const MOVERS: usize = 4;
/// Snapshots in a run, about: the log is purged again and again. And the fewest entries between two that a node takes.
const SNAPSHOTS: u64 = 40;
const SNAPSHOT_ENTRIES_MIN: u64 = 100;
/// Times that something is done to the nodes.
const TURNS: u64 = 12;
/// After how many of them the replicas are compared.
const TURNS_TO_CHECKPOINT: u64 = 4;
/// Large transactions, for every so many others.
const LARGE_PER: u64 = 2_500;
/// Tasks that change shapes.
const SHAPERS: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_equal_after_mixed_transactions_with_kills_ddl_and_snapshots() {
    let wanted = std::env::var("GRANTD_TRANSACTIONS").ok().map_or(TRANSACTIONS, |text| text.parse().unwrap());
    let snapshot_entries = (wanted / SNAPSHOTS).max(SNAPSHOT_ENTRIES_MIN);
    let mut cluster = Cluster::start_with(3, &["--snapshot-entries", &snapshot_entries.to_string()]).await;
    prepare(&cluster).await;
    let world = Arc::new(World {
        logins: cluster.nodes.iter().map(|node| cluster.login(node, "root")).collect(),
        done: 0.into(),
        told: BTreeMap::new().into(),
        faults: Vec::new().into(),
        gate: ().into(),
        wanted,
        snapshot_entries,
    });
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    let large = usize::try_from(wanted / LARGE_PER).unwrap();
    for client in 0..CLIENTS {
        let at = usize::try_from(client).unwrap();
        let user = if at % 3 == 0 { format!("mover_{}", at / 3 % MOVERS) } else { "root".to_owned() };
        // The first ones share them out.
        let all = usize::try_from(CLIENTS).unwrap();
        let large = large / all + usize::from(at < large % all);
        clients.spawn(Writer::new(&world, client, &user, large).write());
    }
    let mut changes = JoinSet::new();
    for seed in 0..SHAPERS {
        changes.spawn(disturb::change_shapes(Arc::clone(&world), seed));
    }
    changes.spawn(disturb::change_rights(Arc::clone(&world), MOVERS));
    let mut dice = Dice::new(wanted);
    for turn in 0..TURNS {
        let until = wanted * (turn + 1) / (TURNS + 1);
        disturb::progress(&world, until.saturating_sub(world.done.load(Ordering::Relaxed))).await;
        disturb::nodes(&mut cluster, &world, &mut dice, turn).await;
        if (turn + 1) % TURNS_TO_CHECKPOINT == 0 {
            let _quiet = world.gate.write().await;
            let (different, _) = compare::checksums(&cluster).await;
            assert!(different.is_empty(), "{different:#?}");
        }
        let faults = world.faults.lock().await;
        assert!(faults.is_empty(), "{faults:#?}\n{}", errors(&cluster));
    }
    disturb::progress(&world, wanted).await;
    let took = begun.elapsed();
    let ledgers = clients.join_all().await;
    let changed: u64 = changes.join_all().await.iter().sum();
    let compared = assert_equal(&mut cluster, &ledgers).await;
    let faults = world.faults.lock().await;
    assert!(faults.is_empty(), "{faults:#?}\n{}", errors(&cluster));
    let installed: usize = (1..=3).map(|id| disturb::snapshots_installed(&cluster, id)).sum();
    let unknown: usize = ledgers.iter().map(Ledger::unknown).sum();
    println!(
        "{} transactions of {CLIENTS} clients in {took:?}, {changed} of them changes of shapes and rights, {unknown} of \
         unknown outcome; {TURNS} turns of kills, {installed} snapshots installed; {compared}; told besides: {:?}",
        world.done.load(Ordering::Relaxed),
        world.told.lock().await,
    );
    assert!(installed > 0, "no node needed a snapshot");
    assert!(changed > TURNS, "shapes and rights hardly changed");
}

async fn prepare(cluster: &Cluster) {
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    let run = async |text: &str| {
        root.batch_execute(text).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
    };
    for text in tables::MADE {
        run(text).await;
    }
    // A node that dies in a transaction of its client's holds the writer until nobody can come back.
    run("ALTER ROLE ALL SET idle_in_transaction_session_timeout = '1s'").await;
    run("CREATE ROLE movers").await;
    run(&format!("GRANT ALL ON {} TO movers", tables::SHARED.join(", "))).await;
    run("GRANT USAGE, SELECT ON SEQUENCE ticket TO movers").await;
    let options = cert::Options { days: 2, overwrite: false };
    for mover in 0..MOVERS {
        let name = format!("mover_{mover}");
        cert::create_client(&cluster.ca(), &cluster.ca(), &name, &options).expect("a certificate");
        run(&format!("CREATE USER {name}")).await;
        run(&format!("GRANT movers TO {name}")).await;
    }
}

/// Compares everything, ends the nodes, and compares their files. What was compared, in words.
async fn assert_equal(cluster: &mut Cluster, ledgers: &[Ledger]) -> String {
    let (different, sums) = compare::checksums(cluster).await;
    assert!(different.is_empty(), "{different:#?}");
    for node in &cluster.nodes {
        let root = cluster.root(node).await.expect("root logs in");
        let there = shown(&root).await;
        let none = BTreeMap::new();
        let broken =
            ledgers.iter().flat_map(|ledger| ledger.broken(there.get(&ledger.client).unwrap_or(&none)));
        assert_eq!(broken.collect::<Vec<_>>(), Vec::<String>::new(), "node {}", node.id);
    }
    let (different, answers) = compare::shown(cluster).await;
    assert!(different.is_empty(), "{different:#?}");
    // The followers first: a leader that is alone commits nothing more. Told to stop it would hand over leadership.
    let leader = cluster.leader().await;
    cluster.nodes.iter_mut().filter(|node| node.id != leader).for_each(Node::kill);
    cluster.node(leader).kill();
    let (different, lines) = compare::files(&cluster.nodes);
    assert!(different.is_empty(), "{different:#?}");
    let rows: u64 = sums.tables.iter().map(|(_, rows, _)| rows).sum();
    format!(
        "equal at version {}: {} tables of {rows} rows, {answers} lines shown by each node, {lines} lines of each file",
        sums.version,
        sums.tables.len()
    )
}

/// What is there of each client, by its number and era.
async fn shown(root: &Client) -> BTreeMap<i64, BTreeMap<i64, Rows>> {
    let mut all: BTreeMap<i64, BTreeMap<i64, Rows>> = BTreeMap::new();
    let things = "SELECT t.client, t.era, t.n, t.seq, t.spot, (SELECT count(*) FROM parts p \
                  WHERE p.client = t.client AND p.era = t.era AND p.n = t.n) FROM things t";
    for row in root.query(things, &[]).await.expect("the things") {
        let thing = Thing { seq: row.get(3), spot: row.get(4), parts: row.get(5) };
        all.entry(row.get(0)).or_default().entry(row.get(1)).or_default().things.insert(row.get(2), thing);
    }
    let bulk = "SELECT client, era, seq, count(*) FROM bulk GROUP BY client, era, seq";
    for row in root.query(bulk, &[]).await.expect("the bulk") {
        let of_era = all.entry(row.get(0)).or_default().entry(row.get(1)).or_default();
        of_era.bulk.insert(row.get(2), row.get(3));
    }
    all
}

/// A comparison that never found anything is none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_byte_that_differs_on_one_replica_is_found() {
    let mut cluster = Cluster::start(3).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    for text in [
        "CREATE TABLE a (k INT8 PRIMARY KEY, v TEXT)",
        "INSERT INTO a VALUES (1, 'the same'), (2, 'planted here'), (3, NULL)",
        "CREATE TABLE b (k INT8 PRIMARY KEY)",
    ] {
        root.batch_execute(text).await.expect(text);
    }
    let (different, sums) = compare::checksums(&cluster).await;
    assert_eq!(different, Vec::<String>::new());
    let table = &sums.tables.iter().find(|(_, rows, _)| *rows == 3).expect("the table with three rows").0;
    let down = if cluster.leader().await == 2 { 3 } else { 2 };
    cluster.node(down).stop().await;
    change_a_byte(cluster.node(down), b"planted here");
    cluster.node(down).start();
    until("the node follows", async || cluster.leader_status().await.is_some()).await;
    cluster.until_all_caught_up().await;

    let (different, _) = compare::checksums(&cluster).await;
    assert!(different.iter().any(|text| text.starts_with(table.as_str())), "{table}: {different:?}");
    let expected = |text: &String| text.starts_with(table.as_str()) || text.starts_with("grantd_history");
    assert!(different.iter().all(expected), "{different:?}");
    let (different, _) = compare::shown(&cluster).await;
    assert!(different.iter().any(|text| text.contains("qlanted here")), "{different:?}");
    for node in &mut cluster.nodes {
        node.stop().await;
    }
    let (different, _) = compare::files(&cluster.nodes);
    assert!(
        different.iter().any(|text| text.starts_with("only on") && text.contains("qlanted here")),
        "{different:?}"
    );
}

/// What the nodes' logs say of errors.
fn errors(cluster: &Cluster) -> String {
    let logs: String = cluster.nodes.iter().map(Node::logged).collect();
    logs.lines().filter(|line| line.contains("ERROR")).collect::<Vec<_>>().join("\n")
}

/// Changes the first byte of a text wherever it is in the node's file: in its row, and in the history of it.
fn change_a_byte(node: &Node, text: &[u8]) {
    // What is still in the write-ahead log has checksums; who closes the file moves it into the pages.
    drop(Store::open(&node.data.join(STATE_FILE), &system::extensions()).expect("the row store opens"));
    let mut file = std::fs::File::options().read(true).write(true).open(node.data.join(STATE_FILE)).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let places: Vec<_> = (0..bytes.len() - text.len()).filter(|at| bytes[*at..].starts_with(text)).collect();
    assert!(!places.is_empty(), "it is not there");
    for place in places {
        file.seek(SeekFrom::Start(place.try_into().unwrap())).unwrap();
        file.write_all(&[text[0] + 1]).unwrap();
    }
    file.sync_all().unwrap();
}
