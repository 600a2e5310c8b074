//! `generateAccessToken`: one call makes a token of one account into a token of another, over delegates.
//!
//! If one of the accounts on the way may not become the next, the answer is one 403 that does not say which. Then each prefix
//! of the way is tried by itself, and the first that fails is named, with who must be granted what on whom.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cloud::chain::{Chain, Impersonate};
use crate::cloud::gcp::web::{Service, Web};
use crate::cloud::gcp::{bearer, owned, refusal};
use crate::cloud::lease::{Bearer, Class, FetchError, Fetched};
use crate::secret::Secret;

/// The longest life of a token. Google gives more only where an organization's policy names the account.
pub(super) const LIFETIME_MAX: Duration = Duration::from_secs(3_600);
/// How long a token is asked for that only shows that it can be had.
const PROBE_LIFETIME: Duration = Duration::from_secs(60);
/// How long it may take to find out who may not become whom. After that, all of the way is named.
const PROBE_TIME_MAX: Duration = Duration::from_secs(10);
/// A `Date` has whole seconds: at the cloud it may have been up to so much later.
const DATE_GRAIN: Duration = Duration::from_secs(1);

/// What is asked for.
pub(super) struct Wanted<'a> {
    /// The whole URL of the call.
    pub(super) url: &'a str,
    pub(super) delegates: &'a [String],
    pub(super) scopes: &'a [String],
    pub(super) lifetime: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Generated {
    access_token: String,
    expire_time: String,
}

/// The step of a chain.
pub(super) async fn fetch(
    web: &Web,
    iam: &str,
    chain: &Chain,
    step: &Impersonate,
    parent: &Bearer,
) -> Result<Fetched, FetchError> {
    let url = url(iam, &step.target);
    let wanted =
        Wanted { url: &url, delegates: &step.delegates, scopes: &step.scopes, lifetime: step.lifetime };
    let mut fetched = generate(web, &wanted, &parent.token).await;
    if let Err(error) = &mut fetched {
        error.message = match error.class {
            Class::Denied => denied(web, iam, chain, step, parent, error).await,
            _ => format!("{chain}: {}", error.message),
        };
    }
    Ok(owned(fetched?, Some(step.target.clone())))
}

/// One call.
pub(super) async fn generate(web: &Web, wanted: &Wanted<'_>, token: &Secret) -> Result<Fetched, FetchError> {
    let lifetime = Duration::from_secs(wanted.lifetime.min(LIFETIME_MAX).as_secs().max(1));
    let delegates: Vec<_> =
        wanted.delegates.iter().map(|name| format!("projects/-/serviceAccounts/{name}")).collect();
    let body = json!({
        "delegates": delegates,
        "scope": wanted.scopes,
        "lifetime": format!("{}s", lifetime.as_secs()),
    });
    let asked = SystemTime::now();
    let reply = web.json(Service::Iam, wanted.url, token, body.to_string()).await?;
    let generated: Generated = reply.read("IAM Credentials", &[token.expose()]).map_err(advised)?;
    let not_after: SystemTime = OffsetDateTime::parse(&generated.expire_time, &Rfc3339)
        .map_err(|_| refusal(Class::Network, "IAM Credentials: the end of the token is not a time"))?
        .into();
    Ok(Fetched {
        material: bearer(Secret::new(generated.access_token), None),
        lifetime: Some(left(not_after, reply.date.unwrap_or(asked), lifetime)),
        not_after: Some(not_after),
    })
}

/// Where an account is asked for.
fn url(iam: &str, account: &str) -> String {
    format!("{iam}/v1/projects/-/serviceAccounts/{account}:generateAccessToken")
}

/// How long a token is good from when it was asked for, by the cloud's own clock. Never longer than it was asked for: that
/// counts from when the cloud made it, which was later.
fn left(not_after: SystemTime, date: SystemTime, asked_for: Duration) -> Duration {
    let left = not_after.duration_since(date).unwrap_or(Duration::ZERO);
    if left >= asked_for { asked_for } else { left.saturating_sub(DATE_GRAIN) }
}

/// What helps against what cannot work.
fn advised(mut error: FetchError) -> FetchError {
    let advice = match (error.class, error.code.as_deref()) {
        (Class::Config, Some("INVALID_ARGUMENT")) => {
            "; Google gives at most 3600 s (`cloud.credentials.duration`), and names of accounts are e-mail addresses"
        }
        (Class::Config, Some("NOT_FOUND")) => "; an account of the chain does not exist",
        (Class::Config, Some("PERMISSION_DENIED")) => {
            "; enable the IAM Service Account Credentials API in the project of the first account"
        }
        _ => return error,
    };
    error.message.push_str(advice);
    error
}

/// Why a way is not allowed, in words: the first pair of it that is not.
async fn denied(
    web: &Web,
    iam: &str,
    chain: &Chain,
    step: &Impersonate,
    parent: &Bearer,
    error: &FetchError,
) -> String {
    let found = tokio::time::timeout(PROBE_TIME_MAX, first_denied(web, iam, step, parent)).await;
    let way = step.delegates.len() + 1;
    match found {
        Ok(Ok(at)) => {
            let target = step.delegates.get(at).unwrap_or(&step.target);
            let by = match at.checked_sub(1) {
                Some(before) => step.delegates[before].clone(),
                None => parent.account.clone().unwrap_or_else(|| origin(chain)),
            };
            format!(
                "{by} may not impersonate {target} (step {} of {way} of {chain}); grant \
                 roles/iam.serviceAccountTokenCreator on {target} to {by}. {}",
                at + 1,
                error.message
            )
        }
        Ok(Err(probe)) => format!(
            "one of {chain} may not impersonate the next; which could not be found out ({}). {}",
            probe.message, error.message
        ),
        Err(_) => format!(
            "one of {chain} may not impersonate the next; which could not be found out within {} s. {}",
            PROBE_TIME_MAX.as_secs(),
            error.message
        ),
    }
}

/// The place on the way of the first account that the one before may not become. The target itself need not be tried: the
/// whole way was.
async fn first_denied(
    web: &Web,
    iam: &str,
    step: &Impersonate,
    parent: &Bearer,
) -> Result<usize, FetchError> {
    for (at, account) in step.delegates.iter().enumerate() {
        let url = url(iam, account);
        let delegates = &step.delegates[..at];
        let wanted = Wanted { url: &url, delegates, scopes: &step.scopes, lifetime: PROBE_LIFETIME };
        match generate(web, &wanted, &parent.token).await {
            Ok(_) => {}
            Err(FetchError { class: Class::Denied, .. }) => return Ok(at),
            Err(error) => return Err(error),
        }
    }
    Ok(step.delegates.len())
}

/// Who asks, if the token does not say it.
fn origin(chain: &Chain) -> String {
    chain.parent().map_or_else(String::new, |parent| parent.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_700_000_000);

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + NOW + Duration::from_secs(seconds)
    }

    #[test]
    fn life_counts_by_the_clock_of_the_cloud_and_is_never_longer_than_asked_for() {
        let hour = Duration::from_secs(3_600);
        assert_eq!(left(at(3_600), at(0), hour), hour);
        // The `Date` was cut to the second, and the end was not.
        assert_eq!(left(at(3_601), at(0), hour), hour);
        // It gave less: up to a second of it may have gone when it said `Date`.
        assert_eq!(left(at(1_800), at(0), hour), Duration::from_secs(1_799));
        assert_eq!(left(at(0), at(5), hour), Duration::ZERO);
    }
}
