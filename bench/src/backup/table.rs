//! The table that is backed up: rows that compress about as names and numbers do, made again whenever they are compared.

use bytes::Bytes;
use futures::SinkExt;
use grantd_node::pgclient::{self, Login};

use crate::workload::Dice;

type Failed = Box<dyn std::error::Error>;

/// Rows in one COPY: it is one transaction.
const ROWS_IN_COPY: u64 = 50_000;
/// Rows in one message of it.
const ROWS_IN_MESSAGE: u64 = 500;
const TABLE: &str = "CREATE TABLE bench_backup (k INT8 PRIMARY KEY, n INT8 NOT NULL, v TEXT NOT NULL)";

/// A row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The key.
    pub key: i64,
    /// Any number.
    pub number: i64,
    /// A text.
    pub value: String,
}

/// The rows, in the order of their keys, which begin with 0. It does not end.
pub(super) struct Rows {
    dice: Dice,
    key: i64,
}

impl Rows {
    /// From the first on.
    pub(super) const fn new() -> Self {
        Self { dice: Dice::new(7), key: 0 }
    }
}

impl Iterator for Rows {
    type Item = Row;

    fn next(&mut self) -> Option<Row> {
        let key = self.key;
        self.key += 1;
        let number = self.dice.below(1 << 40);
        let value =
            format!("customer {key} of region {}, order {number:016x}, {:0>60}", number % 97, number % 9_973);
        Some(Row { key, number: i64::try_from(number).unwrap_or_default(), value })
    }
}

/// Makes the table, and fills it. Returns the bytes of its values.
pub(super) async fn fill(login: &Login, rows: u64) -> Result<u64, Failed> {
    let client = pgclient::connect(login).await?;
    client.batch_execute(TABLE).await?;
    let (mut all, mut bytes, mut done) = (Rows::new(), 0, 0);
    while done < rows {
        let sink = client.copy_in("COPY bench_backup FROM STDIN").await?;
        let mut sink = std::pin::pin!(sink);
        let end = rows.min(done + ROWS_IN_COPY);
        while done < end {
            let mut text = String::new();
            let some = usize::try_from(ROWS_IN_MESSAGE.min(end - done))?;
            for Row { key, number, value } in all.by_ref().take(some) {
                bytes += 16 + value.len() as u64;
                text.push_str(&format!("{key}\t{number}\t{value}\n"));
            }
            done += some as u64;
            sink.send(Bytes::from(text)).await?;
        }
        sink.finish().await?;
    }
    Ok(bytes)
}
