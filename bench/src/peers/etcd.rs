//! etcd with its own users and roles: a serializable get of a key, as a user who logged in, which is answered or refused.
//!
//! A key stands for a privilege on a table, and a grant is leave to read it. etcd's roles do not nest, so a user has all
//! roles that it reaches. It is asked through the HTTP gateway that it serves itself: JSON, and a second hop inside etcd.
//! It is told only what its few questions need, which is kind to it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use bytes::Bytes;
use futures::future::LocalBoxFuture;
use hyper::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::echo::http::Connection;
use crate::load::{Round, Subject, closed};
use crate::peers::Peer;
use crate::workload::{Question, World};

type Failed = Box<dyn std::error::Error>;

const PROGRAM: &str = "etcd";
const NAME: &str = "etcd RBAC, HTTP gateway";
/// Users that ask.
const USERS: usize = 16;
/// Questions that they ask, at most.
const QUESTIONS_MAX: usize = 400;
/// How long it may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
const PASSWORD: &str = "bench";

/// A process that ends with its owner.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server, a connection to its gateway, and requests that are made already: each with its user's token.
pub struct Etcd {
    connection: Connection,
    requests: Vec<(String, Bytes)>,
    next: usize,
    /// Stopped before its directory goes.
    _process: Process,
    _directory: TempDir,
}

/// The questions of the first few users.
pub fn choose(world: &World, questions: &[Question]) -> Vec<Question> {
    let mut users = BTreeSet::new();
    for question in questions {
        if users.len() == USERS {
            break;
        }
        users.insert(question.who);
    }
    debug_assert!(users.iter().all(|user| *user < world.size.users));
    questions.iter().filter(|question| users.contains(&question.who)).take(QUESTIONS_MAX).copied().collect()
}

impl Etcd {
    /// Starts a server and tells it what `questions` need. None: it is not installed.
    pub async fn start(world: &World, questions: &[Question]) -> Result<Option<Self>, Failed> {
        let directory = TempDir::new()?;
        let (client, peer) = (free()?, free()?);
        let [client_url, peer_url] = [client, peer].map(|address| format!("http://{address}"));
        let spawned = Command::new(PROGRAM)
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .args(["--listen-client-urls", &client_url, "--advertise-client-urls", &client_url])
            .args(["--listen-peer-urls", &peer_url, "--initial-advertise-peer-urls", &peer_url])
            .args(["--initial-cluster", &format!("default={peer_url}")])
            // What is timed reads; logging in may be cheap.
            .args(["--unsafe-no-fsync", "--bcrypt-cost", "4", "--logger", "zap", "--log-level", "error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let process = match spawned {
            Ok(child) => Process(child),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(format!("cannot start {PROGRAM}: {error}").into()),
        };
        let mut connection = answering(client).await?;
        tell(&mut connection, world, questions).await?;
        let mut tokens = BTreeMap::new();
        let mut requests = Vec::new();
        for question in questions {
            if let Entry::Vacant(unknown) = tokens.entry(question.who) {
                unknown.insert(log_in(&mut connection, &world.name(question.who)).await?);
            }
            let body = json!({ "key": key(question.privilege.word(), question.table), "serializable": true });
            requests.push((tokens[&question.who].clone(), Bytes::from(body.to_string())));
        }
        Ok(Some(Self { connection, requests, next: 0, _process: process, _directory: directory }))
    }

    async fn allows(&mut self, number: usize) -> Result<bool, Failed> {
        let (token, body) = &self.requests[number % self.requests.len()];
        let (status, answer) = self.connection.post("/v3/kv/range", Some(token), body.clone()).await?;
        match status {
            StatusCode::OK => Ok(true),
            // What grpc calls PERMISSION_DENIED.
            StatusCode::FORBIDDEN => Ok(false),
            _ => Err(format!("{status}: {}", String::from_utf8_lossy(&answer)).into()),
        }
    }
}

impl Subject for Etcd {
    fn name(&self) -> String {
        NAME.to_owned()
    }

    fn round(&mut self, length: Duration) -> LocalBoxFuture<'_, Result<Round, Failed>> {
        Box::pin(closed(length, async || {
            self.next += 1;
            self.allows(self.next).await.map(drop)
        }))
    }
}

impl Peer for Etcd {
    fn answers(&mut self, count: usize) -> LocalBoxFuture<'_, Result<Vec<bool>, Failed>> {
        Box::pin(async move {
            let mut answers = Vec::new();
            for number in 0..count.min(self.requests.len()) {
                answers.push(self.allows(number).await?);
            }
            Ok(answers)
        })
    }

    fn goal(&self) -> Option<f64> {
        None
    }
}

/// Users, roles and leave to read keys, as far as `questions` need them; then nobody may read without.
async fn tell(connection: &mut Connection, world: &World, questions: &[Question]) -> Result<(), Failed> {
    let users: BTreeSet<_> = questions.iter().map(|question| question.who).collect();
    let tables: BTreeSet<_> = questions.iter().map(|question| question.table).collect();
    let closures: BTreeMap<_, _> = users.iter().map(|user| (*user, world.closure(*user))).collect();
    // A user has a role of its own, too, for what it was granted itself.
    let reached: BTreeSet<_> = closures.values().flatten().copied().collect();
    let ask = async |connection: &mut Connection, path: &str, body: Value| ask(connection, path, &body).await;
    for role in &reached {
        ask(connection, "/v3/auth/role/add", json!({ "name": world.name(*role) })).await?;
    }
    for (user, closure) in &closures {
        let name = world.name(*user);
        ask(connection, "/v3/auth/user/add", json!({ "name": name, "password": PASSWORD })).await?;
        for role in closure {
            ask(connection, "/v3/auth/user/grant", json!({ "user": name, "role": world.name(*role) }))
                .await?;
        }
    }
    for table in tables {
        let mut leaves = BTreeSet::new();
        for grant in world.grants_on(table) {
            leaves.extend(grant.privileges.iter().map(|privilege| (grant.grantee, privilege)));
        }
        leaves.extend(crate::workload::PRIVILEGES.map(|privilege| (world.owners[table], privilege)));
        for (grantee, privilege) in leaves.into_iter().filter(|(grantee, _)| reached.contains(grantee)) {
            let leave = json!({ "permType": "READ", "key": key(privilege.word(), table) });
            let body = json!({ "name": world.name(grantee), "perm": leave });
            ask(connection, "/v3/auth/role/grant", body).await?;
        }
    }
    ask(connection, "/v3/auth/user/add", json!({ "name": "root", "password": PASSWORD })).await?;
    ask(connection, "/v3/auth/role/add", json!({ "name": "root" })).await?;
    ask(connection, "/v3/auth/user/grant", json!({ "user": "root", "role": "root" })).await?;
    ask(connection, "/v3/auth/enable", json!({})).await?;
    Ok(())
}

async fn log_in(connection: &mut Connection, name: &str) -> Result<String, Failed> {
    let body = json!({ "name": name, "password": PASSWORD });
    let answer = ask(connection, "/v3/auth/authenticate", &body).await?;
    Ok(answer["token"].as_str().ok_or("etcd gave no token")?.to_owned())
}

async fn ask(connection: &mut Connection, path: &str, body: &Value) -> Result<Value, Failed> {
    let (status, answer) = connection.post(path, None, Bytes::from(body.to_string())).await?;
    if status != StatusCode::OK {
        return Err(format!("etcd, {path} {body}: {status} {}", String::from_utf8_lossy(&answer)).into());
    }
    Ok(serde_json::from_slice(&answer)?)
}

/// A connection, when it answers.
async fn answering(address: SocketAddr) -> Result<Connection, Failed> {
    let until = Instant::now() + START_TIMEOUT;
    loop {
        let asked = async {
            let mut connection = Connection::plain(address).await?;
            ask(&mut connection, "/v3/maintenance/status", &json!({})).await?;
            Ok::<_, Failed>(connection)
        };
        match asked.await {
            Ok(connection) => return Ok(connection),
            Err(error) if Instant::now() >= until => {
                return Err(format!("etcd does not answer at {address}: {error}").into());
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// The gateway takes bytes in base64.
fn key(privilege: &str, table: usize) -> String {
    BASE64.encode(format!("{privilege}/{}", World::table_name(table)))
}

/// An address that was free a moment ago.
fn free() -> Result<SocketAddr, Failed> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
