//! Objects as statements write them: names with quotes where they need some, types, and what can be run again.

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::{Body, Column, ColumnType, Expression, Function, ReferentialAction};
use grantd_catalog::state::State;

/// A name, in quotes unless it reads back as itself.
pub fn quoted(name: &str) -> String {
    let mut chars = name.chars();
    let is_plain = chars.next().is_some_and(|first| first.is_ascii_lowercase() || first == '_')
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if is_plain && !crate::sql::parse::is_reserved_word(name) {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

/// A text, in single quotes.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The full name of an object: `d`, `d.s`, `d.s.t`, `d.s.f(INT8, STRING)`.
pub fn full(state: &State, id: ObjectId) -> String {
    joined(state, id, usize::MAX)
}

/// The name of an object and of its schema: `s.t`.
pub fn in_schema(state: &State, id: ObjectId) -> String {
    joined(state, id, 2)
}

fn joined(state: &State, id: ObjectId, parts: usize) -> String {
    let mut names = Vec::new();
    let mut at = id;
    while let Some(object) = state.object(at)
        && names.len() < parts
    {
        names.push(quoted(object.name.as_str()));
        at = object.parent;
    }
    names.reverse();
    let name = names.join(".");
    match state.object(id).map(|object| &object.body) {
        Some(Body::Function(function)) => format!("{name}({})", arguments(state, function)),
        _ => name,
    }
}

/// The types of a function's arguments: `INT8, STRING`.
pub fn arguments(state: &State, function: &Function) -> String {
    let types: Vec<_> = function.argument_types().map(|argument| type_word(state, argument)).collect();
    types.join(", ")
}

/// What a foreign key does, in the words of SQL.
pub const fn action_words(action: ReferentialAction) -> &'static str {
    match action {
        ReferentialAction::NoAction => "NO ACTION",
        ReferentialAction::Restrict => "RESTRICT",
        ReferentialAction::Cascade => "CASCADE",
        ReferentialAction::SetNull => "SET NULL",
        ReferentialAction::SetDefault => "SET DEFAULT",
    }
}

/// A type, as SHOW CREATE writes it.
pub fn type_word(state: &State, column_type: ColumnType) -> String {
    match column_type {
        ColumnType::Enum(id) => in_schema(state, id),
        known => known.to_string().to_uppercase(),
    }
}

/// A DEFAULT as it reads now: with the names that its sequences, and the label of its enum type, have today.
pub fn default_text(state: &State, column: &Column) -> Option<String> {
    let Expression { sql, stored, .. } = column.default.as_ref()?;
    if let ColumnType::Enum(id) = column.column_type
        && let (Some(Body::Type(found)), Ok(position)) =
            (state.object(id).map(|found| &found.body), stored.parse::<i64>())
        && let Some(label) = found.labels.iter().find(|label| label.position == position)
    {
        return Some(literal(&label.label));
    }
    Some(with_sequences(state, sql, stored).unwrap_or_else(|| sql.clone()))
}

/// The row store's text has the ids of the sequences, in the order in which the client's has their names. None: there
/// are not as many.
fn with_sequences(state: &State, sql: &str, stored: &str) -> Option<String> {
    const WRITTEN: &str = "nextval('";
    let id = |rest: &str| rest.split(')').next().and_then(|digits| digits.parse().ok()).map(ObjectId);
    let mut ids = stored.split("g_nextval(").skip(1).map(id);
    let mut pieces = sql.split(WRITTEN);
    let mut text = pieces.next()?.to_owned();
    for piece in pieces {
        let (_, rest) = piece.split_once('\'')?;
        text.push_str(WRITTEN);
        text.push_str(&in_schema(state, ids.next()??));
        text.push('\'');
        text.push_str(rest);
    }
    ids.next().is_none().then_some(text)
}
