//! Results as a table for people, as CSV or JSON for programs.

use std::io::{self, Write};

use comfy_table::modifiers::UTF8_ROUND_CORNERS;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// With lines around, for people.
    Table,
    /// RFC 4180, with a header. NULL is an empty field, the empty string is `""`.
    Csv,
    /// One array of objects for each statement, on one line.
    Json,
}

impl Format {
    /// Every format with its name.
    pub const NAMES: [(&'static str, Self); 3] =
        [("table", Self::Table), ("csv", Self::Csv), ("json", Self::Json)];
}

/// How a column's text becomes JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `t` and `f`.
    Bool,
    /// Digits.
    Number,
    /// Anything else.
    Text,
}

/// What a statement returned, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultSet {
    /// Names and shapes of the columns.
    pub columns: Vec<(String, Shape)>,
    /// The rows; none is NULL.
    pub rows: Vec<Vec<Option<String>>>,
}

/// Writes `result` to `out`.
pub fn write(out: &mut dyn Write, format: Format, result: &ResultSet) -> io::Result<()> {
    match format {
        Format::Table => write_table(out, result),
        Format::Csv => write_csv(out, result),
        Format::Json => write_json(out, result),
    }
}

fn write_table(out: &mut dyn Write, result: &ResultSet) -> io::Result<()> {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).apply_modifier(UTF8_ROUND_CORNERS);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(result.columns.iter().map(|(name, _)| name.as_str()));
    for row in &result.rows {
        table.add_row(row.iter().map(|value| value.as_deref().map_or("NULL".into(), printable)));
    }
    let count = result.rows.len();
    let unit = if count == 1 { "row" } else { "rows" };
    writeln!(out, "{table}\n({count} {unit})")
}

/// Control characters would let a stored text write to the terminal what it likes.
fn printable(text: &str) -> std::borrow::Cow<'_, str> {
    let is_harmless = |c: char| !c.is_control() || c == '\n' || c == '\t';
    if text.chars().all(is_harmless) {
        return text.into();
    }
    text.chars().map(|c| if is_harmless(c) { c } else { '\u{fffd}' }).collect()
}

fn write_csv(out: &mut dyn Write, result: &ResultSet) -> io::Result<()> {
    let header = result.columns.iter().map(|(name, _)| Some(name.as_str()));
    write_csv_line(out, header)?;
    for row in &result.rows {
        write_csv_line(out, row.iter().map(Option::as_deref))?;
    }
    Ok(())
}

fn write_csv_line<'a>(out: &mut dyn Write, fields: impl Iterator<Item = Option<&'a str>>) -> io::Result<()> {
    for (index, field) in fields.enumerate() {
        if index > 0 {
            out.write_all(b",")?;
        }
        match field {
            None => {}
            Some(text) if text.is_empty() || text.contains([',', '"', '\n', '\r']) => {
                write!(out, "\"{}\"", text.replace('"', "\"\""))?;
            }
            Some(text) => out.write_all(text.as_bytes())?,
        }
    }
    out.write_all(b"\n")
}

fn write_json(out: &mut dyn Write, result: &ResultSet) -> io::Result<()> {
    let names = distinct(&result.columns);
    let rows: Vec<serde_json::Value> = result
        .rows
        .iter()
        .map(|row| {
            let fields = names.iter().zip(&result.columns).zip(row);
            fields.map(|((name, (_, shape)), value)| (name.clone(), json(*shape, value.as_deref()))).collect()
        })
        .collect();
    serde_json::to_writer(&mut *out, &rows)?;
    out.write_all(b"\n")
}

/// Columns may share a name, members of an object may not: the second `count` becomes `count_2`.
fn distinct(columns: &[(String, Shape)]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(columns.len());
    for (name, _) in columns {
        let mut candidate = name.clone();
        let mut number = 2;
        while names.contains(&candidate) {
            candidate = format!("{name}_{number}");
            number += 1;
        }
        names.push(candidate);
    }
    names
}

fn json(shape: Shape, value: Option<&str>) -> serde_json::Value {
    let Some(text) = value else { return serde_json::Value::Null };
    match shape {
        Shape::Bool if text == "t" || text == "true" => true.into(),
        Shape::Bool if text == "f" || text == "false" => false.into(),
        // NaN and infinity are no JSON numbers: they stay text.
        Shape::Number => match serde_json::from_str::<serde_json::Number>(text) {
            Ok(number) => number.into(),
            Err(_) => text.into(),
        },
        Shape::Bool | Shape::Text => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ResultSet {
        let some = |text: &str| Some(text.to_owned());
        ResultSet {
            columns: vec![
                ("name".to_owned(), Shape::Text),
                ("n".to_owned(), Shape::Number),
                ("n".to_owned(), Shape::Number),
                ("ok".to_owned(), Shape::Bool),
            ],
            rows: vec![
                vec![some("a,\"b\""), some("1"), some("NaN"), some("t")],
                vec![some(""), None, some("2.5"), some("f")],
            ],
        }
    }

    fn written(format: Format) -> String {
        let mut out = Vec::new();
        write(&mut out, format, &sample()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn csv_tells_null_from_the_empty_string_and_quotes_what_needs_it() {
        assert_eq!(written(Format::Csv), "name,n,n,ok\n\"a,\"\"b\"\"\",1,NaN,t\n\"\",,2.5,f\n");
    }

    #[test]
    fn json_keeps_types_order_and_columns_of_the_same_name() {
        assert_eq!(
            written(Format::Json),
            "[{\"name\":\"a,\\\"b\\\"\",\"n\":1,\"n_2\":\"NaN\",\"ok\":true},\
             {\"name\":\"\",\"n\":null,\"n_2\":2.5,\"ok\":false}]\n"
        );
    }

    #[test]
    fn a_table_shows_null_by_name_and_counts_its_rows() {
        let text = written(Format::Table);
        assert!(text.contains("│ name"), "{text}");
        assert!(text.contains("┆ NULL ┆"), "{text}");
        assert!(text.ends_with("(2 rows)\n"), "{text}");
    }

    #[test]
    fn stored_text_cannot_drive_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb"), "a\u{fffd}[2Jb");
    }
}
