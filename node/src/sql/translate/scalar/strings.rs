//! Functions on texts and bytes.

use base64::Engine;
use grantd_raft::rows::Value;
use regex::{Captures, Regex};
use sha2::Digest;

use super::{Entry, REPEAT_BYTES_MAX, int, string};
use crate::error::{SqlError, state};
use crate::sql::translate;
use crate::sql::translate::pattern::{bounded, compiled};
use crate::value::text::{self, array_text};

pub(super) const TABLE: &[Entry] = &[
    ("g_char", 2, true, |v| {
        let most = usize::try_from(int(&v[1])?).unwrap_or(0);
        let kept: String = string(&v[0])?.chars().take(most).collect();
        Ok(Value::Text(kept.trim_end_matches(' ').to_owned()))
    }),
    ("g_char_fit", 2, true, |v| {
        let (value, most) = (string(&v[0])?.trim_end_matches(' '), int(&v[1])?);
        if usize::try_from(most).is_ok_and(|most| value.chars().count() <= most) {
            return Ok(Value::Text(value.to_owned()));
        }
        Err(SqlError::new(
            state::STRING_DATA_RIGHT_TRUNCATION,
            format!("value too long for type CHAR({most})"),
        ))
    }),
    ("g_unblank", 1, true, |v| Ok(Value::Text(string(&v[0])?.trim_end_matches(' ').to_owned()))),
    ("g_initcap", 1, true, |v| Ok(Value::Text(initcap(string(&v[0])?)))),
    ("g_lpad", -1, true, |v| padded(v, true)),
    ("g_rpad", -1, true, |v| padded(v, false)),
    ("g_overlay", -1, true, overlay),
    ("g_translate", 3, true, translated),
    ("g_ascii", 1, true, |v| {
        Ok(Value::Integer(string(&v[0])?.chars().next().map_or(0, |c| u32::from(c).into())))
    }),
    ("g_chr", 1, true, |v| match u32::try_from(int(&v[0])?).ok().map(|code| (code, char::from_u32(code))) {
        Some((0, _)) => Err(SqlError::new(state_of("54000"), "null character not permitted")),
        Some((_, Some(char))) => Ok(Value::Text(char.to_string())),
        _ => Err(SqlError::new(state_of("54000"), "requested character not valid for encoding")),
    }),
    ("g_md5", 1, true, |v| Ok(Value::Text(hex(&md5(data(&v[0])?))))),
    ("g_sha256", 1, true, |v| Ok(Value::Blob(sha2::Sha256::digest(data(&v[0])?).to_vec()))),
    ("g_sha512", 1, true, |v| Ok(Value::Blob(sha2::Sha512::digest(data(&v[0])?).to_vec()))),
    ("g_sha256_text", 1, true, |v| Ok(Value::Text(hex(&sha2::Sha256::digest(data(&v[0])?))))),
    ("g_encode", 2, true, encoded),
    ("g_decode", 2, true, decoded),
    ("g_byte_length", 1, true, |v| {
        i64::try_from(data(&v[0])?.len()).map(Value::Integer).map_err(|_| super::wrong())
    }),
    ("g_quote_nullable", 1, false, |v| {
        Ok(Value::Text(match &v[0] {
            Value::Null => "NULL".to_owned(),
            value => literal(string(value)?),
        }))
    }),
    ("g_format", -1, false, formatted),
    ("g_regex_replace", -1, true, replaced),
    ("g_regex_match", -1, true, matched),
    ("g_regex_substring", 2, true, |v| {
        let regex = compiled(string(&v[1])?, "")?;
        let value = bounded(string(&v[0])?)?;
        let Some(found) = regex.captures(value) else { return Ok(Value::Null) };
        let part = if found.len() > 1 { found.get(1) } else { found.get(0) };
        Ok(part.map_or(Value::Null, |part| Value::Text(part.as_str().to_owned())))
    }),
    ("g_regex_split", -1, true, |v| {
        let regex = compiled(string(&v[1])?, v.get(2).map_or(Ok(""), string)?)?;
        let value = bounded(string(&v[0])?)?;
        let parts: Vec<_> = split(&regex, value).into_iter().map(|part| Some(part.to_owned())).collect();
        Ok(Value::Text(array_text(&parts)))
    }),
    ("g_regex_split_rows", -1, true, |v| {
        let regex = compiled(string(&v[1])?, v.get(2).map_or(Ok(""), string)?)?;
        Ok(json_array(split(&regex, bounded(string(&v[0])?)?)))
    }),
    ("g_regex_match_rows", -1, true, |v| {
        let flags = v.get(2).map_or(Ok(""), string)?;
        let regex = compiled(string(&v[1])?, flags)?;
        let value = bounded(string(&v[0])?)?;
        let most = if flags.contains('g') { usize::MAX } else { 1 };
        let rows: Vec<_> = regex.captures_iter(value).take(most).map(|found| groups(&found)).collect();
        Ok(json_array(rows.iter().map(String::as_str).collect()))
    }),
    ("g_regex_count", -1, true, |v| {
        let regex = compiled(string(&v[1])?, "")?;
        let count = regex.find_iter(bounded(string(&v[0])?)?).count();
        i64::try_from(count).map(Value::Integer).map_err(|_| super::wrong())
    }),
];

fn state_of(code: &'static str) -> grantd_catalog::refusal::SqlState {
    grantd_catalog::refusal::SqlState::new(code)
}

fn invalid(message: impl Into<String>) -> SqlError {
    SqlError::new(grantd_catalog::refusal::state::INVALID_PARAMETER_VALUE, message)
}

fn json_array(items: Vec<&str>) -> Value {
    Value::Text(serde_json::Value::from(items).to_string())
}

fn data(value: &Value) -> Result<&[u8], SqlError> {
    match value {
        Value::Text(text) => Ok(text.as_bytes()),
        Value::Blob(bytes) => Ok(bytes),
        Value::Null | Value::Integer(_) | Value::Real(_) => Err(super::wrong()),
    }
}

fn hex(bytes: &[u8]) -> String {
    text::bytes(bytes)[2..].to_owned()
}

fn too_large(name: &str) -> SqlError {
    SqlError::too_large(format!("the result of {name}() is too large"))
}

/// The first letter of each word in capitals, the others small.
fn initcap(value: &str) -> String {
    let (mut out, mut inside) = (String::with_capacity(value.len()), false);
    for char in value.chars() {
        if inside {
            out.extend(char.to_lowercase());
        } else {
            out.extend(char.to_uppercase());
        }
        inside = char.is_alphanumeric();
    }
    out
}

fn padded(values: &[Value], left: bool) -> Result<Value, SqlError> {
    let (value, length) = (string(&values[0])?, usize::try_from(int(&values[1])?).unwrap_or(0));
    if length > REPEAT_BYTES_MAX {
        return Err(too_large(if left { "lpad" } else { "rpad" }));
    }
    let filler: Vec<char> = values.get(2).map_or(Ok(" "), string)?.chars().collect();
    let kept: String = value.chars().take(length).collect();
    let missing = length - kept.chars().count();
    let padding: String = filler.iter().cycle().take(if filler.is_empty() { 0 } else { missing }).collect();
    Ok(Value::Text(if left { padding + &kept } else { kept + &padding }))
}

/// `overlay(value placing with from start for length)`.
fn overlay(values: &[Value]) -> Result<Value, SqlError> {
    let (value, with, start) = (string(&values[0])?, string(&values[1])?, int(&values[2])?);
    let length = match values.get(3) {
        Some(length) => int(length)?,
        None => i64::try_from(with.chars().count()).unwrap_or(i64::MAX),
    };
    if start <= 0 {
        return Err(SqlError::new(state_of("22011"), "negative substring length not allowed"));
    }
    let before = usize::try_from(start - 1).unwrap_or(usize::MAX);
    let after = usize::try_from(start.saturating_add(length).saturating_sub(1)).unwrap_or(0);
    let head: String = value.chars().take(before).collect();
    let tail: String = value.chars().skip(after).collect();
    Ok(Value::Text(format!("{head}{with}{tail}")))
}

fn translated(values: &[Value]) -> Result<Value, SqlError> {
    let to: Vec<char> = string(&values[2])?.chars().collect();
    let mut map = std::collections::BTreeMap::new();
    for (at, from) in string(&values[1])?.chars().enumerate() {
        map.entry(from).or_insert_with(|| to.get(at).copied());
    }
    let replaced = string(&values[0])?.chars().filter_map(|char| match map.get(&char) {
        Some(with) => *with,
        None => Some(char),
    });
    Ok(Value::Text(replaced.collect()))
}

fn encoded(values: &[Value]) -> Result<Value, SqlError> {
    let bytes = data(&values[0])?;
    Ok(Value::Text(match string(&values[1])?.to_ascii_lowercase().as_str() {
        "hex" => hex(bytes),
        "base64" => {
            // PostgreSQL breaks lines after 76 characters.
            let whole = base64::engine::general_purpose::STANDARD.encode(bytes);
            let lines: Vec<_> = whole.as_bytes().chunks(76).map(String::from_utf8_lossy).collect();
            lines.join("\n")
        }
        "escape" => {
            let mut out = String::new();
            for byte in bytes {
                match byte {
                    0 | 0x80.. => out.push_str(&format!("\\{byte:03o}")),
                    b'\\' => out.push_str("\\\\"),
                    byte => out.push(char::from(*byte)),
                }
            }
            out
        }
        other => return Err(invalid(format!("unrecognized encoding: \"{}\"", short(other)))),
    }))
}

fn decoded(values: &[Value]) -> Result<Value, SqlError> {
    let value = string(&values[0])?;
    let compact: String = value.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = match string(&values[1])?.to_ascii_lowercase().as_str() {
        "hex" => text::parse_bytes(&format!("\\x{compact}")).ok_or("invalid hexadecimal data"),
        "base64" => base64::engine::general_purpose::STANDARD
            .decode(compact.as_bytes())
            .map_err(|_| "invalid base64 end sequence"),
        "escape" if !value.starts_with("\\x") => {
            text::parse_bytes(value).ok_or("invalid input syntax for type bytea")
        }
        "escape" => Err("invalid input syntax for type bytea"),
        other => return Err(invalid(format!("unrecognized encoding: \"{}\"", short(other)))),
    };
    bytes.map(Value::Blob).map_err(invalid)
}

fn short(text: &str) -> String {
    text.chars().take(40).collect()
}

/// A text in quotes, as SQL reads it.
fn literal(value: &str) -> String {
    let quoted = value.replace('\'', "''");
    match value.contains('\\') {
        true => format!("E'{}'", quoted.replace('\\', "\\\\")),
        false => format!("'{quoted}'"),
    }
}

/// `format(pattern, …)` with `%s`, `%I`, `%L`, `%n$…`, widths and `-`. Arguments are texts.
fn formatted(values: &[Value]) -> Result<Value, SqlError> {
    let pattern = match &values[0] {
        Value::Null => return Ok(Value::Null),
        value => string(value)?,
    };
    let (mut out, mut next, mut chars) = (String::new(), 1, pattern.chars().peekable());
    let unended = || invalid("unterminated format() type specifier");
    while let Some(char) = chars.next() {
        if char != '%' {
            out.push(char);
            continue;
        }
        if chars.next_if_eq(&'%').is_some() {
            out.push('%');
            continue;
        }
        let digits = |chars: &mut std::iter::Peekable<std::str::Chars<'_>>| {
            let mut digits = String::new();
            while let Some(digit) = chars.next_if(char::is_ascii_digit) {
                digits.push(digit);
            }
            digits
        };
        let mut number = digits(&mut chars);
        if !number.is_empty() && chars.next_if_eq(&'$').is_some() {
            next = number.parse().map_err(|_| unended())?;
            number.clear();
        }
        let left = chars.next_if_eq(&'-').is_some();
        if number.is_empty() {
            number = digits(&mut chars);
        }
        let width: usize = if number.is_empty() { 0 } else { number.parse().map_err(|_| unended())? };
        if width > REPEAT_BYTES_MAX || out.len() > REPEAT_BYTES_MAX {
            return Err(too_large("format"));
        }
        let kind = chars.next().ok_or_else(unended)?;
        if next == 0 {
            return Err(invalid("format specifies argument 0, but arguments are numbered from 1"));
        }
        let value = values.get(next).ok_or_else(|| invalid("too few arguments for format()"))?;
        next += 1;
        let text = match (kind, value) {
            ('s', Value::Null) => String::new(),
            ('s', value) => string(value)?.to_owned(),
            ('I', Value::Null) => {
                return Err(SqlError::new(
                    state_of("22004"),
                    "null values cannot be formatted as an SQL identifier",
                ));
            }
            ('I', value) => translate::quote_ident(string(value)?),
            ('L', Value::Null) => "NULL".to_owned(),
            ('L', value) => literal(string(value)?),
            (other, _) => return Err(invalid(format!("unrecognized format() type specifier \"{other}\""))),
        };
        let padding = " ".repeat(width.saturating_sub(text.chars().count()));
        out.push_str(&if left { text + &padding } else { padding + &text });
    }
    Ok(Value::Text(out))
}

/// `regexp_replace(text, pattern, replacement [, flags])`: `\1` is a group, `\&` all of it.
fn replaced(values: &[Value]) -> Result<Value, SqlError> {
    let flags = values.get(3).map_or(Ok(""), string)?;
    let regex = compiled(string(&values[1])?, flags)?;
    let (value, with) = (bounded(string(&values[0])?)?, string(&values[2])?);
    let mut bytes = 0;
    let expand = |found: &Captures<'_>| {
        let (mut out, mut chars) = (String::new(), with.chars());
        if bytes > REPEAT_BYTES_MAX {
            return out;
        }
        while let Some(char) = chars.next() {
            if char != '\\' {
                out.push(char);
                continue;
            }
            match chars.next() {
                Some('&') => out.push_str(found.get(0).map_or("", |part| part.as_str())),
                Some(digit @ '1'..='9') => {
                    let at = digit.to_digit(10).and_then(|digit| usize::try_from(digit).ok()).unwrap_or(0);
                    out.push_str(found.get(at).map_or("", |part| part.as_str()));
                }
                Some('\\') => out.push('\\'),
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            }
            if bytes + out.len() > REPEAT_BYTES_MAX {
                break;
            }
        }
        bytes += out.len();
        out
    };
    let most = if flags.contains('g') { 0 } else { 1 };
    let replaced = regex.replacen(value, most, expand).into_owned();
    if bytes > REPEAT_BYTES_MAX { Err(too_large("regexp_replace")) } else { Ok(Value::Text(replaced)) }
}

fn groups(found: &Captures<'_>) -> String {
    let group = |at: usize| found.get(at).map(|part| part.as_str().to_owned());
    let parts: Vec<_> = if found.len() > 1 { (1..found.len()).map(group).collect() } else { vec![group(0)] };
    array_text(&parts)
}

fn matched(values: &[Value]) -> Result<Value, SqlError> {
    let flags = values.get(2).map_or(Ok(""), string)?;
    if flags.contains('g') {
        return Err(invalid("regexp_match() does not support the \"global\" option"));
    }
    let regex = compiled(string(&values[1])?, flags)?;
    let found = regex.captures(bounded(string(&values[0])?)?);
    Ok(found.map_or(Value::Null, |found| Value::Text(groups(&found))))
}

/// Between the matches; an empty match at either end splits nothing off.
fn split<'a>(regex: &Regex, value: &'a str) -> Vec<&'a str> {
    let (mut parts, mut from) = (Vec::new(), 0);
    for found in regex.find_iter(value) {
        if found.is_empty() && (found.start() == from && found.start() == 0 || found.start() == value.len()) {
            continue;
        }
        parts.push(&value[from..found.start()]);
        from = found.end();
    }
    parts.push(&value[from..]);
    parts
}

/// MD5, for `md5()` only: nothing here relies on it. Source: RFC 1321.
fn md5(data: &[u8]) -> [u8; 16] {
    const SHIFTS: [u32; 16] = [7, 12, 17, 22, 5, 9, 14, 20, 4, 11, 16, 23, 6, 10, 15, 21];
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below 2^32 by RFC 1321")]
    let constant = |at: u32| ((f64::from(at) + 1.0).sin().abs() * 4_294_967_296.0) as u32;
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let mut padded = data.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(data.len() as u64).wrapping_mul(8).to_le_bytes());
    for block in padded.chunks(64) {
        let word = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&block[at * 4..at * 4 + 4]);
            u32::from_le_bytes(bytes)
        };
        let [mut a, mut b, mut c, mut d] = state;
        for round in 0..64_u32 {
            let at = round as usize;
            let (mixed, index) = match round / 16 {
                0 => ((b & c) | (!b & d), at),
                1 => ((d & b) | (!d & c), (5 * at + 1) % 16),
                2 => (b ^ c ^ d, (3 * at + 5) % 16),
                _ => (c ^ (b | !d), (7 * at) % 16),
            };
            let sum = mixed.wrapping_add(a).wrapping_add(constant(round)).wrapping_add(word(index));
            (a, d, c) = (d, c, b);
            b = b.wrapping_add(sum.rotate_left(SHIFTS[(round / 16 * 4 + round % 4) as usize]));
        }
        for (total, part) in state.iter_mut().zip([a, b, c, d]) {
            *total = total.wrapping_add(part);
        }
    }
    let mut out = [0; 16];
    for (to, word) in out.chunks_mut(4).zip(state) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    fn call(name: &str, values: &[Value]) -> String {
        let (_, _, _, body) = TABLE.iter().find(|entry| entry.0 == name).unwrap();
        match body(values) {
            Ok(Value::Text(text)) => text,
            Ok(other) => format!("{other:?}"),
            Err(error) => error.body.code.as_str().to_owned(),
        }
    }

    /// Expected values are those of PostgreSQL 15.
    #[test]
    fn texts_are_changed_as_postgresql_changes_them() {
        let i = Value::Integer;
        assert_eq!(call("g_md5", &[t("")]), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(call("g_md5", &[t("The quick brown fox")]), "a2004f37730b9445670a738fa0fc9ee5");
        assert_eq!(call("g_md5", &[t(&"x".repeat(200))]).len(), 32);
        assert_eq!(call("g_initcap", &[t("hello wORLD o'neil 1st")]), "Hello World O'Neil 1st");
        assert_eq!(call("g_lpad", &[t("hi"), i(5), t("xy")]), "xyxhi");
        assert_eq!(call("g_lpad", &[t("hello"), i(2)]), "he");
        assert_eq!(call("g_rpad", &[t("hi"), i(5)]), "hi   ");
        assert_eq!(call("g_overlay", &[t("Txxxxas"), t("hom"), i(2), i(4)]), "Thomas");
        assert_eq!(call("g_translate", &[t("12345"), t("143"), t("ax")]), "a2x5");
        assert_eq!(call("g_encode", &[Value::Blob(vec![0, 255, 92]), t("escape")]), "\\000\\377\\\\");
        assert_eq!(call("g_decode", &[t("zz"), t("hex")]), "22023");
        assert_eq!(
            call("g_format", &[t("%s %I %L %10s|%-5s|%%"), t("a"), t("b c"), t("d'e"), t("r"), t("l")]),
            "a \"b c\" 'd''e'          r|l    |%"
        );
        assert_eq!(call("g_format", &[t("%2$s %1$s"), t("a"), t("b")]), "b a");
        assert_eq!(call("g_format", &[t("%s")]), "22023");
        assert_eq!(call("g_regex_replace", &[t("foobarbaz"), t("b(..)"), t("X\\1Y"), t("g")]), "fooXarYXazY");
        assert_eq!(call("g_regex_replace", &[t("foobarbaz"), t("b.."), t("X")]), "fooXbaz");
        assert_eq!(call("g_regex_match", &[t("foobarbequebaz"), t("(bar)(beque)")]), "{bar,beque}");
        assert_eq!(call("g_regex_split", &[t("a, b,c"), t(",\\s*")]), "{a,b,c}");
        assert_eq!(call("g_regex_split", &[t("abc"), t("")]), "{a,b,c}");
        assert_eq!(call("g_regex_match", &[t("x"), t("(")]), "2201B");
        assert_eq!(call("g_char", &[t("ab  "), i(3)]), "ab");
        assert_eq!(call("g_char_fit", &[t("abc   "), i(3)]), "abc");
        assert_eq!(call("g_char_fit", &[t("abcd"), i(3)]), "22001");
    }
}
