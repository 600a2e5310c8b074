//! Columns that go, or get another name or type.

use crate::command::{Actor, ColumnSource, DropBehavior};
use crate::id::ObjectId;
use crate::name::Name;
use crate::object::{Column, ColumnType, Expression, KeyPart};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::spec::makes::exists;
use crate::spec::{Model, Told, say};

use super::keys::drop_lost_keys;
use super::{Sketch, Sources, family, reads};

impl Model {
    pub(super) fn drop_column(
        &mut self,
        actor: Actor,
        id: ObjectId,
        column: &Name,
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<Told, Refusal> {
        let (tables, own) = self.tables_with(id);
        if !tables[own].has(column) {
            return exists(if_exists, &say::unknown_column(column.as_str()));
        }
        if tables[own].key.contains(column) {
            return Err(say::column_is_in_key(column.as_str()));
        }
        check_not_computed_from(&tables[own], column)?;
        let cascade = behavior == DropBehavior::Cascade;
        if !cascade {
            self.check_no_reader("drop", id, column)?;
        }
        while let Some(reader) = self.reader(id, column) {
            match self.kind(reader) {
                ObjectKind::Function => self.check_owner(actor.current, reader)?,
                _ => self.check_privilege(actor.current, reader, Privilege::Drop)?,
            }
            self.drop_with_dependents(actor, vec![reader], true)?;
        }
        let storage = self.lose_sequence(actor, id, column, cascade)?;
        let (mut tables, own) = self.tables_with(id);
        let table = &mut tables[own];
        table.unique.retain(|(_, columns)| !columns.contains(column));
        table.checks.retain(|check| !reads(&check.expression, column));
        table.foreign.retain(|key| !key.columns.contains(column));
        table.indexes.retain(|index| {
            let is_read = index.expressions().into_iter().any(|expression| reads(expression, column));
            !is_read && !index.columns().contains(column)
        });
        drop_lost_keys(&mut tables, own, column, cascade)?;
        tables[own].columns.retain(|known| known.name != *column);
        self.settle(&tables, own)?;
        Ok(Told { notices: Vec::new(), storage })
    }

    pub(super) fn rename_column(
        &mut self,
        id: ObjectId,
        column: &Name,
        to: &Name,
        expressions: &[(Expression, Expression)],
    ) -> Result<(), Refusal> {
        let (mut tables, own) = self.tables_with(id);
        tables[own].column(column)?;
        if column == to {
            return Ok(());
        }
        let lower = to.as_str().to_lowercase();
        let taken = |known: &&Column| known.name != *column && known.name.as_str().to_lowercase() == lower;
        if tables[own].columns.iter().find(taken).is_some() {
            return Err(say::column_exists(to.as_str(), tables[own].name.as_str()));
        }
        self.check_no_reader("rename", id, column)?;
        let rewrite =
            |expression: &mut Expression| match expressions.iter().find(|(was, _)| was == expression) {
                Some((_, now)) => {
                    *expression = now.clone();
                    Ok(())
                }
                None => Err(say::table_changed()),
            };
        let table = &mut tables[own];
        for known in &mut table.columns {
            known.default.as_mut().map_or(Ok(()), rewrite)?;
            known.computed.as_mut().map_or(Ok(()), rewrite)?;
        }
        for check in &mut table.checks {
            rewrite(&mut check.expression)?;
        }
        for index in &mut table.indexes {
            for key in &mut index.keys {
                if let KeyPart::Expression(expression) = &mut key.part {
                    rewrite(expression)?;
                }
            }
            index.predicate.as_mut().map_or(Ok(()), rewrite)?;
        }
        let rename = |name: &mut Name| {
            if name == column {
                name.clone_from(to);
            }
        };
        for known in &mut table.columns {
            rename(&mut known.name);
        }
        table.key.iter_mut().for_each(rename);
        table.unique.iter_mut().flat_map(|(_, columns)| columns).for_each(rename);
        table.foreign.iter_mut().flat_map(|key| &mut key.columns).for_each(rename);
        for key in table.indexes.iter_mut().flat_map(|index| &mut index.keys) {
            if let KeyPart::Column(column) = &mut key.part {
                rename(column);
            }
        }
        for table in &mut tables {
            let keys = table.foreign.iter_mut().filter(|key| key.target == id);
            keys.flat_map(|key| &mut key.there).for_each(rename);
        }
        self.settle(&tables, own)
    }

    pub(super) fn set_type(
        &mut self,
        actor: Actor,
        id: ObjectId,
        column: &Name,
        (column_type, using): (ColumnType, Option<&str>),
        expressions: &[(Expression, Expression)],
        sources: &mut Sources,
    ) -> Result<Told, Refusal> {
        let (mut tables, own) = self.tables_with(id);
        let computed = tables[own].column(column)?.computed.is_some();
        if computed {
            return Err(say::computed_type(column.as_str()));
        }
        check_not_computed_from(&tables[own], column)?;
        self.check_no_reader("alter type of", id, column)?;
        self.check_column_type(actor, column_type)?;
        let table = &mut tables[own];
        table.column(column)?.column_type = column_type;
        if table.column(column)?.identity.is_some() && family(column_type) != "int" {
            return Err(say::identity_is_a_number());
        }
        for check in &mut table.checks {
            remake(&mut check.expression, column, expressions)?;
        }
        for index in &mut table.indexes {
            for key in &mut index.keys {
                if let KeyPart::Expression(expression) = &mut key.part {
                    remake(expression, column, expressions)?;
                }
            }
            if let Some(predicate) = &mut index.predicate {
                remake(predicate, column, expressions)?;
            }
        }
        self.settle(&tables, own)?;
        if let Some(using) = using {
            for (table, name, source) in sources {
                if *table == id && name == column {
                    *source = ColumnSource::Value(using.to_owned());
                }
            }
        }
        self.check_keys_around(id)
    }
}

/// What reads the column is as the statement says for its new type.
fn remake(
    expression: &mut Expression,
    column: &Name,
    expressions: &[(Expression, Expression)],
) -> Result<(), Refusal> {
    if !reads(expression, column) {
        return Ok(());
    }
    let (_, now) = expressions.iter().find(|(was, _)| was == expression).ok_or_else(say::table_changed)?;
    *expression = now.clone();
    Ok(())
}

fn check_not_computed_from(table: &Sketch, column: &Name) -> Result<(), Refusal> {
    for known in &table.columns {
        if known.name != *column && known.computed.as_ref().is_some_and(|computed| reads(computed, column)) {
            return Err(say::column_is_computed_from(column.as_str(), known.name.as_str()));
        }
    }
    Ok(())
}
