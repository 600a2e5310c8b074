//! The tables of the test, with every type of column, and the values that go into them.

use grantd_cluster_tests::dice::Dice;

/// What is made before the load.
pub const MADE: [&str; 12] = [
    "CREATE TYPE mood AS ENUM ('calm', 'glad', 'sad')",
    "CREATE SEQUENCE ticket",
    // Rows of one client each; what the ledger knows of them is `seq`, `spot`, and how many parts they have.
    "CREATE TABLE things (client INT8, era INT8, n INT8, seq INT8 NOT NULL, spot INT8 NOT NULL UNIQUE,
        amount DECIMAL(12,2), price DECIMAL, doc JSONB, span INTERVAL, code CHAR(6), raw BYTES, feel mood,
        moment TIMESTAMPTZ DEFAULT now(), plain TIMESTAMP, day DATE, hour TIME, id UUID DEFAULT gen_random_uuid(),
        ratio FLOAT8, single FLOAT4, small INT2, mid INT4, flag BOOL, word VARCHAR(20), note TEXT,
        auto SERIAL, turn INT8 DEFAULT nextval('ticket'), twice INT8 GENERATED ALWAYS AS (n * 2) STORED,
        PRIMARY KEY (client, era, n), CHECK (seq >= 0), UNIQUE (client, id))",
    "CREATE INDEX things_by_day ON things (feel, day DESC)",
    "CREATE INDEX things_flagged ON things (word) WHERE flag",
    "CREATE TABLE parts (client INT8, era INT8, n INT8, part INT8, size DECIMAL, PRIMARY KEY (client, era, n, part),
        FOREIGN KEY (client, era, n) REFERENCES things ON DELETE CASCADE ON UPDATE CASCADE)",
    // Two texts of one number are one key.
    "CREATE TABLE marks (key DECIMAL PRIMARY KEY, by DECIMAL(8,3) UNIQUE, v TEXT)",
    "CREATE TABLE bulk (client INT8, era INT8, seq INT8, line INT8, body TEXT, PRIMARY KEY (client, era, seq, line))",
    "CREATE TABLE nokey (v TEXT, at TIMESTAMPTZ DEFAULT now())",
    "CREATE TABLE tree (id INT8 PRIMARY KEY, up INT8 REFERENCES tree ON DELETE SET NULL, spare INT8 DEFAULT 1)",
    "CREATE TABLE moody (feel mood PRIMARY KEY, times INT8)",
    "CREATE VIEW seen AS SELECT client, count(*) AS count FROM things GROUP BY client",
];

/// Those that clients with fewer rights than root may use.
pub const SHARED: [&str; 7] = ["things", "parts", "marks", "bulk", "nokey", "tree", "moody"];

/// Columns of `things`, each with literals and expressions that may be written to it.
const VALUES: [(&str, &[&str]); 19] = [
    ("amount", &["1.5", "1.50", "0", "-0.00", "999999999.99", "12.345", "NULL", "'7'"]),
    ("price", &["1.5", "1.50", "0.1000", "-7", "123456789012345678901234567890.5", "1.0 / 3", "NULL"]),
    (
        "doc",
        &[
            r#"'{"b": 1, "a": [1.50, null, "é"]}'"#,
            "'[]'",
            "'null'",
            r#"'{"n": {"m": 1.0}, "n2": "\u00e9"}'"#,
            "NULL",
        ],
    ),
    ("span", &["'1 mon 2 days 03:04:05'", "'-1 day'", "'00:00:00'", "'400 days 1.5 hours'", "NULL"]),
    ("code", &["'ab'", "'ab    '", "''", "'abcdef'", "NULL"]),
    ("raw", &[r"'\x00ff10'", r"'\x'", "NULL"]),
    ("feel", &["'calm'", "'glad'", "'sad'", "NULL"]),
    ("moment", &["now()", "'2020-02-29 12:00:00.000001+00'", "'1969-12-31 23:59:59.5+00'", "NULL"]),
    ("plain", &["'1999-12-31 23:59:59.999999'", "'0001-01-01 00:00:00'", "NULL"]),
    ("day", &["'0001-01-01'", "'9999-12-31'", "current_date", "NULL"]),
    ("hour", &["'23:59:59.999999'", "'00:00:00'", "NULL"]),
    ("id", &["gen_random_uuid()", "NULL"]),
    ("ratio", &["random()", "1e308", "5e-324", "-0.0", "0.1", "NULL"]),
    ("single", &["0.1", "3.4e38", "-1e-45", "NULL"]),
    ("small", &["-32768", "32767", "0", "NULL"]),
    ("mid", &["-2147483648", "2147483647", "NULL"]),
    ("flag", &["true", "false", "NULL"]),
    ("word", &["'héllo'", "''", "'a b'", "upper('word')", "NULL"]),
    ("note", &["'it''s'", "E'tab\\t \\u00fc \\\\'", "repeat('x', 300)", "''", "NULL"]),
];

/// What an UPDATE computes from what is there.
const COMPUTED: [&str; 10] = [
    "amount = amount / 2 + 1",
    "price = price * 1.10",
    "doc = coalesce(doc, '{}')::JSONB",
    "span = span + INTERVAL '1 day'",
    "note = left(coalesce(note, '') || word, 40)",
    "ratio = ratio / 2, single = 0.5",
    "flag = NOT flag",
    "feel = DEFAULT, day = day, moment = DEFAULT",
    "mid = small, small = 1",
    "turn = nextval('ticket')",
];

/// Some columns, and a value for each.
pub fn some_values(dice: &mut Dice) -> Vec<(&'static str, &'static str)> {
    let mut chosen = Vec::new();
    for (column, values) in VALUES {
        if dice.one_in(3) {
            chosen.push((column, *dice.pick(values)));
        }
    }
    chosen
}

/// What comes after `SET seq = …`, with its comma.
pub fn some_changes(dice: &mut Dice) -> String {
    if dice.one_in(3) {
        return format!(", {}", dice.pick(&COMPUTED));
    }
    some_values(dice).iter().map(|(column, value)| format!(", {column} = {value}")).collect()
}
