//! Statements and sessions that are stopped from another node, between real processes.

use std::time::{Duration, Instant};

use grantd_cluster_tests::process::{Cluster, PATIENCE, until};
use grantd_node::cert;
use grantd_node::pgclient;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// What is promised is 100 ms on an idle machine; tests share theirs.
const STOPPED_WITHIN: Duration = Duration::from_secs(5);
/// How often each kind is stopped: the times are printed.
const ROUNDS: usize = 10;

/// Runs for minutes unless it is stopped: 60 rows to the sixth power, and nothing to make it shorter.
const LONG_READ: &str =
    "SELECT count(*) FROM n a, n b, n c, n d, n e, n f WHERE a.k + b.k + c.k + d.k + e.k + f.k < 0";
/// The same as a write. A write may take 2 s at most, so it has to be stopped before.
const LONG_WRITE: &str = "INSERT INTO found SELECT a.k FROM n a, n b, n c, n d, n e, n f \
    WHERE a.k + b.k + c.k + d.k + e.k + f.k < 0";

async fn cluster() -> Cluster {
    let cluster = Cluster::start(3).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    let rows: Vec<_> = (0..60).map(|k| format!("({k})")).collect();
    let values = rows.join(", ");
    root.batch_execute("CREATE TABLE n (k INT PRIMARY KEY); CREATE TABLE found (k INT)")
        .await
        .expect("tables");
    root.batch_execute(&format!("INSERT INTO n VALUES {values}")).await.expect("rows");
    cluster
}

async fn user(cluster: &Cluster, root: &Client, node: usize, name: &str) -> Client {
    let options = cert::Options { days: 2, overwrite: true };
    cert::create_client(&cluster.ca(), &cluster.ca(), name, &options).expect("a certificate");
    root.batch_execute(&format!("CREATE USER IF NOT EXISTS {name}")).await.expect("a user");
    pgclient::connect(&cluster.login(&cluster.nodes[node], name)).await.expect("the user logs in")
}

/// The numbers of the statement that begins like this and of its session, once any node lists it.
async fn running(observer: &Client, begins: &str) -> (String, String, i64) {
    let found = async || {
        let rows = observer.query("SHOW CLUSTER QUERIES", &[]).await.expect("SHOW QUERIES");
        rows.iter()
            .find(|row| row.get::<_, Option<&str>>("query").is_some_and(|text| text.starts_with(begins)))
            .map(|row| (row.get("query_id"), row.get("session_id"), row.get("node_id")))
    };
    until("the statement is listed", async || found().await.is_some()).await;
    found().await.expect("it runs for long")
}

fn report(what: &str, mut times: Vec<Duration>) {
    times.sort();
    println!(
        "{what}: median {:?}, worst {:?} of {}",
        times[times.len() / 2],
        times[times.len() - 1],
        times.len()
    );
    assert!(times.iter().all(|time| *time < STOPPED_WITHIN), "{what}: {times:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_on_one_node_is_stopped_from_another() {
    let cluster = cluster().await;
    let leader = cluster.leader().await;
    let at = |id: u64| cluster.nodes.iter().position(|node| node.id == id).expect("a node");
    let followers: Vec<_> = cluster.nodes.iter().map(|node| node.id).filter(|id| *id != leader).collect();
    let observer = cluster.root(&cluster.nodes[at(followers[0])]).await.expect("root logs in");
    let other = cluster.nodes[at(followers[1])].id;
    for (what, begins, statement, node) in [
        ("a read on a follower", "SELECT count", LONG_READ, other),
        ("a read on the leader", "SELECT count", LONG_READ, leader),
        ("a write on the leader", "INSERT INTO found", LONG_WRITE, leader),
        ("a write that a follower forwarded", "INSERT INTO found", LONG_WRITE, other),
    ] {
        let client = cluster.root(&cluster.nodes[at(node)]).await.expect("root logs in");
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            let run = async { (client.batch_execute(statement).await, Instant::now()) };
            let stop = async {
                let (query, _, on) = running(&observer, begins).await;
                assert_eq!(u64::try_from(on).expect("a node"), node);
                let begun = Instant::now();
                observer.batch_execute(&format!("CANCEL QUERY '{query}'")).await.expect("CANCEL QUERY");
                begun
            };
            let ((result, ended), begun) = tokio::join!(run, stop);
            let error = result.expect_err("it was stopped");
            assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{error:?}");
            times.push(ended.saturating_duration_since(begun));
        }
        report(what, times);
        client.batch_execute("SELECT 1").await.expect("the session goes on");
    }
    let found = observer.query_one("SELECT count(*) FROM found", &[]).await.expect("a count");
    assert_eq!(found.get::<_, i64>(0), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_waits_behind_another_is_stopped_without_waiting_for_it() {
    let cluster = cluster().await;
    let leader = cluster.leader().await;
    let node = cluster.nodes.iter().find(|node| node.id == leader).expect("a node");
    let (first, second) = (cluster.root(node).await.expect("root"), cluster.root(node).await.expect("root"));
    let observer = cluster.root(node).await.expect("root logs in");
    let mut times = Vec::new();
    for _ in 0..3 {
        // The writer interrupts the first after its two seconds, so this test never waits for long.
        let ahead = async { (first.batch_execute(LONG_WRITE).await, Instant::now()) };
        let waiting = async {
            running(&observer, "INSERT INTO found SELECT").await;
            let run = async { (second.batch_execute("INSERT INTO found VALUES (1)").await, Instant::now()) };
            let stop = async {
                let (query, ..) = running(&observer, "INSERT INTO found VALUES").await;
                let begun = Instant::now();
                observer.batch_execute(&format!("CANCEL QUERY '{query}'")).await.expect("CANCEL QUERY");
                begun
            };
            tokio::join!(run, stop)
        };
        let ((long, long_ended), ((result, ended), begun)) = tokio::join!(ahead, waiting);
        assert!(long.is_err(), "it is too long for a write");
        let error = result.expect_err("it was stopped");
        assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{error:?}");
        assert!(ended < long_ended, "it did not wait for the other");
        times.push(ended.saturating_duration_since(begun));
    }
    report("a write in the queue", times);
    // Another write comes behind all that were given up: none of them was run.
    observer.batch_execute("INSERT INTO found VALUES (2)").await.expect("INSERT");
    let found = observer.query_one("SELECT count(*) FROM found", &[]).await.expect("a count");
    assert_eq!(found.get::<_, i64>(0), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_on_one_node_is_ended_from_another_and_only_by_who_may() {
    let cluster = cluster().await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    let amy = user(&cluster, &root, 1, "amy").await;
    let ben = user(&cluster, &root, 2, "ben").await;
    root.batch_execute("GRANT SELECT ON n TO amy").await.expect("GRANT");
    let run = async { amy.batch_execute(LONG_READ).await };
    let stop = async {
        let (query, session, node) = running(&root, "SELECT count").await;
        assert_eq!(node, 2);
        let unseen = ben.query("SHOW SESSIONS", &[]).await.expect("SHOW SESSIONS");
        let users: Vec<String> = unseen.iter().map(|row| row.get("user_name")).collect();
        assert_eq!(users, ["ben"]);
        for statement in [format!("CANCEL QUERY '{query}'"), format!("CANCEL SESSION '{session}'")] {
            let denied = ben.batch_execute(&statement).await.expect_err("ben has no privilege");
            let message = denied.as_db_error().expect("the node's own").message().to_owned();
            assert_eq!(message, "this operation requires CANCELQUERY privilege");
        }
        root.batch_execute("GRANT SYSTEM CANCELQUERY TO ben").await.expect("GRANT");
        ben.batch_execute(&format!("CANCEL SESSION '{session}'")).await.expect("CANCEL SESSION");
    };
    let (result, ()) = tokio::join!(run, stop);
    let error = result.expect_err("its session has ended");
    assert_eq!(error.code(), Some(&SqlState::ADMIN_SHUTDOWN), "{error:?}");
    closed_after(&amy, Instant::now()).await;
    assert!(!ben.is_closed());
}

/// Waits until the connection is closed, and says how long that took.
async fn closed_after(client: &Client, begun: Instant) -> Duration {
    let closed = async {
        while !client.is_closed() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, closed).await.expect("the connection is closed");
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_a_role_that_lost_its_login_end_on_every_node_if_the_setting_says_so() {
    let cluster = cluster().await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    let amy = user(&cluster, &root, 0, "amy").await;
    root.batch_execute("DROP USER amy").await.expect("DROP USER");
    // The default: it stays, and its own privileges are gone.
    let denied = amy.batch_execute("SELECT k FROM n").await.expect_err("nobody may");
    assert_eq!(denied.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{denied:?}");
    assert!(!amy.is_closed());

    root.batch_execute("SET CLUSTER SETTING sql.auth.end_sessions_on_login_loss.enabled = true")
        .await
        .expect("SET CLUSTER SETTING");
    closed_after(&amy, Instant::now()).await;
    let mut idle = Vec::new();
    for node in 0..3 {
        idle.push(user(&cluster, &root, node, "ben").await);
    }
    let busy = user(&cluster, &root, 1, "ben").await;
    root.batch_execute("GRANT SELECT ON n TO ben").await.expect("GRANT");
    let run = async { busy.batch_execute(LONG_READ).await };
    let lose = async {
        running(&root, "SELECT count").await;
        let begun = Instant::now();
        root.batch_execute("ALTER USER ben NOLOGIN").await.expect("ALTER USER");
        begun
    };
    let (result, begun) = tokio::join!(run, lose);
    let error = result.expect_err("its session has ended");
    let error = error.as_db_error().expect("the node's own");
    assert_eq!(error.message(), "terminating connection: ben does not have login privilege");
    assert_eq!((error.code(), error.severity()), (&SqlState::ADMIN_SHUTDOWN, "FATAL"));
    for client in &idle {
        println!("an idle session ended after {:?}", closed_after(client, begun).await);
    }
    assert!(!root.is_closed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_down_is_named_and_nobody_waits_for_it() {
    let mut cluster = cluster().await;
    let leader = cluster.leader().await;
    let down = cluster.nodes.iter().map(|node| node.id).find(|id| *id != leader).expect("a follower");
    cluster.node(down).kill();
    let up = cluster.nodes.iter().find(|node| node.id == leader).expect("a node");
    let observer = cluster.root(up).await.expect("root logs in");
    let begun = Instant::now();
    let rows = observer.query("SHOW CLUSTER SESSIONS", &[]).await.expect("SHOW SESSIONS");
    println!("with one node down: {:?}", begun.elapsed());
    let row = rows.iter().find(|row| row.get::<_, i64>("node_id") == i64::try_from(down).expect("small"));
    let row = row.expect("it is named");
    assert!(row.get::<_, &str>("active_queries").starts_with("-- "));
    assert_eq!(row.get::<_, Option<&str>>("session_id"), None);
    let nodes = observer.query("SHOW CLUSTER NODES", &[]).await.expect("SHOW CLUSTER NODES");
    for row in &nodes {
        let id = u64::try_from(row.get::<_, i64>("node_id")).expect("a node");
        assert_eq!(row.get::<_, bool>("reachable"), id != down, "node {id}");
        let leads = row.get::<_, Option<&str>>("role") == Some("leader");
        assert_eq!(leads, id == leader, "node {id}");
    }
    assert_eq!(nodes.len(), 3);
}
