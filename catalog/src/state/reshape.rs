//! A table gets another shape: what all statements that change one share.
//!
//! Positions are true after every step (C14): a column is taken away only when nothing uses it any more, and one function
//! moves the positions behind it, in its own table and in the foreign keys of others. Names in the texts of expressions
//! are not the catalog's to write: who renames a column sends the new texts.

use std::sync::Arc;

use crate::command::{ColumnSource, StorageChange};
use crate::id::ObjectId;
use crate::name::Name;
use crate::object::{Body, IndexKey, KeyPart, Object, Table};
use crate::refusal::{self, Refusal};
use crate::state::table::{check, is_key};
use crate::state::{State, Work};

/// What a statement has done to one table so far.
pub(super) struct Reshaped {
    /// What it was.
    before: Table,
    /// Where the columns that it has now come from.
    sources: Vec<ColumnSource>,
}

/// Each column from itself.
pub(super) fn kept(table: &Table) -> Vec<ColumnSource> {
    (0..).take(table.columns.len()).map(ColumnSource::Kept).collect()
}

impl Work<'_> {
    /// A copy of a table, and its name.
    pub(super) fn table(&self, id: ObjectId) -> Result<(Name, Table), Refusal> {
        match self.state.object(id) {
            Some(Object { name, body: Body::Table(table), .. }) => Ok((name.clone(), table.as_ref().clone())),
            Some(object) => Err(refusal::wrong_object_kind(&object.name, "table")),
            None => Err(refusal::object_gone(id)),
        }
    }

    /// Gives a table another shape, with the same columns at the same positions.
    pub(super) fn put_table(&mut self, id: ObjectId, table: Table) -> Result<(), Refusal> {
        let sources = kept(&table);
        self.reshape(id, table, sources)
    }

    /// Gives a table another shape; `sources` are positions of the present one.
    pub(super) fn reshape(
        &mut self,
        id: ObjectId,
        table: Table,
        sources: Vec<ColumnSource>,
    ) -> Result<(), Refusal> {
        check(&table)?;
        let (_, present) = self.table(id)?;
        let Some(object) = self.state.object(id).cloned() else { return Err(refusal::object_gone(id)) };
        let before = self
            .reshaped
            .remove(&id)
            .unwrap_or_else(|| Reshaped { sources: kept(&present), before: present });
        let mut composed = Vec::with_capacity(sources.len());
        for source in sources {
            composed.push(match source {
                ColumnSource::Kept(at) => {
                    before.sources.get(usize::from(at)).cloned().ok_or_else(refusal::malformed_key)?
                }
                ColumnSource::Value(text) => ColumnSource::Value(text),
            });
        }
        self.reshaped.insert(id, Reshaped { sources: composed, ..before });
        self.put_object(id, Object { body: Body::Table(Arc::new(table)), ..object });
        Ok(())
    }

    /// Whether the statement has left the columns of a table as they were, but for their values and what else is said of
    /// them.
    pub(super) fn has_its_columns(&self, id: ObjectId, table: &Table) -> bool {
        let names =
            |table: &Table| table.columns.iter().map(|column| column.name.clone()).collect::<Vec<_>>();
        self.reshaped.get(&id).is_none_or(|reshaped| names(&reshaped.before) == names(table))
    }

    /// Takes away the foreign keys that refer to what is no key of `id` any more; without `cascade` there must be none.
    /// `what` went.
    pub(super) fn settle_foreign_keys(
        &mut self,
        id: ObjectId,
        what: &Name,
        cascade: bool,
    ) -> Result<(), Refusal> {
        let (_, target) = self.table(id)?;
        for child in self.state.children_by_key(id) {
            let (name, mut table) = self.table(child)?;
            let before = table.foreign_keys.len();
            table.foreign_keys.retain(|key| key.target != id || is_key(&target, &key.target_columns));
            if table.foreign_keys.len() == before {
                continue;
            }
            if !cascade {
                return Err(refusal::referenced_by_foreign_key(what, &name));
            }
            self.put_table(child, table)?;
        }
        Ok(())
    }

    /// Takes the foreign keys of `child` that refer to `target` away.
    pub(super) fn drop_foreign_keys(&mut self, child: ObjectId, target: ObjectId) -> Result<(), Refusal> {
        let (_, mut table) = self.table(child)?;
        table.foreign_keys.retain(|key| key.target != target);
        self.put_table(child, table)
    }

    /// Takes a column away that nothing uses any more, and moves the positions of those behind it.
    pub(super) fn remove_column(&mut self, id: ObjectId, at: u16) -> Result<(), Refusal> {
        let (_, mut table) = self.table(id)?;
        let mut sources = kept(&table);
        sources.remove(usize::from(at));
        table.columns.remove(usize::from(at));
        let move_up = |position: &mut u16| *position -= u16::from(*position > at);
        let own = table
            .primary_key
            .iter_mut()
            .chain(table.unique.iter_mut().flat_map(|unique| &mut unique.columns))
            .chain(table.foreign_keys.iter_mut().flat_map(|key| &mut key.columns))
            .chain(table.indexes.iter_mut().flat_map(|index| &mut index.keys).filter_map(column_of));
        own.for_each(move_up);
        let children = self.state.children_by_key(id);
        self.reshape(id, table, sources)?;
        for child in children {
            let (_, mut table) = self.table(child)?;
            let keys = table.foreign_keys.iter_mut().filter(|key| key.target == id);
            keys.flat_map(|key| &mut key.target_columns).for_each(move_up);
            self.put_table(child, table)?;
        }
        Ok(())
    }

    /// What the row store must do for the tables that have another shape now.
    pub(super) fn reshaped_storage(&mut self) -> Vec<StorageChange> {
        let mut changes = Vec::new();
        for (id, Reshaped { before, sources }) in std::mem::take(&mut self.reshaped) {
            let same = self.table(id).is_ok_and(|(_, table)| table == before && sources == kept(&before));
            if !same {
                changes.push(StorageChange::Alter(id, sources));
            }
        }
        changes
    }
}

impl State {
    /// The tables with a foreign key to `id`, itself included, by id.
    pub(super) fn children_by_key(&self, id: ObjectId) -> Vec<ObjectId> {
        let refers = |object: &Object| match &object.body {
            Body::Table(table) => table.foreign_keys.iter().any(|key| key.target == id),
            _ => false,
        };
        let own = self.object(id).filter(|object| refers(object)).map(|_| id);
        let others = self.referrers(id).filter(|(_, object)| refers(object)).map(|(child, _)| child);
        let mut found: Vec<_> = own.into_iter().chain(others).collect();
        found.sort_unstable();
        found
    }

    /// The first view or function whose text may read a column of the relation `id`: it has the name, or a star or NATURAL,
    /// in which a name can hide.
    pub(super) fn reader_of_column(&self, id: ObjectId, column: &Name) -> Option<(ObjectId, &Object)> {
        self.referrers(id).find(|(_, object)| match &object.body {
            Body::View(view) => view.references.contains(&id) && may_read(&view.query, column),
            Body::Function(function) => function.references.contains(&id) && may_read(&function.body, column),
            _ => false,
        })
    }
}

fn column_of(key: &mut IndexKey) -> Option<&mut u16> {
    match &mut key.part {
        KeyPart::Column(column) => Some(column),
        KeyPart::Expression(_) => None,
    }
}

/// Whether `column`, or what may stand for it, is a word of `text`. Strings count too: better once too often.
fn may_read(text: &str, column: &Name) -> bool {
    let wanted = column.as_str().to_lowercase();
    let text = text.to_lowercase();
    let is_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    let stands_alone = |(at, found): (usize, &str)| {
        let before = text[..at].chars().next_back();
        let after = text[at + found.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    };
    let quoted = wanted.replace('"', "\"\"");
    let star = text.replace("(*)", "").contains('*');
    let hidden = star || text.contains("natural") || text.contains("u&\"");
    hidden || text.match_indices(&wanted).any(stands_alone) || text.contains(&format!("\"{quoted}\""))
}
