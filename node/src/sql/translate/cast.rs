//! Conversions between types: without being asked (a literal, an int beside a float), on assignment, and by a cast.

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::ColumnType;

use super::{Form, Parameters, Typed, enums, introspect, string};
use crate::error::{SqlError, state};
use crate::value::{Datum, Family, SqlType, text};

/// Gives `typed` the type `to` where it may have it without a cast; none if it may not.
pub fn implicit(typed: Typed, to: SqlType, parameters: &mut Parameters) -> Result<Option<Typed>, SqlError> {
    if to == SqlType::Unknown {
        return Ok(Some(typed));
    }
    if let SqlType::Enum(id) = to {
        return enumerated(typed, id, parameters);
    }
    let converted = match &typed.form {
        Form::Null => Typed { sql_type: to, ..typed },
        Form::Text(written) => literal(&text::parse(written, to)?, to)?,
        Form::Decimal(written) if matches!(to.family(), Family::Float | Family::Numeric) => {
            literal(&text::parse(written, to)?, to)?
        }
        Form::Decimal(_) => return Ok(None),
        Form::Parameter(index) => {
            parameters.settle(*index, to)?;
            Typed { sql_type: to, form: Form::Computed, ..typed }
        }
        Form::Computed if typed.sql_type.family() == to.family() => typed,
        Form::Computed => match widened(&typed, to) {
            Some(sql) => Typed::computed(sql, to),
            None => return Ok(None),
        },
    };
    Ok(Some(converted))
}

/// Whether a value of the one type becomes one of the other without being asked.
pub fn widens(from: SqlType, to: SqlType) -> bool {
    widened(&Typed::computed(String::new(), from), to).is_some()
}

/// The types that become others without being asked.
fn widened(typed: &Typed, to: SqlType) -> Option<String> {
    use Family::{Date, Float, Int, Interval, LocalTimestamp, Numeric, Time, Timestamp};
    let sql = &typed.sql;
    Some(match (typed.sql_type.family(), to.family()) {
        (Int, Float) => format!("CAST({sql} AS REAL)"),
        (Int, Numeric) => format!("CAST({sql} AS TEXT)"),
        (Numeric, Float) => format!("g_decimal_float({sql})"),
        (Date, LocalTimestamp | Timestamp) => format!("g_date_moment({sql})"),
        // The session's time zone is UTC: they are one number.
        (LocalTimestamp, Timestamp) => sql.clone(),
        (Time, Interval) => format!("g_time_interval({sql})"),
        _ => return None,
    })
}

/// [`implicit`] to an enum type.
fn enumerated(typed: Typed, id: ObjectId, parameters: &mut Parameters) -> Result<Option<Typed>, SqlError> {
    let to = SqlType::Enum(id);
    Ok(match &typed.form {
        Form::Null => Some(Typed { sql_type: to, ..typed }),
        Form::Text(written) => Some(literal(&Datum::Int(parameters.label(id, written)?), to)?),
        Form::Parameter(index) => {
            parameters.settle(*index, to)?;
            Some(Typed::computed(enums::input(&typed.sql, id), to))
        }
        Form::Computed if typed.sql_type == to => Some(typed),
        Form::Computed | Form::Decimal(_) => None,
    })
}

/// Like [`implicit`], and 42804 where that gives none.
pub fn expect(typed: Typed, to: SqlType, what: &str, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let from = typed.sql_type;
    implicit(typed, to, parameters)?.ok_or_else(|| {
        SqlError::new(
            state::DATATYPE_MISMATCH,
            format!("{what} must be of type {}, not type {}", to.word(), from.word()),
        )
    })
}

/// What stands alone in a result: a literal becomes text.
pub fn settled(typed: Typed, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    match typed.form {
        Form::Decimal(_) => expect(typed, SqlType::Numeric, "a value", parameters),
        Form::Parameter(_) | Form::Text(_) => expect(typed, SqlType::Text, "a value", parameters),
        Form::Null => Ok(Typed { sql_type: SqlType::Text, ..typed }),
        Form::Computed => Ok(typed),
    }
}

/// Brings all to one type. The first family that has one wins; int and float make float.
pub fn unify(
    items: Vec<Typed>,
    what: &str,
    parameters: &mut Parameters,
) -> Result<(Vec<Typed>, SqlType), SqlError> {
    let mut common = SqlType::Unknown;
    let mut has_decimal = false;
    for item in &items {
        has_decimal |= matches!(item.form, Form::Decimal(_));
        common = wider(common, item.sql_type);
    }
    if has_decimal {
        common = wider(common, SqlType::Numeric);
    }
    if common == SqlType::Unknown {
        common = SqlType::Text;
    }
    if items.iter().any(|item| item.sql_type != common) {
        common = common.any_length();
    }
    let unified = items
        .into_iter()
        .map(|item| {
            let from = item.sql_type;
            implicit(item, common, parameters)?.ok_or_else(|| {
                SqlError::new(
                    state::DATATYPE_MISMATCH,
                    format!("{what} types {} and {} cannot be matched", common.word(), from.word()),
                )
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok((unified, common))
}

/// The type that both become; the first where there is none.
fn wider(a: SqlType, b: SqlType) -> SqlType {
    use Family::{Date, Float, Int, LocalTimestamp, Numeric, Text, Timestamp};
    match (a.family(), b.family()) {
        (Family::Unknown, _) => b,
        // Widths do not matter but for what a client is told: the widest.
        (Int, Int) if a != b => SqlType::Int8,
        (Text, Text) if a != b && a.any_length() == b.any_length() => a.any_length(),
        (Text, Text) if a != b => SqlType::Text,
        (Float, Float) if a != b => SqlType::Float8,
        (Int | Numeric, Float) | (Float, Numeric | Int) => SqlType::Float8,
        (Int, Numeric) | (Numeric, Int) => SqlType::Numeric,
        (Date | LocalTimestamp, Timestamp) | (Timestamp, Date | LocalTimestamp) => SqlType::TimestampTz,
        (Date, LocalTimestamp) | (LocalTimestamp, Date) => SqlType::Timestamp,
        _ => a,
    }
}

/// `typed::to`.
pub fn explicit(typed: Typed, to: ColumnType, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let target = SqlType::of_column(to);
    let is_float = target.family() == Family::Float;
    let typed = match &typed.form {
        Form::Decimal(_) if !is_float => {
            let decimal = expect(typed, SqlType::Numeric, "a value", parameters)?;
            Typed { form: Form::Computed, ..decimal }
        }
        _ => typed,
    };
    if typed.form != Form::Computed {
        let typed = expect(typed, target, "a value", parameters)?;
        return Ok(fitted(Typed { form: Form::Computed, ..typed }, to));
    }
    if let Some(sql) = widened(&typed, target) {
        return Ok(fitted(Typed::computed(sql, target), to));
    }
    let from = typed.sql_type;
    let sql = typed.sql;
    let converted = match (from.family(), target.family()) {
        (Family::Int, Family::Int) => int_range(sql, from, target),
        (Family::Float, Family::Int) => int_range(format!("g_float_int({sql})"), SqlType::Int8, target),
        (Family::Numeric, Family::Int) => int_range(format!("g_decimal_int({sql})"), SqlType::Int8, target),
        (Family::Json, Family::Int) => int_range(format!("g_json_int({sql})"), SqlType::Int8, target),
        (Family::Bool, Family::Int) => sql,
        (Family::Text, Family::Int) => int_range(format!("g_text_int({sql})"), SqlType::Int8, target),
        (Family::Int, Family::Bool) => format!("({sql} <> 0)"),
        (Family::Text, Family::Bool) => format!("g_text_bool({sql})"),
        (Family::Json, Family::Bool) => format!("g_json_bool({sql})"),
        (Family::Text, Family::Float) => format!("g_text_float({sql})"),
        (Family::Json, Family::Float) => format!("g_decimal_float(g_json_decimal({sql}))"),
        (Family::Float, Family::Numeric) if from == SqlType::Float4 => format!("g_float4_decimal({sql})"),
        (Family::Float, Family::Numeric) => format!("g_float_decimal({sql})"),
        (Family::Text, Family::Numeric) => format!("g_text_decimal({sql})"),
        (Family::Json, Family::Numeric) => format!("g_json_decimal({sql})"),
        (Family::Text, Family::Uuid) => format!("g_text_uuid({sql})"),
        (Family::Text, Family::Bytes) => format!("g_text_bytes({sql})"),
        (Family::Text, Family::Timestamp) => format!("g_text_timestamp({sql})"),
        (Family::Text, Family::LocalTimestamp) => format!("g_text_local({sql})"),
        (Family::Timestamp, Family::LocalTimestamp) => sql,
        (Family::Text, Family::Date) => format!("g_text_date({sql})"),
        (Family::Timestamp | Family::LocalTimestamp, Family::Date) => format!("g_moment_date({sql})"),
        (Family::Text, Family::Time) => format!("g_text_time({sql})"),
        (Family::Timestamp | Family::LocalTimestamp, Family::Time) => format!("g_moment_time({sql})"),
        (Family::Interval, Family::Time) => format!("g_interval_time({sql})"),
        (Family::Text, Family::Interval) => format!("g_text_interval({sql})"),
        (Family::Text, Family::Json) => format!("g_text_json({sql})"),
        (Family::Text, Family::Enum(id)) => enums::input(&sql, id),
        (_, Family::Text) => as_text(sql, from)?,
        (a, b) if a == b => sql,
        _ => {
            return Err(SqlError::new(
                grantd_catalog::refusal::state::FEATURE_NOT_SUPPORTED,
                format!("a cast from {} to {} is not supported", from.word(), target.word()),
            ));
        }
    };
    let single = target == SqlType::Float4 && from != SqlType::Float4;
    let converted = if single { format!("g_float4({converted})") } else { converted };
    Ok(fitted(Typed::computed(converted, target), to))
}

/// The text of a typed expression, as a cast to text makes it.
pub fn as_text(sql: String, from: SqlType) -> Result<String, SqlError> {
    if let SqlType::Reg(reg) = from {
        return Ok(introspect::reg_text(&sql, reg));
    }
    Ok(match from.family() {
        Family::Text => sql,
        Family::Int => format!("CAST({sql} AS TEXT)"),
        Family::Bool => format!("g_bool_text({sql})"),
        Family::Float if from == SqlType::Float4 => format!("g_float4_text({sql})"),
        Family::Float => format!("g_float_text({sql})"),
        Family::Bytes => format!("g_bytes_text({sql})"),
        Family::Uuid => sql,
        Family::Timestamp => format!("g_timestamp_text({sql})"),
        Family::Enum(id) => enums::output(&sql, id),
        // The text form is how the row store holds an array.
        Family::TextArray => sql,
        Family::LocalTimestamp => format!("g_local_text({sql})"),
        Family::Date => format!("g_date_text({sql})"),
        Family::Time => format!("g_time_text({sql})"),
        // Theirs is the text that rows hold; called, so that it has no column's collation.
        Family::Interval | Family::Numeric | Family::Json => format!("g_same({sql})"),
        Family::Unknown => return Err(SqlError::unsupported("a cast of this to text")),
    })
}

/// What is stored in a column: assignment allows more than [`implicit`], and checks ranges and lengths.
pub fn assign(
    typed: Typed,
    column: &str,
    to: ColumnType,
    parameters: &mut Parameters,
) -> Result<Typed, SqlError> {
    let target = SqlType::of_column(to);
    let from = typed.sql_type;
    let computed = typed.form == Form::Computed;
    let parameter = matches!(typed.form, Form::Parameter(_));
    let is_decimal = matches!(typed.form, Form::Decimal(_));
    let widening = (computed && assignable(from.family(), target.family()))
        || (is_decimal && matches!(target.family(), Family::Int | Family::Text));
    let converted = if widening {
        explicit(typed, whole(to), parameters)?
    } else {
        implicit(typed, target, parameters)?.ok_or_else(|| {
            SqlError::new(
                state::DATATYPE_MISMATCH,
                format!(
                    "value type {} doesn't match type {} of column \"{column}\"",
                    from.word(),
                    target.word()
                ),
            )
        })?
    };
    let checked = match to {
        ColumnType::Int2 | ColumnType::Int4 if computed || parameter => {
            int_range(converted.sql, if widening { target } else { SqlType::Int8 }, target)
        }
        ColumnType::Text { chars_max: Some(max) } => format!("g_varchar({}, {max})", converted.sql),
        ColumnType::Char { chars } => format!("g_char_fit({}, {chars})", converted.sql),
        ColumnType::Decimal { bound: Some(_) } => fitted(converted, to).sql,
        ColumnType::Float4 if from != SqlType::Float4 => format!("g_float4({})", converted.sql),
        ColumnType::Bool
        | ColumnType::Int2
        | ColumnType::Int4
        | ColumnType::Int8
        | ColumnType::Float8
        | ColumnType::Text { chars_max: None }
        | ColumnType::Bytes
        | ColumnType::Uuid
        | ColumnType::TimestampTz
        | ColumnType::Float4
        | ColumnType::Timestamp
        | ColumnType::Date
        | ColumnType::Time
        | ColumnType::Interval
        | ColumnType::Decimal { bound: None }
        | ColumnType::Jsonb
        | ColumnType::Enum(_) => converted.sql,
    };
    Ok(Typed::computed(checked, target))
}

/// What an assignment converts that nothing else converts without a cast.
const fn assignable(from: Family, to: Family) -> bool {
    use Family::{
        Bool, Date, Enum, Float, Int, Interval, Json, LocalTimestamp, Numeric, Text, Time, Timestamp, Uuid,
    };
    matches!(
        (from, to),
        (Float | Numeric, Int)
            | (Float, Numeric)
            | (Timestamp, LocalTimestamp | Date | Time)
            | (LocalTimestamp, Date | Time)
            | (Interval, Time)
            | (
                Int | Bool
                    | Float
                    | Uuid
                    | Enum(_)
                    | Numeric
                    | Timestamp
                    | LocalTimestamp
                    | Date
                    | Time
                    | Interval
                    | Json,
                Text
            )
    )
}

/// The type without its length: an assignment refuses what a cast would cut off.
fn whole(to: ColumnType) -> ColumnType {
    match to {
        ColumnType::Text { .. } | ColumnType::Char { .. } => ColumnType::Text { chars_max: None },
        ColumnType::Bool
        | ColumnType::Int2
        | ColumnType::Int4
        | ColumnType::Int8
        | ColumnType::Float8
        | ColumnType::Bytes
        | ColumnType::Uuid
        | ColumnType::TimestampTz
        | ColumnType::Float4
        | ColumnType::Timestamp
        | ColumnType::Date
        | ColumnType::Time
        | ColumnType::Interval
        | ColumnType::Decimal { .. }
        | ColumnType::Jsonb
        | ColumnType::Enum(_) => to,
    }
}

/// A cast to VARCHAR(n) or CHAR(n) cuts off, one to DECIMAL(p, s) rounds.
fn fitted(typed: Typed, to: ColumnType) -> Typed {
    match to {
        ColumnType::Text { chars_max: Some(max) } => {
            Typed::computed(format!("g_left({}, {max})", typed.sql), typed.sql_type)
        }
        ColumnType::Char { chars } => {
            Typed::computed(format!("g_char({}, {chars})", typed.sql), SqlType::Bpchar(chars))
        }
        ColumnType::Decimal { bound: Some(bound) } => {
            let (precision, scale) = (bound.precision, bound.scale);
            Typed::computed(format!("g_decimal_fit({}, {precision}, {scale})", typed.sql), typed.sql_type)
        }
        ColumnType::Bool
        | ColumnType::Int2
        | ColumnType::Int4
        | ColumnType::Int8
        | ColumnType::Float8
        | ColumnType::Text { chars_max: None }
        | ColumnType::Bytes
        | ColumnType::Uuid
        | ColumnType::TimestampTz
        | ColumnType::Float4
        | ColumnType::Timestamp
        | ColumnType::Date
        | ColumnType::Time
        | ColumnType::Interval
        | ColumnType::Decimal { bound: None }
        | ColumnType::Jsonb
        | ColumnType::Enum(_) => typed,
    }
}

fn int_range(sql: String, from: SqlType, to: SqlType) -> String {
    match (from.int_range(), to.int_range()) {
        (Some(from), Some(to)) if to.0 <= from.0 && from.1 <= to.1 => sql,
        _ => match to {
            SqlType::Int2 => format!("g_int2({sql})"),
            SqlType::Int4 => format!("g_int4({sql})"),
            SqlType::Oid | SqlType::Reg(_) => format!("g_oid({sql})"),
            SqlType::Bool
            | SqlType::Int8
            | SqlType::Float8
            | SqlType::Text
            | SqlType::Varchar
            | SqlType::Bytea
            | SqlType::Uuid
            | SqlType::TimestampTz
            | SqlType::Float4
            | SqlType::Timestamp
            | SqlType::Date
            | SqlType::Time
            | SqlType::Interval
            | SqlType::Numeric
            | SqlType::Jsonb
            | SqlType::Bpchar(_)
            | SqlType::Name
            | SqlType::TextArray
            | SqlType::Array(_)
            | SqlType::Enum(_)
            | SqlType::Unknown => sql,
        },
    }
}

fn integer(value: i64) -> String {
    match value {
        // The smallest integer has no literal: its digits without the sign are too large.
        i64::MIN => format!("({} - 1)", i64::MIN + 1),
        _ if value < 0 => format!("({value})"),
        _ => value.to_string(),
    }
}

/// The row store's literal of a value.
pub fn literal(datum: &Datum, to: SqlType) -> Result<Typed, SqlError> {
    let sql = match datum {
        Datum::Null => "NULL".to_owned(),
        Datum::Bool(value) => i64::from(*value).to_string(),
        Datum::Int(value)
        | Datum::TimestampTz(value)
        | Datum::Timestamp(value)
        | Datum::Date(value)
        | Datum::Time(value) => integer(*value),
        Datum::Float(value) if *value == f64::INFINITY => "9e999".to_owned(),
        Datum::Float(value) if *value == f64::NEG_INFINITY => "(-9e999)".to_owned(),
        Datum::Float(value) => format!("({value:e})").replace("(-0e0)", "(-0.0)"),
        Datum::Float4(value) => return literal(&Datum::Float(f64::from(*value)), to),
        Datum::Text(value) | Datum::Numeric(value) | Datum::Jsonb(value) => string(value),
        Datum::Interval(value) => string(&value.to_string()),
        Datum::Bytes(value) => format!("X'{}'", &text::bytes(value)[2..]),
        Datum::Uuid(value) => string(&text::uuid(value)),
        Datum::TextArray(items) => string(&text::array_text(items)),
    };
    Ok(Typed::computed(sql, to))
}
