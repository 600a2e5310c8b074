//! Names of cloud roles, and how `ASSUME_ROLE` writes a chain of them.
//!
//! `ASSUME_ROLE := "" | role { "," role }`, in the order in which they are assumed. A role of AWS is an ARN, and may be followed
//! by `;external_id=` and what its trust policy asks for; a role of Google is the e-mail address of a service account.
//!
//! Names of AWS roles and external ids may hold commas, so a comma separates two roles only where the next one begins with
//! `arn:`, or, outside an external id, where what follows could be no part of a name. So `…:role/a,b,arn:…` is `a,b` and one
//! more. A role cannot be empty, and no name ends with a comma. Source: cloud-jobs specification, A.0, A.1.1, A.3.
//!
//! The names are not secret. External ids are treated as if they were: whoever writes one believes so.

use std::fmt;

use grantd_catalog::refusal::{Refusal, state};

use crate::cloud::chain::{Hashed, ROLES_MAX};
use crate::secret::Secret;

/// A role of AWS in a chain.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AwsRole {
    /// Which.
    pub arn: RoleArn,
    /// What its trust policy may ask for.
    pub external_id: Option<Hashed>,
}

/// `arn:aws:iam::123456789012:role/path/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleArn(String);

/// The e-mail address of a service account of Google.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAccount(String);

/// A role of any cloud, as `GRANT USAGE ON IAM ROLE` names it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleName {
    /// Of AWS.
    Aws(RoleArn),
    /// Of Google.
    Gcp(ServiceAccount),
}

impl RoleArn {
    /// Checks the form: partition, account of twelve digits, path and name.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if is_role_arn(text) { Ok(Self(text.to_owned())) } else { Err(not_an_arn("IAM role")) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ServiceAccount {
    /// Checks the form: a name, `@`, and a domain of Google's service accounts.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if is_service_account(text) { Ok(Self(text.to_owned())) } else { Err(not_an_account("IAM role")) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl RoleName {
    /// An ARN or a service account.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        match (is_role_arn(text), is_service_account(text)) {
            (true, _) => Ok(Self::Aws(RoleArn(text.to_owned()))),
            (false, true) => Ok(Self::Gcp(ServiceAccount(text.to_owned()))),
            (false, false) => Err(Refusal::new(
                state::INVALID_PARAMETER_VALUE,
                "IAM role is neither the ARN of a role nor a service account",
            )
            .with_hint(format!("write {ARN_FORM} or {ACCOUNT_FORM}"))),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Aws(arn) => arn.as_str(),
            Self::Gcp(account) => account.as_str(),
        }
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The chain that an `ASSUME_ROLE` of AWS names; none for an empty text. Refusals name the role by its position, and show
/// nothing of the text.
pub fn aws_chain(text: &str) -> Result<Vec<AwsRole>, Refusal> {
    let items = aws_items(text);
    check_length(items.len())?;
    let of = items.len();
    items.iter().enumerate().map(|(at, item)| aws_role(item, &position(at, of))).collect()
}

/// The same of Google.
pub fn gcp_chain(text: &str) -> Result<Vec<ServiceAccount>, Refusal> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let items: Vec<_> = text.split(',').collect();
    check_length(items.len())?;
    let account = |(at, item): (usize, &&str)| {
        let item = *item;
        if is_service_account(item) {
            Ok(ServiceAccount(item.to_owned()))
        } else {
            Err(not_an_account(&position(at, items.len())))
        }
    };
    items.iter().enumerate().map(account).collect()
}

/// The chain as `ASSUME_ROLE` has it, with external ids written by `external_id`.
pub(super) fn write_aws(roles: &[AwsRole], external_id: impl Fn(&Hashed) -> &str) -> String {
    let role = |role: &AwsRole| match &role.external_id {
        Some(id) => format!("{}{EXTERNAL_ID}{}", role.arn, external_id(id)),
        None => role.arn.to_string(),
    };
    roles.iter().map(role).collect::<Vec<_>>().join(",")
}

/// The same of Google.
pub(super) fn write_gcp(roles: &[ServiceAccount]) -> String {
    roles.iter().map(ServiceAccount::as_str).collect::<Vec<_>>().join(",")
}

/// Where the roles of the text begin and end.
fn aws_items(text: &str) -> Vec<&str> {
    if text.is_empty() {
        return Vec::new();
    }
    let mut items = Vec::new();
    let mut start = 0;
    for (comma, _) in text.match_indices(',') {
        let next = &text[comma + 1..];
        let in_external_id = text[start..comma].contains(';');
        let piece = next.split(',').next().unwrap_or_default();
        let separates = next.starts_with("arn:")
            || (!in_external_id && !piece.is_empty() && !piece.split(';').next().is_some_and(may_be_in_name))
            || next.is_empty();
        if separates {
            items.push(&text[start..comma]);
            start = comma + 1;
        }
    }
    items.push(&text[start..]);
    items
}

fn aws_role(item: &str, position: &str) -> Result<AwsRole, Refusal> {
    let (arn, attribute) = match item.split_once(';') {
        Some((arn, attribute)) => (arn, Some(attribute)),
        None => (item, None),
    };
    if !is_role_arn(arn) || arn.ends_with(',') {
        return Err(not_an_arn(position));
    }
    let external_id = match attribute {
        None => None,
        Some(attribute) => {
            let id = attribute.strip_prefix(&EXTERNAL_ID[1..]).ok_or_else(|| {
                invalid(format!(
                    "{position} in ASSUME_ROLE is followed by something that is not an external id"
                ))
                .with_hint("only ;external_id=… may follow a role")
            })?;
            if !is_external_id(id) {
                return Err(invalid(format!("the external id of {position} in ASSUME_ROLE is not valid"))
                    .with_hint("it has 2 to 1224 letters, digits, and _+=,.@:/-; a + is written %2B"));
            }
            Some(Hashed::new(Secret::new(id.to_owned())))
        }
    };
    Ok(AwsRole { arn: RoleArn(arn.to_owned()), external_id })
}

fn check_length(length: usize) -> Result<(), Refusal> {
    if length <= ROLES_MAX {
        return Ok(());
    }
    Err(Refusal::new(
        state::PROGRAM_LIMIT_EXCEEDED,
        format!("ASSUME_ROLE names {length} roles, and at most {ROLES_MAX} can be chained"),
    ))
}

fn position(at: usize, of: usize) -> String {
    format!("role {} of {of}", at + 1)
}

fn is_role_arn(text: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let mut part = || parts.next().unwrap_or_default();
    let (arn, partition, service, region, account, resource) =
        (part(), part(), part(), part(), part(), part());
    let known = partition == "aws"
        || partition.strip_prefix("aws-").is_some_and(|rest| {
            !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
        });
    let account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
    let role = resource.strip_prefix("role/").is_some_and(|path| {
        let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
        let folders_fit = folders.len() <= PATH_BYTES_MAX
            && folders.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b';' | b':'));
        folders_fit && (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_name_byte)
    });
    arn == "arn" && known && service == "iam" && region.is_empty() && account && role
}

fn is_service_account(text: &str) -> bool {
    let Some((name, domain)) = text.split_once('@') else { return false };
    let fits = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte))
    };
    text.len() <= ACCOUNT_BYTES_MAX && fits(name) && fits(domain) && domain.ends_with(ACCOUNT_DOMAIN)
}

fn is_external_id(text: &str) -> bool {
    let fits = |byte: u8| is_name_byte(byte) || matches!(byte, b':' | b'/');
    (2..=EXTERNAL_ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(fits)
}

/// Whether the text could stand behind a comma in a role's path and name.
fn may_be_in_name(text: &str) -> bool {
    text.bytes().all(|byte| is_name_byte(byte) || byte == b'/')
}

/// `[\w+=,.@-]`.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
}

fn not_an_arn(what: &str) -> Refusal {
    invalid(format!("{what} is not the ARN of a role"))
        .with_hint(format!("write {ARN_FORM}, with each + as %2B and no blanks"))
}

fn not_an_account(what: &str) -> Refusal {
    invalid(format!("{what} is not a service account"))
        .with_hint(format!("write {ACCOUNT_FORM}, without blanks"))
}

fn invalid(message: String) -> Refusal {
    Refusal::new(state::INVALID_PARAMETER_VALUE, message)
}

/// What stands between a role and its external id.
const EXTERNAL_ID: &str = ";external_id=";
/// As IAM has them.
const NAME_BYTES_MAX: usize = 64;
/// As IAM has them.
const PATH_BYTES_MAX: usize = 512;
/// As STS has them.
const EXTERNAL_ID_BYTES_MAX: usize = 1_224;
/// 30 for the name, and a project with its domain; no address is near it.
const ACCOUNT_BYTES_MAX: usize = 256;
/// How the domains of service accounts end.
const ACCOUNT_DOMAIN: &str = ".gserviceaccount.com";
const ARN_FORM: &str = "arn:aws:iam::123456789012:role/name";
const ACCOUNT_FORM: &str = "name@project.iam.gserviceaccount.com";
