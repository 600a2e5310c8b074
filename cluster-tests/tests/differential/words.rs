//! What statements are made of: types with their values, functions, aggregates, tables. A new type, function or
//! aggregate is one line here.

/// A type that both have under one name.
pub struct Kind {
    /// Its name in SQL.
    pub word: &'static str,
    /// The column of this type.
    pub column: &'static str,
    /// Values, as text. Tables hold them, expressions compare with them.
    pub values: &'static [&'static str],
    /// Whether PostgreSQL has `min` and `max` of it.
    pub has_extremes: bool,
}

const fn kind(
    word: &'static str,
    column: &'static str,
    has_extremes: bool,
    values: &'static [&'static str],
) -> Kind {
    Kind { word, column, values, has_extremes }
}

/// The types. The floats are sums of few powers of two, so that the order of a sum does not matter.
pub const KINDS: [Kind; 20] = [
    kind("BOOL", "b", false, &["true", "false"]),
    kind("INT2", "i2", true, &["0", "1", "-1", "7", "32767", "-32768"]),
    kind("INT4", "i4", true, &["0", "1", "-1", "2", "3", "10", "-77", "2147483647", "-2147483648"]),
    kind(
        "INT8",
        "i8",
        true,
        &["0", "1", "-1", "2", "5", "100", "9223372036854775807", "-9223372036854775808"],
    ),
    kind(
        "FLOAT8",
        "f",
        true,
        &["0", "1", "-1", "0.5", "2.5", "-3.75", "1024.125", "1e6", "-0.0625", "123456789.5"],
    ),
    kind(
        "TEXT",
        "t",
        true,
        &["", "a", "A", "ab", "abc", " a ", "x%y_z", "größe", "ÄÖÜ", "☕ tea", "it''s", "1", "ab,cd,ef"],
    ),
    kind("VARCHAR(8)", "v", true, &["", "a", "b", "B", "xyz", "ñandú", "12345678", "a_b"]),
    kind("BYTEA", "y", false, &["", "\\x00", "\\x00ff", "\\x616263", "\\xdeadbeef"]),
    kind(
        "UUID",
        "u",
        false,
        &[
            "00000000-0000-0000-0000-000000000000",
            "ffffffff-ffff-ffff-ffff-ffffffffffff",
            "6b0b6f60-2a5e-4b7a-9d3b-0c2f8a1e4d55",
        ],
    ),
    kind(
        "TIMESTAMPTZ",
        "z",
        true,
        &[
            "1970-01-01 00:00:00+00",
            "2022-12-13 14:15:16.123456+00",
            "2024-02-29 23:59:59.999999+00",
            "1969-12-31 23:59:59.5+00",
            "0001-01-01 00:00:00+00",
            "9999-12-31 00:00:00+00",
            "2022-12-13 14:15:16.12+02",
        ],
    ),
    kind("DECIMAL", "d", true, &["0", "1", "-1.5", "2.25", "7", "123456789.123456789", "0.001", "-77.7"]),
    kind("DECIMAL(8,2)", "dd", true, &["0", "1.5", "-1.25", "99999.99", "3"]),
    kind(
        "JSONB",
        "j",
        false,
        &[
            "{}",
            "[]",
            "1",
            "-2.5",
            "\"a\"",
            "null",
            "true",
            "[1, \"x\", [2]]",
            "{\"a\": 1}",
            "{\"b\": null, \"a\": [1]}",
        ],
    ),
    kind(
        "DATE",
        "dt",
        true,
        &["1970-01-01", "2022-12-13", "2024-02-29", "1969-12-31", "0001-01-01", "9999-12-31"],
    ),
    kind(
        "TIMESTAMP",
        "ts",
        true,
        &[
            "1970-01-01 00:00:00",
            "2022-12-13 14:15:16.123456",
            "2024-02-29 23:59:59",
            "1969-12-31 23:59:59.5",
        ],
    ),
    kind("TIME", "tm", true, &["00:00:00", "23:59:59.999999", "12:30:00", "01:02:03.5"]),
    kind(
        "INTERVAL",
        "iv",
        true,
        &["0", "1 day", "-3 days 04:05:06", "1 year 2 mons", "00:00:01.5", "-1 mon"],
    ),
    kind("CHAR(4)", "c", true, &["", "a", "ab", "abcd", "ä", "B"]),
    kind("FLOAT4", "f4", true, &["0", "1", "-1.5", "0.25", "1024", "-0.0625"]),
    kind("mood", "m", true, &["sad", "ok", "happy", "so ''so''"]),
];

/// The type under this name.
pub fn kind_of(word: &str) -> usize {
    KINDS.iter().position(|kind| kind.word == word).expect("a type of the table")
}

/// Something with arguments: what is written, what it gives, what it takes.
///
/// `=` stands for the type that is wanted, `?` for any type, the same throughout.
pub struct Form {
    /// `{0}` is the first argument.
    pub template: &'static str,
    /// The type of its value.
    pub gives: &'static str,
    /// The types of its arguments.
    pub takes: &'static [&'static str],
    /// When its arguments are computed, and whether it may be refused.
    pub when: When,
}

/// What may be said of the order in which things are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// It has a value for all arguments.
    Always,
    /// It is refused for some arguments: it stands only where both must compute it.
    MayFail,
    /// Not all arguments are computed: it does not stand beside what may fail.
    Lazy,
}

const fn form(
    template: &'static str,
    gives: &'static str,
    takes: &'static [&'static str],
    when: When,
) -> Form {
    Form { template, gives, takes, when }
}

use When::{Always, Lazy, MayFail};

/// Operators, functions and casts.
pub const FORMS: [Form; 173] = [
    form("({0} = {1})", "BOOL", &["?", "?"], Always),
    form("({0} <> {1})", "BOOL", &["?", "?"], Always),
    form("({0} < {1})", "BOOL", &["?", "?"], Always),
    form("({0} <= {1})", "BOOL", &["?", "?"], Always),
    form("({0} > {1})", "BOOL", &["?", "?"], Always),
    form("({0} >= {1})", "BOOL", &["?", "?"], Always),
    form("({0} IS DISTINCT FROM {1})", "BOOL", &["?", "?"], Always),
    form("({0} IS NOT DISTINCT FROM {1})", "BOOL", &["?", "?"], Always),
    form("({0} IS NULL)", "BOOL", &["?"], Always),
    form("({0} IS NOT NULL)", "BOOL", &["?"], Always),
    form("({0} BETWEEN {1} AND {2})", "BOOL", &["?", "?", "?"], Lazy),
    form("({0} NOT BETWEEN {1} AND {2})", "BOOL", &["?", "?", "?"], Lazy),
    form("({0} IN ({1}, {2}))", "BOOL", &["?", "?", "?"], Lazy),
    form("({0} NOT IN ({1}, {2}))", "BOOL", &["?", "?", "?"], Lazy),
    form("(({0}, {1}) = ({2}, {3}))", "BOOL", &["?", "TEXT", "?", "TEXT"], Lazy),
    form("(({0}, {1}) < ({2}, {3}))", "BOOL", &["?", "INT4", "?", "INT4"], Lazy),
    form("(({0}, {1}) IS DISTINCT FROM ({2}, {3}))", "BOOL", &["?", "INT8", "?", "INT8"], Lazy),
    form("({0} AND {1})", "BOOL", &["BOOL", "BOOL"], Lazy),
    form("({0} OR {1})", "BOOL", &["BOOL", "BOOL"], Lazy),
    form("(NOT {0})", "BOOL", &["BOOL"], Always),
    form("({0} IS TRUE)", "BOOL", &["BOOL"], Always),
    form("({0} IS NOT FALSE)", "BOOL", &["BOOL"], Always),
    form("({0} IS UNKNOWN)", "BOOL", &["BOOL"], Always),
    form("({0} LIKE {1})", "BOOL", &["TEXT", "TEXT"], Always),
    form("({0} NOT LIKE 'a%')", "BOOL", &["TEXT"], Always),
    form("({0} ILIKE '%A_%')", "BOOL", &["TEXT"], Always),
    form("({0} LIKE '%!_%' ESCAPE '!')", "BOOL", &["TEXT"], Always),
    form("({0} ~ '^[a-c]+$')", "BOOL", &["TEXT"], Always),
    form("({0} !~* 'B|ö')", "BOOL", &["TEXT"], Always),
    form("starts_with({0}, {1})", "BOOL", &["TEXT", "TEXT"], Always),
    form("CASE WHEN {0} THEN {1} ELSE {2} END", "=", &["BOOL", "=", "="], Lazy),
    form("CASE {0} WHEN {1} THEN {2} END", "=", &["?", "?", "="], Lazy),
    form("coalesce({0}, {1})", "=", &["=", "="], Lazy),
    form("nullif({0}, {1})", "=", &["=", "="], Lazy),
    form("greatest({0}, {1})", "=", &["=", "="], Always),
    form("least({0}, {1}, {2})", "=", &["=", "=", "="], Always),
    form("({0} + {1})", "INT8", &["INT8", "INT8"], MayFail),
    form("({0} - {1})", "INT8", &["INT8", "INT8"], MayFail),
    form("({0} * {1})", "INT8", &["INT8", "INT8"], MayFail),
    form("({0} % {1})", "INT8", &["INT8", "INT8"], MayFail),
    form("mod({0}, 7)", "INT8", &["INT8"], Always),
    form("div({0}, {1})::INT8", "INT8", &["INT8", "INT8"], MayFail),
    form("(- {0})", "INT8", &["INT8"], MayFail),
    form("abs({0})", "INT8", &["INT8"], MayFail),
    form("({0}::INT8 + {1})", "INT8", &["INT2", "INT4"], Always),
    form("({0}::INT8 * {1})", "INT8", &["INT4", "INT4"], Always),
    form("({0} & {1})", "INT8", &["INT8", "INT8"], Always),
    form("({0} | {1})", "INT8", &["INT8", "INT8"], Always),
    form("{0}::INT8", "INT8", &["INT4"], Always),
    form("{0}::INT8", "INT8", &["INT2"], Always),
    form("{0}::INT8", "INT8", &["FLOAT8"], MayFail),
    form("{0}::INT4", "INT4", &["BOOL"], Always),
    form("{0}::INT4", "INT4", &["INT8"], MayFail),
    form("{0}::INT2", "INT2", &["INT4"], MayFail),
    form("{0}::INT4", "INT4", &["INT2"], Always),
    form("length({0})::INT4", "INT4", &["TEXT"], Always),
    form("({0}::TEXT)::INT8", "INT8", &["INT4"], Always),
    form("({0})::INT8", "INT8", &["TEXT"], MayFail),
    form("({0})::FLOAT8", "FLOAT8", &["TEXT"], MayFail),
    form("({0})::BOOL", "BOOL", &["TEXT"], MayFail),
    form("({0})::BOOL", "BOOL", &["INT4"], Always),
    form("({0})::UUID", "UUID", &["TEXT"], MayFail),
    form("(({0})::TEXT)::UUID", "UUID", &["UUID"], Always),
    form("(({0})::TEXT)::TIMESTAMPTZ", "TIMESTAMPTZ", &["TIMESTAMPTZ"], Always),
    form("(({0})::TEXT)::mood", "mood", &["mood"], Always),
    form("({0})::mood", "mood", &["TEXT"], MayFail),
    form("({0})::TEXT", "TEXT", &["?"], Always),
    form("({0})::VARCHAR(8)", "VARCHAR(8)", &["TEXT"], Always),
    form("({0})::VARCHAR(3)::VARCHAR(8)", "VARCHAR(8)", &["VARCHAR(8)"], Always),
    form("{0}::FLOAT8", "FLOAT8", &["INT4"], Always),
    form("{0}::FLOAT8", "FLOAT8", &["INT8"], Always),
    form("({0} + {1})", "FLOAT8", &["FLOAT8", "FLOAT8"], Always),
    form("({0} - {1})", "FLOAT8", &["FLOAT8", "FLOAT8"], Always),
    form("({0} * {1})", "FLOAT8", &["FLOAT8", "FLOAT8"], Always),
    form("({0} / {1})", "FLOAT8", &["FLOAT8", "FLOAT8"], MayFail),
    form("({0} + {1})", "FLOAT8", &["FLOAT8", "INT4"], Always),
    form("(- {0})", "FLOAT8", &["FLOAT8"], Always),
    form("abs({0})", "FLOAT8", &["FLOAT8"], Always),
    form("floor({0})", "FLOAT8", &["FLOAT8"], Always),
    form("ceil({0})", "FLOAT8", &["FLOAT8"], Always),
    form("round({0})", "FLOAT8", &["FLOAT8"], Always),
    form("trunc({0})", "FLOAT8", &["FLOAT8"], Always),
    form("sign({0})", "FLOAT8", &["FLOAT8"], Always),
    form("sqrt({0})", "FLOAT8", &["FLOAT8"], MayFail),
    form("({0} || {1})", "TEXT", &["TEXT", "TEXT"], Always),
    form("({0} || {1})", "TEXT", &["TEXT", "INT8"], Always),
    form("concat({0}, {1})", "TEXT", &["BOOL", "TEXT"], Always),
    form("concat({0}, {1})", "TEXT", &["JSONB", "DECIMAL"], Always),
    form("concat_ws('-', {0}, {1}, {2})", "TEXT", &["TEXT", "INT4", "VARCHAR(8)"], Always),
    form("lower({0})", "TEXT", &["TEXT"], Always),
    form("upper({0})", "TEXT", &["TEXT"], Always),
    form("length({0})::INT8", "INT8", &["TEXT"], Always),
    form("octet_length({0})::INT8", "INT8", &["TEXT"], Always),
    form("bit_length({0})::INT8", "INT8", &["TEXT"], Always),
    form("char_length({0})::INT8", "INT8", &["VARCHAR(8)"], Always),
    form("substring({0}, 2)", "TEXT", &["TEXT"], Always),
    form("substr({0}, 0, 3)", "TEXT", &["TEXT"], Always),
    form("substring({0} FROM 2 FOR 2)", "TEXT", &["TEXT"], Always),
    form("trim({0})", "TEXT", &["TEXT"], Always),
    form("btrim({0}, 'a ')", "TEXT", &["TEXT"], Always),
    form("trim(LEADING 'a' FROM {0})", "TEXT", &["TEXT"], Always),
    form("rtrim({0}, {1})", "TEXT", &["TEXT", "TEXT"], Always),
    form("replace({0}, 'a', {1})", "TEXT", &["TEXT", "TEXT"], Always),
    form("left({0}, -1)", "TEXT", &["TEXT"], Always),
    form("right({0}, 2)", "TEXT", &["TEXT"], Always),
    form("repeat({0}, 2)", "TEXT", &["TEXT"], Always),
    form("reverse({0})", "TEXT", &["TEXT"], Always),
    form("split_part({0}, ',', 2)", "TEXT", &["TEXT"], Always),
    form("strpos({0}, {1})::INT8", "INT8", &["TEXT", "TEXT"], Always),
    form("position('b' IN {0})::INT8", "INT8", &["TEXT"], Always),
    form("{0}::TEXT", "TEXT", &["VARCHAR(8)"], Always),
    form("array_to_string(ARRAY[{0}, {1}], ';')", "TEXT", &["TEXT", "TEXT"], Always),
    form("({0} + {1})", "DECIMAL", &["DECIMAL", "DECIMAL"], Always),
    form("({0} - {1})", "DECIMAL", &["DECIMAL", "DECIMAL(8,2)"], Always),
    form("({0} * {1})", "DECIMAL", &["DECIMAL", "DECIMAL"], Always),
    form("({0} + {1})", "DECIMAL", &["DECIMAL", "INT4"], Always),
    form("(- {0})", "DECIMAL", &["DECIMAL"], Always),
    form("abs({0})", "DECIMAL", &["DECIMAL"], Always),
    form("floor({0})", "DECIMAL", &["DECIMAL"], Always),
    form("ceil({0})", "DECIMAL", &["DECIMAL"], Always),
    form("round({0})", "DECIMAL", &["DECIMAL"], Always),
    form("round({0}, 2)", "DECIMAL", &["DECIMAL"], Always),
    form("trunc({0}, 1)", "DECIMAL", &["DECIMAL"], Always),
    form("sign({0})", "DECIMAL", &["DECIMAL"], Always),
    form("mod({0}, {1})", "DECIMAL", &["DECIMAL", "DECIMAL"], MayFail),
    form("{0}::DECIMAL", "DECIMAL", &["INT8"], Always),
    form("{0}::DECIMAL", "DECIMAL", &["DECIMAL(8,2)"], Always),
    form("({0})::DECIMAL", "DECIMAL", &["TEXT"], MayFail),
    form("({0})::DECIMAL(8,2)", "DECIMAL(8,2)", &["DECIMAL"], MayFail),
    form("({0})::DECIMAL(8,2)", "DECIMAL(8,2)", &["INT2"], Always),
    form("({0})::INT8", "INT8", &["DECIMAL"], MayFail),
    form("({0})::FLOAT8", "FLOAT8", &["DECIMAL"], Always),
    form("({0} -> 'a')", "JSONB", &["JSONB"], Always),
    form("({0} -> 1)", "JSONB", &["JSONB"], Always),
    form("({0} ->> 'a')", "TEXT", &["JSONB"], Always),
    form("({0} ->> {1}::INT4)", "TEXT", &["JSONB", "INT2"], Always),
    form("({0} @> {1})", "BOOL", &["JSONB", "JSONB"], Always),
    form("({0} ? 'a')", "BOOL", &["JSONB"], Always),
    form("jsonb_typeof({0})", "TEXT", &["JSONB"], Always),
    form("({0} || {1})", "JSONB", &["JSONB", "JSONB"], MayFail),
    form("({0} - 'a')", "JSONB", &["JSONB"], MayFail),
    form("jsonb_array_length({0})::INT8", "INT8", &["JSONB"], MayFail),
    form("to_jsonb({0})", "JSONB", &["TEXT"], Always),
    form("to_jsonb({0})", "JSONB", &["INT8"], Always),
    form("to_jsonb({0})", "JSONB", &["BOOL"], Always),
    form("jsonb_build_object('k', {0}, 'l', {1})", "JSONB", &["TEXT", "INT4"], Always),
    form("jsonb_build_array({0}, {1})", "JSONB", &["JSONB", "INT8"], Always),
    form("({0})::JSONB", "JSONB", &["TEXT"], MayFail),
    form("(({0})::TEXT)::JSONB", "JSONB", &["JSONB"], Always),
    form("({0} + {1})", "DATE", &["DATE", "INT4"], MayFail),
    form("({0} - {1})::INT8", "INT8", &["DATE", "DATE"], Always),
    form("{0}::DATE", "DATE", &["TIMESTAMP"], Always),
    form("({0})::DATE", "DATE", &["TEXT"], MayFail),
    form("(({0})::TEXT)::DATE", "DATE", &["DATE"], Always),
    form("{0}::TIMESTAMP", "TIMESTAMP", &["DATE"], Always),
    form("({0} AT TIME ZONE 'UTC')", "TIMESTAMP", &["TIMESTAMPTZ"], Always),
    form("({0} AT TIME ZONE 'UTC')", "TIMESTAMPTZ", &["TIMESTAMP"], Always),
    form("date_trunc('month', {0})", "TIMESTAMP", &["TIMESTAMP"], Always),
    form("extract(year FROM {0})::INT8", "INT8", &["DATE"], Always),
    form("extract(minute FROM {0})::INT8", "INT8", &["TIMESTAMP"], Always),
    form("({0} + {1})", "TIMESTAMP", &["TIMESTAMP", "INTERVAL"], Always),
    form("({0} - {1})", "TIMESTAMPTZ", &["TIMESTAMPTZ", "INTERVAL"], MayFail),
    form("({0} - {1})", "INTERVAL", &["TIMESTAMP", "TIMESTAMP"], Always),
    form("({0} + {1})", "INTERVAL", &["INTERVAL", "INTERVAL"], Always),
    form("(- {0})", "INTERVAL", &["INTERVAL"], Always),
    form("({0} * 2)", "INTERVAL", &["INTERVAL"], Always),
    form("(({0})::TEXT)::INTERVAL", "INTERVAL", &["INTERVAL"], Always),
    form("{0}::TIME", "TIME", &["TIMESTAMP"], Always),
    form("({0} + {1})", "TIME", &["TIME", "INTERVAL"], Always),
    form("({0})::CHAR(4)", "CHAR(4)", &["TEXT"], Always),
    form("length({0})::INT8", "INT8", &["CHAR(4)"], Always),
    form("{0}::FLOAT8", "FLOAT8", &["FLOAT4"], Always),
    form("({0} + {1})", "FLOAT4", &["FLOAT4", "FLOAT4"], Always),
];

/// Aggregates.
pub const AGGREGATES: [Form; 20] = [
    form("count(*)", "INT8", &[], Always),
    form("count({0})", "INT8", &["?"], Always),
    form("count(DISTINCT {0})", "INT8", &["?"], Always),
    form("min({0})", "=", &["="], Always),
    form("max({0})", "=", &["="], Always),
    form("sum({0})", "INT8", &["INT2"], Always),
    form("sum({0})", "INT8", &["INT4"], Always),
    form("sum({0})", "FLOAT8", &["FLOAT8"], Always),
    form("avg({0})", "FLOAT8", &["FLOAT8"], Always),
    form("bool_and({0})", "BOOL", &["BOOL"], Always),
    form("bool_or({0})", "BOOL", &["BOOL"], Always),
    form("every({0})", "BOOL", &["BOOL"], Always),
    form("string_agg({0}, ',' ORDER BY {0})", "TEXT", &["TEXT"], Always),
    form("array_to_string(array_agg({0} ORDER BY {0}), ',')", "TEXT", &["TEXT"], Always),
    form("count(*) FILTER (WHERE {0})", "INT8", &["BOOL"], Always),
    form("sum({0})", "DECIMAL", &["INT8"], Always),
    form("sum({0})", "DECIMAL", &["DECIMAL"], Always),
    form("sum({0})", "DECIMAL", &["DECIMAL(8,2)"], Always),
    form("sum({0})", "INTERVAL", &["INTERVAL"], Always),
    form("jsonb_agg({0} ORDER BY {0})", "JSONB", &["INT4"], Always),
];

/// Window functions whose values do not depend on the order among equals.
pub const WINDOWS: [Form; 9] = [
    form("rank() OVER (ORDER BY {0} NULLS LAST)", "INT8", &["?"], Always),
    form(
        "dense_rank() OVER (PARTITION BY {0} ORDER BY {1} DESC NULLS FIRST)",
        "INT8",
        &["BOOL", "?"],
        Always,
    ),
    form("count(*) OVER (PARTITION BY {0})", "INT8", &["?"], Always),
    form("count({0}) OVER (ORDER BY {0} NULLS FIRST)", "INT8", &["?"], Always),
    form("max({0}) OVER (PARTITION BY {1})", "TEXT", &["TEXT", "?"], Always),
    form("min({0}) OVER (ORDER BY {1} NULLS LAST)", "TIMESTAMPTZ", &["TIMESTAMPTZ", "?"], Always),
    form("sum({0}) OVER (ORDER BY {0} NULLS LAST)", "INT8", &["INT4"], Always),
    form(
        "sum({0}) OVER (ORDER BY {1} NULLS LAST GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW)",
        "INT8",
        &["INT4", "?"],
        Always,
    ),
    form(
        "first_value({0}) OVER (ORDER BY {0} NULLS LAST RANGE BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)",
        "INT4",
        &["INT4"],
        Always,
    ),
];

/// A table of both.
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Columns with their types' names, and what is said of them.
    pub columns: &'static [(&'static str, &'static str, &'static str)],
    /// Constraints of the table.
    pub constraints: &'static str,
    /// The columns of its primary key.
    pub key: &'static [&'static str],
    /// How many rows it begins with.
    pub rows: usize,
}

/// The tables; `wide` has a column of each type, beside its key, which is added to it.
pub const TABLES: [Table; 3] = [
    Table {
        name: "wide",
        columns: &[("id", "INT8", "PRIMARY KEY")],
        constraints: "",
        key: &["id"],
        rows: 10,
    },
    Table {
        name: "pairs",
        columns: &[
            ("k", "INT4", "NOT NULL"),
            ("s", "TEXT", "NOT NULL"),
            ("n", "INT8", ""),
            ("at", "TIMESTAMPTZ", ""),
            ("v", "VARCHAR(8)", "DEFAULT 'dflt'"),
        ],
        constraints: ", PRIMARY KEY (k, s)",
        key: &["k", "s"],
        rows: 9,
    },
    Table {
        name: "items",
        columns: &[
            ("id", "INT8", "PRIMARY KEY"),
            ("code", "VARCHAR(8)", "UNIQUE"),
            ("n", "INT4", "NOT NULL DEFAULT 7 CHECK (n > -50)"),
            ("price", "FLOAT8", "CHECK (price IS NULL OR price >= 0)"),
            ("m", "mood", "DEFAULT 'ok'"),
        ],
        constraints: ", CHECK (n < 1000)",
        key: &["id"],
        rows: 9,
    },
];
