//! What a GRANT, REVOKE or SHOW GRANTS is on. Source: authorization spec, E.2.

use crate::command::{NameContext, SchemaName, TablePattern, Targets};
use crate::id::ObjectId;
use crate::object::{Body, Object};
use crate::privilege::ObjectKind;
use crate::refusal::{self, Refusal};
use crate::state::{State, Work};

impl Work<'_> {
    /// [`State::resolve_targets`], for lists within bounds; what is named, not meant by a pattern, needs USAGE on its
    /// schema.
    pub(super) fn resolve_targets(&self, on: &Targets) -> Result<Vec<ObjectId>, Refusal> {
        self.check_list(match on {
            Targets::Databases(names) | Targets::ExternalConnections(names) | Targets::IamRoles(names) => {
                names.len()
            }
            Targets::Schemas(names)
            | Targets::AllTablesInSchemas(names)
            | Targets::AllSequencesInSchemas(names)
            | Targets::AllFunctionsInSchemas(names) => names.len(),
            Targets::Tables(patterns) | Targets::Sequences(patterns) => patterns.len(),
            Targets::Types(names) => names.len(),
            Targets::Functions(names) => names.len(),
            Targets::System => 0,
        })?;
        let found = self.state.resolve_targets(self.context, on)?;
        match on {
            Targets::Tables(patterns) | Targets::Sequences(patterns) if patterns.iter().any(is_star) => {
                for pattern in patterns {
                    if let TablePattern::Table(name) = pattern {
                        self.require_usage(self.state.resolve_relation(self.context, name)?)?;
                    }
                }
            }
            // What was found is what was named, in the same order.
            Targets::Tables(_) | Targets::Sequences(_) | Targets::Types(_) | Targets::Functions(_) => {
                found.iter().try_for_each(|id| self.require_usage(*id))?;
            }
            Targets::Databases(_)
            | Targets::Schemas(_)
            | Targets::AllTablesInSchemas(_)
            | Targets::System
            | Targets::AllSequencesInSchemas(_)
            | Targets::AllFunctionsInSchemas(_)
            | Targets::ExternalConnections(_)
            | Targets::IamRoles(_) => {}
        }
        Ok(found)
    }
}

impl State {
    /// The objects that a GRANT, REVOKE or SHOW GRANTS is on, in the order written, each once. The cluster is none.
    ///
    /// ALL TABLES are tables, views and sequences. A pattern that stands for nothing is refused; a schema without such
    /// objects is not.
    pub fn resolve_targets(&self, context: &NameContext, on: &Targets) -> Result<Vec<ObjectId>, Refusal> {
        let found: Result<Vec<_>, _> = match on {
            Targets::Databases(names) => names.iter().map(|name| self.resolve_database(name)).collect(),
            Targets::Schemas(names) => names.iter().map(|name| self.resolve_schema(context, name)).collect(),
            Targets::Tables(patterns) => self.resolve_patterns(context, patterns, "table", |_| true),
            Targets::Sequences(patterns) => {
                let is_sequence = |body: &Body| matches!(body, Body::Sequence(_));
                self.resolve_patterns(context, patterns, "sequence", is_sequence)
            }
            Targets::AllTablesInSchemas(names) => self.all_in(context, names, is_relation),
            Targets::AllSequencesInSchemas(names) => {
                self.all_in(context, names, |object| object.kind() == ObjectKind::Sequence)
            }
            Targets::AllFunctionsInSchemas(names) => {
                self.all_in(context, names, |object| object.kind() == ObjectKind::Function)
            }
            Targets::Types(names) => names.iter().map(|name| self.resolve_type(context, name)).collect(),
            Targets::Functions(names) => {
                names.iter().map(|name| self.resolve_function(context, name)).collect()
            }
            Targets::ExternalConnections(names) => {
                names.iter().map(|name| self.resolve_external_connection(name)).collect()
            }
            Targets::IamRoles(names) => names.iter().map(|name| self.resolve_iam_role(name)).collect(),
            Targets::System => Ok(Vec::new()),
        };
        Ok(each_once(found?))
    }

    fn resolve_patterns(
        &self,
        context: &NameContext,
        patterns: &[TablePattern],
        word: &str,
        is_such: impl Fn(&Body) -> bool + Copy,
    ) -> Result<Vec<ObjectId>, Refusal> {
        let mut found = Vec::new();
        for pattern in patterns {
            match pattern {
                TablePattern::Table(name) => {
                    found.push(self.resolve_relation_that(context, name, word, is_such)?);
                }
                TablePattern::All(qualifiers) => {
                    let before = found.len();
                    let schema = self.resolve_star(context, qualifiers)?;
                    let children = self.children(schema);
                    let such = children.filter(|(_, object)| is_relation(object) && is_such(&object.body));
                    found.extend(such.map(|(id, _)| id));
                    if found.len() == before {
                        return Err(refusal::nothing_matched());
                    }
                }
            }
        }
        Ok(found)
    }

    fn all_in(
        &self,
        context: &NameContext,
        schemas: &[SchemaName],
        is_such: impl Fn(&Object) -> bool + Copy,
    ) -> Result<Vec<ObjectId>, Refusal> {
        let mut found = Vec::new();
        for name in schemas {
            let children = self.children(self.resolve_schema(context, name)?);
            found.extend(children.filter(|(_, object)| is_such(object)).map(|(id, _)| id));
        }
        Ok(found)
    }

    /// Whose privileges may be listed for what ON [TABLE] named: a table's if there is any table or view, a sequence's
    /// if there are only sequences, a virtual table's if there are only those. Tables of `system` are tables here.
    pub(super) fn class_of_relations(&self, found: &[ObjectId]) -> Result<ObjectKind, Refusal> {
        let is_virtual = |id: &ObjectId| {
            id.is_virtual() && self.object(*id).is_some_and(|object| object.parent.is_virtual())
        };
        let computed = found.iter().filter(|id| is_virtual(id)).count();
        if computed > 0 && computed < found.len() {
            return Err(refusal::mixed_virtual());
        }
        if computed > 0 {
            return Ok(ObjectKind::VirtualTable);
        }
        let all_sequences = found.iter().all(|id| self.kind(*id) == Some(ObjectKind::Sequence));
        Ok(if all_sequences { ObjectKind::Sequence } else { ObjectKind::Table })
    }
}

/// The same without what stood there before. A sort rather than a set: all tables of a schema are many, and most often
/// sorted already.
fn each_once(ids: Vec<ObjectId>) -> Vec<ObjectId> {
    let mut placed: Vec<_> = ids.into_iter().enumerate().map(|(place, id)| (id, place)).collect();
    placed.sort_unstable();
    placed.dedup_by_key(|(id, _)| *id);
    placed.sort_unstable_by_key(|(_, place)| *place);
    placed.into_iter().map(|(id, _)| id).collect()
}

/// Whether it stands for all relations of a schema.
const fn is_star(pattern: &TablePattern) -> bool {
    matches!(pattern, TablePattern::All(_))
}

/// Whether it is a table of any sort, a view or a sequence.
fn is_relation(object: &Object) -> bool {
    matches!(object.kind(), ObjectKind::Table | ObjectKind::Sequence | ObjectKind::VirtualTable)
}
