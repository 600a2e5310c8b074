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
use crate::sql::parse::table::{AlterTable, CreateTableAs, TableStatement};
use crate::sql::parse::transaction::Modes;
use crate::sql::plan::alter::{Altered, Filled, Part};
use crate::sql::plan::{self, Origin, Plan};
use crate::sql::system::context::LiveRows;

/// What is done step by step, in one transaction.
enum Steps<'s> {
    CreateAs(&'s CreateTableAs),
    Alter(Box<Altered>),
}

impl Engine {
    pub(super) async fn table_statement(
        &self,
        session: &mut Session,
        statement: &TableStatement,
    ) -> Result<Response, SqlError> {
        let steps = match statement {
            TableStatement::CreateAs(create) => Steps::CreateAs(create),
            TableStatement::Create(_) | TableStatement::CreateIndex(_) => {
                let command = self.table_command(session, statement).await?;
                return self.command(session, command, statement.tag()).await;
            }
            TableStatement::Alter(alter) => {
                let planned = self.planned(session, alter).await?;
                if planned.before.is_empty() {
                    let command = self.part(session, planned.last).await?;
                    return self.command(session, command, statement.tag()).await;
                }
                Steps::Alter(Box::new(planned))
            }
        };
        let alone = session.block.open().is_none();
        if alone {
            block::begin(session, Kind::Implicit, Modes::default());
        }
        let done = match steps {
            Steps::CreateAs(create) => self.create_as(session, create, statement.tag()).await,
            Steps::Alter(planned) => self.alter_in_parts(session, *planned, statement.tag()).await,
        };
        match &done {
            Ok(_) if alone => drop(self.commit(session).await?),
            Err(_) if alone => session.fail(),
            Ok(_) | Err(_) => {}
        }
        done
    }

    /// An ALTER TABLE in a transaction: commands, and the rows that are filled between them.
    async fn alter_in_parts(
        &self,
        session: &mut Session,
        planned: Altered,
        tag: &str,
    ) -> Result<Response, SqlError> {
        for Filled { part, update } in planned.before {
            let command = self.part(session, part).await?;
            self.command(session, command, tag).await?;
            let statement = Arc::new(parse::parse(&update)?);
            let prepared = Prepared { parameters: Vec::new(), columns: None, text: update.into(), statement };
            self.change_in_block(session, &prepared, &[]).await?;
        }
        let command = self.part(session, planned.last).await?;
        self.command(session, command, tag).await
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
            TableStatement::CreateAs(_) | TableStatement::Alter(_) => {
                Err(SqlError::internal("a statement of several parts is not one command"))
            }
            TableStatement::CreateIndex(index) => match plan::alter::index(origin, index) {
                Ok(command) => Ok(command),
                Err(error) => Err(self.told(session, &view, &index.table, error)),
            },
        }
    }

    async fn planned(&self, session: &mut Session, alter: &AlterTable) -> Result<Altered, SqlError> {
        let view = self.view_for_change(session).await?;
        let context = session.name_context();
        let origin = Origin { view: &view, actor: session.actor, context: &context };
        plan::alter::alter(origin, alter).map_err(|error| self.told(session, &view, &alter.name, error))
    }

    /// The command of a part, with the values that it wants.
    async fn part(&self, session: &mut Session, part: Part) -> Result<Command, SqlError> {
        let Part { mut command, values } = part;
        for (action, plan) in values {
            let view = self.view_for_change(session).await?;
            let value = self.value(session, &view, plan).await?;
            if let Command::AlterTable { actions, .. } = &mut command
                && let Some(TableAction::AddColumn { fill, .. }) = actions.get_mut(action)
            {
                *fill = Some(value);
            }
        }
        Ok(command)
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
