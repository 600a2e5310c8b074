//! Secrets of every kind that grantd takes in, each made for one statement and known by a name.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use grantd_cluster_tests::cloud::token::random_hex;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// What was planted, and what of it was taken by a statement that stores it.
#[derive(Default)]
pub struct Planted {
    /// By name.
    pub secrets: BTreeMap<String, String>,
    /// URIs of external connections are state: each node has them on its disk.
    pub stored: BTreeSet<String>,
}

/// A text with fresh secrets in it.
pub struct Fresh {
    /// The text.
    pub text: String,
    /// Their names.
    pub names: Vec<String>,
}

/// Where the URIs lead.
pub struct Places {
    /// The double of AWS.
    pub aws: String,
    /// The double of Google.
    pub google: String,
    /// A role that the node may assume.
    pub role: String,
}

/// Kinds of URIs with secrets.
pub const KINDS: [&str; 14] = [
    "s3",
    "s3 role",
    "azure key",
    "azure client",
    "gs key",
    "gs token",
    "aws kms",
    "gcp kms",
    "kafka password",
    "kafka key",
    "kafka oauth",
    "pubsub",
    "webhook",
    "http",
];

impl Planted {
    /// A new secret, as clouds make them, with letters that each encoding writes in its own way.
    pub fn secret(&mut self, name: String) -> String {
        let [a, b, c, d] = [(); 4].map(|()| random_hex(5));
        self.plant(name, format!("{a}/{b}+{c}={d}"))
    }

    /// A new one, as people make them who know of passwords.
    pub fn password(&mut self, name: String) -> String {
        let [a, b, c, d] = [(); 4].map(|()| random_hex(4));
        self.plant(name, format!("{a}'{b}\"{c}\\&%{d}"))
    }

    fn plant(&mut self, name: String, secret: String) -> String {
        assert!(self.secrets.insert(name.clone(), secret.clone()).is_none(), "{name} is planted twice");
        secret
    }

    /// A URI of a kind, for the statement that is called `of`.
    #[expect(clippy::too_many_lines, reason = "a text for each kind")]
    pub fn uri(&mut self, kind: &str, of: &str, places: &Places) -> Fresh {
        let mut names = Vec::new();
        let mut fresh = |what: &str| {
            let name = format!("{what} of {kind} in {of}");
            names.push(name.clone());
            self.secret(name)
        };
        let Places { aws, google, role } = places;
        let key = |secret: &str| {
            let key = serde_json::json!({
                "type": "service_account",
                "project_id": "p",
                "private_key_id": "k",
                "private_key": format!("-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----\n"),
                "client_email": "owner@p.iam.gserviceaccount.com",
                "token_uri": format!("{google}/token"),
            });
            encoded(&BASE64.encode(key.to_string()))
        };
        let text = match kind {
            "s3" => {
                let (secret, token) = (encoded(&fresh("secret key")), encoded(&fresh("session token")));
                format!(
                    "s3://first/p?AWS_ACCESS_KEY_ID=AKIAEXAMPLE&AWS_SECRET_ACCESS_KEY={secret}&AWS_SESSION_TOKEN={token}\
                     &AWS_ENDPOINT={aws}&AWS_REGION=us-east-1"
                )
            }
            "s3 role" => {
                let role = encoded(&format!("{role};external_id={}", fresh("external id")));
                format!(
                    "s3://first/p?AUTH=implicit&AWS_ENDPOINT={aws}&AWS_REGION=us-east-1&ASSUME_ROLE={role}"
                )
            }
            "azure key" => {
                let key = encoded(&BASE64.encode(fresh("account key")));
                format!("azure-blob://c/p?AZURE_ACCOUNT_NAME=acct&AZURE_ACCOUNT_KEY={key}")
            }
            "azure client" => format!(
                "azure-blob://c/p?AZURE_ACCOUNT_NAME=acct&AZURE_CLIENT_ID=i&AZURE_TENANT_ID=t&AZURE_CLIENT_SECRET={}",
                encoded(&fresh("client secret"))
            ),
            "gs key" => format!("gs://first/p?CREDENTIALS={}", key(&fresh("private key"))),
            "gs token" => format!("gs://first/p?BEARER_TOKEN={}", encoded(&fresh("token"))),
            "aws kms" => {
                let secret = encoded(&fresh("secret key"));
                format!(
                    "aws-kms:///alias/k?AWS_ACCESS_KEY_ID=AKIAEXAMPLE&AWS_SECRET_ACCESS_KEY={secret}&REGION=us-east-1"
                )
            }
            "gcp kms" => format!(
                "gcp-kms:///projects/p/locations/l/keyRings/r/cryptoKeys/k?CREDENTIALS={}",
                key(&fresh("private key"))
            ),
            "kafka password" => format!(
                "kafka://127.0.0.1:1?tls_enabled=true&sasl_enabled=true&sasl_user=u&sasl_password={}",
                encoded(&fresh("password"))
            ),
            "kafka key" => {
                let (cert, key) =
                    (encoded(&BASE64.encode("a certificate")), encoded(&BASE64.encode(fresh("client key"))));
                format!("kafka://127.0.0.1:1?tls_enabled=true&client_cert={cert}&client_key={key}")
            }
            "kafka oauth" => {
                let secret = encoded(&BASE64.encode(fresh("client secret")));
                let url = encoded(&format!(
                    "https://u:{}@127.0.0.1:1/token",
                    encoded(&fresh("password of the token's URL"))
                ));
                format!(
                    "kafka://127.0.0.1:1?tls_enabled=true&sasl_enabled=true&sasl_mechanism=OAUTHBEARER&sasl_client_id=i\
                     &sasl_client_secret={secret}&sasl_token_url={url}"
                )
            }
            "pubsub" => {
                format!("gcpubsub://p?region=r&topic_name=orders&CREDENTIALS={}", key(&fresh("private key")))
            }
            "webhook" => {
                let (password, path) = (encoded(&fresh("password")), encoded(&fresh("path")));
                format!(
                    "webhook-https://u:{password}@127.0.0.1:1/{path}?token={}",
                    encoded(&fresh("parameter"))
                )
            }
            "http" => format!("https://u:{}@127.0.0.1:1/p", encoded(&fresh("password"))),
            other => panic!("no kind {other}"),
        };
        Fresh { text, names }
    }
}

/// As a careful person writes it into a URI.
pub fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// As a constant of SQL.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
