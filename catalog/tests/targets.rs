//! GRANT and REVOKE on every form of target, what SHOW lists of it, and what keeps roles and their objects: DROP ROLE,
//! DROP OWNED. Each test names one fact; the texts are whole.

mod common;

use common::*;
use grantd_catalog::command::{
    Actor, Command, DropBehavior, FunctionName, Outcome, RoleSpec, TablePattern, Targets, TypeName,
};
use grantd_catalog::decide::{Explanation, Reason, explain, holds};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::list;
use grantd_catalog::name::Name;
use grantd_catalog::object::{
    Argument, ColumnType, ConnectionUri, Function, Sequence, View, ViewColumn, Volatility,
};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::record::RecordKey;

/// Users amy, ben and cat, roles crew and leads; in public table item, sequence q, type mood, function f; in ops table
/// bill. All of root's.
fn world() -> World {
    let mut world = World::new();
    for user in ["amy", "ben", "cat"] {
        world.ok("root", create_user(user, ""));
    }
    for name in ["crew", "leads"] {
        world.ok("root", create_role(name, ""));
    }
    for command in [
        create_table("item"),
        create_sequence("q"),
        create_type("mood"),
        create_function("f"),
        create_schema("ops"),
        create_table("ops.bill"),
    ] {
        world.ok("root", command);
    }
    world
}

fn create_sequence(name: &str) -> Command {
    let sequence = Sequence { start: 1, increment: 1, min: 1, max: 9, owned_by: None };
    Command::CreateSequence { name: object_name(name), sequence, owned_by: None, if_not_exists: false }
}

fn create_type(name: &str) -> Command {
    let labels = vec!["sad".to_owned(), "ok".to_owned()];
    Command::CreateType { name: object_name(name), labels, if_not_exists: false }
}

fn create_function(name: &str) -> Command {
    let argument = Argument { name: Some(Name::from("a")), argument_type: ColumnType::Int8 };
    let function = Function {
        arguments: vec![argument],
        returns: ColumnType::Bool,
        body: "SELECT true".to_owned(),
        volatility: Volatility::Immutable,
        is_strict: false,
        references: vec![],
    };
    Command::CreateFunction { name: object_name(name), function, or_replace: false }
}

fn create_view(name: &str, references: Vec<ObjectId>) -> Command {
    let column = ViewColumn { name: Name::from("k"), column_type: ColumnType::Int8 };
    let view = View { columns: vec![column], query: "SELECT 1".to_owned(), references };
    Command::CreateView { name: object_name(name), view, if_not_exists: false, or_replace: false }
}

fn create_connection(name: &str) -> Command {
    let uri = ConnectionUri::new("nodelocal://1".to_owned());
    Command::CreateExternalConnection {
        name: Name::from(name),
        uri,
        access: Vec::new(),
        if_not_exists: false,
    }
}

fn all_of(qualifiers: &str) -> Targets {
    let qualifiers = qualifiers.split('.').filter(|part| !part.is_empty()).map(Name::from);
    Targets::Tables(vec![TablePattern::All(qualifiers.collect())])
}

fn sequences(names: &str) -> Targets {
    Targets::Sequences(patterns(names))
}

fn types(name: &str) -> Targets {
    Targets::Types(vec![object_name(name)])
}

fn function(name: &str, arguments: Option<&[ColumnType]>) -> Targets {
    let arguments = arguments.map(|types| types.iter().copied().map(TypeName::Known).collect());
    Targets::Functions(vec![FunctionName { name: object_name(name), arguments }])
}

fn connection(name: &str) -> Targets {
    Targets::ExternalConnections(vec![Name::from(name)])
}

fn schema(name: &str) -> Targets {
    Targets::Schemas(vec![schema_name(name)])
}

fn tables_table() -> Targets {
    tables("crdb_internal.tables")
}

fn may(world: &World, user: &str, privilege: &str, id: ObjectId) -> bool {
    let privilege = Privilege::from_word(privilege).expect("a privilege");
    holds(&world.view, world.principal(user), id, privilege)
}

/// `database.schema.relation grantee PRIVILEGE is_grantable`.
fn rows_as(world: &World, user: &str, on: Option<&Targets>, of: &[RoleSpec]) -> Vec<String> {
    let actor = Actor::of(world.principal(user));
    let rows = list::grants(&world.view, actor, &world.context, on, of).expect("a listing");
    rows.iter()
        .map(|row| {
            let parts = [Some(row.database.clone()), row.schema.clone(), row.relation.clone()];
            let parts: Vec<_> = parts.into_iter().flatten().filter(|part| !part.is_empty()).collect();
            format!("{} {} {} {}", parts.join("."), row.grantee, row.privilege, row.is_grantable)
        })
        .collect()
}

fn rows(world: &World, on: &Targets) -> Vec<String> {
    rows_as(world, "root", Some(on), &[])
}

fn refused_show(world: &World, on: &Targets) -> String {
    let refusal = list::grants(&world.view, Actor::of(PrincipalId::ROOT), &world.context, Some(on), &[])
        .expect_err("a refusal");
    format!("{} {}", refusal.code.as_str(), refusal.message)
}

// Targets.

#[test]
fn on_table_takes_sequences_too_and_what_may_be_listed_follows() {
    let mut world = world();
    let q = world.table("q");
    assert_eq!(
        world.refused("root", grant("USAGE", tables("item q"), "amy")),
        "0LP01 invalid privilege type USAGE for table"
    );
    world.ok("root", grant("USAGE", tables("q"), "amy"));
    assert!(may(&world, "amy", "USAGE", q));
    assert_eq!(
        world.refused("root", grant("BACKUP", tables("q"), "amy")),
        "0LP01 invalid privilege type BACKUP for sequence"
    );
    let done = world.ok("root", grant("BACKUP SELECT", tables("item q"), "ben"));
    assert_eq!(done.notices[0].message, "some privileges have no effect on sequences: [BACKUP]");
    assert_eq!(
        rows_as(&world, "root", Some(&tables("q")), &role_list("ben")),
        ["defaultdb.public.q ben SELECT false"]
    );
    assert_eq!(
        world.refused("root", grant("USAGE", tables("nope"), "ghost")),
        "42P01 relation \"nope\" does not exist",
        "what it is on decides what may be listed"
    );
}

#[test]
fn patterns_mean_relations_and_nothing_else() {
    let mut world = world();
    world.ok("root", create_view("v", vec![]));
    world.ok("root", grant("SELECT", all_of(""), "amy"));
    for name in ["item", "q", "v"] {
        assert!(may(&world, "amy", "SELECT", world.table(name)), "{name}");
    }
    assert!(!may(&world, "amy", "SELECT", world.table("ops.bill")));
    world.ok("root", create_schema("bare"));
    let nothing = "42704 no objects matched";
    assert_eq!(world.refused("root", grant("SELECT", all_of("bare"), "amy")), nothing);
    assert_eq!(
        world.refused(
            "root",
            grant("SELECT", Targets::Sequences(vec![TablePattern::All(vec![Name::from("ops")])]), "amy")
        ),
        nothing
    );
    for on in [
        Targets::AllTablesInSchemas(vec![schema_name("bare")]),
        Targets::AllSequencesInSchemas(vec![schema_name("ops")]),
        Targets::AllFunctionsInSchemas(vec![schema_name("ops")]),
    ] {
        assert!(!world.ok("root", grant("ALL", on, "amy")).changed, "nothing is there now");
    }
}

#[test]
fn all_sequences_and_all_functions_are_those_that_there_are() {
    let mut world = world();
    let public = || vec![schema_name("public")];
    world.ok("root", grant("USAGE", Targets::AllSequencesInSchemas(public()), "amy"));
    world.ok("root", grant("EXECUTE", Targets::AllFunctionsInSchemas(public()), "amy"));
    assert_eq!(
        rows_as(&world, "root", None, &role_list("amy")),
        ["defaultdb.public.f(int8) amy EXECUTE false", "defaultdb.public.q amy USAGE false"]
    );
    assert_eq!(
        world.refused("root", grant("USAGE", sequences("item"), "amy")),
        "42809 \"item\" is not a sequence"
    );
}

#[test]
fn a_function_is_named_with_or_without_its_arguments() {
    let mut world = world();
    world.ok("root", grant("EXECUTE", function("f", Some(&[ColumnType::Int8])), "amy"));
    let f = world.state.resolve_overloads(&world.context, &object_name("f"))[0];
    assert!(may(&world, "amy", "EXECUTE", f));
    assert!(!may(&world, "ben", "EXECUTE", f), "public has none");
    assert_eq!(
        world.refused("root", grant("EXECUTE", function("f", Some(&[])), "amy")),
        "42883 unknown function: f()"
    );
    assert_eq!(
        world.refused("root", grant("USAGE", function("f", None), "amy")),
        "0LP01 invalid privilege type USAGE for function"
    );
    assert_eq!(
        world.refused("amy", grant("EXECUTE", function("f", None), "ben")),
        "01007 user amy missing WITH GRANT OPTION privilege on EXECUTE"
    );
}

#[test]
fn everybody_uses_a_type_and_only_its_owner_lets_it_be_used() {
    let mut world = world();
    assert_eq!(
        world.refused("cat", grant("USAGE", types("mood"), "ben")),
        "01007 user cat missing WITH GRANT OPTION privilege on USAGE"
    );
    assert_eq!(
        world.refused("root", grant("USAGE", types("nope"), "ben")),
        "42704 type \"nope\" does not exist"
    );
    assert_eq!(
        world.refused("root", grant("USAGE", types("item"), "ben")),
        "42704 type \"item\" does not exist"
    );
    assert_eq!(
        rows(&world, &types("mood")),
        [
            "defaultdb.public.mood admin ALL true",
            "defaultdb.public.mood public USAGE false",
            "defaultdb.public.mood root ALL true"
        ]
    );
}

#[test]
fn a_named_target_needs_usage_of_its_schema() {
    let mut world = world();
    world.ok("root", create_type("ops.kind"));
    world.ok("root", create_function("ops.g"));
    let refused = "42501 user cat does not have USAGE privilege on schema ops";
    assert_eq!(world.refused("cat", grant("SELECT", tables("ops.bill"), "ben")), refused);
    assert_eq!(world.refused("cat", grant("USAGE", types("ops.kind"), "ben")), refused);
    assert_eq!(world.refused("cat", grant("EXECUTE", function("ops.g", None), "ben")), refused);
}

#[test]
fn tables_of_the_system_database_and_virtual_schemas_keep_their_grants() {
    let mut world = world();
    let refused = "42501 cannot GRANT on system object";
    assert_eq!(world.refused("root", grant("SELECT", tables("system.users"), "amy")), refused);
    assert_eq!(world.refused("root", grant("USAGE", schema("pg_catalog"), "amy")), refused);
    assert_eq!(
        world.refused("root", revoke("SELECT", tables("system.public.users"), "root")),
        "42501 cannot REVOKE on system object"
    );
    let all = Targets::AllTablesInSchemas(vec![schema_name("pg_catalog")]);
    assert_eq!(world.refused("root", grant("SELECT", all, "amy")), refused);
}

// Virtual tables.

#[test]
fn select_of_a_virtual_table_is_taken_from_everybody_and_given_back() {
    let mut world = world();
    let id = world.table("crdb_internal.tables");
    assert!(may(&world, "amy", "SELECT", id));
    assert!(!world.disk.contains_key(&RecordKey::Object(id)), "as built in");
    world.ok("root", revoke("SELECT", tables_table(), "public"));
    assert!(!may(&world, "amy", "SELECT", id));
    assert!(may(&world, "root", "SELECT", id), "by rank");
    assert!(!may(&world, "root", "DROP", id), "not legal there");
    world.ok("root", grant_role("admin", "crew"));
    world.ok("root", grant_role("crew", "cat"));
    assert!(may(&world, "cat", "SELECT", id));
    let path = ["cat", "crew", "admin"].map(|name| world.principal(name)).to_vec();
    let why = explain(&world.view, world.principal("cat"), id, Privilege::Select);
    assert_eq!(why, Explanation::Allow(vec![Reason::Superuser { path }]));
    assert!(world.disk.contains_key(&RecordKey::Object(id)));
    assert_eq!(rows(&world, &tables_table()), [""; 0]);
    world.ok("root", grant("SELECT", tables_table(), "public"));
    assert!(!world.disk.contains_key(&RecordKey::Object(id)), "no record again");
}

#[test]
fn on_virtual_tables_the_grant_option_is_enough_and_they_are_not_mixed_with_others() {
    let mut world = world();
    let missing = "01007 user amy missing WITH GRANT OPTION privilege on SELECT";
    assert_eq!(world.refused("amy", grant("SELECT", tables_table(), "ben")), missing);
    world.ok("root", grant_with_option("SELECT", tables_table(), "amy"));
    world.ok("amy", grant("SELECT", tables_table(), "ben"));
    assert_eq!(
        rows(&world, &tables_table()),
        [
            "defaultdb.crdb_internal.tables amy SELECT true",
            "defaultdb.crdb_internal.tables ben SELECT false",
            "defaultdb.crdb_internal.tables public SELECT false"
        ]
    );
    assert_eq!(
        world.refused("root", grant("SELECT", tables("crdb_internal.tables item"), "ben")),
        "0A000 cannot mix grants between virtual and non-virtual tables"
    );
    assert_eq!(
        world.refused("root", grant("INSERT", tables_table(), "ben")),
        "0LP01 invalid privilege type INSERT for virtual_table"
    );
    let notice = "virtual table privileges are not database specific";
    let qualified = tables("defaultdb.crdb_internal.tables");
    assert_eq!(world.ok("root", grant("SELECT", qualified, "ben")).notices[0].message, notice);
    assert_eq!(world.ok("root", grant("SELECT", tables_table(), "ben")).notices, []);
    world.ok("root", grant("SELECT", all_of("pg_catalog"), "ben"));
    assert!(may(&world, "ben", "SELECT", world.table("pg_catalog.pg_class")));
}

// External connections.

#[test]
fn external_connections_list_what_is_stored() {
    let mut world = world();
    world.ok("root", create_connection("vault"));
    let on = || connection("vault");
    world.ok("root", grant("DROP USAGE", on(), "amy"));
    world.ok("root", grant_with_option("DROP USAGE", on(), "ben"));
    assert_eq!(
        rows(&world, &on()),
        [
            "vault amy DROP false",
            "vault amy USAGE false",
            "vault ben DROP true",
            "vault ben USAGE true",
            "vault root ALL false"
        ]
    );
    assert_eq!(
        world.refused("root", grant("SELECT", on(), "amy")),
        "0LP01 invalid privilege type SELECT for external_connection"
    );
    let missing =
        "42704 failed to resolve External Connection: external connection with name nope does not exist";
    assert_eq!(world.refused("root", grant("USAGE", connection("nope"), "amy")), missing);
    assert_eq!(refused_show(&world, &connection("nope")), missing);
    assert_eq!(
        world.refused("amy", grant("USAGE", on(), "cat")),
        "01007 user amy missing WITH GRANT OPTION privilege on USAGE"
    );
    world.ok("ben", grant("USAGE", on(), "cat"));
    world.ok("root", revoke("ALL", on(), "root"));
    let id = world.state.resolve_external_connection(&Name::from("vault")).expect("it is there");
    assert!(may(&world, "root", "USAGE", id), "by rank");
    let names = |user: &str| -> Vec<_> {
        let actor = Actor::of(world.principal(user));
        let rows = list::external_connections(&world.view, actor);
        rows.into_iter().map(|row| row.connection_name.to_string()).collect()
    };
    assert_eq!((names("root"), names("amy")), (vec!["vault".to_owned()], vec![]));
}

// Listings.

#[test]
fn types_that_every_cluster_has_list_what_the_original_lists() {
    let world = world();
    let expected = [
        "defaultdb.pg_catalog.int4 admin ALL false",
        "defaultdb.pg_catalog.int4 public USAGE false",
        "defaultdb.pg_catalog.int4 root ALL false",
    ];
    assert_eq!(rows(&world, &types("int4")), expected);
    assert_eq!(rows(&world, &types("pg_catalog.int4")), expected);
    assert_eq!(rows_as(&world, "amy", Some(&types("int4")), &role_list("amy")), [""; 0]);
    assert_eq!(refused_show(&world, &types("nope")), "42704 type \"nope\" does not exist");
}

#[test]
fn without_a_target_everything_in_the_database_is_listed_what_is_computed_too() {
    let mut world = world();
    let all = rows_as(&world, "root", None, &[]);
    let has = |line: &str| all.iter().any(|row| row == line);
    assert!(has("defaultdb public CONNECT false"));
    assert!(has("defaultdb.pg_catalog public USAGE false"));
    assert!(has("defaultdb.pg_catalog.pg_class public SELECT false"));
    assert!(has("defaultdb.public.f(int8) root ALL true"));
    assert!(has("defaultdb.public.mood public USAGE false"));
    assert!(has("defaultdb.ops.bill admin ALL true"));
    let first: Vec<_> = all.iter().take(3).map(String::as_str).collect();
    assert_eq!(
        first,
        ["defaultdb admin ALL true", "defaultdb public CONNECT false", "defaultdb root ALL true"]
    );
    world.context.database = None;
    let everywhere = rows_as(&world, "root", None, &[]);
    assert!(everywhere.iter().any(|row| row == "system.pg_catalog public USAGE false"));
    assert!(everywhere.iter().any(|row| row == "system.public.users root SELECT true"));
    assert_eq!(rows(&world, &schema("defaultdb.pg_catalog")), ["defaultdb.pg_catalog public USAGE false"]);
}

#[test]
fn objects_are_listed_by_those_who_may_connect() {
    let mut world = world();
    world.ok("root", create_view("v", vec![]));
    let amy = Actor::of(world.principal("amy"));
    let owner = |owner: &Option<_>| owner.as_ref().map_or("-".to_owned(), ToString::to_string);
    let schemas = |world: &World| -> Vec<_> {
        let rows = list::schemas(&world.view, amy, &world.context, None).expect("schemas");
        rows.iter().map(|row| format!("{} {}", row.schema_name, owner(&row.owner))).collect()
    };
    assert_eq!(
        schemas(&world),
        [
            "crdb_internal -",
            "information_schema -",
            "ops root",
            "pg_catalog -",
            "pg_extension -",
            "public admin"
        ]
    );
    let tables = |world: &World, from: &[&str]| -> Vec<_> {
        let from: Vec<_> = from.iter().map(|name| Name::from(*name)).collect();
        let rows = list::tables(&world.view, amy, &world.context, &from).expect("tables");
        rows.iter().map(|row| format!("{} {} {}", row.schema_name, row.table_name, row.table_type)).collect()
    };
    let own = ["ops bill table", "public item table", "public q sequence", "public v view"];
    assert_eq!(tables(&world, &[]), own);
    assert_eq!(tables(&world, &["defaultdb", "ops"]), ["ops bill table"]);
    assert!(tables(&world, &["pg_catalog"]).contains(&"pg_catalog pg_class table".to_owned()));
    let types = |world: &World| list::types(&world.view, amy, &world.context, &[]).expect("types");
    assert_eq!(types(&world)[0].values, ["sad", "ok"]);
    let functions =
        |world: &World| list::functions(&world.view, amy, &world.context, &[]).expect("functions");
    let listed = functions(&world).remove(0);
    assert_eq!(
        (listed.argument_data_types.as_str(), listed.result_data_type.as_str(), listed.volatility),
        ("a int8", "bool", "immutable")
    );
    world.ok("root", revoke("CONNECT", Targets::Databases(vec![Name::from("defaultdb")]), "public"));
    assert_eq!(schemas(&world), [""; 0]);
    assert_eq!(tables(&world, &["pg_catalog"]), [""; 0]);
    assert_eq!((types(&world), functions(&world)), (vec![], vec![]));
    assert_eq!(rows_as(&world, "amy", None, &[]), [""; 0]);
    let sequences = list::sequences(&world.view, &world.context, None).expect("sequences");
    assert_eq!(sequences[0].sequence_name.as_str(), "q", "nothing is asked for sequences");
}

// DROP ROLE and DROP OWNED.

#[test]
fn a_role_stays_while_anything_of_any_kind_was_granted_to_it() {
    let mut world = world();
    world.ok("root", create_connection("vault"));
    world.ok("root", grant("USAGE", connection("vault"), "crew leads"));
    world.ok("root", grant("SELECT", tables_table(), "crew"));
    world.ok("root", grant("EXECUTE", function("f", None), "crew"));
    world.ok("root", grant("USAGE", types("mood"), "crew leads"));
    world.ok("root", grant("USAGE", schema("ops"), "crew"));
    world.ok("root", grant("SELECT", tables("q"), "crew"));
    assert_eq!(
        world.refused("root", drop_role("leads crew")),
        "2BP01 cannot drop roles/users leads, crew: grants still exist on defaultdb.public.q, defaultdb.ops, \
         defaultdb.public.mood, defaultdb.public.f, external_connection vault, virtual_table \
         \"crdb_internal.tables\", external_connection vault"
    );
}

#[test]
fn a_role_stays_while_it_owns_anything_of_any_kind() {
    let mut world = world();
    world.ok("root", grant("EXTERNALCONNECTION", Targets::System, "amy"));
    world.ok("root", grant("CREATE USAGE", schema("ops"), "amy"));
    for command in [
        create_sequence("ops.r"),
        create_view("ops.v", vec![]),
        create_type("ops.kind"),
        create_function("ops.g"),
        create_connection("vault"),
    ] {
        world.ok("amy", command);
    }
    world.ok("root", revoke("EXTERNALCONNECTION", Targets::System, "amy"));
    world.ok("root", revoke("CREATE USAGE", schema("ops"), "amy"));
    world.ok("root", revoke("ALL", connection("vault"), "amy"));
    assert_eq!(
        world.refused("root", drop_role("amy")),
        "2BP01 role amy cannot be dropped because some objects depend on it\n\
         owner of external_connection vault\n\
         owner of function defaultdb.ops.g\n\
         owner of table defaultdb.ops.r\n\
         owner of table defaultdb.ops.v\n\
         owner of type defaultdb.ops.kind"
    );
}

fn drop_owned(by: &str) -> Command {
    Command::DropOwned { by: role_list(by), behavior: DropBehavior::Default }
}

#[test]
fn what_a_role_owns_is_dropped_and_what_it_was_granted_is_taken() {
    let mut world = world();
    for command in [
        create_table("t"),
        create_sequence("r"),
        create_type("kind"),
        create_function("g"),
        create_view("v", vec![]),
    ] {
        world.ok("amy", command);
    }
    let database = || Targets::Databases(vec![Name::from("defaultdb")]);
    world.ok("root", grant("SELECT", tables("item"), "amy"));
    world.ok("root", grant("EXECUTE", function("f", None), "amy"));
    world.ok("root", grant("CREATE", database(), "amy ben"));
    world.ok("amy", create_schema("own"));
    let (t, r) = (world.table("t"), world.table("r"));
    let done = world.ok("amy", drop_owned("amy"));
    assert_eq!(done.storage.len(), 2);
    assert!(world.state.object(t).is_none() && world.state.object(r).is_none());
    assert_eq!(
        rows_as(&world, "root", None, &role_list("amy")),
        ["defaultdb amy CREATE false", "defaultdb.public.g(int8) amy ALL true"]
    );
    assert!(world.state.resolve_schema(&world.context, &schema_name("own")).is_err());
    world.ok("root", drop_owned("ben"));
    assert_eq!(rows_as(&world, "root", Some(&database()), &role_list("ben")), [""; 0], "not its own caller");
}

#[test]
fn what_others_use_or_have_in_it_stays() {
    let mut world = world();
    world.ok("amy", create_table("t"));
    let t = world.table("t");
    world.ok("amy", grant("SELECT", tables("t"), "ben"));
    world.ok("ben", create_view("v", vec![t]));
    let in_the_way = "2BP01 cannot drop desired object(s) because other objects depend on them";
    assert_eq!(world.refused("amy", drop_owned("amy")), in_the_way);
    world.ok("root", drop_owned("amy ben"));
    assert!(world.state.object(t).is_none());
    let database = Targets::Databases(vec![Name::from("defaultdb")]);
    world.ok("root", grant("CREATE", database, "amy"));
    world.ok("amy", create_schema("own"));
    world.ok("root", create_table("own.t"));
    assert_eq!(world.refused("amy", drop_owned("amy")), in_the_way);
}

#[test]
fn dropping_what_is_owned_is_checked_in_the_order_of_the_original() {
    let mut world = world();
    let required = |role| {
        format!(
            "2BP01 cannot drop objects owned by role \"{role}\" because they are required by the database system"
        )
    };
    assert_eq!(world.refused("amy", drop_owned("root")), required("root"));
    assert_eq!(world.refused("amy", drop_owned("admin")), required("admin"));
    assert_eq!(world.refused("root", drop_owned("node")), required("node"));
    assert_eq!(world.refused("amy", drop_owned("ben")), "42501 permission denied to drop objects");
    assert_eq!(world.refused("root", drop_owned("ghost")), "42704 role/user \"ghost\" does not exist");
    world.ok("root", grant("VIEWDEBUG", Targets::System, "amy"));
    let Outcome::Refused(refusal) = world.run("root", &drop_owned("amy")) else { panic!("not refused") };
    assert_eq!(
        (refusal.code.as_str(), refusal.message.as_str()),
        (
            "0A000",
            "cannot perform drop owned by if role has synthetic privileges; amy has entries in system.privileges"
        )
    );
    let hint = "perform REVOKE SYSTEM ... for the relevant privileges amy has in system.privileges";
    assert_eq!(refusal.hint.as_deref(), Some(hint));
    let cascade = Command::DropOwned { by: role_list("ben"), behavior: DropBehavior::Cascade };
    world.ok("root", cascade.clone());
    world.ok("ben", create_view("v", vec![]));
    assert_eq!(
        world.refused("root", cascade),
        "0A000 unimplemented: DROP OWNED BY CASCADE is not yet supported"
    );
}

#[test]
fn schema_public_stays_whoever_owns_it() {
    let mut world = world();
    let public = Command::AlterOwner {
        object: grantd_catalog::command::OwnedName::Schema(schema_name("public")),
        if_exists: false,
        owner: role("amy"),
    };
    world.ok("root", public);
    world.ok("amy", drop_owned("amy"));
    world.state.resolve_schema(&world.context, &schema_name("public")).expect("public stays");
}

// Size.

#[test]
fn one_grant_reaches_every_table_once() {
    let mut world = world();
    for n in 0..200 {
        world.ok("root", create_table(&format!("ops.t{n}")));
    }
    let all = || Targets::AllTablesInSchemas(vec![schema_name("ops")]);
    world.ok("root", grant("SELECT", all(), "amy ben amy"));
    assert_eq!(rows_as(&world, "root", Some(&all()), &role_list("amy ben")).len(), 2 * 201);
    assert!(!world.ok("root", grant("SELECT", all(), "amy ben")).changed);
}
