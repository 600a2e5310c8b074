//! The `Transport` seam: how members talk. QUIC in life (`quic`), memory in tests ([`memory`]).
//!
//! A transport moves bytes between authenticated peers and knows nothing of what they mean. Who is let in is decided
//! by the [`Service`], who it is was proved by the transport (the certificate names the node id).

pub mod memory;

use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::io::AsyncRead;

use crate::config::NodeId;
use crate::types::{ClusterId, NodeInfo};

/// What a request is about. The number is on the wire: appended to, never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum RequestKind {
    /// AppendEntries with entries: delivered in order of the calls, many in flight, on a stream of its own.
    Append = 1,
    /// AppendEntries of the heartbeat: never waits behind [`Self::Append`].
    Heartbeat = 2,
    /// RequestVote.
    Vote = 3,
    /// The same, without consequences.
    PreVote = 4,
    /// The leader hands over.
    TransferLeader = 5,
    /// Asks the leader for an index from which a linearizable read may be served.
    ReadIndex = 6,
    /// A node asks to be let in.
    Join = 7,
    /// A catalog proposal for the leader.
    Propose = 8,
    /// A statement for the leader's, or one member's, `ForwardHandler`.
    Forward = 9,
    /// A question to one member about itself, for its handler of questions. Answered at once, whatever its writer does.
    Ask = 10,
    /// Asks the leader for a read lease, and says how far the own view is.
    Lease = 11,
}

impl RequestKind {
    /// All, in order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Append,
        Self::Heartbeat,
        Self::Vote,
        Self::PreVote,
        Self::TransferLeader,
        Self::ReadIndex,
        Self::Join,
        Self::Propose,
        Self::Forward,
        Self::Ask,
        Self::Lease,
    ];

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self as u16
    }

    /// The kind of a number, or none: the peer is newer.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// Whom to reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A member: its certificate must name this id, its hello this directory.
    Member(NodeId, NodeInfo),
    /// Whoever of the same CA answers there: for [`RequestKind::Join`] only.
    Address(String),
}

/// What a node says of itself in the hello of each connection, next to the protocol versions that it speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its cluster; none before `initialize` or `join`.
    pub cluster_id: Option<ClusterId>,
    /// Its number. The transport has checked it against the certificate before anyone else sees it.
    pub node_id: NodeId,
    /// Its directory.
    pub directory: u128,
}

/// Why a request was not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection: the request was not delivered. Worth a pause before the next try.
    #[error("cannot reach {peer}: {cause}")]
    Unreachable {
        /// Whom.
        peer: String,
        /// Why.
        cause: String,
    },
    /// The peer, or this node on seeing who the peer is, said no: another cluster, another directory, a removed id,
    /// no common protocol version, a request that it does not know.
    #[error("{peer} refused: {reason}")]
    Refused {
        /// Who.
        peer: String,
        /// Its words.
        reason: String,
    },
    /// The connection was lost after the request was sent, or no answer came in time: it may have been handled.
    #[error("no answer from {peer}: {cause}")]
    Lost {
        /// Who.
        peer: String,
        /// Why.
        cause: String,
    },
}

/// The sending side. Cheap to share; all methods may be called from many tasks at once.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request and waits for its answer, at most `timeout` (connecting included).
    ///
    /// [`RequestKind::Append`] to one member: sent in the order in which this method was called (not in which the
    /// futures are polled), without waiting for earlier answers. Dropping the future gives up the answer, not the
    /// request.
    fn call(
        &self,
        to: &Peer,
        kind: RequestKind,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// Streams `header` and then `length` bytes of `file`, from its current position, to a member on a connection of
    /// their own, and waits for the answer. Fails when nothing moved for `stall`. Dropping the future stops it.
    fn send_snapshot(
        &self,
        to: &Peer,
        header: Bytes,
        file: File,
        length: u64,
        stall: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// Begins to serve. Called once; until then the identity is unknown, so nothing is connected either.
    fn serve(&self, service: Arc<dyn Service>);

    /// Closes all connections and stops serving. Who dials it is refused from then on.
    fn close(&self) -> BoxFuture<'static, ()>;

    /// Gives the address of a closed transport back, so that another one can have it: who dials it hears nothing any more.
    fn release(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// What this node answers; implemented by `handle`.
pub trait Service: Send + Sync + 'static {
    /// What this node says of itself. Asked for each hello: the cluster comes later.
    fn identity(&self) -> Identity;

    /// Whether to talk with this peer at all; an error is told to the peer as the reason. Asked on both sides of each
    /// new connection, after its hello. A peer or own node without a cluster is no reason: it may want to join.
    fn admit(&self, peer: &Identity) -> Result<(), String>;

    /// Answers one request; an error is told to the peer as [`TransportError::Refused`].
    ///
    /// [`RequestKind::Append`] of one peer: called in the order in which they came, without waiting for the answer of
    /// the one before. The answers go back as they come.
    fn handle(
        &self,
        from: Identity,
        kind: RequestKind,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, String>>;

    /// Takes a snapshot: exactly `length` bytes can be read from `file`, then it ends; fewer if the peer broke off.
    fn handle_snapshot(
        &self,
        from: Identity,
        header: Bytes,
        length: u64,
        file: Box<dyn AsyncRead + Send + Unpin>,
    ) -> BoxFuture<'static, Result<Bytes, String>>;
}
