//! Role options, passwords, logging in and acting as another role. Source: authorization spec, B, C, H.8.

mod common;

use common::*;
use grantd_catalog::command::{Actor, Command, RoleOptionClause, RoleSpec, Targets};
use grantd_catalog::id::PrincipalId;
use grantd_catalog::list;
use grantd_catalog::name::RoleName;
use grantd_catalog::role::{PasswordVerifier, RoleOption, ValidUntil};
use grantd_catalog::setting::Setting;
use grantd_catalog::state::{Activity, PasswordText};

fn world() -> World {
    let mut world = World::new();
    for user in ["amy", "ben", "cat"] {
        world.ok("root", create_user(user, ""));
    }
    for name in ["crew", "leads"] {
        world.ok("root", create_role(name, ""));
    }
    world
}

fn alter(name: RoleSpec, options: Vec<RoleOptionClause>) -> Command {
    Command::AlterRole { name, if_exists: false, options }
}

fn password() -> RoleOptionClause {
    RoleOptionClause::Password(Some(PasswordVerifier::new("SCRAM-SHA-256$…".to_owned())))
}

fn until(us: i64) -> RoleOptionClause {
    RoleOptionClause::ValidUntil(ValidUntil::At(us))
}

fn set(setting: Setting, value: &str) -> Command {
    Command::SetClusterSetting { setting, value: Some(value.to_owned()) }
}

const NO_ROLE_OPTION: &str = "42501 user amy does not have CREATEROLE privilege";
const NO_LOGIN_OPTION: &str = "42501 user amy does not have CREATELOGIN privilege";

#[test]
fn options_are_listed_by_name_with_their_values() {
    let mut world = world();
    world.ok("root", alter_role("amy", "VIEWACTIVITY NOSQLLOGIN CREATEDB"));
    world.ok("root", alter(role("amy"), vec![until(1_633_824_000_000_000)]));
    world.ok("root", alter(role("ben"), vec![RoleOptionClause::ValidUntil(ValidUntil::Never)]));
    let rows: Vec<_> = list::roles(&world.view)
        .iter()
        .map(|row| format!("{} [{}] {:?}", row.username, row.options, row.member_of.len()))
        .collect();
    assert_eq!(
        rows,
        [
            "admin [] 0",
            "amy [CREATEDB, NOSQLLOGIN, VALID UNTIL=2021-10-10 00:00:00+00:00, VIEWACTIVITY] 0",
            "ben [VALID UNTIL] 0",
            "cat [] 0",
            "crew [NOLOGIN] 0",
            "leads [NOLOGIN] 0",
            "root [] 1",
        ]
    );
    let options: Vec<_> = list::role_options(&world.view)
        .iter()
        .map(|row| format!("{} {} {}", row.username, row.option, row.value.as_deref().unwrap_or("NULL")))
        .collect();
    assert_eq!(
        options,
        [
            "amy CREATEDB NULL",
            "amy NOSQLLOGIN NULL",
            "amy VALID UNTIL 2021-10-10 00:00:00+00:00",
            "amy VIEWACTIVITY NULL",
            "ben VALID UNTIL NULL",
            "crew NOLOGIN NULL",
            "leads NOLOGIN NULL",
        ]
    );
}

#[test]
fn every_option_has_an_opposite_that_clears_it() {
    let mut world = world();
    for option in RoleOption::each() {
        let clause = |set| vec![RoleOptionClause::Flag(option, set)];
        assert!(world.ok("root", alter(role("amy"), clause(true))).changed, "{option}");
        assert!(!world.ok("root", alter(role("amy"), clause(true))).changed, "{option}");
        assert!(world.ok("root", alter(role("amy"), clause(false))).changed, "{option}");
        let both = vec![RoleOptionClause::Flag(option, true), RoleOptionClause::Flag(option, false)];
        assert_eq!(world.refused("root", alter(role("amy"), both)), "42601 conflicting role options");
    }
    let stored = world.state.principal(world.principal("amy")).map(|amy| amy.options);
    assert_eq!(stored, Some(NO_OPTIONS));
}

#[test]
fn what_deals_with_logging_in_needs_createlogin() {
    let mut world = world();
    world.ok("root", alter_role("amy", "CREATEROLE"));
    for words in ["LOGIN", "NOLOGIN", "CREATELOGIN", "NOCREATELOGIN"] {
        assert_eq!(world.refused("amy", alter_role("ben", words)), NO_LOGIN_OPTION, "{words}");
    }
    for clause in [password(), RoleOptionClause::Password(None), until(0)] {
        assert_eq!(world.refused("amy", alter(role("ben"), vec![clause])), NO_LOGIN_OPTION);
    }
    world.ok("amy", alter_role("ben", "NOSQLLOGIN CREATEDB CONTROLJOB MODIFYCLUSTERSETTING"));
    world.ok("amy", alter_role("amy", "CREATEDB"));
    world.ok("root", alter_role("amy", "CREATELOGIN"));
    world.ok("amy", alter(role("ben"), vec![password(), until(0)]));
}

#[test]
fn repetitions_come_before_opposites_and_both_before_createlogin() {
    let mut world = world();
    world.ok("root", alter_role("amy", "CREATEROLE"));
    let mut refused = |options| world.refused("amy", alter(role("ben"), options));
    assert_eq!(refused(vec![until(0), until(1)]), "42601 redundant role options");
    assert_eq!(refused(vec![password(), password()]), "42601 redundant role options");
    assert_eq!(refused(options("LOGIN NOLOGIN LOGIN")), "42601 redundant role options");
    assert_eq!(refused(options("LOGIN NOLOGIN")), "42601 conflicting role options");
    let many = vec![until(0); 1_001];
    assert_eq!(refused(many), "54000 the statement lists 1001 names; at most 1000 are allowed");
}

#[test]
fn alter_role_checks_rights_before_existence_and_existence_before_rank() {
    let mut world = world();
    world.ok("root", grant_role("admin", "crew"));
    assert_eq!(world.refused("amy", alter_role("ghost", "CREATEDB")), NO_ROLE_OPTION);
    assert_eq!(world.refused("amy", alter_role("admin", "CREATEDB")), "42501 cannot edit admin role");
    world.ok("root", alter_role("amy", "CREATEROLE"));
    assert_eq!(
        world.refused("amy", alter_role("ghost", "CREATEDB")),
        "42704 role/user \"ghost\" does not exist"
    );
    assert_eq!(
        world.refused("amy", alter_role("crew", "CREATEDB")),
        "42501 only users with the admin role are allowed to ALTER ROLE admin"
    );
    let if_exists = Command::AlterRole { name: role("ghost"), if_exists: true, options: options("CREATEDB") };
    assert!(!world.ok("amy", if_exists).changed);
}

#[test]
fn ones_own_password_and_nothing_else_where_the_cluster_allows_it() {
    let mut world = world();
    let own = || alter(role("amy"), vec![password()]);
    assert_eq!(world.refused("amy", own()), NO_ROLE_OPTION);
    world.ok("root", set(Setting::ChangeOwnPassword, "true"));
    assert!(world.ok("amy", own()).changed);
    world.ok("amy", alter(RoleSpec::CurrentUser, vec![password()]));
    assert_eq!(
        world.refused("amy", alter(role("amy"), vec![RoleOptionClause::Password(None)])),
        NO_ROLE_OPTION
    );
    assert_eq!(world.refused("amy", alter(role("amy"), vec![password(), until(0)])), NO_ROLE_OPTION);
    assert_eq!(world.refused("amy", alter(role("ben"), vec![password()])), NO_ROLE_OPTION);
    // Whose own it is depends on whom the session acts as.
    let acting = Actor { session: world.principal("ben"), current: world.principal("amy") };
    let outcome = world.run_as(acting, &alter(RoleSpec::SessionUser, vec![password()]));
    assert!(matches!(outcome, grantd_catalog::command::Outcome::Refused(_)));
    let outcome = world.run_as(acting, &own());
    assert!(matches!(outcome, grantd_catalog::command::Outcome::Done(_)));
}

#[test]
fn texts_of_passwords_are_judged_by_the_settings() {
    let mut world = world();
    let judged = |world: &World, text: &str| match world.state.judge_password(text) {
        Ok(PasswordText::Plain) => "plain".to_owned(),
        Ok(PasswordText::Verifier) => "verifier".to_owned(),
        Err(refusal) => format!(
            "{} {} {}",
            refusal.code.as_str(),
            refusal.message,
            refusal.hint.as_deref().unwrap_or_default()
        ),
    };
    assert_eq!(judged(&world, ""), "28P01 empty passwords are not permitted ");
    assert_eq!(judged(&world, "a"), "plain");
    assert_eq!(judged(&world, "SCRAM-SHA-256$4096:…"), "verifier");
    let md5 = format!("md5{}", "0".repeat(32));
    assert_eq!(judged(&world, &md5), "0A000 hash scheme \"md5\" is not supported ");
    assert_eq!(judged(&world, "CRDB-BCRYPT$3a$"), "0A000 hash scheme \"crdb-bcrypt\" is not supported ");
    world.ok("root", set(Setting::MinPasswordLength, "12"));
    assert_eq!(judged(&world, "abc"), "28P01 password too short Passwords must be 12 characters or longer.");
    assert_eq!(judged(&world, "ααααββββγγγγ"), "plain");
    world.ok("root", set(Setting::StorePreHashedPasswords, "false"));
    assert_eq!(judged(&world, "SCRAM-SHA-256$4096:…"), "plain");
}

#[test]
fn who_may_log_in() {
    let mut world = world();
    let told = |world: &World, name: &str| {
        let told = world.state.may_log_in(world.principal(name)).err();
        told.map(|refusal| format!("{} {}", refusal.code.as_str(), refusal.message)).unwrap_or_default()
    };
    let by_https = |world: &World, name: &str| world.state.may_log_in_by_https(world.principal(name)).is_ok();
    assert_eq!(told(&world, "amy"), "");
    world.ok("root", alter_role("amy", "NOLOGIN"));
    assert_eq!(told(&world, "amy"), "28000 amy does not have login privilege");
    assert!(!by_https(&world, "amy"));
    world.ok("root", alter_role("amy", "LOGIN NOSQLLOGIN"));
    assert_eq!(told(&world, "amy"), "28000 amy does not have login privilege");
    assert!(by_https(&world, "amy"));
    // The privilege comes through roles, and not with ALL; being an admin does not help against it.
    world.ok("root", grant_role("crew admin", "ben"));
    world.ok("root", grant("ALL", Targets::System, "crew"));
    assert_eq!(told(&world, "ben"), "");
    world.ok("root", grant("NOSQLLOGIN", Targets::System, "crew"));
    assert_eq!(told(&world, "ben"), "28000 ben does not have login privilege");
    assert!(by_https(&world, "ben"));
    world.ok("root", grant("NOSQLLOGIN", Targets::System, "public"));
    world.ok("root", alter_role("root", "NOLOGIN"));
    assert_eq!(told(&world, "root"), "");
    assert_eq!(told(&world, "cat"), "28000 cat does not have login privilege");
    let gone = PrincipalId(777);
    assert_eq!(
        world.state.may_log_in(gone).expect_err("it does not exist").message,
        "password authentication failed for user [777]"
    );
}

#[test]
fn passwords_expire_after_valid_until_but_for_root() {
    let mut world = world();
    let amy = world.principal("amy");
    assert!(world.state.password_valid(amy, i64::MAX));
    world.ok("root", alter(role("amy"), vec![until(1_000)]));
    assert!(world.state.password_valid(amy, 1_000));
    assert!(!world.state.password_valid(amy, 1_001));
    assert!(world.state.may_log_in(amy).is_ok(), "certificates are accepted still");
    world.ok("root", alter(role("amy"), vec![RoleOptionClause::ValidUntil(ValidUntil::Never)]));
    assert!(world.state.password_valid(amy, i64::MAX));
    world.ok("root", alter(role("root"), vec![until(1_000)]));
    assert!(world.state.password_valid(PrincipalId::ROOT, i64::MAX));
}

#[test]
fn set_role_is_judged_by_who_logged_in() {
    let mut world = world();
    let to = |world: &World, login: &str, role: &str| {
        let name = RoleName::from(role);
        match world.state.set_role(world.principal(login), Some(&name)) {
            Ok(role) => world.state.principal_name(role).to_string(),
            Err(refusal) => format!("{} {}", refusal.code.as_str(), refusal.message),
        }
    };
    for missing in ["public", "node", "ghost"] {
        assert_eq!(to(&world, "root", missing), format!("22023 role {missing} does not exist"));
    }
    assert_eq!(to(&world, "root", "amy"), "amy");
    assert_eq!(to(&world, "amy", "amy"), "amy");
    assert_eq!(to(&world, "amy", "None"), "amy");
    assert_eq!(world.state.set_role(world.principal("amy"), None), Ok(world.principal("amy")));
    assert_eq!(to(&world, "amy", "ben"), "42501 permission denied to set role \"ben\"");
    assert_eq!(to(&world, "amy", "root"), "42501 only root can become root");
    world.ok("root", grant_role("admin", "amy"));
    world.ok("root", grant_role("amy", "ben"));
    assert_eq!(to(&world, "ben", "crew"), "crew", "an indirect admin");
    assert_eq!(to(&world, "amy", "root"), "42501 only root can become root");
    world.ok("root", revoke_role("admin", "amy"));
    assert_eq!(to(&world, "ben", "amy"), "amy");
    assert_eq!(to(&world, "amy", "ben"), "42501 permission denied to set role \"ben\"");
}

#[test]
fn redaction_wins_but_not_over_admins() {
    let mut world = world();
    let seen = |world: &World, name: &str| world.state.activity_visibility(world.principal(name));
    let refused = |world: &World, name: &str| {
        world.state.check_activity(world.principal(name)).err().map(|refusal| refusal.message)
    };
    assert_eq!(seen(&world, "amy"), Activity::Own);
    assert_eq!(
        refused(&world, "amy").as_deref(),
        Some("user amy does not have VIEWACTIVITY or VIEWACTIVITYREDACTED privilege")
    );
    world.ok("root", alter_role("crew", "VIEWACTIVITY"));
    world.ok("root", grant_role("crew", "amy"));
    assert_eq!(seen(&world, "amy"), Activity::Own, "options are not inherited");
    world.ok("root", grant("VIEWACTIVITY", Targets::System, "crew"));
    assert_eq!(seen(&world, "amy"), Activity::All, "privileges are");
    assert_eq!(refused(&world, "amy"), None);
    world.ok("root", alter_role("amy", "VIEWACTIVITYREDACTED"));
    assert_eq!(seen(&world, "amy"), Activity::Redacted);
    world.ok("root", alter_role("amy", "NOVIEWACTIVITYREDACTED NOVIEWACTIVITY"));
    assert_eq!(seen(&world, "amy"), Activity::All, "clearing an option takes no privilege away");
    world.ok("root", grant("ALL", Targets::System, "ben"));
    assert_eq!(seen(&world, "ben"), Activity::Redacted);
    world.ok("root", grant_role("admin", "ben"));
    assert_eq!(seen(&world, "ben"), Activity::All);
}

#[test]
fn who_may_cancel_what_others_run() {
    let mut world = world();
    let told = |world: &World, who: &str, whose: &str| {
        let told = world.state.may_cancel(world.principal(who), world.principal(whose)).err();
        told.map(|refusal| format!("{} {}", refusal.code.as_str(), refusal.message)).unwrap_or_default()
    };
    assert_eq!(told(&world, "amy", "amy"), "");
    assert_eq!(told(&world, "amy", "ben"), "42501 this operation requires CANCELQUERY privilege");
    assert_eq!(told(&world, "amy", "root"), "42501 this operation requires CANCELQUERY privilege");
    world.ok("root", alter_role("amy", "CANCELQUERY"));
    assert_eq!(told(&world, "amy", "ben"), "");
    assert_eq!(told(&world, "amy", "root"), "42501 permission denied to cancel admin session");
    world.ok("root", grant_role("admin", "cat"));
    assert_eq!(told(&world, "amy", "cat"), "42501 permission denied to cancel admin session");
    assert_eq!(told(&world, "cat", "root"), "");
    world.ok("root", grant("CANCELQUERY", Targets::System, "crew"));
    world.ok("root", grant_role("crew", "ben"));
    assert_eq!(told(&world, "ben", "amy"), "");
}
