//! SHOW CREATE: objects as statements that make them again.

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::{
    Body, Column, ForeignKey, Function, IndexKey, KeyPart, Object, ReferentialAction, Sequence, Table, View,
    Volatility,
};
use grantd_catalog::state::State;

use super::super::catalog::item::{IndexFacts, index_numbers};
use super::super::name::{action_words, default_text, full, in_schema, literal, quoted, type_word};

/// The statement that makes a table, view, sequence, type or function; none for what SHOW CREATE does not show.
pub(super) fn statement(state: &State, id: ObjectId) -> Option<String> {
    let object = state.object(id)?;
    let name = in_schema(state, id);
    let mut text = match &object.body {
        Body::Table(table) => create_table(state, &name, table),
        Body::View(view) => create_view(&name, view),
        Body::Sequence(sequence) => create_sequence(&name, sequence),
        Body::Type(found) => {
            let labels: Vec<_> = found.labels.iter().map(|label| literal(&label.label)).collect();
            format!("CREATE TYPE {name} AS ENUM ({})", labels.join(", "))
        }
        Body::Function(function) => create_function(state, id, object, function),
        Body::Database => format!("CREATE DATABASE {}", quoted(object.name.as_str())),
        Body::Schema | Body::ExternalConnection(_) | Body::VirtualTable | Body::IamRole => return None,
    };
    text.push_str(&comments(object, &name));
    Some(text)
}

fn create_table(state: &State, name: &str, table: &Table) -> String {
    let mut lines: Vec<_> = table.columns.iter().map(|column| column_line(state, column)).collect();
    let key = quoted(table.key_name.as_str());
    lines.push(format!("CONSTRAINT {key} PRIMARY KEY ({})", ascending(table, &table.primary_key)));
    for key in &table.foreign_keys {
        lines.push(format!("CONSTRAINT {} {}", quoted(key.name.as_str()), references(state, table, key)));
    }
    for number in index_numbers(table).skip(1) {
        let index = IndexFacts::of(table, number);
        lines.extend(index.map(|index| index_line(table, &index)));
    }
    for check in &table.checks {
        lines.push(format!("CONSTRAINT {} CHECK ({})", quoted(check.name.as_str()), check.expression.sql));
    }
    format!("CREATE TABLE {name} (\n\t{}\n)", lines.join(",\n\t"))
}

/// `a ASC, b ASC`.
pub(super) fn ascending(table: &Table, positions: &[u16]) -> String {
    let keys = positions.iter().map(|column| IndexKey::ascending(*column));
    keys.filter_map(|key| key_text(table, &key)).collect::<Vec<_>>().join(", ")
}

fn key_text(table: &Table, key: &IndexKey) -> Option<String> {
    let direction = if key.descending { "DESC" } else { "ASC" };
    let part = match &key.part {
        KeyPart::Column(at) => quoted(table.columns.get(usize::from(*at))?.name.as_str()),
        KeyPart::Expression(expression) => format!("({})", expression.sql),
    };
    Some(format!("{part} {direction}"))
}

fn index_line(table: &Table, index: &IndexFacts<'_>) -> String {
    let keys: Vec<_> = index.keys.iter().filter_map(|key| key_text(table, key)).collect();
    let unique = if index.unique { "UNIQUE " } else { "" };
    let predicate = index.predicate.map(|predicate| format!(" WHERE {}", predicate.sql));
    let name = quoted(index.name.as_str());
    format!("{unique}INDEX {name} ({}){}", keys.join(", "), predicate.unwrap_or_default())
}

/// `FOREIGN KEY (a) REFERENCES s.t(b) ON DELETE CASCADE`.
pub(super) fn references(state: &State, table: &Table, key: &ForeignKey) -> String {
    let names = |table: &Table, positions: &[u16]| {
        let columns = positions.iter().filter_map(|at| table.columns.get(usize::from(*at)));
        columns.map(|column| quoted(column.name.as_str())).collect::<Vec<_>>().join(", ")
    };
    let there = match state.object(key.target).map(|object| &object.body) {
        Some(Body::Table(target)) => names(target, &key.target_columns),
        _ => String::new(),
    };
    let rule = |event: &str, action| match action {
        ReferentialAction::NoAction => String::new(),
        action => format!(" ON {event} {}", action_words(action)),
    };
    format!(
        "FOREIGN KEY ({}) REFERENCES {}({there}){}{}",
        names(table, &key.columns),
        in_schema(state, key.target),
        rule("DELETE", key.on_delete),
        rule("UPDATE", key.on_update)
    )
}

fn column_line(state: &State, column: &Column) -> String {
    let mut line = format!("{} {}", quoted(column.name.as_str()), type_word(state, column.column_type));
    if column.hidden {
        line.push_str(" NOT VISIBLE");
    }
    line.push_str(if column.nullable { " NULL" } else { " NOT NULL" });
    if let Some(default) = default_text(state, column) {
        line.push_str(&format!(" DEFAULT {default}"));
    }
    if let Some(identity) = &column.identity {
        let when = if identity.always { "ALWAYS" } else { "BY DEFAULT" };
        line.push_str(&format!(" GENERATED {when} AS IDENTITY"));
        if let Some(Body::Sequence(sequence)) = state.object(identity.sequence).map(|found| &found.body) {
            let Sequence { start, increment, min, max, .. } = sequence;
            line.push_str(&format!(" (INCREMENT {increment} MINVALUE {min} MAXVALUE {max} START {start})"));
        }
    }
    if let Some(computed) = &column.computed {
        line.push_str(&format!(" AS ({}) STORED", computed.sql));
    }
    line
}

fn create_view(name: &str, view: &View) -> String {
    let columns: Vec<_> = view.columns.iter().map(|column| quoted(column.name.as_str())).collect();
    format!("CREATE VIEW {name} (\n\t{}\n) AS {}", columns.join(",\n\t"), view.query)
}

fn create_sequence(name: &str, sequence: &Sequence) -> String {
    let Sequence { start, increment, min, max, .. } = sequence;
    format!("CREATE SEQUENCE {name} MINVALUE {min} MAXVALUE {max} INCREMENT {increment} START {start}")
}

fn create_function(state: &State, id: ObjectId, object: &Object, function: &Function) -> String {
    let parent = state.object(object.parent).map(|schema| quoted(schema.name.as_str()));
    let name =
        [parent, Some(quoted(object.name.as_str()))].into_iter().flatten().collect::<Vec<_>>().join(".");
    let arguments: Vec<_> = function
        .arguments
        .iter()
        .map(|argument| {
            let name = argument.name.as_ref().map(|name| format!("{} ", quoted(name.as_str())));
            format!("IN {}{}", name.unwrap_or_default(), type_word(state, argument.argument_type))
        })
        .collect();
    let volatility = match function.volatility {
        Volatility::Volatile => "VOLATILE",
        Volatility::Stable => "STABLE",
        Volatility::Immutable => "IMMUTABLE",
    };
    let nulls = if function.is_strict { "RETURNS NULL ON NULL INPUT" } else { "CALLED ON NULL INPUT" };
    let returns = type_word(state, function.returns);
    // A body that holds the delimiter gets another one.
    let mut tag = String::new();
    while function.body.contains(&format!("${tag}$")) {
        tag.push_str(&format!("f{id}"));
    }
    format!(
        "CREATE FUNCTION {name}({})\n\tRETURNS {returns}\n\t{volatility}\n\t{nulls}\n\tLANGUAGE SQL\n\tAS \
         ${tag}$\n\t{}\n${tag}$",
        arguments.join(", "),
        function.body
    )
}

fn comments(object: &Object, name: &str) -> String {
    let word = match &object.body {
        Body::Table(_) => "TABLE",
        Body::View(_) => "VIEW",
        Body::Sequence(_) => "SEQUENCE",
        Body::Type(_) => "TYPE",
        Body::Function(_) => "FUNCTION",
        Body::Database => "DATABASE",
        Body::Schema | Body::ExternalConnection(_) | Body::VirtualTable | Body::IamRole => {
            return String::new();
        }
    };
    let mut text = String::new();
    if let Some(comment) = &object.comment {
        text.push_str(&format!(";\nCOMMENT ON {word} {name} IS {}", literal(comment)));
    }
    if let Body::Table(table) = &object.body {
        for column in &table.columns {
            if let Some(comment) = &column.comment {
                let column = quoted(column.name.as_str());
                text.push_str(&format!(";\nCOMMENT ON COLUMN {name}.{column} IS {}", literal(comment)));
            }
        }
        for index in &table.indexes {
            if let Some(comment) = &index.comment {
                let index = quoted(index.name.as_str());
                text.push_str(&format!(";\nCOMMENT ON INDEX {name}@{index} IS {}", literal(comment)));
            }
        }
    }
    text
}

/// What is granted on, as GRANT writes it: `TABLE d.s.t`, `SYSTEM`.
pub(super) fn target(state: &State, id: ObjectId) -> String {
    let Some(object) = state.object(id) else { return "SYSTEM".to_owned() };
    let word = match &object.body {
        Body::Database => "DATABASE",
        Body::Schema => "SCHEMA",
        Body::Table(_) | Body::View(_) | Body::VirtualTable => "TABLE",
        Body::Sequence(_) => "SEQUENCE",
        Body::Type(_) => "TYPE",
        Body::Function(_) => "FUNCTION",
        Body::ExternalConnection(_) => "EXTERNAL CONNECTION",
        // A string, as it is written.
        Body::IamRole => return format!("IAM ROLE {}", literal(object.name.as_str())),
    };
    format!("{word} {}", full(state, id))
}
