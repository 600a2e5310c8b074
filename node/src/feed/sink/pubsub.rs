//! Google Pub/Sub, over REST. Source of messages and texts: cloud-jobs specification, A.9.
//!
//! Each request asks for the token of its moment. One that is not taken costs one lease, and the request is sent again. The key
//! is the ordering key, so that a subscription with order gives a key's messages in theirs.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grantd_catalog::id::Timestamp;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};

use super::batch::Waiting;
use super::{Class, Message, Sink, SinkError, http};
use crate::cloud::broker::{Credentials, Reject};
use crate::cloud::lease::{Lease, Material};
use crate::cloud::uri;
use crate::feed::options::{Options, Retry};

/// Topics of a project.
pub struct PubSub {
    client: Client,
    credentials: Credentials,
    /// As `https://europe-west1-pubsub.googleapis.com`.
    endpoint: String,
    project: String,
    topics: BTreeSet<Arc<str>>,
    ordered: bool,
    retry: Retry,
    waiting: Waiting,
}

impl PubSub {
    /// The topics of a project, with a chain's tokens. `endpoint`: another one than Google's.
    pub fn new(
        uri: &uri::PubSub,
        topics: &[Arc<str>],
        options: &Options,
        credentials: Credentials,
        endpoint: Option<&str>,
        custom_ca: &str,
    ) -> Result<Self, SinkError> {
        if let Some(topic) = topics.iter().find(|topic| !is_name(topic)) {
            let text = format!("gcpubsub: {topic} cannot be the name of a topic");
            return Err(SinkError::new(Class::Terminal, &text).with_hint(NAMES));
        }
        let google = || match &uri.region {
            Some(region) => format!("https://{region}-pubsub.googleapis.com"),
            None => "https://pubsub.googleapis.com".to_owned(),
        };
        Ok(Self {
            client: http::client(None, custom_ca, REQUEST_TIME_MAX)?,
            credentials,
            endpoint: endpoint.map_or_else(google, str::to_owned),
            project: uri.project.clone(),
            topics: topics.iter().cloned().collect(),
            ordered: !options.unordered,
            retry: options.pubsub.retry,
            waiting: Waiting::new(options.pubsub.flush, MESSAGES_MAX, BYTES_MAX),
        })
    }

    async fn send(&mut self, all: bool) -> Result<(), SinkError> {
        for batch in self.waiting.due(all) {
            let mut rest = batch.as_slice();
            // One request is of one topic. Messages of others in between do not have its keys.
            while let Some(first) = rest.first() {
                let topic = Arc::clone(&first.topic);
                let length = rest.iter().take_while(|message| message.topic == topic).count();
                let messages = rest[..length].iter().map(|message| self.message(message)).collect();
                self.publish(&topic, messages).await?;
                rest = &rest[length..];
            }
        }
        Ok(())
    }

    fn message(&self, message: &Message) -> Value {
        let null = b"null".as_slice();
        let mut data = b"{\"key\":".to_vec();
        data.extend_from_slice(&message.key);
        data.extend_from_slice(b",\"value\":");
        data.extend_from_slice(message.value.as_deref().unwrap_or(null));
        data.extend_from_slice(b",\"topic\":");
        data.extend_from_slice(Value::from(&*message.topic).to_string().as_bytes());
        data.push(b'}');
        let mut sent = json!({ "data": STANDARD.encode(&data) });
        if self.ordered {
            sent["orderingKey"] = ordering_key(&message.key).into();
        }
        sent
    }

    async fn publish(&self, topic: &str, messages: Vec<Value>) -> Result<(), SinkError> {
        let body = bytes::Bytes::from(json!({ "messages": messages }).to_string());
        let path = format!("/v1/projects/{}/topics/{topic}", self.project);
        let (mut tries, mut made) = (0, false);
        loop {
            let wrong = match self.ask(Method::POST, &format!("{path}:publish"), body.clone()).await? {
                Ok(()) => return Ok(()),
                Err(Wrong { status: Some(StatusCode::NOT_FOUND), .. }) if !made => {
                    made = true;
                    self.make(&path).await?;
                    continue;
                }
                Err(wrong) => wrong,
            };
            tries += 1;
            match http::pause(&self.retry, tries) {
                Some(pause) if wrong.may_pass() => tokio::time::sleep(pause).await,
                _ => {
                    let text = format!("gcpubsub: topic {topic}: {}", wrong.text);
                    let error = SinkError::new(Class::Retryable, &text);
                    return Err(match wrong.status {
                        Some(StatusCode::FORBIDDEN) => error.with_hint(format!(
                            "give {} the role roles/pubsub.publisher on the topic",
                            self.credentials.chain().last()
                        )),
                        _ => error,
                    });
                }
            }
        }
    }

    async fn make(&self, path: &str) -> Result<(), SinkError> {
        match self.ask(Method::PUT, path, bytes::Bytes::from_static(b"{}")).await? {
            Ok(()) | Err(Wrong { status: Some(StatusCode::CONFLICT), .. }) => Ok(()),
            Err(wrong) => {
                let text = format!("Topic not found, and attempt to autocreate it failed.: {}", wrong.text);
                Err(SinkError::new(Class::Retryable, &text).with_hint(
                    "Create topics in advance or grant this service account the pubsub.editor role on your project.",
                ))
            }
        }
    }

    /// One request, with the token of now; with another one, if that was not taken.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: bytes::Bytes,
    ) -> Result<Result<(), Wrong>, SinkError> {
        let mut reissued = false;
        loop {
            let lease = self.lease().await?;
            let Material::Bearer(bearer) = &lease.material else {
                return Err(SinkError::new(
                    Class::Terminal,
                    "gcpubsub: the credentials are of another cloud",
                ));
            };
            let request = self
                .client
                .request(method.clone(), format!("{}{path}", self.endpoint))
                .bearer_auth(bearer.token.expose())
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
            let answer = match request.send().await {
                Ok(answer) => answer,
                Err(error) => return Ok(Err(Wrong { status: None, text: http::broken(error) })),
            };
            let status = answer.status();
            if status.is_success() {
                return Ok(Ok(()));
            }
            let text = format!("{}: {}", status.as_u16(), read(answer, bearer.token.expose()).await);
            match status {
                StatusCode::UNAUTHORIZED if !reissued => {
                    reissued = true;
                    self.credentials.rejected(lease.generation, Reject::Dead);
                }
                StatusCode::UNAUTHORIZED => {
                    return Err(SinkError::new(Class::Credential, &format!("gcpubsub: {text}")));
                }
                _ => {
                    if status == StatusCode::FORBIDDEN {
                        self.credentials.rejected(lease.generation, Reject::AccessDenied);
                    }
                    return Ok(Err(Wrong { status: Some(status), text }));
                }
            }
        }
    }

    async fn lease(&self) -> Result<Arc<Lease>, SinkError> {
        let least = self.credentials.current().and_then(|lease| {
            lease.deadline.map(|end| REQUEST_TTL_MIN.min(end.since(lease.obtained) / SHORT_LIFE_PART))
        });
        let lease = self.credentials.lease_within(least.unwrap_or_default(), LEASE_WAIT_MAX).await;
        lease.map_err(|error| {
            SinkError::new(Class::Credential, &error.to_string())
                .with_hint("SHOW CREDENTIALS lists the chains of each node, and what is wrong with them")
        })
    }
}

/// An answer that is no success, or none.
struct Wrong {
    status: Option<StatusCode>,
    text: String,
}

impl Wrong {
    /// Whether the same request may be done a moment later.
    fn may_pass(&self) -> bool {
        self.status.is_none_or(|status| {
            status.is_server_error()
                || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
        })
    }
}

#[async_trait]
impl Sink for PubSub {
    async fn begin(&mut self, _after: Timestamp) -> Result<(), SinkError> {
        self.waiting.clear();
        Ok(())
    }

    async fn emit(&mut self, messages: Vec<Message>) -> Result<(), SinkError> {
        self.waiting.add(messages);
        self.send(false).await
    }

    async fn flush(&mut self, _frontier: Timestamp) -> Result<(), SinkError> {
        self.send(true).await
    }

    async fn resolved(&mut self, _time: Timestamp, message: &[u8]) -> Result<(), SinkError> {
        let message = json!({ "data": STANDARD.encode(message) });
        for topic in &self.topics {
            self.publish(topic, vec![message.clone()]).await?;
        }
        Ok(())
    }

    fn linger(&self) -> Option<Duration> {
        self.waiting.linger()
    }
}

/// Whether Google takes it for a topic's name.
fn is_name(topic: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~+%".contains(&byte);
    NAME_BYTES.contains(&topic.len())
        && topic.as_bytes()[0].is_ascii_alphabetic()
        && !topic.starts_with("goog")
        && topic.bytes().all(is_part)
}

/// Google takes up to 1,024 bytes of a key; of a longer one the hash orders as well, with some others.
fn ordering_key(key: &[u8]) -> String {
    let text = String::from_utf8_lossy(key);
    if text.len() <= ORDERING_KEY_BYTES_MAX {
        return text.into_owned();
    }
    format!("{:08x}", crate::feed::encode::fnv1a(key))
}

/// What Google says, in one line, without the token.
async fn read(answer: Response, token: &str) -> String {
    let said = http::said(answer).await;
    let message = serde_json::from_str::<Value>(&said).ok().and_then(|said| {
        let error = &said["error"];
        Some(format!("{}: {}", error["status"].as_str()?, error["message"].as_str()?))
    });
    message.unwrap_or(said).replace(token, crate::secret::REDACTED)
}

/// As the original: 100 messages, 1e6 bytes.
const MESSAGES_MAX: usize = 100;
const BYTES_MAX: usize = 1_000_000;
/// Pub/Sub answers within a second.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);
const ORDERING_KEY_BYTES_MAX: usize = 1_024;
/// Google's own bounds.
const NAME_BYTES: std::ops::RangeInclusive<usize> = 3..=255;
const NAMES: &str = "Names of topics have 3 to 255 characters, begin with a letter, and not with goog. topic_name in the URI \
                     gives another name, the option full_table_name a longer one.";
/// As of requests to storage: how long a token is to be good yet, and of a short one which part of its life.
const REQUEST_TTL_MIN: Duration = Duration::from_secs(60);
const SHORT_LIFE_PART: u32 = 10;
/// Then it is said that there are none; the feed begins again and waits on.
const LEASE_WAIT_MAX: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_google_takes() {
        for good in ["abc", "shop.public.t", "a_u002f_b", &"x".repeat(255)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "t", "ab", "1st", "_u0021_x", "google", "a b c", &"x".repeat(256)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
