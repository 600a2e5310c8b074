//! The table of texts: one constructor for each "no".
//!
//! Arguments are names, already normalized. Source: authorization spec, sections A.4, B.3, B.5, C.2, D, E.9, F, L, M.

use std::fmt::Display;

use crate::id::{ObjectId, PrincipalId};
use crate::name::{Name, RoleName};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{Refusal, state};

/// What a name of a new role must look like.
const ROLE_NAME_HINT: &str = "Usernames are case insensitive, must start with a letter, digit or underscore, may \
                              contain letters, digits, dashes, periods, or underscores, and must not exceed 63 \
                              characters.";

// What is not held.

/// `user` lacks `privilege` on the object of this kind and unqualified name.
///
/// On the cluster the text is that of later releases (spec M): v22.2 prints an empty name.
pub fn lacks_privilege(user: &RoleName, privilege: Privilege, kind: ObjectKind, object: &Name) -> Refusal {
    let word = privilege.word();
    let message = match kind {
        ObjectKind::Cluster => format!("user {user} does not have {word} system privilege"),
        _ => format!("user {user} does not have {word} privilege on {} {object}", kind.denied_word()),
    };
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, message)
}

/// `user` holds none of `privileges` on the object.
pub fn lacks_all_of(user: &RoleName, privileges: &[Privilege], kind: ObjectKind, object: &Name) -> Refusal {
    let words: Vec<_> = privileges.iter().map(|privilege| privilege.word()).collect();
    let (words, kind) = (words.join(" or "), kind.denied_word());
    let message = format!("user {user} does not have {words} privilege on {kind} {object}");
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, message)
}

/// `user` holds nothing at all on the object.
pub fn lacks_any_privilege(user: &RoleName, kind: ObjectKind, object: &Name) -> Refusal {
    let message = match kind {
        ObjectKind::Cluster => format!("user {user} has no system privileges"),
        _ => format!("user {user} has no privileges on {} {object}", kind.denied_word()),
    };
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, message)
}

/// `user` lacks a role option, or a system privilege that an option of the same name could stand for.
pub fn lacks_option(user: &RoleName, word: &str) -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, format!("user {user} does not have {word} privilege"))
}

/// A system privilege is missing where no option could stand for it.
pub fn lacks_system_privilege(user: &RoleName, privilege: Privilege) -> Refusal {
    Refusal::new(
        state::INSUFFICIENT_PRIVILEGE,
        format!("user {user} does not have {privilege} system privilege"),
    )
}

/// Only members of `admin` may; `action` ends the sentence.
pub fn admin_only(action: &str) -> Refusal {
    Refusal::new(
        state::INSUFFICIENT_PRIVILEGE,
        format!("only users with the admin role are allowed to {action}"),
    )
}

/// Not the owner. The name of a schema is quoted, that of other kinds is not, as in the original.
pub fn not_owner(kind: ObjectKind, object: &Name) -> Refusal {
    let message = match kind {
        ObjectKind::Schema => format!("must be owner of schema \"{object}\""),
        _ => format!("must be owner of {} {object}", kind.class_word()),
    };
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, message)
}

/// Not a member of the role that is to own the object.
pub fn not_member(role: &RoleName) -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, format!("must be member of role \"{role}\""))
}

/// No CREATEDB.
pub fn may_not_create_database() -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, "permission denied to create database")
}

/// Neither owner nor admin.
pub fn may_not_drop_schema(schema: &Name) -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, format!("permission denied to drop schema \"{schema}\""))
}

/// REASSIGN OWNED by somebody who is not the new owner or a member of it.
pub fn may_not_reassign_to() -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, "permission denied to reassign objects")
        .with_hint("user must be a member of the new role")
}

/// REASSIGN OWNED by somebody who is not one of the old owners or a member of it.
pub fn may_not_reassign_from() -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, "permission denied to reassign objects")
        .with_hint("user must be a member of the old roles")
}

/// What was decided upon is gone: it was dropped between planning and applying.
pub fn object_gone(object: ObjectId) -> Refusal {
    Refusal::new(state::UNDEFINED_OBJECT, format!("object {object} was concurrently dropped"))
        .with_hint("Run the statement again.")
}

/// A protection of the change history says too much.
pub fn protection_too_large(what: &str) -> Refusal {
    Refusal::new(
        state::PROGRAM_LIMIT_EXCEEDED,
        format!("a protection of the change history cannot have {what}"),
    )
}

/// There are as many protections of the change history as there may be.
pub fn too_many_protections(most: usize) -> Refusal {
    Refusal::new(
        state::PROGRAM_LIMIT_EXCEEDED,
        format!("the change history has {most} protections, and can have no more"),
    )
    .with_hint("crdb_internal.kv_protected_ts_records lists them with who holds them.")
}

/// Who acts was dropped while its session was open.
pub fn principal_gone(principal: PrincipalId) -> Refusal {
    Refusal::new(state::UNDEFINED_OBJECT, format!("role with id {principal} was concurrently dropped"))
        .with_hint("Log in again as another role.")
}

// Log in.

/// NOLOGIN, NOSQLLOGIN, or the system privilege of that name.
pub fn may_not_log_in(user: &RoleName) -> Refusal {
    Refusal::new(state::INVALID_AUTHORIZATION, format!("{user} does not have login privilege"))
}

/// Unknown user or wrong password: on purpose the same.
pub fn authentication_failed(user: &RoleName) -> Refusal {
    Refusal::new(state::INVALID_PASSWORD, format!("password authentication failed for user {user}"))
}

// Names of principals.

/// No such principal.
pub fn no_such_role(name: &RoleName) -> Refusal {
    Refusal::new(state::UNDEFINED_OBJECT, format!("role/user \"{name}\" does not exist"))
}

/// No such principal, and the name is the word of a role option.
pub fn no_such_role_but_option(name: &RoleName) -> Refusal {
    let word = name.as_str().to_uppercase();
    no_such_role(name)
        .with_hint(format!("{word} is a role option, try using ALTER ROLE to change a role's options."))
}

/// The name is taken.
pub fn role_exists(name: &RoleName) -> Refusal {
    Refusal::new(state::DUPLICATE_OBJECT, format!("a role/user named {name} already exists"))
}

/// The name is kept for the system.
pub fn role_name_reserved(name: &RoleName) -> Refusal {
    Refusal::new(state::RESERVED_NAME, format!("role name \"{name}\" is reserved"))
}

/// A character that may not stand there.
pub fn role_name_invalid(name: &RoleName) -> Refusal {
    Refusal::new(state::INVALID_NAME, format!("\"{name}\": username is invalid")).with_hint(ROLE_NAME_HINT)
}

/// More than 63 bytes.
pub fn role_name_too_long(name: &RoleName) -> Refusal {
    Refusal::new(state::INVALID_NAME, format!("\"{name}\": username is too long")).with_hint(ROLE_NAME_HINT)
}

/// Nothing at all.
pub fn role_name_empty() -> Refusal {
    Refusal::new(state::INVALID_NAME, "\"\": username is empty").with_hint(ROLE_NAME_HINT)
}

/// CURRENT_USER or SESSION_USER as the name of a new role; `word` is the keyword.
pub fn special_as_new_role(word: &str) -> Refusal {
    Refusal::new(state::RESERVED_NAME, format!("{word} cannot be used as a role name here"))
}

/// CURRENT_USER or SESSION_USER in DROP ROLE.
pub fn special_in_drop_role() -> Refusal {
    Refusal::new(state::INVALID_PARAMETER_VALUE, "cannot use special role specifier in DROP ROLE")
}

// Role options and role statements.

/// Both words of a pair.
pub fn conflicting_options() -> Refusal {
    Refusal::new(state::SYNTAX_ERROR, "conflicting role options")
}

/// The same word twice.
pub fn redundant_options() -> Refusal {
    Refusal::new(state::SYNTAX_ERROR, "redundant role options")
}

/// ALTER ROLE admin.
pub fn admin_is_fixed() -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, "cannot edit admin role")
}

/// DROP ROLE of a member of `admin` by somebody who is not.
pub fn may_not_drop_admins() -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, "must be superuser to drop superusers")
}

/// DROP ROLE of roles that hold grants: `names` as the statement lists them, `objects` fully qualified.
pub fn grants_still_exist(names: &[RoleName], objects: &[String]) -> Refusal {
    let (roles, users) = match names.len() {
        1 => ("role", "user"),
        _ => ("roles", "users"),
    };
    Refusal::new(
        state::DEPENDENT_OBJECTS,
        format!(
            "cannot drop {roles}/{users} {}: grants still exist on {}",
            joined(names),
            objects.join(", ")
        ),
    )
}

/// DROP ROLE of a role that owns objects, holds system privileges, or has to do with default privileges; one line for
/// each dependency, and a statement for each of the last kind.
pub fn role_has_dependents(name: &RoleName, lines: &[String], hints: &[String]) -> Refusal {
    let mut message = format!("role {name} cannot be dropped because some objects depend on it");
    for line in lines {
        message.push('\n');
        message.push_str(line);
    }
    let refusal = Refusal::new(state::DEPENDENT_OBJECTS, message);
    if hints.is_empty() { refusal } else { refusal.with_hint(hints.join("\n")) }
}

/// DROP ROLE admin, should nothing else have refused it.
pub fn special_role(name: &RoleName) -> Refusal {
    Refusal::new(state::INVALID_PARAMETER_VALUE, format!("cannot drop special role {name}"))
}

/// DROP ROLE root, should nothing else have refused it.
pub fn special_user(name: &RoleName) -> Refusal {
    Refusal::new(state::INVALID_PARAMETER_VALUE, format!("cannot drop special user {name}"))
}

// Membership.

/// GRANT or REVOKE of a role by somebody who does not administer it. `admin` has a text of its own.
pub fn not_role_admin(user: &RoleName, role: &RoleName, of_admin: bool) -> Refusal {
    let what = if of_admin { "a role admin" } else { "a superuser or role admin" };
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, format!("{user} is not {what} for role {role}"))
}

/// A role in itself.
pub fn member_of_itself(role: &RoleName) -> Refusal {
    Refusal::new(state::INVALID_GRANT_OPERATION, format!("{role} cannot be a member of itself"))
}

/// A role in its own member.
pub fn membership_cycle(role: &RoleName, member: &RoleName) -> Refusal {
    Refusal::new(
        state::INVALID_GRANT_OPERATION,
        format!("making {member} a member of {role} would create a cycle"),
    )
}

/// REVOKE admin FROM root, in either form.
pub fn root_stays_admin() -> Refusal {
    Refusal::new(
        state::OBJECT_IN_USE,
        "role/user root cannot be removed from role admin or lose the ADMIN OPTION",
    )
}

// GRANT and REVOKE of privileges.

/// Which of the two statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantOrRevoke {
    /// GRANT.
    Grant,
    /// REVOKE.
    Revoke,
}

impl GrantOrRevoke {
    const fn word(self) -> &'static str {
        match self {
            Self::Grant => "GRANT",
            Self::Revoke => "REVOKE",
        }
    }
}

/// A privilege that this kind of object does not have.
pub fn privilege_not_for(privilege: Privilege, kind: ObjectKind) -> Refusal {
    Refusal::new(
        state::INVALID_GRANT_OPERATION,
        format!("invalid privilege type {} for {}", privilege.word(), kind.class_word()),
    )
}

/// WITH GRANT OPTION to `public`.
pub fn no_grant_option_to_public() -> Refusal {
    Refusal::new(state::INVALID_GRANT_OPERATION, "grant options cannot be granted to \"public\" role")
}

/// No grant option for the listed privileges. An error, though its SQLSTATE is of the warning class (T-1).
pub fn lacks_grant_option(user: &RoleName, listed: &[Privilege], statement: GrantOrRevoke) -> Refusal {
    let words: Vec<_> = listed.iter().map(|privilege| privilege.word()).collect();
    let which = match words.as_slice() {
        [one] => (*one).to_owned(),
        several => format!("one or more of {}", several.join(", ")),
    };
    let code = match statement {
        GrantOrRevoke::Grant => state::NO_GRANT_OPTION,
        GrantOrRevoke::Revoke => state::NO_GRANT_OPTION_TO_REVOKE,
    };
    Refusal::new(code, format!("user {user} missing WITH GRANT OPTION privilege on {which}"))
}

/// GRANT or REVOKE on what belongs to the database `system`.
pub fn system_object(statement: GrantOrRevoke) -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, format!("cannot {} on system object", statement.word()))
}

/// A REVOKE that would leave root or admin with less than ALL, or a GRANT with more. The original sends no
/// SQLSTATE; ours is 0LP01 (spec M).
pub fn superuser_needs_all(user: &RoleName, kind: ObjectKind, object: &Name) -> Refusal {
    Refusal::new(
        state::INVALID_GRANT_OPERATION,
        format!("user {user} must have exactly ALL privileges on {} \"{object}\"", kind.class_word()),
    )
}

/// A REVOKE that would leave root or admin with nothing.
pub fn superuser_without_entry(user: &RoleName, kind: ObjectKind, object: &Name) -> Refusal {
    Refusal::new(
        state::INVALID_GRANT_OPERATION,
        format!("user {user} does not have privileges over {} \"{object}\"", kind.class_word()),
    )
}

/// A pattern that stands for nothing.
pub fn nothing_matched() -> Refusal {
    Refusal::new(state::UNDEFINED_OBJECT, "no objects matched")
}

// Names of objects.

/// A name without a database while no current one is set.
pub fn no_database() -> Refusal {
    Refusal::new(state::INVALID_NAME, "no database specified")
        .with_hint("Choose one with USE, or write the database before the name.")
}

/// No schema of the search path exists, so nothing can be made in it.
pub fn no_schema_selected() -> Refusal {
    Refusal::new(state::UNDEFINED_SCHEMA, "no schema has been selected to create in")
        .with_hint("Write the schema before the name, or set search_path.")
}

/// No such database.
pub fn no_such_database(name: &Name) -> Refusal {
    Refusal::new(state::UNDEFINED_DATABASE, format!("database \"{name}\" does not exist"))
}

/// No such schema.
pub fn no_such_schema(name: &Name) -> Refusal {
    Refusal::new(state::UNDEFINED_SCHEMA, format!("unknown schema \"{name}\""))
}

/// No such table; `name` as it was written.
pub fn no_such_relation(name: &impl Display) -> Refusal {
    Refusal::new(state::UNDEFINED_TABLE, format!("relation \"{name}\" does not exist"))
}

/// No such type.
pub fn no_such_type(name: &impl Display) -> Refusal {
    Refusal::new(state::UNDEFINED_OBJECT, format!("type \"{name}\" does not exist"))
}

/// No function of this name, or none with these arguments.
pub fn no_such_function(signature: &impl Display) -> Refusal {
    Refusal::new(state::UNDEFINED_FUNCTION, format!("unknown function: {signature}"))
}

/// Several functions of this name, and no argument types to tell them apart.
pub fn ambiguous_function(name: &impl Display) -> Refusal {
    Refusal::new(state::AMBIGUOUS_FUNCTION, format!("function name \"{name}\" is not unique"))
        .with_hint("Write the types of its arguments: f(INT8, TEXT).")
}

/// No such external connection.
pub fn no_such_external_connection(name: &Name) -> Refusal {
    Refusal::new(
        state::UNDEFINED_OBJECT,
        format!("failed to resolve External Connection: external connection with name {name} does not exist"),
    )
}

/// The relation is of another kind than the statement is for.
pub fn wrong_object_kind(name: &Name, word: &str) -> Refusal {
    let article = if word.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    Refusal::new(state::WRONG_OBJECT_TYPE, format!("\"{name}\" is not {article} {word}"))
}

/// The name is taken.
pub fn database_exists(name: &Name) -> Refusal {
    Refusal::new(state::DUPLICATE_DATABASE, format!("database \"{name}\" already exists"))
}

/// The name is taken.
pub fn schema_exists(name: &Name) -> Refusal {
    Refusal::new(state::DUPLICATE_SCHEMA, format!("schema \"{name}\" already exists"))
}

/// The name is taken. As the original, the refusal names it in full and the notice does not.
pub fn relation_exists(name: &str) -> Refusal {
    Refusal::new(state::DUPLICATE_RELATION, format!("relation \"{name}\" already exists"))
}

/// The notice of IF NOT EXISTS: what `taken` says, and that nothing was done.
pub fn skipped(taken: &Refusal) -> Refusal {
    Refusal::new(state::SUCCESSFUL_COMPLETION, format!("{}, skipping", taken.message))
}

/// A schema name that is kept for the system.
pub fn schema_name_reserved(name: &Name) -> Refusal {
    Refusal::new(state::RESERVED_NAME, format!("unacceptable schema name \"{name}\""))
        .with_detail("The prefix \"pg_\" is reserved for system schemas.")
}

/// `public` stays.
pub fn schema_stays(name: &Name) -> Refusal {
    Refusal::new(state::UNDEFINED_SCHEMA, format!("cannot drop schema \"{name}\""))
}

/// DROP SCHEMA without CASCADE.
pub fn schema_not_empty(name: &Name) -> Refusal {
    Refusal::new(
        state::DEPENDENT_OBJECTS,
        format!("schema \"{name}\" is not empty and CASCADE was not specified"),
    )
}

/// DROP DATABASE … RESTRICT.
pub fn database_not_empty(name: &Name) -> Refusal {
    Refusal::new(
        state::DEPENDENT_OBJECTS,
        format!("database \"{name}\" is not empty and RESTRICT was specified"),
    )
}

// Bounds and shapes.

/// A list that is longer than the catalog takes.
pub fn list_too_long(count: usize, most: usize) -> Refusal {
    Refusal::new(
        state::PROGRAM_LIMIT_EXCEEDED,
        format!("the statement lists {count} names; at most {most} are allowed"),
    )
    .with_hint("Split it into several statements.")
}

/// A name of more than 63 bytes.
pub fn name_too_long(name: &Name, most: usize) -> Refusal {
    Refusal::new(
        state::INVALID_NAME,
        format!("name \"{name}\" has {} bytes; at most {most} are allowed", name.as_str().len()),
    )
}

/// An empty name; `kind` says of what.
pub fn name_empty(kind: ObjectKind) -> Refusal {
    Refusal::new(state::SYNTAX_ERROR, format!("empty {} name", kind.class_word()))
}

/// A name of no part, or of more than three.
pub fn name_parts(count: usize) -> Refusal {
    Refusal::new(state::SYNTAX_ERROR, format!("a name has one to three parts, not {count}"))
}

/// Every id was used.
pub fn ids_exhausted(what: &str) -> Refusal {
    Refusal::new(state::PROGRAM_LIMIT_EXCEEDED, format!("no more {what} can be made: all ids were used"))
}

/// A table of no column.
pub fn no_columns() -> Refusal {
    Refusal::new(state::INVALID_TABLE_DEFINITION, "a table needs at least one column")
}

/// A table of too many columns.
pub fn too_many_columns(count: usize, most: usize) -> Refusal {
    Refusal::new(
        state::TOO_MANY_COLUMNS,
        format!("the table has {count} columns; at most {most} are allowed"),
    )
}

/// The same column twice.
pub fn duplicate_column(name: &Name) -> Refusal {
    Refusal::new(state::DUPLICATE_COLUMN, format!("duplicate column name: \"{name}\""))
}

/// The same constraint name twice.
pub fn duplicate_constraint(name: &Name) -> Refusal {
    Refusal::new(state::DUPLICATE_OBJECT, format!("duplicate constraint name: \"{name}\""))
}

/// A key without columns, with a column twice, or with one that the table does not have.
pub fn malformed_key() -> Refusal {
    Refusal::new(
        state::INVALID_TABLE_DEFINITION,
        "a key must name columns of the table, each once, and at least one",
    )
}

fn joined(names: &[RoleName]) -> String {
    names.iter().map(RoleName::as_str).collect::<Vec<_>>().join(", ")
}
