//! Bad input, end to end: each case gets one clear error that names the thing, the cause and the way out, nothing is
//! lost, and nobody else notices.
//!
//! What single parts refuse is tested beside them. Here are real processes, what they say on standard error, how they
//! end, and what the rest of the cluster does meanwhile.

use std::net::UdpSocket;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

use grantd_cluster_tests::process::{Cluster, Node, binary, until};
use grantd_node::admin::{Answer, Request};
use grantd_node::cert;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

mod bad_input {
    pub mod disk;
    pub mod stranger;
}

use bad_input::disk::SmallDisk;
use bad_input::stranger;

/// Bytes of SQLite's write-ahead log before its first frame, of a frame's header, and of its page.
const WAL_HEADER_BYTES: usize = 32;
const WAL_FRAME_BYTES: usize = 24 + 4_096;
/// Where the header of an SQLite file has the lowest byte of `user_version`, which we keep the format in.
const FORMAT_AT: usize = 63;
/// How a process that aborts ends, on every Linux.
const SIGABRT: i32 = 6;

/// A cluster with a table of three rows.
async fn cluster_with_rows(nodes: u64) -> Cluster {
    let cluster = Cluster::start(nodes).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute("CREATE TABLE item (id INT8 PRIMARY KEY, note TEXT)").await.expect("a table");
    root.batch_execute("INSERT INTO item VALUES (1, 'a'), (2, 'b'), (3, 'c')").await.expect("rows");
    cluster
}

/// The cluster answers and takes writes, has the rows that it had and the new ones, and no node has panicked.
async fn assert_unharmed(cluster: &Cluster) {
    for node in cluster.nodes.iter().filter(|node| node.is_running()) {
        // A node that came back follows the log a moment before it listens for clients.
        until("the node lets root in", async || cluster.root(node).await.is_ok()).await;
        let root = cluster.root(node).await.expect("root logs in");
        let id = i64::try_from(node.id).expect("small") + 1_000;
        root.execute("UPSERT INTO item VALUES ($1, 'after')", &[&id]).await.expect("a write");
        assert_eq!(count(&root, "note IN ('a', 'b', 'c')").await, 3, "on node {}", node.id);
    }
    cluster.converged_checksum().await;
    for node in &cluster.nodes {
        assert_no_panic(&node.logged());
    }
}

async fn count(client: &Client, condition: &str) -> i64 {
    let counted = client.query_one(&format!("SELECT count(*) FROM item WHERE {condition}"), &[]).await;
    counted.expect("a count").get(0)
}

/// A user's mistake shows no trace of the program's inside.
fn assert_no_panic(said: &str) {
    for inside in ["panicked at", "RUST_BACKTRACE", "stack backtrace"] {
        assert!(!said.contains(inside), "{said}");
    }
}

/// The one error that a command ended with: its `error:`, `cause:` and `help:` lines, without what it logged before.
fn only_error(said: &str) -> &str {
    assert_no_panic(said);
    assert_eq!(said.matches("error: ").count(), 1, "one error, and nothing twice: {said}");
    &said[said.find("error: ").expect("counted")..]
}

#[track_caller]
fn assert_refused((code, said): (Option<i32>, String), expected_code: i32, words: &[&str]) {
    let error = only_error(&said);
    assert_eq!(code, Some(expected_code), "{said}");
    for word in words {
        assert!(error.contains(word), "`{word}` is missing in:\n{error}");
    }
}

fn grantd(arguments: &[&str], variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(binary()).args(arguments).env_clear().envs(variables.iter().copied()).output();
    let output = output.expect("grantd runs");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary paths are UTF-8")
}

/// The command line and the file.
mod settings {
    use super::*;

    #[test]
    fn an_unknown_flag_is_named_with_the_one_that_was_probably_meant() {
        let (code, said) = grantd(&["start", "--data-dri", "x"], &[]);
        assert_eq!(code, Some(2));
        assert!(said.starts_with("error: unexpected argument '--data-dri' found"), "{said}");
        assert!(said.contains("'--data-dir'") && said.contains("--help"), "{said}");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_file_and_the_keys_there_are() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("grantd.toml");
        std::fs::write(&file, "data_dir = 'never-made'\nsnapshot-entries = 500\n").expect("a file");
        let said = grantd(&["start", "--config", text(&file)], &[]);
        let named = format!("unknown key `snapshot-entries` in `{}`", file.display());
        assert_refused(
            said,
            2,
            &[&named, "\n help: did you mean `snapshot_entries`? The keys are: data_dir, certs_dir"],
        );
        assert!(!Path::new("never-made").exists(), "nothing is begun with half a configuration");
    }

    #[test]
    fn a_file_that_is_no_toml_is_named_with_the_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("grantd.toml");
        std::fs::write(&file, "data_dir = 'x'\nlisten = 127.0.0.1:1\n").expect("a file");
        let said = grantd(&["start", "--config", text(&file)], &[]);
        assert_refused(said, 2, &[&format!("`{}` is not valid TOML", file.display()), "line 2", "\n help: "]);
    }

    #[test]
    fn a_value_that_does_not_fit_is_named_with_its_origin_and_what_would_fit() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("grantd.toml");
        std::fs::write(&file, "request_timeout_ms = 'soon'\n").expect("a file");
        let expected = "expected a whole number from";
        let said = grantd(&["start", "--config", text(&file)], &[]);
        let origin = format!("request_timeout_ms = `soon` (in `{}`): {expected}", file.display());
        assert_refused(said, 2, &[&origin]);
        let said = grantd(&["start", "--request-timeout-ms", "-1"], &[]);
        assert_eq!(said.0, Some(2), "{}", said.1);
        let said = grantd(&["start", "--request-timeout-ms=0"], &[]);
        assert_refused(
            said,
            2,
            &[&format!("request_timeout_ms = `0` (from --request-timeout-ms): {expected}")],
        );
        let said = grantd(&["start"], &[("GRANTD_LISTEN", "here")]);
        assert_refused(said, 2, &["listen = `here` (from the variable GRANTD_LISTEN): expected `host:port`"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_or_a_directory_in_use_is_named_and_who_has_it_goes_on() {
    let mut cluster = cluster_with_rows(1).await;
    let (sql_port, raft_port) = (cluster.nodes[0].sql_port, cluster.nodes[0].raft_port);
    let new = cluster.add_node();
    let (own_sql, own_raft) = (new.sql_port, new.raft_port);

    new.sql_port = sql_port;
    let named = format!("cannot listen on 127.0.0.1:{sql_port} for SQL clients");
    assert_refused(
        new.refusal(),
        1,
        &[&named, "\ncause: Address already in use", "choose another with --sql-listen"],
    );

    (new.sql_port, new.raft_port) = (own_sql, raft_port);
    let named = format!("the address 127.0.0.1:{raft_port} for peers is in use");
    assert_refused(new.refusal(), 1, &["node 2 cannot start", &named, "choose another", "--listen"]);

    new.raft_port = own_raft;
    let own = cluster.nodes[0].data.clone();
    let mut twin = cluster.nodes[0].certs.clone();
    let new = cluster.node(2);
    std::mem::swap(&mut new.certs, &mut twin);
    let unused = std::mem::replace(&mut new.data, own.clone());
    let named = format!("the data directory `{}` is in use by another process; stop it, or", own.display());
    assert_refused(new.refusal(), 1, &[&named]);

    (new.certs, new.data) = (twin, unused);
    new.start();
    cluster.until_all_vote().await;
    assert_unharmed(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_peers_would_not_accept_is_found_at_start() {
    let mut cluster = cluster_with_rows(1).await;
    let ca = cluster.ca();
    let new = cluster.add_node();
    let (certificate, key) = (new.certs.join(cert::NODE_CERT), new.certs.join(cert::NODE_KEY));
    let good = (std::fs::read(&certificate).expect("made"), std::fs::read(&key).expect("made"));

    stranger::expired_node(&ca, &new.certs, new.id);
    let named = format!("node 2 cannot serve TLS with the files in `{}`", new.certs.display());
    let way_out = "grantd cert create-node --id 2";
    let fault = "\ncause: the node's certificate cannot be used: it has expired";
    assert_refused(new.refusal(), 1, &[&named, fault, way_out]);

    let other = stranger::other_ca(&ca);
    let options = cert::Options { days: 2, overwrite: true };
    let theirs = tempfile::tempdir().expect("a directory");
    cert::create_node(&other, theirs.path(), new.id, &["localhost".to_owned()], &options)
        .expect("a certificate");
    for file in [cert::NODE_CERT, cert::NODE_KEY] {
        std::fs::copy(theirs.path().join(file), new.certs.join(file)).expect("copied");
    }
    assert_refused(
        new.refusal(),
        1,
        &[&named, "certificate cannot be used: it is not signed by the CA", way_out],
    );

    std::fs::write(&certificate, good.0).expect("written");
    std::fs::write(&key, good.1).expect("written");
    new.start();
    cluster.until_all_vote().await;
    assert_unharmed(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_ca_stays_outside_and_both_sides_say_why() {
    let mut cluster = cluster_with_rows(1).await;
    let other = stranger::other_ca(&cluster.ca());
    let options = cert::Options { days: 2, overwrite: true };
    let new = cluster.add_node();
    std::fs::copy(other.join(cert::CA_CERT), new.certs.join(cert::CA_CERT)).expect("copied");
    cert::create_node(&other, &new.certs, new.id, &["localhost".to_owned()], &options)
        .expect("a certificate");
    new.start();
    let reason = "its certificate was not accepted: another CA signed it; give all nodes the same ca.crt";
    new.until("it says why", async |node| node.logged().contains(reason)).await;
    let inside = &cluster.nodes[0];
    let reason = "it did not accept the certificate of this node: another CA signed it";
    inside.until("it says why", async |node| node.logged().contains(reason)).await;
    let members = cluster.leader_status().await.expect("a leader").members;
    assert_eq!(members.iter().map(|member| member.id).collect::<Vec<_>>(), [1]);
    cluster.node(2).kill();
    assert_unharmed(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_of_another_ca_is_told_that_the_ca_is_wrong() {
    let cluster = cluster_with_rows(1).await;
    let other = stranger::other_ca(&cluster.ca());
    let port = cluster.nodes[0].sql_port.to_string();
    let sql = |certs: &Path| {
        grantd(
            &["sql", "--port", &port, "--certs-dir", text(certs), "-e", "SELECT 1"],
            &[("HOME", "/nowhere")],
        )
    };
    let named = format!("cannot connect to localhost:{port} as root");
    // The client does not trust the node.
    assert_refused(
        sql(&other),
        3,
        &[&named, "\ncause: ", "certificate", "\n help: ", "by the CA in the certs directory"],
    );
    // The client's own certificate is of another CA than the one that it trusts.
    std::fs::copy(cluster.ca().join(cert::CA_CERT), other.join(cert::CA_CERT)).expect("copied");
    let file = format!("`{}`", other.join("client.root.crt").display());
    assert_refused(sql(&other), 3, &[&named, &file, "it is not signed by the CA beside it", "\n help: "]);
    assert_eq!(sql(&cluster.ca()).0, Some(0), "and the right one is let in");
    assert_unharmed(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_directory_of_another_cluster_is_refused_by_this_one() {
    let mut cluster = cluster_with_rows(1).await;
    let stray = cluster.add_node();
    let ours = std::mem::take(&mut stray.join);
    stray.start();
    stray.until("it waits", async |node| node.status().await.is_some()).await;
    assert_eq!(stray.admin(&Request::Init).await, Some(Answer::Done));
    let theirs = stray.status().await.and_then(|status| status.cluster_id).expect("a cluster of its own");
    stray.stop().await;

    stray.join = ours.clone();
    let (code, said) = stray.refusal();
    let own = cluster.leader_status().await.and_then(|status| status.cluster_id).expect("a cluster");
    assert_refused((code, said), 1, &["node 2 cannot go on", &ours, &own, &theirs, "empty data directory"]);
    let members = cluster.leader_status().await.expect("a leader").members;
    assert_eq!(members.iter().map(|member| member.id).collect::<Vec<_>>(), [1]);
    assert_unharmed(&cluster).await;

    // In its own cluster the directory is as good as before.
    let stray = cluster.node(2);
    stray.join.clear();
    stray.start();
    stray
        .until("it leads", async |node| {
            node.status().await.is_some_and(|status| {
                status.cluster_id.as_ref() == Some(&theirs) && status.server_state == "leader"
            })
        })
        .await;
}

/// Changes bytes of a file, and gives them back.
fn change(file: &Path, at: usize, to: impl Fn(u8) -> u8) -> impl FnOnce() {
    let file = file.to_path_buf();
    let good = std::fs::read(&file).expect("a file");
    let mut bad = good.clone();
    bad[at] = to(bad[at]);
    std::fs::write(&file, bad).expect("written");
    move || std::fs::write(&file, good).expect("written")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_format_is_refused_by_file_and_the_others_go_on() {
    let mut cluster = cluster_with_rows(3).await;
    cluster.node(3).stop().await;
    for (file, known) in [("raft.db", 1), ("state.db", 3)] {
        let node = cluster.node(3);
        let path = node.data.join(file);
        let restore = change(&path, FORMAT_AT, |format| format + 1);
        let newer = known + 1;
        let named = format!(
            "`{}` has format {newer}, and this release reads up to {known}; start the newer release",
            path.display()
        );
        assert_refused(node.refusal(), 1, &["node 3 cannot start", &named]);
        restore();
        assert_unharmed(&cluster).await;
    }
    cluster.node(3).start();
    cluster.until_all_caught_up().await;
    assert_unharmed(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_end_of_the_log_is_dropped_at_start() {
    let mut cluster = cluster_with_rows(3).await;
    cluster.converged_checksum().await;
    let before = cluster.nodes[2].status().await.expect("it runs").last_log;
    let node = cluster.node(3);
    node.kill();
    // As a crash leaves a transaction that was being written, and not yet synced: pages that came and one that came
    // in part.
    let path = node.data.join("raft.db-wal");
    let mut bytes = std::fs::read(&path).expect("a killed node leaves its write-ahead log");
    assert!(bytes.len() > WAL_HEADER_BYTES, "with what was written since it started");
    let mut torn = bytes[bytes.len() - WAL_FRAME_BYTES..].to_vec();
    torn[4..8].fill(0);
    bytes.extend_from_slice(&torn);
    bytes.extend_from_slice(&torn[..WAL_FRAME_BYTES / 2]);
    std::fs::write(&path, bytes).expect("written");
    node.start();
    node.until("it answers", async |node| {
        node.status().await.is_some_and(|status| status.last_log >= before)
    })
    .await;
    cluster.until_all_caught_up().await;
    assert_unharmed(&cluster).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_middle_of_the_log_is_refused_by_entry_and_the_others_go_on() {
    let mut cluster = cluster_with_rows(3).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    root.batch_execute("INSERT INTO item VALUES (4, 'in the middle of the log')").await.expect("a row");
    root.batch_execute("INSERT INTO item VALUES (5, 'behind it')").await.expect("a row");
    cluster.converged_checksum().await;
    let node = cluster.node(3);
    node.stop().await;
    let path = node.data.join("raft.db");
    let marker = b"in the middle of the log";
    let good = std::fs::read(&path).expect("a log");
    let at = good.windows(marker.len()).position(|window| window == marker).expect("the entry is in the log");
    let restore = change(&path, at, |byte| byte ^ 1);
    let named = format!("`{}` is damaged at entry ", path.display());
    let way_out = "remove it from the cluster with `grantd node remove`, then join again with an empty directory and a new id";
    assert_refused(node.refusal(), 1, &["node 3 cannot start", &named, "checksum", way_out]);
    assert_unharmed(&cluster).await;
    restore();
    cluster.node(3).start();
    cluster.until_all_caught_up().await;
    assert_unharmed(&cluster).await;
}

/// Writes rows of 100 kB, one after another, until node 3 ends by itself; gives how many were acknowledged. The
/// statements go to node `at`, and may fail only if that is node 3, whose last one nobody knows the end of.
async fn write_until_node_3_ends(cluster: &mut Cluster, at: u64) -> i64 {
    let root = cluster.root(&cluster.nodes[usize::from(at == 3) * 2]).await.expect("root logs in");
    let note = "x".repeat(100_000);
    let mut acknowledged = 0;
    while cluster.node(3).has_ended().is_none() {
        assert!(acknowledged < 1_000, "100 MB fit on a disk of a few");
        let id = 10_001 + acknowledged;
        let written = root.execute("INSERT INTO item VALUES ($1, $2)", &[&id, &note]).await;
        match written {
            Ok(_) => acknowledged += 1,
            Err(error) => assert!(at == 3, "{error:?}"),
        }
    }
    acknowledged
}

/// How a node whose disk is full ends: at once, and with one line that says why and what to do.
async fn assert_stopped_for_its_disk(node: &mut Node, disk: &SmallDisk) {
    let end = node.until_end().await;
    assert_eq!(end.signal(), Some(SIGABRT), "it must not answer anybody any more: {end}");
    let said = node.logged();
    let errors: Vec<&str> = said.lines().filter(|line| line.contains("ERROR")).collect();
    let [error] = errors[..] else { panic!("one error, and nothing twice:\n{said}") };
    assert!(error.contains(&format!("`{}", node.data.display())) || error.contains("`state.db`"), "{error}");
    assert!(error.contains(disk.cause()), "{error}");
    assert!(error.contains("make room on its disk, or repair it, then start the node again"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_disk_is_full_stops_and_catches_up_when_there_is_space() {
    let mut cluster = cluster_with_rows(2).await;
    let node = cluster.add_node();
    let disk = SmallDisk::under(node);
    node.start();
    cluster.until_all_vote().await;
    if cluster.leader().await == 3 {
        assert_eq!(cluster.nodes[2].admin(&Request::Transfer).await, Some(Answer::Done));
    }
    let acknowledged = write_until_node_3_ends(&mut cluster, 1).await;
    assert_stopped_for_its_disk(cluster.node(3), &disk).await;
    assert_unharmed(&cluster).await;
    disk.enlarge(cluster.node(3));
    cluster.node(3).start();
    cluster.until_all_caught_up().await;
    assert_unharmed(&cluster).await;
    let root = cluster.root(&cluster.nodes[2]).await.expect("root logs in");
    assert_eq!(count(&root, "id > 10000").await, acknowledged);
    cluster.node(3).kill();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_cannot_write_stops_and_what_it_acknowledged_is_there() {
    let mut cluster = cluster_with_rows(2).await;
    let node = cluster.add_node();
    let disk = SmallDisk::by_limit(node);
    node.start();
    cluster.until_all_vote().await;
    while cluster.leader().await != 3 {
        let leader = cluster.leader().await;
        // Refused if it leads no more, or handed to the third: both are tried again.
        cluster.node(leader).admin(&Request::Transfer).await;
    }
    let acknowledged = write_until_node_3_ends(&mut cluster, 3).await;
    assert_stopped_for_its_disk(cluster.node(3), &disk).await;
    assert_unharmed(&cluster).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("root logs in");
    let there = count(&root, "id > 10000").await;
    // The last one was not answered, and may have reached the others or not.
    assert!((acknowledged..=acknowledged + 1).contains(&there), "{acknowledged} acknowledged, {there} there");
    disk.enlarge(cluster.node(3));
    cluster.node(3).start();
    cluster.until_all_caught_up().await;
    assert_unharmed(&cluster).await;
}

/// What clients and strangers send.
mod messages {
    use super::*;

    fn refusal(error: &tokio_postgres::Error) -> (SqlState, String) {
        let error = error.as_db_error().unwrap_or_else(|| panic!("an answer: {error:?}"));
        (error.code().clone(), format!("{}; {}", error.message(), error.hint().unwrap_or("no hint")))
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_is_too_long_is_refused_with_54000_and_the_limit() {
        let cluster = cluster_with_rows(2).await;
        for node in &cluster.nodes {
            let root = cluster.root(node).await.expect("root logs in");
            // A statement: 1 MiB.
            let sql = format!("INSERT INTO item VALUES (7, '{}')", "x".repeat(1 << 20));
            let (code, said) = refusal(&root.batch_execute(&sql).await.expect_err("too long"));
            assert_eq!(code, SqlState::PROGRAM_LIMIT_EXCEEDED, "{said}");
            assert!(
                said.contains("a statement of more than 1048576 bytes;")
                    && said.contains("Send the rows in several statements"),
                "{said}"
            );
            // What a statement changes: 8 MiB.
            let note = "x".repeat(9 << 20);
            let changed = root.execute("INSERT INTO item VALUES (8, $1)", &[&note]).await;
            let (code, said) = refusal(&changed.expect_err("too long"));
            assert_eq!(code, SqlState::PROGRAM_LIMIT_EXCEEDED, "{said}");
            assert!(said.contains("an entry of the log takes 8388608; Change fewer rows"), "{said}");
            assert_eq!(count(&root, "id IN (7, 8)").await, 0, "and the session goes on");
            // A message: 16 MiB. It is not read, so its connection ends.
            let note = "x".repeat(17 << 20);
            let sent = root.execute("INSERT INTO item VALUES (9, $1)", &[&note]).await.expect_err("too long");
            let (code, said) = refusal(&sent);
            assert_eq!(code, SqlState::PROGRAM_LIMIT_EXCEEDED, "{said}");
            assert!(said.contains("is longer than 16777216"), "{said}");
            until("the connection has ended", async || root.is_closed()).await;
        }
        assert_unharmed(&cluster).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn garbage_on_the_sql_port_ends_its_connection_and_nothing_else() {
        let cluster = cluster_with_rows(1).await;
        let node = &cluster.nodes[0];
        let bystander = cluster.root(node).await.expect("root logs in");
        for garbage in stranger::garbage() {
            stranger::send_and_hear(node.sql_port, &garbage).await;
        }
        let answer = stranger::send_and_hear(node.sql_port, b"GET / HTTP/1.1\r\n\r\n").await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.contains("C08P01") && answer.contains("invalid length of startup packet"), "{answer}");
        assert_eq!(count(&bystander, "true").await, 3, "a session that was there goes on");
        assert_unharmed(&cluster).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn garbage_and_strangers_on_the_raft_port_reach_nothing() {
        let cluster = cluster_with_rows(2).await;
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for node in &cluster.nodes {
            for garbage in stranger::garbage().into_iter().cycle().take(500) {
                socket.send_to(&garbage, ("127.0.0.1", node.raft_port)).expect("sent");
            }
            let ca = cluster.ca().join(cert::CA_CERT);
            let refused = stranger::dial_without_certificate(&ca, node.id, node.raft_port).await;
            assert!(refused.contains("certificate"), "{refused}");
            let reason = "a connection was refused";
            node.until("it says whom it refused", async |node| node.logged().contains(reason)).await;
            let line = node.logged().lines().find(|line| line.contains(reason)).map(str::to_owned);
            assert!(line.as_ref().is_some_and(|line| line.contains("certificate")), "{line:?}");
        }
        let members = cluster.leader_status().await.expect("a leader").members;
        assert_eq!(members.len(), 2);
        assert_unharmed(&cluster).await;
    }
}
