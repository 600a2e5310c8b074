//! Comparison of what SQLite would not order by itself: DECIMAL, INTERVAL and JSONB are texts in rows, and several texts
//! may be one value.
//!
//! A column has the collation of its type, so that keys and indexes serve. SQLite takes a COLLATE in an expression for
//! the collation of all that is made of it, up to the comparison of two plain texts; therefore COLLATE stands only where
//! an item of a list ends ([`listed`]), never inside of an expression: there a function compares.

use super::Typed;
use crate::value::SqlType;

/// The collation of a type, which also begins the names of its functions; none: SQLite's own order is right.
pub const fn collation(sql_type: SqlType) -> Option<&'static str> {
    match sql_type {
        SqlType::Numeric => Some("decimal"),
        SqlType::Interval => Some("interval"),
        SqlType::Jsonb => Some("jsonb"),
        SqlType::Bool
        | SqlType::Int2
        | SqlType::Int4
        | SqlType::Int8
        | SqlType::Float4
        | SqlType::Float8
        | SqlType::Text
        | SqlType::Varchar
        | SqlType::Bpchar(_)
        | SqlType::Bytea
        | SqlType::Uuid
        | SqlType::TimestampTz
        | SqlType::Timestamp
        | SqlType::Date
        | SqlType::Time
        | SqlType::Oid
        | SqlType::Name
        | SqlType::TextArray
        | SqlType::Array(_)
        | SqlType::Reg(_)
        | SqlType::Enum(_)
        | SqlType::Unknown => None,
    }
}

/// Whether a text is the name of a column and nothing else.
pub fn is_column(sql: &str) -> bool {
    let mut quoted = false;
    let plain = sql.chars().all(|char| {
        quoted ^= char == '"';
        quoted || char == '"' || char == '.' || char == '_' || char.is_ascii_alphanumeric()
    });
    plain && sql != "NULL" && sql.starts_with(|char: char| char == '"' || char.is_ascii_alphabetic())
}

/// An item of a select list, GROUP BY, ORDER BY or PARTITION BY.
pub fn listed(typed: &Typed) -> String {
    listed_as(&typed.sql, typed.sql_type)
}

/// The same of a text.
pub fn listed_as(sql: &str, sql_type: SqlType) -> String {
    match collation(sql_type) {
        Some(collation) if !is_column(sql) && sql != "NULL" => format!("{sql} COLLATE {collation}"),
        _ => sql.to_owned(),
    }
}

/// What is equal for equal values, for DISTINCT inside of a call.
pub fn key(typed: &Typed) -> String {
    match collation(typed.sql_type) {
        Some(kind) => format!("g_{kind}_key({})", typed.sql),
        None => typed.sql.clone(),
    }
}

/// `left symbol right`, both of one type.
pub fn comparison(symbol: &str, left: &Typed, right: &Typed) -> String {
    let (a, b) = (&left.sql, &right.sql);
    match collation(left.sql_type) {
        Some(kind) if !is_column(a) && !is_column(b) => match symbol {
            "IS" | "IS NOT" => format!("({} {symbol} {})", key(left), key(right)),
            _ => format!("(g_{kind}_cmp({a}, {b}) {symbol} 0)"),
        },
        _ => format!("({a} {symbol} {b})"),
    }
}

/// `item [NOT] IN (list)`, all of one type.
pub fn in_list(items: &[Typed], not: &str) -> String {
    let Some((item, list)) = items.split_first() else { return "0".to_owned() };
    let keyed = collation(item.sql_type).is_some() && !is_column(&item.sql);
    let render = |typed: &Typed| if keyed { key(typed) } else { typed.sql.clone() };
    let list: Vec<_> = list.iter().map(render).collect();
    format!("({} {not}IN ({}))", render(item), list.join(", "))
}

/// `left [NOT] IN (SELECT right FROM source)`, both of one type.
pub fn in_rows(left: &Typed, right: &Typed, not: &str, source: &str) -> String {
    let keyed = collation(left.sql_type).is_some() && !is_column(&left.sql) && !is_column(&right.sql);
    let render = |typed: &Typed| if keyed { key(typed) } else { typed.sql.clone() };
    format!("({} {not}IN (SELECT {} FROM {source}))", render(left), render(right))
}

/// `item [NOT] BETWEEN low AND high`, all of one type.
pub fn between(item: &Typed, low: &Typed, high: &Typed, not: &str) -> String {
    if collation(item.sql_type).is_some() && !is_column(&item.sql) {
        let (above, below) = (comparison(">=", item, low), comparison("<=", item, high));
        return format!("({not}({above} AND {below}))");
    }
    format!("({} {not}BETWEEN {} AND {})", item.sql, low.sql, high.sql)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_name_of_a_column_is_one() {
        for (sql, expected) in [
            ("q1.\"a b\"", true),
            ("\"x\"", true),
            ("k1", true),
            ("q1.k2", true),
            ("'1.5'", false),
            ("?1", false),
            ("NULL", false),
            ("g_decimal_add(q1.a, q1.b)", false),
            ("(q1.a)", false),
            ("CAST(q1.a AS TEXT)", false),
        ] {
            assert_eq!(is_column(sql), expected, "{sql}");
        }
    }
}
