//! Indexes and constraints. There are no foreign keys; a primary key and a UNIQUE constraint are an index each.

use grantd_catalog::object::Table;
use grantd_raft::rows::Value;

use super::item::{self, Item, Relation, index_columns, index_name, index_numbers};
use super::{Computed, Items, Look, Of, array, count, number, oid, text, truth};
use crate::sql::translate::quote_ident;
use crate::sql::value::{Element, SqlType};
use SqlType::{Array, Bool, Int2, Int4, Name, Oid, Text};

pub(super) const TABLES: &[&dyn Computed] = &[&PG_INDEX, &PG_INDEXES, &PG_CONSTRAINT];

/// A constraint of a table: an index's, or a CHECK from [`oid::FIRST_CHECK`] on.
pub struct Constraint {
    pub(super) item: Item,
    pub(super) number: u16,
}

impl Constraint {
    fn table(&self) -> &Table {
        self.item.table().expect("constraints are of tables")
    }

    fn check(&self) -> Option<&grantd_catalog::object::Check> {
        let at = self.number.checked_sub(oid::FIRST_CHECK)?;
        self.table().checks.get(usize::from(at))
    }

    pub(super) fn name(&self) -> String {
        match self.check() {
            Some(check) => check.name.to_string(),
            None => index_name(&self.item, self.table(), self.number),
        }
    }

    /// `contype`.
    pub(super) fn kind(&self) -> &'static str {
        match self.number {
            0 => "p",
            oid::FIRST_CHECK.. => "c",
            _ => "u",
        }
    }

    /// The positions of its columns, from 1. Those of a CHECK are not recorded.
    pub(super) fn columns(&self) -> Vec<u16> {
        match self.check() {
            Some(_) => Vec::new(),
            None => index_columns(self.table(), self.number).iter().map(|at| at + 1).collect(),
        }
    }

    pub(super) fn column_names(&self) -> Vec<String> {
        names(self.table(), &self.columns())
    }

    pub(super) fn check_clause(&self) -> Option<String> {
        self.check().map(|check| format!("(({}))", check.expression.sql))
    }

    /// What stands behind CONSTRAINT and its name.
    pub(super) fn definition(&self) -> String {
        let list = quoted(&self.column_names());
        match self.check() {
            Some(check) => format!("CHECK (({}))", check.expression.sql),
            None if self.number == 0 => format!("PRIMARY KEY ({list})"),
            None => format!("UNIQUE ({list})"),
        }
    }
}

fn names(table: &Table, columns: &[u16]) -> Vec<String> {
    let name = |at: &u16| Some(table.columns.get(usize::from(at.checked_sub(1)?))?.name.to_string());
    columns.iter().filter_map(name).collect()
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| quote_ident(name)).collect::<Vec<_>>().join(", ")
}

/// The constraints of one table.
pub(super) fn of_table(item: &Item) -> Vec<Constraint> {
    let Some(table) = item.table() else { return Vec::new() };
    let checks = (oid::FIRST_CHECK..).zip(&table.checks).map(|(number, _)| number);
    index_numbers(table).chain(checks).map(|number| Constraint { item: item.clone(), number }).collect()
}

/// The constraint with this OID.
pub(super) fn with_oid(look: &Look, wanted: u32) -> Items<Constraint> {
    let Some((table, number)) = oid::part_of(wanted) else { return Box::new([].into_iter()) };
    let of = item::child(&look.info, table, item::is_table).flat_map(|item| of_table(&item));
    Box::new(of.filter(move |constraint| constraint.number == number))
}

fn constraints(look: &Look) -> Items<Constraint> {
    match look.wanted("oid") {
        Some(wanted) => with_oid(look, wanted),
        None => Box::new(item::objects(look, "conrelid", item::is_table).flat_map(|item| of_table(&item))),
    }
}

/// `CREATE INDEX`, as PostgreSQL would write it.
pub(super) fn index_definition(relation: &Relation) -> Option<String> {
    let (number, table) = (relation.index?, relation.item.table()?);
    let columns: Vec<_> = index_columns(table, number).iter().map(|at| at + 1).collect();
    Some(format!(
        "CREATE UNIQUE INDEX {} ON {}.{} USING btree ({})",
        quote_ident(&relation.name()),
        quote_ident(&relation.item.parent_name()),
        quote_ident(&relation.item.name()),
        quoted(&names(table, &columns))
    ))
}

fn indexes(look: &Look) -> Items<Relation> {
    if look.wanted("indexrelid").is_some() {
        return Box::new(item::relations(look, "indexrelid").filter(|relation| relation.index.is_some()));
    }
    Box::new(item::objects(look, "indrelid", item::is_table).flat_map(|item| {
        let numbers: Vec<_> = item.table().map(index_numbers).into_iter().flatten().collect();
        numbers.into_iter().map(move |number| Relation { item: item.clone(), index: Some(number) })
    }))
}

fn positions(relation: &Relation) -> Vec<u16> {
    match (relation.item.table(), relation.index) {
        (Some(table), Some(number)) => index_columns(table, number).iter().map(|at| at + 1).collect(),
        _ => Vec::new(),
    }
}

/// One number for each column of an index.
fn for_each(relation: &Relation, number: u32) -> Value {
    array(positions(relation).iter().map(|_| number.to_string()))
}

static PG_INDEX: Of<Relation> = Of {
    schema: "pg_catalog",
    name: "pg_index",
    keys: &["indrelid", "indexrelid"],
    items: indexes,
    columns: &[
        ("indexrelid", Oid, |index| number(index.oid())),
        ("indrelid", Oid, |index| number(index.item.id.0)),
        ("indnatts", Int2, |index| count(positions(index).len())),
        ("indnkeyatts", Int2, |index| count(positions(index).len())),
        ("indisunique", Bool, |_| truth(true)),
        ("indisprimary", Bool, |index| truth(index.index == Some(0))),
        ("indisexclusion", Bool, |_| truth(false)),
        ("indimmediate", Bool, |_| truth(true)),
        ("indisclustered", Bool, |_| truth(false)),
        ("indisvalid", Bool, |_| truth(true)),
        ("indcheckxmin", Bool, |_| truth(false)),
        ("indisready", Bool, |_| truth(true)),
        ("indislive", Bool, |_| truth(true)),
        ("indisreplident", Bool, |_| truth(false)),
        ("indkey", Array(Element::Int2Vector), |index| {
            array(positions(index).iter().map(ToString::to_string))
        }),
        ("indcollation", Array(Element::OidVector), |index| for_each(index, 0)),
        ("indclass", Array(Element::OidVector), |index| for_each(index, 0)),
        ("indoption", Array(Element::Int2Vector), |index| for_each(index, 0)),
        ("indexprs", Text, |_| Value::Null),
        ("indpred", Text, |_| Value::Null),
    ],
};

static PG_INDEXES: Of<Relation> = Of {
    schema: "pg_catalog",
    name: "pg_indexes",
    keys: &[],
    items: indexes,
    columns: &[
        ("schemaname", Name, |index| text(index.item.parent_name())),
        ("tablename", Name, |index| text(index.item.name())),
        ("indexname", Name, |index| text(index.name())),
        ("tablespace", Name, |_| Value::Null),
        ("indexdef", Text, |index| super::maybe(index_definition(index))),
    ],
};

static PG_CONSTRAINT: Of<Constraint> = Of {
    schema: "pg_catalog",
    name: "pg_constraint",
    keys: &["oid", "conrelid"],
    items: constraints,
    columns: &[
        ("oid", Oid, |constraint| number(oid::part(constraint.item.id, constraint.number))),
        ("conname", Name, |constraint| text(constraint.name())),
        ("connamespace", Oid, |constraint| number(constraint.item.object().parent.0)),
        ("contype", Text, |constraint| text(constraint.kind())),
        ("condeferrable", Bool, |_| truth(false)),
        ("condeferred", Bool, |_| truth(false)),
        ("convalidated", Bool, |_| truth(true)),
        ("conrelid", Oid, |constraint| number(constraint.item.id.0)),
        ("contypid", Oid, |_| number(0)),
        ("conindid", Oid, |constraint| {
            number(if constraint.check().is_some() {
                0
            } else {
                oid::part(constraint.item.id, constraint.number)
            })
        }),
        ("conparentid", Oid, |_| number(0)),
        ("confrelid", Oid, |_| number(0)),
        ("confupdtype", Text, |_| text(" ")),
        ("confdeltype", Text, |_| text(" ")),
        ("confmatchtype", Text, |_| text(" ")),
        ("conislocal", Bool, |_| truth(true)),
        ("coninhcount", Int4, |_| number(0)),
        ("connoinherit", Bool, |_| truth(true)),
        ("conkey", Array(Element::Int2), |constraint| {
            array(constraint.columns().iter().map(ToString::to_string))
        }),
        ("confkey", Array(Element::Int2), |_| Value::Null),
        ("conpfeqop", Array(Element::Oid), |_| Value::Null),
        ("conppeqop", Array(Element::Oid), |_| Value::Null),
        ("conffeqop", Array(Element::Oid), |_| Value::Null),
        ("conexclop", Array(Element::Oid), |_| Value::Null),
        ("conbin", Text, |constraint| super::maybe(constraint.check_clause())),
        ("consrc", Text, |constraint| super::maybe(constraint.check_clause())),
        ("condef", Text, |constraint| text(constraint.definition())),
    ],
};
