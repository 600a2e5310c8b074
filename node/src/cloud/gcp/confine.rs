//! Credential Access Boundary: a token is exchanged for one that reaches one bucket, and in it names that begin so.
//!
//! Google enforces it, whatever the account may do besides. The new token ends with the old one.

use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::cloud::chain::Confine;
use crate::cloud::gcp::bearer;
use crate::cloud::gcp::web::{Service, Web};
use crate::cloud::lease::{Bearer, FetchError, Fetched, Lease};
use crate::secret::Secret;

#[derive(Deserialize)]
struct Exchanged {
    access_token: String,
    /// Google leaves it out when it does not know the end of the token that came.
    expires_in: Option<u64>,
}

/// The step of a chain.
pub(super) async fn fetch(
    web: &Web,
    sts: &str,
    step: &Confine,
    token: &Bearer,
    parent: Option<&Lease>,
) -> Result<Fetched, FetchError> {
    let boundary = json!({"accessBoundary": {"accessBoundaryRules": [rule(step)]}}).to_string();
    let secret = token.token.expose();
    let fields = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token", secret),
        ("options", boundary.as_str()),
    ];
    let asked = SystemTime::now();
    let reply = web.form(Service::Exchange, &format!("{sts}/v1/token"), &fields).await?;
    let what = format!("confining a token to {}/{}", step.bucket, step.prefix);
    let exchanged: Exchanged = reply.read(&what, &[secret])?;
    let now = reply.date.unwrap_or(asked);
    // Both by the cloud's clock.
    let of_parent = parent.and_then(|lease| lease.not_after);
    let of_parent = of_parent.map(|end| end.duration_since(now).unwrap_or(Duration::ZERO));
    let said = exchanged.expires_in.map(Duration::from_secs);
    let lifetime = of_parent.into_iter().chain(said).min();
    Ok(Fetched {
        material: bearer(Secret::new(exchanged.access_token), token.account.clone()),
        lifetime,
        not_after: lifetime.map(|lifetime| now + lifetime),
    })
}

/// The one rule of the boundary.
fn rule(step: &Confine) -> Value {
    // `objectUser`, not `objectAdmin`: jobs do not touch who may do what with an object.
    let role =
        if step.write { "inRole:roles/storage.objectUser" } else { "inRole:roles/storage.objectViewer" };
    let mut rule = json!({
        "availableResource": format!("//storage.googleapis.com/projects/_/buckets/{}", step.bucket),
        "availablePermissions": [role],
    });
    if !step.prefix.is_empty() {
        let name = quoted(&format!("projects/_/buckets/{}/objects/{}", step.bucket, step.prefix));
        let prefix = quoted(&step.prefix);
        rule["availabilityCondition"] = json!({
            "title": "grantd: only names that begin so",
            "expression": format!(
                "resource.name.startsWith({name}) || \
                 api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith({prefix})"
            ),
        });
    }
    rule
}

/// A text as a literal of CEL. A prefix comes from a URI: what ends a literal must not end this one.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_cannot_widen_the_boundary_by_ending_its_literal() {
        let step = Confine { bucket: "b".to_owned(), prefix: "x') || ('\\".to_owned(), write: false };
        let rule = rule(&step);
        let expression = rule["availabilityCondition"]["expression"].as_str().expect("an expression");
        assert_eq!(
            expression,
            r"resource.name.startsWith('projects/_/buckets/b/objects/x\') || (\'\\') || api.getAttribute('storage.googleapis.com/objectListPrefix', '').startsWith('x\') || (\'\\')"
        );
    }

    #[test]
    fn a_whole_bucket_has_no_condition() {
        let step = Confine { bucket: "b".to_owned(), prefix: String::new(), write: true };
        assert_eq!(rule(&step).get("availabilityCondition"), None);
    }
}
