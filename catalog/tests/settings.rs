//! Cluster settings, and what sessions of a role begin with. Source: authorization spec, A.5.4, A.5.5, B.4.

mod common;

use common::*;
use grantd_catalog::command::{Actor, Command, RoleSpec, Targets, VariableChange};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::list;
use grantd_catalog::name::Name;
use grantd_catalog::setting::{Setting, SettingValue};
use grantd_catalog::state::{VARIABLE_BYTES_MAX, VARIABLES_MAX};

fn world() -> World {
    let mut world = World::new();
    for user in ["amy", "ben"] {
        world.ok("root", create_user(user, ""));
    }
    world.ok("root", create_role("crew", ""));
    world
}

fn set(setting: Setting, value: &str) -> Command {
    Command::SetClusterSetting { setting, value: Some(value.to_owned()) }
}

fn reset(setting: Setting) -> Command {
    Command::SetClusterSetting { setting, value: None }
}

fn variables(role: Option<&str>, database: Option<&str>, change: VariableChange) -> Command {
    Command::AlterRoleSettings {
        role: role.map(common::role),
        if_exists: false,
        database: database.map(Name::from),
        change,
    }
}

fn to(name: &str, value: &str) -> VariableChange {
    VariableChange::Set(name.to_owned(), value.to_owned())
}

fn begins_with(world: &World, role: &str, database: Option<&str>) -> Vec<String> {
    let database = database.map(|name| world.state.resolve_database(&Name::from(name)).expect("it exists"));
    let found = world.state.session_defaults(world.principal(role), database);
    found.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

#[test]
fn settings_keep_one_form_of_a_value_and_reset_takes_it_away() {
    let mut world = world();
    assert!(!world.state.setting_is_on(Setting::ChangeOwnPassword));
    assert!(world.ok("root", set(Setting::ChangeOwnPassword, " ON ")).changed);
    assert_eq!(world.state.setting(Setting::ChangeOwnPassword), "true");
    assert!(world.state.setting_is_on(Setting::ChangeOwnPassword));
    assert!(!world.ok("root", set(Setting::ChangeOwnPassword, "true")).changed);
    assert!(world.ok("root", reset(Setting::ChangeOwnPassword)).changed);
    assert!(!world.ok("root", reset(Setting::ChangeOwnPassword)).changed);
    assert!(!world.state.setting_is_on(Setting::ChangeOwnPassword));
    world.ok("root", set(Setting::DefaultStatementTimeout, "1500"));
    assert_eq!(world.state.setting(Setting::DefaultStatementTimeout), "1500ms");
    let timeout = world.state.setting_value(Setting::DefaultStatementTimeout);
    assert_eq!(timeout, SettingValue::Milliseconds(1_500));
    world.ok("root", set(Setting::ClusterOrganization, "Guild of Grantees"));
    let organization = world.state.setting_value(Setting::ClusterOrganization);
    assert_eq!(organization, SettingValue::Text("Guild of Grantees"));
}

#[test]
fn values_that_a_setting_does_not_take_are_refused() {
    let mut world = world();
    let mut refused = |setting, value: &str| world.refused("root", set(setting, value));
    assert_eq!(
        refused(Setting::ChangeOwnPassword, "maybe"),
        "22023 invalid value for cluster setting 'sql.auth.change_own_password.enabled': \"maybe\""
    );
    assert_eq!(
        refused(Setting::MinPasswordLength, "0"),
        "22023 invalid value for cluster setting 'server.user_login.min_password_length': \"0\""
    );
    assert_eq!(
        refused(Setting::ClusterOrganization, &"x".repeat(4_097)),
        "54000 the value of cluster setting 'cluster.organization' is longer than 4096 bytes"
    );
}

#[test]
fn who_may_set_settings() {
    let mut world = world();
    let may_not = |name: &str| {
        format!(
            "42501 only users with the MODIFYCLUSTERSETTING privilege are allowed to set cluster setting '{name}'"
        )
    };
    let admins_only = |name: &str| {
        format!("42501 only users with the admin role are allowed to set cluster setting '{name}'")
    };
    let timeout = || set(Setting::DefaultStatementTimeout, "1s");
    let length = || set(Setting::MinPasswordLength, "9");
    assert_eq!(world.refused("amy", timeout()), may_not("sql.defaults.statement_timeout"));
    assert_eq!(
        world.refused("amy", reset(Setting::MinPasswordLength)),
        may_not("server.user_login.min_password_length")
    );
    assert_eq!(
        world.refused("amy", set(Setting::ClusterOrganization, "")),
        admins_only("cluster.organization")
    );
    // The page's promise: MODIFYSQLCLUSTERSETTING is for sql.defaults.
    world.ok("root", grant("MODIFYSQLCLUSTERSETTING", Targets::System, "crew"));
    world.ok("root", grant_role("crew", "amy"));
    world.ok("amy", timeout());
    assert_eq!(world.refused("amy", length()), may_not("server.user_login.min_password_length"));
    // The option is as good as the privilege.
    world.ok("root", alter_role("ben", "MODIFYCLUSTERSETTING"));
    world.ok("ben", length());
    world.ok("ben", timeout());
    world.ok("root", alter_role("ben", "NOMODIFYCLUSTERSETTING"));
    world.ok("root", grant("MODIFYCLUSTERSETTING", Targets::System, "ben"));
    world.ok("ben", reset(Setting::MinPasswordLength));
    assert_eq!(
        world.refused("ben", set(Setting::ClusterOrganization, "x")),
        admins_only("cluster.organization")
    );
    // Unless it is for sql.defaults only.
    let for_all = "sql.auth.modify_cluster_setting_applies_to_all.enabled";
    assert_eq!(world.refused("ben", set(Setting::ModifyAppliesToAll, "true")), admins_only(for_all));
    world.ok("root", set(Setting::ModifyAppliesToAll, "false"));
    assert_eq!(world.refused("ben", length()), admins_only("server.user_login.min_password_length"));
    world.ok("ben", reset(Setting::DefaultStatementTimeout));
    world.ok("root", length());
}

#[test]
fn who_may_see_settings() {
    let mut world = world();
    let seen = |world: &World, name: &str| {
        let rows = list::cluster_settings(&world.view, Actor::of(world.principal(name)));
        rows.map(|rows| rows.len()).map_err(|refusal| refusal.message)
    };
    let one = |world: &World, setting| {
        let told = world.state.may_show(world.principal("amy"), setting).err();
        told.map(|refusal| refusal.message).unwrap_or_default()
    };
    let none = "only users with either MODIFYCLUSTERSETTING or VIEWCLUSTERSETTING privileges are allowed to";
    assert_eq!(seen(&world, "amy"), Err(format!("{none} read crdb_internal.cluster_settings")));
    assert_eq!(
        one(&world, Setting::ClusterOrganization),
        format!("{none} show cluster setting 'cluster.organization'")
    );
    let all = Setting::each().count();
    assert_eq!(seen(&world, "root"), Ok(all));
    world.ok("root", alter_role("amy", "VIEWCLUSTERSETTING"));
    assert_eq!(seen(&world, "amy"), Ok(all));
    assert_eq!(one(&world, Setting::ClusterOrganization), "");
    world.ok("root", alter_role("amy", "NOVIEWCLUSTERSETTING"));
    world.ok("root", grant("MODIFYSQLCLUSTERSETTING", Targets::System, "amy"));
    assert_eq!(seen(&world, "amy"), Ok(all));
    assert_eq!(one(&world, Setting::ClusterOrganization), "");
}

#[test]
fn settings_are_listed_by_name() {
    let mut world = world();
    world.ok("root", set(Setting::MinPasswordLength, "9"));
    let rows = list::cluster_settings(&world.view, Actor::of(PrincipalId::ROOT)).expect("root may");
    assert!(rows.is_sorted_by(|a, b| a.variable < b.variable));
    let row = rows.iter().find(|row| row.variable == "server.user_login.min_password_length");
    let row = row.expect("it is listed");
    assert_eq!((row.value.as_str(), row.setting_type, row.default), ("9", "i", "1"));
}

#[test]
fn the_nearest_value_of_a_variable_counts() {
    let mut world = world();
    let mut all = |role, database, value| {
        world.ok("root", variables(role, database, to("application_name", value)));
    };
    all(None, None, "everybody");
    all(None, Some("defaultdb"), "everybody here");
    all(Some("amy"), None, "amy");
    all(Some("ben"), Some("defaultdb"), "ben here");
    world.ok("root", variables(Some("amy"), None, to("statement_timeout", "1s")));
    let here = Some("defaultdb");
    assert_eq!(begins_with(&world, "amy", here), ["application_name=amy", "statement_timeout=1s"]);
    assert_eq!(begins_with(&world, "ben", here), ["application_name=ben here"]);
    assert_eq!(begins_with(&world, "ben", None), ["application_name=everybody"]);
    assert_eq!(begins_with(&world, "crew", here), ["application_name=everybody here"]);
    assert_eq!(begins_with(&world, "root", here), [""; 0], "what is for all is not for root");
    world.ok("root", set(Setting::DefaultStatementTimeout, "30s"));
    assert_eq!(begins_with(&world, "root", here), ["statement_timeout=30s"]);
    assert_eq!(begins_with(&world, "amy", None), ["application_name=amy", "statement_timeout=1s"]);
    world.ok("root", variables(Some("amy"), None, VariableChange::Reset("application_name".to_owned())));
    assert_eq!(begins_with(&world, "amy", here), ["application_name=everybody here", "statement_timeout=1s"]);
    world.ok("root", variables(None, here, VariableChange::ResetAll));
    world.ok("root", variables(Some("amy"), None, VariableChange::ResetAll));
    assert!(!world.ok("root", variables(Some("amy"), None, VariableChange::ResetAll)).changed);
    assert_eq!(begins_with(&world, "amy", here), ["application_name=everybody", "statement_timeout=30s"]);
    let rows: Vec<_> = list::role_settings(&world.view)
        .iter()
        .map(|row| {
            let role = row.role.as_ref().map_or("ALL", |(_, name)| name.as_str());
            format!("{} {role} {:?}", row.database == ObjectId::CLUSTER, row.settings)
        })
        .collect();
    assert_eq!(
        rows,
        ["true ALL [\"application_name=everybody\"]", "false ben [\"application_name=ben here\"]"]
    );
}

#[test]
fn who_may_change_variables_of_roles() {
    let mut world = world();
    let change = || to("application_name", "x");
    let mut refused = |user: &str, command| world.refused(user, command);
    assert_eq!(
        refused("amy", variables(None, None, change())),
        "42501 only users with the admin role are allowed to ALTER ROLE ALL ... SET"
    );
    let no_option = "42501 user amy does not have CREATEROLE privilege";
    assert_eq!(refused("amy", variables(Some("amy"), None, change())), no_option);
    assert_eq!(refused("amy", variables(Some("ghost"), Some("nope"), change())), no_option);
    assert_eq!(
        refused("root", variables(Some("ghost"), Some("nope"), change())),
        "3D000 database \"nope\" does not exist"
    );
    assert_eq!(
        refused("root", variables(Some("ghost"), None, change())),
        "42704 role/user \"ghost\" does not exist"
    );
    assert_eq!(refused("root", variables(Some("admin"), None, change())), "42501 cannot edit admin role");
    assert_eq!(refused("root", variables(Some("root"), None, change())), "42501 cannot edit root user");
    assert_eq!(refused("root", variables(Some("public"), None, change())), "42501 cannot edit public role");
    world.ok("root", alter_role("amy", "CREATEROLE"));
    world.ok("amy", variables(Some("amy"), None, change()));
    world.ok("root", grant_role("admin", "ben"));
    assert_eq!(
        world.refused("amy", variables(Some("ben"), None, change())),
        "42501 only users with the admin role are allowed to ALTER ROLE admin"
    );
    world.ok("ben", variables(None, None, change()));
    let if_exists = Command::AlterRoleSettings {
        role: Some(RoleSpec::Name("ghost".into())),
        if_exists: true,
        database: None,
        change: change(),
    };
    assert!(!world.ok("root", if_exists).changed);
}

#[test]
fn variables_of_a_role_are_bounded() {
    let mut world = world();
    let long = "x".repeat(VARIABLE_BYTES_MAX + 1);
    let text = "54000 the name of a variable, and its value, have at most 4096 bytes, and a name has one";
    assert_eq!(world.refused("root", variables(Some("amy"), None, to("v", &long))), text);
    assert_eq!(world.refused("root", variables(Some("amy"), None, to(&long, "v"))), text);
    assert_eq!(world.refused("root", variables(Some("amy"), None, to("", "v"))), text);
    for at in 0..VARIABLES_MAX {
        world.run("root", &variables(Some("amy"), None, to(&format!("v{at}"), "1")));
    }
    world.ok("root", variables(Some("amy"), None, to("v7", "2")));
    assert_eq!(
        world.refused("root", variables(Some("amy"), None, to("one more", "1"))),
        "54000 a role has at most 100 variables in one database"
    );
}

#[test]
fn variables_go_with_their_role_and_their_database() {
    let mut world = world();
    world.ok("root", create_database("shop"));
    world.ok("root", variables(Some("amy"), None, to("application_name", "x")));
    world.ok("root", variables(Some("amy"), Some("shop"), to("application_name", "x")));
    world.ok("root", variables(None, Some("shop"), to("application_name", "x")));
    world.ok("root", drop_role("amy"));
    assert_eq!(world.state.all_role_settings().count(), 1);
    let drop = Command::DropDatabase {
        name: Name::from("shop"),
        if_exists: false,
        behavior: grantd_catalog::command::DropBehavior::Default,
    };
    world.ok("root", drop);
    assert_eq!(world.state.all_role_settings().count(), 0);
}

#[test]
fn records_of_variables_and_defaults_that_cannot_be_are_refused() {
    use grantd_catalog::defaults::{DefaultPrivileges, DefaultsFor};
    use grantd_catalog::privilege::ObjectKind;
    use grantd_catalog::record::{Record, RecordKey};
    use grantd_catalog::role::RoleSettings;
    use grantd_catalog::state::{RestoreError, State};

    let with = |key: RecordKey, record: Record| {
        let mut disk = World::new().disk;
        disk.insert(key, record);
        State::restore(disk).expect_err("it cannot be")
    };
    let variables = |names: &[&str]| {
        let variables = names.iter().map(|name| ((*name).to_owned(), "1".to_owned())).collect();
        Record::RoleSettings(RoleSettings { variables })
    };
    let of = |database, role| RecordKey::RoleSettings { database, role };
    let everywhere = of(ObjectId::CLUSTER, PrincipalId::EVERYBODY);
    assert_eq!(with(everywhere, variables(&[])), RestoreError::MalformedVariables(everywhere));
    assert_eq!(with(everywhere, variables(&["b", "a"])), RestoreError::MalformedVariables(everywhere));
    let schema = of(ObjectId::DEFAULT_PUBLIC_SCHEMA, PrincipalId::EVERYBODY);
    let parent = ObjectId::DEFAULT_PUBLIC_SCHEMA;
    assert_eq!(with(schema, variables(&["a"])), RestoreError::WrongParent { key: schema, parent });
    let nobody = of(ObjectId::CLUSTER, PrincipalId(999));
    let principal = PrincipalId(999);
    assert_eq!(with(nobody, variables(&["a"])), RestoreError::NoPrincipal { key: nobody, principal });

    let defaults = |holder| {
        let creator = PrincipalId::ROOT;
        let built_in = DefaultPrivileges::built_in(DefaultsFor { holder: ObjectKind::Database, creator });
        (RecordKey::DefaultPrivileges { holder, creator }, Record::DefaultPrivileges(built_in))
    };
    let (key, built_in) = defaults(ObjectId::DEFAULT_DATABASE);
    assert_eq!(with(key, built_in), RestoreError::MalformedAcl(key));
    let (key, of_system) = defaults(ObjectId::SYSTEM_DATABASE);
    let parent = ObjectId::SYSTEM_DATABASE;
    assert_eq!(with(key, of_system), RestoreError::WrongParent { key, parent });
}
