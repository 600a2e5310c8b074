//! The one HTTPS server of a node: connections, who is asking, routes. What is answered is made by who brings the routes.
//!
//! Off unless `http_listen` is set. TLS is that of the SQL port; HTTP/1.1 only, connections are kept. Who it is, is proved
//! by a certificate of the cluster's CA, or with each request by name and password (Basic): see [`caller`]. A route says
//! whether it wants to know; a request that must be somebody's is refused before its body is read.
//!
//! What a caller may is not decided here: a handler decides it when the whole request is here.
//!
//! Bounds: [`CONNECTIONS_MAX`], [`HANDSHAKE_TIME_MAX`], [`HEAD_BYTES_MAX`], [`HEAD_TIME_MAX`], [`BODY_BYTES_MAX`], [`BODY_TIME_MAX`],
//! [`ANSWER_TIME_MAX`], [`WRITE_STALL_MAX`], [`caller::PROOFS_MAX`]. Reaching one costs the one connection.

pub mod answer;
pub mod caller;
mod stall;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grantd_catalog::refusal::Refusal;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use crate::authn::certificate_user;
use crate::http::answer::{Answer, refused};
use crate::http::caller::{Caller, Connection, Doorman};
use crate::http::stall::Stalling;

/// The most connections at once; one more is closed unheard. Each may hold a body and an answer.
pub const CONNECTIONS_MAX: usize = 512;
/// The most bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long a client may take for its handshake.
pub const HANDSHAKE_TIME_MAX: Duration = Duration::from_secs(10);
/// How long a connection may wait for the end of the next head: idle ones are closed.
pub const HEAD_TIME_MAX: Duration = Duration::from_secs(60);
/// The most bytes of a request's body: a thousand checks with long names.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// How long a client may take to send a body.
pub const BODY_TIME_MAX: Duration = Duration::from_secs(10);
/// How long an answer may take to be made; the longest profile is within it.
pub const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);
/// How long a client may read nothing of what it is sent.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// How long requests that run may take to end when the server stops.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);
/// How long accepting pauses after it failed, as it does when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a client calls its request; the answer repeats it.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A request whose body has arrived.
#[derive(Debug)]
pub struct Asked {
    /// What is behind the `?` of its target.
    pub query: String,
    /// Under which name and port the client reached this server.
    pub host: Option<String>,
    /// What it says its body is.
    pub content_type: Option<String>,
    /// Its body, whole.
    pub body: Bytes,
}

/// An answer under way.
pub type Answering = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Who answers.
#[derive(Clone)]
pub enum Handler {
    /// Anybody, unasked who it is.
    Open(Arc<dyn Fn(Asked) -> Answering + Send + Sync>),
    /// Somebody who exists and may log in.
    Known(Arc<dyn Fn(Caller, Asked) -> Answering + Send + Sync>),
}

/// What is answered where.
#[derive(Clone)]
pub struct Route {
    /// How it is asked.
    pub method: Method,
    /// Where, exactly.
    pub path: &'static str,
    /// By whom.
    pub handler: Handler,
}

impl Route {
    /// A route for anybody.
    pub fn open<A: Future<Output = Answer> + Send + 'static>(
        method: Method,
        path: &'static str,
        answer: impl Fn(Asked) -> A + Send + Sync + 'static,
    ) -> Self {
        Self { method, path, handler: Handler::Open(Arc::new(move |asked| Box::pin(answer(asked)))) }
    }

    /// A route for somebody.
    pub fn known<A: Future<Output = Answer> + Send + 'static>(
        method: Method,
        path: &'static str,
        answer: impl Fn(Caller, Asked) -> A + Send + Sync + 'static,
    ) -> Self {
        let answer = move |caller, asked| -> Answering { Box::pin(answer(caller, asked)) };
        Self { method, path, handler: Handler::Known(Arc::new(answer)) }
    }
}

/// A running server. Dropping it cuts its connections.
#[derive(Debug)]
pub struct HttpServer {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

/// What its connections share.
struct Shared {
    tls: TlsAcceptor,
    doorman: Doorman,
    routes: Vec<Route>,
    stopping: watch::Receiver<bool>,
}

impl HttpServer {
    /// Serves the connections that `listener` accepts, with the TLS of the SQL port.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn start(
        listener: TcpListener,
        tls: &Arc<ServerConfig>,
        doorman: Doorman,
        routes: Vec<Route>,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let mut tls = ServerConfig::clone(tls);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (stop, stopping) = watch::channel(false);
        let shared = Shared { tls: TlsAcceptor::from(Arc::new(tls)), doorman, routes, stopping };
        Ok(Self { address, stop, task: tokio::spawn(accept(listener, Arc::new(shared))) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it: no new requests; those that run may end; then its connections are cut.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(STOP_TIME_MAX, &mut self.task).await.is_err() {
            self.task.abort();
            // Aborted or done: either way it is over.
            let _ = (&mut self.task).await;
        }
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stopping = shared.stopping.clone();
    // Dropped with this task, and its connections with it.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stopping.changed() => break,
            Some(_ended) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                    info!(%peer, "https connection closed: too many");
                    continue;
                };
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    if let Err(error) = serve(tcp, peer, shared).await {
                        debug!(%peer, %error, "https connection lost");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "accepting an https connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(tcp: TcpStream, peer: SocketAddr, shared: Arc<Shared>) -> io::Result<()> {
    // A check is one small packet each way: it must not wait for more to send.
    tcp.set_nodelay(true)?;
    let handshake = tokio::time::timeout(HANDSHAKE_TIME_MAX, shared.tls.accept(tcp));
    let stream = handshake.await.map_err(|_| io::ErrorKind::TimedOut)??;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let connection =
        Arc::new(Connection::new(peer, shown.and_then(|certificate| certificate_user(certificate))));
    let mut stopping = shared.stopping.clone();
    let answer = service_fn(move |request: Request<Incoming>| {
        let (shared, connection) = (Arc::clone(&shared), Arc::clone(&connection));
        async move { Ok::<_, Infallible>(identified(&shared, &connection, request).await) }
    });
    let mut served = pin!(
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(Stalling::new(stream, WRITE_STALL_MAX)), answer)
    );
    tokio::select! {
        ended = &mut served => return ended.map_err(io::Error::other),
        _ = stopping.changed() => served.as_mut().graceful_shutdown(),
    }
    served.await.map_err(io::Error::other)
}

/// Answers, under the name that the client gave its request.
async fn identified(shared: &Shared, connection: &Connection, request: Request<Incoming>) -> Answer {
    let id = request.headers().get(REQUEST_ID).cloned();
    let mut answer = answered(shared, connection, request).await;
    if let Some(id) = id {
        answer.headers_mut().insert(REQUEST_ID, id);
    }
    answer
}

async fn answered(shared: &Shared, connection: &Connection, request: Request<Incoming>) -> Answer {
    match find(&shared.routes, request.method(), request.uri().path()) {
        Some(Handler::Open(answer)) => match arrived(request).await {
            Ok((asked, _)) => in_time(answer(asked)).await,
            Err(refused) => refused,
        },
        Some(Handler::Known(answer)) => match known(shared, connection, request).await {
            Ok((caller, asked)) => {
                let user = caller.user.clone();
                let answer = in_time(answer(caller, asked)).await;
                if let Some(refusal) = answer.extensions().get::<Refusal>() {
                    shared.doorman.record(connection, &user, refusal);
                }
                answer
            }
            Err(refused) => refused,
        },
        None => nothing_here(&shared.routes, request.uri().path()),
    }
}

async fn in_time(answer: Answering) -> Answer {
    let late = || refused(StatusCode::SERVICE_UNAVAILABLE, "the answer took too long; try again");
    tokio::time::timeout(ANSWER_TIME_MAX, answer).await.unwrap_or_else(|_elapsed| late())
}

/// Who answers this.
fn find<'r>(routes: &'r [Route], method: &Method, path: &str) -> Option<&'r Handler> {
    let found = routes.iter().find(|route| route.path == path && route.method == *method);
    found.map(|route| &route.handler)
}

/// Nobody answers this.
fn nothing_here(routes: &[Route], path: &str) -> Answer {
    let there = routes.iter().filter(|route| route.path == path);
    let methods = there.map(|route| route.method.as_str()).collect::<Vec<_>>().join(", ");
    if methods.is_empty() {
        return refused(StatusCode::NOT_FOUND, "there is nothing at this path");
    }
    let message = format!("only {methods} is understood at this path");
    let mut answer = refused(StatusCode::METHOD_NOT_ALLOWED, &message);
    if let Ok(methods) = HeaderValue::from_str(&methods) {
        answer.headers_mut().insert(ALLOW, methods);
    }
    answer
}

/// Who it is, before its body is read; and again after it, for it may have been on its way for long.
async fn known(
    shared: &Shared,
    connection: &Connection,
    request: Request<Incoming>,
) -> Result<(Caller, Asked), Answer> {
    let caller = shared.doorman.admit(connection, request.headers()).await?;
    let (asked, head) = arrived(request).await?;
    if asked.body.is_empty() {
        return Ok((caller, asked));
    }
    Ok((shared.doorman.admit(connection, &head).await?, asked))
}

/// Reads the body.
async fn arrived(request: Request<Incoming>) -> Result<(Asked, HeaderMap), Answer> {
    let (head, body) = request.into_parts();
    let too_big = || {
        let message = format!("the body is longer than {BODY_BYTES_MAX} bytes; ask in several requests");
        refused(StatusCode::PAYLOAD_TOO_LARGE, &message)
    };
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(too_big());
    }
    let body = match tokio::time::timeout(BODY_TIME_MAX, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_big()),
        Ok(Err(_)) => return Err(refused(StatusCode::BAD_REQUEST, "the body did not arrive whole")),
        Err(_elapsed) => {
            let message = format!("the body did not arrive within {} s", BODY_TIME_MAX.as_secs());
            return Err(refused(StatusCode::REQUEST_TIMEOUT, &message));
        }
    };
    let text = |name: HeaderName| head.headers.get(name)?.to_str().ok().map(str::to_owned);
    let asked = Asked {
        query: head.uri.query().unwrap_or_default().to_owned(),
        host: text(HOST),
        content_type: text(CONTENT_TYPE),
        body,
    };
    Ok((asked, head.headers))
}
