//! Requests to Google and what their answers mean.
//!
//! Two clients: one for what is outside, through the proxies of the environment; one for the metadata server, which is on the
//! machine's own network and never behind a proxy. Neither follows redirects: what is sent is for who was asked.

use std::error::Error;
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, RETRY_AFTER};
use reqwest::{Certificate, Client, ClientBuilder, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::PrimitiveDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;
use zeroize::Zeroizing;

use crate::cloud::gcp::refusal;
use crate::cloud::lease::{Class, FetchError};
use crate::cloud::redact;
use crate::secret::{REDACTED, Secret};

/// How long a connection may take. Google's front ends are near everywhere.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// How long a request may take, with its connection and its answer. IAM Credentials answers within a second.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// The most bytes of an answer: tokens have up to 12 KiB.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Idle connections that are kept to one host: a node asks for a few tokens an hour, at most so many at once.
const IDLE_MAX: usize = 4;
/// How long an idle connection is kept. Google closes them after four minutes.
const IDLE_TIME_MAX: Duration = Duration::from_secs(90);
/// The most characters of an answer that an error repeats.
const SAID_CHARS_MAX: usize = 400;
/// The longest wait that an answer may ask for; who says more has a clock that is wrong.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// How a `Date` is written.
const HTTP_DATE: &[BorrowedFormatItem<'_>] =
    format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
/// What stands as it is in a form.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The two clients.
pub(super) struct Web {
    outside: RwLock<Client>,
    local: Client,
}

/// Who is asked. The same status means different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// IAM Credentials.
    Iam,
    /// An endpoint that gives tokens for keys, refresh tokens and tokens of others.
    Token,
    /// The exchange for a confined token.
    Exchange,
    /// The metadata server.
    Metadata,
}

/// An answer, whole.
pub(super) struct Reply {
    service: Service,
    pub(super) status: StatusCode,
    /// The time at the cloud, in whole seconds.
    pub(super) date: Option<SystemTime>,
    pub(super) headers: HeaderMap,
    pub(super) body: Zeroizing<Vec<u8>>,
}

/// An error as Google says it, in one of two forms.
#[derive(Default, Deserialize)]
struct Said {
    error: Option<SaidError>,
    error_description: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum SaidError {
    /// OAuth.
    Code(String),
    /// All others.
    Status(SaidStatus),
}

#[derive(Deserialize)]
struct SaidStatus {
    status: Option<String>,
    message: Option<String>,
    #[serde(default)]
    details: Vec<SaidDetail>,
}

#[derive(Deserialize)]
struct SaidDetail {
    reason: Option<String>,
}

impl Web {
    pub(super) fn new(custom_ca: &str) -> Result<Self, FetchError> {
        // reqwest takes the process's own; whoever was first to say which said the same. One backend: ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let local = builder().no_proxy().build().map_err(|error| unbuilt(&error))?;
        Ok(Self { outside: RwLock::new(outside(custom_ca)?), local })
    }

    pub(super) fn trust(&self, custom_ca: &str) -> Result<(), FetchError> {
        let client = outside(custom_ca)?;
        *self.outside.write().unwrap_or_else(PoisonError::into_inner) = client;
        Ok(())
    }

    fn outside(&self) -> Client {
        self.outside.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// GET of the metadata server.
    pub(super) async fn metadata(&self, url: &str) -> Result<Reply, FetchError> {
        send(Service::Metadata, url, self.local.get(url).header("metadata-flavor", "Google")).await
    }

    /// GET of a token that somebody else serves, with the headers that the operator wrote.
    pub(super) async fn get(&self, url: &str, headers: &HeaderMap) -> Result<Reply, FetchError> {
        send(Service::Token, url, self.outside().get(url).headers(headers.clone())).await
    }

    /// POST of a form.
    pub(super) async fn form(
        &self,
        service: Service,
        url: &str,
        fields: &[(&str, &str)],
    ) -> Result<Reply, FetchError> {
        let field = |(name, value): &(&str, &str)| format!("{name}={}", utf8_percent_encode(value, FORM));
        let body = fields.iter().map(field).collect::<Vec<_>>().join("&");
        let request = self.outside().post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        send(service, url, request.body(body)).await
    }

    /// POST of JSON in somebody's name.
    pub(super) async fn json(
        &self,
        service: Service,
        url: &str,
        token: &Secret,
        body: String,
    ) -> Result<Reply, FetchError> {
        let request = self.outside().post(url).bearer_auth(token.expose());
        send(service, url, request.header(CONTENT_TYPE, "application/json").body(body)).await
    }
}

impl Reply {
    /// What it says, or what its status means. `sent` is what must not come back in an error.
    pub(super) fn read<T: DeserializeOwned>(&self, what: &str, sent: &[&str]) -> Result<T, FetchError> {
        if !self.status.is_success() {
            return Err(self.refused(what, sent));
        }
        // The error of the parser may repeat the token.
        serde_json::from_slice(&self.body)
            .map_err(|_| refusal(Class::Network, format!("{what}: the answer is not one of Google's")))
    }

    /// What a status that is no success means.
    pub(super) fn refused(&self, what: &str, sent: &[&str]) -> FetchError {
        let said: Said = serde_json::from_slice(&self.body).unwrap_or_default();
        let (code, text, reason) = match said.error {
            Some(SaidError::Code(code)) => (Some(code), said.error_description, None),
            Some(SaidError::Status(SaidStatus { status, message, details })) => {
                (status, message, details.into_iter().find_map(|detail| detail.reason))
            }
            None => (None, None, None),
        };
        let code = code.map(|code| clean(&code, sent));
        let text = text.map(|text| clean(&text, sent));
        let class = self.class(code.as_deref(), text.as_deref(), reason.as_deref());
        let mut message = format!("{what}: status {}", self.status.as_u16());
        for said in [&code, &text].into_iter().flatten() {
            message.push_str(": ");
            message.push_str(said);
        }
        FetchError { class, message, code, retry_after: self.retry_after() }
    }

    fn class(&self, code: Option<&str>, text: Option<&str>, reason: Option<&str>) -> Class {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => return Class::Throttled,
            StatusCode::REQUEST_TIMEOUT => return Class::Network,
            status if status.is_server_error() => return Class::Network,
            _ => {}
        }
        let skewed = text.is_some_and(|text| text.contains("reasonable timeframe"));
        let dead = matches!(code, Some("invalid_grant" | "invalid_client" | "unauthorized_client"));
        match (self.service, self.status) {
            (Service::Iam, StatusCode::UNAUTHORIZED) => Class::ParentExpired,
            (Service::Iam, StatusCode::FORBIDDEN) if reason != Some("SERVICE_DISABLED") => Class::Denied,
            (Service::Token, _) if skewed => Class::ClockSkew,
            (Service::Token, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Class::SourceDead,
            (Service::Token, _) if dead => Class::SourceDead,
            (Service::Exchange, StatusCode::UNAUTHORIZED) => Class::ParentExpired,
            (Service::Exchange, _) if dead => Class::ParentExpired,
            (Service::Exchange, StatusCode::FORBIDDEN) => Class::Denied,
            (Service::Metadata, StatusCode::NOT_FOUND) => Class::SourceDead,
            (Service::Iam | Service::Token | Service::Exchange | Service::Metadata, _) => Class::Config,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        let said = self.headers.get(RETRY_AFTER)?.to_str().ok()?;
        let wait = match said.trim().parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => http_date(said)?.duration_since(self.date?).ok()?,
        };
        Some(wait.min(RETRY_AFTER_MAX))
    }
}

/// A text of an answer, fit for an error: without what was sent and what looks like a secret, on one line, and not endless.
pub(super) fn clean(text: &str, sent: &[&str]) -> String {
    let mut text = text.to_owned();
    for secret in sent.iter().filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, REDACTED);
    }
    redact::text(&text)
        .chars()
        .map(|char| if char.is_control() { ' ' } else { char })
        .take(SAID_CHARS_MAX)
        .collect()
}

async fn send(service: Service, url: &str, request: RequestBuilder) -> Result<Reply, FetchError> {
    let mut response = request.send().await.map_err(|error| unreached(url, error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let date = headers.get(DATE).and_then(|date| http_date(date.to_str().ok()?));
    let mut body = Zeroizing::new(Vec::new());
    while let Some(bytes) = response.chunk().await.map_err(|error| unreached(url, error))? {
        if body.len() + bytes.len() > ANSWER_BYTES_MAX {
            let message = format!("{url}: an answer of more than {ANSWER_BYTES_MAX} bytes");
            return Err(refusal(Class::Network, message));
        }
        body.extend_from_slice(&bytes);
    }
    Ok(Reply { service, status, date, headers, body })
}

fn http_date(text: &str) -> Option<SystemTime> {
    PrimitiveDateTime::parse(text.trim(), HTTP_DATE).ok().map(|date| date.assume_utc().into())
}

fn builder() -> ClientBuilder {
    Client::builder()
        .connect_timeout(CONNECT_TIME_MAX)
        .timeout(REQUEST_TIME_MAX)
        .pool_max_idle_per_host(IDLE_MAX)
        .pool_idle_timeout(IDLE_TIME_MAX)
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("grantd/", env!("CARGO_PKG_VERSION")))
}

fn outside(custom_ca: &str) -> Result<Client, FetchError> {
    let mut builder = builder();
    if !custom_ca.trim().is_empty() {
        let certificates =
            Certificate::from_pem_bundle(custom_ca.as_bytes()).map_err(|error| unbuilt(&error))?;
        if certificates.is_empty() {
            let text = "`cloudstorage.http.custom_ca` has no certificate: it is a list of certificates in PEM, or empty";
            return Err(refusal(Class::Config, text));
        }
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| unbuilt(&error))
}

fn unbuilt(error: &reqwest::Error) -> FetchError {
    let message = format!(
        "no TLS to Google with the system's CAs and `cloudstorage.http.custom_ca`: {}",
        causes(error)
    );
    refusal(Class::Config, message)
}

/// Nobody was reached, or the connection broke.
fn unreached(url: &str, error: reqwest::Error) -> FetchError {
    refusal(Class::Network, format!("{url}: {}", causes(&error.without_url())))
}

pub(super) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
