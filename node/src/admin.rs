//! The operator's door into a running node: a Unix socket in its data directory.
//!
//! `grantd init` and `grantd node …` need a way in before there is a cluster, and so before there is SQL. Whoever may
//! open the socket owns the directory with everything in it, so the file's owner is all the authentication there is:
//! mode 0600, and the peer's user id is compared besides. One request a line, one answer a line, both JSON.
//!
//! Bounds: [`REQUEST_BYTES_MAX`], [`ANSWER_BYTES_MAX`], [`CONNECTIONS_MAX`], [`IDLE_MAX`].

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, warn};

use crate::failure::Failure;

/// The socket's name in the data directory.
pub const SOCKET: &str = "admin.sock";
/// The most bytes of a request: the longest has one number in it.
pub const REQUEST_BYTES_MAX: u64 = 4 << 10;
/// The most bytes of an answer; a checksum of many tables is the longest.
pub const ANSWER_BYTES_MAX: u64 = 16 << 20;
/// The most connections at once; one more waits to be accepted.
pub const CONNECTIONS_MAX: usize = 16;
/// A connection that sends nothing for this long is closed.
pub const IDLE_MAX: Duration = Duration::from_secs(30);
/// How long a client waits for an answer: a snapshot of a large store takes a while.
pub const ANSWER_WAIT_MAX: Duration = Duration::from_secs(120);
/// The longest path that a Unix socket's address has room for, its final NUL apart.
const PATH_BYTES_MAX: usize = 107;

/// What an operator asks of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// How it is, and, while it leads, how the others are.
    Status,
    /// Make a new cluster with this node as its first member.
    Init,
    /// Take a member out, for ever.
    Remove {
        /// Which.
        node: u64,
    },
    /// Hand leadership to another member.
    Transfer,
    /// Take a snapshot now.
    Snapshot,
    /// Hash the catalog and the rows.
    Checksum,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It did.
    Done,
    /// To `status`.
    Status(StatusReport),
    /// To `checksum`.
    Checksum(ChecksumReport),
    /// It did not, and why; the text names the way out.
    Refused {
        /// The reason.
        message: String,
    },
}

/// A node's state as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields of `grantd_raft::handle::Status`")]
pub struct StatusReport {
    pub node_id: u64,
    /// The release of the answering binary.
    pub release: String,
    pub cluster_id: Option<String>,
    pub server_state: String,
    pub term: u64,
    pub leader: Option<u64>,
    pub last_log: u64,
    pub applied: u64,
    pub snapshot: u64,
    pub members: Vec<MemberReport>,
}

/// A member as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields of `grantd_raft::handle::Member`")]
pub struct MemberReport {
    pub id: u64,
    pub raft_address: String,
    pub sql_address: String,
    pub voter: bool,
    pub matched: Option<u64>,
    pub heard_ms: Option<u64>,
}

/// Hashes to compare replicas by: equal versions must have equal hashes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChecksumReport {
    /// The version that they are of.
    pub version: u64,
    /// Over the catalog.
    pub catalog: u32,
    /// For each table of the row store: its name, its rows, their hash.
    pub tables: Vec<(String, u64, u32)>,
}

/// Answers requests. Given to [`AdminServer::start`], so that this module knows no cluster.
pub type Answerer = Arc<dyn Fn(Request) -> BoxFuture<'static, Answer> + Send + Sync>;

/// The listening side. Owns its tasks; [`Self::stop`] ends them and removes the socket.
pub struct AdminServer {
    path: PathBuf,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl AdminServer {
    /// Listens in `directory`, which the caller holds the lock of: a socket that is there was left by a process that
    /// is gone, and is replaced.
    pub fn start(directory: &Path, answerer: Answerer) -> Result<Self, Failure> {
        let path = directory.join(SOCKET);
        let failed =
            |error: &io::Error| Failure::new(format!("cannot listen on `{}`", path.display())).because(error);
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return Err(Failure::new(format!("the path `{}` is too long for a socket", path.display()))
                .help(format!("choose a data directory so that it has at most {PATH_BYTES_MAX} bytes")));
        }
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(&error)),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path).map_err(|error| failed(&error))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
            .map_err(|error| failed(&error))?;
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(accept(listener, answerer, stopped));
        Ok(Self { path, stop, task })
    }

    /// Ends the connections, after the answers that are being made, and removes the socket.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            warn!(%error, "the admin task ended badly");
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            debug!(%error, "the admin socket was gone already");
        }
    }
}

async fn accept(listener: UnixListener, answerer: Answerer, mut stopped: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    let for_connections = stopped.clone();
    loop {
        tokio::select! {
            () = told(&mut stopped) => break,
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) if is_owner(&stream) => {
                    connections.spawn(converse(stream, Arc::clone(&answerer), for_connections.clone()));
                }
                Ok(_) => warn!("an admin connection of another user was closed"),
                Err(error) => {
                    warn!(%error, "cannot accept an admin connection");
                    // Out of descriptors, most likely: trying again at once would only spin.
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            },
        }
    }
    while connections.join_next().await.is_some() {}
}

/// Returns when the server is told to stop, or is gone.
async fn told(stopped: &mut watch::Receiver<bool>) {
    let _stopped_or_gone = stopped.wait_for(|stop| *stop).await.is_ok();
}

const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Whether the peer is the user that this process runs as, or root.
fn is_owner(stream: &UnixStream) -> bool {
    let own = rustix::process::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn converse(stream: UnixStream, answerer: Answerer, mut stopped: watch::Receiver<bool>) {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut bounded = (&mut reader).take(REQUEST_BYTES_MAX);
        let read = tokio::select! {
            () = told(&mut stopped) => return,
            read = tokio::time::timeout(IDLE_MAX, bounded.read_until(b'\n', &mut line)) => read,
        };
        let whole = line.ends_with(b"\n");
        if !matches!(read, Ok(Ok(bytes)) if bytes > 0) {
            return;
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) if whole => answerer(request).await,
            Ok(_) => Answer::Refused { message: "the request does not end in a line end".to_owned() },
            Err(error) => Answer::Refused { message: format!("the request cannot be read: {error}") },
        };
        let mut bytes = serde_json::to_vec(&answer).expect("an answer has string keys only");
        bytes.push(b'\n');
        if writer.write_all(&bytes).await.is_err() || !whole {
            return;
        }
    }
}

/// Asks the node that runs in `directory`.
///
/// Errors: no node runs there; it belongs to somebody else; it refuses, with its own reason.
pub async fn ask(directory: &Path, request: &Request) -> Result<Answer, Failure> {
    let path = directory.join(SOCKET);
    let stream = UnixStream::connect(&path).await.map_err(|error| unreachable(directory, &error))?;
    let answer = tokio::time::timeout(ANSWER_WAIT_MAX, exchange(stream, request)).await;
    let broken = |cause: &dyn std::fmt::Display| {
        let mut failure =
            Failure::unreachable(format!("the node in `{}` gave no answer", directory.display()));
        failure.causes.push(cause.to_string());
        failure.help("look at its log; what was asked for may or may not have been done")
    };
    match answer {
        Err(_elapsed) => Err(broken(&format!("nothing came for {} s", ANSWER_WAIT_MAX.as_secs()))),
        Ok(Err(error)) => Err(broken(&error)),
        Ok(Ok(Answer::Refused { message })) => Err(Failure::new(message)),
        Ok(Ok(answer)) => Ok(answer),
    }
}

async fn exchange(mut stream: UnixStream, request: &Request) -> io::Result<Answer> {
    let mut bytes = serde_json::to_vec(request)?;
    bytes.push(b'\n');
    stream.write_all(&bytes).await?;
    let mut line = Vec::new();
    BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the node closed the connection"));
    }
    Ok(serde_json::from_slice(&line)?)
}

fn unreachable(directory: &Path, error: &io::Error) -> Failure {
    let shown = directory.display();
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Failure::unreachable(format!("the node in `{shown}` belongs to another user"))
                .because(error)
                .help("run this command as the user who runs the node")
        }
        _ => Failure::unreachable(format!("no node runs in `{shown}`"))
            .because(error)
            .help("start it with `grantd start`, or name the directory of a running node with --data-dir"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> Answerer {
        Arc::new(|request| {
            Box::pin(async move {
                match request {
                    Request::Remove { node } => Answer::Refused { message: format!("node {node} stays") },
                    Request::Checksum => Answer::Checksum(ChecksumReport {
                        version: 7,
                        catalog: 1,
                        tables: vec![("t104".to_owned(), 2, 3)],
                    }),
                    Request::Status | Request::Init | Request::Transfer | Request::Snapshot => Answer::Done,
                }
            })
        })
    }

    #[tokio::test]
    async fn a_request_gets_its_answer_and_a_refusal_becomes_a_failure() {
        let directory = tempfile::tempdir().unwrap();
        let server = AdminServer::start(directory.path(), echo()).unwrap();
        assert_eq!(ask(directory.path(), &Request::Init).await.unwrap(), Answer::Done);
        let refused = ask(directory.path(), &Request::Remove { node: 3 }).await.unwrap_err();
        assert_eq!(refused.what, "node 3 stays");
        let Answer::Checksum(report) = ask(directory.path(), &Request::Checksum).await.unwrap() else {
            panic!("not a checksum");
        };
        assert_eq!((report.version, report.tables.len()), (7, 1));
        server.stop().await;
        assert!(!directory.path().join(SOCKET).exists());
    }

    #[tokio::test]
    async fn only_the_owner_may_open_the_socket() {
        let directory = tempfile::tempdir().unwrap();
        let server = AdminServer::start(directory.path(), echo()).unwrap();
        let mode = std::fs::metadata(directory.path().join(SOCKET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        server.stop().await;
    }

    #[tokio::test]
    async fn garbage_and_an_endless_line_are_refused_and_the_server_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        let server = AdminServer::start(directory.path(), echo()).unwrap();
        for bytes in [b"{\"op\":\"dance\"}\n".to_vec(), vec![b'x'; 100_000]] {
            let mut stream = UnixStream::connect(directory.path().join(SOCKET)).await.unwrap();
            let _closed_early = stream.write_all(&bytes).await;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line).await.unwrap();
            assert!(line.contains("the request cannot be read"), "{line}");
        }
        assert_eq!(ask(directory.path(), &Request::Status).await.unwrap(), Answer::Done);
        server.stop().await;
    }

    #[tokio::test]
    async fn a_socket_that_a_dead_node_left_is_replaced_and_says_that_no_node_runs() {
        let directory = tempfile::tempdir().unwrap();
        drop(UnixListener::bind(directory.path().join(SOCKET)).unwrap());
        let failure = ask(directory.path(), &Request::Status).await.unwrap_err();
        assert_eq!(failure.kind, crate::failure::Kind::Unreachable);
        assert!(failure.what.starts_with("no node runs in"), "{failure}");
        AdminServer::start(directory.path(), echo()).unwrap().stop().await;
    }
}
