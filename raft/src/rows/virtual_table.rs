//! Tables that are computed: a statement reads them like others, and each row is made when it is asked for.
//!
//! The second place that needs `unsafe`: SQLite reaches a table and a cursor through a pointer to their first field,
//! which rusqlite cannot check and wants promised. Nothing else here is unsafe, and nothing unsafe leaves the module.
//! A panic of a table's own code ends the statement, not the process.

#![allow(unsafe_code, reason = "two promises about the layout of a structure; each says why it holds")]

use std::borrow::Cow;
use std::ffi::{CStr, CString, c_int};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rusqlite::ffi::{sqlite3_vtab, sqlite3_vtab_cursor};
use rusqlite::vtab::{
    Context, Filters, IndexConstraintOp, IndexInfo, Module, VTab, VTabConnection, VTabCursor,
};

use crate::memory;
use crate::rows::connection::Shared;
use crate::rows::{StatementContext, Value};

/// A table that the row store offers to statements without storing it. Read only.
#[derive(Clone)]
pub struct VirtualTable {
    /// Its name: like that of a stored table, `t<object id>`.
    pub name: String,
    /// The names of its columns.
    pub columns: Vec<String>,
    /// Positions in `columns` by whose value rows are found without looking at all of them.
    pub keys: Vec<usize>,
    /// Its rows.
    pub rows: VirtualRows,
}

/// The rows of a [`VirtualTable`], given the statement's context and, if rows with one value of one of its keys are
/// wanted, the position of that column and the value. More rows than wanted do no harm: SQLite looks again.
pub type VirtualRows =
    Arc<dyn Fn(Option<&StatementContext>, Option<(usize, &Value)>) -> Result<Scan, String> + Send + Sync>;

/// Rows in the making; an error's text becomes the statement's error.
pub type Scan = Box<dyn Iterator<Item = Result<Box<dyn VirtualRow>, String>>>;

/// One row. Only the values that the statement wants are asked for.
pub trait VirtualRow {
    /// The value in the column at this position; none if the table has more columns than the row.
    fn value(&self, column: usize) -> Option<Value>;
}

impl VirtualRow for Vec<Value> {
    fn value(&self, column: usize) -> Option<Value> {
        self.get(column).cloned()
    }
}

impl fmt::Debug for VirtualTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VirtualTable").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Makes `table` known to a connection.
pub(super) fn install(
    connection: &rusqlite::Connection,
    table: &VirtualTable,
    shared: &Arc<Shared>,
) -> rusqlite::Result<()> {
    const MODULE: &Module<'static, Table> = &Module::eponymous_only_module();
    let source = Source { table: Arc::new(table.clone()), shared: Arc::clone(shared) };
    connection.create_module(table.name.as_str(), MODULE, Some(source))
}

/// What a table is made from, once for each connection.
#[derive(Clone)]
struct Source {
    table: Arc<VirtualTable>,
    shared: Arc<Shared>,
}

/// What SQLite takes a full scan to cost, in rows: enough that a key is always preferred.
const SCAN_COST: f64 = 100_000.0;
const SCAN_ROWS: i64 = 10_000;
/// The same for a look at one key.
const KEY_COST: f64 = 10.0;
const KEY_ROWS: i64 = 3;

#[repr(C)]
struct Table {
    /// Must be first.
    base: sqlite3_vtab,
    source: Source,
}

// SAFETY: the structure is `repr(C)` and `sqlite3_vtab` is its first field.
unsafe impl VTab<'_> for Table {
    type Aux = Source;
    type Cursor = Cursor;

    fn connect(
        _db: &mut VTabConnection,
        aux: Option<&Source>,
        _module_name: &[u8],
        _database_name: &[u8],
        _table_name: &[u8],
        _args: &[&[u8]],
    ) -> rusqlite::Result<(Cow<'static, CStr>, Self)> {
        let source = aux.ok_or_else(|| failed("a virtual table without a definition"))?.clone();
        let columns: Vec<_> =
            source.table.columns.iter().map(|name| format!("\"{}\"", name.replace('"', "\"\""))).collect();
        let shape = CString::new(format!("CREATE TABLE x ({})", columns.join(", ")))
            .map_err(|_| failed("a column's name holds the zero character"))?;
        Ok((Cow::Owned(shape), Self { base: sqlite3_vtab::default(), source }))
    }

    fn best_index(&self, info: &mut IndexInfo) -> rusqlite::Result<bool> {
        let keys = &self.source.table.keys;
        let mut chosen = None;
        for (constraint, mut usage) in info.constraints_and_usages() {
            let column = usize::try_from(constraint.column()).ok();
            let equal = constraint.operator() == IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ;
            if let Some(column) = column.filter(|column| keys.contains(column))
                && equal
                && constraint.is_usable()
                && chosen.is_none()
            {
                usage.set_argv_index(1);
                chosen = Some(column);
            }
        }
        // 0: every row; otherwise the position of the key, from 1.
        let number = chosen.and_then(|column| c_int::try_from(column + 1).ok()).unwrap_or(0);
        info.set_idx_num(number);
        info.set_estimated_cost(if number == 0 { SCAN_COST } else { KEY_COST });
        info.set_estimated_rows(if number == 0 { SCAN_ROWS } else { KEY_ROWS });
        Ok(true)
    }

    fn open(&mut self) -> rusqlite::Result<Cursor> {
        let base = sqlite3_vtab_cursor::default();
        Ok(Cursor { base, source: self.source.clone(), scan: None, row: None, number: 0 })
    }
}

#[repr(C)]
struct Cursor {
    /// Must be first.
    base: sqlite3_vtab_cursor,
    source: Source,
    scan: Option<Scan>,
    row: Option<Box<dyn VirtualRow>>,
    number: i64,
}

// SAFETY: the structure is `repr(C)` and `sqlite3_vtab_cursor` is its first field.
unsafe impl VTabCursor for Cursor {
    fn filter(&mut self, idx_num: c_int, _idx_str: Option<&str>, args: &Filters<'_>) -> rusqlite::Result<()> {
        self.row = None;
        self.number = 0;
        self.scan = None;
        let key = match usize::try_from(idx_num).ok().and_then(|number| number.checked_sub(1)) {
            None => None,
            Some(column) => {
                let value = memory::unrefused(|| args.iter().next().map(Value::try_from))
                    .ok_or_else(|| failed("a key without a value"))?
                    .map_err(|error| failed(error.message))?;
                // Nothing equals NULL.
                if value == Value::Null {
                    return Ok(());
                }
                Some((column, value))
            }
        };
        let context = self.source.shared.context();
        let rows = &self.source.table.rows;
        let scan = guarded(|| rows(context.as_ref(), key.as_ref().map(|(column, value)| (*column, value))))?;
        self.scan = Some(scan);
        self.next()
    }

    fn next(&mut self) -> rusqlite::Result<()> {
        self.number += 1;
        self.row = match &mut self.scan {
            Some(scan) => guarded(|| scan.next().transpose())?,
            None => None,
        };
        Ok(())
    }

    fn eof(&self) -> bool {
        self.row.is_none()
    }

    fn column(&self, ctx: &mut Context, i: c_int) -> rusqlite::Result<()> {
        let at = usize::try_from(i).unwrap_or(usize::MAX);
        let value = guarded(|| {
            let value = self.row.as_ref().and_then(|row| row.value(at));
            value.ok_or_else(|| "a row is shorter than its table".to_owned())
        })?;
        ctx.set_result(&value)
    }

    fn rowid(&self) -> rusqlite::Result<i64> {
        Ok(self.number)
    }
}

/// Runs what a table's definition brought along: a panic must not cross SQLite's frames.
fn guarded<T>(compute: impl FnOnce() -> Result<T, String>) -> rusqlite::Result<T> {
    match catch_unwind(AssertUnwindSafe(compute)) {
        Ok(outcome) => outcome.map_err(failed),
        Err(_panic) => Err(failed("a virtual table met a bug in this node")),
    }
}

fn failed(message: impl Into<String>) -> rusqlite::Error {
    rusqlite::Error::ModuleError(message.into())
}
