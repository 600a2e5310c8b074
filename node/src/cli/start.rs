//! `grantd start`: a node, until it is told to stop.

use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};

use crate::config::{KEYS, Written};
use crate::failure::Failure;
use crate::run::{Node, Stop};
use crate::telemetry;

#[derive(Args, Debug)]
#[command(after_help = "\
Each flag is also a key of the configuration file, with underscores, and a variable, as GRANTD_DATA_DIR.
A flag wins over a variable, that over the file.

Examples:
  grantd start --data-dir n1 --certs-dir certs/1
  grantd start --config /etc/grantd/grantd.toml --log-format json
  grantd start --data-dir n2 --certs-dir certs/2 --listen 10.0.0.2:26357 --join 10.0.0.1:26357")]
pub(super) struct StartArgs {
    /// Read this configuration file (TOML)
    #[arg(long, value_name = "FILE", env = "GRANTD_CONFIG")]
    config: Option<PathBuf>,
    #[command(flatten)]
    keys: KeyArgs,
}

/// One flag for each configuration key, made from the table of keys.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyArgs {
    written: Vec<(&'static str, String)>,
}

impl Args for KeyArgs {
    fn augment_args(command: Command) -> Command {
        KEYS.iter().fold(command, |command, key| {
            let help = match key.default {
                "" => key.help.to_owned(),
                default => format!("{} [default: {default}]", key.help),
            };
            let arg = Arg::new(key.name).long(key.flag()).value_name(key.value).help(help);
            command.arg(arg.action(ArgAction::Append))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for KeyArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut args = Self::default();
        args.update_from_arg_matches(matches)?;
        Ok(args)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for key in &KEYS {
            let words = matches.get_many::<String>(key.name).into_iter().flatten();
            self.written.extend(words.map(|word| (key.name, word.clone())));
        }
        Ok(())
    }
}

pub(super) async fn run(args: StartArgs) -> Result<(), Failure> {
    let written = Written::collect(args.config.as_deref(), std::env::vars(), args.keys.written)?;
    let settings = written.resolve()?;
    telemetry::start(settings.log_format, &settings.log_filter)?;
    for variable in &written.unknown_variables {
        warn!(%variable, "this variable sets no configuration key");
    }
    let mut signals = Signals::new()?;
    let node = Box::pin(Node::start(settings)).await?;
    let name = tokio::select! {
        name = signals.wait() => name,
        reason = node.handle().failed() => {
            let id = node.node_id();
            node.stop(Stop::Now).await;
            return Err(Failure::new(format!("node {id} cannot go on")).caused_by(reason));
        }
    };
    info!(signal = name, "stopping; a second signal stops at once");
    tokio::select! {
        () = node.stop(Stop::Drain) => {}
        name = signals.wait() => warn!(signal = name, "stopped without draining"),
    }
    Ok(())
}

/// The signals that stop a node.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let failed = |error: std::io::Error| Failure::new("cannot wait for signals").because(&error);
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
        })
    }

    /// The name of the next signal. Nothing is lost if the future is dropped.
    async fn wait(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
