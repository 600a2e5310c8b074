//! A catalog to talk to: statements go in as commands, and the invariants are checked after each.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod objects;

use std::sync::Arc;

use grantd_catalog::command::{
    Actor, Command, DropBehavior, NameContext, ObjectName, Outcome, OwnedName, RoleOptionClause, RoleSpec,
    SchemaName, TablePattern, Targets,
};
use grantd_catalog::id::{ObjectId, PrincipalId, Timestamp, Version};
use grantd_catalog::invariant;
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::{Column, ColumnType, Table};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::record::{Change, Record, RecordKey};
use grantd_catalog::role::{RoleOption, RoleOptions};
use grantd_catalog::state::State;
use grantd_catalog::view::View;

/// A catalog with a session of its own current database.
pub struct World {
    pub state: State,
    pub version: Version,
    pub view: Arc<View>,
    pub context: NameContext,
    /// What time the next command is applied at.
    pub now: Timestamp,
    /// What a replica would have on disk.
    pub disk: std::collections::BTreeMap<RecordKey, Record>,
}

impl World {
    pub fn new() -> Self {
        let state = State::bootstrap();
        Self {
            version: Version(1),
            view: Arc::new(View::build(Version(1), state.clone())),
            disk: state.records().collect(),
            state,
            context: context("defaultdb"),
            now: Timestamp::default(),
        }
    }

    /// Runs one command and checks everything that must be true afterwards.
    pub fn run(&mut self, user: &str, command: &Command) -> Outcome {
        let actor = Actor::of(self.principal(user));
        self.run_as(actor, command)
    }

    pub fn run_as(&mut self, actor: Actor, command: &Command) -> Outcome {
        let before = self.state.clone();
        let mut changes = Vec::new();
        self.version = Version(self.version.0 + 1);
        let time = self.now;
        let outcome = self.state.apply(self.version, time, actor, &self.context, command, &mut changes);
        match &outcome {
            Outcome::Refused(_) => {
                assert_eq!(before, self.state, "a refusal changes nothing");
                assert_eq!(changes, [], "a refusal changes nothing");
            }
            Outcome::Done(done) => assert_eq!(done.changed, !changes.is_empty()),
        }
        assert!(changes.is_sorted_by(|a, b| a.key < b.key));
        for Change { key, value } in changes {
            match value {
                Some(record) => self.disk.insert(key, record),
                None => self.disk.remove(&key),
            };
        }
        self.view = Arc::new(self.view.next(self.version, self.state.clone()));
        outcome
    }

    /// What must be true of any catalog, whatever came before.
    pub fn check(&self) {
        assert_eq!(invariant::check_all(&self.state), []);
        assert_eq!(*self.view, View::build(self.version, self.state.clone()));
        assert!(self.disk.iter().map(|(k, r)| (*k, r.clone())).eq(self.state.records()));
        let restored = State::restore(self.disk.clone()).expect("what was written can be read");
        assert_eq!(restored, self.state);
    }

    /// Runs a command that must do something or nothing, but not be refused.
    pub fn ok(&mut self, user: &str, command: Command) -> grantd_catalog::command::Done {
        let outcome = self.run(user, &command);
        self.check();
        match outcome {
            Outcome::Done(done) => done,
            Outcome::Refused(refusal) => panic!("{command:?} was refused: {refusal:?}"),
        }
    }

    /// Runs a command that must be refused; gives SQLSTATE and text.
    pub fn refused(&mut self, user: &str, command: Command) -> String {
        match self.run(user, &command) {
            Outcome::Refused(refusal) => format!("{} {}", refusal.code.as_str(), refusal.message),
            Outcome::Done(done) => panic!("{command:?} was not refused: {done:?}"),
        }
    }

    pub fn principal(&self, name: &str) -> PrincipalId {
        self.state.principal_id(&RoleName::from(name)).expect("the test made this role")
    }

    pub fn table(&self, name: &str) -> ObjectId {
        self.state.resolve_relation(&self.context, &object_name(name)).expect("the test made this table")
    }
}

pub fn context(database: &str) -> NameContext {
    NameContext { database: Some(Name::from(database)), search_path: vec![Name::from("public")] }
}

pub fn role(name: &str) -> RoleSpec {
    RoleSpec::Name(RoleName::from(name))
}

pub fn role_list(names: &str) -> Vec<RoleSpec> {
    names.split(' ').map(role).collect()
}

pub fn object_name(text: &str) -> ObjectName {
    ObjectName { parts: text.split('.').map(Name::from).collect() }
}

pub fn schema_name(text: &str) -> SchemaName {
    match text.split_once('.') {
        Some((database, schema)) => {
            SchemaName { database: Some(Name::from(database)), schema: Name::from(schema) }
        }
        None => SchemaName { database: None, schema: Name::from(text) },
    }
}

pub fn tables(text: &str) -> Targets {
    Targets::Tables(text.split(' ').map(|name| TablePattern::Table(object_name(name))).collect())
}

pub fn privileges(words: &str) -> Vec<Privilege> {
    words.split(' ').map(|word| Privilege::from_word(word).expect("a privilege")).collect()
}

pub fn options(words: &str) -> Vec<RoleOptionClause> {
    words
        .split_whitespace()
        .map(|word| {
            let (option, set) = RoleOption::from_word(word).expect("an option");
            RoleOptionClause::Flag(option, set)
        })
        .collect()
}

pub fn create_user(name: &str, words: &str) -> Command {
    Command::CreateRole { name: role(name), is_role: false, if_not_exists: false, options: options(words) }
}

pub fn create_role(name: &str, words: &str) -> Command {
    Command::CreateRole { name: role(name), is_role: true, if_not_exists: false, options: options(words) }
}

pub fn alter_role(name: &str, words: &str) -> Command {
    Command::AlterRole { name: role(name), if_exists: false, options: options(words) }
}

pub fn drop_role(names: &str) -> Command {
    Command::DropRoles { names: role_list(names), if_exists: false }
}

pub fn grant_role(roles: &str, members: &str) -> Command {
    let roles = roles.split(' ').map(RoleName::from).collect();
    Command::GrantRoles { roles, members: role_list(members), admin_option: false }
}

pub fn grant_role_with_admin(roles: &str, members: &str) -> Command {
    let roles = roles.split(' ').map(RoleName::from).collect();
    Command::GrantRoles { roles, members: role_list(members), admin_option: true }
}

pub fn revoke_role(roles: &str, members: &str) -> Command {
    let roles = roles.split(' ').map(RoleName::from).collect();
    Command::RevokeRoles { roles, members: role_list(members), admin_option_only: false }
}

pub fn grant(words: &str, on: Targets, to: &str) -> Command {
    Command::Grant { privileges: privileges(words), on, to: role_list(to), grant_option: false }
}

pub fn grant_with_option(words: &str, on: Targets, to: &str) -> Command {
    Command::Grant { privileges: privileges(words), on, to: role_list(to), grant_option: true }
}

pub fn revoke(words: &str, on: Targets, from: &str) -> Command {
    Command::Revoke { privileges: privileges(words), on, from: role_list(from), grant_option_only: false }
}

pub fn revoke_option(words: &str, on: Targets, from: &str) -> Command {
    Command::Revoke { privileges: privileges(words), on, from: role_list(from), grant_option_only: true }
}

pub fn create_database(name: &str) -> Command {
    Command::CreateDatabase { name: Name::from(name), if_not_exists: false, owner: None }
}

pub fn create_schema(name: &str) -> Command {
    let SchemaName { database, schema } = schema_name(name);
    Command::CreateSchema { database, name: Some(schema), if_not_exists: false, owner: None }
}

pub fn create_table(name: &str) -> Command {
    Command::CreateTable {
        name: object_name(name),
        table: table(),
        foreign_keys: Vec::new(),
        identities: Vec::new(),
        if_not_exists: false,
    }
}

pub fn drop_table(name: &str) -> Command {
    Command::DropTables { names: vec![object_name(name)], if_exists: false, behavior: DropBehavior::Default }
}

pub fn table_owner(name: &str, owner: &str) -> Command {
    Command::AlterOwner { object: OwnedName::Table(object_name(name)), if_exists: false, owner: role(owner) }
}

pub fn table() -> Table {
    let column = |name: &str, column_type| Column {
        name: Name::from(name),
        column_type,
        nullable: false,
        default: None,
        hidden: false,
        comment: None,
        computed: None,
        identity: None,
    };
    Table {
        columns: vec![column("k", ColumnType::Int8), column("v", ColumnType::Text { chars_max: Some(9) })],
        primary_key: vec![0],
        unique: Vec::new(),
        checks: Vec::new(),
        key_name: Name::from("t_pkey"),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
    }
}

pub const NO_OPTIONS: RoleOptions = RoleOptions::EMPTY;

pub fn patterns(text: &str) -> Vec<TablePattern> {
    text.split(' ').map(|name| TablePattern::Table(object_name(name))).collect()
}
