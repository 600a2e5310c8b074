//! QUIC: quinn on both sides, a stream for each request, as nodes speak to each other.

use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, Connection, Endpoint, ServerConfig};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::echo::Sizes;
use crate::echo::certificates::Certificates;

type Failed = Box<dyn std::error::Error>;

const ALPN: &[u8] = b"echo";

/// A server, and a connection to it.
pub struct QuicEcho {
    connection: Connection,
    request: Vec<u8>,
    sizes: Sizes,
    /// Dropped last: their sockets.
    _endpoints: [Endpoint; 2],
    server: JoinHandle<()>,
}

impl QuicEcho {
    /// Starts it on `servers` and connects.
    pub async fn start(servers: &Handle, certificates: &Certificates, sizes: Sizes) -> Result<Self, Failed> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let tls = QuicServerConfig::try_from(certificates.server(ALPN)?)?;
        let there = {
            let _in = servers.enter();
            Endpoint::server(ServerConfig::with_crypto(Arc::new(tls)), any)?
        };
        let accepting = there.clone();
        let server = servers.spawn(async move {
            let Some(incoming) = accepting.accept().await else { return };
            let Ok(connection) = incoming.await else { return };
            while let Ok((mut send, mut receive)) = connection.accept_bi().await {
                tokio::spawn(async move {
                    // What breaks here fails the client's request.
                    if receive.read_to_end(sizes.request).await.is_ok() {
                        let _ = send.write_all(&vec![7; sizes.answer]).await;
                        let _ = send.finish();
                    }
                });
            }
        });
        let mut here = Endpoint::client(any)?;
        let tls = QuicClientConfig::try_from(certificates.client(ALPN)?)?;
        here.set_default_client_config(ClientConfig::new(Arc::new(tls)));
        let connection = here.connect(there.local_addr()?, "localhost")?.await?;
        let request = vec![7; sizes.request];
        Ok(Self { connection, request, sizes, _endpoints: [here, there], server })
    }

    /// Sends a request on a stream of its own and reads its answer.
    pub async fn once(&mut self) -> Result<(), Failed> {
        let (mut send, mut receive) = self.connection.open_bi().await?;
        send.write_all(&self.request).await?;
        send.finish()?;
        receive.read_to_end(self.sizes.answer).await?;
        Ok(())
    }
}

impl Drop for QuicEcho {
    fn drop(&mut self) {
        self.server.abort();
    }
}
