//! Certificates, services and nodes for the tests of the transport.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use grantd_raft::config::{NodeId, RaftConfig, Tuning};
use grantd_raft::quic::{BindError, QuicTransport, identity};
use grantd_raft::transport::{Identity, Peer, RequestKind, Service, Transport, TransportError};
use grantd_raft::types::{ClusterId, NodeInfo};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::Semaphore;

/// Long enough for a loaded machine; nothing that is tested waits for it to pass.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// A CA.
pub struct Pki {
    pub ca_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, in PEM.
#[derive(Clone)]
pub struct Pair {
    pub cert: String,
    pub key: String,
}

impl Pki {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca_pem = params.self_signed(&key).unwrap().pem();
        Self { ca_pem, issuer: Issuer::new(params, key) }
    }

    pub fn node(&self, id: NodeId) -> Pair {
        self.certificate(&[identity::dns_name(id)], Duration::from_secs(86_400))
    }

    /// A certificate that has expired an hour ago.
    pub fn expired(&self, id: NodeId) -> Pair {
        self.certificate(&[identity::dns_name(id)], Duration::ZERO)
    }

    pub fn certificate(&self, names: &[String], valid: Duration) -> Pair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names.to_vec()).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let hour_ago = SystemTime::now() - Duration::from_secs(3_600);
        params.not_before = (hour_ago - Duration::from_secs(3_600)).into();
        params.not_after = (hour_ago + valid).into();
        let cert = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { cert, key: key.serialize_pem() }
    }
}

/// Answers with what it was asked; keeps what it saw.
pub struct Echo {
    pub identity: Mutex<Identity>,
    pub not_admitted: Mutex<Option<String>>,
    /// Each `Propose` takes one away.
    pub gate: Semaphore,
    pub appends: Mutex<Vec<Bytes>>,
    pub begun: std::sync::atomic::AtomicUsize,
}

impl Service for EchoService {
    fn identity(&self) -> Identity {
        self.0.identity.lock().unwrap().clone()
    }

    fn admit(&self, _peer: &Identity) -> Result<(), String> {
        self.0.not_admitted.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn handle(
        &self,
        _from: Identity,
        kind: RequestKind,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        let echo = Arc::clone(&self.0);
        echo.begun.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        match kind {
            RequestKind::Append => {
                echo.appends.lock().unwrap().push(body.clone());
                async move { Ok(body) }.boxed()
            }
            RequestKind::Propose => async move {
                echo.gate.acquire().await.unwrap().forget();
                Ok(body)
            }
            .boxed(),
            RequestKind::TransferLeader => {
                async move { Err("this node does not want to lead".to_owned()) }.boxed()
            }
            _ => async move { Ok(body) }.boxed(),
        }
    }

    fn handle_snapshot(
        &self,
        _from: Identity,
        header: Bytes,
        length: u64,
        mut file: Box<dyn AsyncRead + Send + Unpin>,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        async move {
            if header.as_ref() == b"unwanted" {
                return Err("this node has a newer one".to_owned());
            }
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).await.map_err(|error| error.to_string())?;
            if bytes.len() as u64 != length {
                return Err(format!("{} bytes instead of {length}", bytes.len()));
            }
            Ok(Bytes::copy_from_slice(&crc32c::crc32c(&bytes).to_le_bytes()))
        }
        .boxed()
    }
}

/// [`Echo`] as a service.
pub struct EchoService(pub Arc<Echo>);

/// A node that serves [`Echo`].
pub struct Node {
    pub id: NodeId,
    pub transport: QuicTransport,
    pub echo: Arc<Echo>,
}

pub const CLUSTER: ClusterId = ClusterId(0xC1);

pub fn directory_of(id: NodeId) -> u128 {
    u128::from(id) << 64
}

pub fn config(id: NodeId, ca_pem: &str, pair: &Pair, listen: SocketAddr) -> RaftConfig {
    RaftConfig {
        node_id: id,
        directory: std::path::PathBuf::new(),
        listen,
        advertise: listen.to_string(),
        advertise_sql: String::new(),
        join: Vec::new(),
        ca_pem: ca_pem.as_bytes().to_vec(),
        cert_pem: pair.cert.as_bytes().to_vec(),
        key_pem: pair.key.as_bytes().to_vec(),
        tuning: Tuning::default(),
    }
}

pub fn any_port() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

impl Node {
    pub fn start(pki: &Pki, id: NodeId) -> Self {
        Self::start_with(id, &pki.ca_pem, &pki.node(id), any_port()).unwrap()
    }

    pub fn start_with(id: NodeId, ca_pem: &str, pair: &Pair, listen: SocketAddr) -> Result<Self, BindError> {
        let transport = QuicTransport::bind(&config(id, ca_pem, pair, listen))?;
        let echo = Arc::new(Echo {
            identity: Mutex::new(Identity {
                cluster_id: Some(CLUSTER),
                node_id: id,
                directory: directory_of(id),
            }),
            not_admitted: Mutex::new(None),
            gate: Semaphore::new(0),
            appends: Mutex::default(),
            begun: Default::default(),
        });
        transport.serve(Arc::new(EchoService(Arc::clone(&echo))));
        Ok(Self { id, transport, echo })
    }

    pub fn address(&self) -> SocketAddr {
        self.transport.local_address()
    }

    pub fn peer(&self) -> Peer {
        self.peer_at(self.address())
    }

    pub fn peer_at(&self, address: SocketAddr) -> Peer {
        member(self.id, address)
    }

    pub async fn ask(&self, to: &Peer, kind: RequestKind, body: &[u8]) -> Result<Bytes, TransportError> {
        self.transport.call(to, kind, Bytes::copy_from_slice(body), TIMEOUT).await
    }
}

pub fn member(id: NodeId, address: SocketAddr) -> Peer {
    let info = NodeInfo {
        raft_address: address.to_string(),
        sql_address: String::new(),
        directory: directory_of(id),
    };
    Peer::Member(id, info)
}
