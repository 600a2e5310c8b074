//! `cargo run --release -p grantd-bench -- all --quick`

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use grantd_bench::load::{Plan, apart};
use grantd_bench::noise::Calibration;
use grantd_bench::report::Report;
use grantd_bench::{
    all, backup, check, credentials, feed, grant, listing, memory, peers, pgbench, pgcheck, revoke, rows,
    start, transports,
};

/// Measures grantd beside what bounds it.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    what: What,
    /// A directory for the report: report.md, and plots as SVG
    #[arg(long, global = true)]
    out: Option<PathBuf>,
}

#[derive(Subcommand)]
enum What {
    /// One decision in process: alone, in a stream, by name, in batches, while changes are published; and memory
    Check {
        /// Worlds of 100,000 grants, of 10 times and of 100 times as many, up to this factor
        #[arg(long, default_value_t = 10)]
        scale: usize,
        /// Rounds of each way to ask, 32,768 questions each
        #[arg(long, default_value_t = 21)]
        rounds: usize,
    },
    /// One part of a world, restored in this process: what `check` starts to measure memory
    #[command(hide = true)]
    Memory {
        #[arg(long)]
        scale: usize,
        #[arg(long)]
        part: memory::Part,
    },
    /// GRANT on three nodes: p50, p99 and throughput, beside one sync and one round trip
    Grant {
        /// Seconds of each load
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// GRANT on all tables of a schema, and what lists grants, on a catalog with many tables and roles
    Listing {
        /// Tables in the schema
        #[arg(long, default_value_t = 10_000)]
        tables: usize,
        /// Roles
        #[arg(long, default_value_t = 1_000)]
        roles: usize,
        /// An SVG file for a plot of the cost of a row, from 1,000 to 100,000 grants
        #[arg(long)]
        plot: Option<PathBuf>,
    },
    /// How long a node takes from its start to its first answer, on a catalog with many grants
    Start {
        /// Grants in the catalog
        #[arg(long, default_value_t = 1_000_000)]
        grants: usize,
    },
    /// REVOKE on three processes beside GRANT, and with a node stopped, a node killed, the leader killed
    Revoke {
        /// Seconds of each load
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Debian's pgbench on three processes, through a follower, and on PostgreSQL
    Pgbench {
        /// pgbench's scale: 100,000 accounts each
        #[arg(long, default_value_t = 10)]
        scale: u32,
        /// Clients at once
        #[arg(long, default_value_t = 8)]
        clients: u32,
        /// Seconds of each load
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// Rows on three nodes, beside PostgreSQL with two standbys: point SELECT, one-row INSERT, COPY
    Rows {
        /// Seconds of each load
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// One check beside cedar-policy, casbin, regorus, PostgreSQL and etcd, which must agree with each other
    Peers(Rounds),
    /// Checks over the PostgreSQL protocol, one at a time and pipelined, beside a server that answers without deciding
    Pgcheck(Rounds),
    /// A check over each transport, beside a bare echo on it
    Transports {
        #[command(flatten)]
        rounds: Rounds,
        /// Only what has this in its name, as `HTTPS`: for a profile
        #[arg(long, value_name = "NAME", default_value = "")]
        only: String,
    },
    /// 1,000 users of 50 chains of cloud roles on one node: calls to the cloud, memory, the cost of the current lease
    Credentials {
        /// Seconds on the clock
        #[arg(long, default_value_t = 15)]
        seconds: u64,
        /// Rounds of readings
        #[arg(long, default_value_t = 21)]
        rounds: usize,
    },
    /// Changefeeds on three processes while 1,000 rows a second are written: from commit to sink, and the cost of a message
    Feed {
        /// Seconds of each load
        #[arg(long, default_value_t = 20)]
        seconds: u64,
    },
    /// BACKUP beside `pg_dump | zstd`: megabytes a second, their size, the node's memory; alone, or with writers and restored
    Backup {
        /// Rows, of about 130 bytes
        #[arg(long, default_value_t = 1_000_000)]
        rows: u64,
        /// Rounds of each, in turn
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// What is backed up, where to, and who else is there
        #[arg(long, value_enum, default_value = "nodelocal")]
        place: backup::Place,
        /// Grants in the catalog, where the place is MiniStack
        #[arg(long, default_value_t = 1_000_000)]
        grants: usize,
    },
    /// Everything but pgbench, credentials, feed and backup, and what came of the goals
    All {
        /// Shorter loads: a first look, not a result
        #[arg(long)]
        quick: bool,
    },
}

#[derive(clap::Args, Clone, Copy)]
struct Rounds {
    /// Rounds of each, in turn
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Milliseconds of each round
    #[arg(long, default_value_t = 200)]
    round_ms: u64,
}

impl Rounds {
    fn plan(self) -> Plan {
        Plan { rounds: self.rounds, length: Duration::from_millis(self.round_ms) }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let Arguments { what, out } = Arguments::parse();
    if let What::Pgbench { scale, clients, seconds } = what {
        return pgbench::run(pgbench::Load { scale, clients, seconds }).await;
    }
    if let What::Memory { scale, part } = what {
        return memory::child(scale, part);
    }
    let mut report = Report::begin(out.as_deref())?;
    let mut calibration = Calibration::new()?;
    calibration.once();
    match what {
        What::Check { scale, rounds } => check::run(check::Load { scale, rounds }, &mut report)?,
        What::Start { grants } => start::run(grants, &mut report).await?,
        What::Revoke { seconds } => revoke::run(seconds, revoke::ROUNDS, &mut report).await?,
        What::Grant { seconds } => grant::run(seconds, &mut report).await?,
        What::Listing { tables, roles, plot } => {
            listing::run(tables, roles, plot.as_deref(), &mut report).await?;
        }
        What::Rows { seconds } => rows::run(seconds, &mut report).await?,
        What::Peers(rounds) => {
            apart(async |_| peers::run(&mut report, rounds.plan(), &mut calibration).await)?;
        }
        What::Pgcheck(rounds) => pgcheck::run(&mut report, rounds.plan(), &mut calibration).await?,
        What::Transports { rounds, only } => {
            transports::run(&mut report, rounds.plan(), &only, &mut calibration).await?;
        }
        What::Credentials { seconds, rounds } => {
            credentials::run(credentials::Load { seconds, rounds }, &mut report).await?;
        }
        What::Feed { seconds } => feed::run(seconds, &mut report).await?,
        What::Backup { rows, rounds, place, grants } => {
            backup::run(backup::Load { rows, rounds, place, grants }, &mut report).await?;
        }
        What::All { quick } => {
            let length = if quick { all::QUICK } else { all::WHOLE };
            all::run(&mut report, length, &mut calibration).await?;
        }
        What::Pgbench { .. } | What::Memory { .. } => {}
    }
    calibration.once();
    match calibration.noise()? {
        Some(noise) => report.end(&noise),
        None => Ok(()),
    }
}
