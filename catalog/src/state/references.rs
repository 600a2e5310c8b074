//! What an object may refer to, and what the one who makes it needs for that. Source: authorization spec, A.5.3.

use std::collections::BTreeSet;

use crate::id::ObjectId;
use crate::object::{Body, ColumnType, Object, Sequence};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{self, Refusal};
use crate::state::{State, Work};

impl State {
    /// That all that `body` refers to is there and may stand where it stands (C13): types of columns are types, what a
    /// query or a default names can be named in one, and a sequence goes with a table.
    pub(crate) fn check_references(&self, body: &Body) -> Result<(), Refusal> {
        let fits = |id: ObjectId, fits: &dyn Fn(&Object) -> bool| match self.object(id) {
            Some(object) if fits(object) => Ok(()),
            Some(object) => Err(refusal::misplaced_reference(&object.name)),
            None => Err(refusal::object_gone(id)),
        };
        for id in types_of(body) {
            fits(id, &|object| object.kind() == ObjectKind::Type)?;
        }
        for id in named_by(body) {
            fits(id, &|object| object.container() == ObjectKind::Schema)?;
        }
        if let Body::Table(table) = body {
            for identity in table.columns.iter().filter_map(|column| column.identity) {
                fits(identity.sequence, &|object| matches!(object.body, Body::Sequence(_)))?;
            }
            for key in &table.foreign_keys {
                fits(key.target, &|object| matches!(object.body, Body::Table(_)))?;
            }
        }
        if let Body::Sequence(Sequence { owned_by: Some(table), .. }) = body {
            fits(*table, &|object| matches!(object.body, Body::Table(_)))?;
        }
        Ok(())
    }

    /// Whether one of `from` is `to`, or refers to it through others.
    pub(super) fn reaches(&self, from: &[ObjectId], to: ObjectId) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = from.to_vec();
        while let Some(at) = open.pop() {
            if at == to {
                return true;
            }
            if seen.insert(at) {
                open.extend(self.object(at).map(Object::references).unwrap_or_default());
            }
        }
        false
    }
}

impl Work<'_> {
    /// What the one who makes `body` needs of what is in it: USAGE on the schema of each thing; SELECT on a relation
    /// that a query reads, EXECUTE on a function that it calls; USAGE on the types of columns and arguments, but not of
    /// a view's columns, whose types are its query's. Of a sequence that a function uses one of SELECT, USAGE and UPDATE
    /// will do: which of them the body needs its planner knows, and requires, now and at each call.
    ///
    /// What defaults and checks of a table use is for those to hold who insert.
    pub(super) fn require_references(&self, body: &Body) -> Result<(), Refusal> {
        self.state.check_references(body)?;
        let of_view = matches!(body, Body::View(_));
        let is_query = matches!(body, Body::View(_) | Body::Function(_));
        for id in named_by(body).into_iter().filter(|_| is_query) {
            self.require_usage(id)?;
            match self.state.kind(id) {
                // A view moves no sequence: it can only read one.
                Some(ObjectKind::Sequence) if of_view => self.require(id, Privilege::Select)?,
                _ => self.require_reading(id)?,
            }
        }
        types_of(body).into_iter().filter(|_| !of_view).try_for_each(|id| self.require_type(id))
    }

    /// What the one who makes a column or argument of an enum type needs.
    pub(super) fn require_type(&self, id: ObjectId) -> Result<(), Refusal> {
        self.require_usage(id)?;
        self.require(id, Privilege::Usage)
    }

    fn require_reading(&self, id: ObjectId) -> Result<(), Refusal> {
        match self.state.kind(id) {
            Some(ObjectKind::Function) => self.require(id, Privilege::Execute),
            Some(ObjectKind::Type) => self.require(id, Privilege::Usage),
            Some(ObjectKind::Sequence) => {
                let caller = self.actor.current;
                let counts = [Privilege::Usage, Privilege::Update];
                match counts.iter().any(|privilege| self.state.index.holds(caller, id, *privilege)) {
                    true => Ok(()),
                    false => self.require(id, Privilege::Select),
                }
            }
            _ => self.require(id, Privilege::Select),
        }
    }
}

/// The enum types of columns, arguments and results, in order, each once.
fn types_of(body: &Body) -> Vec<ObjectId> {
    let types: Vec<ColumnType> = match body {
        Body::Table(table) => table.columns.iter().map(|column| column.column_type).collect(),
        Body::View(view) => view.columns.iter().map(|column| column.column_type).collect(),
        Body::Function(function) => function.argument_types().chain([function.returns]).collect(),
        Body::Database
        | Body::Schema
        | Body::Sequence(_)
        | Body::Type(_)
        | Body::ExternalConnection(_)
        | Body::VirtualTable
        | Body::IamRole => Vec::new(),
    };
    let mut seen = BTreeSet::new();
    types.into_iter().filter_map(ColumnType::enum_type).filter(|id| seen.insert(*id)).collect()
}

/// What a query, or the expressions of a table, name.
pub(super) fn named_by(body: &Body) -> Vec<ObjectId> {
    match body {
        Body::Table(table) => table.named().collect(),
        Body::View(view) => view.references.clone(),
        Body::Function(function) => function.references.clone(),
        Body::Database
        | Body::Schema
        | Body::Sequence(_)
        | Body::Type(_)
        | Body::ExternalConnection(_)
        | Body::VirtualTable
        | Body::IamRole => Vec::new(),
    }
}
