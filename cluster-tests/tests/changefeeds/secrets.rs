//! What a feed is told in secret is in its job's record, on disks that only the node's user reads, and nowhere else: it is looked for
//! in what clients are told, in logs at level debug, audit logs, metrics and messages. That it is found on the disk, and that texts
//! which are no secret are found in each other place, shows that it would have been found.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use grantd_cluster_tests::cloud::token::random_hex;
use grantd_cluster_tests::https::Https;
use grantd_cluster_tests::process::{Cluster, free_tcp_port, until};
use grantd_cluster_tests::scan::{Found, Scanner};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::place::{DECOY, HOOK_HEADER, Place, S3, Webhook};
use super::stage::rows;

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// What was planted, by name, and what clients were told.
#[derive(Default)]
struct Planted {
    secrets: BTreeMap<String, String>,
    told: String,
}

impl Planted {
    /// A new one, with letters that each encoding writes in its own way.
    fn secret(&mut self, name: &str) -> String {
        let [a, b, c] = [(); 3].map(|()| random_hex(6));
        let secret = format!("{a}/{b}+{c}");
        assert!(self.secrets.insert(name.to_owned(), secret.clone()).is_none(), "{name} is planted twice");
        secret
    }

    /// Runs a statement; its rows, or what it was refused with.
    async fn run(&mut self, client: &Client, statement: &str) -> Result<Vec<String>, String> {
        let answer = match client.simple_query(statement).await {
            Ok(messages) => {
                let row = |message: &SimpleQueryMessage| match message {
                    SimpleQueryMessage::Row(row) => Some(
                        (0..row.len())
                            .map(|at| row.get(at).unwrap_or("NULL"))
                            .collect::<Vec<_>>()
                            .join(" | "),
                    ),
                    _ => None,
                };
                Ok(messages.iter().filter_map(row).collect::<Vec<_>>())
            }
            Err(error) => Err(format!("{error:?} {:?}", error.as_db_error())),
        };
        self.told.push_str(&format!("{answer:?}\n"));
        answer
    }
}

const LISTINGS: [&str; 7] = [
    "SHOW JOBS",
    "SHOW CHANGEFEED JOBS",
    "SHOW STATEMENTS",
    "SHOW CREDENTIALS",
    "SHOW EXTERNAL CONNECTIONS",
    "SHOW ALL CLUSTER SETTINGS",
    "SELECT * FROM crdb_internal.kv_protected_ts_records",
];

/// Case 104, and the rest of must show 6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_of_a_feed_comes_out() {
    let (s3, hook) = (S3::start().await, Webhook::start().await);
    let (cluster, https) = node(&s3).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    let mut planted = Planted::default();
    let row = random_hex(12);
    for statement in [
        "CREATE TABLE t (k INT PRIMARY KEY, v TEXT)".to_owned(),
        format!("INSERT INTO t VALUES (1, '{row}')"),
    ] {
        planted.run(&root, &statement).await.unwrap();
    }
    let ids = made(&mut planted, &root, &s3, &hook).await;
    refused(&mut planted, &root, &ids[0]).await;

    // The server says no, and repeats all that it was sent.
    hook.answers(Some(404));
    planted.run(&root, "UPSERT INTO t VALUES (2, 'two')").await.unwrap();
    let said = format!("SHOW JOB {}", ids[1]);
    until("the job says what is in its way", async || {
        let answer = root.simple_query(&said).await.expect("a listing");
        rows(&answer)[0]["running_status"].contains(DECOY)
    })
    .await;
    planted.run(&root, &said).await.unwrap();
    hook.answers(None);
    for statement in LISTINGS.iter().map(|listing| (*listing).to_owned()).chain(
        ids.iter()
            .flat_map(|id| [format!("SHOW JOB {id} WITH DETAILS"), format!("SHOW CHANGEFEED JOB {id}")]),
    ) {
        let answer = planted.run(&root, &statement).await;
        assert!(answer.is_ok(), "{statement}: {answer:?}");
    }
    until("the messages are there", async || hook.read_bodies().contains("two")).await;
    let mut client = Https::connect(&cluster.ca(), https, Some("root")).await;
    let metrics = client.get("/metrics", &[]).await;
    assert!(String::from_utf8_lossy(&metrics.body).contains("grantd_changefeed_error_retries_total"));
    planted.told.push_str(&String::from_utf8_lossy(&metrics.body));
    searched(&planted, &cluster, &s3, &hook, &row);
}

/// One node that logs all that it does, and its port of HTTPS.
async fn node(s3: &S3) -> (Cluster, u16) {
    let (mut arguments, port) = (s3.arguments(), free_tcp_port());
    arguments.extend(["--http-listen".to_owned(), format!("127.0.0.1:{port}")]);
    arguments.extend(["--log-filter".to_owned(), "debug,openraft=info".to_owned()]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let mut cluster = Cluster::prepare(1, &arguments);
    cluster.nodes[0].environment = s3.environment();
    cluster.nodes[0].environment.push(("HOME".to_owned(), "/nonexistent".to_owned()));
    cluster.launch().await;
    (cluster, port)
}

/// Feeds that work, into a bucket by keys and into a webhook with a client's key: their numbers.
async fn made(planted: &mut Planted, root: &Client, s3: &S3, hook: &Webhook) -> [String; 2] {
    let bucket = s3.uri_with_keys();
    planted.secrets.insert("the secret key of the bucket's URI".to_owned(), s3.secret_key());
    let client = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let key = client.signing_key.serialize_pem();
    let line = key.lines().nth(1).expect("its first line").to_owned();
    planted.secrets.insert("the client's key of the webhook".to_owned(), line);
    for (name, secret) in
        ["the webhook's path", "the webhook's token", "the webhook's header"].into_iter().zip(hook.secrets())
    {
        planted.secrets.insert(name.to_owned(), secret.trim_start_matches("Bearer ").to_owned());
    }
    let hook = format!(
        "{}&client_cert={}&client_key={}",
        hook.uri(),
        encoded(&BASE64.encode(client.cert.pem())),
        encoded(&BASE64.encode(key)),
    );
    let often = "min_checkpoint_frequency = '100ms', resolved = '0s', updated";
    let mut ids = Vec::new();
    for statement in [
        format!("CREATE CHANGEFEED FOR t INTO '{bucket}' WITH {often}"),
        format!("CREATE CHANGEFEED FOR t INTO '{hook}' WITH {often}, webhook_auth_header = '{HOOK_HEADER}'"),
    ] {
        ids.push(planted.run(root, &statement).await.expect("it works").remove(0));
    }
    ids.try_into().unwrap()
}

/// Statements that are refused, each for another reason.
async fn refused(planted: &mut Planted, root: &Client, id: &str) {
    let sinks = |planted: &mut Planted, of: &str| {
        let mut secret = |what: &str| encoded(&BASE64.encode(planted.secret(&format!("{what} of {of}"))));
        [
            format!(
                "kafka://127.0.0.1:1?tls_enabled=true&sasl_enabled=true&sasl_user=u&sasl_password={}",
                secret("password")
            ),
            format!(
                "kafka://127.0.0.1:1?tls_enabled=true&client_cert=YQ==&client_key={}",
                secret("client key")
            ),
            format!("kafka://127.0.0.1:1?tls_enabled=true&ca_cert={}", secret("CA")),
            format!("webhook-https://u:p@127.0.0.1:1/{}", secret("path")),
            format!("gcpubsub://p?region=r&topic_name=orders&CREDENTIALS={}", secret("credentials")),
            format!(
                "s3://b/p?AWS_ACCESS_KEY_ID=i&AWS_REGION=r&AWS_ENDPOINT=http://127.0.0.1:1&AWS_SECRET_ACCESS_KEY={}&x={}",
                secret("secret key"),
                secret("leftover")
            ),
        ]
    };
    for sink in sinks(planted, "CREATE") {
        let header = planted.secret(&format!("header beside {}", planted.secrets.len()));
        let statement =
            format!("CREATE CHANGEFEED FOR t INTO '{sink}' WITH webhook_auth_header = 'Bearer {header}'");
        assert!(planted.run(root, &statement).await.is_err(), "{sink}");
        let header = planted.secret(&format!("header beside {}", planted.secrets.len()));
        let statement = format!("CREATE CHANGEFEED FOR t INTO '{sink}' WITH webhook_auth_header '{header}'");
        assert!(planted.run(root, &statement).await.is_err(), "{sink}");
    }
    planted.run(root, &format!("PAUSE JOB {id}")).await.unwrap();
    until("it is paused", async || {
        let answer = root.simple_query(&format!("SHOW JOB {id}")).await.expect("a listing");
        rows(&answer)[0]["status"] == "paused"
    })
    .await;
    for sink in sinks(planted, "ALTER") {
        let statement = format!("ALTER CHANGEFEED {id} SET sink = '{sink}'");
        assert!(planted.run(root, &statement).await.is_err(), "{sink}");
    }
    planted.run(root, &format!("RESUME JOB {id}")).await.unwrap();
}

fn searched(planted: &Planted, cluster: &Cluster, s3: &S3, hook: &Webhook, row: &str) {
    let node = &cluster.nodes[0];
    let decoys = [("what a server said", DECOY.to_owned()), ("a row", row.to_owned())];
    let given = s3.secrets().into_iter().enumerate();
    let given = given.map(|(at, secret)| (format!("no. {at} of what the cloud gave out"), secret));
    let planted_secrets = planted.secrets.clone().into_iter().chain(given);
    let all = planted_secrets.chain(decoys.map(|(name, text)| (name.to_owned(), text)));
    let scanner = Scanner::new(all);
    let mut found = scanner.bytes("what clients were told", planted.told.as_bytes());
    found.extend(scanner.bytes("the log", node.logged().as_bytes()));
    found.extend(scanner.bytes("messages to the webhook", hook.read_bodies().as_bytes()));
    let bucket = scanner.files(&s3.aws.bucket("feeds"));
    found.extend(
        bucket.into_iter().map(|found| Found { place: "messages in the bucket".to_owned(), ..found }),
    );
    let on_disk = |found: Found| {
        let place = if found.place.contains("audit") { "the audit log" } else { "the disk" };
        Found { place: place.to_owned(), ..found }
    };
    found.extend(scanner.files(&node.data).into_iter().map(on_disk));
    for (name, place) in [
        ("what a server said", "what clients were told"),
        ("what a server said", "the log"),
        ("a row", "messages to the webhook"),
        ("a row", "messages in the bucket"),
        ("the webhook's header", "the disk"),
        ("the webhook's token", "the disk"),
        ("the client's key of the webhook", "the disk"),
        ("the secret key of the bucket's URI", "the disk"),
    ] {
        let is_it = |found: &Found| found.secret == name && found.place == place;
        assert!(found.iter().any(is_it), "{name} is in {place}, and was not found there");
    }
    let kept = [
        "the webhook's path",
        "the webhook's token",
        "the webhook's header",
        "the client's key of the webhook",
        "the secret key of the bucket's URI",
    ];
    let key = s3.secret_key();
    let same_key = |name: &str| {
        name.strip_prefix("no. ")
            .and_then(|rest| rest.split(' ').next()?.parse::<usize>().ok())
            .is_some_and(|at| s3.secrets()[at] == key)
    };
    let is_no_secret = |found: &Found| decoys_named(&found.secret);
    let stays = |found: &Found| {
        found.place == "the disk" && (kept.contains(&&*found.secret) || same_key(&found.secret))
    };
    let bad: BTreeSet<_> = found.iter().filter(|found| !is_no_secret(found) && !stays(found)).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    println!("{} secrets were planted, {} given out by the cloud", planted.secrets.len(), s3.secrets().len());
    assert!(planted.secrets.len() >= 30);
}

fn decoys_named(name: &str) -> bool {
    ["what a server said", "a row"].contains(&name)
}
