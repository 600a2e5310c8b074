//! Who may what, as one grid that a person can read in a diff: `matrix.out`.
//!
//! Each cell is the answer to one question in a small world made for its row. `GRANTD_UPDATE=1` writes the file anew.
#![allow(clippy::disallowed_methods, reason = "the catalog does no I/O; its tests read their files")]

mod twins;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use grantd_catalog::command::{Actor, NameContext, Outcome};
use grantd_catalog::decide;
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::privilege::{ObjectKind, Privilege};
use grantd_catalog::system;

use twins::World;
use twins::script::{self, Told};
use twins::sql::{Statement, parse};

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

/// Objects to look at as they come to be.
const FRESH: [&str; 13] = [
    "system",
    "system.public",
    "system.public.users",
    "defaultdb",
    "defaultdb.public",
    "d.public",
    "d.s.v",
    "d.s.mood",
    "d.s.f",
    "pg_catalog",
    "pg_catalog.pg_class",
    "vault",
    ROLE,
];

/// A role of a cloud.
const ROLE: &str = "store@shop.iam.gserviceaccount.com";

#[test]
fn every_cell_of_the_matrix_is_as_written() {
    let mut out = String::from(
        "# y: holds it. g: holds it and may grant it. o: may grant it and does not hold it. A dot: neither.\n\
         # adm is a member of admin; inX is a member of X. holder got it without grant option, granter with.\n",
    );
    for kind in ObjectKind::ALL {
        for granted in [Granted::Nothing, Granted::Itself, Granted::All, Granted::ItselfToPublic] {
            let _ = writeln!(out, "\n{} — granted: {}", label(kind), heading(granted));
            let names: Vec<_> = PEOPLE.iter().map(|(name, _)| format!("{name:>9}")).collect();
            let _ = writeln!(out, "{:<28} {}", "", names.join(" "));
            for privilege in kind.legal().iter() {
                let cells = row(kind, granted, privilege);
                let _ = writeln!(out, "{:<28} {}", privilege.word(), cells.join(" "));
            }
        }
    }
    out.push_str("\nobjects as they come to be, nothing granted\n");
    let names: Vec<_> = PEOPLE.iter().map(|(name, _)| format!("{name:>9}")).collect();
    let _ = writeln!(out, "{:<28} {}", "", names.join(" "));
    let world = world(ObjectKind::Cluster, Granted::Nothing, Privilege::All);
    for name in FRESH {
        let object = named(&world, name);
        let kind = world.state.kind(object).expect("it is there");
        for privilege in kind.legal().iter() {
            let _ = writeln!(
                out,
                "{:<28} {}",
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
    let mut seen: BTreeMap<String, (bool, bool)> =
        twins::every_form().into_iter().map(|form| (form, (false, false))).collect();
    for Told { command, applied } in &told {
        for form in twins::forms(command) {
            let (done, refused) = seen.get_mut(&form).expect("every form is there");
            *done |= *applied;
            *refused |= !applied;
        }
    }
    // No statement of the scripts asks for them: jobs do, `catalog/tests/protections.rs`, `catalog/tests/jobs.rs`, `catalog/tests/shelf.rs` and `catalog/tests/schedules.rs`.
    let elsewhere = [
        "ProtectHistory",
        "ReleaseHistory",
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
    seen.retain(|form, seen| *seen != (true, true) && !elsewhere.contains(&form.as_str()));
    assert!(seen.is_empty(), "(applied, refused) in scripts: {seen:?}");
}

/// Privileges that gate no statement here, and why that is so. All others are asked for by a script.
const NOT_ASKED_FOR: [(Privilege, &str); 12] = [
    (Privilege::Rule, "it is legal nowhere; has_table_privilege alone knows the word"),
    (Privilege::Backup, "BACKUP is not there yet; the cells are in the matrix"),
    (Privilege::Restore, "RESTORE is not there yet; the cells are in the matrix"),
    (Privilege::Changefeed, "CREATE CHANGEFEED is not there yet; the cells are in the matrix"),
    (Privilege::ZoneConfig, "CONFIGURE ZONE is not there; the cells are in the matrix"),
    (Privilege::CancelQuery, "CANCEL is decided where sessions are: node's tests"),
    (Privilege::ViewActivity, "SHOW SESSIONS is decided where sessions are: node's tests"),
    (Privilege::ViewActivityRedacted, "SHOW SESSIONS is decided where sessions are: node's tests"),
    (Privilege::ViewClusterMetadata, "SHOW CLUSTER NODES is decided where it is asked: node's tests"),
    (Privilege::ViewClusterSetting, "SHOW CLUSTER SETTING is a listing: the tests of settings"),
    (Privilege::ViewDebug, "the debug endpoints are node's"),
    (Privilege::All, "it stands for the others"),
];

#[test]
fn every_privilege_is_asked_for_by_a_script_or_exempt_with_a_reason() {
    let all: String =
        script::files().iter().map(|path| fs::read_to_string(path).expect("a script is text")).collect();
    for privilege in Privilege::each() {
        let word = privilege.word();
        let refused = all.contains(&format!("does not have {word} privilege"))
            || all.contains(&format!("does not have {word} system privilege"))
            || all.contains(&format!("users with the {word} "))
            || all.contains(&format!("or the {word} system privilege are allowed"))
            || all.contains("does not have login privilege") && privilege == Privilege::NoSqlLogin
            || all.contains("SET CLUSTER SETTING sql.defaults")
                && privilege == Privilege::ModifySqlClusterSetting;
        let exempt = NOT_ASKED_FOR.iter().any(|(exempt, _)| *exempt == privilege);
        assert!(refused || exempt, "{word} is neither asked for by a script nor exempt");
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

/// `owner` owns database d, schema d.s, and in it a table, view, sequence, type and function, and a connection.
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
    for made in [
        "TABLE d.s.t",
        "VIEW d.s.v AS SELECT 1",
        "SEQUENCE d.s.q",
        "TYPE d.s.mood AS ENUM ('a')",
        "FUNCTION d.s.f() RETURNS INT LANGUAGE SQL AS 'SELECT 1'",
        "EXTERNAL CONNECTION vault AS 'nodelocal://1/x'",
        "IAM ROLE 'store@shop.iam.gserviceaccount.com'",
    ] {
        tell(&mut world, &format!("CREATE {made}"));
    }
    for owned in [
        "TABLE d.s.t",
        "VIEW d.s.v",
        "SEQUENCE d.s.q",
        "TYPE d.s.mood",
        "FUNCTION d.s.f",
        "EXTERNAL CONNECTION vault",
        "IAM ROLE 'store@shop.iam.gserviceaccount.com'",
    ] {
        tell(&mut world, &format!("ALTER {owned} OWNER TO owner"));
    }
    // What everybody holds on something new would hide what the row is about.
    tell(&mut world, "REVOKE CONNECT ON DATABASE d FROM public");
    if kind != ObjectKind::Cluster {
        tell(&mut world, "REVOKE USAGE ON TYPE d.s.mood FROM public");
        tell(&mut world, "REVOKE SELECT ON TABLE pg_catalog.pg_class FROM public");
    }
    let on = match kind {
        ObjectKind::Cluster => "",
        ObjectKind::Database => "ON DATABASE d",
        ObjectKind::Schema => "ON SCHEMA d.s",
        ObjectKind::Table => "ON TABLE d.s.t",
        ObjectKind::Sequence => "ON SEQUENCE d.s.q",
        ObjectKind::Type => "ON TYPE d.s.mood",
        ObjectKind::Function => "ON FUNCTION d.s.f",
        ObjectKind::ExternalConnection => "ON EXTERNAL CONNECTION vault",
        ObjectKind::IamRole => "ON IAM ROLE 'store@shop.iam.gserviceaccount.com'",
        ObjectKind::VirtualTable => "ON TABLE pg_catalog.pg_class",
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
    match kind {
        ObjectKind::Cluster => ObjectId::CLUSTER,
        ObjectKind::Database => named(world, "d"),
        ObjectKind::Schema => named(world, "d.s"),
        ObjectKind::Table => named(world, "d.s.t"),
        ObjectKind::Sequence => named(world, "d.s.q"),
        ObjectKind::Type => named(world, "d.s.mood"),
        ObjectKind::Function => named(world, "d.s.f"),
        ObjectKind::ExternalConnection => named(world, "vault"),
        ObjectKind::IamRole => named(world, ROLE),
        ObjectKind::VirtualTable => named(world, "pg_catalog.pg_class"),
    }
}

/// The object of this full name; a virtual schema is in the cluster.
fn named(world: &World, name: &str) -> ObjectId {
    let mut at = ObjectId::CLUSTER;
    // The name of a role of a cloud has dots of its own.
    let parts = if name == ROLE { vec![name] } else { name.split('.').collect() };
    for part in parts {
        let own = world.model.objects.iter().map(|known| (known.id, known.parent, &known.name));
        let computed = system::objects().iter().map(|(id, known)| (*id, known.parent, &known.name));
        let found = own.chain(computed).find(|(_, parent, name)| *parent == at && name.as_str() == part);
        at = found.unwrap_or_else(|| panic!("{name} was not made")).0;
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
