//! Three nodes, each a process of its own, which ends when this is dropped, and may be stopped or killed before.

use std::ffi::OsString;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use grantd_node::admin::{self, Answer, Request, StatusReport};
use grantd_node::cert;
use grantd_node::pgclient::Login;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

type Failed = Box<dyn std::error::Error>;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a state is looked at while it is waited for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// A node that lacks no more entries than this has caught up.
const NEAR: u64 = 10;
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
    members: Vec<Member>,
    directory: TempDir,
}

struct Member {
    /// None while it is down.
    process: Option<Process>,
    program: PathBuf,
    arguments: Vec<OsString>,
    /// None: that of this process.
    environment: Option<Vec<(String, String)>>,
    sql_port: u16,
    http_port: u16,
}

/// What nodes get beside the usual.
#[derive(Clone, Debug, Default)]
pub struct Extra {
    /// Arguments of `grantd start`.
    pub arguments: Vec<String>,
    /// All of their environment; none: that of this process.
    pub environment: Option<Vec<(String, String)>>,
}

impl Member {
    fn spawn(&mut self) -> std::io::Result<()> {
        let mut command = Command::new(&self.program);
        if let Some(environment) = &self.environment {
            command.env_clear().envs(environment.iter().map(|(name, value)| (name, value)));
        }
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(Process(command.spawn()?));
        Ok(())
    }
}

impl Nodes {
    /// The program that they run: the one beside this program.
    pub fn program() -> Result<PathBuf, Failed> {
        let program = std::env::current_exe()?.with_file_name("grantd");
        if program.exists() {
            return Ok(program);
        }
        Err(format!("{} is not built: cargo build --release -p grantd-node", program.display()).into())
    }

    /// Starts them and waits until all vote. `grantd` is the one beside this program.
    pub async fn start() -> Result<Self, Failed> {
        Self::start_with(&Extra::default()).await
    }

    /// The same, with further arguments or another environment.
    pub async fn start_with(extra: &Extra) -> Result<Self, Failed> {
        let program = Self::program()?;
        let directory = TempDir::new()?;
        let options = cert::Options { days: 2, overwrite: false };
        let ca = directory.path().join("ca");
        cert::create_ca(&ca, &options)?;
        cert::create_client(&ca, &ca, "root", &options)?;
        let mut nodes = Self { members: Vec::new(), directory };
        let mut joined: Vec<String> = Vec::new();
        for id in 1..=NODES {
            let address = format!("127.0.0.1:{}", UdpSocket::bind(("127.0.0.1", 0))?.local_addr()?.port());
            nodes.add(&program, id, &address, &joined.join(","), extra)?;
            joined.push(address);
        }
        let deadline = Instant::now() + PATIENCE;
        while nodes.status(1).await.is_none() || admin::ask(&nodes.data(1), &Request::Init).await.is_err() {
            if Instant::now() >= deadline {
                return Err("the first node made no cluster".into());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        nodes.until_all_vote().await?;
        Ok(nodes)
    }

    /// Waits until somebody leads, and all vote and answer it.
    pub async fn until_all_vote(&self) -> Result<(), Failed> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leader = self.leader().await;
            let votes = |status: &StatusReport| {
                let near = |at: Option<u64>| at.is_some_and(|at| at + NEAR >= status.last_log);
                status.members.iter().filter(|member| member.voter && near(member.matched)).count()
            };
            if leader.is_some_and(|status| votes(&status) as u64 == NODES) {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err("the nodes made no cluster".into());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// How root logs in on a node that does not lead.
    pub async fn follower(&self) -> Result<Login, Failed> {
        self.login(self.followers(self.leader_id().await?)[0])
    }

    /// How root logs in on the node that leads.
    pub async fn leader_login(&self) -> Result<Login, Failed> {
        self.login(self.leader_id().await?)
    }

    /// Who leads.
    pub async fn leader_id(&self) -> Result<u64, Failed> {
        Ok(self.leader().await.ok_or("nobody leads")?.node_id)
    }

    /// The two that do not.
    pub fn followers(&self, leader: u64) -> [u64; 2] {
        [leader % NODES + 1, (leader + 1) % NODES + 1]
    }

    /// SIGSTOP: it stands still.
    pub fn pause(&self, id: u64) -> Result<(), Failed> {
        self.signal(id, Signal::STOP)
    }

    /// SIGCONT: it goes on.
    pub fn resume(&self, id: u64) -> Result<(), Failed> {
        self.signal(id, Signal::CONT)
    }

    /// SIGKILL, and waits for its end.
    pub fn kill(&mut self, id: u64) -> Result<(), Failed> {
        self.members[usize::try_from(id - 1)?].process = None;
        Ok(())
    }

    /// Starts a node that was killed.
    pub fn restart(&mut self, id: u64) -> Result<(), Failed> {
        Ok(self.members[usize::try_from(id - 1)?].spawn()?)
    }

    /// The numbers of the processes that run.
    pub fn processes(&self) -> impl Iterator<Item = u32> {
        self.members.iter().filter_map(|member| Some(member.process.as_ref()?.0.id()))
    }

    /// The number of a node's process.
    pub fn process_id(&self, id: u64) -> Result<u32, Failed> {
        let process = self.members[usize::try_from(id - 1)?].process.as_ref().ok_or("it does not run")?;
        Ok(process.0.id())
    }

    /// What a node's counters of this name are together, as `curl` is told by its metrics.
    pub fn counted(&self, id: u64, name: &str) -> Result<u64, Failed> {
        let ca = self.directory.path().join("ca");
        let port = self.members[usize::try_from(id - 1)?].http_port;
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--fail"]).arg("--cacert").arg(ca.join(cert::CA_CERT));
        curl.arg("--cert").arg(ca.join("client.root.crt")).arg("--key").arg(ca.join("client.root.key"));
        let said = curl.arg(format!("https://localhost:{port}/metrics")).output()?;
        if !said.status.success() {
            return Err(format!("metrics: {}", String::from_utf8_lossy(&said.stderr)).into());
        }
        let text = String::from_utf8(said.stdout)?;
        let values = text.lines().filter(|line| line.starts_with(name));
        Ok(values.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum())
    }

    /// Where a node's `nodelocal` files are.
    pub fn external(&self, id: u64) -> PathBuf {
        self.data(id).join("extern")
    }

    fn signal(&self, id: u64, signal: Signal) -> Result<(), Failed> {
        let process = self.members[usize::try_from(id - 1)?].process.as_ref().ok_or("it does not run")?;
        let pid = Pid::from_raw(i32::try_from(process.0.id())?).ok_or("a process has a number")?;
        Ok(kill_process(pid, signal)?)
    }

    /// How root logs in on a node.
    pub fn login(&self, id: u64) -> Result<Login, Failed> {
        let ca = self.directory.path().join("ca");
        Ok(Login {
            host: "localhost".to_owned(),
            port: self.members[usize::try_from(id - 1)?].sql_port,
            user: "root".to_owned(),
            database: "defaultdb".to_owned(),
            ca: ca.join(cert::CA_CERT),
            certificate: Some((ca.join("client.root.crt"), ca.join("client.root.key"))),
            password: None,
        })
    }

    fn add(
        &mut self,
        program: &Path,
        id: u64,
        address: &str,
        join: &str,
        extra: &Extra,
    ) -> Result<(), Failed> {
        let certs = self.root(id).join("certs");
        std::fs::create_dir_all(&certs)?;
        let ca = self.directory.path().join("ca");
        std::fs::copy(ca.join(cert::CA_CERT), certs.join(cert::CA_CERT))?;
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        cert::create_node(&ca, &certs, id, &hosts, &cert::Options { days: 2, overwrite: false })?;
        let (port, http_port) = (free_port()?, free_port()?);
        let mut arguments: Vec<OsString> = vec!["start".into(), "--data-dir".into(), self.data(id).into()];
        arguments.extend(["--certs-dir".into(), certs.into(), "--listen".into(), address.into()]);
        arguments.extend(["--sql-listen".into(), format!("127.0.0.1:{port}").into()]);
        if !join.is_empty() {
            arguments.extend(["--join".into(), join.into()]);
        }
        arguments.extend(["--http-listen".into(), format!("127.0.0.1:{http_port}").into()]);
        arguments.extend(extra.arguments.iter().map(Into::into));
        let (program, environment) = (program.to_owned(), extra.environment.clone());
        let mut member = Member { process: None, program, arguments, environment, sql_port: port, http_port };
        member.spawn()?;
        self.members.push(member);
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

    /// Where a node keeps what it has.
    pub fn data(&self, id: u64) -> PathBuf {
        self.root(id).join("data")
    }
}

/// A TCP port that was free a moment ago.
fn free_port() -> Result<u16, Failed> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
