//! The types that openraft is given, and their frozen forms for disk and wire.
//!
//! Openraft's own structs never reach a disk or a socket: a `…V1` struct of this module does, inside the envelope of
//! `codec`. A `…V1` struct never changes; what must change becomes a `…V2` with a conversion.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bincode::{Decode, Encode};
use bytes::Bytes;

use crate::codec::{self, CodecError, Kind};
use crate::config::NodeId;
use crate::entry::{Entry, Reply};

/// The format of [`Entry`] that this release writes.
const ENTRY_FORMAT: u16 = 1;

/// What this crate gives to openraft. (Its macro cannot name a responder type, so the trait is implemented by hand.)
#[derive(Debug, Clone, Copy, Default, Eq, PartialEq, Ord, PartialOrd)]
pub struct TypeConfig;

impl openraft::RaftTypeConfig for TypeConfig {
    type D = EntryBytes;
    type R = Applied;
    type NodeId = NodeId;
    type Node = NodeInfo;
    type Term = u64;
    type LeaderId = openraft::impls::leader_id_adv::LeaderId<u64, NodeId>;
    type Vote = openraft::impls::Vote<Self::LeaderId>;
    type Payload = openraft::EntryPayload<EntryBytes, NodeId, NodeInfo>;
    type Entry =
        openraft::impls::Entry<<Self::LeaderId as openraft::vote::RaftLeaderId>::Committed, Self::Payload>;
    type AsyncRuntime = openraft::impls::TokioRuntime;
    type Responder<T>
        = Callback<T>
    where
        T: openraft::OptionalSend + 'static;
    type Batch<T>
        = openraft::impls::InlineBatch<T>
    where
        T: openraft::OptionalSend + 'static;
    type ErrorSource = openraft::impls::BoxedErrorSource;
}

/// Called with the result of a write, on the thread that has it: no task has to be woken to pass it on.
pub struct Callback<T>(Box<dyn FnOnce(T) + Send>);

impl<T> Callback<T> {
    /// `call` must be quick and must not block: the Raft core or the machine waits meanwhile.
    pub fn new(call: impl FnOnce(T) + Send + 'static) -> Self {
        Self(Box::new(call))
    }
}

impl<T: Send + 'static> openraft::raft::responder::Responder<TypeConfig, T> for Callback<T> {
    fn on_complete(self, result: T) {
        (self.0)(result);
    }
}

/// Term and node of a leader.
pub type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;
/// A leader that a quorum elected.
pub type CommittedLeaderId = openraft::alias::CommittedLeaderIdOf<TypeConfig>;
/// A vote.
pub type Vote = openraft::alias::VoteOf<TypeConfig>;
/// A position in the log.
pub type LogId = openraft::alias::LogIdOf<TypeConfig>;
/// An entry as openraft handles it.
pub type LogEntry = openraft::alias::EntryOf<TypeConfig>;
/// What an entry carries.
pub type Payload = openraft::alias::PayloadOf<TypeConfig>;
/// Voters, learners and where they are.
pub type Membership = openraft::Membership<NodeId, NodeInfo>;
/// A membership with the position of the entry that made it.
pub type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
/// What a snapshot contains.
pub type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;

/// An encoded [`crate::entry::Entry`] in its envelope: encoded once by the proposer, the same bytes in every log and
/// on the wire, decoded where it is applied. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct EntryBytes(pub Bytes);

impl EntryBytes {
    /// Encodes an entry. Its size is bounded by whoever makes entries.
    pub fn seal(entry: &Entry) -> Self {
        Self(codec::seal_value(Kind::Entry, ENTRY_FORMAT, entry).into())
    }

    /// Decodes it. An error means that this node must not go on: it cannot skip what the others apply.
    pub fn open(&self) -> Result<Entry, CodecError> {
        codec::open_value(Kind::Entry, ENTRY_FORMAT, &self.0)
    }
}

impl fmt::Debug for EntryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the bytes: they hold rows and password verifiers.
        write!(f, "EntryBytes({} bytes)", self.0.len())
    }
}

impl fmt::Display for EntryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What applying an entry answers to its proposer. Empty for what is not an [`crate::entry::Entry`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied(pub Reply);

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} items", self.0.len())
    }
}

/// A member's addresses, and which directory is its memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeInfo {
    /// Where its peers reach it: `host:port`.
    pub raft_address: String,
    /// Where clients reach it: `host:port`.
    pub sql_address: String,
    /// Random, made when the directory was made. A node with the id but another directory has forgotten what the
    /// member promised, and is refused.
    pub directory: u128,
}

impl fmt::Display for NodeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.raft_address)
    }
}

/// A cluster's random name, made by `initialize`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct ClusterId(pub u128);

impl fmt::Display for ClusterId {
    /// As a UUID is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        write!(f, "{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

/// A vote, on disk and wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct VoteV1 {
    /// The term.
    pub term: u64,
    /// Who it is for.
    pub node: u64,
    /// Whether a quorum granted it.
    pub committed: bool,
}

impl From<&Vote> for VoteV1 {
    fn from(vote: &Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
    }
}

impl From<VoteV1> for Vote {
    fn from(vote: VoteV1) -> Self {
        if vote.committed {
            Self::new_committed(vote.term, vote.node)
        } else {
            Self::new(vote.term, vote.node)
        }
    }
}

/// A position in the log, on disk and wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LogIdV1 {
    /// The term of the leader that proposed it.
    pub term: u64,
    /// That leader.
    pub node: u64,
    /// The index.
    pub index: u64,
}

impl From<&LogId> for LogIdV1 {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term, node: id.leader_id.node_id, index: id.index }
    }
}

impl From<LogIdV1> for LogId {
    fn from(id: LogIdV1) -> Self {
        Self { leader_id: LeaderId { term: id.term, node_id: id.node }, index: id.index }
    }
}

/// A member, on disk and wire.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NodeInfoV1 {
    /// Where its peers reach it.
    pub raft_address: String,
    /// Where clients reach it.
    pub sql_address: String,
    /// Which directory is its memory.
    pub directory: u128,
}

impl From<&NodeInfo> for NodeInfoV1 {
    fn from(info: &NodeInfo) -> Self {
        Self {
            raft_address: info.raft_address.clone(),
            sql_address: info.sql_address.clone(),
            directory: info.directory,
        }
    }
}

impl From<NodeInfoV1> for NodeInfo {
    fn from(info: NodeInfoV1) -> Self {
        Self { raft_address: info.raft_address, sql_address: info.sql_address, directory: info.directory }
    }
}

/// A membership, on disk and wire. Everything sorted by id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct MembershipV1 {
    /// One set of voters, or two while a change is under way.
    pub configs: Vec<Vec<u64>>,
    /// All members, learners included.
    pub nodes: Vec<(u64, NodeInfoV1)>,
}

impl From<&Membership> for MembershipV1 {
    fn from(membership: &Membership) -> Self {
        Self {
            configs: membership.get_joint_config().iter().map(|set| set.iter().copied().collect()).collect(),
            nodes: membership.nodes().map(|(id, info)| (*id, info.into())).collect(),
        }
    }
}

/// A stored membership that openraft does not accept: a voter without an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the membership is not valid: {0}")]
pub struct BadMembership(pub String);

impl TryFrom<MembershipV1> for Membership {
    type Error = BadMembership;

    fn try_from(membership: MembershipV1) -> Result<Self, Self::Error> {
        let configs: Vec<BTreeSet<NodeId>> =
            membership.configs.into_iter().map(|set| set.into_iter().collect()).collect();
        let nodes: BTreeMap<NodeId, NodeInfo> =
            membership.nodes.into_iter().map(|(id, info)| (id, info.into())).collect();
        if configs.is_empty() && nodes.is_empty() {
            return Ok(Self::default());
        }
        Self::new(configs, nodes).map_err(|error| BadMembership(error.to_string()))
    }
}

/// A membership with its position, on disk and wire.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct StoredMembershipV1 {
    /// The entry that made it.
    pub log_id: Option<LogIdV1>,
    /// The members.
    pub membership: MembershipV1,
}

impl From<&StoredMembership> for StoredMembershipV1 {
    fn from(stored: &StoredMembership) -> Self {
        Self { log_id: stored.log_id().as_ref().map(LogIdV1::from), membership: stored.membership().into() }
    }
}

impl TryFrom<StoredMembershipV1> for StoredMembership {
    type Error = BadMembership;

    fn try_from(stored: StoredMembershipV1) -> Result<Self, Self::Error> {
        Ok(Self::new(stored.log_id.map(LogId::from), stored.membership.try_into()?))
    }
}

/// What a log entry carries, on disk and wire.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum PayloadV1 {
    /// A leader's first entry.
    Blank,
    /// The bytes of an [`EntryBytes`].
    Normal(Vec<u8>),
    /// A membership.
    Membership(MembershipV1),
}

impl From<&Payload> for PayloadV1 {
    fn from(payload: &Payload) -> Self {
        match payload {
            openraft::EntryPayload::Blank => Self::Blank,
            openraft::EntryPayload::Normal(bytes) => Self::Normal(bytes.0.to_vec()),
            openraft::EntryPayload::Membership(membership) => Self::Membership(membership.into()),
        }
    }
}

impl TryFrom<PayloadV1> for Payload {
    type Error = BadMembership;

    fn try_from(payload: PayloadV1) -> Result<Self, Self::Error> {
        Ok(match payload {
            PayloadV1::Blank => Self::Blank,
            PayloadV1::Normal(bytes) => Self::Normal(EntryBytes(bytes.into())),
            PayloadV1::Membership(membership) => Self::Membership(membership.try_into()?),
        })
    }
}

/// A log entry, on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LogEntryV1 {
    /// Where it stands.
    pub log_id: LogIdV1,
    /// What it carries.
    pub payload: PayloadV1,
}

impl From<&LogEntry> for LogEntryV1 {
    fn from(entry: &LogEntry) -> Self {
        Self { log_id: (&entry.log_id).into(), payload: (&entry.payload).into() }
    }
}

impl LogEntryV1 {
    /// The entry. (A `TryFrom` would overlap with that of core: the type is an associated one.)
    pub fn into_entry(self) -> Result<LogEntry, BadMembership> {
        Ok(LogEntry { log_id: self.log_id.into(), payload: self.payload.try_into()? })
    }
}
