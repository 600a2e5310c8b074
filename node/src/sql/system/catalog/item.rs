//! What rows are made of: principals, databases, schemas, relations, columns, as the statement's user sees them.

use std::sync::Arc;

use grantd_catalog::command::ObjectName;
use grantd_catalog::decide::holds;
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::Name;
use grantd_catalog::object::{Body, Expression, Identity, Index, IndexKey, KeyPart, Object, Table};
use grantd_catalog::privilege::{ObjectKind, Privilege};
use grantd_catalog::role::Principal;
use grantd_catalog::state::State;
use grantd_catalog::system;

use super::{Items, Look, oid, shape, types};
use crate::sql::system::context::StatementInfo;

/// One object of the view.
#[derive(Clone)]
pub struct Item {
    pub(super) info: Arc<StatementInfo>,
    pub(super) id: ObjectId,
}

impl Item {
    pub(super) fn object(&self) -> &Object {
        self.info.view.state().object(self.id).expect("an id that came from this view")
    }

    pub(super) fn name(&self) -> String {
        self.object().name.to_string()
    }

    pub(super) fn owner(&self) -> PrincipalId {
        self.object().owner
    }

    pub(super) fn owner_name(&self) -> String {
        self.info.view.state().principal_name(self.owner()).to_string()
    }

    /// The name of the schema that it is in, or of the database that a schema is in.
    pub(super) fn parent_name(&self) -> String {
        let parent = self.info.view.state().object(self.object().parent);
        parent.map(|parent| parent.name.to_string()).unwrap_or_default()
    }

    pub(super) fn table(&self) -> Option<&Table> {
        match &self.object().body {
            Body::Table(table) => Some(table),
            _ => None,
        }
    }
}

/// One principal.
pub struct Role {
    pub(super) info: Arc<StatementInfo>,
    pub(super) id: PrincipalId,
}

impl Role {
    pub(super) fn principal(&self) -> &Principal {
        self.info.view.state().principal(self.id).expect("an id that came from this view")
    }
}

/// A relation, or an index of a table: its number, the primary key's being 0.
#[derive(Clone)]
pub struct Relation {
    pub(super) item: Item,
    pub(super) index: Option<u16>,
}

impl Relation {
    pub(super) fn oid(&self) -> u32 {
        self.index.map_or(self.item.id.0, |number| oid::part(self.item.id, number))
    }

    pub(super) fn name(&self) -> String {
        match (self.index, self.item.table()) {
            (Some(number), Some(table)) => {
                IndexFacts::of(table, number).map_or_else(String::new, |index| index.name.to_string())
            }
            _ => self.item.name(),
        }
    }

    pub(super) fn columns(&self) -> Vec<ColumnFacts> {
        let all = columns(self.item.info.view.state(), self.item.id);
        match (self.index, self.item.table()) {
            (Some(number), Some(table)) => {
                let picked = IndexFacts::of(table, number).map_or_else(Vec::new, |index| index.keys);
                let pick = |(key, number): (IndexKey, i64)| {
                    let found = match key.part {
                        KeyPart::Column(at) => all.get(usize::from(at))?.clone(),
                        // What type it has only the planner knows.
                        KeyPart::Expression(_) => ColumnFacts::plain("expr", types::TypeRef::plain(25)),
                    };
                    let (default, computed, identity, comment) = (None, None, None, None);
                    Some(ColumnFacts { number, default, computed, identity, comment, ..found })
                };
                picked.into_iter().zip(1..).filter_map(pick).collect()
            }
            _ => all,
        }
    }
}

/// What a column is, of whatever relation.
#[derive(Clone)]
pub struct ColumnFacts {
    pub(super) name: String,
    /// From 1.
    pub(super) number: i64,
    pub(super) sql_type: types::TypeRef,
    pub(super) nullable: bool,
    pub(super) default: Option<String>,
    /// What it is computed from.
    pub(super) computed: Option<String>,
    /// Whether it counts its rows.
    pub(super) identity: Option<Identity>,
    pub(super) hidden: bool,
    pub(super) comment: Option<String>,
}

impl ColumnFacts {
    fn plain(name: &str, sql_type: types::TypeRef) -> Self {
        Self {
            name: name.to_owned(),
            number: 0,
            sql_type,
            nullable: true,
            default: None,
            computed: None,
            identity: None,
            hidden: false,
            comment: None,
        }
    }

    /// Whether this is its name.
    pub fn is_called(&self, name: &Name) -> bool {
        self.name == name.as_str()
    }
}

/// An index of a table: of its primary key, of a UNIQUE constraint, or one that is no constraint.
pub(in crate::sql::system) struct IndexFacts<'a> {
    pub(in crate::sql::system) name: &'a Name,
    pub(in crate::sql::system) keys: Vec<IndexKey>,
    pub(in crate::sql::system) unique: bool,
    pub(in crate::sql::system) predicate: Option<&'a Expression>,
    pub(in crate::sql::system) comment: Option<&'a String>,
}

impl<'a> IndexFacts<'a> {
    /// Its columns, if it is of nothing else.
    pub(in crate::sql::system) fn columns(&self) -> Option<Vec<u16>> {
        self.keys.iter().map(IndexKey::column).collect()
    }

    /// The index of this number.
    pub(in crate::sql::system) fn of(table: &'a Table, number: u16) -> Option<Self> {
        let ascending = |columns: &[u16]| -> Vec<IndexKey> {
            columns.iter().map(|column| IndexKey::ascending(*column)).collect()
        };
        let constraint = |name, keys| Self { name, keys, unique: true, predicate: None, comment: None };
        if number == 0 {
            return Some(constraint(&table.key_name, ascending(&table.primary_key)));
        }
        match number.checked_sub(oid::FIRST_PLAIN_INDEX) {
            None => {
                let unique = table.unique.get(usize::from(number - 1))?;
                Some(constraint(&unique.name, ascending(&unique.columns)))
            }
            Some(at) => {
                let Index { name, keys, unique, predicate, comment } = table.indexes.get(usize::from(at))?;
                Some(Self {
                    name,
                    keys: keys.clone(),
                    unique: *unique,
                    predicate: predicate.as_ref(),
                    comment: comment.as_ref(),
                })
            }
        }
    }
}

/// The numbers of a table's indexes.
pub(in crate::sql::system) fn index_numbers(table: &Table) -> impl Iterator<Item = u16> + use<> {
    let constraints = u16::try_from(table.unique.len()).unwrap_or(u16::MAX);
    let plain = u16::try_from(table.indexes.len()).unwrap_or(u16::MAX);
    (0..=constraints).chain(oid::FIRST_PLAIN_INDEX..oid::FIRST_PLAIN_INDEX.saturating_add(plain))
}

/// The columns of a relation, in order.
pub fn columns(state: &State, id: ObjectId) -> Vec<ColumnFacts> {
    let plain = ColumnFacts::plain;
    let mut found: Vec<_> = match state.object(id).map(|object| &object.body) {
        Some(Body::Table(table)) => table
            .columns
            .iter()
            .map(|column| ColumnFacts {
                nullable: column.nullable,
                default: column.default.as_ref().map(|default| default.sql.clone()),
                computed: column.computed.as_ref().map(|computed| computed.sql.clone()),
                identity: column.identity,
                hidden: column.hidden,
                comment: column.comment.clone(),
                ..plain(column.name.as_str(), types::TypeRef::of(column.column_type))
            })
            .collect(),
        Some(Body::View(view)) => view
            .columns
            .iter()
            .map(|column| plain(column.name.as_str(), types::TypeRef::of(column.column_type)))
            .collect(),
        Some(Body::Sequence(_)) => [("last_value", 20), ("log_cnt", 20), ("is_called", 16)]
            .into_iter()
            .map(|(name, oid)| ColumnFacts { nullable: false, ..plain(name, types::TypeRef::plain(oid)) })
            .collect(),
        Some(Body::VirtualTable) => shape(id)
            .map_or(&[][..], |shape| shape.columns.as_slice())
            .iter()
            .map(|(name, sql_type)| plain(name, types::TypeRef::plain(sql_type.oid())))
            .collect(),
        _ => Vec::new(),
    };
    for (number, column) in (1..).zip(&mut found) {
        column.number = number;
    }
    found
}

/// Whether the user sees what is in a database: by CONNECT.
pub(super) fn sees(info: &StatementInfo, database: ObjectId) -> bool {
    holds(&info.view, info.actor.current, database, Privilege::Connect)
}

/// The databases that the user sees, by name.
pub(super) fn databases(look: &Look) -> Items<Item> {
    let info = Arc::clone(&look.info);
    let all: Vec<_> = info
        .view
        .state()
        .children(ObjectId::CLUSTER)
        .filter(|(id, object)| object.kind() == ObjectKind::Database && sees(&info, *id))
        .map(|(id, _)| id)
        .collect();
    Box::new(all.into_iter().map(move |id| Item { info: Arc::clone(&info), id }))
}

/// The current database, if there is one and the user sees it.
pub(super) fn current_database(info: &StatementInfo) -> Option<ObjectId> {
    info.view.state().current_database(&info.context).ok().filter(|database| sees(info, *database))
}

/// The name of the current database, as information_schema prints it beside each row.
pub(super) fn catalog_name(info: &StatementInfo) -> String {
    info.context.database.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// The schemas of the current database, then those that every database has.
pub(super) fn schema_ids(info: &StatementInfo) -> Vec<ObjectId> {
    let state = info.view.state();
    let own = current_database(info).into_iter().flat_map(|database| {
        let children = state.children(database);
        children.filter(|(_, object)| object.kind() == ObjectKind::Schema).map(|(id, _)| id)
    });
    own.chain(system::VIRTUAL_SCHEMAS.iter().filter_map(|name| system::schema_id(name))).collect()
}

/// The same as items.
pub(super) fn schemas(look: &Look) -> Items<Item> {
    let info = Arc::clone(&look.info);
    Box::new(schema_ids(&info).into_iter().map(move |id| Item { info: Arc::clone(&info), id }))
}

/// What is in the schemas of the current database and `is_such`, by schema and name.
pub(super) fn children(info: &Arc<StatementInfo>, is_such: fn(&Object) -> bool) -> Items<Item> {
    let info = Arc::clone(info);
    let schemas = schema_ids(&info);
    Box::new(schemas.into_iter().flat_map(move |schema| {
        let found = info.view.state().children(schema).filter(|(_, object)| is_such(object));
        let ids: Vec<_> = found.map(|(id, _)| id).collect();
        let info = Arc::clone(&info);
        ids.into_iter().map(move |id| Item { info: Arc::clone(&info), id })
    }))
}

/// One object by its id, if it is such and the user sees it.
pub(super) fn child(info: &Arc<StatementInfo>, id: ObjectId, is_such: fn(&Object) -> bool) -> Items<Item> {
    let seen = info.view.state().object(id).is_some_and(is_such) && is_here(info, id);
    let item = seen.then(|| Item { info: Arc::clone(info), id });
    Box::new(item.into_iter())
}

/// Whether the user sees this object in the current database, or it is one that every database has; of databases,
/// whether the user sees them at all.
pub(super) fn is_here(info: &StatementInfo, id: ObjectId) -> bool {
    let state = info.view.state();
    let Some(object) = state.object(id) else { return false };
    match object.kind() {
        ObjectKind::Database => sees(info, id),
        _ if system::object(id).is_some() && object.parent == ObjectId::CLUSTER => true,
        _ if system::object(object.parent).is_some() => true,
        _ => {
            let database = state.database_of(id);
            database.is_some() && database == current_database(info)
        }
    }
}

/// Tables, views, sequences and virtual tables.
pub(super) fn is_relation(object: &Object) -> bool {
    matches!(object.body, Body::Table(_) | Body::View(_) | Body::Sequence(_) | Body::VirtualTable)
}

/// What holds rows or shows them.
pub(super) fn is_readable(object: &Object) -> bool {
    matches!(object.body, Body::Table(_) | Body::View(_) | Body::VirtualTable)
}

/// Tables of clients.
pub(super) fn is_table(object: &Object) -> bool {
    matches!(object.body, Body::Table(_))
}

/// Views of clients.
pub(super) fn is_view(object: &Object) -> bool {
    matches!(object.body, Body::View(_))
}

/// Sequences.
pub(super) fn is_sequence(object: &Object) -> bool {
    matches!(object.body, Body::Sequence(_))
}

/// Types of clients.
pub(super) fn is_type(object: &Object) -> bool {
    matches!(object.body, Body::Type(_))
}

/// Functions of clients.
pub(super) fn is_function(object: &Object) -> bool {
    matches!(object.body, Body::Function(_))
}

/// Relations and indexes, by OID if one is wanted in `column`.
pub(super) fn relations(look: &Look, column: &str) -> Items<Relation> {
    let whole = |item: Item| Relation { item, index: None };
    let Some(wanted) = look.wanted(column) else {
        let with_indexes = move |item: Item| {
            let numbers: Vec<u16> = item.table().map(index_numbers).into_iter().flatten().collect();
            let base = item.clone();
            [whole(item)].into_iter().chain(
                numbers.into_iter().map(move |number| Relation { item: base.clone(), index: Some(number) }),
            )
        };
        return Box::new(children(&look.info, is_relation).flat_map(with_indexes));
    };
    match oid::part_of(wanted) {
        Some((table, number)) => Box::new(
            child(&look.info, table, is_table)
                .filter(move |item| item.table().is_some_and(|table| IndexFacts::of(table, number).is_some()))
                .map(move |item| Relation { item, index: Some(number) }),
        ),
        None => Box::new(child(&look.info, ObjectId(wanted), is_relation).map(whole)),
    }
}

/// Objects that are such, by their own id if one is wanted in `column`.
pub(super) fn objects(look: &Look, column: &str, is_such: fn(&Object) -> bool) -> Items<Item> {
    match look.wanted(column) {
        Some(wanted) => child(&look.info, ObjectId(wanted), is_such),
        None => children(&look.info, is_such),
    }
}

/// Principals by name, or the one whose OID is wanted in `column`.
pub(super) fn roles(look: &Look, column: &str) -> Items<Role> {
    let info = Arc::clone(&look.info);
    let state = info.view.state();
    let ids: Vec<_> = match look.wanted(column).map(PrincipalId) {
        Some(id) => state.principal(id).map(|_| id).into_iter().collect(),
        None => state.principals().map(|(id, _)| id).collect(),
    };
    Box::new(ids.into_iter().map(move |id| Role { info: Arc::clone(&info), id }))
}

/// Whether an unqualified name means this object.
pub(super) fn is_visible(info: &StatementInfo, id: ObjectId) -> bool {
    let state = info.view.state();
    let Some(object) = state.object(id) else { return false };
    let name = ObjectName { parts: vec![object.name.clone()] };
    match object.kind() {
        ObjectKind::Type => state.resolve_type(&info.context, &name) == Ok(id),
        // Overloads in one schema are all visible.
        ObjectKind::Function => state.resolve_overloads(&info.context, &name).contains(&id),
        _ => state.resolve_relation(&info.context, &name) == Ok(id),
    }
}
