//! A client whose node is listened to: every byte that it sends, as it is under TLS.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use grantd_cluster_tests::process::{Cluster, Node};
use grantd_node::pgwire::stream::ALPN;
use grantd_node::{cert, tls};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Config, Error, NoTls};
use tokio_rustls::TlsConnector;

/// What nodes sent to clients.
#[derive(Clone, Default)]
pub struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    /// All of it so far.
    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().expect("nobody panics with it").clone()
    }
}

struct Recording<S> {
    inner: S,
    heard: Heard,
}

impl<S: AsyncRead + Unpin> AsyncRead for Recording<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.heard.0.lock().expect("nobody panics with it").extend_from_slice(&buf.filled()[before..]);
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Recording<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// How one logs in: by the user's certificate, or by a password.
pub struct Login {
    port: u16,
    user: String,
    password: Option<String>,
    tls: Arc<rustls::ClientConfig>,
}

impl Login {
    /// On this node.
    pub fn of(cluster: &Cluster, node: &Node, user: &str, password: Option<&str>) -> Self {
        let ca = cluster.ca();
        let file = |ending: &str| ca.join(format!("client.{user}.{ending}"));
        let (certificate, key) = (file("crt"), file("key"));
        let shown = password.is_none().then_some((certificate.as_path(), key.as_path()));
        let mut tls = tls::client(&ca.join(cert::CA_CERT), shown).expect("a TLS configuration");
        Arc::make_mut(&mut tls).alpn_protocols = vec![ALPN.to_vec()];
        Self { port: node.sql_port, user: user.to_owned(), password: password.map(str::to_owned), tls }
    }
}

/// Logs in.
pub async fn connect(login: Login, heard: &Heard) -> Result<Client, Error> {
    let tcp = TcpStream::connect(("127.0.0.1", login.port)).await.expect("the port is open");
    let name = ServerName::try_from("localhost").expect("a name");
    let inner = TlsConnector::from(login.tls).connect(name, tcp).await.expect("TLS works");
    let mut config = Config::new();
    config.user(&login.user).dbname("defaultdb").application_name("traced").ssl_mode(SslMode::Disable);
    if let Some(password) = &login.password {
        config.password(password);
    }
    let (client, connection) = config.connect_raw(Recording { inner, heard: heard.clone() }, NoTls).await?;
    tokio::spawn(async move { drop(connection.await) });
    Ok(client)
}
