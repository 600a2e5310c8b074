//! Files that nobody but the node's own user reads: they hold password verifiers and every row.

use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Read and write for the owner, whatever the umask says.
const MODE: u32 = 0o600;

/// Opens or makes a file for writing, and takes every right from group and others. What is in it stays. Errors: the
/// system's, which for a file of another user include that of the change of rights.
///
/// SQLite gives its `-wal` and `-shm` files the mode of the file beside them.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(MODE).open(path)?;
    if file.metadata()?.permissions().mode() & 0o777 != MODE {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(file)
}

/// As [`open`], and empty.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    let file = open(path)?;
    file.set_len(0)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_others_could_read_is_closed_to_them_and_keeps_its_content() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, b"content").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let opened = open(&path).unwrap();
        assert_eq!(opened.metadata().unwrap().permissions().mode() & 0o777, MODE);
        assert_eq!(std::fs::read(&path).unwrap(), b"content");
        create(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
}
