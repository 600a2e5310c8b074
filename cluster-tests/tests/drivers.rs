//! Drivers of other languages against three real processes: psycopg 3, SQLAlchemy, the PostgreSQL JDBC driver.
//!
//! `GRANTD_PYTHON` names a Python with `psycopg[binary]` and `sqlalchemy`, `GRANTD_JDBC` the driver's jar; what is not
//! set is looked for where Debian puts it. `GRANTD_REQUIRE_DRIVERS`, which `.ci/run` sets, makes what is missing an error.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use grantd_cluster_tests::process::Cluster;
use grantd_node::cert;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

const REQUIRE: &str = "GRANTD_REQUIRE_DRIVERS";
const JAR: &str = "/usr/share/java/postgresql.jar";
const PASSWORD: &str = "open sesame";
/// Where the ORM application makes its tables.
const STORE: &str = "store";

/// The schema that the checks expect.
const SCHEMA: &[&str] = &[
    "CREATE DATABASE shop",
    "CREATE SCHEMA shop.ops",
    "CREATE TYPE shop.public.mood AS ENUM ('sad', 'happy')",
    "CREATE SEQUENCE shop.public.order_ids",
    "CREATE TABLE shop.public.customers (id INT8 PRIMARY KEY, email TEXT UNIQUE, mood shop.public.mood)",
    "CREATE TABLE shop.public.orders (id INT8 PRIMARY KEY, customer INT8, item TEXT NOT NULL, paid BOOL)",
    "CREATE VIEW shop.public.paid_orders AS SELECT id, item FROM shop.public.orders WHERE paid",
    "CREATE DATABASE store",
    "CREATE USER mia WITH PASSWORD 'open sesame'",
    "GRANT SELECT ON TABLE shop.public.customers TO mia",
];

/// A cluster with the schema, and what each check needs of it in its environment.
async fn cluster() -> (Cluster, Vec<(&'static str, String)>) {
    let cluster = Cluster::start(3).await;
    let root = cluster.root(&cluster.nodes[0]).await.expect("a connection");
    for statement in SCHEMA {
        root.batch_execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
    let ca = cluster.ca();
    // JDBC takes keys in DER only.
    let key = PrivateKeyDer::from_pem_file(ca.join("client.root.key")).expect("root's key");
    std::fs::write(ca.join("client.root.pk8"), key.secret_der()).expect("a copy of root's key");
    assert!(ca.join(cert::CA_CERT).exists());
    let ports: Vec<_> = cluster.nodes.iter().map(|node| node.sql_port.to_string()).collect();
    let environment = vec![
        ("PORTS", ports.join(",")),
        ("CERTS", ca.display().to_string()),
        ("PASSWORD", PASSWORD.to_owned()),
        ("DATABASE", STORE.to_owned()),
    ];
    (cluster, environment)
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("drivers").join(name)
}

/// Says that a check was left out, or fails where it must not be.
fn missing(what: &str) {
    assert!(std::env::var_os(REQUIRE).is_none(), "{what} is not there, and {REQUIRE} is set");
    eprintln!("left out: {what} is not there");
}

async fn expect(mut command: Command, environment: &[(&str, String)]) {
    command.envs(environment.iter().map(|(name, value)| (name, value.as_str())));
    let run = tokio::task::spawn_blocking(move || command.output());
    let Output { status, stdout, stderr } = run.await.expect("no panic").expect("it starts");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}\n{stdout}{stderr}");
    println!("{stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drivers_of_other_languages_log_in_prepare_and_reflect() {
    let python = std::env::var_os("GRANTD_PYTHON").unwrap_or_else(|| "python3".into());
    let has = |module: &str| {
        let probe = Command::new(&python).args(["-c", &format!("import {module}")]).output();
        probe.is_ok_and(|output| output.status.success())
    };
    let jar = std::env::var_os("GRANTD_JDBC").map_or_else(|| PathBuf::from(JAR), PathBuf::from);
    let java = jar.exists() && Command::new("java").arg("-version").output().is_ok();
    let (cluster, environment) = cluster().await;
    for (module, script) in
        [("psycopg", "check_psycopg.py"), ("sqlalchemy", "check_sqlalchemy.py"), ("alembic", "check_orm.py")]
    {
        if has(module) {
            let mut command = Command::new(&python);
            command.arg(file(script));
            expect(command, &environment).await;
        } else {
            missing(&format!("the Python module {module}"));
        }
    }
    if java {
        let mut command = Command::new("java");
        command.arg("-cp").arg(&jar).arg(file("CheckJdbc.java"));
        expect(command, &environment).await;
    } else {
        missing("java with the PostgreSQL JDBC driver");
    }
    drop(cluster);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rusts_driver_takes_a_portals_rows_in_parts() {
    let cluster = Cluster::start(1).await;
    let mut root = cluster.root(&cluster.nodes[0]).await.expect("a connection");
    let select = "SELECT n FROM generate_series(1, $1::INT8) AS n";
    let block = root.transaction().await.expect("BEGIN");
    let portals = [
        block.bind(select, &[&10_i64]).await.expect("one"),
        block.bind(select, &[&3_i64]).await.expect("two"),
    ];
    let mut taken = [Vec::new(), Vec::new()];
    for _ in 0..4 {
        for (portal, taken) in portals.iter().zip(&mut taken) {
            let rows = block.query_portal(portal, 3).await.expect("a part");
            taken.push(rows.iter().map(|row| row.get::<_, i64>(0)).collect::<Vec<_>>());
        }
    }
    let parts: [&[&[i64]]; 2] = [&[&[1, 2, 3], &[4, 5, 6], &[7, 8, 9], &[10]], &[&[1, 2, 3], &[], &[], &[]]];
    assert_eq!(taken, parts);
    block.commit().await.expect("COMMIT");
}
