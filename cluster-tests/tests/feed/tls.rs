//! TLS in front of a server that speaks none. It can be cut.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

/// Who is spoken to, as `localhost`.
pub struct Front {
    port: u16,
    certificate: CertificateDer<'static>,
    pem: String,
    behind: Arc<OnceLock<SocketAddr>>,
    is_cut: watch::Sender<bool>,
}

impl Front {
    #[allow(dead_code, reason = "not every test names it so")]
    pub async fn start() -> Self {
        Self::named(&["localhost"]).await
    }

    /// With a certificate for these names.
    pub async fn named(names: &[&str]) -> Self {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
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
        let (is_cut, cut) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, to, mut cut) = (acceptor.clone(), Arc::clone(&to), cut.clone());
                let led = async move {
                    // Who does not trust it goes.
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let Some(to) = to.get() else { return };
                    let Ok(mut to) = TcpStream::connect(to).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut stream, &mut to).await;
                };
                tokio::spawn(async move {
                    tokio::select! {
                        () = led => {}
                        _ = cut.wait_for(|is_cut| *is_cut) => {}
                    }
                });
            }
        });
        Self { port, certificate, pem: made.cert.pem(), behind, is_cut }
    }

    pub fn lead_to(&self, address: SocketAddr) {
        self.behind.set(address).unwrap();
    }

    /// Every connection ends, until it is not cut any more.
    #[allow(dead_code, reason = "not every test cuts it")]
    pub fn cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }

    #[allow(dead_code, reason = "not every test says it so")]
    pub fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }

    /// Who is to be trusted.
    #[allow(dead_code, reason = "not every test says it so")]
    pub fn ca(&self) -> &str {
        &self.pem
    }

    #[allow(dead_code, reason = "not every test says it so")]
    pub fn ca_base64(&self) -> String {
        STANDARD.encode(&self.pem)
    }

    /// For who trusts it.
    #[allow(dead_code, reason = "not every test reads by it")]
    pub fn client(&self) -> Arc<rustls::ClientConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }
}
