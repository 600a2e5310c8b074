//! Three nodes on loopback, with everything that they need made on the fly.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use grantd_catalog::view::View;
use grantd_raft::config::{NodeId, Tuning};
use grantd_raft::handle::Handle;

use super::{SAMPLE_DATABASE, SAMPLE_PASSWORD, SAMPLE_USER};
use crate::cert;
use crate::check::socket::SOCKET;
use crate::config::cloud::NodeSettings;
use crate::config::{CheckSocket, LogFormat, Settings};
use crate::failure::Failure;
use crate::run::{Node, Stop};
use crate::secret::Secret;
use crate::shell::connection::Target;

/// How many nodes.
pub const NODES: NodeId = 3;
/// How long the nodes may take to become a cluster, and to get over the loss of one.
pub const WAIT_MAX: Duration = Duration::from_secs(30);
/// How often a state that nobody announces is looked at.
const POLL: Duration = Duration::from_millis(20);
/// The demo's certificates end after this many days.
const CERTIFICATE_DAYS: u32 = 30;

/// Running nodes and where they live.
pub struct Cluster {
    nodes: BTreeMap<NodeId, Node>,
    settings: BTreeMap<NodeId, Settings>,
    certs_dir: PathBuf,
    /// Removes the directory when the demo ends; none: it is kept.
    _temporary: Option<tempfile::TempDir>,
}

impl Cluster {
    /// Makes certificates, starts three nodes, and waits until all of them vote.
    pub async fn start(keep: Option<&Path>) -> Result<Self, Failure> {
        let (root, temporary) = match keep {
            Some(directory) => (empty_directory(directory)?, None),
            None => {
                let temporary = tempfile::Builder::new().prefix("grantd-demo-").tempdir();
                let temporary =
                    temporary.map_err(|error| Failure::new("cannot make a directory").because(&error))?;
                (temporary.path().to_path_buf(), Some(temporary))
            }
        };
        let certs_dir = root.join("certs");
        make_certificates(&root, &certs_dir)?;
        let mut cluster =
            Self { nodes: BTreeMap::new(), settings: BTreeMap::new(), certs_dir, _temporary: temporary };
        for id in 1..=NODES {
            cluster.add(&root, id).await?;
        }
        cluster.wait_for("all three nodes to vote", Cluster::all_vote).await?;
        Ok(cluster)
    }

    async fn add(&mut self, root: &Path, id: NodeId) -> Result<(), Failure> {
        let raft = free_udp_port()?;
        let join = self.settings.get(&1).map(|first| first.advertise.clone());
        let settings = Settings {
            data_dir: root.join(format!("node-{id}")),
            certs_dir: root.join(format!("certs-{id}")),
            listen: raft,
            advertise: raft.to_string(),
            sql_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            http_listen: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))),
            check_socket: CheckSocket::Inside,
            sql_advertise: None,
            join: join.into_iter().collect(),
            log_format: LogFormat::Text,
            log_filter: String::new(),
            tuning: Tuning::default(),
            drain_timeout: Duration::from_secs(1),
            sql_memory: grantd_raft::memory::TOTAL_BYTES,
            audit_dir: None,
            check_rate: 0,
            check_burst: 0,
            cloud: NodeSettings {
                external_io_dir: Some(root.join(format!("extern-{id}"))),
                ..NodeSettings::nowhere()
            },
        };
        self.settings.insert(id, settings);
        self.start_node(id).await?;
        if id == 1 {
            let made = self.node(1).handle().initialize().await;
            made.map_err(|error| Failure::new("cannot make a cluster of node 1").because(&error))?;
        }
        Ok(())
    }

    /// Starts a node, for the first time or again: with the same ports, from its directory.
    pub async fn start_node(&mut self, id: NodeId) -> Result<(), Failure> {
        let settings = self.settings.get_mut(&id).expect("the node was added");
        let node = Box::pin(Node::start(settings.clone())).await?;
        settings.sql_listen = node.sql_address();
        self.nodes.insert(id, node);
        Ok(())
    }

    /// Stops a node as if its process had died.
    pub async fn kill_node(&mut self, id: NodeId) {
        if let Some(node) = self.nodes.remove(&id) {
            node.stop(Stop::Now).await;
        }
    }

    /// Stops all nodes.
    pub async fn stop(&mut self) {
        while let Some((_, node)) = self.nodes.pop_last() {
            // Nobody is left to take over, so there is nothing to drain for.
            node.stop(Stop::Now).await;
        }
    }

    /// The nodes that run.
    pub fn running(&self) -> Vec<NodeId> {
        self.nodes.keys().copied().collect()
    }

    /// Who leads, as the running nodes agree. None: they do not, yet.
    pub fn leader(&self) -> Option<NodeId> {
        let mut known = self.nodes.values().map(|node| node.status().leader);
        let first = known.next()??;
        (self.nodes.contains_key(&first) && known.all(|leader| leader == Some(first))).then_some(first)
    }

    /// Where a running node takes checks.
    pub fn check_socket(&self, id: NodeId) -> PathBuf {
        self.settings[&id].data_dir.join(SOCKET)
    }

    /// A running node, as others in this process use it.
    pub fn handle(&self, id: NodeId) -> Handle {
        self.node(id).handle().clone()
    }

    /// The newest view of a running node.
    pub fn view(&self, id: NodeId) -> Arc<View> {
        self.node(id).handle().view()
    }

    /// The index of the last entry of a running node's log.
    pub fn last_log(&self, id: NodeId) -> u64 {
        self.node(id).status().last_log
    }

    fn all_vote(&self) -> bool {
        let voters = |node: &Node| node.status().members.iter().filter(|member| member.voter).count() as u64;
        self.leader().is_some() && self.nodes.values().all(|node| voters(node) == NODES)
    }

    /// Waits for a state of the cluster.
    pub async fn wait_for(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Result<Duration, Failure> {
        let start = Instant::now();
        while !holds(self) {
            if start.elapsed() > WAIT_MAX {
                return Err(Failure::new(format!("waited {} s in vain for {what}", WAIT_MAX.as_secs()))
                    .help("run it again with --log-filter info to see what the nodes say"));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(start.elapsed())
    }

    /// How to reach a node as `user`: with the certificate for root, with the sample password for others.
    pub fn target(&self, id: NodeId, user: &str) -> Target {
        Target {
            host: "localhost".to_owned(),
            port: self.settings.get(&id).expect("the node was added").sql_listen.port(),
            user: user.to_owned(),
            database: if user == "root" { "defaultdb" } else { SAMPLE_DATABASE }.to_owned(),
            certs_dir: self.certs_dir.clone(),
            password: (user != "root").then(|| Secret::new(SAMPLE_PASSWORD.to_owned())),
        }
    }

    /// Where a node answers over HTTPS. None: it does not run.
    pub fn http_address(&self, id: NodeId) -> Option<SocketAddr> {
        self.nodes.get(&id)?.http_address()
    }

    /// A line for each node.
    pub fn describe(&self) -> String {
        let leader = self.leader();
        let mut text = String::new();
        for (id, settings) in &self.settings {
            let role = if leader == Some(*id) { "leader" } else { "follower" };
            writeln!(text, "  node {id}   sql {}   quic {}   {role}", settings.sql_listen, settings.listen)
                .expect("a String takes everything");
        }
        text
    }

    /// How to connect to each node with psql.
    pub fn psql_commands(&self) -> String {
        let certs = self.certs_dir.display();
        let mut text = String::from("\nFrom another terminal, while this runs:\n\n");
        for id in self.settings.keys() {
            let target = self.target(*id, SAMPLE_USER);
            writeln!(
                text,
                "  PGPASSWORD={SAMPLE_PASSWORD} psql 'host=localhost port={} user={SAMPLE_USER} \
                 dbname={SAMPLE_DATABASE} sslmode=verify-full sslrootcert={certs}/ca.crt'",
                target.port
            )
            .expect("a String takes everything");
        }
        text.push('\n');
        text
    }

    fn node(&self, id: NodeId) -> &Node {
        self.nodes.get(&id).expect("the node runs")
    }
}

/// One directory for clients, with the CA; one for each node, without the CA's key.
fn make_certificates(root: &Path, certs_dir: &Path) -> Result<(), Failure> {
    let options = cert::Options { days: CERTIFICATE_DAYS, overwrite: false };
    let failed = |error: cert::CertError| Failure::new("cannot make certificates").because(&error);
    let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    // A day longer than what it signs: clocks go on between the two.
    let ca_options = cert::Options { days: CERTIFICATE_DAYS + 1, ..options };
    cert::create_ca(certs_dir, &ca_options).map_err(failed)?;
    cert::create_client(certs_dir, certs_dir, "root", &options).map_err(failed)?;
    for id in 1..=NODES {
        let directory = root.join(format!("certs-{id}"));
        cert::create_node(certs_dir, &directory, id, &hosts, &options).map_err(failed)?;
    }
    Ok(())
}

fn empty_directory(directory: &Path) -> Result<PathBuf, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(format!("cannot use `{}`", directory.display())).because(&error);
    std::fs::create_dir_all(directory).map_err(failed)?;
    if std::fs::read_dir(directory).map_err(failed)?.next().is_some() {
        return Err(Failure::usage(format!("`{}` is not empty", directory.display()))
            .help("a demo starts from nothing: name a new directory"));
    }
    directory.canonicalize().map_err(failed)
}

/// A UDP port that was free a moment ago. Somebody else may take it before the node does; then the node says so.
fn free_udp_port() -> Result<SocketAddr, Failure> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    socket.map_err(|error| Failure::new("cannot find a free UDP port").because(&error))
}
