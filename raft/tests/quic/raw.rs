//! A client of quinn's own that says what it likes.

use std::net::SocketAddr;
use std::sync::Arc;

use grantd_raft::rpc::{Hello, HelloAnswer, StreamKind};
use grantd_raft::transport::Identity;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::world::{CLUSTER, Pair, Pki, directory_of};

pub struct Raw {
    pub connection: quinn::Connection,
    _endpoint: quinn::Endpoint,
}

impl Raw {
    pub async fn connect(
        pki: &Pki,
        pair: Option<&Pair>,
        address: SocketAddr,
        alpn: &[u8],
    ) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pki.ca_pem.as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let cert = CertificateDer::from_pem_slice(pair.cert.as_bytes()).unwrap();
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(vec![cert], key).unwrap()
            }
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()));
        let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
        let connecting = endpoint.connect_with(config, address, "node-2.grantd.internal").unwrap();
        let connection = connecting.await.map_err(|error| error.to_string())?;
        Ok(Self { connection, _endpoint: endpoint })
    }

    /// Says to be node `id`; an error is the peer's.
    pub async fn hello(&self, id: u64) -> Result<(), String> {
        let identity = Identity { cluster_id: Some(CLUSTER), node_id: id, directory: directory_of(id) };
        let sealed = Hello::of(identity).encode();
        let exchange = async {
            let (mut send, mut recv) = self.connection.open_bi().await?;
            send.write_all(&[StreamKind::Hello as u8]).await?;
            send.write_all(&u32::try_from(sealed.len()).unwrap().to_le_bytes()).await?;
            send.write_all(&sealed).await?;
            send.finish()?;
            Ok::<_, Box<dyn std::error::Error>>(recv.read_to_end(10_000).await?)
        };
        match exchange.await {
            Ok(answer) => match HelloAnswer::decode(&answer[4..]).unwrap() {
                HelloAnswer::Welcome { .. } => Ok(()),
                HelloAnswer::Refused { reason } => Err(reason),
            },
            Err(_) => Err(self.connection.closed().await.to_string()),
        }
    }
}
