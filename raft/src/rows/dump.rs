//! All that a file holds, as text: what two replicas of one version have byte for byte alike.
//!
//! Checksums say that replicas differ, this says where. The order is that of keys, so that two dumps can be compared line
//! by line. It is not a format to be read back.

use std::fmt::Write;
use std::path::Path;

use rusqlite::types::ValueRef;

use crate::rows::connection::{Connection, Mode, StoreOptions};
use crate::rows::file::{OpenRowsError, check_header, rows_in_order};
use crate::rows::{Extensions, RowsError};

/// The file's lines, of one moment, also while a node uses it: what SQLite's check of rows and indexes finds, then tables
/// and indexes as they were made, then for each table its rows in key order. `extensions` has the orders in which keys are
/// kept. Cost: reads the whole file twice, and holds the text in memory.
pub fn dump(path: &Path, extensions: &Extensions) -> Result<Vec<String>, OpenRowsError> {
    let failed = |error: RowsError| OpenRowsError::from_rows(path, error);
    let connection =
        Connection::open(path, Mode::Read, &StoreOptions::default(), extensions).map_err(failed)?;
    if !check_header(&connection.sqlite, path)? {
        return Err(OpenRowsError::Foreign { path: path.to_owned() });
    }
    lines(&connection.sqlite).map_err(failed)
}

fn lines(sqlite: &rusqlite::Connection) -> Result<Vec<String>, RowsError> {
    sqlite.execute_batch("BEGIN")?;
    let mut lines = Vec::new();
    read(sqlite, "PRAGMA integrity_check", "check", &mut lines)?;
    // Rows of SQLite's own table are numbered as they came, and say on which page a table begins: neither is replicated.
    let made = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name";
    read(sqlite, made, "made", &mut lines)?;
    let mut tables = sqlite.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")?;
    let tables: Vec<String> =
        tables.query_map([], |row| row.get(0))?.collect::<Result<_, rusqlite::Error>>()?;
    // What SQLite knows of the rows for its own plans is not replicated.
    for table in tables.iter().filter(|table| !table.starts_with("sqlite_")) {
        read(sqlite, &rows_in_order(sqlite, table)?, table, &mut lines)?;
    }
    // What each node writes for itself, see `Store::make_durable`.
    lines.retain(|line| !line.starts_with(OWN));
    sqlite.execute_batch("ROLLBACK")?;
    Ok(lines)
}

/// The beginning of a line that is the node's own.
const OWN: &str = "grantd_meta: key='synced'";

fn read(
    sqlite: &rusqlite::Connection,
    query: &str,
    of: &str,
    lines: &mut Vec<String>,
) -> Result<(), RowsError> {
    let mut statement = sqlite.prepare(query)?;
    let names: Vec<String> = statement.column_names().map(str::to_owned).collect();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut line = format!("{of}:");
        for (at, name) in names.iter().enumerate() {
            let value = value(row.get_ref(at)?);
            write!(line, " {name}={value}").expect("a String takes everything");
        }
        lines.push(line);
    }
    Ok(())
}

/// So that no two values look alike: each kind in a way of its own, and doubles by their bits.
fn value(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "NULL".to_owned(),
        ValueRef::Integer(integer) => integer.to_string(),
        ValueRef::Real(real) => format!("{real}/{:016x}", real.to_bits()),
        ValueRef::Text(text) => format!("'{}'", text.escape_ascii()),
        ValueRef::Blob(blob) => {
            let mut hex = "x".to_owned();
            for byte in blob {
                write!(hex, "{byte:02x}").expect("a String takes everything");
            }
            hex
        }
    }
}
