//! Statements to what they mean, and garbage to an error.

use grantd_catalog::command::{
    DropBehavior, ObjectName, OwnedName, RoleSpec, SchemaName, TablePattern, Targets,
};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::role::RoleOption;
use proptest::prelude::*;

use super::role::WrittenOption;
use super::session::SetStatement;
use super::*;

mod backup;
mod restore;
mod schedule;
mod external;
mod feed;
mod forms;
mod tables;

fn role(name: &str) -> RoleSpec {
    RoleSpec::Name(RoleName::normalize(name))
}

fn object(parts: &[&str]) -> ObjectName {
    ObjectName { parts: parts.iter().map(|part| Name::normalize(part)).collect() }
}

fn command(text: &str) -> Command {
    match parse(text) {
        Ok(Statement::Command(command, _)) => command,
        other => panic!("{text}: {other:?}"),
    }
}

fn refused(text: &str) -> (String, String) {
    match parse(text) {
        Err(error) => (error.body.code.as_str().to_owned(), error.body.message),
        Ok(statement) => panic!("{text}: {statement:?}"),
    }
}

#[test]
fn grants_of_privileges() {
    let schema = |database: Option<&str>, schema: &str| SchemaName {
        database: database.map(Name::normalize),
        schema: Name::normalize(schema),
    };
    let targets = [
        ("t", Targets::Tables(vec![TablePattern::Table(object(&["t"]))])),
        (
            "TABLE \"T\", d.s.t",
            Targets::Tables(vec![
                TablePattern::Table(object(&["T"])),
                TablePattern::Table(object(&["d", "s", "t"])),
            ]),
        ),
        (
            "*, s.*, d.s.*",
            Targets::Tables(vec![
                TablePattern::All(vec![]),
                TablePattern::All(vec![Name::normalize("s")]),
                TablePattern::All(vec![Name::normalize("d"), Name::normalize("s")]),
            ]),
        ),
        ("type", Targets::Tables(vec![TablePattern::Table(object(&["type"]))])),
        ("DATABASE d, e", Targets::Databases(vec![Name::normalize("d"), Name::normalize("e")])),
        ("SCHEMA s, d.s", Targets::Schemas(vec![schema(None, "s"), schema(Some("d"), "s")])),
        ("ALL TABLES IN SCHEMA s", Targets::AllTablesInSchemas(vec![schema(None, "s")])),
    ];
    for (text, on) in targets {
        let expected = Command::Grant {
            privileges: vec![Privilege::Select, Privilege::Create],
            on: on.clone(),
            to: vec![role("amy"), RoleSpec::CurrentUser],
            grant_option: true,
        };
        assert_eq!(
            command(&format!("GRANT SELECT, create ON {text} TO AMY, CURRENT_USER WITH GRANT OPTION")),
            expected
        );
        let expected = Command::Revoke {
            privileges: vec![Privilege::All],
            on,
            from: vec![role("public")],
            grant_option_only: true,
        };
        assert_eq!(
            command(&format!("revoke grant option for all privileges on {text} from public;")),
            expected
        );
    }
}

#[test]
fn grants_of_roles_and_of_the_system() {
    let expected = Command::GrantRoles {
        roles: vec![RoleName::normalize("crew"), RoleName::normalize("system")],
        members: vec![role("amy"), RoleSpec::SessionUser],
        admin_option: true,
    };
    assert_eq!(command("GRANT crew, system TO amy, SESSION_USER WITH ADMIN OPTION"), expected);
    let expected = Command::RevokeRoles {
        roles: vec![RoleName::normalize("system")],
        members: vec![role("amy")],
        admin_option_only: true,
    };
    assert_eq!(command("REVOKE ADMIN OPTION FOR system FROM amy"), expected);
    let expected = Command::Grant {
        privileges: vec![Privilege::ViewActivity],
        on: Targets::System,
        to: vec![role("amy")],
        grant_option: false,
    };
    assert_eq!(command("GRANT SYSTEM VIEWACTIVITY TO amy"), expected);
}

#[test]
fn roles_with_options() {
    let Ok(Statement::Role(RoleStatement::Create { name, is_role, options, .. })) =
        parse("CREATE USER IF NOT EXISTS \"Amy\" WITH ENCRYPTED PASSWORD 'it''s' NOLOGIN NOCREATEDB")
    else {
        panic!("not a role");
    };
    assert_eq!((name, is_role), (role("amy"), false));
    let [WrittenOption::Password(Some(password)), rest @ ..] = options.as_slice() else {
        panic!("{options:?}")
    };
    assert_eq!(password.expose(), "it's");
    assert_eq!(
        rest,
        [WrittenOption::Flag(RoleOption::NoLogin, true), WrittenOption::Flag(RoleOption::CreateDb, false),]
    );
    assert!(!format!("{options:?}").contains("it's"));
    assert!(!format!("{:?}", parse("CREATE USER a PASSWORD 'x' 'sesame'")).contains("sesame"));
    assert_eq!(refused("CREATE USER a WITH").0, "42601");
    assert_eq!(refused("ALTER USER a").0, "42601");
    assert_eq!(refused("CREATE USER with PASSWORD 'x'").0, "42601");
}

#[test]
fn databases_schemas_and_owners() {
    let expected = Command::DropSchemas {
        names: vec![SchemaName { database: None, schema: Name::normalize("s") }],
        if_exists: true,
        behavior: DropBehavior::Cascade,
    };
    assert_eq!(command("DROP SCHEMA IF EXISTS S CASCADE"), expected);
    let expected =
        Command::CreateSchema { database: None, name: None, if_not_exists: false, owner: Some(role("amy")) };
    assert_eq!(command("CREATE SCHEMA AUTHORIZATION amy"), expected);
    let expected = Command::AlterOwner {
        object: OwnedName::Table(object(&["s", "t"])),
        if_exists: false,
        owner: RoleSpec::CurrentUser,
    };
    assert_eq!(command("ALTER TABLE s.t OWNER TO CURRENT_USER"), expected);
    let expected =
        Command::CreateDatabase { name: Name::normalize("d"), if_not_exists: false, owner: Some(role("o")) };
    assert_eq!(command("CREATE DATABASE d WITH OWNER = o"), expected);
    assert_eq!(refused("CREATE DATABASE d TEMPLATE x").0, "0A000");
}

#[test]
fn settings() {
    let set = |text: &str| match parse(text) {
        Ok(Statement::Set(set)) => set,
        other => panic!("{text}: {other:?}"),
    };
    let variable = |name: &str, values: &[&str]| SetStatement::Variable {
        name: name.to_owned(),
        values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
    };
    assert_eq!(set("SET search_path TO a, \"B\", 'c'"), variable("search_path", &["a", "B", "c"]));
    assert_eq!(set("SET SESSION grantd.read = linearizable"), variable("grantd.read", &["linearizable"]));
    assert_eq!(set("SET TIME ZONE 'UTC'"), variable("timezone", &["UTC"]));
    assert_eq!(set("SET extra_float_digits = -1"), variable("extra_float_digits", &["-1"]));
    assert_eq!(set("USE shop"), variable("database", &["shop"]));
    assert_eq!(set("SET ROLE 'Amy'"), SetStatement::Role(Some(RoleName::normalize("amy"))));
    assert_eq!(set("SET ROLE = none"), SetStatement::Role(None));
    assert_eq!(set("RESET ROLE"), SetStatement::Role(None));
    assert_eq!(set("SET SESSION AUTHORIZATION DEFAULT"), SetStatement::Role(None));
}

#[test]
fn an_error_says_where() {
    let error = parse("SELECT 1 +\n  )").unwrap_err();
    assert_eq!(error.position, Some(14));
    let error = parse("SELECT 1 +").unwrap_err();
    assert_eq!(error.position, Some(11));
    let error = parse("GRANT SELECT ON t FOR amy").unwrap_err();
    assert_eq!((error.body.code.as_str(), error.position), ("42601", Some(19)));
    let error = parse("SELECT 'open").unwrap_err();
    assert_eq!((error.body.code.as_str(), error.position), ("42601", Some(8)));
}

#[test]
fn a_text_is_split_at_its_semicolons_only() {
    let texts =
        |text: &str| -> Vec<String> { parse_all(text).unwrap().into_iter().map(|(text, _)| text).collect() };
    assert_eq!(texts(" SELECT ';' ; /* ; */ SELECT 2 -- ;\n;;"), ["SELECT ';'", "SELECT 2"]);
    assert_eq!(texts("SELECT 'ü'; SELECT \"ü;\" FROM t"), ["SELECT 'ü'", "SELECT \"ü;\" FROM t"]);
    assert!(texts(" -- nothing").is_empty());
    assert!(parse_all("SELECT 1; SELEC 2").is_err());
}

#[test]
fn every_bound_is_a_refusal() {
    let deep = format!("SELECT {}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert_eq!(refused(&deep).0, "54000");
    let long = format!("SELECT 1{}", " + 1".repeat(100_000));
    assert_eq!(refused(&long).0, "54000");
    let prefixes = format!("SELECT {} 1", "NOT ".repeat(1_500));
    // The parser's own limit may read as a syntax error: it had other ideas to try first.
    assert!(["42601", "54000"].contains(&refused(&prefixes).0.as_str()));
    let big = format!("SELECT '{}'", "x".repeat(STATEMENT_BYTES_MAX));
    assert_eq!(refused(&big).0, "54000");
    let roles: Vec<_> = (0..=1_000).map(|n| format!("r{n}")).collect();
    assert_eq!(refused(&format!("DROP ROLE {}", roles.join(", "))).0, "54000");
    assert_eq!(refused(&";SELECT 1".repeat(1_001)).0, "54000");
    assert_eq!(refused("SELECT '\0'").0, "22021");
    // What is just inside is read.
    assert!(parse(&format!("SELECT 1{}", " + 1".repeat(900))).is_ok());
    assert!(parse(&format!("INSERT INTO t VALUES (1){}", ", (1)".repeat(5_000))).is_ok());
}

fn word() -> impl Strategy<Value = String> {
    let words = [
        "GRANT", "REVOKE", "SELECT", "ALL", "ON", "TO", "FROM", "TABLE", "SYSTEM", "WITH", "OPTION", "ADMIN",
        "FOR", "CREATE", "ALTER", "DROP", "USER", "ROLE", "IF", "EXISTS", "NOT", "PASSWORD", "'x'", "a",
        "\"B\"", ".", ",", "*", "(", ")", ";", "SET", "SHOW", "RESET", "DATABASE", "SCHEMA", "OWNER",
        "INSERT", "INTO", "VALUES", "UPDATE", "DELETE", "WHERE", "=", "1", "$1", "UNION", "::", "INT",
        "CASE", "WHEN", "JOIN", "E'\\", "--", "/*",
    ];
    prop_oneof![
        8 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

const BEGINNINGS: &[&str] = &[
    "GRANT",
    "REVOKE",
    "CREATE ROLE",
    "ALTER ROLE a",
    "ALTER ROLE ALL IN DATABASE d SET",
    "DROP OWNED BY",
    "ALTER DEFAULT PRIVILEGES",
    "SHOW GRANTS",
    "SHOW DEFAULT PRIVILEGES FOR",
    "EXPLAIN PRIVILEGE",
    "COMMENT ON",
    "CREATE SEQUENCE s",
    "ALTER TYPE t",
    "CREATE TYPE t AS ENUM (",
    "DROP FUNCTION f(",
    "CREATE EXTERNAL CONNECTION c AS",
    "SET CLUSTER SETTING",
    "SET ROLE",
    "CANCEL QUERY",
    "SELECT",
    "",
    "ALTER FUNCTION f(",
    "CREATE FUNCTION f(",
    "CREATE VIEW v AS",
    "SHOW CREATE",
    "REASSIGN OWNED BY",
];

const PIECES: &[&str] = &[
    "IN",
    "SCHEMA",
    "DATABASE",
    "SEQUENCES",
    "FUNCTIONS",
    "TABLES",
    "TYPES",
    "SCHEMAS",
    "FOR",
    "GRANTEE",
    "ROLES",
    "VALID",
    "UNTIL",
    "RENAME",
    "VALUE",
    "OWNED BY",
    "NONE",
    "MINVALUE",
    "-9223372036854775808",
    "9223372036854775808",
    "1e999",
    "INT8",
    "STRING(",
    "varchar(99999999999)",
    "timestamp with time zone",
    "db.s.*",
    "*",
    "...",
    "a.b.c.d.e",
    "CURRENT_USER",
    "SESSION_USER",
    "\"",
    "'",
    "$$",
    "$x$ y",
    "E'\\'",
    "\u{ff33}ELECT",
    "\u{0455}elect",
    "\u{202e}",
    "\u{feff}",
    "\u{0}",
    "\u{1f4a9}",
    "a\u{0301}",
    "\u{130}",
    "--",
    "/*",
    "*/",
    "((((((((",
    "))))))))",
    "[",
    "]",
    "{",
    "}",
    "::",
    ":=",
    "U&'\\00e9'",
    "x'0g'",
    "b'2'",
    "@",
    "~",
    "`",
    "\\",
    "1.2.3",
    ".5.",
    "0x",
    "$1",
    "$99999999999999999999",
    "SYSTEM",
    "ALL PRIVILEGES",
    "foo",
];

/// Broken and hostile: every form's words in any order, what looks like a letter and is none, halves of quotes.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => proptest::sample::select(PIECES).prop_map(str::to_owned),
        4 => word(),
        1 => any::<String>(),
        1 => (proptest::sample::select(vec!["(", "NOT ", "a.", "-", "\"", "'", "x", "[", "a,", "CASE ", "\u{e9}"]),
              1_usize..3_000).prop_map(|(piece, count)| piece.repeat(count)),
    ];
    let rest = proptest::collection::vec(piece, 0..12);
    (proptest::sample::select(BEGINNINGS), rest)
        .prop_map(|(beginning, rest)| format!("{beginning} {}", rest.join(" ")))
}

fn is_sqlstate(code: &str) -> bool {
    code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

proptest! {
    #[test]
    fn garbage_never_panics(words in proptest::collection::vec(word(), 0..40)) {
        let text = words.join(" ");
        if let Err(error) = parse_all(&text) {
            prop_assert!(error.position.is_none_or(|at| at as usize <= text.chars().count() + 1));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]
    #[test]
    fn ten_thousand_hostile_statements_are_read_or_refused_with_a_code(text in hostile()) {
        if let Err(error) = parse_all(&text) {
            let code = error.body.code.as_str();
            // 22021: a NUL; 22007 and 22008: a time; 42602: a name that none can have; 42704: a cluster setting.
            let known = ["0A000", "22007", "22008", "22021", "22P02", "42601", "42602", "42704", "54000"];
            prop_assert!(is_sqlstate(code) && known.contains(&code), "{code}");
            prop_assert!(error.position.is_none_or(|at| at as usize <= text.chars().count() + 1));
            // Nothing long or secret of the text comes back.
            prop_assert!(error.body.message.chars().count() <= 400, "{}", error.body.message);
        }
    }
}

#[test]
fn hostile_statements_are_refused_quickly() {
    let megabyte = "x".repeat(STATEMENT_BYTES_MAX - 100);
    let deep = "(".repeat(10_000);
    let rows = [
        (format!("GRANT SELECT ON {megabyte} TO amy"), "54000"),
        (format!("CREATE USER \"{megabyte}\""), "54000"),
        (format!("CREATE USER amy PASSWORD '{megabyte}"), "42601"),
        (format!("SELECT {deep}1{}", ")".repeat(10_000)), "54000"),
        (format!("CREATE VIEW v AS SELECT {deep}"), "54000"),
        (format!("DROP FUNCTION f{deep}"), "54000"),
        (format!("SELECT {}", "[".repeat(10_000)), "54000"),
        ("GRANT SELECT\0 ON t TO amy".to_owned(), "22021"),
        ("CREATE USER \"a".to_owned(), "42601"),
        ("COMMENT ON TABLE t IS 'a".to_owned(), "42601"),
        ("SELECT $$a".to_owned(), "42601"),
        ("SELECT /* a".to_owned(), "42601"),
        // A full-width letter is not S, a Cyrillic one is not s.
        ("\u{ff33}ELECT 1".to_owned(), "42601"),
        ("\u{0455}elect 1".to_owned(), "42601"),
        ("GRANT S\u{0415}LECT ON t TO amy".to_owned(), "42601"),
    ];
    let begun = std::time::Instant::now();
    for (text, code) in rows {
        let head: String = text.chars().take(40).collect();
        assert_eq!(refused(&text).0, code, "{head}");
    }
    // Minutes would be a blow-up; the bound is for slow machines.
    assert!(begun.elapsed().as_secs() < 60);
}
