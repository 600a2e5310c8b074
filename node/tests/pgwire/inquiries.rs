//! Inquiries: answered at once, as part of no transaction, and those that came together from one view.

use grantd_node::pgwire::Server;
use grantd_node::sql::execute::Place;

use crate::raw::{FLUSH, Raw, SYNC, bind, execute, frame, parse};
use crate::scripted::{Script, server_config, start};

async fn root() -> (Server, Script, Raw) {
    let (server, script) = start(server_config()).await;
    let mut raw = Raw::connect(&server, 3 << 16, &[("user", "root")]).await;
    assert_eq!(raw.ask(&[parse("s", "truth"), SYNC.to_vec()].concat()).await, ["Parsed", "Ready I"]);
    (server, script, raw)
}

fn asked(word: &str) -> Vec<u8> {
    [bind("", "s", &[word]), execute("", 0)].concat()
}

#[tokio::test]
async fn answers_come_in_order_and_in_the_format_that_was_asked_for() {
    let (_server, script, mut raw) = root().await;
    let replies = raw.ask(&[asked("yes"), asked("no"), asked("null"), SYNC.to_vec()].concat()).await;
    let answer = |row: &str| ["Bound".to_owned(), format!("Row {row}"), "Complete SELECT 1".to_owned()];
    let rows = ["b\"t\"", "b\"f\"", "b\"\""].map(answer).concat();
    assert_eq!(replies, [rows, vec!["Ready I".to_owned()]].concat());
    let binary = frame(b'B', b"\0s\0\0\0\0\x01\0\0\0\x03yes\0\x01\0\x01");
    let replies = raw.ask(&[binary, execute("", 0), SYNC.to_vec()].concat()).await;
    assert_eq!(replies, ["Bound", "Row b\"\\x01\"", "Complete SELECT 1", "Ready I"]);
    // It was executed by nobody, and there was no transaction.
    assert_eq!((script.places(), script.commits()), (Vec::new(), 0));
}

#[tokio::test]
async fn those_that_came_together_share_a_view_until_something_is_sent_or_done() {
    let (_server, script, mut raw) = root().await;
    raw.ask(&[asked("yes"), asked("no"), asked("yes"), SYNC.to_vec()].concat()).await;
    assert_eq!(script.views(), 1);
    raw.ask(&[asked("yes"), SYNC.to_vec()].concat()).await;
    assert_eq!(script.views(), 1);
    raw.ask(&[asked("yes"), FLUSH.to_vec(), asked("yes"), SYNC.to_vec()].concat()).await;
    assert_eq!(script.views(), 2);
    // What comes later is asked later.
    raw.send(&asked("yes")).await;
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    raw.ask(&[asked("yes"), SYNC.to_vec()].concat()).await;
    assert_eq!(script.views(), 2);
}

#[tokio::test]
async fn a_refusal_skips_to_sync_and_costs_no_session() {
    let (_server, script, mut raw) = root().await;
    let replies = raw.ask(&[asked("yes"), asked("bad"), asked("yes"), SYNC.to_vec()].concat()).await;
    let refused = "ERROR | 42704 | no such role";
    assert_eq!(replies, ["Bound", "Row b\"t\"", "Complete SELECT 1", "Bound", refused, "Ready I"]);
    assert_eq!(raw.ask(&[asked("no"), SYNC.to_vec()].concat()).await[1], "Row b\"f\"");
    assert_eq!(script.places(), []);
}

#[tokio::test]
async fn a_portal_is_answered_once() {
    let (_server, _script, mut raw) = root().await;
    let twice = [bind("p", "s", &["yes"]), execute("p", 1), execute("p", 1), SYNC.to_vec()].concat();
    let replies = raw.ask(&twice).await;
    assert_eq!(replies, ["Bound", "Row b\"t\"", "Complete SELECT 1", "Complete SELECT 0", "Ready I"]);
}

#[tokio::test]
async fn what_must_wait_is_executed_alone_and_in_a_transaction_it_is_part_of_that() {
    let (_server, script, mut raw) = root().await;
    let run = |text: &str| [parse("", text), bind("", "", &[]), execute("", 0)].concat();
    // It begins no transaction, and one that is open already is not left.
    raw.ask(&[asked("yes"), run("one"), asked("yes"), SYNC.to_vec()].concat()).await;
    assert_eq!(script.places(), [Place::Inner; 2]);
    assert_eq!(script.commits(), 1);
    script.wait();
    let replies = raw.ask(&[asked("yes"), asked("no"), SYNC.to_vec()].concat()).await;
    assert_eq!(replies.len(), 7);
    assert_eq!(script.places(), [Place::Alone; 2]);
    assert_eq!(script.commits(), 1);
}
