//! The engine that the protocol drives: prepare, describe, execute.
//!
//! Every execution plans and decides anew, on a view that contains everything acknowledged before it began: what was
//! prepared holds no right.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grantd_catalog::command::Command;
use grantd_catalog::require::{Need, Requirement};
use grantd_catalog::role::RoleOption;
use grantd_catalog::view::View;
use grantd_raft::entry::Proposal;
use grantd_raft::rows::{CancelCheck, RowSet};

use crate::activity::cluster::ClusterActivity;
use crate::activity::{Activity, Cancelled};
use crate::gate::{Gate, ReadOutcome, Replica, applied};
use crate::session::block::{Kind, Phase, Status};
use crate::session::{Notice, Session};
use crate::sql::error::{SqlError, state};
use crate::sql::parse::copy::CopyStatement;
use crate::sql::parse::session::SetStatement;
use crate::sql::parse::show::ShowStatement;
use crate::sql::parse::transaction::Modes;
use crate::sql::parse::{self, Statement};
use crate::sql::plan::{self, Change, Origin, Plan};
use crate::sql::system::catalog;
use crate::sql::system::context::{LiveRows, StatementInfo, now_micros};
use crate::sql::system::sequence::Sequences;
use crate::sql::system::{activity, show, variable};
use crate::sql::value::{ColumnInfo, Datum, SqlType};

use self::served::Served;

mod activity_statement;
mod copy;
mod block;
mod cursor;
mod foreign_key;
mod forward;
mod named;
mod password;
mod run;
mod served;
mod table;
mod write;

pub use self::copy::{Copy, CopyIn, CopyOut, RowSink};

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
    /// Of a COPY, what comes next; then the tag counts if it is known already.
    pub copy: Option<Copy>,
}

/// The rows of a result.
#[derive(Clone, Debug, PartialEq)]
pub struct Rows {
    /// Their columns.
    pub columns: Vec<ColumnInfo>,
    /// Each as long as `columns`.
    pub rows: Vec<Vec<Datum>>,
}

/// Runs statements of sessions against the cluster. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    gate: Gate,
    activity: ClusterActivity,
    served: Served,
}

/// Where a statement of the simple protocol stands in its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Alone.
    Alone,
    /// Before others: they are one transaction, unless they say otherwise.
    Inner,
    /// Behind others.
    Last,
}

impl Engine {
    /// An engine on `replica`, which from now on also runs what followers forward to it while it leads.
    pub fn new(replica: Arc<dyn Replica>) -> Self {
        let gate = Gate::new(Arc::clone(&replica));
        let activity = ClusterActivity::new(Activity::new(replica.node_id()), replica);
        let served = Served::new(gate.clone(), activity.own().clone());
        let server = forward::Server::new(gate.clone(), activity.own().clone(), served.clone());
        gate.serve_forwards(Arc::new(server));
        Self { gate, activity, served }
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
        Ok(parse::parse_all(text)?.into_iter().map(|(text, _)| text).collect())
    }

    /// Parses and types one statement. `hints`: parameter types that the client gave.
    pub async fn prepare(
        &self,
        session: &Session,
        text: &str,
        hints: &[Option<SqlType>],
    ) -> Result<Prepared, SqlError> {
        Ok(self.prepare_on_view(session, parse::parse(text)?, text, hints).await?.0)
    }

    /// Prepares one statement without parameters and executes it at once, as the simple protocol asks. One view does
    /// for both: the round that brought it began when the statement was here.
    pub async fn run(&self, session: &mut Session, text: &str, place: Place) -> Result<Response, SqlError> {
        let result = self.run_at(session, text, place).await;
        if result.is_err() {
            session.fail();
        }
        result
    }

    async fn run_at(&self, session: &mut Session, text: &str, place: Place) -> Result<Response, SqlError> {
        let statement = parse::parse(text)?;
        let controls = matches!(statement, Statement::Transaction(_));
        if place == Place::Inner && !controls && session.block.status() == Status::Idle {
            block::begin(session, Kind::Implicit, Modes::default());
        }
        let (prepared, view) = self.prepare_on_view(session, statement, text, &[]).await?;
        if !prepared.parameters.is_empty() {
            return Err(SqlError::no_parameter());
        }
        let mut response = self.execute_on_view(session, &prepared, &[], view).await?;
        if place == Place::Last && session.block.is_implicit() {
            match &mut response.copy {
                Some(Copy::In(_, sink)) => sink.commit_at_end(),
                Some(Copy::Out(_)) | None => drop(self.commit(session).await?),
            }
        }
        Ok(response)
    }

    /// The second value: the view that it was planned on, if it needed one.
    async fn prepare_on_view(
        &self,
        session: &Session,
        statement: Statement,
        text: &str,
        hints: &[Option<SqlType>],
    ) -> Result<(Prepared, Option<Arc<View>>), SqlError> {
        if !matches!(statement, Statement::Transaction(_)) {
            session.block.allow()?;
        }
        let mut planned_on = None;
        let (parameters, columns) = match &statement {
            Statement::Query(_)
            | Statement::Explain(_)
            | Statement::Insert(..)
            | Statement::Upsert(_)
            | Statement::Update(..)
            | Statement::Truncate(_)
            | Statement::Delete(..) => {
                let view = unless_cancelled(session, self.gate.view()).await?;
                let plan = plan_rows(&*self.seen(session, &view).await?, session, &statement, hints)?;
                planned_on = Some(view);
                (plan.parameters, plan.columns)
            }
            Statement::Show(statement) => (Vec::new(), Some(show::columns(statement))),
            Statement::Activity(statement) => (Vec::new(), activity::columns(statement)),
            Statement::Named(statement) => (Vec::new(), self.columns_of_named(session, statement).await?),
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
        let prepared = Prepared { parameters, columns, text: text.into(), statement: Arc::new(statement) };
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
        let result = self.execute_on_view(session, prepared, parameters, None).await;
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
        if session.cancelled.is_raised() {
            return Err(SqlError::cancelled());
        }
        block::may_run(session, &prepared.statement)?;
        let in_block = session.block.open().is_some();
        match prepared.statement.as_ref() {
            Statement::Copy(_) => self.copy(session, prepared, running).await,
            Statement::Housekeeping(statement) => self.housekeeping(session, statement).await,
            Statement::Empty => Ok(Response { tag: String::new(), rows: None, copy: None }),
            Statement::Transaction(statement) => self.control(session, statement).await,
            Statement::Named(statement) => self.named(session, statement, prepared).await,
            Statement::Query(_) | Statement::Explain(_) => match in_block {
                true => self.read_in_block(session, prepared, parameters, view).await,
                false => self.read(session, prepared, parameters, view).await,
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

    async fn set(&self, session: &mut Session, statement: &SetStatement) -> Result<Response, SqlError> {
        let view = self.view_if(session, variable::set_reads_catalog(statement)).await?;
        variable::set(session, &view, statement)?;
        Ok(Response { tag: statement.tag().to_owned(), rows: None, copy: None })
    }

    async fn show(&self, session: &Session, statement: &ShowStatement) -> Result<Response, SqlError> {
        let view = self.view_if(session, show::reads_catalog(statement)).await?;
        let needed = show::requirement(statement, &view, session)?;
        self.gate.permit(&view, session.actor, &needed)?;
        let (rows, tag) = show::rows(statement, &view, session)?;
        let tag = if tag == "SHOW" { tag.to_owned() } else { format!("{tag} {}", rows.len()) };
        Ok(Response { tag, rows: Some(Rows { columns: show::columns(statement), rows }), copy: None })
    }

    /// What needs nothing but the catalog.
    async fn plain_command(
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
    async fn stored(
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

    /// A change of the catalog.
    async fn command(
        &self,
        session: &mut Session,
        command: Command,
        tag: &str,
    ) -> Result<Response, SqlError> {
        let context = session.name_context();
        let proposal = Proposal { actor: session.actor, context, commands: vec![command] };
        let told = match session.block.open() {
            Some(_) => self.propose_in_block(session, proposal).await?,
            None => {
                let permit = self.gate.permit_commands(proposal).await?;
                let receipt = self.gate.propose(permit).await?;
                applied(&receipt)?;
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

    /// A query, on this node's own rows.
    ///
    /// One that moves a sequence is a write.
    async fn read(
        &self,
        session: &mut Session,
        prepared: &Prepared,
        parameters: &[Datum],
        view: Option<Arc<View>>,
    ) -> Result<Response, SqlError> {
        let values = run::bound(prepared, parameters)?;
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
            if plan.moves() {
                block::refuse_read_only(session, "nextval()")?;
                return self.write(session, prepared, parameters).await;
            }
            let permit = self.gate.permit(&view, session.actor, &plan.requirement)?;
            let tables = plan.tables.keys().copied();
            let live = catalog::activity::fetch(&self.activity, tables, session.actor, &view);
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
            live,
            sequences: Arc::new(Sequences::of(session.sequences.clone())),
            proposed: Arc::default(),
        }
    }
}

/// Whether somebody may ALTER ROLE … SET comes before what the variable takes. None: they may.
fn first_denied(view: &View, session: &Session, all_roles: bool) -> Option<SqlError> {
    let need = match all_roles {
        true => Need::Admin { action: "ALTER ROLE ALL ... SET".to_owned() },
        false => Need::Option(RoleOption::CreateRole),
    };
    view.state().check(session.actor.current, &need).err().map(SqlError::from)
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
        Statement::Insert(insert, with) => {
            plan::change(origin, with.as_deref(), Change::Insert(insert), hints)
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

/// True when the statement was cancelled or given up, or `statement_timeout` has passed.
fn cancel_check(session: &Session, given_up: &Cancelled) -> CancelCheck {
    let (cancelled, given_up) = (session.cancelled.clone(), given_up.clone());
    let deadline = variable::statement_timeout(session).and_then(|limit| Instant::now().checked_add(limit));
    let stopped = move || given_up.is_raised() || cancelled.is_raised();
    Arc::new(move || stopped() || deadline.is_some_and(|deadline| Instant::now() >= deadline))
}

/// How long a forwarded statement may take: `statement_timeout`, or the most that is waited for a leader.
fn time_left(session: &Session) -> Duration {
    variable::statement_timeout(session).unwrap_or(write::FORWARD_TIMEOUT).min(write::FORWARD_TIMEOUT)
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
        rows: Some(Rows { columns: columns.clone(), rows: converted }),
        copy: None,
    })
}
