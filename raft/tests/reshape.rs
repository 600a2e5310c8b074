//! Tables that get another shape: after each step every replica has the same rows, and they are what they were.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

mod reshape {
    pub mod world;
}

use grantd_catalog::command::{Command, DropBehavior, IndexName, Rule, TableAction};
use grantd_catalog::object::{Column, ColumnType, ReferentialAction};
use grantd_raft::rows::RowsError;
use reshape::world::{
    DECIMAL, INT, TEXT, World, add, alter, column, constraint, create, expression, foreign_key, index, name,
    object,
};

fn hidden_key() -> Column {
    let default = Some(expression("random()"));
    Column { hidden: true, default, nullable: false, ..column("rowid", INT) }
}

fn drop_column(text: &str, behavior: DropBehavior) -> TableAction {
    TableAction::DropColumn { column: name(text), if_exists: false, behavior }
}

fn rename(from: &str, to: &str) -> TableAction {
    TableAction::RenameColumn { column: name(from), to: name(to), expressions: Vec::new() }
}

fn message(written: Result<(), RowsError>) -> String {
    written.unwrap_err().message
}

/// A table `t` (id, a, b) of three rows.
fn three_rows() -> World {
    let mut world = World::new();
    world.ok(&create("t", vec![column("id", INT), column("a", INT), column("b", TEXT)]));
    world.write("INSERT INTO @t VALUES (1, 10, 'x'), (2, 20, 'y'), (3, NULL, 'z')").unwrap();
    world
}

#[test]
fn a_column_that_is_null_is_added_at_the_end() {
    let mut world = three_rows();
    world.alter("t", add(column("c", TEXT), None));
    world.alter("t", add(column("flag", ColumnType::Bool), None));
    assert_eq!(world.rows("SELECT * FROM @t"), "1 10 x - -, 2 20 y - -, 3 - z - -");
    world.write("UPDATE @t SET c = 'new', flag = 1 WHERE id = 2").unwrap();
    assert_eq!(world.rows("SELECT c, flag FROM @t WHERE id = 2"), "new 1");
    assert_eq!(message(world.write("UPDATE @t SET flag = 2")), "CHECK constraint failed: bool:flag");
}

#[test]
fn a_column_with_a_default_fills_the_rows_that_there_are() {
    let mut world = three_rows();
    let filled = Column { nullable: false, default: Some(expression("7")), ..column("c", INT) };
    world.alter("t", add(filled, Some("7")));
    assert_eq!(world.rows("SELECT id, c FROM @t"), "1 7, 2 7, 3 7");
    world.write("INSERT INTO @t (id) VALUES (4)").unwrap();
    assert_eq!(world.rows("SELECT c FROM @t WHERE id = 4"), "7");
    let empty = Column { nullable: false, ..column("d", INT) };
    let refused = world.refused(&alter("t", vec![add(empty, None)]));
    assert_eq!(refused, "23502 column \"d\" of relation \"t\" contains null values");
}

#[test]
fn a_dropped_column_takes_its_indexes_and_constraints_and_moves_the_rest() {
    let mut world = three_rows();
    world.ok(&index("t", &["b"], true, None));
    world.ok(&index("t", &["a", "b"], false, None));
    world.alter("t", constraint(Rule::Check(expression("\"a\" > 0"))));
    world.alter("t", drop_column("a", DropBehavior::Default));
    assert_eq!(world.rows("SELECT * FROM @t"), "1 x, 2 y, 3 z");
    let table = world.shape("t");
    assert_eq!((table.checks.len(), table.indexes.len(), table.indexes[0].keys[0].column()), (0, 1, Some(1)));
    assert!(message(world.write("INSERT INTO @t VALUES (4, 'x')")).starts_with("UNIQUE constraint failed"));
    let refused = world.refused(&alter("t", vec![drop_column("id", DropBehavior::Cascade)]));
    assert_eq!(refused, "42P10 column \"id\" is referenced by the primary key");
}

#[test]
fn a_renamed_column_keeps_what_uses_it() {
    let mut world = three_rows();
    let small = Column { default: Some(expression("1")), ..column("s", ColumnType::Int2) };
    world.alter("t", add(small, Some("1")));
    world.ok(&index("t", &["a"], true, Some("\"a\" > 5")));
    world.alter("t", constraint(Rule::Check(expression("\"a\" < 100"))));
    let sent =
        |texts: &[(&str, &str)]| texts.iter().map(|(was, now)| (expression(was), expression(now))).collect();
    let texts = [("\"a\" > 5", "\"n\" > 5"), ("\"a\" < 100", "\"n\" < 100"), ("1", "1")];
    let stale =
        TableAction::RenameColumn { column: name("a"), to: name("n"), expressions: sent(&texts[..2]) };
    assert!(world.refused(&alter("t", vec![stale])).starts_with("40001 restart transaction"));
    let whole = TableAction::RenameColumn { column: name("a"), to: name("n"), expressions: sent(&texts) };
    world.alter("t", whole);
    assert_eq!(world.rows("SELECT id, n FROM @t"), "1 10, 2 20, 3 -");
    assert!(message(world.write("UPDATE @t SET n = 200")).starts_with("CHECK constraint failed"));
    assert!(message(world.write("INSERT INTO @t (id, n) VALUES (4, 20)")).starts_with("UNIQUE"));
    let texts = [("\"n\" > 5", "\"n\" > 5"), ("\"n\" < 100", "\"n\" < 100"), ("1", "1")];
    let again = TableAction::RenameColumn { column: name("s"), to: name("small"), expressions: sent(&texts) };
    world.alter("t", again);
    assert_eq!(
        message(world.write("UPDATE @t SET small = 70000")),
        "CHECK constraint failed: range:small",
        "SQLite's constraint has the new name"
    );
    world.alter("t", drop_column("n", DropBehavior::Default));
    assert_eq!(world.rows("SELECT * FROM @t"), "1 x 1, 2 y 1, 3 z 1");
}

#[test]
fn columns_can_swap_their_names() {
    let mut world = three_rows();
    let actions = vec![rename("a", "tmp"), rename("b", "a"), rename("tmp", "b")];
    world.ok(&alter("t", actions));
    assert_eq!(world.rows("SELECT id, a, b FROM @t"), "1 x 10, 2 y 20, 3 z -");
}

#[test]
fn a_primary_key_takes_the_place_of_a_hidden_one() {
    let mut world = World::new();
    let mut command = create("t", vec![column("aid", INT), column("b", TEXT), hidden_key()]);
    if let Command::CreateTable { table, .. } = &mut command {
        table.primary_key = vec![2];
        table.columns[0].nullable = true;
    }
    world.ok(&command);
    world.write("INSERT INTO @t (aid, b) VALUES (3, 'c'), (1, 'a'), (1, 'b')").unwrap();
    let key = || constraint(Rule::PrimaryKey(vec![name("aid")]));
    let refused = world.refused(&alter("t", vec![key()]));
    assert_eq!(refused, "23505 could not create unique index \"t_pkey\"");
    world.write("UPDATE @t SET aid = 2 WHERE b = 'b'").unwrap();
    world.write("INSERT INTO @t (aid, b) VALUES (NULL, 'd')").unwrap();
    let refused = world.refused(&alter("t", vec![key()]));
    assert_eq!(refused, "23502 column \"aid\" of relation \"t\" contains null values");
    world.write("DELETE FROM @t WHERE b = 'd'").unwrap();
    world.alter("t", key());
    assert_eq!(world.rows("SELECT * FROM @t"), "1 a, 2 b, 3 c");
    world.write("UPDATE @t SET b = 'z' WHERE aid = 2").unwrap();
    assert!(message(world.write("INSERT INTO @t VALUES (2, 'x')")).starts_with("UNIQUE constraint failed"));
    let refused = world.refused(&alter("t", vec![constraint(Rule::PrimaryKey(vec![name("b")]))]));
    assert_eq!(refused, "42P16 multiple primary keys for table \"t\" are not allowed");
}

#[test]
fn constraints_are_checked_on_the_rows_that_there_are() {
    let mut world = three_rows();
    world.write("INSERT INTO @t VALUES (4, 10, 'x')").unwrap();
    let not_null = TableAction::SetNullable { column: name("a"), nullable: false };
    for (action, refused) in [
        (
            constraint(Rule::Unique(vec![name("a"), name("b")])),
            "23505 could not create unique index \"t_a_b_key\"",
        ),
        (
            constraint(Rule::Check(expression("\"a\" > 15"))),
            "23514 check constraint \"t_a_check\" of relation \"t\" is violated by some row",
        ),
        (not_null, "23502 column \"a\" of relation \"t\" contains null values"),
    ] {
        assert_eq!(world.refused(&alter("t", vec![action])), refused);
    }
    assert_eq!(
        world.refused(&index("t", &["b"], true, None)),
        "23505 could not create unique index \"t_b_idx\""
    );
    world.ok(&index("t", &["b"], true, Some("\"a\" > 15")));
    world.write("DELETE FROM @t WHERE id > 2").unwrap();
    world.alter("t", constraint(Rule::Unique(vec![name("a")])));
    world.alter("t", TableAction::SetNullable { column: name("a"), nullable: false });
    assert!(message(world.write("UPDATE @t SET a = NULL")).starts_with("NOT NULL"));
    world.alter("t", TableAction::SetNullable { column: name("a"), nullable: true });
    let dropped = TableAction::DropConstraint {
        constraint: name("t_a_key"),
        if_exists: false,
        behavior: DropBehavior::Default,
    };
    world.alter("t", dropped);
    world.write("UPDATE @t SET a = NULL").unwrap();
    assert_eq!(world.rows("SELECT id, a FROM @t"), "1 -, 2 -");
}

#[test]
fn defaults_come_and_go() {
    let mut world = three_rows();
    let set = |default| TableAction::SetDefault { column: name("a"), default };
    world.alter("t", set(Some(expression("5"))));
    world.write("INSERT INTO @t (id) VALUES (4)").unwrap();
    world.alter("t", set(None));
    world.write("INSERT INTO @t (id) VALUES (5)").unwrap();
    assert_eq!(world.rows("SELECT id, a FROM @t WHERE id > 3"), "4 5, 5 -");
}

#[test]
fn a_type_changes_with_the_values() {
    let mut world = three_rows();
    let set = |column: &str, column_type, using: Option<&str>| TableAction::SetType {
        column: name(column),
        column_type,
        using: using.map(str::to_owned),
        expressions: Vec::new(),
    };
    let short = ColumnType::Text { chars_max: Some(1) };
    world.ok(&alter("t", vec![set("a", TEXT, Some("CAST(\"a\" AS TEXT) || \"b\"")), set("b", short, None)]));
    assert_eq!(world.rows("SELECT * FROM @t"), "1 10x x, 2 20y y, 3 - z");
    assert_eq!(
        world.refused(&alter("t", vec![set("a", short, None)])),
        "22000 the rows of \"t\" do not fit the new shape: length:a"
    );
    assert!(world.refused(&alter("t", vec![set("a", INT, None)])).starts_with("22000"));
    world.alter("t", set("id", ColumnType::Int2, None));
    assert!(message(world.write("UPDATE @t SET id = 70000 WHERE id = 1")).starts_with("CHECK"));
}

#[test]
fn a_computed_column_is_computed_on_every_replica_alike() {
    let mut world = three_rows();
    let twice = Column { computed: Some(expression("\"a\" * 2")), ..column("twice", INT) };
    world.alter("t", add(twice, None));
    let last = Column { default: Some(expression("'l'")), ..column("last", TEXT) };
    world.alter("t", add(last, Some("'l'")));
    world.ok(&index("t", &["twice"], true, None));
    assert_eq!(world.rows("SELECT * FROM @t"), "1 10 x 20 l, 2 20 y 40 l, 3 - z - l");
    world.write("INSERT INTO @t (id, a, b, last) VALUES (4, 30, 'w', 'm')").unwrap();
    world.write("UPDATE @t SET a = 11, last = 'n' WHERE id = 1").unwrap();
    world.write("UPDATE @t SET last = 'o' WHERE id = 2").unwrap();
    world.write("DELETE FROM @t WHERE id = 3").unwrap();
    assert_eq!(world.rows("SELECT * FROM @t"), "1 11 x 22 n, 2 20 y 40 o, 4 30 w 60 m");
    assert!(message(world.write("UPDATE @t SET a = 30 WHERE id = 1")).starts_with("UNIQUE"));
    assert_eq!(
        world.refused(&alter("t", vec![drop_column("a", DropBehavior::Cascade)])),
        "42P10 column \"a\" is referenced by computed column \"twice\""
    );
    world.alter("t", drop_column("b", DropBehavior::Default));
    world.write("UPDATE @t SET a = 5, last = 'p' WHERE id = 4").unwrap();
    assert_eq!(world.rows("SELECT * FROM @t"), "1 11 22 n, 2 20 40 o, 4 5 10 p");
    world.alter("t", drop_column("twice", DropBehavior::Default));
    assert_eq!(world.rows("SELECT * FROM @t"), "1 11 n, 2 20 o, 4 5 p");
}

#[test]
fn a_computed_column_may_stand_before_the_key() {
    let mut world = World::new();
    let twice = Column { computed: Some(expression("\"id\" * 2")), ..column("twice", INT) };
    let mut command = create("t", vec![twice, column("a", TEXT), column("id", INT)]);
    if let Command::CreateTable { table, .. } = &mut command {
        table.primary_key = vec![2];
        table.columns[0].nullable = true;
        table.columns[2].nullable = false;
    }
    world.ok(&command);
    world.write("INSERT INTO @t (a, id) VALUES ('z', 3), ('y', 1), ('x', 2)").unwrap();
    world.write("UPDATE @t SET a = 'w' WHERE id = 2").unwrap();
    world.write("UPDATE @t SET id = 9 WHERE id = 1").unwrap();
    world.write("DELETE FROM @t WHERE id = 3").unwrap();
    assert_eq!(world.rows("SELECT * FROM @t"), "4 w 2, 18 y 9");
}

/// Tables `parent` (id, code, name) and `child` (id, of).
fn family(on: ReferentialAction) -> World {
    let mut world = World::new();
    world.ok(&create("parent", vec![column("id", INT), column("code", INT), column("name", TEXT)]));
    world.ok(&create("child", vec![column("id", INT), column("of", INT)]));
    world.write("INSERT INTO @parent VALUES (1, 10, 'a'), (2, 20, 'b')").unwrap();
    world.write("INSERT INTO @child VALUES (1, 1), (2, 2), (3, NULL)").unwrap();
    world.alter("child", constraint(foreign_key(&["of"], "parent", &[], on)));
    world
}

#[test]
fn a_foreign_key_is_checked_and_acts() {
    let mut world = family(ReferentialAction::Cascade);
    assert!(message(world.write("INSERT INTO @child VALUES (4, 9)")).starts_with("FOREIGN KEY"));
    world.write("UPDATE @parent SET id = 5 WHERE id = 2").unwrap();
    assert_eq!(world.rows("SELECT * FROM @child"), "1 1, 2 5, 3 -");
    world.write("DELETE FROM @parent WHERE id = 5").unwrap();
    assert_eq!(world.rows("SELECT * FROM @child"), "1 1, 3 -");
    let lost = constraint(foreign_key(&["id"], "parent", &["id"], ReferentialAction::NoAction));
    assert_eq!(
        world.refused(&alter("child", vec![lost])),
        "23503 insert or update on table \"child\" violates foreign key constraint \"child_id_fkey\""
    );
}

#[test]
fn the_target_of_a_foreign_key_changes_and_stays_the_target() {
    let mut world = family(ReferentialAction::NoAction);
    world.alter("parent", constraint(Rule::Unique(vec![name("name")])));
    world.alter("child", add(column("named", TEXT), None));
    world
        .alter("child", constraint(foreign_key(&["named"], "parent", &["name"], ReferentialAction::SetNull)));
    world.write("UPDATE @child SET named = 'b' WHERE id = 1").unwrap();
    // The positions behind it move, the table is made anew, and the names change.
    world.alter("parent", drop_column("code", DropBehavior::Default));
    assert_eq!(world.shape("child").foreign_keys[1].target_columns, [1]);
    world.alter("parent", rename("name", "title"));
    world.alter("parent", TableAction::SetNullable { column: name("title"), nullable: false });
    assert!(message(world.write("INSERT INTO @child VALUES (4, 1, 'c')")).starts_with("FOREIGN KEY"));
    assert!(message(world.write("DELETE FROM @parent WHERE id = 1")).starts_with("FOREIGN KEY"));
    world.write("UPDATE @child SET of = NULL").unwrap();
    world.write("DELETE FROM @parent WHERE id = 2").unwrap();
    assert_eq!(world.rows("SELECT * FROM @child"), "1 - -, 2 - -, 3 - -");
    world.alter("child", drop_column("of", DropBehavior::Default));
    world.write("INSERT INTO @child VALUES (4, 'a')").unwrap();
    assert_eq!(world.shape("child").foreign_keys.len(), 1);
}

#[test]
fn what_a_foreign_key_needs_stays_unless_the_key_goes_too() {
    let mut world = family(ReferentialAction::NoAction);
    let drop_parent =
        |behavior| Command::DropTables { names: vec![object("parent")], if_exists: false, behavior };
    assert_eq!(
        world.refused(&drop_parent(DropBehavior::Restrict)),
        "2BP01 \"parent\" is referenced by foreign key from table \"child\""
    );
    world.alter("parent", constraint(Rule::Unique(vec![name("code")])));
    world.write("UPDATE @child SET of = NULL").unwrap();
    world.alter("child", constraint(foreign_key(&["of"], "parent", &["code"], ReferentialAction::NoAction)));
    let code = |behavior| alter("parent", vec![drop_column("code", behavior)]);
    assert_eq!(
        world.refused(&code(DropBehavior::Default)),
        "2BP01 \"code\" is referenced by foreign key from table \"child\""
    );
    world.ok(&code(DropBehavior::Cascade));
    assert_eq!(world.shape("child").foreign_keys.len(), 1);
    world.ok(&drop_parent(DropBehavior::Cascade));
    assert_eq!(world.shape("child").foreign_keys.len(), 0);
    world.write("INSERT INTO @child VALUES (7, 7)").unwrap();
}

#[test]
fn a_table_may_refer_to_itself() {
    let mut world = World::new();
    let mut command = create("t", vec![column("id", INT), column("up", INT), column("c", TEXT)]);
    let key = foreign_key(&["up"], "t", &[], ReferentialAction::Cascade);
    if let Command::CreateTable { foreign_keys, .. } = &mut command {
        foreign_keys.push(grantd_catalog::command::NewConstraint { name: Some(name("up")), rule: key });
    }
    world.ok(&command);
    world.write("INSERT INTO @t VALUES (1, NULL, 'a'), (2, 1, 'b'), (3, 2, 'c'), (4, NULL, 'd')").unwrap();
    world.alter("t", TableAction::SetNullable { column: name("c"), nullable: false });
    world.alter("t", rename("id", "key"));
    world.write("DELETE FROM @t WHERE key = 1").unwrap();
    assert_eq!(world.rows("SELECT * FROM @t"), "4 - d");
    let drop =
        Command::DropTables { names: vec![object("t")], if_exists: false, behavior: DropBehavior::Restrict };
    world.ok(&drop);
}

#[test]
fn indexes_of_the_same_kind_are_one_and_names_cost_nothing() {
    let mut world = three_rows();
    world.ok(&index("t", &["b"], false, None));
    world.ok(&index("t", &["b"], false, None));
    let named = |text: &str| IndexName { table: None, index: object(text) };
    let rename = Command::RenameIndex { index: named("t_b_idx"), if_exists: false, to: name("first") };
    world.ok(&rename);
    let dropped = |text: &str| Command::DropIndexes {
        names: vec![named(text)],
        if_exists: false,
        behavior: DropBehavior::Default,
    };
    world.ok(&dropped("t_b_idx1"));
    world.ok(&dropped("first"));
    assert_eq!(world.refused(&dropped("first")), "42704 index \"first\" does not exist");
}

#[test]
fn decimals_are_compared_by_value() {
    let mut world = World::new();
    world.ok(&create("p", vec![column("d", DECIMAL)]));
    world.ok(&create("c", vec![column("id", INT), column("d", DECIMAL)]));
    world.write("INSERT INTO @p VALUES ('1.50')").unwrap();
    world.write("INSERT INTO @c VALUES (1, '1.5')").unwrap();
    world.alter("c", constraint(foreign_key(&["d"], "p", &[], ReferentialAction::NoAction)));
    world.alter("c", constraint(Rule::Unique(vec![name("d")])));
    assert!(message(world.write("INSERT INTO @c VALUES (2, '1.500')")).starts_with("UNIQUE"));
    assert!(message(world.write("INSERT INTO @c VALUES (2, '1.6')")).starts_with("FOREIGN KEY"));
}
