//! Answers, and why there is none.

use bytes::Bytes;
use grantd_catalog::refusal::Refusal;
use http_body_util::Full;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// An answer whose body is whole.
pub(super) type Answer = Response<Full<Bytes>>;

/// Why nothing is given, in words without a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct No {
    pub(super) kind: Kind,
    pub(super) message: String,
}

/// By what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It is no request of a contract.
    Malformed,
    /// It is no GET.
    Method,
    /// There is nothing at this path.
    Unknown,
    /// Who asks did not show who it is, or is somebody else.
    Unauthenticated,
    /// The principal may not, or the cloud does not let this node.
    Denied,
    /// Too many requests.
    Limited,
    /// Nobody can say now, or nothing is there now: ask again.
    Unavailable,
}

impl No {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// With the way out, if there is one.
    pub(super) fn of(kind: Kind, refusal: &Refusal) -> Self {
        let more = [&refusal.detail, &refusal.hint].into_iter().flatten();
        let message = more.fold(refusal.message.clone(), |text, more| format!("{text}; {more}"));
        Self { kind, message }
    }
}

impl Kind {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Limited => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// As the SDKs of AWS show it.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::Malformed => "InvalidRequest",
            Self::Method => "MethodNotAllowed",
            Self::Unknown => "NotFound",
            Self::Unauthenticated => "Unauthorized",
            Self::Denied => "AccessDenied",
            Self::Limited => "TooManyRequests",
            Self::Unavailable => "ServiceUnavailable",
        }
    }

    /// In metrics and the audit log.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Malformed | Self::Method | Self::Unknown => "malformed",
            Self::Unauthenticated => "unauthenticated",
            Self::Denied => "denied",
            Self::Limited => "limited",
            Self::Unavailable => "unavailable",
        }
    }
}

/// An answer of this kind, not to be kept by anybody on the way.
pub(super) fn body(status: StatusCode, kind: &'static str, text: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}
