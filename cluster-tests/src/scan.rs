//! Finds planted secrets where none may be: in bytes and in files, whole or in pieces, in every form that programs write texts in.
//!
//! A secret is looked for by some pieces of it, so that one that was cut, wrapped, or spread over two pages of a file is found
//! too. What is not here: unpacking. Nothing that grantd writes is compressed, and what is encrypted is not its secret's reader's.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};

/// The bytes of a piece: enough that no other text has them by chance.
const PIECE_BYTES: usize = 12;
/// The most pieces of one secret: of a long one the two ends and what is between, here and there.
const PIECES_MAX: usize = 6;

/// Looks for secrets.
pub struct Scanner {
    automaton: AhoCorasick,
    /// Whose piece each pattern is, and in which form.
    patterns: Vec<(String, &'static str)>,
}

/// A secret where it should not be. What it says is no secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Which, by the name that it was planted under.
    pub secret: String,
    /// How it is written there.
    pub form: &'static str,
    /// Where.
    pub place: String,
}

impl Scanner {
    /// Looks for these: a name and a secret each, of ASCII and not too short to be told from anything else.
    pub fn new<N: AsRef<str>, S: AsRef<str>>(planted: impl IntoIterator<Item = (N, S)>) -> Self {
        let (mut texts, mut patterns) = (Vec::new(), Vec::new());
        for (name, secret) in planted {
            let (name, secret) = (name.as_ref(), secret.as_ref());
            assert!(secret.is_ascii() && secret.len() >= PIECE_BYTES, "{name} cannot be looked for");
            let mut seen = BTreeSet::new();
            for piece in pieces(secret) {
                for (form, text) in forms(piece) {
                    if seen.insert(text.clone()) {
                        texts.push(text);
                        patterns.push((name.to_owned(), form));
                    }
                }
            }
        }
        let automaton = AhoCorasick::builder().match_kind(MatchKind::Standard).build(texts);
        Self { automaton: automaton.expect("some thousands of short patterns"), patterns }
    }

    /// What is in these bytes, which are called `place`.
    pub fn bytes(&self, place: &str, haystack: &[u8]) -> BTreeSet<Found> {
        let hits: BTreeSet<_> =
            self.automaton.find_overlapping_iter(haystack).map(|hit| hit.pattern().as_usize()).collect();
        let found = |at: usize| {
            let (secret, form) = &self.patterns[at];
            Found { secret: secret.clone(), form, place: place.to_owned() }
        };
        hits.into_iter().map(found).collect()
    }

    /// What is in the files below `root`. Sockets keep nothing.
    pub fn files(&self, root: &Path) -> BTreeSet<Found> {
        let about =
            std::fs::symlink_metadata(root).unwrap_or_else(|error| panic!("{}: {error}", root.display()));
        if about.is_dir() {
            let entries = std::fs::read_dir(root).expect("a directory that is there");
            return entries.flatten().flat_map(|entry| self.files(&entry.path())).collect();
        }
        // A file that went away meanwhile, as a journal does, has nothing.
        let bytes = if about.is_file() { std::fs::read(root).unwrap_or_default() } else { Vec::new() };
        let mut found = self.bytes(&root.display().to_string(), &bytes);
        // Names of files are files' contents too.
        found.extend(
            self.bytes(&format!("the name of {}", root.display()), root.as_os_str().as_encoded_bytes()),
        );
        found
    }
}

/// Pieces of a secret, both ends among them.
fn pieces(secret: &str) -> impl Iterator<Item = &[u8]> {
    let (bytes, last) = (secret.as_bytes(), secret.len() - PIECE_BYTES);
    let count = (secret.len() / PIECE_BYTES).clamp(1, PIECES_MAX);
    (0..=count).map(move |at| &bytes[last * at / count..last * at / count + PIECE_BYTES])
}

/// The same bytes as programs write them.
fn forms(piece: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let text = String::from_utf8_lossy(piece).into_owned();
    let encoded = percent_encode(piece, NON_ALPHANUMERIC).to_string();
    let json = serde_json::to_string(&text).expect("a text");
    let json = json[1..json.len() - 1].to_owned();
    let hex = |upper: bool| {
        piece.iter().fold(String::new(), |mut hex, byte| {
            let _ = if upper { write!(hex, "{byte:02X}") } else { write!(hex, "{byte:02x}") };
            hex
        })
    };
    let numbers = |between: &str| piece.iter().map(u8::to_string).collect::<Vec<_>>().join(between);
    let xml = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    let mut forms = vec![
        ("plain", piece.to_vec()),
        ("in capitals", text.to_ascii_uppercase().into_bytes()),
        ("in small letters", text.to_ascii_lowercase().into_bytes()),
        ("percent-encoded", encoded.to_ascii_lowercase().into_bytes()),
        ("percent-encoded", encoded.clone().into_bytes()),
        ("percent-encoded twice", encoded.replace('%', "%25").into_bytes()),
        ("JSON", json.clone().into_bytes()),
        ("JSON", json.replace('/', "\\/").into_bytes()),
        ("Debug", text.escape_debug().to_string().into_bytes()),
        ("SQL", text.replace('\'', "''").into_bytes()),
        ("XML", xml.into_bytes()),
        ("hex", hex(false).into_bytes()),
        ("hex", hex(true).into_bytes()),
        ("a list of numbers", numbers(", ").into_bytes()),
        ("a list of numbers", numbers(",").into_bytes()),
        ("UTF-16", piece.iter().flat_map(|byte| [*byte, 0]).collect()),
        ("UTF-16", piece.iter().flat_map(|byte| [0, *byte]).collect()),
    ];
    // Inside of something longer it may begin at any of three places of a group of four letters.
    for before in 0..3 {
        let whole = [vec![0; before], piece.to_vec()].concat();
        let (skipped, kept) = ((before * 8).div_ceil(6), whole.len() * 8 / 6);
        for encoder in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let encoded = encoder.encode(&whole)[skipped..kept].to_owned();
            let again = percent_encode(encoded.as_bytes(), NON_ALPHANUMERIC).to_string();
            forms.extend([("base64", encoded.into_bytes()), ("base64, percent-encoded", again.into_bytes())]);
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "Ses/ame+ 'open' <\"&\\> 0123456789 the end of it";

    fn scanner() -> Scanner {
        Scanner::new([("one", SECRET), ("other", "quite another text")])
    }

    #[test]
    fn a_secret_is_found_in_every_form_and_nothing_else_is() {
        let encoded = percent_encode(SECRET.as_bytes(), NON_ALPHANUMERIC).to_string();
        let wide: Vec<u8> = SECRET.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let haystacks: [(&str, Vec<u8>); 13] = [
            ("plain", format!("xx{SECRET}yy").into_bytes()),
            ("percent-encoded", format!("?a={encoded}&b=1").into_bytes()),
            ("percent-encoded", encoded.to_lowercase().into_bytes()),
            ("JSON", serde_json::to_vec(&[SECRET]).unwrap()),
            ("JSON", format!("{:?}", Some(SECRET)).into_bytes()),
            ("SQL", SECRET.replace('\'', "''").into_bytes()),
            ("in capitals", SECRET.to_uppercase().into_bytes()),
            ("a list of numbers", format!("{:?}", SECRET.as_bytes()).into_bytes()),
            ("UTF-16", wide),
            ("base64", STANDARD_NO_PAD.encode(format!("u:{SECRET}")).into_bytes()),
            ("base64", URL_SAFE_NO_PAD.encode(format!("{{\"k\":\"{SECRET}")).into_bytes()),
            ("hex", SECRET.bytes().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes()),
            ("base64", STANDARD_NO_PAD.encode(format!(" {SECRET}")).into_bytes()),
        ];
        for (form, haystack) in haystacks {
            let found = scanner().bytes("here", &haystack);
            assert!(found.iter().all(|found| found.secret == "one" && found.place == "here"), "{found:?}");
            assert!(found.iter().any(|found| found.form == form), "not found as {form}: {found:?}");
        }
        assert_eq!(scanner().bytes("here", b"Sesame opens; the ends of all; quiet, another one"), [].into());
    }

    #[test]
    fn a_secret_that_was_cut_is_found_by_its_pieces() {
        for cut in [&SECRET[..14], &SECRET[SECRET.len() - 12..], &SECRET[10..34]] {
            assert!(!scanner().bytes("here", cut.as_bytes()).is_empty(), "{cut}");
        }
    }

    #[test]
    fn files_are_looked_into_wherever_they_are() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("a/b");
        std::fs::create_dir(directory.path().join("a")).expect("a directory");
        std::fs::write(&file, [b"\xff..", SECRET.as_bytes(), b"..\x00"].concat()).expect("a file");
        std::os::unix::net::UnixListener::bind(directory.path().join("socket")).expect("a socket");
        let found = scanner().files(directory.path());
        assert!(found.iter().any(|found| found.place == file.display().to_string()), "{found:?}");
        assert_eq!(Scanner::new([("none", "it is not there")]).files(directory.path()), [].into());
    }
}
