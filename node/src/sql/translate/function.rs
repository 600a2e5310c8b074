//! Functions that a statement may call, with what they become.

use super::{Parameters, Typed, cast, form, introspect, json, operator, order, signature};
use crate::error::{SqlError, state};
use crate::value::{Family, SqlType};

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
            | "jsonb_agg"
            | "json_agg"
            | "jsonb_object_agg"
            | "json_object_agg"
    )
}

/// Whether every cluster has a function of this name.
pub fn is_built_in(name: &str) -> bool {
    let unified =
        ["coalesce", "ifnull", "nullif", "greatest", "least", "concat", "concat_ws", "to_jsonb", "to_json"];
    context_function(name, 0).is_some()
        || is_aggregate(name)
        || is_window(name)
        || unified.contains(&name)
        || form::knows(name)
        || introspect::knows(name)
        || signature::knows(name)
        || (name.starts_with("has_") && name.ends_with("_privilege"))
        || name == "pg_has_role"
}

/// SQLite's own functions that a translation may call; everything else it calls is ours and begins with `g_`.
pub const NATIVE: [&str; 27] = [
    "cume_dist",
    "dense_rank",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
    "ntile",
    "percent_rank",
    "rank",
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

/// What stands in and behind the call of an aggregate.
#[derive(Clone, Copy)]
pub struct Clauses<'c> {
    /// `ORDER BY …`, or nothing.
    pub order: &'c str,
    /// Which rows count.
    pub filter: Option<&'c str>,
    /// ` OVER (…)`, or nothing.
    pub over: &'c str,
}

impl Clauses<'_> {
    /// What stands behind the call.
    fn tail(&self) -> String {
        match self.filter {
            Some(filter) => format!(" FILTER (WHERE {filter}){}", self.over),
            None => self.over.to_owned(),
        }
    }
}

/// An aggregate with its argument; `count(*)` has none.
pub fn aggregate(
    (name, distinct): (&str, bool),
    mut arguments: Vec<Typed>,
    clauses: Clauses<'_>,
    parameters: &mut Parameters,
) -> Result<Typed, SqlError> {
    if name == "string_agg" && arguments.len() == 2 && distinct {
        return string_agg_distinct(arguments, clauses, parameters);
    }
    let distinct = if distinct { "DISTINCT " } else { "" };
    let tail = clauses.tail();
    // The order matters to those two alone.
    let order = if clauses.order.is_empty() { String::new() } else { format!(" {}", clauses.order) };
    if name == "count" && arguments.is_empty() {
        return Ok(Typed::computed(format!("count(*){tail}"), SqlType::Int8));
    }
    if name == "array_agg" && arguments.len() == 1 {
        let item = cast::settled(arguments.remove(0), parameters)?;
        let of = introspect::array_of(item.sql_type)?;
        let sql = format!(
            "g_json_array_or_null(json_group_array({distinct}{}{order}){tail})",
            introspect::as_item(&item.sql, item.sql_type)
        );
        return Ok(Typed::computed(sql, of));
    }
    if name == "string_agg" && arguments.len() == 2 {
        let separator = arguments.remove(1);
        let separator = cast::expect(separator, SqlType::Text, "argument of string_agg()", parameters)?;
        let item = cast::expect(arguments.remove(0), SqlType::Text, "argument of string_agg()", parameters)?;
        return Ok(Typed::computed(
            format!("group_concat({}, {}{order}){tail}", item.sql, separator.sql),
            SqlType::Text,
        ));
    }
    if matches!(name, "jsonb_object_agg" | "json_object_agg") && arguments.len() == 2 && distinct.is_empty() {
        let value = json::of(arguments.remove(1), parameters)?;
        let key = operator::to_text(arguments.remove(0), parameters)?;
        let sql = format!("g_json_object_agg({key}, {value}{order}){tail}");
        return Ok(Typed::computed(sql, SqlType::Jsonb));
    }
    let [argument]: [Typed; 1] = arguments.try_into().map_err(|_| unknown(name))?;
    if matches!(name, "jsonb_agg" | "json_agg") {
        let item = json::of(argument, parameters)?;
        return Ok(Typed::computed(format!("g_json_agg({distinct}{item}{order}){tail}"), SqlType::Jsonb));
    }
    let argument = cast::settled(argument, parameters)?;
    let family = argument.sql_type.family();
    let (function, sql_type) = match (name, family) {
        ("count", _) => ("count", SqlType::Int8),
        ("min" | "max", Family::Numeric | Family::Interval) if !order::is_column(&argument.sql) => {
            let kind = order::collation(argument.sql_type).unwrap_or_default();
            let sql = format!("g_{kind}_{name}({}){tail}", argument.sql);
            return Ok(Typed::computed(sql, argument.sql_type));
        }
        ("min" | "max", Family::Bool | Family::Json) => return Err(unknown_for(name, argument.sql_type)),
        ("min" | "max", Family::Text) if argument.sql_type == SqlType::Varchar => (name, SqlType::Text),
        ("min" | "max", _) => (name, argument.sql_type),
        ("sum", Family::Int) => int_sum(argument.sql_type),
        ("avg", Family::Int) => ("g_int_avg", SqlType::Numeric),
        ("sum", Family::Numeric) => ("g_decimal_sum", SqlType::Numeric),
        ("avg", Family::Numeric) => ("g_decimal_avg", SqlType::Numeric),
        ("sum", Family::Interval) => ("g_interval_sum", SqlType::Interval),
        ("avg", Family::Interval) => ("g_interval_avg", SqlType::Interval),
        ("sum", Family::Float) => ("g_float_sum", SqlType::Float8),
        ("avg", Family::Float) => ("g_float_avg", SqlType::Float8),
        ("bool_and" | "every", Family::Bool) => ("min", SqlType::Bool),
        ("bool_or", Family::Bool) => ("max", SqlType::Bool),
        _ => return Err(unknown_for(name, argument.sql_type)),
    };
    // Equal values are one, whatever their texts.
    let keyed = !distinct.is_empty() && matches!(name, "count" | "sum" | "avg") && family != Family::Interval;
    let item = match (keyed, name) {
        (true, _) | (_, "count") if !distinct.is_empty() => order::key(&argument),
        _ => argument.sql,
    };
    Ok(Typed::computed(format!("{function}({distinct}{item}){tail}"), sql_type))
}

/// A DECIMAL, as in both originals: the sum of 64 bits does not fit 64. That of fewer does, in PostgreSQL.
fn int_sum(of: SqlType) -> (&'static str, SqlType) {
    match of {
        SqlType::Int2 | SqlType::Int4 => ("sum", SqlType::Int8),
        _ => ("g_int_sum", SqlType::Numeric),
    }
}

/// Functions that are such only with OVER.
pub fn is_window(name: &str) -> bool {
    matches!(
        name,
        "row_number"
            | "rank"
            | "dense_rank"
            | "percent_rank"
            | "cume_dist"
            | "ntile"
            | "lag"
            | "lead"
            | "first_value"
            | "last_value"
            | "nth_value"
    )
}

/// `string_agg(DISTINCT a, 'b')`, for which SQLite takes no second argument: the texts that differ as an array, joined.
fn string_agg_distinct(
    mut arguments: Vec<Typed>,
    clauses: Clauses<'_>,
    parameters: &mut Parameters,
) -> Result<Typed, SqlError> {
    let what = "argument of string_agg()";
    let separator = cast::expect(arguments.remove(1), SqlType::Text, what, parameters)?;
    let item = cast::expect(arguments.remove(0), SqlType::Text, what, parameters)?.sql;
    let plain = format!("ORDER BY {item}");
    let (order, is_plain) = match clauses.order.strip_prefix(&plain) {
        Some("" | " DESC") => (clauses.order, true),
        _ => (plain.as_str(), clauses.order.is_empty()),
    };
    if !is_plain || !separator.sql.starts_with('\'') {
        return Err(SqlError::unsupported(
            "string_agg(DISTINCT) in another order, or between them what differs by row",
        ));
    }
    let filter = clauses.filter.map(|filter| format!(" AND {filter}")).unwrap_or_default();
    let sql = format!(
        "g_array_to_string(g_json_array_or_null(json_group_array(DISTINCT {item} {order}) \
         FILTER (WHERE {item} IS NOT NULL{filter}){}), {})",
        clauses.over, separator.sql
    );
    Ok(Typed::computed(sql, SqlType::Text))
}

/// A scalar function.
pub fn scalar(name: &str, arguments: Vec<Typed>, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    if let Some(typed) = context_function(name, arguments.len()) {
        return Ok(typed);
    }
    match name {
        "coalesce" | "ifnull" | "nullif" | "greatest" | "least" => unified(name, arguments, parameters),
        "concat" | "concat_ws" => concat(name, arguments, parameters),
        "to_jsonb" | "to_json" | "row_to_json" if arguments.len() == 1 => {
            let items = arguments.into_iter().map(|argument| json::of(argument, parameters));
            let sql = items.collect::<Result<Vec<_>, _>>()?.join("");
            Ok(Typed::computed(sql, SqlType::Jsonb))
        }
        _ if form::knows(name) => form::call(name, arguments, parameters),
        _ if name.starts_with("has_") || name == "pg_has_role" => inquiry(name, arguments, parameters),
        _ if introspect::knows(name) => introspect::call(name, arguments, parameters),
        _ => signature::call(name, arguments, parameters),
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
        "localtimestamp" => ("g_now()", SqlType::Timestamp),
        "current_date" => ("g_moment_date(g_now())", SqlType::Date),
        "current_time" | "localtime" => ("g_moment_time(g_now())", SqlType::Time),
        "pi" => ("3.141592653589793", SqlType::Float8),
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
    let sql = match (name, order::collation(common)) {
        ("greatest" | "least", Some(kind)) => format!("g_{kind}_{name}({})", rendered.join(", ")),
        ("nullif", Some(kind)) => format!("g_{kind}_nullif({})", rendered.join(", ")),
        _ => String::new(),
    };
    if !sql.is_empty() {
        return Ok(Typed::computed(sql, common));
    }
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
        .map(|argument| operator::to_output(argument, parameters))
        .collect::<Result<Vec<_>, _>>()?;
    if rendered.is_empty() {
        return Err(unknown(name));
    }
    Ok(Typed::computed(format!("g_{name}({})", rendered.join(", ")), SqlType::Text))
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

/// 0A000: not with these arguments.
pub fn unknown(name: &str) -> SqlError {
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
