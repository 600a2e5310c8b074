//! Messages by POST to a web server. Source of the body, the retries and the texts: cloud-jobs specification, A.11.
//!
//! One request is on its way at a time, so no two have the same key.

use std::time::Duration;

use async_trait::async_trait;
use grantd_catalog::id::Timestamp;
use percent_encoding::percent_decode_str;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, Url};

use super::batch::Waiting;
use super::{Class, Message, Sink, SinkError, http};
use crate::cloud::chain::Hashed;
use crate::cloud::uri;
use crate::feed::options::{Format, Options, Retry};

/// A web server.
pub struct Webhook {
    client: Client,
    url: Hashed,
    authorization: Option<HeaderValue>,
    format: Format,
    retry: Retry,
    waiting: Waiting,
}

impl Webhook {
    /// At this URI. `custom_ca`: whom the cluster trusts beside the system's.
    pub fn new(uri: &uri::Webhook, options: &Options, custom_ca: &str) -> Result<Self, SinkError> {
        let header = |header: &Hashed| {
            let mut value = HeaderValue::from_str(header.expose()).map_err(|_| {
                SinkError::new(
                    Class::Terminal,
                    "webhook_auth_header is no header: it has other than visible characters",
                )
            })?;
            value.set_sensitive(true);
            Ok::<_, SinkError>(value)
        };
        Ok(Self {
            client: http::client(Some(&uri.tls), custom_ca, options.webhook_timeout)?,
            url: uri.url.clone(),
            authorization: options.webhook_auth_header.as_ref().map(header).transpose()?,
            format: options.message.format,
            retry: options.webhook.retry,
            waiting: Waiting::new(options.webhook.flush, MESSAGES_MAX, BYTES_MAX),
        })
    }

    async fn send(&mut self, all: bool) -> Result<(), SinkError> {
        for batch in self.waiting.due(all) {
            let (body, content_type) = match self.format {
                // Parquet is of files, and was refused before.
                Format::Json | Format::Parquet => (payload(&batch), JSON),
                Format::Csv => (lines(&batch), CSV),
            };
            self.post(body, content_type).await?;
        }
        Ok(())
    }

    async fn post(&self, body: Vec<u8>, content_type: &'static str) -> Result<(), SinkError> {
        let body = bytes::Bytes::from(body);
        let mut tries = 0;
        loop {
            let mut request = self.client.post(self.url.expose()).header(CONTENT_TYPE, content_type);
            if let Some(authorization) = &self.authorization {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            let wrong = match request.body(body.clone()).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                Ok(answer) => {
                    let status = answer.status();
                    format!("{}: {}", status.as_u16(), self.without_secrets(&http::said(answer).await))
                }
                Err(error) => http::broken(error),
            };
            tries += 1;
            match http::pause(&self.retry, tries) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(SinkError::new(Class::Retryable, &format!("webhook: {wrong}"))),
            }
        }
    }

    /// A server may repeat what it was sent: the header, and of the URL what may let somebody in.
    fn without_secrets(&self, text: &str) -> String {
        let header = self.authorization.as_ref().and_then(|header| header.to_str().ok());
        let mut sent: Vec<String> =
            header.into_iter().flat_map(str::split_whitespace).map(str::to_owned).collect();
        if let Ok(url) = Url::parse(self.url.expose()) {
            sent.extend(url.path_segments().into_iter().flatten().map(str::to_owned));
            sent.extend(url.password().map(str::to_owned));
            let query = url.query().unwrap_or_default();
            sent.extend(query.split(['&', '=']).map(str::to_owned));
        }
        let decoded = |word: &String| percent_decode_str(word).decode_utf8_lossy().into_owned();
        sent.extend(sent.iter().map(decoded).collect::<Vec<_>>());
        sent.retain(|word| word.len() >= SECRET_CHARS_MIN);
        // Of two, one of which begins with the other, the whole of both goes.
        sent.sort_by_key(|word| std::cmp::Reverse(word.len()));
        sent.iter().fold(text.to_owned(), |text, word| text.replace(word, crate::secret::REDACTED))
    }
}

#[async_trait]
impl Sink for Webhook {
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
        self.post(message.to_vec(), JSON).await
    }

    fn linger(&self) -> Option<Duration> {
        self.waiting.linger()
    }
}

/// `{"payload":[…],"length":n}`.
fn payload(batch: &[Message]) -> Vec<u8> {
    let mut body = b"{\"payload\":[".to_vec();
    for (at, message) in batch.iter().enumerate() {
        if at > 0 {
            body.push(b',');
        }
        body.extend_from_slice(message.value.as_deref().unwrap_or(b"null"));
    }
    body.extend_from_slice(format!("],\"length\":{}}}", batch.len()).as_bytes());
    body
}

fn lines(batch: &[Message]) -> Vec<u8> {
    let mut body = Vec::new();
    for value in batch.iter().filter_map(|message| message.value.as_ref()) {
        body.extend_from_slice(value);
        body.push(b'\n');
    }
    body
}

const JSON: &str = "application/json";
const CSV: &str = "text/csv";
/// Where the options say nothing: what is there goes together, up to so many.
const MESSAGES_MAX: usize = 100;
/// Servers take a megabyte unless told otherwise.
const BYTES_MAX: usize = 1_000_000;
/// `Basic` is no secret, and no `api` or `v1`.
const SECRET_CHARS_MIN: usize = 8;

#[cfg(test)]
mod tests;
