//! What may be shown: of URIs by a list of what is harmless ([`uri`]), of texts that others wrote by everything that a secret
//! looks like or stands behind ([`text`]).
//!
//! The first is for what we write ourselves and is the one to rely on. The second is for errors of SDKs and services, which may
//! repeat what was sent to them; it hides too much rather than too little, and cannot know a password that looks like a word.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

mod shown;

pub use shown::uri;
pub(in crate::cloud) use shown::{endpoint, folders, leftover, scheme, word};

/// What stands for what is not shown.
pub const REDACTED: &str = "redacted";

/// What stands for what a pattern found.
type Shown = fn(&Captures<'_>) -> String;

/// A text that somebody else wrote, without what is or may be a secret.
pub fn text(text: &str) -> String {
    let text = repeated(text);
    let text = HEADER.replace_all(&text, "${1}${2}redacted");
    let text = NAMED.replace_all(&text, named);
    RUN.replace_all(
        &text,
        |found: &Captures<'_>| {
            if is_random(&found[0]) { REDACTED.to_owned() } else { found[0].to_owned() }
        },
    )
    .into_owned()
}

/// A text of ours that repeats something of a client's, as a syntax error does: without URIs' secrets, and what is a secret by
/// its form. Words stay as they are.
pub fn repeated(text: &str) -> Cow<'_, str> {
    let mut text = Cow::Borrowed(text);
    let steps: [(&Regex, Shown); 3] = [
        (&ADDRESS, |found| {
            let shown = |(at, quote): (usize, &str)| {
                let uri = found.get(at)?.as_str();
                // What ends a part of a sentence is no part of what stands alone in it.
                let end = if quote.is_empty() { uri.trim_end_matches([':', ',', ';', '.']) } else { uri };
                Some(format!("{quote}{}{quote}{}", address(end), &uri[end.len()..]))
            };
            (1..).zip(QUOTES).find_map(shown).unwrap_or_default()
        }),
        (&WHOLE, |_| REDACTED.to_owned()),
        (&PARAMETER, |found| format!("{}{REDACTED}", &found[1])),
    ];
    for (pattern, shown) in steps {
        if let Cow::Owned(changed) = pattern.replace_all(&text, shown) {
            text = Cow::Owned(changed);
        }
    }
    text
}

/// Whether [`text`] would hide something of it.
pub fn is_suspect(candidate: &str) -> bool {
    WHOLE.is_match(candidate)
        || NAMED.is_match(candidate)
        || RUN.find_iter(candidate).any(|run| is_random(run.as_str()))
}

/// A URI inside a text. Of URLs the host stays, for one has to know who answered so, and of the clouds' own the path.
fn address(found: &str) -> String {
    let lower = found.to_ascii_lowercase();
    if !lower.starts_with("http://") && !lower.starts_with("https://") {
        return uri(found);
    }
    let Some((scheme, rest)) = found.split_once("://") else { return REDACTED.to_owned() };
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (host, after) = rest.split_at(end);
    // A password may hold a slash that nobody escaped.
    if host.is_empty() || rest.contains('@') || is_suspect(host) {
        return format!("{scheme}://{REDACTED}");
    }
    let public = host.split(':').next().unwrap_or_default();
    if matches!(after, "" | "/") {
        format!("{scheme}://{host}{after}")
    } else if PUBLIC.iter().any(|ending| public.ends_with(ending)) && after.starts_with('/') {
        let path = after.split(['?', '#']).next().unwrap_or_default();
        let query = if path.len() < after.len() { "?redacted" } else { "" };
        format!("{scheme}://{host}{}{query}", shown::folders(path))
    } else {
        format!("{scheme}://{host}/{REDACTED}")
    }
}

/// `name=value`, `name: value`, `"name": "value"`, `<name>value<`: only the value goes, and its opening quote stays.
fn named(found: &Captures<'_>) -> String {
    let quote: String = found[2].chars().take_while(|c| matches!(c, '"' | '\'' | '\\')).collect();
    format!("{}{quote}{REDACTED}", &found[1])
}

/// Whether a text of letters, digits and little else is too irregular to be words: a key, a token.
fn is_random(run: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/+".contains(&byte);
    let is_key =
        run.len() == AWS_KEY_BYTES && run.bytes().all(fits) && changes_percent(run) >= KEY_CHANGES_PERCENT;
    let mut pieces = run.split(['/', '=']);
    is_key
        || pieces
            .any(|piece| piece.len() >= RANDOM_BYTES_MIN && changes_percent(piece) >= RANDOM_CHANGES_PERCENT)
}

/// At how many of its places a text changes between upper case, lower case, digits and the rest. 0: it has not all of the first
/// three.
fn changes_percent(text: &str) -> usize {
    let class = |byte: u8| match byte {
        b'A'..=b'Z' => 0,
        b'a'..=b'z' => 1,
        b'0'..=b'9' => 2,
        _ => 3,
    };
    let classes: Vec<u8> = text.bytes().map(class).collect();
    let changes = classes.windows(2).filter(|pair| pair[0] != pair[1]).count();
    if (0..3).all(|wanted| classes.contains(&wanted)) { changes * 100 / classes.len() } else { 0 }
}

/// URIs: constants of SQL, whatever they hold, and what stands alone, up to what can be no part of one.
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
    let uri = r"[A-Za-z][A-Za-z0-9+.-]*://";
    let alone = r#"[^\s'"<>`(){}\[\]]+"#;
    regex(&format!(r#"'({uri}[^']*)'|"({uri}[^"]*)"|\$\$({uri}[^$]*)\$\$|\b({uri}{alone})"#))
});

/// What encloses the four of [`ADDRESS`].
const QUOTES: [&str; 4] = ["'", "\"", "$$", ""];

/// What is a secret by its form: PEM, access keys, session tokens, JSON Web Tokens and JSON in base64, tokens of Google.
static WHOLE: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r"(?s)-----BEGIN [A-Z0-9 ]+-----.*?(?:-----END [A-Z0-9 ]+-----|$)",
        r"|\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}",
        r"|\b(?:IQoJ|FwoG|FQoG|AQoD)(?:[A-Za-z0-9+/=_-]|%[0-9A-Fa-f]{2}){12,}",
        r"|\be(?:yJ|yAi|wo|w0K)(?:[A-Za-z0-9+/=_.-]|%[0-9A-Fa-f]{2}){12,}",
        r"|\bya29\.[A-Za-z0-9_.~+/=-]+|\b1//[A-Za-z0-9_-]{20,}|\bGOCSPX-[A-Za-z0-9_-]+",
    ))
});

/// Secret parameters outside a URI, or in what nobody takes for one.
static PARAMETER: LazyLock<Regex> = LazyLock::new(|| {
    let names = shown::secret_parameters().chain(["external_id"]).collect::<Vec<_>>().join("|");
    regex(&format!(r#"(?i)(\b(?:{names})=)[^\s&"'<>]+"#))
});

/// Headers that let one in, to the end of their line.
static HEADER: LazyLock<Regex> = LazyLock::new(|| {
    regex(concat!(
        r#"(?im)(\b(?:proxy-)?authorization"?\s*[:=]\s*"?|\bwebhook_auth_header\s*=\s*'?)[^"'\r\n]+"#,
        r"|(\bbearer\s+)[A-Za-z0-9_.~+/=-]{8,}",
    ))
});

/// Values behind the names of secrets, in queries, JSON, XML, headers and shell.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    let names = SECRET_NAMES.join("|");
    regex(&format!(
        r#"(?i)(\b(?:{names})(?:\\?["'])?\s*(?:=>|=|:|%3D|>)\s*)(\\?"(?:[^"\\]|\\[^"])*|'[^']*|[^\s&"'<>,;)}}]+)"#
    ))
});

/// Of what keys and tokens consist.
static RUN: LazyLock<Regex> = LazyLock::new(|| regex(r"[A-Za-z0-9+/=_-]{20,}"));

/// Patterns of this module are constants, and a test compiles each.
fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern is well formed")
}

/// Names before secrets, without the difference of letters' cases, as patterns.
const SECRET_NAMES: [&str; 30] = [
    "aws_?access_?key_?id",
    "access_?key_?id",
    "aws_?secret_?access_?key",
    "secret_?access_?key",
    "secret_?key",
    "(?:aws_?)?session_?token",
    "x-amz-security-token",
    "x-(?:amz|goog)-(?:signature|credential)",
    "signature",
    "sig",
    "credentials",
    "bearer_token",
    "(?:access|id|refresh|identity|security)_?token",
    "web_?identity_?token",
    "(?:sasl_)?client_?secret",
    "private_?key(?:_id)?",
    "(?:sasl_)?password",
    "passwd",
    "(?:encryption_)?passphrase",
    "(?:azure_)?account_?key",
    "azure_client_secret",
    "shared_?access_?key",
    "client_?key",
    "client_cert",
    "ca_cert",
    "external_?id",
    "api_?(?:secret|key)",
    "authorization_?token",
    "x-aws-ec2-metadata-token",
    "token",
];
/// Hosts whose paths are of the clouds' making.
const PUBLIC: [&str; 5] =
    [".amazonaws.com", ".amazonaws.com.cn", ".googleapis.com", "metadata.google.internal", ".azure.com"];
/// A secret access key of AWS.
const AWS_KEY_BYTES: usize = 40;
/// Shorter ones may be ids.
const RANDOM_BYTES_MIN: usize = 24;
/// Of a random text in base64 it is some 64, of words written together 30 to 40.
const RANDOM_CHANGES_PERCENT: usize = 45;
/// Less, for what has a key's very length.
const KEY_CHANGES_PERCENT: usize = 38;

#[cfg(test)]
mod tests;
