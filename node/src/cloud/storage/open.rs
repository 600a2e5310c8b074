//! Opening a place: from a URI and a chain to a client.

use std::error::Error;
use std::sync::{Arc, Mutex};

use super::error::{Kind, Operation, Provider, StorageError};
use super::local::Local;
use super::meter::Meter;
use super::rates::Rates;
use super::remote::Recipe;
use super::retry::Patience;
use super::settings::StorageSettings;
use super::{At, Inner, Place, Remote, Storage, filtered};
use crate::cloud::broker::{Broker, Credentials};
use crate::cloud::chain::Chain;
use crate::cloud::settings::NodeSettings;
use crate::cloud::uri::{Gs, Nodelocal, S3, Uri};

/// What a node has for all storage.
pub struct Storages {
    number: u64,
    of_node: NodeSettings,
    pub(super) broker: Broker,
    /// What the cluster says now.
    pub(super) settings: Box<dyn Fn() -> StorageSettings + Send + Sync>,
    pub(super) rates: Rates,
    pub(super) meter: Meter,
}

impl Storages {
    /// Of the node with this number.
    pub fn new(
        node: u64,
        of_node: NodeSettings,
        broker: Broker,
        settings: impl Fn() -> StorageSettings + Send + Sync + 'static,
    ) -> Arc<Self> {
        let settings = Box::new(settings);
        Arc::new(Self {
            number: node,
            of_node,
            broker,
            settings,
            rates: Rates::default(),
            meter: Meter::new(node),
        })
    }

    /// Opens a place that a URI names, by a chain if it is in a cloud. `user`: who uses it, and for what, as SHOW CREDENTIALS
    /// shows it. Of a place in a cloud nothing is asked but, of S3, where the bucket is.
    pub async fn open(
        self: &Arc<Self>,
        uri: &Uri,
        chain: Option<&Chain>,
        user: &str,
        patience: Patience,
    ) -> Result<Storage, StorageError> {
        let opened = match (uri, chain) {
            (Uri::S3(s3), Some(chain)) => self.s3(s3, chain, user).await?,
            (Uri::Gs(gs), Some(chain)) => self.gs(gs, chain, user)?,
            (Uri::Nodelocal(files), _) => self.nodelocal(files)?,
            (Uri::S3(_) | Uri::Gs(_), None) => {
                return Err(unserved(uri, "it is used by a chain of credentials, and there is none"));
            }
            (Uri::Azure(_), _) => {
                return Err(unserved(uri, "Azure Blob Storage is parsed, and not served").hint(OTHER_PLACES));
            }
            (Uri::Userfile(_), _) => {
                return Err(unserved(uri, "files in tables are parsed, and not served").hint(OTHER_PLACES));
            }
            (Uri::External(_), _) => {
                return Err(unserved(uri, "an external connection is looked up before it is opened"));
            }
            (
                Uri::Http(_)
                | Uri::Kafka(_)
                | Uri::PubSub(_)
                | Uri::Webhook(_)
                | Uri::Null
                | Uri::AwsKms(_)
                | Uri::GcpKms(_),
                _,
            ) => return Err(unserved(uri, "it is no place for files").hint(OTHER_PLACES)),
        };
        let (place, provider, shown, prefix) = opened;
        Ok(Storage(Arc::new(Inner { place, provider, shown, prefix, patience, node: self.clone() })))
    }

    async fn s3(&self, uri: &S3, chain: &Chain, user: &str) -> Result<Opened, StorageError> {
        let shown = format!("s3://{}", uri.bucket);
        let failed = |cause: &str| failed(Provider::S3, Kind::Refused, &shown, cause);
        let credentials = self.credentials(chain, user, Provider::S3, &shown)?;
        let recipe = Recipe::s3(uri, credentials.clone(), &(self.settings)().custom_ca);
        let recipe = recipe.map_err(|error| failed(&error.to_string()))?;
        let (region, guessed) = match (&uri.region, &uri.endpoint) {
            (Some(region), _) => (region.clone(), false),
            // As in the original. Who has an endpoint of their own seldom has regions.
            (None, Some(_)) => (DEFAULT_REGION.to_owned(), false),
            (None, None) => {
                let asked = recipe.region(S3_ANYWHERE).await;
                let asked = asked.map_err(|cause| {
                    failed(&format!("could not find s3 bucket's region: {cause}"))
                        .hint("write AWS_REGION into the URI")
                })?;
                let guess = || self.of_node.aws_region.clone().unwrap_or_else(|| FIRST_REGION.to_owned());
                (asked.unwrap_or_else(guess), true)
            }
        };
        let client = recipe.client(&region).map_err(|error| failed(&error.to_string()))?;
        let client = Mutex::new(At { client, region, guessed });
        let who = chain.last().to_string();
        let place = Place::Remote(Box::new(Remote { recipe, credentials, who, client }));
        Ok((place, Provider::S3, shown, uri.prefix.clone()))
    }

    fn gs(&self, uri: &Gs, chain: &Chain, user: &str) -> Result<Opened, StorageError> {
        let shown = format!("gs://{}", uri.bucket);
        let failed = |error: &dyn Error| failed(Provider::Gs, Kind::Refused, &shown, &error.to_string());
        let credentials = self.credentials(chain, user, Provider::Gs, &shown)?;
        let recipe = Recipe::gs(uri, credentials.clone(), &(self.settings)().custom_ca, &self.of_node)
            .map_err(|error| failed(&error))?;
        let client = recipe.client("").map_err(|error| failed(&error))?;
        let client = Mutex::new(At { client, region: String::new(), guessed: false });
        let who = chain.last().to_string();
        let place = Place::Remote(Box::new(Remote { recipe, credentials, who, client }));
        Ok((place, Provider::Gs, shown, uri.prefix.clone()))
    }

    fn nodelocal(&self, uri: &Nodelocal) -> Result<Opened, StorageError> {
        let node = uri.node.unwrap_or(self.number);
        let shown = format!("nodelocal://{node}");
        let failed = |kind, cause: &str| failed(Provider::Nodelocal, kind, &shown, cause);
        if node != self.number {
            let cause =
                format!("the files of node {node} are used on that node, and this is node {}", self.number);
            return Err(failed(Kind::Unsupported, &cause)
                .hint(format!("connect to node {node}, or write nodelocal://self")));
        }
        let Some(root) = &self.of_node.external_io_dir else {
            return Err(failed(Kind::Disabled, "local file access is disabled")
                .hint("set external_io_dir of this node"));
        };
        let local =
            Local::open(root).map_err(|error| failed(Kind::Refused, &format!("external_io_dir: {error}")))?;
        Ok((Place::Local(Arc::new(local)), Provider::Nodelocal, shown, uri.path.clone()))
    }

    fn credentials(
        &self,
        chain: &Chain,
        user: &str,
        provider: Provider,
        shown: &str,
    ) -> Result<Credentials, StorageError> {
        self.broker
            .open(chain, user)
            .map_err(|error| failed(provider, Kind::TooLarge, shown, &error.to_string()))
    }
}

/// What is in a [`Storage`], but for who asked.
type Opened = (Place, Provider, String, String);

fn failed(provider: Provider, kind: Kind, place: &str, cause: &str) -> StorageError {
    let (operation, place) = (Operation::Open, place.to_owned());
    StorageError { kind, operation, provider, place, cause: filtered(cause), hint: None }
}

/// Of a URI that names no place of ours.
fn unserved(uri: &Uri, cause: &str) -> StorageError {
    StorageError {
        kind: Kind::Unsupported,
        operation: Operation::Open,
        provider: Provider::Other,
        place: uri.redacted(),
        cause: cause.to_owned(),
        hint: None,
    }
}

/// The region of who has another endpoint. Source: cloud-jobs specification, A.1.
const DEFAULT_REGION: &str = "default-region";
/// AWS's first one, and its own default.
const FIRST_REGION: &str = "us-east-1";
/// S3 answers there for buckets of all regions of its own partition.
const S3_ANYWHERE: &str = "https://s3.amazonaws.com";
const OTHER_PLACES: &str = "s3, gs and nodelocal are served";
