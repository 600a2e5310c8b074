//! Clients that change rows of the table while it is backed up, at a steady rate, and remember what they did and when: so that it is
//! known which of it a backup must have, and which it may.
//!
//! An open loop: each write has its time, and its latency counts from there, also if the one before it was late.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use grantd_node::pgclient::{self, Login};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval_at};

use super::table::Row;
use crate::report::Latencies;
use crate::workload::Dice;

type Failed = Box<dyn std::error::Error>;

/// Clients, and the time between two writes of one: together 500 a second.
const CLIENTS: u64 = 20;
const EVERY: Duration = Duration::from_millis(40);
/// Keys of new rows begin here, for each client at another multiple.
const NEW: i64 = 1 << 40;

/// A write that was acknowledged.
struct Written {
    row: Row,
    due: Instant,
    sent: Instant,
    acknowledged: Instant,
}

/// The clients.
pub(super) struct Writers {
    over: Arc<AtomicBool>,
    clients: JoinSet<Result<Vec<Written>, String>>,
}

/// What each client wrote, in its order.
pub(super) struct Ledger(Vec<Vec<Written>>);

impl Writers {
    /// Begins them, on a table of so many rows.
    pub(super) async fn start(login: &Login, rows: u64) -> Result<Self, Failed> {
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = pgclient::connect(login).await?;
            let seen = Arc::clone(&over);
            clients.spawn(async move { write(&client, number, rows, &seen).await });
        }
        Ok(Self { over, clients })
    }

    /// Stops them.
    pub(super) async fn end(mut self) -> Result<Ledger, Failed> {
        self.over.store(true, Ordering::Relaxed);
        let mut ledger = Vec::new();
        while let Some(ended) = self.clients.join_next().await {
            ledger.push(ended??);
        }
        Ok(Ledger(ledger))
    }
}

/// In turn a new row, and one of the table's that is this client's own: every key is written by one client.
async fn write(
    client: &tokio_postgres::Client,
    number: u64,
    rows: u64,
    over: &AtomicBool,
) -> Result<Vec<Written>, String> {
    let told = |error: tokio_postgres::Error| match error.as_db_error() {
        Some(error) => format!("a write failed: {}", error.message()),
        None => format!("a write failed: {error}"),
    };
    let insert = client.prepare("INSERT INTO bench_backup VALUES ($1, $2, $3)").await.map_err(told)?;
    let update = client.prepare("UPDATE bench_backup SET n = $2, v = $3 WHERE k = $1").await.map_err(told)?;
    let own = usize::try_from(rows / CLIENTS).unwrap_or(usize::MAX).max(1);
    let mut dice = Dice::new(number);
    // Not all at once.
    let first = Instant::now() + EVERY.mul_f64(dice.share());
    let mut tick = interval_at(first.into(), EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut written = Vec::new();
    for turn in 0_i64.. {
        let due = tick.tick().await.into_std();
        if over.load(Ordering::Relaxed) {
            break;
        }
        let (statement, key) = match turn % 2 {
            0 => (&insert, NEW * (number.cast_signed() + 1) + turn),
            _ => (&update, (dice.below(own) as u64 * CLIENTS + number).cast_signed()),
        };
        let row = Row { key, number: turn, value: format!("written by {number} in turn {turn}") };
        let sent = Instant::now();
        let changed = client.execute(statement, &[&row.key, &row.number, &row.value]).await.map_err(told)?;
        if changed != 1 {
            return Err(format!("a write of row {key} changed {changed}"));
        }
        written.push(Written { row, due, sent, acknowledged: Instant::now() });
    }
    Ok(written)
}

impl Ledger {
    /// Of the writes that were due in this time.
    pub(super) fn latencies(&self, from: Instant, to: Instant) -> Latencies {
        let mut latencies = Latencies::default();
        for written in self.0.iter().flatten().filter(|written| (from..to).contains(&written.due)) {
            latencies.record(written.acknowledged - written.due);
        }
        latencies
    }

    /// When the slowest write of this time was due, from its begin on, and how long it took.
    pub(super) fn slowest(&self, from: Instant, to: Instant) -> Option<(Duration, Duration)> {
        let due = self.0.iter().flatten().filter(|written| (from..to).contains(&written.due));
        due.map(|written| (written.due - from, written.acknowledged - written.due))
            .max_by_key(|(_, took)| *took)
    }

    /// The rows that were written, as they were at one moment, if that is what `found` has of them: each client's writes up to one
    /// of them and no other; all that were acknowledged before `asked`, when the backup was asked for; and whatever was acknowledged
    /// before anything that is there was sent.
    pub(super) fn cut(
        &self,
        found: &BTreeMap<i64, Row>,
        asked: Instant,
    ) -> Result<BTreeMap<i64, Row>, Failed> {
        let mut expected = BTreeMap::new();
        let (mut last_sent, mut first_missing) = (None, None);
        for written in &self.0 {
            let has = |written: &Written| found.get(&written.row.key) == Some(&written.row);
            let count = written.iter().rposition(has).map_or(0, |last| last + 1);
            let (there, missing) = written.split_at(count);
            expected.extend(there.iter().map(|written| (written.row.key, written.row.clone())));
            last_sent = last_sent.max(there.last().map(|written| written.sent));
            if let Some(missing) = missing.first() {
                let at = missing.acknowledged;
                first_missing = Some(first_missing.map_or(at, |first: Instant| first.min(at)));
            }
        }
        if first_missing.is_some_and(|missing| missing < asked) {
            return Err("a write is missing that was acknowledged before the backup was asked for".into());
        }
        if first_missing.zip(last_sent).is_some_and(|(missing, sent)| missing < sent) {
            return Err(
                "the backup is of no one moment: it has a later write, and lacks an earlier one".into()
            );
        }
        Ok(expected)
    }
}
