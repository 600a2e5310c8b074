//! All clouds as one: which of them does a step.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;

use crate::cloud::aws::Aws;
use crate::cloud::chain::{Chain, Source, Step};
use crate::cloud::gcp::Gcp;
use crate::cloud::lease::{Fetch, FetchError, Fetched, Lease};

/// The clouds that this node knows.
pub struct Clouds {
    aws: Aws,
    gcp: Gcp,
    /// `cloudstorage.http.custom_ca`, as it is now.
    custom_ca: Box<dyn Fn() -> String + Send + Sync>,
    /// The same as the clouds were told it last.
    told: Mutex<String>,
}

impl Clouds {
    /// These, which trust the system's CAs, and those that `custom_ca` says at the time of a step.
    pub fn new(aws: Aws, gcp: Gcp, custom_ca: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { aws, gcp, custom_ca: Box::new(custom_ca), told: Mutex::default() }
    }

    /// Follows the setting. One that cannot be used leaves things as they were: a node works on with what it trusted.
    fn follow(&self) {
        let said = (self.custom_ca)();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told == said {
            return;
        }
        for (cloud, followed) in [("AWS", self.aws.trust(&said)), ("Google Cloud", self.gcp.trust(&said))] {
            match followed {
                Ok(()) => tracing::info!(
                    cloud,
                    "certificates of `cloudstorage.http.custom_ca` are trusted from now on"
                ),
                Err(error) => tracing::warn!(cloud, %error, "`cloudstorage.http.custom_ca` is not used"),
            }
        }
        *told = said;
    }
}

#[async_trait]
impl Fetch for Clouds {
    async fn fetch(&self, chain: &Chain, parent: Option<&Lease>) -> Result<Fetched, FetchError> {
        self.follow();
        let cloud: &dyn Fetch = match chain.last() {
            Step::Source(Source::AwsNode | Source::AwsKeys(_)) | Step::AssumeRole(_) => &self.aws,
            Step::Source(Source::GcpNode | Source::GcpKey(_) | Source::GcpToken(_)) => &self.gcp,
            Step::Impersonate(_) | Step::Confine(_) => &self.gcp,
        };
        cloud.fetch(chain, parent).await
    }
}
