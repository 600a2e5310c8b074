//! `cargo run --release -p grantd-bench -- grant`

use clap::{Parser, Subcommand};
use grantd_bench::grant;

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
    /// Everything
    All {
        /// Shorter loads: a first look, not a result
        #[arg(long)]
        quick: bool,
    },
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let seconds = match Arguments::parse().what {
        What::Grant { seconds } => seconds,
        What::All { quick } => {
            if quick {
                3
            } else {
                30
            }
        }
    };
    grant::run(seconds).await
}
