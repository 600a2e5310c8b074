//! Backups whose key is wrapped by keys of AWS KMS and of Google Cloud KMS: who may, which key opens which backup, and what is said
//! when none does. A node that is a process, and the strict doubles, which check signatures, sessions and policies.

#![allow(clippy::unwrap_used, reason = "tests")]

use grantd_cluster_tests::cloud::aws::{Aws, Outcome};
use grantd_cluster_tests::cloud::fault::{Fault, Service, Trouble};
use grantd_cluster_tests::cloud::google::{self, Google};
use grantd_cluster_tests::cloud::world::{ACCOUNT, Role, World, policy, role_arn, trust};
use grantd_cluster_tests::process::Cluster;
use grantd_node::{cert, pgclient};
use serde_json::json;
use tokio_postgres::{Client, SimpleQueryMessage};

const BUCKET: &str = "backups";
const KEY: &str = "arn:aws:kms:us-east-1:111122223333:key/1111";
const OTHER: &str = "arn:aws:kms:us-east-1:111122223333:key/2222";
/// What stands in a row: nothing of it may be in a file of an encrypted backup.
const SAID: &str = "a sentence that nobody shall read";

/// How many rows came back, or SQLSTATE, message and hint.
async fn asked(client: &Client, statement: &str) -> Result<usize, String> {
    let messages = client.simple_query(statement).await.map_err(|error| match error.as_db_error() {
        Some(error) => {
            let hint = error.hint().map(|hint| format!(" HINT {hint}")).unwrap_or_default();
            format!("{} {}{hint}", error.code().code(), error.message())
        }
        None => error.to_string(),
    })?;
    Ok(messages.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_))).count())
}

async fn run(client: &Client, statement: &str) -> usize {
    asked(client, statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"))
}

async fn refused(client: &Client, statement: &str) -> String {
    asked(client, statement).await.expect_err(statement)
}

async fn shop(client: &Client) {
    run(client, "CREATE DATABASE shop").await;
    run(client, "CREATE TABLE shop.public.t (k INT PRIMARY KEY, v TEXT)").await;
    run(client, &format!("INSERT INTO shop.public.t VALUES (1, '{SAID}')")).await;
}

/// The role that may use both keys, as the last of a chain that is not the bucket's.
fn key_role() -> Role {
    let may = policy(&[json!({
        "Effect": "Allow", "Action": ["kms:Encrypt", "kms:Decrypt"], "Resource": [KEY, OTHER]
    })]);
    Role::new(&role_arn(ACCOUNT, "keys"), &trust(&[&role_arn(ACCOUNT, "front")])).allowed(&may)
}

/// A node that is a user of AWS: one chain leads to the bucket, another one to the keys.
struct Stage {
    aws: Aws,
    cluster: Cluster,
    client: Client,
    /// Of the chain to the bucket.
    roles: String,
}

impl Stage {
    async fn new() -> Self {
        let (mut world, chained) = World::chain("backup", 2, BUCKET);
        let onwards =
            json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role_arn(ACCOUNT, "keys") });
        let front = Role::new(&role_arn(ACCOUNT, "front"), &trust(&[&chained.user]));
        world.roles.push(front.allowed(&policy(&[onwards])));
        world.roles.push(key_role());
        let (aws, keys) = Aws::of(&world).await;
        aws.add_key(KEY);
        aws.add_key(OTHER);
        let keys = &keys[&chained.user];
        let endpoint = aws.endpoint();
        let arguments =
            ["--aws-source", "environment", "--aws-sts-endpoint", &endpoint, "--aws-region", "us-east-1"];
        let mut cluster = Cluster::prepare(1, &arguments);
        cluster.nodes[0].environment = vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), keys.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), keys.secret_access_key.clone()),
            ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
            ("HOME".to_owned(), "/nonexistent".to_owned()),
        ];
        cluster.launch().await;
        let client = cluster.root(&cluster.nodes[0]).await.unwrap();
        shop(&client).await;
        Self { aws, cluster, client, roles: chained.roles.join(",") }
    }

    fn place(&self, path: &str) -> String {
        let (roles, endpoint) = (&self.roles, self.aws.endpoint());
        format!(
            "s3://{BUCKET}/{path}?AUTH=implicit&AWS_REGION=us-east-1&AWS_ENDPOINT={endpoint}&ASSUME_ROLE={roles}"
        )
    }

    /// A key without roles of its own.
    fn bare(&self, key: &str) -> String {
        format!("aws-kms:///{key}?AUTH=implicit&REGION=us-east-1&AWS_ENDPOINT={}", self.aws.endpoint())
    }

    /// A key by the chain that leads to it.
    fn key(&self, key: &str) -> String {
        let (front, last) = (role_arn(ACCOUNT, "front"), role_arn(ACCOUNT, "keys"));
        format!("{}&ASSUME_ROLE={front},{last}", self.bare(key))
    }

    /// Makes a backup that either key opens.
    async fn backed_up(&self, path: &str) -> String {
        let uri = self.place(path);
        let (key, other) = (self.key(KEY), self.key(OTHER));
        run(&self.client, &format!("BACKUP DATABASE shop INTO '{uri}' WITH kms = ('{key}', '{other}')"))
            .await;
        uri
    }

    fn show(&self, uri: &str, key: &str) -> String {
        format!("SHOW BACKUP FROM LATEST IN '{uri}' WITH kms = '{}'", self.key(key))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_key_of_a_backup_opens_it_and_no_other() {
    let stage = Stage::new().await;
    let client = &stage.client;
    let uri = stage.backed_up("one").await;
    let files = files_of(&stage.aws.bucket(BUCKET));
    assert!(files.len() > 3, "{}", files.len());
    assert!(files.iter().all(|bytes| !bytes.windows(SAID.len()).any(|part| part == SAID.as_bytes())));

    let without = refused(client, &format!("SHOW BACKUP FROM LATEST IN '{uri}'")).await;
    assert!(
        without
            .contains(r#"file appears encrypted -- try specifying one of "encryption_passphrase" or "kms""#)
    );
    for key in [KEY, OTHER] {
        assert_eq!(run(client, &stage.show(&uri, key)).await, 3, "{key}");
    }
    // One that is off is passed over where there is another.
    stage.aws.enable_key(KEY, false);
    let (first, second) = (stage.key(KEY), stage.key(OTHER));
    let both = format!("SHOW BACKUP FROM LATEST IN '{uri}' WITH kms = ('{first}', '{second}')");
    assert_eq!(run(client, &both).await, 3);
    let off = refused(client, &stage.show(&uri, KEY)).await;
    assert!(
        off.starts_with("58030 failed to decrypt data key") && off.contains("DisabledException"),
        "{off}"
    );
    stage.aws.enable_key(KEY, true);

    // An incremental layer has the key of its full backup, by one of its keys.
    let stranger = stage.key("arn:aws:kms:us-east-1:111122223333:key/3333");
    let foreign = format!("BACKUP DATABASE shop INTO LATEST IN '{uri}' WITH kms = '{stranger}'");
    let foreign = refused(client, &foreign).await;
    assert!(
        foreign.contains("one of the provided URIs was not used when encrypting the base BACKUP"),
        "{foreign}"
    );
    run(client, "INSERT INTO shop.public.t VALUES (2, 'more')").await;
    run(client, &format!("BACKUP DATABASE shop INTO LATEST IN '{uri}' WITH kms = '{second}'")).await;
    let mixed =
        format!("BACKUP DATABASE shop INTO '{uri}' WITH encryption_passphrase = 'p', kms = '{first}'");
    let mixed = refused(client, &mixed).await;
    assert!(mixed.contains("cannot have both encryption_passphrase and kms option set"), "{mixed}");

    let back = format!("RESTORE DATABASE shop FROM LATEST IN '{uri}' WITH new_db_name = 'back'");
    let closed = refused(client, &back).await;
    assert!(closed.contains("file appears encrypted"), "{closed}");
    run(client, &format!("{back}, kms = '{second}'")).await;
    assert_eq!(run(client, "SELECT * FROM back.public.t").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_use_a_key_is_said_by_the_cloud_and_by_the_catalog() {
    let stage = Stage::new().await;
    let (client, aws) = (&stage.client, &stage.aws);
    // The roles of the bucket's URI are not the key's.
    let bare =
        format!("BACKUP DATABASE shop INTO '{}' WITH kms = '{}'", stage.place("bare"), stage.bare(KEY));
    let denied = refused(client, &bare).await;
    assert!(denied.starts_with("42501 failed to encrypt data key: AWS KMS key arn:aws:kms:"), "{denied}");
    assert!(denied.contains("kms:Encrypt") && denied.contains("user/backup"), "{denied}");
    assert!(
        aws.log().iter().all(|record| record.service != Service::Kms || record.outcome != Outcome::Done(200))
    );
    let uri = stage.backed_up("one").await;

    // Sessions that ended cost one more lease, and trouble that passes some tries: nobody notices.
    aws.expire_sessions();
    aws.inject(Fault::kms(Trouble::Throttle(None)).times(2));
    aws.inject(Fault::kms(Trouble::Broken(500)).times(1));
    run(client, &stage.show(&uri, KEY)).await;
    // A policy that is taken away binds at once.
    let last = role_arn(ACCOUNT, "keys");
    let may = aws.set_policy(&last, None);
    let denied = refused(client, &stage.show(&uri, KEY)).await;
    assert!(denied.starts_with("42501 failed to decrypt data key"), "{denied}");
    assert!(denied.contains("assumed-role/keys/") && denied.contains("HINT"), "{denied}");
    aws.set_policy(&last, may.as_deref());

    // By a connection, whose user sees neither key nor role.
    run(client, &format!("CREATE EXTERNAL CONNECTION lock AS '{}'", stage.key(KEY))).await;
    run(client, &format!("CREATE EXTERNAL CONNECTION place AS '{}'", stage.place("two"))).await;
    run(client, "CREATE USER amy").await;
    run(client, "GRANT BACKUP ON DATABASE shop TO amy").await;
    run(client, "GRANT USAGE ON EXTERNAL CONNECTION place TO amy").await;
    let (cluster, days) = (&stage.cluster, cert::Options { days: 2, overwrite: false });
    cert::create_client(&cluster.ca(), &cluster.ca(), "amy", &days).unwrap();
    let amy = pgclient::connect(&cluster.login(&cluster.nodes[0], "amy")).await.unwrap();
    let backup = "BACKUP DATABASE shop INTO 'external://place' WITH kms = 'external://lock'";
    let not_yet = refused(&amy, backup).await;
    assert!(not_yet.starts_with("42501 ") && not_yet.contains("USAGE"), "{not_yet}");
    run(client, "GRANT USAGE ON EXTERNAL CONNECTION lock TO amy").await;
    run(&amy, backup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_google_wrap_the_key_of_a_backup() {
    const NAME: &str = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k";
    let google = Google::start().await;
    let (node, target) = ("node@p.iam.gserviceaccount.com", "keys@p.iam.gserviceaccount.com");
    google.allow(node, target);
    google.crypto_key(NAME, target, true);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("key.json");
    google.key_file(node, &file);
    let endpoint = google.endpoint();
    let arguments = [
        ["--gcp-source", "file"],
        ["--gcp-iam-endpoint", &endpoint],
        ["--gcp-sts-endpoint", &endpoint],
        ["--gcp-kms-endpoint", &endpoint],
    ];
    let mut cluster = Cluster::prepare(1, arguments.as_flattened());
    cluster.nodes[0].environment = vec![
        ("GOOGLE_APPLICATION_CREDENTIALS".to_owned(), file.to_str().unwrap().to_owned()),
        ("HOME".to_owned(), "/nonexistent".to_owned()),
    ];
    cluster.launch().await;
    let client = cluster.root(&cluster.nodes[0]).await.unwrap();
    shop(&client).await;
    let key = format!("gcp-kms:///{NAME}?AUTH=implicit&ASSUME_ROLE={target}");
    let with = format!(" WITH kms = '{key}'");
    run(&client, &format!("BACKUP DATABASE shop INTO 'nodelocal://1/b'{with}")).await;
    let show = format!("SHOW BACKUP FROM LATEST IN 'nodelocal://1/b'{with}");
    assert_eq!(run(&client, &show).await, 3);
    google.end_all_tokens();
    assert_eq!(run(&client, &show).await, 3, "with another token");
    google.crypto_key(NAME, target, false);
    let denied = refused(&client, &show).await;
    assert!(denied.starts_with("42501 failed to decrypt data key: Cloud KMS key projects/"), "{denied}");
    assert!(denied.contains(target) && denied.contains("roles/cloudkms.cryptoKeyDecrypter"), "{denied}");
    assert!(google.calls(google::Service::Kms).iter().all(|call| call.account.as_deref() != Some(node)));
}

/// All files below a directory.
fn files_of(directory: &std::path::Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files_of(&path)) } else { found.push(std::fs::read(path).unwrap()) }
    }
    found
}
