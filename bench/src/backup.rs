//! BACKUP of a table to files of the node that is asked, beside `pg_dump | zstd` of the same rows from PostgreSQL on this machine: how
//! many bytes of values a second, how large the files are, and the most memory that the node had.
//!
//! Both read from a database that nobody else uses, and write to the same disk without waiting for it. The two are measured in turn.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use bytes::Bytes;
use futures::SinkExt;
use grantd_node::backup::manifest::LEVEL;
use grantd_node::pgclient::{self, Login};
use tempfile::TempDir;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::nodes::Nodes;
use crate::postgres::Postgres;
use crate::report::Report;
use crate::workload::Dice;

/// The node that is asked, and writes.
const NODE: u64 = 1;
/// Rows in one COPY: it is one transaction.
const ROWS_IN_COPY: u64 = 50_000;
/// Rows in one message of it.
const ROWS_IN_MESSAGE: u64 = 500;
const TABLE: &str = "CREATE TABLE bench_backup (k INT8 PRIMARY KEY, n INT8 NOT NULL, v TEXT NOT NULL)";
const MIB: f64 = (1_u64 << 20) as f64;

type Failed = Box<dyn std::error::Error>;

/// How much.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Rows of the table.
    pub rows: u64,
    /// Rounds of each.
    pub rounds: usize,
}

/// Measures and reports.
pub async fn run(load: Load, report: &mut Report) -> Result<(), Failed> {
    report.heading(&format!("Backup of {} rows, beside pg_dump | zstd -{LEVEL}", load.rows));
    let nodes = Nodes::start().await?;
    let login = nodes.login(NODE)?;
    let bytes = fill(&login, load.rows).await?;
    report.line(&format!("values       {:.1} MiB", bytes as f64 / MIB));
    let peer = Postgres::start(0).await?;
    match &peer {
        Some(peer) => drop(fill(&peer.login(0), load.rows).await?),
        None => report.missing("backup beside pg_dump: PostgreSQL is not installed".to_owned()),
    }
    let has_zstd = Command::new("zstd").arg("--version").output().is_ok();
    if !has_zstd {
        report.missing("backup beside pg_dump: zstd is not installed".to_owned());
    }
    let client = pgclient::connect(&login).await?;
    let directory = TempDir::new()?;
    for round in 0..load.rounds {
        nodes.forget_peak(NODE)?;
        let before = nodes.peak_bytes(NODE)?;
        let seconds = back_up(&client, round, load.rows).await?;
        let peak = nodes.peak_bytes(NODE)?;
        let size = size(&nodes.external(NODE).join(format!("bench/{round}")))?;
        report.line(&format!(
            "BACKUP       {:.2} s, {:.1} MiB/s, {:.1} MiB of files; the node had {:.0} MiB before and {:.0} MiB at most",
            seconds,
            bytes as f64 / MIB / seconds,
            size as f64 / MIB,
            before as f64 / MIB,
            peak as f64 / MIB,
        ));
        if let Some(peer) = peer.as_ref().filter(|_| has_zstd) {
            let file = directory.path().join(format!("{round}.sql.zst"));
            let begun = Instant::now();
            dump(peer, &file)?;
            let seconds = begun.elapsed().as_secs_f64();
            report.line(&format!(
                "pg_dump|zstd {:.2} s, {:.1} MiB/s, {:.1} MiB in a file",
                seconds,
                bytes as f64 / MIB / seconds,
                fs::metadata(&file)?.len() as f64 / MIB,
            ));
        }
    }
    Ok(())
}

/// Makes the table, and fills it with rows that compress about as names and numbers do. Returns the bytes of their values.
async fn fill(login: &Login, rows: u64) -> Result<u64, Failed> {
    let client = pgclient::connect(login).await?;
    client.batch_execute(TABLE).await?;
    let (mut dice, mut bytes, mut key) = (Dice::new(7), 0, 0);
    while key < rows {
        let sink = client.copy_in("COPY bench_backup FROM STDIN").await?;
        let mut sink = std::pin::pin!(sink);
        let end = rows.min(key + ROWS_IN_COPY);
        while key < end {
            let mut text = String::new();
            for key in key..end.min(key + ROWS_IN_MESSAGE) {
                let number = dice.below(1 << 40);
                let value = format!(
                    "customer {key} of region {}, order {number:016x}, {:0>60}",
                    number % 97,
                    number % 9_973
                );
                bytes += 16 + value.len() as u64;
                text.push_str(&format!("{key}\t{number}\t{value}\n"));
            }
            key = end.min(key + ROWS_IN_MESSAGE);
            sink.send(Bytes::from(text)).await?;
        }
        sink.finish().await?;
    }
    Ok(bytes)
}

/// Seconds from the statement to its row.
async fn back_up(client: &Client, round: usize, rows: u64) -> Result<f64, Failed> {
    let begun = Instant::now();
    let statement = format!("BACKUP TABLE bench_backup INTO 'nodelocal://self/bench/{round}'");
    let messages = client.simple_query(&statement).await?;
    let seconds = begun.elapsed().as_secs_f64();
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let row = row.ok_or("BACKUP told nothing")?;
    match (row.get("status"), row.get("rows").map(str::parse::<u64>)) {
        (Some("succeeded"), Some(Ok(written))) if rows == written => Ok(seconds),
        other => Err(format!("the backup came to {other:?}").into()),
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
