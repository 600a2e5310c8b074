//! The columns and rows of CHECK EXTERNAL CONNECTION and SHOW CREDENTIALS.
//!
//! A node that did not answer has a row with its number and the reason, and nothing else.

use grantd_catalog::command::Actor;
use grantd_catalog::view::View;

use super::activity::may_see_others;
use crate::activity::cluster::{ClusterActivity, Scope};
use crate::cloud::everywhere::{self, CredentialRow, Said};
use crate::cloud::outside::Outside;
use crate::cloud::preflight::Report;
use crate::error::SqlError;
use crate::sql::parse::external::ExternalStatement;
use crate::value::{ColumnInfo, Datum, SqlType};

/// The columns of SHOW CREDENTIALS, and of `crdb_internal.node_credentials` and `cluster_credentials`.
pub const CREDENTIAL: &[(&str, SqlType)] = &[
    ("node", SqlType::Int8),
    ("chain", SqlType::Text),
    ("step", SqlType::Int8),
    ("state", SqlType::Text),
    ("expires_at", SqlType::TimestampTz),
    ("next_refresh", SqlType::TimestampTz),
    ("last_refresh", SqlType::TimestampTz),
    ("last_error", SqlType::Text),
    ("users", SqlType::Int8),
];

/// The columns of CHECK EXTERNAL CONNECTION, as in the original.
const CHECK: &[(&str, SqlType)] = &[
    ("node", SqlType::Int8),
    ("locality", SqlType::Text),
    ("ok", SqlType::Bool),
    ("error", SqlType::Text),
    ("transferred", SqlType::Text),
    ("read_speed", SqlType::Text),
    ("write_speed", SqlType::Text),
    ("can_delete", SqlType::Bool),
];

/// The columns; none: it returns no rows.
pub fn columns(statement: &ExternalStatement) -> Option<Vec<ColumnInfo>> {
    match statement {
        ExternalStatement::Create { .. } | ExternalStatement::Alter { .. } => None,
        ExternalStatement::Check { .. } => Some(infos(CHECK)),
    }
}

/// Columns as a client is told them.
pub fn infos(columns: &[(&str, SqlType)]) -> Vec<ColumnInfo> {
    columns
        .iter()
        .map(|(name, sql_type)| ColumnInfo { name: (*name).to_owned(), sql_type: *sql_type })
        .collect()
}

/// CHECK EXTERNAL CONNECTION.
pub fn checked(said: Said<Report>) -> Vec<Vec<Datum>> {
    let row = |(node, answer): (u64, Result<Report, String>)| {
        let report = answer.unwrap_or_else(Report::failed);
        vec![
            int(node),
            // No node has one.
            text(""),
            Datum::Bool(report.ok),
            text(report.error.unwrap_or_default()),
            text(bytes(report.transferred)),
            text(format!("{}/s", bytes(report.read_speed))),
            text(format!("{}/s", bytes(report.write_speed))),
            Datum::Bool(report.can_delete),
        ]
    };
    said.into_iter().map(row).collect()
}

/// SHOW CREDENTIALS, for whom `actor` is on `view`.
///
/// Errors: 42501, without VIEWACTIVITY or VIEWACTIVITYREDACTED.
pub async fn credentials(
    outside: &Outside,
    activity: &ClusterActivity,
    (view, actor): (&View, Actor),
    scope: Scope,
) -> Result<Vec<Vec<Datum>>, SqlError> {
    may_see_others(view, actor)?;
    let mut rows = Vec::new();
    for (node, answer) in everywhere::credentials(outside, activity, scope).await {
        match answer {
            Ok(credentials) => rows.extend(credentials.into_iter().map(|row| credential(node, row))),
            Err(reason) => {
                let mut row = vec![Datum::Null; CREDENTIAL.len()];
                row[0] = int(node);
                row[7] = text(format!("-- {reason}"));
                rows.push(row);
            }
        }
    }
    Ok(rows)
}

fn credential(node: u64, row: CredentialRow) -> Vec<Datum> {
    let time = |micros: Option<i64>| micros.map_or(Datum::Null, Datum::TimestampTz);
    vec![
        int(node),
        text(row.chain),
        int(row.step.into()),
        text(row.state),
        time(row.expires_micros),
        time(row.next_refresh_micros),
        time(row.last_refresh_micros),
        row.last_error.map_or(Datum::Null, text),
        int(row.users),
    ]
}

/// `96 MiB`, or `1.5 KiB`.
fn bytes(count: u64) -> String {
    for (unit, size) in [("GiB", 1_u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if count >= size {
            let (whole, tenth) = (count / size, count % size * 10 / size);
            return if tenth == 0 { format!("{whole} {unit}") } else { format!("{whole}.{tenth} {unit}") };
        }
    }
    format!("{count} B")
}

fn text(value: impl Into<String>) -> Datum {
    Datum::Text(value.into())
}

fn int(value: u64) -> Datum {
    Datum::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_told_in_the_greatest_unit() {
        for (count, told) in [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (32 << 20, "32 MiB")] {
            assert_eq!(bytes(count), told);
        }
    }
}
