//! PREPARE, EXECUTE and DEALLOCATE as statements. What was prepared is a text: it is planned, and decided, at each
//! execution.

use std::sync::Arc;

use grantd_catalog::name::Name;
use sqlparser::ast;

use super::{Engine, Prepared, Response};
use crate::error::{SqlError, state};
use crate::session::{NamedText, Session};
use crate::sql::parse::named::NamedStatement;
use crate::sql::parse::{self, Statement};
use crate::sql::system::context::now_micros;
use crate::sql::translate;
use crate::value::{ColumnInfo, Datum, SqlType, text};

/// The most statements that a session names.
pub const STATEMENTS_MAX: usize = 1_000;
/// The most bytes that their texts have together.
pub const STATEMENT_TEXTS_BYTES_MAX: usize = 8 << 20;

impl Engine {
    /// The parameters that such a statement has, and the columns that it returns.
    pub(super) async fn shape_of_named(
        &self,
        session: &Session,
        statement: &NamedStatement,
        hints: &[Option<SqlType>],
    ) -> Result<(Vec<SqlType>, Option<Vec<ColumnInfo>>), SqlError> {
        let columns = match statement {
            NamedStatement::Execute { name, .. } => self.prepared_again(session, name).await?.columns,
            NamedStatement::Fetch { name, moves: false, .. } => {
                super::cursor::columns(session, name).map(Some)?
            }
            NamedStatement::Declare { text, .. } => {
                return Ok((Box::pin(self.prepare(session, text, hints)).await?.parameters, None));
            }
            NamedStatement::Prepare { .. }
            | NamedStatement::Deallocate(_)
            | NamedStatement::Fetch { .. }
            | NamedStatement::Close(_) => None,
        };
        Ok((Vec::new(), columns))
    }

    /// `prepared`: what was made of the statement itself, with values for its parameters.
    pub(super) async fn named(
        &self,
        session: &mut Session,
        statement: &NamedStatement,
        (prepared, parameters): (&Prepared, &[Datum]),
    ) -> Result<Response, SqlError> {
        match statement {
            NamedStatement::Prepare { name, types, text } => {
                self.prepare_named(session, name, types, text).await
            }
            NamedStatement::Execute { name, arguments } => {
                let inner = self.prepared_again(session, name).await?;
                if inner.columns != prepared.columns {
                    return Err(changed_type());
                }
                let values = self.arguments(session, name, arguments, &inner.parameters).await?;
                Box::pin(self.execute_on_view(session, &inner, &values, None)).await
            }
            NamedStatement::Deallocate(Some(name)) => {
                if Arc::make_mut(&mut session.statements).remove(name).is_none() {
                    if !session.protocol_statements.contains_key(name.as_str()) {
                        return Err(no_statement(name));
                    }
                    session.deallocated.push(Some(name.clone()));
                }
                Ok(done("DEALLOCATE"))
            }
            NamedStatement::Deallocate(None) => {
                session.statements = Arc::default();
                session.deallocated.push(None);
                Ok(done("DEALLOCATE ALL"))
            }
            NamedStatement::Declare { name, scrolls, text } => {
                self.declare(session, (name, *scrolls, text), (prepared, parameters)).await
            }
            NamedStatement::Fetch { name, direction, moves } => {
                super::cursor::fetch(session, name, *direction, *moves, prepared)
            }
            NamedStatement::Close(name) => super::cursor::close(session, name.as_ref()),
        }
    }

    async fn prepare_named(
        &self,
        session: &mut Session,
        name: &Name,
        types: &[ast::DataType],
        text: &str,
    ) -> Result<Response, SqlError> {
        if session.statements.contains_key(name) || session.protocol_statements.contains_key(name.as_str()) {
            return Err(SqlError::new(
                state::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let bytes: usize = session.statements.values().map(|known| known.text.len()).sum();
        if session.statements.len() >= STATEMENTS_MAX || bytes + text.len() > STATEMENT_TEXTS_BYTES_MAX {
            return Err(SqlError::too_large(format!(
                "more than {STATEMENTS_MAX} prepared statements, or {STATEMENT_TEXTS_BYTES_MAX} bytes of them"
            ))
            .with_hint("DEALLOCATE the ones that are not used any more."));
        }
        let mut hints = Vec::with_capacity(types.len());
        for data_type in types {
            hints.push(Some(SqlType::of_column(translate::column_type(data_type)?)));
        }
        let inner = Box::pin(self.prepare(session, text, &hints)).await?;
        let known = NamedText {
            text: text.into(),
            types: inner.parameters.iter().map(|known| known.oid()).collect(),
            since_micros: now_micros(),
        };
        Arc::make_mut(&mut session.statements).insert(name.clone(), known);
        Ok(done("PREPARE"))
    }

    async fn prepared_again(&self, session: &Session, name: &Name) -> Result<Prepared, SqlError> {
        let known = session.statements.get(name).ok_or_else(|| no_statement(name))?;
        let hints: Vec<_> = known.types.iter().map(|oid| SqlType::from_oid(*oid)).collect();
        Box::pin(self.prepare(session, &known.text, &hints)).await
    }

    /// The values of EXECUTE: a query of its own, whose columns become what the parameters are.
    async fn arguments(
        &self,
        session: &mut Session,
        name: &Name,
        arguments: &[ast::Expr],
        parameters: &[SqlType],
    ) -> Result<Vec<Datum>, SqlError> {
        if arguments.len() != parameters.len() {
            return Err(SqlError::syntax(format!(
                "wrong number of parameters for prepared statement \"{name}\""
            ))
            .with_detail(format!(
                "Expected {} parameters but got {}.",
                parameters.len(),
                arguments.len()
            )));
        }
        if arguments.is_empty() {
            return Ok(Vec::new());
        }
        let Statement::Query(mut query) = parse::parse("SELECT 1")? else {
            return Err(SqlError::internal("a query is not read as one"));
        };
        if let ast::SetExpr::Select(select) = query.body.as_mut() {
            select.projection = arguments.iter().cloned().map(ast::SelectItem::UnnamedExpr).collect();
        }
        let statement = Statement::Query(query);
        let view = self.gate.view().await?;
        let plan = super::plan_rows(&view, session, &statement, &[])?;
        if !plan.parameters.is_empty() {
            return Err(SqlError::no_parameter());
        }
        let (columns, text) = (plan.columns, Arc::from("EXECUTE"));
        let asked =
            Prepared { parameters: Vec::new(), columns, text, statement: Arc::new(statement), inquiry: None };
        let response = Box::pin(self.execute_on_view(session, &asked, &[], Some(view))).await?;
        let row = response.rows.and_then(|rows| rows.rows.into_iter().next()).unwrap_or_default();
        row.iter().zip(parameters).map(|(value, to)| converted(value, *to)).collect()
    }
}

/// A value as one of a parameter's type: through its text, as a literal would come.
fn converted(value: &Datum, to: SqlType) -> Result<Datum, SqlError> {
    match (text::format(value), to) {
        (None, _) => Ok(Datum::Null),
        (Some(written), SqlType::Enum(_)) => Ok(Datum::Text(written)),
        (Some(written), to) => text::parse(&written, to),
    }
}

pub(super) fn done(tag: &str) -> Response {
    Response { tag: tag.to_owned(), rows: None, copy: None }
}

pub(super) fn changed_type() -> SqlError {
    SqlError::new(
        grantd_catalog::refusal::state::FEATURE_NOT_SUPPORTED,
        "cached plan must not change result type",
    )
}

fn no_statement(name: &Name) -> SqlError {
    SqlError::new(state::INVALID_STATEMENT_NAME, format!("prepared statement \"{name}\" does not exist"))
}
