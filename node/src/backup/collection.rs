//! A collection of backups: which there are, which is the newest, and the layers of one.

use bytes::Bytes;
use grantd_catalog::id::Timestamp;
use grantd_catalog::refusal::state;
use sha2::{Digest, Sha256};

use super::cipher::{self, DataKey, EncryptionInfo, Keys};
use super::manifest::{Kind, Manifest, Stored};
use super::{BackupError, DUPLICATE_FILE, READ_BYTES_MAX, UNDEFINED_FILE, names};
use crate::cloud::redact;
use crate::cloud::storage::{self, Storage, StorageError};

/// A place with backups.
#[derive(Clone)]
pub struct Collection {
    fulls: Storage,
    /// Where incremental layers are, if elsewhere.
    incrementals: Option<Storage>,
}

/// Which backup of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The newest.
    Latest,
    /// That in this folder, as a user writes it.
    Named(String),
}

/// The folder of a layer.
#[derive(Clone)]
pub struct Folder {
    storage: Storage,
    /// Below the place's URI.
    path: String,
    /// What it is in the collection, wherever that is.
    identity: String,
    key: Option<DataKey>,
}

/// A finished layer.
pub struct Layer {
    /// Where it is.
    pub folder: Folder,
    /// What it says.
    pub manifest: Manifest,
}

impl Collection {
    /// At a place. `incrementals`: another one, for incremental layers.
    pub fn new(fulls: Storage, incrementals: Option<Storage>) -> Self {
        Self { fulls, incrementals }
    }

    /// The folders of all finished full backups, the oldest first, as SHOW BACKUPS shows them. Cost: a list of all that is there.
    pub async fn fulls(&self) -> Result<Vec<String>, BackupError> {
        let mut found = Vec::new();
        self.each(&self.fulls, "", |name| {
            let folder = name.strip_suffix(names::MANIFEST_CHECKSUM).and_then(|rest| rest.strip_suffix('/'));
            found.extend(folder.and_then(names::parse_full));
        })
        .await?;
        found.sort_unstable();
        Ok(found)
    }

    /// The folder of a full backup that is there.
    pub async fn resolve(&self, which: &Which) -> Result<String, BackupError> {
        match which {
            Which::Latest => self.latest().await,
            Which::Named(text) => {
                let folder = names::parse_full(text).ok_or_else(|| self.no_full(text))?;
                match self.fulls.head(&format!("{folder}/{}", names::MANIFEST_CHECKSUM)).await {
                    Ok(_) => Ok(folder),
                    Err(error) if error.kind == storage::Kind::NotFound => Err(self.no_full(text)),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }

    fn no_full(&self, text: &str) -> BackupError {
        BackupError::new(UNDEFINED_FILE, format!("no full backup exists in {}", redact::repeated(text)))
            .hint("SHOW BACKUPS IN lists those that are there.")
    }

    /// The folder of the newest finished full backup.
    async fn latest(&self) -> Result<String, BackupError> {
        // Newer names sort first, so the first page has it.
        let page = self.fulls.list(names::LATEST, None).await?;
        let newest = page.found.into_iter().map(|found| found.name).min().ok_or_else(|| {
            BackupError::new(UNDEFINED_FILE, "path does not contain a completed latest backup")
        })?;
        let bytes = self.fulls.get(&newest, None).await?.bytes(POINTER_BYTES_MAX).await?;
        let text = std::str::from_utf8(&bytes).ok().and_then(names::parse_full);
        text.ok_or_else(|| BackupError::new(super::DATA_CORRUPTED, "malformed LATEST file"))
    }

    /// Says that a full backup is finished.
    pub(super) async fn point_to(&self, full: &str, end: Timestamp) -> Result<(), BackupError> {
        let name = names::newest_first(names::LATEST, end.nanos);
        absent(self.fulls.put_absent(&name, Bytes::from(format!("/{full}"))).await).map(drop)
    }

    /// The folder of a full backup, or of an incremental layer of it.
    pub fn folder(&self, full: &str, incremental: Option<&str>) -> Folder {
        let (storage, path, identity) = match (incremental, &self.incrementals) {
            (None, _) => (&self.fulls, full.to_owned(), full.to_owned()),
            (Some(layer), Some(elsewhere)) => {
                (elsewhere, format!("{full}/{layer}"), format!("{full}/{layer}"))
            }
            (Some(layer), None) => {
                (&self.fulls, format!("{}/{full}/{layer}", names::INCREMENTALS), format!("{full}/{layer}"))
            }
        };
        Folder { storage: storage.clone(), path, identity, key: None }
    }

    /// The key of a full backup and its layers. None: it is not encrypted.
    pub async fn key(&self, full: &str, keys: &Keys) -> Result<Option<DataKey>, BackupError> {
        if let Keys::Known(key, _) = keys {
            return Ok(Some(key.clone()));
        }
        let folder = self.folder(full, None);
        let mut infos = Vec::new();
        for name in folder.list(names::ENCRYPTION_INFO).await? {
            let bytes = folder.get_plain(&name).await?;
            infos.push(EncryptionInfo::parse(&folder.shown(&name), &bytes)?);
        }
        match (infos.is_empty(), keys) {
            (true, Keys::None) => Ok(None),
            (true, _) => Err(BackupError::new(
                state::INVALID_PARAMETER_VALUE,
                "encryption_passphrase or kms was given, and the backup is not encrypted",
            )
            .hint("Leave the option out.")),
            (false, keys) => DataKey::open(&infos, keys).await.map(Some),
        }
    }

    /// Lets other keys open a full backup and its layers too. `with`: what opens it now.
    pub async fn add_keys(&self, full: &str, with: &Keys, new: &Keys) -> Result<(), BackupError> {
        let key = self.key(full, with).await?.ok_or_else(|| {
            BackupError::new(
                state::INVALID_PARAMETER_VALUE,
                "the backup is not encrypted, so no key is added to it",
            )
        })?;
        let Some(info) = key.wrapped(new).await? else { return Ok(()) };
        let name = format!("{}-{}", names::ENCRYPTION_INFO, cipher::unique()?);
        self.folder(full, None).put_plain(&name, info.to_bytes()?).await.map(drop)
    }

    /// The finished layers of a full backup that lead from it to the latest time, itself first.
    pub async fn layers(&self, full: &str, key: Option<&DataKey>) -> Result<Vec<Layer>, BackupError> {
        let first = self.folder(full, None).with_key(key.cloned());
        let manifest = first.manifest().await?;
        if manifest.kind != Kind::Full || names::full(manifest.end.0) != full {
            return Err(BackupError::damaged(&first.shown(names::MANIFEST), ELSEWHERE));
        }
        let (storage, below) = match &self.incrementals {
            Some(elsewhere) => (elsewhere, format!("{full}/")),
            None => (&self.fulls, format!("{}/{full}/", names::INCREMENTALS)),
        };
        let mut found = Vec::new();
        self.each(storage, &below, |name| {
            let layer =
                name.strip_prefix(&below).and_then(|rest| rest.strip_suffix(names::MANIFEST_CHECKSUM));
            let layer = layer.and_then(|rest| rest.strip_suffix('/'));
            found.extend(layer.filter(|layer| names::is_incremental(layer)).map(str::to_owned));
        })
        .await?;
        let mut others = Vec::new();
        for layer in found {
            let folder = self.folder(full, Some(&layer)).with_key(key.cloned());
            let manifest = folder.manifest().await?;
            if manifest.kind != Kind::Incremental || names::incremental(manifest.end.0) != layer {
                return Err(BackupError::damaged(&folder.shown(names::MANIFEST), ELSEWHERE));
            }
            others.push(Layer { folder, manifest });
        }
        Ok(chained(Layer { folder: first, manifest }, others))
    }

    /// Every name that begins so.
    async fn each(
        &self,
        storage: &Storage,
        prefix: &str,
        mut seen: impl FnMut(&str) + Send,
    ) -> Result<(), BackupError> {
        let mut token = None;
        loop {
            let page = storage.list(prefix, token.as_ref()).await?;
            page.found.iter().for_each(|found| seen(&found.name));
            token = page.next;
            if token.is_none() {
                return Ok(());
            }
        }
    }
}

/// The layers that follow each other without a gap, as far as they lead. Two that begin at the same end were written at once: the
/// way that leads furthest is taken.
fn chained(full: Layer, mut others: Vec<Layer>) -> Vec<Layer> {
    others.sort_by_key(|layer| layer.manifest.end);
    let mut reached = vec![full.manifest.end];
    for layer in &others {
        if layer.manifest.start.is_some_and(|start| reached.contains(&start)) {
            reached.push(layer.manifest.end);
        }
    }
    let mut chain = Vec::new();
    let mut at = reached.iter().max().copied();
    while let Some(end) = at.filter(|end| *end > full.manifest.end) {
        let leads = |layer: &Layer| {
            layer.manifest.end == end
                && layer.manifest.start.is_some_and(|start| start < end && reached.contains(&start))
        };
        let Some(found) = others.iter().position(leads) else { break };
        let layer = others.swap_remove(found);
        at = layer.manifest.start;
        chain.push(layer);
    }
    chain.push(full);
    chain.reverse();
    chain
}

impl Folder {
    /// The same, whose files are encrypted.
    #[must_use]
    pub fn with_key(self, key: Option<DataKey>) -> Self {
        Self { key, ..self }
    }

    /// Whether its files are encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.key.is_some()
    }

    /// A file of it, as messages name it.
    pub fn shown(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }

    /// Its files whose names begin so.
    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<String>, BackupError> {
        let (whole, mut found, mut token) = (self.shown(prefix), Vec::new(), None);
        loop {
            let page = self.storage.list(&whole, token.as_ref()).await?;
            let names = page
                .found
                .into_iter()
                .filter_map(|found| Some(found.name.strip_prefix(&self.path)?.strip_prefix('/')?.to_owned()));
            found.extend(names);
            token = page.next;
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    /// Writes a file that was [`Folder::prepared`], under a name that is new.
    pub(super) async fn put_prepared(&self, name: &str, bytes: Bytes) -> Result<(), BackupError> {
        Ok(self.storage.put_absent(&self.shown(name), bytes).await?)
    }

    /// Prepares and writes a file; false: there is one of that name already.
    pub(super) async fn put_once(&self, name: &str, plain: Vec<u8>) -> Result<bool, BackupError> {
        let (bytes, _) = self.prepared(name, plain)?;
        absent(self.storage.put_absent(&self.shown(name), bytes).await)
    }

    /// Writes a file as it is; false: there is one of that name already.
    pub(super) async fn put_plain(&self, name: &str, bytes: Vec<u8>) -> Result<bool, BackupError> {
        absent(self.storage.put_absent(&self.shown(name), bytes.into()).await)
    }

    /// A file as it is written, encrypted if all are, and its sum. Cost: milliseconds of computing for a large one.
    pub(super) fn prepared(&self, name: &str, plain: Vec<u8>) -> Result<(Bytes, Stored), BackupError> {
        let bytes = match &self.key {
            Some(key) => key.seal(&self.identity_of(name), &plain)?,
            None => plain,
        };
        let stored = Stored { file_bytes: bytes.len() as u64, sha256: cipher::hex(&Sha256::digest(&bytes)) };
        Ok((bytes.into(), stored))
    }

    fn identity_of(&self, name: &str) -> String {
        format!("{}|{name}", self.identity)
    }

    /// A file as it is in the place. None: there is none.
    pub(super) async fn find_plain(&self, name: &str) -> Result<Option<Bytes>, BackupError> {
        match self.storage.get(&self.shown(name), None).await {
            Ok(reader) => Ok(Some(reader.bytes(READ_BYTES_MAX).await?)),
            Err(error) if error.kind == storage::Kind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// A file as it is in the place.
    pub(super) async fn get_plain(&self, name: &str) -> Result<Bytes, BackupError> {
        self.find_plain(name).await?.ok_or_else(|| self.missing(name))
    }

    fn missing(&self, name: &str) -> BackupError {
        BackupError::new(UNDEFINED_FILE, format!("backup file {} is missing", self.shown(name)))
            .hint("Nothing of the backup was used. Restore an earlier one, or get the file from a copy of the bucket.")
    }

    /// What a file's bytes are without encryption.
    pub(super) fn opened(&self, name: &str, bytes: Bytes) -> Result<Bytes, BackupError> {
        match &self.key {
            Some(key) => {
                key.unseal(&self.identity_of(name), &bytes).map(Bytes::from).map_err(|error| match error {
                    // As messages name it.
                    BackupError::Refused(refusal) => {
                        let message = refusal.message.replace(&self.identity_of(name), &self.shown(name));
                        BackupError::Refused(grantd_catalog::refusal::Refusal { message, ..refusal })
                    }
                    storage @ BackupError::Storage(_) => storage,
                })
            }
            None if cipher::is_sealed(&bytes) => Err(cipher::encrypted()),
            None => Ok(bytes),
        }
    }

    /// A file that the manifest names, if it is what was written.
    pub(super) async fn checked(&self, name: &str, stored: &Stored) -> Result<Bytes, BackupError> {
        let bytes = self.get_plain(name).await?;
        self.check(name, stored, &bytes)?;
        self.opened(name, bytes)
    }

    /// Whether bytes are those that were written.
    fn check(&self, name: &str, stored: &Stored, bytes: &[u8]) -> Result<(), BackupError> {
        let wrong = wrong_size(stored, bytes.len() as u64).or_else(|| wrong_content(stored, bytes));
        wrong.map_or(Ok(()), |what| Err(BackupError::damaged(&self.shown(name), what)))
    }

    /// What is wrong with a file that the manifest names; none: it is what was written. It is read if it has the size.
    pub(super) async fn fault(&self, name: &str, stored: &Stored) -> Result<Option<Fault>, BackupError> {
        let Some(size) = self.size(name).await? else { return Ok(Some(Fault::Missing)) };
        if let Some(what) = wrong_size(stored, size) {
            return Ok(Some(Fault::Damaged(what)));
        }
        let Some(bytes) = self.find_plain(name).await? else { return Ok(Some(Fault::Missing)) };
        Ok(wrong_content(stored, &bytes).map(Fault::Damaged))
    }

    /// How large a file is; none: there is none.
    async fn size(&self, name: &str) -> Result<Option<u64>, BackupError> {
        match self.storage.head(&self.shown(name)).await {
            Ok(found) => Ok(Some(found.size)),
            Err(error) if error.kind == storage::Kind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The manifest of a finished layer, checked.
    pub async fn manifest(&self) -> Result<Manifest, BackupError> {
        let bytes = self.get_plain(names::MANIFEST).await?;
        let sum = self.get_plain(names::MANIFEST_CHECKSUM).await?;
        if cipher::hex(&Sha256::digest(&bytes)).as_bytes() != &sum[..] {
            return Err(BackupError::damaged(
                &self.shown(names::MANIFEST),
                format_args!("it is not what {} says", names::MANIFEST_CHECKSUM),
            ));
        }
        Manifest::parse(&self.shown(names::MANIFEST), &self.opened(names::MANIFEST, bytes)?)
    }

    /// Writes the manifest, and then what says that it is whole: the layer is finished.
    pub(super) async fn finish(&self, manifest: &Manifest) -> Result<(), BackupError> {
        if self.find_plain(names::MANIFEST).await?.is_none() {
            self.put_once(names::MANIFEST, manifest.to_bytes()?).await?;
        }
        // Of what is there: if it was written by a try before, that counts.
        let bytes = self.get_plain(names::MANIFEST).await?;
        self.put_plain(names::MANIFEST_CHECKSUM, cipher::hex(&Sha256::digest(&bytes)).into_bytes())
            .await
            .map(drop)
    }

    /// Keeps other jobs out of it.
    pub(super) async fn lock(&self, job: &str) -> Result<(), BackupError> {
        let ours = format!("{}{job}", names::LOCK);
        let locks = self.list(names::LOCK).await?;
        if let Some(other) = locks.iter().find(|lock| **lock != ours) {
            return Err(BackupError::new(
                DUPLICATE_FILE,
                format!("{} was begun by job {}", self.path, &other[names::LOCK.len()..]),
            )
            .hint("A folder is written by one job. Begin the backup again: it gets a folder of its own."));
        }
        if locks.is_empty() {
            self.put_plain(&ours, b"lock".to_vec()).await?;
            // Two that saw no lock both see two now.
            if self.list(names::LOCK).await?.iter().any(|lock| *lock != ours) {
                return Err(BackupError::new(
                    DUPLICATE_FILE,
                    format!("{} was begun by two jobs at once", self.path),
                )
                .hint("Begin the backup again: it gets a folder of its own."));
            }
        }
        Ok(())
    }
}

/// What is wrong with a file.
pub(super) enum Fault {
    /// It is not there.
    Missing,
    /// It is not what was written: in words.
    Damaged(String),
}

fn wrong_size(stored: &Stored, size: u64) -> Option<String> {
    (size != stored.file_bytes)
        .then(|| format!("it has {size} bytes, and was written with {}", stored.file_bytes))
}

fn wrong_content(stored: &Stored, bytes: &[u8]) -> Option<String> {
    (cipher::hex(&Sha256::digest(bytes)) != stored.sha256)
        .then(|| "its SHA-256 is not that of what was written".to_owned())
}

/// Whether it was written: no, if there is one already.
fn absent(put: Result<(), StorageError>) -> Result<bool, BackupError> {
    match put {
        Ok(()) => Ok(true),
        Err(error) if error.kind == storage::Kind::AlreadyExists => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What is wrong with a manifest of another folder.
const ELSEWHERE: &str = "it is that of another layer";
/// A pointer holds the name of a folder.
const POINTER_BYTES_MAX: u64 = 1_024;
