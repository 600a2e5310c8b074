//! CREATE, ALTER and CHECK EXTERNAL CONNECTION: decided, then tried outside, then proposed.
//!
//! Who may is asked first, as in the original, so that nobody learns more of a URI than who may use it. Nothing outside is
//! waited for while this session holds the cluster's one writer.

use grantd_catalog::command::Command;
use grantd_catalog::object::ConnectionUri;
use grantd_catalog::refusal::{Refusal, SqlState};
use grantd_catalog::require::UriAccess;
use grantd_catalog::view::View;
use grantd_raft::entry::Proposal;
use grantd_raft::rows::Share;

use super::{Engine, Response, Rows, unless_cancelled};
use crate::activity::cluster::Scope;
use crate::cloud::connection::Target;
use crate::cloud::everywhere;
use crate::cloud::preflight::Options;
use crate::error::SqlError;
use crate::session::block::Phase;
use crate::session::{Notice, Session};
use crate::sql::parse::external::ExternalStatement;
use crate::sql::system::external;

const ACTIVE_SQL_TRANSACTION: SqlState = SqlState::new("25001");
/// What a NOTICE says was done all the same.
const SUCCESSFUL_COMPLETION: SqlState = SqlState::new("00000");

impl Engine {
    pub(super) async fn external(
        &self,
        session: &mut Session,
        statement: &ExternalStatement,
    ) -> Result<Response, SqlError> {
        match statement {
            ExternalStatement::Create { name, uri, if_not_exists, skip_check } => {
                let command = |access| Command::CreateExternalConnection {
                    name: name.clone(),
                    uri: uri.clone(),
                    access,
                    if_not_exists: *if_not_exists,
                };
                let view = self.view_if(session, true).await?;
                let is_there = view.state().resolve_external_connection(name).is_ok();
                if *if_not_exists && is_there {
                    let tag = "CREATE EXTERNAL CONNECTION";
                    return self.command(session, command(Vec::new()), tag).await;
                }
                self.stored_uri(session, (&*view, uri, *skip_check), command, "CREATE EXTERNAL CONNECTION")
                    .await
            }
            ExternalStatement::Alter { name, uri, if_exists, skip_check } => {
                let command = |access| Command::AlterExternalConnection {
                    name: name.clone(),
                    uri: uri.clone(),
                    access,
                    if_exists: *if_exists,
                };
                let view = self.view_if(session, true).await?;
                let is_there = view.state().resolve_external_connection(name).is_ok();
                if *if_exists && !is_there {
                    let tag = "ALTER EXTERNAL CONNECTION";
                    return self.command(session, command(Vec::new()), tag).await;
                }
                self.stored_uri(session, (&*view, uri, *skip_check), command, "ALTER EXTERNAL CONNECTION")
                    .await
            }
            ExternalStatement::Check { uri, options, scope } => {
                self.check_outside(session, uri, *options, *scope).await
            }
        }
    }

    /// Stores a URI that was read, decided and tried.
    async fn stored_uri(
        &self,
        session: &mut Session,
        (view, uri, skip_check): (&View, &ConnectionUri, bool),
        command: impl Fn(Vec<UriAccess>) -> Command,
        tag: &str,
    ) -> Result<Response, SqlError> {
        // Who may make or change it comes before what is wrong with its URI.
        self.would_do(session, view, command(Vec::new())).await?;
        let target = self.outside.stored(uri)?;
        let command = command(target.access());
        self.would_do(session, view, command.clone()).await?;
        let mut told = target.notices();
        if !skip_check {
            told.extend(self.try_outside(session, view, &target, tag).await?);
        }
        let response = self.command(session, command, tag).await?;
        let notice = |text| Notice { severity: "NOTICE", body: Refusal::new(SUCCESSFUL_COMPLETION, text) };
        session.notices.extend(told.into_iter().map(notice));
        Ok(response)
    }

    /// What the catalog says to a command, as far as this session sees it.
    async fn would_do(&self, session: &Session, view: &View, command: Command) -> Result<(), SqlError> {
        let proposal =
            Proposal { actor: session.actor, context: session.name_context(), commands: vec![command] };
        match session.block.open() {
            Some(_) => self.gate.try_commands(view, &proposal)?,
            None => drop(self.gate.permit_commands(proposal).await?),
        }
        Ok(())
    }

    /// Writes, lists and reads the sentinel. What is to be known although it went well.
    async fn try_outside(
        &self,
        session: &Session,
        view: &View,
        target: &Target,
        tag: &str,
    ) -> Result<Vec<String>, SqlError> {
        if matches!(session.block.open().map(|open| &open.phase), Some(Phase::Writing { .. })) {
            let message = format!("{tag} cannot look outside in a transaction that has changed something");
            return Err(SqlError::new(ACTIVE_SQL_TRANSACTION, message)
                .with_hint("Everybody's changes would wait for it. Run it by itself, or WITH SKIP_CHECK."));
        }
        let user = view.state().principal_name(session.actor.session).to_string();
        unless_cancelled(session, self.outside.sentinel(view, &user, target)).await
    }

    async fn check_outside(
        &self,
        session: &mut Session,
        uri: &ConnectionUri,
        options: Options,
        scope: Scope,
    ) -> Result<Response, SqlError> {
        let view = self.gate.view().await?;
        self.outside.approved(&view, session.actor, uri.expose())?;
        let asked = (&*view, session.actor);
        let checked = everywhere::check(&self.outside, &self.activity, scope, asked, uri.expose(), options);
        let said = unless_cancelled(session, async { Ok::<_, SqlError>(checked.await) }).await?;
        let rows = external::checked(said);
        let columns = external::columns(&ExternalStatement::Check { uri: uri.clone(), options, scope });
        Ok(Response {
            tag: format!("CHECK EXTERNAL CONNECTION {}", rows.len()),
            rows: Some(Rows { columns: columns.unwrap_or_default(), rows, held: Share::default() }),
            copy: None,
        })
    }
}
