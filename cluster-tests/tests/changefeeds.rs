//! Changefeeds as statements and jobs, on real processes: their node killed three times, paused and resumed, their sink cut off, the
//! trust of their role taken away and given back, all under credentials of three seconds, and at the end the reader of each kind of
//! sink has exactly the history; refused in the original's words; and nowhere a secret.
//!
//! `GRANTD_CHANGEFEED_SECONDS` says how long the writers write; 16 without it, 300 for the figures of docs/evidence.md.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "changefeeds/client.rs"]
mod client;
#[path = "changefeeds/place.rs"]
mod place;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "feed/reader.rs"]
mod reader;
#[path = "changefeeds/secrets.rs"]
mod secrets;
#[path = "changefeeds/stage.rs"]
mod stage;
#[path = "feed/tls.rs"]
mod tls;

use std::time::Duration;

use grantd_cluster_tests::process::{Cluster, Node, until};
use grantd_node::{cert, pgclient};
use tokio_postgres::{Client, SimpleQueryMessage};

use place::{HOOK_HEADER, Kafka, Place, PubSub, S3, Webhook};
use reader::files_below;
use stage::{Row, Stage, rows};

/// How long the writers write, and how long the sink is cut off then.
fn length() -> (Duration, Duration) {
    let seconds = std::env::var("GRANTD_CHANGEFEED_SECONDS").ok();
    let seconds: u64 = seconds.map_or(16, |text| text.parse().expect("a number of seconds"));
    // Longer than credentials live, so that what is missing is missed.
    (Duration::from_secs(seconds), Duration::from_secs((seconds / 5).clamp(4, 20)))
}

/// Must show 3 of the specification, for one sink.
async fn has_exactly_the_history(place: &dyn Place, more: &str) -> (Stage, String) {
    let (length, cut) = length();
    let mut stage = Stage::new(place).await;
    let create = format!(
        "CREATE CHANGEFEED FOR TABLE t INTO '{}' WITH updated, resolved = '0s', min_checkpoint_frequency = '200ms'{more}",
        place.uri()
    );
    let id = stage.run(&create).await[0]["job_id"].clone();
    let writers = stage.write();
    let began = std::time::Instant::now();
    for round in 1..=3 {
        tokio::time::sleep(length / 8).await;
        let node = stage.kill_its_node(&id).await;
        println!("{}: node {node} was killed, no. {round}", place.name());
    }
    stage.run(&format!("PAUSE JOB {id}")).await;
    stage.until_job(&id, "it is paused", |job| job["status"] == "paused").await;
    tokio::time::sleep(length / 16).await;
    stage.run(&format!("RESUME JOB {id}")).await;
    stage.until_job(&id, "it goes on", |job| job["status"] == "running").await;
    tokio::time::sleep(length / 16).await;
    let goes_on = |job: &Row| job["running_status"].starts_with("running: ");
    place.cut(true);
    tokio::time::sleep(cut).await;
    stage.until_job(&id, "it says that the sink is away", |job| !goes_on(job)).await;
    place.cut(false);
    stage.until_job(&id, "the sink is there again", goes_on).await;
    let role = place.trust(false);
    if let Some(role) = &role {
        tokio::time::sleep(cut).await;
        let says = |job: &Row| !goes_on(job) && job["running_status"].contains(role);
        stage.until_job(&id, "it says which role is not trusted", says).await;
        place.trust(true);
        stage.until_job(&id, "the role is trusted again", goes_on).await;
    }
    tokio::time::sleep(length.saturating_sub(began.elapsed())).await;
    let (expected, commits) = writers.end().await;
    let (late, messages) = stage.until_all_is_there(&id, place, &expected).await;
    let versions: usize = expected.values().map(Vec::len).sum();
    println!(
        "{}: {commits} commits in {:?}, {versions} versions, {messages} messages; all were there {late:?} after the last;          three kills, a pause, {cut:?} without the sink{}",
        place.name(),
        began.elapsed(),
        if role.is_some() { " and as long without trust" } else { "" },
    );
    let job = stage.job(&id).await;
    assert_eq!((&*job["status"], &*job["error"]), ("running", "NULL"));
    let listed = stage.run("SHOW CHANGEFEED JOBS").await.remove(0);
    assert_eq!(listed["full_table_names"], "{defaultdb.public.t}");
    assert_eq!((&*listed["topics"], &*listed["format"]), (place.topic(), "json"));
    assert_ne!(listed["high_water_timestamp"], "NULL");
    let mut told = format!("{job:?} {listed:?}");
    told.extend(stage.cluster.nodes.iter().map(Node::logged));
    for secret in place.secrets() {
        assert!(!told.contains(&secret), "a secret came out");
    }
    stage.run(&format!("CANCEL JOB {id}")).await;
    stage.until_job(&id, "it is cancelled", |job| job["status"] == "canceled").await;
    (stage, listed["sink_uri"].clone())
}

/// Cases 64, 133, 145.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_whose_node_is_killed_three_times_has_exactly_the_history() {
    let place = S3::start().await;
    let (_stage, shown) = has_exactly_the_history(&place, "").await;
    assert!(shown.starts_with("s3://feeds/t?"), "{shown}");
    let lines = files_below(&place.aws.bucket("feeds").join("t"));
    assert!(lines.iter().any(|line| line.starts_with("{\"resolved\":\"")), "and it was told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_kafka_have_it_too() {
    let Some(place) = Kafka::start().await else { return };
    has_exactly_the_history(&place, "").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_has_it_too() {
    let place = Webhook::start().await;
    let header = format!(", webhook_auth_header = '{HOOK_HEADER}'");
    has_exactly_the_history(&place, &header).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_pubsub_have_it_too() {
    let place = PubSub::start().await;
    has_exactly_the_history(&place, "").await;
}

/// Google's own emulator, behind the strict double, which asks who comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_googles_emulator_have_it_too() {
    let Some(place) = PubSub::of_google().await else { return };
    has_exactly_the_history(&place, "").await;
}

async fn as_user(cluster: &Cluster, node: &Node, user: &str) -> Client {
    let options = cert::Options { days: 2, overwrite: false };
    cert::create_client(&cluster.ca(), &cluster.ca(), user, &options).expect("a certificate");
    pgclient::connect(&cluster.login(node, user)).await.expect("the user logs in")
}

async fn refused(client: &Client, statement: &str) -> String {
    let error = client.simple_query(statement).await.expect_err(statement);
    let error = error.as_db_error().expect("the node says so");
    format!("{} {}", error.code().code(), error.message())
}

async fn made(client: &Client, statement: &str) -> String {
    let messages =
        client.simple_query(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    rows(&messages)[0]["job_id"].clone()
}

/// Cases 52, 53, 55, 139, 142, 143, 146, 148, 149; who may, as B.7.5 says it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_about_changefeeds_are_answered_as_by_the_original() {
    let cluster = Cluster::start(1).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute(
        "CREATE TABLE t (k INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 10), (2, 20); CREATE TABLE other (k INT PRIMARY KEY); CREATE VIEW w AS SELECT k FROM t; \
         CREATE USER amy; CREATE USER con CONTROLCHANGEFEED",
    )
    .await
    .expect("a table");
    for (name, folder) in [("files", "connected"), ("second", "connected2")] {
        root.batch_execute(&format!("CREATE EXTERNAL CONNECTION {name} AS 'nodelocal://1/{folder}'"))
            .await
            .expect("a connection");
    }
    let into = |options: &str| format!("CREATE CHANGEFEED FOR t INTO 'nodelocal://1/feed' WITH {options}");
    for (statement, said) in [
        (into("format = csv"), "22023 format=csv is only usable with initial_scan_only"),
        (into("resolved = '-1s'"), "22023 negative durations are not accepted: resolved='-1s'"),
        (
            into("initial_scan = 'only', resolved"),
            "22023 cannot specify both initial_scan='only' and resolved",
        ),
        (
            "CREATE CHANGEFEED FOR w INTO 'nodelocal://1/feed'".to_owned(),
            "42809 CHANGEFEED cannot target view: w",
        ),
        (
            "CREATE CHANGEFEED INTO 'nodelocal://1/feed' AS SELECT k FROM t".to_owned(),
            "0A000 CREATE CHANGEFEED … AS SELECT is not supported",
        ),
        ("CREATE CHANGEFEED FOR t INTO ''".to_owned(), "42601 omit the SINK clause for inline results"),
        ("CREATE CHANGEFEED FOR t INTO 'ftp://h/p'".to_owned(), "22023 unsupported sink: ftp"),
        (
            "CREATE CHANGEFEED FOR u INTO 'nodelocal://1/feed'".to_owned(),
            "42P01 relation \"u\" does not exist",
        ),
        (
            format!("BEGIN; {}", into("updated")),
            "25001 CREATE CHANGEFEED cannot run inside a transaction block",
        ),
    ] {
        assert_eq!(refused(&root, &statement).await, said, "{statement}");
        root.batch_execute("ROLLBACK").await.expect("no block is left");
    }
    who_may(&cluster, &root).await;

    altered(&cluster, &root).await;

    let id = made(&root, &into("initial_scan = 'only'")).await;
    until("it succeeded", async || {
        let jobs = root.simple_query(&format!("SHOW CHANGEFEED JOB {id}")).await.expect("a listing");
        rows(&jobs)[0]["status"] == "succeeded"
    })
    .await;
    ended(&cluster, &root, &id).await;
}

/// Of one that has ended: its messages, its columns, and what it holds.
async fn ended(cluster: &Cluster, root: &Client, id: &str) {
    let lines = files_below(&cluster.nodes[0].data.join("extern/feed"));
    assert_eq!(lines.len(), 4, "every row that is there: {lines:?}");
    let jobs = root.simple_query(&format!("SHOW CHANGEFEED JOB {id}")).await.expect("a listing");
    let columns: Vec<String> = jobs
        .iter()
        .find_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                Some(row.columns().iter().map(|column| column.name().to_owned()).collect())
            }
            _ => None,
        })
        .expect("a row");
    let expected = "job_id, description, user_name, status, running_status, created, started, finished, modified, \
                    high_water_timestamp, error, sink_uri, full_table_names, topics, format";
    assert_eq!(columns.join(", "), expected);
    assert_eq!(
        rows(&jobs)[0]["description"],
        "CREATE CHANGEFEED FOR TABLE defaultdb.public.t INTO 'nodelocal://1/feed' WITH initial_scan = 'only'"
    );
    // What it held of the history it let go.
    let held = root.simple_query("SELECT count(*) AS n FROM crdb_internal.kv_protected_ts_records").await;
    assert_eq!(rows(&held.expect("a count"))[0]["n"], "1", "only amy's runs yet");
}

async fn until_status(root: &Client, id: &str, wanted: &str) {
    until(&format!("it is {wanted}"), async || {
        let jobs = root.simple_query(&format!("SHOW CHANGEFEED JOB {id}")).await.expect("a listing");
        let job = &rows(&jobs)[0];
        job["status"] == wanted && job["high_water_timestamp"] != "NULL"
    })
    .await;
}

/// Cases 142, 143 within the test above: a feed is altered while it is paused, and goes on elsewhere from where it was.
async fn altered(cluster: &Cluster, root: &Client) {
    let id = made(
        root,
        "CREATE CHANGEFEED FOR t INTO 'nodelocal://1/first' WITH min_checkpoint_frequency = '100ms'",
    )
    .await;
    until_status(root, &id, "running").await;
    let alter = |change: &str| format!("ALTER CHANGEFEED {id} {change}");
    assert_eq!(refused(root, &alter("ADD other")).await, format!("55000 job {id} is not paused"));
    root.batch_execute(&format!("PAUSE JOB {id}")).await.expect("paused");
    until_status(root, &id, "paused").await;
    for (change, said) in [
        (
            "SET sink = 'kafka://localhost:1'",
            "22023 New sink type \"kafka\" does not match original sink type \"nodelocal\". Altering the sink type of a changefeed is disallowed, consider creating a new changefeed instead",
        ),
        ("SET cursor = '1'", "22023 cannot alter option \"cursor\""),
        ("DROP t", "22023 cannot drop all targets"),
        ("DROP other", "22023 target \"other\" already not watched by changefeed"),
        ("ADD t", "22023 target \"t\" already watched by changefeed"),
        ("SET resolved = '-1s'", "22023 negative durations are not accepted: resolved='-1s'"),
    ] {
        assert_eq!(refused(root, &alter(change)).await, said, "{change}");
    }
    let before = files_below(&cluster.nodes[0].data.join("extern/first"));
    root.batch_execute("UPSERT INTO t VALUES (4, 40); INSERT INTO other VALUES (5)").await.expect("a change");
    let change = alter(
        "ADD other SET sink = 'nodelocal://1/second', updated, min_checkpoint_frequency = '200ms' UNSET resolved",
    );
    let messages = root.simple_query(&change).await.expect("it is altered");
    assert_eq!(
        rows(&messages)[0]["job_description"],
        "CREATE CHANGEFEED FOR TABLE defaultdb.public.t, defaultdb.public.other INTO 'nodelocal://1/second' WITH updated, min_checkpoint_frequency = '200ms'"
    );
    root.batch_execute(&format!("RESUME JOB {id}")).await.expect("resumed");
    let second = cluster.nodes[0].data.join("extern/second");
    until("both changes are there", async || {
        let lines = files_below(&second);
        lines.iter().any(|line| line.contains("\"v\": 40"))
            && lines.iter().any(|line| line.contains("\"key\": [5]"))
    })
    .await;
    let lines = files_below(&second);
    assert_eq!(lines.len(), 2, "nothing comes again: {lines:?}");
    assert_eq!(files_below(&cluster.nodes[0].data.join("extern/first")), before);
    root.batch_execute(&format!("CANCEL JOB {id}")).await.expect("cancelled");
    until_status(root, &id, "canceled").await;
}

/// Case 55: who alters where it goes may go there.
async fn elsewhere(amy: &Client, root: &Client, id: &str) {
    amy.batch_execute(&format!("PAUSE JOB {id}")).await.expect("its owner may");
    let is = async |status: &str| {
        let jobs = root.simple_query(&format!("SHOW JOB {id}")).await.expect("a listing");
        rows(&jobs)[0]["status"] == status
    };
    until("it is paused", async || is("paused").await).await;
    assert_eq!(
        refused(amy, &format!("ALTER CHANGEFEED {id} SET sink = 'external://second/amy'")).await,
        "42501 user amy does not have USAGE privilege on external_connection second"
    );
    amy.batch_execute(&format!("RESUME JOB {id}")).await.expect("its owner may");
    until("it runs", async || is("running").await).await;
}

/// B.7.5: CHANGEFEED on the table and the right to the sink; CONTROLCHANGEFEED needs SELECT; the cluster may want connections.
async fn who_may(cluster: &Cluster, root: &Client) {
    let node = &cluster.nodes[0];
    let amy = as_user(cluster, node, "amy").await;
    let con = as_user(cluster, node, "con").await;
    let (files, connected) = (
        "CREATE CHANGEFEED FOR t INTO 'nodelocal://1/amy'",
        "CREATE CHANGEFEED FOR t INTO 'external://files/amy' WITH no_initial_scan",
    );
    assert_eq!(
        refused(&amy, files).await,
        "42501 user amy requires the CHANGEFEED privilege on all target tables to be able to run an enterprise changefeed"
    );
    assert_eq!(
        refused(&con, files).await,
        "42501 user con with CONTROLCHANGEFEED role option requires the SELECT privilege on all target tables to be able to run an enterprise changefeed"
    );
    root.batch_execute("GRANT CHANGEFEED ON t TO amy").await.expect("a grant");
    assert_eq!(
        refused(&amy, files).await,
        "42501 only users with the admin role or the EXTERNALIOIMPLICITACCESS system privilege are allowed to access the specified nodelocal URI"
    );
    root.batch_execute(
        "SET CLUSTER SETTING changefeed.permissions.require_external_connection_sink.enabled = true",
    )
    .await
    .expect("a setting");
    assert_eq!(
        refused(&amy, files).await,
        "42501 the CHANGEFEED privilege on all tables can only be used with external connection sinks. see cluster setting changefeed.permissions.require_external_connection_sink.enabled"
    );
    assert_eq!(
        refused(&amy, connected).await,
        "42501 user amy does not have USAGE privilege on external_connection files"
    );
    root.batch_execute("GRANT USAGE ON EXTERNAL CONNECTION files TO amy").await.expect("a grant");
    let id = made(&amy, connected).await;
    assert_eq!(
        refused(&amy, "SELECT v FROM t").await,
        "42501 user amy does not have SELECT privilege on relation t"
    );
    assert_eq!(
        refused(&amy, "CREATE CHANGEFEED FOR t, other INTO 'external://files/two'").await,
        "42501 user amy requires the CHANGEFEED privilege on all target tables to be able to run an enterprise changefeed"
    );
    elsewhere(&amy, root, &id).await;
    // At the next page of the history the right is looked at again.
    root.batch_execute("REVOKE CHANGEFEED ON t FROM amy; UPSERT INTO t VALUES (3, 30)")
        .await
        .expect("a change");
    until("it stands still", async || {
        let jobs = root.simple_query(&format!("SHOW JOB {id}")).await.expect("a listing");
        rows(&jobs)[0]["status"] == "paused"
    })
    .await;
    root.batch_execute(&format!("GRANT CHANGEFEED ON t TO amy; RESUME JOB {id}")).await.expect("a grant");
    let written = node.data.join("extern/connected/amy");
    until("it goes on", async || files_below(&written).iter().any(|line| line.contains("\"v\": 30"))).await;
}
