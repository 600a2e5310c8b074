//! Nodes that keep their backups in the strict double of AWS, and what a test asks of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use grantd_cluster_tests::cloud::aws::Aws;
use grantd_cluster_tests::cloud::world::{Chained, World};
use grantd_cluster_tests::process::{Cluster, PATIENCE, until};
use tokio_postgres::{Client, SimpleQueryMessage};

pub const BUCKET: &str = "first";

/// A row of a result, by the names of its columns.
pub type Row = BTreeMap<String, String>;

/// A cloud with one bucket behind a chain of two roles.
#[derive(Clone)]
pub struct Cloud {
    pub aws: Arc<Aws>,
    pub chained: Chained,
    keys: (String, String),
}

/// Nodes that are the user of the chain.
pub struct Stage {
    pub cloud: Cloud,
    pub cluster: Cluster,
    pub client: Client,
}

impl Cloud {
    pub async fn new() -> Self {
        let (world, chained) = World::chain("backup", 2, BUCKET);
        let (aws, keys) = Aws::of(&world).await;
        let keys = &keys[&chained.user];
        let keys = (keys.access_key_id.clone(), keys.secret_access_key.clone());
        Self { aws: Arc::new(aws), chained, keys }
    }

    /// A collection in the bucket.
    pub fn uri(&self, path: &str) -> String {
        let (roles, endpoint) = (self.chained.roles.join(","), self.aws.endpoint());
        format!(
            "s3://{BUCKET}/{path}?AUTH=implicit&AWS_REGION=us-east-1&AWS_ENDPOINT={endpoint}&ASSUME_ROLE={roles}"
        )
    }

    /// The files of a collection.
    pub fn files(&self, path: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        all(&self.aws.bucket(BUCKET).join(path), &mut found);
        found.sort();
        found
    }
}

/// All files below a directory.
pub fn all(directory: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() { all(&path, found) } else { found.push(path) }
    }
}

impl Stage {
    pub async fn new(cloud: &Cloud, nodes: u64) -> Self {
        Self::launched(cloud, Self::prepared(cloud, nodes)).await
    }

    /// Nodes that do not run yet.
    pub fn prepared(cloud: &Cloud, nodes: u64) -> Cluster {
        let endpoint = cloud.aws.endpoint();
        let arguments = [
            ["--aws-source", "environment"],
            ["--aws-sts-endpoint", &endpoint],
            ["--aws-region", "us-east-1"],
            ["--log-filter", "debug"],
        ];
        let mut cluster = Cluster::prepare(nodes, arguments.as_flattened());
        for node in &mut cluster.nodes {
            node.environment = vec![
                ("AWS_ACCESS_KEY_ID".to_owned(), cloud.keys.0.clone()),
                ("AWS_SECRET_ACCESS_KEY".to_owned(), cloud.keys.1.clone()),
                ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
                ("HOME".to_owned(), "/nonexistent".to_owned()),
            ];
        }
        cluster
    }

    /// Of nodes that begin now.
    pub async fn launched(cloud: &Cloud, mut cluster: Cluster) -> Self {
        cluster.launch().await;
        let client = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
        let stage = Self { cloud: cloud.clone(), cluster, client };
        for setting in [
            "grantd.jobs.claim_lease = '2s'",
            "jobs.registry.interval.adopt = '200ms'",
            "jobs.registry.retry.initial_delay = '500ms'",
            "cloud.credentials.duration = '12s'",
        ] {
            stage.run(&format!("SET CLUSTER SETTING {setting}")).await;
        }
        stage
    }

    /// Asks another node than this one from now on.
    pub async fn connect_elsewhere(&mut self, than: u64) {
        let other = self.cluster.nodes.iter().find(|node| node.id != than && node.is_running()).unwrap();
        self.client = self.connected(other.id).await;
    }

    /// A client of a node that may have begun a moment ago.
    pub async fn connected(&self, id: u64) -> Client {
        let deadline = Instant::now() + PATIENCE;
        let node = self.cluster.nodes.iter().find(|node| node.id == id).unwrap();
        while Instant::now() < deadline {
            if let Ok(client) = self.cluster.root(node).await {
                return client;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("node {id} lets nobody in");
    }

    pub async fn run(&self, statement: &str) -> Vec<Row> {
        let ran = rows_of(&self.client, statement).await;
        ran.unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// What only reads, asked again while nobody leads.
    pub async fn asked(&self, statement: &str) -> Vec<Row> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match rows_of(&self.client, statement).await {
                Err(error) if error.starts_with("57P03") && Instant::now() < deadline => {}
                other => return other.unwrap_or_else(|error| panic!("{statement}: {error}")),
            }
        }
    }

    /// Each row as one text.
    pub async fn lines(&self, statement: &str) -> Vec<String> {
        self.run(statement).await.into_iter().map(|row| format!("{row:?}")).collect()
    }

    /// SQLSTATE and message.
    pub async fn refused(&self, statement: &str) -> String {
        rows_of(&self.client, statement).await.expect_err(statement)
    }

    /// Statements that must be refused so; what is said may go on.
    pub async fn refuses(&self, cases: &[(String, &str)]) {
        for (statement, text) in cases {
            let refused = self.refused(statement).await;
            assert!(refused.starts_with(text), "{statement}: {refused}");
        }
    }

    pub async fn job(&self, id: &str) -> Row {
        self.run(&format!("SHOW JOB {id}")).await.remove(0)
    }

    /// The status of a job as soon as it is one of these.
    pub async fn until_status(&self, id: &str, wanted: &[&str]) -> String {
        let show = format!("SHOW JOB {id}");
        let status = async || {
            // While a leader is chosen there is no answer.
            let rows = rows_of(&self.client, &show).await.ok()?;
            Some(rows.first()?["status"].clone())
        };
        let is_so = async || status().await.is_some_and(|status| wanted.contains(&&*status));
        until(&format!("job {id} is one of {wanted:?}"), is_so).await;
        status().await.unwrap_or_default()
    }

    pub async fn databases(&self) -> Vec<String> {
        self.run("SHOW DATABASES").await.into_iter().map(|row| row["database_name"].clone()).collect()
    }
}

pub async fn rows_of(client: &Client, statement: &str) -> Result<Vec<Row>, String> {
    let messages = client.simple_query(statement).await.map_err(|error| match error.as_db_error() {
        Some(error) => format!("{} {}", error.code().code(), error.message()),
        None => error.to_string(),
    })?;
    let row = |message: &SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => {
            let cell = |(at, column): (usize, &tokio_postgres::SimpleColumn)| {
                (column.name().to_owned(), row.get(at).unwrap_or("NULL").to_owned())
            };
            Some(row.columns().iter().enumerate().map(cell).collect())
        }
        _ => None,
    };
    Ok(messages.iter().filter_map(row).collect())
}
