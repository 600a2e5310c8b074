//! ALTER ROLE … SET: what sessions of a role begin with. Source: authorization spec, A.5.2, A.5.4, B.4.

use std::collections::BTreeMap;

use crate::command::{RoleSpec, VariableChange};
use crate::id::{ObjectId, PrincipalId};
use crate::name::Name;
use crate::refusal::{self, Refusal};
use crate::role::{RoleOption, RoleSettings};
use crate::setting::{self, Setting};
use crate::state::{State, Work};

/// The most variables of one role in one database.
pub const VARIABLES_MAX: usize = 100;
/// The most bytes of the name of a variable, and of its value.
pub const VARIABLE_BYTES_MAX: usize = setting::TEXT_BYTES_MAX;

impl State {
    /// The variables that a session of `role` in `database` begins with, sorted by name.
    ///
    /// Of several values of one variable the first of these counts: of the role in the database, of the role, of all
    /// roles in the database, of all roles, and the cluster setting `sql.defaults.…`, if it was set. What was set for
    /// all roles is not for `root`.
    pub fn session_defaults(&self, role: PrincipalId, database: Option<ObjectId>) -> Vec<(&str, &str)> {
        let mut found = BTreeMap::new();
        let settings =
            Setting::each().filter_map(|row| Some((row.variable?, self.settings.get(&row.setting)?)));
        found.extend(settings.map(|(variable, value)| (variable, value.as_str())));
        let everybody = Some(PrincipalId::EVERYBODY).filter(|_| role != PrincipalId::ROOT);
        for role in everybody.into_iter().chain([role]) {
            for place in std::iter::once(ObjectId::CLUSTER).chain(database) {
                let variables = self.role_settings(place, role).into_iter().flat_map(|held| &held.variables);
                found.extend(variables.map(|(name, value)| (name.as_str(), value.as_str())));
            }
        }
        found.into_iter().collect()
    }
}

impl Work<'_> {
    /// `role` none is ALTER ROLE ALL. Checked in the order of v22.2: the right, the database, whose they are.
    pub(super) fn alter_role_settings(
        &mut self,
        role: Option<&RoleSpec>,
        if_exists: bool,
        database: Option<&Name>,
        change: &VariableChange,
    ) -> Result<(), Refusal> {
        match role {
            None if !self.is_admin() => return Err(refusal::admin_only("ALTER ROLE ALL ... SET")),
            None => {}
            Some(_) => self.require_option(RoleOption::CreateRole)?,
        }
        let database = match database {
            None => ObjectId::CLUSTER,
            Some(name) => self.state.resolve_database(name)?,
        };
        let Some(role) = self.role_with_settings(role, if_exists)? else { return Ok(()) };
        let held = self.state.role_settings(database, role).cloned().unwrap_or_default();
        let settings = changed(held, change)?;
        self.put_role_settings(database, role, settings);
        Ok(())
    }

    /// Whose variables change; none: nobody's, because of IF EXISTS. Those of `admin`, of `root` and of `public` never
    /// do, as in v22.2.
    fn role_with_settings(
        &self,
        role: Option<&RoleSpec>,
        if_exists: bool,
    ) -> Result<Option<PrincipalId>, Refusal> {
        let Some(spec) = role else { return Ok(Some(PrincipalId::EVERYBODY)) };
        match self.state.resolve_grantee(self.actor, spec) {
            Ok(PrincipalId::ADMIN) => Err(refusal::admin_is_fixed()),
            Ok(PrincipalId::ROOT) => Err(refusal::root_is_fixed()),
            Ok(PrincipalId::PUBLIC) => Err(refusal::public_is_fixed()),
            Ok(role) if self.state.index.is_admin(role) && !self.is_admin() => {
                Err(refusal::admin_only("ALTER ROLE admin"))
            }
            Ok(role) => Ok(Some(role)),
            Err(_) if if_exists => Ok(None),
            Err(missing) => Err(missing),
        }
    }
}

fn changed(held: RoleSettings, change: &VariableChange) -> Result<RoleSettings, Refusal> {
    let mut variables: BTreeMap<_, _> = held.variables.into_iter().collect();
    match change {
        VariableChange::ResetAll => variables.clear(),
        VariableChange::Reset(name) => {
            variables.remove(name);
        }
        VariableChange::Set(name, value) => {
            if name.is_empty() || name.len() > VARIABLE_BYTES_MAX || value.len() > VARIABLE_BYTES_MAX {
                return Err(refusal::variable_too_long(VARIABLE_BYTES_MAX));
            }
            variables.insert(name.clone(), value.clone());
        }
    }
    if variables.len() > VARIABLES_MAX {
        return Err(refusal::too_many_variables(VARIABLES_MAX));
    }
    Ok(RoleSettings { variables: variables.into_iter().collect() })
}
