//! A network of our own between the nodes' QUIC ports: each directed link can be cut, delayed and made lossy.
//!
//! In front of each seat there is a UDP relay, and its address is the one that the node advertises. A node has one socket for
//! all its connections, so that the port that a packet comes from says whose it is.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use grantd_cluster_tests::dice::Dice;
use tokio::net::UdpSocket;

/// The largest UDP packet.
const PACKET_BYTES_MAX: usize = 65_536;

/// What happens to packets from one seat to another.
#[derive(Default)]
struct Link {
    cut: AtomicBool,
    delay_ms: AtomicU64,
    /// Of a thousand packets.
    lost: AtomicU64,
}

/// The network between the seats.
pub struct Net {
    /// Where the node in each seat listens.
    nodes: Vec<SocketAddr>,
    fronts: Vec<Arc<UdpSocket>>,
    /// By sender, then by receiver.
    links: Vec<Vec<Link>>,
    dice: Mutex<Dice>,
}

impl Net {
    /// Relays in front of nodes that listen on these ports. They end with the runtime.
    pub async fn start(ports: &[u16], seed: u64) -> Arc<Self> {
        let mut fronts = Vec::new();
        for _ in ports {
            fronts.push(Arc::new(bound().await));
        }
        let links = || ports.iter().map(|_| Link::default()).collect();
        let net = Arc::new(Self {
            nodes: ports.iter().map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, *port))).collect(),
            fronts,
            links: ports.iter().map(|_| links()).collect(),
            dice: Mutex::new(Dice::new(seed)),
        });
        for to in 0..ports.len() {
            let mut backs = Vec::new();
            for from in 0..ports.len() {
                let back = Arc::new(bound().await);
                back.connect(net.nodes[to]).await.expect("loopback");
                tokio::spawn(Arc::clone(&net).backward(to, from, Arc::clone(&back)));
                backs.push(back);
            }
            tokio::spawn(Arc::clone(&net).forward(to, backs));
        }
        net
    }

    /// What the node in this seat advertises.
    pub fn address(&self, seat: usize) -> String {
        self.fronts[seat].local_addr().expect("a bound socket has an address").to_string()
    }

    /// Cuts or heals one direction.
    pub fn cut(&self, from: usize, to: usize, cut: bool) {
        self.links[from][to].cut.store(cut, Ordering::SeqCst);
    }

    /// Cuts or heals both directions between a seat and all others.
    pub fn isolate(&self, seat: usize, cut: bool) {
        for other in (0..self.nodes.len()).filter(|other| *other != seat) {
            self.cut(seat, other, cut);
            self.cut(other, seat, cut);
        }
    }

    /// Delays all packets by up to so long, and loses so many of a thousand.
    pub fn weather(&self, delay_ms: u64, lost: u64) {
        for link in self.links.iter().flatten() {
            link.delay_ms.store(delay_ms, Ordering::SeqCst);
            link.lost.store(lost, Ordering::SeqCst);
        }
    }

    /// To the node in seat `to`, from whoever sends to its advertised address.
    async fn forward(self: Arc<Self>, to: usize, backs: Vec<Arc<UdpSocket>>) {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        loop {
            let Ok((length, sender)) = self.fronts[to].recv_from(&mut packet).await else { continue };
            let Some(from) = self.nodes.iter().position(|node| *node == sender) else { continue };
            let (back, packet) = (Arc::clone(&backs[from]), packet[..length].to_vec());
            self.pass(from, to, async move { drop(back.send(&packet).await) });
        }
    }

    /// From the node in seat `to`, on connections that the node in seat `from` made.
    async fn backward(self: Arc<Self>, to: usize, from: usize, back: Arc<UdpSocket>) {
        let mut packet = vec![0; PACKET_BYTES_MAX];
        loop {
            // An error is an ICMP answer of a closed port; the node may come back.
            let Ok(length) = back.recv(&mut packet).await else { continue };
            let (front, packet) = (Arc::clone(&self.fronts[to]), packet[..length].to_vec());
            let node = self.nodes[from];
            self.pass(to, from, async move { drop(front.send_to(&packet, node).await) });
        }
    }

    fn pass(self: &Arc<Self>, from: usize, to: usize, send: impl Future<Output = ()> + Send + 'static) {
        let link = &self.links[from][to];
        let (delay_ms, lost) = (link.delay_ms.load(Ordering::SeqCst), link.lost.load(Ordering::SeqCst));
        let (delay_ms, is_lost) = {
            let mut dice = self.dice.lock().expect("no panic while it is held");
            let delay_ms = dice.below(usize::try_from(delay_ms).unwrap_or(0) + 1);
            (delay_ms, (dice.below(1_000) as u64) < lost)
        };
        if is_lost || link.cut.load(Ordering::SeqCst) {
            return;
        }
        let net = Arc::clone(self);
        tokio::spawn(async move {
            if delay_ms > 0 {
                tokio::time::sleep(Duration::from_millis(delay_ms as u64)).await;
            }
            // It may have been on its way when the link was cut.
            if !net.links[from][to].cut.load(Ordering::SeqCst) {
                send.await;
            }
        });
    }
}

async fn bound() -> UdpSocket {
    UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free UDP port")
}
