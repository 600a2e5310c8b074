//! A UDP relay between a dialer and one target, that can cut and delay.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;

/// What the relay does with packets, in both directions.
#[derive(Default)]
pub struct Weather {
    pub cut: AtomicBool,
    pub delay_ms: AtomicU64,
}

/// Starts a relay to `target`; its address and its weather. Ends with the runtime of the test.
pub async fn start(target: SocketAddr) -> (SocketAddr, Arc<Weather>) {
    let front = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
    let address = front.local_addr().unwrap();
    let weather = Arc::<Weather>::default();
    tokio::spawn(forward(front, target, Arc::clone(&weather)));
    (address, weather)
}

async fn forward(front: Arc<UdpSocket>, target: SocketAddr, weather: Arc<Weather>) {
    let backs = Mutex::new(BTreeMap::<SocketAddr, Arc<UdpSocket>>::new());
    let mut packet = vec![0; 65_536];
    loop {
        let (len, from) = front.recv_from(&mut packet).await.unwrap();
        let known = backs.lock().unwrap().get(&from).cloned();
        let back = match known {
            Some(back) => back,
            None => {
                let back = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                back.connect(target).await.unwrap();
                backs.lock().unwrap().insert(from, Arc::clone(&back));
                tokio::spawn(answer(Arc::clone(&back), Arc::clone(&front), from, Arc::clone(&weather)));
                back
            }
        };
        let packet = packet[..len].to_vec();
        pass(&weather, async move { drop(back.send(&packet).await) });
    }
}

async fn answer(back: Arc<UdpSocket>, front: Arc<UdpSocket>, to: SocketAddr, weather: Arc<Weather>) {
    let mut packet = vec![0; 65_536];
    loop {
        // An error is an ICMP answer of a closed port; the target may come back.
        let Ok(len) = back.recv(&mut packet).await else { continue };
        let (front, packet) = (Arc::clone(&front), packet[..len].to_vec());
        pass(&weather, async move { drop(front.send_to(&packet, to).await) });
    }
}

fn pass(weather: &Weather, send: impl Future<Output = ()> + Send + 'static) {
    if weather.cut.load(Ordering::SeqCst) {
        return;
    }
    let delay = Duration::from_millis(weather.delay_ms.load(Ordering::SeqCst));
    tokio::spawn(async move {
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        send.await;
    });
}
