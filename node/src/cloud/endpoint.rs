//! Credentials for other programs of this host, by the contracts that their libraries know: AWS's for containers, and Google's
//! metadata server. Off unless the configuration names somebody.
//!
//! An entry ([`Endpoint`]) says in whose name what is given and to whom. At every request it is decided again, under the node's
//! read lease as every check from outside, whether that principal may use the URI: once a REVOKE has returned no node gives
//! anything by it. What was given before lives until it ends; no cloud takes back a session. Given is what a role or a
//! confinement gave, never what the node itself is, nor keys.
//!
//! Only who is on this host gets here: listeners are on loopback, requests name loopback as their host (a name that somebody
//! rebinds to 127.0.0.1 does not), and each shows a token that only a file of the node has, or comes from a process of the user
//! that the entry names. `caller` knows who asks, `lend` decides and keeps the chains, `aws` and `google` are the two forms.
//! Source: ADR 0022.
//!
//! Bounds: [`CONNECTIONS_MAX`], [`CONNECTION_TIME_MAX`], [`HEAD_BYTES_MAX`], [`ANSWER_TIME_MAX`], and in `lend`
//! `RATE` and `IDLE_MAX`.

mod answer;
mod aws;
mod caller;
mod google;
mod lend;
mod peer;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::header::{HOST, HeaderName};
use hyper::service::service_fn;
use hyper::{Method, Request};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tracing::{debug, info, warn};

use self::answer::{Answer, Kind, No};
use self::lend::{Lender, Record};
use crate::audit::Audit;
use crate::cloud::outside::Outside;
use crate::cloud::settings::{Endpoint, NodeSettings, Recipient};
use crate::failure::Failure;

/// The most connections at once of each listener: each is one request. Programs ask some times an hour.
pub const CONNECTIONS_MAX: usize = 64;
/// How long a connection may live, whatever its client does.
pub const CONNECTION_TIME_MAX: Duration = Duration::from_secs(5);
/// The most bytes of a request's head.
pub const HEAD_BYTES_MAX: usize = 16 << 10;
/// How long an answer may take to be made. Libraries wait for two seconds (AWS) or three (Google), and try again.
pub const ANSWER_TIME_MAX: Duration = Duration::from_millis(1_800);
/// How often chains that nobody asks for, or nobody may ask for any more, are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(30);
/// How long accepting pauses after it failed, as it does when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a proxy adds. Nobody's proxy is a program of this host.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The listeners. Dropped, they are closed and their connections cut.
pub struct EndpointServer {
    tasks: JoinSet<()>,
}

/// Behind one listener.
struct Door {
    who: Admitted,
    record: Record,
}

/// Who is given something there.
enum Admitted {
    /// Who shows the token of an entry, of these.
    Token(Vec<(Arc<Lender>, caller::TokenFile)>),
    /// Processes of one user.
    User(Arc<Lender>, caller::OsUser),
}

/// One request, without its body, which none has.
struct Asked {
    /// From where.
    client: SocketAddr,
    /// Where it came in.
    server: SocketAddr,
    head: hyper::http::request::Parts,
}

impl EndpointServer {
    /// Listens for what the configuration names. None: it names nothing.
    ///
    /// Errors: a port that is taken, a token's file that others may read, a URI that is none or has keys, an unknown user.
    pub async fn start(
        settings: &NodeSettings,
        outside: &Outside,
        audit: &Audit,
    ) -> Result<Option<Self>, Failure> {
        let mut by_token = Vec::new();
        let mut doors = Vec::new();
        for entry in &settings.endpoints {
            let wrong = |failure: Failure| Failure { what: about(entry, &failure.what), ..failure };
            let lender = Arc::new(Lender::new(entry, settings, outside).map_err(wrong)?);
            match &entry.to {
                Recipient::Token(path) => {
                    let file = caller::TokenFile::prepare(path).map_err(wrong)?;
                    by_token.push((lender, file));
                }
                Recipient::User { listen, os_user } => {
                    let user = caller::OsUser::find(os_user).await.map_err(wrong)?;
                    doors.push((*listen, Admitted::User(lender, user)));
                }
            }
        }
        if let Some(listen) = settings.endpoint_listen {
            if by_token.is_empty() {
                warn!("`cloud_endpoint_listen` is set, and no entry of `cloud_endpoints` is asked for there");
            }
            doors.push((listen, Admitted::Token(by_token)));
        }
        if doors.is_empty() {
            return Ok(None);
        }
        let mut tasks = JoinSet::new();
        let record = Record::new(outside.gate(), audit);
        let lenders: Vec<_> = doors.iter().flat_map(|(_, who)| who.lenders()).cloned().collect();
        for (address, who) in doors {
            let listener = TcpListener::bind(address).await.map_err(|error| {
                Failure::new(format!("cannot listen on {address} for programs that ask for credentials"))
                    .because(&error)
                    .help("another process has the port? Choose another in `cloud_endpoint_listen` or `metadata_listen=`")
            })?;
            let names: Vec<_> = who.lenders().map(|lender| lender.name().to_owned()).collect();
            info!(%address, ?names, "gives credentials to programs of this host");
            tasks.spawn(accept(listener, Arc::new(Door { who, record: record.clone() })));
        }
        tasks.spawn(sweep(lenders));
        Ok(Some(Self { tasks }))
    }

    /// Closes the listeners and cuts their connections; programs ask again, here or elsewhere.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
    }
}

impl Admitted {
    fn lenders(&self) -> Box<dyn Iterator<Item = &Arc<Lender>> + Send + '_> {
        match self {
            Self::Token(entries) => Box::new(entries.iter().map(|(lender, _)| lender)),
            Self::User(lender, _) => Box::new(std::iter::once(lender)),
        }
    }
}

fn about(entry: &Endpoint, what: &str) -> String {
    format!("`{}` of cloud_endpoints: {what}", entry.name)
}

/// Lets go of what is not used any more.
async fn sweep(lenders: Vec<Arc<Lender>>) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        let now = Instant::now();
        lenders.iter().for_each(|lender| lender.sweep(now));
    }
}

async fn accept(listener: TcpListener, door: Arc<Door>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    // Dropped with this task, and its connections with it.
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            Some(_ended) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((tcp, client)) => {
                let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                    info!(%client, "connection of a program that asks for credentials closed: too many");
                    continue;
                };
                let door = Arc::clone(&door);
                connections.spawn(async move {
                    let served = tokio::time::timeout(CONNECTION_TIME_MAX, serve(tcp, client, door)).await;
                    if let Ok(Err(error)) = served {
                        debug!(%client, %error, "connection of a program that asks for credentials lost");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                warn!(%error, "accepting a connection of a program that asks for credentials failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One request, and the end: a connection that is kept would be a process's that may be another one's by then.
async fn serve(tcp: TcpStream, client: SocketAddr, door: Arc<Door>) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let server = tcp.local_addr()?;
    let answer = service_fn(move |request: Request<Incoming>| {
        let door = Arc::clone(&door);
        // No contract has a body: it is dropped unread, and what is not read ends with the connection.
        let asked = Asked { client, server, head: request.into_parts().0 };
        async move { Ok::<_, Infallible>(answered(&door, &asked).await) }
    });
    hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(tcp), answer)
        .await
        .map_err(io::Error::other)
}

async fn answered(door: &Door, asked: &Asked) -> Answer {
    let late = || No::new(Kind::Unavailable, "the answer took too long; it is worked on, ask again");
    match &door.who {
        Admitted::Token(entries) => {
            let (lender, shown) = match asked.is_proper() {
                Ok(()) => aws::find(entries, asked).await,
                Err(no) => (None, Err(no)),
            };
            let lent = match (lender, shown) {
                (Some(lender), Ok(())) => in_time(lender.lend(), late).await,
                (_, Err(no)) => Err(no),
                (None, Ok(())) => Err(No::new(Kind::Unknown, "there is no such entry")),
            };
            let (lent, text) = match lent.and_then(|lent| Ok((aws::credentials(&lent)?, lent))) {
                Ok((text, lent)) => (Ok(lent), text),
                Err(no) => (Err(no), String::new()),
            };
            door.record.note(lender.map(Arc::as_ref), asked.client, &lent);
            aws::answer(lent.as_ref().map(|_| text))
        }
        Admitted::User(lender, user) => {
            let admitted = match asked.is_proper().and_then(|()| google::is_meant(asked)) {
                Ok(()) => user.admits(asked.client, asked.server).await,
                Err(no) => Err(no),
            };
            match admitted {
                Ok(()) => google::answer(lender, &door.record, asked, late).await,
                Err(no) => {
                    let answer = google::refused(&no);
                    door.record.note(Some(lender), asked.client, &Err(no));
                    answer
                }
            }
        }
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, No>>, late: impl Fn() -> No) -> Result<T, No> {
    tokio::time::timeout(ANSWER_TIME_MAX, work).await.unwrap_or_else(|_elapsed| Err(late()))
}

impl Asked {
    fn path(&self) -> &str {
        self.head.uri.path()
    }

    /// That it is a GET of somebody who means this host, and came straight from there.
    fn is_proper(&self) -> Result<(), No> {
        let mut hosts = self.head.headers.get_all(HOST).iter();
        let host = hosts.next().and_then(|host| host.to_str().ok()).filter(|_| hosts.next().is_none());
        let authority = self.head.uri.authority().map(hyper::http::uri::Authority::as_str);
        let is_here = host.is_some_and(caller::is_loopback) && authority.is_none_or(caller::is_loopback);
        if !is_here {
            let message = "the request is not for 127.0.0.1, [::1] or localhost: no other name is answered";
            return Err(No::new(Kind::Malformed, message));
        }
        if self.head.headers.contains_key(FORWARDED_FOR) {
            return Err(No::new(Kind::Malformed, "the request came through a proxy"));
        }
        if self.head.method != Method::GET {
            return Err(No::new(Kind::Method, "only GET is understood"));
        }
        Ok(())
    }
}
