//! What SHOW lists: rows as values, sorted as CockroachDB v22.2.14 sorts them (spec D.5, H.1).
//!
//! Listings need no privilege on what they list, but on the database: without CONNECT its rows do not appear (H.7).

use std::collections::BTreeSet;

use crate::command::{Actor, RoleSpec};
use crate::id::PrincipalId;
use crate::name::RoleName;
use crate::refusal::Refusal;
use crate::view::View;

mod defaults;
mod grants;
mod objects;
mod settings;

pub use defaults::{
    DefaultAclRow, DefaultPrivilegeRow, DefaultsShown, HeldDefaultRow, LETTERS, acl_item, acl_items,
    default_acls, default_privileges, held_default_privileges,
};
pub use grants::{GrantRow, grants};
pub use objects::{
    DatabaseRow, ExternalConnectionRow, FunctionRow, IamRoleRow, SchemaRow, SequenceRow, TableRow, TypeRow,
    databases, external_connections, functions, iam_roles, schemas, sequences, tables, types,
};
pub use settings::{
    RoleOptionRow, RoleSettingRow, SettingRow, cluster_settings, role_options, role_settings,
};

/// A row of SHOW GRANTS ON ROLE.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW GRANTS ON ROLE")]
pub struct RoleGrantRow {
    pub role_name: RoleName,
    pub member: RoleName,
    pub is_admin: bool,
}

/// A row of SHOW ROLES.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW ROLES")]
pub struct RoleRow {
    pub username: RoleName,
    pub options: String,
    pub member_of: Vec<RoleName>,
}

/// SHOW GRANTS ON ROLE [roles] [FOR members]: stored edges. FOR lists also the edges through which a member belongs
/// indirectly. Unknown names list nothing and are no error.
pub fn role_grants(
    view: &View,
    actor: Actor,
    roles: &[RoleSpec],
    members: &[RoleSpec],
) -> Result<Vec<RoleGrantRow>, Refusal> {
    let state = view.state();
    let known = |specs: &[RoleSpec]| -> BTreeSet<_> {
        specs.iter().filter_map(|spec| state.resolve_role(actor, spec).ok()).collect()
    };
    let wanted_roles = known(roles);
    let wanted_members: BTreeSet<_> =
        known(members).iter().flat_map(|member| view.ancestors(*member).chain([*member])).collect();
    let mut rows: Vec<_> = state
        .memberships()
        .filter(|edge| roles.is_empty() || wanted_roles.contains(&edge.role))
        .filter(|edge| members.is_empty() || wanted_members.contains(&edge.member))
        .map(|edge| RoleGrantRow {
            role_name: state.principal_name(edge.role),
            member: state.principal_name(edge.member),
            is_admin: edge.admin_option,
        })
        .collect();
    rows.sort();
    Ok(rows)
}

/// SHOW ROLES. Who may is the caller's requirement.
pub fn roles(view: &View) -> Vec<RoleRow> {
    let state = view.state();
    let row = |(id, principal): (PrincipalId, &crate::role::Principal)| {
        let words: Vec<_> = principal.stored_options().into_iter().map(option_text).collect();
        let mut member_of: Vec<_> = state.roles_of(id).map(|(role, _)| state.principal_name(role)).collect();
        member_of.sort();
        RoleRow { username: principal.name.clone(), options: words.join(", "), member_of }
    };
    state.principals().map(row).collect()
}

/// An option as SHOW ROLES prints it.
fn option_text((name, value): (&'static str, Option<String>)) -> String {
    value.map_or_else(|| name.to_owned(), |value| format!("{name}={value}"))
}
