//! Tables of what only running nodes know: sessions, queries, nodes; and of jobs, which are shown in the same way.
//!
//! A virtual table is read on a thread that cannot wait, so what others must be asked is asked before the statement
//! begins, and its rows travel with the statement.

use std::sync::Arc;

use grantd_catalog::command::Actor;
use grantd_catalog::id::ObjectId;
use grantd_catalog::view::View;
use grantd_raft::rows::{self, Value, VirtualRow};

use super::{Computed, Look, shape};
use crate::activity::cluster::ClusterActivity;
use crate::cloud::outside::Outside;
use crate::error::SqlError;
use crate::sql::system::activity::{self, QUERY, SESSION, TRANSACTION};
use crate::sql::system::context::LiveRows;
use crate::sql::system::external::CREDENTIAL;
use crate::sql::system::job::JOBS;
use crate::value::{Datum, SqlType};
use SqlType::{Bool, Float8, Int4, Int8, Name, Oid, Text, TimestampTz};

/// Asks for the rows of those among `tables` that only running nodes know, as far as `actor` may see them.
pub async fn fetch(
    live: (&ClusterActivity, &Outside),
    tables: impl Iterator<Item = ObjectId>,
    actor: Actor,
    view: &View,
) -> Result<LiveRows, SqlError> {
    let mut rows = LiveRows::new();
    for table in tables.filter_map(asked_for) {
        if !rows.contains_key(table)
            && let Some(found) = activity::table(live, table, actor, view).await?
        {
            rows.insert(table, found);
        }
    }
    Ok(rows)
}

/// The table whose rows are asked for to show this one.
fn asked_for(table: ObjectId) -> Option<&'static str> {
    let (schema, name) = shape(table)?.computed.place();
    let live = LIVE.iter().find(|live| live.place() == (schema, name)).map(|live| live.name);
    live.or_else(|| (name == PG_STAT_ACTIVITY.name).then_some(SESSIONS.name))
}

/// A table whose rows were asked for before the statement began.
pub(super) struct Live {
    name: &'static str,
    columns: &'static [(&'static str, SqlType)],
}

impl Computed for Live {
    fn place(&self) -> (&'static str, &'static str) {
        ("crdb_internal", self.name)
    }

    fn keys(&self) -> &'static [&'static str] {
        &[]
    }

    fn columns(&self) -> Vec<(&'static str, SqlType)> {
        self.columns.to_vec()
    }

    fn rows(&'static self, look: &Look) -> rows::Scan {
        let rows = look.info.live.get(self.name).cloned().unwrap_or_default();
        let stored = |row: Vec<Datum>| self.stored(&row).map(|row| Box::new(row) as Box<dyn VirtualRow>);
        Box::new(rows.into_iter().map(stored))
    }
}

impl Live {
    fn stored(&self, row: &[Datum]) -> Result<Vec<Value>, String> {
        let cells = row.iter().zip(self.columns);
        let values = cells.map(|(cell, (_, sql_type))| cell.to_row(*sql_type));
        values.collect::<Result<_, _>>().map_err(|error| crate::sql::translate::scalar::raise(&error))
    }
}

/// Columns are those of SHOW SESSIONS, SHOW QUERIES and SHOW CLUSTER NODES where there is such a statement.
static SESSIONS: Live = Live { name: "node_sessions", columns: SESSION };
static CLUSTER_SESSIONS: Live = Live { name: "cluster_sessions", columns: SESSION };
static QUERIES: Live = Live { name: "node_queries", columns: QUERY };
static CLUSTER_QUERIES: Live = Live { name: "cluster_queries", columns: QUERY };
static TRANSACTIONS: Live = Live { name: "node_transactions", columns: TRANSACTION };
static CLUSTER_TRANSACTIONS: Live = Live { name: "cluster_transactions", columns: TRANSACTION };
static CREDENTIALS: Live = Live { name: "node_credentials", columns: CREDENTIAL };
static CLUSTER_CREDENTIALS: Live = Live { name: "cluster_credentials", columns: CREDENTIAL };
static NODES: Live = Live {
    name: "gossip_nodes",
    columns: &[
        ("node_id", Int8),
        ("address", Text),
        ("sql_address", Text),
        ("role", Text),
        ("leader", Int8),
        ("term", Int8),
        ("last_log", Int8),
        ("applied", Int8),
        ("snapshot", Int8),
        ("purged", Int8),
        ("is_live", Bool),
        ("build_tag", Text),
        ("uptime_ms", Int8),
    ],
};
static RUNTIME: Live = Live {
    name: "node_runtime_info",
    columns: &[("node_id", Int8), ("component", Text), ("field", Text), ("value", Text)],
};
static JOB_TABLE: Live = Live { name: "jobs", columns: &JOBS };
/// One range: every node has everything.
static RANGES: Live = Live {
    name: "ranges",
    columns: &[
        ("range_id", Int8),
        ("start_pretty", Text),
        ("end_pretty", Text),
        ("replicas", Text),
        ("lease_holder", Int8),
    ],
};
static STATEMENTS: Live = Live {
    name: "node_statement_statistics",
    columns: &[
        ("node_id", Int8),
        ("application_name", Text),
        ("key", Text),
        ("count", Int8),
        ("service_lat_avg", Float8),
    ],
};

const LIVE: &[&Live] = &[
    &SESSIONS,
    &CLUSTER_SESSIONS,
    &QUERIES,
    &CLUSTER_QUERIES,
    &TRANSACTIONS,
    &CLUSTER_TRANSACTIONS,
    &CREDENTIALS,
    &CLUSTER_CREDENTIALS,
    &NODES,
    &RUNTIME,
    &JOB_TABLE,
    &RANGES,
    &STATEMENTS,
];

pub(super) const TABLES: &[&dyn Computed] = &[
    &SESSIONS,
    &CLUSTER_SESSIONS,
    &QUERIES,
    &CLUSTER_QUERIES,
    &TRANSACTIONS,
    &CLUSTER_TRANSACTIONS,
    &CREDENTIALS,
    &CLUSTER_CREDENTIALS,
    &NODES,
    &RUNTIME,
    &JOB_TABLE,
    &RANGES,
    &STATEMENTS,
    &PG_STAT_ACTIVITY,
];

/// The sessions of this node, as PostgreSQL shows them.
static PG_STAT_ACTIVITY: super::Of<Session> = super::Of {
    schema: "pg_catalog",
    name: "pg_stat_activity",
    keys: &[],
    items: |look| {
        let rows = look.info.live.get(SESSIONS.name).cloned().unwrap_or_default();
        let info = Arc::clone(&look.info);
        let stored = rows.into_iter().filter_map(|row| SESSIONS.stored(&row).ok());
        Box::new(stored.map(move |row| Session { info: Arc::clone(&info), row }))
    },
    columns: &[
        ("datid", Oid, |_| Value::Null),
        ("datname", Name, |_| Value::Null),
        ("pid", Int4, |_| Value::Null),
        ("leader_pid", Int4, |_| Value::Null),
        ("usesysid", Oid, Session::user_id),
        ("usename", Name, |session| session.cell(3)),
        ("application_name", Text, |session| session.cell(5)),
        ("client_addr", Text, |session| session.cell(4)),
        ("client_hostname", Text, |_| Value::Null),
        ("client_port", Int4, |_| Value::Null),
        ("backend_start", TimestampTz, |session| session.cell(8)),
        ("xact_start", TimestampTz, |_| Value::Null),
        ("query_start", TimestampTz, |session| session.cell(9)),
        ("state_change", TimestampTz, |_| Value::Null),
        ("wait_event_type", Text, |_| Value::Null),
        ("wait_event", Text, |_| Value::Null),
        ("state", Text, Session::state),
        ("backend_xid", Oid, |_| Value::Null),
        ("backend_xmin", Oid, |_| Value::Null),
        ("query", Text, Session::query),
        ("backend_type", Text, |_| super::text("client backend")),
    ],
};

/// A row of `node_sessions`.
struct Session {
    info: Arc<crate::sql::system::context::StatementInfo>,
    row: Vec<Value>,
}

impl Session {
    fn cell(&self, at: usize) -> Value {
        self.row.get(at).cloned().unwrap_or(Value::Null)
    }

    fn state(&self) -> Value {
        super::text(if self.cell(2) == super::text("ACTIVE") { "active" } else { "idle" })
    }

    fn query(&self) -> Value {
        match self.cell(6) {
            Value::Text(running) if !running.is_empty() => Value::Text(running),
            _ => self.cell(7),
        }
    }

    fn user_id(&self) -> Value {
        let Value::Text(name) = self.cell(3) else { return Value::Null };
        let name = grantd_catalog::name::RoleName::from(name.as_str());
        self.info.view.state().principal_id(&name).map_or(Value::Null, |id| super::number(id.0))
    }
}
