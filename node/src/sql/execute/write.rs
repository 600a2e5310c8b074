//! Changes of rows: run by the leader's writer, here or after forwarding.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use grantd_catalog::command::{Actor, NameContext};
use grantd_catalog::id::Version;
use grantd_catalog::require::Requirement;
use grantd_catalog::view::View;
use grantd_raft::rows::{CancelCheck, RowSet, Transaction, Value};

use super::run::{self, RunError};
use super::{Engine, Prepared, Response, cancel_check, copy, forward, plan_with, response};
use crate::activity::{Cancelled, Id};
use crate::error::{SqlError, state};
use crate::gate::{Gate, Permit, Write, WriteOutcome};
use crate::session::{SequenceValues, Session};
use crate::sql::parse::Statement;
use crate::sql::parse::copy::CopyStatement;
use crate::sql::plan::{Origin, Plan};
use crate::sql::system::context::{LiveRows, StatementInfo, now_micros};
use crate::sql::system::sequence::Sequences;
use crate::sql::system::variable::{self, Bounds};
use crate::value::{Datum, SqlType};
use grantd_catalog::refusal::Refusal;

/// How long a write looks for a leader before it is refused. Longer than an election.
pub(super) const FORWARD_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause before asking again who leads; it doubles up to [`PAUSE_MAX`].
pub(super) const PAUSE_FIRST: Duration = Duration::from_millis(10);
pub(super) const PAUSE_MAX: Duration = Duration::from_millis(500);
/// How often a leader is told that a statement is cancelled, until it answers.
pub(super) const INTERRUPT_INTERVAL: Duration = Duration::from_millis(20);

/// A statement on its way to the leader's writer.
pub(super) struct StatementWrite {
    pub(super) statement: Arc<Statement>,
    pub(super) types: Vec<SqlType>,
    pub(super) values: Vec<Value>,
    /// Of a COPY: where each row stands in the client's data.
    pub(super) lines: Vec<u64>,
    pub(super) actor: Actor,
    pub(super) context: NameContext,
    pub(super) node_id: u64,
    /// When its transaction began; none: when it runs.
    pub(super) now_micros: Option<i64>,
    pub(super) bounds: Bounds,
    pub(super) cancel: CancelCheck,
    /// Its number in the cluster, by which another node stops it.
    pub(super) id: Id,
    pub(super) given_up: Cancelled,
    /// Set when the writer takes it, before it looks at `cancel`: who gives it up first and then finds this unset knows
    /// that nothing will be changed.
    pub(super) begun: Arc<AtomicBool>,
    /// What the session remembers of sequences, and will when the write is done.
    pub(super) remembered: SequenceValues,
    pub(super) remembers: SequenceValues,
    pub(super) planned: Option<(Plan, Arc<View>)>,
    pub(super) result: Option<RowSet>,
}

impl Write for StatementWrite {
    fn plan(&mut self, view: &Arc<View>) -> Result<(Actor, Requirement), Refusal> {
        self.result = None;
        self.begun.store(true, Ordering::SeqCst);
        if (self.cancel)() {
            return Err(SqlError::cancelled().body);
        }
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
        let sequences = Arc::new(Sequences::of(self.remembered.clone()));
        let info = StatementInfo {
            view,
            sequences: Arc::clone(&sequences),
            actor: self.actor,
            context: self.context.clone(),
            now_micros: self.now_micros.unwrap_or_else(now_micros),
            node_id: self.node_id,
            session: None,
            memory: self.bounds.memory,
            live: LiveRows::new(),
            proposed: Arc::default(),
            kept: Arc::default(),
        };
        let outcome = match self.statement.as_ref() {
            Statement::Copy(CopyStatement::From(table)) => {
                let values = (self.types.as_slice(), self.values.as_slice(), self.lines.as_slice());
                copy::insert(table, &plan, values, rows, &info, &self.cancel)
            }
            _ => run::checked(&plan, rows, &self.values, info, Arc::clone(&self.cancel)),
        };
        match outcome {
            Ok(result) => {
                self.bounds.check_written(result.changes).map_err(|error| error.body)?;
                self.result = Some(result);
                self.remembers = sequences.session();
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
        session: &mut Session,
        prepared: &Prepared,
        parameters: &[Datum],
    ) -> Result<Response, SqlError> {
        let values = run::bound(prepared, parameters)?;
        self.write_bound(session, prepared, (values, Vec::new())).await
    }

    /// The same with values as the row store takes them; of a COPY, those of all its rows.
    pub(super) async fn write_bound(
        &self,
        session: &mut Session,
        prepared: &Prepared,
        (values, lines): (Vec<Value>, Vec<u64>),
    ) -> Result<Response, SqlError> {
        let deadline = Instant::now() + FORWARD_TIMEOUT;
        let mut pause = PAUSE_FIRST;
        let given_up = Cancelled::default();
        let mut write = StatementWrite {
            statement: Arc::clone(&prepared.statement),
            types: prepared.parameters.clone(),
            values,
            lines,
            actor: session.actor,
            context: session.name_context(),
            node_id: self.gate.node_id(),
            now_micros: None,
            bounds: variable::bounds(session),
            cancel: cancel_check(session, &given_up),
            id: self.activity.own().next_id(),
            given_up,
            begun: Arc::default(),
            remembered: session.sequences.clone(),
            remembers: session.sequences.clone(),
            planned: None,
            result: None,
        };
        loop {
            let (outcome, back) = run_here(&self.gate, write, &session.cancelled).await?;
            let done = match outcome {
                WriteOutcome::Written(version) => {
                    back.result.clone().map(|rows| (version, rows, back.remembers.clone()))
                }
                WriteOutcome::NotLeader => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    self.forwarded(session, &prepared.text, &back, left).await?
                }
            };
            if let Some((version, rows, remembers)) = done {
                session.sequences = remembers;
                self.gate.at_least(version).await.map_err(written_elsewhere)?;
                let tag = tag(&prepared.statement);
                return response(prepared, tag, rows);
            }
            // No leader is known: an election is going on. Nothing was done so far.
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || session.cancelled.is_raised() {
                return Err(no_leader(session));
            }
            let _ = tokio::time::timeout(pause.min(left), session.cancelled.raised()).await;
            pause = (pause * 2).min(PAUSE_MAX);
            write = back;
        }
    }

    /// Sends a write to the leader. Cancelled, it is still waited for, as it may be done; meanwhile the leader is told to
    /// stop it, again and again, as it may not have come to it yet.
    async fn forwarded(
        &self,
        session: &Session,
        text: &str,
        write: &StatementWrite,
        left: Duration,
    ) -> Result<Option<Written>, SqlError> {
        let interrupt = async {
            session.cancelled.raised().await;
            loop {
                let _ = tokio::time::timeout(INTERRUPT_INTERVAL, self.activity.interrupt(write.id)).await;
                tokio::time::sleep(INTERRUPT_INTERVAL).await;
            }
        };
        tokio::select! {
            biased;
            answer = forward::ask(&self.gate, text, write, left) => answer,
            () = interrupt => Err(SqlError::cancelled()),
        }
    }
}

/// Runs a write here. One that the writer has not begun when it is cancelled is given up at once; one that it has begun
/// stops by itself, unless it is done.
async fn run_here(
    gate: &Gate,
    write: StatementWrite,
    cancelled: &Cancelled,
) -> Result<(WriteOutcome, StatementWrite), SqlError> {
    let (begun, given_up) = (Arc::clone(&write.begun), write.given_up.clone());
    let lock_timeout = write.bounds.lock_timeout;
    let mut running = std::pin::pin!(gate.write(write));
    let (outcome, back) = tokio::select! {
        biased;
        done = &mut running => done,
        () = waited_too_long(lock_timeout, &begun) => {
            given_up.raise();
            if !begun.load(Ordering::SeqCst) {
                return Err(SqlError::lock_timeout());
            }
            running.await
        }
        () = cancelled.raised() => {
            given_up.raise();
            if !begun.load(Ordering::SeqCst) {
                return Err(SqlError::cancelled());
            }
            running.await
        }
    };
    let back = back.ok_or_else(|| SqlError::internal("a write was lost"));
    Ok((outcome?, back?))
}

/// Returns when the writer did not take the write in time; never if it did.
async fn waited_too_long(limit: Option<Duration>, begun: &AtomicBool) {
    if let Some(limit) = limit {
        tokio::time::sleep(limit).await;
        if !begun.load(Ordering::SeqCst) {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// The change is made; that this node does not have it yet must not read as a refusal.
pub(super) fn written_elsewhere(refusal: Refusal) -> SqlError {
    SqlError::new(
        grantd_catalog::refusal::SqlState::new("40003"),
        format!("the rows were changed, and this node does not have the change yet: {}", refusal.message),
    )
}

pub(super) fn no_leader(session: &Session) -> SqlError {
    if session.cancelled.is_raised() {
        return SqlError::cancelled();
    }
    SqlError::new(state::CANNOT_CONNECT_NOW, "no leader was found")
        .with_hint("Nothing was changed. Ask another node, or try again; if it stays so everywhere, most nodes are down.")
}

pub(super) fn tag(statement: &Statement) -> &'static str {
    match statement {
        Statement::Insert(..) | Statement::Upsert(_) => "INSERT 0",
        Statement::Update(..) => "UPDATE",
        Statement::Delete(..) => "DELETE",
        Statement::Truncate(_) => "TRUNCATE",
        Statement::Copy(_) => "COPY",
        Statement::Explain(_) => "EXPLAIN",
        Statement::Query(_)
        | Statement::Named(_)
        | Statement::Empty
        | Statement::Table(_)
        | Statement::CreateView(_)
        | Statement::CreateFunction(_)
        | Statement::Activity(_)
        | Statement::External(_)
        | Statement::Job(_)
        | Statement::Backup(_)
        | Statement::Schedule(_)
        | Statement::Role(_)
        | Statement::Command(..)
        | Statement::Set(_)
        | Statement::Housekeeping(_)
        | Statement::Show(_)
        | Statement::Transaction(_) => "SELECT",
    }
}

/// What came of a write on the leader: the version that it is part of, its rows, and what the session remembers.
pub(super) type Written = (Version, RowSet, SequenceValues);

/// Runs what a follower forwarded, if this node leads. None: it does not.
pub(super) async fn serve(
    gate: &Gate,
    write: StatementWrite,
    cancelled: &Cancelled,
) -> Result<Option<Written>, SqlError> {
    let (outcome, back) = run_here(gate, write, cancelled).await?;
    match outcome {
        WriteOutcome::NotLeader => Ok(None),
        WriteOutcome::Written(version) => {
            let remembers = back.remembers;
            let done = back.result.map(|rows| (version, rows, remembers));
            done.map(Some).ok_or_else(|| SqlError::internal("a write has no result"))
        }
    }
}
