//! `grantd sql`: the shell, with its target from flags and the environment.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::failure::Failure;
use crate::secret::Secret;
use crate::shell::Shell;
use crate::shell::connection::{Connection, Target};
use crate::shell::output::Format;

/// The variable that PostgreSQL's own clients read a password from.
const PASSWORD_VARIABLE: &str = "PGPASSWORD";

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
    /// The node's host
    #[arg(long, default_value = "localhost")]
    host: String,
    /// The node's SQL port
    #[arg(long, default_value_t = 26257)]
    port: u16,
    /// The SQL user
    #[arg(short, long, default_value = "root")]
    user: String,
    /// The database
    #[arg(short, long, default_value = "defaultdb")]
    database: String,
    /// The directory with ca.crt and the user's certificate
    #[arg(long, value_name = "DIR", default_value = "certs", env = "GRANTD_CERTS_DIR")]
    certs_dir: PathBuf,
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
    let mut target = Target {
        host: args.host,
        port: args.port,
        user: args.user,
        database: args.database,
        certs_dir: args.certs_dir,
        password: std::env::var(PASSWORD_VARIABLE).ok().map(Secret::new),
    };
    if target.password.is_none() && !target.has_certificate() {
        target.password = Some(ask_password(&target.user)?);
    }
    let connection = Connection::open(target).await?;
    Shell::new(connection, format).run(&args.execute).await
}

/// Asks for the password on the terminal, without showing it.
fn ask_password(user: &str) -> Result<Secret, Failure> {
    let failed = |error: io::Error| Failure::new("cannot read the password").because(&error);
    let input = io::stdin();
    if !input.is_terminal() {
        return Err(Failure::usage(format!("user `{user}` has neither a certificate here nor a password"))
            .help(format!("make one with `grantd cert create-client {user}`, or set {PASSWORD_VARIABLE}")));
    }
    eprint!("password of {user}: ");
    io::stderr().flush().map_err(failed)?;
    let shown = rustix::termios::tcgetattr(&input).map_err(|error| failed(error.into()))?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
    let set = |modes| rustix::termios::tcsetattr(&input, rustix::termios::OptionalActions::Flush, modes);
    set(&hidden).map_err(|error| failed(error.into()))?;
    let mut line = String::new();
    let read = input.lock().read_line(&mut line);
    set(&shown).map_err(|error| failed(error.into()))?;
    eprintln!();
    read.map_err(failed)?;
    Ok(Secret::new(line.trim_end_matches(['\r', '\n']).to_owned()))
}
