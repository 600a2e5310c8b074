//! What an append to the log costs, beside a bare append and `fdatasync` of as many bytes on the same disk in the same
//! run: `cargo run --release -p grantd-raft --example log_latency [directory]`.

#![allow(missing_docs, clippy::unwrap_used, reason = "a measurement, not a library")]

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use grantd_raft::log::{self, LogStore, OpenOptions};
use grantd_raft::types::{EntryBytes, LeaderId, LogEntry, LogId, Payload, TypeConfig};
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::type_config::TypeConfigExt;

const ENTRY_BYTES: usize = 256;
const ROUNDS: usize = 20;
const APPENDS: usize = 100;

fn entries(first: u64, count: u64) -> Vec<LogEntry> {
    let leader_id = LeaderId { term: 1, node_id: 1 };
    let payload = || Payload::Normal(EntryBytes(vec![7; ENTRY_BYTES].into()));
    (first..first + count)
        .map(|index| LogEntry { log_id: LogId { leader_id, index }, payload: payload() })
        .collect()
}

async fn append(log: &mut LogStore, next: &mut u64, count: u64) -> Duration {
    let batch = entries(*next, count);
    *next += count;
    let begin = Instant::now();
    let (done, flushed) = TypeConfig::oneshot();
    log.append(batch, IOFlushed::signal(done)).await.unwrap();
    flushed.await.unwrap().unwrap();
    begin.elapsed()
}

fn bare(file: &mut File, bytes: &[u8]) -> Duration {
    let begin = Instant::now();
    file.write_all(bytes).unwrap();
    file.sync_data().unwrap();
    begin.elapsed()
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| times[times.len() * share / 100].as_micros();
    println!("{name:<28} p50 {:>6} us   p99 {:>6} us", at(50), at(99));
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = tempfile::tempdir_in(parent).unwrap();
    let mut log = log::open(&directory.path().join("raft.db"), OpenOptions::default()).unwrap();
    let mut file = File::create(directory.path().join("bare")).unwrap();
    let mut next = 0;
    let mut times: [Vec<Duration>; 4] = Default::default();
    // In turns, so that a slow moment of the disk hits all four.
    for _ in 0..ROUNDS {
        for _ in 0..APPENDS {
            times[0].push(bare(&mut file, &[7; ENTRY_BYTES]));
        }
        for _ in 0..APPENDS {
            times[1].push(append(&mut log, &mut next, 1).await);
        }
        for _ in 0..APPENDS {
            times[2].push(bare(&mut file, &[7; ENTRY_BYTES * 64]));
        }
        for _ in 0..APPENDS {
            times[3].push(append(&mut log, &mut next, 64).await);
        }
    }
    let names = [
        "bare fdatasync, 1 entry",
        "log append, 1 entry",
        "bare fdatasync, 64 entries",
        "log append, 64 entries",
    ];
    for (name, times) in names.into_iter().zip(times) {
        report(name, times);
    }
    log.close().await.unwrap();
}
