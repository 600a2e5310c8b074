//! Stubs of what gives a machine its identity in AWS, each with the contract of the real one: an endpoint for containers
//! (ECS, EKS Pod Identity), the metadata service of EC2 in its second version, a token in a file that the kubelet renews
//! (EKS IRSA).
//!
//! Each says with which environment a process finds it, on top of [`isolated`], with which one finds nothing at all.

mod container;
mod imds;
mod kubelet;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

pub use container::{Authorization, Container};
pub use imds::Imds;
pub use kubelet::Kubelet;

use crate::cloud::aws::Keys;

/// Variables for a process.
pub type Environment = Vec<(&'static str, String)>;

/// The names of all variables that lead the SDK of AWS somewhere: a test removes what it inherited of them.
pub const VARIABLES: [&str; 19] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_REGION",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_STS",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
];

/// The environment of a process that finds no identity: an empty home, no files, no metadata service. `home` is empty.
pub fn isolated(home: &Path) -> Environment {
    let file = |name: &str| home.join(name).display().to_string();
    vec![
        ("HOME", home.display().to_string()),
        ("AWS_CONFIG_FILE", file("no-config")),
        ("AWS_SHARED_CREDENTIALS_FILE", file("no-credentials")),
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
    ]
}

/// What a platform gives to the machines on it: the same keys to all who ask, until it has newer ones.
#[derive(Clone)]
pub struct Platform {
    mint: Arc<dyn Fn() -> Keys + Send + Sync>,
    renew_before: Duration,
    current: Arc<Mutex<Option<Keys>>>,
}

impl Platform {
    /// One that makes keys so, and has new ones so long before the old ones end; AWS: five minutes.
    pub fn new(renew_before: Duration, mint: impl Fn() -> Keys + Send + Sync + 'static) -> Self {
        Self { mint: Arc::new(mint), renew_before, current: Arc::default() }
    }

    /// What it gives now.
    pub fn keys(&self) -> Keys {
        let mut current = self.current.lock().expect("no test panics while it holds it");
        let good = |keys: &Keys| keys.expires.is_none_or(|end| SystemTime::now() + self.renew_before < end);
        match &*current {
            Some(keys) if good(keys) => keys.clone(),
            _ => current.insert((self.mint)()).clone(),
        }
    }
}
