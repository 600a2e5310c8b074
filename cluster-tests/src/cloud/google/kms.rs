//! Cloud KMS: keys that wrap a few bytes. What is wrapped carries the name of its key, so that another one does not open it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::StatusCode;
use serde_json::{Value, json};

use crate::cloud::google::{Answer, Asked, State, json_error};

/// Which of the requests.
pub(super) fn operation(asked: &Asked) -> &'static str {
    match asked.path.rsplit(':').next() {
        Some("encrypt") => "encrypt",
        Some("decrypt") => "decrypt",
        _ => "other",
    }
}

/// Answers a request, as its token allows.
pub(super) fn answer(state: &State, asked: &Asked, body: &Bytes) -> Answer {
    let Some(token) = state.bearer(&asked.headers) else {
        let message = "Request had invalid authentication credentials.";
        return json_error(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", message);
    };
    let named = asked.path.trim_start_matches("/v1/").rsplit_once(':');
    let (name, operation) = named.unwrap_or_default();
    if !state.keys_of.get(name).is_some_and(|users| users.contains(&token.account)) {
        let message = format!("Permission denied on resource '{name}' (or it may not exist).");
        return json_error(StatusCode::FORBIDDEN, "PERMISSION_DENIED", &message);
    }
    let invalid = |message: &str| json_error(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message);
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let bytes = |field: &str| body[field].as_str().and_then(|text| STANDARD.decode(text).ok());
    let ok = |body: Value| Answer::new(StatusCode::OK, "application/json; charset=UTF-8", body.to_string());
    match operation {
        "encrypt" => match bytes("plaintext") {
            Some(plain) => {
                let wrapped = [name.as_bytes(), b"\n", &turned(&plain)].concat();
                ok(
                    json!({ "name": format!("{name}/cryptoKeyVersions/1"), "ciphertext": STANDARD.encode(wrapped) }),
                )
            }
            None => invalid("plaintext is required."),
        },
        "decrypt" => {
            let wrapped = bytes("ciphertext").unwrap_or_default();
            match wrapped.strip_prefix([name.as_bytes(), b"\n"].concat().as_slice()) {
                Some(turned_plain) => ok(json!({ "plaintext": STANDARD.encode(turned(turned_plain)) })),
                None => invalid("Decryption failed: verify that 'name' refers to the correct CryptoKey."),
            }
        }
        _ => json_error(StatusCode::NOT_FOUND, "NOT_FOUND", "Not found."),
    }
}

/// So that what is wrapped does not hold what was.
fn turned(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}
