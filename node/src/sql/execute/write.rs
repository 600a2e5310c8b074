//! Changes of rows: run by the leader's writer, here or after forwarding.

use std::sync::Arc;
use std::time::{Duration, Instant};

use grantd_catalog::command::{Actor, NameContext};
use grantd_catalog::require::Requirement;
use grantd_catalog::view::View;
use grantd_raft::rows::{CancelCheck, RowSet, Transaction, Value};

use super::run::{self, RunError};
use super::{Engine, Prepared, Response, cancel_check, forward, plan_with, response, time_left};
use crate::gate::{Gate, Permit, Write, WriteOutcome};
use crate::session::Session;
use crate::sql::error::{SqlError, state};
use crate::sql::parse::Statement;
use crate::sql::plan::{Origin, Plan};
use crate::sql::system::context::{StatementInfo, now_micros};
use crate::sql::value::{Datum, SqlType};
use grantd_catalog::refusal::Refusal;

/// How long a write looks for a leader before it is refused. Longer than an election.
pub(super) const FORWARD_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause before asking again who leads; it doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// A statement on its way to the leader's writer.
pub(super) struct StatementWrite {
    pub(super) statement: Arc<Statement>,
    pub(super) types: Vec<SqlType>,
    pub(super) values: Vec<Value>,
    pub(super) actor: Actor,
    pub(super) context: NameContext,
    pub(super) node_id: u64,
    pub(super) cancel: CancelCheck,
    pub(super) planned: Option<(Plan, Arc<View>)>,
    pub(super) result: Option<RowSet>,
}

impl Write for StatementWrite {
    fn plan(&mut self, view: &Arc<View>) -> Result<(Actor, Requirement), Refusal> {
        self.result = None;
        let origin = Origin { view, actor: self.actor, context: &self.context };
        let plan =
            plan_with(origin, &self.statement, &run::hints(&self.types)).map_err(|error| error.body)?;
        let requirement = plan.requirement.clone();
        self.planned = Some((plan, Arc::clone(view)));
        Ok((self.actor, requirement))
    }

    fn run(&mut self, _permit: &Permit, rows: &mut dyn Transaction) -> Result<(), Refusal> {
        let Some((plan, view)) = self.planned.take() else {
            return Err(SqlError::internal("a write ran before it was planned").body);
        };
        let info = StatementInfo {
            view,
            actor: self.actor,
            context: self.context.clone(),
            now_micros: now_micros(),
            node_id: self.node_id,
        };
        match run::checked(&plan, rows, &self.values, info, Arc::clone(&self.cancel)) {
            Ok(result) => {
                self.result = Some(result);
                Ok(())
            }
            Err(RunError::Sql(error)) => Err(error.body),
            // The writer's view and its rows are of one version.
            Err(RunError::Moved) => {
                Err(SqlError::internal("a table of the catalog is not in the row store").body)
            }
        }
    }
}

impl Engine {
    /// A change of rows: here if this node leads, else through the leader. Returns when this node has it too.
    pub(super) async fn write(
        &self,
        session: &Session,
        prepared: &Prepared,
        parameters: &[Datum],
    ) -> Result<Response, SqlError> {
        let values = run::bound(prepared, parameters)?;
        let deadline = Instant::now() + time_left(session);
        let mut pause = PAUSE_FIRST;
        let mut write = StatementWrite {
            statement: Arc::clone(&prepared.statement),
            types: prepared.parameters.clone(),
            values,
            actor: session.actor,
            context: session.name_context(),
            node_id: self.gate.node_id(),
            cancel: cancel_check(session),
            planned: None,
            result: None,
        };
        loop {
            let (outcome, back) = self.gate.write(write).await;
            let outcome = outcome?;
            let back = back.ok_or_else(|| SqlError::internal("a write was lost"))?;
            let done = match outcome {
                WriteOutcome::Written(version) => back.result.clone().map(|rows| (version, rows)),
                WriteOutcome::NotLeader => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    forward::ask(&self.gate, &prepared.text, &back, left).await?
                }
            };
            if let Some((version, rows)) = done {
                self.gate.at_least(version).await.map_err(written_elsewhere)?;
                let tag = tag(&prepared.statement);
                return response(prepared, tag, rows);
            }
            // No leader is known: an election is going on. Nothing was done so far.
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || session.cancelled.is_raised() {
                return Err(no_leader(session));
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(PAUSE_MAX);
            write = back;
        }
    }
}

/// The change is made; that this node does not have it yet must not read as a refusal.
fn written_elsewhere(refusal: Refusal) -> SqlError {
    SqlError::new(
        grantd_catalog::refusal::SqlState::new("40003"),
        format!("the rows were changed, and this node does not have the change yet: {}", refusal.message),
    )
}

fn no_leader(session: &Session) -> SqlError {
    if session.cancelled.is_raised() {
        return SqlError::cancelled();
    }
    SqlError::new(state::CANNOT_CONNECT_NOW, "no leader was found")
        .with_hint("Nothing was changed. Try again; if it stays so, most nodes are down or cut off.")
}

fn tag(statement: &Statement) -> &'static str {
    match statement {
        Statement::Insert(_) | Statement::Upsert(_) => "INSERT 0",
        Statement::Update(_) => "UPDATE",
        Statement::Delete(_) => "DELETE",
        Statement::Query(_)
        | Statement::Empty
        | Statement::CreateTable(_)
        | Statement::Role(_)
        | Statement::Command(..)
        | Statement::Set(_)
        | Statement::Show(_) => "SELECT",
    }
}

/// Runs what a follower forwarded, if this node leads. None: it does not.
pub(super) async fn serve(
    gate: &Gate,
    write: StatementWrite,
) -> Result<Option<(grantd_catalog::id::Version, RowSet)>, SqlError> {
    let (outcome, back) = gate.write(write).await;
    match outcome? {
        WriteOutcome::NotLeader => Ok(None),
        WriteOutcome::Written(version) => {
            let rows = back.and_then(|write| write.result);
            rows.map(|rows| Some((version, rows))).ok_or_else(|| SqlError::internal("a write has no result"))
        }
    }
}
