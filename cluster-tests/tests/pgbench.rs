//! Debian's `pgbench`, unmodified, through a follower of three real processes: it fills its tables with COPY, runs its
//! three scripts in every mode, and its money is conserved while leaders are killed.
//!
//! Without `pgbench` nothing is tested, which is said loudly; with `GRANTD_REQUIRE_PGBENCH` set that fails.
//! `GRANTD_PGBENCH_KILLS` sets how many leaders are killed.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use grantd_cluster_tests::process::{Cluster, Node, until};

/// Where Debian has it: its wrapper in the path is not enough, as it looks for a cluster of the machine.
const DIRECTORY: &str = "/usr/lib/postgresql";
/// How many leaders are killed unless the environment says otherwise.
const KILLS: u64 = 2;
/// What a client that fails over may be told: PostgreSQL's classes of lost servers and unknown outcomes.
const EXPECTED: [&str; 3] = ["unknown", "no leader", "restart transaction"];

fn pgbench() -> Option<PathBuf> {
    let releases = std::fs::read_dir(DIRECTORY).ok()?;
    let mut found: Vec<_> = releases
        .filter_map(|release| Some(release.ok()?.path().join("bin/pgbench")))
        .filter(|program| program.exists())
        .collect();
    found.sort();
    let found = found.pop();
    if found.is_none() {
        assert!(
            std::env::var_os("GRANTD_REQUIRE_PGBENCH").is_none(),
            "pgbench is required: install postgresql"
        );
        eprintln!("NOT TESTED: there is no pgbench in {DIRECTORY}; Debian's package postgresql has it");
    }
    found
}

/// `pgbench` that logs in on `node` as root.
fn command(program: &Path, cluster: &Cluster, node: &Node, arguments: &str) -> Command {
    let login = cluster.login(node, "root");
    let (certificate, key) = login.certificate.clone().unwrap();
    let mut command = Command::new(program);
    command
        .args(arguments.split_whitespace())
        .env("PGHOST", &login.host)
        .env("PGPORT", login.port.to_string())
        .env("PGUSER", &login.user)
        .env("PGDATABASE", &login.database)
        .env("PGSSLMODE", "verify-full")
        .env("PGSSLROOTCERT", &login.ca)
        .env("PGSSLCERT", certificate)
        .env("PGSSLKEY", key);
    command
}

fn said(output: &Output) -> String {
    let text = [output.stdout.clone(), output.stderr.clone()].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// A node that does not lead.
async fn follower(cluster: &Cluster) -> &Node {
    let leader = cluster.leader().await;
    cluster.nodes.iter().find(|node| node.is_running() && node.id != leader).unwrap()
}

/// The sums that must be equal, and how many transfers there were.
async fn money(cluster: &Cluster) -> (Vec<i64>, i64) {
    // A node that was just started does not listen yet.
    until("a follower takes clients", async || cluster.root(follower(cluster).await).await.is_ok()).await;
    let client = cluster.root(follower(cluster).await).await.unwrap();
    let mut sums = Vec::new();
    for query in [
        "SELECT coalesce(sum(abalance), 0)::INT8 FROM pgbench_accounts",
        "SELECT coalesce(sum(tbalance), 0)::INT8 FROM pgbench_tellers",
        "SELECT coalesce(sum(bbalance), 0)::INT8 FROM pgbench_branches",
        "SELECT coalesce(sum(delta), 0)::INT8 FROM pgbench_history",
    ] {
        sums.push(client.query_one(query, &[]).await.unwrap().get(0));
    }
    let count = client.query_one("SELECT count(*) FROM pgbench_history", &[]).await.unwrap();
    (sums, count.get(0))
}

fn assert_conserved((sums, _): &(Vec<i64>, i64)) {
    assert!(sums.windows(2).all(|pair| pair[0] == pair[1]), "accounts, tellers, branches, history: {sums:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pgbench_runs_unmodified_and_its_money_is_conserved_while_leaders_die() {
    let Some(program) = pgbench() else { return };
    let mut cluster = Cluster::start(3).await;
    let run = |cluster: &Cluster, node: &Node, arguments: &str| {
        let output = command(&program, cluster, node, arguments).output().unwrap();
        let said = said(&output);
        assert!(output.status.success(), "pgbench {arguments}: {said}");
        assert!(!said.contains("ERROR"), "pgbench {arguments}: {said}");
    };
    run(&cluster, follower(&cluster).await, "-i -s 1 -q");
    let client = cluster.root(follower(&cluster).await).await.unwrap();
    let filled = client
        .query_one("SELECT count(*), max(aid)::INT8, min(bid)::INT8 FROM pgbench_accounts", &[])
        .await
        .unwrap();
    let filled = [0, 1, 2].map(|column| filled.get::<_, i64>(column));
    assert_eq!(filled, [100_000, 100_000, 1]);
    let mut transfers = 0;
    for mode in ["simple", "extended", "prepared"] {
        for script in ["", "-N", "-S"] {
            let arguments = format!("-n -c 2 -j 2 -t 10 --max-tries=1000 -M {mode} {script}");
            run(&cluster, follower(&cluster).await, &arguments);
            transfers += if script == "-S" { 0 } else { 20 };
        }
    }
    let after = money(&cluster).await;
    // -N leaves the tellers and branches as they are.
    assert_eq!((after.0[0], after.1), (after.0[3], transfers));
    // A run that is not told otherwise begins with VACUUM and an empty history.
    run(&cluster, follower(&cluster).await, "-i -s 1 -q -I dtgvp");
    run(&cluster, follower(&cluster).await, "-c 2 -t 10 --max-tries=1000");
    let mut before = money(&cluster).await;
    assert_conserved(&before);
    assert_eq!(before.1, 20);
    let kills = std::env::var("GRANTD_PGBENCH_KILLS").ok().map_or(KILLS, |kills| kills.parse().unwrap());
    for _ in 0..kills {
        let leader = cluster.leader().await;
        let node = follower(&cluster).await;
        let mut running = command(&program, &cluster, node, "-n -c 4 -j 2 -T 8 --max-tries=1000");
        let running = tokio::task::spawn_blocking(move || running.output().unwrap());
        // In the middle of the load: a time is all there is to wait for.
        tokio::time::sleep(Duration::from_secs(3)).await;
        cluster.node(leader).kill();
        let output = running.await.unwrap();
        let said = said(&output);
        let unexpected =
            |line: &&str| line.contains("ERROR") && !EXPECTED.iter().any(|text| line.contains(text));
        assert_eq!(said.lines().find(unexpected), None, "{said}");
        cluster.node(leader).start();
        cluster.until_all_caught_up().await;
        let after = money(&cluster).await;
        assert_conserved(&after);
        assert!(after.1 > before.1, "no transfer went through: {said}");
        before = after;
    }
    cluster.converged_checksum().await;
}
