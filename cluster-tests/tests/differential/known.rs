//! What differs on purpose. Each fact is a row of docs/compatibility.md.

use super::Answer;

/// A difference that is meant.
pub struct Known {
    /// As docs/compatibility.md says it.
    pub fact: &'static str,
    /// Whether these answers to this statement are the fact.
    applies: fn(&str, &Answer, &Answer) -> bool,
    /// Whether the statement says nothing of how the two compare, and is not counted.
    pub is_missing: bool,
}

const fn known_fact(fact: &'static str, applies: fn(&str, &Answer, &Answer) -> bool) -> Known {
    Known { fact, applies, is_missing: false }
}

const fn missing(fact: &'static str, applies: fn(&str, &Answer, &Answer) -> bool) -> Known {
    Known { fact, applies, is_missing: true }
}

/// All of them. What is refused with 0A000 and does not stand here is a difference too.
pub const KNOWN: [Known; 12] = [
    missing("a parenthesis at the beginning of a list", |text, _, ours| {
        refused(ours, "42601", "syntax error") && begins_a_list(text)
    }),
    missing("nested too deeply", |_, _, ours| refused(ours, "54000", "nested too deeply")),
    missing("a constant in GROUPING SETS", |_, _, ours| {
        refused(ours, "0A000", "a constant in GROUPING SETS")
    }),
    missing("a window function with GROUPING SETS", |_, _, ours| {
        refused(ours, "0A000", "a window function with GROUPING SETS")
    }),
    missing("an aggregate of a column of an outer query", |_, _, ours| {
        refused(ours, "0A000", "an aggregate of a column of an outer query")
    }),
    missing("sum() of integers as they are written", |text, _, ours| {
        text.contains("sum(") && refused(ours, "42804", "must be of type int, not type decimal")
    }),
    missing("reads a table after an item of it changed that", |_, _, ours| {
        refused(ours, "0A000", "after an item of WITH changed it")
    }),
    known_fact("an expression without columns", |_, theirs, ours| {
        refused(theirs, "22", "") && matches!(ours, Answer::Rows { count: 0, .. })
    }),
    known_fact("CHAR(n)", |text, theirs, ours| {
        (text.contains("CHAR(4)") || text.contains("wide")) && cells(theirs, trimmed) == cells(ours, trimmed)
    }),
    known_fact("which of several equal DECIMALs", |text, theirs, ours| {
        let chooses =
            ["DISTINCT", "UNION", "INTERSECT", "EXCEPT", "GROUP BY", "min(", "max(", "greatest", "least"];
        chooses.iter().any(|word| text.contains(word)) && cells(theirs, plain) == cells(ours, plain)
    }),
    known_fact("the last digit of a FLOAT8", |_, theirs, ours| cells(theirs, read) == cells(ours, read)),
    known_fact("-0 of FLOAT8", |_, theirs, ours| without_minus_zero(theirs) == without_minus_zero(ours)),
];

/// `IN ((SELECT …), …)`, `ROLLUP ((a)::TEXT)`: the parser takes the second parenthesis for that of a query or a list.
fn begins_a_list(text: &str) -> bool {
    let is_query = |rest: &str| rest.starts_with('(') && rest.trim_start_matches('(').starts_with("SELECT");
    let has_sets = ["ROLLUP (", "CUBE (", "SETS ("].iter().any(|words| text.contains(words));
    text.split("IN (").skip(1).any(is_query)
        || (has_sets && text.contains(")::"))
        || ["ROLLUP ((", "CUBE ((", "SETS (((", ", (("].iter().any(|words| text.contains(words))
}

/// The answer with each cell as `make` makes it, in any order.
fn cells(answer: &Answer, make: fn(&str) -> String) -> Answer {
    let mut answer = answer.clone();
    if let Answer::Rows { rows, .. } = &mut answer {
        for cell in rows.iter_mut().flatten().flatten() {
            *cell = make(cell);
        }
        rows.sort();
    }
    answer
}

fn without_minus_zero(answer: &Answer) -> Answer {
    cells(answer, |cell| if cell == "-0" { "0".to_owned() } else { cell.to_owned() })
}

fn trimmed(cell: &str) -> String {
    cell.trim_end_matches(' ').to_owned()
}

/// A number with an exponent as it is read.
fn read(cell: &str) -> String {
    let number = cell.contains("e+").then(|| cell.parse::<f64>().ok()).flatten();
    number.map_or_else(|| cell.to_owned(), |number| format!("{number:e}"))
}

/// A number without needless zeros.
fn plain(cell: &str) -> String {
    match cell.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{whole}.{}", fraction.trim_end_matches('0')).trim_end_matches('.').to_owned()
        }
        _ => trimmed(cell),
    }
}

fn refused(answer: &Answer, with: &str, text: &str) -> bool {
    matches!(answer, Answer::Refused { code, message } if code.starts_with(with) && message.contains(text))
}

/// The fact that explains this difference.
pub fn known(statement: &str, theirs: &Answer, ours: &Answer) -> Option<&'static Known> {
    KNOWN.iter().find(|known| (known.applies)(statement, theirs, ours))
}

/// Statements that once gave something else here.
pub const ONCE: [&str; 36] = [
    "SELECT least('1'::JSONB, '[]'::JSONB), '[]'::JSONB < 'null'::JSONB, '[[]]'::JSONB < '[1]'::JSONB, '[]' < '{}'::JSONB",
    "SELECT '-2.5'::JSONB -> 0, '\"a\"'::JSONB ->> -1, '1'::JSONB -> 1, '{}'::JSONB -> 0, '1'::JSONB #> ARRAY['0']",
    "SELECT s FROM pairs ORDER BY 'x' || s, k",
    "SELECT DISTINCT ON ((1)) k, s FROM pairs ORDER BY (1), (s) DESC",
    "SELECT 'all', count(*) FROM pairs WHERE k < 0 GROUP BY (1)",
    "SELECT count(*) FROM pairs GROUP BY 'x'",
    "UPDATE pairs SET v = o.code FROM items AS o WHERE o.id = pairs.k RETURNING pairs.*, o.id, o.n + pairs.k",
    "WITH w AS (UPDATE items SET n = n + 1 WHERE id < 3 RETURNING id, n) SELECT w.n - i.n, i.id FROM w JOIN items AS i USING (id)",
    "WITH w AS (DELETE FROM items WHERE id < 3 RETURNING id) SELECT count(*), (SELECT count(*) FROM w) FROM items",
    "WITH w AS (INSERT INTO items (id) VALUES (77) RETURNING id) SELECT w.id FROM w JOIN items USING (id)",
    "WITH w AS (DELETE FROM items RETURNING id, code), x AS (INSERT INTO pairs (k, s) SELECT id + 900, code FROM w RETURNING k) SELECT count(*) FROM x, pairs",
    "DELETE FROM items RETURNING id, (SELECT count(*) FROM items AS i WHERE i.id < items.id)",
    "WITH w AS (INSERT INTO items (id) VALUES (78)) SELECT * FROM w",
    "SELECT concat(true, 'x', NULL, 1), concat_ws('-', false, 'y')",
    "SELECT upper('größe'), lower('İ')",
    "SELECT (SELECT n FROM items ORDER BY n LIMIT 1), (SELECT 1)::INT4",
    "SELECT CASE WHEN true THEN n ELSE n END, CASE WHEN true THEN n END, (n + 1)::TEXT FROM items",
    "SELECT '1'::INT2::INT8, ('a' || 'b')::VARCHAR(8), substr('abc', 2), substring('abc', 2), NOT EXISTS (SELECT 1)",
    "SELECT trim(LEADING 'a' FROM 'ab'), trim(TRAILING 'b' FROM 'ab'), trim('x')",
    "SELECT 1 FROM items HAVING count(*) >= 0",
    "SELECT 1 FROM items HAVING true",
    "SELECT 1 FROM items HAVING false",
    "SELECT q1.n, (SELECT 5 FROM pairs HAVING q1.n > 5) FROM items AS q1",
    "SELECT 1 WHERE false HAVING true",
    "SELECT count(*) FROM items GROUP BY (n > 3 AND false)",
    "SELECT n FROM items ORDER BY (n > 3 AND false), n",
    "INSERT INTO wide (id, f) VALUES (900, '0.5'), (901, 1e6::FLOAT8) RETURNING coalesce(f, 1), f + 1",
    "UPDATE pairs SET v = (SELECT max(q1.v) FROM pairs AS q1 WHERE q1.k <= pairs.k)",
    "SELECT -2 ^ 2, 2 * -3 ^ 2, - 2 ^ 3 ^ 2, 12 # 10",
    "SELECT CASE 1.50 WHEN 1 THEN 'one' WHEN 1.5 THEN 'both' END, CASE 1 WHEN 1.5 THEN 'a' WHEN 1.0 THEN 'b' END",
    "SELECT 4 >= ANY (SELECT NULL UNION SELECT 4), 4 > ALL (SELECT NULL UNION SELECT 3)",
    "SELECT f, sum(f) OVER (ORDER BY o ROWS 1 PRECEDING) FROM (VALUES (1, 'Infinity'::FLOAT8), (2, 2), (3, 3)) AS v (o, f)",
    "SELECT '{1,02,NULL}'::INT8[], '{t,false}'::BOOL[]",
    "SELECT E'a\\nb' ~ 'a.b', 'ä' ~ '^[[:alpha:]]$', 'ä' ~ '\\w', 'a&&b' ~ '^[a&&b]+$', '[' ~ '[[]', 'a{,2}' ~ 'a{,2}$'",
    "SELECT 'foo bar' ~ '\\mbar\\M', 'ab cd' ~ '\\bcd', '٣' ~ '\\d', 'ab' ~ '\\Aab\\Z', E'a\\nb' ~ '(?n)a$', 'a.c' ~ '***=.c'",
    "SELECT format('%L', E'a\\\\b')",
];
