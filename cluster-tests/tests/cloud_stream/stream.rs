//! A stream of writes, what it met, and whether all of it is there.

use std::time::{Duration, Instant};

use bytes::Bytes;
use grantd_node::cloud::storage::Storage;

/// What a stream met. It fails at the first request that does, and sends none twice.
pub struct Streamed {
    /// Objects of their own.
    pub puts: u64,
    /// Of the one object in parts.
    pub bytes: u64,
    /// Between two acknowledged puts.
    pub longest_gap: Duration,
    /// 999 of 1,000 are shorter.
    pub usual_gap: Duration,
}

/// How long streams write.
pub fn seconds() -> Duration {
    let seconds = std::env::var("GRANTD_CLOUD_STREAM_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(8))
}

/// Puts small objects, each once and after the other, and beside that writes one large object, for so long.
pub async fn write(storage: &Storage, name: &str, time: Duration) -> Streamed {
    let (puts, bytes) = tokio::join!(small(storage, name, time), large(storage, name, time));
    let mut gaps = puts;
    gaps.sort_unstable();
    let count = gaps.len();
    Streamed {
        puts: count as u64,
        bytes,
        longest_gap: gaps[count - 1],
        usual_gap: gaps[(count * 999 / 1000).min(count - 1)],
    }
}

/// Returns the time from each acknowledgement to the next; the first counts from before the first put.
async fn small(storage: &Storage, name: &str, time: Duration) -> Vec<Duration> {
    let begun = Instant::now();
    let mut gaps = Vec::new();
    let mut last = Instant::now();
    while begun.elapsed() < time {
        let number = gaps.len() as u64;
        storage
            .put_absent(&object(name, number), pattern(number, SMALL_BYTES))
            .await
            .expect("a put of the stream");
        // The first fetches the first leases, which a stream of any kind has to wait for.
        if number == 0 {
            last = Instant::now();
        }
        gaps.push(last.elapsed());
        last = Instant::now();
        tokio::time::sleep(PAUSE).await;
    }
    gaps
}

async fn large(storage: &Storage, name: &str, time: Duration) -> u64 {
    let begun = Instant::now();
    let mut writer = storage.writer(&format!("{name}/large"));
    let mut pieces = 0;
    while begun.elapsed() < time {
        writer.write(pattern(pieces, PIECE_BYTES)).await.expect("a write of the stream");
        pieces += 1;
        tokio::time::sleep(PAUSE).await;
    }
    writer.finish().await.expect("the end of the stream")
}

/// Reads all of it back.
pub async fn compare(storage: &Storage, name: &str, streamed: &Streamed) {
    for number in 0..streamed.puts {
        let path = object(name, number);
        let reader = storage.get(&path, None).await.expect("a small object");
        let bytes = reader.bytes(1 << 20).await.expect("its bytes");
        assert!(bytes == pattern(number, SMALL_BYTES), "{path}");
    }
    let mut reader = storage.get(&format!("{name}/large"), None).await.expect("the large object");
    assert_eq!(reader.size(), streamed.bytes);
    let (mut at, mut piece) = (0, Bytes::new());
    while let Some(mut bytes) = reader.next().await.expect("its bytes") {
        while !bytes.is_empty() {
            if piece.is_empty() {
                piece = pattern(at / PIECE_BYTES as u64, PIECE_BYTES);
            }
            let length = bytes.len().min(piece.len());
            assert!(bytes.split_to(length) == piece.split_to(length), "at byte {at}");
            at += length as u64;
        }
    }
    assert_eq!(at, streamed.bytes);
    let mut names = 0;
    let mut token = None;
    loop {
        let page = storage.list(&format!("{name}/"), token.as_ref()).await.expect("a page");
        names += page.found.len() as u64;
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(names, streamed.puts + 1, "each object once, and nothing else");
}

fn object(name: &str, number: u64) -> String {
    format!("{name}/{number:06}")
}

/// Bytes that are the same for the same number, and different for others.
pub fn pattern(number: u64, length: usize) -> Bytes {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

const SMALL_BYTES: usize = 2_000;
const PIECE_BYTES: usize = 60_000;
/// Between two writes: fifty a second at most, so that the machine, and not the cloud, is never the limit.
const PAUSE: Duration = Duration::from_millis(20);
