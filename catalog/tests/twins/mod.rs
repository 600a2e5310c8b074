//! The engine and its twin side by side, and what it means that they agree.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::disallowed_methods, reason = "the catalog does no I/O; its tests read their scripts")]

pub mod script;
pub mod sql;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use grantd_catalog::command::{
    Actor, Command, Creators, FunctionName, NameContext, ObjectName, Outcome, RoleSpec, SchemaName,
    TablePattern, Targets,
};
use grantd_catalog::decide::{self, Decision};
use grantd_catalog::id::{ObjectId, PrincipalId, Timestamp, Version};
use grantd_catalog::list::{self, DefaultsShown};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::privilege::{ObjectKind, Privilege};
use grantd_catalog::record::{Record, RecordKey};
use grantd_catalog::require::{FeedTo, Need, Requirement, UriAccess};
use grantd_catalog::role::RoleOption;
use grantd_catalog::spec::Model;
use grantd_catalog::spec::generate::{self, DATABASES, IAM_ROLES, SCHEMAS, Step};
use grantd_catalog::spec::records::{comparable, default_entries_stored};
use grantd_catalog::state::State;
use grantd_catalog::system;
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
            _ if name.as_str() == "node" => PrincipalId::NODE,
            Some(last) if self.version.is_multiple_of(3) => *last,
            Some(_) | None => self.principal(name),
        }
    }

    /// Tells both; the engine's outcome, when they agree on it.
    pub fn step(&mut self, step: &Step) -> Result<Outcome, String> {
        let actor = Actor { session: self.actor(&step.session), current: self.actor(&step.current) };
        self.tell(actor, &step.context, &generate::bind(&step.command, &self.model))
    }

    pub fn tell(
        &mut self,
        actor: Actor,
        context: &NameContext,
        command: &Command,
    ) -> Result<Outcome, String> {
        self.version += 1;
        // A while passes between any two, so that claims and rests end in a history.
        let time = Timestamp { nanos: self.version * 700_000_000, logical: 0 };
        self.model.now = time;
        let mut changes = Vec::new();
        let outcome = self.state.apply(Version(self.version), time, actor, context, command, &mut changes);
        let expected = self.model.apply(actor, context, command);
        let unchanged = self.state.is_unchanged_from(self.view.state());
        let refused = matches!(outcome, Outcome::Refused(_));
        if unchanged != changes.is_empty() && (unchanged || refused) {
            return Err(format!("{command:?} changed {} records; unchanged: {unchanged}", changes.len()));
        }
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
        objects.extend(self.model.objects.iter().map(|known| (known.id, known.kind())));
        // Of what is virtual: what was changed, and one of each sort that was not.
        let unchanged = ["pg_catalog", "pg_class", "users"];
        for (id, known) in system::objects() {
            if self.model.virtual_changed.contains(id) || unchanged.contains(&known.name.as_str()) {
                objects.push((*id, known.kind()));
            }
        }
        objects
    }

    /// What is stored: the records that each command changed, one on the other, against those of the twin.
    pub fn compare_records(&self) -> Result<(), String> {
        let (engine, twin) = (comparable(&self.records), self.model.records());
        for (key, expected) in &twin {
            same(&format!("the record of {key:?}"), &engine.get(key), &Some(expected))?;
        }
        let more: Vec<_> = engine.iter().filter(|(key, _)| !twin.contains_key(key)).collect();
        same("records that the twin does not have", &more, &Vec::new())?;
        let stored = default_entries_stored(&self.records);
        same("default privileges", &stored, &self.model.default_entries_stored())
    }

    /// Every decision on privileges that are legal where they are asked for.
    pub fn compare_decisions(&self, view: &View) -> Result<(), String> {
        self.compare_holds(
            &|principal, object, privilege| decide::holds(view, principal, object, privilege),
            &|principal, object, privilege| decide::holds_grant_option(view, principal, object, privilege),
        )?;
        self.compare_batch(view)?;
        self.compare_called(view)
    }

    /// All privileges at once, legal there or not, against single answers, which are compared with the twin's elsewhere.
    fn compare_batch(&self, view: &View) -> Result<(), String> {
        let (mut questions, mut expected) = (Vec::new(), Vec::new());
        for object in self.objects().into_iter().map(|(object, _)| object).chain([ObjectId(9_999)]) {
            for principal in self.principals() {
                for privilege in Privilege::each() {
                    questions.push((principal, object, privilege));
                    expected.push(decide::holds(view, principal, object, privilege));
                }
            }
        }
        let mut answers = Vec::new();
        decide::holds_each(view, &questions, &mut answers);
        let wrong =
            questions.iter().zip(answers.iter().zip(&expected)).find(|(_, (one, other))| one != other);
        same("the first wrong answer of a batch", &wrong, &None)?;
        same("answers of a batch", &answers.len(), &questions.len())
    }

    /// Who and what is found by its name, written as it is and in capitals.
    fn compare_called(&self, view: &View) -> Result<(), String> {
        let state = view.state();
        for known in &self.model.principals {
            let capitals = known.name.as_str().to_uppercase();
            for written in [known.name.as_str(), &capitals] {
                same(&format!("who {written} is"), &state.principal_called(written), &Some(known.id))?;
            }
        }
        same("who nobody is", &state.principal_called("nobody at all"), &None)?;
        let context = NameContext { database: None, search_path: Vec::new() };
        for known in &self.model.objects {
            let parent = |id| self.model.objects.iter().find(|other| other.id == id);
            let Some(schema) = parent(known.parent) else { continue };
            let Some(database) = parent(schema.parent) else { continue };
            let parts = [&database.name, &schema.name, &known.name].map(|name: &Name| name.clone());
            let called = state.relation_called(parts.each_ref().map(Name::as_str));
            let resolved = state.resolve_relation(&context, &ObjectName { parts: parts.to_vec() }).ok();
            same(&format!("what {parts:?} is"), &called, &resolved)?;
            let is_relation = matches!(known.kind(), ObjectKind::Table | ObjectKind::Sequence);
            same(&format!("whether {parts:?} is itself"), &(called == Some(known.id)), &is_relation)?;
        }
        Ok(())
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
        needs.extend(accesses().into_iter().map(Need::Outside));
        for (object, kind) in self.objects() {
            for privilege in Privilege::each() {
                needs.push(Need::Privilege { object, privilege });
            }
            needs.push(Need::AnyPrivilege { object });
            if kind != ObjectKind::Cluster {
                needs.push(Need::Ownership { object });
                let privileges = vec![Privilege::Update, Privilege::Usage];
                needs.push(Need::AnyOf { object, privileges });
            }
            if kind == ObjectKind::Table {
                for to in [FeedTo::Client, FeedTo::Uri, FeedTo::Connection] {
                    needs.push(Need::Changefeed { tables: vec![object], to });
                }
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

    fn compare_defaults(
        &self,
        view: &View,
        actor: Actor,
        context: &NameContext,
        roles: &[RoleSpec],
    ) -> Result<(), String> {
        let forms = [
            DefaultsShown::Of(Creators::All),
            DefaultsShown::Of(Creators::Roles(roles.to_vec())),
            DefaultsShown::ForGrantees(roles.to_vec()),
        ];
        let ops = SchemaName { database: None, schema: "ops".into() };
        for shown in &forms {
            for schema in [None, Some(&ops)] {
                let found = list::default_privileges(view, actor, context, shown, schema);
                let expected = self.model.default_rows(actor, context, shown, schema);
                same(&format!("defaults {shown:?} in {schema:?} in {context:?}"), &found, &expected)?;
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
                    self.compare_defaults(view, actor, &context, roles)?;
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

/// The names of the variants of `Command`; `variant` does not compile without a new one.
const COMMANDS: [&str; 57] = [
    "CreateRole",
    "AlterRole",
    "DropRoles",
    "GrantRoles",
    "RevokeRoles",
    "Grant",
    "Revoke",
    "CreateDatabase",
    "DropDatabase",
    "CreateSchema",
    "DropSchemas",
    "CreateTable",
    "DropTables",
    "AlterOwner",
    "ReassignOwned",
    "DropOwned",
    "AlterRoleSettings",
    "AlterDefaultPrivileges",
    "SetClusterSetting",
    "CreateView",
    "DropViews",
    "CreateSequence",
    "AlterSequence",
    "DropSequences",
    "CreateType",
    "AlterType",
    "DropTypes",
    "CreateFunction",
    "DropFunctions",
    "CreateExternalConnection",
    "AlterExternalConnection",
    "DropExternalConnections",
    "Rename",
    "SetSchema",
    "Comment",
    "AlterTable",
    "CreateIndex",
    "DropIndexes",
    "RenameIndex",
    "CommentOnIndex",
    "ProtectHistory",
    "ReleaseHistory",
    "CreateIamRole",
    "DropIamRoles",
    "CreateJob",
    "ControlJob",
    "AlterJobOwner",
    "ClaimJob",
    "RenewClaims",
    "ReportJob",
    "CollectJobs",
    "Shelve",
    "CreateSchedules",
    "AlterSchedules",
    "ControlSchedule",
    "AdvanceSchedule",
    "RunSchedule",
];

/// The name of the variant of a command.
pub fn variant(command: &Command) -> &'static str {
    let position = match command {
        Command::CreateRole { .. } => 0,
        Command::AlterRole { .. } => 1,
        Command::DropRoles { .. } => 2,
        Command::GrantRoles { .. } => 3,
        Command::RevokeRoles { .. } => 4,
        Command::Grant { .. } => 5,
        Command::Revoke { .. } => 6,
        Command::CreateDatabase { .. } => 7,
        Command::DropDatabase { .. } => 8,
        Command::CreateSchema { .. } => 9,
        Command::DropSchemas { .. } => 10,
        Command::CreateTable { .. } => 11,
        Command::DropTables { .. } => 12,
        Command::AlterOwner { .. } => 13,
        Command::ReassignOwned { .. } => 14,
        Command::DropOwned { .. } => 15,
        Command::AlterRoleSettings { .. } => 16,
        Command::AlterDefaultPrivileges { .. } => 17,
        Command::SetClusterSetting { .. } => 18,
        Command::CreateView { .. } => 19,
        Command::DropViews { .. } => 20,
        Command::CreateSequence { .. } => 21,
        Command::AlterSequence { .. } => 22,
        Command::DropSequences { .. } => 23,
        Command::CreateType { .. } => 24,
        Command::AlterType { .. } => 25,
        Command::DropTypes { .. } => 26,
        Command::CreateFunction { .. } => 27,
        Command::DropFunctions { .. } => 28,
        Command::CreateExternalConnection { .. } => 29,
        Command::AlterExternalConnection { .. } => 30,
        Command::DropExternalConnections { .. } => 31,
        Command::Rename { .. } => 32,
        Command::SetSchema { .. } => 33,
        Command::Comment { .. } => 34,
        Command::AlterTable { .. } => 35,
        Command::CreateIndex { .. } => 36,
        Command::DropIndexes { .. } => 37,
        Command::RenameIndex { .. } => 38,
        Command::CommentOnIndex { .. } => 39,
        Command::ProtectHistory { .. } => 40,
        Command::ReleaseHistory { .. } => 41,
        Command::CreateIamRole { .. } => 42,
        Command::DropIamRoles { .. } => 43,
        Command::CreateJob { .. } => 44,
        Command::ControlJob { .. } => 45,
        Command::AlterJobOwner { .. } => 46,
        Command::ClaimJob { .. } => 47,
        Command::RenewClaims { .. } => 48,
        Command::ReportJob { .. } => 49,
        Command::CollectJobs => 50,
        Command::Shelve { .. } => 51,
        Command::CreateSchedules { .. } => 52,
        Command::AlterSchedules { .. } => 53,
        Command::ControlSchedule { .. } => 54,
        Command::AdvanceSchedule { .. } => 55,
        Command::RunSchedule { .. } => 56,
    };
    COMMANDS[position]
}

/// The names of the variants of `Targets`; `target_form` does not compile without a new one.
const TARGETS: [&str; 12] = [
    "databases",
    "schemas",
    "tables",
    "all tables",
    "system",
    "sequences",
    "all sequences",
    "all functions",
    "types",
    "functions",
    "external connections",
    "IAM roles",
];

fn target_form(on: &Targets) -> &'static str {
    TARGETS[match on {
        Targets::Databases(_) => 0,
        Targets::Schemas(_) => 1,
        Targets::Tables(_) => 2,
        Targets::AllTablesInSchemas(_) => 3,
        Targets::System => 4,
        Targets::Sequences(_) => 5,
        Targets::AllSequencesInSchemas(_) => 6,
        Targets::AllFunctionsInSchemas(_) => 7,
        Targets::Types(_) => 8,
        Targets::Functions(_) => 9,
        Targets::ExternalConnections(_) => 10,
        Targets::IamRoles(_) => 11,
    }]
}

/// What a command is an example of: its kind, and what it is on.
pub fn forms(command: &Command) -> Vec<String> {
    let name = variant(command);
    match command {
        Command::Grant { on, .. } | Command::Revoke { on, .. } => {
            vec![name.to_owned(), format!("{name} on {}", target_form(on))]
        }
        _ => vec![name.to_owned()],
    }
}

/// All that [`forms`] can say.
pub fn every_form() -> Vec<String> {
    let on = |name: &'static str| TARGETS.iter().map(move |on| format!("{name} on {on}"));
    COMMANDS.iter().map(ToString::to_string).chain(on("Grant")).chain(on("Revoke")).collect()
}

/// What URIs may need.
fn accesses() -> Vec<UriAccess> {
    let of = |implicit, only_nodes, roles: &[&str]| UriAccess {
        provider: "s3".to_owned(),
        implicit,
        only_nodes,
        roles: roles.iter().copied().map(Name::normalize).collect(),
        connection: None,
    };
    let gone = "arn:aws:iam::123456789012:role/gone";
    vec![
        of(false, false, &IAM_ROLES),
        of(false, true, &IAM_ROLES),
        of(true, false, &[]),
        of(true, false, &IAM_ROLES[..1]),
        of(true, false, &IAM_ROLES),
        of(true, false, &[IAM_ROLES[0], gone]),
        of(true, true, &IAM_ROLES[..1]),
        UriAccess { connection: Some("vault".into()), ..UriAccess::default() },
    ]
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
    let in_shop = schemas[..2].to_vec();
    let name = |text: &str| ObjectName { parts: text.split('.').map(Name::normalize).collect() };
    vec![
        None,
        Some(Targets::System),
        Some(Targets::Databases(vec!["shop".into(), "system".into()])),
        Some(Targets::Databases(DATABASES.map(Name::normalize).to_vec())),
        Some(Targets::Schemas(schemas[..1].to_vec())),
        Some(Targets::Schemas(schemas.clone())),
        Some(Targets::AllTablesInSchemas(schemas[..1].to_vec())),
        Some(Targets::AllTablesInSchemas(schemas.clone())),
        Some(Targets::Tables(vec![TablePattern::All(Vec::new())])),
        Some(Targets::Tables(vec![TablePattern::All(vec!["ops".into()])])),
        Some(Targets::Tables(vec![TablePattern::Table(name("crdb_internal.tables"))])),
        Some(Targets::Tables(vec![TablePattern::Table(name("shop.pg_catalog.pg_class"))])),
        Some(Targets::Schemas(vec![SchemaName { database: None, schema: "pg_catalog".into() }])),
        Some(Targets::Sequences(vec![TablePattern::All(vec!["shop".into(), "ops".into()])])),
        Some(Targets::AllSequencesInSchemas(in_shop.clone())),
        Some(Targets::AllFunctionsInSchemas(in_shop)),
        Some(Targets::Types(vec![name("shop.public.mood"), name("size")])),
        Some(Targets::Functions(vec![FunctionName { name: name("shop.public.area"), arguments: None }])),
        Some(Targets::ExternalConnections(vec!["vault".into()])),
        Some(Targets::ExternalConnections(vec!["vault".into(), "sink".into()])),
        Some(Targets::IamRoles(vec![IAM_ROLES[0].into()])),
        Some(Targets::IamRoles(IAM_ROLES.map(Name::normalize).to_vec())),
    ]
}
