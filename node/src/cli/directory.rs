//! The flags that say which node a command talks to: its data directory, from a flag, the environment or its
//! configuration file.

use std::path::PathBuf;

use clap::Args;

use crate::config::Written;
use crate::failure::Failure;

/// Which node on this machine.
#[derive(Args, Debug)]
pub(super) struct DirectoryArgs {
    /// The data directory of the node [default: grantd-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// The configuration file that the node was started with
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl DirectoryArgs {
    /// The data directory.
    pub(super) fn resolve(self) -> Result<PathBuf, Failure> {
        let flags = self.data_dir.map(|directory| ("data_dir", directory));
        let written = Written::collect(self.config.as_deref(), std::env::vars(), flags)?;
        Ok(written.data_dir()?)
    }
}
