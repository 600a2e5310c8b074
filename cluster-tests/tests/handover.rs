//! Jobs go from node to node, each a process: at once when theirs stops, and from a node that has no identity in the cloud, or
//! has one no more, to one that has.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "handover/identity.rs"]
mod identity;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "feed/reader.rs"]
mod reader;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "jobs/stage.rs"]
mod stage;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use grantd_cluster_tests::cloud::fault::{Fault, Service, Trouble};
use grantd_cluster_tests::process::until;

use reader::{files_below, read};
use stage::{BUCKET, Cloud, Stage, rows_of};

/// Each is a file of the backup at least, and each put takes so long.
const TABLES: usize = 12;
const SLOW: Duration = Duration::from_millis(300);
/// A claim that is not given up is held for so long.
const LEASE: &str = "60s";
/// How soon another node has what was handed over: it looks every 200 ms here, and this machine is busy.
const SOON: Duration = Duration::from_secs(3);
/// What says that a statement may be said again.
const AGAIN: [&str; 5] = ["57P03", "40003", "53000", "40001", "57P01"];

/// Who has a job. None: nobody.
async fn coordinator(stage: &Stage, id: &str) -> Option<u64> {
    stage.asked(&format!("SHOW JOB {id}")).await[0]["coordinator_id"].parse().ok()
}

/// A backup that takes a while, and a feed of a table that grows, both on the node that the client is connected to.
async fn both(stage: &Stage) -> (String, String) {
    stage.run("CREATE DATABASE big").await;
    for table in 0..TABLES {
        stage.run(&format!("CREATE TABLE big.public.t{table} (k INT PRIMARY KEY, v TEXT)")).await;
        stage.run(&format!("INSERT INTO big.public.t{table} VALUES ({table}, 'one')")).await;
    }
    stage.run("CREATE TABLE fed (k INT PRIMARY KEY, v INT)").await;
    stage.run("INSERT INTO fed VALUES (1, 0)").await;
    let create = format!(
        "CREATE CHANGEFEED FOR TABLE fed INTO '{}' WITH updated, resolved, min_checkpoint_frequency = '200ms'",
        stage.cloud.uri("feed")
    );
    let feed = stage.run(&create).await[0]["job_id"].clone();
    stage.cloud.aws.inject(Fault::s3(Trouble::Slow(SLOW)).of("PutObject"));
    let backup = format!("BACKUP DATABASE big INTO '{}' WITH detached", stage.cloud.uri("backup"));
    (stage.run(&backup).await[0]["job_id"].clone(), feed)
}

/// The names of the backup's files of data.
fn data(stage: &Stage) -> BTreeSet<String> {
    let names = stage.cloud.files("backup").into_iter().map(|file| file.display().to_string());
    names.filter(|name| name.ends_with(".parquet")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_hands_its_jobs_over_and_nothing_is_done_twice() {
    let mut stage = Stage::new(&Cloud::new().await, 3).await;
    stage.run(&format!("SET CLUSTER SETTING grantd.jobs.claim_lease = '{LEASE}'")).await;
    let (backup, feed) = both(&stage).await;
    until("both run here, and the backup is in the middle", async || {
        let here =
            coordinator(&stage, &backup).await == Some(1) && coordinator(&stage, &feed).await == Some(1);
        here && data(&stage).len() > 1
    })
    .await;
    let before = data(&stage);
    assert!(before.len() < TABLES, "it was in the middle: {before:?}");
    let written: Vec<i32> = (1..=40).collect();
    let writer = stage.connected(2).await;
    let writing = tokio::spawn(async move {
        for value in written {
            let upsert = format!("UPSERT INTO fed VALUES (1, {value})");
            while let Err(error) = rows_of(&writer, &upsert).await {
                assert!(AGAIN.contains(&&error[..5]), "no leader for a moment, and nothing else: {error}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;

    let began = Instant::now();
    stage.cluster.node(1).stop().await;
    let stopped = Instant::now();
    stage.connect_elsewhere(1).await;
    until("another node has both", async || {
        let has = |node: Option<u64>| node.is_some_and(|node| node != 1);
        has(coordinator(&stage, &backup).await) && has(coordinator(&stage, &feed).await)
    })
    .await;
    println!("the stop took {:?}; both are elsewhere {:?} after it", stopped - began, stopped.elapsed());
    assert!(stopped.elapsed() < SOON, "a claim that is not given up would hold for {LEASE}");
    stage.until_status(&backup, &["succeeded"]).await;
    let after = data(&stage);
    assert!(after.is_superset(&before) && after.len() == TABLES, "each table was written once: {after:?}");
    let puts = stage.cloud.aws.log();
    let puts = puts.iter().filter(|put| put.operation == "PutObject" && put.resource.ends_with(".parquet"));
    let (mut seen, mut twice) = (BTreeSet::new(), Vec::new());
    puts.filter(|put| put.is_done()).for_each(|put| {
        if !seen.insert(put.resource.clone()) {
            twice.push(put.resource.clone());
        }
    });
    assert!(twice.is_empty(), "{twice:?}");
    let uri = stage.cloud.uri("backup");
    let shown = stage.run(&format!("SHOW BACKUP FROM LATEST IN '{uri}' WITH check_files")).await;
    assert_eq!(
        shown.iter().filter(|row| row["object_type"] == "table" && row["rows"] == "1").count(),
        TABLES
    );
    stage.cloud.aws.heal(Service::S3);

    writing.await.unwrap();
    let versions: Vec<Option<i64>> = (0..=40).map(Some).collect();
    let folder = stage.cloud.aws.bucket(BUCKET).join("feed");
    let all = || {
        let mut found = read(&files_below(&folder)).remove(&1).unwrap_or_default();
        // A write whose answer was lost may have been done twice.
        found.dedup();
        found
    };
    until("the reader has every version, in order", async || all() == versions).await;
    for id in [&backup, &feed] {
        assert_eq!(stage.job(id).await["num_runs"], "2", "one run on each node");
    }
}
