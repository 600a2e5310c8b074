//! What a transaction changed where it ran, done to the rows that are here.
//!
//! Not by the session extension's own `sqlite3changeset_apply`: it prepares its statements for each changeset, sets a
//! pragma that makes SQLite prepare all others anew, and tells nobody what a row that it updates was as a whole. Here the
//! statements stay prepared, each row that is there is compared with what the changeset says of it, and whoever asks is
//! shown each row before and after.
//!
//! Foreign keys and triggers are off meanwhile: what they did where the changeset was made is in it.

use std::collections::BTreeMap;

use grantd_catalog::id::ObjectId;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{CachedStatement, Statement, ffi};

use crate::rows::changeset::{Change, Header, Item, Malformed, Reader};
use crate::rows::{RowsError, Value, ddl, file};

/// Why a changeset was not applied. Every one of them means that this database is not the one that the changeset was
/// made upon, so a replica that meets one must stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The bytes are no changeset.
    #[error("the bytes are not a changeset")]
    Malformed,
    /// It changes a table that is not here, or one of another shape.
    #[error("the changeset changes table `{table}` with {columns} columns, but here it {here}")]
    Shape {
        /// The table.
        table: String,
        /// Columns in the changeset.
        columns: usize,
        /// What is here.
        here: String,
    },
    /// A row is not what it was where the changeset was made.
    #[error("a row of table `{table}` differs from where the changeset was made: {conflict}")]
    Conflict {
        /// The table.
        table: String,
        /// How it differs.
        conflict: &'static str,
    },
    /// SQLite failed: full disk, failed read.
    #[error("the changeset was not applied: {0}")]
    Failed(#[source] RowsError),
}

impl From<Malformed> for ApplyError {
    fn from(Malformed: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<rusqlite::Error> for ApplyError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// A row that changed, whole, as the row store holds it: every column that is not generated, in the table's order.
#[derive(Clone, Debug, PartialEq)]
pub struct RowDelta {
    /// Its table.
    pub table: ObjectId,
    /// None: it is new.
    pub before: Option<Vec<Value>>,
    /// None: it is gone.
    pub after: Option<Vec<Value>>,
}

/// Tables as they are here, by their names; what changesets are held against. To be forgotten when a table changes.
pub(super) type Shapes = BTreeMap<String, Shape>;

/// A table as it is here, with the statements that change it.
pub(super) struct Shape {
    id: ObjectId,
    columns: Vec<String>,
    key: Vec<bool>,
    /// Whether keys of different bytes may be the same in the order of their column, as 1.5 and 1.50 are. SQLite tells the
    /// bytes apart when it records a change, and not when it looks what came of it: so it may say twice of a row that it is
    /// new, or that it changed and is new.
    key_has_order: bool,
    /// Which columns are of doubles.
    real: Vec<bool>,
    find: String,
    insert: String,
    delete: String,
}

impl Shape {
    /// None: there is no such table.
    fn read(sqlite: &rusqlite::Connection, table: &str) -> Result<Option<Self>, RowsError> {
        let columns = file::stored_columns(sqlite, table)?;
        let Some(id) = ddl::object_of_table(table).filter(|_| !columns.is_empty()) else { return Ok(None) };
        let key: Vec<bool> = columns.iter().map(|column| column.key > 0).collect();
        let real = columns.iter().map(|column| column.is_real).collect();
        let columns: Vec<String> = columns.iter().map(|column| ddl::quote(&column.name)).collect();
        let (name, list) = (ddl::quote(table), columns.join(", "));
        let places: Vec<String> = (1..=columns.len()).map(|at| format!("?{at}")).collect();
        let of_key = key_clause(&columns, &key);
        Ok(Some(Self {
            id,
            find: format!("SELECT {list} FROM {name} WHERE {of_key}"),
            insert: format!("INSERT INTO {name} ({list}) VALUES ({})", places.join(", ")),
            delete: format!("DELETE FROM {name} WHERE {of_key}"),
            key_has_order: file::key_has_order(sqlite, table)?,
            columns,
            key,
            real,
        }))
    }

    /// The value of a column as it will be read: a changeset may say a double that is whole as an integer.
    fn value(&self, at: usize, said: ValueRef<'_>) -> Result<Value, ApplyError> {
        Ok(match Value::try_from(said).map_err(ApplyError::Failed)? {
            #[expect(clippy::cast_precision_loss, reason = "as SQLite converts it for a column of doubles")]
            Value::Integer(integer) if self.real[at] => Value::Real(integer as f64),
            value => value,
        })
    }

    fn row(&self, said: &[ValueRef<'_>]) -> Result<Vec<Value>, ApplyError> {
        said.iter().enumerate().map(|(at, said)| self.value(at, *said)).collect()
    }

    /// The statement that sets the columns that `after` says.
    fn update(&self, table: &str, after: &[Option<ValueRef<'_>>]) -> String {
        let set = self.columns.iter().zip(after).enumerate().filter(|(_, (_, value))| value.is_some());
        let set: Vec<String> = set.map(|(at, (name, _))| format!("{name} = ?{}", at + 1)).collect();
        format!(
            "UPDATE {} SET {} WHERE {}",
            ddl::quote(table),
            set.join(", "),
            key_clause(&self.columns, &self.key)
        )
    }

    fn expect(&self, header: &Header<'_>) -> Result<(), ApplyError> {
        let same = |(here, there): (&bool, &u8)| *here == (*there != 0);
        let here = if self.key.len() != header.key.len() {
            format!("has {}", self.key.len())
        } else if !self.key.iter().zip(header.key).all(same) {
            "has another key".to_owned()
        } else {
            return Ok(());
        };
        Err(shape_error(header, here))
    }
}

/// Each column has the parameter of its place.
fn key_clause(columns: &[String], key: &[bool]) -> String {
    let parts = columns.iter().zip(key).enumerate().filter(|(_, (_, key))| **key);
    parts.map(|(at, (name, _))| format!("{name} = ?{}", at + 1)).collect::<Vec<_>>().join(" AND ")
}

fn shape_error(header: &Header<'_>, here: String) -> ApplyError {
    ApplyError::Shape { table: header.table.to_owned(), columns: header.key.len(), here }
}

/// Applies a changeset, and shows each row that it changes. After an error part of it may be done: the transaction that it
/// happens in is to be rolled back.
///
/// Cost: for each row one statement that finds it by its key, and one that changes it.
pub(super) fn apply(
    sqlite: &rusqlite::Connection,
    shapes: &mut Shapes,
    changeset: &[u8],
    seen: &mut dyn FnMut(RowDelta) -> Result<(), RowsError>,
) -> Result<(), ApplyError> {
    let mut reader = Reader::new(changeset);
    let mut table: Option<Table<'_, '_>> = None;
    let mut next = reader.next()?;
    while let Some(item) = next {
        match item {
            Item::Table(header) => {
                if let Some(table) = table.take() {
                    table.finish(seen)?;
                }
                if !shapes.contains_key(header.table) {
                    // That there is none is not kept: it may be made.
                    let shape = Shape::read(sqlite, header.table).map_err(ApplyError::Failed)?;
                    let shape = shape.ok_or_else(|| shape_error(&header, "does not exist".to_owned()))?;
                    shapes.insert(header.table.to_owned(), shape);
                }
                let shape = &shapes[header.table];
                shape.expect(&header)?;
                let name = header.table.to_owned();
                table = Some(Table {
                    sqlite,
                    statements: Statements::default(),
                    name,
                    shape,
                    waiting: Vec::new(),
                });
            }
            Item::Row(change) => table.as_mut().ok_or(ApplyError::Malformed)?.change(change, seen)?,
        }
        next = reader.next()?;
    }
    table.map_or(Ok(()), |table| table.finish(seen))
}

/// Puts rows into a table. After an error part of them may be there.
pub(super) fn fill(
    sqlite: &rusqlite::Connection,
    shapes: &mut Shapes,
    table: &str,
    rows: &[Vec<Value>],
) -> Result<(), ApplyError> {
    let columns = rows.first().map_or(0, Vec::len);
    let missing = |here: String| ApplyError::Shape { table: table.to_owned(), columns, here };
    if !shapes.contains_key(table) {
        let shape = Shape::read(sqlite, table).map_err(ApplyError::Failed)?;
        shapes.insert(table.to_owned(), shape.ok_or_else(|| missing("does not exist".to_owned()))?);
    }
    let shape = &shapes[table];
    let mut statement = sqlite.prepare_cached(&shape.insert)?;
    for row in rows {
        if row.len() != shape.columns.len() {
            return Err(missing(format!("has {}", shape.columns.len())));
        }
        row.iter().try_for_each(Value::refuse_nan).map_err(ApplyError::Failed)?;
        bind_values(&mut statement, row)?;
        if !run(&mut statement, table)? {
            return Err(conflict(table, "a constraint forbids it"));
        }
    }
    Ok(())
}

/// The statements that a table's rows are changed by, as far as they were needed. Kept for all its rows: to look one up
/// takes as long as to run it.
#[derive(Default)]
struct Statements<'c> {
    find: Option<CachedStatement<'c>>,
    insert: Option<CachedStatement<'c>>,
    delete: Option<CachedStatement<'c>>,
    /// The last one, and which columns it sets.
    update: Option<CachedStatement<'c>>,
    updates: Vec<bool>,
}

/// The statement that is kept, or else `sql`, prepared.
fn kept<'k, 'c>(
    place: &'k mut Option<CachedStatement<'c>>,
    sqlite: &'c rusqlite::Connection,
    sql: &str,
) -> rusqlite::Result<&'k mut CachedStatement<'c>> {
    let statement = match place.take() {
        Some(statement) => statement,
        None => sqlite.prepare_cached(sql)?,
    };
    Ok(place.insert(statement))
}

/// A table whose rows change.
struct Table<'s, 'c> {
    sqlite: &'c rusqlite::Connection,
    statements: Statements<'c>,
    name: String,
    shape: &'s Shape,
    /// Rows that could not change yet because another one still has what is to be unique: a changeset says what came of a
    /// transaction, not in which order.
    waiting: Vec<RowDelta>,
}

impl Table<'_, '_> {
    fn change(
        &mut self,
        change: Change<'_>,
        seen: &mut dyn FnMut(RowDelta) -> Result<(), RowsError>,
    ) -> Result<(), ApplyError> {
        let table = self.shape.id;
        let (delta, done) = match change {
            Change::Insert(row) => {
                let done = self.insert(|statement| bind_all(statement, &row))?;
                (RowDelta { table, before: None, after: Some(self.shape.row(&row)?) }, done)
            }
            Change::Delete(row) => {
                let before = self.expect_row(&row.iter().copied().map(Some).collect::<Vec<_>>())?;
                let done = self.delete(|statement| bind_all(statement, &row))?;
                (RowDelta { table, before: Some(before), after: None }, done)
            }
            Change::Update { before, after } => {
                let old = self.expect_row(&before)?;
                let mut new = old.clone();
                for (at, said) in after.iter().enumerate() {
                    if let Some(said) = said {
                        new[at] = self.shape.value(at, *said)?;
                    }
                }
                // A new key takes the parameter of the old one, which is the same one in the order of its column.
                let done = self.update(&before, &after)?;
                (RowDelta { table, before: Some(old), after: Some(new) }, done)
            }
        };
        if done {
            return seen(delta).map_err(ApplyError::Failed);
        }
        self.waiting.push(delta);
        Ok(())
    }

    /// Changes what had to wait: all that is to go goes before anything comes, and what changed comes before what is new.
    fn finish(mut self, seen: &mut dyn FnMut(RowDelta) -> Result<(), RowsError>) -> Result<(), ApplyError> {
        let (changed, new): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|delta| delta.before.is_some());
        for RowDelta { before, .. } in &changed {
            if let Some(row) = before
                && !self.delete(|statement| bind_values(statement, row))?
            {
                return Err(self.conflict("a constraint forbids it"));
            }
        }
        for delta in changed.into_iter().chain(new) {
            let Some(row) = &delta.after else { continue };
            if self.insert(|statement| bind_values(statement, row))? {
                seen(delta).map_err(ApplyError::Failed)?;
            } else if delta.before.is_some() || !self.shape.key_has_order || !self.is_there(row)? {
                return Err(self.conflict("its key is taken"));
            }
        }
        Ok(())
    }

    fn is_there(&mut self, row: &[Value]) -> Result<bool, ApplyError> {
        let said: Vec<_> = row.iter().map(|value| Some(value.into())).collect();
        match self.expect_row(&said) {
            Ok(_) => Ok(true),
            Err(ApplyError::Conflict { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The row that has this key, which must have these values.
    fn expect_row(&mut self, said: &[Option<ValueRef<'_>>]) -> Result<Vec<Value>, ApplyError> {
        let statement = kept(&mut self.statements.find, self.sqlite, &self.shape.find)?;
        bind_some(statement, said, |at| self.shape.key[at])?;
        let mut rows = statement.raw_query();
        let row = rows.next()?.ok_or_else(|| conflict(&self.name, "it is missing"))?;
        let mut values = Vec::with_capacity(said.len());
        for (at, said) in said.iter().enumerate() {
            let here = row.get_ref(at)?;
            if said.is_some_and(|said| !is_same(here, said)) {
                return Err(conflict(&self.name, "its values differ"));
            }
            values.push(Value::try_from(here).map_err(ApplyError::Failed)?);
        }
        Ok(values)
    }

    fn insert(
        &mut self,
        bind: impl FnOnce(&mut Statement<'_>) -> rusqlite::Result<()>,
    ) -> Result<bool, ApplyError> {
        let statement = kept(&mut self.statements.insert, self.sqlite, &self.shape.insert)?;
        bind(statement)?;
        run(statement, &self.name)
    }

    fn delete(
        &mut self,
        bind: impl FnOnce(&mut Statement<'_>) -> rusqlite::Result<()>,
    ) -> Result<bool, ApplyError> {
        let statement = kept(&mut self.statements.delete, self.sqlite, &self.shape.delete)?;
        bind(statement)?;
        run(statement, &self.name)
    }

    fn update(
        &mut self,
        before: &[Option<ValueRef<'_>>],
        after: &[Option<ValueRef<'_>>],
    ) -> Result<bool, ApplyError> {
        let Statements { update, updates, .. } = &mut self.statements;
        let said = || after.iter().map(Option::is_some);
        let statement = match update.take().filter(|_| said().eq(updates.iter().copied())) {
            Some(statement) => statement,
            None => self.sqlite.prepare_cached(&self.shape.update(&self.name, after))?,
        };
        *updates = said().collect();
        let statement = update.insert(statement);
        bind_some(statement, before, |at| self.shape.key[at])?;
        bind_some(statement, after, |_| true)?;
        run(statement, &self.name)
    }

    fn conflict(&self, what: &'static str) -> ApplyError {
        conflict(&self.name, what)
    }
}

fn conflict(table: &str, conflict: &'static str) -> ApplyError {
    ApplyError::Conflict { table: table.to_owned(), conflict }
}

/// Runs a statement that changes one row of `table`. False: what is to be unique is taken.
fn run(statement: &mut Statement<'_>, table: &str) -> Result<bool, ApplyError> {
    match statement.raw_execute() {
        Ok(1) => Ok(true),
        Ok(_) => Err(conflict(table, "it is missing")),
        Err(rusqlite::Error::SqliteFailure(failure, _)) if is_taken(failure.extended_code) => Ok(false),
        Err(rusqlite::Error::SqliteFailure(failure, _))
            if failure.extended_code & 0xff == ffi::SQLITE_CONSTRAINT =>
        {
            Err(conflict(table, "a constraint forbids it"))
        }
        Err(error) => Err(error.into()),
    }
}

fn is_taken(code: i32) -> bool {
    matches!(code, ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY)
}

/// Byte for byte, but that SQLite may store a double that is whole as an integer.
fn is_same(here: ValueRef<'_>, said: ValueRef<'_>) -> bool {
    match (here, said) {
        #[expect(clippy::cast_precision_loss, reason = "as SQLite converts it for a column of doubles")]
        (ValueRef::Real(real), ValueRef::Integer(integer)) => real == integer as f64,
        (ValueRef::Real(here), ValueRef::Real(said)) => here.to_bits() == said.to_bits(),
        (here, said) => here == said,
    }
}

fn bind_all(statement: &mut Statement<'_>, row: &[ValueRef<'_>]) -> rusqlite::Result<()> {
    // A statement that names the key alone has no place for what comes after it.
    let places = statement.parameter_count();
    row.iter().take(places).enumerate().try_for_each(|(at, value)| bind(statement, at, *value))
}

fn bind_values(statement: &mut Statement<'_>, row: &[Value]) -> rusqlite::Result<()> {
    let places = statement.parameter_count();
    row.iter()
        .take(places)
        .enumerate()
        .try_for_each(|(at, value)| statement.raw_bind_parameter(at + 1, value))
}

/// Binds what is said of the columns that are meant.
fn bind_some(
    statement: &mut Statement<'_>,
    row: &[Option<ValueRef<'_>>],
    is_meant: impl Fn(usize) -> bool,
) -> rusqlite::Result<()> {
    let said = row.iter().enumerate().filter_map(|(at, value)| value.map(|value| (at, value)));
    said.filter(|(at, _)| is_meant(*at)).try_for_each(|(at, value)| bind(statement, at, value))
}

fn bind(statement: &mut Statement<'_>, at: usize, value: ValueRef<'_>) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(at + 1, ToSqlOutput::Borrowed(value))
}
