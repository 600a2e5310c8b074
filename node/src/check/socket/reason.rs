//! An answer's reason in words, for people. Programs ask EXPLAIN PRIVILEGE.

use grantd_catalog::decide::{Explanation, Missing, Reason, explain, explain_grant_option};
use grantd_catalog::id::PrincipalId;
use grantd_catalog::view::View;

use crate::check::Check;

/// Why `check` is answered like this on `view`: the first reason of an allow, or what is missing.
pub(super) fn reason(view: &View, check: &Check, allowed: bool) -> String {
    let name = |id: &PrincipalId| view.state().principal_name(*id).to_string();
    let names = |ids: &[PrincipalId], between: &str| ids.iter().map(name).collect::<Vec<_>>().join(between);
    let explanation = match *check {
        Check::Holds { subject, privilege, object } => explain(view, subject, object, privilege),
        Check::HoldsGrantOption { subject, privilege, object } => {
            explain_grant_option(view, subject, object, privilege)
        }
        Check::Member { .. } if allowed => return "a member, or an admin".to_owned(),
        Check::Member { .. } => return "not a member".to_owned(),
        Check::AdminOption { .. } if allowed => return "holds the admin option, or is an admin".to_owned(),
        Check::AdminOption { .. } => return "does not hold the admin option".to_owned(),
    };
    match explanation {
        Explanation::Allow(reasons) => match reasons.first() {
            None | Some(Reason::Public { .. }) => "granted to public".to_owned(),
            Some(Reason::Superuser { path }) => format!("a superuser: {}", names(path, " → ")),
            Some(Reason::Owner { path }) => format!("the owner: {}", names(path, " → ")),
            Some(Reason::Granted { path, .. }) => format!("granted: {}", names(path, " → ")),
        },
        Explanation::Deny(Missing::Object) => "there is no such object any more".to_owned(),
        Explanation::Deny(Missing::Principal) => "there is no such role any more".to_owned(),
        Explanation::Deny(Missing::NotGrantable | Missing::OfSystem) => {
            "it cannot be granted there".to_owned()
        }
        Explanation::Deny(Missing::Grant { to, .. }) => format!("granted to none of: {}", names(&to, ", ")),
    }
}
