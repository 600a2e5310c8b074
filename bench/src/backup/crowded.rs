//! BACKUP of a cluster with many grants and a large table, to MiniStack under a chain of three roles with credentials of 3 s, while
//! 500 rows a second are written; then RESTORE of it into an empty cluster, which must have the rows and grants of its time.
//!
//! Everything shares this machine: three nodes, the writers, MiniStack, and PostgreSQL when it is its turn. `pg_dump | zstd` has the
//! same writers beside it.

use std::time::{Duration, Instant};

use grantd_node::pgclient::{self, Login};
use tokio_postgres::Client;

use super::memory::{Memory, Watch};
use super::ministack::{self, Bucket};
use super::table::fill;
use super::writers::{Ledger, Writers};
use super::{Load, MIB, NODE, Peer, back_up, equal};
use crate::listing::make;
use crate::nodes::{Extra, Nodes};
use crate::report::{Latencies, Report};

type Failed = Box<dyn std::error::Error>;

/// Tables that have the grants.
const TABLES: usize = 10_000;
/// Roles that one statement grants to.
const GRANTEES: usize = 10;
/// How long writers are alone before the first backup, and between two.
const QUIET: Duration = Duration::from_secs(20);
/// Until connections, caches and the log's files are as they stay.
const WARM: Duration = Duration::from_secs(5);
/// The 99th percentile of the writers beside a backup may be so many times the quiet one.
const SLOWER_MAX: f64 = 2.0;
/// The most memory that a node may have meanwhile.
const MEMORY_MIB: u64 = 256;
const CALLS: &str = "grantd_credential_sts_calls_total";

/// Measures and reports; an error if the restored is not what was backed up.
pub(super) async fn run(load: Load, report: &mut Report) -> Result<(), Failed> {
    report.heading(&format!(
        "Backup of a cluster with {} rows and {} grants to MiniStack, writers beside it",
        load.rows, load.grants
    ));
    let Some(program) = ministack::program() else {
        report.missing("backup to MiniStack: it is not installed".to_owned());
        return Ok(());
    };
    let bucket = Bucket::start(&program)?;
    report.line(&format!(
        "MiniStack alone     puts of 8 MiB, one by one: {:.1} MiB/s",
        bucket.plain_mib_a_second()
    ));
    let (nodes, login) = cluster(&bucket).await?;
    let client = pgclient::connect(&login).await?;
    let empty = Memory::now(nodes.process_id(NODE)?)?;
    let roles = grant(&client, &login, load.grants).await?;
    let granted = Memory::now(nodes.process_id(NODE)?)?;
    let begun = Instant::now();
    let bytes = fill(&login, load.rows).await?;
    report.line(&format!(
        "values              {:.1} MiB, copied in {:.1} s. The node had {empty} empty, {granted} with the grants",
        bytes as f64 / MIB,
        begun.elapsed().as_secs_f64()
    ));
    let peer = Peer::start(load.rows, report).await?;
    let before = equal::grants(&client, roles).await?;

    let writers = Writers::start(&nodes.leader_login().await?, load.rows).await?;
    tokio::time::sleep(WARM).await;
    let mut spans = Vec::new();
    for round in 0..load.rounds {
        let quiet = Instant::now();
        tokio::time::sleep(QUIET).await;
        let (asked, ended) = one(&nodes, &client, &bucket, round, bytes, report).await?;
        spans.push((quiet, asked, ended));
        peer.as_ref().map_or(Ok(()), |peer| peer.measure(bytes, report))?;
    }
    let ledger = writers.end().await?;
    let (mut alone, mut beside) = (Latencies::default(), Latencies::default());
    for (quiet, asked, ended) in &spans {
        let (before, meanwhile) = (ledger.latencies(*quiet, *asked), ledger.latencies(*asked, *ended));
        tell(&before, QUIET, &meanwhile, *ended - *asked, report);
        for (what, from, to) in [("alone", quiet, asked), ("beside the backup", asked, ended)] {
            if let Some((due, took)) = ledger.slowest(*from, *to) {
                let (due, took) = (due.as_secs_f64(), took.as_secs_f64() * 1e3);
                report.line(&format!("  the slowest {what} took {took:.0} ms, {due:.1} s after its begin"));
            }
        }
        alone.merge(&before);
        beside.merge(&meanwhile);
    }
    let (times, goal) = (beside.at(0.99) / alone.at(0.99), SLOWER_MAX);
    report.line(&format!("all rounds alone    {}", alone.line()));
    report.line(&format!("  beside backups    {}", beside.line()));
    report.line(&format!("  p99 {times:.2} times the quiet one; goal {goal}"));

    let after = equal::grants(&client, roles).await?;
    if before.0 != after.0 {
        return Err("grants changed meanwhile".into());
    }
    drop(client);
    drop(nodes);
    drop(peer);
    match spans.last() {
        Some((_, asked, _)) => restore(load, &bucket, (&ledger, *asked), &before.0, bytes, report).await,
        None => Ok(()),
    }
}

/// Restores the last backup into an empty cluster, and compares. With the ledger: when the backup was asked for.
async fn restore(
    load: Load,
    bucket: &Bucket,
    (ledger, asked): (&Ledger, Instant),
    granted: &[u64],
    bytes: u64,
    report: &mut Report,
) -> Result<(), Failed> {
    let (nodes, login) = cluster(bucket).await?;
    let client = pgclient::connect(&login).await?;
    let watch = Watch::begin(nodes.process_id(NODE)?)?;
    let begun = Instant::now();
    let uri = bucket.uri(&place(load.rounds - 1));
    back_up(&client, &format!("RESTORE FROM LATEST IN '{uri}'")).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let (_, most) = watch.end();
    report.line(&format!(
        "RESTORE             {seconds:.2} s, {:.1} MiB/s; the node had {most} at most",
        bytes as f64 / MIB / seconds
    ));
    let (rows, changed) = equal::rows(&login, load.rows, ledger, asked).await?;
    let (sums, grants) = equal::grants(&client, granted.len()).await?;
    if sums != granted {
        return Err(format!("grants came back that are not those that there were: {grants}").into());
    }
    report.line(&format!(
        "restored is equal   {rows} rows, {changed} of them as the writers had left them at the backup's time; {grants} lines of SHOW GRANTS of {} roles",
        granted.len()
    ));
    Ok(())
}

/// Three nodes that begin the chain.
async fn cluster(bucket: &Bucket) -> Result<(Nodes, Login), Failed> {
    let (arguments, environment) = bucket.node();
    let nodes = Nodes::start_with(&Extra { arguments, environment: Some(environment) }).await?;
    let login = nodes.login(NODE)?;
    let client = pgclient::connect(&login).await?;
    client.batch_execute("SET CLUSTER SETTING cloud.credentials.duration = '3s'").await?;
    Ok((nodes, login))
}

/// Makes tables, and grants each to as many roles as it takes. Returns how many roles there are.
async fn grant(client: &Client, login: &Login, grants: usize) -> Result<usize, Failed> {
    let tables = TABLES.min(grants);
    let roles = grants / tables.max(1);
    make(login, (0..roles).map(|role| format!("CREATE ROLE r{role}")).collect()).await?;
    client.batch_execute("CREATE SCHEMA big").await?;
    let table = |at| format!("CREATE TABLE big.t{at} (k INT8 PRIMARY KEY)");
    make(login, (0..tables).map(table).collect()).await?;
    let names: Vec<_> = (0..roles).map(|role| format!("r{role}")).collect();
    for grantees in names.chunks(GRANTEES) {
        let to = grantees.join(", ");
        client.batch_execute(&format!("GRANT SELECT ON ALL TABLES IN SCHEMA big TO {to}")).await?;
    }
    Ok(roles)
}

fn place(round: usize) -> String {
    format!("round-{round}")
}

/// One backup. When it was asked for, and when it had ended.
async fn one(
    nodes: &Nodes,
    client: &Client,
    bucket: &Bucket,
    round: usize,
    bytes: u64,
    report: &mut Report,
) -> Result<(Instant, Instant), Failed> {
    let calls = |node: u64| nodes.counted(node, CALLS);
    let ids = nodes.processes().collect::<Vec<_>>();
    let called: u64 = (1..).zip(&ids).map(|(node, _)| calls(node)).sum::<Result<_, _>>()?;
    let watches = ids.iter().map(|id| Watch::begin(*id)).collect::<Result<Vec<_>, _>>()?;
    let asked = Instant::now();
    let rows = back_up(client, &format!("BACKUP INTO '{}'", bucket.uri(&place(round)))).await?;
    let ended = Instant::now();
    let seconds = (ended - asked).as_secs_f64();
    let called = (1..).zip(&ids).map(|(node, _)| calls(node)).sum::<Result<u64, _>>()? - called;
    report.line(&format!(
        "BACKUP              {seconds:.2} s, {:.1} MiB/s, {rows} rows, {called} calls of STS",
        bytes as f64 / MIB / seconds
    ));
    for (node, watch) in (1..).zip(watches) {
        let (before, most) = watch.end();
        let node: u64 = node;
        report.line(&format!(
            "  node {node}            {before} before and {most} at most; goal {MEMORY_MIB} MiB"
        ));
    }
    Ok((asked, ended))
}

fn tell(quiet: &Latencies, time: Duration, meanwhile: &Latencies, took: Duration, report: &mut Report) {
    let rate = |latencies: &Latencies, time: Duration| latencies.count() as f64 / time.as_secs_f64();
    report.line(&format!("writes alone        {}, {:.0}/s", quiet.line(), rate(quiet, time)));
    report.line(&format!("  beside the backup {}, {:.0}/s", meanwhile.line(), rate(meanwhile, took)));
    report.line(&format!(
        "  p50 {:.2} times, p99 {:.2} times the quiet one; goal {SLOWER_MAX}",
        meanwhile.at(0.5) / quiet.at(0.5),
        meanwhile.at(0.99) / quiet.at(0.99)
    ));
}
