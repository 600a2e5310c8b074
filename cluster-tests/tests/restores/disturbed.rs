//! Restores that are paused, cancelled, killed, and beside transactions.

use std::time::Duration;

use grantd_cluster_tests::cloud::fault::{Fault, Service, Trouble};
use grantd_cluster_tests::dice::Dice;
use grantd_cluster_tests::process::until;

use crate::stage::{self, Cloud, Stage};

/// How long a request takes in tests that do something meanwhile.
const SLOW: Duration = Duration::from_millis(150);

/// A database of many tables in a backup, and slow requests from then on.
async fn many_tables(cloud: &Cloud, stage: &Stage, tables: usize) -> String {
    stage.run("CREATE DATABASE big").await;
    for table in 0..tables {
        stage.run(&format!("CREATE TABLE big.public.t{table} (k INT PRIMARY KEY, v TEXT)")).await;
        stage
            .run(&format!("INSERT INTO big.public.t{table} SELECT n, 'row ' || n::TEXT FROM generate_series(1, 20) AS s(n)"))
            .await;
    }
    let uri = cloud.uri("big");
    stage.run(&format!("BACKUP DATABASE big INTO '{uri}'")).await;
    cloud.aws.inject(Fault::s3(Trouble::Slow(SLOW)).of("GetObject"));
    uri
}

/// The job goes on behind what was done; cancelled, it leaves nothing; who loses the right stops, and goes on with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_is_paused_resumed_and_cancelled() {
    let cloud = Cloud::new().await;
    let stage = Stage::new(&cloud, 1).await;
    let uri = many_tables(&cloud, &stage, 8).await;
    let begun = async |name: &str| -> String {
        let asked = cloud.aws.count("GetObject");
        let restore =
            format!("RESTORE DATABASE big FROM LATEST IN '{uri}' WITH new_db_name = '{name}', detached");
        let id = stage.run(&restore).await[0]["job_id"].clone();
        until("files are read", async || cloud.aws.count("GetObject") > asked + 14).await;
        id
    };
    let id = begun("paused").await;
    stage.run(&format!("PAUSE JOB {id}")).await;
    stage.until_status(&id, &["paused"]).await;
    assert!(!stage.databases().await.contains(&"paused".to_owned()));
    stage.run(&format!("RESUME JOB {id}")).await;
    stage.until_status(&id, &["succeeded"]).await;
    for table in 0..8 {
        assert_eq!(stage.run(&format!("SELECT k FROM paused.public.t{table}")).await.len(), 20);
    }

    let id = begun("gone").await;
    stage.run(&format!("CANCEL JOB {id}")).await;
    stage.until_status(&id, &["canceled"]).await;
    assert!(!stage.databases().await.contains(&"gone".to_owned()));
    cloud.aws.heal(Service::S3);
    stage.run(&format!("RESTORE DATABASE big FROM LATEST IN '{uri}' WITH new_db_name = 'gone'")).await;

    stage.run("CREATE USER amy").await;
    stage.run("GRANT SYSTEM RESTORE, EXTERNALIOIMPLICITACCESS TO amy").await;
    cloud.aws.inject(Fault::s3(Trouble::Slow(SLOW)).of("GetObject"));
    stage.run("SET ROLE amy").await;
    let id = begun("hers").await;
    stage.run("RESET ROLE").await;
    stage.run("REVOKE SYSTEM RESTORE FROM amy").await;
    stage.until_status(&id, &["paused"]).await;
    assert!(!stage.databases().await.contains(&"hers".to_owned()));
    stage.run("GRANT SYSTEM RESTORE TO amy").await;
    cloud.aws.heal(Service::S3);
    stage.run(&format!("RESUME JOB {id}")).await;
    stage.until_status(&id, &["succeeded"]).await;
    let owner = stage.run("SHOW DATABASES").await.into_iter().find(|row| row["database_name"] == "hers");
    assert_eq!(owner.unwrap()["owner"], "amy");
}

/// A transaction that is open keeps what it did, and the restore waits for it where it must.
#[tokio::test(flavor = "multi_thread")]
async fn an_open_transaction_and_a_restore_leave_each_other_alone() {
    let cloud = Cloud::new().await;
    let stage = Stage::new(&cloud, 1).await;
    let uri = many_tables(&cloud, &stage, 8).await;
    let other = stage.cluster.root(&stage.cluster.nodes[0]).await.unwrap();
    for name in ["first", "second"] {
        let asked = cloud.aws.count("GetObject");
        let restore =
            format!("RESTORE DATABASE big FROM LATEST IN '{uri}' WITH new_db_name = '{name}', detached");
        let id = stage.run(&restore).await[0]["job_id"].clone();
        // Before its first rows, and among them.
        let reads = if name == "first" { 5 } else { 14 };
        until("files are read", async || cloud.aws.count("GetObject") > asked + reads).await;
        for statement in
            ["BEGIN", "INSERT INTO big.public.t0 VALUES (1000, 'mine')", "SELECT k FROM big.public.t1"]
        {
            stage::rows_of(&other, statement).await.unwrap();
            tokio::time::sleep(4 * SLOW).await;
        }
        stage::rows_of(&other, "COMMIT").await.unwrap();
        stage.until_status(&id, &["succeeded"]).await;
        assert_eq!(stage.run("SELECT v FROM big.public.t0 WHERE k = 1000").await[0]["v"], "mine");
        assert_eq!(stage.run(&format!("SELECT k FROM {name}.public.t0")).await.len(), 20);
        stage.run("DELETE FROM big.public.t0 WHERE k = 1000").await;
    }
}

/// Kill -9 at thirty points of a restore at least: another node ends it, and all rows are there once.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_outlives_its_node_wherever_it_is_killed() {
    const POINTS: usize = 40;
    const TABLES: usize = 4;
    let cloud = Cloud::new().await;
    let mut stage = Stage::new(&cloud, 3).await;
    let uri = many_tables(&cloud, &stage, TABLES).await;
    cloud.aws.heal(Service::S3);
    cloud.aws.inject(Fault::s3(Trouble::Slow(Duration::from_millis(15))).of("GetObject"));
    let mut dice = Dice::new(7);
    let mut taken_up = 0;
    for point in 0..POINTS {
        let restore =
            format!("RESTORE DATABASE big FROM LATEST IN '{uri}' WITH new_db_name = 'b{point}', detached");
        let id = stage.run(&restore).await[0]["job_id"].clone();
        let asked = cloud.aws.count("GetObject");
        // After so many requests; the last ones are over by then, and the time of a publishing more.
        let (requests, later) = (point % 14, Duration::from_millis(dice.below(8) as u64 * 5));
        let begun = std::time::Instant::now();
        while cloud.aws.count("GetObject") < asked + requests
            && begun.elapsed() < Duration::from_millis(1_500)
        {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(later).await;
        let coordinator = stage.job(&id).await["coordinator_id"].parse::<u64>().unwrap_or(1);
        stage.cluster.node(coordinator).kill();
        stage.connect_elsewhere(coordinator).await;
        stage.until_status(&id, &["succeeded"]).await;
        taken_up += usize::from(stage.job(&id).await["num_runs"] != "1");
        for table in 0..TABLES {
            let of = |database: &str| format!("SELECT * FROM {database}.public.t{table} ORDER BY k");
            assert_eq!(
                stage.lines(&of(&format!("b{point}"))).await,
                stage.lines(&of("big")).await,
                "{point}"
            );
        }
        stage.run(&format!("DROP DATABASE b{point} CASCADE")).await;
        stage.cluster.node(coordinator).start();
        stage.cluster.until_all_caught_up().await;
    }
    println!("{taken_up} of {POINTS} restores were ended by another node");
    assert!(taken_up >= 30, "only {taken_up} were in the middle");
    stage.cluster.converged_checksum().await;
}
