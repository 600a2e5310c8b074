//! TEXT[] from and to text.

use std::fmt::{self, Write};

/// The most items of an array.
pub const ITEMS_MAX: usize = 100_000;

/// `{a,"b c",NULL}`.
pub fn write(items: &[Option<String>], out: &mut impl Write) -> fmt::Result {
    out.write_char('{')?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.write_char(',')?;
        }
        match item {
            None => out.write_str("NULL")?,
            Some(item) if is_plain(item) => out.write_str(item)?,
            Some(item) => {
                out.write_char('"')?;
                for c in item.chars() {
                    if matches!(c, '"' | '\\') {
                        out.write_char('\\')?;
                    }
                    out.write_char(c)?;
                }
                out.write_char('"')?;
            }
        }
    }
    out.write_char('}')
}

fn is_plain(item: &str) -> bool {
    let special =
        |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || c.is_ascii_whitespace() || c == '\u{b}';
    !item.is_empty() && !item.eq_ignore_ascii_case("null") && !item.contains(special)
}

/// An array literal of one dimension: `{a,"b \" c",NULL}`.
pub fn parse(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let mut items = Vec::new();
    let mut chars = inner.chars().peekable();
    if inner.trim().is_empty() {
        return Some(items);
    }
    loop {
        while chars.next_if(char::is_ascii_whitespace).is_some() {}
        let mut item = String::new();
        let quoted = chars.next_if_eq(&'"').is_some();
        loop {
            match chars.peek() {
                None if quoted => return None,
                None => break,
                Some(',') if !quoted => break,
                Some('"') if quoted => break,
                Some('"' | '{' | '}') if !quoted => return None,
                Some('\\') => {
                    chars.next();
                    item.push(chars.next()?);
                }
                Some(_) => item.extend(chars.next()),
            }
        }
        if quoted {
            chars.next();
            while chars.next_if(char::is_ascii_whitespace).is_some() {}
        } else {
            item.truncate(item.trim_end().len());
            if item.is_empty() {
                return None;
            }
        }
        let null = !quoted && item.eq_ignore_ascii_case("null");
        items.push(if null { None } else { Some(item) });
        match chars.next() {
            None => return Some(items),
            Some(',') if items.len() < ITEMS_MAX => {}
            Some(_) => return None,
        }
    }
}
