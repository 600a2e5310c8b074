//! One request, and each thing that may go wrong with it.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use grantd_cluster_tests::cloud::aws::Aws;
use grantd_cluster_tests::cloud::fault::{Fault, Service, Trouble};
use grantd_cluster_tests::cloud::server::{Answer, Server};
use grantd_cluster_tests::cloud::world::{ACCOUNT, user_arn};
use grantd_node::cloud::storage::{Kind, Limit, Limits, Patience, Storage, StorageSettings};

use crate::node::{Cloud, Node, uri};
use crate::stream::pattern;

const HOUR: Duration = Duration::from_secs(3_600);

/// A cloud, its double, a node, and storage through three roles.
async fn all() -> (Cloud, Node, Storage) {
    let cloud = Cloud::double().await;
    let node = Node::of(&cloud);
    let storage = node.chained(&cloud, HOUR).await;
    (cloud, node, storage)
}

fn aws(cloud: &Cloud) -> &Aws {
    match cloud {
        Cloud::Double { aws, .. } => aws,
        Cloud::Emulator { .. } => unreachable!("it is the double"),
    }
}

async fn read(storage: &Storage, path: &str) -> Bytes {
    storage.get(path, None).await.expect("an object").bytes(64 << 20).await.expect("its bytes")
}

/// Case 76: S3 says ExpiredToken before the time. One lease is given up, one request is sent again, and nothing is there twice.
#[tokio::test]
async fn credentials_that_are_rejected_early_cost_one_request() {
    let (cloud, _node, storage) = all().await;
    storage.put("before", Bytes::from_static(b"1")).await.unwrap();
    let (calls, puts) = (aws(&cloud).count("AssumeRole"), aws(&cloud).count("PutObject"));
    aws(&cloud).inject(Fault::s3(Trouble::Expired).of("PutObject").times(1));
    storage.put_absent("once", Bytes::from_static(b"2")).await.unwrap();
    assert_eq!(aws(&cloud).count("PutObject") - puts, 2);
    assert_eq!(aws(&cloud).count("AssumeRole") - calls, 1, "the last hop, and no other");
    let page = storage.list("", None).await.unwrap();
    let names: Vec<_> = page.found.into_iter().map(|found| found.name).collect();
    assert_eq!(names, ["before", "once"]);
    assert_eq!(read(&storage, "once").await, "2");
}

#[tokio::test]
async fn credentials_that_are_rejected_again_are_an_error_and_no_storm() {
    let (cloud, _node, storage) = all().await;
    aws(&cloud).inject(Fault::s3(Trouble::Expired));
    let error = storage.put("never", Bytes::from_static(b"1")).await.unwrap_err();
    assert_eq!((error.kind, error.code().as_str()), (Kind::Rejected, "28000"), "{error}");
    assert!(
        error.to_string().starts_with("upload failed: s3://backups/nightly/never: ExpiredToken (400)"),
        "{error}"
    );
    assert_eq!(aws(&cloud).count("PutObject"), 2);
}

/// Case 77: the role may not do it. Nobody asks STS again because of that, however often it is tried.
#[tokio::test]
async fn a_role_that_may_not_do_it_is_named_and_sts_is_left_alone() {
    let (cloud, _node, storage) = all().await;
    storage.put("before", Bytes::from_static(b"1")).await.unwrap();
    let role = cloud.roles()[2].clone();
    aws(&cloud).set_policy(&role, None);
    let calls = aws(&cloud).count("AssumeRole");
    for _ in 0..50 {
        let error = storage.put("never", Bytes::from_static(b"1")).await.unwrap_err();
        assert_eq!((error.kind, error.code().as_str()), (Kind::Denied, "42501"), "{error}");
        let hint = error.hint.clone().unwrap_or_default();
        assert!(hint.contains("s3:PutObject") && hint.contains(&role), "{hint}");
    }
    assert!(aws(&cloud).count("AssumeRole") - calls <= 1, "one forced refresh in five minutes at most");
}

/// Case 71: a chain that never worked is said at once where a statement waits.
#[tokio::test]
async fn a_statement_is_told_at_once_which_hop_is_denied() {
    let cloud = Cloud::double().await;
    let node = Node::of(&cloud);
    let roles = [cloud.roles()[0].clone(), cloud.roles()[2].clone()].join(",");
    let keys = cloud.keys(&user_arn(ACCOUNT, "chain"));
    let storage = node.open(&uri(&cloud.endpoint(), keys, Some(&roles)), HOUR, Patience::Statement).await;
    let begun = Instant::now();
    let error = storage.put("never", Bytes::from_static(b"1")).await.unwrap_err();
    assert_eq!((error.kind, error.code().as_str()), (Kind::NoCredentials, "28000"), "{error}");
    assert!(
        error.to_string().contains("hop 2 of 2") && error.to_string().contains(&cloud.roles()[2]),
        "{error}"
    );
    assert!(begun.elapsed() < Duration::from_secs(10));
    assert_eq!(aws(&cloud).count("PutObject"), 0);
}

#[tokio::test]
async fn an_answer_that_is_lost_does_not_make_a_put_fail() {
    let (cloud, _node, storage) = all().await;
    aws(&cloud).inject(Fault::s3(Trouble::CutAnswer).of("PutObject").times(1));
    storage.put_absent("mine", Bytes::from_static(b"mine")).await.unwrap();
    let error = storage.put_absent("mine", Bytes::from_static(b"mine")).await.unwrap_err();
    assert_eq!((error.kind, error.code().as_str()), (Kind::AlreadyExists, "58P02"), "{error}");
    // Somebody else was first: that ours was lost does not make theirs ours.
    aws(&cloud).inject(Fault::s3(Trouble::Cut).of("PutObject").times(1));
    let error = storage.put_absent("mine", Bytes::from_static(b"others")).await.unwrap_err();
    assert_eq!(error.kind, Kind::AlreadyExists, "{error}");
    assert_eq!(read(&storage, "mine").await, "mine");
}

#[tokio::test]
async fn an_upload_survives_what_happens_to_each_of_its_requests() {
    let (cloud, _node, storage) = all().await;
    for operation in ["CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"] {
        for trouble in [Trouble::Broken(500), Trouble::Cut, Trouble::CutAnswer, Trouble::Expired] {
            aws(&cloud).inject(Fault::s3(trouble).of(operation).times(1));
        }
    }
    let whole = pattern(1, 17 << 20);
    let mut writer = storage.writer("large");
    for at in (0..whole.len()).step_by(1 << 20) {
        writer.write(whole.slice(at..(at + (1 << 20)).min(whole.len()))).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), 17 << 20);
    assert!(read(&storage, "large").await == whole);
    let part = storage.get("large", Some(8_000_000..8_500_000)).await.unwrap();
    assert!(part.bytes(1 << 20).await.unwrap() == whole.slice(8_000_000..8_500_000));
    assert_eq!(storage.head("large").await.unwrap().size, 17 << 20);
}

#[tokio::test]
async fn what_is_small_is_one_put_and_what_is_given_up_is_not_there() {
    let (cloud, _node, storage) = all().await;
    let mut writer = storage.writer("small");
    for _ in 0..10 {
        writer.write(Bytes::from_static(b"0123456789")).await.unwrap();
    }
    assert_eq!(writer.finish().await.unwrap(), 100);
    assert_eq!((aws(&cloud).count("PutObject"), aws(&cloud).count("CreateMultipartUpload")), (1, 0));
    let mut writer = storage.writer("given up");
    writer.write(pattern(2, 9 << 20)).await.unwrap();
    writer.abort().await.unwrap();
    assert_eq!(aws(&cloud).count("AbortMultipartUpload"), 1);
    assert_eq!(storage.get("given up", None).await.err().map(|error| error.kind), Some(Kind::NotFound));
}

#[tokio::test]
async fn a_service_that_asks_for_fewer_requests_gets_fewer() {
    let (cloud, _node, storage) = all().await;
    storage.put("before", Bytes::from_static(b"1")).await.unwrap();
    aws(&cloud).inject(Fault::s3(Trouble::Throttle(Some(1))).times(2));
    let begun = Instant::now();
    storage.put("slow", Bytes::from_static(b"1")).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_said_with_how_wrong_it_is() {
    let cloud = Cloud::double().await;
    let storage = Node::of(&cloud).fixed(&cloud).await;
    aws(&cloud).set_clock(3_600);
    let error = storage.put("never", Bytes::from_static(b"1")).await.unwrap_err();
    assert_eq!(error.kind, Kind::ClockSkew, "{error}");
    let behind = ["3599", "3600", "3601"]
        .iter()
        .any(|seconds| error.to_string().contains(&format!("{seconds} s behind")));
    assert!(behind, "{error}");
}

#[tokio::test]
async fn what_is_not_there_is_said_as_in_the_original() {
    let (cloud, _node, storage) = all().await;
    let error = storage.get("nothing", None).await.err().unwrap();
    assert_eq!(error.to_string(), "s3 object does not exist: s3://backups/nightly/nothing");
    assert_eq!(error.code().as_str(), "58P01");
    storage.delete("nothing").await.unwrap();
    for name in ["../other", "a//b", "", "a/./b"] {
        let error = storage.put(name, Bytes::new()).await.unwrap_err();
        assert_eq!(error.kind, Kind::Invalid, "{name}: {error}");
    }
    assert_eq!(aws(&cloud).count("PutObject"), 0);
}

/// Session tokens and keys are in no error, whatever the service says.
#[tokio::test]
async fn no_error_has_a_secret() {
    let cloud = Cloud::double().await;
    let keys = cloud.keys(&user_arn(ACCOUNT, "chain"));
    let place = uri(&cloud.endpoint(), keys, Some(&cloud.roles().join(",")));
    let storage = Node::of(&cloud).open(&place, HOUR, Patience::Statement).await;
    storage.put("before", Bytes::from_static(b"1")).await.unwrap();
    let mut texts = Vec::new();
    for trouble in [Trouble::Deny, Trouble::Expired, Trouble::Broken(400), Trouble::Broken(403)] {
        aws(&cloud).inject(Fault::s3(trouble));
        let error = storage.put("never", Bytes::from_static(b"1")).await.unwrap_err();
        texts.push(format!("{error} {error:?} {:?}", error.refusal()));
        aws(&cloud).heal(Service::S3);
    }
    for secret in aws(&cloud).secrets() {
        assert!(!texts.iter().any(|text| text.contains(&secret)), "{texts:?}");
    }
}

#[tokio::test]
async fn a_node_writes_and_reads_no_faster_than_it_may() {
    let cloud = Cloud::double().await;
    let slow = Limit { rate: 100_000, burst: 50_000 };
    let limits = Limits { s3: [Limit::default(), slow], ..Limits::default() };
    let node = Node::with(&cloud.endpoint(), StorageSettings { limits, ..StorageSettings::default() });
    let storage = node.fixed(&cloud).await;
    let begun = Instant::now();
    // 200,000 bytes: 50,000 at once and the others in a second and a half.
    for number in 0..4 {
        storage.put(&format!("{number}"), pattern(number, 50_000)).await.unwrap();
    }
    assert!(begun.elapsed() >= Duration::from_millis(1_450), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_request_gives_up_after_cloudstorage_timeout() {
    let cloud = Cloud::double().await;
    let settings = StorageSettings { timeout: Duration::from_secs(2), ..StorageSettings::default() };
    let storage = Node::with(&cloud.endpoint(), settings).fixed(&cloud).await;
    aws(&cloud).inject(Fault::s3(Trouble::Broken(503)));
    let begun = Instant::now();
    let error = storage.put("never", Bytes::from_static(b"1")).await.unwrap_err();
    assert_eq!((error.kind, error.code().as_str()), (Kind::Unavailable, "08006"), "{error}");
    assert!(error.to_string().contains("within cloudstorage.timeout"), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn lists_come_in_pages() {
    let cloud = Cloud::double().await;
    let storage = Node::of(&cloud).fixed(&cloud).await;
    let puts = (0..1_050).map(|number| {
        let storage = storage.clone();
        async move { storage.put(&format!("many/{number:04}"), Bytes::new()).await }
    });
    use futures::StreamExt;
    let done: Vec<_> = futures::stream::iter(puts).buffer_unordered(8).collect().await;
    done.into_iter().for_each(|put| put.unwrap());
    let (mut names, mut pages, mut token) = (Vec::new(), 0, None);
    loop {
        let page = storage.list("many/", token.as_ref()).await.unwrap();
        assert!(page.found.len() <= 1_000);
        names.extend(page.found.into_iter().map(|found| found.name));
        pages += 1;
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    let expected: Vec<_> = (0..1_050).map(|number| format!("many/{number:04}")).collect();
    assert_eq!((pages, names), (2, expected));
}

/// A place that sends its visitors on learns what was meant for it; where it sends them to learns nothing, the session's token
/// least of all.
#[tokio::test]
async fn a_redirect_takes_no_token_elsewhere() {
    let cloud = Cloud::double().await;
    let node = Node::of(&cloud);
    let visitors = Arc::new(Mutex::new(Vec::new()));
    let seen = visitors.clone();
    let stranger = Server::start(move |asked| {
        seen.lock().unwrap().push(asked.clone());
        Some(Answer::text(200, ""))
    });
    let stranger = stranger.await;
    let elsewhere = stranger.url();
    let status = Arc::new(Mutex::new(0));
    let said = status.clone();
    let tokens = Arc::new(Mutex::new(0));
    let met = tokens.clone();
    let place = Server::start(move |asked| {
        *met.lock().unwrap() += usize::from(asked.header("x-amz-security-token").is_some());
        Some(Answer::text(*said.lock().unwrap(), "").with("location", &format!("{elsewhere}{}", asked.path)))
    });
    let place = place.await;
    let (keys, roles) = (cloud.keys(&user_arn(ACCOUNT, "chain")), cloud.roles().join(","));
    let storage = node.open(&uri(&place.url(), keys, Some(&roles)), HOUR, Patience::Statement).await;
    for code in [301, 302, 303, 307, 308] {
        *status.lock().unwrap() = code;
        let error = storage.put("object", Bytes::from_static(b"1")).await.unwrap_err();
        assert!(error.to_string().contains(&format!("status {code}")), "{error}");
        storage.get("object", None).await.err().expect("nothing to read");
        storage.list("", None).await.expect_err("nothing to list");
    }
    assert_eq!(*tokens.lock().unwrap(), 15, "each request had the token");
    // STS, too: what is sent there is signed, and may have an external id in it.
    let node = Node::with(&place.url(), StorageSettings::default());
    let storage = node.open(&uri(&place.url(), keys, Some(&roles)), HOUR, Patience::Statement).await;
    let error = storage.put("object", Bytes::from_static(b"1")).await.unwrap_err();
    assert!(error.to_string().contains("hop 1 of 3"), "{error}");
    let visitors = visitors.lock().unwrap();
    assert!(visitors.is_empty(), "{} requests went elsewhere, the first: {:?}", visitors.len(), visitors[0]);
}
