//! The transactions that are open on this node while it leads, of its own sessions and of other nodes'.
//!
//! Each is a task that owns it and is asked one thing at a time. It ends when it is told to, when whoever began it is
//! gone, and when it was asked nothing for as long as it may be idle: a node that fell silent keeps nobody waiting.

use std::sync::Arc;
use std::time::Duration;

use dashmap::DashMap;
use grantd_catalog::command::{Actor, NameContext};
use grantd_catalog::id::Version;
use grantd_catalog::refusal::{Refusal, SqlState};
use grantd_raft::entry::Proposal;
use grantd_raft::handle::ReadSet;
use grantd_raft::rows::{RowSet, Value};
use tokio::sync::{Semaphore, mpsc, oneshot};

use super::texts::Texts;
use super::write::StatementWrite;
use crate::activity::{Activity, Cancelled, Id};
use crate::error::SqlError;
use crate::gate::{self, Gate, Open, Stopped};
use crate::session::SequenceValues;
use crate::sql::parse::Statement;
use crate::sql::system::variable::Bounds;
use crate::value::SqlType;

/// The most transactions that are open or wait for their turn: each is a task.
const TRANSACTIONS_MAX: usize = 1_000;

const TOO_MANY: SqlState = SqlState::new("53300");

/// A statement on its way to its transaction.
#[derive(Clone)]
pub(super) struct StatementCall {
    pub(super) id: Id,
    pub(super) text: Arc<str>,
    pub(super) statement: Arc<Statement>,
    pub(super) types: Vec<SqlType>,
    pub(super) values: Vec<Value>,
    /// Of a COPY: where each row stands in the client's data.
    pub(super) lines: Vec<u64>,
    pub(super) actor: Actor,
    pub(super) context: NameContext,
    pub(super) remembered: SequenceValues,
    /// When the transaction began.
    pub(super) now_micros: i64,
    pub(super) bounds: Bounds,
}

/// What an open transaction is asked to do.
pub(super) enum Call {
    Run(Box<StatementCall>),
    Propose(Proposal),
    Mark,
    RollBackTo(u32),
    Commit,
    RollBack,
}

/// What it answers.
#[derive(Debug)]
pub(super) enum Reply {
    /// Of a statement: its rows, and what the session remembers of sequences.
    Rows(RowSet, SequenceValues),
    /// Of a proposal: what the client is told beside success.
    Proposed(Vec<Refusal>),
    /// Of a mark: its number.
    Marked(u32),
    /// It is done.
    Done,
    /// It is part of this version.
    Committed(Version),
    /// The statement was refused; the transaction is as it was before it. Of a commit: nothing took effect, or nobody
    /// can say.
    Refused(Refusal),
    /// The transaction is over, and nothing of it took effect.
    Lost(Refusal),
}

impl From<Stopped> for Reply {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::Refused(refusal) => Self::Refused(refusal),
            Stopped::Lost(refusal) => Self::Lost(refusal),
        }
    }
}

/// What came of asking for a transaction.
#[derive(Debug)]
pub(super) enum Begun {
    /// It is open, upon this version.
    Open(Version),
    /// This node does not lead; nothing was done.
    NotLeader,
    Refused(Refusal),
}

struct Asked {
    call: Call,
    answer: oneshot::Sender<Reply>,
}

/// The open transactions. Cheap to clone.
#[derive(Clone)]
pub(super) struct Served {
    gate: Gate,
    activity: Activity,
    texts: Texts,
    open: Arc<DashMap<Id, mpsc::Sender<Asked>>>,
    places: Arc<Semaphore>,
}

impl Served {
    pub(super) fn new(gate: Gate, activity: Activity, texts: Texts) -> Self {
        let places = Arc::new(Semaphore::new(TRANSACTIONS_MAX));
        Self { gate, activity, texts, open: Arc::default(), places }
    }

    /// How statements that came lately are written.
    pub(super) fn texts(&self) -> &Texts {
        &self.texts
    }

    /// Begins the transaction `id`, if this node leads, when its turn comes. Dropping the future gives it up.
    pub(super) async fn begin(&self, id: Id, read: Option<ReadSet>, idle: Duration) -> Begun {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let message =
                format!("more than {TRANSACTIONS_MAX} transactions are open or wait for their turn");
            return Begun::Refused(Refusal::new(TOO_MANY, message).with_hint("Try again."));
        };
        let (calls, asked) = mpsc::channel(1);
        let (began, begun) = oneshot::channel();
        self.open.insert(id, calls);
        let served = self.clone();
        tokio::spawn(async move {
            served.serve(read, idle, began, asked).await;
            served.open.remove(&id);
            drop(place);
        });
        let given_up = Begun::Refused(gate::restart("it was rolled back before it had begun"));
        begun.await.unwrap_or(given_up)
    }

    /// Asks the transaction `id`; none: it is not here.
    pub(super) async fn call(&self, id: Id, call: Call) -> Option<Reply> {
        let calls = self.open.get(&id)?.value().clone();
        let (answer, reply) = oneshot::channel();
        calls.send(Asked { call, answer }).await.ok()?;
        reply.await.ok()
    }

    /// Whether the transaction `id` is here.
    pub(super) fn has(&self, id: Id) -> bool {
        self.open.contains_key(&id)
    }

    /// Ends the transaction `id`; false: it is not here. It is rolled back as soon as what it runs has stopped.
    pub(super) fn end(&self, id: Id) -> bool {
        self.open.remove(&id).is_some()
    }

    async fn serve(
        &self,
        read: Option<ReadSet>,
        idle: Duration,
        mut began: oneshot::Sender<Begun>,
        mut asked: mpsc::Receiver<Asked>,
    ) {
        let begun = tokio::select! {
            begun = self.gate.begin(read) => begun,
            () = began.closed() => return,
            // Nothing is asked of what has not begun, but to end.
            _ = asked.recv() => return,
        };
        let mut open = match begun {
            Ok(gate::Begun::Open(open)) => open,
            Ok(gate::Begun::NotLeader) => return drop(began.send(Begun::NotLeader)),
            Err(refusal) => return drop(began.send(Begun::Refused(refusal))),
        };
        if began.send(Begun::Open(open.base())).is_err() {
            return;
        }
        loop {
            let Asked { call, answer } = match tokio::time::timeout(idle, asked.recv()).await {
                Ok(Some(asked)) => asked,
                Ok(None) => return,
                Err(_) => return tracing::info!("an idle transaction was rolled back"),
            };
            let reply = match call {
                Call::Commit => {
                    let reply = open.commit().await.map_or_else(Reply::Refused, Reply::Committed);
                    return drop(answer.send(reply));
                }
                Call::RollBack => {
                    drop(open);
                    return drop(answer.send(Reply::Done));
                }
                Call::Run(statement) => self.run(&mut open, *statement).await,
                Call::Propose(proposal) => open.propose(proposal).await.map(Reply::Proposed),
                Call::Mark => open.mark().await.map(Reply::Marked),
                Call::RollBackTo(mark) => open.roll_back_to(mark).await.map(|()| Reply::Done),
            };
            let reply = reply.unwrap_or_else(Reply::from);
            let is_lost = matches!(reply, Reply::Lost(_));
            if answer.send(reply).is_err() || is_lost {
                return;
            }
        }
    }

    async fn run(&self, open: &mut Open, call: StatementCall) -> Result<Reply, Stopped> {
        let forwarded = self.activity.forwarded(call.id);
        let cancelled = forwarded.cancelled().clone();
        let write = StatementWrite {
            statement: call.statement,
            types: call.types,
            values: call.values,
            lines: call.lines,
            actor: call.actor,
            context: call.context,
            node_id: self.gate.node_id(),
            now_micros: Some(call.now_micros),
            bounds: call.bounds,
            cancel: Arc::new(move || cancelled.is_raised()),
            id: call.id,
            given_up: Cancelled::default(),
            begun: Arc::default(),
            remembers: SequenceValues::default(),
            remembered: call.remembered,
            planned: None,
            result: None,
        };
        let (outcome, back) = open.write(write).await;
        outcome?;
        let done = back.and_then(|write| Some((write.result?, write.remembers)));
        let (rows, remembers) =
            done.ok_or_else(|| Stopped::Refused(SqlError::internal("a statement has no result").body))?;
        Ok(Reply::Rows(rows, remembers))
    }
}
