//! Three nodes that give credentials, and the cloud that they have them from.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use grantd_cluster_tests::cloud::aws::Aws;
use grantd_cluster_tests::cloud::server::ask;
use grantd_cluster_tests::cloud::world::{Chained, World};
use grantd_cluster_tests::process::{Cluster, free_tcp_port, until};
use serde_json::Value;
use tokio_postgres::Client;

/// How long credentials live: what takes seconds here takes hours there.
const DURATION: &str = "6s";

pub struct Stage {
    pub aws: Aws,
    pub chained: Chained,
    pub cluster: Cluster,
    pub clients: Vec<Client>,
    /// Where each node gives credentials.
    pub doors: Vec<SocketAddr>,
    /// What the nodes are in the cloud.
    pub planted: Vec<String>,
}

/// An answer, and when it was asked for.
pub struct Told {
    pub status: u16,
    pub body: String,
    pub begun: Instant,
    pub took: Duration,
}

impl Told {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// As programs see a refusal.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn message(&self) -> String {
        self.json()["message"].as_str().unwrap_or_default().to_owned()
    }
}

impl Stage {
    /// Entries `photos` of amy, `logs` of ben, `ghost` of nobody.
    pub async fn new() -> Self {
        let (world, chained) = World::chain("work", 3, "first");
        let (aws, keys) = Aws::of(&world).await;
        let keys = &keys[&chained.user];
        let endpoint = aws.endpoint();
        let arguments =
            ["--aws-source", "environment", "--aws-sts-endpoint", &endpoint, "--aws-region", "us-east-1"];
        let mut cluster = Cluster::prepare(3, &arguments);
        let mut doors = Vec::new();
        for node in &mut cluster.nodes {
            let door = SocketAddr::from((Ipv4Addr::LOCALHOST, free_tcp_port()));
            doors.push(door);
            node.environment = vec![
                ("AWS_ACCESS_KEY_ID".to_owned(), keys.access_key_id.clone()),
                ("AWS_SECRET_ACCESS_KEY".to_owned(), keys.secret_access_key.clone()),
                ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
                ("HOME".to_owned(), "/nonexistent".to_owned()),
            ];
            let door = door.to_string();
            let more = [
                ["--cloud-endpoint-listen", &door],
                ["--cloud-endpoints", "name=photos principal=amy uri=external://photos"],
                ["--cloud-endpoints", "name=logs principal=ben uri=external://logs"],
                ["--cloud-endpoints", "name=ghost principal=nobody-made-it uri=external://photos"],
                ["--log-filter", "debug"],
            ];
            node.arguments.extend(more.concat().into_iter().map(str::to_owned));
        }
        cluster.launch().await;
        let mut clients = Vec::new();
        for node in &cluster.nodes {
            clients.push(cluster.root(node).await.expect("root logs in"));
        }
        let planted = vec![keys.secret_access_key.clone()];
        let stage = Self { aws, chained, cluster, clients, doors, planted };
        stage.run(0, &format!("SET CLUSTER SETTING cloud.credentials.duration = '{DURATION}'")).await;
        stage.run(0, "CREATE USER amy").await;
        stage.run(0, "CREATE USER ben").await;
        for (name, user) in [("photos", "amy"), ("logs", "ben")] {
            stage.run(0, &format!("CREATE EXTERNAL CONNECTION {name} AS '{}'", stage.uri(name))).await;
            stage.run(0, &format!("GRANT USAGE ON EXTERNAL CONNECTION {name} TO {user}")).await;
        }
        stage
    }

    /// The bucket below this prefix, through all roles.
    pub fn uri(&self, prefix: &str) -> String {
        let (roles, endpoint) = (self.chained.roles.join(","), self.aws.endpoint());
        format!(
            "s3://first/{prefix}?AUTH=implicit&AWS_REGION=us-east-1&AWS_ENDPOINT={endpoint}&ASSUME_ROLE={roles}"
        )
    }

    pub async fn run(&self, node: usize, statement: &str) {
        let ran = self.clients[node].batch_execute(statement).await;
        ran.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }

    pub fn token_file(&self, node: usize, name: &str) -> PathBuf {
        self.cluster.nodes[node].data.join(format!("endpoint/{name}.token"))
    }

    pub fn token(&self, node: usize, name: &str) -> String {
        std::fs::read_to_string(self.token_file(node, name)).expect("a token that the node made")
    }

    /// Asks as a program does.
    pub async fn ask(&self, node: usize, name: &str) -> Told {
        let token = self.token(node, name);
        tell(self.doors[node], "GET", &format!("/v1/aws/{name}"), &[("Authorization", token)]).await
    }

    /// What a program is told by its environment.
    pub fn environment(&self, node: usize, name: &str) -> Vec<(String, String)> {
        let url = format!("http://{}/v1/aws/{name}", self.doors[node]);
        vec![
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI".to_owned(), url),
            (
                "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE".to_owned(),
                self.token_file(node, name).display().to_string(),
            ),
        ]
    }

    /// A line of a node's audit log is like this.
    pub async fn is_recorded(&self, node: usize, what: &str, is_it: impl Fn(&Value) -> bool) {
        let path = self.cluster.nodes[node].data.join("audit/audit.jsonl");
        let is_there = async || {
            let log = std::fs::read_to_string(&path).unwrap_or_default();
            let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            lines.any(|line| line["kind"] == "credentials" && is_it(&line))
        };
        until(what, is_there).await;
    }

    /// Logs, audit logs and data directories have nothing of what was given, nor of the tokens, but in their own files.
    pub fn nothing_is_told(&self) {
        let tokens = (0..3).flat_map(|node| ["photos", "logs", "ghost"].map(|name| self.token(node, name)));
        let secrets: Vec<_> = self.planted.iter().cloned().chain(self.aws.secrets()).chain(tokens).collect();
        assert!(secrets.len() > 20, "sessions were given out");
        for node in &self.cluster.nodes {
            let logged = node.logged();
            for secret in &secrets {
                assert!(!logged.contains(secret.as_str()), "the log of node {} has a secret", node.id);
            }
            assert_eq!(holder(&node.data, &secrets), None, "a file of node {} has a secret", node.id);
            let own = node.data.join("endpoint/photos.token");
            assert!(is_held(&own, &secrets), "the scan finds what is there");
        }
    }
}

/// Asks, with one request to a connection.
pub async fn tell(door: SocketAddr, method: &str, path: &str, fields: &[(&str, String)]) -> Told {
    let begun = Instant::now();
    let (status, body) = ask(door, method, path, fields, b"").await.expect("it answers");
    Told { status, body, begun, took: begun.elapsed() }
}

/// The first file below `place`, but for those of tokens, that holds one of these.
fn holder(place: &Path, secrets: &[String]) -> Option<PathBuf> {
    if place.is_dir() {
        let entries = std::fs::read_dir(place).expect("a directory that is there");
        return entries.flatten().find_map(|entry| holder(&entry.path(), secrets));
    }
    let is_token = place.extension().is_some_and(|ending| ending == "token");
    (!is_token && is_held(place, secrets)).then(|| place.to_path_buf())
}

fn is_held(file: &Path, secrets: &[String]) -> bool {
    // A socket cannot be read, and keeps nothing.
    let text = String::from_utf8_lossy(&std::fs::read(file).unwrap_or_default()).into_owned();
    secrets.iter().any(|secret| text.contains(secret.as_str()))
}
