//! Columns that count their rows.

use crate::command::{Actor, NewIdentity, StorageChange};
use crate::id::ObjectId;
use crate::name::Name;
use crate::object::{Body, Identity, Sequence};
use crate::refusal::Refusal;
use crate::spec::makes::{check_sequence, exists};
use crate::spec::{Model, Told, say};

use super::family;

impl Model {
    /// Makes the sequence beside the table, and ties both.
    pub(in crate::spec) fn add_identity(
        &mut self,
        actor: Actor,
        id: ObjectId,
        new: &NewIdentity,
    ) -> Result<Told, Refusal> {
        let (mut tables, own) = self.tables_with(id);
        let table = tables[own].name.clone();
        let column = tables[own].column(&new.column)?;
        if column.identity.is_some() {
            return Err(say::identity_twice(new.column.as_str(), table.as_str()));
        }
        if column.default.is_some() || column.computed.is_some() {
            return Err(say::identity_has_default(new.column.as_str()));
        }
        if family(column.column_type) != "int" {
            return Err(say::identity_is_a_number());
        }
        let sequence = Sequence { owned_by: Some(id), ..new.sequence.clone() };
        check_sequence(&sequence)?;
        let schema = self.parent(id);
        self.check_create_in(actor, schema)?;
        let wanted = format!("{table}_{}_seq", new.column);
        let mut name = Name::normalize(&wanted);
        let mut number = 0;
        while self.find_in_schema(schema, &name).is_some() {
            number += 1;
            name = Name::normalize(&format!("{wanted}{number}"));
        }
        let sequence = self.add_in_schema(actor, Body::Sequence(sequence), &name, schema);
        tables[own].column(&new.column)?.identity = Some(Identity { always: new.always, sequence });
        self.settle(&tables, own)?;
        Ok(Told::create(sequence))
    }

    pub(super) fn drop_identity(
        &mut self,
        actor: Actor,
        id: ObjectId,
        column: &Name,
        if_exists: bool,
    ) -> Result<Told, Refusal> {
        let (mut tables, own) = self.tables_with(id);
        let table = tables[own].name.clone();
        if tables[own].column(column)?.identity.is_none() {
            return exists(if_exists, &say::identity_is_missing(column.as_str(), table.as_str()));
        }
        let storage = self.lose_sequence(actor, id, column, false)?;
        Ok(Told { notices: Vec::new(), storage })
    }

    /// Drops the sequence of a column, if it has one.
    pub(super) fn lose_sequence(
        &mut self,
        actor: Actor,
        id: ObjectId,
        column: &Name,
        cascade: bool,
    ) -> Result<Vec<StorageChange>, Refusal> {
        let (mut tables, own) = self.tables_with(id);
        let Some(identity) = tables[own].column(column)?.identity.take() else { return Ok(Vec::new()) };
        self.settle(&tables, own)?;
        Ok(self.drop_with_dependents(actor, vec![identity.sequence], cascade)?.storage)
    }

    /// Whether a column of the table takes its values from the sequence.
    pub(in crate::spec) fn counts_with(&self, table: ObjectId, sequence: ObjectId) -> bool {
        match self.body(table) {
            Some(Body::Table(table)) => table
                .columns
                .iter()
                .any(|column| column.identity.is_some_and(|identity| identity.sequence == sequence)),
            _ => false,
        }
    }
}
