//! SIGKILL of the leader under load, again and again: nothing that was acknowledged is lost, nothing is half applied,
//! all replicas end up equal, and writes resume soon.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use grantd_cluster_tests::process::{Cluster, PATIENCE, until};
use grantd_cluster_tests::promise::{Promises, Shown, broken};
use grantd_node::pgclient::{self, Login};
use tokio::task::JoinSet;
use tokio_postgres::Client;

const CLIENTS: i64 = 16;
const KILLS: usize = 20;
/// Writes must be acknowledged again this soon after the leader died.
const RESUME_WITHIN: Duration = Duration::from_secs(3);
/// A client gives up on a node that does not answer for this long and calls the outcome unknown.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// What the clients share.
struct Load {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    logins: Vec<Login>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_statement_is_lost_when_leaders_are_killed() {
    let mut cluster = Cluster::start(3).await;
    prepare(&cluster).await;
    let load = Arc::new(Load {
        stop: AtomicBool::new(false),
        acknowledged: AtomicU64::new(0),
        logins: cluster.nodes.iter().map(|node| cluster.login(node, "root")).collect(),
    });
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(write(Arc::clone(&load), client));
    }
    let mut pauses = Vec::new();
    for _ in 0..KILLS {
        pauses.push(kill_leader(&mut cluster, &load).await);
    }
    load.stop.store(true, Ordering::Relaxed);
    let promises = clients.join_all().await;
    let sum = cluster.converged_checksum().await;
    for node in &cluster.nodes {
        let root = cluster.root(node).await.expect("every node answers again");
        for (client, promises) in &promises {
            let faults = broken(promises, &shown(&root, *client).await);
            assert!(faults.is_empty(), "client {client} on node {}: {faults:#?}", node.id);
        }
    }
    let mut tickets: Vec<_> = promises.iter().flat_map(|(_, promises)| &promises.tickets).copied().collect();
    tickets.sort_unstable();
    let twice: Vec<_> = tickets.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(twice.is_empty(), "nextval() gave these values twice: {twice:?}");
    assert!(tickets.len() > KILLS, "the clients hardly took a value: {}", tickets.len());
    pauses.sort();
    let acknowledged: usize = promises.iter().map(|(_, p)| p.pairs.len() + p.users.len()).sum();
    println!(
        "{KILLS} leaders killed, {acknowledged} pairs and users acknowledged, {} values of a sequence, version {}; \
         writes resumed after {:?} (median), {:?} (longest)",
        tickets.len(),
        sum.version,
        pauses[pauses.len() / 2],
        pauses[pauses.len() - 1],
    );
    assert!(pauses.iter().all(|pause| *pause <= RESUME_WITHIN), "writes resumed too late: {pauses:?}");
    assert!(acknowledged > KILLS, "the clients hardly wrote anything");
}

async fn prepare(cluster: &Cluster) {
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    let pairs = "CREATE TABLE pairs (client INT8, seq INT8, half INT8, PRIMARY KEY (client, seq, half))";
    for statement in [pairs, "CREATE TABLE other (id INT8 PRIMARY KEY)", "CREATE SEQUENCE ticket"] {
        root.batch_execute(statement).await.expect(statement);
    }
    for client in 0..CLIENTS {
        root.batch_execute(&format!("CREATE ROLE reader_{client}")).await.expect("a role for each client");
    }
}

/// Kills the leader and starts it again; how long no write was acknowledged.
async fn kill_leader(cluster: &mut Cluster, load: &Load) -> Duration {
    let leader = cluster.leader().await;
    let before = load.acknowledged.load(Ordering::Relaxed);
    until("the clients write", async || load.acknowledged.load(Ordering::Relaxed) > before + 20).await;
    cluster.node(leader).kill();
    let died = Instant::now();
    let at_death = load.acknowledged.load(Ordering::Relaxed);
    // What was acknowledged at the moment of the kill may still be on its way to a client: only what comes on top of
    // one answer for each of them was written under a new leader.
    let resumed = at_death + u64::try_from(CLIENTS).unwrap_or(0);
    while load.acknowledged.load(Ordering::Relaxed) <= resumed {
        assert!(died.elapsed() < PATIENCE, "writes did not resume");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let pause = died.elapsed();
    cluster.node(leader).start();
    cluster.until_all_caught_up().await;
    pause
}

async fn write(load: Arc<Load>, client: i64) -> (i64, Promises) {
    let mut promises = Promises { granted: Some(false), ..Promises::default() };
    let mut node = usize::try_from(client).unwrap_or(0);
    let mut connection: Option<Client> = None;
    for seq in 0_i64.. {
        if load.stop.load(Ordering::Relaxed) {
            break;
        }
        let Some(open) = &connection else {
            node += 1;
            connection = pgclient::connect(&load.logins[node % load.logins.len()]).await.ok();
            if connection.is_none() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            continue;
        };
        let acknowledged = act(open, client, seq, &mut promises).await;
        if acknowledged {
            load.acknowledged.fetch_add(1, Ordering::Relaxed);
        } else {
            connection = None;
        }
    }
    (client, promises)
}

/// One act; whether it was acknowledged. Everything else is an unknown outcome.
async fn act(connection: &Client, client: i64, seq: i64, promises: &mut Promises) -> bool {
    match seq % 5 {
        0 | 1 => {
            let sql = format!("INSERT INTO pairs VALUES ({client}, {seq}, 0), ({client}, {seq}, 1)");
            let acknowledged = run(connection, &sql).await;
            let known = if acknowledged { &mut promises.pairs } else { &mut promises.maybe_pairs };
            known.insert(seq);
            acknowledged
        }
        2 => {
            let user = format!("user_{client}_{seq}");
            let acknowledged = run(connection, &format!("CREATE USER {user}")).await;
            let known = if acknowledged { &mut promises.users } else { &mut promises.maybe_users };
            known.insert(user);
            acknowledged
        }
        3 => match tokio::time::timeout(ANSWER_WITHIN, connection.query_one("SELECT nextval('ticket')", &[]))
            .await
        {
            Ok(Ok(row)) => {
                promises.tickets.push(row.get(0));
                true
            }
            Ok(Err(_)) | Err(_) => false,
        },
        _ => {
            let grant = (seq / 5) % 2 == 0;
            let sql = if grant {
                format!("GRANT SELECT ON TABLE pairs, other TO reader_{client}")
            } else {
                format!("REVOKE SELECT ON TABLE pairs, other FROM reader_{client}")
            };
            let acknowledged = run(connection, &sql).await;
            promises.granted = acknowledged.then_some(grant);
            acknowledged
        }
    }
}

async fn run(connection: &Client, sql: &str) -> bool {
    matches!(tokio::time::timeout(ANSWER_WITHIN, connection.batch_execute(sql)).await, Ok(Ok(())))
}

async fn shown(root: &Client, client: i64) -> Shown {
    let mut shown = Shown::default();
    let counts = format!("SELECT seq, count(*) FROM pairs WHERE client = {client} GROUP BY seq");
    for row in root.query(&counts, &[]).await.expect("the pairs") {
        shown.rows.insert(row.get(0), row.get(1));
    }
    let prefix = format!("user_{client}_");
    let users = root.query("SHOW USERS", &[]).await.expect("the users");
    let names: BTreeSet<String> = users.iter().map(|row| row.get("username")).collect();
    shown.users = names.into_iter().filter(|name| name.starts_with(&prefix)).collect();
    let grant = |table: &str| format!("SELECT has_table_privilege('reader_{client}', '{table}', 'SELECT')");
    let one = async |sql: String| root.query_one(&sql, &[]).await.expect("the grant").get::<_, bool>(0);
    shown.granted = (one(grant("pairs")).await, one(grant("other")).await);
    shown
}
