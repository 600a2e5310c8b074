//! The service that gives credentials: AssumeRole, AssumeRoleWithWebIdentity, GetCallerIdentity.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use hyper::http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode, Uri};
use s3s::route::S3Route;
use s3s::{Body, S3Request, S3Response, S3Result};

use super::Shared;
use super::s3::{Passing, session_token};
use super::state::{Keys, Known, Opening, State, Unknown};
use crate::cloud::iam::{self, Ask, Caller, Policy};
use crate::cloud::token::{issuer_of, seconds};
use crate::cloud::wire::{self, escape, iso};

/// The most bytes of a request. That of `s3s` for a signed one.
const BODY_BYTES_MAX: usize = 8_192;
/// The most characters of a session policy.
const POLICY_MAX: usize = 2_048;
const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// The service, as a route of `s3s`, which has checked the signature if there is one.
pub(super) struct Sts(pub(super) Arc<Shared>);

/// A refusal as AWS has it.
struct Refused {
    status: u16,
    code: &'static str,
    message: String,
}

type Answer = Result<String, Refused>;

/// Whether a request is one to this service: those to S3 with a form are of another kind.
pub(super) fn is_meant(method: &Method, path: &str, headers: &HeaderMap) -> bool {
    let form = headers
        .get("content-type")
        .is_some_and(|value| value.as_bytes().starts_with(b"application/x-www-form-urlencoded"));
    method == Method::POST && path == "/" && form
}

/// A refusal, as the body of an answer.
pub(super) fn refusal(code: &str, message: &str) -> String {
    let kind = if matches!(code, "InternalFailure" | "ServiceUnavailable") { "Receiver" } else { "Sender" };
    format!(
        "<ErrorResponse xmlns=\"{NAMESPACE}\"><Error><Type>{kind}</Type><Code>{code}</Code><Message>{}</Message></Error><RequestId>0</RequestId></ErrorResponse>",
        escape(message)
    )
}

/// What `s3s` refuses before this service is asked, in the words of this service.
pub(super) fn translated(code: &str, message: &str) -> (u16, String) {
    match code {
        "InvalidAccessKeyId" => (403, refusal("InvalidClientTokenId", INVALID_TOKEN)),
        "SignatureDoesNotMatch" => (403, refusal("SignatureDoesNotMatch", SIGNATURE)),
        code => (400, refusal(code, message)),
    }
}

const INVALID_TOKEN: &str = "The security token included in the request is invalid.";
const SIGNATURE: &str = "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";

/// The fields of a request.
struct Form(Vec<(String, String)>);

impl Form {
    fn find(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find_map(|(known, value)| (known == name && !value.is_empty()).then_some(value.as_str()))
    }

    /// One that must be there, of this many characters of these.
    fn text(&self, field: &str, least: usize, most: usize, further: &str) -> Result<Option<&str>, Refused> {
        let Some(value) = self.find(field) else { return Ok(None) };
        let name = field[..1].to_lowercase() + &field[1..];
        let wrong = |constraint: String| {
            invalid(format!(
                "1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: {constraint}"
            ))
        };
        if value.len() < least {
            return Err(wrong(format!("Member must have length greater than or equal to {least}")));
        }
        if value.len() > most {
            return Err(wrong(format!("Member must have length less than or equal to {most}")));
        }
        if !value.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c) || further.contains(c)) {
            return Err(wrong(format!(
                "Member must satisfy regular expression pattern: [\\w+=,.@{further}-]*"
            )));
        }
        Ok(Some(value))
    }

    fn required(&self, field: &str) -> Result<&str, Refused> {
        let name = field[..1].to_lowercase() + &field[1..];
        self.find(field).ok_or_else(|| {
            invalid(format!(
                "1 validation error detected: Value null at '{name}' failed to satisfy constraint: Member must not be null"
            ))
        })
    }
}

fn invalid(message: String) -> Refused {
    Refused { status: 400, code: "ValidationError", message }
}

#[async_trait]
impl S3Route for Sts {
    fn is_match(&self, method: &Method, uri: &Uri, headers: &HeaderMap, _: &mut Extensions) -> bool {
        is_meant(method, uri.path(), headers)
    }

    /// A token is shown without a signature.
    async fn check_access(&self, _: &mut S3Request<Body>) -> S3Result<()> {
        Ok(())
    }

    async fn call(&self, mut request: S3Request<Body>) -> S3Result<S3Response<Body>> {
        let body = request.input.store_all_limited(BODY_BYTES_MAX).await.unwrap_or_default();
        let form = Form(wire::form(&String::from_utf8_lossy(&body)));
        let (status, body) = match self.answer(&request, &form) {
            Ok(body) => (200, body),
            Err(Refused { status, code, message }) => (status, refusal(code, &message)),
        };
        let status = StatusCode::from_u16(status).expect("a status");
        let mut response = S3Response::with_status(Body::from(body), status);
        response.headers.insert("content-type", HeaderValue::from_static("text/xml"));
        Ok(response)
    }
}

impl Sts {
    fn answer(&self, request: &S3Request<Body>, form: &Form) -> Answer {
        let passing = request.extensions.get::<Passing>().expect("front put it there");
        let text = |name: &str| form.find(name).map(str::to_owned);
        passing.note(|record| {
            record.operation = text("Action").unwrap_or_default();
            record.resource = text("RoleArn").unwrap_or_default();
            record.session_name = text("RoleSessionName");
            record.source_identity = text("SourceIdentity");
            record.external_id_sha256 = form.find("ExternalId").map(|id| wire::sha256(id.as_bytes()));
            record.session_policy = text("Policy");
            record.duration_seconds = form.find("DurationSeconds").and_then(|text| text.parse().ok());
        });
        match form.find("Action") {
            Some("AssumeRoleWithWebIdentity") => self.assume_with_token(form, passing.began),
            Some("AssumeRole") => {
                let known = self.signed(request, passing)?;
                self.assume(form, &known, passing)
            }
            Some("GetCallerIdentity") => {
                let known = self.signed(request, passing)?;
                let (arn, account) = (known.caller.arn(), known.caller.account());
                Ok(format!(
                    "<GetCallerIdentityResponse xmlns=\"{NAMESPACE}\"><GetCallerIdentityResult><Arn>{}</Arn><UserId>AIDAEXAMPLE</UserId><Account>{account}</Account></GetCallerIdentityResult>{METADATA}</GetCallerIdentityResponse>",
                    escape(arn)
                ))
            }
            other => Err(Refused {
                status: 400,
                code: "InvalidAction",
                message: format!(
                    "Could not find operation {} for version 2011-06-15",
                    other.unwrap_or_default()
                ),
            }),
        }
    }

    /// Who signed.
    fn signed(&self, request: &S3Request<Body>, passing: &Passing) -> Result<Known, Refused> {
        let Some(credentials) = &request.credentials else {
            let message = "Request is missing Authentication Token".to_owned();
            return Err(Refused { status: 403, code: "MissingAuthenticationToken", message });
        };
        if request.service.as_deref() != Some("sts") {
            let message = "Credential should be scoped to correct service: 'sts'.".to_owned();
            return Err(Refused { status: 403, code: "SignatureDoesNotMatch", message });
        }
        let token = session_token(&request.headers, request.uri.query());
        let who = self.0.state().who(&credentials.access_key, token.as_deref(), passing.began);
        let known = who.map_err(|why| match why {
            Unknown::Key | Unknown::Token => {
                Refused { status: 403, code: "InvalidClientTokenId", message: INVALID_TOKEN.to_owned() }
            }
            Unknown::Expired => {
                let message = "The security token included in the request is expired".to_owned();
                Refused { status: 403, code: "ExpiredToken", message }
            }
        })?;
        passing.note(|record| record.who = Some(known.caller.arn().to_owned()));
        Ok(known)
    }

    fn assume(&self, form: &Form, known: &Known, passing: &Passing) -> Answer {
        let role = form.required("RoleArn")?;
        form.required("RoleSessionName")?;
        let name = form.text("RoleSessionName", 2, 64, "")?.unwrap_or_default();
        let external_id = form.text("ExternalId", 2, 1_224, ":/")?;
        let said = form.text("SourceIdentity", 2, 64, "")?;
        let asked = self.duration(form)?;
        let policy = session_policy(form)?;
        let source_identity = known.source_identity.clone().or_else(|| said.map(str::to_owned));
        passing.note(|record| record.source_identity.clone_from(&source_identity));
        let mut context = Vec::new();
        context.extend(external_id.map(|id| ("sts:ExternalId", id.to_owned())));
        context.extend(source_identity.clone().map(|source| ("sts:SourceIdentity", source)));
        context.extend(known.source_identity.clone().map(|source| ("aws:SourceIdentity", source)));
        context.push(("sts:RoleSessionName", name.to_owned()));
        let mut state = self.0.state();
        // Once said it stays, through all further roles; each must allow it.
        let changed = said.is_some() && known.source_identity.as_deref().is_some_and(|old| Some(old) != said);
        let actions = ["sts:AssumeRole", "sts:SetSourceIdentity"];
        for action in &actions[..if source_identity.is_some() { 2 } else { 1 }] {
            let ask = Ask { action, resource: role, context: &context };
            if changed || !state.may_assume(known, &ask) {
                let message = format!(
                    "User: {} is not authorized to perform: {action} on resource: {role}",
                    known.caller.arn()
                );
                return Err(Refused { status: 403, code: "AccessDenied", message });
            }
        }
        let chained = matches!(known.caller, Caller::Session { .. });
        self.within(&state, role, asked, chained)?;
        let opening = Opening { name, policy, source_identity: source_identity.clone() };
        let (keys, arn) = state.session(role, opening, passing.began, self.0.rules.lasting.unwrap_or(asked));
        drop(state);
        let source =
            source_identity.map(|source| format!("<SourceIdentity>{}</SourceIdentity>", escape(&source)));
        let (session, source) = (session_xml(&keys, &arn, name), source.unwrap_or_default());
        Ok(format!(
            "<AssumeRoleResponse xmlns=\"{NAMESPACE}\"><AssumeRoleResult>{session}{source}</AssumeRoleResult>{METADATA}</AssumeRoleResponse>"
        ))
    }

    fn assume_with_token(&self, form: &Form, began: SystemTime) -> Answer {
        let role = form.required("RoleArn")?;
        let token = form.required("WebIdentityToken")?;
        form.required("RoleSessionName")?;
        let name = form.text("RoleSessionName", 2, 64, "")?.unwrap_or_default();
        let asked = self.duration(form)?;
        let policy = session_policy(form)?;
        let mut state = self.0.state();
        let Shown { host, subject, audience } = shown(&state, token, began)?;
        let provider = format!("arn:aws:iam::{}:oidc-provider/{host}", iam::account(role));
        let (sub, aud) = (format!("{host}:sub"), format!("{host}:aud"));
        let context = [(sub.as_str(), subject.clone()), (aud.as_str(), audience.clone())];
        let caller = Caller::Federated(provider.clone());
        let ask = Ask { action: "sts:AssumeRoleWithWebIdentity", resource: role, context: &context };
        let trusted = state
            .roles
            .get(role)
            .is_some_and(|known| known.trust.trusts(&caller, &ask).0 == iam::Verdict::Allow);
        if !trusted {
            let message = "Not authorized to perform sts:AssumeRoleWithWebIdentity".to_owned();
            return Err(Refused { status: 403, code: "AccessDenied", message });
        }
        self.within(&state, role, asked, false)?;
        let opening = Opening { name, policy, source_identity: None };
        let (keys, arn) = state.session(role, opening, began, self.0.rules.lasting.unwrap_or(asked));
        drop(state);
        let (subject, audience) = (escape(&subject), escape(&audience));
        Ok(format!(
            "<AssumeRoleWithWebIdentityResponse xmlns=\"{NAMESPACE}\"><AssumeRoleWithWebIdentityResult>{}<Audience>{audience}</Audience><SubjectFromWebIdentityToken>{subject}</SubjectFromWebIdentityToken><Provider>{provider}</Provider></AssumeRoleWithWebIdentityResult>{METADATA}</AssumeRoleWithWebIdentityResponse>",
            session_xml(&keys, &arn, name)
        ))
    }

    /// How long a session is asked for.
    fn duration(&self, form: &Form) -> Result<Duration, Refused> {
        let Some(text) = form.find("DurationSeconds") else { return Ok(Duration::from_secs(3_600)) };
        let wrong = |what: String| {
            invalid(format!(
                "1 validation error detected: Value '{text}' at 'durationSeconds' failed to satisfy constraint: {what}"
            ))
        };
        let asked = text.parse().map_err(|_| wrong("Member must be an integer".into()))?;
        let (least, most) = (self.0.rules.shortest.as_secs(), 43_200);
        match asked {
            asked if asked < least => {
                Err(wrong(format!("Member must have value greater than or equal to {least}")))
            }
            asked if asked > most => {
                Err(wrong(format!("Member must have value less than or equal to {most}")))
            }
            asked => Ok(Duration::from_secs(asked)),
        }
    }

    /// Whether a role gives so long a session.
    fn within(&self, state: &State, role: &str, asked: Duration, chained: bool) -> Result<(), Refused> {
        let limit = |text: &str| Err(invalid(format!("The requested DurationSeconds exceeds the {text}")));
        if chained && asked > self.0.rules.chained_longest {
            return limit("1 hour session limit for roles assumed by role chaining.");
        }
        if state.roles.get(role).is_some_and(|role| asked > role.max_session) {
            return limit("MaxSessionDuration set for this role.");
        }
        Ok(())
    }
}

const METADATA: &str = "<ResponseMetadata><RequestId>0</RequestId></ResponseMetadata>";

/// What a token shows.
struct Shown {
    host: String,
    subject: String,
    audience: String,
}

fn shown(state: &State, token: &str, at: SystemTime) -> Result<Shown, Refused> {
    let refused = |code, message: String| Refused { status: 400, code, message };
    let wrong = |message: &str| refused("InvalidIdentityToken", message.to_owned());
    let Some(url) = issuer_of(token) else {
        return Err(wrong(
            "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
        ));
    };
    let Some((verifier, audiences)) = state.issuers.get(&url) else {
        return Err(wrong(&format!("No OpenIDConnect provider found in your account for {url}")));
    };
    let Some(claims) = verifier.claims(token) else {
        return Err(wrong(
            "Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements",
        ));
    };
    if seconds(at) >= claims.expires {
        return Err(refused(
            "ExpiredTokenException",
            format!(
                "Token expired: current date/time {} must be before the expiration date/time {}",
                seconds(at),
                claims.expires
            ),
        ));
    }
    let Some(audience) = claims.audience.iter().find(|audience| audiences.contains(audience)) else {
        return Err(wrong("Incorrect token audience"));
    };
    let host = url.trim_start_matches("https://").trim_start_matches("http://").to_owned();
    Ok(Shown { host, subject: claims.subject, audience: audience.clone() })
}

fn session_policy(form: &Form) -> Result<Option<Policy>, Refused> {
    let Some(text) = form.find("Policy") else { return Ok(None) };
    if text.chars().count() > POLICY_MAX {
        return Err(invalid(format!(
            "1 validation error detected: Value at 'policy' failed to satisfy constraint: Member must have length less than or equal to {POLICY_MAX}"
        )));
    }
    let policy = Policy::parse(text).map_err(|why| Refused {
        status: 400,
        code: "MalformedPolicyDocument",
        message: format!("The policy is not in the valid JSON format. ({why})"),
    })?;
    Ok(Some(policy))
}

fn session_xml(keys: &Keys, arn: &str, name: &str) -> String {
    format!(
        "<AssumedRoleUser><AssumedRoleId>AROAEXAMPLE:{name}</AssumedRoleId><Arn>{}</Arn></AssumedRoleUser><Credentials><AccessKeyId>{}</AccessKeyId><SecretAccessKey>{}</SecretAccessKey><SessionToken>{}</SessionToken><Expiration>{}</Expiration></Credentials>",
        escape(arn),
        keys.access_key_id,
        keys.secret_access_key,
        keys.session_token.as_deref().unwrap_or_default(),
        iso(keys.expires.expect("a session has an end")),
    )
}
