//! Queries that are nothing but inquiries: `SELECT has_table_privilege($1, $2, $3)` and its kin, over parameters and
//! constants. They are answered on the session's task, by the functions that the row store would call: no statement of the
//! row store, no thread that may block, no copy of what the client sent.
//!
//! Which query is one is read off its plan when it is prepared, from the text that the row store would be given, so that
//! what is answered here is what would be answered there. It depends on nothing but that text and the parameters' types, as
//! PostgreSQL's own functions come before all of the catalog's.
//!
//! The two checks of a statement have nothing to say here: a query that names no relation, function or sequence of the
//! catalog touches nothing and requires nothing. [`Inquiry::of`] takes no plan that does.

use std::sync::Arc;

use grantd_catalog::view::View;
use grantd_raft::rows::{Share, Value};

use super::{Engine, Prepared, Response, Rows, run, unless_cancelled};
use crate::error::SqlError;
use crate::session::block::Status;
use crate::session::{Session, Together};
use crate::sql::plan::Plan;
use crate::sql::system::inquiry::{Asking, Given, Inquirer};
use crate::sql::system::variable::{self, Reading};
use crate::value::{Datum, SqlType};

/// Longer arguments go the ordinary way: to read a name takes the longer the longer it is, and others wait meanwhile.
const ARGUMENT_BYTES_MAX: usize = 512;
/// The most calls of a query that is answered here: the same holds of them.
const CALLS_MAX: usize = 64;
/// The most arguments of an inquiry.
const ARGUMENTS_MAX: usize = 4;

/// A query of inquiries, whose answers are its one row.
#[derive(Clone, Debug)]
pub(super) struct Inquiry {
    calls: Vec<Call>,
}

#[derive(Clone, Debug)]
struct Call {
    inquirer: Inquirer,
    arguments: Vec<Argument>,
}

#[derive(Clone, Debug, PartialEq)]
enum Argument {
    /// Counted from 0.
    Parameter(usize),
    Number(i64),
    Text(String),
    Null,
}

impl Inquiry {
    /// What a plan is if it is nothing but inquiries.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        let Plan {
            version: _,
            before,
            sql,
            parameters,
            columns,
            requirement,
            tables,
            sequences,
            expansions,
            locks,
            names: _,
            explains,
            tag,
            source,
            gone,
            kept,
        } = plan;
        let touches_nothing = before.is_empty()
            && requirement.needs.is_empty()
            && tables.is_empty()
            && sequences.is_empty()
            && expansions.is_empty()
            && kept.is_empty()
            && source.is_none()
            && gone.is_none();
        // Of these a parameter is taken as it came.
        let is_plain = |known: &SqlType| {
            use SqlType::{Int2, Int4, Int8, Name, Oid, Text, Varchar};
            matches!(known, Text | Varchar | Name | Int2 | Int4 | Int8 | Oid)
        };
        if !touches_nothing || *locks || *explains || *tag != "SELECT" || !parameters.iter().all(is_plain) {
            return None;
        }
        let calls = Reader(sql).calls()?;
        let fits = |call: &Call| {
            call.arguments.len() <= ARGUMENTS_MAX
                && call.arguments.iter().all(|argument| match argument {
                    Argument::Parameter(at) => *at < parameters.len(),
                    Argument::Text(text) => text.len() <= ARGUMENT_BYTES_MAX,
                    Argument::Number(_) | Argument::Null => true,
                })
        };
        let are_truths = columns.as_ref().is_some_and(|columns| {
            columns.len() == calls.len() && columns.iter().all(|column| column.sql_type == SqlType::Bool)
        });
        (are_truths && calls.len() <= CALLS_MAX && calls.iter().all(fits)).then_some(Self { calls })
    }

    /// Appends an answer for each call.
    fn answer(
        &self,
        asking: Asking<'_>,
        (types, parameters): (&[SqlType], &[Datum]),
        answers: &mut Vec<Option<bool>>,
    ) -> Result<(), SqlError> {
        // The row store takes them all before it calls anything.
        for (datum, expected) in parameters.iter().zip(types) {
            taken(datum, *expected)?;
        }
        let mut given = [Given::Null; ARGUMENTS_MAX];
        for call in &self.calls {
            for (place, argument) in given.iter_mut().zip(&call.arguments) {
                *place = match argument {
                    Argument::Parameter(at) => taken(&parameters[*at], types[*at])?,
                    Argument::Number(number) => Given::Number(*number),
                    Argument::Text(text) => Given::Text(text),
                    Argument::Null => Given::Null,
                };
            }
            let answer = call.inquirer.answer(asking, &given[..call.arguments.len()]);
            answers.push(answer.map_err(as_raised)?);
        }
        Ok(())
    }
}

/// An error as it comes out of the row store: a position would be one in an argument, and not in the statement.
fn as_raised(error: SqlError) -> SqlError {
    SqlError::new(error.body.code, error.body.message)
}

/// Whether parameters may be looked at here.
pub(super) fn are_short(parameters: &[Datum]) -> bool {
    let is_long = |datum: &Datum| matches!(datum, Datum::Text(text) if text.len() > ARGUMENT_BYTES_MAX);
    !parameters.iter().any(is_long)
}

/// A parameter, as the row store would take it.
fn taken(datum: &Datum, expected: SqlType) -> Result<Given<'_>, SqlError> {
    match datum {
        Datum::Text(text) if !text.contains('\0') && expected.int_range().is_none() => Ok(Given::Text(text)),
        other => match other.to_row(expected)? {
            Value::Null => Ok(Given::Null),
            Value::Integer(number) => Ok(Given::Number(number)),
            Value::Real(_) | Value::Text(_) | Value::Blob(_) => Ok(Given::Other),
        },
    }
}

/// Reads the row store's text of such a query: `SELECT g_…(?1, 'text', 5) AS k1, …`, and nothing else.
struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn calls(mut self) -> Option<Vec<Call>> {
        self.take("SELECT ")?;
        let mut calls = Vec::new();
        loop {
            calls.push(self.call()?);
            self.take(&format!(" AS k{}", calls.len()))?;
            if self.0.is_empty() {
                return Some(calls);
            }
            self.take(", ")?;
        }
    }

    fn call(&mut self) -> Option<Call> {
        let (name, rest) = self.0.split_once('(')?;
        let inquirer = Inquirer::named(name)?;
        self.0 = rest;
        let mut arguments = Vec::new();
        loop {
            arguments.push(self.argument()?);
            if self.take(")").is_some() {
                return Some(Call { inquirer, arguments });
            }
            self.take(", ")?;
        }
    }

    fn argument(&mut self) -> Option<Argument> {
        if self.take("?").is_some() {
            let number: usize = self.digits()?.parse().ok()?;
            return number.checked_sub(1).map(Argument::Parameter);
        }
        if self.take("NULL").is_some() {
            return Some(Argument::Null);
        }
        if self.take("'").is_some() {
            let mut text = String::new();
            loop {
                let (part, rest) = self.0.split_once('\'')?;
                text.push_str(part);
                self.0 = rest;
                if self.take("'").is_none() {
                    return Some(Argument::Text(text));
                }
                text.push('\'');
            }
        }
        self.digits()?.parse().ok().map(Argument::Number)
    }

    fn digits(&mut self) -> Option<String> {
        let end = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        let digits = digits.to_owned();
        self.0 = rest;
        (!digits.is_empty()).then_some(digits)
    }

    fn take(&mut self, word: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(word)?;
        Some(())
    }
}

impl Prepared {
    /// Whether it is nothing but inquiries.
    pub fn is_inquiry(&self) -> bool {
        self.inquiry.is_some()
    }
}

impl Engine {
    /// Answers an inquiry without waiting for anybody, into `answers`, which it empties, if that can be done: it is in no
    /// transaction, nobody stops it, and the view is here that it is answered from. None: it is to be executed.
    pub fn answer_at_once(
        &self,
        session: &mut Session,
        prepared: &Prepared,
        parameters: &[Datum],
        answers: &mut Vec<Option<bool>>,
    ) -> Option<Result<(), SqlError>> {
        answers.clear();
        let inquiry = prepared.inquiry.as_deref()?;
        let is_free = session.block.status() == Status::Idle && !session.cancelled.is_raised();
        if !is_free || parameters.len() != prepared.parameters.len() || !are_short(parameters) {
            return None;
        }
        if session.newest.is_some() && variable::reading(session) == Reading::Linearizable {
            let newest = session.newest.take()?;
            begin(session, newest, false);
        }
        if session.together.as_ref().is_some_and(|together| !together.by_lease) {
            tell(session, prepared);
            return Some(asked(session, inquiry, (prepared, parameters), answers));
        }
        let answered = self.by_lease(session, inquiry, (prepared, parameters), answers)?;
        tell(session, prepared);
        Some(answered)
    }

    /// The same, once the leader has said what is newest, if the view that is here does not do.
    pub(super) async fn inquire(
        &self,
        session: &mut Session,
        inquiry: &Inquiry,
        (prepared, parameters): (&Prepared, &[Datum]),
        view: Option<Arc<View>>,
    ) -> Result<Response, SqlError> {
        // As for every query, for the same errors.
        drop(run::bound(prepared, parameters)?);
        self.reached(session).await?;
        let mut answers = Vec::with_capacity(inquiry.calls.len());
        let told = match &view {
            Some(_) => None,
            None => self.by_lease(session, inquiry, (prepared, parameters), &mut answers),
        };
        match told {
            Some(told) => told?,
            None => {
                let view = match view {
                    Some(view) => view,
                    None if variable::reading(session) == Reading::Linearizable => {
                        unless_cancelled(session, self.gate.view()).await?
                    }
                    None => self.asked(session).await?,
                };
                begin(session, view, false);
                asked(session, inquiry, (prepared, parameters), &mut answers)?;
            }
        }
        let row = answers.into_iter().map(|answer| answer.map_or(Datum::Null, Datum::Bool)).collect();
        let columns = prepared.columns.clone().unwrap_or_default();
        let rows = Rows { columns, rows: vec![row], held: Share::default() };
        Ok(Response { tag: "SELECT 1".to_owned(), rows: Some(rows), copy: None })
    }

    /// Answers from what this node has applied, if the session is content with that and the node's lease says, behind the
    /// decision, that nothing which was taken away was missing in it. None: it does not say so, and nothing was answered.
    fn by_lease(
        &self,
        session: &mut Session,
        inquiry: &Inquiry,
        asks: (&Prepared, &[Datum]),
        answers: &mut Vec<Option<bool>>,
    ) -> Option<Result<(), SqlError>> {
        for _ in 0..LOOKS_MAX {
            if session.together.is_none() {
                let own = self.gate.applied_view();
                match variable::reading(session) {
                    Reading::Linearizable => return None,
                    Reading::AtLeast(version) if own.version() < version => return None,
                    Reading::Local | Reading::AtLeast(_) => begin(session, own, true),
                }
            }
            answers.clear();
            let answered = asked(session, inquiry, asks, answers);
            if session.together.as_ref().is_some_and(|together| self.gate.is_current(&together.view)) {
                return Some(answered);
            }
            session.together = None;
        }
        answers.clear();
        None
    }
}

/// How often a decision is made by the lease when the catalog changes meanwhile, before the leader is asked.
const LOOKS_MAX: usize = 2;

/// From now on inquiries are answered from `view`.
fn begin(session: &mut Session, view: Arc<View>, by_lease: bool) {
    let context = session.name_context();
    session.together = Some(Together { view, by_lease, context, told: None });
}

/// Tells whoever lists sessions which statement this is, unless it is the one before. It has ended before anybody could look.
fn tell(session: &mut Session, prepared: &Prepared) {
    let told = session.together.as_mut().map(|together| &mut together.told);
    if let Some(told) = told
        && !told.as_ref().is_some_and(|told| Arc::ptr_eq(told, &prepared.text))
    {
        *told = Some(Arc::clone(&prepared.text));
        drop(session.begin(&prepared.text));
    }
}

fn asked(
    session: &Session,
    inquiry: &Inquiry,
    (prepared, parameters): (&Prepared, &[Datum]),
    answers: &mut Vec<Option<bool>>,
) -> Result<(), SqlError> {
    let together = session.together.as_ref().ok_or_else(|| SqlError::internal("no view to ask"))?;
    let asking = Asking { view: &together.view, actor: session.actor, context: &together.context };
    inquiry.answer(asking, (&prepared.parameters, parameters), answers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(sql: &str) -> Option<Vec<Vec<Argument>>> {
        Some(Reader(sql).calls()?.into_iter().map(|call| call.arguments).collect())
    }

    #[test]
    fn only_calls_of_inquiries_over_parameters_and_constants_are_read() {
        use Argument::{Null, Number, Parameter, Text};
        let text = |text: &str| Text(text.to_owned());
        assert_eq!(
            calls("SELECT g_has_table_privilege(?2, 'it''s', 7) AS k1, g_pg_has_role(NULL, ?1) AS k2"),
            Some(vec![vec![Parameter(1), text("it's"), Number(7)], vec![Null, Parameter(0)]])
        );
        for other in [
            "SELECT g_has_table_privilege(?0, 'a') AS k1",
            "SELECT g_has_table_privilege(?1, 'a') AS k1 FROM t1",
            "SELECT g_has_table_privilege(?1, 'a') AS k1, 1 AS k2",
            "SELECT g_has_table_privilege(?1, 'a' || 'b') AS k1",
            "SELECT g_has_table_privilege(?1, g_current_user()) AS k1",
            "SELECT g_has_table_privilege(?1, 1.5) AS k1",
            "SELECT g_has_table_privilege(?1, 99999999999999999999) AS k1",
            "SELECT NOT g_has_table_privilege(?1, 'a') AS k1",
            "SELECT g_now() AS k1",
        ] {
            assert_eq!(calls(other), None, "{other}");
        }
    }
}
