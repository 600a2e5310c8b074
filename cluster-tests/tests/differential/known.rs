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
pub const KNOWN: [Known; 9] = [
    missing("a parenthesis at the beginning of a list", |text, _, ours| {
        refused(ours, "42601", "syntax error") && begins_a_list(text)
    }),
    missing("nested too deeply", |_, _, ours| refused(ours, "54000", "nested too deeply")),
    missing("a constant in GROUP BY", |_, _, ours| refused(ours, "0A000", "a constant in GROUP BY")),
    missing("a window function with GROUPING SETS", |_, _, ours| {
        refused(ours, "0A000", "a window function with GROUPING SETS")
    }),
    missing("an aggregate of a column of an outer query", |_, _, ours| {
        refused(ours, "0A000", "an aggregate of a column of an outer query")
    }),
    missing("RETURNING of what FROM or USING holds", |_, _, ours| {
        refused(ours, "0A000", "RETURNING of what FROM or USING holds")
    }),
    missing("sum() and avg() of integers", |text, _, ours| {
        text.contains("sum(") && refused(ours, "42804", "must be of type int, not type decimal")
    }),
    known_fact("an expression without columns", |_, theirs, ours| {
        refused(theirs, "22", "") && matches!(ours, Answer::Rows { count: 0, .. })
    }),
    known_fact("-0 of FLOAT8", |_, theirs, ours| without_minus_zero(theirs) == without_minus_zero(ours)),
];

/// `IN ((SELECT …), …)`, `ROLLUP ((a)::TEXT)`: the parser takes the second parenthesis for that of a query or a list.
fn begins_a_list(text: &str) -> bool {
    let is_query = |rest: &str| rest.starts_with('(') && rest.trim_start_matches('(').starts_with("SELECT");
    text.split("IN (").skip(1).any(is_query)
        || ["ROLLUP ((", "CUBE ((", "SETS (((", ", (("].iter().any(|words| text.contains(words))
}

fn without_minus_zero(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    if let Answer::Rows { rows, .. } = &mut answer {
        for cell in rows.iter_mut().flatten().flatten().filter(|cell| *cell == "-0") {
            "0".clone_into(cell);
        }
        rows.sort();
    }
    answer
}

fn refused(answer: &Answer, with: &str, text: &str) -> bool {
    matches!(answer, Answer::Refused { code, message } if code.starts_with(with) && message.contains(text))
}

/// The fact that explains this difference.
pub fn known(statement: &str, theirs: &Answer, ours: &Answer) -> Option<&'static Known> {
    KNOWN.iter().find(|known| (known.applies)(statement, theirs, ours))
}

/// Statements that once gave something else here.
pub const ONCE: [&str; 15] = [
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
];
