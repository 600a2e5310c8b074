//! What a statement may hold in memory, and what it is told when it wants more.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::sync::Arc;

use grantd_catalog::command::Actor;
use grantd_catalog::id::PrincipalId;
use grantd_catalog::name::Name;
use grantd_node::error::SqlError;
use grantd_node::session::Session;
use grantd_node::sql::execute::{Engine, Place, Response};
use grantd_raft::memory;

use self::local::Local;

#[path = "sql/local.rs"]
#[allow(dead_code, unused_imports, reason = "shared with the scripts")]
mod local;

/// What all may hold together is of the process, and the tests of it share one.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn run(engine: &Engine, session: &mut Session, text: &str) -> Result<Response, SqlError> {
    engine.run(session, text, Place::Alone).await
}

/// 20,000 rows of 500 bytes: 10 MB.
async fn engine() -> (tempfile::TempDir, Arc<Local>, Engine, Session) {
    let directory = tempfile::tempdir().unwrap();
    let replica = Arc::new(Local::new(directory.path()));
    let engine = Engine::new(replica.clone());
    let mut session = Session::new(Actor::of(PrincipalId::ROOT), Some(Name::normalize("defaultdb")));
    run(&engine, &mut session, "CREATE TABLE t (k INT PRIMARY KEY, v TEXT)").await.unwrap();
    for from in [0, 10_000] {
        let text = format!(
            "INSERT INTO t SELECT s, repeat(s::TEXT || ' ', 80) FROM generate_series({}, {}) AS s",
            from + 1,
            from + 10_000
        );
        run(&engine, &mut session, &text).await.unwrap();
    }
    (directory, replica, engine, session)
}

/// Each wants some 100 MB at once, in another way.
const HUNGRY: [&str; 12] = [
    "SELECT count(*) FROM (SELECT t.v || s AS w FROM t, generate_series(1, 40) AS s ORDER BY w LIMIT 1000000) AS q \
     WHERE w < ''",
    "SELECT count(DISTINCT t.v || s) FROM t, generate_series(1, 40) AS s",
    "SELECT DISTINCT t.v || s FROM t, generate_series(1, 40) AS s LIMIT 1000000",
    "SELECT max(n) FROM (SELECT t.v || s AS w, count(*) AS n FROM t, generate_series(1, 40) AS s GROUP BY t.v || s) AS q",
    "SELECT length(string_agg(v || s::TEXT, ',')) FROM t, generate_series(1, 40) AS s",
    "SELECT length(jsonb_agg(v || s::TEXT)::TEXT) FROM t, generate_series(1, 40) AS s",
    "SELECT length(jsonb_object_agg(v || s::TEXT, v)::TEXT) FROM t, generate_series(1, 40) AS s",
    "SELECT array_length(array_agg(v || s::TEXT), 1) FROM t, generate_series(1, 40) AS s",
    "WITH RECURSIVE r AS (SELECT 1 AS n, repeat('a', 1000) AS w UNION SELECT n + 1, w || n::TEXT FROM r WHERE n < 200000) \
     SELECT count(*) FROM r",
    "WITH m AS MATERIALIZED (SELECT t.v || s AS w FROM t, generate_series(1, 40) AS s LIMIT 800000) \
     SELECT count(*) FROM m AS a, m AS b WHERE a.w = b.w",
    "SELECT count(*) FROM (SELECT row_number() OVER (ORDER BY t.v || s) AS n, t.v || s AS w \
     FROM t, generate_series(1, 40) AS s) AS q WHERE w < ''",
    "SELECT count(*) FROM (SELECT v || s FROM t, generate_series(1, 40) AS s EXCEPT SELECT '') AS q",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_that_wants_too_much_memory_is_refused_and_others_go_on() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (_directory, _replica, engine, mut session) = engine().await;
    run(&engine, &mut session, "SET distsql_workmem = '16 MiB'").await.unwrap();
    for text in HUNGRY {
        let error = run(&engine, &mut session, text).await.map(|response| response.tag).unwrap_err();
        assert_eq!(error.body.code.as_str(), "53200", "{text}: {}", error.body.message);
        assert!(error.body.message.starts_with("out of memory: the statement needs more"), "{text}");
        assert!(error.body.hint.as_deref().unwrap_or_default().contains("distsql_workmem"), "{text}");
        let rows = run(&engine, &mut session, "SELECT count(*), max(v) FROM t").await.unwrap().rows.unwrap();
        assert_eq!(rows.rows.len(), 1);
        drop(rows);
        assert_eq!(memory::taken(), 0, "all is given back: {text}");
    }
    // A sum keeps nothing of its rows, however many.
    let sums = "SELECT sum(k * s), avg(k), count(*) FROM t, generate_series(1, 50) AS s";
    run(&engine, &mut session, sums).await.unwrap();
    // With more memory the same is no refusal.
    run(&engine, &mut session, "SET distsql_workmem = '1 GiB'").await.unwrap();
    let sorted = "SELECT count(*) FROM (SELECT v || s AS w FROM t, generate_series(1, 8) AS s \
        ORDER BY w LIMIT 1000000) AS q WHERE w < ''";
    run(&engine, &mut session, sorted).await.unwrap();
    run(&engine, &mut session, "SET distsql_workmem = '16 MiB'").await.unwrap();
    assert_eq!(run(&engine, &mut session, sorted).await.unwrap_err().body.code.as_str(), "53200");
}

/// What one holds nobody else has: results too, until they are dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_and_statements_share_what_there_is() {
    let _alone = ONE_AT_A_TIME.lock().await;
    let (_directory, _replica, engine, mut session) = engine().await;
    let all = "SELECT v FROM t";
    let kept = run(&engine, &mut session, all).await.unwrap();
    let before = memory::taken();
    assert!(before > 8 << 20, "{before}");
    memory::set_total(before + (4 << 20));
    let error = run(&engine, &mut session, all).await.map(|response| response.tag).unwrap_err();
    assert_eq!(error.body.code.as_str(), "53200");
    assert!(error.body.message.contains("of this node"), "{}", error.body.message);
    drop(kept);
    let again = run(&engine, &mut session, all).await.map(|response| response.tag);
    memory::set_total(memory::TOTAL_BYTES);
    assert_eq!(again.unwrap(), "SELECT 20000");
}
