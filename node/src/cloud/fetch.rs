//! All clouds as one: which of them does a step.

use async_trait::async_trait;

use crate::cloud::aws::Aws;
use crate::cloud::chain::{Chain, Source, Step};
use crate::cloud::gcp::Gcp;
use crate::cloud::lease::{Fetch, FetchError, Fetched, Lease};

/// The clouds that this node knows.
pub struct Clouds {
    aws: Aws,
    gcp: Gcp,
}

impl Clouds {
    /// These.
    pub fn new(aws: Aws, gcp: Gcp) -> Self {
        Self { aws, gcp }
    }
}

#[async_trait]
impl Fetch for Clouds {
    async fn fetch(&self, chain: &Chain, parent: Option<&Lease>) -> Result<Fetched, FetchError> {
        let cloud: &dyn Fetch = match chain.last() {
            Step::Source(Source::AwsNode | Source::AwsKeys(_)) | Step::AssumeRole(_) => &self.aws,
            Step::Source(Source::GcpNode | Source::GcpKey(_) | Source::GcpToken(_)) => &self.gcp,
            Step::Impersonate(_) | Step::Confine(_) => &self.gcp,
        };
        cloud.fetch(chain, parent).await
    }
}
