//! The columns and rows of SHOW SESSIONS, SHOW QUERIES and SHOW CLUSTER NODES.
//!
//! Columns and order are CockroachDB v22.2's. A node that did not answer has a row with its number, its reason where the
//! statement's text would be, and nothing else, as there.

use grantd_catalog::command::Actor;
use grantd_catalog::id::ObjectId;
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::{lacks_activity, lacks_system_privilege};
use grantd_catalog::view::View;

use crate::activity::Id;
use crate::activity::cluster::{ClusterActivity, Listing, NodeRow, Scope, Sight, sight};
use crate::activity::report::SessionReport;
use crate::cloud::outside::Outside;
use crate::error::SqlError;
use crate::sql::parse::activity::{ActivityStatement, Listed};
use crate::sql::system::{external, job};
use crate::value::{ColumnInfo, Datum, SqlType};

/// The columns of SHOW SESSIONS, and of `crdb_internal.node_sessions` and `cluster_sessions`.
pub const SESSION: &[(&str, SqlType)] = &[
    ("node_id", SqlType::Int8),
    ("session_id", SqlType::Text),
    ("status", SqlType::Text),
    ("user_name", SqlType::Text),
    ("client_address", SqlType::Text),
    ("application_name", SqlType::Text),
    ("active_queries", SqlType::Text),
    ("last_active_query", SqlType::Text),
    ("session_start", SqlType::TimestampTz),
    ("active_query_start", SqlType::TimestampTz),
    ("num_txns_executed", SqlType::Int8),
];

/// The columns of SHOW QUERIES, and of `crdb_internal.node_queries` and `cluster_queries`.
pub const QUERY: &[(&str, SqlType)] = &[
    ("query_id", SqlType::Text),
    ("node_id", SqlType::Int8),
    ("session_id", SqlType::Text),
    ("user_name", SqlType::Text),
    ("start", SqlType::TimestampTz),
    ("query", SqlType::Text),
    ("client_address", SqlType::Text),
    ("application_name", SqlType::Text),
    ("distributed", SqlType::Bool),
    ("phase", SqlType::Text),
];

/// The columns of `crdb_internal.node_transactions` and `cluster_transactions`. There is no text of a transaction, and
/// nothing of it is tried again by itself.
pub const TRANSACTION: &[(&str, SqlType)] = &[
    ("id", SqlType::Uuid),
    ("node_id", SqlType::Int8),
    ("session_id", SqlType::Text),
    ("start", SqlType::TimestampTz),
    ("txn_string", SqlType::Text),
    ("application_name", SqlType::Text),
    ("num_stmts", SqlType::Int8),
    ("num_retries", SqlType::Int8),
    ("num_auto_retries", SqlType::Int8),
    ("last_auto_retry_reason", SqlType::Text),
];

/// The columns; none: it returns no rows.
pub fn columns(statement: &ActivityStatement) -> Option<Vec<ColumnInfo>> {
    use SqlType::{Bool, Int8, Text, Uuid};
    let columns: &[(&str, SqlType)] = match statement {
        ActivityStatement::Show(Listed::Sessions, _) => SESSION,
        ActivityStatement::Show(Listed::Queries, _) => QUERY,
        ActivityStatement::Show(Listed::Transactions, _) => &[
            ("node_id", Int8),
            ("txn_id", Uuid),
            ("application_name", Text),
            ("num_stmts", Int8),
            ("num_retries", Int8),
            ("num_auto_retries", Int8),
        ],
        ActivityStatement::Nodes => &[
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
            ("reachable", Bool),
            ("release", Text),
            ("uptime_ms", Int8),
        ],
        ActivityStatement::Credentials(_) => external::CREDENTIAL,
        ActivityStatement::Cancel { .. } => return None,
    };
    let column =
        |(name, sql_type): &(&str, SqlType)| ColumnInfo { name: (*name).to_owned(), sql_type: *sql_type };
    Some(columns.iter().map(column).collect())
}

/// SHOW SESSIONS.
pub fn sessions(listing: &Listing) -> Vec<Vec<Datum>> {
    let mut rows: Vec<_> = listing.sessions.iter().map(session).collect();
    for (node, reason) in &listing.silent {
        let mut row = vec![Datum::Null; 11];
        row[0] = int(*node);
        row[6] = Datum::Text(format!("-- {reason}"));
        rows.push(row);
    }
    rows
}

fn session(session: &SessionReport) -> Vec<Datum> {
    let running = session.running.as_ref();
    vec![
        int(session.node),
        text(session.id),
        text(if running.is_some() { "ACTIVE" } else { "IDLE" }),
        text(&session.user),
        text(&session.client_address),
        text(&session.application_name),
        text(running.map_or("", |running| running.text.as_str())),
        text(session.last_query.as_deref().unwrap_or_default()),
        Datum::TimestampTz(session.began_micros),
        running.map_or(Datum::Null, |running| Datum::TimestampTz(running.began_micros)),
        int(session.transactions),
    ]
}

/// SHOW QUERIES.
pub fn queries(listing: &Listing) -> Vec<Vec<Datum>> {
    let running = listing.sessions.iter().filter_map(|session| Some((session, session.running.as_ref()?)));
    let mut rows: Vec<_> = running
        .map(|(session, running)| {
            vec![
                text(running.id),
                int(session.node),
                text(session.id),
                text(&session.user),
                Datum::TimestampTz(running.began_micros),
                text(&running.text),
                text(&session.client_address),
                text(&session.application_name),
                // Every statement runs on one node.
                Datum::Bool(false),
                text("executing"),
            ]
        })
        .collect();
    for (node, reason) in &listing.silent {
        let mut row = vec![Datum::Null; 10];
        row[1] = int(*node);
        row[5] = Datum::Text(format!("-- {reason}"));
        rows.push(row);
    }
    rows
}

/// SHOW TRANSACTIONS: the blocks that are open, and each statement that runs outside of one.
pub fn transactions(listing: &Listing) -> Vec<Vec<Datum>> {
    let mut rows: Vec<_> = open(listing)
        .map(|(session, id, statements)| {
            let number = Datum::Uuid(id.0.to_be_bytes());
            vec![int(session.node), number, text(&session.application_name), int(statements), int(0), int(0)]
        })
        .collect();
    for (node, reason) in &listing.silent {
        let mut row = vec![Datum::Null; 6];
        row[0] = int(*node);
        row[2] = Datum::Text(format!("-- {reason}"));
        rows.push(row);
    }
    rows
}

/// The same as `crdb_internal.node_transactions` and `cluster_transactions` have it.
fn transactions_in_full(listing: &Listing) -> Vec<Vec<Datum>> {
    let mut rows: Vec<_> = open(listing)
        .map(|(session, id, statements)| {
            vec![
                Datum::Uuid(id.0.to_be_bytes()),
                int(session.node),
                text(session.id),
                Datum::TimestampTz(id.began_micros()),
                Datum::Null,
                text(&session.application_name),
                int(statements),
                int(0),
                int(0),
                Datum::Null,
            ]
        })
        .collect();
    for (node, reason) in &listing.silent {
        let mut row = vec![Datum::Null; TRANSACTION.len()];
        row[1] = int(*node);
        row[5] = Datum::Text(format!("-- {reason}"));
        rows.push(row);
    }
    rows
}

/// Transactions that are open: of whom, their numbers, and how many statements they have run.
fn open(listing: &Listing) -> impl Iterator<Item = (&SessionReport, Id, u64)> {
    listing.sessions.iter().filter_map(|session| match (&session.block, &session.running) {
        (Some(block), running) => Some((session, block.id, block.statements + u64::from(running.is_some()))),
        (None, Some(running)) => Some((session, running.id, 1)),
        (None, None) => None,
    })
}

/// SHOW CLUSTER NODES.
pub fn nodes(rows: &[NodeRow]) -> Vec<Vec<Datum>> {
    rows.iter()
        .map(|row| {
            let mut cells = vec![int(row.id), text(&row.raft_address), text(&row.sql_address)];
            match &row.report {
                Ok(report) => cells.extend([
                    text(&report.server_state),
                    report.leader.map_or(Datum::Null, int),
                    int(report.term),
                    int(report.last_log),
                    int(report.applied),
                    int(report.snapshot),
                    int(report.purged),
                    Datum::Bool(true),
                    text(&report.release),
                    int(report.uptime_ms),
                ]),
                Err(_) => {
                    cells.extend(std::iter::repeat_n(Datum::Null, 7));
                    cells.extend([Datum::Bool(false), Datum::Null, Datum::Null]);
                }
            }
            cells
        })
        .collect()
}

fn text(value: impl ToString) -> Datum {
    Datum::Text(value.to_string())
}

fn int(value: u64) -> Datum {
    Datum::Int(i64::try_from(value).unwrap_or(i64::MAX))
}

/// The rows of one of `crdb_internal`'s tables of sessions, queries and nodes, as far as `actor` may see them on `view`;
/// none: it is no such table. Columns are those of the statement of the same content. Takes at most
/// [`crate::activity::cluster::ANSWER_TIME_MAX`]; nodes that do not answer have their row.
///
/// Errors: 42501, for the nodes without VIEWCLUSTERMETADATA, and for the queries without VIEWACTIVITY or
/// VIEWACTIVITYREDACTED (since 22.2.13).
pub async fn table(
    (activity, outside): (&ClusterActivity, &Outside),
    name: &str,
    actor: Actor,
    view: &View,
) -> Result<Option<Vec<Vec<Datum>>>, SqlError> {
    let scope = if name.starts_with("cluster_") { Scope::Cluster } else { Scope::Local };
    Ok(Some(match name {
        "node_sessions" | "cluster_sessions" => sessions(&activity.sessions(view, actor, scope).await),
        "node_queries" | "cluster_queries" => {
            may_see_others(view, actor)?;
            queries(&activity.sessions(view, actor, scope).await)
        }
        "node_transactions" | "cluster_transactions" => {
            transactions_in_full(&activity.sessions(view, actor, scope).await)
        }
        "node_credentials" | "cluster_credentials" => {
            external::credentials(outside, activity, (view, actor), scope).await?
        }
        // What statements cost is not kept yet; who may not see it is told so.
        "node_statement_statistics" => {
            may_see_others(view, actor)?;
            Vec::new()
        }
        "jobs" => job::table(view, actor.current, crate::gate::log_now()),
        "gossip_nodes" => {
            may_see_nodes(view, actor)?;
            nodes(&activity.nodes().await)
        }
        "ranges" => {
            may_see_nodes(view, actor)?;
            vec![range(&activity.nodes().await)]
        }
        "node_runtime_info" => {
            may_see_nodes(view, actor)?;
            let own = activity.own();
            let row =
                |field: &str, value: String| vec![int(own.node()), text("grantd"), text(field), text(value)];
            vec![
                row("release", env!("CARGO_PKG_VERSION").to_owned()),
                row("sessions", own.len().to_string()),
                row("uptime_ms", own.uptime_ms().to_string()),
            ]
        }
        _ => return Ok(None),
    }))
}

/// The one range: everything, on every member, led by whom most say.
fn range(nodes: &[NodeRow]) -> Vec<Datum> {
    let members: Vec<_> = nodes.iter().map(|row| row.id.to_string()).collect();
    let leader = nodes.iter().filter_map(|row| row.report.as_ref().ok()).find_map(|report| report.leader);
    vec![
        Datum::Int(1),
        text("/Min"),
        text("/Max"),
        Datum::Text(format!("{{{}}}", members.join(","))),
        leader.map_or(Datum::Null, int),
    ]
}

/// VIEWACTIVITY or VIEWACTIVITYREDACTED, as privilege or option, or admin.
pub(super) fn may_see_others(view: &View, actor: Actor) -> Result<(), SqlError> {
    match sight(view, actor) {
        Sight::Own => Err(lacks_activity(&view.state().principal_name(actor.current)).into()),
        Sight::Redacted | Sight::Full => Ok(()),
    }
}

/// VIEWCLUSTERMETADATA, or admin.
pub fn may_see_nodes(view: &View, actor: Actor) -> Result<(), SqlError> {
    let privilege = Privilege::ViewClusterMetadata;
    let user = || view.state().principal_name(actor.current);
    let held = view.state().check_privilege(actor.current, ObjectId::CLUSTER, privilege);
    held.map_err(|_| lacks_system_privilege(&user(), privilege).into())
}
