//! Scripts: statements, and under each, indented, what came of it.
//!
//! ```text
//! case J.2/55
//! given the people
//! as amy
//! GRANT crew TO ben
//!   42501 amy is not a superuser or role admin for role crew
//! ```
//!
//! `case` starts from a new cluster, as root in `defaultdb`. `given the people` makes the users amy, ben, cat and the
//! roles crew, leads, guild; `given the shop` the database shop with schema ops and the tables public.item and
//! ops.bill, and makes it current. `as u [session s]` and `use d` change who asks and where. `#` starts a remark.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use grantd_catalog::command::{Actor, Command, NameContext, Outcome, Targets};
use grantd_catalog::decide::{self, Decision};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::list;
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::privilege::{ObjectKind, Privilege};
use grantd_catalog::refusal::Refusal;
use grantd_catalog::require::{Need, Requirement};

use super::World;
use super::sql::{Statement, parse_in};

const PEOPLE: [&str; 6] = [
    "CREATE USER amy",
    "CREATE USER ben",
    "CREATE USER cat",
    "CREATE ROLE crew",
    "CREATE ROLE leads",
    "CREATE ROLE guild",
];

const SHOP: [&str; 4] = [
    "CREATE DATABASE shop",
    "CREATE SCHEMA shop.ops",
    "CREATE TABLE shop.public.item",
    "CREATE TABLE shop.ops.bill",
];

/// The script files, sorted.
pub fn files() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut files: Vec<_> = fs::read_dir(directory)
        .expect("the scripts are there")
        .map(|entry| entry.expect("a directory entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    files.sort();
    files
}

/// A command of a script that was run, and whether it was applied.
pub struct Told {
    pub command: Command,
    pub applied: bool,
}

/// Runs a script and writes it again with what really came of each statement.
pub fn run(text: &str, told: &mut Vec<Told>) -> String {
    let mut written = String::new();
    let mut session = Session::new();
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("  ") {
            continue;
        }
        let _ = writeln!(written, "{line}");
        let results =
            session.line(line, told).unwrap_or_else(|difference| panic!("line {}: {difference}", number + 1));
        for result in results {
            let _ = writeln!(written, "{}", format!("  {result}").replace('\n', "\n    "));
        }
    }
    written
}

/// Compares `found` with the file, or writes the file when `GRANTD_UPDATE=1`.
pub fn expect_file(path: &Path, found: &str) {
    if std::env::var("GRANTD_UPDATE").is_ok_and(|value| value == "1") {
        fs::write(path, found).expect("the file can be written");
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    for (number, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert!(
            found == expected,
            "{}, line {}\n  expected: {expected}\n  found:    {found}\n(GRANTD_UPDATE=1 writes what was found)",
            path.display(),
            number + 1
        );
    }
    assert!(found.lines().count() == expected.lines().count(), "{} has another length", path.display());
}

struct Session {
    world: World,
    actor: Actor,
    context: NameContext,
}

impl Session {
    fn new() -> Self {
        Self {
            world: World::bootstrap(),
            actor: Actor::of(PrincipalId::ROOT),
            context: NameContext {
                database: Some("defaultdb".into()),
                search_path: vec![Name::normalize("public")],
            },
        }
    }

    fn line(&mut self, line: &str, told: &mut Vec<Told>) -> Result<Vec<String>, String> {
        let mut words = line.split_whitespace();
        match words.next() {
            None | Some("#") => {}
            Some("case") => *self = Self::new(),
            Some("given") if line == "given the people" => self.given(&PEOPLE)?,
            Some("given") if line == "given the shop" => {
                self.given(&SHOP)?;
                self.context.database = Some("shop".into());
            }
            Some("as") => {
                let mut id = || {
                    let name = RoleName::normalize(words.next().expect("a name after `as`"));
                    self.world.model.find_principal(&name).ok_or(format!("there is no {name}"))
                };
                let current = id()?;
                self.actor = Actor::of(current);
                if words.next() == Some("session") {
                    let name = RoleName::normalize(words.next().expect("a name after `session`"));
                    self.actor.session = self.world.principal(&name);
                }
            }
            Some("use") => self.context.database = words.next().map(Name::normalize),
            Some(_) => {
                let statement = parse_in(line, &self.world.state, &self.context);
                return self.statement(&statement, told);
            }
        }
        Ok(Vec::new())
    }

    fn given(&mut self, statements: &[&str]) -> Result<(), String> {
        for text in statements {
            let parsed = parse_in(text, &self.world.state, &self.context);
            let Statement::Command(command) = parsed else { return Err(format!("{text} asks")) };
            let outcome = self.world.tell(Actor::of(PrincipalId::ROOT), &self.context, &command)?;
            if let Outcome::Refused(refusal) = outcome {
                return Err(format!("{text}: {}", printed(&refusal)));
            }
        }
        Ok(())
    }

    fn statement(&mut self, statement: &Statement, told: &mut Vec<Told>) -> Result<Vec<String>, String> {
        let view = &self.world.view;
        let requirement = match statement {
            Statement::Command(command) => {
                let outcome = self.world.tell(self.actor, &self.context, command)?;
                let applied = matches!(outcome, Outcome::Done(_));
                told.push(Told { command: command.clone(), applied });
                return Ok(outcome_lines(&outcome));
            }
            Statement::ShowRoles => {
                let row = |row: &list::RoleRow| {
                    format!("{} | {} | {{{}}}", row.username, row.options, comma_separated(&row.member_of))
                };
                return Ok(list::roles(view).iter().map(row).collect());
            }
            Statement::ShowRoleGrants { roles, members } => {
                let rows = list::role_grants(view, self.actor, roles, members);
                return Ok(rows_or_refusal(rows, |row| {
                    format!("{} | {} | {}", row.role_name, row.member, row.is_admin)
                }));
            }
            Statement::ShowGrants { on, grantees } => {
                let rows = list::grants(view, self.actor, &self.context, on.as_ref(), grantees);
                let expected = self.world.model.grants(self.actor, &self.context, on.as_ref(), grantees);
                super::same("SHOW GRANTS", &rows, &expected)?;
                return Ok(rows_or_refusal(rows, grant_row));
            }
            Statement::ShowDefaults { shown, schema } => {
                let schema = schema.as_ref();
                let rows = list::default_privileges(view, self.actor, &self.context, shown, schema);
                let expected = self.world.model.default_rows(self.actor, &self.context, shown, schema);
                super::same("SHOW DEFAULT PRIVILEGES", &rows, &expected)?;
                return Ok(rows_or_refusal(rows, default_row));
            }
            Statement::Refused(refusal) => return Ok(vec![printed(refusal)]),
            Statement::Need { privileges, on } => self.requirement(privileges, on),
            Statement::NeedLogin => {
                let allowed = view.may_log_in(self.actor.session);
                super::same("NEED LOGIN", &allowed, &self.world.model.may_log_in(self.actor.session))?;
                return Ok(vec![allowed.map_or_else(|refusal| printed(&refusal), |()| "allowed".to_owned())]);
            }
            Statement::NeedOption(option) => Ok(vec![Need::Option(*option)]),
            Statement::NeedSystemOrOption(privilege) => Ok(vec![Need::SystemOrOption(*privilege)]),
            Statement::NeedUri(access) => Ok(vec![Need::Outside(access.clone())]),
        };
        let requirement = match requirement {
            Ok(needs) => Requirement { needs },
            Err(refusal) => return Ok(vec![printed(&refusal)]),
        };
        let decision = decide::decide(view, self.actor.current, &requirement);
        super::same("NEED", &decision, &self.world.model.decide(self.actor.current, &requirement))?;
        Ok(vec![match decision {
            Decision::Allow => "allowed".to_owned(),
            Decision::Deny(refusal) => printed(&refusal),
        }])
    }

    fn requirement(&self, privileges: &[Privilege], on: &Targets) -> Result<Vec<Need>, Refusal> {
        let state = &self.world.state;
        let mut objects = Vec::new();
        let mut requirement = Requirement::default();
        match on {
            Targets::Databases(names) => {
                for name in names {
                    objects.push(state.resolve_database(name)?);
                }
            }
            Targets::Schemas(names) => {
                for name in names {
                    objects.push(state.resolve_schema(&self.context, name)?);
                }
            }
            Targets::Tables(patterns) => {
                for pattern in patterns {
                    let grantd_catalog::command::TablePattern::Table(name) = pattern else {
                        panic!("NEED is on one table");
                    };
                    let table = state.resolve_relation(&self.context, name)?;
                    let schema = state.object(table).map_or(ObjectId::CLUSTER, |object| object.parent);
                    requirement.privilege(schema, Privilege::Usage);
                    objects.push(table);
                }
            }
            _ => panic!("NEED is on a table, schema or database"),
        }
        for object in objects {
            for privilege in privileges {
                requirement.privilege(object, *privilege);
            }
        }
        Ok(requirement.needs)
    }
}

fn outcome_lines(outcome: &Outcome) -> Vec<String> {
    match outcome {
        Outcome::Refused(refusal) => vec![printed(refusal)],
        Outcome::Done(done) => {
            let mut lines = vec![if done.changed { "ok" } else { "ok, nothing changed" }.to_owned()];
            lines.extend(done.notices.iter().map(|notice| format!("notice {}", printed(notice))));
            lines
        }
    }
}

fn printed(refusal: &Refusal) -> String {
    let mut text = format!("{} {}", refusal.code.as_str(), refusal.message);
    if let Some(detail) = &refusal.detail {
        let _ = write!(text, "\nDETAIL {detail}");
    }
    if let Some(hint) = &refusal.hint {
        let _ = write!(text, "\nHINT {hint}");
    }
    text
}

fn rows_or_refusal<T>(rows: Result<Vec<T>, Refusal>, row: impl Fn(&T) -> String) -> Vec<String> {
    match rows {
        Ok(rows) if rows.is_empty() => vec!["no rows".to_owned()],
        Ok(rows) => rows.iter().map(row).collect(),
        Err(refusal) => vec![printed(&refusal)],
    }
}

fn grant_row(row: &list::GrantRow) -> String {
    let database = match row.kind {
        ObjectKind::Cluster => "system privileges",
        ObjectKind::ExternalConnection => "external connection",
        ObjectKind::IamRole => "IAM role",
        _ => &row.database,
    };
    let mut parts = vec![database.to_owned()];
    parts.extend(row.schema.clone());
    parts.extend(row.relation.clone());
    format!("{} | {} | {} | {}", parts.join("."), row.grantee, row.privilege, row.is_grantable)
}

fn default_row(row: &list::DefaultPrivilegeRow) -> String {
    let role = row.role.as_ref().map_or("NULL", RoleName::as_str);
    let (all, class) = (row.for_all_roles, row.object_type);
    format!("{role} | {all} | {class} | {} | {} | {}", row.grantee, row.privilege_type, row.is_grantable)
}

fn comma_separated(names: &[RoleName]) -> String {
    names.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
