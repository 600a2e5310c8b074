//! Clusters of real processes in a temporary directory, each node with its own data, certificate and ports.

use std::fs::File;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use grantd_node::admin::{self, Answer, ChecksumReport, MemberReport, Request, StatusReport};
use grantd_node::cert;
use grantd_node::pgclient::{self, Login};
use tempfile::TempDir;

/// How long a cluster may take for anything that a test waits for. Generous: a debug build on two busy cores.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// A node that lacks no more entries than this has caught up: under load it is never quite level.
const CAUGHT_UP: u64 = 200;
/// How often a state is looked at while it is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A cluster of processes. Dropping it kills them.
pub struct Cluster {
    /// Holds everything; removed at the end unless `GRANTD_KEEP` is set.
    directory: TempDir,
    /// Further arguments of `grantd start`, for nodes that are added later.
    pub arguments: Vec<String>,
    /// Its nodes in the order in which they were added; also those that are down.
    pub nodes: Vec<Node>,
}

/// One node: its files and ports, and its process while it runs.
pub struct Node {
    /// Its number.
    pub id: u64,
    /// Its data directory.
    pub data: PathBuf,
    /// Its certificates.
    pub certs: PathBuf,
    /// Its UDP port.
    pub raft_port: u16,
    /// Its TCP port.
    pub sql_port: u16,
    /// Further arguments of `grantd start`.
    pub arguments: Vec<String>,
    /// Variables of its environment, which has no others.
    pub environment: Vec<(String, String)>,
    /// Whom it asks to be let in: the nodes that were there before it, as `host:port` with commas.
    pub join: String,
    /// A program and its arguments that run `grantd` in their turn, to limit it for example. Empty: none.
    pub under: Vec<String>,
    log: PathBuf,
    process: Option<Child>,
}

/// The `grantd` that cargo built beside this test.
///
/// `cargo test --workspace` builds it. Panics with the way out if it is not there.
pub fn binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test.parent().and_then(Path::parent).expect("target/<profile>/deps/<test>");
    let binary = profile.join("grantd");
    assert!(
        binary.exists(),
        "`{}` is not built: run `cargo test --workspace`, or `cargo build -p grantd-node` first",
        binary.display()
    );
    binary
}

impl Cluster {
    /// Starts `count` nodes that know each other's addresses, makes a cluster of them, and waits until each of them
    /// votes and answers.
    pub async fn start(count: u64) -> Self {
        Self::start_with(count, &[]).await
    }

    /// The same, with further arguments for every node.
    pub async fn start_with(count: u64, arguments: &[&str]) -> Self {
        let mut cluster = Self::prepare(count, arguments);
        cluster.launch().await;
        cluster
    }

    /// Files and ports of `count` nodes, none of which runs yet.
    pub fn prepare(count: u64, arguments: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("grantd-").tempdir().expect("a temporary directory");
        let options = cert::Options { days: 2, overwrite: false };
        cert::create_ca(&directory.path().join("ca"), &options).expect("a CA");
        let ca = directory.path().join("ca");
        cert::create_client(&ca, &ca, "root", &options).expect("a certificate for root");
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let mut cluster = Self { directory, arguments, nodes: Vec::new() };
        for _ in 0..count {
            cluster.add_node();
        }
        cluster
    }

    /// Starts what is prepared, makes a cluster of it, and waits until each node votes and answers.
    pub async fn launch(&mut self) {
        for node in &mut self.nodes {
            node.start();
        }
        self.nodes[0].until("its admin socket answers", async |node| node.status().await.is_some()).await;
        let answer = self.nodes[0].admin(&Request::Init).await;
        assert_eq!(answer, Some(Answer::Done), "init");
        self.until_all_vote().await;
    }

    /// Prepares files and ports of one more node, with the next number. It does not run yet.
    pub fn add_node(&mut self) -> &mut Node {
        let id = self.nodes.iter().map(|node| node.id).max().unwrap_or(0) + 1;
        let root = self.directory.path().join(format!("node{id}"));
        let certs = root.join("certs");
        std::fs::create_dir_all(&certs).expect("a certs directory");
        std::fs::copy(self.ca().join(cert::CA_CERT), certs.join(cert::CA_CERT))
            .expect("a copy of the CA's certificate");
        let options = cert::Options { days: 2, overwrite: false };
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        cert::create_node(&self.ca(), &certs, id, &hosts, &options).expect("a node certificate");
        let (raft_port, sql_port) = (free_udp_port(), free_tcp_port());
        let join = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.raft_port)).collect::<Vec<_>>();
        self.nodes.push(Node {
            id,
            data: root.join("data"),
            certs,
            raft_port,
            sql_port,
            arguments: self.arguments.clone(),
            environment: Vec::new(),
            under: Vec::new(),
            join: join.join(","),
            log: root.join("log"),
            process: None,
        });
        self.nodes.last_mut().expect("just added")
    }

    /// Where the CA and root's certificate are.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join("ca")
    }

    /// The node with this number.
    pub fn node(&mut self, id: u64) -> &mut Node {
        self.nodes.iter_mut().find(|node| node.id == id).expect("a node of this cluster")
    }

    /// Waits until every running node is a voter in the eyes of one leader.
    pub async fn until_all_vote(&self) {
        let running = self.nodes.iter().filter(|node| node.process.is_some()).count();
        until("all nodes vote", async || {
            let Some(status) = self.leader_status().await else { return false };
            status.members.iter().filter(|member| member.voter).count() >= running
        })
        .await;
    }

    /// What the leader says of itself and the others, if a running node leads. One that was deposed and does not know it yet
    /// has a lower term.
    pub async fn leader_status(&self) -> Option<StatusReport> {
        let mut newest: Option<StatusReport> = None;
        for node in self.nodes.iter().filter(|node| node.process.is_some()) {
            if let Some(status) = node.status().await
                && status.server_state == "leader"
                && newest.as_ref().is_none_or(|newest| newest.term < status.term)
            {
                newest = Some(status);
            }
        }
        newest
    }

    /// Waits for a leader and gives its number.
    pub async fn leader(&self) -> u64 {
        until("somebody leads", async || self.leader_status().await.is_some()).await;
        self.leader_status().await.map_or(0, |status| status.node_id)
    }

    /// Waits until all running nodes are at one version, and gives their checksums, which must be equal.
    pub async fn converged_checksum(&self) -> ChecksumReport {
        let mut sums = self.checksums_of_one_version().await;
        for pair in sums.windows(2) {
            assert_eq!(pair[0], pair[1], "replicas of one version differ");
        }
        sums.remove(0)
    }

    /// Waits until all running nodes are at one version, and gives the checksum of each.
    pub async fn checksums_of_one_version(&self) -> Vec<ChecksumReport> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut sums = Vec::new();
            for node in self.nodes.iter().filter(|node| node.process.is_some()) {
                sums.extend(node.checksum().await);
            }
            let running = self.nodes.iter().filter(|node| node.process.is_some()).count();
            if sums.len() == running && sums.windows(2).all(|pair| pair[0].version == pair[1].version) {
                return sums;
            }
            assert!(Instant::now() < deadline, "replicas did not reach one version: {sums:?}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// A client of `node` that logs in with its certificate, as root.
    pub async fn root(&self, node: &Node) -> Result<tokio_postgres::Client, pgclient::ConnectError> {
        pgclient::connect(&self.login(node, "root")).await
    }

    /// How `user` logs in on `node` with its certificate.
    pub fn login(&self, node: &Node, user: &str) -> Login {
        let ca = self.ca();
        Login {
            host: "localhost".to_owned(),
            port: node.sql_port,
            user: user.to_owned(),
            database: "defaultdb".to_owned(),
            ca: ca.join(cert::CA_CERT),
            certificate: Some((ca.join(format!("client.{user}.crt")), ca.join(format!("client.{user}.key")))),
            password: None,
        }
    }

    /// Waits until every running node votes and has all that the leader has.
    pub async fn until_all_caught_up(&self) {
        let running = self.nodes.iter().filter(|node| node.process.is_some()).count();
        until("all nodes have caught up", async || {
            let Some(status) = self.leader_status().await else { return false };
            let near =
                |member: &&MemberReport| member.matched.is_some_and(|at| at + CAUGHT_UP >= status.last_log);
            status.members.iter().filter(near).count() >= running
        })
        .await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            node.kill();
        }
        if std::env::var_os("GRANTD_KEEP").is_some() || std::thread::panicking() {
            self.directory.disable_cleanup(true);
            eprintln!("logs and data are kept in {}", self.directory.path().display());
        }
    }
}

impl Node {
    /// Runs the process. Its log goes to a file beside its data.
    pub fn start(&mut self) {
        let child = self.command().spawn().expect("grantd starts");
        assert!(self.process.replace(child).is_none(), "node {} runs already", self.id);
    }

    /// `grantd start` with this node's files and ports, logging to its file.
    pub fn command(&self) -> Command {
        let log = File::options().create(true).append(true).open(&self.log).expect("a log file");
        let binary = binary().into_os_string();
        let words: Vec<_> = self.under.iter().map(Into::into).chain([binary]).collect();
        let mut command = Command::new(&words[0]);
        command
            .args(&words[1..])
            .arg("start")
            .args(["--data-dir".as_ref(), self.data.as_os_str()])
            .args(["--certs-dir".as_ref(), self.certs.as_os_str()])
            .args(["--listen", &format!("127.0.0.1:{}", self.raft_port)])
            .args(["--sql-listen", &format!("127.0.0.1:{}", self.sql_port)])
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if !self.join.is_empty() {
            command.args(["--join", &self.join]);
        }
        // A node of a test is nothing in any cloud, and looks nowhere for what it could be.
        for flag in ["--aws-source", "--gcp-source"] {
            if !self.arguments.iter().any(|argument| argument == flag) {
                command.args([flag, "none"]);
            }
        }
        command.args(&self.arguments);
        command
    }

    /// The memory that the process holds, in KiB. None: it does not run.
    pub fn resident_kib(&self) -> Option<u64> {
        let id = self.process.as_ref()?.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// What the process has logged so far.
    pub fn logged(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Runs the process, which must refuse to start, to its end: its exit code, and what it says on standard error.
    pub fn refusal(&self) -> (Option<i32>, String) {
        assert!(self.process.is_none(), "node {} runs", self.id);
        let mut child = self.command().stderr(Stdio::piped()).spawn().expect("grantd starts");
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().expect("the process can be waited for").is_none() {
            if Instant::now() > deadline {
                child.kill().expect("the process can be killed");
                break;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        let output = child.wait_with_output().expect("the process can be read");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// SIGTERM, and waits for the end, which must be a normal one.
    pub async fn stop(&mut self) {
        self.signal("-TERM");
        assert_eq!(self.until_exit().await, Some(0), "SIGTERM is a normal end:\n{}", self.logged());
    }

    /// SIGSTOP: all of its threads stand still, wherever they are, and its clock goes on.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT: it goes on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let child = self.process.as_ref().expect("the node runs");
        let told = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(told.expect("kill runs").success(), "node {} takes {signal}", self.id);
    }

    /// SIGKILL, and waits for the end. Nothing if it does not run.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            child.kill().expect("the process can be killed");
            child.wait().expect("the process ends");
        }
    }

    /// Waits until the process ends by itself, and gives its exit code.
    pub async fn until_exit(&mut self) -> Option<i32> {
        self.until_end().await.code()
    }

    /// Waits until the process ends by itself, and gives how it did.
    pub async fn until_end(&mut self) -> ExitStatus {
        let mut child = self.process.take().expect("the node runs");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait().expect("the process can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "node {} did not end:\n{}", self.id, self.logged());
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// How the process ended, if it did; [`Self::until_end`] must still be called.
    pub fn has_ended(&mut self) -> Option<ExitStatus> {
        let child = self.process.as_mut().expect("the node was started");
        child.try_wait().expect("the process can be waited for")
    }

    /// Whether the process runs, as far as this test knows.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Asks the node through its admin socket. None: it did not answer.
    pub async fn admin(&self, request: &Request) -> Option<Answer> {
        admin::ask(&self.data, request).await.ok()
    }

    /// The node's status, if it answers.
    pub async fn status(&self) -> Option<StatusReport> {
        match self.admin(&Request::Status).await {
            Some(Answer::Status(status)) => Some(status),
            _ => None,
        }
    }

    /// The node's checksum, if it answers.
    pub async fn checksum(&self) -> Option<ChecksumReport> {
        match self.admin(&Request::Checksum).await {
            Some(Answer::Checksum(checksum)) => Some(checksum),
            _ => None,
        }
    }

    /// Waits until something is true of this node.
    pub async fn until(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self).await {
            assert!(
                Instant::now() < deadline,
                "node {}: {what}: did not come true within {PATIENCE:?}; its log:\n{}",
                self.id,
                self.logged()
            );
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Waits until something is true.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "{what}: did not come true within {PATIENCE:?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// A UDP port that was free a moment ago. A node keeps its port across restarts, so the system cannot choose it anew.
pub fn free_udp_port() -> u16 {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).expect("a free UDP port");
    socket.local_addr().expect("its address").port()
}

/// A TCP port that was free a moment ago.
pub fn free_tcp_port() -> u16 {
    let socket = TcpListener::bind(("127.0.0.1", 0)).expect("a free TCP port");
    socket.local_addr().expect("its address").port()
}
