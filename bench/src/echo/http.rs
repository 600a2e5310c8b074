//! HTTP/1.1 over TLS, kept alive: hyper and rustls on both sides, as a node's HTTPS server has them.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::echo::certificates::{Certificates, HTTP_ALPN};
use crate::echo::{Sizes, listen};

type Failed = Box<dyn std::error::Error>;

/// One connection to an HTTP server, plain or under TLS.
pub struct Connection {
    requests: SendRequest<Full<Bytes>>,
    host: String,
}

impl Connection {
    /// Connects under TLS. `client`: whom to trust and what to show.
    pub async fn secured(
        address: SocketAddr,
        client: std::sync::Arc<rustls::ClientConfig>,
    ) -> Result<Self, Failed> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let stream = TlsConnector::from(client).connect(ServerName::try_from("localhost")?, tcp).await?;
        let (requests, connection) = handshake(TokioIo::new(stream)).await?;
        // A connection that breaks fails the next request, which says why.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { requests, host: format!("localhost:{}", address.port()) })
    }

    /// Connects without TLS.
    pub async fn plain(address: SocketAddr) -> Result<Self, Failed> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let (requests, connection) = handshake(TokioIo::new(tcp)).await?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(Self { requests, host: address.to_string() })
    }

    /// POSTs JSON, and reads the whole answer.
    pub async fn post(
        &mut self,
        path: &str,
        authorization: Option<&str>,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), Failed> {
        let mut request = Request::builder().method(Method::POST).uri(path).header(HOST, self.host.as_str());
        request = request.header(CONTENT_TYPE, "application/json");
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let request = request.body(Full::new(body))?;
        self.requests.ready().await?;
        let response = self.requests.send_request(request).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }
}

/// A server that reads each request's body and answers with as many bytes as it was told, and a connection to it.
pub struct HttpEcho {
    connection: Connection,
    body: Bytes,
    server: JoinHandle<()>,
}

impl HttpEcho {
    /// Starts it on `servers` and connects.
    pub async fn start(servers: &Handle, certificates: &Certificates, sizes: Sizes) -> Result<Self, Failed> {
        let (listener, address) = listen(servers)?;
        let acceptor = TlsAcceptor::from(certificates.server(HTTP_ALPN)?);
        let answer = Bytes::from(vec![b' '; sizes.answer]);
        let server = servers.spawn(async move {
            // What breaks here fails the client's request.
            let Ok((tcp, _)) = listener.accept().await else { return };
            if tcp.set_nodelay(true).is_err() {
                return;
            }
            let Ok(stream) = acceptor.accept(tcp).await else { return };
            let service = service_fn(move |request: Request<Incoming>| {
                let answer = answer.clone();
                async move {
                    // A body that breaks off has nobody left to be answered.
                    let _ = request.into_body().collect().await;
                    Ok::<_, Infallible>(Response::new(Full::new(answer)))
                }
            });
            let served =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            drop(served.await);
        });
        let connection = Connection::secured(address, certificates.client(HTTP_ALPN)?).await?;
        Ok(Self { connection, body: Bytes::from(vec![b' '; sizes.request]), server })
    }

    /// Sends a request and reads its answer.
    pub async fn once(&mut self) -> Result<(), Failed> {
        self.connection.post("/access/v1/evaluation", None, self.body.clone()).await?;
        Ok(())
    }
}

impl Drop for HttpEcho {
    fn drop(&mut self) {
        self.server.abort();
    }
}
