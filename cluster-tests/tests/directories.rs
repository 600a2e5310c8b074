//! Directories that are lost, replaced and left behind: a voter that forgot is refused, a fresh node comes up through a
//! snapshot, and one that was down catches up.

use std::time::Instant;

use grantd_cluster_tests::process::{Cluster, until};
use grantd_node::admin::{Answer, Request};
use tokio::task::JoinSet;

/// Rows, one entry each, before the directory is lost: enough that the log no longer begins at its first entry.
const ROWS: i64 = 400;
/// Rows that are written while a node is down.
const WRITES: i64 = 100_000;
const WRITERS: i64 = 64;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_are_all_told_the_same_list_make_one_cluster_and_start_again() {
    let mut cluster = Cluster::prepare(3, &[]);
    let all = cluster.nodes.iter().map(|node| format!("127.0.0.1:{}", node.raft_port)).collect::<Vec<_>>();
    for node in &mut cluster.nodes {
        node.join = all.join(",");
    }
    cluster.launch().await;
    cluster.node(2).stop().await;
    cluster.node(2).start();
    cluster.until_all_vote().await;
    cluster.converged_checksum().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_directory_is_refused_under_its_old_id_and_replaced_by_a_fresh_node() {
    let mut cluster = Cluster::start_with(3, &["--snapshot-entries", "100"]).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute("CREATE TABLE item (id INT8 PRIMARY KEY); CREATE USER amy").await.expect("some state");
    for row in 0..ROWS {
        root.batch_execute(&format!("INSERT INTO item VALUES ({row})")).await.expect("a row, and an entry");
    }

    cluster.node(3).kill();
    std::fs::remove_dir_all(&cluster.node(3).data).expect("the directory is lost");
    cluster.node(3).start();
    let node = &cluster.nodes[2];
    node.until("it says why it is refused", async |node| node.logged().contains("must not forget")).await;
    let voters = cluster.leader_status().await.expect("a leader").members;
    assert!(voters.iter().any(|member| member.id == 3), "still a member until an operator says otherwise");
    cluster.node(3).kill();

    let leader = cluster.leader().await;
    let removed = cluster.node(leader).admin(&Request::Remove { node: 3 }).await;
    assert_eq!(removed, Some(Answer::Done));
    cluster.add_node().start();
    until("node 4 votes", async || {
        let status = cluster.leader_status().await;
        status.is_some_and(|status| status.members.iter().any(|member| member.id == 4 && member.voter))
    })
    .await;
    assert!(
        cluster.nodes[3].status().await.is_some_and(|status| status.snapshot > 0),
        "it began with a snapshot"
    );
    cluster.converged_checksum().await;
    let rows = cluster.root(&cluster.nodes[3]).await.expect("root logs in on node 4");
    let count: i64 = rows.query_one("SELECT count(*) FROM item", &[]).await.expect("rows").get(0);
    assert_eq!(count, ROWS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_down_during_a_hundred_thousand_writes_catches_up() {
    let mut cluster = Cluster::start(3).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute("CREATE TABLE item (id INT8 PRIMARY KEY, note TEXT)").await.expect("a table");
    let leader = cluster.leader().await;
    let down = if leader == 3 { 2 } else { 3 };
    cluster.node(down).kill();

    let begun = Instant::now();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let leading = cluster.nodes.iter().find(|node| node.id == leader).expect("the leader");
        let client = cluster.root(leading).await.expect("root logs in");
        writers.spawn(async move {
            for row in (writer..WRITES).step_by(usize::try_from(WRITERS).unwrap_or(1)) {
                let sql = format!("INSERT INTO item VALUES ({row}, 'written while a node was down')");
                client.batch_execute(&sql).await.expect("acknowledged");
            }
        });
    }
    writers.join_all().await;
    let written = begun.elapsed();

    let begun = Instant::now();
    cluster.node(down).start();
    let sum = cluster.converged_checksum().await;
    let tables = sum.tables.iter().filter(|(name, ..)| !name.starts_with("grantd_"));
    let rows = tables.map(|(_, rows, _)| *rows);
    assert_eq!(rows.max(), Some(WRITES.unsigned_abs()));
    println!(
        "{WRITES} single-row inserts by {WRITERS} clients in {written:?}; caught up in {:?}",
        begun.elapsed()
    );
}
