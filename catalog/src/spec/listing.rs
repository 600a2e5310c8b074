//! What SHOW lists (D.5, H.1, H.7).

use crate::command::{Actor, NameContext, RoleSpec, TablePattern, Targets};
use crate::id::{ObjectId, PrincipalId};
use crate::list::{DatabaseRow, GrantRow, RoleGrantRow, RoleRow, SchemaRow, TableRow};
use crate::name::{Name, RoleName};
use crate::object::Body;
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::role::ValidUntil;
use crate::spec::{Model, say};
use crate::system;

impl Model {
    /// SHOW GRANTS [ON …] [FOR …].
    pub fn grants(
        &self,
        actor: Actor,
        context: &NameContext,
        on: Option<&Targets>,
        grantees: &[RoleSpec],
    ) -> Result<Vec<GrantRow>, Refusal> {
        let mut shown = Vec::new();
        for grantee in grantees {
            shown.extend(self.acts_as(self.grantee(actor, grantee)?));
        }
        // What is listed, and in which database; what is in none in the cluster.
        let mut shown_in: Vec<(ObjectId, ObjectId)> = Vec::new();
        match on {
            Some(on) => {
                for one in each_target(on) {
                    let written = database_written(&one);
                    for object in self.targets(context, &one)? {
                        shown_in.push((self.shown_in(context, object, written.as_ref())?, object));
                    }
                }
            }
            None => {
                let databases = match &context.database {
                    Some(name) => vec![self.database(name)?],
                    None => self.databases_known(),
                };
                for database in databases {
                    shown_in.push((database, database));
                    let mut schemas = self.schemas_of(database);
                    schemas.extend(system::VIRTUAL_SCHEMAS.iter().filter_map(|name| system::schema_id(name)));
                    for schema in schemas {
                        shown_in.push((database, schema));
                        shown_in
                            .extend(self.contents_of(schema).into_iter().map(|object| (database, object)));
                    }
                }
            }
        }
        shown_in.sort();
        shown_in.dedup();
        let mut rows = Vec::new();
        for (database, object) in shown_in {
            if database != ObjectId::CLUSTER && !self.holds(actor.current, database, Privilege::Connect) {
                continue;
            }
            for (grantee, privilege) in self.listed(object) {
                if grantees.is_empty() || shown.contains(&grantee) {
                    rows.push(self.grant_row(database, object, grantee, privilege));
                }
            }
        }
        rows.sort();
        Ok(rows)
    }

    /// The database in which something is listed: what is virtual in the one that is written, or the current one.
    fn shown_in(
        &self,
        context: &NameContext,
        object: ObjectId,
        written: Option<&Name>,
    ) -> Result<ObjectId, Refusal> {
        let database = self.database_of(object);
        if !object.is_virtual() || database != ObjectId::CLUSTER {
            return Ok(database);
        }
        match written {
            Some(name) => self.database(name),
            None => Ok(self.current_database(context).unwrap_or(ObjectId::CLUSTER)),
        }
    }

    /// Who is listed on `object`, with what: the owner once, with ALL, and the entries of everybody else. What has no
    /// descriptor is listed as it is stored.
    fn listed(&self, object: ObjectId) -> Vec<(PrincipalId, Privilege)> {
        let mut listed = Vec::new();
        let mut owner = self.owner(object).filter(|owner| *owner != PrincipalId::NODE);
        if self.has_no_descriptor(object) {
            owner = None;
        }
        if let Some(owner) = owner {
            listed.push((owner, Privilege::All));
        }
        for grant in self.grants_on(object) {
            if Some(grant.grantee) != owner {
                listed.extend(grant.privileges.iter().map(|privilege| (grant.grantee, *privilege)));
            }
        }
        listed
    }

    fn grant_row(
        &self,
        database: ObjectId,
        object: ObjectId,
        grantee: PrincipalId,
        privilege: Privilege,
    ) -> GrantRow {
        let kind = self.kind(object);
        let (schema, relation) = match self.body(object) {
            Some(Body::Database) => (None, None),
            Some(Body::Schema) => (Some(self.label(object)), None),
            Some(Body::ExternalConnection(_) | Body::IamRole) => (None, Some(self.label(object))),
            Some(Body::Function(function)) => {
                let types: Vec<_> = function.argument_types().map(|one| self.type_text(one)).collect();
                let signature = format!("{}({})", self.label(object), types.join(", "));
                (Some(self.label(self.parent(object))), Some(signature))
            }
            Some(_) => (Some(self.label(self.parent(object))), Some(self.label(object))),
            None if object == ObjectId::CLUSTER => (None, None),
            None if kind == ObjectKind::Schema => (Some(self.label(object)), None),
            None => (Some(self.label(self.parent(object))), Some(self.label(object))),
        };
        let stored_option = || {
            let grants = self.grants_on(object);
            let entry = grants.iter().find(|grant| grant.grantee == grantee);
            entry.is_some_and(|entry| {
                entry.grant_options.contains(&privilege) || entry.grant_options.contains(&Privilege::All)
            })
        };
        let is_grantable = match kind {
            ObjectKind::ExternalConnection | ObjectKind::IamRole => stored_option(),
            _ => self.holds_grant_option(grantee, object, privilege),
        };
        GrantRow {
            database: self.label(database),
            schema,
            relation,
            grantee: self.principal_name(grantee),
            privilege: privilege.word(),
            is_grantable,
            kind,
            object,
        }
    }

    /// `SHOW GRANTS ON ROLE [roles] [FOR members]`. A name that nobody has gives no row.
    pub fn role_grants(&self, actor: Actor, roles: &[RoleSpec], members: &[RoleSpec]) -> Vec<RoleGrantRow> {
        let roles_asked: Vec<_> = roles.iter().filter_map(|role| self.principal(actor, role).ok()).collect();
        let mut members_asked = Vec::new();
        for member in members {
            if let Ok(member) = self.principal(actor, member) {
                members_asked.extend(self.acts_as(member));
            }
        }
        let mut rows = Vec::new();
        for edge in &self.edges {
            let by_role = roles.is_empty() || roles_asked.contains(&edge.role);
            let by_member = members.is_empty() || members_asked.contains(&edge.member);
            if by_role && by_member {
                rows.push(RoleGrantRow {
                    role_name: self.principal_name(edge.role),
                    member: self.principal_name(edge.member),
                    is_admin: edge.admin_option,
                });
            }
        }
        rows.sort();
        rows
    }

    /// SHOW ROLES.
    pub fn roles(&self) -> Vec<RoleRow> {
        let mut rows = Vec::new();
        for principal in &self.principals {
            let mut options: Vec<_> =
                principal.options.iter().map(|option| option.word().to_owned()).collect();
            match principal.valid_until {
                Some(ValidUntil::Never) => options.push("VALID UNTIL".to_owned()),
                Some(ValidUntil::At(micros)) => options.push(format!("VALID UNTIL={}", moment(micros))),
                None => {}
            }
            options.sort();
            let mut member_of: Vec<_> = self
                .edges
                .iter()
                .filter(|edge| edge.member == principal.id)
                .map(|edge| self.principal_name(edge.role))
                .collect();
            member_of.sort();
            rows.push(RoleRow { username: principal.name.clone(), options: options.join(", "), member_of });
        }
        rows.sort_by(|a, b| a.username.cmp(&b.username));
        rows
    }

    /// SHOW DATABASES.
    pub fn databases(&self, actor: Actor) -> Vec<DatabaseRow> {
        let mut rows = Vec::new();
        for database in self.databases_known() {
            if self.holds(actor.current, database, Privilege::Connect) {
                rows.push(DatabaseRow {
                    database_name: Name::normalize(&self.label(database)),
                    owner: self.owner_name(database),
                });
            }
        }
        rows
    }

    /// SHOW SCHEMAS [FROM database].
    pub fn schemas(
        &self,
        actor: Actor,
        context: &NameContext,
        database: Option<&Name>,
    ) -> Result<Vec<SchemaRow>, Refusal> {
        let database = match database {
            Some(name) => self.database(name)?,
            None => self.current_database(context)?,
        };
        let mut rows = Vec::new();
        let mut schemas = self.schemas_of(database);
        schemas.extend(system::VIRTUAL_SCHEMAS.iter().filter_map(|name| system::schema_id(name)));
        for schema in schemas {
            if self.holds(actor.current, database, Privilege::Connect) {
                rows.push(SchemaRow {
                    schema_name: Name::normalize(&self.label(schema)),
                    owner: self.owner_shown(schema),
                });
            }
        }
        rows.sort();
        Ok(rows)
    }

    /// SHOW TABLES [FROM schema | database | database.schema].
    pub fn tables_shown(
        &self,
        actor: Actor,
        context: &NameContext,
        from: &[Name],
    ) -> Result<Vec<TableRow>, Refusal> {
        let in_current = |name: &Name| self.find_schema(self.current_database(context).ok()?, name);
        let relations_of_database = |database| -> Vec<ObjectId> {
            self.schemas_of(database).into_iter().flat_map(|schema| self.relations_of(schema)).collect()
        };
        let (database, tables) = match from {
            [] => {
                let database = self.current_database(context)?;
                (database, relations_of_database(database))
            }
            [one] => match (in_current(one), self.find_database(one)) {
                (Some(schema), _) => (self.current_database(context)?, self.relations_of(schema)),
                (None, Some(database)) => (database, relations_of_database(database)),
                (None, None) => return Err(say::unknown_schema(one.as_str())),
            },
            [database, _, ..] => {
                (self.database(database)?, self.relations_of(self.containing_schema(context, from)?))
            }
        };
        let mut rows = Vec::new();
        for table in tables {
            if self.holds(actor.current, database, Privilege::Connect) {
                rows.push(TableRow {
                    schema_name: Name::normalize(&self.label(self.parent(table))),
                    table_name: Name::normalize(&self.label(table)),
                    table_type: match self.body(table) {
                        Some(Body::View(_)) => "view",
                        Some(Body::Sequence(_)) => "sequence",
                        _ => "table",
                    },
                    owner: self.owner_shown(table),
                });
            }
        }
        rows.sort();
        Ok(rows)
    }

    /// `node` is nobody to show.
    fn owner_shown(&self, object: ObjectId) -> Option<RoleName> {
        let owner = self.owner(object).filter(|owner| *owner != PrincipalId::NODE);
        owner.map(|owner| self.principal_name(owner))
    }

    fn owner_name(&self, object: ObjectId) -> RoleName {
        self.principal_name(self.owner(object).unwrap_or(PrincipalId::NODE))
    }
}

/// Each name and pattern by itself: what is written before it counts for it alone.
fn each_target(on: &Targets) -> Vec<Targets> {
    match on {
        Targets::Schemas(names) => names.iter().map(|name| Targets::Schemas(vec![name.clone()])).collect(),
        Targets::AllTablesInSchemas(names) => {
            names.iter().map(|name| Targets::AllTablesInSchemas(vec![name.clone()])).collect()
        }
        Targets::Tables(all) => all.iter().map(|one| Targets::Tables(vec![one.clone()])).collect(),
        other => vec![other.clone()],
    }
}

/// The database that is written before the first name or pattern.
fn database_written(on: &Targets) -> Option<Name> {
    match on {
        Targets::Schemas(names) | Targets::AllTablesInSchemas(names) => names[0].database.clone(),
        Targets::Tables(all) => match &all[0] {
            TablePattern::Table(name) if name.parts.len() == 3 => name.parts.first().cloned(),
            TablePattern::All(prefix) if prefix.len() == 2 => prefix.first().cloned(),
            TablePattern::Table(_) | TablePattern::All(_) => None,
        },
        _ => None,
    }
}

/// Microseconds since 1970 as `2020-01-31 00:00:00.5+00:00`: day after day, year after year.
fn moment(micros: i64) -> String {
    let (mut days, rest) = (micros.div_euclid(86_400_000_000), micros.rem_euclid(86_400_000_000));
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = |year| if leap(year) { 366 } else { 365 };
    let mut year = 1970;
    while days < 0 {
        year -= 1;
        days += length(year);
    }
    while days >= length(year) {
        days -= length(year);
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for of_month in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < of_month {
            break;
        }
        days -= of_month;
        month += 1;
    }
    let seconds = rest / 1_000_000;
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let fraction = match rest % 1_000_000 {
        0 => String::new(),
        micros => format!(".{micros:06}").trim_end_matches('0').to_owned(),
    };
    format!("{year:04}-{month:02}-{:02} {hour:02}:{minute:02}:{second:02}{fraction}+00:00", days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates() {
        assert_eq!(moment(0), "1970-01-01 00:00:00+00:00");
        assert_eq!(moment(-1_000_000), "1969-12-31 23:59:59+00:00");
        assert_eq!(moment(1_583_020_799_500_000), "2020-02-29 23:59:59.5+00:00");
        assert_eq!(moment(4_102_444_799_000_000), "2099-12-31 23:59:59+00:00");
    }
}
