//! Nodes that feed a sink, writers that never rest, and what the table was.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use grantd_cluster_tests::process::Cluster;
use grantd_node::pgclient::{self, Login};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::place::Place;
use super::reader::History;

/// Elections, claims that end, and the waits before a feed begins again, which double.
const PATIENCE: Duration = Duration::from_secs(150);
/// Each writes to keys of its own, so that it knows what became of them.
const WRITERS: i64 = 3;
const KEYS_EACH: i64 = 10;
const KEYS: i64 = WRITERS * KEYS_EACH;
/// Between two commits of a writer.
const REST: Duration = Duration::from_millis(20);
/// After a lost answer: what is on its way from a node that was killed arrives, or never does.
const LOST: Duration = Duration::from_millis(300);
/// What says that a statement may be said again: no leader, nobody knows, too busy, a conflict, a node that goes.
const AGAIN: [&str; 5] = ["57P03", "40003", "53000", "40001", "57P01"];

/// A row of a result, by the names of its columns.
pub type Row = BTreeMap<String, String>;

/// The rows of an answer.
pub fn rows(messages: &[SimpleQueryMessage]) -> Vec<Row> {
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

/// Nodes, one of which runs the feed.
pub struct Stage {
    pub cluster: Cluster,
    session: Session,
}

/// A client that goes to another node when its own is gone.
pub struct Session {
    logins: Vec<Login>,
    client: Option<Client>,
    turn: usize,
}

impl Session {
    fn new(logins: Vec<Login>) -> Self {
        Self { logins, client: None, turn: 0 }
    }

    /// Runs a statement until a node says that it is done.
    pub async fn run(&mut self, statement: &str) -> Vec<Row> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.client.is_none() {
                self.turn += 1;
                self.client = pgclient::connect(&self.logins[self.turn % self.logins.len()]).await.ok();
            }
            if let Some(client) = &self.client {
                match client.simple_query(statement).await {
                    Ok(messages) => return rows(&messages),
                    Err(error) => {
                        let code = error.as_db_error().map(|error| error.code().code());
                        assert!(code.is_none_or(|code| AGAIN.contains(&code)), "{statement}: {error:?}");
                    }
                }
                self.client = None;
                tokio::time::sleep(LOST).await;
            }
            assert!(Instant::now() < deadline, "{statement}: no node answers");
            tokio::time::sleep(REST).await;
        }
    }
}

impl Stage {
    /// Three nodes that know the sink's cloud, and a table.
    pub async fn new(place: &dyn Place) -> Self {
        let arguments = place.arguments();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut cluster = Cluster::prepare(3, &arguments);
        for node in &mut cluster.nodes {
            node.environment = place.environment();
            node.environment.extend([
                ("AWS_EC2_METADATA_DISABLED".to_owned(), "true".to_owned()),
                ("HOME".to_owned(), "/nonexistent".to_owned()),
            ]);
        }
        cluster.launch().await;
        let logins = cluster.nodes.iter().map(|node| cluster.login(node, "root")).collect();
        let mut stage = Self { cluster, session: Session::new(logins) };
        for statement in [
            "SET CLUSTER SETTING cloud.credentials.duration = '3s'",
            "SET CLUSTER SETTING grantd.jobs.claim_lease = '1s'",
            "SET CLUSTER SETTING jobs.registry.interval.adopt = '500ms'",
            "CREATE TABLE t (k INT PRIMARY KEY, v INT)",
        ] {
            stage.run(statement).await;
        }
        stage.run(&format!("INSERT INTO t SELECT s, 0 FROM generate_series(0, {}) AS s", KEYS - 1)).await;
        stage
    }

    pub async fn run(&mut self, statement: &str) -> Vec<Row> {
        self.session.run(statement).await
    }

    pub async fn job(&mut self, id: &str) -> Row {
        self.run(&format!("SHOW JOB {id}")).await.remove(0)
    }

    pub async fn until_job(&mut self, id: &str, what: &str, holds: impl Fn(&Row) -> bool) -> Row {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let job = self.job(id).await;
            if holds(&job) {
                return job;
            }
            assert!(Instant::now() < deadline, "{what}: {job:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The node that runs the feed is killed, and starts again.
    pub async fn kill_its_node(&mut self, id: &str) -> u64 {
        let is_claimed = |job: &Row| job["coordinator_id"] != "NULL" && job["status"] == "running";
        let job = self.until_job(id, "a node runs it", is_claimed).await;
        let node: u64 = job["coordinator_id"].parse().unwrap();
        self.cluster.node(node).kill();
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.cluster.node(node).start();
        self.cluster.until_all_caught_up().await;
        node
    }

    /// Waits until the sink has all that was written. What it has is in order at every moment. How long it took, and how many
    /// messages there are.
    pub async fn until_all_is_there(
        &mut self,
        id: &str,
        place: &dyn Place,
        expected: &History,
    ) -> (Duration, usize) {
        let began = Instant::now();
        loop {
            let (mut found, messages) = place.read().await;
            // A write whose answer was lost may have been done twice.
            found.values_mut().for_each(Vec::dedup);
            if found == *expected {
                return (began.elapsed(), messages);
            }
            if began.elapsed() > PATIENCE {
                let job = self.job(id).await;
                for (key, versions) in expected {
                    if found.get(key) != Some(versions) {
                        eprintln!("{key}:\n  found    {:?}\n  expected {versions:?}", found.get(key));
                    }
                }
                panic!("the sink has not what the table was: {job:?}");
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Writers begin.
    pub fn write(&self) -> Writers {
        let (stop, stopped) = watch::channel(false);
        let logins = |first: i64| {
            let mut logins: Vec<_> =
                self.cluster.nodes.iter().map(|node| self.cluster.login(node, "root")).collect();
            logins.rotate_left(usize::try_from(first).unwrap() % self.cluster.nodes.len());
            logins
        };
        let tasks = (0..WRITERS).map(|number| {
            let session = Session::new(logins(number));
            tokio::spawn(writer(session, number, stopped.clone()))
        });
        Writers { tasks: tasks.collect(), stop }
    }
}

/// Those that write. Told to end, they say what the table was.
pub struct Writers {
    tasks: Vec<JoinHandle<(History, usize)>>,
    stop: watch::Sender<bool>,
}

impl Writers {
    /// Of each key its versions, and how many commits there were.
    pub async fn end(self) -> (History, usize) {
        self.stop.send_replace(true);
        let (mut history, mut commits) = (History::new(), 0);
        for task in self.tasks {
            let (of_one, count) = task.await.expect("a writer ends");
            history.extend(of_one);
            commits += count;
        }
        (history, commits)
    }
}

/// Commits of every kind to keys of its own, each value another, so that one that was done twice is known.
async fn writer(mut session: Session, number: i64, stop: watch::Receiver<bool>) -> (History, usize) {
    let first = number * KEYS_EACH;
    let mut history: History = (first..first + KEYS_EACH).map(|key| (key, vec![Some(0)])).collect();
    let (mut next, mut commits) = (0, 0);
    while !*stop.borrow() {
        next += 1;
        commits += 1;
        let (key, other) = (first + next * 7 % KEYS_EACH, first + (next * 7 + 3) % KEYS_EACH);
        let (value, last) = (next, history[&key].last().copied().flatten());
        let (statement, written) = match (next % 6, last) {
            (0 | 3, Some(_)) => (format!("DELETE FROM t WHERE k = {key}"), vec![(key, None)]),
            // Case 137.
            (1, _) => (
                format!(
                    "BEGIN; UPSERT INTO t VALUES ({key}, -1); UPSERT INTO t VALUES ({key}, {value}); COMMIT"
                ),
                vec![(key, Some(value))],
            ),
            (2, _) => (
                format!("UPSERT INTO t VALUES ({key}, {value}), ({other}, {value})"),
                vec![(key, Some(value)), (other, Some(value))],
            ),
            (4, Some(_)) => (format!("UPDATE t SET v = {value} WHERE k = {key}"), vec![(key, Some(value))]),
            _ => (format!("UPSERT INTO t VALUES ({key}, {value})"), vec![(key, Some(value))]),
        };
        session.run(&statement).await;
        for (key, value) in written {
            history.get_mut(&key).unwrap().push(value);
        }
        tokio::time::sleep(REST).await;
    }
    (history, commits)
}
