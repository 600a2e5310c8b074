//! The steps of AWS: what this node is there by itself, and one `AssumeRole` after another.
//!
//! Each step is one call or a few, bounded in time and made once: nothing is kept here but connections and how far the clocks
//! differ, because what is kept and when it is renewed is the refresher's alone. That is why the SDK's chains of providers are
//! not used (ADR 0020). `source` finds the node's identity (`environment`, `profile`, `process`, `metadata`), `sts`
//! calls STS, `failure` and `clock` are the pure parts: what an answer means, and how long it is good.

mod clock;
mod document;
mod environment;
mod failure;
mod metadata;
mod process;
mod profile;
mod source;
mod sts;

use std::time::Duration;

use async_trait::async_trait;

pub use environment::Environment;
use failure::{Proof, Trouble, advice};
use metadata::Local;
use source::{Sources, forever};
use sts::{Given, Sts};

use crate::cloud::chain::{AssumeRole, Chain, Source, Step};
use crate::cloud::lease::{AwsSession, Class, Fetch, FetchError, Fetched, Lease, Material};
use crate::cloud::redact;
use crate::cloud::settings::{AwsNodeSource, NodeSettings};
use crate::secret::Secret;

/// AWS as this node reaches it.
pub struct Aws {
    source: AwsNodeSource,
    /// What the operator said. None: the environment, else what fits the role.
    region: Option<String>,
    /// Why there is no way out at all, if there is none.
    closed: Option<&'static str>,
    implicit_closed: bool,
    environment: Environment,
    session_name: String,
    sts: Sts,
    local: Local,
}

impl Aws {
    /// AWS by the node's configuration and environment. `session_name`: for sessions that nothing else names.
    pub fn new(settings: &NodeSettings, environment: Environment, session_name: String) -> Self {
        Self {
            source: settings.aws_source,
            region: settings.aws_region.clone().or_else(|| environment.region()),
            closed: settings.outbound_disabled.then_some("external network access is disabled"),
            implicit_closed: settings.implicit_credentials_disabled,
            sts: Sts::new(settings.aws_sts_endpoint.clone().or_else(|| environment.sts_endpoint())),
            environment,
            session_name,
            local: Local::default(),
        }
    }

    /// The CAs that are trusted beside the system's (PEM, or empty), from the next call of STS on.
    pub fn trust(&self, custom_ca: &str) -> Result<(), FetchError> {
        self.sts.trust(custom_ca).map_err(|trouble| told(trouble.text.clone(), trouble))
    }

    /// By how many seconds AWS's clock is ahead of this node's, where it matters; else 0.
    pub fn clock_offset_s(&self) -> i64 {
        self.sts.clock().offset_s()
    }

    async fn step(&self, chain: &Chain, parent: Option<&Lease>) -> Result<Given, FetchError> {
        match chain.last() {
            Step::Source(Source::AwsNode) => self.source().await,
            Step::Source(Source::AwsKeys(keys)) => Ok(forever(AwsSession {
                access_key_id: keys.access_key_id.clone(),
                secret_access_key: Secret::new(keys.secret_access_key.expose().to_owned()),
                session_token: keys
                    .session_token
                    .as_ref()
                    .map(|token| Secret::new(token.expose().to_owned())),
                identity: None,
            })),
            Step::AssumeRole(ask) => self.assume(chain, ask, parent).await,
            Step::Source(Source::GcpNode | Source::GcpKey(_) | Source::GcpToken(_)) => Err(elsewhere()),
            Step::Impersonate(_) | Step::Confine(_) => Err(elsewhere()),
        }
    }

    async fn source(&self) -> Result<Given, FetchError> {
        if self.implicit_closed {
            return Err(plain(
                Class::Config,
                "this node's identity may not be used: `external_io_disable_implicit_credentials` is set",
            ));
        }
        let sources = Sources {
            environment: &self.environment,
            sts: &self.sts,
            local: &self.local,
            region: self.region.as_deref().unwrap_or(REGION),
            session_name: &self.session_name,
        };
        sources.identity(self.source).await.map_err(|mut trouble| {
            // What is before a source's own steps is the source too.
            if trouble.class == Class::ParentExpired {
                trouble.class = Class::SourceDead;
            }
            let advice = advice(trouble.code.as_deref(), &trouble.text);
            told(
                format!(
                    "this node's identity in AWS (`aws_source` = {}): {}{advice}",
                    name(self.source),
                    trouble.text
                ),
                trouble,
            )
        })
    }

    async fn assume(
        &self,
        chain: &Chain,
        ask: &AssumeRole,
        parent: Option<&Lease>,
    ) -> Result<Given, FetchError> {
        let Some(Lease { material: Material::Aws(keys), .. }) = parent else {
            return Err(plain(Class::Config, "a role of AWS is assumed with credentials of AWS"));
        };
        let hop = chain.steps().len() - 1;
        let region = self.region.as_deref().unwrap_or_else(|| region_of(&ask.role));
        let proof = if hop == 1 { Proof::Source } else { Proof::Session };
        // More is refused, not cut, by AWS; the caller's session is a role's unless its keys are a user's.
        let duration = if chain.is_chained() { ask.duration.min(CHAINED_MAX) } else { ask.duration };
        match self.sts.assume_role(region, keys, proof, ask, duration).await {
            Ok(given) => Ok(given),
            Err(trouble) => {
                let caller = self.caller(chain, keys, region, trouble.class).await;
                let advice = advice(trouble.code.as_deref(), &trouble.text);
                Err(told(format!("{}{advice}", refused(&caller, ask, &trouble)), trouble))
            }
        }
    }

    /// Who asked. AWS is asked for it only when a denial has to be explained and nobody said it before.
    async fn caller(&self, chain: &Chain, keys: &AwsSession, region: &str, class: Class) -> String {
        if let Some(identity) = &keys.identity {
            return identity.clone();
        }
        let by_chain = || chain.parent().map_or_else(String::new, |parent| parent.last().to_string());
        if class != Class::Denied {
            return by_chain();
        }
        match self.sts.identity(region, keys).await {
            Ok(arn) => format!("{} ({arn})", by_chain()),
            Err(_) => by_chain(),
        }
    }
}

#[async_trait]
impl Fetch for Aws {
    async fn fetch(&self, chain: &Chain, parent: Option<&Lease>) -> Result<Fetched, FetchError> {
        if let Some(closed) = self.closed {
            return Err(plain(Class::Config, closed));
        }
        let given =
            tokio::time::timeout(STEP_TIME_MAX, self.step(chain, parent)).await.unwrap_or_else(|_| {
                let text = format!("it took longer than {} s and was given up", STEP_TIME_MAX.as_secs());
                Err(plain(Class::Network, &text))
            })?;
        Ok(Fetched { material: Material::Aws(given.session), lifetime: given.lifetime, not_after: given.end })
    }
}

/// What is told about an assumption that failed: who, whom, what to look at, and what the cloud said. Which hop of how many it
/// was says the broker, which knows the whole chain.
fn refused(caller: &str, ask: &AssumeRole, trouble: &Trouble) -> String {
    let (role, said) = (&ask.role, &trouble.text);
    match trouble.class {
        Class::Denied => {
            let external_id = match &ask.external_id {
                Some(_) => ", or asks for another external id than the URI's",
                None => ", or asks for an external id, which the URI does not give",
            };
            let source_identity = match &ask.source_identity {
                Some(_) => ", or does not let it set a source identity (sts:SetSourceIdentity)",
                None => "",
            };
            format!(
                "{caller} may not assume {role}: the trust policy of {role} does not name \
                 {caller}{external_id}{source_identity}, or {caller} lacks sts:AssumeRole on {role}. {said}"
            )
        }
        Class::ParentExpired => {
            format!("the credentials of {caller} were over when they were to assume {role}. {said}")
        }
        Class::SourceDead => {
            format!("AWS does not know the keys of {caller}, which were to assume {role}. {said}")
        }
        Class::ClockSkew => format!(
            "the clocks of this node and of AWS differ too much for {caller} to assume {role}. {said}"
        ),
        Class::Throttled => format!("too many calls of STS for {caller} to assume {role}. {said}"),
        Class::Network | Class::Config | Class::AlreadyExpired => {
            format!("{caller} could not assume {role}. {said}")
        }
    }
}

fn told(text: String, trouble: Trouble) -> FetchError {
    FetchError {
        class: trouble.class,
        message: redact::text(&text),
        code: trouble.code,
        retry_after: trouble.retry_after,
    }
}

fn plain(class: Class, text: &str) -> FetchError {
    FetchError { class, message: text.to_owned(), code: None, retry_after: None }
}

fn elsewhere() -> FetchError {
    plain(Class::Config, "this is not a step of AWS")
}

/// A source as the configuration calls it.
fn name(source: AwsNodeSource) -> &'static str {
    match source {
        AwsNodeSource::Auto => "auto",
        AwsNodeSource::Environment => "environment",
        AwsNodeSource::Profile => "profile",
        AwsNodeSource::WebIdentity => "web-identity",
        AwsNodeSource::Container => "container",
        AwsNodeSource::Imds => "imds",
        AwsNodeSource::None => "none",
    }
}

/// The region whose STS answers for a role, where nobody said one: each partition of AWS has its own.
fn region_of(role: &str) -> &'static str {
    match role.split(':').nth(1) {
        Some("aws-cn") => "cn-north-1",
        Some("aws-us-gov") => "us-gov-west-1",
        _ => REGION,
    }
}

/// The region where none is said, of the partition that nearly everybody is in.
pub const REGION: &str = "us-east-1";

/// The longest that AWS gives to a role that is assumed by a role.
pub const CHAINED_MAX: Duration = Duration::from_secs(3_600);

/// For a whole step. Its calls have bounds of their own; a profile may have a program of a minute, and roles after it.
const STEP_TIME_MAX: Duration = Duration::from_secs(90);
