//! RESTORE as statement and job, each node a process, from the strict double of AWS under a chain of two roles: what comes back, to
//! whom, and that all of it comes or nothing, whatever happens to the bucket, the job and the node.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "restores/disturbed.rs"]
mod disturbed;
#[path = "restores/hostile.rs"]
mod hostile;
#[allow(dead_code, reason = "other tests use the rest")]
#[path = "jobs/stage.rs"]
mod stage;

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use grantd_cluster_tests::dice::Dice;

use stage::{Cloud, Stage};

/// Something of everything that a catalog has.
const WORLD: &str = "
    CREATE USER amy WITH PASSWORD 'a very long password';
    CREATE USER ben WITH CREATEDB VALID UNTIL '2030-01-01';
    CREATE ROLE crew;
    GRANT crew TO amy WITH ADMIN OPTION;
    GRANT admin TO ben;
    GRANT SYSTEM VIEWACTIVITY, BACKUP TO crew;
    CREATE DATABASE shop;
    CREATE SCHEMA shop.hr;
    CREATE TYPE shop.public.mood AS ENUM ('low', 'high');
    ALTER TYPE shop.public.mood ADD VALUE 'middle' BEFORE 'high';
    CREATE SEQUENCE shop.public.s START 7;
    CREATE TABLE shop.public.item (
        k INT PRIMARY KEY,
        name TEXT NOT NULL DEFAULT 'none',
        number INT DEFAULT nextval('shop.public.s'),
        price DECIMAL(10,2) CHECK (price >= 0),
        twice DECIMAL(12,2) AS (price * 2) STORED,
        mood shop.public.mood DEFAULT 'middle',
        data JSONB, at TIMESTAMPTZ, day DATE, id UUID, raw BYTES, much FLOAT, is BOOL, gone INTERVAL,
        UNIQUE (name),
        INDEX by_lower (lower(name)),
        INDEX cheap (price) WHERE price < 10
    );
    CREATE TABLE shop.hr.sold (
        id INT GENERATED ALWAYS AS IDENTITY, item INT REFERENCES shop.public.item (k) ON DELETE CASCADE, v TEXT
    );
    CREATE VIEW shop.public.cheap AS SELECT k, name FROM shop.public.item WHERE price < 10;
    CREATE VIEW shop.hr.cheaper AS SELECT c.name, c.k + 1 AS n FROM shop.public.cheap AS c;
    CREATE FUNCTION shop.public.plus(a INT, b INT) RETURNS INT LANGUAGE SQL AS 'SELECT a + b';
    INSERT INTO shop.public.item (k, name, price, data, at, day, id, raw, much, is, gone) VALUES
        (1, 'one', 1.50, '{\"b\": [1, null], \"a\": \"ü\"}', '2026-11-22 18:12:39.05+00', '2026-11-22',
            '63616665-6630-3064-6465-616462656566', 'abc', 0.1, true, '1 day 2 hours'),
        (2, 'two', 22, NULL, NULL, NULL, NULL, NULL, 'infinity', false, NULL);
    INSERT INTO shop.public.item (k, name, mood) VALUES (3, 'it''s \"three\"', 'low');
    INSERT INTO shop.hr.sold (item, v) VALUES (1, 'x'), (2, NULL);
    COMMENT ON TABLE shop.public.item IS 'what there is';
    COMMENT ON COLUMN shop.public.item.name IS 'its name';
    ALTER DATABASE shop OWNER TO ben;
    GRANT CREATE, USAGE ON SCHEMA shop.hr TO crew;
    ALTER TABLE shop.hr.sold OWNER TO crew;
    GRANT SELECT, INSERT ON TABLE shop.public.item TO amy WITH GRANT OPTION;
    GRANT SELECT ON TABLE shop.public.cheap TO crew;
    GRANT USAGE ON SEQUENCE shop.public.s TO amy;
    REVOKE CONNECT ON DATABASE shop FROM public;
    ALTER ROLE amy SET application_name = 'mine';
    CREATE EXTERNAL CONNECTION kept AS 'nodelocal://1/somewhere' WITH SKIP_CHECK;
    GRANT USAGE ON EXTERNAL CONNECTION kept TO amy;
    SET CLUSTER SETTING server.user_login.min_password_length = 9;
";

/// What a client sees of all that.
const SEEN: &[&str] = &[
    "SHOW DATABASES",
    "SHOW USERS",
    "SHOW GRANTS ON ROLE",
    "SHOW SYSTEM GRANTS",
    "SHOW GRANTS ON DATABASE shop",
    "SHOW GRANTS ON SCHEMA shop.hr, shop.public",
    "SHOW GRANTS ON TABLE shop.public.*, shop.hr.*",
    "SHOW GRANTS ON TYPE shop.public.mood",
    "SHOW GRANTS ON EXTERNAL CONNECTION kept",
    "SHOW CREATE TABLE shop.public.item",
    "SHOW CREATE TABLE shop.hr.sold",
    "SHOW CREATE VIEW shop.public.cheap",
    "SHOW CREATE VIEW shop.hr.cheaper",
    "SHOW CREATE SEQUENCE shop.public.s",
    "SHOW CREATE EXTERNAL CONNECTION kept",
    "SELECT * FROM shop.public.item ORDER BY k",
    "SELECT * FROM shop.hr.sold ORDER BY id",
    "SELECT * FROM shop.hr.cheaper ORDER BY n",
    "SELECT shop.public.plus(1, 2) AS three",
    "SELECT last_value FROM shop.public.s",
    "SHOW CLUSTER SETTING server.user_login.min_password_length",
];

/// The statements of a text.
async fn run_all(stage: &Stage, text: &str) {
    let mut wrong = Vec::new();
    for statement in text.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
        if let Err(error) = stage::rows_of(&stage.client, statement).await {
            wrong.push(format!("{statement}: {error}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is seen.
async fn seen(stage: &Stage, statements: &[&str]) -> Vec<(String, Vec<String>)> {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    for statement in statements {
        match stage::rows_of(&stage.client, statement).await {
            Ok(rows) => {
                let rows = rows.iter().map(|row| format!("{row:?}")).collect();
                found.push(((*statement).to_owned(), rows));
            }
            Err(error) => wrong.push(format!("{statement}: {error}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    found
}

/// Case 125; and what comes is what was: rows and grants, owners, users with their passwords, settings.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_comes_back_as_it_was_where_there_is_nothing() {
    let cloud = Cloud::new().await;
    let uri = cloud.uri("all");
    let with = "WITH encryption_passphrase = 'correct-horse-battery'";
    let before = {
        let stage = Stage::new(&cloud, 1).await;
        run_all(&stage, WORLD).await;
        stage.run(&format!("BACKUP INTO '{uri}' {with}")).await;
        let refused = stage.refused(&format!("RESTORE FROM LATEST IN '{uri}' {with}")).await;
        assert!(
            refused.contains(
                "full cluster restore can only be run on a cluster with no tables or databases but found 1 descriptors: [shop]"
            ),
            "{refused}"
        );
        seen(&stage, SEEN).await
    };
    let mut stage = Stage::new(&cloud, 3).await;
    let told = stage.run(&format!("RESTORE FROM LATEST IN '{uri}' {with}")).await.remove(0);
    assert_eq!((&*told["status"], &*told["fraction_completed"]), ("succeeded", "1"));
    let after = seen(&stage, SEEN).await;
    for (was, is) in before.iter().zip(&after) {
        assert_eq!(was, is);
    }
    // What is new goes on behind what there was, and rules hold.
    stage.run("INSERT INTO shop.public.item (k, name, price) VALUES (4, 'four', 4)").await;
    let next = stage.run("SELECT number FROM shop.public.item WHERE k = 4").await;
    assert_eq!(next[0]["number"], "10");
    let taken = stage.refused("INSERT INTO shop.public.item (k, name) VALUES (5, 'four')").await;
    assert!(taken.starts_with("23505"), "{taken}");
    let lost = stage.refused("INSERT INTO shop.hr.sold (item) VALUES (99)").await;
    assert!(lost.starts_with("23503"), "{lost}");
    let low = stage.refused("INSERT INTO shop.public.item (k, name, price) VALUES (6, 'x', -1)").await;
    assert!(low.starts_with("23514"), "{low}");
    stage.run("SET ROLE amy").await;
    stage.run("SELECT k FROM shop.public.item").await;
    let no = stage.refused("SELECT v FROM shop.hr.sold; DROP TABLE shop.public.item").await;
    assert!(no.starts_with("42501"), "{no}");
    stage.run("RESET ROLE").await;
    stage.cluster.converged_checksum().await;
    // A replica that starts again has the same.
    stage.cluster.node(3).kill();
    stage.cluster.node(3).start();
    stage.cluster.until_all_caught_up().await;
    stage.cluster.converged_checksum().await;
    users_come_alone(&cloud, &format!("RESTORE SYSTEM USERS FROM LATEST IN '{uri}' {with}")).await;
}

/// Those that are not there, with what they are members of; who is there stays as they are.
async fn users_come_alone(cloud: &Cloud, restore: &str) {
    let stage = Stage::new(cloud, 1).await;
    stage.run("CREATE USER amy WITH CREATEDB").await;
    stage.run("CREATE USER eve").await;
    stage.run("GRANT SYSTEM RESTORE, EXTERNALIOIMPLICITACCESS TO eve").await;
    stage.run("SET ROLE eve").await;
    let refused = stage.refused(restore).await;
    assert!(
        refused.contains("RESTORE SYSTEM USERS brings"),
        "no options and no admins by who is none: {refused}"
    );
    stage.run("RESET ROLE").await;
    stage.run(restore).await;
    let users = stage.run("SHOW USERS").await;
    let shown = |name: &str| {
        let user = users.iter().find(|user| user["username"] == name);
        user.map(|user| (user["options"].clone(), user["member_of"].clone()))
    };
    assert_eq!(shown("ben").map(|(_, roles)| roles), Some("{admin}".to_owned()));
    assert!(shown("ben").unwrap().0.contains("CREATEDB"));
    assert_eq!(shown("amy"), Some(("CREATEDB".to_owned(), "{}".to_owned())), "she was there");
    assert!(shown("crew").is_some());
    assert!(stage.databases().await.iter().all(|database| database != "shop"));
}

/// Cases 118, 119, 122, 124, 128; B.7.4; C.8.1.
#[tokio::test(flavor = "multi_thread")]
async fn databases_and_tables_come_back_to_who_restores_them() {
    let cloud = Cloud::new().await;
    let stage = Stage::new(&cloud, 1).await;
    run_all(&stage, WORLD).await;
    let uri = cloud.uri("shop");
    stage.run(&format!("BACKUP DATABASE shop INTO '{uri}'")).await;
    a_database_under_another_name(&stage, &uri).await;
    tables_into_another_database(&stage, &uri).await;
    what_is_wrong_is_told(&cloud, &stage, &uri).await;
    who_may_not_is_told(&stage, &uri).await;
    what_is_encrypted_needs_its_key(&cloud, &stage).await;
    a_restore_begins_when_its_transaction_commits(&stage, &uri).await;
    objects_without_rows(&stage, &uri).await;
}

async fn a_database_under_another_name(stage: &Stage, uri: &str) {
    let taken = stage.refused(&format!("RESTORE DATABASE shop FROM LATEST IN '{uri}'")).await;
    assert_eq!(taken, "42P04 database \"shop\" already exists");
    let told = stage
        .run(&format!("RESTORE DATABASE shop FROM LATEST IN '{uri}' WITH new_db_name = 'back'"))
        .await
        .remove(0);
    // Three items, two sold, one row of each of two sequences.
    assert_eq!((&*told["status"], &*told["rows"], &*told["index_entries"]), ("succeeded", "7", "0"));
    for table in ["public.item", "hr.sold", "hr.cheaper"] {
        let of = |database: &str| format!("SELECT * FROM {database}.{table} ORDER BY 1");
        assert_eq!(stage.lines(&of("back")).await, stage.lines(&of("shop")).await, "{table}");
    }
    let grants = stage.run("SHOW GRANTS ON TABLE back.public.item").await;
    assert!(grants.iter().all(|row| row["grantee"] != "amy"), "no grant travels: {grants:?}");
    let view = stage.run("SHOW CREATE VIEW back.hr.cheaper").await;
    assert!(!format!("{view:?}").contains("shop"), "{view:?}");
    stage.run("INSERT INTO back.public.item (k, name) VALUES (9, 'nine')").await;
    let number = stage.run("SELECT number, mood FROM back.public.item WHERE k = 9").await;
    assert_eq!((&*number[0]["number"], &*number[0]["mood"]), ("10", "middle"));
    assert_eq!(stage.run("SELECT last_value FROM shop.public.s").await[0]["last_value"], "9");
    stage.run("DROP DATABASE back CASCADE").await;
}

/// 124; and what is left out only where the statement says so.
async fn tables_into_another_database(stage: &Stage, uri: &str) {
    stage.run("CREATE DATABASE other").await;
    let restore = |what: &str, with: &str| {
        format!("RESTORE TABLE {what} FROM LATEST IN '{uri}' WITH into_db = 'other'{with}")
    };
    stage
        .refuses(&[
            (
                restore("shop.hr.sold", ""),
                "55000 cannot restore table \"sold\" without referenced table",
            ),
            (
                restore("shop.public.cheap", ""),
                "55000 cannot restore view \"cheap\" without restoring referenced table",
            ),
            (
                restore("shop.public.nothing", ""),
                "22023 failed to resolve targets in the BACKUP location specified by the RESTORE statement, use SHOW BACKUP to \
                 find correct targets",
            ),
            (
                format!("RESTORE TABLE shop.public.item FROM LATEST IN '{uri}' WITH into_db = 'nowhere'"),
                "3D000 a database named \"nowhere\" needs to exist to restore tables into it",
            ),
        ])
        .await;
    // 124: what new tables get there.
    stage.run("ALTER DEFAULT PRIVILEGES GRANT UPDATE ON TABLES TO amy").await;
    stage.run("USE other").await;
    stage.run("ALTER DEFAULT PRIVILEGES FOR ROLE root GRANT DELETE ON TABLES TO amy").await;
    stage.run("USE defaultdb").await;
    stage.run(&restore("shop.public.item", "")).await;
    let grants = stage.run("SHOW GRANTS ON TABLE other.public.item FOR amy").await;
    let kinds: Vec<_> = grants.iter().map(|row| &*row["privilege_type"]).collect();
    assert_eq!(kinds, ["DELETE"]);
    let of = |database: &str| format!("SELECT * FROM {database}.public.item ORDER BY k");
    assert_eq!(stage.lines(&of("other")).await, stage.lines(&of("shop")).await);
    let taken = stage.refused(&restore("shop.public.item", "")).await;
    assert_eq!(taken, "42P07 relation \"other.public.s\" already exists");
    // The type that is there already is taken.
    stage.run("DROP TABLE other.public.item").await;
    stage.run("DROP SEQUENCE other.public.s").await;
    stage.run(&restore("shop.public.*, shop.hr.*", ", skip_missing_views")).await;
    assert_eq!(stage.run("SELECT * FROM other.hr.cheaper").await.len(), 1);
    stage.run("DROP DATABASE other CASCADE").await;
    stage.run("CREATE DATABASE other").await;
    stage.run("CREATE TYPE other.public.mood AS ENUM ('good', 'bad')").await;
    let other = stage.refused(&restore("shop.public.item", "")).await;
    assert_eq!(other, "42804 \"mood\" is not compatible with type \"mood\" existing in cluster");
    stage.run(&restore("shop.hr.sold", ", skip_missing_foreign_keys")).await;
    stage.run("INSERT INTO other.hr.sold (item) VALUES (99)").await;
    stage.run("DROP DATABASE other CASCADE").await;
}

/// The texts of the specification.
async fn what_is_wrong_is_told(cloud: &Cloud, stage: &Stage, uri: &str) {
    let nowhere = cloud.uri("nothing");
    stage
        .refuses(&[
            (format!("RESTORE FROM LATEST IN '{uri}'"), "22023 full cluster RESTORE can only be used on full cluster BACKUP files"),
            (format!("RESTORE SYSTEM USERS FROM LATEST IN '{uri}'"), "22023 full cluster RESTORE can only"),
            (
                format!("RESTORE DATABASE shop FROM LATEST IN '{nowhere}'"),
                "58P01 path does not contain a completed latest backup",
            ),
            (format!("RESTORE DATABASE shop FROM '2000/01/01-000000.00' IN '{uri}'"), "58P01 no full backup exists in"),
            (
                format!("RESTORE DATABASE shop FROM LATEST IN '{uri}' WITH verify_backup_table_data"),
                "42601 verify_backup_table_data must be specified with schema_only option",
            ),
            (
                format!("RESTORE DATABASE shop FROM LATEST IN '{uri}' WITH into_db = 'x'"),
                "22023 into_db can only be used for table restores",
            ),
            (
                format!("RESTORE TABLE shop.public.item FROM LATEST IN '{uri}' WITH new_db_name = 'x'"),
                "22023 new_db_name can only be used for RESTORE DATABASE with a single target database",
            ),
            // 122: the full one can be restored at its end only.
            (
                format!("RESTORE DATABASE shop FROM LATEST IN '{uri}' AS OF SYSTEM TIME '-1h' WITH new_db_name = 'x'"),
                "22023 supplied backups do not cover requested time",
            ),
            (format!("RESTORE DATABASE shop FROM '{uri}'"), "0A000 RESTORE … FROM 'uri' is not supported"),
        ])
        .await;
    assert_eq!(stage.databases().await, ["defaultdb", "shop", "system"]);
}

/// B.7.4, B.7.1.
async fn who_may_not_is_told(stage: &Stage, uri: &str) {
    stage.run("SET CLUSTER SETTING feature.restore.enabled = false").await;
    assert_eq!(
        stage
            .refused(&format!("RESTORE DATABASE shop FROM LATEST IN '{uri}' WITH new_db_name = 'off'"))
            .await,
        "57000 feature RESTORE was disabled by the database administrator"
    );
    stage.run("RESET CLUSTER SETTING feature.restore.enabled").await;
    stage.run("CREATE USER zoe").await;
    stage.run("CREATE DATABASE hers").await;
    stage.run("SET ROLE zoe").await;
    let table = format!("RESTORE TABLE shop.public.item FROM LATEST IN '{uri}' WITH into_db = 'hers'");
    stage
        .refuses(&[
            (
                format!("RESTORE FROM LATEST IN '{uri}'"),
                "42501 only users with the admin role or the RESTORE system privilege are allowed to perform a cluster restore",
            ),
            (
                format!("RESTORE DATABASE shop FROM LATEST IN '{uri}' WITH new_db_name = 'b'"),
                "42501 only users with the CREATEDB privilege can restore databases",
            ),
            (
                table.clone(),
                "42501 only users with the admin role or the EXTERNALIOIMPLICITACCESS system privilege are allowed to access \
                 the specified s3 URI",
            ),
        ])
        .await;
    stage.run("RESET ROLE").await;
    stage.run("GRANT SYSTEM EXTERNALIOIMPLICITACCESS TO zoe").await;
    stage.run("SET ROLE zoe").await;
    assert_eq!(
        stage.refused(&table).await,
        "42501 user zoe does not have RESTORE privilege on database hers"
    );
    stage.run("RESET ROLE").await;
    stage.run("GRANT RESTORE ON DATABASE hers TO zoe").await;
    stage.run("SET ROLE zoe").await;
    stage.run(&table).await;
    let item = stage.run("SHOW TABLES FROM hers").await;
    assert_eq!((&*item[0]["table_name"], &*item[0]["owner"]), ("item", "zoe"));
    stage.run("RESET ROLE").await;
    stage.run("DROP DATABASE hers CASCADE").await;
}

/// 118, 119: and nothing of a wrong try is there.
async fn what_is_encrypted_needs_its_key(cloud: &Cloud, stage: &Stage) {
    let uri = cloud.uri("locked");
    stage
        .run(&format!("BACKUP DATABASE shop INTO '{uri}' WITH encryption_passphrase = 'secret-of-the-shop'"))
        .await;
    let restore = format!("RESTORE DATABASE shop FROM LATEST IN '{uri}' WITH new_db_name = 'unlocked'");
    stage
        .refuses(&[
            (
                restore.clone(),
                r#"22023 file appears encrypted -- try specifying one of "encryption_passphrase" or "kms""#,
            ),
            (
                format!("{restore}, encryption_passphrase = 'another'"),
                "22023 failed to decrypt -- maybe incorrect key",
            ),
        ])
        .await;
    let before = stage.databases().await;
    assert!(!before.contains(&"unlocked".to_owned()));
    stage.run(&format!("{restore}, encryption_passphrase = 'secret-of-the-shop'")).await;
    assert_eq!(stage.run("SELECT * FROM unlocked.public.item").await.len(), 3);
    let jobs = stage.run("SHOW JOBS WITH DETAILS").await;
    assert!(!format!("{jobs:?}").contains("secret-of-the-shop"));
    stage.run("DROP DATABASE unlocked CASCADE").await;
}

/// 115 and 116, for RESTORE.
async fn a_restore_begins_when_its_transaction_commits(stage: &Stage, uri: &str) {
    let restore = format!("RESTORE DATABASE shop FROM LATEST IN '{uri}' WITH new_db_name = 'later'");
    stage.run("BEGIN").await;
    assert_eq!(
        stage.refused(&restore).await,
        "25001 RESTORE cannot be used inside a multi-statement transaction without DETACHED option"
    );
    stage.run("ROLLBACK").await;
    stage.run("BEGIN").await;
    let told = stage.run(&format!("{restore}, detached")).await.remove(0);
    assert_eq!(told.keys().collect::<Vec<_>>(), ["job_id"]);
    stage.run("COMMIT").await;
    stage.until_status(&told["job_id"], &["succeeded"]).await;
    let shown = stage.job(&told["job_id"]).await;
    assert_eq!(shown["job_type"], "RESTORE");
    assert!(shown["description"].starts_with("RESTORE DATABASE shop FROM '/"), "{shown:?}");
    assert_eq!(stage.run("SELECT * FROM later.public.item").await.len(), 3);
    stage.run("DROP DATABASE later CASCADE").await;
}

/// 128.
async fn objects_without_rows(stage: &Stage, uri: &str) {
    let restore = |with: &str| {
        format!("RESTORE DATABASE shop FROM LATEST IN '{uri}' WITH new_db_name = 'bare', {with}")
    };
    for with in ["schema_only", "schema_only, verify_backup_table_data"] {
        let told = stage.run(&restore(with)).await.remove(0);
        assert_eq!(told["rows"], "0");
        assert_eq!(stage.run("SELECT * FROM bare.public.item").await.len(), 0);
        stage.run("INSERT INTO bare.public.item (k, name) VALUES (1, 'one')").await;
        stage.run("DROP DATABASE bare CASCADE").await;
    }
    let told = stage.run(&restore("verify_only")).await.remove(0);
    assert_eq!(told["status"], "succeeded");
    assert!(!stage.databases().await.contains(&"bare".to_owned()), "nothing was made");
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos()).unwrap()
}

/// Case 122. A full and five incremental ones, restored to twenty instants: at each the rows are those that a recorded history says.
#[tokio::test(flavor = "multi_thread")]
async fn any_instant_of_a_chain_comes_back() {
    let cloud = Cloud::new().await;
    let stage = Stage::new(&cloud, 1).await;
    let uri = cloud.uri("chain");
    let mut dice = Dice::new(20_221_213);
    stage.run("CREATE DATABASE shop").await;
    stage.run("CREATE TABLE shop.public.t (k INT PRIMARY KEY, v TEXT, n INT DEFAULT 5)").await;
    let mut moments: Vec<(u64, Vec<String>)> = Vec::new();
    for layer in 0..6 {
        for _ in 0..12 {
            let (k, v) = (dice.below(20), dice.below(1_000));
            let statement = match dice.below(4) {
                0 => format!("DELETE FROM shop.public.t WHERE k = {k}"),
                1 => format!("UPDATE shop.public.t SET v = 'u{v}', n = n + 1 WHERE k < {k}"),
                _ => format!("UPSERT INTO shop.public.t (k, v) VALUES ({k}, 'v{v}')"),
            };
            stage.run(&statement).await;
            if layer == 3 && v < 100 {
                stage.run(&format!("ALTER TABLE shop.public.t ADD COLUMN c{v} INT DEFAULT {v}")).await;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
            moments.push((now(), stage.lines("SELECT * FROM shop.public.t ORDER BY k").await));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let into = if layer == 0 { "" } else { "LATEST IN " };
        stage.run(&format!("BACKUP DATABASE shop INTO {into}'{uri}' WITH revision_history")).await;
    }
    // The full one has no history of its own.
    let covered = moments.split_off(12);
    for at in 0..20 {
        let (nanos, rows) = &covered[dice.below(covered.len())];
        let as_of = format!("AS OF SYSTEM TIME {nanos}.0000000000");
        let with = format!("WITH new_db_name = 'at{at}'");
        stage.run(&format!("RESTORE DATABASE shop FROM LATEST IN '{uri}' {as_of} {with}")).await;
        let found = stage.lines(&format!("SELECT * FROM at{at}.public.t ORDER BY k")).await;
        assert_eq!(&found, rows, "at {nanos}");
        stage.run(&format!("DROP DATABASE at{at} CASCADE")).await;
    }
    // 122.
    let early = moments[0].0;
    let refused = stage
        .refused(&format!(
            "RESTORE DATABASE shop FROM LATEST IN '{uri}' AS OF SYSTEM TIME {early}.0000000000 WITH new_db_name = 'x'"
        ))
        .await;
    assert_eq!(refused, "22023 supplied backups do not cover requested time");
}

/// Each file of a backup, changed, missing, or another one under its name, is named, and nothing comes.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_named_by_its_file_and_nothing_comes() {
    let cloud = Cloud::new().await;
    let stage = Stage::new(&cloud, 1).await;
    stage.run("CREATE DATABASE shop").await;
    for table in ["a", "b"] {
        stage.run(&format!("CREATE TABLE shop.public.{table} (k INT PRIMARY KEY, v TEXT)")).await;
        stage.run(&format!("INSERT INTO shop.public.{table} VALUES (1, '{table}')")).await;
    }
    let uri = cloud.uri("hurt");
    stage.run(&format!("BACKUP DATABASE shop INTO '{uri}' WITH revision_history")).await;
    stage.run("UPDATE shop.public.a SET v = 'changed'").await;
    stage.run(&format!("BACKUP DATABASE shop INTO LATEST IN '{uri}' WITH revision_history")).await;
    let restore = format!("RESTORE DATABASE shop FROM LATEST IN '{uri}' WITH new_db_name = 'back'");
    let is_read = |file: &&std::path::PathBuf| {
        let name = file.to_str().unwrap();
        !name.contains("BACKUP-LOCK")
            && !name.contains("progress/")
            && !name.contains("metadata/")
            && !name.ends_with(".json")
    };
    let files: Vec<_> = cloud.files("hurt").iter().filter(is_read).cloned().collect();
    assert!(files.len() >= 9, "two layers, each a manifest, its sum, a catalog and data: {files:?}");
    let is_told = async |file: &Path, how: &str| {
        let told = stage.refused(&restore).await;
        let name = file.file_name().unwrap().to_str().unwrap().trim_end_matches("-CHECKSUM");
        // Without its sum a layer is not finished: then the one before is the last, or there is none.
        assert!(told.contains(name) || told.contains("no full backup exists"), "{how} {file:?}: {told}");
        assert!(!stage.databases().await.contains(&"back".to_owned()), "{how} {file:?}");
    };
    for (at, file) in files.iter().enumerate() {
        let whole = std::fs::read(file).unwrap();
        let mut hurt = whole.clone();
        let middle = hurt.len() / 2;
        hurt[middle] ^= 1;
        std::fs::write(file, &hurt).unwrap();
        is_told(file, "changed").await;
        std::fs::write(file, &whole[..whole.len() - 1]).unwrap();
        is_told(file, "shorter").await;
        std::fs::write(file, &whole).unwrap();
        let is_end_of_last =
            file.ends_with("BACKUP_MANIFEST-CHECKSUM") && file.to_str().unwrap().contains("incrementals");
        if !is_end_of_last {
            std::fs::remove_file(file).unwrap();
            is_told(file, "missing").await;
            std::fs::write(file, &whole).unwrap();
        }
        // Another file of the same kind under its name.
        let kind = |file: &Path| file.extension().map(std::ffi::OsStr::to_owned);
        let name = |file: &Path| file.file_name().map(std::ffi::OsStr::to_owned);
        let other = files.iter().enumerate().find(|(other, path)| {
            let same = if file.to_str().unwrap().contains("/data/") {
                kind(path) == kind(file)
            } else {
                name(path) == name(file)
            };
            *other != at && same && std::fs::read(path).unwrap() != whole
        });
        if let Some((_, other)) = other {
            std::fs::copy(other, file).unwrap();
            is_told(file, "swapped").await;
            std::fs::write(file, &whole).unwrap();
        }
    }
    stage.run(&restore).await;
    assert_eq!(stage.run("SELECT v FROM back.public.a").await[0]["v"], "changed");
}
