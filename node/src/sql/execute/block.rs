//! Statements in a transaction block, and those that begin and end it. `session::block` says where each runs; this does
//! it: on the session's snapshot until the first write, from then on at the leader.
//!
//! Names mean what the transaction sees; who may do what is decided at each statement on the newest view, and at COMMIT
//! once more by every node.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use grantd_catalog::id::{ObjectId, Version};
use grantd_catalog::object::Body;
use grantd_catalog::refusal::Refusal;
use grantd_catalog::view::View;
use grantd_raft::config::TURN_TIME_MAX;
use grantd_raft::entry::Proposal;
use grantd_raft::handle::ReadSet;
use grantd_raft::rows::Value;

use super::served::{Begun, Call, Reply, StatementCall};
use super::write::{FORWARD_TIMEOUT, INTERRUPT_INTERVAL, PAUSE_FIRST, PAUSE_MAX, no_leader, tag};
use super::{Engine, Prepared, Response, cancel_check, forward, plan_rows, response, run, unless_cancelled};
use crate::activity::{Cancelled, Id};
use crate::error::SqlError;
use crate::gate::{self, log_now, restart};
use crate::session::block::{Block, Holding, Kind, Phase, START, none_in_progress, read_only};
use crate::session::{Held, Notice, Session, Ticket};
use crate::sql::parse::Statement;
use crate::sql::parse::copy::CopyStatement;
use crate::sql::parse::transaction::{Modes, TransactionStatement};
use crate::sql::plan::Plan;
use crate::sql::system::catalog;
use crate::sql::system::context::now_micros;
use crate::sql::system::variable;
use crate::value::Datum;

/// How much longer than its session the leader waits for an idle transaction: it ends those of silent nodes.
const SILENCE: Duration = Duration::from_secs(2);

/// How long a commit or a change of the catalog is waited for: a large transaction is sent in parts that may take a
/// second each, and a change of a large table copies it. A leader that is gone is noticed much earlier.
const LARGE_TIMEOUT: Duration = Duration::from_secs(120);

impl Engine {
    /// BEGIN, COMMIT, ROLLBACK, savepoints, SET TRANSACTION.
    pub(super) async fn control(
        &self,
        session: &mut Session,
        statement: &TransactionStatement,
    ) -> Result<Response, SqlError> {
        let mut tag = statement.word();
        match statement {
            TransactionStatement::Begin(modes, _) => {
                session.block.allow()?;
                begin(session, Kind::Explicit, *modes);
            }
            TransactionStatement::Commit => {
                if matches!(session.block, Block::Idle) || session.block.is_implicit() {
                    warn(session, none_in_progress());
                }
                tag = self.commit(session).await?;
            }
            TransactionStatement::Rollback => {
                if matches!(session.block, Block::Idle) || session.block.is_implicit() {
                    warn(session, none_in_progress());
                }
                roll_back(session);
            }
            TransactionStatement::Savepoint(name) => {
                let writes = matches!(session.held, Held::Writer(_)) && session.block.open().is_some();
                let mark = match writes {
                    true => match self.ask(session, Call::Mark).await? {
                        Reply::Marked(mark) => mark,
                        other => return Err(out_of_turn(&other)),
                    },
                    false => START,
                };
                let before = session.before();
                session.block.savepoint(name.clone(), mark, before)?;
            }
            TransactionStatement::Release(name) => session.block.release(name)?,
            TransactionStatement::RollbackTo(name) => {
                let way = session.block.roll_back_to(name)?;
                session.put_back(way.before);
                match way.held {
                    Holding::Keep => {}
                    Holding::Release => session.held = Held::Nothing,
                    Holding::RollBackTo(mark) => {
                        let Reply::Done = self.ask(session, Call::RollBackTo(mark)).await? else {
                            return Err(SqlError::internal("a transaction did not go back"));
                        };
                    }
                }
            }
            TransactionStatement::Modes(modes) => match (session.block.open_mut(), modes.read_only) {
                (Some(open), Some(read_only)) => open.set_read_only(read_only)?,
                (Some(_), None) => {}
                (None, _) => {
                    session.block.allow()?;
                    warn(session, variable::only_in_blocks("SET TRANSACTION"));
                }
            },
        }
        Ok(Response { tag: tag.to_owned(), rows: None, copy: None })
    }

    /// Ends the block; all of it takes effect, or nothing. The tag: COMMIT, or what came of it.
    pub(super) async fn commit(&self, session: &mut Session) -> Result<&'static str, SqlError> {
        let open = match session.block.take() {
            Block::Idle => return Ok("COMMIT"),
            Block::Failed(failed) => {
                session.held = Held::Nothing;
                session.put_back(failed.before());
                return Ok("ROLLBACK");
            }
            Block::Open(open) => open,
        };
        session.cursors = Default::default();
        if let Held::Writer(ticket) = std::mem::take(&mut session.held) {
            let id = ticket.id();
            let committed = match self.sent(id, Call::Commit).await {
                Reply::Committed(version) => Ok(version),
                Reply::Refused(refusal) | Reply::Lost(refusal) => Err(refusal),
                other => Err(out_of_turn(&other).body),
            };
            let version = match committed {
                Ok(version) => {
                    ticket.used();
                    version
                }
                Err(refusal) => {
                    session.put_back(open.before());
                    return Err(refusal.into());
                }
            };
            if let Phase::Writing { proposals, .. } = &open.phase {
                self.record_changes(session, version, proposals);
            }
            if let Some(kept) = open.kept() {
                session.set_variables(kept);
            }
            self.gate.at_least(version).await.map_err(super::write::written_elsewhere)?;
            return Ok("COMMIT");
        }
        session.held = Held::Nothing;
        if let Some(kept) = open.kept() {
            session.set_variables(kept);
        }
        Ok("COMMIT")
    }

    /// A query in a block: on its snapshot, or at the leader once the block has written.
    pub(super) async fn read_in_block(
        &self,
        session: &mut Session,
        prepared: &Prepared,
        parameters: &[Datum],
        view: Option<Arc<View>>,
    ) -> Result<Response, SqlError> {
        self.reached(session).await?;
        let hints = run::hints(&prepared.parameters);
        if view.is_none()
            && let Some((plan, own)) =
                self.planned_again_elsewhere(session, &prepared.statement, &hints).await
            && !is_computed(&plan, &own)
        {
            run::same_columns(prepared, &plan)?;
            refuse_moves(session, &plan)?;
            return self.change_in_block(session, prepared, parameters).await;
        }
        let newest = match view {
            Some(view) => view,
            None => unless_cancelled(session, self.gate.view()).await?,
        };
        let own = self.seen(session, &newest).await?;
        let plan = plan_rows(&own, session, &prepared.statement, &hints)?;
        run::same_columns(prepared, &plan)?;
        if moved(&plan).is_some() {
            refuse_moves(session, &plan)?;
            return self.change_in_block(session, prepared, parameters).await;
        }
        let Some(open) = session.block.open_mut() else { return Err(no_block()) };
        if open.phase == Phase::Fresh && is_computed(&plan, &own) {
            return self.read(session, prepared, parameters, Some(newest)).await;
        }
        if open.phase == Phase::Fresh {
            let pinned = self.gate.pin().await?;
            open.phase = Phase::Reading(Default::default());
            session.held = Held::Snapshot(Box::new(pinned));
            // Planned anew, on exactly the catalog that the snapshot has.
            let own = self.seen(session, &newest).await?;
            let view = if own.version() > newest.version() { own } else { newest };
            return Box::pin(self.read_in_block(session, prepared, parameters, Some(view))).await;
        }
        match &open.phase {
            Phase::Reading(_) => self.read_pinned(session, plan, (prepared, parameters), &newest).await,
            Phase::Writing { .. } if is_computed(&plan, &own) => {
                self.read_computed(session, plan, (prepared, parameters), &own).await
            }
            Phase::Writing { .. } => self.change_in_block(session, prepared, parameters).await,
            Phase::Fresh | Phase::Lost => Err(no_block()),
        }
    }

    /// On the snapshot. The right to is decided on the newest view.
    async fn read_pinned(
        &self,
        session: &mut Session,
        plan: Plan,
        (prepared, parameters): (&Prepared, &[Datum]),
        newest: &Arc<View>,
    ) -> Result<Response, SqlError> {
        let values = run::bound(prepared, parameters)?;
        let permit = self.gate.permit(newest, session.actor, &plan.requirement)?;
        let live = catalog::activity::fetch(self.live(), plan.tables.keys().copied(), session.actor, newest);
        let live = unless_cancelled(session, live).await?;
        let Held::Snapshot(mut pinned) = std::mem::take(&mut session.held) else { return Err(no_block()) };
        let info = self.info(session, &pinned.view(), live);
        let cancel = cancel_check(session, &Cancelled::default());
        let (tag, tables) = (plan.tag, stored(&plan));
        let outcome = pinned.read(permit, move |rows| run::checked(&plan, rows, &values, info, cancel)).await;
        session.held = Held::Snapshot(pinned);
        let rows = outcome?.map_err(not_run)?;
        if let Some(Phase::Reading(read)) = session.block.open_mut().map(|open| &mut open.phase) {
            read.extend(tables);
        }
        response(prepared, tag, rows)
    }

    /// What is computed from the catalog and the session, which are here.
    async fn read_computed(
        &self,
        session: &mut Session,
        plan: Plan,
        (prepared, parameters): (&Prepared, &[Datum]),
        own: &Arc<View>,
    ) -> Result<Response, SqlError> {
        let values = run::bound(prepared, parameters)?;
        let permit = self.gate.permit(own, session.actor, &plan.requirement)?;
        let tables = plan.tables.keys().copied();
        let live = catalog::activity::fetch(self.live(), tables, session.actor, own);
        let live = unless_cancelled(session, live).await?;
        let info = self.info(session, own, live);
        let cancel = cancel_check(session, &Cancelled::default());
        let tag = plan.tag;
        let read = move |rows: &mut dyn grantd_raft::rows::Transaction| {
            run::checked(&plan, rows, &values, info, cancel)
        };
        let rows = self.gate.read_computed(permit, read).await?.map_err(not_run)?;
        response(prepared, tag, rows)
    }

    /// A change of rows, or a read of what the block has changed: at the leader.
    pub(super) async fn change_in_block(
        &self,
        session: &mut Session,
        prepared: &Prepared,
        parameters: &[Datum],
    ) -> Result<Response, SqlError> {
        let values = run::bound(prepared, parameters)?;
        self.change_bound(session, prepared, (values, Vec::new())).await
    }

    /// The same with values as the row store takes them; of a COPY, those of many rows.
    pub(super) async fn change_bound(
        &self,
        session: &mut Session,
        prepared: &Prepared,
        rows: (Vec<Value>, Vec<u64>),
    ) -> Result<Response, SqlError> {
        let sending = self.send_bound(session, prepared, rows).await?;
        self.sent_bound(session, prepared, sending).await
    }

    /// Begins to send one; until [`Engine::sent_bound`] has its answer the transaction is asked nothing else.
    pub(super) async fn send_bound(
        &self,
        session: &mut Session,
        prepared: &Prepared,
        (values, lines): (Vec<Value>, Vec<u64>),
    ) -> Result<Sending, SqlError> {
        self.enter(session).await?;
        let Held::Writer(ticket) = &session.held else { return Err(no_block()) };
        let statement = self.activity.own().next_id();
        let call = StatementCall {
            id: statement,
            text: Arc::clone(&prepared.text),
            statement: Arc::clone(&prepared.statement),
            types: prepared.parameters.clone(),
            values,
            lines,
            actor: session.actor,
            context: session.name_context(),
            remembered: session.sequences.clone(),
            now_micros: session.block.open().map_or_else(now_micros, |open| open.began_micros),
            bounds: variable::bounds(session),
        };
        let (engine, transaction, left) = (self.clone(), ticket.id(), FORWARD_TIMEOUT + SILENCE);
        let took = Arc::new(OnceLock::new());
        let took_there = Arc::clone(&took);
        let sent = async move {
            let began = Instant::now();
            let reply = engine.sent_at_once(transaction, Call::Run(Box::new(call)), left).await;
            took_there.get_or_init(|| began.elapsed());
            reply
        };
        Ok(Sending { statement, reply: sent.boxed(), took })
    }

    /// What came of it.
    pub(super) async fn sent_bound(
        &self,
        session: &mut Session,
        prepared: &Prepared,
        Sending { statement, reply, .. }: Sending,
    ) -> Result<Response, SqlError> {
        let reply = interrupted(session, reply, || self.activity.interrupt(statement)).await;
        match heard(session, reply)? {
            Reply::Rows(rows, remembers) => {
                session.sequences = remembers;
                if let Some(open) = session.block.open_mut() {
                    open.rows_written += rows.changes;
                }
                response(prepared, tag(&prepared.statement), rows)
            }
            other => Err(out_of_turn(&other)),
        }
    }

    /// A change of the catalog in a block.
    pub(super) async fn propose_in_block(
        &self,
        session: &mut Session,
        proposal: Proposal,
    ) -> Result<Vec<Refusal>, SqlError> {
        self.enter(session).await?;
        match self.ask(session, Call::Propose(proposal.clone())).await? {
            Reply::Proposed(notices) => {
                if let Some(Phase::Writing { proposals, .. }) =
                    session.block.open_mut().map(|open| &mut open.phase)
                {
                    proposals.push(proposal);
                }
                Ok(notices)
            }
            other => Err(out_of_turn(&other)),
        }
    }

    /// The catalog as the session's transaction sees it: that of its snapshot, or `newest` with its own changes.
    pub(super) async fn seen(&self, session: &Session, newest: &Arc<View>) -> Result<Arc<View>, SqlError> {
        let Some(open) = session.block.open() else { return Ok(Arc::clone(newest)) };
        match (&open.phase, &session.held) {
            (Phase::Reading(_), Held::Snapshot(pinned)) => Ok(pinned.view()),
            (Phase::Writing { base, proposals }, _) => {
                let newest = match newest.version() < *base {
                    true => self.gate.at_least(*base).await?,
                    false => Arc::clone(newest),
                };
                Ok(changed(newest, proposals)?)
            }
            (Phase::Fresh | Phase::Reading(_) | Phase::Lost, _) => Ok(Arc::clone(newest)),
        }
    }

    /// From now on the block runs at the leader.
    pub(super) async fn enter(&self, session: &mut Session) -> Result<(), SqlError> {
        let Some(open) = session.block.open() else { return Err(no_block()) };
        let read = match (&open.phase, &session.held) {
            (Phase::Writing { .. }, _) => return Ok(()),
            (Phase::Fresh, _) => None,
            (Phase::Reading(tables), Held::Snapshot(pinned)) => {
                Some(ReadSet { version: pinned.view().version(), tables: tables.clone() })
            }
            (Phase::Reading(_) | Phase::Lost, _) => return Err(restart("it cannot go on").into()),
        };
        let id = self.activity.own().next_id();
        let ticket = self.ticket(id);
        let idle = variable::idle_limit(session, true) + SILENCE;
        let bounds = variable::bounds(session);
        let patience = bounds.lock_timeout.and_then(|limit| Instant::now().checked_add(limit));
        let deadline = Instant::now() + FORWARD_TIMEOUT;
        let mut pause = PAUSE_FIRST;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let begun = self.begun(id, read.clone(), idle, TURN_TIME_MAX + SILENCE);
            let begun = unless_cancelled(session, begun);
            let begun = tokio::select! {
                biased;
                begun = begun => begun,
                () = until(patience) => return Err(SqlError::lock_timeout()),
            };
            match begun {
                Ok(Some(base)) => {
                    session.held = Held::Writer(ticket);
                    if let Some(open) = session.block.open_mut() {
                        open.phase = Phase::Writing { base, proposals: Vec::new() };
                    }
                    return Ok(());
                }
                // No leader is known: an election is going on.
                Ok(None) if left.is_zero() || session.cancelled.is_raised() => {
                    return Err(no_leader(session));
                }
                Ok(None) => {
                    let _ = tokio::time::timeout(pause.min(left), session.cancelled.raised()).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                Err(error) => {
                    if read.is_some() {
                        // What it has read is not so any more, or may not be.
                        lose(session);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Begins a transaction here if this node leads, else at the leader. None: nobody leads.
    async fn begun(
        &self,
        id: Id,
        read: Option<ReadSet>,
        idle: Duration,
        left: Duration,
    ) -> Result<Option<Version>, Refusal> {
        match self.served.begin(id, read.clone(), idle).await {
            Begun::Open(base) => Ok(Some(base)),
            Begun::Refused(refusal) => Err(refusal),
            Begun::NotLeader => forward::transaction::begin(&self.gate, id, read, idle, left).await,
        }
    }

    /// What rolls the transaction `id` back when it is dropped: wherever it is.
    fn ticket(&self, id: Id) -> Ticket {
        let (served, gate) = (self.served.clone(), self.gate.clone());
        let runtime = tokio::runtime::Handle::try_current();
        Ticket::new(
            id,
            Box::new(move || {
                if served.end(id) {
                    return;
                }
                if let Ok(runtime) = runtime {
                    runtime.spawn(async move {
                        // A leader that does not hear it ends what is idle for too long.
                        let _ = forward::transaction::call(&gate, id, &Call::RollBack, FORWARD_TIMEOUT).await;
                    });
                }
            }),
        )
    }

    /// Asks the session's transaction. An error that ends it is noted in the session.
    async fn ask(&self, session: &mut Session, call: Call) -> Result<Reply, SqlError> {
        let Held::Writer(ticket) = &session.held else { return Err(no_block()) };
        let reply = self.sent(ticket.id(), call).await;
        heard(session, reply)
    }

    /// Sends what is no statement to a transaction, here or at the leader.
    async fn sent(&self, transaction: Id, call: Call) -> Reply {
        let left = match &call {
            Call::Commit | Call::Propose(_) => LARGE_TIMEOUT,
            Call::Run(_) | Call::Mark | Call::RollBackTo(_) | Call::RollBack => FORWARD_TIMEOUT,
        };
        self.sent_at_once(transaction, call, left).await
    }

    async fn sent_at_once(&self, transaction: Id, call: Call, left: Duration) -> Reply {
        if !self.served.has(transaction) {
            return forward::transaction::call(&self.gate, transaction, &call, left).await;
        }
        let lost = || Reply::Lost(restart("it was idle for too long, or this node does not lead any more"));
        self.served.call(transaction, call).await.unwrap_or_else(lost)
    }
}

/// A statement on its way to its transaction.
pub(super) struct Sending {
    statement: Id,
    reply: BoxFuture<'static, Reply>,
    /// How long it took, once it is answered.
    took: Arc<OnceLock<Duration>>,
}

impl Sending {
    /// Lets it go on while the session does something else.
    pub(super) fn meanwhile(self) -> Self {
        let task = tokio::spawn(self.reply);
        let lost = move |_| Reply::Lost(restart("the statement met a bug in this node"));
        Self { reply: task.map(move |reply| reply.unwrap_or_else(lost)).boxed(), ..self }
    }

    /// How long it took, once it is answered.
    pub(super) fn took(&self) -> Arc<OnceLock<Duration>> {
        Arc::clone(&self.took)
    }
}

/// An error that ends the transaction is noted in the session.
fn heard(session: &mut Session, reply: Reply) -> Result<Reply, SqlError> {
    match reply {
        Reply::Refused(refusal) => Err(refusal.into()),
        Reply::Lost(refusal) => {
            lose(session);
            Err(refusal.into())
        }
        reply => Ok(reply),
    }
}

/// Waits for `reply`, of a statement: one that is cancelled is still waited for, as its transaction is asked one thing at a
/// time; from when the session's statement is cancelled on calls `interrupt` again and again.
async fn interrupted<I: Future<Output = ()>>(
    session: &Session,
    reply: impl Future<Output = Reply>,
    interrupt: impl Fn() -> I,
) -> Reply {
    let interrupts = async {
        session.cancelled.raised().await;
        loop {
            let _ = tokio::time::timeout(INTERRUPT_INTERVAL, interrupt()).await;
            tokio::time::sleep(INTERRUPT_INTERVAL).await;
        }
    };
    tokio::select! {
        biased;
        reply = reply => reply,
        () = interrupts => Reply::Refused(SqlError::cancelled().body),
    }
}

/// For ever if there is no such moment.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// Whether it undoes what a statement that was stopped has left.
pub(super) fn is_way_back(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Transaction(TransactionStatement::Rollback | TransactionStatement::RollbackTo(_))
    )
}

/// Begins a block.
pub(super) fn begin(session: &mut Session, kind: Kind, modes: Modes) {
    let read_only = modes.read_only.unwrap_or_else(|| variable::is_read_only_by_default(session));
    let before = session.before();
    if let Some(warning) = session.block.begin(kind, read_only, before, now_micros()) {
        warn(session, warning);
    }
}

fn roll_back(session: &mut Session) {
    session.held = Held::Nothing;
    match session.block.take() {
        Block::Idle => {}
        Block::Open(open) | Block::Failed(open) => session.put_back(open.before()),
    }
}

/// The transaction has ended where it ran.
fn lose(session: &mut Session) {
    if let Held::Writer(ticket) = std::mem::take(&mut session.held) {
        ticket.used();
    }
    if let Some(open) = session.block.open_mut() {
        open.phase = Phase::Lost;
    }
}

/// Whether the session's transaction takes such a statement: 25P02, 25006.
pub(super) fn may_run(session: &Session, statement: &Statement) -> Result<(), SqlError> {
    if !matches!(statement, Statement::Transaction(_)) {
        session.block.allow()?;
    }
    match changing(statement) {
        Some(word) => refuse_read_only(session, word),
        None => Ok(()),
    }
}

/// 25006, if the session's transaction takes no changes.
pub(super) fn refuse_read_only(session: &Session, word: &str) -> Result<(), SqlError> {
    let by_default = || variable::is_read_only_by_default(session);
    match session.block.is_read_only().unwrap_or_else(by_default) {
        true => Err(read_only(word).into()),
        false => Ok(()),
    }
}

/// 25006, if a query does what such a transaction does not.
fn refuse_moves(session: &Session, plan: &Plan) -> Result<(), SqlError> {
    moved(plan).map_or(Ok(()), |word| refuse_read_only(session, word))
}

/// What a query is called in messages that runs where changes do.
fn moved(plan: &Plan) -> Option<&'static str> {
    plan.changes().or_else(|| plan.locks.then_some("SELECT FOR UPDATE"))
}

/// What a statement that changes data is called in messages; none: it changes nothing.
fn changing(statement: &Statement) -> Option<&'static str> {
    match statement {
        Statement::Insert(..) => Some("INSERT"),
        Statement::Upsert(_) => Some("UPSERT"),
        Statement::Update(..) => Some("UPDATE"),
        Statement::Delete(..) => Some("DELETE"),
        Statement::Truncate(_) => Some("TRUNCATE TABLE"),
        Statement::Copy(CopyStatement::From(_)) => Some("COPY FROM"),
        Statement::Table(statement) => Some(statement.tag()),
        Statement::CreateView(_) => Some("CREATE VIEW"),
        Statement::CreateFunction(_) => Some("CREATE FUNCTION"),
        Statement::Role(role) => Some(role.word()),
        Statement::External(statement) => statement.changing(),
        Statement::Job(statement) => statement.changing(),
        Statement::Backup(statement) => statement.changing(),
        Statement::Schedule(statement) => statement.changing(),
        Statement::Command(_, tag) => Some(tag),
        Statement::Empty
        | Statement::Query(_)
        | Statement::Activity(_)
        | Statement::Set(_)
        | Statement::Show(_)
        | Statement::Copy(_)
        | Statement::Housekeeping(_)
        | Statement::Explain(_)
        // What EXECUTE names is asked about itself.
        | Statement::Named(_)
        | Statement::Transaction(_) => None,
    }
}

/// `newest` with a transaction's own changes of it. They are decided again: 42501 tells of one that was allowed when it
/// was made and is not any more.
fn changed(newest: Arc<View>, proposals: &[Proposal]) -> Result<Arc<View>, Refusal> {
    if proposals.is_empty() {
        return Ok(newest);
    }
    let next = Version(newest.version().0 + 1);
    let mut state = newest.state().clone();
    let mut changes = Vec::new();
    for proposal in proposals {
        for command in &proposal.commands {
            let (actor, context) = (proposal.actor, &proposal.context);
            let outcome = state.apply(next, log_now(), actor, context, command, &mut changes);
            if let grantd_catalog::command::Outcome::Refused(refusal) = outcome {
                return Err(refusal);
            }
        }
    }
    Ok(Arc::new(newest.next(next, state)))
}

/// The tables whose rows a statement reads, by itself or within views.
fn stored(plan: &Plan) -> Vec<ObjectId> {
    let within = plan.expansions.values().flat_map(|expansion| expansion.reads.iter());
    plan.tables.keys().chain(within).copied().collect()
}

/// Whether a query reads no stored row.
fn is_computed(plan: &Plan, view: &View) -> bool {
    let is_virtual = |id: &ObjectId| {
        view.state().object(*id).is_some_and(|object| matches!(object.body, Body::VirtualTable))
    };
    stored(plan).iter().all(is_virtual)
}

fn warn(session: &mut Session, body: Refusal) {
    session.notices.push(Notice { severity: "WARNING", body });
}

fn not_run(error: run::RunError) -> SqlError {
    match error {
        run::RunError::Sql(error) => error,
        run::RunError::Moved => SqlError::internal("a table of a snapshot's catalog is not in its rows"),
    }
}

fn no_block() -> SqlError {
    gate::restart("it has ended").into()
}

fn out_of_turn(reply: &Reply) -> SqlError {
    SqlError::internal(format!("a transaction answered what it was not asked: {reply:?}"))
}
