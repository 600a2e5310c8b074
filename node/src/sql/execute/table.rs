//! CREATE TABLE, ALTER TABLE and CREATE INDEX become commands of the catalog.

use std::sync::Arc;

use grantd_catalog::command::{Command, ObjectName, TableAction};
use grantd_catalog::refusal::Refusal;
use grantd_catalog::refusal::state::INSUFFICIENT_PRIVILEGE;
use grantd_catalog::view::View;
use grantd_raft::entry::Proposal;
use grantd_raft::rows::Value;

use super::run::{self, RunError};
use super::{Engine, Prepared, REPLANS_MAX, Response, block, cancel_check, unless_cancelled};
use crate::activity::Cancelled;
use crate::error::{SqlError, state};
use crate::gate::ReadOutcome;
use crate::session::Session;
use crate::session::block::Kind;
use crate::sql::parse;
use crate::sql::parse::table::{AlterTable, CreateTableAs, TableStatement};
use crate::sql::parse::transaction::Modes;
use crate::sql::plan::alter::{Altered, Filled, Part};
use crate::sql::plan::{self, Origin, Plan};
use crate::sql::system::context::LiveRows;

impl Engine {
    pub(super) async fn table_statement(
        &self,
        session: &mut Session,
        statement: &TableStatement,
    ) -> Result<Response, SqlError> {
        // What a table is made of is planned alone; what changes one is planned on it as it is when its turn has come. The
        // shape of nothing changes from then on: a DEFAULT must not meet a column of another type.
        let alone = session.block.open().is_none() && !matches!(statement, TableStatement::Create(_));
        if alone {
            self.refuse_at_once(session, statement).await?;
            block::begin(session, Kind::Implicit, Modes::default());
        }
        let done = self.table_steps(session, statement).await;
        match &done {
            Ok(_) if alone => drop(self.commit(session).await?),
            Err(_) if alone => session.fail(),
            Ok(_) | Err(_) => {}
        }
        done
    }

    async fn table_steps(
        &self,
        session: &mut Session,
        statement: &TableStatement,
    ) -> Result<Response, SqlError> {
        match statement {
            TableStatement::CreateAs(create) => self.create_as(session, create, statement.tag()).await,
            TableStatement::Create(_) | TableStatement::CreateIndex(_) => {
                let command = self.table_command(session, statement).await?;
                self.command(session, command, statement.tag()).await
            }
            TableStatement::Alter(alter) => {
                let planned = self.planned(session, alter).await?;
                self.alter_in_parts(session, planned, statement.tag()).await
            }
        }
    }

    /// An ALTER TABLE: commands, and the rows that are filled between them.
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
            let prepared = Prepared {
                parameters: Vec::new(),
                columns: None,
                text: update.into(),
                statement,
                inquiry: None,
            };
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
            let prepared = Prepared {
                parameters: Vec::new(),
                columns: None,
                text: fill.into(),
                statement,
                inquiry: None,
            };
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

    /// Who may not change the table does not get the writer to be told so.
    async fn refuse_at_once(&self, session: &Session, statement: &TableStatement) -> Result<(), SqlError> {
        let table = match statement {
            TableStatement::Alter(alter) => &alter.name,
            TableStatement::CreateIndex(index) => &index.table,
            TableStatement::Create(_) | TableStatement::CreateAs(_) => return Ok(()),
        };
        let view = unless_cancelled(session, self.gate.view()).await?;
        match self.may_change(session, &view, table) {
            Err(refused) if refused.code == INSUFFICIENT_PRIVILEGE => Err(refused.into()),
            // What else is wrong is told where it is planned.
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// `error`, or that the table may not be changed.
    fn told(&self, session: &Session, view: &View, table: &ObjectName, error: SqlError) -> SqlError {
        self.may_change(session, view, table).map_or_else(SqlError::from, |()| error)
    }

    fn may_change(&self, session: &Session, view: &View, table: &ObjectName) -> Result<(), Refusal> {
        let nothing = Command::AlterTable { name: table.clone(), if_exists: false, actions: Vec::new() };
        let context = session.name_context();
        let proposal = Proposal { actor: session.actor, context, commands: vec![nothing] };
        self.gate.try_commands(view, &proposal)
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
