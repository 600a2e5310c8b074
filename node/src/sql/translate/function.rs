//! Functions that a statement may call, with what they become.

use super::{Parameters, Typed, cast, introspect, operator};
use crate::sql::error::{SqlError, state};
use crate::sql::value::{Family, SqlType};

/// What `version()` says.
pub const VERSION: &str =
    concat!("grantd ", env!("CARGO_PKG_VERSION"), " (PostgreSQL 13.0 and CockroachDB v22.2 dialect)");

/// Aggregates. Their argument sees rows, not groups.
pub fn is_aggregate(name: &str) -> bool {
    matches!(
        name,
        "count"
            | "sum"
            | "avg"
            | "min"
            | "max"
            | "bool_and"
            | "every"
            | "bool_or"
            | "string_agg"
            | "array_agg"
    )
}

/// Whether every cluster has a function of this name.
pub fn is_built_in(name: &str) -> bool {
    let unified = ["coalesce", "ifnull", "nullif", "greatest", "least", "concat", "concat_ws", "abs"];
    context_function(name, 0).is_some()
        || is_aggregate(name)
        || unified.contains(&name)
        || introspect::knows(name)
        || SIGNATURES.iter().any(|row| row.0 == name)
        || (name.starts_with("has_") && name.ends_with("_privilege"))
        || name == "pg_has_role"
}

/// SQLite's own functions that a translation may call; everything else it calls is ours and begins with `g_`.
pub const NATIVE: [&str; 17] = [
    "abs",
    "avg",
    "coalesce",
    "count",
    "group_concat",
    "json_array",
    "json_extract",
    "json_group_array",
    "json_object",
    "row_number",
    // Only in the DEFAULTs and CHECKs that were stored before `g_strpos`.
    "instr",
    "length",
    "max",
    "min",
    "nullif",
    "octet_length",
    "sum",
];

/// An aggregate with its argument; `count(*)` has none.
pub fn aggregate(
    (name, distinct): (&str, bool),
    mut arguments: Vec<Typed>,
    order: &str,
    parameters: &mut Parameters,
) -> Result<Typed, SqlError> {
    let distinct = if distinct { "DISTINCT " } else { "" };
    // The order matters to those two alone.
    let order = if order.is_empty() { String::new() } else { format!(" {order}") };
    if name == "count" && arguments.is_empty() {
        return Ok(Typed::computed("count(*)".to_owned(), SqlType::Int8));
    }
    if name == "array_agg" && arguments.len() == 1 {
        let item = cast::settled(arguments.remove(0), parameters)?;
        let of = introspect::array_of(item.sql_type)?;
        let sql = format!(
            "g_json_array_or_null(json_group_array({distinct}{}{order}))",
            introspect::as_item(&item.sql, item.sql_type)
        );
        return Ok(Typed::computed(sql, of));
    }
    if name == "string_agg" && arguments.len() == 2 && distinct.is_empty() {
        let separator = arguments.remove(1);
        let separator = cast::expect(separator, SqlType::Text, "argument of string_agg()", parameters)?;
        let item = cast::expect(arguments.remove(0), SqlType::Text, "argument of string_agg()", parameters)?;
        return Ok(Typed::computed(
            format!("group_concat({}, {}{order})", item.sql, separator.sql),
            SqlType::Text,
        ));
    }
    let [argument]: [Typed; 1] = arguments.try_into().map_err(|_| unknown(name))?;
    let argument = cast::settled(argument, parameters)?;
    let family = argument.sql_type.family();
    let (function, sql_type) = match (name, family) {
        ("count", _) => ("count", SqlType::Int8),
        ("min" | "max", Family::Bool) => return Err(unknown_for(name, argument.sql_type)),
        ("min" | "max", _) => (name, argument.sql_type),
        // The value is CockroachDB's; its type there is DECIMAL.
        ("sum", Family::Int) => ("sum", SqlType::Int8),
        ("sum", Family::Float) => ("sum", SqlType::Float8),
        ("avg", Family::Float) => ("avg", SqlType::Float8),
        ("avg", Family::Int) => {
            return Err(SqlError::unsupported("avg() of integers, a DECIMAL")
                .with_hint("Cast the argument to FLOAT8."));
        }
        ("bool_and" | "every", Family::Bool) => ("min", SqlType::Bool),
        ("bool_or", Family::Bool) => ("max", SqlType::Bool),
        _ => return Err(unknown_for(name, argument.sql_type)),
    };
    Ok(Typed::computed(format!("{function}({distinct}{})", argument.sql), sql_type))
}

/// A scalar function.
pub fn scalar(name: &str, arguments: Vec<Typed>, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    if let Some(typed) = context_function(name, arguments.len()) {
        return Ok(typed);
    }
    match name {
        "coalesce" | "ifnull" | "nullif" | "greatest" | "least" => unified(name, arguments, parameters),
        "concat" | "concat_ws" => concat(name, arguments, parameters),
        "abs" => abs(arguments, parameters),
        _ if name.starts_with("has_") || name == "pg_has_role" => inquiry(name, arguments, parameters),
        _ if introspect::knows(name) => introspect::call(name, arguments, parameters),
        _ => by_signature(name, arguments, parameters),
    }
}

/// Functions without arguments whose value comes from the statement's context.
fn context_function(name: &str, arguments: usize) -> Option<Typed> {
    if arguments != 0 {
        return None;
    }
    let (sql, sql_type) = match name {
        "now" | "current_timestamp" | "transaction_timestamp" | "statement_timestamp" => {
            ("g_now()", SqlType::TimestampTz)
        }
        "clock_timestamp" => ("g_clock()", SqlType::TimestampTz),
        "current_user" | "user" | "current_role" => ("g_current_user()", SqlType::Text),
        "session_user" => ("g_session_user()", SqlType::Text),
        "current_database" | "current_catalog" => ("g_current_database()", SqlType::Text),
        "current_schema" => ("g_current_schema()", SqlType::Text),
        "gen_random_uuid" => ("g_uuid()", SqlType::Uuid),
        "unique_rowid" => ("g_unique_rowid()", SqlType::Int8),
        "random" => ("g_random()", SqlType::Float8),
        "version" => return Some(Typed::computed(super::string(VERSION), SqlType::Text)),
        "pg_is_in_recovery" => ("0", SqlType::Bool),
        _ => return None,
    };
    Some(Typed::computed(sql.to_owned(), sql_type))
}

/// Functions with fixed types: name, argument types, function of the row store, result type.
type Signature = (&'static str, &'static [SqlType], &'static str, SqlType);

const SIGNATURES: [Signature; 36] = {
    use SqlType::{Bool, Float8, Int8, Text};
    [
        ("length", &[Text], "length", Int8),
        ("char_length", &[Text], "length", Int8),
        ("character_length", &[Text], "length", Int8),
        ("octet_length", &[Text], "octet_length", Int8),
        ("lower", &[Text], "g_lower", Text),
        ("upper", &[Text], "g_upper", Text),
        ("substring", &[Text, Int8], "g_substr", Text),
        ("substring", &[Text, Int8, Int8], "g_substr", Text),
        ("substr", &[Text, Int8], "g_substr", Text),
        ("substr", &[Text, Int8, Int8], "g_substr", Text),
        ("trim", &[Text], "g_trim", Text),
        ("btrim", &[Text], "g_trim", Text),
        ("btrim", &[Text, Text], "g_trim", Text),
        ("ltrim", &[Text], "g_ltrim", Text),
        ("ltrim", &[Text, Text], "g_ltrim", Text),
        ("rtrim", &[Text], "g_rtrim", Text),
        ("rtrim", &[Text, Text], "g_rtrim", Text),
        ("replace", &[Text, Text, Text], "g_replace", Text),
        ("strpos", &[Text, Text], "g_strpos", Int8),
        ("left", &[Text, Int8], "g_left", Text),
        ("right", &[Text, Int8], "g_right", Text),
        ("repeat", &[Text, Int8], "g_repeat", Text),
        ("reverse", &[Text], "g_reverse", Text),
        ("starts_with", &[Text, Text], "g_starts_with", Bool),
        ("split_part", &[Text, Text, Int8], "g_split_part", Text),
        ("div", &[Int8, Int8], "g_div", Int8),
        ("mod", &[Int8, Int8], "g_mod", Int8),
        ("floor", &[Float8], "g_floor", Float8),
        ("ceil", &[Float8], "g_ceil", Float8),
        ("ceiling", &[Float8], "g_ceil", Float8),
        ("round", &[Float8], "g_round", Float8),
        ("trunc", &[Float8], "g_trunc", Float8),
        ("sqrt", &[Float8], "g_sqrt", Float8),
        ("sign", &[Float8], "g_sign", Float8),
        ("position", &[Text, Text], "g_strpos", Int8),
        ("bit_length", &[Text], "g_bit_length", Int8),
    ]
};

fn by_signature(name: &str, arguments: Vec<Typed>, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let mut known = false;
    for (candidate, types, function, result) in SIGNATURES {
        known |= candidate == name;
        if candidate != name || types.len() != arguments.len() {
            continue;
        }
        let what = format!("argument of {name}()");
        let rendered = arguments
            .into_iter()
            .zip(types)
            .map(|(argument, to)| cast::expect(argument, *to, &what, parameters).map(|typed| typed.sql))
            .collect::<Result<Vec<_>, _>>()?;
        return Ok(Typed::computed(format!("{function}({})", rendered.join(", ")), result));
    }
    if known {
        let types: Vec<_> = arguments.iter().map(|argument| argument.sql_type.word()).collect();
        return Err(SqlError::new(
            state::UNDEFINED_FUNCTION,
            format!("unknown signature: {name}({})", types.join(", ")),
        ));
    }
    Err(undefined(name))
}

/// 42883: there is none of this name.
pub fn undefined(name: &str) -> SqlError {
    SqlError::new(state::UNDEFINED_FUNCTION, format!("unknown function: {name}()"))
}

fn unified(name: &str, arguments: Vec<Typed>, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let count = arguments.len();
    if count == 0 || (matches!(name, "ifnull" | "nullif") && count != 2) {
        return Err(SqlError::syntax(format!("wrong number of arguments to {name}()")));
    }
    let (mut items, common) = cast::unify(arguments, name, parameters)?;
    let rendered: Vec<_> = items.iter().map(|item| item.sql.as_str()).collect();
    let sql = match name {
        "greatest" => format!("g_greatest({})", rendered.join(", ")),
        "least" => format!("g_least({})", rendered.join(", ")),
        "nullif" => format!("nullif({})", rendered.join(", ")),
        // SQLite's coalesce wants two.
        _ if count == 1 => return Ok(items.remove(0)),
        _ => format!("coalesce({})", rendered.join(", ")),
    };
    Ok(Typed::computed(sql, common))
}

fn concat(name: &str, arguments: Vec<Typed>, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let rendered = arguments
        .into_iter()
        .map(|argument| operator::to_text(argument, parameters))
        .collect::<Result<Vec<_>, _>>()?;
    if rendered.is_empty() {
        return Err(unknown(name));
    }
    Ok(Typed::computed(format!("g_{name}({})", rendered.join(", ")), SqlType::Text))
}

fn abs(arguments: Vec<Typed>, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let [argument]: [Typed; 1] = arguments.try_into().map_err(|_| unknown("abs"))?;
    let argument = cast::settled(argument, parameters)?;
    match argument.sql_type.family() {
        Family::Int => Ok(Typed::computed(format!("g_abs({})", argument.sql), SqlType::Int8)),
        Family::Float => Ok(Typed::computed(format!("abs({})", argument.sql), SqlType::Float8)),
        Family::Bool
        | Family::Text
        | Family::Bytes
        | Family::Uuid
        | Family::Timestamp
        | Family::TextArray
        | Family::Enum(_)
        | Family::Unknown => Err(unknown_for("abs", argument.sql_type)),
    }
}

/// `has_…_privilege([user,] object [, column], privilege)` and `pg_has_role([user,] role, privilege)`: objects and
/// users by name or by OID.
fn inquiry(name: &str, arguments: Vec<Typed>, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let (least, most) = match name {
        "has_table_privilege"
        | "has_database_privilege"
        | "has_schema_privilege"
        | "has_sequence_privilege"
        | "has_type_privilege"
        | "has_function_privilege"
        | "has_language_privilege"
        | "has_server_privilege"
        | "has_foreign_data_wrapper_privilege"
        | "has_tablespace_privilege"
        | "pg_has_role"
        | "has_any_column_privilege" => (2, 3),
        "has_column_privilege" => (3, 4),
        "has_system_privilege" => (1, 2),
        _ => return Err(SqlError::unsupported(format!("the function {name}()"))),
    };
    if !(least..=most).contains(&arguments.len()) {
        return Err(unknown(name));
    }
    let rendered = arguments
        .into_iter()
        .map(|argument| {
            let argument = cast::settled(argument, parameters)?;
            match argument.sql_type.family() {
                Family::Text | Family::Int => Ok(argument.sql),
                _ => Err(unknown_for(name, argument.sql_type)),
            }
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Typed::computed(format!("g_{name}({})", rendered.join(", ")), SqlType::Bool))
}

fn unknown(name: &str) -> SqlError {
    SqlError::new(
        grantd_catalog::refusal::state::FEATURE_NOT_SUPPORTED,
        format!("the function {name}() with these arguments is not supported"),
    )
}

fn unknown_for(name: &str, sql_type: SqlType) -> SqlError {
    SqlError::unsupported(format!("the function {name}() of {}", sql_type.word()))
}

/// Functions of the row store whose value depends on time, chance, the session or the catalog.
pub const UNSTABLE: [&str; 21] = [
    "g_enum_",
    "g_nextval",
    "g_setval",
    "g_currval",
    "g_lastval",
    "g_now",
    "g_clock",
    "g_current_",
    "g_session_user",
    "g_uuid",
    "g_unique_rowid",
    "g_random",
    "g_has_",
    "g_pg_",
    "g_reg_",
    "g_to_reg",
    "g_format_type",
    "g_obj_description",
    "g_col_description",
    "g_procedure_of",
    "g_acl",
];

/// Functions of the row store of which each call counts.
const VOLATILE: [&str; 6] = ["g_nextval", "g_setval", "g_clock", "g_uuid", "g_unique_rowid", "g_random"];

/// Whether a text calls such. A literal that spells one counts too.
pub fn is_volatile(sql: &str) -> bool {
    VOLATILE.into_iter().any(|name| sql.contains(name))
}

/// The first unstable function that a text calls. A literal that spells one counts too: better refused than wrong.
pub fn unstable(sql: &str) -> Option<&'static str> {
    UNSTABLE.into_iter().find(|name| sql.contains(name))
}
