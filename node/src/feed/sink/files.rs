//! Files in a bucket or a directory. Source of names and guarantees: cloud-jobs specification, D.4.
//!
//! A file has the rows of one topic and one shape of its table. Its name begins with the time after which its rows were
//! committed, that of the last flush; so whoever reads names in their order reads of each key older versions before newer ones,
//! and when there is a `.RESOLVED` of a time, all up to it stands before it. A file becomes visible whole, and is never written
//! again.

use std::io::Write;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use flate2::write::GzEncoder;
use grantd_catalog::id::Timestamp;

use super::{Class, Message, Sink, SinkError};
use crate::cloud::storage::{Kind, Storage, StorageError};
use crate::cloud::uri::{FileSink, Partition};
use crate::feed::columns::File;
use crate::feed::options::{self, Codec, Format};
use crate::feed::plan::after;
use crate::feed::shape::Shape;
use crate::value::text::time::civil_from_days;

/// Files of one run of a feed on one node.
pub struct Files {
    storage: Storage,
    how: FileSink,
    form: options::Message,
    codec: Option<Codec>,
    node: u64,
    /// 16 digits that no other run has.
    session: String,
    /// Counts files, so that they stand in the order in which they were written.
    file: u32,
    /// All rows of files that come are committed after this.
    sent_up_to: Timestamp,
    /// In the order in which they were begun.
    open: Vec<Open>,
}

/// A file that is written in memory.
struct Open {
    topic: Arc<str>,
    shape: Arc<Shape>,
    to: To,
    bytes: usize,
}

enum To {
    Plain(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    Zstd(zstd::Encoder<'static, Vec<u8>>),
    Parquet(Box<File>),
}

impl Files {
    /// Files there.
    pub fn new(
        storage: Storage,
        how: FileSink,
        form: options::Message,
        codec: Option<Codec>,
        node: u64,
    ) -> Self {
        let mut unlike = [0; 8];
        // Without random bytes the time of the run tells it from others.
        if getrandom::fill(&mut unlike).is_err() {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let nanos = now.map_or(0, |now| now.as_nanos());
            unlike.copy_from_slice(&nanos.to_be_bytes()[8..]);
        }
        Self {
            storage,
            how,
            form,
            codec,
            node,
            session: format!("{:016x}", u64::from_be_bytes(unlike)),
            file: 0,
            sent_up_to: Timestamp::default(),
            open: Vec::new(),
        }
    }

    fn size_max(&self) -> usize {
        let asked = self.how.file_size.unwrap_or(FILE_BYTES);
        usize::try_from(asked).unwrap_or(usize::MAX).min(FILE_BYTES_MAX)
    }

    async fn take(&mut self, message: Message) -> Result<(), SinkError> {
        // A row that is gone has nothing to say in CSV, and other envelopes are not of files.
        let Some(value) = message.value else { return Ok(()) };
        let same_topic = |open: &Open| *open.topic == *message.topic;
        if let Some(at) =
            self.open.iter().position(|open| same_topic(open) && open.shape.id != message.shape.id)
        {
            self.close(at).await?;
        }
        let at = match self.open.iter().position(same_topic) {
            Some(at) => at,
            None => {
                let to = To::new(&message.shape, self.form, self.codec)?;
                self.open.push(Open { topic: message.topic, shape: message.shape, to, bytes: 0 });
                self.open.len() - 1
            }
        };
        let open = &mut self.open[at];
        open.to.add(&value)?;
        open.bytes += value.len() + 1;
        if open.bytes >= self.size_max() {
            self.close(at).await?;
        }
        let held: usize = self.open.iter().map(|open| open.bytes).sum();
        if held > HELD_BYTES_MAX
            && let Some((largest, _)) = self.open.iter().enumerate().max_by_key(|(_, open)| open.bytes)
        {
            self.close(largest).await?;
        }
        Ok(())
    }

    /// Writes a file.
    async fn close(&mut self, at: usize) -> Result<(), SinkError> {
        let Open { topic, shape, to, .. } = self.open.remove(at);
        let (time, folder) = name_of(after(self.sent_up_to), self.how.partition);
        let extension = match self.form.format {
            Format::Json => ".ndjson",
            Format::Csv => ".csv",
            Format::Parquet => ".parquet",
        };
        let packed = match self.codec {
            // It is packed within, and read as it is.
            _ if self.form.format == Format::Parquet => "",
            None => "",
            Some(Codec::Gzip) => ".gz",
            Some(Codec::Zstd) => ".zst",
        };
        let (session, node, file, schema) = (&self.session, self.node, self.file, shape.id);
        let name = format!(
            "{folder}{time}-{session}-{node}-{SINK}-{file:08x}-{topic}-{schema:x}{extension}{packed}"
        );
        self.file =
            self.file.checked_add(1).ok_or_else(|| SinkError::new(Class::Retryable, "too many files"))?;
        self.put(&name, Bytes::from(to.finish()?)).await
    }

    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), SinkError> {
        match self.storage.put_absent(name, bytes).await {
            Ok(()) => Ok(()),
            // Only we give this name, and of a resolved time there is one text: it is ours, from before an answer was lost.
            Err(error) if error.kind == Kind::AlreadyExists => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[async_trait]
impl Sink for Files {
    async fn begin(&mut self, after: Timestamp) -> Result<(), SinkError> {
        self.open.clear();
        self.sent_up_to = after;
        Ok(())
    }

    async fn emit(&mut self, messages: Vec<Message>) -> Result<(), SinkError> {
        for message in messages {
            self.take(message).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, frontier: Timestamp) -> Result<(), SinkError> {
        while !self.open.is_empty() {
            self.close(0).await?;
        }
        self.sent_up_to = frontier;
        Ok(())
    }

    async fn resolved(&mut self, time: Timestamp, message: &[u8]) -> Result<(), SinkError> {
        let (name, folder) = name_of(time, self.how.partition);
        self.put(&format!("{folder}{name}.RESOLVED"), Bytes::copy_from_slice(message)).await
    }
}

impl To {
    fn new(shape: &Shape, form: options::Message, codec: Option<Codec>) -> Result<Self, SinkError> {
        Ok(match codec {
            _ if form.format == Format::Parquet => {
                let file = File::new(shape, form, codec);
                Self::Parquet(Box::new(file.map_err(|error| unpacked(&error))?))
            }
            None => Self::Plain(Vec::new()),
            Some(Codec::Gzip) => Self::Gzip(GzEncoder::new(Vec::new(), flate2::Compression::default())),
            Some(Codec::Zstd) => {
                Self::Zstd(zstd::Encoder::new(Vec::new(), ZSTD_LEVEL).map_err(|error| unpacked(&error))?)
            }
        })
    }

    fn add(&mut self, line: &[u8]) -> Result<(), SinkError> {
        let to: &mut dyn Write = match self {
            Self::Plain(to) => to,
            Self::Gzip(to) => to,
            Self::Zstd(to) => to,
            Self::Parquet(file) => return file.add(line).map_err(|error| unpacked(&error)),
        };
        to.write_all(line).and_then(|()| to.write_all(b"\n")).map_err(|error| unpacked(&error))
    }

    fn finish(self) -> Result<Vec<u8>, SinkError> {
        match self {
            Self::Plain(to) => Ok(to),
            Self::Gzip(to) => to.finish().map_err(|error| unpacked(&error)),
            Self::Zstd(to) => to.finish().map_err(|error| unpacked(&error)),
            Self::Parquet(file) => file.finish().map_err(|error| unpacked(&error)),
        }
    }
}

/// Memory does not refuse what is written to it; a codec might.
fn unpacked(error: &dyn std::error::Error) -> SinkError {
    SinkError::new(Class::Retryable, &format!("a file cannot be written: {error}"))
}

impl From<StorageError> for SinkError {
    fn from(error: StorageError) -> Self {
        let class = match error.kind {
            Kind::NoCredentials | Kind::Rejected => Class::Credential,
            // As the original: what a bucket refuses today it may take tomorrow.
            Kind::NotFound
            | Kind::AlreadyExists
            | Kind::Changed
            | Kind::Denied
            | Kind::ClockSkew
            | Kind::Unavailable
            | Kind::SlowDown
            | Kind::Refused => Class::Retryable,
            Kind::Invalid | Kind::TooLarge | Kind::Disabled | Kind::Unsupported => Class::Terminal,
        };
        Self { class, message: error.to_string(), hint: error.hint }
    }
}

/// A time in 33 digits, and the folder of its day or hour.
fn name_of(time: Timestamp, partition: Partition) -> (String, String) {
    let (seconds, nanos) = (time.nanos / NANOS, time.nanos % NANOS);
    let (days, rest) = (seconds / DAY, seconds % DAY);
    let (year, month, day) = civil_from_days(i64::try_from(days).unwrap_or(i64::MAX));
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    let logical = time.logical;
    let name = format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}{second:02}{nanos:09}{logical:010}");
    let folder = match partition {
        Partition::Daily => format!("{year:04}-{month:02}-{day:02}/"),
        Partition::Hourly => format!("{year:04}-{month:02}-{day:02}/{hour:02}/"),
        Partition::Flat => String::new(),
    };
    (name, folder)
}

const NANOS: u64 = 1_000_000_000;
const DAY: u64 = 86_400;
/// There is one sink in a run.
const SINK: u32 = 1;
/// As the original: 16 MB.
const FILE_BYTES: u64 = 16_000_000;
/// A file is in memory whole, and one put.
const FILE_BYTES_MAX: usize = crate::cloud::storage::PUT_BYTES_MAX / 2;
/// What all open files may hold before they are compressed, so that many topics take no more than one.
const HELD_BYTES_MAX: usize = 64 << 20;
/// Its own default: it packs faster than a bucket takes.
const ZSTD_LEVEL: i32 = 3;

#[cfg(test)]
mod tests;
