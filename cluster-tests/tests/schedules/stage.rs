//! Three nodes that are the user of a chain of two roles, and a small database.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use grantd_cluster_tests::cloud::aws::Aws;
use grantd_cluster_tests::cloud::world::{Chained, World};
use grantd_cluster_tests::https::Https;
use grantd_cluster_tests::process::{Cluster, PATIENCE, free_tcp_port, until};
use tokio_postgres::{Client, SimpleQueryMessage};

const BUCKET: &str = "first";

/// A row of a result, by the names of its columns.
pub type Row = BTreeMap<String, String>;

pub struct Stage {
    pub aws: Aws,
    pub chained: Chained,
    pub cluster: Cluster,
    pub client: Client,
    https: Vec<u16>,
}

impl Stage {
    pub async fn new() -> Self {
        let (world, chained) = World::chain("schedules", 2, BUCKET);
        let (aws, keys) = Aws::of(&world).await;
        let keys = &keys[&chained.user];
        let endpoint = aws.endpoint();
        let arguments =
            ["--aws-source", "environment", "--aws-sts-endpoint", &endpoint, "--aws-region", "us-east-1"];
        let mut cluster = Cluster::prepare(3, &arguments);
        let mut https = Vec::new();
        for node in &mut cluster.nodes {
            node.environment = vec![
                ("AWS_ACCESS_KEY_ID".to_owned(), keys.access_key_id.clone()),
                ("AWS_SECRET_ACCESS_KEY".to_owned(), keys.secret_access_key.clone()),
                ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
                ("HOME".to_owned(), "/nonexistent".to_owned()),
            ];
            let port = free_tcp_port();
            https.push(port);
            node.arguments.extend(["--http-listen".to_owned(), format!("127.0.0.1:{port}")]);
        }
        cluster.launch().await;
        let client = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
        let stage = Self { aws, chained, cluster, client, https };
        for statement in [
            "SET CLUSTER SETTING grantd.jobs.claim_lease = '2s'",
            "SET CLUSTER SETTING jobs.registry.interval.adopt = '200ms'",
            "SET CLUSTER SETTING jobs.registry.retry.initial_delay = '500ms'",
            "CREATE DATABASE shop",
            "CREATE TABLE shop.public.t (k INT PRIMARY KEY, v TEXT)",
            "INSERT INTO shop.public.t VALUES (1, 'one'), (2, 'two')",
        ] {
            stage.run(statement).await;
        }
        stage
    }

    /// Asks another node than this one from now on.
    pub async fn connect_elsewhere(&mut self, than: u64) {
        let other = self.cluster.nodes.iter().find(|node| node.id != than).unwrap();
        self.client = self.cluster.root(other).await.expect("root logs in");
    }

    /// A collection in the bucket.
    pub fn uri(&self, path: &str) -> String {
        let (roles, endpoint) = (self.chained.roles.join(","), self.aws.endpoint());
        format!(
            "s3://{BUCKET}/{path}?AUTH=implicit&AWS_REGION=us-east-1&AWS_ENDPOINT={endpoint}&ASSUME_ROLE={roles}"
        )
    }

    /// A schedule of full backups of `shop`, each week. Gives its number.
    pub async fn full_only(&self, label: &str, uri: &str, options: &str) -> String {
        let create = format!(
            "CREATE SCHEDULE '{label}' FOR BACKUP DATABASE shop INTO '{uri}' RECURRING '@weekly' FULL BACKUP ALWAYS \
             WITH SCHEDULE OPTIONS {options}"
        );
        let made = self.run(&create).await;
        assert_eq!(made.len(), 1, "{made:?}");
        made[0]["schedule_id"].clone()
    }

    pub async fn run(&self, statement: &str) -> Vec<Row> {
        self.try_run(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    /// SQLSTATE and message, where it is refused.
    pub async fn try_run(&self, statement: &str) -> Result<Vec<Row>, String> {
        let messages = self.messages(statement).await?;
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

    async fn messages(&self, statement: &str) -> Result<Vec<SimpleQueryMessage>, String> {
        self.client.simple_query(statement).await.map_err(|error| match error.as_db_error() {
            Some(error) => format!("{} {}", error.code().code(), error.message()),
            None => error.to_string(),
        })
    }

    /// The number of the command tag.
    pub async fn tag(&self, statement: &str) -> u64 {
        let messages = self.messages(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        match messages.last() {
            Some(SimpleQueryMessage::CommandComplete(count)) => *count,
            _ => panic!("{statement} was not completed"),
        }
    }

    /// What only reads, asked again while nobody leads.
    pub async fn asked(&self, statement: &str) -> Vec<Row> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.try_run(statement).await {
                Err(error) if error.starts_with("57P03") && Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                other => return other.unwrap_or_else(|error| panic!("{statement}: {error}")),
            }
        }
    }

    pub async fn refused(&self, statement: &str) -> String {
        self.try_run(statement).await.expect_err(statement)
    }

    pub async fn schedule(&self, id: &str) -> Row {
        self.asked(&format!("SHOW SCHEDULE {id}")).await.remove(0)
    }

    pub async fn job(&self, id: &str) -> Row {
        self.asked(&format!("SHOW JOB {id}")).await.remove(0)
    }

    /// The jobs of a schedule, the newest first.
    pub async fn jobs(&self, schedule: &str) -> Vec<Row> {
        let mut jobs = self.asked(&format!("SHOW JOBS FOR SCHEDULE {schedule}")).await;
        jobs.sort_by_key(|job| std::cmp::Reverse(job["job_id"].parse::<i64>().unwrap()));
        jobs
    }

    /// The jobs of a schedule, when there are so many; never more.
    pub async fn until_jobs(&self, schedule: &str, count: usize) -> Vec<Row> {
        let there = async || self.jobs(schedule).await.len() >= count;
        until(&format!("schedule {schedule} has made {count} jobs"), there).await;
        let jobs = self.jobs(schedule).await;
        assert_eq!(jobs.len(), count, "{jobs:?}");
        jobs
    }

    pub async fn until_status(&self, id: &str, status: &str) {
        let is_so = async || self.job(id).await["status"] == status;
        until(&format!("job {id} is {status}"), is_so).await;
    }

    /// Until the nodes together have counted at least so much.
    pub async fn until_metric(&self, name: &str, least: f64) {
        let counted = async || {
            let mut sum = 0.0;
            for port in &self.https {
                let mut https = Https::connect(&self.cluster.ca(), *port, Some("root")).await;
                let text = String::from_utf8(https.get("/metrics", &[]).await.body).unwrap();
                let lines = text.lines().filter(|line| line.starts_with(&format!("{name}{{")));
                sum += lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>();
            }
            sum >= least
        };
        until(&format!("{name} is {least}"), counted).await;
    }
}
