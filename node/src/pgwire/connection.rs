//! One connection's driver: reads, asks the machine, does what it says, sends. It decides nothing.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::watch;
use tracing::debug;

use grantd_catalog::command::Actor;
use grantd_catalog::name::Name;

use crate::error::SqlError;
use crate::pgwire::Shared;
use crate::pgwire::backend::Backend;
use crate::pgwire::frame::{self, FRAME_BYTES_MAX};
use crate::pgwire::login::{LoggedIn, NotIn, login};
use crate::pgwire::machine::{Executed, Machine, Next, frame_error};
use crate::pgwire::reply::{Replies, Severity, state};
use crate::pgwire::stream::Stream;
use crate::session::block::{Status, code};
use crate::session::{Held, Session};
use crate::sql::execute::{FeedRows, Response, cursor_columns};
use crate::sql::system::context::now_micros;
use crate::sql::system::variable::{self, search_path_text};

/// The version of PostgreSQL that clients are told, as CockroachDB v22.2 tells them.
pub const SERVER_VERSION: &str = "13.0.0";

/// How long a client whose session was ended may take to read what it was sent, and why.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// While a changefeed goes to the client, so much of what the client says is taken in: only to hear that it goes.
const HEARD_BYTES_MAX: usize = 64 << 10;

/// Serves one connection to its end.
pub(super) async fn serve<B: Backend>(shared: &Shared<B>, tcp: TcpStream) {
    let mut stream = Stream::new(tcp);
    let mut draining = shared.draining.clone();
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(shared.config.limits.login_timeout, login(shared, &mut stream)) => match outcome {
            Ok(outcome) => outcome,
            Err(_) => {
                let code = state::PROTOCOL_VIOLATION;
                Err(NotIn::from(SqlError::new(code, "canceling authentication due to timeout")))
            }
        },
        () = drained(&mut draining) => Err(NotIn::from(shutting_down(state::CANNOT_CONNECT_NOW))),
    };
    let ended = match outcome {
        Ok(logged_in) => converse(shared, &mut stream, logged_in, &mut draining).await,
        Err(NotIn::Closed) => Ok(()),
        Err(NotIn::Refused(error)) => {
            debug!(code = error.body.code.as_str(), "connection refused");
            let mut replies = Replies::default();
            replies.error(Severity::Fatal, &error);
            stream.send(&mut replies.bytes).await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "connection lost");
    }
    stream.close().await;
}

/// Waits until the node stops serving; for ever if nobody can say so any more.
async fn drained(draining: &mut watch::Receiver<bool>) {
    if draining.wait_for(|draining| *draining).await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn shutting_down(code: grantd_catalog::refusal::SqlState) -> SqlError {
    let mut error = SqlError::new(code, "server is shutting down");
    error.body = error.body.with_hint("Connect to another node.");
    error
}

async fn converse<B: Backend>(
    shared: &Shared<B>,
    stream: &mut Stream,
    logged_in: LoggedIn,
    draining: &mut watch::Receiver<bool>,
) -> io::Result<()> {
    let LoggedIn { mut session, startup, registration, _place } = logged_in;
    let mut machine = Machine::<B::Plan>::default();
    let mut reported = Reported::of(&session, &shared.backend);
    machine.replies.authenticated();
    for (name, value) in FIXED_PARAMETERS {
        machine.replies.parameter(name, value);
    }
    machine.replies.parameter("session_authorization", startup.user.as_str());
    for (name, value) in reported.all() {
        machine.replies.parameter(name, &value);
    }
    machine.replies.key(registration.process(), registration.key());
    machine.replies.ready(Status::Idle);
    debug!(user = %startup.user, process = registration.process(), "session opened");
    let mut next = Next::Flush;
    loop {
        next = match next {
            Next::Read => match read(shared, stream, &mut machine, draining, &mut session).await? {
                ControlFlow::Continue(next) => next,
                ControlFlow::Break(()) => return Ok(()),
            },
            Next::Look => match look(shared, stream, &mut machine, draining, &mut session).await? {
                ControlFlow::Continue(next) => next,
                ControlFlow::Break(()) => return Ok(()),
            },
            Next::Feed(feed) => match fed(stream, &mut machine, draining, &session, feed).await? {
                ControlFlow::Continue(next) => next,
                ControlFlow::Break(()) => return Ok(()),
            },
            Next::Flush => {
                session.together = None;
                if send(stream, &mut machine, &session).await?.is_break() {
                    return Ok(());
                }
                machine.flushed()
            }
            Next::Close => {
                // Others wait for what it holds, and not for its client to read.
                session.held = Held::Nothing;
                return send(stream, &mut machine, &session).await.map(|_| ());
            }
            of_statements @ (Next::Split(_)
            | Next::DescribeCursor(_)
            | Next::Prepare { .. }
            | Next::Run(..)
            | Next::Execute { .. }
            | Next::Commit
            | Next::CopyRows { .. }
            | Next::CopyEnd { .. }
            | Next::CopyFailed(_)) => {
                act(of_statements, &mut machine, &mut session, &mut reported, &shared.backend).await
            }
        };
        // An error that the machine found by itself.
        if session.block.open().is_some() && matches!(machine.block, Status::Idle | Status::Failed) {
            session.fail();
        }
    }
}

/// Does what concerns statements, and nothing of what concerns the client's stream.
async fn act<B: Backend>(
    next: Next<B::Plan>,
    machine: &mut Machine<B::Plan>,
    session: &mut Session,
    reported: &mut Reported,
    backend: &B,
) -> Next<B::Plan> {
    match next {
        Next::Split(text) => machine.split(backend.split(&text)),
        Next::Prepare { text, hints } => {
            let prepared = backend.prepare(session, &text, &hints).await;
            machine.prepared(prepared, now_micros())
        }
        Next::DescribeCursor(name) => {
            let columns = cursor_columns(session, &Name::from(name.as_str()));
            machine.described(&name, columns.ok().as_deref())
        }
        Next::Run(text, place) => {
            session.protocol_statements = Arc::clone(&machine.named);
            let result = backend.run(session, &text, place).await;
            let executed = reported.executed(result, session, backend);
            next_after(machine, executed, session)
        }
        Next::Execute { statement, parameters, place } => {
            session.protocol_statements = Arc::clone(&machine.named);
            let result = backend.execute(session, &statement.plan, &parameters, place).await;
            let executed = reported.executed(result, session, backend);
            next_after(machine, executed, session)
        }
        Next::Commit => {
            let done = |()| Response { tag: String::new(), rows: None, copy: None };
            let result = backend.commit(session).await.map(done);
            let executed = reported.executed(result, session, backend);
            next_after(machine, executed, session)
        }
        Next::CopyRows { mut sink, rows } => match sink.push_batch(session, rows).await {
            Ok(()) => {
                // Many rows have made a transaction of their own.
                machine.block = session.block.status();
                machine.copied(sink)
            }
            Err(error) => Next::CopyFailed(error),
        },
        Next::CopyEnd { mut sink, rows, place } => {
            let result = match sink.push_batch(session, rows).await {
                Ok(()) => sink.finish(session, place).await,
                Err(error) => Err(error),
            };
            copied(machine, reported, (session, result), backend)
        }
        Next::CopyFailed(error) => copied(machine, reported, (session, Err(error)), backend),
        stream @ (Next::Read | Next::Look | Next::Flush | Next::Feed(_) | Next::Close) => stream,
    }
}

/// Waits for more rows of a changefeed; `Break`: the client has closed. What the client says meanwhile waits.
async fn fed<P>(
    stream: &mut Stream,
    machine: &mut Machine<P>,
    draining: &mut watch::Receiver<bool>,
    session: &Session,
    mut feed: FeedRows,
) -> io::Result<ControlFlow<(), Next<P>>> {
    loop {
        let listens = stream.input.len() < HEARD_BYTES_MAX;
        let rows = tokio::select! {
            biased;
            () = drained(draining) => {
                let error = shutting_down(state::ADMIN_SHUTDOWN);
                return Ok(ControlFlow::Continue(machine.fatal(&error)));
            }
            reason = ended(session) => return Ok(ControlFlow::Continue(machine.fatal(&reason))),
            () = session.cancelled.raised() => Err(SqlError::cancelled()),
            filled = stream.fill(), if listens => match filled? {
                true => continue,
                false => return Ok(ControlFlow::Break(())),
            },
            rows = feed.next() => rows,
        };
        return Ok(ControlFlow::Continue(machine.fed(feed, rows)));
    }
}

/// What a COPY of the client's rows leads to. One that failed takes the session's transaction with it.
fn copied<B: Backend>(
    machine: &mut Machine<B::Plan>,
    reported: &mut Reported,
    (session, result): (&mut Session, Result<Response, SqlError>),
    backend: &B,
) -> Next<B::Plan> {
    if result.is_err() {
        session.fail();
    }
    let executed = reported.executed(result, session, backend);
    next_after(machine, executed, session)
}

/// Where a statement's result leads: to the client, unless others ended the session meanwhile.
fn next_after<P>(machine: &mut Machine<P>, executed: Executed, session: &mut Session) -> Next<P> {
    for name in session.deallocated.drain(..) {
        machine.deallocate(name.as_ref().map(Name::as_str));
    }
    session.describe();
    machine.block = session.block.status();
    match end_reason(session) {
        Some(reason) => machine.fatal(&reason),
        None => machine.executed(executed),
    }
}

/// Sends what there is to be sent; `Break`: the session has ended and its client does not read.
async fn send<P>(
    stream: &mut Stream,
    machine: &mut Machine<P>,
    session: &Session,
) -> io::Result<ControlFlow<()>> {
    let overdue = async {
        ended(session).await;
        tokio::time::sleep(LAST_WORDS_MAX).await;
    };
    tokio::select! {
        biased;
        sent = stream.send(&mut machine.replies.bytes) => sent.map(ControlFlow::Continue),
        () = overdue => Ok(ControlFlow::Break(())),
    }
}

/// Why others ended the session, if they did.
fn end_reason(session: &Session) -> Option<SqlError> {
    session.registration.as_ref()?.end_reason().cloned().map(SqlError::from)
}

/// Waits until others end the session; for ever if nobody can.
async fn ended(session: &Session) -> SqlError {
    match &session.registration {
        Some(registration) => registration.ended().await.into(),
        None => std::future::pending().await,
    }
}

/// The next message, handed to the machine; `Break`: the client has closed.
async fn read<B: Backend>(
    shared: &Shared<B>,
    stream: &mut Stream,
    machine: &mut Machine<B::Plan>,
    draining: &mut watch::Receiver<bool>,
    session: &mut Session,
) -> io::Result<ControlFlow<(), Next<B::Plan>>> {
    loop {
        match frame::split(&mut stream.input, FRAME_BYTES_MAX) {
            Ok(Some((tag, body))) => {
                let next = machine.receive(tag, frame::decode(tag, body));
                match answered(next, machine, session, &shared.backend) {
                    // An error that the machine found by itself is told the session first, if it is in a transaction.
                    Next::Read if session.block.status() == Status::Idle => continue,
                    next => return Ok(ControlFlow::Continue(next)),
                }
            }
            Ok(None) => {}
            Err(error) => return Ok(ControlFlow::Continue(machine.fatal(&frame_error(&error)))),
        }
        // Not to hold back what is here for as long as the client pauses: it may hold others up.
        if let Some(next) = machine.paused() {
            return Ok(ControlFlow::Continue(next));
        }
        match filled(shared, stream, machine, draining, session).await? {
            Filled::More => {}
            Filled::Gone => return Ok(ControlFlow::Break(())),
            Filled::Next(next) => return Ok(ControlFlow::Continue(next)),
        }
    }
}

/// Answers an inquiry if it need not wait; else it is still to be done.
fn answered<B: Backend>(
    next: Next<B::Plan>,
    machine: &mut Machine<B::Plan>,
    session: &mut Session,
    backend: &B,
) -> Next<B::Plan> {
    let Next::Execute { statement, parameters, .. } = &next else { return next };
    if !statement.is_inquiry {
        return next;
    }
    let mut answers = std::mem::take(&mut session.answers);
    answers.clear();
    let next = match backend.answer(session, &statement.plan, parameters, &mut answers) {
        Some(Ok(())) => machine.answered(&answers),
        Some(Err(error)) => machine.failed(&error),
        None => next,
    };
    session.answers = answers;
    next
}

/// Whether Sync comes next, handed to the machine; `Break`: the client has closed.
async fn look<B: Backend>(
    shared: &Shared<B>,
    stream: &mut Stream,
    machine: &mut Machine<B::Plan>,
    draining: &mut watch::Receiver<bool>,
    session: &mut Session,
) -> io::Result<ControlFlow<(), Next<B::Plan>>> {
    loop {
        if let Some(alone) = frame::sync_follows(&stream.input) {
            return Ok(ControlFlow::Continue(machine.looked(alone)));
        }
        match filled(shared, stream, machine, draining, session).await? {
            Filled::More => {}
            Filled::Gone => return Ok(ControlFlow::Break(())),
            Filled::Next(next) => return Ok(ControlFlow::Continue(next)),
        }
    }
}

/// What came of waiting for the client.
enum Filled<P> {
    /// More bytes.
    More,
    /// It has closed.
    Gone,
    /// Something else to do.
    Next(Next<P>),
}

/// Sends what there is, and waits for more bytes.
async fn filled<B: Backend>(
    shared: &Shared<B>,
    stream: &mut Stream,
    machine: &mut Machine<B::Plan>,
    draining: &mut watch::Receiver<bool>,
    session: &mut Session,
) -> io::Result<Filled<B::Plan>> {
    if send(stream, machine, session).await?.is_break() {
        return Ok(Filled::Gone);
    }
    // What comes now comes after it was asked for.
    session.newest = None;
    session.together = None;
    let idle = machine.is_idle();
    let between_messages = stream.input.is_empty();
    let filled = tokio::select! {
        biased;
        () = drained(draining), if idle => {
            return Ok(Filled::Next(machine.fatal(&shutting_down(state::ADMIN_SHUTDOWN))));
        }
        reason = ended(session) => return Ok(Filled::Next(machine.fatal(&reason))),
        () = patience(shared.config.limits.idle_timeout) => {
            let error = SqlError::new(
                state::IDLE_SESSION_TIMEOUT,
                "terminating connection due to idle-session timeout",
            );
            return Ok(Filled::Next(machine.fatal(&error)));
        }
        () = session.cancelled.raised(), if machine.is_copying_in() => {
            return Ok(Filled::Next(Next::CopyFailed(SqlError::cancelled())));
        }
        () = patience(in_transaction(session)) => {
            return Ok(Filled::Next(machine.fatal(&idle_in_transaction())));
        }
        filled = stream.fill() => filled?,
    };
    if !filled {
        return Ok(Filled::Gone);
    }
    if idle && between_messages {
        // A cancel request that came while nothing was to be done has hit nothing.
        session.cancelled.clear();
    }
    Ok(Filled::More)
}

/// How long the client may say nothing in its transaction; none: it is in none.
fn in_transaction(session: &Session) -> Option<Duration> {
    let writes = matches!(session.held, Held::Writer(_));
    (session.block.status() != Status::Idle).then(|| variable::idle_limit(session, writes))
}

fn idle_in_transaction() -> SqlError {
    SqlError::new(
        code::IDLE_IN_TRANSACTION_TIMEOUT,
        "terminating connection due to idle-in-transaction timeout",
    )
}

async fn patience(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Settings that never change in a session.
const FIXED_PARAMETERS: [(&str, &str); 8] = [
    ("server_version", SERVER_VERSION),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
];

/// What the client was last told of the settings that are reported when they change.
#[derive(Debug)]
struct Reported {
    actor: Actor,
    superuser: bool,
    application_name: String,
    search_path: Vec<Name>,
}

impl Reported {
    fn of<B: Backend>(session: &Session, backend: &B) -> Self {
        Self {
            actor: session.actor,
            superuser: backend.is_superuser(session.actor),
            application_name: session.application_name.clone(),
            search_path: session.search_path.clone(),
        }
    }

    fn all(&self) -> [(&'static str, String); 3] {
        let path = search_path_text(&self.search_path);
        [
            ("is_superuser", if self.superuser { "on" } else { "off" }.to_owned()),
            ("application_name", self.application_name.clone()),
            ("search_path", path),
        ]
    }

    /// What the machine is told of an execution: its result, and what the session has to tell beside it.
    fn executed<B: Backend>(
        &mut self,
        result: Result<Response, SqlError>,
        session: &mut Session,
        backend: &B,
    ) -> Executed {
        let notices = std::mem::take(&mut session.notices);
        Executed { result, notices, changes: self.update(session, backend) }
    }

    /// What changed since. `is_superuser` is looked at when the effective user changes (SET ROLE), as in the original.
    fn update<B: Backend>(&mut self, session: &Session, backend: &B) -> Vec<(&'static str, String)> {
        let same = self.actor == session.actor
            && self.application_name == session.application_name
            && self.search_path == session.search_path;
        if same {
            return Vec::new();
        }
        let now = Self::of(session, backend);
        let before = std::mem::replace(self, now).all();
        self.all().into_iter().zip(before).filter(|(now, before)| now != before).map(|(now, _)| now).collect()
    }
}
