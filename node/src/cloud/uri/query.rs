//! The pieces of a URI's text: scheme, place, parameters.
//!
//! Parameters are separated by `&` only; `;` means nothing here and is kept. Blanks around a parameter that are written as such
//! are no part of it (documents print them behind the `?`); a `+` in a value is a blank, as everywhere in queries. A name is
//! given once, and exactly as it is known.

use std::fmt::Write;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use grantd_catalog::object::TEXT_BYTES_MAX;
use grantd_catalog::refusal::{Refusal, state};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::cloud::chain::Hashed;
use crate::cloud::redact;
use crate::secret::Secret;

/// A URI in pieces, with the parameters that nobody asked for yet.
pub(super) struct Pieces<'a> {
    /// As it is written.
    pub scheme: &'a str,
    /// As it is written.
    pub host: &'a str,
    /// As it is written, from its first slash.
    pub path: &'a str,
    /// All of it, as it is written.
    pub whole: &'a str,
    parameters: Vec<Parameter<'a>>,
}

struct Parameter<'a> {
    name: String,
    value: Secret,
    /// Both as they are written.
    raw: &'a str,
}

impl<'a> Pieces<'a> {
    /// Cuts the text. Refusals show nothing of it but names of parameters that are known or look like names.
    pub(super) fn cut(text: &'a str) -> Result<Self, Refusal> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(Refusal::new(
                state::PROGRAM_LIMIT_EXCEEDED,
                format!("URI has {} bytes, and at most {TEXT_BYTES_MAX} are allowed", text.len()),
            ));
        }
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(invalid("URI has no scheme").with_hint("a URI begins as s3://, gs:// or external://"));
        };
        if rest.contains('#') {
            return Err(invalid("URI has a fragment, which means nothing").with_hint("write a # as %23"));
        }
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        // Also behind the host: a password may hold a slash that nobody escaped.
        if place.contains('@') {
            return Err(invalid("URI has user information before an @, which is not used")
                .with_hint("give keys as parameters; write an @ in a path as %40"));
        }
        let (host, path) = place.split_at(place.find('/').unwrap_or(place.len()));
        Ok(Self { scheme, host, path, whole: text, parameters: parameters(query)? })
    }

    /// The host, if it is one of a few ASCII characters and no more.
    pub(super) fn plain_host(&self, what: &str) -> Result<String, Refusal> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-$".contains(&byte);
        if self.host.len() <= HOST_BYTES_MAX && self.host.bytes().all(fits) {
            Ok(self.host.to_owned())
        } else {
            Err(invalid(format!("{what} is not valid: it may have letters, digits, and ._-$")))
        }
    }

    /// Names of folders and a file, without slashes at the ends, decoded. `..` is refused, as it would lead out of what was
    /// granted.
    pub(super) fn folders(&self) -> Result<String, Refusal> {
        folders(self.path)
    }

    /// Takes a parameter out. An empty value counts as none.
    pub(super) fn take(&mut self, name: &str) -> Option<Secret> {
        let at = self.parameters.iter().position(|parameter| parameter.name == name)?;
        let value = self.parameters.remove(at).value;
        (!value.is_empty()).then_some(value)
    }

    /// Takes a parameter that is no secret.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        self.take(name).map(|value| value.expose().to_owned())
    }

    /// Takes a parameter that is no secret, of the characters that `fits` knows.
    pub(super) fn word(&mut self, name: &str, fits: fn(u8) -> bool) -> Result<Option<String>, Refusal> {
        match self.text(name) {
            Some(text) if text.len() > WORD_BYTES_MAX || !text.bytes().all(fits) => {
                Err(invalid(format!("{name} is not valid")).with_hint("a + in a value is written %2B"))
            }
            text => Ok(text),
        }
    }

    /// Takes a secret that has neither blanks nor control characters: a blank was a `+` that nobody wrote as `%2B`.
    pub(super) fn key(&mut self, name: &str) -> Result<Option<Hashed>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        if value.expose().chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(invalid(format!("{name} has a blank")).with_hint("a + in a value is written %2B"));
        }
        Ok(Some(Hashed::new(value)))
    }

    /// Takes a yes or no.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.take(name).as_ref().map(Secret::expose) {
            None => Ok(None),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
            Some(_) => Err(invalid(format!("param {name} must be a bool"))),
        }
    }

    /// Takes base64 of a text.
    pub(super) fn base64(&mut self, name: &str) -> Result<Option<Hashed>, Refusal> {
        let Some(value) = self.take(name) else { return Ok(None) };
        decoded(value.expose()).map(|text| Some(Hashed::new(text))).ok_or_else(|| {
            invalid(format!("param {name} must be base 64 encoded"))
                .with_hint("a + in a value is written %2B")
        })
    }

    /// That there are no parameters but these. `kind` is how the refusal calls this sort of URI.
    pub(super) fn only(&mut self, kind: &str, known: &[&[&str]]) -> Result<(), Refusal> {
        self.take(LOCALITY);
        let left = || {
            let is_known = |name: &str| known.iter().any(|names| names.contains(&name));
            self.parameters.iter().filter(move |parameter| !is_known(&parameter.name))
        };
        let mut names: Vec<_> = left().map(|left| redact::leftover(&left.name, left.raw)).collect();
        if names.is_empty() {
            return Ok(());
        }
        names.sort_unstable();
        names.dedup();
        let refusal = invalid(format!("unknown {kind} query parameters: {}", names.join(", ")));
        let meant = known
            .iter()
            .copied()
            .flatten()
            .find(|known| left().any(|left| left.name.eq_ignore_ascii_case(known)));
        Err(match meant {
            Some(meant) => refusal.with_hint(format!("names are written exactly: {meant}")),
            None => refusal,
        })
    }

    /// All that was not taken, as it was written.
    pub(super) fn rest(mut self) -> String {
        self.take(LOCALITY);
        self.parameters.iter().map(|left| left.raw).collect::<Vec<_>>().join("&")
    }
}

fn parameters(query: &str) -> Result<Vec<Parameter<'_>>, Refusal> {
    let mut parameters: Vec<Parameter<'_>> = Vec::new();
    for raw in query.split('&').map(str::trim).filter(|raw| !raw.is_empty()) {
        if parameters.len() == PARAMETERS_MAX {
            return Err(Refusal::new(
                state::PROGRAM_LIMIT_EXCEEDED,
                format!("URI has more than {PARAMETERS_MAX} parameters"),
            ));
        }
        let (name, value) = raw.split_once('=').unwrap_or((raw, ""));
        let shown = redact::leftover(name, raw);
        let value = decode(&value.replace('+', " "))
            .ok_or_else(|| invalid(format!("the value of parameter {shown} is not percent-encoded UTF-8")))?;
        if value.chars().any(char::is_control) {
            return Err(invalid(format!("the value of parameter {shown} has a control character")));
        }
        let name =
            decode(name).ok_or_else(|| invalid("the name of a parameter is not percent-encoded UTF-8"))?;
        if parameters.iter().any(|other| other.name == name) {
            return Err(invalid(format!("parameter {shown} is given more than once")));
        }
        parameters.push(Parameter { name, value: Secret::new(value), raw });
    }
    Ok(parameters)
}

/// Whether the path has a `..`.
pub(super) fn climbs(path: &str) -> bool {
    decode(path).is_some_and(|path| path.split('/').any(|piece| piece == ".."))
}

/// A text as it stands in a host.
pub(super) fn escaped(text: &str) -> String {
    utf8_percent_encode(text, HOST_ENCODED).to_string()
}

/// A text that stands in a host.
pub(super) fn unescaped(text: &str) -> Result<String, Refusal> {
    match decode(text) {
        Some(text) if !text.chars().any(char::is_control) => Ok(text),
        Some(_) | None => Err(invalid("host component of the URI is not percent-encoded UTF-8")),
    }
}

/// A path in normal form: decoded, without empty pieces and `.`.
pub(super) fn folders(path: &str) -> Result<String, Refusal> {
    let decoded = decode(path).ok_or_else(|| invalid("the path of the URI is not percent-encoded UTF-8"))?;
    if decoded.chars().any(char::is_control) {
        return Err(invalid("the path of the URI has a control character"));
    }
    let pieces: Vec<_> = decoded.split('/').filter(|piece| !matches!(*piece, "" | ".")).collect();
    if pieces.contains(&"..") {
        return Err(invalid("the path of the URI has .., which could lead out of what was granted")
            .with_hint("write the path without it"));
    }
    Ok(pieces.join("/"))
}

/// Percent-decodes, or says that it cannot: a `%` without two digits behind it, bytes that are no UTF-8.
fn decode(text: &str) -> Option<String> {
    let digits = |at: usize| {
        text.as_bytes().get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.match_indices('%').all(|(at, _)| digits(at)) {
        return None;
    }
    percent_decode_str(text).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

/// The text of a base64 text, in either alphabet, padded or not.
pub(super) fn decoded(text: &str) -> Option<Secret> {
    let bytes = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text)).ok()?;
    String::from_utf8(bytes).ok().map(Secret::new)
}

/// Whether it is base64, of whatever.
pub(super) fn is_base64(text: &str) -> bool {
    STANDARD.decode(text).is_ok()
}

/// A text in base64.
pub(super) fn encoded(text: &Hashed) -> Secret {
    Secret::new(STANDARD.encode(text.expose()))
}

/// Writes a URI: the counterpart of [`Pieces`].
pub(super) struct Writer {
    text: String,
    parameters: Vec<(&'static str, Secret)>,
}

impl Writer {
    /// Begins with scheme, host and path.
    pub(super) fn new(scheme: &str, host: &str, path: &str) -> Self {
        let path = utf8_percent_encode(path, ENCODED);
        let slash = if path.clone().next().is_none() { "" } else { "/" };
        Self { text: format!("{scheme}://{host}{slash}{path}"), parameters: Vec::new() }
    }

    /// Goes on where a URL ends.
    pub(super) fn onto(url: String) -> Self {
        Self { text: url, parameters: Vec::new() }
    }

    /// Adds a parameter.
    pub(super) fn set(&mut self, name: &'static str, value: &str) {
        self.parameters.push((name, Secret::new(value.to_owned())));
    }

    /// Adds a parameter, if there is one.
    pub(super) fn maybe(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.set(name, value);
        }
    }

    /// The whole text, its parameters sorted by name.
    pub(super) fn finish(mut self) -> Secret {
        self.parameters.sort_by_key(|(name, _)| *name);
        let mut text = self.text;
        for (name, value) in &self.parameters {
            let separator = if text.contains('?') { '&' } else { '?' };
            // Writing to a text cannot fail.
            let _ = write!(text, "{separator}{name}={}", utf8_percent_encode(value.expose(), ENCODED));
        }
        Secret::new(text)
    }
}

pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(state::INVALID_PARAMETER_VALUE, message)
}

/// Set for backups by locality; it says nothing about the place.
pub(super) const LOCALITY: &str = "COCKROACH_LOCALITY";
/// All that any URI has is 16.
const PARAMETERS_MAX: usize = 64;
/// No name of a bucket, project or region is near it; URLs of endpoints are looked at by themselves.
const WORD_BYTES_MAX: usize = 1 << 10;
/// As DNS has them.
const HOST_BYTES_MAX: usize = 255;
/// What is written as such in paths and values: nothing that ends one.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b':')
    .remove(b'/')
    .remove(b',')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');
/// The same in hosts, which a slash ends.
const HOST_ENCODED: &AsciiSet = &ENCODED.add(b'/').add(b':').add(b'@');
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);
