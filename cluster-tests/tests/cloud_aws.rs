//! The steps of AWS against a double that is as strict as AWS, and against stubs of what gives a machine its identity.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use grantd_cluster_tests::cloud::aws::{Aws as Double, Keys};
use grantd_cluster_tests::cloud::fault::{Fault, Trouble};
use grantd_cluster_tests::cloud::sources::{Authorization, Container, Imds, Kubelet, Platform, isolated};
use grantd_cluster_tests::cloud::token::Issuer;
use grantd_cluster_tests::cloud::world::{self, ACCOUNT, Chained, Role, User, World};
use grantd_node::cloud::aws::{Aws, Environment};
use grantd_node::cloud::chain::{AssumeRole, AwsKeys, Chain, Hashed, Source, Step};
use grantd_node::cloud::lease::{AwsSession, Class, Fetch, FetchError, Fetched, Lease, Material, Moment};
use grantd_node::cloud::settings::{AwsNodeSource, NodeSettings};
use grantd_node::secret::Secret;
use tempfile::TempDir;

const NODE_ROLE: &str = "arn:aws:iam::111122223333:role/node";

/// The node's settings for a double.
fn settings(double: &Double, source: AwsNodeSource) -> NodeSettings {
    NodeSettings {
        aws_source: source,
        aws_sts_endpoint: Some(double.endpoint()),
        aws_region: Some("us-east-1".to_owned()),
        ..NodeSettings::nowhere()
    }
}

/// A node that has no other environment than this.
fn node(double: &Double, source: AwsNodeSource, variables: &[(&'static str, String)]) -> (Aws, TempDir) {
    let home = TempDir::new().unwrap();
    let mut all: HashMap<&str, String> = isolated(home.path()).into_iter().collect();
    all.extend(variables.iter().cloned());
    let all: Vec<(&str, &str)> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let aws = Aws::new(&settings(double, source), Environment::only(&all), "grantd-0a1b2c3d-1".to_owned());
    (aws, home)
}

fn session(fetched: &Fetched) -> &AwsSession {
    match &fetched.material {
        Material::Aws(session) => session,
        Material::Bearer(_) => panic!("a session of AWS"),
    }
}

fn lease(fetched: Fetched) -> Lease {
    Lease {
        material: fetched.material,
        obtained: Moment::default(),
        deadline: fetched.lifetime.map(|lifetime| Moment::default().after(lifetime)),
        not_after: fetched.not_after,
        generation: 1,
    }
}

fn role(arn: &str) -> AssumeRole {
    AssumeRole {
        role: arn.to_owned(),
        external_id: None,
        session_name: "grantd-0a1b2c3d-1-job7".to_owned(),
        source_identity: None,
        policy: None,
        duration: Duration::from_secs(3_600),
    }
}

/// The chain from a user's keys through these roles.
fn chain(keys: &Keys, roles: impl IntoIterator<Item = AssumeRole>) -> Chain {
    let keys = AwsKeys {
        access_key_id: keys.access_key_id.clone(),
        secret_access_key: Hashed::new(Secret::new(keys.secret_access_key.clone())),
        session_token: keys.session_token.clone().map(|token| Hashed::new(Secret::new(token))),
    };
    Chain::new(Source::AwsKeys(keys), roles.into_iter().map(Step::AssumeRole))
}

/// Does all steps of a chain, one after the other. An error comes with the number of its hop.
async fn walk(aws: &Aws, chain: &Chain) -> Result<Fetched, (usize, FetchError)> {
    let mut prefixes = vec![chain.clone()];
    while let Some(parent) = prefixes.last().unwrap().parent() {
        prefixes.push(parent);
    }
    let mut parent: Option<Lease> = None;
    let mut last = None;
    for (hop, prefix) in prefixes.iter().rev().enumerate() {
        if let Some(fetched) = last.take() {
            parent = Some(lease(fetched));
        }
        last = Some(aws.fetch(prefix, parent.as_ref()).await.map_err(|error| (hop, error))?);
    }
    Ok(last.unwrap())
}

/// A double with a chain of three roles, a node that reaches it, and the user's keys.
async fn three() -> (Double, Chained, Keys, Aws, TempDir) {
    let (world, chained) = World::chain("three", 3, "backups");
    let (double, keys) = Double::of(&world).await;
    let keys = keys[&chained.user].clone();
    let (aws, home) = node(&double, AwsNodeSource::None, &[]);
    (double, chained, keys, aws, home)
}

/// Case 62.
#[tokio::test]
async fn each_hop_of_a_chain_is_assumed_by_the_one_before() {
    let (double, chained, keys, aws, _home) = three().await;
    let chain = chain(&keys, chained.roles.iter().map(|arn| role(arn)));
    let fetched = walk(&aws, &chain).await.unwrap();
    let name = "grantd-0a1b2c3d-1-job7";
    assert_eq!(session(&fetched).identity.as_deref(), Some(&*world::session_arn(&chained.roles[2], name)));
    let asked: Vec<_> = double
        .log()
        .into_iter()
        .map(|record| (record.operation, record.who.unwrap(), record.resource))
        .collect();
    let expected: Vec<_> = [
        (chained.user.clone(), &chained.roles[0]),
        (world::session_arn(&chained.roles[0], name), &chained.roles[1]),
        (world::session_arn(&chained.roles[1], name), &chained.roles[2]),
    ]
    .map(|(who, whom)| ("AssumeRole".to_owned(), who, whom.clone()))
    .into();
    assert_eq!(asked, expected);
    let lifetime = fetched.lifetime.unwrap();
    assert!(lifetime > Duration::from_secs(3_590) && lifetime <= Duration::from_secs(3_600), "{lifetime:?}");
}

/// Case 80: more than an hour is never asked for where AWS would refuse it, and refused with advice where it depends on a role.
#[tokio::test]
async fn a_duration_that_aws_refuses_is_told_with_what_to_change() {
    let (double, chained, keys, aws, _home) = three().await;
    let long = |arn: &str| AssumeRole { duration: Duration::from_secs(12 * 3_600), ..role(arn) };
    let (hop, error) = walk(&aws, &chain(&keys, [long(&chained.roles[0])])).await.unwrap_err();
    assert_eq!((hop, error.class, error.code.as_deref()), (1, Class::Config, Some("ValidationError")));
    assert!(
        error.message.contains("DurationSeconds") && error.message.contains("cloud.credentials.duration"),
        "{error}"
    );
    let chain = chain(&keys, [role(&chained.roles[0]), long(&chained.roles[1])]);
    let fetched = walk(&aws, &chain).await.unwrap();
    assert!(fetched.lifetime.unwrap() <= Duration::from_secs(3_600));
    assert_eq!(double.log().last().unwrap().duration_seconds, Some(3_600));
}

/// Case 68, and the failure that everybody meets first: a trust edge that is missing.
#[tokio::test]
async fn a_missing_edge_is_told_with_both_of_its_ends_and_what_to_look_at() {
    let (double, chained, keys, aws, _home) = three().await;
    double.set_trust(&chained.roles[1], &world::trust(&[&world::role_arn(ACCOUNT, "somebody-else")]));
    let (hop, error) =
        walk(&aws, &chain(&keys, chained.roles.iter().map(|arn| role(arn)))).await.unwrap_err();
    assert_eq!((hop, error.class, error.code.as_deref()), (2, Class::Denied, Some("AccessDenied")));
    let caller = world::session_arn(&chained.roles[0], "grantd-0a1b2c3d-1-job7");
    for part in [&*caller, &chained.roles[1], "trust policy", "lacks sts:AssumeRole", "AccessDenied"] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
}

#[tokio::test]
async fn a_denied_source_is_told_by_the_name_that_aws_has_for_it() {
    let (double, chained, keys, aws, _home) = three().await;
    double.set_trust(&chained.roles[0], &world::trust(&[&world::role_arn(ACCOUNT, "somebody-else")]));
    let (hop, error) = walk(&aws, &chain(&keys, [role(&chained.roles[0])])).await.unwrap_err();
    assert_eq!((hop, error.class), (1, Class::Denied));
    assert!(error.message.contains(&chained.user), "{error}");
}

#[tokio::test]
async fn a_role_that_asks_for_an_external_id_is_given_it_and_a_wrong_one_is_not_shown() {
    let (double, chained, keys, aws, _home) = three().await;
    double.set_trust(&chained.roles[0], &world::trust_with_external_id(&[&chained.user], "right-one"));
    let with = |id: Option<&str>| AssumeRole {
        external_id: id.map(|id| Hashed::new(Secret::new(id.to_owned()))),
        ..role(&chained.roles[0])
    };
    assert!(walk(&aws, &chain(&keys, [with(Some("right-one"))])).await.is_ok());
    let (_, error) = walk(&aws, &chain(&keys, [with(Some("wrong-one"))])).await.unwrap_err();
    assert_eq!(error.class, Class::Denied);
    assert!(error.message.contains("another external id"), "{error}");
    assert!(!error.message.contains("wrong-one"), "{error}");
    let (_, error) = walk(&aws, &chain(&keys, [with(None)])).await.unwrap_err();
    assert!(error.message.contains("asks for an external id"), "{error}");
}

#[tokio::test]
async fn session_name_source_identity_and_policy_arrive() {
    let (double, chained, keys, aws, _home) = three().await;
    let policy = world::use_bucket("backups", "below");
    let ask = AssumeRole {
        source_identity: Some("alice".to_owned()),
        policy: Some(policy.clone()),
        ..role(&chained.roles[0])
    };
    walk(&aws, &chain(&keys, [ask])).await.unwrap();
    let asked = double.log().pop().unwrap();
    assert_eq!(asked.session_name.as_deref(), Some("grantd-0a1b2c3d-1-job7"));
    assert_eq!(asked.source_identity.as_deref(), Some("alice"));
    assert_eq!(asked.session_policy, Some(policy));
}

/// Case 83, and the others that pass by themselves: each is tried once, and named for what it is.
#[tokio::test]
async fn each_trouble_of_sts_has_its_class() {
    let (double, chained, keys, aws, _home) = three().await;
    let chain = chain(&keys, [role(&chained.roles[0])]);
    for (trouble, class, part) in [
        (Trouble::Throttle(Some(7)), Class::Throttled, "too many calls"),
        (Trouble::Broken(500), Class::Network, "InternalFailure"),
        (Trouble::Cut, Class::Network, "not reached"),
        (Trouble::Deny, Class::Denied, "may not assume"),
        (Trouble::Expired, Class::ParentExpired, "were over"),
    ] {
        double.clear_log();
        double.inject(Fault::sts(trouble.clone()).of("AssumeRole"));
        let (_, error) = walk(&aws, &chain).await.unwrap_err();
        double.heal(grantd_cluster_tests::cloud::fault::Service::Sts);
        assert_eq!(error.class, class, "{trouble:?}: {error}");
        assert!(error.message.contains(part), "{trouble:?}: {error}");
        let wait = (class == Class::Throttled).then_some(Duration::from_secs(7));
        assert_eq!(error.retry_after, wait, "{trouble:?}");
        let tries = double.log().iter().filter(|record| record.operation == "AssumeRole").count();
        assert_eq!(tries, 1, "the refresher retries, nobody below it: {trouble:?}");
    }
}

#[tokio::test]
async fn nobody_at_the_endpoint_is_told_as_nobody_reached() {
    let (double, chained, keys, _aws, _home) = three().await;
    let (aws, _home) = node(&double, AwsNodeSource::None, &[]);
    drop(double);
    let (_, error) = walk(&aws, &chain(&keys, [role(&chained.roles[0])])).await.unwrap_err();
    assert_eq!(error.class, Class::Network);
    assert!(error.message.contains("STS was not reached"), "{error}");
}

#[tokio::test]
async fn deleted_keys_and_a_wrong_secret_are_told_as_keys_that_are_not_known() {
    let (double, chained, keys, aws, _home) = three().await;
    let wrong = Keys { secret_access_key: "wrongwrongwrongwrong".to_owned(), ..keys.clone() };
    let (_, error) = walk(&aws, &chain(&wrong, [role(&chained.roles[0])])).await.unwrap_err();
    assert_eq!((error.class, error.code.as_deref()), (Class::SourceDead, Some("SignatureDoesNotMatch")));
    assert!(!error.message.contains("wrongwrong"), "{error}");
    double.delete_keys(&keys.access_key_id);
    let (_, error) = walk(&aws, &chain(&keys, [role(&chained.roles[0])])).await.unwrap_err();
    assert_eq!((error.class, error.code.as_deref()), (Class::SourceDead, Some("InvalidClientTokenId")));
    assert!(!error.message.contains(&keys.access_key_id), "no key id in errors: {error}");
}

#[tokio::test]
async fn a_session_that_is_over_is_the_parent_s_trouble() {
    let (double, chained, keys, aws, _home) = three().await;
    let first = chain(&keys, [role(&chained.roles[0])]);
    let parent = lease(walk(&aws, &first).await.unwrap());
    let second = chain(&keys, [role(&chained.roles[0]), role(&chained.roles[1])]);
    double.expire_sessions();
    let error = aws.fetch(&second, Some(&parent)).await.unwrap_err();
    assert_eq!(error.class, Class::ParentExpired, "{error}");
    double.forget_sessions();
    let error = aws.fetch(&second, Some(&parent)).await.unwrap_err();
    assert_eq!(error.class, Class::ParentExpired, "a session that is not known any more: {error}");
}

#[tokio::test]
async fn clocks_that_differ_are_measured_once_and_then_reckoned_with() {
    let (double, chained, keys, aws, _home) = three().await;
    let chain = chain(&keys, [role(&chained.roles[0])]);
    for ahead_s in [7_200, -7_200] {
        double.set_clock(ahead_s);
        double.clear_log();
        let fetched = walk(&aws, &chain).await.unwrap();
        assert!((aws.clock_offset_s() - ahead_s).abs() <= 2, "{}", aws.clock_offset_s());
        let lifetime = fetched.lifetime.unwrap();
        assert!(
            lifetime <= Duration::from_secs(3_600) && lifetime >= Duration::from_secs(3_595),
            "{lifetime:?}"
        );
        assert_eq!(double.log().len(), 2, "one refusal, and one more try with the cloud's time");
        double.clear_log();
        walk(&aws, &chain).await.unwrap();
        assert_eq!(double.log().len(), 1, "what was measured stays known");
    }
}

/// Case 79.
#[tokio::test]
async fn a_session_that_is_said_to_live_longer_than_it_can_lives_its_hour() {
    let (double, chained, keys, aws, _home) = three().await;
    double.report_later_end(Duration::from_secs(11 * 3_600));
    let fetched =
        walk(&aws, &chain(&keys, [role(&chained.roles[0]), role(&chained.roles[1])])).await.unwrap();
    assert!(fetched.lifetime.unwrap() <= Duration::from_secs(3_600), "{fetched:?}");
}

/// A double with a role for the node, which a pod's token may assume.
async fn irsa(lasting: Duration) -> (Arc<Double>, Kubelet) {
    let issuer = Arc::new(Issuer::new("https://oidc.example.test/id/1"));
    let double = Arc::new(Double::start().await);
    double.add_issuer(&issuer, &["sts.amazonaws.com"]);
    let trust = world::trust_web_identity(ACCOUNT, issuer.url(), "system:serviceaccount:db:grantd");
    double.add_role(&Role::new(NODE_ROLE, &trust).allowed(&world::assume(&["*"])));
    (double, Kubelet::start(issuer, "system:serviceaccount:db:grantd", NODE_ROLE, lasting))
}

/// Case 61.
#[tokio::test]
async fn a_web_identity_is_exchanged_and_then_assumes() {
    let (double, kubelet) = irsa(Duration::from_secs(3_600)).await;
    let target = world::role_arn(ACCOUNT, "target");
    double.add_role(&Role::new(&target, &world::trust(&[NODE_ROLE])));
    let (aws, _home) = node(&double, AwsNodeSource::WebIdentity, &kubelet.environment(&double.endpoint()));
    let chain = Chain::new(Source::AwsNode, [Step::AssumeRole(role(&target))]);
    walk(&aws, &chain).await.unwrap();
    let log = double.log();
    let operations: Vec<_> = log.iter().map(|record| record.operation.as_str()).collect();
    assert_eq!(operations, ["AssumeRoleWithWebIdentity", "AssumeRole"]);
    assert_eq!(log[0].session_name.as_deref(), Some("grantd-0a1b2c3d-1"), "the environment named none");
    assert_eq!(log[1].who.as_deref(), Some(&*world::session_arn(NODE_ROLE, "grantd-0a1b2c3d-1")));
}

/// Case 65.
#[tokio::test]
async fn a_token_that_was_renewed_is_what_the_next_fetch_shows() {
    let (double, kubelet) = irsa(Duration::from_secs(2)).await;
    let (aws, _home) = node(&double, AwsNodeSource::WebIdentity, &kubelet.environment(&double.endpoint()));
    let chain = Chain::new(Source::AwsNode, []);
    walk(&aws, &chain).await.unwrap();
    kubelet.stop();
    // The life of a token is in whole seconds: it is waited for that AWS says so, not for a time.
    let error = loop {
        match walk(&aws, &chain).await {
            Err((_, error)) => break error,
            Ok(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    assert_eq!((error.class, error.code.as_deref()), (Class::SourceDead, Some("ExpiredTokenException")));
    assert!(error.message.contains("kubelet"), "{error}");
    kubelet.rotate();
    walk(&aws, &chain).await.unwrap();
}

#[tokio::test]
async fn what_is_wrong_with_a_web_identity_is_named() {
    let (double, kubelet) = irsa(Duration::from_secs(3_600)).await;
    let environment = kubelet.environment(&double.endpoint());
    let chain = Chain::new(Source::AwsNode, []);
    let (aws, _home) = node(&double, AwsNodeSource::WebIdentity, &environment);

    double.set_trust(
        NODE_ROLE,
        &world::trust_web_identity(
            ACCOUNT,
            "https://oidc.example.test/id/1",
            "system:serviceaccount:other:pod",
        ),
    );
    let (_, error) = walk(&aws, &chain).await.unwrap_err();
    assert_eq!(error.class, Class::Denied, "{error}");
    assert!(error.message.contains("`sub`") && error.message.contains(NODE_ROLE), "{error}");

    let file = kubelet.token_file();
    let elsewhere = file.with_file_name("not-there");
    let mut broken: HashMap<_, _> = environment.iter().cloned().collect();
    broken.insert("AWS_WEB_IDENTITY_TOKEN_FILE", elsewhere.display().to_string());
    let (aws, _home) = node(&double, AwsNodeSource::WebIdentity, &broken.into_iter().collect::<Vec<_>>());
    let (_, error) = walk(&aws, &chain).await.unwrap_err();
    assert_eq!(error.class, Class::SourceDead);
    assert!(error.message.contains("not-there") && error.message.contains("No such file"), "{error}");

    let (aws, _home) = node(&double, AwsNodeSource::WebIdentity, &[]);
    let (_, error) = walk(&aws, &chain).await.unwrap_err();
    assert!(error.message.contains("AWS_WEB_IDENTITY_TOKEN_FILE is not set"), "{error}");
}

/// What a platform gives to a machine with the node's role: sessions of the double.
async fn platform() -> (Arc<Double>, Platform) {
    let double = Arc::new(Double::start().await);
    double.add_role(
        &Role::new(NODE_ROLE, &world::trust(&[&world::user_arn(ACCOUNT, "ec2")]))
            .allowed(&world::assume(&["*"])),
    );
    let mint = double.clone();
    let keys = move || mint.session(NODE_ROLE, "i-0123456789", Duration::from_secs(6 * 3_600));
    (double, Platform::new(Duration::from_secs(300), keys))
}

/// The keys work: AWS knows them.
async fn assumes(double: &Double, aws: &Aws) {
    let target = world::role_arn(ACCOUNT, "target");
    double.add_role(&Role::new(&target, &world::trust(&[NODE_ROLE])));
    walk(aws, &Chain::new(Source::AwsNode, [Step::AssumeRole(role(&target))])).await.unwrap();
}

/// Case 89.
#[tokio::test]
async fn a_container_s_token_is_read_for_each_call_and_its_line_end_is_no_part_of_it() {
    let (double, platform) = platform().await;
    let endpoint = Container::start(platform, Authorization::File).await;
    let (aws, _home) = node(&double, AwsNodeSource::Container, &endpoint.environment());
    assumes(&double, &aws).await;
    endpoint.rotate();
    let token = std::fs::read_to_string(endpoint.token_file()).unwrap();
    std::fs::write(endpoint.token_file(), format!("{token}\n")).unwrap();
    let fetched = walk(&aws, &Chain::new(Source::AwsNode, [])).await.unwrap();
    let lifetime = fetched.lifetime.unwrap();
    assert!(lifetime > Duration::from_secs(6 * 3_600 - 10), "{lifetime:?}");
    assert_eq!(endpoint.calls(), 2);
}

#[tokio::test]
async fn what_is_wrong_with_a_container_s_endpoint_is_named() {
    let (double, platform) = platform().await;
    let endpoint = Container::start(platform, Authorization::File).await;
    let source = Chain::new(Source::AwsNode, []);
    let (aws, _home) = node(&double, AwsNodeSource::Container, &endpoint.environment());
    std::fs::write(endpoint.token_file(), "n0t-the-t0ken").unwrap();
    let (_, error) = walk(&aws, &source).await.unwrap_err();
    assert_eq!((error.class, error.code.as_deref()), (Class::SourceDead, Some("AccessDenied")));
    assert!(error.message.contains("refuses the authorization token"), "{error}");
    assert!(!error.message.contains("n0t-the-t0ken"), "{error}");

    let without: Vec<_> =
        endpoint.environment().into_iter().filter(|(name, _)| name.ends_with("FULL_URI")).collect();
    let (aws, _home) = node(&double, AwsNodeSource::Container, &without);
    let (_, error) = walk(&aws, &source).await.unwrap_err();
    assert!(error.message.contains("asks for a token"), "{error}");

    let environment = endpoint.environment();
    endpoint.rotate();
    let (aws, _home) = node(&double, AwsNodeSource::Container, &environment);
    for (status, class) in [(429, Class::Throttled), (500, Class::Network), (404, Class::SourceDead)] {
        endpoint.fail(status, "Trouble", "what it says");
        let (_, error) = walk(&aws, &source).await.unwrap_err();
        assert_eq!(error.class, class, "{error}");
        assert!(error.message.contains("what it says"), "{error}");
    }
    drop(endpoint);
    let (_, error) = walk(&aws, &source).await.unwrap_err();
    // The file with the token is gone with the endpoint.
    assert_eq!(error.class, Class::SourceDead, "{error}");
}

#[tokio::test]
async fn an_instance_s_role_comes_from_its_metadata_service_version_2() {
    let (double, platform) = platform().await;
    let imds = Imds::start(platform, "node").await;
    let (aws, _home) = node(&double, AwsNodeSource::Imds, &imds.environment());
    assumes(&double, &aws).await;
    assert_eq!((imds.sessions(), imds.refused(), imds.given()), (1, 0, 1));

    let source = Chain::new(Source::AwsNode, []);
    imds.attach(None);
    let (_, error) = walk(&aws, &source).await.unwrap_err();
    assert_eq!(error.class, Class::SourceDead);
    assert!(error.message.contains("no role; attach an instance profile"), "{error}");
    imds.attach(Some("node"));
    imds.fail("AssumeRoleUnauthorizedAccess", "EC2 cannot assume the role node");
    let (_, error) = walk(&aws, &source).await.unwrap_err();
    assert_eq!(
        (error.class, error.code.as_deref()),
        (Class::SourceDead, Some("AssumeRoleUnauthorizedAccess"))
    );
    imds.heal();
    drop(imds);
    let (_, error) = walk(&aws, &source).await.unwrap_err();
    assert_eq!(error.class, Class::Network);
    assert!(error.message.contains("no metadata service of EC2 answers"), "{error}");
}

#[tokio::test]
async fn by_itself_a_node_takes_the_first_source_that_there_is() {
    let (double, kubelet) = irsa(Duration::from_secs(3_600)).await;
    let user = User { arn: world::user_arn(ACCOUNT, "node"), policy: None };
    let keys = double.add_user(&user);
    let source = Chain::new(Source::AwsNode, []);
    let mut environment = kubelet.environment(&double.endpoint());
    let (aws, _home) = node(&double, AwsNodeSource::Auto, &environment);
    walk(&aws, &source).await.unwrap();
    assert_eq!(double.log().len(), 1, "the token was exchanged");

    environment.push(("AWS_ACCESS_KEY_ID", keys.access_key_id.clone()));
    environment.push(("AWS_SECRET_ACCESS_KEY", keys.secret_access_key.clone()));
    let (aws, _home) = node(&double, AwsNodeSource::Auto, &environment);
    let fetched = walk(&aws, &source).await.unwrap();
    assert_eq!(session(&fetched).access_key_id, keys.access_key_id);
    assert!(fetched.lifetime.is_none(), "keys of the environment have no end");

    let (aws, _home) = node(&double, AwsNodeSource::Auto, &[]);
    let (_, error) = walk(&aws, &source).await.unwrap_err();
    assert_eq!(error.class, Class::SourceDead);
    for part in [
        "AWS_ACCESS_KEY_ID is not set",
        "no profile",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_EC2_METADATA_DISABLED",
    ] {
        assert!(error.message.contains(part), "{part}: {error}");
    }
}

/// A profile that assumes a role with the keys of another, as laptops have it.
#[tokio::test]
async fn a_profile_s_own_chain_is_walked() {
    let (double, chained, keys, _aws, _home) = three().await;
    let files = TempDir::new().unwrap();
    let config = files.path().join("config");
    std::fs::write(
        &config,
        format!(
            "[default]\nrole_arn = {}\nsource_profile = base\nduration_seconds = 900\n[profile base]\n\
             aws_access_key_id = {}\naws_secret_access_key = {}\n",
            chained.roles[0], keys.access_key_id, keys.secret_access_key
        ),
    )
    .unwrap();
    let variables = [("AWS_CONFIG_FILE", config.display().to_string())];
    let (aws, _home) = node(&double, AwsNodeSource::Profile, &variables);
    let fetched = walk(&aws, &Chain::new(Source::AwsNode, [])).await.unwrap();
    assert!(fetched.lifetime.unwrap() <= Duration::from_secs(900), "{fetched:?}");
    assert_eq!(
        session(&fetched).identity.as_deref(),
        Some(&*world::session_arn(&chained.roles[0], "grantd-0a1b2c3d-1"))
    );
}

#[tokio::test]
async fn a_node_that_may_not_go_out_asks_nobody() {
    let (double, chained, keys, _aws, _home) = three().await;
    let closed = NodeSettings { outbound_disabled: true, ..settings(&double, AwsNodeSource::None) };
    let aws = Aws::new(&closed, Environment::only(&[]), "grantd-0a1b2c3d-1".to_owned());
    let (_, error) = walk(&aws, &chain(&keys, [role(&chained.roles[0])])).await.unwrap_err();
    assert_eq!((error.class, error.message.as_str()), (Class::Config, "external network access is disabled"));
    assert!(double.log().is_empty());
}
