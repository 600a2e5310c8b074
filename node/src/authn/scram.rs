//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS: verifiers, and the server's side of the exchange as a pure state machine.
//!
//! Source: RFC 5802, RFC 7677, RFC 5929 (`tls-server-end-point`); the text form of a verifier is PostgreSQL's, which
//! CockroachDB shares: `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`, all in base64.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use grantd_catalog::role::PasswordVerifier;

use crate::secret::Secret;

/// Rounds of PBKDF2 in verifiers that are made here. Source: CockroachDB v22.2,
/// `server.user_login.password_hashes.default_cost.scram_sha_256`.
pub const ITERATIONS: u32 = 10_610;
/// The fewest rounds that a verifier made elsewhere may have. Source: RFC 7677, section 4.
pub const ITERATIONS_MIN: u32 = 4_096;
/// The most rounds that a verifier made elsewhere may have: clients do this work at each login.
pub const ITERATIONS_MAX: u32 = 10_000_000;
/// Bytes of salt in verifiers that are made here, as in PostgreSQL.
pub const SALT_BYTES: usize = 16;
/// The most bytes of salt in a verifier that was made elsewhere.
pub const SALT_BYTES_MAX: usize = 1_024;
/// The most bytes of one message of an exchange. Longer ones are refused unread.
pub const MESSAGE_BYTES_MAX: usize = 4_096;
/// Random bytes in the server's part of the nonce.
const NONCE_BYTES: usize = 18;
/// The name of the mechanism without channel binding.
pub const MECHANISM: &str = "SCRAM-SHA-256";
/// The name of the mechanism with channel binding.
pub const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// The one kind of channel binding that is offered.
const BINDING_KIND: &str = "tls-server-end-point";

type Key = [u8; 32];

/// What a password is checked against, taken apart. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

/// Why a text is not a verifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierError {
    /// Not of the form above.
    #[error("the text is not of the form SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>")]
    Form,
    /// Too few rounds are unsafe, too many keep every client busy.
    #[error("the iteration count must be between {ITERATIONS_MIN} and {ITERATIONS_MAX}")]
    Iterations,
    /// No salt, or one that is too long.
    #[error("the salt must have between 1 and {SALT_BYTES_MAX} bytes")]
    Salt,
}

/// Makes the verifier of a password, with a fresh random salt. Cost: [`ITERATIONS`] rounds of HMAC, some
/// milliseconds of processor time: keep it off latency-sensitive threads.
///
/// # Errors
/// The operating system gave no random bytes.
pub fn make_verifier(password: &Secret) -> Result<PasswordVerifier, getrandom::Error> {
    let mut salt = [0; SALT_BYTES];
    getrandom::fill(&mut salt)?;
    Ok(PasswordVerifier::new(Verifier::derive(password.expose(), &salt, ITERATIONS).to_text()))
}

/// Checks a verifier that was made elsewhere and gives it in its canonical text.
pub fn check_prehashed(text: &str) -> Result<PasswordVerifier, VerifierError> {
    Verifier::parse(text).map(|verifier| PasswordVerifier::new(verifier.to_text()))
}

impl Verifier {
    /// Takes the text form apart.
    pub fn parse(text: &str) -> Result<Self, VerifierError> {
        let rest = text.strip_prefix("SCRAM-SHA-256$").ok_or(VerifierError::Form)?;
        let (cost, keys) = rest.split_once('$').ok_or(VerifierError::Form)?;
        let (iterations, salt) = cost.split_once(':').ok_or(VerifierError::Form)?;
        let (stored, server) = keys.split_once(':').ok_or(VerifierError::Form)?;
        if iterations.is_empty() || !iterations.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(VerifierError::Form);
        }
        let iterations: u32 = iterations.parse().map_err(|_| VerifierError::Iterations)?;
        if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
            return Err(VerifierError::Iterations);
        }
        let salt = BASE64.decode(salt).map_err(|_| VerifierError::Form)?;
        if salt.is_empty() || salt.len() > SALT_BYTES_MAX {
            return Err(VerifierError::Salt);
        }
        Ok(Self { iterations, salt, stored_key: decode_key(stored)?, server_key: decode_key(server)? })
    }

    /// The verifier of a password.
    pub fn derive(password: &str, salt: &[u8], iterations: u32) -> Self {
        let prepared = Zeroizing::new(prepare(password).into_owned());
        let mut salted = Zeroizing::new([0; 32]);
        pbkdf2::pbkdf2_hmac::<Sha256>(prepared.as_bytes(), salt, iterations, salted.as_mut());
        let client_key = Zeroizing::new(hmac(salted.as_ref(), b"Client Key"));
        Self {
            iterations,
            salt: salt.to_vec(),
            stored_key: Sha256::digest(client_key.as_ref()).into(),
            server_key: hmac(salted.as_ref(), b"Server Key"),
        }
    }

    /// A verifier that no password matches, for a user that does not exist or has no password: the exchange then runs
    /// as usual. The same user gets the same salt each time, as a real user does.
    pub fn fake(secret: &[u8; 32], user: &str) -> Self {
        let salt = hmac(secret, &[b"salt:", user.as_bytes()].concat());
        Self {
            iterations: ITERATIONS,
            salt: salt[..SALT_BYTES].to_vec(),
            stored_key: hmac(secret, &[b"stored:", user.as_bytes()].concat()),
            server_key: hmac(secret, &[b"server:", user.as_bytes()].concat()),
        }
    }

    /// The text form.
    pub fn to_text(&self) -> String {
        format!(
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            BASE64.encode(&self.salt),
            BASE64.encode(self.stored_key),
            BASE64.encode(self.server_key)
        )
    }

    /// Whether `password` is the one it was made of. Cost: as making it.
    pub fn matches(&self, password: &Secret) -> bool {
        let derived = Self::derive(password.expose(), &self.salt, self.iterations);
        bool::from(derived.stored_key.ct_eq(&self.stored_key))
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.stored_key.zeroize();
        self.server_key.zeroize();
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier([redacted])")
    }
}

/// SASLprep, as clients do it: a password that it does not allow is used as it is (PostgreSQL's `pg_saslprep`).
fn prepare(password: &str) -> Cow<'_, str> {
    stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password))
}

fn hmac(key: &[u8], message: &[u8]) -> Key {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn decode_key(text: &str) -> Result<Key, VerifierError> {
    BASE64.decode(text).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(VerifierError::Form)
}

/// Why an exchange ended without a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The messages are not those of the protocol.
    #[error("malformed SCRAM message: {0}")]
    Malformed(&'static str),
    /// The channel is not the one that the client sees, or the client was told that there is no binding.
    #[error("SCRAM channel binding check failed")]
    ChannelBinding,
    /// The proof is wrong. It says nothing about why: no such user, no password, another password.
    #[error("password authentication failed")]
    Refused,
}

/// What the server knows of its side of the TLS channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binding {
    /// No TLS, or a certificate for which no binding is defined: only the plain mechanism is offered.
    Unavailable,
    /// The hash of the server's certificate (RFC 5929): both mechanisms are offered.
    ServerEndPoint(Vec<u8>),
}

impl Binding {
    /// The mechanisms to offer, best first.
    pub fn mechanisms(&self) -> &'static [&'static str] {
        match self {
            Self::Unavailable => &[MECHANISM],
            Self::ServerEndPoint(_) => &[MECHANISM_PLUS, MECHANISM],
        }
    }
}

/// The server's side of one login, after the client chose a mechanism.
#[derive(Debug)]
pub struct Exchange {
    verifier: Verifier,
    binding_input: Vec<u8>,
    nonce: String,
    auth_message: String,
}

impl Exchange {
    /// Takes the client's first message and gives the server's. `random`: the server's part of the nonce, see
    /// [`server_nonce`].
    pub fn begin(
        verifier: Verifier,
        binding: &Binding,
        mechanism: &str,
        client_first: &[u8],
        random: &str,
    ) -> Result<(Self, String), ExchangeError> {
        let text = message_text(client_first)?;
        let (flag, rest) = text.split_once(',').ok_or(ExchangeError::Malformed("no GS2 header"))?;
        let (authzid, bare) = rest.split_once(',').ok_or(ExchangeError::Malformed("no GS2 header"))?;
        if !authzid.is_empty() {
            return Err(ExchangeError::Malformed("an authorization identity is not supported"));
        }
        let mut binding_input = [flag, ",,"].concat().into_bytes();
        binding_input.extend_from_slice(check_flag(flag, binding, mechanism)?);
        let client_nonce = client_nonce(bare)?;
        let nonce = [client_nonce, random].concat();
        let reply = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        let auth_message = format!("{bare},{reply}");
        Ok((Self { verifier, binding_input, nonce, auth_message }, reply))
    }

    /// Takes the client's proof and gives the server's signature, or the refusal.
    pub fn finish(self, client_final: &[u8]) -> Result<String, ExchangeError> {
        let text = message_text(client_final)?;
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(ExchangeError::Malformed("no proof"))?;
        let mut fields = without_proof.split(',');
        let binding = fields.next().and_then(|field| field.strip_prefix("c="));
        let binding = binding.ok_or(ExchangeError::Malformed("no channel binding"))?;
        let nonce = fields.next().and_then(|field| field.strip_prefix("r="));
        let nonce = nonce.ok_or(ExchangeError::Malformed("no nonce"))?;
        let binding = BASE64.decode(binding).map_err(|_| ExchangeError::Malformed("bad base64"))?;
        if !bool::from(binding.ct_eq(&self.binding_input)) {
            return Err(ExchangeError::ChannelBinding);
        }
        if nonce != self.nonce {
            return Err(ExchangeError::Malformed("another nonce"));
        }
        let proof = BASE64.decode(proof).map_err(|_| ExchangeError::Malformed("bad base64"))?;
        let proof: Key = proof.try_into().map_err(|_| ExchangeError::Malformed("bad proof"))?;
        let auth_message = format!("{},{without_proof}", self.auth_message);
        let signature = hmac(&self.verifier.stored_key, auth_message.as_bytes());
        let mut client_key = Zeroizing::new([0; 32]);
        for (byte, (left, right)) in client_key.iter_mut().zip(proof.iter().zip(signature)) {
            *byte = left ^ right;
        }
        let stored_key: Key = Sha256::digest(client_key.as_ref()).into();
        if !bool::from(stored_key.ct_eq(&self.verifier.stored_key)) {
            return Err(ExchangeError::Refused);
        }
        Ok(format!("v={}", BASE64.encode(hmac(&self.verifier.server_key, auth_message.as_bytes()))))
    }
}

/// The server's part of a nonce.
///
/// # Errors
/// The operating system gave no random bytes.
pub fn server_nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0; NONCE_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(BASE64.encode(bytes))
}

fn message_text(bytes: &[u8]) -> Result<&str, ExchangeError> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(ExchangeError::Malformed("too long"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| ExchangeError::Malformed("not UTF-8"))?;
    if text.contains('\0') {
        return Err(ExchangeError::Malformed("a zero byte"));
    }
    Ok(text)
}

/// Checks what the client says about channel binding and gives the bytes that it must repeat with its proof.
fn check_flag<'a>(flag: &str, binding: &'a Binding, mechanism: &str) -> Result<&'a [u8], ExchangeError> {
    match (mechanism, flag, binding) {
        (MECHANISM, "n", _) | (MECHANISM, "y", Binding::Unavailable) => Ok(&[]),
        // The client could bind and was told that the server cannot: somebody changed the list of mechanisms.
        (MECHANISM, "y", Binding::ServerEndPoint(_)) => Err(ExchangeError::ChannelBinding),
        (MECHANISM_PLUS, flag, Binding::ServerEndPoint(hash)) => match flag.strip_prefix("p=") {
            Some(BINDING_KIND) => Ok(hash),
            _ => Err(ExchangeError::ChannelBinding),
        },
        (MECHANISM, _, _) => Err(ExchangeError::Malformed("bad channel binding flag")),
        _ => Err(ExchangeError::Malformed("a mechanism that was not offered")),
    }
}

/// The nonce in `n=<user>,r=<nonce>[,<extension>…]`. The user is that of the startup message; PostgreSQL's clients
/// send none here, and PostgreSQL ignores it too.
fn client_nonce(bare: &str) -> Result<&str, ExchangeError> {
    if bare.starts_with("m=") {
        return Err(ExchangeError::Malformed("an extension that is not supported"));
    }
    let mut fields = bare.split(',');
    if !fields.next().is_some_and(|field| field.starts_with("n=")) {
        return Err(ExchangeError::Malformed("no user"));
    }
    let nonce = fields.next().and_then(|field| field.strip_prefix("r="));
    let nonce = nonce.ok_or(ExchangeError::Malformed("no nonce"))?;
    let printable = |byte: u8| (0x21..=0x7e).contains(&byte);
    if nonce.is_empty() || !nonce.bytes().all(printable) {
        return Err(ExchangeError::Malformed("bad nonce"));
    }
    Ok(nonce)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    /// RFC 7677, section 3.
    const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
    const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const RANDOM: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn pencil() -> Verifier {
        static PENCIL: LazyLock<Verifier> = LazyLock::new(|| {
            Verifier::derive("pencil", &BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap(), 4096)
        });
        PENCIL.clone()
    }

    fn begin(first: &str, binding: &Binding, mechanism: &str) -> Result<Exchange, ExchangeError> {
        Exchange::begin(pencil(), binding, mechanism, first.as_bytes(), RANDOM).map(|(exchange, _)| exchange)
    }

    #[test]
    fn the_example_of_rfc_7677_is_played_as_printed() {
        let (exchange, reply) =
            Exchange::begin(pencil(), &Binding::Unavailable, MECHANISM, CLIENT_FIRST.as_bytes(), RANDOM)
                .unwrap();
        assert_eq!(
            reply,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = exchange.finish(CLIENT_FINAL.as_bytes()).unwrap();
        assert_eq!(last, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn another_password_or_another_nonce_is_refused() {
        let other = Verifier::derive("pencils", b"0123456789abcdef", 4096);
        let (exchange, _) =
            Exchange::begin(other, &Binding::Unavailable, MECHANISM, CLIENT_FIRST.as_bytes(), RANDOM)
                .unwrap();
        assert_eq!(exchange.finish(CLIENT_FINAL.as_bytes()), Err(ExchangeError::Refused));
        let exchange = begin(CLIENT_FIRST, &Binding::Unavailable, MECHANISM).unwrap();
        let replayed = CLIENT_FINAL.replace("%hv", "%hw");
        assert_eq!(exchange.finish(replayed.as_bytes()), Err(ExchangeError::Malformed("another nonce")));
    }

    #[test]
    fn a_client_that_was_told_there_is_no_binding_is_refused_when_there_is() {
        let bound = Binding::ServerEndPoint(vec![7; 32]);
        let first = CLIENT_FIRST.replacen('n', "y", 1);
        assert_eq!(begin(&first, &bound, MECHANISM).unwrap_err(), ExchangeError::ChannelBinding);
        assert!(begin(&first, &Binding::Unavailable, MECHANISM).is_ok());
        assert!(begin(CLIENT_FIRST, &Binding::Unavailable, MECHANISM_PLUS).is_err());
    }

    #[test]
    fn a_proof_that_is_bound_to_another_channel_is_refused() {
        let first = "p=tls-server-end-point,,n=,r=abc";
        let exchange = begin(first, &Binding::ServerEndPoint(vec![7; 32]), MECHANISM_PLUS).unwrap();
        let elsewhere = [b"p=tls-server-end-point,,".as_slice(), &[8; 32]].concat();
        let last = format!("c={},r=abc{RANDOM},p={}", BASE64.encode(elsewhere), BASE64.encode([0; 32]));
        assert_eq!(exchange.finish(last.as_bytes()), Err(ExchangeError::ChannelBinding));
    }

    #[test]
    fn a_verifier_goes_through_its_text() {
        let verifier = make_verifier(&Secret::new("pencil".to_owned())).unwrap();
        let parsed = Verifier::parse(verifier.expose()).unwrap();
        assert!(parsed.matches(&Secret::new("pencil".to_owned())));
        assert!(!parsed.matches(&Secret::new("Pencil".to_owned())));
        assert_eq!(check_prehashed(verifier.expose()), Ok(verifier));
        assert!(!format!("{parsed:?}").contains("SCRAM"));
    }

    #[test]
    fn a_text_that_is_no_verifier_is_refused_with_its_reason() {
        let keys = format!("{0}:{0}", BASE64.encode([1; 32]));
        let check = |cost: &str| check_prehashed(&format!("SCRAM-SHA-256${cost}${keys}")).err();
        assert_eq!(check("4096:c2FsdA=="), None);
        assert_eq!(check("4095:c2FsdA=="), Some(VerifierError::Iterations));
        assert_eq!(check("99999999999:c2FsdA=="), Some(VerifierError::Iterations));
        assert_eq!(check("+4096:c2FsdA=="), Some(VerifierError::Form));
        assert_eq!(check("4096:"), Some(VerifierError::Salt));
        assert_eq!(check("4096:???"), Some(VerifierError::Form));
        assert_eq!(check_prehashed("md5abc").err(), Some(VerifierError::Form));
        assert_eq!(
            check_prehashed("SCRAM-SHA-256$4096:c2FsdA==$c2FsdA==:c2FsdA==").err(),
            Some(VerifierError::Form)
        );
    }

    #[test]
    fn a_fake_verifier_is_the_same_each_time_and_differs_by_user() {
        let salt = |user: &str| Verifier::fake(&[9; 32], user).salt.clone();
        assert_eq!(salt("bob"), salt("bob"));
        assert_ne!(salt("bob"), salt("eve"));
        assert_eq!(salt("bob").len(), SALT_BYTES);
    }

    #[test]
    fn passwords_are_prepared_as_clients_prepare_them() {
        // U+00AA becomes "a" and U+00AD is dropped: the examples of RFC 4013.
        let verifier = Verifier::derive("a", b"0123456789abcdef", 4096);
        assert!(verifier.matches(&Secret::new("\u{aa}".to_owned())));
        assert!(verifier.matches(&Secret::new("\u{ad}a".to_owned())));
        // A control character is not allowed, so the password counts as it is.
        assert!(!verifier.matches(&Secret::new("a\u{7}".to_owned())));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_an_exchange_panic(first: Vec<u8>, last: Vec<u8>, tail in "[ -~]{0,60}") {
            let _ = begin(&String::from_utf8_lossy(&first), &Binding::Unavailable, MECHANISM);
            for text in [last, format!("c=biws,r={tail}").into_bytes(), format!("{tail},p={tail}").into_bytes()] {
                let exchange = begin(CLIENT_FIRST, &Binding::Unavailable, MECHANISM).unwrap();
                proptest::prop_assert!(exchange.finish(&text).is_err());
            }
        }
    }
}
