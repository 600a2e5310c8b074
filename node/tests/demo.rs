//! The tour of `grantd demo`, as a newcomer runs it: three nodes, every line verified by the tour itself.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::process::{Command, Stdio};

use grantd_node::demo::cluster::Cluster;
use grantd_node::pgclient::{self, Login};
use grantd_node::secret::Secret;
use tokio_postgres::{Client, SimpleQueryMessage};

#[test]
fn the_tour_holds_and_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_grantd"))
        .args(["demo", "--tour"])
        .env("TMPDIR", temporary.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}\n{error}");
    assert!(out.trim_end().ends_with("statements did what this tour said they would."), "{out}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "the demo's directory is removed");
}

#[test]
fn a_directory_that_is_not_empty_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("precious"), "x").unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_grantd"))
        .args(["demo", "--tour", "--keep"])
        .arg(directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is not empty"));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

/// The first cell of the last row.
async fn ask(client: &Client, text: &str) -> String {
    let messages = client.simple_query(text).await.unwrap();
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    });
    rows.last().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_on_any_node_begins_with_what_its_role_was_given() {
    let mut cluster = Cluster::start(None).await.unwrap();
    let root = pgclient::connect(&cluster.target(1, "root").login()).await.unwrap();
    root.batch_execute(
        "CREATE USER amy PASSWORD 'sesame'; ALTER ROLE amy SET client_min_messages = 'warning';
         ALTER ROLE amy IN DATABASE defaultdb SET statement_timeout = '7s'; ALTER ROLE ALL SET lock_timeout = '3s';
         SET CLUSTER SETTING sql.defaults.idle_in_transaction_session_timeout = '5s'",
    )
    .await
    .unwrap();
    let given = [
        ("client_min_messages", "warning"),
        ("statement_timeout", "7s"),
        ("lock_timeout", "3s"),
        ("idle_in_transaction_session_timeout", "5s"),
    ];
    for node in 1..=3 {
        let login = cluster.target(node, "root").login();
        let password = Some(Secret::new("sesame".to_owned()));
        let login = Login { user: "amy".to_owned(), certificate: None, password, ..login };
        let amy = pgclient::connect(&login).await.unwrap();
        for (name, value) in given {
            assert_eq!(ask(&amy, &format!("SHOW {name}")).await, value, "{name} on node {node}");
        }
        let reset = "SET statement_timeout = '1s'; RESET statement_timeout; SHOW statement_timeout";
        assert_eq!(ask(&amy, reset).await, "7s");
    }
    cluster.stop().await;
}
