//! Reading an object as a stream that survives what happens on the way: what breaks off goes on where it was, of the same object.

use std::ops::Range;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::{GetOptions, GetRange, GetResult};

use super::error::{Kind, Operation, StorageError};
use super::rates::Direction;
use super::{Place, Storage};

/// An object that is read. Nothing is read ahead of who asks but what is on its way.
pub struct Reader {
    storage: Storage,
    path: String,
    /// What is to come. Its end is known from the first answer.
    left: Range<u64>,
    /// Of the object that was begun: the rest is to be of the same.
    e_tag: Option<String>,
    size: u64,
    body: Option<BoxStream<'static, object_store::Result<Bytes>>>,
    /// How often it broke off without a byte in between.
    broken: u32,
}

impl Reader {
    /// Asks for the object, or for these bytes of it.
    pub(super) async fn open(
        storage: &Storage,
        path: &str,
        range: Option<Range<u64>>,
    ) -> Result<Self, StorageError> {
        let options = GetOptions { range: range.map(GetRange::Bounded), ..GetOptions::default() };
        let got = storage.get_once(path, options).await?;
        Ok(Self {
            storage: storage.clone(),
            path: path.to_owned(),
            left: got.range.clone(),
            e_tag: got.meta.e_tag.clone(),
            size: got.meta.size,
            body: Some(got.into_stream()),
            broken: 0,
        })
    }

    /// How many bytes the whole object has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next bytes. None: that was all.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StorageError> {
        loop {
            if self.left.is_empty() {
                return Ok(None);
            }
            let body = match &mut self.body {
                Some(body) => body,
                None => {
                    let again = self.again().await?;
                    self.body.insert(again)
                }
            };
            match body.next().await {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(mut bytes)) => {
                    let wanted = self.left.end - self.left.start;
                    bytes.truncate(usize::try_from(wanted).unwrap_or(usize::MAX).min(bytes.len()));
                    self.left.start += bytes.len() as u64;
                    self.broken = 0;
                    self.storage.charge(Direction::Read, bytes.len() as u64).await;
                    return Ok(Some(bytes));
                }
                Some(Err(error)) => self.broke(&error.to_string())?,
                None => self.broke("the object ended before its size")?,
            }
        }
    }

    /// All of it, if it is no more than so much.
    pub async fn bytes(mut self, at_most: u64) -> Result<Bytes, StorageError> {
        let size = self.left.end - self.left.start;
        if size > at_most {
            let cause = format!("it has {size} bytes, and at most {at_most} are read at once");
            return Err(self.storage.error(Kind::TooLarge, Operation::Get, &self.path, cause));
        }
        let mut all = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        while let Some(bytes) = self.next().await? {
            all.extend_from_slice(&bytes);
        }
        Ok(all.into())
    }

    /// The rest of the same object. `&mut`: what is read from is Send and not Sync, and so is who holds a reference to it.
    async fn again(&mut self) -> Result<BoxStream<'static, object_store::Result<Bytes>>, StorageError> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(self.left.clone())),
            if_match: self.e_tag.clone(),
            ..GetOptions::default()
        };
        self.storage.get_once(&self.path, options).await.map(GetResult::into_stream)
    }

    fn broke(&mut self, cause: &str) -> Result<(), StorageError> {
        self.body = None;
        self.broken += 1;
        if self.broken < BROKEN_MAX && matches!(self.storage.0.place, Place::Remote(_)) {
            return Ok(());
        }
        Err(self.storage.error(Kind::Unavailable, Operation::Get, &self.path, super::filtered(cause)))
    }
}

/// How often a body may break off without a byte in between; each new request has its own retries besides.
const BROKEN_MAX: u32 = 5;
