//! TLS of the SQL port, for the server and for our own clients: from PEM to rustls configurations.
//!
//! One crypto backend, ring, named here and in `grantd_raft::quic` and nowhere chosen by default. The CA of the cluster
//! is the only one that is trusted; the system's own certificates are not looked at.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{
    CertificateError, ClientConfig, ConfigBuilder, ConfigSide, RootCertStore, ServerConfig, WantsVerifier,
};
use tracing::warn;

use crate::authn::certificate_binding;
use crate::authn::scram::Binding;

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or may not be read.
    #[error("cannot read `{path}`", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// There is no certificate where one has to be.
    #[error("{what} is not a certificate in PEM")]
    Certificate {
        /// Whose, or which file.
        what: String,
    },
    /// There is no key where one has to be.
    #[error("{what} is not a private key in PEM")]
    Key {
        /// Whose, or which file.
        what: String,
    },
    /// The certificate is not one that the other side would accept now.
    #[error("{what} cannot be used: {fault}")]
    Invalid {
        /// Whose, or which file.
        what: String,
        /// Why: it has expired, say.
        fault: String,
    },
    /// The pieces do not fit each other: a key of another certificate, say.
    #[error("certificate and key cannot be used: {fault}")]
    Unfit {
        /// What rustls says.
        fault: String,
    },
}

/// What the SQL port serves with: clients may show a certificate of the CA, and need none.
///
/// Beside it, what ties a password exchange to this certificate.
pub fn server(
    ca_pem: &[u8],
    cert_pem: &[u8],
    key_pem: &[u8],
) -> Result<(Arc<ServerConfig>, Binding), TlsError> {
    let roots = Arc::new(roots(ca_pem, "the CA's certificate")?);
    let chain = chain(cert_pem, "the node's certificate")?;
    let key = key(key_pem, "the node's key")?;
    let verifier = verifier(roots)?;
    check(&*verifier, &chain, "the node's certificate")?;
    let binding = certificate_binding(&chain[0]);
    let config = with_ring(ServerConfig::builder_with_provider)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .map_err(unfit)?;
    Ok((Arc::new(config), binding))
}

/// What a client connects with: it trusts the CA in `ca`, and shows a certificate if it has one (certificate, key).
pub fn client(ca: &Path, certificate: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, TlsError> {
    let shown = |path: &Path| format!("`{}`", path.display());
    let roots = Arc::new(roots(&read(ca)?, &shown(ca))?);
    let builder = with_ring(ClientConfig::builder_with_provider)?.with_root_certificates(Arc::clone(&roots));
    let config = match certificate {
        None => builder.with_no_client_auth(),
        Some((cert_path, key_path)) => {
            let chain = chain(&read(cert_path)?, &shown(cert_path))?;
            check(&*verifier(roots)?, &chain, &shown(cert_path))?;
            warn_if_exposed(key_path);
            builder.with_client_auth_cert(chain, key(&read(key_path)?, &shown(key_path))?).map_err(unfit)?
        }
    };
    Ok(Arc::new(config))
}

/// Warns if others than the owner may read or change a key. Only a warning: some systems mount secrets so.
pub fn warn_if_exposed(key: &Path) {
    // A file that cannot be looked at is an error of whoever reads it next.
    let Ok(metadata) = key.metadata() else { return };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let (key, mode) = (key.display(), format!("{mode:o}"));
        warn!(%key, mode, "others may read this private key; set its mode to 600");
    }
}

/// Accepts clients without a certificate, and those with one of the CA.
fn verifier(roots: Arc<RootCertStore>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    WebPkiClientVerifier::builder_with_provider(roots, provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| TlsError::Unfit { fault: error.to_string() })
}

/// Says here and in words what the other side would say in a handshake with an alert.
fn check(
    verifier: &dyn ClientCertVerifier,
    chain: &[CertificateDer<'_>],
    what: &str,
) -> Result<(), TlsError> {
    let [own, intermediates @ ..] = chain else { return Ok(()) };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let Err(error) = verifier.verify_client_cert(own, intermediates, UnixTime::since_unix_epoch(now)) else {
        return Ok(());
    };
    let fault = match &error {
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "it has expired; make a new one with `grantd cert`".to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "it is not valid yet; compare the clocks".to_owned(),
        // All CAs that `grantd cert` makes have one name, so another one shows as a wrong signature.
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "it is not signed by the CA beside it".to_owned(),
        other => other.to_string(),
    };
    Err(TlsError::Invalid { what: what.to_owned(), fault })
}

fn with_ring<S: ConfigSide>(
    builder: fn(Arc<rustls::crypto::CryptoProvider>) -> ConfigBuilder<S, rustls::WantsVersions>,
) -> Result<ConfigBuilder<S, WantsVerifier>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    builder(provider).with_safe_default_protocol_versions().map_err(unfit)
}

fn roots(pem: &[u8], what: &str) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(pem, what)? {
        roots.add(certificate).map_err(unfit)?;
    }
    Ok(roots)
}

/// At least one certificate.
fn chain(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = || TlsError::Certificate { what: what.to_owned() };
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|_| fault())?;
    if chain.is_empty() { Err(fault()) } else { Ok(chain) }
}

fn key(pem: &[u8], what: &str) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|_| TlsError::Key { what: what.to_owned() })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_path_buf(), source })
}

fn unfit(error: rustls::Error) -> TlsError {
    TlsError::Unfit { fault: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cert::{CA_CERT, NODE_CERT, NODE_KEY, Options, create_ca, create_client, create_node};

    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let (path, options) = (directory.path(), Options { days: 1, overwrite: false });
        create_ca(path, &options).unwrap();
        create_node(path, path, 1, &["localhost".to_owned()], &options).unwrap();
        create_client(path, path, "root", &options).unwrap();
        directory
    }

    #[test]
    fn what_cert_makes_serves_and_connects() {
        let directory = directory();
        let file = |name: &str| std::fs::read(directory.path().join(name)).unwrap();
        let (_, binding) = server(&file(CA_CERT), &file(NODE_CERT), &file(NODE_KEY)).unwrap();
        assert!(matches!(binding, Binding::ServerEndPoint(_)));
        let path = |name: &str| directory.path().join(name);
        let (cert, key) = (path("client.root.crt"), path("client.root.key"));
        client(&path(CA_CERT), Some((&cert, &key))).unwrap();
        client(&path(CA_CERT), None).unwrap();
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let directory = directory();
        let path = |name: &str| directory.path().join(name);
        let missing = client(&path("none.crt"), None).unwrap_err();
        assert_eq!(missing.to_string(), format!("cannot read `{}`", path("none.crt").display()));
        let swapped = client(&path("client.root.key"), None).unwrap_err();
        assert!(swapped.to_string().ends_with("client.root.key` is not a certificate in PEM"), "{swapped}");
        let (cert, key) = (path("client.root.crt"), path(NODE_KEY));
        let other = client(&path(CA_CERT), Some((&cert, &key))).unwrap_err();
        assert!(matches!(other, TlsError::Unfit { .. }), "{other}");
    }

    #[test]
    fn a_certificate_of_another_ca_or_time_is_named_before_anything_is_tried() {
        let (directory, other) = (directory(), directory());
        let path = |name: &str| directory.path().join(name);
        let (cert, key) = (path("client.root.crt"), path("client.root.key"));
        let refused = client(&other.path().join(CA_CERT), Some((&cert, &key))).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("`{}` cannot be used: it is not signed by the CA beside it", cert.display())
        );
        let file =
            |directory: &tempfile::TempDir, name: &str| std::fs::read(directory.path().join(name)).unwrap();
        let refused =
            server(&file(&other, CA_CERT), &file(&directory, NODE_CERT), &file(&directory, NODE_KEY))
                .unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the node's certificate cannot be used: it is not signed by the CA beside it"
        );

        let (ca, cert, key) = expired();
        let refused = server(&ca, &cert, &key).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "the node's certificate cannot be used: it has expired; make a new one with `grantd cert`"
        );
    }

    /// A CA, and what it signed long ago.
    fn expired() -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let ca_key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&ca_key).unwrap().pem();
        let issuer = Issuer::new(params, ca_key);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        let cert = params.signed_by(&key, &issuer).unwrap().pem();
        (ca.into_bytes(), cert.into_bytes(), key.serialize_pem().into_bytes())
    }
}
