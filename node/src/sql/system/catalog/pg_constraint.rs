//! Indexes and constraints. A primary key and a UNIQUE constraint are an index each.

use std::sync::Arc;

use grantd_catalog::object::{Check, ForeignKey, IndexKey, KeyPart, ReferentialAction, Table};
use grantd_raft::rows::Value;

use super::item::{self, IndexFacts, Item, Relation, index_numbers};
use super::{Computed, Items, Look, Of, array, count, number, oid, text, truth};
use crate::sql::system::foreign_key;
use crate::sql::system::name::action_words;
use crate::sql::translate::quote_ident;
use crate::value::{Element, SqlType};
use SqlType::{Array, Bool, Int2, Int4, Name, Oid, Text};

pub(super) const TABLES: &[&dyn Computed] = &[&PG_INDEX, &PG_INDEXES, &PG_CONSTRAINT];

/// A constraint of a table: an index's, a CHECK from [`oid::FIRST_CHECK`] on, or a foreign key from
/// [`oid::FIRST_FOREIGN_KEY`] on.
pub struct Constraint {
    pub(super) item: Item,
    pub(super) number: u16,
}

impl Constraint {
    fn table(&self) -> &Table {
        self.item.table().expect("constraints are of tables")
    }

    fn check(&self) -> Option<&Check> {
        let at = self.number.checked_sub(oid::FIRST_CHECK)?;
        self.table().checks.get(usize::from(at)).filter(|_| self.number < oid::FIRST_FOREIGN_KEY)
    }

    pub(super) fn foreign_key(&self) -> Option<&ForeignKey> {
        let at = self.number.checked_sub(oid::FIRST_FOREIGN_KEY)?;
        self.table().foreign_keys.get(usize::from(at))
    }

    /// The table that a foreign key refers to.
    pub(super) fn target(&self) -> Option<Item> {
        self.foreign_key().map(|key| Item { info: Arc::clone(&self.item.info), id: key.target })
    }

    pub(super) fn name(&self) -> String {
        let index = || IndexFacts::of(self.table(), self.number).map(|index| index.name);
        let check = self.check().map(|check| &check.name);
        let name = check.or(self.foreign_key().map(|key| &key.name)).or_else(index);
        name.map_or_else(String::new, ToString::to_string)
    }

    /// `contype`.
    pub(super) fn kind(&self) -> &'static str {
        match self.number {
            0 => "p",
            oid::FIRST_FOREIGN_KEY.. => "f",
            oid::FIRST_CHECK.. => "c",
            _ => "u",
        }
    }

    /// The positions of its columns, from 1.
    pub(super) fn columns(&self) -> Vec<u16> {
        let table = self.table();
        match (self.check(), self.foreign_key()) {
            (Some(check), _) => (1..)
                .zip(&table.columns)
                .filter(|(_, column)| check.expression.mentions(&column.name))
                .map(|(at, _)| at)
                .collect(),
            (None, Some(key)) => key.columns.iter().map(|at| at + 1).collect(),
            (None, None) => IndexFacts::of(table, self.number).map_or_else(Vec::new, |index| {
                index.keys.iter().filter_map(IndexKey::column).map(|at| at + 1).collect()
            }),
        }
    }

    pub(super) fn column_names(&self) -> Vec<String> {
        names(self.table(), &self.columns())
    }

    /// The columns that a foreign key refers to, from 1.
    fn target_columns(&self) -> Vec<u16> {
        let key = self.foreign_key();
        key.map_or_else(Vec::new, |key| key.target_columns.iter().map(|at| at + 1).collect())
    }

    pub(super) fn target_column_names(&self) -> Vec<String> {
        let target = self.target();
        target
            .as_ref()
            .and_then(Item::table)
            .map_or_else(Vec::new, |table| names(table, &self.target_columns()))
    }

    /// The number of the index that finds the rows that a foreign key refers to.
    pub(super) fn target_index(&self) -> Option<u16> {
        let target = self.target()?;
        let (table, key) = (target.table()?, self.foreign_key()?);
        index_numbers(table).find(|number| {
            IndexFacts::of(table, *number).is_some_and(|index| {
                index.unique
                    && index.predicate.is_none()
                    && index.keys.len() == key.target_columns.len()
                    && index
                        .columns()
                        .is_some_and(|found| found.iter().all(|at| key.target_columns.contains(at)))
            })
        })
    }

    pub(super) fn check_clause(&self) -> Option<String> {
        self.check().map(|check| format!("(({}))", check.expression.sql))
    }

    /// What stands behind CONSTRAINT and its name.
    pub(super) fn definition(&self) -> String {
        let list = quoted(&self.column_names());
        if let (Some(key), Some(target)) = (self.foreign_key(), self.target()) {
            let name = match item::is_visible(&target.info, target.id) {
                true => quote_ident(&target.name()),
                false => format!("{}.{}", quote_ident(&target.parent_name()), quote_ident(&target.name())),
            };
            let there = quoted(&self.target_column_names());
            let update = rule("UPDATE", key.on_update);
            let delete = rule("DELETE", key.on_delete);
            return format!("FOREIGN KEY ({list}) REFERENCES {name}({there}){update}{delete}");
        }
        match self.check() {
            Some(check) => format!("CHECK (({}))", check.expression.sql),
            None if self.number == 0 => format!("PRIMARY KEY ({list})"),
            None => format!("UNIQUE ({list})"),
        }
    }
}

fn rule(event: &str, action: ReferentialAction) -> String {
    match action {
        ReferentialAction::NoAction => String::new(),
        _ => format!(" ON {event} {}", action_words(action)),
    }
}

/// The same as the letter of pg_constraint.
fn action_letter(action: Option<ReferentialAction>) -> Value {
    text(match action {
        None => " ",
        Some(ReferentialAction::NoAction) => "a",
        Some(ReferentialAction::Restrict) => "r",
        Some(ReferentialAction::Cascade) => "c",
        Some(ReferentialAction::SetNull) => "n",
        Some(ReferentialAction::SetDefault) => "d",
    })
}

/// The foreign keys that refer to a table.
pub(super) fn referring(item: &Item) -> impl Iterator<Item = Constraint> + use<> {
    let (info, target) = (Arc::clone(&item.info), item.id);
    let mut ids: Vec<_> = foreign_key::referring(item.info.view.state(), target).map(|(id, _)| id).collect();
    ids.dedup();
    ids.into_iter()
        .flat_map(move |id| of_table(&Item { info: Arc::clone(&info), id }))
        .filter(move |constraint| constraint.foreign_key().is_some_and(|key| key.target == target))
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
    let foreign_keys = (oid::FIRST_FOREIGN_KEY..).zip(&table.foreign_keys).map(|(number, _)| number);
    let indexes = index_numbers(table).filter(|number| *number < oid::FIRST_PLAIN_INDEX);
    let numbers = indexes.chain(checks).chain(foreign_keys);
    numbers.map(|number| Constraint { item: item.clone(), number }).collect()
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
        None if look.wanted("confrelid").is_some() => {
            Box::new(item::objects(look, "confrelid", item::is_table).flat_map(|item| referring(&item)))
        }
        None => Box::new(item::objects(look, "conrelid", item::is_table).flat_map(|item| of_table(&item))),
    }
}

/// `CREATE INDEX`, as PostgreSQL would write it.
pub(super) fn index_definition(relation: &Relation) -> Option<String> {
    let table = relation.item.table()?;
    let index = facts(relation)?;
    let keys: Vec<_> = index.keys.iter().filter_map(|key| key_text(table, key)).collect();
    let predicate = index.predicate.map(|predicate| format!(" WHERE ({})", predicate.sql));
    Some(format!(
        "CREATE {}INDEX {} ON {}.{} USING btree ({}){}",
        if index.unique { "UNIQUE " } else { "" },
        quote_ident(&relation.name()),
        quote_ident(&relation.item.parent_name()),
        quote_ident(&relation.item.name()),
        keys.join(", "),
        predicate.unwrap_or_default()
    ))
}

fn key_text(table: &Table, key: &IndexKey) -> Option<String> {
    let direction = if key.descending { " DESC" } else { "" };
    Some(format!("{}{direction}", part_text(table, key)?))
}

/// What a key of an index is of.
pub(super) fn part_text(table: &Table, key: &IndexKey) -> Option<String> {
    Some(match &key.part {
        KeyPart::Column(at) => quote_ident(table.columns.get(usize::from(*at))?.name.as_str()),
        KeyPart::Expression(expression) => format!("({})", expression.sql),
    })
}

/// The text of a key of an index, counted from 1.
pub(super) fn key_of(relation: &Relation, number: i64) -> Option<String> {
    let at = usize::try_from(number).ok()?.checked_sub(1)?;
    part_text(relation.item.table()?, facts(relation)?.keys.get(at)?)
}

fn facts(relation: &Relation) -> Option<IndexFacts<'_>> {
    IndexFacts::of(relation.item.table()?, relation.index?)
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

fn keys(relation: &Relation) -> Vec<IndexKey> {
    facts(relation).map_or_else(Vec::new, |index| index.keys)
}

/// One number for each column of an index.
fn for_each(relation: &Relation, number: u32) -> Value {
    array(keys(relation).iter().map(|_| number.to_string()))
}

/// DESC is two bits in PostgreSQL: with it NULLs come first.
fn option(key: &IndexKey) -> &'static str {
    if key.descending { "3" } else { "0" }
}

static PG_INDEX: Of<Relation> = Of {
    schema: "pg_catalog",
    name: "pg_index",
    keys: &["indrelid", "indexrelid"],
    items: indexes,
    columns: &[
        ("indexrelid", Oid, |index| number(index.oid())),
        ("indrelid", Oid, |index| number(index.item.id.0)),
        ("indnatts", Int2, |index| count(keys(index).len())),
        ("indnkeyatts", Int2, |index| count(keys(index).len())),
        ("indisunique", Bool, |index| truth(facts(index).is_some_and(|facts| facts.unique))),
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
            // 0 stands for an expression.
            array(keys(index).iter().map(|key| key.column().map_or(0, |at| at + 1).to_string()))
        }),
        ("indcollation", Array(Element::OidVector), |index| for_each(index, 0)),
        ("indclass", Array(Element::OidVector), |index| for_each(index, 0)),
        ("indoption", Array(Element::Int2Vector), |index| array(keys(index).iter().map(option))),
        ("indexprs", Text, |index| {
            let keys = keys(index);
            let expressions: Vec<_> = keys.iter().filter_map(IndexKey::expression).collect();
            let text =
                expressions.iter().map(|expression| expression.sql.as_str()).collect::<Vec<_>>().join(", ");
            super::maybe(Some(text).filter(|text| !text.is_empty()))
        }),
        ("indpred", Text, |index| {
            let predicate = facts(index).and_then(|facts| facts.predicate);
            super::maybe(predicate.map(|predicate| format!("({})", predicate.sql)))
        }),
        ("indnullsnotdistinct", Bool, |_| truth(false)),
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
    keys: &["oid", "conrelid", "confrelid"],
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
            number(match constraint.kind() {
                "c" => 0,
                "f" => match (constraint.foreign_key(), constraint.target_index()) {
                    (Some(key), Some(index)) => oid::part(key.target, index),
                    _ => 0,
                },
                _ => oid::part(constraint.item.id, constraint.number),
            })
        }),
        ("conparentid", Oid, |_| number(0)),
        ("confrelid", Oid, |constraint| number(constraint.foreign_key().map_or(0, |key| key.target.0))),
        ("confupdtype", Text, |constraint| action_letter(constraint.foreign_key().map(|key| key.on_update))),
        ("confdeltype", Text, |constraint| action_letter(constraint.foreign_key().map(|key| key.on_delete))),
        ("confmatchtype", Text, |constraint| {
            text(if constraint.foreign_key().is_some() { "s" } else { " " })
        }),
        ("conislocal", Bool, |_| truth(true)),
        ("coninhcount", Int4, |_| number(0)),
        ("connoinherit", Bool, |_| truth(true)),
        ("conkey", Array(Element::Int2), |constraint| {
            array(constraint.columns().iter().map(ToString::to_string))
        }),
        ("confkey", Array(Element::Int2), |constraint| match constraint.foreign_key() {
            Some(_) => array(constraint.target_columns().iter().map(ToString::to_string)),
            None => Value::Null,
        }),
        ("conpfeqop", Array(Element::Oid), |_| Value::Null),
        ("conppeqop", Array(Element::Oid), |_| Value::Null),
        ("conffeqop", Array(Element::Oid), |_| Value::Null),
        ("conexclop", Array(Element::Oid), |_| Value::Null),
        ("conbin", Text, |constraint| super::maybe(constraint.check_clause())),
        ("consrc", Text, |constraint| super::maybe(constraint.check_clause())),
        ("condef", Text, |constraint| text(constraint.definition())),
    ],
};
