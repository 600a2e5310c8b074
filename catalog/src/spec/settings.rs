//! ALTER ROLE … SET, and cluster settings.

use crate::command::{Actor, RoleSpec, VariableChange};
use crate::id::{ObjectId, PrincipalId};
use crate::name::Name;
use crate::privilege::Privilege;
use crate::refusal::Refusal;
use crate::role::RoleOption;
use crate::setting::Setting;
use crate::spec::{Model, ModelRoleSetting, Told, say};

impl Model {
    pub(super) fn alter_role_settings(
        &mut self,
        actor: Actor,
        role: Option<&RoleSpec>,
        if_exists: bool,
        database: Option<&Name>,
        change: &VariableChange,
    ) -> Result<Told, Refusal> {
        match role {
            None if !self.is_admin(actor.current) => return Err(say::admin_only("ALTER ROLE ALL ... SET")),
            None => {}
            Some(_) => self.check_option(actor.current, RoleOption::CreateRole)?,
        }
        let database = match database {
            Some(name) => self.database(name)?,
            None => ObjectId::CLUSTER,
        };
        let target = match role.map(|role| self.grantee(actor, role)) {
            None => PrincipalId::EVERYBODY,
            Some(Ok(PrincipalId::ADMIN)) => return Err(say::admin_is_not_edited()),
            Some(Ok(PrincipalId::ROOT)) => return Err(say::not_edited("root user")),
            Some(Ok(PrincipalId::PUBLIC)) => return Err(say::not_edited("public role")),
            Some(Ok(target)) => target,
            Some(Err(_)) if if_exists => return Ok(Told::default()),
            Some(Err(refusal)) => return Err(refusal),
        };
        if self.is_admin(target) && !self.is_admin(actor.current) {
            return Err(say::admin_only("ALTER ROLE admin"));
        }
        let here = |known: &ModelRoleSetting| known.database == database && known.role == target;
        match change {
            VariableChange::Set(name, value) => {
                self.role_settings.retain(|known| !here(known) || known.name != *name);
                self.role_settings.push(ModelRoleSetting {
                    database,
                    role: target,
                    name: name.clone(),
                    value: value.clone(),
                });
            }
            VariableChange::Reset(name) => {
                self.role_settings.retain(|known| !here(known) || known.name != *name);
            }
            VariableChange::ResetAll => self.role_settings.retain(|known| !here(known)),
        }
        self.role_settings.sort_by(|a, b| (a.database, a.role, &a.name).cmp(&(b.database, b.role, &b.name)));
        Ok(Told::default())
    }

    pub(super) fn set_cluster_setting(
        &mut self,
        actor: Actor,
        setting: Setting,
        value: Option<&str>,
    ) -> Result<Told, Refusal> {
        let row = setting.row();
        let sql = row.name.starts_with("sql.defaults.");
        let may_sql = sql && self.holds(actor.current, ObjectId::CLUSTER, Privilege::ModifySqlClusterSetting);
        let admins_only = say::admin_only(&format!("set cluster setting '{}'", row.name));
        if !self.is_admin(actor.current) && !may_sql {
            if row.admin_only {
                return Err(admins_only);
            }
            if !self.has_system_or_option(actor.current, Privilege::ModifyClusterSetting) {
                return Err(say::may_not_set(row.name));
            }
            if !sql && !self.is_on(Setting::ModifyAppliesToAll) {
                return Err(admins_only);
            }
        }
        let stored = match value {
            Some(value) => match row.setting_type.canonical(value) {
                Some(stored) => Some(stored),
                None => return Err(say::not_a_value(row, value)),
            },
            None => None,
        };
        self.settings.retain(|(known, _)| *known != setting);
        self.settings.extend(stored.map(|value| (setting, value)));
        self.settings.sort();
        Ok(Told::default())
    }

    /// The value of a setting that is `true` or `false`.
    pub(super) fn is_on(&self, setting: Setting) -> bool {
        let set = self.settings.iter().find(|(known, _)| *known == setting).map(|(_, value)| value.as_str());
        set.unwrap_or(setting.row().default) == "true"
    }
}
