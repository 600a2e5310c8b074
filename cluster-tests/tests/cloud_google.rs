//! Google's steps and Cloud Storage, against a double that is strict.
//!
//! Nothing here leaves loopback: sources and endpoints are said, the environment of the process is not looked at.

#[path = "cloud_google/double.rs"]
mod double;
#[path = "cloud_google/failures.rs"]
mod failures;
#[path = "cloud_google/storage.rs"]
mod storage;
#[path = "cloud_google/stream.rs"]
mod stream;
#[path = "cloud_google/sources.rs"]
mod sources;

use std::time::Duration;

use grantd_cluster_tests::cloud::google::Google;
use grantd_node::cloud::chain::{Chain, Confine, Hashed, Impersonate, Source, Step};
use grantd_node::cloud::gcp::{Environment, Gcp, SCOPE_CLOUD};
use grantd_node::cloud::lease::{Fetch, FetchError, Fetched, Lease, Material, Moment};
use grantd_node::cloud::settings::GcpNodeSource;
use grantd_node::secret::Secret;

/// An hour.
const HOUR: Duration = Duration::from_secs(3_600);
const BUCKET: &str = "backups";

/// The address of an account.
fn account(name: &str) -> String {
    format!("{name}@p.iam.gserviceaccount.com")
}

/// What does the steps, on a machine whose account is `node`.
fn machine(google: &Google) -> Gcp {
    google.machine(Some(&account("node")));
    Gcp::new(google.settings(GcpNodeSource::Metadata), Environment::default(), "").expect("settings that fit")
}

/// This node, and then the last of `names` over the others.
fn chain(names: &[&str], lifetime: Duration) -> Chain {
    let mut delegates: Vec<_> = names.iter().map(|name| account(name)).collect();
    let target = delegates.pop().expect("an account at least");
    let scopes = vec![SCOPE_CLOUD.to_owned()];
    Chain::new(Source::GcpNode, [Step::Impersonate(Impersonate { target, delegates, scopes, lifetime })])
}

/// A chain that goes on.
fn then(chain: &Chain, step: Step) -> Chain {
    let Some(Step::Source(source)) = chain.steps().first() else { panic!("a chain has a source") };
    Chain::new(source.clone(), chain.steps()[1..].iter().cloned().chain([step]))
}

fn confined(bucket: &str, prefix: &str, write: bool) -> Step {
    Step::Confine(Confine { bucket: bucket.to_owned(), prefix: prefix.to_owned(), write })
}

fn hashed(text: &str) -> Hashed {
    Hashed::new(Secret::new(text.to_owned()))
}

/// All steps of a chain, one after the other.
async fn walk(gcp: &Gcp, chain: &Chain) -> Result<Fetched, FetchError> {
    let mut parent: Option<Lease> = None;
    for length in 1..=chain.steps().len() {
        let Some(Step::Source(source)) = chain.steps().first() else { panic!("a chain has a source") };
        let part = Chain::new(source.clone(), chain.steps()[1..length].iter().cloned());
        let fetched = gcp.fetch(&part, parent.as_ref()).await?;
        if length == chain.steps().len() {
            return Ok(fetched);
        }
        parent = Some(lease(fetched));
    }
    panic!("a chain has a step")
}

fn lease(fetched: Fetched) -> Lease {
    let Fetched { material, not_after, .. } = fetched;
    Lease { material, obtained: Moment::default(), deadline: None, not_after, generation: 1 }
}

fn token(fetched: &Fetched) -> &str {
    let Material::Bearer(bearer) = &fetched.material else { panic!("Google gives bearer tokens") };
    bearer.token.expose()
}

fn whose(fetched: &Fetched) -> Option<&str> {
    let Material::Bearer(bearer) = &fetched.material else { panic!("Google gives bearer tokens") };
    bearer.account.as_deref()
}
