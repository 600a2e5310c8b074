//! What a node is told when it starts, and every bound of this crate.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The file of catalog, rows and applied index, in the data directory.
pub const STATE_FILE: &str = "state.db";
/// The most bytes of one encoded entry. Source: architecture section 4.
pub const ENTRY_BYTES_MAX: usize = 8 << 20;
/// The most bytes of encoded entries that one AppendEntries carries.
pub const APPEND_BYTES_MAX: usize = 4 << 20;
/// The most proposals that wait for the writer; one more is refused with 53000 and a hint to retry.
pub const PROPOSALS_WAITING_MAX: usize = 4_096;
/// The most proposals that share one entry.
pub const BATCH_ITEMS_MAX: usize = 512;
/// The longest that one row write runs before it is interrupted: nothing is applied on the leader meanwhile.
pub const WRITE_TIME_MAX: Duration = Duration::from_secs(2);
/// After this long a batch takes no further row write: what it has is proposed, and what is committed is applied.
pub const BATCH_TIME_MAX: Duration = Duration::from_millis(100);
/// The longest that a transaction holds the writer, whoever forgot it. The idle limit of sessions is shorter.
pub const TRANSACTION_TIME_MAX: Duration = Duration::from_secs(300);
/// The longest that a row write or a transaction waits for the transactions before it.
pub const TURN_TIME_MAX: Duration = Duration::from_secs(60);
/// The most bytes of one transaction's changes. The leader holds them in memory until it is committed.
pub const TRANSACTION_BYTES_MAX: usize = 1 << 30;
/// The most parts of one transaction: statements that changed something.
pub const TRANSACTION_PARTS_MAX: usize = 1 << 20;
/// The most bytes of what the statements of one transaction need, as data. Decided again where it is applied.
pub const TRANSACTION_NEEDS_BYTES_MAX: usize = 1 << 20;
/// The most bytes of a transaction's changes in one staging entry.
pub const STAGE_BYTES_MAX: usize = 4 << 20;
/// How much longer a COMMIT may take for each staging entry.
pub const STAGE_TIME: Duration = Duration::from_secs(1);
/// The most snapshots that are pinned at once; one more is refused with 53000.
pub const PINS_MAX: usize = 32;
/// The longest that a snapshot stays pinned: the row store's WAL cannot shrink meanwhile.
pub const PIN_TIME_MAX: Duration = Duration::from_secs(300);
/// The most bytes of a forwarded statement or its answer.
pub const FORWARD_BYTES_MAX: usize = 32 << 20;
/// The longest that one statement may read. A reader that never ended would keep the row store's WAL from shrinking,
/// and eight of them would keep everybody else from reading.
pub const READ_TIME_MAX: Duration = Duration::from_secs(30);
/// The most connections that read the row store at once; one more reader waits.
pub const READERS_MAX: usize = 8;
/// The most rows that one statement returns. A larger result is refused with 54000: results are held in memory.
pub const RESULT_ROWS_MAX: usize = 1_000_000;
/// The most bytes of values that one statement returns.
pub const RESULT_BYTES_MAX: usize = 256 << 20;
/// By how much the distance of the two clocks of a machine may change between two renewals of its lease until the machine
/// counts as one that was stopped and set back.
pub const CLOCK_JUMP_MAX: Duration = Duration::from_millis(100);
/// The pause before a node without a lease asks for one again, if a third of a lease is not shorter.
pub const LEASE_RETRY_PAUSE: Duration = Duration::from_millis(50);
/// A change that takes rights away and had to wait for longer is logged.
pub const BARRIER_LOGGED: Duration = Duration::from_millis(100);
/// The most requests for a lease that a node has under way.
pub const LEASE_REQUESTS_MAX: usize = 8;
/// How many of the shortest election time-outs a read waits for a leader that says nothing, if two leases are not longer. An
/// election that goes well takes two to four.
pub const ELECTION_TIMEOUTS: u32 = 6;
/// Bytes of the log's tail that stay in memory for replication.
pub const LOG_TAIL_BYTES: usize = 8 << 20;

/// A member's number: chosen with its certificate, used by one directory only, never used again.
pub type NodeId = u64;

/// What a node needs to take part. Made by `node::config`; the fields are what the operator resolved.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// This node. It is the number in the node's certificate.
    pub node_id: NodeId,
    /// Where the node keeps `raft.db`, `state.db` and `snapshots/`. Locked while the node runs.
    pub directory: PathBuf,
    /// Where it listens for its peers, over UDP.
    pub listen: SocketAddr,
    /// Where its peers reach it: `host:port`.
    pub advertise: String,
    /// Where clients reach it over the PostgreSQL protocol: `host:port`. Told to the peers, used by status.
    pub advertise_sql: String,
    /// Members that a node without a cluster asks to let it in. It may be among them itself, at `advertise`.
    pub join: Vec<String>,
    /// PEM of the CA that signs the nodes of this cluster.
    pub ca_pem: Vec<u8>,
    /// PEM of the node's certificate chain, with the SAN `node-<id>.grantd.internal`.
    pub cert_pem: Vec<u8>,
    /// PEM of its key.
    pub key_pem: Vec<u8>,
    /// Time and size limits.
    pub tuning: Tuning,
}

/// Times and sizes that an operator may change. The defaults suit one data centre.
#[derive(Clone, Debug)]
pub struct Tuning {
    /// How often the leader says that it lives.
    pub heartbeat_interval: Duration,
    /// A follower that hears nothing for between this long and twice this long stands for election.
    pub election_timeout_min: Duration,
    /// How long a proposal or a linearizable read waits before its outcome is called unknown, or it is refused.
    pub request_timeout: Duration,
    /// Entries after which a snapshot is taken and the log before it may go.
    pub snapshot_entries: u64,
    /// The longest that a transaction holds the writer: [`TRANSACTION_TIME_MAX`] but in tests.
    pub transaction_time: Duration,
    /// The longest that a snapshot stays pinned: [`PIN_TIME_MAX`] but in tests.
    pub pin_time: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_millis(100),
            election_timeout_min: Duration::from_millis(300),
            request_timeout: Duration::from_secs(5),
            snapshot_entries: 50_000,
            transaction_time: TRANSACTION_TIME_MAX,
            pin_time: PIN_TIME_MAX,
        }
    }
}
