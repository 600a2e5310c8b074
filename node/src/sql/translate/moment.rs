//! Operators and functions of dates, times and intervals.

use super::{Form, Parameters, Typed, cast};
use crate::error::{SqlError, state};
use crate::value::{Family, SqlType};

/// What became of two operands.
pub enum Outcome {
    /// The operation.
    Done(Typed),
    /// Not of these types.
    Other(Typed, Typed),
}

const fn is_moment(family: Family) -> bool {
    matches!(
        family,
        Family::Timestamp | Family::LocalTimestamp | Family::Date | Family::Time | Family::Interval
    )
}

/// `left symbol right` where one of them is a date, time or interval.
pub fn arithmetic(
    symbol: &str,
    left: Typed,
    right: Typed,
    parameters: &mut Parameters,
) -> Result<Outcome, SqlError> {
    use Family as F;
    let (a, b) = (left.sql_type.family(), right.sql_type.family());
    if !is_moment(a) && !is_moment(b) {
        return Ok(Outcome::Other(left, right));
    }
    // A literal or parameter is what makes sense beside the other: of a difference the same, of a sum an interval.
    let partner = |of: Family| match (of, symbol) {
        (F::Timestamp, "-") => SqlType::TimestampTz,
        (F::LocalTimestamp, "-") => SqlType::Timestamp,
        (F::Date, "-") => SqlType::Date,
        (F::Time, "-") => SqlType::Time,
        (_, "*" | "/") => SqlType::Float8,
        _ => SqlType::Interval,
    };
    let open = |typed: &Typed| matches!(typed.form, Form::Text(_) | Form::Parameter(_) | Form::Null);
    let left = if open(&left) { cast::expect(left, partner(b), "operand", parameters)? } else { left };
    let right = if open(&right) { cast::expect(right, partner(a), "operand", parameters)? } else { right };
    let types = (left.sql_type, right.sql_type);
    let done = |function: &str, a: &str, b: &str, sql_type| {
        Ok(Outcome::Done(Typed::computed(format!("{function}({a}, {b})"), sql_type)))
    };
    let (x, y) = (left.sql.clone(), right.sql.clone());
    match (types.0.family(), symbol, types.1.family()) {
        (F::Timestamp | F::LocalTimestamp, "+", F::Interval) => done("g_moment_add", &x, &y, types.0),
        (F::Interval, "+", F::Timestamp | F::LocalTimestamp) => done("g_moment_add", &y, &x, types.1),
        (F::Timestamp | F::LocalTimestamp, "-", F::Interval) => done("g_moment_sub", &x, &y, types.0),
        (F::Date, "+", F::Interval) => done("g_moment_add", &moment(&x), &y, SqlType::Timestamp),
        (F::Interval, "+", F::Date) => done("g_moment_add", &moment(&y), &x, SqlType::Timestamp),
        (F::Date, "-", F::Interval) => done("g_moment_sub", &moment(&x), &y, SqlType::Timestamp),
        (F::Date, "+", F::Time) => done("g_moment_add", &moment(&x), &span(&y), SqlType::Timestamp),
        (F::Time, "+", F::Date) => done("g_moment_add", &moment(&y), &span(&x), SqlType::Timestamp),
        (F::Date, "+", F::Int) => done("g_date_add", &x, &y, SqlType::Date),
        (F::Int, "+", F::Date) => done("g_date_add", &y, &x, SqlType::Date),
        (F::Date, "-", F::Int) => done("g_date_add", &x, &format!("g_sub(0, {y})"), SqlType::Date),
        (F::Date, "-", F::Date) => done("g_sub", &x, &y, SqlType::Int8),
        (F::Timestamp | F::LocalTimestamp | F::Date, "-", F::Timestamp | F::LocalTimestamp | F::Date) => {
            let whole =
                |sql: &str, of: SqlType| if of == SqlType::Date { moment(sql) } else { sql.to_owned() };
            done("g_moment_diff", &whole(&x, types.0), &whole(&y, types.1), SqlType::Interval)
        }
        (F::Time, "+", F::Interval) => done("g_time_add", &x, &y, SqlType::Time),
        (F::Interval, "+", F::Time) => done("g_time_add", &y, &x, SqlType::Time),
        (F::Time, "-", F::Interval) => done("g_time_sub", &x, &y, SqlType::Time),
        (F::Time, "-", F::Time) => done("g_time_diff", &x, &y, SqlType::Interval),
        (F::Interval, "+", F::Interval) => done("g_interval_add", &x, &y, SqlType::Interval),
        (F::Interval, "-", F::Interval) => done("g_interval_sub", &x, &y, SqlType::Interval),
        (F::Interval, "*" | "/", F::Int | F::Float | F::Numeric | F::Unknown) => {
            let factor = cast::expect(right, SqlType::Float8, "operand", parameters)?;
            let name = if symbol == "*" { "g_interval_mul" } else { "g_interval_div" };
            done(name, &x, &factor.sql, SqlType::Interval)
        }
        (F::Int | F::Float | F::Numeric | F::Unknown, "*", F::Interval) => {
            let factor = cast::expect(left, SqlType::Float8, "operand", parameters)?;
            done("g_interval_mul", &y, &factor.sql, SqlType::Interval)
        }
        _ => Err(SqlError::new(
            state::UNDEFINED_FUNCTION,
            format!("unsupported binary operator: <{}> {symbol} <{}>", types.0.word(), types.1.word()),
        )),
    }
}

fn moment(sql: &str) -> String {
    format!("g_date_moment({sql})")
}

fn span(sql: &str) -> String {
    format!("g_time_interval({sql})")
}

/// `extract(field FROM value)` and `date_part(field, value)`: a FLOAT8, as in CockroachDB.
pub fn extract(field: Typed, value: Typed, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let field = cast::expect(field, SqlType::Text, "argument of extract()", parameters)?.sql;
    let value = match value.form {
        Form::Text(_) | Form::Parameter(_) => {
            cast::expect(value, SqlType::Timestamp, "argument of extract()", parameters)?
        }
        _ => value,
    };
    let sql = match value.sql_type.family() {
        Family::Timestamp | Family::LocalTimestamp => format!("g_field_moment({field}, {})", value.sql),
        Family::Date => format!("g_field_moment({field}, {})", moment(&value.sql)),
        Family::Time => format!("g_field_time({field}, {})", value.sql),
        Family::Interval => format!("g_field_interval({field}, {})", value.sql),
        _ => return Err(SqlError::unsupported(format!("extract() from {}", value.sql_type.word()))),
    };
    Ok(Typed::computed(sql, SqlType::Float8))
}

/// `value AT TIME ZONE zone`.
pub fn at_time_zone(value: Typed, zone: Typed, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let value = match value.form {
        Form::Text(_) | Form::Parameter(_) => {
            cast::expect(value, SqlType::TimestampTz, "argument of AT TIME ZONE", parameters)?
        }
        _ => value,
    };
    let (sql, has_zone, result) = match value.sql_type.family() {
        Family::Timestamp => (value.sql, true, SqlType::Timestamp),
        Family::LocalTimestamp => (value.sql, false, SqlType::TimestampTz),
        Family::Date => (moment(&value.sql), true, SqlType::Timestamp),
        _ => return Err(SqlError::unsupported(format!("AT TIME ZONE of {}", value.sql_type.word()))),
    };
    if zone.sql_type == SqlType::Interval {
        let shift = if has_zone { zone.sql } else { format!("g_interval_neg({})", zone.sql) };
        return Ok(Typed::computed(format!("g_zone_interval({sql}, {shift})"), result));
    }
    let zone = cast::expect(zone, SqlType::Text, "a time zone", parameters)?.sql;
    let function = if has_zone { "g_zone_local" } else { "g_zone_utc" };
    Ok(Typed::computed(format!("{function}({sql}, {zone})"), result))
}
