//! What a KMS answered: the bytes, or what is wrong, by what helps.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::Action;
use crate::cloud::redact;

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// What helps.
    pub(super) means: Means,
    /// In words, with the cloud's code; no secret.
    pub(super) cause: String,
}

/// Kinds of failures, by what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Means {
    /// The credentials are not good any more.
    Dead,
    /// They are, and may not do this.
    Denied,
    /// There were none.
    NoCredentials,
    /// It may be done a moment later.
    Passing,
    /// Another key wrapped it.
    NotIts,
    /// Not by waiting: there is no such key, it is switched off, it is for something else.
    Refused,
}

impl Wrong {
    pub(super) fn new(means: Means, cause: String) -> Self {
        Self { means, cause }
    }
}

/// An answer of AWS, good or bad.
#[derive(Deserialize, Default)]
struct Aws {
    #[serde(rename = "CiphertextBlob")]
    wrapped: Option<String>,
    #[serde(rename = "Plaintext")]
    plain: Option<String>,
    #[serde(rename = "__type")]
    code: Option<String>,
    #[serde(alias = "Message")]
    message: Option<String>,
}

/// An answer of Google, good or bad.
#[derive(Deserialize, Default)]
struct Google {
    ciphertext: Option<String>,
    plaintext: Option<String>,
    error: Option<GoogleError>,
}

#[derive(Deserialize)]
struct GoogleError {
    status: Option<String>,
    message: Option<String>,
}

/// Reads an answer to the end.
pub(super) async fn read(
    response: Response,
    action: Action,
    is_aws: bool,
) -> Result<Zeroizing<Vec<u8>>, Wrong> {
    let status = response.status();
    let body = whole(response).await?;
    let (found, code, message) = if is_aws {
        let answer: Aws = serde_json::from_slice(&body).unwrap_or_default();
        let found = match action {
            Action::Encrypt => answer.wrapped,
            Action::Decrypt => answer.plain,
        };
        // With a namespace in front, by some: `com.amazonaws.kms#NotFoundException`.
        let code = answer.code.map(|code| code.rsplit('#').next().unwrap_or_default().to_owned());
        (found, code, answer.message)
    } else {
        let answer: Google = serde_json::from_slice(&body).unwrap_or_default();
        let found = match action {
            Action::Encrypt => answer.ciphertext,
            Action::Decrypt => answer.plaintext,
        };
        let (code, message) =
            answer.error.map_or((None, None), |GoogleError { status, message }| (status, message));
        (found, code, message)
    };
    if status.is_success() {
        let found = found.map(Zeroizing::new);
        let bytes = found.and_then(|text| BASE64.decode(text.as_bytes()).ok()).map(Zeroizing::new);
        return bytes.ok_or_else(|| Wrong::new(Means::Refused, "the answer makes no sense".to_owned()));
    }
    let code = code.unwrap_or_default();
    let means = means(status, &code, message.as_deref().unwrap_or_default(), action);
    let said = [Some(status.as_u16().to_string()), Some(code), message];
    let said: Vec<_> = said.into_iter().flatten().filter(|part| !part.is_empty()).collect();
    let said = redact::text(&said.join(": "));
    let cause = said.chars().take(SAID_CHARS_MAX).map(|char| if char.is_control() { ' ' } else { char });
    Err(Wrong::new(means, cause.collect()))
}

/// What helps. Codes: AWS KMS's API reference, common errors; Google's RPC codes.
fn means(status: StatusCode, code: &str, message: &str, action: Action) -> Means {
    match code {
        "ExpiredTokenException"
        | "ExpiredToken"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "UNAUTHENTICATED" => Means::Dead,
        "AccessDeniedException" | "PERMISSION_DENIED" => Means::Denied,
        "InvalidCiphertextException" | "IncorrectKeyException" => Means::NotIts,
        // Google has no code of its own for it.
        "INVALID_ARGUMENT" if action == Action::Decrypt && message.contains("ecrypt") => Means::NotIts,
        "ThrottlingException" | "RESOURCE_EXHAUSTED" | "KeyUnavailableException" => Means::Passing,
        _ if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => Means::Passing,
        _ if status == StatusCode::UNAUTHORIZED => Means::Dead,
        _ => Means::Refused,
    }
}

/// The body of an answer.
async fn whole(mut response: Response) -> Result<Zeroizing<Vec<u8>>, Wrong> {
    let mut body = Zeroizing::new(Vec::with_capacity(BODY_BYTES_MAX));
    loop {
        match response.chunk().await {
            Ok(Some(bytes)) if body.len() + bytes.len() <= BODY_BYTES_MAX => body.extend_from_slice(&bytes),
            Ok(None) => return Ok(body),
            Ok(Some(_)) => {
                return Err(Wrong::new(Means::Refused, "the answer is too long for one of a KMS".to_owned()));
            }
            Err(error) => return Err(Wrong::new(Means::Passing, broken(error))),
        }
    }
}

/// What broke, without the address.
pub(super) fn broken(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    redact::text(&text)
}

/// An answer is a wrapped key of some hundred bytes, and what stands beside it.
const BODY_BYTES_MAX: usize = 64 << 10;
/// What an operator reads of an answer.
const SAID_CHARS_MAX: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_helps() {
        let of =
            |status: u16, code: &str| means(StatusCode::from_u16(status).unwrap(), code, "", Action::Encrypt);
        assert_eq!(of(400, "ExpiredTokenException"), Means::Dead);
        assert_eq!(of(400, "AccessDeniedException"), Means::Denied);
        assert_eq!(of(400, "ThrottlingException"), Means::Passing);
        assert_eq!(of(503, ""), Means::Passing);
        assert_eq!(of(400, "DisabledException"), Means::Refused);
        assert_eq!(of(401, ""), Means::Dead);
        let google = |text| means(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", text, Action::Decrypt);
        assert_eq!(
            google("Decryption failed: verify that 'name' refers to the correct CryptoKey."),
            Means::NotIts
        );
        assert_eq!(google("no"), Means::Refused);
    }
}
