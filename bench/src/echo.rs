//! Bare echoes: what a request and its answer cost on each transport when nothing is done between them. What grantd
//! answers over a transport is compared with its echo, measured in turn with it.
//!
//! The servers run on a runtime of several threads, as in a node; who asks has a thread and a runtime of its own, as a
//! program has. An echo has grantd's runtime, TLS and sizes of messages, and nothing of its code: no decoding, no view, no lease.

pub mod certificates;
pub mod http;
pub mod quic;
pub mod sql;

use std::net::{Ipv4Addr, SocketAddr};

use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

type Failed = Box<dyn std::error::Error>;

/// How long the messages are.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    /// Bytes of a request.
    pub request: usize,
    /// Bytes of its answer.
    pub answer: usize,
}

/// A connection to a task that answers each request of one size with an answer of another one. The task ends with it.
pub struct Echo<S> {
    stream: S,
    request: Vec<u8>,
    answer: Vec<u8>,
    server: JoinHandle<()>,
    /// Of the socket's file.
    _directory: Option<TempDir>,
}

impl Echo<UnixStream> {
    /// Over a Unix socket. The server runs on `servers`.
    pub async fn unix(servers: &Handle, sizes: Sizes) -> Result<Self, Failed> {
        let directory = TempDir::new()?;
        let path = directory.path().join("echo");
        let listener = {
            let _in = servers.enter();
            UnixListener::bind(&path)?
        };
        let server = servers.spawn(async move {
            if let Ok((stream, _)) = listener.accept().await {
                serve(stream, sizes).await;
            }
        });
        Ok(Self::new(UnixStream::connect(path).await?, sizes, server, Some(directory)))
    }
}

impl Echo<TcpStream> {
    /// Over TCP, without Nagle's delay.
    pub async fn tcp(servers: &Handle, sizes: Sizes) -> Result<Self, Failed> {
        let (listener, address) = listen(servers)?;
        let server = servers.spawn(async move {
            if let Ok((stream, _)) = listener.accept().await
                && stream.set_nodelay(true).is_ok()
            {
                serve(stream, sizes).await;
            }
        });
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::new(stream, sizes, server, None))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Echo<S> {
    fn new(stream: S, sizes: Sizes, server: JoinHandle<()>, directory: Option<TempDir>) -> Self {
        let (request, answer) = (vec![7; sizes.request], vec![0; sizes.answer]);
        Self { stream, request, answer, server, _directory: directory }
    }

    /// Sends a request and reads its answer.
    pub async fn once(&mut self) -> Result<(), Failed> {
        self.stream.write_all(&self.request).await?;
        self.stream.read_exact(&mut self.answer).await?;
        Ok(())
    }
}

impl<S> Drop for Echo<S> {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A listener on loopback that belongs to the runtime `servers`, and where it is.
fn listen(servers: &Handle) -> Result<(TcpListener, SocketAddr), Failed> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let _in = servers.enter();
    Ok((TcpListener::from_std(listener)?, address))
}

/// Answers until the client is gone.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, sizes: Sizes) {
    let (mut request, answer) = (vec![0; sizes.request], vec![7; sizes.answer]);
    while stream.read_exact(&mut request).await.is_ok() && stream.write_all(&answer).await.is_ok() {}
}
