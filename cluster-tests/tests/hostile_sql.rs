//! Ten thousand broken or hostile statements against real processes: each gets an error with an SQLSTATE, on a
//! connection that goes on, and the nodes stay well.

use std::fmt::Write as _;

use grantd_cluster_tests::process::Cluster;
use tokio_postgres::Client;

/// Errors that are collected; a mutation that happens to be a good statement does not count.
const ERRORS: usize = 10_000;
/// What a node's memory may grow by meanwhile. It keeps caches and arenas; a leak of one statement each is far more.
const GROWTH_MAX_KIB: u64 = 256 * 1024;

/// Good statements, from which broken ones are made.
const GOOD: &[&str] = &[
    "SELECT k, v FROM item WHERE k = 1 AND v IN (1, 2, 3) ORDER BY k LIMIT 3",
    "SELECT count(*), max(v) FROM item GROUP BY k HAVING count(*) > 1",
    "WITH a AS (SELECT 1 AS x) SELECT * FROM a JOIN item ON a.x = item.k",
    "INSERT INTO item (k, v) VALUES (1, 2), (3, 4) ON CONFLICT DO NOTHING RETURNING k",
    "UPDATE item SET v = v + 1 WHERE k BETWEEN 1 AND 5",
    "DELETE FROM item WHERE NOT (v IS NULL OR k <> 7)",
    "CREATE TABLE z (a INT8 PRIMARY KEY, b TEXT NOT NULL DEFAULT 'x', CHECK (a > 0))",
    "CREATE USER nobody WITH PASSWORD 'secret' VALID UNTIL '2030-01-01' CREATEDB",
    "ALTER ROLE nobody IN DATABASE defaultdb SET statement_timeout = '1s'",
    "GRANT SELECT, INSERT ON TABLE item TO nobody WITH GRANT OPTION",
    "REVOKE GRANT OPTION FOR ALL PRIVILEGES ON SCHEMA public FROM nobody",
    "GRANT SYSTEM VIEWACTIVITY, CANCELQUERY TO nobody",
    "ALTER DEFAULT PRIVILEGES FOR ALL ROLES IN SCHEMA public GRANT SELECT ON TABLES TO nobody",
    "CREATE VIEW w AS SELECT k FROM item WHERE v > 0",
    "CREATE FUNCTION f(a INT8) RETURNS INT8 LANGUAGE SQL AS 'SELECT a + 1'",
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "SHOW GRANTS ON TABLE item FOR nobody",
    "REASSIGN OWNED BY nobody TO root",
    "SET statement_timeout = '5s'",
    "EXPLAIN PRIVILEGE SELECT ON item FOR root",
];

/// Pieces that are put where they do not belong.
const PIECES: &[&str] = &[
    "SELECT",
    "FROM",
    "(",
    ")",
    ",",
    ";",
    "'",
    "\"",
    "$$",
    "$1",
    "$99999",
    "--",
    "/*",
    "*/",
    "::",
    "::int[]",
    "[",
    "]",
    "NULL",
    "GRANT",
    "TO",
    "ON",
    "WITH",
    "ADMIN OPTION",
    "0x",
    "1e999",
    "-",
    "''''",
    "E'\\",
    "U&'\\0041'",
    "B'012'",
    "\u{202e}",
    "\u{200b}",
    "\u{feff}",
    "ｓｅｌｅｃｔ",
    "ѕеlесt",
    "İ",
    "ﬀ",
    "e\u{301}",
    "\u{1f600}",
    ".",
    "..",
    "a.b.c.d.e",
    "\\",
    "%",
    "@@",
    "OPERATOR(pg_catalog.=)",
    "ARRAY[",
    "ROW(",
    "CASE WHEN",
    "INTERVAL '",
    "LATERAL",
    "TABLESAMPLE",
    "FOR UPDATE",
];

/// A small generator of its own: the same statements on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).expect("below a usize")
    }

    fn of<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// A good statement with words taken out, doubled, exchanged, or put in.
fn mutated(dice: &mut Dice) -> String {
    let mut words: Vec<_> = dice.of(GOOD).split(' ').collect();
    for _ in 0..=dice.below(3) {
        let at = dice.below(words.len());
        match dice.below(4) {
            0 if words.len() > 1 => {
                words.remove(at);
            }
            1 => words.insert(at, dice.of(PIECES)),
            2 => words[at] = dice.of(PIECES),
            _ => {
                let other = dice.below(words.len());
                words.swap(at, other);
            }
        }
    }
    let text = words.join(" ");
    match dice.below(6) {
        // Cut off in the middle of a word or a character's neighbours.
        0 => text.chars().take(dice.below(text.len()).max(1)).collect(),
        1 => format!("{text} {}", dice.of(PIECES)),
        _ => text,
    }
}

/// Statements that are large, deep or strange each in one way.
fn extreme() -> Vec<String> {
    let deep = 10_000;
    let mega = "x".repeat(1_000_000);
    let mut found = vec![
        format!("SELECT {}1{}", "(".repeat(deep), ")".repeat(deep)),
        format!("SELECT {}1", "NOT ".repeat(deep)),
        format!("SELECT {}1", "- ".repeat(deep)),
        format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(deep), " END".repeat(deep)),
        format!("SELECT {}", vec!["1"; deep].join(" + ")),
        format!("SELECT 1{}", " UNION SELECT 1".repeat(deep)),
        format!("SELECT {}", vec!["coalesce("; deep].join("")),
        format!("SELECT {}1{}", "ARRAY[".repeat(deep), "]".repeat(deep)),
        format!("{}SELECT 1{}", "SELECT * FROM (".repeat(deep), ") a".repeat(deep)),
        format!("SELECT * FROM item WHERE {}", vec!["k = 1"; deep].join(" AND ")),
        format!("SELECT * FROM {}", vec!["item"; deep].join(", ")),
        format!("SELECT 1{}", "::int8".repeat(deep)),
        format!("SELECT \"{mega}\""),
        format!("SELECT * FROM {mega}"),
        format!("CREATE USER {mega}"),
        format!("CREATE TABLE {mega} (k INT8)"),
        format!("CREATE TABLE w (\"{mega}\" INT8 PRIMARY KEY, \"{mega}\" INT8)"),
        format!("GRANT SELECT ON TABLE item TO \"{mega}\""),
        format!("SET application_name_{mega} = 'x'"),
        format!("SELECT {mega}()"),
        format!("SELECT '{mega}{mega}'"),
        format!("GRANT SELECT ON TABLE item TO {}", vec!["nobody"; deep].join(", ")),
        format!("REVOKE {} ON TABLE item FROM nobody", vec!["SELECT"; deep].join(", ")),
        format!("CREATE TYPE big AS ENUM ({})", vec!["'a'"; deep].join(", ")),
        format!(
            "CREATE TABLE wide ({})",
            (0..deep).fold(String::new(), |mut list, at| {
                let comma = if at == 0 { "" } else { ", " };
                write!(list, "{comma}c{at} INT8").expect("a string grows");
                list
            })
        ),
        "SELECT '".to_owned(),
        "SELECT \"".to_owned(),
        "SELECT E'\\".to_owned(),
        "SELECT $tag$ never closed".to_owned(),
        "SELECT 1 /* never closed".to_owned(),
        "SELECT 1 /* /* nested */".to_owned(),
        "ＳＥＬＥＣＴ 1".to_owned(),
        "SЕLECT 1".to_owned(),
        "GRANТ SELECT ON TABLE item TO root".to_owned(),
        "SELECT\u{a0}\u{2028}from\u{200b}item".to_owned(),
        "CREATE USER \"\u{202e}toor\"".to_owned(),
        "CREATE USER \"ro\u{200b}ot\"".to_owned(),
        "CREATE USER \"ＲＯＯＴ\u{20dd}\"".to_owned(),
        "DROP USER \"root\u{0}\"".replace('\0', "\u{1}"),
        ")".repeat(deep),
        ",".repeat(deep),
        "'".repeat(deep + 1),
        "\u{1f600}".repeat(deep),
    ];
    found
        .extend((0..64).map(|bit| {
            format!("SELECT * FROM item WHERE k = {}99999999999999999999::INT8", "9".repeat(bit))
        }));
    found
}

/// The SQLSTATE of the error. None: it was a good statement.
async fn state(client: &Client, text: &str) -> Option<String> {
    match client.simple_query(text).await {
        Ok(_) => None,
        Err(error) => {
            let shown: String = text.chars().take(200).collect();
            let refused = error.as_db_error().unwrap_or_else(|| panic!("no answer to {shown}: {error}"));
            let code = refused.code().code().to_owned();
            assert_eq!(code.len(), 5, "{shown}");
            assert_ne!(code, "XX000", "a bug in the node: {shown}: {}", refused.message());
            assert!(refused.message().len() < 2_000, "an error that repeats what was sent: {shown}");
            Some(code)
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_hostile_statements_are_refused_one_by_one() {
    let cluster = Cluster::start(3).await;
    let mut clients = Vec::new();
    for node in &cluster.nodes {
        clients.push(cluster.root(node).await.expect("root logs in"));
    }
    clients[0].batch_execute("CREATE TABLE item (k INT8 PRIMARY KEY, v INT8)").await.expect("a table");
    let before: Vec<_> = cluster.nodes.iter().map(|node| node.resident_kib().expect("it runs")).collect();
    let (mut errors, mut sent) = (0, 0);
    for (at, text) in extreme().iter().enumerate() {
        let shown: String = text.chars().take(80).collect();
        assert!(state(&clients[at % 3], text).await.is_some(), "not refused: {shown}");
        errors += 1;
    }
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    while errors < ERRORS {
        let text = mutated(&mut dice);
        errors += usize::from(state(&clients[sent % 3], &text).await.is_some());
        sent += 1;
        assert!(sent < 4 * ERRORS, "most mutations are good statements");
    }
    for client in &clients {
        let nul = client.query("SELECT $1::TEXT", &[&"a\0b"]).await.expect_err("a NUL");
        assert_eq!(nul.code().map(tokio_postgres::error::SqlState::code), Some("22021"), "{nul}");
        client.batch_execute("SELECT 1").await.expect("the connection goes on");
    }
    for (node, before) in cluster.nodes.iter().zip(before) {
        let after = node.resident_kib().expect("it runs");
        println!("node {}: {before} KiB, {after} KiB after {errors} errors", node.id);
        assert!(after < before + GROWTH_MAX_KIB, "node {} grew from {before} to {after} KiB", node.id);
        assert!(!node.logged().contains("panicked at"), "node {} panicked", node.id);
    }
    cluster.converged_checksum().await;
}
