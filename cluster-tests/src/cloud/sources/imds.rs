//! The metadata service of EC2, version 2: a session by PUT first, then what is asked for; nothing without one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;

use super::{Environment, Platform};
use crate::cloud::server::{Answer, Asked, Server};
use crate::cloud::token::random_hex;
use crate::cloud::wire;

/// The longest session that may be asked for.
const TTL_SECONDS_MAX: u64 = 21_600;
const TOKEN: &str = "/latest/api/token";
const CREDENTIALS: &str = "/latest/meta-data/iam/security-credentials";
const REGION: &str = "/latest/meta-data/placement/region";

/// A running metadata service.
pub struct Imds {
    server: Server,
    shared: Arc<Shared>,
}

struct Shared {
    platform: Platform,
    state: Mutex<State>,
}

struct State {
    role: Option<String>,
    broken: Option<(String, String)>,
    tokens: HashMap<String, Instant>,
    sessions: usize,
    refused: usize,
    given: usize,
}

impl Imds {
    /// Starts one, for a machine with an instance profile of this role.
    pub async fn start(platform: Platform, role: &str) -> Self {
        let state = State {
            role: Some(role.to_owned()),
            broken: None,
            tokens: HashMap::new(),
            sessions: 0,
            refused: 0,
            given: 0,
        };
        let shared = Arc::new(Shared { platform, state: Mutex::new(state) });
        let answers = shared.clone();
        let server = Server::start(move |asked| Some(answers.answer(asked))).await;
        Self { server, shared }
    }

    /// Where it is, as a URL.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// With what a process finds it.
    pub fn environment(&self) -> Environment {
        vec![
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.url()),
            ("AWS_EC2_METADATA_DISABLED", "false".to_owned()),
        ]
    }

    /// The machine has this role from now on, or none.
    pub fn attach(&self, role: Option<&str>) {
        self.shared.state().role = role.map(str::to_owned);
    }

    /// Says so instead of giving keys, with status 200, as the service does when it may not assume the role.
    pub fn fail(&self, code: &str, message: &str) {
        self.shared.state().broken = Some((code.to_owned(), message.to_owned()));
    }

    /// Gives keys again.
    pub fn heal(&self) {
        self.shared.state().broken = None;
    }

    /// All sessions are over.
    pub fn end_sessions(&self) {
        self.shared.state().tokens.clear();
    }

    /// How many sessions were begun.
    pub fn sessions(&self) -> usize {
        self.shared.state().sessions
    }

    /// How many requests came without a good session: also those of the first version.
    pub fn refused(&self) -> usize {
        self.shared.state().refused
    }

    /// How often keys were given.
    pub fn given(&self) -> usize {
        self.shared.state().given
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds it")
    }

    fn answer(&self, asked: &Asked) -> Answer {
        if asked.path == TOKEN {
            return self.begin(asked);
        }
        if asked.method != "GET" {
            return Answer::text(405, "");
        }
        let mut state = self.state();
        let good = asked
            .header("x-aws-ec2-metadata-token")
            .is_some_and(|token| state.tokens.get(token).is_some_and(|end| Instant::now() < *end));
        if !good {
            state.refused += 1;
            return Answer::text(401, "");
        }
        let Some(role) = state.role.clone() else { return Answer::text(404, "") };
        match asked.path.strip_prefix(CREDENTIALS) {
            Some("" | "/") => Answer::text(200, &role),
            Some(named) if named.trim_start_matches('/') == role => match state.broken.clone() {
                Some((code, message)) => Answer::json(200, &json!({"Code": code, "Message": message})),
                None => {
                    state.given += 1;
                    drop(state);
                    self.keys()
                }
            },
            None if asked.path == REGION => Answer::text(200, "us-east-1"),
            Some(_) | None => Answer::text(404, ""),
        }
    }

    /// A session. One that came through a proxy is refused: it is not from this machine.
    fn begin(&self, asked: &Asked) -> Answer {
        const FIELD: &str = "x-aws-ec2-metadata-token-ttl-seconds";
        if asked.method != "PUT" {
            return Answer::text(405, "");
        }
        if asked.header("x-forwarded-for").is_some() {
            return Answer::text(403, "");
        }
        let seconds = asked.header(FIELD).and_then(|text| text.parse().ok());
        let Some(seconds) = seconds.filter(|seconds| (1..=TTL_SECONDS_MAX).contains(seconds)) else {
            return Answer::text(400, "");
        };
        let token = random_hex(20);
        let mut state = self.state();
        state.sessions += 1;
        state.tokens.insert(token.clone(), Instant::now() + Duration::from_secs(seconds));
        Answer::text(200, &token).with(FIELD, &seconds.to_string())
    }

    fn keys(&self) -> Answer {
        let keys = self.platform.keys();
        Answer::json(
            200,
            &json!({
                "Code": "Success",
                "Type": "AWS-HMAC",
                "LastUpdated": wire::iso(SystemTime::now()),
                "AccessKeyId": keys.access_key_id,
                "SecretAccessKey": keys.secret_access_key,
                "Token": keys.session_token,
                "Expiration": keys.expires.map(wire::iso),
            }),
        )
    }
}
