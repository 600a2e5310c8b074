//! Functions, casts and operators that introspection needs: what psql, JDBC and SQLAlchemy ask the system tables with.
//!
//! Rendering only; what the functions compute is `system::catalog::functions`.

use sqlparser::ast;

use super::{Form, Parameters, Typed, cast, operator, order, string};
use crate::error::{SqlError, state};
use crate::value::{Element, Family, Reg, SqlType};

/// What an argument may be.
#[derive(Clone, Copy)]
enum Arg {
    /// An OID or any integer.
    Int,
    Text,
    Bool,
    Array,
    /// A name or an OID.
    Either,
}

/// Name, the least number of arguments, all of them, function of the row store, result.
type Signature = (&'static str, usize, &'static [Arg], &'static str, SqlType);

const SIGNATURES: &[Signature] = {
    use Arg::{Array as A, Bool as B, Either as E, Int as I, Text as T};
    use SqlType::{Array, Bool, Int4, Int8, Name, Text, TextArray};
    &[
        ("pg_get_userbyid", 1, &[I], "g_pg_get_userbyid", Name),
        ("pg_get_expr", 2, &[T, I, B], "g_pg_get_expr", Text),
        ("pg_get_constraintdef", 1, &[I, B], "g_pg_get_constraintdef", Text),
        ("pg_get_indexdef", 1, &[I, I, B], "g_pg_get_indexdef", Text),
        ("pg_get_viewdef", 1, &[E, E], "g_pg_get_viewdef", Text),
        ("pg_get_function_arguments", 1, &[I], "g_pg_get_function_arguments", Text),
        ("pg_get_function_identity_arguments", 1, &[I], "g_pg_get_function_arguments", Text),
        ("pg_get_function_result", 1, &[I], "g_pg_get_function_result", Text),
        ("pg_get_functiondef", 1, &[I], "g_pg_get_functiondef", Text),
        ("pg_get_triggerdef", 1, &[I, B], "g_nothing", Text),
        ("pg_get_ruledef", 1, &[I, B], "g_nothing", Text),
        ("pg_get_partkeydef", 1, &[I], "g_nothing", Text),
        ("pg_get_statisticsobjdef_columns", 1, &[I], "g_nothing", Text),
        ("pg_get_serial_sequence", 2, &[T, T], "g_pg_get_serial_sequence", Text),
        ("format_type", 2, &[I, I], "g_format_type", Text),
        ("pg_table_is_visible", 1, &[I], "g_pg_table_is_visible", Bool),
        ("pg_type_is_visible", 1, &[I], "g_pg_type_is_visible", Bool),
        ("pg_function_is_visible", 1, &[I], "g_pg_function_is_visible", Bool),
        // What only PostgreSQL has is in pg_catalog, if it is anywhere.
        ("pg_collation_is_visible", 1, &[I], "g_one", Bool),
        ("pg_conversion_is_visible", 1, &[I], "g_one", Bool),
        ("pg_opclass_is_visible", 1, &[I], "g_one", Bool),
        ("pg_operator_is_visible", 1, &[I], "g_one", Bool),
        ("pg_statistics_obj_is_visible", 1, &[I], "g_one", Bool),
        ("pg_char_to_encoding", 1, &[T], "g_pg_char_to_encoding", Int4),
        ("obj_description", 1, &[I, T], "g_obj_description", Text),
        ("col_description", 2, &[I, I], "g_col_description", Text),
        ("shobj_description", 2, &[I, T], "g_obj_description", Text),
        ("array_to_string", 2, &[A, T, T], "g_array_to_string", Text),
        ("array_length", 2, &[A, I], "g_array_length", Int8),
        ("array_upper", 2, &[A, I], "g_array_length", Int8),
        ("array_lower", 2, &[A, I], "g_array_lower", Int8),
        ("array_remove", 2, &[A, T], "g_array_remove", TextArray),
        ("cardinality", 1, &[A], "g_cardinality", Int8),
        ("current_schemas", 1, &[B], "g_current_schemas", Array(Element::Name)),
        ("pg_encoding_to_char", 1, &[I], "g_pg_encoding_to_char", Name),
        ("pg_size_pretty", 1, &[I], "g_pg_size_pretty", Text),
        // No size is known without reading the file through.
        ("pg_total_relation_size", 1, &[E], "g_nothing", Int8),
        ("pg_relation_size", 1, &[E, T], "g_nothing", Int8),
        ("pg_table_size", 1, &[E], "g_nothing", Int8),
        ("pg_indexes_size", 1, &[E], "g_nothing", Int8),
        ("pg_database_size", 1, &[E], "g_nothing", Int8),
        ("pg_tablespace_size", 1, &[E], "g_nothing", Int8),
        ("pg_tablespace_location", 1, &[I], "g_empty_text", Text),
        ("pg_backend_pid", 0, &[], "g_zero", Int4),
        ("pg_my_temp_schema", 0, &[], "g_zero", SqlType::Oid),
        ("pg_is_other_temp_schema", 1, &[I], "g_zero", Bool),
        ("pg_relation_is_publishable", 1, &[E], "g_zero", Bool),
        ("quote_ident", 1, &[T], "g_quote_ident", Text),
        ("to_regclass", 1, &[T], "g_to_regclass", SqlType::Reg(Reg::Class)),
        ("to_regtype", 1, &[T], "g_to_regtype", SqlType::Reg(Reg::Type)),
        ("to_regrole", 1, &[T], "g_to_regrole", SqlType::Reg(Reg::Role)),
        ("to_regnamespace", 1, &[T], "g_to_regnamespace", SqlType::Reg(Reg::Namespace)),
        ("current_setting", 1, &[T, B], "g_current_setting", Text),
        ("acldefault", 2, &[T, I], "g_acldefault", Array(Element::AclItem)),
        ("string_to_array", 2, &[T, T], "g_string_to_array", TextArray),
        ("getdatabaseencoding", 0, &[], "g_utf8", Name),
        ("pg_client_encoding", 0, &[], "g_utf8", Name),
    ]
};

/// Whether a function is one of those here.
pub fn knows(name: &str) -> bool {
    SIGNATURES.iter().any(|row| row.0 == name) || name == "array_position"
}

/// A call of one of them.
pub fn call(name: &str, arguments: Vec<Typed>, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    if name == "array_position" {
        return position(arguments, parameters);
    }
    let fits = |row: &&Signature| row.0 == name && (row.1..=row.2.len()).contains(&arguments.len());
    let Some((_, _, types, function, result)) = SIGNATURES.iter().find(fits) else {
        let types: Vec<_> = arguments.iter().map(|argument| argument.sql_type.word()).collect();
        return Err(SqlError::new(
            state::UNDEFINED_FUNCTION,
            format!("unknown signature: {name}({})", types.join(", ")),
        ));
    };
    let what = format!("argument of {name}()");
    let rendered = arguments
        .into_iter()
        .zip(*types)
        .map(|(argument, to)| match to {
            Arg::Int => cast::expect(argument, SqlType::Int8, &what, parameters).map(|typed| typed.sql),
            Arg::Text => cast::expect(argument, SqlType::Text, &what, parameters).map(|typed| typed.sql),
            Arg::Bool => cast::expect(argument, SqlType::Bool, &what, parameters).map(|typed| typed.sql),
            Arg::Array => array(argument, &what, parameters).map(|(sql, _)| sql),
            Arg::Either => cast::settled(argument, parameters).map(|typed| typed.sql),
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Typed::computed(format!("{function}({})", rendered.join(", ")), *result))
}

/// `array_position(array, item)`: from 1, or NULL.
fn position(arguments: Vec<Typed>, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let [in_array, item]: [Typed; 2] = arguments
        .try_into()
        .map_err(|_| SqlError::unsupported("the function array_position() with these arguments"))?;
    let what = "argument of array_position()";
    let (in_array, of) = array(in_array, what, parameters)?;
    let item = cast::expect(item, of, what, parameters)?;
    // A truth value is `t` or `f` in an array.
    let item = if of == SqlType::Bool { as_item(&item.sql, of) } else { cast::as_text(item.sql, of)? };
    let sql = format!("g_array_position({in_array}, coalesce('=' || {item}, ''))");
    Ok(Typed::computed(sql, SqlType::Int4))
}

/// An expression that must be an array, with the type of its items.
pub fn array(typed: Typed, what: &str, parameters: &mut Parameters) -> Result<(String, SqlType), SqlError> {
    let typed = match typed.form {
        Form::Computed => typed,
        _ => cast::expect(typed, SqlType::TextArray, what, parameters)?,
    };
    match typed.sql_type {
        SqlType::TextArray => Ok((typed.sql, SqlType::Text)),
        SqlType::Array(element) => Ok((typed.sql, element.sql_type())),
        other => Err(SqlError::new(
            state::DATATYPE_MISMATCH,
            format!("{what} must be an array, not of type {}", other.word()),
        )),
    }
}

/// The type of arrays of `item`.
pub fn array_of(item: SqlType) -> Result<SqlType, SqlError> {
    Ok(match item {
        SqlType::Text | SqlType::Varchar | SqlType::Unknown => SqlType::TextArray,
        SqlType::Name => SqlType::Array(Element::Name),
        SqlType::Int2 => SqlType::Array(Element::Int2),
        SqlType::Int4 => SqlType::Array(Element::Int4),
        SqlType::Int8 => SqlType::Array(Element::Int8),
        SqlType::Oid => SqlType::Array(Element::Oid),
        SqlType::Bool => SqlType::Array(Element::Bool),
        other => return Err(SqlError::unsupported(format!("an array of {}", other.word()))),
    })
}

/// How an item of a type stands in an array: a truth value as `t` or `f`.
pub fn as_item(sql: &str, of: SqlType) -> String {
    match of {
        SqlType::Bool => format!("(CASE {sql} WHEN 1 THEN 't' WHEN 0 THEN 'f' END)"),
        _ => sql.to_owned(),
    }
}

/// A table of SQLite with one row for each item of an array: `key` from 0, and `value`.
pub fn each(array_sql: &str, item: SqlType) -> String {
    let numbers = u8::from(item.family() == Family::Int);
    format!("json_each(g_array_json({array_sql}, {numbers}))")
}

/// `left = ANY (array)` and `left <> ALL (array)`. A NULL array has no items here, where PostgreSQL answers NULL: both
/// are not true.
pub fn any(negated: bool, left: Typed, right: Typed, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    // A literal or parameter is an array of what it is compared with.
    let right = match (&right.form, left.sql_type.family()) {
        (Form::Text(_) | Form::Parameter(_) | Form::Null, Family::Int) => {
            let to = array_of(if left.sql_type == SqlType::Oid { SqlType::Oid } else { SqlType::Int8 })?;
            cast::expect(right, to, "argument of ANY", parameters)?
        }
        _ => right,
    };
    let (array_sql, item) = array(right, "argument of ANY", parameters)?;
    let pair = vec![left, Typed::computed("value".to_owned(), item)];
    let (pair, _) = cast::unify(pair, "ANY", parameters)?;
    let not = if negated { "NOT " } else { "" };
    // What an array's items become has no collation.
    let right = Typed { sql: format!("({})", pair[1].sql), ..pair[1].clone() };
    let sql = order::in_rows(&pair[0], &right, not, &each(&array_sql, item));
    Ok(Typed::computed(sql, SqlType::Bool))
}

/// `array[index]`. Vectors count from 0, arrays from 1.
pub fn item(array_typed: Typed, index: Typed, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let first = matches!(array_typed.sql_type, SqlType::Array(element) if element.is_vector());
    let (sql, item) = array(array_typed, "what has a subscript", parameters)?;
    let index = cast::expect(index, SqlType::Int8, "a subscript", parameters)?;
    let numbers = u8::from(item.family() == Family::Int);
    let sql = format!("g_array_item({sql}, {}, {}, {numbers})", index.sql, u8::from(!first));
    Ok(Typed::computed(sql, item))
}

/// `ARRAY[…]`.
pub fn literal(items: Vec<Typed>, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    if items.is_empty() {
        return Ok(Typed::computed("'{}'".to_owned(), SqlType::TextArray));
    }
    let (items, common) = cast::unify(items, "ARRAY", parameters)?;
    let rendered: Vec<_> = items.iter().map(|item| as_item(&item.sql, common)).collect();
    let sql = format!("g_json_array(json_array({}))", rendered.join(", "));
    Ok(Typed::computed(sql, array_of(common)?))
}

/// `array || array`, `array || item`, `item || array`.
pub fn concatenated(left: Typed, right: Typed, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let of = if left.sql_type.family() == Family::TextArray { left.sql_type } else { right.sql_type };
    let item = match of {
        SqlType::Array(element) => element.sql_type(),
        _ => SqlType::Text,
    };
    let mut side = |typed: Typed| -> Result<String, SqlError> {
        if typed.sql_type.family() == Family::TextArray {
            return Ok(typed.sql);
        }
        let typed = cast::expect(typed, item, "argument of ||", parameters)?;
        Ok(format!("g_json_array(json_array({}))", typed.sql))
    };
    let (left, right) = (side(left)?, side(right)?);
    Ok(Typed::computed(format!("g_array_cat({left}, {right})"), of))
}

/// A regular expression match: `~`, `~*`, `!~`, `!~*`.
pub fn matches(
    (insensitive, negated): (bool, bool),
    left: Typed,
    right: Typed,
    parameters: &mut Parameters,
) -> Result<Typed, SqlError> {
    let what = "argument of ~";
    let left = cast::expect(left, SqlType::Text, what, parameters)?;
    let right = cast::expect(right, SqlType::Text, what, parameters)?;
    let not = if negated { "NOT " } else { "" };
    let sql = format!("({not}g_regexp({}, {}, {}))", left.sql, right.sql, u8::from(insensitive));
    Ok(Typed::computed(sql, SqlType::Bool))
}

/// `OPERATOR(pg_catalog.…)`.
pub fn custom(
    written: &[String],
    left: Typed,
    right: Typed,
    parameters: &mut Parameters,
) -> Result<Typed, SqlError> {
    use ast::BinaryOperator as B;
    let unknown = || SqlError::unsupported(format!("the operator {}", written.join(".")));
    let symbol = match written {
        [symbol] => symbol,
        [schema, symbol] if schema == "pg_catalog" => symbol,
        _ => return Err(unknown()),
    };
    let known = match symbol.as_str() {
        "~" => return matches((false, false), left, right, parameters),
        "~*" => return matches((true, false), left, right, parameters),
        "!~" => return matches((false, true), left, right, parameters),
        "!~*" => return matches((true, true), left, right, parameters),
        "=" => B::Eq,
        "<>" => B::NotEq,
        "<" => B::Lt,
        "<=" => B::LtEq,
        ">" => B::Gt,
        ">=" => B::GtEq,
        "||" => B::StringConcat,
        "~~" => B::PGLikeMatch,
        "!~~" => B::PGNotLikeMatch,
        "~~*" => B::PGILikeMatch,
        "!~~*" => B::PGNotILikeMatch,
        _ => return Err(unknown()),
    };
    operator::binary(&known, left, right, parameters)
}

/// The text of an OID that is a name.
pub fn reg_text(sql: &str, reg: Reg) -> String {
    format!("g_reg_text({}, {sql})", string(letter(reg)))
}

const fn letter(reg: Reg) -> &'static str {
    match reg {
        Reg::Class => "class",
        Reg::Type => "type",
        Reg::Role => "role",
        Reg::Namespace => "namespace",
    }
}

/// What a cast is to, where no column can be of it.
#[derive(Clone, Copy)]
pub enum Target {
    /// A type of values.
    Type(SqlType),
    /// The name of a function for its OID; a text stays the name that it is.
    Procedure,
}

/// The type that a cast names, if it is one that only system tables have.
pub fn target(data_type: &ast::DataType) -> Option<Target> {
    use ast::DataType as D;
    let to = match data_type {
        D::Regclass => SqlType::Reg(Reg::Class),
        D::Array(ast::ArrayElemTypeDef::SquareBracket(inner, None)) => {
            let item = match inner.as_ref() {
                D::Char(None) | D::Varchar(None) | D::Text => SqlType::Text,
                D::Custom(name, modifiers) if modifiers.is_empty() => {
                    named(&name.to_string().to_lowercase())?
                }
                other => SqlType::of_column(super::column_type(other).ok()?),
            };
            array_of(item).ok()?
        }
        D::Custom(name, modifiers) if modifiers.is_empty() => {
            let written = name.to_string().to_lowercase();
            if matches!(plain(&written), "regproc" | "regprocedure") {
                return Some(Target::Procedure);
            }
            named(&written)?
        }
        _ => return None,
    };
    Some(Target::Type(to))
}

fn plain(written: &str) -> &str {
    written.strip_prefix("pg_catalog.").unwrap_or(written)
}

fn named(written: &str) -> Option<SqlType> {
    Some(match plain(written) {
        "oid" | "xid" => SqlType::Oid,
        "name" | "information_schema.sql_identifier" => SqlType::Name,
        "\"char\"" | "char" | "aclitem" | "text" | "varchar" | "information_schema.character_data" => {
            SqlType::Text
        }
        "bool" | "boolean" => SqlType::Bool,
        "int2" => SqlType::Int2,
        "int4" => SqlType::Int4,
        "int8" | "int" | "integer" => SqlType::Int8,
        "regclass" => SqlType::Reg(Reg::Class),
        "regtype" => SqlType::Reg(Reg::Type),
        "regrole" => SqlType::Reg(Reg::Role),
        "regnamespace" => SqlType::Reg(Reg::Namespace),
        "int2vector" => SqlType::Array(Element::Int2Vector),
        "oidvector" => SqlType::Array(Element::OidVector),
        _ => return None,
    })
}

/// `typed::target`.
pub fn explicit(typed: Typed, to: Target, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let to = match to {
        Target::Procedure => return procedure(typed, parameters),
        Target::Type(to) => to,
    };
    if typed.form == Form::Null {
        return Ok(Typed { sql_type: to, form: Form::Computed, ..typed });
    }
    match (to, to.family()) {
        (SqlType::Reg(reg), _) => {
            let typed = cast::settled(typed, parameters)?;
            let sql = match typed.sql_type.family() {
                Family::Text => format!("g_reg_oid({}, {})", string(letter(reg)), typed.sql),
                Family::Int => typed.sql,
                _ => return Err(no_cast(typed.sql_type, to)),
            };
            Ok(Typed::computed(sql, to))
        }
        (_, Family::Int | Family::Bool) if typed.form != Form::Computed => {
            cast::expect(typed, to, "a value", parameters)
                .map(|typed| Typed { form: Form::Computed, ..typed })
        }
        (_, Family::Int) => {
            let sql = match typed.sql_type.family() {
                Family::Int => typed.sql,
                // `'name'::regproc::oid`: inside of a statement a regproc is its name.
                Family::Text if typed.sql.starts_with(PROCEDURE) => {
                    format!("g_procedure_oid({}", &typed.sql[PROCEDURE.len()..])
                }
                Family::Text => format!("g_text_int({})", typed.sql),
                _ => return Err(no_cast(typed.sql_type, to)),
            };
            let range = match to {
                SqlType::Int2 => format!("g_int2({sql})"),
                SqlType::Int4 => format!("g_int4({sql})"),
                SqlType::Oid => format!("g_oid({sql})"),
                _ => sql,
            };
            Ok(Typed::computed(range, to))
        }
        (_, Family::TextArray) => match (&typed.form, typed.sql_type.family()) {
            (Form::Computed, Family::TextArray) => Ok(Typed { sql_type: to, ..typed }),
            (Form::Computed, Family::Text) => Ok(Typed::computed(format!("g_array_text({})", typed.sql), to)),
            (Form::Computed, _) => Err(no_cast(typed.sql_type, to)),
            _ => cast::expect(typed, to, "a value", parameters),
        },
        (_, Family::Text) => {
            let sql = operator::to_text(typed, parameters)?;
            Ok(Typed::computed(sql, to))
        }
        _ => Err(no_cast(typed.sql_type, to)),
    }
}

/// How the text of a cast to regproc begins.
const PROCEDURE: &str = "g_procedure_name(";

fn procedure(typed: Typed, parameters: &mut Parameters) -> Result<Typed, SqlError> {
    let typed = cast::settled(typed, parameters)?;
    let sql = match typed.sql_type.family() {
        Family::Text => format!("{PROCEDURE}{})", typed.sql),
        Family::Int => format!("g_procedure_of({})", typed.sql),
        _ => return Err(SqlError::unsupported(format!("a cast from {} to regproc", typed.sql_type.word()))),
    };
    Ok(Typed::computed(sql, SqlType::Text))
}

fn no_cast(from: SqlType, to: SqlType) -> SqlError {
    SqlError::unsupported(format!("a cast from {} to {}", from.word(), to.word()))
}
