//! What a step of a chain gives: credentials with an end, or a reason why there are none.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
pub use grantd_raft::lease::Moment;

use crate::cloud::chain::Chain;
use crate::secret::Secret;

/// Credentials in use. Shared behind an `Arc`, replaced as a whole.
#[derive(Debug)]
pub struct Lease {
    /// What is sent.
    pub material: Material,
    /// When it was asked for, by the broker's clock: its life counts from here.
    pub obtained: Moment,
    /// Until when it is good, by the broker's clock, which goes on while the machine sleeps (`Instant` does not). None: it has
    /// no end.
    pub deadline: Option<Moment>,
    /// The same as the cloud said it, to be shown.
    pub not_after: Option<SystemTime>,
    /// 1 for the first of its chain, then 2, and so on.
    pub generation: u64,
}

/// What proves to a cloud who asks.
#[derive(Clone, Debug)]
pub enum Material {
    /// For signing (SigV4).
    Aws(AwsSession),
    /// For an `Authorization` header.
    Bearer(Bearer),
}

/// Keys of AWS. Not secret: the id of the access key. It is not shown all the same.
#[derive(Clone)]
pub struct AwsSession {
    /// Which key.
    pub access_key_id: String,
    /// The key.
    pub secret_access_key: Secret,
    /// Which session it belongs to. None: a user's own keys.
    pub session_token: Option<Secret>,
    /// Who AWS says this is: `arn:aws:sts::…:assumed-role/role/session`. None: it did not say.
    pub identity: Option<String>,
}

/// A token of Google's.
#[derive(Clone)]
pub struct Bearer {
    /// The token.
    pub token: Secret,
    /// Whose it is. None: not known.
    pub account: Option<String>,
}

impl fmt::Debug for AwsSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsSession").field("identity", &self.identity).finish_non_exhaustive()
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").field("account", &self.account).finish_non_exhaustive()
    }
}

/// What a step gave.
#[derive(Debug)]
pub struct Fetched {
    /// The credentials.
    pub material: Material,
    /// How long they are good, from the moment that they were asked for: the end that the cloud said, less the cloud's own time
    /// (the `Date` of its answer). None: they have no end. Zero: they were over when they came.
    pub lifetime: Option<Duration>,
    /// The end as the cloud said it.
    pub not_after: Option<SystemTime>,
}

/// Why a step gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct FetchError {
    /// What is to be done about it.
    pub class: Class,
    /// In words, with the step, who asked and for what; no secret, filtered (`uri::redact`).
    pub message: String,
    /// The code of the cloud, as `AccessDenied`.
    pub code: Option<String>,
    /// Not before then again, as the cloud said.
    pub retry_after: Option<Duration>,
}

/// Kinds of failures, by what helps. Source: cloud-jobs specification, B.6, F.8.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Nobody was reached, or the service is in trouble: DNS, connect, time-out, 5xx.
    Network,
    /// Too many calls.
    Throttled,
    /// The one may not assume the other; or may not yet, right after a grant.
    Denied,
    /// The identity that the chain begins with is not there or not valid.
    SourceDead,
    /// The credentials of the step before were over.
    ParentExpired,
    /// The clocks of the node and the cloud differ too much.
    ClockSkew,
    /// It cannot work before somebody changes something.
    Config,
    /// What came was over when it came.
    AlreadyExpired,
}

/// Does the last step of a chain. The seam between when (`refresher`, `broker`) and how (`aws`, `gcp`).
#[async_trait]
pub trait Fetch: Send + Sync + 'static {
    /// Does it, with the lease of the chain's parent; None for a source. Bounded in time by the implementation.
    async fn fetch(&self, chain: &Chain, parent: Option<&Lease>) -> Result<Fetched, FetchError>;
}
