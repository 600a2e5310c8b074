//! Views, sequences, types, functions and external connections: who may make, change and drop them, and what stands in
//! the way. Each test names one fact; the texts are whole.

mod common;

use common::objects::*;
use common::*;
use grantd_catalog::command::{
    Command, Done, DropBehavior, LabelChange, Outcome, OwnedName, SequenceOptions, StorageChange, Targets,
};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::Name;
use grantd_catalog::object::{
    Argument, Body, ColumnType, ConnectionUri, EnumType, Function, LABEL_GAP, Object, Sequence,
    TEXT_BYTES_MAX, View, ViewColumn,
};
use grantd_catalog::record::{Record, RecordKey};
use grantd_catalog::state::{RestoreError, State};

/// Users amy, ben and cat, roles crew and leads; tables item and ops.bill of root's.
fn world() -> World {
    let mut world = World::new();
    for user in ["amy", "ben", "cat"] {
        world.ok("root", create_user(user, ""));
    }
    for name in ["crew", "leads"] {
        world.ok("root", create_role(name, ""));
    }
    world.ok("root", create_table("item"));
    world.ok("root", create_schema("ops"));
    world.ok("root", create_table("ops.bill"));
    world
}

fn type_id(world: &World, name: &str) -> ObjectId {
    world.state.resolve_type(&world.context, &object_name(name)).expect("the test made this type")
}

fn function_id(world: &World, name: &str) -> ObjectId {
    world.state.resolve_function(&world.context, &function_name(name, None)).expect("the test made it")
}

fn object<'w>(world: &'w World, name: &str) -> &'w Object {
    world.state.object(world.table(name)).expect("it is there")
}

fn hint(world: &mut World, user: &str, command: &Command) -> String {
    match world.run(user, command) {
        Outcome::Refused(refusal) => refusal.hint.unwrap_or_default(),
        Outcome::Done(done) => panic!("not refused: {done:?}"),
    }
}

const MUCH: ColumnType = ColumnType::Text { chars_max: None };

// Making.

#[test]
fn making_a_view_needs_what_its_query_reads() {
    let mut world = world();
    let (item, bill) = (world.table("item"), world.table("ops.bill"));
    assert_eq!(
        world.refused("amy", create_view("ops.v", vec![item])),
        "42501 user amy does not have CREATE privilege on schema ops"
    );
    assert_eq!(
        world.refused("amy", create_view("v", vec![item])),
        "42501 user amy does not have SELECT privilege on relation item"
    );
    world.ok("root", grant("SELECT", tables("item"), "amy"));
    let done = world.ok("amy", create_view("v", vec![item]));
    assert_eq!(done.storage, [], "a view has no rows");
    assert_eq!(object(&world, "v").owner, world.principal("amy"));
    assert_eq!(
        world.refused("amy", create_view("w", vec![bill])),
        "42501 user amy does not have USAGE privilege on schema ops"
    );
    let gone = ObjectId(9_999);
    assert_eq!(
        world.refused("root", create_view("w", vec![gone])),
        "42704 object 9999 was concurrently dropped"
    );
}

#[test]
fn a_view_that_replaces_one_keeps_its_id_owner_and_grants() {
    let mut world = world();
    let item = world.table("item");
    world.ok("root", create_view("v", vec![item]));
    world.ok("root", grant("SELECT", tables("v"), "ben"));
    let before = (world.table("v"), object(&world, "v").acl.clone());
    let replace = |columns: Vec<ViewColumn>, references| Command::CreateView {
        name: object_name("v"),
        view: View { columns, ..view_of(references) },
        if_not_exists: false,
        or_replace: true,
    };
    let column = |name: &str, column_type| ViewColumn { name: Name::from(name), column_type };
    let two = vec![column("k", ColumnType::Int8), column("more", ColumnType::Bool)];
    assert_eq!(
        world.refused("amy", replace(two.clone(), vec![])),
        "42501 user amy does not have DROP privilege on relation v"
    );
    world.ok("root", replace(two, vec![]));
    assert_eq!((world.table("v"), object(&world, "v").acl.clone()), before);
    let mut refused = |columns| world.refused("root", replace(columns, vec![]));
    let k = || column("k", ColumnType::Int8);
    assert_eq!(refused(vec![k()]), "42P16 cannot drop columns from view");
    assert_eq!(
        refused(vec![column("x", ColumnType::Int8), k()]),
        "42P16 cannot change name of view column \"k\" to \"x\""
    );
    assert_eq!(
        refused(vec![column("k", MUCH), column("z", MUCH)]),
        "42P16 cannot change type of view column \"k\" from int8 to string"
    );
    let view = world.table("v");
    let same = vec![k(), column("more", ColumnType::Bool)];
    assert_eq!(
        world.refused("root", replace(same, vec![view])),
        "42P17 cyclic view dependency for relation defaultdb.public.v"
    );
    let table = Command::CreateView {
        name: object_name("item"),
        view: view_of(vec![]),
        if_not_exists: false,
        or_replace: true,
    };
    assert_eq!(world.refused("root", table), "42809 \"item\" is not a view");
}

#[test]
fn relations_and_types_share_their_names_and_functions_do_not() {
    let mut world = world();
    world.ok("root", create_type("mood", "sad ok happy"));
    let mut refused = |command| world.refused("root", command);
    let taken = "42710 type \"defaultdb.public.mood\" already exists";
    assert_eq!(refused(create_table("mood")), taken);
    assert_eq!(refused(create_sequence("mood", None)), taken);
    assert_eq!(refused(create_view("mood", vec![])), taken);
    assert_eq!(refused(create_type("mood", "")), taken);
    assert_eq!(refused(create_type("item", "")), "42P07 relation \"defaultdb.public.item\" already exists");
    assert_eq!(
        refused(create_type("int4", "")),
        "42710 type \"defaultdb.public.int4\" already exists",
        "every cluster has it"
    );
    world.ok("root", create_function("item", &[], vec![]));
    let again = Command::CreateType { name: object_name("mood"), labels: vec![], if_not_exists: true };
    let notices = world.ok("root", again).notices;
    assert_eq!(notices[0].message, "type \"mood\" already exists, skipping");
    let table = Command::CreateTable {
        name: object_name("mood"),
        table: table(),
        foreign_keys: Vec::new(),
        identities: Vec::new(),
        if_not_exists: true,
    };
    assert_eq!(world.refused("root", table), taken);
}

#[test]
fn a_column_or_argument_of_an_enum_type_needs_usage_of_it() {
    let mut world = world();
    world.ok("root", create_type("mood", "sad"));
    let mood = ColumnType::Enum(type_id(&world, "mood"));
    world.ok("amy", create_table_of("t", mood, vec![]));
    world.ok("root", revoke("USAGE", types("mood"), "public"));
    let refused = "42501 user amy does not have USAGE privilege on type mood";
    assert_eq!(world.refused("amy", create_table_of("u", mood, vec![])), refused);
    assert_eq!(world.refused("amy", create_function("f", &[mood], vec![])), refused);
    let not_a_type = ColumnType::Enum(world.table("item"));
    assert_eq!(
        world.refused("root", create_table_of("u", not_a_type, vec![])),
        "42809 \"item\" cannot be used here"
    );
}

#[test]
fn nothing_is_made_in_a_virtual_schema() {
    let mut world = world();
    let refused = "42501 schema cannot be modified: \"pg_catalog\"";
    assert_eq!(world.refused("root", create_table("pg_catalog.t")), refused);
    assert_eq!(world.refused("root", create_view("pg_catalog.v", vec![])), refused);
    assert_eq!(world.refused("root", create_type("pg_catalog.t", "")), refused);
    assert_eq!(world.refused("root", create_function("pg_catalog.f", &[], vec![])), refused);
    assert_eq!(
        world.refused("root", drop_table("pg_catalog.pg_class")),
        "42501 user root does not have DROP privilege on relation pg_class"
    );
    assert_eq!(
        world.refused("root", owner_to(a_table("pg_catalog.pg_class"), "amy")),
        "42501 must be owner of virtual_table pg_class"
    );
    assert_eq!(
        world.refused("root", comment(a_table("pg_catalog.pg_class"), None, Some("x"))),
        "42501 user root does not have CREATE privilege on relation pg_class"
    );
    let schema = OwnedName::Schema(schema_name("pg_catalog"));
    assert_eq!(world.refused("root", rename(schema, "x")), "3F000 cannot modify schema \"pg_catalog\"");
    assert_eq!(
        world.refused("root", set_schema(a_table("item"), "pg_catalog")),
        "0A000 cannot move objects into or out of virtual schemas"
    );
}

#[test]
fn functions_are_told_apart_by_their_arguments() {
    let mut world = world();
    let bounded = ColumnType::Text { chars_max: Some(9) };
    world.ok("amy", create_function("f", &[], vec![]));
    world.ok("amy", create_function("f", &[MUCH], vec![]));
    let taken = "42723 function \"f\" already exists with same argument types";
    assert_eq!(world.refused("amy", create_function("f", &[], vec![])), taken);
    assert_eq!(world.refused("amy", create_function("f", &[bounded], vec![])), taken, "a bound is no type");
    let drop = |arguments| drop_function(function_name("f", arguments), DropBehavior::Default);
    assert_eq!(world.refused("amy", drop(None)), "42725 function name \"f\" is not unique");
    assert_eq!(world.refused("amy", drop(Some(&[ColumnType::Bool]))), "42883 unknown function: f(bool)");
    assert_eq!(world.refused("ben", drop(Some(&[]))), "42501 must be owner of function f");
    world.ok("amy", drop(Some(&[])));
    world.ok("amy", drop(None));
    world.ok("amy", create_function("g(", &[], vec![]));
    assert!(world.state.resolve_overloads(&world.context, &object_name("g")).is_empty());
}

#[test]
fn a_function_that_replaces_one_keeps_its_id_owner_and_grants() {
    let mut world = world();
    world.ok("amy", create_function("f", &[MUCH], vec![]));
    let on = Targets::Functions(vec![function_name("f", None)]);
    world.ok("amy", grant("EXECUTE", on, "ben"));
    let id = function_id(&world, "f");
    let before = world.state.object(id).expect("it is there").clone();
    let replace = |function| Command::CreateFunction { name: object_name("f"), function, or_replace: true };
    let new = Function { body: "SELECT 2".to_owned(), ..function(&[MUCH], vec![]) };
    assert_eq!(world.refused("ben", replace(new.clone())), "42501 must be owner of function f");
    world.ok("amy", replace(new));
    let after = world.state.object(id).expect("it is there");
    assert_eq!((after.owner, &after.acl), (before.owner, &before.acl));
    assert_ne!(after.body, before.body);
    let other = Function { returns: ColumnType::Bool, ..function(&[MUCH], vec![]) };
    assert_eq!(world.refused("amy", replace(other)), "42P13 cannot change return type of existing function");
    let itself = function(&[MUCH], vec![id]);
    assert_eq!(
        world.refused("amy", replace(itself)),
        "42P17 cyclic function dependency for relation defaultdb.public.f"
    );
    assert_eq!(
        world.refused("cat", create_function("g", &[], vec![id])),
        "42501 user cat does not have EXECUTE privilege on function f",
        "public has none in v22.2"
    );
}

#[test]
fn shapes_are_checked_where_they_are_kept() {
    let mut world = world();
    let mut refused = |command| world.refused("root", command);
    assert_eq!(refused(create_type("t", "a b a")), "42P17 enum definition contains duplicate value \"a\"");
    let numbered = |sequence| Command::CreateSequence {
        name: object_name("q"),
        sequence,
        owned_by: None,
        if_not_exists: false,
    };
    assert_eq!(
        refused(numbered(Sequence { increment: 0, ..sequence() })),
        "22023 INCREMENT must not be zero"
    );
    assert_eq!(
        refused(numbered(Sequence { min: 9, max: 3, ..sequence() })),
        "22023 MINVALUE (9) must be less than MAXVALUE (3)"
    );
    assert_eq!(
        refused(numbered(Sequence { start: 0, ..sequence() })),
        "22023 START value (0) cannot be less than MINVALUE (1)"
    );
    assert_eq!(
        refused(numbered(Sequence { start: 9, max: 8, ..sequence() })),
        "22023 START value (9) cannot be greater than MAXVALUE (8)"
    );
    let twice = Argument { name: Some(Name::from("a")), argument_type: MUCH };
    let function = Function { arguments: vec![twice.clone(), twice], ..function(&[], vec![]) };
    assert_eq!(
        refused(Command::CreateFunction { name: object_name("f"), function, or_replace: false }),
        "42P13 parameter name \"a\" used more than once"
    );
    let long = "x".repeat(TEXT_BYTES_MAX + 1);
    let limit = format!("54000 the comment has {} bytes; at most {TEXT_BYTES_MAX} are allowed", long.len());
    assert_eq!(refused(comment(a_table("item"), None, Some(&long))), limit);
    let limit = format!("54000 the query has {} bytes; at most {TEXT_BYTES_MAX} are allowed", long.len());
    let view = View { query: long.clone(), ..view_of(vec![]) };
    let view = Command::CreateView { name: object_name("v"), view, if_not_exists: false, or_replace: false };
    assert_eq!(refused(view), limit);
    let labels = vec![long];
    let limit = format!(
        "54000 the list of labels has {} bytes; at most {TEXT_BYTES_MAX} are allowed",
        TEXT_BYTES_MAX + 1
    );
    assert_eq!(refused(Command::CreateType { name: object_name("t"), labels, if_not_exists: false }), limit);
    let labels = (0..10_001).map(|n| n.to_string()).collect();
    assert_eq!(
        refused(Command::CreateType { name: object_name("t"), labels, if_not_exists: false }),
        "54000 10001 labels; at most 10000 are allowed"
    );
    let many = [ColumnType::Bool; 101];
    assert_eq!(refused(create_function("f", &many, vec![])), "54000 101 arguments; at most 100 are allowed");
}

// Sequences and types.

#[test]
fn altering_a_sequence_needs_create_on_it_and_keeps_what_is_not_written() {
    let mut world = world();
    world.ok("root", create_sequence("ops.q", None));
    world.ok("root", grant("USAGE", schemas("ops"), "amy"));
    world.ok("root", grant("CREATE", schemas("ops"), "amy"));
    world.ok("root", grant("UPDATE", Targets::Sequences(patterns("ops.q")), "amy"));
    let alter = |options| Command::AlterSequence { name: object_name("ops.q"), if_exists: false, options };
    let down = SequenceOptions {
        increment: Some(-2),
        min: Some(None),
        max: Some(None),
        start: Some(-1),
        owned_by: None,
    };
    assert_eq!(
        world.refused("amy", alter(down.clone())),
        "42501 user amy does not have CREATE privilege on relation q"
    );
    world.ok("root", grant("CREATE", Targets::Sequences(patterns("ops.q")), "amy"));
    world.ok("amy", alter(down));
    let Body::Sequence(changed) = object(&world, "ops.q").body.clone() else { panic!("a sequence") };
    let expected = Sequence { start: -1, increment: -2, min: i64::MIN, max: -1, owned_by: None };
    assert_eq!(changed, expected);
    let wrong = Command::AlterSequence {
        name: object_name("item"),
        if_exists: true,
        options: SequenceOptions::default(),
    };
    assert_eq!(world.refused("root", wrong), "42809 \"item\" is not a sequence");
}

#[test]
fn labels_are_added_between_others_and_renamed_by_the_owner() {
    let mut world = world();
    world.ok("amy", create_type("mood", "sad happy"));
    let alter = |change| Command::AlterType { name: object_name("mood"), change };
    let add = |label: &str, beside: Option<(bool, &str)>| LabelChange::Add {
        label: label.to_owned(),
        if_not_exists: false,
        beside: beside.map(|(before, other)| (before, other.to_owned())),
    };
    let to = |from: &str, to: &str| LabelChange::Rename { from: from.to_owned(), to: to.to_owned() };
    assert_eq!(world.refused("ben", alter(add("ok", None))), "42501 must be owner of type mood");
    world.ok("amy", alter(add("ok", Some((true, "happy")))));
    world.ok("amy", alter(add("bad", Some((true, "sad")))));
    world.ok("amy", alter(add("best", None)));
    world.ok("amy", alter(to("sad", "glum")));
    let labels = |world: &World| {
        let mood = world.state.object(type_id(world, "mood")).expect("it is there");
        let Body::Type(EnumType { labels }) = mood.body.clone() else { panic!("a type") };
        labels
    };
    let written: Vec<_> = labels(&world).into_iter().map(|label| label.label).collect();
    assert_eq!(written, ["bad", "glum", "ok", "happy", "best"]);
    assert_eq!(labels(&world)[1].position, LABEL_GAP, "rows that hold it mean the same");
    let mut refused = |change| world.refused("amy", alter(change));
    assert_eq!(refused(add("ok", None)), "42710 enum value \"ok\" already exists");
    assert_eq!(refused(add("x", Some((false, "nope")))), "22023 \"nope\" is not an existing enum value");
    assert_eq!(refused(to("nope", "x")), "22023 nope is not an existing enum value");
    assert_eq!(refused(to("ok", "best")), "42710 enum value best already exists");
    let again = LabelChange::Add { label: "ok".to_owned(), if_not_exists: true, beside: None };
    assert_eq!(
        world.ok("amy", alter(again)).notices[0].message,
        "enum value \"ok\" already exists, skipping"
    );
}

#[test]
fn positions_between_two_labels_run_out_with_a_refusal() {
    let mut world = world();
    world.ok("root", create_type("mood", "a z"));
    let add = |n: u32| Command::AlterType {
        name: object_name("mood"),
        change: LabelChange::Add {
            label: format!("m{n}"),
            if_not_exists: false,
            beside: Some((true, "z".to_owned())),
        },
    };
    for n in 0..32 {
        world.ok("root", add(n));
    }
    assert_eq!(
        world.refused("root", add(32)),
        "54000 no position is left for enum value \"m32\" beside that one"
    );
}

// Dropping.

#[test]
fn a_view_is_in_the_way_of_what_it_reads_and_goes_with_cascade() {
    let mut world = world();
    let item = world.table("item");
    world.ok("root", create_view("v", vec![item]));
    let view = world.table("v");
    world.ok("root", create_view("ops.w", vec![view]));
    let drop = drop_tables("item", DropBehavior::Default);
    assert_eq!(
        world.refused("root", drop.clone()),
        "2BP01 cannot drop relation \"item\" because view \"v\" depends on it"
    );
    assert_eq!(hint(&mut world, "root", &drop), "you can drop v instead.");
    assert_eq!(
        world.refused("root", drop_view("v", DropBehavior::Restrict)),
        "2BP01 cannot drop relation \"v\" because view \"defaultdb.ops.w\" depends on it"
    );
    world.ok("root", grant("DROP", tables("item"), "amy"));
    assert_eq!(
        world.refused("amy", drop_tables("item", DropBehavior::Cascade)),
        "42501 user amy does not have DROP privilege on relation v"
    );
    assert_eq!(world.refused("root", drop_tables("v", DropBehavior::Default)), "42809 \"v\" is not a table");
    assert_eq!(
        world.refused("root", drop_view("item", DropBehavior::Default)),
        "42809 \"item\" is not a view"
    );
    let done = world.ok("root", drop_tables("item", DropBehavior::Cascade));
    assert_eq!(done.storage, [StorageChange::Drop(item)]);
    assert_eq!(world.state.object(view), None);
}

#[test]
fn views_that_are_dropped_together_are_not_in_each_others_way() {
    let mut world = world();
    let item = world.table("item");
    world.ok("root", create_view("v", vec![item]));
    let view = world.table("v");
    world.ok("root", create_view("w", vec![view]));
    world.ok("root", drop_view("v w v", DropBehavior::Default));
    world.ok("root", drop_table("item"));
}

#[test]
fn a_function_is_in_the_way_of_what_it_reads() {
    let mut world = world();
    let item = world.table("item");
    world.ok("root", create_function("f", &[], vec![item]));
    assert_eq!(
        world.refused("root", drop_table("item")),
        "2BP01 cannot drop relation \"item\" because function \"f\" depends on it"
    );
    let f = function_id(&world, "f");
    world.ok("root", create_view("v", vec![f]));
    let drop = |behavior| drop_function(function_name("f", None), behavior);
    assert_eq!(
        world.refused("root", drop(DropBehavior::Default)),
        "2BP01 cannot drop function \"f\" because other objects ([defaultdb.public.v]) still depend on it"
    );
    assert_eq!(
        world.refused("root", drop(DropBehavior::Cascade)),
        "0A000 unimplemented: drop function cascade not supported"
    );
    world.ok("root", grant("DROP", tables("item v"), "amy"));
    assert_eq!(
        world.refused("amy", drop_tables("item", DropBehavior::Cascade)),
        "42501 must be owner of function f"
    );
    world.ok("root", drop_tables("item", DropBehavior::Cascade));
}

#[test]
fn a_type_stays_while_a_column_or_argument_is_of_it() {
    let mut world = world();
    world.ok("root", create_type("ops.mood", "sad"));
    let mood = ColumnType::Enum(type_id(&world, "ops.mood"));
    world.ok("root", create_table_of("t", mood, vec![]));
    world.ok("root", create_function("f", &[mood], vec![]));
    assert_eq!(
        world.refused("root", drop_type("ops.mood", DropBehavior::Default)),
        "2BP01 cannot drop type \"mood\" because other objects ([defaultdb.public.t defaultdb.public.f]) still \
         depend on it"
    );
    assert_eq!(
        world.refused("root", drop_type("ops.mood", DropBehavior::Cascade)),
        "0A000 unimplemented: DROP TYPE CASCADE is not yet supported"
    );
    assert_eq!(
        world.refused("amy", drop_type("ops.mood", DropBehavior::Default)),
        "42501 user amy does not have USAGE privilege on schema ops"
    );
    world.ok("root", grant("USAGE", schemas("ops"), "amy"));
    assert_eq!(
        world.refused("amy", drop_type("ops.mood", DropBehavior::Default)),
        "42501 must be owner of type mood"
    );
    let schema = Command::DropSchemas {
        names: vec![schema_name("ops")],
        if_exists: false,
        behavior: DropBehavior::Cascade,
    };
    let Outcome::Refused(refusal) = world.run("root", &schema) else { panic!("not refused") };
    assert_eq!(refusal.message, "unimplemented: DROP TYPE CASCADE is not yet supported");
    let detail = "cannot drop type \"mood\" because other objects ([defaultdb.public.t]) still depend on it";
    assert_eq!(refusal.detail.as_deref(), Some(detail), "the function goes, the table does not");
    world.ok("root", drop_function(function_name("f", None), DropBehavior::Default));
    world.ok("root", drop_table("t"));
    world.ok("root", schema);
}

#[test]
fn sequences_go_with_the_table_that_owns_them() {
    let mut world = world();
    let done = world.ok("root", create_sequence("q", Some("item")));
    let (item, q) = (world.table("item"), world.table("q"));
    assert_eq!(done.storage, [StorageChange::Create(q)]);
    world.ok("root", grant("DROP", tables("item"), "amy"));
    assert_eq!(
        world.refused("amy", drop_table("item")),
        "42501 user amy does not have DROP privilege on relation q"
    );
    assert_eq!(
        world.refused("amy", create_sequence("r", Some("item"))),
        "42501 user amy does not have CREATE privilege on relation item"
    );
    world.ok("root", create_table_of("u", ColumnType::Int8, vec![q]));
    assert_eq!(
        world.refused("root", drop_table("item")),
        "2BP01 cannot drop table item because other objects depend on it"
    );
    let in_the_way = "2BP01 cannot drop sequence q because other objects depend on it";
    assert_eq!(world.refused("root", drop_sequence("q", DropBehavior::Default)), in_the_way);
    assert_eq!(world.refused("root", drop_sequence("q", DropBehavior::Cascade)), in_the_way);
    let done = world.ok("root", drop_tables("item u", DropBehavior::Default));
    let [first, u_gone, last] = done.storage.as_slice() else { panic!("{done:?}") };
    let rest = [first.clone(), last.clone()];
    assert_eq!(rest, [StorageChange::Drop(item), StorageChange::Drop(q)]);
    assert!(matches!(u_gone, StorageChange::Drop(_)));
}

#[test]
fn a_sequence_outlives_the_table_that_it_was_freed_from() {
    let mut world = world();
    world.ok("root", create_sequence("q", Some("item")));
    let freed = SequenceOptions { owned_by: Some(None), ..SequenceOptions::default() };
    world.ok("root", Command::AlterSequence { name: object_name("q"), if_exists: false, options: freed });
    world.ok("root", drop_table("item"));
    world.table("q");
}

#[test]
fn dropping_a_database_takes_everything_and_needs_drop_on_relations_alone() {
    let mut world = world();
    world.ok("root", create_database("d"));
    for command in [
        create_table("d.public.t"),
        create_sequence("d.public.q", None),
        create_type("d.public.mood", "sad"),
        create_function("d.public.f", &[], vec![]),
    ] {
        world.ok("root", command);
    }
    let t = world.table("d.public.t");
    world.ok("root", create_view("elsewhere", vec![t]));
    let drop =
        Command::DropDatabase { name: Name::from("d"), if_exists: false, behavior: DropBehavior::Default };
    world.ok("root", grant("DROP", Targets::Databases(vec![Name::from("d")]), "amy"));
    world.ok("root", grant("ALL", tables("d.public.t d.public.q"), "amy"));
    assert_eq!(
        world.refused("amy", drop.clone()),
        "42501 user amy does not have DROP privilege on relation elsewhere"
    );
    world.ok("root", grant("DROP", tables("elsewhere"), "amy"));
    let before = world.state.objects().count();
    world.ok("amy", drop);
    assert_eq!(world.state.objects().count(), before - 7, "the database, its schema, four in it, a view");
}

#[test]
fn if_exists_forgives_what_is_missing_but_not_what_is_something_else() {
    let mut world = world();
    let drop = |name: &str| Command::DropViews {
        names: vec![object_name(name)],
        if_exists: true,
        behavior: DropBehavior::Default,
    };
    assert!(!world.ok("root", drop("nope")).changed);
    assert_eq!(world.refused("root", drop("item")), "42809 \"item\" is not a view");
}

// Renaming, moving, commenting, owning.

#[test]
fn renaming_a_relation_needs_drop_on_it_and_create_on_its_schema() {
    let mut world = world();
    world.ok("root", grant("USAGE", schemas("ops"), "amy"));
    let to = |name: &str| rename(a_table("ops.bill"), name);
    assert_eq!(world.refused("amy", to("b")), "42501 user amy does not have DROP privilege on relation bill");
    world.ok("root", grant("DROP", tables("ops.bill"), "amy"));
    assert_eq!(world.refused("amy", to("b")), "42501 user amy does not have CREATE privilege on schema ops");
    world.ok("root", grant("CREATE", schemas("ops"), "amy"));
    let id = world.table("ops.bill");
    assert!(!world.ok("amy", to("bill")).changed);
    world.ok("root", create_type("ops.b", ""));
    assert_eq!(world.refused("amy", to("b")), "42710 type \"defaultdb.ops.b\" already exists");
    world.ok("amy", to("c"));
    assert_eq!(world.table("ops.c"), id);
    let gone = Command::Rename { object: a_table("ops.bill"), if_exists: true, to: Name::from("x") };
    assert!(!world.ok("root", gone).changed);
}

#[test]
fn what_a_view_or_function_names_keeps_its_name_and_schema() {
    let mut world = world();
    let item = world.table("item");
    world.ok("root", create_view("v", vec![item]));
    assert_eq!(
        world.refused("root", rename(a_table("item"), "x")),
        "2BP01 cannot rename relation \"item\" because view \"v\" depends on it"
    );
    assert_eq!(
        world.refused("root", set_schema(a_table("item"), "ops")),
        "2BP01 cannot set schema on relation \"item\" because view \"v\" depends on it"
    );
    assert_eq!(
        world.refused("root", rename(OwnedName::Database(Name::from("defaultdb")), "x")),
        "2BP01 cannot rename database because relation \"defaultdb.public.v\" depends on relation \
         \"defaultdb.public.item\""
    );
    world.ok("root", rename(a_table("v"), "w"));
    world.ok("root", set_schema(a_table("w"), "ops"));
    let bill = world.table("ops.bill");
    world.ok("root", create_function("f", &[], vec![bill]));
    assert_eq!(
        world.refused("root", rename(OwnedName::Schema(schema_name("ops")), "x")),
        "2BP01 cannot rename schema because relation \"defaultdb.public.f\" depends on relation \
         \"defaultdb.ops.bill\""
    );
}

#[test]
fn renaming_a_database_needs_its_ownership_and_createdb() {
    let mut world = world();
    let to = |name: &str, to| rename(OwnedName::Database(Name::from(name)), to);
    assert_eq!(world.refused("amy", to("defaultdb", "x")), "42501 must be owner of database defaultdb");
    world.ok("root", alter_role("amy", "CREATEDB"));
    world.ok("amy", create_database("d"));
    world.ok("root", grant_role("amy", "ben"));
    assert_eq!(world.refused("ben", to("d", "x")), "42501 permission denied to rename database");
    assert_eq!(world.refused("amy", to("d", "defaultdb")), "42P04 database \"defaultdb\" already exists");
    world.ok("amy", to("d", "e"));
    assert_eq!(world.refused("root", to("d", "x")), "3D000 database \"d\" does not exist");
    assert_eq!(world.refused("root", to("system", "x")), "42501 must be owner of database system");
}

#[test]
fn renaming_a_schema_needs_its_ownership_and_create_on_the_database() {
    let mut world = world();
    let to = |name: &str, to| rename(OwnedName::Schema(schema_name(name)), to);
    assert_eq!(world.refused("amy", to("ops", "x")), "42501 must be owner of schema \"ops\"");
    world.ok("root", owner_to(OwnedName::Schema(schema_name("ops")), "amy"));
    assert_eq!(
        world.refused("amy", to("ops", "x")),
        "42501 user amy does not have CREATE privilege on database defaultdb"
    );
    let database = Targets::Databases(vec![Name::from("defaultdb")]);
    world.ok("root", grant("CREATE", database, "amy"));
    let mut refused = |name, new| world.refused("amy", to(name, new));
    assert_eq!(refused("ops", "public"), "42P06 schema \"public\" already exists");
    assert_eq!(refused("ops", "pg_x"), "42939 unacceptable schema name \"pg_x\"");
    assert_eq!(refused("public", "x"), "3F000 cannot rename schema \"public\"");
    let bill = world.table("ops.bill");
    world.ok("amy", to("ops", "work"));
    assert_eq!(world.table("work.bill"), bill);
}

#[test]
fn types_and_functions_are_renamed_and_moved_by_their_owners() {
    let mut world = world();
    world.ok("amy", create_type("mood", "sad"));
    world.ok("amy", create_function("f", &[MUCH], vec![]));
    world.ok("amy", create_function("g", &[MUCH], vec![]));
    let mood = type_id(&world, "mood");
    world.ok("amy", create_table_of("t", ColumnType::Enum(mood), vec![]));
    assert_eq!(world.refused("ben", rename(a_type("mood"), "x")), "42501 must be owner of type mood");
    assert_eq!(world.refused("ben", rename(a_function("f"), "x")), "42501 must be owner of function f");
    assert_eq!(
        world.refused("amy", rename(a_function("f"), "g")),
        "42723 function g(string) already exists in schema \"public\""
    );
    world.ok("amy", rename(a_type("mood"), "feeling"));
    assert_eq!(type_id(&world, "feeling"), mood, "columns of it stay");
    assert_eq!(
        world.refused("amy", set_schema(a_type("feeling"), "ops")),
        "42501 user amy does not have CREATE privilege on schema ops"
    );
    world.ok("root", set_schema(a_type("feeling"), "ops"));
    world.ok("root", set_schema(a_function("f"), "ops"));
    world.ok("amy", rename(a_function("g"), "f"));
    assert_eq!(
        world.refused("root", set_schema(a_function("f"), "ops")),
        "42723 function f(string) already exists in schema \"ops\""
    );
}

#[test]
fn moving_needs_drop_and_create_on_the_new_schema_of_the_same_database() {
    let mut world = world();
    world.ok("root", create_database("d"));
    let to = |schema| set_schema(a_table("item"), schema);
    assert_eq!(
        world.refused("amy", to("ops")),
        "42501 user amy does not have DROP privilege on relation item"
    );
    world.ok("root", table_owner("item", "amy"));
    assert_eq!(
        world.refused("amy", to("ops")),
        "42501 user amy does not have CREATE privilege on schema ops"
    );
    assert_eq!(world.refused("root", to("nope")), "3F000 unknown schema \"nope\"");
    assert_eq!(world.refused("root", to("d.public")), "0A000 cannot move objects between databases");
    world.ok("root", create_table("ops.item"));
    assert_eq!(world.refused("root", to("ops")), "42P07 relation \"defaultdb.ops.item\" already exists");
    let id = world.table("item");
    world.ok("root", rename(a_table("item"), "thing"));
    world.ok("root", set_schema(a_table("thing"), "ops"));
    assert_eq!(world.table("ops.thing"), id);
}

#[test]
fn a_comment_needs_create_or_ownership() {
    let mut world = world();
    let database = || OwnedName::Database(Name::from("defaultdb"));
    let text = Some("what it is");
    let mut refused = |on, column| world.refused("amy", comment(on, column, text));
    assert_eq!(
        refused(a_table("item"), None),
        "42501 user amy does not have CREATE privilege on relation item"
    );
    assert_eq!(
        refused(database(), None),
        "42501 user amy does not have CREATE privilege on database defaultdb"
    );
    world.ok("root", grant("CREATE", tables("item"), "amy"));
    world.ok("amy", comment(a_table("item"), None, text));
    world.ok("amy", comment(a_table("item"), Some("v"), text));
    assert_eq!(object(&world, "item").comment.as_deref(), text);
    let Body::Table(table) = &object(&world, "item").body else { panic!("a table") };
    assert_eq!(table.columns[1].comment.as_deref(), text);
    assert_eq!(
        world.refused("amy", comment(a_table("item"), Some("nope"), text)),
        "42703 column \"nope\" does not exist"
    );
    world.ok("amy", comment(a_table("item"), None, None));
    assert_eq!(object(&world, "item").comment, None);
    world.ok("amy", create_type("mood", ""));
    assert_eq!(world.refused("ben", comment(a_type("mood"), None, text)), "42501 must be owner of type mood");
    world.ok("amy", comment(a_type("mood"), None, text));
    world.ok("root", comment(database(), None, text));
}

#[test]
fn owners_of_every_kind_change_as_relations_do() {
    let mut world = world();
    world.ok("root", create_type("ops.mood", ""));
    world.ok("root", create_function("ops.f", &[], vec![]));
    world.ok("root", create_sequence("ops.q", None));
    world.ok("root", create_view("ops.v", vec![]));
    let all = || {
        [
            OwnedName::Type(object_name("ops.mood")),
            a_function("ops.f"),
            OwnedName::Sequence(object_name("ops.q")),
            OwnedName::View(object_name("ops.v")),
        ]
    };
    for object in all() {
        assert_eq!(
            world.refused("root", owner_to(object, "amy")),
            "42501 user amy does not have CREATE privilege on schema ops"
        );
    }
    world.ok("root", grant("CREATE USAGE", schemas("ops"), "amy"));
    for object in all() {
        world.ok("root", owner_to(object.clone(), "amy"));
        assert_eq!(world.refused("amy", owner_to(object, "ben")), "42501 must be member of role \"ben\"");
    }
    assert_eq!(
        world.refused("ben", owner_to(OwnedName::View(object_name("item")), "ben")),
        "42809 \"item\" is not a view"
    );
    world.ok("root", Command::ReassignOwned { from: role_list("amy"), to: role("leads") });
    let leads = world.principal("leads");
    for name in ["ops.q", "ops.v"] {
        assert_eq!(object(&world, name).owner, leads);
    }
    let owner = |id| world.state.object(id).map(|object| object.owner);
    assert_eq!(owner(type_id(&world, "ops.mood")), Some(leads));
    assert_eq!(owner(function_id(&world, "ops.f")), Some(world.principal("amy")), "not in v22.2");
}

// External connections.

#[test]
fn external_connections_are_made_by_privilege_and_owned_by_their_makers() {
    let mut world = world();
    let refused = "42501 only users with the EXTERNALCONNECTION system privilege are allowed to CREATE EXTERNAL CONNECTION";
    assert_eq!(world.refused("amy", create_connection("vault")), refused);
    world.ok("root", grant("EXTERNALCONNECTION", Targets::System, "amy"));
    world.ok("amy", create_connection("vault"));
    assert_eq!(
        world.refused("amy", create_connection("vault")),
        "42710 external connection with connection name vault already exists"
    );
    let drop =
        |name: &str| Command::DropExternalConnections { names: vec![Name::from(name)], if_exists: false };
    assert_eq!(
        world.refused("ben", drop("vault")),
        "42501 user ben does not have DROP privilege on external_connection vault"
    );
    assert_eq!(
        world.refused("ben", drop("nope")),
        "42704 failed to resolve External Connection: external connection with name nope does not exist"
    );
    let alter = |name: &str| Command::AlterExternalConnection {
        name: Name::from(name),
        uri: ConnectionUri::new("s3://other".to_owned()),
        access: Vec::new(),
        if_exists: false,
    };
    assert_eq!(world.refused("ben", alter("vault")), "42501 must be owner of external_connection vault");
    world.ok("amy", alter("vault"));
    let on = Targets::ExternalConnections(vec![Name::from("vault")]);
    world.ok("amy", grant("DROP", on, "ben"));
    world.ok("root", grant_role("admin", "crew"));
    world.ok("root", grant_role("crew", "cat"));
    world.ok("ben", drop("vault"));
    world.ok("amy", create_connection("vault"));
    world.ok("cat", drop("vault"));
}

// What a catalog must be.

#[test]
fn records_with_references_that_lead_nowhere_are_refused() {
    let mut world = world();
    let item = world.table("item");
    world.ok("root", create_view("v", vec![item]));
    let mut records = world.disk.clone();
    records.remove(&RecordKey::Object(item));
    let key = RecordKey::Object(world.table("v"));
    let gone = format!("object {item} was concurrently dropped");
    assert_eq!(State::restore(records), Err(RestoreError::MalformedObject(key, gone)));
    let mut records = world.disk.clone();
    let Some(Record::Object(view)) = records.get_mut(&key) else { panic!("it is there") };
    std::sync::Arc::make_mut(view).body = Body::View(View { columns: vec![], ..view_of(vec![]) });
    let empty = "a table needs at least one column".to_owned();
    assert_eq!(State::restore(records), Err(RestoreError::MalformedObject(key, empty)));
    let mut records = world.disk.clone();
    let Some(Record::Object(view)) = records.get_mut(&key) else { panic!("it is there") };
    std::sync::Arc::make_mut(view).body = Body::VirtualTable;
    assert_eq!(State::restore(records), Err(RestoreError::UnknownId(key)));
}

#[test]
fn every_kind_survives_its_records() {
    let mut world = world();
    let item = world.table("item");
    world.ok("root", create_type("mood", "sad ok"));
    world.ok("root", create_sequence("q", Some("item")));
    let mood = ColumnType::Enum(type_id(&world, "mood"));
    world.ok("root", create_function("f", &[mood], vec![item]));
    let f = function_id(&world, "f");
    world.ok("root", create_view("v", vec![item, f]));
    world.ok("root", create_connection("vault"));
    let Done { changed, .. } = world.ok("root", comment(a_function("f"), None, Some("x")));
    assert!(changed);
    let referrers: Vec<_> = world.state.referrers(item).map(|(id, _)| id).collect();
    assert_eq!(referrers, [world.table("q"), f, world.table("v")]);
    assert_eq!(world.state.object(f).map(|object| object.owner), Some(PrincipalId::ROOT));
}
