//! The constraints of a table: ALTER TABLE ADD, DROP and RENAME CONSTRAINT, and the foreign keys of CREATE TABLE.

use crate::command::{DropBehavior, NewConstraint, NewForeignKey, Rule};
use crate::id::ObjectId;
use crate::name::Name;
use crate::object::{Body, Check, ForeignKey, Table, Unique};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{self, Refusal};
use crate::state::Work;
use crate::state::columns::position;
use crate::state::objects::check_name;

impl Work<'_> {
    /// A written name must be free; without one, one that is free is made.
    pub(super) fn add_constraint(
        &mut self,
        id: ObjectId,
        constraint: &NewConstraint,
        if_not_exists: bool,
    ) -> Result<(), Refusal> {
        let (relation, table) = self.table(id)?;
        if let Some(name) = &constraint.name {
            check_name(name, ObjectKind::Table)?;
            let replaced = matches!(constraint.rule, Rule::PrimaryKey(_)) && *name == table.key_name;
            if table.names().any(|there| there == name) && !replaced {
                return self.taken(refusal::duplicate_constraint(name), if_not_exists);
            }
        }
        let name = constraint.name.clone();
        match &constraint.rule {
            Rule::PrimaryKey(columns) => self.add_primary_key(id, &relation, table, name, columns),
            Rule::Unique(columns) => {
                let positions = positions(&table, columns)?;
                let name = name.unwrap_or_else(|| table.free_name(&relation, columns.iter(), "key"));
                let mut table = table;
                table.unique.push(Unique { name, columns: positions });
                self.put_table(id, table)
            }
            Rule::Check(expression) => {
                let named: Vec<_> = table.columns.iter().map(|column| &column.name).collect();
                let used: Vec<_> = named.into_iter().filter(|column| expression.mentions(column)).collect();
                // As PostgreSQL: the column is part of the name if it is the only one.
                let used = if used.len() == 1 { used } else { Vec::new() };
                let name = name.unwrap_or_else(|| table.free_name(&relation, used.into_iter(), "check"));
                let mut table = table;
                table.checks.push(Check { name, expression: expression.clone() });
                self.check_named(&table)?;
                self.put_table(id, table)
            }
            Rule::ForeignKey(new) => {
                let key = self.foreign_key(id, &relation, &table, name, new)?;
                let mut table = table;
                table.foreign_keys.push(key);
                self.put_table(id, table)
            }
        }
    }

    /// In place of a hidden key, which goes, unless something else uses its column.
    fn add_primary_key(
        &mut self,
        id: ObjectId,
        relation: &Name,
        mut table: Table,
        name: Option<Name>,
        columns: &[Name],
    ) -> Result<(), Refusal> {
        let hidden = match *table.primary_key.as_slice() {
            [at] if table.columns.get(usize::from(at)).is_some_and(|column| column.hidden) => at,
            _ => return Err(refusal::two_primary_keys(relation)),
        };
        let positions = positions(&table, columns)?;
        for at in &positions {
            table.columns[usize::from(*at)].nullable = false;
        }
        let is_used = positions.contains(&hidden) || self.uses_column(id, &table, hidden);
        table.primary_key = positions;
        if let Some(name) = name {
            table.key_name = name;
        }
        self.put_table(id, table)?;
        if is_used { Ok(()) } else { self.remove_column(id, hidden) }
    }

    /// Whether anything but the primary key uses a column.
    fn uses_column(&self, id: ObjectId, table: &Table, at: u16) -> bool {
        let Some(column) = table.columns.get(usize::from(at)) else { return false };
        let target = |key: &ForeignKey| key.target == id && key.target_columns.contains(&at);
        let referred = self
            .state
            .children_by_key(id)
            .into_iter()
            .any(|child| self.table(child).is_ok_and(|(_, table)| table.foreign_keys.iter().any(target)));
        // A star does not show a hidden column, but better one column too many than a view that cannot be read.
        referred
            || self.state.reader_of_column(id, &column.name).is_some()
            || table.expressions().any(|expression| expression.mentions(&column.name))
            || table.unique.iter().any(|unique| unique.columns.contains(&at))
            || table.foreign_keys.iter().any(|key| key.columns.contains(&at))
            || table.indexes.iter().any(|index| index.keys.iter().any(|key| key.column() == Some(at)))
    }

    /// Needs CREATE on the target, as v22.2 does.
    fn foreign_key(
        &self,
        id: ObjectId,
        relation: &Name,
        table: &Table,
        name: Option<Name>,
        new: &NewForeignKey,
    ) -> Result<ForeignKey, Refusal> {
        let is_table = |body: &Body| matches!(body, Body::Table(_) | Body::VirtualTable);
        let target = self.state.resolve_relation_that(self.context, &new.target, "table", is_table)?;
        self.require_usage(target)?;
        self.require(target, Privilege::Create)?;
        if self.state.database_of(target) != self.state.database_of(id) {
            return Err(refusal::foreign_key_across_databases());
        }
        let columns = positions(table, &new.columns)?;
        let (_, referred) = self.table(target)?;
        let target_columns = match new.target_columns.as_slice() {
            [] => referred.primary_key.clone(),
            named => positions(&referred, named)?,
        };
        let name = name.unwrap_or_else(|| table.free_name(relation, new.columns.iter(), "fkey"));
        let (on_delete, on_update) = (new.on_delete, new.on_update);
        let key = ForeignKey { name, columns, target, target_columns, on_delete, on_update };
        self.state.check_foreign_key(table, &key)?;
        Ok(key)
    }

    pub(super) fn drop_constraint(
        &mut self,
        id: ObjectId,
        constraint: &Name,
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<(), Refusal> {
        let (relation, mut table) = self.table(id)?;
        if table.key_name == *constraint {
            return Err(refusal::primary_key_stays());
        }
        let before = table.unique.len() + table.checks.len() + table.foreign_keys.len();
        table.unique.retain(|there| there.name != *constraint);
        table.checks.retain(|there| there.name != *constraint);
        table.foreign_keys.retain(|there| there.name != *constraint);
        if table.unique.len() + table.checks.len() + table.foreign_keys.len() == before {
            return self.taken(refusal::no_such_constraint(constraint, &relation), if_exists);
        }
        self.put_table(id, table)?;
        self.settle_foreign_keys(id, constraint, behavior == DropBehavior::Cascade)
    }

    /// An index that is no constraint is not found.
    pub(super) fn rename_constraint(
        &mut self,
        id: ObjectId,
        constraint: &Name,
        to: &Name,
    ) -> Result<(), Refusal> {
        let (relation, mut table) = self.table(id)?;
        let is_index = table.indexes.iter().any(|index| index.name == *constraint);
        if is_index || !table.names().any(|name| name == constraint) {
            return Err(refusal::no_such_constraint(constraint, &relation));
        }
        self.rename_in(id, &mut table, constraint, to, refusal::duplicate_constraint)
    }

    /// Gives whatever of the table has the name another one.
    pub(super) fn rename_in(
        &mut self,
        id: ObjectId,
        table: &mut Table,
        from: &Name,
        to: &Name,
        taken: impl Fn(&Name) -> Refusal,
    ) -> Result<(), Refusal> {
        if from == to {
            return Ok(());
        }
        check_name(to, ObjectKind::Table)?;
        if table.names().any(|name| name == to) {
            return Err(taken(to));
        }
        for name in table.names_mut().filter(|name| *name == from) {
            name.clone_from(to);
        }
        self.put_table(id, table.clone())
    }
}

/// Where the columns are.
pub(super) fn positions(table: &Table, columns: &[Name]) -> Result<Vec<u16>, Refusal> {
    columns.iter().map(|column| position(table, column)).collect()
}
