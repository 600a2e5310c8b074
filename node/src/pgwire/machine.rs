//! What one session says and hears after login, as a state machine: messages and results in, replies and the next
//! thing to do out. It does no I/O and never waits; `connection` drives it.
//!
//! Labels. P1: after an error in the extended protocol, everything up to Sync is skipped. P2: a simple query stops at
//! its first error and is answered by exactly one ReadyForQuery. P3: portals end at Sync, or with the transaction block
//! that they were made in. P4: all that is executed before one Sync is one transaction, however its bytes arrive.
//!
//! P4 asks for a block, and a statement that is alone before Sync does without, which costs less. So before a statement is
//! executed it is looked at what follows, which waits for it: nobody is owed an answer before Sync or Flush. What reads no
//! rows and changes nothing (an inquiry) begins none, as it would leave nothing in it.
//!
//! Source: PostgreSQL 18 manual, chapter 54.2 "Message Flow".

mod copy;
mod portal;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use grantd_catalog::refusal::state::{FEATURE_NOT_SUPPORTED, PROGRAM_LIMIT_EXCEEDED};

use crate::error::SqlError;
use crate::pgwire::datum::type_of_oid;
use crate::pgwire::frame::{FrameError, Message, Target};
use crate::pgwire::reply::{Replies, Severity, state};
use crate::session::block::Status;
use crate::session::{NamedText, Notice};
use crate::sql::execute::{CopiedRows, Copy, FeedRows, Place, Response, RowSink};
use crate::value::{ColumnInfo, Datum, SqlType};

use copy::{Copying, Sent};
use portal::{Portal, Portals, Progress, Run};

/// The most prepared statements of a session.
pub const STATEMENTS_MAX: usize = 4_096;
/// The most parameters of a statement: the protocol counts them in 16 bits.
pub const PARAMETERS_MAX: usize = 65_535;
/// The most portals between two Syncs: each may hold a result.
pub const PORTALS_MAX: usize = 64;
/// The most bytes of texts of prepared statements, and of parameters of portals, that a session holds.
pub const SESSION_BYTES_MAX: usize = 32 << 20;

/// A statement that was prepared: what the protocol must know of it, and the plan, which it hands back.
#[derive(Clone, Debug)]
pub struct Described<P> {
    /// Its parameters, `$1` first.
    pub parameters: Vec<SqlType>,
    /// Its columns; none: it returns no rows.
    pub columns: Option<Vec<ColumnInfo>>,
    /// Whether it is a COPY FROM: then the client may wait for its answer and send nothing before.
    pub copies_in: bool,
    /// Whether it reads no rows and changes nothing, and returns one row of truth values: it is no part of a transaction, so
    /// that it does not matter what follows, and may be answered at once.
    pub is_inquiry: bool,
    /// What the backend executes.
    pub plan: P,
}

/// What to do next. After each of them but the first and the last, the machine is told how it went.
#[derive(Debug)]
pub enum Next<P> {
    /// Give the next message to [`Machine::receive`]. Replies are sent before a wait for one.
    Read,
    /// Look at what comes next, without taking it, and tell [`Machine::looked`].
    Look,
    /// Send the replies, then call [`Machine::flushed`].
    Flush,
    /// Split the text of a simple query, then call [`Machine::split`].
    Split(String),
    /// Prepare and execute a statement of a simple query, then call [`Machine::executed`].
    Run(String, Place),
    /// Prepare a statement, then call [`Machine::prepared`].
    Prepare {
        /// Its text.
        text: String,
        /// The types of parameters that the client gave.
        hints: Vec<Option<SqlType>>,
    },
    /// Tell [`Machine::described`] the columns of the cursor of this name: a portal that DECLARE made.
    DescribeCursor(String),
    /// Execute a statement, then call [`Machine::executed`].
    Execute {
        /// The statement.
        statement: Arc<Described<P>>,
        /// A value for each of its parameters.
        parameters: Vec<Datum>,
        /// Where it stands among those before one Sync.
        place: Place,
    },
    /// End the transaction of a text or of what came since the last Sync, then call [`Machine::executed`].
    Commit,
    /// Give rows of a COPY to where they go, then call [`Machine::copied`].
    CopyRows {
        /// Where they go.
        sink: Box<dyn RowSink>,
        /// They.
        rows: CopiedRows,
    },
    /// The same with the last rows; finish it, then call [`Machine::executed`].
    CopyEnd {
        /// Where they go.
        sink: Box<dyn RowSink>,
        /// They.
        rows: CopiedRows,
        /// Where the COPY stands.
        place: Place,
    },
    /// Wait for more rows of a changefeed, then call [`Machine::fed`].
    Feed(FeedRows),
    /// Undo what the COPY that was begun has done, then call [`Machine::executed`] with the error.
    CopyFailed(SqlError),
    /// Send the replies and close the connection.
    Close,
}

/// What came of executing a statement.
#[derive(Debug)]
pub struct Executed {
    /// Its result.
    pub result: Result<Response, SqlError>,
    /// What the client is told beside it.
    pub notices: Vec<Notice>,
    /// Reported settings that have new values.
    pub changes: Vec<(&'static str, String)>,
}

/// One session's state of the protocol.
#[derive(Debug)]
pub struct Machine<P> {
    /// What is to be sent.
    pub replies: Replies,
    /// What the client is told of the session's transaction. Whoever drives the machine sets it before it tells of an
    /// execution; an error in a block fails it here too, and the session has to follow.
    pub block: Status,
    /// The prepared statements that have a name, for the session to list and DEALLOCATE.
    pub named: Arc<BTreeMap<String, NamedText>>,
    statements: BTreeMap<String, Prepared<P>>,
    portals: Portals<P>,
    pending: Pending<P>,
    skipping: bool,
    /// The COPY that the pending statement is, once it has begun.
    copying: Option<Copying>,
    /// Whether portals were bound since the last ReadyForQuery.
    bound: bool,
}

#[derive(Debug)]
struct Prepared<P> {
    statement: Arc<Described<P>>,
    bytes: usize,
}

/// What the machine waits for.
#[derive(Debug)]
enum Pending<P> {
    /// A message.
    Message,
    /// A Parse of this name and text.
    Parse { name: String, text: Arc<str> },
    /// A simple query; the statements that are still to come, and the result that is being sent.
    Simple { queue: VecDeque<String>, place: Place, run: Option<Run> },
    /// An Execute of this portal, which is out of the map meanwhile.
    Portal { name: String, portal: Portal<P>, rows_max: usize },
    /// The end of a transaction.
    Commit,
}

impl<P> Default for Machine<P> {
    fn default() -> Self {
        Self {
            replies: Replies::default(),
            block: Status::Idle,
            named: Arc::default(),
            statements: BTreeMap::new(),
            portals: Portals::default(),
            pending: Pending::Message,
            skipping: false,
            copying: None,
            bound: false,
        }
    }
}

impl<P> Machine<P> {
    /// Whether the client has been told that the server is ready and has sent nothing that is not answered.
    pub fn is_idle(&self) -> bool {
        matches!(self.pending, Pending::Message) && !self.skipping && !self.bound
    }

    /// Takes a message, or a frame that could not be taken apart; `tag` is the frame's.
    pub fn receive(&mut self, tag: u8, message: Result<Message, FrameError>) -> Next<P> {
        if matches!(self.copying, Some(Copying::In { .. })) {
            return self.receive_copy(tag, message);
        }
        debug_assert!(matches!(self.pending, Pending::Message), "one message at a time");
        let message = match message {
            Ok(message) => message,
            Err(FrameError::NotUtf8) if self.skipping => return Next::Read,
            Err(error @ FrameError::NotUtf8) => return self.unreadable(tag, &error),
            Err(error) => return self.fatal(&frame_error(&error)),
        };
        // P1: only Sync and Terminate count.
        if self.skipping && !matches!(message, Message::Sync | Message::Terminate) {
            return Next::Read;
        }
        match message {
            Message::Query(text) => self.query(text),
            Message::Parse { name, text, types } => self.parse(name, text, &types),
            Message::Bind(bind) => {
                self.bound = true;
                let bound = self.bind(bind);
                self.answer(bound)
            }
            Message::Describe(Target::Portal(name)) if !self.portals.contains_key(&name) => {
                Next::DescribeCursor(name)
            }
            Message::Describe(target) => {
                let described = self.describe(&target);
                self.answer(described)
            }
            Message::Execute { portal, rows_max } => self.execute(portal, rows_max),
            Message::Close(target) => {
                match target {
                    Target::Statement(name) => self.forget(&name),
                    Target::Portal(name) => drop(self.portals.remove(&name)),
                }
                self.replies.close_complete();
                Next::Read
            }
            Message::Flush => Next::Flush,
            Message::Sync => self.ready(),
            Message::Terminate => Next::Close,
            Message::FunctionCall => {
                self.replies.error(Severity::Error, &SqlError::unsupported("the function call protocol"));
                self.fail_block();
                self.ready()
            }
            Message::CopyData(_) | Message::CopyDone | Message::CopyFail(_) => Next::Read,
            Message::Password(_) => {
                self.fatal(&SqlError::new(state::PROTOCOL_VIOLATION, "unexpected password message"))
            }
        }
    }

    /// The columns of a cursor; none: there is none of this name.
    pub fn described(&mut self, name: &str, columns: Option<&[ColumnInfo]>) -> Next<P> {
        match columns {
            Some(columns) => {
                self.replies.description(Some(columns), &[]);
                Next::Read
            }
            None => self.fail(&no_portal(name)),
        }
    }

    /// The statements of a simple query.
    pub fn split(&mut self, statements: Result<Vec<String>, SqlError>) -> Next<P> {
        match statements {
            Err(error) => self.fail(&error),
            Ok(statements) if statements.is_empty() => {
                self.replies.complete("");
                self.ready()
            }
            Ok(statements) => {
                let place = if statements.len() == 1 { Place::Alone } else { Place::Inner };
                self.pending = Pending::Simple { queue: statements.into(), place, run: None };
                self.next_statement()
            }
        }
    }

    /// The statement that was to be prepared, and when that was.
    pub fn prepared(&mut self, statement: Result<Described<P>, SqlError>, now_micros: i64) -> Next<P> {
        let statement = match statement {
            Ok(statement) if statement.parameters.len() > PARAMETERS_MAX => {
                return self.fail(&too_many("parameters", "Split the statement into several ones."));
            }
            Ok(statement) => Arc::new(statement),
            Err(error) => return self.fail(&error),
        };
        match std::mem::replace(&mut self.pending, Pending::Message) {
            Pending::Parse { name, text } => {
                let bytes = text.len();
                if !name.is_empty() {
                    let types = statement.parameters.iter().map(|known| known.oid()).collect();
                    let known = NamedText { text, types, since_micros: now_micros };
                    Arc::make_mut(&mut self.named).insert(name.clone(), known);
                }
                self.statements.insert(name, Prepared { statement, bytes });
                self.replies.parse_complete();
                Next::Read
            }
            Pending::Message | Pending::Simple { .. } | Pending::Portal { .. } | Pending::Commit => {
                unreachable!("nothing was to be prepared")
            }
        }
    }

    /// The result of the statement that was to be executed.
    pub fn executed(&mut self, executed: Executed) -> Next<P> {
        for notice in &executed.notices {
            self.replies.notice(notice);
        }
        for (name, value) in &executed.changes {
            self.replies.parameter(name, value);
        }
        let mut response = match (executed.result, &self.pending) {
            (Err(error), _) => return self.fail(&error),
            (Ok(_), Pending::Commit) => return self.ready(),
            (Ok(response), _) => response,
        };
        match response.copy.take() {
            Some(Copy::In(into, sink)) => return self.begin_copy_in(into, sink),
            Some(Copy::Out(from)) => self.begin_copy_out(from),
            feed @ (Some(Copy::Feed(_)) | None) => response.copy = feed,
        }
        match &mut self.pending {
            Pending::Simple { run, .. } => {
                if let Some(rows) = &response.rows {
                    self.replies.description(Some(&rows.columns), &[]);
                }
                *run = Some(Run::new(response, Vec::new()));
            }
            Pending::Portal { portal, .. } => {
                if let Err(error) = portal.start(response) {
                    return self.fail(&error);
                }
            }
            Pending::Message | Pending::Parse { .. } | Pending::Commit => {
                unreachable!("nothing was to be executed")
            }
        }
        self.send_rows()
    }

    /// What came of waiting for rows of a changefeed; none: it has ended.
    pub fn fed(&mut self, feed: FeedRows, rows: Result<Option<Vec<Vec<Datum>>>, SqlError>) -> Next<P> {
        match rows {
            Ok(Some(rows)) => self.run().goes_on(rows, feed),
            Ok(None) => {}
            Err(error) => return self.fail(&error),
        }
        self.send_rows()
    }

    /// The answers of the inquiry that was to be executed; none: NULL.
    pub fn answered(&mut self, answers: &[Option<bool>]) -> Next<P> {
        let Pending::Portal { name, mut portal, .. } = std::mem::replace(&mut self.pending, Pending::Message)
        else {
            unreachable!("an Execute is pending");
        };
        portal.answer(answers, &mut self.replies);
        self.portals.insert(name, portal);
        Next::Read
    }

    /// The inquiry that was to be executed was refused.
    pub fn failed(&mut self, error: &SqlError) -> Next<P> {
        self.fail(error)
    }

    /// The replies were sent.
    pub fn flushed(&mut self) -> Next<P> {
        match self.pending {
            Pending::Simple { .. } | Pending::Portal { .. } => self.send_rows(),
            Pending::Message | Pending::Parse { .. } | Pending::Commit => Next::Read,
        }
    }

    /// Ends the connection with an error.
    pub fn fatal(&mut self, error: &SqlError) -> Next<P> {
        self.replies.error(Severity::Fatal, error);
        Next::Close
    }

    fn query(&mut self, text: String) -> Next<P> {
        // As in PostgreSQL, a simple query ends what has no name.
        self.statements.remove("");
        self.portals.remove("");
        self.pending = Pending::Simple { queue: VecDeque::new(), place: Place::Alone, run: None };
        Next::Split(text)
    }

    fn next_statement(&mut self) -> Next<P> {
        let next = match &mut self.pending {
            Pending::Simple { queue, place, .. } => queue.pop_front().map(|text| {
                if *place == Place::Inner && queue.is_empty() {
                    *place = Place::Last;
                }
                (text, *place)
            }),
            Pending::Message | Pending::Parse { .. } | Pending::Portal { .. } | Pending::Commit => None,
        };
        match next {
            Some((text, place)) => Next::Run(text, place),
            None => self.ready(),
        }
    }

    fn parse(&mut self, name: String, text: String, types: &[u32]) -> Next<P> {
        match self.check_parse(&name, &text, types) {
            Ok(hints) => {
                self.pending = Pending::Parse { name, text: text.as_str().into() };
                Next::Prepare { text, hints }
            }
            Err(error) => self.fail(&error),
        }
    }

    /// DEALLOCATE: of one statement, or of all that have a name.
    pub fn deallocate(&mut self, name: Option<&str>) {
        match name {
            Some(name) => self.forget(name),
            None => {
                self.named = Arc::default();
                self.statements.retain(|name, _| name.is_empty());
            }
        }
    }

    fn forget(&mut self, name: &str) {
        if self.statements.remove(name).is_some() {
            Arc::make_mut(&mut self.named).remove(name);
        }
    }

    fn check_parse(
        &mut self,
        name: &str,
        text: &str,
        types: &[u32],
    ) -> Result<Vec<Option<SqlType>>, SqlError> {
        if name.is_empty() {
            self.statements.remove(name);
        } else if self.statements.contains_key(name) {
            let message = format!("prepared statement \"{name}\" already exists");
            return Err(SqlError::new(state::DUPLICATE_STATEMENT, message));
        }
        let bytes: usize = self.statements.values().map(|statement| statement.bytes).sum();
        if self.statements.len() >= STATEMENTS_MAX || bytes + text.len() > SESSION_BYTES_MAX {
            return Err(too_many("prepared statements", "Close the ones that are not used any more."));
        }
        types.iter().map(|oid| type_of_oid(*oid)).collect()
    }

    fn execute(&mut self, name: String, rows_max: usize) -> Next<P> {
        let Some(portal) = self.portals.remove(&name) else {
            return self.fail(&no_portal(&name));
        };
        let Described { copies_in, is_inquiry, .. } = *portal.statement;
        let progress = portal.progress();
        self.pending = Pending::Portal { name, portal, rows_max };
        match progress {
            // In a transaction it does not matter what follows. Of a COPY it matters once its rows are here.
            Progress::Fresh if self.block != Status::Idle => self.start(Place::Inner),
            Progress::Fresh if copies_in || is_inquiry => self.start(Place::Alone),
            Progress::Fresh => Next::Look,
            Progress::Running => self.send_rows(),
            Progress::Done => self.execute_again(),
        }
    }

    /// What comes next; `alone`: Sync, so that what is to be executed stands alone.
    pub fn looked(&mut self, alone: bool) -> Next<P> {
        let place = if alone { Place::Alone } else { Place::Inner };
        match self.is_copying_in() {
            true => self.end_copy_in(place),
            false => self.start(place),
        }
    }

    fn start(&mut self, place: Place) -> Next<P> {
        let Pending::Portal { portal, .. } = &mut self.pending else {
            unreachable!("an Execute is pending");
        };
        let (statement, parameters) = (Arc::clone(&portal.statement), std::mem::take(&mut portal.parameters));
        Next::Execute { statement, parameters, place }
    }

    /// A portal that has returned all its rows returns no more; another cannot be run twice.
    fn execute_again(&mut self) -> Next<P> {
        let Pending::Portal { name, portal, .. } = std::mem::replace(&mut self.pending, Pending::Message)
        else {
            unreachable!("an Execute is pending");
        };
        if portal.statement.columns.is_none() {
            let message = format!("portal \"{name}\" cannot be run");
            return self.fail(&SqlError::new(state::NOT_IN_PREREQUISITE_STATE, message));
        }
        self.portals.insert(name, portal);
        self.replies.complete("SELECT 0");
        Next::Read
    }

    /// Sends rows of the pending result until it ends, its limit is reached, or enough is encoded to be sent.
    fn send_rows(&mut self) -> Next<P> {
        match self.send_copy() {
            Ok(Sent::Part) => return Next::Flush,
            Ok(Sent::All) => {}
            Err(error) => return self.fail(&error),
        }
        let rows_max = match &self.pending {
            Pending::Portal { rows_max, .. } => *rows_max,
            Pending::Simple { .. } | Pending::Message | Pending::Parse { .. } | Pending::Commit => usize::MAX,
        };
        let mut replies = std::mem::take(&mut self.replies);
        let sent = self.run().send(rows_max, &mut replies);
        self.replies = replies;
        match sent {
            Ok(portal::Sent::Part) => return Next::Flush,
            // Not before the client has what there is.
            Ok(portal::Sent::Wait(feed)) => return Next::Feed(feed),
            Ok(portal::Sent::Limit) => self.replies.portal_suspended(),
            Ok(portal::Sent::All(tag)) => self.replies.complete(&tag),
            Err(error) => return self.fail(&error),
        }
        match std::mem::replace(&mut self.pending, Pending::Message) {
            Pending::Simple { queue, place, .. } => {
                self.pending = Pending::Simple { queue, place, run: None };
                self.next_statement()
            }
            Pending::Portal { name, portal, .. } => {
                self.portals.insert(name, portal);
                Next::Read
            }
            Pending::Message | Pending::Parse { .. } | Pending::Commit => unreachable!("a result is pending"),
        }
    }

    /// The result that is being sent.
    fn run(&mut self) -> &mut Run {
        let run = match &mut self.pending {
            Pending::Simple { run, .. } => run.as_mut(),
            Pending::Portal { portal, .. } => portal.run.as_mut(),
            Pending::Message | Pending::Parse { .. } | Pending::Commit => None,
        };
        run.expect("a result is pending")
    }

    fn answer(&mut self, result: Result<(), SqlError>) -> Next<P> {
        match result {
            Ok(()) => Next::Read,
            Err(error) => self.fail(&error),
        }
    }

    /// Ends what is pending with an error: a simple query is over (P2), else all is skipped to Sync (P1).
    fn fail(&mut self, error: &SqlError) -> Next<P> {
        self.copying = None;
        self.replies.error(Severity::Error, error);
        self.fail_block();
        match std::mem::replace(&mut self.pending, Pending::Message) {
            Pending::Simple { .. } | Pending::Commit => self.ready(),
            Pending::Message | Pending::Parse { .. } | Pending::Portal { .. } => {
                self.skipping = true;
                Next::Read
            }
        }
    }

    fn unreadable(&mut self, tag: u8, error: &FrameError) -> Next<P> {
        let error = frame_error(error);
        if tag == b'Q' {
            self.replies.error(Severity::Error, &error);
            self.fail_block();
            return self.ready();
        }
        self.fail(&error)
    }

    /// The end of a simple query, or Sync: here a transaction that nobody began ends.
    fn ready(&mut self) -> Next<P> {
        if self.block == Status::Implicit {
            self.pending = Pending::Commit;
            return Next::Commit;
        }
        self.pending = Pending::Message;
        self.skipping = false;
        self.bound = false;
        // P3
        if self.block != Status::Open {
            self.portals.clear();
        }
        self.replies.ready(self.block);
        Next::Flush
    }

    fn fail_block(&mut self) {
        self.block = match self.block {
            Status::Idle | Status::Implicit => Status::Idle,
            Status::Open | Status::Failed => Status::Failed,
        };
    }
}

/// The SQL error of a frame that cannot be used.
pub fn frame_error(error: &FrameError) -> SqlError {
    match error {
        FrameError::Malformed(_) => SqlError::new(state::PROTOCOL_VIOLATION, error.to_string()),
        FrameError::NotUtf8 => SqlError::new(state::CHARACTER_NOT_IN_REPERTOIRE, error.to_string()),
        FrameError::TooLong { .. } => {
            let mut sql = SqlError::new(PROGRAM_LIMIT_EXCEEDED, error.to_string());
            sql.body = sql.body.with_hint("Split the statement into several ones.");
            sql
        }
    }
}

fn no_portal(name: &str) -> SqlError {
    SqlError::new(state::INVALID_CURSOR_NAME, format!("portal \"{name}\" does not exist"))
}

fn no_statement(name: &str) -> SqlError {
    let message = if name.is_empty() {
        "unnamed prepared statement does not exist".to_owned()
    } else {
        format!("prepared statement \"{name}\" does not exist")
    };
    SqlError::new(state::INVALID_STATEMENT_NAME, message)
}

fn too_many(what: &str, hint: &str) -> SqlError {
    let mut error = SqlError::new(PROGRAM_LIMIT_EXCEEDED, format!("too many {what}"));
    error.body = error.body.with_hint(hint);
    error
}

fn changed_columns() -> SqlError {
    let mut error = SqlError::new(FEATURE_NOT_SUPPORTED, "cached plan must not change result type");
    error.body = error.body.with_hint("Prepare the statement again.");
    error
}
