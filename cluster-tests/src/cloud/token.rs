//! Web identity tokens: an issuer of ours, and the check of what it issued. As the kubelet's tokens: a JWT that is signed
//! with RS256 or ES256.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};

/// Who signs tokens.
pub struct Issuer {
    url: String,
    key: Key,
    random: SystemRandom,
}

enum Key {
    Ec(Box<EcdsaKeyPair>),
    Rsa(Box<RsaKeyPair>),
}

/// What somebody who trusts an [`Issuer`] knows of it.
#[derive(Clone)]
pub struct Verifier {
    algorithm: &'static str,
    public: Vec<u8>,
}

/// What a token says, once its signature was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// Whom it is about.
    pub subject: String,
    /// For whom it is.
    pub audience: Vec<String>,
    /// When it ends, in seconds since 1970.
    pub expires: u64,
}

impl Issuer {
    /// One with a new key, for ES256.
    pub fn new(url: &str) -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.as_ref(), &random).expect("a key");
        Self { url: url.to_owned(), key: Key::Ec(Box::new(key)), random }
    }

    /// One with this key, in PKCS#8, for RS256.
    pub fn with_rsa(url: &str, pkcs8: &[u8]) -> Self {
        let key = RsaKeyPair::from_pkcs8(pkcs8).expect("an RSA key in PKCS#8");
        Self { url: url.to_owned(), key: Key::Rsa(Box::new(key)), random: SystemRandom::new() }
    }

    /// Its URL: `iss`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A token for a subject, that lasts so long from now.
    pub fn token(&self, subject: &str, audience: &str, lasting: Duration) -> String {
        let now = SystemTime::now();
        self.sign(&json!({
            "iss": self.url,
            "sub": subject,
            "aud": [audience],
            "iat": seconds(now),
            "exp": seconds(now + lasting),
        }))
    }

    /// A token that says just this.
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({"alg": self.algorithm(), "kid": "1", "typ": "JWT"});
        let text =
            [header.to_string(), claims.to_string()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = match &self.key {
            Key::Ec(key) => key.sign(&self.random, text.as_bytes()).expect("a signature").as_ref().to_vec(),
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &self.random, text.as_bytes(), &mut signature)
                    .expect("a signature");
                signature
            }
        };
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// What others need to check its tokens.
    pub fn verifier(&self) -> Verifier {
        let public = match &self.key {
            Key::Ec(key) => key.public_key().as_ref().to_vec(),
            Key::Rsa(key) => key.public().as_ref().to_vec(),
        };
        Verifier { algorithm: self.algorithm(), public }
    }

    fn algorithm(&self) -> &'static str {
        match self.key {
            Key::Ec(_) => "ES256",
            Key::Rsa(_) => "RS256",
        }
    }
}

impl Verifier {
    /// What a token says. None: it is none of this issuer's.
    pub fn claims(&self, token: &str) -> Option<Claims> {
        let (text, signature) = token.rsplit_once('.')?;
        // The algorithm is the key's, whatever the token says; one that says another is not genuine.
        if part(text.split('.').next()?)?["alg"] != self.algorithm {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let right = if self.algorithm == "ES256" {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.public).verify(text.as_bytes(), &signature)
        } else {
            UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public)
                .verify(text.as_bytes(), &signature)
        };
        right.ok()?;
        let claims = part(text.split('.').nth(1)?)?;
        let audience = match &claims["aud"] {
            Value::String(one) => vec![one.clone()],
            many => many.as_array()?.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        };
        Some(Claims {
            subject: claims["sub"].as_str()?.to_owned(),
            audience,
            expires: claims["exp"].as_u64()?,
        })
    }
}

/// Who issued a token, as it says itself: to find the [`Verifier`].
pub fn issuer_of(token: &str) -> Option<String> {
    part(token.split('.').nth(1)?)?["iss"].as_str().map(str::to_owned)
}

/// Seconds since 1970.
pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}

/// So many random bytes, in hex.
pub fn random_hex(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    SystemRandom::new().fill(&mut random).expect("random bytes");
    super::wire::hex(&random)
}

fn part(text: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_for_its_issuer_and_unchanged_only() {
        let (own, other) = (Issuer::new("https://own"), Issuer::new("https://own"));
        let token =
            own.token("system:serviceaccount:db:grantd", "sts.amazonaws.com", Duration::from_secs(60));
        let claims = own.verifier().claims(&token).expect("a genuine token");
        assert_eq!(claims.subject, "system:serviceaccount:db:grantd");
        assert_eq!(claims.audience, ["sts.amazonaws.com"]);
        assert_eq!(issuer_of(&token).as_deref(), Some("https://own"));
        assert_eq!(other.verifier().claims(&token), None, "another key");
        let mut parts: Vec<_> = token.split('.').map(str::to_owned).collect();
        parts[1] = URL_SAFE_NO_PAD
            .encode(r#"{"iss":"https://own","sub":"root","aud":"sts.amazonaws.com","exp":9999999999}"#);
        assert_eq!(own.verifier().claims(&parts.join(".")), None, "other claims");
        parts[0] = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        assert_eq!(own.verifier().claims(&parts[..2].join(".")), None, "no signature");
    }
}
