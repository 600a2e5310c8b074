//! A transaction on its way from a follower to the leader, statement by statement. The structs are frozen: a change is a
//! new format.

use std::time::Duration;

use bincode::{Decode, Encode};
use bytes::Bytes;
use grantd_catalog::id::{ObjectId, Version};
use grantd_catalog::refusal::Refusal;
use grantd_raft::codec::{Kind, open_value, seal_value};
use grantd_raft::config::FORWARD_BYTES_MAX;
use grantd_raft::entry::Proposal;
use grantd_raft::handle::ReadSet;
use grantd_raft::rows::{RowSet, Value};

use super::{RequestV1, SequencesV1, ValueV1, types_of};
use crate::activity::Id;
use crate::error::SqlError;
use crate::gate::{Gate, restart};
use crate::sql::execute::served::{Begun, Call, Reply, Served, StatementCall};

/// Beside [`super::FORMAT`], by which single statements are told from these.
pub(super) const FORMAT: u16 = 4;

/// What a follower asks of a transaction.
#[derive(Encode, Decode)]
struct AskV2 {
    transaction: Id,
    act: ActV2,
}

#[derive(Encode, Decode)]
enum ActV2 {
    Begin {
        /// The snapshot that was read, and its tables that were.
        read: Option<(Version, Vec<ObjectId>)>,
        idle_ms: u64,
    },
    Run {
        statement: RequestV1,
        now_micros: i64,
    },
    Propose(Proposal),
    Mark,
    RollBackTo(u32),
    Commit,
    RollBack,
}

#[derive(Encode, Decode)]
enum AnswerV2 {
    Open(Version),
    NotLeader,
    Rows { columns: Vec<String>, rows: Vec<Vec<ValueV1>>, changes: u64, sequences: SequencesV1 },
    Proposed(Vec<Refusal>),
    Marked(u32),
    Done,
    Committed(Version),
    Refused(Refusal),
    Lost(Refusal),
}

/// Asks the leader to begin a transaction. None: nobody leads now, and nothing was done.
pub(in crate::sql::execute) async fn begin(
    gate: &Gate,
    transaction: Id,
    read: Option<ReadSet>,
    idle: Duration,
    timeout: Duration,
) -> Result<Option<Version>, Refusal> {
    let read = read.map(|read| (read.version, read.tables.into_iter().collect()));
    let ask = AskV2 { transaction, act: ActV2::Begin { read, idle_ms: millis(idle) } };
    match sent(gate, &ask, timeout).await {
        Sent::Answered(AnswerV2::Open(version)) => Ok(Some(version)),
        Sent::Answered(AnswerV2::NotLeader) | Sent::Unsent => Ok(None),
        Sent::Answered(AnswerV2::Refused(refusal) | AnswerV2::Lost(refusal)) | Sent::Refused(refusal) => {
            Err(refusal)
        }
        Sent::Unknown(refusal) => Err(restart(&refusal.message)),
        Sent::Answered(_) => Err(foreign()),
    }
}

/// Asks a transaction at the leader.
pub(in crate::sql::execute) async fn call(
    gate: &Gate,
    transaction: Id,
    call: &Call,
    timeout: Duration,
) -> Reply {
    let commits = matches!(call, Call::Commit);
    let ask = AskV2 { transaction, act: act(call) };
    match sent(gate, &ask, timeout).await {
        Sent::Answered(answer) => match answer {
            AnswerV2::Rows { columns, rows, changes, sequences } => {
                let rows = rows.into_iter().map(|row| row.into_iter().map(Value::from).collect()).collect();
                Reply::Rows(RowSet { columns, rows, changes, ..RowSet::default() }, sequences.into())
            }
            AnswerV2::Proposed(notices) => Reply::Proposed(notices),
            AnswerV2::Marked(mark) => Reply::Marked(mark),
            AnswerV2::Done => Reply::Done,
            AnswerV2::Committed(version) => Reply::Committed(version),
            AnswerV2::Refused(refusal) => Reply::Refused(refusal),
            AnswerV2::Lost(refusal) => Reply::Lost(refusal),
            AnswerV2::NotLeader => Reply::Lost(leader_changed()),
            AnswerV2::Open(_) => Reply::Lost(foreign()),
        },
        Sent::Unsent => Reply::Lost(leader_changed()),
        Sent::Refused(refusal) => Reply::Refused(refusal),
        // Only COMMIT makes anything of a transaction take effect.
        Sent::Unknown(refusal) if commits => Reply::Refused(refusal),
        Sent::Unknown(refusal) => Reply::Lost(restart(&refusal.message)),
    }
}

fn leader_changed() -> Refusal {
    restart("the leader that it ran on does not lead any more")
}

fn foreign() -> Refusal {
    SqlError::internal("the leader answered something else").body
}

/// How sending went.
enum Sent {
    Answered(AnswerV2),
    /// There is no leader now, and nothing was sent.
    Unsent,
    /// It cannot be sent.
    Refused(Refusal),
    /// It was sent, and no answer came that can be read.
    Unknown(Refusal),
}

async fn sent(gate: &Gate, ask: &AskV2, timeout: Duration) -> Sent {
    let bytes = seal_value(Kind::Message, FORMAT, ask);
    if bytes.len() > FORWARD_BYTES_MAX {
        let message = format!("the statement and its parameters exceed {FORWARD_BYTES_MAX} bytes");
        return Sent::Refused(SqlError::too_large(message).body);
    }
    let unknown = grantd_catalog::refusal::SqlState::new("40003");
    match gate.forward(Bytes::from(bytes), timeout).await {
        Ok(Some(answer)) => match open_value(Kind::Message, FORMAT, &answer) {
            Ok(answer) => Sent::Answered(answer),
            Err(error) => Sent::Unknown(
                Refusal::new(unknown, format!("the leader's answer cannot be read: {error}"))
                    .with_hint("Look whether the transaction took effect before you run it again."),
            ),
        },
        Ok(None) => Sent::Unsent,
        Err(refusal) if refusal.code == unknown => Sent::Unknown(refusal),
        Err(refusal) => Sent::Refused(refusal),
    }
}

fn act(call: &Call) -> ActV2 {
    match call {
        Call::Run(call) => ActV2::Run {
            statement: RequestV1 {
                id: call.id,
                actor: call.actor,
                context: call.context.clone(),
                text: call.text.as_ref().to_owned(),
                types: call.types.iter().map(|known| known.oid()).collect(),
                values: call.values.iter().cloned().map(ValueV1::from).collect(),
                lines: call.lines.clone(),
                sequences: call.remembered.clone().into(),
                bounds: call.bounds.into(),
            },
            now_micros: call.now_micros,
        },
        Call::Propose(proposal) => ActV2::Propose(proposal.clone()),
        Call::Mark => ActV2::Mark,
        Call::RollBackTo(mark) => ActV2::RollBackTo(*mark),
        Call::Commit => ActV2::Commit,
        Call::RollBack => ActV2::RollBack,
    }
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Answers a follower.
pub(super) async fn serve(served: &Served, request: &Bytes) -> Vec<u8> {
    let answer = match open_value::<AskV2>(Kind::Message, FORMAT, request) {
        Ok(ask) => answered(served, ask).await.unwrap_or_else(|error| AnswerV2::Refused(error.body)),
        Err(error) => {
            AnswerV2::Refused(SqlError::internal(format!("a request cannot be read: {error}")).body)
        }
    };
    let bytes = seal_value(Kind::Message, FORMAT, &answer);
    if bytes.len() <= FORWARD_BYTES_MAX {
        return bytes;
    }
    // The statement has run, but its client cannot know how: it has to fail, and the transaction with it.
    let refusal = SqlError::too_large(format!("the rows exceed {FORWARD_BYTES_MAX} bytes")).body;
    seal_value(Kind::Message, FORMAT, &AnswerV2::Refused(refusal))
}

async fn answered(served: &Served, ask: AskV2) -> Result<AnswerV2, SqlError> {
    let call = match ask.act {
        ActV2::Begin { read, idle_ms } => {
            let read =
                read.map(|(version, tables)| ReadSet { version, tables: tables.into_iter().collect() });
            let begun = served.begin(ask.transaction, read, Duration::from_millis(idle_ms)).await;
            return Ok(match begun {
                Begun::Open(version) => AnswerV2::Open(version),
                Begun::NotLeader => AnswerV2::NotLeader,
                Begun::Refused(refusal) => AnswerV2::Refused(refusal),
            });
        }
        ActV2::Run { statement, now_micros } => Call::Run(Box::new(StatementCall {
            id: statement.id,
            statement: served.texts().parse(&statement.text)?,
            types: types_of(&statement.types)?,
            values: statement.values.into_iter().map(Value::from).collect(),
            lines: statement.lines,
            actor: statement.actor,
            context: statement.context,
            remembered: statement.sequences.into(),
            now_micros,
            bounds: statement.bounds.into(),
            text: statement.text.into(),
        })),
        ActV2::Propose(proposal) => Call::Propose(proposal),
        ActV2::Mark => Call::Mark,
        ActV2::RollBackTo(mark) => Call::RollBackTo(mark),
        ActV2::Commit => Call::Commit,
        ActV2::RollBack => Call::RollBack,
    };
    Ok(match served.call(ask.transaction, call).await {
        None => {
            AnswerV2::Lost(restart("it was rolled back, as it was idle for too long or its leader changed"))
        }
        Some(Reply::Rows(rows, sequences)) => AnswerV2::Rows {
            columns: rows.columns,
            rows: rows.rows.into_iter().map(|row| row.into_iter().map(ValueV1::from).collect()).collect(),
            changes: rows.changes,
            sequences: sequences.into(),
        },
        Some(Reply::Proposed(notices)) => AnswerV2::Proposed(notices),
        Some(Reply::Marked(mark)) => AnswerV2::Marked(mark),
        Some(Reply::Done) => AnswerV2::Done,
        Some(Reply::Committed(version)) => AnswerV2::Committed(version),
        Some(Reply::Refused(refusal)) => AnswerV2::Refused(refusal),
        Some(Reply::Lost(refusal)) => AnswerV2::Lost(refusal),
    })
}
