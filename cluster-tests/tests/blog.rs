//! The examples of "Use Cloud IAM Roles from your CockroachDB clusters" (cloud-jobs specification, section 0), statement by
//! statement as they are printed there, on three processes that are what a pod of EKS or GKE is: BACKUP and CHANGEFEED of somebody
//! who is no admin and knows nothing but names of roles, with a missing edge told by name first; what arrives, who did it by the
//! cloud's own log, and back again.
//!
//! Nothing of a statement is changed but what stands in braces: S3 is found under AWS's own names, through a proxy of the nodes'
//! environment that leads to the double; STS is where `AWS_ENDPOINT_URL_STS` says.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "blog/aws.rs"]
mod aws;
#[path = "blog/google.rs"]
mod google;
#[path = "blog/proxy.rs"]
mod proxy;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "feed/reader.rs"]
mod reader;
#[path = "feed/tls.rs"]
mod tls;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use grantd_cluster_tests::process::{Cluster, PATIENCE};
use grantd_node::{cert, pgclient};
use tokio_postgres::{Client, SimpleQueryMessage};

/// A row of a result, by the names of its columns.
type Row = BTreeMap<String, String>;

/// The database, and who works with it: it holds what the documentation asks for, and nothing else.
const PREPARED: &str = "CREATE DATABASE shop; CREATE TABLE shop.public.orders (k INT PRIMARY KEY, v INT); \
                        INSERT INTO shop.public.orders VALUES (1, 10), (2, 20); CREATE USER amy; \
                        GRANT BACKUP ON DATABASE shop TO amy; GRANT CHANGEFEED ON TABLE shop.public.orders TO amy; \
                        GRANT SYSTEM EXTERNALIOIMPLICITACCESS, RESTORE TO amy";

/// Nodes, and somebody who is no admin.
struct Stage {
    cluster: Cluster,
    root: Client,
    amy: Client,
    /// All that she was told.
    told: String,
}

impl Stage {
    /// Three nodes with these arguments and this environment.
    async fn new(arguments: &[&str], environment: &[(String, String)]) -> Self {
        let mut cluster = Cluster::prepare(3, arguments);
        for node in &mut cluster.nodes {
            node.environment = environment.to_vec();
            node.environment.extend([
                ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
                ("HOME".to_owned(), "/nonexistent".to_owned()),
            ]);
        }
        cluster.launch().await;
        let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
        root.batch_execute(PREPARED).await.expect("a database");
        let options = cert::Options { days: 2, overwrite: false };
        cert::create_client(&cluster.ca(), &cluster.ca(), "amy", &options).expect("a certificate");
        let amy = pgclient::connect(&cluster.login(&cluster.nodes[1], "amy")).await.expect("she logs in");
        Self { cluster, root, amy, told: String::new() }
    }

    async fn as_root(&self, statement: &str) {
        self.root.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }

    /// Amy says this. Refused: SQLSTATE and message.
    async fn try_run(&mut self, statement: &str) -> Result<Vec<Row>, String> {
        let result = self.amy.simple_query(statement).await.map_err(|error| match error.as_db_error() {
            Some(said) => {
                self.told += &format!("{said:?}\n");
                format!("{} {}", said.code().code(), said.message())
            }
            None => panic!("{statement}: {error}"),
        });
        let rows = rows(&result?);
        self.told += &format!("{rows:?}\n");
        Ok(rows)
    }

    async fn run(&mut self, statement: &str) -> Vec<Row> {
        self.try_run(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// She says it again until it is done, or refused so.
    async fn until(&mut self, statement: &str, what: &str) -> Result<Vec<Row>, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_run(statement).await {
                Err(error) if error.contains(what) => return Err(error),
                Err(error) => assert!(Instant::now() < deadline, "{statement}: {error}; wanted {what}"),
                done @ Ok(_) => return done,
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// What was backed up there comes back, under this name, to her who restores it.
    async fn comes_back(&mut self, place: &str, name: &str) {
        let shown = self.run(&format!("SHOW BACKUP FROM LATEST IN '{place}' WITH check_files")).await;
        let table = shown.iter().find(|row| row["object_name"] == "orders").expect("the table is in it");
        assert_eq!(table["rows"], "2");
        self.run(&format!("RESTORE DATABASE shop FROM LATEST IN '{place}' WITH new_db_name = '{name}'"))
            .await;
        let rows = self.run(&format!("SELECT k, v FROM {name}.public.orders ORDER BY k")).await;
        let rows: Vec<_> = rows.iter().map(|row| (&*row["k"], &*row["v"])).collect();
        assert_eq!(rows, [("1", "10"), ("2", "20")]);
    }

    /// What she was told, what was logged, and what listings of jobs say has none of these.
    async fn has_no(&mut self, secrets: &[String]) {
        self.run("SHOW JOBS").await;
        let logs = self.cluster.nodes.iter().map(grantd_cluster_tests::process::Node::logged);
        let told: String = logs.chain([self.told.clone()]).collect();
        assert!(!secrets.is_empty());
        assert!(secrets.iter().all(|secret| !told.contains(secret)), "a secret came out");
    }
}

/// The messages of a feed of `orders`, and whether it was told how far it is.
fn arrived(lines: &[String]) -> bool {
    let is = |k: u32, v: u32| {
        let start = format!("{{\"after\": {{\"k\": {k}, \"v\": {v}}}, \"key\": [{k}]");
        lines.iter().any(|line| line.starts_with(&start) && line.contains("\"updated\": \""))
    };
    is(1, 10) && is(2, 20) && lines.iter().any(|line| line.starts_with("{\"resolved\":\""))
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
