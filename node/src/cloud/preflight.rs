//! Trying a place before anybody relies on it: the sentinel of CREATE EXTERNAL CONNECTION, and what CHECK EXTERNAL CONNECTION
//! measures on one node.
//!
//! What is not here: how a place is reached (`outside`), and the other nodes (`everywhere`). Texts and the sentinel are
//! CockroachDB's, so that what it has checked and what we have are the same. Source: cloud-jobs specification, A.8.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bincode::{Decode, Encode};
use bytes::Bytes;
use futures::future::join_all;

/// The object that CREATE EXTERNAL CONNECTION writes, lists and reads, and leaves there.
pub const SENTINEL: &str = "crdb_external_storage_location";
/// What is in it.
const SENTENCE: &str = "a CockroachDB cluster has been configured to read and write to this location";
/// The most writers of one check: more measure this machine and not the place.
pub const CONCURRENTLY_MAX: u32 = 64;
/// How long a check writes at least and at most. A session holds one statement for as long.
pub const TIME_MIN: Duration = Duration::from_millis(10);
/// See [`TIME_MIN`].
pub const TIME_MAX: Duration = Duration::from_secs(600);
/// How much it writes at least and at most: who wants to know more than 64 GiB tell wants a benchmark.
pub const TRANSFER_BYTES_MIN: u64 = 1;
/// See [`TRANSFER_BYTES_MIN`].
pub const TRANSFER_BYTES_MAX: u64 = 64 << 30;
/// The most bytes of one object: it is in memory, once for each writer.
pub const PIECE_BYTES_MAX: u64 = 8 << 20;

/// What a check does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many write at once.
    pub concurrently: u32,
    /// Nothing more is begun after this long.
    pub time: Duration,
    /// Nothing more is begun when so many bytes were written.
    pub transfer: u64,
}

impl Default for Options {
    /// As in the original.
    fn default() -> Self {
        Self { concurrently: 1, time: Duration::from_secs(10), transfer: 32 << 20 }
    }
}

/// Why a place did not do what was asked, in words without a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Trouble {
    /// Whether somebody said no: another way in may help, and waiting does not.
    pub denied: bool,
    /// What happened, with the step of the chain if it was one.
    pub message: String,
}

/// A place that can be tried: storage, and a stand-in in tests.
#[async_trait]
pub trait Place: Send + Sync {
    /// Writes an object, also over one that is there.
    async fn write(&self, name: &str, bytes: Bytes) -> Result<(), Trouble>;
    /// Whether an object is listed.
    async fn lists(&self, name: &str) -> Result<bool, Trouble>;
    /// An object's bytes.
    async fn read(&self, name: &str) -> Result<Bytes, Trouble>;
    /// Takes an object away.
    async fn remove(&self, name: &str) -> Result<(), Trouble>;
}

/// What a check of a place on one node came to. Frozen: nodes tell it each other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Report {
    /// What was wrong, or what else is to be known.
    pub error: Option<String>,
    /// Whether everything could be written and read.
    pub ok: bool,
    /// Bytes that were written and read back.
    pub transferred: u64,
    /// Bytes a second. 0: nothing was read.
    pub read_speed: u64,
    /// Bytes a second. 0: nothing was written.
    pub write_speed: u64,
    /// Whether what was written could be taken away. Nothing needs that.
    pub can_delete: bool,
}

impl Report {
    /// Of a place that was not reached.
    pub fn failed(reason: impl Into<String>) -> Self {
        Self { error: Some(reason.into()), ..Self::default() }
    }
}

/// Writes, lists and reads the sentinel.
pub async fn sentinel(place: &dyn Place) -> Result<(), Trouble> {
    let during = |what: &'static str| {
        move |trouble: Trouble| Trouble { message: format!("{what}: {}", trouble.message), ..trouble }
    };
    let failed = |message: String| Trouble { denied: false, message };
    let written = place.write(SENTINEL, Bytes::from_static(SENTENCE.as_bytes())).await;
    written.map_err(during("failed to write a sentinel ExternalStorage file"))?;
    let listed = place.lists(SENTINEL).await;
    if !listed.map_err(during("failed to list sentinel ExternalStorage file"))? {
        return Err(failed(format!("failed to find sentinel ExternalStorage file '{SENTINEL}'")));
    }
    let read = place.read(SENTINEL).await;
    let read = read.map_err(during("failed to read sentinel ExternalStorage file"))?;
    if read != SENTENCE.as_bytes() {
        // What is there is somebody else's and not repeated.
        let found = format!("{} other bytes", read.len());
        return Err(failed(format!("content mismatch, expected: {SENTENCE} but found: {found}")));
    }
    Ok(())
}

/// Writes, reads and removes objects whose names begin with `name`, as much and as long as the options say. What it wrote is
/// removed, where that is allowed.
///
/// Errors: nothing could be written, as somebody said no.
pub async fn measure(place: Arc<dyn Place>, name: &str, options: Options) -> Result<Report, Trouble> {
    let progress = Progress::new(options);
    let writers =
        (0..options.concurrently).map(|writer| progress.rounds(&*place, format!("{name}-{writer}")));
    let troubles = join_all(writers).await;
    let trouble = troubles.into_iter().find_map(Result::err);
    let transferred = progress.transferred.load(Ordering::Relaxed);
    if let Some(trouble @ Trouble { denied: true, .. }) = trouble {
        return Err(trouble);
    }
    // All writers together: each has spent its own time.
    let speed = |nanos: &AtomicU64| {
        let second = u128::from(options.concurrently) * 1_000_000_000;
        let nanos = u128::from(nanos.load(Ordering::Relaxed).max(1));
        u64::try_from(u128::from(transferred) * second / nanos).unwrap_or(u64::MAX)
    };
    Ok(Report {
        ok: trouble.is_none(),
        error: trouble.map(|trouble| trouble.message),
        transferred,
        read_speed: speed(&progress.reading),
        write_speed: speed(&progress.writing),
        can_delete: transferred > 0 && !progress.kept.load(Ordering::Relaxed),
    })
}

/// How far the writers of one check are, together.
struct Progress {
    options: Options,
    until: Instant,
    /// Bytes that somebody began to write.
    begun: AtomicU64,
    transferred: AtomicU64,
    /// Nanoseconds that all writers spent.
    writing: AtomicU64,
    reading: AtomicU64,
    /// Something could not be removed.
    kept: AtomicBool,
    failed: AtomicBool,
}

impl Progress {
    fn new(options: Options) -> Self {
        Self {
            options,
            until: Instant::now() + options.time,
            begun: AtomicU64::new(0),
            transferred: AtomicU64::new(0),
            writing: AtomicU64::new(0),
            reading: AtomicU64::new(0),
            kept: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// One round at least, so that every check says something.
    async fn rounds(&self, place: &dyn Place, name: String) -> Result<(), Trouble> {
        let share = self.options.transfer.div_ceil(u64::from(self.options.concurrently.max(1)));
        let bytes = share.clamp(1, PIECE_BYTES_MAX);
        let payload = Bytes::from(vec![b'x'; usize::try_from(bytes).unwrap_or(usize::MAX)]);
        for round in 0_u64.. {
            let over = Instant::now() >= self.until || self.failed.load(Ordering::Relaxed);
            let enough = self.begun.fetch_add(bytes, Ordering::Relaxed) >= self.options.transfer;
            if round > 0 && (over || enough) {
                break;
            }
            if let Err(trouble) = self.round(place, &format!("{name}-{round}"), &payload).await {
                self.failed.store(true, Ordering::Relaxed);
                return Err(trouble);
            }
        }
        Ok(())
    }

    async fn round(&self, place: &dyn Place, name: &str, payload: &Bytes) -> Result<(), Trouble> {
        let began = Instant::now();
        place.write(name, payload.clone()).await?;
        add(&self.writing, began);
        let began = Instant::now();
        let read = place.read(name).await;
        add(&self.reading, began);
        if let Err(_trouble) = place.remove(name).await {
            self.kept.store(true, Ordering::Relaxed);
        }
        if read? != payload {
            let message = format!("`{name}` was read back with other bytes than were written");
            return Err(Trouble { denied: false, message });
        }
        self.transferred.fetch_add(payload.len() as u64, Ordering::Relaxed);
        Ok(())
    }
}

fn add(sum: &AtomicU64, began: Instant) {
    sum.fetch_add(u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

#[cfg(test)]
mod tests;
