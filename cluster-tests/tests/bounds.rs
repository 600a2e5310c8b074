//! Bounds of statements and transactions, between real processes: on the leader and on a follower, alone and in a
//! transaction.

use std::time::{Duration, Instant};

use grantd_cluster_tests::process::{Cluster, PATIENCE};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Runs for minutes unless it is stopped.
const LONG: &str =
    "SELECT count(*) FROM n a, n b, n c, n d, n e, n f WHERE a.k + b.k + c.k + d.k + e.k + f.k < 0";
/// What is stopped is stopped soon after.
const SOON: Duration = Duration::from_secs(20);

async fn refused(client: &Client, text: &str, code: &SqlState, message: &str) {
    let error = client.simple_query(text).await.map(|answers| answers.len()).expect_err(text);
    let error = error.as_db_error().unwrap_or_else(|| panic!("{text}: {error}"));
    assert_eq!(error.code(), code, "{text}: {}", error.message());
    assert!(error.message().contains(message), "{text}: {}", error.message());
}

async fn done(client: &Client, text: &str) {
    if let Err(error) = client.batch_execute(text).await {
        panic!("{text}: {error:?}");
    }
}

async fn count(client: &Client, text: &str) -> i64 {
    client.query_one(text, &[]).await.expect(text).get(0)
}

/// A client of the leader, and one of a follower.
async fn clients(cluster: &Cluster) -> [Client; 2] {
    let leader = cluster.leader().await;
    let at = |leads: bool| {
        let node = cluster.nodes.iter().find(|node| (node.id == leader) == leads);
        cluster.root(node.expect("both are there"))
    };
    [at(true).await.expect("root logs in"), at(false).await.expect("root logs in")]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_and_transactions_end_in_time_and_change_no_more_rows_than_they_may() {
    let cluster = Cluster::start(3).await;
    cluster.until_all_vote().await;
    let clients = clients(&cluster).await;
    done(&clients[0], "CREATE TABLE n (k INT PRIMARY KEY); CREATE TABLE found (k INT PRIMARY KEY)").await;
    done(&clients[0], "INSERT INTO n SELECT s FROM generate_series(1, 60) AS s").await;
    for (at, client) in clients.iter().enumerate() {
        times(client).await;
        waits(client, &clients[1 - at]).await;
        rows(client).await;
    }
}

/// `statement_timeout` and `transaction_timeout`.
async fn times(client: &Client) {
    let (code, text) = (&SqlState::QUERY_CANCELED, "query execution canceled due to statement timeout");
    done(client, "SET statement_timeout = '300ms'").await;
    let began = Instant::now();
    refused(client, LONG, code, text).await;
    refused(client, &format!("INSERT INTO found {}", LONG.replace("count(*)", "a.k")), code, text).await;
    refused(client, &format!("COPY ({LONG}) TO STDOUT"), code, text).await;
    refused(client, &format!("DECLARE c CURSOR FOR {LONG}"), &SqlState::NO_ACTIVE_SQL_TRANSACTION, "DECLARE")
        .await;
    done(client, "RESET statement_timeout").await;
    for before in ["SELECT count(*) FROM n", "INSERT INTO found VALUES (1)"] {
        done(client, &format!("BEGIN; {before}; SAVEPOINT s; SET statement_timeout = '300ms'")).await;
        refused(client, LONG, code, text).await;
        refused(client, "SELECT 1", &SqlState::IN_FAILED_SQL_TRANSACTION, "aborted").await;
        done(client, "ROLLBACK TO s; SET statement_timeout = '300ms'").await;
        refused(client, &format!("INSERT INTO found {}", LONG.replace("count(*)", "a.k")), code, text).await;
        done(client, "ROLLBACK").await;
    }
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    done(client, "SELECT count(*) FROM n").await;

    done(client, "SET transaction_timeout = '1s'").await;
    done(client, "BEGIN; SELECT count(*) FROM n").await;
    let text = "query execution canceled due to transaction timeout";
    let began = Instant::now();
    refused(client, LONG, code, text).await;
    done(client, "ROLLBACK; BEGIN; INSERT INTO found VALUES (1)").await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    refused(client, "SELECT count(*) FROM n, n AS o", code, text).await;
    done(client, "ROLLBACK; RESET transaction_timeout").await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
    assert_eq!(count(client, "SELECT count(*) FROM found").await, 0);
}

/// `lock_timeout`, while `other` holds the writer.
async fn waits(client: &Client, other: &Client) {
    done(other, "BEGIN; INSERT INTO found VALUES (1)").await;
    done(client, "SET lock_timeout = '200ms'").await;
    let (code, text) = (&SqlState::LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout");
    let began = Instant::now();
    refused(client, "INSERT INTO found VALUES (2)", code, text).await;
    done(client, "BEGIN; SELECT count(*) FROM n").await;
    refused(client, "INSERT INTO found VALUES (3)", code, text).await;
    done(client, "ROLLBACK").await;
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    done(other, "COMMIT").await;
    done(client, "INSERT INTO found VALUES (3)").await;
    assert_eq!(count(client, "SELECT count(*) FROM found").await, 2);
    done(client, "RESET lock_timeout; DELETE FROM found").await;
}

/// `transaction_rows_written_err`.
async fn rows(client: &Client) {
    let (code, text) = (&SqlState::PROGRAM_LIMIT_EXCEEDED, "rows, which is above the limit");
    done(client, "SET transaction_rows_written_err = 5").await;
    refused(client, "INSERT INTO found SELECT k FROM n", code, "txn has written 60 rows").await;
    done(client, "INSERT INTO found SELECT k FROM n WHERE k <= 5").await;
    refused(
        client,
        "BEGIN; UPDATE found SET k = k + 100; DELETE FROM found WHERE k = 101; COMMIT",
        code,
        text,
    )
    .await;
    done(
        client,
        "ROLLBACK; BEGIN; DELETE FROM found WHERE k < 3; SAVEPOINT s; DELETE FROM found WHERE k < 6",
    )
    .await;
    refused(client, "INSERT INTO found VALUES (7)", code, "txn has written 6 rows").await;
    done(client, "ROLLBACK").await;
    assert_eq!(count(client, "SELECT count(*) FROM found").await, 5);
    done(client, "RESET transaction_rows_written_err; DELETE FROM found").await;
    done(client, "INSERT INTO found VALUES (1), (2), (3); DELETE FROM found").await;
}

/// What a node's statements and results may hold in this test.
const SQL_MEMORY_MIB: u64 = 256;
/// What it may grow by beside: page caches of the readers, the allocator's own holes, a debug build's stacks.
const BESIDE_MIB: u64 = 640;

/// Each wants a GB, in its own way; most are refused for themselves, some as others have it.
const HUNGRY: [&str; 8] = [
    "SELECT count(*) FROM (SELECT a.v || b.k AS w FROM big a, big b ORDER BY w LIMIT 100000000) AS q WHERE w < ''",
    "WITH RECURSIVE r AS (SELECT 1 AS n, repeat('a', 2000) AS w UNION SELECT n + 1, w || n FROM r WHERE n < 5000000) \
     SELECT count(*) FROM r",
    "SELECT length(string_agg(a.v || b.v, ',')) FROM big a, big b",
    "SELECT count(DISTINCT a.v || b.k) FROM big a, big b",
    "SELECT a.v, b.v FROM big a, big b",
    "SELECT length(jsonb_agg(a.v)::TEXT) FROM big a, big b",
    "SELECT a.v || b.k, count(*) FROM big a, big b GROUP BY a.v || b.k",
    "WITH m AS MATERIALIZED (SELECT a.v || b.v AS w FROM big a, big b LIMIT 5000000) SELECT count(*) FROM m AS x, m AS y WHERE x.w = y.w",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_hungry_statements_at_once_are_refused_and_the_node_stays_within_its_memory() {
    let memory = SQL_MEMORY_MIB.to_string();
    let cluster = Cluster::start_with(1, &["--max-sql-memory-mib", &memory]).await;
    let node = &cluster.nodes[0];
    let root = cluster.root(node).await.expect("root logs in");
    done(&root, "CREATE TABLE big (k INT PRIMARY KEY, v TEXT); CREATE TABLE found (v TEXT)").await;
    done(&root, "INSERT INTO big SELECT s, repeat(s::TEXT || ' ', 100) FROM generate_series(1, 3000) AS s")
        .await;
    let before = node.resident_kib().expect("it runs");
    let mut tasks = Vec::new();
    for round in 0..2 {
        for text in HUNGRY {
            let client = cluster.root(node).await.expect("root logs in");
            tasks.push(tokio::spawn(async move {
                done(&client, "SET statement_timeout = '25s'").await;
                if round == 1 {
                    done(&client, "BEGIN; SELECT count(*) FROM big; SAVEPOINT s").await;
                }
                let error = client.simple_query(text).await.map(|rows| rows.len()).expect_err(text);
                let error = error.as_db_error().unwrap_or_else(|| panic!("{text}: {error}")).clone();
                let known =
                    [SqlState::OUT_OF_MEMORY, SqlState::PROGRAM_LIMIT_EXCEEDED, SqlState::QUERY_CANCELED];
                assert!(known.contains(error.code()), "{text}: {error:?}");
                if round == 1 {
                    done(&client, "ROLLBACK TO s; SELECT count(*) FROM big; COMMIT").await;
                }
                (text, error.code().clone())
            }));
        }
    }
    let mut most = before;
    let mut others = 0;
    let began = Instant::now();
    while tasks.iter().any(|task| !task.is_finished()) {
        assert!(began.elapsed() < PATIENCE * 3, "they end");
        most = most.max(node.resident_kib().expect("it runs"));
        if others < 5 {
            // Others go on, if they need next to nothing.
            done(&root, "INSERT INTO found VALUES ('a')").await;
            others += 1;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut codes = Vec::new();
    for task in tasks {
        codes.push(task.await.expect("a refusal"));
    }
    let grown = (most - before) >> 10;
    println!("{} refusals; resident {} MiB before, grown by {grown} MiB at most", codes.len(), before >> 10);
    for (text, code) in &codes {
        println!("{} {}", code.code(), &text[..60.min(text.len())]);
    }
    let out_of_memory = codes.iter().filter(|(_, code)| *code == SqlState::OUT_OF_MEMORY).count();
    assert!(out_of_memory >= HUNGRY.len(), "{out_of_memory} of {}", codes.len());
    assert!(grown < SQL_MEMORY_MIB + BESIDE_MIB, "{grown} MiB");
    assert_eq!(count(&root, "SELECT count(*) FROM found").await, others);
    // A change too, which is undone alone.
    done(&root, "SET distsql_workmem = '1 MiB'").await;
    let change =
        "INSERT INTO found SELECT a.v || b.k FROM big a, big b WHERE b.k < 20 ORDER BY a.v || b.k DESC";
    refused(&root, change, &SqlState::OUT_OF_MEMORY, "out of memory").await;
    done(&root, "BEGIN; INSERT INTO found VALUES ('b'); SAVEPOINT s").await;
    refused(&root, change, &SqlState::OUT_OF_MEMORY, "out of memory").await;
    done(&root, "ROLLBACK TO s; INSERT INTO found VALUES ('c'); COMMIT").await;
    assert_eq!(count(&root, "SELECT count(*) FROM found").await, others + 2);
}
