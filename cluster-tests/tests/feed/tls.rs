//! TLS in front of a broker that speaks none.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// Who is spoken to, as `localhost`.
pub struct Front {
    port: u16,
    certificate: CertificateDer<'static>,
    pem: String,
    behind: Arc<OnceLock<SocketAddr>>,
}

impl Front {
    pub async fn start() -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let certificate = made.cert.der().clone();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let behind: Arc<OnceLock<SocketAddr>> = Arc::default();
        let to = Arc::clone(&behind);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, to) = (acceptor.clone(), Arc::clone(&to));
                tokio::spawn(async move {
                    // Who does not trust it goes.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let Some(to) = to.get() else { return };
                    let Ok(mut to) = TcpStream::connect(to).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut to).await;
                });
            }
        });
        Self { port, certificate, pem: made.cert.pem(), behind }
    }

    pub fn lead_to(&self, address: SocketAddr) {
        self.behind.set(address).unwrap();
    }

    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    pub fn ca_base64(&self) -> String {
        STANDARD.encode(&self.pem)
    }

    /// For who trusts it.
    pub fn client(&self) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}
