//! The service that keeps keys: Encrypt and Decrypt. A request's signature is checked here, as `s3s` takes none for this service.
//!
//! Who may use a key is said by the policies of identities, as for a key whose own policy leaves it to them. Not here: aliases,
//! grants, contexts of encryption.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use hyper::Response;
use hyper::http::HeaderMap;
use hyper::http::request::Parts;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use s3s::Body;
use serde_json::{Value, json};
use sha2::Sha256;

use super::Shared;
use super::front::refused;
use super::log::Outcome;
use super::s3::Passing;
use super::state::{Known, State, Unknown};
use crate::cloud::fault::Service;
use crate::cloud::iam::{Ask, Verdict};
use crate::cloud::wire;

/// The most bytes that are wrapped. AWS's own.
const PLAIN_BYTES_MAX: usize = 4_096;
const NONCE_BYTES: usize = 12;
const TARGET: &str = "x-amz-target";

/// A code, and a message.
type Refused = (&'static str, String);

/// Whether a request is one to this service.
pub(super) fn is_meant(headers: &HeaderMap) -> bool {
    headers.get(TARGET).is_some_and(|target| target.as_bytes().starts_with(b"TrentService."))
}

/// What is asked for.
pub(super) fn operation(headers: &HeaderMap) -> &str {
    let target = headers.get(TARGET).and_then(|target| target.to_str().ok()).unwrap_or_default();
    target.trim_start_matches("TrentService.")
}

/// A refusal, as the body of an answer.
pub(super) fn refusal(code: &str, message: &str) -> String {
    json!({ "__type": code, "message": message }).to_string()
}

/// Answers a request.
pub(super) fn answer(
    shared: &Shared,
    parts: &Parts,
    body: &[u8],
    passing: &Passing,
) -> (Response<Body>, Outcome) {
    match answered(shared, parts, body, passing) {
        Ok(body) => {
            let response =
                Response::builder().status(200).header("content-type", "application/x-amz-json-1.1");
            let response = response.body(Body::from(body.to_string())).expect("a status and a field");
            (response, Outcome::Done(200))
        }
        Err((code, message)) => refused(Service::Kms, 400, code, &message, None),
    }
}

fn answered(shared: &Shared, parts: &Parts, body: &[u8], passing: &Passing) -> Result<Value, Refused> {
    let state = shared.state();
    let known = signed(&state, parts, body, passing)?;
    passing.note(|record| record.who = Some(known.caller.arn().to_owned()));
    let asked: Value =
        serde_json::from_slice(body).map_err(|_| ("SerializationException", "It is no JSON.".to_owned()))?;
    let arn = asked["KeyId"].as_str().unwrap_or_default();
    passing.note(|record| record.resource = arn.to_owned());
    let bytes = |field: &str| {
        let text = asked[field].as_str().and_then(|text| STANDARD.decode(text).ok());
        text.ok_or_else(|| ("ValidationException", format!("{field} must not be null")))
    };
    let operation = operation(&parts.headers);
    let ask = Ask { action: &format!("kms:{operation}"), resource: arn, context: &[] };
    if state.may(&known, &ask) != Verdict::Allow {
        let message = format!(
            "User: {} is not authorized to perform: kms:{operation} on resource: {arn} because no identity-based policy \
             allows the kms:{operation} action",
            known.caller.arn()
        );
        return Err(("AccessDeniedException", message));
    }
    let key = state.keys.get(arn);
    let key = key.ok_or_else(|| ("NotFoundException", format!("Key '{arn}' does not exist")))?;
    if !key.enabled {
        return Err(("DisabledException", format!("{arn} is disabled.")));
    }
    let cipher = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key.bytes).expect("32 bytes"));
    match operation {
        "Encrypt" => {
            let mut sealed = bytes("Plaintext")?;
            if sealed.is_empty() || sealed.len() > PLAIN_BYTES_MAX {
                let message = format!("Plaintext must have 1 to {PLAIN_BYTES_MAX} bytes");
                return Err(("ValidationException", message));
            }
            let mut nonce = [0; NONCE_BYTES];
            SystemRandom::new().fill(&mut nonce).expect("random bytes");
            let unique = Nonce::assume_unique_for_key(nonce);
            cipher.seal_in_place_append_tag(unique, Aad::from(arn), &mut sealed).expect("a short text");
            let wrapped = STANDARD.encode([&nonce[..], &sealed].concat());
            Ok(json!({ "CiphertextBlob": wrapped, "KeyId": arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT" }))
        }
        "Decrypt" => {
            let wrapped = bytes("CiphertextBlob")?;
            let invalid = || ("InvalidCiphertextException", String::new());
            let (nonce, sealed) = wrapped.split_first_chunk::<NONCE_BYTES>().ok_or_else(invalid)?;
            let mut sealed = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let plain = cipher.open_in_place(nonce, Aad::from(arn), &mut sealed).map_err(|_| invalid())?;
            Ok(
                json!({ "Plaintext": STANDARD.encode(plain), "KeyId": arn, "EncryptionAlgorithm": "SYMMETRIC_DEFAULT" }),
            )
        }
        other => Err(("UnknownOperationException", other.to_owned())),
    }
}

/// Who signed.
fn signed(state: &State, parts: &Parts, body: &[u8], passing: &Passing) -> Result<Known, Refused> {
    let incomplete = || ("IncompleteSignatureException", "The signature is incomplete.".to_owned());
    let mismatch = || {
        let message = "The request signature we calculated does not match the signature you provided.";
        ("InvalidSignatureException", message.to_owned())
    };
    let head = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = head("authorization")
        .ok_or_else(|| ("MissingAuthenticationTokenException", "Missing Authentication Token".to_owned()))?;
    let field = |name: &str| {
        let found = authorization.split([' ', ',']).find_map(|part| part.strip_prefix(name));
        found.and_then(|found| found.strip_prefix('=')).ok_or_else(incomplete)
    };
    let (credential, names, signature) = (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
    let date = head("x-amz-date").ok_or_else(incomplete)?;
    let (key, scope) = credential.split_once('/').ok_or_else(incomplete)?;
    let [day, region, "kms", "aws4_request"] = *scope.split('/').collect::<Vec<_>>() else {
        return Err(mismatch());
    };
    if !date.starts_with(day) || !names.split(';').any(|name| name == "host") {
        return Err(mismatch());
    }
    let heads: Option<String> =
        names.split(';').map(|name| Some(format!("{name}:{}\n", head(name)?.trim()))).collect();
    let heads = heads.ok_or_else(incomplete)?;
    let canonical = format!("POST\n/\n\n{heads}\n{names}\n{}", wire::sha256(body));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", wire::sha256(canonical.as_bytes()));
    let unknown = || {
        let message = "The security token included in the request is invalid.".to_owned();
        ("UnrecognizedClientException", message)
    };
    let mut derived = format!("AWS4{}", state.secret_of(key).ok_or_else(unknown)?).into_bytes();
    for part in [day, region, "kms", "aws4_request", &text] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&derived).expect("a key of any length");
        mac.update(part.as_bytes());
        derived = mac.finalize().into_bytes().to_vec();
    }
    if wire::hex(&derived) != signature {
        return Err(mismatch());
    }
    state.who(key, head("x-amz-security-token"), passing.began).map_err(|why| match why {
        Unknown::Key | Unknown::Token => unknown(),
        Unknown::Expired => {
            let message = "The security token included in the request is expired".to_owned();
            ("ExpiredTokenException", message)
        }
    })
}
