use std::time::Duration;

use grantd_node::pgclient::Tls;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::types::Type;

use crate::raw::{FLUSH, Raw, SYNC, bind, close_statement, describe_statement, execute, frame, parse, query};
use crate::scripted::{client_config, client_tls, connect, server_config, start};

async fn root(server: &grantd_node::pgwire::Server) -> Raw {
    Raw::connect(server, 3 << 16, &[("user", "root")]).await
}

#[tokio::test]
async fn a_simple_query_stops_at_its_first_error() {
    let (server, _) = start(server_config()).await;
    let mut raw = root(&server).await;
    let said = raw.ask(&query("rows 1; grant; fail; revoke")).await;
    let row = format!("Row {:?}", bytes::Bytes::from_static(b"1"));
    let expected = [
        "Columns [\"c1 20 8 0\", \"c2 25 -1 0\"]",
        &row,
        "Complete SELECT 1",
        "Complete GRANT",
        "ERROR | 22012 | division by zero | Really. | Do not.",
        "Ready I",
    ];
    assert_eq!(said, expected);
    assert_eq!(raw.ask(&query(" ; ")).await, ["Empty", "Ready I"]);
    assert_eq!(raw.ask(&query("nothing")).await, ["Empty", "Ready I"]);
    assert_eq!(raw.ask(&query("a syntax error")).await, ["ERROR | 42601 | syntax error | 3", "Ready I"]);
    assert_eq!(raw.ask(&query("echo int8")).await, ["ERROR | 42P02 | there is no parameter $1", "Ready I"]);
}

#[tokio::test]
async fn notices_and_changed_settings_come_with_the_statement() {
    let (server, _) = start(server_config()).await;
    let mut raw = root(&server).await;
    let said = raw.ask(&query("notice; name x; name x; role bob")).await;
    let expected = [
        "WARNING | 01007 | look here | There.",
        "Complete GRANT",
        "application_name=x",
        "Complete SET",
        "Complete SET",
        "is_superuser=off",
        "Complete SET",
        "Ready I",
    ];
    assert_eq!(said, expected);
}

#[tokio::test]
async fn after_an_error_everything_is_skipped_to_sync() {
    let (server, _) = start(server_config()).await;
    let mut raw = root(&server).await;
    let said = raw
        .ask(
            &[
                parse("", "grant"),
                bind("", "", &[]),
                execute("", 0),
                parse("", "unknown t"),
                bind("", "", &[]),
                execute("", 0),
                query("grant"),
                SYNC.to_vec(),
                parse("", "revoke"),
                bind("", "", &[]),
                execute("", 0),
                SYNC.to_vec(),
            ]
            .concat(),
        )
        .await;
    let expected =
        ["Parsed", "Bound", "Complete GRANT", "ERROR | 42P01 | relation does not exist", "Ready I"];
    assert_eq!(said, expected);
    assert_eq!(raw.until_ready().await, ["Parsed", "Bound", "Complete REVOKE", "Ready I"]);
}

#[tokio::test]
async fn a_portal_gives_its_rows_in_parts() {
    let (server, _) = start(server_config()).await;
    let mut raw = root(&server).await;
    let kinds = |replies: Vec<String>| {
        replies
            .into_iter()
            .map(|reply| if reply.starts_with("Row") { "Row".to_owned() } else { reply })
            .collect()
    };
    raw.send(&[parse("s", "rows 5"), bind("p", "s", &[]), execute("p", 2), FLUSH.to_vec()].concat()).await;
    let first: Vec<String> = kinds(raw.replies(5).await);
    assert_eq!(first, ["Parsed", "Bound", "Row", "Row", "Suspended"]);
    raw.send(&[execute("p", 2), FLUSH.to_vec()].concat()).await;
    let second: Vec<String> = kinds(raw.replies(3).await);
    assert_eq!(second, ["Row", "Row", "Suspended"]);
    let rest: Vec<String> = kinds(raw.ask(&[execute("p", 2), execute("p", 2), SYNC.to_vec()].concat()).await);
    assert_eq!(rest, ["Row", "Complete SELECT 1", "Complete SELECT 0", "Ready I"]);
    let gone = raw.ask(&[execute("p", 0), SYNC.to_vec()].concat()).await;
    assert_eq!(gone, ["ERROR | 34000 | portal \"p\" does not exist", "Ready I"]);
}

#[tokio::test]
async fn statements_live_until_they_are_closed() {
    let (server, _) = start(server_config()).await;
    let mut raw = root(&server).await;
    let described =
        raw.ask(&[parse("s", "echo int8 text"), describe_statement("s"), SYNC.to_vec()].concat()).await;
    let columns = "Columns [\"c1 20 8 0\", \"c2 25 -1 0\"]";
    assert_eq!(described, ["Parsed", "Parameters [20, 25]", columns, "Ready I"]);
    let again = raw.ask(&[parse("s", "grant"), SYNC.to_vec()].concat()).await;
    assert_eq!(again, ["ERROR | 42P05 | prepared statement \"s\" already exists", "Ready I"]);
    let closed = raw.ask(&[close_statement("s"), bind("", "s", &["1", "a"]), SYNC.to_vec()].concat()).await;
    let gone = "ERROR | 26000 | prepared statement \"s\" does not exist";
    assert_eq!(closed, ["Closed", gone, "Ready I"]);
    let nothing = raw.ask(&[parse("", "grant"), describe_statement(""), SYNC.to_vec()].concat()).await;
    assert_eq!(nothing, ["Parsed", "Parameters []", "NoData", "Ready I"]);
}

#[tokio::test]
async fn parameters_that_do_not_fit_are_refused() {
    let (server, _) = start(server_config()).await;
    let mut raw = root(&server).await;
    let mut ask = async |values: &[&str]| {
        raw.ask(&[parse("", "echo int8"), bind("", "", values), SYNC.to_vec()].concat()).await[1].clone()
    };
    assert_eq!(ask(&["7"]).await, "Bound");
    let expected = "ERROR | 22P02 | error in argument for $1: could not parse \"x\" as type int";
    assert_eq!(ask(&["x"]).await, expected);
    let expected =
        "ERROR | 08P01 | bind message supplies 2 parameters, but prepared statement \"\" requires 1";
    assert_eq!(ask(&["1", "2"]).await, expected);
}

#[tokio::test]
async fn a_result_that_is_not_as_described_is_an_error() {
    let (server, _) = start(server_config()).await;
    let mut raw = root(&server).await;
    let said =
        raw.ask(&[parse("", "changed"), bind("", "", &[]), execute("", 0), SYNC.to_vec()].concat()).await;
    assert!(said[2].starts_with("ERROR | 0A000 | cached plan must not change result type"), "{said:?}");
}

#[tokio::test]
async fn malformed_frames_end_their_connection_with_one_error() {
    let (server, _) = start(server_config()).await;
    let other = connect(&client_config(&server, "root"), Some("root")).await.unwrap();
    let cases = [
        (frame(b'G', b""), "FATAL | 08P01 | invalid frontend message type 71"),
        (b"Q\0\0\0\x03".to_vec(), "FATAL | 08P01 | invalid message length"),
        (frame(b'Q', b"no end"), "FATAL | 08P01 | invalid string in message"),
        (frame(b'B', b"\0\0\0\0\xff\xff"), "FATAL | 08P01 | insufficient data left in message"),
        (frame(b'p', b"x"), "FATAL | 08P01 | unexpected password message"),
        (
            b"Q\x7f\xff\xff\xff".to_vec(),
            "FATAL | 54000 | message of 2147483647 bytes is longer than 16777216 | \
             Split the statement into several ones.",
        ),
    ];
    for (bytes, expected) in cases {
        let mut raw = root(&server).await;
        assert_eq!(raw.ask(&[bytes, query("grant")].concat()).await, [expected]);
    }
    other.execute("grant", &[]).await.expect("others go on");
}

#[tokio::test]
async fn text_that_is_not_utf8_fails_its_statement_only() {
    let (server, _) = start(server_config()).await;
    let mut raw = root(&server).await;
    let error = "ERROR | 22021 | invalid byte sequence for encoding \"UTF8\"";
    assert_eq!(raw.ask(&frame(b'Q', b"gr\xffant\0")).await, [error, "Ready I"]);
    let said = raw.ask(&[frame(b'P', b"\0\xff\0\0\0"), bind("", "", &[]), SYNC.to_vec()].concat()).await;
    assert_eq!(said, [error, "Ready I"]);
    let said = raw.ask(&frame(b'F', b"\0\0\0\x01\0\0\0\0\0\0")).await;
    assert_eq!(said, ["ERROR | 0A000 | the function call protocol is not supported", "Ready I"]);
    assert_eq!(raw.ask(&query("grant")).await, ["Complete GRANT", "Ready I"]);
}

#[tokio::test]
async fn random_frames_never_stop_the_server() {
    let (server, _) = start(server_config()).await;
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random.to_le_bytes()[2]
    };
    for _ in 0..60 {
        let mut raw = root(&server).await;
        for _ in 0..20 {
            let tag = b"BCDEFHPQScdf"[usize::from(byte()) % 12];
            let length = byte() % 24;
            let body: Vec<u8> = (0..length).map(|_| if byte() % 2 == 0 { 0 } else { byte() }).collect();
            raw.send(&frame(tag, &body)).await;
        }
        raw.send(&frame(b'X', b"")).await;
        while !raw.until_ready().await.is_empty() {}
    }
    let client = connect(&client_config(&server, "root"), Some("root")).await.unwrap();
    client.execute("grant", &[]).await.unwrap();
}

#[tokio::test]
async fn values_of_every_type_go_both_ways_in_binary() {
    let (server, _) = start(server_config()).await;
    let client = connect(&client_config(&server, "root"), Some("root")).await.unwrap();
    let text = "echo bool int2 int4 int8 float8 text bytea timestamptz text[]";
    let statement = client.prepare(text).await.unwrap();
    assert_eq!(statement.params()[8], Type::TEXT_ARRAY);
    let time = std::time::UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
    let list = vec![Some("a".to_owned()), None];
    let row = client
        .query_one(
            &statement,
            &[&true, &-2_i16, &3_i32, &i64::MIN, &1.5_f64, &"é", &&b"\0\xff"[..], &time, &list],
        )
        .await
        .unwrap();
    assert!(row.get::<_, bool>(0));
    assert_eq!((row.get::<_, i16>(1), row.get::<_, i32>(2), row.get::<_, i64>(3)), (-2, 3, i64::MIN));
    assert!((row.get::<_, f64>(4) - 1.5).abs() < f64::EPSILON);
    assert_eq!((row.get::<_, &str>(5), row.get::<_, &[u8]>(6)), ("é", &b"\0\xff"[..]));
    assert_eq!(row.get::<_, std::time::SystemTime>(7), time);
    assert_eq!(row.get::<_, Vec<Option<String>>>(8), list);
    let null = client.query_one("echo int8", &[&None::<i64>]).await.unwrap();
    assert_eq!(null.get::<_, Option<i64>>(0), None);
    let hinted = client.prepare_typed("hinted", &[Type::INT8]).await.unwrap();
    assert_eq!(hinted.params(), [Type::INT8]);
    let unsupported = client.prepare_typed("hinted", &[Type::POINT]).await.unwrap_err();
    assert_eq!(unsupported.code().unwrap().code(), "42704");
}

#[tokio::test]
async fn a_result_that_is_larger_than_the_buffer_arrives_whole() {
    let (server, _) = start(server_config()).await;
    let client = connect(&client_config(&server, "root"), Some("root")).await.unwrap();
    let rows = client.query("rows 20000", &[]).await.unwrap();
    assert_eq!(rows.len(), 20_000);
    assert_eq!(rows[19_999].get::<_, i64>(0), 20_000);
    let simple = client.simple_query("rows 20000; rows 1").await.unwrap();
    let rows = simple.iter().filter(|message| matches!(message, SimpleQueryMessage::Row(_)));
    assert_eq!(rows.count(), 20_001);
}

#[tokio::test]
async fn a_cancel_request_ends_the_running_statement_and_no_later_one() {
    let (server, script) = start(server_config()).await;
    let client = connect(&client_config(&server, "root"), Some("root")).await.unwrap();
    let token = client.cancel_token();
    let cancel = async || token.cancel_query(Tls::new(client_tls(None))).await.unwrap();
    let (error, ()) = tokio::join!(client.simple_query("wait"), async {
        script.waiting.notified().await;
        cancel().await;
    });
    assert_eq!(error.unwrap_err().code().unwrap().code(), "57014");
    // This one comes while nothing runs.
    cancel().await;
    let (held, ()) = tokio::join!(client.simple_query("hold"), async {
        script.waiting.notified().await;
        script.released.notify_one();
    });
    held.unwrap();
}

#[tokio::test]
async fn draining_tells_idle_clients_and_lets_statements_end() {
    let (server, script) = start(server_config()).await;
    let mut idle = root(&server).await;
    let mut busy = root(&server).await;
    busy.send(&query("hold")).await;
    script.waiting.notified().await;
    let address = server.address();
    let drained = tokio::spawn(server.drain(Duration::from_secs(10)));
    let goodbye = "FATAL | 57P01 | server is shutting down | Connect to another node.";
    assert_eq!(idle.until_ready().await, [goodbye]);
    script.released.notify_one();
    assert_eq!(busy.until_ready().await, ["Complete HOLD", "Ready I"]);
    assert_eq!(busy.until_ready().await, [goodbye]);
    drop((idle, busy));
    assert_eq!(drained.await.unwrap(), 0);
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn draining_cuts_what_does_not_end() {
    let (server, script) = start(server_config()).await;
    let mut busy = root(&server).await;
    busy.send(&query("hold")).await;
    script.waiting.notified().await;
    assert_eq!(server.drain(Duration::from_millis(10)).await, 1);
    assert!(busy.until_ready().await.is_empty());
}

#[tokio::test]
async fn a_block_that_is_idle_for_too_long_ends_with_its_connection() {
    let (server, _) = start(server_config()).await;
    let mut raw = root(&server).await;
    assert_eq!(raw.ask(&query("begin 50ms")).await, ["Complete BEGIN", "Ready T"]);
    let goodbye = "FATAL | 25P03 | terminating connection due to idle-in-transaction timeout";
    assert_eq!(raw.until_ready().await, [goodbye]);
}

#[tokio::test]
async fn ready_tells_where_the_transaction_is_whatever_fails() {
    let (server, _) = start(server_config()).await;
    for failing in [
        query("unknown"),
        query("syntax error"),
        [parse("", "unknown"), frame(b'S', b"")].concat(),
        [bind("", "no such statement", &[]), frame(b'S', b"")].concat(),
    ] {
        let mut raw = root(&server).await;
        assert_eq!(raw.ask(&query("begin 1min")).await, ["Complete BEGIN", "Ready T"]);
        assert_eq!(raw.ask(&query("set")).await, ["Complete SET", "Ready T"]);
        let replies = raw.ask(&failing).await;
        assert_eq!(replies.last().map(String::as_str), Some("Ready E"), "{replies:?}");
        assert_eq!(raw.ask(&query("end")).await, ["Complete COMMIT", "Ready I"]);
    }
}

#[tokio::test]
async fn an_idle_session_ends_after_its_time() {
    let mut config = server_config();
    config.limits.idle_timeout = Some(Duration::from_millis(50));
    let (server, _) = start(config).await;
    let mut raw = root(&server).await;
    let goodbye = "FATAL | 57P05 | terminating connection due to idle-session timeout";
    assert_eq!(raw.until_ready().await, [goodbye]);
}
