//! `grantd init`: a running node becomes the first member of a new cluster.

use std::time::{Duration, Instant};

use clap::Args;

use super::directory::DirectoryArgs;
use crate::admin::{self, Request};
use crate::failure::{Failure, Kind};

/// How long a node may take to start: `grantd start &` and `grantd init` are written one after the other.
const NODE_WAIT_MAX: Duration = Duration::from_secs(5);
/// Between two attempts.
const RETRY: Duration = Duration::from_millis(50);

#[derive(Args, Debug)]
#[command(after_help = "\
Do this once, for one node. It waits a few seconds for the node to come up. The others join by themselves: start them with --join and its address.

Example:
  grantd start --data-dir n1 --certs-dir certs/1 &
  grantd init --data-dir n1")]
pub(super) struct InitArgs {
    #[command(flatten)]
    directory: DirectoryArgs,
}

pub(super) async fn run(args: InitArgs) -> Result<(), Failure> {
    let directory = args.directory.resolve()?;
    let given_up = Instant::now() + NODE_WAIT_MAX;
    loop {
        match admin::ask(&directory, &Request::Init).await {
            Err(failure) if failure.kind == Kind::Unreachable && Instant::now() < given_up => {
                tokio::time::sleep(RETRY).await;
            }
            Err(failure) => return Err(failure),
            Ok(_) => break,
        }
    }
    super::print("a new cluster, with this node as its first member\n")
}
