//! Storage under credentials that live for seconds: the main claim of cloud identities, on the strict double of AWS and on
//! MiniStack, and each thing that may go wrong with one request.
//!
//! `GRANTD_CLOUD_STREAM_SECONDS` says how long a stream writes; 8 without it, 60 for the figure of docs/evidence.md.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "cloud_stream/node.rs"]
mod node;
#[path = "cloud_stream/requests.rs"]
mod requests;
#[path = "cloud_stream/stream.rs"]
mod stream;
#[path = "cloud_stream/tls.rs"]
mod tls;

use std::time::Duration;

use grantd_cluster_tests::cloud::emulators::{Emulator, Kind};
use grantd_cluster_tests::cloud::fault::{Fault, Service, Trouble};
use grantd_cluster_tests::cloud::world::{trust, user_arn};

use node::{Cloud, Node, THREE_SECONDS};
use stream::{Streamed, compare, seconds, write};

/// Must show 2: a stream through three hops with credentials of three seconds, beside one with keys that do not end.
async fn a_stream_does_not_notice(cloud: &Cloud) {
    let node = Node::of(cloud);
    let chained = node.chained(cloud, THREE_SECONDS).await;
    let fixed = node.fixed(cloud).await;
    let time = seconds();
    let (with_chain, with_keys) =
        tokio::join!(write(&chained, "chained", time), write(&fixed, "fixed", time));
    let refreshes = node.refreshes();
    println!(
        "{}: {:.0} s. Three hops, credentials of 3 s: {with_chain}, {refreshes} refreshes of the last hop. Fixed keys: {with_keys}",
        cloud.name(),
        time.as_secs_f64()
    );
    assert!(refreshes * 4 >= time.as_secs(), "{refreshes} refreshes in {time:?}");
    let most = with_keys.longest_gap + Duration::from_millis(100);
    assert!(
        with_chain.longest_gap <= most,
        "a gap of {:?}, and of {:?} with fixed keys",
        with_chain.longest_gap,
        with_keys.longest_gap
    );
    compare(&chained, "chained", &with_chain).await;
    compare(&fixed, "fixed", &with_keys).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_does_not_notice_that_its_credentials_live_for_three_seconds() {
    let cloud = Cloud::double().await;
    a_stream_does_not_notice(&cloud).await;
    let Cloud::Double { aws, .. } = &cloud else { unreachable!("it is the double") };
    let failed: Vec<_> =
        aws.log().into_iter().filter(|record| record.service == Service::S3 && !record.is_done()).collect();
    assert!(failed.is_empty(), "{} requests failed, the first: {:?}", failed.len(), failed.first());
    let calls = aws.count("AssumeRole");
    println!("double: {calls} calls of AssumeRole");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_does_not_notice_it_on_ministack_either() {
    let Some(emulator) = Emulator::start(Kind::MiniStack).await else { return };
    let cloud = Cloud::emulator(emulator).await;
    a_stream_does_not_notice(&cloud).await;
}

/// Cases 67 and 83: STS refuses three calls of ten, and is down for five seconds, longer than any lease lives.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_outlives_throttling_and_outages_of_sts() {
    let cloud = Cloud::double().await;
    let node = Node::of(&cloud);
    let chained = node.chained(&cloud, THREE_SECONDS).await;
    let Cloud::Double { aws, .. } = &cloud else { unreachable!("it is the double") };
    aws.inject(Fault::sts(Trouble::Throttle(None)).percent(30, 7));
    let time = seconds();
    let outages = async {
        for _ in 0..(time.as_secs() / 20).max(1) {
            tokio::time::sleep(Duration::from_secs(3)).await;
            aws.inject(Fault::sts(Trouble::Cut).lasting(Duration::from_secs(5)));
            tokio::time::sleep(Duration::from_secs(17).min(time / 2)).await;
        }
    };
    let (streamed, ()) = tokio::join!(write(&chained, "troubled", time), outages);
    println!("double, 30 % throttled and outages of 5 s: {streamed}, {} refreshes", node.refreshes());
    assert!(streamed.longest_gap > Duration::from_secs(1), "nobody noticed the outage: {streamed}");
    aws.heal(Service::Sts);
    compare(&chained, "troubled", &streamed).await;
}

/// Cases 68 and 70: a role trusts its predecessor no more, for ten seconds. The stream waits, says where, and goes on.
async fn a_stream_outlives_a_lost_trust(cloud: &Cloud) {
    let node = Node::of(cloud);
    let chained = node.chained(cloud, THREE_SECONDS).await;
    let roles = cloud.roles();
    let (first, second) = (roles[0].clone(), roles[1].clone());
    let nobody = trust(&[&user_arn("111122223333", "nobody")]);
    let interrupted = async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        cloud.set_trust(&second, &nobody).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let told = node.trouble();
        cloud.set_trust(&second, &trust(&[&first])).await;
        told
    };
    let time = seconds().max(Duration::from_secs(15));
    let (streamed, told) = tokio::join!(write(&chained, "distrusted", time), interrupted);
    println!("{}, trust taken for 10 s: {streamed}. Meanwhile: {told:?}", cloud.name());
    let told = told.expect("something is wrong with the chain");
    assert!(told.contains("hop 2 of 3") && told.contains(&second), "{told}");
    assert!(told.contains("chain-1"), "who may not: {told}");
    assert!(streamed.longest_gap > Duration::from_secs(5), "nobody noticed: {streamed}");
    compare(&chained, "distrusted", &streamed).await;
    assert_eq!(node.trouble(), None, "nothing is wrong any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_waits_for_a_trust_that_is_given_back() {
    a_stream_outlives_a_lost_trust(&Cloud::double().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_waits_for_a_trust_that_is_given_back_on_ministack() {
    let Some(emulator) = Emulator::start(Kind::MiniStack).await else { return };
    a_stream_outlives_a_lost_trust(&Cloud::emulator(emulator).await).await;
}

/// Trap 3 of the emulators' page: what `object_store` would send again by itself would be signed with what has ended.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_part_that_is_retried_beyond_the_life_of_its_credentials_arrives() {
    let cloud = Cloud::double().await;
    let node = Node::of(&cloud);
    let storage = node.chained(&cloud, Duration::from_secs(2)).await;
    let Cloud::Double { aws, .. } = &cloud else { unreachable!("it is the double") };
    let mut writer = storage.writer("long");
    let whole = stream::pattern(3, 9 << 20);
    aws.inject(Fault::s3(Trouble::Broken(503)).of("UploadPart").lasting(Duration::from_secs(5)));
    writer.write(whole.slice(..8 << 20)).await.unwrap();
    writer.write(whole.slice(8 << 20..)).await.unwrap();
    assert_eq!(writer.finish().await.unwrap(), 9 << 20);
    let back = storage.get("long", None).await.unwrap().bytes(64 << 20).await.unwrap();
    assert!(back == whole);
    let codes: Vec<_> = aws.log().iter().filter_map(|record| record.code().map(str::to_owned)).collect();
    assert!(codes.iter().filter(|code| *code == "InternalError").count() >= 3, "{codes:?}");
    assert!(!codes.iter().any(|code| code == "ExpiredToken"), "{codes:?}");
}

impl std::fmt::Display for Streamed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { puts, bytes, longest_gap, usual_gap } = self;
        let (mib, longest, usual) = (bytes >> 20, longest_gap.as_millis(), usual_gap.as_millis());
        write!(f, "{puts} puts and {mib} MiB in parts, longest gap {longest} ms (99.9 %: {usual} ms)")
    }
}
