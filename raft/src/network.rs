//! Openraft's network on top of the [`Transport`] seam: requests out.
//!
//! Which errors pause replication matters: *unreachable* and *refused* do, a lost answer does not.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bincode::{Decode, Encode};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, stream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::v2::RaftNetworkV2;
use openraft::network::{Backoff, RPCOption, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use crate::config::NodeId;
use crate::machine::Published;
use crate::message::{
    self, AppendV1, AppendedV1, AskVoteV1, GiveVoteV1, SnapshotTakenV1, TransferV1, TransferredV1,
};
use crate::snapshot::SnapshotData;
use crate::transport::{Peer, RequestKind, Transport, TransportError};
use crate::types::{LogId, NodeInfo, TypeConfig, Vote, VoteV1};

/// AppendEntries that may be unanswered at once, per member.
const APPENDS_IN_FLIGHT_MAX: usize = 16;
/// How long an AppendEntries with entries waits for its answer. Longer than the heartbeat: a slow disk is no reason
/// to send the same entries again.
const APPEND_TIMEOUT: Duration = Duration::from_secs(3);
/// How long replication to a member that cannot be reached pauses. The transport has a pause of its own between dials;
/// openraft's would grow to a second, in which a member that is back has nothing new and answers nobody.
const RESEND_PAUSE: Duration = Duration::from_millis(50);
/// A snapshot transfer in which nothing moved for this long is given up and begun anew. Verifying one counts too.
const SNAPSHOT_STALL: Duration = Duration::from_secs(60);
/// Until a copy that could not be made is tried again: it may take the disk some time to have room.
const COPY_PAUSE: Duration = Duration::from_secs(5);

type Error = RPCError<TypeConfig>;

/// Makes a [`Network`] per member.
pub struct Networks {
    transport: Arc<dyn Transport>,
    published: Arc<Published>,
}

impl Networks {
    /// All requests go through `transport`, to where `published` says that a member is now.
    pub fn new(transport: Arc<dyn Transport>, published: Arc<Published>) -> Self {
        Self { transport, published }
    }
}

impl RaftNetworkFactory<TypeConfig> for Networks {
    type Network = Network;

    async fn new_client(&mut self, target: NodeId, node: &NodeInfo) -> Network {
        Network {
            transport: Arc::clone(&self.transport),
            published: Arc::clone(&self.published),
            target,
            info: node.clone(),
            append: RequestKind::Append,
        }
    }

    async fn new_heartbeat_client(&mut self, target: NodeId, node: &NodeInfo) -> Network {
        Network { append: RequestKind::Heartbeat, ..self.new_client(target, node).await }
    }
}

/// The way to one member.
pub struct Network {
    transport: Arc<dyn Transport>,
    published: Arc<Published>,
    target: NodeId,
    /// Where it was when openraft asked for the way; used until an applied membership has it.
    info: NodeInfo,
    append: RequestKind,
}

impl Network {
    /// A member that restarts may have another address; openraft keeps the way that it has.
    fn peer(&self) -> Peer {
        let members = self.published.members();
        Peer::Member(self.target, members.stored.get_node(&self.target).unwrap_or(&self.info).clone())
    }

    async fn ask<Q: Encode, A: Decode<()>>(
        &self,
        kind: RequestKind,
        question: &Q,
        timeout: Duration,
    ) -> Result<A, Error> {
        let answer = self.transport.call(&self.peer(), kind, message::encode(question), timeout).await;
        answer_of(answer)
    }

    /// Copies a snapshot, and sends it.
    async fn send(
        &self,
        vote: Vote,
        snapshot: SnapshotData,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let copied = tokio::task::spawn_blocking(move || {
            let file = snapshot.into_file()?;
            Ok((file.open()?, file))
        });
        let (opened, file) = match copied.await.map_err(io::Error::other).flatten() {
            Ok(copied) => copied,
            Err(error) => {
                tracing::error!(%error, to = self.target, "a member needs a snapshot, and there can be no copy of it");
                tokio::time::sleep(COPY_PAUSE).await;
                return Err(StreamingError::Network(NetworkError::new(&error)));
            }
        };
        let header = message::encode(&(VoteV1::from(&vote), file.header().clone()));
        let answer =
            self.transport.send_snapshot(&self.peer(), header, opened, file.length(), SNAPSHOT_STALL);
        Ok(answer_of::<SnapshotTakenV1>(answer.await)?.into())
    }

    /// The request's future exists, and so the request is under way, when this returns.
    fn append(
        &self,
        request: &AppendEntriesRequest<TypeConfig>,
        option: &RPCOption,
    ) -> impl Future<Output = Result<AppendEntriesResponse<TypeConfig>, Error>> + Send + use<> {
        let timeout = match self.append {
            RequestKind::Heartbeat => option.hard_ttl(),
            _ => APPEND_TIMEOUT,
        };
        let body = message::encode(&AppendV1::from(request));
        let answer = self.transport.call(&self.peer(), self.append, body, timeout);
        async move { answer_of::<AppendedV1>(answer.await).map(AppendEntriesResponse::from) }
    }
}

impl RaftNetworkV2<TypeConfig> for Network {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, Error> {
        self.append(&request, &option).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<StreamAppendResult<TypeConfig>, Error>>, Error>>
    where
        S: Stream<Item = AppendEntriesRequest<TypeConfig>> + Send + Unpin + 'static,
    {
        let this: &'s Self = self;
        let answers = input
            .map(move |request| {
                let previous = request.prev_log_id;
                let last = request.entries.last().map(|entry| entry.log_id).or(previous);
                let answer = this.append(&request, &option);
                async move { (previous, last, answer.await) }
            })
            .buffered(APPENDS_IN_FLIGHT_MAX);
        let results: BoxStream<'s, _> = Box::pin(until_first_failure(answers));
        Box::pin(async move { Ok(results) })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Error> {
        let answer: GiveVoteV1 =
            self.ask(RequestKind::Vote, &AskVoteV1::from(&request), option.hard_ttl()).await?;
        Ok(answer.into())
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, Error> {
        let answer: GiveVoteV1 =
            self.ask(RequestKind::PreVote, &AskVoteV1::from(&request), option.hard_ttl()).await?;
        Ok(answer.into())
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: openraft::alias::SnapshotOf<TypeConfig, SnapshotData>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        tokio::select! {
            answer = self.send(vote, snapshot.snapshot) => answer,
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(RESEND_PAUSE)))
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, Error> {
        let answer: TransferredV1 =
            self.ask(RequestKind::TransferLeader, &TransferV1::from(&request), option.hard_ttl()).await?;
        Ok(answer.into_response())
    }
}

/// Passes results on up to and with the first that is not a full success: what was sent after it has to be sent
/// again.
fn until_first_failure<'s>(
    answers: impl Stream<Item = (Option<LogId>, Option<LogId>, Result<AppendEntriesResponse<TypeConfig>, Error>)>
    + Send
    + 's,
) -> impl Stream<Item = Result<StreamAppendResult<TypeConfig>, Error>> + Send + 's {
    stream::unfold(Some(Box::pin(answers)), |answers| async move {
        let mut answers = answers?;
        let (previous, last, answer) = answers.next().await?;
        let response = match answer {
            Ok(response) => response,
            Err(error) => return Some((Err(error), None)),
        };
        let full = match &response {
            AppendEntriesResponse::Success => true,
            AppendEntriesResponse::PartialSuccess(upto) => *upto == last,
            AppendEntriesResponse::Conflict | AppendEntriesResponse::HigherVote(_) => false,
        };
        let result = response.into_stream_result(previous, last);
        Some((Ok(result), full.then_some(answers)))
    })
}

fn answer_of<A: Decode<()>>(answer: Result<bytes::Bytes, TransportError>) -> Result<A, Error> {
    let bytes = answer.map_err(|error| match &error {
        TransportError::Unreachable { .. } | TransportError::Refused { .. } => {
            Error::Unreachable(Unreachable::new(&error))
        }
        TransportError::Lost { .. } => Error::Network(NetworkError::new(&error)),
    })?;
    message::decode(&bytes).map_err(|error| Error::Unreachable(Unreachable::new(&error)))
}
