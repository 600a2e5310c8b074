//! Certificates: what `grantd cert` makes, and what it shows.
//!
//! A certs directory holds `ca.crt` and `ca.key`, `node.crt` and `node.key`, and for each client
//! `client.<user>.crt` and `client.<user>.key`. Keys are ECDSA P-256 in PKCS #8, mode 0600. Nothing is replaced
//! unless that was asked for, and then by rename, so that a running node never reads half a file. `node::tls` loads
//! what is made here; this module opens no connection.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use grantd_catalog::name::{RoleName, RoleNameFault};
use grantd_raft::config::NodeId;
use grantd_raft::quic::identity;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::{Duration, OffsetDateTime};
use zeroize::Zeroizing;

mod inspect;

pub use inspect::{CertificateInfo, CertificateKind, list};

/// How long a CA is valid if nothing else was asked for.
pub const CA_DAYS: u32 = 3_650;
/// How long a node's or client's certificate is valid if nothing else was asked for.
pub const LEAF_DAYS: u32 = 1_825;
/// The longest validity: beyond it dates get a form that some readers do not know.
pub const DAYS_MAX: u32 = 7_300;
/// The most host names and addresses of one certificate.
pub const HOSTS_MAX: usize = 64;

/// The CA's certificate.
pub const CA_CERT: &str = "ca.crt";
/// The CA's key. Needed to make certificates, not to run a node: keep it off the nodes.
pub const CA_KEY: &str = "ca.key";
/// The node's certificate.
pub const NODE_CERT: &str = "node.crt";
/// The node's key.
pub const NODE_KEY: &str = "node.key";

/// A certificate begins to be valid this long before it is made, as clocks differ.
const BACKDATED: Duration = Duration::hours(1);
/// The common name of a node's certificate, and the principal that it logs in as.
const NODE_USER: &str = "node";

/// How a certificate is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Days that it is valid, from now: 1 to [`DAYS_MAX`].
    pub days: u32,
    /// Whether files that are there may be replaced.
    pub overwrite: bool,
}

/// What was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The certificate's file.
    pub certificate: PathBuf,
    /// The key's file.
    pub key: PathBuf,
}

/// The file of a client's certificate.
pub fn client_cert_file(user: &RoleName) -> String {
    format!("client.{user}.crt")
}

/// The file of a client's key.
pub fn client_key_file(user: &RoleName) -> String {
    format!("client.{user}.key")
}

/// Makes a CA: a key and a self-signed certificate, in `directory`, which is created if need be.
///
/// With `overwrite`, certificates that the replaced CA signed are no longer accepted by nodes that trust the new one.
pub fn create_ca(directory: &Path, options: &Options) -> Result<Created, CertError> {
    let mut params = blank(options, "grantd CA")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let files = Files::claim(directory, CA_CERT, CA_KEY, options)?;
    let key = KeyPair::generate().map_err(make_error)?;
    let certificate = params.self_signed(&key).map_err(make_error)?;
    files.write(&certificate.pem(), &key)
}

/// Makes the certificate of node `node_id`, reachable as each of `hosts` (host names and IP addresses, without a
/// port), signed by the CA in `ca_directory`.
///
/// It serves as server and as client certificate, between nodes and towards clients. `directory` gets ca.crt as well,
/// if it is another one and has none: it then holds all that the node needs, and not the CA's key.
pub fn create_node(
    ca_directory: &Path,
    directory: &Path,
    node_id: NodeId,
    hosts: &[String],
    options: &Options,
) -> Result<Created, CertError> {
    if node_id == 0 {
        return Err(CertError::NodeId);
    }
    if hosts.is_empty() || hosts.len() > HOSTS_MAX {
        return Err(CertError::Hosts { count: hosts.len() });
    }
    let mut params = blank(options, NODE_USER)?;
    params.subject_alt_names.push(dns(&identity::dns_name(node_id))?);
    for host in hosts {
        let name = host_name(host)?;
        if !params.subject_alt_names.contains(&name) {
            params.subject_alt_names.push(name);
        }
    }
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    sign_leaf(ca_directory, directory, params, (NODE_CERT, NODE_KEY), options)
}

/// Makes the certificate with which `user` logs in over SQL, signed by the CA in `ca_directory`. `directory` as in
/// [`create_node`].
///
/// The name is normalized as in SQL, and must be one that a user can have.
pub fn create_client(
    ca_directory: &Path,
    directory: &Path,
    user: &str,
    options: &Options,
) -> Result<Created, CertError> {
    let name = RoleName::normalize(user);
    if let Err(fault) = name.check_new() {
        return Err(CertError::User { user: user.to_owned(), fault });
    }
    let mut params = blank(options, name.as_str())?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    sign_leaf(ca_directory, directory, params, (&client_cert_file(&name), &client_key_file(&name)), options)
}

/// Why a certificate was not made, or could not be read.
#[derive(Debug)]
pub enum CertError {
    /// The file is there and may not be replaced.
    Exists(PathBuf),
    /// There is no CA in the directory.
    NoCa(PathBuf),
    /// The CA's files do not fit each other, or are not a CA's.
    BadCa {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// The file is no certificate.
    BadCertificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        fault: String,
    },
    /// The CA would end before the certificate.
    OutlivesCa {
        /// Days that the CA is still valid; 0: it has expired.
        ca_days: i64,
        /// Days that were asked for.
        days: u32,
    },
    /// The days are out of range.
    Days(u32),
    /// Node 0 is no node.
    NodeId,
    /// No host, or more than [`HOSTS_MAX`].
    Hosts {
        /// How many.
        count: usize,
    },
    /// Not a host name or IP address.
    Host(String),
    /// Not a name that a user can have.
    User {
        /// What was given.
        user: String,
        /// What is wrong with it.
        fault: RoleNameFault,
    },
    /// A file or directory could not be read or written.
    File {
        /// What was tried: `read`, `write`, `create`.
        act: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The certificate could not be made.
    Make(String),
}

impl CertError {
    /// What the operator can do about it; none where the message says it all.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exists(_) => Some("use --overwrite to replace it, or another --certs-dir".to_owned()),
            Self::NoCa(_) => {
                Some("make one with `grantd cert create-ca`, or copy ca.crt and ca.key here".to_owned())
            }
            Self::BadCa { .. } => Some("copy ca.crt and ca.key of one CA here".to_owned()),
            Self::OutlivesCa { ca_days, .. } if *ca_days > 0 => {
                Some(format!("use --days {ca_days} or less, or make a new CA"))
            }
            Self::OutlivesCa { .. } => Some("make a new CA".to_owned()),
            Self::Hosts { .. } => {
                Some("give the names and addresses under which the node is reached".to_owned())
            }
            Self::Host(_) => Some("give a host name or an IP address, without a port".to_owned()),
            Self::BadCertificate { .. }
            | Self::Days(_)
            | Self::NodeId
            | Self::User { .. }
            | Self::File { .. }
            | Self::Make(_) => None,
        }
    }
}

impl fmt::Display for CertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(path) => write!(f, "`{}` exists", path.display()),
            Self::NoCa(path) => write!(f, "there is no CA: `{}` does not exist", path.display()),
            Self::BadCa { path, fault } => write!(f, "`{}` cannot sign: {fault}", path.display()),
            Self::BadCertificate { path, fault } => {
                write!(f, "`{}` is not a certificate: {fault}", path.display())
            }
            Self::OutlivesCa { ca_days, days } => {
                write!(f, "the certificate is to be valid for {days} days, its CA for {ca_days}")
            }
            Self::Days(days) => write!(f, "a validity of {days} days is not between 1 and {DAYS_MAX}"),
            Self::NodeId => write!(f, "node ids begin with 1"),
            Self::Hosts { count } => write!(f, "a node needs 1 to {HOSTS_MAX} hosts, not {count}"),
            Self::Host(host) => write!(f, "`{host}` is not a host name or IP address"),
            Self::User { user, fault } => {
                let why = match fault {
                    RoleNameFault::Reserved => "the name is reserved",
                    RoleNameFault::Invalid => {
                        "names start with a letter, a digit or an underscore, and contain only these, dashes and \
                         periods"
                    }
                    RoleNameFault::TooLong => "the name is too long",
                    RoleNameFault::Empty => "the name is empty",
                };
                write!(f, "`{user}` is not a user name: {why}")
            }
            Self::File { act, path, .. } => write!(f, "cannot {act} `{}`", path.display()),
            Self::Make(fault) => write!(f, "the certificate could not be made: {fault}"),
        }
    }
}

impl std::error::Error for CertError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Exists(_)
            | Self::NoCa(_)
            | Self::BadCa { .. }
            | Self::BadCertificate { .. }
            | Self::OutlivesCa { .. }
            | Self::Days(_)
            | Self::NodeId
            | Self::Hosts { .. }
            | Self::Host(_)
            | Self::User { .. }
            | Self::Make(_) => None,
        }
    }
}

/// A certificate and a key that are about to be written.
struct Files {
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    /// Makes sure, before anything is generated, that the directory is there and nothing is replaced unasked.
    fn claim(directory: &Path, certificate: &str, key: &str, options: &Options) -> Result<Self, CertError> {
        fs::create_dir_all(directory).map_err(file_error("create", directory))?;
        let files = Self { certificate: directory.join(certificate), key: directory.join(key) };
        for path in [&files.certificate, &files.key] {
            if !options.overwrite && path.symlink_metadata().is_ok() {
                return Err(CertError::Exists(path.clone()));
            }
        }
        Ok(files)
    }

    /// Writes the key first: a certificate without its key is of no use.
    fn write(self, certificate: &str, key: &KeyPair) -> Result<Created, CertError> {
        let pem = Zeroizing::new(key.serialize_pem());
        replace(&self.key, pem.as_bytes(), 0o600)?;
        replace(&self.certificate, certificate.as_bytes(), 0o644)?;
        Ok(Created { certificate: self.certificate, key: self.key })
    }
}

fn replace(path: &Path, content: &[u8], mode: u32) -> Result<(), CertError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    // A leftover of a run that was killed; it may have another mode.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(file_error("replace", &temporary)(error));
        }
        Ok(()) | Err(_) => {}
    }
    let write = || {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(file_error("write", path))
}

fn sign_leaf(
    ca_directory: &Path,
    directory: &Path,
    mut params: CertificateParams,
    (certificate_file, key_file): (&str, &str),
    options: &Options,
) -> Result<Created, CertError> {
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let (issuer, ca_ends) = load_ca(ca_directory, options)?;
    params.not_after = params.not_after.min(ca_ends);
    let files = Files::claim(directory, certificate_file, key_file, options)?;
    copy_ca(ca_directory, directory)?;
    let key = KeyPair::generate().map_err(make_error)?;
    let certificate = params.signed_by(&key, &issuer).map_err(make_error)?;
    files.write(&certificate.pem(), &key)
}

/// Puts ca.crt into a directory that has none. One that is there stays: it may hold more than one CA.
fn copy_ca(ca_directory: &Path, directory: &Path) -> Result<(), CertError> {
    let (from, to) = (ca_directory.join(CA_CERT), directory.join(CA_CERT));
    if to.exists() {
        return Ok(());
    }
    let content = fs::read(&from).map_err(file_error("read", &from))?;
    replace(&to, &content, 0o644)
}

/// The CA of `directory`, ready to sign something that is valid for `options.days`, and when it ends.
///
/// That may be up to a day earlier: a CA and a certificate that are made one after the other, for the same days, fit.
fn load_ca(
    directory: &Path,
    options: &Options,
) -> Result<(Issuer<'static, KeyPair>, OffsetDateTime), CertError> {
    let cert_path = directory.join(CA_CERT);
    let key_path = directory.join(CA_KEY);
    let read = |path: &Path| match fs::read_to_string(path) {
        Ok(text) => Ok(Zeroizing::new(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(CertError::NoCa(path.to_owned())),
        Err(error) => Err(file_error("read", path)(error)),
    };
    let cert_pem = read(&cert_path)?;
    let key_pem = read(&key_path)?;
    let bad = |path: &Path, fault: &str| CertError::BadCa { path: path.to_owned(), fault: fault.to_owned() };
    let key = KeyPair::from_pem(&key_pem).map_err(|_| bad(&key_path, "it is not a private key in PEM"))?;
    let ca = inspect::CaFacts::read(&cert_pem).map_err(|fault| bad(&cert_path, &fault))?;
    if !ca.is_ca {
        return Err(bad(&cert_path, "it is not a CA"));
    }
    if ca.public_key != rcgen::PublicKeyData::subject_public_key_info(&key) {
        return Err(bad(&key_path, "it is not the key of ca.crt"));
    }
    let left = ca.not_after - OffsetDateTime::now_utc();
    let ca_days = if left.is_positive() { (left + Duration::DAY).whole_days() } else { 0 };
    if ca_days < i64::from(options.days) {
        return Err(CertError::OutlivesCa { ca_days, days: options.days });
    }
    let issuer =
        Issuer::from_ca_cert_pem(&cert_pem, key).map_err(|error| bad(&cert_path, &error.to_string()))?;
    Ok((issuer, ca.not_after))
}

/// A certificate's validity and common name.
fn blank(options: &Options, common_name: &str) -> Result<CertificateParams, CertError> {
    if options.days == 0 || options.days > DAYS_MAX {
        return Err(CertError::Days(options.days));
    }
    let now = OffsetDateTime::now_utc();
    let mut params = CertificateParams::default();
    params.not_before = now - BACKDATED;
    params.not_after = now + Duration::days(i64::from(options.days));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "grantd");
    params.distinguished_name.push(DnType::CommonName, common_name);
    Ok(params)
}

fn host_name(host: &str) -> Result<SanType, CertError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    // The name of another node must not come in as a host.
    if !is_host_name(host) || identity::parse_dns_name(&host.to_ascii_lowercase()).is_some() {
        return Err(CertError::Host(host.to_owned()));
    }
    dns(&host.to_ascii_lowercase())
}

/// Whether `text` is a host name as RFC 1123 has it; the first label may be `*`.
fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let rest = text.strip_prefix("*.").unwrap_or(text);
    // All digits and dots: an address with a typing error, not a name.
    let numeric = rest.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.len() <= 253 && !numeric && rest.split('.').all(label)
}

fn dns(name: &str) -> Result<SanType, CertError> {
    Ia5String::try_from(name).map(SanType::DnsName).map_err(|_| CertError::Host(name.to_owned()))
}

fn make_error(error: rcgen::Error) -> CertError {
    CertError::Make(error.to_string())
}

fn file_error(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> CertError {
    move |source| CertError::File { act, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
