//! The PostgreSQL protocol, version 3.0 and 3.2, over TLS: from the socket to the engine and back.
//!
//! `frame` and `startup` take bytes apart, `reply` and `datum` make bytes, `copy` does both for rows, `machine` is one session's state of the
//! protocol; none of them does I/O. `stream`, `login` and `connection` drive them; this file accepts connections.
//! What is not here: SQL (`sql`), what a principal may do (`gate`).
//!
//! The `pgwire` crate encodes the replies. Its decoder and its server are not used: see `frame` for the first; the
//! second gives no control of the login (a fake exchange, refusal before any exchange) and of what follows an error.

pub mod reply;
pub mod datum;
pub mod frame;
pub mod copy;
pub mod startup;
pub mod machine;
pub mod backend;
pub mod registry;
pub mod stream;
mod login;
pub mod connection;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{info, warn};

use grantd_raft::config::NodeId;

use crate::authn::scram::Binding;
use crate::pgwire::backend::Backend;
use crate::pgwire::registry::Registry;

/// The most sessions of a node unless configured otherwise. Beyond it only administrators get in.
pub const SESSIONS_MAX: usize = 5_000;
/// Connections beyond the sessions unless configured otherwise.
pub const CONNECTIONS_BEYOND: usize = 512;
/// How long a client may take to log in unless configured otherwise.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long accepting pauses after it failed, as it does when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a silent connection waits for its first keep-alive probe, and between probes: a peer that vanished is
/// noticed within about two minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// What a server is told when it starts.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// This node; its number is in the process numbers that clients are told.
    pub node_id: NodeId,
    /// TLS, with client certificates verified if they are shown. None: there is no TLS.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// What ties a password exchange to this server's certificate: `authn::certificate_binding`.
    pub binding: Binding,
    /// Whether clients may log in without TLS.
    pub plaintext: Plaintext,
    /// Bounds on numbers and times.
    pub limits: Limits,
    /// Makes the salts that users without a password seem to have. The same on all nodes and after a restart, if
    /// nobody shall find out by comparing answers that a user does not exist.
    pub fake_salt_key: [u8; 32],
}

/// Bounds on the clients of a server.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The most sessions. One more gets 53300, unless it is an administrator's.
    pub sessions_max: usize,
    /// The most connections: sessions, ones that are not logged in yet, cancel requests. One more is closed unheard.
    pub connections_max: usize,
    /// How long a client may take from connecting to being logged in.
    pub login_timeout: Duration,
    /// How long a session may say nothing while it is not waiting for an answer; none: for ever.
    pub idle_timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions_max: SESSIONS_MAX,
            connections_max: SESSIONS_MAX + CONNECTIONS_BEYOND,
            login_timeout: LOGIN_TIMEOUT,
            idle_timeout: None,
        }
    }
}

/// Whether clients may log in without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plaintext {
    /// They are refused.
    Refused,
    /// They may, with a password.
    Allowed,
}

/// What the connections of a server share.
#[derive(Debug)]
pub(crate) struct Shared<B> {
    pub(crate) config: ServerConfig,
    pub(crate) backend: B,
    pub(crate) registry: Registry,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) draining: watch::Receiver<bool>,
}

/// A running server. Dropping it stops it at once; [`Self::drain`] stops it gently.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    registry: Registry,
    drain: watch::Sender<bool>,
    task: JoinHandle<JoinSet<()>>,
}

impl Server {
    /// Serves the connections that `listener` accepts, on the current tokio runtime.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn start<B: Backend>(
        listener: TcpListener,
        mut config: ServerConfig,
        backend: B,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        if let Some(tls) = &mut config.tls {
            Arc::make_mut(tls).alpn_protocols = vec![stream::ALPN.to_vec()];
        }
        let (drain, draining) = watch::channel(false);
        let registry = Registry::new(config.node_id);
        let shared = Arc::new(Shared {
            places: Arc::new(Semaphore::new(config.limits.sessions_max)),
            registry: registry.clone(),
            config,
            backend,
            draining,
        });
        Ok(Self { address, registry, drain, task: tokio::spawn(accept(listener, shared)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its sessions.
    pub fn sessions(&self) -> &Registry {
        &self.registry
    }

    /// Stops accepting, tells idle clients to go (57P01), lets running statements end for at most `patience`, and cuts
    /// what is left. Answers how many connections were cut.
    pub async fn drain(mut self, patience: Duration) -> usize {
        // The accepting task holds a receiver, so that this cannot fail while it lives.
        let _ = self.drain.send(true);
        let Ok(mut connections) = (&mut self.task).await else { return 0 };
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_ok() {
            return 0;
        }
        let cut = connections.len();
        warn!(cut, "connections were cut at shutdown");
        connections.shutdown().await;
        cut
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Accepts until the node drains; gives back the connections that are still there.
async fn accept<B: Backend>(listener: TcpListener, shared: Arc<Shared<B>>) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    let mut draining = shared.draining.clone();
    let slots = Arc::new(Semaphore::new(shared.config.limits.connections_max));
    loop {
        let accepted = tokio::select! {
            // An error means that the server was dropped.
            _ = draining.wait_for(|draining| *draining) => return connections,
            Some(ended) = connections.join_next() => {
                if let Err(error) = ended {
                    warn!(%error, "a connection's task failed");
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                    info!(%peer, "connection closed: too many connections");
                    continue;
                };
                configure(&tcp);
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    connection::serve(&shared, tcp).await;
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "accepting a connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Small answers leave at once; a peer that vanished is noticed. A socket that refuses works all the same.
fn configure(tcp: &TcpStream) {
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    if let Err(error) = tcp.set_nodelay(true).and_then(|()| SockRef::from(tcp).set_tcp_keepalive(&keepalive))
    {
        info!(%error, "a socket option was refused");
    }
}
