//! SHOW TABLES, SEQUENCES, TYPES and the like; SHOW COLUMNS, INDEXES, CONSTRAINTS.

use grantd_catalog::command::{Actor, NameContext, ObjectName, SchemaName};
use grantd_catalog::id::ObjectId;
use grantd_catalog::list;
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::{Body, Column, KeyPart, Object, Table};
use grantd_catalog::privilege::ObjectKind;
use grantd_catalog::refusal;
use grantd_catalog::view::View;

use super::super::catalog;
use super::super::catalog::item::{IndexFacts, index_numbers};
use super::super::name::{default_text, type_word};
use super::{create, optional, text};
use crate::error::SqlError;
use crate::value::Datum;

type Cells = Vec<Datum>;

/// `[db.]schema` or a database, as the listings take it.
fn place(from: Option<&SchemaName>) -> Vec<Name> {
    from.map(|name| name.database.iter().chain([&name.schema]).cloned().collect()).unwrap_or_default()
}

fn owner(owner: Option<RoleName>) -> Datum {
    optional(owner.map(|owner| owner.to_string()))
}

/// Regions are not modelled: their columns are there, and empty, as in a cluster without regions.
pub(super) fn databases(view: &View, actor: Actor, comments: bool) -> Vec<Cells> {
    let state = view.state();
    let rows = list::databases(view, actor).into_iter().map(|row| {
        let regions = Datum::TextArray(Vec::new());
        let mut cells =
            vec![text(&row.database_name), text(&row.owner), Datum::Null, Datum::Null, regions, Datum::Null];
        if comments {
            let found = state.resolve_database(&row.database_name).ok().and_then(|id| state.object(id));
            cells.push(optional(found.and_then(|database| database.comment.clone())));
        }
        cells
    });
    rows.collect()
}

pub(super) fn schemas(
    view: &View,
    actor: Actor,
    context: &NameContext,
    from: Option<&Name>,
) -> Result<Vec<Cells>, SqlError> {
    let rows = list::schemas(view, actor, context, from)?;
    Ok(rows.into_iter().map(|row| vec![text(row.schema_name), owner(row.owner)]).collect())
}

pub(super) fn tables(
    view: &View,
    actor: Actor,
    context: &NameContext,
    from: Option<&SchemaName>,
    comments: bool,
) -> Result<Vec<Cells>, SqlError> {
    let state = view.state();
    let rows = list::tables(view, actor, context, &place(from))?;
    let comment = |row: &list::TableRow| {
        // Two parts may mean a database too; three mean one table.
        let database = match from {
            Some(SchemaName { database: Some(database), .. }) => Some(database.clone()),
            Some(SchemaName { schema, .. }) => {
                let (_, kind) = state.resolve_schema_or_database(context, schema).ok()?;
                if kind == ObjectKind::Database { Some(schema.clone()) } else { context.database.clone() }
            }
            None => context.database.clone(),
        };
        let parts = database.into_iter().chain([row.schema_name.clone(), row.table_name.clone()]).collect();
        let id = state.resolve_relation(context, &ObjectName { parts }).ok()?;
        state.object(id)?.comment.clone()
    };
    let cells = |row: list::TableRow| {
        let comment = comments.then(|| optional(comment(&row)));
        let (schema, table) = (text(row.schema_name), text(row.table_name));
        let mut cells = vec![schema, table, text(row.table_type), owner(row.owner), Datum::Null, Datum::Null];
        cells.extend(comment);
        cells
    };
    Ok(rows.into_iter().map(cells).collect())
}

pub(super) fn sequences(
    view: &View,
    context: &NameContext,
    from: Option<&Name>,
) -> Result<Vec<Cells>, SqlError> {
    let rows = list::sequences(view, context, from)?;
    Ok(rows.into_iter().map(|row| vec![text(row.sequence_schema), text(row.sequence_name)]).collect())
}

/// SHOW TYPES, or with the values SHOW ENUMS.
pub(super) fn types(
    view: &View,
    actor: Actor,
    context: &NameContext,
    from: Option<&SchemaName>,
    values: bool,
) -> Result<Vec<Cells>, SqlError> {
    let rows = list::types(view, actor, context, &place(from))?;
    let cells = |row: list::TypeRow| {
        let mut cells = vec![text(row.schema), text(row.name)];
        cells.extend(values.then(|| Datum::TextArray(row.values.into_iter().map(Some).collect())));
        cells.push(owner(row.owner));
        cells
    };
    Ok(rows.into_iter().map(cells).collect())
}

pub(super) fn functions(
    view: &View,
    actor: Actor,
    context: &NameContext,
    from: Option<&SchemaName>,
) -> Result<Vec<Cells>, SqlError> {
    let rows = list::functions(view, actor, context, &place(from))?;
    let cells = |row: list::FunctionRow| {
        vec![
            text(row.schema_name),
            text(row.function_name),
            text(row.result_data_type),
            text(row.argument_data_types),
            text("func"),
            text(row.volatility),
        ]
    };
    Ok(rows.into_iter().map(cells).collect())
}

/// The relation, whose name was resolved when its requirement was computed.
fn relation<'v>(
    view: &'v View,
    context: &NameContext,
    name: &ObjectName,
) -> Result<(ObjectId, &'v Object), SqlError> {
    let id = view.state().resolve_relation(context, name)?;
    let object = view.state().object(id).ok_or_else(|| refusal::object_gone(id))?;
    Ok((id, object))
}

pub(super) fn columns(
    view: &View,
    context: &NameContext,
    name: &ObjectName,
    comments: bool,
) -> Result<Vec<Cells>, SqlError> {
    let state = view.state();
    let (id, object) = relation(view, context, name)?;
    let row = |name: Datum, word: String, nullable, (default, computed), indices, hidden, comment| {
        let mut cells = vec![
            name,
            Datum::Text(word),
            Datum::Bool(nullable),
            default,
            computed,
            indices,
            Datum::Bool(hidden),
        ];
        if comments {
            cells.push(optional(comment));
        }
        cells
    };
    let no_index = || Datum::TextArray(Vec::new());
    let no_default = || (Datum::Null, text(""));
    Ok(match &object.body {
        Body::Table(table) => table
            .columns
            .iter()
            .enumerate()
            .map(|(position, column)| {
                let Column { name, column_type, nullable, hidden, comment, .. } = column;
                let computed = column.computed.as_ref().map_or("", |computed| computed.sql.as_str());
                let default = (optional(default_text(state, column)), text(computed));
                let indices = indices_of(table, position);
                let word = type_word(state, *column_type);
                row(text(name), word, *nullable, default, indices, *hidden, comment.clone())
            })
            .collect(),
        Body::View(found) => found
            .columns
            .iter()
            .map(|column| {
                let word = type_word(state, column.column_type);
                row(text(&column.name), word, true, no_default(), no_index(), false, None)
            })
            .collect(),
        Body::Sequence(_) => {
            vec![row(text("value"), "INT8".to_owned(), false, no_default(), no_index(), false, None)]
        }
        Body::VirtualTable => {
            let shape = catalog::shape(id);
            let columns = shape.into_iter().flat_map(|shape| &shape.columns);
            columns
                .map(|(name, sql_type)| {
                    let word = sql_type.word().to_uppercase();
                    row(text(name), word, true, no_default(), no_index(), false, None)
                })
                .collect()
        }
        Body::Database
        | Body::Schema
        | Body::Type(_)
        | Body::Function(_)
        | Body::ExternalConnection(_)
        | Body::IamRole => Vec::new(),
    })
}

/// The primary key's index holds every column; another one those that it is on, and the key.
fn indices_of(table: &Table, position: usize) -> Datum {
    let is_in = |columns: &[u16]| columns.iter().any(|column| usize::from(*column) == position);
    let holds =
        |index: &IndexFacts<'_>| index.keys.iter().any(|key| key.column().map(usize::from) == Some(position));
    let indexes = index_numbers(table).filter_map(|number| Some((number, IndexFacts::of(table, number)?)));
    let mut names: Vec<_> = indexes
        .filter(|(number, index)| *number == 0 || holds(index) || is_in(&table.primary_key))
        .map(|(_, index)| index.name.to_string())
        .collect();
    names.sort();
    Datum::TextArray(names.into_iter().map(Some).collect())
}

pub(super) fn indexes(view: &View, context: &NameContext, name: &ObjectName) -> Result<Vec<Cells>, SqlError> {
    let (_, object) = relation(view, context, name)?;
    let Body::Table(table) = &object.body else { return Ok(Vec::new()) };
    let indexes = index_numbers(table).filter_map(|number| Some((number, IndexFacts::of(table, number)?)));
    let mut indexes: Vec<_> = indexes.collect();
    indexes.sort_by_key(|(_, index)| index.name);
    let mut rows = Vec::new();
    for (number, index) in indexes {
        let name =
            |position: u16| table.columns.get(usize::from(position)).map(|column| column.name.to_string());
        let mut row = |column: Option<String>, direction: &str, implicit: bool, at: usize| {
            let Some(column) = column else { return };
            rows.push(vec![
                text(&object.name),
                text(index.name),
                Datum::Bool(!index.unique),
                Datum::Int(i64::try_from(at).unwrap_or(i64::MAX)),
                Datum::Text(column),
                text(direction),
                Datum::Bool(direction == "N/A"),
                Datum::Bool(implicit),
                Datum::Bool(true),
            ]);
        };
        for (at, key) in index.keys.iter().enumerate() {
            let column = match &key.part {
                KeyPart::Column(position) => name(*position),
                KeyPart::Expression(expression) => Some(format!("({})", expression.sql)),
            };
            row(column, if key.descending { "DESC" } else { "ASC" }, false, at + 1);
        }
        // What the index holds beside what it is on: all else of the row, or the key.
        let count = u16::try_from(table.columns.len()).unwrap_or(u16::MAX);
        let is_primary = number == 0;
        let rest: Vec<u16> = if is_primary { (0..count).collect() } else { table.primary_key.clone() };
        let rest = rest.into_iter().filter(|at| !index.keys.iter().any(|key| key.column() == Some(*at)));
        for (at, position) in rest.enumerate() {
            row(
                name(position),
                if is_primary { "N/A" } else { "ASC" },
                !is_primary,
                index.keys.len() + at + 1,
            );
        }
    }
    Ok(rows)
}

pub(super) fn constraints(
    view: &View,
    context: &NameContext,
    name: &ObjectName,
) -> Result<Vec<Cells>, SqlError> {
    let (_, object) = relation(view, context, name)?;
    let Body::Table(table) = &object.body else { return Ok(Vec::new()) };
    let on = |positions: &[u16]| create::ascending(table, positions);
    let mut rows = vec![(
        table.key_name.to_string(),
        "PRIMARY KEY",
        format!("PRIMARY KEY ({})", on(&table.primary_key)),
    )];
    for unique in &table.unique {
        rows.push((unique.name.to_string(), "UNIQUE", format!("UNIQUE ({})", on(&unique.columns))));
    }
    for key in &table.foreign_keys {
        rows.push((key.name.to_string(), "FOREIGN KEY", create::references(view.state(), table, key)));
    }
    for check in &table.checks {
        rows.push((check.name.to_string(), "CHECK", format!("CHECK (({}))", check.expression.sql)));
    }
    rows.sort();
    let cells = |(constraint, kind, details): (String, &str, String)| {
        vec![text(&object.name), text(constraint), text(kind), text(details), Datum::Bool(true)]
    };
    Ok(rows.into_iter().map(cells).collect())
}
