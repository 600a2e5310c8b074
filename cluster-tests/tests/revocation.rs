//! Revocation is a promise: when a change that takes rights away has returned, no node of real processes answers by them any
//! more, while links are cut, nodes stand still, are killed and replaced, and leaders change.
//!
//! The whole, ten minutes: `GRANTD_REVOCATION_SECONDS=600`. Another order of faults: `GRANTD_REVOCATION_SEED`; one kind alone, by
//! its name in `Fault`: `GRANTD_REVOCATION_FAULT`.

#[path = "revocation/ask.rs"]
mod ask;
#[path = "revocation/faults.rs"]
mod faults;
#[path = "revocation/history.rs"]
mod history;
#[path = "revocation/net.rs"]
mod net;
#[path = "revocation/outside.rs"]
mod outside;
#[path = "revocation/report.rs"]
mod report;
#[path = "revocation/world.rs"]
mod world;
#[path = "revocation/write.rs"]
mod write;

use std::sync::Arc;
use std::time::{Duration, Instant};

use grantd_cluster_tests::dice::Dice;
use grantd_cluster_tests::process::{Cluster, PATIENCE, free_tcp_port};
use grantd_node::pgclient;
use tokio::task::JoinSet;

use crate::net::Net;
use crate::report::{Recorded, first};
use crate::world::{KINDS, Outside, USER, World};

const SEATS: usize = 3;
/// How long the run is in the gate.
const SECONDS: u64 = 60;
const SEED: u64 = 5;
/// A node says that it finds no leader after so long: sooner than by default, so that a cut shows it.
const REQUEST_TIMEOUT: &str = "--request-timeout-ms=1500";
/// Between two faults.
const CALM_MS: usize = 800;
/// After a node was cut off: it is to be seen how soon it answers again.
const CALM_AFTER_CUT: Duration = Duration::from_millis(2_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_allowed_what_was_taken_away_whatever_happens_to_nodes_and_links() {
    let (seconds, seed) =
        (variable("GRANTD_REVOCATION_SECONDS", SECONDS), variable("GRANTD_REVOCATION_SEED", SEED));
    println!("{seconds} s, seed {seed}");
    let (mut cluster, net, world) = connected(seed).await;
    let (mut writers, mut askers) = (JoinSet::new(), JoinSet::new());
    for right in 0..KINDS.len() {
        writers.spawn(write::to_and_fro(Arc::clone(&world), right, seed * 100 + right as u64));
    }
    for seat in 0..SEATS {
        for asker in ask::all(&world, seat) {
            askers.spawn(ask::again_and_again(Arc::clone(&world), seat, asker));
        }
    }
    let episodes = trouble(&mut cluster, &net, &world, seed, Duration::from_secs(seconds)).await;
    world.end();
    let acts = writers.join_all().await.concat();
    let asked = askers.join_all().await.concat();
    let recorded = Recorded { acts, asked, episodes };
    recorded.print();
    let violations = recorded.violations();
    assert!(
        violations.is_empty(),
        "{} answers by rights that were gone: {:#?}",
        violations.len(),
        first(&violations)
    );
    recorded.assert_in_time();
    assert!(
        recorded.yes_from_leases() > 0,
        "no node that was cut off answered by its lease: nothing was tested"
    );
}

/// What it reads is decided where it was opened: on a leader that nobody follows any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_on_a_leader_that_was_deposed_reads_nothing_by_a_right_that_is_gone() {
    let (cluster, net, world) = connected(SEED).await;
    let root = pgclient::connect(&world.roots[0]).await.expect("root logs in");
    let tables = format!(
        "CREATE TABLE item (id INT8 PRIMARY KEY); CREATE TABLE scratch (id INT8 PRIMARY KEY); \
         GRANT INSERT ON scratch TO {USER}"
    );
    root.batch_execute(&tables).await.expect("two tables");
    for read in ["SELECT id FROM item", "SELECT has_table_privilege('item', 'SELECT')"] {
        let leader_id = cluster.leader().await;
        let leader =
            cluster.nodes.iter().position(|node| node.id == leader_id).expect("a node of this cluster");
        let root = logged_in(&world.roots[(leader + 1) % SEATS]).await;
        root.batch_execute(&format!("GRANT SELECT ON item TO {USER}")).await.expect("the right is given");
        let user = logged_in(&world.login(leader, USER)).await;
        user.batch_execute("BEGIN; INSERT INTO scratch VALUES (1)").await.expect("a transaction that writes");
        user.batch_execute(read).await.expect("the right is there");
        net.isolate(leader, true);
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = root.batch_execute(&format!("REVOKE SELECT ON item FROM {USER}")).await {
            assert!(Instant::now() < deadline, "the others find no leader: {error}");
        }
        let told = user.batch_execute(read).await;
        assert!(told.is_err(), "{read}: the transaction is answered by a right that is gone");
        net.isolate(leader, false);
        cluster.until_all_caught_up().await;
    }
}

/// A session on a node that may just have come back, which refuses until it has heard of a leader.
async fn logged_in(login: &pgclient::Login) -> tokio_postgres::Client {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match pgclient::connect(login).await {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < deadline, "nobody logs in: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Three nodes with a network of our own between them, and a user.
async fn connected(seed: u64) -> (Cluster, Arc<Net>, Arc<World>) {
    let mut cluster = Cluster::prepare(SEATS as u64, &[REQUEST_TIMEOUT]);
    let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.raft_port).collect();
    let net = Net::start(&ports, seed).await;
    let mut outside = Vec::new();
    for seat in 0..SEATS {
        let ca = cluster.ca();
        let at = Outside { socket: ca.join(format!("seat{seat}.sock")), ca, http_port: free_tcp_port() };
        let node = &mut cluster.nodes[seat];
        node.arguments.push(format!("--check-socket={}", at.socket.display()));
        node.arguments.push(format!("--http-listen=127.0.0.1:{}", at.http_port));
        outside.push(at);
        node.arguments.push(format!("--advertise={}", net.address(seat)));
        node.join = if seat == 0 { String::new() } else { faults::join(&net, SEATS, seat) };
    }
    cluster.launch().await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute(&format!("CREATE USER {USER}")).await.expect("a user");
    let world = Arc::new(World::new(&cluster, outside));
    (cluster, net, world)
}

/// Faults, one after the other, until the time is over.
async fn trouble(
    cluster: &mut Cluster,
    net: &Net,
    world: &World,
    seed: u64,
    time: Duration,
) -> Vec<faults::Episode> {
    let mut dice = Dice::new(seed);
    let only = std::env::var("GRANTD_REVOCATION_FAULT").ok();
    let wanted = |fault: &faults::Fault| only.as_ref().is_none_or(|only| *only == format!("{fault:?}"));
    let mut episodes: Vec<faults::Episode> = Vec::new();
    loop {
        for fault in faults::shuffled(&mut dice).into_iter().filter(wanted) {
            tokio::time::sleep(calm(episodes.last(), &mut dice)).await;
            if world.now() >= time {
                return episodes;
            }
            let episode = faults::happen(fault, cluster, net, world, &mut dice).await;
            println!("  {:.2?} to {:.2?}: {:?} at {}", episode.begun, episode.ended, fault, episode.seat);
            episodes.push(episode);
        }
    }
}

fn calm(last: Option<&faults::Episode>, dice: &mut Dice) -> Duration {
    if last.is_some_and(faults::Episode::cuts_off) {
        CALM_AFTER_CUT
    } else {
        Duration::from_millis(200 + dice.below(CALM_MS) as u64)
    }
}

fn variable(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}
