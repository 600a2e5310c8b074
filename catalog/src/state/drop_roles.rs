//! DROP ROLE: what still depends on a role, over all databases, and the role itself. Source: authorization spec, F.5.

use crate::command::RoleSpec;
use crate::id::PrincipalId;
use crate::name::RoleName;
use crate::privilege::ObjectKind;
use crate::refusal::{self, Refusal};
use crate::role::RoleOption;
use crate::state::{State, Work};

impl Work<'_> {
    pub(super) fn drop_roles(&mut self, specs: &[RoleSpec], if_exists: bool) -> Result<(), Refusal> {
        self.check_list(specs.len())?;
        self.require_option(RoleOption::CreateRole)?;
        let names = plain_names(specs)?;
        let ids: Vec<_> = names.iter().map(|name| self.state.principal_id(name)).collect();
        let found: Vec<_> = ids.iter().flatten().copied().collect();
        if !self.is_admin() && found.iter().any(|id| self.state.index.is_admin(*id)) {
            return Err(refusal::may_not_drop_admins());
        }
        let holding = self.state.objects_with_entries(&found);
        if !holding.is_empty() {
            return Err(refusal::grants_still_exist(&names, &holding));
        }
        for id in &found {
            let lines = self.state.dependents(*id);
            if !lines.is_empty() {
                return Err(refusal::role_has_dependents(&self.state.principal_name(*id), &lines));
            }
        }
        for (name, id) in names.iter().zip(ids) {
            match id {
                Some(PrincipalId::ADMIN) => return Err(refusal::special_role(name)),
                Some(PrincipalId::ROOT) => return Err(refusal::special_user(name)),
                Some(_) => {}
                None if if_exists => {}
                None => return Err(refusal::no_such_role(name)),
            }
        }
        for id in found {
            self.remove_principal(id);
        }
        Ok(())
    }
}

/// The names of a DROP ROLE: none of them special, none of them reserved.
fn plain_names(specs: &[RoleSpec]) -> Result<Vec<RoleName>, Refusal> {
    let mut names = Vec::with_capacity(specs.len());
    for spec in specs {
        match spec {
            RoleSpec::Name(name) => names.push(name.clone()),
            RoleSpec::CurrentUser | RoleSpec::SessionUser => return Err(refusal::special_in_drop_role()),
        }
    }
    match names.iter().find(|name| name.is_reserved()) {
        Some(name) => Err(refusal::role_name_reserved(name)),
        None => Ok(names),
    }
}

impl State {
    /// The full names of all objects on which one of `principals` has an entry: databases, then tables, then schemas,
    /// each by id. System privileges are not among them.
    fn objects_with_entries(&self, principals: &[PrincipalId]) -> Vec<String> {
        let mut found: Vec<_> = self
            .objects()
            .filter(|(_, object)| principals.iter().any(|id| object.acl.entry(*id).is_some()))
            .map(|(id, object)| (rank(object.kind()), id, object))
            .collect();
        found.sort_by_key(|(rank, id, _)| (*rank, *id));
        found.into_iter().map(|(_, _, object)| self.full_name(object)).collect()
    }

    /// What else keeps `principal` from being dropped, one line each: system privileges, sorted; then what it owns,
    /// sorted by the word for its kind and by name.
    fn dependents(&self, principal: PrincipalId) -> Vec<String> {
        let name = self.principal_name(principal);
        let system = self.system_acl.entry(principal).into_iter().flat_map(|entry| entry.privileges.iter());
        let mut lines: Vec<_> = system
            .map(|privilege| {
                ("", String::new(), format!("{name} has global '{}' privilege", privilege.word()))
            })
            .collect();
        for (_, object) in self.objects().filter(|(_, object)| object.owner == principal) {
            let kind = object.kind();
            // v22.2 writes schemas without their database.
            let written = match kind {
                ObjectKind::Schema => object.name.to_string(),
                _ => self.full_name(object),
            };
            let line = format!("owner of {} {written}", kind.class_word());
            lines.push((kind.class_word(), written, line));
        }
        lines.sort();
        lines.into_iter().map(|(_, _, line)| line).collect()
    }
}

/// The order of kinds in `grants still exist on …`.
const fn rank(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Database => 0,
        ObjectKind::Table | ObjectKind::Sequence => 1,
        ObjectKind::Schema => 2,
        ObjectKind::Type => 3,
        ObjectKind::Function => 4,
        ObjectKind::ExternalConnection | ObjectKind::VirtualTable | ObjectKind::Cluster => 5,
    }
}
