//! Hellos: what two nodes say of themselves before anything else, and whether they fit.

use bincode::{Decode, Encode};

use super::{HELLO_BYTES_MAX, PROTOCOL_MAX, PROTOCOL_MIN, RELEASE, cut};
use crate::codec::{self, CodecError, Kind};
use crate::config::NodeId;
use crate::transport::Identity;
use crate::types::ClusterId;

/// The format of both bodies. Never another one: it is read before versions are known (R3).
const HELLO_FORMAT: u16 = 1;

/// What a node says of itself before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The oldest protocol that it speaks.
    pub protocol_min: u16,
    /// The newest one.
    pub protocol_max: u16,
    /// Who it is.
    pub identity: Identity,
    /// Its release, for operators.
    pub release: String,
}

impl Hello {
    /// The hello of this release.
    pub fn of(identity: Identity) -> Self {
        Self { protocol_min: PROTOCOL_MIN, protocol_max: PROTOCOL_MAX, identity, release: RELEASE.to_owned() }
    }

    /// Its sealed bytes; at most [`HELLO_BYTES_MAX`].
    pub fn encode(&self) -> Vec<u8> {
        codec::seal_value(Kind::Hello, HELLO_FORMAT, &HelloV1::from(self))
    }

    /// Reads sealed bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        open_small::<HelloV1>(bytes).map(Self::from)
    }
}

/// What a node answers to a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloAnswer {
    /// They talk, in this protocol; and who answers.
    Welcome {
        /// The newest that both speak.
        protocol: u16,
        /// The answering node's hello.
        hello: Hello,
    },
    /// They do not.
    Refused {
        /// Why, for the operator.
        reason: String,
    },
}

impl HelloAnswer {
    /// Its sealed bytes; at most [`HELLO_BYTES_MAX`].
    pub fn encode(&self) -> Vec<u8> {
        let answer = match self {
            Self::Welcome { protocol, hello } => {
                HelloAnswerV1::Welcome { protocol: *protocol, hello: hello.into() }
            }
            Self::Refused { reason } => HelloAnswerV1::Refused { reason: cut(reason).to_owned() },
        };
        codec::seal_value(Kind::Hello, HELLO_FORMAT, &answer)
    }

    /// Reads sealed bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        Ok(match open_small::<HelloAnswerV1>(bytes)? {
            HelloAnswerV1::Welcome { protocol, hello } => Self::Welcome { protocol, hello: hello.into() },
            HelloAnswerV1::Refused { reason } => Self::Refused { reason: cut(&reason).to_owned() },
        })
    }
}

/// What is known of a peer before its hello is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// The number in its certificate.
    pub node_id: NodeId,
    /// The directory that the membership has for it; none: it dialled us, or we only know an address.
    pub directory: Option<u128>,
}

/// Whether two hellos fit, seen from `own`; the protocol to speak if so.
///
/// A node without a cluster fits every cluster: it may want to join. Who is a member is asked of `Service::admit`
/// afterwards.
pub fn negotiate(own: &Hello, peer: &Hello, expected: Expected) -> Result<u16, Mismatch> {
    let protocol = own.protocol_max.min(peer.protocol_max);
    if protocol < own.protocol_min.max(peer.protocol_min) {
        return Err(Mismatch::Protocol {
            own: (own.protocol_min, own.protocol_max, own.release.clone()),
            peer: (peer.protocol_min, peer.protocol_max, peer.release.clone()),
        });
    }
    let (ours, theirs) = (&own.identity, &peer.identity);
    if theirs.node_id != expected.node_id {
        return Err(Mismatch::NodeId { certificate: expected.node_id, hello: theirs.node_id });
    }
    if theirs.node_id == ours.node_id {
        return Err(Mismatch::SameNode { node_id: ours.node_id });
    }
    if let (Some(ours), Some(theirs)) = (ours.cluster_id, theirs.cluster_id)
        && ours != theirs
    {
        return Err(Mismatch::Cluster { own: ours, peer: theirs });
    }
    if expected.directory.is_some_and(|directory| directory != theirs.directory) {
        return Err(Mismatch::Directory { node_id: theirs.node_id });
    }
    Ok(protocol)
}

/// Why two hellos do not fit. `own` is who says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// No protocol that both speak.
    #[error(
        "no common protocol: release {} speaks {} to {}, release {} speaks {} to {}; upgrade the older one",
        .own.2, .own.0, .own.1, .peer.2, .peer.0, .peer.1
    )]
    Protocol {
        /// Oldest, newest and release.
        own: (u16, u16, String),
        /// Oldest, newest and release.
        peer: (u16, u16, String),
    },
    /// It says that it is another node than its certificate says.
    #[error(
        "the certificate is of node {certificate}, the hello says node {hello}; start it with --node-id {certificate}, \
         or make a certificate for node {hello}"
    )]
    NodeId {
        /// As in the certificate.
        certificate: NodeId,
        /// As in the hello.
        hello: NodeId,
    },
    /// Two processes have the same number.
    #[error("both are node {node_id}; every node needs a number of its own, and a certificate for it")]
    SameNode {
        /// The number.
        node_id: NodeId,
    },
    /// They are of two clusters.
    #[error("it belongs to cluster {peer}, not to {own}; a node's directory belongs to one cluster for good")]
    Cluster {
        /// The speaker's.
        own: ClusterId,
        /// The peer's.
        peer: ClusterId,
    },
    /// It has lost what the member with its number had promised.
    #[error(
        "node {node_id} has another directory than the member: it has forgotten what it promised; remove node {node_id} \
         and let this one join under a new number"
    )]
    Directory {
        /// The number.
        node_id: NodeId,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
struct HelloV1 {
    protocol_min: u16,
    protocol_max: u16,
    cluster_id: Option<u128>,
    node_id: u64,
    directory: u128,
    release: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
enum HelloAnswerV1 {
    Welcome { protocol: u16, hello: HelloV1 },
    Refused { reason: String },
}

impl From<&Hello> for HelloV1 {
    fn from(hello: &Hello) -> Self {
        Self {
            protocol_min: hello.protocol_min,
            protocol_max: hello.protocol_max,
            cluster_id: hello.identity.cluster_id.map(|id| id.0),
            node_id: hello.identity.node_id,
            directory: hello.identity.directory,
            release: cut(&hello.release).to_owned(),
        }
    }
}

impl From<HelloV1> for Hello {
    fn from(hello: HelloV1) -> Self {
        Self {
            protocol_min: hello.protocol_min,
            protocol_max: hello.protocol_max,
            identity: Identity {
                cluster_id: hello.cluster_id.map(ClusterId),
                node_id: hello.node_id,
                directory: hello.directory,
            },
            release: hello.release,
        }
    }
}

/// Opens a hello. Its own limit, because `codec` lets a body claim far more memory than a hello ever needs.
fn open_small<T: Decode<()>>(bytes: &[u8]) -> Result<T, CodecError> {
    let kind = Kind::Hello;
    let (found, body) = codec::open(kind, bytes)?;
    if found != HELLO_FORMAT {
        return Err(CodecError::NewerFormat { kind, found, newest: HELLO_FORMAT });
    }
    let limits = bincode::config::standard().with_limit::<HELLO_BYTES_MAX>();
    match bincode::decode_from_slice(body, limits) {
        Ok((value, consumed)) if consumed == body.len() => Ok(value),
        Ok((_, consumed)) => Err(CodecError::Length { kind, expected: consumed, found: body.len() }),
        Err(error) => Err(CodecError::Body { kind, reason: error.to_string() }),
    }
}
