//! Columns that count their rows: GENERATED … AS IDENTITY.
//!
//! Such a column has a sequence, which the table owns and which goes with the column. It is made by who acts, like one of
//! CREATE SEQUENCE, and who inserts needs of it what nextval() needs, as in v22.2.

use crate::command::{DropBehavior, NewIdentity, StorageChange};
use crate::id::ObjectId;
use crate::name::Name;
use crate::object::{Body, ColumnType, Identity, Sequence, shortened};
use crate::refusal::{self, Refusal};
use crate::state::columns::position;
use crate::state::{State, Work, sequences};

impl Work<'_> {
    /// Needs CREATE on the schema, in which the sequence comes: `table_column_seq`, with a number when that is taken.
    pub(super) fn add_identity(&mut self, id: ObjectId, new: &NewIdentity) -> Result<(), Refusal> {
        let (relation, mut table) = self.table(id)?;
        let at = usize::from(position(&table, &new.column)?);
        let column = &mut table.columns[at];
        if column.identity.is_some() {
            return Err(refusal::already_identity(&column.name, &relation));
        }
        if column.default.is_some() || column.computed.is_some() {
            return Err(refusal::identity_with_default(&column.name));
        }
        check_counts(column.column_type)?;
        let sequence = Sequence { owned_by: Some(id), ..new.sequence.clone() };
        sequences::check(&sequence)?;
        let Some(schema) = self.state.object(id).map(|object| object.parent) else {
            return Err(refusal::object_gone(id));
        };
        self.require_creating_in(schema)?;
        let name = self.state.free_sequence_name(schema, &relation, &new.column);
        let sequence = self.put_new(schema, name, Body::Sequence(sequence))?;
        self.done.storage.push(StorageChange::Create(sequence));
        column.identity = Some(Identity { always: new.always, sequence });
        self.put_table(id, table)
    }

    pub(super) fn drop_identity(
        &mut self,
        id: ObjectId,
        column: &Name,
        if_exists: bool,
    ) -> Result<(), Refusal> {
        let (relation, table) = self.table(id)?;
        let at = usize::from(position(&table, column)?);
        if table.columns[at].identity.is_none() {
            return self.taken(refusal::not_identity(column, &relation), if_exists);
        }
        self.forget_identity(id, column, DropBehavior::Restrict)
    }

    /// Drops the sequence of a column, if it has one. What else names the sequence is in the way, or goes with CASCADE.
    pub(super) fn forget_identity(
        &mut self,
        id: ObjectId,
        column: &Name,
        behavior: DropBehavior,
    ) -> Result<(), Refusal> {
        let (_, mut table) = self.table(id)?;
        let at = usize::from(position(&table, column)?);
        let Some(Identity { sequence, .. }) = table.columns[at].identity.take() else { return Ok(()) };
        self.put_table(id, table)?;
        self.drop_one(sequence, behavior)
    }
}

impl State {
    /// Whether a sequence is that of an identity column.
    pub(super) fn counts_a_column(&self, sequence: ObjectId) -> bool {
        self.referrers(sequence).any(|(_, object)| match &object.body {
            Body::Table(table) => {
                let mut identities = table.columns.iter().filter_map(|column| column.identity);
                identities.any(|identity| identity.sequence == sequence)
            }
            _ => false,
        })
    }

    fn free_sequence_name(&self, schema: ObjectId, table: &Name, column: &Name) -> Name {
        let begin = format!("{table}_{column}");
        // There are more numbers than relations.
        (0..=usize::MAX)
            .map(|number| shortened(&begin, "seq", number))
            .find(|name| self.relation_in(schema, name).is_none())
            .unwrap_or_else(|| table.clone())
    }
}

/// That values of this type can be counted.
pub(super) fn check_counts(column_type: ColumnType) -> Result<(), Refusal> {
    match column_type {
        ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => Ok(()),
        _ => Err(refusal::identity_of_other_type()),
    }
}
