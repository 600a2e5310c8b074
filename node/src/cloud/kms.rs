//! Keys of a KMS: they wrap the keys of backups, and never leave their cloud. AWS KMS and Google Cloud KMS.
//!
//! Each request has the lease of its moment. Credentials that are not taken cost one lease, and the request is sent once more.
//! Only statements come here, and somebody waits for them: what may pass is tried for some seconds, then told.

mod answer;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use grantd_catalog::refusal::{Refusal, SqlState, state};
use hyper::Request;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use object_store::aws::{AwsAuthorizer, AwsCredential};
use object_store::client::HttpRequestBody;
use serde_json::json;
use zeroize::Zeroizing;

use self::answer::{Means, Wrong};
use crate::cloud::broker::{Credentials, Reject};
use crate::cloud::lease::{AwsSession, Lease, Material};
use crate::cloud::settings::NodeSettings;
use crate::cloud::storage;
use crate::cloud::uri::{AwsKms, GcpKms, Uri};

/// A key of a KMS, and the ways to it.
pub struct MasterKey {
    id: String,
    /// At least one, in the order in which they are tried.
    ways: Vec<Way>,
}

/// One way to a key.
pub struct Way {
    id: String,
    client: reqwest::Client,
    credentials: Credentials,
    at: At,
}

/// Where a key is.
enum At {
    /// AWS: the service of a region.
    Aws { region: String, url: String },
    /// Google: the key itself.
    Google { url: String },
}

/// What a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Encrypt,
    Decrypt,
}

impl MasterKey {
    /// A key by its ways. None: there are none.
    pub fn new(ways: Vec<Way>) -> Option<Self> {
        let id = ways.first()?.id.clone();
        Some(Self { id, ways })
    }

    /// What it is called there.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Wraps a few bytes: 4 KiB at most in AWS.
    ///
    /// Errors: 42501 denied, 28000 no credentials, 08006 not reached, 58030 the key does not do it; each names key and cause.
    pub async fn wrap(&self, plain: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.ask(Action::Encrypt, plain).await.map(|wrapped| wrapped.to_vec())
    }

    /// What was wrapped. Errors as of [`Self::wrap`]; 22023 if this key did not wrap it.
    pub async fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        self.ask(Action::Decrypt, wrapped).await
    }

    /// By the first way that is not denied.
    async fn ask(&self, action: Action, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refusal> {
        let mut denied = None;
        for way in &self.ways {
            match way.ask(action, bytes).await {
                Ok(answer) => return Ok(answer),
                Err(wrong) if matches!(wrong.means, Means::Denied | Means::Dead | Means::NoCredentials) => {
                    denied.get_or_insert_with(|| way.refusal(action, wrong));
                }
                Err(wrong) => return Err(way.refusal(action, wrong)),
            }
        }
        Err(denied.unwrap_or_else(|| Refusal::new(EXTERNAL_ROUTINE_EXCEPTION, "there is no way to the key")))
    }
}

impl Way {
    /// The way of a URI. Nothing is asked yet.
    ///
    /// Refusals: a URI that is none of a key, a certificate in `custom_ca` that cannot be read.
    pub fn new(
        uri: &Uri,
        credentials: Credentials,
        node: &NodeSettings,
        custom_ca: &str,
    ) -> Result<Self, Refusal> {
        let (id, at) = match uri {
            Uri::AwsKms(AwsKms { key, region, endpoint, .. }) => {
                let url = endpoint.clone().unwrap_or_else(|| aws_endpoint(region));
                (key.clone(), At::Aws { region: region.clone(), url })
            }
            Uri::GcpKms(GcpKms { key, .. }) => {
                let base = node.gcp_kms_endpoint.as_deref().unwrap_or(GOOGLE);
                (key.clone(), At::Google { url: format!("{base}/v1/{key}") })
            }
            _ => {
                let message = format!("a URI of {} names no key", uri.scheme());
                return Err(
                    Refusal::new(state::INVALID_PARAMETER_VALUE, message).with_hint("aws-kms and gcp-kms do")
                );
            }
        };
        let plain = at.url().starts_with("http://");
        let client = storage::client(custom_ca, plain, HeaderMap::new()).map_err(|_| {
            let message = "cloudstorage.http.custom_ca holds what is no certificate in PEM";
            Refusal::new(state::INVALID_PARAMETER_VALUE, message)
        })?;
        Ok(Self { id, client, credentials, at })
    }

    async fn ask(&self, action: Action, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, Wrong> {
        let (mut passed, mut reissued) = (0, false);
        loop {
            let lease = self.credentials.lease_within(Duration::ZERO, LEASE_WAIT_MAX).await;
            let lease = lease.map_err(|error| Wrong::new(Means::NoCredentials, error.to_string()))?;
            let wrong = match self.send(action, bytes, &lease).await {
                Ok(answer) => return Ok(answer),
                Err(wrong) => wrong,
            };
            match wrong.means {
                Means::Dead if !reissued => {
                    reissued = true;
                    self.credentials.rejected(lease.generation, Reject::Dead);
                }
                Means::Passing if passed < TRIES_MAX => {
                    tokio::time::sleep(PAUSE_FIRST * 2_u32.pow(passed)).await;
                    passed += 1;
                }
                Means::Denied => {
                    self.credentials.rejected(lease.generation, Reject::AccessDenied);
                    return Err(wrong);
                }
                Means::Dead | Means::Passing | Means::NoCredentials | Means::NotIts | Means::Refused => {
                    return Err(wrong);
                }
            }
        }
    }

    /// One request, with this lease.
    async fn send(&self, action: Action, bytes: &[u8], lease: &Lease) -> Result<Zeroizing<Vec<u8>>, Wrong> {
        let encoded = Zeroizing::new(BASE64.encode(bytes));
        let request = match (&self.at, &lease.material) {
            (At::Aws { region, url }, Material::Aws(session)) => {
                let (parts, body) = signed(action, &self.id, &encoded, region, url, session)?;
                self.client.post(url).headers(parts).body(body)
            }
            (At::Google { url }, Material::Bearer(bearer)) => {
                let (call, field) = match action {
                    Action::Encrypt => ("encrypt", "plaintext"),
                    Action::Decrypt => ("decrypt", "ciphertext"),
                };
                self.client
                    .post(format!("{url}:{call}"))
                    .bearer_auth(bearer.token.expose())
                    .header(CONTENT_TYPE, "application/json")
                    .body(json!({ field: *encoded }).to_string())
            }
            (At::Aws { .. }, Material::Bearer(_)) | (At::Google { .. }, Material::Aws(_)) => {
                return Err(Wrong::new(Means::Refused, "the credentials are of another cloud".to_owned()));
            }
        };
        let answered = request.timeout(REQUEST_TIME_MAX).send().await;
        // Without the address: nothing of it is news to who asked.
        let answered = answered.map_err(|error| Wrong::new(Means::Passing, answer::broken(error)))?;
        answer::read(answered, action, matches!(self.at, At::Aws { .. })).await
    }

    /// As a client reads it.
    fn refusal(&self, action: Action, wrong: Wrong) -> Refusal {
        let Wrong { means, cause } = wrong;
        let (cloud, right) = match (&self.at, action) {
            (At::Aws { .. }, Action::Encrypt) => ("AWS KMS", "kms:Encrypt"),
            (At::Aws { .. }, Action::Decrypt) => ("AWS KMS", "kms:Decrypt"),
            (At::Google { .. }, Action::Encrypt) => {
                ("Cloud KMS", "the role roles/cloudkms.cryptoKeyEncrypter")
            }
            (At::Google { .. }, Action::Decrypt) => {
                ("Cloud KMS", "the role roles/cloudkms.cryptoKeyDecrypter")
            }
        };
        let did = match action {
            Action::Encrypt => "failed to encrypt data key",
            Action::Decrypt => "failed to decrypt data key",
        };
        let message = format!("{did}: {cloud} key {}: {cause}", self.id);
        let (code, hint) = match means {
            Means::Denied => {
                let who = self.credentials.chain().last();
                (
                    state::INSUFFICIENT_PRIVILEGE,
                    format!("give {who} {right} on the key, in its policy and the key's"),
                )
            }
            Means::Dead | Means::NoCredentials => (
                state::INVALID_AUTHORIZATION,
                "SHOW CREDENTIALS lists the chains of each node, and what is wrong with them".to_owned(),
            ),
            Means::Passing => {
                (CONNECTION_FAILURE, "look at the network, the proxy, and the service's status".to_owned())
            }
            Means::NotIts => {
                (state::INVALID_PARAMETER_VALUE, "name a key that the backup was written with".to_owned())
            }
            Means::Refused => (IO_ERROR, "look at the key's state, its region and its purpose".to_owned()),
        };
        Refusal::new(code, message).with_hint(hint)
    }
}

impl At {
    fn url(&self) -> &str {
        match self {
            Self::Aws { url, .. } | Self::Google { url } => url,
        }
    }
}

/// The fields and the body of a request to AWS.
fn signed(
    action: Action,
    key: &str,
    encoded: &str,
    region: &str,
    url: &str,
    session: &AwsSession,
) -> Result<(HeaderMap, String), Wrong> {
    let refused = |why: &str| Wrong::new(Means::Refused, why.to_owned());
    let (target, field) = match action {
        Action::Encrypt => ("TrentService.Encrypt", "Plaintext"),
        Action::Decrypt => ("TrentService.Decrypt", "CiphertextBlob"),
    };
    let body = json!({ "KeyId": key, field: encoded }).to_string();
    let mut request = Request::post(url)
        .header(CONTENT_TYPE, "application/x-amz-json-1.1")
        .header("x-amz-target", HeaderValue::from_static(target))
        .body(HttpRequestBody::from(body.clone()))
        .map_err(|_| refused("AWS_ENDPOINT is no URL"))?;
    // Its copy of the secret is not wiped when it is dropped: `object_store` has no type that does.
    let credential = AwsCredential {
        key_id: session.access_key_id.clone(),
        secret_key: session.secret_access_key.expose().to_owned(),
        token: session.session_token.as_ref().map(|token| token.expose().to_owned()),
    };
    let authorizer = AwsAuthorizer::new(&credential, "kms", region);
    authorizer.try_authorize(&mut request, None).map_err(|_| refused("the request cannot be signed"))?;
    Ok((request.into_parts().0.headers, body))
}

fn aws_endpoint(region: &str) -> String {
    let domain = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
    format!("https://kms.{region}.{domain}")
}

const GOOGLE: &str = "https://cloudkms.googleapis.com";
/// How long one try waits for credentials: a chain that is new takes some calls.
const LEASE_WAIT_MAX: Duration = Duration::from_secs(20);
/// How long one request may take. Both services answer within some ten milliseconds.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// How often what may pass is tried again, and the first pause, which doubles: some six seconds in all, beside the requests.
const TRIES_MAX: u32 = 5;
const PAUSE_FIRST: Duration = Duration::from_millis(200);
/// As for checks of places: external routine exception.
const EXTERNAL_ROUTINE_EXCEPTION: SqlState = SqlState::new("38000");
/// PostgreSQL's name for it.
const CONNECTION_FAILURE: SqlState = SqlState::new("08006");
/// PostgreSQL's name for it.
const IO_ERROR: SqlState = SqlState::new("58030");
