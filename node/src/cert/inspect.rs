//! What is in a certs directory.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use grantd_raft::config::NodeId;
use grantd_raft::quic::identity;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::{CertError, file_error};

/// The most certificate files that are shown of one directory.
const FILES_MAX: usize = 10_000;

/// What a certificate is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateKind {
    /// Signs the others.
    Ca,
    /// A node's, with its number.
    Node(NodeId),
    /// A client's, with the user's name.
    Client(String),
}

/// One certificate of a certs directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Its file.
    pub certificate: PathBuf,
    /// The file of its key, if it is there.
    pub key: Option<PathBuf>,
    /// What it is for.
    pub kind: CertificateKind,
    /// Its subject, as `O=grantd, CN=node`.
    pub subject: String,
    /// Its other names: host names and addresses.
    pub names: Vec<String>,
    /// When it begins to be valid.
    pub not_before: OffsetDateTime,
    /// When it ends.
    pub not_after: OffsetDateTime,
    /// What is wrong with it, if anything: it has expired, say.
    pub fault: Option<String>,
}

/// The certificates in `directory`, ordered by file name.
///
/// Files that do not end in `.crt` are passed over; one that does and is no certificate is an error.
pub fn list(directory: &Path) -> Result<Vec<CertificateInfo>, CertError> {
    let entries = fs::read_dir(directory).map_err(file_error("read", directory))?;
    let mut paths = Vec::new();
    for entry in entries.take(FILES_MAX) {
        let path = entry.map_err(file_error("read", directory))?.path();
        if path.extension().is_some_and(|extension| extension == "crt") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.into_iter().map(inspect).collect()
}

fn inspect(path: PathBuf) -> Result<CertificateInfo, CertError> {
    let pem = fs::read(&path).map_err(file_error("read", &path))?;
    let bad = |fault: String| CertError::BadCertificate { path: path.clone(), fault };
    let der = first_certificate(&pem).map_err(bad)?;
    let (_, parsed) = parse_x509_certificate(&der).map_err(|error| bad(error.to_string()))?;
    let not_before = parsed.validity().not_before.to_datetime();
    let not_after = parsed.validity().not_after.to_datetime();
    let now = OffsetDateTime::now_utc();
    let fault = if now > not_after {
        Some("expired".to_owned())
    } else if now < not_before {
        Some("not yet valid".to_owned())
    } else {
        None
    };
    let key = path.with_extension("key");
    Ok(CertificateInfo {
        kind: kind_of(&der, &parsed),
        subject: subject_of(&parsed),
        names: names_of(&parsed),
        not_before,
        not_after,
        fault,
        key: key.exists().then_some(key),
        certificate: path,
    })
}

/// What signing needs to know of the CA.
pub(super) struct CaFacts {
    pub(super) is_ca: bool,
    pub(super) public_key: Vec<u8>,
    pub(super) not_after: OffsetDateTime,
}

impl CaFacts {
    pub(super) fn read(pem: &str) -> Result<Self, String> {
        let der = first_certificate(pem.as_bytes())?;
        let (_, parsed) = parse_x509_certificate(&der).map_err(|error| error.to_string())?;
        Ok(Self {
            is_ca: parsed.is_ca(),
            public_key: parsed.public_key().raw.to_vec(),
            not_after: parsed.validity().not_after.to_datetime(),
        })
    }
}

fn first_certificate(pem: &[u8]) -> Result<CertificateDer<'static>, String> {
    CertificateDer::from_pem_slice(pem).map_err(|_| "it is not a certificate in PEM".to_owned())
}

fn kind_of(der: &CertificateDer<'_>, parsed: &X509Certificate<'_>) -> CertificateKind {
    if parsed.is_ca() {
        return CertificateKind::Ca;
    }
    match identity::node_id_of(der) {
        Ok(id) => CertificateKind::Node(id),
        Err(_) => CertificateKind::Client(common_name(parsed).unwrap_or_default()),
    }
}

/// The common name; none if there is none, or more than one: then it does not say who it is of.
pub(crate) fn common_name(parsed: &X509Certificate<'_>) -> Option<String> {
    let mut names = parsed.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?.to_owned();
    names.next().is_none().then_some(name)
}

fn subject_of(parsed: &X509Certificate<'_>) -> String {
    parsed.subject().to_string()
}

fn names_of(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = parsed.subject_alternative_name() else { return Vec::new() };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => (*name).to_owned(),
        GeneralName::IPAddress(octets) => {
            if let Ok(octets) = <[u8; 4]>::try_from(*octets) {
                Ipv4Addr::from(octets).to_string()
            } else if let Ok(octets) = <[u8; 16]>::try_from(*octets) {
                Ipv6Addr::from(octets).to_string()
            } else {
                "?".to_owned()
            }
        }
        other => other.to_string(),
    };
    extension.value.general_names.iter().map(text).collect()
}
