//! Tables of what a session has prepared and declared. Each shows its own to a session, and nothing of others.

use std::collections::BTreeMap;

use grantd_raft::rows::{self, Value, VirtualRow};

use super::types::{self, TypeRef};
use super::{Computed, Look, array, text, truth};
use crate::error::SqlError;
use crate::session::{NamedText, Session};
use crate::sql::system::context::StatementInfo;
use crate::sql::system::name::quoted;
use crate::sql::translate::scalar::raise;
use crate::value::SqlType;
use SqlType::{Bool, Int8, Text, TextArray, TimestampTz};

/// A table whose rows are made from the session that asks.
struct Own {
    name: &'static str,
    columns: &'static [(&'static str, SqlType)],
    rows: fn(&Session, &StatementInfo) -> Vec<Vec<Value>>,
}

impl Computed for Own {
    fn place(&self) -> (&'static str, &'static str) {
        ("pg_catalog", self.name)
    }

    fn keys(&self) -> &'static [&'static str] {
        &[]
    }

    fn columns(&self) -> Vec<(&'static str, SqlType)> {
        self.columns.to_vec()
    }

    fn rows(&'static self, look: &Look) -> rows::Scan {
        let Some(session) = &look.info.session else {
            // What runs on the leader has left its session behind.
            let error = SqlError::unsupported(format!("{} in a change of rows", self.name));
            return Box::new(std::iter::once(Err(raise(&error))));
        };
        let rows = (self.rows)(session, &look.info);
        Box::new(rows.into_iter().map(|row| Ok(Box::new(row) as Box<dyn VirtualRow>)))
    }
}

pub(super) const TABLES: &[&dyn Computed] = &[&PG_PREPARED_STATEMENTS, &PG_CURSORS];

static PG_PREPARED_STATEMENTS: Own = Own {
    name: "pg_prepared_statements",
    columns: &[
        ("name", Text),
        ("statement", Text),
        ("prepare_time", TimestampTz),
        ("parameter_types", TextArray),
        ("from_sql", Bool),
        ("generic_plans", Int8),
        ("custom_plans", Int8),
    ],
    rows: |session, info| {
        let types = |known: &NamedText| -> Vec<String> {
            let named = |oid: &u32| types::formatted(info, TypeRef::plain(*oid)).unwrap_or_default();
            known.types.iter().map(named).collect()
        };
        let row = |name: &str, statement: String, known: &NamedText, from_sql: bool| {
            vec![
                text(name),
                text(statement),
                Value::Integer(known.since_micros),
                array(types(known)),
                truth(from_sql),
                // Each execution is planned anew, and not counted.
                Value::Integer(0),
                Value::Integer(0),
            ]
        };
        let mut all: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
        for (name, known) in session.statements.iter() {
            let parameters = match types(known).as_slice() {
                [] => String::new(),
                types => format!(" ({})", types.join(", ")),
            };
            let statement = format!("PREPARE {}{parameters} AS {}", quoted(name.as_str()), known.text);
            all.insert(name.as_str(), row(name.as_str(), statement, known, true));
        }
        for (name, known) in session.protocol_statements.iter() {
            all.insert(name, row(name, known.text.to_string(), known, false));
        }
        all.into_values().collect()
    },
};

static PG_CURSORS: Own = Own {
    name: "pg_cursors",
    columns: &[
        ("name", Text),
        ("statement", Text),
        ("is_holdable", Bool),
        ("is_binary", Bool),
        ("is_scrollable", Bool),
        ("creation_time", TimestampTz),
    ],
    rows: |session, _| {
        let row = |(name, cursor): (&grantd_catalog::name::Name, &crate::session::Cursor)| {
            let no_scroll = if cursor.scrolls { "" } else { "NO SCROLL " };
            let statement =
                format!("DECLARE {} {no_scroll}CURSOR FOR {}", quoted(name.as_str()), cursor.text);
            vec![
                text(name.as_str()),
                text(statement),
                truth(false),
                truth(false),
                truth(cursor.scrolls),
                Value::Integer(cursor.since_micros),
            ]
        };
        session.cursors.iter().map(row).collect()
    },
};
