//! Workload identity federation: the token of somebody else, from a file or a URL, is exchanged for Google's.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::SystemTime;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;

use crate::cloud::gcp::source::{Granted, become_account, parsed, read};
use crate::cloud::gcp::web::{Service, Web};
use crate::cloud::gcp::{SCOPE_CLOUD, refusal};
use crate::cloud::lease::{Class, FetchError, Fetched};
use crate::secret::Secret;

#[derive(Deserialize)]
pub(super) struct External {
    audience: String,
    subject_token_type: String,
    token_url: String,
    credential_source: Place,
    service_account_impersonation_url: Option<String>,
}

/// Where the token of somebody else is.
#[derive(Deserialize)]
struct Place {
    file: Option<PathBuf>,
    url: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    format: Option<Format>,
}

#[derive(Deserialize)]
struct Format {
    #[serde(rename = "type")]
    kind: String,
    subject_token_field_name: Option<String>,
}

impl External {
    pub(super) async fn fetch(&self, web: &Web, what: &str) -> Result<Fetched, FetchError> {
        let subject = self.credential_source.token(web, what).await?;
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", self.audience.as_str()),
            ("scope", SCOPE_CLOUD),
            ("subject_token_type", self.subject_token_type.as_str()),
            ("subject_token", subject.expose()),
        ];
        let asked = SystemTime::now();
        let reply = web.form(Service::Token, &self.token_url, &fields).await?;
        let granted: Granted = reply.read(what, &[subject.expose()])?;
        let fetched = granted.fetched(None, &reply, asked);
        match &self.service_account_impersonation_url {
            Some(url) => become_account(web, fetched, url, &[], what).await,
            None => Ok(fetched),
        }
    }
}

impl Place {
    /// The token that is there now: whoever writes it renews it.
    async fn token(&self, web: &Web, what: &str) -> Result<Secret, FetchError> {
        let text = match (&self.file, &self.url) {
            (Some(file), _) => read(file, &format!("`{}`, which {what} names", file.display())).await?,
            (None, Some(url)) => {
                let reply = web.get(url, &self.headers(what)?).await?;
                if !reply.status.is_success() {
                    return Err(reply.refused(&format!("{url}, which {what} names"), &[]));
                }
                let text = String::from_utf8(reply.body.to_vec());
                Secret::new(text.map_err(|_| refusal(Class::Config, format!("{url}: not a text")))?)
            }
            (None, None) => {
                let text = format!(
                    "{what}: the token of the other side must come from a `file` or a `url`; programs and AWS's own \
                     metadata are not asked"
                );
                return Err(refusal(Class::Config, text));
            }
        };
        let Some(Format { kind, subject_token_field_name }) = &self.format else { return Ok(trimmed(&text)) };
        match (kind.as_str(), subject_token_field_name) {
            ("json", Some(field)) => {
                let value: Value = parsed(text.expose(), what)?;
                let token = value[field].as_str().map(|token| Secret::new(token.to_owned()));
                token.ok_or_else(|| {
                    refusal(Class::SourceDead, format!("{what}: its token has no field `{field}`"))
                })
            }
            _ => Ok(trimmed(&text)),
        }
    }

    fn headers(&self, what: &str) -> Result<HeaderMap, FetchError> {
        let header = |(name, value): (&String, &String)| {
            Some((HeaderName::try_from(name.as_str()).ok()?, HeaderValue::try_from(value.as_str()).ok()?))
        };
        let headers = self.headers.iter().map(header).collect::<Option<_>>();
        headers.ok_or_else(|| refusal(Class::Config, format!("{what}: `headers` are not headers of HTTP")))
    }
}

fn trimmed(text: &Secret) -> Secret {
    Secret::new(text.expose().trim().to_owned())
}
