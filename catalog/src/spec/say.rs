//! Every text, once more. Where the spec gives the words, they are those; the rest are CockroachDB's own.

use crate::id::PrincipalId;
use crate::name::{RoleName, RoleNameFault};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{Refusal, SqlState};

fn no(code: &str, message: String) -> Refusal {
    Refusal { code: SqlState::new(code), message, detail: None, hint: None }
}

fn hinted(refusal: Refusal, hint: String) -> Refusal {
    Refusal { hint: Some(hint), ..refusal }
}

// Permission.

pub(super) fn no_privilege(user: &RoleName, privilege: Privilege, kind: ObjectKind, name: &str) -> Refusal {
    if kind == ObjectKind::Cluster {
        return no("42501", format!("user {user} does not have {privilege} system privilege"));
    }
    let kind = relation_word(kind);
    no("42501", format!("user {user} does not have {privilege} privilege on {kind} {name}"))
}

pub(super) fn no_privileges(user: &RoleName, kind: ObjectKind, name: &str) -> Refusal {
    if kind == ObjectKind::Cluster {
        return no("42501", format!("user {user} has no system privileges"));
    }
    no("42501", format!("user {user} has no privileges on {} {name}", relation_word(kind)))
}

pub(super) fn no_option(user: &RoleName, word: &str) -> Refusal {
    no("42501", format!("user {user} does not have {word} privilege"))
}

pub(super) fn no_login(user: &RoleName) -> Refusal {
    no("28000", format!("{user} does not have login privilege"))
}

pub(super) fn admin_only(action: &str) -> Refusal {
    no("42501", format!("only users with the admin role are allowed to {action}"))
}

pub(super) fn must_own(kind: ObjectKind, name: &str) -> Refusal {
    no("42501", format!("must be owner of {}", owned(kind, name)))
}

pub(super) fn must_be_member(role: &RoleName) -> Refusal {
    no("42501", format!("must be member of role \"{role}\""))
}

fn owned(kind: ObjectKind, name: &str) -> String {
    match kind {
        ObjectKind::Database => format!("database {name}"),
        ObjectKind::Schema => format!("schema \"{name}\""),
        ObjectKind::Table => format!("table {name}"),
        _ => format!("{kind:?} {name}"),
    }
}

fn relation_word(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Database => "database",
        ObjectKind::Schema => "schema",
        ObjectKind::Table => "relation",
        _ => "global",
    }
}

// Principals.

pub(super) fn actor_is_gone(id: PrincipalId) -> Refusal {
    hinted(
        no("42704", format!("role with id {id} was concurrently dropped")),
        "Log in again as another role.".to_owned(),
    )
}

pub(super) fn unknown_role(name: &RoleName) -> Refusal {
    no("42704", format!("role/user \"{name}\" does not exist"))
}

pub(super) fn unknown_role_that_is_an_option(name: &RoleName) -> Refusal {
    let word = name.as_str().to_uppercase();
    hinted(
        unknown_role(name),
        format!("{word} is a role option, try using ALTER ROLE to change a role's options."),
    )
}

pub(super) fn bad_role_name(name: &RoleName, fault: RoleNameFault) -> Refusal {
    let what = match fault {
        RoleNameFault::Reserved => return no("42939", format!("role name \"{name}\" is reserved")),
        RoleNameFault::Invalid => "invalid",
        RoleNameFault::TooLong => "too long",
        RoleNameFault::Empty => "empty",
    };
    hinted(
        no("42602", format!("\"{name}\": username is {what}")),
        "Usernames are case insensitive, must start with a letter, digit or underscore, may contain letters, \
         digits, dashes, periods, or underscores, and must not exceed 63 characters."
            .to_owned(),
    )
}

pub(super) fn special_as_new_name(word: &str) -> Refusal {
    no("42939", format!("{word} cannot be used as a role name here"))
}

pub(super) fn special_in_drop_role() -> Refusal {
    no("22023", "cannot use special role specifier in DROP ROLE".to_owned())
}

pub(super) fn role_exists(name: &RoleName) -> Refusal {
    no("42710", format!("a role/user named {name} already exists"))
}

pub(super) fn redundant_options() -> Refusal {
    no("42601", "redundant role options".to_owned())
}

pub(super) fn conflicting_options() -> Refusal {
    no("42601", "conflicting role options".to_owned())
}

pub(super) fn admin_is_not_edited() -> Refusal {
    no("42501", "cannot edit admin role".to_owned())
}

pub(super) fn superusers_drop_superusers() -> Refusal {
    no("42501", "must be superuser to drop superusers".to_owned())
}

pub(super) fn grants_still_exist(names: &[RoleName], on: &[String]) -> Refusal {
    let (s, list) = match names {
        [one] => ("", one.to_string()),
        several => ("s", several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    no("2BP01", format!("cannot drop role{s}/user{s} {list}: grants still exist on {}", on.join(", ")))
}

pub(super) fn objects_depend(name: &RoleName, lines: &[String]) -> Refusal {
    let mut text = format!("role {name} cannot be dropped because some objects depend on it");
    for line in lines {
        text.push('\n');
        text.push_str(line);
    }
    no("2BP01", text)
}

pub(super) fn special_role(name: &RoleName) -> Refusal {
    match name.as_str() {
        "root" => no("22023", "cannot drop special user root".to_owned()),
        other => no("22023", format!("cannot drop special role {other}")),
    }
}

// Memberships.

pub(super) fn not_role_admin(user: &RoleName, role: &RoleName) -> Refusal {
    if role.as_str() == "admin" {
        return no("42501", format!("{user} is not a role admin for role admin"));
    }
    no("42501", format!("{user} is not a superuser or role admin for role {role}"))
}

pub(super) fn self_member(role: &RoleName) -> Refusal {
    no("0LP01", format!("{role} cannot be a member of itself"))
}

pub(super) fn cycle(member: &RoleName, role: &RoleName) -> Refusal {
    no("0LP01", format!("making {member} a member of {role} would create a cycle"))
}

pub(super) fn root_stays_admin() -> Refusal {
    no("55006", "role/user root cannot be removed from role admin or lose the ADMIN OPTION".to_owned())
}

// Grants.

pub(super) fn invalid_privilege(privilege: Privilege, kind: ObjectKind) -> Refusal {
    let class = match kind {
        ObjectKind::Cluster => "global",
        ObjectKind::Table => "table",
        other => relation_word(other),
    };
    no("0LP01", format!("invalid privilege type {privilege} for {class}"))
}

pub(super) fn no_options_for_public() -> Refusal {
    no("0LP01", "grant options cannot be granted to \"public\" role".to_owned())
}

pub(super) fn system_object(verb: &str) -> Refusal {
    no("42501", format!("cannot {verb} on system object"))
}

pub(super) fn no_grant_option(code: &str, user: &RoleName, list: &[Privilege]) -> Refusal {
    let words: Vec<_> = list.iter().map(ToString::to_string).collect();
    let which = match words.as_slice() {
        [one] => one.clone(),
        several => format!("one or more of {}", several.join(", ")),
    };
    no(code, format!("user {user} missing WITH GRANT OPTION privilege on {which}"))
}

pub(super) fn superuser_must_have_all(user: &str, kind: ObjectKind, name: &str) -> Refusal {
    no("0LP01", format!("user {user} must have exactly ALL privileges on {} \"{name}\"", plain_word(kind)))
}

pub(super) fn superuser_has_nothing(user: &str, kind: ObjectKind, name: &str) -> Refusal {
    no("0LP01", format!("user {user} does not have privileges over {} \"{name}\"", plain_word(kind)))
}

fn plain_word(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Table => "table",
        other => relation_word(other),
    }
}

pub(super) fn no_objects_matched() -> Refusal {
    no("42704", "no objects matched".to_owned())
}

// Objects.

pub(super) fn no_database() -> Refusal {
    hinted(
        no("42602", "no database specified".to_owned()),
        "Choose one with USE, or write the database before the name.".to_owned(),
    )
}

pub(super) fn no_schema_selected() -> Refusal {
    hinted(
        no("3F000", "no schema has been selected to create in".to_owned()),
        "Write the schema before the name, or set search_path.".to_owned(),
    )
}

pub(super) fn unknown_database(name: &str) -> Refusal {
    no("3D000", format!("database \"{name}\" does not exist"))
}

pub(super) fn unknown_schema(name: &str) -> Refusal {
    no("3F000", format!("unknown schema \"{name}\""))
}

pub(super) fn unknown_relation(name: &str) -> Refusal {
    no("42P01", format!("relation \"{name}\" does not exist"))
}

pub(super) fn may_not_create_database() -> Refusal {
    no("42501", "permission denied to create database".to_owned())
}

pub(super) fn database_exists(name: &str) -> Refusal {
    no("42P04", format!("database \"{name}\" already exists"))
}

pub(super) fn schema_exists(name: &str) -> Refusal {
    no("42P06", format!("schema \"{name}\" already exists"))
}

pub(super) fn schema_name_is_reserved(name: &str) -> Refusal {
    let detail = "The prefix \"pg_\" is reserved for system schemas.".to_owned();
    Refusal { detail: Some(detail), ..no("42939", format!("unacceptable schema name \"{name}\"")) }
}

pub(super) fn relation_exists(name: &str) -> Refusal {
    no("42P07", format!("relation \"{name}\" already exists"))
}

/// The notice of IF NOT EXISTS: the refusal that it stands for, and `, skipping`.
pub(super) fn skipping(refusal: &Refusal) -> Refusal {
    no("00000", format!("{}, skipping", refusal.message))
}

pub(super) fn database_not_empty(name: &str) -> Refusal {
    no("2BP01", format!("database \"{name}\" is not empty and RESTRICT was specified"))
}

pub(super) fn schema_not_empty(name: &str) -> Refusal {
    no("2BP01", format!("schema \"{name}\" is not empty and CASCADE was not specified"))
}

pub(super) fn schema_is_not_dropped(name: &str) -> Refusal {
    no("3F000", format!("cannot drop schema \"{name}\""))
}

pub(super) fn may_not_drop_schema(name: &str) -> Refusal {
    no("42501", format!("permission denied to drop schema \"{name}\""))
}

pub(super) fn may_not_reassign(hint: &str) -> Refusal {
    hinted(no("42501", "permission denied to reassign objects".to_owned()), hint.to_owned())
}
