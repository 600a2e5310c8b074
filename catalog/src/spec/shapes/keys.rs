//! Constraints: primary keys, UNIQUE, CHECK, and foreign keys.

use crate::command::{Actor, DropBehavior, NameContext, NewConstraint, NewForeignKey, Rule, StorageChange};
use crate::id::ObjectId;
use crate::name::Name;
use crate::object::{Check, ReferentialAction};
use crate::privilege::Privilege;
use crate::refusal::Refusal;
use crate::spec::makes::exists;
use crate::spec::{Model, Told, say};

use super::{Sketch, SketchKey, family, reads};

impl Model {
    /// Foreign keys of a table that changed, and those to it, must still be possible.
    pub(super) fn check_keys_around(&self, id: ObjectId) -> Result<Told, Refusal> {
        let tables = self.sketches();
        let children = tables.iter().filter(|table| table.foreign.iter().any(|key| key.target == id));
        let own = tables.iter().filter(|table| table.id == id);
        for table in children.chain(own) {
            for key in &table.foreign {
                self.check_key(&tables, table, key)?;
            }
        }
        Ok(Told::default())
    }

    pub(super) fn check_key(
        &self,
        tables: &[Sketch],
        table: &Sketch,
        key: &SketchKey,
    ) -> Result<(), Refusal> {
        let target = tables.iter().find(|other| other.id == key.target).expect("its target is there");
        if key.columns.len() != key.there.len() {
            return Err(say::odd_counts(key.columns.len(), key.there.len()));
        }
        if !target.is_key(&key.there) {
            return Err(say::no_such_key(target.name.as_str()));
        }
        for (here, there) in key.columns.iter().zip(&key.there) {
            let here = table.columns.iter().find(|known| known.name == *here).expect("it was looked up");
            let there = target.columns.iter().find(|known| known.name == *there).expect("it was looked up");
            if family(here.column_type) != family(there.column_type) {
                let (is, wanted) = (self.type_text(here.column_type), self.type_text(there.column_type));
                return Err(say::key_of_other_type(here.name.as_str(), &is, there.name.as_str(), &wanted));
            }
            for action in [key.on_delete, key.on_update] {
                let sets = matches!(action, ReferentialAction::SetNull | ReferentialAction::SetDefault);
                if here.computed.is_some()
                    && (sets || (action == ReferentialAction::Cascade && key.on_update == action))
                {
                    return Err(say::computed_is_written(here.name.as_str()));
                }
                let word = match action {
                    ReferentialAction::SetNull if !here.nullable => "SET NULL",
                    ReferentialAction::SetDefault if !here.nullable && here.default.is_none() => {
                        "SET DEFAULT"
                    }
                    _ => continue,
                };
                return Err(say::action_needs_null(word, here.name.as_str()));
            }
        }
        Ok(())
    }

    pub(in crate::spec) fn add_constraint(
        &mut self,
        actor: Actor,
        context: &NameContext,
        id: ObjectId,
        constraint: &NewConstraint,
        if_not_exists: bool,
    ) -> Result<Told, Refusal> {
        let (mut tables, own) = self.tables_with(id);
        if let Some(name) = &constraint.name {
            let same = matches!(constraint.rule, Rule::PrimaryKey(_)) && *name == tables[own].key_name;
            if tables[own].taken().contains(name) && !same {
                return exists(if_not_exists, &say::constraint_exists(name.as_str()));
            }
        }
        let name = |table: &Sketch, columns: &[Name], suffix: &str| match &constraint.name {
            Some(name) => name.clone(),
            None => table.new_name(columns, suffix),
        };
        match &constraint.rule {
            Rule::PrimaryKey(columns) => {
                self.add_primary_key(&mut tables, own, constraint.name.as_ref(), columns)?;
            }
            Rule::Unique(columns) => {
                tables[own].known(columns)?;
                let name = name(&tables[own], columns, "key");
                tables[own].unique.push((name, columns.clone()));
            }
            Rule::Check(expression) => {
                let used = tables[own].columns.iter().filter(|column| reads(expression, &column.name));
                let used: Vec<_> = used.map(|column| column.name.clone()).collect();
                let name = match used.as_slice() {
                    [_] => name(&tables[own], &used, "check"),
                    _ => name(&tables[own], &[], "check"),
                };
                tables[own].checks.push(Check { name, expression: expression.clone() });
            }
            Rule::ForeignKey(new) => {
                let key = self.new_foreign_key(actor, context, &tables, own, new)?;
                let key = SketchKey { name: name(&tables[own], &new.columns, "fkey"), ..key };
                self.check_key(&tables, &tables[own], &key)?;
                tables[own].foreign.push(key);
            }
        }
        self.settle(&tables, own)?;
        Ok(Told::default())
    }

    pub(super) fn add_primary_key(
        &self,
        tables: &mut [Sketch],
        own: usize,
        name: Option<&Name>,
        columns: &[Name],
    ) -> Result<(), Refusal> {
        let id = tables[own].id;
        let hidden =
            |column: &Name| tables[own].columns.iter().any(|known| known.name == *column && known.hidden);
        let old = match tables[own].key.as_slice() {
            [only] if hidden(only) => only.clone(),
            _ => return Err(say::second_primary_key(tables[own].name.as_str())),
        };
        tables[own].known(columns)?;
        let referred = tables
            .iter()
            .any(|table| table.foreign.iter().any(|key| key.target == id && key.there.contains(&old)));
        let table = &mut tables[own];
        let used = columns.contains(&old) || table.uses(&old) || referred || self.reader(id, &old).is_some();
        for column in columns {
            table.column(column)?.nullable = false;
        }
        table.key = columns.to_vec();
        if let Some(name) = name {
            table.key_name = name.clone();
        }
        table.check()?;
        if !used {
            table.columns.retain(|known| known.name != old);
        }
        Ok(())
    }

    pub(super) fn new_foreign_key(
        &self,
        actor: Actor,
        context: &NameContext,
        tables: &[Sketch],
        own: usize,
        new: &NewForeignKey,
    ) -> Result<SketchKey, Refusal> {
        let target = self.relation_for(actor, context, &new.target, "table")?;
        self.check_privilege(actor.current, target, Privilege::Create)?;
        if self.database_of(target) != self.database_of(tables[own].id) {
            return Err(say::key_across_databases());
        }
        tables[own].known(&new.columns)?;
        let there = tables.iter().find(|table| table.id == target).expect("a table that can be changed");
        let mut columns = new.target_columns.clone();
        if columns.is_empty() {
            columns.clone_from(&there.key);
        }
        there.known(&columns)?;
        Ok(SketchKey {
            name: Name::normalize(""),
            columns: new.columns.clone(),
            target,
            there: columns,
            on_delete: new.on_delete,
            on_update: new.on_update,
        })
    }

    pub(super) fn drop_constraint(
        &mut self,
        id: ObjectId,
        constraint: &Name,
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<Told, Refusal> {
        let (mut tables, own) = self.tables_with(id);
        let table = &mut tables[own];
        if table.key_name == *constraint {
            return Err(say::primary_key_is_needed());
        }
        let plain = table.indexes.iter().any(|index| index.name == *constraint);
        if plain || !table.taken().contains(constraint) {
            return exists(if_exists, &say::no_constraint(constraint.as_str(), table.name.as_str()));
        }
        table.unique.retain(|(name, _)| name != constraint);
        table.checks.retain(|check| check.name != *constraint);
        table.foreign.retain(|key| key.name != *constraint);
        drop_lost_keys(&mut tables, own, constraint, behavior == DropBehavior::Cascade)?;
        self.settle(&tables, own)?;
        Ok(Told::default())
    }

    /// The foreign keys of CREATE TABLE, when the rest of the table is there.
    pub(in crate::spec) fn add_foreign_keys(
        &mut self,
        actor: Actor,
        context: &NameContext,
        id: ObjectId,
        keys: &[NewConstraint],
    ) -> Result<(), Refusal> {
        for key in keys {
            self.add_constraint(actor, context, id, key, false)?;
        }
        Ok(())
    }

    /// Takes away the foreign keys of tables that stay to what is dropped.
    pub(in crate::spec) fn drop_keys_to(&mut self, dropped: &[ObjectId]) -> Vec<StorageChange> {
        let (before, sources) = (self.clone(), self.untouched());
        let mut tables = self.sketches();
        for table in &mut tables {
            if !dropped.contains(&table.id) {
                table.foreign.retain(|key| !dropped.contains(&key.target));
            }
        }
        self.draw(&tables);
        self.altered(&before, &sources)
    }
}

/// Foreign keys to what is no key any more go, or are in the way of `what` going.
pub(super) fn drop_lost_keys(
    tables: &mut [Sketch],
    own: usize,
    what: &Name,
    cascade: bool,
) -> Result<(), Refusal> {
    let target = tables[own].clone();
    for table in tables {
        let lost = |key: &SketchKey| key.target == target.id && !target.is_key(&key.there);
        if !cascade && table.foreign.iter().any(lost) {
            return Err(say::key_is_referred_to(what.as_str(), table.name.as_str()));
        }
        table.foreign.retain(|key| !lost(key));
    }
    Ok(())
}
