//! Snapshots: a copy of `state.db` with a header beside it, in `snapshots/`.
//!
//! A snapshot is two files, `<index>-<term>-<node>.db` and `.head`. The header is written last and holds length and
//! checksum of the other, so that what a crash left half done is never taken for a snapshot. At most one is kept;
//! what is still being read stays readable, as a file does after its name is gone.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bincode::{Decode, Encode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::codec::{self, Kind};
use crate::private;
use crate::rows::{self, Extensions, SnapshotContents, SnapshotSource};
use crate::types::{ClusterId, LogIdV1, SnapshotMeta, StoredMembershipV1};

/// The format of a header.
const FORMAT: u16 = 1;
/// Bytes that are read, checked and written at once.
const CHUNK_BYTES: usize = 256 << 10;

/// What a snapshot is of, on disk and wire.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SnapshotHeaderV1 {
    /// Whose state it is; a snapshot of another cluster is refused.
    pub cluster: ClusterId,
    /// The last entry that it contains.
    pub last: Option<LogIdV1>,
    /// The members at that entry.
    pub membership: StoredMembershipV1,
    /// Bytes of the file.
    pub length: u64,
    /// CRC-32C of the file.
    pub crc: u32,
}

impl SnapshotHeaderV1 {
    /// Openraft's form.
    pub fn meta(&self) -> io::Result<SnapshotMeta> {
        let last_membership = self.membership.clone().try_into().map_err(io::Error::other)?;
        Ok(SnapshotMeta { last_log_id: self.last.map(Into::into), last_membership })
    }
}

/// A complete snapshot. One that was received and never installed is deleted with its last clone.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    path: PathBuf,
    header: SnapshotHeaderV1,
    received: Option<Arc<Received>>,
    /// Set by [`Snapshots::check`].
    is_checked: bool,
}

impl SnapshotFile {
    /// Opens it for reading from the start.
    pub fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }

    /// Where it is, until a newer one takes its place.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it is of.
    pub fn header(&self) -> &SnapshotHeaderV1 {
        &self.header
    }

    /// Bytes of the file.
    pub fn length(&self) -> u64 {
        self.header.length
    }
}

#[derive(Debug)]
struct Received(PathBuf);

impl Drop for Received {
    fn drop(&mut self) {
        // Gone already if it was installed; what cannot be deleted now is at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

/// The directory of snapshots.
#[derive(Debug)]
pub struct Snapshots {
    directory: PathBuf,
    /// With the orders in which the row store keeps its keys.
    extensions: Extensions,
    received: AtomicU64,
}

impl Snapshots {
    /// Opens or makes the directory, and deletes what is not a complete snapshot.
    pub fn open(directory: PathBuf, extensions: &Extensions) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        let snapshots = Self { directory, extensions: extensions.clone(), received: AtomicU64::new(0) };
        let current = snapshots.current()?.map(|file| file.path);
        snapshots.delete_all_but(current.as_deref())?;
        Ok(snapshots)
    }

    /// The newest complete snapshot. Its header is checked, its content where it is used.
    pub fn current(&self) -> io::Result<Option<SnapshotFile>> {
        let mut newest: Option<SnapshotFile> = None;
        for entry in fs::read_dir(&self.directory)? {
            let head = entry?.path();
            if head.extension().is_none_or(|extension| extension != "head") {
                continue;
            }
            let Ok(bytes) = fs::read(&head) else { continue };
            let Ok(header) = codec::open_value::<SnapshotHeaderV1>(Kind::Snapshot, FORMAT, &bytes) else {
                tracing::warn!(file = %head.display(), "a snapshot's header is damaged; it is not used");
                continue;
            };
            let path = head.with_extension("db");
            if fs::metadata(&path).is_ok_and(|found| found.len() == header.length)
                && newer(&header, newest.as_ref())
            {
                newest = Some(SnapshotFile { path, header, received: None, is_checked: false });
            }
        }
        Ok(newest)
    }

    /// Writes what `source` shows. Blocks: copying 1 GB takes some 3 s. Deletes the snapshots before it.
    pub fn build(
        &self,
        source: SnapshotSource,
        cluster: ClusterId,
        last: Option<LogIdV1>,
        membership: StoredMembershipV1,
    ) -> io::Result<SnapshotFile> {
        if let Some(current) = self.current()?.filter(|current| current.header.last == last) {
            return Ok(current);
        }
        let path = self.path_of(last);
        source.write_to(&path).map_err(io::Error::other)?;
        let (length, crc) = checksum(&path)?;
        self.complete(path, SnapshotHeaderV1 { cluster, last, membership, length, crc })
    }

    /// Takes a snapshot that a peer streams, up to its last byte, and checks length and checksum.
    pub async fn receive(
        &self,
        header: SnapshotHeaderV1,
        mut from: impl AsyncRead + Send + Unpin,
    ) -> io::Result<SnapshotFile> {
        let number = self.received.fetch_add(1, Ordering::Relaxed);
        let path = self.directory.join(format!("incoming-{number}"));
        let received = Arc::new(Received(path.clone()));
        let mut file = tokio::fs::File::from_std(private::create(&path)?);
        let mut chunk = vec![0; CHUNK_BYTES];
        let (mut length, mut crc) = (0u64, 0);
        loop {
            let count = from.read(&mut chunk).await?;
            if count == 0 {
                break;
            }
            length += count as u64;
            if length > header.length {
                break;
            }
            crc = crc32c::crc32c_append(crc, &chunk[..count]);
            file.write_all(&chunk[..count]).await?;
        }
        if (length, crc) != (header.length, header.crc) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "the snapshot came with {length} bytes and checksum {crc:08x}, not {} and {:08x}",
                    header.length, header.crc
                ),
            ));
        }
        file.sync_all().await?;
        Ok(SnapshotFile { path, header, received: Some(received), is_checked: false })
    }

    /// Checks a file as a whole: its bytes, if it was not just received, and its pages. Blocks: reads it once or
    /// twice, 1 GB takes some 2 s. Nothing to do for one that was checked.
    pub fn check(&self, file: &SnapshotFile) -> io::Result<SnapshotFile> {
        if file.is_checked {
            return Ok(file.clone());
        }
        if file.received.is_none() && checksum(&file.path)? != (file.header.length, file.header.crc) {
            let what = format!("`{}` is not what its header says", file.path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        rows::quick_check(&file.path, &self.extensions).map_err(io::Error::other)?;
        Ok(SnapshotFile { is_checked: true, ..file.clone() })
    }

    /// What the catalog needs of a checked file.
    pub fn contents(&self, file: &SnapshotFile) -> io::Result<SnapshotContents> {
        rows::snapshot_contents(&file.path).map_err(io::Error::other)
    }

    /// Keeps a received file as the current snapshot, and deletes the others.
    pub fn keep(&self, file: &SnapshotFile) -> io::Result<SnapshotFile> {
        let path = self.path_of(file.header.last);
        if path != file.path {
            fs::rename(&file.path, &path)?;
        }
        self.complete(path, file.header.clone())
    }

    fn complete(&self, path: PathBuf, header: SnapshotHeaderV1) -> io::Result<SnapshotFile> {
        let partial = path.with_extension("head-partial");
        let mut head = private::create(&partial)?;
        head.write_all(&codec::seal_value(Kind::Snapshot, FORMAT, &header))?;
        head.sync_all()?;
        fs::rename(&partial, path.with_extension("head"))?;
        File::open(&self.directory)?.sync_all()?;
        self.delete_all_but(Some(&path))?;
        Ok(SnapshotFile { path, header, received: None, is_checked: false })
    }

    fn path_of(&self, last: Option<LogIdV1>) -> PathBuf {
        let name = match last {
            Some(id) => format!("{:020}-{}-{}.db", id.index, id.term, id.node),
            None => "empty.db".to_owned(),
        };
        self.directory.join(name)
    }

    /// Headers first: a header without its file would promise what is not there.
    fn delete_all_but(&self, kept: Option<&Path>) -> io::Result<()> {
        let mut files: Vec<PathBuf> = fs::read_dir(&self.directory)?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort_by_key(|path| path.extension().is_none_or(|extension| extension != "head"));
        for path in files {
            let incoming =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("incoming-"));
            let is_kept = kept.is_some_and(|kept| path.with_extension("") == kept.with_extension(""));
            // What is just being received belongs to its receiver; at the start there is none.
            let receiving = incoming && self.received.load(Ordering::Relaxed) > 0;
            if !is_kept && !receiving && path.is_file() {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

fn newer(header: &SnapshotHeaderV1, than: Option<&SnapshotFile>) -> bool {
    let position = |header: &SnapshotHeaderV1| header.last.map(|id| (id.index, id.term, id.node));
    than.is_none_or(|than| position(header) > position(&than.header))
}

fn checksum(path: &Path) -> io::Result<(u64, u32)> {
    let mut file = File::open(path)?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let (mut length, mut crc) = (0u64, 0);
    loop {
        let count = file.read(&mut chunk)?;
        if count == 0 {
            return Ok((length, crc));
        }
        length += count as u64;
        crc = crc32c::crc32c_append(crc, &chunk[..count]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(last: u64, content: &[u8]) -> SnapshotHeaderV1 {
        SnapshotHeaderV1 {
            cluster: ClusterId(7),
            last: Some(LogIdV1 { term: 1, node: 1, index: last }),
            membership: StoredMembershipV1::default(),
            length: content.len() as u64,
            crc: crc32c::crc32c(content),
        }
    }

    #[tokio::test]
    async fn a_received_snapshot_is_current_once_it_is_kept_and_the_one_before_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(directory.path().join("snapshots"), &Extensions::default()).unwrap();
        for index in [9, 10] {
            let file = snapshots.receive(header(index, b"content"), &b"content"[..]).await.unwrap();
            assert_ne!(
                snapshots.current().unwrap().and_then(|file| file.header.last),
                header(index, b"").last
            );
            snapshots.keep(&file).unwrap();
            let current = snapshots.current().unwrap().unwrap();
            assert_eq!(current.header, header(index, b"content"));
        }
        assert_eq!(fs::read_dir(directory.path().join("snapshots")).unwrap().count(), 2);
    }

    #[tokio::test]
    async fn a_snapshot_that_is_cut_short_longer_or_changed_is_refused_and_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(directory.path().to_owned(), &Extensions::default()).unwrap();
        for content in [&b"conten"[..], b"content!", b"cOntent"] {
            let error = snapshots.receive(header(9, b"content"), content).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_crash_left_half_done_is_not_a_snapshot_and_is_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, content: &[u8]| fs::write(directory.path().join(name), content).unwrap();
        write("1-1-1.db", b"no header");
        write("2-1-1.partial", b"no header");
        write("3-1-1.head", &codec::seal_value(Kind::Snapshot, FORMAT, &header(3, b"no file")));
        write("4-1-1.db", b"content");
        write("4-1-1.head", &codec::seal_value(Kind::Snapshot, FORMAT, &header(4, b"another length")));
        write("incoming-0", b"half");
        let snapshots = Snapshots::open(directory.path().to_owned(), &Extensions::default()).unwrap();
        assert!(snapshots.current().unwrap().is_none());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
