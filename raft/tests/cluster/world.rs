//! Nodes, statements and waits for the tests of a cluster.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use grantd_catalog::command::{
    Actor, Command, NameContext, ObjectName, Outcome, RoleSpec, TablePattern, Targets,
};
use grantd_catalog::decide::{Decision, decide};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::{Check, Column, ColumnType, Expression, Table};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::require::Requirement;
use grantd_catalog::view::View;
use grantd_raft::config::{NodeId, RaftConfig, Tuning};
use grantd_raft::entry::Proposal;
use grantd_raft::handle::{
    Checksum, ForwardHandler, Handle, Options, Receipt, RowWrite, StartError, Unavailable, WriteRefused,
    start_with,
};
use grantd_raft::rows::{Extensions, RowSet, Transaction, Value};
use grantd_raft::transport::memory::Hub;
use tempfile::TempDir;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Cluster {
    pub hub: Hub,
    directory: TempDir,
    nodes: BTreeMap<NodeId, Node>,
    tuning: Tuning,
}

pub struct Node {
    pub handle: Handle,
}

impl Cluster {
    pub fn new() -> Self {
        Self {
            hub: Hub::new(),
            directory: tempfile::tempdir().unwrap(),
            nodes: BTreeMap::new(),
            tuning: Tuning {
                heartbeat_interval: Duration::from_millis(60),
                election_timeout_min: Duration::from_millis(400),
                request_timeout: Duration::from_secs(8),
                ..Tuning::default()
            },
        }
    }

    pub async fn of_three() -> Self {
        Self::of_three_with(|_| {}).await
    }

    pub async fn of_three_with(tune: impl FnOnce(&mut Tuning)) -> Self {
        let mut cluster = Self::new();
        tune(&mut cluster.tuning);
        cluster.start(1, &[]).await;
        cluster.node(1).handle.initialize().await.unwrap();
        let first = cluster.node(1).address();
        for id in [2, 3] {
            cluster.start(id, &[&first]).await;
        }
        cluster.voters(&[1, 2, 3]).await;
        cluster
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[&id]
    }

    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    pub fn path(&self, id: NodeId) -> PathBuf {
        self.directory.path().join(format!("node-{id}"))
    }

    pub async fn start(&mut self, id: NodeId, join: &[&str]) {
        self.try_start(id, id, join).await.unwrap();
    }

    /// Starts a node in the directory of another one.
    pub async fn try_start(
        &mut self,
        id: NodeId,
        directory: NodeId,
        join: &[&str],
    ) -> Result<(), StartError> {
        self.try_start_at(id, directory, join, format!("node-{id}:1")).await
    }

    pub async fn start_at(&mut self, id: NodeId, address: &str) {
        self.try_start_at(id, id, &[], address.to_owned()).await.unwrap();
    }

    async fn try_start_at(
        &mut self,
        id: NodeId,
        directory: NodeId,
        join: &[&str],
        address: String,
    ) -> Result<(), StartError> {
        let nowhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let config = RaftConfig {
            node_id: id,
            directory: self.path(directory),
            listen: nowhere,
            advertise: address.clone(),
            advertise_sql: format!("node-{id}:2"),
            join: join.iter().map(|address| (*address).to_owned()).collect(),
            ca_pem: Vec::new(),
            cert_pem: Vec::new(),
            key_pem: Vec::new(),
            tuning: self.tuning.clone(),
        };
        let transport = self.hub.transport(id, &address);
        // A test that fails must not take the others with it.
        let options = Options { on_fatal: Arc::new(|_| {}), ..Options::new(transport) };
        let handle = start_with(config, Extensions::default(), options).await?;
        self.nodes.insert(id, Node { handle });
        Ok(())
    }

    pub async fn stop(&mut self, id: NodeId) {
        let node = self.nodes.remove(&id).unwrap();
        node.handle.shutdown().await;
    }

    /// What its directory and the folders below hold, with the rights of each file.
    pub fn files(&self, id: NodeId) -> BTreeMap<String, u32> {
        let folders = [self.path(id), self.path(id).join("snapshots")];
        let entries =
            folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap().map(Result::unwrap));
        let files = entries.filter(|entry| entry.file_type().unwrap().is_file());
        files
            .map(|file| {
                let mode = file.metadata().unwrap().permissions().mode() & 0o777;
                (file.file_name().into_string().unwrap(), mode)
            })
            .collect()
    }

    pub fn wipe(&self, id: NodeId) {
        std::fs::remove_dir_all(self.path(id)).unwrap();
    }

    pub async fn shutdown(&mut self) {
        for node in std::mem::take(&mut self.nodes).into_values() {
            node.handle.shutdown().await;
        }
    }

    /// The node that leads and that the others follow.
    pub async fn leader(&self) -> &Node {
        let known = wait_for("one leader", || {
            let leaders: Vec<_> = self.nodes().map(|node| node.handle.status().leader).collect();
            let first = leaders[0]?;
            let leads = self.nodes.get(&first)?.handle.status().server_state == "leader";
            (leads && leaders.iter().all(|leader| *leader == Some(first))).then_some(first)
        });
        &self.nodes[&known.await]
    }

    pub async fn follower(&self) -> NodeId {
        let leader = self.leader().await.id();
        self.nodes.keys().copied().find(|id| *id != leader).unwrap()
    }

    /// Waits until exactly these vote, in the eyes of all nodes.
    pub async fn voters(&self, ids: &[NodeId]) {
        let agreed = wait_for("the voters", || {
            let all = self.nodes().all(|node| {
                let members = node.handle.status().members;
                members.iter().map(|member| member.id).eq(ids.iter().copied())
                    && members.iter().all(|member| member.voter)
            });
            all.then_some(())
        });
        agreed.await;
    }

    /// Waits until a node's log begins after `index`.
    pub async fn purged(&self, id: NodeId, index: i64) {
        let file = self.path(id).join("raft.db");
        let purged = wait_for("the purge", || {
            let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
            let log = rusqlite::Connection::open_with_flags(&file, flags).ok()?;
            let first: Option<i64> = log.query_row("SELECT min(idx) FROM log", [], |row| row.get(0)).ok()?;
            first.filter(|first| *first > index)
        });
        purged.await;
    }

    /// Waits until a node says that it has a snapshot of at least `index`: Raft says so a moment after the state is there.
    pub async fn installed(&self, id: NodeId, index: u64) {
        wait_for("the snapshot", || (self.node(id).handle.status().snapshot >= index).then_some(())).await;
    }

    /// Waits until all nodes know where a member is.
    pub async fn member_at(&self, id: NodeId, address: &str) {
        let known = wait_for("the address", || {
            let all = self.nodes().all(|node| {
                let members = node.handle.status().members;
                members.iter().any(|member| member.id == id && member.raft_address == address)
            });
            all.then_some(())
        });
        known.await;
    }

    /// Waits until all nodes are at one version, and compares what they hold.
    pub async fn equal_checksums(&self) -> Checksum {
        let highest = self.leader().await.handle.linearizable().await.unwrap().version();
        let mut sums = Vec::new();
        for node in self.nodes() {
            node.handle.at_least(highest).await.unwrap();
            sums.push(node.handle.checksum().await.unwrap());
        }
        for sum in &sums {
            assert_eq!(sum, &sums[0]);
        }
        sums.remove(0)
    }
}

async fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

impl Node {
    pub fn id(&self) -> NodeId {
        self.handle.node_id()
    }

    pub fn address(&self) -> String {
        format!("node-{}:1", self.id())
    }

    /// Proposes as root what must not be refused.
    pub async fn ok(&self, command: Command) -> Receipt {
        let receipt = self.handle.propose(proposal(root(), vec![command])).await;
        let receipt = receipt.unwrap_or_else(|error| panic!("{error}: {:?}", self.handle.status()));
        assert!(matches!(receipt.outcomes.as_slice(), [Outcome::Done(_)]), "{receipt:?}");
        receipt
    }

    /// Says so by its first answer. A node that waits for an election on a busy machine has none, which is no wrong one.
    pub async fn sees_role(&self, name: &str) -> bool {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let view = loop {
            match self.handle.linearizable().await {
                Err(Unavailable::NoLeader(_)) if tokio::time::Instant::now() < deadline => {}
                answer => break answer.unwrap(),
            }
        };
        view.state().principal_id(&RoleName::normalize(name)).is_some()
    }

    pub fn principal(&self, name: &str) -> PrincipalId {
        self.handle.view().state().principal_id(&RoleName::normalize(name)).unwrap()
    }

    pub async fn make_table(&self, name: &str) -> TestTable {
        self.ok(create_table(name)).await;
        let id = self.handle.view().state().resolve_relation(&context(), &object(name)).unwrap();
        TestTable { id, stored: format!("t{id}") }
    }

    pub async fn rows(&self, table: &TestTable) -> Vec<Vec<Value>> {
        let sql = format!("SELECT * FROM {}", table.stored);
        self.handle.read_rows(move |_, rows| rows.run(&sql, &[]).unwrap().rows).await.unwrap()
    }

    pub async fn write(&self, write: Write) -> (Ran, Result<Receipt, Unavailable>) {
        let done = Arc::new(std::sync::Mutex::new(Ran::default()));
        let write = Write { done: Arc::clone(&done), ..write };
        let (_write, receipt) = self.handle.write_rows(Box::new(write)).await;
        let ran = done.lock().unwrap().clone();
        (ran, receipt)
    }

    pub async fn failed(&self) -> String {
        tokio::time::timeout(PATIENCE, self.handle.failed()).await.expect("the node fails")
    }

    pub fn serve_echo(&self) {
        self.handle.serve_forwards(Arc::new(Echo(self.id())));
        self.handle.serve_questions(Arc::new(Echo(self.id())));
    }
}

pub struct TestTable {
    pub id: ObjectId,
    pub stored: String,
}

/// One statement of a client, as `node` would run it: decided on the view that it is captured upon.
pub struct Write {
    actor: Actor,
    requirement: Requirement,
    sql: String,
    done: Arc<std::sync::Mutex<Ran>>,
}

/// What came of it the last time that it ran.
#[derive(Clone, Default)]
pub struct Ran {
    result: Option<Result<RowSet, String>>,
    denied: bool,
}

impl Ran {
    pub fn changes(&self) -> u64 {
        self.result.as_ref().unwrap().as_ref().unwrap().changes
    }

    pub fn error(&self) -> Option<&String> {
        self.result.as_ref()?.as_ref().err()
    }

    pub fn denied(&self) -> bool {
        self.denied
    }
}

impl Write {
    pub fn new(actor: Actor, table: &TestTable, privilege: Privilege, sql: &str) -> Self {
        let mut requirement = Requirement::default();
        requirement.privilege(table.id, privilege);
        Self { actor, requirement, sql: sql.replace("{t}", &table.stored), done: Arc::default() }
    }
}

impl RowWrite for Write {
    fn run(
        &mut self,
        view: &Arc<View>,
        rows: &mut dyn Transaction,
    ) -> Result<(Actor, Requirement), WriteRefused> {
        let mut done = self.done.lock().unwrap();
        *done = Ran::default();
        if let Decision::Deny(_) = decide(view, self.actor.current, &self.requirement) {
            done.denied = true;
            return Err(WriteRefused);
        }
        let result = rows.run(&self.sql, &[]).map_err(|error| error.message);
        let failed = result.is_err();
        done.result = Some(result);
        if failed { Err(WriteRefused) } else { Ok((self.actor, self.requirement.clone())) }
    }
}

struct Echo(NodeId);

impl ForwardHandler for Echo {
    fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Bytes> {
        let text = String::from_utf8_lossy(&request).into_owned();
        let answer = format!("node {} heard {text} from {from}", self.0);
        async move { answer.into() }.boxed()
    }
}

pub fn root() -> Actor {
    Actor::of(PrincipalId::ROOT)
}

pub fn user(id: PrincipalId) -> Actor {
    Actor::of(id)
}

pub fn context() -> NameContext {
    NameContext { database: Some(Name::from("defaultdb")), search_path: vec![Name::from("public")] }
}

pub fn proposal(actor: Actor, commands: Vec<Command>) -> Proposal {
    Proposal { actor, context: context(), commands }
}

pub fn object(name: &str) -> ObjectName {
    ObjectName { parts: vec![Name::from(name)] }
}

fn role(name: &str) -> RoleSpec {
    RoleSpec::Name(RoleName::normalize(name))
}

pub fn create_role(name: &str) -> Command {
    Command::CreateRole { name: role(name), is_role: true, if_not_exists: false, options: Vec::new() }
}

pub fn create_table(name: &str) -> Command {
    let column = |name: &str, column_type, nullable| Column {
        name: Name::from(name),
        column_type,
        nullable,
        default: None,
        hidden: false,
        comment: None,
        computed: None,
        identity: None,
    };
    let table = Table {
        columns: vec![
            column("id", ColumnType::Int8, false),
            column("v", ColumnType::Text { chars_max: None }, true),
        ],
        primary_key: vec![0],
        unique: Vec::new(),
        checks: Vec::new(),
        key_name: Name::from("t_pkey"),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
    };
    Command::CreateTable {
        name: object(name),
        table,
        foreign_keys: Vec::new(),
        identities: Vec::new(),
        if_not_exists: false,
    }
}

/// A table with a CHECK, as the row store is to have it.
pub fn checked_table(name: &str, stored: &str) -> Command {
    let mut command = create_table(name);
    if let Command::CreateTable { table, .. } = &mut command {
        let expression =
            Expression { sql: stored.to_owned(), stored: stored.to_owned(), references: Vec::new() };
        table.checks.push(Check { name: Name::from("check"), expression });
    }
    command
}

fn on(table: &str) -> Targets {
    Targets::Tables(vec![TablePattern::Table(object(table))])
}

pub fn grant(privilege: Privilege, table: &str, to: &str) -> Command {
    Command::Grant { privileges: vec![privilege], on: on(table), to: vec![role(to)], grant_option: false }
}

pub fn revoke(privilege: Privilege, table: &str, from: &str) -> Command {
    Command::Revoke {
        privileges: vec![privilege],
        on: on(table),
        from: vec![role(from)],
        grant_option_only: false,
    }
}
