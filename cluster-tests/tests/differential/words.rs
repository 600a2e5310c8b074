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
pub const KINDS: [Kind; 11] = [
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
pub const FORMS: [Form; 111] = [
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
    form("concat({0}, {1})", "TEXT", &["?", "TEXT"], Always),
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
];

/// Aggregates.
pub const AGGREGATES: [Form; 15] = [
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
        rows: 16,
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
        rows: 12,
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
