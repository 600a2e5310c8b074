//! ALTER TABLE, indexes, and the foreign keys of CREATE TABLE (A.5.3), on a table in which everything is named: nothing here
//! counts positions until a table is written back.

use std::sync::Arc;

use crate::command::{Actor, ColumnSource, NameContext, NewIndexKey, ObjectName, StorageChange, TableAction};
use crate::id::ObjectId;
use crate::name::Name;
use crate::object::{
    Body, Check, Column, ColumnType, Expression, ForeignKey, Index, IndexKey, KeyPart, ReferentialAction,
    Table, Unique,
};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::spec::makes::{exists, missing};
use crate::spec::{Model, Told, say};

mod columns;
mod identity;
mod indexes;
mod keys;

/// A table in which columns are named.
#[derive(Clone)]
pub(super) struct Sketch {
    id: ObjectId,
    name: Name,
    columns: Vec<Column>,
    key: Vec<Name>,
    key_name: Name,
    unique: Vec<(Name, Vec<Name>)>,
    checks: Vec<Check>,
    indexes: Vec<SketchIndex>,
    foreign: Vec<SketchKey>,
}

#[derive(Clone)]
struct SketchIndex {
    name: Name,
    keys: Vec<NewIndexKey>,
    unique: bool,
    predicate: Option<Expression>,
    comment: Option<String>,
}

impl SketchIndex {
    fn columns(&self) -> Vec<Name> {
        let mut columns = Vec::new();
        for key in &self.keys {
            if let KeyPart::Column(column) = &key.part {
                columns.push(column.clone());
            }
        }
        columns
    }

    fn expressions(&self) -> Vec<&Expression> {
        let mut all = Vec::new();
        for key in &self.keys {
            if let KeyPart::Expression(expression) = &key.part {
                all.push(expression);
            }
        }
        all.extend(&self.predicate);
        all
    }
}

#[derive(Clone)]
struct SketchKey {
    name: Name,
    columns: Vec<Name>,
    target: ObjectId,
    there: Vec<Name>,
    on_delete: ReferentialAction,
    on_update: ReferentialAction,
}

/// Where the values of columns come from: table, column, source.
type Sources = Vec<(ObjectId, Name, ColumnSource)>;

impl Sketch {
    fn has(&self, column: &Name) -> bool {
        self.columns.iter().any(|known| known.name == *column)
    }

    fn column(&mut self, column: &Name) -> Result<&mut Column, Refusal> {
        let found = self.columns.iter_mut().find(|known| known.name == *column);
        found.ok_or_else(|| say::unknown_column(column.as_str()))
    }

    fn known(&self, columns: &[Name]) -> Result<(), Refusal> {
        match columns.iter().find(|column| !self.has(column)) {
            Some(column) => Err(say::unknown_column(column.as_str())),
            None => Ok(()),
        }
    }

    /// Names of constraints and indexes.
    fn taken(&self) -> Vec<Name> {
        let mut taken = vec![self.key_name.clone()];
        taken.extend(self.unique.iter().map(|(name, _)| name.clone()));
        taken.extend(self.checks.iter().map(|check| check.name.clone()));
        taken.extend(self.foreign.iter().map(|key| key.name.clone()));
        taken.extend(self.indexes.iter().map(|index| index.name.clone()));
        taken
    }

    fn new_name(&self, columns: &[Name], suffix: &str) -> Name {
        let mut words = vec![self.name.to_string()];
        words.extend(columns.iter().map(ToString::to_string));
        words.push(suffix.to_owned());
        let wanted = words.join("_");
        let mut name = Name::normalize(&wanted);
        let mut number = 0;
        while self.taken().contains(&name) {
            number += 1;
            name = Name::normalize(&format!("{wanted}{number}"));
        }
        name
    }

    /// Whether rows are told apart by these columns.
    fn is_key(&self, columns: &[Name]) -> bool {
        let same =
            |key: &[Name]| key.len() == columns.len() && columns.iter().all(|column| key.contains(column));
        let by_index = self.indexes.iter().any(|index| {
            let all = index.columns().len() == index.keys.len();
            index.unique && index.predicate.is_none() && all && same(&index.columns())
        });
        same(&self.key) || self.unique.iter().any(|(_, columns)| same(columns)) || by_index
    }

    fn expressions(&self) -> Vec<&Expression> {
        let mut all = Vec::new();
        for column in &self.columns {
            all.extend(&column.default);
            all.extend(&column.computed);
        }
        all.extend(self.checks.iter().map(|check| &check.expression));
        all.extend(self.indexes.iter().flat_map(SketchIndex::expressions));
        all
    }

    /// Whether something beside the primary key uses a column of this table.
    fn uses(&self, column: &Name) -> bool {
        self.expressions().iter().any(|expression| reads(expression, column))
            || self.unique.iter().any(|(_, columns)| columns.contains(column))
            || self.foreign.iter().any(|key| key.columns.contains(column))
            || self.indexes.iter().any(|index| index.columns().contains(column))
    }

    /// What every table must be.
    fn check(&self) -> Result<(), Refusal> {
        for column in self.columns.iter().filter(|column| column.computed.is_some()) {
            if column.default.is_some() {
                return Err(say::computed_has_default(column.name.as_str()));
            }
            if self.key.contains(&column.name) {
                return Err(say::computed_is_key(column.name.as_str()));
            }
        }
        for column in self.columns.iter().filter(|column| column.identity.is_some()) {
            if column.default.is_some() || column.computed.is_some() {
                return Err(say::identity_has_default(column.name.as_str()));
            }
            if family(column.column_type) != "int" {
                return Err(say::identity_is_a_number());
            }
        }
        let mut lists: Vec<Vec<Name>> = vec![self.key.clone()];
        lists.extend(self.unique.iter().map(|(_, columns)| columns.clone()));
        lists.extend(self.foreign.iter().map(|key| key.columns.clone()));
        for index in &self.indexes {
            if index.expressions().len() == usize::from(index.predicate.is_some())
                || !index.columns().is_empty()
            {
                lists.push(index.columns());
            }
        }
        for list in lists {
            let twice = list.iter().any(|column| list.iter().filter(|other| *other == column).count() > 1);
            if list.is_empty() || twice {
                return Err(say::odd_key());
            }
        }
        Ok(())
    }
}

/// Whether the column stands in the expression, in quotes.
fn reads(expression: &Expression, column: &Name) -> bool {
    expression.stored.split('"').skip(1).step_by(2).any(|word| word == column.as_str())
}

/// Whether the text of a view or function has the word, or a star.
fn has_word(text: &str, column: &Name) -> bool {
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    words.into_iter().any(|word| word == column.as_str()) || text.contains('*')
}

impl Model {
    fn sketches(&self) -> Vec<Sketch> {
        let tables = self.objects.iter().filter_map(|known| match &known.body {
            Body::Table(table) => Some((known, table.as_ref())),
            _ => None,
        });
        let mut sketches: Vec<_> =
            tables.map(|(known, table)| self.sketch(known.id, &known.name, table)).collect();
        sketches.sort_by_key(|sketch| sketch.id);
        sketches
    }

    fn sketch(&self, id: ObjectId, name: &Name, table: &Table) -> Sketch {
        let named = |table: &Table, at: &[u16]| -> Vec<Name> {
            at.iter().map(|at| table.columns[usize::from(*at)].name.clone()).collect()
        };
        let foreign = table.foreign_keys.iter().map(|key| {
            let Some(Body::Table(target)) = self.body(key.target) else { unreachable!("a key of no table") };
            SketchKey {
                name: key.name.clone(),
                columns: named(table, &key.columns),
                target: key.target,
                there: named(target, &key.target_columns),
                on_delete: key.on_delete,
                on_update: key.on_update,
            }
        });
        let indexes = table.indexes.iter().map(|index| SketchIndex {
            name: index.name.clone(),
            keys: index
                .keys
                .iter()
                .map(|key| NewIndexKey {
                    part: match &key.part {
                        KeyPart::Column(at) => KeyPart::Column(table.columns[usize::from(*at)].name.clone()),
                        KeyPart::Expression(expression) => KeyPart::Expression(expression.clone()),
                    },
                    descending: key.descending,
                })
                .collect(),
            unique: index.unique,
            predicate: index.predicate.clone(),
            comment: index.comment.clone(),
        });
        Sketch {
            id,
            name: name.clone(),
            columns: table.columns.clone(),
            key: named(table, &table.primary_key),
            key_name: table.key_name.clone(),
            unique: table.unique.iter().map(|one| (one.name.clone(), named(table, &one.columns))).collect(),
            checks: table.checks.clone(),
            indexes: indexes.collect(),
            foreign: foreign.collect(),
        }
    }

    /// Writes tables back, with positions.
    fn draw(&mut self, sketches: &[Sketch]) {
        for sketch in sketches {
            let places = |columns: &[Name], all: &[Column]| -> Vec<u16> {
                let place = |name: &Name| all.iter().position(|column| column.name == *name);
                let place = |name| place(name).and_then(|at| u16::try_from(at).ok()).expect("it is known");
                columns.iter().map(place).collect()
            };
            let all = &sketch.columns;
            let unique = sketch
                .unique
                .iter()
                .map(|(name, columns)| Unique { name: name.clone(), columns: places(columns, all) });
            let indexes = sketch.indexes.iter().map(|index| {
                let key = |key: &NewIndexKey| IndexKey {
                    part: match &key.part {
                        KeyPart::Column(name) => KeyPart::Column(places(std::slice::from_ref(name), all)[0]),
                        KeyPart::Expression(expression) => KeyPart::Expression(expression.clone()),
                    },
                    descending: key.descending,
                };
                let (name, predicate) = (index.name.clone(), index.predicate.clone());
                let keys = index.keys.iter().map(key).collect();
                Index { name, keys, unique: index.unique, predicate, comment: index.comment.clone() }
            });
            let foreign = sketch.foreign.iter().map(|key| {
                let target = sketches.iter().find(|other| other.id == key.target).expect("it is there");
                ForeignKey {
                    name: key.name.clone(),
                    columns: places(&key.columns, all),
                    target: key.target,
                    target_columns: places(&key.there, &target.columns),
                    on_delete: key.on_delete,
                    on_update: key.on_update,
                }
            });
            let table = Table {
                columns: all.clone(),
                primary_key: places(&sketch.key, all),
                key_name: sketch.key_name.clone(),
                unique: unique.collect(),
                checks: sketch.checks.clone(),
                indexes: indexes.collect(),
                foreign_keys: foreign.collect(),
            };
            self.set_body(sketch.id, Body::Table(Arc::new(table)));
        }
    }

    /// Each column from itself.
    fn untouched(&self) -> Sources {
        let mut sources = Vec::new();
        for sketch in self.sketches() {
            for (at, column) in (0..).zip(&sketch.columns) {
                sources.push((sketch.id, column.name.clone(), ColumnSource::Kept(at)));
            }
        }
        sources
    }

    /// What the row store must do: the tables that are not as they were.
    fn altered(&self, before: &Self, sources: &Sources) -> Vec<StorageChange> {
        let mut changes = Vec::new();
        for sketch in self.sketches() {
            let mut from = Vec::new();
            for column in &sketch.columns {
                let source = sources.iter().find(|(id, name, _)| *id == sketch.id && *name == column.name);
                from.extend(source.map(|(_, _, source)| source.clone()));
            }
            let kept = (0..).zip(&from).all(|(at, source)| *source == ColumnSource::Kept(at));
            if before.body(sketch.id) != self.body(sketch.id) || !kept {
                changes.push(StorageChange::Alter(sketch.id, from));
            }
        }
        changes
    }

    pub(super) fn alter_table(
        &mut self,
        actor: Actor,
        context: &NameContext,
        name: &ObjectName,
        if_exists: bool,
        actions: &[TableAction],
    ) -> Result<Told, Refusal> {
        let id = match self.relation_for(actor, context, name, "table") {
            Ok(id) => id,
            Err(refusal) => return missing(if_exists, refusal),
        };
        self.check_privilege(actor.current, id, Privilege::Create)?;
        let before = self.clone();
        let mut sources = self.untouched();
        let (mut notices, mut storage) = (Vec::new(), Vec::new());
        for action in actions {
            let told = self.act(actor, context, id, action, &before, &mut sources)?;
            notices.extend(told.notices);
            storage.extend(told.storage);
        }
        storage.extend(self.altered(&before, &sources));
        Ok(Told { notices, storage })
    }

    fn act(
        &mut self,
        actor: Actor,
        context: &NameContext,
        id: ObjectId,
        action: &TableAction,
        before: &Self,
        sources: &mut Sources,
    ) -> Result<Told, Refusal> {
        match action {
            TableAction::AddColumn { column, if_not_exists, fill, constraints } => {
                let (mut tables, own) = self.tables_with(id);
                let lower = column.name.as_str().to_lowercase();
                if tables[own].columns.iter().any(|known| known.name.as_str().to_lowercase() == lower) {
                    let refusal = say::column_exists(column.name.as_str(), tables[own].name.as_str());
                    return exists(*if_not_exists, &refusal);
                }
                self.check_column_type(actor, column.column_type)?;
                tables[own].columns.push(column.clone());
                self.settle(&tables, own)?;
                let fill = fill.clone().unwrap_or_else(|| "NULL".to_owned());
                sources.push((id, column.name.clone(), ColumnSource::Value(fill)));
                let mut told = Told::default();
                for constraint in constraints {
                    told.notices.extend(self.add_constraint(actor, context, id, constraint, false)?.notices);
                }
                Ok(told)
            }
            TableAction::DropColumn { column, if_exists, behavior } => {
                let told = self.drop_column(actor, id, column, *if_exists, *behavior)?;
                sources.retain(|(table, name, _)| *table != id || name != column);
                Ok(told)
            }
            TableAction::RenameColumn { column, to, expressions } => {
                self.rename_column(id, column, to, expressions)?;
                for (table, name, _) in sources {
                    if *table == id && name == column {
                        name.clone_from(to);
                    }
                }
                Ok(Told::default())
            }
            TableAction::SetDefault { .. }
            | TableAction::SetNullable { .. }
            | TableAction::SetType { .. } => self.alter_column(actor, id, action, before, sources),
            TableAction::AddConstraint { constraint, if_not_exists } => {
                self.add_constraint(actor, context, id, constraint, *if_not_exists)
            }
            TableAction::DropConstraint { constraint, if_exists, behavior } => {
                self.drop_constraint(id, constraint, *if_exists, *behavior)
            }
            TableAction::RenameConstraint { constraint, to } => {
                let (mut tables, own) = self.tables_with(id);
                let table = &mut tables[own];
                let plain = table.indexes.iter().any(|index| index.name == *constraint);
                if plain || !table.taken().contains(constraint) {
                    return Err(say::no_constraint(constraint.as_str(), table.name.as_str()));
                }
                if constraint != to && table.taken().contains(to) {
                    return Err(say::constraint_exists(to.as_str()));
                }
                rename_part(table, constraint, to);
                self.settle(&tables, own)?;
                Ok(Told::default())
            }
            TableAction::AddIdentity(new) => self.add_identity(actor, id, new),
            TableAction::DropIdentity { column, if_exists } => {
                self.drop_identity(actor, id, column, *if_exists)
            }
        }
    }

    fn alter_column(
        &mut self,
        actor: Actor,
        id: ObjectId,
        action: &TableAction,
        before: &Self,
        sources: &mut Sources,
    ) -> Result<Told, Refusal> {
        match action {
            TableAction::SetDefault { column, default } => {
                let (mut tables, own) = self.tables_with(id);
                let name = tables[own].name.clone();
                let found = tables[own].column(column)?;
                if found.identity.is_some() {
                    return Err(say::identity_keeps_default(column.as_str(), name.as_str()));
                }
                if found.computed.is_some() && default.is_some() {
                    return Err(say::computed_has_default(column.as_str()));
                }
                found.default.clone_from(default);
                self.settle(&tables, own)?;
                self.check_keys_around(id)
            }
            TableAction::SetNullable { column, nullable } => {
                let (mut tables, own) = self.tables_with(id);
                let in_key = tables[own].key.contains(column);
                let name = tables[own].name.clone();
                let found = tables[own].column(column)?;
                if *nullable && found.identity.is_some() {
                    return Err(say::column_is_identity(column.as_str(), name.as_str()));
                }
                if *nullable && in_key {
                    return Err(say::column_is_in_key(column.as_str()));
                }
                found.nullable = *nullable;
                self.settle(&tables, own)?;
                self.check_keys_around(id)
            }
            TableAction::SetType { column, column_type, using, expressions } => {
                let (tables, own) = self.tables_with(id);
                let names = |table: &Sketch| -> Vec<Name> {
                    table.columns.iter().map(|column| column.name.clone()).collect()
                };
                let (old, own_before) = before.tables_with(id);
                tables[own].known(std::slice::from_ref(column))?;
                if names(&tables[own]) != names(&old[own_before]) {
                    return Err(say::retyped_among_others());
                }
                let to = (*column_type, using.as_deref());
                self.set_type(actor, id, column, to, expressions, sources)
            }
            other => unreachable!("{other:?} alters no column"),
        }
    }

    fn tables_with(&self, id: ObjectId) -> (Vec<Sketch>, usize) {
        let tables = self.sketches();
        let own = tables.iter().position(|sketch| sketch.id == id).expect("a table is among the tables");
        (tables, own)
    }

    /// Checks one of the tables, and writes all.
    fn settle(&mut self, tables: &[Sketch], own: usize) -> Result<(), Refusal> {
        for column in &tables[own].columns {
            if let Some(id) = column.column_type.enum_type()
                && self.name_of(id).is_none()
            {
                return Err(say::object_is_gone(id));
            }
        }
        for id in tables[own].expressions().iter().flat_map(|expression| &expression.references) {
            if self.name_of(*id).is_none() {
                return Err(say::object_is_gone(*id));
            }
        }
        tables[own].check()?;
        self.draw(tables);
        Ok(())
    }

    fn check_column_type(&self, actor: Actor, column_type: ColumnType) -> Result<(), Refusal> {
        let Some(id) = column_type.enum_type() else { return Ok(()) };
        if self.name_of(id).is_none() {
            return Err(say::object_is_gone(id));
        }
        self.check_privilege(actor.current, self.parent(id), Privilege::Usage)?;
        self.check_privilege(actor.current, id, Privilege::Usage)
    }

    /// The first view or function that may read a column.
    fn reader(&self, id: ObjectId, column: &Name) -> Option<ObjectId> {
        self.users(id).into_iter().find(|user| match self.body(*user) {
            Some(Body::View(view)) => view.references.contains(&id) && has_word(&view.query, column),
            Some(Body::Function(function)) => {
                function.references.contains(&id) && has_word(&function.body, column)
            }
            _ => false,
        })
    }

    fn check_no_reader(&self, verb: &str, id: ObjectId, column: &Name) -> Result<(), Refusal> {
        let Some(reader) = self.reader(id, column) else { return Ok(()) };
        let word = if self.kind(reader) == ObjectKind::Function { "function" } else { "view" };
        let near = self.parent(reader) == self.parent(id);
        let name = if near { self.label(reader) } else { self.full_name(reader) };
        Err(say::column_is_read(verb, column.as_str(), word, &name))
    }
}

/// Types whose values can be compared as they are.
fn family(column_type: ColumnType) -> String {
    match column_type {
        ColumnType::Int2 | ColumnType::Int4 | ColumnType::Int8 => "int".to_owned(),
        ColumnType::Float4 | ColumnType::Float8 => "float".to_owned(),
        ColumnType::Text { .. } => "text".to_owned(),
        ColumnType::Char { .. } => "char".to_owned(),
        ColumnType::Decimal { .. } => "decimal".to_owned(),
        other => format!("{other:?}"),
    }
}

fn rename_part(table: &mut Sketch, from: &Name, to: &Name) {
    let rename = |name: &mut Name| {
        if name == from {
            name.clone_from(to);
        }
    };
    rename(&mut table.key_name);
    table.unique.iter_mut().for_each(|(name, _)| rename(name));
    table.checks.iter_mut().for_each(|check| rename(&mut check.name));
    table.foreign.iter_mut().for_each(|key| rename(&mut key.name));
    table.indexes.iter_mut().for_each(|index| rename(&mut index.name));
}
