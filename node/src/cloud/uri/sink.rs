//! URIs of places for messages: kafka, gcpubsub, webhook.

use grantd_catalog::refusal::Refusal;

use super::auth::{GcpAuth, gcp_roles, write_gcp_roles};
use super::query::{Pieces, Writer, encoded, invalid};
use super::storage::{is_project_byte, is_topic_byte, region, url};
use crate::cloud::chain::Hashed;
use crate::cloud::role::{RoleArn, ServiceAccount};
use crate::secret::Secret;

/// `kafka://host:port,host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kafka {
    /// The first brokers that are asked; at least one.
    pub brokers: Vec<Broker>,
    /// One topic for all tables.
    pub topic_name: Option<String>,
    /// Names of topics begin so.
    pub topic_prefix: Option<String>,
    /// Whether and how TLS is spoken.
    pub tls: Option<Tls>,
    /// Whether and how one logs in.
    pub sasl: Option<Sasl>,
}

/// One broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// A name or an address.
    pub host: String,
    /// 9092 where nothing is said.
    pub port: u16,
}

/// How a sink is trusted, and trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who signs its certificate, as PEM. None: whom the system trusts.
    pub ca_cert: Option<Hashed>,
    /// Our certificate and key.
    pub client: Option<ClientCert>,
    /// Trust everybody.
    pub skip_verify: bool,
}

/// A certificate and its key, as PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCert {
    /// The certificate.
    pub cert: Hashed,
    /// The key.
    pub key: Hashed,
}

/// How one logs in to Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sasl {
    /// Whether the mechanism is negotiated first.
    pub handshake: bool,
    /// The mechanism and what it needs.
    pub mechanism: SaslMechanism,
}

/// `sasl_mechanism`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaslMechanism {
    /// `PLAIN`.
    Plain(Login),
    /// `SCRAM-SHA-256`.
    ScramSha256(Login),
    /// `SCRAM-SHA-512`.
    ScramSha512(Login),
    /// `OAUTHBEARER`.
    OAuth {
        /// `sasl_client_id`.
        client_id: String,
        /// `sasl_client_secret`, decoded.
        client_secret: Hashed,
        /// `sasl_token_url`.
        token_url: Hashed,
        /// `sasl_grant_type`.
        grant_type: Option<String>,
        /// `sasl_scopes`.
        scopes: Option<String>,
    },
    /// `AWS_MSK_IAM`: this node assumes the role.
    MskIam {
        /// `sasl_aws_iam_role_arn`.
        role: RoleArn,
        /// `sasl_aws_region`.
        region: String,
        /// `sasl_aws_iam_session_name`.
        session_name: String,
    },
}

/// A user and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// `sasl_user`.
    pub user: String,
    /// `sasl_password`.
    pub password: Hashed,
}

/// `gcpubsub://project`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PubSub {
    /// The project.
    pub project: String,
    /// The region whose endpoint keeps order. None: the global endpoint, without order.
    pub region: Option<String>,
    /// One topic for all tables.
    pub topic_name: Option<String>,
    /// The first credentials.
    pub auth: GcpAuth,
    /// Delegates in order, the target last.
    pub roles: Vec<ServiceAccount>,
}

/// `webhook-https://host/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// The whole URL, `https`: path and query may let somebody in.
    pub url: Hashed,
    /// How it is trusted, and trusts.
    pub tls: Tls,
}

impl Kafka {
    pub(super) fn parse(mut pieces: Pieces<'_>) -> Result<Self, Refusal> {
        pieces.only("kafka sink", &[KAFKA_NAMES])?;
        if !pieces.folders()?.is_empty() {
            return Err(invalid("kafka URI has a path, which means nothing"));
        }
        let brokers = pieces.host.split(',').map(broker).collect::<Option<Vec<_>>>().ok_or_else(|| {
            invalid("host component of the kafka URI must be host:port, or several with commas between them")
        })?;
        let tls_enabled = pieces.flag("tls_enabled")?.unwrap_or(false);
        let tls = Tls::take(&mut pieces)?;
        if !tls_enabled {
            let set = [
                ("ca_cert", tls.ca_cert.is_some()),
                ("client_cert", tls.client.is_some()),
                ("insecure_tls_skip_verify", tls.skip_verify),
            ];
            if let Some((name, _)) = set.iter().find(|(_, is_set)| *is_set) {
                return Err(invalid(format!("{name} requires tls_enabled=true")));
            }
        }
        let sasl = Sasl::take(&mut pieces)?;
        if sasl.is_some() && !tls_enabled {
            return Err(invalid("sasl_enabled requires tls_enabled=true")
                .with_hint("without TLS the password would be readable on its way"));
        }
        Ok(Self {
            brokers,
            topic_name: pieces.word("topic_name", is_topic_byte)?,
            topic_prefix: pieces.word("topic_prefix", is_topic_byte)?,
            tls: tls_enabled.then_some(tls),
            sasl,
        })
    }

    /// The role that this node assumes to log in.
    pub fn role(&self) -> Option<&RoleArn> {
        match &self.sasl.as_ref()?.mechanism {
            SaslMechanism::MskIam { role, .. } => Some(role),
            SaslMechanism::Plain(_) | SaslMechanism::ScramSha256(_) | SaslMechanism::ScramSha512(_) => None,
            SaslMechanism::OAuth { .. } => None,
        }
    }

    pub(super) fn write(&self) -> Secret {
        let broker = |broker: &Broker| format!("{}:{}", broker.host, broker.port);
        let host = self.brokers.iter().map(broker).collect::<Vec<_>>().join(",");
        let mut to = Writer::new("kafka", &host, "");
        to.maybe("topic_name", self.topic_name.as_deref());
        to.maybe("topic_prefix", self.topic_prefix.as_deref());
        if let Some(tls) = &self.tls {
            to.set("tls_enabled", "true");
            tls.write(&mut to);
        }
        if let Some(sasl) = &self.sasl {
            sasl.write(&mut to);
        }
        to.finish()
    }
}

impl Tls {
    fn take(pieces: &mut Pieces<'_>) -> Result<Self, Refusal> {
        let ca_cert = pieces.base64("ca_cert")?;
        let client = match (pieces.base64("client_cert")?, pieces.base64("client_key")?) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(ClientCert { cert, key }),
            (Some(_), None) => return Err(invalid("client_cert requires client_key to be set")),
            (None, Some(_)) => return Err(invalid("client_key requires client_cert to be set")),
        };
        let skip_verify = pieces.flag("insecure_tls_skip_verify")?.unwrap_or(false);
        Ok(Self { ca_cert, client, skip_verify })
    }

    fn write(&self, to: &mut Writer) {
        to.maybe("ca_cert", self.ca_cert.as_ref().map(encoded).as_ref().map(Secret::expose));
        if let Some(client) = &self.client {
            to.set("client_cert", encoded(&client.cert).expose());
            to.set("client_key", encoded(&client.key).expose());
        }
        to.maybe("insecure_tls_skip_verify", self.skip_verify.then_some("true"));
    }
}

impl Sasl {
    /// None: it is not enabled, and nothing else is said of it.
    fn take(pieces: &mut Pieces<'_>) -> Result<Option<Self>, Refusal> {
        let enabled = pieces.flag("sasl_enabled")?.unwrap_or(false);
        let handshake = pieces.flag("sasl_handshake")?;
        let mechanism = pieces.text("sasl_mechanism");
        if !enabled {
            if handshake.is_some() {
                return Err(invalid("sasl_enabled must be enabled to configure SASL handshake behavior"));
            }
            if mechanism.is_some() {
                return Err(invalid("sasl_enabled must be enabled to configure SASL mechanism"));
            }
            let mut names = LOGIN_NAMES.iter().chain(OAUTH_NAMES).chain(MSK_NAMES);
            return match names.find(|name| pieces.take(name).is_some()) {
                Some(name) => Err(invalid(format!("sasl_enabled must be enabled if {name} is provided"))),
                None => Ok(None),
            };
        }
        let mechanism = mechanism.unwrap_or_else(|| "PLAIN".to_owned());
        let (mechanism, own) = match mechanism.as_str() {
            "PLAIN" => (SaslMechanism::Plain(Login::take(pieces, None)?), LOGIN_NAMES),
            "SCRAM-SHA-256" => {
                (SaslMechanism::ScramSha256(Login::take(pieces, Some(&mechanism))?), LOGIN_NAMES)
            }
            "SCRAM-SHA-512" => {
                (SaslMechanism::ScramSha512(Login::take(pieces, Some(&mechanism))?), LOGIN_NAMES)
            }
            OAUTH => (oauth(pieces)?, OAUTH_NAMES),
            MSK => (msk(pieces)?, MSK_NAMES),
            _ => {
                return Err(invalid(
                    "param sasl_mechanism must be one of \
                     AWS_MSK_IAM, OAUTHBEARER, PLAIN, SCRAM-SHA-256, or SCRAM-SHA-512",
                ));
            }
        };
        let other = [(LOGIN_NAMES, "PLAIN or SCRAM"), (OAUTH_NAMES, OAUTH), (MSK_NAMES, MSK)];
        for (names, belongs_to) in other.into_iter().filter(|(names, _)| *names != own) {
            if let Some(name) = names.iter().find(|name| pieces.take(name).is_some()) {
                return Err(invalid(format!(
                    "{name} is only a valid parameter for sasl_mechanism={belongs_to}"
                )));
            }
        }
        Ok(Some(Self { handshake: handshake.unwrap_or(true), mechanism }))
    }

    fn write(&self, to: &mut Writer) {
        to.set("sasl_enabled", "true");
        to.maybe("sasl_handshake", (!self.handshake).then_some("false"));
        let login = |to: &mut Writer, mechanism: &str, login: &Login| {
            to.set("sasl_mechanism", mechanism);
            to.set("sasl_user", &login.user);
            to.set("sasl_password", login.password.expose());
        };
        match &self.mechanism {
            SaslMechanism::Plain(who) => login(to, "PLAIN", who),
            SaslMechanism::ScramSha256(who) => login(to, "SCRAM-SHA-256", who),
            SaslMechanism::ScramSha512(who) => login(to, "SCRAM-SHA-512", who),
            SaslMechanism::OAuth { client_id, client_secret, token_url, grant_type, scopes } => {
                to.set("sasl_mechanism", OAUTH);
                to.set("sasl_client_id", client_id);
                to.set("sasl_client_secret", encoded(client_secret).expose());
                to.set("sasl_token_url", token_url.expose());
                to.maybe("sasl_grant_type", grant_type.as_deref());
                to.maybe("sasl_scopes", scopes.as_deref());
            }
            SaslMechanism::MskIam { role, region, session_name } => {
                to.set("sasl_mechanism", MSK);
                to.set("sasl_aws_iam_role_arn", role.as_str());
                to.set("sasl_aws_region", region);
                to.set("sasl_aws_iam_session_name", session_name);
            }
        }
    }
}

impl Login {
    fn take(pieces: &mut Pieces<'_>, mechanism: Option<&str>) -> Result<Self, Refusal> {
        let using = mechanism.map(|mechanism| format!(" using mechanism {mechanism}")).unwrap_or_default();
        let missing = |name: &str| invalid(format!("{name} must be provided when SASL is enabled{using}"));
        let user = pieces.text("sasl_user").ok_or_else(|| missing("sasl_user"))?;
        let password = pieces.take("sasl_password").ok_or_else(|| missing("sasl_password"))?;
        Ok(Self { user, password: Hashed::new(password) })
    }
}

impl PubSub {
    pub(super) fn parse(mut pieces: Pieces<'_>) -> Result<Self, Refusal> {
        if pieces.host.is_empty() {
            return Err(invalid("missing project name"));
        }
        pieces.only("pubsub sink", &[PUBSUB_NAMES])?;
        if !pieces.host.bytes().all(is_project_byte) {
            return Err(invalid("project of the gcpubsub URI is not valid"));
        }
        if !pieces.folders()?.is_empty() {
            return Err(invalid("gcpubsub URI has a path, which means nothing"));
        }
        Ok(Self {
            project: pieces.host.to_owned(),
            region: region(&mut pieces, "region")?,
            topic_name: pieces.word("topic_name", is_topic_byte)?,
            auth: GcpAuth::take(&mut pieces, "missing credentials parameter")?,
            roles: gcp_roles(&mut pieces)?,
        })
    }

    pub(super) fn write(&self) -> Secret {
        let mut to = Writer::new("gcpubsub", &self.project, "");
        to.maybe("region", self.region.as_deref());
        to.maybe("topic_name", self.topic_name.as_deref());
        self.auth.write(&mut to);
        write_gcp_roles(&self.roles, &mut to);
        to.finish()
    }
}

impl Webhook {
    /// What is not the sink's own is a part of the URL.
    pub(super) fn parse(mut pieces: Pieces<'_>) -> Result<Self, Refusal> {
        if !pieces.scheme.eq_ignore_ascii_case("webhook-https") {
            return Err(invalid("this sink requires https"));
        }
        if pieces.host.is_empty() {
            return Err(invalid("empty host component; webhook URI must specify a host"));
        }
        let tls = Tls::take(&mut pieces)?;
        Ok(Self { url: url("https".to_owned(), pieces)?, tls })
    }

    pub(super) fn write(&self) -> Secret {
        let mut to = Writer::onto(format!("webhook-{}", self.url.expose()));
        self.tls.write(&mut to);
        to.finish()
    }
}

fn oauth(pieces: &mut Pieces<'_>) -> Result<SaslMechanism, Refusal> {
    let missing =
        |name: &str| invalid(format!("{name} must be provided when SASL is enabled using mechanism {OAUTH}"));
    let client_id = pieces.text("sasl_client_id").ok_or_else(|| missing("sasl_client_id"))?;
    let client_secret = pieces.base64("sasl_client_secret")?.ok_or_else(|| missing("sasl_client_secret"))?;
    let token_url = pieces.key("sasl_token_url")?.ok_or_else(|| missing("sasl_token_url"))?;
    if !token_url.expose().starts_with("https://") {
        return Err(invalid("sasl_token_url must begin with https://"));
    }
    let grant_type = pieces.text("sasl_grant_type");
    Ok(SaslMechanism::OAuth {
        client_id,
        client_secret,
        token_url,
        grant_type,
        scopes: pieces.text("sasl_scopes"),
    })
}

fn msk(pieces: &mut Pieces<'_>) -> Result<SaslMechanism, Refusal> {
    let missing =
        |name: &str| invalid(format!("{name} must be provided when SASL is enabled using mechanism {MSK}"));
    let role = pieces.text("sasl_aws_iam_role_arn").ok_or_else(|| missing("sasl_aws_iam_role_arn"))?;
    let region = region(pieces, "sasl_aws_region")?.ok_or_else(|| missing("sasl_aws_region"))?;
    let name = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte);
    let session_name = pieces.word("sasl_aws_iam_session_name", name)?;
    let session_name = session_name.ok_or_else(|| missing("sasl_aws_iam_session_name"))?;
    let role = RoleArn::parse(&role).map_err(|_| {
        invalid("sasl_aws_iam_role_arn is not the ARN of a role")
            .with_hint("it is one role, without an external id")
    })?;
    Ok(SaslMechanism::MskIam { role, region, session_name })
}

fn broker(text: &str) -> Option<Broker> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (text, KAFKA_PORT),
    };
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-[]:".contains(&byte);
    let is_plain = !host.contains(':') || host.starts_with('[') && host.ends_with(']');
    (!host.is_empty() && is_plain && host.bytes().all(fits)).then(|| Broker { host: host.to_owned(), port })
}

/// Kafka's own.
const KAFKA_PORT: u16 = 9_092;
const OAUTH: &str = "OAUTHBEARER";
const MSK: &str = "AWS_MSK_IAM";
const LOGIN_NAMES: &[&str] = &["sasl_user", "sasl_password"];
const OAUTH_NAMES: &[&str] =
    &["sasl_client_id", "sasl_client_secret", "sasl_token_url", "sasl_grant_type", "sasl_scopes"];
const MSK_NAMES: &[&str] = &["sasl_aws_iam_role_arn", "sasl_aws_region", "sasl_aws_iam_session_name"];
const KAFKA_NAMES: &[&str] = &[
    "ca_cert",
    "client_cert",
    "client_key",
    "insecure_tls_skip_verify",
    "sasl_aws_iam_role_arn",
    "sasl_aws_iam_session_name",
    "sasl_aws_region",
    "sasl_client_id",
    "sasl_client_secret",
    "sasl_enabled",
    "sasl_grant_type",
    "sasl_handshake",
    "sasl_mechanism",
    "sasl_password",
    "sasl_scopes",
    "sasl_token_url",
    "sasl_user",
    "tls_enabled",
    "topic_name",
    "topic_prefix",
];
const PUBSUB_NAMES: &[&str] = &["ASSUME_ROLE", "AUTH", "CREDENTIALS", "region", "topic_name"];
