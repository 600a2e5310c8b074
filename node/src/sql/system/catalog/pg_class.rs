//! Relations, their columns, and the simpler lists made of them.

use grantd_catalog::id::PrincipalId;
use grantd_catalog::object::Body;
use grantd_raft::rows::Value;

use super::item::{self, ColumnFacts, Item, Relation};
use super::types::TypeRef;
use super::{Computed, Items, Look, Of, acl, array, count, maybe, number, oid, text, truth};
use crate::value::{Element, SqlType};
use SqlType::{Array, Bool, Float8, Int2, Int4, Int8, Name, Oid, Text, TextArray};

pub(super) const TABLES: &[&dyn Computed] =
    &[&PG_CLASS, &PG_ATTRIBUTE, &PG_ATTRDEF, &PG_TABLES, &PG_VIEWS, &PG_SEQUENCE, &PG_SEQUENCES];

/// `relkind`.
pub(super) fn kind(relation: &Relation) -> &'static str {
    match (relation.index, &relation.item.object().body) {
        (Some(_), _) => "i",
        (None, Body::View(_)) => "v",
        (None, Body::Sequence(_)) => "S",
        // Virtual tables are tables, as in CockroachDB: clients may read them.
        (None, _) => "r",
    }
}

fn has_indexes(relation: &Relation) -> bool {
    relation.index.is_none() && relation.item.table().is_some()
}

/// Whether it refers to a table or is referred to: PostgreSQL does that by triggers, and psql looks for them first.
fn has_foreign_keys(relation: &Relation) -> bool {
    let Relation { item, index: None } = relation else { return false };
    item.table().is_some_and(|table| {
        !table.foreign_keys.is_empty() || super::pg_constraint::referring(item).next().is_some()
    })
}

fn checks(relation: &Relation) -> Value {
    count(relation.item.table().filter(|_| relation.index.is_none()).map_or(0, |table| table.checks.len()))
}

/// The access method: of a heap, of a B-tree, or none.
fn method(relation: &Relation) -> Value {
    number(match kind(relation) {
        "i" => super::pg_empty::BTREE,
        "r" => super::pg_empty::HEAP,
        _ => 0,
    })
}

fn privileges(relation: &Relation) -> Value {
    match relation.index {
        Some(_) => Value::Null,
        None => array(acl::items(&relation.item.info, relation.item.id)),
    }
}

static PG_CLASS: Of<Relation> = Of {
    schema: "pg_catalog",
    name: "pg_class",
    keys: &["oid"],
    items: |look| item::relations(look, "oid"),
    columns: &[
        ("oid", Oid, |relation| number(relation.oid())),
        ("relname", Name, |relation| text(relation.name())),
        ("relnamespace", Oid, |relation| number(relation.item.object().parent.0)),
        ("reltype", Oid, |_| number(0)),
        ("reloftype", Oid, |_| number(0)),
        ("relowner", Oid, |relation| number(relation.item.owner().0)),
        ("relam", Oid, method),
        ("relfilenode", Oid, |_| number(0)),
        ("reltablespace", Oid, |_| number(0)),
        ("relpages", Int4, |_| number(0)),
        ("reltuples", Float8, |_| Value::Real(0.0)),
        ("relallvisible", Int4, |_| number(0)),
        ("reltoastrelid", Oid, |_| number(0)),
        ("relhasindex", Bool, |relation| truth(has_indexes(relation))),
        ("relisshared", Bool, |_| truth(false)),
        ("relpersistence", Text, |_| text("p")),
        ("relkind", Text, |relation| text(kind(relation))),
        ("relnatts", Int2, |relation| count(relation.columns().len())),
        ("relchecks", Int2, checks),
        ("relhasrules", Bool, |_| truth(false)),
        ("relhastriggers", Bool, |relation| truth(has_foreign_keys(relation))),
        ("relhassubclass", Bool, |_| truth(false)),
        ("relrowsecurity", Bool, |_| truth(false)),
        ("relforcerowsecurity", Bool, |_| truth(false)),
        ("relispopulated", Bool, |_| truth(true)),
        ("relreplident", Text, |relation| text(if kind(relation) == "r" { "d" } else { "n" })),
        ("relispartition", Bool, |_| truth(false)),
        ("relrewrite", Oid, |_| number(0)),
        ("relfrozenxid", Oid, |_| number(0)),
        ("relminmxid", Oid, |_| number(0)),
        ("relacl", Array(Element::AclItem), privileges),
        ("reloptions", TextArray, |_| Value::Null),
        ("relpartbound", Text, |_| Value::Null),
    ],
};

/// A column of a relation.
struct Attribute {
    relation: u32,
    facts: ColumnFacts,
}

fn attributes(look: &Look, column: &str) -> Items<Attribute> {
    Box::new(item::relations(look, column).flat_map(|relation| {
        let oid = relation.oid();
        relation.columns().into_iter().map(move |facts| Attribute { relation: oid, facts })
    }))
}

/// The collation of texts is the only one there is.
fn collation(sql_type: TypeRef) -> Value {
    number(if matches!(sql_type.oid, 19 | 25 | 1043) { super::pg_empty::DEFAULT_COLLATION } else { 0 })
}

static PG_ATTRIBUTE: Of<Attribute> = Of {
    schema: "pg_catalog",
    name: "pg_attribute",
    keys: &["attrelid"],
    items: |look| attributes(look, "attrelid"),
    columns: &[
        ("attrelid", Oid, |attribute| number(attribute.relation)),
        ("attname", Name, |attribute| text(attribute.facts.name.as_str())),
        ("atttypid", Oid, |attribute| number(attribute.facts.sql_type.oid)),
        ("attstattarget", Int4, |_| number(0)),
        ("attlen", Int2, |attribute| Value::Integer(attribute.facts.sql_type.bytes())),
        ("attnum", Int2, |attribute| Value::Integer(attribute.facts.number)),
        ("attndims", Int4, |attribute| number(i64::from(attribute.facts.sql_type.element().is_some()))),
        ("attcacheoff", Int4, |_| Value::Integer(-1)),
        ("atttypmod", Int4, |attribute| Value::Integer(attribute.facts.sql_type.modifier)),
        ("attbyval", Bool, |_| truth(false)),
        ("attstorage", Text, |_| text("p")),
        ("attalign", Text, |_| text("i")),
        ("attnotnull", Bool, |attribute| truth(!attribute.facts.nullable)),
        ("atthasdef", Bool, |attribute| truth(expression(&attribute.facts).is_some())),
        ("atthasmissing", Bool, |_| truth(false)),
        ("attidentity", Text, |attribute| {
            text(match attribute.facts.identity {
                Some(identity) if identity.always => "a",
                Some(_) => "d",
                None => "",
            })
        }),
        ("attgenerated", Text, |attribute| text(if attribute.facts.computed.is_some() { "s" } else { "" })),
        ("attisdropped", Bool, |_| truth(false)),
        ("attislocal", Bool, |_| truth(true)),
        ("attinhcount", Int4, |_| number(0)),
        ("attcollation", Oid, |attribute| collation(attribute.facts.sql_type)),
        ("attacl", Array(Element::AclItem), |_| Value::Null),
        ("attoptions", TextArray, |_| Value::Null),
        ("attfdwoptions", TextArray, |_| Value::Null),
        ("attmissingval", Text, |_| Value::Null),
        ("attishidden", Bool, |attribute| truth(attribute.facts.hidden)),
    ],
};

/// The DEFAULT of a column, or what it is computed from.
fn expression(facts: &ColumnFacts) -> Option<String> {
    let computed = facts.computed.as_ref().map(|computed| format!("({computed})"));
    facts.default.clone().or(computed)
}

/// A column with such.
struct ColumnDefault {
    relation: Relation,
    facts: ColumnFacts,
}

static PG_ATTRDEF: Of<ColumnDefault> = Of {
    schema: "pg_catalog",
    name: "pg_attrdef",
    keys: &["adrelid"],
    items: |look| {
        Box::new(item::objects(look, "adrelid", item::is_table).flat_map(|item| {
            let relation = Relation { item, index: None };
            let facts: Vec<_> =
                relation.columns().into_iter().filter(|facts| expression(facts).is_some()).collect();
            facts.into_iter().map(move |facts| ColumnDefault { relation: relation.clone(), facts })
        }))
    },
    columns: &[
        ("oid", Oid, |default| {
            number(oid::part(default.relation.item.id, u16::try_from(default.facts.number).unwrap_or(0)))
        }),
        ("adrelid", Oid, |default| number(default.relation.oid())),
        ("adnum", Int2, |default| Value::Integer(default.facts.number)),
        ("adbin", Text, |default| maybe(expression(&default.facts))),
        ("adsrc", Text, |default| maybe(expression(&default.facts))),
    ],
};

fn owner_name(item: &Item) -> Value {
    if item.owner() == PrincipalId::NODE { Value::Null } else { text(item.owner_name()) }
}

static PG_TABLES: Of<Item> = Of {
    schema: "pg_catalog",
    name: "pg_tables",
    keys: &[],
    items: |look| {
        item::children(&look.info, |object| matches!(object.body, Body::Table(_) | Body::VirtualTable))
    },
    columns: &[
        ("schemaname", Name, |item| text(item.parent_name())),
        ("tablename", Name, |item| text(item.name())),
        ("tableowner", Name, |item| text(item.owner_name())),
        ("tablespace", Name, |_| Value::Null),
        ("hasindexes", Bool, |item| truth(item.table().is_some())),
        ("hasrules", Bool, |_| truth(false)),
        ("hastriggers", Bool, |_| truth(false)),
        ("rowsecurity", Bool, |_| truth(false)),
    ],
};

/// The query of a view.
pub(super) fn definition(item: &Item) -> Option<String> {
    match &item.object().body {
        Body::View(view) => Some(view.query.clone()),
        _ => None,
    }
}

static PG_VIEWS: Of<Item> = Of {
    schema: "pg_catalog",
    name: "pg_views",
    keys: &[],
    items: |look| item::children(&look.info, item::is_view),
    columns: &[
        ("schemaname", Name, |item| text(item.parent_name())),
        ("viewname", Name, |item| text(item.name())),
        ("viewowner", Name, owner_name),
        ("definition", Text, |item| maybe(definition(item))),
    ],
};

/// Start, increment, least and greatest value of a sequence.
pub(super) fn bounds(item: &Item) -> (i64, i64, i64, i64) {
    match &item.object().body {
        Body::Sequence(sequence) => (sequence.start, sequence.increment, sequence.min, sequence.max),
        _ => (1, 1, 1, i64::MAX),
    }
}

static PG_SEQUENCE: Of<Item> = Of {
    schema: "pg_catalog",
    name: "pg_sequence",
    keys: &["seqrelid"],
    items: |look| item::objects(look, "seqrelid", item::is_sequence),
    columns: &[
        ("seqrelid", Oid, |item| number(item.id.0)),
        ("seqtypid", Oid, |_| number(20)),
        ("seqstart", Int8, |item| Value::Integer(bounds(item).0)),
        ("seqincrement", Int8, |item| Value::Integer(bounds(item).1)),
        ("seqmax", Int8, |item| Value::Integer(bounds(item).3)),
        ("seqmin", Int8, |item| Value::Integer(bounds(item).2)),
        ("seqcache", Int8, |_| number(1)),
        ("seqcycle", Bool, |_| truth(false)),
    ],
};

static PG_SEQUENCES: Of<Item> = Of {
    schema: "pg_catalog",
    name: "pg_sequences",
    keys: &[],
    items: |look| item::children(&look.info, item::is_sequence),
    columns: &[
        ("schemaname", Name, |item| text(item.parent_name())),
        ("sequencename", Name, |item| text(item.name())),
        ("sequenceowner", Name, |item| text(item.owner_name())),
        ("data_type", Text, |_| text("bigint")),
        ("start_value", Int8, |item| Value::Integer(bounds(item).0)),
        ("min_value", Int8, |item| Value::Integer(bounds(item).2)),
        ("max_value", Int8, |item| Value::Integer(bounds(item).3)),
        ("increment_by", Int8, |item| Value::Integer(bounds(item).1)),
        ("cycle", Bool, |_| truth(false)),
        ("cache_size", Int8, |_| number(1)),
        // The position is a row of the row store, which a virtual table does not read.
        ("last_value", Int8, |_| Value::Null),
    ],
};
