//! Tokens that `gcp_auth` has: those of keys of service accounts, and of the metadata server at its own address.
//!
//! It says that a token was refused and not why: no status, no `Date`, no `Retry-After`, which the refresher decides by. So when
//! it gives none, whoever called it asks once by hand, and that answer is what is said. It keeps a token until 20 s before
//! its end, which is too late for a refresher; so each fetch has a provider of its own, and none outlives it with a key.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use gcp_auth::{CustomServiceAccount, Error, MetadataServiceAccount, Token, TokenProvider};

use crate::cloud::gcp::web::{causes, clean};
use crate::cloud::gcp::{SCOPE_CLOUD, bearer, refusal};
use crate::cloud::lease::{Class, FetchError, Fetched};
use crate::secret::Secret;

/// How long it may take: five tries, over 0.75 s of waits, and no limit of its own. Google answers within a second. It leaves
/// time for two requests by hand within the step's.
const LIBRARY_TIME_MAX: Duration = Duration::from_secs(5);

/// The account of a key (JSON). Nothing of the error's own text is said: it can repeat a line of the key.
pub(super) async fn account(json: &str, what: &str) -> Result<CustomServiceAccount, FetchError> {
    let json = Secret::new(json.to_owned());
    // It reads the system's CAs, file by file.
    let made = tokio::task::spawn_blocking(move || CustomServiceAccount::from_json(json.expose())).await;
    let (class, text) = match made {
        Ok(Ok(account)) => return Ok(account),
        Ok(Err(Error::Json(..))) => (Class::Config, "a field is missing or of the wrong kind"),
        Ok(Err(Error::Io(..))) => (Class::Config, "the CAs of this system cannot be read"),
        Ok(Err(_)) => (Class::SourceDead, "`private_key` is not an RSA key in PEM (PKCS#8)"),
        Err(_) => (Class::Network, "the node is stopping"),
    };
    Err(refusal(class, format!("{what}: {text}")))
}

/// A token of that account. None: ask by hand.
pub(super) async fn of_account(account: &CustomServiceAccount, what: &str) -> Option<Fetched> {
    given(account.token(&[SCOPE_CLOUD]), what).await
}

/// A token of this machine's account. None: ask by hand.
pub(super) async fn of_machine(what: &str) -> Option<Fetched> {
    let token = async { MetadataServiceAccount::new().await?.token(&[SCOPE_CLOUD]).await };
    given(token, what).await
}

async fn given(token: impl Future<Output = Result<Arc<Token>, Error>>, what: &str) -> Option<Fetched> {
    let reason = match tokio::time::timeout(LIBRARY_TIME_MAX, token).await {
        Ok(Ok(token)) => return Some(fetched(&token)),
        // The parser's own message can repeat the token.
        Ok(Err(Error::Json(text, _))) => text.to_owned(),
        Ok(Err(error)) => clean(&causes(&error), &[]),
        Err(_) => format!("no answer within {} s", LIBRARY_TIME_MAX.as_secs()),
    };
    tracing::debug!(%what, %reason, "no token; asking once more for the cause");
    None
}

fn fetched(token: &Token) -> Fetched {
    // Google says a life in whole seconds; the end is that life after the answer came, by this node's clock. What is left by
    // the same clock, rounded up, is that life again, however wrong the clock is.
    let end = SystemTime::from(token.expires_at());
    let left = end.duration_since(SystemTime::now()).unwrap_or_default();
    let life = Duration::from_secs(left.as_secs() + u64::from(left.subsec_nanos() > 0));
    Fetched {
        material: bearer(Secret::new(token.as_str().to_owned()), None),
        lifetime: Some(life),
        not_after: Some(end),
    }
}
