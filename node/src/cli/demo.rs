//! `grantd demo`.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use crate::config::LogFormat;
use crate::demo::{self, Ending, Options};
use crate::failure::Failure;
use crate::telemetry;

#[derive(Args, Debug)]
#[command(after_help = "\
The nodes are real: each has its own directory, certificates and ports, and they talk QUIC with mutual TLS over
loopback. Without --keep everything is removed at the end.

Examples:
  grantd demo                  a SQL shell, if this is a terminal
  grantd demo --tour           a commented walk over the three nodes; exits with 1 if a step does not hold
  grantd demo --keep ./demo    keeps directories and certificates for psql")]
pub(super) struct DemoArgs {
    /// Walk through a commented tour instead of opening the SQL shell
    #[arg(long)]
    tour: bool,
    /// Keep the nodes' directories here; it must be empty or not exist
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// What the nodes log to standard error
    #[arg(long, value_name = "FILTER", default_value = "error")]
    log_filter: String,
}

pub(super) async fn run(args: DemoArgs) -> Result<(), Failure> {
    telemetry::start(LogFormat::Text, &args.log_filter)?;
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let ending = if args.tour || !is_terminal { Ending::Tour } else { Ending::Shell };
    demo::run(Options { ending, keep: args.keep }).await
}
