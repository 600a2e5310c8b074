//! CREATE TABLE, ALTER TABLE, CREATE INDEX and what names an index.

use super::*;
use crate::sql::parse::table::{AlterAction, IndexPart, TableStatement};
use grantd_catalog::command::{DropBehavior, IndexName};

fn table(text: &str) -> TableStatement {
    match parse(text) {
        Ok(Statement::Table(table)) => *table,
        other => panic!("{text}: {other:?}"),
    }
}

fn actions(text: &str) -> Vec<AlterAction> {
    match table(text) {
        TableStatement::Alter(alter) => alter.actions,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn what_stands_in_a_table() {
    let text = "CREATE TABLE t (index INT, unique_index INT, a INT AS (index + 1) STORED, b INT NOT VISIBLE, \
                UNIQUE INDEX (a DESC NULLS LAST, b) STORING (index) WHERE a > 1, INDEX i (b), CHECK (a > 0)) \
                WITH (fillfactor = 70, autovacuum_enabled = false)";
    let TableStatement::Create(create) = table(text) else { panic!("{text}") };
    let names: Vec<_> = create.columns.iter().map(|column| column.name.value.as_str()).collect();
    assert_eq!(names, ["index", "unique_index", "a", "b"]);
    assert_eq!(create.constraints.len(), 1);
    let [first, second] = create.indexes.as_slice() else { panic!("{:?}", create.indexes) };
    let [(IndexPart::Column(a), true), (IndexPart::Column(b), false)] = first.keys.as_slice() else {
        panic!("{:?}", first.keys)
    };
    assert_eq!((a, b), (&Name::normalize("a"), &Name::normalize("b")));
    assert!(first.unique && first.name.is_none() && first.predicate.is_some());
    assert!(!second.unique && second.predicate.is_none());
    assert_eq!(second.name, Some(Name::normalize("i")));
    for text in [
        "CREATE TABLE t (LIKE u)",
        "CREATE TABLE t (a INT, FAMILY f (a))",
        "CREATE TABLE t (a INT) PARTITION BY RANGE (a)",
        "CREATE TABLE t (a INT) INHERITS (u)",
        "CREATE TEMP TABLE t (a INT)",
        "CREATE UNLOGGED TABLE t (a INT)",
    ] {
        assert_eq!(refused(text).0, "0A000", "{text}");
    }
    assert_eq!(refused("CREATE TABLE t (a INT) WITH (nonsense)").0, "22023");
}

#[test]
fn what_alters_a_table() {
    let kinds = [
        ("ADD c INT, ADD COLUMN IF NOT EXISTS d INT DEFAULT 1", 2),
        ("ADD CHECK (a > 0), ADD CONSTRAINT x UNIQUE (a), ADD PRIMARY KEY (a)", 3),
        ("ADD CONSTRAINT IF NOT EXISTS x FOREIGN KEY (a) REFERENCES u ON DELETE CASCADE", 1),
        ("DROP a, DROP COLUMN IF EXISTS b CASCADE, DROP CONSTRAINT IF EXISTS x RESTRICT", 3),
        (
            "ALTER a SET DEFAULT 1, ALTER COLUMN a DROP DEFAULT, ALTER a SET NOT NULL, ALTER a DROP NOT NULL",
            4,
        ),
        ("ALTER a TYPE INT USING b + 1, ALTER a SET DATA TYPE TEXT", 2),
        ("RENAME a TO b", 1),
        ("RENAME CONSTRAINT a TO b", 1),
        ("VALIDATE CONSTRAINT x", 1),
    ];
    for (text, count) in kinds {
        assert_eq!(actions(&format!("ALTER TABLE IF EXISTS ONLY s.t {text}")).len(), count, "{text}");
    }
    for text in ["ADD CHECK (a > 0) NOT VALID", "ALTER a SET STATISTICS 1", "ENABLE ROW LEVEL SECURITY"] {
        assert_eq!(refused(&format!("ALTER TABLE t {text}")).0, "0A000", "{text}");
    }
    for text in ["ADD", "DROP", "ALTER a", "RENAME a b", "ADD c INT,"] {
        assert_eq!(refused(&format!("ALTER TABLE t {text}")).0, "42601", "{text}");
    }
}

#[test]
fn what_names_an_index() {
    let index =
        |table: Option<&[&str]>, index: &[&str]| IndexName { table: table.map(object), index: object(index) };
    let names = vec![index(None, &["s", "i"]), index(Some(&["s", "t"]), &["j"])];
    let expected = Command::DropIndexes { names, if_exists: true, behavior: DropBehavior::Cascade };
    assert_eq!(command("DROP INDEX CONCURRENTLY IF EXISTS s.i, s.t@j CASCADE"), expected);
    let to = Name::normalize("k");
    let expected = Command::RenameIndex { index: index(None, &["i"]), if_exists: false, to };
    assert_eq!(command("ALTER INDEX i RENAME TO k"), expected);
    let expected = Command::CommentOnIndex { index: index(None, &["i"]), text: None };
    assert_eq!(command("COMMENT ON INDEX i IS NULL"), expected);
    for text in ["CREATE INDEX ON t USING hash (a)", "CREATE INDEX ON t (a text_ops)"] {
        assert_eq!(refused(text).0, "0A000", "{text}");
    }
    for text in ["CREATE INDEX IF NOT EXISTS ON t (a)", "CREATE INDEX i ON t", "CREATE INDEX i ON t ()"] {
        assert_eq!(refused(text).0, "42601", "{text}");
    }
}
