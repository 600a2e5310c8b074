//! What SHOW lists (D.5, H.1, H.7).

use crate::command::{Actor, NameContext, RoleSpec, Targets};
use crate::id::{ObjectId, PrincipalId};
use crate::list::{DatabaseRow, GrantRow, RoleGrantRow, RoleRow, SchemaRow, TableRow};
use crate::name::{Name, RoleName};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::Refusal;
use crate::spec::{Model, say};

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
        let objects = match on {
            Some(on) => self.targets(context, on)?,
            None => {
                let databases = match &context.database {
                    Some(name) => vec![self.database(name)?],
                    None => self.children(ObjectId::CLUSTER),
                };
                let mut all = Vec::new();
                for database in databases {
                    all.push(database);
                    all.extend(self.children(database));
                    all.extend(self.tables_of_database(database));
                }
                all
            }
        };
        let mut rows = Vec::new();
        for object in objects {
            let database = self.database_of(object);
            if object != ObjectId::CLUSTER && !self.holds(actor.current, database, Privilege::Connect) {
                continue;
            }
            for (grantee, privilege) in self.listed(object) {
                if grantees.is_empty() || shown.contains(&grantee) {
                    rows.push(self.grant_row(object, grantee, privilege));
                }
            }
        }
        rows.sort();
        rows.dedup();
        Ok(rows)
    }

    /// Who is listed on `object`, with what: the owner once, with ALL, and the entries of everybody else.
    fn listed(&self, object: ObjectId) -> Vec<(PrincipalId, Privilege)> {
        let mut listed = Vec::new();
        let owner = self.owner(object).filter(|owner| *owner != PrincipalId::NODE);
        if let Some(owner) = owner {
            listed.push((owner, Privilege::All));
        }
        for grant in &self.held {
            if grant.object == object && Some(grant.grantee) != owner {
                for privilege in &grant.privileges {
                    listed.push((grant.grantee, *privilege));
                }
            }
        }
        listed
    }

    fn grant_row(&self, object: ObjectId, grantee: PrincipalId, privilege: Privilege) -> GrantRow {
        let schema = match self.kind(object) {
            ObjectKind::Schema => Some(self.label(object)),
            ObjectKind::Table => Some(self.label(self.parent(object))),
            _ => None,
        };
        let relation = match self.kind(object) {
            ObjectKind::Table => Some(self.label(object)),
            _ => None,
        };
        GrantRow {
            database: self.label(self.database_of(object)),
            schema,
            relation,
            grantee: self.principal_name(grantee),
            privilege: privilege.word(),
            is_grantable: self.holds_grant_option(grantee, object, privilege),
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
            let mut options: Vec<_> = principal.options.iter().map(|option| option.word()).collect();
            options.sort_unstable();
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
        for database in self.children(ObjectId::CLUSTER) {
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
        for schema in self.children(database) {
            if self.holds(actor.current, database, Privilege::Connect) {
                rows.push(SchemaRow {
                    schema_name: Name::normalize(&self.label(schema)),
                    owner: self.owner_name(schema),
                });
            }
        }
        Ok(rows)
    }

    /// SHOW TABLES [FROM schema | database | database.schema].
    pub fn tables_shown(
        &self,
        actor: Actor,
        context: &NameContext,
        from: &[Name],
    ) -> Result<Vec<TableRow>, Refusal> {
        let in_current = |name: &Name| self.child(self.current_database(context).ok()?, name);
        let tables = match from {
            [] => self.tables_of_database(self.current_database(context)?),
            [one] => match (in_current(one), self.child(ObjectId::CLUSTER, one)) {
                (Some(schema), _) => self.children(schema),
                (None, Some(database)) => self.tables_of_database(database),
                (None, None) => return Err(say::unknown_schema(one.as_str())),
            },
            [_, _, ..] => self.children(self.containing_schema(context, from)?),
        };
        let mut rows = Vec::new();
        for table in tables {
            if self.holds(actor.current, self.database_of(table), Privilege::Connect) {
                rows.push(TableRow {
                    schema_name: Name::normalize(&self.label(self.parent(table))),
                    table_name: Name::normalize(&self.label(table)),
                    owner: self.owner_name(table),
                });
            }
        }
        rows.sort();
        Ok(rows)
    }

    fn owner_name(&self, object: ObjectId) -> RoleName {
        self.principal_name(self.owner(object).unwrap_or(PrincipalId::NODE))
    }
}
