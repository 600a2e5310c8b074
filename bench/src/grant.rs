//! GRANT over the PostgreSQL protocol on three nodes, beside one sync and one round trip between two nodes.
//!
//! A disk on a shared machine has moods that last for seconds. One client's GRANT, one sync and one round trip are
//! therefore measured in turn, again and again: what slows one of them slows the others.

use std::time::{Duration, Instant};

use grantd_node::demo::cluster::{Cluster, NODES};
use grantd_node::pgclient::{self, Login};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::cost::Cost;
use crate::floor::{Quorum, RoundTrip, Sync};
use crate::report::Latencies;

/// The goal: p50 of one client ≤ this × (sync p50 + round trip p50).
const GOAL: f64 = 1.5;
/// Clients of the throughput run.
const MANY: usize = 64;

type Failed = Box<dyn std::error::Error>;

/// A statement that no other node and no disk has a part in: what client, protocol and TLS cost.
const ALONE: &str = "";

/// One client's GRANT beside its floors.
#[derive(Default)]
struct InTurn {
    grant: Latencies,
    alone: Latencies,
    sync: Latencies,
    quorum: Latencies,
    round_trip: Latencies,
}

/// What is measured beside GRANT.
struct Floors {
    sync: Sync,
    quorum: Quorum,
    round_trip: RoundTrip,
}

/// Runs each load for `seconds` and prints the report.
pub async fn run(seconds: u64) -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let mut floors = Floors {
        sync: Sync::allocate(directory.path(), "floor")?,
        quorum: Quorum::allocate(directory.path())?,
        round_trip: RoundTrip::connect(directory.path()).await?,
    };
    let mut cluster = Cluster::start(None).await.map_err(|failure| failure.to_string())?;
    let leader = cluster.leader().ok_or("nobody leads")?;
    let follower = (1..=NODES).find(|id| *id != leader).ok_or("one node only")?;
    prepare(&login(&cluster, leader)).await?;
    println!("GRANT on three nodes of one process, over TLS, each client waiting for its answers\n");
    for (role, node) in [("leader", leader), ("follower", follower)] {
        let measured = in_turn(&login(&cluster, node), &mut floors, seconds).await?;
        measured.print(role);
    }
    let (one, cost) = undisturbed(&login(&cluster, leader), seconds).await?;
    println!("  1 client, nothing    GRANT         {}", one.line());
    println!("  else at that time    each          {cost}\n");
    let (many, throughput) = load(&login(&cluster, leader), seconds).await?;
    println!("  {MANY} clients, leader   GRANT         {}   {throughput:.0} GRANT and REVOKE/s", many.line());
    cluster.stop().await;
    floors.round_trip.close().await;
    Ok(())
}

impl InTurn {
    fn print(&self, role: &str) {
        let floor = self.sync.at(0.5) + self.round_trip.at(0.5);
        println!("  1 client, {role:<8}   one sync      {}", self.sync.line());
        println!("                       2 of 3 syncs  {}", self.quorum.line());
        println!("                       round trip    {}", self.round_trip.line());
        println!("                       empty         {}", self.alone.line());
        println!("                       GRANT         {}", self.grant.line());
        let ratio = self.grant.at(0.5) / floor;
        println!(
            "                       p50 = {ratio:.2} × (sync + round trip = {floor:.1} µs); goal ≤ {GOAL}\n"
        );
    }
}

fn login(cluster: &Cluster, node: u64) -> Login {
    cluster.target(node, "root").login()
}

async fn prepare(login: &Login) -> Result<(), Failed> {
    let client = pgclient::connect(login).await?;
    for number in 0..MANY {
        client.batch_execute(&format!("CREATE TABLE bench_{number} (id INT8 PRIMARY KEY)")).await?;
        client.batch_execute(&format!("CREATE USER bench_{number}")).await?;
    }
    Ok(())
}

async fn in_turn(login: &Login, floors: &mut Floors, seconds: u64) -> Result<InTurn, Failed> {
    let client = pgclient::connect(login).await?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut measured = InTurn::default();
    for statement in statements(0).iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        let begun = Instant::now();
        client.batch_execute(statement).await?;
        if statement.starts_with("GRANT") {
            measured.grant.record(begun.elapsed());
        }
        let begun = Instant::now();
        client.batch_execute(ALONE).await?;
        measured.alone.record(begun.elapsed());
        measured.sync.record(floors.sync.once()?);
        measured.quorum.record(floors.quorum.once()?);
        measured.round_trip.record(floors.round_trip.once().await?);
    }
    Ok(measured)
}

/// One client without the floors between its statements, and what each of its statements costs the process.
async fn undisturbed(login: &Login, seconds: u64) -> Result<(Latencies, String), Failed> {
    let client = pgclient::connect(login).await?;
    let before = Cost::now()?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let (latencies, count) = grant_until(client, 0, until).await?;
    Ok((latencies, Cost::now()?.line_since(&before, count.into())))
}

/// Many connections to one node, each turning a grant of its own on and off.
async fn load(login: &Login, seconds: u64) -> Result<(Latencies, f64), Failed> {
    let mut connections = Vec::new();
    for _ in 0..MANY {
        connections.push(pgclient::connect(login).await?);
    }
    let begun = Instant::now();
    let until = begun + Duration::from_secs(seconds);
    let mut tasks = JoinSet::new();
    for (number, client) in connections.into_iter().enumerate() {
        tasks.spawn(grant_until(client, number, until));
    }
    let (mut all, mut count) = (Latencies::default(), 0);
    while let Some(done) = tasks.join_next().await {
        let (latencies, statements) = done??;
        all.merge(&latencies);
        count += statements;
    }
    Ok((all, f64::from(count) / begun.elapsed().as_secs_f64()))
}

async fn grant_until(
    client: Client,
    number: usize,
    until: Instant,
) -> Result<(Latencies, u32), tokio_postgres::Error> {
    let (mut latencies, mut count) = (Latencies::default(), 0);
    for statement in statements(number).iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        let begun = Instant::now();
        client.batch_execute(statement).await?;
        count += 1;
        if statement.starts_with("GRANT") {
            latencies.record(begun.elapsed());
        }
    }
    Ok((latencies, count))
}

fn statements(number: usize) -> [String; 3] {
    [
        format!("GRANT SELECT ON TABLE bench_{number} TO bench_{number}"),
        format!("GRANT INSERT ON TABLE bench_{number} TO bench_{number}"),
        format!("REVOKE ALL ON TABLE bench_{number} FROM bench_{number}"),
    ]
}
