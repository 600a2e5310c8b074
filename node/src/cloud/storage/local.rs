//! `nodelocal`: files of this node below one directory, and nothing outside of it.
//!
//! No path leads out: names have no `..`, and a symbolic link anywhere below the directory is refused, whether it leads out or
//! not. What is written is synced, file and directory, before it is said to be there. Against somebody who may write into the
//! directory by other ways and swaps it under our eyes there is no protection: that is the operator.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use object_store::local::LocalFileSystem;
use object_store::path::Path as Name;

use super::error::{Kind, Operation, StorageError};
use super::{Found, Storage};

/// A directory for files.
pub(super) struct Local {
    root: PathBuf,
    /// What reads and writes below it.
    pub store: LocalFileSystem,
}

impl Local {
    /// Opens the directory, and makes it if there is none.
    pub(super) fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let root = root.canonicalize()?;
        let store = LocalFileSystem::new_with_prefix(&root).map_err(io::Error::other)?.with_fsync(true);
        Ok(Self { root, store })
    }

    /// The file of this name, if no link is on the way there.
    pub(super) fn target(
        &self,
        storage: &Storage,
        path: &str,
        operation: Operation,
    ) -> Result<Name, StorageError> {
        let name = storage.name(path, operation)?;
        match link_on_the_way(&self.root, name.as_ref()) {
            Ok(false) => Ok(name),
            Ok(true) => {
                let cause = "local file access to paths outside of external-io-dir is not allowed: \
                             a symbolic link is on the way";
                let error = storage.error(Kind::Denied, operation, path, cause.to_owned());
                Err(error.hint("put the files themselves there"))
            }
            Err(error) => Err(storage.error(Kind::Refused, operation, path, error.to_string())),
        }
    }

    /// At most so many files whose names begin so and come after this one, in their order.
    pub(super) fn list(&self, prefix: &str, after: Option<&str>, at_most: usize) -> io::Result<Vec<Found>> {
        let mut found = std::collections::BTreeMap::new();
        // All names below the last folder that the prefix names whole.
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        if link_on_the_way(&self.root, folder)? {
            return Ok(Vec::new());
        }
        let mut folders = vec![(folder.to_owned(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let entries = match fs::read_dir(self.root.join(&folder)) {
                Ok(entries) => entries,
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            for entry in entries {
                let entry = entry?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                let kind = entry.file_type()?;
                if kind.is_dir() && depth < FOLDERS_DEEP_MAX {
                    folders.push((name, depth + 1));
                } else if kind.is_file() && name.starts_with(prefix) && !is_unfinished(&name) {
                    if after.is_some_and(|after| &*name <= after) {
                        continue;
                    }
                    // One that was taken away meanwhile is not there.
                    let Ok(about) = entry.metadata() else { continue };
                    found.insert(name.clone(), Found { name, size: about.len(), e_tag: None });
                    if found.len() > at_most {
                        found.pop_last();
                    }
                }
            }
        }
        Ok(found.into_values().collect())
    }
}

/// Whether one of the folders, or the file itself, is a symbolic link. What is not there yet is none.
fn link_on_the_way(root: &Path, name: &str) -> io::Result<bool> {
    let mut at = root.to_path_buf();
    for part in name.split('/').filter(|part| !part.is_empty()) {
        at.push(part);
        match fs::symlink_metadata(&at) {
            Ok(about) if about.file_type().is_symlink() => return Ok(true),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(false);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// `object_store` writes into `name#1` and so on, and renames it at the end.
fn is_unfinished(name: &str) -> bool {
    name.rsplit_once('#')
        .is_some_and(|(_, number)| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// As deep as names may be long.
const FOLDERS_DEEP_MAX: usize = 512;
