//! What a replicated write cannot be faster than: one sync of a small append, and one round trip between two nodes. On
//! one disk: the second of three syncs at once.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use grantd_node::cert;
use grantd_raft::config::{RaftConfig, Tuning};
use grantd_raft::quic::QuicTransport;
use grantd_raft::transport::{Identity, Peer, RequestKind, Service, Transport};
use grantd_raft::types::NodeInfo;
use tokio::io::AsyncRead;
use tokio::runtime::Handle;

/// Bytes of a round trip's request and answer: about an entry with one GRANT.
pub const BYTES: usize = 256;
/// Bytes of one synced write: a page, which is the least that the log writes.
const PAGE_BYTES: usize = 4_096;
/// Pages of the file that is written over: the log, too, writes over what it has allocated.
const PAGES: usize = 256;
/// Logs that sync at once, and how many of them commit an entry.
const MEMBERS: usize = 3;
const MAJORITY: usize = 2;
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// A file that is allocated already and written over page by page: syncing a file that grows is dearer, and not what
/// bounds the log.
pub struct Sync {
    file: File,
    page: usize,
}

impl Sync {
    /// Allocates the file of this name in `directory`.
    pub fn allocate(directory: &Path, name: &str) -> std::io::Result<Self> {
        let file = File::create(directory.join(name))?;
        file.write_all_at(&vec![0; PAGE_BYTES * PAGES], 0)?;
        file.sync_all()?;
        Ok(Self { file, page: 0 })
    }

    /// Writes one page, syncs it, and gives what that took.
    pub fn once(&mut self) -> std::io::Result<Duration> {
        self.page = (self.page + 1) % PAGES;
        let at = u64::try_from(self.page * PAGE_BYTES).unwrap_or(0);
        let begun = Instant::now();
        self.file.write_all_at(&[7; PAGE_BYTES], at)?;
        self.file.sync_data()?;
        Ok(begun.elapsed())
    }
}

/// Three files, each synced by a thread of its own, as the logs of three nodes are that have one disk.
pub struct Quorum {
    begin: Vec<mpsc::Sender<()>>,
    done: mpsc::Receiver<std::io::Result<Duration>>,
}

impl Quorum {
    /// Allocates the files in `directory`. The threads end when this is dropped.
    pub fn allocate(directory: &Path) -> std::io::Result<Self> {
        let (told, done) = mpsc::channel();
        let mut begin = Vec::new();
        for member in 0..MEMBERS {
            let mut sync = Sync::allocate(directory, &format!("quorum-{member}"))?;
            let (sender, begun) = mpsc::channel();
            let told = told.clone();
            std::thread::Builder::new().name("floor".to_owned()).spawn(move || {
                // Ends when either side is gone.
                while begun.recv().is_ok() && told.send(sync.once()).is_ok() {}
            })?;
            begin.push(sender);
        }
        Ok(Self { begin, done })
    }

    /// Syncs all three at once, and gives what it took until a majority was done.
    pub fn once(&mut self) -> std::io::Result<Duration> {
        let ended = || std::io::Error::other("a syncing thread has ended");
        let begun = Instant::now();
        for begin in &self.begin {
            begin.send(()).map_err(|_| ended())?;
        }
        let mut majority = Duration::ZERO;
        for number in 1..=MEMBERS {
            self.done.recv().map_err(|_| ended())??;
            if number == MAJORITY {
                majority = begun.elapsed();
            }
        }
        Ok(majority)
    }
}

/// Two endpoints of the cluster's own transport in this process, one of which answers with what it was sent.
pub struct RoundTrip {
    here: QuicTransport,
    there: QuicTransport,
    peer: Peer,
}

struct Echo {
    identity: Identity,
}

impl Service for Echo {
    fn identity(&self) -> Identity {
        self.identity.clone()
    }

    fn admit(&self, _peer: &Identity) -> Result<(), String> {
        Ok(())
    }

    fn handle(&self, _: Identity, _: RequestKind, body: Bytes) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async move { Ok(body) })
    }

    fn handle_snapshot(
        &self,
        _from: Identity,
        _header: Bytes,
        _length: u64,
        _file: Box<dyn AsyncRead + Send + Unpin>,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        Box::pin(async move { Err("an echo takes no snapshots".to_owned()) })
    }
}

impl RoundTrip {
    /// Makes certificates under `directory` and connects. The one that answers runs on `servers`.
    pub async fn connect(servers: &Handle, directory: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let options = cert::Options { days: 2, overwrite: true };
        let ca = directory.join("floor-ca");
        cert::create_ca(&ca, &options)?;
        let here = endpoint(directory, &ca, 1, &options)?;
        let there = {
            let _in = servers.enter();
            endpoint(directory, &ca, 2, &options)?
        };
        let address = there.local_address().to_string();
        let info = NodeInfo { raft_address: address, sql_address: String::new(), directory: 2 };
        let round_trip = Self { here, there, peer: Peer::Member(2, info) };
        // The first request connects.
        round_trip.once().await?;
        Ok(round_trip)
    }

    /// Sends one request, and gives what its answer took.
    pub async fn once(&self) -> Result<Duration, Box<dyn std::error::Error>> {
        let begun = Instant::now();
        let body = Bytes::from_static(&[7; BYTES]);
        self.here.call(&self.peer, RequestKind::Heartbeat, body, CALL_TIMEOUT).await?;
        Ok(begun.elapsed())
    }

    /// Closes both.
    pub async fn close(self) {
        self.here.close().await;
        self.there.close().await;
    }
}

fn endpoint(
    directory: &Path,
    ca: &Path,
    node_id: u64,
    options: &cert::Options,
) -> Result<QuicTransport, Box<dyn std::error::Error>> {
    let certs = directory.join(format!("floor-{node_id}"));
    std::fs::create_dir_all(&certs)?;
    cert::create_node(ca, &certs, node_id, &["127.0.0.1".to_owned()], options)?;
    let config = RaftConfig {
        node_id,
        directory: certs.clone(),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        advertise: String::new(),
        advertise_sql: String::new(),
        join: Vec::new(),
        ca_pem: std::fs::read(ca.join(cert::CA_CERT))?,
        cert_pem: std::fs::read(certs.join(cert::NODE_CERT))?,
        key_pem: std::fs::read(certs.join(cert::NODE_KEY))?,
        tuning: Tuning::default(),
    };
    let transport = QuicTransport::bind(&config)?;
    let identity = Identity { cluster_id: None, node_id, directory: node_id.into() };
    transport.serve(Arc::new(Echo { identity }));
    Ok(transport)
}
