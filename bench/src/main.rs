//! `cargo run --release -p grantd-bench -- grant`

use std::path::PathBuf;

use clap::{Parser, Subcommand};
use grantd_bench::{grant, listing, pgbench, rows};

/// Measures grantd beside what bounds it.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
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
    /// Everything but pgbench
    All {
        /// Shorter loads: a first look, not a result
        #[arg(long)]
        quick: bool,
    },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    match Arguments::parse().what {
        What::Grant { seconds } => grant::run(seconds).await,
        What::Listing { tables, roles, plot } => listing::run(tables, roles, plot.as_deref()).await,
        What::Pgbench { scale, clients, seconds } => {
            pgbench::run(pgbench::Load { scale, clients, seconds }).await
        }
        What::Rows { seconds } => rows::run(seconds).await,
        What::All { quick: true } => {
            rows::run(3).await?;
            grant::run(3).await?;
            listing::run(1_000, 100, None).await
        }
        What::All { quick: false } => {
            rows::run(10).await?;
            grant::run(30).await?;
            listing::run(10_000, 1_000, None).await
        }
    }
}
