//! The command line: what was typed, understood, and the exit code.
//!
//! Each command is a module that parses nothing itself and prints its result; errors come back as a [`Failure`] and
//! are printed here, once. Results go to standard output, everything else to standard error.

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::failure::Failure;

mod directory;
mod target;
mod cert;
mod check;
mod demo;
mod init;
mod node;
mod sql;
mod start;

/// One authority for who may do what, on every node.
#[derive(Debug, Parser)]
#[command(
    name = "grantd",
    version,
    about = "A replicated privilege catalog with SQL over the PostgreSQL protocol",
    after_help = EXAMPLES,
    disable_help_subcommand = true,
    propagate_version = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  grantd demo                                      three nodes and a SQL shell, now
  grantd cert create-ca                            the first step of a real cluster
  grantd cert create-node --id 1 localhost
  grantd start --data-dir n1 --certs-dir certs     runs until Ctrl-C
  grantd init --data-dir n1                        makes it a cluster
  grantd sql -e 'SHOW USERS'
  grantd check mia SELECT shop.orders --explain    may she, and why?

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 nobody answered; of `check` its own.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node until Ctrl-C or SIGTERM
    Start(start::StartArgs),
    /// Make a new cluster with a running node as its first member
    Init(init::InitArgs),
    /// Three nodes in one process, a sample database, and a SQL shell or a tour
    Demo(demo::DemoArgs),
    /// Open a SQL shell, or run statements
    Sql(sql::SqlArgs),
    /// Ask whether a user may do something: exit code 0 yes, 1 no, 2 no answer
    Check(check::CheckArgs),
    /// Make and list certificates
    #[command(subcommand)]
    Cert(cert::CertCommand),
    /// Look at and change the members of a cluster
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// Print the release
    Version,
    /// Print a completion script for your shell
    #[command(after_help = "Example:\n  grantd completions bash > /etc/bash_completion.d/grantd")]
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: clap_complete::Shell,
    },
}

/// Runs what the process was started with.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::new("cannot start threads").because(&error)),
    };
    let result = runtime.block_on(run(cli.command));
    // A read of standard input that nobody waits for any more must not keep the process.
    runtime.shutdown_timeout(SHUTDOWN_MAX);
    match result {
        Ok(code) => code,
        Err(failure) => report(&failure),
    }
}

/// How long tasks that are still there at the end may take.
const SHUTDOWN_MAX: std::time::Duration = std::time::Duration::from_secs(1);

async fn run(command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Start(args) => Box::pin(start::run(args)).await?,
        Command::Init(args) => init::run(args).await?,
        Command::Demo(args) => Box::pin(demo::run(args)).await?,
        Command::Sql(args) => Box::pin(sql::run(args)).await?,
        Command::Check(args) => return Ok(Box::pin(check::run(args)).await),
        Command::Cert(command) => cert::run(command)?,
        Command::Node(command) => node::run(command).await?,
        Command::Version => print(&format!("grantd {}\n", env!("CARGO_PKG_VERSION")))?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "grantd", &mut script);
            print(&String::from_utf8_lossy(&script))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn report(failure: &Failure) -> ExitCode {
    // Nobody listens to standard error any more: the exit code still says it.
    let _unheard = writeln!(std::io::stderr(), "{failure}");
    ExitCode::from(failure.kind.exit_code())
}

/// Prints a result. A reader that left, as `head` does, is no failure.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new("cannot write to standard output").because(&error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// A table without the blanks that its cells begin and end with.
fn trimmed(table: &comfy_table::Table) -> String {
    table.to_string().lines().fold(String::new(), |mut text, line| {
        text.push_str(line.strip_prefix(' ').unwrap_or(line).trim_end());
        text.push('\n');
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_help_that_says_something() {
        let mut command = Cli::command();
        command.build();
        for sub in command.get_subcommands() {
            assert!(sub.get_about().is_some(), "{} has no help", sub.get_name());
        }
    }
}
