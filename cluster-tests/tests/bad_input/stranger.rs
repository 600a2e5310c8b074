//! Who is none of ours: another CA, an expired certificate, a client without one, and bytes that mean nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use grantd_node::cert;
use grantd_raft::quic::identity;
use grantd_raft::rpc;
use quinn::crypto::rustls::QuicClientConfig;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Makes another CA beside `ca`, with a certificate of its own for root.
pub fn other_ca(ca: &Path) -> PathBuf {
    let other = ca.with_file_name("other-ca");
    let options = cert::Options { days: 2, overwrite: false };
    cert::create_ca(&other, &options).expect("a CA");
    cert::create_client(&other, &other, "root", &options).expect("a certificate for root");
    other
}

/// Puts a certificate of node `id` into `certs` that was good for January 2020.
pub fn expired_node(ca: &Path, certs: &Path, id: u64) {
    let read = |file: &str| std::fs::read_to_string(ca.join(file)).expect("the CA");
    let key = KeyPair::from_pem(&read(cert::CA_KEY)).expect("a key");
    let issuer = Issuer::from_ca_cert_pem(&read(cert::CA_CERT), key).expect("a certificate");
    let names = vec![identity::dns_name(id), "localhost".to_owned()];
    let mut params = CertificateParams::new(names).expect("names");
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2020, 1, 31);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");
    std::fs::write(certs.join(cert::NODE_CERT), certificate.pem()).expect("written");
    std::fs::write(certs.join(cert::NODE_KEY), key.serialize_pem()).expect("written");
}

/// Bytes that are no message of any protocol of ours, and some that begin like one.
pub fn garbage() -> Vec<Vec<u8>> {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |count: usize| -> Vec<u8> {
        let next = |_| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed.to_le_bytes()[0]
        };
        (0..count).map(next).collect()
    };
    let mut all: Vec<Vec<u8>> = [1, 7, 8, 20, 50, 300, 1_200, 1_400].into_iter().map(&mut random).collect();
    // A long header of QUIC 1, as an Initial packet has it, with nonsense behind it.
    all.push([&[0xc3, 0, 0, 0, 1, 8][..], &random(1_194)].concat());
    // A version of QUIC that does not exist.
    all.push([&[0xc3, 0xfa, 0xfa, 0xfa, 0xfa, 8][..], &random(1_194)].concat());
    // A TLS record whose handshake is nonsense.
    all.push([&[22, 3, 1, 0, 200][..], &random(200)].concat());
    // A startup packet that announces 4 GiB, one that asks for TLS and goes on without it, one without an end.
    all.push(vec![0xff; 8]);
    all.push([&[0, 0, 0, 8, 4, 210, 22, 47][..], &random(100)].concat());
    all.push([&[0, 0, 0, 40, 0, 3, 0, 0][..], &[b'u'; 32]].concat());
    all
}

/// Sends `bytes` to a port, ends its side, and gives what came back before the other side ended too.
pub async fn send_and_hear(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("somebody listens");
    let mut heard = Vec::new();
    // The node may end it first, which fails the rest of both.
    if stream.write_all(bytes).await.is_ok() && stream.shutdown().await.is_ok() {
        drop(stream.read_to_end(&mut heard).await);
    }
    heard
}

/// Dials a node's raft port as a client that trusts the CA and shows no certificate; why it is refused.
pub async fn dial_without_certificate(ca: &Path, node: u64, port: u16) -> String {
    let pem = std::fs::read(ca).expect("the CA");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&pem).expect("a certificate")).expect("a CA");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![rpc::ALPN.to_vec()];
    let config = QuicClientConfig::try_from(config).expect("a configuration of TLS 1.3");
    let endpoint = quinn::Endpoint::client(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a socket");
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let config = quinn::ClientConfig::new(Arc::new(config));
    let connecting = endpoint.connect_with(config, address, &identity::dns_name(node)).expect("a dial");
    match connecting.await {
        Err(error) => error.to_string(),
        // QUIC says that it is connected before the node has looked for a certificate.
        Ok(connection) => connection.closed().await.to_string(),
    }
}
