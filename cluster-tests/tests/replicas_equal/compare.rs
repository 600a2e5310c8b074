//! Whether replicas are the same: by their checksums, by what their files hold, and by what their clients are shown.

use std::collections::BTreeSet;

use grantd_cluster_tests::process::{Cluster, Node};
use grantd_node::admin::ChecksumReport;
use grantd_node::sql::system;
use grantd_raft::config::STATE_FILE;
use grantd_raft::rows;
use tokio_postgres::{Client, SimpleQueryMessage};

/// The most differences that are told: the first ones say what is wrong.
const TOLD_MAX: usize = 20;

/// Waits until all nodes are at one version, and gives what is different there, and the sums of the first one.
pub async fn checksums(cluster: &Cluster) -> (Vec<String>, ChecksumReport) {
    let mut sums = cluster.checksums_of_one_version().await;
    let first = sums.remove(0);
    let mut found = Vec::new();
    for (other, node) in sums.iter().zip(&cluster.nodes[1..]) {
        if other.catalog != first.catalog {
            found.push(format!("the catalog of node {} has another checksum", node.id));
        }
        let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) =
            (first.tables.iter().collect(), other.tables.iter().collect());
        for (table, rows, crc) in theirs.symmetric_difference(&ours) {
            found.push(format!("{table} of node {} or the first: {rows} rows, {crc:08x}", node.id));
        }
    }
    (found, first)
}

/// What the files of these nodes, which must be stopped, hold differently; and the lines of the first one.
pub fn files(nodes: &[Node]) -> (Vec<String>, usize) {
    let dump = |node: &Node| {
        assert!(!node.is_running(), "node {} is stopped", node.id);
        rows::dump(&node.data.join(STATE_FILE), &system::extensions()).expect("the file can be read")
    };
    let first = dump(&nodes[0]);
    let mut found: Vec<_> =
        first.iter().filter(|line| line.starts_with("check:") && *line != WHOLE).cloned().collect();
    for node in &nodes[1..] {
        let other = dump(node);
        found.extend(lines(&format!("node {}", node.id), &first, &other));
    }
    (found, first.len())
}

/// What SQLite's own check of a file answers if rows and indexes fit.
const WHOLE: &str = "check: integrity_check='ok'";

/// What the nodes show their clients differently, each asked for itself; and how many lines the first one showed.
pub async fn shown(cluster: &Cluster) -> (Vec<String>, usize) {
    let mut found = Vec::new();
    let mut first: Option<Vec<String>> = None;
    for node in &cluster.nodes {
        let root = cluster.root(node).await.expect("root logs in");
        let shown = everything(&root).await;
        match &first {
            Some(first) => found.extend(lines(&format!("node {}", node.id), first, &shown)),
            None => first = Some(shown),
        }
    }
    (found, first.map_or(0, |lines| lines.len()))
}

async fn everything(root: &Client) -> Vec<String> {
    let mut all = Vec::new();
    for query in ["SHOW USERS", "SHOW GRANTS", "SHOW SYSTEM GRANTS", "SHOW ENUMS", "SHOW SEQUENCES"] {
        all.extend(answer(root, query).await);
    }
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' \
                  AND table_type = 'BASE TABLE' ORDER BY table_name";
    let tables = root.query(tables, &[]).await.expect("the tables");
    for table in tables.iter().map(|row| row.get::<_, String>(0)) {
        all.extend(answer(root, &format!("SHOW CREATE TABLE {table}")).await);
        all.extend(answer(root, &format!("SELECT * FROM {table}")).await);
    }
    all
}

/// The rows as text. Their order is nothing that SQL promises: it is left out.
async fn answer(root: &Client, query: &str) -> Vec<String> {
    let messages = root.simple_query(query).await.unwrap_or_else(|error| panic!("{query}: {error:?}"));
    let mut rows: Vec<_> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let values =
                    (0..row.len()).map(|at| row.get(at).map_or("NULL".to_owned(), |v| format!("{v:?}")));
                Some(format!("{query}: {}", values.collect::<Vec<_>>().join(" ")))
            }
            _ => None,
        })
        .collect();
    rows.sort();
    rows
}

/// Lines that are in one and not in the other.
fn lines(whose: &str, first: &[String], other: &[String]) -> Vec<String> {
    if first == other {
        return Vec::new();
    }
    let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) = (first.iter().collect(), other.iter().collect());
    let mut found = vec![format!("{whose} differs: {} lines instead of {}", other.len(), first.len())];
    found.extend(ours.difference(&theirs).take(TOLD_MAX).map(|line| format!("only on the first: {line}")));
    found.extend(theirs.difference(&ours).take(TOLD_MAX).map(|line| format!("only on {whose}: {line}")));
    found
}
