//! Enum types: rows hold the position of a label, clients see the label.
//!
//! A literal becomes its position while the statement is planned, so that a stored expression outlives the renaming
//! of a label. Everything else is looked up when the statement runs, in the catalog that it was planned on.

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::{Body, EnumLabel, EnumType};
use grantd_catalog::state::State;

use crate::error::{SqlError, state};

/// The row store's text of the position of a label that is computed.
pub fn input(sql: &str, id: ObjectId) -> String {
    format!("g_enum_in({sql}, {id})")
}

/// The row store's text of the label at a position that is computed.
pub fn output(sql: &str, id: ObjectId) -> String {
    format!("g_enum_out({sql}, {id})")
}

/// What stands in rows for a label; 22P02 if the type has no such. Cost: linear in the labels.
pub fn position(catalog: &State, id: ObjectId, label: &str) -> Result<i64, SqlError> {
    let (name, labels) = described(catalog, id)?;
    let found = labels.iter().find(|known| known.label == label);
    found.map(|known| known.position).ok_or_else(|| {
        let written: String = label.chars().take(100).collect();
        SqlError::new(
            state::INVALID_TEXT_REPRESENTATION,
            format!("invalid input value for enum {name}: \"{written}\""),
        )
    })
}

/// The label that a position in a row stands for.
pub fn label(catalog: &State, id: ObjectId, position: i64) -> Result<&str, SqlError> {
    let (name, labels) = described(catalog, id)?;
    labels
        .binary_search_by_key(&position, |label| label.position)
        .ok()
        .and_then(|at| labels.get(at))
        .map(|label| label.label.as_str())
        .ok_or_else(|| SqlError::internal(format!("a row holds no label of {name}")))
}

fn described(catalog: &State, id: ObjectId) -> Result<(&str, &[EnumLabel]), SqlError> {
    match catalog.object(id).map(|object| (object.name.as_str(), &object.body)) {
        Some((name, Body::Type(EnumType { labels }))) => Ok((name, labels)),
        Some(_) | None => Err(unknown(id)),
    }
}

/// 42704.
pub fn unknown(id: ObjectId) -> SqlError {
    let code = grantd_catalog::refusal::state::UNDEFINED_OBJECT;
    SqlError::new(code, format!("type with ID {id} does not exist"))
}
