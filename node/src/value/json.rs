//! The values of JSONB, with numbers kept exactly.
//!
//! The row store holds one as PostgreSQL prints it: the keys of an object once each, the shorter first and then by
//! their bytes, a blank behind `,` and `:`. Two texts are one value if they differ only in the zeros at the end of
//! numbers; [`compare`] is PostgreSQL's order.

use std::cmp::Ordering;
use std::fmt::{self, Write};

use super::decimal::{self, Decimal};
use crate::error::{SqlError, state};

/// The deepest nesting: each level costs stack.
const DEPTH_MAX: usize = 200;
/// A longer text is no value of the row store.
const PRETTY_BYTES_MAX: usize = 32 << 20;

/// A JSON value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "JSON's own words")]
pub enum Json {
    Null,
    String(String),
    /// The canonical text of a decimal.
    Number(String),
    Bool(bool),
    Array(Vec<Json>),
    /// Sorted: the shorter key first, then by bytes; each once.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a text (22P02 if it is none such).
    pub fn parse(text: &str) -> Result<Self, SqlError> {
        let mut reader = Reader { text, at: 0 };
        let value = reader.value(0)?;
        reader.blanks();
        if reader.at == text.len() { Ok(value) } else { Err(reader.fault()) }
    }

    /// From its own text.
    pub fn from_canonical(text: &str) -> Result<Self, SqlError> {
        Self::parse(text).map_err(|_| SqlError::internal("the row store holds no JSON"))
    }

    /// An object of pairs, of which the last with a key counts.
    pub fn object(pairs: Vec<(String, Self)>) -> Self {
        let mut pairs = pairs;
        // Stable: of equal keys the last is behind the others.
        pairs.sort_by(|(a, _), (b, _)| key_order(a, b));
        let mut unique: Vec<(String, Self)> = Vec::with_capacity(pairs.len());
        for pair in pairs {
            match unique.last_mut() {
                Some(last) if last.0 == pair.0 => *last = pair,
                _ => unique.push(pair),
            }
        }
        Self::Object(unique)
    }

    /// The value of a key of an object.
    pub fn field(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(pairs) => {
                let found = pairs.binary_search_by(|(known, _)| key_order(known, key));
                found.ok().map(|at| &pairs[at].1)
            }
            Self::Null | Self::String(_) | Self::Number(_) | Self::Bool(_) | Self::Array(_) => None,
        }
    }

    /// The item of an array; a negative position counts from the end.
    pub fn item(&self, position: i64) -> Option<&Self> {
        match self {
            Self::Array(items) => {
                let length = i64::try_from(items.len()).ok()?;
                let at = if position < 0 { position + length } else { position };
                usize::try_from(at).ok().and_then(|at| items.get(at))
            }
            Self::Null | Self::String(_) | Self::Number(_) | Self::Bool(_) | Self::Object(_) => None,
        }
    }

    /// A field or item, as a step of a path.
    pub fn step(&self, step: &str) -> Option<&Self> {
        match self {
            Self::Array(_) => self.item(step.trim().parse().ok()?),
            other => other.field(step),
        }
    }

    /// What `->>` answers: of a string its text, of null none.
    pub fn bare(&self) -> Option<String> {
        match self {
            Self::Null => None,
            Self::String(text) => Some(text.clone()),
            other => Some(other.to_string()),
        }
    }

    /// What `jsonb_typeof` says.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::String(_) => "string",
            Self::Number(_) => "number",
            Self::Bool(_) => "boolean",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// `self @> part`. An array contains a primitive that is among its items.
    pub fn contains(&self, part: &Self) -> bool {
        match (self, part) {
            (Self::Array(items), Self::Null | Self::String(_) | Self::Number(_) | Self::Bool(_)) => {
                items.iter().any(|item| item.compare(part) == Ordering::Equal)
            }
            _ => self.contains_inside(part),
        }
    }

    fn contains_inside(&self, part: &Self) -> bool {
        match (self, part) {
            (Self::Object(_), Self::Object(pairs)) => {
                pairs.iter().all(|(key, value)| self.field(key).is_some_and(|own| own.contains_inside(value)))
            }
            (Self::Array(items), Self::Array(parts)) => {
                parts.iter().all(|part| items.iter().any(|item| item.contains_inside(part)))
            }
            _ => self.compare(part) == Ordering::Equal,
        }
    }

    /// Whether a string is a key, or an item.
    pub fn has(&self, key: &str) -> bool {
        match self {
            Self::Object(_) => self.field(key).is_some(),
            Self::Array(items) => items.iter().any(|item| matches!(item, Self::String(text) if text == key)),
            Self::String(text) => text == key,
            Self::Null | Self::Number(_) | Self::Bool(_) => false,
        }
    }

    /// PostgreSQL's order: Object > Array > Boolean > Number > String > Null; of two arrays or objects the one with
    /// more parts is greater.
    pub fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::String(a), Self::String(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Self::Number(a), Self::Number(b)) => decimal::compare(a, b),
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Array(a), Self::Array(b)) => a.len().cmp(&b.len()).then_with(|| {
                let unequal = a.iter().zip(b).map(|(a, b)| a.compare(b)).find(|order| order.is_ne());
                unequal.unwrap_or(Ordering::Equal)
            }),
            (Self::Object(a), Self::Object(b)) => a.len().cmp(&b.len()).then_with(|| {
                let pair = |((a, x), (b, y)): (&(String, Self), &(String, Self))| {
                    key_order(a, b).then_with(|| x.compare(y))
                };
                a.iter().zip(b).map(pair).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
            }),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::String(_) => 1,
            Self::Number(_) => 2,
            Self::Bool(_) => 3,
            Self::Array(_) => 4,
            Self::Object(_) => 5,
        }
    }

    /// Whether it is neither array nor object.
    pub const fn is_scalar(&self) -> bool {
        !matches!(self, Self::Array(_) | Self::Object(_))
    }

    /// Without needless zeros in numbers: equal values are equal texts.
    pub fn normalized(&self) -> Self {
        match self {
            Self::Number(text) => Self::Number(decimal::key(text)),
            Self::Array(items) => Self::Array(items.iter().map(Self::normalized).collect()),
            Self::Object(pairs) => {
                Self::Object(pairs.iter().map(|(key, value)| (key.clone(), value.normalized())).collect())
            }
            Self::Null | Self::String(_) | Self::Bool(_) => self.clone(),
        }
    }

    /// With `value` at `path`, as `jsonb_set` does: a missing last step is added if `create`.
    pub fn with(&self, path: &[String], value: &Self, create: bool) -> Result<Self, SqlError> {
        let Some((step, rest)) = path.split_first() else { return Ok(self.clone()) };
        let inner =
            |old: &Self| if rest.is_empty() { Ok(value.clone()) } else { old.with(rest, value, create) };
        match self {
            Self::Object(pairs) => {
                let mut pairs = pairs.clone();
                match pairs.iter_mut().find(|(key, _)| key == step) {
                    Some((_, old)) => *old = inner(old)?,
                    None if rest.is_empty() && create => pairs.push((step.clone(), value.clone())),
                    None => {}
                }
                Ok(Self::object(pairs))
            }
            Self::Array(items) => {
                let mut items = items.clone();
                let at = position(step)?;
                let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                let wanted = if at < 0 { at + length } else { at };
                match usize::try_from(wanted).ok().and_then(|at| items.get_mut(at)) {
                    Some(old) => *old = inner(old)?,
                    None if rest.is_empty() && create && at < 0 => items.insert(0, value.clone()),
                    None if rest.is_empty() && create => items.push(value.clone()),
                    None => {}
                }
                Ok(Self::Array(items))
            }
            Self::Null | Self::String(_) | Self::Number(_) | Self::Bool(_) => Ok(self.clone()),
        }
    }

    /// Without what is at `path`.
    pub fn without(&self, path: &[String]) -> Result<Self, SqlError> {
        let Some((step, rest)) = path.split_first() else { return Ok(self.clone()) };
        match self {
            Self::Object(pairs) => {
                let mut kept = Vec::with_capacity(pairs.len());
                for (key, value) in pairs {
                    if key != step {
                        kept.push((key.clone(), value.clone()));
                    } else if !rest.is_empty() {
                        kept.push((key.clone(), value.without(rest)?));
                    }
                }
                Ok(Self::Object(kept))
            }
            Self::Array(items) => {
                let at = position(step)?;
                let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                let at = usize::try_from(if at < 0 { at + length } else { at }).unwrap_or(usize::MAX);
                let mut items = items.clone();
                if at < items.len() {
                    if rest.is_empty() {
                        items.remove(at);
                    } else {
                        items[at] = items[at].without(rest)?;
                    }
                }
                Ok(Self::Array(items))
            }
            Self::Null | Self::String(_) | Self::Number(_) | Self::Bool(_) => Ok(self.clone()),
        }
    }

    /// Without the pairs of objects whose value is null, at any depth.
    pub fn stripped(&self) -> Self {
        match self {
            Self::Object(pairs) => {
                let kept = pairs.iter().filter(|(_, value)| *value != Self::Null);
                Self::Object(kept.map(|(key, value)| (key.clone(), value.stripped())).collect())
            }
            Self::Array(items) => Self::Array(items.iter().map(Self::stripped).collect()),
            other => other.clone(),
        }
    }

    /// `jsonb_pretty`: four blanks a level.
    pub fn pretty(&self) -> String {
        let mut out = String::new();
        self.write_pretty(&mut out, 0);
        out
    }

    fn write_pretty(&self, out: &mut String, level: usize) {
        // It is longer than any value may be, and refused as such.
        if out.len() > PRETTY_BYTES_MAX {
            return;
        }
        let indent = |out: &mut String, level: usize| {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', 4 * level));
        };
        match self {
            Self::Array(items) => {
                out.push('[');
                for (at, item) in items.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    indent(out, level + 1);
                    item.write_pretty(out, level + 1);
                }
                indent(out, level);
                out.push(']');
            }
            Self::Object(pairs) => {
                out.push('{');
                for (at, (key, value)) in pairs.iter().enumerate() {
                    out.push_str(if at > 0 { "," } else { "" });
                    indent(out, level + 1);
                    out.push_str(&quoted(key));
                    out.push_str(": ");
                    value.write_pretty(out, level + 1);
                }
                indent(out, level);
                out.push('}');
            }
            other => out.push_str(&other.to_string()),
        }
    }
}

fn position(step: &str) -> Result<i64, SqlError> {
    step.trim().parse().map_err(|_| {
        SqlError::new(
            state::INVALID_TEXT_REPRESENTATION,
            "a path element that steps into an array is not an integer",
        )
    })
}

/// The order in which an object keeps its keys.
fn key_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| a.as_bytes().cmp(b.as_bytes()))
}

/// A text as a JSON string, as PostgreSQL writes it.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if char < ' ' => write!(out, "\\u{:04x}", u32::from(char)).expect("a string grows"),
            char => out.push(char),
        }
    }
    out.push('"');
    out
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::String(text) => f.write_str(&quoted(text)),
            Self::Number(text) => f.write_str(text),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Array(items) => {
                f.write_char('[')?;
                for (at, item) in items.iter().enumerate() {
                    f.write_str(if at > 0 { ", " } else { "" })?;
                    item.fmt(f)?;
                }
                f.write_char(']')
            }
            Self::Object(pairs) => {
                f.write_char('{')?;
                for (at, (key, value)) in pairs.iter().enumerate() {
                    f.write_str(if at > 0 { ", " } else { "" })?;
                    write!(f, "{}: {value}", quoted(key))?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Orders canonical texts by value. What is none stands behind all that are, by its bytes. An empty array that is in no
/// other is less than what is neither array nor object, as in PostgreSQL.
pub fn compare(a: &str, b: &str) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    match (Json::parse(a), Json::parse(b)) {
        (Ok(Json::Array(items)), Ok(b)) if items.is_empty() && b.is_scalar() => Ordering::Less,
        (Ok(a), Ok(Json::Array(items))) if items.is_empty() && a.is_scalar() => Ordering::Greater,
        (Ok(a), Ok(b)) => a.compare(&b),
        (Ok(_), Err(_)) => Ordering::Less,
        (Err(_), Ok(_)) => Ordering::Greater,
        (Err(_), Err(_)) => a.as_bytes().cmp(b.as_bytes()),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl Reader<'_> {
    fn fault(&self) -> SqlError {
        SqlError::new(state::INVALID_TEXT_REPRESENTATION, "invalid input syntax for type json")
            .with_detail(format!("It is no JSON at byte {}.", self.at))
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn value(&mut self, depth: usize) -> Result<Json, SqlError> {
        if depth > DEPTH_MAX {
            return Err(SqlError::too_large(format!("JSON that is nested deeper than {DEPTH_MAX}")));
        }
        self.blanks();
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string().map(Json::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                for (word, value) in
                    [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))]
                {
                    if self.text[self.at..].starts_with(word) {
                        self.at += word.len();
                        return Ok(value);
                    }
                }
                Err(self.fault())
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<Json, SqlError> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.take(b']') {
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blanks();
            if self.take(b']') {
                return Ok(Json::Array(items));
            }
            if !self.take(b',') {
                return Err(self.fault());
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, SqlError> {
        self.at += 1;
        let mut pairs = Vec::new();
        self.blanks();
        if self.take(b'}') {
            return Ok(Json::Object(pairs));
        }
        loop {
            self.blanks();
            if self.peek() != Some(b'"') {
                return Err(self.fault());
            }
            let key = self.string()?;
            self.blanks();
            if !self.take(b':') {
                return Err(self.fault());
            }
            pairs.push((key, self.value(depth + 1)?));
            self.blanks();
            if self.take(b'}') {
                return Ok(Json::object(pairs));
            }
            if !self.take(b',') {
                return Err(self.fault());
            }
        }
    }

    fn number(&mut self) -> Result<Json, SqlError> {
        let start = self.at;
        let digits = |reader: &mut Self| {
            let before = reader.at;
            while matches!(reader.peek(), Some(b'0'..=b'9')) {
                reader.at += 1;
            }
            reader.at - before
        };
        self.take(b'-');
        let first = self.peek();
        let whole = digits(self);
        if whole == 0 || (whole > 1 && first == Some(b'0')) || (self.take(b'.') && digits(self) == 0) {
            return Err(self.fault());
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            if digits(self) == 0 {
                return Err(self.fault());
            }
        }
        let number = Decimal::parse(&self.text[start..self.at])?.ok_or_else(|| self.fault())?;
        Ok(Json::Number(number.to_string()))
    }

    fn string(&mut self) -> Result<String, SqlError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(char) = rest.chars().next() else { return Err(self.fault()) };
            self.at += char.len_utf8();
            match char {
                '"' => return Ok(out),
                '\\' => out.push(self.escaped()?),
                char if char < ' ' => return Err(self.fault()),
                char => out.push(char),
            }
        }
    }

    fn escaped(&mut self) -> Result<char, SqlError> {
        let Some(byte) = self.peek() else { return Err(self.fault()) };
        self.at += 1;
        Ok(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return Err(self.fault()),
        })
    }

    fn unicode(&mut self) -> Result<char, SqlError> {
        let first = self.hex()?;
        let code = match first {
            0xd800..=0xdbff => {
                if !(self.take(b'\\') && self.take(b'u')) {
                    return Err(self.fault());
                }
                let second = self.hex()?;
                if !(0xdc00..=0xdfff).contains(&second) {
                    return Err(self.fault());
                }
                0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
            }
            code => code,
        };
        match char::from_u32(code) {
            // PostgreSQL's text holds no zero character.
            Some('\0') => {
                let code = grantd_catalog::refusal::SqlState::new("22P05");
                Err(SqlError::new(code, "unsupported Unicode escape sequence")
                    .with_detail("\\u0000 cannot be converted to text."))
            }
            Some(char) => Ok(char),
            None => Err(self.fault()),
        }
    }

    fn hex(&mut self) -> Result<u32, SqlError> {
        let digits = self.text.get(self.at..self.at + 4).ok_or_else(|| self.fault())?;
        if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(self.fault());
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| self.fault())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> String {
        match Json::parse(text) {
            Ok(json) => json.to_string(),
            Err(error) => error.body.code.as_str().to_owned(),
        }
    }

    #[test]
    fn json_is_shown_as_postgresql_shows_jsonb() {
        for (text, expected) in [
            (r#" {"bb":1,"a":[1,2.50,{"x":null}],"a":true} "#, r#"{"a": true, "bb": 1}"#),
            (r#"{"b":1,"aa":2,"a":3}"#, r#"{"a": 3, "b": 1, "aa": 2}"#),
            ("[]", "[]"),
            ("{}", "{}"),
            ("1e2", "100"),
            ("1.500", "1.500"),
            ("-0", "0"),
            ("12345678901234567890.123", "12345678901234567890.123"),
            (r#""\u00e9\n\u0001\/\ud83d\ude00""#, "\"é\\n\\u0001/😀\""),
            ("01", "22P02"),
            ("1.", "22P02"),
            ("[1,]", "22P02"),
            ("{'a':1}", "22P02"),
            (r#""\u0000""#, "22P05"),
            (r#""\ud800""#, "22P02"),
            ("", "22P02"),
            ("tru", "22P02"),
            ("1 2", "22P02"),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(read(&"[".repeat(100_000)), "54000");
    }

    #[test]
    fn values_are_ordered_and_contained_as_in_postgresql() {
        let j = |text: &str| Json::parse(text).unwrap();
        let order = ["[]", "null", "\"a\"", "\"b\"", "1", "2", "10", "false", "true", "[1]", "[1, 2]", "{}"];
        for pair in order.windows(2) {
            assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
        }
        assert_eq!(compare("[1.0]", "[1]"), Ordering::Equal);
        assert!(j(r#"{"a":1,"b":[1,2,3]}"#).contains(&j(r#"{"b":[3,1]}"#)));
        assert!(!j(r#"{"a":1}"#).contains(&j(r#"{"a":2}"#)));
        assert!(j("[1,[2]]").contains(&j("1")));
        assert!(!j("[1,[2]]").contains(&j("[[3]]")));
        assert!(!j("[[1]]").contains(&j("[1]")));
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_again(keys in proptest::collection::vec(".{0,6}", 0..6)) {
            let pairs = keys.iter().filter(|key| !key.contains('\0'));
            let json = Json::object(pairs.map(|key| (key.clone(), Json::String(key.clone()))).collect());
            prop_assert_eq!(Json::parse(&json.to_string()).unwrap(), json);
        }
    }
}
