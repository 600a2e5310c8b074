//! Which changes of the catalog are recorded, as what, and in which words: those of the statement.

use std::fmt::Display;

use grantd_catalog::command::{
    Command, Creators, DefaultAct, OwnedName, RoleOptionClause, RoleSpec, SchemaName, TablePattern, Targets,
};
use grantd_catalog::job::JobKind;
use grantd_catalog::privilege::Privilege;
use grantd_catalog::role::ValidUntil;

/// The statement and what it says, of a command that changes what somebody may do. Passwords are not in it.
#[allow(clippy::too_many_lines, reason = "one arm for each command")]
pub(super) fn of(command: &Command) -> Option<(&'static str, String)> {
    Some(match command {
        Command::CreateRole { name, options, .. } => ("CREATE ROLE", role_with(name, options)),
        Command::AlterRole { name, options, .. } => ("ALTER ROLE", role_with(name, options)),
        Command::DropRoles { names, .. } => ("DROP ROLE", specs(names)),
        Command::GrantRoles { roles, members, admin_option } => {
            let option = if *admin_option { " WITH ADMIN OPTION" } else { "" };
            ("GRANT", format!("{} TO {}{option}", list(roles), specs(members)))
        }
        Command::RevokeRoles { roles, members, admin_option_only } => {
            let option = if *admin_option_only { "ADMIN OPTION FOR " } else { "" };
            ("REVOKE", format!("{option}{} FROM {}", list(roles), specs(members)))
        }
        Command::Grant { privileges, on, to, grant_option } => {
            let option = if *grant_option { " WITH GRANT OPTION" } else { "" };
            ("GRANT", format!("{} TO {}{option}", held(privileges, on), specs(to)))
        }
        Command::Revoke { privileges, on, from, grant_option_only } => {
            let option = if *grant_option_only { "GRANT OPTION FOR " } else { "" };
            ("REVOKE", format!("{option}{} FROM {}", held(privileges, on), specs(from)))
        }
        Command::AlterOwner { object, owner, .. } => {
            ("ALTER OWNER", format!("{} TO {}", owned(object), spec(owner)))
        }
        Command::AlterJobOwner { id, owner } => ("ALTER OWNER", format!("JOB {id} TO {}", spec(owner))),
        Command::ReassignOwned { from, to } => {
            ("REASSIGN OWNED", format!("BY {} TO {}", specs(from), spec(to)))
        }
        Command::DropOwned { by, .. } => ("DROP OWNED", format!("BY {}", specs(by))),
        Command::AlterDefaultPrivileges { creators, schemas, act, privileges, on, grantees } => {
            let place = place_of_defaults(creators, schemas);
            let (verb, joint, option) = words_of_defaults(*act);
            let (words, who) = (privilege_list(privileges), specs(grantees));
            let class = on.word().to_uppercase();
            let what = format!("{place}{verb} {words} ON {class} {joint} {who}{option}");
            ("ALTER DEFAULT PRIVILEGES", what)
        }
        // What it brings may be users and grants; the description has no secrets.
        Command::CreateJob { job } | Command::RunSchedule { job, .. } if job.kind == JobKind::Restore => {
            ("RESTORE", job.description.strip_prefix("RESTORE ").unwrap_or(&job.description).to_owned())
        }
        Command::CreateDatabase { .. }
        | Command::DropDatabase { .. }
        | Command::CreateSchema { .. }
        | Command::DropSchemas { .. }
        | Command::CreateTable { .. }
        | Command::DropTables { .. }
        | Command::AlterTable { .. }
        | Command::CreateIndex { .. }
        | Command::DropIndexes { .. }
        | Command::RenameIndex { .. }
        | Command::CommentOnIndex { .. }
        | Command::CreateView { .. }
        | Command::DropViews { .. }
        | Command::CreateSequence { .. }
        | Command::AlterSequence { .. }
        | Command::DropSequences { .. }
        | Command::CreateType { .. }
        | Command::AlterType { .. }
        | Command::DropTypes { .. }
        | Command::CreateFunction { .. }
        | Command::DropFunctions { .. }
        | Command::CreateExternalConnection { .. }
        | Command::AlterExternalConnection { .. }
        | Command::DropExternalConnections { .. }
        | Command::CreateIamRole { .. }
        | Command::DropIamRoles { .. }
        | Command::Rename { .. }
        | Command::SetSchema { .. }
        | Command::Comment { .. }
        | Command::AlterRoleSettings { .. }
        | Command::SetClusterSetting { .. }
        | Command::ProtectHistory { .. }
        | Command::ReleaseHistory { .. }
        | Command::CreateJob { .. }
        | Command::ControlJob { .. }
        | Command::ClaimJob { .. }
        | Command::RenewClaims { .. }
        | Command::ReportJob { .. }
        | Command::CollectJobs
        | Command::CreateSchedules { .. }
        | Command::AlterSchedules { .. }
        | Command::ControlSchedule { .. }
        | Command::AdvanceSchedule { .. }
        | Command::RunSchedule { .. }
        | Command::Shelve { .. } => return None,
    })
}

/// `FOR ROLE … IN SCHEMA … `.
fn place_of_defaults(creators: &Creators, schemas: &[SchemaName]) -> String {
    let whose = match creators {
        Creators::Roles(roles) if roles.is_empty() => String::new(),
        Creators::Roles(roles) => format!("FOR ROLE {} ", specs(roles)),
        Creators::All => "FOR ALL ROLES ".to_owned(),
    };
    match schemas {
        [] => whose,
        schemas => format!("{whose}IN SCHEMA {} ", joined(schemas.iter().map(schema))),
    }
}

/// The verb, what stands before the grantees, and what behind them.
const fn words_of_defaults(act: DefaultAct) -> (&'static str, &'static str, &'static str) {
    match act {
        DefaultAct::Grant { grant_option: true } => ("GRANT", "TO", " WITH GRANT OPTION"),
        DefaultAct::Grant { grant_option: false } => ("GRANT", "TO", ""),
        DefaultAct::Revoke { grant_option_only: true } => ("REVOKE GRANT OPTION FOR", "FROM", ""),
        DefaultAct::Revoke { grant_option_only: false } => ("REVOKE", "FROM", ""),
    }
}

fn role_with(name: &RoleSpec, options: &[RoleOptionClause]) -> String {
    let words = options.iter().map(|option| match option {
        RoleOptionClause::Flag(option, true) => option.word().to_owned(),
        RoleOptionClause::Flag(option, false) => format!("not {}", option.word()),
        RoleOptionClause::Password(Some(_)) => "PASSWORD".to_owned(),
        RoleOptionClause::Password(None) => "PASSWORD NULL".to_owned(),
        RoleOptionClause::ValidUntil(ValidUntil::Never) => "VALID UNTIL NULL".to_owned(),
        RoleOptionClause::ValidUntil(_) => "VALID UNTIL".to_owned(),
    });
    let words: Vec<_> = std::iter::once(spec(name)).chain(words).collect();
    words.join(" ")
}

fn held(privileges: &[Privilege], on: &Targets) -> String {
    let words = privilege_list(privileges);
    let schemas = |schemas: &[SchemaName]| joined(schemas.iter().map(schema));
    match on {
        Targets::System => format!("SYSTEM {words}"),
        Targets::Databases(names) => format!("{words} ON DATABASE {}", list(names)),
        Targets::Schemas(names) => format!("{words} ON SCHEMA {}", schemas(names)),
        Targets::Tables(names) => format!("{words} ON TABLE {}", joined(names.iter().map(pattern))),
        Targets::AllTablesInSchemas(names) => format!("{words} ON ALL TABLES IN SCHEMA {}", schemas(names)),
        Targets::Sequences(names) => format!("{words} ON SEQUENCE {}", joined(names.iter().map(pattern))),
        Targets::AllSequencesInSchemas(names) => {
            format!("{words} ON ALL SEQUENCES IN SCHEMA {}", schemas(names))
        }
        Targets::AllFunctionsInSchemas(names) => {
            format!("{words} ON ALL FUNCTIONS IN SCHEMA {}", schemas(names))
        }
        Targets::Types(names) => format!("{words} ON TYPE {}", list(names)),
        Targets::Functions(names) => format!("{words} ON FUNCTION {}", list(names)),
        Targets::ExternalConnections(names) => format!("{words} ON EXTERNAL CONNECTION {}", list(names)),
        Targets::IamRoles(names) => format!("{words} ON IAM ROLE {}", list(names)),
    }
}

fn owned(object: &OwnedName) -> String {
    match object {
        OwnedName::Database(name) => format!("DATABASE {name}"),
        OwnedName::Schema(name) => format!("SCHEMA {}", schema(name)),
        OwnedName::Table(name) => format!("TABLE {name}"),
        OwnedName::View(name) => format!("VIEW {name}"),
        OwnedName::Sequence(name) => format!("SEQUENCE {name}"),
        OwnedName::Type(name) => format!("TYPE {name}"),
        OwnedName::Function(name) => format!("FUNCTION {name}"),
        OwnedName::ExternalConnection(name) => format!("EXTERNAL CONNECTION {name}"),
        OwnedName::IamRole(name) => format!("IAM ROLE {name}"),
    }
}

fn pattern(pattern: &TablePattern) -> String {
    match pattern {
        TablePattern::Table(name) => name.to_string(),
        TablePattern::All(qualifiers) => {
            let parts = qualifiers.iter().map(ToString::to_string).chain(["*".to_owned()]);
            parts.collect::<Vec<_>>().join(".")
        }
    }
}

fn schema(name: &SchemaName) -> String {
    match &name.database {
        Some(database) => format!("{database}.{}", name.schema),
        None => name.schema.to_string(),
    }
}

fn spec(spec: &RoleSpec) -> String {
    match spec {
        RoleSpec::Name(name) => name.to_string(),
        RoleSpec::CurrentUser => "CURRENT_USER".to_owned(),
        RoleSpec::SessionUser => "SESSION_USER".to_owned(),
    }
}

fn specs(specs: &[RoleSpec]) -> String {
    joined(specs.iter().map(spec))
}

fn privilege_list(privileges: &[Privilege]) -> String {
    joined(privileges.iter().map(|privilege| privilege.word().to_owned()))
}

fn list(items: &[impl Display]) -> String {
    joined(items.iter().map(ToString::to_string))
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}
