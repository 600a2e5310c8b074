//! Schedules of backups on three nodes, each a process, into the strict double of AWS under a chain of two roles: what is made and
//! shown, that each time which is due has exactly one job whoever leads, and what becomes of a schedule whose job, right, place or
//! credentials fail it.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "schedules/stage.rs"]
mod stage;

use std::time::{Duration, Instant};

use grantd_cluster_tests::cloud::fault::{Fault, Service, Trouble};
use grantd_cluster_tests::process::until;
use stage::{Row, Stage};

const WAITS: &str = "PAUSED: Waiting for initial backup to complete";

/// Case 130; and the incremental layers follow the full one.
#[tokio::test(flavor = "multi_thread")]
async fn an_hourly_schedule_has_a_daily_full_one_and_waits_for_it() {
    let stage = Stage::new().await;
    let uri = stage.uri("hourly");
    let made = stage
        .run(&format!("CREATE SCHEDULE 'my label' FOR BACKUP DATABASE shop INTO '{uri}' RECURRING '@hourly'"))
        .await;
    let [incremental, full] = &made[..] else { panic!("{made:?}") };
    let cells = |row: &Row| ["label", "status", "schedule"].map(|name| row[name].clone());
    assert_eq!(cells(incremental), ["my label", WAITS, "@hourly"]);
    assert_eq!(cells(full), ["my label", "ACTIVE", "@daily"]);
    assert_eq!(incremental["first_run"], "NULL");
    assert!(incremental["backup_stmt"].starts_with("BACKUP DATABASE shop INTO LATEST IN 's3://"), "{made:?}");
    assert!(full["backup_stmt"].starts_with("BACKUP DATABASE shop INTO 's3://"), "{made:?}");
    assert!(made.iter().all(|row| row["backup_stmt"].ends_with(" WITH detached")), "{made:?}");
    let (incremental, full) = (incremental["schedule_id"].clone(), full["schedule_id"].clone());

    // Nobody said when: the first full one is made at once, and lets the other go on.
    let job = stage.until_jobs(&full, 1).await.remove(0);
    stage.until_status(&job["job_id"], "succeeded").await;
    let shown = stage.schedule(&incremental).await;
    assert_eq!(
        (&*shown["schedule_status"], &*shown["state"], &*shown["recurrence"]),
        ("ACTIVE", "NULL", "@hourly")
    );
    until("it is due at the next hour", async || stage.schedule(&incremental).await["next_run"] != "NULL")
        .await;
    assert_eq!(shown["owner"], "root");

    stage.run("UPDATE shop.public.t SET v = 'zwei' WHERE k = 2").await;
    stage.run(&format!("ALTER BACKUP SCHEDULE {full} EXECUTE IMMEDIATELY")).await;
    let job = stage.until_jobs(&incremental, 1).await.remove(0);
    stage.until_status(&job["job_id"], "succeeded").await;
    let layers = stage.run(&format!("SHOW BACKUP FROM LATEST IN '{uri}'")).await;
    let tables: Vec<_> = layers.iter().filter(|row| row["object_name"] == "t").collect();
    let rows: Vec<_> = tables.iter().map(|row| (&*row["backup_type"], &*row["rows"])).collect();
    assert_eq!(rows, [("full", "2"), ("incremental", "1")]);

    stage.run(&format!("ALTER BACKUP SCHEDULE {incremental} EXECUTE FULL IMMEDIATELY")).await;
    let jobs = stage.until_jobs(&full, 2).await;
    stage.until_status(&jobs[0]["job_id"], "succeeded").await;
    assert_eq!(stage.run(&format!("SHOW BACKUPS IN '{uri}'")).await.len(), 2);
    stage.until_metric("grantd_schedules_backup_succeeded_total", 3.0).await;
    what_is_shown_makes_it_again(&stage, &full).await;
}

/// What SHOW CREATE says is a statement.
async fn what_is_shown_makes_it_again(stage: &Stage, full: &str) {
    let shown = stage.run(&format!("SHOW CREATE SCHEDULE {full}")).await.remove(0);
    let statement = &shown["create_statement"];
    assert!(
        statement.starts_with("CREATE SCHEDULE 'my label' FOR BACKUP DATABASE shop INTO 's3://")
            && statement.contains(" RECURRING '@hourly' FULL BACKUP '@daily' WITH SCHEDULE OPTIONS "),
        "{statement}"
    );
    let made = stage.run(&statement.replace("'my label'", "'again'")).await;
    assert_eq!(made.len(), 2, "{made:?}");
    assert_eq!(stage.run("SHOW CREATE ALL SCHEDULES").await.len(), 2);
    let listed = stage.run("SHOW SCHEDULES FOR BACKUP").await;
    assert_eq!(listed.len(), 4);
    assert!(listed.iter().all(|row| row["command"].starts_with("BACKUP DATABASE shop INTO ")), "{listed:?}");
    let one = stage.schedule(full).await;
    assert!(
        one["command"].starts_with(r#"{"backup_statement": "BACKUP"#)
            || one["command"].starts_with(r#"{"backup_statement":"BACKUP"#)
    );
    assert_eq!(stage.run(&format!("DROP SCHEDULE {}", made[1]["schedule_id"])).await.len(), 0);
    assert_eq!(stage.run("SHOW SCHEDULES").await.len(), 2, "the incremental one went with it");
}

/// Case 131; and backups that are there are somebody's.
#[tokio::test(flavor = "multi_thread")]
async fn two_schedules_do_not_share_a_collection() {
    let stage = Stage::new().await;
    let uri = stage.uri("shared");
    let create = |label: &str, uri: &str, options: &str| {
        format!(
            "CREATE SCHEDULE IF NOT EXISTS '{label}' FOR BACKUP DATABASE shop INTO '{uri}' RECURRING '@daily' \
             FULL BACKUP ALWAYS WITH SCHEDULE OPTIONS first_run = '+10h'{options}"
        )
    };
    assert_eq!(stage.run(&create("one", &uri, "")).await.len(), 1);
    let refused = stage.refused(&create("two", &uri, "")).await;
    assert!(refused.starts_with("42710 ") && refused.contains("\"one\""), "{refused}");
    // Another way to the same place.
    let other = uri.replace("&AWS_REGION=us-east-1", "").replace("?AUTH", "/?AWS_REGION=us-east-1&AUTH");
    assert!(stage.refused(&create("two", &other, "")).await.starts_with("42710 "));
    assert_eq!(stage.run(&create("two", &uri, ", ignore_existing_backups")).await.len(), 1);
    assert_eq!(stage.run(&create("one", &uri, "")).await.len(), 0, "one of this label is there");

    let there = stage.uri("there");
    stage.run(&format!("BACKUP DATABASE shop INTO '{there}'")).await;
    let refused = stage.refused(&create("three", &there, "")).await;
    assert!(refused.starts_with("42710 backups already created in s3://"), "{refused}");
    assert_eq!(stage.run(&create("three", &there, ", ignore_existing_backups")).await.len(), 1);
    what_is_wrong_is_told_at_once(&stage).await;
}

async fn what_is_wrong_is_told_at_once(stage: &Stage) {
    let uri = stage.uri("wrong");
    let schedule = |of: &str, rest: &str| format!("CREATE SCHEDULE FOR BACKUP {of} INTO '{uri}' {rest}");
    for (statement, text) in [
        (
            schedule("DATABASE shop", "RECURRING '61 * * * *'"),
            "22023 invalid crontab \"61 * * * *\": its minute",
        ),
        (schedule("DATABASE shop", "RECURRING '@often'"), "22023 invalid crontab \"@often\""),
        (
            schedule("DATABASE shop", "RECURRING '@daily' FULL BACKUP '@hourly'"),
            "22023 incremental backups must",
        ),
        (schedule("DATABASE nowhere", "RECURRING '@daily'"), "3D000 "),
        (
            schedule("DATABASE shop", "RECURRING '@daily' WITH SCHEDULE OPTIONS first_run = 'soon'"),
            "22023 first_run takes a time",
        ),
        (
            schedule("DATABASE shop", "RECURRING '@daily' WITH SCHEDULE OPTIONS on_previous_running = 'run'"),
            "22023 on_previous_running takes one of start, skip, wait",
        ),
        ("CREATE SCHEDULE FOR BACKUP INTO 'nonsense://x' RECURRING '@daily'".to_owned(), ""),
        ("PAUSE SCHEDULE 99".to_owned(), "42704 schedule with ID 99 does not exist"),
        ("SHOW CREATE SCHEDULE 99".to_owned(), "42704 schedule with ID 99 does not exist"),
    ] {
        let refused = stage.refused(&statement).await;
        assert!(refused.starts_with(text), "{statement}: {refused}");
    }
    stage.run("BEGIN").await;
    let refused = stage.refused(&schedule("DATABASE shop", "RECURRING '@daily'")).await;
    assert!(refused.starts_with("25001 CREATE SCHEDULE cannot run inside a transaction"), "{refused}");
    stage.run("ROLLBACK").await;
    stage.aws.inject(Fault::s3(Trouble::Deny));
    let refused = stage.refused(&schedule("DATABASE shop", "RECURRING '@daily'")).await;
    assert!(refused.starts_with("42501 ") || refused.starts_with("28000 "), "{refused}");
    stage.aws.heal(Service::S3);
}

/// The leader dies while it prepares the run, and upon the command that makes the job.
#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_is_due_while_the_leader_dies_has_exactly_one_job() {
    let mut stage = Stage::new().await;
    for moment in ["prepares", "made"] {
        let leader = stage.cluster.leader().await;
        stage.connect_elsewhere(leader).await;
        let uri = stage.uri(moment);
        let schedule = stage.full_only(moment, &uri, "first_run = '+10h'").await;
        let before = stage.schedule(&schedule).await["next_run"].clone();
        if moment == "prepares" {
            stage.aws.inject(Fault::s3(Trouble::Hang));
        }
        stage.run(&format!("ALTER BACKUP SCHEDULE {schedule} EXECUTE IMMEDIATELY")).await;
        if moment == "prepares" {
            until("it asks the bucket", async || !stage.aws.hanging().is_empty()).await;
            assert_eq!(stage.jobs(&schedule).await.len(), 0);
        } else {
            until("there is a job", async || stage.jobs(&schedule).await.len() == 1).await;
        }
        stage.cluster.node(leader).kill();
        stage.aws.heal(Service::S3);
        let jobs = stage.until_jobs(&schedule, 1).await;
        stage.until_status(&jobs[0]["job_id"], "succeeded").await;
        // Whoever leads now looks several times meanwhile.
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(stage.jobs(&schedule).await.len(), 1, "{moment}");
        assert_eq!(stage.asked(&format!("SHOW BACKUPS IN '{uri}'")).await.len(), 1, "{moment}");
        let after = stage.schedule(&schedule).await["next_run"].clone();
        assert!(after != "NULL" && after != before, "{moment}: it is due next week: {after}");
        stage.cluster.node(leader).start();
        stage.cluster.until_all_caught_up().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_are_paused_resumed_altered_and_dropped() {
    let stage = Stage::new().await;
    let (first, second) = (stage.uri("first"), stage.uri("second"));
    let made = stage
        .run(&format!(
            "CREATE SCHEDULE s FOR BACKUP DATABASE shop INTO '{first}' RECURRING '@hourly' FULL BACKUP '@daily' \
             WITH SCHEDULE OPTIONS first_run = '+10h'"
        ))
        .await;
    let (incremental, full) = (&made[0]["schedule_id"], &made[1]["schedule_id"]);
    assert_eq!(stage.tag(&format!("PAUSE SCHEDULES SELECT k FROM (VALUES ({full}), (NULL)) v (k)")).await, 1);
    let paused = stage.run("SHOW PAUSED SCHEDULES").await;
    assert_eq!(paused.len(), 2);
    assert_eq!(stage.schedule(full).await["next_run"], "NULL");
    let refused = stage.refused(&format!("ALTER BACKUP SCHEDULE {full} EXECUTE FULL IMMEDIATELY")).await;
    assert!(refused.starts_with("55000 "), "{refused}");
    stage.run(&format!("RESUME SCHEDULE {full}")).await;
    until("it is due at midnight", async || stage.schedule(full).await["next_run"].contains(" 00:00:00"))
        .await;
    assert_eq!(stage.run("SHOW RUNNING SCHEDULES").await.len(), 1);

    stage.run(&format!("ALTER BACKUP SCHEDULE {full} EXECUTE FULL IMMEDIATELY")).await;
    let job = stage.until_jobs(full, 1).await.remove(0);
    stage.until_status(&job["job_id"], "succeeded").await;
    assert_eq!(stage.schedule(incremental).await["schedule_status"], "ACTIVE");

    let altered = stage
        .run(&format!(
            "ALTER BACKUP SCHEDULE {incremental} SET INTO '{second}', SET LABEL 'moved', SET RECURRING '*/30 * * * *', \
             SET WITH revision_history = true, SET SCHEDULE OPTION on_execution_failure = 'pause'"
        ))
        .await;
    assert_eq!((&*altered[0]["status"], &*altered[0]["schedule"]), (WAITS, "*/30 * * * *"), "{altered:?}");
    assert_eq!((&*altered[1]["label"], &*altered[1]["status"]), ("moved", "ACTIVE"));
    assert!(altered[1]["backup_stmt"].ends_with(" WITH revision_history, detached"), "{altered:?}");
    stage.run(&format!("ALTER BACKUP SCHEDULE {full} EXECUTE FULL IMMEDIATELY")).await;
    let jobs = stage.until_jobs(full, 2).await;
    stage.until_status(&jobs[0]["job_id"], "succeeded").await;
    assert_eq!(stage.run(&format!("SHOW BACKUPS IN '{second}'")).await.len(), 1);
    assert_eq!(
        stage.schedule(incremental).await["schedule_status"],
        "ACTIVE",
        "there is a full one there now"
    );

    let altered = stage.run(&format!("ALTER BACKUP SCHEDULE {full} SET FULL BACKUP ALWAYS")).await;
    assert_eq!(altered.len(), 1, "there are no incremental ones: {altered:?}");
    assert_eq!(altered[0]["schedule"], "*/30 * * * *");
    assert_eq!(stage.tag(&format!("DROP SCHEDULE {full}")).await, 1);
    assert_eq!(stage.run("SHOW SCHEDULES").await.len(), 0);
    assert_eq!(stage.run("SHOW JOBS").await.len(), 2, "jobs stay");
}

/// And credentials that fail it are none of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_whose_owner_may_not_any_more_says_so_and_makes_no_job() {
    let stage = Stage::new().await;
    let uri = stage.uri("amy");
    stage.run("CREATE USER amy").await;
    stage.run("REVOKE CONNECT ON DATABASE shop FROM public").await;
    stage.run("GRANT SYSTEM EXTERNALIOIMPLICITACCESS TO amy").await;
    stage.run("SET ROLE amy").await;
    let create = format!(
        "CREATE SCHEDULE FOR BACKUP DATABASE shop INTO '{uri}' RECURRING '@weekly' \
         WITH SCHEDULE OPTIONS first_run = '+10h'"
    );
    let no = "user amy does not have BACKUP privilege on database shop";
    assert_eq!(stage.refused(&create).await, format!("42501 {no}"));
    let admin = "42501 only users with the admin role are allowed to set option updates_cluster_last_backup_time_metric";
    stage.run("RESET ROLE").await;
    stage.run("GRANT BACKUP ON DATABASE shop TO amy").await;
    stage.run("SET ROLE amy").await;
    let watched = format!("{create}, updates_cluster_last_backup_time_metric");
    assert_eq!(stage.refused(&watched).await, admin);
    let schedule = stage.run(&create).await.remove(0)["schedule_id"].clone();
    assert!(stage.refused(&format!("SHOW CREATE SCHEDULE {schedule}")).await.starts_with("42501 "));
    stage.run("RESET ROLE").await;
    stage.run("REVOKE BACKUP ON DATABASE shop FROM amy").await;
    stage.run(&format!("ALTER BACKUP SCHEDULE {schedule} EXECUTE IMMEDIATELY")).await;
    let says = async |text: &str| stage.schedule(&schedule).await["state"].contains(text);
    until("it says why", async || says(&format!("reschedule: {no}")).await).await;
    assert_eq!(stage.jobs(&schedule).await.len(), 0);

    // With the right it goes on; without credentials it says what it waits for, and is tried again by itself.
    stage.run("GRANT BACKUP ON DATABASE shop TO amy").await;
    stage.aws.inject(Fault::s3(Trouble::Deny));
    stage.run(&format!("ALTER BACKUP SCHEDULE {schedule} EXECUTE IMMEDIATELY")).await;
    until("it waits", async || says("waiting for credentials: ").await).await;
    stage.aws.heal(Service::S3);
    let job = stage.until_jobs(&schedule, 1).await.remove(0);
    stage.until_status(&job["job_id"], "succeeded").await;
    assert_eq!((&*job["user_name"], &*stage.schedule(&schedule).await["state"]), ("amy", "NULL"));

    stage.run("CREATE USER ben").await;
    stage.run("SET ROLE ben").await;
    assert_eq!(stage.run("SHOW SCHEDULES").await.len(), 0);
    assert!(stage.refused(&format!("DROP SCHEDULE {schedule}")).await.starts_with("42501 "));
    stage.run("RESET ROLE").await;
    a_failure_pauses_where_that_is_asked_for(&stage).await;
}

async fn a_failure_pauses_where_that_is_asked_for(stage: &Stage) {
    let uri = stage.uri("pauses");
    stage.run("CREATE DATABASE goes").await;
    let schedule = stage
        .run(&format!(
            "CREATE SCHEDULE FOR BACKUP DATABASE goes INTO '{uri}' RECURRING '@weekly' \
             WITH SCHEDULE OPTIONS first_run = '+10h', on_execution_failure = pause"
        ))
        .await
        .remove(0)["schedule_id"]
        .clone();
    stage.run("DROP DATABASE goes").await;
    stage.run(&format!("ALTER BACKUP SCHEDULE {schedule} EXECUTE IMMEDIATELY")).await;
    until("it is paused", async || stage.schedule(&schedule).await["schedule_status"] == "PAUSED").await;
    let state = stage.schedule(&schedule).await["state"].clone();
    assert!(state.contains("database \"goes\" does not exist"), "{state}");
    stage.until_metric("grantd_schedules_backup_failed_total", 1.0).await;
}

/// While a job has not ended: the next waits, is left out, or runs beside it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_beside_a_job_waits_or_is_left_out_or_runs() {
    let stage = Stage::new().await;
    stage.aws.inject(Fault::s3(Trouble::Slow(Duration::from_millis(500))).of("PutObject"));
    let mut schedules = Vec::new();
    for word in ["wait", "skip", "start"] {
        let uri = stage.uri(word);
        let options = format!("first_run = 'now', on_previous_running = {word}");
        let schedule = stage.full_only(word, &uri, &options).await;
        stage.until_jobs(&schedule, 1).await;
        stage.run(&format!("ALTER BACKUP SCHEDULE {schedule} EXECUTE IMMEDIATELY")).await;
        schedules.push(schedule);
    }
    let [wait, skip, start] = &schedules[..] else { panic!("{schedules:?}") };
    stage.until_jobs(start, 2).await;
    let shown = stage.run(&format!("SHOW JOBS FOR SCHEDULES SELECT {wait} UNION ALL SELECT {skip}")).await;
    assert_eq!(shown.len(), 2, "one each: {shown:?}");
    stage.aws.heal(Service::S3);
    let jobs = stage.until_jobs(wait, 2).await;
    stage.until_status(&jobs[0]["job_id"], "succeeded").await;
    assert!(jobs[0]["created"] >= stage.job(&jobs[1]["job_id"]).await["finished"], "one after the other");
    until("it is left out", async || stage.schedule(skip).await["next_run"].contains(" 00:00:00")).await;
    assert_eq!(stage.jobs(skip).await.len(), 1);
    stage.until_metric("grantd_schedules_round_reschedule_skip_total", 1.0).await;
    stage.until_metric("grantd_schedules_round_reschedule_wait_total", 1.0).await;

    stage.aws.inject(Fault::s3(Trouble::Slow(Duration::from_secs(1))).of("PutObject"));
    stage.run(&format!("ALTER BACKUP SCHEDULE {skip} EXECUTE IMMEDIATELY")).await;
    let job = stage.until_jobs(skip, 2).await.remove(0)["job_id"].clone();
    until("it is under way", async || stage.job(&job).await["status"] == "running").await;
    assert_eq!(stage.tag(&format!("PAUSE JOBS FOR SCHEDULE {skip}")).await, 1);
    stage.until_status(&job, "paused").await;
    assert_eq!(stage.tag(&format!("CANCEL JOBS FOR SCHEDULES SELECT {skip}")).await, 1);
    stage.until_status(&job, "canceled").await;
}

/// The schedule keeps what its next layer needs, though the cluster keeps history for a second only.
#[tokio::test(flavor = "multi_thread")]
async fn history_is_kept_from_one_layer_to_the_next() {
    let stage = Stage::new().await;
    let (uri, alone) = (stage.uri("kept"), stage.uri("alone"));
    let made = stage
        .run(&format!("CREATE SCHEDULE FOR BACKUP DATABASE shop INTO '{uri}' RECURRING '@hourly'"))
        .await;
    let (incremental, full) = (&made[0]["schedule_id"], &made[1]["schedule_id"]);
    let job = stage.until_jobs(full, 1).await.remove(0);
    stage.until_status(&job["job_id"], "succeeded").await;
    stage.run("SET CLUSTER SETTING kv.history.gc.ttlseconds = 1").await;
    for round in 1..=3 {
        changes_and_time(&stage).await;
        stage.run(&format!("ALTER BACKUP SCHEDULE {full} EXECUTE IMMEDIATELY")).await;
        let job = stage.until_jobs(incremental, round).await.remove(0);
        stage.until_status(&job["job_id"], "succeeded").await;
    }
    let layers = stage.run(&format!("SHOW BACKUP FROM LATEST IN '{uri}' WITH check_files")).await;
    assert_eq!(layers.iter().filter(|row| row["object_name"] == "t").count(), 4);

    // Without a schedule it is collected; and where it is dropped.
    stage.run(&format!("BACKUP DATABASE shop INTO '{alone}'")).await;
    stage.run(&format!("DROP SCHEDULE {full}")).await;
    changes_and_time(&stage).await;
    for collection in [alone, uri] {
        let refused = stage.refused(&format!("BACKUP DATABASE shop INTO LATEST IN '{collection}'")).await;
        println!("{refused}");
    }
}

/// Changes, for much longer than they are kept. Each entry of the log collects what may be.
async fn changes_and_time(stage: &Stage) {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(5) {
        stage.run("UPDATE shop.public.t SET v = v || '.' WHERE k = 1").await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
