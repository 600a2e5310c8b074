//! The SQLite table behind a catalog table.
//!
//! Every table is `STRICT, WITHOUT ROWID` and named `t<object id>`. Without rowids there is nothing in a row that a
//! changeset does not carry, NULL in a key is refused instead of lost or numbered, and a scan is in key order.
//! Constraints are named so that a violation can be told to a client: `bool:c`, `range:c`, `length:c`, `uuid:c` for
//! a column `c`, `check:name` for a CHECK of the user. SQLite reports UNIQUE and NOT NULL by table and columns.

use std::fmt::Write;

use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Column, ColumnType, Sequence, Table};

/// The name of an object's table in the row store.
pub fn table_name(id: ObjectId) -> String {
    format!("t{id}")
}

/// The statement that makes the table of `id`.
///
/// Panics on a descriptor whose positions point nowhere: the catalog checks them before they are committed.
pub fn create_table(id: ObjectId, table: &Table) -> String {
    let mut sql = format!("CREATE TABLE {} (\n", quote(&table_name(id)));
    for column in &table.columns {
        define_column(&mut sql, column);
        sql.push_str(",\n");
    }
    let names = |positions: &[u16]| {
        let quoted: Vec<_> =
            positions.iter().map(|at| quote(table.columns[usize::from(*at)].name.as_str())).collect();
        quoted.join(", ")
    };
    for unique in &table.unique {
        let name = quote(&format!("unique:{}", unique.name.as_str()));
        writeln!(sql, "  CONSTRAINT {name} UNIQUE ({}),", names(&unique.columns)).expect("a string grows");
    }
    for check in &table.checks {
        let name = quote(&format!("check:{}", check.name.as_str()));
        writeln!(sql, "  CONSTRAINT {name} CHECK ({}),", check.expression.stored).expect("a string grows");
    }
    writeln!(sql, "  PRIMARY KEY ({})", names(&table.primary_key)).expect("a string grows");
    sql.push_str(") STRICT, WITHOUT ROWID");
    sql
}

/// The table behind a sequence: `last_value` and `is_called` as PostgreSQL shows them, and a hidden key, because a
/// changeset finds a row by its key. It has one row: [`sequence_row`].
pub fn sequence_table() -> Table {
    let column = |name: &str, column_type, hidden| Column {
        name: Name::from(name),
        column_type,
        nullable: false,
        default: None,
        hidden,
        comment: None,
    };
    Table {
        columns: vec![
            column("last_value", ColumnType::Int8, false),
            column("log_cnt", ColumnType::Int8, false),
            column("is_called", ColumnType::Bool, false),
            column("rowid", ColumnType::Int8, true),
        ],
        primary_key: vec![3],
        unique: Vec::new(),
        checks: Vec::new(),
        references: Vec::new(),
    }
}

/// The statement that gives the sequence of `id` its row: its next value is the first one.
pub fn sequence_row(id: ObjectId, sequence: &Sequence) -> String {
    let start = sequence.start;
    format!("INSERT INTO {} VALUES ({start}, 0, 0, 0)", quote(&table_name(id)))
}

/// The statement that drops the table of `id`.
pub fn drop_table(id: ObjectId) -> String {
    format!("DROP TABLE {}", quote(&table_name(id)))
}

/// An identifier in SQLite's quotes.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn define_column(sql: &mut String, column: &Column) {
    let name = quote(column.name.as_str());
    write!(sql, "  {name} {}", storage_class(column.column_type)).expect("a string grows");
    // A key column is NOT NULL in PostgreSQL, and a changeset silently loses a row with NULL in its key; WITHOUT
    // ROWID makes SQLite refuse it even where the descriptor says nullable.
    if !column.nullable {
        sql.push_str(" NOT NULL");
    }
    if let Some(default) = &column.default {
        write!(sql, " DEFAULT ({})", default.stored).expect("a string grows");
    }
    let text = column.name.as_str();
    let mut check = |kind: &str, condition: String| {
        let constraint = quote(&format!("{kind}:{text}"));
        write!(sql, " CONSTRAINT {constraint} CHECK ({condition})").expect("a string grows");
    };
    match column.column_type {
        ColumnType::Bool => check("bool", format!("{name} IN (0, 1)")),
        ColumnType::Int2 => check("range", format!("{name} BETWEEN {} AND {}", i16::MIN, i16::MAX)),
        ColumnType::Int4 => check("range", format!("{name} BETWEEN {} AND {}", i32::MIN, i32::MAX)),
        ColumnType::Text { chars_max: Some(max) } => check("length", format!("length({name}) <= {max}")),
        ColumnType::Uuid => {
            let hex = |count: usize| "[0-9a-f]".repeat(count);
            let shape = [8, 4, 4, 4, 12].map(hex).join("-");
            check("uuid", format!("{name} GLOB '{shape}'"));
        }
        ColumnType::Int8
        | ColumnType::Float8
        | ColumnType::Text { chars_max: None }
        | ColumnType::Bytes
        | ColumnType::TimestampTz
        | ColumnType::Enum(_) => {}
    }
}

fn storage_class(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Bool
        | ColumnType::Int2
        | ColumnType::Int4
        | ColumnType::Int8
        | ColumnType::TimestampTz
        | ColumnType::Enum(_) => "INTEGER",
        ColumnType::Float8 => "REAL",
        ColumnType::Text { .. } | ColumnType::Uuid => "TEXT",
        ColumnType::Bytes => "BLOB",
    }
}
