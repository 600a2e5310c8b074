//! The TLS of the transport: mutual, 1.3 only, ring, and every failure in words.

use std::sync::Arc;
use std::time::SystemTime;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ConnectionError, TransportConfig, VarInt};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{CertificateError, DigitallySignedStruct, RootCertStore, SignatureScheme};

use super::{
    BindError, CONNECTION_WINDOW_BYTES, IDLE_TIMEOUT, INITIAL_RTT, KEEP_ALIVE, STREAM_WINDOW_BYTES,
    STREAMS_MAX, identity,
};
use crate::config::{NodeId, RaftConfig};
use crate::rpc::ALPN;

/// What the endpoint accepts and dials with.
pub(super) struct Configs {
    pub(super) server: quinn::ServerConfig,
    /// For a member: the server name is checked.
    pub(super) member: quinn::ClientConfig,
    /// For an address: any node of the CA.
    pub(super) anyone: quinn::ClientConfig,
}

impl Configs {
    pub(super) fn load(config: &RaftConfig) -> Result<Self, BindError> {
        let node_id = config.node_id;
        let key_fault = |fault: String| BindError::Key { node_id, fault };
        let roots = Arc::new(load_roots(&config.ca_pem)?);
        let chain = load_chain(config)?;
        let key = PrivateKeyDer::from_pem_slice(&config.key_pem)
            .map_err(|_| key_fault("it is not a private key in PEM".to_owned()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let servers = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
            .build()
            .map_err(|error| BindError::Ca { fault: error.to_string() })?;
        check_own(&servers, &chain, node_id)?;
        let anyone: Arc<dyn ServerCertVerifier> = Arc::new(AnyNode(Arc::clone(&servers)));
        let transport = Arc::new(transport_config());
        let server = server_config(&roots, &provider, &chain, &key, node_id)?;
        let client =
            |verifier| client_config(verifier, &provider, &chain, &key, &transport).map_err(key_fault);
        let mut configs = Self { server, member: client(servers)?, anyone: client(anyone)? };
        configs.server.transport_config(transport);
        configs.server.max_incoming(super::CONNECTIONS_MAX);
        Ok(configs)
    }
}

fn load_roots(pem: &[u8]) -> Result<RootCertStore, BindError> {
    let fault = |fault: &str| BindError::Ca { fault: fault.to_owned() };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|_| fault("it is not PEM"))?;
        roots.add(certificate).map_err(|_| fault("it is not an X.509 certificate"))?;
    }
    if roots.is_empty() {
        return Err(fault("there is no certificate in it"));
    }
    Ok(roots)
}

fn load_chain(config: &RaftConfig) -> Result<Vec<CertificateDer<'static>>, BindError> {
    let node_id = config.node_id;
    let fault = |fault: String| BindError::Certificate { node_id, fault };
    let chain = CertificateDer::pem_slice_iter(&config.cert_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| fault("it is not PEM".to_owned()))?;
    let Some(own) = chain.first() else {
        return Err(fault("there is no certificate in it".to_owned()));
    };
    let named = identity::node_id_of(own).map_err(|error| fault(error.to_string()))?;
    if named != node_id {
        return Err(fault(format!("it is of node {named}")));
    }
    Ok(chain)
}

/// Finds at start what every peer would find later.
fn check_own(
    verifier: &WebPkiServerVerifier,
    chain: &[CertificateDer<'_>],
    node_id: NodeId,
) -> Result<(), BindError> {
    let name = ServerName::try_from(identity::dns_name(node_id)).expect("the name of a node is a DNS name");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let [own, intermediates @ ..] = chain else { return Ok(()) };
    match verifier.verify_server_cert(own, intermediates, &name, &[], UnixTime::since_unix_epoch(now)) {
        Ok(_) => Ok(()),
        Err(error) => Err(BindError::Certificate { node_id, fault: certificate_fault(&error) }),
    }
}

fn certificate_fault(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(fault) = error else { return error.to_string() };
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet; compare the clocks".to_owned()
        }
        // A CA of the same name, as all that `grantd cert` makes have, shows as a wrong signature.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "it is not signed by the CA of this node".to_owned()
        }
        other => other.to_string(),
    }
}

fn server_config(
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    node_id: NodeId,
) -> Result<quinn::ServerConfig, BindError> {
    let clients = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider))
        .build()
        .map_err(|error| BindError::Ca { fault: error.to_string() })?;
    let key_fault = |fault: String| BindError::Key { node_id, fault };
    let mut server = rustls::ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| key_fault(error.to_string()))?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain.to_vec(), key.clone_key())
        .map_err(|error| key_fault(key_error(&error)))?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.max_early_data_size = 0;
    server.send_tls13_tickets = 0;
    server.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    let server = QuicServerConfig::try_from(server).map_err(|error| key_fault(error.to_string()))?;
    Ok(quinn::ServerConfig::with_crypto(Arc::new(server)))
}

fn client_config(
    verifier: Arc<dyn ServerCertVerifier>,
    provider: &Arc<CryptoProvider>,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    transport: &Arc<TransportConfig>,
) -> Result<quinn::ClientConfig, String> {
    let mut client = rustls::ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_auth_cert(chain.to_vec(), key.clone_key())
        .map_err(|error| key_error(&error))?;
    client.alpn_protocols = vec![ALPN.to_vec()];
    client.enable_early_data = false;
    client.resumption = rustls::client::Resumption::disabled();
    let client = QuicClientConfig::try_from(client).map_err(|error| error.to_string())?;
    let mut client = quinn::ClientConfig::new(Arc::new(client));
    client.transport_config(Arc::clone(transport));
    Ok(client)
}

fn key_error(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(_) => "it is not the key of the certificate".to_owned(),
        other => other.to_string(),
    }
}

fn transport_config() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(u64::from(CONNECTION_WINDOW_BYTES))
        .max_idle_timeout(Some(IDLE_TIMEOUT.try_into().expect("seconds fit")))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT)
        .datagram_receive_buffer_size(None);
    config
}

/// Accepts any node of the CA: its own certificate says which name it must have. Only for `Peer::Address`.
#[derive(Debug)]
struct AnyNode(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for AnyNode {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let fail = rustls::Error::InvalidCertificate(CertificateError::NotValidForName);
        let id = identity::node_id_of(end_entity).map_err(|_| fail.clone())?;
        let name = ServerName::try_from(identity::dns_name(id)).map_err(|_| fail)?;
        self.0.verify_server_cert(end_entity, intermediates, &name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// The node at the other end, as its certificate says.
pub(super) fn peer_id(connection: &quinn::Connection) -> Result<NodeId, String> {
    let chain = connection
        .peer_identity()
        .and_then(|identity| identity.downcast::<Vec<CertificateDer<'static>>>().ok())
        .unwrap_or_default();
    let certificate = chain.first().ok_or("there is no certificate")?;
    identity::node_id_of(certificate).map_err(|error| error.to_string())
}

/// Why a connection ended, in the words of an operator.
pub(super) fn explain(error: &ConnectionError) -> String {
    match error {
        ConnectionError::TransportError(error) => match alert(error.code) {
            Some(words) => format!("its certificate was not accepted: {words} ({})", error.reason),
            None => error.to_string(),
        },
        ConnectionError::ConnectionClosed(close) => match alert(close.error_code) {
            Some(words) => format!("it did not accept the certificate of this node: {words}"),
            None => format!("it broke off: {error}"),
        },
        ConnectionError::ApplicationClosed(close) => {
            format!("it closed the connection: {}", String::from_utf8_lossy(&close.reason))
        }
        ConnectionError::TimedOut => "nothing was heard of it for too long".to_owned(),
        ConnectionError::Reset => "it has restarted".to_owned(),
        ConnectionError::LocallyClosed => "this node closed the connection".to_owned(),
        ConnectionError::VersionMismatch | ConnectionError::CidsExhausted => error.to_string(),
    }
}

/// The words for a TLS alert (RFC 8446, section 6.2), whichever side raised it; none: not about certificates.
fn alert(code: quinn::TransportErrorCode) -> Option<&'static str> {
    match u64::from(code).checked_sub(0x100)? {
        42 | 46 => Some("it is of another node, or cannot be read"),
        43 => Some("it is not made for this purpose"),
        45 => Some("it has expired or is not valid yet; make a new one, and compare the clocks"),
        // A CA of the same name, as all that `grantd cert` makes have, shows as a wrong signature (51).
        48 | 51 => Some("another CA signed it; give all nodes the same ca.crt"),
        116 => Some("there is none"),
        120 => Some("the other side is not a grantd node, or of a release that cannot be spoken with"),
        _ => None,
    }
}
