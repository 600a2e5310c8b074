//! Three nodes, each a process of its own, which ends when this is dropped.

use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use grantd_node::admin::{self, Answer, Request, StatusReport};
use grantd_node::cert;
use grantd_node::pgclient::Login;
use tempfile::TempDir;

type Failed = Box<dyn std::error::Error>;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a state is looked at while it is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// Nodes of the cluster.
const NODES: u64 = 3;

/// A process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Three nodes, each a process.
pub struct Nodes {
    processes: Vec<Process>,
    directory: TempDir,
    sql_ports: Vec<u16>,
}

impl Nodes {
    /// Starts them and waits until all vote. `grantd` is the one beside this program.
    pub async fn start() -> Result<Self, Failed> {
        let program = std::env::current_exe()?.with_file_name("grantd");
        if !program.exists() {
            return Err(
                format!("{} is not built: cargo build --release -p grantd-node", program.display()).into()
            );
        }
        let directory = TempDir::new()?;
        let options = cert::Options { days: 2, overwrite: false };
        let ca = directory.path().join("ca");
        cert::create_ca(&ca, &options)?;
        cert::create_client(&ca, &ca, "root", &options)?;
        let mut nodes = Self { processes: Vec::new(), directory, sql_ports: Vec::new() };
        let mut joined: Vec<String> = Vec::new();
        for id in 1..=NODES {
            let address = format!("127.0.0.1:{}", UdpSocket::bind(("127.0.0.1", 0))?.local_addr()?.port());
            nodes.add(&program, id, &address, &joined.join(","))?;
            joined.push(address);
        }
        let deadline = Instant::now() + PATIENCE;
        let mut initialized = false;
        loop {
            if !initialized && nodes.status(1).await.is_some() {
                initialized = admin::ask(&nodes.data(1), &Request::Init).await.is_ok();
            }
            let leader = nodes.leader().await;
            let votes = |status: &StatusReport| status.members.iter().filter(|member| member.voter).count();
            if leader.is_some_and(|status| votes(&status) as u64 == NODES) {
                return Ok(nodes);
            }
            if Instant::now() >= deadline {
                return Err("the nodes made no cluster".into());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// How root logs in on a node that does not lead.
    pub async fn follower(&self) -> Result<Login, Failed> {
        let leader = self.leader().await.ok_or("nobody leads")?.node_id;
        let id = (1..=NODES).find(|id| *id != leader).ok_or("one node only")?;
        let ca = self.directory.path().join("ca");
        Ok(Login {
            host: "localhost".to_owned(),
            port: self.sql_ports[usize::try_from(id - 1)?],
            user: "root".to_owned(),
            database: "defaultdb".to_owned(),
            ca: ca.join(cert::CA_CERT),
            certificate: Some((ca.join("client.root.crt"), ca.join("client.root.key"))),
            password: None,
        })
    }

    fn add(&mut self, program: &Path, id: u64, address: &str, join: &str) -> Result<(), Failed> {
        let certs = self.root(id).join("certs");
        std::fs::create_dir_all(&certs)?;
        let ca = self.directory.path().join("ca");
        std::fs::copy(ca.join(cert::CA_CERT), certs.join(cert::CA_CERT))?;
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        cert::create_node(&ca, &certs, id, &hosts, &cert::Options { days: 2, overwrite: false })?;
        let port = free_port()?;
        let mut command = Command::new(program);
        command
            .arg("start")
            .args(["--data-dir".as_ref(), self.data(id).as_os_str()])
            .args(["--certs-dir".as_ref(), certs.as_os_str()])
            .args(["--listen", address, "--sql-listen", &format!("127.0.0.1:{port}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if !join.is_empty() {
            command.args(["--join", join]);
        }
        self.processes.push(Process(command.spawn()?));
        self.sql_ports.push(port);
        Ok(())
    }

    async fn leader(&self) -> Option<StatusReport> {
        for id in 1..=NODES {
            let status = self.status(id).await;
            if status.as_ref().is_some_and(|status| status.server_state == "leader") {
                return status;
            }
        }
        None
    }

    async fn status(&self, id: u64) -> Option<StatusReport> {
        match admin::ask(&self.data(id), &Request::Status).await {
            Ok(Answer::Status(status)) => Some(status),
            _ => None,
        }
    }

    fn root(&self, id: u64) -> PathBuf {
        self.directory.path().join(format!("node{id}"))
    }

    fn data(&self, id: u64) -> PathBuf {
        self.root(id).join("data")
    }
}

/// A TCP port that was free a moment ago.
fn free_port() -> Result<u16, Failed> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
