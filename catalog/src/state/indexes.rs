//! CREATE, DROP and ALTER INDEX, and COMMENT ON INDEX. Source: authorization spec, A.5.3: CREATE on the table.
//!
//! Constraints have indexes too, under their own names: those can be renamed, but not dropped or commented on as indexes.

use std::sync::Arc;

use crate::command::{DropBehavior, IndexName, NewIndexKey, ObjectName};
use crate::id::ObjectId;
use crate::name::Name;
use crate::object::{Body, Expression, Index, IndexKey, KeyPart, Object, TEXT_BYTES_MAX, Table};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{self, Refusal};
use crate::state::Work;
use crate::state::columns::position;
use crate::state::objects::check_name;

/// What a CREATE INDEX says of the index.
pub(super) struct NewIndex<'c> {
    pub(super) name: Option<&'c Name>,
    pub(super) keys: &'c [NewIndexKey],
    pub(super) unique: bool,
    pub(super) predicate: Option<&'c Expression>,
}

impl Work<'_> {
    pub(super) fn create_index(
        &mut self,
        table: &ObjectName,
        new: &NewIndex<'_>,
        if_not_exists: bool,
    ) -> Result<(), Refusal> {
        let is_table = |body: &Body| matches!(body, Body::Table(_) | Body::VirtualTable);
        let id = self.state.resolve_relation_that(self.context, table, "table", is_table)?;
        self.require_usage(id)?;
        self.require(id, Privilege::Create)?;
        let (relation, mut table) = self.table(id)?;
        if let Some(name) = new.name {
            check_name(name, ObjectKind::Table)?;
            if table.names().any(|there| there == name) {
                return self.taken(refusal::index_exists(name), if_not_exists);
            }
        }
        let key = |new: &NewIndexKey| {
            let NewIndexKey { part, descending } = new;
            let part = match part {
                KeyPart::Column(column) => KeyPart::Column(position(&table, column)?),
                KeyPart::Expression(expression) => KeyPart::Expression(expression.clone()),
            };
            Ok(IndexKey { part, descending: *descending })
        };
        let keys = new.keys.iter().map(key).collect::<Result<Vec<_>, Refusal>>()?;
        let unnamed = Name::from("expr");
        let words = new.keys.iter().map(|key| match &key.part {
            KeyPart::Column(column) => column,
            KeyPart::Expression(_) => &unnamed,
        });
        let name = new.name.cloned().unwrap_or_else(|| table.free_name(&relation, words, "idx"));
        let predicate = new.predicate.cloned();
        table.indexes.push(Index { name, keys, unique: new.unique, predicate, comment: None });
        self.check_named(&table)?;
        self.put_table(id, table)
    }

    pub(super) fn drop_indexes(
        &mut self,
        names: &[IndexName],
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<(), Refusal> {
        self.check_list(names.len())?;
        let cascade = behavior == DropBehavior::Cascade;
        for written in names {
            let Some((id, name, mut table)) = self.index_to_change(written, if_exists)? else { continue };
            if table.key_name == name {
                return Err(refusal::primary_index_stays());
            }
            if table.unique.iter().any(|unique| unique.name == name) && !cascade {
                return Err(refusal::index_is_constraint(&name));
            }
            table.unique.retain(|unique| unique.name != name);
            table.indexes.retain(|index| index.name != name);
            self.put_table(id, table)?;
            self.settle_foreign_keys(id, &name, cascade)?;
        }
        Ok(())
    }

    pub(super) fn rename_index(
        &mut self,
        written: &IndexName,
        if_exists: bool,
        to: &Name,
    ) -> Result<(), Refusal> {
        let Some((id, name, mut table)) = self.index_to_change(written, if_exists)? else { return Ok(()) };
        self.rename_in(id, &mut table, &name, to, refusal::index_exists)
    }

    pub(super) fn comment_on_index(
        &mut self,
        written: &IndexName,
        text: Option<&str>,
    ) -> Result<(), Refusal> {
        let Some((id, name, mut table)) = self.index_to_change(written, false)? else { return Ok(()) };
        let bytes = text.map_or(0, str::len);
        if bytes > TEXT_BYTES_MAX {
            return Err(refusal::text_too_long("comment", bytes, TEXT_BYTES_MAX));
        }
        let index = table.indexes.iter_mut().find(|index| index.name == name);
        index.ok_or_else(|| refusal::comment_on_constraint(&name))?.comment = text.map(str::to_owned);
        let Some(object) = self.state.object(id).cloned() else { return Err(refusal::object_gone(id)) };
        self.put_object(id, Object { body: Body::Table(Arc::new(table)), ..object });
        Ok(())
    }

    /// The index that a statement names, which who acts may change. None: there is none, and IF EXISTS.
    fn index_to_change(
        &self,
        written: &IndexName,
        if_exists: bool,
    ) -> Result<Option<(ObjectId, Name, Table)>, Refusal> {
        let found = match &written.table {
            Some(table) => {
                let is_table = |body: &Body| matches!(body, Body::Table(_) | Body::VirtualTable);
                self.state.resolve_relation_that(self.context, table, "table", is_table)
            }
            None => self.state.resolve_index(self.context, &written.index),
        };
        let Some(id) = self.found(found, if_exists)? else { return Ok(None) };
        self.require_usage(id)?;
        self.require(id, Privilege::Create)?;
        let (_, table) = self.table(id)?;
        let Some(name) = written.index.parts.last().filter(|name| has_index(&table, name)) else {
            return if if_exists { Ok(None) } else { Err(refusal::no_such_index(&written.index)) };
        };
        Ok(Some((id, name.clone(), table)))
    }
}

/// Whether a table has an index of this name, be it that of a constraint.
pub(super) fn has_index(table: &Table, name: &Name) -> bool {
    table.key_name == *name
        || table.unique.iter().any(|unique| unique.name == *name)
        || table.indexes.iter().any(|index| index.name == *name)
}

/// Whether an object is a table that has an index of this name.
pub(super) fn is_indexed_by(object: &Object, name: &Name) -> bool {
    matches!(&object.body, Body::Table(table) if has_index(table, name))
}
