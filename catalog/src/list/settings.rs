//! Cluster settings, options and variables of roles as they are listed.

use crate::command::Actor;
use crate::id::{ObjectId, PrincipalId};
use crate::name::RoleName;
use crate::refusal::Refusal;
use crate::setting::Setting;
use crate::view::View;

/// A row of SHOW CLUSTER SETTINGS and `crdb_internal.cluster_settings`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the columns of SHOW CLUSTER SETTINGS; every setting is public")]
pub struct SettingRow {
    pub variable: &'static str,
    pub value: String,
    /// b, i, d, e or s.
    pub setting_type: &'static str,
    pub default: &'static str,
    pub description: &'static str,
}

/// A row of `system.role_options`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the columns of system.role_options")]
pub struct RoleOptionRow {
    pub username: RoleName,
    pub option: &'static str,
    pub value: Option<String>,
}

/// A row of `system.database_role_settings` and `pg_db_role_setting`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleSettingRow {
    /// The cluster, whose id is 0: in every database.
    pub database: ObjectId,
    /// None: of all roles, written as an empty name and as 0.
    pub role: Option<(PrincipalId, RoleName)>,
    /// `name=value`, sorted by name.
    pub settings: Vec<String>,
}

/// SHOW CLUSTER SETTINGS: by name. Errors: 42501.
pub fn cluster_settings(view: &View, actor: Actor) -> Result<Vec<SettingRow>, Refusal> {
    let state = view.state();
    state.may_show_all(actor.current)?;
    Ok(Setting::each()
        .map(|row| SettingRow {
            variable: row.name,
            value: state.setting(row.setting).to_owned(),
            setting_type: row.setting_type.letter(),
            default: row.default,
            description: row.description,
        })
        .collect())
}

/// `system.role_options`: by name and option.
pub fn role_options(view: &View) -> Vec<RoleOptionRow> {
    let rows = view.state().principals().flat_map(|(_, principal)| {
        principal.stored_options().into_iter().map(|(option, value)| RoleOptionRow {
            username: principal.name.clone(),
            option,
            value,
        })
    });
    rows.collect()
}

/// `system.database_role_settings`: by the ids of databases and roles.
pub fn role_settings(view: &View) -> Vec<RoleSettingRow> {
    let state = view.state();
    let rows = state.all_role_settings().map(|(database, role, held)| RoleSettingRow {
        database,
        role: Some(role)
            .filter(|role| *role != PrincipalId::EVERYBODY)
            .map(|role| (role, state.principal_name(role))),
        settings: held.variables.iter().map(|(name, value)| format!("{name}={value}")).collect(),
    });
    rows.collect()
}
