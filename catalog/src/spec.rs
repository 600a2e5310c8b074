//! The slow twin: the same catalog once more, as nested loops over plain vectors, for tests only.
//!
//! It is written from the authorization spec alone and shares with the engine only the vocabulary (ids, names,
//! privileges, commands, the shape of a refusal). Nothing here is indexed, precomputed or clever, and every text is
//! written out a second time, so that a difference between the two is a defect in one of them.
//!
//! It does not check limits of length and size, and of time only what it is told it is, for jobs. What is data in the shared
//! vocabulary (the virtual tables, the cluster settings) is read from there.
//!
//! Read next: `spec/say.rs` for the texts, `spec/generate.rs` for how the histories are made.

mod defaults;
mod drops;
mod entries;
mod feeds;
mod grants;
mod ground;
mod jobs;
mod listing;
mod makes;
mod objects;
mod outside;
mod owners;
mod principals;
mod resolve;
mod say;
mod schedules;
mod settings;
mod shapes;
mod shelf;

pub mod generate;
mod protections;
pub mod records;

use crate::command::{Actor, Command, Done, NameContext, Outcome, RoleSpec, StorageChange};
use crate::decide::Decision;
use crate::defaults::DefaultClass;
use crate::id::{ObjectId, PrincipalId, ScheduleId, Timestamp};
use crate::job::{ClaimLease, Job, JobId};
use crate::name::{Name, RoleName};
use crate::object::Body;
use crate::privilege::{ObjectKind, Privilege};
use crate::protection::{Protection, ProtectionId};
use crate::refusal::Refusal;
use crate::require::{Need, Requirement};
use crate::role::{PasswordVerifier, RoleOption, ValidUntil};
use crate::schedule::Schedule;
use crate::setting::Setting;
use crate::system;

pub use self::shelf::ModelShelf;

/// A whole catalog in a few vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Users and roles, in the order in which they were created.
    pub principals: Vec<ModelPrincipal>,
    /// Membership edges, in no order.
    pub edges: Vec<ModelEdge>,
    /// Databases and what is in them, external connections and roles of clouds, in the order in which they were created. What is
    /// virtual is not here: that every cluster has ([`crate::system`]).
    pub objects: Vec<ModelObject>,
    /// What is granted, in no order. Of what is virtual only where it differs from what every cluster has: see
    /// `virtual_changed`. What `admin` holds on the cluster, on what is outside and on virtual tables is implicit.
    pub held: Vec<ModelGrant>,
    /// The virtual objects whose grants are in `held`, even if those are none.
    pub virtual_changed: Vec<ObjectId>,
    /// Default privileges that are not as they are when nobody changed them.
    pub defaults: Vec<ModelDefaults>,
    /// Variables that sessions begin with.
    pub role_settings: Vec<ModelRoleSetting>,
    /// Cluster settings that were set.
    pub settings: Vec<(Setting, String)>,
    /// Protections of the change history.
    pub protections: Vec<(ProtectionId, Protection)>,
    /// Jobs, by id.
    pub jobs: Vec<(JobId, Job)>,
    /// Until when nodes hold what they claimed, by node.
    pub claim_leases: Vec<(u64, ClaimLease)>,
    /// Schedules, by id.
    pub schedules: Vec<(ScheduleId, Schedule)>,
    /// What RESTOREs brought so far, by job.
    pub shelves: Vec<ModelShelf>,
    /// What time it is, as whoever tells it commands says.
    pub now: Timestamp,
    next_job: i64,
    next_principal: u32,
    next_object: u32,
}

/// A user or role.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement that makes it")]
pub struct ModelPrincipal {
    pub id: PrincipalId,
    pub name: RoleName,
    pub is_role: bool,
    pub options: Vec<RoleOption>,
    pub password: Option<PasswordVerifier>,
    pub valid_until: Option<ValidUntil>,
}

/// `member` belongs to `role`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement that makes it")]
pub struct ModelEdge {
    pub role: PrincipalId,
    pub member: PrincipalId,
    pub admin_option: bool,
}

/// A database, a thing in one, an external connection, or a role of a cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement that makes it")]
pub struct ModelObject {
    pub id: ObjectId,
    pub name: Name,
    pub parent: ObjectId,
    pub owner: PrincipalId,
    pub body: Body,
    pub comment: Option<String>,
}

/// What one grantee holds on one object, and what it may grant onwards.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement that makes it")]
pub struct ModelGrant {
    pub object: ObjectId,
    pub grantee: PrincipalId,
    pub privileges: Vec<Privilege>,
    pub grant_options: Vec<Privilege>,
}

/// The default privileges of one creator in one database or schema, all written out: the creator's own ALL and the
/// USAGE of `public` on types are entries like others.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement that makes it")]
pub struct ModelDefaults {
    pub holder: ObjectId,
    pub creator: PrincipalId,
    pub entries: Vec<ModelDefault>,
}

/// One entry of [`ModelDefaults`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the words of the statement that makes it")]
pub struct ModelDefault {
    pub class: DefaultClass,
    pub grantee: PrincipalId,
    pub privileges: Vec<Privilege>,
    pub grant_options: Vec<Privilege>,
}

/// One variable of sessions to come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement that makes it")]
pub struct ModelRoleSetting {
    pub database: ObjectId,
    pub role: PrincipalId,
    pub name: String,
    pub value: String,
}

impl Model {
    /// Applies one command, whole or not at all. Cost: a copy of the whole model.
    pub fn apply(&mut self, actor: Actor, context: &NameContext, command: &Command) -> Outcome {
        let mut copy = self.clone();
        match copy.attempt(actor, context, command) {
            Ok(told) => {
                copy.held.sort_by_key(|grant| (grant.object, grant.grantee));
                let changed = copy != *self;
                *self = copy;
                Outcome::Done(Done { changed, notices: told.notices, storage: told.storage })
            }
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    #[allow(clippy::too_many_lines, reason = "one arm for each command")]
    fn attempt(&mut self, actor: Actor, context: &NameContext, command: &Command) -> Result<Told, Refusal> {
        if actor.current != PrincipalId::NODE && !self.exists(actor.current) {
            return Err(say::actor_is_gone(actor.current));
        }
        match command {
            Command::CreateRole { .. }
            | Command::AlterRole { .. }
            | Command::DropRoles { .. }
            | Command::GrantRoles { .. }
            | Command::RevokeRoles { .. }
            | Command::AlterRoleSettings { .. }
            | Command::SetClusterSetting { .. } => self.attempt_on_principals(actor, context, command),
            Command::ProtectHistory { id, protection } => self.protect_history(actor, *id, protection),
            Command::ReleaseHistory { id } => self.release_history(actor, *id),
            Command::CreateJob { job } => self.create_job(actor, job),
            Command::ControlJob { id, control } => self.control_job(actor, *id, control),
            Command::AlterJobOwner { id, owner } => self.alter_job_owner(actor, *id, owner),
            Command::ClaimJob { id, node, boot } => self.claim_job(actor, *id, *node, *boot),
            Command::RenewClaims { node, boot } => self.renew_claims(actor, *node, *boot),
            Command::ReportJob { id, epoch, report } => self.report_job(actor, *id, *epoch, report),
            Command::CollectJobs => self.collect_jobs(actor),
            Command::CreateSchedules { .. }
            | Command::AlterSchedules { .. }
            | Command::ControlSchedule { .. }
            | Command::AdvanceSchedule { .. }
            | Command::RunSchedule { .. } => self.attempt_on_schedules(actor, command),
            Command::Shelve { job, epoch, number, position, step } => {
                self.shelve(actor, *job, (*epoch, *number), position, step)
            }
            Command::Grant { privileges, on, to, grant_option } => {
                self.grant(actor, context, privileges, on, to, *grant_option)
            }
            Command::Revoke { privileges, on, from, grant_option_only } => {
                self.revoke(actor, context, privileges, on, from, *grant_option_only)
            }
            Command::AlterDefaultPrivileges { creators, schemas, act, privileges, on, grantees } => {
                self.alter_defaults(actor, context, creators, schemas, *act, privileges, *on, grantees)
            }
            Command::AlterOwner { object, if_exists, owner } => {
                self.alter_owner(actor, context, object, *if_exists, owner)
            }
            Command::ReassignOwned { from, to } => self.reassign_owned(actor, context, from, to),
            Command::DropOwned { by, behavior } => self.drop_owned(actor, context, by, *behavior),
            Command::Rename { object, if_exists, to } => self.rename(actor, context, object, *if_exists, to),
            Command::SetSchema { object, if_exists, schema } => {
                self.set_schema(actor, context, object, *if_exists, schema)
            }
            Command::Comment { on, column, text } => {
                self.comment(actor, context, on, column.as_ref(), text.as_deref())
            }
            Command::DropDatabase { .. }
            | Command::DropSchemas { .. }
            | Command::DropTables { .. }
            | Command::DropViews { .. }
            | Command::DropSequences { .. }
            | Command::DropTypes { .. }
            | Command::DropFunctions { .. }
            | Command::DropExternalConnections { .. }
            | Command::DropIamRoles { .. } => self.attempt_drop(actor, context, command),
            Command::CreateDatabase { .. }
            | Command::CreateSchema { .. }
            | Command::CreateTable { .. }
            | Command::CreateView { .. }
            | Command::CreateSequence { .. }
            | Command::AlterSequence { .. }
            | Command::CreateType { .. }
            | Command::AlterType { .. }
            | Command::CreateFunction { .. }
            | Command::CreateExternalConnection { .. }
            | Command::AlterExternalConnection { .. }
            | Command::CreateIamRole { .. } => self.attempt_make(actor, context, command),
            Command::AlterTable { .. }
            | Command::CreateIndex { .. }
            | Command::DropIndexes { .. }
            | Command::RenameIndex { .. }
            | Command::CommentOnIndex { .. } => self.attempt_shape(actor, context, command),
        }
    }

    fn attempt_on_principals(
        &mut self,
        actor: Actor,
        context: &NameContext,
        command: &Command,
    ) -> Result<Told, Refusal> {
        match command {
            Command::CreateRole { name, is_role, if_not_exists, options } => {
                self.create_role(actor, name, *is_role, *if_not_exists, options)
            }
            Command::AlterRole { name, if_exists, options } => {
                self.alter_role(actor, name, *if_exists, options)
            }
            Command::DropRoles { names, if_exists } => self.drop_roles(actor, names, *if_exists),
            Command::GrantRoles { roles, members, admin_option } => {
                self.grant_roles(actor, roles, members, *admin_option)
            }
            Command::RevokeRoles { roles, members, admin_option_only } => {
                self.revoke_roles(actor, roles, members, *admin_option_only)
            }
            Command::AlterRoleSettings { role, if_exists, database, change } => {
                self.alter_role_settings(actor, role.as_ref(), *if_exists, database.as_ref(), change)
            }
            Command::SetClusterSetting { setting, value } => {
                self.set_cluster_setting(actor, *setting, value.as_deref())
            }
            other => unreachable!("{other:?} in {context:?} is about objects"),
        }
    }

    fn attempt_make(
        &mut self,
        actor: Actor,
        context: &NameContext,
        command: &Command,
    ) -> Result<Told, Refusal> {
        match command {
            Command::CreateDatabase { name, if_not_exists, owner } => {
                self.create_database(actor, name, *if_not_exists, owner.as_ref())
            }
            Command::CreateSchema { database, name, if_not_exists, owner } => {
                let (database, name, owner) = (database.as_ref(), name.as_ref(), owner.as_ref());
                self.create_schema(actor, context, database, name, *if_not_exists, owner)
            }
            Command::CreateTable { name, table, foreign_keys, identities, if_not_exists } => {
                let beside = (foreign_keys.as_slice(), identities.as_slice());
                self.create_table(actor, context, name, table, beside, *if_not_exists)
            }
            Command::CreateView { name, view, if_not_exists, or_replace } => {
                self.create_view(actor, context, name, view, *if_not_exists, *or_replace)
            }
            Command::CreateSequence { name, sequence, owned_by, if_not_exists } => {
                self.create_sequence(actor, context, name, sequence, owned_by.as_ref(), *if_not_exists)
            }
            Command::AlterSequence { name, if_exists, options } => {
                self.alter_sequence(actor, context, name, *if_exists, options)
            }
            Command::CreateType { name, labels, if_not_exists } => {
                self.create_type(actor, context, name, labels, *if_not_exists)
            }
            Command::AlterType { name, change } => self.alter_type(actor, context, name, change),
            Command::CreateFunction { name, function, or_replace } => {
                self.create_function(actor, context, name, function, *or_replace)
            }
            Command::CreateExternalConnection { name, uri, access, if_not_exists } => {
                self.create_external_connection(actor, name, uri, access, *if_not_exists)
            }
            Command::AlterExternalConnection { name, uri, access, if_exists } => {
                self.alter_external_connection(actor, name, uri, access, *if_exists)
            }
            Command::CreateIamRole { name, if_not_exists } => {
                self.create_iam_role(actor, name, *if_not_exists)
            }
            other => unreachable!("{other:?} makes nothing"),
        }
    }

    fn attempt_shape(
        &mut self,
        actor: Actor,
        context: &NameContext,
        command: &Command,
    ) -> Result<Told, Refusal> {
        match command {
            Command::AlterTable { name, if_exists, actions } => {
                self.alter_table(actor, context, name, *if_exists, actions)
            }
            Command::CreateIndex { name, if_not_exists, table, keys, unique, predicate } => {
                let rows = (*unique, predicate.as_ref());
                self.create_index(actor, context, name.as_ref(), *if_not_exists, table, keys, rows)
            }
            Command::DropIndexes { names, if_exists, behavior } => {
                self.drop_indexes(actor, context, names, *if_exists, *behavior)
            }
            Command::RenameIndex { index, if_exists, to } => {
                self.rename_index(actor, context, index, *if_exists, to)
            }
            Command::CommentOnIndex { index, text } => {
                self.comment_on_index(actor, context, index, text.as_deref())
            }
            other => unreachable!("{other:?} is not about shapes"),
        }
    }

    fn attempt_drop(
        &mut self,
        actor: Actor,
        context: &NameContext,
        command: &Command,
    ) -> Result<Told, Refusal> {
        match command {
            Command::DropDatabase { name, if_exists, behavior } => {
                self.drop_database(actor, name, *if_exists, *behavior)
            }
            Command::DropSchemas { names, if_exists, behavior } => {
                self.drop_schemas(actor, context, names, *if_exists, *behavior)
            }
            Command::DropTables { names, if_exists, behavior } => {
                self.drop_relations(actor, context, names, *if_exists, *behavior, "table")
            }
            Command::DropViews { names, if_exists, behavior } => {
                self.drop_relations(actor, context, names, *if_exists, *behavior, "view")
            }
            Command::DropSequences { names, if_exists, behavior } => {
                self.drop_relations(actor, context, names, *if_exists, *behavior, "sequence")
            }
            Command::DropTypes { names, if_exists, behavior } => {
                self.drop_types(actor, context, names, *if_exists, *behavior)
            }
            Command::DropFunctions { names, if_exists, behavior } => {
                self.drop_functions(actor, context, names, *if_exists, *behavior)
            }
            Command::DropExternalConnections { names, if_exists } => {
                self.drop_external_connections(actor, names, *if_exists)
            }
            Command::DropIamRoles { names, if_exists } => self.drop_iam_roles(actor, names, *if_exists),
            other => unreachable!("{other:?} drops nothing"),
        }
    }

    /// HasPrivilege of A.4, step by step.
    pub fn holds(&self, principal: PrincipalId, object: ObjectId, privilege: Privilege) -> bool {
        if privilege == Privilege::Rule {
            return false;
        }
        // A.4 leaves open what an ALL covers that is not stored; here it is what can be granted there.
        let ranked = self.has_no_descriptor(object) && object != ObjectId::CLUSTER;
        if ranked && !privilege.is_legal_on(self.kind(object)) {
            return false;
        }
        let superuser = [PrincipalId::ROOT, PrincipalId::ADMIN, PrincipalId::NODE].contains(&principal);
        if self.has_no_descriptor(object) && superuser && privilege != Privilege::NoSqlLogin {
            return privilege.is_legal_on(self.kind(object));
        }
        let by_entry = |role: PrincipalId| {
            let (privileges, _) = self.entry(object, role);
            privileges.contains(&privilege)
                || (privileges.contains(&Privilege::All) && privilege != Privilege::NoSqlLogin)
        };
        if by_entry(PrincipalId::PUBLIC) {
            return true;
        }
        for role in self.acts_as(principal) {
            if self.owner(object) == Some(role) || by_entry(role) {
                return true;
            }
        }
        principal == PrincipalId::NODE
    }

    /// Whether `principal` may grant and revoke `privilege` on `object` (E.4).
    pub fn holds_grant_option(&self, principal: PrincipalId, object: ObjectId, privilege: Privilege) -> bool {
        self.may_grant_all(principal, object, &[privilege])
    }

    /// The first need that does not hold, in the client's words.
    pub fn decide(&self, principal: PrincipalId, requirement: &Requirement) -> Decision {
        for need in &requirement.needs {
            if let Err(refusal) = self.check(principal, need) {
                return Decision::Deny(refusal);
            }
        }
        Decision::Allow
    }

    fn check(&self, principal: PrincipalId, need: &Need) -> Result<(), Refusal> {
        match need {
            Need::Privilege { object, privilege } => self.check_privilege(principal, *object, *privilege),
            Need::AnyPrivilege { object } => {
                let mut roles = self.acts_as(principal);
                roles.push(PrincipalId::PUBLIC);
                for role in roles {
                    if !self.entry(*object, role).0.is_empty() || self.owner(*object) == Some(role) {
                        return Ok(());
                    }
                }
                if principal == PrincipalId::NODE {
                    return Ok(());
                }
                Err(say::no_privileges(
                    &self.principal_name(principal),
                    self.kind(*object),
                    &self.label(*object),
                ))
            }
            Need::Ownership { object } => {
                if self.owns_or_admin(principal, *object) {
                    return Ok(());
                }
                Err(say::must_own(self.kind(*object), &self.label(*object)))
            }
            Need::Admin { action } => {
                if self.is_admin(principal) {
                    return Ok(());
                }
                Err(say::admin_only(action))
            }
            Need::Option(option) => self.check_option(principal, *option),
            Need::SystemOrOption(privilege) => {
                if self.has_system_or_option(principal, *privilege) {
                    return Ok(());
                }
                Err(say::no_option(&self.principal_name(principal), privilege.word()))
            }
            Need::AnyOf { object, privileges } => {
                let mut words = Vec::new();
                for privilege in privileges {
                    if self.holds(principal, *object, *privilege) {
                        return Ok(());
                    }
                    words.push(privilege.word());
                }
                Err(say::no_privilege_of(
                    &self.principal_name(principal),
                    &words.join(" or "),
                    self.kind(*object),
                    &self.label(*object),
                ))
            }
            Need::Outside(access) => self.check_outside(principal, access),
            Need::Changefeed { tables, to } => self.check_changefeed(principal, tables, *to),
        }
    }

    fn check_privilege(
        &self,
        principal: PrincipalId,
        object: ObjectId,
        privilege: Privilege,
    ) -> Result<(), Refusal> {
        if self.holds(principal, object, privilege) {
            return Ok(());
        }
        let user = self.principal_name(principal);
        Err(say::no_privilege(&user, privilege, self.kind(object), &self.label(object)))
    }

    fn check_option(&self, principal: PrincipalId, option: RoleOption) -> Result<(), Refusal> {
        if self.has_option(principal, option) {
            return Ok(());
        }
        Err(say::no_option(&self.principal_name(principal), option.word()))
    }

    /// HasGlobalPrivilegeOrRoleOption.
    fn has_system_or_option(&self, principal: PrincipalId, privilege: Privilege) -> bool {
        let by_option = RoleOption::each()
            .any(|option| option.word() == privilege.word() && self.has_option(principal, option));
        by_option || self.holds(principal, ObjectId::CLUSTER, privilege)
    }

    /// HasRoleOption: set on exactly this principal, or an admin's.
    pub fn has_option(&self, principal: PrincipalId, option: RoleOption) -> bool {
        self.is_admin(principal)
            || self.principals.iter().any(|known| known.id == principal && known.options.contains(&option))
    }

    /// HasAdminRole.
    pub fn is_admin(&self, principal: PrincipalId) -> bool {
        principal == PrincipalId::ROOT
            || principal == PrincipalId::NODE
            || self.acts_as(principal).contains(&PrincipalId::ADMIN)
    }

    /// `principal` and every role that it belongs to, directly or not; without `public`.
    pub fn acts_as(&self, principal: PrincipalId) -> Vec<PrincipalId> {
        let mut roles = vec![principal];
        loop {
            let before = roles.len();
            for edge in &self.edges {
                if roles.contains(&edge.member) && !roles.contains(&edge.role) {
                    roles.push(edge.role);
                }
            }
            if roles.len() == before {
                return roles;
            }
        }
    }

    fn owns(&self, principal: PrincipalId, object: ObjectId) -> bool {
        self.acts_as(principal).iter().any(|role| self.owner(object) == Some(*role))
    }

    fn owns_or_admin(&self, principal: PrincipalId, object: ObjectId) -> bool {
        self.is_admin(principal) || self.owns(principal, object)
    }

    /// The cluster, external connections, roles of clouds and virtual tables: what the original keeps in
    /// `system.privileges` (E.10), or would.
    /// The tables of `system` are virtual here. ALL on one, which root has by rank then, is SELECT, which E.7 gives it.
    fn has_no_descriptor(&self, object: ObjectId) -> bool {
        let kinds = [
            ObjectKind::Cluster,
            ObjectKind::ExternalConnection,
            ObjectKind::VirtualTable,
            ObjectKind::IamRole,
        ];
        kinds.contains(&self.kind(object))
    }

    fn owner(&self, object: ObjectId) -> Option<PrincipalId> {
        if let Some(known) = system::object(object) {
            return Some(known.owner);
        }
        self.objects.iter().find(|known| known.id == object).map(|known| known.owner)
    }

    fn kind(&self, object: ObjectId) -> ObjectKind {
        if let Some(known) = system::object(object) {
            return known.kind();
        }
        self.objects.iter().find(|known| known.id == object).map_or(ObjectKind::Cluster, ModelObject::kind)
    }

    /// The unqualified name.
    fn label(&self, object: ObjectId) -> String {
        self.name_of(object).map_or(String::new(), |name| name.to_string())
    }

    fn name_of(&self, object: ObjectId) -> Option<Name> {
        if let Some(known) = system::object(object) {
            return Some(known.name.clone());
        }
        self.objects.iter().find(|known| known.id == object).map(|known| known.name.clone())
    }

    /// `d`, `d.s` or `d.s.t`; of what is virtual without a database.
    fn full_name(&self, object: ObjectId) -> String {
        let mut parts = Vec::new();
        let mut at = object;
        while let Some(name) = self.name_of(at) {
            parts.insert(0, name.to_string());
            at = self.parent(at);
        }
        parts.join(".")
    }

    /// What `grantee` itself holds on `object` and may grant there, with what `admin` has by rank.
    fn entry(&self, object: ObjectId, grantee: PrincipalId) -> (Vec<Privilege>, Vec<Privilege>) {
        let mut privileges = Vec::new();
        let mut grant_options = Vec::new();
        if self.has_no_descriptor(object) && grantee == PrincipalId::ADMIN {
            privileges.push(Privilege::All);
            grant_options.push(Privilege::All);
        }
        for grant in self.grants_on(object) {
            if grant.grantee == grantee {
                privileges.extend(&grant.privileges);
                grant_options.extend(&grant.grant_options);
            }
        }
        (privileges, grant_options)
    }

    /// What is stored on `object`, or what every cluster has there.
    fn grants_on(&self, object: ObjectId) -> Vec<ModelGrant> {
        match system::object(object) {
            Some(known) if !self.virtual_changed.contains(&object) => ground::grants_of(object, known),
            _ => self.held.iter().filter(|grant| grant.object == object).cloned().collect(),
        }
    }

    /// The name to print.
    pub fn principal_name(&self, id: PrincipalId) -> RoleName {
        if id == PrincipalId::PUBLIC {
            return RoleName::normalize("public");
        }
        if id == PrincipalId::NODE {
            return RoleName::normalize("node");
        }
        self.principals
            .iter()
            .find(|known| known.id == id)
            .map_or_else(|| RoleName::normalize(&format!("[{id}]")), |known| known.name.clone())
    }

    /// The principal of this name; `public` and `node` are none.
    pub fn find_principal(&self, name: &RoleName) -> Option<PrincipalId> {
        self.principals.iter().find(|known| known.name == *name).map(|known| known.id)
    }

    fn principal(&self, actor: Actor, spec: &RoleSpec) -> Result<PrincipalId, Refusal> {
        match spec {
            RoleSpec::Name(name) => self.find_principal(name).ok_or_else(|| say::unknown_role(name)),
            RoleSpec::CurrentUser => Ok(actor.current),
            RoleSpec::SessionUser if self.exists(actor.session) => Ok(actor.session),
            RoleSpec::SessionUser => Err(say::unknown_role(&self.principal_name(actor.session))),
        }
    }

    fn exists(&self, principal: PrincipalId) -> bool {
        self.principals.iter().any(|known| known.id == principal)
    }

    /// As [`Self::principal`], but `public` may be named.
    fn grantee(&self, actor: Actor, spec: &RoleSpec) -> Result<PrincipalId, Refusal> {
        match spec {
            RoleSpec::Name(name) if name.as_str() == "public" => Ok(PrincipalId::PUBLIC),
            RoleSpec::Name(_) | RoleSpec::CurrentUser | RoleSpec::SessionUser => self.principal(actor, spec),
        }
    }
}

/// What a command has to say beside "done".
#[derive(Default)]
struct Told {
    notices: Vec<Refusal>,
    storage: Vec<StorageChange>,
}

impl Told {
    fn notice(notice: Refusal) -> Self {
        Self { notices: vec![notice], storage: Vec::new() }
    }

    fn create(object: ObjectId) -> Self {
        Self { notices: Vec::new(), storage: vec![StorageChange::Create(object)] }
    }
}
