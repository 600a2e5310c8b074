//! From a URI to the chain with which it is used: functional roles in front, names that the cloud's audit log shows, and a
//! policy that leaves the last session no more than the URI's place.
//!
//! Pure: a URI, what it is used for, for whom, and the cluster's settings in; a [`Chain`] out. What is not here: who may use the
//! URI (`uri::Access` says what that needs), and how a step is done (`aws`, `gcp`).
//!
//! All hops but the last are the same for everybody on a node, so that they are shared; the last carries who and what for.

mod name;
mod policy;

use std::time::Duration;

use grantd_catalog::refusal::Refusal;

pub use name::node_session;
use policy::Scope;

use crate::cloud::chain::{AssumeRole, Chain, Confine, Impersonate, Source, Step};
use crate::cloud::role::{self, AwsRole, ServiceAccount};
use crate::cloud::settings::{ChainSettings, Functional};
use crate::cloud::uri::{AwsAuth, AwsKms, GcpAuth, GcpKms, Gs, PubSub, S3, SaslMechanism, Uri};

/// What a URI is used for. Decides which functional roles come first, and what the last session may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// BACKUP and checks of connections, which write; RESTORE, which does not.
    Storage {
        /// Whether objects are written.
        write: bool,
    },
    /// CHANGEFEED.
    Changefeed,
    /// Keys of encrypted backups.
    Kms,
}

/// For whom.
#[derive(Clone, Copy, Debug)]
pub struct Who<'a> {
    /// The cluster's id, in hexadecimal digits.
    pub cluster: &'a str,
    /// This node's number.
    pub node: u64,
    /// The job or statement, as it is found again in the cluster.
    pub task: &'a str,
    /// The SQL user.
    pub user: &'a str,
}

/// How a URI is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// With which credentials.
    pub chain: Chain,
    /// What the user should know.
    pub notice: Option<&'static str>,
}

/// The chain for a URI. None: it needs no credentials of AWS or Google.
///
/// Refusals: a functional role of the settings that is none.
pub fn route(
    uri: &Uri,
    operation: Operation,
    who: &Who<'_>,
    settings: &ChainSettings,
) -> Result<Option<Route>, Refusal> {
    let aws = |auth, roles, scope| aws(auth, roles, scope, operation, who, settings);
    let gcp = |auth, roles, scope: &str| gcp(auth, roles, scope, operation, settings);
    match uri {
        Uri::S3(S3 { auth, roles, bucket, prefix, .. }) => {
            let scope = Scope::Objects { bucket, prefix, write: operation.writes() };
            aws(auth, roles, Some(scope)).map(Some)
        }
        Uri::AwsKms(AwsKms { auth, roles, key, region, .. }) => {
            aws(auth, roles, Some(Scope::Key { key, region })).map(Some)
        }
        Uri::Gs(Gs { auth, roles, bucket, prefix, .. }) => {
            let foreign = roles.is_empty() && *auth != GcpAuth::Implicit;
            if !settings.session_policy || foreign {
                return gcp(auth, roles, GCS_SCOPE).map(Some);
            }
            // What is confined has to have the widest scope; it is confined right after.
            let Route { chain, notice } = gcp(auth, roles, CLOUD_SCOPE)?;
            let confine =
                Confine { bucket: bucket.clone(), prefix: prefix.clone(), write: operation.writes() };
            Ok(Some(Route { chain: after(chain, Step::Confine(confine)), notice }))
        }
        Uri::GcpKms(GcpKms { auth, roles, .. }) => gcp(auth, roles, KMS_SCOPE).map(Some),
        Uri::PubSub(PubSub { auth, roles, .. }) => gcp(auth, roles, PUBSUB_SCOPE).map(Some),
        Uri::Kafka(kafka) => Ok(match kafka.sasl.as_ref().map(|sasl| &sasl.mechanism) {
            Some(SaslMechanism::MskIam { role, session_name, .. }) => {
                let ask = AssumeRole {
                    role: role.to_string(),
                    external_id: None,
                    session_name: name::session(session_name),
                    source_identity: settings.source_identity.then(|| name::source_identity(who.user)),
                    policy: None,
                    duration: settings.duration,
                };
                let chain = Chain::new(Source::AwsNode, [Step::AssumeRole(ask)]);
                Some(Route { chain, notice: None })
            }
            Some(_) | None => None,
        }),
        Uri::Azure(_) | Uri::Nodelocal(_) | Uri::Userfile(_) | Uri::Http(_) => Ok(None),
        Uri::External(_) | Uri::Webhook(_) | Uri::Null => Ok(None),
    }
}

/// What a way begins with, if that is what the node is in a cloud, and nothing that a URI brings.
pub fn own_source(uri: &Uri) -> Option<Source> {
    match uri {
        Uri::S3(S3 { auth: AwsAuth::Implicit, .. }) | Uri::AwsKms(AwsKms { auth: AwsAuth::Implicit, .. }) => {
            Some(Source::AwsNode)
        }
        Uri::Gs(Gs { auth: GcpAuth::Implicit, .. })
        | Uri::GcpKms(GcpKms { auth: GcpAuth::Implicit, .. })
        | Uri::PubSub(PubSub { auth: GcpAuth::Implicit, .. }) => Some(Source::GcpNode),
        _ => None,
    }
}

fn aws(
    auth: &AwsAuth,
    roles: &[AwsRole],
    scope: Option<Scope<'_>>,
    operation: Operation,
    who: &Who<'_>,
    settings: &ChainSettings,
) -> Result<Route, Refusal> {
    let source = match auth {
        AwsAuth::Implicit => Source::AwsNode,
        AwsAuth::Keys(keys) => Source::AwsKeys(keys.clone()),
    };
    let front = match auth {
        AwsAuth::Implicit => role::aws_chain(operation.functional(&settings.aws_functional))
            .map_err(|refusal| of_setting(refusal, "aws", operation))?,
        // Keys of a URI are somebody else's: the node's roles do not trust them.
        AwsAuth::Keys(_) => Vec::new(),
    };
    let named =
        roles.len() >= front.len() && front.iter().zip(roles).all(|(front, role)| front.arn == role.arn);
    let all: Vec<&AwsRole> = if named { roles.iter().collect() } else { front.iter().chain(roles).collect() };
    let Some((last, before)) = all.split_last() else {
        return Ok(Route { chain: Chain::new(source, []), notice: None });
    };
    let (policy, notice) = match scope.filter(|_| settings.session_policy) {
        None => (None, None),
        Some(scope) => match scope.policy(last.arn.as_str()) {
            Some(policy) => (Some(policy), None),
            None => (None, Some(POLICY_TOO_LONG)),
        },
    };
    let step = |role: &AwsRole, session_name: String| AssumeRole {
        role: role.arn.to_string(),
        external_id: role.external_id.clone(),
        session_name,
        source_identity: None,
        policy: None,
        duration: settings.duration,
    };
    let shared = before.iter().map(|role| Step::AssumeRole(step(role, node_session(who.cluster, who.node))));
    let own = AssumeRole {
        source_identity: settings.source_identity.then(|| name::source_identity(who.user)),
        policy,
        ..step(last, name::task_session(who))
    };
    Ok(Route { chain: Chain::new(source, shared.chain([Step::AssumeRole(own)])), notice })
}

fn gcp(
    auth: &GcpAuth,
    roles: &[ServiceAccount],
    scope: &str,
    operation: Operation,
    settings: &ChainSettings,
) -> Result<Route, Refusal> {
    let (source, front) = match auth {
        GcpAuth::Implicit => {
            let front = role::gcp_chain(operation.functional(&settings.gcp_functional))
                .map_err(|refusal| of_setting(refusal, "gcp", operation))?;
            (Source::GcpNode, front)
        }
        GcpAuth::Key(key) => (Source::GcpKey(key.clone()), Vec::new()),
        GcpAuth::Token(token) => (Source::GcpToken(token.clone()), Vec::new()),
    };
    let all: Vec<&ServiceAccount> =
        if roles.starts_with(&front) { roles.iter().collect() } else { front.iter().chain(roles).collect() };
    let further = all.split_last().map(|(target, delegates)| {
        Step::Impersonate(Impersonate {
            target: target.to_string(),
            delegates: delegates.iter().map(ToString::to_string).collect(),
            scopes: vec![scope.to_owned()],
            lifetime: settings.duration.min(TOKEN_MAX),
        })
    });
    Ok(Route { chain: Chain::new(source, further), notice: None })
}

/// The chain with one step more.
fn after(chain: Chain, step: Step) -> Chain {
    let mut steps = chain.steps().iter().cloned();
    match steps.next() {
        Some(Step::Source(source)) => Chain::new(source, steps.chain([step])),
        Some(_) | None => chain,
    }
}

fn of_setting(refusal: Refusal, cloud: &str, operation: Operation) -> Refusal {
    refusal.with_detail(format!(
        "it stands in the cluster setting `cloud.{cloud}.functional_role.{}`",
        operation.name()
    ))
}

impl Operation {
    fn functional(self, roles: &Functional) -> &str {
        match self {
            Self::Storage { .. } => &roles.storage,
            Self::Changefeed => &roles.changefeed,
            Self::Kms => &roles.kms,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Storage { .. } => "storage",
            Self::Changefeed => "changefeed",
            Self::Kms => "kms",
        }
    }

    fn writes(self) -> bool {
        match self {
            Self::Storage { write } => write,
            Self::Changefeed => true,
            Self::Kms => false,
        }
    }
}

const GCS_SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
const CLOUD_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const KMS_SCOPE: &str = "https://www.googleapis.com/auth/cloudkms";
const PUBSUB_SCOPE: &str = "https://www.googleapis.com/auth/pubsub";

/// The longest that Google gives a token without an exception of the organisation.
const TOKEN_MAX: Duration = Duration::from_secs(3_600);

const POLICY_TOO_LONG: &str = "the session is not confined to the bucket and prefix: the policy that would do it is longer \
                               than AWS takes; a shorter prefix makes it shorter";

#[cfg(test)]
mod tests;
