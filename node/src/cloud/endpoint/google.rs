//! Google's contract: what libraries ask of the metadata server at `GCE_METADATA_HOST`. Tokens, the account and the project, and
//! nothing else of a machine; no identity tokens.
//! Source: the metadata server's documentation, and what google-auth (Python, Go) asks when it looks where it is.

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::answer::{Answer, Kind, No, body};
use super::lend::{Lender, Lent, Record};
use super::{Asked, in_time};
use crate::cloud::chain::Step;
use crate::cloud::lease::Material;

const FLAVOR: HeaderName = HeaderName::from_static("metadata-flavor");
const GOOGLE: HeaderValue = HeaderValue::from_static("Google");
const TEXT: &str = "application/text";
const JSON: &str = "application/json";
const ROOT: &str = "/computeMetadata/v1";
const ACCOUNTS: &str = "/instance/service-accounts";
/// What Google calls its own cloud. Libraries ask, to know that it is no other one.
const UNIVERSE: &str = "googleapis.com";
/// How an account's address ends, behind its project.
const OF_PROJECT: &str = ".iam.gserviceaccount.com";
/// What a confined token without an account that is known is called.
const DEFAULT: &str = "default";

/// That it is meant for a metadata server: no web page can make somebody's browser send this field.
pub(super) fn is_meant(asked: &Asked) -> Result<(), No> {
    match asked.head.headers.get(FLAVOR) {
        Some(flavor) if flavor == GOOGLE => Ok(()),
        Some(_) | None => Err(No::new(Kind::Denied, "Missing Metadata-Flavor:Google header.")),
    }
}

pub(super) async fn answer(lender: &Lender, record: &Record, asked: &Asked, late: impl Fn() -> No) -> Answer {
    match said(lender, asked, late).await {
        Ok(Said { kind, text, lent }) => {
            if let Some(lent) = lent {
                record.note(Some(lender), asked.client, &Ok(lent));
            }
            flavored(body(StatusCode::OK, kind, text))
        }
        // Libraries look for much that a machine of Google's has.
        Err(no) if no.kind == Kind::Unknown => refused(&no),
        Err(no) => {
            let answer = refused(&no);
            record.note(Some(lender), asked.client, &Err(no));
            answer
        }
    }
}

/// What is at a path.
struct Said {
    kind: &'static str,
    text: String,
    /// What is given away with it.
    lent: Option<Lent>,
}

async fn said(lender: &Lender, asked: &Asked, late: impl Fn() -> No) -> Result<Said, No> {
    let nothing = || No::new(Kind::Unknown, "there is nothing at this path");
    let path = asked.path();
    let is_recursive = asked
        .head
        .uri
        .query()
        .is_some_and(|query| query.split('&').any(|word| word.eq_ignore_ascii_case("recursive=true")));
    let text = |text: String| Ok(Said { kind: TEXT, text, lent: None });
    let json = |value: &Value| Ok(Said { kind: JSON, text: value.to_string(), lent: None });
    if path == "/" {
        return text("computeMetadata/\n".to_owned());
    }
    let below = path.strip_prefix(ROOT).ok_or_else(nothing)?;
    match below {
        "" | "/" => return text("instance/\nproject/\nuniverse/\n".to_owned()),
        "/instance/" => return text("service-accounts/\n".to_owned()),
        "/project/" => return text("project-id\n".to_owned()),
        "/universe/universe-domain" => return text(UNIVERSE.to_owned()),
        _ => {}
    }
    let is_project = below == "/project/project-id";
    if !is_project && !below.starts_with(ACCOUNTS) {
        return Err(nothing());
    }
    let lent = in_time(lender.lend(), late).await?;
    let account = account(&lent);
    if is_project {
        let project = account.split_once('@').and_then(|(_, domain)| domain.strip_suffix(OF_PROJECT));
        return text(project.ok_or_else(nothing)?.to_owned());
    }
    let of_accounts = below[ACCOUNTS.len()..].trim_start_matches('/');
    let scopes = scopes(&lent);
    let all = json!({ "aliases": [DEFAULT], "email": account, "scopes": scopes });
    let (name, what) = of_accounts.split_once('/').unwrap_or((of_accounts, ""));
    match (name, what) {
        ("", _) if is_recursive => json(&json!({ DEFAULT: all })),
        ("", _) => text(format!("{DEFAULT}/\n{account}/\n")),
        (name, _) if name != DEFAULT && name != account => Err(nothing()),
        (_, "") if is_recursive => json(&all),
        (_, "") => text("aliases\nemail\nscopes\ntoken\n".to_owned()),
        (_, "aliases") => text(format!("{DEFAULT}\n")),
        (_, "email") => text(account),
        (_, "scopes") => text(scopes.join("\n") + "\n"),
        (_, "token") => {
            let token = token(&lent)?;
            Ok(Said { lent: Some(lent), ..json(&token)? })
        }
        _ => Err(nothing()),
    }
}

fn token(lent: &Lent) -> Result<Value, No> {
    let Material::Bearer(bearer) = &lent.lease.material else {
        let message = "this entry leads to AWS, which is asked for with a token over `cloud_endpoint_listen`";
        return Err(No::new(Kind::Denied, message));
    };
    Ok(json!({
        "access_token": bearer.token.expose(),
        "expires_in": lent.good_for.as_secs(),
        "token_type": "Bearer",
    }))
}

/// Whose token it is.
fn account(lent: &Lent) -> String {
    let impersonated = lent.chain.steps().iter().rev().find_map(|step| match step {
        Step::Impersonate(step) => Some(step.target.clone()),
        Step::Source(_) | Step::AssumeRole(_) | Step::Confine(_) => None,
    });
    let known = || match &lent.lease.material {
        Material::Bearer(bearer) => bearer.account.clone(),
        Material::Aws(_) => None,
    };
    impersonated.or_else(known).unwrap_or_else(|| DEFAULT.to_owned())
}

fn scopes(lent: &Lent) -> Vec<String> {
    let asked = lent.chain.steps().iter().rev().find_map(|step| match step {
        Step::Impersonate(step) => Some(step.scopes.clone()),
        Step::Source(_) | Step::AssumeRole(_) | Step::Confine(_) => None,
    });
    asked.unwrap_or_else(|| vec!["https://www.googleapis.com/auth/cloud-platform".to_owned()])
}

pub(super) fn refused(no: &No) -> Answer {
    flavored(body(no.kind.status(), TEXT, format!("{}\n", no.message)))
}

/// Libraries take it for a metadata server by this.
fn flavored(mut answer: Answer) -> Answer {
    answer.headers_mut().insert(FLAVOR, GOOGLE);
    answer
}
