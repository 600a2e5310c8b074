//! Pub/Sub: topics that are made, and published to, over REST.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::cloud::google::{Answer, Asked, State, json_error};

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

/// Answers a request, as its token allows.
pub(super) fn answer(state: &mut State, asked: &Asked, body: &Bytes) -> Answer {
    let Some(token) = state.bearer(&asked.headers) else {
        let message = "Request had invalid authentication credentials.";
        return json_error(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", message);
    };
    let editor = state.publishers.get(&token.account).copied();
    let denied = || {
        json_error(StatusCode::FORBIDDEN, "PERMISSION_DENIED", "User not authorized to perform this action.")
    };
    let invalid = |message| json_error(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message);
    let ok = |body: &Value| Answer::new(StatusCode::OK, "application/json; charset=UTF-8", body.to_string());
    let topic = asked.path.rsplit('/').next().unwrap_or("");
    match (operation(asked), editor) {
        ("CreateTopic", Some(true)) if state.topics.contains(topic) => {
            json_error(StatusCode::CONFLICT, "ALREADY_EXISTS", "Resource already exists in the project")
        }
        ("CreateTopic", Some(true)) => {
            state.topics.insert(topic.to_owned());
            ok(&json!({ "name": asked.path.trim_start_matches("/v1/") }))
        }
        ("Publish", Some(_)) => {
            let topic = topic.trim_end_matches(":publish");
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

/// Google's own bound.
const MESSAGES_MAX: usize = 1_000;
