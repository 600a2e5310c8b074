//! GRANT and REVOKE of privileges. Source: authorization spec, E.

use std::collections::BTreeSet;

use crate::command::{LIST_MAX, PrivilegeList, RoleSpec, TablePattern, Targets, privilege_set};
use crate::grant::{Acl, AclEntry, GrantOption};
use crate::id::{ObjectId, PrincipalId};
use crate::object::Object;
use crate::privilege::{ObjectKind, PrivilegeSet};
use crate::refusal::{self, GrantOrRevoke, Refusal};
use crate::state::Work;

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

    /// The steps of E.3, in its order. What ON [TABLE] names is looked up first: only then is it known whose privileges
    /// may be listed.
    fn change_privileges(
        &mut self,
        listed: &PrivilegeList,
        on: &Targets,
        grantees: &[RoleSpec],
        act: Act,
    ) -> Result<(), Refusal> {
        self.check_list(listed.len())?;
        self.check_list(grantees.len())?;
        let (class, found) = match on {
            Targets::Tables(_) => {
                let found = self.resolve_targets(on)?;
                (self.state.class_of_relations(&found)?, Some(found))
            }
            _ => (class_of(on), None),
        };
        if let Some(illegal) = listed.iter().find(|privilege| !privilege.is_legal_on(class)) {
            return Err(refusal::privilege_not_for(*illegal, class));
        }
        let grantees: Result<BTreeSet<_>, _> =
            grantees.iter().map(|spec| self.state.resolve_grantee(self.actor, spec)).collect();
        let grantees = grantees?;
        if matches!(act, Act::Grant(GrantOption::With)) && grantees.contains(&PrincipalId::PUBLIC) {
            return Err(refusal::no_grant_option_to_public());
        }
        if matches!(on, Targets::System) {
            return self.change_system_privileges(listed, &grantees, act);
        }
        let found = match found {
            Some(found) => found,
            None => self.resolve_targets(on)?,
        };
        if class == ObjectKind::VirtualTable && names_a_database(on) {
            self.done.notices.push(refusal::virtual_in_every_database());
        }
        for object in &found {
            if class.is_held_by_rank() {
                self.change_unowned(*object, listed, &grantees, act)?;
            } else {
                self.change_object(*object, listed, &grantees, act)?;
            }
        }
        self.tell_what_had_no_effect(listed, class, &found);
        Ok(())
    }

    /// An object with an owner and an entry of the superusers. What tables have and sequences do not (BACKUP) is left
    /// out where a list for tables reaches a sequence; the one who grants needs it all the same.
    fn change_object(
        &mut self,
        id: ObjectId,
        listed: &PrivilegeList,
        grantees: &BTreeSet<PrincipalId>,
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
        let kind = object.kind();
        let listed = privilege_set(listed).intersection(kind.legal());
        let acl = changed(&object.acl, listed, grantees, act, kind);
        if acl == object.acl {
            return Ok(());
        }
        let object = Object { acl, ..object.clone() };
        self.check_superusers(&object)?;
        self.put_object(id, object);
        Ok(())
    }

    /// What superusers hold by rank: holding the grant option is enough, and there is no entry that must stay.
    ///
    /// On a virtual table an ACL without `public` says that SELECT was revoked from it, and one like the built-in ACL
    /// is no record (T-18).
    fn change_unowned(
        &mut self,
        id: ObjectId,
        listed: &PrivilegeList,
        grantees: &BTreeSet<PrincipalId>,
        act: Act,
    ) -> Result<(), Refusal> {
        self.require_grant_options(id, listed, act)?;
        let Some(object) = self.state.object(id) else { return Err(refusal::object_gone(id)) };
        let acl = changed(&object.acl, privilege_set(listed), grantees, act, object.kind());
        if acl != object.acl {
            self.put_object(id, Object { acl, ..object.clone() });
        }
        Ok(())
    }

    /// System privileges: as [`Self::change_unowned`].
    fn change_system_privileges(
        &mut self,
        listed: &PrivilegeList,
        grantees: &BTreeSet<PrincipalId>,
        act: Act,
    ) -> Result<(), Refusal> {
        self.require_grant_options(ObjectId::CLUSTER, listed, act)?;
        let acl = changed(&self.state.system_acl, privilege_set(listed), grantees, act, ObjectKind::Cluster);
        self.put_system_acl(acl);
        Ok(())
    }

    /// A notice, if a list for tables reached a sequence with something that sequences do not have.
    fn tell_what_had_no_effect(&mut self, listed: &PrivilegeList, class: ObjectKind, reached: &[ObjectId]) {
        let illegal = privilege_set(listed).minus(ObjectKind::Sequence.legal());
        let reaches_sequence = || reached.iter().any(|id| self.state.kind(*id) == Some(ObjectKind::Sequence));
        if class == ObjectKind::Table && !illegal.is_empty() && reaches_sequence() {
            let words: Vec<_> = illegal.iter().map(|privilege| privilege.word()).collect();
            self.done.notices.push(refusal::no_effect_on_sequences(&words));
        }
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

    /// That a list of a statement is not longer than [`LIST_MAX`].
    pub(super) fn check_list(&self, count: usize) -> Result<(), Refusal> {
        if count > LIST_MAX { Err(refusal::list_too_long(count, LIST_MAX)) } else { Ok(()) }
    }
}

/// The class whose privileges a statement may list.
const fn class_of(on: &Targets) -> ObjectKind {
    match on {
        Targets::Databases(_) => ObjectKind::Database,
        Targets::Schemas(_) => ObjectKind::Schema,
        Targets::Tables(_) | Targets::AllTablesInSchemas(_) => ObjectKind::Table,
        Targets::Sequences(_) | Targets::AllSequencesInSchemas(_) => ObjectKind::Sequence,
        Targets::AllFunctionsInSchemas(_) | Targets::Functions(_) => ObjectKind::Function,
        Targets::Types(_) => ObjectKind::Type,
        Targets::ExternalConnections(_) => ObjectKind::ExternalConnection,
        Targets::IamRoles(_) => ObjectKind::IamRole,
        Targets::System => ObjectKind::Cluster,
    }
}

/// Whether a virtual table is named with a database.
fn names_a_database(on: &Targets) -> bool {
    let Targets::Tables(patterns) = on else { return false };
    patterns.iter().any(|pattern| match pattern {
        TablePattern::Table(name) => name.parts.len() == 3,
        TablePattern::All(qualifiers) => qualifiers.len() == 2,
    })
}

/// The ACL after `act` on each grantee's entry. Cost: the entries and the grantees, once each.
fn changed(
    acl: &Acl,
    listed: PrivilegeSet,
    grantees: &BTreeSet<PrincipalId>,
    act: Act,
    kind: ObjectKind,
) -> Acl {
    acl.with(grantees, |entry| act.on(entry, listed, kind))
}
