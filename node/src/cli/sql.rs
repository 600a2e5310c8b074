//! `grantd sql`: the shell.

use clap::{Args, ValueEnum};

use super::target::TargetArgs;
use crate::failure::Failure;
use crate::shell::Shell;
use crate::shell::connection::Connection;
use crate::shell::output::Format;

#[derive(Args, Debug)]
#[command(after_help = "\
A user with client.USER.crt and client.USER.key in the certs directory logs in with these; another one with a
password, from PGPASSWORD or asked for. The connection is always encrypted, and the server must be one of ca.crt's.

Examples:
  grantd sql
  grantd sql --port 26258 --user mia --database shop
  grantd sql -e 'SHOW USERS' --format csv
  grantd sql < schema.sql")]
pub(super) struct SqlArgs {
    /// Run these statements and leave; may be given more than once
    #[arg(short, long, value_name = "STATEMENT")]
    execute: Vec<String>,
    #[command(flatten)]
    target: TargetArgs,
    /// How results are shown
    #[arg(long, value_enum, default_value = "table")]
    format: FormatArg,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    /// For people
    Table,
    /// RFC 4180, with a header
    Csv,
    /// One array of objects for each statement
    Json,
}

pub(super) async fn run(args: SqlArgs) -> Result<(), Failure> {
    let format = match args.format {
        FormatArg::Table => Format::Table,
        FormatArg::Csv => Format::Csv,
        FormatArg::Json => Format::Json,
    };
    let connection = Connection::open(args.target.resolved()?).await?;
    Shell::new(connection, format).run(&args.execute).await
}
