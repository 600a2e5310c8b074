//! A client's byte stream, plain or under TLS, with its input buffer and its time limits.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a client may take to read what it was sent before it is given up.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(300);
/// Bytes that are read at a time.
const READ_BYTES: usize = 16 << 10;
/// What a client must offer if it begins with TLS at once (ALPN), as in PostgreSQL 17.
pub const ALPN: &[u8] = b"postgresql";
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// The stream and the bytes that came in and are not used yet.
#[derive(Debug)]
pub struct Stream {
    io: Io,
    /// What came in.
    pub input: BytesMut,
}

#[derive(Debug)]
enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// A handshake failed: nothing can be sent any more.
    Gone,
}

impl Stream {
    /// A plain stream.
    pub fn new(tcp: TcpStream) -> Self {
        Self { io: Io::Plain(tcp), input: BytesMut::new() }
    }

    /// Whether the client begins with TLS instead of asking for it. Waits for its first byte, which stays unread.
    pub async fn begins_with_tls(&self) -> io::Result<bool> {
        let mut first = [0];
        match &self.io {
            Io::Plain(tcp) => Ok(tcp.peek(&mut first).await? == 1 && first[0] == TLS_HANDSHAKE),
            Io::Tls(_) | Io::Gone => Ok(false),
        }
    }

    /// Where the client is: `address:port`. Empty if the socket cannot say any more.
    pub fn peer(&self) -> String {
        let address = match &self.io {
            Io::Plain(tcp) => tcp.peer_addr(),
            Io::Tls(tls) => tls.get_ref().0.peer_addr(),
            Io::Gone => return String::new(),
        };
        address.map(|address| address.to_string()).unwrap_or_default()
    }

    /// Whether it is under TLS.
    pub fn is_tls(&self) -> bool {
        matches!(self.io, Io::Tls(_))
    }

    /// Does the server's side of a TLS handshake. After an error the stream is gone.
    pub async fn accept_tls(&mut self, config: Arc<rustls::ServerConfig>) -> io::Result<()> {
        let Io::Plain(tcp) = std::mem::replace(&mut self.io, Io::Gone) else {
            return Err(io::Error::other("TLS inside TLS"));
        };
        let tls = TlsAcceptor::from(config).accept(tcp).await?;
        self.io = Io::Tls(Box::new(tls));
        Ok(())
    }

    /// The protocol that was agreed on in the handshake.
    pub fn alpn(&self) -> Option<&[u8]> {
        match &self.io {
            Io::Tls(tls) => tls.get_ref().1.alpn_protocol(),
            Io::Plain(_) | Io::Gone => None,
        }
    }

    /// The certificate that the client showed and the handshake verified.
    pub fn client_certificate(&self) -> Option<&[u8]> {
        match &self.io {
            Io::Tls(tls) => tls.get_ref().1.peer_certificates()?.first().map(|certificate| &certificate[..]),
            Io::Plain(_) | Io::Gone => None,
        }
    }

    /// Waits for more bytes; false: the client has closed. Cancel-safe: no byte is lost.
    pub async fn fill(&mut self) -> io::Result<bool> {
        self.input.reserve(READ_BYTES);
        let count = match &mut self.io {
            Io::Plain(tcp) => tcp.read_buf(&mut self.input).await?,
            Io::Tls(tls) => tls.read_buf(&mut self.input).await?,
            Io::Gone => 0,
        };
        Ok(count > 0)
    }

    /// Sends all of `bytes` and empties it.
    pub async fn send(&mut self, bytes: &mut BytesMut) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let write = async {
            match &mut self.io {
                Io::Plain(tcp) => tcp.write_all(bytes).await,
                Io::Tls(tls) => {
                    tls.write_all(bytes).await?;
                    tls.flush().await
                }
                Io::Gone => Err(io::ErrorKind::NotConnected.into()),
            }
        };
        tokio::time::timeout(WRITE_STALL_MAX, write).await.map_err(|_| io::ErrorKind::TimedOut)??;
        bytes.clear();
        Ok(())
    }

    /// Closes the sending side, so that what was sent arrives before the end. What the client still sends is read
    /// and dropped for a moment: closing with unread input would reset the connection and lose the last error.
    pub async fn close(mut self) {
        let closed = async {
            match &mut self.io {
                Io::Plain(tcp) => tcp.shutdown().await?,
                Io::Tls(tls) => tls.shutdown().await?,
                Io::Gone => return Ok(()),
            }
            let mut dropped = 0;
            while dropped < LINGER_BYTES_MAX && self.fill().await? {
                dropped += self.input.len();
                self.input.clear();
            }
            io::Result::Ok(())
        };
        // Whatever goes wrong here, the connection is over.
        let _ = tokio::time::timeout(LINGER, closed).await;
    }
}

/// How long a connection that ends with an error waits for the client to close.
const LINGER: Duration = Duration::from_secs(1);
/// How many bytes of such a client are read meanwhile.
const LINGER_BYTES_MAX: usize = 32 << 20;
