//! QUIC between the nodes: the [`Transport`] of real life.
//!
//! One UDP socket serves and dials. To each member a node dials two connections: *control* for requests, *bulk* for
//! snapshots and large requests, so that the one never waits behind the other. On the control connection each lane
//! (`lane`) is one long-lived stream of frames. Answers come back on the stream of their request; nothing is ever
//! asked over a connection that the other side dialled.
//!
//! Invariants:
//! - Q1: no request is sent or handled before TLS has proved both node ids and the hellos were accepted.
//! - Q2: what waits is bounded: queues, streams, requests being handled, connections, handshakes.
//! - Q3: a request that was reported as unreachable was never sent.
//!
//! 0-RTT and session resumption are off: the first could be replayed, the second would outlive a certificate.
//! Read next: `dial` (outwards), `accept` (inwards), `snapshot`, `raft/docs/rpc-format.md` (the bytes).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use quinn::{Endpoint, TokioRuntime, VarInt};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::warn;

use crate::config::{NodeId, RaftConfig};
use crate::rpc;
use crate::transport::{Peer, RequestKind, Service, Transport, TransportError};
use crate::types::NodeInfo;

mod accept;
mod dial;
pub mod identity;
mod lane;
mod reset;
mod snapshot;
mod stream;
mod tls;

use dial::{Dialer, Target};
use lane::{Lane, Request};

/// Dialling one address, hello included. A dial that began while packets were lost is given up after this and begun
/// anew, because QUIC doubles the pause before each of its own tries.
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// After a failed dial requests fail at once for this long; doubled by each failure up to [`REDIAL_PAUSE_MAX`].
pub const REDIAL_PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest such pause: a peer that is back is to be reached well within a second.
pub const REDIAL_PAUSE_MAX: Duration = Duration::from_millis(200);
/// How often a quiet connection shows that it lives.
pub const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// A connection that hears nothing for this long is dead.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection is closed when this many requests in a row ran out of time and no packet came in between: a new one
/// works 2 ms after a cut has healed, an old one takes up to half the length of the cut.
pub const MISSED_MAX: u32 = 3;
/// The round-trip time that a new connection assumes; quinn's own 333 ms are for the open internet. A dial sends again after
/// three times this, then after twice that, and so on: of a second no two fifths pass in which nothing is sent.
pub const INITIAL_RTT: Duration = Duration::from_millis(20);
/// The most streams that a peer may have open at once on one connection: the lanes, a snapshot, large requests.
pub const STREAMS_MAX: u32 = 64;
/// Bytes that one stream may be ahead of its reader.
pub const STREAM_WINDOW_BYTES: u32 = 16 << 20;
/// Bytes that one connection may be ahead of its readers.
pub const CONNECTION_WINDOW_BYTES: u32 = 64 << 20;
/// The buffers asked of the kernel for the socket: with the usual 208 KiB a bulk stream loses packets.
pub const SOCKET_BUFFER_BYTES: usize = 8 << 20;
/// The most requests that wait in one lane to be sent.
pub const LANE_REQUESTS_MAX: usize = 1_024;
/// The most bytes of requests that wait in one lane to be sent.
pub const LANE_BYTES_MAX: usize = 64 << 20;
/// The most requests of one lane that wait for their answers.
pub const LANE_ANSWERS_MAX: usize = 4_096;
/// Requests other than [`RequestKind::Append`] that are longer get a stream of their own on the bulk connection.
pub const LARGE_BYTES: usize = 64 << 10;
/// The most requests of one stream that are being handled at once; beyond it the stream is not read. Per stream, so
/// that proposals which wait for the writer do not hold up heartbeats.
pub const HANDLERS_MAX: usize = 512;
/// The most connections at once, in both directions; beyond it nobody is let in.
pub const CONNECTIONS_MAX: usize = 512;
/// The most connections of one peer; one more closes its oldest.
pub const PEER_CONNECTIONS_MAX: usize = 8;
/// The most handshakes at once; beyond it dialers must first show that their address is theirs, and then wait.
pub const HANDSHAKES_MAX: usize = 64;
/// The most addresses of one name that are tried.
pub const ADDRESSES_MAX: usize = 4;
/// How long `close` waits for requests that are being handled.
pub const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long `release` waits for the last task that has the socket, and how often it looks.
pub const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);
const RELEASE_LOOK: Duration = Duration::from_millis(2);

/// Why a connection or stream was closed. On the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum CloseCode {
    /// The node stops, or needs the connection no more.
    Bye = 0,
    /// The hello was refused.
    Refused = 1,
    /// A frame cannot be understood.
    Malformed = 2,
    /// Nothing was answered.
    Unanswered = 3,
    /// Too many connections.
    Crowded = 4,
    /// Who asked gave up.
    GivenUp = 5,
}

impl From<CloseCode> for VarInt {
    fn from(code: CloseCode) -> Self {
        Self::from_u32(code as u32)
    }
}

/// The transport over QUIC. Dropping it closes its connections at once; [`Transport::close`] also waits for what is
/// being handled.
pub struct QuicTransport {
    shared: Arc<Shared>,
    links: Mutex<BTreeMap<NodeId, Link>>,
    ended: Mutex<mpsc::Receiver<()>>,
}

/// What all tasks of a transport have.
pub(crate) struct Shared {
    endpoint: Endpoint,
    tls: tls::Configs,
    service: OnceLock<Arc<dyn Service>>,
    runtime: tokio::runtime::Handle,
    /// Cloned by each task that `close` waits for; none once closed.
    alive: Mutex<Option<mpsc::Sender<()>>>,
}

/// The two connections to one member.
struct Link {
    info: NodeInfo,
    control: Dialer,
    bulk: Dialer,
    append: Lane,
    heartbeat: Lane,
    vote: Lane,
    forward: Lane,
    ask: Lane,
}

impl QuicTransport {
    /// Binds the socket and loads the certificates of `config`. Needs a tokio runtime. Serves nothing yet.
    pub fn bind(config: &RaftConfig) -> Result<Self, BindError> {
        let tls = tls::Configs::load(config)?;
        let socket = bind_socket(config.listen)?;
        let endpoint = Endpoint::new(
            reset::endpoint_config(&config.key_pem),
            Some(tls.server.clone()),
            socket,
            Arc::new(TokioRuntime),
        )
        .map_err(|source| BindError::Socket { address: config.listen, source })?;
        let (alive, ended) = mpsc::channel(1);
        let shared = Shared {
            endpoint,
            tls,
            service: OnceLock::new(),
            runtime: tokio::runtime::Handle::current(),
            alive: Mutex::new(Some(alive)),
        };
        Ok(Self { shared: Arc::new(shared), links: Mutex::default(), ended: Mutex::new(ended) })
    }

    /// Where it listens: the port that the system chose, if the configured one was 0.
    pub fn local_address(&self) -> SocketAddr {
        self.shared.endpoint.local_addr().expect("a bound socket has an address")
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<NodeId, Link>> {
        self.links.lock().expect("no panic while the links are held")
    }

    /// Calls `act` with the link to a member; a member that has moved, or is another directory now, gets a new one.
    fn with_link<T>(&self, id: NodeId, info: &NodeInfo, act: impl FnOnce(&Link) -> T) -> T {
        let mut links = self.links();
        let make = || Link::new(&self.shared, id, info);
        match links.entry(id) {
            Entry::Vacant(entry) => act(entry.insert(make())),
            Entry::Occupied(mut entry) => {
                if entry.get().info != *info {
                    entry.insert(make());
                }
                act(entry.get())
            }
        }
    }
}

impl Drop for QuicTransport {
    fn drop(&mut self) {
        self.shared.endpoint.close(CloseCode::Bye.into(), b"the node stops");
    }
}

impl Transport for QuicTransport {
    fn call(
        &self,
        to: &Peer,
        kind: RequestKind,
        body: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let max = rpc::request_bytes_max(kind);
        if body.len() > max {
            let reason = format!("a request of {} bytes is longer than {max}", body.len());
            return refuse(to, reason);
        }
        if self.shared.service.get().is_none() {
            return unreachable_now(to, "this node does not serve yet");
        }
        let deadline = Instant::now() + timeout;
        match to {
            Peer::Member(id, info) => self.with_link(*id, info, |link| {
                if kind != RequestKind::Append && body.len() > LARGE_BYTES {
                    return lane::call_alone(&self.shared, &link.bulk, kind, body, deadline);
                }
                let (request, answer) = Request::new(kind, body, deadline);
                match link.lane(kind).send(request) {
                    Ok(()) => answer.wait(to.to_string()).boxed(),
                    Err(()) => unreachable_now(to, "too many requests wait to be sent"),
                }
            }),
            Peer::Address(address) => {
                let shared = Arc::clone(&self.shared);
                let target = Target::Address(address.clone());
                async move {
                    let live = dial::dial(&shared, &target, deadline).await?;
                    let answer = lane::ask_alone(&live, kind, body, deadline).await;
                    live.connection.close(CloseCode::Bye.into(), b"");
                    answer
                }
                .boxed()
            }
        }
    }

    fn send_snapshot(
        &self,
        to: &Peer,
        header: Bytes,
        file: File,
        length: u64,
        stall: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        if header.len() > rpc::SNAPSHOT_HEADER_BYTES_MAX {
            return refuse(to, format!("a snapshot's header of {} bytes is too long", header.len()));
        }
        let Peer::Member(id, info) = to else {
            return refuse(to, "only a member is sent a snapshot".to_owned());
        };
        if self.shared.service.get().is_none() {
            return unreachable_now(to, "this node does not serve yet");
        }
        let bulk = self.with_link(*id, info, |link| link.bulk.clone());
        async move {
            let live = bulk.live(Instant::now() + stall).await?;
            snapshot::send(&live, &header, file, length, stall).await
        }
        .boxed()
    }

    fn serve(&self, service: Arc<dyn Service>) {
        if self.shared.service.set(service).is_err() {
            warn!("a transport was told twice to serve; it goes on with the first service");
            return;
        }
        self.shared.spawn(accept::run(Arc::clone(&self.shared)));
    }

    fn close(&self) -> BoxFuture<'static, ()> {
        self.links().clear();
        let endpoint = self.shared.endpoint.clone();
        endpoint.close(CloseCode::Bye.into(), b"the node stops");
        self.shared.alive.lock().expect("no panic while it is held").take();
        let (_sender, replacement) = mpsc::channel(1);
        let mut ended =
            std::mem::replace(&mut *self.ended.lock().expect("no panic while it is held"), replacement);
        async move {
            // Ends when the last task has dropped its sender.
            if tokio::time::timeout(CLOSE_TIMEOUT, ended.recv()).await.is_err() {
                warn!("requests of other nodes were still being handled when the transport closed");
            }
            // Tells the peers, so that they need not wait for a time-out; they may be gone themselves.
            let _ = tokio::time::timeout(CLOSE_TIMEOUT, endpoint.wait_idle()).await;
        }
        .boxed()
    }

    fn release(&self) -> BoxFuture<'static, ()> {
        let endpoint = self.shared.endpoint.clone();
        async move {
            if !matches!(tokio::time::timeout(RELEASE_TIMEOUT, give_port_back(&endpoint)).await, Ok(Ok(()))) {
                warn!("the port for peers is free only when the process ends");
            }
        }
        .boxed()
    }
}

impl Shared {
    /// Runs a task that `close` waits for; not at all once closed.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Some(alive) = self.alive.lock().expect("no panic while it is held").clone() else { return };
        self.runtime.spawn(async move {
            task.await;
            drop(alive);
        });
    }

    fn service(&self) -> &Arc<dyn Service> {
        self.service.get().expect("nothing is dialled or accepted before `serve`")
    }
}

impl Link {
    fn new(shared: &Arc<Shared>, id: NodeId, info: &NodeInfo) -> Self {
        let target = Target::Member(id, info.clone());
        let control = Dialer::new(shared, target.clone());
        let lane = || Lane::new(shared, &control);
        Self {
            info: info.clone(),
            append: lane(),
            heartbeat: lane(),
            vote: lane(),
            forward: lane(),
            ask: lane(),
            bulk: Dialer::new(shared, target),
            control,
        }
    }

    /// Which requests may wait for each other: entries behind entries, statements behind statements, and neither
    /// heartbeats nor elections behind them. Questions have a lane of their own: one of them may be that a statement
    /// be stopped.
    fn lane(&self, kind: RequestKind) -> &Lane {
        match kind {
            RequestKind::Append => &self.append,
            RequestKind::Heartbeat => &self.heartbeat,
            RequestKind::Vote
            | RequestKind::PreVote
            | RequestKind::TransferLeader
            | RequestKind::ReadIndex
            | RequestKind::Join
            | RequestKind::Lease => &self.vote,
            RequestKind::Propose | RequestKind::Forward => &self.forward,
            RequestKind::Ask => &self.ask,
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.control.hang_up();
        self.bulk.hang_up();
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Member(id, info) => write!(f, "node {id} at {}", info.raft_address),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

fn refuse(to: &Peer, reason: String) -> BoxFuture<'static, Result<Bytes, TransportError>> {
    futures::future::err(TransportError::Refused { peer: to.to_string(), reason }).boxed()
}

fn unreachable_now(to: &Peer, cause: &str) -> BoxFuture<'static, Result<Bytes, TransportError>> {
    futures::future::err(TransportError::Unreachable { peer: to.to_string(), cause: cause.to_owned() })
        .boxed()
}

/// Lets go of the socket of a closed endpoint, which would else live for as long as any handle of it: an endpoint also keeps
/// the socket before the newest, until something comes in on the newest; and tasks of its connections end a little later.
async fn give_port_back(endpoint: &Endpoint) -> io::Result<()> {
    let address = endpoint.local_addr()?;
    for _ in 0..2 {
        endpoint.rebind(std::net::UdpSocket::bind((std::net::Ipv4Addr::LOCALHOST, 0))?)?;
    }
    while std::net::UdpSocket::bind(address).is_err() {
        tokio::time::sleep(RELEASE_LOOK).await;
    }
    Ok(())
}

/// A UDP socket with large buffers. Smaller ones than asked for work too, with more packets lost.
fn bind_socket(address: SocketAddr) -> Result<std::net::UdpSocket, BindError> {
    static WARNED: std::sync::Once = std::sync::Once::new();
    let fail = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { address },
        _ => BindError::Socket { address, source },
    };
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None)
        .map_err(fail)?;
    if address.is_ipv6() {
        socket.set_only_v6(false).map_err(fail)?;
    }
    // An error here is not worth stopping for: what counts is what was got.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER_BYTES);
    let got = socket.recv_buffer_size().map_err(fail)?;
    if got < SOCKET_BUFFER_BYTES {
        WARNED.call_once(|| {
            warn!(
                got_bytes = got,
                wanted_bytes = SOCKET_BUFFER_BYTES,
                "the kernel limits the receive buffer for peers; raise net.core.rmem_max and net.core.wmem_max"
            );
        });
    }
    socket.set_nonblocking(true).map_err(fail)?;
    socket.bind(&address.into()).map_err(fail)?;
    Ok(socket.into())
}

/// Why the transport cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process has the port.
    #[error(
        "the address {address} for peers is in use; stop the other process, or choose another one with --listen"
    )]
    InUse {
        /// The address.
        address: SocketAddr,
    },
    /// The address cannot be listened on.
    #[error("cannot listen on {address} for peers")]
    Socket {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// The CA's certificate cannot be used.
    #[error("the CA certificate cannot be used: {fault}")]
    Ca {
        /// What is wrong.
        fault: String,
    },
    /// The node's certificate cannot be used.
    #[error(
        "the certificate of node {node_id} cannot be used: {fault}; make one with `grantd cert create-node`"
    )]
    Certificate {
        /// This node.
        node_id: NodeId,
        /// What is wrong.
        fault: String,
    },
    /// The node's key cannot be used.
    #[error("the key of node {node_id} cannot be used: {fault}")]
    Key {
        /// This node.
        node_id: NodeId,
        /// What is wrong.
        fault: String,
    },
}
