//! The row store's functions that depend on nothing but their arguments.
//!
//! Each is strict unless it says otherwise: NULL in, NULL out. An error carries its SQLSTATE through SQLite's text,
//! as [`raise`] writes it and [`raised`] reads it.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use grantd_raft::rows::{Aggregate, Function, Value};

use crate::error::{SqlError, state};
use crate::value::{SqlType, interval, out_of_range, text};

mod json;
mod moment;
mod number;
mod strings;

/// The most bytes that `repeat()` makes.
const REPEAT_BYTES_MAX: usize = 16 << 20;
/// The largest value that the row store takes.
const VALUE_BYTES_MAX: usize = 32 << 20;
/// The most characters that one LIKE compares. Nothing interrupts a function while it runs, and text × pattern is days.
const LIKE_STEPS_MAX: usize = 1 << 27;

/// An error as the text of a function's error.
pub fn raise(error: &SqlError) -> String {
    format!("!{}!{}", error.body.code.as_str(), error.body.message)
}

/// Reads what [`raise`] wrote.
pub fn raised(message: &str) -> Option<SqlError> {
    let (code, message) = message.strip_prefix('!')?.split_once('!')?;
    let fits = code.len() == 5 && code.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then(|| SqlError::new(grantd_catalog::refusal::SqlState::new(code), message))
}

type Body = fn(&[Value]) -> Result<Value, SqlError>;

/// Name, number of arguments, whether NULL in means NULL out, body.
type Entry = (&'static str, i32, bool, Body);

const TABLE: &[Entry] = &[
    ("g_add", 2, true, |v| checked(v, i64::checked_add)),
    ("g_sub", 2, true, |v| checked(v, i64::checked_sub)),
    ("g_mul", 2, true, |v| checked(v, i64::checked_mul)),
    ("g_div", 2, true, |v| divided(v, i64::checked_div)),
    ("g_mod", 2, true, |v| divided(v, |a, b| Some(a.checked_rem(b).unwrap_or(0)))),
    ("g_abs", 1, true, |v| {
        int(&v[0])?.checked_abs().map(Value::Integer).ok_or_else(|| out_of_range(SqlType::Int8))
    }),
    ("g_fadd", 2, true, |v| number(real(&v[0])? + real(&v[1])?)),
    ("g_fsub", 2, true, |v| number(real(&v[0])? - real(&v[1])?)),
    ("g_fmul", 2, true, |v| number(real(&v[0])? * real(&v[1])?)),
    ("g_fdiv", 2, true, |v| float_divided(v, |a, b| a / b)),
    ("g_fmod", 2, true, |v| float_divided(v, |a, b| a % b)),
    ("g_floor", 1, true, |v| number(real(&v[0])?.floor())),
    ("g_ceil", 1, true, |v| number(real(&v[0])?.ceil())),
    ("g_round", 1, true, |v| number(real(&v[0])?.round_ties_even())),
    ("g_trunc", 1, true, |v| number(real(&v[0])?.trunc())),
    ("g_sign", 1, true, |v| number(sign(real(&v[0])?))),
    ("g_sqrt", 1, true, square_root),
    ("g_int2", 1, true, |v| ranged(v, SqlType::Int2)),
    ("g_int4", 1, true, |v| ranged(v, SqlType::Int4)),
    ("g_oid", 1, true, |v| ranged(v, SqlType::Oid)),
    ("g_float_int", 1, true, float_to_int),
    ("g_text_int", 1, true, |v| parsed(v, SqlType::Int8)),
    ("g_text_float", 1, true, |v| parsed(v, SqlType::Float8)),
    ("g_text_bool", 1, true, |v| parsed(v, SqlType::Bool)),
    ("g_text_uuid", 1, true, |v| parsed(v, SqlType::Uuid)),
    ("g_text_bytes", 1, true, |v| parsed(v, SqlType::Bytea)),
    ("g_text_timestamp", 1, true, |v| parsed(v, SqlType::TimestampTz)),
    ("g_bool_text", 1, true, |v| Ok(Value::Text((int(&v[0])? != 0).to_string()))),
    ("g_same", 1, true, |v| Ok(v[0].clone())),
    ("g_bytes_cat", 2, true, |v| match (&v[0], &v[1]) {
        (Value::Blob(a), Value::Blob(b)) => Ok(Value::Blob([a.as_slice(), b].concat())),
        _ => Err(wrong()),
    }),
    ("g_float_text", 1, true, |v| Ok(Value::Text(text::float(real(&v[0])?)))),
    ("g_bytes_text", 1, true, bytes_text),
    ("g_timestamp_text", 1, true, |v| Ok(Value::Text(text::timestamp(int(&v[0])?)))),
    ("g_varchar", 2, true, varchar),
    ("g_lower", 1, true, |v| Ok(Value::Text(lower(string(&v[0])?)))),
    ("g_upper", 1, true, |v| Ok(Value::Text(upper(string(&v[0])?)))),
    ("g_substr", -1, true, substring),
    ("g_trim", -1, true, |v| trimmed(v, true, true)),
    ("g_ltrim", -1, true, |v| trimmed(v, true, false)),
    ("g_rtrim", -1, true, |v| trimmed(v, false, true)),
    ("g_replace", 3, true, replaced),
    ("g_left", 2, true, left),
    ("g_right", 2, true, right),
    ("g_repeat", 2, true, repeated),
    ("g_reverse", 1, true, |v| Ok(Value::Text(string(&v[0])?.chars().rev().collect()))),
    ("g_starts_with", 2, true, |v| Ok(boolean(string(&v[0])?.starts_with(string(&v[1])?)))),
    ("g_split_part", 3, true, split_part),
    ("g_like", 3, true, |v| like(v, false)),
    ("g_ilike", 3, true, |v| like(v, true)),
    ("g_greatest", -1, false, |v| Ok(extreme(v, Ordering::Greater))),
    ("g_least", -1, false, |v| Ok(extreme(v, Ordering::Less))),
    ("g_concat", -1, false, |v| concat(v, "")),
    ("g_concat_ws", -1, false, concat_ws),
    ("g_single", 2, false, single),
    ("g_limit", 1, false, |v| limit(v, "LIMIT")),
    ("g_offset", 1, false, |v| limit(v, "OFFSET")),
    ("g_bit_length", 1, true, bit_length),
    ("g_strpos", 2, true, position),
];

/// The functions, for the row store.
pub fn functions() -> Vec<Function> {
    [TABLE, number::TABLE, json::TABLE, moment::TABLE, strings::TABLE]
        .into_iter()
        .flatten()
        .map(|&(name, arguments, strict, body)| Function {
            name,
            arguments,
            deterministic: true,
            body: Arc::new(move |_, values| {
                if strict && values.contains(&Value::Null) {
                    return Ok(Value::Null);
                }
                body(values).map_err(|error| raise(&error))
            }),
        })
        .collect()
}

/// The aggregate functions, for the row store.
pub fn aggregates() -> Vec<Aggregate> {
    number::aggregates()
}

fn wrong() -> SqlError {
    SqlError::internal("a function of the row store was called with a value of another type")
}

fn int(value: &Value) -> Result<i64, SqlError> {
    if let Value::Integer(value) = value { Ok(*value) } else { Err(wrong()) }
}

fn real(value: &Value) -> Result<f64, SqlError> {
    match value {
        Value::Real(value) => Ok(*value),
        // In RETURNING SQLite gives whole numbers of a REAL column as it stores them.
        Value::Integer(value) => Ok(*value as f64),
        _ => Err(wrong()),
    }
}

fn string(value: &Value) -> Result<&str, SqlError> {
    if let Value::Text(value) = value { Ok(value) } else { Err(wrong()) }
}

/// A text keeps its number of characters, as in PostgreSQL: `lower('İ')` is `i`, without a dot over it.
fn lower(text: &str) -> String {
    text.chars().map(|c| c.to_lowercase().next().unwrap_or(c)).collect()
}

/// The same: `upper('ß')` is `ß`.
fn upper(text: &str) -> String {
    text.chars()
        .map(|c| {
            let mut upper = c.to_uppercase();
            if upper.len() == 1 { upper.next().unwrap_or(c) } else { c }
        })
        .collect()
}

fn boolean(value: bool) -> Value {
    Value::Integer(i64::from(value))
}

fn checked(values: &[Value], compute: fn(i64, i64) -> Option<i64>) -> Result<Value, SqlError> {
    compute(int(&values[0])?, int(&values[1])?).map(Value::Integer).ok_or_else(|| out_of_range(SqlType::Int8))
}

fn divided(values: &[Value], compute: fn(i64, i64) -> Option<i64>) -> Result<Value, SqlError> {
    if int(&values[1])? == 0 {
        return Err(by_zero());
    }
    checked(values, compute)
}

fn by_zero() -> SqlError {
    SqlError::new(state::DIVISION_BY_ZERO, "division by zero")
}

fn float_divided(values: &[Value], compute: fn(f64, f64) -> f64) -> Result<Value, SqlError> {
    if real(&values[1])? == 0.0 {
        return Err(by_zero());
    }
    number(compute(real(&values[0])?, real(&values[1])?))
}

/// SQLite makes NULL of NaN, so it must not get that far.
fn number(value: f64) -> Result<Value, SqlError> {
    if value.is_nan() {
        return Err(SqlError::unsupported("the float NaN"));
    }
    Ok(Value::Real(value))
}

fn sign(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

fn square_root(values: &[Value]) -> Result<Value, SqlError> {
    let value = real(&values[0])?;
    if value < 0.0 {
        let code = grantd_catalog::refusal::SqlState::new("2201F");
        return Err(SqlError::new(code, "cannot take square root of a negative number"));
    }
    number(value.sqrt())
}

fn ranged(values: &[Value], sql_type: SqlType) -> Result<Value, SqlError> {
    let value = int(&values[0])?;
    match sql_type.int_range() {
        Some((low, high)) if (low..=high).contains(&value) => Ok(Value::Integer(value)),
        _ => Err(out_of_range(sql_type)),
    }
}

/// Rounds half to even, as PostgreSQL and CockroachDB do.
#[allow(clippy::cast_possible_truncation, reason = "the range was checked on the line before")]
fn float_to_int(values: &[Value]) -> Result<Value, SqlError> {
    let value = real(&values[0])?.round_ties_even();
    // 2^63 has a double, the largest i64 has none.
    let bound = 9_223_372_036_854_775_808.0;
    if value >= -bound && value < bound {
        Ok(Value::Integer(value as i64))
    } else {
        Err(out_of_range(SqlType::Int8))
    }
}

fn parsed(values: &[Value], sql_type: SqlType) -> Result<Value, SqlError> {
    text::parse(string(&values[0])?, sql_type)?.to_row(sql_type)
}

fn bytes_text(values: &[Value]) -> Result<Value, SqlError> {
    match &values[0] {
        Value::Blob(bytes) => Ok(Value::Text(text::bytes(bytes))),
        Value::Null | Value::Integer(_) | Value::Real(_) | Value::Text(_) => Err(wrong()),
    }
}

fn varchar(values: &[Value]) -> Result<Value, SqlError> {
    let (value, most) = (string(&values[0])?, int(&values[1])?);
    if usize::try_from(most).is_ok_and(|most| value.chars().count() <= most) {
        Ok(Value::Text(value.to_owned()))
    } else {
        Err(SqlError::new(
            state::STRING_DATA_RIGHT_TRUNCATION,
            format!("value too long for type VARCHAR({most})"),
        ))
    }
}

/// Positions count from 1 and may lie outside; only what lies inside is returned.
fn substring(values: &[Value]) -> Result<Value, SqlError> {
    let value = string(&values[0])?;
    let start = int(&values[1])?;
    let end = match values.get(2) {
        None => i64::MAX,
        Some(length) => {
            let length = int(length)?;
            if length < 0 {
                let code = grantd_catalog::refusal::SqlState::new("22011");
                return Err(SqlError::new(code, "negative substring length not allowed"));
            }
            start.saturating_add(length)
        }
    };
    let inside = (1_i64..).zip(value.chars()).filter(|(at, _)| *at >= start && *at < end);
    Ok(Value::Text(inside.map(|(_, c)| c).collect()))
}

fn trimmed(values: &[Value], start: bool, end: bool) -> Result<Value, SqlError> {
    let mut value = string(&values[0])?;
    // Not a list: looking through one for each character would be text × set.
    let set: BTreeSet<char> = match values.get(1) {
        Some(set) => string(set)?.chars().collect(),
        None => BTreeSet::from([' ']),
    };
    if start {
        value = value.trim_start_matches(|c| set.contains(&c));
    }
    if end {
        value = value.trim_end_matches(|c| set.contains(&c));
    }
    Ok(Value::Text(value.to_owned()))
}

fn replaced(values: &[Value]) -> Result<Value, SqlError> {
    let (value, from, to) = (string(&values[0])?, string(&values[1])?, string(&values[2])?);
    if from.is_empty() {
        return Ok(Value::Text(value.to_owned()));
    }
    let grown = value.matches(from).count().saturating_mul(to.len());
    if grown > REPEAT_BYTES_MAX {
        return Err(SqlError::too_large("the result of replace() is too large"));
    }
    Ok(Value::Text(value.replace(from, to)))
}

/// A negative count leaves that many out at the other end.
fn left(values: &[Value]) -> Result<Value, SqlError> {
    let value = string(&values[0])?;
    let keep = kept(value, int(&values[1])?);
    Ok(Value::Text(value.chars().take(keep).collect()))
}

fn right(values: &[Value]) -> Result<Value, SqlError> {
    let value = string(&values[0])?;
    let keep = kept(value, int(&values[1])?);
    let length = value.chars().count();
    Ok(Value::Text(value.chars().skip(length - keep).collect()))
}

fn kept(value: &str, count: i64) -> usize {
    let length = value.chars().count();
    let magnitude = usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX);
    if count < 0 { length.saturating_sub(magnitude) } else { length.min(magnitude) }
}

fn repeated(values: &[Value]) -> Result<Value, SqlError> {
    let value = string(&values[0])?;
    let count = usize::try_from(int(&values[1])?).unwrap_or(0);
    if value.len().saturating_mul(count) > REPEAT_BYTES_MAX {
        return Err(SqlError::too_large("the result of repeat() is too large"));
    }
    Ok(Value::Text(value.repeat(count)))
}

fn split_part(values: &[Value]) -> Result<Value, SqlError> {
    let (value, separator, index) = (string(&values[0])?, string(&values[1])?, int(&values[2])?);
    let Some(index) = usize::try_from(index).ok().filter(|index| *index > 0) else {
        return Err(SqlError::new(
            grantd_catalog::refusal::state::INVALID_PARAMETER_VALUE,
            "field position must be greater than zero",
        ));
    };
    let part = if separator.is_empty() {
        (index == 1).then_some(value)
    } else {
        value.split(separator).nth(index - 1)
    };
    Ok(Value::Text(part.unwrap_or("").to_owned()))
}

fn like(values: &[Value], fold: bool) -> Result<Value, SqlError> {
    let (value, pattern) = (string(&values[0])?, string(&values[1])?);
    let escape = match values.get(2) {
        None => Some('\\'),
        Some(escape) => {
            let mut chars = string(escape)?.chars();
            match (chars.next(), chars.next()) {
                (first, None) => first,
                _ => {
                    return Err(SqlError::new(state::INVALID_ESCAPE_SEQUENCE, "invalid escape string")
                        .with_hint("An escape string is empty or one character."));
                }
            }
        }
    };
    let folded = |text: &str| if fold { lower(text) } else { text.to_owned() };
    let pattern = tokens(&folded(pattern), escape)?;
    let text: Vec<_> = folded(value).chars().collect();
    matches(&text, &pattern)
        .map(boolean)
        .ok_or_else(|| SqlError::too_large("comparing with the LIKE pattern takes too many steps"))
}

enum Piece {
    Any,
    One,
    Char(char),
}

fn tokens(pattern: &str, escape: Option<char>) -> Result<Vec<Piece>, SqlError> {
    let mut pieces = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            match chars.next() {
                Some(c) => pieces.push(Piece::Char(c)),
                None => {
                    return Err(SqlError::new(
                        state::INVALID_ESCAPE_SEQUENCE,
                        "LIKE pattern must not end with escape character",
                    ));
                }
            }
        } else {
            pieces.push(match c {
                '%' => Piece::Any,
                '_' => Piece::One,
                c => Piece::Char(c),
            });
        }
    }
    Ok(pieces)
}

/// Goes back to the last `%` only: at most text × pattern steps. None: there were more than [`LIKE_STEPS_MAX`].
fn matches(text: &[char], pattern: &[Piece]) -> Option<bool> {
    let (mut t, mut p) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    let mut steps = 0;
    while t < text.len() {
        steps += 1;
        if steps > LIKE_STEPS_MAX {
            return None;
        }
        let here = match pattern.get(p) {
            Some(Piece::Any) => {
                back = Some((p + 1, t));
                p += 1;
                continue;
            }
            Some(Piece::One) => true,
            Some(Piece::Char(c)) => *c == text[t],
            None => false,
        };
        if here {
            t += 1;
            p += 1;
        } else if let Some((after, from)) = back {
            p = after;
            t = from + 1;
            back = Some((after, t));
        } else {
            return Some(false);
        }
    }
    Some(pattern[p..].iter().all(|piece| matches!(piece, Piece::Any)))
}

/// Ignores NULL; NULL if there is nothing else.
fn extreme(values: &[Value], wanted: Ordering) -> Value {
    let mut best = Value::Null;
    for value in values {
        if *value != Value::Null && (best == Value::Null || compare(value, &best) == wanted) {
            best = value.clone();
        }
    }
    best
}

/// The same by an order of texts.
fn extreme_by(
    values: &[Value],
    wanted: Ordering,
    compare: fn(&str, &str) -> Ordering,
) -> Result<Value, SqlError> {
    let mut best: Option<&str> = None;
    for value in values.iter().filter(|value| **value != Value::Null) {
        let value = string(value)?;
        if best.is_none_or(|best| compare(value, best) == wanted) {
            best = Some(value);
        }
    }
    Ok(best.map_or(Value::Null, |best| Value::Text(best.to_owned())))
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Integer(a), Value::Integer(b)) => a.cmp(b),
        (Value::Real(a), Value::Real(b)) => a.total_cmp(b),
        (Value::Text(a), Value::Text(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Blob(a), Value::Blob(b)) => a.cmp(b),
        _ => Ordering::Equal,
    }
}

fn concat(values: &[Value], separator: &str) -> Result<Value, SqlError> {
    let parts =
        values.iter().filter(|value| **value != Value::Null).map(string).collect::<Result<Vec<_>, _>>()?;
    joined(&parts, separator).map(Value::Text)
}

/// Texts with a separator between them.
///
/// # Errors
/// 54000, before there is anything that is too large.
pub fn joined(parts: &[&str], separator: &str) -> Result<String, SqlError> {
    let bytes = parts.iter().map(|part| part.len()).sum::<usize>();
    let bytes = bytes.saturating_add(separator.len().saturating_mul(parts.len().saturating_sub(1)));
    match bytes > VALUE_BYTES_MAX {
        true => Err(SqlError::too_large(format!("a text of more than {VALUE_BYTES_MAX} bytes"))),
        false => Ok(parts.join(separator)),
    }
}

fn concat_ws(values: &[Value]) -> Result<Value, SqlError> {
    match values.split_first() {
        Some((Value::Null, _)) | None => Ok(Value::Null),
        Some((separator, rest)) => concat(rest, string(separator)?),
    }
}

/// `g_single(count, value)`: the value of a subquery that stands for one value.
fn single(values: &[Value]) -> Result<Value, SqlError> {
    if int(&values[0])? > 1 {
        return Err(SqlError::new(
            state::CARDINALITY_VIOLATION,
            "more than one row returned by a subquery used as an expression",
        ));
    }
    Ok(values[1].clone())
}

/// SQLite takes a negative LIMIT for none, and NULL for an error.
fn limit(values: &[Value], word: &str) -> Result<Value, SqlError> {
    match &values[0] {
        Value::Null => Ok(Value::Integer(if word == "LIMIT" { -1 } else { 0 })),
        value => match int(value)? {
            count if count < 0 => {
                Err(SqlError::new(state::INVALID_LIMIT, format!("negative value for {word}")))
            }
            count => Ok(Value::Integer(count)),
        },
    }
}

/// Where one text begins in the other, counted in characters from 1; 0: nowhere. SQLite's own `instr` takes text × text.
fn position(values: &[Value]) -> Result<Value, SqlError> {
    let (value, wanted) = (string(&values[0])?, string(&values[1])?);
    let at = value.find(wanted).map_or(0, |before| value[..before].chars().count() + 1);
    i64::try_from(at).map(Value::Integer).map_err(|_| out_of_range(SqlType::Int8))
}

fn bit_length(values: &[Value]) -> Result<Value, SqlError> {
    i64::try_from(string(&values[0])?.len())
        .map(|bytes| Value::Integer(bytes.saturating_mul(8)))
        .map_err(|_| out_of_range(SqlType::Int8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, values: &[Value]) -> Result<Value, String> {
        let function = functions().into_iter().find(|function| function.name == name).unwrap();
        (function.body)(None, values)
            .map_err(|message| raised(&message).unwrap().body.code.as_str().to_owned())
    }

    fn t(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn integers_never_wrap_or_become_floats() {
        let i = Value::Integer;
        assert_eq!(call("g_add", &[i(i64::MAX), i(1)]), Err("22003".to_owned()));
        assert_eq!(call("g_mul", &[i(i64::MIN), i(-1)]), Err("22003".to_owned()));
        assert_eq!(call("g_div", &[i(i64::MIN), i(-1)]), Err("22003".to_owned()));
        assert_eq!(call("g_mod", &[i(i64::MIN), i(-1)]), Ok(i(0)));
        assert_eq!(call("g_div", &[i(1), i(0)]), Err("22012".to_owned()));
        assert_eq!(call("g_float_int", &[Value::Real(2.5)]), Ok(i(2)));
        assert_eq!(call("g_float_int", &[Value::Real(1e19)]), Err("22003".to_owned()));
        assert_eq!(call("g_fdiv", &[Value::Real(1.0), Value::Real(0.0)]), Err("22012".to_owned()));
        assert_eq!(call("g_add", &[i(1), Value::Null]), Ok(Value::Null));
    }

    #[test]
    fn like_has_case_and_an_escape_character() {
        let like = |text: &str, pattern: &str| call("g_like", &[t(text), t(pattern), t("\\")]);
        let yes = Ok(Value::Integer(1));
        let no = Ok(Value::Integer(0));
        assert_eq!(like("Tea", "t%"), no);
        assert_eq!(call("g_ilike", &[t("Tea"), t("t%"), t("\\")]), yes);
        assert_eq!(like("100%", "100\\%"), yes);
        assert_eq!(like("100x", "100\\%"), no);
        assert_eq!(like("äb", "_b"), yes);
        assert_eq!(like("", "%"), yes);
        assert_eq!(like("abcab", "%ab"), yes);
        assert_eq!(like("x", "x\\"), Err("22025".to_owned()));
    }

    #[test]
    fn text_functions_count_characters_from_one() {
        let i = Value::Integer;
        assert_eq!(call("g_substr", &[t("grüße"), i(3), i(2)]), Ok(t("üß")));
        assert_eq!(call("g_substr", &[t("abc"), i(-1), i(3)]), Ok(t("a")));
        assert_eq!(call("g_substr", &[t("abc"), i(1), i(-1)]), Err("22011".to_owned()));
        assert_eq!(call("g_left", &[t("abc"), i(-1)]), Ok(t("ab")));
        assert_eq!(call("g_right", &[t("abc"), i(2)]), Ok(t("bc")));
        assert_eq!(call("g_varchar", &[t("üüü"), i(3)]), Ok(t("üüü")));
        assert_eq!(call("g_varchar", &[t("abcd"), i(3)]), Err("22001".to_owned()));
        assert_eq!(call("g_repeat", &[t("ab"), i(1 << 40)]), Err("54000".to_owned()));
    }

    /// Each of these would take hours if its time grew with the product of two texts.
    #[test]
    fn no_function_takes_time_in_the_product_of_two_texts() {
        let long = t(&"a".repeat(REPEAT_BYTES_MAX));
        let half = "a".repeat(REPEAT_BYTES_MAX / 2);
        let like = |pattern: String| call("g_like", &[long.clone(), t(&pattern), t("\\")]);
        assert_eq!(like(format!("%{half}b")), Err("54000".to_owned()));
        assert_eq!(like("%aaa%ab".to_owned()), Ok(Value::Integer(0)));
        assert_eq!(call("g_strpos", &[long.clone(), t(&format!("{half}b"))]), Ok(Value::Integer(0)));
        assert_eq!(call("g_strpos", &[t("größe"), t("ß")]), Ok(Value::Integer(4)));
        assert_eq!(call("g_strpos", &[t("x"), t("")]), Ok(Value::Integer(1)));
        let others: String = ('\u{4e00}'..'\u{9000}').chain(['a']).collect();
        assert_eq!(call("g_trim", &[long, t(&others)]), Ok(t("")));
    }

    #[test]
    fn a_mark_in_a_message_is_read_back_whole() {
        let error = SqlError::new(state::DIVISION_BY_ZERO, "a!b");
        assert_eq!(raised(&raise(&error)), Some(error));
        assert_eq!(raised("no such table"), None);
        assert_eq!(raised("!ab!x"), None);
    }
}
