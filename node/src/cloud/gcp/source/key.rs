//! The key of a service account: what it signs is exchanged for a token.
//!
//! `gcp_auth` does it. What it cannot do is done by hand, with its signature: saying why a key was refused, waiting as
//! long as Google says, going through a proxy or by the operator's CA, signing by Google's clock when this machine's is off.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gcp_auth::Signer;
use serde::Deserialize;
use serde_json::json;

use crate::cloud::gcp::source::{Granted, address, library};
use crate::cloud::gcp::web::{Service, Web};
use crate::cloud::gcp::{SCOPE_CLOUD, owned, refusal};
use crate::cloud::lease::{Class, FetchError, Fetched};
use crate::secret::Secret;

/// How long what is signed is good: the most that Google takes.
const CLAIM_TIME: Duration = Duration::from_secs(3_600);

/// What is not secret of a key.
#[derive(Deserialize)]
pub(super) struct Key {
    client_email: String,
    private_key_id: Option<String>,
    pub(super) token_uri: String,
}

impl Key {
    /// A token, by the whole of the key (`json`).
    pub(super) async fn fetch(&self, json: &str, web: &Web, what: &str) -> Result<Fetched, FetchError> {
        let what = format!("{what}, {}", self.client_email);
        if address(&self.token_uri).is_none() {
            let text = format!("{what}: `token_uri` is not the address of a web server");
            return Err(refusal(Class::Config, text));
        }
        let account = library::account(json, &what).await?;
        let fetched = match library::of_account(&account, &what).await {
            Some(fetched) => fetched,
            None => self.by_hand(account.signer(), web, &what).await?,
        };
        Ok(owned(fetched, Some(self.client_email.clone())))
    }

    async fn by_hand(&self, signer: &Signer, web: &Web, what: &str) -> Result<Fetched, FetchError> {
        let mut now = SystemTime::now();
        let mut corrected = false;
        loop {
            let signed = self.signed(signer, now, what)?;
            let fields = [
                ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
                ("assertion", signed.expose()),
            ];
            let asked = SystemTime::now();
            let reply = web.form(Service::Token, &self.token_uri, &fields).await?;
            let granted = reply.read::<Granted>(what, &[signed.expose()]);
            match (granted, reply.date) {
                // This machine's clock is off: the same again by the cloud's, once.
                (Err(FetchError { class: Class::ClockSkew, .. }), Some(date)) if !corrected => {
                    tracing::warn!(%what, "the clocks of this node and of Google differ by minutes");
                    (now, corrected) = (date, true);
                }
                (granted, _) => return Ok(granted?.fetched(None, &reply, asked)),
            }
        }
    }

    /// Who asks for what, signed: a JWT.
    fn signed(&self, signer: &Signer, now: SystemTime, what: &str) -> Result<Secret, FetchError> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.private_key_id});
        let claims = json!({
            "iss": self.client_email,
            "aud": self.token_uri,
            "scope": SCOPE_CLOUD,
            "iat": now.as_secs(),
            "exp": (now + CLAIM_TIME).as_secs(),
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let payload = format!("{}.{}", part(&header), part(&claims));
        let signature = signer
            .sign(payload.as_bytes())
            .map_err(|_| refusal(Class::SourceDead, format!("{what}: `private_key` does not sign")))?;
        Ok(Secret::new(format!("{payload}.{}", URL_SAFE_NO_PAD.encode(signature))))
    }
}
