//! What a node may do outside, and what it is there.

use std::net::SocketAddr;
use std::path::PathBuf;

pub use super::endpoint::{Endpoint, Recipient};
use super::{ConfigError, Written};

/// What this node may do outside, and what it is there. From its configuration, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSettings {
    /// Where `nodelocal` files are. None: there are none.
    pub external_io_dir: Option<PathBuf>,
    /// No HTTP(S) but to the clouds' own endpoints: no `http` URIs and no `AWS_ENDPOINT`.
    pub http_disabled: bool,
    /// No `AUTH=implicit`.
    pub implicit_credentials_disabled: bool,
    /// Nothing goes out at all.
    pub outbound_disabled: bool,
    /// What this node is in AWS.
    pub aws_source: AwsNodeSource,
    /// Where STS is asked, as a URL. None: the regional endpoint.
    pub aws_sts_endpoint: Option<String>,
    /// The region of STS, and of buckets that do not say theirs. None: from the environment, else `us-east-1`.
    pub aws_region: Option<String>,
    /// What this node is in Google Cloud.
    pub gcp_source: GcpNodeSource,
    /// Where the metadata server is, as HOST or HOST:PORT. None: `metadata.google.internal`, or what `GCE_METADATA_HOST` says.
    pub gcp_metadata_host: Option<String>,
    /// Where IAM Credentials is asked, as a URL. None: `https://iamcredentials.googleapis.com`.
    pub gcp_iam_endpoint: Option<String>,
    /// Where tokens are exchanged and confined, as a URL. None: `https://sts.googleapis.com`.
    pub gcp_sts_endpoint: Option<String>,
    /// Where Cloud Storage is, as a URL. None: `https://storage.googleapis.com`.
    pub gcs_endpoint: Option<String>,
    /// Where Pub/Sub is, as a URL. None: Google's, of the region that the URI names.
    pub gcp_pubsub_endpoint: Option<String>,
    /// Where Cloud KMS is, as a URL. None: `https://cloudkms.googleapis.com`.
    pub gcp_kms_endpoint: Option<String>,
    /// Where it gives credentials to other programs of this host: on loopback. None: nowhere.
    pub endpoint_listen: Option<SocketAddr>,
    /// Which, in whose name, and to whom.
    pub endpoints: Vec<Endpoint>,
}

/// From where this node has its identity in AWS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AwsNodeSource {
    /// The first that there is, in the order below, as the AWS SDKs look for it.
    #[default]
    Auto,
    /// `AWS_ACCESS_KEY_ID` and so on.
    Environment,
    /// `~/.aws/config` and `~/.aws/credentials`.
    Profile,
    /// A token in a file, which the kubelet renews: EKS IRSA.
    WebIdentity,
    /// An endpoint on the machine: ECS, EKS Pod Identity.
    Container,
    /// The metadata service of EC2, version 2.
    Imds,
    /// It has none, and looks nowhere.
    None,
}

/// From where this node has its identity in Google Cloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GcpNodeSource {
    /// The first that there is, in the order below.
    #[default]
    Auto,
    /// The file that `GOOGLE_APPLICATION_CREDENTIALS` names.
    File,
    /// The metadata server: GCE, GKE Workload Identity.
    Metadata,
    /// It has none, and looks nowhere.
    None,
}

impl NodeSettings {
    /// A node that is nothing in any cloud, and looks nowhere for what it could be.
    pub fn nowhere() -> Self {
        Self {
            external_io_dir: None,
            http_disabled: false,
            implicit_credentials_disabled: false,
            outbound_disabled: false,
            aws_source: AwsNodeSource::None,
            aws_sts_endpoint: None,
            aws_region: None,
            gcp_source: GcpNodeSource::None,
            gcp_metadata_host: None,
            gcp_iam_endpoint: None,
            gcp_sts_endpoint: None,
            gcs_endpoint: None,
            gcp_pubsub_endpoint: None,
            gcp_kms_endpoint: None,
            endpoint_listen: None,
            endpoints: Vec::new(),
        }
    }
}

impl Written {
    pub(super) fn cloud(&self) -> Result<NodeSettings, ConfigError> {
        let endpoint_listen = self.endpoint_listen()?;
        Ok(NodeSettings {
            external_io_dir: match self.word("external_io_dir")?.as_str() {
                "" => Some(self.data_dir()?.join("extern")),
                "disabled" => None,
                path => Some(PathBuf::from(path)),
            },
            http_disabled: self.switch("external_io_disable_http")?,
            implicit_credentials_disabled: self.switch("external_io_disable_implicit_credentials")?,
            outbound_disabled: self.switch("external_io_disable_outbound")?,
            aws_source: self.aws_source()?,
            aws_sts_endpoint: self.url("aws_sts_endpoint")?,
            aws_region: self.optional("aws_region")?,
            gcp_source: self.gcp_source()?,
            gcp_metadata_host: self.metadata_host()?,
            gcp_iam_endpoint: self.url("gcp_iam_endpoint")?,
            gcp_sts_endpoint: self.url("gcp_sts_endpoint")?,
            gcs_endpoint: self.url("gcs_endpoint")?,
            gcp_pubsub_endpoint: self.url("gcp_pubsub_endpoint")?,
            gcp_kms_endpoint: self.url("gcp_kms_endpoint")?,
            endpoint_listen,
            endpoints: self.endpoints(endpoint_listen)?,
        })
    }

    fn aws_source(&self) -> Result<AwsNodeSource, ConfigError> {
        Ok(match self.word("aws_source")?.as_str() {
            "auto" => AwsNodeSource::Auto,
            "environment" => AwsNodeSource::Environment,
            "profile" => AwsNodeSource::Profile,
            "web-identity" => AwsNodeSource::WebIdentity,
            "container" => AwsNodeSource::Container,
            "imds" => AwsNodeSource::Imds,
            "none" => AwsNodeSource::None,
            _ => {
                let known = "auto, environment, profile, web-identity, container, imds or none";
                return Err(self.wrong("aws_source", format!("expected one of {known}")));
            }
        })
    }

    fn gcp_source(&self) -> Result<GcpNodeSource, ConfigError> {
        Ok(match self.word("gcp_source")?.as_str() {
            "auto" => GcpNodeSource::Auto,
            "file" => GcpNodeSource::File,
            "metadata" => GcpNodeSource::Metadata,
            "none" => GcpNodeSource::None,
            _ => return Err(self.wrong("gcp_source", "expected one of auto, file, metadata or none")),
        })
    }

    /// Loopback only: whoever reaches it needs no more than a token that other programs hold.
    fn endpoint_listen(&self) -> Result<Option<SocketAddr>, ConfigError> {
        if self.word("cloud_endpoint_listen")?.is_empty() {
            return Ok(None);
        }
        let address = self.address("cloud_endpoint_listen")?;
        match address.ip().is_loopback() {
            true => Ok(Some(address)),
            false => {
                let problem =
                    "credentials are given out on loopback only: expected 127.0.0.1:PORT or [::1]:PORT";
                Err(self.wrong("cloud_endpoint_listen", problem))
            }
        }
    }

    fn metadata_host(&self) -> Result<Option<String>, ConfigError> {
        let host = self.optional("gcp_metadata_host")?;
        match &host {
            Some(word) if word.contains(['/', ' ', '?', '#', '@']) => {
                Err(self.wrong("gcp_metadata_host", "expected a host, or `host:port`, without `http://`"))
            }
            _ => Ok(host),
        }
    }

    fn switch(&self, name: &'static str) -> Result<bool, ConfigError> {
        match self.word(name)?.as_str() {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(self.wrong(name, "expected `on` or `off`")),
        }
    }

    fn optional(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        self.word(name).map(|word| (!word.is_empty()).then_some(word))
    }

    fn url(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        let url = self.optional(name)?;
        let is_url = |url: &str| {
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(['?', '#', '@', ' ']))
        };
        match &url {
            Some(written) if !is_url(written) => {
                Err(self.wrong(name, "expected a URL as `https://host:port`"))
            }
            _ => Ok(url),
        }
    }
}
