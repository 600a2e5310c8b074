//! The engine and its twin side by side, and what it means that they agree.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::disallowed_methods, reason = "the catalog does no I/O; its tests read their scripts")]

pub mod script;
pub mod sql;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use grantd_catalog::command::{
    Actor, Command, NameContext, Outcome, RoleSpec, SchemaName, TablePattern, Targets,
};
use grantd_catalog::decide::{self, Decision};
use grantd_catalog::id::{ObjectId, PrincipalId, Timestamp, Version};
use grantd_catalog::list;
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::privilege::{ObjectKind, Privilege, PrivilegeSet};
use grantd_catalog::record::{Record, RecordKey};
use grantd_catalog::require::{Need, Requirement};
use grantd_catalog::role::RoleOption;
use grantd_catalog::spec::Model;
use grantd_catalog::spec::generate::{DATABASES, SCHEMAS, Step};
use grantd_catalog::state::State;
use grantd_catalog::view::View;

/// Two catalogs that were told the same.
pub struct World {
    pub state: State,
    /// Made with `View::next` from the one before, since bootstrap.
    pub view: Arc<View>,
    pub model: Model,
    pub version: u64,
    /// The records of the bootstrap state, and what each command changed since.
    pub records: BTreeMap<RecordKey, Record>,
    /// Who had a name last, dropped or not.
    pub names: BTreeMap<RoleName, PrincipalId>,
    /// How many commands were applied, and how many refused.
    pub done: u64,
    pub refused: u64,
}

impl World {
    pub fn bootstrap() -> Self {
        let state = State::bootstrap();
        let view = Arc::new(View::build(Version(0), state.clone()));
        let records = state.records().collect();
        Self {
            state,
            view,
            model: Model::bootstrap(),
            version: 0,
            records,
            names: BTreeMap::new(),
            done: 0,
            refused: 0,
        }
    }

    /// The principal of this name; root when there is none.
    pub fn principal(&self, name: &RoleName) -> PrincipalId {
        self.model.find_principal(name).unwrap_or(PrincipalId::ROOT)
    }

    /// Who acts in a step: the principal of this name; every third time its last bearer, even if it was dropped since.
    fn actor(&self, name: &RoleName) -> PrincipalId {
        match self.names.get(name) {
            Some(last) if self.version.is_multiple_of(3) => *last,
            Some(_) | None => self.principal(name),
        }
    }

    /// Tells both; the engine's outcome, when they agree on it.
    pub fn step(&mut self, step: &Step) -> Result<Outcome, String> {
        let actor = Actor { session: self.actor(&step.session), current: self.actor(&step.current) };
        self.tell(actor, &step.context, &step.command)
    }

    pub fn tell(
        &mut self,
        actor: Actor,
        context: &NameContext,
        command: &Command,
    ) -> Result<Outcome, String> {
        self.version += 1;
        let time = Timestamp { nanos: self.version, logical: 0 };
        let mut changes = Vec::new();
        let outcome = self.state.apply(Version(self.version), time, actor, context, command, &mut changes);
        let expected = self.model.apply(actor, context, command);
        for change in changes {
            match change.value {
                Some(record) => self.records.insert(change.key, record),
                None => self.records.remove(&change.key),
            };
        }
        match outcome {
            Outcome::Done(_) => self.done += 1,
            Outcome::Refused(_) => self.refused += 1,
        }
        same(&format!("{actor:?} in {context:?}: {command:?}"), &outcome, &expected)?;
        self.view = Arc::new(self.view.next(Version(self.version), self.state.clone()));
        for known in &self.model.principals {
            self.names.insert(known.name.clone(), known.id);
        }
        Ok(outcome)
    }

    /// Everybody that a decision can be asked about, and one who does not exist.
    pub fn principals(&self) -> Vec<PrincipalId> {
        let mut principals: Vec<_> = self.model.principals.iter().map(|known| known.id).collect();
        principals.extend([PrincipalId::PUBLIC, PrincipalId(9_999)]);
        principals
    }

    /// Everything that privileges are held on.
    pub fn objects(&self) -> Vec<(ObjectId, ObjectKind)> {
        let mut objects = vec![(ObjectId::CLUSTER, ObjectKind::Cluster)];
        objects.extend(self.model.objects.iter().map(|known| (known.id, known.kind)));
        objects
    }

    /// What is stored, object by object.
    pub fn compare_records(&self) -> Result<(), String> {
        same("how many objects there are", &self.state.objects().count(), &self.model.objects.len())?;
        let principals: Vec<_> =
            self.state.principals().map(|(id, known)| (known.name.clone(), id)).collect();
        let mut expected: Vec<_> =
            self.model.principals.iter().map(|known| (known.name.clone(), known.id)).collect();
        expected.sort();
        same("principals", &principals, &expected)?;
        for known in &self.model.objects {
            let Some(object) = self.state.object(known.id) else {
                return Err(format!("{known:?} is missing"));
            };
            same("name", &object.name, &known.name)?;
            same("parent", &object.parent, &known.parent)?;
            same("owner", &(&known.name, object.owner), &(&known.name, known.owner))?;
            same("kind", &object.kind(), &known.kind)?;
            let mut expected: Vec<_> = self
                .model
                .held
                .iter()
                .filter(|grant| grant.object == known.id)
                .map(|grant| {
                    let privileges: PrivilegeSet = grant.privileges.iter().copied().collect();
                    let options: PrivilegeSet = grant.grant_options.iter().copied().collect();
                    (grant.grantee, privileges, options)
                })
                .collect();
            expected.sort();
            let held: Vec<_> = object
                .acl
                .entries()
                .iter()
                .map(|entry| (entry.grantee, entry.privileges, entry.grant_options))
                .collect();
            same(&format!("the ACL of {}", known.name), &held, &expected)?;
        }
        Ok(())
    }

    /// Every decision on privileges that are legal where they are asked for.
    pub fn compare_decisions(&self, view: &View) -> Result<(), String> {
        self.compare_holds(
            &|principal, object, privilege| decide::holds(view, principal, object, privilege),
            &|principal, object, privilege| decide::holds_grant_option(view, principal, object, privilege),
        )
    }

    /// The same with any pair of deciders: a planted defect must not get through here.
    pub fn compare_holds(&self, holds: Decide<'_>, holds_grant_option: Decide<'_>) -> Result<(), String> {
        for (object, kind) in self.objects() {
            for principal in self.principals() {
                for privilege in kind.legal().iter() {
                    let asked = (object, self.model.principal_name(principal), privilege);
                    let expected = self.model.holds(principal, object, privilege);
                    same(&format!("holds {asked:?}"), &holds(principal, object, privilege), &expected)?;
                    let expected = self.model.holds_grant_option(principal, object, privilege);
                    let found = holds_grant_option(principal, object, privilege);
                    same(&format!("holds the grant option {asked:?}"), &found, &expected)?;
                }
            }
        }
        Ok(())
    }

    /// Every privilege on every object, legal there or not, and every other need, with the words of the refusal.
    pub fn compare_requirements(&self, view: &View) -> Result<(), String> {
        let mut needs = vec![Need::Admin { action: "alter the moon".to_owned() }];
        needs.extend(RoleOption::each().map(Need::Option));
        for privilege in ObjectKind::Cluster.legal().iter() {
            needs.push(Need::SystemOrOption(privilege));
        }
        for (object, kind) in self.objects() {
            for privilege in Privilege::each() {
                needs.push(Need::Privilege { object, privilege });
            }
            needs.push(Need::AnyPrivilege { object });
            if kind != ObjectKind::Cluster {
                needs.push(Need::Ownership { object });
            }
        }
        for principal in self.principals() {
            if self.model.principals.iter().all(|known| known.id != principal) {
                continue;
            }
            let may = view.may_log_in(principal);
            same(&format!("{principal} logs in"), &may, &self.model.may_log_in(principal))?;
            for need in &needs {
                let requirement = Requirement { needs: vec![need.clone()] };
                let name = self.model.principal_name(principal);
                let found = decide::decide(view, principal, &requirement);
                same(&format!("{name} needs {need:?}"), &found, &self.model.decide(principal, &requirement))?;
            }
        }
        Ok(())
    }

    fn compare_names(&self, view: &View, actor: Actor) -> Result<(), String> {
        same("databases", &list::databases(view, actor), &self.model.databases(actor))?;
        let names = |parts: &[&str]| parts.iter().copied().map(Name::normalize).collect::<Vec<_>>();
        let shown = [
            names(&[]),
            names(&["ops"]),
            names(&["shop"]),
            names(&["depot"]),
            names(&["gone"]),
            names(&["shop", "hr"]),
        ];
        for context in contexts() {
            for database in [None, Some(Name::normalize("shop")), Some(Name::normalize("gone"))] {
                let found = list::schemas(view, actor, &context, database.as_ref());
                let expected = self.model.schemas(actor, &context, database.as_ref());
                same(&format!("schemas from {database:?} in {context:?}"), &found, &expected)?;
            }
            for from in &shown {
                let found = list::tables(view, actor, &context, from);
                let expected = self.model.tables_shown(actor, &context, from);
                same(&format!("tables from {from:?} in {context:?}"), &found, &expected)?;
            }
        }
        Ok(())
    }

    /// Every listing that a few people could ask for.
    pub fn compare_listings(&self, view: &View) -> Result<(), String> {
        same("roles", &list::roles(view), &self.model.roles())?;
        let spec = |name: &str| RoleSpec::Name(RoleName::normalize(name));
        let filters = [
            vec![],
            vec![spec("amy")],
            vec![spec("crew"), spec("public")],
            vec![spec("ghost")],
            vec![RoleSpec::CurrentUser],
        ];
        let actors = [PrincipalId::ROOT, self.principal(&RoleName::normalize("ben"))];
        for actor in actors.map(Actor::of) {
            self.compare_names(view, actor)?;
            for roles in &filters {
                for members in &filters {
                    let expected = self.model.role_grants(actor, roles, members);
                    let found = list::role_grants(view, actor, roles, members);
                    same(&format!("role grants {roles:?} for {members:?}"), &found, &Ok(expected))?;
                }
                for context in contexts() {
                    for on in listed_targets() {
                        let asked = format!("grants on {on:?} for {roles:?} by {actor:?} in {context:?}");
                        let found = list::grants(view, actor, &context, on.as_ref(), roles);
                        same(&asked, &found, &self.model.grants(actor, &context, on.as_ref(), roles))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// A decider: principal, object, privilege.
pub type Decide<'a> = &'a dyn Fn(PrincipalId, ObjectId, Privilege) -> bool;

/// An error that shows both when they differ.
pub fn same<T: PartialEq + Debug>(about: &str, engine: &T, twin: &T) -> Result<(), String> {
    if engine == twin {
        return Ok(());
    }
    Err(format!("{about}\n  engine: {engine:?}\n  twin:   {twin:?}"))
}

/// Whether a decision allows.
pub fn allows(decision: &Decision) -> bool {
    match decision {
        Decision::Allow => true,
        Decision::Deny(_) => false,
    }
}

fn contexts() -> [NameContext; 3] {
    let path = || vec![Name::normalize("public"), Name::normalize("ops")];
    [
        NameContext { database: Some("shop".into()), search_path: path() },
        NameContext { database: None, search_path: path() },
        NameContext { database: Some("gone".into()), search_path: Vec::new() },
    ]
}

fn listed_targets() -> Vec<Option<Targets>> {
    let schemas: Vec<_> = SCHEMAS
        .iter()
        .map(|schema| SchemaName { database: Some("shop".into()), schema: (*schema).into() })
        .collect();
    vec![
        None,
        Some(Targets::System),
        Some(Targets::Databases(vec!["shop".into(), "system".into()])),
        Some(Targets::Databases(DATABASES.map(Name::normalize).to_vec())),
        Some(Targets::Schemas(schemas[..1].to_vec())),
        Some(Targets::Schemas(schemas.clone())),
        Some(Targets::AllTablesInSchemas(schemas[..1].to_vec())),
        Some(Targets::AllTablesInSchemas(schemas)),
        Some(Targets::Tables(vec![TablePattern::All(Vec::new())])),
        Some(Targets::Tables(vec![TablePattern::All(vec!["ops".into()])])),
    ]
}
