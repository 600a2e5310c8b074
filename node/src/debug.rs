//! What an operator who looks for a fault may see over HTTPS: a CPU profile, counts of tasks, the release.
//!
//! Off unless `debug_listen` is set. TLS is that of the SQL port. Who it is, is proved by a certificate of the cluster's
//! CA or by name and password (Basic); whether it may, is decided by the gate at each request: VIEWDEBUG, or admin. What
//! is not here: data, statements, other principals' activity.
//!
//! Bounds: [`CONNECTIONS_MAX`], [`HEAD_BYTES_MAX`], [`REQUEST_TIME_MAX`], one profile at a time.

mod profile;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use bytes::Bytes;
use grantd_catalog::command::Actor;
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::RoleName;
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::lacks_system_privilege;
use grantd_catalog::require::Requirement;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use crate::authn::scram::Verifier;
use crate::authn::{Login, certificate_user, decide_console_login};
use crate::secret::Secret;
use crate::sql::execute::Engine;
use crate::sql::system::context::now_micros;

/// The most connections at once; one more is closed unheard.
pub const CONNECTIONS_MAX: usize = 16;
/// The most bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long a connection lives, handshake and the longest profile included.
pub const REQUEST_TIME_MAX: Duration = Duration::from_secs(120);
/// How long a client may take for its handshake, and for each head.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// How long accepting pauses after it failed, as it does when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a profile takes unless the client says so.
const SECONDS: u64 = 10;

const PROFILE: &str = "/debug/pprof/profile";
const TASKS: &str = "/debug/tasks";
const VERSION: &str = "/debug/version";

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub struct DebugServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

/// What its connections share.
struct Shared {
    engine: Engine,
    /// Makes verifiers of users that there are not.
    fake_salt_key: [u8; 32],
    profiles: Semaphore,
}

type Answer = Response<Full<Bytes>>;

impl DebugServer {
    /// Serves the connections that `listener` accepts, with the TLS of the SQL port.
    ///
    /// # Errors
    /// The listener has no address.
    pub fn start(
        listener: TcpListener,
        tls: &Arc<ServerConfig>,
        engine: Engine,
        fake_salt_key: [u8; 32],
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let mut tls = ServerConfig::clone(tls);
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let shared = Arc::new(Shared { engine, fake_salt_key, profiles: Semaphore::new(1) });
        Ok(Self { address, task: tokio::spawn(accept(listener, Arc::new(tls), shared)) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it and cuts its connections.
    pub async fn stop(mut self) {
        self.task.abort();
        // Aborted or done: either way it is over.
        let _ = (&mut self.task).await;
    }
}

impl Drop for DebugServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, tls: Arc<ServerConfig>, shared: Arc<Shared>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Dropped with this task, and its connections with it.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            Some(_ended) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, peer)) => {
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                    info!(%peer, "debug connection closed: too many");
                    continue;
                };
                let (tls, shared) = (Arc::clone(&tls), Arc::clone(&shared));
                connections.spawn(async move {
                    let served = tokio::time::timeout(REQUEST_TIME_MAX, serve(tcp, tls, &shared)).await;
                    if let Ok(Err(error)) = served {
                        debug!(%peer, %error, "debug connection lost");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "accepting a debug connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve(tcp: TcpStream, tls: Arc<ServerConfig>, shared: &Shared) -> io::Result<()> {
    let handshake = tokio::time::timeout(HEAD_TIME_MAX, TlsAcceptor::from(tls).accept(tcp));
    let stream = handshake.await.map_err(|_| io::ErrorKind::TimedOut)??;
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first().cloned());
    let certified = shown.as_deref().and_then(certificate_user);
    let answer = service_fn(|request: Request<Incoming>| {
        let certified = certified.clone();
        async move { Ok::<_, Infallible>(answer(shared, certified, &request).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), answer)
        .await
        .map_err(io::Error::other)
}

async fn answer(shared: &Shared, certified: Option<RoleName>, request: &Request<Incoming>) -> Answer {
    match admit(shared, certified, request).await {
        Err(refused) => refused,
        Ok(()) if request.method() != Method::GET => {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is understood here");
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            answer
        }
        Ok(()) => match request.uri().path() {
            PROFILE => take_profile(shared, request.uri().query().unwrap_or_default()).await,
            TASKS => tasks(shared),
            VERSION => json_answer(&json!({
                "node_id": shared.engine.activity().own().node(),
                "release": env!("CARGO_PKG_VERSION"),
                "debug_build": cfg!(debug_assertions),
                "uptime_ms": shared.engine.activity().own().uptime_ms(),
            })),
            _ => text(StatusCode::NOT_FOUND, &format!("there are {PROFILE}?seconds=N, {TASKS}, {VERSION}")),
        },
    }
}

/// Lets a request in, or says why not: 401 without proof, 403 without privilege.
async fn admit(
    shared: &Shared,
    certified: Option<RoleName>,
    request: &Request<Incoming>,
) -> Result<(), Answer> {
    let unavailable = |message: &str| text(StatusCode::SERVICE_UNAVAILABLE, message);
    let view = shared.engine.gate().view().await.map_err(|refusal| unavailable(&refusal.message))?;
    let given = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
    let (user, password) = match (given, certified) {
        (Some(given), _) => {
            let (user, password) = basic(given).ok_or_else(who_are_you)?;
            (user, Some(password))
        }
        (None, Some(user)) => (user, None),
        (None, None) => return Err(who_are_you()),
    };
    let login = decide_console_login(&view, &user, now_micros());
    let principal = match password {
        Some(password) => by_password(shared, &user, login, password).await?,
        None => match login {
            Login::Allowed(candidate) => candidate.principal,
            Login::Forbidden(_) | Login::Unknown => return Err(who_are_you()),
        },
    };
    let mut needed = Requirement::NOTHING;
    needed.privilege(ObjectId::CLUSTER, Privilege::ViewDebug);
    match shared.engine.gate().permit(&view, Actor::of(principal), &needed) {
        Ok(_permit) => {
            info!(%user, path = request.uri().path(), "debug request");
            Ok(())
        }
        Err(_) => {
            info!(%user, path = request.uri().path(), "debug request refused");
            let refusal = lacks_system_privilege(&user, Privilege::ViewDebug);
            Err(text(StatusCode::FORBIDDEN, &refusal.message))
        }
    }
}

/// A user that there is not costs as much time as a wrong password, and gets the same answer.
async fn by_password(
    shared: &Shared,
    user: &RoleName,
    login: Login,
    password: Secret,
) -> Result<PrincipalId, Answer> {
    let candidate = match login {
        Login::Allowed(candidate) => Some(candidate),
        Login::Forbidden(_) | Login::Unknown => None,
    };
    let stored = candidate.as_ref().and_then(|candidate| candidate.verifier.as_ref());
    let verifier = stored.and_then(|stored| Verifier::parse(stored.expose()).ok());
    let real = verifier.is_some();
    let verifier = verifier.unwrap_or_else(|| Verifier::fake(&shared.fake_salt_key, user.as_str()));
    // Thousands of rounds: not on a thread that others wait for.
    let matches = tokio::task::spawn_blocking(move || verifier.matches(&password)).await;
    match candidate {
        Some(candidate) if real && matches.unwrap_or(false) => Ok(candidate.principal),
        _ => {
            info!(%user, "debug login refused");
            Err(who_are_you())
        }
    }
}

/// `Basic base64(user:password)`. Source: RFC 7617.
fn basic(header: &[u8]) -> Option<(RoleName, Secret)> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = Secret::new(String::from_utf8(BASE64.decode(encoded.trim_ascii()).ok()?).ok()?);
    let (user, password) = decoded.expose().split_once(':')?;
    Some((RoleName::normalize(user), Secret::new(password.to_owned())))
}

fn who_are_you() -> Answer {
    let message = "show a client certificate of the cluster's CA, or a user's name and password (Basic), of somebody \
                   who exists and may log in";
    let mut answer = text(StatusCode::UNAUTHORIZED, message);
    answer
        .headers_mut()
        .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"grantd\", charset=\"UTF-8\""));
    answer
}

async fn take_profile(shared: &Shared, query: &str) -> Answer {
    let Some(seconds) = seconds(query) else {
        let message = format!("seconds must be a whole number from 1 to {}", profile::SECONDS_MAX);
        return text(StatusCode::BAD_REQUEST, &message);
    };
    let Ok(_one) = shared.profiles.try_acquire() else {
        return text(
            StatusCode::SERVICE_UNAVAILABLE,
            "another profile is being taken; try again when it is done",
        );
    };
    match profile::take(Duration::from_secs(seconds)).await {
        Ok(bytes) => body(StatusCode::OK, "application/octet-stream", bytes.into()),
        Err(reason) => {
            warn!(%reason, "a profile cannot be taken");
            text(StatusCode::INTERNAL_SERVER_ERROR, &format!("a profile cannot be taken: {reason}"))
        }
    }
}

fn seconds(query: &str) -> Option<u64> {
    let given = query.split('&').find_map(|pair| pair.strip_prefix("seconds="));
    let seconds = given.map_or(Some(SECONDS), |text| text.parse().ok())?;
    (1..=profile::SECONDS_MAX).contains(&seconds).then_some(seconds)
}

/// What the runtime counts. Tasks have no names and no stacks here: only an unstable build of the runtime keeps them.
fn tasks(shared: &Shared) -> Answer {
    let metrics = tokio::runtime::Handle::current().metrics();
    let workers = 0..metrics.num_workers();
    let busy_ms =
        |worker| u64::try_from(metrics.worker_total_busy_duration(worker).as_millis()).unwrap_or(u64::MAX);
    json_answer(&json!({
        "workers": metrics.num_workers(),
        "alive_tasks": metrics.num_alive_tasks(),
        "global_queue_depth": metrics.global_queue_depth(),
        "worker_busy_ms": workers.clone().map(busy_ms).collect::<Vec<_>>(),
        "worker_parks": workers.map(|worker| metrics.worker_park_count(worker)).collect::<Vec<_>>(),
        "sessions": shared.engine.activity().own().len(),
    }))
}

fn json_answer(value: &serde_json::Value) -> Answer {
    body(StatusCode::OK, "application/json", format!("{value:#}\n").into())
}

fn text(status: StatusCode, message: &str) -> Answer {
    body(status, "text/plain; charset=utf-8", format!("{message}\n").into())
}

fn body(status: StatusCode, kind: &'static str, bytes: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(bytes));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_bounds() {
        assert_eq!(seconds(""), Some(SECONDS));
        assert_eq!(seconds("x=1&seconds=60"), Some(60));
        for wrong in ["seconds=0", "seconds=61", "seconds=", "seconds=-1", "seconds=1s"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn basic_credentials_are_read_and_nothing_else() {
        let read = |header: &str| {
            basic(header.as_bytes()).map(|(user, password)| (user, password.expose().to_owned()))
        };
        let amy = (RoleName::normalize("amy"), "a:b".to_owned());
        assert_eq!(read("Basic YW15OmE6Yg=="), Some(amy.clone()));
        assert_eq!(read("bAsIc  YW15OmE6Yg=="), Some(amy));
        for wrong in ["", "Basic", "Basic YW15", "Bearer YW15OmE6Yg==", "Basic !!!!", "Basic //79"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
