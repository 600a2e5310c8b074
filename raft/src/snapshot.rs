//! Snapshots: the whole state at one position, for a member that the log does not bring up.
//!
//! Nothing is copied before somebody needs it. A snapshot that openraft has taken is a *position*: `state.db` holds everything up to
//! there, durably, and the log before it may go. When a member lacks what the log no longer has, the state *as it then is* is
//! pinned, copied into a file of `snapshots/`, and sent; who receives it checks all of it before anything is replaced. Files
//! of that directory live as long as their transfer.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bincode::{Decode, Encode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::private;
use crate::rows::{self, Extensions, SnapshotContents, SnapshotSource};
use crate::types::{ClusterId, LogIdV1, SnapshotMeta, StoredMembershipV1};

/// What a copy leaves free on the disk: a full one ends the node, whose log is there as well.
const FREE_BYTES_MIN: u64 = 256 << 20;
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
        meta(self.last, &self.membership)
    }
}

/// What openraft hands around for a snapshot.
pub enum SnapshotData {
    /// This node's own.
    Pinned(Pinned),
    /// A peer's.
    Received(SnapshotFile),
}

impl SnapshotData {
    /// Its file. Blocks: one that is pinned is copied, see [`Pinned::copy`].
    pub fn into_file(self) -> io::Result<SnapshotFile> {
        match self {
            Self::Pinned(pinned) => pinned.copy(),
            Self::Received(file) => Ok(file),
        }
    }
}

/// This node's state at one position, durable, not copied. It holds a read transaction: the write-ahead log of `state.db`
/// grows until it is dropped.
pub struct Pinned {
    /// The view.
    pub source: SnapshotSource,
    /// Whose state it is.
    pub cluster: ClusterId,
    /// The last entry that it contains.
    pub last: Option<LogIdV1>,
    /// The members at that entry.
    pub membership: StoredMembershipV1,
    /// Where it is copied to.
    pub snapshots: Arc<Snapshots>,
}

impl Pinned {
    /// Openraft's form of its position.
    pub fn meta(&self) -> io::Result<SnapshotMeta> {
        meta(self.last, &self.membership)
    }

    /// Copies it into a file. Blocks: 1 GB takes some 3 s.
    pub fn copy(self) -> io::Result<SnapshotFile> {
        let Self { source, cluster, last, membership, snapshots } = self;
        let length = source.length().map_err(io::Error::other)?;
        let disk = rustix::fs::statvfs(&snapshots.directory)?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        if free < length.saturating_add(FREE_BYTES_MIN) {
            let directory = snapshots.directory.display();
            let what = format!(
                "`{directory}` has {} MiB of disk left, and a copy of {} MiB would leave less than {} MiB; make room",
                free >> 20,
                length >> 20,
                FREE_BYTES_MIN >> 20
            );
            return Err(io::Error::new(io::ErrorKind::StorageFull, what));
        }
        let file = snapshots.new_file("outgoing");
        source.write_to(&file.0).map_err(io::Error::other)?;
        let (length, crc) = checksum(&file.0)?;
        let header = SnapshotHeaderV1 { cluster, last, membership, length, crc };
        Ok(SnapshotFile { file: Arc::new(file), header, is_checked: false })
    }
}

/// A complete copy, deleted with its last clone.
#[derive(Clone, Debug)]
pub struct SnapshotFile {
    file: Arc<OwnFile>,
    header: SnapshotHeaderV1,
    /// Set by [`Snapshots::check`].
    is_checked: bool,
}

impl SnapshotFile {
    /// Opens it for reading from the start.
    pub fn open(&self) -> io::Result<File> {
        File::open(self.path())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.file.0
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

/// Deleted when dropped, if it was made.
#[derive(Debug)]
struct OwnFile(PathBuf);

impl Drop for OwnFile {
    fn drop(&mut self) {
        // What cannot be deleted now is at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

/// The directory of what is being sent and received.
#[derive(Debug)]
pub struct Snapshots {
    directory: PathBuf,
    /// With the orders in which the row store keeps its keys.
    extensions: Extensions,
    files: AtomicU64,
}

impl Snapshots {
    /// Opens or makes the directory, and deletes the files in it: nobody sends or receives yet.
    pub fn open(directory: PathBuf, extensions: &Extensions) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_file() {
                fs::remove_file(path)?;
            }
        }
        Ok(Self { directory, extensions: extensions.clone(), files: AtomicU64::new(0) })
    }

    fn new_file(&self, what: &str) -> OwnFile {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        OwnFile(self.directory.join(format!("{what}-{number}.db")))
    }

    /// Takes a snapshot that a peer streams, up to its last byte, and checks length and checksum.
    pub async fn receive(
        &self,
        header: SnapshotHeaderV1,
        mut from: impl AsyncRead + Send + Unpin,
    ) -> io::Result<SnapshotFile> {
        let received = self.new_file("incoming");
        let mut file = tokio::fs::File::from_std(private::create(&received.0)?);
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
        // Not synced: what counts is `state.db`, once it is installed.
        file.flush().await?;
        Ok(SnapshotFile { file: Arc::new(received), header, is_checked: false })
    }

    /// Checks the pages of a file: its bytes were when it was received. Blocks: 1 GB takes some 2 s. Nothing to do for one
    /// that was checked.
    pub fn check(&self, file: &SnapshotFile) -> io::Result<SnapshotFile> {
        if !file.is_checked {
            rows::quick_check(file.path(), &self.extensions).map_err(io::Error::other)?;
        }
        Ok(SnapshotFile { is_checked: true, ..file.clone() })
    }

    /// What the catalog needs of a checked file.
    pub fn contents(&self, file: &SnapshotFile) -> io::Result<SnapshotContents> {
        rows::snapshot_contents(file.path()).map_err(io::Error::other)
    }
}

fn meta(last: Option<LogIdV1>, membership: &StoredMembershipV1) -> io::Result<SnapshotMeta> {
    let last_membership = membership.clone().try_into().map_err(io::Error::other)?;
    Ok(SnapshotMeta { last_log_id: last.map(Into::into), last_membership })
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

    fn files(directory: &Path) -> usize {
        fs::read_dir(directory).unwrap().count()
    }

    #[tokio::test]
    async fn a_file_is_gone_with_its_last_clone_and_at_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::open(directory.path().join("snapshots"), &Extensions::default()).unwrap();
        let directory = directory.path().join("snapshots");
        let one = snapshots.receive(header(1, b"content"), &b"content"[..]).await.unwrap();
        let two = snapshots.receive(header(2, b"content"), &b"content"[..]).await.unwrap();
        assert_eq!(files(&directory), 2);
        let clone = one.clone();
        drop((one, two));
        assert_eq!(files(&directory), 1);
        assert_eq!(fs::read(clone.path()).unwrap(), b"content");
        drop(clone);
        assert_eq!(files(&directory), 0);
        // A crash deletes nothing; and a release before kept the last snapshot there.
        for name in
            ["outgoing-3.db", "incoming-4.db", "00000000000000000009-1-1.db", "00000000000000000009-1-1.head"]
        {
            fs::write(directory.join(name), b"content").unwrap();
        }
        Snapshots::open(directory.clone(), &Extensions::default()).unwrap();
        assert_eq!(files(&directory), 0);
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
}
