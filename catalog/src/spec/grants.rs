//! GRANT and REVOKE of privileges (E).

use crate::command::{Actor, NameContext, RoleSpec, TablePattern, Targets};
use crate::id::{ObjectId, PrincipalId};
use crate::object::Body;
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::spec::entries::{self, Change};
use crate::spec::resolve::Sort;
use crate::spec::{Model, ModelGrant, Told, ground, say};
use crate::system;

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
        // What ON TABLE names decides the class, so it is looked up first; the rest comes in its turn.
        let mut objects = None;
        if let Targets::Tables(_) = on {
            objects = Some(self.targets_for(actor, context, on)?);
        }
        let class = self.class(on, objects.as_deref().unwrap_or_default())?;
        for privilege in list {
            if !privilege.is_legal_on(class) {
                return Err(say::invalid_privilege(*privilege, class));
            }
        }
        let mut ids = Vec::new();
        for grantee in grantees {
            ids.push(self.grantee(actor, grantee)?);
        }
        if matches!(change, Change::Grant { grant_option: true }) && ids.contains(&PrincipalId::PUBLIC) {
            return Err(say::no_options_for_public());
        }
        let objects = match objects {
            Some(objects) => objects,
            None => self.targets_for(actor, context, on)?,
        };
        let mut told = Told::default();
        if class == ObjectKind::VirtualTable && names_a_database(on) {
            told.notices.push(say::virtual_tables_are_everywhere());
        }
        let mut without_effect = Vec::new();
        for object in objects {
            let kind = self.kind(object);
            for privilege in list {
                let effective = privilege.is_legal_on(kind);
                if kind == ObjectKind::Sequence && !effective && !without_effect.contains(privilege) {
                    without_effect.push(*privilege);
                }
            }
            if object.is_virtual() && class != ObjectKind::VirtualTable {
                return Err(say::system_object(change.verb()));
            }
            self.change_object(actor.current, object, list, &ids, change)?;
        }
        if !without_effect.is_empty() {
            told.notices.push(say::no_effect_on_sequences(&without_effect));
        }
        Ok(told)
    }

    fn targets_for(
        &self,
        actor: Actor,
        context: &NameContext,
        on: &Targets,
    ) -> Result<Vec<ObjectId>, Refusal> {
        let objects = self.targets(context, on)?;
        self.check_named_in_schemas(actor, context, on)?;
        Ok(objects)
    }

    /// What is named by itself is looked up only by those who may use its schema.
    fn check_named_in_schemas(
        &self,
        actor: Actor,
        context: &NameContext,
        on: &Targets,
    ) -> Result<(), Refusal> {
        match on {
            Targets::Tables(patterns) | Targets::Sequences(patterns) => {
                for pattern in patterns {
                    if let TablePattern::Table(name) = pattern {
                        self.named_for(actor, context, name, Sort::Relation)?;
                    }
                }
            }
            Targets::Types(names) => {
                for name in names {
                    self.named_for(actor, context, name, Sort::Type)?;
                }
            }
            Targets::Functions(names) => {
                for name in names {
                    self.function_for(actor, context, name)?;
                }
            }
            Targets::Databases(_)
            | Targets::Schemas(_)
            | Targets::AllTablesInSchemas(_)
            | Targets::System
            | Targets::AllSequencesInSchemas(_)
            | Targets::AllFunctionsInSchemas(_)
            | Targets::ExternalConnections(_)
            | Targets::IamRoles(_) => {}
        }
        Ok(())
    }

    fn change_object(
        &mut self,
        user: PrincipalId,
        object: ObjectId,
        list: &[Privilege],
        grantees: &[PrincipalId],
        change: Change,
    ) -> Result<(), Refusal> {
        if self.is_systems(object) {
            return Err(say::system_object(change.verb()));
        }
        if !self.has_no_descriptor(object) {
            for privilege in list {
                self.check_privilege(user, object, *privilege)?;
            }
        }
        if !self.may_grant_all(user, object, list) {
            let code = if change.verb() == "GRANT" { "01007" } else { "01006" };
            return Err(say::no_grant_option(code, &self.principal_name(user), list));
        }
        // A list for tables may reach a sequence with something that only tables have: that is left out.
        let kind = self.kind(object);
        let effective: Vec<_> =
            list.iter().filter(|privilege| privilege.is_legal_on(kind)).copied().collect();
        for grantee in grantees {
            if !effective.is_empty() {
                self.change_entry(object, *grantee, &effective, change);
            }
        }
        if self.has_no_descriptor(object) {
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

    pub(super) fn change_entry(
        &mut self,
        object: ObjectId,
        grantee: PrincipalId,
        list: &[Privilege],
        change: Change,
    ) {
        let mut all = self.grants_on(object);
        let (mut p, mut w) = match all.iter().position(|grant| grant.grantee == grantee) {
            Some(at) => {
                let grant = all.remove(at);
                (grant.privileges, grant.grant_options)
            }
            None => (Vec::new(), Vec::new()),
        };
        entries::change(&mut p, &mut w, list, self.kind(object), change);
        if !p.is_empty() {
            all.push(ModelGrant { object, grantee, privileges: p, grant_options: w });
        }
        all.sort_by_key(|grant| grant.grantee);
        self.set_grants(object, all);
    }

    /// Puts `all` in the place of what is granted on `object`.
    pub(super) fn set_grants(&mut self, object: ObjectId, all: Vec<ModelGrant>) {
        self.held.retain(|grant| grant.object != object);
        self.virtual_changed.retain(|changed| *changed != object);
        if let Some(known) = system::object(object) {
            if ground::grants_of(object, known) == all {
                return;
            }
            self.virtual_changed.push(object);
            self.virtual_changed.sort();
        }
        self.held.extend(all);
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
            Targets::Tables(patterns) => found = self.relations(context, patterns, "relation")?,
            Targets::Sequences(patterns) => found = self.relations(context, patterns, "sequence")?,
            Targets::AllTablesInSchemas(names) => {
                for name in names {
                    found.extend(self.relations_of(self.schema(context, name)?));
                }
            }
            Targets::AllSequencesInSchemas(names) => {
                for name in names {
                    let schema = self.schema(context, name)?;
                    found.extend(self.children(schema, |kind| kind == ObjectKind::Sequence));
                }
            }
            Targets::AllFunctionsInSchemas(names) => {
                for name in names {
                    let schema = self.schema(context, name)?;
                    found.extend(self.children(schema, |kind| kind == ObjectKind::Function));
                }
            }
            Targets::Types(names) => {
                for name in names {
                    found.push(self.named(context, name, Sort::Type)?);
                }
            }
            Targets::Functions(names) => {
                for name in names {
                    found.push(self.function(context, name)?);
                }
            }
            Targets::ExternalConnections(names) => {
                for name in names {
                    found.push(self.external_connection(name)?);
                }
            }
            Targets::IamRoles(names) => {
                for name in names {
                    found.push(self.iam_role(name)?);
                }
            }
        }
        // Who takes a right from itself must not lack it for what was named twice.
        let mut once = Vec::new();
        for id in found {
            if !once.contains(&id) {
                once.push(id);
            }
        }
        Ok(once)
    }

    /// The class against whose list the privileges are checked (E.2): of tables, it is decided by what was found.
    fn class(&self, on: &Targets, found: &[ObjectId]) -> Result<ObjectKind, Refusal> {
        match on {
            Targets::System => Ok(ObjectKind::Cluster),
            Targets::Databases(_) => Ok(ObjectKind::Database),
            Targets::Schemas(_) => Ok(ObjectKind::Schema),
            Targets::AllTablesInSchemas(_) => Ok(ObjectKind::Table),
            Targets::Sequences(_) | Targets::AllSequencesInSchemas(_) => Ok(ObjectKind::Sequence),
            Targets::Functions(_) | Targets::AllFunctionsInSchemas(_) => Ok(ObjectKind::Function),
            Targets::Types(_) => Ok(ObjectKind::Type),
            Targets::ExternalConnections(_) => Ok(ObjectKind::ExternalConnection),
            Targets::IamRoles(_) => Ok(ObjectKind::IamRole),
            Targets::Tables(_) => {
                // Tables of `system` are tables here.
                let in_virtual_schema = |id: &&ObjectId| self.parent(**id).is_virtual();
                let virtuals = found.iter().filter(in_virtual_schema).count();
                let sequences = found.iter().filter(|id| self.kind(**id) == ObjectKind::Sequence).count();
                if found.is_empty() {
                    Ok(ObjectKind::Table)
                } else if virtuals == found.len() {
                    Ok(ObjectKind::VirtualTable)
                } else if virtuals > 0 {
                    Err(say::virtual_and_real_tables())
                } else if sequences == found.len() {
                    Ok(ObjectKind::Sequence)
                } else {
                    Ok(ObjectKind::Table)
                }
            }
        }
    }

    /// Everybody who is granted something on what has no descriptor, with the path of `system.privileges`, in the order
    /// of that table (E.10).
    pub(super) fn system_privileges(&self) -> Vec<(String, String, ModelGrant)> {
        let mut rows = Vec::new();
        let mut objects = vec![ObjectId::CLUSTER];
        objects.extend(self.children(ObjectId::CLUSTER, |kind| {
            [ObjectKind::ExternalConnection, ObjectKind::IamRole].contains(&kind)
        }));
        objects.extend(self.virtual_changed.iter().filter(|id| self.has_no_descriptor(**id)));
        for object in objects {
            let path = match self.kind(object) {
                ObjectKind::ExternalConnection => format!("/externalconn/{}", self.label(object)),
                ObjectKind::IamRole => format!("/iamrole/{}", self.label(object)),
                ObjectKind::VirtualTable => {
                    format!("/vtable/{}/{}", self.label(self.parent(object)), self.label(object))
                }
                _ => "/global/".to_owned(),
            };
            for grant in self.grants_on(object) {
                rows.push((self.principal_name(grant.grantee).to_string(), path.clone(), grant));
            }
        }
        rows.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
        rows
    }

    /// The body of something that is not virtual.
    pub(super) fn body(&self, object: ObjectId) -> Option<&Body> {
        self.objects.iter().find(|known| known.id == object).map(|known| &known.body)
    }
}

/// Whether something is named with its database.
fn names_a_database(on: &Targets) -> bool {
    let Targets::Tables(patterns) = on else { return false };
    patterns.iter().any(|pattern| match pattern {
        TablePattern::Table(name) => name.parts.len() == 3,
        TablePattern::All(prefix) => prefix.len() == 2,
    })
}
