//! Transactions between real processes: clients on followers, the writer on the leader, and what is left of them when a
//! leader, a client or a right goes away in the middle.

use std::time::{Duration, Instant};

use grantd_cluster_tests::process::{Cluster, until};
use grantd_node::cert;
use grantd_node::pgclient;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// The places of the nodes in `cluster.nodes`: the leader's, and the followers'.
async fn places(cluster: &Cluster) -> (usize, Vec<usize>) {
    let leader = cluster.leader().await;
    let at = |id: u64| cluster.nodes.iter().position(|node| node.id == id).expect("a node");
    let followers = (0..cluster.nodes.len()).filter(|place| *place != at(leader)).collect();
    (at(leader), followers)
}

async fn root(cluster: &Cluster, place: usize) -> Client {
    cluster.root(&cluster.nodes[place]).await.expect("root logs in")
}

async fn user(cluster: &Cluster, root: &Client, place: usize, name: &str) -> Client {
    let options = cert::Options { days: 2, overwrite: true };
    cert::create_client(&cluster.ca(), &cluster.ca(), name, &options).expect("a certificate");
    root.batch_execute(&format!("CREATE USER IF NOT EXISTS {name}")).await.expect("a user");
    pgclient::connect(&cluster.login(&cluster.nodes[place], name)).await.expect("the user logs in")
}

async fn run(client: &Client, text: &str) {
    client.batch_execute(text).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
}

async fn refused(client: &Client, text: &str) -> String {
    let error = client.batch_execute(text).await.expect_err(text);
    error.code().unwrap_or_else(|| panic!("{text}: {error:?}")).code().to_owned()
}

async fn number(client: &Client, text: &str) -> i64 {
    let row = client.query_one(text, &[]).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
    row.get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_on_a_follower_is_isolated_and_whole() {
    let cluster = Cluster::start(3).await;
    let (leader, followers) = places(&cluster).await;
    let (one, two) = (root(&cluster, followers[0]).await, root(&cluster, followers[1]).await);
    let at_leader = root(&cluster, leader).await;
    run(&one, "CREATE TABLE account (k INT PRIMARY KEY, v INT)").await;
    run(&one, "INSERT INTO account VALUES (1, 100), (2, 100)").await;

    // No dirty read, on any node; the transaction sees its own changes.
    run(&one, "BEGIN").await;
    run(&one, "UPDATE account SET v = v - 40 WHERE k = 1").await;
    assert_eq!(number(&one, "SELECT v FROM account WHERE k = 1").await, 60);
    for other in [&two, &at_leader] {
        assert_eq!(number(other, "SELECT v FROM account WHERE k = 1").await, 100);
    }
    run(&one, "UPDATE account SET v = v + 40 WHERE k = 2").await;
    run(&one, "COMMIT").await;
    for other in [&two, &at_leader] {
        assert_eq!(number(other, "SELECT v FROM account WHERE k = 1").await, 60);
        assert_eq!(number(other, "SELECT sum(v)::INT8 FROM account").await, 200);
    }

    // No lost update: both read, both write what they have read; the second is told.
    for client in [&one, &two] {
        run(client, "BEGIN").await;
        assert_eq!(number(client, "SELECT v FROM account WHERE k = 1").await, 60);
    }
    run(&one, "UPDATE account SET v = 61 WHERE k = 1").await;
    run(&one, "COMMIT").await;
    assert_eq!(refused(&two, "UPDATE account SET v = 62 WHERE k = 1").await, "40001");
    assert_eq!(refused(&two, "SELECT 1").await, "25P02");
    run(&two, "ROLLBACK").await;
    assert_eq!(number(&two, "SELECT v FROM account WHERE k = 1").await, 61);

    // No write skew: each reads what the other writes.
    for client in [&one, &two] {
        run(client, "BEGIN").await;
        assert_eq!(number(client, "SELECT sum(v)::INT8 FROM account").await, 201);
    }
    run(&one, "UPDATE account SET v = 0 WHERE k = 1").await;
    run(&one, "COMMIT").await;
    assert_eq!(refused(&two, "UPDATE account SET v = 0 WHERE k = 2").await, "40001");
    run(&two, "ROLLBACK").await;

    // Savepoints and DDL, rolled back and kept.
    run(&one, "BEGIN; CREATE TABLE made (a INT PRIMARY KEY); INSERT INTO made VALUES (1)").await;
    run(&one, "SAVEPOINT here; INSERT INTO made VALUES (2)").await;
    assert_eq!(refused(&one, "INSERT INTO made VALUES (2)").await, "23505");
    run(&one, "ROLLBACK TO here; INSERT INTO made VALUES (3)").await;
    assert_eq!(refused(&two, "SELECT * FROM made").await, "42P01");
    run(&one, "COMMIT").await;
    let rows = two.query("SELECT a FROM made ORDER BY a", &[]).await.expect("rows");
    assert_eq!(rows.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>(), [1, 3]);
    run(&one, "BEGIN; DROP TABLE made; CREATE TABLE other (a INT); ROLLBACK").await;
    assert_eq!(number(&two, "SELECT count(*) FROM made").await, 2);
    assert_eq!(refused(&two, "SELECT * FROM other").await, "42P01");

    // The drivers' way: prepared statements and their own BEGIN.
    let mut one = one;
    let transaction = one.transaction().await.expect("BEGIN");
    let insert = transaction.prepare("INSERT INTO made VALUES ($1) RETURNING a").await.expect("prepared");
    for value in 10_i64..13 {
        let row = transaction.query_one(&insert, &[&value]).await.expect("a row");
        assert_eq!(row.get::<_, i64>(0), value);
    }
    transaction.commit().await.expect("COMMIT");
    let transaction = one.transaction().await.expect("BEGIN");
    transaction.execute("DELETE FROM made", &[]).await.expect("DELETE");
    transaction.rollback().await.expect("ROLLBACK");
    assert_eq!(number(&two, "SELECT count(*) FROM made").await, 5);
    cluster.converged_checksum().await;
}

/// From the leader and from a follower: it waits its turn, for as long as its client likes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_a_table_is_made_for_the_table_that_its_turn_finds() {
    let cluster = Cluster::start(3).await;
    let (_, followers) = places(&cluster).await;
    let (holder, client) = (root(&cluster, followers[0]).await, root(&cluster, followers[1]).await);
    run(&holder, "CREATE TABLE t (k INT PRIMARY KEY, v TEXT)").await;
    run(&holder, "BEGIN; ALTER TABLE t ALTER COLUMN v TYPE INT8 USING length(v)").await;
    // A text is a DEFAULT for the column as it is, and none for the one that is to be when its turn comes.
    let (answer, ()) =
        tokio::join!(refused(&client, "ALTER TABLE t ALTER COLUMN v SET DEFAULT 'x'"), async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            run(&holder, "COMMIT").await;
        });
    assert_eq!(answer, "22P02");
    run(&client, "INSERT INTO t (k) VALUES (1)").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_of_tables_waits_for_an_open_transaction_as_rows_do() {
    let cluster = Cluster::start(3).await;
    let (leader, followers) = places(&cluster).await;
    let holder = root(&cluster, followers[0]).await;
    run(&holder, "SET idle_in_transaction_session_timeout = '60s'").await;
    run(&holder, "CREATE TABLE t (k INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)").await;
    for (turn, place) in [leader, followers[0], followers[1]].into_iter().enumerate() {
        let (client, observer) = (root(&cluster, place).await, root(&cluster, followers[1]).await);
        run(&holder, "BEGIN; UPDATE t SET k = k").await;
        // Its time is over; what waits longer for its turn than it may; it is cancelled.
        run(&client, "SET statement_timeout = '300ms'").await;
        assert_eq!(refused(&client, &format!("CREATE TABLE late{turn} (k INT)")).await, "57014");
        run(&client, "SET statement_timeout = 0; SET lock_timeout = '300ms'").await;
        assert_eq!(refused(&client, &format!("CREATE TABLE locked{turn} (k INT)")).await, "55P03");
        run(&client, "SET lock_timeout = 0").await;
        let cancelled = format!("CREATE TABLE cancelled{turn} (k INT)");
        let (answer, ()) = tokio::join!(refused(&client, &cancelled), async {
            let found = async || {
                let rows = observer.query("SHOW CLUSTER QUERIES", &[]).await.expect("SHOW QUERIES");
                let is_it = |text: &str| text.starts_with("CREATE TABLE cancelled");
                rows.iter()
                    .find(|row| row.get::<_, Option<&str>>("query").is_some_and(is_it))
                    .map(|row| row.get::<_, String>("query_id"))
            };
            until("the statement is listed", async || found().await.is_some()).await;
            let query = found().await.expect("it waits");
            run(&observer, &format!("CANCEL QUERY '{query}'")).await;
        });
        assert_eq!(answer, "57014");
        // Longer than a proposal waits.
        let begun = Instant::now();
        let made = format!("ALTER TABLE t ADD COLUMN c{turn} UUID DEFAULT gen_random_uuid()");
        let plain = format!("CREATE TABLE made{turn} (k INT)");
        let other = root(&cluster, place).await;
        let (_, _, ()) = tokio::join!(run(&client, &made), run(&other, &plain), async {
            tokio::time::sleep(Duration::from_secs(7)).await;
            run(&holder, "COMMIT").await;
        });
        assert!(begun.elapsed() >= Duration::from_secs(7));
        assert_eq!(number(&client, &format!("SELECT count(DISTINCT c{turn}) FROM t")).await, 2);
        for never in ["late", "locked", "cancelled"] {
            assert_eq!(refused(&client, &format!("SELECT * FROM {never}{turn}")).await, "42P01");
        }
    }
    cluster.converged_checksum().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_revoked_in_the_middle_refuses_the_commit() {
    let cluster = Cluster::start(3).await;
    let (_, followers) = places(&cluster).await;
    let root = root(&cluster, followers[0]).await;
    run(&root, "CREATE TABLE t (k INT PRIMARY KEY)").await;
    let amy = user(&cluster, &root, followers[1], "amy").await;
    run(&root, "GRANT ALL ON t TO amy").await;
    run(&amy, "BEGIN; INSERT INTO t VALUES (1)").await;
    // It waits for nobody's transaction.
    let begun = Instant::now();
    run(&root, "REVOKE ALL ON t FROM amy").await;
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(refused(&amy, "COMMIT").await, "42501");
    assert_eq!(number(&root, "SELECT count(*) FROM t").await, 0);
    run(&amy, "SELECT 1").await;
    // A statement in the middle is told at once.
    run(&root, "GRANT ALL ON t TO amy").await;
    run(&amy, "BEGIN; INSERT INTO t VALUES (1)").await;
    run(&root, "REVOKE SELECT ON t FROM amy").await;
    assert_eq!(refused(&amy, "SELECT * FROM t").await, "42501");
    run(&amy, "ROLLBACK").await;
    // What has nothing to do with it hinders nobody.
    run(&amy, "BEGIN; INSERT INTO t VALUES (2)").await;
    run(&root, "CREATE ROLE nobody").await;
    run(&root, "GRANT nobody TO amy").await;
    run(&amy, "INSERT INTO t VALUES (3); COMMIT").await;
    assert_eq!(number(&root, "SELECT count(*) FROM t").await, 2);
    cluster.converged_checksum().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_killed_takes_its_transactions_with_it() {
    let mut cluster = Cluster::start(3).await;
    let (leader, followers) = places(&cluster).await;
    let (one, two) = (root(&cluster, followers[0]).await, root(&cluster, followers[1]).await);
    run(&one, "CREATE TABLE t (k INT PRIMARY KEY)").await;
    run(&one, "BEGIN; CREATE TABLE half (a INT); INSERT INTO t VALUES (1)").await;
    run(&two, "BEGIN READ ONLY").await;
    assert_eq!(number(&two, "SELECT count(*) FROM t").await, 0);
    cluster.nodes[leader].kill();
    let code = refused(&one, "INSERT INTO t VALUES (2)").await;
    assert_eq!(code, "40001");
    run(&one, "ROLLBACK").await;
    // A snapshot needs no leader, but for who may read it, which the next one tells.
    assert_eq!(number(&two, "SELECT count(*) FROM t").await, 0);
    run(&two, "COMMIT").await;
    assert_eq!(number(&one, "SELECT count(*) FROM t").await, 0);
    assert_eq!(refused(&one, "SELECT * FROM half").await, "42P01");
    // The next leader's writer is free.
    run(&one, "BEGIN; INSERT INTO t VALUES (3); COMMIT").await;
    assert_eq!(number(&two, "SELECT count(*) FROM t").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_idle_or_gone_frees_the_writer() {
    let mut cluster = Cluster::start(3).await;
    let (leader, followers) = places(&cluster).await;
    let other = root(&cluster, leader).await;
    run(&other, "CREATE TABLE t (k INT PRIMARY KEY)").await;
    // Idle: the connection ends.
    let idle = root(&cluster, followers[0]).await;
    run(&idle, "SET idle_in_transaction_session_timeout = '300ms'").await;
    run(&idle, "BEGIN; INSERT INTO t VALUES (1)").await;
    let begun = Instant::now();
    run(&other, "INSERT INTO t VALUES (1)").await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    until("the idle connection ends", async || idle.is_closed()).await;
    // Gone: at once.
    let gone = root(&cluster, followers[1]).await;
    run(&gone, "BEGIN; INSERT INTO t VALUES (2)").await;
    drop(gone);
    let begun = Instant::now();
    run(&other, "INSERT INTO t VALUES (2)").await;
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    // Ended by others.
    let ended = root(&cluster, followers[0]).await;
    run(&ended, "BEGIN; INSERT INTO t VALUES (3)").await;
    let rows = other.query("SHOW CLUSTER SESSIONS", &[]).await.expect("SHOW SESSIONS");
    let last = |row: &tokio_postgres::Row| row.get::<_, Option<String>>("last_active_query");
    let row = rows.iter().find(|row| last(row).is_some_and(|text| text == "INSERT INTO t VALUES (3)"));
    let session: String = row.expect("it is listed").get("session_id");
    run(&other, &format!("CANCEL SESSION '{session}'")).await;
    run(&other, "INSERT INTO t VALUES (3)").await;
    // A cancelled statement leaves an aborted block.
    let cancelled = root(&cluster, followers[0]).await;
    run(&cancelled, "BEGIN; INSERT INTO t VALUES (4)").await;
    let long = "SELECT count(*) FROM t a, t b, t c, t d, t e, t f, t g, t h, t i, t j, t k, t l, t m, t n, t o, \
        t p, t q, t r, t s, t u WHERE a.k + u.k < 0";
    let stop = "CANCEL QUERIES (SELECT query_id FROM crdb_internal.cluster_queries \
        WHERE query LIKE 'SELECT count(*) FROM t a%')";
    let (result, ()) = tokio::join!(cancelled.batch_execute(long), async {
        let stopped = async || {
            let answer = other.simple_query(stop).await.expect("CANCEL");
            matches!(answer.last(), Some(tokio_postgres::SimpleQueryMessage::CommandComplete(1)))
        };
        until("the statement is stopped", stopped).await;
    });
    assert_eq!(result.expect_err("it was stopped").code(), Some(&SqlState::QUERY_CANCELED));
    assert_eq!(refused(&cancelled, "SELECT 1").await, "25P02");
    run(&cancelled, "ROLLBACK").await;
    assert_eq!(number(&cancelled, "SELECT count(*) FROM t").await, 3);
    // A node that dies with a transaction of its client's: the leader waits a little longer than the client may be idle.
    let silent = root(&cluster, followers[1]).await;
    run(&silent, "SET idle_in_transaction_session_timeout = '300ms'").await;
    run(&silent, "BEGIN; INSERT INTO t VALUES (5)").await;
    cluster.nodes[followers[1]].kill();
    let begun = Instant::now();
    run(&other, "INSERT INTO t VALUES (5)").await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
