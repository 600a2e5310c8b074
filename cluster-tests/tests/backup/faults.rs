//! What somebody does to the files of a backup: each of them is named, and nothing is read of it.

use std::path::{Path, PathBuf};

use grantd_cluster_tests::dice::Dice;
use grantd_node::backup::cipher::Keys;
use grantd_node::backup::collection::Collection;
use grantd_node::backup::write::write;
use grantd_node::backup::{BackupError, show};

use grantd_node::value::Datum;

use super::stage::{Root, Stage, contents, files, open, passphrase};

/// A full backup and a layer, of a table with rows in several files.
async fn written(stage: &Stage, root: &Path, keys: &Keys) -> Collection {
    stage.run("CREATE DATABASE IF NOT EXISTS shop; CREATE TABLE IF NOT EXISTS shop.public.t (k INT8 PRIMARY KEY, s TEXT)").await;
    stage.run("INSERT INTO shop.public.t SELECT n, repeat('x', 30) FROM generate_series(1, 50) AS g(n) ON CONFLICT DO NOTHING").await;
    let to = Collection::new(files(root).await, None);
    let targets = stage.database("shop");
    let full = stage.order(&targets, None, true).await;
    stage.write(&to, &full, keys).await;
    stage.run("UPDATE shop.public.t SET s = s || 'y' WHERE k < 20").await;
    let layer = stage.order(&targets, Some(&full.full), true).await;
    stage.write(&to, &layer, keys).await;
    to
}

async fn verified(stage: &Stage, to: &Collection, keys: &Keys) -> Result<(), BackupError> {
    let backup = open(to, None, keys).await?;
    backup.verify(&stage.root()).await.map(drop)
}

/// Every file below a directory.
pub fn all(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let entry = entry.unwrap().path();
        if entry.is_dir() { found.extend(all(&entry)) } else { found.push(entry) }
    }
    found.sort();
    found
}

/// What a reader needs: not locks and checkpoints.
fn needed(root: &Path) -> Vec<PathBuf> {
    let mut found = all(root);
    found.retain(|path| {
        let text = path.to_str().unwrap();
        !text.contains("BACKUP-LOCK") && !text.contains("/progress/") && !text.contains("metadata/latest")
    });
    found
}

/// Its name from the collection on.
fn relative(root: &Path, file: &Path) -> String {
    file.strip_prefix(root.join("backups")).unwrap().to_str().unwrap().to_owned()
}

fn names_it(error: &BackupError, root: &Path, file: &Path) -> bool {
    let name = relative(root, file);
    // The sum of a manifest says that one of the two is not what it was.
    error.to_string().contains(name.trim_end_matches("-CHECKSUM"))
}

async fn each_fault_is_found(keys: &Keys) {
    let stage = Stage::new().await;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let to = written(&stage, root, keys).await;
    verified(&stage, &to, keys).await.unwrap();
    let mut dice = Dice::new(7);
    let mut seen = 0;
    for file in needed(root) {
        let whole = std::fs::read(&file).unwrap();
        let is_sum = relative(root, &file).ends_with("-CHECKSUM");
        for fault in 0..6 {
            let mut bytes = whole.clone();
            let at = dice.below(bytes.len());
            match fault {
                0..=3 => bytes[at] ^= 1 << dice.below(8),
                4 => bytes.truncate(at),
                _ => bytes.push(0),
            }
            std::fs::write(&file, &bytes).unwrap();
            let error = verified(&stage, &to, keys).await.err();
            let error =
                error.unwrap_or_else(|| panic!("{} changed at {at} and nobody saw it", file.display()));
            // The cipher's own file: what is changed in it may make it another key.
            let is_key = file.ends_with("ENCRYPTION-INFO");
            assert!(is_key || names_it(&error, root, &file), "{}: {error}", file.display());
            seen += 1;
        }
        std::fs::remove_file(&file).unwrap();
        let error = verified(&stage, &to, keys).await.err();
        match error {
            Some(error) => assert!(
                file.ends_with("ENCRYPTION-INFO")
                    || names_it(&error, root, &file)
                    || error.to_string().contains("no full backup"),
                "{}: {error}",
                file.display()
            ),
            // A layer without its sum is not finished.
            None => assert!(
                is_sum && relative(root, &file).starts_with("incrementals"),
                "{} is gone",
                file.display()
            ),
        }
        std::fs::write(&file, &whole).unwrap();
    }
    let data: Vec<_> =
        needed(root).into_iter().filter(|file| file.to_str().unwrap().contains("/data/")).collect();
    for pair in data.windows(2) {
        let (first, second) = (std::fs::read(&pair[0]).unwrap(), std::fs::read(&pair[1]).unwrap());
        // The names are random, so neighbours may be equal files: of two tables with the same rows.
        if first == second {
            continue;
        }
        std::fs::write(&pair[0], &second).unwrap();
        std::fs::write(&pair[1], &first).unwrap();
        let error = verified(&stage, &to, keys).await.unwrap_err();
        assert!(pair.iter().any(|file| names_it(&error, root, file)), "{error}");
        std::fs::write(&pair[0], &first).unwrap();
        std::fs::write(&pair[1], &second).unwrap();
    }
    verified(&stage, &to, keys).await.unwrap();
    println!("{seen} changes of {} files", needed(root).len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_changed_in_a_backup_is_found_and_named() {
    each_fault_is_found(&Keys::None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_changed_in_an_encrypted_backup_is_found_and_named() {
    each_fault_is_found(&passphrase("correct horse")).await;
}

/// Cases 118 and 119, and the other way round.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encrypted_backup_says_that_it_is_and_takes_its_own_key_only() {
    let stage = Stage::new().await;
    let directory = tempfile::tempdir().unwrap();
    let to = written(&stage, directory.path(), &passphrase("correct horse")).await;
    let error = open(&to, None, &Keys::None).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        r#"file appears encrypted -- try specifying one of "encryption_passphrase" or "kms""#
    );
    let error = open(&to, None, &passphrase("battery staple")).await.err().unwrap();
    assert_eq!(error.to_string(), "failed to decrypt -- maybe incorrect key");
    let whole: Vec<u8> = all(directory.path()).iter().flat_map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!whole.windows(10).any(|bytes| bytes == b"xxxxxxxxxx"), "rows in clear");
    let plain = tempfile::tempdir().unwrap();
    let to = written(&stage, plain.path(), &Keys::None).await;
    let error = open(&to, None, &passphrase("correct horse")).await.err().unwrap();
    assert_eq!(error.to_string(), "encryption_passphrase or kms was given, and the backup is not encrypted");
}

/// Who goes on writes no file again that was noted, and leaves nothing of a folder that another job began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_goes_on_leaves_what_is_done_and_another_job_stays_out() {
    let stage = Stage::new().await;
    stage.run("CREATE DATABASE shop; CREATE TABLE shop.public.a (k INT8 PRIMARY KEY, s TEXT); CREATE TABLE shop.public.b (k INT8 PRIMARY KEY)").await;
    for half in 0..6 {
        let insert = "INSERT INTO shop.public.a SELECT n, repeat('x', 4000) FROM generate_series";
        stage.run(&format!("{insert}({}, {}) AS g(n)", half * 300 + 1, half * 300 + 300)).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let to = Collection::new(files(directory.path()).await, None);
    let order = stage.order(&stage.database("shop"), None, false).await;
    let stopped = write(&to, &order, &Keys::None, &stage.gate, &Root::stopped_after(&stage.gate, 5)).await;
    assert!(stopped.is_err());
    assert_eq!(to.fulls().await.unwrap(), Vec::<String>::new(), "half a backup is none");
    let data = || {
        let files = needed(directory.path()).into_iter();
        let is_data = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "parquet");
        files.filter(is_data).map(|file| relative(directory.path(), &file)).collect::<Vec<_>>()
    };
    let before = data();
    assert!(before.len() >= 2, "{before:?}");
    let other = grantd_node::backup::write::Order {
        job: "8".to_owned(),
        ..stage.order(&stage.database("shop"), None, false).await
    };
    let other = grantd_node::backup::write::Order { full: order.full.clone(), end: order.end, ..other };
    let error = write(&to, &other, &Keys::None, &stage.gate, &stage.root()).await.unwrap_err();
    assert!(error.to_string().ends_with("was begun by job 7"), "{error}");
    // Rows that come and go between are not of that time.
    stage.run("DELETE FROM shop.public.a WHERE k % 2 = 0; INSERT INTO shop.public.b VALUES (1)").await;
    let manifest = stage.write(&to, &order, &Keys::None).await;
    let used: Vec<_> = manifest
        .files
        .iter()
        .map(|file| format!("{}/{}", order.full, file.name))
        .filter(|name| before.contains(name))
        .collect();
    assert!(used.len() >= before.len() - 1 && !used.is_empty(), "{used:?} of {before:?}");
    assert_eq!(contents(&open(&to, None, &Keys::None).await.unwrap()).await[0].1.len(), 1_800);
    // Once more: it is there, and of another job it is refused.
    assert_eq!(stage.write(&to, &order, &Keys::None).await, manifest);
    let error = write(&to, &other, &Keys::None, &stage.gate, &stage.root()).await.unwrap_err();
    assert!(error.to_string().starts_with("A full backup already exists in /20"), "{error}");
    let shown = show::backups(&to).await.unwrap();
    assert_eq!(shown.rows, [[Datum::Text(format!("/{}", order.full))]]);
    let pointer = all(directory.path())
        .into_iter()
        .find(|file| file.to_str().unwrap().contains("metadata/latest"))
        .unwrap();
    std::fs::write(pointer, "nonsense").unwrap();
    assert_eq!(open(&to, None, &Keys::None).await.err().unwrap().to_string(), "malformed LATEST file");
}
