//! ALTER DEFAULT PRIVILEGES, and what new objects get from it. Source: authorization spec, G.

use std::sync::Arc;

use crate::command::{Creators, DefaultAct, PrivilegeList, RoleSpec, SchemaName, privilege_set};
use crate::defaults::{DefaultClass, DefaultPrivileges, DefaultsFor};
use crate::grant::{Acl, AclEntry, GrantOption};
use crate::id::{ObjectId, PrincipalId};
use crate::privilege::{Privilege, PrivilegeSet};
use crate::refusal::{self, Refusal};
use crate::state::bootstrap::new_acl;
use crate::state::{State, Work};

/// The most entries that one statement changes: holders × creators × grantees.
pub const DEFAULT_ENTRIES_MAX: usize = 100_000;

/// The clauses of one ALTER DEFAULT PRIVILEGES.
pub(super) struct AlterDefaults<'a> {
    pub(super) creators: &'a Creators,
    pub(super) schemas: &'a [SchemaName],
    pub(super) act: DefaultAct,
    pub(super) privileges: &'a PrivilegeList,
    pub(super) on: DefaultClass,
    pub(super) grantees: &'a [RoleSpec],
}

impl State {
    /// The default privileges of a database or schema for objects of one creator, or of all
    /// ([`PrincipalId::EVERYBODY`]). None: as built in.
    pub fn default_privileges(&self, holder: ObjectId, creator: PrincipalId) -> Option<&DefaultPrivileges> {
        self.defaults.get(&(holder, creator)).map(Arc::as_ref)
    }

    /// All that were changed, sorted by (holder, creator).
    pub fn all_default_privileges(
        &self,
    ) -> impl Iterator<Item = (ObjectId, PrincipalId, &DefaultPrivileges)> {
        self.defaults.iter().map(|((holder, creator), defaults)| (*holder, *creator, defaults.as_ref()))
    }

    /// Those that one database or schema holds, sorted by creator.
    pub fn all_default_privileges_of(
        &self,
        holder: ObjectId,
    ) -> impl Iterator<Item = (PrincipalId, &DefaultPrivileges)> {
        self.defaults
            .range((holder, PrincipalId(0))..=(holder, PrincipalId(u32::MAX)))
            .map(|((_, creator), defaults)| (*creator, defaults.as_ref()))
    }

    /// What is granted on a new object: ALL to `root` and `admin`, and the default privileges of its database and
    /// schema, of its creator and of all roles. A schema that is being made is in no schema; a database gets none.
    ///
    /// They are united: a schema cannot take away what its database gives (T-15). `creator` is who acts, which is not
    /// always the owner, and the roles that it belongs to give nothing. Its own built-in ALL adds no entry: its rights
    /// come from ownership. Source: authorization spec, G.4.
    pub(super) fn new_acl_for(
        &self,
        creator: PrincipalId,
        class: DefaultClass,
        database: ObjectId,
        schema: Option<ObjectId>,
    ) -> Acl {
        let mut acl = new_acl();
        for holder in std::iter::once(database).chain(schema) {
            let of = |creator| self.kind(holder).map(|holder| DefaultsFor { holder, creator });
            let (Some(own), Some(everybody)) = (of(creator), of(PrincipalId::EVERYBODY)) else { continue };
            let entries = match self.default_privileges(holder, creator) {
                Some(defaults) => defaults.acl(class).clone(),
                None => own.built_in(class),
            };
            let implied = own.built_in(class).entry(creator).copied();
            for entry in entries.entries().iter().filter(|entry| Some(**entry) != implied) {
                unite(&mut acl, *entry);
            }
            if let Some(defaults) = self.default_privileges(holder, everybody.creator) {
                for entry in defaults.acl(class).entries() {
                    unite(&mut acl, *entry);
                }
            }
        }
        acl
    }
}

/// Default privileges that keep a role from being dropped.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct DefaultDependency {
    /// What depends on the role.
    pub(super) line: String,
    /// The statement that ends it.
    pub(super) hint: String,
}

impl State {
    /// What keeps `principal` from being dropped, sorted: each entry of defaults for what it makes, and each of which
    /// it is the grantee. What is built in, and what only lost that, does not count. Source: authorization spec, F.5
    /// and G.6.
    pub(super) fn default_dependencies(&self, principal: PrincipalId) -> Vec<DefaultDependency> {
        let mut found = Vec::new();
        for (holder, creator, defaults) in self.all_default_privileges() {
            let Some(of) = self.kind(holder).map(|holder| DefaultsFor { holder, creator }) else { continue };
            for class in DefaultClass::EACH {
                for entry in defaults.explicit(of, class) {
                    if creator == principal {
                        found.push(self.dependency("owner of", holder, creator, class, entry.grantee));
                    }
                    if entry.grantee == principal {
                        found.push(self.dependency("privileges for", holder, creator, class, entry.grantee));
                    }
                }
            }
        }
        found.sort();
        found
    }

    fn dependency(
        &self,
        what: &str,
        holder: ObjectId,
        creator: PrincipalId,
        class: DefaultClass,
        grantee: PrincipalId,
    ) -> DefaultDependency {
        let name = |id| self.object(id).map(|object| object.name.to_string()).unwrap_or_default();
        let database = self.database_of(holder).unwrap_or(holder);
        let place = if database == holder { String::new() } else { format!(" in schema {}", name(holder)) };
        let (of, roles) = match creator {
            PrincipalId::EVERYBODY => ("for all roles".to_owned(), "ALL ROLES".to_owned()),
            role => {
                let role = self.principal_name(role);
                (format!("belonging to role {role}"), format!("ROLE {role}"))
            }
        };
        let database = name(database);
        // v22.2 forgot the word for functions, which we say. It also writes the name of a schema in capitals, as here:
        // the statement that it hints at does not find that schema.
        let word = if class == DefaultClass::Tables { "relations" } else { class.word() };
        DefaultDependency {
            line: format!("{what} default privileges on new {word} {of} in database {database}{place}"),
            hint: format!(
                "USE {database}; ALTER DEFAULT PRIVILEGES FOR {roles}{} REVOKE ALL ON {} FROM {};",
                place.to_uppercase(),
                class.word().to_uppercase(),
                self.principal_name(grantee)
            ),
        }
    }
}

/// Adds what `entry` grants to what its grantee holds already. ALL absorbs; an entry that has a grant option for what
/// it does not hold is left out.
fn unite(acl: &mut Acl, entry: AclEntry) {
    if !entry.grant_options.iter().all(|privilege| entry.privileges.covers(privilege)) {
        return;
    }
    let held = acl.entry(entry.grantee).copied().unwrap_or(AclEntry::none(entry.grantee));
    let absorbed = |set: PrivilegeSet| if set.contains(Privilege::All) { PrivilegeSet::ALL } else { set };
    acl.set(AclEntry {
        grantee: entry.grantee,
        privileges: absorbed(held.privileges.union(entry.privileges)),
        grant_options: absorbed(held.grant_options.union(entry.grant_options)),
    });
}

impl Work<'_> {
    /// The checks of G.3, in its order. There is none of what the caller holds: the defaults that it may change are of
    /// objects that it, or its roles, will own. Admins need membership too (T-11).
    pub(super) fn alter_default_privileges(&mut self, statement: &AlterDefaults<'_>) -> Result<(), Refusal> {
        let AlterDefaults { creators, schemas, act, privileges, on, grantees } = *statement;
        self.check_list(privileges.len())?;
        self.check_list(grantees.len())?;
        self.check_list(schemas.len())?;
        let holders = self.default_holders(schemas, on)?;
        let creator_ids = match creators {
            Creators::All => vec![PrincipalId::EVERYBODY],
            Creators::Roles(specs) => {
                self.check_list(specs.len())?;
                let ids: Result<Vec<_>, _> =
                    specs.iter().map(|spec| self.state.resolve_role(self.actor, spec)).collect();
                ids?
            }
        };
        let grantees: Result<Vec<_>, _> =
            grantees.iter().map(|spec| self.state.resolve_grantee(self.actor, spec)).collect();
        let grantees = grantees?;
        self.check_creators(creators, &creator_ids)?;
        if let Some(illegal) = privileges.iter().find(|privilege| !privilege.is_legal_on(on.kind())) {
            return Err(refusal::privilege_not_for(*illegal, on.kind()));
        }
        let with_option = act == DefaultAct::Grant { grant_option: true };
        if with_option && grantees.contains(&PrincipalId::PUBLIC) {
            return Err(refusal::no_grant_option_to_public());
        }
        if holders.iter().any(|holder| self.state.is_system(*holder)) {
            return Err(refusal::defaults_of_system_database());
        }
        let count = holders.len().saturating_mul(creator_ids.len()).saturating_mul(grantees.len());
        if count > DEFAULT_ENTRIES_MAX {
            return Err(refusal::too_many_defaults(count, DEFAULT_ENTRIES_MAX));
        }
        for holder in holders {
            for creator in &creator_ids {
                self.change_defaults(holder, *creator, on, act, privilege_set(privileges), &grantees);
            }
        }
        Ok(())
    }

    /// The databases and schemas that the statement changes.
    fn default_holders(&self, schemas: &[SchemaName], on: DefaultClass) -> Result<Vec<ObjectId>, Refusal> {
        let database = self.state.current_database(self.context)?;
        if schemas.is_empty() {
            return Ok(vec![database]);
        }
        if on == DefaultClass::Schemas {
            return Err(refusal::schemas_in_schema());
        }
        let mut holders = Vec::with_capacity(schemas.len());
        for name in schemas {
            let schema = self.state.resolve_schema(self.context, name)?;
            if schema.is_virtual() {
                return Err(refusal::not_a_physical_schema(&name.schema));
            }
            holders.push(schema);
        }
        Ok(holders)
    }

    fn check_creators(&self, creators: &Creators, ids: &[PrincipalId]) -> Result<(), Refusal> {
        match creators {
            Creators::All if !self.is_admin() => Err(refusal::admin_only("ALTER DEFAULT PRIVILEGES")),
            Creators::All => Ok(()),
            Creators::Roles(_) => {
                let foreign = ids.iter().find(|id| !self.state.index.acts_as(self.actor.current, **id));
                foreign.map_or(Ok(()), |id| {
                    Err(refusal::not_member_for_defaults(&self.state.principal_name(*id)))
                })
            }
        }
    }

    fn change_defaults(
        &mut self,
        holder: ObjectId,
        creator: PrincipalId,
        class: DefaultClass,
        act: DefaultAct,
        listed: PrivilegeSet,
        grantees: &[PrincipalId],
    ) {
        let Some(of) = self.state.kind(holder).map(|holder| DefaultsFor { holder, creator }) else { return };
        let built_in = DefaultPrivileges::built_in(of);
        let held = self.state.default_privileges(holder, creator);
        let mut defaults = held.unwrap_or(&built_in).clone();
        for grantee in grantees {
            let entry = defaults.acl(class).entry(*grantee).copied().unwrap_or(AclEntry::none(*grantee));
            let entry = match act {
                DefaultAct::Grant { grant_option: true } => entry.granted(listed, GrantOption::With),
                DefaultAct::Grant { grant_option: false } => entry.granted(listed, GrantOption::Without),
                DefaultAct::Revoke { grant_option_only: true } => entry.revoked_option(listed, class.kind()),
                DefaultAct::Revoke { grant_option_only: false } => entry.revoked(listed, class.kind()),
            };
            defaults.set(of, class, entry);
        }
        let defaults = Some(defaults).filter(|defaults| *defaults != built_in);
        self.put_defaults(holder, creator, defaults);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(of: DefaultsFor, class: DefaultClass, entry: AclEntry) -> DefaultPrivileges {
        let mut defaults = DefaultPrivileges::built_in(of);
        defaults.set(of, class, entry);
        defaults
    }

    fn usage_of_public(state: &State, creator: PrincipalId) -> bool {
        let (database, schema) = (ObjectId::DEFAULT_DATABASE, Some(ObjectId::DEFAULT_PUBLIC_SCHEMA));
        let acl = state.new_acl_for(creator, DefaultClass::Types, database, schema);
        assert_eq!(acl.entry(creator), new_acl().entry(creator), "the creator's own ALL is not stored");
        acl.entry(PrincipalId::PUBLIC).is_some_and(|entry| entry.privileges.contains(Privilege::Usage))
    }

    #[test]
    fn everybody_uses_new_types_until_the_creators_record_and_that_of_all_roles_say_otherwise() {
        use crate::privilege::ObjectKind::Database;
        let mut state = State::bootstrap();
        let database = ObjectId::DEFAULT_DATABASE;
        let (amy, everybody) = (PrincipalId(100), PrincipalId::EVERYBODY);
        let of = |creator| DefaultsFor { holder: Database, creator };
        let nothing = AclEntry::none(PrincipalId::PUBLIC);
        assert!(usage_of_public(&state, amy));
        state.put_defaults(database, amy, Some(changed(of(amy), DefaultClass::Types, nothing)));
        assert!(!usage_of_public(&state, amy));
        assert!(usage_of_public(&state, PrincipalId(101)));
        // A record of all roles brings its own built-in USAGE with it.
        let entry = AclEntry { privileges: PrivilegeSet::of(Privilege::Select), ..nothing };
        state.put_defaults(database, everybody, Some(changed(of(everybody), DefaultClass::Tables, entry)));
        assert!(usage_of_public(&state, amy));
        state.put_defaults(database, everybody, Some(changed(of(everybody), DefaultClass::Types, nothing)));
        assert!(!usage_of_public(&state, amy));
    }

    #[test]
    fn all_absorbs_and_options_without_their_privilege_are_left_out() {
        let grantee = PrincipalId(100);
        let select = PrivilegeSet::of(Privilege::Select);
        let mut acl = Acl::default();
        unite(&mut acl, AclEntry { grantee, privileges: PrivilegeSet::EMPTY, grant_options: select });
        assert_eq!(acl, Acl::default());
        unite(&mut acl, AclEntry { grantee, privileges: select, grant_options: select });
        unite(
            &mut acl,
            AclEntry { grantee, privileges: PrivilegeSet::ALL, grant_options: PrivilegeSet::EMPTY },
        );
        let united = AclEntry { grantee, privileges: PrivilegeSet::ALL, grant_options: select };
        assert_eq!(acl.entries(), [united]);
    }
}
