//! Certificates of the operator's own authority, proxies, and who takes too long: of storage, and of STS.

use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use grantd_cluster_tests::cloud::aws::Keys;
use grantd_cluster_tests::cloud::fault::{Fault, Trouble};
use grantd_cluster_tests::cloud::world::{ACCOUNT, user_arn};
use grantd_node::cloud::aws::{Aws, Environment};
use grantd_node::cloud::chain::{AssumeRole, AwsKeys, Chain, Hashed, Source, Step};
use grantd_node::cloud::fetch::Clouds;
use grantd_node::cloud::gcp::{self, Gcp};
use grantd_node::cloud::lease::{Class, Fetch, FetchError, Fetched, Lease, Moment};
use grantd_node::cloud::settings::NodeSettings;
use grantd_node::cloud::storage::{Kind, Patience, StorageSettings};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::node::{Cloud, Node, THREE_SECONDS, uri};

/// A server of TLS in front of the double, by these names, and the authority that it is trusted by, as PEM.
async fn in_front_of(target: SocketAddr) -> (SocketAddr, String) {
    let authority_key = KeyPair::generate().expect("a key");
    let mut authority = CertificateParams::new(Vec::<String>::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_certificate = authority.self_signed(&authority_key).expect("a certificate");
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned(), STS.to_owned()])
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

/// A name that only a proxy knows.
const STS: &str = "sts.invalid";
/// What the child of a test is told.
const TOLD: &str = "GRANTD_TEST_TOLD";

/// All clouds, with STS there, and whom they are to trust.
fn clouds(endpoint: &str, custom_ca: &Arc<Mutex<String>>) -> Clouds {
    let settings = NodeSettings {
        aws_sts_endpoint: Some(endpoint.to_owned()),
        aws_region: Some("us-east-1".to_owned()),
        ..NodeSettings::nowhere()
    };
    let aws = Aws::new(&settings, Environment::only(&[]), "grantd-0a1b2c3d-1".to_owned());
    let gcp = Gcp::new(settings, gcp::Environment::default(), "").expect("settings that fit");
    let said = custom_ca.clone();
    Clouds::new(aws, gcp, move || said.lock().unwrap().clone())
}

/// Assumes a role with a user's keys.
async fn assume(clouds: &Clouds, keys: &Keys, role: &str) -> Result<Fetched, FetchError> {
    let source = Source::AwsKeys(AwsKeys {
        access_key_id: keys.access_key_id.clone(),
        secret_access_key: Hashed::new(keys.secret_access_key.clone().into()),
        session_token: None,
    });
    let parent = clouds.fetch(&Chain::new(source.clone(), []), None).await?;
    let (material, obtained) = (parent.material, Moment::default());
    let parent = Lease { material, obtained, deadline: None, not_after: None, generation: 1 };
    let step = Step::AssumeRole(AssumeRole {
        role: role.to_owned(),
        external_id: None,
        session_name: "grantd-0a1b2c3d-1-job7".to_owned(),
        source_identity: None,
        policy: None,
        duration: Duration::from_secs(3_600),
    });
    clouds.fetch(&Chain::new(source, [step]), Some(&parent)).await
}

#[tokio::test]
async fn sts_is_trusted_as_the_setting_says_at_each_call() {
    let cloud = Cloud::double().await;
    let Cloud::Double { aws, .. } = &cloud else { unreachable!("it is the double") };
    let (address, authority) = in_front_of(aws.address()).await;
    let (keys, role) = (cloud.keys(&user_arn(ACCOUNT, "chain")), &cloud.roles()[0]);
    let custom_ca = Arc::new(Mutex::new(String::new()));
    let clouds = clouds(&format!("https://{address}"), &custom_ca);

    let stranger = assume(&clouds, keys, role).await.expect_err("nobody knows this authority");
    assert_eq!(stranger.class, Class::Network, "{stranger}");
    assert!(stranger.message.contains("certificate"), "{stranger}");
    assert_eq!(aws.count("AssumeRole"), 0);
    *custom_ca.lock().unwrap() = authority.clone();
    assume(&clouds, keys, role).await.expect("trusted from now on");

    // What cannot be read changes nothing, and is no panic; another authority is another.
    for spoiled in ["-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n", "none"] {
        *custom_ca.lock().unwrap() = spoiled.to_owned();
        assume(&clouds, keys, role).await.expect("as before");
    }
    let (_other, another) = in_front_of(aws.address()).await;
    *custom_ca.lock().unwrap() = another.clone();
    assume(&clouds, keys, role).await.expect_err("the first is trusted no more");
    *custom_ca.lock().unwrap() = format!("{another}{authority}");
    assume(&clouds, keys, role).await.expect("both are");
    assert_eq!(aws.count("AssumeRole"), 4);
}

/// The environment belongs to the whole process, so the test is run again in one of its own.
#[tokio::test]
async fn sts_is_asked_through_the_proxy_of_the_environment() {
    if let Ok(told) = std::env::var(TOLD) {
        let [id, secret, role, authority] = serde_json::from_str::<[String; 4]>(&told).unwrap();
        let keys = Keys { access_key_id: id, secret_access_key: secret, session_token: None, expires: None };
        let clouds = clouds(&format!("https://{STS}"), &Arc::new(Mutex::new(authority)));
        assume(&clouds, &keys, &role).await.expect("through the proxy");
        return;
    }
    let cloud = Cloud::double().await;
    let Cloud::Double { aws, .. } = &cloud else { unreachable!("it is the double") };
    let (address, authority) = in_front_of(aws.address()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut inner, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(inner.read_u8().await.unwrap());
        }
        inner.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        let mut outer = TcpStream::connect(address).await.unwrap();
        let _ = copy_bidirectional(&mut inner, &mut outer).await;
        String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned()
    });
    let keys = cloud.keys(&user_arn(ACCOUNT, "chain"));
    let told = [&keys.access_key_id, &keys.secret_access_key, &cloud.roles()[0], &authority];
    let told = serde_json::to_string(&told).unwrap();
    let me = std::env::current_exe().unwrap();
    let child = tokio::task::spawn_blocking(move || {
        Command::new(me)
            .args(["--exact", "tls::sts_is_asked_through_the_proxy_of_the_environment", "--nocapture"])
            .env(TOLD, told)
            .env("HTTPS_PROXY", proxy)
            .output()
            .unwrap()
    });
    let child = child.await.unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stderr));
    assert_eq!(asked.await.unwrap(), format!("CONNECT {STS}:443 HTTP/1.1"));
    assert_eq!(aws.count("AssumeRole"), 1);
}

/// Nobody takes the connection; nobody speaks TLS on it; the answer does not come.
#[tokio::test]
async fn a_call_of_sts_ends_whoever_does_not_answer() {
    let cloud = Cloud::double().await;
    let Cloud::Double { aws, .. } = &cloud else { unreachable!("it is the double") };
    let (keys, role) = (cloud.keys(&user_arn(ACCOUNT, "chain")), &cloud.roles()[0]);
    // A queue of one that is full: the system answers no further packet.
    let full = TcpSocket::new_v4().unwrap();
    full.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let full = full.listen(1).unwrap();
    let deaf = full.local_addr().unwrap();
    let mut waiting = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(500), TcpStream::connect(deaf)).await
    {
        waiting.push(stream);
    }
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    aws.inject(Fault::sts(Trouble::Slow(Duration::from_secs(60))).of("AssumeRole"));
    let nobody = Arc::new(Mutex::new(String::new()));
    let ask = async |endpoint: String| {
        let begun = Instant::now();
        let error = assume(&clouds(&endpoint, &nobody), keys, role).await.expect_err("nobody answers");
        assert_eq!(error.class, Class::Network, "{error}");
        (begun.elapsed().as_secs(), error.message)
    };
    let (deaf, mute, slow) = tokio::join!(
        ask(format!("http://{deaf}")),
        ask(format!("https://{}", mute.local_addr().unwrap())),
        ask(aws.endpoint()),
    );
    assert!((3..6).contains(&deaf.0) && deaf.1.contains("STS was not reached"), "{deaf:?}");
    assert!((3..12).contains(&mute.0), "{mute:?}");
    assert!((10..13).contains(&slow.0) && slow.1.contains("STS did not answer within 10 s"), "{slow:?}");
}
