//! What one try of a request met: noted where it happens, between the client of HTTP and `object_store`, which tells only some
//! of it, and as text.
//!
//! A try runs in one task, so its notes are a task-local: the same client serves all requests of a place at once.

use std::error::Error as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use hyper::HeaderMap;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::cloud::broker::WaitError;
use crate::cloud::lease::Lease;

tokio::task_local! {
    /// The notes of the try that this task makes.
    static NOTES: Arc<Mutex<Notes>>;
}

/// What is known of a try that failed.
#[derive(Clone, Debug, Default)]
pub(super) struct Notes {
    /// Which lease signed it.
    pub lease: Option<Arc<Lease>>,
    /// There was none.
    pub no_lease: Option<WaitError>,
    /// What came back.
    pub answer: Option<Answer>,
    /// Nothing came back: why.
    pub network: Option<String>,
}

/// An answer that was no success, or the head of one that was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// Of HTTP.
    pub status: u16,
    /// As `AccessDenied`. Empty: it has none.
    pub code: String,
    /// What it says. Not filtered.
    pub message: String,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Where the bucket really is.
    pub region: Option<String>,
    /// The cloud's time less this node's, in seconds.
    pub ahead_seconds: Option<i64>,
}

/// Runs a try with notes of its own, and gives them back.
pub(super) async fn noted<T>(work: impl Future<Output = T>) -> (T, Notes) {
    let notes = Arc::new(Mutex::new(Notes::default()));
    let outcome = NOTES.scope(notes.clone(), work).await;
    let notes = notes.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (outcome, notes)
}

/// Adds to the notes of this task's try. Outside of one nobody wants to know.
pub(super) fn note(change: impl FnOnce(&mut Notes)) {
    let _ = NOTES.try_with(|notes| change(&mut notes.lock().unwrap_or_else(PoisonError::into_inner)));
}

/// Notes what goes through a client.
#[derive(Clone, Debug)]
pub(super) struct Noting(pub(super) reqwest::Client);

impl HttpConnector for Noting {
    /// The options are of the client already: `object_store` would make one that follows redirects.
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait]
impl HttpService for Noting {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        match self.0.call(request).await {
            Ok(response) if response.status().is_success() => {
                let answer =
                    Answer::of(response.status().as_u16(), response.headers(), b"", SystemTime::now());
                note(|notes| notes.answer = Some(answer));
                Ok(response)
            }
            Ok(response) => {
                let (parts, body) = response.into_parts();
                let body = beginning(body).await;
                let answer = Answer::of(parts.status.as_u16(), &parts.headers, &body, SystemTime::now());
                note(|notes| notes.answer = Some(answer));
                Ok(HttpResponse::from_parts(parts, body.into()))
            }
            Err(error) => {
                note(|notes| notes.network = Some(causes(&error)));
                Err(error)
            }
        }
    }
}

impl Answer {
    fn of(status: u16, headers: &HeaderMap, body: &[u8], now: SystemTime) -> Self {
        let text = String::from_utf8_lossy(body);
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let code = element(&text, "Code").filter(|code| is_code(code)).unwrap_or_default();
        let message = element(&text, "Message").unwrap_or_default();
        let region =
            header("x-amz-bucket-region").or_else(|| element(&text, "Region")).filter(|name| is_region(name));
        Self {
            status,
            code: code.to_owned(),
            message: message.chars().take(MESSAGE_CHARS_MAX).filter(|c| !c.is_control()).collect(),
            retry_after: header("retry-after")
                .and_then(|after| after.trim().parse().ok())
                .map(Duration::from_secs),
            region: region.map(str::to_owned),
            ahead_seconds: header("date").and_then(|date| ahead_seconds(date, now)),
        }
    }
}

/// The first bytes of an answer that is an error: its code stands there.
async fn beginning(body: HttpResponseBody) -> Bytes {
    let mut stream = body.bytes_stream();
    let mut all = BytesMut::new();
    while all.len() < ERROR_BYTES_MAX {
        match stream.next().await {
            Some(Ok(chunk)) => all.extend_from_slice(&chunk[..chunk.len().min(ERROR_BYTES_MAX - all.len())]),
            Some(Err(_)) | None => break,
        }
    }
    all.freeze()
}

/// The text of the first element of this name. For the flat documents that errors are.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let begin = text.find(&format!("<{name}>"))? + name.len() + 2;
    let length = text[begin..].find("</")?;
    Some(text[begin..begin + length].trim())
}

fn is_code(text: &str) -> bool {
    (1..=CODE_CHARS_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')
}

/// It goes into a host name.
fn is_region(text: &str) -> bool {
    (1..=CODE_CHARS_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// How far the clock of who answered is before ours.
fn ahead_seconds(date: &str, now: SystemTime) -> Option<i64> {
    let theirs = OffsetDateTime::parse(date, &Rfc2822).ok()?;
    Some((theirs - OffsetDateTime::from(now)).whole_seconds())
}

/// An error with what it says is behind it, without repetition.
fn causes(error: &HttpError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text.chars().take(MESSAGE_CHARS_MAX).collect()
}

/// The most of an answer that is looked into: those of S3 have 300 bytes.
const ERROR_BYTES_MAX: usize = 64 << 10;
/// What an operator reads of it.
const MESSAGE_CHARS_MAX: usize = 500;
/// The longest known one has 40.
const CODE_CHARS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_code_region_and_how_long_to_wait() {
        let mut headers = HeaderMap::new();
        let mut set = |name: &'static str, value: &'static str| {
            headers.insert(name, value.parse().expect("a field"));
        };
        set("retry-after", "7");
        set("x-amz-bucket-region", "eu-central-1");
        set("date", "Sun, 22 Nov 2026 12:00:00 GMT");
        let body =
            b"<?xml version=\"1.0\"?><Error><Code>PermanentRedirect</Code><Message>go\n on</Message></Error>";
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_348_800 - 3_600);
        let answer = Answer::of(301, &headers, body, now);
        let expected = Answer {
            status: 301,
            code: "PermanentRedirect".to_owned(),
            message: "go on".to_owned(),
            retry_after: Some(Duration::from_secs(7)),
            region: Some("eu-central-1".to_owned()),
            ahead_seconds: Some(3_600),
        };
        assert_eq!(answer, expected);
    }

    #[test]
    fn what_looks_wrong_is_not_taken() {
        let body = b"<Error><Code>a b<c/></Code><Message>m</Message><Region>evil.example/</Region></Error>";
        let answer = Answer::of(400, &HeaderMap::new(), body, SystemTime::UNIX_EPOCH);
        assert_eq!((answer.code.as_str(), answer.region), ("", None));
        let cut = Answer::of(500, &HeaderMap::new(), b"<Error><Code>Slow", SystemTime::UNIX_EPOCH);
        assert_eq!(cut.code, "");
    }
}
