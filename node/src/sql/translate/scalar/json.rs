//! Functions on JSONB.

use std::cmp::Ordering;

use grantd_raft::rows::Value;

use super::number::{ordering, unless_equal};
use super::{Entry, boolean, extreme_by, int, real, string};
use crate::error::{SqlError, state};
use crate::value::decimal::Decimal;
use crate::value::json::{self, Json, quoted};
use crate::value::text::parse_array;
use crate::value::{SqlType, out_of_range, text};

pub(super) const TABLE: &[Entry] = &[
    ("g_jsonb_cmp", 2, true, |v| Ok(ordering(json::compare(string(&v[0])?, string(&v[1])?)))),
    ("g_jsonb_key", 1, true, |v| Ok(shown(&read(&v[0])?.normalized()))),
    ("g_jsonb_greatest", -1, false, |v| extreme_by(v, Ordering::Greater, json::compare)),
    ("g_jsonb_least", -1, false, |v| extreme_by(v, Ordering::Less, json::compare)),
    ("g_jsonb_nullif", 2, false, |v| unless_equal(v, json::compare)),
    ("g_json_get", 2, true, |v| Ok(child(&read(&v[0])?, &v[1])?.map_or(Value::Null, shown))),
    ("g_json_text", 2, true, |v| Ok(bare(child(&read(&v[0])?, &v[1])?))),
    ("g_json_path", 2, true, |v| Ok(at_path(&read(&v[0])?, &path(&v[1])?).map_or(Value::Null, shown))),
    ("g_json_path_text", 2, true, |v| Ok(bare(at_path(&read(&v[0])?, &path(&v[1])?)))),
    ("g_json_extract", -1, true, |v| Ok(at_path(&read(&v[0])?, &steps(v)?).map_or(Value::Null, shown))),
    ("g_json_extract_text", -1, true, |v| Ok(bare(at_path(&read(&v[0])?, &steps(v)?)))),
    ("g_json_contains", 2, true, |v| Ok(boolean(read(&v[0])?.contains(&read(&v[1])?)))),
    ("g_json_has", 2, true, |v| Ok(boolean(read(&v[0])?.has(string(&v[1])?)))),
    ("g_json_has_any", 2, true, |v| {
        let json = read(&v[0])?;
        Ok(boolean(items(&v[1])?.iter().flatten().any(|key| json.has(key))))
    }),
    ("g_json_has_all", 2, true, |v| {
        let json = read(&v[0])?;
        Ok(boolean(items(&v[1])?.iter().flatten().all(|key| json.has(key))))
    }),
    ("g_json_cat", 2, true, concatenated),
    ("g_json_drop", 2, true, dropped),
    ("g_json_drop_path", 2, true, |v| Ok(shown(&read(&v[0])?.without(&path(&v[1])?)?))),
    ("g_json_set", 4, true, |v| {
        Ok(shown(&read(&v[0])?.with(&path(&v[1])?, &read(&v[2])?, int(&v[3])? != 0)?))
    }),
    ("g_json_build_object", -1, false, built_object),
    ("g_json_build_array", -1, false, |v| {
        Ok(shown(&Json::Array(v.iter().map(or_null).collect::<Result<_, _>>()?)))
    }),
    ("g_json_typeof", 1, true, |v| Ok(Value::Text(read(&v[0])?.kind().to_owned()))),
    ("g_json_array_length", 1, true, |v| match read(&v[0])? {
        Json::Array(items) => Ok(Value::Integer(i64::try_from(items.len()).unwrap_or(i64::MAX))),
        Json::Object(_) => Err(invalid("cannot get array length of a non-array")),
        _ => Err(invalid("cannot get array length of a scalar")),
    }),
    ("g_json_pretty", 1, true, |v| Ok(Value::Text(read(&v[0])?.pretty()))),
    ("g_json_strip_nulls", 1, true, |v| Ok(shown(&read(&v[0])?.stripped()))),
    ("g_json_quote", 1, true, |v| Ok(Value::Text(quoted(string(&v[0])?)))),
    ("g_float_json", 1, true, |v| {
        let value = real(&v[0])?;
        match value.is_finite() {
            true => Ok(Value::Text(Decimal::from_float(value)?.to_string())),
            false => Ok(Value::Text(quoted(&text::float(value)))),
        }
    }),
    ("g_text_json", 1, true, |v| Ok(shown(&Json::parse(string(&v[0])?)?))),
    ("g_json_int", 1, true, |v| {
        let number = cast(&v[0], "integer", |json| match json {
            Json::Number(text) => Some(text.clone()),
            _ => None,
        })?;
        Decimal::from_canonical(&number)?
            .to_int()
            .map(Value::Integer)
            .ok_or_else(|| out_of_range(SqlType::Int8))
    }),
    ("g_json_decimal", 1, true, |v| {
        cast(&v[0], "numeric", |json| match json {
            Json::Number(text) => Some(text.clone()),
            _ => None,
        })
        .map(Value::Text)
    }),
    ("g_json_bool", 1, true, |v| {
        cast(&v[0], "boolean", |json| match json {
            Json::Bool(value) => Some(*value),
            _ => None,
        })
        .map(boolean)
    }),
    // Sets: a JSON array of what each row is made from.
    ("g_json_elements", 1, false, |v| elements(&v[0], |item| Json::String(item.to_string()))),
    ("g_json_elements_text", 1, false, |v| {
        elements(&v[0], |item| item.bare().map_or(Json::Null, Json::String))
    }),
    ("g_json_each", 1, false, |v| pairs(&v[0], |value| Json::String(value.to_string()))),
    ("g_json_each_text", 1, false, |v| pairs(&v[0], |value| value.bare().map_or(Json::Null, Json::String))),
    ("g_json_keys", 1, false, |v| match &v[0] {
        Value::Null => Ok(none()),
        value => match read(value)? {
            Json::Object(pairs) => {
                Ok(shown(&Json::Array(pairs.into_iter().map(|(key, _)| Json::String(key)).collect())))
            }
            other => Err(invalid(&format!("cannot call jsonb_object_keys on {}", article(&other)))),
        },
    }),
];

fn invalid(message: &str) -> SqlError {
    SqlError::new(grantd_catalog::refusal::state::INVALID_PARAMETER_VALUE, message)
}

fn article(json: &Json) -> &'static str {
    match json {
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
        _ => "a scalar",
    }
}

fn read(value: &Value) -> Result<Json, SqlError> {
    Json::from_canonical(string(value)?)
}

fn shown(json: &Json) -> Value {
    Value::Text(json.to_string())
}

fn bare(json: Option<&Json>) -> Value {
    json.and_then(Json::bare).map_or(Value::Null, Value::Text)
}

fn or_null(value: &Value) -> Result<Json, SqlError> {
    match value {
        Value::Null => Ok(Json::Null),
        value => read(value),
    }
}

fn none() -> Value {
    Value::Text("[]".to_owned())
}

/// The field of a text, the item of an integer. What is neither object nor array is the only item of itself, as in
/// PostgreSQL.
fn child<'a>(json: &'a Json, key: &Value) -> Result<Option<&'a Json>, SqlError> {
    match key {
        Value::Integer(0 | -1) if json.is_scalar() => Ok(Some(json)),
        Value::Integer(position) => Ok(json.item(*position)),
        key => Ok(json.field(string(key)?)),
    }
}

fn items(value: &Value) -> Result<Vec<Option<String>>, SqlError> {
    parse_array(string(value)?).ok_or_else(super::wrong)
}

fn path(value: &Value) -> Result<Vec<String>, SqlError> {
    items(value)?.into_iter().map(|step| step.ok_or_else(|| invalid("path element is null"))).collect()
}

fn steps(values: &[Value]) -> Result<Vec<String>, SqlError> {
    values[1..].iter().map(|value| string(value).map(str::to_owned)).collect()
}

fn at_path<'a>(json: &'a Json, path: &[String]) -> Option<&'a Json> {
    path.iter().try_fold(json, |json, step| json.step(step))
}

fn cast<T>(value: &Value, to: &str, take: impl Fn(&Json) -> Option<T>) -> Result<T, SqlError> {
    let json = read(value)?;
    take(&json).ok_or_else(|| invalid(&format!("cannot cast jsonb {} to type {to}", json.kind())))
}

fn concatenated(values: &[Value]) -> Result<Value, SqlError> {
    let (left, right) = (read(&values[0])?, read(&values[1])?);
    let as_items = |json: Json| match json {
        Json::Array(items) => items,
        other => vec![other],
    };
    Ok(shown(&match (left, right) {
        (Json::Object(mut pairs), Json::Object(more)) => {
            pairs.extend(more);
            Json::object(pairs)
        }
        (left, right) => {
            let mut items = as_items(left);
            items.extend(as_items(right));
            Json::Array(items)
        }
    }))
}

/// `json - 'key'`, `json - position`, `json - '{keys}'`.
fn dropped(values: &[Value]) -> Result<Value, SqlError> {
    let json = read(&values[0])?;
    match (&values[1], json) {
        (_, Json::Null | Json::String(_) | Json::Number(_) | Json::Bool(_)) => {
            Err(invalid("cannot delete from scalar"))
        }
        (Value::Integer(_), Json::Object(_)) => Err(invalid("cannot delete from object using integer index")),
        (Value::Integer(position), Json::Array(mut items)) => {
            let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
            let at = if *position < 0 { position + length } else { *position };
            if let Some(at) = usize::try_from(at).ok().filter(|at| *at < items.len()) {
                items.remove(at);
            }
            Ok(shown(&Json::Array(items)))
        }
        (key, json) => {
            let key = string(key)?;
            Ok(shown(&match json {
                Json::Object(pairs) => {
                    Json::Object(pairs.into_iter().filter(|(known, _)| known != key).collect())
                }
                Json::Array(items) => Json::Array(
                    items
                        .into_iter()
                        .filter(|item| !matches!(item, Json::String(text) if text == key))
                        .collect(),
                ),
                other => other,
            }))
        }
    }
}

/// Keys as texts, values as JSON, in turn.
fn built_object(values: &[Value]) -> Result<Value, SqlError> {
    if !values.len().is_multiple_of(2) {
        return Err(invalid("argument list must have even number of elements"));
    }
    let mut pairs = Vec::with_capacity(values.len() / 2);
    for pair in values.chunks(2) {
        let key = match &pair[0] {
            Value::Null => return Err(invalid("argument 1: key must not be null")),
            key => string(key)?.to_owned(),
        };
        pairs.push((key, or_null(&pair[1])?));
    }
    Ok(shown(&Json::object(pairs)))
}

fn elements(value: &Value, show: fn(&Json) -> Json) -> Result<Value, SqlError> {
    match value {
        Value::Null => Ok(none()),
        value => match read(value)? {
            Json::Array(items) => Ok(shown(&Json::Array(items.iter().map(show).collect()))),
            Json::Object(_) => Err(invalid("cannot extract elements from an object")),
            _ => Err(invalid("cannot extract elements from a scalar")),
        },
    }
}

/// Each pair as an array of two.
fn pairs(value: &Value, show: fn(&Json) -> Json) -> Result<Value, SqlError> {
    match value {
        Value::Null => Ok(none()),
        value => match read(value)? {
            Json::Object(pairs) => {
                let row =
                    |(key, value): &(String, Json)| Json::Array(vec![Json::String(key.clone()), show(value)]);
                Ok(shown(&Json::Array(pairs.iter().map(row).collect())))
            }
            other => Err(SqlError::new(
                state::INVALID_TEXT_REPRESENTATION,
                format!("cannot call jsonb_each on {}", article(&other)),
            )),
        },
    }
}
