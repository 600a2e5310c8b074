//! PostgreSQL's regular expressions, written for the crate `regex`. What that has not is refused with 0A000, and what is
//! written alike and means something else there is written differently: classes of all letters, `\b` and `\y`, `&&` in
//! brackets. Of alternatives the first that fits is taken, where PostgreSQL takes the longest.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::iter::Peekable;
use std::str::Chars;

use grantd_catalog::refusal::{SqlState, state};
use regex::{Regex, RegexBuilder};

use crate::error::SqlError;

/// Memory for one compiled regular expression.
const BYTES_MAX: usize = 1 << 18;
/// The most bytes of text that one regular expression is compared with. The time grows with text × expression, and
/// nothing interrupts a function while it runs.
pub const TEXT_BYTES_MAX: usize = 1 << 16;
/// Compiled regular expressions that a thread keeps.
const KEPT_MAX: usize = 16;
/// PostgreSQL's `DUPMAX`.
const REPEATS_MAX: u32 = 255;

const SPACE: &str = r"\t-\r \x{1680}\x{2000}-\x{2006}\x{2008}-\x{200a}\x{2028}\x{2029}\x{205f}\x{3000}";
const WORD: &str = r"\p{Alphabetic}0-9_";

/// A compiled pattern. A pattern is compiled once for a statement, not once for each row.
///
/// # Errors
/// 2201B, 22023 for a flag that is none, 0A000 for what is not supported, 54000 for what is too large.
pub fn compiled(pattern: &str, flags: &str) -> Result<Regex, SqlError> {
    type Kept = VecDeque<((String, String), Regex)>;
    thread_local! {
        static KEPT: RefCell<Kept> = const { RefCell::new(VecDeque::new()) };
    }
    KEPT.with_borrow_mut(|kept| {
        let known = kept.iter().find(|((known, with), _)| known == pattern && with == flags);
        if let Some((_, regex)) = known {
            return Ok(regex.clone());
        }
        let regex = built(pattern, flags)?;
        if kept.len() == KEPT_MAX {
            kept.pop_front();
        }
        kept.push_back(((pattern.to_owned(), flags.to_owned()), regex.clone()));
        Ok(regex)
    })
}

/// A text that is short enough to be compared.
///
/// # Errors
/// 54000.
pub fn bounded(text: &str) -> Result<&str, SqlError> {
    match text.len() > TEXT_BYTES_MAX {
        true => Err(SqlError::too_large(format!(
            "a regular expression is compared with at most {TEXT_BYTES_MAX} bytes of text"
        ))),
        false => Ok(text),
    }
}

fn built(pattern: &str, flags: &str) -> Result<Regex, SqlError> {
    let mut modes = Modes::default();
    for flag in flags.chars() {
        // `g` is the caller's.
        if flag != 'g' && !modes.take(flag)? {
            let message = format!("invalid regular expression option: \"{flag}\"");
            return Err(SqlError::new(state::INVALID_PARAMETER_VALUE, message));
        }
    }
    let pattern = modes.directed(pattern)?;
    let written = match modes.literal {
        true => regex::escape(pattern),
        false => Writer { rest: pattern.chars().peekable(), modes, out: String::new() }.written()?,
    };
    let built = RegexBuilder::new(&written)
        .case_insensitive(modes.insensitive)
        .multi_line(modes.lines)
        .size_limit(BYTES_MAX)
        .dfa_size_limit(BYTES_MAX)
        .build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => SqlError::too_large("the regular expression is too large"),
        _ => invalid("it is none"),
    })
}

fn invalid(what: &str) -> SqlError {
    let code = SqlState::new("2201B");
    SqlError::new(code, format!("invalid regular expression: {what}"))
}

fn unsupported(what: &str) -> SqlError {
    SqlError::unsupported(format!("{what} in a regular expression"))
}

/// What flags and embedded options say.
#[derive(Clone, Copy, Default)]
struct Modes {
    insensitive: bool,
    /// `^` and `$` are those of lines.
    lines: bool,
    /// `.` and what brackets leave out do not take the end of a line.
    stops: bool,
    expanded: bool,
    literal: bool,
}

impl Modes {
    /// One flag; false: it is none.
    fn take(&mut self, flag: char) -> Result<bool, SqlError> {
        match flag {
            'c' => self.insensitive = false,
            'i' => self.insensitive = true,
            'n' | 'm' => (self.lines, self.stops) = (true, true),
            'p' => (self.lines, self.stops) = (false, true),
            'w' => (self.lines, self.stops) = (true, false),
            's' => (self.lines, self.stops) = (false, false),
            'x' => self.expanded = true,
            't' => self.expanded = false,
            'q' => self.literal = true,
            'b' | 'e' => return Err(unsupported("the basic syntax")),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What follows `***=`, `***:` and `(?i)` at the beginning.
    fn directed<'p>(&mut self, pattern: &'p str) -> Result<&'p str, SqlError> {
        if self.literal {
            return Ok(pattern);
        }
        if let Some(rest) = pattern.strip_prefix("***=") {
            self.literal = true;
            return Ok(rest);
        }
        let rest = pattern.strip_prefix("***:").unwrap_or(pattern);
        let options =
            rest.strip_prefix("(?").filter(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
        let Some((options, rest)) = options.and_then(|options| options.split_once(')')) else {
            return Ok(rest);
        };
        for option in options.chars() {
            if !self.take(option)? {
                return Err(invalid("invalid embedded option"));
            }
        }
        Ok(rest)
    }
}

/// What stood last, which says whether a quantifier may follow.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// Nothing that can be repeated: the beginning, `|`, `(`, or a place.
    Nothing,
    Atom,
    Quantifier,
}

struct Writer<'p> {
    rest: Peekable<Chars<'p>>,
    modes: Modes,
    out: String,
}

impl Writer<'_> {
    fn written(mut self) -> Result<String, SqlError> {
        let mut last = Last::Nothing;
        while let Some(char) = self.rest.next() {
            last = match char {
                '#' if self.modes.expanded => {
                    while self.rest.next_if(|c| *c != '\n').is_some() {}
                    last
                }
                c if self.modes.expanded && c.is_whitespace() => last,
                '(' if self.rest.next_if_eq(&'?').is_some() => self.special_group(last)?,
                '(' | '|' | '^' | '$' => {
                    self.out.push(char);
                    Last::Nothing
                }
                ')' => {
                    self.out.push(')');
                    Last::Atom
                }
                '.' => {
                    self.out.push_str(if self.modes.stops { r"[^\n]" } else { r"(?s:.)" });
                    Last::Atom
                }
                '[' => self.bracket()?,
                '\\' => self.escape()?,
                '*' | '+' | '?' => self.quantifier(last, &char.to_string())?,
                '{' if self.rest.peek().is_some_and(char::is_ascii_digit) => {
                    let bounds = self.bounds()?;
                    self.quantifier(last, &bounds)?
                }
                other => {
                    self.char(other);
                    Last::Atom
                }
            };
        }
        Ok(self.out)
    }

    /// A character that is nothing but itself.
    fn char(&mut self, char: char) {
        self.out.push_str(&format!(r"\x{{{:x}}}", u32::from(char)));
    }

    fn quantifier(&mut self, last: Last, text: &str) -> Result<Last, SqlError> {
        if last != Last::Atom {
            return Err(invalid("quantifier operand invalid"));
        }
        self.out.push_str(text);
        if self.rest.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
        Ok(Last::Quantifier)
    }

    /// `{m}`, `{m,}`, `{m,n}`, behind the brace.
    fn bounds(&mut self) -> Result<String, SqlError> {
        let mut text = String::new();
        while let Some(char) = self.rest.next_if(|c| c.is_ascii_digit() || *c == ',') {
            text.push(char);
        }
        let number = |digits: &str| digits.parse().ok().filter(|count: &u32| *count <= REPEATS_MAX);
        let (low, high) = text.split_once(',').unwrap_or((&text, &text));
        let is_right = match (number(low), number(high), high.is_empty()) {
            (Some(low), Some(high), _) => low <= high,
            (Some(_), None, is_open) => is_open,
            (None, ..) => false,
        };
        match is_right && self.rest.next() == Some('}') {
            true => Ok(format!("{{{text}}}")),
            false => Err(invalid("invalid repetition count(s)")),
        }
    }

    /// Behind `(?`.
    fn special_group(&mut self, last: Last) -> Result<Last, SqlError> {
        match self.rest.next() {
            Some(':') => {
                self.out.push_str("(?:");
                Ok(Last::Nothing)
            }
            Some('#') => {
                while self.rest.next().is_some_and(|c| c != ')') {}
                Ok(last)
            }
            Some('=' | '!') => Err(unsupported("a look ahead")),
            Some('<') if self.rest.next_if(|c| matches!(c, '=' | '!')).is_some() => {
                Err(unsupported("a look behind"))
            }
            _ => Err(invalid("quantifier operand invalid")),
        }
    }

    /// Behind a backslash.
    fn escape(&mut self) -> Result<Last, SqlError> {
        let Some(char) = self.rest.next() else { return Err(invalid("invalid escape \\ sequence")) };
        let place = match char {
            'A' => r"\A",
            'Z' => r"\z",
            'm' => r"\b{start}",
            'M' => r"\b{end}",
            'y' => r"\b",
            'Y' => r"\B",
            '1'..='9' => return Err(unsupported("a back reference")),
            _ => "",
        };
        if !place.is_empty() {
            self.out.push_str(place);
            return Ok(Last::Nothing);
        }
        match class_of(char) {
            Some((class, negated)) => {
                let line = if negated && self.modes.stops { r"\n" } else { "" };
                self.out.push_str(&format!("[{}{class}{line}]", if negated { "^" } else { "" }));
            }
            None => {
                let char = self.escaped(char)?;
                self.char(char);
            }
        }
        Ok(Last::Atom)
    }

    /// The character that an escape stands for.
    fn escaped(&mut self, char: char) -> Result<char, SqlError> {
        let fault = || invalid("invalid escape \\ sequence");
        Ok(match char {
            'a' => '\u{7}',
            'b' => '\u{8}',
            'B' => '\\',
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            '0' => '\0',
            'c' => self.rest.next().and_then(|c| char::from_u32(u32::from(c) & 0x1f)).ok_or_else(fault)?,
            'u' => self.coded(4, 4).ok_or_else(fault)?,
            'U' => self.coded(8, 8).ok_or_else(fault)?,
            'x' => self.coded(1, 8).ok_or_else(fault)?,
            c if c.is_ascii_alphanumeric() => return Err(fault()),
            other => other,
        })
    }

    fn coded(&mut self, least: usize, most: usize) -> Option<char> {
        let mut digits = String::new();
        while digits.len() < most {
            let Some(digit) = self.rest.next_if(char::is_ascii_hexdigit) else { break };
            digits.push(digit);
        }
        (digits.len() >= least).then_some(())?;
        u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
    }

    /// Behind `[`.
    fn bracket(&mut self) -> Result<Last, SqlError> {
        let open = || invalid("brackets [] not balanced");
        let rest: String = self.rest.clone().take(7).collect();
        for (written, place) in [("[:<:]]", r"\b{start}"), ("[:>:]]", r"\b{end}")] {
            if rest.starts_with(written) {
                self.rest.nth(written.len() - 1);
                self.out.push_str(place);
                return Ok(Last::Nothing);
            }
        }
        let negated = self.rest.next_if_eq(&'^').is_some();
        self.out.push_str(if negated { "[^" } else { "[" });
        if negated && self.modes.stops {
            self.out.push_str(r"\n");
        }
        let mut first = true;
        loop {
            let char = self.rest.next().ok_or_else(open)?;
            if char == ']' && !first {
                self.out.push(']');
                return Ok(Last::Atom);
            }
            first = false;
            let Some(low) = self.bracket_item(char)? else { continue };
            let mut ahead = self.rest.clone();
            if ahead.next() != Some('-') || matches!(ahead.next(), Some(']') | None) {
                self.char(low);
                continue;
            }
            self.rest.next();
            let char = self.rest.next().ok_or_else(open)?;
            match self.bracket_item(char)? {
                Some(high) if low <= high => {
                    self.char(low);
                    self.out.push('-');
                    self.char(high);
                }
                _ => return Err(invalid("invalid character range")),
            }
        }
    }

    /// One character of a bracket; none: a class, which is written.
    fn bracket_item(&mut self, char: char) -> Result<Option<char>, SqlError> {
        match (char, self.rest.peek()) {
            ('[', Some(':')) => {
                self.rest.next();
                let mut name = String::new();
                while let Some(char) = self.rest.next_if(char::is_ascii_lowercase) {
                    name.push(char);
                }
                let class = named_class(&name)
                    .filter(|_| self.rest.next() == Some(':') && self.rest.next() == Some(']'));
                self.out.push_str(class.ok_or_else(|| invalid("invalid character class"))?);
                Ok(None)
            }
            ('[', Some('.' | '=')) => Err(unsupported("a collating element")),
            ('\\', Some(_)) => {
                let Some(char) = self.rest.next() else { return Ok(None) };
                match class_of(char) {
                    Some((class, false)) => {
                        self.out.push_str(class);
                        Ok(None)
                    }
                    Some((class, true)) => {
                        self.out.push_str(&format!("[^{class}]"));
                        Ok(None)
                    }
                    None => self.escaped(char).map(Some),
                }
            }
            _ => Ok(Some(char)),
        }
    }
}

/// `\d` and its kin, as what stands in brackets, and whether everything else is meant.
fn class_of(char: char) -> Option<(&'static str, bool)> {
    let class = match char.to_ascii_lowercase() {
        'd' => "0-9",
        's' => SPACE,
        'w' => WORD,
        _ => return None,
    };
    Some((class, char.is_ascii_uppercase()))
}

fn named_class(name: &str) -> Option<&'static str> {
    Some(match name {
        "alnum" => r"\p{Alphabetic}0-9",
        "alpha" => r"\p{Alphabetic}",
        "blank" => r"\t\p{Zs}",
        "cntrl" => r"\p{Cc}",
        "digit" => "0-9",
        "graph" => r"[^\p{Z}\p{C}]",
        "lower" => r"\p{Lowercase}",
        "print" => r"[^\p{Zl}\p{Zp}\p{C}]",
        "punct" => r"\p{P}\p{S}",
        "space" => SPACE,
        "upper" => r"\p{Uppercase}",
        "word" => WORD,
        "xdigit" => "0-9A-Fa-f",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(pattern: &str, flags: &str) -> String {
        compiled(pattern, flags).unwrap_err().body.code.as_str().to_owned()
    }

    /// Each was asked of PostgreSQL 15.
    #[test]
    fn patterns_mean_what_they_mean_in_postgresql() {
        for (text, pattern) in [
            ("a\nb", "a.b"),
            ("ä", "^[[:alpha:]]$"),
            ("ä", r"^\w$"),
            ("ä", "^[[:lower:]]$"),
            ("Ä", "^[[:upper:]]$"),
            ("a&&b", "^[a&&b]+$"),
            ("a~~b", "^[a~~b]+$"),
            ("[", "^[[]$"),
            ("]", "^[]]$"),
            ("a-", "^[a-]+$"),
            ("\u{8}", r"\b"),
            ("foo bar", r"\mbar\M"),
            ("foo bar", "[[:<:]]bar[[:>:]]"),
            ("foo", r"\yfoo\y"),
            ("ab", r"\Aab\Z"),
            ("a{,2}", "^a{,2}$"),
            ("ABC", "(?i)abc"),
            ("a\nb", "(?n)a$"),
            ("a.c", "***=.c"),
            ("ab", "(?x) a b # c"),
            ("ab", "a(?# c)b"),
            ("a", r"\u0061"),
            ("-", r"^[\w-]$"),
            ("ö", "^[à-ü]$"),
            ("aaa", "^a{2,3}?$"),
        ] {
            assert!(compiled(pattern, "").unwrap().is_match(text), "{text:?} ~ {pattern:?}");
        }
        for (text, pattern) in [
            ("٣", r"\d"),
            ("b", r"\b"),
            ("ab cd", r"\bcd"),
            ("a\nb", "^b"),
            ("a\nb", "(?n)a.b"),
            ("\u{a0}", r"\s"),
        ] {
            assert!(!compiled(pattern, "").unwrap().is_match(text), "{text:?} ~ {pattern:?}");
        }
    }

    #[test]
    fn what_is_none_and_what_is_not_supported_is_refused() {
        for pattern in [
            "(", ")", "[a", "a**", "a*+", "*a", "^*", "a|*", "(?<x>a)", "[b-a]", r"\q", "a{2,1}", "a{256}",
            "[[:x:]]",
        ] {
            assert_eq!(code(pattern, ""), "2201B", "{pattern}");
        }
        for pattern in [r"(a)\1", "a(?=b)", "(?<!a)b", "[[.a.]]", "(?b)a"] {
            assert_eq!(code(pattern, ""), "0A000", "{pattern}");
        }
        assert_eq!(code("a", "z"), "22023");
        assert_eq!(code("((a{100}){100}){100}", ""), "54000");
        assert!(compiled("a.c", "q").unwrap().is_match("a.c"));
        assert!(!compiled("a.c", "q").unwrap().is_match("abc"));
    }
}
