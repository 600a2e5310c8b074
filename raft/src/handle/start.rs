//! From a configuration and a directory to a running node.

use std::fs;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use openraft::SnapshotPolicy;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::{Semaphore, watch};
use tokio::time::sleep;

use crate::config::{PROPOSALS_WAITING_MAX, RaftConfig, STATE_FILE, Tuning};
use crate::handle::lease::Leases;
use crate::handle::propose::RaftProposer;
use crate::handle::reads::Rounds;
use crate::handle::service::NodeService;
use crate::handle::{Handle, Node, Raft, lock, members};
use crate::log::{self, DirectoryLock, LogStore};
use crate::machine::{Machine, MachineParts, OnFatal, StateMachine};
use crate::metrics::Metrics;
use crate::network::Networks;
use crate::quic::QuicTransport;
use crate::rows::{Extensions, Store, StoreOptions};
use crate::snapshot::Snapshots;
use crate::transport::Transport;
use crate::types::{ClusterId, NodeInfo};

/// The most entries of one AppendEntries; bytes are bounded by the log as it reads them.
const PAYLOAD_ENTRIES_MAX: u64 = 512;
/// Entries that are purged at once, so that a purge is short.
const PURGE_ENTRIES: u64 = 1_000;
/// The pause between two looks at whether raft still runs.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StartError {
    /// What the operator reads: the fact, its subject, and the way out.
    pub message: String,
}

impl StartError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

/// What a test replaces: the network, the disk, and the end of the process.
pub struct Options {
    /// How members talk.
    pub transport: Arc<dyn Transport>,
    /// Called when this node may answer no more. [`Handle::failed`] tells the reason as well.
    pub on_fatal: OnFatal,
    /// How the log is opened: what a failed write does, and on which SQLite file system.
    pub log: log::OpenOptions,
    /// How `state.db` is opened.
    pub rows: StoreOptions,
}

impl Options {
    /// Those of life: what cannot go on ends the process at once, because one that may be wrong must not answer.
    pub fn new(transport: Arc<dyn Transport>) -> Self {
        let on_fatal: OnFatal = Arc::new(|_| std::process::abort());
        Self { transport, on_fatal, log: log::OpenOptions::default(), rows: StoreOptions::default() }
    }
}

/// Starts a node; see [`Handle`].
///
/// Errors name the file or address, the cause and the way out: a directory of another cluster or of a newer format,
/// a corrupt log, a port in use, a certificate that does not fit.
///
/// An advertised address that ends in `:0` gets the port that the system chose for `listen`.
pub async fn start(mut config: RaftConfig, extensions: Extensions) -> Result<Handle, StartError> {
    let transport = QuicTransport::bind(&config).map_err(|error| StartError::new(chain(&error)))?;
    if let Some(host) = config.advertise.strip_suffix(":0") {
        config.advertise = format!("{host}:{}", transport.local_address().port());
    }
    start_with(config, extensions, Options::new(Arc::new(transport))).await
}

/// Starts a node on a transport of the caller's.
pub async fn start_with(
    config: RaftConfig,
    extensions: Extensions,
    options: Options,
) -> Result<Handle, StartError> {
    let opened = open(&config, &extensions, &options).await?;
    let failure = watch::Sender::new(None);
    let parts = MachineParts {
        store: opened.store,
        snapshots: Arc::clone(&opened.snapshots),
        cluster: Arc::clone(&opened.cluster),
        on_fatal: remember(&failure, Arc::clone(&options.on_fatal)),
        transaction_time: config.tuning.transaction_time,
    };
    let directory = config.directory.clone();
    let failed = |error: &dyn std::error::Error| {
        StartError::new(format!("`{}`: {}", directory.display(), chain(error)))
    };
    let (machine, state_machine, thread) = Machine::start(parts).map_err(|error| failed(&error))?;
    let raft = start_raft(&config, &options, &opened.log, &machine, state_machine).await;
    let raft = raft.inspect_err(|_| machine.stop())?;
    let info = NodeInfo {
        raft_address: config.advertise.clone(),
        sql_address: config.advertise_sql.clone(),
        directory: opened.identity.directory,
    };
    let leases = Leases::new(opened.log.boot());
    // All nodes may be told the same list; nobody has to ask itself.
    let join = config.join.into_iter().filter(|address| *address != config.advertise).collect();
    let node = Arc::new(Node {
        id: config.node_id,
        info,
        join,
        tuning: config.tuning,
        directory: config.directory,
        raft,
        log: opened.log,
        machine,
        metrics: Metrics::new(config.node_id),
        snapshots: opened.snapshots,
        transport: options.transport,
        cluster: opened.cluster,
        forwards: std::sync::Mutex::default(),
        questions: std::sync::Mutex::default(),
        places: Arc::new(Semaphore::new(PROPOSALS_WAITING_MAX)),
        transactions: std::sync::atomic::AtomicU64::new(1),
        rounds: Rounds::default(),
        leases,
        members: tokio::sync::Mutex::new(()),
        failure,
        stopping: watch::Sender::new(false),
        tasks: std::sync::Mutex::default(),
        thread: std::sync::Mutex::new(Some(thread)),
        lock: std::sync::Mutex::new(Some(opened.lock)),
    });
    finish(&node).await?;
    Ok(Handle { node })
}

/// What a directory holds.
struct Opened {
    lock: DirectoryLock,
    log: LogStore,
    identity: log::Identity,
    cluster: Arc<OnceLock<ClusterId>>,
    store: Store,
    snapshots: Arc<Snapshots>,
}

async fn open(config: &RaftConfig, extensions: &Extensions, options: &Options) -> Result<Opened, StartError> {
    let directory = &config.directory;
    fs::create_dir_all(directory).map_err(|error| {
        StartError::new(format!("the data directory `{}` cannot be made: {error}", directory.display()))
    })?;
    let lock = DirectoryLock::acquire(directory).map_err(|error| StartError::new(chain(&error)))?;
    let log = log::open(&directory.join("raft.db"), options.log.clone())
        .map_err(|error| StartError::new(chain(&error)))?;
    let state = directory.join(STATE_FILE);
    if log.identity().is_none() && state.exists() {
        return Err(StartError::new(format!(
            "`{}` holds a state but no log: what this node promised is lost; remove it from the cluster and let it \
             join with an empty directory and a new id",
            directory.display()
        )));
    }
    let identity = identify(config, &log).await?;
    let cluster: Arc<OnceLock<ClusterId>> = Arc::default();
    if let Some(known) = identity.cluster {
        cluster.get_or_init(|| known);
    }
    let store = Store::open_with(options.rows.clone(), &state, extensions)
        .map_err(|error| StartError::new(chain(&error)))?;
    let snapshots = Snapshots::open(directory.join("snapshots"), extensions).map_err(|error| {
        StartError::new(format!("`{}` cannot be opened: {error}", directory.join("snapshots").display()))
    })?;
    Ok(Opened { lock, log, identity, cluster, store, snapshots: Arc::new(snapshots) })
}

async fn start_raft(
    config: &RaftConfig,
    options: &Options,
    log: &LogStore,
    machine: &Machine,
    state_machine: StateMachine,
) -> Result<Raft, StartError> {
    let failed = |error: &dyn std::error::Error| {
        StartError::new(format!("`{}`: {}", config.directory.display(), chain(error)))
    };
    let networks = Networks::new(Arc::clone(&options.transport), Arc::clone(machine.published()));
    let tuned = raft_config(&config.tuning)?;
    let raft = Raft::new(config.node_id, tuned, networks, log.clone(), state_machine).await;
    let raft = raft.map_err(|error| failed(&error))?;
    // What raft reports of itself is empty until its first turn.
    raft.with_raft_state(|_| ()).await.map_err(|error| failed(&error))?;
    machine.lead(Box::new(RaftProposer(raft.clone())));
    Ok(raft)
}

/// Names a cluster whose making a crash interrupted, serves, and starts what goes on by itself.
async fn finish(node: &Arc<Node>) -> Result<(), StartError> {
    if node.cluster.get().is_none() && !node.log.is_pristine() {
        node.name_cluster().await.map_err(|error| StartError::new(error.message))?;
    }
    node.transport.serve(Arc::new(NodeService::new(node)));
    let tasks = [
        tokio::spawn(members::watch_leadership(node.raft.clone(), node.machine.clone())),
        tokio::spawn(Arc::clone(node).promote_learners()),
        tokio::spawn(watch_raft(Arc::clone(node))),
        tokio::spawn(Arc::clone(node).join_cluster()),
        tokio::spawn(Arc::clone(node).renew_leases()),
    ];
    lock(&node.tasks).extend(tasks);
    Ok(())
}

/// Tells [`Handle::failed`] when openraft stops by itself.
async fn watch_raft(node: Arc<Node>) {
    let mut metrics = node.raft.metrics();
    loop {
        let stopped = metrics.borrow_and_update().running_state.clone();
        if let Err(error) = stopped
            && !node.is_stopping()
        {
            node.fail(format!("replication stopped: {error}"));
            return;
        }
        if metrics.changed().await.is_err() {
            return;
        }
        // Raft reports at each of its turns, several times for one entry, and each look would be a wake-up. That it
        // stopped stays in the report.
        sleep(LOOK_PAUSE).await;
    }
}

/// Whose directory it is; a new one gets a random name of its own.
async fn identify(config: &RaftConfig, log: &LogStore) -> Result<log::Identity, StartError> {
    let directory = config.directory.display();
    match log.identity() {
        Some(identity) if identity.node == config.node_id => Ok(identity),
        Some(identity) => Err(StartError::new(format!(
            "`{directory}` is the data directory of node {}, and this is node {}; start it with the certificate of \
             node {}, or choose another directory",
            identity.node, config.node_id, identity.node
        ))),
        None => {
            let random = random_u128()
                .map_err(|error| StartError::new(format!("the system gives no random numbers: {error}")))?;
            let identity = log::Identity { cluster: None, node: config.node_id, directory: random };
            let written = log.set_identity(identity).await;
            written.map_err(|error| StartError::new(format!("`{directory}` cannot be written: {error}")))?;
            Ok(identity)
        }
    }
}

pub(super) fn random_u128() -> io::Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(u128::from_le_bytes(bytes))
}

fn remember(failure: &watch::Sender<Option<String>>, then: OnFatal) -> OnFatal {
    let failure = failure.clone();
    Arc::new(move |reason| {
        failure.send_if_modified(|known| {
            let first = known.is_none();
            if first {
                *known = Some(reason.to_owned());
            }
            first
        });
        then(reason);
    })
}

fn raft_config(tuning: &Tuning) -> Result<Arc<openraft::Config>, StartError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = openraft::Config {
        cluster_name: "grantd".to_owned(),
        heartbeat_interval: millis(tuning.heartbeat_interval),
        election_timeout_min: millis(tuning.election_timeout_min),
        election_timeout_max: millis(tuning.election_timeout_min) * 2,
        max_payload_entries: PAYLOAD_ENTRIES_MAX,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(tuning.snapshot_entries),
        // A member that was away for a moment gets entries and not a snapshot.
        max_in_snapshot_log_to_keep: tuning.snapshot_entries / 2,
        replication_lag_threshold: tuning.snapshot_entries.saturating_mul(2),
        purge_batch_size: PURGE_ENTRIES.min(tuning.snapshot_entries / 4 + 1),
        // Followers write while this node does.
        broadcast_submitted_on_append: Some(true),
        enable_pre_vote: Some(true),
        // What a leader remembers beside its log (read leases) is gone after a restart.
        enable_leader_restore: Some(false),
        ..openraft::Config::default()
    };
    let config =
        config.validate().map_err(|error| StartError::new(format!("the raft times do not fit: {error}")))?;
    Ok(Arc::new(config))
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
