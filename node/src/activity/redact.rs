//! Statement texts that others may see: without passwords and URIs always, without any constants if need be, and never long.
//!
//! A scanner of its own and not the parser: it takes every text, also one that was cut in the middle of a constant,
//! and what it does not understand it takes for a constant.

/// The most bytes of a text that others are shown.
pub const TEXT_BYTES_MAX: usize = 2 << 10;
/// Words before secrets: options of roles, backups and changefeeds.
const SECRET_WORDS: [&str; 3] = ["ENCRYPTION_PASSPHRASE", "PASSWORD", "WEBHOOK_AUTH_HEADER"];
/// What constants have that may hold secrets: URIs above all, and their parameters where somebody forgot a slash.
const SECRET_MARKS: [&str; 8] =
    ["://", "secret", "password", "passphrase", "credentials=", "_token=", "_key=", "private key"];
/// What stands for a constant.
const HIDDEN: &str = "_";
/// What stands at the end of a text that was cut.
const CUT: &str = "…";

/// The text as its own client or an administrator sees it: whole up to [`TEXT_BYTES_MAX`], but without the constants of
/// a statement that may hold a secret.
pub fn shown(text: &str) -> String {
    let (bounded, cut) = bounded(text);
    let pieces = pieces(bounded);
    let mut shown = if holds_secret(&pieces) { written(&pieces) } else { bounded.to_owned() };
    shown.push_str(cut);
    shown
}

/// The text with `_` for each constant, and without comments, which may hold anything.
pub fn redacted(text: &str) -> String {
    let (bounded, cut) = bounded(text);
    let mut redacted = written(&pieces(bounded));
    redacted.push_str(cut);
    redacted
}

/// The text as far as it is shown, and what stands for the rest.
fn bounded(text: &str) -> (&str, &'static str) {
    let text = text.trim();
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    (&text[..end], if end < text.len() { CUT } else { "" })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'a> {
    /// Blanks and comments.
    Blank,
    /// A number or a string, as it is written.
    Constant(&'a str),
    /// A word that is not quoted.
    Word(&'a str),
    /// A quoted identifier, an operator, a parameter.
    Other(&'a str),
}

/// Words before a value that is a secret, however it is written: a password, and the address of an external
/// connection, which may hold keys; and constants that are URIs or name a secret.
fn holds_secret(pieces: &[Piece<'_>]) -> bool {
    let words: Vec<_> = pieces
        .iter()
        .filter_map(|piece| match piece {
            Piece::Word(word) => Some(word.to_ascii_uppercase()),
            Piece::Blank | Piece::Constant(_) | Piece::Other(_) => None,
        })
        .collect();
    let constant = |piece: &Piece<'_>| match piece {
        Piece::Constant(constant) => {
            let constant = constant.to_ascii_lowercase();
            SECRET_MARKS.iter().any(|mark| constant.contains(mark))
        }
        Piece::Blank | Piece::Word(_) | Piece::Other(_) => false,
    };
    words.iter().any(|word| SECRET_WORDS.contains(&word.as_str()))
        || pieces.iter().any(constant)
        || words.windows(2).any(|pair| pair[0] == "EXTERNAL" && pair[1] == "CONNECTION")
}

fn written(pieces: &[Piece<'_>]) -> String {
    let mut out = String::new();
    // What follows PASSWORD is the password, even where somebody forgot its quotes.
    let mut after_password = false;
    for piece in pieces {
        match piece {
            Piece::Blank => {
                out.push(' ');
                continue;
            }
            Piece::Constant(_) => out.push_str(HIDDEN),
            Piece::Word(word) if is_constant(word) || after_password => out.push_str(HIDDEN),
            Piece::Word(word) => out.push_str(word),
            Piece::Other("=") => {
                out.push('=');
                continue;
            }
            Piece::Other(_) if after_password => out.push_str(HIDDEN),
            Piece::Other(other) => out.push_str(other),
        }
        after_password = matches!(piece, Piece::Word(word) if word.eq_ignore_ascii_case("PASSWORD"));
    }
    out.trim().to_owned()
}

fn is_constant(word: &str) -> bool {
    ["true", "false", "null"].iter().any(|constant| word.eq_ignore_ascii_case(constant))
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces: Vec<Piece<'_>> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (piece, length) = piece(rest, first);
        if piece != Piece::Blank || pieces.last() != Some(&Piece::Blank) {
            pieces.push(piece);
        }
        rest = &rest[length..];
    }
    pieces
}

/// The piece that `rest` begins with, and its length in bytes, which is never 0.
fn piece(rest: &str, first: char) -> (Piece<'_>, usize) {
    if first.is_whitespace() {
        return (Piece::Blank, first.len_utf8());
    }
    if rest.starts_with("--") {
        return (Piece::Blank, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Piece::Blank, comment(rest));
    }
    match first {
        '\'' => constant(rest, quoted(rest, '\'', false)),
        '"' => {
            let length = quoted(rest, '"', false);
            (Piece::Other(&rest[..length]), length)
        }
        '$' => dollar(rest),
        c if c.is_ascii_digit() => constant(rest, number(rest)),
        '.' if rest[1..].starts_with(|next: char| next.is_ascii_digit()) => constant(rest, number(rest)),
        c if c.is_alphabetic() || c == '_' => word(rest),
        c => (Piece::Other(&rest[..c.len_utf8()]), c.len_utf8()),
    }
}

fn constant(rest: &str, length: usize) -> (Piece<'_>, usize) {
    (Piece::Constant(&rest[..length]), length)
}

/// A word, or a constant with letters before its quote: `E'…'`, `X'…'`, `U&'…'`.
fn word(rest: &str) -> (Piece<'_>, usize) {
    let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(rest.len());
    let (word, after) = rest.split_at(end);
    let quote = if word.eq_ignore_ascii_case("u") { after.strip_prefix('&').map(|_| 1) } else { Some(0) };
    match quote {
        Some(skip) if word.chars().count() == 1 && after[skip..].starts_with('\'') => {
            let escapes = word.eq_ignore_ascii_case("e");
            constant(rest, end + skip + quoted(&after[skip..], '\'', escapes))
        }
        _ => (Piece::Word(word), end),
    }
}

/// Up to and with the closing quote; a doubled one, and with `escapes` one behind a backslash, closes nothing.
fn quoted(rest: &str, quote: char, escapes: bool) -> usize {
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            if chars.peek().is_none_or(|(_, next)| *next != quote) {
                return at + quote.len_utf8();
            }
            chars.next();
        }
    }
    rest.len()
}

/// `$1` is a parameter, `$tag$ … $tag$` a string.
fn dollar(rest: &str) -> (Piece<'_>, usize) {
    let digits = rest[1..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - 1);
    if digits > 0 {
        return (Piece::Other(&rest[..=digits]), digits + 1);
    }
    let tag = rest[1..].find(|c: char| !(c.is_alphanumeric() || c == '_')).map(|end| end + 1);
    match tag {
        Some(end) if rest[end..].starts_with('$') => {
            let open = &rest[..=end];
            let length = rest[open.len()..].find(open).map(|at| at + 2 * open.len());
            constant(rest, length.unwrap_or(rest.len()))
        }
        _ => (Piece::Other(&rest[..1]), 1),
    }
}

/// Digits and what a number may have between them: more is taken for a part of it rather than less.
fn number(rest: &str) -> usize {
    let mut end = 0;
    let bytes = rest.as_bytes();
    while let Some(byte) = bytes.get(end) {
        let sign = matches!(byte, b'+' | b'-') && end > 0 && matches!(bytes[end - 1], b'e' | b'E');
        if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || sign) {
            break;
        }
        end += 1;
    }
    end.max(1)
}

/// A comment, with those inside it.
fn comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let tail = &rest.as_bytes()[at..];
        if tail.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if tail.starts_with(b"*/") {
            depth = depth.saturating_sub(1);
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_of_every_spelling_are_hidden_and_names_are_not() {
        let cases = [
            ("SELECT * FROM t WHERE a = 'x''y' AND b < 1.5e-3", "SELECT * FROM t WHERE a = _ AND b < _"),
            ("SELECT E'it\\'s', X'ff', U&'d', $$a$$, $q$b $$ c$q$", "SELECT _, _, _, _, _"),
            ("INSERT INTO \"T 1\" VALUES ($1, NULL, true, -7)", "INSERT INTO \"T 1\" VALUES ($1, _, _, -_)"),
            ("SELECT a -- 4111 secret\n, b /* x /* 'y' */ z */ FROM t2", "SELECT a , b FROM t2"),
            ("SELECT 'never closed", "SELECT _"),
            ("SELECT 'é', ü, .5, 0x1f", "SELECT _, ü, _, _"),
            ("  \n ", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(redacted(text), expected, "{text}");
        }
        assert_eq!(shown("SELECT 'x' -- 1"), "SELECT 'x' -- 1");
    }

    #[test]
    fn a_secret_is_shown_to_nobody() {
        let cases = [
            ("ALTER ROLE amy WITH PASSWORD 'hunter2'", "ALTER ROLE amy WITH PASSWORD _"),
            ("create user b password = \"hunter2\" CREATEDB", "create user b password = _ CREATEDB"),
            ("CREATE USER b PASSWORD hunter2", "CREATE USER b PASSWORD _"),
            ("CREATE USER b PASSWORD E'hunter2", "CREATE USER b PASSWORD _"),
            ("CREATE EXTERNAL CONNECTION c AS 's3://b?KEY=hunter2'", "CREATE EXTERNAL CONNECTION c AS _"),
            // Case 110 of the cloud specification.
            ("BACKUP INTO 's3://b?AWS_SECRET_ACCESS_KEY=hunter2' WITH x", "BACKUP INTO _ WITH x"),
            ("BACKUP INTO E's3:/b?AWS_SECRET_ACCESS_KEY=hunter2", "BACKUP INTO _"),
            ("SELECT $$kafka://a:hunter2@h$$, 1", "SELECT _, _"),
            (
                "BACKUP INTO c WITH encryption_passphrase = 'hunter2'",
                "BACKUP INTO c WITH encryption_passphrase = _",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(shown(text), expected);
            assert_eq!(redacted(text), expected);
        }
    }

    #[test]
    fn a_long_text_is_cut_and_its_secret_stays_hidden() {
        let long = format!("SELECT '{}'", "é".repeat(TEXT_BYTES_MAX));
        assert!(shown(&long).len() <= TEXT_BYTES_MAX + CUT.len() && shown(&long).ends_with(CUT));
        assert_eq!(redacted(&long), "SELECT _…");
        let blanks = " ".repeat(TEXT_BYTES_MAX - 40);
        let secret = format!("ALTER ROLE amy {blanks} PASSWORD 'hunter2{}'", "x".repeat(100));
        assert_eq!(shown(&secret), "ALTER ROLE amy PASSWORD _…");
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic_and_no_string_survives(text in "[ !#-~\\né]{0,80}", words in "[a-z =,()0-9]{0,80}") {
            proptest::prop_assert!(!redacted(&text).contains('\''));
            let secret = format!("{words} PASSWORD 'hunter2'");
            proptest::prop_assert!(!redacted(&secret).contains("hunter2"));
        }
    }
}
