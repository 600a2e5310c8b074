//! Changesets as SQLite writes them and as they are applied: the replicas are equal, whoever asks is shown exactly the rows
//! that changed, and no bytes do harm.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use grantd_raft::rows::{Captured, Collation, Extensions, RowDelta, Store, Value};
use proptest::prelude::*;

/// Texts that are numbers by their value, so that `1.5` and `1.50` are one key.
fn by_value(left: &str, right: &str) -> Ordering {
    let number = |text: &str| text.parse::<f64>().unwrap_or(0.0);
    number(left).total_cmp(&number(right))
}

fn extensions() -> Extensions {
    let collation = Collation { name: "decimal", compare: Arc::new(by_value) };
    Extensions { collations: vec![collation], ..Extensions::default() }
}

/// One that captures, and one that only applies. What is compared is `t1`, whose stored columns are k, u, r, b.
struct Pair {
    _directory: tempfile::TempDir,
    stores: [Store; 2],
}

const T1: &str = "CREATE TABLE t1 (k TEXT NOT NULL COLLATE decimal, u INTEGER UNIQUE, r REAL,
    g INTEGER GENERATED ALWAYS AS (u * 2) STORED, b BLOB, PRIMARY KEY (k)) STRICT, WITHOUT ROWID;
    CREATE TABLE t2 (k INTEGER NOT NULL PRIMARY KEY) STRICT, WITHOUT ROWID";

impl Pair {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let open = |at: u8| {
            let path = directory.path().join(format!("{at}.db"));
            drop(Store::open(&path, &extensions()).unwrap());
            let sqlite = rusqlite::Connection::open(&path).unwrap();
            sqlite.create_collation("decimal", by_value).unwrap();
            sqlite.execute_batch(T1).unwrap();
            drop(sqlite);
            Store::open(&path, &extensions()).unwrap()
        };
        let stores = [open(0), open(1)];
        Self { _directory: directory, stores }
    }

    fn rows(&mut self) -> BTreeSet<String> {
        let store = &mut self.stores[1];
        store.begin().unwrap();
        let read = store.capture(|rows| rows.run("SELECT k, u, r, b FROM t1", &[])).unwrap();
        store.rollback().unwrap();
        let Captured::Changed(read, _) = read else { panic!("{read:?}") };
        read.rows.iter().map(shown).collect()
    }

    /// What statements change together; those that are refused change nothing.
    fn capture(&mut self, statements: &[impl AsRef<str>]) -> Vec<u8> {
        let store = &mut self.stores[0];
        store.begin().unwrap();
        let captured = store.capture(|rows| {
            statements.iter().for_each(|sql| drop(rows.run(sql.as_ref(), &[])));
            Ok::<_, ()>(())
        });
        store.rollback().unwrap();
        let Captured::Changed((), changeset) = captured.unwrap() else { panic!("refused") };
        changeset
    }

    /// Applies what statements change together, and compares what is shown with what is there before and after.
    fn change(&mut self, statements: &[impl AsRef<str>]) -> Vec<RowDelta> {
        let changeset = self.capture(statements);
        let before = self.rows();
        let mut seen = Vec::new();
        for store in &mut self.stores {
            seen.clear();
            store.begin().unwrap();
            let applied = store.apply_changeset(&changeset, &mut |row| {
                seen.push(row);
                Ok(())
            });
            applied.unwrap();
            store.commit().unwrap();
        }
        let after = self.rows();
        let [first, second] = &self.stores;
        assert_eq!(first.checksum().unwrap(), second.checksum().unwrap());
        let rows = |side: fn(&RowDelta) -> Option<&Vec<Value>>| -> Vec<String> {
            let mut rows: Vec<String> = seen.iter().filter_map(side).map(shown).collect();
            rows.sort();
            rows
        };
        let only =
            |here: &BTreeSet<String>, there| -> Vec<String> { here.difference(there).cloned().collect() };
        assert_eq!(rows(|row| row.before.as_ref()), only(&before, &after), "rows that are gone");
        assert_eq!(rows(|row| row.after.as_ref()), only(&after, &before), "rows that are new");
        seen
    }
}

fn shown(row: &Vec<Value>) -> String {
    format!("{row:?}")
}

const FILL: &str = "INSERT INTO t1 (k, u, r, b) VALUES ('1.5', 1, 1, x'01'), ('2', 2, 2.5, NULL),
    ('3', 3, NULL, x''), ('4', NULL, -0.0, zeroblob(300))";

#[test]
fn what_is_unique_changes_hands_within_a_transaction() {
    let mut pair = Pair::new();
    assert_eq!(pair.change(&[FILL]).len(), 4);
    // Two rows swap a unique value, by way of one that nobody has.
    let swapped = pair.change(&["UPDATE t1 SET u = -u WHERE u < 3", "UPDATE t1 SET u = 3 + u WHERE u < 0"]);
    assert_eq!(swapped.len(), 2);
    assert!(swapped.iter().all(|row| row.before.is_some() && row.after.is_some()), "{swapped:?}");
    // Three rotate it.
    pair.change(&["UPDATE t1 SET u = -u", "UPDATE t1 SET u = 1 + (-u) % 3 WHERE u < 0"]);
    // Keys are permuted: what was at one is at another.
    pair.change(&[
        "UPDATE t1 SET k = '-' || k",
        "UPDATE t1 SET k = CASE k WHEN '-1.5' THEN '2' WHEN '-2' THEN '3' WHEN '-3' THEN '4' ELSE '1.5' END",
    ]);
    // One row goes, another one takes its unique value, a third one comes with that one's.
    pair.change(&[
        "DELETE FROM t1 WHERE u = 1",
        "UPDATE t1 SET u = 1 WHERE u = 2",
        "INSERT INTO t1 (k, u) VALUES ('9', 2)",
    ]);
}

#[test]
fn a_key_with_other_bytes_and_the_same_value_travels() {
    let mut pair = Pair::new();
    pair.change(&[FILL]);
    let changed = pair.change(&["UPDATE t1 SET k = '1.50' WHERE k = '1.5'"]);
    let [RowDelta { before: Some(before), after: Some(after), .. }] = &*changed else {
        panic!("{changed:?}")
    };
    assert_eq!((&before[0], &after[0]), (&Value::Text("1.5".into()), &Value::Text("1.50".into())));
    pair.change(&["UPDATE t1 SET k = '1.500', u = 70, r = 3 WHERE k = '1.5'"]);
    // All at once, and two that change places.
    pair.change(&["UPDATE t1 SET k = k || CASE WHEN k LIKE '%.%' THEN '0' ELSE '.0' END"]);
    pair.change(&[
        "UPDATE t1 SET k = '-1' WHERE k = '2'",
        "UPDATE t1 SET k = '2.00' WHERE k = '3'",
        "UPDATE t1 SET k = '3.00' WHERE k = '-1'",
    ]);
    pair.change(&["DELETE FROM t1 WHERE k = '4'", "INSERT INTO t1 (k, u) VALUES ('4.00', 4)"]);
}

#[test]
fn doubles_that_are_whole_travel() {
    let mut pair = Pair::new();
    pair.change(&[FILL]);
    pair.change(&["UPDATE t1 SET r = 7 WHERE u = 1"]);
    pair.change(&["UPDATE t1 SET r = r + 1e15, b = x'02' WHERE u = 1"]);
    pair.change(&["UPDATE t1 SET r = -9007199254740993 WHERE r IS NOT NULL"]);
    pair.change(&["DELETE FROM t1"]);
}

/// A row that comes where one is, though the changeset says that there was none, is not taken for it.
#[test]
fn a_row_that_is_there_already_is_a_conflict() {
    let mut pair = Pair::new();
    let changeset = pair.capture(&["INSERT INTO t2 VALUES (1)"]);
    let store = &mut pair.stores[1];
    store.begin().unwrap();
    store.apply_changeset(&changeset, &mut |_| Ok(())).unwrap();
    let refused = store.apply_changeset(&changeset, &mut |_| Ok(())).unwrap_err();
    store.rollback().unwrap();
    assert!(refused.to_string().contains("its key is taken"), "{refused}");
}

fn statement() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["1", "1.0", "1.00", "2", "2.0", "3", "3.0", "-4", "5e1", "50"]);
    let value = prop::sample::select(vec!["NULL", "1", "2", "3", "-7", "9223372036854775807", "0"]);
    let real =
        prop::sample::select(vec!["NULL", "0.5", "1.0", "-0.0", "5e-324", "9e999", "16777217", "-1e300"]);
    let blob = prop::sample::select(vec![
        "NULL",
        "x''",
        "x'00ff'",
        "zeroblob(127)",
        "zeroblob(128)",
        "zeroblob(20000)",
    ]);
    let or = prop::sample::select(vec!["ABORT", "IGNORE"]);
    (key.clone(), key, value.clone(), value, real, blob, or, 0..7_u8).prop_map(
        |(key, other, u, v, r, b, or, kind)| match kind {
            0 | 1 => format!("INSERT OR {or} INTO t1 (k, u, r, b) VALUES ('{key}', {u}, {r}, {b})"),
            2 => format!("UPDATE OR {or} t1 SET k = '{other}', r = {r} WHERE k = '{key}'"),
            3 => format!("UPDATE OR {or} t1 SET u = {u}, b = {b} WHERE u IS {v}"),
            4 => format!("UPDATE OR {or} t1 SET u = u + 1, k = k || '0' WHERE k LIKE '%.%'"),
            5 => format!("DELETE FROM t1 WHERE k = '{key}'"),
            _ => format!(
                "INSERT INTO t1 (k, u) VALUES ('{key}', {u}) ON CONFLICT (k) DO UPDATE SET u = -u, r = {r}"
            ),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whoever_asks_is_shown_exactly_what_changed(
        transactions in prop::collection::vec(prop::collection::vec(statement(), 1..10), 1..8),
    ) {
        let mut pair = Pair::new();
        for transaction in &transactions {
            pair.change(transaction);
        }
    }

    #[test]
    fn no_bytes_do_harm(
        statements in prop::collection::vec(statement(), 1..10),
        cut in any::<prop::sample::Index>(),
        writes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        noise in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut pair = Pair::new();
        pair.change(&[FILL]);
        let whole = pair.capture(&statements);
        let mut bytes = whole.clone();
        for (at, byte) in writes {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        let cut = if whole.is_empty() { &[][..] } else { &whole[..cut.index(whole.len())] };
        let header = [b"T\x04\x01\0\0\0t1\0", &noise[..]].concat();
        let before = pair.rows();
        for bytes in [&bytes[..], cut, &noise, &header] {
            let store = &mut pair.stores[1];
            store.begin().unwrap();
            let _ = store.apply_changeset(bytes, &mut |_| Ok(()));
            store.rollback().unwrap();
        }
        prop_assert_eq!(pair.rows(), before);
    }
}
