//! Certificates of the operator's own authority, and proxies.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;

use bytes::Bytes;
use grantd_cluster_tests::cloud::world::{ACCOUNT, user_arn};
use grantd_node::cloud::storage::{Kind, Patience, StorageSettings};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::node::{Cloud, Node, THREE_SECONDS, uri};

/// A server of TLS in front of the double, and the authority that it is trusted by, as PEM.
async fn in_front_of(target: SocketAddr) -> (SocketAddr, String) {
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::<String>::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).expect("a certificate");
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])
        .expect("a name")
        .signed_by(&key, &issuer)
        .expect("a certificate");
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a server of TLS on loopback");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("a server of TLS on loopback")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a server of TLS on loopback");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a server of TLS on loopback");
    let address = listener.local_addr().expect("a server of TLS on loopback");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut inner) = acceptor.accept(stream).await else { return };
                let Ok(mut outer) = TcpStream::connect(target).await else { return };
                let _ = copy_bidirectional(&mut inner, &mut outer).await;
            });
        }
    });
    (address, authority_certificate.pem())
}

#[tokio::test]
async fn an_authority_of_the_operator_is_trusted_when_the_setting_says_so() {
    let cloud = Cloud::double().await;
    let Cloud::Double { aws, .. } = &cloud else { unreachable!("it is the double") };
    let (address, custom_ca) = in_front_of(aws.address()).await;
    let keys = cloud.keys(&user_arn(ACCOUNT, "fixed"));
    let place = uri(&format!("https://{address}"), keys, None);

    let stranger = Node::with(&cloud.endpoint(), StorageSettings::default());
    let storage = stranger.open(&place, THREE_SECONDS, Patience::Statement).await;
    let error = storage.put("never", Bytes::from_static(b"1")).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unavailable, "{error}");
    assert_eq!(aws.count("PutObject"), 0);

    let node = Node::with(&cloud.endpoint(), StorageSettings { custom_ca, ..StorageSettings::default() });
    let storage = node.open(&place, THREE_SECONDS, Patience::Statement).await;
    storage.put("trusted", Bytes::from_static(b"1")).await.unwrap();
    assert_eq!(aws.count("PutObject"), 1);
}

const PROXIED: &str = "GRANTD_TEST_PROXIED";

/// The environment belongs to the whole process, so the test is run again in one of its own.
#[tokio::test]
async fn a_proxy_of_the_environment_is_used() {
    if std::env::var_os(PROXIED).is_some() {
        return through_the_proxy().await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = vec![0; 4_096];
        let length = stream.read(&mut head).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 200 OK\r\netag: \"1\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        String::from_utf8_lossy(&head[..length]).lines().next().unwrap_or_default().to_owned()
    });
    let me = std::env::current_exe().unwrap();
    let child = tokio::task::spawn_blocking(move || {
        Command::new(me)
            .args(["--exact", "tls::a_proxy_of_the_environment_is_used", "--nocapture"])
            .env(PROXIED, "1")
            .env("HTTP_PROXY", proxy)
            .output()
            .unwrap()
    });
    let child = child.await.unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    assert_eq!(asked.await.unwrap(), "PUT http://storage.invalid/backups/nightly/proxied HTTP/1.1");
}

async fn through_the_proxy() {
    let cloud = Cloud::double().await;
    let keys = cloud.keys(&user_arn(ACCOUNT, "fixed"));
    let node = Node::with(&cloud.endpoint(), StorageSettings::default());
    let storage =
        node.open(&uri("http://storage.invalid", keys, None), THREE_SECONDS, Patience::Statement).await;
    storage.put("proxied", Bytes::from_static(b"1")).await.expect("a put through the proxy");
}
