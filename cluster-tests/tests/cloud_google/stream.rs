//! A stream of parts that outlives its tokens many times over, through delegates, under the broker.
//!
//! `object_store` is told to retry nothing, and the stream retries nothing either: each part is one request, and each must
//! succeed. Beside it runs the same stream with a token that has no end, to know what the machine itself does.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use grantd_cluster_tests::cloud::google::{Access, Service, Trouble};
use grantd_node::audit::Audit;
use grantd_node::cloud::broker::{Broker, Credentials};
use grantd_node::cloud::lease::Class;
use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ClientOptions, CredentialProvider, RetryConfig};

use super::*;

/// How long tokens live.
const LIFETIME: Duration = Duration::from_secs(3);
/// A part comes so often.
const EVERY: Duration = Duration::from_millis(20);
/// A stream waits for credentials at most so long: longer than anything that a test takes away.
const PATIENCE: Duration = Duration::from_secs(60);
/// By how much a change of tokens may lengthen the longest gap between two parts.
const GAP_MAX: Duration = Duration::from_millis(100);
const WAY: [&str; 4] = ["node", "hop1", "hop2", "writer"];

/// How long the streams are: some seconds in the gate, a minute for the evidence.
fn length() -> Duration {
    let seconds = std::env::var("GRANTD_CLOUD_STREAM_SECONDS").ok();
    Duration::from_secs(
        seconds.map_or(8, |text| text.parse().expect("GRANTD_CLOUD_STREAM_SECONDS is a number")),
    )
}

/// What `object_store` asks before each request.
#[derive(Debug)]
struct Leased(Kept);

enum Kept {
    /// The lease of the moment.
    Chain(Credentials),
    /// One without an end.
    Token(String),
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("kept")
    }
}

#[async_trait]
impl CredentialProvider for Leased {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        let credentials = match &self.0 {
            Kept::Token(token) => return Ok(Arc::new(GcpCredential { bearer: token.clone() })),
            Kept::Chain(credentials) => credentials,
        };
        let lease = match credentials.current() {
            Some(lease) => lease,
            None => credentials.lease_within(Duration::ZERO, PATIENCE).await.map_err(|error| {
                object_store::Error::Generic { store: "leases", source: error.to_string().into() }
            })?,
        };
        let Material::Bearer(bearer) = &lease.material else { panic!("Google gives bearer tokens") };
        Ok(Arc::new(GcpCredential { bearer: bearer.token.expose().to_owned() }))
    }
}

fn store(google: &Google, kept: Kept) -> GoogleCloudStorage {
    let _ = rustls::crypto::ring::default_provider().install_default();
    GoogleCloudStorageBuilder::new()
        .with_bucket_name(BUCKET)
        .with_base_url(&google.endpoint())
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_credentials(Arc::new(Leased(kept)))
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .build()
        .expect("a client")
}

/// A double with a chain of three, whose last may write, and a broker over the node's steps.
async fn three() -> (Google, Broker, Credentials) {
    let google = Google::start().await;
    let way = WAY.map(account);
    google.chain(&way.each_ref().map(String::as_str), BUCKET);
    google.grant(BUCKET, &account("unlimited"), Some(Access::Write));
    google.part_bytes_min(0);
    let broker = Broker::start(Arc::new(machine(&google)), 1, Audit::default());
    let credentials = broker.open(&chain(&WAY[1..], LIFETIME), "a test").expect("a chain");
    (google, broker, credentials)
}

/// Writes parts until the time is over; the longest time from one part's end to the next one's, less the pace.
async fn stream(store: &GoogleCloudStorage, name: &str, length: Duration) -> (Bytes, Duration) {
    let path = Path::from(name);
    let (mut written, mut parts, mut longest) = (Vec::new(), Vec::new(), Duration::ZERO);
    let upload = store.create_multipart(&path).await.expect("the upload begins");
    let (begin, mut last) = (Instant::now(), Instant::now());
    let mut pace = tokio::time::interval(EVERY);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while begin.elapsed() < length {
        pace.tick().await;
        let number = parts.len();
        let part = Bytes::from(format!("{name} {number:08}\n").repeat(64));
        written.extend_from_slice(&part);
        parts.push(
            store.put_part(&path, &upload, number, part.into()).await.expect("a part is written at once"),
        );
        longest = longest.max(last.elapsed().saturating_sub(EVERY));
        last = Instant::now();
    }
    store.complete_multipart(&path, &upload, parts).await.expect("the upload ends");
    (written.into(), longest)
}

/// Both streams at once; what was written is there, and nothing was refused.
async fn both(google: &Google, credentials: Credentials, length: Duration) -> (Duration, Duration) {
    let short = store(google, Kept::Chain(credentials));
    let unlimited = store(google, Kept::Token(google.token(&account("unlimited"), HOUR)));
    let ((written, gap), (_, usual)) =
        tokio::join!(stream(&short, "short", length), stream(&unlimited, "unlimited", length));
    assert!(google.object(BUCKET, "short").expect("the object") == written, "every byte, once, in order");
    let refused: Vec<_> =
        google.calls(Service::Storage).into_iter().filter(|call| call.status >= 300).collect();
    assert!(refused.is_empty(), "{refused:?}");
    (gap, usual)
}

/// Tokens that were given.
fn given(google: &Google) -> usize {
    google.calls(Service::Iam).iter().filter(|call| call.status == 200).count()
}

/// Must show 2 of issue 6, Google's half.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_never_notices_that_its_tokens_live_for_seconds() {
    let (google, _broker, credentials) = three().await;
    let length = length();
    let (gap, usual) = both(&google, credentials, length).await;
    let given = given(&google);
    println!(
        "{length:?}: {given} tokens of {LIFETIME:?}; longest gap {gap:?}, with an unlimited token {usual:?}"
    );
    assert!(given as u64 >= length.as_secs() / 4, "{given} tokens");
    assert!(gap <= usual + GAP_MAX, "a gap of {gap:?}; with an unlimited token of {usual:?}");
}

/// Must show 2: with 30 % of the calls throttled, and IAM Credentials down for 5 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_outlives_throttling_and_an_outage() {
    let (google, _broker, credentials) = three().await;
    let length = length().max(Duration::from_secs(12));
    google.trouble(Service::Iam, Trouble::Throttle(None), 30);
    let outage = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        google.trouble(Service::Iam, Trouble::Cut, 100);
        tokio::time::sleep(Duration::from_secs(5)).await;
        google.heal(Service::Iam);
        google.trouble(Service::Iam, Trouble::Throttle(None), 30);
    };
    let ((gap, usual), ()) = tokio::join!(both(&google, credentials, length), outage);
    let throttled = google.calls(Service::Iam).iter().filter(|call| call.status == 429).count();
    let given = given(&google);
    println!("{length:?}: {given} tokens, {throttled} calls throttled; longest gap {gap:?}, else {usual:?}");
    assert!(throttled > 0 && given > 2);
}

/// Must show 2, and cases 68, 70 and 88: the edge is taken away for 10 s and given back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_outlives_the_loss_of_an_edge_that_comes_back() {
    let (google, broker, credentials) = three().await;
    let length = length().max(Duration::from_secs(16));
    let edge = [account("hop1"), account("hop2")];
    let loss = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        google.forbid(&edge[0], &edge[1]);
        tokio::time::sleep(Duration::from_secs(9)).await;
        let report = broker.report();
        let trouble = report.iter().find_map(|step| step.trouble.clone()).expect("it is reported");
        assert_eq!(trouble.class, Class::Denied);
        let told = format!("{} may not impersonate {}", edge[0], edge[1]);
        assert!(trouble.message.contains(&told), "{}", trouble.message);
        tokio::time::sleep(Duration::from_secs(1)).await;
        google.allow(&edge[0], &edge[1]);
    };
    let ((gap, usual), ()) = tokio::join!(both(&google, credentials, length), loss);
    println!("{length:?}: {} tokens; longest gap {gap:?}, else {usual:?}", given(&google));
    // It was served to the end of the last token, and came back by itself.
    assert!(gap >= Duration::from_secs(6) && gap < Duration::from_secs(13), "{gap:?}");
}

/// Case 86: the machine's server gives the same token again until shortly before its end; that is no reason to ask it all the
/// time.
#[tokio::test]
async fn a_token_that_stays_the_same_is_not_asked_for_in_a_loop() {
    let google = Google::start().await;
    // It says how long in whole seconds, so some more of them than elsewhere here.
    google.lifetime(LIFETIME * 2);
    google.machine_token_replaced(Duration::from_millis(1_200));
    let broker = Broker::start(Arc::new(machine(&google)), 1, Audit::default());
    let credentials = broker.open(&Chain::new(Source::GcpNode, []), "a test").expect("a chain");
    let begin = Instant::now();
    let mut seen = std::collections::HashSet::new();
    while begin.elapsed() < LIFETIME * 5 {
        let lease = credentials.lease_within(Duration::ZERO, PATIENCE).await.expect("a lease");
        let Material::Bearer(bearer) = &lease.material else { panic!("Google gives bearer tokens") };
        seen.insert(bearer.token.expose().to_owned());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Each time is two requests, one of them for the account's name.
    let times = google.calls(Service::Metadata).len() / 2;
    println!("{times} times asked in {:?} for {} tokens", begin.elapsed(), seen.len());
    assert!(
        seen.len() >= 3 && times > seen.len(),
        "it was not asked early: {times} times, {} tokens",
        seen.len()
    );
    assert!(times <= 20 * seen.len(), "{times} times for {} tokens", seen.len());
}
