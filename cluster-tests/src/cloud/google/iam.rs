//! Who gets which token: keys, the metadata server, impersonation, confinement.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::{Method, StatusCode};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use crate::cloud::google::boundary::Boundary;
use crate::cloud::google::{Answer, Asked, Call, KEY_PEM, State, Token, form, json_error, oauth_error};

/// The longest token of an impersonation. Source: Google's documentation.
const LIFETIME_MAX: Duration = Duration::from_secs(3_600);
/// How far the times in what a key signed may be off. Source: what is known of the real one, which does not say it.
const SKEW_MAX_S: i64 = 300;

/// `generateAccessToken`.
pub(super) fn impersonate(state: &mut State, asked: &Asked, body: &[u8], call: &mut Call) -> Answer {
    let name = asked.path.rsplit('/').next().unwrap_or("");
    let Some(target) = name.strip_suffix(":generateAccessToken").map(super::decoded) else {
        return json_error(StatusCode::NOT_FOUND, "NOT_FOUND", "no such method");
    };
    call.subject.clone_from(&target);
    let Some(Token { account, .. }) = state.bearer(&asked.headers) else {
        let message = "Request had invalid authentication credentials.";
        return json_error(StatusCode::UNAUTHORIZED, "UNAUTHENTICATED", message);
    };
    let invalid = |message| json_error(StatusCode::BAD_REQUEST, "INVALID_ARGUMENT", message);
    let Ok(body) = serde_json::from_slice::<Value>(body) else {
        return invalid("Invalid JSON payload received.");
    };
    if asked.method != Method::POST || body["scope"].as_array().is_none_or(Vec::is_empty) {
        return invalid("scope is required");
    }
    let mut by = account;
    let none = Vec::new();
    for delegate in body["delegates"].as_array().unwrap_or(&none) {
        let Some(delegate) =
            delegate.as_str().and_then(|name| name.strip_prefix("projects/-/serviceAccounts/"))
        else {
            return invalid("delegates are projects/-/serviceAccounts/ACCOUNT");
        };
        call.delegates.push(delegate.to_owned());
    }
    for next in call.delegates.iter().chain([&target]) {
        if !state.creators.contains(&(by, next.clone())) {
            // As the real one, it does not say which.
            let message =
                "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).";
            return json_error(StatusCode::FORBIDDEN, "PERMISSION_DENIED", message);
        }
        by = next.clone();
    }
    let lifetime =
        body["lifetime"].as_str().unwrap_or("3600s").strip_suffix('s').and_then(|n| n.parse().ok());
    let lifetime = Duration::from_secs(lifetime.unwrap_or(0));
    if lifetime.is_zero() || lifetime > LIFETIME_MAX {
        return invalid("The lifetime must be between 1s and 3600s.");
    }
    let token = state.mint(&target, lifetime, None);
    let end = (state.now() + lifetime).replace_nanosecond(0).expect("a time");
    let end = end.format(&Rfc3339).expect("a time");
    json(&json!({"accessToken": token, "expireTime": end}))
}

/// The token endpoint: a token for what a key signed.
pub(super) fn token(state: &mut State, endpoint: &str, body: &[u8]) -> Answer {
    let refused = |text| oauth_error(StatusCode::BAD_REQUEST, "invalid_grant", text);
    let form = form(&String::from_utf8_lossy(body));
    let kind = form.get("grant_type").map_or("", String::as_str);
    if kind == "refresh_token" {
        let known = form.get("refresh_token").and_then(|token| state.others.get(token)).cloned();
        let Some(account) = known.filter(|_| form.contains_key("client_secret")) else {
            return refused("Token has been expired or revoked.");
        };
        let token = state.mint(&account, state.lifetime, None);
        return bearer(&token, state.lifetime);
    }
    if kind != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
        return oauth_error(StatusCode::BAD_REQUEST, "unsupported_grant_type", "Invalid grant_type");
    }
    let Some(claims) = form.get("assertion").and_then(|jwt| signed(jwt)) else {
        return refused("Invalid JWT Signature.");
    };
    let Some(account) = claims["iss"].as_str().filter(|account| state.keys.contains(*account)) else {
        return refused("Invalid JWT Signature.");
    };
    if claims["aud"].as_str() != Some(&format!("{endpoint}/token")) {
        return refused("Invalid JWT: Failed audience check.");
    }
    let now = state.now().unix_timestamp();
    let (iat, exp) = (claims["iat"].as_i64().unwrap_or(0), claims["exp"].as_i64().unwrap_or(0));
    if (iat - now).abs() > SKEW_MAX_S || exp <= now || exp - iat > 3_600 {
        return refused(
            "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your \
             iat and exp values in the JWT claim.",
        );
    }
    if claims["scope"].as_str().is_none_or(str::is_empty) {
        return oauth_error(StatusCode::BAD_REQUEST, "invalid_scope", "Empty or missing scope not allowed.");
    }
    let token = state.mint(account, state.lifetime, None);
    bearer(&token, state.lifetime)
}

/// The claims, if the key here signed them.
fn signed(jwt: &str) -> Option<Value> {
    let (payload, signature) = jwt.rsplit_once('.')?;
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok();
    let der = PrivatePkcs8KeyDer::from_pem_slice(KEY_PEM.as_bytes()).expect("the key of this double");
    let key = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).expect("the key of this double");
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public());
    public.verify(payload.as_bytes(), &decode(signature)?).ok()?;
    let (header, claims) = payload.split_once('.')?;
    let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
    (header["alg"] == "RS256").then(|| serde_json::from_slice(&decode(claims)?).ok())?
}

/// The metadata server.
pub(super) fn metadata(state: &mut State, asked: &Asked) -> Answer {
    if asked.header("metadata-flavor") != Some("Google") {
        return Answer::new(StatusCode::FORBIDDEN, "text/html", "Missing Metadata-Flavor:Google header.");
    }
    let account = state.machine.clone();
    let (Some(account), Some(path)) =
        (account, asked.path.strip_prefix("/computeMetadata/v1/instance/service-accounts/default/"))
    else {
        return flavored(Answer::new(StatusCode::NOT_FOUND, "text/html", "not found"));
    };
    match path {
        "email" => flavored(Answer::new(StatusCode::OK, "application/text", account)),
        "token" => {
            let left = |token: &Token| token.end.saturating_duration_since(Instant::now());
            let kept = state.machine_token.clone().filter(|token| {
                let known = state.good(token);
                known.is_some_and(|known| state.replaced.is_some_and(|replaced| left(&known) > replaced))
            });
            let token = kept.unwrap_or_else(|| state.mint(&account, state.lifetime, None));
            state.machine_token = Some(token.clone());
            let left = state.tokens.get(&token).map_or(Duration::ZERO, left);
            flavored(bearer(&token, left))
        }
        _ => flavored(Answer::new(StatusCode::NOT_FOUND, "text/html", "not found")),
    }
}

fn flavored(answer: Answer) -> Answer {
    answer.with("metadata-flavor", "Google")
}

/// The exchange of a token for one that is confined.
pub(super) fn exchange(state: &mut State, body: &[u8]) -> Answer {
    let form = form(&String::from_utf8_lossy(body));
    let is = |name: &str, value: &str| form.get(name).is_some_and(|known| known == value);
    if form.contains_key("audience") {
        let Some(account) = form.get("subject_token").and_then(|token| state.others.get(token)).cloned()
        else {
            return oauth_error(StatusCode::BAD_REQUEST, "invalid_grant", "The given token is not known.");
        };
        let token = state.mint(&account, state.lifetime, None);
        return bearer(&token, state.lifetime);
    }
    let fits = is("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
        && is("requested_token_type", "urn:ietf:params:oauth:token-type:access_token")
        && is("subject_token_type", "urn:ietf:params:oauth:token-type:access_token");
    let (true, Some(subject)) = (fits, form.get("subject_token")) else {
        return oauth_error(StatusCode::BAD_REQUEST, "invalid_request", "a parameter is missing or wrong");
    };
    let Some(token) = state.good(subject) else {
        return oauth_error(
            StatusCode::BAD_REQUEST,
            "invalid_grant",
            "The subject token is invalid or expired.",
        );
    };
    let Some(boundary) = form.get("options").and_then(|options| Boundary::parse(options)) else {
        return oauth_error(StatusCode::BAD_REQUEST, "invalid_request", "Invalid access boundary.");
    };
    if token.boundary.is_some() {
        return oauth_error(StatusCode::BAD_REQUEST, "invalid_request", "The token has a boundary already.");
    }
    let left = token.end.saturating_duration_since(Instant::now());
    let confined = state.mint(&token.account, left, Some(boundary));
    bearer(&confined, left)
}

/// A token as OAuth answers it.
fn bearer(token: &str, lifetime: Duration) -> Answer {
    json(&json!({
        "access_token": token,
        "expires_in": lifetime.as_secs(),
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
    }))
}

fn json(body: &Value) -> Answer {
    Answer::new(StatusCode::OK, "application/json; charset=UTF-8", body.to_string())
}
