//! Calls of AWS STS: one try each, bounded in time. Nothing is kept between them but connections and the clock's offset.

use std::error::Error;
use std::future::Future;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use aws_sdk_sts::Client;
use aws_sdk_sts::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{
    BehaviorVersion, ConfigBag, Credentials, IdentityCache, Intercept, Region, RuntimeComponents,
    SharedHttpClient,
};
use aws_sdk_sts::error::{BoxError, ProvideErrorMetadata};
use aws_sdk_sts::types::{AssumedRoleUser, Credentials as Keys};
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;
use aws_types::sdk_config::TimeSource;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::cloud::aws::clock::{Clock, lifetime, moved};
use crate::cloud::aws::failure::{Proof, Trouble, class};
use crate::cloud::chain::AssumeRole;
use crate::cloud::lease::{AwsSession, Class};
use crate::secret::Secret;

/// STS as this node reaches it.
pub(super) struct Sts {
    /// Where it is, as a URL. None: the endpoint of the region.
    endpoint: Option<String>,
    /// Made anew when others are trusted.
    http: RwLock<SharedHttpClient>,
    clock: Clock,
}

/// What was given, and until when.
#[derive(Debug)]
pub(super) struct Given {
    /// The keys.
    pub session: AwsSession,
    /// Their end, as the cloud said it. None: they have none.
    pub end: Option<SystemTime>,
    /// How long they are good, from when they were asked for.
    pub lifetime: Option<Duration>,
}

/// What a token from a file is exchanged for.
pub(super) struct WebIdentity {
    /// The token.
    pub token: Secret,
    /// The role.
    pub role: String,
    /// The name of the session.
    pub session_name: String,
}

impl Sts {
    /// STS at this endpoint, or at that of the region.
    pub(super) fn new(endpoint: Option<String>) -> Self {
        let http = RwLock::new(http(is_plain(endpoint.as_deref()), TlsContext::default()));
        Self { http, endpoint, clock: Clock::default() }
    }

    /// Whom it trusts beside the system's authorities, as PEM, from the next call on. If that cannot be read all stays as it is.
    pub(super) fn trust(&self, custom_ca: &str) -> Result<(), Trouble> {
        let http = http(is_plain(self.endpoint.as_deref()), trusting(custom_ca)?);
        *self.http.write().unwrap_or_else(PoisonError::into_inner) = http;
        Ok(())
    }

    /// The cloud's time, as far as it is known.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Assumes the role with these keys.
    pub(super) async fn assume_role(
        &self,
        region: &str,
        keys: &AwsSession,
        proof: Proof,
        ask: &AssumeRole,
        duration: Duration,
    ) -> Result<Given, Trouble> {
        let (answer, date) = self
            .call(region, Some(keys), proof, |client, seen| {
                let request = client
                    .assume_role()
                    .role_arn(&ask.role)
                    .role_session_name(&ask.session_name)
                    .set_external_id(ask.external_id.as_ref().map(|id| id.expose().to_owned()))
                    .set_source_identity(ask.source_identity.clone())
                    .set_policy(ask.policy.clone())
                    .duration_seconds(i32::try_from(duration.as_secs()).unwrap_or(i32::MAX));
                async move { request.customize().interceptor(seen).send().await }
            })
            .await?;
        given(answer.credentials, answer.assumed_role_user, date, Some(duration))
    }

    /// Assumes the role with a token instead of keys.
    pub(super) async fn assume_role_with_web_identity(
        &self,
        region: &str,
        ask: &WebIdentity,
    ) -> Result<Given, Trouble> {
        let (answer, date) = self
            .call(region, None, Proof::Token, |client, seen| {
                let request = client
                    .assume_role_with_web_identity()
                    .role_arn(&ask.role)
                    .role_session_name(&ask.session_name)
                    .web_identity_token(ask.token.expose());
                async move { request.customize().interceptor(seen).send().await }
            })
            .await?;
        given(answer.credentials, answer.assumed_role_user, date, None)
    }

    /// Whose keys these are, as AWS says it. Needs no privilege.
    pub(super) async fn identity(&self, region: &str, keys: &AwsSession) -> Result<String, Trouble> {
        let (answer, _date) = self
            .call(region, Some(keys), Proof::Source, |client, seen| {
                let request = client.get_caller_identity();
                async move { request.customize().interceptor(seen).send().await }
            })
            .await?;
        answer.arn.ok_or_else(|| Trouble::new(Class::Network, "the answer has no Arn"))
    }

    /// Calls once, and a second time if the first showed by how much the clocks differ.
    async fn call<T, E, F, Sent>(
        &self,
        region: &str,
        keys: Option<&AwsSession>,
        proof: Proof,
        send: F,
    ) -> Result<(T, Option<SystemTime>), Trouble>
    where
        E: ProvideErrorMetadata + Error + 'static,
        F: Fn(Client, SeenDate) -> Sent,
        Sent: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let mut corrected = false;
        loop {
            let seen = SeenDate::default();
            let answer = send(self.client(region, keys), seen.clone()).await;
            let date = seen.0.get().copied();
            let answer = answer.map_err(|error| trouble(&error, proof));
            let refused = answer.as_ref().is_err_and(|trouble| trouble.class == Class::ClockSkew);
            if let Some(date) = date {
                self.clock.observe(date, SystemTime::now(), refused);
            }
            if refused && date.is_some() && !corrected {
                corrected = true;
                continue;
            }
            return answer.map(|answer| (answer, date));
        }
    }

    /// A client for one call: nothing of the keys outlives it.
    fn client(&self, region: &str, keys: Option<&AwsSession>) -> Client {
        let mut config = aws_sdk_sts::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(region.to_owned()))
            .http_client(self.http.read().unwrap_or_else(PoisonError::into_inner).clone())
            // The refresher decides when a call is made again; a second layer of retries would hide from it what happens.
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_timeout(CALL_TIMEOUT)
                    .build(),
            )
            .identity_cache(IdentityCache::no_cache())
            .disable_clock_skew_correction(true)
            .time_source(Moved { offset_s: self.clock.offset_s() });
        if let Some(keys) = keys {
            config = config.credentials_provider(Credentials::new(
                &keys.access_key_id,
                keys.secret_access_key.expose(),
                keys.session_token.as_ref().map(|token| token.expose().to_owned()),
                None,
                "grantd",
            ));
        }
        config.set_endpoint_url(self.endpoint.clone());
        Client::from_conf(config.build())
    }
}

fn is_plain(endpoint: Option<&str>) -> bool {
    endpoint.is_some_and(|url| url.starts_with("http://"))
}

/// TLS that trusts these beside the system's. They are read here first: the SDK panics on what it cannot read.
fn trusting(custom_ca: &str) -> Result<TlsContext, Trouble> {
    let wrong = |why: &str| Trouble::new(Class::Config, format!("`cloudstorage.http.custom_ca`: {why}"));
    if custom_ca.trim().is_empty() {
        return Ok(TlsContext::default());
    }
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(custom_ca.as_bytes()) {
        let certificate = certificate.map_err(|error| wrong(&error.to_string()))?;
        store.add(certificate).map_err(|error| wrong(&error.to_string()))?;
    }
    if store.is_empty() {
        return Err(wrong("it is a list of certificates in PEM, or empty"));
    }
    let store = TrustStore::default().with_pem_certificate(custom_ca);
    TlsContext::builder().with_trust_store(store).build().map_err(|error| wrong(&error.to_string()))
}

/// HTTP for the SDK: over TLS through the proxies of the environment, or plain and direct where the endpoint says `http`. It
/// follows no redirects. Built when first used, because it reads the system's certificates.
fn http(plain: bool, tls: TlsContext) -> SharedHttpClient {
    let connector = Arc::new(OnceLock::<SharedHttpConnector>::new());
    http_client_fn(move |_, _| {
        let build = || {
            let settings = HttpConnectorSettings::builder().connect_timeout(CONNECT_TIMEOUT).build();
            let builder = Connector::builder().connector_settings(settings);
            if plain {
                return SharedHttpConnector::new(builder.build_http());
            }
            let builder = builder.proxy_config(ProxyConfig::from_env());
            let builder = builder.tls_provider(Provider::Rustls(CryptoMode::Ring)).tls_context(tls.clone());
            SharedHttpConnector::new(builder.build())
        };
        connector.get_or_init(build).clone()
    })
}

fn given(
    keys: Option<Keys>,
    user: Option<AssumedRoleUser>,
    date: Option<SystemTime>,
    asked: Option<Duration>,
) -> Result<Given, Trouble> {
    let keys = keys.ok_or_else(|| Trouble::new(Class::Network, "the answer has no credentials"))?;
    let end = SystemTime::try_from(keys.expiration)
        .map_err(|_| Trouble::new(Class::Network, "the answer's Expiration is out of range"))?;
    Ok(Given {
        session: AwsSession {
            access_key_id: keys.access_key_id,
            secret_access_key: Secret::new(keys.secret_access_key),
            session_token: Some(Secret::new(keys.session_token)),
            identity: user.map(|user| user.arn),
        },
        end: Some(end),
        lifetime: Some(lifetime(end, date, SystemTime::now(), asked)),
    })
}

/// The `Date` of the answer, of successes too, which the SDK does not hand out otherwise.
#[derive(Clone, Debug, Default)]
struct SeenDate(Arc<OnceLock<SystemTime>>);

impl Intercept for SeenDate {
    fn name(&self) -> &'static str {
        "SeenDate"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date").and_then(http_date) {
            // One answer to one call: it is empty.
            let _first = self.0.set(date);
        }
        Ok(())
    }
}

/// A time as HTTP writes it. None: it is none.
pub(super) fn http_date(text: &str) -> Option<SystemTime> {
    SystemTime::try_from(DateTime::from_str(text, Format::HttpDate).ok()?).ok()
}

/// This node's clock, corrected.
#[derive(Debug)]
struct Moved {
    offset_s: i64,
}

impl TimeSource for Moved {
    fn now(&self) -> SystemTime {
        moved(SystemTime::now(), self.offset_s)
    }
}

fn trouble<E: ProvideErrorMetadata + Error + 'static>(
    error: &SdkError<E, HttpResponse>,
    proof: Proof,
) -> Trouble {
    let answer = error.raw_response();
    let status = answer.map(|answer| answer.status().as_u16());
    let retry_after = answer
        .and_then(|answer| answer.headers().get("retry-after")?.trim().parse().ok())
        .map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
    let (code, text) = match error {
        SdkError::ServiceError(answer) => {
            let (code, said) = (answer.err().code(), answer.err().message().unwrap_or_default());
            let text = match (code, status) {
                (Some(code), _) => format!("AWS says {code}: {said}"),
                (None, Some(status)) => format!("STS answered with HTTP {status} and no code"),
                (None, None) => "STS refused without a code".to_owned(),
            };
            (code.map(str::to_owned), text)
        }
        SdkError::TimeoutError(_) => {
            (None, format!("STS did not answer within {} s", CALL_TIMEOUT.as_secs()))
        }
        SdkError::DispatchFailure(_) => (None, format!("STS was not reached: {}", causes(error))),
        SdkError::ResponseError(_) => (None, format!("STS's answer cannot be read: {}", causes(error))),
        _ => (None, format!("the request cannot be made: {}", causes(error))),
    };
    let class = match error {
        SdkError::ServiceError(answer) => {
            class(code.as_deref(), status, answer.err().message().unwrap_or_default(), proof)
        }
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            Class::Network
        }
        _ => Class::Config,
    };
    Trouble { class, code, text, retry_after }
}

/// What an error says, and what those below it say, once each.
pub(super) fn causes(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next.filter(|_| texts.len() < CAUSES_MAX) {
        let text = cause.to_string();
        if !texts.iter().any(|before| before.contains(&text)) {
            texts.push(text);
        }
        next = cause.source();
    }
    if texts.is_empty() { error.to_string() } else { texts.join(": ") }
}

/// For a connection to STS. A healthy one takes a tenth of a second around the world.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// For a whole call, connection included. STS answers in well under a second; the refresher asks again.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// No server makes us wait longer than this; the refresher's own waits end at five minutes too.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// The most causes of an error that are told: what is deeper is of libraries.
const CAUSES_MAX: usize = 6;
