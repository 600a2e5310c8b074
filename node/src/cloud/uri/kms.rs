//! URIs of keys that encrypt backups: AWS KMS and Google Cloud KMS. A role of a bucket's URI does not count here.

use grantd_catalog::refusal::Refusal;

use super::auth::{AwsAuth, GcpAuth, aws_roles, endpoint, gcp_roles, write_aws_roles, write_gcp_roles};
use super::query::{Pieces, Writer, invalid};
use super::storage::{GCP_MISSING, region};
use crate::cloud::role::{AwsRole, ServiceAccount};
use crate::secret::Secret;

/// `aws-kms:///key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AwsKms {
    /// Its id, alias or ARN.
    pub key: String,
    /// The first credentials.
    pub auth: AwsAuth,
    /// The roles that are assumed with them, in order.
    pub roles: Vec<AwsRole>,
    /// Another service than AWS's, as a URL.
    pub endpoint: Option<String>,
    /// The key's region.
    pub region: String,
}

/// `gcp-kms:///projects/…/locations/…/keyRings/…/cryptoKeys/…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GcpKms {
    /// Its name, without a version.
    pub key: String,
    /// The first credentials.
    pub auth: GcpAuth,
    /// Delegates in order, the target last.
    pub roles: Vec<ServiceAccount>,
}

impl AwsKms {
    pub(super) fn parse(mut pieces: Pieces<'_>) -> Result<Self, Refusal> {
        let key = key(&pieces)?;
        pieces.only("KMS", &[AWS_NAMES])?;
        let region =
            region(&mut pieces, "REGION")?.ok_or_else(|| invalid("could not find the aws kms region"))?;
        Ok(Self {
            key,
            auth: AwsAuth::take(&mut pieces)?,
            roles: aws_roles(&mut pieces)?,
            endpoint: endpoint(&mut pieces)?,
            region,
        })
    }

    pub(super) fn write(&self) -> Secret {
        let mut to = Writer::new("aws-kms", "", &self.key);
        self.auth.write(&mut to);
        write_aws_roles(&self.roles, &mut to);
        to.maybe("AWS_ENDPOINT", self.endpoint.as_deref());
        to.set("REGION", &self.region);
        to.finish()
    }
}

impl GcpKms {
    pub(super) fn parse(mut pieces: Pieces<'_>) -> Result<Self, Refusal> {
        let key = key(&pieces)?;
        pieces.only("KMS", &[GCP_NAMES])?;
        let key = key.split_once(VERSIONS).map_or(key.as_str(), |(key, _)| key).to_owned();
        if !names_key(&key) {
            return Err(invalid("path component of the KMS URI does not name a key")
                .with_hint("write gcp-kms:///projects/…/locations/…/keyRings/…/cryptoKeys/…"));
        }
        Ok(Self { key, auth: GcpAuth::take(&mut pieces, GCP_MISSING)?, roles: gcp_roles(&mut pieces)? })
    }

    pub(super) fn write(&self) -> Secret {
        let mut to = Writer::new("gcp-kms", "", &self.key);
        self.auth.write(&mut to);
        write_gcp_roles(&self.roles, &mut to);
        to.finish()
    }
}

/// Whether a path names a key of Google Cloud KMS, as it may where the scheme alone does not say so.
pub(super) fn names_key(path: &str) -> bool {
    let pieces: Vec<_> = path.split('/').collect();
    matches!(pieces[..], ["projects", _, "locations", _, "keyRings", _, "cryptoKeys", _, ..])
}

fn key(pieces: &Pieces<'_>) -> Result<String, Refusal> {
    if !pieces.host.is_empty() {
        return Err(invalid("host component of the KMS URI must be empty")
            .with_hint("write three slashes before the key"));
    }
    let key = pieces.folders()?;
    if key.is_empty() {
        return Err(invalid(
            "path component of the KMS cannot be empty; must contain the Customer Managed Key",
        ));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/:.".contains(&byte);
    if !key.bytes().all(fits) {
        return Err(invalid("path component of the KMS URI is not the name of a key"));
    }
    Ok(key)
}

/// The key is meant, whatever its version.
const VERSIONS: &str = "/cryptoKeyVersions/";
const AWS_NAMES: &[&str] = &[
    "ASSUME_ROLE",
    "AUTH",
    "AWS_ACCESS_KEY_ID",
    "AWS_ENDPOINT",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "REGION",
];
const GCP_NAMES: &[&str] = &["ASSUME_ROLE", "AUTH", "BEARER_TOKEN", "CREDENTIALS"];
