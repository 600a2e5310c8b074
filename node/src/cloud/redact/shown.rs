//! URIs by a list of what is harmless, so that a secret in an unforeseen place stays one. It takes any text, also one that no
//! parser takes.

use percent_encoding::percent_decode_str;

use super::{REDACTED, is_suspect};
use crate::cloud::chain::Hashed;
use crate::cloud::role;

/// How much of a scheme's host and path is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// All: they name a place, and nothing that lets one in.
    Shown,
    /// The name of a key is not for everybody.
    Key,
    /// Nothing, the parameters neither: a token may stand anywhere.
    Hidden,
}

/// What of a parameter's value is shown.
#[derive(Clone, Copy)]
enum Value {
    /// Nothing.
    Hidden,
    /// Words.
    Word,
    /// A URL without user and query.
    Endpoint,
    /// A chain of roles, without its external ids.
    Roles,
}

/// The URI with `redacted` for all that is not known to be harmless, its parameters sorted by name.
pub fn uri(text: &str) -> String {
    let Some((scheme, rest)) = text.trim().split_once("://") else { return REDACTED.to_owned() };
    let scheme = scheme.to_ascii_lowercase();
    let Some((_, place)) = SCHEMES.iter().find(|(known, _)| *known == scheme) else {
        return REDACTED.to_owned();
    };
    if *place == Place::Hidden {
        return format!("{scheme}://{REDACTED}");
    }
    // A fragment means nothing in such a URI; a password in front of an @ may hold a # or a ? that nobody escaped.
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (at, query) = rest.split_once('?').unwrap_or((rest, ""));
    let split_password =
        fragment.contains('@') || query.split('&').any(|raw| raw.contains('@') && !raw.contains('='));
    let at = if split_password { REDACTED.to_owned() } else { located(&scheme, at, *place) };
    let mut parameters: Vec<_> =
        query.split('&').map(str::trim).filter(|raw| !raw.is_empty()).map(parameter).collect();
    parameters.sort_unstable();
    let query =
        parameters.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
    if query.is_empty() { format!("{scheme}://{at}") } else { format!("{scheme}://{at}?{query}") }
}

/// A path without the pieces that look like secrets.
pub(in crate::cloud) fn folders(path: &str) -> String {
    let piece = |piece: &str| if is_plain(piece) { piece.to_owned() } else { REDACTED.to_owned() };
    // A key of AWS may have slashes itself.
    if is_suspect(path.trim_start_matches('/')) && path.len() <= AWS_KEY_WITH_SLASH_MAX {
        return format!("/{REDACTED}");
    }
    path.split('/').map(piece).collect::<Vec<_>>().join("/")
}

/// The name of a parameter that is not known, as a refusal shows it: names look like names, and have an `=`. What has none is
/// the end of a value with an `&` that nobody escaped.
pub(in crate::cloud) fn leftover(name: &str, raw: &str) -> String {
    let upper = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    let lower = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    let is_word = !name.is_empty() && (name.bytes().all(upper) || name.bytes().all(lower));
    let is_known = PARAMETERS.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    if is_known || (is_word && name.len() <= NAME_BYTES_MAX && raw.contains('=')) {
        name.to_owned()
    } else {
        REDACTED.to_owned()
    }
}

/// A value that is not among the few that there are, as a refusal shows it: short, and in one case of letters.
pub(in crate::cloud) fn word(value: &str) -> String {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-:".contains(&byte);
    let one_case = value.bytes().all(|byte| !byte.is_ascii_lowercase())
        || value.bytes().all(|byte| !byte.is_ascii_uppercase());
    if value.len() <= NAME_BYTES_MAX && one_case && value.bytes().all(fits) && !is_suspect(value) {
        value.to_owned()
    } else {
        REDACTED.to_owned()
    }
}

/// A scheme that there is not, as a refusal shows it.
pub(in crate::cloud) fn scheme(scheme: &str) -> String {
    let fits = |byte: u8| byte.is_ascii_lowercase() || b"-+.".contains(&byte);
    let is_known = SCHEMES.iter().any(|(known, _)| *known == scheme);
    if is_known || (scheme.len() <= NAME_BYTES_MAX && scheme.bytes().all(fits)) {
        scheme.to_owned()
    } else {
        REDACTED.to_owned()
    }
}

/// A URL of a service: scheme, host and path, nothing that lets one in. `https` where it has no scheme. None: it is none.
pub(in crate::cloud) fn endpoint(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
    let rest = rest.trim_end_matches('/');
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/[]".contains(&byte);
    let is_host = !rest.is_empty() && !rest.starts_with(['/', ':']) && rest.bytes().all(fits);
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    (known && is_host).then(|| format!("{}://{rest}", scheme.to_ascii_lowercase()))
}

/// The names of parameters that hold secrets.
pub(super) fn secret_parameters() -> impl Iterator<Item = &'static str> {
    PARAMETERS.into_iter().filter(|(_, value)| matches!(value, Value::Hidden)).map(|(name, _)| name)
}

/// Host and path.
fn located(scheme: &str, at: &str, place: Place) -> String {
    if place == Place::Key {
        return format!("/{REDACTED}");
    }
    // Whatever stands before an @ lets somebody in, and a password may hold a slash that nobody escaped.
    let (user, at) = match at.rsplit_once('@') {
        Some((_, at)) => (format!("{REDACTED}@"), at),
        None => (String::new(), at),
    };
    let (host, after) = at.split_at(at.find('/').unwrap_or(at.len()));
    // `gs:///projects/…` names a key.
    if host.is_empty() && scheme == "gs" {
        return format!("{user}/{REDACTED}");
    }
    let port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let broker = |broker: &str| match broker.rsplit_once(':') {
        Some((host, at)) if scheme == "kafka" => is_plain(host) && port(at),
        Some(_) => false,
        None => is_plain(broker),
    };
    let host = if host.split(',').all(broker) { host } else { REDACTED };
    format!("{user}{host}{}", folders(after))
}

fn parameter(raw: &str) -> (String, String) {
    let (name, value) = raw.split_once('=').unwrap_or((raw, ""));
    let Some((name, rule)) = PARAMETERS.iter().find(|(known, _)| *known == name) else {
        return (REDACTED.to_owned(), REDACTED.to_owned());
    };
    let value = value.replace('+', " ");
    let value = percent_decode_str(&value).decode_utf8().ok().and_then(|value| shown(*rule, &value));
    ((*name).to_owned(), value.unwrap_or_else(|| REDACTED.to_owned()))
}

fn shown(rule: Value, value: &str) -> Option<String> {
    match rule {
        Value::Hidden => None,
        Value::Word => is_plain(value).then(|| value.to_owned()),
        Value::Endpoint => endpoint(value).filter(|url| !is_suspect(url)),
        Value::Roles => {
            let hidden: fn(&Hashed) -> &str = |_| REDACTED;
            let aws = role::aws_chain(value).map(|roles| role::write_aws(&roles, hidden));
            aws.or_else(|_| role::gcp_chain(value).map(|roles| role::write_gcp(&roles))).ok()
        }
    }
}

/// Whether it is letters, digits and a few marks that end nothing, and looks like no secret.
fn is_plain(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-:/$~ %".contains(&byte) || !byte.is_ascii();
    let decoded = percent_decode_str(text).decode_utf8_lossy();
    text.bytes().all(fits) && !is_suspect(text) && !is_suspect(&decoded)
}

const SCHEMES: [(&str, Place); 25] = [
    ("aws", Place::Key),
    ("aws-kms", Place::Key),
    ("azure", Place::Shown),
    ("azure-blob", Place::Shown),
    ("azure-event-hub", Place::Hidden),
    ("azure-kms", Place::Hidden),
    ("azure-storage", Place::Shown),
    ("confluent-cloud", Place::Hidden),
    ("external", Place::Shown),
    ("file-http", Place::Hidden),
    ("file-https", Place::Hidden),
    ("gcp-kms", Place::Key),
    ("gcpubsub", Place::Shown),
    ("gcs", Place::Shown),
    ("gs", Place::Shown),
    ("http", Place::Hidden),
    ("https", Place::Hidden),
    ("kafka", Place::Shown),
    ("nodelocal", Place::Shown),
    ("null", Place::Shown),
    ("postgres", Place::Hidden),
    ("s3", Place::Shown),
    ("userfile", Place::Shown),
    ("webhook-http", Place::Hidden),
    ("webhook-https", Place::Hidden),
];

/// Parameters whose names are shown, and what of their values is.
const PARAMETERS: [(&str, Value); 45] = [
    ("ASSUME_ROLE", Value::Roles),
    ("AUTH", Value::Word),
    ("AWS_ACCESS_KEY_ID", Value::Hidden),
    ("AWS_ENDPOINT", Value::Endpoint),
    ("AWS_REGION", Value::Word),
    ("AWS_SECRET_ACCESS_KEY", Value::Hidden),
    ("AWS_SERVER_ENC_MODE", Value::Word),
    ("AWS_SERVER_KMS_ID", Value::Hidden),
    ("AWS_SESSION_TOKEN", Value::Hidden),
    ("AWS_USE_PATH_STYLE", Value::Word),
    ("AZURE_ACCOUNT_KEY", Value::Hidden),
    ("AZURE_ACCOUNT_NAME", Value::Word),
    ("AZURE_CLIENT_ID", Value::Hidden),
    ("AZURE_CLIENT_SECRET", Value::Hidden),
    ("AZURE_ENVIRONMENT", Value::Word),
    ("AZURE_TENANT_ID", Value::Hidden),
    ("BEARER_TOKEN", Value::Hidden),
    ("COCKROACH_LOCALITY", Value::Hidden),
    ("CREDENTIALS", Value::Hidden),
    ("GOOGLE_BILLING_PROJECT", Value::Word),
    ("REGION", Value::Word),
    ("S3_STORAGE_CLASS", Value::Word),
    ("ca_cert", Value::Hidden),
    ("client_cert", Value::Hidden),
    ("client_key", Value::Hidden),
    ("file_size", Value::Word),
    ("insecure_tls_skip_verify", Value::Word),
    ("partition_format", Value::Word),
    ("region", Value::Word),
    ("sasl_aws_iam_role_arn", Value::Roles),
    ("sasl_aws_iam_session_name", Value::Word),
    ("sasl_aws_region", Value::Word),
    ("sasl_client_id", Value::Hidden),
    ("sasl_client_secret", Value::Hidden),
    ("sasl_enabled", Value::Word),
    ("sasl_grant_type", Value::Word),
    ("sasl_handshake", Value::Word),
    ("sasl_mechanism", Value::Word),
    ("sasl_password", Value::Hidden),
    ("sasl_scopes", Value::Hidden),
    ("sasl_token_url", Value::Hidden),
    ("sasl_user", Value::Hidden),
    ("tls_enabled", Value::Word),
    ("topic_name", Value::Word),
    ("topic_prefix", Value::Word),
];
/// Longer ones are no names.
const NAME_BYTES_MAX: usize = 24;
/// A key and one slash before it.
const AWS_KEY_WITH_SLASH_MAX: usize = 41;
