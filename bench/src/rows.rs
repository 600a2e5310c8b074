//! Rows: a point SELECT on a follower, one-row INSERTs of one client and of many, and loading in bulk; beside PostgreSQL
//! with two standbys, one of which has applied each commit before it is acknowledged.
//!
//! Both speak TLS to the same client and sync the same disk. What is compared is measured in turn: a shared disk has moods.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::SinkExt;
use grantd_node::demo::cluster::{Cluster, NODES};
use grantd_node::pgclient::{self, Login};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_postgres::{Client, Statement};

use crate::floor::{RoundTrip, Sync};
use crate::postgres::Postgres;
use crate::report::{Latencies, Report};

type Failed = Box<dyn std::error::Error>;

/// Rows of the table that is read.
const ROWS: i64 = 10_000;
/// Clients that insert at once.
const MANY: usize = 64;
/// Rows that are loaded in bulk.
const BULK_ROWS: usize = 100_000;
/// Rows in one message of a COPY.
const ROWS_IN_MESSAGE: usize = 500;
/// Standbys of the peer: with its primary as many servers as grantd has nodes.
const STANDBYS: usize = 2;

const TABLES: &str = "CREATE TABLE bench_rows (k INT8 PRIMARY KEY, v TEXT NOT NULL); \
    CREATE TABLE bench_writes (k INT8 PRIMARY KEY, v TEXT NOT NULL); \
    CREATE TABLE bench_bulk (k INT8 PRIMARY KEY, v TEXT NOT NULL)";
const VALUE: &str = "forty bytes of text, no more and no less";

/// What a session says before it reads: nothing, and that it is content with what its node has.
const NEWEST: &str = "";
const LOCAL: &str = "SET grantd.read = 'local'";

/// Where statements go, and what it is called in the report.
struct Side {
    name: &'static str,
    /// Where is written: of grantd a follower, which hands over to the leader.
    writes: Login,
    /// Where is read.
    reads: Login,
}

/// Runs each load for `seconds` and reports.
pub async fn run(seconds: u64, report: &mut Report) -> Result<(), Failed> {
    let mut cluster = Cluster::start(None).await.map_err(|failure| failure.to_string())?;
    let leader = cluster.leader().ok_or("nobody leads")?;
    let follower = (1..=NODES).find(|id| *id != leader).ok_or("one node only")?;
    let login = cluster.target(follower, "root").login();
    let mut sides = vec![Side { name: "grantd", writes: login.clone(), reads: login }];
    let postgres = Postgres::start(STANDBYS).await?;
    match &postgres {
        Some(peer) => sides.push(Side { name: "PostgreSQL", writes: peer.login(0), reads: peer.login(1) }),
        None => report.missing("rows beside PostgreSQL: it is not installed".to_owned()),
    }
    let duration = Duration::from_secs(seconds);
    for side in &sides {
        prepare(&side.writes).await?;
    }
    report.heading(
        "Rows on three nodes, over TLS, a client of a follower (PostgreSQL: reads of a standby, writes of the primary)",
    );
    floors(duration, report).await?;
    for side in &sides {
        report.line(&format!(
            "{:<12} point SELECT, prepared          {}",
            side.name,
            select(side, NEWEST, duration).await?.line()
        ));
    }
    // What a standby answers is as old as the standby, too.
    report.line(&format!(
        "{:<12} the same, grantd.read = 'local' {}",
        sides[0].name,
        select(&sides[0], LOCAL, duration).await?.line()
    ));
    for side in &sides {
        report.line(&format!(
            "{:<12} one-row INSERT, 1 client        {}",
            side.name,
            insert(side, 1, duration).await?
        ));
    }
    for side in &sides {
        report.line(&format!(
            "{:<12} one-row INSERT, {MANY} clients      {}",
            side.name,
            insert(side, MANY, duration).await?
        ));
    }
    for side in &sides {
        let loaded = match bulk(side).await {
            Ok(rate) => format!("{rate:>10.0} rows/s"),
            Err(error) => format!("failed: {error}"),
        };
        report.line(&format!("{:<12} COPY of {BULK_ROWS} rows          {loaded}", side.name));
    }
    drop(postgres);
    cluster.stop().await;
    Ok(())
}

async fn prepare(login: &Login) -> Result<(), Failed> {
    let client = pgclient::connect(login).await?;
    client.batch_execute(TABLES).await?;
    let (mut number, last) = (0, ROWS);
    while number < last {
        let until = (number + 1_000).min(last);
        let rows: Vec<String> = (number..until).map(|key| format!("({key}, '{VALUE}')")).collect();
        client.batch_execute(&format!("INSERT INTO bench_rows VALUES {}", rows.join(", "))).await?;
        number = until;
    }
    Ok(())
}

async fn floors(duration: Duration, report: &mut Report) -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let mut sync = Sync::allocate(directory.path(), "floor")?;
    let round_trip = RoundTrip::connect(&Handle::current(), directory.path()).await?;
    let (mut syncs, mut trips) = (Latencies::default(), Latencies::default());
    let until = Instant::now() + duration / 4;
    while Instant::now() < until {
        syncs.record(sync.once()?);
        trips.record(round_trip.once().await?);
    }
    round_trip.close().await;
    report.line(&format!("floor        one sync                        {}", syncs.line()));
    report.line(&format!("floor        round trip between two nodes    {}", trips.line()));
    Ok(())
}

async fn select(side: &Side, before: &str, duration: Duration) -> Result<Latencies, Failed> {
    let client = pgclient::connect(&side.reads).await?;
    client.batch_execute(before).await?;
    let statement = client.prepare("SELECT v FROM bench_rows WHERE k = $1").await?;
    let mut latencies = Latencies::default();
    let until = Instant::now() + duration;
    // A step that shares no factor with the number of rows visits all of them.
    let mut key = 0;
    while Instant::now() < until {
        key = (key + 7_919) % ROWS;
        let begun = Instant::now();
        let row = client.query_one(&statement, &[&key]).await?;
        latencies.record(begun.elapsed());
        if row.get::<_, &str>(0) != VALUE {
            return Err("a row is not what was written".into());
        }
    }
    Ok(latencies)
}

async fn insert(side: &Side, clients: usize, duration: Duration) -> Result<String, Failed> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        let client = pgclient::connect(&side.writes).await?;
        let statement = client.prepare("INSERT INTO bench_writes VALUES ($1, $2)").await?;
        connections.push((client, statement));
    }
    let begun = Instant::now();
    let until = begun + duration;
    let mut tasks = JoinSet::new();
    for (number, (client, statement)) in (1_i64..).zip(connections) {
        let first = (i64::try_from(clients)? * 1_000 + number) * 10_000_000;
        tasks.spawn(insert_until(client, statement, first, until));
    }
    let mut all = Latencies::default();
    while let Some(done) = tasks.join_next().await {
        all.merge(&done??);
    }
    #[allow(clippy::cast_precision_loss, reason = "a count of a few seconds")]
    let rate = all.count() as f64 / begun.elapsed().as_secs_f64();
    Ok(format!("{}   {rate:.0} rows/s", all.line()))
}

async fn insert_until(
    client: Client,
    statement: Statement,
    first: i64,
    until: Instant,
) -> Result<Latencies, tokio_postgres::Error> {
    let mut latencies = Latencies::default();
    for key in first.. {
        if Instant::now() >= until {
            break;
        }
        let begun = Instant::now();
        client.execute(&statement, &[&key, &VALUE]).await?;
        latencies.record(begun.elapsed());
    }
    Ok(latencies)
}

async fn bulk(side: &Side) -> Result<f64, Failed> {
    let client = pgclient::connect(&side.writes).await?;
    let begun = Instant::now();
    let sink = client.copy_in("COPY bench_bulk FROM STDIN").await?;
    let mut sink = std::pin::pin!(sink);
    let keys: Vec<usize> = (0..BULK_ROWS).collect();
    for part in keys.chunks(ROWS_IN_MESSAGE) {
        let text: String = part.iter().map(|key| format!("{key}\t{VALUE}\n")).collect();
        sink.send(Bytes::from(text)).await?;
    }
    let rows = sink.finish().await?;
    if rows != BULK_ROWS as u64 {
        return Err(format!("{rows} rows arrived").into());
    }
    #[allow(clippy::cast_precision_loss, reason = "a constant")]
    Ok(BULK_ROWS as f64 / begun.elapsed().as_secs_f64())
}
