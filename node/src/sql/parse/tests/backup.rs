//! BACKUP, SHOW BACKUPS, SHOW BACKUP.

use super::super::backup::{Backup, BackupStatement, Named, Of, Secrets};
use super::*;

fn statement(text: &str) -> BackupStatement {
    match parse(text) {
        Ok(Statement::Backup(statement)) => *statement,
        other => panic!("{text}: {other:?}"),
    }
}

fn backup(text: &str) -> Backup {
    match statement(text) {
        BackupStatement::Backup(backup) => backup,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn targets_are_the_cluster_databases_or_tables() {
    for (text, of) in [
        ("BACKUP INTO 's3://b'", ""),
        ("BACKUP DATABASE a, B INTO 's3://b'", "DATABASE a, b "),
        ("BACKUP TABLE t, s.*, d.s.t, * INTO 's3://b'", "TABLE t, s.*, d.s.t, * "),
    ] {
        let Backup { of: found, upon, collection, as_of, .. } = backup(text);
        assert_eq!(found.to_string(), of, "{text}");
        assert!(upon.is_none() && as_of.is_none() && collection[0].expose() == "s3://b", "{text}");
    }
    assert!(matches!(backup("BACKUP INTO 'x'").of, Of::Cluster));
}

#[test]
fn a_layer_is_new_or_upon_a_full_one() {
    let latest = backup("BACKUP INTO LATEST IN 'c' AS OF SYSTEM TIME '-10s'");
    assert!(matches!(latest.upon, Some(Named::Latest)));
    assert_eq!(latest.as_of.as_deref(), Some("-10s"));
    let named = backup("BACKUP INTO '/2026/11/22-181239.05' IN ('c', 'd')");
    let Some(Named::Folder(folder)) = named.upon else { panic!() };
    assert_eq!((folder.expose(), named.collection.len()), ("/2026/11/22-181239.05", 2));
    assert_eq!(
        backup("BACKUP INTO 'c' AS OF SYSTEM TIME 17.0000000001").as_of.as_deref(),
        Some("17.0000000001")
    );
}

#[test]
fn options_stand_in_every_form() {
    for with in [
        "WITH revision_history, detached, encryption_passphrase = 'p', incremental_location = 'i'",
        "WITH (REVISION_HISTORY = true, detached = 'on', incremental_location = ('i'), encryption_passphrase = 'p')",
        "WITH OPTIONS (detached, revision_history, encryption_passphrase = 'p', incremental_location = 'i')",
    ] {
        let found = backup(&format!("BACKUP INTO 'c' {with}"));
        assert!(found.revision_history && found.detached, "{with}");
        assert_eq!(found.opened.passphrase.unwrap().expose(), "p");
        assert_eq!(found.opened.incremental_location[0].expose(), "i");
    }
    assert!(!backup("BACKUP INTO 'c' WITH detached = false").detached);
    let keys = backup("BACKUP INTO 'c' WITH kms = ('k', 'l')").opened.kms;
    assert_eq!(keys.len(), 2);
    let BackupStatement::Show { shown, .. } =
        statement("SHOW BACKUP FROM LATEST IN 'c' WITH check_files, debug_ids, privileges = false")
    else {
        panic!()
    };
    assert!(shown.check_files && shown.debug_ids && !shown.privileges && !shown.as_json);
    assert!(matches!(statement("SHOW BACKUPS IN 'c'"), BackupStatement::List { .. }));
}

#[test]
fn what_is_wrong_is_refused_and_nothing_is_repeated() {
    for (text, code) in [
        ("BACKUP", "42601"),
        ("BACKUP INTO sesame", "42601"),
        ("BACKUP INTO 'sesame' 'sesame'", "42601"),
        ("BACKUP INTO ('a', 'sesame') IN 'c'", "42601"),
        ("BACKUP INTO 'c' WITH nonsense = 'sesame'", "42601"),
        ("BACKUP INTO 'c' WITH detached, detached", "42601"),
        ("BACKUP INTO 'c' WITH detached = 'sesame'", "42601"),
        ("BACKUP INTO 'c' WITH check_files", "42601"),
        ("SHOW BACKUP FROM LATEST IN 'c' WITH detached", "42601"),
        ("BACKUP TO 'sesame'", "0A000"),
        ("BACKUP TABLE t TO 'a' INCREMENTAL FROM 'b', 'c' WITH detached", "0A000"),
        ("BACKUP TO 'a' WITH incremental_location = 'sesame'", "42601"),
        ("BACKUP TENANT 3 INTO 'c'", "0A000"),
        ("SHOW BACKUP 'sesame'", "0A000"),
        ("SHOW BACKUP SCHEMAS FROM LATEST IN 'c'", "0A000"),
    ] {
        assert_eq!(refused(text).0, code, "{text}");
        assert!(!format!("{:?}", parse(text)).contains("'sesame"), "{text}");
    }
    let secrets = "BACKUP INTO 's3://b?AWS_SECRET_ACCESS_KEY=sesame' IN 's3://sesame' WITH encryption_passphrase = 'sesame'";
    assert!(!format!("{:?}", parse(secrets)).contains("sesame"));
}

/// A schedule keeps its statement as text.
#[test]
fn a_backup_is_written_as_it_is_read() {
    for text in [
        "BACKUP INTO 's3://b?AWS_SECRET_ACCESS_KEY=it''s'",
        "BACKUP DATABASE a, \"B c\" INTO LATEST IN ('s3://b', 's3://c') WITH revision_history, detached",
        "BACKUP TABLE t, s.*, \"D\".s.\"t\"\"u\" INTO '2026/x' IN 'c' AS OF SYSTEM TIME '-10s' WITH kms = ('k', 'l')",
        "BACKUP INTO 'c' WITH encryption_passphrase = 'pass''word', detached, incremental_location = 'i'",
    ] {
        let once = backup(text).written(Secrets::Whole);
        assert_eq!(backup(&once).written(Secrets::Whole), once, "{text}");
        assert_eq!(once, text);
        let hidden = backup(text).written(Secrets::Hidden);
        assert!(!hidden.contains("it''s") && !hidden.contains("word'"), "{hidden}");
    }
}
