//! Outwards: one connection to a target, made when it is needed and made again when it is lost.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use quinn::Connection;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};
use tracing::{debug, info};

use super::stream::{read_hello, write_hello};
use super::{
    ADDRESSES_MAX, CloseCode, DIAL_TIMEOUT, MISSED_MAX, REDIAL_PAUSE_MAX, REDIAL_PAUSE_MIN, Shared, identity,
    tls,
};
use crate::config::NodeId;
use crate::rpc::{self, Expected, Hello, HelloAnswer, StreamKind};
use crate::transport::TransportError;
use crate::types::NodeInfo;

/// The most callers that wait for one dial: the lanes, a snapshot and large requests.
const WAITING_MAX: usize = 256;

/// Whom to dial.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Member(NodeId, NodeInfo),
    Address(String),
}

impl Target {
    fn address(&self) -> &str {
        match self {
            Self::Member(_, info) => &info.raft_address,
            Self::Address(address) => address,
        }
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Member(id, info) => format!("node {id} at {}", info.raft_address),
            Self::Address(address) => address.clone(),
        }
    }

    fn unreachable(&self, cause: impl Into<String>) -> TransportError {
        TransportError::Unreachable { peer: self.name(), cause: cause.into() }
    }

    fn refused(&self, reason: impl Into<String>) -> TransportError {
        TransportError::Refused { peer: self.name(), reason: reason.into() }
    }
}

/// A connection whose hellos were accepted (Q1).
#[derive(Clone)]
pub(super) struct Live {
    pub(super) connection: Connection,
    /// Whom errors name.
    pub(super) peer: Arc<str>,
    health: Arc<Health>,
}

#[derive(Default)]
struct Health {
    missed: AtomicU32,
    packets: AtomicU64,
}

impl Live {
    /// A request was sent and its time ran out. Closes the connection when that was so [`MISSED_MAX`] times in a row
    /// and not one packet came in between: a slow answer is no reason, a dead path is.
    pub(super) fn missed(&self) {
        let packets = self.connection.stats().udp_rx.datagrams;
        if self.health.packets.swap(packets, Ordering::Relaxed) != packets {
            self.health.missed.store(1, Ordering::Relaxed);
            return;
        }
        if self.health.missed.fetch_add(1, Ordering::Relaxed) + 1 >= MISSED_MAX {
            info!(peer = %self.peer, "a peer does not answer; its connection is closed and will be dialled again");
            self.connection.close(CloseCode::Unanswered.into(), b"no answers");
        }
    }

    fn usable(&self) -> bool {
        self.connection.close_reason().is_none()
    }
}

type Dialled = Result<Live, TransportError>;

/// Gives out the live connection to one target, dialling it if need be: one dial at a time, shared by all who wait.
#[derive(Clone)]
pub(super) struct Dialer {
    wanted: mpsc::Sender<oneshot::Sender<Dialled>>,
    hung_up: watch::Sender<bool>,
    peer: Arc<str>,
}

impl Dialer {
    pub(super) fn new(shared: &Arc<Shared>, target: Target) -> Self {
        let (wanted, wants) = mpsc::channel(WAITING_MAX);
        let hung_up = watch::Sender::new(false);
        let peer = target.name().into();
        shared.spawn(run(Arc::downgrade(shared), target, wants, hung_up.subscribe()));
        Self { wanted, hung_up, peer }
    }

    /// The connection. `Unreachable` when `deadline` passes first, and at once for a while after a failed dial.
    pub(super) async fn live(&self, deadline: Instant) -> Dialled {
        let (reply, dialled) = oneshot::channel();
        let ask = async {
            self.wanted.send(reply).await.ok()?;
            dialled.await.ok()
        };
        match timeout_at(deadline, ask).await {
            Ok(Some(dialled)) => dialled,
            Ok(None) => Err(self.unreachable("this node talks with it no more")),
            Err(_) => Err(self.unreachable("no connection in time")),
        }
    }

    /// Closes the connection for good.
    pub(super) fn hang_up(&self) {
        self.hung_up.send_replace(true);
    }

    pub(super) fn unreachable(&self, cause: &str) -> TransportError {
        TransportError::Unreachable { peer: self.peer.to_string(), cause: cause.to_owned() }
    }
}

async fn run(
    shared: Weak<Shared>,
    target: Target,
    mut wants: mpsc::Receiver<oneshot::Sender<Dialled>>,
    mut hung_up: watch::Receiver<bool>,
) {
    let mut state = State { live: None, failed: None, pause: REDIAL_PAUSE_MIN };
    loop {
        let reply = tokio::select! {
            biased;
            _ = hung_up.wait_for(|hung_up| *hung_up) => break,
            want = wants.recv() => match want {
                Some(reply) => reply,
                None => break,
            },
        };
        let Some(shared) = shared.upgrade() else { break };
        let dialled = tokio::select! {
            biased;
            _ = hung_up.wait_for(|hung_up| *hung_up) => break,
            dialled = state.dialled(&shared, &target) => dialled,
        };
        // Whoever gave up waiting does not miss it.
        let _ = reply.send(dialled);
    }
    if let Some(live) = state.live {
        live.connection.close(CloseCode::Bye.into(), b"not needed any more");
    }
}

struct State {
    live: Option<Live>,
    failed: Option<(Instant, TransportError)>,
    pause: Duration,
}

impl State {
    async fn dialled(&mut self, shared: &Arc<Shared>, target: &Target) -> Dialled {
        if let Some(live) = self.live.as_ref().filter(|live| live.usable()) {
            return Ok(live.clone());
        }
        if let Some((until, error)) = &self.failed
            && Instant::now() < *until
        {
            return Err(error.clone());
        }
        match dial(shared, target, Instant::now() + DIAL_TIMEOUT).await {
            Ok(live) => {
                debug!(peer = %live.peer, "connected");
                self.pause = REDIAL_PAUSE_MIN;
                self.failed = None;
                self.live = Some(live.clone());
                Ok(live)
            }
            Err(error) => {
                debug!(%error, "dialling failed");
                self.failed = Some((Instant::now() + self.pause, error.clone()));
                self.pause = (self.pause * 2).min(REDIAL_PAUSE_MAX);
                Err(error)
            }
        }
    }
}

/// Dials the addresses of `target` one after another, each for at most [`DIAL_TIMEOUT`], all until `deadline`.
pub(super) async fn dial(shared: &Arc<Shared>, target: &Target, deadline: Instant) -> Dialled {
    let lookup = tokio::net::lookup_host(target.address());
    let found = match timeout_at(deadline, lookup).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(target.unreachable(format!("its name cannot be resolved: {error}"))),
        Err(_) => return Err(target.unreachable("its name was not resolved in time")),
    };
    let own = shared.endpoint.local_addr().map_err(|error| target.unreachable(error.to_string()))?;
    let usable = found.filter(|address| own.is_ipv6() || address.is_ipv4()).take(ADDRESSES_MAX);
    let mut last = None;
    for address in usable {
        let deadline = deadline.min(Instant::now() + DIAL_TIMEOUT);
        match timeout_at(deadline, dial_address(shared, target, address)).await {
            Ok(Ok(live)) => return Ok(live),
            Ok(Err(error)) => last = Some(error),
            Err(_) => {
                let cause = format!("nothing answers over UDP at {address}; is the node running there?");
                last = Some(target.unreachable(cause));
            }
        }
    }
    Err(last.unwrap_or_else(|| target.unreachable("its name has no address that this node can use")))
}

async fn dial_address(shared: &Arc<Shared>, target: &Target, address: SocketAddr) -> Dialled {
    let (config, name) = match target {
        Target::Member(id, _) => (&shared.tls.member, identity::dns_name(*id)),
        // Not checked by `AnyNode`, but it must be a name.
        Target::Address(_) => (&shared.tls.anyone, identity::dns_name(0)),
    };
    let connection = shared
        .endpoint
        .connect_with(config.clone(), address, &name)
        .map_err(|error| target.unreachable(error.to_string()))?
        .await
        .map_err(|error| target.unreachable(tls::explain(&error)))?;
    let guard = CloseOnDrop(Some(connection.clone()));
    greet(shared, target, &connection).await?;
    let connection = guard.keep();
    Ok(Live { connection, peer: target.name().into(), health: Arc::default() })
}

/// The hello, as who dialled.
async fn greet(shared: &Arc<Shared>, target: &Target, connection: &Connection) -> Result<(), TransportError> {
    let lost = |error: String| match connection.close_reason() {
        Some(reason) => target.unreachable(tls::explain(&reason)),
        None => target.unreachable(error),
    };
    let certificate = tls::peer_id(connection).map_err(|fault| target.refused(fault))?;
    let own = Hello::of(shared.service().identity());
    let (mut send, mut recv) = connection.open_bi().await.map_err(|error| lost(error.to_string()))?;
    send.write_all(&[StreamKind::Hello as u8]).await.map_err(|error| lost(error.to_string()))?;
    write_hello(&mut send, &own.encode()).await.map_err(lost)?;
    // Fails only if the peer has stopped the stream; then reading fails too, and says why.
    let _ = send.finish();
    let sealed = read_hello(&mut recv).await.map_err(|failure| lost(failure.text()))?;
    let answer = HelloAnswer::decode(&sealed).map_err(|error| target.refused(error.to_string()))?;
    let hello = match answer {
        HelloAnswer::Welcome { hello, .. } => hello,
        HelloAnswer::Refused { reason } => return Err(target.refused(reason)),
    };
    let expected = Expected {
        node_id: certificate,
        directory: match target {
            Target::Member(_, info) => Some(info.directory),
            Target::Address(_) => None,
        },
    };
    rpc::negotiate(&own, &hello, expected).map_err(|mismatch| target.refused(mismatch.to_string()))?;
    shared.service().admit(&hello.identity).map_err(|reason| target.refused(reason))
}

/// A dial that is given up must not leave a connection that the peer believes in.
struct CloseOnDrop(Option<Connection>);

impl CloseOnDrop {
    fn keep(mut self) -> Connection {
        self.0.take().expect("taken once")
    }
}

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.close(CloseCode::Refused.into(), b"the hello was not accepted in time");
        }
    }
}
