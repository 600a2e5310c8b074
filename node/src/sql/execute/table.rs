//! CREATE TABLE, ALTER TABLE and CREATE INDEX become commands of the catalog.

use std::sync::Arc;

use grantd_catalog::command::{Command, ObjectName, TableAction};
use grantd_catalog::view::View;
use grantd_raft::entry::Proposal;
use grantd_raft::rows::Value;

use super::run::{self, RunError};
use super::{Engine, Prepared, REPLANS_MAX, Response, block, cancel_check, unless_cancelled};
use crate::activity::Cancelled;
use crate::gate::ReadOutcome;
use crate::session::Session;
use crate::session::block::Kind;
use crate::sql::error::{SqlError, state};
use crate::sql::parse;
use crate::sql::parse::table::{CreateTableAs, TableStatement};
use crate::sql::parse::transaction::Modes;
use crate::sql::plan::{self, Origin, Plan};
use crate::sql::system::context::LiveRows;

impl Engine {
    pub(super) async fn table_statement(
        &self,
        session: &mut Session,
        statement: &TableStatement,
    ) -> Result<Response, SqlError> {
        let TableStatement::CreateAs(create) = statement else {
            let command = self.table_command(session, statement).await?;
            return self.command(session, command, statement.tag()).await;
        };
        let alone = session.block.open().is_none();
        if alone {
            block::begin(session, Kind::Implicit, Modes::default());
        }
        let created = self.create_as(session, create, statement.tag()).await;
        match &created {
            Ok(_) if alone => drop(self.commit(session).await?),
            Err(_) if alone => session.fail(),
            Ok(_) | Err(_) => {}
        }
        created
    }

    /// The table, then its rows, in one transaction.
    async fn create_as(
        &self,
        session: &mut Session,
        create: &CreateTableAs,
        tag: &str,
    ) -> Result<Response, SqlError> {
        let view = self.view_for_change(session).await?;
        let context = session.name_context();
        let origin = Origin { view: &view, actor: session.actor, context: &context };
        let (command, fill) = plan::table::create_as(origin, create)?;
        let found = |view: &View| view.state().resolve_relation(&context, &create.name).ok();
        let before = found(&view);
        let created = self.command(session, command, tag).await?;
        let is_new = before.is_none() || before != found(self.view_for_change(session).await?.as_ref());
        if create.with_data && is_new {
            let statement = Arc::new(parse::parse(&fill)?);
            let prepared = Prepared { parameters: Vec::new(), columns: None, text: fill.into(), statement };
            self.change_in_block(session, &prepared, &[]).await?;
        }
        Ok(created)
    }

    /// The command of a statement. What the plan finds wrong is told only to who may change the table.
    async fn table_command(
        &self,
        session: &mut Session,
        statement: &TableStatement,
    ) -> Result<Command, SqlError> {
        let view = self.view_for_change(session).await?;
        let context = session.name_context();
        let origin = Origin { view: &view, actor: session.actor, context: &context };
        match statement {
            TableStatement::Create(table) => plan::table::create(origin, table),
            TableStatement::CreateAs(_) => Err(SqlError::internal("CREATE TABLE AS is two statements")),
            TableStatement::CreateIndex(index) => match plan::alter::index(origin, index) {
                Ok(command) => Ok(command),
                Err(error) => Err(self.told(session, &view, &index.table, error)),
            },
            TableStatement::Alter(table) => {
                let planned = match plan::alter::alter(origin, table) {
                    Ok(planned) => planned,
                    Err(error) => return Err(self.told(session, &view, &table.name, error)),
                };
                let mut command = planned.command;
                for (action, plan) in planned.values {
                    let value = self.value(session, &view, plan).await?;
                    if let Command::AlterTable { actions, .. } = &mut command
                        && let Some(TableAction::AddColumn { fill, .. }) = actions.get_mut(action)
                    {
                        *fill = Some(value);
                    }
                }
                Ok(command)
            }
        }
    }

    /// `error`, or that the table may not be changed.
    fn told(&self, session: &Session, view: &View, table: &ObjectName, error: SqlError) -> SqlError {
        let nothing = Command::AlterTable { name: table.clone(), if_exists: false, actions: Vec::new() };
        let context = session.name_context();
        let proposal = Proposal { actor: session.actor, context, commands: vec![nothing] };
        match self.gate.try_commands(view, &proposal) {
            Ok(()) => error,
            Err(refused) => refused.into(),
        }
    }

    /// The one value of a query that reads no table, as the row store writes it.
    async fn value(&self, session: &Session, view: &Arc<View>, plan: Plan) -> Result<String, SqlError> {
        let cancel = cancel_check(session, &Cancelled::default());
        let mut newest = self.gate.view().await?;
        for _ in 0..REPLANS_MAX {
            let permit = self.gate.permit(&newest, session.actor, &plan.requirement)?;
            let info = self.info(session, view, LiveRows::new());
            let (plan, cancel) = (plan.clone(), Arc::clone(&cancel));
            let read = self.gate.read(permit, move |rows| run::checked(&plan, rows, &[], info, cancel));
            match unless_cancelled(session, read).await? {
                ReadOutcome::Done(Ok(rows)) => {
                    let value = rows.rows.into_iter().flatten().next();
                    return value
                        .map(|value| literal(&value))
                        .ok_or_else(|| SqlError::internal("a value has no row"));
                }
                ReadOutcome::Done(Err(RunError::Sql(error))) => return Err(error),
                ReadOutcome::Done(Err(RunError::Moved)) => {
                    return Err(SqlError::internal("a value was asked of rows"));
                }
                ReadOutcome::Behind(version) => {
                    newest = unless_cancelled(session, self.gate.at_least(version)).await?;
                }
            }
        }
        Err(SqlError::new(state::SERIALIZATION_FAILURE, "tables changed while a DEFAULT was computed")
            .with_hint("Try again."))
    }
}

/// A value in the row store's text.
fn literal(value: &Value) -> String {
    match value {
        Value::Null => "NULL".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => format!("{number:?}"),
        Value::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Value::Blob(bytes) => {
            let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("x'{}'", digits.concat())
        }
    }
}
