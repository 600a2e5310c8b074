//! EXPLAIN PRIVILEGE k ON o FOR u: why, or what is missing. Of each thing that the act needs one row for each reason, or one
//! that says what is missing.

use grantd_catalog::command::{Actor, NameContext, PrivilegeList, RoleSpec, Targets};
use grantd_catalog::decide::{Explanation, Missing, Reason, explain, explain_grant_option};
use grantd_catalog::grant::AclEntry;
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::privilege::{ObjectKind, Privilege};
use grantd_catalog::refusal;
use grantd_catalog::state::State;
use grantd_catalog::view::View;

use super::super::name::quoted;
use super::create::target;
use crate::error::SqlError;
use crate::value::{Datum, SqlType};

/// principal, privilege and object are the question; decision is `allow` or `deny`; reason is `granted`, `owner`,
/// `superuser`, `public` or `nothing`; role_path leads from the principal to the role that has the right; held_by is
/// the grant; remedy, where the decision is `deny`, the statement that would change it, if one would.
pub(super) const COLUMNS: [(&str, SqlType); 8] = [
    ("principal", SqlType::Text),
    ("privilege", SqlType::Text),
    ("object", SqlType::Text),
    ("decision", SqlType::Text),
    ("reason", SqlType::Text),
    ("role_path", SqlType::TextArray),
    ("held_by", SqlType::Text),
    ("remedy", SqlType::Text),
];

/// The rows, for each object, principal and privilege in the order written; before what is in a schema, USAGE of the
/// schema, without which its name means nothing.
///
/// Who asks sees what SHOW GRANTS would show: an object in a database without CONNECT is refused. About others asks only
/// who may.
pub(super) fn rows(
    view: &View,
    actor: Actor,
    context: &NameContext,
    privileges: &PrivilegeList,
    on: &Targets,
    principals: &[RoleSpec],
    option: bool,
) -> Result<Vec<Vec<Datum>>, SqlError> {
    let state = view.state();
    let objects = match on {
        Targets::System => vec![ObjectId::CLUSTER],
        on => state.resolve_targets(context, on)?,
    };
    let principals: Vec<_> = match principals {
        [] => vec![actor.current],
        specs => specs.iter().map(|spec| state.resolve_grantee(actor, spec)).collect::<Result<_, _>>()?,
    };
    for principal in &principals {
        state.may_ask_about(actor.current, *principal)?;
    }
    let mut rows = Vec::new();
    for object in objects {
        let kind = state.kind(object).ok_or_else(|| refusal::object_gone(object))?;
        if let Some(illegal) = privileges.iter().find(|privilege| !privilege.is_legal_on(kind)) {
            return Err(refusal::privilege_not_for(*illegal, kind).into());
        }
        if let Some(database) = state.database_of(object) {
            state.check_privilege(actor.current, database, Privilege::Connect)?;
        }
        for principal in &principals {
            if let Some(schema) = schema_of(state, object) {
                rows.extend(rows_of(view, *principal, schema, (Privilege::Usage, false)));
            }
            let of = |privilege: &Privilege| rows_of(view, *principal, object, (*privilege, option));
            rows.extend(privileges.iter().flat_map(of));
        }
    }
    Ok(rows)
}

/// The schema that an object is in. None: it is in no schema.
fn schema_of(state: &State, object: ObjectId) -> Option<ObjectId> {
    let parent = state.object(object)?.parent;
    (state.kind(parent) == Some(ObjectKind::Schema)).then_some(parent)
}

/// A row for each reason; of a denial one, with what is missing.
fn rows_of(
    view: &View,
    principal: PrincipalId,
    object: ObjectId,
    (privilege, option): (Privilege, bool),
) -> Vec<Vec<Datum>> {
    let state = view.state();
    let explanation = match option {
        true => explain_grant_option(view, principal, object, privilege),
        false => explain(view, principal, object, privilege),
    };
    let place = target(state, object);
    let grant = |privilege: Privilege, to: PrincipalId, option: bool| {
        let option = if option { " WITH GRANT OPTION" } else { "" };
        let to = quoted(state.principal_name(to).as_str());
        match object {
            ObjectId::CLUSTER => format!("GRANT SYSTEM {privilege} TO {to}{option}"),
            _ => format!("GRANT {privilege} ON {place} TO {to}{option}"),
        }
    };
    let held = |entry: &AclEntry| {
        let set = if option { entry.grant_options } else { entry.privileges };
        let held = if set.contains(privilege) { privilege } else { Privilege::All };
        grant(held, entry.grantee, entry.grant_options.contains(held))
    };
    let row = |decision: &str, reason: &str, path: &[PrincipalId], held_by: Option<String>, remedy| {
        let text = |text: Option<String>| text.map_or(Datum::Null, Datum::Text);
        let path = path.iter().map(|id| Some(state.principal_name(*id).to_string()));
        vec![
            Datum::Text(state.principal_name(principal).to_string()),
            Datum::Text(privilege.to_string()),
            Datum::Text(place.clone()),
            Datum::Text(decision.to_owned()),
            Datum::Text(reason.to_owned()),
            Datum::TextArray(path.collect()),
            text(held_by),
            text(remedy),
        ]
    };
    let reasons = match explanation {
        Explanation::Allow(reasons) => reasons,
        Explanation::Deny(missing) => {
            let remedy = match missing {
                Missing::Grant { .. } => Some(grant(privilege, principal, option)),
                Missing::Object | Missing::Principal | Missing::NotGrantable | Missing::OfSystem => None,
            };
            return vec![row("deny", "nothing", &[], None, remedy)];
        }
    };
    let told = reasons.iter().map(|reason| {
        let (word, held_by) = match reason {
            Reason::Public { entry } => ("public", Some(held(entry))),
            Reason::Superuser { .. } => ("superuser", None),
            Reason::Owner { .. } => ("owner", None),
            Reason::Granted { entry, .. } => ("granted", Some(held(entry))),
        };
        row("allow", word, reason.path(), held_by, None)
    });
    told.collect()
}
