//! CREATE and ALTER SEQUENCE. Source: authorization spec, A.5.3.
//!
//! Where a sequence stands is a row of the row store; that is not known here.

use crate::command::{ObjectName, SequenceOptions, StorageChange};
use crate::id::ObjectId;
use crate::object::{Body, Object, Sequence};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{self, Refusal};
use crate::state::Work;
use crate::state::objects::{Wanted, check_name};

impl Work<'_> {
    pub(super) fn create_sequence(
        &mut self,
        name: &ObjectName,
        sequence: &Sequence,
        owned_by: Option<&ObjectName>,
        if_not_exists: bool,
    ) -> Result<(), Refusal> {
        let (schema, name) = self.new_place(name)?;
        if !self.is_free(schema, &name, Wanted::Relation, if_not_exists)? {
            return Ok(());
        }
        check_name(&name, ObjectKind::Sequence)?;
        let owned_by = owned_by.map(|table| self.owning_table(table)).transpose()?;
        let sequence = Sequence { owned_by, ..sequence.clone() };
        check(&sequence)?;
        let id = self.put_new(schema, name, Body::Sequence(sequence))?;
        self.done.storage.push(StorageChange::Create(id));
        Ok(())
    }

    /// Needs CREATE on the sequence, as v22.2's code asks; its page says the database.
    pub(super) fn alter_sequence(
        &mut self,
        name: &ObjectName,
        if_exists: bool,
        options: &SequenceOptions,
    ) -> Result<(), Refusal> {
        let is_sequence = |body: &Body| matches!(body, Body::Sequence(_));
        let found = self.state.resolve_relation_that(self.context, name, "sequence", is_sequence);
        let Some(id) = self.found(found, if_exists)? else { return Ok(()) };
        self.require_usage(id)?;
        let Some(object) = self.state.object(id) else { return Err(refusal::object_gone(id)) };
        let Body::Sequence(before) = &object.body else {
            return Err(refusal::wrong_object_kind(&object.name, "sequence"));
        };
        self.require(id, Privilege::Create)?;
        let increment = options.increment.unwrap_or(before.increment);
        let (least, greatest) = if increment < 0 { (i64::MIN, -1) } else { (1, i64::MAX) };
        if options.owned_by.is_some() && self.state.counts_a_column(id) {
            return Err(refusal::identity_sequence_stays(&object.name));
        }
        let owned_by = match &options.owned_by {
            None => before.owned_by,
            Some(None) => None,
            Some(Some(table)) => Some(self.owning_table(table)?),
        };
        let sequence = Sequence {
            start: options.start.unwrap_or(before.start),
            increment,
            min: options.min.map_or(before.min, |min| min.unwrap_or(least)),
            max: options.max.map_or(before.max, |max| max.unwrap_or(greatest)),
            owned_by,
        };
        check(&sequence)?;
        self.put_object(id, Object { body: Body::Sequence(sequence), ..object.clone() });
        Ok(())
    }

    /// The table that a sequence is to go with. Needs CREATE on it, as all that changes a table: whoever may drop the
    /// table needs DROP on the sequence from then on.
    fn owning_table(&self, name: &ObjectName) -> Result<ObjectId, Refusal> {
        let is_table = |body: &Body| matches!(body, Body::Table(_));
        let table = self.state.resolve_relation_that(self.context, name, "table", is_table)?;
        self.require_usage(table)?;
        self.require(table, Privilege::Create)?;
        Ok(table)
    }
}

/// That `sequence` keeps what [`Sequence`] promises.
pub(super) fn check(sequence: &Sequence) -> Result<(), Refusal> {
    let Sequence { start, increment, min, max, owned_by: _ } = *sequence;
    if increment == 0 {
        return Err(refusal::increment_zero());
    }
    if min > max {
        return Err(refusal::sequence_bounds(min, max));
    }
    if start > max {
        return Err(refusal::start_above(start, max));
    }
    if start < min {
        return Err(refusal::start_below(start, min));
    }
    Ok(())
}
