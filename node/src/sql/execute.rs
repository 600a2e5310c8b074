//! The engine that the protocol drives: prepare, describe, execute.
//!
//! Every execution plans and decides anew, on a view that contains everything acknowledged before it began: what was
//! prepared holds no right.

use std::fmt;
use std::sync::Arc;

use grantd_catalog::view::View;
use grantd_raft::rows::{CancelCheck, RowSet, Share};

use crate::activity::{Activity, Cancelled, cluster::ClusterActivity};
use crate::audit::Audit;
use crate::cloud::everywhere;
use crate::cloud::outside::Outside;
use crate::error::{SqlError, state};
use crate::gate::{Gate, ReadOutcome, Replica};
use crate::jobs::Nudge;
use crate::session::Session;
use crate::session::block::{Kind, Phase, Status};
use crate::sql::parse::Statement;
use crate::sql::parse::copy::CopyStatement;
use crate::sql::parse::transaction::Modes;
use crate::sql::plan::{self, Change, Origin, Plan};
use crate::sql::system::catalog;
use crate::sql::system::context::{LiveRows, StatementInfo, now_micros};
use crate::sql::system::sequence::Sequences;
use crate::sql::system::variable::Reading;
use crate::sql::system::{activity, backup, external, job, schedule, show, variable};
use crate::value::{ColumnInfo, Datum, SqlType};

use self::inquiry::Inquiry;
use self::limit::TimeLimit;
use self::local::Here;
use self::served::Served;
use self::texts::Texts;

mod limit;
mod activity_statement;
mod audited;
mod backup_statement;
mod copy;
mod block;
mod command;
mod cursor;
mod external_statement;
mod feed_statement;
mod feed_stream;
mod foreign_key;
mod forward;
mod job_statement;
mod local;
mod named;
mod inquiry;
mod password;
mod run;
mod served;
mod session_statement;
mod table;
mod texts;
mod write;

pub use self::copy::{CopiedRows, Copy, CopyIn, CopyOut, RowSink};
pub use self::cursor::columns as cursor_columns;
pub use self::feed_stream::FeedRows;

/// How often a statement is planned anew because the catalog or the rows moved on under it.
const REPLANS_MAX: usize = 16;

/// A statement that was parsed and typed, to be executed any number of times. Decided at each execution, never here.
#[derive(Clone)]
pub struct Prepared {
    /// Its parameters, `$1` first.
    pub parameters: Vec<SqlType>,
    /// Its columns; none: it returns no rows.
    pub columns: Option<Vec<ColumnInfo>>,
    text: Arc<str>,
    statement: Arc<Statement>,
    /// What it is if it is nothing but inquiries.
    inquiry: Option<Arc<Inquiry>>,
}

impl Prepared {
    /// Whether it is a COPY FROM.
    pub fn copies_in(&self) -> bool {
        matches!(*self.statement, Statement::Copy(CopyStatement::From(_)))
    }
}

/// Without the text: it may hold a password.
impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("parameters", &self.parameters)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

/// What a statement returned.
#[derive(Debug)]
pub struct Response {
    /// The command tag: `SELECT 3`, `GRANT`, `INSERT 0 1`. Empty: the statement was empty.
    pub tag: String,
    /// The rows, if it returns any.
    pub rows: Option<Rows>,
    /// Of a COPY and of a changefeed to the client, what comes next; of a COPY the tag counts if it is known already.
    pub copy: Option<Copy>,
}

/// The rows of a result.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// Their columns.
    pub columns: Vec<ColumnInfo>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<Datum>>,
    /// What they take of the memory that all results may have, until they are sent.
    pub held: Share,
}

/// Runs statements of sessions against the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    gate: Gate,
    audit: Audit,
    activity: ClusterActivity,
    outside: Outside,
    nudge: Nudge,
    served: Served,
    texts: Texts,
}

/// Where a statement stands in its text, or among the Executes before one Sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Alone.
    Alone,
    /// With others, which may follow: they are one transaction, unless they say otherwise.
    Inner,
    /// Behind others, as the last one.
    Last,
}

impl Engine {
    /// An engine on `replica`, which from now on also runs what followers forward to it while it leads.
    pub fn new(replica: Arc<dyn Replica>) -> Self {
        let gate = Gate::new(Arc::clone(&replica));
        let activity = ClusterActivity::new(Activity::new(replica.node_id()), replica);
        let outside = Outside::nowhere(gate.clone());
        let texts = Texts::default();
        let served = Served::new(gate.clone(), activity.own().clone(), texts.clone());
        let server = forward::Server::new(gate.clone(), activity.own().clone(), served.clone());
        gate.serve_forwards(Arc::new(server));
        Self { gate, audit: Audit::default(), activity, outside, nudge: Nudge::default(), served, texts }
    }

    /// The same, with a log of refusals and changes.
    #[must_use]
    pub fn audited(self, audit: Audit) -> Self {
        Self { audit, ..self }
    }

    /// The same, with what this node reaches outside.
    #[must_use]
    pub fn reaching(self, outside: Outside) -> Self {
        everywhere::answer(&outside, &self.activity);
        Self { outside, ..self }
    }

    /// What this node reaches outside.
    pub fn outside(&self) -> &Outside {
        &self.outside
    }

    /// What only running nodes know.
    fn live(&self) -> (&ClusterActivity, &Outside) {
        (&self.activity, &self.outside)
    }

    /// Where refusals and changes are recorded.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// The sessions of this node and, through it, of the others.
    pub fn activity(&self) -> &ClusterActivity {
        &self.activity
    }

    /// What acts are decided by.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Splits a simple query's text into its statements. One syntax error anywhere refuses the whole text (42601).
    pub fn split(&self, text: &str) -> Result<Vec<String>, SqlError> {
        self.texts.split(text)
    }

    /// Parses and types one statement. `hints`: parameter types that the client gave.
    pub async fn prepare(
        &self,
        session: &Session,
        text: &str,
        hints: &[Option<SqlType>],
    ) -> Result<Prepared, SqlError> {
        Ok(self.prepare_on_view(session, self.texts.parse(text)?, text, hints).await?.0)
    }

    /// The same, and the session keeps the view for the statement that it executes next, if that is here already: then
    /// one round to the leader does for both.
    pub async fn prepare_next(
        &self,
        session: &mut Session,
        text: &str,
        hints: &[Option<SqlType>],
    ) -> Result<Prepared, SqlError> {
        session.newest = None;
        let (prepared, view) = self.prepare_on_view(session, self.texts.parse(text)?, text, hints).await?;
        session.newest = view;
        Ok(prepared)
    }

    /// Prepares one statement without parameters and executes it at once, as the simple protocol asks. One view does
    /// for both: the round that brought it began when the statement was here.
    pub async fn run(&self, session: &mut Session, text: &str, place: Place) -> Result<Response, SqlError> {
        let limit = TimeLimit::of(session);
        let cancelled = session.cancelled.clone();
        let result = limit.hold(&cancelled, Box::pin(self.run_at(session, text, place))).await;
        if result.is_err() {
            session.fail();
        }
        result
    }

    async fn run_at(&self, session: &mut Session, text: &str, place: Place) -> Result<Response, SqlError> {
        session.newest = None;
        session.together = None;
        let statement = self.texts.parse(text)?;
        if !matches!(*statement, Statement::Transaction(_)) {
            begin_at(session, place);
        }
        let (prepared, view) = self.prepare_on_view(session, statement, text, &[]).await?;
        if !prepared.parameters.is_empty() {
            return Err(SqlError::no_parameter());
        }
        let response = self.execute_on_view(session, &prepared, &[], view).await?;
        // The rows of a COPY are still to come.
        if !matches!(response.copy, Some(Copy::In(..))) {
            self.end_at(session, place).await?;
        }
        Ok(response)
    }

    /// Ends a transaction that nobody began, if it ends with a statement in this place.
    async fn end_at(&self, session: &mut Session, place: Place) -> Result<(), SqlError> {
        match place {
            Place::Inner => Ok(()),
            Place::Alone | Place::Last => self.end_implicit(session).await,
        }
    }

    /// Ends a transaction that nobody began, if the session is in such: all of it takes effect, or nothing.
    pub async fn end_implicit(&self, session: &mut Session) -> Result<(), SqlError> {
        match session.block.is_implicit() {
            true => {
                session.newest = None;
                self.commit(session).await.map(drop)
            }
            false => Ok(()),
        }
    }

    /// The second value: the view that it was planned on, if it needed one.
    async fn prepare_on_view(
        &self,
        session: &Session,
        statement: Arc<Statement>,
        text: &str,
        hints: &[Option<SqlType>],
    ) -> Result<(Prepared, Option<Arc<View>>), SqlError> {
        if !matches!(*statement, Statement::Transaction(_)) {
            session.block.allow()?;
        }
        let (mut planned_on, mut inquiry) = (None, None);
        let (parameters, columns) = match &*statement {
            Statement::Query(_)
            | Statement::Explain(_)
            | Statement::Insert(..)
            | Statement::Upsert(_)
            | Statement::Update(..)
            | Statement::Truncate(_)
            | Statement::Delete(..) => {
                let again = match self.planned_here(session, &statement, hints) {
                    Some(plan) => Some(plan),
                    None => {
                        self.planned_again_elsewhere(session, &statement, hints).await.map(|(plan, _)| plan)
                    }
                };
                let plan = match again {
                    Some(plan) => plan,
                    None => {
                        let view = unless_cancelled(session, self.gate.view()).await?;
                        let own = self.seen(session, &view).await?;
                        planned_on = Some(view);
                        plan_rows(&own, session, &statement, hints)?
                    }
                };
                inquiry = Inquiry::of(&plan).map(Arc::new);
                (plan.parameters, plan.columns)
            }
            Statement::Show(statement) => (Vec::new(), Some(show::columns(statement))),
            Statement::Activity(statement) => (Vec::new(), activity::columns(statement)),
            Statement::External(statement) => (Vec::new(), external::columns(statement)),
            Statement::Job(statement) => (Vec::new(), job::columns(statement)),
            Statement::Backup(statement) => (Vec::new(), Some(backup::columns(statement))),
            Statement::Schedule(statement) => (Vec::new(), schedule::columns(statement)),
            Statement::Named(statement) => self.shape_of_named(session, statement, hints).await?,
            Statement::Empty
            | Statement::Table(_)
            | Statement::CreateView(_)
            | Statement::CreateFunction(_)
            | Statement::Role(_)
            | Statement::Command(..)
            | Statement::Copy(_)
            | Statement::Housekeeping(_)
            | Statement::Set(_)
            | Statement::Transaction(_) => (Vec::new(), None),
        };
        let prepared = Prepared { parameters, columns, text: text.into(), statement, inquiry };
        Ok((prepared, planned_on))
    }

    /// Executes a prepared statement.
    ///
    /// Cancellation: dropping the future does not undo a change that was proposed.
    pub async fn execute(
        &self,
        session: &mut Session,
        prepared: &Prepared,
        parameters: &[Datum],
    ) -> Result<Response, SqlError> {
        self.execute_at(session, prepared, parameters, Place::Alone).await
    }

    /// Executes a prepared statement that others may stand beside. They are one transaction, which lasts to
    /// [`Self::end_implicit`].
    pub async fn execute_at(
        &self,
        session: &mut Session,
        prepared: &Prepared,
        parameters: &[Datum],
        place: Place,
    ) -> Result<Response, SqlError> {
        let by_itself = match prepared.statement.as_ref() {
            Statement::Transaction(_) => true,
            // It would be refused in a block, and PostgreSQL too lets it be the first of several.
            Statement::Housekeeping(statement) => statement.tag == "VACUUM",
            _ => false,
        };
        if !by_itself {
            begin_at(session, place);
        }
        let view = session.newest.take();
        session.together = None;
        let limit = TimeLimit::of(session);
        let cancelled = session.cancelled.clone();
        let running = Box::pin(self.execute_on_view(session, prepared, parameters, view));
        let result = limit.hold(&cancelled, running).await;
        if result.is_err() {
            session.fail();
        }
        result
    }

    /// `view`: one that was asked for when this execution was; none: to be asked for.
    async fn execute_on_view(
        &self,
        session: &mut Session,
        prepared: &Prepared,
        parameters: &[Datum],
        view: Option<Arc<View>>,
    ) -> Result<Response, SqlError> {
        let running = session.begin(&prepared.text);
        if session.cancelled.is_raised() && !block::is_way_back(&prepared.statement) {
            return Err(SqlError::cancelled());
        }
        block::may_run(session, &prepared.statement)?;
        let in_block = session.block.open().is_some();
        match prepared.statement.as_ref() {
            Statement::Copy(_) => self.copy(session, prepared, running).await,
            Statement::Housekeeping(statement) => self.housekeeping(session, statement).await,
            Statement::Empty => Ok(Response { tag: String::new(), rows: None, copy: None }),
            Statement::Transaction(statement) => self.control(session, statement).await,
            Statement::Named(statement) => self.named(session, statement, (prepared, parameters)).await,
            Statement::Query(_) | Statement::Explain(_) => match (in_block, &prepared.inquiry) {
                (true, _) => self.read_in_block(session, prepared, parameters, view).await,
                (false, Some(inquiry)) if inquiry::are_short(parameters) => {
                    self.inquire(session, inquiry, (prepared, parameters), view).await
                }
                (false, _) => self.read(session, prepared, parameters, view).await,
            },
            Statement::Activity(statement) => {
                let cancelled = session.cancelled.clone();
                tokio::select! {
                    biased;
                    result = self.show_or_cancel(session, statement) => result,
                    () = cancelled.raised() => Err(SqlError::cancelled()),
                }
            }
            Statement::Insert(..)
            | Statement::Upsert(_)
            | Statement::Update(..)
            | Statement::Truncate(_)
            | Statement::Delete(..) => match in_block {
                true => self.change_in_block(session, prepared, parameters).await,
                false => self.write(session, prepared, parameters).await,
            },
            Statement::External(statement) => self.external(session, statement).await,
            Statement::Job(statement) => self.jobs(session, statement, running).await,
            Statement::Backup(asked) => Box::pin(self.backup(session, asked, &prepared.text)).await,
            Statement::Schedule(statement) => Box::pin(self.schedules(session, statement)).await,
            Statement::Table(statement) => self.table_statement(session, statement).await,
            Statement::CreateView(statement) => {
                let view = self.view_for_change(session).await?;
                let context = session.name_context();
                let origin = Origin { view: &view, actor: session.actor, context: &context };
                let (command, needed) = plan::object::view(origin, statement)?;
                self.stored(session, (command, &needed), &view, "CREATE VIEW").await
            }
            Statement::CreateFunction(statement) => {
                let view = self.view_for_change(session).await?;
                let context = session.name_context();
                let origin = Origin { view: &view, actor: session.actor, context: &context };
                let (command, needed) = plan::object::function(origin, statement)?;
                self.stored(session, (command, &needed), &view, "CREATE FUNCTION").await
            }
            Statement::Role(statement) => {
                let view = self.view_for_change(session).await?;
                let (command, tag) = password::hashed(view.state(), statement).await?;
                self.command(session, command, tag).await
            }
            Statement::Command(command, tag) => self.plain_command(session, command, tag).await,
            Statement::Set(statement) => self.set(session, statement).await,
            Statement::Show(statement) => self.show(session, statement).await,
        }
    }

    /// A plan upon what this node has applied, and upon which view, for a statement that the leader plans and decides again:
    /// that saves the round which the newest view costs. None: it has to be made upon that one. What was applied is not
    /// enough to refuse upon, nor to tell a client what columns come, but in a transaction that holds the writer: then the
    /// shape of nothing changes.
    async fn planned_again_elsewhere(
        &self,
        session: &Session,
        statement: &Statement,
        hints: &[Option<SqlType>],
    ) -> Option<(Plan, Arc<View>)> {
        let is_writing = matches!(session.block.open().map(|open| &open.phase), Some(Phase::Writing { .. }));
        let is_read = matches!(statement, Statement::Query(_) | Statement::Explain(_));
        if is_read && !is_writing {
            return None;
        }
        let own = self.seen(session, &self.gate.applied_view()).await.ok()?;
        let plan = plan_rows(&own, session, statement, hints).ok()?;
        let tells_nothing = plan.columns.is_none() && plan.parameters.is_empty();
        (is_writing || tells_nothing).then_some((plan, own))
    }

    /// What is newest of all, if it is `needed`; else what was applied here, which costs no round.
    async fn view_if(&self, session: &Session, needed: bool) -> Result<Arc<View>, SqlError> {
        let view = if needed { self.gate.view().await? } else { self.gate.applied_view() };
        match session.block.open().map(|open| &open.phase) {
            Some(Phase::Writing { .. }) => self.seen(session, &view).await,
            Some(Phase::Fresh | Phase::Reading(_) | Phase::Lost) | None => Ok(view),
        }
    }

    /// What a change of the catalog is planned on. In a block: as the leader's writer has it, which is taken.
    async fn view_for_change(&self, session: &mut Session) -> Result<Arc<View>, SqlError> {
        if session.block.open().is_some() {
            self.enter(session).await?;
        }
        let view = self.gate.view().await?;
        self.seen(session, &view).await
    }

    /// A query, on this node's own rows: as new as everything acknowledged before, unless the session asks for less.
    ///
    /// One that moves a sequence, or changes rows in its WITH, is a write.
    async fn read(
        &self,
        session: &mut Session,
        prepared: &Prepared,
        parameters: &[Datum],
        view: Option<Arc<View>>,
    ) -> Result<Response, SqlError> {
        let values = run::bound(prepared, parameters)?;
        self.reached(session).await?;
        let view = match view {
            None if variable::reading(session) != Reading::Linearizable => {
                match self.read_here(session, prepared, &values).await? {
                    Here::Answer(response) => return Ok(*response),
                    Here::Newest(view) => Some(view),
                }
            }
            view => view,
        };
        let hints = run::hints(&prepared.parameters);
        // Raised for good when this execution is given up: its reader may still be at work then, and the session's own
        // flag is for the next statement.
        let given_up = Cancelled::default();
        let cancel = cancel_check(session, &given_up);
        let mut view = match view {
            Some(view) => view,
            None => unless_cancelled(session, self.gate.view()).await?,
        };
        for _ in 0..REPLANS_MAX {
            let plan = plan_rows(&view, session, &prepared.statement, &hints)?;
            run::same_columns(prepared, &plan)?;
            if let Some(word) = plan.changes() {
                block::refuse_read_only(session, word)?;
                return self.write(session, prepared, parameters).await;
            }
            let permit = self.gate.permit(&view, session.actor, &plan.requirement)?;
            let tables = plan.tables.keys().copied();
            let live = catalog::activity::fetch(self.live(), tables, session.actor, &view);
            let live = unless_cancelled(session, live).await?;
            let info = self.info(session, &view, live);
            let (values, cancel) = (values.clone(), Arc::clone(&cancel));
            let tag = plan.tag;
            let read = self.gate.read(permit, move |rows| run::checked(&plan, rows, &values, info, cancel));
            let outcome = unless_cancelled(session, read).await;
            if outcome.is_err() {
                given_up.raise();
            }
            match outcome? {
                ReadOutcome::Done(Ok(rows)) => return response(prepared, tag, rows),
                ReadOutcome::Done(Err(run::RunError::Sql(error))) => return Err(error),
                ReadOutcome::Done(Err(run::RunError::Moved)) => {
                    view = unless_cancelled(session, self.gate.view()).await?;
                }
                ReadOutcome::Behind(version) => {
                    view = unless_cancelled(session, self.gate.at_least(version)).await?;
                }
            }
        }
        Err(SqlError::new(state::SERIALIZATION_FAILURE, "tables changed while the query was planned")
            .with_hint("Try again."))
    }

    fn info(&self, session: &Session, view: &Arc<View>, live: LiveRows) -> StatementInfo {
        StatementInfo {
            view: Arc::clone(view),
            actor: session.actor,
            context: session.name_context(),
            now_micros: session.block.open().map_or_else(now_micros, |open| open.began_micros),
            node_id: self.gate.node_id(),
            session: Some(Arc::new(session.clone())),
            memory: variable::bounds(session).memory,
            live,
            sequences: Arc::new(Sequences::of(session.sequences.clone())),
            proposed: Arc::default(),
            kept: Arc::default(),
        }
    }
}

/// Begins the transaction that a statement in this place is part of, unless it is in one or is one.
fn begin_at(session: &mut Session, place: Place) {
    if place == Place::Inner && session.block.status() == Status::Idle {
        block::begin(session, Kind::Implicit, Modes::default());
    }
}

/// Plans a query or a change of rows.
fn plan_rows(
    view: &View,
    session: &Session,
    statement: &Statement,
    hints: &[Option<SqlType>],
) -> Result<Plan, SqlError> {
    let context = session.name_context();
    plan_with(Origin { view, actor: session.actor, context: &context }, statement, hints)
}

/// The plan of a statement that reads or changes rows.
pub fn plan_with(
    origin: Origin<'_>,
    statement: &Statement,
    hints: &[Option<SqlType>],
) -> Result<Plan, SqlError> {
    match statement {
        Statement::Query(query) => plan::select(origin, query, hints),
        Statement::Insert(insert, with, overriding) => {
            plan::change(origin, with.as_deref(), Change::Insert(insert, *overriding), hints)
        }
        Statement::Upsert(insert) => plan::change(origin, None, Change::Upsert(insert), hints),
        Statement::Update(update, with) => {
            plan::change(origin, with.as_deref(), Change::Update(update), hints)
        }
        Statement::Delete(delete, with) => {
            plan::change(origin, with.as_deref(), Change::Delete(delete), hints)
        }
        Statement::Truncate(name) => plan::truncate(origin, name),
        Statement::Copy(CopyStatement::From(table)) => plan::copy::copy_in(origin, table, 1),
        Statement::Explain(explained) => plan_with(origin, explained, hints).map(Plan::explained),
        Statement::Named(_)
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
        | Statement::Copy(CopyStatement::To(_) | CopyStatement::Query(..))
        | Statement::Housekeeping(_)
        | Statement::Show(_)
        | Statement::Transaction(_) => {
            Err(SqlError::internal("a statement that has no rows was planned for them"))
        }
    }
}

/// What a statement waits for, until it is cancelled (57014). For waits that may be given up at any time.
async fn unless_cancelled<T, E: Into<SqlError>>(
    session: &Session,
    wait: impl Future<Output = Result<T, E>>,
) -> Result<T, SqlError> {
    tokio::select! {
        biased;
        result = wait => result.map_err(E::into),
        () = session.cancelled.raised() => Err(SqlError::cancelled()),
    }
}

/// True when the statement was stopped or given up.
fn cancel_check(session: &Session, given_up: &Cancelled) -> CancelCheck {
    let (cancelled, given_up) = (session.cancelled.clone(), given_up.clone());
    Arc::new(move || given_up.is_raised() || cancelled.is_raised())
}

/// What a client is told of the row store's rows.
fn response(prepared: &Prepared, tag: &str, rows: RowSet) -> Result<Response, SqlError> {
    let Some(columns) = &prepared.columns else {
        let counted = tag != "TRUNCATE";
        let tag = if counted { format!("{tag} {}", rows.changes) } else { tag.to_owned() };
        return Ok(Response { tag, rows: None, copy: None });
    };
    let count = if matches!(tag, "SELECT" | "EXPLAIN") { rows.rows.len() as u64 } else { rows.changes };
    let mut converted = Vec::with_capacity(rows.rows.len());
    for row in rows.rows {
        // A SELECT of no columns has one in the row store.
        if row.len() != columns.len().max(1) {
            return Err(SqlError::internal("the row store returned another number of columns"));
        }
        let cells = row.into_iter().zip(columns);
        converted.push(
            cells
                .map(|(value, column)| Datum::from_row(value, column.sql_type))
                .collect::<Result<Vec<_>, _>>()?,
        );
    }
    Ok(Response {
        tag: if tag == "EXPLAIN" { tag.to_owned() } else { format!("{tag} {count}") },
        rows: Some(Rows { columns: columns.clone(), rows: converted, held: rows.held }),
        copy: None,
    })
}
