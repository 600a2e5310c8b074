//! A node's storage, in this process, against a cloud of the tests.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use grantd_cluster_tests::cloud::aws::{Aws as Double, Keys};
use grantd_cluster_tests::cloud::emulators::Emulator;
use grantd_cluster_tests::cloud::world::{ACCOUNT, Chained, User, World, use_bucket, user_arn};
use grantd_node::audit::Audit;
use grantd_node::cloud::aws::{Aws, Environment};
use grantd_node::cloud::broker::Broker;
use grantd_node::cloud::route::{Operation, Who, route};
use grantd_node::cloud::settings::{ChainSettings, NodeSettings};
use grantd_node::cloud::storage::{Patience, Storage, StorageSettings, Storages};
use grantd_node::cloud::uri::{Purpose, Uri};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub const THREE_SECONDS: Duration = Duration::from_secs(3);
pub const BUCKET: &str = "backups";

/// A chain of three roles, and a user who needs none.
pub fn world() -> (World, Chained) {
    let (mut world, chained) = World::chain("chain", 3, BUCKET);
    world.users.push(User { arn: user_arn(ACCOUNT, "fixed"), policy: Some(use_bucket(BUCKET, "")) });
    (world, chained)
}

/// Where storage is.
pub enum Cloud {
    Double { aws: Double, keys: HashMap<String, Keys>, chained: Chained },
    Emulator { emulator: Emulator, keys: HashMap<String, Keys>, chained: Chained },
}

impl Cloud {
    pub async fn double() -> Self {
        let (world, chained) = world();
        let (aws, keys) = Double::of(&world).await;
        Self::Double { aws, keys, chained }
    }

    pub async fn emulator(emulator: Emulator) -> Self {
        let (world, chained) = world();
        let keys = emulator.add(&world).await;
        Self::Emulator { emulator, keys, chained }
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Double { .. } => "double",
            Self::Emulator { .. } => "MiniStack",
        }
    }

    pub fn endpoint(&self) -> String {
        match self {
            Self::Double { aws, .. } => aws.endpoint(),
            Self::Emulator { emulator, .. } => emulator.endpoint(),
        }
    }

    pub fn keys(&self, arn: &str) -> &Keys {
        match self {
            Self::Double { keys, .. } | Self::Emulator { keys, .. } => &keys[arn],
        }
    }

    pub fn roles(&self) -> &[String] {
        match self {
            Self::Double { chained, .. } | Self::Emulator { chained, .. } => &chained.roles,
        }
    }

    pub async fn set_trust(&self, role: &str, trust: &str) {
        match self {
            Self::Double { aws, .. } => drop(aws.set_trust(role, trust)),
            Self::Emulator { emulator, .. } => emulator.set_trust(role, trust).await,
        }
    }
}

/// A node's storage and the broker behind it.
pub struct Node {
    pub broker: Broker,
    pub storages: Arc<Storages>,
}

impl Node {
    pub fn of(cloud: &Cloud) -> Self {
        Self::with(&cloud.endpoint(), StorageSettings::default())
    }

    /// One whose cluster has these settings.
    pub fn with(endpoint: &str, settings: StorageSettings) -> Self {
        let of_node = NodeSettings {
            aws_sts_endpoint: Some(endpoint.to_owned()),
            aws_region: Some("us-east-1".to_owned()),
            ..NodeSettings::nowhere()
        };
        let aws = Aws::new(&of_node, Environment::only(&[]), "grantd-0a1b2c3d-1".to_owned());
        let broker = Broker::start(Arc::new(aws), 1, Audit::default());
        let storages = Storages::new(1, of_node, broker.clone(), move || settings.clone());
        Self { broker, storages }
    }

    /// The bucket through three roles, with credentials of this life.
    pub async fn chained(&self, cloud: &Cloud, life: Duration) -> Storage {
        let keys = cloud.keys(&user_arn(ACCOUNT, "chain"));
        let roles = cloud.roles().join(",");
        self.open(&uri(&cloud.endpoint(), keys, Some(&roles)), life, Patience::Job).await
    }

    /// The bucket with keys that do not end.
    pub async fn fixed(&self, cloud: &Cloud) -> Storage {
        let keys = cloud.keys(&user_arn(ACCOUNT, "fixed"));
        self.open(&uri(&cloud.endpoint(), keys, None), THREE_SECONDS, Patience::Job).await
    }

    pub async fn open(&self, uri: &str, life: Duration, patience: Patience) -> Storage {
        let uri = Uri::parse(uri, Purpose::Storage, &NodeSettings::nowhere()).expect("a URI");
        let who = Who { cluster: "0a1b2c3d4e5f", node: 1, task: "job7", user: "anna" };
        let settings = ChainSettings { duration: life, ..ChainSettings::default() };
        let route = route(&uri, Operation::Storage { write: true }, &who, &settings)
            .expect("a route")
            .expect("a chain");
        self.storages.open(&uri, Some(&route.chain), "job7", patience).await.expect("storage")
    }

    /// How many leases the last step of the longest chain had, but for the first.
    pub fn refreshes(&self) -> u64 {
        let report = self.broker.report();
        let last = report.iter().max_by_key(|step| step.hop).expect("a step");
        last.generation.saturating_sub(1)
    }

    /// What is wrong with the step that comes first of those with which something is.
    pub fn trouble(&self) -> Option<String> {
        let mut report = self.broker.report();
        report.sort_by_key(|step| step.hop);
        report.into_iter().find_map(|step| step.trouble.map(|trouble| format!("{}: {trouble}", step.state)))
    }
}

/// The bucket by these keys, through these roles.
pub fn uri(endpoint: &str, keys: &Keys, roles: Option<&str>) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let roles = roles.map_or_else(String::new, |roles| format!("&ASSUME_ROLE={}", encoded(roles)));
    format!(
        "s3://{BUCKET}/nightly?AWS_ACCESS_KEY_ID={}&AWS_SECRET_ACCESS_KEY={}&AWS_ENDPOINT={}&AWS_REGION=us-east-1{roles}",
        keys.access_key_id,
        encoded(&keys.secret_access_key),
        encoded(endpoint),
    )
}
