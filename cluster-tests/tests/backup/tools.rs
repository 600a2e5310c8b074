//! Another program reads the data: DuckDB, which knows Parquet and nothing of us.
//!
//! `GRANTD_PYTHON` names a Python with `duckdb`; without it this says so and is left out, but where `GRANTD_REQUIRE_DRIVERS` is set.

use std::process::Command;

use grantd_node::backup::cipher::Keys;
use grantd_node::backup::collection::Collection;

use super::faults::all;
use super::stage::{Stage, files};

const SCRIPT: &str = r#"
import duckdb, sys
files = sys.argv[1:]
rows = duckdb.sql(f"SELECT typeof(k), typeof(u), typeof(tz), typeof(ts), typeof(da), typeof(ti), typeof(j), typeof(y), typeof(b), typeof(i2) FROM read_parquet({files!r}) LIMIT 1").fetchall()
print(rows[0])
for row in duckdb.sql(f"SELECT k::VARCHAR, b::VARCHAR, i2::VARCHAR, f8::VARCHAR, d, s, hex(y), u::VARCHAR, epoch_us(tz), epoch_us(ts), da::VARCHAR, ti::VARCHAR, iv, j::VARCHAR, m, __grantd_number_m FROM read_parquet({files!r}) ORDER BY k").fetchall():
    print(row)
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duckdb_reads_the_rows() {
    let python = std::env::var("GRANTD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python)
        .args(["-c", "import duckdb"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !has {
        assert!(std::env::var_os("GRANTD_REQUIRE_DRIVERS").is_none(), "{python} has no duckdb");
        eprintln!("left out: {python} has no duckdb");
        return;
    }
    let stage = Stage::new().await;
    for statement in [
        "CREATE DATABASE shop",
        "CREATE TYPE shop.public.mood AS ENUM ('sad', 'happy')",
        "CREATE TABLE shop.public.t (k INT8 PRIMARY KEY, b BOOL, i2 INT2, f8 FLOAT8, d DECIMAL, s TEXT, y BYTEA, u UUID,
         tz TIMESTAMPTZ, ts TIMESTAMP, da DATE, ti TIME, iv INTERVAL, j JSONB, m shop.public.mood)",
        "INSERT INTO shop.public.t VALUES (1, true, -7, 0.1, 12.3400, 'ünï', '\\x00ff', 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6',
         '1970-01-01 00:00:01+00', '1970-01-01 00:00:02', '2026-02-28', '23:59:59.5', '1 day', '{\"a\": 1}', 'happy')",
        "INSERT INTO shop.public.t (k) VALUES (9223372036854775807)",
    ] {
        stage.run(statement).await;
    }
    let directory = tempfile::tempdir().unwrap();
    let to = Collection::new(files(directory.path()).await, None);
    stage.write(&to, &stage.order(&stage.database("shop"), None, false).await, &Keys::None).await;
    let data =
        all(directory.path()).into_iter().filter(|file| file.extension().is_some_and(|it| it == "parquet"));
    let output = Command::new(&python).arg("-c").arg(SCRIPT).args(data).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "('BIGINT', 'UUID', 'TIMESTAMP WITH TIME ZONE', 'TIMESTAMP', 'DATE', 'TIME', 'JSON', 'BLOB', 'BOOLEAN', 'SMALLINT')",
            "('1', 'true', '-7', '0.1', '12.3400', 'ünï', '00FF', 'f81d4fae-7dec-11d0-a765-00a0c91e6bf6', 1000000, 2000000, \
             '2026-02-28', '23:59:59.5', '1 day', '{\"a\": 1}', 'happy', 8589934592)",
            "('9223372036854775807', None, None, None, None, None, None, None, None, None, None, None, None, None, None, None)",
        ]
    );
}
