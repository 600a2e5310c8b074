//! The catalog as a value: `apply` is total and deterministic, and the only way to change it.
//!
//! The maps are persistent: a clone shares everything, so a command is applied to a clone that replaces the state when
//! all went well and is dropped when it did not. That is how a refusal changes nothing.
//!
//! Submodules, in the order in which they build on each other: `named` finds ids by name · `store` is the only code that writes the maps, and keeps
//! the index with them, `records` reads what is kept of them · `bootstrap` makes a new cluster's catalog, `restore` one from records · `resolve` and `targets`
//! turn names into ids · `references` says what may refer to what · `table` checks the shape of one, and `reshape` gives
//! it another. Then one for each family of statements: `roles`, `drop_roles` and `members`; `objects` (databases, schemas,
//! tables, and what every CREATE does), `columns`, `constraints`, `indexes`, `alter` (ALTER TABLE), `views`, `sequences`, `types`, `functions`, `connections`, `iam_roles`; `drops`, `drop_owned`; `rename` (also SET SCHEMA and COMMENT);
//! `owners`; `privileges`; `defaults`; `settings`, `role_settings`, `protections`, `jobs`, `schedules`, `shelf` (RESTORE) and `sessions`.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::command::{Actor, Command, Done, NameContext, Outcome};
use crate::defaults::DefaultPrivileges;
use crate::dense::ByObject;
use crate::grant::{Acl, Membership};
use crate::id::{ObjectId, PrincipalId, ScheduleId, Timestamp, Version};
use crate::index::{Index, Target};
use crate::job::{ClaimLease, Job, JobId};
use crate::name::{Name, RoleName};
use crate::object::Object;
use crate::privilege::{ObjectKind, Privilege};
use crate::protection::{Protection, ProtectionId};
use crate::record::{Change, Counters, RecordKey};
use crate::refusal::{self, Refusal};
use crate::require::Need;
use crate::role::{Principal, RoleOption, RoleSettings};
use crate::schedule::Schedule;
use crate::setting::Setting;
use crate::shelf::{Shelf, Shelved};
use crate::state::defaults::AlterDefaults;
use crate::state::drops::RelationKind;
use crate::state::indexes::NewIndex;
use crate::state::named::Named;
use crate::state::reshape::Reshaped;
use crate::state::schedules::NewSchedules;
use crate::state::shelf::Claimed;

mod alter;
mod bootstrap;
mod columns;
mod connections;
mod constraints;
mod defaults;
mod drop_owned;
mod drop_roles;
mod drops;
mod feeds;
mod functions;
mod iam_roles;
mod identity;
mod indexes;
mod jobs;
mod members;
mod named;
mod objects;
mod owners;
mod privileges;
mod protections;
mod records;
mod references;
mod rename;
mod reshape;
mod resolve;
mod restore;
mod role_settings;
mod roles;
mod schedules;
mod sequences;
mod sessions;
mod settings;
mod shelf;
mod store;
mod table;
mod targets;
mod types;
mod views;

pub use defaults::DEFAULT_ENTRIES_MAX;
pub use jobs::protection_of;
pub use restore::RestoreError;
pub use role_settings::{VARIABLE_BYTES_MAX, VARIABLES_MAX};
pub use sessions::{Activity, PasswordText};

/// Everything that the catalog knows. Cloning costs a few reference counts: the maps share structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    principals: OrdMap<PrincipalId, Arc<Principal>>,
    principal_names: OrdMap<RoleName, PrincipalId>,
    /// (role, member) to ADMIN OPTION.
    members: OrdMap<(PrincipalId, PrincipalId), bool>,
    /// The same edges as (member, role).
    member_of: OrdMap<(PrincipalId, PrincipalId), bool>,
    objects: ByObject<Arc<Object>>,
    /// Never holds an empty map.
    names: OrdMap<(ObjectId, Namespace), OrdMap<Name, ObjectId>>,
    /// (object, who refers to it): [`Object::references`] the other way round.
    referrers: OrdSet<(ObjectId, ObjectId)>,
    /// What was granted on the cluster.
    system_acl: Acl,
    /// (database or cluster, role or everybody) to variables.
    role_settings: OrdMap<(ObjectId, PrincipalId), Arc<RoleSettings>>,
    /// (database or schema, creator or everybody) to default privileges.
    defaults: OrdMap<(ObjectId, PrincipalId), Arc<DefaultPrivileges>>,
    /// Cluster settings that were set.
    settings: OrdMap<Setting, String>,
    protections: OrdMap<ProtectionId, Protection>,
    jobs: OrdMap<JobId, Arc<Job>>,
    next_job: JobId,
    /// By node.
    claim_leases: OrdMap<u64, ClaimLease>,
    schedules: OrdMap<ScheduleId, Arc<Schedule>>,
    shelves: OrdMap<JobId, Arc<Shelf>>,
    /// By job, in the order in which they came.
    shelved: OrdMap<(JobId, u32), Arc<Shelved>>,
    /// Where an object is on a shelf.
    shelved_objects: OrdMap<ObjectId, (JobId, u32)>,
    counters: Counters,
    named: Named,
    index: Index,
}

/// Within one parent, names of one namespace are unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Namespace {
    Databases,
    Schemas,
    /// Tables, views, sequences and types.
    Relations,
    /// By name and argument types.
    Functions,
    ExternalConnections,
    IamRoles,
}

impl Namespace {
    const fn of(kind: ObjectKind) -> Option<Self> {
        match kind {
            ObjectKind::Database => Some(Self::Databases),
            ObjectKind::Schema => Some(Self::Schemas),
            ObjectKind::Table | ObjectKind::Sequence | ObjectKind::Type | ObjectKind::VirtualTable => {
                Some(Self::Relations)
            }
            ObjectKind::Function => Some(Self::Functions),
            ObjectKind::ExternalConnection => Some(Self::ExternalConnections),
            ObjectKind::IamRole => Some(Self::IamRoles),
            ObjectKind::Cluster => None,
        }
    }
}

impl State {
    /// Applies one command, whole or not at all. A refusal changes nothing. What changed is appended to `changes`, in
    /// key order.
    ///
    /// `version` and `time` are those of the log entry; only jobs carry a time. Cost: grows with what the command touches.
    pub fn apply(
        &mut self,
        _version: Version,
        time: Timestamp,
        actor: Actor,
        context: &NameContext,
        command: &Command,
        changes: &mut Vec<Change>,
    ) -> Outcome {
        let mut work = Work {
            state: self.clone(),
            actor,
            time,
            context,
            touched: Vec::new(),
            reshaped: BTreeMap::new(),
            done: Done::default(),
        };
        if let Err(refusal) = work.run(command) {
            return Outcome::Refused(refusal);
        }
        let altered = work.reshaped_storage();
        work.done.storage.extend(altered);
        let Work { state: next, mut touched, mut done, .. } = work;
        touched.sort_unstable();
        touched.dedup();
        for key in touched.into_iter().filter(|key| !self.has_same_record(&next, *key)) {
            changes.push(Change { key, value: next.record(key) });
            done.changed = true;
        }
        *self = next;
        Outcome::Done(done)
    }

    /// The principal with this id. None: never was, or dropped.
    pub fn principal(&self, id: PrincipalId) -> Option<&Principal> {
        self.principals.get(&id).map(Arc::as_ref)
    }

    /// The principal of this name (`public` and `node` are not principals).
    pub fn principal_id(&self, name: &RoleName) -> Option<PrincipalId> {
        self.named.principal(name.as_str())
    }

    /// The same of a text that a client wrote. Cost: one look-up, and nothing more for a text that is a name as it stands.
    pub fn principal_called(&self, text: &str) -> Option<PrincipalId> {
        self.named.principal(&RoleName::normal(text))
    }

    /// The table, view or sequence of these names: database, schema and its own, as a client wrote them. Names are not
    /// searched for: [`Self::resolve_relation`] does that. Cost: one look-up for each, and one of its kind.
    pub fn relation_called(&self, [database, schema, name]: [&str; 3]) -> Option<ObjectId> {
        let child = |parent, namespace, name| self.named.child(parent, namespace, &Name::normal(name));
        let database = child(ObjectId::CLUSTER, Namespace::Databases, database)?;
        let schema = child(database, Namespace::Schemas, schema)
            .or_else(|| child(ObjectId::CLUSTER, Namespace::Schemas, schema))?;
        let found = child(schema, Namespace::Relations, name)?;
        let kind = self.index.target(found).and_then(Target::kind);
        (kind != Some(ObjectKind::Type)).then_some(found)
    }

    /// How many names are found, of principals and of objects.
    pub(crate) fn names_found(&self) -> (u32, u32) {
        self.named.counts()
    }

    /// All principals, sorted by name; without `public` and `node`.
    pub fn principals(&self) -> impl Iterator<Item = (PrincipalId, &Principal)> {
        self.principal_names.iter().filter_map(|(_, id)| Some((*id, self.principal(*id)?)))
    }

    /// Those from an id on, sorted by id; without `public` and `node`.
    pub fn principals_from(&self, id: PrincipalId) -> impl Iterator<Item = PrincipalId> {
        self.principals.range(id..).map(|(id, _)| *id)
    }

    /// The name to print for a principal, `public` and `node` included. One that is gone is printed as its id in
    /// brackets, which no principal can be called.
    pub fn principal_name(&self, id: PrincipalId) -> RoleName {
        match id {
            PrincipalId::PUBLIC => RoleName::from("public"),
            PrincipalId::NODE => RoleName::from("node"),
            _ => self.principal(id).map_or_else(
                || RoleName::from(format!("[{id}]").as_str()),
                |principal| principal.name.clone(),
            ),
        }
    }

    /// All membership edges, sorted by (role, member).
    pub fn memberships(&self) -> impl Iterator<Item = Membership> {
        self.members.iter().map(|((role, member), admin_option)| Membership {
            role: *role,
            member: *member,
            admin_option: *admin_option,
        })
    }

    /// The roles that `member` belongs to directly, sorted by id, and whether with ADMIN OPTION.
    pub fn roles_of(&self, member: PrincipalId) -> impl Iterator<Item = (PrincipalId, bool)> {
        self.member_of
            .range((member, PrincipalId(0))..=(member, PrincipalId(u32::MAX)))
            .map(|((_, role), admin_option)| (*role, *admin_option))
    }

    /// Who belongs to `role` directly, sorted by id, and whether with ADMIN OPTION.
    pub fn members_of(&self, role: PrincipalId) -> impl Iterator<Item = (PrincipalId, bool)> {
        self.members
            .range((role, PrincipalId(0))..=(role, PrincipalId(u32::MAX)))
            .map(|((_, member), admin_option)| (*member, *admin_option))
    }

    /// The object with this id. The cluster is not one: see [`Self::acl`] for its privileges.
    pub fn object(&self, id: ObjectId) -> Option<&Object> {
        self.objects.get(id).map(Arc::as_ref)
    }

    /// What refers to `object` and keeps it from being dropped, sorted by id: views and functions that name it, tables
    /// with a column of the type, or a default that uses the sequence.
    pub fn referrers(&self, object: ObjectId) -> impl Iterator<Item = (ObjectId, &Object)> {
        self.referrers
            .range((object, ObjectId(0))..=(object, ObjectId(u32::MAX)))
            .filter_map(|(_, id)| Some((*id, self.object(*id)?)))
    }

    /// All pairs of an object and one that refers to it, sorted.
    pub(crate) fn referrer_pairs(&self) -> impl Iterator<Item = (ObjectId, ObjectId)> {
        self.referrers.iter().copied()
    }

    /// The variables that sessions of `role` begin with in `database` ([`ObjectId::CLUSTER`]: in any;
    /// [`PrincipalId::EVERYBODY`]: of every role).
    pub fn role_settings(&self, database: ObjectId, role: PrincipalId) -> Option<&RoleSettings> {
        self.role_settings.get(&(database, role)).map(Arc::as_ref)
    }

    /// All of them, sorted by (database, role).
    pub fn all_role_settings(&self) -> impl Iterator<Item = (ObjectId, PrincipalId, &RoleSettings)> {
        self.role_settings.iter().map(|((database, role), settings)| (*database, *role, settings.as_ref()))
    }

    /// The value of a cluster setting: what was set, or its default.
    pub fn setting(&self, setting: Setting) -> &str {
        self.settings.get(&setting).map_or(setting.row().default, String::as_str)
    }

    /// All objects, sorted by id; those that are computed come last.
    pub fn objects(&self) -> impl Iterator<Item = (ObjectId, &Object)> {
        self.objects.iter().map(|(id, object)| (id, object.as_ref()))
    }

    /// Whether this and `other`, a state before or after it, are the same, nothing having changed between them. Cost: a few
    /// loads, whatever the size of the catalog. False also where things changed and changed back.
    pub fn is_unchanged_from(&self, other: &Self) -> bool {
        // What is derived follows: the other directions, the index, the table of names.
        self.principals.ptr_eq(&other.principals)
            && self.members.ptr_eq(&other.members)
            && self.objects.shares_all_with(&other.objects)
            && self.system_acl == other.system_acl
            && self.role_settings.ptr_eq(&other.role_settings)
            && self.defaults.ptr_eq(&other.defaults)
            && self.settings.ptr_eq(&other.settings)
            && self.protections.ptr_eq(&other.protections)
            && self.jobs.ptr_eq(&other.jobs)
            && self.next_job == other.next_job
            && self.claim_leases.ptr_eq(&other.claim_leases)
            && self.schedules.ptr_eq(&other.schedules)
            && self.shelves.ptr_eq(&other.shelves)
            && self.shelved.ptr_eq(&other.shelved)
            && self.counters == other.counters
    }

    /// What was granted on an object, or on the cluster, whose superusers' privileges are not stored.
    pub fn acl(&self, id: ObjectId) -> Option<&Acl> {
        match id {
            ObjectId::CLUSTER => Some(&self.system_acl),
            _ => self.object(id).map(|object| &object.acl),
        }
    }

    /// The kind of an object; the cluster is one here.
    pub fn kind(&self, id: ObjectId) -> Option<ObjectKind> {
        match id {
            ObjectId::CLUSTER => Some(ObjectKind::Cluster),
            _ => self.object(id).map(Object::kind),
        }
    }

    /// What `parent` contains directly, sorted by (kind namespace, name).
    pub fn children(&self, parent: ObjectId) -> impl Iterator<Item = (ObjectId, &Object)> {
        self.names
            .range((parent, Namespace::Databases)..=(parent, Namespace::IamRoles))
            .flat_map(|(_, names)| names.values())
            .filter_map(|id| Some((*id, self.object(*id)?)))
    }

    /// The next ids.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The decision index of this state.
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Whether `principal` has `option`: set on exactly itself, or because it is an admin.
    ///
    /// Not for NOLOGIN and NOSQLLOGIN of admins: those are read from the principal itself.
    /// Source: authorization spec, A.4 (HasRoleOption).
    pub fn has_option(&self, principal: PrincipalId, option: RoleOption) -> bool {
        self.index.is_admin(principal)
            || self.principal(principal).is_some_and(|held| held.options.contains(option))
    }

    /// Whether `principal` has ADMIN OPTION on `role`, itself or through a role that it belongs to. A role does not
    /// administer itself. Source: authorization spec, D.2.
    pub fn admin_option(&self, principal: PrincipalId, role: PrincipalId) -> bool {
        self.index.closure(principal).is_some_and(|closure| {
            closure.roles().any(|member| self.members.get(&(role, member)) == Some(&true))
        })
    }

    /// Whether `need` holds for `principal`; if not, what the client is told.
    ///
    /// Source: authorization spec, A.4.
    pub fn check(&self, principal: PrincipalId, need: &Need) -> Result<(), Refusal> {
        let user = || self.principal_name(principal);
        match need {
            Need::Privilege { object, privilege } => self.check_privilege(principal, *object, *privilege),
            Need::AnyPrivilege { object } => {
                let (kind, name) = self.kind_and_name(*object)?;
                let holds = self.index.holds_any(principal, *object);
                holds.then_some(()).ok_or_else(|| refusal::lacks_any_privilege(&user(), kind, &name))
            }
            Need::Ownership { object } => {
                let (kind, name) = self.kind_and_name(*object)?;
                let owns = self.index.is_admin(principal) || self.index.owns(principal, *object);
                owns.then_some(()).ok_or_else(|| refusal::not_owner(kind, &name))
            }
            Need::Admin { action } => {
                self.index.is_admin(principal).then_some(()).ok_or_else(|| refusal::admin_only(action))
            }
            Need::Option(option) => {
                let has = self.has_option(principal, *option);
                has.then_some(()).ok_or_else(|| refusal::lacks_option(&user(), option.word()))
            }
            Need::SystemOrOption(privilege) => {
                let has = |option: RoleOption| self.has_option(principal, option);
                let by_option = RoleOption::each().any(|it| it.word() == privilege.word() && has(it));
                (self.index.holds(principal, ObjectId::CLUSTER, *privilege) || by_option)
                    .then_some(())
                    .ok_or_else(|| refusal::lacks_option(&user(), privilege.word()))
            }
            Need::AnyOf { object, privileges } => {
                if privileges.iter().any(|privilege| self.index.holds(principal, *object, *privilege)) {
                    return Ok(());
                }
                let (kind, name) = self.kind_and_name(*object)?;
                Err(refusal::lacks_all_of(&user(), privileges, kind, &name))
            }
            Need::Outside(access) => self.check_outside(principal, access),
            Need::Changefeed { tables, to } => self.check_changefeed(principal, tables, *to),
        }
    }

    /// Whether `principal` holds `privilege` on `object`; if not, what the client is told.
    pub fn check_privilege(
        &self,
        principal: PrincipalId,
        object: ObjectId,
        privilege: Privilege,
    ) -> Result<(), Refusal> {
        if self.index.holds(principal, object, privilege) {
            return Ok(());
        }
        let (kind, name) = self.kind_and_name(object)?;
        Err(refusal::lacks_privilege(&self.principal_name(principal), privilege, kind, &name))
    }

    fn kind_and_name(&self, id: ObjectId) -> Result<(ObjectKind, Name), Refusal> {
        match id {
            ObjectId::CLUSTER => Ok((ObjectKind::Cluster, Name::from(""))),
            _ => {
                let object = self.object(id).ok_or_else(|| refusal::object_gone(id))?;
                Ok((object.kind(), object.name.clone()))
            }
        }
    }
}

/// One command on its way: the clone that it changes, and what it leaves to say and to do.
struct Work<'a> {
    state: State,
    actor: Actor,
    /// That of the log.
    time: Timestamp,
    context: &'a NameContext,
    /// In the order of the work; a key may stand there more than once.
    touched: Vec<RecordKey>,
    /// The tables that have another shape now.
    reshaped: BTreeMap<ObjectId, Reshaped>,
    done: Done,
}

impl Work<'_> {
    #[expect(clippy::too_many_lines, reason = "one arm for each command")]
    fn run(&mut self, command: &Command) -> Result<(), Refusal> {
        let caller = self.actor.current;
        if caller != PrincipalId::NODE && self.state.principal(caller).is_none() {
            return Err(refusal::principal_gone(caller));
        }
        match command {
            Command::CreateRole { name, is_role, if_not_exists, options } => {
                self.create_role(name, *is_role, *if_not_exists, options)
            }
            Command::AlterRole { name, if_exists, options } => self.alter_role(name, *if_exists, options),
            Command::DropRoles { names, if_exists } => self.drop_roles(names, *if_exists),
            Command::GrantRoles { roles, members, admin_option } => {
                self.grant_roles(roles, members, *admin_option)
            }
            Command::RevokeRoles { roles, members, admin_option_only } => {
                self.revoke_roles(roles, members, *admin_option_only)
            }
            Command::Grant { privileges, on, to, grant_option } => {
                self.grant(privileges, on, to, *grant_option)
            }
            Command::Revoke { privileges, on, from, grant_option_only } => {
                self.revoke(privileges, on, from, *grant_option_only)
            }
            Command::CreateDatabase { name, if_not_exists, owner } => {
                self.create_database(name, *if_not_exists, owner.as_ref())
            }
            Command::DropDatabase { name, if_exists, behavior } => {
                self.drop_database(name, *if_exists, *behavior)
            }
            Command::CreateSchema { database, name, if_not_exists, owner } => {
                self.create_schema(database.as_ref(), name.as_ref(), *if_not_exists, owner.as_ref())
            }
            Command::DropSchemas { names, if_exists, behavior } => {
                self.drop_schemas(names, *if_exists, *behavior)
            }
            Command::CreateTable { name, table, foreign_keys, identities, if_not_exists } => {
                self.create_table(name, table, foreign_keys, identities, *if_not_exists)
            }
            Command::AlterTable { name, if_exists, actions } => self.alter_table(name, *if_exists, actions),
            Command::CreateIndex { name, if_not_exists, table, keys, unique, predicate } => {
                let (name, predicate, unique) = (name.as_ref(), predicate.as_ref(), *unique);
                let index = NewIndex { name, keys, unique, predicate };
                self.create_index(table, &index, *if_not_exists)
            }
            Command::DropIndexes { names, if_exists, behavior } => {
                self.drop_indexes(names, *if_exists, *behavior)
            }
            Command::RenameIndex { index, if_exists, to } => self.rename_index(index, *if_exists, to),
            Command::CommentOnIndex { index, text } => self.comment_on_index(index, text.as_deref()),
            Command::DropTables { names, if_exists, behavior } => {
                self.drop_relations(names, RelationKind::Table, *if_exists, *behavior)
            }
            Command::AlterOwner { object, if_exists, owner } => self.alter_owner(object, *if_exists, owner),
            Command::ReassignOwned { from, to } => self.reassign_owned(from, to),
            Command::AlterDefaultPrivileges { creators, schemas, act, privileges, on, grantees } => {
                let (act, on) = (*act, *on);
                let statement = AlterDefaults { creators, schemas, act, privileges, on, grantees };
                self.alter_default_privileges(&statement)
            }
            Command::DropOwned { by, behavior } => self.drop_owned(by, *behavior),
            Command::CreateView { name, view, if_not_exists, or_replace } => {
                self.create_view(name, view, *if_not_exists, *or_replace)
            }
            Command::DropViews { names, if_exists, behavior } => {
                self.drop_relations(names, RelationKind::View, *if_exists, *behavior)
            }
            Command::CreateSequence { name, sequence, owned_by, if_not_exists } => {
                self.create_sequence(name, sequence, owned_by.as_ref(), *if_not_exists)
            }
            Command::AlterSequence { name, if_exists, options } => {
                self.alter_sequence(name, *if_exists, options)
            }
            Command::DropSequences { names, if_exists, behavior } => {
                self.drop_relations(names, RelationKind::Sequence, *if_exists, *behavior)
            }
            Command::CreateType { name, labels, if_not_exists } => {
                self.create_type(name, labels, *if_not_exists)
            }
            Command::AlterType { name, change } => self.alter_type(name, change),
            Command::DropTypes { names, if_exists, behavior } => {
                self.drop_types(names, *if_exists, *behavior)
            }
            Command::CreateFunction { name, function, or_replace } => {
                self.create_function(name, function, *or_replace)
            }
            Command::DropFunctions { names, if_exists, behavior } => {
                self.drop_functions(names, *if_exists, *behavior)
            }
            Command::CreateExternalConnection { name, uri, access, if_not_exists } => {
                self.create_external_connection(name, uri, access, *if_not_exists)
            }
            Command::AlterExternalConnection { name, uri, access, if_exists } => {
                self.alter_external_connection(name, uri, access, *if_exists)
            }
            Command::DropExternalConnections { names, if_exists } => {
                self.drop_external_connections(names, *if_exists)
            }
            Command::Rename { object, if_exists, to } => self.rename(object, *if_exists, to),
            Command::SetSchema { object, if_exists, schema } => self.set_schema(object, *if_exists, schema),
            Command::Comment { on, column, text } => self.comment(on, column.as_ref(), text.as_deref()),
            Command::AlterRoleSettings { role, if_exists, database, change } => {
                self.alter_role_settings(role.as_ref(), *if_exists, database.as_ref(), change)
            }
            Command::SetClusterSetting { setting, value } => {
                self.set_cluster_setting(*setting, value.as_deref())
            }
            Command::ProtectHistory { id, protection } => self.protect_history(*id, protection),
            Command::ReleaseHistory { id } => self.release_history(*id),
            Command::CreateIamRole { name, if_not_exists } => self.create_iam_role(name, *if_not_exists),
            Command::DropIamRoles { names, if_exists } => self.drop_iam_roles(names, *if_exists),
            Command::CreateJob { job } => self.create_job(job),
            Command::ControlJob { id, control } => self.control_job(*id, control),
            Command::AlterJobOwner { id, owner } => self.alter_job_owner(*id, owner),
            Command::ClaimJob { id, node, boot } => self.claim_job(*id, *node, *boot),
            Command::RenewClaims { node, boot } => self.renew_claims(*node, *boot),
            Command::ReportJob { id, epoch, report } => self.report_job(*id, *epoch, report),
            Command::CollectJobs => self.collect_jobs(),
            Command::Shelve { job, epoch, number, position, step } => {
                self.shelve(*job, Claimed { epoch: *epoch, number: *number }, position, step)
            }
            Command::CreateSchedules { token, full, incremental, if_not_exists, ignore_existing } => {
                let new = NewSchedules { token: *token, full, incremental: incremental.as_deref() };
                self.create_schedules(&new, *if_not_exists, *ignore_existing)
            }
            Command::AlterSchedules { id, to } => self.alter_schedules(*id, to),
            Command::ControlSchedule { id, control } => self.control_schedule(*id, *control),
            Command::AdvanceSchedule { id, as_of, next, failed } => {
                self.advance_schedule(*id, *as_of, *next, failed.as_deref())
            }
            Command::RunSchedule { id, as_of, next, job } => self.run_schedule(*id, *as_of, *next, job),
        }
    }

    /// The name of who acts, for texts.
    fn user(&self) -> RoleName {
        self.state.principal_name(self.actor.current)
    }

    /// Whether who acts is an admin.
    fn is_admin(&self) -> bool {
        self.state.index.is_admin(self.actor.current)
    }

    /// That who acts holds `privilege` on `object`.
    fn require(&self, object: ObjectId, privilege: Privilege) -> Result<(), Refusal> {
        self.state.check_privilege(self.actor.current, object, privilege)
    }

    /// That who acts has `option`.
    fn require_option(&self, option: RoleOption) -> Result<(), Refusal> {
        self.state.check(self.actor.current, &Need::Option(option))
    }
}
