//! Foreign keys that act where a statement is captured and nowhere else, and keys in an order of the caller's.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use std::cmp::Ordering;
use std::path::PathBuf;
use std::sync::Arc;

use grantd_raft::rows::{self, Access, Captured, Collation, Extensions, MetaKey, RowsError, Store, Value};

/// Two stores that are to stay equal.
struct Replicas {
    directory: tempfile::TempDir,
    stores: Vec<Store>,
}

/// Texts by their length.
fn by_length(left: &str, right: &str) -> Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// Texts in whatever case.
fn without_case(left: &str, right: &str) -> Ordering {
    left.to_lowercase().cmp(&right.to_lowercase())
}

fn extensions() -> Extensions {
    let decimal = Collation { name: "decimal", compare: Arc::new(by_length) };
    let spelled = Collation { name: "spelled", compare: Arc::new(without_case) };
    Extensions { collations: vec![decimal, spelled], ..Extensions::default() }
}

impl Replicas {
    fn new(tables: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let stores = (0..2).map(|at| Self::open(directory.path().join(format!("{at}.db")), tables)).collect();
        Self { directory, stores }
    }

    /// The tables are made as `ddl` would make them, by somebody else's connection.
    fn open(path: PathBuf, tables: &str) -> Store {
        drop(Store::open(&path, &extensions()).unwrap());
        let sqlite = rusqlite::Connection::open(&path).unwrap();
        sqlite.create_collation("decimal", by_length).unwrap();
        sqlite.create_collation("spelled", without_case).unwrap();
        sqlite.execute_batch(tables).unwrap();
        drop(sqlite);
        Store::open(&path, &extensions()).unwrap()
    }

    /// Runs statements in one transaction of the leader and applies what each changed everywhere.
    fn run(&mut self, statements: &[&str]) -> Vec<Result<Vec<Vec<Value>>, RowsError>> {
        let leader = &mut self.stores[0];
        leader.begin_captures().unwrap();
        let (mut results, mut changesets) = (Vec::new(), Vec::new());
        for sql in statements {
            match leader.capture(|rows| rows.run(sql, &[])).unwrap() {
                Captured::Changed(result, changeset) => {
                    changesets.push(changeset);
                    results.push(Ok(result.rows));
                }
                Captured::Refused(error) => results.push(Err(error)),
                Captured::Lost(_) => panic!("the transaction was lost"),
            }
        }
        leader.rollback().unwrap();
        for store in &mut self.stores {
            store.begin().unwrap();
            for changeset in &changesets {
                store.apply_changeset(changeset, &mut |_| Ok(())).unwrap();
            }
            store.commit().unwrap();
        }
        assert_eq!(self.stores[0].checksum().unwrap(), self.stores[1].checksum().unwrap());
        results
    }

    fn count(&mut self, table: &str) -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        match self.run(&[&sql]).remove(0).unwrap()[0][0] {
            Value::Integer(count) => count,
            ref other => panic!("{other:?}"),
        }
    }
}

const FAMILY: &str = "
    CREATE TABLE t1 (id INTEGER NOT NULL, PRIMARY KEY (id)) STRICT, WITHOUT ROWID;
    CREATE TABLE t2 (id INTEGER NOT NULL, p INTEGER, PRIMARY KEY (id),
        FOREIGN KEY (p) REFERENCES t1 (id) ON DELETE CASCADE ON UPDATE CASCADE) STRICT, WITHOUT ROWID;
    CREATE TABLE t3 (id INTEGER NOT NULL, p INTEGER DEFAULT 0, PRIMARY KEY (id),
        FOREIGN KEY (p) REFERENCES t2 (id) ON DELETE SET NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE t4 (id INTEGER NOT NULL, p INTEGER, PRIMARY KEY (id),
        FOREIGN KEY (p) REFERENCES t1 (id) DEFERRABLE INITIALLY DEFERRED) STRICT, WITHOUT ROWID;
    CREATE TABLE t5 (id INTEGER NOT NULL, p INTEGER, PRIMARY KEY (id),
        FOREIGN KEY (p) REFERENCES t5 (id) ON DELETE CASCADE) STRICT, WITHOUT ROWID;";

fn is_foreign_key(result: &Result<Vec<Vec<Value>>, RowsError>) -> bool {
    matches!(result, Err(error) if error.code == rusqlite::ffi::SQLITE_CONSTRAINT_FOREIGNKEY)
}

#[test]
fn what_foreign_keys_do_is_captured_and_applied_once() {
    let mut family = Replicas::new(FAMILY);
    let results = family.run(&[
        "INSERT INTO t1 VALUES (1), (2), (3)",
        "INSERT INTO t2 VALUES (10, 1), (11, 1), (20, 2)",
        "INSERT INTO t3 VALUES (100, 10), (200, 20)",
        "UPDATE t1 SET id = 30 WHERE id = 3",
        "UPDATE t1 SET id = 22 WHERE id = 2",
    ]);
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    let row = |text: &str| family_row(text);
    assert_eq!(family.run(&["SELECT p FROM t2 WHERE id = 20"])[0], Ok(row("22")));
    // A cascade of two steps, in one statement.
    assert!(family.run(&["DELETE FROM t1 WHERE id = 1"])[0].is_ok());
    assert_eq!((family.count("t1"), family.count("t2"), family.count("t3")), (2, 1, 2));
    assert_eq!(family.run(&["SELECT count(*) FROM t3 WHERE p IS NULL"])[0], Ok(row("1")));
}

fn family_row(text: &str) -> Vec<Vec<Value>> {
    vec![vec![Value::Integer(text.parse().unwrap())]]
}

#[test]
fn a_chain_of_cascades_is_followed_to_its_end() {
    let mut family = Replicas::new(FAMILY);
    let chain = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) \
                 INSERT INTO t5 SELECT i, nullif(i - 1, 0) FROM n";
    assert!(family.run(&[chain])[0].is_ok());
    assert!(family.run(&["DELETE FROM t5 WHERE id = 1"])[0].is_ok());
    assert_eq!(family.count("t5"), 0);
}

#[test]
fn a_violation_is_refused_with_its_statement_also_where_the_key_is_deferred() {
    let mut family = Replicas::new(FAMILY);
    let results = family.run(&[
        "INSERT INTO t1 VALUES (1)",
        "INSERT INTO t2 VALUES (10, 7)",
        "INSERT INTO t4 VALUES (40, 7)",
        "INSERT INTO t4 VALUES (41, 1)",
        "DELETE FROM t1 WHERE id = 1",
        "INSERT INTO t2 VALUES (11, 1)",
    ]);
    let refused: Vec<bool> = results.iter().map(is_foreign_key).collect();
    assert_eq!(refused, [false, true, true, false, true, false]);
    assert_eq!((family.count("t1"), family.count("t2"), family.count("t4")), (1, 1, 1));
}

#[test]
fn keys_are_kept_in_the_caller_s_order_everywhere_a_store_is_opened() {
    let mut numbers = Replicas::new(
        "CREATE TABLE t1 (k TEXT NOT NULL COLLATE decimal, u TEXT COLLATE decimal UNIQUE, PRIMARY KEY (k))
            STRICT, WITHOUT ROWID",
    );
    let results = numbers.run(&[
        "INSERT INTO t1 VALUES ('10', '7'), ('9', '80'), ('100', '9')",
        "UPDATE t1 SET k = '1000' WHERE k = '9'",
        "SELECT k FROM t1",
        "SELECT u FROM t1 ORDER BY u",
    ]);
    let texts = |texts: [&str; 3]| Ok(texts.map(|text| vec![Value::Text(text.to_owned())]).to_vec());
    assert_eq!(results[2], texts(["10", "100", "1000"]));
    assert_eq!(results[3], texts(["7", "9", "80"]));
    let copy = numbers.directory.path().join("copy");
    numbers.stores[1].backup_to(&copy).unwrap();
    rows::quick_check(&copy, &extensions()).unwrap();
    let (before, target) = (numbers.stores[1].checksum().unwrap(), &mut numbers.stores[0]);
    target.install(&copy).unwrap();
    assert_eq!(target.checksum().unwrap(), before);
}

/// Texts without regard to their case: one key in several writings.
const SPELLED: &str = "
    CREATE TABLE t1 (k TEXT NOT NULL COLLATE spelled, n INTEGER NOT NULL, v TEXT, w TEXT, PRIMARY KEY (k, n))
        STRICT, WITHOUT ROWID;
    CREATE TABLE t2 (k TEXT NOT NULL COLLATE spelled, n INTEGER, m INTEGER NOT NULL, PRIMARY KEY (k, m),
        FOREIGN KEY (k, n) REFERENCES t1 (k, n) ON UPDATE CASCADE ON DELETE CASCADE) STRICT, WITHOUT ROWID";

#[test]
fn a_key_that_is_only_written_differently_is_applied() {
    let mut replicas = Replicas::new(SPELLED);
    let shown = |replicas: &mut Replicas, sql: &str| {
        let rows = replicas.run(&[sql]).remove(0).unwrap();
        let text = |value: &Value| match value {
            Value::Text(text) => text.clone(),
            Value::Integer(integer) => integer.to_string(),
            other => format!("{other:?}"),
        };
        rows.iter().map(|row| row.iter().map(text).collect::<Vec<_>>().join(" ")).collect::<Vec<_>>()
    };
    let all = "SELECT k, n, v, w FROM t1 ORDER BY k, n";
    let steps: [(&str, &[&str]); 8] = [
        (
            "INSERT INTO t1 VALUES ('a', 1, 'x', 'y'), ('a', 2, 'x', NULL), ('b', 1, NULL, 'z')",
            &["a 1 x y", "a 2 x Null", "b 1 Null z"],
        ),
        ("UPDATE t1 SET k = 'A' WHERE n = 1 AND k = 'a'", &["A 1 x y", "a 2 x Null", "b 1 Null z"]),
        ("UPDATE t1 SET k = upper(k), v = k || 'v'", &["A 1 Av y", "A 2 av Null", "B 1 bv z"]),
        ("UPDATE t1 SET k = lower(k), n = n + 10", &["a 11 Av y", "a 12 av Null", "b 11 bv z"]),
        (
            "INSERT INTO t1 VALUES ('A', 11, 'new', 'new') ON CONFLICT (k, n) DO UPDATE SET k = excluded.k, v = 'old'",
            &["A 11 old y", "a 12 av Null", "b 11 bv z"],
        ),
        (
            "INSERT INTO t1 VALUES ('c', 1, '1', '1'), ('C', 1, '2', '2') ON CONFLICT (k, n) DO UPDATE SET k = excluded.k",
            &["A 11 old y", "a 12 av Null", "b 11 bv z", "C 1 1 1"],
        ),
        (
            "INSERT INTO t2 VALUES ('A', 11, 1), ('a', 11, 2), ('c', NULL, 1)",
            &["A 11 old y", "a 12 av Null", "b 11 bv z", "C 1 1 1"],
        ),
        (
            "UPDATE t1 SET k = CASE k WHEN 'A' THEN 'a' ELSE 'd' END, w = NULL WHERE n = 11",
            &["a 11 old Null", "a 12 av Null", "C 1 1 1", "d 11 bv Null"],
        ),
    ];
    for (sql, expected) in steps {
        let result = replicas.run(&[sql]).remove(0);
        assert!(result.is_ok(), "{sql}: {result:?}");
        assert_eq!(shown(&mut replicas, all), expected, "{sql}");
    }
    assert_eq!(
        shown(&mut replicas, "SELECT k, n, m FROM t2 ORDER BY k, m"),
        ["A 11 1", "a 11 2", "c Null 1"]
    );
    // In two statements of a transaction.
    replicas.run(&["DELETE FROM t1 WHERE k = 'c'", "INSERT INTO t1 VALUES ('c', 1, 'again', NULL)"]);
    assert_eq!(shown(&mut replicas, "SELECT k FROM t1 WHERE k = 'C'"), ["c"]);
    assert_eq!(replicas.count("t2"), 3);
}

#[test]
fn what_a_statement_touches_is_asked_again_when_tables_changed() {
    let family = "CREATE TABLE t1 (id INTEGER NOT NULL, PRIMARY KEY (id)) STRICT, WITHOUT ROWID;
        CREATE TABLE t2 (id INTEGER NOT NULL, p INTEGER, PRIMARY KEY (id)) STRICT, WITHOUT ROWID;";
    let mut family = Replicas::new(family);
    let path = family.directory.path().join("0.db");
    let touches_parent = |store: &mut Store| {
        store.begin_captures().unwrap();
        let captured = store.capture(|rows| rows.prepare("INSERT INTO t2 VALUES (?1, ?2)")).unwrap();
        store.rollback().unwrap();
        let Captured::Changed(accesses, _) = captured else { panic!("{captured:?}") };
        accesses.iter().any(|access| matches!(access, Access::Read { table, .. } if table == "t1"))
    };
    assert!(!touches_parent(&mut family.stores[0]));
    rusqlite::Connection::open(&path)
        .unwrap()
        .execute_batch(
            "DROP TABLE t2; CREATE TABLE t2 (id INTEGER NOT NULL, p INTEGER, PRIMARY KEY (id),
                FOREIGN KEY (p) REFERENCES t1 (id)) STRICT, WITHOUT ROWID;",
        )
        .unwrap();
    // SQLite sees what another connection did when it next reads; the machine's DDL is on this one.
    family.stores[0].meta(MetaKey::Applied).unwrap();
    assert!(touches_parent(&mut family.stores[0]));
}
