//! Conversions between types: without being asked (a literal, an int beside a float), on assignment, and by a cast.

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::ColumnType;

use super::{Form, Parameters, Typed, enums, introspect, string};
use crate::sql::error::{SqlError, state};
use crate::sql::value::{Datum, Family, SqlType, text};

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
        Form::Decimal(written) if to == SqlType::Float8 => literal(&text::parse(written, to)?, to)?,
        Form::Decimal(_) if to.family() == Family::Int => return Err(decimal()),
        Form::Decimal(_) => return Ok(None),
        Form::Parameter(index) => {
            parameters.settle(*index, to)?;
            Typed { sql_type: to, form: Form::Computed, ..typed }
        }
        Form::Computed if typed.sql_type.family() == to.family() => typed,
        Form::Computed if typed.sql_type.family() == Family::Int && to == SqlType::Float8 => {
            Typed::computed(format!("CAST({} AS REAL)", typed.sql), to)
        }
        Form::Computed => return Ok(None),
    };
    Ok(Some(converted))
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

/// What stands alone in a result: a literal becomes text, a decimal is refused.
pub fn settled(typed: Typed, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    match typed.form {
        Form::Decimal(_) => Err(decimal()),
        Form::Parameter(_) | Form::Text(_) => expect(typed, SqlType::Text, "a value", parameters),
        Form::Null => Ok(Typed { sql_type: SqlType::Text, ..typed }),
        Form::Computed => Ok(typed),
    }
}

/// 0A000: there is no DECIMAL yet, and a float in its place would round.
pub fn decimal() -> SqlError {
    SqlError::unsupported("the type DECIMAL").with_hint("Cast to FLOAT8, as in 1.5::FLOAT8.")
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
        common = match (common.family(), item.sql_type.family()) {
            (Family::Unknown, _) => item.sql_type,
            (Family::Int, Family::Float) => SqlType::Float8,
            // Widths do not matter but for what a client is told: the widest.
            (Family::Int, Family::Int) if common != item.sql_type => SqlType::Int8,
            (Family::Text, Family::Text) if common != item.sql_type => SqlType::Text,
            _ => common,
        };
    }
    if common == SqlType::Unknown {
        if has_decimal {
            return Err(decimal());
        }
        common = SqlType::Text;
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

/// `typed::to`.
pub fn explicit(typed: Typed, to: ColumnType, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let target = SqlType::of_column(to);
    if let Form::Decimal(written) = &typed.form {
        return match target.family() {
            Family::Float => literal(&text::parse(written, target)?, target),
            Family::Text => Ok(Typed::computed(string(written), target)).map(|typed| truncated(typed, to)),
            _ => Err(decimal()),
        };
    }
    if typed.form != Form::Computed {
        let typed = expect(typed, target, "a value", parameters)?;
        return Ok(truncated(Typed { form: Form::Computed, ..typed }, to));
    }
    let from = typed.sql_type;
    let sql = typed.sql;
    let converted = match (from.family(), target.family()) {
        (Family::Int, Family::Int) => int_range(sql, from, target),
        (Family::Float, Family::Int) => int_range(format!("g_float_int({sql})"), SqlType::Int8, target),
        (Family::Bool, Family::Int) => sql,
        (Family::Text, Family::Int) => int_range(format!("g_text_int({sql})"), SqlType::Int8, target),
        (Family::Int, Family::Bool) => format!("({sql} <> 0)"),
        (Family::Text, Family::Bool) => format!("g_text_bool({sql})"),
        (Family::Int, Family::Float) => format!("CAST({sql} AS REAL)"),
        (Family::Text, Family::Float) => format!("g_text_float({sql})"),
        (Family::Text, Family::Uuid) => format!("g_text_uuid({sql})"),
        (Family::Text, Family::Bytes) => format!("g_text_bytes({sql})"),
        (Family::Text, Family::Timestamp) => format!("g_text_timestamp({sql})"),
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
    Ok(truncated(Typed::computed(converted, target), to))
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
        Family::Float => format!("g_float_text({sql})"),
        Family::Bytes => format!("g_bytes_text({sql})"),
        Family::Uuid => sql,
        Family::Timestamp => format!("g_timestamp_text({sql})"),
        Family::Enum(id) => enums::output(&sql, id),
        // The text form is how the row store holds an array.
        Family::TextArray => sql,
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
    let widening = computed
        && matches!(
            (from.family(), target.family()),
            (Family::Float, Family::Int)
                | (Family::Int | Family::Bool | Family::Float | Family::Uuid | Family::Enum(_), Family::Text)
        );
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
        ColumnType::Bool
        | ColumnType::Int2
        | ColumnType::Int4
        | ColumnType::Int8
        | ColumnType::Float8
        | ColumnType::Text { chars_max: None }
        | ColumnType::Bytes
        | ColumnType::Uuid
        | ColumnType::TimestampTz
        | ColumnType::Enum(_) => converted.sql,
    };
    Ok(Typed::computed(checked, target))
}

/// The type without its length: an assignment refuses what a cast would cut off.
fn whole(to: ColumnType) -> ColumnType {
    match to {
        ColumnType::Text { .. } => ColumnType::Text { chars_max: None },
        ColumnType::Bool
        | ColumnType::Int2
        | ColumnType::Int4
        | ColumnType::Int8
        | ColumnType::Float8
        | ColumnType::Bytes
        | ColumnType::Uuid
        | ColumnType::TimestampTz
        | ColumnType::Enum(_) => to,
    }
}

/// A cast to VARCHAR(n) cuts off.
fn truncated(typed: Typed, to: ColumnType) -> Typed {
    match to {
        ColumnType::Text { chars_max: Some(max) } => {
            Typed::computed(format!("g_left({}, {max})", typed.sql), typed.sql_type)
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
            | SqlType::Name
            | SqlType::TextArray
            | SqlType::Array(_)
            | SqlType::Enum(_)
            | SqlType::Unknown => sql,
        },
    }
}

/// The row store's literal of a value.
fn literal(datum: &Datum, to: SqlType) -> Result<Typed, SqlError> {
    let sql = match datum {
        Datum::Null => "NULL".to_owned(),
        Datum::Bool(value) => i64::from(*value).to_string(),
        // The smallest integer has no literal: its digits without the sign are too large.
        Datum::Int(i64::MIN) | Datum::TimestampTz(i64::MIN) => format!("({} - 1)", i64::MIN + 1),
        Datum::Int(value) | Datum::TimestampTz(value) if *value < 0 => format!("({value})"),
        Datum::Int(value) | Datum::TimestampTz(value) => value.to_string(),
        Datum::Float(value) if *value == f64::INFINITY => "9e999".to_owned(),
        Datum::Float(value) if *value == f64::NEG_INFINITY => "(-9e999)".to_owned(),
        Datum::Float(value) => format!("({value:e})").replace("(-0e0)", "(-0.0)"),
        Datum::Text(value) => string(value),
        Datum::Bytes(value) => format!("X'{}'", &text::bytes(value)[2..]),
        Datum::Uuid(value) => string(&text::uuid(value)),
        Datum::TextArray(items) => string(&text::array_text(items)),
    };
    Ok(Typed::computed(sql, to))
}
