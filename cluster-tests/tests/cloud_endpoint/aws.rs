//! boto3 and the AWS CLI, as long as they may and no longer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use grantd_cluster_tests::process::{PATIENCE, until};
use tokio_postgres::Client;

use super::program::{Program, command, python, script};
use super::stage::{Stage, Told, tell};

/// How long boto3 works: three lives of its credentials and more.
const WORK: &str = "20";
/// How long nodes are asked on after a REVOKE.
const AFTERWARDS: Duration = Duration::from_millis(1_500);
/// How often a right is taken away and given back.
const REVOKES: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn boto3_and_the_aws_cli_work_across_rotations_and_are_refused_after_revoke() {
    let Some(python) = python("boto3, awscli") else { return };
    let stage = Stage::new().await;
    let home = tempfile::tempdir().expect("a home");
    let mut boto3 = command(&python, home.path(), &stage.environment(0, "photos"));
    boto3.arg(script("endpoint_aws.py")).args([&stage.aws.endpoint(), "first", "photos"]);
    let mut boto3 = Program::start(boto3);

    let work = format!("work {WORK}");
    let (worked, ()) = tokio::join!(boto3.tell(&work), the_cli_copies(&stage, &python));
    eprintln!("boto3: {worked}");
    assert_eq!(worked["error"], serde_json::Value::Null, "{worked}");
    assert!(worked["keys"].as_u64() >= Some(4), "credentials changed under it: {worked}");
    assert!(worked["objects"].as_u64() >= Some(20), "{worked}");
    let first = std::fs::read(stage.aws.bucket("first").join("photos/0")).expect("it is there");
    assert_eq!(first, b"object 0");
    // What it got leads below the prefix of the connection, and nowhere else.
    let beside = boto3.tell("put logs/x").await;
    assert!(beside["error"].as_str().is_some_and(|error| error.contains("AccessDenied")), "{beside}");
    let log = stage.aws.log();
    let sessions: Vec<_> = log.iter().filter(|record| record.operation == "AssumeRole").collect();
    assert!(format!("{sessions:?}").contains("endpoint-photos"), "the cloud's log names the entry");

    stage.run(2, "REVOKE USAGE ON EXTERNAL CONNECTION photos FROM amy").await;
    let refused = boto3.tell("fresh").await;
    let error = refused["error"].as_str().unwrap_or_default();
    assert!(error.starts_with("CredentialRetrievalError") && error.contains("403"), "{error}");
    assert!(
        error.contains("user amy does not have USAGE privilege on external_connection photos"),
        "{error}"
    );
    let refused = boto3.tell("put photos/late").await;
    assert!(
        refused["error"].as_str().is_some_and(|error| error.contains("CredentialRetrievalError")),
        "{refused}"
    );
    assert!(!stage.aws.bucket("first").join("photos/late").exists());
    let kept = async || {
        let used = "SELECT count(*) FROM crdb_internal.node_credentials WHERE step = 3 AND users > 0";
        stage.clients[0].query_one(used, &[]).await.expect("root may").get::<_, i64>(0)
    };
    until("what nobody may use is not kept young", async || kept().await == 0).await;
    let is_amy = |line: &serde_json::Value| line["user"] == "amy" && line["entry"] == "photos";
    let is_loan = |line: &serde_json::Value| {
        is_amy(line)
            && line["result"] == "ok"
            && line["uri"] == "external://photos"
            && line["expires"].is_string()
    };
    stage.is_recorded(0, "what was given is recorded", is_loan).await;
    let is_refusal = |line: &serde_json::Value| {
        let message = line["message"].as_str().unwrap_or_default();
        is_amy(line) && line["result"] == "denied" && message.contains("USAGE")
    };
    stage.is_recorded(0, "what was refused is recorded", is_refusal).await;
    stage.run(1, "GRANT USAGE ON EXTERNAL CONNECTION photos TO amy").await;
    until("it is given again", async || boto3_is_back(&stage).await).await;
    let back = boto3.tell("put photos/back").await;
    assert_eq!(back["error"], serde_json::Value::Null, "{back}");
    stage.nothing_is_told();
}

async fn boto3_is_back(stage: &Stage) -> bool {
    stage.ask(0, "photos").await.status == 200
}

/// The AWS CLI, at another node.
async fn the_cli_copies(stage: &Stage, python: &std::path::Path) {
    let home = tempfile::tempdir().expect("a home");
    let file = home.path().join("file");
    std::fs::write(&file, "of the command line").expect("a file");
    let mut cli = command(python, home.path(), &stage.environment(1, "photos"));
    cli.args(["-m", "awscli", "--region", "us-east-1", "--endpoint-url", &stage.aws.endpoint(), "s3", "cp"]);
    cli.arg(&file).arg("s3://first/photos/cli");
    let ran = tokio::time::timeout(PATIENCE, cli.output()).await.expect("it ends").expect("it runs");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let copied = std::fs::read(stage.aws.bucket("first").join("photos/cli")).expect("it is there");
    assert_eq!(copied, b"of the command line");
}

/// Asks all nodes all the time while one takes the right away: no request that began after REVOKE had returned is answered with
/// credentials, on any node.
#[tokio::test(flavor = "multi_thread")]
async fn once_revoke_has_returned_no_node_gives_anything() {
    let stage = Stage::new().await;
    let (mut longest, mut took) = (Duration::ZERO, Vec::new());
    for round in 0..REVOKES {
        for node in 0..3 {
            until("it is given", async || stage.ask(node, "photos").await.status == 200).await;
        }
        let stop = Arc::new(AtomicBool::new(false));
        let asking: Vec<_> =
            (0..3).map(|node| tokio::spawn(given(&stage, node, Arc::clone(&stop)))).collect();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let begun = Instant::now();
        taken_away(&stage.clients[round % 3], round).await;
        let returned = Instant::now();
        longest = longest.max(returned - begun);
        let more = if round == 0 { AFTERWARDS } else { AFTERWARDS / 10 };
        tokio::time::sleep(more).await;
        stop.store(true, Ordering::Relaxed);
        for (node, asking) in asking.into_iter().enumerate() {
            let told = asking.await.expect("it asks");
            let given: Vec<_> = told.iter().filter(|told| told.status == 200).collect();
            assert!(!given.is_empty(), "it was given before");
            took.extend(given.iter().map(|told| told.took));
            let late = given.iter().filter(|told| told.begun >= returned).count();
            assert_eq!(late, 0, "round {round}: node {} gave credentials after REVOKE", node + 1);
            let last = told.last().expect("it was asked");
            assert_eq!((last.status, last.code().as_str()), (403, "AccessDenied"), "{}", last.body);
        }
        given_back(&stage.clients[(round + 1) % 3], round).await;
    }
    took.sort_unstable();
    let (median, asked) = (took[took.len() / 2], took.len());
    eprintln!(
        "{REVOKES} rounds, REVOKE and its like took at most {longest:?}; {asked} answers, median {median:?}"
    );
}

/// All ways to lose it.
async fn taken_away(client: &Client, round: usize) {
    let statement = match round % 3 {
        0 => "REVOKE USAGE ON EXTERNAL CONNECTION photos FROM amy",
        1 => "ALTER ROLE amy NOLOGIN",
        _ => "DROP EXTERNAL CONNECTION photos",
    };
    client.batch_execute(statement).await.expect("root may");
}

async fn given_back(client: &Client, round: usize) {
    match round % 3 {
        0 => client.batch_execute("GRANT USAGE ON EXTERNAL CONNECTION photos TO amy").await.unwrap(),
        1 => client.batch_execute("ALTER ROLE amy LOGIN").await.unwrap(),
        _ => {
            // What `logs` leads to will do: the statement needs no secret to be written again.
            let kept =
                client.simple_query("SHOW CREATE EXTERNAL CONNECTION logs WITH SECRETS").await.unwrap();
            let row = kept.iter().find_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => {
                    row.get("create_statement").map(str::to_owned)
                }
                _ => None,
            });
            let made = row.expect("a statement").replace("logs", "photos");
            client.batch_execute(&made).await.unwrap();
            client.batch_execute("GRANT USAGE ON EXTERNAL CONNECTION photos TO amy").await.unwrap();
        }
    }
}

/// Asks a node until it is told to stop.
fn given(
    stage: &Stage,
    node: usize,
    stop: Arc<AtomicBool>,
) -> impl Future<Output = Vec<Told>> + Send + 'static {
    let (door, token) = (stage.doors[node], stage.token(node, "photos"));
    async move {
        let mut told = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            told.push(tell(door, "GET", "/v1/aws/photos", &[("Authorization", token.clone())]).await);
            // Not more than an entry is answered in a second.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        told
    }
}
