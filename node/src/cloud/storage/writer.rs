//! Writing an object whose size is not known beforehand, with bounded memory: parts of one size, some at once, each of them
//! tried until it is there. What is smaller than a part becomes one put.
//!
//! An object is there whole or not at all: it becomes visible at the end. Who drops a writer leaves its parts behind, which cost
//! money until a lifecycle rule of the bucket removes them: call [`Writer::abort`].

use bytes::{Bytes, BytesMut};
use object_store::multipart::PartId;
use object_store::{MultipartId, MultipartUpload, ObjectStore, PutMultipartOptions, PutPayload};
use tokio::task::JoinSet;

use super::error::{Kind, Operation, StorageError};
use super::rates::Direction;
use super::{Place, Storage};

/// An object that is written.
pub struct Writer {
    storage: Storage,
    path: String,
    /// Less than a part.
    waiting: BytesMut,
    written: u64,
    upload: Upload,
}

/// What there is of it at the place.
enum Upload {
    /// Nothing yet.
    None,
    /// Parts in a cloud.
    Parts(Parts),
    /// A file that has no name yet.
    File(Box<dyn MultipartUpload>),
}

struct Parts {
    id: MultipartId,
    /// In their order; None: on its way.
    done: Vec<Option<PartId>>,
    /// At most [`PARTS_AT_ONCE`]. Dropped, they end.
    on_their_way: JoinSet<(usize, Result<PartId, StorageError>)>,
}

impl Writer {
    pub(super) fn new(storage: &Storage, path: &str) -> Self {
        Self {
            storage: storage.clone(),
            path: path.to_owned(),
            waiting: BytesMut::new(),
            written: 0,
            upload: Upload::None,
        }
    }

    /// Adds bytes. When it returns they are at the place, on their way, or fewer than a part. After an error the object is given
    /// up, and the writer with it.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), StorageError> {
        self.written += bytes.len() as u64;
        while self.waiting.len() + bytes.len() >= PART_BYTES {
            let fits = bytes.split_to(PART_BYTES - self.waiting.len());
            let part = if self.waiting.is_empty() {
                fits
            } else {
                self.waiting.extend_from_slice(&fits);
                self.waiting.split().freeze()
            };
            self.part(part).await?;
        }
        self.waiting.extend_from_slice(&bytes);
        Ok(())
    }

    /// Writes what waits, and makes the object of all of it. Returns its size.
    pub async fn finish(mut self) -> Result<u64, StorageError> {
        let rest = self.waiting.split().freeze();
        if matches!(self.upload, Upload::None) {
            self.storage.put(&self.path, rest).await?;
            return Ok(self.written);
        }
        if !rest.is_empty() {
            self.part(rest).await?;
        }
        match std::mem::replace(&mut self.upload, Upload::None) {
            Upload::None => {}
            Upload::File(mut file) => {
                let finished = file.complete().await;
                finished
                    .map_err(|error| self.storage.local_error(&error, Operation::Complete, &self.path))?;
            }
            Upload::Parts(parts) => self.complete(parts).await?,
        }
        Ok(self.written)
    }

    /// Gives the object up.
    pub async fn abort(mut self) -> Result<(), StorageError> {
        self.give_up().await
    }

    async fn part(&mut self, part: Bytes) -> Result<(), StorageError> {
        let added = self.add(part).await;
        if added.is_err() {
            // What is said is why; that there is also something left behind the next error would say.
            let _ = self.give_up().await;
        }
        added
    }

    async fn add(&mut self, part: Bytes) -> Result<(), StorageError> {
        if matches!(self.upload, Upload::None) {
            self.upload = self.begin().await?;
        }
        match &mut self.upload {
            Upload::None => Ok(()),
            Upload::File(file) => {
                self.storage.charge(Direction::Write, part.len() as u64).await;
                let put = file.put_part(PutPayload::from(part)).await;
                put.map_err(|error| self.storage.local_error(&error, Operation::Part, &self.path))
            }
            Upload::Parts(parts) => {
                if parts.done.len() == PARTS_MAX {
                    let cause = format!("an object has at most {PARTS_MAX} parts of {PART_BYTES} bytes here");
                    let error = self.storage.error(Kind::TooLarge, Operation::Part, &self.path, cause);
                    return Err(error.hint("write it as several objects"));
                }
                if parts.on_their_way.len() == PARTS_AT_ONCE {
                    parts.one_more().await?;
                }
                let at = parts.done.len();
                parts.done.push(None);
                let (storage, path, id) = (self.storage.clone(), self.path.clone(), parts.id.clone());
                parts.on_their_way.spawn(async move { (at, storage.put_part(&path, &id, at, part).await) });
                Ok(())
            }
        }
    }

    async fn begin(&self) -> Result<Upload, StorageError> {
        match &self.storage.0.place {
            Place::Local(local) => {
                let target = local.target(&self.storage, &self.path, Operation::Begin)?;
                let begun = local.store.put_multipart_opts(&target, PutMultipartOptions::default()).await;
                let file =
                    begun.map_err(|error| self.storage.local_error(&error, Operation::Begin, &self.path))?;
                Ok(Upload::File(file))
            }
            Place::Remote(_) => {
                let id = self.storage.begin_parts(&self.path).await?;
                Ok(Upload::Parts(Parts { id, done: Vec::new(), on_their_way: JoinSet::new() }))
            }
        }
    }

    async fn complete(&mut self, mut parts: Parts) -> Result<(), StorageError> {
        let mut outcome = Ok(());
        while outcome.is_ok() && !parts.on_their_way.is_empty() {
            outcome = parts.one_more().await;
        }
        if outcome.is_ok() {
            let done: Vec<_> = parts.done.iter().flatten().cloned().collect();
            if done.len() < parts.done.len() {
                let cause = "this node stops".to_owned();
                return Err(self.storage.error(Kind::Unavailable, Operation::Part, &self.path, cause));
            }
            outcome = self.storage.complete_parts(&self.path, &parts.id, done, self.written).await;
        }
        if outcome.is_err() {
            self.upload = Upload::Parts(parts);
            let _ = self.give_up().await;
        }
        outcome
    }

    async fn give_up(&mut self) -> Result<(), StorageError> {
        self.waiting.clear();
        match std::mem::replace(&mut self.upload, Upload::None) {
            Upload::None => Ok(()),
            Upload::File(mut file) => {
                let gone = file.abort().await;
                gone.map_err(|error| self.storage.local_error(&error, Operation::Abort, &self.path))
            }
            Upload::Parts(mut parts) => {
                // A part that came after the end would stay.
                parts.on_their_way.shutdown().await;
                self.storage.abort_parts(&self.path, &parts.id).await
            }
        }
    }
}

impl Parts {
    /// Waits until one more is there.
    async fn one_more(&mut self) -> Result<(), StorageError> {
        match self.on_their_way.join_next().await {
            None => Ok(()),
            Some(Ok((at, part))) => {
                self.done[at] = Some(part?);
                Ok(())
            }
            Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The runtime ends. The part stays on its way, and `complete` sees it.
            Some(Err(_)) => Ok(()),
        }
    }
}

/// S3 wants 5 MiB or more of all but the last, and all stores take this; a lost one costs no more than this.
pub(super) const PART_BYTES: usize = 8 << 20;
/// S3 and Google take no more: 78 GiB.
const PARTS_MAX: usize = 10_000;
/// Enough for the next to be on its way while one waits for its answer. With the one that is filled a writer holds 24 MiB.
const PARTS_AT_ONCE: usize = 2;
