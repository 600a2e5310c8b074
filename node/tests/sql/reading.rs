//! `grantd.read`: what queries read, and that it changes nothing of who may.

use std::sync::Arc;

use futures::FutureExt;
use grantd_node::session::Session;
use grantd_node::sql::execute::{Engine, Place};
use grantd_node::value::Datum;

use crate::local::Local;
use crate::{engine, execute};

/// The one value of a query.
async fn value(engine: &Engine, session: &mut Session, text: &str) -> Result<Datum, String> {
    let response = engine.run(session, text, Place::Alone).await;
    let rows = response.map_err(|error| error.body.code.as_str().to_owned())?.rows.unwrap().rows;
    Ok(rows.into_iter().flatten().next().unwrap())
}

async fn prepare(engine: &Engine, root: &mut Session) {
    let setup = "CREATE USER amy; CREATE TABLE t (k INT PRIMARY KEY); INSERT INTO t VALUES (1); GRANT SELECT ON t TO amy";
    execute(engine, root, setup).await.unwrap();
}

/// Executes `text` as root while it is next asked for what is newest, once as many reads have ended.
fn meanwhile(replica: &Arc<Local>, engine: &Engine, reads: usize, text: &'static str) {
    let (all, other, engine) = (replica.reads() + reads, Arc::clone(replica), engine.clone());
    replica.before_next_round(
        async move {
            while other.reads() < all {
                tokio::task::yield_now().await;
            }
            engine.run(&mut other.session("root"), text, Place::Alone).await.unwrap();
        }
        .boxed(),
    );
}

#[tokio::test]
async fn local_rows_are_read_while_it_is_asked_what_is_newest() {
    let (_directory, replica, engine, mut root) = engine().await;
    prepare(&engine, &mut root).await;
    let mut amy = replica.session("amy");
    meanwhile(&replica, &engine, 0, "INSERT INTO t VALUES (2)");
    assert_eq!(value(&engine, &mut amy, "SELECT count(*) FROM t").await, Ok(Datum::Int(2)));
    execute(&engine, &mut amy, "SET grantd.read = 'local'").await.unwrap();
    meanwhile(&replica, &engine, 1, "INSERT INTO t VALUES (3)");
    assert_eq!(value(&engine, &mut amy, "SELECT count(*) FROM t").await, Ok(Datum::Int(2)));
    replica.rounds();
    assert_eq!(value(&engine, &mut amy, "SELECT count(*) FROM t").await, Ok(Datum::Int(3)));
    assert_eq!(replica.rounds(), 1);
    // Prepared and executed at once, it asks no more often.
    replica.rounds();
    let prepared = engine.prepare_next(&mut amy, "SELECT count(*) FROM t", &[]).await.unwrap();
    assert_eq!(engine.execute(&mut amy, &prepared, &[]).await.unwrap().tag, "SELECT 1");
    assert_eq!(replica.rounds(), 1);
}

#[tokio::test]
async fn local_rows_are_told_to_nobody_whose_right_was_taken_away() {
    for reading in ["local", "at_least(1)"] {
        let (_directory, replica, engine, mut root) = engine().await;
        prepare(&engine, &mut root).await;
        let mut amy = replica.session("amy");
        execute(&engine, &mut amy, &format!("SET grantd.read = '{reading}'")).await.unwrap();
        meanwhile(&replica, &engine, 1, "REVOKE SELECT ON t FROM amy");
        assert_eq!(value(&engine, &mut amy, "SELECT k FROM t").await, Err("42501".to_owned()));
        // Nor is what a check of rights says older than they are, which reads no rows.
        meanwhile(&replica, &engine, 0, "GRANT SELECT ON t TO amy");
        let check = "SELECT has_table_privilege('t', 'SELECT')";
        assert_eq!(value(&engine, &mut amy, check).await, Ok(Datum::Bool(true)));
        meanwhile(&replica, &engine, 0, "REVOKE SELECT ON t FROM amy");
        assert_eq!(value(&engine, &mut amy, check).await, Ok(Datum::Bool(false)));
        // And what is refused here is asked for there.
        meanwhile(&replica, &engine, 0, "GRANT SELECT ON t TO amy");
        assert_eq!(value(&engine, &mut amy, "SELECT k FROM t").await, Ok(Datum::Int(1)));
        meanwhile(&replica, &engine, 0, "CREATE TABLE made (k INT PRIMARY KEY); ");
        assert_eq!(value(&engine, &mut amy, "SELECT count(*) FROM made").await, Err("42501".to_owned()));
    }
}

#[tokio::test]
async fn a_node_with_a_lease_reads_without_asking_and_never_by_a_right_that_is_gone() {
    let (_directory, replica, engine, mut root) = engine().await;
    prepare(&engine, &mut root).await;
    let mut amy = replica.session("amy");
    execute(&engine, &mut amy, "SET grantd.read = 'local'").await.unwrap();
    replica.lease(true);
    replica.rounds();
    assert_eq!(value(&engine, &mut amy, "SELECT k FROM t").await, Ok(Datum::Int(1)));
    let check = "SELECT has_table_privilege('t', 'SELECT')";
    assert_eq!(value(&engine, &mut amy, check).await, Ok(Datum::Bool(true)));
    assert_eq!(replica.rounds(), 0);
    // Taken away while the rows are read: then it asks, and is told.
    let revoke = "REVOKE SELECT ON t FROM amy";
    let (other, revoker) = (Arc::clone(&replica), engine.clone());
    let act = async move {
        revoker.run(&mut other.session("root"), revoke, Place::Alone).await.unwrap();
    };
    replica.before_next_read(act.boxed());
    assert_eq!(value(&engine, &mut amy, "SELECT k FROM t").await, Err("42501".to_owned()));
    assert!(replica.rounds() > 0);
    execute(&engine, &mut root, "GRANT SELECT ON t TO amy").await.unwrap();
    // The lease is over: it asks.
    replica.lease(false);
    replica.rounds();
    assert_eq!(value(&engine, &mut amy, "SELECT k FROM t").await, Ok(Datum::Int(1)));
    assert_eq!(replica.rounds(), 1);
}

#[tokio::test]
async fn a_version_that_is_not_here_is_waited_for_and_refused_at_last() {
    let (_directory, _replica, engine, mut root) = engine().await;
    prepare(&engine, &mut root).await;
    let Ok(Datum::Text(version)) = value(&engine, &mut root, "SHOW grantd.version").await else {
        panic!("a version")
    };
    let next = version.parse::<u64>().unwrap() + 1;
    execute(&engine, &mut root, &format!("SET grantd.read = 'at_least({next})'")).await.unwrap();
    for block in ["", "BEGIN"] {
        execute(&engine, &mut root, block).await.unwrap();
        let refused = value(&engine, &mut root, "SELECT k FROM t").await;
        assert_eq!(refused, Err("57P03".to_owned()), "{block}");
    }
    // What changes rows runs where they are newest.
    execute(&engine, &mut root, "ROLLBACK; INSERT INTO t VALUES (2)").await.unwrap();
    assert_eq!(value(&engine, &mut root, "SELECT count(*) FROM t").await, Ok(Datum::Int(2)));
}

#[tokio::test]
async fn the_version_is_that_of_what_was_acknowledged() {
    let (_directory, replica, engine, mut root) = engine().await;
    prepare(&engine, &mut root).await;
    let shown = |version: u64| Ok(Datum::Text(version.to_string()));
    let before = replica.current().version().0;
    replica.rounds();
    assert_eq!(value(&engine, &mut root, "SHOW grantd.version").await, shown(before));
    assert_eq!(replica.rounds(), 0);
    execute(&engine, &mut root, "INSERT INTO t VALUES (2)").await.unwrap();
    assert_eq!(value(&engine, &mut root, "SHOW grantd.version").await, shown(before + 1));
    // What is not committed has none.
    execute(&engine, &mut root, "BEGIN; CREATE TABLE u (k INT PRIMARY KEY)").await.unwrap();
    assert_eq!(value(&engine, &mut root, "SHOW grantd.version").await, shown(before + 1));
    let function = "SELECT current_setting('grantd.version')";
    assert_eq!(value(&engine, &mut root, function).await, shown(before + 1));
    execute(&engine, &mut root, "ROLLBACK").await.unwrap();
    assert_eq!(value(&engine, &mut root, function).await, shown(before + 1));
}
