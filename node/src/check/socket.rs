//! The check socket: a Unix socket on which neighbours on the same host ask for checks, in batches, for little more than
//! its transport costs.
//!
//! `protocol` has the bytes, `connection` one client's conversation, `peer` who it may be, and `watch` what changes. One task
//! a connection: it reads what is there, decides each batch on one view, and writes once. Nothing waits in a queue: who does
//! not read its answers is not read from.
//!
//! Bounds: [`CONNECTIONS_MAX`], [`CONNECTIONS_PER_USER_MAX`], [`HELLO_WAIT_MAX`], [`IDLE_MAX`], [`WRITE_WAIT_MAX`], and
//! those of the protocol.

mod connection;
mod peer;
mod reason;
mod watch;

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use grantd_catalog::id::Version;
use grantd_catalog::refusal::{Refusal, SqlState};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch::{Receiver, Sender};
use tokio::task::{JoinHandle, JoinSet};
use tracing::{debug, info, warn};

use crate::check::protocol::Answer;
use crate::check::rate::Rates;
use crate::failure::Failure;
use crate::gate::Gate;

/// Its name in the data directory, where it is unless a setting says otherwise.
pub const SOCKET: &str = "check.sock";
/// The most connections at once.
pub const CONNECTIONS_MAX: usize = 256;
/// The most connections at once of one user of the operating system, so that none keeps the others out.
pub const CONNECTIONS_PER_USER_MAX: usize = 128;
/// How long a client may take to say who it is.
pub const HELLO_WAIT_MAX: Duration = Duration::from_secs(10);
/// A connection on which nothing comes for this long, or up to twice as long, is closed.
pub const IDLE_MAX: Duration = Duration::from_secs(900);
/// How long a client may take to read an answer.
pub const WRITE_WAIT_MAX: Duration = Duration::from_secs(10);
/// The longest path that a Unix socket's address has room for, its final NUL apart.
const PATH_BYTES_MAX: usize = 107;
/// How long accepting pauses after it failed, as it does when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

const TOO_MANY_CONNECTIONS: SqlState = SqlState::new("53300");

/// Where the socket is, and for whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    path: PathBuf,
    mode: u32,
}

impl Place {
    /// In the data directory: for the node's own user.
    pub fn inside(data_dir: &Path) -> Self {
        Self { path: data_dir.join(SOCKET), mode: 0o600 }
    }

    /// Where an operator wants it: for every user who may enter the directory. The kernel says who each one is.
    pub fn outside(path: PathBuf) -> Self {
        Self { path, mode: 0o666 }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The listening side. Owns its tasks; [`Self::stop`] ends them and removes the socket.
pub struct CheckServer {
    path: PathBuf,
    stop: Sender<bool>,
    task: JoinHandle<()>,
}

/// What all connections share.
struct Shared {
    gate: Gate,
    /// The applied version, and each later one.
    versions: Receiver<Version>,
    rates: Arc<Rates>,
    /// The user that this process runs as.
    own_uid: u32,
}

impl CheckServer {
    /// Listens. A socket that a dead process left is replaced; anything else that is there is left alone.
    ///
    /// Errors: the path is too long, taken, or may not be written.
    pub async fn start(
        place: &Place,
        gate: Gate,
        versions: Receiver<Version>,
        rates: Arc<Rates>,
    ) -> Result<Self, Failure> {
        let path = place.path.clone();
        clear(&path).await?;
        let failed = |error: &io::Error| {
            Failure::new(format!("cannot listen on `{}` for checks", path.display()))
                .because(error)
                .help("name another place with --check-socket, or `off`")
        };
        let listener = UnixListener::bind(&path).map_err(|error| failed(&error))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(place.mode))
            .map_err(|error| failed(&error))?;
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let own_uid = rustix::process::geteuid().as_raw();
        let task =
            tokio::spawn(accept(listener, Arc::new(Shared { gate, versions, rates, own_uid }), stopped));
        Ok(Self { path, stop, task })
    }

    /// Ends the connections and removes the socket. A question that is being answered is lost, and nothing else.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.task.await {
            warn!(%error, "the task of the check socket ended badly");
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            debug!(%error, "the check socket was gone already");
        }
    }
}

/// Makes room for a socket.
async fn clear(path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    if path.as_os_str().len() > PATH_BYTES_MAX {
        return Err(Failure::new(format!("the path `{shown}` is too long for a socket"))
            .help(format!("name one of at most {PATH_BYTES_MAX} bytes with --check-socket")));
    }
    let taken = |what: &str| {
        Failure::new(format!("cannot listen on `{shown}` for checks: {what}"))
            .help("name another place with --check-socket, or `off`")
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(taken("it cannot be looked at").because(&error)),
        Ok(found) if !found.file_type().is_socket() => Err(taken("a file is there that is not a socket")),
        Ok(_) if UnixStream::connect(path).await.is_ok() => Err(taken("another process listens there")),
        Ok(_) => std::fs::remove_file(path).map_err(|error| taken("what is there cannot go").because(&error)),
    }
}

async fn accept(listener: UnixListener, shared: Arc<Shared>, mut stopped: Receiver<bool>) {
    // Dropped with this task, and its connections with it.
    let mut connections = JoinSet::new();
    let mut by_user: HashMap<u32, usize> = HashMap::new();
    loop {
        let accepted = tokio::select! {
            _stopped_or_gone = stopped.wait_for(|stop| *stop) => break,
            Some(ended) = connections.join_next() => {
                match ended {
                    Ok(uid) => leave(&mut by_user, uid),
                    // Whose it was is not known any more; its place is lost until the node starts again.
                    Err(error) => warn!(%error, "a check connection ended badly"),
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "accepting a check connection failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(uid) = stream.peer_cred().map(|peer| peer.uid()) else { continue };
        let of_user = by_user.entry(uid).or_default();
        if connections.len() >= CONNECTIONS_MAX || *of_user >= CONNECTIONS_PER_USER_MAX {
            info!(uid, "check connection closed: too many");
            refuse(&stream);
            continue;
        }
        *of_user += 1;
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            connection::converse(stream, uid, &shared).await;
            uid
        });
    }
    connections.shutdown().await;
}

fn leave(by_user: &mut HashMap<u32, usize>, uid: u32) {
    if let Some(count) = by_user.get_mut(&uid) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            by_user.remove(&uid);
        }
    }
}

/// Says that there are too many. A new socket has room for it; if not, closing says it.
fn refuse(stream: &UnixStream) {
    let refusal = Refusal::new(TOO_MANY_CONNECTIONS, "this node has as many check connections as it takes")
        .with_detail(format!(
            "It takes {CONNECTIONS_MAX}, and {CONNECTIONS_PER_USER_MAX} of one user of the operating system."
        ))
        .with_hint("Close connections that are not needed, or share one: a batch asks much at once.");
    let mut bytes = Vec::new();
    Answer::Refused(refusal).encode(0, &mut bytes);
    if let Err(error) = stream.try_write(&bytes) {
        debug!(%error, "a check connection was closed without a word");
    }
}
