//! Each fault is seen by who asks, and is gone when it is healed.

use std::time::{Duration, Instant};

use grantd_cluster_tests::cloud::aws::{Aws, Keys, Outcome, Rules};
use grantd_cluster_tests::cloud::fault::{Fault, Service, Trouble};
use grantd_cluster_tests::cloud::world::{Chained, World};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};

use super::crypto;
use super::world::{said, session_keys, store, stored, sts};

/// A double with a chain of one role, and the keys of its user.
async fn one(rules: Rules) -> (Aws, Keys, Chained) {
    crypto();
    let (world, chained) = World::chain("node", 1, "backups");
    let aws = Aws::with(rules).await;
    let keys = aws.add(&world).remove(&chained.user).expect("the user");
    (aws, keys, chained)
}

async fn assume(aws: &Aws, keys: &Keys, chained: &Chained, seconds: i32) -> Result<Keys, String> {
    let ask = sts(&aws.endpoint(), Some(keys)).assume_role().role_arn(&chained.roles[0]);
    let answer = ask.role_session_name("faults").duration_seconds(seconds).send().await;
    match answer {
        Ok(given) => Ok(session_keys(given.credentials().expect("credentials"))),
        refused => Err(said(refused)),
    }
}

async fn put(aws: &Aws, keys: &Keys) -> String {
    let store = store(&aws.endpoint(), "backups", Some(keys));
    stored(store.put(&Path::from("x"), PutPayload::from_static(b"x")).await)
}

#[tokio::test]
async fn each_trouble_of_each_service_is_seen_and_healed() {
    let (aws, keys, chained) = one(Rules::default()).await;
    let session = assume(&aws, &keys, &chained, 900).await.expect("a session");
    for (trouble, of_sts, of_s3) in [
        (Trouble::Throttle(Some(1)), "Throttling", "SlowDown"),
        (Trouble::Deny, "AccessDenied", "AccessDenied"),
        (Trouble::Expired, "ExpiredToken", "ExpiredToken"),
        (Trouble::Broken(503), "InternalFailure", "InternalError"),
    ] {
        aws.inject(Fault::sts(trouble.clone()));
        assert_eq!(assume(&aws, &keys, &chained, 900).await.expect_err("a fault"), of_sts);
        assert_eq!(put(&aws, &session).await, "ok", "S3 is well while STS is not");
        aws.heal(Service::Sts);
        aws.inject(Fault::s3(trouble));
        assert_eq!(put(&aws, &session).await, of_s3);
        assume(&aws, &keys, &chained, 900).await.expect("STS is well while S3 is not");
        aws.heal(Service::S3);
        assert_eq!(put(&aws, &session).await, "ok");
    }
}

#[tokio::test]
async fn a_cut_connection_did_nothing_and_a_cut_answer_did_it() {
    let (aws, keys, chained) = one(Rules::default()).await;
    let session = assume(&aws, &keys, &chained, 900).await.expect("a session");
    let file = aws.bucket("backups").join("x");
    aws.inject(Fault::s3(Trouble::Cut).times(1));
    assert_ne!(put(&aws, &session).await, "ok");
    assert!(!file.exists());
    assert_eq!(aws.log().last().expect("a request").outcome, Outcome::Cut);
    aws.inject(Fault::s3(Trouble::CutAnswer).times(1));
    assert_ne!(put(&aws, &session).await, "ok");
    assert!(file.exists());
    assert_eq!(put(&aws, &session).await, "ok", "once is over");
}

#[tokio::test]
async fn a_fault_lasts_is_of_one_operation_and_comes_as_often_as_it_was_drawn() {
    let (aws, keys, chained) = one(Rules::default()).await;
    let session = assume(&aws, &keys, &chained, 900).await.expect("a session");
    let time = Duration::from_millis(600);
    let begun = Instant::now();
    aws.inject(Fault::sts(Trouble::Cut).lasting(time));
    while assume(&aws, &keys, &chained, 900).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "it is never over");
    }
    assert!(begun.elapsed() >= time, "it was over too early");

    aws.inject(Fault::s3(Trouble::Deny).of("GetObject"));
    assert_eq!(put(&aws, &session).await, "ok");
    let got = store(&aws.endpoint(), "backups", Some(&session)).get(&Path::from("x")).await;
    assert_eq!(stored(got), "AccessDenied");
    aws.heal(Service::S3);

    aws.inject(Fault::s3(Trouble::Throttle(None)).percent(30, 7));
    let mut hit = 0;
    for _ in 0..100 {
        hit += usize::from(put(&aws, &session).await == "SlowDown");
    }
    assert!((15..=45).contains(&hit), "{hit} of 100");
}

#[tokio::test]
async fn slowness_and_a_wrong_clock_are_seen() {
    let (aws, keys, chained) = one(Rules::default()).await;
    let session = assume(&aws, &keys, &chained, 900).await.expect("a session");
    let (begun, late) = (Instant::now(), Duration::from_millis(400));
    aws.inject(Fault::s3(Trouble::Slow(late)).times(1));
    assert_eq!(put(&aws, &session).await, "ok");
    assert!(begun.elapsed() >= late);

    // Six minutes: too far for STS, near enough for S3.
    for ahead in [360, -360] {
        aws.set_clock(ahead);
        assert_eq!(assume(&aws, &keys, &chained, 900).await.expect_err("skewed"), "SignatureDoesNotMatch");
        assert_eq!(put(&aws, &session).await, "ok");
    }
    aws.set_clock(16 * 60);
    assert_ne!(put(&aws, &session).await, "ok");
    aws.set_clock(0);
    assert_eq!(put(&aws, &session).await, "ok");
}

#[tokio::test]
async fn sessions_end_to_the_millisecond_early_and_late() {
    let rules = Rules { lasting: Some(Duration::from_millis(1_500)), ..Rules::default() };
    let (aws, keys, chained) = one(rules).await;
    let session = assume(&aws, &keys, &chained, 3_600).await.expect("a session");
    let end = session.expires.expect("it has an end");
    let life = end.duration_since(aws.now()).expect("it is young");
    assert!(life <= Duration::from_millis(1_500), "{life:?}");
    let mut last = aws.now();
    while put(&aws, &session).await == "ok" {
        last = aws.now();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(aws.now() >= end, "it ended too early");
    assert!(last.duration_since(end).unwrap_or_default() < Duration::from_millis(1_000), "it ended too late");
    assert_eq!(put(&aws, &session).await, "ExpiredToken");

    aws.report_later_end(Duration::from_secs(3_600));
    let lied = assume(&aws, &keys, &chained, 3_600).await.expect("a session");
    assert!(lied.expires.expect("an end") > aws.now() + Duration::from_secs(3_000), "it says an hour");
    aws.expire_sessions();
    assert_eq!(put(&aws, &lied).await, "ExpiredToken");
    aws.forget_sessions();
    assert_eq!(put(&aws, &lied).await, "InvalidAccessKeyId");
}

#[tokio::test]
async fn the_log_says_who_did_what_and_no_secret() {
    let (aws, keys, chained) = one(Rules { shortest: Duration::from_secs(900), ..Rules::default() }).await;
    assert_eq!(assume(&aws, &keys, &chained, 899).await.expect_err("too short"), "ValidationError");
    let ask = sts(&aws.endpoint(), Some(&keys)).assume_role().role_arn(&chained.roles[0]);
    let given =
        ask.role_session_name("grantd-1").external_id("open:sesame").source_identity("maxroach").send().await;
    let session = session_keys(given.expect("a session").credentials().expect("credentials"));
    assert_eq!(put(&aws, &session).await, "ok");
    let log = aws.log();
    let [refused, assumed, stored] = log.as_slice() else { panic!("three requests: {log:?}") };
    assert_eq!((refused.code(), refused.duration_seconds), (Some("ValidationError"), Some(899)));
    assert_eq!(assumed.who.as_deref(), Some(chained.user.as_str()));
    assert_eq!(
        (assumed.operation.as_str(), assumed.resource.as_str()),
        ("AssumeRole", chained.roles[0].as_str())
    );
    assert_eq!(assumed.session_name.as_deref(), Some("grantd-1"));
    assert_eq!(assumed.source_identity.as_deref(), Some("maxroach"));
    assert_eq!(assumed.external_id_sha256, Some(grantd_cluster_tests::cloud::wire::sha256(b"open:sesame")));
    assert!(assumed.is_done() && stored.is_done());
    assert_eq!((stored.operation.as_str(), stored.resource.as_str()), ("PutObject", "/backups/x"));
    assert!(
        stored.who.as_deref().is_some_and(|who| who.ends_with(":assumed-role/node-1/grantd-1")),
        "{stored:?}"
    );
    assert_eq!(stored.source_identity.as_deref(), Some("maxroach"), "it stays with the session");
    let text = format!("{log:?}");
    assert!(aws.secrets().len() >= 3);
    assert!(aws.secrets().iter().all(|secret| !text.contains(secret.as_str())));
    assert!(!text.contains("open:sesame"));
}
