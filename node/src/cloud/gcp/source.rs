//! Where a token of Google's comes from: a file of the operator's, the metadata server, a key in a URI.
//!
//! The file is read again for each token, as operators replace it. What a URI brings is a service account's key and nothing
//! else, and it is sent to Google only: other kinds of credentials say which files to read and which hosts to ask, which is for
//! the operator of a node to say, not for whoever may write SQL.

mod federated;
mod key;
mod library;

use std::path::Path;
use std::time::{Duration, SystemTime};

use hyper::Uri;
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::cloud::gcp::source::federated::External;
use crate::cloud::gcp::source::key::Key;
use crate::cloud::gcp::web::{Reply, Service, Web};
use crate::cloud::gcp::{Gcp, SCOPE_CLOUD, bearer, impersonate, owned, refusal};
use crate::cloud::lease::{Bearer, Class, FetchError, Fetched, Material};
use crate::cloud::settings::GcpNodeSource;
use crate::secret::Secret;

/// Where the metadata server is, if nobody says otherwise.
const METADATA_HOST: &str = "metadata.google.internal";
/// Its paths about the machine's account.
const METADATA_ACCOUNT: &str = "computeMetadata/v1/instance/service-accounts/default";
/// The most bytes of a file with credentials: keys have 2.5 KB.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Hosts to which a key of a URI is shown.
const TOKEN_HOSTS: [&str; 3] = ["oauth2.googleapis.com", "accounts.google.com", "www.googleapis.com"];
/// Where refresh tokens are exchanged.
const TOKEN_URL: &str = "https://oauth2.googleapis.com/token";

/// A token as OAuth gives it.
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    expires_in: Option<u64>,
}

/// What kind of credentials a file has.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

/// A person's, as `gcloud auth application-default login` leaves them.
#[derive(Deserialize)]
struct User {
    client_id: String,
    #[serde(deserialize_with = "secret")]
    client_secret: Secret,
    #[serde(deserialize_with = "secret")]
    refresh_token: Secret,
    token_uri: Option<String>,
}

/// Others, and an account that they become.
#[derive(Deserialize)]
struct Impersonated {
    source_credentials: serde_json::Value,
    service_account_impersonation_url: String,
    #[serde(default)]
    delegates: Vec<String>,
}

impl Gcp {
    /// What this node is.
    pub(super) async fn node(&self) -> Result<Fetched, FetchError> {
        if self.settings.implicit_credentials_disabled {
            let text = "AUTH=implicit is off on this node (`external_io_disable_implicit_credentials`)";
            return Err(refusal(Class::Config, text));
        }
        match (self.settings.gcp_source, &self.environment.credentials) {
            (GcpNodeSource::None, _) => {
                let text = "this node has no identity in Google Cloud (`gcp_source` is `none`)";
                Err(refusal(Class::Config, text))
            }
            (GcpNodeSource::File | GcpNodeSource::Auto, Some(path)) => self.file(path).await,
            (GcpNodeSource::File, None) => Err(refusal(
                Class::SourceDead,
                "`gcp_source` is `file`, and GOOGLE_APPLICATION_CREDENTIALS is not set for this node",
            )),
            (GcpNodeSource::Metadata, _) | (GcpNodeSource::Auto, None) => self.machine().await,
        }
    }

    /// The key that a URI brings.
    pub(super) async fn key_of_uri(&self, text: &str) -> Result<Fetched, FetchError> {
        let what = "CREDENTIALS of the URI";
        let kind: Kind = parsed(text, what)?;
        if kind.kind != "service_account" {
            let text = format!(
                "{what}: of type `{}`; a URI may have a key of type `service_account` only. Others go into the file \
                 that GOOGLE_APPLICATION_CREDENTIALS names, for AUTH=implicit",
                named(&kind.kind)
            );
            return Err(refusal(Class::Config, text));
        }
        let key: Key = parsed(text, what)?;
        if !address(&key.token_uri).is_some_and(|url| self.is_google(&url)) {
            let text =
                format!("{what}: `token_uri` is not an address of Google's; keys are shown to Google only");
            return Err(refusal(Class::Config, text));
        }
        key.fetch(text, &self.web, what).await
    }

    /// Whether this is where tokens are had: at Google, or where this node was told that it is.
    fn is_google(&self, url: &Url) -> bool {
        let google =
            url.scheme() == "https" && url.host_str().is_some_and(|host| TOKEN_HOSTS.contains(&host));
        let told = Url::parse(&self.sts).is_ok_and(|told| {
            let place = |url: &Url| {
                (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default())
            };
            place(&told) == place(url)
        });
        google || told
    }

    async fn file(&self, path: &Path) -> Result<Fetched, FetchError> {
        let what = format!("`{}` (GOOGLE_APPLICATION_CREDENTIALS)", path.display());
        let text = read(path, &what).await?;
        self.credentials(text.expose(), &what).await
    }

    /// By credentials of the operator's, of any kind.
    async fn credentials(&self, text: &str, what: &str) -> Result<Fetched, FetchError> {
        let kind: Kind = parsed(text, what)?;
        if kind.kind != "impersonated_service_account" {
            return self.plain(&kind.kind, text, what).await;
        }
        let account: Impersonated = parsed(text, what)?;
        let source = account.source_credentials.to_string();
        let before: Kind = parsed(&source, what)?;
        let fetched = self.plain(&before.kind, &source, what).await?;
        let url = &account.service_account_impersonation_url;
        let delegates: Vec<_> = account
            .delegates
            .iter()
            .map(|name| name.trim_start_matches("projects/-/serviceAccounts/").to_owned())
            .collect();
        become_account(&self.web, fetched, url, &delegates, what).await
    }

    /// By credentials that need no others.
    async fn plain(&self, kind: &str, text: &str, what: &str) -> Result<Fetched, FetchError> {
        match kind {
            "service_account" => parsed::<Key>(text, what)?.fetch(text, &self.web, what).await,
            "authorized_user" => parsed::<User>(text, what)?.fetch(&self.web, what).await,
            "external_account" => parsed::<External>(text, what)?.fetch(&self.web, what).await,
            other => Err(refusal(
                Class::Config,
                format!(
                    "{what}: credentials of type `{}` are not known here; use service_account, authorized_user, \
                     external_account, or impersonated_service_account over one of these",
                    named(other)
                ),
            )),
        }
    }

    /// The metadata server. It keeps a token until about five minutes before its end: whoever asks earlier gets the same
    /// again, and is told what is left of it.
    async fn machine(&self) -> Result<Fetched, FetchError> {
        let set = self.settings.gcp_metadata_host.as_deref().or(self.environment.metadata_host.as_deref());
        let host = set.unwrap_or(METADATA_HOST);
        let url = |path: &str| format!("http://{host}/{METADATA_ACCOUNT}/{path}");
        let what = format!("metadata server at {host}");
        // `gcp_auth` knows the one address only.
        let given = if set.is_none() { library::of_machine(&what).await } else { None };
        let fetched = match given {
            Some(fetched) => fetched,
            None => self.machine_by_hand(&url("token"), &what).await?,
        };
        // For messages only: who asks must be granted something.
        let account = match self.web.metadata(&url("email")).await {
            Ok(reply) if reply.status.is_success() => {
                genuine(&reply, &what)?;
                String::from_utf8(reply.body.to_vec()).ok()
            }
            Ok(_) | Err(_) => None,
        };
        Ok(owned(fetched, account.map(|account| account.trim().to_owned())))
    }

    async fn machine_by_hand(&self, url: &str, what: &str) -> Result<Fetched, FetchError> {
        let asked = SystemTime::now();
        let reply = self.web.metadata(url).await.map_err(|mut error| {
            error.message.push_str("; is this a machine of Google's? Else set `gcp_source`");
            error
        })?;
        genuine(&reply, what)?;
        let granted: Granted = reply.read(what, &[]).map_err(|mut error| {
            if error.class == Class::SourceDead {
                error.message.push_str("; this machine has no service account");
            }
            error
        })?;
        Ok(granted.fetched(None, &reply, asked))
    }
}

impl Granted {
    fn fetched(self, account: Option<String>, reply: &Reply, asked: SystemTime) -> Fetched {
        let lifetime = self.expires_in.map(Duration::from_secs);
        Fetched {
            material: bearer(Secret::new(self.access_token), account),
            lifetime,
            not_after: lifetime.map(|lifetime| reply.date.unwrap_or(asked) + lifetime),
        }
    }
}

impl User {
    async fn fetch(&self, web: &Web, what: &str) -> Result<Fetched, FetchError> {
        let (secret, token) = (self.client_secret.expose(), self.refresh_token.expose());
        let fields = [
            ("grant_type", "refresh_token"),
            ("client_id", self.client_id.as_str()),
            ("client_secret", secret),
            ("refresh_token", token),
        ];
        let asked = SystemTime::now();
        let reply = web.form(Service::Token, self.token_uri.as_deref().unwrap_or(TOKEN_URL), &fields).await?;
        let granted: Granted = reply.read(what, &[secret, token])?;
        Ok(granted.fetched(None, &reply, asked))
    }
}

/// A token of an account, with one of who may become it. Both come from the same file.
async fn become_account(
    web: &Web,
    by: Fetched,
    url: &str,
    delegates: &[String],
    what: &str,
) -> Result<Fetched, FetchError> {
    let Material::Bearer(Bearer { token, .. }) = &by.material else {
        return Err(refusal(Class::Config, format!("{what}: not a token of Google's")));
    };
    let scopes = [SCOPE_CLOUD.to_owned()];
    let lifetime = impersonate::LIFETIME_MAX;
    let wanted = impersonate::Wanted { url, delegates, scopes: &scopes, lifetime };
    let mut fetched = impersonate::generate(web, &wanted, token).await.map_err(|mut error| {
        // There is no step before this one that could be done again.
        if error.class == Class::ParentExpired {
            error.class = Class::SourceDead;
        }
        error.message = format!("{what}: {}", error.message);
        error
    })?;
    if let Material::Bearer(bearer) = &mut fetched.material {
        let account = url.rsplit('/').next().and_then(|name| name.strip_suffix(":generateAccessToken"));
        bearer.account = account.map(str::to_owned);
    }
    Ok(fetched)
}

/// Whether a metadata server answered, or whoever else has its address here.
fn genuine(reply: &Reply, what: &str) -> Result<(), FetchError> {
    let flavored = reply.headers.get("metadata-flavor").is_some_and(|flavor| flavor == "Google");
    if reply.status.is_success() && !flavored {
        let text = format!("{what}: whoever answered is not Google's (no `Metadata-Flavor`)");
        return Err(refusal(Class::Config, text));
    }
    Ok(())
}

/// Where a token is had, if it reads the same to what checks it here and to what `gcp_auth` calls by: two parsers that differ
/// about a host are a way around the check. And `gcp_auth` panics about what it cannot read.
fn address(text: &str) -> Option<Url> {
    let (url, uri) = (Url::parse(text).ok()?, text.parse::<Uri>().ok()?);
    let usual = match url.scheme() {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    let same = uri.scheme_str() == Some(url.scheme())
        && uri.host().zip(url.host_str()).is_some_and(|(one, other)| one.eq_ignore_ascii_case(other))
        && uri.port_u16().unwrap_or(usual) == url.port().unwrap_or(usual);
    same.then_some(url)
}

/// A file of the operator's, whole.
async fn read(path: &Path, what: &str) -> Result<Secret, FetchError> {
    let unread =
        |error: std::io::Error| refusal(Class::SourceDead, format!("{what}: cannot be read: {error}"));
    let length = tokio::fs::metadata(path).await.map_err(unread)?.len();
    if length > FILE_BYTES_MAX {
        let text = format!("{what}: has {length} bytes; credentials have at most {FILE_BYTES_MAX}");
        return Err(refusal(Class::Config, text));
    }
    tokio::fs::read_to_string(path).await.map(Secret::new).map_err(unread)
}

/// JSON of an operator or a URI. The parser's own message could repeat a key.
fn parsed<T: DeserializeOwned>(text: &str, what: &str) -> Result<T, FetchError> {
    serde_json::from_str(text).map_err(|error| {
        let fault = if error.is_data() { "a field is missing or of the wrong kind" } else { "not JSON" };
        refusal(Class::Config, format!("{what}: {fault}, at line {} column {}", error.line(), error.column()))
    })
}

/// The name of a kind, which somebody else wrote.
fn named(kind: &str) -> String {
    let known = kind.chars().all(|char| char.is_ascii_lowercase() || char == '_');
    if known && kind.len() <= 40 { kind.to_owned() } else { "?".to_owned() }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
    String::deserialize(deserializer).map(Secret::new)
}
