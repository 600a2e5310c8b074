//! The table of texts, second part: passwords, sessions, cluster settings, variables of roles, default privileges.
//!
//! Arguments are names, already normalized. Source: authorization spec, sections A.5, C.2, G.3, H.8.

use crate::name::{Name, RoleName};
use crate::refusal::{Refusal, state};
use crate::setting::Setting;

// Passwords.

/// A password of no character.
pub fn empty_password() -> Refusal {
    Refusal::new(state::INVALID_PASSWORD, "empty passwords are not permitted")
}

/// A password of fewer characters than the cluster asks for.
pub fn password_too_short(least: usize) -> Refusal {
    Refusal::new(state::INVALID_PASSWORD, "password too short")
        .with_hint(format!("Passwords must be {least} characters or longer."))
}

/// A hash that this server cannot check passwords against.
pub fn hash_scheme(scheme: &str) -> Refusal {
    Refusal::new(state::FEATURE_NOT_SUPPORTED, format!("hash scheme \"{scheme}\" is not supported"))
}

// Sessions.

/// SET ROLE to what is no principal.
pub fn no_such_role_to_set(name: &RoleName) -> Refusal {
    Refusal::new(state::INVALID_PARAMETER_VALUE, format!("role {name} does not exist"))
}

/// SET ROLE root by anybody else.
pub fn only_root_becomes_root() -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, "only root can become root")
}

/// SET ROLE by who is neither an admin nor a member.
pub fn may_not_set_role(name: &RoleName) -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, format!("permission denied to set role \"{name}\""))
}

/// Statistics of the statements of others.
pub fn lacks_activity(user: &RoleName) -> Refusal {
    Refusal::new(
        state::INSUFFICIENT_PRIVILEGE,
        format!("user {user} does not have VIEWACTIVITY or VIEWACTIVITYREDACTED privilege"),
    )
}

/// A question about another's privileges.
pub fn may_not_ask(user: &RoleName) -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, format!("user {user} may not ask what others may do"))
        .with_hint("Whoever holds the system privilege VIEWACTIVITY or VIEWACTIVITYREDACTED may.")
}

/// CANCEL of what is another's.
pub fn needs_cancel_query() -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, "this operation requires CANCELQUERY privilege")
}

/// CANCEL of what is an admin's.
pub fn may_not_cancel_admin() -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, "permission denied to cancel admin session")
}

// Cluster settings, and variables of roles.

/// No such cluster setting.
pub fn no_such_setting(name: &str) -> Refusal {
    Refusal::new(state::UNDEFINED_OBJECT, format!("unknown cluster setting '{name}'"))
}

/// SET or RESET CLUSTER SETTING by who holds nothing that allows it.
pub fn may_not_set(setting: Setting) -> Refusal {
    Refusal::new(
        state::INSUFFICIENT_PRIVILEGE,
        format!(
            "only users with the MODIFYCLUSTERSETTING privilege are allowed to set cluster setting '{setting}'"
        ),
    )
}

/// SHOW CLUSTER SETTING.
pub fn may_not_show(setting: Setting) -> Refusal {
    may_not_view_settings(&format!("show cluster setting '{setting}'"))
}

/// SHOW CLUSTER SETTINGS.
pub fn may_not_show_settings() -> Refusal {
    may_not_view_settings("read crdb_internal.cluster_settings")
}

fn may_not_view_settings(action: &str) -> Refusal {
    let who = "users with either MODIFYCLUSTERSETTING or VIEWCLUSTERSETTING privileges";
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, format!("only {who} are allowed to {action}"))
}

/// A value that the setting does not take. A long one is not repeated.
pub fn setting_value(setting: Setting, value: &str) -> Refusal {
    let most = setting.row().setting_type.bytes_max();
    if value.len() > most {
        return Refusal::new(
            state::PROGRAM_LIMIT_EXCEEDED,
            format!("the value of cluster setting '{setting}' is longer than {most} bytes"),
        );
    }
    Refusal::new(
        state::INVALID_PARAMETER_VALUE,
        format!("invalid value for cluster setting '{setting}': \"{value}\""),
    )
    .with_hint(format!("It takes {}.", setting.row().setting_type))
}

/// A variable of a role whose name or value is too long, or whose name is empty.
pub fn variable_too_long(most: usize) -> Refusal {
    Refusal::new(
        state::PROGRAM_LIMIT_EXCEEDED,
        format!("the name of a variable, and its value, have at most {most} bytes, and a name has one"),
    )
}

/// One variable more than a role may have.
pub fn too_many_variables(most: usize) -> Refusal {
    Refusal::new(
        state::PROGRAM_LIMIT_EXCEEDED,
        format!("a role has at most {most} variables in one database"),
    )
    .with_hint("RESET those that are not needed.")
}

/// ALTER ROLE root SET.
pub fn root_is_fixed() -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, "cannot edit root user")
}

/// ALTER ROLE public SET.
pub fn public_is_fixed() -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, "cannot edit public role")
}

// Default privileges.

/// ALTER DEFAULT PRIVILEGES FOR ROLE by somebody who is not a member of it, were it an admin.
pub fn not_member_for_defaults(role: &RoleName) -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, format!("must be a member of {role}"))
}

/// ON SCHEMAS and IN SCHEMA together.
pub fn schemas_in_schema() -> Refusal {
    Refusal::new(
        state::INVALID_GRANT_OPERATION,
        "cannot use IN SCHEMA clause when using GRANT/REVOKE ON SCHEMAS",
    )
}

/// A schema that is computed, where only one that is stored may stand.
pub fn not_a_physical_schema(schema: &Name) -> Refusal {
    Refusal::new(state::UNDEFINED_SCHEMA, format!("{schema} is not a physical schema"))
}

/// Default privileges of the database `system`. The text is ours: that of the original is not known.
pub fn defaults_of_system_database() -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, "cannot alter default privileges of the system database")
}

/// More entries in one statement than the catalog changes at once.
pub fn too_many_defaults(count: usize, most: usize) -> Refusal {
    Refusal::new(
        state::PROGRAM_LIMIT_EXCEEDED,
        format!("the statement changes {count} default privileges; at most {most} are allowed"),
    )
    .with_hint("Split it into several statements.")
}
