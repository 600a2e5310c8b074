//! ALTER TABLE and statements about indexes, on columns and constraints of few names.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::commands::{behavior, made_sequence};
use super::names::{TABLES, any_type, name_of, place, virtual_name};
use super::{column, expression, table};
use crate::command::{
    Command, IndexName, NewConstraint, NewForeignKey, NewIdentity, NewIndexKey, ObjectName, Rule, TableAction,
};
use crate::name::Name;
use crate::object::{Column, ColumnType, Expression, KeyPart, ReferentialAction, Table};

const COLUMNS: [&str; 5] = ["k", "v", "a", "b", "rowid"];

/// A table whose key is hidden.
pub(super) fn keyless() -> Table {
    let hidden = Column { hidden: true, ..column("rowid", ColumnType::Int8) };
    let open = Column { nullable: true, ..column("a", ColumnType::Int8) };
    Table { columns: vec![column("k", ColumnType::Int8), open, hidden], primary_key: vec![2], ..table() }
}

/// A statement that changes tables.
pub(super) fn command() -> BoxedStrategy<Command> {
    let tables = || prop_oneof![12 => name_of(&TABLES), 1 => virtual_name()];
    prop_oneof![
        9 => (tables(), any::<bool>(), vec(action(), 1..3))
            .prop_map(|(name, if_exists, actions)| Command::AlterTable { name, if_exists, actions }),
        6 => create_index(),
        2 => (vec(index_name(), 1..3), any::<bool>(), behavior())
            .prop_map(|(names, if_exists, behavior)| Command::DropIndexes { names, if_exists, behavior }),
        1 => (index_name(), any::<bool>(), part())
            .prop_map(|(index, if_exists, to)| Command::RenameIndex { index, if_exists, to }),
        4 => (prop_oneof![4 => own_index(), 1 => index_name()], prop::option::weighted(0.7, Just("what it is".to_owned())))
            .prop_map(|(index, text)| Command::CommentOnIndex { index, text }),
    ]
    .boxed()
}

/// A foreign key to any table.
pub(super) fn foreign_key() -> BoxedStrategy<NewConstraint> {
    (prop::option::weighted(0.3, part()), foreign_rule())
        .prop_map(|(name, rule)| NewConstraint { name, rule })
        .boxed()
}

fn action() -> BoxedStrategy<TableAction> {
    let constraint = || {
        (prop::option::weighted(0.5, part()), rule()).prop_map(|(name, rule)| NewConstraint { name, rule })
    };
    prop_oneof![
        5 => (new_column(), any::<bool>(), prop::option::of(Just("7".to_owned())), vec(constraint(), 0..2)).prop_map(
            |(column, if_not_exists, fill, constraints)| TableAction::AddColumn {
                column,
                if_not_exists,
                fill,
                constraints,
            }
        ),
        3 => (column_name(), any::<bool>(), behavior())
            .prop_map(|(column, if_exists, behavior)| TableAction::DropColumn { column, if_exists, behavior }),
        2 => (column_name(), column_name(), any::<bool>()).prop_map(|(column, to, whole)| {
            let expressions = if whole { renamed(&column, &to) } else { Vec::new() };
            TableAction::RenameColumn { column, to, expressions }
        }),
        1 => (column_name(), default()).prop_map(|(column, default)| TableAction::SetDefault { column, default }),
        2 => (column_name(), any::<bool>())
            .prop_map(|(column, nullable)| TableAction::SetNullable { column, nullable }),
        1 => (column_name(), column_type(), prop::option::of(Just("1".to_owned())), any::<bool>()).prop_map(
            |(column, column_type, using, whole)| {
                let expressions = if whole { retyped() } else { Vec::new() };
                TableAction::SetType { column, column_type, using, expressions }
            }
        ),
        2 => identity().prop_map(TableAction::AddIdentity),
        2 => (prop_oneof![2 => Just(Name::normalize("k")), 1 => column_name()], any::<bool>())
            .prop_map(|(column, if_exists)| TableAction::DropIdentity { column, if_exists }),
        7 => (constraint(), any::<bool>())
            .prop_map(|(constraint, if_not_exists)| TableAction::AddConstraint { constraint, if_not_exists }),
        2 => (part(), any::<bool>(), behavior()).prop_map(|(constraint, if_exists, behavior)| {
            TableAction::DropConstraint { constraint, if_exists, behavior }
        }),
        1 => (part(), part()).prop_map(|(constraint, to)| TableAction::RenameConstraint { constraint, to }),
    ]
    .boxed()
}

fn rule() -> BoxedStrategy<Rule> {
    prop_oneof![
        2 => columns().prop_map(Rule::PrimaryKey),
        3 => columns().prop_map(Rule::Unique),
        2 => columns().prop_map(|columns| Rule::Check(reading(&columns))),
        5 => foreign_rule(),
    ]
    .boxed()
}

fn foreign_rule() -> BoxedStrategy<Rule> {
    let on = || {
        prop_oneof![
            4 => Just(ReferentialAction::NoAction),
            1 => Just(ReferentialAction::Restrict),
            2 => Just(ReferentialAction::Cascade),
            1 => Just(ReferentialAction::SetNull),
            1 => Just(ReferentialAction::SetDefault),
        ]
    };
    let target = prop_oneof![12 => name_of(&TABLES), 1 => virtual_name()];
    let there = prop_oneof![2 => Just(Vec::new()), 2 => columns()];
    (columns(), target, there, on(), on())
        .prop_map(|(columns, target, target_columns, on_delete, on_update)| {
            Rule::ForeignKey(NewForeignKey { columns, target, target_columns, on_delete, on_update })
        })
        .boxed()
}

fn create_index() -> impl Strategy<Value = Command> {
    // Every table has `k`; most of the others are refused.
    let column = prop_oneof![3 => Just(Name::normalize("k")), 1 => column_name()];
    let of = prop_oneof![
        5 => column.prop_map(KeyPart::Column),
        1 => columns().prop_map(|columns| KeyPart::Expression(reading(&columns))),
    ];
    let key = (of, any::<bool>()).prop_map(|(part, descending)| NewIndexKey { part, descending });
    let predicate = prop::option::weighted(0.15, columns().prop_map(|columns| reading(&columns)));
    (
        prop::option::weighted(0.8, prop_oneof![2 => own_name(), 1 => part()]),
        any::<bool>(),
        prop_oneof![12 => name_of(&TABLES), 1 => virtual_name()],
        prop_oneof![3 => vec(key.clone(), 1), 1 => vec(key, 2)],
        any::<bool>(),
        predicate,
    )
        .prop_map(|(name, if_not_exists, table, keys, unique, predicate)| Command::CreateIndex {
            name,
            if_not_exists,
            table,
            keys,
            unique,
            predicate,
        })
}

/// A column that counts its rows: most often the one that every table has.
pub(super) fn identity() -> impl Strategy<Value = NewIdentity> {
    let column = prop_oneof![2 => Just(Name::normalize("k")), 1 => column_name()];
    (column, any::<bool>(), made_sequence()).prop_map(|(column, always, sequence)| NewIdentity {
        column,
        always,
        sequence,
    })
}

/// What CREATE INDEX most often calls an index: no constraint's, which has no comment.
fn own_name() -> impl Strategy<Value = Name> {
    select(vec!["one", "two"]).prop_map(Name::normalize)
}

fn own_index() -> impl Strategy<Value = IndexName> {
    (name_of(&TABLES), own_name())
        .prop_map(|(table, name)| IndexName { table: Some(table), index: ObjectName { parts: vec![name] } })
}

fn index_name() -> impl Strategy<Value = IndexName> {
    let alone = |name: Name| ObjectName { parts: vec![name] };
    prop_oneof![
        3 => (name_of(&TABLES), part())
            .prop_map(move |(table, name)| IndexName { table: Some(table), index: alone(name) }),
        1 => part().prop_map(move |name| IndexName { table: None, index: alone(name) }),
        1 => (select(vec!["public", "ops", "shop"]), part()).prop_map(|(schema, name)| IndexName {
            table: None,
            index: ObjectName { parts: vec![schema.into(), name] },
        }),
    ]
}

/// A constraint or index.
fn part() -> impl Strategy<Value = Name> {
    select(vec!["key", "one", "two", "item_a_key", "bill_a_key", "item_k_idx", "bill_k_fkey", "item_k_fkey"])
        .prop_map(Name::normalize)
}

fn column_name() -> impl Strategy<Value = Name> {
    prop_oneof![12 => select(&COLUMNS[..4]), 1 => Just(COLUMNS[4]), 1 => Just("gone")]
        .prop_map(Name::normalize)
}

fn columns() -> impl Strategy<Value = Vec<Name>> {
    vec(column_name(), 1..3)
}

fn column_type() -> BoxedStrategy<ColumnType> {
    prop_oneof![5 => Just(ColumnType::Int8), 1 => Just(ColumnType::Int2), 2 => any_type()].boxed()
}

fn new_column() -> impl Strategy<Value = Column> {
    let computed = prop::option::weighted(0.2, column_name().prop_map(|column| reading(&[column])));
    let name = prop_oneof![20 => column_name(), 1 => Just(Name::normalize("K"))];
    (name, column_type(), any::<bool>(), default(), computed).prop_map(
        |(name, column_type, nullable, default, computed)| Column {
            nullable,
            default,
            computed,
            ..column(name.as_str(), column_type)
        },
    )
}

fn default() -> impl Strategy<Value = Option<Expression>> {
    prop::option::weighted(0.3, vec(place(), 0..2).prop_map(|references| expression(&[], references)))
}

fn reading(columns: &[Name]) -> Expression {
    let columns: Vec<_> = columns.iter().map(Name::as_str).collect();
    expression(&columns, Vec::new())
}

/// Every expression of one or two columns, and as it is when one of them has another name. Those that name objects are not
/// among them.
fn renamed(column: &Name, to: &Name) -> Vec<(Expression, Expression)> {
    let mut all = vec![expression(&[], Vec::new())];
    let words = [&COLUMNS[..], &["gone"]].concat();
    for one in &words {
        all.push(expression(&[one], Vec::new()));
        all.extend(words.iter().map(|other| expression(&[one, other], Vec::new())));
    }
    let renamed = |text: &str| text.replace(&format!("\"{column}\""), &format!("\"{to}\""));
    all.into_iter()
        .map(|was| {
            let now = Expression { stored: renamed(&was.stored), ..was.clone() };
            (was, now)
        })
        .collect()
}

/// Every expression of one or two columns, and as it is for another type of theirs: those of one column are the same.
fn retyped() -> Vec<(Expression, Expression)> {
    let mut all = Vec::new();
    for one in COLUMNS {
        let same = expression(&[one], Vec::new());
        all.push((same.clone(), same));
        for other in COLUMNS {
            let was = expression(&[one, other], Vec::new());
            all.push((was.clone(), Expression { sql: format!("{} ", was.sql), ..was }));
        }
    }
    all
}
