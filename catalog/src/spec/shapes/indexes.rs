//! Indexes.

use crate::command::{Actor, DropBehavior, IndexName, NameContext, NewIndexKey, ObjectName};
use crate::id::ObjectId;
use crate::name::Name;
use crate::object::{Expression, KeyPart};
use crate::privilege::Privilege;
use crate::refusal::Refusal;
use crate::spec::makes::{exists, missing};
use crate::spec::resolve::Sort;
use crate::spec::{Model, Told, say};

use super::keys::drop_lost_keys;
use super::{SketchIndex, rename_part};

impl Model {
    #[expect(clippy::too_many_arguments, reason = "the clauses of the statement")]
    pub(in crate::spec) fn create_index(
        &mut self,
        actor: Actor,
        context: &NameContext,
        name: Option<&Name>,
        if_not_exists: bool,
        on: &ObjectName,
        keys: &[NewIndexKey],
        (unique, predicate): (bool, Option<&Expression>),
    ) -> Result<Told, Refusal> {
        let id = self.relation_for(actor, context, on, "table")?;
        self.check_privilege(actor.current, id, Privilege::Create)?;
        let (before, sources) = (self.clone(), self.untouched());
        let (mut tables, own) = self.tables_with(id);
        let table = &mut tables[own];
        if let Some(name) = name
            && table.taken().contains(name)
        {
            return exists(if_not_exists, &say::index_exists(name.as_str()));
        }
        let mut words = Vec::new();
        for key in keys {
            match &key.part {
                KeyPart::Column(column) => {
                    table.known(std::slice::from_ref(column))?;
                    words.push(column.clone());
                }
                KeyPart::Expression(_) => words.push(Name::normalize("expr")),
            }
        }
        let name = name.cloned().unwrap_or_else(|| table.new_name(&words, "idx"));
        let (keys, predicate) = (keys.to_vec(), predicate.cloned());
        table.indexes.push(SketchIndex { name, keys, unique, predicate, comment: None });
        self.settle(&tables, own)?;
        Ok(Told { notices: Vec::new(), storage: self.altered(&before, &sources) })
    }

    pub(in crate::spec) fn drop_indexes(
        &mut self,
        actor: Actor,
        context: &NameContext,
        names: &[IndexName],
        if_exists: bool,
        behavior: DropBehavior,
    ) -> Result<Told, Refusal> {
        let (before, sources) = (self.clone(), self.untouched());
        let cascade = behavior == DropBehavior::Cascade;
        for written in names {
            let (id, name) = match self.index_for(actor, context, written) {
                Ok(found) => found,
                Err(refusal) => {
                    drop(missing(if_exists, refusal)?);
                    continue;
                }
            };
            let (mut tables, own) = self.tables_with(id);
            let table = &mut tables[own];
            if table.key_name == name {
                return Err(say::primary_index_is_needed());
            }
            if !cascade && table.unique.iter().any(|(known, _)| *known == name) {
                return Err(say::index_of_constraint(name.as_str()));
            }
            table.unique.retain(|(known, _)| *known != name);
            table.indexes.retain(|index| index.name != name);
            drop_lost_keys(&mut tables, own, &name, cascade)?;
            self.settle(&tables, own)?;
        }
        Ok(Told { notices: Vec::new(), storage: self.altered(&before, &sources) })
    }

    pub(in crate::spec) fn rename_index(
        &mut self,
        actor: Actor,
        context: &NameContext,
        written: &IndexName,
        if_exists: bool,
        to: &Name,
    ) -> Result<Told, Refusal> {
        let (before, sources) = (self.clone(), self.untouched());
        let (id, name) = match self.index_for(actor, context, written) {
            Ok(found) => found,
            Err(refusal) => return missing(if_exists, refusal),
        };
        let (mut tables, own) = self.tables_with(id);
        if name != *to && tables[own].taken().contains(to) {
            return Err(say::index_exists(to.as_str()));
        }
        rename_part(&mut tables[own], &name, to);
        self.settle(&tables, own)?;
        Ok(Told { notices: Vec::new(), storage: self.altered(&before, &sources) })
    }

    pub(in crate::spec) fn comment_on_index(
        &mut self,
        actor: Actor,
        context: &NameContext,
        written: &IndexName,
        text: Option<&str>,
    ) -> Result<Told, Refusal> {
        let (id, name) = self.index_for(actor, context, written)?;
        let (mut tables, own) = self.tables_with(id);
        let Some(index) = tables[own].indexes.iter_mut().find(|index| index.name == name) else {
            return Err(say::no_comment_on_constraint(name.as_str()));
        };
        index.comment = text.map(ToOwned::to_owned);
        self.settle(&tables, own)?;
        Ok(Told::default())
    }

    /// The index that is meant, which `actor` may change, and its table.
    pub(super) fn index_for(
        &self,
        actor: Actor,
        context: &NameContext,
        written: &IndexName,
    ) -> Result<(ObjectId, Name), Refusal> {
        let tables = self.sketches();
        let unknown = say::no_index(&written.index.to_string());
        let [prefix @ .., last] = written.index.parts.as_slice() else { return Err(unknown) };
        let has = |id: ObjectId| {
            let own = tables.iter().find(|table| table.id == id);
            own.is_some_and(|table| {
                table.key_name == *last
                    || table.unique.iter().any(|(name, _)| name == last)
                    || table.indexes.iter().any(|index| index.name == *last)
            })
        };
        let id = match &written.table {
            Some(table) => self.named(context, table, Sort::Relation)?,
            None => {
                let mut found = Vec::new();
                for schema in self.schemas_to_search(context, prefix, &unknown)? {
                    found = self.relations_of(schema).into_iter().filter(|id| has(*id)).collect();
                    if !found.is_empty() {
                        break;
                    }
                }
                match found.as_slice() {
                    [] => return Err(unknown),
                    [one] => *one,
                    _ => return Err(say::index_in_several(&written.index.to_string())),
                }
            }
        };
        self.check_relation_is(id, "table")?;
        self.check_privilege(actor.current, self.parent(id), Privilege::Usage)?;
        self.check_privilege(actor.current, id, Privilege::Create)?;
        if has(id) { Ok((id, last.clone())) } else { Err(unknown) }
    }
}
