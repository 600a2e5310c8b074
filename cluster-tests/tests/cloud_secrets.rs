//! No secret comes out: three nodes are given hundreds of secrets, of every kind that grantd takes in, by statements that work and
//! by statements that fail in every way. Then everything that comes out of them is searched: what clients were sent, logs at
//! level debug, audit logs, data directories with snapshots, another node that began with one, metrics, pages for a debugger, the
//! operator's socket, the command line, and what was written into the cloud.
//! Two things are stored, and said so in `docs/known-attacks.md`: the URI of an external connection, and a schedule's statement, in
//! files that only the node's user may read. That they are found there, and nowhere else, is a part of the test.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "cloud_secrets/backups.rs"]
mod backups;
#[path = "cloud_secrets/planted.rs"]
mod planted;
#[path = "cloud_secrets/printed.rs"]
mod printed;
#[path = "cloud_secrets/trace.rs"]
mod trace;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use grantd_cluster_tests::cloud::aws::{Aws, Keys};
use grantd_cluster_tests::cloud::google::Google;
use grantd_cluster_tests::cloud::token::random_hex;
use grantd_cluster_tests::cloud::world::{World, trust};
use grantd_cluster_tests::https::Https;
use grantd_cluster_tests::process::{Cluster, binary, free_tcp_port, until};
use grantd_cluster_tests::scan::{Found, Scanner};
use grantd_node::admin::Request;
use grantd_node::cert;
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};
use tokio_postgres::{Client, SimpleQueryMessage};

use planted::{Fresh, KINDS, Places, Planted, encoded, quoted};
use trace::{Heard, Login, connect};

/// Entries of the log between two snapshots: so few that a node which comes later needs one.
const SNAPSHOT_ENTRIES: usize = 100;
/// What the first three nodes log. All that openraft says at level debug are hundreds of megabytes: the fourth node logs that.
const LOG: &str = "debug,openraft=info";
/// The fewest that count as "every kind": the bar is 20.
const SECRETS_MIN: usize = 300;

/// Nodes, clouds, what was planted, and what came out.
struct Stage {
    aws: Aws,
    google: Google,
    places: Places,
    /// The node's own keys in AWS.
    keys: Keys,
    roles: Vec<String>,
    cluster: Cluster,
    https: Vec<u16>,
    /// Of root, one for each node.
    clients: Vec<Client>,
    amy: Client,
    heard: Heard,
    planted: Planted,
    /// Statements that reach what is outside, and take as long as credentials are waited for: on which node, and what is stored if
    /// they work.
    slow: Vec<(usize, String, Vec<String>)>,
    /// What else came out: from where, and what.
    told: Vec<(String, Vec<u8>)>,
    /// Holds the key file of the node's account.
    _home: TempDir,
}

impl Stage {
    async fn new() -> Self {
        let (world, chained) = World::chain("backup", 2, "first");
        let (aws, keys) = Aws::of(&world).await;
        let keys = keys[&chained.user].clone();
        let google = Google::start().await;
        let [node, team, last] =
            ["node", "team", "last"].map(|name| format!("{name}@p.iam.gserviceaccount.com"));
        google.chain(&[&node, &team, &last], "first");
        let home = TempDir::new().unwrap();
        let file = home.path().join("key.json");
        google.key_file(&node, &file);
        let (mut cluster, https) = prepared(&aws.endpoint(), &google.endpoint(), &keys, &file);
        cluster.launch().await;
        cert::create_client(
            &cluster.ca(),
            &cluster.ca(),
            "amy",
            &cert::Options { days: 2, overwrite: false },
        )
        .unwrap();
        let heard = Heard::default();
        let mut clients = Vec::new();
        for node in &cluster.nodes {
            clients
                .push(connect(Login::of(&cluster, node, "root", None), &heard).await.expect("root logs in"));
        }
        clients[0]
            .batch_execute("CREATE USER amy; CREATE TABLE t (k INT PRIMARY KEY, v TEXT)")
            .await
            .unwrap();
        clients[0].batch_execute("SET CLUSTER SETTING cloud.credentials.duration = '12s'").await.unwrap();
        let amy =
            connect(Login::of(&cluster, &cluster.nodes[1], "amy", None), &heard).await.expect("amy logs in");
        let places =
            Places { aws: aws.endpoint(), google: google.endpoint(), role: chained.roles[0].clone() };
        let mut planted = Planted::default();
        let key: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let line =
            key["private_key"].as_str().unwrap().lines().nth(1).expect("the key's first line").to_owned();
        planted.secrets.insert("the private key of the node's account".to_owned(), line);
        let (told, slow, roles) = (Vec::new(), Vec::new(), chained.roles);
        Self {
            aws,
            google,
            places,
            keys,
            roles,
            cluster,
            https,
            clients,
            amy,
            heard,
            planted,
            slow,
            told,
            _home: home,
        }
    }

    /// Runs a statement with secrets in it as root. Whether it worked.
    async fn run(&self, node: usize, statement: &str) -> bool {
        self.clients[node % 3].simple_query(statement).await.is_ok()
    }

    /// The same, where what it takes in is stored if it works.
    async fn store(&mut self, node: usize, statement: &str, fresh: Fresh) -> bool {
        let stored = self.run(node, statement).await;
        if stored {
            self.planted.stored.extend(fresh.names);
        }
        stored
    }

    /// What a listing shows. One that is refused shows nothing.
    async fn list(&self, node: usize, statement: &str) -> Vec<Vec<String>> {
        let messages = self.clients[node].simple_query(statement).await.unwrap_or_default();
        let row = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => {
                Some((0..row.len()).map(|at| row.get(at).unwrap_or_default().to_owned()).collect())
            }
            _ => None,
        };
        messages.iter().filter_map(row).collect()
    }

    /// The node's own keys, as a URI brings them.
    fn working(&self, path: &str) -> String {
        let Places { aws, .. } = &self.places;
        let (id, secret) = (&self.keys.access_key_id, encoded(&self.keys.secret_access_key));
        let roles = encoded(&self.roles.join(","));
        format!(
            "s3://first/{path}?AWS_ACCESS_KEY_ID={id}&AWS_SECRET_ACCESS_KEY={secret}&AWS_ENDPOINT={aws}&AWS_REGION=us-east-1\
             &ASSUME_ROLE={roles}"
        )
    }
}

/// Three nodes that know both clouds, and their ports of HTTPS.
fn prepared(amazon: &str, google: &str, keys: &Keys, file: &Path) -> (Cluster, Vec<u16>) {
    let arguments = [
        ["--aws-source", "environment"],
        ["--aws-sts-endpoint", amazon],
        ["--aws-region", "us-east-1"],
        ["--gcp-source", "file"],
        ["--gcp-iam-endpoint", google],
        ["--gcp-sts-endpoint", google],
        ["--gcs-endpoint", google],
        ["--snapshot-entries", &SNAPSHOT_ENTRIES.to_string()],
    ];
    let mut cluster = Cluster::prepare(3, &arguments.concat());
    let environment = [
        ("AWS_ACCESS_KEY_ID", keys.access_key_id.clone()),
        ("AWS_SECRET_ACCESS_KEY", keys.secret_access_key.clone()),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("GOOGLE_APPLICATION_CREDENTIALS", file.display().to_string()),
        ("HOME", "/nonexistent".to_owned()),
    ];
    let environment = environment.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let https: Vec<u16> = cluster.nodes.iter().map(|_| free_tcp_port()).collect();
    for (node, port) in cluster.nodes.iter_mut().zip(&https) {
        node.environment = environment.clone();
        node.arguments.extend(["--http-listen".to_owned(), format!("127.0.0.1:{port}")]);
        node.arguments.extend(["--log-filter".to_owned(), LOG.to_owned()]);
    }
    (cluster, https)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_comes_out_of_a_run_that_uses_everything() {
    let mut stage = Stage::new().await;
    for (at, kind) in KINDS.into_iter().enumerate() {
        connections(&mut stage, at, kind).await;
        jobs(&mut stage, at, kind).await;
    }
    passwords(&mut stage).await;
    let slow = slow(&mut stage);
    chains(&mut stage).await;
    running(&mut stage).await;
    stage.planted.stored.extend(slow.await.expect("the slow ones end"));
    let mut decoys = decoys(&mut stage).await;
    decoys.push(backups::backups(&mut stage).await);
    command_line(&mut stage).await;
    snapshots(&mut stage).await;
    listings(&mut stage).await;
    pages(&mut stage).await;
    let scanner = scanner(&stage);
    let found = searched(&stage, &scanner);
    // That the search would have found them.
    for (name, place) in &decoys {
        let is_there = |found: &Found| found.secret == *name && found.place.contains(place);
        assert!(found.iter().any(is_there), "the {name} was planted in {place}, and was not found there");
    }
    let stays = |found: &Found| stage.planted.stored.contains(&found.secret) && is_data(&stage, &found.place);
    let decoy = |found: &Found| decoys.iter().any(|(name, _)| found.secret == *name);
    let bad: Vec<_> = found.iter().filter(|found| !stays(found) && !decoy(found)).collect();
    assert!(bad.is_empty(), "{} times a secret was found, as {:#?}", bad.len(), &bad[..bad.len().min(40)]);
    let there: BTreeSet<_> = found.iter().filter(|found| stays(found)).map(|found| &found.secret).collect();
    let missing: Vec<_> = stage.planted.stored.iter().filter(|name| !there.contains(name)).collect();
    println!(
        "{} secrets planted and {} given out by clouds; {} in stored URIs, of which {} are in data directories; {} bytes heard",
        stage.planted.secrets.len(),
        stage.aws.secrets().len() + stage.google.tokens().len(),
        stage.planted.stored.len(),
        there.len(),
        stage.heard.bytes().len(),
    );
    assert!(stage.planted.secrets.len() >= SECRETS_MIN && there.len() >= 20, "not found: {missing:?}");
    for node in &stage.cluster.nodes {
        only_its_user_reads(&node.data);
    }
}

/// Each way in which a URI of this kind can be said, and what is wrong with it.
async fn connections(stage: &mut Stage, at: usize, kind: &str) {
    let uri = |stage: &mut Stage, of: &str| stage.planted.uri(kind, of, &stage.places);
    let create = |name: &str, fresh: &Fresh| {
        format!("CREATE EXTERNAL CONNECTION {name}{at} AS {}", quoted(&fresh.text))
    };

    let fresh = uri(stage, "CREATE");
    let statement = format!("{} WITH SKIP_CHECK", create("c", &fresh));
    stage.store(at, &statement, fresh).await;
    let fresh = uri(stage, "ALTER");
    let statement = format!("ALTER EXTERNAL CONNECTION c{at} AS {} WITH SKIP_CHECK", quoted(&fresh.text));
    stage.store(at + 1, &statement, fresh).await;
    let (first, second) = (uri(stage, "first of two"), uri(stage, "SECONDARY"));
    let statement = format!("{} WITH SECONDARY {}", create("both", &first), quoted(&second.text));
    stage.slow.push((at + 2, statement, [first.names, second.names].concat()));
    let fresh = uri(stage, "CREATE with its check");
    stage.slow.push((at, create("checked", &fresh), fresh.names));
    let fresh = uri(stage, "prepared statement");
    let statement = format!("{} WITH SKIP_CHECK", create("prepared", &fresh));
    if let Ok(prepared) = stage.clients[at % 3].prepare(&statement).await
        && stage.clients[at % 3].execute(&prepared, &[]).await.is_ok()
    {
        stage.planted.stored.extend(fresh.names);
    }

    let fresh = uri(stage, "the second CREATE of a name");
    assert!(!stage.run(at, &format!("{} WITH SKIP_CHECK", create("c", &fresh))).await, "{kind}");
    let fresh = uri(stage, "CHECK");
    let check = format!(
        "CHECK EXTERNAL CONNECTION {} WITH transfer = '1KiB', time = '1s' ON ALL NODES",
        quoted(&fresh.text)
    );
    stage.slow.push((at, check, Vec::new()));
    let fresh = uri(stage, "unknown parameters");
    let leftover = stage.planted.secret(format!("a leftover of {kind}"));
    let text = format!("{}&SECRET_ACCES_KEY={}&{}=1", fresh.text, encoded(&leftover), encoded(&leftover));
    let statement = format!("CREATE EXTERNAL CONNECTION unknown{at} AS {} WITH SKIP_CHECK", quoted(&text));
    // HTTP knows no parameters, and takes all.
    let mut names = fresh.names;
    names.push(format!("a leftover of {kind}"));
    stage.store(at, &statement, Fresh { text, names }).await;
    let fresh = uri(stage, "another scheme");
    let (_, rest) = fresh.text.split_once("://").unwrap();
    assert!(
        !stage
            .run(at, &format!("CREATE EXTERNAL CONNECTION s{at} AS {}", quoted(&format!("s33://{rest}"))))
            .await
    );
    let fresh = uri(stage, "a syntax error behind");
    assert!(!stage.run(at, &format!("{} NONSENSE", create("e", &fresh))).await);
    let fresh = uri(stage, "a syntax error before");
    assert!(!stage.run(at, &format!("NONSENSE {}", create("e", &fresh))).await);
    let fresh = uri(stage, "a text without an end");
    let statement = create("e", &fresh);
    assert!(!stage.run(at, &statement[..statement.len() - 1]).await);
    let fresh = uri(stage, "a wrong place");
    assert!(
        !stage.run(at, &format!("SELECT count(*) FROM t WHERE {} + 1 > k", quoted(&fresh.text))).await
            || at > 100
    );
    let fresh = uri(stage, "a transaction that is rolled back");
    stage.run(at, "BEGIN").await;
    stage.run(at, &format!("{} WITH SKIP_CHECK", create("gone", &fresh))).await;
    stage.run(at, "ROLLBACK").await;

    let fresh = uri(stage, "CREATE by who may not");
    assert!(stage.amy.simple_query(&create("a", &fresh)).await.is_err(), "{kind}");
    let fresh = uri(stage, "ALTER by who may not");
    let alter = format!("ALTER EXTERNAL CONNECTION c{at} AS {}", quoted(&fresh.text));
    assert!(stage.amy.simple_query(&alter).await.is_err(), "{kind}");
    let fresh = uri(stage, "CHECK by who may not");
    let _ = stage.amy.simple_query(&format!("CHECK EXTERNAL CONNECTION {}", quoted(&fresh.text))).await;
}

/// Runs what is slow, all of it at once. Ends with the names of what is stored.
fn slow(stage: &mut Stage) -> JoinHandle<Vec<String>> {
    let mut running = JoinSet::new();
    for (node, statement, names) in std::mem::take(&mut stage.slow) {
        let (login, heard) =
            (Login::of(&stage.cluster, &stage.cluster.nodes[node % 3], "root", None), stage.heard.clone());
        running.spawn(async move {
            let client = connect(login, &heard).await.expect("root logs in");
            if client.simple_query(&statement).await.is_ok() { names } else { Vec::new() }
        });
    }
    tokio::spawn(async move { running.join_all().await.concat() })
}

/// Statements that make jobs. One that is taken may store its URIs, a schedule its passphrase too, and nothing else.
async fn jobs(stage: &mut Stage, at: usize, kind: &str) {
    let statements = [
        ("BACKUP", "BACKUP INTO {uri} WITH encryption_passphrase = {extra}"),
        ("RESTORE", "RESTORE FROM LATEST IN {uri} WITH encryption_passphrase = {extra}"),
        ("BACKUP with a KMS", "BACKUP INTO 'nodelocal://self/b' WITH kms = {uri}"),
        (
            "SCHEDULE",
            "CREATE SCHEDULE FOR BACKUP INTO {uri} WITH encryption_passphrase = {extra} RECURRING '@daily'",
        ),
        ("CHANGEFEED", "CREATE CHANGEFEED FOR TABLE t INTO {uri} WITH webhook_auth_header = {extra}"),
        (
            "registry",
            "CREATE CHANGEFEED FOR TABLE t INTO {uri} WITH format = avro, confluent_schema_registry = {extra}",
        ),
        ("EXPORT", "EXPORT INTO CSV {uri} FROM TABLE t"),
        ("IMPORT", "IMPORT INTO t CSV DATA ({uri})"),
        ("SHOW BACKUP", "SHOW BACKUP FROM LATEST IN {uri} WITH encryption_passphrase = {extra}"),
    ];
    for (of, statement) in statements {
        let mut fresh = stage.planted.uri(kind, of, &stage.places);
        let name = format!("the option of {of} for {kind}");
        fresh.names.extend((of == "SCHEDULE").then(|| name.clone()));
        let extra = match of {
            "registry" => format!("https://u:{}@127.0.0.1:1", encoded(&stage.planted.secret(name))),
            "CHANGEFEED" => format!("Basic {}", BASE64.encode(stage.planted.secret(name))),
            _ => stage.planted.password(name),
        };
        let statement = statement.replace("{uri}", &quoted(&fresh.text)).replace("{extra}", &quoted(&extra));
        stage.store(at, &statement, fresh).await;
    }
}

/// Passwords of SQL users: set, set again, wrong in every way, and used.
async fn passwords(stage: &mut Stage) {
    let mut set = async |of: &str, statement: &str, works: bool| {
        let password = stage.planted.password(format!("the password of {of}"));
        let statement = statement.replace("{}", &quoted(&password));
        assert_eq!(stage.clients[0].simple_query(&statement).await.is_ok(), works, "{of}");
        password
    };
    set("CREATE", "CREATE USER ben WITH PASSWORD {}", true).await;
    set("a second CREATE", "CREATE USER ben WITH PASSWORD {}", false).await;
    set("CREATE with a wrong option", "CREATE USER cy WITH PASSWORD {} NONSENSE", false).await;
    set("ALTER of nobody", "ALTER USER nobody_here WITH PASSWORD {}", false).await;
    set("a wrong date", "CREATE USER cy WITH PASSWORD {} VALID UNTIL 'sesame'", false).await;
    let good = set("ALTER", "ALTER USER ben WITH PASSWORD {}", true).await;
    let wrong = stage.planted.password("a wrong password".to_owned());
    let node = &stage.cluster.nodes[0];
    let client = connect(Login::of(&stage.cluster, node, "ben", Some(&good)), &stage.heard)
        .await
        .expect("ben logs in");
    client.simple_query("SELECT 1").await.expect("an answer");
    assert!(connect(Login::of(&stage.cluster, node, "ben", Some(&wrong)), &stage.heard).await.is_err());
    assert!(
        connect(
            Login::of(&stage.cluster, node, &format!("ben:{}", random_hex(2)), Some(&wrong)),
            &stage.heard
        )
        .await
        .is_err()
    );
    for password in [&good, &wrong] {
        let header = format!("Basic {}", BASE64.encode(format!("ben:{password}")));
        let mut https = Https::connect(&stage.cluster.ca(), stage.https[0], None).await;
        for path in ["/metrics", "/debug/tasks"] {
            let reply = https.get(path, &[("Authorization", &header)]).await;
            stage.told.push((format!("HTTPS {path} of ben"), [reply.head.as_bytes(), &reply.body].concat()));
        }
    }
    // What is shown on purpose, to who insists, is not listened to; that it was is in the audit log.
    let unheard = stage.cluster.root(&stage.cluster.nodes[0]).await.expect("root logs in");
    unheard.simple_query("SHOW CREATE EXTERNAL CONNECTION c0 WITH SECRETS").await.expect("root may");
}

/// Chains of roles in both clouds, from every node: leases, errors with a broken edge, and leases again.
async fn chains(stage: &mut Stage) {
    let roles = encoded(&stage.roles.join(","));
    let aws = format!(
        "s3://first/chain?AUTH=implicit&AWS_REGION=us-east-1&AWS_ENDPOINT={}&ASSUME_ROLE={roles}",
        stage.places.aws
    );
    let google = "gs://first/chain?AUTH=implicit&ASSUME_ROLE=team@p.iam.gserviceaccount.com,last@p.iam.gserviceaccount.com";
    for (name, uri) in [("chain", aws.as_str()), ("accounts", google)] {
        assert!(stage.run(0, &format!("CREATE EXTERNAL CONNECTION {name} AS '{uri}'")).await, "{name}");
        let check =
            format!("CHECK EXTERNAL CONNECTION 'external://{name}' WITH transfer = '64KiB' ON ALL NODES");
        let rows = stage.list(1, &check).await;
        assert!(rows.len() == 3 && rows.iter().all(|row| row.contains(&"t".to_owned())), "{name}: {rows:?}");
    }
    let last = stage.roles[1].clone();
    let trusted = stage.aws.set_trust(&last, &trust(&["arn:aws:iam::111122223333:user/nobody"]));
    stage.google.forbid("team@p.iam.gserviceaccount.com", "last@p.iam.gserviceaccount.com");
    tokio::time::sleep(Duration::from_secs(13)).await;
    let check =
        |name| format!("CHECK EXTERNAL CONNECTION 'external://{name}' WITH transfer = '1KiB' ON ALL NODES");
    let (first, second) = (check("chain"), check("accounts"));
    let broken = tokio::join!(stage.list(2, &first), stage.list(1, &second));
    for rows in [broken.0, broken.1] {
        assert!(rows.len() == 3 && rows.iter().all(|row| row.contains(&"f".to_owned())), "{rows:?}");
    }
    stage.list(0, "SHOW CREDENTIALS").await;
    stage.aws.set_trust(&last, &trusted);
    stage.google.allow("team@p.iam.gserviceaccount.com", "last@p.iam.gserviceaccount.com");
}

/// What others see of a statement that runs, has keys in it, and works.
async fn running(stage: &mut Stage) {
    let uri = stage.working("running");
    let client = connect(Login::of(&stage.cluster, &stage.cluster.nodes[0], "root", None), &stage.heard)
        .await
        .expect("root logs in");
    let long = format!("CHECK EXTERNAL CONNECTION '{uri}' WITH time = '5s', transfer = '1GiB' ON ALL NODES");
    let running = tokio::spawn(async move { client.simple_query(&long).await.is_ok() });
    until("somebody else sees it", async || {
        let rows = stage.list(1, "SELECT query FROM crdb_internal.cluster_queries").await;
        rows.iter().flatten().any(|query| query.starts_with("CHECK EXTERNAL CONNECTION"))
    })
    .await;
    for statement in
        ["SHOW STATEMENTS", "SHOW SESSIONS", "SHOW TRANSACTIONS", "SHOW CREDENTIALS", "SHOW QUERIES"]
    {
        stage.list(2, statement).await;
    }
    for table in ["cluster_queries", "cluster_sessions", "cluster_transactions", "cluster_credentials"] {
        assert!(!stage.list(1, &format!("SELECT * FROM crdb_internal.{table}")).await.is_empty(), "{table}");
    }
    assert!(running.await.expect("it ends"), "the keys are good");
}

/// `grantd sql` with statements that fail and that do not, and `grantd node status`.
async fn command_line(stage: &mut Stage) {
    let home = TempDir::new().unwrap();
    let port = stage.cluster.nodes[0].sql_port.to_string();
    let ca = stage.cluster.ca().display().to_string();
    let mut statements =
        vec!["SHOW EXTERNAL CONNECTIONS".to_owned(), "SHOW CREATE EXTERNAL CONNECTION c0".to_owned()];
    for kind in ["s3", "gs key", "webhook"] {
        let fresh = stage.planted.uri(kind, "the command line", &stage.places);
        statements.push(format!("CREATE EXTERNAL CONNECTION c0 AS {}", quoted(&fresh.text)));
    }
    let password = stage.planted.password("the password of the command line".to_owned());
    statements.push(format!("CREATE USER amy WITH PASSWORD {}", quoted(&password)));
    let mut outputs = Vec::new();
    for statement in statements {
        let mut command = Command::new(binary());
        command
            .args(["sql", "--port", &port, "--certs-dir", &ca, "-e", &statement])
            .env_clear()
            .env("HOME", home.path());
        outputs.push(
            tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("grantd sql runs"),
        );
    }
    let mut status = Command::new(binary());
    status.args(["node", "status", "--format", "json", "--data-dir"]).arg(&stage.cluster.nodes[0].data);
    outputs
        .push(tokio::task::spawn_blocking(move || status.output()).await.unwrap().expect("grantd node runs"));
    assert_eq!(
        outputs.iter().filter(|output| output.status.success()).count(),
        3,
        "two listings and the status"
    );
    for output in outputs {
        stage.told.push(("the command line".to_owned(), [output.stdout, output.stderr].concat()));
    }
    for entry in std::fs::read_dir(home.path()).unwrap().flatten() {
        stage
            .told
            .push(("the command line's home".to_owned(), std::fs::read(entry.path()).unwrap_or_default()));
    }
}

/// More entries than the log keeps; a fourth node, which begins with a snapshot; and everybody starts again.
async fn snapshots(stage: &mut Stage) {
    for row in 0..3 * SNAPSHOT_ENTRIES {
        assert!(stage.run(0, &format!("INSERT INTO t VALUES ({row}, '')")).await);
    }
    for node in &stage.cluster.nodes {
        let answer = node.admin(&Request::Snapshot).await;
        stage.told.push(("the operator's socket".to_owned(), format!("{answer:?}").into_bytes()));
    }
    let (environment, https) = (stage.cluster.nodes[0].environment.clone(), free_tcp_port());
    let fourth = stage.cluster.add_node();
    fourth.environment = environment;
    fourth.arguments.extend(["--http-listen".to_owned(), format!("127.0.0.1:{https}")]);
    fourth.arguments.extend(["--log-filter".to_owned(), "debug".to_owned()]);
    fourth.start();
    stage.cluster.until_all_vote().await;
    stage.https.push(https);
    let fourth = &stage.cluster.nodes[3];
    assert!(fourth.status().await.is_some_and(|status| status.snapshot > 0), "it began with a snapshot");
    assert!(fourth.logged().contains("installed a snapshot"));
    for at in 0..stage.cluster.nodes.len() {
        stage.cluster.nodes[at].stop().await;
        stage.cluster.nodes[at].start();
        stage.cluster.until_all_vote().await;
        let node = &stage.cluster.nodes[at];
        node.until("it serves SQL again", async |node| stage.cluster.root(node).await.is_ok()).await;
    }
    stage.clients.clear();
    for node in &stage.cluster.nodes {
        stage.clients.push(
            connect(Login::of(&stage.cluster, node, "root", None), &stage.heard).await.expect("root logs in"),
        );
    }
    for request in [Request::Status, Request::Checksum] {
        for node in &stage.cluster.nodes {
            let answer = node.admin(&request).await;
            stage.told.push(("the operator's socket".to_owned(), format!("{answer:?}").into_bytes()));
        }
    }
}

/// All that can be listed, on a node that was there from the beginning and on the one that came later.
async fn listings(stage: &mut Stage) {
    let tables = "SELECT table_schema || '.' || table_name FROM information_schema.tables \
                  WHERE table_schema IN ('crdb_internal', 'information_schema', 'pg_catalog', 'pg_extension')";
    let mut statements: Vec<_> = stage
        .list(0, tables)
        .await
        .into_iter()
        .flatten()
        .map(|table| format!("SELECT * FROM {table}"))
        .collect();
    assert!(statements.len() > 50, "{statements:?}");
    let shown = [
        "EXTERNAL CONNECTIONS",
        "CREATE ALL EXTERNAL CONNECTIONS",
        "IAM ROLES",
        "CREDENTIALS",
        "STATEMENTS",
        "QUERIES",
        "SESSIONS",
        "TRANSACTIONS",
        "ALL CLUSTER SETTINGS",
        "ALL",
        "USERS",
        "ROLES",
        "GRANTS",
        "SYSTEM GRANTS",
        "JOBS",
        "SCHEDULES",
        "CHANGEFEED JOBS",
        "TABLES",
        "DATABASES",
        "DEFAULT PRIVILEGES",
    ];
    statements.extend(shown.map(|what| format!("SHOW {what}")));
    statements.extend(
        ["external_connections", "users", "privileges", "role_options", "settings", "jobs"]
            .map(|table| format!("SELECT * FROM system.{table}")),
    );
    for at in 0..KINDS.len() {
        for name in ["c", "both", "checked", "prepared"] {
            statements.push(format!("SHOW CREATE EXTERNAL CONNECTION {name}{at}"));
            statements.push(format!("SHOW GRANTS ON EXTERNAL CONNECTION {name}{at}"));
        }
    }
    for node in [0, 3] {
        let mut rows = 0;
        for statement in &statements {
            rows += stage.list(node, statement).await.len();
        }
        assert!(rows > 1_000, "{rows} rows were listed");
    }
    assert!(!stage.list(3, "SHOW CREATE EXTERNAL CONNECTION c0").await.is_empty());
}

/// What is served over HTTPS.
async fn pages(stage: &mut Stage) {
    for port in &stage.https {
        let mut https = Https::connect(&stage.cluster.ca(), *port, Some("root")).await;
        for path in [
            "/metrics",
            "/health",
            "/ready",
            "/debug/version",
            "/debug/tasks",
            "/debug/pprof/profile?seconds=1",
            "/no",
        ] {
            let reply = https.get(path, &[]).await;
            assert!(reply.status == 200 || path == "/no", "{path}: {}", reply.status);
            stage.told.push((format!("HTTPS {path}"), [reply.head.as_bytes(), &reply.body].concat()));
        }
    }
}

/// Something that is to be found, in every kind of place: the name of each, and a part of the place's.
async fn decoys(stage: &mut Stage) -> Vec<(String, &'static str)> {
    let mut decoys = Vec::new();
    let mut decoy = |name: &str, place: &'static str| {
        decoys.push((name.to_owned(), place));
        let text = format!("decoy{}", random_hex(8));
        stage.planted.secrets.insert(name.to_owned(), text.clone());
        text
    };
    let shown = decoy("decoy of an answer", "what nodes sent");
    let wrong = decoy("decoy of an error", "what nodes sent");
    let listed = decoy("decoy of a listing", "what nodes sent");
    let row = decoy("decoy of a row", "data");
    let user = decoy("decoy of a login", "audit.jsonl");
    let logged = decoy("decoy of a log", "the log of node");
    let printed = decoy("decoy of a print", "the command line");
    let file = decoy("decoy of the cloud", "the bucket");
    stage.list(0, &format!("SELECT '{shown}'")).await;
    assert!(!stage.run(1, &format!("SELECT * FROM {wrong}")).await);
    assert!(stage.run(0, &format!("CREATE TABLE {listed} (k INT PRIMARY KEY)")).await);
    assert!(stage.run(2, &format!("INSERT INTO t VALUES (-1, '{row}')")).await);
    assert!(
        connect(Login::of(&stage.cluster, &stage.cluster.nodes[1], &user, Some("no")), &stage.heard)
            .await
            .is_err()
    );
    // Who asks for a page that is not for them is logged.
    assert!(stage.run(0, &format!("CREATE USER {logged}")).await);
    let ca = stage.cluster.ca();
    cert::create_client(&ca, &ca, &logged, &cert::Options { days: 2, overwrite: false }).unwrap();
    let reply = Https::connect(&ca, stage.https[0], Some(&logged)).await.get("/debug/version", &[]).await;
    assert_eq!(reply.status, 403);
    stage.told.push(("the command line".to_owned(), printed.into_bytes()));
    std::fs::write(stage.aws.bucket("first").join("decoy"), BASE64.encode(format!("a {file}"))).unwrap();
    decoys
}

fn scanner(stage: &Stage) -> Scanner {
    let given = stage.aws.secrets().into_iter().chain(stage.google.tokens()).enumerate();
    let given = given.map(|(at, secret)| (format!("no. {at} of what the clouds gave out"), secret));
    Scanner::new(stage.planted.secrets.clone().into_iter().chain(given))
}

/// All that came out, searched.
fn searched(stage: &Stage, scanner: &Scanner) -> BTreeSet<Found> {
    let mut found = scanner.bytes("what nodes sent", &stage.heard.bytes());
    for (place, bytes) in &stage.told {
        found.extend(scanner.bytes(place, bytes));
    }
    for node in &stage.cluster.nodes {
        found.extend(scanner.bytes(&format!("the log of node {}", node.id), node.logged().as_bytes()));
        found.extend(scanner.files(&node.data));
    }
    let bucket = scanner.files(&stage.aws.bucket("first"));
    found.extend(
        bucket.into_iter().map(|found| Found { place: format!("the bucket: {}", found.place), ..found }),
    );
    found
}

/// Whether a place is a file of a node's data, but for its audit log.
fn is_data(stage: &Stage, place: &str) -> bool {
    let below = |data: &Path| place.starts_with(&*data.to_string_lossy()) && !place.contains("audit");
    stage.cluster.nodes.iter().any(|node| below(&node.data))
}

fn only_its_user_reads(place: &Path) {
    let about = std::fs::symlink_metadata(place).unwrap();
    if about.is_dir() {
        for entry in std::fs::read_dir(place).unwrap().flatten() {
            only_its_user_reads(&entry.path());
        }
    } else {
        assert_eq!(about.permissions().mode() & 0o077, 0, "{}", place.display());
    }
}
