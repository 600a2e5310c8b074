//! A feed without a sink: its messages are rows of the statement that made it.

use std::pin::Pin;
use std::time::Duration;

use futures::StreamExt;
use grantd_cluster_tests::process::{Cluster, until};
use grantd_node::pgclient;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryStream};

use super::stage::rows;
use super::{as_user, refused};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);
const FEED: &str =
    "CREATE CHANGEFEED FOR t WITH updated, resolved = '0s', min_checkpoint_frequency = '100ms'";

async fn stream(client: &Client) -> Pin<Box<SimpleQueryStream>> {
    Box::pin(client.simple_query_raw(FEED).await.expect("it begins"))
}

/// The next row whose key is this, as bytes are written; or with what the feed ended.
async fn next(stream: &mut Pin<Box<SimpleQueryStream>>, key: &str) -> Result<(), String> {
    loop {
        match tokio::time::timeout(PATIENCE, stream.next()).await.expect("a row in time") {
            Some(Ok(SimpleQueryMessage::Row(row))) if row.get("key") == Some(key) => return Ok(()),
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                return Err(error.as_db_error().expect("the node says so").code().code().to_owned());
            }
            None => panic!("it ended without a word"),
        }
    }
}

const RUNNING: &str =
    "SELECT query_id FROM crdb_internal.cluster_queries WHERE query LIKE 'CREATE CHANGEFEED%'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_without_a_sink_goes_to_the_client_until_it_goes_or_is_cancelled() {
    let cluster = Cluster::start(1).await;
    let node = &cluster.nodes[0];
    let root = cluster.root(node).await.expect("root logs in");
    root.batch_execute(
        "CREATE TABLE t (k INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 10); CREATE USER amy",
    )
    .await
    .expect("a table");
    let amy = as_user(&cluster, node, "amy").await;
    assert_eq!(
        refused(&amy, "EXPERIMENTAL CHANGEFEED FOR t").await,
        "42501 user amy requires the SELECT privilege on all target tables to be able to run a core changefeed"
    );
    root.batch_execute("GRANT SELECT ON t TO amy").await.expect("a grant");
    assert_eq!(
        refused(&amy, "CREATE CHANGEFEED FOR t WITH compression = 'gzip'").await,
        "22023 this sink is incompatible with option compression"
    );
    assert_eq!(
        refused(&amy, "BEGIN; CREATE CHANGEFEED FOR t").await,
        "25001 CREATE CHANGEFEED cannot run inside a transaction block"
    );
    amy.batch_execute("ROLLBACK").await.expect("no block is left");

    let answer = amy.simple_query("CREATE CHANGEFEED FOR t WITH initial_scan = 'only'").await.expect("rows");
    let only = rows(&answer).remove(0);
    assert_eq!((&*only["table"], &*only["key"]), ("t", "\\x5b315d"), "{only:?}");

    // It grows as the table does, and is cancelled from elsewhere; its session goes on.
    let mut feed = stream(&amy).await;
    next(&mut feed, "\\x5b315d").await.expect("the row that is there");
    for key in 2..=9 {
        root.batch_execute(&format!("INSERT INTO t VALUES ({key}, {key})")).await.expect("a row");
        next(&mut feed, &format!("\\x5b3{key}5d")).await.expect("the row that came");
    }
    root.batch_execute(&format!("CANCEL QUERIES ({RUNNING})")).await.expect("it is cancelled");
    assert_eq!(next(&mut feed, "none").await, Err("57014".to_owned()));
    drop(feed);
    amy.batch_execute("SELECT 1").await.expect("the session goes on");

    // Who may not read any more gets no further row.
    let mut feed = stream(&amy).await;
    next(&mut feed, "\\x5b315d").await.expect("the row that is there");
    root.batch_execute("REVOKE SELECT ON t FROM amy; INSERT INTO t VALUES (0, 0)").await.expect("a change");
    assert_eq!(next(&mut feed, "\\x5b305d").await, Err("42501".to_owned()));
    drop(feed);

    // With its client it ends.
    let (other, connection, _) = pgclient::open(&cluster.login(node, "root")).await.expect("root logs in");
    let connection = tokio::spawn(connection);
    let mut feed = stream(&other).await;
    next(&mut feed, "\\x5b315d").await.expect("the row that is there");
    assert_eq!(rows(&root.simple_query(RUNNING).await.expect("a listing")).len(), 1);
    // A client that is dropped waits for what was asked for.
    connection.abort();
    until("it ended", async || rows(&root.simple_query(RUNNING).await.expect("a listing")).is_empty()).await;
}
