//! The stubs of what gives a machine its identity keep the contracts of the real ones: what a client that keeps them gets,
//! and what one that does not is told.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use grantd_cluster_tests::cloud::aws::Aws;
use grantd_cluster_tests::cloud::server::ask;
use grantd_cluster_tests::cloud::sources::{Authorization, Container, Imds, Kubelet, Platform};
use grantd_cluster_tests::cloud::token::Issuer;
use grantd_cluster_tests::cloud::world::{ACCOUNT, Role, World, role_arn, trust_web_identity, use_bucket};

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use super::crypto;
use super::world::{ISSUER, SUBJECT, said, sts};

const ROLE: &str = "node-role";

async fn platform() -> (Aws, Platform) {
    let role = role_arn(ACCOUNT, ROLE);
    let world = World {
        buckets: vec!["backups".to_owned()],
        users: Vec::new(),
        roles: vec![
            Role::new(&role, &trust_web_identity(ACCOUNT, ISSUER, SUBJECT))
                .allowed(&use_bucket("backups", "")),
        ],
    };
    let (aws, _) = Aws::of(&world).await;
    let minter = aws.minter(&role, "i-0123456789", Duration::from_secs(60));
    (aws, Platform::new(Duration::from_secs(30), minter))
}

fn address(url: &str) -> (SocketAddr, String) {
    let (host, path) =
        url.trim_start_matches("http://").split_once('/').unwrap_or((url.trim_start_matches("http://"), ""));
    (host.parse().expect("an address"), format!("/{path}"))
}

#[tokio::test]
async fn a_container_shows_its_token_each_time() {
    let (_aws, platform) = platform().await;
    let expected = platform.keys();
    let container = Container::start(platform, Authorization::File).await;
    let (at, path) = address(&container.url());
    let get = async |token: Option<String>| {
        let headers: Vec<_> = token.map(|token| ("authorization", token)).into_iter().collect();
        ask(at, "GET", &path, &headers, b"").await.expect("an answer")
    };
    let read = || std::fs::read_to_string(container.token_file()).expect("a token");
    let old = read();
    let (status, body) = get(Some(old.clone())).await;
    assert_eq!(status, 200);
    assert!(body.contains(&expected.access_key_id) && body.contains("Expiration"), "the same keys to all");
    assert_eq!(get(None).await.0, 401);
    container.rotate();
    let (status, body) = get(Some(old)).await;
    assert_eq!(status, 403);
    assert!(body.contains("\"code\":\"AccessDenied\"") && body.contains("\"message\""), "{body}");
    assert_eq!(get(Some(read())).await.0, 200);
    container.fail(500, "InternalServerException", "try again");
    assert_eq!(get(Some(read())).await.0, 500);
    container.heal();
    assert_eq!(get(Some(read())).await.0, 200);
    assert_eq!(container.calls(), 6);
}

#[tokio::test]
async fn a_machine_begins_a_session_before_it_is_told_anything() {
    let (_aws, platform) = platform().await;
    let imds = Imds::start(platform, ROLE).await;
    let (at, _) = address(&imds.url());
    let roles = "/latest/meta-data/iam/security-credentials/";
    let get = async |path: &str, token: &str| {
        let headers: Vec<_> =
            (!token.is_empty()).then(|| ("x-aws-ec2-metadata-token", token.to_owned())).into_iter().collect();
        ask(at, "GET", path, &headers, b"").await.expect("an answer")
    };
    let begin = async |seconds: &str| {
        let headers = [("x-aws-ec2-metadata-token-ttl-seconds", seconds.to_owned())];
        ask(at, "PUT", "/latest/api/token", &headers, b"").await.expect("an answer")
    };
    assert_eq!(get(roles, "").await.0, 401, "the first version is refused");
    assert_eq!(ask(at, "PUT", "/latest/api/token", &[], b"").await.expect("an answer").0, 400);
    assert_eq!(begin("21601").await.0, 400);
    let (status, token) = begin("60").await;
    assert_eq!(status, 200);
    assert_eq!(get(roles, &token).await, (200, ROLE.to_owned()));
    let own = format!("{roles}{ROLE}");
    let (status, body) = get(&own, &token).await;
    assert!(status == 200 && body.contains("\"Code\":\"Success\"") && body.contains("Expiration"), "{body}");
    assert_eq!(get(&format!("{roles}other"), &token).await.0, 404);
    imds.fail("AssumeRoleUnauthorizedAccess", "EC2 cannot assume the role");
    assert!(get(&own, &token).await.1.contains("AssumeRoleUnauthorizedAccess"));
    imds.heal();
    imds.attach(None);
    assert_eq!(get(roles, &token).await.0, 404);
    imds.attach(Some(ROLE));
    imds.end_sessions();
    assert_eq!(get(&own, &token).await.0, 401);
    assert_eq!((imds.sessions(), imds.refused(), imds.given()), (1, 2, 1));
}

/// EKS signs with RS256.
#[tokio::test]
async fn a_token_with_an_rsa_signature_is_checked_too() {
    crypto();
    let (aws, _) = platform().await;
    // Made for this test, and good for nothing else.
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("issuer.pem")).expect("a key");
    let issuer = Issuer::with_rsa(ISSUER, key.secret_der());
    aws.add_issuer(&issuer, &["sts.amazonaws.com"]);
    let client = sts(&aws.endpoint(), None);
    let shown = async |token: String| {
        let ask = client.assume_role_with_web_identity().role_arn(role_arn(ACCOUNT, ROLE));
        said(ask.role_session_name("pod").web_identity_token(token).send().await)
    };
    let token = issuer.token(SUBJECT, "sts.amazonaws.com", Duration::from_secs(60));
    assert_eq!(shown(token.clone()).await, "ok");
    let (rest, signature) = token.rsplit_once('.').expect("three parts");
    let mut changed = signature.to_owned().into_bytes();
    changed[9] = if changed[9] == b'A' { b'B' } else { b'A' };
    let changed = format!("{rest}.{}", String::from_utf8(changed).expect("text"));
    assert_eq!(shown(changed).await, "InvalidIdentityToken");
}

#[tokio::test]
async fn a_kubelets_token_opens_a_role_until_it_is_old() {
    crypto();
    let (aws, _) = platform().await;
    let issuer = Arc::new(Issuer::new(ISSUER));
    aws.add_issuer(&issuer, &["sts.amazonaws.com"]);
    let kubelet = Kubelet::start(issuer, SUBJECT, &role_arn(ACCOUNT, ROLE), Duration::from_secs(2));
    let client = sts(&aws.endpoint(), None);
    let read = || std::fs::read_to_string(kubelet.token_file()).expect("a token");
    let shown = async |token: String| {
        let ask = client.assume_role_with_web_identity().role_arn(role_arn(ACCOUNT, ROLE));
        said(ask.role_session_name("pod").web_identity_token(token).send().await)
    };
    let first = read();
    assert_eq!(shown(first.clone()).await, "ok");
    while read() == first {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(kubelet.written() >= 2);
    kubelet.stop();
    kubelet.rotate();
    assert_eq!(shown(read()).await, "ok");
    while shown(first.clone()).await == "ok" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(shown(first).await, "ExpiredTokenException");
}
