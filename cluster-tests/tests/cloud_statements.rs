//! External connections on three nodes, each a process, with the strict double of AWS: made, checked from every node, followed
//! when they change, and told about in words that have no secret in them.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use grantd_cluster_tests::cloud::aws::Aws;
use grantd_cluster_tests::cloud::world::{Chained, World, trust};
use grantd_cluster_tests::process::{Cluster, PATIENCE};
use grantd_cluster_tests::scan::Scanner;
use tokio_postgres::{Client, SimpleQueryMessage};

/// How long the credentials of the test live, and so how soon a change of trust is felt.
const DURATION: &str = "12s";
/// What the brief of `ALTER EXTERNAL CONNECTION` promises.
const PICKED_UP: Duration = Duration::from_secs(30);

/// Three nodes that are the user of a chain of two roles, and the cloud that knows it.
struct Stage {
    aws: Aws,
    chained: Chained,
    cluster: Cluster,
    clients: Vec<Client>,
    /// All that clients were told.
    told: String,
    /// What none of it may hold.
    planted: Vec<String>,
}

/// A row of a result, by the names of its columns.
type Row = std::collections::BTreeMap<String, String>;

impl Stage {
    async fn new() -> Self {
        let (world, chained) = World::chain("backup", 2, "first");
        let (aws, keys) = Aws::of(&world).await;
        let keys = &keys[&chained.user];
        let endpoint = aws.endpoint();
        let arguments =
            ["--aws-source", "environment", "--aws-sts-endpoint", &endpoint, "--aws-region", "us-east-1"];
        let mut cluster = Cluster::prepare(3, &arguments);
        for node in &mut cluster.nodes {
            node.environment = vec![
                ("AWS_ACCESS_KEY_ID".to_owned(), keys.access_key_id.clone()),
                ("AWS_SECRET_ACCESS_KEY".to_owned(), keys.secret_access_key.clone()),
                ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
                ("HOME".to_owned(), "/nonexistent".to_owned()),
            ];
            node.arguments.extend(["--log-filter".to_owned(), "debug".to_owned()]);
        }
        cluster.launch().await;
        let mut clients = Vec::new();
        for node in &cluster.nodes {
            clients.push(cluster.root(node).await.expect("root logs in"));
        }
        let planted = vec![keys.secret_access_key.clone()];
        let mut stage = Self { aws, chained, cluster, clients, told: String::new(), planted };
        stage.run(0, &format!("SET CLUSTER SETTING cloud.credentials.duration = '{DURATION}'")).await;
        stage
    }

    /// The chain's place, without its scheme's end.
    fn uri(&self, bucket: &str, path: &str) -> String {
        let (roles, endpoint) = (self.chained.roles.join(","), self.aws.endpoint());
        format!(
            "s3://{bucket}/{path}?AUTH=implicit&AWS_REGION=us-east-1&AWS_ENDPOINT={endpoint}&ASSUME_ROLE={roles}"
        )
    }

    /// Runs a statement on a node; what it says is kept.
    async fn try_run(&mut self, node: usize, statement: &str) -> Result<Vec<Row>, String> {
        let result = self.clients[node].simple_query(statement).await;
        match result {
            Ok(messages) => {
                let rows = rows(&messages);
                self.told += &format!("{rows:?}\n");
                Ok(rows)
            }
            Err(error) => {
                let text =
                    error.as_db_error().map_or_else(|| error.to_string(), |error| format!("{error:?}"));
                self.told += &format!("{text}\n");
                Err(error.as_db_error().map_or(text, |error| error.message().to_owned()))
            }
        }
    }

    async fn run(&mut self, node: usize, statement: &str) -> Vec<Row> {
        let result = self.try_run(node, statement).await;
        result.unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// Asks until what comes back is right.
    async fn until(&mut self, statement: &str, what: &str, is_right: impl Fn(&[Row]) -> bool) -> Vec<Row> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let rows = self.run(1, statement).await;
            if is_right(&rows) {
                return rows;
            }
            assert!(Instant::now() < deadline, "{what}: did not come true: {rows:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn rows(messages: &[SimpleQueryMessage]) -> Vec<Row> {
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            let cell = |(at, column): (usize, &tokio_postgres::SimpleColumn)| {
                (column.name().to_owned(), row.get(at).unwrap_or("NULL").to_owned())
            };
            Some(row.columns().iter().enumerate().map(cell).collect())
        }
        _ => None,
    };
    messages.iter().filter_map(row).collect()
}

fn nodes(rows: &[Row]) -> BTreeSet<&str> {
    rows.iter().map(|row| row["node"].as_str()).collect()
}

/// Cases 68, 70, 98, 100, 106, 107, 110.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_checked_from_every_node_and_the_broken_edge_has_a_name() {
    let mut stage = Stage::new().await;
    let uri = stage.uri("first", "base");
    stage.run(0, &format!("CREATE EXTERNAL CONNECTION c AS '{uri}'")).await;
    assert!(stage.aws.bucket("first").join("base/crdb_external_storage_location").exists());

    let check = "CHECK EXTERNAL CONNECTION 'external://c/sub' WITH transfer = '64KiB' ON ALL NODES";
    let checked = stage.run(2, check).await;
    assert_eq!(nodes(&checked).len(), 3, "{checked:?}");
    for row in &checked {
        assert_eq!((&*row["ok"], &*row["error"], &*row["can_delete"]), ("t", "", "t"), "{row:?}");
        assert_eq!(row["transferred"], "64 KiB");
    }
    let here = stage.run(1, "CHECK EXTERNAL CONNECTION 'external://c' WITH transfer = '1KiB'").await;
    assert_eq!(nodes(&here), BTreeSet::from(["2"]));

    // The trust of the second role goes while somebody writes, and comes back before that is felt.
    let second = stage.chained.roles[1].clone();
    let writer = stage.cluster.root(&stage.cluster.nodes[0]).await.expect("root logs in");
    let writing = tokio::spawn(async move {
        let long =
            "CHECK EXTERNAL CONNECTION 'external://c' WITH time = '30s', transfer = '60GiB' ON ALL NODES";
        writer.simple_query(long).await.map(|messages| rows(&messages))
    });
    let shown = "SHOW CREDENTIALS";
    let in_use =
        |rows: &[Row]| rows.iter().filter(|row| row["state"] == "fresh" && row["users"] != "0").count() >= 9;
    stage.until(shown, "each node keeps source and two roles", in_use).await;
    let nobody = trust(&["arn:aws:iam::111122223333:user/nobody"]);
    let trusted = stage.aws.set_trust(&second, &nobody);
    let names_the_edge = |row: &Row| {
        row["state"] == "degraded"
            && row["last_error"].contains("hop 2 of 2")
            && row["last_error"].contains(&second)
    };
    let is_seen = |rows: &[Row]| rows.iter().any(names_the_edge);
    let troubled = stage.until(shown, "the lost trust is seen", is_seen).await;
    stage.aws.set_trust(&second, &trusted);
    let row = troubled.iter().find(|row| names_the_edge(row)).expect("it was just seen");
    assert!(row["last_error"].contains("assumed-role/backup-1/grantd-"), "who asked is named: {row:?}");
    let all_is_well = |rows: &[Row]| {
        let used = rows.iter().filter(|row| row["users"] != "0");
        used.clone().count() >= 9
            && used.clone().all(|row| row["state"] == "fresh" && row["last_error"] == "NULL")
    };
    stage.until(shown, "it is fresh again by itself", all_is_well).await;
    let written = writing.await.expect("the writer ends").expect("the check is answered");
    assert!(written.iter().all(|row| row["ok"] == "t"), "who writes has felt nothing: {written:?}");
    stage.told += &format!("{written:?}\n");

    // It goes for longer: when the leases are over a check says so, from each node, and works again afterwards.
    stage.aws.set_trust(&second, &nobody);
    let is_told = |rows: &[Row]| {
        rows.len() == 3 && rows.iter().all(|row| row["ok"] == "f" && row["error"].contains("hop 2 of 2"))
    };
    let broken = stage.until(check, "each node tells the broken edge", is_told).await;
    for row in &broken {
        let names_both =
            row["error"].contains(&second) && row["error"].contains("assumed-role/backup-1/grantd-");
        assert!(names_both, "{row:?}");
    }
    stage.aws.set_trust(&second, &trusted);
    let works = |rows: &[Row]| rows.len() == 3 && rows.iter().all(|row| row["ok"] == "t");
    stage.until(check, "each node gets there again", works).await;

    changes_are_followed(&mut stage).await;
    the_second_way_is_taken_where_the_first_is_denied(&mut stage).await;
    secrets_of_uris_are_shown_to_who_insists(&mut stage).await;
    nothing_is_told(&stage);
}

/// ALTER EXTERNAL CONNECTION on one node, and who uses it on another.
async fn changes_are_followed(stage: &mut Stage) {
    let old = stage.uri("first", "base");
    let new = stage.uri("first", "elsewhere");
    stage.run(0, &format!("ALTER EXTERNAL CONNECTION c AS '{new}' WITH SECONDARY '{old}'")).await;
    let altered = Instant::now();
    stage.aws.clear_log();
    let check = "CHECK EXTERNAL CONNECTION 'external://c' WITH transfer = '1KiB' ON ALL NODES";
    let checked = stage.run(2, check).await;
    assert!(checked.iter().all(|row| row["ok"] == "t"), "{checked:?}");
    let log = stage.aws.log();
    let puts: Vec<_> = log.iter().filter(|record| record.operation == "PutObject").collect();
    assert!(puts.len() >= 3 && puts.iter().all(|put| put.resource.contains("elsewhere")), "{puts:?}");
    assert!(altered.elapsed() < PICKED_UP);

    let listed = stage.run(1, "SHOW EXTERNAL CONNECTIONS").await;
    assert_eq!(listed.len(), 1);
    assert!(listed[0]["connection_uri"].contains("elsewhere") && listed[0]["secondary_uri"].contains("base"));
    let created = stage.run(1, "SHOW CREATE EXTERNAL CONNECTION c").await;
    assert!(created[0]["create_statement"].contains(" WITH SECONDARY 's3://first/base"), "{created:?}");
}

/// A secondary URI, and the listings of credentials as tables.
async fn the_second_way_is_taken_where_the_first_is_denied(stage: &mut Stage) {
    let good = stage.uri("first", "both");
    // The node itself may not assume the second role.
    let denied = good.replace(&format!("{},", stage.chained.roles[0]), "");
    let refused = stage.try_run(0, &format!("CREATE EXTERNAL CONNECTION d AS '{denied}'")).await.unwrap_err();
    assert!(refused.starts_with("failed to write a sentinel ExternalStorage file: "), "{refused}");
    assert!(refused.contains("hop 1 of 1"), "{refused}");
    stage.run(0, &format!("CREATE EXTERNAL CONNECTION d AS '{denied}' WITH SECONDARY '{good}'")).await;
    let checked = stage.run(1, "CHECK EXTERNAL CONNECTION 'external://d' WITH transfer = '1KiB'").await;
    assert_eq!(checked[0]["ok"], "t");
    assert!(
        checked[0]["error"].starts_with("the first URI is denied, the secondary one is used: "),
        "{checked:?}"
    );
    let all = stage.run(1, "SELECT DISTINCT node FROM crdb_internal.cluster_credentials").await;
    assert_eq!(nodes(&all).len(), 3);
    let own = stage.run(1, "SELECT DISTINCT node FROM crdb_internal.node_credentials").await;
    assert_eq!(nodes(&own), BTreeSet::from(["2"]));
}

/// SHOW CREATE hides keys, and WITH SECRETS shows them and is in the audit log.
async fn secrets_of_uris_are_shown_to_who_insists(stage: &mut Stage) {
    const SECRET: &str = "sesame-of-a-uri";
    let uri = format!("s3://first?AWS_ACCESS_KEY_ID=AKIAEXAMPLE&AWS_SECRET_ACCESS_KEY={SECRET}");
    stage.run(0, &format!("CREATE EXTERNAL CONNECTION k AS '{uri}' WITH SKIP_CHECK")).await;
    for statement in [
        "SHOW EXTERNAL CONNECTIONS",
        "SHOW CREATE EXTERNAL CONNECTION k",
        "SELECT * FROM system.external_connections",
    ] {
        stage.run(0, statement).await;
    }
    assert!(!stage.told.contains(SECRET));
    let insisting = "SHOW CREATE EXTERNAL CONNECTION k WITH SECRETS";
    let shown = stage.clients[0].simple_query(insisting).await.expect("root may");
    assert!(rows(&shown)[0]["create_statement"].contains(SECRET));
    stage.run(0, "CREATE USER amy").await;
    stage.run(0, "ALTER EXTERNAL CONNECTION k OWNER TO amy").await;
    stage.run(0, "SET ROLE amy").await;
    let refused = stage.try_run(0, insisting).await.unwrap_err();
    assert_eq!(
        refused,
        "only users with the admin role are allowed to SHOW CREATE EXTERNAL CONNECTION WITH SECRETS"
    );
    let refused = stage.try_run(0, "SHOW CREDENTIALS").await.unwrap_err();
    assert_eq!(refused, "user amy does not have VIEWACTIVITY or VIEWACTIVITYREDACTED privilege");
    stage.run(0, "RESET ROLE").await;
    let audit = stage.cluster.nodes[0].data.join("audit/audit.jsonl");
    let is_recorded = async || {
        let log = std::fs::read_to_string(&audit).unwrap_or_default();
        log.lines().any(|line| line.contains("\"disclosure\"") && line.contains("CONNECTION k WITH SECRETS"))
    };
    grantd_cluster_tests::process::until("the audit log tells who looked", is_recorded).await;
}

/// Answers, errors, logs and data directories have nothing of the keys. Everything else: `cloud_secrets.rs`.
fn nothing_is_told(stage: &Stage) {
    let secrets: Vec<_> = stage.planted.iter().cloned().chain(stage.aws.secrets()).collect();
    assert!(secrets.len() > 10, "the double gave out sessions");
    let scanner = Scanner::new(secrets.iter().map(|secret| ("a key of the cloud", secret)));
    let mut found = scanner.bytes("what clients were told", stage.told.as_bytes());
    for node in &stage.cluster.nodes {
        found.extend(scanner.bytes(&format!("the log of node {}", node.id), node.logged().as_bytes()));
        found.extend(scanner.files(&node.data));
    }
    assert_eq!(found, [].into());
}
