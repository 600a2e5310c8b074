//! A backup of a whole cluster holds nothing secret in clear; encrypted it holds all of it.

use grantd_catalog::object::Body;
use grantd_catalog::record::Record;
use grantd_node::backup::cipher::Keys;
use grantd_node::backup::collection::Collection;
use grantd_node::backup::manifest::{Manifest, Targets, decompressed};
use grantd_node::backup::show;
use grantd_node::value::Datum;

use super::faults::all;
use super::stage::{Stage, files, open, passphrase};

const KEY: &str = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY12";

async fn cluster(stage: &Stage) {
    let uri = format!(
        "s3://bucket/path?AWS_ACCESS_KEY_ID=AKIAIOSFODNN7EXAMPLE&AWS_SECRET_ACCESS_KEY={KEY}&AWS_REGION=us-east-1"
    );
    for statement in [
        "CREATE USER anna WITH PASSWORD 'hunter2 and more'".to_owned(),
        "CREATE ROLE staff".to_owned(),
        "GRANT staff TO anna WITH ADMIN OPTION".to_owned(),
        format!("CREATE EXTERNAL CONNECTION vault AS '{uri}' WITH SKIP_CHECK"),
        "CREATE DATABASE shop".to_owned(),
        "CREATE TABLE shop.public.t (k INT8 PRIMARY KEY)".to_owned(),
        "INSERT INTO shop.public.t VALUES (1), (2)".to_owned(),
        "GRANT SELECT, INSERT ON TABLE shop.public.t TO staff".to_owned(),
        "GRANT UPDATE ON TABLE shop.public.t TO anna WITH GRANT OPTION".to_owned(),
        "GRANT SYSTEM VIEWACTIVITY TO anna".to_owned(),
        "ALTER DATABASE shop OWNER TO anna".to_owned(),
    ] {
        stage.run(&statement).await;
    }
}

/// Case 109.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_cluster_has_no_secret_in_clear() {
    let stage = Stage::new().await;
    cluster(&stage).await;
    let verifier = stage
        .handle
        .view()
        .state()
        .principals()
        .find_map(|(_, principal)| principal.password.clone())
        .unwrap();
    let targets = Targets { cluster: true, ..Targets::default() };
    for keys in [Keys::None, passphrase("correct horse")] {
        let is_encrypted = !matches!(keys, Keys::None);
        let directory = tempfile::tempdir().unwrap();
        let to = Collection::new(files(directory.path()).await, None);
        stage.write(&to, &stage.order(&targets, None, false).await, &keys).await;
        for file in all(directory.path()) {
            let bytes = std::fs::read(&file).unwrap();
            let plain = decompressed("", &bytes).unwrap_or_default();
            for secret in [KEY, "hunter2", verifier.expose(), "correct horse"] {
                let holds = |bytes: &[u8]| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!holds(&bytes) && !holds(&plain), "{}: {secret}", file.display());
            }
        }
        let backup = open(&to, None, &keys).await.unwrap();
        let (mut connections, mut users, mut omitted, mut kinds) = (0, 0, 0, Vec::new());
        backup
            .catalog(|line| {
                kinds.push(line.kind.clone());
                omitted += u32::from(line.secret_omitted);
                match line.decode("a file")?.1 {
                    Record::Object(object) => {
                        if let Body::ExternalConnection(connection) = &object.body {
                            connections += 1;
                            assert_eq!(connection.uri.expose().contains(KEY), is_encrypted);
                            assert!(connection.uri.expose().starts_with("s3://bucket/path?"));
                        }
                    }
                    Record::Principal(principal) if principal.name.to_string() == "anna" => {
                        users += 1;
                        assert_eq!(principal.password.is_some(), is_encrypted);
                    }
                    _ => {}
                }
                Ok(())
            })
            .await
            .unwrap();
        assert_eq!((connections, users, omitted), (1, 1, if is_encrypted { 0 } else { 2 }));
        for kind in ["membership", "system privileges", "database", "table", "user", "role"] {
            assert!(kinds.iter().any(|there| there == kind), "{kind}: {kinds:?}");
        }
        shows(&backup).await;
    }
}

/// C.9.
async fn shows(backup: &grantd_node::backup::read::Backup) {
    let options = show::Options { privileges: true, check_files: true, ..show::Options::default() };
    let shown = show::backup(backup, options, None).await.unwrap();
    let names: Vec<_> = shown.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "database_name",
            "parent_schema_name",
            "object_name",
            "object_type",
            "backup_type",
            "start_time",
            "end_time",
            "size_bytes",
            "rows",
            "is_full_cluster",
            "privileges",
            "owner",
            "file_bytes"
        ]
    );
    let text = |text: &str| Datum::Text(text.to_owned());
    let table = shown.rows.iter().find(|row| row[2] == text("t")).unwrap();
    assert_eq!(table[..5], [text("shop"), text("public"), text("t"), text("table"), text("full")]);
    assert_eq!(
        (&table[5], &table[7], &table[8], &table[9]),
        (&Datum::Null, &Datum::Int(16), &Datum::Int(2), &Datum::Bool(true))
    );
    let Datum::Text(grants) = &table[10] else { panic!("{table:?}") };
    for grant in [
        "GRANT INSERT, SELECT ON TABLE shop.public.t TO staff; ",
        "GRANT UPDATE ON TABLE shop.public.t TO anna WITH GRANT OPTION; ",
    ] {
        assert!(grants.contains(grant), "{grants}");
    }
    let database = shown.rows.iter().find(|row| row[2] == text("shop")).unwrap();
    assert_eq!((&database[0], &database[11]), (&Datum::Null, &text("anna")));
    let options = show::Options { debug_ids: true, ..show::Options::default() };
    let ids = show::backup(backup, options, None).await.unwrap();
    assert_eq!(ids.columns[1].name, "database_id");
    let json = show::backup(backup, show::Options { as_json: true, ..options }, None).await.unwrap();
    let Datum::Jsonb(manifest) = &json.rows[0][0] else { panic!("no JSON") };
    let manifest: Manifest = serde_json::from_str(manifest).unwrap();
    assert_eq!(manifest, backup.layers[0].manifest);
}
