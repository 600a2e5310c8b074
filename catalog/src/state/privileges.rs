//! GRANT and REVOKE of privileges. Source: authorization spec, E.

use std::collections::BTreeSet;

use crate::command::{LIST_MAX, NameContext, PrivilegeList, RoleSpec, TablePattern, Targets, privilege_set};
use crate::grant::{Acl, AclEntry, GrantOption};
use crate::id::{ObjectId, PrincipalId};
use crate::object::Object;
use crate::privilege::{ObjectKind, PrivilegeSet};
use crate::refusal::{self, GrantOrRevoke, Refusal};
use crate::state::{State, Work};

/// What one statement does to each entry.
#[derive(Clone, Copy)]
enum Act {
    Grant(GrantOption),
    Revoke,
    RevokeOption,
}

impl Act {
    const fn statement(self) -> GrantOrRevoke {
        match self {
            Self::Grant(_) => GrantOrRevoke::Grant,
            Self::Revoke | Self::RevokeOption => GrantOrRevoke::Revoke,
        }
    }

    fn on(self, entry: AclEntry, listed: PrivilegeSet, kind: ObjectKind) -> AclEntry {
        match self {
            Self::Grant(option) => entry.granted(listed, option),
            Self::Revoke => entry.revoked(listed, kind),
            Self::RevokeOption => entry.revoked_option(listed, kind),
        }
    }
}

impl Work<'_> {
    pub(super) fn grant(
        &mut self,
        listed: &PrivilegeList,
        on: &Targets,
        to: &[RoleSpec],
        grant_option: bool,
    ) -> Result<(), Refusal> {
        let option = if grant_option { GrantOption::With } else { GrantOption::Without };
        self.change_privileges(listed, on, to, Act::Grant(option))
    }

    pub(super) fn revoke(
        &mut self,
        listed: &PrivilegeList,
        on: &Targets,
        from: &[RoleSpec],
        grant_option_only: bool,
    ) -> Result<(), Refusal> {
        let act = if grant_option_only { Act::RevokeOption } else { Act::Revoke };
        self.change_privileges(listed, on, from, act)
    }

    /// The steps of E.3, in its order.
    fn change_privileges(
        &mut self,
        listed: &PrivilegeList,
        on: &Targets,
        grantees: &[RoleSpec],
        act: Act,
    ) -> Result<(), Refusal> {
        self.check_list(listed.len())?;
        self.check_list(grantees.len())?;
        let kind = class_of(on);
        if let Some(illegal) = listed.iter().find(|privilege| !privilege.is_legal_on(kind)) {
            return Err(refusal::privilege_not_for(*illegal, kind));
        }
        let grantees: Result<Vec<_>, _> =
            grantees.iter().map(|spec| self.state.resolve_grantee(self.actor, spec)).collect();
        let grantees = grantees?;
        if matches!(act, Act::Grant(GrantOption::With)) && grantees.contains(&PrincipalId::PUBLIC) {
            return Err(refusal::no_grant_option_to_public());
        }
        if matches!(on, Targets::System) {
            return self.change_system_privileges(listed, &grantees, act);
        }
        for object in self.resolve_targets(on)? {
            self.change_object(object, listed, &grantees, act)?;
        }
        Ok(())
    }

    fn change_object(
        &mut self,
        id: ObjectId,
        listed: &PrivilegeList,
        grantees: &[PrincipalId],
        act: Act,
    ) -> Result<(), Refusal> {
        if self.state.is_system(id) {
            return Err(refusal::system_object(act.statement()));
        }
        for privilege in listed {
            self.require(id, *privilege)?;
        }
        self.require_grant_options(id, listed, act)?;
        let Some(object) = self.state.object(id) else { return Err(refusal::object_gone(id)) };
        let acl = changed(&object.acl, privilege_set(listed), grantees, act, object.kind());
        if acl == object.acl {
            return Ok(());
        }
        let object = Object { acl, ..object.clone() };
        self.check_superusers(&object)?;
        self.put_object(id, object);
        Ok(())
    }

    /// System privileges: holding the grant option is enough, and there is no entry that must stay.
    fn change_system_privileges(
        &mut self,
        listed: &PrivilegeList,
        grantees: &[PrincipalId],
        act: Act,
    ) -> Result<(), Refusal> {
        self.require_grant_options(ObjectId::CLUSTER, listed, act)?;
        let acl = changed(&self.state.system_acl, privilege_set(listed), grantees, act, ObjectKind::Cluster);
        self.put_system_acl(acl);
        Ok(())
    }

    fn require_grant_options(&self, id: ObjectId, listed: &PrivilegeList, act: Act) -> Result<(), Refusal> {
        if self.state.index.holds_grant_options(self.actor.current, id, privilege_set(listed)) {
            return Ok(());
        }
        Err(refusal::lacks_grant_option(&self.user(), listed, act.statement()))
    }

    /// C4: `admin` and `root` hold exactly ALL on every object that is not the system's.
    fn check_superusers(&self, object: &Object) -> Result<(), Refusal> {
        for superuser in [PrincipalId::ROOT, PrincipalId::ADMIN] {
            let name = || self.state.principal_name(superuser);
            match object.acl.entry(superuser) {
                Some(entry) if entry.privileges == PrivilegeSet::ALL => {}
                Some(_) => return Err(refusal::superuser_needs_all(&name(), object.kind(), &object.name)),
                None => return Err(refusal::superuser_without_entry(&name(), object.kind(), &object.name)),
            }
        }
        Ok(())
    }

    fn resolve_targets(&self, on: &Targets) -> Result<Vec<ObjectId>, Refusal> {
        self.check_list(match on {
            Targets::Databases(names) => names.len(),
            Targets::Schemas(names) | Targets::AllTablesInSchemas(names) => names.len(),
            Targets::Tables(patterns) => patterns.len(),
            Targets::System => 0,
        })?;
        let found = self.state.resolve_targets(self.context, on)?;
        if let Targets::Tables(patterns) = on {
            for pattern in patterns {
                match pattern {
                    TablePattern::Table(name) => {
                        self.require_usage(self.state.resolve_table(self.context, name)?)?;
                    }
                    TablePattern::All(_) => {}
                }
            }
        }
        Ok(found)
    }

    /// That a list of a statement is not longer than [`LIST_MAX`].
    pub(super) fn check_list(&self, count: usize) -> Result<(), Refusal> {
        if count > LIST_MAX { Err(refusal::list_too_long(count, LIST_MAX)) } else { Ok(()) }
    }
}

impl State {
    /// The objects that a GRANT, REVOKE or SHOW GRANTS is on, in the order written, each once. The cluster is none.
    ///
    /// A pattern that stands for nothing is refused; a schema without tables is not.
    pub fn resolve_targets(&self, context: &NameContext, on: &Targets) -> Result<Vec<ObjectId>, Refusal> {
        let mut found = Vec::new();
        match on {
            Targets::Databases(names) => {
                for name in names {
                    found.push(self.resolve_database(name)?);
                }
            }
            Targets::Schemas(names) => {
                for name in names {
                    found.push(self.resolve_schema(context, name)?);
                }
            }
            Targets::Tables(patterns) => {
                for pattern in patterns {
                    match pattern {
                        TablePattern::Table(name) => found.push(self.resolve_table(context, name)?),
                        TablePattern::All(qualifiers) => {
                            let before = found.len();
                            let schema = self.resolve_star(context, qualifiers)?;
                            found.extend(self.children(schema).map(|(id, _)| id));
                            if found.len() == before {
                                return Err(refusal::nothing_matched());
                            }
                        }
                    }
                }
            }
            Targets::AllTablesInSchemas(names) => {
                for name in names {
                    let schema = self.resolve_schema(context, name)?;
                    found.extend(self.children(schema).map(|(id, _)| id));
                }
            }
            Targets::System => {}
        }
        let mut seen = BTreeSet::new();
        found.retain(|id| seen.insert(*id));
        Ok(found)
    }
}

/// The class whose privileges a statement may list.
const fn class_of(on: &Targets) -> ObjectKind {
    match on {
        Targets::Databases(_) => ObjectKind::Database,
        Targets::Schemas(_) => ObjectKind::Schema,
        Targets::Tables(_) | Targets::AllTablesInSchemas(_) => ObjectKind::Table,
        Targets::System => ObjectKind::Cluster,
    }
}

/// The ACL after `act` on each grantee's entry.
fn changed(acl: &Acl, listed: PrivilegeSet, grantees: &[PrincipalId], act: Act, kind: ObjectKind) -> Acl {
    let mut acl = acl.clone();
    for grantee in grantees {
        let entry = acl.entry(*grantee).copied().unwrap_or(AclEntry::none(*grantee));
        acl.set(act.on(entry, listed, kind));
    }
    acl
}
