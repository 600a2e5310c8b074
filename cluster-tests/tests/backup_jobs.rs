//! BACKUP as statement and job on three nodes, each a process, into the strict double of AWS under a chain of two roles: who may,
//! what is told, what is in the bucket, and that the job ends right whatever happens to its client, its node and its credentials.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "backup/stage.rs"]
#[allow(dead_code, reason = "shared with the tests of backups as bytes")]
mod bytes;
#[path = "backup_jobs/damaged.rs"]
mod damaged;
#[path = "backup_jobs/killed.rs"]
mod killed;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "jobs/stage.rs"]
mod stage;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use grantd_cluster_tests::cloud::fault::{Fault, Service, Trouble};
use grantd_cluster_tests::cloud::world::trust;
use grantd_cluster_tests::process::until;
use grantd_cluster_tests::scan::Scanner;

use stage::{BUCKET, Cloud, Row, Stage, all, rows_of};

/// How many tables `big` has: each is a file at least.
const TABLES: usize = 12;
/// How long a put takes in tests that do something meanwhile.
const SLOW: Duration = Duration::from_millis(300);

async fn three_nodes() -> Stage {
    Stage::new(&Cloud::new().await, 3).await
}

impl Stage {
    /// A collection in the bucket.
    fn uri(&self, path: &str) -> String {
        self.cloud.uri(path)
    }

    /// The files of a collection, relative to it.
    fn files(&self, path: &str) -> Vec<String> {
        let root = self.cloud.aws.bucket(BUCKET).join(path);
        let mut found = Vec::new();
        all(&root, &mut found);
        let relative = |file: &PathBuf| file.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        let mut names: Vec<_> = found.iter().map(relative).collect();
        names.sort();
        names
    }

    /// The database `big`, with a row in each table.
    async fn big(&self) {
        self.run("CREATE DATABASE big").await;
        for table in 0..TABLES {
            self.run(&format!("CREATE TABLE big.public.t{table} (k INT PRIMARY KEY, v TEXT)")).await;
            self.run(&format!("INSERT INTO big.public.t{table} VALUES ({table}, 'one')")).await;
        }
    }

    /// Begins a backup of `big` and waits until it has written a file of data.
    async fn begun(&self, path: &str) -> String {
        let uri = self.uri(path);
        let id =
            self.run(&format!("BACKUP DATABASE big INTO '{uri}' WITH detached")).await[0]["job_id"].clone();
        let is_under_way =
            async || self.files(path).iter().filter(|file| file.ends_with(".parquet")).count() > 1;
        until("a file of data is there", is_under_way).await;
        id
    }

    /// One row of each table of `big`, in one finished full backup, which nothing is missing in.
    async fn is_whole(&self, path: &str) {
        let uri = self.uri(path);
        assert_eq!(self.run(&format!("SHOW BACKUPS IN '{uri}'")).await.len(), 1);
        let shown = self.run(&format!("SHOW BACKUP FROM LATEST IN '{uri}' WITH check_files")).await;
        let tables: Vec<_> = shown.iter().filter(|row| row["object_type"] == "table").collect();
        assert_eq!(tables.len(), TABLES, "{shown:?}");
        assert!(tables.iter().all(|row| row["rows"] == "1" && row["file_bytes"] != "0"), "{tables:?}");
    }
}

/// Cases 112, 113, 115, 116, 127; 118 and 119 as far as SHOW BACKUP goes.
#[tokio::test(flavor = "multi_thread")]
async fn backups_are_made_and_shown_by_statements() {
    let stage = three_nodes().await;
    stage.run("CREATE DATABASE shop").await;
    stage.run("CREATE TABLE shop.public.t (k INT PRIMARY KEY, v TEXT)").await;
    stage.run("INSERT INTO shop.public.t VALUES (1, 'one'), (2, 'two')").await;
    let uri = stage.uri("shop");
    assert_eq!(
        stage.refused(&format!("BACKUP DATABASE shop INTO LATEST IN '{uri}'")).await,
        "58P01 path does not contain a completed latest backup"
    );
    let told = stage.run(&format!("BACKUP DATABASE shop INTO '{uri}'")).await;
    let told: Vec<_> =
        ["status", "fraction_completed", "rows", "index_entries"].map(|name| &*told[0][name]).into();
    assert_eq!(told, ["succeeded", "1", "2", "0"]);
    let fulls = stage.run(&format!("SHOW BACKUPS IN '{uri}'")).await;
    let full = fulls[0]["path"].trim_start_matches('/').to_owned();
    let job = stage.run("SHOW JOBS").await.remove(0);
    assert_eq!(job["job_type"], "BACKUP");
    assert!(
        job["description"].starts_with(&format!("BACKUP DATABASE shop INTO '/{full}' IN 's3://")),
        "{job:?}"
    );

    let everything = stage.uri("everything");
    let told = stage.run(&format!("BACKUP INTO '{everything}' AS OF SYSTEM TIME '-1ms'")).await;
    assert_eq!(told[0]["status"], "succeeded");
    let shown = stage.run(&format!("SHOW BACKUP FROM LATEST IN '{everything}'")).await;
    assert!(shown.iter().any(|row| row["object_name"] == "t" && row["is_full_cluster"] == "t"), "{shown:?}");

    an_incremental_one_follows(&stage, &uri, &full).await;
    one_is_begun_when_its_transaction_commits(&stage).await;
    what_is_encrypted_opens_with_its_passphrase(&stage).await;
    what_is_wrong_is_told(&stage, &uri, &full).await;
    nothing_new_is_an_empty_layer(&stage).await;
    an_administrator_may_switch_it_off(&stage, &uri).await;
}

/// 113, 127.
async fn an_incremental_one_follows(stage: &Stage, uri: &str, full: &str) {
    let latest = |files: &[String]| -> Vec<String> {
        files.iter().filter(|file| file.starts_with("metadata/latest/")).cloned().collect()
    };
    let before = latest(&stage.files("shop"));
    assert_eq!(before.len(), 1);
    stage.run("UPDATE shop.public.t SET v = 'zwei' WHERE k = 2").await;
    stage.run("INSERT INTO shop.public.t VALUES (3, 'three')").await;
    let told = stage.run(&format!("BACKUP DATABASE shop INTO LATEST IN '{uri}'")).await;
    assert_eq!(told[0]["rows"], "2", "changes");
    let files = stage.files("shop");
    assert_eq!(latest(&files), before, "only fulls move it");
    let below = format!("incrementals/{full}/");
    let manifest = files.iter().find_map(|file| file.strip_prefix(&below)?.strip_suffix("/BACKUP_MANIFEST"));
    let shape: String =
        manifest.unwrap().chars().map(|char| if char.is_ascii_digit() { '9' } else { char }).collect();
    assert_eq!(shape, "99999999/999999.99");
    stage.run(&format!("BACKUP DATABASE shop INTO '/{full}' IN '{uri}'")).await;
    let fulls = stage.run(&format!("SHOW BACKUPS IN '{uri}'")).await;
    assert_eq!(fulls.len(), 1, "incremental ones are not listed: {fulls:?}");
    let shown = stage.run(&format!("SHOW BACKUP FROM LATEST IN '{uri}'")).await;
    let kinds: Vec<_> =
        shown.iter().filter(|row| row["object_name"] == "t").map(|row| &*row["backup_type"]).collect();
    assert_eq!(kinds, ["full", "incremental", "incremental"]);
    assert_eq!(
        stage.refused(&format!("BACKUP TABLE shop.public.t INTO LATEST IN '{uri}'")).await,
        format!("22023 the targets are not those of the full backup /{full}")
    );
}

/// 115, 116.
async fn one_is_begun_when_its_transaction_commits(stage: &Stage) {
    let uri = stage.uri("detached");
    stage.run("BEGIN").await;
    assert_eq!(
        stage.refused(&format!("BACKUP DATABASE shop INTO '{uri}'")).await,
        "25001 BACKUP cannot be used inside a multi-statement transaction without DETACHED option"
    );
    stage.run("ROLLBACK").await;
    let jobs = async || stage.run("SHOW JOBS").await.len();
    let before = jobs().await;
    stage.run("BEGIN").await;
    stage.run(&format!("BACKUP DATABASE shop INTO '{uri}' WITH detached")).await;
    stage.run("ROLLBACK").await;
    assert_eq!(jobs().await, before, "what was rolled back made no job");
    stage.run("BEGIN").await;
    let told = stage.run(&format!("BACKUP DATABASE shop INTO '{uri}' WITH detached = true")).await.remove(0);
    assert_eq!(told.keys().collect::<Vec<_>>(), ["job_id"]);
    let other = stage.cluster.root(&stage.cluster.nodes[1]).await.unwrap();
    let seen = rows_of(&other, &format!("SHOW JOB {}", told["job_id"])).await.unwrap();
    assert!(seen.is_empty(), "it is not there before COMMIT: {seen:?}");
    // Who makes a job meanwhile waits, or its number would be the one that was told.
    let statement = format!("BACKUP DATABASE shop INTO '{}' WITH detached", stage.uri("meanwhile"));
    let mut meanwhile = tokio::spawn(async move { rows_of(&other, &statement).await });
    assert!(tokio::time::timeout(Duration::from_millis(500), &mut meanwhile).await.is_err(), "it waits");
    stage.run("COMMIT").await;
    let meanwhile = meanwhile.await.unwrap().unwrap().remove(0);
    for (told, path) in [(told, "detached"), (meanwhile, "meanwhile")] {
        stage.until_status(&told["job_id"], &["succeeded"]).await;
        let description = stage.job(&told["job_id"]).await["description"].clone();
        assert!(description.contains(&format!("/{path}?")), "{description}");
    }
}

/// An incremental one of a cluster in which nothing was committed since the full, as of a time after that: it is an empty layer.
async fn nothing_new_is_an_empty_layer(stage: &Stage) {
    let uri = stage.uri("idle");
    stage.run(&format!("BACKUP DATABASE shop INTO '{uri}'")).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    for when in [" AS OF SYSTEM TIME '-1s'", ""] {
        let told = stage.run(&format!("BACKUP DATABASE shop INTO LATEST IN '{uri}'{when}")).await.remove(0);
        let told = ["status", "fraction_completed", "rows"].map(|name| &*told[name]);
        assert_eq!(told, ["succeeded", "1", "0"]);
    }
    let shown = stage.run(&format!("SHOW BACKUP FROM LATEST IN '{uri}' WITH check_files")).await;
    let layers: Vec<_> = shown
        .iter()
        .filter(|row| row["object_name"] == "t")
        .map(|row| (&*row["backup_type"], &*row["rows"]))
        .collect();
    assert_eq!(layers, [("full", "3"), ("incremental", "0"), ("incremental", "0")]);
}

/// `feature.backup.enabled`: what runs goes on, and what is there can be looked at.
async fn an_administrator_may_switch_it_off(stage: &Stage, uri: &str) {
    stage.cloud.aws.inject(Fault::s3(Trouble::Slow(SLOW)).of("PutObject"));
    let begun = stage.run(&format!("BACKUP DATABASE shop INTO '{}' WITH detached", stage.uri("runs"))).await;
    stage.run("SET CLUSTER SETTING feature.backup.enabled = false").await;
    let off = "57000 feature BACKUP was disabled by the database administrator";
    for statement in [format!("BACKUP INTO '{uri}'"), format!("BACKUP DATABASE shop INTO LATEST IN '{uri}'")]
    {
        assert_eq!(stage.refused(&statement).await, off);
    }
    assert!(!stage.run(&format!("SHOW BACKUPS IN '{uri}'")).await.is_empty());
    stage.until_status(&begun[0]["job_id"], &["succeeded"]).await;
    stage.cloud.aws.heal(Service::S3);
    stage.run("RESET CLUSTER SETTING feature.backup.enabled").await;
}

/// 118, 119; and nothing keeps the passphrase.
async fn what_is_encrypted_opens_with_its_passphrase(stage: &Stage) {
    const PASSPHRASE: &str = "correct-horse-battery";
    let uri = stage.uri("locked");
    let with = format!("WITH encryption_passphrase = '{PASSPHRASE}'");
    stage.run(&format!("BACKUP DATABASE shop INTO '{uri}' {with}")).await;
    stage.run(&format!("BACKUP DATABASE shop INTO LATEST IN '{uri}' {with}")).await;
    let show = format!("SHOW BACKUP FROM LATEST IN '{uri}'");
    assert_eq!(
        stage.run(&format!("{show} {with}")).await.iter().filter(|row| row["object_name"] == "t").count(),
        2
    );
    let locked = r#"22023 file appears encrypted -- try specifying one of "encryption_passphrase" or "kms""#;
    assert_eq!(stage.refused(&show).await, locked);
    assert_eq!(stage.refused(&format!("BACKUP DATABASE shop INTO LATEST IN '{uri}'")).await, locked);
    assert_eq!(
        stage.refused(&format!("{show} WITH encryption_passphrase = 'another'")).await,
        "22023 failed to decrypt -- maybe incorrect key"
    );
    let jobs = stage.run("SHOW JOBS WITH DETAILS").await;
    assert!(!format!("{jobs:?}").contains(PASSPHRASE));
    let scanner = Scanner::new([("the passphrase", PASSPHRASE)]);
    for node in &stage.cluster.nodes {
        let mut found = scanner.bytes(&format!("the log of node {}", node.id), node.logged().as_bytes());
        found.extend(scanner.files(&node.data));
        assert_eq!(found, [].into());
    }
}

/// The texts of the specification.
async fn what_is_wrong_is_told(stage: &Stage, uri: &str, full: &str) {
    let other = "2000/01/01-000000.00";
    for (statement, text) in [
        (
            format!("BACKUP DATABASE shop INTO '{uri}' WITH encryption_passphrase = 'a', kms = 'aws:///k?REGION=r'"),
            "22023 cannot have both encryption_passphrase and kms option set".to_owned(),
        ),
        (
            format!("BACKUP DATABASE shop INTO '/{other}' IN '{uri}'"),
            format!("58P01 A full backup cannot be written to \"/{other}\", a user defined subdirectory."),
        ),
        (
            format!("BACKUP DATABASE shop TO '{uri}'"),
            "0A000 BACKUP … TO is not supported".to_owned(),
        ),
        (
            format!("BACKUP DATABASE shop TO '{uri}' WITH incremental_location = '{uri}'"),
            "42601 incremental_location option not supported with `BACKUP TO` syntax".to_owned(),
        ),
        (
            format!("BACKUP DATABASE shop INTO ('{uri}', '{uri}')"),
            "22023 multiple URLs are provided for partitioned BACKUP, but COCKROACH_LOCALITY is not specified".to_owned(),
        ),
        (
            format!("BACKUP DATABASE shop INTO '{uri}&COCKROACH_LOCALITY=region%3Da'"),
            "22023 COCKROACH_LOCALITY region=a is invalid for a single BACKUP location".to_owned(),
        ),
        (
            format!("BACKUP DATABASE shop INTO '{uri}' AS OF SYSTEM TIME '+1h'"),
            "22023 AS OF SYSTEM TIME: cannot specify timestamp in the future".to_owned(),
        ),
        (
            format!("BACKUP DATABASE shop INTO LATEST IN '{uri}' AS OF SYSTEM TIME '-100h'"),
            format!("22023 the backup /{full} has all up to that time already"),
        ),
        (
            "BACKUP DATABASE nowhere INTO 'nodelocal://self/b'".to_owned(),
            "3D000 database \"nowhere\" does not exist".to_owned(),
        ),
    ] {
        let refused = stage.refused(&statement).await;
        assert!(refused.starts_with(&text), "{statement}: {refused}");
    }
}

/// Cases 49, 50, 56; and whoever loses the right to back up stops at the next step.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_is_asked_at_each_step() {
    let stage = three_nodes().await;
    stage.big().await;
    stage.run("CREATE USER amy").await;
    let uri = stage.uri("amy");
    stage.run("SET ROLE amy").await;
    assert_eq!(
        stage.refused(&format!("BACKUP INTO '{uri}'")).await,
        "42501 only users with the admin role or the BACKUP system privilege are allowed to perform full cluster backups"
    );
    stage.run("RESET ROLE").await;
    stage.run("REVOKE CONNECT ON DATABASE big FROM public").await;
    stage.run("SET ROLE amy").await;
    let no = "42501 user amy does not have BACKUP privilege on database big";
    assert_eq!(stage.refused(&format!("BACKUP DATABASE big INTO '{uri}'")).await, no);
    let no = "42501 user amy does not have BACKUP privilege on relation t0";
    assert_eq!(stage.refused(&format!("BACKUP TABLE big.public.t0 INTO '{uri}'")).await, no);
    stage.run("RESET ROLE").await;
    stage.run("GRANT SELECT ON TABLE big.public.t0 TO amy").await;
    stage.run("SET ROLE amy").await;
    let no = "42501 only users with the admin role or the EXTERNALIOIMPLICITACCESS system privilege are allowed to access \
              the specified s3 URI";
    assert_eq!(stage.refused(&format!("BACKUP TABLE big.public.t0 INTO '{uri}'")).await, no);
    stage.run("RESET ROLE").await;
    stage.run("GRANT SYSTEM EXTERNALIOIMPLICITACCESS TO amy").await;
    stage.run("SET ROLE amy").await;
    let told = stage.run(&format!("BACKUP TABLE big.public.t0 INTO '{uri}'")).await;
    assert_eq!(told[0]["rows"], "1", "SELECT is enough, for now");
    stage.run("RESET ROLE").await;

    // The right to the URI was asked for once; that to the rows is asked for again and again.
    stage.run("GRANT BACKUP ON DATABASE big TO amy").await;
    stage.cloud.aws.inject(Fault::s3(Trouble::Slow(SLOW)).of("PutObject"));
    stage.run("SET ROLE amy").await;
    let id = stage.begun("steps").await;
    stage.run("RESET ROLE").await;
    stage.run("REVOKE SYSTEM EXTERNALIOIMPLICITACCESS FROM amy").await;
    stage.run("REVOKE BACKUP ON DATABASE big FROM amy").await;
    stage.until_status(&id, &["paused"]).await;
    let paused = stage.run(&format!("SHOW JOB {id} WITH DETAILS")).await;
    assert_eq!(paused[0]["pause_reason"], "user amy does not have BACKUP privilege on database big");
    stage.cloud.aws.heal(Service::S3);
    stage.run("GRANT BACKUP ON DATABASE big TO amy").await;
    stage.run(&format!("RESUME JOB {id}")).await;
    stage.until_status(&id, &["succeeded"]).await;
    stage.is_whole("steps").await;
}

/// Case 121: it goes on from where it was. Cancelled, it leaves no backup.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_backup_goes_on_and_a_cancelled_one_is_none() {
    let stage = three_nodes().await;
    stage.big().await;
    stage.cloud.aws.inject(Fault::s3(Trouble::Slow(SLOW)).of("PutObject"));
    let id = stage.begun("paused").await;
    stage.run(&format!("PAUSE JOB {id}")).await;
    stage.until_status(&id, &["paused"]).await;
    let data = |stage: &Stage| -> BTreeSet<String> {
        stage.files("paused").into_iter().filter(|file| file.ends_with(".parquet")).collect()
    };
    let before = data(&stage);
    assert!(!before.is_empty() && before.len() < TABLES, "it was in the middle: {before:?}");
    stage.run(&format!("RESUME JOB {id}")).await;
    stage.until_status(&id, &["succeeded"]).await;
    let after = data(&stage);
    assert_eq!(after.len(), TABLES, "each table was written once: {after:?}");
    assert!(after.is_superset(&before));
    stage.is_whole("paused").await;

    let id = stage.begun("cancelled").await;
    stage.run(&format!("CANCEL JOB {id}")).await;
    stage.until_status(&id, &["canceled"]).await;
    let uri = stage.uri("cancelled");
    assert_eq!(stage.run(&format!("SHOW BACKUPS IN '{uri}'")).await.len(), 0);
    let shown = stage.job(&id).await;
    assert_eq!(shown["error"], "job canceled by user");
}

/// Case 161: and the node that has the job may be killed, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_outlives_its_client_and_its_node() {
    let mut stage = three_nodes().await;
    stage.big().await;
    stage.cloud.aws.inject(Fault::s3(Trouble::Slow(SLOW)).of("PutObject"));
    let waiting = stage.cluster.root(&stage.cluster.nodes[2]).await.unwrap();
    let statement = format!("BACKUP DATABASE big INTO '{}'", stage.uri("gone"));
    let client = tokio::spawn(async move { waiting.simple_query(&statement).await.map(drop) });
    let is_under_way = async || stage.files("gone").iter().any(|file| file.ends_with(".parquet"));
    until("a file of data is there", is_under_way).await;
    client.abort();
    let id = stage.run("SHOW JOBS").await.remove(0)["job_id"].clone();
    stage.until_status(&id, &["succeeded"]).await;
    stage.is_whole("gone").await;

    for (path, files) in [("early", 1), ("late", TABLES - 2)] {
        let uri = stage.uri(path);
        let begun = stage.run(&format!("BACKUP DATABASE big INTO '{uri}' WITH detached")).await;
        let id = begun[0]["job_id"].clone();
        let written = || stage.files(path).iter().filter(|file| file.ends_with(".parquet")).count();
        until("it is far enough", async || written() >= files).await;
        let coordinator: u64 = stage.job(&id).await["coordinator_id"].parse().expect("a node has it");
        stage.cluster.node(coordinator).kill();
        stage.connect_elsewhere(coordinator).await;
        stage.until_status(&id, &["succeeded"]).await;
        assert_ne!(stage.job(&id).await["num_runs"], "1", "another node took it up");
        stage.is_whole(path).await;
        stage.cluster.node(coordinator).start();
        stage.cluster.until_all_caught_up().await;
    }
}

/// Trouble with credentials never fails a job: it says so while it waits, and ends well when they are back.
#[tokio::test(flavor = "multi_thread")]
async fn a_backup_waits_for_credentials() {
    let stage = three_nodes().await;
    stage.big().await;
    let last = stage.cloud.chained.roles[1].clone();
    let trusted = stage.cloud.aws.set_trust(&last, &trust(&["arn:aws:iam::111122223333:user/nobody"]));
    let uri = stage.uri("waits");
    let refused = stage.refused(&format!("BACKUP DATABASE big INTO '{uri}'")).await;
    assert!(refused.contains("hop 2 of 2") && refused.contains(&last), "told at once: {refused}");
    assert_eq!(stage.run("SHOW JOBS").await.len(), 0, "and no job is made");
    stage.cloud.aws.set_trust(&last, &trusted);

    stage.cloud.aws.inject(Fault::s3(Trouble::Slow(SLOW)).of("PutObject"));
    let made =
        async || rows_of(&stage.client, &format!("BACKUP DATABASE big INTO '{uri}' WITH detached")).await;
    until("the role is trusted again", async || made().await.is_ok()).await;
    let id = stage.run("SHOW JOBS").await.remove(0)["job_id"].clone();
    stage.cloud.aws.inject(Fault::s3(Trouble::Deny));
    let waits = async || stage.job(&id).await["running_status"].starts_with("waiting for credentials: ");
    until("it says what it waits for", waits).await;
    assert_eq!(stage.job(&id).await["status"], "running");
    stage.cloud.aws.heal(Service::S3);
    stage.until_status(&id, &["succeeded"]).await;
    stage.is_whole("waits").await;
}
