//! Functions whose value comes from the statement: its time, its session, its node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use grantd_catalog::command::{Actor, NameContext};
use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Body, Sequence};
use grantd_catalog::view::View;
use grantd_raft::rows::{Function, StatementContext, Value};

use super::sequence::Sequences;
use crate::error::{SqlError, state};
use crate::session::Session;
use crate::sql::system::variable;
use crate::sql::translate::enums;
use crate::sql::translate::scalar::raise;
use crate::value::{Datum, text};

/// What the functions of one statement may see.
#[derive(Clone, Debug)]
pub struct StatementInfo {
    /// The catalog that the statement was planned on.
    pub view: Arc<View>,
    /// Who asks.
    pub actor: Actor,
    /// What unqualified names mean.
    pub context: NameContext,
    /// When the statement began, in microseconds since the Unix epoch.
    pub now_micros: i64,
    /// The node that evaluates it.
    pub node_id: u64,
    /// The session, where the statement runs on its node: a change of rows that was forwarded has none.
    pub session: Option<Arc<Session>>,
    /// What was asked of running nodes before the statement began, for the tables that show it.
    pub live: LiveRows,
    /// What it does to sequences.
    pub sequences: Arc<Sequences>,
    /// How many bytes it may hold in memory at once.
    pub memory: usize,
    /// The keys that an INSERT … ON CONFLICT DO UPDATE has proposed so far.
    pub proposed: Arc<Mutex<BTreeSet<String>>>,
    /// What steps of the statement gave, for those behind them.
    pub kept: Arc<Mutex<BTreeMap<usize, Vec<Vec<Value>>>>>,
}

/// Rows of tables that only running nodes know, by the table's name.
pub type LiveRows = BTreeMap<&'static str, Vec<Vec<Datum>>>;

impl StatementInfo {
    /// Keeps what a step gave.
    pub fn keep(&self, number: usize, rows: Vec<Vec<Value>>) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(number, rows);
    }

    /// Another step proposes keys of its own.
    pub fn propose_anew(&self) {
        self.proposed.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The value of a session variable, as SHOW prints it; 42704 for one that does not exist.
    pub fn variable(&self, name: &str) -> Result<String, SqlError> {
        match &self.session {
            Some(session) => variable::show(session, &self.view, name),
            // Who runs it is not the session, and its version is not committed.
            None if name == "grantd.version" => {
                Err(SqlError::unsupported("grantd.version in what runs on the leader"))
            }
            None => {
                let session = Session::new(self.actor, self.context.database.clone());
                variable::show(&session, &self.view, name)
            }
        }
    }
}

/// `g_proposed(filtered, key…)`: true, and an error for a key that comes a second time. A key with a NULL is never the
/// key of another row.
fn proposed(info: &StatementInfo, values: &[Value]) -> Result<Value, SqlError> {
    let (filtered, key) = values.split_first().ok_or_else(|| SqlError::internal("no key"))?;
    if key.contains(&Value::Null) {
        return Ok(Value::Integer(1));
    }
    let mut proposed = info.proposed.lock().unwrap_or_else(PoisonError::into_inner);
    if proposed.insert(format!("{key:?}")) {
        return Ok(Value::Integer(1));
    }
    // Had WHERE left out the first, the second would be fine.
    if *filtered == Value::Integer(1) {
        return Err(SqlError::unsupported("ON CONFLICT DO UPDATE … WHERE of a key that comes twice"));
    }
    Err(SqlError::new(
        state::CARDINALITY_VIOLATION,
        "ON CONFLICT DO UPDATE command cannot affect row a second time",
    ))
}

/// `g_kept_rows(step)`: an array of JSON with an item for each row.
fn kept_rows(info: &StatementInfo, values: &[Value]) -> Result<Value, SqlError> {
    let [step] = values else { return Err(SqlError::internal("no step")) };
    let kept = info.kept.lock().unwrap_or_else(PoisonError::into_inner);
    let rows = kept.get(&index(step)?).ok_or_else(|| SqlError::internal("a step that did not run"))?;
    let items = "0,".repeat(rows.len());
    Ok(Value::Text(format!("[{}]", items.trim_end_matches(','))))
}

/// `g_kept(step, row, column)`: what the step gave.
fn kept(info: &StatementInfo, values: &[Value]) -> Result<Value, SqlError> {
    let [step, row, column] = values else { return Err(SqlError::internal("no step")) };
    let kept = info.kept.lock().unwrap_or_else(PoisonError::into_inner);
    let cell = kept.get(&index(step)?).and_then(|rows| rows.get(index(row).ok()?)?.get(index(column).ok()?));
    cell.cloned().ok_or_else(|| SqlError::internal("a row that no step gave"))
}

fn index(value: &Value) -> Result<usize, SqlError> {
    let index = if let Value::Integer(index) = value { usize::try_from(*index).ok() } else { None };
    index.ok_or_else(|| SqlError::internal("an index that is none"))
}

/// Microseconds since the Unix epoch.
pub fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

type PlainBody = fn(&StatementInfo) -> Result<Value, SqlError>;

const TABLE: [(&str, PlainBody); 9] = [
    ("g_now", |info| Ok(Value::Integer(info.now_micros))),
    ("g_clock", |_| Ok(Value::Integer(now_micros()))),
    ("g_current_user", |info| Ok(name_of(info, info.actor.current))),
    ("g_session_user", |info| Ok(name_of(info, info.actor.session))),
    ("g_current_database", |info| {
        Ok(info.context.database.as_ref().map_or(Value::Null, |name| Value::Text(name.to_string())))
    }),
    ("g_current_schema", |info| Ok(current_schema(info))),
    ("g_uuid", |_| random_uuid()),
    ("g_random", |_| random_unit()),
    ("g_unique_rowid", |info| Ok(Value::Integer(unique_rowid(info.node_id)))),
];

/// The functions, for the row store.
pub fn functions() -> Vec<Function> {
    TABLE
        .iter()
        .map(|&(name, body)| Function {
            name,
            arguments: 0,
            deterministic: false,
            body: Arc::new(move |context, _| info(context).and_then(body).map_err(|error| raise(&error))),
        })
        .chain(CATALOG_TABLE.map(catalog_function))
        .collect()
}

type CatalogBody = fn(&StatementInfo, &[Value]) -> Result<Value, SqlError>;

/// Functions that read the statement's catalog or move its sequences; these by their number. NULL of NULL.
const CATALOG_TABLE: [(&str, i32, CatalogBody); 9] = [
    ("g_proposed", -1, proposed),
    ("g_kept_rows", 1, kept_rows),
    ("g_kept", 3, kept),
    ("g_enum_in", 2, |info, values| match values {
        [Value::Text(label), id] => {
            enums::position(info.view.state(), object_id(id)?, label).map(Value::Integer)
        }
        _ => Ok(Value::Null),
    }),
    ("g_enum_out", 2, |info, values| match values {
        [Value::Integer(position), id] => {
            let label = enums::label(info.view.state(), object_id(id)?, *position)?;
            Ok(Value::Text(label.to_owned()))
        }
        _ => Ok(Value::Null),
    }),
    ("g_nextval", 1, |info, values| {
        let (id, name, sequence) = sequence(info, values)?;
        info.sequences.next(id, name, sequence).map(Value::Integer)
    }),
    ("g_setval", 3, |info, values| match values {
        [_, Value::Integer(value), Value::Integer(is_called)] => {
            let (id, name, sequence) = sequence(info, values)?;
            info.sequences.set(id, (name, sequence), *value, *is_called != 0).map(Value::Integer)
        }
        _ => Ok(Value::Null),
    }),
    ("g_currval", 1, |info, values| {
        let (id, name, _) = sequence(info, values)?;
        info.sequences.current(id, name).map(Value::Integer)
    }),
    ("g_lastval", 0, |info, _| info.sequences.latest().map(Value::Integer)),
];

fn catalog_function((name, arguments, body): (&'static str, i32, CatalogBody)) -> Function {
    let call = move |context: Option<&StatementContext>, values: &[Value]| body(info(context)?, values);
    let body = Arc::new(move |context: Option<&StatementContext>, values: &[Value]| {
        call(context, values).map_err(|error| raise(&error))
    });
    Function { name, arguments, deterministic: false, body }
}

fn object_id(value: &Value) -> Result<ObjectId, SqlError> {
    let id = if let Value::Integer(id) = value { u32::try_from(*id).ok() } else { None };
    id.map(ObjectId).ok_or_else(|| SqlError::internal("an object without a number"))
}

/// The sequence that the first argument is the number of.
fn sequence<'i>(
    info: &'i StatementInfo,
    values: &[Value],
) -> Result<(ObjectId, &'i Name, &'i Sequence), SqlError> {
    let id = object_id(values.first().unwrap_or(&Value::Null))?;
    match info.view.state().object(id).map(|object| (&object.name, &object.body)) {
        Some((name, Body::Sequence(sequence))) => Ok((id, name, sequence)),
        Some(_) | None => Err(SqlError::internal("a sequence that is none")),
    }
}

/// What the statement put there.
pub(super) fn info(context: Option<&StatementContext>) -> Result<&StatementInfo, SqlError> {
    context
        .and_then(|context| context.downcast_ref::<StatementInfo>())
        .ok_or_else(|| SqlError::internal("a function was called outside of a statement"))
}

fn name_of(info: &StatementInfo, principal: grantd_catalog::id::PrincipalId) -> Value {
    Value::Text(info.view.state().principal_name(principal).to_string())
}

/// The first schema of the search path that exists.
fn current_schema(info: &StatementInfo) -> Value {
    let found = info.context.search_path.iter().find(|schema| {
        let name = grantd_catalog::command::SchemaName { database: None, schema: (*schema).clone() };
        info.view.state().resolve_schema(&info.context, &name).is_ok()
    });
    found.map_or(Value::Null, |name| Value::Text(name.to_string()))
}

fn random_bytes<const N: usize>() -> Result<[u8; N], SqlError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| SqlError::internal(format!("the system gives no random numbers: {error}")))?;
    Ok(bytes)
}

fn random_uuid() -> Result<Value, SqlError> {
    let mut bytes = random_bytes::<16>()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(Value::Text(text::uuid(&bytes)))
}

/// From 0 up to and without 1: 53 random bits, as many as a double holds.
#[allow(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
fn random_unit() -> Result<Value, SqlError> {
    let bits = u64::from_le_bytes(random_bytes::<8>()?) >> 11;
    Ok(Value::Real(bits as f64 / (1_u64 << 53) as f64))
}

/// CockroachDB's layout: ten-microsecond ticks since 2014, then 15 bits of the node. Strictly increasing in a
/// process; a node that leads again has a later clock, or else the row's key collides and the statement fails.
fn unique_rowid(node_id: u64) -> i64 {
    const EPOCH_2014_MICROS: i64 = 1_388_534_400_000_000;
    static LAST: AtomicU64 = AtomicU64::new(0);
    let ticks = u64::try_from((now_micros() - EPOCH_2014_MICROS) / 10).unwrap_or(0);
    let previous = LAST
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(ticks.max(last + 1)))
        .unwrap_or(ticks);
    let tick = ticks.max(previous + 1);
    i64::try_from((tick << 15 | node_id & 0x7fff) & i64::MAX.unsigned_abs()).unwrap_or(i64::MAX)
}
