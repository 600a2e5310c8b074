//! Certificates of a run: a CA, a server's on this host, and a client's for `root`.

use std::path::PathBuf;
use std::sync::Arc;

use grantd_node::pgclient::Login;
use grantd_node::{cert, tls};
use rustls::{ClientConfig, ServerConfig};
use tempfile::TempDir;

type Failed = Box<dyn std::error::Error>;

/// HTTP/1.1.
pub const HTTP_ALPN: &[u8] = b"http/1.1";
/// They are for one run.
const DAYS: u32 = 2;

/// The files, gone when this is dropped.
pub struct Certificates {
    directory: TempDir,
}

impl Certificates {
    /// Makes them.
    pub fn make() -> Result<Self, Failed> {
        let directory = TempDir::new()?;
        let path = directory.path();
        let options = cert::Options { days: DAYS, overwrite: true };
        cert::create_ca(path, &options)?;
        cert::create_node(path, path, 1, &["localhost".to_owned(), "127.0.0.1".to_owned()], &options)?;
        cert::create_client(path, path, "root", &options)?;
        Ok(Self { directory })
    }

    /// The CA's certificate.
    pub fn ca(&self) -> PathBuf {
        self.directory.path().join(cert::CA_CERT)
    }

    /// Certificate and key of `root`.
    pub fn root(&self) -> (PathBuf, PathBuf) {
        (self.directory.path().join("client.root.crt"), self.directory.path().join("client.root.key"))
    }

    /// What a node's SQL and HTTPS ports serve with, for the protocol `alpn`.
    pub fn server(&self, alpn: &[u8]) -> Result<Arc<ServerConfig>, Failed> {
        let read = |name: &str| std::fs::read(self.directory.path().join(name));
        let (mut config, _) =
            tls::server(&read(cert::CA_CERT)?, &read(cert::NODE_CERT)?, &read(cert::NODE_KEY)?)?;
        Arc::make_mut(&mut config).alpn_protocols = vec![alpn.to_vec()];
        Ok(config)
    }

    /// What `root` connects with.
    pub fn client(&self, alpn: &[u8]) -> Result<Arc<ClientConfig>, Failed> {
        let (certificate, key) = self.root();
        let mut config = tls::client(&self.ca(), Some((&certificate, &key)))?;
        Arc::make_mut(&mut config).alpn_protocols = vec![alpn.to_vec()];
        Ok(config)
    }
}

/// What somebody who logs in on a node by certificate speaks HTTPS with.
pub fn client_of(login: &Login) -> Result<Arc<ClientConfig>, Failed> {
    let certificate =
        login.certificate.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
    let mut config = tls::client(&login.ca, certificate)?;
    Arc::make_mut(&mut config).alpn_protocols = vec![HTTP_ALPN.to_vec()];
    Ok(config)
}
