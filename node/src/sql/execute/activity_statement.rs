//! SHOW SESSIONS, SHOW QUERIES, SHOW CLUSTER NODES, CANCEL: what `activity` finds and does, as a statement's result.

use std::sync::Arc;

use grantd_catalog::refusal::{Refusal, state};
use grantd_raft::rows::Share;
use sqlparser::ast;

use super::{Engine, Prepared, Response, Rows, plan_rows};
use crate::activity::cluster::{Listing, Scope};
use crate::activity::{Id, Target};
use crate::error::SqlError;
use crate::session::{Notice, Session};
use crate::sql::parse::Statement;
use crate::sql::parse::activity::{ActivityStatement, CANCEL_IDS_MAX, CancelIds, Listed};
use crate::sql::system::{activity, external};
use crate::value::Datum;

/// What a listing leaves out is said so: the rest is right all the same.
const WARNING: grantd_catalog::refusal::SqlState = grantd_catalog::refusal::SqlState::new("01000");

impl Engine {
    pub(super) async fn show_or_cancel(
        &self,
        session: &mut Session,
        statement: &ActivityStatement,
    ) -> Result<Response, SqlError> {
        let (rows, tag) = match statement {
            ActivityStatement::Show(listed, scope) => {
                let listing = self.listing(session, *scope).await?;
                match listed {
                    Listed::Sessions => (activity::sessions(&listing), "SHOW SESSIONS"),
                    Listed::Queries => (activity::queries(&listing), "SHOW QUERIES"),
                    Listed::Transactions => (activity::transactions(&listing), "SHOW TRANSACTIONS"),
                }
            }
            ActivityStatement::Nodes => (self.nodes(session).await?, "SHOW CLUSTER NODES"),
            ActivityStatement::Credentials(scope) => {
                let view = self.gate.view().await?;
                let asker = (&*view, session.actor);
                let rows = external::credentials(&self.outside, &self.activity, asker, *scope).await?;
                (rows, "SHOW CREDENTIALS")
            }
            ActivityStatement::Cancel { target, ids, if_exists } => {
                let ids = match ids {
                    CancelIds::Written(ids) => ids.clone(),
                    CancelIds::Query(query) => self.queried_ids(session, query).await?,
                };
                return self.cancel(session, *target, &ids, *if_exists).await;
            }
        };
        let columns = activity::columns(statement).unwrap_or_default();
        Ok(Response {
            tag: format!("{tag} {}", rows.len()),
            rows: Some(Rows { columns, rows, held: Share::default() }),
            copy: None,
        })
    }

    async fn listing(&self, session: &mut Session, scope: Scope) -> Result<Listing, SqlError> {
        let view = self.gate.view().await?;
        let listing = self.activity.sessions(&view, session.actor, scope).await;
        let silent =
            listing.silent.iter().map(|(node, reason)| format!("node {node} is not listed: {reason}"));
        let left_out = listing.left_out.iter().map(|(node, count)| {
            format!(
                "{count} sessions of node {node} are not listed: their statements are too long to be sent"
            )
        });
        let warning = |message| Notice { severity: "WARNING", body: Refusal::new(WARNING, message) };
        session.notices.extend(silent.chain(left_out).map(warning));
        Ok(listing)
    }

    async fn nodes(&self, session: &Session) -> Result<Vec<Vec<Datum>>, SqlError> {
        let view = self.gate.view().await?;
        activity::may_see_nodes(&view, session.actor)?;
        Ok(activity::nodes(&self.activity.nodes().await))
    }

    /// What a query names.
    async fn queried_ids(&self, session: &mut Session, query: &ast::Query) -> Result<Vec<String>, SqlError> {
        let mut ids = Vec::new();
        for cell in self.queried(session, query, "CANCEL").await? {
            match cell {
                Datum::Text(id) => ids.push(id),
                Datum::Null => {}
                _ => return Err(SqlError::syntax("CANCEL takes a query of one column of strings")),
            }
        }
        Ok(ids)
    }

    /// The one column of a query that stands in a statement, `word`. It is decided as any other query.
    pub(super) async fn queried(
        &self,
        session: &mut Session,
        query: &ast::Query,
        word: &str,
    ) -> Result<Vec<Datum>, SqlError> {
        let statement = Statement::Query(Box::new(query.clone()));
        let view = self.gate.view().await?;
        let plan = plan_rows(&view, session, &statement, &[])?;
        let one_column = plan.columns.as_ref().is_some_and(|columns| columns.len() == 1);
        if !plan.parameters.is_empty() || !plan.sequences.is_empty() || !one_column {
            return Err(SqlError::syntax(format!("{word} takes a query of one column without parameters")));
        }
        let text = String::new().into();
        let prepared = Prepared {
            parameters: Vec::new(),
            columns: plan.columns,
            text,
            statement: Arc::new(statement),
            inquiry: None,
        };
        let rows = self
            .read(session, &prepared, &[], Some(view))
            .await?
            .rows
            .map(|rows| rows.rows)
            .unwrap_or_default();
        Ok(rows.into_iter().flatten().collect())
    }

    /// Stops one after the other, as the original does: the first that cannot be stopped ends it.
    async fn cancel(
        &self,
        session: &Session,
        target: Target,
        ids: &[String],
        if_exists: bool,
    ) -> Result<Response, SqlError> {
        if ids.len() > CANCEL_IDS_MAX {
            return Err(SqlError::too_large(format!("more than {CANCEL_IDS_MAX} in one CANCEL")));
        }
        let word = target.word();
        let parse = |text: &String| {
            let shown: String = text.chars().take(40).collect();
            Id::parse(text).ok_or_else(|| SqlError::syntax(format!("invalid {word} ID '{shown}'")))
        };
        let ids = ids.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let view = self.gate.view().await?;
        for id in &ids {
            let stopped = self.activity.stop(&view, session.actor, target, *id).await?;
            if !stopped && !if_exists {
                return Err(SqlError::new(
                    state::UNDEFINED_OBJECT,
                    format!("could not cancel {word} {id}: {word} ID {id} not found"),
                ));
            }
        }
        let tag = match target {
            Target::Query => "CANCEL QUERIES",
            Target::Session => "CANCEL SESSIONS",
        };
        Ok(Response { tag: format!("{tag} {}", ids.len()), rows: None, copy: None })
    }
}
