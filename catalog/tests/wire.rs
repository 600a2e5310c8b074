//! What is written stays readable: golden bytes of every kind of value, and nothing that bytes can say makes a decoder
//! panic or believe what was not written.
//!
//! If a golden line changes, the format changed: append to the enum instead, or take a new format number.

mod common;

use std::fmt::Write as _;

use bincode::{Decode, Encode};
use common::*;
use grantd_catalog::command::{
    Actor, Command, Done, DropBehavior, NameContext, Outcome, OwnedName, RoleOptionClause, RoleSpec,
    StorageChange, TablePattern, Targets,
};
use grantd_catalog::grant::AclEntry;
use grantd_catalog::id::{ObjectId, PrincipalId, Timestamp, Version};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::{Body, Check, Column, ColumnType, Expression, Object, Table, Unique};
use grantd_catalog::privilege::{Privilege, PrivilegeSet};
use grantd_catalog::record::{Counters, Record, RecordKey};
use grantd_catalog::refusal;
use grantd_catalog::require::{Need, Requirement};
use grantd_catalog::role::{PasswordVerifier, Principal, RoleOption, RoleOptions};
use grantd_catalog::wire::{self, WireError};

/// Every kind of value with its bytes, one a line. Set `UPDATE_GOLDEN` to write it anew.
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire.golden");

fn commands() -> Vec<(&'static str, Command)> {
    let verifier = PasswordVerifier::new("SCRAM-SHA-256$4096:c2FsdA==$a:b".to_owned());
    let schema = || vec![schema_name("d.s"), schema_name("s")];
    vec![
        (
            "CreateRole",
            Command::CreateRole {
                name: RoleSpec::CurrentUser,
                is_role: true,
                if_not_exists: false,
                options: vec![
                    RoleOptionClause::Flag(RoleOption::NoLogin, true),
                    RoleOptionClause::Password(Some(verifier)),
                    RoleOptionClause::Password(None),
                ],
            },
        ),
        ("AlterRole", alter_role("amy", "CREATEDB NOCREATEROLE")),
        ("DropRoles", drop_role("amy ben")),
        ("GrantRoles", grant_role_with_admin("crew", "amy")),
        ("RevokeRoles", revoke_role("crew", "amy")),
        ("Grant tables", grant_with_option("SELECT INSERT", tables("t s.t d.s.t"), "amy public")),
        ("Grant star", grant("ALL", Targets::Tables(vec![TablePattern::All(vec![Name::from("s")])]), "amy")),
        ("Grant databases", grant("CONNECT", Targets::Databases(vec![Name::from("d")]), "amy")),
        ("Grant all tables", grant("DROP", Targets::AllTablesInSchemas(schema()), "amy")),
        ("Revoke schemas", revoke("USAGE", Targets::Schemas(schema()), "amy")),
        ("Revoke option", revoke_option("NOSQLLOGIN", Targets::System, "amy")),
        ("CreateDatabase", create_database("d")),
        (
            "DropDatabase",
            Command::DropDatabase { name: Name::from("d"), if_exists: true, behavior: DropBehavior::Cascade },
        ),
        (
            "CreateSchema",
            Command::CreateSchema {
                database: None,
                name: None,
                if_not_exists: true,
                owner: Some(RoleSpec::SessionUser),
            },
        ),
        (
            "DropSchemas",
            Command::DropSchemas { names: schema(), if_exists: false, behavior: DropBehavior::Restrict },
        ),
        (
            "CreateTable",
            Command::CreateTable { name: object_name("t"), table: wide_table(), if_not_exists: false },
        ),
        ("DropTables", drop_table("s.t")),
        ("AlterOwner", table_owner("t", "amy")),
        (
            "AlterOwner database",
            Command::AlterOwner {
                object: OwnedName::Database(Name::from("d")),
                if_exists: true,
                owner: role("amy"),
            },
        ),
        ("ReassignOwned", Command::ReassignOwned { from: role_list("amy ben"), to: role("crew") }),
    ]
}

/// A column of each type, and each kind of constraint.
fn wide_table() -> Table {
    let types = [
        ColumnType::Bool,
        ColumnType::Int2,
        ColumnType::Int4,
        ColumnType::Int8,
        ColumnType::Float8,
        ColumnType::Text { chars_max: None },
        ColumnType::Text { chars_max: Some(300) },
        ColumnType::Bytes,
        ColumnType::Uuid,
        ColumnType::TimestampTz,
    ];
    let expression = || Expression { sql: "1".to_owned(), stored: "(1)".to_owned() };
    let columns = types.into_iter().zip('a'..).map(|(column_type, letter)| Column {
        name: Name::from(letter.to_string().as_str()),
        column_type,
        nullable: letter != 'a',
        default: (letter == 'b').then(expression),
        hidden: letter == 'j',
    });
    Table {
        columns: columns.collect(),
        primary_key: vec![0, 3],
        unique: vec![Unique { name: Name::from("u"), columns: vec![1] }],
        checks: vec![Check { name: Name::from("c"), expression: expression() }],
    }
}

fn records() -> Vec<(RecordKey, Record)> {
    let entry = AclEntry {
        grantee: PrincipalId(100),
        privileges: PrivilegeSet::of(Privilege::Changefeed).with(Privilege::All),
        grant_options: PrivilegeSet::of(Privilege::Select),
    };
    let object = |body| Object {
        name: Name::from("o"),
        parent: ObjectId(100),
        owner: PrincipalId(1),
        acl: [AclEntry::superuser(PrincipalId::ADMIN), entry].into_iter().collect(),
        body,
    };
    let principal = Principal {
        name: RoleName::from("amy"),
        is_role: false,
        options: RoleOptions::EMPTY.with(RoleOption::CreateDb).with(RoleOption::ViewClusterSetting),
        password: Some(PasswordVerifier::new("v".to_owned())),
    };
    let counters = Counters { next_principal: PrincipalId(300), next_object: ObjectId(70_000) };
    vec![
        (RecordKey::Counters, Record::Counters(counters)),
        (RecordKey::Principal(PrincipalId(300)), Record::Principal(principal)),
        (
            RecordKey::Membership { role: PrincipalId(2), member: PrincipalId(1) },
            Record::Membership { admin_option: true },
        ),
        (RecordKey::SystemPrivileges, Record::SystemPrivileges([entry].into_iter().collect())),
        (RecordKey::Object(ObjectId(100)), Record::Object(object(Body::Database))),
        (RecordKey::Object(ObjectId(101)), Record::Object(object(Body::Schema))),
        (RecordKey::Object(ObjectId(70_000)), Record::Object(object(Body::Table(wide_table())))),
    ]
}

fn outcomes() -> Vec<(&'static str, Outcome)> {
    let done = Done {
        changed: true,
        notices: vec![refusal::skipped(&refusal::relation_exists("t"))],
        storage: vec![StorageChange::Create(ObjectId(104)), StorageChange::Drop(ObjectId(105))],
    };
    vec![
        ("Done", Outcome::Done(done)),
        ("Refused", Outcome::Refused(refusal::may_not_reassign_to().with_detail("d"))),
    ]
}

fn requirement() -> Requirement {
    Requirement {
        needs: vec![
            Need::Privilege { object: ObjectId(104), privilege: Privilege::Select },
            Need::AnyPrivilege { object: ObjectId(104) },
            Need::Ownership { object: ObjectId(104) },
            Need::Admin { action: "do it".to_owned() },
            Need::Option(RoleOption::CreateRole),
            Need::SystemOrOption(Privilege::ViewActivity),
        ],
    }
}

fn others() -> (Actor, NameContext, Version, Timestamp) {
    let actor = Actor { session: PrincipalId(1), current: PrincipalId(300) };
    (actor, context("defaultdb"), Version(300), Timestamp { nanos: 1 << 60, logical: 7 })
}

/// Each value by its name, encoded.
fn encoded() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut value = |name: String, bytes: Result<Vec<u8>, WireError>| all.push((name, bytes.expect("small")));
    for (name, command) in commands() {
        value(format!("command {name}"), wire::encode("command", &command));
    }
    for (name, outcome) in outcomes() {
        value(format!("outcome {name}"), wire::encode("outcome", &outcome));
    }
    value("requirement".to_owned(), wire::encode("requirement", &requirement()));
    value("actor, context, version, time".to_owned(), wire::encode("others", &others()));
    for (key, record) in records() {
        value(format!("key {key:?}"), Ok(wire::encode_key(key)));
        value(format!("record {key:?}"), wire::encode_record(&record));
    }
    all
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test reads and writes its golden file; the library has no files"
)]
fn the_bytes_are_those_of_the_first_release() {
    let mut text = String::new();
    for (name, bytes) in encoded() {
        let hex: String = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("a string takes all");
            hex
        });
        writeln!(text, "{name}: {hex}").expect("a string takes all");
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(GOLDEN, &text).expect("the golden file can be written");
    }
    let golden = std::fs::read_to_string(GOLDEN).expect("the golden file can be read");
    for (line, expected) in text.lines().zip(golden.lines()) {
        assert_eq!(line, expected);
    }
    assert_eq!(text.lines().count(), golden.lines().count());
}

/// Decodes `bytes` cut at every place and with every byte changed in several ways.
fn spoil<T: PartialEq>(bytes: &[u8], decode: impl Fn(&[u8]) -> Result<T, WireError>) {
    for end in 0..bytes.len() {
        assert!(decode(&bytes[..end]).is_err(), "cut at {end} of {}", bytes.len());
    }
    let longer: Vec<_> = bytes.iter().copied().chain([0]).collect();
    assert!(decode(&longer).is_err(), "one byte more");
    let original = decode(bytes).ok();
    assert!(original.is_some());
    for at in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff, bytes[at] ^ 0xfb, bytes[at] ^ 0xfd] {
            let mut spoilt = bytes.to_vec();
            spoilt[at] ^= flip;
            // Most say something else, some nothing; none may panic or allocate what it claims.
            drop(decode(&spoilt));
        }
    }
}

fn spoil_value<T: Encode + Decode<()> + PartialEq>(value: &T) {
    let bytes = wire::encode("value", value).expect("it is small");
    spoil(&bytes, |bytes| wire::decode::<T>("value", bytes));
}

#[test]
fn spoilt_bytes_are_refused_or_say_something_else_and_never_panic() {
    for (_, command) in commands() {
        spoil_value(&command);
    }
    for (_, outcome) in outcomes() {
        spoil_value(&outcome);
    }
    spoil_value(&requirement());
    spoil_value(&others());
    for (key, record) in records() {
        spoil(&wire::encode_key(key), wire::decode_key);
        spoil(&wire::encode_record(&record).expect("it is small"), wire::decode_record);
    }
}

#[test]
fn a_length_that_lies_costs_no_memory() {
    // A name of 2^60 bytes in a command that lists names.
    let lie = [2, 1, 0, 253, 0, 0, 0, 0, 0, 0, 0, 16];
    assert!(matches!(wire::decode::<Command>("command", &lie), Err(WireError::Malformed { .. })));
    // 2^60 entries of an access list.
    let lie = [0, 1, 3, 253, 0, 0, 0, 0, 0, 0, 0, 16];
    assert!(matches!(wire::decode_record(&lie), Err(WireError::Malformed { .. })));
}

#[test]
fn a_record_of_a_newer_release_is_refused_as_such() {
    let (_, record) = records().swap_remove(0);
    let mut bytes = wire::encode_record(&record).expect("it is small");
    bytes[1] = 2;
    let refused = WireError::NewerFormat { what: "record", found: 2, known: wire::RECORD_FORMAT };
    assert_eq!(wire::decode_record(&bytes), Err(refused));
}

#[test]
fn the_bytes_of_keys_sort_as_keys() {
    let mut keys: Vec<_> = records().into_iter().map(|(key, _)| key).collect();
    keys.extend([1, 255, 256, 65_536, u32::MAX].map(|id| RecordKey::Object(ObjectId(id))));
    keys.extend(
        [1, 255, 256, u32::MAX]
            .map(|id| RecordKey::Membership { role: PrincipalId(id), member: PrincipalId(7) }),
    );
    keys.sort_unstable();
    let bytes: Vec<_> = keys.iter().map(|key| wire::encode_key(*key)).collect();
    assert!(bytes.is_sorted());
}
