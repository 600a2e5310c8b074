//! `grantd.read`: queries on the newest rows that their node has, outside of transactions.
//!
//! The rows are as old as the node is behind. Rights are not: they go nowhere before it is sure that nothing which was taken
//! away is missing in the catalog that they were read on. The node's read lease says so; without one the leader is asked.

use std::sync::Arc;
use std::time::Duration;

use grantd_catalog::view::View;
use grantd_raft::rows::{RowSet, Value};

use super::{Engine, Prepared, Response, cancel_check, plan_rows, response, run, unless_cancelled};
use crate::activity::Cancelled;
use crate::error::{SqlError, state};
use crate::gate::{Freshness, ReadOutcome};
use crate::session::Session;
use crate::sql::parse::Statement;
use crate::sql::parse::show::ShowStatement;
use crate::sql::plan::Plan;
use crate::sql::system::catalog;
use crate::sql::system::variable::{self, Reading};
use crate::value::SqlType;

/// How long a query waits for its node to have the version that it asks for: longer than an election.
const AT_LEAST_WAIT_MAX: Duration = Duration::from_secs(5);

/// What came of reading without waiting for what is newest.
pub(super) enum Here {
    /// It may be told.
    Answer(Box<Response>),
    /// It may not, or there is none: the query is to be read on this view.
    Newest(Arc<View>),
}

impl Engine {
    /// Waits until this node has the version that the session asks for.
    pub(super) async fn reached(&self, session: &Session) -> Result<(), SqlError> {
        let Reading::AtLeast(version) = variable::reading(session) else { return Ok(()) };
        let has = || self.gate.applied_view().version();
        if has() >= version {
            return Ok(());
        }
        let limit = variable::statement_timeout(session).unwrap_or(AT_LEAST_WAIT_MAX);
        let wait = unless_cancelled(session, self.gate.at_least(version));
        match tokio::time::timeout(limit.min(AT_LEAST_WAIT_MAX), wait).await {
            Ok(Ok(_)) => Ok(()),
            _ if session.cancelled.is_raised() => Err(SqlError::cancelled()),
            _ if has() >= version => Ok(()),
            Err(_) if limit < AT_LEAST_WAIT_MAX => Err(SqlError::cancelled()),
            Ok(Err(_)) | Err(_) => Err(SqlError::new(
                state::CANNOT_CONNECT_NOW,
                format!("this node has version {}, and not {version} yet", has()),
            )
            .with_hint("Try again, ask another node, or SET grantd.read = 'linearizable'.")),
        }
    }

    /// The plan of a query whose session is content with what is here; none: it is not, or what is here does not do.
    pub(super) fn planned_here(
        &self,
        session: &Session,
        statement: &Statement,
        hints: &[Option<SqlType>],
    ) -> Option<Plan> {
        let here = matches!(statement, Statement::Query(_))
            && session.block.open().is_none()
            && variable::reading(session) != Reading::Linearizable;
        let view = here.then(|| self.gate.applied_view())?;
        plan_rows(&view, session, statement, hints).ok()
    }

    /// Reads a query's rows, and makes sure of the catalog that they were read on.
    pub(super) async fn read_here(
        &self,
        session: &Session,
        prepared: &Prepared,
        values: &[Value],
    ) -> Result<Here, SqlError> {
        let own = self.gate.applied_view();
        let rows = self.rows_here(session, prepared, values, &own).await;
        // Behind the decision and the reading: see the rules of `grantd_raft::lease`.
        if let Some((tag, rows)) = rows {
            if self.gate.is_current(&own) {
                self.gate.count_local();
                return response(prepared, tag, rows).map(|told| Here::Answer(Box::new(told)));
            }
            return self.confirm_here(session, prepared, &own, (tag, rows)).await;
        }
        self.asked(session).await.map(Here::Newest)
    }

    /// What is newest, by the leader's word. In a node that is cut off: a refusal, at once.
    pub(super) async fn asked(&self, session: &Session) -> Result<Arc<View>, SqlError> {
        unless_cancelled(session, self.gate.asked()).await
    }

    /// EXPLAIN PRIVILEGE: a decision and its reasons, as fresh as the session asks for.
    pub(super) async fn explain_privilege(
        &self,
        session: &Session,
        statement: &ShowStatement,
    ) -> Result<Response, SqlError> {
        self.reached(session).await?;
        let freshness = match variable::reading(session) {
            Reading::Linearizable => Freshness::Linearizable,
            Reading::Local => Freshness::Local,
            Reading::AtLeast(version) => Freshness::AtLeast(version),
        };
        let explained = self.gate.decide(freshness, |view| self.shown(session, statement, view));
        unless_cancelled(session, explained).await?
    }

    /// Asks the leader what is newest.
    async fn confirm_here(
        &self,
        session: &Session,
        prepared: &Prepared,
        own: &Arc<View>,
        (tag, rows): (&'static str, RowSet),
    ) -> Result<Here, SqlError> {
        let newest = self.asked(session).await?;
        // What was decided on the one is decided on the other.
        if newest.state().is_unchanged_from(own.state()) {
            return response(prepared, tag, rows).map(|told| Here::Answer(Box::new(told)));
        }
        Ok(Here::Newest(newest))
    }

    /// The rows as the catalog `own` allows. None: it does not, or something else is wrong with them, which nobody is told
    /// before the newest catalog was asked.
    async fn rows_here(
        &self,
        session: &Session,
        prepared: &Prepared,
        values: &[Value],
        own: &Arc<View>,
    ) -> Option<(&'static str, RowSet)> {
        let hints = run::hints(&prepared.parameters);
        let plan = plan_rows(own, session, &prepared.statement, &hints).ok()?;
        run::same_columns(prepared, &plan).ok()?;
        if plan.changes().is_some() {
            return None;
        }
        let permit = self.gate.permit(own, session.actor, &plan.requirement).ok()?;
        let tables = plan.tables.keys().copied();
        let live = catalog::activity::fetch(self.live(), tables, session.actor, own).await.ok()?;
        let info = self.info(session, own, live);
        // Dropping the future raises it: the reader may still be at work then.
        let given_up = GivenUp(Cancelled::default());
        let cancel = cancel_check(session, &given_up.0);
        let (tag, values) = (plan.tag, values.to_vec());
        let read = self.gate.read(permit, move |rows| run::checked(&plan, rows, &values, info, cancel));
        match read.await {
            Ok(ReadOutcome::Done(Ok(rows))) => Some((tag, rows)),
            Ok(ReadOutcome::Done(Err(_)) | ReadOutcome::Behind(_)) | Err(_) => None,
        }
    }
}

struct GivenUp(Cancelled);

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.0.raise();
    }
}
