//! Functions whose arguments decide more than a signature says: of dates and times, of any type, of JSON.

use super::{Parameters, Typed, cast, introspect, json, moment, operator, signature};
use crate::error::SqlError;
use crate::sql::translate::function::unknown;
use crate::value::SqlType;

const MOMENTS: [&str; 6] = ["date_part", "extract", "timezone", "date_trunc", "age", "isfinite"];
const TEXTS: [&str; 3] = ["format", "quote_nullable", "quote_literal"];
const JSONS: [&str; 9] = [
    "jsonb_build_object",
    "json_build_object",
    "jsonb_build_array",
    "json_build_array",
    "jsonb_extract_path",
    "json_extract_path",
    "jsonb_extract_path_text",
    "json_extract_path_text",
    "jsonb_set",
];

/// Whether a function is one of those here.
pub fn knows(name: &str) -> bool {
    MOMENTS.contains(&name) || TEXTS.contains(&name) || JSONS.contains(&name)
}

/// A call of one of them.
pub fn call(name: &str, arguments: Vec<Typed>, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    if MOMENTS.contains(&name) {
        return of_moments(name, arguments, parameters);
    }
    if JSONS.contains(&name) {
        return of_json(name, arguments, parameters);
    }
    let texts = arguments.into_iter().map(|argument| operator::to_output(argument, parameters));
    let texts = texts.collect::<Result<Vec<_>, _>>()?;
    match (name, texts.len()) {
        ("format", 1..) | (_, 1) => {
            Ok(Typed::computed(format!("g_{name}({})", texts.join(", ")), SqlType::Text))
        }
        _ => Err(unknown(name)),
    }
}

fn of_moments(name: &str, mut arguments: Vec<Typed>, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    match (name, arguments.len()) {
        ("date_part" | "extract", 2) => {
            let value = arguments.remove(1);
            moment::extract(arguments.remove(0), value, parameters)
        }
        ("timezone", 2) => {
            let value = arguments.remove(1);
            moment::at_time_zone(value, arguments.remove(0), parameters)
        }
        // Of a date a TIMESTAMPTZ, as in both originals.
        ("date_trunc", 2) if arguments[1].sql_type == SqlType::Date => {
            let date = cast::expect(arguments.remove(1), SqlType::TimestampTz, name, parameters)?;
            arguments.push(date);
            signature::call(name, arguments, parameters)
        }
        ("age", 1) => {
            let value = arguments.remove(0);
            let midnight = "g_date_moment(g_moment_date(g_now()))".to_owned();
            let to = match value.sql_type {
                SqlType::TimestampTz => SqlType::TimestampTz,
                _ => SqlType::Timestamp,
            };
            signature::call(name, vec![Typed::computed(midnight, to), value], parameters)
        }
        ("date_trunc" | "age", _) => signature::call(name, arguments, parameters),
        // There is no infinity here.
        ("isfinite", 1) => {
            let value = cast::settled(arguments.remove(0), parameters)?;
            Ok(Typed::computed(format!("({} IS NOT NULL OR NULL)", value.sql), SqlType::Bool))
        }
        _ => Err(unknown(name)),
    }
}

fn of_json(name: &str, mut arguments: Vec<Typed>, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let what = format!("argument of {name}()");
    let plain = name.strip_prefix("jsonb_").or_else(|| name.strip_prefix("json_")).unwrap_or(name);
    let mut result = SqlType::Jsonb;
    let sql = match (plain, arguments.len()) {
        ("build_object", count) => {
            let mut rendered = Vec::with_capacity(count);
            for (at, argument) in arguments.into_iter().enumerate() {
                rendered.push(match at % 2 {
                    0 => operator::to_text(argument, parameters)?,
                    _ => json::of(argument, parameters)?,
                });
            }
            format!("g_json_build_object({})", rendered.join(", "))
        }
        ("build_array", _) => {
            let items = arguments.into_iter().map(|argument| json::of(argument, parameters));
            format!("g_json_build_array({})", items.collect::<Result<Vec<_>, _>>()?.join(", "))
        }
        ("extract_path" | "extract_path_text", 1..) => {
            let mut rendered =
                vec![cast::expect(arguments.remove(0), SqlType::Jsonb, &what, parameters)?.sql];
            for argument in arguments {
                rendered.push(cast::expect(argument, SqlType::Text, &what, parameters)?.sql);
            }
            let as_text = plain == "extract_path_text";
            result = if as_text { SqlType::Text } else { SqlType::Jsonb };
            let function = if as_text { "g_json_extract_text" } else { "g_json_extract" };
            format!("{function}({})", rendered.join(", "))
        }
        ("set", 3 | 4) => {
            let create = match arguments.get(3).cloned() {
                Some(create) => cast::expect(create, SqlType::Bool, &what, parameters)?.sql,
                None => "1".to_owned(),
            };
            let value = cast::expect(arguments.remove(2), SqlType::Jsonb, &what, parameters)?.sql;
            let path = introspect::array(arguments.remove(1), &what, parameters)?.0;
            let target = cast::expect(arguments.remove(0), SqlType::Jsonb, &what, parameters)?.sql;
            format!("g_json_set({target}, {path}, {value}, {create})")
        }
        _ => return Err(unknown(name)),
    };
    Ok(Typed::computed(sql, result))
}
