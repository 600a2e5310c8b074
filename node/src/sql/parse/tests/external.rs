//! CREATE, ALTER and CHECK EXTERNAL CONNECTION.

use std::time::Duration;

use super::super::external::ExternalStatement;
use super::*;
use crate::activity::cluster::Scope;
use crate::cloud::connection;
use crate::cloud::preflight::Options;

fn external(text: &str) -> ExternalStatement {
    match parse(text) {
        Ok(Statement::External(statement)) => *statement,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn external_connections_keep_their_secrets() {
    let text = "CREATE EXTERNAL CONNECTION IF NOT EXISTS c AS 's3://b?AWS_SECRET_ACCESS_KEY=sesame'";
    let ExternalStatement::Create { name, uri, if_not_exists, skip_check } = external(text) else { panic!() };
    assert_eq!((name, if_not_exists, skip_check), (Name::normalize("c"), true, false));
    assert_eq!(uri.expose(), "s3://b?AWS_SECRET_ACCESS_KEY=sesame");
    assert!(!format!("{:?}", parse(text)).contains("sesame"));
    assert!(matches!(
        external("ALTER EXTERNAL CONNECTION IF EXISTS c AS 'x://y'"),
        ExternalStatement::Alter { if_exists: true, skip_check: false, .. }
    ));
    for text in [
        "CREATE EXTERNAL CONNECTION c AS sesame",
        "CREATE EXTERNAL CONNECTION c 'sesame'",
        "CREATE EXTERNAL CONNECTION c AS 'x' WITH SECONDARY sesame",
        "CREATE EXTERNAL CONNECTION c AS 'x' WITH SECONDARY 'x', SECONDARY 'sesame'",
        "CREATE EXTERNAL CONNECTION c AS 'x' 'sesame'",
        "CHECK EXTERNAL CONNECTION sesame",
        "CHECK EXTERNAL CONNECTION 'x' 'sesame'",
    ] {
        assert!(!format!("{:?}", parse(text)).contains("'sesame"));
        assert_eq!(refused(text).0, "42601");
    }
}

#[test]
fn an_external_connection_may_have_a_secondary_uri_and_go_unchecked() {
    for text in [
        "CREATE EXTERNAL CONNECTION c AS 'a://x' WITH SECONDARY 'b://y', SKIP_CHECK",
        "CREATE EXTERNAL CONNECTION c AS 'a://x' WITH skip_check, secondary = 'b://y'",
    ] {
        let ExternalStatement::Create { uri, skip_check, .. } = external(text) else { panic!() };
        assert!(skip_check);
        assert_eq!(connection::split(&uri), ("a://x", Some("b://y")));
    }
    let text = "ALTER EXTERNAL CONNECTION c AS 'a://x' WITH SECONDARY 'b://y'";
    let ExternalStatement::Alter { uri, .. } = external(text) else { panic!() };
    assert_eq!(connection::split(&uri), ("a://x", Some("b://y")));
}

#[test]
fn external_connections_are_checked_from_here_or_from_everywhere() {
    let check = |text: &str| match external(text) {
        ExternalStatement::Check { options, scope, .. } => (options, scope),
        other => panic!("{other:?}"),
    };
    assert_eq!(check("CHECK EXTERNAL CONNECTION 'a://x'"), (Options::default(), Scope::Local));
    let told = Options { concurrently: 2, time: Duration::from_secs(3), transfer: 1 << 20 };
    for text in [
        "CHECK EXTERNAL CONNECTION 'a://x' WITH concurrently = 2, time = '3s', transfer = '1MiB' ON ALL NODES",
        "CHECK EXTERNAL CONNECTION 'a://x' ON ALL NODES WITH (transfer='1MiB', concurrently='2', time='3s')",
    ] {
        assert_eq!(check(text), (told, Scope::Cluster));
    }
    for option in ["concurrently = 0", "concurrently = 65", "time = '1ms'", "transfer = '1TiB'", "speed = 1"]
    {
        assert_eq!(refused(&format!("CHECK EXTERNAL CONNECTION 'a://x' WITH {option}")).0, "42601");
    }
}

#[test]
fn secrets_are_shown_to_who_says_so() {
    let shown = |text: &str| match parse(text) {
        Ok(Statement::Show(ShowStatement::CreateConnection { name, secrets })) => (name, secrets),
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(shown("SHOW CREATE ALL EXTERNAL CONNECTIONS"), (None, false));
    assert_eq!(shown("SHOW CREATE ALL EXTERNAL CONNECTIONS WITH SECRETS"), (None, true));
    let name = Some(Name::normalize("c"));
    assert_eq!(shown("SHOW CREATE EXTERNAL CONNECTION c"), (name.clone(), false));
    assert_eq!(shown("SHOW CREATE EXTERNAL CONNECTION c WITH SECRETS"), (name, true));
}
