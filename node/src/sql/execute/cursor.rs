//! Cursors. The rows are read when the cursor is declared, so that it may go to and fro among them, and nothing is held
//! open; FETCH asks nobody anything, as in PostgreSQL.

use std::sync::Arc;

use grantd_catalog::name::Name;
use grantd_raft::rows::{Share, Value};

use super::named::{changed_type, done};
use super::{Engine, Prepared, Response, Rows, run};
use crate::error::{SqlError, state};
use crate::session::{Cursor, Session};
use crate::sql::parse;
use crate::sql::parse::named::Direction;
use crate::sql::system::context::now_micros;
use crate::value::{ColumnInfo, Datum, SqlType};

/// The most cursors of a session.
pub const CURSORS_MAX: usize = 100;
/// The most bytes of rows that the cursors of a session hold together.
pub const CURSORS_BYTES_MAX: usize = 64 << 20;

impl Engine {
    pub(super) async fn declare(
        &self,
        session: &mut Session,
        (name, scrolls, text): (&Name, bool, &str),
        (prepared, parameters): (&Prepared, &[Datum]),
    ) -> Result<Response, SqlError> {
        if !in_transaction(session) {
            return Err(SqlError::new(
                state::NO_ACTIVE_SQL_TRANSACTION,
                "DECLARE CURSOR can only be used in transaction blocks",
            ));
        }
        let (query, hints) = (parse::parse(text)?, run::hints(&prepared.parameters));
        let (inner, view) = Box::pin(self.prepare_on_view(session, Arc::new(query), text, &hints)).await?;
        let response = Box::pin(self.execute_on_view(session, &inner, parameters, view)).await?;
        let rows = response.rows.ok_or_else(|| SqlError::internal("a query without rows"))?;
        open(session, name, scrolls, text, rows)?;
        Ok(done("DECLARE CURSOR"))
    }
}

/// Whether the session is in a transaction of several statements, with which its cursors end.
fn in_transaction(session: &Session) -> bool {
    session.block.open().is_some()
}

fn open(session: &mut Session, name: &Name, scrolls: bool, text: &str, rows: Rows) -> Result<(), SqlError> {
    if session.cursors.contains_key(name) {
        return Err(SqlError::new(state::DUPLICATE_CURSOR, format!("cursor \"{name}\" already exists")));
    }
    let mut bytes = text.len();
    let mut kept = Vec::with_capacity(rows.rows.len());
    for row in rows.rows {
        let cells = row.iter().zip(&rows.columns);
        let cells =
            cells.map(|(datum, column)| datum.to_row(column.sql_type)).collect::<Result<Vec<_>, _>>()?;
        bytes += cells.iter().map(size).sum::<usize>();
        kept.push(cells);
    }
    let held: usize = session.cursors.values().map(|cursor| cursor.bytes).sum();
    if session.cursors.len() >= CURSORS_MAX || held.saturating_add(bytes) > CURSORS_BYTES_MAX {
        return Err(SqlError::too_large(format!(
            "more than {CURSORS_MAX} cursors, or {CURSORS_BYTES_MAX} bytes of their rows"
        ))
        .with_hint("CLOSE the ones that are not used any more, or read with LIMIT."));
    }
    let cursor = Cursor {
        text: text.into(),
        since_micros: now_micros(),
        columns: rows.columns.into_iter().map(kept_column).collect(),
        rows: kept.into(),
        bytes,
        held: rows.held,
        scrolls,
        at: 0,
    };
    Arc::make_mut(&mut session.cursors).insert(name.clone(), cursor);
    Ok(())
}

fn kept_column(column: ColumnInfo) -> (String, u32, u32) {
    let length = match column.sql_type {
        SqlType::Bpchar(length) => length,
        _ => 0,
    };
    (column.name, column.sql_type.oid(), length)
}

fn size(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Integer(_) | Value::Real(_) => 0,
            Value::Text(text) => text.len(),
            Value::Blob(blob) => blob.len(),
        }
}

/// The columns of a cursor.
pub fn columns(session: &Session, name: &Name) -> Result<Vec<ColumnInfo>, SqlError> {
    let cursor = session.cursors.get(name).ok_or_else(|| no_cursor(name))?;
    cursor
        .columns
        .iter()
        .map(|(name, oid, length)| {
            let sql_type = match SqlType::from_oid(*oid) {
                Some(SqlType::Bpchar(_)) => SqlType::Bpchar(*length),
                Some(known) => known,
                None => return Err(SqlError::internal("a column of an unknown type")),
            };
            Ok(ColumnInfo { name: name.clone(), sql_type })
        })
        .collect()
}

/// FETCH and MOVE.
pub(super) fn fetch(
    session: &mut Session,
    name: &Name,
    direction: Direction,
    moves: bool,
    prepared: &Prepared,
) -> Result<Response, SqlError> {
    let columns = columns(session, name)?;
    if !moves && prepared.columns.as_ref() != Some(&columns) {
        return Err(changed_type());
    }
    let cursors = Arc::make_mut(&mut session.cursors);
    let cursor = cursors.get_mut(name).ok_or_else(|| no_cursor(name))?;
    let (found, at) = travelled(cursor.at, cursor.rows.len(), direction, cursor.scrolls)?;
    cursor.at = at;
    if moves {
        return Ok(done(&format!("MOVE {}", found.len())));
    }
    let mut rows = Vec::with_capacity(found.len());
    for number in &found {
        let cells = cursor.rows[number - 1].iter().cloned().zip(&columns);
        rows.push(
            cells
                .map(|(value, column)| Datum::from_row(value, column.sql_type))
                .collect::<Result<Vec<_>, _>>()?,
        );
    }
    Ok(Response {
        tag: format!("FETCH {}", rows.len()),
        rows: Some(Rows { columns, rows, held: Share::default() }),
        copy: None,
    })
}

/// The numbers of the rows that are passed, in that order, and where the cursor is then.
fn travelled(
    at: usize,
    count: usize,
    direction: Direction,
    scrolls: bool,
) -> Result<(Vec<usize>, usize), SqlError> {
    let end = count + 1;
    let away = |by: i64| {
        let by_abs = usize::try_from(by.unsigned_abs()).unwrap_or(usize::MAX);
        if by < 0 { at.saturating_sub(by_abs) } else { at.saturating_add(by_abs).min(end) }
    };
    let is_row = |number: usize| (1..=count).contains(&number);
    let (rows, to): (Vec<usize>, usize) = match direction {
        Direction::Forward(0) => (Vec::from_iter(is_row(at).then_some(at)), at),
        Direction::ForwardAll => ((at + 1..end).collect(), end),
        Direction::BackwardAll => ((1..at).rev().collect(), 0),
        Direction::Forward(by) if by > 0 => {
            let to = away(by);
            ((at + 1..=to.min(count)).collect(), to)
        }
        Direction::Forward(by) => {
            let to = away(by);
            ((to.max(1)..at).rev().collect(), to)
        }
        Direction::Absolute(number) => {
            let far = usize::try_from(number.unsigned_abs()).unwrap_or(usize::MAX);
            let to = if number < 0 { end.saturating_sub(far) } else { far.min(end) };
            (Vec::from_iter(is_row(to).then_some(to)), to)
        }
        Direction::Relative(by) => {
            let to = away(by);
            (Vec::from_iter(is_row(to).then_some(to)), to)
        }
    };
    let goes_back = to < at || matches!(direction, Direction::BackwardAll);
    if goes_back && !scrolls {
        return Err(SqlError::new(state::OBJECT_NOT_IN_PREREQUISITE_STATE, "cursor can only scan forward")
            .with_hint("Declare it with SCROLL option to enable backward scan."));
    }
    Ok((rows, to))
}

/// CLOSE; none: ALL.
pub(super) fn close(session: &mut Session, name: Option<&Name>) -> Result<Response, SqlError> {
    let Some(name) = name else {
        session.cursors = Arc::default();
        return Ok(done("CLOSE CURSOR ALL"));
    };
    match Arc::make_mut(&mut session.cursors).remove(name) {
        Some(_) => Ok(done("CLOSE CURSOR")),
        None => Err(no_cursor(name)),
    }
}

fn no_cursor(name: &Name) -> SqlError {
    SqlError::new(state::INVALID_CURSOR_NAME, format!("cursor \"{name}\" does not exist"))
}
