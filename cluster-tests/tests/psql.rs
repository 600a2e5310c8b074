//! psql's own meta-commands against a real node: what they print is compared with what is in `psql/commands.txt`.
//!
//! The file is prose (`# …`) and commands (`> …`) with what psql prints. `UPDATE_PSQL=1 cargo test -p
//! grantd-cluster-tests --test psql` writes what it prints now. What psql asks depends on its release, so another one
//! than that of the file is not compared.

#![allow(missing_docs, clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;

use grantd_cluster_tests::process::Cluster;

/// The release of psql that the file was written with.
const RELEASE: &str = "psql (PostgreSQL) 15.";

const SETUP: &str = "
    CREATE USER amy; CREATE ROLE dev; GRANT dev TO amy WITH ADMIN OPTION; CREATE USER ben CREATEDB;
    GRANT dev, ben TO root;
    CREATE DATABASE app; COMMENT ON DATABASE app IS 'the application';
    CREATE SCHEMA s; CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE TABLE t (k INT PRIMARY KEY, v TEXT NOT NULL DEFAULT 'x', n VARCHAR(10), m mood, UNIQUE (v, n), CHECK (k > 0));
    CREATE TABLE s.u (a UUID, b BOOL, c TIMESTAMPTZ);
    CREATE VIEW vw AS SELECT k, v FROM t; CREATE SEQUENCE sq START 5 INCREMENT 2;
    CREATE FUNCTION f(a INT, b TEXT) RETURNS INT LANGUAGE SQL AS 'SELECT a';
    COMMENT ON TABLE t IS 'a table'; COMMENT ON COLUMN t.v IS 'a column';
    GRANT SELECT, INSERT ON t TO amy; GRANT SELECT ON t TO public; GRANT USAGE ON SCHEMA s TO dev;
    GRANT ALL ON s.u TO dev WITH GRANT OPTION; GRANT USAGE ON TYPE mood TO amy;
    GRANT USAGE ON SEQUENCE sq TO amy; GRANT EXECUTE ON FUNCTION f TO amy;
    ALTER DEFAULT PRIVILEGES FOR ROLE ben GRANT SELECT ON TABLES TO amy WITH GRANT OPTION;
    ALTER ROLE amy SET application_name = 'of amy';
";

fn psql(login: &[(&str, String)], commands: &[&str]) -> String {
    let connection: Vec<_> = login.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let mut psql = Command::new("psql");
    psql.args(["-X", "-d", &connection.join(" ")]).env("PGTZ", "UTC").env("PAGER", "cat");
    for command in commands {
        psql.args(["-c", command]);
    }
    let output = psql.output().expect("psql runs");
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).expect("psql prints UTF-8");
    text.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

/// psql's connection to the first node as root, by its certificate.
fn login_of_root(cluster: &Cluster) -> Vec<(&'static str, String)> {
    let login = cluster.login(&cluster.nodes[0], "root");
    let path = |path: &Path| path.display().to_string();
    let (certificate, key) = login.certificate.clone().expect("root has a certificate");
    vec![
        ("host", login.host.clone()),
        ("port", login.port.to_string()),
        ("user", login.user.clone()),
        ("dbname", login.database.clone()),
        ("sslmode", "verify-full".to_owned()),
        ("sslrootcert", path(&login.ca)),
        ("sslcert", path(&certificate)),
        ("sslkey", path(&key)),
    ]
}

/// More rows than one entry of the log takes: a transaction of several.
const MANY_ROWS: usize = 150_000;

#[tokio::test(flavor = "multi_thread")]
async fn copy_moves_files_both_ways() {
    let cluster = Cluster::start(1).await;
    let login = login_of_root(&cluster);
    let psql = |commands: &[&str]| tokio::task::block_in_place(|| psql(&login, commands));
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let (csv, out, binary, many) = (file("in.csv"), file("out.csv"), file("out.bin"), file("many"));
    for table in ["t", "u"] {
        let made = psql(&[&format!("CREATE TABLE {table} (k INT PRIMARY KEY, v TEXT, at TIMESTAMPTZ)")]);
        assert_eq!(made, "CREATE TABLE\n");
    }
    let lines = "k,v,at\n1,\"one, \"\"two\"\"\nthree\",2026-01-02 03:04:05+00\n2,,\n3,\"\",\n";
    std::fs::write(&csv, lines).unwrap();
    assert_eq!(psql(&[&format!("\\copy t from '{csv}' csv header")]), "COPY 3\n");
    assert_eq!(psql(&[&format!("\\copy t to '{out}' with (format csv, header)")]), "COPY 3\n");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), lines);
    assert_eq!(psql(&[&format!("\\copy t to '{binary}' binary")]), "COPY 3\n");
    assert_eq!(psql(&[&format!("\\copy u from '{binary}' (format binary)")]), "COPY 3\n");
    assert_eq!(psql(&["COPY u TO STDOUT CSV HEADER"]), lines);
    assert_eq!(psql(&[&format!("\\copy (select k from t order by k desc) to '{out}'")]), "COPY 3\n");
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "3\n2\n1\n");
    let wrong = psql(&[&format!("\\copy t from '{csv}' csv")]);
    assert_eq!(
        wrong,
        "ERROR:  could not parse \"k\" as type int\nDETAIL:  COPY t, line 1, column k: \"k\"\n"
    );
    let refused = psql(&["COPY t FROM '/etc/passwd'"]);
    assert!(refused.contains("HINT:  Anyone can COPY FROM STDIN. psql's \\copy takes a file"), "{refused}");
    let rows: String = (10..10 + MANY_ROWS).map(|k| format!("{k}\t{}\t\\N\n", "x".repeat(60))).collect();
    std::fs::write(&many, rows).unwrap();
    assert_eq!(psql(&[&format!("\\copy t from '{many}'")]), format!("COPY {MANY_ROWS}\n"));
    // All or nothing: the last row is there already.
    std::fs::write(
        &many,
        (200_000..300_000).map(|k| format!("{k}\n")).chain(["1\n".to_owned()]).collect::<String>(),
    )
    .unwrap();
    let twice = psql(&[&format!("\\copy t (k) from '{many}'")]);
    assert!(twice.contains("duplicate key value violates unique constraint"), "{twice}");
    let count = psql(&["COPY (SELECT count(*) FROM t) TO STDOUT"]);
    assert_eq!(count, format!("{}\n", MANY_ROWS + 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn meta_commands_print_what_the_file_says() {
    let release = Command::new("psql").arg("--version").output();
    let release =
        release.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    if !release.starts_with(RELEASE) {
        eprintln!("not compared: this is for {RELEASE}x, and here is `{}`", release.trim());
        return;
    }
    let cluster = Cluster::start(1).await;
    let login = login_of_root(&cluster);
    let made = tokio::task::block_in_place(|| psql(&login, &[SETUP]));
    assert!(!made.contains("ERROR"), "{made}");
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/psql/commands.txt");
    let expected = std::fs::read_to_string(&file).unwrap();
    let mut printed = String::new();
    for line in expected.lines().filter(|line| line.starts_with("> ") || line.starts_with("# ")) {
        printed.push_str(&format!("{line}\n"));
        if let Some(command) = line.strip_prefix("> ") {
            printed.push_str(tokio::task::block_in_place(|| psql(&login, &[command])).trim_end());
            printed.push_str("\n\n");
        }
    }
    if std::env::var_os("UPDATE_PSQL").is_some() {
        std::fs::write(&file, &printed).unwrap();
    } else {
        assert_eq!(printed, expected, "UPDATE_PSQL=1 writes what psql prints now");
    }
}
