//! The columns of a table: ALTER TABLE ADD, DROP, RENAME and ALTER COLUMN.

use crate::command::{ColumnSource, DropBehavior};
use crate::id::ObjectId;
use crate::name::Name;
use crate::object::{Body, Column, ColumnType, Expression, Index, TEXT_BYTES_MAX, Table};
use crate::privilege::ObjectKind;
use crate::refusal::{self, Refusal};
use crate::state::Work;
use crate::state::identity::check_counts;
use crate::state::objects::check_name;
use crate::state::reshape::kept;

/// What a row that there is has in a new column for which nothing else is said.
const NULL: &str = "NULL";

impl Work<'_> {
    /// Says whether the column is new. It comes last.
    pub(super) fn add_column(
        &mut self,
        id: ObjectId,
        column: &Column,
        if_not_exists: bool,
        fill: Option<&str>,
    ) -> Result<bool, Refusal> {
        let (name, mut table) = self.table(id)?;
        if has_column(&table, &column.name) {
            self.taken(refusal::column_exists(&column.name, &name), if_not_exists)?;
            return Ok(false);
        }
        check_name(&column.name, ObjectKind::Table)?;
        if let Some(enum_type) = column.column_type.enum_type() {
            self.require_type(enum_type)?;
        }
        let fill = fill.unwrap_or(NULL);
        check_text(fill)?;
        let mut sources = kept(&table);
        sources.push(ColumnSource::Value(fill.to_owned()));
        table.columns.push(column.clone());
        self.check_named(&table)?;
        self.reshape(id, table, sources)?;
        Ok(true)
    }

    /// Takes the constraints and indexes of the table along that use the column, as PostgreSQL does; with CASCADE also
    /// foreign keys of other tables, and views and functions.
    pub(super) fn drop_column(
        &mut self,
        id: ObjectId,
        column: &Name,
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<(), Refusal> {
        let (_, table) = self.table(id)?;
        let Some(at) = table.position(column) else {
            return self.taken(refusal::no_such_column(column), if_exists);
        };
        if table.primary_key.contains(&at) {
            return Err(refusal::column_in_primary_key(column));
        }
        check_not_computed_from(&table, column)?;
        let cascade = behavior == DropBehavior::Cascade;
        self.drop_readers(id, column, cascade)?;
        self.forget_identity(id, column, behavior)?;
        let (_, mut table) = self.table(id)?;
        table.unique.retain(|unique| !unique.columns.contains(&at));
        table.checks.retain(|check| !check.expression.mentions(column));
        table.foreign_keys.retain(|key| !key.columns.contains(&at));
        table.indexes.retain(|index| {
            let is_read = index.expressions().any(|expression| expression.mentions(column));
            !is_read && index.keys.iter().all(|key| key.column() != Some(at))
        });
        self.put_table(id, table)?;
        self.settle_foreign_keys(id, column, cascade)?;
        self.remove_column(id, at)
    }

    /// Drops what reads the column, or says what is in the way.
    fn drop_readers(&mut self, id: ObjectId, column: &Name, cascade: bool) -> Result<(), Refusal> {
        if !cascade {
            return self.check_unread("drop", id, column);
        }
        while let Some((reader, _)) = self.state.reader_of_column(id, column) {
            self.require_dropping(reader)?;
            self.drop_cascading(vec![reader])?;
        }
        Ok(())
    }

    /// That no view or function reads the column.
    fn check_unread(&self, verb: &str, id: ObjectId, column: &Name) -> Result<(), Refusal> {
        let Some((_, reader)) = self.state.reader_of_column(id, column) else { return Ok(()) };
        let word = if matches!(reader.body, Body::View(_)) { "view" } else { reader.kind().class_word() };
        let near = self.state.object(id).is_some_and(|object| object.parent == reader.parent);
        let name = if near { reader.name.to_string() } else { self.state.full_name(reader) };
        Err(refusal::column_has_dependent(verb, column, word, &name))
    }

    /// Each expression of the table must be among `expressions`, with the text that it is to have: the catalog cannot read
    /// which of them name the column.
    pub(super) fn rename_column(
        &mut self,
        id: ObjectId,
        column: &Name,
        to: &Name,
        expressions: &[(Expression, Expression)],
    ) -> Result<(), Refusal> {
        let (name, mut table) = self.table(id)?;
        let at = position(&table, column)?;
        if column == to {
            return Ok(());
        }
        check_name(to, ObjectKind::Table)?;
        let others = table.columns.iter().filter(|there| there.name != *column);
        if others.into_iter().any(|there| same_column(&there.name, to)) {
            return Err(refusal::column_exists(to, &name));
        }
        self.check_unread("rename", id, column)?;
        table.columns[usize::from(at)].name = to.clone();
        for expression in table.expressions_mut() {
            let renamed = expressions.iter().find(|(was, _)| was == expression);
            let (_, now) = renamed.ok_or_else(refusal::expressions_changed)?;
            expression.clone_from(now);
        }
        self.check_named(&table)?;
        self.put_table(id, table)
    }

    pub(super) fn set_default(
        &mut self,
        id: ObjectId,
        column: &Name,
        default: Option<&Expression>,
    ) -> Result<(), Refusal> {
        let (relation, mut table) = self.table(id)?;
        let at = usize::from(position(&table, column)?);
        let column = &mut table.columns[at];
        if column.identity.is_some() {
            return Err(refusal::default_of_identity(&column.name, &relation));
        }
        if column.computed.is_some() && default.is_some() {
            return Err(refusal::computed_with_default(&column.name));
        }
        column.default = default.cloned();
        self.check_named(&table)?;
        self.put_checked(id, table)
    }

    pub(super) fn set_nullable(
        &mut self,
        id: ObjectId,
        column: &Name,
        nullable: bool,
    ) -> Result<(), Refusal> {
        let (relation, mut table) = self.table(id)?;
        let at = position(&table, column)?;
        if nullable && table.columns[usize::from(at)].identity.is_some() {
            return Err(refusal::is_identity(column, &relation));
        }
        if nullable && table.primary_key.contains(&at) {
            return Err(refusal::column_in_primary_key(column));
        }
        table.columns[usize::from(at)].nullable = nullable;
        self.put_checked(id, table)
    }

    /// `using` is in the names that the columns have before the statement. Each CHECK and expression of an index that
    /// reads the column must be among `expressions`: it was made for the type that the column had.
    pub(super) fn set_type(
        &mut self,
        id: ObjectId,
        column: &Name,
        column_type: ColumnType,
        using: Option<&str>,
        expressions: &[(Expression, Expression)],
    ) -> Result<(), Refusal> {
        let (_, mut table) = self.table(id)?;
        let at = position(&table, column)?;
        if !self.has_its_columns(id, &table) {
            return Err(refusal::retyped_among_others());
        }
        if table.columns[usize::from(at)].computed.is_some() {
            return Err(refusal::computed_retyped(column));
        }
        check_not_computed_from(&table, column)?;
        self.check_unread("alter type of", id, column)?;
        if let Some(enum_type) = column_type.enum_type() {
            self.require_type(enum_type)?;
        }
        if table.columns[usize::from(at)].identity.is_some() {
            check_counts(column_type)?;
        }
        let checks = table.checks.iter_mut().map(|check| &mut check.expression);
        let of_rows = checks.chain(table.indexes.iter_mut().flat_map(Index::expressions_mut));
        for expression in of_rows.filter(|expression| expression.mentions(column)) {
            let made = expressions.iter().find(|(was, _)| was == expression);
            let (_, now) = made.ok_or_else(refusal::expressions_changed)?;
            expression.clone_from(now);
        }
        self.check_named(&table)?;
        let mut sources = kept(&table);
        if let Some(using) = using {
            check_text(using)?;
            sources[usize::from(at)] = ColumnSource::Value(using.to_owned());
        }
        table.columns[usize::from(at)].column_type = column_type;
        self.reshape(id, table, sources)?;
        self.check_shapes_around(id)
    }

    /// Gives a table another shape in which its foreign keys, and those to it, must still fit.
    fn put_checked(&mut self, id: ObjectId, table: Table) -> Result<(), Refusal> {
        self.put_table(id, table)?;
        self.check_shapes_around(id)
    }

    fn check_shapes_around(&self, id: ObjectId) -> Result<(), Refusal> {
        let children = self.state.children_by_key(id);
        let tables = children.into_iter().chain([id]).filter_map(|id| self.state.object(id));
        tables.into_iter().try_for_each(|object| self.state.check_shape(object))
    }

    /// That what the expressions of a table name is there.
    pub(super) fn check_named(&self, table: &Table) -> Result<(), Refusal> {
        table.expressions().try_for_each(|expression| {
            check_text(&expression.sql)?;
            check_text(&expression.stored)
        })?;
        self.state.check_references(&Body::Table(std::sync::Arc::new(table.clone())))
    }
}

/// Where the column is, or 42703.
pub(super) fn position(table: &Table, column: &Name) -> Result<u16, Refusal> {
    table.position(column).ok_or_else(|| refusal::no_such_column(column))
}

/// Whether the row store would take both for the same column.
fn same_column(a: &Name, b: &Name) -> bool {
    a.as_str().to_lowercase() == b.as_str().to_lowercase()
}

fn has_column(table: &Table, name: &Name) -> bool {
    table.columns.iter().any(|column| same_column(&column.name, name))
}

fn check_not_computed_from(table: &Table, column: &Name) -> Result<(), Refusal> {
    let reads = |other: &&Column| {
        other.name != *column && other.computed.as_ref().is_some_and(|computed| computed.mentions(column))
    };
    match table.columns.iter().find(reads) {
        Some(computed) => Err(refusal::column_is_computed_from(column, &computed.name)),
        None => Ok(()),
    }
}

fn check_text(text: &str) -> Result<(), Refusal> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(refusal::text_too_long("expression", text.len(), TEXT_BYTES_MAX));
    }
    Ok(())
}
