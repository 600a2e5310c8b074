//! What somebody does to the files of a backup is told by SHOW BACKUP … WITH check_files, which names each.

use std::path::{Path, PathBuf};

use super::{all, three_nodes};

/// What a restore reads, relative to the collection: not locks, checkpoints and pointers.
fn needed(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    all(root, &mut found);
    found.retain(|file| {
        let text = file.to_str().unwrap();
        !["BACKUP-LOCK", "/progress/", "metadata/latest"].iter().any(|part| text.contains(part))
    });
    found.sort();
    found
}

fn name(root: &Path, file: &Path) -> String {
    file.strip_prefix(root).unwrap().to_str().unwrap().to_owned()
}

fn swap(one: &Path, other: &Path) {
    let (first, second) = (std::fs::read(one).unwrap(), std::fs::read(other).unwrap());
    std::fs::write(one, second).unwrap();
    std::fs::write(other, first).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_that_is_missing_damaged_or_swapped_is_named() {
    let stage = three_nodes().await;
    stage.run("CREATE DATABASE shop").await;
    for table in ["a", "b"] {
        stage.run(&format!("CREATE TABLE shop.public.{table} (k INT PRIMARY KEY, v TEXT)")).await;
        stage.run(&format!("INSERT INTO shop.public.{table} VALUES (1, '{table}'), (2, 'two')")).await;
    }
    let uri = stage.uri("damaged");
    let root = stage.cloud.aws.bucket(super::BUCKET).join("damaged");
    stage.run(&format!("BACKUP DATABASE shop INTO '{uri}'")).await;
    stage.run("UPDATE shop.public.a SET v = 'zwei' WHERE k = 2").await;
    stage.run("DELETE FROM shop.public.b WHERE k = 1").await;
    stage.run(&format!("BACKUP DATABASE shop INTO LATEST IN '{uri}'")).await;
    let check = format!("SHOW BACKUP FROM LATEST IN '{uri}' WITH check_files");
    let whole = stage.run(&check).await;
    let files = needed(&root);
    assert!(files.len() >= 10, "a layer has two manifests, a catalog and two files of data: {files:?}");
    let (mut faults, mut unseen) = (0, Vec::new());
    for file in &files {
        let (name, bytes) = (name(&root, file), std::fs::read(file).unwrap());
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        for damaged in [Some(changed), Some(bytes[..bytes.len() / 2].to_vec()), None] {
            match &damaged {
                Some(damaged) => std::fs::write(file, damaged).unwrap(),
                None => std::fs::remove_file(file).unwrap(),
            }
            faults += 1;
            match super::rows_of(&stage.client, &check).await {
                // The sum of a manifest is told with the manifest.
                Err(told) => assert!(
                    told.contains(name.trim_end_matches("-CHECKSUM")) || told.contains("no full backup"),
                    "{name}: {told}"
                ),
                Ok(rows) => unseen.push((name.clone(), damaged.is_none(), rows.len())),
            }
        }
        std::fs::write(file, &bytes).unwrap();
    }
    // A layer without its sum was never finished, as far as anybody can tell: it is not there. That of the full is told.
    let [(sum, true, shown)] = unseen.as_slice() else { panic!("not seen: {unseen:?}") };
    assert!(sum.starts_with("incrementals/") && sum.ends_with("-CHECKSUM"), "{sum}");
    assert!(*shown < whole.len(), "a layer less is shown");

    let data: Vec<_> = files.iter().filter(|file| name(&root, file).contains("/data/")).collect();
    // The catalogs of both layers say the same.
    let differ = |pair: &&[&PathBuf]| std::fs::read(pair[0]).unwrap() != std::fs::read(pair[1]).unwrap();
    for pair in data.windows(2).filter(differ) {
        swap(pair[0], pair[1]);
        let told = stage.refused(&check).await;
        assert!(pair.iter().all(|file| told.contains(&name(&root, file))), "both are named: {told}");
        swap(pair[0], pair[1]);
        faults += 1;
    }
    // With their sums: each is right by itself.
    let manifests: Vec<_> = files.iter().filter(|file| file.ends_with("BACKUP_MANIFEST")).collect();
    let [full, layer] = manifests.as_slice() else { panic!("{manifests:?}") };
    for ending in ["", "-CHECKSUM"] {
        let of = |file: &Path| PathBuf::from(format!("{}{ending}", file.display()));
        swap(&of(full), &of(layer));
    }
    let told = stage.refused(&check).await;
    assert!(told.contains("BACKUP_MANIFEST is damaged: it is that of another layer"), "{told}");
    for ending in ["", "-CHECKSUM"] {
        let of = |file: &Path| PathBuf::from(format!("{}{ending}", file.display()));
        swap(&of(full), &of(layer));
    }
    assert_eq!(stage.run(&check).await, whole);
    println!("{} faults of {} files", faults + 1, files.len());
}
