//! CREATE VIEW. Source: authorization spec, A.5.3.

use crate::command::{LIST_MAX, ObjectName};
use crate::id::ObjectId;
use crate::object::{Body, COLUMNS_MAX, Object, TEXT_BYTES_MAX, View};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{self, Refusal};
use crate::state::objects::{Wanted, check_name};
use crate::state::table::check_column_names;
use crate::state::{State, Work};

impl Work<'_> {
    /// What the query reads is checked before the name, as in the original, which plans the query first.
    pub(super) fn create_view(
        &mut self,
        name: &ObjectName,
        view: &View,
        if_not_exists: bool,
        or_replace: bool,
    ) -> Result<(), Refusal> {
        let (schema, name) = self.new_place(name)?;
        check(view)?;
        let body = Body::View(view.clone());
        self.require_references(&body)?;
        let there = self.state.relation_in(schema, &name).filter(|_| or_replace);
        if let Some(id) = there.filter(|id| self.state.kind(*id) != Some(ObjectKind::Type)) {
            return self.replace_view(id, view);
        }
        if !self.is_free(schema, &name, Wanted::Relation, if_not_exists)? {
            return Ok(());
        }
        check_name(&name, ObjectKind::Table)?;
        self.put_new(schema, name, body)?;
        Ok(())
    }

    /// Needs DROP on the view that there is. Its columns stay, more may follow: others may use them.
    fn replace_view(&mut self, id: ObjectId, view: &View) -> Result<(), Refusal> {
        self.require(id, Privilege::Drop)?;
        let Some(object) = self.state.object(id) else { return Err(refusal::object_gone(id)) };
        let Body::View(before) = &object.body else {
            return Err(refusal::wrong_object_kind(&object.name, "view"));
        };
        if view.columns.len() < before.columns.len() {
            return Err(refusal::view_loses_columns());
        }
        for (old, new) in before.columns.iter().zip(&view.columns) {
            if old.name != new.name {
                return Err(refusal::view_column_renamed(&old.name, &new.name));
            }
            if old.column_type != new.column_type {
                let (was, is) =
                    (self.state.type_text(old.column_type), self.state.type_text(new.column_type));
                return Err(refusal::view_column_retyped(&old.name, &was, &is));
            }
        }
        if self.state.reaches(&view.references, id) {
            return Err(refusal::circular("view", &self.state.full_name(object)));
        }
        self.put_object(id, Object { body: Body::View(view.clone()), ..object.clone() });
        Ok(())
    }
}

/// That `view` keeps what [`View`] promises, and is within bounds.
pub(super) fn check(view: &View) -> Result<(), Refusal> {
    if view.columns.is_empty() {
        return Err(refusal::no_columns());
    }
    if view.columns.len() > COLUMNS_MAX {
        return Err(refusal::too_many_columns(view.columns.len(), COLUMNS_MAX));
    }
    check_column_names(view.columns.iter().map(|column| &column.name))?;
    check_query(&view.query, &view.references)
}

/// The bounds of a query or body, and of what it names.
pub(super) fn check_query(text: &str, references: &[ObjectId]) -> Result<(), Refusal> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(refusal::text_too_long("query", text.len(), TEXT_BYTES_MAX));
    }
    if references.len() > LIST_MAX {
        return Err(refusal::too_many("things are named", references.len(), LIST_MAX));
    }
    Ok(())
}

impl State {
    /// A type as signatures and refusals write it: an enum type by its schema and name.
    pub fn type_text(&self, column_type: crate::object::ColumnType) -> String {
        let object = column_type.enum_type().and_then(|id| self.object(id));
        let schema = object.and_then(|object| self.object(object.parent));
        match (object, schema) {
            (Some(object), Some(schema)) => format!("{}.{}", schema.name, object.name),
            (Some(_) | None, Some(_) | None) => column_type.to_string(),
        }
    }
}
