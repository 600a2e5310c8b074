//! A strict double of Google: the metadata server, the token endpoint of service account keys, IAM Credentials, the exchange of
//! tokens for confined ones, Cloud Storage as `object_store` speaks to it, topics of Pub/Sub, and keys of Cloud KMS. All on one port of loopback.
//!
//! Every token has an owner, an end and perhaps a boundary, and each request is held against the three and against who may do
//! what at that moment. What a test changes holds from the next request on. What is not here: projects, conditions of IAM other
//! than those of boundaries, JSON storage, generations that are kept.

mod boundary;
mod emulator;
mod fault;
mod iam;
mod kms;
mod pubsub;
mod storage;

pub use emulator::PubSubEmulator;
pub use fault::{Service, Trouble};
pub use pubsub::Published;
pub use storage::Access;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use grantd_node::cloud::settings::{GcpNodeSource, NodeSettings};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, DATE, HeaderMap};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use sha2::Digest;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use crate::cloud::google::boundary::Boundary;
use crate::cloud::google::fault::Faults;
use crate::cloud::google::storage::Bucket;

/// The key of every service account here: made for this file, it opens nothing.
const KEY_PEM: &str = include_str!("google/key.pem");
/// How long tokens of keys and of the metadata server live, unless a test says otherwise.
const LIFETIME: Duration = Duration::from_secs(3_600);
/// Smaller parts than this are refused, but for the last, unless a test says otherwise.
const PART_BYTES_MIN: usize = 5 << 20;
/// How a `Date` is written.
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");

/// A double that runs. Dropped, it is gone, with its connections.
pub struct Google {
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    server: JoinHandle<()>,
}

/// One request, as it was answered.
#[derive(Clone, Debug)]
pub struct Call {
    /// Of whom it was asked.
    pub service: Service,
    /// What, as `generateAccessToken`, `UploadPart`.
    pub operation: &'static str,
    /// Whose token came with it. None: none, or none that is good.
    pub account: Option<String>,
    /// What it was about: an account, an object.
    pub subject: String,
    /// The delegates of an impersonation.
    pub delegates: Vec<String>,
    /// The status of the answer. 0: the connection was cut.
    pub status: u16,
    /// When the answer was ready.
    pub at: Instant,
}

/// All that the double knows.
struct State {
    /// By how much its clock is ahead of this machine's, in seconds.
    skew: i64,
    lifetime: Duration,
    /// Accounts whose keys are good.
    keys: HashSet<String>,
    /// Refresh tokens of persons, and tokens of other issuers: whose they are.
    others: HashMap<String, String>,
    /// Who may impersonate whom.
    creators: HashSet<(String, String)>,
    /// The account of the machine. None: it has none.
    machine: Option<String>,
    /// From when on before its end a token of the metadata server is replaced; None: every request gets another.
    replaced: Option<Duration>,
    machine_token: Option<String>,
    tokens: HashMap<String, Token>,
    buckets: BTreeMap<String, Bucket>,
    /// Who may use which key of Cloud KMS.
    keys_of: HashMap<String, HashSet<String>>,
    /// Who may publish, and whether topics may be made too.
    publishers: HashMap<String, bool>,
    /// What answers who may publish; none: the double itself.
    pubsub_behind: Option<SocketAddr>,
    topics: BTreeSet<String>,
    published: Vec<Published>,
    part_bytes_min: usize,
    faults: Faults,
    calls: Vec<Call>,
    /// Counts tokens, generations and uploads.
    serial: u64,
}

/// A token that was given.
#[derive(Clone)]
struct Token {
    account: String,
    end: Instant,
    boundary: Option<Boundary>,
}

/// A request whose body is still to come.
struct Asked {
    method: Method,
    path: String,
    query: HashMap<String, String>,
    headers: HeaderMap,
}

/// What is answered.
struct Answer {
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
}

impl Google {
    /// Starts one, on a port of its own.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port of loopback");
        let address = listener.local_addr().expect("its address");
        let state = Arc::new(Mutex::new(State::new()));
        let server = tokio::spawn(serve(listener, state.clone(), format!("http://{address}")));
        Self { state, address, server }
    }

    /// Where all of it is, as a URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What a node is told that is to find this, and nothing else.
    pub fn settings(&self, source: GcpNodeSource) -> NodeSettings {
        NodeSettings {
            gcp_source: source,
            gcp_metadata_host: Some(self.address.to_string()),
            gcp_iam_endpoint: Some(self.endpoint()),
            gcp_sts_endpoint: Some(self.endpoint()),
            gcs_endpoint: Some(self.endpoint()),
            gcp_pubsub_endpoint: Some(self.endpoint()),
            gcp_kms_endpoint: Some(self.endpoint()),
            ..NodeSettings::nowhere()
        }
    }

    /// Gives `account` a key, as the JSON that Google hands out.
    pub fn key(&self, account: &str) -> String {
        self.lock().keys.insert(account.to_owned());
        serde_json::json!({
            "type": "service_account",
            "project_id": "p",
            "private_key_id": "k",
            "private_key": KEY_PEM,
            "client_email": account,
            "token_uri": format!("{}/token", self.endpoint()),
        })
        .to_string()
    }

    /// The same in a file.
    pub fn key_file(&self, account: &str, path: &Path) {
        std::fs::write(path, self.key(account)).expect("a file of a test");
    }

    /// Deletes its key: what is signed with it is refused from now on.
    pub fn delete_key(&self, account: &str) {
        self.lock().keys.remove(account);
    }

    /// A refresh token, or a token of another issuer, is good for `account` from now on.
    pub fn accept(&self, token: &str, account: &str) {
        self.lock().others.insert(token.to_owned(), account.to_owned());
    }

    /// The account of the machine, as the metadata server says it. None: it has none.
    pub fn machine(&self, account: Option<&str>) {
        let mut state = self.lock();
        state.machine = account.map(str::to_owned);
        state.machine_token = None;
    }

    /// The metadata server gives the same token until so long before its end, as the real one does (300 s).
    pub fn machine_token_replaced(&self, before_end: Duration) {
        self.lock().replaced = Some(before_end);
    }

    /// How long tokens of keys and of the metadata server live from now on.
    pub fn lifetime(&self, lifetime: Duration) {
        self.lock().lifetime = lifetime;
    }

    /// Gives `by` the role `roles/iam.serviceAccountTokenCreator` on `target`.
    pub fn allow(&self, by: &str, target: &str) {
        self.lock().creators.insert((by.to_owned(), target.to_owned()));
    }

    /// Takes it away.
    pub fn forbid(&self, by: &str, target: &str) {
        self.lock().creators.remove(&(by.to_owned(), target.to_owned()));
    }

    /// A chain in which each may impersonate the next, and the last may write to `bucket`.
    pub fn chain(&self, accounts: &[&str], bucket: &str) {
        for pair in accounts.windows(2) {
            self.allow(pair[0], pair[1]);
        }
        self.bucket(bucket);
        if let Some(last) = accounts.last() {
            self.grant(bucket, last, Some(Access::Write));
        }
    }

    /// An empty bucket.
    pub fn bucket(&self, name: &str) {
        self.lock().buckets.entry(name.to_owned()).or_default();
    }

    /// What `account` may do in `bucket`. None: nothing.
    pub fn grant(&self, bucket: &str, account: &str, access: Option<Access>) {
        let mut state = self.lock();
        let bucket = state.buckets.get_mut(bucket).expect("the bucket was made");
        match access {
            Some(access) => bucket.access.insert(account.to_owned(), access),
            None => bucket.access.remove(account),
        };
    }

    /// Lets `account` publish, and make topics if it is an editor. None: neither.
    pub fn publisher(&self, account: &str, editor: Option<bool>) {
        let mut state = self.lock();
        match editor {
            Some(editor) => state.publishers.insert(account.to_owned(), editor),
            None => state.publishers.remove(account),
        };
    }

    /// Makes a key of Cloud KMS, `projects/…/cryptoKeys/…`, if there is none, and lets `account` use it, or not any more.
    pub fn crypto_key(&self, name: &str, account: &str, may: bool) {
        let mut state = self.lock();
        let users = state.keys_of.entry(name.to_owned()).or_default();
        if may {
            users.insert(account.to_owned())
        } else {
            users.remove(account)
        };
    }

    /// Hands what may be published on to an emulator of Pub/Sub, which has it then.
    pub fn hand_on(&self, emulator: &PubSubEmulator) {
        self.lock().pubsub_behind = Some(emulator.address());
    }

    /// What was published, in order.
    pub fn published(&self) -> Vec<Published> {
        self.lock().published.clone()
    }

    /// Parts smaller than this are refused, but for the last.
    pub fn part_bytes_min(&self, bytes: usize) {
        self.lock().part_bytes_min = bytes;
    }

    /// The names of the objects whose names begin so, in their order.
    pub fn names(&self, bucket: &str, prefix: &str) -> Vec<String> {
        let state = self.lock();
        let objects = state.buckets.get(bucket).into_iter().flat_map(|bucket| bucket.objects.keys());
        objects.filter(|name| name.starts_with(prefix)).cloned().collect()
    }

    /// The bytes of an object.
    pub fn object(&self, bucket: &str, name: &str) -> Option<Bytes> {
        Some(self.lock().buckets.get(bucket)?.objects.get(name)?.bytes.clone())
    }

    /// A token of `account`'s that nobody asked for.
    pub fn token(&self, account: &str, lifetime: Duration) -> String {
        self.lock().mint(account, lifetime, None)
    }

    /// Every token that is known: what nobody may find anywhere.
    pub fn tokens(&self) -> Vec<String> {
        self.lock().tokens.keys().cloned().collect()
    }

    /// All tokens that were given are over.
    pub fn end_all_tokens(&self) {
        self.lock().tokens.clear();
    }

    /// Its clock is so many seconds ahead of this machine's from now on.
    pub fn skew(&self, seconds: i64) {
        self.lock().skew = seconds;
    }

    /// So many of a hundred requests to a service have this trouble, evenly, until [`Self::heal`].
    pub fn trouble(&self, service: Service, trouble: Trouble, percent: u32) {
        self.lock().faults.inject(service, trouble, percent);
    }

    /// A service has no troubles any more.
    pub fn heal(&self, service: Service) {
        self.lock().faults.heal(service);
    }

    /// What was asked of a service so far.
    pub fn calls(&self, service: Service) -> Vec<Call> {
        self.lock().calls.iter().filter(|call| call.service == service).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Drop for Google {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl State {
    fn new() -> Self {
        Self {
            skew: 0,
            lifetime: LIFETIME,
            keys: HashSet::new(),
            others: HashMap::new(),
            creators: HashSet::new(),
            machine: None,
            replaced: None,
            machine_token: None,
            tokens: HashMap::new(),
            buckets: BTreeMap::new(),
            keys_of: HashMap::new(),
            publishers: HashMap::new(),
            pubsub_behind: None,
            topics: BTreeSet::new(),
            published: Vec::new(),
            part_bytes_min: PART_BYTES_MIN,
            faults: Faults::default(),
            calls: Vec::new(),
            serial: 0,
        }
    }

    /// What its clock says.
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::from(SystemTime::now()) + time::Duration::seconds(self.skew)
    }

    fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn mint(&mut self, account: &str, lifetime: Duration, boundary: Option<Boundary>) -> String {
        let unlike = format!("{} {:?}", self.next(), Instant::now());
        let token = format!("ya29.double-{}", hex(&sha2::Sha256::digest(unlike)));
        let owned = Token { account: account.to_owned(), end: Instant::now() + lifetime, boundary };
        self.tokens.insert(token.clone(), owned);
        token
    }

    /// Whose token this is, if it is good.
    fn bearer(&self, headers: &HeaderMap) -> Option<Token> {
        let token = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
        self.good(token)
    }

    fn good(&self, token: &str) -> Option<Token> {
        self.tokens.get(token).filter(|token| Instant::now() < token.end).cloned()
    }
}

impl Answer {
    fn new(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![("content-type", content_type.to_owned())], body: body.into() }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

impl Asked {
    fn new(parts: &hyper::http::request::Parts) -> Self {
        let query = parts.uri.query().unwrap_or("");
        Self {
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            query: form(query),
            headers: parts.headers.clone(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

async fn serve(listener: TcpListener, state: Arc<Mutex<State>>, endpoint: String) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        while connections.try_join_next().is_some() {}
        let (state, endpoint) = (state.clone(), endpoint.clone());
        connections.spawn(async move {
            let answer = service_fn(|request| answer(&state, &endpoint, request));
            let connection = hyper::server::conn::http1::Builder::new();
            // That a client left is the client's affair.
            let _ = connection.serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

/// Answers one request. An error cuts the connection.
async fn answer(
    state: &Mutex<State>,
    endpoint: &str,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Cut> {
    let (parts, body) = request.into_parts();
    let asked = Asked::new(&parts);
    let (service, operation) = route(&asked);
    let trouble = lock(state).faults.hit(service);
    let mut call = Call {
        service,
        operation,
        account: lock(state).bearer(&asked.headers).map(|token| token.account),
        subject: asked.path.clone(),
        delegates: Vec::new(),
        status: 0,
        at: Instant::now(),
    };
    if let Some(Trouble::Slow(time)) = trouble {
        tokio::time::sleep(time).await;
    }
    if let Some(Trouble::Cut) = trouble {
        lock(state).calls.push(call);
        return Err(Cut);
    }
    // Who asks and with what is looked at before the body comes, as the real one does: a body may take its time.
    let allowed =
        match (trouble.as_ref().and_then(|trouble| trouble.answer(service, &asked.headers)), service) {
            (Some(answer), _) => Err(answer),
            (None, Service::Storage) => storage::authorize(&lock(state), &asked, operation),
            (None, _) => Ok(()),
        };
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let answer = match allowed {
        Err(answer) => answer,
        Ok(()) if service == Service::PubSub && lock(state).pubsub_behind.is_some() => {
            pubsub::hand_on(state, &asked, body).await.ok_or(Cut)?
        }
        Ok(()) => {
            let mut state = lock(state);
            match service {
                Service::Iam => iam::impersonate(&mut state, &asked, &body, &mut call),
                Service::Token => iam::token(&mut state, endpoint, &body),
                Service::Metadata => iam::metadata(&mut state, &asked),
                Service::Exchange => iam::exchange(&mut state, &body),
                Service::Storage => storage::answer(&mut state, &asked, operation, body),
                Service::PubSub => pubsub::answer(&mut state, &asked, &body),
                Service::Kms => kms::answer(&state, &asked, &body),
            }
        }
    };
    call.status = answer.status.as_u16();
    call.at = Instant::now();
    let mut state = lock(state);
    state.calls.push(call);
    let mut response = Response::builder().status(answer.status);
    response = response.header(DATE, state.now().format(HTTP_DATE).expect("a date"));
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(answer.body)).expect("an answer"))
}

/// Of whom a request asks what.
fn route(asked: &Asked) -> (Service, &'static str) {
    match asked.path.as_str() {
        path if path.starts_with("/v1/projects/-/serviceAccounts/") => (Service::Iam, "generateAccessToken"),
        "/v1/token" => (Service::Exchange, "exchange"),
        "/token" => (Service::Token, "token"),
        path if path.contains("/cryptoKeys/") => (Service::Kms, kms::operation(asked)),
        path if path.starts_with("/v1/projects/") => (Service::PubSub, pubsub::operation(asked)),
        path if path.starts_with("/computeMetadata/") => (Service::Metadata, "metadata"),
        _ => (Service::Storage, storage::operation(asked)),
    }
}

/// The connection ends without an answer.
#[derive(Debug)]
struct Cut;

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut")
    }
}

impl std::error::Error for Cut {}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a form or a query says.
fn form(text: &str) -> HashMap<String, String> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
        })
        .collect()
}

/// A text without its percent signs.
fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// An error as Google's JSON services give it.
fn json_error(status: StatusCode, name: &str, message: &str) -> Answer {
    let body = serde_json::json!({"error": {"code": status.as_u16(), "message": message, "status": name}});
    Answer::new(status, "application/json; charset=UTF-8", body.to_string())
}

/// An error as OAuth has it.
fn oauth_error(status: StatusCode, error: &str, description: &str) -> Answer {
    let body = serde_json::json!({"error": error, "error_description": description});
    Answer::new(status, "application/json; charset=utf-8", body.to_string())
}
