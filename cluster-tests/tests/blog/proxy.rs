//! A proxy through which nodes find AWS's own names: behind every one of them is the double.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::tls::Front;

/// The names under which S3 is asked.
const NAMES: [&str; 3] = ["s3.amazonaws.com", "s3.us-east-1.amazonaws.com", "*.s3.us-east-1.amazonaws.com"];
/// The most bytes of a head.
const HEAD_MAX: usize = 4_096;

/// A proxy, and the server of TLS that it leads to.
pub struct Proxy {
    address: SocketAddr,
    front: Front,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Proxy {
    /// One that leads to a double, whatever is asked for.
    pub async fn before(double: SocketAddr) -> Self {
        let front = Front::named(&NAMES).await;
        front.lead_to(double);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, host) = (Arc::<Mutex<BTreeSet<String>>>::default(), front.host());
        let kept = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(lead(stream, host.clone(), Arc::clone(&kept)));
            }
        });
        Self { address, front, asked }
    }

    /// As `HTTPS_PROXY` has it.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Who is to be trusted for what is behind it.
    pub fn ca(&self) -> &str {
        self.front.ca()
    }

    /// The hosts that were asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().cloned().collect()
    }
}

async fn lead(mut inner: TcpStream, to: String, asked: Arc<Mutex<BTreeSet<String>>>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD_MAX {
        let Ok(byte) = inner.read_u8().await else { return };
        head.push(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let host = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    asked.lock().unwrap().insert(host.unwrap_or("no tunnel").to_owned());
    let Ok(mut outer) = TcpStream::connect(to).await else { return };
    if inner.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.is_ok() {
        let _ = copy_bidirectional(&mut inner, &mut outer).await;
    }
}
