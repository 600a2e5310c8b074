//! Operators.

use sqlparser::ast::{BinaryOperator, UnaryOperator};

use super::{Form, Parameters, Typed, cast, function, introspect, json, moment, order};
use crate::error::{SqlError, state};
use crate::value::{Family, SqlType};

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
        B::PGExp => arithmetic(("^", "pow"), left, right, parameters),
        B::Arrow
        | B::LongArrow
        | B::HashArrow
        | B::HashLongArrow
        | B::AtArrow
        | B::ArrowAt
        | B::HashMinus
        | B::Question
        | B::QuestionAnd
        | B::QuestionPipe => json::operator(operator, left, right, parameters),
        // The row store has none; made of its `|` and `&` it would name each side twice.
        B::PGBitwiseXor => of_bits("g_xor", ("#", left, right), parameters),
        B::PGBitwiseShiftLeft => of_bits("g_shl", ("a shift", left, right), parameters),
        B::PGBitwiseShiftRight => of_bits("g_shr", ("a shift", left, right), parameters),
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
        UnaryOperator::BitwiseNot | UnaryOperator::PGAbs | UnaryOperator::PGSquareRoot => {
            let operand = match operator {
                UnaryOperator::BitwiseNot => {
                    let operand = cast::expect(operand, SqlType::Int8, "argument of ~", parameters)?;
                    return Ok(Typed::computed(format!("(~{})", operand.sql), SqlType::Int8));
                }
                _ => operand,
            };
            let name = if *operator == UnaryOperator::PGAbs { "abs" } else { "sqrt" };
            function::scalar(name, vec![operand], parameters)
        }
        other => Err(SqlError::unsupported(format!("the operator {other}"))),
    }
}

fn signed(operator: UnaryOperator, operand: Typed) -> Result<Typed, SqlError> {
    let minus = operator == UnaryOperator::Minus;
    match (&operand.form, operand.sql_type.family()) {
        (Form::Decimal(written), _) if minus => {
            // Of `- - 1.5` the two signs are none.
            let written = written.strip_prefix('-').map_or_else(|| format!("-{written}"), str::to_owned);
            Ok(Typed { form: Form::Decimal(written.clone()), sql: written, ..operand })
        }
        (Form::Decimal(_), _) => Ok(operand),
        (Form::Computed, Family::Int | Family::Float | Family::Numeric | Family::Interval) if !minus => {
            Ok(operand)
        }
        (Form::Computed, Family::Numeric) => {
            Ok(Typed::computed(format!("g_decimal_neg({})", operand.sql), SqlType::Numeric))
        }
        (Form::Computed, Family::Interval) => {
            Ok(Typed::computed(format!("g_interval_neg({})", operand.sql), SqlType::Interval))
        }
        (Form::Computed, Family::Int) => {
            let sql = match operand.sql.parse::<i64>() {
                Ok(value) => format!("(-{value})"),
                Err(_) => format!("g_sub(0, {})", operand.sql),
            };
            Ok(Typed::computed(sql, SqlType::Int8))
        }
        (Form::Computed, Family::Float) => {
            Ok(Typed::computed(format!("(-{})", operand.sql), operand.sql_type))
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
    Ok(Typed::computed(order::comparison(symbol, &pair[0], &pair[1]), SqlType::Bool))
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
    let (left, right) = match moment::arithmetic(symbol, left, right, parameters)? {
        moment::Outcome::Done(typed) => return Ok(typed),
        moment::Outcome::Other(left, right) => (left, right),
    };
    if left.sql_type == SqlType::Jsonb && symbol == "-" {
        return json::without(left, right, parameters);
    }
    let types = (left.sql_type, right.sql_type);
    let unsupported = || {
        SqlError::new(
            state::UNDEFINED_FUNCTION,
            format!("unsupported binary operator: <{}> {symbol} <{}>", types.0.word(), types.1.word()),
        )
    };
    let (pair, common) = cast::unify(vec![left, right], "operand", parameters)
        .map_err(|error| if error.body.code == state::DATATYPE_MISMATCH { unsupported() } else { error })?;
    let (a, b) = (&pair[0].sql, &pair[1].sql);
    match common.family() {
        // As in CockroachDB: the quotient of two integers is a decimal.
        Family::Int if symbol == "/" => {
            let sql = format!("g_decimal_div(CAST({a} AS TEXT), CAST({b} AS TEXT))");
            Ok(Typed::computed(sql, SqlType::Numeric))
        }
        Family::Int => Ok(Typed::computed(format!("g_{name}({a}, {b})"), SqlType::Int8)),
        Family::Float => Ok(Typed::computed(format!("g_f{name}({a}, {b})"), SqlType::Float8)),
        Family::Numeric => Ok(Typed::computed(format!("g_decimal_{name}({a}, {b})"), SqlType::Numeric)),
        Family::Bool
        | Family::Text
        | Family::Bytes
        | Family::Uuid
        | Family::Timestamp
        | Family::LocalTimestamp
        | Family::Date
        | Family::Time
        | Family::Interval
        | Family::Json
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

fn of_bits(
    function: &str,
    (symbol, left, right): (&str, Typed, Typed),
    parameters: &mut Parameters,
) -> Result<Typed, SqlError> {
    let what = format!("argument of {symbol}");
    let left = cast::expect(left, SqlType::Int8, &what, parameters)?;
    let right = cast::expect(right, SqlType::Int8, &what, parameters)?;
    Ok(Typed::computed(format!("{function}({}, {})", left.sql, right.sql), SqlType::Int8))
}

fn concatenation(left: Typed, right: Typed, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    if [&left, &right].iter().any(|side| side.sql_type.family() == Family::TextArray) {
        return introspect::concatenated(left, right, parameters);
    }
    if [&left, &right].iter().any(|side| side.sql_type == SqlType::Jsonb) {
        return json::concatenated(left, right, parameters);
    }
    if [&left, &right].iter().any(|side| side.sql_type == SqlType::Bytea) {
        let left = cast::expect(left, SqlType::Bytea, "argument of ||", parameters)?;
        let right = cast::expect(right, SqlType::Bytea, "argument of ||", parameters)?;
        return Ok(Typed::computed(format!("g_bytes_cat({}, {})", left.sql, right.sql), SqlType::Bytea));
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

/// Any type as a client sees it, for concat() and format(): a truth value is `t` or `f`, where a cast says `true`.
pub fn to_output(typed: Typed, parameters: &mut Parameters) -> Result<String, SqlError> {
    let typed = cast::settled(typed, parameters)?;
    match typed.sql_type {
        SqlType::Bool => Ok(introspect::as_item(&typed.sql, SqlType::Bool)),
        other => cast::as_text(typed.sql, other),
    }
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
