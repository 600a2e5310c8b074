//! A client of a node: what `grantd sql`, the demo, the tests and the bench connect with.
//!
//! `tokio-postgres` speaks the protocol; TLS by rustls, with our CA only, is added here.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Connection, Socket};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::authn::certificate_binding;
use crate::authn::scram::Binding;
use crate::secret::Secret;
use crate::tls::{self, TlsError};

/// How long connecting and logging in may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where to, as whom, and with what.
#[derive(Clone, Debug)]
pub struct Login {
    /// The node's host: a name or address of its certificate.
    pub host: String,
    /// Its SQL port.
    pub port: u16,
    /// The SQL user.
    pub user: String,
    /// The database.
    pub database: String,
    /// The CA that the node's certificate must be of.
    pub ca: PathBuf,
    /// The user's certificate and key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// The user's password.
    pub password: Option<Secret>,
}

/// A connection that is not driven yet: nothing moves until the second part is polled.
pub type Opened = (Client, Connection<Socket, Secured<Socket>>, Tls);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// CA, certificate or key cannot be used. Nothing was tried.
    #[error("TLS cannot be set up")]
    Tls(#[from] TlsError),
    /// Nobody listens, the certificate is not trusted, or the login was refused.
    #[error("cannot connect to {to}")]
    Postgres {
        /// Host and port.
        to: String,
        /// What happened; the server's own error, if it is one.
        #[source]
        source: Box<tokio_postgres::Error>,
    },
    /// No answer in time.
    #[error("no answer from {to} within {} s", CONNECT_TIMEOUT.as_secs())]
    Timeout {
        /// Host and port.
        to: String,
    },
}

/// Connects and logs in, always by TLS. The caller drives the connection.
pub async fn open(login: &Login) -> Result<Opened, ConnectError> {
    let certificate = login.certificate.as_ref().map(|(cert, key)| (cert.as_path(), key.as_path()));
    let tls = Tls::new(tls::client(&login.ca, certificate)?);
    let mut config = tokio_postgres::Config::new();
    config.host(&login.host).port(login.port).user(&login.user).dbname(&login.database);
    config.application_name("grantd").ssl_mode(SslMode::Require);
    if let Some(password) = &login.password {
        config.password(password.expose());
    }
    let to = format!("{}:{}", login.host, login.port);
    match tokio::time::timeout(CONNECT_TIMEOUT, config.connect(tls.clone())).await {
        Ok(Ok((client, connection))) => Ok((client, connection, tls)),
        Ok(Err(source)) => Err(ConnectError::Postgres { to, source: Box::new(source) }),
        Err(_elapsed) => Err(ConnectError::Timeout { to }),
    }
}

/// Connects and logs in. A task of the runtime drives the connection until the client is dropped; notices are lost.
pub async fn connect(login: &Login) -> Result<Client, ConnectError> {
    let (client, connection, _) = open(login).await?;
    // A connection that breaks fails the client's next request, which says why.
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}

/// Makes TLS connections by a rustls configuration.
#[derive(Clone, Debug)]
pub struct Tls {
    config: Arc<rustls::ClientConfig>,
}

/// TLS to one server.
#[derive(Debug)]
pub struct TlsTo {
    config: Arc<rustls::ClientConfig>,
    server: ServerName<'static>,
}

/// A connection under TLS.
#[derive(Debug)]
pub struct Secured<S>(Box<TlsStream<S>>);

impl Tls {
    /// TLS by `config`: what it trusts, and the certificate that it shows.
    pub fn new(mut config: Arc<rustls::ClientConfig>) -> Self {
        Arc::make_mut(&mut config).alpn_protocols = vec![crate::pgwire::stream::ALPN.to_vec()];
        Self { config }
    }
}

impl<S> MakeTlsConnect<S> for Tls
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Stream = Secured<S>;
    type TlsConnect = TlsTo;
    type Error = rustls::pki_types::InvalidDnsNameError;

    fn make_tls_connect(&mut self, domain: &str) -> Result<TlsTo, Self::Error> {
        let server = ServerName::try_from(domain.to_owned())?;
        Ok(TlsTo { config: Arc::clone(&self.config), server })
    }
}

impl<S> TlsConnect<S> for TlsTo
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    type Stream = Secured<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Secured<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let stream = TlsConnector::from(self.config).connect(self.server, stream).await?;
            Ok(Secured(Box::new(stream)))
        })
    }
}

impl<S> tokio_postgres::tls::TlsStream for Secured<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates();
        match certificates.and_then(|chain| chain.first()).map(|leaf| certificate_binding(leaf)) {
            Some(Binding::ServerEndPoint(hash)) => ChannelBinding::tls_server_end_point(hash),
            Some(Binding::Unavailable) | None => ChannelBinding::none(),
        }
    }
}

impl<S> AsyncRead for Secured<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buf)
    }
}

impl<S> AsyncWrite for Secured<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
