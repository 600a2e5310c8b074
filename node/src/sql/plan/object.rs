//! CREATE VIEW and CREATE FUNCTION: the objects as the catalog stores them. What who makes one needs is decided where
//! the command is applied, from what the object refers to; what depends on how it is used (whether a sequence is read or
//! moved) is decided here.

use grantd_catalog::command::Command;
use grantd_catalog::name::Name;
use grantd_catalog::object::{
    ARGUMENTS_MAX, Argument, COLUMNS_MAX, ColumnType, Function, TEXT_BYTES_MAX, View, ViewColumn, Volatility,
};
use grantd_catalog::require::Requirement;
use sqlparser::ast;

use super::query::OutputColumn;
use super::routine::bound_arguments;
use super::stored::stored_query;
use super::{Origin, Planner, distinct, empty, none, unset};
use crate::error::{SqlError, state};
use crate::sql::parse::name_of;
use crate::value::SqlType;

/// The command of a CREATE VIEW, and what its query needs.
pub fn view(origin: Origin<'_>, statement: &ast::CreateView) -> Result<(Command, Requirement), SqlError> {
    check_view(statement)?;
    let name = super::object_name(&statement.name)?;
    let mut names = Vec::with_capacity(statement.columns.len());
    for named in &statement.columns {
        none(&named.data_type, "a type in CREATE VIEW")?;
        none(&named.options, "an option of a view's column")?;
        names.push(name_of(&named.name));
    }
    let (view, requirement) = stored_view(origin, &statement.query.to_string(), &names)?;
    let command = Command::CreateView {
        name,
        view,
        if_not_exists: statement.if_not_exists,
        or_replace: statement.or_replace,
    };
    Ok((command, requirement))
}

/// A view of this query, as the catalog stores it, and what the query needs. `names`: of the first columns.
pub(super) fn stored_view(
    origin: Origin<'_>,
    text: &str,
    names: &[Name],
) -> Result<(View, Requirement), SqlError> {
    let mut planner = Planner::new(origin, &[]);
    planner.inside.reads_only = true;
    let (query, written, bound) = planner.plan_stored(text, stored_query, |planner, query| {
        let root = planner.scope();
        planner.query(query, &root)
    })?;
    planner.without_parameters("a view")?;
    bounded(&query)?;
    if names.len() > bound.columns.len() {
        return Err(SqlError::syntax(format!(
            "CREATE VIEW specifies {} column names, but data source has {} columns",
            names.len(),
            bound.columns.len()
        )));
    }
    if bound.columns.len() > COLUMNS_MAX {
        return Err(SqlError::too_large(format!("a view has at most {COLUMNS_MAX} columns")));
    }
    let mut columns = Vec::with_capacity(bound.columns.len());
    for (at, column) in bound.columns.iter().enumerate() {
        let name = names.get(at).unwrap_or(&column.name).clone();
        columns.push(ViewColumn { name, column_type: stored_type(column)? });
    }
    distinct(columns.iter().map(|column| column.name.as_str()))?;
    let references = written.references.into_iter().collect();
    Ok((View { columns, query, references }, planner.requirement))
}

/// The command of a CREATE FUNCTION, and what its types and body need.
pub fn function(
    origin: Origin<'_>,
    statement: &ast::CreateFunction,
) -> Result<(Command, Requirement), SqlError> {
    check_function(statement)?;
    let name = super::object_name(&statement.name)?;
    let mut planner = Planner::new(origin, &[]);
    let mut arguments = Vec::new();
    for argument in statement.args.iter().flatten() {
        arguments.push(planner.argument(argument)?);
    }
    if arguments.len() > ARGUMENTS_MAX {
        return Err(SqlError::too_large(format!("a function has at most {ARGUMENTS_MAX} arguments")));
    }
    distinct(arguments.iter().filter_map(|argument| argument.name.as_ref()).map(Name::as_str))?;
    let returns = match &statement.return_type {
        Some(ast::FunctionReturnType::DataType(data_type)) => planner.column_type(data_type)?,
        Some(ast::FunctionReturnType::SetOf(_)) => return Err(SqlError::unsupported("RETURNS SETOF")),
        None => return Err(definition("function result type must be specified")),
    };
    let mut function = Function {
        arguments,
        returns,
        body: String::new(),
        volatility: match &statement.behavior {
            Some(ast::FunctionBehavior::Immutable) => Volatility::Immutable,
            Some(ast::FunctionBehavior::Stable) => Volatility::Stable,
            Some(ast::FunctionBehavior::Volatile) | None => Volatility::Volatile,
        },
        is_strict: matches!(
            statement.called_on_null,
            Some(ast::FunctionCalledOnNull::Strict | ast::FunctionCalledOnNull::ReturnsNullOnNullInput)
        ),
        references: Vec::new(),
    };
    let text = stored_query(body(statement)?)?.to_string();
    let short = name.parts.last().cloned().unwrap_or_else(|| Name::normalize(""));
    planner.set_body(&short, &mut function, &text)?;
    let command = Command::CreateFunction { name, function, or_replace: statement.or_replace };
    Ok((command, planner.requirement))
}

impl Planner<'_> {
    fn argument(&mut self, argument: &ast::OperateFunctionArg) -> Result<Argument, SqlError> {
        let ast::OperateFunctionArg { mode, name, data_type, default_expr } = argument;
        if !matches!(mode, None | Some(ast::ArgMode::In)) {
            return Err(SqlError::unsupported("an OUT, INOUT or VARIADIC argument"));
        }
        none(default_expr, "the default of an argument")?;
        let argument_type = self.column_type(data_type)?;
        Ok(Argument { name: name.as_ref().map(name_of), argument_type })
    }

    /// Gives a function this body, and what that names.
    pub(super) fn set_body(
        &mut self,
        name: &Name,
        function: &mut Function,
        text: &str,
    ) -> Result<(), SqlError> {
        let (arguments, scope) = bound_arguments(name, function, "f0")?;
        self.inside.arguments = Some(arguments);
        let (body, written, bound) =
            self.plan_stored(text, stored_query, |planner, query| planner.query(query, &scope))?;
        bounded(&body)?;
        self.returned(&bound, function)?;
        function.body = body;
        function.references = written.references.into_iter().collect();
        Ok(())
    }

    pub(super) fn without_parameters(&self, place: &str) -> Result<(), SqlError> {
        match self.parameters.types().is_empty() {
            true => Ok(()),
            false => Err(SqlError::new(
                state::UNDEFINED_PARAMETER,
                format!("no placeholder is allowed in {place}"),
            )),
        }
    }
}

/// The text of a function's body.
fn body(statement: &ast::CreateFunction) -> Result<&str, SqlError> {
    let (ast::CreateFunctionBody::AsBeforeOptions { body, link_symbol: None }
    | ast::CreateFunctionBody::AsAfterOptions(body)) =
        statement.function_body.as_ref().ok_or_else(|| definition("no function body specified"))?
    else {
        return Err(SqlError::unsupported("this form of a function's body").with_hint("Write AS 'SELECT …'."));
    };
    let ast::Expr::Value(value) = body else {
        return Err(SqlError::unsupported("this form of a function's body").with_hint("Write AS 'SELECT …'."));
    };
    match &value.value {
        ast::Value::DollarQuotedString(text) => Ok(&text.value),
        ast::Value::SingleQuotedString(text) | ast::Value::EscapedStringLiteral(text) => Ok(text),
        _ => Err(definition("no function body specified")),
    }
}

/// 42P13.
fn definition(message: &str) -> SqlError {
    SqlError::new(state::INVALID_FUNCTION_DEFINITION, message)
}

fn bounded(text: &str) -> Result<(), SqlError> {
    match text.len() {
        0..=TEXT_BYTES_MAX => Ok(()),
        _ => Err(SqlError::too_large(format!(
            "the text of a view or function, with all names in full, has at most {TEXT_BYTES_MAX} bytes"
        ))),
    }
}

pub(super) fn stored_type(column: &OutputColumn) -> Result<ColumnType, SqlError> {
    Ok(match column.sql_type {
        SqlType::Bool => ColumnType::Bool,
        SqlType::Int2 => ColumnType::Int2,
        SqlType::Int4 => ColumnType::Int4,
        SqlType::Int8 | SqlType::Oid | SqlType::Reg(_) => ColumnType::Int8,
        SqlType::Float8 => ColumnType::Float8,
        SqlType::Bpchar(chars) if chars > 0 => ColumnType::Char { chars },
        SqlType::Text | SqlType::Varchar | SqlType::Bpchar(_) | SqlType::Name | SqlType::Unknown => {
            ColumnType::Text { chars_max: None }
        }
        SqlType::Bytea => ColumnType::Bytes,
        SqlType::Uuid => ColumnType::Uuid,
        SqlType::TimestampTz => ColumnType::TimestampTz,
        SqlType::Float4 => ColumnType::Float4,
        SqlType::Timestamp => ColumnType::Timestamp,
        SqlType::Date => ColumnType::Date,
        SqlType::Time => ColumnType::Time,
        SqlType::Interval => ColumnType::Interval,
        SqlType::Numeric => ColumnType::Decimal { bound: None },
        SqlType::Jsonb => ColumnType::Jsonb,
        SqlType::Enum(id) => ColumnType::Enum(id),
        SqlType::TextArray | SqlType::Array(_) => {
            return Err(SqlError::unsupported("an array as a column"));
        }
    })
}

/// Refuses every clause that is not considered, field by field.
fn check_view(statement: &ast::CreateView) -> Result<(), SqlError> {
    let ast::CreateView {
        or_alter,
        or_replace: _,
        materialized,
        secure,
        name: _,
        name_before_not_exists,
        columns: _,
        query: _,
        options,
        cluster_by,
        comment,
        with_no_schema_binding,
        if_not_exists: _,
        temporary,
        copy_grants,
        to,
        params,
    } = statement;
    unset(*or_alter, "CREATE OR ALTER")?;
    unset(*materialized, "CREATE MATERIALIZED VIEW")?;
    unset(*secure, "CREATE SECURE VIEW")?;
    unset(*name_before_not_exists, "IF NOT EXISTS after the name")?;
    unset(!matches!(options, ast::CreateTableOptions::None), "an option of CREATE VIEW")?;
    empty(cluster_by, "CLUSTER BY")?;
    none(comment, "COMMENT in CREATE VIEW")?;
    unset(*with_no_schema_binding, "WITH NO SCHEMA BINDING")?;
    unset(*temporary, "CREATE TEMPORARY VIEW")?;
    unset(*copy_grants, "COPY GRANTS")?;
    none(to, "CREATE VIEW … TO")?;
    none(params, "an option of CREATE VIEW")
}

/// The same.
fn check_function(statement: &ast::CreateFunction) -> Result<(), SqlError> {
    let ast::CreateFunction {
        or_alter,
        or_replace: _,
        temporary,
        if_not_exists,
        name: _,
        args: _,
        return_type: _,
        function_body: _,
        behavior: _,
        called_on_null: _,
        parallel,
        security,
        set_params,
        using,
        language,
        determinism_specifier,
        options,
        remote_connection,
    } = statement;
    unset(*or_alter, "CREATE OR ALTER")?;
    unset(*temporary, "CREATE TEMPORARY FUNCTION")?;
    unset(*if_not_exists, "CREATE FUNCTION IF NOT EXISTS")?;
    none(parallel, "PARALLEL")?;
    if !matches!(security, None | Some(ast::FunctionSecurity::Invoker)) {
        return Err(SqlError::unsupported("SECURITY DEFINER"));
    }
    empty(set_params, "SET in CREATE FUNCTION")?;
    none(using, "USING")?;
    none(determinism_specifier, "DETERMINISTIC")?;
    none(options, "OPTIONS")?;
    none(remote_connection, "REMOTE")?;
    match language {
        Some(language) if language.value.eq_ignore_ascii_case("sql") => Ok(()),
        Some(language) => Err(SqlError::unsupported(format!("LANGUAGE {}", language.value))),
        None => Err(definition("no language specified")),
    }
}
