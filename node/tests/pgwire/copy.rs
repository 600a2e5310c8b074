//! COPY on the wire: who says what when, and what is left of it after an error.

use bytes::Bytes;
use grantd_node::pgwire::Server;

use crate::raw::{FLUSH, Raw, SYNC, bind, describe_statement, execute, frame, parse, query};
use crate::scripted::{Script, server_config, start};

async fn root() -> (Server, Script, Raw) {
    let (server, script) = start(server_config()).await;
    let raw = Raw::connect(&server, 3 << 16, &[("user", "root")]).await;
    (server, script, raw)
}

fn data(bytes: &[u8]) -> Vec<u8> {
    frame(b'd', bytes)
}

fn done() -> Vec<u8> {
    frame(b'c', b"")
}

fn fail(reason: &str) -> Vec<u8> {
    frame(b'f', &[reason.as_bytes(), b"\0"].concat())
}

const BEGUN: &str = "CopyIn 0 [0, 0]";

#[tokio::test]
async fn rows_of_a_simple_query_go_in_until_copy_done() {
    let (_server, script, mut raw) = root().await;
    raw.send(&query("copyin; grant")).await;
    assert_eq!(raw.replies(1).await, [BEGUN]);
    let said =
        raw.ask(&[data(b"1\ta\n2"), FLUSH.to_vec(), SYNC.to_vec(), data(b"\tb\n"), done()].concat()).await;
    assert_eq!(said, ["Complete COPY 2", "Complete GRANT", "Ready I"]);
    assert_eq!(script.copied(), ["1", "a", "2", "b"]);
}

#[tokio::test]
async fn rows_reach_the_sink_before_the_last_one_came() {
    let (_server, script, mut raw) = root().await;
    raw.send(&query("copyin")).await;
    let rows = "1\ta\n".repeat(1_000);
    raw.send(&data(rows.as_bytes())).await;
    while script.copied().len() < 2_000 {
        tokio::task::yield_now().await;
    }
    // Few of them too, while the client pauses.
    raw.send(&data(b"2\tb\n3")).await;
    while script.copied().len() < 2_002 {
        tokio::task::yield_now().await;
    }
    let said = raw.ask(&[data(b"\tc"), done()].concat()).await;
    assert_eq!(said, [BEGUN, "Complete COPY 1002", "Ready I"]);
}

#[tokio::test]
async fn an_error_in_the_data_ends_a_simple_query_and_the_rest_of_the_data_is_ignored() {
    let (_server, script, mut raw) = root().await;
    let bad = "ERROR | 22P02 | could not parse \"x\" as type int | COPY t, line 2, column c1: \"x\"";
    raw.send(&query("copyin; grant")).await;
    let said = raw.ask(&[data(b"1\ta\nx\tb\n"), data(b"3\tc\n"), done()].concat()).await;
    assert_eq!(said, [BEGUN, bad, "Ready I"]);
    assert_eq!(raw.ask(&query("grant")).await, ["Complete GRANT", "Ready I"]);
    assert_eq!(script.copied(), [""; 0]);
    // What the sink refuses is told at once as well.
    raw.send(&query("copyin")).await;
    let said = raw.ask(&[data(b"1\trefused\n"), done()].concat()).await;
    assert_eq!(said, [BEGUN, "ERROR | 42501 | no more", "Ready I"]);
}

#[tokio::test]
async fn the_client_may_give_up() {
    let (_server, script, mut raw) = root().await;
    raw.send(&query("copyin")).await;
    let said = raw.ask(&[data(b"1\ta\n"), fail("had enough")].concat()).await;
    let given_up = "ERROR | 57014 | COPY from stdin failed: had enough";
    assert_eq!(said, [BEGUN, given_up, "Ready I"]);
    assert_eq!(script.copied(), [""; 0]);
}

#[tokio::test]
async fn in_the_extended_protocol_sync_comes_after_copy_done() {
    let (_server, script, mut raw) = root().await;
    let begin = [
        parse("", "copyin"),
        describe_statement(""),
        bind("", "", &[]),
        execute("", 0),
        // As libpq sends it, before it knows that this is a COPY.
        SYNC.to_vec(),
    ];
    let begun = ["Parsed", "Parameters []", "NoData", "Bound", BEGUN];
    raw.send(&begin.concat()).await;
    assert_eq!(raw.replies(5).await, begun);
    let said = raw.ask(&[data(b"1\ta\n"), done(), SYNC.to_vec()].concat()).await;
    assert_eq!(said, ["Complete COPY 1", "Ready I"]);
    assert_eq!(script.copied(), ["1", "a"]);
    raw.send(&begin.concat()).await;
    assert_eq!(raw.replies(5).await, begun);
    let bad = "ERROR | 22P04 | missing data for column \"c2\" | COPY t, line 1: \"1\"";
    let said = raw.ask(&[data(b"1\n"), data(b"2\n"), query("grant"), done(), SYNC.to_vec()].concat()).await;
    assert_eq!(said, [bad, "Ready I"]);
}

#[tokio::test]
async fn another_message_while_rows_come_ends_the_connection() {
    let (_server, _, mut raw) = root().await;
    raw.send(&query("copyin")).await;
    let said = raw.ask(&query("grant")).await;
    let lost = "FATAL | 08P01 | unexpected message type 0x51 during COPY from stdin";
    assert_eq!(said, [BEGUN, lost]);
}

#[tokio::test]
async fn a_copy_that_waits_for_rows_can_be_cancelled() {
    let (_server, script, mut raw) = root().await;
    raw.send(&query("copyin")).await;
    assert_eq!(raw.replies(1).await, [BEGUN]);
    script.cancel();
    assert_eq!(raw.until_ready().await, ["ERROR | 57014 | query execution canceled", "Ready I"]);
    assert_eq!(raw.ask(&[done(), query("grant")].concat()).await, ["Complete GRANT", "Ready I"]);
}

#[tokio::test]
async fn rows_go_out_one_a_message() {
    let (_server, _, mut raw) = root().await;
    let line = |text: &'static str| format!("CopyData {:?}", Bytes::from_static(text.as_bytes()));
    let rows = ["CopyOut 0 [0, 0]".to_owned(), line("1\ta\\tb\n"), line("2\t\\N\n")];
    let end = ["CopyDone".to_owned(), "Complete COPY 2".to_owned()];
    let ready = ["Ready I".to_owned()];
    let said = raw.ask(&query("copyout")).await;
    assert_eq!(said, [&rows[..], &end, &ready].concat());
    let said =
        raw.ask(&[parse("", "copyout"), bind("", "", &[]), execute("", 1), SYNC.to_vec()].concat()).await;
    let bound = ["Parsed".to_owned(), "Bound".to_owned()];
    assert_eq!(said, [&bound[..], &rows, &end, &ready].concat());
}

#[tokio::test]
async fn data_outside_of_copy_is_ignored() {
    let (_server, _, mut raw) = root().await;
    let said = raw.ask(&[data(b"x"), fail("x"), done(), query("grant")].concat()).await;
    assert_eq!(said, ["Complete GRANT", "Ready I"]);
}
