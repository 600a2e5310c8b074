//! Backups that work, of a cluster full of secrets, with keys in their URIs and with passphrases: what is in the bucket is searched
//! as it is, and what is compressed there also as a reader sees it.

use std::path::Path;

use grantd_cluster_tests::cloud::fault::{Fault, Service, Trouble};
use grantd_cluster_tests::cloud::token::random_hex;
use grantd_cluster_tests::process::until;
use grantd_node::backup::manifest::decompressed;

use super::{Stage, quoted};

/// Begins the names of what is compressed there.
const OPENED: &str = "a backup, opened: ";

/// Makes them. Returns the name of a decoy, and where it is to be found.
pub async fn backups(stage: &mut Stage) -> (String, &'static str) {
    let (decoy, text) = ("decoy of a backup".to_owned(), format!("decoy{}", random_hex(8)));
    stage.planted.secrets.insert(decoy.clone(), text.clone());
    assert!(stage.run(0, &format!("CREATE TABLE {text} (k INT PRIMARY KEY)")).await);
    // Whoever goes on with a job has nobody to ask: keys that its URI brings are in its record.
    let keys = stage.aws.secrets().iter().position(|secret| *secret == stage.keys.secret_access_key);
    let keys = keys.map(|at| format!("no. {at} of what the clouds gave out"));
    stage.planted.stored.extend(keys);

    let plain = stage.working("backups/plain");
    let sealed = stage.working("backups/sealed");
    let passphrase = stage.planted.password("the passphrase of a backup".to_owned());
    let wrong = stage.planted.password("a wrong passphrase of a backup".to_owned());
    let [passphrase, wrong] =
        [passphrase, wrong].map(|text| format!("WITH encryption_passphrase = {}", quoted(&text)));
    for (uri, with) in [(&plain, ""), (&sealed, passphrase.as_str())] {
        for upon in ["", "LATEST IN "] {
            let rows = stage.list(0, &format!("BACKUP INTO {upon}'{uri}' {with}")).await;
            assert!(rows.len() == 1 && rows[0][1] == "succeeded", "{rows:?}");
        }
        assert_eq!(stage.list(1, &format!("SHOW BACKUPS IN '{uri}'")).await.len(), 1);
        for what in ["privileges", "check_files", "as_json"] {
            let with = if with.is_empty() { format!("WITH {what}") } else { format!("{with}, {what}") };
            let rows = stage.list(1, &format!("SHOW BACKUP FROM LATEST IN '{uri}' {with}")).await;
            assert!(!rows.is_empty(), "{what}");
        }
    }
    for statement in [
        format!("SHOW BACKUP FROM LATEST IN '{sealed}'"),
        format!("SHOW BACKUP FROM LATEST IN '{sealed}' {wrong}"),
        format!("BACKUP INTO LATEST IN '{sealed}' {wrong}"),
        format!("BACKUP INTO LATEST IN '{plain}' {wrong}"),
    ] {
        assert!(!stage.run(2, &statement).await, "it is not the passphrase");
    }
    in_trouble(stage).await;
    let directory = stage.aws.bucket("first").join("backups/plain");
    opened(stage, &directory);
    (decoy, OPENED)
}

/// A job with keys in its URI that are denied for a while, and one that is cancelled then.
async fn in_trouble(stage: &mut Stage) {
    for (path, is_cancelled) in [("backups/waits", false), ("backups/cancelled", true)] {
        stage.aws.inject(Fault::s3(Trouble::Deny).of("PutObject"));
        let uri = stage.working(path);
        let made = stage.list(0, &format!("BACKUP INTO '{uri}' WITH detached")).await;
        let id = made.first().map(|row| row[0].clone()).expect("a job");
        until("it says what it waits for", async || {
            let rows = stage.list(1, &format!("SHOW JOB {id} WITH DETAILS")).await;
            rows.iter().flatten().any(|cell| cell.starts_with("waiting for credentials"))
        })
        .await;
        stage.list(2, "SHOW JOBS WITH DETAILS").await;
        stage.aws.heal(Service::S3);
        assert!(!is_cancelled || stage.run(0, &format!("CANCEL JOB {id}")).await);
        let status = if is_cancelled { "canceled" } else { "succeeded" };
        until(status, async || {
            let rows = stage.list(1, &format!("SHOW JOB {id}")).await;
            rows.iter().flatten().any(|cell| cell == status)
        })
        .await;
    }
}

/// What is compressed, as a reader has it.
fn opened(stage: &mut Stage, directory: &Path) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            opened(stage, &path);
        } else if let Ok(text) = decompressed("", &std::fs::read(&path).unwrap()) {
            stage.told.push((format!("{OPENED}{}", path.display()), text));
        }
    }
}
