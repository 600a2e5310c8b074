//! Where a statement ends: at a `;` that is not inside a string, a quoted name, a comment or a dollar quote.

/// The length of the first statement of `text`, its `;` included. None: it has no end yet.
///
/// Follows PostgreSQL's lexical rules (manual, "SQL Syntax", 4.1), with E'' strings and nested comments.
pub fn statement_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        at = match bytes[at] {
            b';' => return Some(at + 1),
            b'\'' => string_end(bytes, at, has_escapes(bytes, at))?,
            b'"' => quoted_end(bytes, at, b'"')?,
            b'-' if bytes[at..].starts_with(b"--") => line_end(bytes, at)?,
            b'/' if bytes[at..].starts_with(b"/*") => comment_end(bytes, at)?,
            b'$' => dollar_end(text, at)?,
            _ => at + 1,
        };
    }
    None
}

/// Whether `text` holds nothing but blanks, comments and `;`.
pub fn is_blank(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let next = match bytes[at] {
            b';' => Some(at + 1),
            b'-' if bytes[at..].starts_with(b"--") => Some(line_end(bytes, at).unwrap_or(bytes.len())),
            b'/' if bytes[at..].starts_with(b"/*") => comment_end(bytes, at),
            byte if byte.is_ascii_whitespace() => Some(at + 1),
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return false,
        }
    }
    true
}

fn has_escapes(bytes: &[u8], quote: usize) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    match quote.checked_sub(1).map(|before| bytes[before]) {
        Some(b'e' | b'E') => quote < 2 || !is_word(bytes[quote - 2]),
        _ => false,
    }
}

fn string_end(bytes: &[u8], start: usize, escapes: bool) -> Option<usize> {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return Some(at + 1),
            _ => at += 1,
        }
    }
    None
}

fn quoted_end(bytes: &[u8], start: usize, quote: u8) -> Option<usize> {
    bytes[start + 1..].iter().position(|byte| *byte == quote).map(|found| start + found + 2)
}

fn line_end(bytes: &[u8], start: usize) -> Option<usize> {
    bytes[start..].iter().position(|byte| *byte == b'\n').map(|found| start + found + 1)
}

fn comment_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = start;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += 1;
        }
    }
    None
}

/// After a dollar-quoted string that begins at `start`; after the `$` alone if none begins there (`$1`).
fn dollar_end(text: &str, start: usize) -> Option<usize> {
    let rest = &text[start + 1..];
    let before = text[..start].chars().next_back();
    let tag_length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let tag = &rest[..tag_length];
    let opens = rest[tag_length..].starts_with('$')
        && !tag.starts_with(|c: char| c.is_ascii_digit())
        && !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if !opens {
        return Some(start + 1);
    }
    let quote = format!("${tag}$");
    let body = start + quote.len();
    text[body..].find(&quote).map(|found| body + found + quote.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn first(text: &str) -> Option<&str> {
        statement_end(text).map(|end| &text[..end])
    }

    #[test]
    fn a_semicolon_ends_a_statement() {
        assert_eq!(first("SELECT 1; SELECT 2;"), Some("SELECT 1;"));
        assert_eq!(first("SELECT 1"), None);
    }

    #[test]
    fn a_semicolon_inside_quotes_or_comments_ends_nothing() {
        for text in [
            "SELECT ';';",
            "SELECT 'it''s; ';",
            r"SELECT E'\';';",
            r#"SELECT ";" FROM "a;b";"#,
            "SELECT 1 -- not; here\n;",
            "SELECT /* a; /* b; */ c; */ 1;",
            "SELECT $$;$$;",
            "SELECT $a$ ; $$ ; $a$;",
        ] {
            assert_eq!(first(text), Some(text));
        }
    }

    #[test]
    fn what_is_left_open_has_no_end() {
        for text in ["SELECT ';", "SELECT \";", "/* ;", "SELECT $x$ ; $y$;", "SELECT 1 -- ;"] {
            assert_eq!(first(text), None, "{text}");
        }
    }

    #[test]
    fn a_backslash_escapes_only_where_the_string_says_so() {
        assert_eq!(first(r"SELECT 'a\'; x"), Some(r"SELECT 'a\';"));
        assert_eq!(first(r"SELECT namee'a\'; x"), Some(r"SELECT namee'a\';"));
    }

    #[test]
    fn parameters_are_no_dollar_quotes() {
        assert_eq!(first("SELECT $1, $2;"), Some("SELECT $1, $2;"));
    }

    #[test]
    fn comments_and_blanks_are_blank() {
        assert!(is_blank(" -- x\n /* y */ ;"));
        assert!(!is_blank("SELECT"));
        assert!(is_blank("-- x"));
    }

    proptest! {
        #[test]
        fn the_end_is_a_character_boundary_behind_a_semicolon(text in "[a-z'\"$;/*\\-éE\\\\ \n1]{0,40}") {
            if let Some(end) = statement_end(&text) {
                prop_assert!(text[..end].ends_with(';'));
            }
            is_blank(&text);
        }
    }
}
