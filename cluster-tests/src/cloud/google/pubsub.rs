//! Pub/Sub: topics that are made, and published to, over REST; answered here, or by an emulator behind.

use std::net::SocketAddr;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::cloud::google::{Answer, Asked, State, json_error, lock};

/// A message, as a subscriber would get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The topic.
    pub topic: String,
    /// Empty: none.
    pub ordering_key: String,
    /// What was published.
    pub data: String,
}

/// Which of the requests.
pub(super) fn operation(asked: &Asked) -> &'static str {
    match asked.method {
        Method::PUT => "CreateTopic",
        _ if asked.path.ends_with(":publish") => "Publish",
        _ => "Other",
    }
}

/// Has a request that its token allows answered by what stands behind. None: that is not there.
pub(super) async fn hand_on(state: &Mutex<State>, asked: &Asked, body: Bytes) -> Option<Answer> {
    let behind = {
        let state = lock(state);
        let is_editor =
            state.bearer(&asked.headers).map(|token| state.publishers.get(&token.account).copied());
        match (is_editor, operation(asked)) {
            (None, _) => return Some(unauthenticated()),
            (Some(Some(true)), "CreateTopic") | (Some(Some(_)), "Publish") => state.pubsub_behind?,
            (Some(_), _) => return Some(denied()),
        }
    };
    let (status, said) = forward(behind, asked.method.clone(), &asked.path, body).await?;
    Some(Answer::new(status, "application/json; charset=UTF-8", said))
}

fn unauthenticated() -> Answer {
    let message = "Request had invalid authentication credentials.";
    json_error(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", message)
}

fn denied() -> Answer {
    json_error(StatusCode::FORBIDDEN, "PERMISSION_DENIED", "User not authorized to perform this action.")
}

/// Answers a request, as its token allows.
pub(super) fn answer(state: &mut State, asked: &Asked, body: &Bytes) -> Answer {
    let Some(token) = state.bearer(&asked.headers) else {
        return unauthenticated();
    };
    let editor = state.publishers.get(&token.account).copied();
    let invalid = |message: &str| json_error(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message);
    let ok = |body: &Value| Answer::new(StatusCode::OK, "application/json; charset=UTF-8", body.to_string());
    let topic = asked.path.rsplit('/').next().unwrap_or("");
    let name = topic.trim_end_matches(":publish");
    if name.len() < NAME_BYTES_MIN || !name.as_bytes()[0].is_ascii_alphabetic() {
        let path = asked.path.trim_start_matches("/v1/").trim_end_matches(":publish");
        return invalid(&format!("Invalid [topics] name: (name={path})"));
    }
    match (operation(asked), editor) {
        ("CreateTopic", Some(true)) if state.topics.contains(topic) => {
            json_error(StatusCode::CONFLICT, "ALREADY_EXISTS", "Resource already exists in the project")
        }
        ("CreateTopic", Some(true)) => {
            state.topics.insert(topic.to_owned());
            ok(&json!({ "name": asked.path.trim_start_matches("/v1/") }))
        }
        ("Publish", Some(_)) => {
            let topic = name;
            if !state.topics.contains(topic) {
                return json_error(StatusCode::NOT_FOUND, "NOT_FOUND", "Resource not found");
            }
            let Ok(body) = serde_json::from_slice::<Value>(body) else {
                return invalid("Invalid JSON payload received.");
            };
            let none = Vec::new();
            let messages = body["messages"].as_array().unwrap_or(&none);
            if messages.is_empty() || messages.len() > MESSAGES_MAX {
                return invalid("The value for message_count is out of bounds.");
            }
            let mut published = Vec::new();
            for message in messages {
                let data = STANDARD.decode(message["data"].as_str().unwrap_or("")).ok();
                let Some(data) = data.and_then(|data| String::from_utf8(data).ok()) else {
                    return invalid("Base64 decoding failed");
                };
                let ordering_key = message["orderingKey"].as_str().unwrap_or("").to_owned();
                published.push(Published { topic: topic.to_owned(), ordering_key, data });
            }
            let ids: Vec<String> = published.iter().map(|_| state.next().to_string()).collect();
            state.published.extend(published);
            ok(&json!({ "messageIds": ids }))
        }
        (_, _) => denied(),
    }
}

/// Hands a request on that was allowed. A topic that is made gets a subscription with order, so that what is published is kept. None:
/// it is not there.
async fn forward(to: SocketAddr, method: Method, path: &str, body: Bytes) -> Option<(StatusCode, Bytes)> {
    let makes_topic = method == Method::PUT && path.contains("/topics/");
    let answer = send(to, method, path, body).await?;
    if makes_topic && answer.0.is_success() {
        let subscription = path.replacen("/topics/", &format!("/subscriptions/{READER}"), 1);
        let topic = path.trim_start_matches("/v1/");
        let body = json!({ "topic": topic, "enableMessageOrdering": true, "ackDeadlineSeconds": 600 });
        let made = send(to, Method::PUT, &subscription, Bytes::from(body.to_string())).await?;
        assert!(made.0.is_success(), "{subscription}: {}", String::from_utf8_lossy(&made.1));
    }
    Some(answer)
}

pub(super) async fn send(
    to: SocketAddr,
    method: Method,
    path: &str,
    body: Bytes,
) -> Option<(StatusCode, Bytes)> {
    let stream = TcpStream::connect(to).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let connection = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, to.to_string())
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .expect("a request");
    let answer = sender.send_request(request).await.ok()?;
    let status = answer.status();
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    connection.abort();
    Some((status, body))
}

/// What subscriptions of the tests begin with.
pub(super) const READER: &str = "reader-";
/// Google's own bounds.
const NAME_BYTES_MIN: usize = 3;
const MESSAGES_MAX: usize = 1_000;
