//! GRANT over the PostgreSQL protocol on three nodes, beside one sync and one round trip between two nodes.
//!
//! A disk on a shared machine has moods that last for seconds. One client's GRANT, one sync and one round trip are
//! therefore measured in turn, again and again: what slows one of them slows the others.

use std::time::{Duration, Instant};

use grantd_node::demo::cluster::{Cluster, NODES};
use grantd_node::pgclient::{self, Login};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::cost::Cost;
use crate::figure::{Figure, Goal, digits};
use crate::floor::{Quorum, RoundTrip, Sync};
use crate::report::{Latencies, Line, Measured, Report};

/// The goal: p50 of one client ≤ this × (sync p50 + round trip p50).
const GOAL: f64 = 1.5;
/// The goal of REVOKE while nothing is in its way: p50 ≤ this × that of GRANT.
const REVOKE_GOAL: f64 = 1.5;
/// The goal of many clients: GRANT and REVOKE a second.
const MANY_GOAL: f64 = 10_000.0;
/// Clients of the throughput run.
const MANY: usize = 64;
/// The throughput run is made so often, for its noise.
const MANY_ROUNDS: u32 = 3;
/// How long a round of what is measured in turn is.
const ROUND: Duration = Duration::from_millis(500);

type Failed = Box<dyn std::error::Error>;

/// A statement that no other node and no disk has a part in: what client, protocol and TLS cost.
const ALONE: &str = "";

/// One client's GRANT and REVOKE beside their floors.
#[derive(Default)]
struct InTurn {
    grant: Latencies,
    revoke: Latencies,
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

/// Runs each load for `seconds` and reports.
pub async fn run(seconds: u64, report: &mut Report) -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let mut floors = Floors {
        sync: Sync::allocate(directory.path(), "floor")?,
        quorum: Quorum::allocate(directory.path())?,
        round_trip: RoundTrip::connect(&Handle::current(), directory.path()).await?,
    };
    let mut cluster = Cluster::start(None).await.map_err(|failure| failure.to_string())?;
    let leader = cluster.leader().ok_or("nobody leads")?;
    let follower = (1..=NODES).find(|id| *id != leader).ok_or("one node only")?;
    prepare(&login(&cluster, leader)).await?;
    report.heading(
        "GRANT and REVOKE on three nodes of one process, over TLS, each client waiting for its answers",
    );
    for (role, node) in [("leader", leader), ("follower", follower)] {
        let rounds = in_turn(&login(&cluster, node), &mut floors, seconds).await?;
        tell(role, &rounds, report);
    }
    let (one, cost) = undisturbed(&login(&cluster, leader), seconds).await?;
    report.line(&format!("1 client, nothing    GRANT         {}", one.line()));
    report.line(&format!("else at that time    each          {cost}"));
    let mut rates = Vec::new();
    for _ in 0..MANY_ROUNDS {
        let each = Duration::from_secs(seconds) / MANY_ROUNDS;
        let (many, throughput) = load(&login(&cluster, leader), each).await?;
        report.line(&format!(
            "{MANY} clients, leader   GRANT         {}   {throughput:.0} GRANT and REVOKE/s",
            many.line()
        ));
        rates.push(throughput);
    }
    if let Some(figure) = Figure::of(&rates) {
        let (line, what, goal) = (Line::Grant, format!("{MANY} clients"), Goal::AtLeast(MANY_GOAL));
        report.measured(Measured { line, what, goal, unit: "/s", figure, beside: String::new() });
    }
    cluster.stop().await;
    floors.round_trip.close().await;
    Ok(())
}

impl InTurn {
    fn merge(&mut self, other: &Self) {
        self.grant.merge(&other.grant);
        self.revoke.merge(&other.revoke);
        self.alone.merge(&other.alone);
        self.sync.merge(&other.sync);
        self.quorum.merge(&other.quorum);
        self.round_trip.merge(&other.round_trip);
    }

    fn floor(&self) -> f64 {
        self.sync.at(0.5) + self.round_trip.at(0.5)
    }
}

fn tell(role: &str, rounds: &[InTurn], report: &mut Report) {
    let mut all = InTurn::default();
    rounds.iter().for_each(|round| all.merge(round));
    report.line(&format!("1 client, {role:<8}   one sync      {}", all.sync.line()));
    for (name, latencies) in [
        ("2 of 3 syncs", &all.quorum),
        ("round trip", &all.round_trip),
        ("empty", &all.alone),
        ("GRANT", &all.grant),
        ("REVOKE", &all.revoke),
    ] {
        report.line(&format!("                     {name:<14}{}", latencies.line()));
    }
    let each = |of: fn(&InTurn) -> f64| rounds.iter().map(of).collect::<Vec<_>>();
    let (grants, revokes) = (each(|round| round.grant.at(0.5)), each(|round| round.revoke.at(0.5)));
    let goals = [
        (Line::Grant, GOAL, &grants, each(InTurn::floor), "sync + round trip"),
        (Line::Revoke, REVOKE_GOAL, &revokes, grants.clone(), "GRANT"),
    ];
    for (line, goal, these, those, name) in goals {
        let (Some(figure), Some(beside)) = (Figure::ratio(these, &those), Figure::of(&those)) else {
            continue;
        };
        let beside = format!("{name} {} µs", digits(beside.value));
        report.line(&format!("                     p50 = {figure} × ({beside}); goal ≤ {goal}"));
        let (what, goal) = (format!("p50, 1 client of a {role}"), Goal::AtMost(goal));
        report.measured(Measured { line, what, goal, unit: "×", figure, beside });
    }
    report.line("");
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

async fn in_turn(login: &Login, floors: &mut Floors, seconds: u64) -> Result<Vec<InTurn>, Failed> {
    let client = pgclient::connect(login).await?;
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut rounds = Vec::new();
    while Instant::now() < until {
        let mut round = InTurn::default();
        let end = Instant::now() + ROUND;
        // Whole turns: each round has a REVOKE.
        while Instant::now() < end {
            for statement in statements(0) {
                let begun = Instant::now();
                client.batch_execute(&statement).await?;
                let kind = if statement.starts_with("GRANT") { &mut round.grant } else { &mut round.revoke };
                kind.record(begun.elapsed());
                let begun = Instant::now();
                client.batch_execute(ALONE).await?;
                round.alone.record(begun.elapsed());
                round.sync.record(floors.sync.once()?);
                round.quorum.record(floors.quorum.once()?);
                round.round_trip.record(floors.round_trip.once().await?);
            }
        }
        rounds.push(round);
    }
    Ok(rounds)
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
async fn load(login: &Login, length: Duration) -> Result<(Latencies, f64), Failed> {
    let mut connections = Vec::new();
    for _ in 0..MANY {
        connections.push(pgclient::connect(login).await?);
    }
    let begun = Instant::now();
    let until = begun + length;
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
