//! One process to a directory.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::private;

/// Holds the directory until it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Why the directory cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process holds it.
    #[error(
        "the data directory `{directory}` is in use by another process; stop it, or choose another directory"
    )]
    Held {
        /// The directory.
        directory: PathBuf,
    },
    /// The lock file cannot be made or locked.
    #[error("the data directory `{directory}` cannot be locked")]
    Failed {
        /// The directory.
        directory: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl DirectoryLock {
    /// Takes the lock of a directory that exists. Never waits.
    pub fn acquire(directory: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Failed { directory: directory.to_owned(), source };
        let path = directory.join("LOCK");
        // Not removed at the end: another process could then lock a new file of the same name beside this one.
        let file = private::open(&path).map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(LockError::Held { directory: directory.to_owned() }),
            Err(error) => Err(failed(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_once_and_free_again_after_drop() {
        let directory = tempfile::tempdir().unwrap();
        let held = DirectoryLock::acquire(directory.path()).unwrap();
        assert!(matches!(DirectoryLock::acquire(directory.path()), Err(LockError::Held { .. })));
        drop(held);
        DirectoryLock::acquire(directory.path()).unwrap();
    }
}
