//! Cluster settings: who may set and see them, and what they are. Source: authorization spec, A.5.5.

use crate::id::{ObjectId, PrincipalId};
use crate::privilege::Privilege;
use crate::refusal::{self, Refusal};
use crate::require::Need;
use crate::setting::{Setting, SettingValue};
use crate::state::{State, Work};

impl State {
    /// The value of a cluster setting, for use. One that this release does not take is its default.
    pub fn setting_value(&self, setting: Setting) -> SettingValue<'_> {
        let row = setting.row();
        let of = |text| row.setting_type.value(text);
        of(self.setting(setting)).or_else(|| of(row.default)).expect("defaults are legal, as a test shows")
    }

    /// Whether a setting that is `true` or `false` is `true`.
    pub fn setting_is_on(&self, setting: Setting) -> bool {
        self.setting_value(setting) == SettingValue::Bool(true)
    }

    /// Whether `principal` may SET or RESET a cluster setting; if not, what the client is told.
    ///
    /// The page's promise of MODIFYSQLCLUSTERSETTING is kept: it is enough for `sql.defaults.…`.
    pub fn may_set(&self, principal: PrincipalId, setting: Setting) -> Result<(), Refusal> {
        if self.index.is_admin(principal) {
            return Ok(());
        }
        let sql_default = setting.is_sql_default();
        if setting.row().admin_only {
            return Err(refusal::admin_only(&format!("set cluster setting '{setting}'")));
        }
        if sql_default && self.index.holds(principal, ObjectId::CLUSTER, Privilege::ModifySqlClusterSetting) {
            return Ok(());
        }
        if !self.has_system_or_option(principal, Privilege::ModifyClusterSetting) {
            return Err(refusal::may_not_set(setting));
        }
        if !sql_default && !self.setting_is_on(Setting::ModifyAppliesToAll) {
            return Err(refusal::admin_only(&format!("set cluster setting '{setting}'")));
        }
        Ok(())
    }

    /// Whether `principal` may SHOW one cluster setting; if not, what the client is told.
    pub fn may_show(&self, principal: PrincipalId, setting: Setting) -> Result<(), Refusal> {
        if self.sees_settings(principal) { Ok(()) } else { Err(refusal::may_not_show(setting)) }
    }

    /// Whether `principal` may SHOW CLUSTER SETTINGS and read `crdb_internal.cluster_settings`; if not, what the client
    /// is told.
    pub fn may_show_all(&self, principal: PrincipalId) -> Result<(), Refusal> {
        if self.sees_settings(principal) { Ok(()) } else { Err(refusal::may_not_show_settings()) }
    }

    /// MODIFYSQLCLUSTERSETTING shows all of them too, though it changes some only (A.6).
    fn sees_settings(&self, principal: PrincipalId) -> bool {
        self.has_system_or_option(principal, Privilege::ModifyClusterSetting)
            || self.has_system_or_option(principal, Privilege::ViewClusterSetting)
            || self.index.holds(principal, ObjectId::CLUSTER, Privilege::ModifySqlClusterSetting)
    }

    /// Whether `principal` holds a system privilege, or has the role option of the same name. Either is enough, and
    /// neither takes the other away. Source: authorization spec, A.4 (HasGlobalPrivilegeOrRoleOption) and C.4.
    pub fn has_system_or_option(&self, principal: PrincipalId, privilege: Privilege) -> bool {
        self.check(principal, &Need::SystemOrOption(privilege)).is_ok()
    }
}

impl Work<'_> {
    pub(super) fn set_cluster_setting(
        &mut self,
        setting: Setting,
        value: Option<&str>,
    ) -> Result<(), Refusal> {
        self.state.may_set(self.actor.current, setting)?;
        let canonical = |value: &str| {
            setting.row().setting_type.canonical(value).ok_or_else(|| refusal::setting_value(setting, value))
        };
        let value = value.map(canonical).transpose()?;
        self.put_setting(setting, value);
        Ok(())
    }
}
