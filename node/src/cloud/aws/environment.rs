//! What the process's environment says about AWS, behind a seam: a test has an environment of its own, and reaches nothing of
//! the machine's.

use std::path::PathBuf;

use aws_types::os_shim_internal::Env;

use crate::cloud::aws::failure::Trouble;
use crate::cloud::lease::{AwsSession, Class};
use crate::secret::Secret;

/// Variables.
#[derive(Clone, Debug)]
pub struct Environment(Env);

/// A container's endpoint.
pub(super) struct Container {
    /// Where it is.
    pub url: String,
    /// What it is sent as `Authorization`.
    pub token: Token,
}

/// From where an endpoint's token is.
pub(super) enum Token {
    /// A file, which is read for every fetch: it is replaced while this node runs.
    File(PathBuf),
    /// The environment itself.
    Here(Secret),
    /// It asks for none.
    None,
}

impl Environment {
    /// That of this process.
    pub fn of_process() -> Self {
        Self(Env::real())
    }

    /// These variables and no others.
    pub fn only(variables: &[(&str, &str)]) -> Self {
        Self(Env::from_slice(variables))
    }

    /// The SDK's form, for its reader of profiles.
    pub(super) fn env(&self) -> &Env {
        &self.0
    }

    /// A variable. None: it is not set, blank, or not UTF-8.
    pub(super) fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).ok().filter(|value| !value.trim().is_empty())
    }

    /// Keys, if there are any.
    pub(super) fn keys(&self) -> Result<Option<AwsSession>, Trouble> {
        let (id, key) = (self.get("AWS_ACCESS_KEY_ID"), self.get("AWS_SECRET_ACCESS_KEY"));
        match (id, key) {
            (None, None) => Ok(None),
            (Some(access_key_id), Some(secret_access_key)) => Ok(Some(AwsSession {
                access_key_id,
                secret_access_key: Secret::new(secret_access_key),
                session_token: self.get("AWS_SESSION_TOKEN").map(Secret::new),
                identity: None,
            })),
            (id, _) => {
                let (set, unset) = match id {
                    Some(_) => ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
                    None => ("AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID"),
                };
                Err(Trouble::new(
                    Class::SourceDead,
                    format!("{set} is set in the environment, but {unset} is not"),
                ))
            }
        }
    }

    /// A container's endpoint, if there is one.
    pub(super) fn container(&self) -> Option<Container> {
        let url = match (
            self.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
            self.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"),
        ) {
            (Some(path), _) => format!("http://169.254.170.2/{}", path.trim_start_matches('/')),
            (None, Some(url)) => url,
            (None, None) => return None,
        };
        let token = match (
            self.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"),
            self.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        ) {
            (Some(file), _) => Token::File(file.into()),
            (None, Some(token)) => Token::Here(Secret::new(token)),
            (None, None) => Token::None,
        };
        Some(Container { url, token })
    }

    /// Where the metadata service of EC2 is. None: it is not to be asked.
    pub(super) fn imds(&self) -> Option<String> {
        if self.get("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        let v6 = self
            .get("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE")
            .is_some_and(|mode| mode.eq_ignore_ascii_case("ipv6"));
        let default = if v6 { "http://[fd00:ec2::254]" } else { "http://169.254.169.254" };
        Some(self.get("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| default.to_owned()))
    }

    /// Where STS is asked, if the environment says it.
    pub(super) fn sts_endpoint(&self) -> Option<String> {
        self.get("AWS_ENDPOINT_URL_STS").or_else(|| self.get("AWS_ENDPOINT_URL"))
    }

    /// The region, if the environment says it.
    pub fn region(&self) -> Option<String> {
        self.get("AWS_REGION").or_else(|| self.get("AWS_DEFAULT_REGION"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_key_is_said_and_not_passed_over() {
        let trouble = Environment::only(&[("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")]).keys().unwrap_err();
        assert!(trouble.text.contains("AWS_SECRET_ACCESS_KEY is not"), "{trouble:?}");
        assert!(Environment::only(&[("AWS_ACCESS_KEY_ID", " ")]).keys().unwrap().is_none());
    }

    #[test]
    fn a_relative_address_is_that_of_ecs_and_a_file_comes_before_a_token() {
        let environment = Environment::only(&[
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/x"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1/other"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "/run/token"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "t0k3n"),
        ]);
        let container = environment.container().unwrap();
        assert_eq!(container.url, "http://169.254.170.2/v2/credentials/x");
        assert!(matches!(container.token, Token::File(file) if file.ends_with("token")));
    }
}
