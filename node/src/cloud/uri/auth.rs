//! With what a URI says that one gets in: keys of its own, or what this node is.

use std::fmt;

use grantd_catalog::refusal::Refusal;

use super::query::{Pieces, Writer, decoded, encoded, invalid, is_base64};
use crate::cloud::chain::{AwsKeys, Hashed};
use crate::cloud::redact;
use crate::cloud::role::{self, AwsRole, ServiceAccount};

/// `AUTH` of AWS.
#[derive(Clone, PartialEq, Eq)]
pub enum AwsAuth {
    /// What this node is.
    Implicit,
    /// Keys in the URI.
    Keys(AwsKeys),
}

/// `AUTH` of Google.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GcpAuth {
    /// What this node is.
    Implicit,
    /// The key of a service account, as JSON.
    Key(Hashed),
    /// A token, which cannot be refreshed.
    Token(Hashed),
}

/// `AUTH` of Azure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AzureAuth {
    /// What this node is: a managed identity, of several the one with this client id.
    Implicit {
        /// `AZURE_CLIENT_ID`.
        client_id: Option<String>,
    },
    /// The account's own key, in base64.
    Key(Hashed),
    /// A registered application.
    Client {
        /// `AZURE_TENANT_ID`.
        tenant_id: String,
        /// `AZURE_CLIENT_ID`.
        client_id: String,
        /// `AZURE_CLIENT_SECRET`.
        client_secret: Hashed,
    },
}

impl fmt::Debug for AwsAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Implicit => "Implicit",
            Self::Keys(_) => "Keys(…)",
        })
    }
}

impl AwsAuth {
    pub(super) fn take(pieces: &mut Pieces<'_>) -> Result<Self, Refusal> {
        let implicit = is_implicit(pieces)?;
        let access_key_id = pieces.word("AWS_ACCESS_KEY_ID", |byte| byte.is_ascii_alphanumeric())?;
        // Keys of AWS have no blanks: each was a + that nobody wrote as %2B. Everybody forgets it.
        let secret = pieces.take("AWS_SECRET_ACCESS_KEY");
        let secret = secret.map(|secret| Hashed::new(secret.expose().replace(' ', "+").into()));
        let session_token = pieces.key("AWS_SESSION_TOKEN")?;
        if implicit {
            without("AWS_ACCESS_KEY_ID", access_key_id.is_some())?;
            without("AWS_SECRET_ACCESS_KEY", secret.is_some())?;
            without("AWS_SESSION_TOKEN", session_token.is_some())?;
            return Ok(Self::Implicit);
        }
        let missing = |name: &str| invalid(format!("AUTH is set to 'specified', but {name} is not set"));
        Ok(Self::Keys(AwsKeys {
            access_key_id: access_key_id.ok_or_else(|| missing("AWS_ACCESS_KEY_ID"))?,
            secret_access_key: secret.ok_or_else(|| missing("AWS_SECRET_ACCESS_KEY"))?,
            session_token,
        }))
    }

    pub(super) fn write(&self, to: &mut Writer) {
        match self {
            Self::Implicit => to.set("AUTH", "implicit"),
            Self::Keys(keys) => {
                to.set("AUTH", "specified");
                to.set("AWS_ACCESS_KEY_ID", &keys.access_key_id);
                to.set("AWS_SECRET_ACCESS_KEY", keys.secret_access_key.expose());
                to.maybe("AWS_SESSION_TOKEN", keys.session_token.as_ref().map(Hashed::expose));
            }
        }
    }
}

impl GcpAuth {
    /// `missing` is what is said when there is nothing.
    pub(super) fn take(pieces: &mut Pieces<'_>, missing: &str) -> Result<Self, Refusal> {
        let implicit = is_implicit(pieces)?;
        let key = pieces.take("CREDENTIALS");
        let token = pieces.key("BEARER_TOKEN")?;
        if implicit {
            without("CREDENTIALS", key.is_some())?;
            without("BEARER_TOKEN", token.is_some())?;
            return Ok(Self::Implicit);
        }
        match (key, token) {
            (Some(_), Some(_)) => {
                Err(invalid("both CREDENTIALS and BEARER_TOKEN are set").with_hint("leave one out"))
            }
            (Some(key), None) => {
                let json =
                    decoded(key.expose()).ok_or_else(|| bad_credentials("it is not the base64 of a text"))?;
                let is_key = serde_json::from_str::<serde_json::Value>(json.expose())
                    .is_ok_and(|value| value.get("type").is_some_and(serde_json::Value::is_string));
                if is_key {
                    Ok(Self::Key(Hashed::new(json)))
                } else {
                    Err(bad_credentials("it is not the JSON of a key"))
                }
            }
            (None, Some(token)) => Ok(Self::Token(token)),
            (None, None) => Err(invalid(missing)),
        }
    }

    pub(super) fn write(&self, to: &mut Writer) {
        match self {
            Self::Implicit => to.set("AUTH", "implicit"),
            Self::Key(key) => {
                to.set("AUTH", "specified");
                to.set("CREDENTIALS", encoded(key).expose());
            }
            Self::Token(token) => {
                to.set("AUTH", "specified");
                to.set("BEARER_TOKEN", token.expose());
            }
        }
    }
}

impl AzureAuth {
    pub(super) fn take(pieces: &mut Pieces<'_>) -> Result<Self, Refusal> {
        let implicit = is_implicit(pieces)?;
        let key = pieces.key("AZURE_ACCOUNT_KEY")?;
        let id = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let client_id = pieces.word("AZURE_CLIENT_ID", id)?;
        let tenant_id = pieces.word("AZURE_TENANT_ID", id)?;
        let client_secret = pieces.key("AZURE_CLIENT_SECRET")?;
        if implicit {
            without("AZURE_ACCOUNT_KEY", key.is_some())?;
            without("AZURE_TENANT_ID", tenant_id.is_some())?;
            without("AZURE_CLIENT_SECRET", client_secret.is_some())?;
            return Ok(Self::Implicit { client_id });
        }
        let application = client_id.is_some() || tenant_id.is_some() || client_secret.is_some();
        match (key, application) {
            (Some(_), true) => Err(invalid(
                "azure uri has both AZURE_ACCOUNT_KEY and the parameters of an application",
            )
            .with_hint(
                "leave out AZURE_ACCOUNT_KEY, or AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID",
            )),
            (Some(key), false) => match is_base64(key.expose()) {
                true => Ok(Self::Key(key)),
                false => Err(invalid("param AZURE_ACCOUNT_KEY must be base 64 encoded")),
            },
            (None, false) => Err(missing_of_azure("AZURE_ACCOUNT_KEY")),
            (None, true) => Ok(Self::Client {
                tenant_id: tenant_id.ok_or_else(|| missing_of_azure("AZURE_TENANT_ID"))?,
                client_id: client_id.ok_or_else(|| missing_of_azure("AZURE_CLIENT_ID"))?,
                client_secret: client_secret.ok_or_else(|| missing_of_azure("AZURE_CLIENT_SECRET"))?,
            }),
        }
    }

    pub(super) fn write(&self, to: &mut Writer) {
        match self {
            Self::Implicit { client_id } => {
                to.set("AUTH", "implicit");
                to.maybe("AZURE_CLIENT_ID", client_id.as_deref());
            }
            Self::Key(key) => {
                to.set("AUTH", "specified");
                to.set("AZURE_ACCOUNT_KEY", key.expose());
            }
            Self::Client { tenant_id, client_id, client_secret } => {
                to.set("AUTH", "specified");
                to.set("AZURE_TENANT_ID", tenant_id);
                to.set("AZURE_CLIENT_ID", client_id);
                to.set("AZURE_CLIENT_SECRET", client_secret.expose());
            }
        }
    }
}

/// `ASSUME_ROLE` of AWS.
pub(super) fn aws_roles(pieces: &mut Pieces<'_>) -> Result<Vec<AwsRole>, Refusal> {
    pieces.take(ASSUME_ROLE).map_or(Ok(Vec::new()), |roles| role::aws_chain(roles.expose()))
}

/// `ASSUME_ROLE` of Google.
pub(super) fn gcp_roles(pieces: &mut Pieces<'_>) -> Result<Vec<ServiceAccount>, Refusal> {
    pieces.take(ASSUME_ROLE).map_or(Ok(Vec::new()), |roles| role::gcp_chain(roles.expose()))
}

pub(super) fn write_aws_roles(roles: &[AwsRole], to: &mut Writer) {
    if !roles.is_empty() {
        to.set(ASSUME_ROLE, &role::write_aws(roles, Hashed::expose));
    }
}

pub(super) fn write_gcp_roles(roles: &[ServiceAccount], to: &mut Writer) {
    if !roles.is_empty() {
        to.set(ASSUME_ROLE, &role::write_gcp(roles));
    }
}

/// A URL of a service: scheme and host, nothing that lets one in. `https` where it has no scheme.
pub(super) fn endpoint(pieces: &mut Pieces<'_>) -> Result<Option<String>, Refusal> {
    let Some(text) = pieces.text(AWS_ENDPOINT) else { return Ok(None) };
    redact::endpoint(&text).map(Some).ok_or_else(|| {
        invalid(format!("{AWS_ENDPOINT} is not the URL of a service"))
            .with_hint("write http:// or https://, host, port and path, without user, query and fragment")
    })
}

/// Absent is `specified`, in every case of letters.
fn is_implicit(pieces: &mut Pieces<'_>) -> Result<bool, Refusal> {
    match pieces.text("AUTH") {
        None => Ok(false),
        Some(auth) if auth.eq_ignore_ascii_case("specified") => Ok(false),
        Some(auth) if auth.eq_ignore_ascii_case("implicit") => Ok(true),
        Some(auth) => Err(invalid(format!("unsupported value {} for AUTH", redact::word(&auth)))
            .with_hint("it is implicit or specified")),
    }
}

/// What cannot be used is not silently ignored, least of all a key.
fn without(name: &str, is_set: bool) -> Result<(), Refusal> {
    if is_set {
        Err(invalid(format!("AUTH is set to 'implicit', but {name} is set"))
            .with_hint("leave out the one or the other"))
    } else {
        Ok(())
    }
}

fn bad_credentials(why: &str) -> Refusal {
    invalid(format!("error getting credentials from CREDENTIALS: decoding value of CREDENTIALS: {why}"))
        .with_hint("it is the base64 of the JSON file of a service account, each + written as %2B")
}

fn missing_of_azure(name: &str) -> Refusal {
    invalid(format!("azure uri missing \"{name}\" parameter"))
}

/// The chain of roles.
const ASSUME_ROLE: &str = "ASSUME_ROLE";
/// Another service than AWS's own.
const AWS_ENDPOINT: &str = "AWS_ENDPOINT";
