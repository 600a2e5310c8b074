//! Google's own emulator of Pub/Sub, behind the strict double, which asks who comes: the emulator itself asks nobody. It is a jar that
//! no registry of packages has: Google's package `google-cloud-cli-pubsub-emulator` puts it where it is looked for,
//! `GRANTD_PUBSUB_EMULATOR` names another place. Where it or Java is missing, a test says so and is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::cloud::google::pubsub::{Published, READER, send};

/// Where Google's package puts it.
const JARS: &str = "/usr/lib/google-cloud-sdk/platform/pubsub-emulator/lib";
/// A virtual machine of Java starts in some seconds, on a machine with nothing else to do.
const START_MAX: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// What it gives at once.
const PULL_MAX: usize = 1_000;
/// So often nothing came: that was all. A message of a key comes when the one before is acknowledged.
const EMPTY_PULLS: usize = 3;

/// An emulator that runs. Dropped, it is gone.
pub struct PubSubEmulator {
    address: SocketAddr,
    process: Child,
    _home: TempDir,
    /// What subscribers got, by the number that it gave.
    got: Mutex<BTreeMap<u64, Published>>,
}

fn jar() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("GRANTD_PUBSUB_EMULATOR") {
        return Some(PathBuf::from(named)).filter(|named| named.exists());
    }
    let there = std::fs::read_dir(JARS).ok()?.flatten().map(|entry| entry.path());
    there.into_iter().find(|path| path.extension().is_some_and(|extension| extension == "jar"))
}

impl PubSubEmulator {
    /// Starts one, empty. None: it is not there.
    pub async fn start() -> Option<Self> {
        let java = Command::new("java").arg("-version").stderr(Stdio::null()).status();
        let (Some(jar), true) = (jar(), java.is_ok_and(|ended| ended.success())) else {
            eprintln!("LEFT OUT: Google's emulator of Pub/Sub, or Java, is not there");
            return None;
        };
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port of loopback");
        let address = free.local_addr().expect("a bound socket has an address");
        drop(free);
        let home = TempDir::new().expect("a directory for an emulator");
        let log = File::create(home.path().join("log")).expect("a log file");
        let process = Command::new("java")
            .args(["-Xmx256m", "-jar"])
            .arg(jar)
            .args(["--host=127.0.0.1", &format!("--port={}", address.port())])
            .env_clear()
            .env("HOME", home.path())
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(home.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the emulator starts");
        let emulator = Self { address, process, _home: home, got: Mutex::default() };
        let deadline = Instant::now() + START_MAX;
        while emulator.ask(Method::GET, "/v1/projects/none/topics", None).await.is_none() {
            assert!(Instant::now() < deadline, "the emulator of Pub/Sub does not answer");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        Some(emulator)
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All that subscribers of a project's topics got until now, in the order in which it was published.
    pub async fn published(&self, project: &str) -> Vec<Published> {
        let mut got = self.got.lock().await;
        let listed = self.asked(Method::GET, &format!("/v1/projects/{project}/subscriptions"), None).await;
        let none = Vec::new();
        let names = listed["subscriptions"].as_array().unwrap_or(&none);
        let names: BTreeSet<&str> = names.iter().filter_map(|one| one["name"].as_str()).collect();
        for name in names {
            let topic = name.rsplit('/').next().unwrap_or(name).trim_start_matches(READER).to_owned();
            let mut empty = 0;
            while empty < EMPTY_PULLS {
                let body = json!({ "maxMessages": PULL_MAX, "returnImmediately": true });
                let pulled = self.asked(Method::POST, &format!("/v1/{name}:pull"), Some(&body)).await;
                let messages = pulled["receivedMessages"].as_array().unwrap_or(&none);
                if messages.is_empty() {
                    empty += 1;
                    tokio::time::sleep(LOOK_AGAIN).await;
                    continue;
                }
                let mut acknowledged = Vec::new();
                for received in messages {
                    let message = &received["message"];
                    let number = message["messageId"].as_str().and_then(|id| id.parse().ok());
                    let data = STANDARD.decode(message["data"].as_str().unwrap_or("")).expect("base64");
                    let published = Published {
                        topic: topic.clone(),
                        ordering_key: message["orderingKey"].as_str().unwrap_or("").to_owned(),
                        data: String::from_utf8(data).expect("text"),
                    };
                    got.insert(number.expect("the emulator counts"), published);
                    acknowledged.push(received["ackId"].clone());
                }
                let body = json!({ "ackIds": acknowledged });
                self.asked(Method::POST, &format!("/v1/{name}:acknowledge"), Some(&body)).await;
            }
        }
        got.values().cloned().collect()
    }

    async fn asked(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let body = body.map(|body| Bytes::from(body.to_string()));
        let (status, said) = self.ask(method, path, body).await.expect("the emulator answers");
        assert!(status.is_success(), "{path}: {status}: {}", String::from_utf8_lossy(&said));
        serde_json::from_slice(&said).expect("JSON")
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Bytes>) -> Option<(StatusCode, Bytes)> {
        send(self.address, method, path, body.unwrap_or_default()).await
    }
}

impl Drop for PubSubEmulator {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
