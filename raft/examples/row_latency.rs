//! What a change of one row takes in the row store: `cargo run --release -p grantd-raft --example row_latency`
//!
//! It is captured on the leader and applied on every node, so a batch of one takes all of it there, and the second half
//! elsewhere. No disk is synced.

#![allow(missing_docs, clippy::unwrap_used, clippy::cast_precision_loss, reason = "an example")]

use std::time::{Duration, Instant};

use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Column, ColumnType, Table};
use grantd_raft::rows::{Captured, Extensions, MetaKey, Store, Value};

/// Rows of the table.
const ROWS: i64 = 100_000;
/// Changes of each kind.
const CHANGES: i64 = 20_000;

fn table() -> Table {
    let column = |name: &str, column_type| Column {
        name: Name::normalize(name),
        column_type,
        nullable: true,
        default: None,
        hidden: false,
        comment: None,
        computed: None,
        identity: None,
    };
    Table {
        columns: vec![
            Column { nullable: false, ..column("id", ColumnType::Int8) },
            column("n", ColumnType::Int8),
            column("filler", ColumnType::Text { chars_max: None }),
        ],
        primary_key: vec![0],
        unique: Vec::new(),
        checks: Vec::new(),
        key_name: Name::from("t_pkey"),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
    }
}

fn main() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(&directory.path().join("state.db"), &Extensions::default()).unwrap();
    store.begin().unwrap();
    store.create_table(ObjectId(104), &table()).unwrap();
    store.commit().unwrap();
    let fill = format!(
        "INSERT INTO t104 WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
         SELECT i, 0, 'forty bytes of text, no more and no less' FROM n"
    );
    let begun = Instant::now();
    let (_, changeset) = captured(&mut store, &fill, &[]);
    let captured_in = begun.elapsed();
    applied(&mut store, &changeset);
    println!("{ROWS} rows captured in {captured_in:.1?}, applied in {:.1?}", begun.elapsed() - captured_in);
    let mut measure = |name: &str, sql: &str, first: i64, step: i64| {
        let (mut captures, mut applies) = (Duration::ZERO, Duration::ZERO);
        let begun = Instant::now();
        for number in 0..CHANGES {
            let key = first + (number * step) % ROWS;
            let started = Instant::now();
            let (_, changeset) = captured(&mut store, sql, &[Value::Integer(key)]);
            captures += started.elapsed();
            let started = Instant::now();
            applied(&mut store, &changeset);
            applies += started.elapsed();
        }
        let each = |time: Duration| time.as_secs_f64() * 1e6 / CHANGES as f64;
        println!(
            "{name:<8} captured {:>7.1} µs, applied {:>7.1} µs, both {:>7.1} µs",
            each(captures),
            each(applies),
            each(begun.elapsed())
        );
    };
    for _ in 0..2 {
        measure("UPDATE", "UPDATE t104 SET n = n + 1 WHERE id = ?1", 1, 7_919);
        measure("DELETE", "DELETE FROM t104 WHERE id = ?1", 1, 1);
        measure("INSERT", "INSERT INTO t104 VALUES (?1, 0, 'forty bytes of text')", 1, 1);
    }
}

fn captured(store: &mut Store, sql: &str, values: &[Value]) -> (u64, Vec<u8>) {
    store.begin_captures().unwrap();
    let captured = store.capture(|rows| {
        rows.prepare(sql)?;
        rows.run(sql, values)
    });
    store.rollback().unwrap();
    match captured.unwrap() {
        Captured::Changed(rows, changeset) => (rows.changes, changeset),
        other => panic!("{other:?}"),
    }
}

fn applied(store: &mut Store, changeset: &[u8]) {
    store.begin().unwrap();
    store.apply_changeset(changeset, &mut |_| Ok(())).unwrap();
    store.put_meta(MetaKey::Applied, b"some thirty bytes of a position").unwrap();
    store.put_meta(MetaKey::LastData, b"some twenty bytes").unwrap();
    store.commit().unwrap();
}
