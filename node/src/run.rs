//! The composition root: a node put together from its settings, and taken apart again in a written order.
//!
//! Start: certificates, directory, SQL port, replication, endpoint of credentials, engine, HTTPS, admin socket, check socket, SQL
//! server. Each step's error says what failed and the way out, and undoes the steps before it. Stop, [`Stop::Drain`]:
//!
//! 1. `/ready` says no; no checks on the socket, no credentials for programs; jobs are handed over; no new SQL connections; running
//!    statements finish, at most for the drain time-out; sessions are closed;
//! 2. no new requests over HTTPS, then none to the admin socket; those that run finish;
//! 3. leadership is handed over, so that the others need no election;
//! 4. replication stops: connections and files are closed; the audit log is written to its end.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grantd_catalog::job::JobKind;
use grantd_raft::config::{NodeId, RaftConfig};
use grantd_raft::handle::{self, Handle, Status};
use grantd_raft::quic::identity;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use crate::activity::logins;
use crate::admin::{AdminServer, Answer, Answerer, ChecksumReport, MemberReport, Request, StatusReport};
use crate::audit::{Audit, AuditLog};
use crate::backup::work::Writing;
use crate::cert;
use crate::check::authzen;
use crate::check::rate::Rates;
use crate::check::socket::{CheckServer, Place};
use crate::cloud::aws::{self, Aws};
use crate::cloud::broker::Broker;
use crate::cloud::endpoint::EndpointServer;
use crate::cloud::fetch::Clouds;
use crate::cloud::gcp::{self, Gcp};
use crate::cloud::outside::Outside;
use crate::cloud::route;
use crate::cloud::storage::StorageSettings;
use crate::config::{CheckSocket, Settings};
use crate::debug;
use crate::failure::Failure;
use crate::feed::work::Changefeeds;
use crate::gate::Gate;
use crate::http::caller::Doorman;
use crate::http::{HttpServer, Route};
use crate::jobs::collect::Collect;
use crate::jobs::{Jobs, Work, Works};
use crate::metrics::{self, Measured};
use crate::pgwire::backend::Cluster;
use crate::pgwire::{Limits, Plaintext, Server, ServerConfig};
use crate::probe;
use crate::restore::work::Restoring;
use crate::scheduler::Scheduler;
use crate::sql::execute::Engine;
use crate::sql::plan::restore::AsCreated;
use crate::sql::system;
use crate::tls;

/// How long a stopping leader tries to hand over. Longer than one election; an election follows anyway if it fails.
const HANDOVER_MAX: Duration = Duration::from_secs(2);
/// How long a stopping node waits for its jobs to be handed over: for work to stop, and for a leader to take it.
const JOBS_DRAIN_MAX: Duration = Duration::from_secs(8);

/// A running node. Dropping it without [`Self::stop`] leaves its tasks to the runtime's end.
pub struct Node {
    handle: Handle,
    node_id: NodeId,
    sql_address: SocketAddr,
    drain_timeout: Duration,
    sql: Server,
    admin: AdminServer,
    jobs: Jobs,
    /// Makes the jobs of schedules.
    scheduler: Scheduler,
    /// Ends the sessions of roles that may not log in any more.
    logins: JoinHandle<()>,
    http: Option<HttpServer>,
    checks: Option<CheckServer>,
    endpoint: Option<EndpointServer>,
    audit: Option<AuditLog>,
    /// Whether it takes leave of its clients.
    stopping: watch::Sender<bool>,
    /// Sums metrics up.
    upkeep: JoinHandle<()>,
    _measured: Measured,
}

/// How a node stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// In the order of the module's documentation.
    Drain,
    /// Replication first, as if the process had died; then the rest.
    Now,
}

impl Node {
    /// Starts a node and everything that it answers with. It serves when this returns; whether it is in a cluster is
    /// another question, see [`Self::status`].
    pub async fn start(settings: Settings) -> Result<Self, Failure> {
        // Before anything is counted.
        metrics::install();
        let identity = read_identity(&settings.certs_dir)?;
        let node_id = identity.node_id;
        prepare_directory(&settings.data_dir)?;
        let listener = TcpListener::bind(settings.sql_listen).await.map_err(|error| {
            Failure::new(format!("cannot listen on {} for SQL clients", settings.sql_listen))
                .because(&error)
                .help("another process has the port? Stop it, or choose another with --sql-listen")
        })?;
        let sql_address =
            listener.local_addr().map_err(|error| Failure::new("the SQL port is gone").because(&error))?;
        let server = server_config(&identity, &settings.certs_dir)?;
        let config = raft_config(&settings, identity, sql_address);
        let handle = handle::start(config, system::extensions()).await.map_err(|error| {
            Failure::new(format!("node {node_id} cannot start in `{}`", settings.data_dir.display()))
                .because(&error)
        })?;
        let (stopping, seen) = watch::channel(false);
        let parts = serve(&settings, &handle, listener, server, &seen).await;
        let parts = match parts {
            Ok(parts) => parts,
            Err(failure) => {
                handle.shutdown().await;
                return Err(failure);
            }
        };
        let Parts { sql, admin, jobs, scheduler, logins, http, checks, endpoint, audit } = parts;
        let drain_timeout = settings.drain_timeout;
        grantd_raft::memory::set_total(settings.sql_memory);
        let measured = {
            let handle = handle.clone();
            metrics::measure_when_read(move || handle.measure())
        };
        let node = Self {
            handle,
            node_id,
            sql_address,
            drain_timeout,
            sql,
            admin,
            jobs,
            scheduler,
            logins,
            upkeep: metrics::keep_up(),
            _measured: measured,
            http,
            checks,
            endpoint,
            audit,
            stopping,
        };
        node.announce(&settings);
        Ok(node)
    }

    /// Where it answers over HTTPS. None: it does not.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(HttpServer::address)
    }

    /// Its number.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// Where it takes SQL clients.
    pub fn sql_address(&self) -> SocketAddr {
        self.sql_address
    }

    /// The replication underneath.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Its state, and what it knows of the others.
    pub fn status(&self) -> Status {
        self.handle.status()
    }

    /// Stops it. When this returns its ports and its directory are free.
    pub async fn stop(self, how: Stop) {
        self.logins.abort();
        self.stopping.send_replace(true);
        self.upkeep.abort();
        drop(self.scheduler);
        if let Some(checks) = self.checks {
            checks.stop().await;
        }
        if let Some(endpoint) = self.endpoint {
            endpoint.stop().await;
        }
        match how {
            Stop::Drain => {
                self.jobs.drain(JOBS_DRAIN_MAX).await;
                self.sql.drain(self.drain_timeout).await;
                if let Some(http) = self.http {
                    http.stop().await;
                }
                self.admin.stop().await;
                hand_over(&self.handle).await;
                self.handle.shutdown().await;
            }
            Stop::Now => {
                drop(self.jobs);
                drop(self.http);
                self.handle.shutdown().await;
                self.sql.drain(Duration::ZERO).await;
                self.admin.stop().await;
            }
        }
        self.handle.release_address().await;
        if let Some(audit) = self.audit {
            // It waits for the disk, so not on a thread that others need.
            drop(tokio::task::spawn_blocking(move || audit.finish()).await);
        }
        info!(node = self.node_id, "stopped");
    }

    /// Says how it is reached and, without a cluster, what it waits for and how to go on.
    fn announce(&self, settings: &Settings) {
        let status = self.status();
        info!(
            node = self.node_id,
            sql = %self.sql_address,
            raft = %settings.listen,
            directory = %settings.data_dir.display(),
            "node started"
        );
        match (&status.cluster_id, settings.join.is_empty()) {
            (Some(cluster), _) => info!(%cluster, version = status.applied.0, "member of a cluster"),
            (None, false) => {
                info!(join = ?settings.join, "no cluster yet: asking these members to be let in");
            }
            (None, true) => {
                let directory = settings.data_dir.display();
                info!(
                    "no cluster yet: make one with `grantd init --data-dir {directory}`, or start with --join"
                );
            }
        }
    }
}

/// What a node answers with.
struct Parts {
    sql: Server,
    admin: AdminServer,
    jobs: Jobs,
    scheduler: Scheduler,
    logins: JoinHandle<()>,
    http: Option<HttpServer>,
    checks: Option<CheckServer>,
    endpoint: Option<EndpointServer>,
    audit: Option<AuditLog>,
}

async fn serve(
    settings: &Settings,
    handle: &Handle,
    listener: TcpListener,
    config: ServerConfig,
    stopping: &watch::Receiver<bool>,
) -> Result<Parts, Failure> {
    let audit =
        settings.audit_dir.as_ref().map(|place| AuditLog::start(handle.node_id(), place)).transpose()?;
    let recorded = audit.as_ref().map(AuditLog::audit).unwrap_or_default();
    let outside = outside(settings, handle, recorded.clone())?;
    // Dropped, where a later step fails, it is closed.
    let endpoint = EndpointServer::start(&settings.cloud, &outside, &recorded).await?;
    let engine = Engine::new(Arc::new(handle.clone())).audited(recorded).reaching(outside);
    // One bound for a principal, however it asks.
    let rates = Arc::new(Rates::new(settings.check_rate, settings.check_burst, Instant::now()));
    let http = match (settings.http_listen, &config.tls) {
        (Some(address), Some(tls)) => {
            let routes = [
                authzen::routes(engine.gate(), &rates),
                debug::routes(&engine),
                probe::routes(engine.gate(), stopping),
            ]
            .concat();
            Some(http_server(address, tls, &engine, config.fake_salt_key, routes).await?)
        }
        _ => None,
    };
    let admin = AdminServer::start(&settings.data_dir, answerer(handle.clone()))?;
    let checks = match check_server(settings, &engine, handle, &rates).await {
        Ok(checks) => checks,
        Err(failure) => {
            admin.stop().await;
            return Err(failure);
        }
    };
    let activity = engine.activity().own().clone();
    let works = works(engine.outside());
    let jobs = Jobs::start(Gate::new(Arc::new(handle.clone())), handle.watch(), works)
        .map_err(|error| Failure::new("cannot choose a number for this run of the node").because(&error));
    let jobs = match jobs {
        Ok(jobs) => jobs,
        Err(failure) => {
            admin.stop().await;
            if let Some(checks) = checks {
                checks.stop().await;
            }
            return Err(failure);
        }
    };
    let engine = engine.telling_jobs(jobs.nudge());
    let scheduler = Scheduler::start(engine.clone(), handle.watch());
    let backend = Cluster { engine, handle: handle.clone() };
    match Server::start(listener, config, backend) {
        Ok(sql) => {
            let (versions, viewed) = (handle.watch(), handle.clone());
            let logins = tokio::spawn(logins::watch(activity, versions, move || viewed.view()));
            Ok(Parts { sql, admin, jobs, scheduler, logins, http, checks, endpoint, audit })
        }
        Err(error) => {
            admin.stop().await;
            if let Some(checks) = checks {
                checks.stop().await;
            }
            Err(Failure::new("cannot serve SQL").because(&error))
        }
    }
}

/// What jobs this node can do.
fn works(outside: &Outside) -> Works {
    let collect: Arc<dyn Work> = Arc::new(Collect);
    let backup: Arc<dyn Work> = Arc::new(Writing::new(outside.clone()));
    let restore: Arc<dyn Work> = Arc::new(Restoring::new(outside.clone(), Arc::new(AsCreated)));
    let feeds: Arc<dyn Work> = Arc::new(Changefeeds::new(outside.clone()));
    Works::from([
        (JobKind::AutoCollectJobs, collect),
        (JobKind::Backup, backup),
        (JobKind::Restore, restore),
        (JobKind::Changefeed, feeds),
    ])
}

/// What this node reaches outside. Nothing is asked for before somebody uses it.
fn outside(settings: &Settings, handle: &Handle, audit: Audit) -> Result<Outside, Failure> {
    let own = settings.cloud.clone();
    let gate = Gate::new(Arc::new(handle.clone()));
    // The cluster's own authorities come with the first step: no setting of the cluster keeps a node from starting.
    let google = Gcp::new(own.clone(), gcp::Environment::of_process(), "")
        .map_err(|error| Failure::new("cannot make a client of Google Cloud").because(&error))?;
    let cluster = handle.status().cluster_id.unwrap_or_default();
    let session_name = route::node_session(&cluster, handle.node_id());
    let amazon = Aws::new(&own, aws::Environment::of_process(), session_name);
    let seen = gate.clone();
    let custom_ca = move || StorageSettings::of(&seen.applied_view()).custom_ca;
    let clouds = Arc::new(Clouds::new(amazon, google, custom_ca));
    let broker = Broker::start(clouds, handle.node_id(), audit);
    Ok(Outside::new(gate, own, broker))
}

async fn check_server(
    settings: &Settings,
    engine: &Engine,
    handle: &Handle,
    rates: &Arc<Rates>,
) -> Result<Option<CheckServer>, Failure> {
    let place = match &settings.check_socket {
        CheckSocket::Inside => Place::inside(&settings.data_dir),
        CheckSocket::Outside(path) => Place::outside(path.clone()),
        CheckSocket::Off => return Ok(None),
    };
    CheckServer::start(&place, engine.gate().clone(), handle.watch(), Arc::clone(rates)).await.map(Some)
}

async fn http_server(
    address: SocketAddr,
    tls: &Arc<rustls::ServerConfig>,
    engine: &Engine,
    fake_salt_key: [u8; 32],
    routes: Vec<Route>,
) -> Result<HttpServer, Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(format!("cannot listen on {address} for HTTPS"))
            .because(&error)
            .help("another process has the port? Choose another with --http-listen, or leave it out")
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let doorman = Doorman::new(engine.gate().clone(), engine.audit().clone(), fake_salt_key);
    let server = HttpServer::start(listener, tls, doorman, routes).map_err(failed)?;
    info!(address = %server.address(), "answers over https");
    Ok(server)
}

/// Hands leadership over, if it is here. Not being able to costs the others an election, nothing else.
async fn hand_over(handle: &Handle) {
    if handle.status().leader != Some(handle.node_id()) {
        return;
    }
    match tokio::time::timeout(HANDOVER_MAX, handle.transfer_leadership()).await {
        Ok(Ok(())) => info!("leadership handed over"),
        Ok(Err(error)) => info!(%error, "leadership was not handed over"),
        Err(_elapsed) => warn!("leadership was not handed over in time"),
    }
}

/// What replication needs of a node's certificates.
struct Identity {
    node_id: NodeId,
    ca_pem: Vec<u8>,
    cert_pem: Vec<u8>,
    key_pem: Vec<u8>,
}

fn read_identity(certs_dir: &Path) -> Result<Identity, Failure> {
    let read = |name: &str| {
        let path = certs_dir.join(name);
        std::fs::read(&path).map_err(|error| {
            Failure::new(format!("cannot read `{}`", path.display())).because(&error).help(
                "make it with `grantd cert create-ca` and `grantd cert create-node`, or name another directory with \
                 --certs-dir",
            )
        })
    };
    let cert_pem = read(cert::NODE_CERT)?;
    let not_a_node = |error: &(dyn std::error::Error + 'static)| {
        Failure::new(format!("`{}` is not a node's certificate", certs_dir.join(cert::NODE_CERT).display()))
            .because(error)
            .help("make one with `grantd cert create-node --id NUMBER HOST…`")
    };
    let certificate = CertificateDer::from_pem_slice(&cert_pem).map_err(|error| not_a_node(&error))?;
    let node_id = identity::node_id_of(&certificate).map_err(|error| not_a_node(&error))?;
    tls::warn_if_exposed(&certs_dir.join(cert::NODE_KEY));
    Ok(Identity { node_id, ca_pem: read(cert::CA_CERT)?, key_pem: read(cert::NODE_KEY)?, cert_pem })
}

/// Makes the directory, for its owner only: catalog and rows are in it.
fn prepare_directory(directory: &Path) -> Result<(), Failure> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| {
        Failure::new(format!("cannot make the data directory `{}`", directory.display()))
            .because(&error)
            .help("name a directory that this user may write with --data-dir")
    })
}

/// What the SQL port serves with.
fn server_config(identity: &Identity, certs_dir: &Path) -> Result<ServerConfig, Failure> {
    let (tls, binding) =
        tls::server(&identity.ca_pem, &identity.cert_pem, &identity.key_pem).map_err(|error| {
            let (node_id, certs) = (identity.node_id, certs_dir.display());
            Failure::new(format!("node {node_id} cannot serve TLS with the files in `{certs}`"))
                .because(&error)
                .help(format!(
                    "`grantd cert list --certs-dir {certs}` shows them; `grantd cert create-node --id {node_id} \
                     --certs-dir {certs} --overwrite HOST…` makes the node's anew"
                ))
        })?;
    Ok(ServerConfig {
        node_id: identity.node_id,
        tls: Some(tls),
        binding,
        plaintext: Plaintext::Refused,
        limits: Limits::default(),
        fake_salt_key: fake_salt_key(&identity.key_pem),
    })
}

/// Secret, and the same after a restart. It differs between nodes: who may ask two nodes can tell an unknown user.
fn fake_salt_key(key_pem: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(b"grantd: salts of unknown users").chain_update(key_pem).finalize().into()
}

fn raft_config(settings: &Settings, identity: Identity, sql_address: SocketAddr) -> RaftConfig {
    let advertise_sql = settings.sql_advertise.clone().unwrap_or_else(|| sql_address.to_string());
    RaftConfig {
        node_id: identity.node_id,
        directory: settings.data_dir.clone(),
        listen: settings.listen,
        advertise: settings.advertise.clone(),
        advertise_sql,
        join: settings.join.clone(),
        ca_pem: identity.ca_pem,
        cert_pem: identity.cert_pem,
        key_pem: identity.key_pem,
        tuning: settings.tuning.clone(),
    }
}

/// What the admin socket answers for `handle`.
fn answerer(handle: Handle) -> Answerer {
    Arc::new(move |request| {
        let handle = handle.clone();
        Box::pin(async move { answer(&handle, request).await })
    })
}

async fn answer(handle: &Handle, request: Request) -> Answer {
    let done = |result: Result<(), handle::AdminError>| match result {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Refused { message: error.message },
    };
    match request {
        Request::Status => Answer::Status(status_report(handle.status())),
        Request::Init => done(handle.initialize().await),
        Request::Remove { node } => done(handle.remove(node).await),
        Request::Transfer => done(handle.transfer_leadership().await),
        Request::Snapshot => done(handle.snapshot().await),
        Request::Checksum => match handle.checksum().await {
            Ok(sum) => Answer::Checksum(ChecksumReport {
                version: sum.version.0,
                catalog: sum.catalog,
                tables: sum.tables,
            }),
            Err(error) => Answer::Refused { message: error.to_string() },
        },
    }
}

fn status_report(status: Status) -> StatusReport {
    let member = |member: handle::Member| MemberReport {
        id: member.id,
        raft_address: member.raft_address,
        sql_address: member.sql_address,
        voter: member.voter,
        matched: member.matched,
        heard_ms: member.heard_ms,
    };
    StatusReport {
        node_id: status.node_id,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        cluster_id: status.cluster_id,
        server_state: status.server_state.to_owned(),
        term: status.term,
        leader: status.leader,
        last_log: status.last_log,
        applied: status.applied.0,
        snapshot: status.snapshot,
        members: status.members.into_iter().map(member).collect(),
    }
}
