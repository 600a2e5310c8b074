//! RESTORE.

use super::super::backup::{BackupStatement, Named, Restore, Skipped};
use super::*;

fn restore(text: &str) -> Restore {
    match parse(text) {
        Ok(Statement::Backup(statement)) => match *statement {
            BackupStatement::Restore(restore) => *restore,
            other => panic!("{text}: {other:?}"),
        },
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn what_is_restored_is_the_cluster_databases_tables_or_users() {
    for (text, what) in [
        ("RESTORE FROM LATEST IN 'c'", ""),
        ("RESTORE DATABASE a, B FROM LATEST IN 'c'", "DATABASE a, b "),
        ("RESTORE TABLE t, s.*, d.s.t, * FROM LATEST IN 'c'", "TABLE t, s.*, d.s.t, * "),
        ("RESTORE SYSTEM USERS FROM LATEST IN 'c'", "SYSTEM USERS "),
    ] {
        let found = restore(text);
        assert_eq!(found.what.to_string(), what, "{text}");
        assert!(matches!(found.full, Named::Latest) && found.collection[0].expose() == "c", "{text}");
    }
    let named = restore("RESTORE FROM '/2026/11/22-181239.05' IN ('c', 'd') AS OF SYSTEM TIME '-10s'");
    let Named::Folder(folder) = named.full else { panic!() };
    assert_eq!((folder.expose(), named.collection.len()), ("/2026/11/22-181239.05", 2));
    assert_eq!(named.as_of.as_deref(), Some("-10s"));
}

#[test]
fn options_of_a_restore_stand_in_every_form() {
    for with in [
        "WITH into_db = 'd', skip_missing_foreign_keys, skip_missing_sequences, skip_missing_sequence_owners, \
         skip_missing_views, skip_localities_check, schema_only, verify_backup_table_data, detached",
        "WITH (INTO_DB = d, skip_missing_views = true, skip_missing_sequence_owners = 'on', skip_missing_foreign_keys, \
         skip_missing_sequences, verify_backup_table_data, schema_only, detached)",
    ] {
        let found = restore(&format!("RESTORE TABLE t FROM LATEST IN 'c' {with}"));
        assert_eq!(found.into_db.as_ref().map(Name::as_str), Some("d"), "{with}");
        let all = Skipped { foreign_keys: true, sequences: true, sequence_owners: true, views: true };
        assert_eq!(found.skipped, all, "{with}");
        assert!(found.schema_only && found.verify_backup_table_data && found.detached, "{with}");
    }
    let found =
        restore("RESTORE DATABASE a FROM LATEST IN 'c' WITH new_db_name = 'b', encryption_passphrase = 'p'");
    assert_eq!(found.new_db_name.as_ref().map(Name::as_str), Some("b"));
    assert_eq!(found.opened.passphrase.unwrap().expose(), "p");
}

#[test]
fn what_is_no_restore_is_told_without_what_it_says() {
    for (text, state) in [
        ("RESTORE", "42601"),
        ("RESTORE DATABASE a", "42601"),
        ("RESTORE DATABASE a FROM 's3://b?AWS_SECRET_ACCESS_KEY=sesame'", "0A000"),
        ("RESTORE TENANT 1 FROM LATEST IN 'c'", "0A000"),
        ("RESTORE FROM LATEST IN 'c' WITH sesame", "42601"),
        ("RESTORE FROM LATEST IN 'c' WITH detached, detached", "42601"),
        ("RESTORE FROM LATEST IN 'c' WITH verify_backup_table_data", "42601"),
        ("RESTORE FROM LATEST IN 'c' WITH encryption_passphrase 'sesame'", "42601"),
    ] {
        let error = parse(text).unwrap_err();
        assert_eq!(error.body.code.as_str(), state, "{text}");
        let is_word = text.ends_with("WITH sesame");
        assert!(is_word || !format!("{error:?}").contains("sesame"), "{text}: {error:?}");
    }
}
