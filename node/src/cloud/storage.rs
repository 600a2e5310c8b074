//! Storage: objects in a cloud or in a directory of this node, written and read under leases that change meanwhile.
//!
//! One [`Storage`] is one URI under one chain. Every request asks for the lease of its moment, and every retry is a request of its
//! own: so neither a rotation nor the end of a lease in the middle of a retry can fail one. What happened on a try is noted between
//! the client of HTTP and `object_store` (`answer`), what follows from it is decided without I/O (`retry`), and done here.
//!
//! Bounds: a put is at most [`PUT_BYTES_MAX`], a writer holds three parts, a reader what is on its way, a page of names
//! [`PAGE_NAMES_MAX`]; a request takes at most `cloudstorage.timeout` with all its tries.
//!
//! What is not here: which chain a URI is used under (`route`), how leases are made (`broker`), and what is stored.

mod answer;
mod credentials;
mod error;
mod local;
mod meter;
mod open;
mod rates;
mod read;
mod remote;
mod request;
mod retry;
mod settings;
mod writer;

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use object_store::list::PaginatedListOptions;
use object_store::multipart::PartId;
use object_store::path::Path as Name;
use object_store::{
    GetOptions, GetResult, MultipartId, ObjectStore, ObjectStoreExt, PutMode, PutMultipartOptions,
    PutOptions, PutPayload,
};

pub use error::{Kind, Operation, Provider, StorageError};
pub use open::Storages;
pub use rates::{Direction, Limit, Limits};
pub use read::Reader;
pub(in crate::cloud) use remote::client;
pub use retry::Patience;
pub use settings::StorageSettings;
pub use writer::Writer;

use crate::cloud::broker::Credentials;
use crate::cloud::redact;
use local::Local;
use remote::{Client, Recipe};

/// A place for objects. Cheap to clone; while there is one its credentials are kept young.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    place: Place,
    provider: Provider,
    /// As `s3://bucket`.
    shown: String,
    /// Names of objects begin so. Without slashes at its ends.
    prefix: String,
    patience: Patience,
    /// What all storage of the node shares.
    node: Arc<Storages>,
}

enum Place {
    Remote(Box<Remote>),
    Local(Arc<Local>),
}

/// A bucket.
struct Remote {
    recipe: Recipe,
    credentials: Credentials,
    /// Who may do what is done, as it is shown.
    who: String,
    client: Mutex<At>,
}

/// A client, and where it believes the bucket to be.
#[derive(Clone)]
struct At {
    client: Arc<dyn Client>,
    region: String,
    /// The region is a guess of ours: another one may be right.
    guessed: bool,
}

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Relative to the URI.
    pub name: String,
    /// In bytes.
    pub size: u64,
    /// Changes when the object is replaced. None: not known.
    pub e_tag: Option<String>,
}

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Objects, in the order of the place.
    pub found: Vec<Found>,
    /// For the next page. None: this was the last.
    pub next: Option<PageToken>,
}

/// Where a list goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageToken(String);

impl Storage {
    /// Writes an object, also over one that is there.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.put_in_mode(path, bytes, Operation::Put, PutMode::Overwrite).await
    }

    /// Writes an object if there is none of that name; else [`Kind::AlreadyExists`].
    ///
    /// If the answer to a try was lost, and the next one finds an object with just these bytes, it is ours: who needs to know
    /// which of two writers was first writes into it who it is.
    pub async fn put_absent(&self, path: &str, bytes: Bytes) -> Result<(), StorageError> {
        self.put_in_mode(path, bytes, Operation::PutAbsent, PutMode::Create).await
    }

    async fn put_in_mode(
        &self,
        path: &str,
        bytes: Bytes,
        operation: Operation,
        mode: PutMode,
    ) -> Result<(), StorageError> {
        if bytes.len() > PUT_BYTES_MAX {
            let cause = format!("{} bytes are more than one put takes: {PUT_BYTES_MAX}", bytes.len());
            return Err(self.error(Kind::TooLarge, operation, path, cause).hint("write it as a stream"));
        }
        self.charge(Direction::Write, bytes.len() as u64).await;
        match &self.0.place {
            Place::Local(local) => {
                let target = local.target(self, path, operation)?;
                let put = local.store.put_opts(&target, bytes.into(), mode.into()).await;
                put.map(drop).map_err(|error| self.local_error(&error, operation, path))
            }
            Place::Remote(remote) => {
                let name = self.name(path, operation)?;
                let options =
                    PutOptions { mode, attributes: remote.recipe.attributes(), ..PutOptions::default() };
                let put = self.request(remote, operation, path, |client| {
                    let (name, bytes, options) = (name.clone(), bytes.clone(), options.clone());
                    async move { client.put_opts(&name, PutPayload::from(bytes), options).await.map(drop) }
                });
                match put.await {
                    Err(failed) if failed.uncertain && failed.error.kind == Kind::AlreadyExists => {
                        if self.holds(path, &bytes).await? { Ok(()) } else { Err(failed.error) }
                    }
                    outcome => outcome.map_err(|failed| failed.error),
                }
            }
        }
    }

    /// Whether the object is just these bytes.
    async fn holds(&self, path: &str, bytes: &Bytes) -> Result<bool, StorageError> {
        let reader = self.get(path, None).await?;
        Ok(reader.size() == bytes.len() as u64 && reader.bytes(PUT_BYTES_MAX as u64).await? == *bytes)
    }

    /// Reads an object, or these bytes of it.
    pub async fn get(&self, path: &str, range: Option<Range<u64>>) -> Result<Reader, StorageError> {
        if range.as_ref().is_some_and(Range::is_empty) {
            return Err(self.error(Kind::Invalid, Operation::Get, path, "the range is empty".to_owned()));
        }
        Reader::open(self, path, range).await
    }

    async fn get_once(&self, path: &str, options: GetOptions) -> Result<GetResult, StorageError> {
        match &self.0.place {
            Place::Local(local) => {
                let target = local.target(self, path, Operation::Get)?;
                let got = local.store.get_opts(&target, options).await;
                got.map_err(|error| self.local_error(&error, Operation::Get, path))
            }
            Place::Remote(remote) => {
                let name = self.name(path, Operation::Get)?;
                let got = self.request(remote, Operation::Get, path, |client| {
                    let (name, options) = (name.clone(), options.clone());
                    async move { client.get_opts(&name, options).await }
                });
                got.await.map_err(|failed| failed.error)
            }
        }
    }

    /// How large an object is.
    pub async fn head(&self, path: &str) -> Result<Found, StorageError> {
        let about = match &self.0.place {
            Place::Local(local) => {
                let target = local.target(self, path, Operation::Head)?;
                let about = local.store.head(&target).await;
                about.map_err(|error| self.local_error(&error, Operation::Head, path))?
            }
            Place::Remote(remote) => {
                let name = self.name(path, Operation::Head)?;
                let about = self.request(remote, Operation::Head, path, |client| {
                    let name = name.clone();
                    async move { client.head(&name).await }
                });
                about.await.map_err(|failed| failed.error)?
            }
        };
        Ok(Found { name: path.to_owned(), size: about.size, e_tag: about.e_tag })
    }

    /// One page of the objects whose names begin so.
    pub async fn list(&self, prefix: &str, after: Option<&PageToken>) -> Result<Page, StorageError> {
        let whole = self.whole(prefix);
        let (found, next) = match &self.0.place {
            Place::Local(local) => {
                let (local, after) = (local.clone(), after.map(|token| token.0.clone()));
                let listing = move || local.list(&whole, after.as_deref(), PAGE_NAMES_MAX);
                let found = tokio::task::spawn_blocking(listing).await;
                let found = found.map_err(std::io::Error::other).and_then(|found| found);
                let found = found
                    .map_err(|error| self.error(Kind::Refused, Operation::List, prefix, error.to_string()))?;
                let full = found.len() == PAGE_NAMES_MAX;
                let next = found.last().filter(|_| full).map(|last| last.name.clone());
                (found, next)
            }
            Place::Remote(remote) => {
                let options = || PaginatedListOptions {
                    max_keys: Some(PAGE_NAMES_MAX),
                    page_token: after.map(|token| token.0.clone()),
                    ..PaginatedListOptions::default()
                };
                let listed = self.request(remote, Operation::List, prefix, |client| {
                    let (options, whole) = (options(), whole.clone());
                    async move {
                        client
                            .list_paginated(
                                Some(&whole).filter(|whole| !whole.is_empty()).map(|whole| &**whole),
                                options,
                            )
                            .await
                    }
                });
                let listed = listed.await.map_err(|failed| failed.error)?;
                let found = listed.result.objects.into_iter().map(|about| Found {
                    name: about.location.to_string(),
                    size: about.size,
                    e_tag: about.e_tag,
                });
                (found.collect(), listed.page_token)
            }
        };
        Ok(Page {
            found: found.into_iter().map(|found| self.relative(found)).collect(),
            next: next.map(PageToken),
        })
    }

    /// Takes an object away. One that is not there is no error: a try whose answer was lost may have done it.
    pub async fn delete(&self, path: &str) -> Result<(), StorageError> {
        let gone = match &self.0.place {
            Place::Local(local) => {
                let target = local.target(self, path, Operation::Delete)?;
                let gone = local.store.delete(&target).await;
                gone.map_err(|error| self.local_error(&error, Operation::Delete, path))
            }
            Place::Remote(remote) => {
                let name = self.name(path, Operation::Delete)?;
                let gone = self.request(remote, Operation::Delete, path, |client| {
                    let name = name.clone();
                    async move { client.delete(&name).await }
                });
                gone.await.map_err(|failed| failed.error)
            }
        };
        match gone {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            gone => gone,
        }
    }

    /// Begins an object that is written as a stream, also over one that is there.
    pub fn writer(&self, path: &str) -> Writer {
        Writer::new(self, path)
    }

    async fn begin_parts(&self, path: &str) -> Result<MultipartId, StorageError> {
        let (remote, name) = self.remote(path, Operation::Begin)?;
        let attributes = remote.recipe.attributes();
        let begun = self.request(remote, Operation::Begin, path, |client| {
            let options =
                PutMultipartOptions { attributes: attributes.clone(), ..PutMultipartOptions::default() };
            let (name, has_attributes) = (name.clone(), !attributes.is_empty());
            async move {
                match has_attributes {
                    true => client.create_multipart_opts(&name, options).await,
                    false => client.create_multipart(&name).await,
                }
            }
        });
        begun.await.map_err(|failed| failed.error)
    }

    async fn put_part(
        &self,
        path: &str,
        id: &MultipartId,
        at: usize,
        part: Bytes,
    ) -> Result<PartId, StorageError> {
        self.charge(Direction::Write, part.len() as u64).await;
        let (remote, name) = self.remote(path, Operation::Part)?;
        let put = self.request(remote, Operation::Part, path, |client| {
            let (name, id, part) = (name.clone(), id.clone(), part.clone());
            async move { client.put_part(&name, &id, at, PutPayload::from(part)).await }
        });
        put.await.map_err(|failed| failed.error)
    }

    async fn complete_parts(
        &self,
        path: &str,
        id: &MultipartId,
        parts: Vec<PartId>,
        size: u64,
    ) -> Result<(), StorageError> {
        let (remote, name) = self.remote(path, Operation::Complete)?;
        let complete = self.request(remote, Operation::Complete, path, |client| {
            let (name, id, parts) = (name.clone(), id.clone(), parts.clone());
            async move { client.complete_multipart(&name, &id, parts).await.map(drop) }
        });
        match complete.await {
            Ok(()) => Ok(()),
            // The answer of a try was lost, and the next found no parts, which each service says in words of its own: it is done
            // if the object is there.
            Err(failed) if failed.uncertain && failed.error.kind != Kind::NoCredentials => {
                match self.head(path).await {
                    Ok(found) if found.size == size => Ok(()),
                    Ok(_) | Err(_) => Err(failed.error),
                }
            }
            Err(failed) => Err(failed.error),
        }
    }

    async fn abort_parts(&self, path: &str, id: &MultipartId) -> Result<(), StorageError> {
        let (remote, name) = self.remote(path, Operation::Abort)?;
        let abort = self.request(remote, Operation::Abort, path, |client| {
            let (name, id) = (name.clone(), id.clone());
            async move { client.abort_multipart(&name, &id).await }
        });
        match abort.await {
            Err(failed) if failed.error.kind == Kind::NotFound => Ok(()),
            outcome => outcome.map_err(|failed| failed.error),
        }
    }

    fn remote(&self, path: &str, operation: Operation) -> Result<(&Remote, Name), StorageError> {
        match &self.0.place {
            Place::Remote(remote) => Ok((&**remote, self.name(path, operation)?)),
            Place::Local(_) => {
                Err(self.error(Kind::Unsupported, operation, path, "files have no parts".to_owned()))
            }
        }
    }

    /// The place's name of an object.
    fn name(&self, path: &str, operation: Operation) -> Result<Name, StorageError> {
        let whole = self.whole(path);
        if path.is_empty() || whole.len() > NAME_BYTES_MAX {
            let cause = format!("the name of an object has 1 to {NAME_BYTES_MAX} bytes");
            return Err(self.error(Kind::Invalid, operation, path, cause));
        }
        // `Name` would drop a slash at an end, and two names were one.
        let parsed = Some(path).filter(|path| !path.starts_with('/') && !path.ends_with('/'));
        parsed.and_then(|_| Name::parse(&whole).ok()).ok_or_else(|| {
            let cause = "the name of an object has no empty parts, no . and no ..".to_owned();
            self.error(Kind::Invalid, operation, path, cause)
        })
    }

    fn whole(&self, path: &str) -> String {
        match self.0.prefix.as_str() {
            "" => path.to_owned(),
            prefix => format!("{prefix}/{path}"),
        }
    }

    fn relative(&self, found: Found) -> Found {
        match found.name.strip_prefix(&self.0.prefix) {
            Some(name) => Found { name: name.trim_start_matches('/').to_owned(), ..found },
            None => found,
        }
    }

    /// Waits until these bytes may go, and counts them.
    async fn charge(&self, direction: Direction, bytes: u64) {
        let (node, provider) = (&self.0.node, self.0.provider);
        node.rates.wait(provider, direction, (node.settings)().limits.of(provider, direction), bytes).await;
        node.meter.moved(provider, direction, bytes);
    }

    fn error(&self, kind: Kind, operation: Operation, path: &str, cause: String) -> StorageError {
        let mut place = self.0.shown.clone();
        for part in [self.0.prefix.as_str(), path] {
            if !part.is_empty() {
                place.push('/');
                place.push_str(part);
            }
        }
        StorageError { kind, operation, provider: self.0.provider, place, cause, hint: None }
    }

    /// What a file system said.
    fn local_error(&self, error: &object_store::Error, operation: Operation, path: &str) -> StorageError {
        let kind = match error {
            object_store::Error::NotFound { .. } => Kind::NotFound,
            object_store::Error::AlreadyExists { .. } => Kind::AlreadyExists,
            object_store::Error::Precondition { .. } => Kind::Changed,
            object_store::Error::PermissionDenied { .. } => Kind::Denied,
            _ => Kind::Refused,
        };
        let said = matches!(kind, Kind::NotFound | Kind::AlreadyExists);
        let cause = if said { String::new() } else { filtered(&error.to_string()) };
        self.error(kind, operation, path, cause)
    }
}

impl StorageError {
    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl Remote {
    fn at(&self) -> At {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The bucket is elsewhere.
    fn move_to(&self, region: String) -> object_store::Result<()> {
        let client = self.recipe.client(&region)?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = At { client, region, guessed: true };
        Ok(())
    }
}

/// A text that somebody else wrote, without what may be a secret, and no longer than one reads.
fn filtered(text: &str) -> String {
    redact::text(text).chars().take(CAUSE_CHARS_MAX).collect()
}

/// The most bytes of one put: it is in memory whole, and sent again whole.
pub const PUT_BYTES_MAX: usize = 64 << 20;
/// The most names of a page: S3 gives no more.
pub const PAGE_NAMES_MAX: usize = 1_000;
/// As S3 and Google have it.
const NAME_BYTES_MAX: usize = 1_024;
/// What an operator reads of a cause.
const CAUSE_CHARS_MAX: usize = 800;
/// How long one try may take, from the lease to the head of the answer: a part at a megabit a second.
const TRY_TIMEOUT: Duration = Duration::from_secs(80);
/// Who does not answer by then does not later: the next address, or the next try.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
