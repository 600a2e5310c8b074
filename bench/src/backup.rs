//! BACKUP beside `pg_dump | zstd` of the same rows from PostgreSQL on this machine: how many bytes of values a second, how large the
//! files are, and the most memory that the node had.
//!
//! Of a table to files of the node that is asked: nobody else uses the databases, both write to the same disk without waiting for
//! it, and the two are measured in turn. Or of a cluster with many grants to MiniStack, with writers beside it: `crowded`.

mod crowded;
mod equal;
mod memory;
mod ministack;
mod table;
mod writers;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use grantd_node::backup::manifest::LEVEL;
use grantd_node::pgclient;
use tempfile::TempDir;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, SimpleQueryMessage};

use self::memory::Watch;
use self::table::fill;
use crate::nodes::Nodes;
use crate::postgres::Postgres;
use crate::report::Report;

/// The node that is asked, and writes.
const NODE: u64 = 1;
const MIB: f64 = (1_u64 << 20) as f64;

type Failed = Box<dyn std::error::Error>;

/// How much, and where to.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Rows of the table.
    pub rows: u64,
    /// Rounds of each.
    pub rounds: usize,
    /// Where to.
    pub place: Place,
    /// Grants in the catalog. Of a table to files of the node: none.
    pub grants: usize,
}

/// Where a backup goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Place {
    /// A table, to files of the node that is asked; alone
    Nodelocal,
    /// The cluster, to a bucket of MiniStack under three roles with credentials of 3 s; with writers beside it, and restored
    Ministack,
}

/// Measures and reports.
pub async fn run(load: Load, report: &mut Report) -> Result<(), Failed> {
    match load.place {
        Place::Nodelocal => Box::pin(alone(load, report)).await,
        Place::Ministack => Box::pin(crowded::run(load, report)).await,
    }
}

/// A table to files of the node, and nothing else.
async fn alone(load: Load, report: &mut Report) -> Result<(), Failed> {
    report.heading(&format!("Backup of {} rows, beside pg_dump | zstd -{LEVEL}", load.rows));
    let nodes = Nodes::start().await?;
    let login = nodes.login(NODE)?;
    let bytes = fill(&login, load.rows).await?;
    report.line(&format!("values       {:.1} MiB", bytes as f64 / MIB));
    let peer = Peer::start(load.rows, report).await?;
    let client = pgclient::connect(&login).await?;
    for round in 0..load.rounds {
        let watch = Watch::begin(nodes.process_id(NODE)?)?;
        let statement = format!("BACKUP TABLE bench_backup INTO 'nodelocal://self/bench/{round}'");
        let begun = Instant::now();
        let written = back_up(&client, &statement).await?;
        let seconds = begun.elapsed().as_secs_f64();
        let (before, most) = watch.end();
        if written != load.rows {
            return Err(format!("the backup has {written} rows").into());
        }
        let size = size(&nodes.external(NODE).join(format!("bench/{round}")))?;
        report.line(&format!(
            "BACKUP       {seconds:.2} s, {:.1} MiB/s, {:.1} MiB of files; the node had {before} before and {most} at most",
            bytes as f64 / MIB / seconds,
            size as f64 / MIB,
        ));
        peer.as_ref().map_or(Ok(()), |peer| peer.measure(bytes, report))?;
    }
    Ok(())
}

/// PostgreSQL with the same rows.
struct Peer {
    postgres: Postgres,
    directory: TempDir,
}

impl Peer {
    /// None: something for it is not installed.
    async fn start(rows: u64, report: &mut Report) -> Result<Option<Self>, Failed> {
        if Command::new("zstd").arg("--version").output().is_err() {
            report.missing("backup beside pg_dump: zstd is not installed".to_owned());
            return Ok(None);
        }
        let Some(postgres) = Postgres::start(0).await? else {
            report.missing("backup beside pg_dump: PostgreSQL is not installed".to_owned());
            return Ok(None);
        };
        let login = postgres.login(0);
        fill(&login, rows).await?;
        // Otherwise the first dump marks each page as read, and a checkpoint writes them all while writers are measured.
        let client = pgclient::connect(&login).await?;
        for statement in ["VACUUM (FREEZE, ANALYZE) bench_backup", "CHECKPOINT"] {
            client.batch_execute(statement).await?;
        }
        Ok(Some(Self { postgres, directory: TempDir::new()? }))
    }

    fn measure(&self, bytes: u64, report: &mut Report) -> Result<(), Failed> {
        let file = self.directory.path().join("sql.zst");
        let begun = Instant::now();
        dump(&self.postgres, &file)?;
        let seconds = begun.elapsed().as_secs_f64();
        report.line(&format!(
            "pg_dump|zstd {seconds:.2} s, {:.1} MiB/s, {:.1} MiB in a file",
            bytes as f64 / MIB / seconds,
            fs::metadata(&file)?.len() as f64 / MIB,
        ));
        Ok(fs::remove_file(&file)?)
    }
}

/// Waits for the end. Returns its rows.
async fn back_up(client: &Client, statement: &str) -> Result<u64, Failed> {
    let messages = client.simple_query(statement).await?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.ok_or("the statement told nothing")?;
    match (row.get("status"), row.get("rows").map(str::parse::<u64>)) {
        (Some("succeeded"), Some(Ok(rows))) => Ok(rows),
        other => Err(format!("{statement} came to {other:?}").into()),
    }
}

fn dump(peer: &Postgres, file: &Path) -> Result<(), Failed> {
    let config = peer.socket();
    let (Some(Host::Unix(socket)), Some(port)) = (config.get_hosts().first(), config.get_ports().first())
    else {
        return Err("the peer has no socket".into());
    };
    let command = format!(
        "set -o pipefail; pg_dump -h \"$1\" -p {port} -U root -d postgres -t bench_backup | zstd -q -{LEVEL} -o \"$2\""
    );
    let dumped = Command::new("bash").args(["-c", &command, "dump"]).arg(socket).arg(file).output()?;
    if dumped.status.success() {
        return Ok(());
    }
    Err(format!("pg_dump | zstd failed: {}", String::from_utf8_lossy(&dumped.stderr)).into())
}

/// The bytes of all files below a directory.
fn size(directory: &Path) -> Result<u64, Failed> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}
