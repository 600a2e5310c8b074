//! Changes of the catalog: alone, in a block, or behind somebody's transaction.

use grantd_catalog::command::Command;
use grantd_catalog::require::{Need, Requirement};
use grantd_catalog::role::RoleOption;
use grantd_catalog::view::View;
use grantd_raft::entry::Proposal;

use super::{Engine, Response, block};
use crate::error::SqlError;
use crate::gate::applied;
use crate::session::block::Kind;
use crate::session::{Notice, Session};
use crate::sql::parse::transaction::Modes;
use crate::sql::system::variable;
use crate::sql::translate::scalar;

impl Engine {
    /// What needs nothing but the catalog.
    pub(super) async fn plain_command(
        &self,
        session: &mut Session,
        command: &Command,
        tag: &str,
    ) -> Result<Response, SqlError> {
        if let Command::AlterRoleSettings { role, change, .. } = command {
            let view = self.view_for_change(session).await?;
            variable::check_change(&view, change)
                .map_err(|error| first_denied(&view, session, role.is_none()).unwrap_or(error))?;
        }
        self.command(session, command.clone(), tag).await
    }

    /// CREATE VIEW and CREATE FUNCTION: what the catalog asks comes first, as in the original, then what only the plan
    /// of the text knows.
    pub(super) async fn stored(
        &self,
        session: &mut Session,
        (command, needed): (Command, &Requirement),
        view: &View,
        tag: &str,
    ) -> Result<Response, SqlError> {
        let context = session.name_context();
        let commands = vec![command.clone()];
        let proposal = Proposal { actor: session.actor, context, commands };
        match session.block.open() {
            Some(_) => self.gate.try_commands(view, &proposal)?,
            None => drop(self.gate.permit_commands(proposal).await?),
        }
        self.gate.permit(view, session.actor, needed)?;
        self.command(session, command, tag).await
    }

    /// A change of the catalog.
    pub(super) async fn command(
        &self,
        session: &mut Session,
        command: Command,
        tag: &str,
    ) -> Result<Response, SqlError> {
        self.commands(session, vec![command], tag).await
    }

    /// Several, whole or not at all.
    pub(super) async fn commands(
        &self,
        session: &mut Session,
        commands: Vec<Command>,
        tag: &str,
    ) -> Result<Response, SqlError> {
        let context = session.name_context();
        let proposal = Proposal { actor: session.actor, context, commands };
        let told = match session.block.open() {
            Some(_) => self.propose_in_block(session, proposal).await.map_err(said)?,
            None => {
                let permit = self.gate.permit_commands(proposal.clone()).await?;
                let Some(receipt) = self.gate.propose(permit).await? else {
                    return self.in_turn(session, proposal, tag).await;
                };
                applied(&receipt).map_err(|refusal| said(refusal.into()))?;
                self.record_changes(session, receipt.version, [&proposal]);
                let told = |outcome| match outcome {
                    grantd_catalog::command::Outcome::Done(done) => done.notices,
                    grantd_catalog::command::Outcome::Refused(_) => Vec::new(),
                };
                receipt.outcomes.into_iter().flat_map(told).collect()
            }
        };
        session.notices.extend(told.into_iter().map(|body| Notice { severity: "NOTICE", body }));
        Ok(Response { tag: tag.to_owned(), rows: None, copy: None })
    }

    /// A change of tables behind somebody's transaction: it waits for its turn as a transaction does, and can be cancelled
    /// meanwhile.
    async fn in_turn(
        &self,
        session: &mut Session,
        proposal: Proposal,
        tag: &str,
    ) -> Result<Response, SqlError> {
        block::begin(session, Kind::Implicit, Modes::default());
        match self.propose_in_block(session, proposal).await.map_err(said) {
            Ok(told) => {
                self.commit(session).await?;
                session.notices.extend(told.into_iter().map(|body| Notice { severity: "NOTICE", body }));
                Ok(Response { tag: tag.to_owned(), rows: None, copy: None })
            }
            Err(error) => {
                session.fail();
                Err(error)
            }
        }
    }
}

/// What an expression of the statement said while it was tried on a table's rows: the row store hands it on in words of
/// its own.
fn said(error: SqlError) -> SqlError {
    let said = error.body.message.split_once(": ").and_then(|(_, said)| scalar::raised(said));
    said.unwrap_or(error)
}

/// Whether somebody may ALTER ROLE … SET comes before what the variable takes. None: they may.
fn first_denied(view: &View, session: &Session, all_roles: bool) -> Option<SqlError> {
    let need = match all_roles {
        true => Need::Admin { action: "ALTER ROLE ALL ... SET".to_owned() },
        false => Need::Option(RoleOption::CreateRole),
    };
    view.state().check(session.actor.current, &need).err().map(SqlError::from)
}
