//! Debian's pgbench on three nodes of grantd, through one that does not lead, and on PostgreSQL, in turn.
//!
//! PostgreSQL is one server and syncs each commit to one disk; grantd's three nodes share that disk and the processors, and
//! sync each commit twice before it is acknowledged. The ratio says what that costs here. Both have TLS.

use std::process::Command;

use grantd_node::pgclient::Login;

use crate::nodes::Nodes;
use crate::postgres::{Postgres, programs};

type Failed = Box<dyn std::error::Error>;

/// Rows of pgbench's largest table for each unit of scale.
const ROWS_EACH: f64 = 100_000.0;

/// What is run: its name, and pgbench's arguments.
const LOADS: [(&str, &[&str]); 4] = [
    ("default", &[]),
    ("-M prepared", &["-M", "prepared"]),
    ("-S", &["-S"]),
    ("-S -M prepared", &["-S", "-M", "prepared"]),
];

/// How pgbench is run.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Its scale: 100,000 accounts each.
    pub scale: u32,
    /// Clients at once.
    pub clients: u32,
    /// Seconds of each run.
    pub seconds: u64,
}

/// A server as pgbench's environment says.
type Environment = Vec<(&'static str, String)>;

/// Runs all loads on both and prints what came of them.
pub async fn run(load: Load) -> Result<(), Failed> {
    let nodes = Nodes::start().await?;
    let postgres = Postgres::start(0).await?.ok_or("there is no PostgreSQL: install postgresql")?;
    let servers = [
        ("grantd, 3 nodes", environment(&nodes.follower().await?)),
        ("PostgreSQL", environment(&postgres.login(0))),
    ];
    let Load { scale, clients, seconds } = load;
    println!("pgbench, scale {scale}, {clients} clients, {seconds} s each; grantd through a follower\n");
    println!("{:<18}{:>18}{:>18}{:>10}", "", servers[0].0, servers[1].0, "ratio");
    let mut rates = Vec::new();
    for (_, environment) in &servers {
        rates.push(filled(environment, scale)?);
    }
    print("COPY, rows/s", &rates);
    for (name, arguments) in LOADS {
        let mut rates = Vec::new();
        for (_, environment) in &servers {
            rates.push(transactions(environment, load, arguments)?);
        }
        print(&format!("{name}, tps"), &rates);
    }
    Ok(())
}

fn environment(login: &Login) -> Environment {
    let mut environment = vec![
        ("PGHOST", login.host.clone()),
        ("PGPORT", login.port.to_string()),
        ("PGUSER", login.user.clone()),
        ("PGDATABASE", login.database.clone()),
        ("PGSSLMODE", "verify-full".to_owned()),
        ("PGSSLROOTCERT", login.ca.display().to_string()),
    ];
    if let Some((certificate, key)) = &login.certificate {
        environment.push(("PGSSLCERT", certificate.display().to_string()));
        environment.push(("PGSSLKEY", key.display().to_string()));
    }
    environment
}

fn print(name: &str, rates: &[f64]) {
    println!("{name:<18}{:>18.0}{:>18.0}{:>10.2}", rates[0], rates[1], rates[0] / rates[1]);
}

/// Fills the tables; rows a second of COPY, as pgbench says how long it took.
fn filled(environment: &Environment, scale: u32) -> Result<f64, Failed> {
    let said = pgbench(environment, &["-i", "-q", "-s", &scale.to_string()])?;
    // `done in 0.40 s (drop tables 0.00 s, …, client-side generate 0.21 s, …)`.
    let seconds = number_behind(&said, "client-side generate ")?;
    Ok(ROWS_EACH * f64::from(scale) / seconds)
}

/// Transactions a second.
fn transactions(environment: &Environment, load: Load, arguments: &[&str]) -> Result<f64, Failed> {
    let (clients, seconds) = (load.clients.to_string(), load.seconds.to_string());
    let common = ["-c", &clients, "-j", "2", "-T", &seconds, "--max-tries=1000"];
    let said = pgbench(environment, &[&common[..], arguments].concat())?;
    number_behind(&said, "tps = ")
}

fn pgbench(environment: &Environment, arguments: &[&str]) -> Result<String, Failed> {
    let programs = programs().ok_or("there is no pgbench: install postgresql")?;
    let program = programs.join("pgbench");
    let output = Command::new(program).args(arguments).envs(environment.iter().cloned()).output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    if output.status.success() { Ok(said) } else { Err(format!("pgbench {arguments:?}: {said}").into()) }
}

fn number_behind(said: &str, words: &str) -> Result<f64, Failed> {
    let (_, rest) =
        said.rsplit_once(words).ok_or_else(|| format!("pgbench did not say `{words}`: {said}"))?;
    let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
    Ok(rest[..end].parse()?)
}
