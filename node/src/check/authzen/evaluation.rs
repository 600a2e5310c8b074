//! The evaluation endpoints: one question, or many that are decided on one view.

use std::sync::Arc;

use grantd_catalog::decide::{Explanation, Missing, Reason, explain, explain_grant_option};
use grantd_catalog::grant::AclEntry;
use grantd_catalog::id::{PrincipalId, Version};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::Refusal;
use grantd_catalog::view::View;
use hyper::StatusCode;
use serde::Serialize;

use super::entity::{self, Unknown};
use super::request::{EVALUATIONS_MAX, Evaluation, Evaluations, Fresh, Object, Semantic, read};
use super::{Checks, Fault};
use crate::check::{Check, may_ask, may_ask_about_all};
use crate::gate::Gate;
use crate::http::Asked;
use crate::http::answer::{Answer, json};
use crate::http::caller::Caller;

/// The standard's decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Decision {
    pub decision: bool,
    pub context: Why,
}

/// What is said beside a decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Why {
    /// Of the catalog that it was decided on.
    pub version: u64,
    /// Why it is a no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The same, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Why this evaluation of a batch was not decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Error>,
    /// Why it is decided so, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explain: Option<Explained>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Error {
    pub status: u16,
    pub message: String,
}

/// The reasons of a decision, as `catalog::decide` explains them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Explained {
    /// Of a yes; each is enough.
    Reasons(Vec<Way>),
    /// Of a no: what would make it a yes.
    Missing(Lack),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Way {
    /// `public`, `superuser`, `owner` or `grant`.
    through: &'static str,
    /// From the subject to whoever has the right, each belonging directly to the next.
    path: Vec<String>,
    /// What was granted there.
    #[serde(skip_serializing_if = "Option::is_none")]
    granted: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Lack {
    /// `grant`; or `nothing`: no grant of it can be made.
    what: &'static str,
    /// To whom it could be granted, the nearest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    to: Vec<String>,
    /// Who owns the resource.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<String>,
}

#[derive(Serialize)]
struct Decisions {
    evaluations: Vec<Decision>,
}

pub(super) async fn answer_one(checks: &Checks, caller: &Caller, asked: &Asked) -> Result<Answer, Fault> {
    one(checks, caller, &read(asked)?).await
}

pub(super) async fn answer_all(checks: &Checks, caller: &Caller, asked: &Asked) -> Result<Answer, Fault> {
    let mut batch: Evaluations = read(asked)?;
    let items = batch.evaluations.take().unwrap_or_default();
    if items.is_empty() {
        let Evaluations { subject, action, resource, context, .. } = batch;
        return one(checks, caller, &Evaluation { subject, action, resource, context }).await;
    }
    if items.len() > EVALUATIONS_MAX {
        let count = items.len();
        let message = format!("{count} evaluations in one request; at most {EVALUATIONS_MAX} are decided");
        return Err(Fault::Malformed(message));
    }
    checks.pay(caller, items.len())?;
    let contexts = items.iter().map(|Object(item)| &item.context).chain([&batch.context]);
    let view = pinned(&checks.gate, Fresh::of(contexts)).await?;
    let semantic =
        batch.options.as_ref().and_then(|Object(options)| options.evaluations_semantic).unwrap_or_default();
    let mut evaluations = Vec::with_capacity(items.len());
    for Object(item) in &items {
        let decision = in_batch(&view, caller, &batch.with_defaults(item));
        let last = match semantic {
            Semantic::ExecuteAll => false,
            Semantic::DenyOnFirstDeny => !decision.decision,
            Semantic::PermitOnFirstPermit => decision.decision,
        };
        evaluations.push(decision);
        if last {
            break;
        }
    }
    Ok(json(StatusCode::OK, &Decisions { evaluations }))
}

async fn one(checks: &Checks, caller: &Caller, asked: &Evaluation) -> Result<Answer, Fault> {
    checks.pay(caller, 1)?;
    let view = pinned(&checks.gate, Fresh::of([&asked.context].into_iter())).await?;
    Ok(json(StatusCode::OK, &decide(&view, caller, asked)?))
}

/// One view for a whole request.
pub(super) async fn pinned(gate: &Gate, fresh: Fresh) -> Result<Arc<View>, Refusal> {
    if let Some(version) = fresh.at_least {
        drop(gate.at_least(version).await?);
    }
    if fresh.linearizable { gate.asked().await } else { gate.pinned_view().await }
}

/// What is wrong with one of a batch is said in its place, and the others are decided.
fn in_batch(view: &View, caller: &Caller, asked: &Evaluation) -> Decision {
    decide(view, caller, asked).unwrap_or_else(|fault| {
        let (status, message) = match fault {
            Fault::Malformed(message) => (StatusCode::BAD_REQUEST, message),
            Fault::Refused(refusal) => (StatusCode::FORBIDDEN, refusal.message),
            Fault::TooMany(later) => (StatusCode::TOO_MANY_REQUESTS, later.refusal().message),
        };
        let error = Some(Error { status: status.as_u16(), message });
        let version = view.version().0;
        Decision {
            decision: false,
            context: Why { version, reason: Some("error"), message: None, error, explain: None },
        }
    })
}

/// Decides. A fault: it is not whole, or `caller` may not ask it.
pub(super) fn decide(view: &View, caller: &Caller, asked: &Evaluation) -> Result<Decision, Fault> {
    let (subject_kind, subject) = entity::whole("subject", asked.subject.as_ref())?;
    let (action, option) = entity::named(asked.action.as_ref())?;
    let (resource_kind, resource) = entity::whole("resource", asked.resource.as_ref())?;
    let explained = asked.context.as_ref().and_then(|Object(context)| context.explain).unwrap_or(false);
    let subject = askable(view, caller, entity::subject(view, subject_kind, subject))?;
    let understood = subject.and_then(|subject| {
        let kind = entity::resource_kind(resource_kind)?;
        let act = entity::act(kind, action, option)?;
        Ok((act, subject, entity::resource(view, kind, resource)?))
    });
    let version = view.version();
    let (act, subject, resource) = match understood {
        Ok(understood) => understood,
        Err(unknown) => return Ok(no(version, unknown.reason, unknown.message)),
    };
    let check = act.check(subject, resource);
    let decision = check.is_some_and(|check| check.decide(view));
    let (reason, message) = if decision {
        (None, None)
    } else {
        let (word, name) = (act.word(), view.state().principal_name(subject));
        (Some("not_held"), Some(format!("{name} does not hold {word} on this {resource_kind}")))
    };
    let explain = check.filter(|_| explained).and_then(|check| explanation(view, &check));
    Ok(Decision { decision, context: Why { version: version.0, reason, message, error: None, explain } })
}

/// That `caller` may ask about a subject. Who may not ask about others is not told whether there is such a one.
pub(super) fn askable(
    view: &View,
    caller: &Caller,
    subject: Result<PrincipalId, Unknown>,
) -> Result<Result<PrincipalId, Unknown>, Fault> {
    if may_ask_about_all(view, caller.principal) {
        return Ok(subject);
    }
    may_ask(view, caller.principal, subject.as_ref().map_or(PrincipalId::EVERYBODY, |found| *found))?;
    Ok(subject)
}

fn no(version: Version, reason: &'static str, message: String) -> Decision {
    let version = version.0;
    let context = Why { version, reason: Some(reason), message: Some(message), error: None, explain: None };
    Decision { decision: false, context }
}

/// Why a check is decided as it is. None: of memberships there is nothing to explain but the edges themselves.
fn explanation(view: &View, check: &Check) -> Option<Explained> {
    let explanation = match *check {
        Check::Holds { subject, privilege, object } => explain(view, subject, object, privilege),
        Check::HoldsGrantOption { subject, privilege, object } => {
            explain_grant_option(view, subject, object, privilege)
        }
        Check::Member { .. } | Check::AdminOption { .. } => return None,
    };
    let name = |id: &PrincipalId| view.state().principal_name(*id).as_str().to_owned();
    let names = |ids: &[PrincipalId]| ids.iter().map(name).collect::<Vec<_>>();
    let words =
        |entry: &AclEntry| Some(entry.privileges.iter().map(Privilege::word).collect::<Vec<_>>().join(", "));
    let way = |reason: &Reason| {
        let (through, granted) = match reason {
            Reason::Public { entry } => ("public", words(entry)),
            Reason::Superuser { .. } => ("superuser", None),
            Reason::Owner { .. } => ("owner", None),
            Reason::Granted { entry, .. } => ("grant", words(entry)),
        };
        Way { through, path: names(reason.path()), granted }
    };
    Some(match &explanation {
        Explanation::Allow(reasons) => Explained::Reasons(reasons.iter().map(way).collect()),
        Explanation::Deny(Missing::Grant { to, owner }) => {
            Explained::Missing(Lack { what: "grant", to: names(to), owner: owner.as_ref().map(name) })
        }
        Explanation::Deny(
            Missing::Object | Missing::Principal | Missing::NotGrantable | Missing::OfSystem,
        ) => Explained::Missing(Lack { what: "nothing", to: Vec::new(), owner: None }),
    })
}
