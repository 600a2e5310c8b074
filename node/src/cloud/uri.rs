//! URIs of places and keys outside: parsed once, to types.
//!
//! What is here: which URIs there are and what each may say, as CockroachDB has them ([`Uri::parse`]); what a URI needs in
//! privileges, as data ([`Uri::access`]); how it is shown ([`Uri::redacted`], and [`redact::uri`] for texts that are none). What is
//! not: connections and roles are looked up, and privileges decided, by who has a view.
//!
//! Rules for all: parameters are known by their exact names, given once, and nothing is left over; values are percent-encoded,
//! and a `+` is a blank, but in `AWS_SECRET_ACCESS_KEY`; a raw `;` is kept; raw blanks around a parameter are no part of it;
//! paths have no `..`; user information and fragments are refused. A refusal shows nothing that could be a secret.
//! Source: cloud-jobs specification, A.

use std::fmt;

use grantd_catalog::name::Name;
use grantd_catalog::refusal::{Refusal, state};
use grantd_catalog::require::UriAccess;

use crate::cloud::redact;
use crate::cloud::role::RoleName;
use crate::cloud::settings::NodeSettings;
use crate::secret::Secret;

mod auth;
mod kms;
mod query;
mod sink;
mod storage;

pub use auth::{AwsAuth, AzureAuth, GcpAuth};
pub use kms::{AwsKms, GcpKms};
pub use sink::{Broker, ClientCert, Kafka, Login, PubSub, Sasl, SaslMechanism, Tls, Webhook};
pub use storage::{
    Azure, External, FileSink, Gs, Http, Nodelocal, Partition, S3, S3Encryption, StorageClass, Userfile,
};

use query::{Pieces, invalid};

/// A place or a key outside. Prints redacted.
#[derive(Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "each says itself")]
pub enum Uri {
    S3(S3),
    Gs(Gs),
    Azure(Azure),
    Nodelocal(Nodelocal),
    Userfile(Userfile),
    Http(Http),
    External(External),
    Kafka(Kafka),
    PubSub(PubSub),
    Webhook(Webhook),
    Null,
    AwsKms(AwsKms),
    GcpKms(GcpKms),
}

/// What a URI is written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Files are read and written: BACKUP, RESTORE.
    Storage,
    /// Keys are encrypted: `kms = …` of a backup.
    Kms,
    /// A changefeed goes there.
    Sink {
        /// `WITH unordered`: the order of a key's changes does not matter.
        unordered: bool,
    },
    /// It is stored as an external connection: what of the above it is for, it says itself.
    Connection,
}

impl Uri {
    /// Reads a URI that is used for `purpose` on a node with these settings.
    ///
    /// Refusals: anything that is not as the specification has it, with its texts; what the node's settings forbid.
    pub fn parse(text: &str, purpose: Purpose, settings: &NodeSettings) -> Result<Self, Refusal> {
        let pieces = Pieces::cut(text)?;
        let uri = Self::from_pieces(pieces, purpose)?;
        uri.fits(purpose)?;
        uri.allowed(purpose, settings)?;
        Ok(uri)
    }

    fn from_pieces(pieces: Pieces<'_>, purpose: Purpose) -> Result<Self, Refusal> {
        let written = pieces.scheme;
        let scheme = written.to_ascii_lowercase();
        let stored = purpose == Purpose::Connection;
        let files = stored || matches!(purpose, Purpose::Storage | Purpose::Sink { .. });
        let sink = stored || matches!(purpose, Purpose::Sink { .. });
        let kms = stored || purpose == Purpose::Kms;
        match scheme.as_str() {
            "gs" if purpose == Purpose::Kms || stored && pieces.host.is_empty() && is_gcp_key(&pieces) => {
                GcpKms::parse(pieces).map(Self::GcpKms)
            }
            "s3" if files => S3::parse(pieces, purpose).map(Self::S3),
            "gs" if files => Gs::parse(pieces, purpose).map(Self::Gs),
            "azure" | "azure-blob" | "azure-storage" if files => {
                Azure::parse(pieces, purpose).map(Self::Azure)
            }
            "nodelocal" if files => Nodelocal::parse(pieces, purpose).map(Self::Nodelocal),
            "userfile" if files => Userfile::parse(pieces).map(Self::Userfile),
            "http" | "https" | "file-http" | "file-https" if sink => Http::parse(pieces).map(Self::Http),
            "external" if !stored => External::parse(pieces).map(Self::External),
            "external" => Err(invalid("an external connection cannot name another one")
                .with_hint("write what the other one says")),
            "kafka" if sink => Kafka::parse(pieces).map(Self::Kafka),
            "gcpubsub" if sink => PubSub::parse(pieces).map(Self::PubSub),
            "webhook-https" | "webhook-http" if sink => Webhook::parse(pieces).map(Self::Webhook),
            "null" if files => null(pieces),
            "aws" | "aws-kms" if kms => AwsKms::parse(pieces).map(Self::AwsKms),
            "gcp-kms" if kms => GcpKms::parse(pieces).map(Self::GcpKms),
            _ => Err(unsupported(written, purpose)),
        }
    }

    /// Whether it can be used so. For what an external connection says, which was stored for any use.
    pub fn fits(&self, purpose: Purpose) -> Result<(), Refusal> {
        let is_kms = self.kind() == KMS;
        let messages = matches!(self, Self::Http(_) | Self::Kafka(_) | Self::PubSub(_) | Self::Webhook(_));
        let (wanted, fits) = match purpose {
            Purpose::Connection => return Ok(()),
            Purpose::Storage => (STORAGE, !is_kms && !messages),
            Purpose::Kms => (KMS, is_kms),
            Purpose::Sink { .. } => ("SINK", !is_kms),
        };
        let kind = if messages { self.scheme() } else { self.kind() };
        match self {
            Self::External(_) => Ok(()),
            _ if !fits => Err(invalid(format!("{wanted} cannot use object of type {kind}"))),
            Self::Userfile(_) => Err(userfile()),
            Self::PubSub(PubSub { region: None, .. }) if purpose == (Purpose::Sink { unordered: false }) => {
                Err(invalid("region query parameter not found")
                    .with_hint("name the region, or write WITH unordered"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a node with these settings may use it so.
    pub fn allowed(&self, purpose: Purpose, settings: &NodeSettings) -> Result<(), Refusal> {
        let local = matches!(self, Self::Nodelocal(_) | Self::Userfile(_) | Self::External(_) | Self::Null);
        if settings.outbound_disabled && !local {
            return Err(invalid(match (purpose, self) {
                (_, Self::AwsKms(_)) => "external IO must be enabled to use AWS KMS".to_owned(),
                (_, Self::GcpKms(_)) => "external IO must be enabled to use GCS KMS".to_owned(),
                (Purpose::Sink { .. }, _) => format!(
                    "Outbound IO is disabled by configuration, cannot create changefeed into {}",
                    self.scheme()
                ),
                _ => "external network access is disabled".to_owned(),
            }));
        }
        if matches!(self, Self::Nodelocal(_)) && settings.external_io_dir.is_none() {
            return Err(invalid("local file access is disabled".to_owned())
                .with_hint("set external_io_dir in the configuration of the nodes"));
        }
        let provider = self.scheme();
        if settings.http_disabled && self.has_endpoint() {
            let flag = "--external-io-disable-http flag";
            return Err(invalid(format!("custom endpoints disallowed for {provider} due to {flag}")));
        }
        if settings.http_disabled && matches!(self, Self::Http(_)) {
            return Err(invalid("external http access disabled".to_owned()));
        }
        if settings.implicit_credentials_disabled && self.is_implicit() {
            let flag = "--external-io-disable-implicit-credentials flag";
            return Err(invalid(format!("implicit credentials disallowed for {provider} due to {flag}")));
        }
        Ok(())
    }

    /// What its use needs, for the catalog to decide: what the node is in a cloud, what only nodes reach, the roles and the
    /// external connection that it names.
    pub fn access(&self) -> UriAccess {
        UriAccess {
            provider: self.scheme().to_owned(),
            implicit: self.is_implicit(),
            only_nodes: matches!(self, Self::Nodelocal(_) | Self::Http(_)) || self.has_endpoint(),
            roles: self.roles().iter().map(|role| Name::normalize(role.as_str())).collect(),
            connection: match self {
                Self::External(External { name, .. }) => Some(Name::normalize(name)),
                _ => None,
            },
        }
    }

    /// What an external connection of it is called in listings: also a place for messages is storage.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::AwsKms(_) | Self::GcpKms(_) => KMS,
            Self::S3(_) | Self::Gs(_) | Self::Azure(_) | Self::Nodelocal(_) | Self::Userfile(_) => STORAGE,
            Self::Http(_) | Self::External(_) | Self::Kafka(_) | Self::PubSub(_) | Self::Webhook(_) => {
                STORAGE
            }
            Self::Null => STORAGE,
        }
    }

    /// The scheme by which it is known, and which refusals name.
    pub fn scheme(&self) -> &'static str {
        match self {
            Self::S3(_) => "s3",
            Self::Gs(_) => "gs",
            Self::Azure(_) => "azure",
            Self::Nodelocal(_) => "nodelocal",
            Self::Userfile(_) => "userfile",
            Self::Http(_) => "http",
            Self::External(_) => "external",
            Self::Kafka(_) => "kafka",
            Self::PubSub(_) => "gcpubsub",
            Self::Webhook(_) => "webhook-https",
            Self::Null => "null",
            Self::AwsKms(_) => "aws-kms",
            Self::GcpKms(_) => "gcp-kms",
        }
    }

    /// The same place with more folders behind its path, as `external://name/folders` means it. They are in normal form
    /// already, as [`External::path`] is, and so cannot lead out of it.
    pub fn within(&self, folders: &str) -> Result<Self, Refusal> {
        if folders.is_empty() {
            return Ok(self.clone());
        }
        let join = |path: &mut String| {
            if !path.is_empty() {
                path.push('/');
            }
            path.push_str(folders);
        };
        let mut uri = self.clone();
        match &mut uri {
            Self::S3(S3 { prefix, .. }) | Self::Gs(Gs { prefix, .. }) | Self::Azure(Azure { prefix, .. }) => {
                join(prefix);
            }
            Self::Nodelocal(Nodelocal { path, .. })
            | Self::Userfile(Userfile { path, .. })
            | Self::External(External { path, .. }) => join(path),
            Self::Null => {}
            Self::Http(_)
            | Self::Kafka(_)
            | Self::PubSub(_)
            | Self::Webhook(_)
            | Self::AwsKms(_)
            | Self::GcpKms(_) => {
                return Err(invalid(format!("a path cannot be added to a {} URI", self.scheme())));
            }
        }
        Ok(uri)
    }

    /// The URI in full, with its secrets, in the one form that equal URIs have.
    pub fn text(&self) -> Secret {
        match self {
            Self::S3(uri) => uri.write(),
            Self::Gs(uri) => uri.write(),
            Self::Azure(uri) => uri.write(),
            Self::Nodelocal(uri) => uri.write(),
            Self::Userfile(uri) => uri.write(),
            Self::Http(uri) => uri.write(),
            Self::External(uri) => uri.write(),
            Self::Kafka(uri) => uri.write(),
            Self::PubSub(uri) => uri.write(),
            Self::Webhook(uri) => uri.write(),
            Self::Null => Secret::new("null://".to_owned()),
            Self::AwsKms(uri) => uri.write(),
            Self::GcpKms(uri) => uri.write(),
        }
    }

    /// What may be shown of it.
    pub fn redacted(&self) -> String {
        redact::uri(self.text().expose())
    }

    /// Whether it uses what this node is.
    fn is_implicit(&self) -> bool {
        match self {
            Self::S3(S3 { auth, .. }) | Self::AwsKms(AwsKms { auth, .. }) => *auth == AwsAuth::Implicit,
            Self::Gs(Gs { auth, .. })
            | Self::GcpKms(GcpKms { auth, .. })
            | Self::PubSub(PubSub { auth, .. }) => *auth == GcpAuth::Implicit,
            Self::Azure(Azure { auth, .. }) => matches!(auth, AzureAuth::Implicit { .. }),
            Self::Kafka(kafka) => kafka.role().is_some(),
            Self::Nodelocal(_) | Self::Userfile(_) | Self::Http(_) | Self::External(_) => false,
            Self::Webhook(_) | Self::Null => false,
        }
    }

    fn has_endpoint(&self) -> bool {
        match self {
            Self::S3(S3 { endpoint, .. }) | Self::AwsKms(AwsKms { endpoint, .. }) => endpoint.is_some(),
            _ => false,
        }
    }

    fn roles(&self) -> Vec<RoleName> {
        match self {
            Self::S3(S3 { roles, .. }) | Self::AwsKms(AwsKms { roles, .. }) => {
                roles.iter().map(|role| RoleName::Aws(role.arn.clone())).collect()
            }
            Self::Gs(Gs { roles, .. })
            | Self::GcpKms(GcpKms { roles, .. })
            | Self::PubSub(PubSub { roles, .. }) => roles.iter().cloned().map(RoleName::Gcp).collect(),
            Self::Kafka(kafka) => kafka.role().cloned().map(RoleName::Aws).into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

/// [`Uri::kind`] of a text, also of one that is no URI any more.
pub fn kind(text: &str) -> &'static str {
    let (scheme, rest) = text.trim().split_once("://").unwrap_or_default();
    let is_kms = match scheme.to_ascii_lowercase().as_str() {
        "aws" | "aws-kms" | "azure-kms" | "gcp-kms" => true,
        "gs" => rest.starts_with("/projects/"),
        _ => false,
    };
    if is_kms { KMS } else { STORAGE }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({})", self.redacted())
    }
}

fn is_gcp_key(pieces: &Pieces<'_>) -> bool {
    pieces.folders().is_ok_and(|path| kms::names_key(&path))
}

fn null(mut pieces: Pieces<'_>) -> Result<Uri, Refusal> {
    pieces.only("null", &[])?;
    Ok(Uri::Null)
}

fn unsupported(scheme: &str, purpose: Purpose) -> Refusal {
    let scheme = redact::scheme(scheme);
    match purpose {
        Purpose::Storage | Purpose::Connection => invalid(format!(
            "unsupported storage scheme: \"{scheme}\" - refer to docs to find supported storage schemes"
        )),
        Purpose::Kms => {
            invalid(format!("unsupported KMS scheme: \"{scheme}\"")).with_hint("it is aws-kms or gcp-kms")
        }
        Purpose::Sink { .. } => invalid(format!("unsupported sink: {scheme}")),
    }
}

fn userfile() -> Refusal {
    Refusal::new(state::FEATURE_NOT_SUPPORTED, "userfile storage is not supported")
        .with_hint("use nodelocal, or a bucket")
}

/// Kinds of external connections, as they are listed.
const KMS: &str = "KMS";
const STORAGE: &str = "STORAGE";

#[cfg(test)]
mod tests;
