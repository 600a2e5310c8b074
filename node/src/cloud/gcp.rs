//! Google's steps of a chain: where a token comes from (`source`), whom it becomes (`impersonate`), to what it is confined
//! (`confine`).
//!
//! Each step is one request, or a few; when it is done is not decided here (`refresher`). Tokens of keys and of the metadata
//! server come from `gcp_auth`. The rest, and the question why it gave none, is written out on `reqwest` (`web`): what helps
//! against a failure depends on its status, its `Date` and its `Retry-After`, which the libraries for this keep to
//! themselves. What was sent and is secret is taken out of whatever the answer says.

mod confine;
mod impersonate;
mod source;
mod web;

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;

use crate::cloud::chain::{Chain, Impersonate, Source, Step};
use crate::cloud::gcp::web::Web;
use crate::cloud::lease::{Bearer, Class, Fetch, FetchError, Fetched, Lease, Material};
use crate::cloud::settings::NodeSettings;
use crate::secret::Secret;

/// How long a step may take with all its requests. An identity of three requests, each at its own limit, is within it.
pub const STEP_TIME_MAX: Duration = Duration::from_secs(30);
/// What tokens are asked for that only serve to ask for others, and those of a node.
pub const SCOPE_CLOUD: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Does Google's steps.
pub struct Gcp {
    settings: NodeSettings,
    environment: Environment,
    iam: String,
    sts: String,
    web: Web,
}

/// What the environment of the process says about Google.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `GOOGLE_APPLICATION_CREDENTIALS`: a file with credentials.
    pub credentials: Option<PathBuf>,
    /// `GCE_METADATA_HOST`: where the metadata server is.
    pub metadata_host: Option<String>,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        let set = |name| env::var_os(name).filter(|value| !value.is_empty());
        Self {
            credentials: set("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from),
            metadata_host: set("GCE_METADATA_HOST").and_then(|host| host.into_string().ok()),
        }
    }
}

impl Gcp {
    /// For a node with these settings, which trusts the system's CAs and those of `custom_ca` (PEM, or empty).
    pub fn new(
        settings: NodeSettings,
        environment: Environment,
        custom_ca: &str,
    ) -> Result<Self, FetchError> {
        let endpoint = |set: &Option<String>, google: &str| {
            set.as_deref().unwrap_or(google).trim_end_matches('/').to_owned()
        };
        let iam = endpoint(&settings.gcp_iam_endpoint, "https://iamcredentials.googleapis.com");
        let sts = endpoint(&settings.gcp_sts_endpoint, "https://sts.googleapis.com");
        Ok(Self { settings, environment, iam, sts, web: Web::new(custom_ca)? })
    }

    /// The CAs that are trusted beside the system's, from the next request on.
    pub fn trust(&self, custom_ca: &str) -> Result<(), FetchError> {
        self.web.trust(custom_ca)
    }

    async fn step(&self, chain: &Chain, parent: Option<&Lease>) -> Result<Fetched, FetchError> {
        match chain.last() {
            Step::Source(Source::GcpNode) => self.node().await,
            Step::Source(Source::GcpKey(key)) => self.key_of_uri(key.expose()).await,
            Step::Source(Source::GcpToken(token)) => Ok(Fetched {
                material: bearer(Secret::new(token.expose().to_owned()), None),
                lifetime: None,
                not_after: None,
            }),
            Step::Impersonate(step) => self.impersonate(chain, step, bearer_of(chain, parent)?).await,
            Step::Confine(step) => {
                let (token, lease) = (bearer_of(chain, parent)?, parent);
                let confined = confine::fetch(&self.web, &self.sts, step, token, lease).await;
                confined.map_err(|error| ended(chain, error))
            }
            Step::Source(Source::AwsNode | Source::AwsKeys(_)) | Step::AssumeRole(_) => Err(misplaced(chain)),
        }
    }

    async fn impersonate(
        &self,
        chain: &Chain,
        step: &Impersonate,
        parent: &Bearer,
    ) -> Result<Fetched, FetchError> {
        let done = impersonate::fetch(&self.web, &self.iam, chain, step, parent).await;
        done.map_err(|error| ended(chain, error))
    }
}

#[async_trait]
impl Fetch for Gcp {
    async fn fetch(&self, chain: &Chain, parent: Option<&Lease>) -> Result<Fetched, FetchError> {
        if self.settings.outbound_disabled {
            return Err(refusal(
                Class::Config,
                "external network access is disabled on this node (`external_io_disable_outbound`)",
            ));
        }
        match tokio::time::timeout(STEP_TIME_MAX, self.step(chain, parent)).await {
            Ok(done) => done,
            Err(_) => {
                let message = format!("{chain}: no token within {} s", STEP_TIME_MAX.as_secs());
                Err(refusal(Class::Network, message))
            }
        }
    }
}

/// A failure that no answer is behind.
fn refusal(class: Class, message: impl Into<String>) -> FetchError {
    FetchError { class, message: message.into(), code: None, retry_after: None }
}

fn bearer(token: Secret, account: Option<String>) -> Material {
    Material::Bearer(Bearer { token, account })
}

/// The same, of this account.
fn owned(mut fetched: Fetched, account: Option<String>) -> Fetched {
    if let Material::Bearer(bearer) = &mut fetched.material {
        bearer.account = account;
    }
    fetched
}

/// The token of the step before.
fn bearer_of<'a>(chain: &Chain, parent: Option<&'a Lease>) -> Result<&'a Bearer, FetchError> {
    match parent.map(|lease| &lease.material) {
        Some(Material::Bearer(bearer)) => Ok(bearer),
        Some(Material::Aws(_)) | None => Err(misplaced(chain)),
    }
}

fn misplaced(chain: &Chain) -> FetchError {
    refusal(Class::Config, format!("{chain}: a step of Google's needs a token of Google's before it"))
}

/// A token of a URI that is over cannot be had again: it is not the step before that helps, but whoever wrote the URI.
fn ended(chain: &Chain, mut error: FetchError) -> FetchError {
    let before = chain.parent();
    let token = matches!(before.as_ref().map(Chain::last), Some(Step::Source(Source::GcpToken(_))));
    if error.class == Class::ParentExpired && token {
        error.class = Class::SourceDead;
        error.message.push_str("; a BEARER_TOKEN cannot be refreshed: use AUTH=implicit or CREDENTIALS");
    }
    error
}
