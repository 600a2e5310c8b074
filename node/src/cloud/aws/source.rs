//! What this node is in AWS by itself: one source after the other, as the SDKs look for it.

use std::path::Path;
use std::time::Duration;

use crate::cloud::aws::environment::{Environment, Token};
use crate::cloud::aws::failure::{Proof, Trouble};
use crate::cloud::aws::metadata::Local;
use crate::cloud::aws::process;
use crate::cloud::aws::profile::{Base, Plan, plan};
use crate::cloud::aws::sts::{Given, Sts, WebIdentity};
use crate::cloud::chain::{AssumeRole, Hashed};
use crate::cloud::lease::{AwsSession, Class};
use crate::cloud::settings::AwsNodeSource;
use crate::secret::Secret;

/// All that the sources need.
pub(super) struct Sources<'a> {
    /// What the process was told.
    pub environment: &'a Environment,
    /// STS, for those that assume a role.
    pub sts: &'a Sts,
    /// Services on the machine.
    pub local: &'a Local,
    /// The region of STS.
    pub region: &'a str,
    /// The name of sessions that nobody named.
    pub session_name: &'a str,
}

/// What a look for one source ends with.
enum Looked {
    /// It is there.
    Found(Given),
    /// There is no such source here, for this reason.
    Absent(String),
}

impl Sources<'_> {
    /// The node's identity, of this kind.
    pub(super) async fn identity(&self, kind: AwsNodeSource) -> Result<Given, Trouble> {
        if kind != AwsNodeSource::Auto {
            return match self.look(kind).await? {
                Looked::Found(given) => Ok(given),
                // Where the operator says that there is a metadata service, it may only be late.
                Looked::Absent(why) if kind == AwsNodeSource::Imds => Err(Trouble::new(Class::Network, why)),
                Looked::Absent(why) => Err(Trouble::new(Class::SourceDead, why)),
            };
        }
        let mut absent = Vec::new();
        for kind in ORDER {
            match self.look(kind).await? {
                Looked::Found(given) => return Ok(given),
                Looked::Absent(why) => absent.push(why),
            }
        }
        Err(Trouble::new(
            Class::SourceDead,
            format!("this node has no identity in AWS: {}", absent.join("; ")),
        ))
    }

    async fn look(&self, kind: AwsNodeSource) -> Result<Looked, Trouble> {
        match kind {
            AwsNodeSource::Environment => self.keys(),
            AwsNodeSource::Profile => self.profile().await,
            AwsNodeSource::WebIdentity => self.web_identity().await,
            AwsNodeSource::Container => self.container().await,
            AwsNodeSource::Imds => self.imds().await,
            AwsNodeSource::Auto | AwsNodeSource::None => {
                Ok(Looked::Absent("`aws_source` of this node is `none`".to_owned()))
            }
        }
    }

    fn keys(&self) -> Result<Looked, Trouble> {
        Ok(match self.environment.keys()? {
            Some(keys) => Looked::Found(forever(keys)),
            None => Looked::Absent("AWS_ACCESS_KEY_ID is not set".to_owned()),
        })
    }

    async fn web_identity(&self) -> Result<Looked, Trouble> {
        let Some(file) = self.environment.get("AWS_WEB_IDENTITY_TOKEN_FILE") else {
            return Ok(Looked::Absent("AWS_WEB_IDENTITY_TOKEN_FILE is not set".to_owned()));
        };
        let role = self.environment.get("AWS_ROLE_ARN").ok_or_else(|| {
            Trouble::new(Class::SourceDead, "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is not")
        })?;
        let session_name = self.environment.get("AWS_ROLE_SESSION_NAME");
        self.with_token(&file, role, session_name).await.map(Looked::Found)
    }

    /// Exchanges the token of a file, which is read each time: whoever issues it replaces it while this node runs.
    async fn with_token(
        &self,
        file: &str,
        role: String,
        session_name: Option<String>,
    ) -> Result<Given, Trouble> {
        let token = token_of(Path::new(file), "the web identity token").await?;
        let session_name = session_name.unwrap_or_else(|| self.session_name.to_owned());
        let ask = WebIdentity { token, role, session_name };
        self.sts.assume_role_with_web_identity(self.region, &ask).await.map_err(|trouble| {
            let role = &ask.role;
            let what = match trouble.class {
                Class::Denied => format!(
                    "the web identity token in {file} may not assume {role}: look at the role's trust policy \
                     (sts:AssumeRoleWithWebIdentity, the provider, and its conditions on `sub` and `aud`)"
                ),
                Class::SourceDead if trouble.code.as_deref() == Some("ExpiredTokenException") => {
                    format!("the web identity token in {file} is over: whoever renews the file (on EKS the kubelet) does not")
                }
                _ => format!("the web identity token in {file} could not be exchanged for {role}"),
            };
            Trouble { text: format!("{what}. {}", trouble.text), ..trouble }
        })
    }

    async fn container(&self) -> Result<Looked, Trouble> {
        let Some(endpoint) = self.environment.container() else {
            return Ok(Looked::Absent(
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI and AWS_CONTAINER_CREDENTIALS_FULL_URI are not set"
                    .to_owned(),
            ));
        };
        let token = match endpoint.token {
            Token::File(file) => Some(token_of(&file, "the container authorization token").await?),
            Token::Here(token) => Some(token),
            Token::None => None,
        };
        self.local.container(&endpoint.url, token.as_ref()).await.map(Looked::Found)
    }

    async fn imds(&self) -> Result<Looked, Trouble> {
        let Some(base) = self.environment.imds() else {
            return Ok(Looked::Absent("AWS_EC2_METADATA_DISABLED is true".to_owned()));
        };
        Ok(match self.local.imds(&base).await? {
            Some(given) => Looked::Found(given),
            None => Looked::Absent(format!("no metadata service of EC2 answers at {base}")),
        })
    }

    async fn profile(&self) -> Result<Looked, Trouble> {
        let config = |text: String| Trouble::new(Class::SourceDead, text);
        let Plan { base, roles } = match plan(self.environment).await.map_err(config)? {
            Ok(plan) => plan,
            Err(absent) => return Ok(Looked::Absent(absent)),
        };
        let mut given = match base {
            Base::Keys(keys) => forever(keys),
            Base::Process(command) => process::run(&command).await?,
            Base::WebIdentity { file, role, session_name } => {
                self.with_token(&file, role, session_name).await?
            }
            Base::Environment => named("Environment", self.keys()?)?,
            Base::Container => named("EcsContainer", self.container().await?)?,
            Base::Imds => named("Ec2InstanceMetadata", self.imds().await?)?,
        };
        for (at, role) in roles.into_iter().enumerate() {
            let ask = AssumeRole {
                role: role.role,
                external_id: role.external_id.map(|id| Hashed::new(Secret::new(id))),
                session_name: role.session_name.unwrap_or_else(|| self.session_name.to_owned()),
                source_identity: None,
                policy: None,
                duration: role.duration.unwrap_or(PROFILE_ROLE_DURATION),
            };
            let proof = if at == 0 { Proof::Source } else { Proof::Session };
            given =
                self.sts.assume_role(self.region, &given.session, proof, &ask, ask.duration).await.map_err(
                    |trouble| {
                        let role = &ask.role;
                        Trouble {
                            text: format!("the profile's role {role} could not be assumed. {}", trouble.text),
                            ..trouble
                        }
                    },
                )?;
        }
        Ok(Looked::Found(given))
    }
}

/// What a profile's `credential_source` names, which has to be there.
fn named(source: &str, looked: Looked) -> Result<Given, Trouble> {
    match looked {
        Looked::Found(given) => Ok(given),
        Looked::Absent(why) => Err(Trouble::new(
            Class::SourceDead,
            format!("the profile's `credential_source = {source}`: {why}"),
        )),
    }
}

/// Keys that AWS gives no end for.
pub(super) fn forever(session: AwsSession) -> Given {
    Given { session, end: None, lifetime: None }
}

/// A token as a file has it, without the line end that editors and shells leave.
async fn token_of(file: &Path, what: &str) -> Result<Secret, Trouble> {
    let dead = |why: String| {
        Trouble::new(Class::SourceDead, format!("{what} in {} cannot be read: {why}", file.display()))
    };
    let bytes = tokio::fs::read(file).await.map_err(|error| dead(error.to_string()))?;
    if bytes.len() > TOKEN_MAX {
        return Err(dead(format!("it has more than {TOKEN_MAX} bytes")));
    }
    let text = Secret::new(String::from_utf8(bytes).map_err(|_| dead("it is not UTF-8".to_owned()))?);
    match text.expose().trim() {
        "" => Err(dead("it is empty".to_owned())),
        token => Ok(Secret::new(token.to_owned())),
    }
}

/// The order of the AWS SDKs.
const ORDER: [AwsNodeSource; 5] = [
    AwsNodeSource::Environment,
    AwsNodeSource::Profile,
    AwsNodeSource::WebIdentity,
    AwsNodeSource::Container,
    AwsNodeSource::Imds,
];

/// For how long a profile's role is assumed that does not say it: the SDKs' default.
const PROFILE_ROLE_DURATION: Duration = Duration::from_secs(3_600);

/// The longest token. AWS takes web identity tokens of 20,000 characters.
const TOKEN_MAX: usize = 64 * 1024;
