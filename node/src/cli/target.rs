//! Which node a command talks SQL to, and as whom: the same flags for each.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;

use crate::failure::Failure;
use crate::secret::Secret;
use crate::shell::connection::Target;

/// The variable that PostgreSQL's own clients read a password from.
const PASSWORD_VARIABLE: &str = "PGPASSWORD";

#[derive(Args, Debug)]
pub(super) struct TargetArgs {
    /// The node's host
    #[arg(long, default_value = "localhost")]
    host: String,
    /// The node's SQL port
    #[arg(long, default_value_t = 26257)]
    port: u16,
    /// The SQL user to log in as
    #[arg(short, long, default_value = "root")]
    user: String,
    /// The database
    #[arg(short, long, default_value = "defaultdb")]
    database: String,
    /// The directory with ca.crt and the user's certificate
    #[arg(long, value_name = "DIR", default_value = "certs", env = "GRANTD_CERTS_DIR")]
    certs_dir: PathBuf,
}

impl TargetArgs {
    /// With the password, from the environment or asked for, where there is no certificate.
    pub(super) fn resolved(self) -> Result<Target, Failure> {
        let mut target = Target {
            host: self.host,
            port: self.port,
            user: self.user,
            database: self.database,
            certs_dir: self.certs_dir,
            password: std::env::var(PASSWORD_VARIABLE).ok().map(Secret::new),
        };
        if target.password.is_none() && !target.has_certificate() {
            target.password = Some(ask_password(&target.user)?);
        }
        Ok(target)
    }
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
