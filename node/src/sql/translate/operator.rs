//! Operators.

use sqlparser::ast::{BinaryOperator, UnaryOperator};

use super::{Form, Parameters, Typed, cast, introspect};
use crate::sql::error::{SqlError, state};
use crate::sql::value::{Family, SqlType};

/// `left operator right`.
pub fn binary(
    operator: &BinaryOperator,
    left: Typed,
    right: Typed,
    parameters: &mut Parameters,
) -> Result<Typed, SqlError> {
    use BinaryOperator as B;
    match operator {
        B::And => logical("AND", left, right, parameters),
        B::Or => logical("OR", left, right, parameters),
        B::Eq => comparison("=", left, right, parameters),
        B::NotEq => comparison("<>", left, right, parameters),
        B::Lt => comparison("<", left, right, parameters),
        B::LtEq => comparison("<=", left, right, parameters),
        B::Gt => comparison(">", left, right, parameters),
        B::GtEq => comparison(">=", left, right, parameters),
        B::Plus => arithmetic(("+", "add"), left, right, parameters),
        B::Minus => arithmetic(("-", "sub"), left, right, parameters),
        B::Multiply => arithmetic(("*", "mul"), left, right, parameters),
        B::Divide => arithmetic(("/", "div"), left, right, parameters),
        B::Modulo => arithmetic(("%", "mod"), left, right, parameters),
        B::BitwiseAnd => bitwise("&", left, right, parameters),
        B::BitwiseOr => bitwise("|", left, right, parameters),
        B::StringConcat => concatenation(left, right, parameters),
        B::PGLikeMatch => like("g_like", left, right, parameters),
        B::PGNotLikeMatch => like("NOT g_like", left, right, parameters),
        B::PGILikeMatch => like("g_ilike", left, right, parameters),
        B::PGRegexMatch => introspect::matches((false, false), left, right, parameters),
        B::PGRegexIMatch => introspect::matches((true, false), left, right, parameters),
        B::PGRegexNotMatch => introspect::matches((false, true), left, right, parameters),
        B::PGRegexNotIMatch => introspect::matches((true, true), left, right, parameters),
        B::PGCustomBinaryOperator(written) => introspect::custom(written, left, right, parameters),
        B::PGNotILikeMatch => like("NOT g_ilike", left, right, parameters),
        other => Err(SqlError::unsupported(format!("the operator {other}"))),
    }
}

/// `IS [NOT] DISTINCT FROM`.
pub fn distinct(
    negated: bool,
    left: Typed,
    right: Typed,
    parameters: &mut Parameters,
) -> Result<Typed, SqlError> {
    comparison(if negated { "IS" } else { "IS NOT" }, left, right, parameters)
}

/// A prefix operator.
pub fn unary(
    operator: &UnaryOperator,
    operand: Typed,
    parameters: &mut Parameters,
) -> Result<Typed, SqlError> {
    match operator {
        UnaryOperator::Not => {
            let operand = cast::expect(operand, SqlType::Bool, "argument of NOT", parameters)?;
            Ok(Typed::computed(format!("(NOT {})", operand.sql), SqlType::Bool))
        }
        UnaryOperator::Plus | UnaryOperator::Minus => signed(*operator, operand),
        other => Err(SqlError::unsupported(format!("the operator {other}"))),
    }
}

fn signed(operator: UnaryOperator, operand: Typed) -> Result<Typed, SqlError> {
    let minus = operator == UnaryOperator::Minus;
    match (&operand.form, operand.sql_type.family()) {
        (Form::Decimal(written), _) if minus => {
            let written = format!("-{written}");
            Ok(Typed { form: Form::Decimal(written.clone()), sql: written, ..operand })
        }
        (Form::Decimal(_), _) => Ok(operand),
        (Form::Computed, Family::Int | Family::Float) if !minus => Ok(operand),
        (Form::Computed, Family::Int) => {
            let sql = match operand.sql.parse::<i64>() {
                Ok(value) => format!("(-{value})"),
                Err(_) => format!("g_sub(0, {})", operand.sql),
            };
            Ok(Typed::computed(sql, SqlType::Int8))
        }
        (Form::Computed, Family::Float) => {
            Ok(Typed::computed(format!("(-{})", operand.sql), SqlType::Float8))
        }
        (Form::Null, _) => Ok(operand),
        _ => Err(SqlError::new(
            state::UNDEFINED_FUNCTION,
            format!("unsupported unary operator: {operator} <{}>", operand.sql_type.word()),
        )),
    }
}

fn logical(word: &str, left: Typed, right: Typed, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let what = format!("argument of {word}");
    let left = cast::expect(left, SqlType::Bool, &what, parameters)?;
    let right = cast::expect(right, SqlType::Bool, &what, parameters)?;
    Ok(Typed::computed(format!("({} {word} {})", left.sql, right.sql), SqlType::Bool))
}

/// The two sides of a comparison, as one type that SQLite orders as PostgreSQL does.
pub fn comparison(
    symbol: &str,
    left: Typed,
    right: Typed,
    parameters: &mut Parameters,
) -> Result<Typed, SqlError> {
    let types = (left.sql_type, right.sql_type);
    let (pair, _) = cast::unify(vec![left, right], "comparison", parameters)
        .map_err(|error| no_operator(error, symbol, types))?;
    Ok(Typed::computed(format!("({} {symbol} {})", pair[0].sql, pair[1].sql), SqlType::Bool))
}

fn no_operator(error: SqlError, symbol: &str, types: (SqlType, SqlType)) -> SqlError {
    if error.body.code != state::DATATYPE_MISMATCH {
        return error;
    }
    SqlError::new(
        state::UNDEFINED_FUNCTION,
        format!("unsupported comparison operator: <{}> {symbol} <{}>", types.0.word(), types.1.word()),
    )
}

fn arithmetic(
    (symbol, name): (&str, &str),
    left: Typed,
    right: Typed,
    parameters: &mut Parameters,
) -> Result<Typed, SqlError> {
    let types = (left.sql_type, right.sql_type);
    let unsupported = || {
        SqlError::new(
            state::UNDEFINED_FUNCTION,
            format!("unsupported binary operator: <{}> {symbol} <{}>", types.0.word(), types.1.word()),
        )
    };
    let (pair, common) = cast::unify(vec![left, right], "operand", parameters)
        .map_err(|error| if error.body.code == state::DATATYPE_MISMATCH { unsupported() } else { error })?;
    match common.family() {
        Family::Int if symbol == "/" => Err(SqlError::unsupported("the division of two integers")
            .with_detail("CockroachDB answers it with a DECIMAL.")
            .with_hint("Use div(a, b) for an integer, or cast one side to FLOAT8.")),
        Family::Int => {
            Ok(Typed::computed(format!("g_{name}({}, {})", pair[0].sql, pair[1].sql), SqlType::Int8))
        }
        Family::Float => {
            Ok(Typed::computed(format!("g_f{name}({}, {})", pair[0].sql, pair[1].sql), SqlType::Float8))
        }
        Family::Bool
        | Family::Text
        | Family::Bytes
        | Family::Uuid
        | Family::Timestamp
        | Family::TextArray
        | Family::Enum(_)
        | Family::Unknown => Err(unsupported()),
    }
}

fn bitwise(symbol: &str, left: Typed, right: Typed, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let what = format!("argument of {symbol}");
    let left = cast::expect(left, SqlType::Int8, &what, parameters)?;
    let right = cast::expect(right, SqlType::Int8, &what, parameters)?;
    Ok(Typed::computed(format!("({} {symbol} {})", left.sql, right.sql), SqlType::Int8))
}

fn concatenation(left: Typed, right: Typed, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    if [&left, &right].iter().any(|side| side.sql_type.family() == Family::TextArray) {
        return introspect::concatenated(left, right, parameters);
    }
    let text_side = |typed: &Typed| {
        typed.sql_type.family() == Family::Text || matches!(typed.form, Form::Text(_) | Form::Parameter(_))
    };
    if !text_side(&left) && !text_side(&right) {
        return Err(SqlError::unsupported(format!(
            "the operator || of {} and {}",
            left.sql_type.word(),
            right.sql_type.word()
        )));
    }
    let left = to_text(left, parameters)?;
    let right = to_text(right, parameters)?;
    Ok(Typed::computed(format!("({left} || {right})"), SqlType::Text))
}

/// Any type as text.
pub fn to_text(typed: Typed, parameters: &mut Parameters) -> Result<String, SqlError> {
    let typed = cast::settled(typed, parameters)?;
    cast::as_text(typed.sql, typed.sql_type)
}

/// `function(text, pattern)` with the default escape character.
pub fn like(
    function: &str,
    left: Typed,
    right: Typed,
    parameters: &mut Parameters,
) -> Result<Typed, SqlError> {
    let left = cast::expect(left, SqlType::Text, "argument of LIKE", parameters)?;
    let right = cast::expect(right, SqlType::Text, "argument of LIKE", parameters)?;
    Ok(Typed::computed(format!("({function}({}, {}, '\\'))", left.sql, right.sql), SqlType::Bool))
}
