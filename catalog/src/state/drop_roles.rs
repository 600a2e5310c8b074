//! DROP ROLE: what still depends on a role, over all databases, and the role itself. Source: authorization spec, F.5.

use crate::command::RoleSpec;
use crate::id::PrincipalId;
use crate::name::RoleName;
use crate::object::Object;
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
                let name = self.state.principal_name(*id);
                let hints =
                    self.state.default_dependencies(*id).into_iter().map(|dependency| dependency.hint);
                return Err(refusal::role_has_dependents(&name, &lines, &hints.collect::<Vec<_>>()));
            }
        }
        for (name, id) in names.iter().zip(ids) {
            match id {
                Some(PrincipalId::ADMIN) => return Err(refusal::special_role(name)),
                Some(PrincipalId::ROOT) => return Err(refusal::special_user(name)),
                Some(id) => {
                    let owned = self.state.schedules().filter(|(_, schedule)| schedule.owner == id).count();
                    if owned > 0 {
                        return Err(refusal::role_owns_schedules(name, owned));
                    }
                }
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
    /// What `principals` hold by entries, as a refusal lists it: databases, relations, schemas, types and functions in
    /// full, each object once, by kind and id; then external connections, roles of clouds and virtual tables,
    /// which the original keeps in `system.privileges`: a line for each entry, by name of the grantee and path. System privileges are not among
    /// them.
    fn objects_with_entries(&self, principals: &[PrincipalId]) -> Vec<String> {
        let mut found = Vec::new();
        let mut rows = Vec::new();
        for (id, object) in self.objects() {
            let mut holding = principals.iter().filter(|id| object.acl.entry(**id).is_some()).peekable();
            if holding.peek().is_none() {
                continue;
            }
            match path(self, object) {
                None => found.push((rank(object.kind()), id, self.full_name(object))),
                Some((path, written)) => {
                    rows.extend(holding.map(|id| (self.principal_name(*id), path.clone(), written.clone())));
                }
            }
        }
        found.sort_by_key(|(rank, id, _)| (*rank, *id));
        rows.sort();
        rows.dedup();
        let found = found.into_iter().map(|(_, _, name)| name);
        found.chain(rows.into_iter().map(|(_, _, written)| written)).collect()
    }

    /// What else keeps `principal` from being dropped, one line each: system privileges and default privileges, sorted;
    /// then what it owns, sorted by the word for its kind and by name.
    fn dependents(&self, principal: PrincipalId) -> Vec<String> {
        let name = self.principal_name(principal);
        let system = self.system_acl.entry(principal).into_iter().flat_map(|entry| entry.privileges.iter());
        let mut lines: Vec<_> = system
            .map(|privilege| {
                ("", String::new(), format!("{name} has global '{}' privilege", privilege.word()))
            })
            .collect();
        let defaults = self.default_dependencies(principal).into_iter();
        lines.extend(defaults.map(|dependency| ("", String::new(), dependency.line)));
        for (_, object) in self.objects().filter(|(_, object)| object.owner == principal) {
            let kind = object.kind();
            // v22.2 writes schemas without their database.
            let written = match kind {
                ObjectKind::Schema => object.name.to_string(),
                _ => self.full_name(object),
            };
            // A sequence is a table here.
            let word = if kind == ObjectKind::Sequence { "table" } else { kind.class_word() };
            let line = format!("owner of {word} {written}");
            lines.push((word, written, line));
        }
        lines.sort();
        lines.into_iter().map(|(_, _, line)| line).collect()
    }
}

/// Where the original keeps what was granted on something that has no descriptor there, and how it is written.
fn path(state: &State, object: &Object) -> Option<(String, String)> {
    let name = &object.name;
    match object.kind() {
        ObjectKind::ExternalConnection => {
            Some((format!("/externalconn/{name}"), format!("external_connection {name}")))
        }
        ObjectKind::IamRole => Some((format!("/iamrole/{name}"), format!("iam_role {name}"))),
        ObjectKind::VirtualTable if object.parent.is_virtual() => {
            let schema =
                state.object(object.parent).map(|schema| schema.name.to_string()).unwrap_or_default();
            Some((format!("/vtable/{schema}/{name}"), format!("virtual_table \"{schema}.{name}\"")))
        }
        _ => None,
    }
}

/// The order of kinds in `grants still exist on …`.
const fn rank(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Database => 0,
        ObjectKind::Table | ObjectKind::Sequence | ObjectKind::VirtualTable => 1,
        ObjectKind::Schema => 2,
        ObjectKind::Type => 3,
        ObjectKind::Function => 4,
        ObjectKind::ExternalConnection | ObjectKind::IamRole | ObjectKind::Cluster => 5,
    }
}
