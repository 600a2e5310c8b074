//! What this node answers to its peers.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use tokio::io::AsyncRead;

use crate::handle::Node;
use crate::message::{
    self, AppendV1, AppendedV1, AskVoteV1, GiveVoteV1, JoinV1, LeaseRequestV1, ProposeV1, ProposedV1,
    SnapshotTakenV1, TransferV1, TransferredV1,
};
use crate::snapshot::{SnapshotData, SnapshotHeaderV1};
use crate::transport::{Identity, RequestKind, Service};
use crate::types::{TypeConfig, VoteV1};

/// The node as its peers meet it. Does not hold it: the transport holds the service and the node the transport, and
/// a circle would keep the socket open for ever.
pub(super) struct NodeService {
    node: Weak<Node>,
    /// What is said when the node is gone: nobody hears it, as the transport is closed before.
    gone: Identity,
}

impl NodeService {
    pub(super) fn new(node: &Arc<Node>) -> Self {
        Self { node: Arc::downgrade(node), gone: node.identity() }
    }

    fn node(&self) -> Result<Arc<Node>, String> {
        self.node.upgrade().ok_or_else(|| format!("node {} has stopped", self.gone.node_id))
    }
}

impl Service for NodeService {
    fn identity(&self) -> Identity {
        self.node().map_or_else(|_| self.gone.clone(), |node| node.identity())
    }

    fn admit(&self, peer: &Identity) -> Result<(), String> {
        self.node()?.admit(peer)
    }

    fn handle(
        &self,
        from: Identity,
        kind: RequestKind,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        let node = match self.node() {
            Ok(node) => node,
            Err(stopped) => return std::future::ready(Err(stopped)).boxed(),
        };
        match kind {
            RequestKind::Append | RequestKind::Heartbeat => append(&node, &from, &body),
            RequestKind::Vote
            | RequestKind::PreVote
            | RequestKind::TransferLeader
            | RequestKind::ReadIndex
            | RequestKind::Join
            | RequestKind::Propose
            | RequestKind::Forward
            | RequestKind::Ask
            | RequestKind::Lease => async move { answer(node, from, kind, body).await }.boxed(),
        }
    }

    fn handle_snapshot(
        &self,
        from: Identity,
        header: Bytes,
        length: u64,
        file: Box<dyn AsyncRead + Send + Unpin>,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        let node = self.node();
        async move { take_snapshot(node?, from, header, length, file).await }.boxed()
    }
}

impl Node {
    /// Whether this node talks with `peer` at all.
    fn admit(&self, peer: &Identity) -> Result<(), String> {
        if let (Some(own), Some(theirs)) = (self.cluster.get(), peer.cluster_id)
            && *own != theirs
        {
            return Err(format!(
                "node {} is of cluster {own}, node {} of cluster {theirs}",
                self.id, peer.node_id
            ));
        }
        if peer.node_id == self.id && peer.directory != self.info.directory {
            return Err(format!("there are two nodes {}: each node needs an id of its own", self.id));
        }
        self.recognize(peer)
    }

    /// That a peer is not one that must never come back: a member that lost its memory, or one that was removed.
    pub(super) fn recognize(&self, peer: &Identity) -> Result<(), String> {
        let members = self.machine.published().members();
        if members.removed.contains(&peer.node_id) {
            return Err(format!(
                "node {} was removed from the cluster, and its id is not used again; give the node a new id, a \
                 certificate for it, and an empty data directory",
                peer.node_id
            ));
        }
        match self.member(peer.node_id) {
            Some(known) if known.directory != peer.directory => Err(format!(
                "node {id} is a member with another data directory, and a member must not forget what it promised; \
                 restore that directory, or remove node {id} from the cluster and let this node join with a new id",
                id = peer.node_id
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// That a request of raft may be heard: both are of one cluster, and the peer was not removed from it since its
    /// connection was let in.
    fn of_this_cluster(&self, from: &Identity) -> Result<(), String> {
        self.recognize(from)?;
        match (self.cluster.get(), from.cluster_id) {
            (Some(own), Some(theirs)) if *own == theirs => Ok(()),
            (None, _) => Err(format!("node {} is part of no cluster yet", self.id)),
            (Some(own), _) => Err(format!("node {} is not of cluster {own}", from.node_id)),
        }
    }
}

/// Whether a request acts for the peer's clients. The others are raft's own, and a node that has just been let in gets
/// them before it knows who the members are.
fn acts_for_clients(kind: RequestKind) -> bool {
    match kind {
        RequestKind::ReadIndex
        | RequestKind::Propose
        | RequestKind::Forward
        | RequestKind::Ask
        | RequestKind::Lease => true,
        RequestKind::Append
        | RequestKind::Heartbeat
        | RequestKind::Vote
        | RequestKind::PreVote
        | RequestKind::TransferLeader
        | RequestKind::Join => false,
    }
}

/// That a request may act for clients: only a member's may. Its certificate alone says no more than that the CA once
/// signed it.
fn of_a_member(node: &Node, from: &Identity) -> Result<(), String> {
    match node.member(from.node_id) {
        Some(_) => Ok(()),
        None => Err(format!("node {} is not a member of the cluster", from.node_id)),
    }
}

/// Hands the entries to raft before it returns, so that they keep their order, and answers when they are durable.
fn append(node: &Arc<Node>, from: &Identity, body: &[u8]) -> BoxFuture<'static, Result<Bytes, String>> {
    let request = node.of_this_cluster(from).and_then(|()| {
        let append: AppendV1 = decode(body)?;
        AppendEntriesRequest::<TypeConfig>::try_from(append).map_err(|error| error.to_string())
    });
    let request = match request {
        Ok(request) => request,
        Err(reason) => return async move { Err(reason) }.boxed(),
    };
    let raft = node.raft.clone();
    let mut answered = Box::pin(async move {
        let answer: AppendEntriesResponse<TypeConfig> =
            raft.append_entries(request).await.map_err(|error| error.to_string())?;
        Ok(message::encode(&AppendedV1::from(&answer)))
    });
    match (&mut answered).now_or_never() {
        Some(answer) => async move { answer }.boxed(),
        None => answered,
    }
}

async fn answer(node: Arc<Node>, from: Identity, kind: RequestKind, body: Bytes) -> Result<Bytes, String> {
    if kind == RequestKind::Join {
        let join: JoinV1 = decode(&body)?;
        return Ok(message::encode(&node.answer_join(&from, join).await));
    }
    node.of_this_cluster(&from)?;
    if acts_for_clients(kind) {
        of_a_member(&node, &from)?;
    }
    match kind {
        RequestKind::Vote => {
            let ask: AskVoteV1 = decode(&body)?;
            let given = node.raft.vote(ask.into()).await.map_err(|error| error.to_string())?;
            Ok(message::encode(&GiveVoteV1::from(&given)))
        }
        RequestKind::PreVote => {
            let ask: AskVoteV1 = decode(&body)?;
            let given = node.raft.pre_vote(ask.into()).await.map_err(|error| error.to_string())?;
            Ok(message::encode(&GiveVoteV1::from(&given)))
        }
        RequestKind::TransferLeader => {
            let transfer: TransferV1 = decode(&body)?;
            let answer = node.raft.handle_transfer_leader(transfer.into()).await;
            let answer = answer.map_err(|error| error.to_string())?;
            Ok(message::encode(&TransferredV1::from(&answer)))
        }
        RequestKind::ReadIndex => Ok(message::encode(&node.confirmed_index().await)),
        RequestKind::Lease => {
            let request: LeaseRequestV1 = decode(&body)?;
            Ok(message::encode(&node.grant_lease(from.node_id, &request.into()).await))
        }
        RequestKind::Propose => {
            let propose: ProposeV1 = decode(&body)?;
            let answer = node.propose_here(propose.proposal, node.deadline()).await;
            let answer: ProposedV1 = answer.map(|receipt| (receipt.version.0, receipt.outcomes));
            Ok(message::encode(&answer))
        }
        RequestKind::Forward => match node.forward_handler() {
            Some(handler) => Ok(handler.handle(from.node_id, body).await),
            None => Err(format!("node {} is not ready to run statements yet", node.id)),
        },
        RequestKind::Ask => match node.question_handler() {
            Some(handler) => Ok(handler.handle(from.node_id, body).await),
            None => Err(format!("node {} is not ready to answer yet", node.id)),
        },
        RequestKind::Append | RequestKind::Heartbeat | RequestKind::Join => {
            Err(format!("{kind:?} is answered elsewhere"))
        }
    }
}

async fn take_snapshot(
    node: Arc<Node>,
    from: Identity,
    header: Bytes,
    length: u64,
    file: Box<dyn AsyncRead + Send + Unpin>,
) -> Result<Bytes, String> {
    node.of_this_cluster(&from)?;
    let (vote, header): (VoteV1, SnapshotHeaderV1) = decode(&header)?;
    if Some(&header.cluster) != node.cluster.get() {
        return Err(format!("the snapshot is of cluster {}", header.cluster));
    }
    if header.length != length {
        return Err(format!("the snapshot has {} bytes, and {length} are announced", header.length));
    }
    let meta = header.meta().map_err(|error| error.to_string())?;
    let received = node.snapshots.receive(header, file).await.map_err(|error| error.to_string())?;
    // Here, where it can be refused; an error of the installation would end this node.
    let snapshots = Arc::clone(&node.snapshots);
    let checked = tokio::task::spawn_blocking(move || snapshots.check(&received)).await;
    let checked = checked.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
    let snapshot = openraft::storage::Snapshot { meta, snapshot: SnapshotData::Received(checked) };
    let taken = node.raft.install_full_snapshot(vote.into(), snapshot).await;
    let taken = taken.map_err(|error| error.to_string())?;
    Ok(message::encode(&SnapshotTakenV1::from(&taken)))
}

fn decode<T: bincode::Decode<()>>(body: &[u8]) -> Result<T, String> {
    message::decode(body).map_err(|error| error.to_string())
}
