//! The memory of a process, looked at all the time: resident pages, and those of them that are its own and not of a file.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::MIB;

/// How often it is looked at.
const EVERY: Duration = Duration::from_millis(5);

/// Bytes that are resident.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Memory {
    all: u64,
    anonymous: u64,
}

impl Memory {
    /// As it is now.
    pub(super) fn now(process: u32) -> std::io::Result<Self> {
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse::<u64>().ok()).unwrap_or(0)
        };
        Ok(Self { all: kib("VmRSS:") << 10, anonymous: kib("RssAnon:") << 10 })
    }

    #[must_use]
    fn or_more(self, other: Self) -> Self {
        Self { all: self.all.max(other.all), anonymous: self.anonymous.max(other.anonymous) }
    }
}

impl std::fmt::Display for Memory {
    #[allow(clippy::cast_precision_loss, reason = "bytes of one machine are below 2^53")]
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} MiB ({:.0} of its own)", self.all as f64 / MIB, self.anonymous as f64 / MIB)
    }
}

/// A thread that looks.
pub(super) struct Watch {
    before: Memory,
    over: Arc<AtomicBool>,
    most: JoinHandle<Memory>,
}

impl Watch {
    /// From now on.
    pub(super) fn begin(process: u32) -> std::io::Result<Self> {
        let before = Memory::now(process)?;
        let over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&over);
        let most = std::thread::spawn(move || {
            let mut most = before;
            while !seen.load(Ordering::Relaxed) {
                // The process may have ended.
                most = most.or_more(Memory::now(process).unwrap_or_default());
                std::thread::sleep(EVERY);
            }
            most
        });
        Ok(Self { before, over, most })
    }

    /// What it had at the begin, and at most.
    pub(super) fn end(self) -> (Memory, Memory) {
        self.over.store(true, Ordering::Relaxed);
        (self.before, self.most.join().unwrap_or_default())
    }
}
