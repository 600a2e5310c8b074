//! SQL scripts, run through the engine on one node in this process.
//!
//! A script is prose (`# …`), who acts (`as amy`; `as amy, newly connected` in a session of its own), and statements (`> …`, continued by lines that begin with two
//! blanks) with what they print. Lines `< …` behind a COPY are the data that it is sent. `UPDATE_SQL_SCRIPTS=1 cargo test -p grantd-node --test sql` writes what they print
//! now.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use grantd_catalog::command::Actor;
use grantd_catalog::id::PrincipalId;
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::refusal::Refusal;
use grantd_catalog::require::Requirement;
use grantd_catalog::view::View;
use grantd_node::error::SqlError;
use grantd_node::gate::{Gate, Permit, Write};
use grantd_node::pgwire::copy::{Decoder, Encoder};
use grantd_node::session::{NamedText, Session};
use grantd_node::sql::execute::{Copy, CopyIn, Engine, Place, Response, RowSink};
use grantd_node::sql::system::variable;
use grantd_node::value::{Datum, SqlType, text};
use grantd_raft::rows::Transaction;

use self::local::Local;

#[path = "sql/local.rs"]
mod local;
#[path = "sql/reading.rs"]
mod reading;
#[path = "sql/inquiries.rs"]
mod inquiries;

/// Runs every script and compares what it prints with what it says.
#[tokio::test]
async fn scripts_print_what_they_say() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql");
    let update = std::env::var_os("UPDATE_SQL_SCRIPTS").is_some();
    let mut paths: Vec<_> =
        std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    assert!(paths.len() >= 5, "the scripts are there");
    let mut wrong = Vec::new();
    for path in paths {
        let expected = std::fs::read_to_string(&path).unwrap();
        let printed = run_script(&expected).await;
        if update {
            std::fs::write(&path, &printed).unwrap();
        } else if printed != expected {
            wrong.push(difference(&path, &expected, &printed));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn difference(path: &Path, expected: &str, printed: &str) -> String {
    let lines = expected.lines().zip(printed.lines()).enumerate();
    let first = lines.into_iter().find(|(_, (expected, printed))| expected != printed);
    match first {
        Some((at, (expected, printed))) => {
            format!("{}:{}\n  says   {expected}\n  prints {printed}", path.display(), at + 1)
        }
        None => format!("{}: one ends before the other", path.display()),
    }
}

/// What a script prints that is all about transactions is the same where each is forwarded.
#[tokio::test]
async fn transactions_on_a_follower_print_what_they_do_on_the_leader() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sql/transactions.txt");
    let expected = std::fs::read_to_string(&path).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let replica = Arc::new(Local::new(directory.path()));
    replica.follow();
    let engine = Engine::new(replica.clone());
    // Another engine answers what is forwarded: the leader's.
    let _leader = Engine::new(replica.clone());
    let printed = run_script_on(replica, engine, &expected).await;
    assert!(printed == expected, "{}", difference(&path, &expected, &printed));
}

async fn run_script(script: &str) -> String {
    let directory = tempfile::tempdir().unwrap();
    let replica = Arc::new(Local::new(directory.path()));
    run_script_on(replica.clone(), Engine::new(replica), script).await
}

async fn run_script_on(replica: Arc<Local>, engine: Engine, script: &str) -> String {
    let mut sessions: BTreeMap<String, Session> = BTreeMap::new();
    let mut who = "root".to_owned();
    let mut out = String::new();
    let mut lines = script.lines().peekable();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("as ") {
            who = name.trim().to_owned();
            // `as amy, newly connected`
            if let Some(name) = name.trim().strip_suffix(", newly connected") {
                who = name.to_owned();
                sessions.remove(&who);
            }
        }
        out.push_str(line);
        out.push('\n');
        let Some(first) = line.strip_prefix("> ") else { continue };
        let mut statement = first.to_owned();
        while let Some(more) = lines.peek().and_then(|line| line.strip_prefix("  ")) {
            statement.push('\n');
            statement.push_str(more);
            out.push_str(&format!("  {more}\n"));
            lines.next();
        }
        let mut data = String::new();
        while let Some(line) = lines.peek().and_then(|line| line.strip_prefix("<")) {
            data.push_str(line.strip_prefix(' ').unwrap_or(line));
            data.push('\n');
            out.push_str(&format!("<{line}\n"));
            lines.next();
        }
        while lines.peek().is_some_and(|line| !line.is_empty()) {
            lines.next();
        }
        let session = sessions.entry(who.clone()).or_insert_with(|| replica.session(&who));
        out.push_str(&print(&engine, session, &statement, &data).await);
    }
    out
}

/// As the simple protocol does.
async fn execute(engine: &Engine, session: &mut Session, text: &str) -> Result<Vec<Response>, SqlError> {
    execute_with(engine, session, text, "").await
}

async fn execute_with(
    engine: &Engine,
    session: &mut Session,
    text: &str,
    data: &str,
) -> Result<Vec<Response>, SqlError> {
    let mut responses = Vec::new();
    let statements = engine.split(text).inspect_err(|_| session.fail())?;
    for (at, statement) in statements.iter().enumerate() {
        let place = match at + 1 == statements.len() {
            true if at == 0 => Place::Alone,
            true => Place::Last,
            false => Place::Inner,
        };
        let mut response = engine.run(session, statement, place).await?;
        if let Some(Copy::In(into, sink)) = response.copy {
            response = copied(session, (into, sink), data, place).await.inspect_err(|_| session.fail())?;
        }
        responses.push(response);
    }
    Ok(responses)
}

async fn copied(
    session: &mut Session,
    (into, mut sink): (CopyIn, Box<dyn RowSink>),
    data: &str,
    place: Place,
) -> Result<Response, SqlError> {
    let mut decoder = Decoder::new(into);
    decoder.push(data.as_bytes())?;
    decoder.finish()?;
    sink.push_batch(session, decoder.take()).await?;
    sink.finish(session, place).await
}

async fn print(engine: &Engine, session: &mut Session, text: &str, data: &str) -> String {
    let mut out = String::new();
    match execute_with(engine, session, text, data).await {
        Ok(responses) => responses.into_iter().for_each(|response| print_response(response, &mut out)),
        Err(error) => {
            out.push_str(&format!("ERROR {}: {}\n", error.body.code.as_str(), error.body.message));
            for (word, text) in [("DETAIL", &error.body.detail), ("HINT", &error.body.hint)] {
                if let Some(text) = text {
                    out.push_str(&format!("{word}: {text}\n"));
                }
            }
        }
    }
    for notice in session.notices.drain(..) {
        out.push_str(&format!("{}: {}\n", notice.severity, notice.body.message));
    }
    out
}

fn print_response(response: Response, out: &mut String) {
    if let Some(Copy::Out(from)) = response.copy {
        let mut encoder = Encoder::new(from);
        let mut bytes = BytesMut::new();
        while encoder.next(&mut bytes).unwrap() {}
        out.push_str(&String::from_utf8_lossy(&bytes));
    }
    if let Some(rows) = &response.rows {
        let names: Vec<_> = rows.columns.iter().map(|column| column.name.as_str()).collect();
        out.push_str(&format!("{}\n", names.join(" | ")));
        for row in &rows.rows {
            let cells: Vec<_> =
                row.iter().map(|datum| text::format(datum).unwrap_or_else(|| "NULL".to_owned())).collect();
            out.push_str(&format!("{}\n", cells.join(" | ")));
        }
    }
    out.push_str(&format!("{}\n", response.tag));
}

async fn engine() -> (tempfile::TempDir, Arc<Local>, Engine, Session) {
    let directory = tempfile::tempdir().unwrap();
    let replica = Arc::new(Local::new(directory.path()));
    let engine = Engine::new(replica.clone());
    let session = replica.session("root");
    (directory, replica, engine, session)
}

#[tokio::test]
async fn parameters_take_their_types_from_where_they_stand() {
    let (_directory, _replica, engine, mut session) = engine().await;
    execute(
        &engine,
        &mut session,
        "CREATE TABLE t (k INT4 PRIMARY KEY, u UUID, at TIMESTAMPTZ, f FLOAT8, b BOOL)",
    )
    .await
    .unwrap();
    let insert = "INSERT INTO t VALUES ($1, $2, $3, $4, $5)";
    let prepared = engine.prepare(&session, insert, &[]).await.unwrap();
    let types = [SqlType::Int4, SqlType::Uuid, SqlType::TimestampTz, SqlType::Float8, SqlType::Bool];
    assert_eq!(prepared.parameters, types);
    let uuid = [7; 16];
    let row = [Datum::Int(1), Datum::Uuid(uuid), Datum::TimestampTz(5), Datum::Float(0.5), Datum::Bool(true)];
    let response = engine.execute(&mut session, &prepared, &row).await.unwrap();
    assert_eq!(response.tag, "INSERT 0 1");
    let select = "SELECT * FROM t WHERE k = $1 AND at < now() LIMIT $2";
    let prepared = engine.prepare(&session, select, &[]).await.unwrap();
    assert_eq!(prepared.parameters, [SqlType::Int4, SqlType::Int8]);
    let response = engine.execute(&mut session, &prepared, &[Datum::Int(1), Datum::Int(9)]).await.unwrap();
    assert_eq!(response.rows.unwrap().rows, [row]);
    let narrow = engine.execute(&mut session, &prepared, &[Datum::Int(1 << 40), Datum::Null]).await;
    assert_eq!(narrow.unwrap_err().body.code.as_str(), "22003");
    let hinted = engine.prepare(&session, "SELECT $1", &[Some(SqlType::Int8)]).await.unwrap();
    assert_eq!(hinted.parameters, [SqlType::Int8]);
}

#[tokio::test]
async fn aggregates_have_the_types_that_postgresql_gives_them() {
    let (_directory, _replica, engine, mut session) = engine().await;
    let create = "CREATE TABLE t (id INT8 PRIMARY KEY, n INT4, h INT2, v VARCHAR(5), s TEXT, d DECIMAL(5,2), \
                  f FLOAT4, z DATE, i INTERVAL)";
    execute(&engine, &mut session, create).await.unwrap();
    for (aggregates, expected) in [
        ("max(n), min(n), sum(n), avg(n)", [23, 23, 20, 1700]),
        ("max(h), min(h), sum(h), avg(h)", [21, 21, 20, 1700]),
        ("max(id), count(id), sum(id), avg(id)", [20, 20, 1700, 1700]),
        ("max(d), min(d), sum(d), avg(d)", [1700; 4]),
        ("max(v), max(s), string_agg(s, ''), max(z)", [25, 25, 25, 1082]),
        ("max(f), avg(f), sum(i), every(n > 1)", [700, 701, 1186, 16]),
        ("array_agg(n), array_agg(s), jsonb_agg(n), sum(n) OVER ()", [1007, 1009, 3802, 20]),
    ] {
        let text = format!("SELECT {aggregates} FROM t");
        let text = if text.contains("OVER") { text.replace("sum(n)", "sum(max(n))") } else { text };
        let prepared = engine.prepare(&session, &text, &[]).await.unwrap();
        let oids: Vec<_> = prepared.columns.unwrap().iter().map(|column| column.sql_type.oid()).collect();
        assert_eq!(oids, expected, "{text}");
    }
}

#[tokio::test]
async fn a_statement_asks_once_for_the_newest_view_and_not_at_all_if_it_needs_none() {
    let (_directory, replica, engine, mut session) = engine().await;
    engine.run(&mut session, "CREATE TABLE t (id INT8 PRIMARY KEY)", Place::Alone).await.unwrap();
    replica.rounds();
    for (text, rounds) in [
        ("SELECT * FROM t", 1),
        ("SHOW TABLES", 1),
        ("SHOW session_user", 1),
        ("SET ROLE admin", 1),
        ("SET search_path = public", 1),
        ("RESET ROLE", 0),
        ("SET statement_timeout = '2s'", 0),
        ("SHOW statement_timeout", 0),
    ] {
        engine.run(&mut session, text, Place::Alone).await.unwrap();
        assert_eq!(replica.rounds(), rounds, "{text}");
    }
    let prepared = engine.prepare(&session, "SELECT * FROM t", &[]).await.unwrap();
    replica.rounds();
    for _ in 0..2 {
        // It may be executed long after it was prepared.
        engine.execute(&mut session, &prepared, &[]).await.unwrap();
        assert_eq!(replica.rounds(), 1);
    }
    // Unless all of it was here at once.
    for _ in 0..2 {
        let prepared = engine.prepare_next(&mut session, "SELECT * FROM t", &[]).await.unwrap();
        engine.execute(&mut session, &prepared, &[]).await.unwrap();
        assert_eq!(replica.rounds(), 1);
    }
    // What is executed between may have changed what is newest.
    let prepared = engine.prepare_next(&mut session, "SELECT * FROM t", &[]).await.unwrap();
    engine.run(&mut session, "SET statement_timeout = 0", Place::Alone).await.unwrap();
    engine.execute(&mut session, &prepared, &[]).await.unwrap();
    assert_eq!(replica.rounds(), 2);
    let error = engine.run(&mut session, "SELECT $1::INT8", Place::Alone).await.unwrap_err();
    assert_eq!(error.body.code.as_str(), "42P02");
}

#[tokio::test]
async fn a_prepared_statement_is_decided_at_each_execution() {
    let (_directory, replica, engine, mut root) = engine().await;
    execute(
        &engine,
        &mut root,
        "CREATE USER amy; CREATE TABLE t (k INT PRIMARY KEY); GRANT SELECT ON t TO amy",
    )
    .await
    .unwrap();
    let mut amy = replica.session("amy");
    let prepared = engine.prepare(&amy, "SELECT k FROM t", &[]).await.unwrap();
    assert_eq!(engine.execute(&mut amy, &prepared, &[]).await.unwrap().tag, "SELECT 0");
    execute(&engine, &mut root, "REVOKE SELECT ON t FROM amy").await.unwrap();
    let error = engine.execute(&mut amy, &prepared, &[]).await.unwrap_err();
    assert_eq!(error.body.message, "user amy does not have SELECT privilege on relation t");
    execute(&engine, &mut root, "DROP TABLE t").await.unwrap();
    let error = engine.execute(&mut amy, &prepared, &[]).await.unwrap_err();
    assert_eq!(error.body.code.as_str(), "42P01");
    execute(&engine, &mut root, "CREATE TABLE t (k TEXT); GRANT SELECT ON t TO amy").await.unwrap();
    let error = engine.execute(&mut amy, &prepared, &[]).await.unwrap_err();
    assert_eq!(error.body.message, "cached plan must not change result type");
}

#[tokio::test]
async fn a_row_newer_than_the_decision_is_not_seen_by_a_right_that_is_gone() {
    let (_directory, replica, engine, mut root) = engine().await;
    execute(
        &engine,
        &mut root,
        "CREATE USER amy; CREATE TABLE t (k INT PRIMARY KEY); GRANT SELECT ON t TO amy",
    )
    .await
    .unwrap();
    let mut amy = replica.session("amy");
    let prepared = engine.prepare(&amy, "SELECT k FROM t", &[]).await.unwrap();
    // Between amy's decision and her look at the rows the right goes and a row comes.
    let (late_engine, late_root) = (engine.clone(), Mutex::new(Some(root.clone())));
    replica.before_next_read(Box::pin(async move {
        let mut root = late_root.lock().unwrap().take().unwrap();
        execute(&late_engine, &mut root, "REVOKE SELECT ON t FROM amy; INSERT INTO t VALUES (1)")
            .await
            .unwrap();
    }));
    let error = engine.execute(&mut amy, &prepared, &[]).await.unwrap_err();
    assert_eq!(error.body.message, "user amy does not have SELECT privilege on relation t");
    assert_eq!(execute(&engine, &mut root, "SELECT k FROM t").await.unwrap()[0].tag, "SELECT 1");
}

#[tokio::test]
async fn a_follower_forwards_and_the_client_does_not_notice() {
    let (_directory, replica, engine, mut session) = engine().await;
    execute(&engine, &mut session, "CREATE TABLE t (k INT PRIMARY KEY, v TEXT)").await.unwrap();
    replica.follow();
    let responses =
        execute(&engine, &mut session, "INSERT INTO t VALUES (1, 'a') RETURNING v, k").await.unwrap();
    assert_eq!(responses[0].tag, "INSERT 0 1");
    assert_eq!(responses[0].rows.as_ref().unwrap().rows, [[Datum::Text("a".to_owned()), Datum::Int(1)]]);
    let error = execute(&engine, &mut session, "INSERT INTO t VALUES (1, 'b')").await.unwrap_err();
    assert_eq!(error.body.code.as_str(), "23505");
    assert_eq!(error.body.detail.as_deref(), Some("Key (k)=(1) already exists."));
}

#[tokio::test]
async fn a_cancelled_or_late_statement_ends_with_57014() {
    let (_directory, _replica, engine, mut session) = engine().await;
    let slow = "SELECT count(*) FROM (VALUES (1),(2),(3),(4),(5),(6),(7),(8),(9),(10)) AS a(x), \
        (VALUES (1),(2),(3),(4),(5),(6),(7),(8),(9),(10)) AS b(x), (VALUES (1),(2),(3),(4),(5),(6),(7),(8)) AS c(x), \
        (VALUES (1),(2),(3),(4),(5),(6),(7),(8),(9),(10)) AS d(x), (VALUES (1),(2),(3),(4),(5),(6),(7),(8)) AS e(x), \
        (VALUES (1),(2),(3),(4),(5),(6),(7),(8),(9),(10)) AS f(x), (VALUES (1),(2),(3),(4),(5),(6),(7),(8)) AS g(x), \
        (VALUES (1),(2),(3),(4),(5),(6),(7),(8),(9),(10)) AS h(x), (VALUES (1),(2),(3),(4),(5),(6),(7),(8)) AS i(x) \
        WHERE repeat('a', a.x) NOT LIKE '%b%'";
    execute(&engine, &mut session, "SET statement_timeout = '20ms'").await.unwrap();
    let error = execute(&engine, &mut session, slow).await.unwrap_err();
    assert_eq!(error.body.code.as_str(), "57014");
    execute(&engine, &mut session, "RESET statement_timeout").await.unwrap();
    session.cancelled.raise();
    let error = execute(&engine, &mut session, "SELECT 1").await.unwrap_err();
    assert_eq!(error.body.code.as_str(), "57014");
    session.cancelled.clear();
    assert!(execute(&engine, &mut session, "SELECT 1").await.is_ok());
}

/// SQLite asks whether to go on after some thousand steps of its own, and each step may be a call that takes long.
#[tokio::test]
async fn a_statement_of_few_but_long_calls_ends_in_time() {
    let (_directory, _replica, engine, mut session) = engine().await;
    let call = "a LIKE '%' || left(a, 1000) || 'b'";
    let many = [call; 90].join(" OR ");
    execute(&engine, &mut session, "SET statement_timeout = '100ms'").await.unwrap();
    let begun = std::time::Instant::now();
    let text = format!("SELECT 1 FROM (SELECT repeat('a', 60000) AS a) AS q WHERE {many}");
    let error = execute(&engine, &mut session, &text).await.unwrap_err();
    assert_eq!(error.body.code.as_str(), "57014");
    assert!(begun.elapsed() < std::time::Duration::from_secs(15), "{:?}", begun.elapsed());
    let slow = "SELECT 1 FROM (SELECT repeat('a', 60000) AS a) AS q, generate_series(1, 100) AS s \
        WHERE reverse(a) || s::TEXT = 'b'";
    execute(&engine, &mut session, "SET statement_timeout = '1ms'").await.unwrap();
    let error = execute(&engine, &mut session, slow).await.unwrap_err();
    assert_eq!(error.body.code.as_str(), "57014");
}

/// SQLite keeps the value of every column of a row, and of every constant call, at once.
#[tokio::test]
async fn what_the_functions_of_a_statement_make_together_is_bounded() {
    let (_directory, _replica, engine, mut session) = engine().await;
    let calls = |each: fn(usize) -> String| (0..60).map(each).collect::<Vec<_>>();
    let columns = calls(|n| format!("repeat('a', {})", 16_000_000 - n)).join(", ");
    let tests = calls(|n| format!("repeat('a', {}) = 'b'", 16_000_000 - n)).join(" OR ");
    for text in [format!("SELECT {columns}"), format!("SELECT 1 WHERE {tests}")] {
        let error = execute(&engine, &mut session, &text).await.unwrap_err();
        assert_eq!(error.body.code.as_str(), "53200", "{}", error.body.message);
        assert!(error.body.message.starts_with("out of memory"), "{}", error.body.message);
    }
    assert!(execute(&engine, &mut session, "SELECT length(repeat('a', 16000000))").await.is_ok());
}

#[tokio::test]
async fn a_password_is_a_verifier_before_it_is_proposed() {
    let (_directory, replica, engine, mut session) = engine().await;
    execute(&engine, &mut session, "CREATE USER amy WITH PASSWORD 'sesame'").await.unwrap();
    let view = replica.current();
    let id = view.state().principal_id(&RoleName::normalize("amy")).unwrap();
    let verifier = view.state().principal(id).unwrap().password.clone().unwrap();
    assert!(verifier.expose().starts_with("SCRAM-SHA-256$"));
    assert!(!verifier.expose().contains("sesame"));
    let prepared = engine.prepare(&session, "ALTER USER amy PASSWORD 'sesame'", &[]).await.unwrap();
    let printed = format!("{prepared:?}");
    assert_eq!(printed.matches("sesame").count(), 0, "{printed}");
    let error = engine.prepare(&session, "ALTER USER amy PASSWORD sesame", &[]).await.unwrap_err();
    assert!(!format!("{error:?}").contains("sesame"));
    let empty = execute(&engine, &mut session, "CREATE USER ben PASSWORD ''").await.unwrap_err();
    assert_eq!(empty.body.message, "empty passwords are not permitted");
}

/// Views that double at each level, and views and functions in each other without end, are refused.
#[tokio::test]
async fn views_on_views_and_functions_in_functions_are_bounded() {
    let (_directory, _replica, engine, mut session) = engine().await;
    let mut refused = Vec::new();
    for (kind, most) in [("wide", 20), ("deep", 200), ("call", 200)] {
        for at in 0..most {
            let below = at - 1;
            let (create, read) = match (kind, at) {
                ("call", 0) => (
                    "CREATE FUNCTION call0(a INT) RETURNS INT LANGUAGE SQL AS 'SELECT a'".to_owned(),
                    String::new(),
                ),
                ("call", _) => (
                    format!(
                        "CREATE FUNCTION call{at}(a INT) RETURNS INT LANGUAGE SQL AS 'SELECT call{below}(a) + 1'"
                    ),
                    format!("SELECT call{at}(1)"),
                ),
                (_, 0) => (format!("CREATE VIEW {kind}0 AS SELECT 1 AS k"), String::new()),
                (_, _) => {
                    let second = if kind == "wide" { format!(", wide{below} AS b") } else { String::new() };
                    let create =
                        format!("CREATE VIEW {kind}{at} AS SELECT a.k FROM {kind}{below} AS a{second}");
                    (create, format!("SELECT k FROM {kind}{at}"))
                }
            };
            let create = execute(&engine, &mut session, &create).await;
            let read = execute(&engine, &mut session, &read).await;
            if let Err(error) = create.and(read) {
                refused.push((kind, at, error.body.code.as_str().to_owned()));
                break;
            }
        }
    }
    assert_eq!(refused.len(), 3, "{refused:?}");
    assert!(refused.iter().all(|(_, at, code)| *at > 5 && code == "54000"), "{refused:?}");
}

#[tokio::test]
async fn a_follower_forwards_what_moves_a_sequence_and_the_session_remembers() {
    let (_directory, replica, engine, mut session) = engine().await;
    execute(&engine, &mut session, "CREATE SEQUENCE s; CREATE TABLE t (k INT PRIMARY KEY, v INT)")
        .await
        .unwrap();
    replica.follow();
    let one = execute(&engine, &mut session, "SELECT nextval('s') AS n").await.unwrap();
    assert_eq!(one[0].tag, "SELECT 1");
    assert_eq!(one[0].rows.as_ref().unwrap().rows, [[Datum::Int(1)]]);
    let response = execute(
        &engine,
        &mut session,
        "INSERT INTO t VALUES (nextval('s'), currval('s')); SELECT currval('s'), lastval(), k, v FROM t",
    )
    .await
    .unwrap();
    assert_eq!(response[1].rows.as_ref().unwrap().rows, [[2, 2, 2, 2].map(Datum::Int)]);
    let mut other = replica.session("root");
    let error = execute(&engine, &mut other, "INSERT INTO t VALUES (9, currval('s'))").await.unwrap_err();
    assert_eq!(error.body.code.as_str(), "55000");
    assert_eq!(execute(&engine, &mut other, "SELECT nextval('s')").await.unwrap()[0].tag, "SELECT 1");
    let response = execute(&engine, &mut session, "SELECT currval('s'), last_value FROM s").await.unwrap();
    assert_eq!(response[0].rows.as_ref().unwrap().rows, [[2, 3].map(Datum::Int)]);
}

#[tokio::test]
async fn a_parameter_of_an_enum_type_is_a_label() {
    let (_directory, _replica, engine, mut session) = engine().await;
    execute(
        &engine,
        &mut session,
        "CREATE TYPE mood AS ENUM ('sad', 'happy'); CREATE TABLE t (k INT PRIMARY KEY, m mood);
         CREATE FUNCTION is_sad(m mood) RETURNS BOOL LANGUAGE SQL AS $$SELECT m = 'sad'$$",
    )
    .await
    .unwrap();
    let insert = engine.prepare(&session, "INSERT INTO t VALUES ($1, $2) RETURNING m", &[]).await.unwrap();
    let [_, mood] = insert.parameters.as_slice() else { panic!("{insert:?}") };
    assert!(mood.oid() > 100_000, "{mood:?}");
    assert_eq!(SqlType::from_oid(mood.oid()), Some(*mood));
    let label = |label: &str| Datum::Text(label.to_owned());
    let row = [Datum::Int(1), label("happy")];
    let response = engine.execute(&mut session, &insert, &row).await.unwrap();
    assert_eq!(response.rows.unwrap().rows, [[label("happy")]]);
    engine.execute(&mut session, &insert, &[Datum::Int(2), Datum::Null]).await.unwrap();
    let nowhere = engine.prepare(&session, "SELECT $1", &[SqlType::from_oid(999_999)]).await.unwrap_err();
    assert_eq!(nowhere.body.code.as_str(), "42704");
    let wrong = engine.execute(&mut session, &insert, &[Datum::Int(3), label("glad")]).await.unwrap_err();
    assert_eq!(wrong.body.code.as_str(), "22P02");
    assert_eq!(wrong.body.message, "invalid input value for enum mood: \"glad\"");
    for (text, found) in [
        ("SELECT k FROM t WHERE m = $1", 1),
        ("SELECT k FROM t WHERE m > $1", 0),
        ("SELECT $1::mood AS x ORDER BY x", 1),
        ("SELECT 1 WHERE NOT is_sad($1)", 1),
    ] {
        for hints in [&[][..], &[Some(*mood)]] {
            let prepared = engine.prepare(&session, text, hints).await.unwrap();
            assert_eq!(prepared.parameters, [*mood], "{text}");
            let response = engine.execute(&mut session, &prepared, &[label("happy")]).await.unwrap();
            assert_eq!(response.tag, format!("SELECT {found}"), "{text}");
        }
    }
}

#[tokio::test]
async fn a_select_of_no_columns_has_rows_all_the_same() {
    let (_directory, _replica, engine, mut session) = engine().await;
    execute(&engine, &mut session, "CREATE TABLE t (k INT PRIMARY KEY); INSERT INTO t VALUES (1), (2)")
        .await
        .unwrap();
    let response = execute(&engine, &mut session, "SELECT FROM t").await.unwrap().remove(0);
    assert_eq!(response.tag, "SELECT 2");
    assert_eq!(response.rows.unwrap().rows, [Vec::<Datum>::new(), Vec::new()]);
}

#[tokio::test]
async fn deallocate_reaches_what_the_protocol_prepared() {
    let (_directory, _replica, engine, mut session) = engine().await;
    let known = NamedText { text: "SELECT 1".into(), types: Vec::new(), since_micros: 0 };
    session.protocol_statements = Arc::new([("_pg3_0".to_owned(), known)].into());
    execute(&engine, &mut session, "DEALLOCATE _pg3_0; DEALLOCATE ALL").await.unwrap();
    assert_eq!(session.deallocated, [Some(Name::normalize("_pg3_0")), None]);
    let error = execute(&engine, &mut session, "PREPARE _pg3_0 AS SELECT 1").await.unwrap_err();
    assert_eq!(error.body.code.as_str(), "42P05");
    let error = execute(&engine, &mut session, "DEALLOCATE other").await.unwrap_err();
    assert_eq!(error.body.code.as_str(), "26000");
}

#[tokio::test]
async fn what_a_session_names_is_bounded() {
    let (_directory, _replica, engine, mut session) = engine().await;
    let code = |result: Result<Vec<Response>, SqlError>| result.err().map(|error| error.body.code);
    for at in 0..1_000 {
        assert_eq!(code(execute(&engine, &mut session, &format!("PREPARE p{at} AS SELECT 1")).await), None);
    }
    let refused = code(execute(&engine, &mut session, "PREPARE q AS SELECT 1").await).unwrap();
    assert_eq!(refused.as_str(), "54000");
    execute(&engine, &mut session, "BEGIN").await.unwrap();
    for at in 0..100 {
        let text = format!("DECLARE c{at} CURSOR FOR SELECT 1");
        assert_eq!(code(execute(&engine, &mut session, &text).await), None);
    }
    let refused = code(execute(&engine, &mut session, "DECLARE d CURSOR FOR SELECT 1").await).unwrap();
    assert_eq!(refused.as_str(), "54000");
    execute(&engine, &mut session, "ROLLBACK; BEGIN").await.unwrap();
    let large = "CURSOR FOR SELECT repeat('a', 5000000) FROM generate_series(1, 6)";
    assert_eq!(code(execute(&engine, &mut session, &format!("DECLARE a {large}")).await), None);
    assert_eq!(code(execute(&engine, &mut session, &format!("DECLARE b {large}")).await), None);
    let refused = code(execute(&engine, &mut session, &format!("DECLARE c {large}")).await).unwrap();
    assert_eq!(refused.as_str(), "54000");
}

/// A session of someone whom the catalog knows.
impl Local {
    fn session(&self, name: &str) -> Session {
        let view = self.current();
        let id = view.state().principal_id(&RoleName::normalize(name)).expect("the user exists");
        let mut session = Session::new(Actor::of(id), Some(Name::normalize("defaultdb")));
        variable::begin(&mut session, &view);
        session
    }
}

/// A write with a bug in its planning.
struct Panics;

impl Write for Panics {
    fn plan(&mut self, _view: &Arc<View>) -> Result<(Actor, Requirement), Refusal> {
        panic!("a bug of this test");
    }

    fn run(&mut self, _permit: &Permit, _rows: &mut dyn Transaction) -> Result<(), Refusal> {
        Ok(())
    }
}

/// It runs on the thread that applies the log, so it must neither end that thread nor be taken for done.
#[tokio::test]
async fn a_bug_in_planning_one_write_is_an_error_of_that_write_alone() {
    let directory = tempfile::tempdir().unwrap();
    let gate = Gate::new(Arc::new(Local::new(directory.path())));
    let (outcome, write) = gate.write(Panics).await;
    let refusal = outcome.unwrap_err();
    assert_eq!(refusal.code.as_str(), "XX000");
    assert!(refusal.message.contains("bug in this node"), "{refusal:?}");
    assert!(write.is_none(), "what it left half done is not used again");
    let requirement = Requirement::NOTHING;
    assert!(gate.permit(&gate.view().await.unwrap(), Actor::of(PrincipalId::ROOT), &requirement).is_ok());
}

/// Only COMMIT makes anything take effect: of everything before it is known that it did not.
#[tokio::test]
async fn an_answer_that_is_lost_is_unknown_of_a_commit_and_nothing_of_a_statement() {
    let (_directory, replica, engine, mut session) = engine().await;
    let error = async |session: &mut Session, text: &str| {
        let result = engine.run(session, text, Place::Alone).await;
        result.unwrap_err().body.code.as_str().to_owned()
    };
    execute(&engine, &mut session, "CREATE TABLE t (k INT PRIMARY KEY)").await.unwrap();
    replica.follow();
    let _leader = Engine::new(replica.clone());
    execute(&engine, &mut session, "BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    replica.lose_answers(true);
    assert_eq!(error(&mut session, "INSERT INTO t VALUES (2)").await, "40001");
    assert_eq!(error(&mut session, "SELECT 1").await, "25P02");
    replica.lose_answers(false);
    execute(&engine, &mut session, "ROLLBACK").await.unwrap();
    execute(&engine, &mut session, "BEGIN; INSERT INTO t VALUES (3)").await.unwrap();
    replica.lose_answers(true);
    assert_eq!(error(&mut session, "COMMIT").await, "40003");
    replica.lose_answers(false);
    let found = execute(&engine, &mut session, "SELECT k FROM t").await.unwrap();
    assert_eq!(found[0].rows.as_ref().unwrap().rows, [[Datum::Int(3)]]);
}
