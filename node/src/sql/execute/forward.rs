//! A change of rows on its way from a follower to the leader, and its answer. The structs are frozen: a change is a
//! new format.

pub(super) mod transaction;

use std::sync::Arc;
use std::time::Duration;

use bincode::{Decode, Encode};
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use grantd_catalog::command::{Actor, NameContext};
use grantd_catalog::id::{ObjectId, Version};
use grantd_catalog::refusal::Refusal;
use grantd_raft::codec::{Kind, open, open_value, seal_value};
use grantd_raft::config::{FORWARD_BYTES_MAX, NodeId};
use grantd_raft::handle::ForwardHandler;
use grantd_raft::rows::{RowSet, Value};

use super::served::Served;
use super::texts::Texts;
use super::write::{StatementWrite, Written, serve};
use crate::activity::{Activity, Cancelled, Id};
use crate::error::SqlError;
use crate::gate::Gate;
use crate::session::SequenceValues;
use crate::sql::parse::Statement;
use crate::sql::parse::copy::CopyStatement;
use crate::sql::system::variable::Bounds;
use crate::value::SqlType;

const FORMAT: u16 = 3;

#[derive(Encode, Decode)]
struct RequestV1 {
    /// By which the asking node stops it.
    id: Id,
    actor: Actor,
    context: NameContext,
    text: String,
    /// PostgreSQL's OIDs.
    types: Vec<u32>,
    values: Vec<ValueV1>,
    /// Of a COPY: where each row stands in the client's data.
    lines: Vec<u64>,
    sequences: SequencesV1,
    bounds: BoundsV1,
}

/// What bounds the statement.
#[derive(Encode, Decode)]
struct BoundsV1 {
    memory_bytes: u64,
    lock_timeout_ms: Option<u64>,
    rows_written: u64,
    rows_written_most: Option<u64>,
}

/// What a session remembers of sequences.
#[derive(Encode, Decode)]
struct SequencesV1 {
    values: Vec<(ObjectId, i64)>,
    latest: Option<ObjectId>,
}

#[derive(Encode, Decode)]
enum ValueV1 {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    Blob(Vec<u8>),
}

#[derive(Encode, Decode)]
enum AnswerV1 {
    Done {
        version: Version,
        columns: Vec<String>,
        rows: Vec<Vec<ValueV1>>,
        changes: u64,
        sequences: SequencesV1,
    },
    Refused(Refusal),
    NotLeader,
}

impl From<SequenceValues> for SequencesV1 {
    fn from(values: SequenceValues) -> Self {
        Self { values: values.values.into_iter().collect(), latest: values.latest }
    }
}

impl From<SequencesV1> for SequenceValues {
    fn from(values: SequencesV1) -> Self {
        Self { values: values.values.into_iter().collect(), latest: values.latest }
    }
}

impl From<Bounds> for BoundsV1 {
    fn from(bounds: Bounds) -> Self {
        Self {
            memory_bytes: bounds.memory as u64,
            lock_timeout_ms: bounds.lock_timeout.map(transaction::millis),
            rows_written: bounds.rows_written,
            rows_written_most: bounds.rows_written_most,
        }
    }
}

impl From<BoundsV1> for Bounds {
    fn from(bounds: BoundsV1) -> Self {
        Self {
            memory: usize::try_from(bounds.memory_bytes).unwrap_or(usize::MAX),
            lock_timeout: bounds.lock_timeout_ms.map(Duration::from_millis),
            rows_written: bounds.rows_written,
            rows_written_most: bounds.rows_written_most,
        }
    }
}

impl From<Value> for ValueV1 {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(value) => Self::Integer(value),
            Value::Real(value) => Self::Real(value),
            Value::Text(value) => Self::Text(value),
            Value::Blob(value) => Self::Blob(value),
        }
    }
}

impl From<ValueV1> for Value {
    fn from(value: ValueV1) -> Self {
        match value {
            ValueV1::Null => Self::Null,
            ValueV1::Integer(value) => Self::Integer(value),
            ValueV1::Real(value) => Self::Real(value),
            ValueV1::Text(value) => Self::Text(value),
            ValueV1::Blob(value) => Self::Blob(value),
        }
    }
}

/// Asks the leader. None: nobody leads now, and nothing was done.
pub(super) async fn ask(
    gate: &Gate,
    text: &str,
    write: &StatementWrite,
    timeout: Duration,
) -> Result<Option<Written>, SqlError> {
    let request = RequestV1 {
        id: write.id,
        actor: write.actor,
        context: write.context.clone(),
        text: text.to_owned(),
        types: write.types.iter().map(|known| known.oid()).collect(),
        values: write.values.iter().cloned().map(ValueV1::from).collect(),
        lines: write.lines.clone(),
        sequences: write.remembered.clone().into(),
        bounds: write.bounds.into(),
    };
    let bytes = seal_value(Kind::Message, FORMAT, &request);
    if bytes.len() > FORWARD_BYTES_MAX {
        return Err(SqlError::too_large(format!(
            "the statement and its parameters exceed {FORWARD_BYTES_MAX} bytes"
        )));
    }
    let Some(answer) = gate.forward(Bytes::from(bytes), timeout).await? else { return Ok(None) };
    match open_value(Kind::Message, FORMAT, &answer) {
        Ok(AnswerV1::Done { version, columns, rows, changes, sequences }) => {
            let rows = rows.into_iter().map(|row| row.into_iter().map(Value::from).collect()).collect();
            Ok(Some((version, RowSet { columns, rows, changes, ..RowSet::default() }, sequences.into())))
        }
        Ok(AnswerV1::Refused(refusal)) => Err(refusal.into()),
        Ok(AnswerV1::NotLeader) => Ok(None),
        Err(error) => Err(SqlError::new(
            grantd_catalog::refusal::SqlState::new("40003"),
            format!("the leader's answer cannot be read: {error}"),
        )
        .with_hint("Look whether the statement took effect before you send it again.")),
    }
}

/// Answers what followers ask.
pub(super) struct Server {
    gate: Gate,
    activity: Activity,
    served: Served,
}

impl Server {
    pub(super) fn new(gate: Gate, activity: Activity, served: Served) -> Self {
        Self { gate, activity, served }
    }
}

impl ForwardHandler for Server {
    fn handle(&self, from: NodeId, request: Bytes) -> BoxFuture<'static, Bytes> {
        let (gate, activity, served) = (self.gate.clone(), self.activity.clone(), self.served.clone());
        async move {
            if matches!(open(Kind::Message, &request), Ok((transaction::FORMAT, _))) {
                return Bytes::from(transaction::serve(&served, &request).await);
            }
            let answer = match run(&gate, &activity, served.texts(), &request).await {
                Ok(Some((version, rows, remembers))) => AnswerV1::Done {
                    version,
                    columns: rows.columns,
                    rows: rows
                        .rows
                        .into_iter()
                        .map(|row| row.into_iter().map(ValueV1::from).collect())
                        .collect(),
                    changes: rows.changes,
                    sequences: remembers.into(),
                },
                Ok(None) => AnswerV1::NotLeader,
                Err(error) => AnswerV1::Refused(error.body),
            };
            let bytes = seal_value(Kind::Message, FORMAT, &answer);
            if bytes.len() <= FORWARD_BYTES_MAX {
                return Bytes::from(bytes);
            }
            // It is written all the same: the client must not be told that it was refused.
            tracing::warn!(from, bytes = bytes.len(), "the answer to a forwarded statement is too large");
            let refusal = Refusal::new(
                grantd_catalog::refusal::SqlState::new("40003"),
                "the rows were changed, and what RETURNING says of them is too large to send",
            );
            Bytes::from(seal_value(Kind::Message, FORMAT, &AnswerV1::Refused(refusal)))
        }
        .boxed()
    }
}

async fn run(
    gate: &Gate,
    activity: &Activity,
    texts: &Texts,
    request: &Bytes,
) -> Result<Option<Written>, SqlError> {
    let request: RequestV1 = open_value(Kind::Message, FORMAT, request)
        .map_err(|error| SqlError::internal(format!("a forwarded statement cannot be read: {error}")))?;
    let types = types_of(&request.types)?;
    let statement = texts.parse(&request.text)?;
    if !matches!(
        *statement,
        Statement::Query(_)
            | Statement::Insert(..)
            | Statement::Upsert(_)
            | Statement::Update(..)
            | Statement::Truncate(_)
            | Statement::Copy(CopyStatement::From(_))
            | Statement::Delete(..)
    ) {
        return Err(SqlError::internal("only changes of rows and sequences are forwarded"));
    }
    let forwarded = activity.forwarded(request.id);
    let (cancelled, given_up) = (forwarded.cancelled().clone(), Cancelled::default());
    let stopped = given_up.clone();
    let write = StatementWrite {
        statement,
        types,
        values: request.values.into_iter().map(Value::from).collect(),
        lines: request.lines,
        actor: request.actor,
        context: request.context,
        node_id: gate.node_id(),
        now_micros: None,
        bounds: request.bounds.into(),
        cancel: Arc::new(move || cancelled.is_raised() || stopped.is_raised()),
        id: request.id,
        given_up,
        begun: Arc::default(),
        remembers: SequenceValues::default(),
        remembered: request.sequences.into(),
        planned: None,
        result: None,
    };
    serve(gate, write, forwarded.cancelled()).await
}

fn types_of(oids: &[u32]) -> Result<Vec<SqlType>, SqlError> {
    let known = |oid: &u32| {
        SqlType::from_oid(*oid).ok_or_else(|| SqlError::internal("a parameter of an unknown type"))
    };
    oids.iter().map(known).collect()
}
