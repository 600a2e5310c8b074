//! AWS's contract for containers: `AWS_CONTAINER_CREDENTIALS_FULL_URI` with `AWS_CONTAINER_AUTHORIZATION_TOKEN` or its file.
//! Source: the documentation of container credential providers, and botocore's `ContainerMetadataFetcher`, which takes nothing
//! but 200 for an answer, reads `AccessKeyId`, `SecretAccessKey`, `Token` and `Expiration`, and tries three times.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hyper::StatusCode;
use hyper::header::{ALLOW, AUTHORIZATION, HeaderValue};
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Asked;
use super::answer::{Answer, Kind, No, body};
use super::caller::TokenFile;
use super::lend::{Lender, Lent};
use crate::cloud::lease::Material;

/// Entries are below it.
const PATH: &str = "/v1/aws/";
const JSON: &str = "application/json";

/// Which entry is asked for, and whether who asks shows its token. An entry that there is not is as one whose token is another:
/// who has no token learns no names.
pub(super) async fn find<'d>(
    entries: &'d [(Arc<Lender>, TokenFile)],
    asked: &Asked,
) -> (Option<&'d Arc<Lender>>, Result<(), No>) {
    let Some(name) = asked.path().strip_prefix(PATH) else {
        return (
            None,
            Err(No::new(Kind::Unknown, format!("there is nothing here; entries are below {PATH}"))),
        );
    };
    let Some(shown) = asked.head.headers.get(AUTHORIZATION) else {
        let message =
            "no token came: set AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE, or AWS_CONTAINER_AUTHORIZATION_TOKEN";
        let known = entries.iter().map(|(lender, _)| lender).find(|lender| lender.name() == name);
        return (known, Err(No::new(Kind::Unauthenticated, message)));
    };
    let wrong = || No::new(Kind::Unauthenticated, "the token is not that of an entry of this name");
    match entries.iter().find(|(lender, _)| lender.name() == name) {
        None => (None, Err(wrong())),
        Some((lender, file)) => match file.admits(shown.as_bytes()).await {
            Ok(true) => (Some(lender), Ok(())),
            Ok(false) => (Some(lender), Err(wrong())),
            Err(no) => (Some(lender), Err(no)),
        },
    }
}

/// What is lent, in the words of the contract.
pub(super) fn credentials(lent: &Lent) -> Result<String, No> {
    let Material::Aws(session) = &lent.lease.material else {
        let message = "this entry leads to Google, which is asked for over `metadata_listen=`";
        return Err(No::new(Kind::Denied, message));
    };
    let Some(token) = &session.session_token else {
        return Err(No::new(Kind::Denied, "these are keys without an end, which are not given out"));
    };
    let text = json!({
        "AccessKeyId": session.access_key_id,
        "SecretAccessKey": session.secret_access_key.expose(),
        "Token": token.expose(),
        "Expiration": expiration(SystemTime::now(), lent.good_for),
    });
    Ok(text.to_string())
}

/// When it ends, by this machine's clock, which is that of who asked; in whole seconds, never too late.
pub(super) fn expiration(now: SystemTime, good_for: Duration) -> String {
    let end = OffsetDateTime::from(now) + good_for;
    let end = end.replace_nanosecond(0).unwrap_or(end);
    end.format(&Rfc3339).unwrap_or_default()
}

pub(super) fn answer(given: Result<String, &No>) -> Answer {
    match given {
        Ok(text) => body(StatusCode::OK, JSON, text),
        Err(No { kind, message }) => {
            let text = json!({ "code": kind.code(), "message": message }).to_string();
            let mut answer = body(kind.status(), JSON, text);
            if *kind == Kind::Method {
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            }
            answer
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn the_end_is_said_in_whole_seconds_of_utc_and_never_later_than_it_is() {
        let now = UNIX_EPOCH + Duration::from_millis(1_700_000_000_900);
        assert_eq!(expiration(now, Duration::from_millis(60_050)), "2023-11-14T22:14:20Z");
        assert_eq!(expiration(now, Duration::from_millis(60_150)), "2023-11-14T22:14:21Z");
    }
}
