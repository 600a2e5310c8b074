//! The endpoint for containers: one path, and an `Authorization` field without which nothing is given.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;

use super::{Environment, Platform};
use crate::cloud::server::{Answer, Asked, Server};
use crate::cloud::token::random_hex;
use crate::cloud::wire;

const PATH: &str = "/v1/credentials";

/// How a container shows who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// By `AWS_CONTAINER_AUTHORIZATION_TOKEN`.
    Token,
    /// By `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE`, which can be renewed.
    File,
}

/// A running endpoint.
pub struct Container {
    server: Server,
    shared: Arc<Shared>,
    authorization: Authorization,
    directory: TempDir,
}

struct Shared {
    platform: Platform,
    state: Mutex<State>,
}

struct State {
    token: String,
    broken: Option<Answer>,
    calls: usize,
}

impl Container {
    /// Starts one.
    pub async fn start(platform: Platform, authorization: Authorization) -> Self {
        let state = State { token: random_hex(16), broken: None, calls: 0 };
        let shared = Arc::new(Shared { platform, state: Mutex::new(state) });
        let answers = shared.clone();
        let server = Server::start(move |asked| Some(answers.answer(asked))).await;
        let directory = TempDir::new().expect("a directory for the token");
        let container = Self { server, shared, authorization, directory };
        container.write_token();
        container
    }

    /// Where it is, as a URL.
    pub fn url(&self) -> String {
        self.server.url() + PATH
    }

    /// With what a process finds it.
    pub fn environment(&self) -> Environment {
        let shown = match self.authorization {
            Authorization::Token => ("AWS_CONTAINER_AUTHORIZATION_TOKEN", self.shared.state().token.clone()),
            Authorization::File => {
                ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", self.token_file().display().to_string())
            }
        };
        vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", self.url()), shown]
    }

    /// The token is another from now on; the old one is refused. Whoever has it from the file reads the new one there.
    pub fn rotate(&self) {
        self.shared.state().token = random_hex(16);
        self.write_token();
    }

    /// Answers so from now on, as an endpoint in trouble does.
    pub fn fail(&self, status: u16, code: &str, message: &str) {
        self.shared.state().broken = Some(error(status, code, message));
    }

    /// Gives keys again.
    pub fn heal(&self) {
        self.shared.state().broken = None;
    }

    /// How often it was asked.
    pub fn calls(&self) -> usize {
        self.shared.state().calls
    }

    /// The file with the token.
    pub fn token_file(&self) -> PathBuf {
        self.directory.path().join("token")
    }

    /// In one step: nobody reads half a token.
    fn write_token(&self) {
        let new = self.directory.path().join("new");
        std::fs::write(&new, &self.shared.state().token).expect("a file for the token");
        std::fs::rename(&new, self.token_file()).expect("a file in its place");
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds it")
    }

    fn answer(&self, asked: &Asked) -> Answer {
        {
            let mut state = self.state();
            state.calls += 1;
            if asked.method != "GET" || asked.path != PATH {
                return error(404, "ResourceNotFound", "there is nothing here");
            }
            match asked.header("authorization") {
                None => return error(401, "MissingAuthorization", "the Authorization field is missing"),
                Some(shown) if shown != state.token => {
                    return error(403, "AccessDenied", "the token in the Authorization field is not valid");
                }
                Some(_) => {}
            }
            if let Some(broken) = &state.broken {
                return broken.clone();
            }
        }
        let keys = self.platform.keys();
        Answer::json(
            200,
            &json!({
                "AccessKeyId": keys.access_key_id,
                "SecretAccessKey": keys.secret_access_key,
                "Token": keys.session_token,
                "Expiration": keys.expires.map(wire::iso),
            }),
        )
    }
}

fn error(status: u16, code: &str, message: &str) -> Answer {
    Answer::json(status, &json!({"code": code, "message": message}))
}
