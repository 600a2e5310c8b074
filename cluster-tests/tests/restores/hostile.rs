//! A backup that was written by somebody else: every checksum is right, and what it says is not to be believed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use grantd_catalog::object::{Body, Check, Expression, Object, Table};
use grantd_cluster_tests::cloud::wire::sha256;
use grantd_node::backup::manifest::{self, Manifest};

use crate::stage::{Cloud, Stage};

/// Makes another manifest of one that was written, with the sum that belongs to it.
fn rewrite(file: &Path, written: &[u8], change: impl Fn(&mut Table)) {
    let mut found = Manifest::parse("m", written).unwrap();
    for entry in &mut found.tables {
        let object = manifest::object("m", entry.shape.as_ref().unwrap()).unwrap();
        let mut object = Object::clone(&object);
        if let Body::Table(table) = &mut object.body {
            change(Arc::make_mut(table));
        }
        entry.shape = Some(manifest::shape(&Arc::new(object)).unwrap());
    }
    let bytes = found.to_bytes().unwrap();
    std::fs::write(file, &bytes).unwrap();
    let mut sum = PathBuf::from(file);
    sum.set_file_name("BACKUP_MANIFEST-CHECKSUM");
    std::fs::write(sum, sha256(&bytes)).unwrap();
}

fn default(sql: &str, stored: &str) -> impl Fn(&mut Table) {
    let made = Expression { sql: sql.to_owned(), stored: stored.to_owned(), references: Vec::new() };
    move |table| table.columns[1].default = Some(made.clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_wrote_into_a_backup_is_planned_checked_and_not_believed() {
    let cloud = Cloud::new().await;
    let stage = Stage::new(&cloud, 1).await;
    stage.run("CREATE DATABASE shop").await;
    stage.run("CREATE TABLE shop.public.t (k INT PRIMARY KEY, v INT DEFAULT 5)").await;
    stage.run("INSERT INTO shop.public.t VALUES (1, 1)").await;
    stage.run("CREATE TABLE mine (k INT PRIMARY KEY)").await;
    stage.run("CREATE SEQUENCE ours").await;
    let uri = cloud.uri("hostile");
    stage.run(&format!("BACKUP DATABASE shop INTO '{uri}'")).await;
    let file = cloud.files("hostile").into_iter().find(|file| file.ends_with("BACKUP_MANIFEST")).unwrap();
    let written = std::fs::read(&file).unwrap();
    let restore =
        |name: &str| format!("RESTORE DATABASE shop FROM LATEST IN '{uri}' WITH new_db_name = '{name}'");

    // What it says for the row store is never used.
    rewrite(&file, &written, default("7", "1)); DROP TABLE t104; CREATE TABLE x (k INT DEFAULT (1"));
    stage.run(&restore("planned")).await;
    stage.run("INSERT INTO planned.public.t (k) VALUES (2)").await;
    let values: Vec<_> = stage
        .run("SELECT v FROM planned.public.t ORDER BY k")
        .await
        .iter()
        .map(|row| row["v"].clone())
        .collect();
    assert_eq!(values, ["1", "7"]);
    stage.run("SELECT * FROM mine").await;

    // What it says in SQL is planned as a statement's text, and names nothing that is not in it.
    for (sql, why) in [
        ("nextval('defaultdb.public.ours')", "names what is not in it"),
        ("(SELECT max(k) FROM defaultdb.public.mine)", "the backup cannot be restored: t: "),
        ("1; DROP TABLE mine", "the backup cannot be restored: t: "),
        ("'no number'", "the backup cannot be restored: t: "),
        ("", "the backup cannot be restored: t: "),
    ] {
        rewrite(&file, &written, default(sql, "1"));
        let refused = stage.refused(&restore("believed")).await;
        assert!(refused.contains(why), "{sql}: {refused}");
        assert!(!stage.databases().await.contains(&"believed".to_owned()), "{sql}");
    }

    // Shapes that cannot be.
    type Change = fn(&mut Table);
    let changes: [Change; 4] = [
        |table| table.primary_key = vec![17],
        |table| table.columns.push(table.columns[0].clone()),
        |table| table.columns.clear(),
        |table| {
            let expression =
                Expression { sql: "k > 0 OR".to_owned(), stored: "1".to_owned(), references: Vec::new() };
            table.checks.push(Check { name: "c".into(), expression });
        },
    ];
    for (at, change) in changes.into_iter().enumerate() {
        rewrite(&file, &written, change);
        stage.refused(&restore("believed")).await;
        assert!(!stage.databases().await.contains(&"believed".to_owned()), "{at}");
    }
    let jobs = stage.run("SHOW JOBS").await;
    assert!(jobs.iter().all(|job| ["failed", "succeeded"].contains(&&*job["status"])), "{jobs:?}");
}

/// Somebody who may restore a cluster, and no more, brings a backup of a cluster of its own, in which eve is an admin and ada, an admin
/// here, has another password.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_admin_becomes_none_by_a_backup() {
    let cloud = Cloud::new().await;
    let elsewhere = Stage::new(&cloud, 1).await;
    for statement in [
        "CREATE USER eve",
        "CREATE USER ada WITH PASSWORD 'known to whoever made it' CREATEROLE",
        "GRANT admin TO eve, ada",
        "CREATE DATABASE shop",
        "CREATE TABLE shop.public.t (k INT PRIMARY KEY)",
    ] {
        elsewhere.run(statement).await;
    }
    let uri = cloud.uri("made-up");
    let with = "WITH encryption_passphrase = 'p'";
    elsewhere.run(&format!("BACKUP INTO '{uri}' {with}")).await;
    drop(elsewhere);

    for (by, comes) in [("eve", false), ("root", true)] {
        let stage = Stage::new(&cloud, 1).await;
        for statement in [
            "CREATE USER eve",
            "CREATE USER ada",
            "GRANT admin TO ada",
            "GRANT SYSTEM RESTORE, EXTERNALIOIMPLICITACCESS TO eve",
        ] {
            stage.run(statement).await;
        }
        stage.run(&format!("SET ROLE {by}")).await;
        stage.run(&format!("RESTORE FROM LATEST IN '{uri}' {with}")).await;
        stage.run("RESET ROLE").await;
        let users = stage.run("SHOW USERS").await;
        let shown = |name: &str| users.iter().find(|user| user["username"] == name).unwrap().clone();
        assert_eq!(shown("eve")["member_of"], if comes { "{admin}" } else { "{}" }, "{by}");
        let ada = shown("ada");
        assert_eq!((&*ada["member_of"], ada["options"].contains("CREATEROLE")), ("{admin}", comes), "{by}");
        assert!(stage.databases().await.contains(&"shop".to_owned()), "all else comes");
        assert_eq!(stage.run("SELECT k FROM shop.public.t").await.len(), 0);
    }
}
