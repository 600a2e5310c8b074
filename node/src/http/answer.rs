//! Answers, ready to be sent.

use bytes::Bytes;
use grantd_catalog::refusal::Refusal;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

/// An answer whose body is whole.
pub type Answer = Response<Full<Bytes>>;

/// An answer of this kind, not to be kept by anybody on the way.
pub fn body(status: StatusCode, kind: &'static str, bytes: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(bytes));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// `value`, as JSON.
pub fn json<T: Serialize>(status: StatusCode, value: &T) -> Answer {
    match serde_json::to_vec(value) {
        Ok(bytes) => body(status, "application/json", bytes.into()),
        Err(error) => refused(StatusCode::INTERNAL_SERVER_ERROR, &format!("an answer is no JSON: {error}")),
    }
}

/// Says why there is no answer: `{"error": …}`.
pub fn refused(status: StatusCode, message: &str) -> Answer {
    let text = json!({ "error": message }).to_string();
    body(status, "application/json", text.into())
}

/// Says why there is no answer, with what the refusal says further. The refusal stays with the answer, to be recorded.
pub fn refusal(status: StatusCode, refusal: &Refusal) -> Answer {
    let mut value = json!({ "error": refusal.message, "sqlstate": refusal.code.as_str() });
    for (name, text) in [("detail", &refusal.detail), ("hint", &refusal.hint)] {
        if let (Some(text), Some(object)) = (text, value.as_object_mut()) {
            object.insert(name.to_owned(), text.clone().into());
        }
    }
    let mut answer = body(status, "application/json", value.to_string().into());
    answer.extensions_mut().insert(refusal.clone());
    answer
}

/// The cluster cannot say now.
pub fn unavailable(why: &Refusal) -> Answer {
    refusal(StatusCode::SERVICE_UNAVAILABLE, why)
}
