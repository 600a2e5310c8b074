//! Full and incremental layers of a history that nobody planned: at each time the rows are those that were there.

use std::collections::BTreeSet;

use grantd_catalog::id::{ObjectId, Timestamp};
use grantd_catalog::object::Body;
use grantd_cluster_tests::dice::Dice;
use grantd_node::backup::cipher::Keys;
use grantd_node::backup::collection::Collection;
use grantd_node::backup::write::write;

use super::node::{Cloud, Node, THREE_SECONDS};
use super::stage::{Root, Stage, contents, files, open, passphrase, sorted};

const TABLES: &[&str] = &[
    "CREATE TYPE shop.public.mood AS ENUM ('sad', 'happy', 'it''s')",
    "CREATE TABLE shop.public.everything (
        k INT8, part TEXT, b BOOL, i2 INT2, i4 INT4, f4 FLOAT4, f8 FLOAT8, d DECIMAL, d2 DECIMAL(10, 2), s TEXT, c CHAR(5),
        v VARCHAR(20), y BYTEA, u UUID, tz TIMESTAMPTZ, ts TIMESTAMP, da DATE, ti TIME, iv INTERVAL, j JSONB,
        m shop.public.mood, twice INT8 GENERATED ALWAYS AS (k * 2) STORED, PRIMARY KEY (part, k))",
    "CREATE TABLE shop.public.exact (d DECIMAL PRIMARY KEY, n INT8)",
    "CREATE TABLE shop.public.keyless (s TEXT, n INT8)",
    "CREATE SEQUENCE shop.public.numbers",
];

fn value(dice: &mut Dice, values: &[&str]) -> String {
    if dice.one_in(6) { "NULL".to_owned() } else { (*dice.pick(values)).to_owned() }
}

/// A row of `everything`, but for its key.
fn row(dice: &mut Dice) -> String {
    let columns: &[&[&str]] = &[
        &["true", "false"],
        &["-32768", "32767", "0"],
        &["-2147483648", "2147483647", "7"],
        &["0.1", "-0.0", "3.4e38", "1e-40", "'Infinity'::FLOAT4"],
        &["0.1", "-0.0", "1.7976931348623157e308", "5e-324", "'-Infinity'::FLOAT8"],
        &["0", "1.0", "1.00", "-123456789012345678901234567890.000000001", "1e50"],
        &["0.10", "-12345678.90"],
        &["''", "'a'", "'ünï\u{1F600}\n\t\"'", "'it''s'", "repeat('long ', 200)"],
        &["'a'", "'ab   '"],
        &["'v'", "''"],
        &["'\\x'", "'\\x00ff10'", "'\\x5c27'"],
        &["'00000000-0000-0000-0000-000000000000'", "'f81d4fae-7dec-11d0-a765-00a0c91e6bf6'"],
        &["'1999-12-31 23:59:59.999999+02'", "'0001-01-01 00:00:00+00'", "'9999-12-31 00:00:00+00'"],
        &["'2026-11-22 18:00:00'", "'1582-10-15 00:00:00.000001'"],
        &["'1970-01-01'", "'2026-02-28'", "'0004-02-29'"],
        &["'00:00:00'", "'23:59:59.999999'"],
        &["'1 year 2 mons 3 days 04:05:06.5'", "'-1 day'", "'30 days'", "'1 mon'"],
        &["'{}'", "'[1, 1.0, null, \"x\"]'", "'{\"b\": 1, \"a\": {\"deep\": true}}'", "'null'"],
        &["'sad'", "'happy'", "'it''s'"],
    ];
    columns.iter().map(|values| value(dice, values)).collect::<Vec<_>>().join(", ")
}

/// Something happens.
async fn act(stage: &Stage, dice: &mut Dice, step: usize) {
    let key = dice.below(40);
    let part = dice.pick(&["a", "b", "ß"]);
    let statement = match dice.below(16) {
        0..=5 => format!(
            "INSERT INTO shop.public.everything (k, part, b, i2, i4, f4, f8, d, d2, s, c, v, y, u, tz, ts, da, ti, iv, j, m)
             VALUES ({key}, '{part}', {}) ON CONFLICT (part, k) DO UPDATE SET s = excluded.s, j = excluded.j",
            row(dice)
        ),
        6 => format!("UPDATE shop.public.everything SET f8 = f8 / 3, b = NOT b WHERE k < {key}"),
        7 => format!("DELETE FROM shop.public.everything WHERE k % 5 = {}", key % 5),
        8 => format!("UPDATE shop.public.everything SET k = k + {step}000 WHERE k = {key} AND part = 'a'"),
        9 => format!("INSERT INTO shop.public.exact VALUES ({}.{}, {step}) ON CONFLICT DO NOTHING", key % 7, "0".repeat(key % 3 + 1)),
        10 => format!("INSERT INTO shop.public.keyless SELECT 'row {step}', n FROM generate_series(1, {key}) AS g(n)"),
        11 => "DELETE FROM shop.public.keyless WHERE n % 3 = 0".to_owned(),
        12 => "SELECT nextval('shop.public.numbers')".to_owned(),
        13 => format!("BEGIN; UPDATE shop.public.keyless SET n = n + 1; DELETE FROM shop.public.exact WHERE n < {key}; COMMIT"),
        14 if step.is_multiple_of(3) => format!("ALTER TABLE shop.public.keyless ADD COLUMN c{step} INT8"),
        14 => format!("ALTER TABLE shop.public.everything ADD COLUMN c{step} TEXT DEFAULT 'filled'"),
        _ if step.is_multiple_of(3) => format!(
            "CREATE TABLE shop.public.t{step} (k INT8 PRIMARY KEY); INSERT INTO shop.public.t{step} VALUES (1), (2); \
             DROP TABLE shop.public.t{step}"
        ),
        _ if step % 3 == 1 => format!(
            "CREATE TABLE shop.public.t{step} (k INT8 PRIMARY KEY, s TEXT); INSERT INTO shop.public.t{step} VALUES (1, 'x'), (2, NULL)"
        ),
        _ => "DROP TABLE shop.public.keyless; CREATE TABLE shop.public.keyless (s TEXT, n INT8); \
              INSERT INTO shop.public.keyless VALUES ('anew', 1)"
            .to_owned(),
    };
    stage.run(&statement).await;
}

fn tables(stage: &Stage, known: &mut BTreeSet<ObjectId>) {
    let view = stage.handle.view();
    let found = view
        .state()
        .objects()
        .filter(|(_, object)| matches!(object.body, Body::Table(_) | Body::Sequence(_)));
    known.extend(found.map(|(id, _)| id));
}

async fn is_equal_at(
    stage: &Stage,
    to: &Collection,
    keys: &Keys,
    time: Timestamp,
    known: &BTreeSet<ObjectId>,
    window: usize,
) {
    let backup = open(to, Some(time), keys)
        .await
        .unwrap_or_else(|error| panic!("{time}: {error}"))
        .with_window(window);
    let found = contents(&backup).await;
    let mut expected = Vec::new();
    for table in known {
        if stage.was_there(*table, time).await {
            expected.push((*table, stage.rows_at(*table, time).await));
        }
    }
    let ids = |of: &[(ObjectId, _)]| of.iter().map(|(id, _): &(ObjectId, Vec<_>)| *id).collect::<Vec<_>>();
    assert_eq!(ids(&found), ids(&expected), "tables at {time}");
    for ((id, found), (_, expected)) in found.into_iter().zip(expected) {
        assert_eq!(sorted(found), expected, "table {id} at {time}");
    }
}

/// Layers of a random history, each in two halves: the first try is stopped somewhere.
async fn layers(stage: &Stage, to: &Collection, keys: &Keys, seed: u64, steps: usize) {
    for statement in TABLES {
        stage.run(statement).await;
    }
    let (mut dice, mut known, mut times) = (Dice::new(seed), BTreeSet::new(), Vec::new());
    let targets = stage.database("shop");
    let (mut full, mut ends): (Option<String>, Vec<Timestamp>) = (None, Vec::new());
    let mut stopped = 0;
    for layer in 0..4 {
        for step in 0..steps {
            act(stage, &mut dice, layer * steps + step).await;
            tables(stage, &mut known);
            if layer > 0 {
                times.push(stage.now().await);
            }
        }
        let order = stage.order(&targets, full.as_deref(), true).await;
        let first = write(to, &order, keys, &stage.gate, &Root::stopped_after(&stage.gate, 2 + layer)).await;
        if let Err(error) = first {
            assert_eq!(error.to_string(), "stopped");
            stopped += 1;
        }
        // What happens meanwhile is not part of it.
        act(stage, &mut dice, 10_000 + layer).await;
        tables(stage, &mut known);
        let manifest = stage.write(to, &order, keys).await;
        assert_eq!(manifest.end.0, order.end);
        ends.push(order.end);
        full = Some(order.full);
    }
    let backup = open(to, None, keys).await.unwrap();
    assert_eq!(backup.layers.len(), 4);
    assert!(stopped >= 2, "{stopped} of 4 were stopped half way");
    backup.verify(&stage.root()).await.unwrap();
    for time in &ends {
        is_equal_at(stage, to, keys, *time, &known, 1 << 20).await;
    }
    for _ in 0..20 {
        let time = *dice.pick(&times);
        is_equal_at(stage, to, keys, time, &known, *dice.pick(&[1, 2_000, 1 << 20])).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_each_time_a_backup_has_the_rows_that_were_there() {
    for seed in 1..=2 {
        let stage = Stage::new().await;
        stage.run("CREATE DATABASE shop").await;
        let directory = tempfile::tempdir().unwrap();
        let to = Collection::new(files(directory.path()).await, None);
        let keys = if seed == 1 { Keys::None } else { passphrase("correct horse") };
        layers(&stage, &to, &keys, seed, 40).await;
    }
}

/// The same under three roles of a cloud, with credentials of three seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_so_in_a_bucket_under_a_chain_of_roles() {
    let cloud = Cloud::double().await;
    let node = Node::of(&cloud);
    let stage = Stage::new().await;
    stage.run("CREATE DATABASE shop").await;
    let to = Collection::new(node.chained(&cloud, THREE_SECONDS).await, None);
    layers(&stage, &to, &Keys::None, 3, 15).await;
}

/// Case 122, and what of times is refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_time_inside_a_layer_needs_revision_history() {
    let stage = Stage::new().await;
    stage.run("CREATE DATABASE shop; CREATE TABLE shop.public.t (k INT8 PRIMARY KEY)").await;
    let directory = tempfile::tempdir().unwrap();
    let to = Collection::new(files(directory.path()).await, None);
    let targets = stage.database("shop");
    let error = open(&to, None, &Keys::None).await.err().unwrap().refusal();
    assert_eq!(
        (error.code.as_str(), error.message.as_str()),
        ("58P01", "path does not contain a completed latest backup")
    );
    let full = stage.order(&targets, None, false).await;
    stage.write(&to, &full, &Keys::None).await;
    stage.run("INSERT INTO shop.public.t VALUES (1)").await;
    let between = stage.now().await;
    stage.run("INSERT INTO shop.public.t VALUES (2)").await;
    let layer = stage.order(&targets, Some(&full.full), false).await;
    stage.write(&to, &layer, &Keys::None).await;
    let error = open(&to, Some(between), &Keys::None).await.err().unwrap().refusal();
    assert_eq!(
        error.message,
        "invalid RESTORE timestamp: restoring to arbitrary time requires that BACKUP for requested time be created with \
         'revision_history' option."
    );
    assert_eq!(error.detail, Some(format!("Covered: {}, {}.", full.end, layer.end)));
    for wrong in [Timestamp { nanos: 1, logical: 0 }, layer.end.plus(1)] {
        let error = open(&to, Some(wrong), &Keys::None).await.err().unwrap();
        assert_eq!(error.to_string(), "supplied backups do not cover requested time");
    }
    stage.run("INSERT INTO shop.public.t VALUES (3)").await;
    let other = stage.order(&stage.database("defaultdb"), Some(&full.full), false).await;
    let error = write(&to, &other, &Keys::None, &stage.gate, &stage.root()).await.unwrap_err();
    assert!(error.to_string().starts_with("the targets are not those of the full backup"), "{error}");
}
