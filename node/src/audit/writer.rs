//! The thread that writes: files of bounded size, repeated refusals counted, and how many lines are missing.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tracing::warn;

use super::{Entry, lose, now};

/// A file that would become longer is put aside.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// How many files that were put aside are kept, beside the one that is written.
const FILES_KEPT: u32 = 8;
/// How many different refusals are counted at once; one more is written each time it comes.
const COUNTED_MAX: usize = 1024;
/// How often counts are looked at when nothing else happens.
const TICK: Duration = Duration::from_millis(500);
/// How often the node's log says that the disk does not take what it should.
const COMPLAINT_EVERY: Duration = Duration::from_secs(60);

pub(super) const FILE: &str = "audit.jsonl";

pub(super) struct Writer {
    node: u64,
    directory: PathBuf,
    /// The file, and how long it is; none: it is to be opened.
    file: Option<(File, u64)>,
    file_bytes_max: u64,
    window: Duration,
    counted: BTreeMap<String, Counted>,
    lost: Arc<AtomicU64>,
    /// How many of those a line has told.
    lost_told: u64,
    complained: Option<Instant>,
}

/// A refusal that was written, and how often it has come since.
struct Counted {
    line: Value,
    since: Instant,
    again: u64,
}

impl Writer {
    pub(super) fn new(node: u64, directory: &Path, window: Duration, lost: Arc<AtomicU64>) -> Self {
        Self {
            node,
            directory: directory.to_path_buf(),
            file: None,
            file_bytes_max: FILE_BYTES_MAX,
            window,
            counted: BTreeMap::new(),
            lost,
            lost_told: 0,
            complained: None,
        }
    }

    /// The same with shorter files.
    #[cfg(test)]
    pub(super) fn with_files_of(self, bytes: u64) -> Self {
        Self { file_bytes_max: bytes, ..self }
    }

    /// Makes the directory and the file. A file that is there is continued.
    pub(super) fn open(&mut self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let path = self.directory.join(FILE);
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        let bytes = file.metadata()?.len();
        self.file = Some((file, bytes));
        Ok(())
    }

    pub(super) fn run(mut self, entries: &Receiver<Entry>) {
        loop {
            match entries.recv_timeout(TICK) {
                Ok(Entry::Line { line, key }) => self.take(line, key, Instant::now()),
                Ok(Entry::End) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.tell_counts(Instant::now());
        }
        self.tell_counts(Instant::now() + self.window);
    }

    pub(super) fn take(&mut self, line: Value, key: Option<String>, now: Instant) {
        let Some(key) = key else { return self.write(&line) };
        if let Some(counted) = self.counted.get_mut(&key) {
            counted.again += 1;
            return;
        }
        self.write(&line);
        if self.counted.len() < COUNTED_MAX {
            self.counted.insert(key, Counted { line, since: now, again: 0 });
        }
    }

    /// Writes how often refusals have come again whose time is over.
    pub(super) fn tell_counts(&mut self, now: Instant) {
        if self.counted.values().all(|counted| now < counted.since + self.window) {
            return;
        }
        let (over, open) = std::mem::take(&mut self.counted)
            .into_iter()
            .partition(|(_, counted)| now >= counted.since + self.window);
        self.counted = open;
        let over: BTreeMap<_, _> = over;
        for counted in over.into_values().filter(|counted| counted.again > 0) {
            let mut line = counted.line;
            line["time"] = json!(super::now());
            line["repeated"] = json!(counted.again);
            self.write(&line);
        }
    }

    /// Writes a line and, before it, how many are missing.
    fn write(&mut self, line: &Value) {
        let lost = self.lost.load(Ordering::Relaxed);
        let mut text = String::new();
        if lost > self.lost_told {
            let missing = json!({
                "time": now(), "node": self.node, "kind": "lost", "count": lost - self.lost_told,
            });
            text.push_str(&format!("{missing}\n"));
        }
        text.push_str(&format!("{line}\n"));
        match self.append(text.as_bytes()) {
            Ok(()) => self.lost_told = lost,
            Err(error) => {
                // Half a line may be in the file: the next one begins in a new place.
                self.file = None;
                lose(&self.lost, self.node);
                self.complain(&error);
            }
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let more = bytes.len() as u64;
        if self.file.is_none() {
            self.open()?;
        }
        if self.file.as_ref().is_some_and(|(_, length)| *length > 0 && length + more > self.file_bytes_max) {
            self.file = None;
            self.put_aside()?;
            self.open()?;
        }
        match &mut self.file {
            Some((file, length)) => {
                file.write_all(bytes)?;
                *length += more;
                Ok(())
            }
            None => Err(io::Error::other("the file is not open")),
        }
    }

    /// `audit.jsonl` becomes `audit.jsonl.1`, that `.2`, and so on; the oldest goes.
    fn put_aside(&self) -> io::Result<()> {
        let path = |number: u32| match number {
            0 => self.directory.join(FILE),
            _ => self.directory.join(format!("{FILE}.{number}")),
        };
        for number in (0..FILES_KEPT).rev() {
            match std::fs::rename(path(number), path(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    fn complain(&mut self, error: &io::Error) {
        let now = Instant::now();
        if self.complained.is_none_or(|last| now >= last + COMPLAINT_EVERY) {
            self.complained = Some(now);
            let lost = self.lost.load(Ordering::Relaxed);
            warn!(%error, lost, directory = %self.directory.display(), "the audit log cannot be written");
        }
    }
}
