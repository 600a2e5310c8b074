//! What members say to each other, on the wire. Each struct is frozen: the protocol version of the connection's hello
//! says which structs are spoken.
//!
//! Bodies only; `transport` carries them with their [`crate::transport::RequestKind`].

use bincode::{Decode, Encode};
use bytes::Bytes;
use grantd_catalog::command::Outcome;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::raft::{TransferLeaderError, TransferLeaderRequest};

use crate::codec::{self, CodecError, Kind};
use crate::entry::Proposal;
use crate::lease::{BootId, Heard, LeaseRequest, Moment};
use crate::types::{
    BadMembership, ClusterId, LogEntryV1, LogId, LogIdV1, NodeInfoV1, TypeConfig, Vote, VoteV1,
};

/// The bytes of a message.
pub fn encode<T: Encode>(message: &T) -> Bytes {
    codec::seal_value(Kind::Message, FORMAT, message).into()
}

/// The message that the bytes are.
pub fn decode<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    codec::open_value(Kind::Message, FORMAT, bytes)
}

/// The format of all messages of this module.
const FORMAT: u16 = 1;

/// AppendEntries.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AppendV1 {
    /// The leader.
    pub vote: VoteV1,
    /// What comes before `entries`.
    pub previous: Option<LogIdV1>,
    /// Empty: a heartbeat, or news of a commit.
    pub entries: Vec<LogEntryV1>,
    /// What the leader knows as committed.
    pub committed: Option<LogIdV1>,
}

impl From<&AppendEntriesRequest<TypeConfig>> for AppendV1 {
    fn from(request: &AppendEntriesRequest<TypeConfig>) -> Self {
        Self {
            vote: (&request.vote).into(),
            previous: request.prev_log_id.as_ref().map(LogIdV1::from),
            entries: request.entries.iter().map(LogEntryV1::from).collect(),
            committed: request.leader_commit.as_ref().map(LogIdV1::from),
        }
    }
}

impl TryFrom<AppendV1> for AppendEntriesRequest<TypeConfig> {
    type Error = BadMembership;

    fn try_from(append: AppendV1) -> Result<Self, Self::Error> {
        let entries = append.entries.into_iter().map(LogEntryV1::into_entry).collect::<Result<_, _>>()?;
        Ok(Self {
            vote: append.vote.into(),
            prev_log_id: append.previous.map(LogId::from),
            entries,
            leader_commit: append.committed.map(LogId::from),
        })
    }
}

/// The answer to AppendEntries.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum AppendedV1 {
    /// All entries are durable.
    Success,
    /// Those up to here are.
    Partial(Option<LogIdV1>),
    /// The entry before them is missing or another one.
    Conflict,
    /// There is a newer leader or candidate.
    HigherVote(VoteV1),
}

impl From<&AppendEntriesResponse<TypeConfig>> for AppendedV1 {
    fn from(response: &AppendEntriesResponse<TypeConfig>) -> Self {
        match response {
            AppendEntriesResponse::Success => Self::Success,
            AppendEntriesResponse::PartialSuccess(upto) => Self::Partial(upto.as_ref().map(LogIdV1::from)),
            AppendEntriesResponse::Conflict => Self::Conflict,
            AppendEntriesResponse::HigherVote(vote) => Self::HigherVote(vote.into()),
        }
    }
}

impl From<AppendedV1> for AppendEntriesResponse<TypeConfig> {
    fn from(appended: AppendedV1) -> Self {
        match appended {
            AppendedV1::Success => Self::Success,
            AppendedV1::Partial(upto) => Self::PartialSuccess(upto.map(LogId::from)),
            AppendedV1::Conflict => Self::Conflict,
            AppendedV1::HigherVote(vote) => Self::HigherVote(vote.into()),
        }
    }
}

/// RequestVote and PreVote.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AskVoteV1 {
    /// For whom.
    pub vote: VoteV1,
    /// The end of the candidate's log.
    pub last: Option<LogIdV1>,
    /// The leader told it to stand.
    pub transfer: bool,
}

impl From<&VoteRequest<TypeConfig>> for AskVoteV1 {
    fn from(request: &VoteRequest<TypeConfig>) -> Self {
        Self {
            vote: (&request.vote).into(),
            last: request.last_log_id.as_ref().map(LogIdV1::from),
            transfer: request.leadership_transfer,
        }
    }
}

impl From<AskVoteV1> for VoteRequest<TypeConfig> {
    fn from(ask: AskVoteV1) -> Self {
        Self {
            vote: ask.vote.into(),
            last_log_id: ask.last.map(LogId::from),
            leadership_transfer: ask.transfer,
        }
    }
}

/// The answer to RequestVote and PreVote.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct GiveVoteV1 {
    /// The vote that the answering member holds.
    pub vote: VoteV1,
    /// Whether it was given.
    pub granted: bool,
    /// The end of its log.
    pub last: Option<LogIdV1>,
}

impl From<&VoteResponse<TypeConfig>> for GiveVoteV1 {
    fn from(response: &VoteResponse<TypeConfig>) -> Self {
        Self {
            vote: (&response.vote).into(),
            granted: response.vote_granted,
            last: response.last_log_id.as_ref().map(LogIdV1::from),
        }
    }
}

impl From<GiveVoteV1> for VoteResponse<TypeConfig> {
    fn from(give: GiveVoteV1) -> Self {
        Self { vote: give.vote.into(), vote_granted: give.granted, last_log_id: give.last.map(LogId::from) }
    }
}

/// The leader hands over.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct TransferV1 {
    /// The leader's vote.
    pub from: VoteV1,
    /// Who shall lead.
    pub to: u64,
    /// What its log must hold.
    pub last: Option<LogIdV1>,
}

impl From<&TransferLeaderRequest<TypeConfig>> for TransferV1 {
    fn from(request: &TransferLeaderRequest<TypeConfig>) -> Self {
        Self {
            from: request.from_leader().into(),
            to: *request.to_node_id(),
            last: request.last_log_id().map(LogIdV1::from),
        }
    }
}

impl From<TransferV1> for TransferLeaderRequest<TypeConfig> {
    fn from(transfer: TransferV1) -> Self {
        Self::new(transfer.from.into(), transfer.to, transfer.last.map(LogId::from))
    }
}

/// The answer to [`TransferV1`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TransferredV1 {
    /// It stands for election.
    Standing,
    /// It has seen a newer leader.
    VoteChanged {
        /// The leader's vote.
        expected: VoteV1,
        /// The member's.
        actual: VoteV1,
    },
    /// Its log is behind.
    LogNotFlushed {
        /// What it must hold.
        expected: Option<LogIdV1>,
        /// What it holds.
        actual: Option<LogIdV1>,
    },
}

impl From<&Result<(), TransferLeaderError<TypeConfig>>> for TransferredV1 {
    fn from(response: &Result<(), TransferLeaderError<TypeConfig>>) -> Self {
        match response {
            Ok(()) => Self::Standing,
            Err(TransferLeaderError::VoteChanged { expected, actual }) => {
                Self::VoteChanged { expected: expected.into(), actual: actual.into() }
            }
            Err(TransferLeaderError::LogNotFlushed { expected, actual }) => Self::LogNotFlushed {
                expected: expected.as_ref().map(LogIdV1::from),
                actual: actual.as_ref().map(LogIdV1::from),
            },
        }
    }
}

impl TransferredV1 {
    /// Openraft's form.
    pub fn into_response(self) -> Result<(), TransferLeaderError<TypeConfig>> {
        match self {
            Self::Standing => Ok(()),
            Self::VoteChanged { expected, actual } => {
                Err(TransferLeaderError::VoteChanged { expected: expected.into(), actual: actual.into() })
            }
            Self::LogNotFlushed { expected, actual } => Err(TransferLeaderError::LogNotFlushed {
                expected: expected.map(LogId::from),
                actual: actual.map(LogId::from),
            }),
        }
    }
}

/// The answer to a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotTakenV1 {
    /// The vote that the answering member holds.
    pub vote: VoteV1,
}

impl From<&SnapshotResponse<TypeConfig>> for SnapshotTakenV1 {
    fn from(response: &SnapshotResponse<TypeConfig>) -> Self {
        Self { vote: (&response.vote).into() }
    }
}

impl From<SnapshotTakenV1> for SnapshotResponse<TypeConfig> {
    fn from(taken: SnapshotTakenV1) -> Self {
        Self::new(Vote::from(taken.vote))
    }
}

/// Why the leader, or who was taken for it, cannot say.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum NoAnswerV1 {
    /// It does not lead; nothing was proposed.
    NotLeader {
        /// Who does, as far as it knows.
        leader: Option<u64>,
    },
    /// No quorum confirmed it in time; nothing was proposed.
    NoQuorum,
    /// Too much waits; nothing was proposed.
    Busy,
    /// It was proposed and its outcome is not known.
    Unknown(String),
    /// It stops; nothing was proposed.
    Stopping,
}

/// The answer to ReadIndex, whose request is empty.
pub type ReadIndexedV1 = Result<u64, NoAnswerV1>;

/// A catalog proposal for the leader.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ProposeV1 {
    /// What is proposed.
    pub proposal: Proposal,
}

/// What came of it: the version and the outcomes.
pub type ProposedV1 = Result<(u64, Vec<Outcome>), NoAnswerV1>;

/// A node asks for a read lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct LeaseRequestV1 {
    /// Which run of its process asks.
    pub boot: u64,
    /// When, in nanoseconds of its own clock.
    pub sent: u64,
    /// The version of its view.
    pub applied: u64,
    /// What it heard last of its leader's clock.
    pub heard: Option<HeardV1>,
}

/// A reading of a leader's clock, and when the holder got it, both in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct HeardV1 {
    /// The leader's term.
    pub term: u64,
    /// By the leader's clock.
    pub told: u64,
    /// By the holder's.
    pub at: u64,
}

impl From<LeaseRequest> for LeaseRequestV1 {
    fn from(request: LeaseRequest) -> Self {
        let heard = request.heard.map(|heard| HeardV1 {
            term: heard.term,
            told: heard.told.nanos,
            at: heard.at.nanos,
        });
        Self { boot: request.boot.0, sent: request.sent.nanos, applied: request.applied, heard }
    }
}

impl From<LeaseRequestV1> for LeaseRequest {
    fn from(request: LeaseRequestV1) -> Self {
        let heard = request.heard.map(|heard| Heard {
            term: heard.term,
            told: Moment { nanos: heard.told },
            at: Moment { nanos: heard.at },
        });
        let sent = Moment { nanos: request.sent };
        Self { boot: BootId(request.boot), sent, applied: request.applied, heard }
    }
}

/// The answer: the leader's term, or why there is no lease.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum LeaseAnswerV1 {
    /// The lease of the request with this run and time.
    Granted {
        /// Of the request.
        boot: u64,
        /// Of the request.
        sent: u64,
        /// The leader's.
        term: u64,
        /// Nanoseconds on the holder's clock, from when it sent the request.
        length: u64,
        /// What the leader's clock shows when it answers, in nanoseconds.
        told: u64,
        /// The version of the leader's view.
        newest: u64,
    },
    /// Ask again when this version is applied.
    NotBefore(u64),
    /// It is no member, or a later run of its process has asked.
    Never,
    /// It does not lead, or nobody confirmed that it does.
    NoAnswer(NoAnswerV1),
    /// The clocks of the two differ by more than two clocks may.
    ClockOff {
        /// By how many millionths the holder's is faster, at least.
        ppm: i64,
        /// The leader's term.
        term: u64,
        /// What the leader's clock shows when it answers, in nanoseconds.
        told: u64,
    },
}

/// A node asks to be let in.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct JoinV1 {
    /// The cluster that its directory is of; none: which cluster is this?
    pub cluster: Option<ClusterId>,
    /// Its number.
    pub node: u64,
    /// Its addresses and directory.
    pub info: NodeInfoV1,
}

/// The answer to [`JoinV1`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum JoinedV1 {
    /// The cluster. Ask again as one whose directory is of this cluster.
    Cluster(ClusterId),
    /// It is a member now, or was.
    Member,
    /// Ask there.
    Leader {
        /// Where the leader's peers reach it; none: it is not known yet, or this node is in no cluster yet.
        address: Option<String>,
    },
    /// Never: the reason and the way out.
    Refused(String),
    /// Not now: the reason.
    Later(String),
}
