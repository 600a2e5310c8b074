//! What a client says before it logs in: packets without a tag, and the settings in them. No I/O.
//!
//! Source: PostgreSQL 18 manual, chapters 54.2.1 "Start-up" and 54.7.

use bytes::{Buf, Bytes, BytesMut};

use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::refusal::state::{FEATURE_NOT_SUPPORTED, INVALID_AUTHORIZATION, INVALID_PARAMETER_VALUE};

use crate::error::SqlError;
use crate::pgwire::frame::{Fields, FrameError, LOGIN_FRAME_BYTES_MAX};
use crate::pgwire::reply::state;
use crate::session::Session;

/// The database of a client that names none.
pub const DEFAULT_DATABASE: &str = "defaultdb";
/// The newest protocol that is spoken here: 3.2.
pub const PROTOCOL_NEWEST: i32 = 3 << 16 | 2;
/// The oldest one: 3.0.
pub const PROTOCOL_OLDEST: i32 = 3 << 16;

const TLS_REQUEST: i32 = 80_877_103;
const GSS_REQUEST: i32 = 80_877_104;
const CANCEL_REQUEST: i32 = 80_877_102;
/// The length word and the code.
const PACKET_BYTES_MIN: usize = 8;
/// Bytes of the key of a cancel request. Source: the manual's CancelRequest.
const CANCEL_KEY_BYTES: std::ops::RangeInclusive<usize> = 4..=256;

/// A packet of a client that has not logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// It asks for TLS.
    Tls,
    /// It asks for GSSAPI encryption.
    Gss,
    /// It asks to cancel the statement of another connection.
    Cancel {
        /// The process number that the other connection was told.
        process: i32,
        /// The key that it was told.
        key: Bytes,
    },
    /// It wants to log in.
    Startup(Startup),
}

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Startup {
    /// The protocol that it asked for.
    pub protocol: i32,
    /// Protocol extensions that it asked for; none is known here.
    pub extensions: Vec<String>,
    /// Who it says it is.
    pub user: RoleName,
    /// The database that it wants.
    pub database: Name,
    /// Other settings, in order, with names in lower case.
    pub settings: Vec<(String, String)>,
}

impl Startup {
    /// The protocol that is spoken from here on.
    pub fn negotiated(&self) -> i32 {
        // There is no 3.1: it was skipped because of broken proxies.
        if self.protocol >= PROTOCOL_NEWEST { PROTOCOL_NEWEST } else { PROTOCOL_OLDEST }
    }

    /// Applies the settings to a new session: those of the protocol itself, and each other one with `set`.
    ///
    /// # Errors
    /// 0A000 for a value of a setting of the protocol that cannot be honoured, and those of `set`.
    pub fn configure(
        &self,
        session: &mut Session,
        mut set: impl FnMut(&mut Session, &str, &str) -> Result<(), SqlError>,
    ) -> Result<(), SqlError> {
        for (name, value) in &self.settings {
            match name.as_str() {
                "search_path" => session.search_path = search_path(value, &self.user),
                "client_encoding" if is_utf8(value) => {}
                "client_encoding" => {
                    let message = format!("client_encoding \"{value}\" is not supported");
                    return Err(hinted(FEATURE_NOT_SUPPORTED, message, "Use UTF8."));
                }
                "replication" if matches!(value.as_str(), "false" | "off" | "no" | "0") => {}
                "replication" => return Err(SqlError::unsupported("the replication protocol")),
                name => set(session, name, value)?,
            }
        }
        Ok(())
    }
}

/// Cuts the first whole packet out of `buffer` and takes it apart; none: more bytes are needed.
///
/// # Errors
/// 08P01 for what is not the protocol, 0A000 for a version that is not spoken, 28000 for a packet without user.
pub fn split(buffer: &mut BytesMut) -> Result<Option<Packet>, SqlError> {
    let Some(length) = buffer.get(..4) else { return Ok(None) };
    let length = usize::try_from((&mut &*length).get_u32()).unwrap_or(usize::MAX);
    if !(PACKET_BYTES_MIN..=LOGIN_FRAME_BYTES_MAX).contains(&length) {
        let message = "invalid length of startup packet";
        return Err(hinted(state::PROTOCOL_VIOLATION, message, "This port speaks the PostgreSQL protocol."));
    }
    if buffer.len() < length {
        return Ok(None);
    }
    let mut body = buffer.split_to(length).freeze();
    body.advance(4);
    let code = body.get_i32();
    let packet = match code {
        TLS_REQUEST | GSS_REQUEST | CANCEL_REQUEST => decode_request(code, body)?,
        protocol => Packet::Startup(decode_startup(protocol, body)?),
    };
    Ok(Some(packet))
}

fn decode_request(code: i32, mut body: Bytes) -> Result<Packet, SqlError> {
    match code {
        TLS_REQUEST if body.is_empty() => Ok(Packet::Tls),
        GSS_REQUEST if body.is_empty() => Ok(Packet::Gss),
        CANCEL_REQUEST if body.len() > 4 && CANCEL_KEY_BYTES.contains(&(body.len() - 4)) => {
            Ok(Packet::Cancel { process: body.get_i32(), key: body })
        }
        _ => Err(SqlError::new(state::PROTOCOL_VIOLATION, "invalid length of startup packet")),
    }
}

fn decode_startup(protocol: i32, body: Bytes) -> Result<Startup, SqlError> {
    if protocol >> 16 != 3 {
        let (major, minor) = (protocol >> 16, protocol & 0xffff);
        let message = format!("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2");
        return Err(SqlError::new(FEATURE_NOT_SUPPORTED, message));
    }
    let mut fields = Fields::new(body);
    let (mut user, mut database, mut settings, mut extensions) = (None, None, Vec::new(), Vec::new());
    loop {
        let name = fields.text().map_err(invalid_layout)?;
        if name.is_empty() {
            break;
        }
        let value = fields.text().map_err(invalid_layout)?;
        match name.as_str() {
            "user" => user = Some(value),
            "database" => database = Some(value),
            "options" => settings.extend(options(&value)?),
            _ if name.starts_with("_pq_.") => extensions.push(name),
            _ => settings.push((name.to_ascii_lowercase(), value)),
        }
    }
    if !fields.left().is_empty() {
        return Err(invalid_layout(FrameError::NotUtf8));
    }
    let user = user.filter(|user| !user.is_empty()).ok_or_else(|| {
        SqlError::new(INVALID_AUTHORIZATION, "no PostgreSQL user name specified in startup packet")
    })?;
    let database = database.filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT_DATABASE.to_owned());
    Ok(Startup {
        protocol,
        extensions,
        user: RoleName::normalize(&user),
        database: Name::normalize(&database),
        settings,
    })
}

fn invalid_layout(_: FrameError) -> SqlError {
    SqlError::new(
        state::PROTOCOL_VIOLATION,
        "invalid startup packet layout: expected terminator as last byte",
    )
}

/// The `options` of a startup packet: `-c name=value`, `-cname=value`, `--name=value`, with backslashes before
/// blanks that belong to a value.
fn options(text: &str) -> Result<Vec<(String, String)>, SqlError> {
    let wrong = || {
        let message = format!("invalid options in startup packet: {text:?}");
        hinted(INVALID_PARAMETER_VALUE, message, "Write -c name=value.")
    };
    let mut settings = Vec::new();
    let mut words = words(text).into_iter();
    while let Some(word) = words.next() {
        let setting = match (word.strip_prefix("--"), word.strip_prefix("-c")) {
            (Some(long), _) => long.to_owned(),
            (None, Some("")) => words.next().ok_or_else(wrong)?,
            (None, Some(short)) => short.to_owned(),
            (None, None) => return Err(wrong()),
        };
        let (name, value) = setting.split_once('=').ok_or_else(wrong)?;
        settings.push((name.to_ascii_lowercase().replace('-', "_"), value.to_owned()));
    }
    Ok(settings)
}

fn words(text: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let word = words.last_mut().expect("there is always one");
        match c {
            '\\' => word.extend(chars.next()),
            c if c.is_ascii_whitespace() => words.push(String::new()),
            c => word.push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn search_path(value: &str, user: &RoleName) -> Vec<Name> {
    let name = |word: &str| match word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
        Some("$user") => Name::normalize(user.as_str()),
        Some(quoted) => Name::normalize(&quoted.replace("\"\"", "\"")),
        None if word.eq_ignore_ascii_case("$user") => Name::normalize(user.as_str()),
        None => Name::normalize(&word.to_lowercase()),
    };
    value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(name).collect()
}

fn is_utf8(encoding: &str) -> bool {
    let folded = encoding.trim_matches(['\'', '"']).to_ascii_lowercase().replace(['-', '_'], "");
    matches!(folded.as_str(), "utf8" | "unicode")
}

fn hinted(code: grantd_catalog::refusal::SqlState, message: impl Into<String>, hint: &str) -> SqlError {
    let mut error = SqlError::new(code, message);
    error.body = error.body.with_hint(hint);
    error
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(code: i32, body: &[u8]) -> BytesMut {
        let length = u32::try_from(body.len() + 8).unwrap();
        BytesMut::from(&[&length.to_be_bytes()[..], &code.to_be_bytes(), body].concat()[..])
    }

    fn startup(body: &[u8]) -> Result<Startup, String> {
        match split(&mut packet(PROTOCOL_OLDEST, body)) {
            Ok(Some(Packet::Startup(startup))) => Ok(startup),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(format!("{} {}", error.body.code.as_str(), error.body.message)),
        }
    }

    #[test]
    fn names_are_normalized_and_the_database_has_a_default() {
        let startup = startup(b"user\0Bob\0Application_Name\0x\0_pq_.novel\0on\0\0").unwrap();
        assert_eq!(startup.user.as_str(), "bob");
        assert_eq!(startup.database.as_str(), "defaultdb");
        assert_eq!(startup.settings, [("application_name".to_owned(), "x".to_owned())]);
        assert_eq!(startup.extensions, ["_pq_.novel"]);
    }

    #[test]
    fn a_packet_that_is_not_the_protocol_is_refused() {
        assert_eq!(startup(b"\0").unwrap_err(), "28000 no PostgreSQL user name specified in startup packet");
        for body in [&b""[..], b"user", b"user\0bob\0", b"user\0bob\0\0x", b"user\0\xff\0\0"] {
            assert!(startup(body).unwrap_err().starts_with("08P01 invalid startup packet layout"));
        }
        let http = split(&mut BytesMut::from(&b"GET / HTTP/1.1\r\n"[..])).unwrap_err();
        assert_eq!(http.body.message, "invalid length of startup packet");
        let old = split(&mut packet(2 << 16, b"")).unwrap_err();
        assert_eq!(old.body.message, "unsupported frontend protocol 2.0: server supports 3.0 to 3.2");
    }

    #[test]
    fn versions_are_negotiated_down_to_what_is_spoken() {
        let negotiated = |protocol| {
            let packet = split(&mut packet(protocol, b"user\0u\0\0")).unwrap();
            let Some(Packet::Startup(startup)) = packet else { panic!("{packet:?}") };
            startup.negotiated()
        };
        assert_eq!(negotiated(3 << 16), PROTOCOL_OLDEST);
        assert_eq!(negotiated(3 << 16 | 1), PROTOCOL_OLDEST);
        assert_eq!(negotiated(3 << 16 | 2), PROTOCOL_NEWEST);
        assert_eq!(negotiated(3 << 16 | 9_999), PROTOCOL_NEWEST);
    }

    #[test]
    fn options_are_settings() {
        let pairs = options(r"-c search_path=a,b  --application-name=my\ app -cx=1").unwrap();
        let expected = [("search_path", "a,b"), ("application_name", "my app"), ("x", "1")];
        assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert!(options("-x").is_err());
        assert!(options("-c").is_err());
        let path = search_path(r#""$user", Public, "S""#, &RoleName::normalize("u"));
        assert_eq!(path, ["u", "public", "S"].map(Name::normalize));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_decoder_panic(code: i32, body: Vec<u8>, raw: Vec<u8>) {
            let _ = split(&mut BytesMut::from(&raw[..]));
            for code in [code, PROTOCOL_OLDEST, PROTOCOL_NEWEST, CANCEL_REQUEST, TLS_REQUEST] {
                let _ = split(&mut packet(code, &body));
            }
        }
    }
}
