//! OpenID AuthZEN Authorization API 1.0 over HTTPS: evaluations, searches, and where they are.
//!
//! Source: "Authorization API 1.0", OpenID Foundation, final of 11 January 2026, and the certification scenario that belongs
//! to it. `entity` says what the standard's words mean here, `request` reads bodies, `evaluation` and `search` answer.
//! What is documented for users is in `docs/checks.md`.
//!
//! A request is decided on one view ([`Gate::pinned_view`]); whoever asks is decided anew with each request (`node::http`), and
//! whether it may ask about the subject on that same view.

mod entity;
mod evaluation;
mod request;
mod search;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Instant;

use grantd_catalog::refusal::{Refusal, state};
use hyper::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER, VARY};
use hyper::{Method, StatusCode};
use serde_json::json;

use crate::check::rate::{Rates, RetryAfter};
use crate::gate::Gate;
use crate::http::answer::{Answer, json, refusal, refused, unavailable};
use crate::http::caller::Caller;
use crate::http::{Asked, Route};

pub use self::request::EVALUATIONS_MAX;
pub use self::search::{KEPT_MAX, KEPT_TIME_MAX, RESULTS_MAX, SCANNED_MAX};

use self::search::{Kept, Sought};

const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";
const SEARCHES: [(&str, Sought); 3] = [
    ("/access/v1/search/subject", Sought::Subject),
    ("/access/v1/search/resource", Sought::Resource),
    ("/access/v1/search/action", Sought::Action),
];
const WELL_KNOWN: &str = "/.well-known/authzen-configuration";
/// What clients may keep the metadata for: an hour. It changes with the release only.
const METADATA_CACHE: &str = "public, max-age=3600";

/// What its answers are made with.
struct Checks {
    gate: Gate,
    rates: Arc<Rates>,
    kept: Kept,
}

impl Checks {
    /// Takes `count` checks of those that a caller may ask.
    fn pay(&self, caller: &Caller, count: usize) -> Result<(), Fault> {
        self.rates.take(caller.principal, count, Instant::now()).map_err(Fault::TooMany)
    }
}

/// The standard's routes.
pub fn routes(gate: &Gate, rates: &Arc<Rates>) -> Vec<Route> {
    let checks = Arc::new(Checks { gate: gate.clone(), rates: Arc::clone(rates), kept: Kept::default() });
    let (one, all) = (Arc::clone(&checks), Arc::clone(&checks));
    let searches = SEARCHES.map(|(path, sought)| {
        let checks = Arc::clone(&checks);
        Route::known(Method::POST, path, move |caller, asked| {
            let checks = Arc::clone(&checks);
            async move { told(search::answer(&checks, &caller, sought, &asked).await) }
        })
    });
    let mut routes = vec![
        Route::known(Method::POST, EVALUATION, move |caller, asked| {
            let checks = Arc::clone(&one);
            async move { told(evaluation::answer_one(&checks, &caller, &asked).await) }
        }),
        Route::known(Method::POST, EVALUATIONS, move |caller, asked| {
            let checks = Arc::clone(&all);
            async move { told(evaluation::answer_all(&checks, &caller, &asked).await) }
        }),
        Route::open(Method::GET, WELL_KNOWN, |asked| async move { metadata(&asked) }),
    ];
    routes.extend(searches);
    routes
}

/// Why a request as a whole has no answer.
enum Fault {
    /// It is not what the standard describes.
    Malformed(String),
    /// The catalog or the cluster says no.
    Refused(Refusal),
    /// More than the caller may ask now.
    TooMany(RetryAfter),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

fn told(answered: Result<Answer, Fault>) -> Answer {
    answered.unwrap_or_else(|fault| match fault {
        Fault::Malformed(message) => refused(StatusCode::BAD_REQUEST, &message),
        Fault::Refused(no) if no.code == state::INSUFFICIENT_PRIVILEGE => refusal(StatusCode::FORBIDDEN, &no),
        Fault::TooMany(later) => {
            let mut answer = refusal(StatusCode::TOO_MANY_REQUESTS, &later.refusal());
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(later.seconds()));
            answer
        }
        // All that the gate refuses while it finds a view: no leader, no quorum, too late.
        Fault::Refused(no) => unavailable(&no),
    })
}

/// Where what is. The identifier must be the address that the client used, and only the client knows that: a node has as
/// many names as its certificate.
fn metadata(asked: &Asked) -> Answer {
    let is_host = |host: &&String| {
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
    };
    let Some(host) = asked.host.as_ref().filter(is_host) else {
        return refused(StatusCode::BAD_REQUEST, "the Host header must name this node");
    };
    let at = |path: &str| format!("https://{host}{path}");
    let mut answer = json(
        StatusCode::OK,
        &json!({
            "policy_decision_point": at(""),
            "access_evaluation_endpoint": at(EVALUATION),
            "access_evaluations_endpoint": at(EVALUATIONS),
            "search_subject_endpoint": at(SEARCHES[0].0),
            "search_resource_endpoint": at(SEARCHES[1].0),
            "search_action_endpoint": at(SEARCHES[2].0),
        }),
    );
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(METADATA_CACHE));
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Host"));
    answer
}
