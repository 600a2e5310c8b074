//! COPY: where the client's rows go, and where its answer comes from.
//!
//! All rows of one COPY FROM are one change, done whole or not at all. A few go to the leader as one write; more as one
//! statement after the other of a transaction, the session's or one of their own. There they go through the planner's
//! INSERT into the row store, many with each of its statements.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use grantd_catalog::refusal::SqlState;
use grantd_raft::rows::{CancelCheck, RowSet, Transaction, Value};

use super::run::{self, RunError};
use super::{
    Engine, FeedRows, Place, Prepared, Response, Rows, TimeLimit, block, plan_rows, unless_cancelled,
};
use crate::activity::Running;
use crate::error::{SqlError, state};
use crate::session::Session;
use crate::session::block::{Kind, code};
use crate::sql::parse::Statement;
use crate::sql::parse::copy::{CopyOptions, CopyStatement, CopyTable};
use crate::sql::parse::transaction::Modes;
use crate::sql::plan::{self, Origin, Plan};
use crate::sql::system::context::StatementInfo;
use crate::value::{ColumnInfo, Datum, SqlType};

/// What the client is told to do next by a COPY, or goes on to get.
#[derive(Debug)]
pub enum Copy {
    /// To send rows.
    In(CopyIn, Box<dyn RowSink>),
    /// To take rows.
    Out(CopyOut),
    /// Rows of a changefeed, until it ends.
    Feed(FeedRows),
}

/// Rows that the client sends: what they are called in messages, their columns, how they are written.
#[derive(Clone, Debug)]
pub struct CopyIn {
    /// The table's name.
    pub relation: String,
    /// What a row consists of.
    pub columns: Vec<ColumnInfo>,
    /// How it is written.
    pub options: CopyOptions,
}

/// Rows that the client gets.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyOut {
    /// How they are written.
    pub options: CopyOptions,
    /// The rows.
    pub rows: Rows,
}

/// Rows that came.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CopiedRows {
    /// The values of one row after the other.
    pub values: Vec<Datum>,
    /// The line of the data that each row ends on, for messages.
    pub lines: Vec<u64>,
}

/// Where the rows of a COPY FROM go. Who drops it before it is finished fails the session's transaction.
pub trait RowSink: fmt::Debug + Send {
    /// Takes whole rows.
    fn push_batch<'a>(
        &'a mut self,
        session: &'a mut Session,
        rows: CopiedRows,
    ) -> BoxFuture<'a, Result<(), SqlError>>;

    /// There are no more rows. `place`: of the COPY, which tells whether a transaction that nobody began ends here.
    fn finish<'a>(
        self: Box<Self>,
        session: &'a mut Session,
        place: Place,
    ) -> BoxFuture<'a, Result<Response, SqlError>>;
}

/// So many rows go to the leader together, or fewer of so many bytes: what takes it a few hundredths of a second, far below
/// what one statement may take there.
const BATCH_ROWS: usize = 2_000;
const BATCH_BYTES: usize = 256 << 10;
/// A batch that took longer than this is followed by one of half as many rows, down to so few: however slow the leader is,
/// none comes near what one statement may take.
const BATCH_TIME: Duration = Duration::from_millis(400);
const BATCH_ROWS_MIN: usize = 50;
/// After this long fewer go too, so that a transaction whose client is slow is not taken for idle.
const SEND_INTERVAL: Duration = Duration::from_secs(1);
/// What a value takes in an entry beside its text or bytes, at least.
const VALUE_BYTES_MIN: usize = 2;
/// What a number takes in an entry.
const NUMBER_BYTES: usize = 9;

/// Rows on their way into a table.
struct TableSink {
    engine: Engine,
    prepared: Prepared,
    /// What was not sent yet.
    values: Vec<Value>,
    lines: Vec<u64>,
    bytes: usize,
    /// How many rows go together.
    batch_rows: usize,
    /// How many rows were sent, and when the last ones were.
    sent: usize,
    sent_at: Instant,
    /// What was sent last, until its answer is there: meanwhile the client's next rows are taken.
    sending: Option<block::Sending>,
    /// When the statement is stopped.
    limit: TimeLimit,
    /// As long as it is there the statement is seen to run.
    _running: Option<Running>,
}

/// Without the rows.
impl fmt::Debug for TableSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableSink").field("sent", &self.sent).finish_non_exhaustive()
    }
}

impl TableSink {
    fn take(&mut self, session: &Session, rows: CopiedRows) -> Result<(), SqlError> {
        if session.cancelled.is_raised() {
            return Err(SqlError::cancelled());
        }
        self.lines.extend(rows.lines);
        self.values.reserve(rows.values.len());
        for (datum, sql_type) in rows.values.iter().zip(self.prepared.parameters.iter().cycle()) {
            let value = datum.to_row(*sql_type)?;
            self.bytes += match &value {
                Value::Null => VALUE_BYTES_MIN,
                Value::Integer(_) | Value::Real(_) => NUMBER_BYTES,
                Value::Text(text) => text.len() + VALUE_BYTES_MIN,
                Value::Blob(bytes) => bytes.len() + VALUE_BYTES_MIN,
            };
            self.values.push(value);
        }
        Ok(())
    }

    /// Sends what is here into the session's transaction; if it has none, into one of this COPY.
    async fn send(&mut self, session: &mut Session) -> Result<(), SqlError> {
        if session.block.open().is_none() {
            block::begin(session, Kind::Implicit, Modes::default());
        }
        let values = std::mem::take(&mut self.values);
        let lines = std::mem::take(&mut self.lines);
        self.bytes = 0;
        self.sent_at = Instant::now();
        self.sent += values.len() / self.prepared.parameters.len().max(1);
        self.settle(session).await?;
        if !values.is_empty() {
            let sending = self.engine.send_bound(session, &self.prepared, (values, lines)).await?;
            self.sending = Some(sending.meanwhile());
        }
        Ok(())
    }

    /// Waits for what was sent last: one thing at a time, so that rows come in their order.
    async fn settle(&mut self, session: &mut Session) -> Result<(), SqlError> {
        let Some(sending) = self.sending.take() else { return Ok(()) };
        let took = sending.took();
        self.engine.sent_bound(session, &self.prepared, sending).await?;
        self.batch_rows = match took.get().is_some_and(|took| *took > BATCH_TIME) {
            true => (self.batch_rows / 2).max(BATCH_ROWS_MIN),
            false => (self.batch_rows * 2).min(BATCH_ROWS),
        };
        Ok(())
    }
}

impl RowSink for TableSink {
    fn push_batch<'a>(
        &'a mut self,
        session: &'a mut Session,
        rows: CopiedRows,
    ) -> BoxFuture<'a, Result<(), SqlError>> {
        let (limit, cancelled) = (self.limit, session.cancelled.clone());
        let pushed = async move {
            self.take(session, rows)?;
            let overdue = session.block.open().is_some() && self.sent_at.elapsed() >= SEND_INTERVAL;
            let width = self.prepared.parameters.len().max(1);
            match self.values.len() >= self.batch_rows * width || self.bytes >= BATCH_BYTES || overdue {
                true => self.send(session).await,
                false => Ok(()),
            }
        };
        async move { limit.hold(&cancelled, Box::pin(pushed)).await }.boxed()
    }

    fn finish<'a>(
        mut self: Box<Self>,
        session: &'a mut Session,
        place: Place,
    ) -> BoxFuture<'a, Result<Response, SqlError>> {
        let (limit, cancelled) = (self.limit, session.cancelled.clone());
        let finished = async move {
            self.take(session, CopiedRows::default())?;
            super::begin_at(session, place);
            if session.block.open().is_none() && !self.values.is_empty() {
                // Few rows: a write like others.
                let rows = (std::mem::take(&mut self.values), std::mem::take(&mut self.lines));
                return self.engine.write_bound(session, &self.prepared, rows).await;
            }
            if session.block.open().is_some() {
                self.send(session).await?;
                self.settle(session).await?;
            }
            self.engine.end_at(session, place).await?;
            Ok(Response { tag: format!("COPY {}", self.sent), rows: None, copy: None })
        };
        async move { limit.hold(&cancelled, Box::pin(finished)).await }.boxed()
    }
}

impl Engine {
    /// Begins a COPY: of rows that come, or with the rows that go.
    pub(super) async fn copy(
        &self,
        session: &mut Session,
        prepared: &Prepared,
        running: Option<Running>,
    ) -> Result<Response, SqlError> {
        let Statement::Copy(copy) = prepared.statement.as_ref() else {
            return Err(SqlError::internal("COPY is no COPY"));
        };
        let is_in = matches!(copy, CopyStatement::From(_));
        let view = match is_in {
            true => self.view_for_change(session).await?,
            false => {
                let newest = unless_cancelled(session, self.gate.view()).await?;
                self.seen(session, &newest).await?
            }
        };
        let context = session.name_context();
        let origin = Origin { view: &view, actor: session.actor, context: &context };
        let (query, options) = match copy {
            CopyStatement::From(table) => {
                // Before the client sends anything; decided again for each batch, and where it is applied.
                let plan = plan_rows(&view, session, &prepared.statement, &[])?;
                self.gate.permit(&view, session.actor, &plan.requirement)?;
                let (relation, columns) = plan::copy::columns(origin, table)?;
                let parameters = columns.iter().map(|column| column.sql_type.any_length()).collect();
                let sink = TableSink {
                    engine: self.clone(),
                    prepared: Prepared { parameters, ..prepared.clone() },
                    values: Vec::new(),
                    lines: Vec::new(),
                    batch_rows: BATCH_ROWS,
                    bytes: 0,
                    sent: 0,
                    sent_at: Instant::now(),
                    sending: None,
                    limit: TimeLimit::of(session),
                    _running: running,
                };
                let into = CopyIn { relation, columns, options: table.options.clone() };
                let copy = Some(Copy::In(into, Box::new(sink)));
                return Ok(Response { tag: "COPY".to_owned(), rows: None, copy });
            }
            CopyStatement::To(table) => (plan::copy::copy_out(origin, table)?, &table.options),
            CopyStatement::Query(query, options) => (query.clone(), options),
        };
        let statement = Statement::Query(query);
        let plan = plan_rows(&view, session, &statement, &[])?;
        if !plan.before.is_empty() {
            return Err(SqlError::unsupported("COPY of a WITH that changes rows"));
        }
        if !plan.parameters.is_empty() {
            return Err(SqlError::no_parameter());
        }
        let inner = Prepared { columns: plan.columns, statement: Arc::new(statement), ..prepared.clone() };
        let response = match session.block.open() {
            Some(_) => self.read_in_block(session, &inner, &[], None).await?,
            None => self.read(session, &inner, &[], Some(view)).await?,
        };
        let rows = response.rows.ok_or_else(|| SqlError::internal("a query without rows"))?;
        let tag = format!("COPY {}", rows.rows.len());
        let copy = Some(Copy::Out(CopyOut { options: options.clone(), rows }));
        Ok(Response { tag, rows: None, copy })
    }

    /// VACUUM and ANALYZE: whether one may. The row store keeps itself in order.
    pub(super) async fn housekeeping(
        &self,
        session: &Session,
        statement: &crate::sql::parse::copy::Housekeeping,
    ) -> Result<Response, SqlError> {
        // As in PostgreSQL, though nothing would be wrong with it here.
        if statement.tag == "VACUUM" && session.block.open().is_some() {
            let message = "VACUUM cannot run inside a transaction block";
            return Err(SqlError::new(code::ACTIVE_TRANSACTION, message));
        }
        let newest = unless_cancelled(session, self.gate.view()).await?;
        let view = self.seen(session, &newest).await?;
        let context = session.name_context();
        let origin = Origin { view: &view, actor: session.actor, context: &context };
        let needed = plan::copy::housekeeping(origin, statement)?;
        self.gate.permit(&view, session.actor, &needed)?;
        Ok(Response { tag: statement.tag.to_owned(), rows: None, copy: None })
    }
}

/// Puts the rows of a COPY into its table. `decided`: the plan whose requirement was decided, of one row.
pub(super) fn insert(
    copy: &CopyTable,
    decided: &Plan,
    (types, values, lines): (&[SqlType], &[Value], &[u64]),
    rows: &mut dyn Transaction,
    info: &StatementInfo,
    cancel: &CancelCheck,
) -> Result<RowSet, RunError> {
    let width = types.len();
    let planned_types = decided.parameters.iter().map(|known| known.any_length());
    if !planned_types.eq(types.iter().map(|known| known.any_length()))
        || width == 0
        || !values.len().is_multiple_of(width)
    {
        return Err(moved().into());
    }
    let origin = Origin { view: &info.view, actor: info.actor, context: &info.context };
    let planned = |count: usize| {
        let plan = plan::copy::copy_in(origin, copy, count)?;
        match plan.requirement == decided.requirement {
            true => Ok(plan),
            false => Err(SqlError::internal("more rows of a COPY need other rights")),
        }
    };
    let each = plan::copy::rows_each(width) * width;
    let mut result = RowSet::default();
    let mut plan: Option<(usize, Plan)> = None;
    for (at, part) in values.chunks(each).enumerate() {
        let fitting = match plan.take() {
            Some((length, plan)) if length == part.len() => plan,
            _ => planned(part.len() / width)?,
        };
        let mut one =
            |plan: &Plan, values| run::checked(plan, rows, values, info.clone(), Arc::clone(cancel));
        let inserted = match one(&fitting, part) {
            Err(RunError::Sql(error)) if is_of_row(&error) => {
                let lines = lines.get(at * each / width..).unwrap_or_default();
                let (relation, _) = plan::copy::columns(origin, copy)?;
                // What is inserted by this is undone with the rest.
                let single = planned(1)?;
                for (line, row) in lines.iter().zip(part.chunks(width)) {
                    match one(&single, row) {
                        Err(RunError::Sql(error)) if is_of_row(&error) => {
                            return Err(placed(error, &relation, *line).into());
                        }
                        Err(other) => return Err(other),
                        Ok(_) => {}
                    }
                }
                return Err(error.into());
            }
            inserted => inserted?,
        };
        result.changes += inserted.changes;
        plan = Some((part.len(), fitting));
    }
    Ok(result)
}

/// Whether a row is wrong, and not all of them: data exceptions and violated constraints.
fn is_of_row(error: &SqlError) -> bool {
    let code = error.body.code.as_str();
    code.starts_with("22") || code.starts_with("23")
}

/// The error with where it is, as those of values that cannot be read.
fn placed(error: SqlError, relation: &str, line: u64) -> SqlError {
    let place = format!("COPY {relation}, line {line}");
    let detail = match &error.body.detail {
        Some(detail) => format!("{detail} {place}"),
        None => place,
    };
    error.with_detail(detail)
}

/// 40001: the values were read for columns that are others now.
fn moved() -> SqlError {
    let code: SqlState = state::SERIALIZATION_FAILURE;
    SqlError::new(code, "restart transaction: the table's columns changed while rows were copied")
        .with_hint("Nothing was copied. Run the COPY again.")
}
