//! EXPLAIN PRIVILEGE k ON o FOR u: why, or what is missing. One row for each thing that the act needs.

use grantd_catalog::command::{Actor, NameContext, PrivilegeList, RoleSpec, Targets};
use grantd_catalog::decide::{Reason, explain};
use grantd_catalog::grant::AclEntry;
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::privilege::{ObjectKind, Privilege};
use grantd_catalog::refusal;
use grantd_catalog::state::State;
use grantd_catalog::view::View;

use super::super::name::quoted;
use super::create::target;
use crate::sql::error::SqlError;
use crate::sql::value::{Datum, SqlType};

/// principal, privilege and object are the question; decision is `allow` or `deny`; reason is `granted`, `owner`,
/// `superuser`, `public` or `nothing`; role_path leads from the principal to the role that made the difference;
/// held_by is the grant; remedy, where the decision is `deny`, the statement that would change it.
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
/// Who asks sees what SHOW GRANTS would show: an object in a database without CONNECT is refused.
pub(super) fn rows(
    view: &View,
    actor: Actor,
    context: &NameContext,
    privileges: &PrivilegeList,
    on: &Targets,
    principals: &[RoleSpec],
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
                rows.push(row(view, *principal, schema, Privilege::Usage));
            }
            rows.extend(privileges.iter().map(|privilege| row(view, *principal, object, *privilege)));
        }
    }
    Ok(rows)
}

/// The schema that an object is in. None: it is in no schema.
fn schema_of(state: &State, object: ObjectId) -> Option<ObjectId> {
    let parent = state.object(object)?.parent;
    (state.kind(parent) == Some(ObjectKind::Schema)).then_some(parent)
}

fn row(view: &View, principal: PrincipalId, object: ObjectId, privilege: Privilege) -> Vec<Datum> {
    let state = view.state();
    let name = |id| quoted(state.principal_name(id).as_str());
    let place = target(state, object);
    let grant = |to: PrincipalId, privilege: Privilege, option: bool| {
        let option = if option { " WITH GRANT OPTION" } else { "" };
        match object {
            ObjectId::CLUSTER => format!("GRANT SYSTEM {privilege} TO {}{option}", name(to)),
            _ => format!("GRANT {privilege} ON {place} TO {}{option}", name(to)),
        }
    };
    let (word, path, held_by) = match explain(view, principal, object, privilege) {
        Reason::Nothing => ("nothing", vec![], None),
        Reason::Public => ("public", vec![], Some(grant(PrincipalId::PUBLIC, privilege, false))),
        Reason::Superuser { path } => ("superuser", path, None),
        Reason::Owner { path } => ("owner", path, None),
        Reason::Granted { path, entry } => {
            let AclEntry { grantee, privileges, grant_options, .. } = entry;
            let held = if privileges.contains(privilege) { privilege } else { Privilege::All };
            ("granted", path, Some(grant(grantee, held, grant_options.contains(held))))
        }
    };
    let denied = word == "nothing";
    let text = |text: Option<String>| text.map_or(Datum::Null, Datum::Text);
    vec![
        Datum::Text(state.principal_name(principal).to_string()),
        Datum::Text(privilege.to_string()),
        Datum::Text(place.clone()),
        Datum::Text(if denied { "deny" } else { "allow" }.to_owned()),
        Datum::Text(word.to_owned()),
        Datum::TextArray(path.into_iter().map(|id| Some(state.principal_name(id).to_string())).collect()),
        text(held_by),
        text(denied.then(|| grant(principal, privilege, false))),
    ]
}
