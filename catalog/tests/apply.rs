//! What commands do and what they are refused with: the cases that shaped `state`. The full set of behaviours is in the
//! scripts; these are small and name one fact each.

mod common;

use common::*;
use grantd_catalog::command::{
    Actor, Command, DropBehavior, Outcome, OwnedName, RoleSpec, StorageChange, TablePattern, Targets,
};
use grantd_catalog::decide::{Decision, Explanation, Missing, Reason, decide, explain, holds};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::list;
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::require::{Need, Requirement};
use grantd_catalog::role::RoleOption;

fn world() -> World {
    let mut world = World::new();
    for user in ["amy", "ben", "cat", "kid"] {
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

fn item() -> Targets {
    tables("item")
}

fn default_database() -> Targets {
    Targets::Databases(vec![Name::from("defaultdb")])
}

fn rows(world: &World, on: Option<&Targets>, of: &[RoleSpec]) -> Vec<String> {
    let actor = Actor::of(PrincipalId::ROOT);
    let rows = list::grants(&world.view, actor, &world.context, on, of).expect("a listing");
    rows.iter().map(|row| format!("{} {} {}", row.grantee, row.privilege, row.is_grantable)).collect()
}

#[test]
fn creating_roles_needs_createrole_and_logging_in_needs_createlogin() {
    let mut world = world();
    assert_eq!(
        world.refused("amy", create_role("x", "")),
        "42501 user amy does not have CREATEROLE privilege"
    );
    world.ok("root", alter_role("amy", "CREATEROLE"));
    world.ok("amy", create_role("x", ""));
    world.ok("amy", create_user("y", "NOLOGIN"));
    let no_login = "42501 user amy does not have CREATELOGIN privilege";
    assert_eq!(world.refused("amy", create_user("z", "")), no_login);
    assert_eq!(world.refused("amy", alter_role("y", "NOLOGIN")), no_login);
    world.ok("root", create_role("p", "CREATEROLE"));
    world.ok("root", grant_role("p", "ben"));
    assert_eq!(
        world.refused("ben", create_role("q", "")),
        "42501 user ben does not have CREATEROLE privilege"
    );
}

#[test]
fn names_and_options_of_new_roles_are_checked() {
    let mut world = world();
    let mut refused = |command| world.refused("root", command);
    assert_eq!(refused(create_role("public", "")), "42939 role name \"public\" is reserved");
    assert_eq!(refused(create_role("rain☂", "")), "42602 \"rain☂\": username is invalid");
    assert_eq!(refused(create_user("root", "")), "42710 a role/user named root already exists");
    assert_eq!(refused(create_role("q", "NOCREATEROLE CREATEROLE")), "42601 conflicting role options");
    assert_eq!(refused(create_role("q", "CREATEROLE CREATEROLE")), "42601 redundant role options");
    assert_eq!(refused(alter_role("admin", "CREATEDB")), "42501 cannot edit admin role");
    assert_eq!(refused(alter_role("ghost", "CREATEDB")), "42704 role/user \"ghost\" does not exist");
    let special = Command::CreateRole {
        name: RoleSpec::SessionUser,
        is_role: true,
        if_not_exists: false,
        options: Vec::new(),
    };
    assert_eq!(refused(special), "42939 SESSION_USER cannot be used as a role name here");
}

#[test]
fn only_admins_alter_admins() {
    let mut world = world();
    world.ok("root", grant_role("admin", "crew"));
    world.ok("root", alter_role("amy", "CREATEROLE"));
    assert_eq!(
        world.refused("amy", alter_role("crew", "NOCREATEDB")),
        "42501 only users with the admin role are allowed to ALTER ROLE admin"
    );
    assert_eq!(world.refused("amy", drop_role("crew")), "42501 must be superuser to drop superusers");
    world.ok("root", alter_role("crew", "CREATEDB"));
}

#[test]
fn admin_option_is_inherited_and_membership_alone_gives_no_right_to_grant() {
    let mut world = world();
    let refused = "42501 amy is not a superuser or role admin for role crew";
    assert_eq!(world.refused("amy", grant_role("crew", "ben")), refused);
    world.ok("root", grant_role("crew", "amy"));
    assert_eq!(world.refused("amy", grant_role("crew", "ben")), refused);
    assert_eq!(
        world.refused("amy", grant_role("ghost", "ben")),
        "42501 amy is not a superuser or role admin for role ghost"
    );
    world.ok("root", grant_role_with_admin("crew", "amy"));
    world.ok("root", grant_role("amy crew", "kid"));
    world.ok("kid", grant_role("crew", "ben"));
    assert_eq!(
        world.refused("kid", grant_role("admin", "ben")),
        "42501 kid is not a role admin for role admin"
    );
}

#[test]
fn a_plain_grant_keeps_the_admin_option_and_changes_nothing() {
    let mut world = world();
    assert!(world.ok("root", grant_role_with_admin("crew", "amy")).changed);
    assert!(!world.ok("root", grant_role("crew", "amy")).changed);
    assert!(world.view.admin_option(world.principal("amy"), world.principal("crew")));
    let plain = Command::RevokeRoles {
        roles: vec![RoleName::from("crew")],
        members: role_list("amy"),
        admin_option_only: true,
    };
    world.ok("root", plain);
    assert!(!world.view.admin_option(world.principal("amy"), world.principal("crew")));
    assert!(world.view.acts_as(world.principal("amy"), world.principal("crew")));
}

#[test]
fn memberships_never_close_a_cycle_even_within_one_statement() {
    let mut world = world();
    world.ok("root", grant_role("amy", "ben"));
    world.ok("root", grant_role("ben", "cat"));
    assert_eq!(
        world.refused("root", grant_role("cat", "amy")),
        "0LP01 making amy a member of cat would create a cycle"
    );
    assert_eq!(
        world.refused("root", grant_role("admin", "admin")),
        "0LP01 admin cannot be a member of itself"
    );
    assert_eq!(
        world.refused("root", grant_role("kid crew", "crew kid")),
        "0LP01 kid cannot be a member of itself"
    );
    assert_eq!(
        world.refused("root", revoke_role("admin", "root")),
        "55006 role/user root cannot be removed from role admin or lose the ADMIN OPTION"
    );
}

#[test]
fn a_role_option_is_no_role_and_the_hint_says_so() {
    let mut world = world();
    let Outcome::Refused(refusal) = world.run("root", &grant_role("createdb", "amy")) else {
        panic!("not refused")
    };
    assert_eq!(refusal.message, "role/user \"createdb\" does not exist");
    let hint = "CREATEDB is a role option, try using ALTER ROLE to change a role's options.";
    assert_eq!(refusal.hint.as_deref(), Some(hint));
}

#[test]
fn a_privilege_comes_and_goes_and_whoever_belongs_to_the_role_has_it() {
    let mut world = world();
    let table = world.table("item");
    world.ok("root", grant_role("crew", "amy"));
    world.ok("root", grant_role("amy", "kid"));
    world.ok("root", grant("SELECT", item(), "crew"));
    let may = |world: &World, user| holds(&world.view, world.principal(user), table, Privilege::Select);
    assert!(may(&world, "kid"));
    assert!(!may(&world, "ben"));
    world.ok("root", revoke_role("crew", "amy"));
    assert!(!may(&world, "kid"));
    assert!(may(&world, "crew"));
    let select = Requirement { needs: vec![Need::Privilege { object: table, privilege: Privilege::Select }] };
    let Decision::Deny(refusal) = decide(&world.view, world.principal("kid"), &select) else {
        panic!("allowed")
    };
    assert_eq!(refusal.message, "user kid does not have SELECT privilege on relation item");
}

#[test]
fn a_decision_is_explained_by_the_path_that_made_it() {
    let mut world = world();
    let table = world.table("item");
    let id = |world: &World, user| world.principal(user);
    let why = |world: &World, user| explain(&world.view, world.principal(user), table, Privilege::Select);
    let Explanation::Deny(missing) = why(&world, "kid") else { panic!("allowed") };
    assert_eq!(missing, Missing::Grant { to: vec![id(&world, "kid")], owner: Some(PrincipalId::ROOT) });
    world.ok("root", grant_role("crew", "amy"));
    world.ok("root", grant_role("amy", "kid"));
    let Explanation::Deny(Missing::Grant { to, .. }) = why(&world, "kid") else { panic!("allowed") };
    assert_eq!(to, ["kid", "amy", "crew"].map(|user| id(&world, user)));
    world.ok("root", grant("SELECT", item(), "crew"));
    let entry = *world.state.acl(table).and_then(|acl| acl.entry(id(&world, "crew"))).expect("granted");
    let path = ["kid", "amy", "crew"].map(|user| id(&world, user)).to_vec();
    let granted = Reason::Granted { path, entry };
    assert_eq!(why(&world, "kid"), Explanation::Allow(vec![granted.clone()]));
    world.ok("root", table_owner("item", "amy"));
    let path = ["kid", "amy"].map(|user| id(&world, user)).to_vec();
    let owner = Reason::Owner { path };
    assert_eq!(why(&world, "kid"), Explanation::Allow(vec![owner.clone(), granted.clone()]));
    world.ok("root", grant("SELECT", item(), "public"));
    let entry = *world.state.acl(table).and_then(|acl| acl.entry(PrincipalId::PUBLIC)).expect("granted");
    assert_eq!(why(&world, "kid"), Explanation::Allow(vec![Reason::Public { entry }, owner, granted]));
}

#[test]
fn granting_needs_the_privilege_and_then_the_grant_option() {
    let mut world = world();
    assert_eq!(
        world.refused("amy", grant("SELECT", item(), "ben")),
        "42501 user amy does not have SELECT privilege on relation item"
    );
    world.ok("root", grant("ALL", item(), "amy"));
    assert_eq!(
        world.refused("amy", grant("SELECT", item(), "ben")),
        "01007 user amy missing WITH GRANT OPTION privilege on SELECT"
    );
    assert_eq!(
        world.refused("amy", revoke("INSERT SELECT", item(), "amy")),
        "01006 user amy missing WITH GRANT OPTION privilege on one or more of INSERT, SELECT"
    );
    world.ok("root", grant_with_option("ALL", item(), "amy"));
    world.ok("amy", grant("SELECT", item(), "ben"));
    world.ok("root", revoke_option("UPDATE DELETE", item(), "amy"));
    assert_eq!(rows(&world, Some(&item()), &role_list("amy")), ["amy ALL false"]);
    world.ok("amy", grant("SELECT", item(), "cat"));
    assert_eq!(
        world.refused("amy", grant("UPDATE", item(), "cat")),
        "01007 user amy missing WITH GRANT OPTION privilege on UPDATE"
    );
}

#[test]
fn revoking_one_kind_from_all_leaves_the_others() {
    let mut world = world();
    world.ok("root", grant_with_option("ALL", default_database(), "amy"));
    world.ok("root", revoke("CONNECT", default_database(), "amy"));
    let left = ["BACKUP", "CREATE", "DROP", "RESTORE", "ZONECONFIG"].map(|word| format!("amy {word} true"));
    assert_eq!(rows(&world, Some(&default_database()), &role_list("amy")), left);
}

#[test]
fn what_is_not_legal_is_not_granted() {
    let mut world = world();
    let mut refused = |command| world.refused("root", command);
    assert_eq!(
        refused(grant("USAGE", default_database(), "amy")),
        "0LP01 invalid privilege type USAGE for database"
    );
    assert_eq!(
        refused(grant("SELECT", Targets::System, "amy")),
        "0LP01 invalid privilege type SELECT for global"
    );
    assert_eq!(
        refused(grant_with_option("SELECT", item(), "public")),
        "0LP01 grant options cannot be granted to \"public\" role"
    );
    assert_eq!(refused(grant("SELECT", item(), "amy ghost")), "42704 role/user \"ghost\" does not exist");
    assert_eq!(
        refused(revoke("CONNECT", default_database(), "root")),
        "0LP01 user root must have exactly ALL privileges on database \"defaultdb\""
    );
    let system = Targets::Databases(vec![Name::from("system")]);
    assert_eq!(refused(grant("CONNECT", system, "amy")), "42501 cannot GRANT on system object");
    let nothing = Targets::Tables(vec![TablePattern::All(vec![Name::from("nope")])]);
    assert_eq!(refused(grant("SELECT", nothing, "amy")), "3F000 unknown schema \"nope\"");
}

#[test]
fn system_privileges_need_only_the_grant_option_and_nosqllogin_is_never_implied() {
    let mut world = world();
    world.ok("root", grant("ALL", Targets::System, "amy"));
    let may = |world: &World, user, privilege| {
        holds(&world.view, world.principal(user), ObjectId::CLUSTER, privilege)
    };
    assert!(may(&world, "amy", Privilege::ViewDebug));
    assert!(!may(&world, "amy", Privilege::NoSqlLogin));
    world.ok("root", revoke("BACKUP", Targets::System, "amy"));
    assert!(!may(&world, "amy", Privilege::NoSqlLogin));
    assert!(!may(&world, "amy", Privilege::Backup));
    assert_eq!(
        world.refused("amy", grant("VIEWDEBUG", Targets::System, "ben")),
        "01007 user amy missing WITH GRANT OPTION privilege on VIEWDEBUG"
    );
    world.ok("root", grant("NOSQLLOGIN", Targets::System, "crew"));
    world.ok("root", grant_role("crew", "amy"));
    let refusal = world.view.may_log_in(world.principal("amy")).expect_err("barred through crew");
    assert_eq!(
        (refusal.code.as_str(), refusal.message.as_str()),
        ("28000", "amy does not have login privilege")
    );
    assert_eq!(world.view.may_log_in(PrincipalId::ROOT), Ok(()));
}

#[test]
fn owners_and_those_who_belong_to_them_hold_everything() {
    let mut world = world();
    world.ok("root", grant_role("amy", "kid"));
    world.ok("amy", create_table("mine"));
    world.ok("root", grant("SELECT", tables("mine"), "kid"));
    let on = tables("mine");
    assert_eq!(
        rows(&world, Some(&on), &[]),
        ["admin ALL true", "amy ALL true", "kid SELECT true", "root ALL true"]
    );
    world.ok("root", table_owner("mine", "leads"));
    let after = ["admin ALL true", "kid SELECT false", "leads ALL true", "root ALL true"];
    assert_eq!(rows(&world, Some(&on), &[]), after);
}

#[test]
fn changing_an_owner_is_checked_as_the_kind_demands() {
    let mut world = world();
    assert_eq!(
        world.refused("root", table_owner("ops.bill", "amy")),
        "42501 user amy does not have CREATE privilege on schema ops"
    );
    assert_eq!(world.refused("ben", table_owner("item", "ben")), "42501 must be owner of table item");
    world.ok("root", table_owner("item", "amy"));
    assert_eq!(world.refused("amy", table_owner("item", "ben")), "42501 must be member of role \"ben\"");
    let schema = Command::AlterOwner {
        object: OwnedName::Schema(schema_name("ops")),
        if_exists: false,
        owner: role("root"),
    };
    assert_eq!(world.refused("amy", schema), "42501 must be owner of schema \"ops\"");
    let database = |name: &str, owner| Command::AlterOwner {
        object: OwnedName::Database(Name::from(name)),
        if_exists: false,
        owner: role(owner),
    };
    world.ok("root", database("defaultdb", "amy"));
    world.ok("root", grant_role("ben", "amy"));
    assert_eq!(
        world.refused("amy", database("defaultdb", "ben")),
        "42501 user amy does not have CREATEDB privilege"
    );
    assert_eq!(world.refused("root", database("system", "ben")), "42501 must be owner of database system");
}

#[test]
fn reassigning_needs_both_sides_and_moves_the_current_database() {
    let mut world = world();
    world.ok("root", table_owner("item", "crew"));
    let reassign = |from, to| Command::ReassignOwned { from: role_list(from), to: role(to) };
    let Outcome::Refused(refusal) = world.run("amy", &reassign("crew", "amy")) else { panic!("not refused") };
    assert_eq!(refusal.hint.as_deref(), Some("user must be a member of the old roles"));
    world.ok("root", grant_role("crew", "amy"));
    let Outcome::Refused(refusal) = world.run("amy", &reassign("crew", "leads")) else {
        panic!("not refused")
    };
    assert_eq!(refusal.hint.as_deref(), Some("user must be a member of the new role"));
    world.ok("amy", reassign("crew", "amy"));
    let owner = world.state.object(world.table("item")).expect("it is there").owner;
    assert_eq!(owner, world.principal("amy"));
    world.ok("root", reassign("root", "leads"));
    let database = world.state.object(ObjectId::DEFAULT_DATABASE).expect("it is there");
    assert_eq!(database.owner, world.principal("leads"));
}

#[test]
fn a_role_that_something_depends_on_stays() {
    let mut world = world();
    world.ok("root", grant_role("crew", "amy"));
    world.ok("root", grant("USAGE", Targets::Schemas(vec![schema_name("ops")]), "crew"));
    world.ok("root", grant("CONNECT", default_database(), "crew"));
    world.ok("root", grant("SELECT", item(), "leads"));
    assert_eq!(
        world.refused("root", drop_role("crew leads")),
        "2BP01 cannot drop roles/users crew, leads: grants still exist on defaultdb, defaultdb.public.item, \
         defaultdb.ops"
    );
    world.ok("amy", create_table("t"));
    world.ok("root", grant("VIEWDEBUG BACKUP", Targets::System, "amy"));
    assert_eq!(
        world.refused("root", drop_role("amy")),
        "2BP01 role amy cannot be dropped because some objects depend on it\namy has global 'BACKUP' privilege\n\
         amy has global 'VIEWDEBUG' privilege\nowner of table defaultdb.public.t"
    );
    assert_eq!(world.refused("root", drop_role("ben ghost")), "42704 role/user \"ghost\" does not exist");
    world.ok("root", grant_role("leads", "ben"));
    world.ok("root", drop_role("ben"));
    assert!(
        world.refused("root", drop_role("admin root")).starts_with(
            "2BP01 cannot drop roles/users admin, root: grants still exist on system, defaultdb, "
        )
    );
}

#[test]
fn a_dropped_role_that_comes_back_has_a_new_id_and_nothing_of_the_old_one() {
    let mut world = world();
    let old = world.principal("kid");
    world.ok("root", drop_role("kid"));
    world.ok("root", create_user("kid", ""));
    assert_ne!(world.principal("kid"), old);
    let Outcome::Refused(refusal) = world.run_as(Actor::of(old), &create_table("t")) else {
        panic!("not refused")
    };
    assert_eq!(refusal.message, format!("role with id {old} was concurrently dropped"));
    assert!(!world.view.acts_as(old, PrincipalId::ADMIN));
}

#[test]
fn everybody_creates_in_public_and_nobody_elsewhere() {
    let mut world = world();
    let done = world.ok("amy", create_table("t"));
    assert_eq!(done.storage, [StorageChange::Create(world.table("t"))]);
    assert_eq!(
        world.refused("amy", create_table("ops.t")),
        "42501 user amy does not have CREATE privilege on schema ops"
    );
    assert_eq!(
        world.refused("amy", create_schema("s")),
        "42501 user amy does not have CREATE privilege on database defaultdb"
    );
    assert_eq!(world.refused("amy", create_database("mine")), "42501 permission denied to create database");
    assert_eq!(
        world.refused("amy", drop_table("ops.bill")),
        "42501 user amy does not have USAGE privilege on schema ops"
    );
    assert_eq!(
        world.refused("root", create_table("t")),
        "42P07 relation \"defaultdb.public.t\" already exists"
    );
    assert_eq!(world.refused("root", create_schema("ops")), "42P06 schema \"ops\" already exists");
    assert_eq!(world.refused("root", create_database("system")), "42P04 database \"system\" already exists");
    let again = Command::CreateTable {
        name: object_name("t"),
        table: table(),
        foreign_keys: Vec::new(),
        identities: Vec::new(),
        if_not_exists: true,
    };
    let notices = world.ok("root", again).notices;
    assert_eq!(notices[0].message, "relation \"t\" already exists, skipping");
}

#[test]
fn names_mean_a_schema_first_and_then_a_database() {
    let mut world = world();
    world.ok("root", create_database("ops"));
    world.ok("root", create_table("ops.public.only"));
    world.ok("root", create_table("ops.both"));
    world.ok("root", create_table("ops.public.both"));
    let schema = world.state.resolve_schema(&world.context, &schema_name("ops")).expect("a schema");
    let parent = |world: &World, name| world.state.object(world.table(name)).expect("a table").parent;
    assert_eq!(parent(&world, "ops.both"), schema);
    assert_ne!(parent(&world, "ops.only"), schema);
    let missing = |name: &str| {
        let refusal = world.state.resolve_relation(&world.context, &object_name(name)).expect_err("missing");
        format!("{} {}", refusal.code.as_str(), refusal.message)
    };
    assert_eq!(missing("nope"), "42P01 relation \"nope\" does not exist");
    assert_eq!(missing("ops.nope"), "42P01 relation \"ops.nope\" does not exist");
    assert_eq!(missing("nope.t"), "42P01 relation \"nope.t\" does not exist");
    assert_eq!(missing("nope.public.t"), "3D000 database \"nope\" does not exist");
}

#[test]
fn dropping_a_database_needs_drop_on_everything_in_it() {
    let mut world = world();
    let drop = |behavior| Command::DropDatabase { name: Name::from("defaultdb"), if_exists: false, behavior };
    assert_eq!(
        world.refused("amy", drop(DropBehavior::Default)),
        "42501 user amy does not have DROP privilege on database defaultdb"
    );
    world.ok("root", grant("DROP", default_database(), "amy"));
    assert_eq!(
        world.refused("amy", drop(DropBehavior::Restrict)),
        "2BP01 database \"defaultdb\" is not empty and RESTRICT was specified"
    );
    assert_eq!(
        world.refused("amy", drop(DropBehavior::Cascade)),
        "42501 user amy does not have DROP privilege on relation bill"
    );
    let (item, bill) = (world.table("item"), world.table("ops.bill"));
    let done = world.ok("root", drop(DropBehavior::Default));
    assert_eq!(done.storage, [StorageChange::Drop(bill), StorageChange::Drop(item)]);
    let system = Command::DropDatabase {
        name: Name::from("system"),
        if_exists: false,
        behavior: DropBehavior::Default,
    };
    assert_eq!(
        world.refused("root", system),
        "42501 user root does not have DROP privilege on database system"
    );
}

#[test]
fn dropping_a_schema_needs_its_ownership() {
    let mut world = world();
    let drop =
        |name, behavior| Command::DropSchemas { names: vec![schema_name(name)], if_exists: false, behavior };
    assert_eq!(
        world.refused("amy", drop("ops", DropBehavior::Default)),
        "42501 permission denied to drop schema \"ops\""
    );
    assert_eq!(
        world.refused("root", drop("public", DropBehavior::Cascade)),
        "3F000 cannot drop schema \"public\""
    );
    assert_eq!(
        world.refused("root", drop("ops", DropBehavior::Default)),
        "2BP01 schema \"ops\" is not empty and CASCADE was not specified"
    );
    world.ok("root", drop("ops", DropBehavior::Cascade));
}

#[test]
fn options_are_held_by_exactly_who_has_them_and_by_admins() {
    let mut world = world();
    world.ok("root", alter_role("crew", "VIEWACTIVITY"));
    world.ok("root", grant_role("crew", "amy"));
    let need = Requirement { needs: vec![Need::SystemOrOption(Privilege::ViewActivity)] };
    let decision = |world: &World, user| decide(&world.view, world.principal(user), &need);
    assert_eq!(decision(&world, "crew"), Decision::Allow);
    assert!(matches!(decision(&world, "amy"), Decision::Deny(_)));
    world.ok("root", grant("VIEWACTIVITY", Targets::System, "crew"));
    assert_eq!(decision(&world, "amy"), Decision::Allow);
    assert!(world.view.has_option(PrincipalId::ROOT, RoleOption::CreateDb));
}

#[test]
fn listings_show_what_connect_lets_see() {
    let mut world = world();
    let amy = Actor::of(world.principal("amy"));
    let names = |world: &World| {
        let rows = list::databases(&world.view, amy);
        rows.iter().map(|row| row.database_name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(&world), ["defaultdb"]);
    let tables = |world: &World| list::tables(&world.view, amy, &world.context, &[]).expect("tables");
    assert_eq!(tables(&world).len(), 2, "without any privilege on them");
    world.ok("root", revoke("CONNECT", default_database(), "public"));
    assert_eq!(names(&world), [""; 0]);
    assert_eq!(tables(&world), []);
    assert_eq!(list::grants(&world.view, amy, &world.context, Some(&item()), &[]), Ok(Vec::new()));
}

#[test]
fn roles_are_listed_with_options_and_direct_roles() {
    let mut world = World::new();
    world.ok("root", create_role("crew", "CREATEDB"));
    let listed: Vec<_> = list::roles(&world.view)
        .into_iter()
        .map(|row| {
            let member_of: Vec<_> = row.member_of.iter().map(RoleName::as_str).collect();
            format!("{} '{}' {{{}}}", row.username, row.options, member_of.join(","))
        })
        .collect();
    assert_eq!(listed, ["admin '' {}", "crew 'CREATEDB, NOLOGIN' {}", "root '' {admin}"]);
}
