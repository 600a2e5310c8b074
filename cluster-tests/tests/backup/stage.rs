//! A cluster in this process, who acts in it, and backups of it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use grantd_catalog::command::Actor;
use grantd_catalog::id::{ObjectId, PrincipalId, Timestamp};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::Refusal;
use grantd_catalog::require::Requirement;
use grantd_node::backup::cipher::Keys;
use grantd_node::backup::collection::{Collection, Which};
use grantd_node::backup::manifest::{Manifest, Targets};
use grantd_node::backup::read::{Backup, RowSink};
use grantd_node::backup::write::{Order, write};
use grantd_node::backup::{BackupError, Job, Progress, names};
use grantd_node::cloud::settings::NodeSettings;
use grantd_node::cloud::storage::{Patience, Storage, StorageSettings, Storages};
use grantd_node::cloud::uri::{Purpose, Uri};
use grantd_node::demo::cluster::Cluster;
use grantd_node::gate::{Gate, Permit};
use grantd_node::pgclient;
use grantd_node::secret::Secret;
use grantd_raft::handle::Handle;
use grantd_raft::rows::Value;
use tokio_postgres::Client;

pub type Rows = Vec<Vec<Value>>;

/// A cluster with a client of root.
pub struct Stage {
    _cluster: Cluster,
    pub handle: Handle,
    pub gate: Gate,
    pub client: Client,
}

/// A job of root.
pub struct Root {
    gate: Gate,
    /// After how many steps it is stopped.
    steps: AtomicUsize,
}

impl Stage {
    pub async fn new() -> Self {
        let cluster = Box::pin(Cluster::start(None)).await.map_err(|failure| failure.to_string()).unwrap();
        let leader = cluster.leader().unwrap();
        let client = pgclient::connect(&cluster.target(leader, "root").login()).await.unwrap();
        let handle = cluster.handle(leader);
        let gate = Gate::new(Arc::new(handle.clone()));
        Self { _cluster: cluster, handle, gate, client }
    }

    pub async fn run(&self, statement: &str) {
        let ran = self.client.batch_execute(statement).await;
        ran.unwrap_or_else(|error| panic!("{statement}: {error:?}"));
    }

    pub async fn now(&self) -> Timestamp {
        self.gate.moment().await.unwrap().1
    }

    pub fn root(&self) -> Root {
        Root::stopped_after(&self.gate, usize::MAX)
    }

    pub fn database(&self, name: &str) -> Targets {
        let view = self.handle.view();
        let found = view.state().children(ObjectId::CLUSTER).find(|(_, object)| object.name.as_str() == name);
        Targets { databases: vec![found.unwrap().0.0], ..Targets::default() }
    }

    /// What is asked for: a full, or a layer upon one.
    pub async fn order(&self, targets: &Targets, full: Option<&str>, revisions: bool) -> Order {
        let (view, time) = self.gate.moment().await.unwrap();
        Order {
            full: full.map_or_else(|| names::full(time), str::to_owned),
            incremental: full.is_some(),
            end: time,
            catalog_time: time,
            view,
            targets: targets.clone(),
            revision_history: revisions,
            cluster: "0a1b2c3d".to_owned(),
            job: "7".to_owned(),
            file_bytes: Some(1),
            checkpoint_every: Duration::ZERO,
        }
    }

    /// Writes it.
    pub async fn write(&self, to: &Collection, order: &Order, keys: &Keys) -> Manifest {
        write(to, order, keys, &self.gate, &self.root()).await.unwrap()
    }

    /// The rows of a table at a time, as the row store tells them.
    pub async fn rows_at(&self, table: ObjectId, time: Timestamp) -> Rows {
        let read = move |past: &grantd_raft::rows::Past<'_>| {
            let mut rows = Vec::new();
            let seen = past.rows_at(table, time, &mut |row| {
                rows.push(row);
                Ok(())
            });
            seen.map(|()| rows)
        };
        sorted(self.handle.past(move |_, past| read(past)).await.unwrap().unwrap())
    }

    /// Whether there was such a table.
    pub async fn was_there(&self, table: ObjectId, time: Timestamp) -> bool {
        let found = self.handle.past(move |_, past| past.object_at(table, time)).await.unwrap();
        found.unwrap().is_some()
    }
}

impl Root {
    pub fn stopped_after(gate: &Gate, steps: usize) -> Self {
        Self { gate: gate.clone(), steps: AtomicUsize::new(steps) }
    }
}

#[async_trait]
impl Job for Root {
    async fn permit(&self, tables: &[ObjectId]) -> Result<Permit, Refusal> {
        let view = self.gate.view().await?;
        let mut requirement = Requirement::default();
        for table in tables.iter().filter(|table| view.state().object(**table).is_some()) {
            requirement.privilege(*table, Privilege::Select);
        }
        self.gate.permit(&view, Actor::of(PrincipalId::ROOT), &requirement)
    }

    async fn step(&self, _: &Progress) -> Result<(), Refusal> {
        let left = self.steps.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| Refusal::new(grantd_node::error::state::QUERY_CANCELED, "stopped"))
    }
}

/// Rows in one order, whatever theirs is.
pub fn sorted(mut rows: Rows) -> Rows {
    rows.sort_by_key(|row| format!("{row:?}"));
    rows
}

/// Files of this machine.
pub async fn files(root: &Path) -> Storage {
    let settings = NodeSettings { external_io_dir: Some(root.to_path_buf()), ..NodeSettings::nowhere() };
    let uri = Uri::parse("nodelocal://self/backups", Purpose::Storage, &settings).unwrap();
    let broker = grantd_node::cloud::broker::Broker::start(
        Arc::new(grantd_node::cloud::aws::Aws::new(
            &settings,
            grantd_node::cloud::aws::Environment::only(&[]),
            "grantd-0a1b2c3d-1".to_owned(),
        )),
        1,
        grantd_node::audit::Audit::default(),
    );
    let storages = Storages::new(1, settings, broker, StorageSettings::default);
    storages.open(&uri, None, "a test", Patience::Statement).await.unwrap()
}

pub fn passphrase(text: &str) -> Keys {
    Keys::Passphrase(Secret::new(text.to_owned()))
}

/// The newest backup of a collection.
pub async fn open(
    collection: &Collection,
    as_of: Option<Timestamp>,
    keys: &Keys,
) -> Result<Backup, BackupError> {
    Backup::open(collection, &Which::Latest, as_of, keys).await
}

struct Taken(Vec<Rows>);

#[async_trait]
impl RowSink for Taken {
    async fn rows(&mut self, rows: Rows) -> Result<(), Refusal> {
        self.0.push(rows);
        Ok(())
    }
}

/// Each table of a backup, with its rows in the order in which they come.
pub async fn contents(backup: &Backup) -> Vec<(ObjectId, Rows)> {
    let mut all = Vec::new();
    for table in backup.tables().unwrap() {
        let mut taken = Taken(Vec::new());
        backup.rows(&table, &mut taken).await.unwrap();
        all.push((table.id, taken.0.concat()));
    }
    all
}
