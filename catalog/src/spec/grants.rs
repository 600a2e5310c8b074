//! GRANT and REVOKE of privileges (E).

use crate::command::{Actor, NameContext, RoleSpec, TablePattern, Targets};
use crate::id::{ObjectId, PrincipalId};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::spec::{Model, ModelGrant, Told, say};

/// Which of the three statements changes an entry.
#[derive(Clone, Copy)]
enum Change {
    Grant { grant_option: bool },
    Revoke,
    RevokeGrantOption,
}

impl Model {
    pub(super) fn grant(
        &mut self,
        actor: Actor,
        context: &NameContext,
        list: &[Privilege],
        on: &Targets,
        to: &[RoleSpec],
        grant_option: bool,
    ) -> Result<Told, Refusal> {
        self.change_grants(actor, context, list, on, to, Change::Grant { grant_option })
    }

    pub(super) fn revoke(
        &mut self,
        actor: Actor,
        context: &NameContext,
        list: &[Privilege],
        on: &Targets,
        from: &[RoleSpec],
        grant_option_only: bool,
    ) -> Result<Told, Refusal> {
        let change = if grant_option_only { Change::RevokeGrantOption } else { Change::Revoke };
        self.change_grants(actor, context, list, on, from, change)
    }

    /// E.3, step by step.
    fn change_grants(
        &mut self,
        actor: Actor,
        context: &NameContext,
        list: &[Privilege],
        on: &Targets,
        grantees: &[RoleSpec],
        change: Change,
    ) -> Result<Told, Refusal> {
        let kind = class(on);
        for privilege in list {
            if !privilege.is_legal_on(kind) {
                return Err(say::invalid_privilege(*privilege, kind));
            }
        }
        let mut ids = Vec::new();
        for grantee in grantees {
            ids.push(self.grantee(actor, grantee)?);
        }
        if matches!(change, Change::Grant { grant_option: true }) && ids.contains(&PrincipalId::PUBLIC) {
            return Err(say::no_options_for_public());
        }
        let objects = self.targets(context, on)?;
        if let Targets::Tables(patterns) = on {
            for pattern in patterns {
                if let TablePattern::Table(name) = pattern {
                    self.table_for(actor, context, name)?;
                }
            }
        }
        for object in objects {
            self.change_object(actor.current, object, list, &ids, change)?;
        }
        Ok(Told::default())
    }

    fn change_object(
        &mut self,
        user: PrincipalId,
        object: ObjectId,
        list: &[Privilege],
        grantees: &[PrincipalId],
        change: Change,
    ) -> Result<(), Refusal> {
        let (verb, code) = match change {
            Change::Grant { .. } => ("GRANT", "01007"),
            Change::Revoke | Change::RevokeGrantOption => ("REVOKE", "01006"),
        };
        if object != ObjectId::CLUSTER {
            if self.database_of(object) == ObjectId::SYSTEM_DATABASE {
                return Err(say::system_object(verb));
            }
            for privilege in list {
                self.check_privilege(user, object, *privilege)?;
            }
        }
        if !self.may_grant_all(user, object, list) {
            return Err(say::no_grant_option(code, &self.principal_name(user), list));
        }
        for grantee in grantees {
            self.change_entry(object, *grantee, list, change);
        }
        if object == ObjectId::CLUSTER {
            return Ok(());
        }
        for (name, id) in [("root", PrincipalId::ROOT), ("admin", PrincipalId::ADMIN)] {
            let (privileges, _) = self.entry(object, id);
            if privileges.is_empty() {
                return Err(say::superuser_has_nothing(name, self.kind(object), &self.label(object)));
            }
            if privileges != [Privilege::All] {
                return Err(say::superuser_must_have_all(name, self.kind(object), &self.label(object)));
            }
        }
        Ok(())
    }

    /// E.4: an admin, an owner, or one role that has the option for the whole list.
    pub(super) fn may_grant_all(&self, user: PrincipalId, object: ObjectId, list: &[Privilege]) -> bool {
        if self.owns_or_admin(user, object) {
            return true;
        }
        for role in self.acts_as(user) {
            let (_, grant_options) = self.entry(object, role);
            if grant_options.contains(&Privilege::All)
                || list.iter().all(|privilege| grant_options.contains(privilege))
            {
                return true;
            }
        }
        false
    }

    /// E.5; that NOSQLLOGIN is kept beside ALL is docs/adr/0007.
    fn change_entry(&mut self, object: ObjectId, grantee: PrincipalId, list: &[Privilege], change: Change) {
        let kind = self.kind(object);
        let found = self.held.iter().position(|grant| grant.object == object && grant.grantee == grantee);
        let (mut p, mut w) = match found {
            Some(at) => {
                let grant = self.held.remove(at);
                (grant.privileges, grant.grant_options)
            }
            None => (Vec::new(), Vec::new()),
        };
        let list_is_all = list.contains(&Privilege::All);
        let has_all = p.contains(&Privilege::All);
        let only_the_bar =
            !list.is_empty() && list.iter().all(|privilege| *privilege == Privilege::NoSqlLogin);
        let barred = p.contains(&Privilege::NoSqlLogin);
        let bars = list.contains(&Privilege::NoSqlLogin);
        match change {
            Change::Grant { grant_option } => {
                if has_all && (w.contains(&Privilege::All) || !grant_option) {
                    // ALL stays ALL, single kinds are not recorded beside it, but for the one that it does not mean.
                    if bars {
                        add(&mut p, &[Privilege::NoSqlLogin]);
                    }
                } else if list_is_all {
                    p = vec![Privilege::All];
                    if barred || bars {
                        p.push(Privilege::NoSqlLogin);
                    }
                    if grant_option {
                        w = vec![Privilege::All];
                    }
                } else {
                    add(&mut p, list);
                    if grant_option {
                        add(&mut w, list);
                    }
                }
            }
            Change::Revoke => {
                if list_is_all {
                    p.clear();
                    w.clear();
                }
                if !only_the_bar {
                    explode(&mut p, kind);
                    explode(&mut w, kind);
                }
                p.retain(|held| !list.contains(held));
                w.retain(|held| !list.contains(held));
            }
            Change::RevokeGrantOption => {
                if list_is_all {
                    w.clear();
                    if has_all {
                        p = vec![Privilege::All];
                        if barred {
                            p.push(Privilege::NoSqlLogin);
                        }
                    }
                } else {
                    explode(&mut w, kind);
                    w.retain(|held| !list.contains(held));
                }
            }
        }
        if !p.is_empty() {
            p.sort();
            w.sort();
            self.held.push(ModelGrant { object, grantee, privileges: p, grant_options: w });
        }
        self.held.sort_by_key(|grant| (grant.object, grant.grantee));
    }

    pub(super) fn targets(&self, context: &NameContext, on: &Targets) -> Result<Vec<ObjectId>, Refusal> {
        let mut found = Vec::new();
        match on {
            Targets::System => found.push(ObjectId::CLUSTER),
            Targets::Databases(names) => {
                for name in names {
                    found.push(self.database(name)?);
                }
            }
            Targets::Schemas(names) => {
                for name in names {
                    found.push(self.schema(context, name)?);
                }
            }
            Targets::Tables(patterns) => found = self.tables(context, patterns)?,
            Targets::AllTablesInSchemas(names) => {
                for name in names {
                    found.extend(self.children(self.schema(context, name)?));
                }
            }
        }
        Ok(found)
    }
}

fn class(on: &Targets) -> ObjectKind {
    match on {
        Targets::System => ObjectKind::Cluster,
        Targets::Databases(_) => ObjectKind::Database,
        Targets::Schemas(_) => ObjectKind::Schema,
        Targets::Tables(_) | Targets::AllTablesInSchemas(_) => ObjectKind::Table,
    }
}

fn add(to: &mut Vec<Privilege>, list: &[Privilege]) {
    for privilege in list {
        if !to.contains(privilege) {
            to.push(*privilege);
        }
    }
}

/// ALL becomes every single kind of the class; never NOSQLLOGIN (T-9).
fn explode(privileges: &mut Vec<Privilege>, kind: ObjectKind) {
    if !privileges.contains(&Privilege::All) {
        return;
    }
    for privilege in Privilege::each() {
        let counts = privilege.is_legal_on(kind) && privilege != Privilege::NoSqlLogin;
        if counts && !privileges.contains(&privilege) {
            privileges.push(privilege);
        }
    }
    privileges.retain(|privilege| *privilege != Privilege::All);
}
