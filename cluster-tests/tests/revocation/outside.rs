//! Clients that ask a node without SQL: over its Unix socket, and over HTTPS.

use std::time::Duration;

use async_trait::async_trait;
use grantd_cluster_tests::https::Https;
use grantd_node::check::client::{Client, ClientError, Freshness, ObjectKind, Question, ResourceKind};
use serde_json::json;
use tokio::time::timeout;

use crate::ask::{Asker, gone};
use crate::history::Reply;
use crate::world::{Kind, Outside, Subject, USER};

/// Without an answer for so long the connection is given up.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
const EVALUATION: &str = "/access/v1/evaluation";

/// Over the Unix socket, in names.
pub struct Socket {
    pub at: Outside,
    pub only: Kind,
    pub client: Option<Client>,
}

#[async_trait]
impl Asker for Socket {
    fn way(&self) -> &'static str {
        "socket, local"
    }

    fn suits(&self, kind: Kind) -> bool {
        kind == self.only
    }

    async fn ask(&mut self, subject: Subject) -> Reply {
        // A client that is not put back is closed.
        match timeout(ANSWER_WITHIN, question(self.client.take(), &self.at, subject)).await {
            Ok((client, reply)) => {
                self.client = client;
                reply
            }
            Err(_elapsed) => gone("no answer"),
        }
    }
}

async fn question(client: Option<Client>, at: &Outside, subject: Subject) -> (Option<Client>, Reply) {
    let connected = match client {
        Some(client) => Ok(client),
        None => Client::connect(&at.socket, "root").await,
    };
    let mut client = match connected {
        Ok(client) => client,
        Err(error) => return (None, refused(&error)),
    };
    let question = Question {
        subject: USER.to_owned(),
        action: "SELECT".to_owned(),
        kind: ResourceKind::Object(ObjectKind::Table),
        name: format!("defaultdb.public.{}", subject.table()),
    };
    match client.ask(Freshness::Local, vec![question]).await {
        Ok(answered) if answered.answer == [Some(true)] => (Some(client), Reply::Yes),
        Ok(_) => (Some(client), Reply::No),
        Err(error @ ClientError::Refused(_)) => (Some(client), refused(&error)),
        Err(error) => (None, refused(&error)),
    }
}

fn refused(error: &ClientError) -> Reply {
    match error {
        ClientError::Refused(refusal) => Reply::Refused(refusal.code.as_str().to_owned()),
        ClientError::Connect { .. } | ClientError::Lost(_) => gone("no connection"),
        ClientError::Malformed(_) | ClientError::TooLarge(_) | ClientError::Waiting(_) => panic!("{error}"),
    }
}

/// Over HTTPS, as AuthZEN says it.
pub struct Web {
    pub at: Outside,
    pub only: Kind,
    pub connection: Option<Https>,
}

#[async_trait]
impl Asker for Web {
    fn way(&self) -> &'static str {
        "https, local"
    }

    fn suits(&self, kind: Kind) -> bool {
        kind == self.only
    }

    async fn ask(&mut self, subject: Subject) -> Reply {
        match timeout(ANSWER_WITHIN, evaluated(self.connection.take(), &self.at, subject)).await {
            Ok(Some((connection, reply))) => {
                self.connection = Some(connection);
                reply
            }
            Ok(None) => gone("no connection"),
            Err(_elapsed) => gone("no answer"),
        }
    }
}

async fn evaluated(connection: Option<Https>, at: &Outside, subject: Subject) -> Option<(Https, Reply)> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => Https::try_connect(&at.ca, at.http_port, Some("root")).await.ok()?,
    };
    let request = json!({
        "subject": { "type": "user", "id": USER },
        "action": { "name": "SELECT" },
        "resource": { "type": "table", "id": format!("defaultdb.public.{}", subject.table()) },
    });
    let head = [("Content-Type", "application/json")];
    let reply = connection.try_ask("POST", EVALUATION, &head, request.to_string().as_bytes()).await?;
    let said = reply.json();
    let reply = match (reply.status, said["decision"].as_bool()) {
        (200, Some(true)) => Reply::Yes,
        (200, Some(false)) => Reply::No,
        _ => Reply::Refused(said["sqlstate"].as_str().unwrap_or("no SQLSTATE").to_owned()),
    };
    Some((connection, reply))
}
