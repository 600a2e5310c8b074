//! Operators of JSONB, and values of other types as JSON.

use sqlparser::ast::BinaryOperator;

use super::{Form, Parameters, Typed, cast, introspect};
use crate::error::{SqlError, state};
use crate::value::{Family, SqlType};

/// `->` and its kin.
pub fn operator(
    operator: &BinaryOperator,
    left: Typed,
    right: Typed,
    parameters: &mut Parameters,
) -> Result<Typed, SqlError> {
    use BinaryOperator as B;
    let types = (left.sql_type, right.sql_type);
    let wrong = || {
        SqlError::new(
            state::UNDEFINED_FUNCTION,
            format!("unsupported binary operator: <{}> {operator} <{}>", types.0.word(), types.1.word()),
        )
    };
    let is_json = |typed: &Typed| typed.sql_type == SqlType::Jsonb || typed.form != Form::Computed;
    if !is_json(&left) || (matches!(operator, B::AtArrow | B::ArrowAt) && !is_json(&right)) {
        return Err(wrong());
    }
    let what = format!("argument of {operator}");
    let left = cast::expect(left, SqlType::Jsonb, &what, parameters)?.sql;
    let (function, to, result) = match operator {
        B::Arrow => ("g_json_get", None, SqlType::Jsonb),
        B::LongArrow => ("g_json_text", None, SqlType::Text),
        B::HashArrow => ("g_json_path", Some(SqlType::TextArray), SqlType::Jsonb),
        B::HashLongArrow => ("g_json_path_text", Some(SqlType::TextArray), SqlType::Text),
        B::HashMinus => ("g_json_drop_path", Some(SqlType::TextArray), SqlType::Jsonb),
        B::AtArrow | B::ArrowAt => ("g_json_contains", Some(SqlType::Jsonb), SqlType::Bool),
        B::Question => ("g_json_has", Some(SqlType::Text), SqlType::Bool),
        B::QuestionPipe => ("g_json_has_any", Some(SqlType::TextArray), SqlType::Bool),
        B::QuestionAnd => ("g_json_has_all", Some(SqlType::TextArray), SqlType::Bool),
        _ => return Err(wrong()),
    };
    let right = match to {
        Some(SqlType::TextArray) => introspect::array(right, &what, parameters)?.0,
        Some(to) => cast::expect(right, to, &what, parameters)?.sql,
        // An item's number, or a key.
        None if right.sql_type.family() == Family::Int => right.sql,
        None => cast::expect(right, SqlType::Text, &what, parameters)?.sql,
    };
    let (a, b) = if matches!(operator, B::ArrowAt) { (right, left) } else { (left, right) };
    Ok(Typed::computed(format!("{function}({a}, {b})"), result))
}

/// `json - key`, `json - position`.
pub fn without(left: Typed, right: Typed, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let right = match right.sql_type.family() {
        Family::Int => right.sql,
        Family::TextArray => {
            return Err(SqlError::unsupported("the operator - of jsonb and an array"));
        }
        _ => cast::expect(right, SqlType::Text, "argument of -", parameters)?.sql,
    };
    Ok(Typed::computed(format!("g_json_drop({}, {right})", left.sql), SqlType::Jsonb))
}

/// `json || json`.
pub fn concatenated(left: Typed, right: Typed, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let left = cast::expect(left, SqlType::Jsonb, "argument of ||", parameters)?.sql;
    let right = cast::expect(right, SqlType::Jsonb, "argument of ||", parameters)?.sql;
    Ok(Typed::computed(format!("g_json_cat({left}, {right})"), SqlType::Jsonb))
}

/// The JSON of a value, as `to_jsonb` makes it; NULL stays NULL.
pub fn of(typed: Typed, parameters: &mut Parameters) -> Result<String, SqlError> {
    let typed = cast::settled(typed, parameters)?;
    let (sql, sql_type) = (typed.sql, typed.sql_type);
    Ok(match sql_type.family() {
        Family::Json => sql,
        Family::Int if matches!(sql_type, SqlType::Reg(_)) => {
            format!("g_json_quote({})", cast::as_text(sql, sql_type)?)
        }
        Family::Int => format!("CAST({sql} AS TEXT)"),
        Family::Numeric => format!("g_same({sql})"),
        Family::Bool => format!("g_bool_text({sql})"),
        Family::Float if sql_type == SqlType::Float4 => {
            format!("g_float_json(g_decimal_float(g_float4_decimal({sql})))")
        }
        Family::Float => format!("g_float_json({sql})"),
        // ISO 8601.
        Family::Timestamp => format!(
            "g_json_quote(g_char_moment({sql}, 'YYYY-MM-DD\"T\"HH24:MI:SS') || g_json_fraction({sql}) || '+00:00')"
        ),
        Family::LocalTimestamp => {
            format!(
                "g_json_quote(g_char_moment({sql}, 'YYYY-MM-DD\"T\"HH24:MI:SS') || g_json_fraction({sql}))"
            )
        }
        Family::TextArray => {
            let item = match sql_type {
                SqlType::Array(element) => element.sql_type(),
                _ => SqlType::Text,
            };
            let numbers = u8::from(item.family() == Family::Int);
            format!("g_text_json(g_array_json({sql}, {numbers}))")
        }
        Family::Text
        | Family::Bytes
        | Family::Uuid
        | Family::Date
        | Family::Time
        | Family::Interval
        | Family::Enum(_)
        | Family::Unknown => format!("g_json_quote({})", cast::as_text(sql, sql_type)?),
    })
}
