//! What a failure at AWS means: from codes, statuses and texts to what helps.
//!
//! Pure. Source of the table: cloud-jobs specification, B.6 and F.8.4.

use std::time::Duration;

use crate::cloud::lease::Class;

/// A failure of one call, before it is said which step of which chain it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// What is to be done about it.
    pub class: Class,
    /// The code of the cloud, as `AccessDenied`.
    pub code: Option<String>,
    /// What went wrong, in words; not filtered yet.
    pub text: String,
    /// Not before then again, as the cloud said.
    pub retry_after: Option<Duration>,
}

impl Trouble {
    /// One that the cloud gave no code for.
    pub(super) fn new(class: Class, text: impl Into<String>) -> Self {
        Self { class, code: None, text: text.into(), retry_after: None }
    }
}

/// With what a call proves who asks: the same code means another thing for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Keys of the identity that the chain begins with.
    Source,
    /// The session of a role that was assumed before.
    Session,
    /// A token from a file, without a signature (web identity).
    Token,
}

/// What helps against an answer of STS that is not a success.
pub(super) fn class(code: Option<&str>, status: Option<u16>, text: &str, proof: Proof) -> Class {
    match code {
        Some("AccessDenied" | "AccessDeniedException") => Class::Denied,
        Some("ExpiredToken" | "ExpiredTokenException") if proof == Proof::Token => Class::SourceDead,
        Some("ExpiredToken" | "ExpiredTokenException") => Class::ParentExpired,
        // A session that is not known (any more) is replaced as one that is over; a user's key has to be looked at.
        Some(
            "InvalidClientTokenId" | "UnrecognizedClientException" | "InvalidToken" | "InvalidAccessKeyId",
        ) => match proof {
            Proof::Session => Class::ParentExpired,
            Proof::Source | Proof::Token => Class::SourceDead,
        },
        Some("SignatureDoesNotMatch" | "InvalidSignatureException") if is_about_time(text) => {
            Class::ClockSkew
        }
        Some("SignatureDoesNotMatch" | "InvalidSignatureException") => Class::SourceDead,
        Some("RequestExpired" | "RequestTimeTooSkewed") => Class::ClockSkew,
        Some("InvalidIdentityToken" | "IDPRejectedClaim") => Class::SourceDead,
        Some("IDPCommunicationError") => Class::Network,
        Some(code) if THROTTLED.contains(&code) => Class::Throttled,
        Some(code) if CONFIG.contains(&code) => Class::Config,
        Some(_) | None => match status {
            Some(429) => Class::Throttled,
            Some(500..) | None => Class::Network,
            Some(401 | 403) => Class::Denied,
            Some(_) => Class::Config,
        },
    }
}

/// Whether a refused signature is about the time that it carries, as AWS words it.
fn is_about_time(text: &str) -> bool {
    text.contains("Signature expired") || text.contains("not yet current")
}

/// Codes of too many calls, as the SDK of Rust has them (`THROTTLING_ERRORS`).
const THROTTLED: [&str; 8] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "RequestLimitExceeded",
    "SlowDown",
];

/// Codes of requests that fail until somebody changes something.
const CONFIG: [&str; 9] = [
    "ValidationError",
    "ValidationException",
    "InvalidParameterValue",
    "InvalidParameterCombination",
    "MalformedPolicyDocument",
    "PackedPolicyTooLarge",
    "PackedPolicyTooLargeException",
    "RegionDisabledException",
    "MissingParameter",
];

/// What to look at, beyond what the cloud said. Empty: it said enough.
pub(super) fn advice(code: Option<&str>, text: &str) -> &'static str {
    match code {
        Some("ValidationError" | "ValidationException")
            if text.contains("DurationSeconds") || text.contains("durationSeconds") =>
        {
            "; the cluster setting `cloud.credentials.duration` asks for how long: AWS takes 15 minutes to the \
             role's maximum session duration, and at most 1 hour for a role that is assumed by a role"
        }
        Some("PackedPolicyTooLarge" | "PackedPolicyTooLargeException") => {
            "; a shorter prefix in the URI makes the session policy shorter, and the cluster setting \
             `cloud.session_policy.enabled` = false leaves it out"
        }
        Some("RegionDisabledException") => {
            "; activate STS for this region in the role's account, or set `aws_region` of the node to another one"
        }
        Some("InvalidIdentityToken") => {
            "; look at the identity provider of the role's account: its URL must be the token's issuer, and \
             its audiences must have the token's (`sts.amazonaws.com`)"
        }
        Some("InvalidClientTokenId" | "UnrecognizedClientException") => {
            "; the key was deleted or deactivated, or belongs to another partition of AWS than the STS that was asked"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_code_means_what_helps_against_it() {
        use Class::{ClockSkew, Config, Denied, Network, ParentExpired, SourceDead, Throttled};
        use Proof::{Session, Source, Token};
        let cases = [
            ("AccessDenied", 403, "", Session, Denied),
            ("ExpiredTokenException", 403, "", Session, ParentExpired),
            ("ExpiredToken", 403, "", Source, ParentExpired),
            ("ExpiredTokenException", 400, "", Token, SourceDead),
            ("InvalidClientTokenId", 403, "", Source, SourceDead),
            ("InvalidClientTokenId", 403, "", Session, ParentExpired),
            (
                "SignatureDoesNotMatch",
                403,
                "Signature expired: 2026 is now earlier than 2027",
                Source,
                ClockSkew,
            ),
            (
                "SignatureDoesNotMatch",
                403,
                "Signature not yet current: 2028 is still later",
                Session,
                ClockSkew,
            ),
            (
                "SignatureDoesNotMatch",
                403,
                "The request signature we calculated does not match",
                Source,
                SourceDead,
            ),
            ("RequestTimeTooSkewed", 403, "", Source, ClockSkew),
            ("InvalidIdentityToken", 400, "", Token, SourceDead),
            ("IDPCommunicationError", 400, "", Token, Network),
            ("Throttling", 400, "", Source, Throttled),
            ("ValidationError", 400, "", Source, Config),
            ("PackedPolicyTooLarge", 400, "", Source, Config),
            ("InternalFailure", 500, "", Source, Network),
            ("ServiceUnavailable", 503, "", Source, Network),
        ];
        for (code, status, text, proof, expected) in cases {
            assert_eq!(class(Some(code), Some(status), text, proof), expected, "{code} {text} {proof:?}");
        }
        assert_eq!(class(None, Some(429), "", Source), Throttled);
        assert_eq!(class(None, Some(502), "", Source), Network);
        assert_eq!(class(None, Some(403), "", Source), Denied);
    }

    proptest! {
        /// Nothing that a server can say stops the retries of what a server did wrong.
        #[test]
        fn a_server_error_without_a_known_code_is_never_final(code in "[A-Z][a-z]{3,20}Xyz", status in 500u16..600, text in ".*") {
            prop_assert_eq!(class(Some(&code), Some(status), &text, Proof::Source), Class::Network);
        }
    }
}
