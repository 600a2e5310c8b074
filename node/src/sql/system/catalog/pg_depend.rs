//! What belongs to what: comments, owners, grantees, default privileges.

use std::sync::Arc;

use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::list::{self, DefaultAclRow};
use grantd_catalog::object::{Body, Column, Object};
use grantd_catalog::state::State;
use grantd_catalog::system;
use grantd_raft::rows::Value;

use super::item::{self, IndexFacts, Item, index_numbers};
use super::{Computed, Items, Look, Of, array, number, oid, pg_constraint, text};
use crate::sql::system::context::StatementInfo;
use crate::value::{Element, SqlType};
use SqlType::{Array, Int4, Oid, Text};

pub(super) const TABLES: &[&dyn Computed] =
    &[&PG_DESCRIPTION, &PG_SHDESCRIPTION, &PG_DEPEND, &PG_SHDEPEND, &PG_DEFAULT_ACL];

/// The OID of a table of pg_catalog: what `'pg_class'::regclass` says.
pub fn class(name: &str) -> u32 {
    let schema = system::schema_id("pg_catalog");
    let found = system::objects()
        .iter()
        .find(|(_, object)| Some(object.parent) == schema && object.name.as_str() == name);
    found.map_or(0, |(id, _)| id.0)
}

/// The table of pg_catalog that lists such objects.
fn class_of(object: &Object) -> u32 {
    class(match object.body {
        Body::Database => "pg_database",
        Body::Schema => "pg_namespace",
        Body::Type(_) => "pg_type",
        Body::Function(_) => "pg_proc",
        Body::Table(_) | Body::View(_) | Body::Sequence(_) | Body::VirtualTable => "pg_class",
        Body::ExternalConnection(_) | Body::IamRole => return 0,
    })
}

/// The OID under which pg_catalog lists an object.
pub fn oid_of(id: ObjectId, object: &Object) -> u32 {
    match object.body {
        Body::Type(_) | Body::Function(_) => oid::above(id),
        _ => id.0,
    }
}

fn any(_: &Object) -> bool {
    true
}

/// The current database's schemas and everything in them.
fn everything(info: &Arc<StatementInfo>) -> Items<Item> {
    let own = Arc::clone(info);
    let schemas = item::schema_ids(info).into_iter().filter(|id| !id.is_virtual());
    let schemas = schemas.map(move |id| Item { info: Arc::clone(&own), id });
    Box::new(schemas.chain(item::children(info, any).filter(|item| !item.id.is_virtual())))
}

/// A comment on an object or, with a number, on a column.
struct Comment {
    class: u32,
    oid: u32,
    column: i64,
    text: String,
}

fn comments(item: &Item) -> Vec<Comment> {
    let object = item.object();
    let (class, oid) = (class_of(object), oid_of(item.id, object));
    let own = object.comment.clone().map(|text| Comment { class, oid, column: 0, text });
    let columns = item::columns(item.info.view.state(), item.id).into_iter();
    let on_columns =
        columns.filter_map(|facts| Some(Comment { class, oid, column: facts.number, text: facts.comment? }));
    let table = item.table();
    let indexes = table.map(index_numbers).into_iter().flatten();
    let on_indexes = indexes.filter_map(|number| {
        let text = IndexFacts::of(table?, number)?.comment?.clone();
        Some(Comment { class, oid: oid::part(item.id, number), column: 0, text })
    });
    own.into_iter().chain(on_columns).chain(on_indexes).collect()
}

static PG_DESCRIPTION: Of<Comment> = Of {
    schema: "pg_catalog",
    name: "pg_description",
    keys: &["objoid"],
    items: |look| match look.wanted("objoid") {
        None => Box::new(everything(&look.info).flat_map(|item| comments(&item))),
        Some(wanted) => {
            let of_part = oid::part_of(wanted).map(|(table, _)| table);
            let ids = [Some(ObjectId(wanted)), oid::below(wanted), of_part].into_iter().flatten();
            let info = Arc::clone(&look.info);
            Box::new(ids.flat_map(move |id| item::child(&info, id, any)).flat_map(|item| comments(&item)))
        }
    },
    columns: &[
        ("objoid", Oid, |comment| number(comment.oid)),
        ("classoid", Oid, |comment| number(comment.class)),
        ("objsubid", Int4, |comment| Value::Integer(comment.column)),
        ("description", Text, |comment| text(comment.text.as_str())),
    ],
};

static PG_SHDESCRIPTION: Of<Comment> = Of {
    schema: "pg_catalog",
    name: "pg_shdescription",
    keys: &[],
    items: |look| Box::new(item::databases(look).flat_map(|item| comments(&item))),
    columns: &[
        ("objoid", Oid, |comment| number(comment.oid)),
        ("classoid", Oid, |comment| number(comment.class)),
        ("description", Text, |comment| text(comment.text.as_str())),
    ],
};

/// That one object cannot be without another, or without a column of it.
struct Depends {
    class: u32,
    oid: u32,
    on_class: u32,
    on: u32,
    /// From 1; 0: the whole.
    on_column: i64,
    kind: &'static str,
}

/// What a foreign key needs: its columns, with which it goes, those that it refers to, and the index that finds them.
fn of_foreign_keys(item: &Item) -> Vec<Depends> {
    let (class, relation) = (class("pg_constraint"), self::class("pg_class"));
    let mut rows = Vec::new();
    for constraint in pg_constraint::of_table(item) {
        let Some(key) = constraint.foreign_key() else { continue };
        let oid = oid::part(item.id, constraint.number);
        let mut on = |on: u32, on_column: i64, kind| {
            rows.push(Depends { class, oid, on_class: relation, on, on_column, kind });
        };
        key.columns.iter().for_each(|at| on(item.id.0, i64::from(*at) + 1, "a"));
        key.target_columns.iter().for_each(|at| on(key.target.0, i64::from(*at) + 1, "n"));
        if let Some(index) = constraint.target_index() {
            on(oid::part(key.target, index), 0, "n");
        }
    }
    rows
}

/// The column that a sequence goes with, from 1, if that is known: the table's that counts with it or has it in its
/// DEFAULT. And whether it is an identity column.
fn counted(state: &State, table: ObjectId, sequence: ObjectId) -> (i64, bool) {
    let Some(Body::Table(table)) = state.object(table).map(|object| &object.body) else { return (0, false) };
    let is_identity = |column: &Column| column.identity.is_some_and(|identity| identity.sequence == sequence);
    let by_default = |column: &Column| {
        column.default.as_ref().is_some_and(|default| default.references.contains(&sequence))
    };
    let found = (1..).zip(&table.columns).find(|(_, column)| is_identity(column) || by_default(column));
    found.map_or((0, false), |(at, column)| (at, is_identity(column)))
}

static PG_DEPEND: Of<Depends> = Of {
    schema: "pg_catalog",
    name: "pg_depend",
    keys: &[],
    items: |look| {
        Box::new(everything(&look.info).flat_map(|item| {
            let object = item.object();
            let state = item.info.view.state();
            let of_keys = of_foreign_keys(&item);
            let by_key = |on: &ObjectId| match &object.body {
                Body::Table(table) => {
                    let keyed = table.foreign_keys.iter().any(|key| key.target == *on);
                    keyed && !table.named().any(|named| named == *on)
                }
                _ => false,
            };
            let others = object.references().into_iter().filter(|on| !by_key(on));
            let others = others.filter_map(|on| Some((on, state.object(on)?))).map(|(on, referred)| {
                let (on_column, kind) = match object.body {
                    Body::Sequence(_) => match counted(state, on, item.id) {
                        (at, true) => (at, "i"),
                        (at, false) => (at, "a"),
                    },
                    _ => (0, "n"),
                };
                let (class, oid) = (class_of(object), oid_of(item.id, object));
                Depends {
                    class,
                    oid,
                    on_class: class_of(referred),
                    on: oid_of(on, referred),
                    on_column,
                    kind,
                }
            });
            let rows: Vec<_> = others.chain(of_keys).collect();
            rows
        }))
    },
    columns: &[
        ("classid", Oid, |depends| number(depends.class)),
        ("objid", Oid, |depends| number(depends.oid)),
        ("objsubid", Int4, |_| number(0)),
        ("refclassid", Oid, |depends| number(depends.on_class)),
        ("refobjid", Oid, |depends| number(depends.on)),
        ("refobjsubid", Int4, |depends| Value::Integer(depends.on_column)),
        ("deptype", Text, |depends| text(depends.kind)),
    ],
};

/// That an object depends on a role: `o` by ownership, `a` by what was granted.
struct OnRole {
    database: u32,
    class: u32,
    oid: u32,
    role: PrincipalId,
    kind: &'static str,
}

fn on_roles(item: &Item) -> Vec<OnRole> {
    let object = item.object();
    let database = match object.body {
        Body::Database => 0,
        _ => item.info.view.state().database_of(item.id).map_or(0, |id| id.0),
    };
    let row =
        |role, kind| OnRole { database, class: class_of(object), oid: oid_of(item.id, object), role, kind };
    let real = |role: &PrincipalId| !matches!(*role, PrincipalId::NODE | PrincipalId::PUBLIC);
    let owner = Some(object.owner).filter(real).map(|owner| row(owner, "o"));
    let grantees = object.acl.entries().iter().map(|entry| entry.grantee);
    let grantees = grantees.filter(|grantee| *grantee != object.owner).filter(real);
    owner.into_iter().chain(grantees.map(|grantee| row(grantee, "a"))).collect()
}

static PG_SHDEPEND: Of<OnRole> = Of {
    schema: "pg_catalog",
    name: "pg_shdepend",
    keys: &[],
    items: |look| {
        Box::new(item::databases(look).chain(everything(&look.info)).flat_map(|item| on_roles(&item)))
    },
    columns: &[
        ("dbid", Oid, |row| number(row.database)),
        ("classid", Oid, |row| number(row.class)),
        ("objid", Oid, |row| number(row.oid)),
        ("objsubid", Int4, |_| number(0)),
        ("refclassid", Oid, |_| number(class("pg_authid"))),
        ("refobjid", Oid, |row| number(row.role.0)),
        ("deptype", Text, |row| text(row.kind)),
    ],
};

static PG_DEFAULT_ACL: Of<(u16, DefaultAclRow)> = Of {
    schema: "pg_catalog",
    name: "pg_default_acl",
    keys: &[],
    items: |look: &Look| {
        let database = item::current_database(&look.info);
        let rows = database.map(|database| list::default_acls(&look.info.view, Some(database)));
        Box::new((0..).zip(rows.unwrap_or_default()))
    },
    columns: &[
        ("oid", Oid, |(number_in_list, row)| number(oid::part(row.database, *number_in_list))),
        // 0: objects of all roles.
        ("defaclrole", Oid, |(_, row)| number(row.creator.map_or(0, |creator| creator.0))),
        ("defaclnamespace", Oid, |(_, row)| number(row.schema.map_or(0, |schema| schema.0))),
        ("defaclobjtype", Text, |(_, row)| text(row.object_type)),
        ("defaclacl", Array(Element::AclItem), |(_, row)| array(row.acl.iter().map(String::as_str))),
    ],
};
