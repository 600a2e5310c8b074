//! What `object_store` asks for before every request: the lease of now.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use object_store::CredentialProvider;
use object_store::aws::AwsCredential;
use object_store::gcp::GcpCredential;

use super::answer::note;
use crate::cloud::broker::Credentials;
use crate::cloud::lease::{Lease, Material};

/// Gives out a chain's leases in the form of one cloud.
pub(super) struct Leased<C> {
    credentials: Credentials,
    /// The lease that was given out last, as it is wanted: it is made once for each lease, not for each request. Its copy of the
    /// secret is not wiped when it is dropped: `object_store` has no type that does.
    last: ArcSwapOption<(u64, Arc<C>)>,
}

impl<C> Leased<C> {
    pub(super) fn new(credentials: Credentials) -> Self {
        Self { credentials, last: ArcSwapOption::empty() }
    }

    async fn current(&self, shape: impl FnOnce(&Material) -> Option<C>) -> object_store::Result<Arc<C>> {
        let ready = Option::clone(&self.credentials.ready());
        let lease = match ready {
            Some(lease) => lease,
            None => self.next().await?,
        };
        note(|notes| notes.lease = Some(lease.clone()));
        if let Some(last) = &*self.last.load()
            && last.0 == lease.generation
        {
            return Ok(last.1.clone());
        }
        let shaped = Arc::new(shape(&lease.material).ok_or_else(|| no_lease(WrongCloud))?);
        // Of two that make one at once either may stay: whoever finds the other's makes it again.
        self.last.store(Some(Arc::new((lease.generation, shaped.clone()))));
        Ok(shaped)
    }

    /// The lease of who cannot take one at once.
    async fn next(&self) -> object_store::Result<Arc<Lease>> {
        let least = self.credentials.current().map_or(Duration::ZERO, |lease| ttl_min(&lease));
        self.credentials.lease_within(least, LEASE_WAIT_MAX).await.map_err(|error| {
            note(|notes| notes.no_lease = Some(error.clone()));
            no_lease(error)
        })
    }
}

impl<C> std::fmt::Debug for Leased<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Leased")
    }
}

#[async_trait]
impl CredentialProvider for Leased<AwsCredential> {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        self.current(|material| match material {
            Material::Aws(session) => Some(AwsCredential {
                key_id: session.access_key_id.clone(),
                secret_key: session.secret_access_key.expose().to_owned(),
                token: session.session_token.as_ref().map(|token| token.expose().to_owned()),
            }),
            Material::Bearer(_) => None,
        })
        .await
    }
}

#[async_trait]
impl CredentialProvider for Leased<GcpCredential> {
    type Credential = GcpCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<GcpCredential>> {
        self.current(|material| match material {
            Material::Bearer(bearer) => Some(GcpCredential { bearer: bearer.token.expose().to_owned() }),
            Material::Aws(_) => None,
        })
        .await
    }
}

/// A chain of the one cloud for a place in the other.
#[derive(Debug, thiserror::Error)]
#[error("the credentials are of another cloud than the place")]
struct WrongCloud;

fn no_lease(error: impl std::error::Error + Send + Sync + 'static) -> object_store::Error {
    object_store::Error::Unauthenticated { path: String::new(), source: Box::new(error) }
}

/// How long the credentials of a request are to be good yet, of such a lease.
fn ttl_min(lease: &Lease) -> Duration {
    match lease.deadline {
        Some(deadline) => REQUEST_TTL_MIN.min(deadline.since(lease.obtained) / SHORT_LIFE_PART),
        None => Duration::ZERO,
    }
}

/// As long as the request may be on its way, and the clocks may differ: a cloud looks at the end of credentials when a request
/// begins. Source: cloud-jobs specification, F.8.3.
const REQUEST_TTL_MIN: Duration = Duration::from_secs(60);
/// Of a lease that lives shorter than ten times that, this part of its life. Source: as above.
const SHORT_LIFE_PART: u32 = 10;
/// How long one try waits for credentials before it says that there are none, and what is wrong: the one that tries decides
/// whether to go on.
const LEASE_WAIT_MAX: Duration = Duration::from_secs(20);
