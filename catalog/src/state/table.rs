//! The shape of a table: what the planner has seen to, and what the row store relies on, checked where it is kept. C14.

use std::collections::BTreeSet;

use crate::name::Name;
use crate::object::{
    Body, COLUMNS_MAX, CONSTRAINTS_MAX, Column, ColumnType, ForeignKey, IndexKey, KEY_COLUMNS_MAX, Object,
    ReferentialAction, Table,
};
use crate::refusal::{self, Refusal};
use crate::state::State;
use crate::state::identity::check_counts;

/// That `table` keeps what [`Table`] promises: columns within bounds, names unique without regard to case, keys of
/// existing columns, and no name twice among constraints and indexes.
pub(super) fn check(table: &Table) -> Result<(), Refusal> {
    if table.columns.is_empty() {
        return Err(refusal::no_columns());
    }
    if table.columns.len() > COLUMNS_MAX {
        return Err(refusal::too_many_columns(table.columns.len(), COLUMNS_MAX));
    }
    check_column_names(table.columns.iter().map(|column| &column.name))?;
    let computed = table.columns.iter().filter(|column| column.computed.is_some());
    computed.into_iter().try_for_each(|column| check_computed(table, column))?;
    let counting = table.columns.iter().filter(|column| column.identity.is_some());
    counting.into_iter().try_for_each(check_counting)?;
    for (what, count) in [
        ("UNIQUE constraints", table.unique.len()),
        ("CHECK constraints", table.checks.len()),
        ("indexes", table.indexes.len()),
        ("foreign keys", table.foreign_keys.len()),
    ] {
        if count > CONSTRAINTS_MAX {
            return Err(refusal::too_many(what, count, CONSTRAINTS_MAX));
        }
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = table.names().find(|name| !names.insert(*name)) {
        return Err(refusal::duplicate_constraint(twice));
    }
    check_key(table, &table.primary_key)?;
    table.unique.iter().try_for_each(|unique| check_key(table, &unique.columns))?;
    table.foreign_keys.iter().try_for_each(|key| check_key(table, &key.columns))?;
    table.indexes.iter().try_for_each(|index| {
        let columns: Vec<_> = index.keys.iter().filter_map(IndexKey::column).collect();
        let has_expressions = columns.len() < index.keys.len();
        if index.keys.len() > KEY_COLUMNS_MAX {
            return Err(refusal::too_many("columns of a key", index.keys.len(), KEY_COLUMNS_MAX));
        }
        if columns.is_empty() && has_expressions { Ok(()) } else { check_key(table, &columns) }
    })
}

fn check_computed(table: &Table, column: &Column) -> Result<(), Refusal> {
    let in_key = table.primary_key.iter().any(|at| table.columns.get(usize::from(*at)) == Some(column));
    match (&column.default, in_key) {
        (Some(_), _) => Err(refusal::computed_with_default(&column.name)),
        (None, true) => Err(refusal::computed_in_primary_key(&column.name)),
        (None, false) => Ok(()),
    }
}

/// An identity column: its values are its sequence's.
fn check_counting(column: &Column) -> Result<(), Refusal> {
    if column.default.is_some() || column.computed.is_some() {
        return Err(refusal::identity_with_default(&column.name));
    }
    check_counts(column.column_type)
}

fn check_key(table: &Table, key: &[u16]) -> Result<(), Refusal> {
    if key.len() > KEY_COLUMNS_MAX {
        return Err(refusal::too_many("columns of a key", key.len(), KEY_COLUMNS_MAX));
    }
    let known = key.iter().all(|position| usize::from(*position) < table.columns.len());
    let distinct = key.iter().collect::<BTreeSet<_>>().len() == key.len();
    if key.is_empty() || !known || !distinct {
        return Err(refusal::malformed_key());
    }
    Ok(())
}

/// That no two columns have the same name but for case.
pub(super) fn check_column_names<'n>(names: impl Iterator<Item = &'n Name>) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.as_str().to_lowercase()) {
            return Err(refusal::duplicate_column(name));
        }
    }
    Ok(())
}

/// Whether no two rows of `table` have the same values in `columns`, none of them NULL: they are, in any order, its
/// primary key, or those of a UNIQUE constraint or of a unique index of all rows.
pub(super) fn is_key(table: &Table, columns: &[u16]) -> bool {
    let set = |key: &[u16]| key.iter().copied().collect::<BTreeSet<_>>();
    let same = |key: &[u16]| key.len() == columns.len() && set(key) == set(columns);
    let indexes = table.indexes.iter().filter(|index| index.unique && index.predicate.is_none());
    same(&table.primary_key)
        || table.unique.iter().any(|unique| same(&unique.columns))
        || indexes.into_iter().any(|index| index.columns().is_some_and(|columns| same(&columns)))
}

/// Whether values of both types are compared as they are stored.
fn fit(a: ColumnType, b: ColumnType) -> bool {
    let is_int = |one| matches!(one, ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8);
    let is_float = |one| matches!(one, ColumnType::Float4 | ColumnType::Float8);
    let is_text = |one| matches!(one, ColumnType::Text { .. });
    let is_char = |one| matches!(one, ColumnType::Char { .. });
    let is_decimal = |one| matches!(one, ColumnType::Decimal { .. });
    a == b
        || (is_int(a) && is_int(b))
        || (is_float(a) && is_float(b))
        || (is_text(a) && is_text(b))
        || (is_char(a) && is_char(b))
        || (is_decimal(a) && is_decimal(b))
}

impl State {
    /// That an object is whole, with what its foreign keys refer to. C14.
    pub(crate) fn check_shape(&self, object: &Object) -> Result<(), Refusal> {
        let Body::Table(table) = &object.body else { return Ok(()) };
        check(table)?;
        table.foreign_keys.iter().try_for_each(|key| self.check_foreign_key(table, key))
    }

    /// That what a foreign key of `table` refers to is a key, of types that fit, and that its actions can be done.
    pub(super) fn check_foreign_key(&self, table: &Table, key: &ForeignKey) -> Result<(), Refusal> {
        let Some(object) = self.object(key.target) else { return Err(refusal::object_gone(key.target)) };
        let Body::Table(target) = &object.body else {
            return Err(refusal::wrong_object_kind(&object.name, "table"));
        };
        if key.columns.len() != key.target_columns.len() {
            return Err(refusal::foreign_key_counts(key.columns.len(), key.target_columns.len()));
        }
        if !is_key(target, &key.target_columns) {
            return Err(refusal::no_key_for_foreign_key(&object.name));
        }
        for (here, there) in key.columns.iter().zip(&key.target_columns) {
            let here = table.columns.get(usize::from(*here)).ok_or_else(refusal::malformed_key)?;
            let there = target.columns.get(usize::from(*there)).ok_or_else(refusal::malformed_key)?;
            if !fit(here.column_type, there.column_type) {
                let (is, wanted) = (self.type_text(here.column_type), self.type_text(there.column_type));
                return Err(refusal::foreign_key_types(&here.name, &is, &there.name, &wanted));
            }
            check_actions(here, key)?;
        }
        Ok(())
    }
}

fn check_actions(column: &Column, key: &ForeignKey) -> Result<(), Refusal> {
    let writes = |action| {
        matches!(action, ReferentialAction::SetNull | ReferentialAction::SetDefault)
            || (action == ReferentialAction::Cascade && action == key.on_update)
    };
    for action in [key.on_delete, key.on_update] {
        if column.computed.is_some() && writes(action) {
            return Err(refusal::action_on_computed(&column.name));
        }
        let has_default = column.default.is_some();
        match action {
            ReferentialAction::SetNull if !column.nullable => {
                return Err(refusal::action_needs_null("SET NULL", &column.name));
            }
            ReferentialAction::SetDefault if !column.nullable && !has_default => {
                return Err(refusal::action_needs_null("SET DEFAULT", &column.name));
            }
            ReferentialAction::NoAction
            | ReferentialAction::Restrict
            | ReferentialAction::Cascade
            | ReferentialAction::SetNull
            | ReferentialAction::SetDefault => {}
        }
    }
    Ok(())
}
