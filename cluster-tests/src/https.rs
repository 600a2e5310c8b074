//! A client of a node's HTTPS port: one connection that is kept, and bytes as a test wants them.

use std::path::Path;
use std::sync::Arc;

use grantd_node::cert;
use grantd_node::tls;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The most bytes of an answer's head; a longer one is a bug.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// One connection.
pub struct Https {
    stream: TlsStream<TcpStream>,
    port: u16,
}

/// One answer.
#[derive(Debug)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its head, as it came.
    pub head: String,
    /// Its body.
    pub body: Vec<u8>,
}

impl Reply {
    /// Its body, as JSON.
    pub fn json(&self) -> Value {
        let shown = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {shown}"))
    }

    /// A field of its head.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(value.trim()))
    }
}

impl Https {
    /// Connects to `port`, trusting the CA in `ca`; with the certificate of `user` that is there, if one is named.
    pub async fn connect(ca: &Path, port: u16, user: Option<&str>) -> Self {
        Self::try_connect(ca, port, user).await.expect("the port is open, and TLS works")
    }

    /// The same, of a node that may be down.
    pub async fn try_connect(ca: &Path, port: u16, user: Option<&str>) -> std::io::Result<Self> {
        let named = user.map(|user| ["crt", "key"].map(|ending| ca.join(format!("client.{user}.{ending}"))));
        let certificate = named.as_ref().map(|[certificate, key]| (certificate.as_path(), key.as_path()));
        let mut config = tls::client(&ca.join(cert::CA_CERT), certificate).expect("a TLS configuration");
        Arc::make_mut(&mut config).alpn_protocols = vec![b"http/1.1".to_vec()];
        let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a name");
        let stream = TlsConnector::from(config).connect(name, tcp).await?;
        Ok(Self { stream, port })
    }

    /// GET.
    pub async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.ask("GET", path, headers, b"").await
    }

    /// POST of JSON.
    pub async fn post(&mut self, path: &str, body: &Value) -> Reply {
        self.post_with(path, &[], body).await
    }

    /// POST of JSON, with further fields in its head.
    pub async fn post_with(&mut self, path: &str, headers: &[(&str, &str)], body: &Value) -> Reply {
        let headers = [headers, &[("Content-Type", "application/json")]].concat();
        self.ask("POST", path, &headers, body.to_string().as_bytes()).await
    }

    /// Any request.
    pub async fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.try_ask(method, path, headers, body).await.expect("an answer")
    }

    /// The same. None: the connection has ended.
    pub async fn try_ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Reply> {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: localhost:{}\r\n", self.port);
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body);
        self.send(&bytes).await;
        self.reply().await
    }

    /// Sends bytes as they are. That nobody reads them any more is for [`Self::reply`] to find out.
    pub async fn send(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).await.is_ok() {
            let _ = self.stream.flush().await;
        }
    }

    /// The next answer. None: the connection has ended.
    pub async fn reply(&mut self) -> Option<Reply> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            assert!(head.len() < HEAD_BYTES_MAX, "a head without an end");
            head.push(self.stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).expect("a head is text");
        let mut reply = Reply { status: head.split(' ').nth(1)?.parse().ok()?, head, body: Vec::new() };
        let length = reply.header("content-length").map_or(0, |length| length.parse().expect("a number"));
        reply.body = vec![0; length];
        self.stream.read_exact(&mut reply.body).await.ok()?;
        Some(reply)
    }
}
