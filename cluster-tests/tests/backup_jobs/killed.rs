//! A node is killed (SIGKILL) at every request that a backup makes of its bucket, before the bucket does what it asks and after it
//! did: the double of the cloud leaves that request hanging, and the node dies upon it. Then the job ends right on another node, or
//! there never was one, and at no time does the collection show half a backup.

use std::collections::BTreeMap;
use std::time::Duration;

use grantd_cluster_tests::cloud::fault::{Fault, Service, Trouble};
use grantd_node::backup::cipher::Keys;
use grantd_node::backup::collection::Collection;
use grantd_raft::rows::Value;

use super::{BUCKET, Row, Stage, bytes, rows_of, three_nodes};

/// Each has rows in one file of data at least.
const TABLES: [&str; 3] = ["a", "b", "c"];
/// The bar.
const POINTS_MIN: usize = 30;
/// How often it is looked whether the request came.
const LOOK: Duration = Duration::from_millis(5);

/// Where a node is killed.
#[derive(Clone, Copy, Debug)]
struct Point {
    incremental: bool,
    /// Whether the bucket does what it is asked before the node dies. Of puts only: to die after an answer that changes nothing is to
    /// die before the next request.
    done: bool,
    /// After how many requests.
    after: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_whose_node_is_killed_at_any_request_ends_on_another_or_is_none() {
    let mut stage = three_nodes().await;
    stage.run("CREATE DATABASE shop").await;
    for table in TABLES {
        stage.run(&format!("CREATE TABLE shop.public.{table} (k INT PRIMARY KEY, v TEXT)")).await;
        stage.run(&format!("INSERT INTO shop.public.{table} VALUES (1, '{table}'), (2, 'two')")).await;
    }
    let mut points: BTreeMap<String, usize> = BTreeMap::new();
    let (mut continued, mut none) = (0, 0);
    for (incremental, done) in [(false, false), (false, true), (true, false), (true, true)] {
        for after in 0.. {
            let point = Point { incremental, done, after };
            let Some((request, had_job)) = killed_at(&mut stage, point).await else { break };
            let came = if had_job { "ended by another node" } else { "no job, or one that had ended" };
            println!("{point:?}: {request}: {came}");
            let (operation, _) = request.split_once(' ').unwrap();
            *points.entry(operation.to_owned()).or_default() += 1;
            continued += usize::from(had_job);
            none += usize::from(!had_job);
        }
    }
    println!(
        "{} points: {continued} ended by another node, {none} where there was none yet, or it had ended; {points:?}",
        continued + none
    );
    assert!(continued >= POINTS_MIN && none > 0, "{points:?}");
}

/// Kills the node that makes the request. None: the backup ended before it came to that. Else the request, and whether there was a
/// job that another node had to end.
async fn killed_at(stage: &mut Stage, point: Point) -> Option<(String, bool)> {
    let Point { incremental, done, after } = point;
    let place = format!("{}-{}-{after}", if incremental { "layer" } else { "full" }, u8::from(done));
    let uri = stage.uri(&format!("{place}/backups"));
    if incremental {
        stage.run(&format!("BACKUP DATABASE shop INTO '{uri}'")).await;
        stage.run(&format!("UPDATE shop.public.a SET v = '{place}' WHERE k = 2")).await;
        stage
            .run(&format!(
                "INSERT INTO shop.public.b VALUES ({}, 'new')",
                100 + after + 1_000 * usize::from(done)
            ))
            .await;
    }
    let fault = match done {
        false => Fault::s3(Trouble::Hang),
        true => Fault::s3(Trouble::HangAnswer).of("PutObject"),
    };
    let before = stage.cloud.aws.hanging().len();
    let gateway = stage.cluster.nodes[after % 3].id;
    let client = stage.connected(gateway).await;
    stage.connect_elsewhere(gateway).await;
    stage.cloud.aws.inject(fault.after(after).times(1));
    let upon = if incremental { "LATEST IN " } else { "" };
    let statement = format!("BACKUP DATABASE shop INTO {upon}'{uri}'");
    let running = tokio::spawn(async move { rows_of(&client, &statement).await });
    while stage.cloud.aws.hanging().len() == before {
        if running.is_finished() {
            running.await.unwrap().expect("nothing was wrong");
            stage.cloud.aws.heal(Service::S3);
            is_whole(stage, &place, incremental).await;
            return None;
        }
        tokio::time::sleep(LOOK).await;
    }
    let request = stage.cloud.aws.hanging()[before].clone();
    let job = job_of(stage, &place, incremental).await;
    let runs = job.as_ref().is_some_and(|job| job["status"] == "running");
    let victim = match &job {
        Some(job) if runs => job["coordinator_id"].parse().expect("a node has it"),
        // The statement is about to make the job, or to tell what came of it.
        _ => gateway,
    };
    stage.cluster.node(victim).kill();
    stage.connect_elsewhere(victim).await;
    let uri = stage.uri(&format!("{place}/backups"));
    for full in stage.asked(&format!("SHOW BACKUPS IN '{uri}'")).await {
        stage.asked(&format!("SHOW BACKUP FROM '{}' IN '{uri}' WITH check_files", full["path"])).await;
    }
    match job {
        Some(job) => {
            stage.until_status(&job["job_id"], &["succeeded"]).await;
            let now = stage.job(&job["job_id"]).await;
            assert!(!runs || now["num_runs"] != job["num_runs"], "another node took it up: {now:?}");
            is_whole(stage, &place, incremental).await;
        }
        None => {
            assert!(job_of(stage, &place, incremental).await.is_none(), "nobody made it meanwhile");
            let fulls = stage.asked(&format!("SHOW BACKUPS IN '{uri}'")).await;
            assert_eq!(fulls.len(), usize::from(incremental), "there is no more than there was");
        }
    }
    running.abort();
    stage.cluster.node(victim).start();
    stage.cluster.until_all_caught_up().await;
    Some((request, runs))
}

/// The newest job that writes there, but for the one that made the full of an incremental one.
async fn job_of(stage: &Stage, place: &str, incremental: bool) -> Option<Row> {
    let jobs = stage.asked("SHOW JOBS").await.into_iter();
    let mut found: Vec<_> =
        jobs.filter(|job| job["description"].contains(&format!("/{place}/backups?"))).collect();
    found.sort_by_key(|job| job["job_id"].parse::<i64>().unwrap());
    (found.len() > usize::from(incremental)).then(|| found.pop()).flatten()
}

/// What the collection has is what the tables have, to whom asks by SQL and to whom reads the files.
async fn is_whole(stage: &Stage, place: &str, incremental: bool) {
    let uri = stage.uri(&format!("{place}/backups"));
    assert_eq!(stage.asked(&format!("SHOW BACKUPS IN '{uri}'")).await.len(), 1);
    let shown = stage.asked(&format!("SHOW BACKUP FROM LATEST IN '{uri}' WITH check_files")).await;
    let layers = shown.iter().filter(|row| row["object_name"] == TABLES[0]).count();
    assert_eq!(layers, 1 + usize::from(incremental), "{shown:?}");
    let files = bytes::files(&stage.cloud.aws.bucket(BUCKET).join(place)).await;
    let backup = bytes::open(&Collection::new(files, None), None, &Keys::None).await.unwrap();
    let contents = bytes::contents(&backup).await;
    assert_eq!(contents.len(), TABLES.len());
    for ((_, rows), table) in contents.iter().zip(TABLES) {
        let read: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(text).collect()).collect();
        let there = stage.asked(&format!("SELECT k, v FROM shop.public.{table} ORDER BY k")).await;
        let there: Vec<_> = there.iter().map(|row| vec![row["k"].clone(), row["v"].clone()]).collect();
        assert_eq!(read, there, "{table}");
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.to_string(),
        other => format!("{other:?}"),
    }
}
