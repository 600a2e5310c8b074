//! Default privileges (G).

use crate::command::{Actor, Creators, DefaultAct, NameContext, RoleSpec, SchemaName};
use crate::defaults::DefaultClass;
use crate::id::{ObjectId, PrincipalId};
use crate::list::{DefaultPrivilegeRow, DefaultsShown};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::require::Need;
use crate::spec::entries::{self, Change};
use crate::spec::{Model, ModelDefault, ModelDefaults, ModelGrant, Told, say};

/// A line of what keeps a role from being dropped, and the hint that belongs to it.
pub(super) struct Dependency {
    pub(super) line: String,
    pub(super) hint: String,
}

impl Model {
    #[expect(clippy::too_many_arguments, reason = "the clauses of the statement")]
    pub(super) fn alter_defaults(
        &mut self,
        actor: Actor,
        context: &NameContext,
        creators: &Creators,
        schemas: &[SchemaName],
        act: DefaultAct,
        list: &[Privilege],
        on: DefaultClass,
        grantees: &[RoleSpec],
    ) -> Result<Told, Refusal> {
        let holders = self.default_holders(context, schemas, on)?;
        let mut creator_ids = Vec::new();
        match creators {
            Creators::All => creator_ids.push(PrincipalId::EVERYBODY),
            Creators::Roles(roles) => {
                for role in roles {
                    creator_ids.push(self.principal(actor, role)?);
                }
            }
        }
        let mut grantee_ids = Vec::new();
        for grantee in grantees {
            grantee_ids.push(self.grantee(actor, grantee)?);
        }
        for creator in &creator_ids {
            if *creator == PrincipalId::EVERYBODY {
                if !self.is_admin(actor.current) {
                    return Err(say::admin_only("ALTER DEFAULT PRIVILEGES"));
                }
            } else if !self.acts_as(actor.current).contains(creator) {
                return Err(say::must_be_a_member(&self.principal_name(*creator)));
            }
        }
        for privilege in list {
            if !privilege.is_legal_on(on.kind()) {
                return Err(say::invalid_privilege(*privilege, on.kind()));
            }
        }
        let change = match act {
            DefaultAct::Grant { grant_option } => Change::Grant { grant_option },
            DefaultAct::Revoke { grant_option_only: false } => Change::Revoke,
            DefaultAct::Revoke { grant_option_only: true } => Change::RevokeGrantOption,
        };
        if matches!(change, Change::Grant { grant_option: true })
            && grantee_ids.contains(&PrincipalId::PUBLIC)
        {
            return Err(say::no_options_for_public());
        }
        if holders.iter().any(|holder| self.database_of(*holder) == ObjectId::SYSTEM_DATABASE) {
            return Err(say::no_defaults_in_system());
        }
        for holder in &holders {
            for creator in &creator_ids {
                for grantee in &grantee_ids {
                    self.change_default(*holder, *creator, on, *grantee, list, change);
                }
            }
        }
        Ok(Told::default())
    }

    /// The current database, or the schemas that are named.
    fn default_holders(
        &self,
        context: &NameContext,
        schemas: &[SchemaName],
        on: DefaultClass,
    ) -> Result<Vec<ObjectId>, Refusal> {
        let database = self.current_database(context)?;
        if !schemas.is_empty() && on == DefaultClass::Schemas {
            return Err(say::schemas_in_schema());
        }
        let mut holders = Vec::new();
        for name in schemas {
            let schema = self.schema(context, name)?;
            if schema.is_virtual() {
                return Err(say::not_a_physical_schema(name.schema.as_str()));
            }
            holders.push(schema);
        }
        if holders.is_empty() {
            holders.push(database);
        }
        Ok(holders)
    }

    fn change_default(
        &mut self,
        holder: ObjectId,
        creator: PrincipalId,
        class: DefaultClass,
        grantee: PrincipalId,
        list: &[Privilege],
        change: Change,
    ) {
        let mut entries = self.default_entries(holder, creator);
        let found = entries.iter().position(|entry| entry.class == class && entry.grantee == grantee);
        let (mut p, mut w) = match found {
            Some(at) => {
                let entry = entries.remove(at);
                (entry.privileges, entry.grant_options)
            }
            None => (Vec::new(), Vec::new()),
        };
        entries::change(&mut p, &mut w, list, class.kind(), change);
        if !p.is_empty() {
            entries.push(ModelDefault { class, grantee, privileges: p, grant_options: w });
        }
        for entry in &mut entries {
            if self.is_in_a_database(holder) && is_as_built(creator, entry) {
                let usual =
                    if entry.grantee == PrincipalId::PUBLIC { Privilege::Usage } else { Privilege::All };
                entry.privileges = vec![usual];
            }
        }
        entries.sort();
        self.defaults.retain(|known| known.holder != holder || known.creator != creator);
        if entries != self.built_in(holder, creator) {
            self.defaults.push(ModelDefaults { holder, creator, entries });
        }
        self.defaults.sort_by_key(|known| (known.holder, known.creator));
    }

    fn is_in_a_database(&self, holder: ObjectId) -> bool {
        self.kind(holder) == ObjectKind::Database
    }

    /// All entries of one creator, as they stand or as they are when nobody changed them.
    fn default_entries(&self, holder: ObjectId, creator: PrincipalId) -> Vec<ModelDefault> {
        let known = self.defaults.iter().find(|known| known.holder == holder && known.creator == creator);
        known.map_or_else(|| self.built_in(holder, creator), |known| known.entries.clone())
    }

    /// G.1: a creator has ALL on what it makes, and `public` has USAGE on types; in schemas there is nothing.
    fn built_in(&self, holder: ObjectId, creator: PrincipalId) -> Vec<ModelDefault> {
        let mut entries = Vec::new();
        if !self.is_in_a_database(holder) {
            return entries;
        }
        let mut entry = |class, grantee, privilege| {
            let (privileges, grant_options) = (vec![privilege], Vec::new());
            entries.push(ModelDefault { class, grantee, privileges, grant_options });
        };
        if creator != PrincipalId::EVERYBODY {
            for class in DefaultClass::EACH {
                entry(class, creator, Privilege::All);
            }
        }
        entry(DefaultClass::Types, PrincipalId::PUBLIC, Privilege::Usage);
        entries.sort();
        entries
    }

    /// The entries of a record that are more than flags say (G.1).
    fn default_entries_beside_flags(&self, known: &ModelDefaults) -> Vec<ModelDefault> {
        let mut entries = known.entries.clone();
        if self.is_in_a_database(known.holder) {
            entries.retain(|entry| !is_as_built(known.creator, entry));
        }
        entries
    }

    /// G.4: what a new object gets beside what every new object gets.
    pub(super) fn apply_defaults(
        &mut self,
        object: ObjectId,
        creator: PrincipalId,
        class: DefaultClass,
        database: ObjectId,
        schema: Option<ObjectId>,
    ) {
        let mut given = Vec::new();
        for holder in [Some(database), schema].into_iter().flatten() {
            for entry in self.default_entries(holder, creator) {
                let by_flag = self.is_in_a_database(holder) && is_as_built(creator, &entry);
                if !by_flag || entry.grantee == PrincipalId::PUBLIC {
                    given.push(entry);
                }
            }
            for known in &self.defaults {
                if known.holder == holder && known.creator == PrincipalId::EVERYBODY {
                    given.extend(known.entries.clone());
                }
            }
        }
        let mut grants = self.grants_on(object);
        for entry in given {
            let all = entry.privileges.contains(&Privilege::All);
            let subset = all || entry.grant_options.iter().all(|option| entry.privileges.contains(option));
            if entry.class == class && subset {
                give(&mut grants, object, &entry);
            }
        }
        grants.sort_by_key(|grant| grant.grantee);
        self.set_grants(object, grants);
    }

    /// What default privileges keep `name` from being dropped (F.5, step 6).
    pub(super) fn default_dependencies(&self, role: PrincipalId) -> Vec<Dependency> {
        let mut found = Vec::new();
        for known in &self.defaults {
            let database = self.label(self.database_of(known.holder));
            let schema = match self.is_in_a_database(known.holder) {
                true => String::new(),
                false => format!(" in schema {}", self.label(known.holder)),
            };
            let place = format!("in database {database}{schema}");
            let all = known.creator == PrincipalId::EVERYBODY;
            let creator = self.principal_name(known.creator);
            for entry in self.default_entries_beside_flags(known) {
                let things = say::new_things(entry.class);
                let grantee = self.principal_name(entry.grantee);
                let of = if all { "ALL ROLES".to_owned() } else { format!("ROLE {creator}") };
                let hint = format!(
                    "USE {database}; ALTER DEFAULT PRIVILEGES FOR {of}{} REVOKE ALL ON {} FROM {grantee};",
                    schema.to_uppercase(),
                    entry.class.word().to_uppercase()
                );
                let belonging =
                    if all { "for all roles".to_owned() } else { format!("belonging to role {creator}") };
                let what = format!("default privileges on new {things} {belonging} {place}");
                if known.creator == role {
                    found.push(Dependency { line: format!("owner of {what}"), hint: hint.clone() });
                }
                if entry.grantee == role {
                    found.push(Dependency { line: format!("privileges for {what}"), hint });
                }
            }
        }
        found
    }

    /// SHOW DEFAULT PRIVILEGES (G.5).
    pub fn default_rows(
        &self,
        actor: Actor,
        context: &NameContext,
        shown: &DefaultsShown,
        schema: Option<&SchemaName>,
    ) -> Result<Vec<DefaultPrivilegeRow>, Refusal> {
        let database = self.current_database(context)?;
        self.check(actor.current, &Need::AnyPrivilege { object: database })?;
        let mut creators: Vec<_> = self.principals.iter().map(|known| known.id).collect();
        creators.push(PrincipalId::EVERYBODY);
        let mut grantees = None;
        match shown {
            DefaultsShown::Of(Creators::All) => creators = vec![PrincipalId::EVERYBODY],
            DefaultsShown::Of(Creators::Roles(roles)) => {
                creators.clear();
                for role in roles {
                    creators.push(self.principal(actor, role)?);
                }
            }
            DefaultsShown::ForGrantees(roles) => {
                let mut wanted = Vec::new();
                for role in roles {
                    wanted.push(self.grantee(actor, role)?);
                }
                grantees = Some(wanted);
            }
        }
        let holder = match schema {
            None => database,
            Some(name) => match self.schema(context, name) {
                Ok(schema) => schema,
                Err(_) => return Ok(Vec::new()),
            },
        };
        let mut rows = Vec::new();
        for creator in creators {
            for entry in self.default_entries(holder, creator) {
                if grantees.as_ref().is_none_or(|wanted| wanted.contains(&entry.grantee)) {
                    rows.extend(self.rows_of_default(holder, creator, &entry));
                }
            }
        }
        rows.sort();
        rows.dedup();
        Ok(rows)
    }

    fn rows_of_default(
        &self,
        holder: ObjectId,
        creator: PrincipalId,
        entry: &ModelDefault,
    ) -> Vec<DefaultPrivilegeRow> {
        let all = creator == PrincipalId::EVERYBODY;
        let by_flag = self.is_in_a_database(holder)
            && entry.grantee != PrincipalId::PUBLIC
            && is_as_built(creator, entry);
        let row = |privilege: &Privilege| DefaultPrivilegeRow {
            role: (!all).then(|| self.principal_name(creator)),
            for_all_roles: all,
            object_type: entry.class,
            grantee: self.principal_name(entry.grantee),
            privilege_type: privilege.word(),
            is_grantable: by_flag || entry.grant_options.contains(privilege),
        };
        entry.privileges.iter().map(row).collect()
    }
}

/// Whether an entry is what a flag says: the creator's ALL, or USAGE of `public` on types, without grant option.
fn is_as_built(creator: PrincipalId, entry: &ModelDefault) -> bool {
    let holds =
        |privilege| entry.privileges.contains(&Privilege::All) || entry.privileges.contains(&privilege);
    let public_uses =
        entry.grantee == PrincipalId::PUBLIC && entry.class == DefaultClass::Types && holds(Privilege::Usage);
    let mut legal = Privilege::each()
        .filter(|privilege| *privilege != Privilege::All && privilege.is_legal_on(entry.class.kind()));
    let creator_has_all = entry.grantee == creator && legal.all(holds);
    entry.grant_options.is_empty() && (public_uses || creator_has_all)
}

/// G.4, step 3.
fn give(grants: &mut Vec<ModelGrant>, object: ObjectId, entry: &ModelDefault) {
    let at = match grants.iter().position(|grant| grant.grantee == entry.grantee) {
        Some(at) => at,
        None => {
            let (privileges, grant_options) = (Vec::new(), Vec::new());
            grants.push(ModelGrant { object, grantee: entry.grantee, privileges, grant_options });
            grants.len() - 1
        }
    };
    let grant = &mut grants[at];
    for (held, given) in
        [(&mut grant.privileges, &entry.privileges), (&mut grant.grant_options, &entry.grant_options)]
    {
        entries::add(held, given);
        if held.contains(&Privilege::All) {
            *held = vec![Privilege::All];
        }
        held.sort();
    }
}
