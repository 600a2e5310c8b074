//! The tables of the database `system`. Only superusers may read them, unless they grant it; no password and no URI is
//! in them even then.

use std::sync::Arc;

use grantd_catalog::grant::{AclEntry, Membership};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::list::{self, RoleOptionRow, RoleSettingRow};
use grantd_catalog::object::Body;
use grantd_catalog::privilege::PrivilegeSet;
use grantd_catalog::system;
use grantd_raft::rows::Value;

use super::item::{self, Item, Role};
use super::{Computed, Items, Look, Of, array, maybe, number, text, truth};
use crate::cloud::{self, redact};
use crate::sql::system::context::StatementInfo;
use crate::value::SqlType::{Bool, Bytea, Oid, Text, TextArray, TimestampTz};

const SCHEMA: &str = "system";

pub(super) const TABLES: &[&dyn Computed] =
    &[&USERS, &ROLE_MEMBERS, &ROLE_OPTIONS, &PRIVILEGES, &DATABASE_ROLE_SETTINGS, &EXTERNAL_CONNECTIONS];

static USERS: Of<Role> = Of {
    schema: SCHEMA,
    name: "users",
    keys: &["user_id"],
    items: |look| item::roles(look, "user_id"),
    columns: &[
        ("username", Text, |role| text(role.principal().name.as_str())),
        // Whether there is a password is shown; what it is checked against never is.
        ("hashedPassword", Bytea, |role| {
            role.principal().password.as_ref().map_or(Value::Null, |_| Value::Blob(b"redacted".to_vec()))
        }),
        ("isRole", Bool, |role| truth(role.principal().is_role)),
        ("user_id", Oid, |role| number(role.id.0)),
    ],
};

struct Edge {
    info: Arc<StatementInfo>,
    edge: Membership,
}

impl Edge {
    fn name(&self, id: PrincipalId) -> Value {
        text(self.info.view.state().principal_name(id).to_string())
    }
}

static ROLE_MEMBERS: Of<Edge> = Of {
    schema: SCHEMA,
    name: "role_members",
    keys: &[],
    items: |look| {
        let info = Arc::clone(&look.info);
        let edges: Vec<_> = info.view.state().memberships().collect();
        Box::new(edges.into_iter().map(move |edge| Edge { info: Arc::clone(&info), edge }))
    },
    columns: &[
        ("role", Text, |row| row.name(row.edge.role)),
        ("member", Text, |row| row.name(row.edge.member)),
        ("isAdmin", Bool, |row| truth(row.edge.admin_option)),
        ("role_id", Oid, |row| number(row.edge.role.0)),
        ("member_id", Oid, |row| number(row.edge.member.0)),
    ],
};

static ROLE_OPTIONS: Of<(u32, RoleOptionRow)> = Of {
    schema: SCHEMA,
    name: "role_options",
    keys: &[],
    items: |look| {
        let view = Arc::clone(&look.info.view);
        Box::new(list::role_options(&look.info.view).into_iter().map(move |row| {
            let id = view.state().principal_id(&row.username);
            (id.map_or(0, |id| id.0), row)
        }))
    },
    columns: &[
        ("username", Text, |(_, row)| text(row.username.as_str())),
        ("option", Text, |(_, row)| text(row.option)),
        ("value", Text, |(_, row)| maybe(row.value.clone())),
        ("user_id", Oid, |(id, _)| number(*id)),
    ],
};

/// What one grantee holds on the cluster, an external connection, a role of a cloud or a virtual table.
struct Stored {
    info: Arc<StatementInfo>,
    path: String,
    entry: AclEntry,
}

fn words(set: PrivilegeSet) -> Value {
    array(set.iter().map(grantd_catalog::privilege::Privilege::word))
}

/// The stored rows of an object. A virtual table has some only where they are not those of every cluster; `public`
/// without SELECT is a row then, an empty one.
fn stored_on(info: &Arc<StatementInfo>, id: ObjectId) -> Vec<Stored> {
    let state = info.view.state();
    let path = match state.object(id) {
        None => "/global/".to_owned(),
        Some(object) if id.is_virtual() => {
            let schema = system::object(object.parent).map(|schema| schema.name.to_string());
            match schema {
                Some(schema) => format!("/vtable/{schema}/{}", object.name),
                // The tables of the database `system` are no virtual ones to the original.
                None => return Vec::new(),
            }
        }
        Some(object) if object.body == Body::IamRole => format!("/iamrole/{}", object.name),
        Some(object) => format!("/externalconn/{}", object.name),
    };
    let Some(acl) = state.acl(id) else { return Vec::new() };
    let known = system::object(id).map(|object| &object.acl);
    let row = |entry| Stored { info: Arc::clone(info), path: path.clone(), entry };
    let public = PrincipalId::PUBLIC;
    let same = |entry: &AclEntry| known.and_then(|known| known.entry(entry.grantee)) == Some(entry);
    let revoked = known.is_some_and(|known| known.entry(public).is_some()) && acl.entry(public).is_none();
    let held = acl.entries().iter().filter(|entry| !same(entry)).copied();
    held.chain(revoked.then(|| AclEntry::none(public))).map(row).collect()
}

fn stored(look: &Look) -> Items<Stored> {
    let info = Arc::clone(&look.info);
    let is_such =
        |body: &Body| matches!(body, Body::ExternalConnection(_) | Body::VirtualTable | Body::IamRole);
    let objects = info.view.state().objects().filter(|(_, object)| is_such(&object.body));
    let ids: Vec<_> = [ObjectId::CLUSTER].into_iter().chain(objects.map(|(id, _)| id)).collect();
    Box::new(ids.into_iter().flat_map(move |id| stored_on(&info, id)))
}

static PRIVILEGES: Of<Stored> = Of {
    schema: SCHEMA,
    name: "privileges",
    keys: &[],
    items: stored,
    columns: &[
        ("username", Text, |row| text(row.info.view.state().principal_name(row.entry.grantee).to_string())),
        ("path", Text, |row| text(row.path.as_str())),
        ("privileges", TextArray, |row| words(row.entry.privileges)),
        ("grant_options", TextArray, |row| words(row.entry.grant_options)),
        ("user_id", Oid, |row| number(row.entry.grantee.0)),
    ],
};

static DATABASE_ROLE_SETTINGS: Of<RoleSettingRow> = Of {
    schema: SCHEMA,
    name: "database_role_settings",
    keys: &[],
    items: |look| Box::new(list::role_settings(&look.info.view).into_iter()),
    columns: &[
        ("database_id", Oid, |row| number(row.database.0)),
        ("role_name", Text, |row| {
            text(row.role.as_ref().map(|(_, name)| name.to_string()).unwrap_or_default())
        }),
        ("settings", TextArray, |row| array(row.settings.iter().map(String::as_str))),
        ("role_id", Oid, |row| number(row.role.as_ref().map_or(0, |(id, _)| id.0))),
    ],
};

/// The URI of an external connection, the first if it has two.
fn uri(item: &Item) -> &str {
    match &item.object().body {
        Body::ExternalConnection(connection) => cloud::connection::split(&connection.uri).0,
        _ => "",
    }
}

/// No more than the scheme, and that only where it is known.
fn details(uri: &str) -> String {
    match redact::uri(uri).split_once("://") {
        Some((scheme, _)) => format!("{scheme}://{}", redact::REDACTED),
        None => redact::REDACTED.to_owned(),
    }
}

static EXTERNAL_CONNECTIONS: Of<Item> = Of {
    schema: SCHEMA,
    name: "external_connections",
    keys: &[],
    items: |look| {
        let info = Arc::clone(&look.info);
        let all = info.view.state().children(ObjectId::CLUSTER);
        let connections = all.filter(|(_, object)| matches!(object.body, Body::ExternalConnection(_)));
        let ids: Vec<_> = connections.map(|(id, _)| id).collect();
        Box::new(ids.into_iter().map(move |id| Item { info: Arc::clone(&info), id }))
    },
    columns: &[
        ("connection_name", Text, |item| text(item.name())),
        // No time is recorded with an object.
        ("created", TimestampTz, |_| Value::Null),
        ("updated", TimestampTz, |_| Value::Null),
        ("connection_type", Text, |item| text(cloud::uri::kind(uri(item)))),
        ("connection_details", Text, |item| text(details(uri(item)))),
        ("owner", Text, |item| text(item.owner_name())),
        ("owner_id", Oid, |item| number(item.owner().0)),
    ],
};
