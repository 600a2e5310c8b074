//! A disk that is too small: a file system of its own where that may be mounted, else a limit on the size of files.

use std::path::PathBuf;
use std::process::Command;

use grantd_cluster_tests::process::Node;

/// Bytes of the small disk, for `mount`.
const SMALL: &str = "size=8m";
/// The same when there is space again.
const LARGE: &str = "size=512m";

/// A data directory without much space. Must be dropped after its node has ended.
pub enum SmallDisk {
    /// A file system in memory is mounted there: writes fail with ENOSPC.
    Mounted(PathBuf),
    /// Mounting is not permitted: the process may not write large files, and writes fail with EFBIG.
    Limited,
}

impl SmallDisk {
    /// Gives `node`, which does not run yet, a small disk.
    pub fn under(node: &mut Node) -> Self {
        std::fs::create_dir_all(&node.data).expect("a directory");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", SMALL, "tmpfs"]).arg(&node.data).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Self::Mounted(node.data.clone());
        }
        Self::by_limit(node)
    }

    /// The same, always by a limit.
    pub fn by_limit(node: &mut Node) -> Self {
        // The signal of a file that is too large is ignored, so that the write fails instead.
        let limited = "trap '' XFSZ; ulimit -f 8192; exec \"$@\"";
        node.under = ["/bin/sh", "-c", limited, "sh"].map(str::to_owned).to_vec();
        Self::Limited
    }

    /// Makes room.
    pub fn enlarge(&self, node: &mut Node) {
        match self {
            Self::Mounted(path) => {
                let mounted =
                    Command::new("mount").args(["-o", &format!("remount,{LARGE}")]).arg(path).status();
                assert!(mounted.is_ok_and(|status| status.success()), "what was mounted can be made larger");
            }
            Self::Limited => node.under.clear(),
        }
    }

    /// What a failed write names as its cause.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::Mounted(_) => "database or disk is full (code 13)",
            Self::Limited => "disk I/O error",
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Self::Mounted(path) = self {
            // Lazily: a node that still runs, because the test has failed, does not hold it.
            let _unmounted = Command::new("umount").arg("-l").arg(path).status();
        }
    }
}
