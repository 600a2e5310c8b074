//! The slow twin: the same catalog once more, as nested loops over plain vectors, for tests only.
//!
//! It is written from the authorization spec alone and shares with the engine only the vocabulary (ids, names,
//! privileges, commands, the shape of a refusal). Nothing here is indexed, precomputed or clever, and every text is
//! written out a second time, so that a difference between the two is a defect in one of them.
//!
//! It does not check limits of length and size, and it knows nothing of storage, time and versions.
//!
//! Read next: `spec/say.rs` for the texts, `spec/generate.rs` for how the histories are made.

mod grants;
mod listing;
mod objects;
mod principals;
mod resolve;
mod say;

pub mod generate;

use crate::command::{Actor, Command, Done, NameContext, Outcome, RoleSpec, StorageChange};
use crate::decide::Decision;
use crate::id::{ObjectId, PrincipalId};
use crate::name::{Name, RoleName};
use crate::object::Table;
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::require::{Need, Requirement};
use crate::role::{PasswordVerifier, RoleOption};

/// A whole catalog in five vectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Model {
    /// Users and roles, in the order in which they were created.
    pub principals: Vec<ModelPrincipal>,
    /// Membership edges, in no order.
    pub edges: Vec<ModelEdge>,
    /// Databases, schemas and tables, in the order in which they were created.
    pub objects: Vec<ModelObject>,
    /// What is granted, in no order. On the cluster only what is stored: what `admin` has there is implicit.
    pub held: Vec<ModelGrant>,
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
}

/// `member` belongs to `role`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement that makes it")]
pub struct ModelEdge {
    pub role: PrincipalId,
    pub member: PrincipalId,
    pub admin_option: bool,
}

/// A database, schema or table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement that makes it")]
pub struct ModelObject {
    pub id: ObjectId,
    pub kind: ObjectKind,
    pub name: Name,
    pub parent: ObjectId,
    pub owner: PrincipalId,
    pub table: Option<Table>,
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

impl Model {
    /// A new cluster: root in admin, `system`, `defaultdb` with its schema `public`.
    pub fn bootstrap() -> Self {
        let mut model = Self {
            principals: Vec::new(),
            edges: Vec::new(),
            objects: Vec::new(),
            held: Vec::new(),
            next_principal: PrincipalId::FIRST_ORDINARY.0,
            next_object: ObjectId::DEFAULT_DATABASE.0,
        };
        for (id, name, is_role) in [(PrincipalId::ROOT, "root", false), (PrincipalId::ADMIN, "admin", true)] {
            model.principals.push(ModelPrincipal {
                id,
                name: RoleName::normalize(name),
                is_role,
                options: Vec::new(),
                password: None,
            });
        }
        model.edges.push(ModelEdge {
            role: PrincipalId::ADMIN,
            member: PrincipalId::ROOT,
            admin_option: true,
        });
        model.objects.push(ModelObject {
            id: ObjectId::SYSTEM_DATABASE,
            kind: ObjectKind::Database,
            name: Name::normalize("system"),
            parent: ObjectId::CLUSTER,
            owner: PrincipalId::NODE,
            table: None,
        });
        model.objects.push(ModelObject {
            id: ObjectId::SYSTEM_PUBLIC_SCHEMA,
            kind: ObjectKind::Schema,
            name: Name::normalize("public"),
            parent: ObjectId::SYSTEM_DATABASE,
            owner: PrincipalId::NODE,
            table: None,
        });
        let fixed = [
            (ObjectId::SYSTEM_DATABASE, Privilege::Connect),
            (ObjectId::SYSTEM_PUBLIC_SCHEMA, Privilege::Usage),
        ];
        for (object, privilege) in fixed {
            for grantee in [PrincipalId::ROOT, PrincipalId::ADMIN] {
                let grant_options = vec![privilege];
                model.held.push(ModelGrant { object, grantee, privileges: vec![privilege], grant_options });
            }
        }
        model.held.push(ModelGrant {
            object: ObjectId::SYSTEM_PUBLIC_SCHEMA,
            grantee: PrincipalId::PUBLIC,
            privileges: vec![Privilege::Usage],
            grant_options: Vec::new(),
        });
        model.add_database(Name::normalize("defaultdb"), PrincipalId::ROOT);
        model.next_object = ObjectId::FIRST_ORDINARY.0;
        model
    }

    /// Applies one command, whole or not at all. Cost: a copy of the whole model.
    pub fn apply(&mut self, actor: Actor, context: &NameContext, command: &Command) -> Outcome {
        let mut copy = self.clone();
        match copy.attempt(actor, context, command) {
            Ok(told) => {
                let changed = copy != *self;
                *self = copy;
                Outcome::Done(Done { changed, notices: told.notices, storage: told.storage })
            }
            Err(refusal) => Outcome::Refused(refusal),
        }
    }

    fn attempt(&mut self, actor: Actor, context: &NameContext, command: &Command) -> Result<Told, Refusal> {
        if actor.current != PrincipalId::NODE && !self.exists(actor.current) {
            return Err(say::actor_is_gone(actor.current));
        }
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
            Command::Grant { privileges, on, to, grant_option } => {
                self.grant(actor, context, privileges, on, to, *grant_option)
            }
            Command::Revoke { privileges, on, from, grant_option_only } => {
                self.revoke(actor, context, privileges, on, from, *grant_option_only)
            }
            Command::CreateDatabase { name, if_not_exists, owner } => {
                self.create_database(actor, name, *if_not_exists, owner.as_ref())
            }
            Command::DropDatabase { name, if_exists, behavior } => {
                self.drop_database(actor, name, *if_exists, *behavior)
            }
            Command::CreateSchema { database, name, if_not_exists, owner } => self.create_schema(
                actor,
                context,
                database.as_ref(),
                name.as_ref(),
                *if_not_exists,
                owner.as_ref(),
            ),
            Command::DropSchemas { names, if_exists, behavior } => {
                self.drop_schemas(actor, context, names, *if_exists, *behavior)
            }
            Command::CreateTable { name, table, if_not_exists } => {
                self.create_table(actor, context, name, table, *if_not_exists)
            }
            Command::DropTables { names, if_exists, behavior: _ } => {
                self.drop_tables(actor, context, names, *if_exists)
            }
            Command::AlterOwner { object, if_exists, owner } => {
                self.alter_owner(actor, context, object, *if_exists, owner)
            }
            Command::ReassignOwned { from, to } => self.reassign_owned(actor, context, from, to),
        }
    }

    /// HasPrivilege of A.4, step by step.
    pub fn holds(&self, principal: PrincipalId, object: ObjectId, privilege: Privilege) -> bool {
        if privilege == Privilege::Rule {
            return false;
        }
        let superuser = [PrincipalId::ROOT, PrincipalId::ADMIN, PrincipalId::NODE].contains(&principal);
        if object == ObjectId::CLUSTER && superuser && privilege != Privilege::NoSqlLogin {
            return privilege.is_legal_on(ObjectKind::Cluster);
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
                let by_option = RoleOption::each()
                    .any(|option| option.word() == privilege.word() && self.has_option(principal, option));
                if by_option || self.holds(principal, ObjectId::CLUSTER, *privilege) {
                    return Ok(());
                }
                Err(say::no_option(&self.principal_name(principal), privilege.word()))
            }
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

    /// Whether an existing principal may open an SQL session (C.3): root always; else neither option nor privilege may
    /// forbid it.
    pub fn may_log_in(&self, principal: PrincipalId) -> Result<(), Refusal> {
        let options = self.principals.iter().find(|known| known.id == principal).map(|known| &known.options);
        let forbidden = options.is_some_and(|options| {
            options.contains(&RoleOption::NoLogin) || options.contains(&RoleOption::NoSqlLogin)
        }) || self.holds(principal, ObjectId::CLUSTER, Privilege::NoSqlLogin);
        if forbidden && principal != PrincipalId::ROOT {
            return Err(say::no_login(&self.principal_name(principal)));
        }
        Ok(())
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

    fn owner(&self, object: ObjectId) -> Option<PrincipalId> {
        self.objects.iter().find(|known| known.id == object).map(|known| known.owner)
    }

    fn kind(&self, object: ObjectId) -> ObjectKind {
        self.objects.iter().find(|known| known.id == object).map_or(ObjectKind::Cluster, |known| known.kind)
    }

    /// The unqualified name.
    fn label(&self, object: ObjectId) -> String {
        self.objects
            .iter()
            .find(|known| known.id == object)
            .map_or(String::new(), |known| known.name.to_string())
    }

    /// `d`, `d.s` or `d.s.t`.
    fn full_name(&self, object: ObjectId) -> String {
        let mut parts = Vec::new();
        let mut at = object;
        while let Some(known) = self.objects.iter().find(|known| known.id == at) {
            parts.insert(0, known.name.to_string());
            at = known.parent;
        }
        parts.join(".")
    }

    /// What `grantee` itself holds on `object` and may grant there, with what `admin` has on the cluster.
    fn entry(&self, object: ObjectId, grantee: PrincipalId) -> (Vec<Privilege>, Vec<Privilege>) {
        let mut privileges = Vec::new();
        let mut grant_options = Vec::new();
        if object == ObjectId::CLUSTER && grantee == PrincipalId::ADMIN {
            privileges.push(Privilege::All);
            grant_options.push(Privilege::All);
        }
        for grant in &self.held {
            if grant.object == object && grant.grantee == grantee {
                privileges.extend(&grant.privileges);
                grant_options.extend(&grant.grant_options);
            }
        }
        (privileges, grant_options)
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

    fn storage(storage: Vec<StorageChange>) -> Self {
        Self { notices: Vec::new(), storage }
    }
}
