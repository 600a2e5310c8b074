//! How long a node that was stopped takes to its first answer, on a catalog with many grants.

use std::time::{Duration, Instant};

use grantd_node::demo::cluster::{Cluster, NODES};
use grantd_node::pgclient;

use crate::figure::Goal;
use crate::listing::make;
use crate::report::{Latencies, Line, Report};

type Failed = Box<dyn std::error::Error>;

/// Tables, each granted to as many roles as it takes.
const TABLES: usize = 10_000;
/// Roles that one statement grants to.
const GRANTEES: usize = 10;
/// How often the node is stopped and started.
const ROUNDS: usize = 5;
/// From the start of the node to its first answer. Source: the goals of the architecture.
const GOAL: Duration = Duration::from_secs(3);

/// Makes `grants` grants on 10,000 tables, then stops and starts a follower.
pub async fn run(grants: usize, report: &mut Report) -> Result<(), Failed> {
    let tables = TABLES.min(grants);
    let roles = grants / tables.max(1);
    let mut cluster = Cluster::start(None).await.map_err(|failure| failure.to_string())?;
    let leader = cluster.leader().ok_or("nobody leads")?;
    let follower = (1..=NODES).find(|id| *id != leader).ok_or("one node only")?;
    let login = cluster.target(leader, "root").login();
    let client = pgclient::connect(&login).await?;
    report.heading(&format!(
        "{grants} grants: {tables} tables, each granted to {roles} roles; three nodes of one process"
    ));
    let begun = Instant::now();
    make(&login, (0..roles).map(|role| format!("CREATE ROLE r{role}")).collect()).await?;
    client.batch_execute("CREATE SCHEMA big").await?;
    let table = |at| format!("CREATE TABLE big.t{at} (k INT8 PRIMARY KEY)");
    make(&login, (0..tables).map(table).collect()).await?;
    let names: Vec<_> = (0..roles).map(|role| format!("r{role}")).collect();
    for grantees in names.chunks(GRANTEES) {
        let to = grantees.join(", ");
        client.batch_execute(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA big TO {to}")).await?;
    }
    report.line(&format!(
        "made in                                        {:>8.1} s",
        begun.elapsed().as_secs_f64()
    ));

    let mut rounds = Vec::new();
    let (mut served, mut answered) = (Latencies::default(), Latencies::default());
    for _ in 0..ROUNDS {
        cluster.kill_node(follower).await;
        let begun = Instant::now();
        cluster.start_node(follower).await.map_err(|failure| failure.to_string())?;
        served.record(begun.elapsed());
        let client = pgclient::connect(&cluster.target(follower, "root").login()).await?;
        client.batch_execute("SET grantd.read = 'local'").await?;
        let question =
            format!("SELECT has_table_privilege('r{}', 'big.t{}', 'SELECT')", roles - 1, tables - 1);
        let row = client.query_one(&question, &[]).await?;
        if !row.get::<_, bool>(0) {
            return Err("a grant is missing after the start".into());
        }
        answered.record(begun.elapsed());
        rounds.push(begun.elapsed().as_secs_f64());
    }
    let seconds = |latencies: &Latencies| {
        format!("median {:>6.2} s   longest {:>6.2} s", latencies.at(0.5) / 1e6, latencies.at(1.0) / 1e6)
    };
    report.line(&format!("from start to serving                          {}", seconds(&served)));
    report.line(&format!(
        "from start to the first answer, login included {}   goal {} s",
        seconds(&answered),
        GOAL.as_secs()
    ));
    let what = format!("first answer, {grants} grants");
    report.rounds(Line::Start, &what, Goal::AtMost(GOAL.as_secs_f64()), "s", &rounds);
    drop(client);
    cluster.stop().await;
    Ok(())
}
