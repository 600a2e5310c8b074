//! Whether what was restored is what was backed up: every row of the table, in the order of the key, beside what made it; and the
//! grants of every role.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Instant;

use grantd_node::pgclient::{self, Login};
use tokio_postgres::{Client, SimpleQueryMessage};

use super::table::{Row, Rows};
use super::writers::Ledger;

type Failed = Box<dyn std::error::Error>;

/// Rows that are asked for at once.
const ROWS_AT_ONCE: i64 = 50_000;

/// Compares each row. Returns how many there are, and how many of them the writers had changed or made. `asked`: when the backup
/// was asked for.
pub(super) async fn rows(
    login: &Login,
    rows: u64,
    ledger: &Ledger,
    asked: Instant,
) -> Result<(u64, u64), Failed> {
    let client = pgclient::connect(login).await?;
    let select = client.prepare("SELECT k, n, v FROM bench_backup WHERE k > $1 ORDER BY k LIMIT $2").await?;
    let mut made = Rows::new().take(usize::try_from(rows)?).peekable();
    // What is not as it was made; a row that is missing is found as one that no writer took away.
    let (mut other, mut count, mut last) = (BTreeMap::new(), 0, -1_i64);
    loop {
        let page = client.query(&select, &[&last, &ROWS_AT_ONCE]).await?;
        for row in &page {
            let row = Row { key: row.get(0), number: row.get(1), value: row.get(2) };
            last = row.key;
            count += 1;
            if made.peek().is_some_and(|made| made.key < row.key) {
                return Err(format!("a row before {} was not restored", row.key).into());
            }
            if made.next_if(|made| made.key == row.key).as_ref() != Some(&row) {
                other.insert(row.key, row);
            }
        }
        if page.is_empty() {
            break;
        }
    }
    if let Some(row) = made.next() {
        return Err(format!("row {} was not restored", row.key).into());
    }
    let expected = ledger.cut(&other, asked)?;
    let differs = expected.iter().find(|(key, row)| other.get(key) != Some(row));
    let unknown = other.keys().find(|key| !expected.contains_key(key));
    match (differs, unknown) {
        (None, None) => Ok((count, other.len() as u64)),
        (Some((key, _)), _) => Err(format!("row {key} is not as it was at the backup's time").into()),
        (None, Some(key)) => Err(format!("row {key} is as it never was").into()),
    }
}

/// The grants of these roles, a sum for each, and how many they are together.
pub(super) async fn grants(client: &Client, roles: usize) -> Result<(Vec<u64>, u64), Failed> {
    let (mut sums, mut count) = (Vec::new(), 0);
    for role in 0..roles {
        let mut lines = Vec::new();
        for message in client.simple_query(&format!("SHOW GRANTS FOR r{role}")).await? {
            if let SimpleQueryMessage::Row(row) = message {
                lines.push((0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect::<Vec<_>>());
            }
        }
        lines.sort_unstable();
        count += lines.len() as u64;
        let mut sum = DefaultHasher::new();
        lines.hash(&mut sum);
        sums.push(sum.finish());
    }
    Ok((sums, count))
}
