//! Sinks that a test looks into, and that it can break: files in S3, Kafka, a webhook, Pub/Sub.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use grantd_cluster_tests::cloud::aws::{Aws, Keys};
use grantd_cluster_tests::cloud::fault::{Fault, Service, Trouble};
use grantd_cluster_tests::cloud::google::{self, Google, PubSubEmulator};
use grantd_cluster_tests::cloud::tansu::Tansu;
use grantd_cluster_tests::cloud::world::{Chained, World, trust};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rskafka::client::ClientBuilder;
use serde_json::Value;
use tokio::net::TcpListener;

use super::reader::{History, files_below, kafka_partitions, pubsub_messages, read};
use super::tls::Front;

/// A sink.
#[async_trait]
pub trait Place: Send + Sync {
    /// What it is called where figures are told.
    fn name(&self) -> &'static str;
    /// Further arguments of a node that is to find it.
    fn arguments(&self) -> Vec<String> {
        Vec::new()
    }
    /// What a node finds in its environment.
    fn environment(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    /// What the topic of the table `t` is called.
    fn topic(&self) -> &'static str {
        "t"
    }
    /// As a statement names it.
    fn uri(&self) -> String;
    /// It is not there, or is again.
    fn cut(&self, is_cut: bool);
    /// The last role's trust is gone, or is there again. What messages call the role; none: there is none.
    fn trust(&self, is_trusted: bool) -> Option<String>;
    /// What a reader has of it now, and of how many messages. Every order is looked at on the way.
    async fn read(&self) -> (History, usize);
    /// What nobody may be told.
    fn secrets(&self) -> Vec<String>;
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn arguments(pairs: &[[&str; 2]]) -> Vec<String> {
    pairs.as_flattened().iter().map(|word| (*word).to_owned()).collect()
}

/// Files in the strict double of AWS, by three roles.
pub struct S3 {
    pub aws: Aws,
    keys: Keys,
    chained: Chained,
    trusted: String,
}

impl S3 {
    pub async fn start() -> Self {
        let (mut world, chained) = World::chain("feed", 3, "feeds");
        let trusted = world.role(&chained.roles[2]).trust.clone();
        let (aws, keys) = Aws::of(&world).await;
        let keys = keys[&chained.user].clone();
        Self { aws, keys, chained, trusted }
    }
}

impl S3 {
    /// By the keys of the chain's user themselves, which are a secret then.
    pub fn uri_with_keys(&self) -> String {
        let Keys { access_key_id, secret_access_key, .. } = &self.keys;
        let uri = self.uri().replace("AUTH=implicit", &format!("AWS_ACCESS_KEY_ID={access_key_id}"));
        format!("{uri}&AWS_SECRET_ACCESS_KEY={}", encoded(secret_access_key))
    }

    pub fn secret_key(&self) -> String {
        self.keys.secret_access_key.clone()
    }
}

#[async_trait]
impl Place for S3 {
    fn name(&self) -> &'static str {
        "files in S3"
    }

    fn arguments(&self) -> Vec<String> {
        arguments(&[
            ["--aws-source", "environment"],
            ["--aws-sts-endpoint", &self.aws.endpoint()],
            ["--aws-region", "us-east-1"],
        ])
    }

    fn environment(&self) -> Vec<(String, String)> {
        vec![
            ("AWS_ACCESS_KEY_ID".to_owned(), self.keys.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), self.keys.secret_access_key.clone()),
        ]
    }

    fn uri(&self) -> String {
        let (roles, endpoint) = (self.chained.roles.join(","), self.aws.endpoint());
        format!("s3://feeds/t?AUTH=implicit&AWS_REGION=us-east-1&AWS_ENDPOINT={endpoint}&ASSUME_ROLE={roles}")
    }

    fn cut(&self, is_cut: bool) {
        if is_cut {
            self.aws.inject(Fault::s3(Trouble::Cut));
        } else {
            self.aws.heal(Service::S3);
        }
    }

    fn trust(&self, is_trusted: bool) -> Option<String> {
        let nobody = trust(&["arn:aws:iam::111122223333:user/nobody"]);
        self.aws.set_trust(&self.chained.roles[2], if is_trusted { &self.trusted } else { &nobody });
        Some(self.chained.roles[2].clone())
    }

    async fn read(&self) -> (History, usize) {
        let messages = files_below(&self.aws.bucket("feeds").join("t"));
        (read(&messages), messages.len())
    }

    fn secrets(&self) -> Vec<String> {
        self.aws.secrets()
    }
}

/// Topics of Tansu, behind TLS that can be cut.
pub struct Kafka {
    _tansu: Tansu,
    front: Front,
}

impl Kafka {
    /// None: it is not installed.
    pub async fn start() -> Option<Self> {
        let front = Front::start().await;
        let tansu = Tansu::start_behind(Some(&front.host())).await?;
        front.lead_to(tansu.address());
        Some(Self { _tansu: tansu, front })
    }
}

#[async_trait]
impl Place for Kafka {
    fn name(&self) -> &'static str {
        "Kafka (Tansu)"
    }

    fn uri(&self) -> String {
        let ca = encoded(&self.front.ca_base64());
        format!("kafka://{}?tls_enabled=true&ca_cert={ca}", self.front.host())
    }

    fn cut(&self, is_cut: bool) {
        self.front.cut(is_cut);
    }

    fn trust(&self, _is_trusted: bool) -> Option<String> {
        None
    }

    async fn read(&self) -> (History, usize) {
        let brokers = ClientBuilder::new(vec![self.front.host()]).tls_config(self.front.client());
        let partitions = kafka_partitions(brokers, "t").await;
        let count = partitions.iter().map(Vec::len).sum();
        // A key is in one partition, and a resolved message speaks for the partition that it is in.
        (partitions.iter().flat_map(|messages| read(messages)).collect(), count)
    }

    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A web server behind TLS that can be cut.
pub struct Webhook {
    front: Front,
    /// The bodies that were answered, in their order.
    bodies: Arc<Mutex<Vec<String>>>,
    /// What is answered in place of 200: with a body that repeats all that came.
    wrong: Arc<Mutex<Option<u16>>>,
}

/// Secret parts of its URL, and its header.
const HOOK_PATH: &str = "/hook-2f6b0a91c7";
/// What it says, and is no secret.
pub const DECOY: &str = "decoy-e5f07c2a9b31";
const HOOK_TOKEN: &str = "8d14c3e09b7a5f26";
pub const HOOK_HEADER: &str = "Bearer 51c0ffee9a7d83e4b2";

impl Webhook {
    pub async fn start() -> Self {
        let front = Front::start().await;
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        front.lead_to(listener.local_addr().unwrap());
        let (bodies, wrong) = (Arc::<Mutex<Vec<String>>>::default(), Arc::<Mutex<Option<u16>>>::default());
        let (kept, status) = (Arc::clone(&bodies), Arc::clone(&wrong));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, status) = (Arc::clone(&kept), Arc::clone(&status));
                let answer = service_fn(move |request: Request<Incoming>| {
                    let (kept, status) = (Arc::clone(&kept), Arc::clone(&status));
                    async move {
                        let said = format!("{DECOY} {} {:?}", request.uri(), request.headers());
                        let body = request.into_body().collect().await?.to_bytes();
                        let body = String::from_utf8(body.to_vec()).unwrap();
                        let wrong = *status.lock().unwrap();
                        if wrong.is_none() {
                            kept.lock().unwrap().push(body);
                        }
                        let answered = if wrong.is_some() { said } else { String::new() };
                        let response = Response::builder().status(wrong.unwrap_or(200));
                        Ok::<_, hyper::Error>(response.body(Full::new(Bytes::from(answered))).unwrap())
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new();
                tokio::spawn(async move { connection.serve_connection(TokioIo::new(stream), answer).await });
            }
        });
        Self { front, bodies, wrong }
    }

    /// It answers so, and repeats what it was sent. None: all is well.
    pub fn answers(&self, status: Option<u16>) {
        *self.wrong.lock().unwrap() = status;
    }

    fn bodies(&self) -> Vec<String> {
        self.bodies.lock().unwrap().clone()
    }

    /// All that came, as one text.
    pub fn read_bodies(&self) -> String {
        self.bodies().join("\n")
    }
}

#[async_trait]
impl Place for Webhook {
    fn name(&self) -> &'static str {
        "a webhook"
    }

    fn uri(&self) -> String {
        let ca = encoded(&self.front.ca_base64());
        format!("webhook-https://{}{HOOK_PATH}?token={HOOK_TOKEN}&ca_cert={ca}", self.front.host())
    }

    fn cut(&self, is_cut: bool) {
        self.front.cut(is_cut);
    }

    fn trust(&self, _is_trusted: bool) -> Option<String> {
        None
    }

    async fn read(&self) -> (History, usize) {
        let mut messages = Vec::new();
        for body in self.bodies() {
            let mut read: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("no JSON: {body}"));
            match read["payload"].take() {
                Value::Array(payload) => {
                    assert_eq!(read["length"], payload.len());
                    messages.extend(payload.iter().map(Value::to_string));
                }
                _ => messages.push(body),
            }
        }
        (read(&messages), messages.len())
    }

    fn secrets(&self) -> Vec<String> {
        [HOOK_PATH, HOOK_TOKEN, HOOK_HEADER].map(str::to_owned).to_vec()
    }
}

/// Topics of the strict double of Google, by a role; or of Google's emulator behind it.
pub struct PubSub {
    google: Google,
    emulator: Option<PubSubEmulator>,
}

const NODE: &str = "node@p.iam";
const FEEDS: &str = "feeds@p.iam.gserviceaccount.com";

impl PubSub {
    pub async fn start() -> Self {
        let google = Google::start().await;
        google.machine(Some(NODE));
        google.lifetime(Duration::from_secs(3));
        google.allow(NODE, FEEDS);
        google.publisher(FEEDS, Some(true));
        Self { google, emulator: None }
    }

    /// None: the emulator is not there.
    pub async fn of_google() -> Option<Self> {
        let emulator = PubSubEmulator::start().await?;
        let place = Self::start().await;
        place.google.hand_on(&emulator);
        Some(Self { emulator: Some(emulator), ..place })
    }
}

#[async_trait]
impl Place for PubSub {
    fn name(&self) -> &'static str {
        if self.emulator.is_some() { "Pub/Sub of Google's emulator" } else { "Pub/Sub" }
    }

    fn arguments(&self) -> Vec<String> {
        let endpoint = self.google.endpoint();
        let host = endpoint.trim_start_matches("http://");
        arguments(&[
            ["--gcp-source", "metadata"],
            ["--gcp-metadata-host", host],
            ["--gcp-iam-endpoint", &endpoint],
            ["--gcp-sts-endpoint", &endpoint],
            ["--gcs-endpoint", &endpoint],
            ["--gcp-pubsub-endpoint", &endpoint],
        ])
    }

    /// Google takes no names of a letter.
    fn topic(&self) -> &'static str {
        "orders"
    }

    fn uri(&self) -> String {
        format!("gcpubsub://p?region=eu-west1&topic_name=orders&AUTH=implicit&ASSUME_ROLE={}", encoded(FEEDS))
    }

    fn cut(&self, is_cut: bool) {
        if is_cut {
            self.google.trouble(google::Service::PubSub, google::Trouble::Cut, 100);
        } else {
            self.google.heal(google::Service::PubSub);
        }
    }

    fn trust(&self, is_trusted: bool) -> Option<String> {
        if is_trusted {
            self.google.allow(NODE, FEEDS);
        } else {
            self.google.forbid(NODE, FEEDS);
        }
        Some(FEEDS.to_owned())
    }

    async fn read(&self) -> (History, usize) {
        let published = match &self.emulator {
            Some(emulator) => emulator.published("p").await,
            None => self.google.published(),
        };
        let messages = pubsub_messages(published);
        (read(&messages), messages.len())
    }

    fn secrets(&self) -> Vec<String> {
        self.google.tokens()
    }
}
