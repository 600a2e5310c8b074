//! URIs of places for files: s3, gs, azure, nodelocal, userfile, http, null, and external connections.

use grantd_catalog::refusal::Refusal;

use super::Purpose;
use super::auth::{
    AwsAuth, AzureAuth, GcpAuth, aws_roles, endpoint, gcp_roles, write_aws_roles, write_gcp_roles,
};
use super::query::{Pieces, Writer, invalid};
use crate::cloud::chain::Hashed;
use crate::cloud::redact;
use crate::cloud::role::{AwsRole, ServiceAccount};
use crate::secret::Secret;

/// `s3://bucket/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3 {
    /// The bucket.
    pub bucket: String,
    /// Names of objects begin so; without slashes at its ends.
    pub prefix: String,
    /// The first credentials.
    pub auth: AwsAuth,
    /// The roles that are assumed with them, in order.
    pub roles: Vec<AwsRole>,
    /// Another service than AWS's, as a URL.
    pub endpoint: Option<String>,
    /// The bucket's region. None: it is to be found out.
    pub region: Option<String>,
    /// Whether the bucket stands in the path of requests; with an endpoint it does.
    pub path_style: bool,
    /// How the service is to encrypt.
    pub encryption: Option<S3Encryption>,
    /// The storage class.
    pub storage_class: Option<StorageClass>,
    /// How a changefeed writes there.
    pub files: FileSink,
}

/// `AWS_SERVER_ENC_MODE` with what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum S3Encryption {
    /// With keys of S3's own.
    Aes256,
    /// With a key of KMS.
    Kms {
        /// `AWS_SERVER_KMS_ID`.
        key: String,
    },
}

/// `S3_STORAGE_CLASS`: one of those that S3 has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StorageClass(&'static str);

/// `gs://bucket/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gs {
    /// The bucket.
    pub bucket: String,
    /// Names of objects begin so; without slashes at its ends.
    pub prefix: String,
    /// The first credentials.
    pub auth: GcpAuth,
    /// Delegates in order, the target last.
    pub roles: Vec<ServiceAccount>,
    /// Who pays for requests.
    pub billing_project: Option<String>,
    /// How a changefeed writes there.
    pub files: FileSink,
}

/// `azure-blob://container/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Azure {
    /// The container.
    pub container: String,
    /// Names of objects begin so; without slashes at its ends.
    pub prefix: String,
    /// The storage account.
    pub account: String,
    /// The credentials.
    pub auth: AzureAuth,
    /// Which of Azure's clouds.
    pub environment: String,
    /// How a changefeed writes there.
    pub files: FileSink,
}

/// `nodelocal://node/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nodelocal {
    /// Whose files. None: of whoever looks (`self`).
    pub node: Option<u64>,
    /// Below the node's directory for files; without slashes at its ends.
    pub path: String,
    /// How a changefeed writes there.
    pub files: FileSink,
}

/// `userfile://database.schema.prefix/path`. Nothing can be stored there yet: it is refused where it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Userfile {
    /// The names of its tables begin so. None: the user's own.
    pub table: Option<String>,
    /// Without slashes at its ends.
    pub path: String,
}

/// `http://…` and `https://…`, for the files of changefeeds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http {
    /// The whole URL: path and query may let somebody in.
    pub url: Hashed,
    /// How a changefeed writes there.
    pub files: FileSink,
}

/// `external://name/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// The external connection.
    pub name: String,
    /// What is added to its path; without slashes at its ends.
    pub path: String,
}

/// What a URI of storage says to a changefeed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileSink {
    /// When a file is full, in bytes. None: the changefeed's default.
    pub file_size: Option<u64>,
    /// How folders are made of time.
    pub partition: Partition,
    /// Names of topics begin so.
    pub topic_prefix: Option<String>,
}

/// `partition_format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Partition {
    /// A folder for each day.
    #[default]
    Daily,
    /// A folder for each hour.
    Hourly,
    /// No folders.
    Flat,
}

impl StorageClass {
    /// The name.
    pub fn as_str(self) -> &'static str {
        self.0
    }

    /// Whether what was written can be read at once, as incremental backups must.
    pub fn reads_back(self) -> bool {
        !matches!(self.0, "GLACIER" | "DEEP_ARCHIVE")
    }
}

impl S3 {
    pub(super) fn parse(mut pieces: Pieces<'_>, purpose: Purpose) -> Result<Self, Refusal> {
        if pieces.host.is_empty() {
            return Err(empty_bucket("s3"));
        }
        pieces.only("S3", &[S3_NAMES, file_names(purpose)])?;
        let auth = AwsAuth::take(&mut pieces)?;
        let roles = aws_roles(&mut pieces)?;
        let endpoint = endpoint(&mut pieces)?;
        Ok(Self {
            bucket: pieces.plain_host("bucket of the s3 URI")?,
            prefix: pieces.folders()?,
            auth,
            roles,
            region: region(&mut pieces, "AWS_REGION")?,
            path_style: pieces.flag("AWS_USE_PATH_STYLE")?.unwrap_or(false) || endpoint.is_some(),
            endpoint,
            encryption: encryption(&mut pieces)?,
            storage_class: storage_class(&mut pieces)?,
            files: FileSink::take(&mut pieces)?,
        })
    }

    pub(super) fn write(&self) -> Secret {
        let mut to = Writer::new("s3", &self.bucket, &self.prefix);
        self.auth.write(&mut to);
        write_aws_roles(&self.roles, &mut to);
        to.maybe("AWS_ENDPOINT", self.endpoint.as_deref());
        to.maybe("AWS_REGION", self.region.as_deref());
        to.maybe("AWS_USE_PATH_STYLE", (self.path_style && self.endpoint.is_none()).then_some("true"));
        match &self.encryption {
            None => {}
            Some(S3Encryption::Aes256) => to.set("AWS_SERVER_ENC_MODE", "AES256"),
            Some(S3Encryption::Kms { key }) => {
                to.set("AWS_SERVER_ENC_MODE", "aws:kms");
                to.set("AWS_SERVER_KMS_ID", key);
            }
        }
        to.maybe("S3_STORAGE_CLASS", self.storage_class.map(StorageClass::as_str));
        self.files.write(&mut to);
        to.finish()
    }
}

impl Gs {
    pub(super) fn parse(mut pieces: Pieces<'_>, purpose: Purpose) -> Result<Self, Refusal> {
        if pieces.host.is_empty() {
            return Err(empty_bucket("gs"));
        }
        pieces.only("GS", &[GS_NAMES, file_names(purpose)])?;
        let auth = GcpAuth::take(&mut pieces, GCP_MISSING)?;
        Ok(Self {
            bucket: pieces.plain_host("bucket of the gs URI")?,
            prefix: pieces.folders()?,
            auth,
            roles: gcp_roles(&mut pieces)?,
            billing_project: pieces.word("GOOGLE_BILLING_PROJECT", is_project_byte)?,
            files: FileSink::take(&mut pieces)?,
        })
    }

    pub(super) fn write(&self) -> Secret {
        let mut to = Writer::new("gs", &self.bucket, &self.prefix);
        self.auth.write(&mut to);
        write_gcp_roles(&self.roles, &mut to);
        to.maybe("GOOGLE_BILLING_PROJECT", self.billing_project.as_deref());
        self.files.write(&mut to);
        to.finish()
    }
}

impl Azure {
    pub(super) fn parse(mut pieces: Pieces<'_>, purpose: Purpose) -> Result<Self, Refusal> {
        if pieces.host.is_empty() {
            return Err(invalid("empty host component; azure URI must specify a target container"));
        }
        pieces.only("azure", &[AZURE_NAMES, file_names(purpose)])?;
        let word = |byte: u8| byte.is_ascii_alphanumeric();
        let account = pieces.word("AZURE_ACCOUNT_NAME", word)?;
        let environment = pieces.word("AZURE_ENVIRONMENT", word)?;
        Ok(Self {
            account: account.ok_or_else(|| invalid("azure uri missing \"AZURE_ACCOUNT_NAME\" parameter"))?,
            auth: AzureAuth::take(&mut pieces)?,
            container: pieces.plain_host("container of the azure URI")?,
            prefix: pieces.folders()?,
            environment: environment.unwrap_or_else(|| AZURE_PUBLIC.to_owned()),
            files: FileSink::take(&mut pieces)?,
        })
    }

    pub(super) fn write(&self) -> Secret {
        let mut to = Writer::new("azure-blob", &self.container, &self.prefix);
        to.set("AZURE_ACCOUNT_NAME", &self.account);
        self.auth.write(&mut to);
        to.maybe("AZURE_ENVIRONMENT", (self.environment != AZURE_PUBLIC).then_some(&self.environment));
        self.files.write(&mut to);
        to.finish()
    }
}

impl Nodelocal {
    pub(super) fn parse(mut pieces: Pieces<'_>, purpose: Purpose) -> Result<Self, Refusal> {
        pieces.only("nodelocal", &[file_names(purpose)])?;
        let node = match pieces.host {
            "" => {
                return Err(invalid(format!(
                    "host component of nodelocal URI must be a node ID \
                     (use 'self' to specify each node should access its own local filesystem): {}",
                    redact::uri(pieces.whole)
                )));
            }
            "self" | "0" => None,
            host => match host.parse() {
                Ok(node) if host.bytes().all(|byte| byte.is_ascii_digit()) => Some(node),
                Ok(_) | Err(_) => {
                    return Err(invalid(format!(
                        "host component of nodelocal URI must be a node ID: {}",
                        redact::uri(pieces.whole)
                    )));
                }
            },
        };
        let path = local_path(pieces.path)?;
        Ok(Self { node, path, files: FileSink::take(&mut pieces)? })
    }

    pub(super) fn write(&self) -> Secret {
        let node = self.node.map_or_else(|| "self".to_owned(), |node| node.to_string());
        let mut to = Writer::new("nodelocal", &node, &self.path);
        self.files.write(&mut to);
        to.finish()
    }
}

impl Userfile {
    pub(super) fn parse(mut pieces: Pieces<'_>) -> Result<Self, Refusal> {
        pieces.only("userfile", &[])?;
        let table = pieces.plain_host("table of the userfile URI")?;
        Ok(Self { table: (!table.is_empty()).then_some(table), path: pieces.folders()? })
    }

    pub(super) fn write(&self) -> Secret {
        Writer::new("userfile", self.table.as_deref().unwrap_or_default(), &self.path).finish()
    }
}

impl Http {
    /// What is not the sink's own is a part of the URL.
    pub(super) fn parse(mut pieces: Pieces<'_>) -> Result<Self, Refusal> {
        if pieces.host.is_empty() {
            return Err(invalid("empty host component; http URI must specify a host"));
        }
        let files = FileSink::take(&mut pieces)?;
        let scheme = pieces.scheme.to_ascii_lowercase();
        let scheme = scheme.strip_prefix("file-").unwrap_or(&scheme).to_owned();
        Ok(Self { url: url(scheme, pieces)?, files })
    }

    pub(super) fn write(&self) -> Secret {
        let mut to = Writer::onto(format!("file-{}", self.url.expose()));
        self.files.write(&mut to);
        to.finish()
    }
}

impl External {
    pub(super) fn parse(mut pieces: Pieces<'_>) -> Result<Self, Refusal> {
        if pieces.host.is_empty() {
            return Err(invalid(format!(
                "host component of an external URI must refer to an existing External Connection object: {}",
                redact::uri(pieces.whole)
            )));
        }
        pieces.only("external connection", &[])?;
        let name = super::query::unescaped(pieces.host)?;
        Ok(Self { name, path: pieces.folders()? })
    }

    pub(super) fn write(&self) -> Secret {
        Writer::new("external", &super::query::escaped(&self.name), &self.path).finish()
    }
}

impl FileSink {
    fn take(pieces: &mut Pieces<'_>) -> Result<Self, Refusal> {
        let partition = match pieces.text("partition_format").as_deref() {
            None | Some("daily") => Partition::Daily,
            Some("hourly") => Partition::Hourly,
            Some("flat") => Partition::Flat,
            Some(other) => {
                return Err(invalid(format!("invalid partition_format of {}", redact::word(other))));
            }
        };
        let file_size = match pieces.text("file_size") {
            None => None,
            Some(size) => Some(bytes(&size).ok_or_else(|| {
                invalid("invalid file_size")
                    .with_hint("write a number with kB, MB, GB, KiB, MiB or GiB, as 16MB")
            })?),
        };
        let topic_prefix = pieces.word("topic_prefix", is_topic_byte)?;
        Ok(Self { file_size, partition, topic_prefix })
    }

    fn write(&self, to: &mut Writer) {
        to.maybe("file_size", self.file_size.map(|size| size.to_string()).as_deref());
        match self.partition {
            Partition::Daily => {}
            Partition::Hourly => to.set("partition_format", "hourly"),
            Partition::Flat => to.set("partition_format", "flat"),
        }
        to.maybe("topic_prefix", self.topic_prefix.as_deref());
    }
}

/// The URL that is asked: what the URI says, without the parameters that were taken out.
pub(super) fn url(scheme: String, pieces: Pieces<'_>) -> Result<Hashed, Refusal> {
    let (host, path) = (pieces.host, pieces.path);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:[]".contains(&byte);
    if !host.bytes().all(fits) {
        return Err(invalid("host of the URL is not valid"));
    }
    if path.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(invalid("the path of the URI has a blank").with_hint("write a blank as %20"));
    }
    let query = pieces.rest();
    let separator = if query.is_empty() { "" } else { "?" };
    Ok(Hashed::new(Secret::new(format!("{scheme}://{host}{path}{separator}{query}"))))
}

/// The region of a service of AWS.
pub(super) fn region(pieces: &mut Pieces<'_>, name: &str) -> Result<Option<String>, Refusal> {
    pieces.word(name, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// A project of Google, with the domain that old ones have.
pub(super) fn is_project_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.:".contains(&byte)
}

/// As Kafka and Pub/Sub have them.
pub(super) fn is_topic_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-~+%".contains(&byte)
}

fn local_path(path: &str) -> Result<String, Refusal> {
    super::query::folders(path).map_err(|refusal| {
        if !super::query::climbs(path) {
            return refusal;
        }
        invalid(format!(
            "local file access to paths outside of external-io-dir is not allowed: {}",
            redact::folders(path)
        ))
        .with_hint("write the path without ..")
    })
}

fn encryption(pieces: &mut Pieces<'_>) -> Result<Option<S3Encryption>, Refusal> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/:".contains(&byte);
    let key = pieces.word("AWS_SERVER_KMS_ID", fits)?;
    match (pieces.text("AWS_SERVER_ENC_MODE").as_deref(), key) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(invalid("AWS_SERVER_KMS_ID is set, but AWS_SERVER_ENC_MODE is not")
            .with_hint("write AWS_SERVER_ENC_MODE=aws:kms")),
        (Some("AES256"), None) => Ok(Some(S3Encryption::Aes256)),
        (Some("AES256"), Some(_)) => {
            Err(invalid("AWS_SERVER_KMS_ID is set, but AWS_SERVER_ENC_MODE is AES256")
                .with_hint("write AWS_SERVER_ENC_MODE=aws:kms"))
        }
        (Some("aws:kms"), Some(key)) => Ok(Some(S3Encryption::Kms { key })),
        (Some("aws:kms"), None) => Err(invalid(
            "AWS_SERVER_KMS_ID param must be set when using aws:kms server side encryption mode.",
        )),
        (Some(mode), _) => Err(invalid(format!(
            "unsupported server encryption mode {}. Supported values are `aws:kms` and `AES256`.",
            redact::word(mode)
        ))),
    }
}

fn storage_class(pieces: &mut Pieces<'_>) -> Result<Option<StorageClass>, Refusal> {
    let Some(class) = pieces.text("S3_STORAGE_CLASS") else { return Ok(None) };
    match STORAGE_CLASSES.iter().find(|known| **known == class) {
        Some(known) => Ok(Some(StorageClass(known))),
        None => Err(invalid(format!("unsupported storage class {}", redact::word(&class)))
            .with_hint(format!("S3_STORAGE_CLASS is one of {}", STORAGE_CLASSES.join(", ")))),
    }
}

/// `16MB`, `1GiB`, `1000`.
fn bytes(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|bytes| *bytes > 0)
}

fn empty_bucket(scheme: &str) -> Refusal {
    invalid(format!("empty host component; {scheme} URI must specify a target bucket"))
}

fn file_names(purpose: Purpose) -> &'static [&'static str] {
    match purpose {
        Purpose::Sink { .. } | Purpose::Connection => FILE_NAMES,
        Purpose::Storage | Purpose::Kms => &[],
    }
}

/// What is said when there are no credentials of Google.
pub(super) const GCP_MISSING: &str = "CREDENTIALS or BEARER_TOKEN must be set if \"AUTH\" is \"specified\"";
/// The cloud of those who say none.
const AZURE_PUBLIC: &str = "AzurePublicCloud";
/// Those that S3 has.
const STORAGE_CLASSES: [&str; 9] = [
    "STANDARD",
    "REDUCED_REDUNDANCY",
    "STANDARD_IA",
    "ONEZONE_IA",
    "INTELLIGENT_TIERING",
    "GLACIER",
    "DEEP_ARCHIVE",
    "OUTPOSTS",
    "GLACIER_IR",
];
const S3_NAMES: &[&str] = &[
    "ASSUME_ROLE",
    "AUTH",
    "AWS_ACCESS_KEY_ID",
    "AWS_ENDPOINT",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SERVER_ENC_MODE",
    "AWS_SERVER_KMS_ID",
    "AWS_SESSION_TOKEN",
    "AWS_USE_PATH_STYLE",
    "S3_STORAGE_CLASS",
];
const GS_NAMES: &[&str] = &["ASSUME_ROLE", "AUTH", "BEARER_TOKEN", "CREDENTIALS", "GOOGLE_BILLING_PROJECT"];
const AZURE_NAMES: &[&str] = &[
    "AUTH",
    "AZURE_ACCOUNT_KEY",
    "AZURE_ACCOUNT_NAME",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_ENVIRONMENT",
    "AZURE_TENANT_ID",
];
const FILE_NAMES: &[&str] = &["file_size", "partition_format", "topic_prefix"];
