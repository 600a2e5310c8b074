//! Default privileges: who may change them, what new objects get, what is listed. Source: authorization spec, G.

mod common;

use common::*;
use grantd_catalog::command::{Actor, Command, Creators, DefaultAct, Outcome, RoleSpec, Targets};
use grantd_catalog::defaults::DefaultClass;
use grantd_catalog::id::PrincipalId;
use grantd_catalog::list::{self, DefaultsShown};
use grantd_catalog::name::Name;

fn world() -> World {
    let mut world = World::new();
    for user in ["amy", "ben", "cat"] {
        world.ok("root", create_user(user, ""));
    }
    for name in ["crew", "leads"] {
        world.ok("root", create_role(name, ""));
    }
    world.ok("root", create_schema("ops"));
    world
}

/// `amy`: FOR ROLE amy; `*`: FOR ALL ROLES; nothing: no FOR. Schemas are separated by blanks.
fn alter(of: &str, schemas: &str, act: DefaultAct, words: &str, on: DefaultClass, grantees: &str) -> Command {
    Command::AlterDefaultPrivileges {
        creators: match of {
            "" => Creators::Roles(vec![RoleSpec::CurrentUser]),
            "*" => Creators::All,
            names => Creators::Roles(role_list(names)),
        },
        schemas: schemas.split_whitespace().map(schema_name).collect(),
        act,
        privileges: privileges(words),
        on,
        grantees: role_list(grantees),
    }
}

const GRANT: DefaultAct = DefaultAct::Grant { grant_option: false };
const GRANT_WITH_OPTION: DefaultAct = DefaultAct::Grant { grant_option: true };
const REVOKE: DefaultAct = DefaultAct::Revoke { grant_option_only: false };
const REVOKE_OPTION: DefaultAct = DefaultAct::Revoke { grant_option_only: true };

use DefaultClass::{Functions, Schemas, Sequences, Tables, Types};

fn grants(world: &World, on: &Targets) -> Vec<String> {
    let actor = Actor::of(PrincipalId::ROOT);
    let rows = list::grants(&world.view, actor, &world.context, Some(on), &[]).expect("a listing");
    rows.iter()
        .filter(|row| !["admin", "root"].contains(&row.grantee.as_str()))
        .map(|row| format!("{} {} {}", row.grantee, row.privilege, row.is_grantable))
        .collect()
}

#[test]
fn defaults_of_database_and_schema_are_united() {
    let mut world = world();
    world.ok("amy", alter("amy", "public", GRANT, "SELECT", Tables, "ben"));
    world.ok("amy", alter("amy", "", GRANT, "INSERT", Tables, "ben"));
    world.ok("amy", create_table("n"));
    assert_eq!(grants(&world, &tables("n")), ["amy ALL true", "ben INSERT false", "ben SELECT false"]);
    world.ok("amy", alter("amy", "", REVOKE, "SELECT", Tables, "ben"));
    world.ok("amy", create_table("n2"));
    assert_eq!(grants(&world, &tables("n2")), ["amy ALL true", "ben INSERT false", "ben SELECT false"]);
}

#[test]
fn only_exactly_the_creator_counts() {
    let mut world = world();
    world.ok("root", grant_role("crew", "amy"));
    world.ok("amy", alter("crew", "", GRANT, "SELECT", Tables, "ben"));
    world.ok("amy", create_table("n"));
    assert_eq!(grants(&world, &tables("n")), ["amy ALL true"]);
}

#[test]
fn for_all_roles_counts_for_everybody() {
    let mut world = world();
    world.ok("root", alter("*", "ops", GRANT, "SELECT", Tables, "ben"));
    world.ok("root", create_table("ops.x"));
    assert_eq!(grants(&world, &tables("ops.x")), ["ben SELECT false"]);
    world.ok("root", create_table("y"));
    assert_eq!(grants(&world, &tables("y")), [""; 0]);
}

#[test]
fn owners_keep_everything_and_superusers_keep_exactly_all() {
    let mut world = world();
    world.ok("amy", alter("amy", "", REVOKE, "ALL", Tables, "amy"));
    world.ok("amy", create_table("n"));
    assert_eq!(grants(&world, &tables("n")), ["amy ALL true"]);
    world.ok("root", alter("", "", REVOKE, "SELECT", Tables, "root"));
    world.ok("root", alter("", "", GRANT, "SELECT", Tables, "admin public"));
    world.ok("root", create_table("m"));
    assert_eq!(grants(&world, &tables("m")), ["public SELECT false"]);
}

#[test]
fn all_with_some_grant_options_is_given_as_it_is() {
    let mut world = world();
    world.ok("root", alter("", "", GRANT_WITH_OPTION, "ALL", Tables, "ben"));
    world.ok("root", alter("", "", REVOKE_OPTION, "UPDATE", Tables, "ben"));
    world.ok("root", create_table("n"));
    assert_eq!(grants(&world, &tables("n")), ["ben ALL false"]);
    world.ok("ben", grant("SELECT", tables("n"), "amy"));
    assert_eq!(
        world.refused("ben", grant("UPDATE", tables("n"), "amy")),
        "01007 user ben missing WITH GRANT OPTION privilege on UPDATE"
    );
}

#[test]
fn new_schemas_get_the_defaults_of_their_database() {
    let mut world = world();
    world.ok("root", alter("", "", GRANT_WITH_OPTION, "USAGE", Schemas, "ben"));
    world.ok("root", create_schema("s2"));
    let on = Targets::Schemas(vec![schema_name("s2")]);
    assert_eq!(grants(&world, &on), ["ben USAGE true"]);
}

/// A view, a sequence, a type and a function of nothing but themselves.
fn one_of_each_other_kind() -> [(Command, Targets); 4] {
    use grantd_catalog::command::{FunctionName, TablePattern};
    use grantd_catalog::object::{ColumnType, Function, Sequence, View, ViewColumn, Volatility};
    let column = ViewColumn { name: Name::from("one"), column_type: ColumnType::Int8 };
    let view = View { columns: vec![column], query: "SELECT 1".to_owned(), references: Vec::new() };
    let sequence = Sequence { start: 1, increment: 1, min: 1, max: i64::MAX, owned_by: None };
    let function = Function {
        arguments: Vec::new(),
        returns: ColumnType::Int8,
        body: "SELECT 1".to_owned(),
        volatility: Volatility::Immutable,
        is_strict: false,
        references: Vec::new(),
    };
    let called = FunctionName { name: object_name("f"), arguments: Some(Vec::new()) };
    let if_not_exists = false;
    let labels = vec!["calm".to_owned()];
    [
        (Command::CreateView { name: object_name("v"), view, if_not_exists, or_replace: false }, tables("v")),
        (
            Command::CreateSequence { name: object_name("sq"), sequence, owned_by: None, if_not_exists },
            Targets::Sequences(vec![TablePattern::Table(object_name("sq"))]),
        ),
        (
            Command::CreateType { name: object_name("mood"), labels, if_not_exists },
            Targets::Types(vec![object_name("mood")]),
        ),
        (
            Command::CreateFunction { name: object_name("f"), function, or_replace: false },
            Targets::Functions(vec![called]),
        ),
    ]
}

#[test]
fn views_are_tables_and_the_other_kinds_are_classes_of_their_own() {
    let mut world = world();
    world.ok("root", alter("", "", GRANT, "SELECT", Tables, "ben"));
    let [(view, on_view), (sequence, on_sequence), (enum_type, on_type), (function, on_function)] =
        one_of_each_other_kind();
    for command in [&view, &sequence, &enum_type, &function] {
        world.ok("root", command.clone());
    }
    assert_eq!(grants(&world, &on_view), ["ben SELECT false"]);
    assert_eq!(grants(&world, &on_sequence), [""; 0]);
    assert_eq!(grants(&world, &on_type), ["public USAGE false"]);
    assert_eq!(grants(&world, &on_function), [""; 0]);
}

#[test]
fn each_class_has_its_own_defaults() {
    let mut world = world();
    world.ok("root", alter("", "", GRANT, "USAGE", Sequences, "ben"));
    world.ok("root", alter("", "", REVOKE, "USAGE", Types, "public"));
    world.ok("root", alter("", "", GRANT, "USAGE", Types, "ben"));
    world.ok("root", alter("", "public", GRANT_WITH_OPTION, "EXECUTE", Functions, "ben"));
    let [_, (sequence, on_sequence), (enum_type, on_type), (function, on_function)] =
        one_of_each_other_kind();
    for command in [&sequence, &enum_type, &function] {
        world.ok("root", command.clone());
    }
    assert_eq!(grants(&world, &on_sequence), ["ben USAGE false"]);
    assert_eq!(grants(&world, &on_type), ["ben USAGE false"]);
    assert_eq!(grants(&world, &on_function), ["ben EXECUTE true"]);
}

#[test]
fn who_may_change_defaults() {
    let mut world = world();
    let mut refused = |user: &str, command| world.refused(user, command);
    let of = |of: &str| alter(of, "", GRANT, "SELECT", Tables, "amy");
    assert_eq!(refused("ben", of("root")), "42501 must be a member of root");
    assert_eq!(refused("root", of("amy")), "42501 must be a member of amy");
    assert_eq!(
        refused("amy", of("*")),
        "42501 only users with the admin role are allowed to ALTER DEFAULT PRIVILEGES"
    );
    assert_eq!(refused("root", of("public")), "42704 role/user \"public\" does not exist");
    assert_eq!(refused("amy", of("ghost")), "42704 role/user \"ghost\" does not exist");
    world.ok("root", grant_role("amy", "root"));
    world.ok("root", alter("amy", "", GRANT, "SELECT", Tables, "ben"));
}

#[test]
fn what_is_checked_of_a_statement() {
    let mut world = world();
    let mut refused = |command| world.refused("root", command);
    assert_eq!(
        refused(alter("", "ops", GRANT, "USAGE", Schemas, "amy")),
        "0LP01 cannot use IN SCHEMA clause when using GRANT/REVOKE ON SCHEMAS"
    );
    assert_eq!(
        refused(alter("", "crdb_internal", GRANT, "SELECT", Tables, "amy")),
        "3F000 crdb_internal is not a physical schema"
    );
    assert_eq!(refused(alter("", "nope", GRANT, "SELECT", Tables, "amy")), "3F000 unknown schema \"nope\"");
    assert_eq!(
        refused(alter("", "", GRANT, "USAGE", Tables, "amy")),
        "0LP01 invalid privilege type USAGE for table"
    );
    assert_eq!(
        refused(alter("", "", GRANT, "SELECT", Functions, "amy")),
        "0LP01 invalid privilege type SELECT for function"
    );
    assert_eq!(
        refused(alter("", "", GRANT_WITH_OPTION, "SELECT", Tables, "public")),
        "0LP01 grant options cannot be granted to \"public\" role"
    );
    assert_eq!(
        refused(alter("", "", REVOKE, "SELECT", Tables, "ghost")),
        "42704 role/user \"ghost\" does not exist"
    );
    assert_eq!(
        refused(alter("", "system.public", GRANT, "SELECT", Tables, "amy")),
        "42501 cannot alter default privileges of the system database"
    );
    world.context.database = Some(Name::from("system"));
    assert_eq!(
        world.refused("root", alter("", "", GRANT, "SELECT", Tables, "amy")),
        "42501 cannot alter default privileges of the system database"
    );
    world.context.database = Some(Name::from("defaultdb"));
    let mut refused = |command| world.refused("root", command);
    let many = vec!["amy"; 400].join(" ");
    let schemas = vec!["ops"; 400].join(" ");
    assert_eq!(
        refused(alter("", &schemas, GRANT, "SELECT", Tables, &many)),
        "54000 the statement changes 160000 default privileges; at most 100000 are allowed"
    );
    world.ok("root", alter("", "", GRANT, "USAGE", Sequences, "amy"));
    world.context.database = None;
    assert_eq!(
        world.refused("root", alter("", "ops", GRANT, "USAGE", Schemas, "amy")),
        "42602 no database specified"
    );
}

#[test]
fn putting_defaults_back_leaves_no_record() {
    let mut world = world();
    let mut unchanged = |acts: &[Command]| {
        let before = world.state.all_default_privileges().count();
        for act in acts {
            assert!(world.ok("root", act.clone()).changed, "{act:?}");
        }
        assert_eq!(world.state.all_default_privileges().count(), before);
    };
    let one = |act, words, on, grantees| alter("", "", act, words, on, grantees);
    unchanged(&[one(REVOKE, "ALL", Tables, "root"), one(GRANT, "ALL", Tables, "root")]);
    unchanged(&[one(REVOKE, "USAGE", Types, "public"), one(GRANT, "ALL", Types, "public")]);
    unchanged(&[one(GRANT, "SELECT", Tables, "amy"), one(REVOKE, "ALL", Tables, "amy")]);
    unchanged(&[one(REVOKE, "CREATE", Schemas, "root"), one(GRANT, "CREATE", Schemas, "root")]);
    unchanged(&[
        one(GRANT_WITH_OPTION, "ALL", Sequences, "root"),
        one(REVOKE_OPTION, "ALL", Sequences, "root"),
    ]);
    unchanged(&[
        alter("*", "", REVOKE, "USAGE", Types, "public"),
        alter("*", "", GRANT, "USAGE", Types, "public"),
    ]);
    unchanged(&[
        alter("", "ops", GRANT, "ALL", Tables, "root"),
        alter("", "ops", REVOKE, "ALL", Tables, "root"),
    ]);
}

#[test]
fn what_goes_takes_its_defaults_with_it() {
    let mut world = world();
    world.ok("root", grant_role("crew", "root"));
    world.ok("root", alter("crew", "", REVOKE, "ALL", Tables, "crew"));
    world.ok("root", alter("", "ops", GRANT, "SELECT", Tables, "amy"));
    assert_eq!(world.state.all_default_privileges().count(), 2);
    world.ok("root", drop_role("crew"));
    assert_eq!(world.state.all_default_privileges().count(), 1);
    world.ok(
        "root",
        Command::DropSchemas {
            names: vec![schema_name("ops")],
            if_exists: false,
            behavior: grantd_catalog::command::DropBehavior::Default,
        },
    );
    assert_eq!(world.state.all_default_privileges().count(), 0);
}

fn shown(world: &World, user: &str, of: DefaultsShown, schema: Option<&str>) -> Vec<String> {
    let actor = Actor::of(world.principal(user));
    let schema = schema.map(schema_name);
    let rows = list::default_privileges(&world.view, actor, &world.context, &of, schema.as_ref());
    rows.expect("a listing").iter().map(written).collect()
}

fn written(row: &list::DefaultPrivilegeRow) -> String {
    let role = row.role.as_ref().map_or("NULL".to_owned(), ToString::to_string);
    let list::DefaultPrivilegeRow {
        for_all_roles, object_type, grantee, privilege_type, is_grantable, ..
    } = row;
    format!("{role} {for_all_roles} {object_type} {grantee} {privilege_type} {is_grantable}")
}

fn of(names: &str) -> DefaultsShown {
    DefaultsShown::Of(Creators::Roles(role_list(names)))
}

fn own() -> DefaultsShown {
    DefaultsShown::Of(Creators::Roles(vec![RoleSpec::CurrentUser]))
}

fn of_all_roles() -> DefaultsShown {
    DefaultsShown::Of(Creators::All)
}

#[test]
fn what_is_built_in_is_listed() {
    let world = world();
    let built_in = [
        "amy false functions amy ALL true",
        "amy false schemas amy ALL true",
        "amy false sequences amy ALL true",
        "amy false tables amy ALL true",
        "amy false types amy ALL true",
        "amy false types public USAGE false",
    ];
    assert_eq!(shown(&world, "amy", own(), None), built_in);
    assert_eq!(shown(&world, "root", of("amy"), None), built_in);
    assert_eq!(shown(&world, "root", of_all_roles(), None), ["NULL true types public USAGE false"]);
    assert_eq!(shown(&world, "amy", own(), Some("ops")), [""; 0]);
    assert_eq!(shown(&world, "amy", own(), Some("nope")), [""; 0]);
    assert_eq!(shown(&world, "amy", own(), Some("pg_catalog")), [""; 0]);
}

#[test]
fn what_was_changed_is_listed() {
    let mut world = world();
    world.ok("root", alter("", "", REVOKE, "ALL", Tables, "root"));
    world.ok("root", alter("", "", REVOKE, "USAGE", Types, "public"));
    world.ok("root", alter("", "", GRANT, "ALL", Tables, "amy"));
    world.ok("root", alter("", "", REVOKE, "SELECT", Tables, "amy"));
    world.ok("root", alter("", "", GRANT_WITH_OPTION, "USAGE", Schemas, "ben"));
    assert_eq!(
        shown(&world, "root", own(), None),
        [
            "root false functions root ALL true",
            "root false schemas ben USAGE true",
            "root false schemas root ALL true",
            "root false sequences root ALL true",
            "root false tables amy BACKUP false",
            "root false tables amy CHANGEFEED false",
            "root false tables amy CREATE false",
            "root false tables amy DELETE false",
            "root false tables amy DROP false",
            "root false tables amy INSERT false",
            "root false tables amy UPDATE false",
            "root false tables amy ZONECONFIG false",
            "root false types root ALL true",
        ]
    );
    world.ok("root", alter("*", "", GRANT, "SELECT", Tables, "ben"));
    assert_eq!(
        shown(&world, "root", of_all_roles(), None),
        ["NULL true tables ben SELECT false", "NULL true types public USAGE false"]
    );
    world.ok("root", alter("", "ops", GRANT, "ALL", Tables, "root"));
    assert_eq!(shown(&world, "root", own(), Some("ops")), ["root false tables root ALL false"]);
}

#[test]
fn grantees_are_listed_over_all_creators() {
    let mut world = world();
    world.ok("root", alter("*", "", GRANT, "SELECT", Tables, "ben"));
    world.ok("amy", alter("", "", GRANT, "INSERT", Tables, "ben"));
    world.ok("amy", alter("", "ops", GRANT, "DELETE", Tables, "ben"));
    let for_ben = || DefaultsShown::ForGrantees(role_list("ben"));
    assert_eq!(
        shown(&world, "root", for_ben(), None),
        [
            "NULL true tables ben SELECT false",
            "amy false tables ben INSERT false",
            "ben false functions ben ALL true",
            "ben false schemas ben ALL true",
            "ben false sequences ben ALL true",
            "ben false tables ben ALL true",
            "ben false types ben ALL true",
        ]
    );
    assert_eq!(shown(&world, "root", for_ben(), Some("ops")), ["amy false tables ben DELETE false"]);
    let public = DefaultsShown::ForGrantees(role_list("public"));
    assert_eq!(shown(&world, "root", public, None)[0], "NULL true types public USAGE false");
}

#[test]
fn listing_defaults_needs_roles_that_exist_and_some_privilege_on_the_database() {
    let mut world = world();
    let refused = |world: &World, user: &str, of: DefaultsShown| {
        let actor = Actor::of(world.principal(user));
        let refusal =
            list::default_privileges(&world.view, actor, &world.context, &of, None).expect_err("no");
        format!("{} {}", refusal.code.as_str(), refusal.message)
    };
    assert_eq!(refused(&world, "amy", of("ghost")), "42704 role/user \"ghost\" does not exist");
    assert_eq!(refused(&world, "amy", of("public")), "42704 role/user \"public\" does not exist");
    let ghost = DefaultsShown::ForGrantees(role_list("ghost"));
    assert_eq!(refused(&world, "amy", ghost), "42704 role/user \"ghost\" does not exist");
    world.ok("root", revoke("CONNECT", Targets::Databases(vec![Name::from("defaultdb")]), "public"));
    assert_eq!(refused(&world, "amy", own()), "42501 user amy has no privileges on database defaultdb");
    world.context.database = None;
    assert_eq!(refused(&world, "root", own()), "42602 no database specified");
}

#[test]
fn the_backing_table_covers_all_databases_and_roles() {
    let mut world = world();
    world.ok("root", create_database("shop"));
    world.ok("root", alter("*", "ops", GRANT, "SELECT", Tables, "ben"));
    let rows = list::held_default_privileges(&world.view, None);
    // Seven roles with six rows each, and one row for all roles, in each of three databases.
    assert_eq!(rows.len(), 3 * (7 * 6 + 1) + 1);
    assert!(rows.is_sorted());
    let in_schema: Vec<_> = rows.iter().filter(|row| row.schema_name.is_some()).collect();
    assert_eq!(in_schema[0].database_name, Name::from("defaultdb"));
    assert_eq!(in_schema[0].schema_name, Some(Name::from("ops")));
    assert_eq!(written(&in_schema[0].row), "NULL true tables ben SELECT false");
    let shop = world.state.resolve_database(&Name::from("shop")).expect("it was made");
    assert_eq!(list::held_default_privileges(&world.view, Some(shop)).len(), 7 * 6 + 1);
}

#[test]
fn acl_items_are_as_postgresql_writes_them() {
    let mut world = world();
    let acls = |world: &World| -> Vec<String> {
        let rows = list::default_acls(&world.view, None);
        let name = |id| world.state.principal_name(id).to_string();
        rows.iter()
            .map(|row| {
                let creator = row.creator.map_or("0".to_owned(), name);
                let place = if row.schema.is_some() { "schema" } else { "0" };
                format!("{creator} {place} {} {{{}}}", row.object_type, row.acl.join(","))
            })
            .collect()
    };
    assert_eq!(acls(&world), [""; 0]);
    world.ok("root", alter("", "", GRANT_WITH_OPTION, "ALL", Tables, "ben"));
    world.ok("root", alter("", "", GRANT, "SELECT UPDATE INSERT", Tables, "public"));
    world.ok("root", alter("", "", GRANT, "DROP", Sequences, "amy"));
    world.ok("root", alter("", "", REVOKE, "ALL", Schemas, "root"));
    world.ok("root", alter("", "", REVOKE, "USAGE", Types, "public"));
    world.ok("root", alter("*", "ops", GRANT, "EXECUTE", Functions, "amy"));
    assert_eq!(
        acls(&world),
        [
            "root 0 n {}",
            "root 0 S {amy=/}",
            "root 0 r {ben=C*a*d*r*w*/,=arw/}",
            "root 0 T {root=U/}",
            "0 schema f {amy=X/}",
        ]
    );
    world.ok("root", alter("", "", GRANT, "USAGE", Types, "public"));
    world.ok("root", alter("", "", REVOKE, "USAGE", Types, "root"));
    assert_eq!(acls(&world)[3], "root 0 T {=U/}");
}

#[test]
fn default_privileges_keep_roles_from_being_dropped() {
    let mut world = world();
    let told = |world: &mut World, name: &str| match world.run("root", &drop_role(name)) {
        Outcome::Refused(refusal) => {
            format!("{}\nHINT {}", refusal.message, refusal.hint.unwrap_or_default())
        }
        Outcome::Done(_) => panic!("{name} was dropped"),
    };
    world.ok("amy", alter("", "", GRANT, "SELECT", Tables, "ben"));
    world.ok("root", alter("*", "ops", GRANT, "SELECT", Sequences, "cat"));
    assert_eq!(
        told(&mut world, "amy"),
        "role amy cannot be dropped because some objects depend on it\n\
         owner of default privileges on new relations belonging to role amy in database defaultdb\n\
         HINT USE defaultdb; ALTER DEFAULT PRIVILEGES FOR ROLE amy REVOKE ALL ON TABLES FROM ben;"
    );
    assert_eq!(
        told(&mut world, "ben"),
        "role ben cannot be dropped because some objects depend on it\n\
         privileges for default privileges on new relations belonging to role amy in database defaultdb\n\
         HINT USE defaultdb; ALTER DEFAULT PRIVILEGES FOR ROLE amy REVOKE ALL ON TABLES FROM ben;"
    );
    assert_eq!(
        told(&mut world, "cat"),
        "role cat cannot be dropped because some objects depend on it\n\
         privileges for default privileges on new sequences for all roles in database defaultdb in schema ops\n\
         HINT USE defaultdb; ALTER DEFAULT PRIVILEGES FOR ALL ROLES IN SCHEMA OPS REVOKE ALL ON SEQUENCES FROM cat;"
    );
    world.ok("amy", alter("", "", REVOKE, "ALL", Tables, "ben"));
    world.ok("root", drop_role("ben"));
    world.ok("root", drop_role("amy"));
}
