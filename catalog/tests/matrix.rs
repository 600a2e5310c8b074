//! Who may what, as one grid that a person can read in a diff: `matrix.out`.
//!
//! Each cell is the answer to one question in a small world made for its row. `GRANTD_UPDATE=1` writes the file anew.
#![allow(clippy::disallowed_methods, reason = "the catalog does no I/O; its tests read their files")]

mod twins;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use grantd_catalog::command::{Actor, Command, NameContext, Outcome};
use grantd_catalog::decide;
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::privilege::{ObjectKind, Privilege};

use twins::World;
use twins::script::{self, Told};
use twins::sql::{Statement, parse};

/// The kinds of object that exist so far.
const KINDS: [ObjectKind; 4] =
    [ObjectKind::Cluster, ObjectKind::Database, ObjectKind::Schema, ObjectKind::Table];

/// Those that a kind of object may not need a row for: none exists yet.
const NO_SUCH_OBJECTS_YET: [ObjectKind; 5] = [
    ObjectKind::Sequence,
    ObjectKind::Type,
    ObjectKind::Function,
    ObjectKind::ExternalConnection,
    ObjectKind::VirtualTable,
];

/// The columns, and how each comes to be what it is called.
const PEOPLE: [(&str, &str); 10] = [
    ("root", ""),
    ("adm", "GRANT admin TO adm"),
    ("owner", ""),
    ("inowner", "GRANT owner TO inowner"),
    ("holder", ""),
    ("inholder", "GRANT holder TO inholder"),
    ("granter", ""),
    ("ingranter", "GRANT granter TO ingranter"),
    ("public", ""),
    ("nobody", ""),
];

/// What was granted in the worlds of one table of the file.
#[derive(Clone, Copy)]
enum Granted {
    Nothing,
    Itself,
    All,
    ItselfToPublic,
}

#[test]
fn every_cell_of_the_matrix_is_as_written() {
    let mut out = String::from(
        "# y: holds it. g: holds it and may grant it. o: may grant it and does not hold it. A dot: neither.\n\
         # adm is a member of admin; inX is a member of X. holder got it without grant option, granter with.\n",
    );
    for kind in KINDS {
        for granted in [Granted::Nothing, Granted::Itself, Granted::All, Granted::ItselfToPublic] {
            let _ = writeln!(out, "\n{} — granted: {}", label(kind), heading(granted));
            let names: Vec<_> = PEOPLE.iter().map(|(name, _)| format!("{name:>9}")).collect();
            let _ = writeln!(out, "{:<24} {}", "", names.join(" "));
            for privilege in kind.legal().iter() {
                let cells = row(kind, granted, privilege);
                let _ = writeln!(out, "{:<24} {}", privilege.word(), cells.join(" "));
            }
        }
    }
    out.push_str("\nobjects as they come to be, nothing granted\n");
    let names: Vec<_> = PEOPLE.iter().map(|(name, _)| format!("{name:>9}")).collect();
    let _ = writeln!(out, "{:<24} {}", "", names.join(" "));
    let world = world(ObjectKind::Cluster, Granted::Nothing, Privilege::All);
    for (name, kind) in [
        ("system", ObjectKind::Database),
        ("system.public", ObjectKind::Schema),
        ("defaultdb", ObjectKind::Database),
        ("defaultdb.public", ObjectKind::Schema),
        ("d.public", ObjectKind::Schema),
    ] {
        let object = named(&world, name);
        for privilege in kind.legal().iter() {
            let _ = writeln!(
                out,
                "{:<24} {}",
                format!("{name} {privilege}"),
                cells(&world, object, privilege).join(" ")
            );
        }
    }
    script::expect_file(&matrix_file(), &out);
}

#[test]
fn every_privilege_that_is_legal_on_a_kind_of_object_has_its_rows() {
    let text = fs::read_to_string(matrix_file()).expect("matrix.out is there");
    for kind in ObjectKind::ALL {
        if NO_SUCH_OBJECTS_YET.contains(&kind) {
            assert!(
                !text.contains(&format!("\n{} — ", label(kind))),
                "{kind:?} has rows: take it off the list"
            );
            continue;
        }
        for privilege in kind.legal().iter() {
            let rows = text
                .split("\n\n")
                .filter(|table| table.starts_with(&format!("{} — ", label(kind))))
                .flat_map(str::lines)
                .filter(|line| line.split_whitespace().next() == Some(privilege.word()))
                .count();
            assert_eq!(rows, 4, "{privilege} on {kind:?}");
        }
    }
}

#[test]
fn every_command_succeeds_in_some_script_and_is_refused_in_some_script() {
    let mut told = Vec::new();
    for path in script::files() {
        script::run(&fs::read_to_string(path).expect("a script is text"), &mut told);
    }
    let mut seen: BTreeMap<&str, (bool, bool)> =
        COMMANDS.iter().map(|name| (*name, (false, false))).collect();
    for Told { command, applied } in &told {
        let (done, refused) = seen.get_mut(variant(command)).expect("COMMANDS has every name");
        *done |= *applied;
        *refused |= !applied;
    }
    let missing: Vec<_> = seen.iter().filter(|(_, seen)| **seen != (true, true)).collect();
    assert!(missing.is_empty(), "(applied, refused) in scripts: {missing:?}");
}

/// The name of every variant of `Command`; `variant` does not compile without a new one.
const COMMANDS: [&str; 15] = [
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
];

fn variant(command: &Command) -> &'static str {
    match command {
        Command::CreateRole { .. } => "CreateRole",
        Command::AlterRole { .. } => "AlterRole",
        Command::DropRoles { .. } => "DropRoles",
        Command::GrantRoles { .. } => "GrantRoles",
        Command::RevokeRoles { .. } => "RevokeRoles",
        Command::Grant { .. } => "Grant",
        Command::Revoke { .. } => "Revoke",
        Command::CreateDatabase { .. } => "CreateDatabase",
        Command::DropDatabase { .. } => "DropDatabase",
        Command::CreateSchema { .. } => "CreateSchema",
        Command::DropSchemas { .. } => "DropSchemas",
        Command::CreateTable { .. } => "CreateTable",
        Command::DropTables { .. } => "DropTables",
        Command::AlterOwner { .. } => "AlterOwner",
        Command::ReassignOwned { .. } => "ReassignOwned",
    }
}

fn row(kind: ObjectKind, granted: Granted, privilege: Privilege) -> Vec<String> {
    let world = world(kind, granted, privilege);
    let object = object(&world, kind);
    cells(&world, object, privilege)
}

fn cells(world: &World, object: ObjectId, privilege: Privilege) -> Vec<String> {
    PEOPLE
        .iter()
        .map(|(name, _)| {
            let principal = match *name {
                "public" => PrincipalId::PUBLIC,
                other => world.model.find_principal(&RoleName::normalize(other)).expect("made above"),
            };
            let holds = decide::holds(&world.view, principal, object, privilege);
            let grants = decide::holds_grant_option(&world.view, principal, object, privilege);
            assert_eq!(holds, world.model.holds(principal, object, privilege));
            assert_eq!(grants, world.model.holds_grant_option(principal, object, privilege));
            let cell = match (holds, grants) {
                (true, true) => "g",
                (true, false) => "y",
                (false, true) => "o",
                (false, false) => ".",
            };
            format!("{cell:>9}")
        })
        .collect()
}

/// `owner` made database d and owns schema d.s and table d.s.t.
fn world(kind: ObjectKind, granted: Granted, privilege: Privilege) -> World {
    let mut world = World::bootstrap();
    for (name, _) in &PEOPLE[1..] {
        if *name != "public" {
            tell(&mut world, &format!("CREATE ROLE {name}"));
        }
    }
    for (_, membership) in PEOPLE.iter().filter(|(_, membership)| !membership.is_empty()) {
        tell(&mut world, membership);
    }
    tell(&mut world, "CREATE DATABASE d WITH OWNER = owner");
    tell(&mut world, "CREATE SCHEMA d.s AUTHORIZATION owner");
    tell(&mut world, "CREATE TABLE d.s.t");
    tell(&mut world, "ALTER TABLE d.s.t OWNER TO owner");
    // The new database's own grant would hide what the row is about.
    tell(&mut world, "REVOKE CONNECT ON DATABASE d FROM public");
    let on = match kind {
        ObjectKind::Cluster => "",
        ObjectKind::Database => "ON DATABASE d",
        ObjectKind::Schema => "ON SCHEMA d.s",
        _ => "ON TABLE d.s.t",
    };
    let system = if kind == ObjectKind::Cluster { "SYSTEM " } else { "" };
    let mut grant =
        |what: Privilege, to: &str| tell(&mut world, &format!("GRANT {system}{what} {on} TO {to}"));
    match granted {
        Granted::Nothing => {}
        Granted::Itself => {
            grant(privilege, "holder");
            grant(privilege, "granter WITH GRANT OPTION");
        }
        Granted::All => {
            grant(Privilege::All, "holder");
            grant(Privilege::All, "granter WITH GRANT OPTION");
        }
        Granted::ItselfToPublic => grant(privilege, "public"),
    }
    world
}

fn tell(world: &mut World, text: &str) {
    let Statement::Command(command) = parse(text) else { panic!("{text} is no command") };
    let outcome = world.tell(Actor::of(PrincipalId::ROOT), &in_d(), &command).expect("engine and twin agree");
    assert!(matches!(outcome, Outcome::Done(_)), "{text}: {outcome:?}");
}

fn in_d() -> NameContext {
    NameContext { database: Some("d".into()), search_path: vec![Name::normalize("s")] }
}

fn object(world: &World, kind: ObjectKind) -> ObjectId {
    let known = world
        .model
        .objects
        .iter()
        .find(|known| known.kind == kind && ["d", "s", "t"].contains(&known.name.as_str()));
    known.map_or(ObjectId::CLUSTER, |known| known.id)
}

/// The database or schema of this full name.
fn named(world: &World, name: &str) -> ObjectId {
    let mut at = ObjectId::CLUSTER;
    for part in name.split('.') {
        let known = world
            .model
            .objects
            .iter()
            .find(|known| known.parent == at && known.name.as_str() == part)
            .expect("a name that was made");
        at = known.id;
    }
    at
}

fn label(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Cluster => "system",
        other => other.class_word(),
    }
}

fn heading(granted: Granted) -> &'static str {
    match granted {
        Granted::Nothing => "nothing",
        Granted::Itself => "the privilege itself, to holder and granter",
        Granted::All => "ALL, to holder and granter",
        Granted::ItselfToPublic => "the privilege itself, to public",
    }
}

fn matrix_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/matrix.out")
}
