//! Principals, memberships, databases, schemas, and what is set for them.

use std::sync::Arc;

use grantd_catalog::grant::Membership;
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::list::{self, RoleSettingRow};
use grantd_catalog::role::{RoleOption, RoleSettings, ValidUntil};

use super::functions::FIXED_SETTINGS;
use super::item::{self, Item, Role};
use super::{Computed, Items, Look, Of, acl, array, maybe, number, text, truth};
use crate::sql::system::context::StatementInfo;
use crate::sql::system::variable;
use crate::value::{Element, SqlType};
use SqlType::{Array, Bool, Int4, Name, Oid, Text, TextArray, TimestampTz};
use grantd_raft::rows::Value;

pub(super) const TABLES: &[&dyn Computed] = &[
    &PG_ROLES,
    &PG_AUTHID,
    &PG_USER,
    &PG_GROUP,
    &PG_AUTH_MEMBERS,
    &PG_DATABASE,
    &PG_NAMESPACE,
    &PG_DB_ROLE_SETTING,
    &PG_SETTINGS,
];

const REDACTED: &str = "********";

fn option(role: &Role, option: RoleOption) -> Value {
    truth(role.info.view.has_option(role.id, option))
}

/// LOGIN is the absence of NOLOGIN; `root` always may.
fn may_log_in(role: &Role) -> Value {
    truth(role.id == PrincipalId::ROOT || !role.principal().options.contains(RoleOption::NoLogin))
}

fn valid_until(role: &Role) -> Value {
    match role.principal().valid_until {
        Some(ValidUntil::At(micros)) => Value::Integer(micros),
        Some(ValidUntil::Never) | None => Value::Null,
    }
}

/// `name=value` for each variable; NULL where none is set.
fn config(info: &StatementInfo, database: ObjectId, role: PrincipalId) -> Value {
    info.view.state().role_settings(database, role).map_or(Value::Null, settings)
}

fn settings(settings: &RoleSettings) -> Value {
    array(settings.variables.iter().map(|(name, value)| format!("{name}={value}")))
}

fn is_admin(role: &Role) -> Value {
    truth(role.info.view.is_admin(role.id))
}

static PG_ROLES: Of<Role> = Of {
    schema: "pg_catalog",
    name: "pg_roles",
    keys: &["oid"],
    items: |look| item::roles(look, "oid"),
    columns: &[
        ("oid", Oid, |role| number(role.id.0)),
        ("rolname", Name, |role| text(role.principal().name.as_str())),
        ("rolsuper", Bool, is_admin),
        ("rolinherit", Bool, |_| truth(true)),
        ("rolcreaterole", Bool, |role| option(role, RoleOption::CreateRole)),
        ("rolcreatedb", Bool, |role| option(role, RoleOption::CreateDb)),
        ("rolcatupdate", Bool, |_| truth(false)),
        ("rolcanlogin", Bool, may_log_in),
        ("rolreplication", Bool, |_| truth(false)),
        ("rolconnlimit", Int4, |_| Value::Integer(-1)),
        ("rolpassword", Text, |_| text(REDACTED)),
        ("rolvaliduntil", TimestampTz, valid_until),
        ("rolbypassrls", Bool, |_| truth(false)),
        ("rolconfig", TextArray, |role| config(&role.info, ObjectId::CLUSTER, role.id)),
    ],
};

static PG_AUTHID: Of<Role> = Of {
    schema: "pg_catalog",
    name: "pg_authid",
    keys: &["oid"],
    items: |look| item::roles(look, "oid"),
    columns: &[
        ("oid", Oid, |role| number(role.id.0)),
        ("rolname", Name, |role| text(role.principal().name.as_str())),
        ("rolsuper", Bool, is_admin),
        ("rolinherit", Bool, |_| truth(true)),
        ("rolcreaterole", Bool, |role| option(role, RoleOption::CreateRole)),
        ("rolcreatedb", Bool, |role| option(role, RoleOption::CreateDb)),
        ("rolcanlogin", Bool, may_log_in),
        ("rolreplication", Bool, |_| truth(false)),
        ("rolbypassrls", Bool, |_| truth(false)),
        ("rolconnlimit", Int4, |_| Value::Integer(-1)),
        ("rolpassword", Text, |_| text(REDACTED)),
        ("rolvaliduntil", TimestampTz, valid_until),
    ],
};

static PG_USER: Of<Role> = Of {
    schema: "pg_catalog",
    name: "pg_user",
    keys: &["usesysid"],
    items: |look| {
        Box::new(item::roles(look, "usesysid").filter(|role| may_log_in(role) == Value::Integer(1)))
    },
    columns: &[
        ("usename", Name, |role| text(role.principal().name.as_str())),
        ("usesysid", Oid, |role| number(role.id.0)),
        ("usecreatedb", Bool, |role| option(role, RoleOption::CreateDb)),
        ("usesuper", Bool, is_admin),
        ("userepl", Bool, |_| truth(false)),
        ("usebypassrls", Bool, |_| truth(false)),
        ("passwd", Text, |_| text(REDACTED)),
        ("valuntil", TimestampTz, valid_until),
        ("useconfig", TextArray, |role| config(&role.info, ObjectId::CLUSTER, role.id)),
    ],
};

static PG_GROUP: Of<Role> = Of {
    schema: "pg_catalog",
    name: "pg_group",
    keys: &["grosysid"],
    items: |look| {
        Box::new(item::roles(look, "grosysid").filter(|role| may_log_in(role) == Value::Integer(0)))
    },
    columns: &[
        ("groname", Name, |role| text(role.principal().name.as_str())),
        ("grosysid", Oid, |role| number(role.id.0)),
        ("grolist", Array(Element::Oid), |role| {
            array(role.info.view.state().members_of(role.id).map(|(member, _)| member.to_string()))
        }),
    ],
};

/// The edges with one role or member, or all.
fn memberships(look: &Look) -> Items<Membership> {
    let state = look.info.view.state();
    let edge = |role, member, admin_option| Membership { role, member, admin_option };
    let edges: Vec<_> = if let Some(role) = look.wanted("roleid").map(PrincipalId) {
        state.members_of(role).map(|(member, option)| edge(role, member, option)).collect()
    } else if let Some(member) = look.wanted("member").map(PrincipalId) {
        state.roles_of(member).map(|(role, option)| edge(role, member, option)).collect()
    } else {
        state.memberships().collect()
    };
    Box::new(edges.into_iter())
}

static PG_AUTH_MEMBERS: Of<Membership> = Of {
    schema: "pg_catalog",
    name: "pg_auth_members",
    keys: &["roleid", "member"],
    items: memberships,
    columns: &[
        ("roleid", Oid, |edge| number(edge.role.0)),
        ("member", Oid, |edge| number(edge.member.0)),
        // Nobody records a grantor.
        ("grantor", Oid, |_| Value::Null),
        ("admin_option", Bool, |edge| truth(edge.admin_option)),
    ],
};

static PG_DATABASE: Of<Item> = Of {
    schema: "pg_catalog",
    name: "pg_database",
    keys: &[],
    items: item::databases,
    columns: &[
        ("oid", Oid, |item| number(item.id.0)),
        ("datname", Name, |item| text(item.name())),
        ("datdba", Oid, |item| number(item.owner().0)),
        // UTF8.
        ("encoding", Int4, |_| Value::Integer(6)),
        ("datcollate", Name, |_| text("en_US.utf8")),
        ("datctype", Name, |_| text("en_US.utf8")),
        ("datistemplate", Bool, |_| truth(false)),
        ("datallowconn", Bool, |_| truth(true)),
        ("datconnlimit", Int4, |_| Value::Integer(-1)),
        ("datlastsysoid", Oid, |_| number(0)),
        ("datfrozenxid", Oid, |_| number(0)),
        ("datminmxid", Oid, |_| number(0)),
        ("dattablespace", Oid, |_| number(1663)),
        ("datacl", Array(Element::AclItem), |item| array(acl::items(&item.info, item.id))),
    ],
};

static PG_NAMESPACE: Of<Item> = Of {
    schema: "pg_catalog",
    name: "pg_namespace",
    keys: &["oid"],
    items: |look| match look.wanted("oid").map(ObjectId) {
        Some(wanted) => Box::new(item::schemas(look).filter(move |schema| schema.id == wanted)),
        None => item::schemas(look),
    },
    columns: &[
        ("oid", Oid, |item| number(item.id.0)),
        ("nspname", Name, |item| text(item.name())),
        ("nspowner", Oid, |item| number(item.owner().0)),
        ("nspacl", Array(Element::AclItem), |item| array(acl::items(&item.info, item.id))),
    ],
};

static PG_DB_ROLE_SETTING: Of<RoleSettingRow> = Of {
    schema: "pg_catalog",
    name: "pg_db_role_setting",
    keys: &[],
    items: |look| Box::new(list::role_settings(&look.info.view).into_iter()),
    columns: &[
        ("setdatabase", Oid, |row| number(row.database.0)),
        ("setrole", Oid, |row| number(row.role.as_ref().map_or(0, |(id, _)| id.0))),
        ("setconfig", TextArray, |row| array(row.settings.iter().map(String::as_str))),
    ],
};

/// A variable of the session.
struct Variable {
    info: Arc<StatementInfo>,
    name: &'static str,
}

impl Variable {
    fn value(&self) -> Option<String> {
        self.info.variable(self.name).ok().or_else(|| self.fixed())
    }

    fn default(&self) -> Option<String> {
        variable::default_of(self.name).map(str::to_owned).or_else(|| self.fixed())
    }

    fn fixed(&self) -> Option<String> {
        let found = FIXED_SETTINGS.iter().find(|(name, _)| *name == self.name);
        found.map(|(_, value)| (*value).to_owned())
    }
}

static PG_SETTINGS: Of<Variable> = Of {
    schema: "pg_catalog",
    name: "pg_settings",
    keys: &[],
    items: |look| {
        let info = Arc::clone(&look.info);
        let fixed = FIXED_SETTINGS.iter().map(|(name, _)| *name);
        Box::new(
            variable::names()
                .into_iter()
                .chain(fixed)
                .map(move |name| Variable { info: Arc::clone(&info), name }),
        )
    },
    columns: &[
        ("name", Text, |variable| text(variable.name)),
        ("setting", Text, |variable| maybe(variable.value())),
        ("unit", Text, |_| Value::Null),
        ("category", Text, |_| Value::Null),
        ("short_desc", Text, |_| Value::Null),
        ("extra_desc", Text, |_| Value::Null),
        ("context", Text, |_| text("user")),
        ("vartype", Text, |_| text("string")),
        ("source", Text, |variable| {
            text(if variable.value() == variable.default() { "default" } else { "session" })
        }),
        ("min_val", Text, |_| Value::Null),
        ("max_val", Text, |_| Value::Null),
        ("enumvals", TextArray, |_| Value::Null),
        ("boot_val", Text, |variable| maybe(variable.default())),
        ("reset_val", Text, |variable| maybe(variable.default())),
        ("sourcefile", Text, |_| Value::Null),
        ("sourceline", Int4, |_| Value::Null),
        ("pending_restart", Bool, |_| truth(false)),
    ],
};
