//! Each form of each statement, and what is wrong with it.

use grantd_catalog::command::{
    Creators, DefaultAct, FunctionName, LabelChange, SequenceOptions, TypeName, VariableChange,
};
use grantd_catalog::defaults::DefaultClass;
use grantd_catalog::list::DefaultsShown;
use grantd_catalog::object::{ColumnType, Sequence};
use grantd_catalog::role::ValidUntil;
use grantd_catalog::setting::Setting;

use super::super::activity::{ActivityStatement, CancelIds, Listed};
use super::super::named::{Direction, NamedStatement};
use super::*;
use crate::activity::Target;
use crate::activity::cluster::Scope;

const TEXT: TypeName = TypeName::Known(ColumnType::Text { chars_max: None });
const INT8: TypeName = TypeName::Known(ColumnType::Int8);

fn schema(parts: &[&str]) -> SchemaName {
    match parts {
        [database, schema] => {
            SchemaName { database: Some(Name::normalize(database)), schema: Name::normalize(schema) }
        }
        [schema] => SchemaName { database: None, schema: Name::normalize(schema) },
        _ => panic!("{parts:?}"),
    }
}

fn function(parts: &[&str], arguments: Option<&[TypeName]>) -> FunctionName {
    FunctionName { name: object(parts), arguments: arguments.map(<[_]>::to_vec) }
}

fn show(text: &str) -> ShowStatement {
    match parse(text) {
        Ok(Statement::Show(statement)) => statement,
        other => panic!("{text}: {other:?}"),
    }
}

fn tag(text: &str) -> &'static str {
    match parse(text) {
        Ok(Statement::Command(_, tag)) => tag,
        other => panic!("{text}: {other:?}"),
    }
}

fn all_are_syntax_errors(texts: &[&str]) {
    for text in texts {
        assert_eq!(refused(text).0, "42601", "{text}");
    }
}

#[test]
fn grants_on_every_kind_of_object() {
    let targets = [
        (
            "SEQUENCE q, s.*",
            Targets::Sequences(vec![
                TablePattern::Table(object(&["q"])),
                TablePattern::All(vec![Name::normalize("s")]),
            ]),
        ),
        (
            "ALL SEQUENCES IN SCHEMA s, d.s",
            Targets::AllSequencesInSchemas(vec![schema(&["s"]), schema(&["d", "s"])]),
        ),
        ("ALL FUNCTIONS IN SCHEMA s", Targets::AllFunctionsInSchemas(vec![schema(&["s"])])),
        ("TYPE e, s.e", Targets::Types(vec![object(&["e"]), object(&["s", "e"])])),
        (
            "FUNCTION f, d.s.g(), h(INT, name TEXT, VARCHAR(9), s.e)",
            Targets::Functions(vec![
                function(&["f"], None),
                function(&["d", "s", "g"], Some(&[])),
                function(&["h"], Some(&[INT8, TEXT, TEXT, TypeName::Named(object(&["s", "e"]))])),
            ]),
        ),
        (
            "EXTERNAL CONNECTION c, 'D'",
            Targets::ExternalConnections(vec![Name::normalize("c"), Name::normalize("D")]),
        ),
        ("IAM ROLE 'Arn:x', 'b'", Targets::IamRoles(vec![Name::normalize("Arn:x"), Name::normalize("b")])),
        // A table may be called so.
        ("iam", Targets::Tables(vec![TablePattern::Table(object(&["iam"]))])),
        // Tables with the names of kinds.
        ("sequence", Targets::Tables(vec![TablePattern::Table(object(&["sequence"]))])),
        (
            "function, schema",
            Targets::Tables(vec![
                TablePattern::Table(object(&["function"])),
                TablePattern::Table(object(&["schema"])),
            ]),
        ),
        ("type.t", Targets::Tables(vec![TablePattern::Table(object(&["type", "t"]))])),
    ];
    for (text, on) in targets {
        let grant = Command::Grant {
            privileges: vec![Privilege::Usage],
            on: on.clone(),
            to: vec![role("amy")],
            grant_option: false,
        };
        assert_eq!(command(&format!("GRANT USAGE ON {text} TO amy")), grant);
        let revoke = Command::Revoke {
            privileges: vec![Privilege::Usage],
            on: on.clone(),
            from: vec![RoleSpec::SessionUser],
            grant_option_only: true,
        };
        let written = format!("REVOKE GRANT OPTION FOR USAGE ON {text} FROM SESSION_USER");
        assert_eq!(command(&written), revoke);
        let shown = ShowStatement::Grants { on: Some(on), grantees: vec![role("amy")] };
        assert_eq!(show(&format!("SHOW GRANTS ON {text} FOR amy")), shown);
    }
}

#[test]
fn privileges_that_there_are_not() {
    for (text, name) in [
        ("GRANT foo ON t TO amy", "foo"),
        ("GRANT SELECT, Foo ON DATABASE d TO amy", "foo"),
        ("GRANT GRANT ON t TO amy", "grant"),
        ("REVOKE grant ON t FROM amy", "grant"),
        ("GRANT SYSTEM bar TO amy", "bar"),
        ("ALTER DEFAULT PRIVILEGES GRANT foo ON TABLES TO amy", "foo"),
        ("EXPLAIN PRIVILEGE foo ON t", "foo"),
    ] {
        let expected = ("42601".to_owned(), format!("not a valid privilege: \"{name}\""));
        assert_eq!(refused(text), expected, "{text}");
    }
    all_are_syntax_errors(&[
        "GRANT ALL, SELECT ON t TO amy",
        "GRANT SELECT, ALL ON t TO amy",
        "GRANT SYSTEM VIEWACTIVITY, ALL TO amy",
        "GRANT ON t TO amy",
        "GRANT SELECT ON t",
        "GRANT SELECT ON t TO",
        "GRANT SELECT ON t TO amy WITH",
        "GRANT SELECT ON t TO amy WITH ADMIN OPTION",
        "GRANT SELECT ON t FROM amy",
        "GRANT SELECT ON ALL TABLES IN s TO amy",
        "GRANT SELECT ON a.b.c.d TO amy",
        "GRANT SELECT ON t TO amy, TO ben",
        "GRANT crew TO amy WITH GRANT OPTION",
        "GRANT EXECUTE ON FUNCTION f(INT TO amy",
        "REVOKE SELECT ON t FROM amy CASCADE",
        "REVOKE ADMIN OPTION FOR SELECT ON t FROM amy",
        "REVOKE GRANT OPTION FOR crew FROM amy",
    ]);
    assert_eq!(refused("GRANT EXECUTE ON FUNCTION f(VARBIT) TO amy").0, "0A000");
}

#[test]
fn names_of_roles_are_bounded_where_they_are_made_only() {
    // 42602 is the catalog's to say.
    assert!(parse(&format!("CREATE USER {}", "a".repeat(64))).is_ok());
    assert!(parse(&format!("GRANT SELECT ON t TO \"{}\"", "a".repeat(IDENTIFIER_BYTES_MAX))).is_ok());
    let long = format!("GRANT SELECT ON t TO \"{}\"", "a".repeat(IDENTIFIER_BYTES_MAX + 1));
    assert_eq!(refused(&long).0, "54000");
}

#[test]
fn valid_until() {
    let options = |text: &str| match parse(text) {
        Ok(Statement::Role(RoleStatement::Alter { options, .. })) => options,
        other => panic!("{text}: {other:?}"),
    };
    let at = |micros| vec![WrittenOption::ValidUntil(ValidUntil::At(micros))];
    assert_eq!(options("ALTER ROLE a VALID UNTIL '1970-01-01 00:00:01+00:00'"), at(1_000_000));
    assert_eq!(options("ALTER USER a WITH VALID UNTIL '1970-01-02'"), at(86_400_000_000));
    assert_eq!(
        options("ALTER GROUP a VALID UNTIL NULL LOGIN"),
        [WrittenOption::ValidUntil(ValidUntil::Never), WrittenOption::Flag(RoleOption::NoLogin, false)]
    );
    assert_eq!(refused("ALTER ROLE a VALID UNTIL 'soon'").0, "22007");
    all_are_syntax_errors(&["ALTER ROLE a VALID UNTIL soon", "ALTER ROLE a VALID '2030-01-01'"]);
}

#[test]
fn passwords_are_string_literals() {
    let (code, message) = refused("CREATE USER a PASSWORD sesame");
    assert_eq!((code.as_str(), message.contains("sesame")), ("42601", false));
    all_are_syntax_errors(&[
        "CREATE USER a PASSWORD",
        "CREATE USER a ENCRYPTED 'x'",
        "ALTER USER a PASSWORD \"x\"",
    ]);
    assert!(parse("ALTER USER CURRENT_USER PASSWORD NULL").is_ok());
}

#[test]
fn variables_of_roles() {
    let settings = |role, if_exists, database: Option<&str>, change| Command::AlterRoleSettings {
        role,
        if_exists,
        database: database.map(Name::normalize),
        change,
    };
    let set = |name: &str, value: &str| VariableChange::Set(name.to_owned(), value.to_owned());
    let rows = [
        (
            "ALTER ROLE amy SET application_name = 'x'",
            settings(Some(role("amy")), false, None, set("application_name", "x")),
        ),
        (
            "ALTER USER IF EXISTS amy IN DATABASE d SET search_path TO a, \"B\"",
            settings(Some(role("amy")), true, Some("d"), set("search_path", "a, B")),
        ),
        ("ALTER ROLE ALL SET TIME ZONE 'UTC'", settings(None, false, None, set("timezone", "UTC"))),
        (
            "ALTER ROLE ALL IN DATABASE d RESET ALL",
            settings(None, false, Some("d"), VariableChange::ResetAll),
        ),
        (
            "ALTER ROLE CURRENT_USER SET statement_timeout TO DEFAULT",
            settings(
                Some(RoleSpec::CurrentUser),
                false,
                None,
                VariableChange::Reset("statement_timeout".to_owned()),
            ),
        ),
        (
            "ALTER DATABASE d RESET lock_timeout",
            settings(None, false, Some("d"), VariableChange::Reset("lock_timeout".to_owned())),
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(command(text), expected, "{text}");
    }
    all_are_syntax_errors(&[
        "ALTER ROLE amy SET",
        "ALTER ROLE amy SET x",
        "ALTER ROLE amy RESET",
        "ALTER ROLE ALL",
        "ALTER ROLE ALL NOLOGIN",
        "ALTER ROLE amy IN DATABASE d NOLOGIN",
        "ALTER ROLE amy IN SCHEMA s SET x = 1",
    ]);
}

#[test]
fn default_privileges() {
    let expected = Command::AlterDefaultPrivileges {
        creators: Creators::Roles(vec![RoleSpec::CurrentUser]),
        schemas: vec![],
        act: DefaultAct::Grant { grant_option: true },
        privileges: vec![Privilege::Select, Privilege::Create],
        on: DefaultClass::Tables,
        grantees: vec![role("amy"), role("public")],
    };
    assert_eq!(
        command("ALTER DEFAULT PRIVILEGES GRANT SELECT, CREATE ON TABLES TO amy, public WITH GRANT OPTION"),
        expected
    );
    for (word, on) in [
        ("SEQUENCES", DefaultClass::Sequences),
        ("TYPES", DefaultClass::Types),
        ("SCHEMAS", DefaultClass::Schemas),
        ("functions", DefaultClass::Functions),
    ] {
        let expected = Command::AlterDefaultPrivileges {
            creators: Creators::All,
            schemas: vec![schema(&["s"]), schema(&["d", "t"])],
            act: DefaultAct::Revoke { grant_option_only: true },
            privileges: vec![Privilege::All],
            on,
            grantees: vec![RoleSpec::SessionUser],
        };
        let text = format!(
            "ALTER DEFAULT PRIVILEGES FOR ALL ROLES IN SCHEMA s, d.t REVOKE GRANT OPTION FOR ALL PRIVILEGES ON {word} \
             FROM SESSION_USER RESTRICT"
        );
        assert_eq!(command(&text), expected);
    }
    for word in ["ROLE", "USER", "GROUP"] {
        let text =
            format!("ALTER DEFAULT PRIVILEGES FOR {word} a, CURRENT_USER REVOKE ALL ON TYPES FROM b CASCADE");
        let Command::AlterDefaultPrivileges { creators, act, .. } = command(&text) else { panic!("{text}") };
        assert_eq!(creators, Creators::Roles(vec![role("a"), RoleSpec::CurrentUser]));
        assert_eq!(act, DefaultAct::Revoke { grant_option_only: false });
    }
    all_are_syntax_errors(&[
        "ALTER DEFAULT PRIVILEGES",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON t TO amy",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON DATABASES TO amy",
        "ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON ROUTINES TO amy",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES FROM amy",
        "ALTER DEFAULT PRIVILEGES FOR ALL GRANT SELECT ON TABLES TO amy",
        "ALTER DEFAULT PRIVILEGES IN SCHEMA GRANT SELECT ON TABLES TO amy",
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO amy CASCADE",
    ]);
}

#[test]
fn shown_default_privileges() {
    let own = DefaultsShown::Of(Creators::Roles(vec![RoleSpec::CurrentUser]));
    let rows = [
        ("SHOW DEFAULT PRIVILEGES", own.clone(), None),
        ("SHOW DEFAULT PRIVILEGES IN SCHEMA s", own, Some(schema(&["s"]))),
        ("SHOW DEFAULT PRIVILEGES FOR ALL ROLES", DefaultsShown::Of(Creators::All), None),
        (
            "SHOW DEFAULT PRIVILEGES FOR ROLE a, SESSION_USER IN SCHEMA d.s",
            DefaultsShown::Of(Creators::Roles(vec![role("a"), RoleSpec::SessionUser])),
            Some(schema(&["d", "s"])),
        ),
        (
            "SHOW DEFAULT PRIVILEGES FOR GRANTEE a, public",
            DefaultsShown::ForGrantees(vec![role("a"), role("public")]),
            None,
        ),
    ];
    for (text, shown, schema) in rows {
        assert_eq!(show(text), ShowStatement::DefaultPrivileges { shown, schema }, "{text}");
    }
    all_are_syntax_errors(&["SHOW DEFAULT PRIVILEGES FOR a", "SHOW DEFAULT PRIVILEGES IN SCHEMA"]);
}

#[test]
fn what_roles_own() {
    let expected =
        Command::DropOwned { by: vec![role("a"), RoleSpec::CurrentUser], behavior: DropBehavior::Restrict };
    assert_eq!(command("DROP OWNED BY a, CURRENT_USER RESTRICT"), expected);
    let expected = Command::ReassignOwned { from: vec![RoleSpec::SessionUser, role("a")], to: role("b") };
    assert_eq!(command("REASSIGN OWNED BY SESSION_USER, a TO b"), expected);
    all_are_syntax_errors(&[
        "DROP OWNED a",
        "DROP OWNED BY",
        "REASSIGN OWNED BY a",
        "REASSIGN OWNED BY a TO b, c",
    ]);
}

#[test]
fn owners_names_and_schemas() {
    let owned = [
        ("DATABASE d", OwnedName::Database(Name::normalize("d")), true, false),
        ("SCHEMA d.s", OwnedName::Schema(schema(&["d", "s"])), true, false),
        ("TABLE s.t", OwnedName::Table(object(&["s", "t"])), true, true),
        ("VIEW v", OwnedName::View(object(&["v"])), true, true),
        ("SEQUENCE q", OwnedName::Sequence(object(&["q"])), true, true),
        ("TYPE e", OwnedName::Type(object(&["e"])), true, true),
        ("FUNCTION f(INT8)", OwnedName::Function(function(&["f"], Some(&[INT8]))), true, true),
        ("EXTERNAL CONNECTION c", OwnedName::ExternalConnection(Name::normalize("c")), true, false),
    ];
    for (text, object, renamed, moved) in owned {
        let expected =
            Command::AlterOwner { object: object.clone(), if_exists: false, owner: RoleSpec::CurrentUser };
        assert_eq!(command(&format!("ALTER {text} OWNER TO CURRENT_USER")), expected);
        if renamed {
            let to = Name::normalize("New");
            let expected = Command::Rename { object: object.clone(), if_exists: false, to };
            assert_eq!(command(&format!("ALTER {text} RENAME TO \"New\"")), expected);
        }
        let text = format!("ALTER {text} SET SCHEMA d.s");
        if moved {
            let schema = schema(&["d", "s"]);
            assert_eq!(command(&text), Command::SetSchema { object, if_exists: false, schema });
        } else {
            assert!(parse(&text).is_err(), "{text}");
        }
    }
    for text in ["TABLE", "VIEW", "SEQUENCE"] {
        let text = format!("ALTER {text} IF EXISTS x RENAME TO y");
        assert!(matches!(command(&text), Command::Rename { if_exists: true, .. }), "{text}");
    }
    assert_eq!(refused("ALTER TABLE t SET (fillfactor = 10)").0, "0A000");
    assert_eq!(refused("ALTER TABLE t RENAME TO s.t").0, "0A000");
    all_are_syntax_errors(&["ALTER TABLE t", "ALTER TABLE t OWNER TO", "ALTER DATABASE d", "ALTER"]);
}

#[test]
fn what_is_dropped() {
    let names = vec![object(&["a"]), object(&["s", "b"])];
    let behavior = DropBehavior::Cascade;
    let rows = [
        ("VIEW", Command::DropViews { names: names.clone(), if_exists: true, behavior }),
        ("SEQUENCE", Command::DropSequences { names: names.clone(), if_exists: true, behavior }),
        ("TYPE", Command::DropTypes { names: names.clone(), if_exists: true, behavior }),
        ("TABLE", Command::DropTables { names, if_exists: true, behavior }),
    ];
    for (word, expected) in rows {
        let text = format!("DROP {word} IF EXISTS a, s.b CASCADE");
        assert_eq!(command(&text), expected);
        assert_eq!(tag(&text), format!("DROP {word}"));
    }
    let expected = Command::DropFunctions {
        names: vec![function(&["f"], None), function(&["g"], Some(&[TEXT]))],
        if_exists: false,
        behavior: DropBehavior::Default,
    };
    assert_eq!(command("DROP FUNCTION f, g(STRING)"), expected);
    let expected = Command::DropExternalConnections { names: vec![Name::normalize("c")], if_exists: true };
    assert_eq!(command("DROP EXTERNAL CONNECTION IF EXISTS c"), expected);
    let expected =
        Command::DropIamRoles { names: vec![Name::normalize("A"), Name::normalize("b")], if_exists: true };
    assert_eq!(command("DROP IAM ROLE IF EXISTS 'A', 'b'"), expected);
    all_are_syntax_errors(&["DROP IAM ROLE", "DROP IAM ROLE a"]);
    all_are_syntax_errors(&["DROP", "DROP TABLE", "DROP VIEW a b", "DROP NONSENSE x", "DROP FUNCTION f(,)"]);
}

#[test]
fn sequences() {
    let made = |text: &str| match command(text) {
        Command::CreateSequence { sequence, owned_by, .. } => (sequence, owned_by),
        other => panic!("{text}: {other:?}"),
    };
    let sequence = |start, increment, min, max| Sequence { start, increment, min, max, owned_by: None };
    assert_eq!(made("CREATE SEQUENCE s"), (sequence(1, 1, 1, i64::MAX), None));
    assert_eq!(
        made("CREATE SEQUENCE s INCREMENT BY -2 OWNED BY d.s.t.c"),
        (sequence(-1, -2, i64::MIN, -1), Some(object(&["d", "s", "t"])))
    );
    assert_eq!(
        made(
            "CREATE SEQUENCE IF NOT EXISTS s START 5 MINVALUE -9223372036854775808 MAXVALUE 9 NO CYCLE CACHE 1"
        ),
        (sequence(5, 1, i64::MIN, 9), None)
    );
    let expected = Command::AlterSequence {
        name: object(&["s"]),
        if_exists: true,
        options: SequenceOptions {
            increment: Some(3),
            max: Some(None),
            owned_by: Some(None),
            ..SequenceOptions::default()
        },
    };
    assert_eq!(command("ALTER SEQUENCE IF EXISTS s INCREMENT 3 NO MAXVALUE OWNED BY NONE"), expected);
    for feature in ["CYCLE", "VIRTUAL", "AS INT4", "RESTART"] {
        assert_eq!(refused(&format!("CREATE SEQUENCE s {feature}")).0, "0A000");
    }
    all_are_syntax_errors(&[
        "CREATE SEQUENCE s START 1 START 2",
        "CREATE SEQUENCE s MAXVALUE 9223372036854775808",
        "CREATE SEQUENCE s INCREMENT 1.5",
        "CREATE SEQUENCE s CACHE 0",
        "CREATE SEQUENCE s OWNED BY t",
        "CREATE SEQUENCE s nonsense",
        "ALTER SEQUENCE s",
    ]);
}

#[test]
fn types() {
    let expected = Command::CreateType {
        name: object(&["s", "mood"]),
        labels: vec!["sad".to_owned(), "It's ok".to_owned()],
        if_not_exists: true,
    };
    assert_eq!(command("CREATE TYPE IF NOT EXISTS s.mood AS ENUM ('sad', 'It''s ok')"), expected);
    let altered = |text: &str| match command(text) {
        Command::AlterType { change, .. } => change,
        other => panic!("{text}: {other:?}"),
    };
    let add = |label: &str, if_not_exists, beside: Option<(bool, &str)>| LabelChange::Add {
        label: label.to_owned(),
        if_not_exists,
        beside: beside.map(|(before, label)| (before, label.to_owned())),
    };
    assert_eq!(altered("ALTER TYPE m ADD VALUE 'a'"), add("a", false, None));
    assert_eq!(
        altered("ALTER TYPE m ADD VALUE IF NOT EXISTS 'a' BEFORE 'b'"),
        add("a", true, Some((true, "b")))
    );
    assert_eq!(altered("ALTER TYPE m ADD VALUE 'a' AFTER 'b'"), add("a", false, Some((false, "b"))));
    let expected = LabelChange::Rename { from: "a".to_owned(), to: "b".to_owned() };
    assert_eq!(altered("ALTER TYPE m RENAME VALUE 'a' TO 'b'"), expected);
    assert!(parse("CREATE TYPE m AS ENUM ()").is_ok());
    assert_eq!(refused("ALTER TYPE m DROP VALUE 'a'").0, "0A000");
    assert_eq!(refused("CREATE TYPE m AS (a INT)").0, "0A000");
    all_are_syntax_errors(&[
        "CREATE TYPE m AS ENUM ('a' 'b')",
        "CREATE TYPE m AS ENUM ('a',)",
        "CREATE TYPE m AS ENUM (a)",
        "CREATE TYPE m AS ENUM ('a'",
        "ALTER TYPE m ADD VALUE a",
        "ALTER TYPE m RENAME VALUE 'a'",
    ]);
}

#[test]
fn roles_of_clouds_are_strings_that_are_kept() {
    let text = "CREATE IAM ROLE IF NOT EXISTS 'arn:aws:iam::123456789012:role/Backup'";
    let name = Name::normalize("arn:aws:iam::123456789012:role/Backup");
    assert_eq!(command(text), Command::CreateIamRole { name: name.clone(), if_not_exists: true });
    assert_eq!(tag(text), "CREATE IAM ROLE");
    let expected = Command::AlterOwner {
        object: OwnedName::IamRole(name),
        if_exists: true,
        owner: RoleSpec::CurrentUser,
    };
    let text = "ALTER IAM ROLE IF EXISTS 'arn:aws:iam::123456789012:role/Backup' OWNER TO CURRENT_USER";
    assert_eq!(command(text), expected);
    assert_eq!(refused(&format!("DROP IAM ROLE '{}'", "x".repeat(641))).0, "54000");
    all_are_syntax_errors(&["CREATE IAM ROLE x", "CREATE IAM", "ALTER IAM ROLE x OWNER TO y"]);
}

/// Case 106 of the cloud specification: a syntax error repeats what it found, but for secrets.
#[test]
fn a_syntax_error_repeats_no_secret_of_a_uri() {
    let found = [
        "'s3://b?AWS_SECRET_ACCESS_KEY=sesame'",
        "E's3:/b?AWS_SECRET_ACCESS_KEY=sesame'",
        "$$kafka://a:open sesame@h$$",
        "\"s3://b?sasl_password=open sesame\"",
        "\"s3:/b?AWS_SECRET_ACCESS_KEY=sesame\"",
    ];
    for found in found {
        let error = parse(&format!("CREATE EXTERNAL CONNECTION c {found}")).expect_err(found);
        assert!(!format!("{error:?}").contains("sesame"), "{error:?}");
    }
}

#[test]
fn comments() {
    let rows = [
        ("DATABASE d", OwnedName::Database(Name::normalize("d"))),
        ("SCHEMA s", OwnedName::Schema(schema(&["s"]))),
        ("TABLE t", OwnedName::Table(object(&["t"]))),
        ("VIEW t", OwnedName::View(object(&["t"]))),
        ("SEQUENCE t", OwnedName::Sequence(object(&["t"]))),
        ("TYPE t", OwnedName::Type(object(&["t"]))),
        ("FUNCTION f()", OwnedName::Function(function(&["f"], Some(&[])))),
    ];
    for (text, on) in rows {
        let expected = Command::Comment { on: on.clone(), column: None, text: Some("x".to_owned()) };
        assert_eq!(command(&format!("COMMENT ON {text} IS 'x'")), expected);
        let expected = Command::Comment { on, column: None, text: None };
        assert_eq!(command(&format!("COMMENT ON {text} IS NULL")), expected);
    }
    let expected = Command::Comment {
        on: OwnedName::Table(object(&["d", "s", "t"])),
        column: Some(Name::normalize("c")),
        text: Some(String::new()),
    };
    assert_eq!(command("COMMENT ON COLUMN d.s.t.c IS ''"), expected);
    assert_eq!(refused("COMMENT ON CONSTRAINT i ON t IS 'x'").0, "0A000");
    all_are_syntax_errors(&[
        "COMMENT ON COLUMN c IS 'x'",
        "COMMENT ON COLUMN a.b.c.d.e IS 'x'",
        "COMMENT ON TABLE t",
        "COMMENT ON TABLE t IS x",
        "COMMENT ON t IS 'x'",
    ]);
}

#[test]
fn cluster_settings() {
    let set = |value: Option<&str>| Command::SetClusterSetting {
        setting: Setting::ChangeOwnPassword,
        value: value.map(str::to_owned),
    };
    const NAME: &str = "sql.auth.change_own_password.enabled";
    assert_eq!(command(&format!("SET CLUSTER SETTING {NAME} = true")), set(Some("true")));
    assert_eq!(command(&format!("SET CLUSTER SETTING {NAME} TO 'off'")), set(Some("off")));
    assert_eq!(command(&format!("SET CLUSTER SETTING {NAME} = DEFAULT")), set(None));
    assert_eq!(command(&format!("RESET CLUSTER SETTING {NAME}")), set(None));
    assert_eq!(
        show(&format!("SHOW CLUSTER SETTING {NAME}")),
        ShowStatement::ClusterSetting(Setting::ChangeOwnPassword)
    );
    assert_eq!(show("SHOW CLUSTER SETTINGS"), ShowStatement::ClusterSettings { all: false });
    assert_eq!(show("SHOW PUBLIC CLUSTER SETTINGS"), ShowStatement::ClusterSettings { all: false });
    assert_eq!(show("SHOW ALL CLUSTER SETTINGS"), ShowStatement::ClusterSettings { all: true });
    assert_eq!(refused("SHOW CLUSTER SETTING no.such").0, "42704");
    all_are_syntax_errors(&[
        "SET CLUSTER SETTING",
        "SHOW CLUSTER SETTING",
        "SET CLUSTER SETTING cluster.organization 1",
    ]);
}

#[test]
fn what_runs_in_the_cluster() {
    for (text, listed, scope) in [
        ("SHOW SESSIONS", Listed::Sessions, Scope::Cluster),
        ("SHOW ALL CLUSTER SESSIONS", Listed::Sessions, Scope::Cluster),
        ("SHOW LOCAL QUERIES", Listed::Queries, Scope::Local),
        ("SHOW CLUSTER STATEMENTS", Listed::Queries, Scope::Cluster),
        ("SHOW ALL LOCAL TRANSACTIONS", Listed::Transactions, Scope::Local),
    ] {
        let Ok(Statement::Activity(ActivityStatement::Show(l, s))) = parse(text) else { panic!("{text}") };
        assert_eq!((l, s), (listed, scope), "{text}");
    }
    assert!(matches!(parse("SHOW CLUSTER NODES"), Ok(Statement::Activity(ActivityStatement::Nodes))));
    for (text, of, skips) in [
        ("CANCEL QUERY '1a'", Target::Query, false),
        ("CANCEL SESSIONS IF EXISTS '1a'", Target::Session, true),
    ] {
        let Ok(Statement::Activity(ActivityStatement::Cancel { target, if_exists, ids })) = parse(text)
        else {
            panic!("{text}")
        };
        assert_eq!((target, if_exists), (of, skips));
        assert!(matches!(ids, CancelIds::Written(ids) if ids == ["1a"]));
    }
    assert!(matches!(
        parse("CANCEL QUERIES SELECT query_id FROM q"),
        Ok(Statement::Activity(ActivityStatement::Cancel { ids: CancelIds::Query(_), .. }))
    ));
    all_are_syntax_errors(&["CANCEL", "CANCEL QUERY", "CANCEL QUERY 1", "SHOW SESSIONS x"]);
}

#[test]
fn views_and_functions_keep_their_tree() {
    for text in [
        "CREATE VIEW v AS SELECT 1",
        "CREATE OR REPLACE VIEW s.v (a) AS SELECT 1",
        "CREATE VIEW IF NOT EXISTS v AS TABLE t",
    ] {
        assert!(matches!(parse(text), Ok(Statement::CreateView(_))), "{text}");
    }
    for text in [
        "CREATE FUNCTION f() RETURNS INT LANGUAGE SQL AS 'SELECT 1'",
        "CREATE OR REPLACE FUNCTION s.f(a INT, TEXT) RETURNS INT IMMUTABLE STRICT LANGUAGE SQL AS $$ SELECT a; $$",
    ] {
        assert!(matches!(parse(text), Ok(Statement::CreateFunction(_))), "{text}");
    }
    all_are_syntax_errors(&["CREATE VIEW v", "CREATE VIEW v AS", "CREATE FUNCTION f", "CREATE OR REPLACE x"]);
}

#[test]
fn what_is_shown_of_objects() {
    let from = |parts: &[&str]| Some(schema(parts));
    let of = object(&["s", "t"]);
    let rows = [
        ("SHOW DATABASES WITH COMMENT", ShowStatement::Databases { comments: true }),
        (
            "SHOW TABLES FROM d.s WITH COMMENT",
            ShowStatement::Tables { from: from(&["d", "s"]), comments: true },
        ),
        ("SHOW SEQUENCES FROM d", ShowStatement::Sequences { from: Some(Name::normalize("d")) }),
        ("SHOW TYPES", ShowStatement::Types { from: None }),
        ("SHOW ENUMS FROM s", ShowStatement::Enums { from: from(&["s"]) }),
        ("SHOW FUNCTIONS FROM d.s", ShowStatement::Functions { from: from(&["d", "s"]) }),
        ("SHOW COLUMNS FROM s.t WITH COMMENT", ShowStatement::Columns { of: of.clone(), comments: true }),
        ("SHOW INDEXES FROM TABLE s.t", ShowStatement::Indexes { of: of.clone() }),
        ("SHOW KEYS FROM s.t", ShowStatement::Indexes { of: of.clone() }),
        ("SHOW CONSTRAINTS FROM s.t", ShowStatement::Constraints { of: of.clone() }),
        ("SHOW CREATE s.t", ShowStatement::CreateRelation(of.clone())),
        ("SHOW CREATE VIEW s.t", ShowStatement::CreateRelation(of.clone())),
        ("SHOW CREATE DATABASE d", ShowStatement::CreateDatabase(Name::normalize("d"))),
        ("SHOW CREATE TYPE s.t", ShowStatement::CreateType(of)),
        ("SHOW CREATE FUNCTION f", ShowStatement::CreateFunction(function(&["f"], None))),
        ("SHOW EXTERNAL CONNECTIONS", ShowStatement::ExternalConnections(None)),
        ("SHOW IAM ROLES", ShowStatement::IamRoles),
        (
            "SHOW GRANTS ON ROLE a, b FOR c",
            ShowStatement::GrantsOnRole { roles: vec![role("a"), role("b")], members: vec![role("c")] },
        ),
        (
            "SHOW GRANTS ON SCHEMA d.*",
            ShowStatement::GrantsOnAllSchemas { database: Some(Name::normalize("d")), grantees: vec![] },
        ),
        (
            "SHOW SYSTEM GRANTS FOR CURRENT_USER",
            ShowStatement::Grants { on: Some(Targets::System), grantees: vec![RoleSpec::CurrentUser] },
        ),
        (
            "EXPLAIN PRIVILEGE SELECT ON t FOR a",
            ShowStatement::ExplainPrivilege {
                grant_option: false,
                privileges: vec![Privilege::Select],
                on: Targets::Tables(vec![TablePattern::Table(object(&["t"]))]),
                principals: vec![role("a")],
            },
        ),
        (
            "EXPLAIN PRIVILEGE GRANT OPTION FOR SYSTEM VIEWDEBUG",
            ShowStatement::ExplainPrivilege {
                grant_option: true,
                privileges: vec![Privilege::ViewDebug],
                on: Targets::System,
                principals: vec![],
            },
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(show(text), expected, "{text}");
    }
    for text in ["SHOW RANGES FROM TABLE t", "SHOW REGIONS", "EXPLAIN ANALYZE SELECT 1"] {
        assert_eq!(refused(text).0, "0A000", "{text}");
    }
    all_are_syntax_errors(&[
        "SHOW",
        "SHOW COLUMNS",
        "SHOW COLUMNS FROM",
        "SHOW CREATE",
        "SHOW GRANTS ON",
        "SHOW GRANTS FOR",
    ]);
}

#[test]
fn every_list_is_bounded() {
    let list = |item: &str, count: usize| vec![item; count].join(", ");
    let rows = [
        format!("DROP FUNCTION f({})", list("INT", 101)),
        format!("CREATE TYPE t AS ENUM ({})", list("'a'", 10_001)),
        format!("ALTER SEQUENCE s {}", "CACHE 1 ".repeat(17)),
        format!("ALTER ROLE a {}", "LOGIN ".repeat(65)),
        format!("GRANT SELECT ON {} TO a", list("t", 1_001)),
        format!("GRANT EXECUTE ON FUNCTION {} TO a", list("f()", 1_001)),
        format!("ALTER DEFAULT PRIVILEGES IN SCHEMA {} GRANT SELECT ON TABLES TO a", list("s", 1_001)),
        format!("DROP OWNED BY {}", list("a", 1_001)),
        format!("CREATE EXTERNAL CONNECTION c AS '{}'", "x".repeat(256 * 1024 + 1)),
    ];
    for text in rows {
        let head: String = text.chars().take(40).collect();
        assert_eq!(refused(&text).0, "54000", "{head}");
    }
    assert!(parse(&format!("DROP FUNCTION f({})", list("INT", 100))).is_ok());
    assert!(parse(&format!("CREATE TYPE t AS ENUM ({})", list("'a'", 10_000))).is_ok());
}

#[test]
fn what_a_session_names() {
    let name = Name::normalize;
    let fetch = |text: &str| match parse(text).unwrap() {
        Statement::Named(NamedStatement::Fetch { name, direction, moves }) => {
            (name.as_str().to_owned(), direction, moves)
        }
        other => panic!("{text}: {other:?}"),
    };
    for (text, direction, moves) in [
        ("FETCH c", Direction::Forward(1), false),
        ("FETCH FROM c", Direction::Forward(1), false),
        ("FETCH 7 IN c", Direction::Forward(7), false),
        ("FETCH -7 c", Direction::Forward(-7), false),
        ("FETCH FORWARD c", Direction::Forward(1), false),
        ("MOVE FORWARD 0 FROM c", Direction::Forward(0), true),
        ("MOVE BACKWARD ALL FROM c", Direction::BackwardAll, true),
        ("FETCH BACKWARD 3 FROM c", Direction::Forward(-3), false),
        ("FETCH ALL FROM c", Direction::ForwardAll, false),
        ("FETCH LAST FROM c", Direction::Absolute(-1), false),
        ("FETCH RELATIVE +2 FROM c", Direction::Relative(2), false),
    ] {
        assert_eq!(fetch(text), ("c".to_owned(), direction, moves), "{text}");
    }
    assert_eq!(fetch("FETCH next"), ("next".to_owned(), Direction::Forward(1), false));
    let text = "PREPARE p (INT, TEXT) AS  SELECT $1, $2 -- to the end";
    let Statement::Named(NamedStatement::Prepare { name: prepared, types, text }) = parse(text).unwrap()
    else {
        panic!("{text}");
    };
    assert_eq!((prepared, types.len(), text.as_str()), (name("p"), 2, "SELECT $1, $2"));
    for text in ["PREPARE TRANSACTION 'x'", "PREPARE p AS BEGIN", "DECLARE c BINARY CURSOR FOR SELECT 1"] {
        assert_eq!(refused(text).0, "0A000", "{text}");
    }
    for text in
        ["FETCH", "EXECUTE", "PREPARE p SELECT 1", "DECLARE c FOR SELECT 1", "FETCH ABSOLUTE x FROM c"]
    {
        assert_eq!(refused(text).0, "42601", "{text}");
    }
}
