//! Inwards: connections that other nodes dialled, and what they ask.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use quinn::{Connection, Incoming, RecvStream, SendStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::stream::{
    Outgoing, Outlet, ReadFailure, read_array, read_body, read_header, read_hello, write_hello,
};
use super::{
    CONNECTIONS_MAX, CloseCode, DIAL_TIMEOUT, HANDLERS_MAX, HANDSHAKES_MAX, PEER_CONNECTIONS_MAX, Shared,
    snapshot, tls,
};
use crate::config::NodeId;
use crate::rpc::{self, AnswerKind, Expected, Hello, HelloAnswer, RELEASE, StreamKind, answer_bytes_max};
use crate::transport::{Identity, RequestKind};

/// The most answers that wait to be written on one stream.
const ANSWERS_MAX: usize = 1_024;
/// The most answers that are written at once.
const BATCH_MAX: usize = 64;

/// An answer of one stream.
enum Answer {
    /// To be written.
    Ready(u64, Result<Bytes, String>),
    /// To be waited for by whoever writes. For Raft's own requests, which take nothing but waiting: a task of its own
    /// for each would be a wake-up more on the way of every entry.
    Awaited(BoxFuture<'static, (u64, Result<Bytes, String>)>),
}

/// Connections of each peer, oldest first.
type Registry = Arc<Mutex<BTreeMap<NodeId, VecDeque<Connection>>>>;

/// Accepts until the endpoint is closed.
pub(super) async fn run(shared: Arc<Shared>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    let registry = Registry::default();
    while let Some(incoming) = shared.endpoint.accept().await {
        if shared.endpoint.open_connections() > CONNECTIONS_MAX {
            incoming.refuse();
            continue;
        }
        let Ok(permit) = Arc::clone(&handshakes).try_acquire_owned() else {
            // Addresses may be forged: whoever can answer gets in later, the others cost us nothing.
            if incoming.may_retry() {
                let _ = incoming.retry();
            } else {
                incoming.refuse();
            }
            continue;
        };
        shared.spawn(serve(Arc::clone(&shared), incoming, permit, Arc::clone(&registry)));
    }
}

async fn serve(shared: Arc<Shared>, incoming: Incoming, permit: OwnedSemaphorePermit, registry: Registry) {
    let address = incoming.remote_address();
    let welcome = async {
        let connection = incoming
            .accept()
            .map_err(|error| error.to_string())?
            .await
            .map_err(|error| tls::explain(&error))?;
        let identity = welcome(&shared, &connection).await?;
        Ok::<_, String>((connection, identity))
    };
    let welcomed = timeout(DIAL_TIMEOUT * 2, welcome).await;
    drop(permit);
    let (connection, peer) = match welcomed {
        Ok(Ok(welcomed)) => welcomed,
        Ok(Err(reason)) => return info!(%address, reason, "a connection was refused"),
        Err(_) => return info!(%address, reason = "no hello in time", "a connection was refused"),
    };
    enter(&registry, peer.node_id, &connection);
    debug!(node = peer.node_id, %address, "a peer has connected");
    let reason = streams(&shared, &connection, &peer).await;
    leave(&registry, peer.node_id, &connection);
    debug!(node = peer.node_id, %address, reason, "a peer's connection has ended");
}

/// The hello, as who was dialled. An error has been told to the peer.
async fn welcome(shared: &Arc<Shared>, connection: &Connection) -> Result<Identity, String> {
    let (mut send, mut recv) = connection.accept_bi().await.map_err(|error| tls::explain(&error))?;
    let own = Hello::of(shared.service().identity());
    let judged = match read_peer(&mut recv).await {
        Ok(hello) => judge(shared, connection, &own, hello),
        Err(reason) => Err(reason),
    };
    let answer = match &judged {
        Ok((protocol, _)) => HelloAnswer::Welcome { protocol: *protocol, hello: own },
        Err(reason) => HelloAnswer::Refused { reason: reason.clone() },
    };
    write_hello(&mut send, &answer.encode()).await?;
    // Fails only if the peer does not want the answer.
    let _ = send.finish();
    match judged {
        Ok((_, identity)) => Ok(identity),
        Err(reason) => {
            // The answer must be there before the connection goes.
            let _ = send.stopped().await;
            connection.close(CloseCode::Refused.into(), rpc::cut(&reason).as_bytes());
            Err(reason)
        }
    }
}

async fn read_peer(recv: &mut RecvStream) -> Result<Hello, String> {
    let [first] = read_array(recv).await.map_err(ReadFailure::text)?;
    if StreamKind::from_byte(first) != Some(StreamKind::Hello) {
        return Err("the first stream of a connection must bring a hello".to_owned());
    }
    let sealed = read_hello(recv).await.map_err(ReadFailure::text)?;
    Hello::decode(&sealed).map_err(|error| error.to_string())
}

fn judge(
    shared: &Arc<Shared>,
    connection: &Connection,
    own: &Hello,
    peer: Hello,
) -> Result<(u16, Identity), String> {
    let expected = Expected { node_id: tls::peer_id(connection)?, directory: None };
    let protocol = rpc::negotiate(own, &peer, expected).map_err(|mismatch| mismatch.to_string())?;
    shared.service().admit(&peer.identity)?;
    Ok((protocol, peer.identity))
}

fn enter(registry: &Registry, node: NodeId, connection: &Connection) {
    let mut registry = registry.lock().expect("no panic while it is held");
    let own = registry.entry(node).or_default();
    own.push_back(connection.clone());
    if own.len() > PEER_CONNECTIONS_MAX
        && let Some(oldest) = own.pop_front()
    {
        oldest.close(CloseCode::Crowded.into(), b"newer connections of this node took its place");
    }
}

fn leave(registry: &Registry, node: NodeId, connection: &Connection) {
    let mut registry = registry.lock().expect("no panic while it is held");
    if let Some(own) = registry.get_mut(&node) {
        own.retain(|other| other.stable_id() != connection.stable_id());
        if own.is_empty() {
            registry.remove(&node);
        }
    }
}

/// Serves the streams of a connection until it ends; why it did.
async fn streams(shared: &Arc<Shared>, connection: &Connection, peer: &Identity) -> String {
    loop {
        let (send, recv) = match connection.accept_bi().await {
            Ok(streams) => streams,
            Err(error) => return tls::explain(&error),
        };
        let stream =
            Stream { shared: Arc::clone(shared), connection: connection.clone(), peer: peer.clone() };
        shared.spawn(stream.serve(send, recv));
    }
}

/// One stream of a peer, with what serving it takes.
struct Stream {
    shared: Arc<Shared>,
    connection: Connection,
    peer: Identity,
}

impl Stream {
    async fn serve(self, send: SendStream, mut recv: RecvStream) {
        let kind = match read_array(&mut recv).await {
            Ok([first]) => StreamKind::from_byte(first),
            Err(_) => return,
        };
        let served = match kind {
            Some(StreamKind::Requests) => self.requests(Outlet::new(send), recv).await,
            Some(StreamKind::Snapshot) => {
                let service = self.shared.service();
                snapshot::receive(service, &self.peer, Outlet::new(send), recv).await
            }
            Some(StreamKind::Hello) => Err(ReadFailure::Malformed("a second hello".to_owned())),
            None => Err(ReadFailure::Malformed("a stream of an unknown kind".to_owned())),
        };
        if let Err(ReadFailure::Malformed(reason)) = served {
            warn!(node = self.peer.node_id, reason, "a peer sent what cannot be understood");
            self.connection.close(CloseCode::Malformed.into(), reason.as_bytes());
        }
    }

    async fn requests(&self, send: Outlet, mut recv: RecvStream) -> Result<(), ReadFailure> {
        let handlers = Arc::new(Semaphore::new(HANDLERS_MAX));
        let (answers, queue) = mpsc::channel(ANSWERS_MAX);
        self.shared.spawn(write_answers(send, queue));
        while let Some(header) = read_header(&mut recv).await? {
            let kind = header.request()?;
            let permit = Arc::clone(&handlers).acquire_owned().await.expect("never closed");
            let body = read_body(&mut recv, header.len as usize).await?;
            let Some(kind) = kind else {
                let reason = format!("release {RELEASE} does not know requests of kind {}", header.kind);
                let _ = answers.send(Answer::Ready(header.id, Err(reason))).await;
                continue;
            };
            self.handle(header.id, kind, body, &answers, permit).await;
        }
        Ok(())
    }

    /// Starts one request. Polled once here, so that what needs no waiting is answered without a task, and so that
    /// requests begin in their order.
    async fn handle(
        &self,
        id: u64,
        kind: RequestKind,
        body: Bytes,
        answers: &mpsc::Sender<Answer>,
        permit: OwnedSemaphorePermit,
    ) {
        let mut handled = self.shared.service().handle(self.peer.clone(), kind, body);
        match futures::poll!(&mut handled) {
            Poll::Ready(answer) => {
                // Fails when the stream is gone; the answer goes with it.
                let _ = answers.send(Answer::Ready(id, bounded(kind, answer))).await;
            }
            Poll::Pending if matches!(kind, RequestKind::Append | RequestKind::Heartbeat) => {
                let answer = async move {
                    let answer = (id, bounded(kind, handled.await));
                    drop(permit);
                    answer
                };
                let _ = answers.send(Answer::Awaited(answer.boxed())).await;
            }
            Poll::Pending => {
                let answers = answers.clone();
                self.shared.spawn(async move {
                    let answer = handled.await;
                    let _ = answers.send(Answer::Ready(id, bounded(kind, answer))).await;
                    drop(permit);
                });
            }
        }
    }
}

/// An answer that is too long for its kind would make the peer close the connection.
fn bounded(kind: RequestKind, answer: Result<Bytes, String>) -> Result<Bytes, String> {
    match answer {
        Ok(body) if body.len() > answer_bytes_max(kind) => {
            Err(format!("the answer has {} bytes, more than {}", body.len(), answer_bytes_max(kind)))
        }
        other => other,
    }
}

async fn write_answers(mut send: Outlet, mut queue: mpsc::Receiver<Answer>) {
    let mut awaited = FuturesUnordered::new();
    let mut outgoing = Outgoing::default();
    loop {
        let (id, answer) = tokio::select! {
            Some(answer) = awaited.next() => answer,
            queued = queue.recv() => match queued {
                Some(Answer::Ready(id, answer)) => (id, answer),
                Some(Answer::Awaited(answer)) => {
                    awaited.push(answer);
                    continue;
                }
                None => break,
            },
        };
        stage(&mut outgoing, id, answer);
        // What else is there goes with it.
        for _ in 1..BATCH_MAX {
            if let Some(Some((id, answer))) = awaited.next().now_or_never() {
                stage(&mut outgoing, id, answer);
            } else {
                match queue.try_recv() {
                    Ok(Answer::Ready(id, answer)) => stage(&mut outgoing, id, answer),
                    Ok(Answer::Awaited(answer)) => awaited.push(answer),
                    Err(_) => break,
                }
            }
        }
        if outgoing.write(&mut send.send).await.is_err() {
            return;
        }
    }
    while let Some((id, answer)) = awaited.next().await {
        stage(&mut outgoing, id, answer);
    }
    // Whoever asked may have closed its side; then nobody reads this.
    let _ = outgoing.write(&mut send.send).await;
    send.finish();
}

pub(super) fn stage(outgoing: &mut Outgoing, id: u64, answer: Result<Bytes, String>) {
    match answer {
        Ok(body) => outgoing.frame(id, AnswerKind::Done.number(), body),
        Err(reason) => {
            let reason = Bytes::copy_from_slice(rpc::cut(&reason).as_bytes());
            outgoing.frame(id, AnswerKind::Refused.number(), reason);
        }
    }
}
