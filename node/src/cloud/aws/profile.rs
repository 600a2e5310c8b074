//! Profiles of `~/.aws/config` and `~/.aws/credentials`: what one of them says to do, as a plan.
//!
//! The SDK reads the files; what a profile means is ours, because the SDK's own provider reads them once for the life of the
//! process, does not take our endpoints and time-outs, and leaves `duration_seconds` out.

use std::time::Duration;

use aws_config::profile::{Profile, ProfileSet};
use aws_types::os_shim_internal::Fs;

use crate::cloud::aws::environment::Environment;
use crate::cloud::lease::AwsSession;
use crate::secret::Secret;

/// How to get what a profile stands for.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is first.
    pub base: Base,
    /// Roles that are assumed from there, in order.
    pub roles: Vec<Role>,
}

/// Where a profile's chain begins.
#[derive(Debug)]
pub(super) enum Base {
    /// Keys in the file.
    Keys(AwsSession),
    /// A token in another file.
    WebIdentity {
        /// Where it is.
        file: String,
        /// The role.
        role: String,
        /// The session's name, if the profile says one.
        session_name: Option<String>,
    },
    /// A program that prints credentials.
    Process(String),
    /// `credential_source`: keys in the environment.
    Environment,
    /// `credential_source`: the container's endpoint.
    Container,
    /// `credential_source`: the metadata service of EC2.
    Imds,
}

/// A role of a profile.
#[derive(Debug)]
pub(super) struct Role {
    /// Its ARN.
    pub role: String,
    /// `external_id`
    pub external_id: Option<String>,
    /// `role_session_name`
    pub session_name: Option<String>,
    /// `duration_seconds`
    pub duration: Option<Duration>,
}

/// What the profile of this environment says. None: there is no profile, with the reason.
pub(super) async fn plan(environment: &Environment) -> Result<Result<Plan, String>, String> {
    let profiles = aws_config::profile::load(&Fs::real(), environment.env(), &Default::default(), None)
        .await
        .map_err(|error| format!("the profiles cannot be read: {error}"))?;
    let name = profiles.selected_profile();
    if profiles.get_profile(name).is_none() {
        let why = format!("no profile `{name}` in ~/.aws/config or ~/.aws/credentials");
        // One that was asked for by name has to be there.
        return if environment.get("AWS_PROFILE").is_some() { Err(why) } else { Ok(Err(why)) };
    }
    chain(&profiles)
}

fn chain(profiles: &ProfileSet) -> Result<Result<Plan, String>, String> {
    let mut name = profiles.selected_profile();
    let mut seen: Vec<&str> = Vec::new();
    let mut roles = Vec::new();
    let base = loop {
        let profile = profiles.get_profile(name).ok_or_else(|| {
            format!(
                "profile `{}` names `source_profile = {name}`, which is not there",
                seen.last().unwrap_or(&"?")
            )
        })?;
        if seen.contains(&name) {
            return Err(format!("the profiles {} name each other as `source_profile`", seen.join(", ")));
        }
        seen.push(name);
        // As in the SDKs: of a profile that another one names, keys come before a role.
        if seen.len() > 1
            && let Some(keys) = keys(profile)?
        {
            break Base::Keys(keys);
        }
        let Some(role) = role(profile)? else {
            match base(profile)? {
                Some(base) => break base,
                None if seen.len() == 1 => {
                    return Ok(Err(format!("profile `{name}` says nothing about credentials")));
                }
                None => return Err(format!("profile `{name}` says nothing about credentials")),
            }
        };
        roles.push(role);
        match (profile.get("source_profile"), profile.get("credential_source")) {
            (Some(next), None) if next != name => name = next,
            (Some(_), None) => {
                break keys(profile)?.map(Base::Keys).ok_or_else(|| {
                    format!("profile `{name}` names itself as `source_profile`, and has no keys")
                })?;
            }
            (None, Some(_)) => {
                break base(profile)?
                    .ok_or_else(|| format!("profile `{name}` has no `credential_source`"))?;
            }
            (Some(_), Some(_)) => {
                return Err(format!("profile `{name}` has both `source_profile` and `credential_source`"));
            }
            (None, None) => {
                return Err(format!(
                    "profile `{name}` has `role_arn`, but neither `source_profile` nor `credential_source`"
                ));
            }
        }
    };
    roles.reverse();
    Ok(Ok(Plan { base, roles }))
}

/// The role that a profile assumes with what comes from elsewhere.
fn role(profile: &Profile) -> Result<Option<Role>, String> {
    let Some(arn) = profile.get("role_arn").filter(|_| profile.get("web_identity_token_file").is_none())
    else {
        return Ok(None);
    };
    if profile.get("mfa_serial").is_some() {
        return Err(format!(
            "profile `{}` has `mfa_serial`: a node has nobody to ask for a code",
            profile.name()
        ));
    }
    let duration = match profile.get("duration_seconds") {
        None => None,
        Some(text) => Some(text.trim().parse().map(Duration::from_secs).map_err(|_| {
            format!("profile `{}`: `duration_seconds = {text}` is no number of seconds", profile.name())
        })?),
    };
    Ok(Some(Role {
        role: arn.to_owned(),
        external_id: profile.get("external_id").map(str::to_owned),
        session_name: profile.get("role_session_name").map(str::to_owned),
        duration,
    }))
}

fn base(profile: &Profile) -> Result<Option<Base>, String> {
    let name = profile.name();
    if let Some(source) = profile.get("credential_source") {
        return match source {
            "Environment" => Ok(Some(Base::Environment)),
            "EcsContainer" => Ok(Some(Base::Container)),
            "Ec2InstanceMetadata" => Ok(Some(Base::Imds)),
            _ => Err(format!(
                "profile `{name}`: `credential_source = {source}` is none of Environment, EcsContainer, Ec2InstanceMetadata"
            )),
        };
    }
    if let Some(file) = profile.get("web_identity_token_file") {
        let role = profile
            .get("role_arn")
            .ok_or_else(|| format!("profile `{name}` has `web_identity_token_file`, but no `role_arn`"))?;
        return Ok(Some(Base::WebIdentity {
            file: file.to_owned(),
            role: role.to_owned(),
            session_name: profile.get("role_session_name").map(str::to_owned),
        }));
    }
    if let Some(key) =
        ["sso_session", "sso_start_url", "login_session"].into_iter().find(|key| profile.get(key).is_some())
    {
        return Err(format!(
            "profile `{name}` has `{key}`: a login of a person is not read; use \
             `credential_process = aws configure export-credentials --profile {name}` in another profile"
        ));
    }
    if let Some(command) = profile.get("credential_process") {
        return Ok(Some(Base::Process(command.to_owned())));
    }
    Ok(keys(profile)?.map(Base::Keys))
}

fn keys(profile: &Profile) -> Result<Option<AwsSession>, String> {
    match (profile.get("aws_access_key_id"), profile.get("aws_secret_access_key")) {
        (None, None) => Ok(None),
        (Some(id), Some(key)) => Ok(Some(AwsSession {
            access_key_id: id.to_owned(),
            secret_access_key: Secret::new(key.to_owned()),
            session_token: profile.get("aws_session_token").map(|token| Secret::new(token.to_owned())),
            identity: None,
        })),
        (Some(_), None) => Err(format!("profile `{}` has no `aws_secret_access_key`", profile.name())),
        (None, Some(_)) => Err(format!("profile `{}` has no `aws_access_key_id`", profile.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(config: &str) -> Result<Result<Plan, String>, String> {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join(".aws")).unwrap();
        std::fs::write(home.path().join(".aws/config"), config).unwrap();
        plan(&Environment::only(&[("HOME", home.path().to_str().unwrap())])).await
    }

    #[tokio::test]
    async fn a_chain_of_profiles_begins_with_the_last_and_assumes_towards_the_first() {
        let plan = read(
            "[default]\nrole_arn = arn:aws:iam::111122223333:role/c\nsource_profile = b\nduration_seconds = 900\n\
             [profile b]\nrole_arn = arn:aws:iam::111122223333:role/b\nsource_profile = a\nexternal_id = e\n\
             [profile a]\naws_access_key_id = AKIAEXAMPLE\naws_secret_access_key = s3cr3t\n",
        )
        .await
        .unwrap()
        .unwrap();
        assert!(matches!(&plan.base, Base::Keys(keys) if keys.secret_access_key.expose() == "s3cr3t"));
        let roles: Vec<_> = plan.roles.iter().map(|role| role.role.rsplit('/').next().unwrap()).collect();
        assert_eq!(roles, ["b", "c"]);
        assert_eq!(plan.roles[0].external_id.as_deref(), Some("e"));
        assert_eq!(plan.roles[1].duration, Some(Duration::from_secs(900)));
    }

    #[tokio::test]
    async fn each_kind_of_source_is_known() {
        let role = "role_arn = arn:aws:iam::111122223333:role/r\n";
        let of = async |lines: &str| read(&format!("[default]\n{lines}")).await.unwrap().unwrap().base;
        assert!(matches!(of(&format!("{role}credential_source = Environment")).await, Base::Environment));
        assert!(matches!(of(&format!("{role}credential_source = EcsContainer")).await, Base::Container));
        assert!(matches!(of(&format!("{role}credential_source = Ec2InstanceMetadata")).await, Base::Imds));
        assert!(matches!(of(&format!("{role}web_identity_token_file = /t")).await, Base::WebIdentity { .. }));
        assert!(
            matches!(of("credential_process = /bin/p --x").await, Base::Process(command) if command == "/bin/p --x")
        );
    }

    #[tokio::test]
    async fn what_a_profile_lacks_is_said_with_its_name() {
        let role = "role_arn = arn:aws:iam::111122223333:role/r\n";
        for (lines, expected) in [
            (format!("{role}source_profile = x"), "which is not there"),
            (role.to_owned(), "neither `source_profile` nor `credential_source`"),
            (format!("{role}credential_source = Moon"), "is none of"),
            (
                format!("{role}source_profile = b\n[profile b]\n{role}source_profile = default"),
                "name each other",
            ),
            (format!("{role}source_profile = b\nmfa_serial = x\n[profile b]\n"), "nobody to ask"),
            ("sso_session = x".to_owned(), "export-credentials"),
            ("aws_access_key_id = AKIAEXAMPLE".to_owned(), "no `aws_secret_access_key`"),
        ] {
            let why = read(&format!("[default]\n{lines}")).await.unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
        assert!(read("").await.unwrap().is_err(), "no profile is no error: the next source is looked for");
    }
}
