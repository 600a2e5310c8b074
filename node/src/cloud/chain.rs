//! Chains: the steps from what this node is to what may reach a bucket.
//!
//! A step is everything that decides what its lease may do, so that two chains that begin with equal steps share the leases of
//! these: J jobs with one functional role in front make one call for it. What is not here: how a step is done (`aws`, `gcp`),
//! and when (`refresher`).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use crate::secret::Secret;

/// The most roles that a URI may chain, functional ones not counted. Source: GCP takes four delegates and a target; nobody was
/// seen to chain more in AWS.
pub const ROLES_MAX: usize = 8;

/// From a source to what is used, each step with the credentials of the one before. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Chain {
    /// At least one; the first is a [`Step::Source`], and only the first.
    steps: Arc<[Step]>,
}

/// One step. Equal steps after equal steps give the same credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// What needs no other credentials.
    Source(Source),
    /// AWS STS AssumeRole.
    AssumeRole(AssumeRole),
    /// GCP `generateAccessToken`: one call, whatever the number of delegates.
    Impersonate(Impersonate),
    /// GCP: a token that is confined to one bucket and prefix (Credential Access Boundary).
    Confine(Confine),
}

/// Where a chain begins.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// `AUTH=implicit` of AWS: what this node is by its configuration and environment.
    AwsNode,
    /// `AUTH=specified` of AWS: keys that stand in the URI.
    AwsKeys(AwsKeys),
    /// `AUTH=implicit` of Google: what this node is by its configuration and environment.
    GcpNode,
    /// `CREDENTIALS` of Google: the key of a service account, as JSON.
    GcpKey(Hashed),
    /// `BEARER_TOKEN` of Google. Cannot be refreshed.
    GcpToken(Hashed),
}

/// Keys of AWS as a URI has them.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AwsKeys {
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Hashed,
    /// `AWS_SESSION_TOKEN`. With one they end, and cannot be refreshed.
    pub session_token: Option<Hashed>,
}

/// One assumption of a role.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct AssumeRole {
    /// The role.
    pub role: String,
    /// What the role's trust policy may ask for.
    pub external_id: Option<Hashed>,
    /// 2 to 64 of `[\w+=,.@-]`; names cluster, node and job in the cloud's audit log.
    pub session_name: String,
    /// The SQL user, if the cluster is set to say it; kept by AWS through all further steps.
    pub source_identity: Option<String>,
    /// A session policy: JSON of at most 2,048 bytes.
    pub policy: Option<String>,
    /// How long the credentials are asked for. AWS gives no more than an hour to a role that is assumed by a role.
    pub duration: Duration,
}

/// One impersonation of a service account.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Impersonate {
    /// The e-mail address of the account that is meant.
    pub target: String,
    /// Those in between, in the order of the URI.
    pub delegates: Vec<String>,
    /// OAuth scopes.
    pub scopes: Vec<String>,
    /// How long the token is asked for: at most an hour.
    pub lifetime: Duration,
}

/// What a token is confined to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Confine {
    /// The bucket.
    pub bucket: String,
    /// Names of objects begin so.
    pub prefix: String,
    /// Whether objects may be written, or only read and listed.
    pub write: bool,
}

/// A secret that can be compared and hashed, for the key of a map in this process's memory.
#[derive(Clone)]
pub struct Hashed {
    secret: Secret,
    digest: [u8; 32],
}

impl Hashed {
    /// Takes the secret over.
    pub fn new(secret: Secret) -> Self {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(secret.expose().as_bytes()).into();
        Self { secret, digest }
    }

    /// The text, for the one use that needs it.
    pub fn expose(&self) -> &str {
        self.secret.expose()
    }
}

impl PartialEq for Hashed {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for Hashed {}

impl Hash for Hashed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.secret.fmt(f)
    }
}

impl Chain {
    /// A chain of a source and what follows it.
    pub fn new(source: Source, further: impl IntoIterator<Item = Step>) -> Self {
        let steps: Vec<_> = std::iter::once(Step::Source(source)).chain(further).collect();
        debug_assert!(!steps[1..].iter().any(|step| matches!(step, Step::Source(_))), "one source");
        Self { steps: steps.into() }
    }

    /// Its steps, the source first.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The step that is used, after all others.
    pub fn last(&self) -> &Step {
        self.steps.last().expect("a chain has a source")
    }

    /// All but the last step. None: it is the source alone.
    pub fn parent(&self) -> Option<Self> {
        match &*self.steps {
            [] | [_] => None,
            [parent @ .., _] => Some(Self { steps: parent.into() }),
        }
    }

    /// Whether its last step is a role assumed by a role, of which AWS gives an hour at most. The node's own identity counts as
    /// a role: on every cloud machine it is one.
    pub fn is_chained(&self) -> bool {
        matches!(self.last(), Step::AssumeRole(_))
            && !matches!(
                &*self.steps,
                [Step::Source(Source::AwsKeys(AwsKeys { session_token: None, .. })), _]
            )
    }
}

/// As it is shown to operators: no secret, and external ids neither.
impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.steps.iter().enumerate() {
            if at > 0 {
                f.write_str(" → ")?;
            }
            write!(f, "{step}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({self})")
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(Source::AwsNode | Source::GcpNode) => f.write_str("this node"),
            Self::Source(Source::AwsKeys(_)) => f.write_str("keys in the URI"),
            Self::Source(Source::GcpKey(_)) => f.write_str("service account key in the URI"),
            Self::Source(Source::GcpToken(_)) => f.write_str("token in the URI"),
            Self::AssumeRole(AssumeRole { role, .. }) => f.write_str(role),
            Self::Impersonate(Impersonate { target, delegates, .. }) => {
                for delegate in delegates {
                    write!(f, "{delegate} → ")?;
                }
                f.write_str(target)
            }
            Self::Confine(Confine { bucket, prefix, .. }) => write!(f, "only {bucket}/{prefix}"),
        }
    }
}
