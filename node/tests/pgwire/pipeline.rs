//! What is executed before one Sync is one transaction; one statement alone is not one of several.

use std::time::Duration;

use grantd_node::pgwire::Server;
use grantd_node::sql::execute::Place;

use crate::raw::{FLUSH, Raw, SYNC, bind, close_portal, execute, frame, parse, query};
use crate::scripted::{Script, server_config, start};

async fn root() -> (Server, Script, Raw) {
    let (server, script) = start(server_config()).await;
    let raw = Raw::connect(&server, 3 << 16, &[("user", "root")]).await;
    (server, script, raw)
}

/// A statement from Parse to Execute.
fn run(text: &str) -> Vec<u8> {
    [parse("", text), bind("", "", &[]), execute("", 0)].concat()
}

/// What is said of statements that succeed.
fn said(tags: &[&str]) -> Vec<String> {
    tags.iter().flat_map(|tag| ["Parsed".to_owned(), "Bound".to_owned(), format!("Complete {tag}")]).collect()
}

fn with_end(mut replies: Vec<String>, end: &[&str]) -> Vec<String> {
    replies.extend(end.iter().map(|reply| (*reply).to_owned()));
    replies
}

#[tokio::test]
async fn a_statement_that_sync_follows_is_no_transaction_of_several() {
    let (_server, script, mut raw) = root().await;
    for _ in 0..2 {
        let replies = raw.ask(&[run("grant"), SYNC.to_vec()].concat()).await;
        assert_eq!(replies, with_end(said(&["GRANT"]), &["Ready I"]));
    }
    // Clients close what they have executed before they send Sync.
    let replies = raw.ask(&[run("grant"), close_portal(""), SYNC.to_vec()].concat()).await;
    assert_eq!(replies, with_end(said(&["GRANT"]), &["Closed", "Ready I"]));
    assert_eq!(script.places(), [Place::Alone; 3]);
    assert_eq!(script.commits(), 0);
}

#[tokio::test]
async fn that_holds_however_the_bytes_arrive() {
    let (_server, script, mut raw) = root().await;
    for rest in [SYNC.to_vec(), [close_portal("p"), SYNC.to_vec()].concat()] {
        raw.send(&run("grant")).await;
        for byte in rest {
            tokio::time::sleep(Duration::from_millis(2)).await;
            raw.send(&[byte]).await;
        }
        let replies = raw.until_ready().await;
        assert_eq!(replies[..3], said(&["GRANT"]));
    }
    assert_eq!(script.places(), [Place::Alone; 2]);
    // Of several the first one waits to be known as such.
    raw.send(&run("grant")).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(script.places(), []);
    raw.send(&run("revoke")).await;
    raw.send(SYNC).await;
    assert_eq!(raw.until_ready().await, with_end(said(&["GRANT", "REVOKE"]), &["Ready I"]));
    assert_eq!(script.places(), [Place::Inner; 2]);
    assert_eq!(script.commits(), 1);
}

#[tokio::test]
async fn all_that_is_executed_before_one_sync_is_committed_by_it() {
    let (_server, script, mut raw) = root().await;
    let replies = raw.ask(&[run("one"), run("two"), run("three"), SYNC.to_vec()].concat()).await;
    assert_eq!(replies, with_end(said(&["ONE", "TWO", "THREE"]), &["Ready I"]));
    assert_eq!(script.places(), [Place::Inner; 3]);
    assert_eq!(script.commits(), 1);
    // Flush asks for an answer, and nobody knows what comes then.
    raw.send(&[run("one"), FLUSH.to_vec()].concat()).await;
    assert_eq!(raw.replies(3).await, said(&["ONE"]));
    assert_eq!(script.commits(), 1);
    assert_eq!(raw.ask(SYNC).await, ["Ready I"]);
    assert_eq!(script.commits(), 2);
}

#[tokio::test]
async fn an_error_takes_all_of_it_back() {
    let (_server, script, mut raw) = root().await;
    let error = "ERROR | 22012 | division by zero | Really. | Do not.";
    let replies = raw.ask(&[run("one"), run("fail"), run("three"), SYNC.to_vec()].concat()).await;
    assert_eq!(replies, with_end(said(&["ONE"]), &["Parsed", "Bound", error, "Ready I"]));
    let unknown = "ERROR | 42P01 | relation does not exist";
    let replies = raw.ask(&[run("one"), parse("", "unknown"), SYNC.to_vec()].concat()).await;
    assert_eq!(replies, with_end(said(&["ONE"]), &[unknown, "Ready I"]));
    // What the protocol itself refuses is no different.
    let replies = raw.ask(&[run("one"), execute("nowhere", 0), SYNC.to_vec()].concat()).await;
    let nowhere = "ERROR | 34000 | portal \"nowhere\" does not exist";
    assert_eq!(replies, with_end(said(&["ONE"]), &[nowhere, "Ready I"]));
    assert_eq!(script.commits(), 0);
    let replies = raw.ask(&[run("one"), SYNC.to_vec()].concat()).await;
    assert_eq!(replies, with_end(said(&["ONE"]), &["Ready I"]));
    assert_eq!(script.places().last(), Some(&Place::Alone));
}

#[tokio::test]
async fn a_commit_that_fails_is_told_before_the_session_is_ready() {
    let (_server, script, mut raw) = root().await;
    script.fail_commit();
    let replies = raw.ask(&[run("one"), run("two"), SYNC.to_vec()].concat()).await;
    assert_eq!(replies, with_end(said(&["ONE", "TWO"]), &["ERROR | 40001 | not committed", "Ready I"]));
    let replies = raw.ask(&[run("one"), SYNC.to_vec()].concat()).await;
    assert_eq!(replies, with_end(said(&["ONE"]), &["Ready I"]));
}

#[tokio::test]
async fn begin_makes_it_a_block_that_outlives_sync() {
    let (_server, script, mut raw) = root().await;
    let replies = raw.ask(&[run("one"), run("begin 5000"), run("two"), SYNC.to_vec()].concat()).await;
    assert_eq!(replies, with_end(said(&["ONE", "BEGIN", "TWO"]), &["Ready T"]));
    let replies = raw.ask(&[run("end"), run("one"), run("two"), SYNC.to_vec()].concat()).await;
    assert_eq!(replies, with_end(said(&["COMMIT", "ONE", "TWO"]), &["Ready I"]));
    assert_eq!(script.commits(), 1);
}

#[tokio::test]
async fn a_simple_query_ends_what_was_executed_before_it() {
    let (_server, script, mut raw) = root().await;
    let replies = raw.ask(&[run("one"), query("two; three")].concat()).await;
    assert_eq!(replies, with_end(said(&["ONE"]), &["Complete TWO", "Complete THREE", "Ready I"]));
    let replies = raw.ask(&[run("one"), query(" ")].concat()).await;
    assert_eq!(replies, with_end(said(&["ONE"]), &["Empty", "Ready I"]));
    assert_eq!(script.commits(), 2);
}

#[tokio::test]
async fn a_copy_is_one_of_them_or_alone_as_what_follows_its_end_says() {
    let (_server, script, mut raw) = root().await;
    let rows = [frame(b'd', b"1\ta\n"), frame(b'c', b"")].concat();
    let begun = ["Parsed", "Bound", "CopyIn 0 [0, 0]"];
    // The client may wait for the answer, with or without Sync.
    for sync in [&b""[..], SYNC] {
        raw.send(&[&run("copyin"), sync].concat()).await;
        assert_eq!(raw.replies(3).await, begun);
        assert_eq!(raw.ask(&[&rows, SYNC].concat()).await, ["Complete COPY 1", "Ready I"]);
    }
    assert_eq!(script.commits(), 0);
    raw.send(&run("copyin")).await;
    assert_eq!(raw.replies(3).await, begun);
    let replies = raw.ask(&[rows, run("one"), SYNC.to_vec()].concat()).await;
    assert_eq!(replies, with_end(vec!["Complete COPY 1".to_owned()], &with(&said(&["ONE"]), "Ready I")));
    assert_eq!(script.commits(), 1);
}

fn with<'a>(replies: &'a [String], end: &'a str) -> Vec<&'a str> {
    replies.iter().map(String::as_str).chain([end]).collect()
}
