//! Functions whose value comes from the statement: its time, its session, its node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use grantd_catalog::command::{Actor, NameContext};
use grantd_catalog::view::View;
use grantd_raft::rows::{Function, StatementContext, Value};

use crate::sql::error::SqlError;
use crate::sql::translate::scalar::raise;
use crate::sql::value::text;

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
}

/// Microseconds since the Unix epoch.
pub fn now_micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

type Body = fn(&StatementInfo) -> Result<Value, SqlError>;

const TABLE: [(&str, Body); 9] = [
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
        .collect()
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
