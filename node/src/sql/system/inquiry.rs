//! `has_…_privilege` and `pg_has_role` (authorization spec H.5).

use std::sync::Arc;

use grantd_catalog::command::{ObjectName, SchemaName};
use grantd_catalog::decide::{holds, holds_grant_option};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::Body;
use grantd_catalog::privilege::{ObjectKind, Privilege};
use grantd_catalog::refusal::state;
use grantd_raft::rows::{Function, Value};
use sqlparser::ast::Expr;

use super::context::{StatementInfo, info};
use crate::sql::error::SqlError;
use crate::sql::parse::{name_of, parse_expression};
use crate::sql::translate::scalar::raise;

type Answer = fn(&StatementInfo, &[Value]) -> Result<Value, SqlError>;

const TABLE: [(&str, Answer); 6] = [
    ("g_has_table_privilege", |info, values| on_object(info, values, ObjectKind::Table)),
    ("g_has_any_column_privilege", |info, values| on_object(info, values, ObjectKind::Table)),
    ("g_has_column_privilege", on_column),
    ("g_has_schema_privilege", |info, values| on_object(info, values, ObjectKind::Schema)),
    ("g_has_database_privilege", |info, values| on_object(info, values, ObjectKind::Database)),
    ("g_pg_has_role", has_role),
];

/// The functions, for the row store. NULL in, NULL out.
pub fn functions() -> Vec<Function> {
    TABLE
        .iter()
        .map(|&(name, answer)| Function {
            name,
            arguments: -1,
            deterministic: false,
            body: Arc::new(move |context, values| {
                if values.contains(&Value::Null) {
                    return Ok(Value::Null);
                }
                info(context).and_then(|info| answer(info, values)).map_err(|error| raise(&error))
            }),
        })
        .collect()
}

fn wrong() -> SqlError {
    SqlError::internal("an inquiry function was called with a value of another type")
}

fn text(value: &Value) -> Result<&str, SqlError> {
    if let Value::Text(text) = value { Ok(text) } else { Err(wrong()) }
}

fn boolean(answer: bool) -> Value {
    Value::Integer(i64::from(answer))
}

/// A user by name or OID; none: an OID that nobody has.
fn principal(info: &StatementInfo, value: &Value) -> Result<Option<PrincipalId>, SqlError> {
    match value {
        Value::Integer(oid) => {
            let id = u32::try_from(*oid).ok().map(PrincipalId);
            Ok(id.filter(|id| info.view.state().principal(*id).is_some()))
        }
        Value::Text(name) => {
            let name = RoleName::normalize(name);
            if name.as_str() == "public" {
                return Ok(Some(PrincipalId::PUBLIC));
            }
            let missing = || SqlError::new(state::UNDEFINED_OBJECT, format!("role '{name}' does not exist"));
            info.view.state().principal_id(&name).map(Some).ok_or_else(missing)
        }
        Value::Null | Value::Real(_) | Value::Blob(_) => Err(wrong()),
    }
}

/// The items of a privilege text: word, and whether the grant option is asked for.
fn items(written: &str) -> impl Iterator<Item = (String, bool)> {
    written.split(',').map(|item| {
        let item = item.trim().to_uppercase();
        match item.strip_suffix(" WITH GRANT OPTION") {
            Some(word) => (word.to_owned(), true),
            None => (item, false),
        }
    })
}

fn unrecognized(word: &str, option: bool) -> SqlError {
    let suffix = if option { " WITH GRANT OPTION" } else { "" };
    SqlError::new(state::INVALID_PARAMETER_VALUE, format!("unrecognized privilege type: \"{word}{suffix}\""))
}

/// What an item asks about an object of a kind.
fn asked(kind: ObjectKind, word: &str) -> Option<Privilege> {
    match (kind, word) {
        (ObjectKind::Table, "SELECT" | "REFERENCES") => Some(Privilege::Select),
        (ObjectKind::Table, "INSERT") => Some(Privilege::Insert),
        (ObjectKind::Table, "UPDATE") => Some(Privilege::Update),
        (ObjectKind::Table, "DELETE" | "TRUNCATE") => Some(Privilege::Delete),
        (ObjectKind::Table, "TRIGGER") => Some(Privilege::Create),
        (ObjectKind::Table, "RULE") => Some(Privilege::Rule),
        (ObjectKind::Database, "CREATE" | "TEMP" | "TEMPORARY") => Some(Privilege::Create),
        (ObjectKind::Database, "CONNECT") => Some(Privilege::Connect),
        (ObjectKind::Schema, "CREATE") => Some(Privilege::Create),
        (ObjectKind::Schema, "USAGE") => Some(Privilege::Usage),
        _ => None,
    }
}

/// `([user,] object, privileges)`.
fn on_object(info: &StatementInfo, values: &[Value], kind: ObjectKind) -> Result<Value, SqlError> {
    let (user, object, privileges) = match values {
        [object, privileges] => (Some(info.actor.current), object, privileges),
        [user, object, privileges] => (principal(info, user)?, object, privileges),
        _ => return Err(wrong()),
    };
    let object = find(info, object, kind)?;
    let mut any = false;
    for (word, option) in items(text(privileges)?) {
        let privilege = asked(kind, &word).ok_or_else(|| unrecognized(&word, option))?;
        if let (Some(user), Some(object)) = (user, object) {
            // Nobody can hold RULE, not even an owner.
            any |= privilege != Privilege::Rule
                && if option {
                    holds_grant_option(&info.view, user, object, privilege)
                } else {
                    holds(&info.view, user, object, privilege)
                };
        }
    }
    Ok(if user.is_some() && object.is_some() { boolean(any) } else { Value::Null })
}

/// `([user,] table, column, privileges)`: a column has the privileges of its table.
fn on_column(info: &StatementInfo, values: &[Value]) -> Result<Value, SqlError> {
    let (head, column, privileges) = match values {
        [table, column, privileges] => (vec![table.clone()], column, privileges),
        [user, table, column, privileges] => (vec![user.clone(), table.clone()], column, privileges),
        _ => return Err(wrong()),
    };
    if let Some(Body::Table(table)) = find(info, &head[head.len() - 1], ObjectKind::Table)?
        .and_then(|id| info.view.state().object(id))
        .map(|object| &object.body)
    {
        let known = match column {
            Value::Text(name) => table.columns.iter().any(|known| known.name == Name::normalize(name)),
            Value::Integer(at) => {
                usize::try_from(*at).is_ok_and(|at| (1..=table.columns.len()).contains(&at))
            }
            Value::Null | Value::Real(_) | Value::Blob(_) => return Err(wrong()),
        };
        if !known {
            let code = crate::sql::error::state::UNDEFINED_COLUMN;
            let shown =
                if let Value::Text(name) = column { name.clone() } else { "of this number".to_owned() };
            return Err(SqlError::new(code, format!("column \"{shown}\" does not exist")));
        }
    }
    for (word, option) in items(text(privileges)?) {
        if !matches!(word.as_str(), "SELECT" | "INSERT" | "UPDATE" | "REFERENCES") {
            return Err(unrecognized(&word, option));
        }
    }
    let mut values = head;
    values.push(privileges.clone());
    on_object(info, &values, ObjectKind::Table)
}

/// An object by name or OID; none: an OID that no object of this kind has.
fn find(info: &StatementInfo, value: &Value, kind: ObjectKind) -> Result<Option<ObjectId>, SqlError> {
    let state = info.view.state();
    let written = match value {
        Value::Integer(oid) => {
            let id = u32::try_from(*oid).ok().map(ObjectId);
            return Ok(id.filter(|id| state.object(*id).is_some_and(|object| object.kind() == kind)));
        }
        Value::Text(written) => written,
        Value::Null | Value::Real(_) | Value::Blob(_) => return Err(wrong()),
    };
    let found = match kind {
        ObjectKind::Database => state.resolve_database(&Name::normalize(written)),
        ObjectKind::Schema => {
            let name = SchemaName { database: None, schema: Name::normalize(written) };
            return state.resolve_schema(&info.context, &name).map(Some).map_err(|_| {
                SqlError::new(
                    grantd_catalog::refusal::state::UNDEFINED_SCHEMA,
                    format!("unknown schema \"{written}\""),
                )
            });
        }
        _ => state.resolve_table(&info.context, &ObjectName { parts: parts(written)? }),
    };
    Ok(Some(found?))
}

/// The parts of a name in a text, folded as in a statement.
fn parts(written: &str) -> Result<Vec<Name>, SqlError> {
    let idents = match parse_expression(written)? {
        Expr::Identifier(ident) => vec![ident],
        Expr::CompoundIdentifier(idents) if idents.len() <= 3 => idents,
        _ => return Err(SqlError::new(state::INVALID_NAME, "invalid name syntax")),
    };
    Ok(idents.iter().map(name_of).collect())
}

/// `([user,] role, privileges)`: USAGE and MEMBER ask for membership, with an option for its ADMIN OPTION.
fn has_role(info: &StatementInfo, values: &[Value]) -> Result<Value, SqlError> {
    let (user, role, privileges) = match values {
        [role, privileges] => (Some(info.actor.current), role, privileges),
        [user, role, privileges] => (principal(info, user)?, role, privileges),
        _ => return Err(wrong()),
    };
    let role = principal(info, role)?;
    let mut any = false;
    for item in text(privileges)?.split(',') {
        let item = item.trim().to_uppercase();
        let plain =
            item.strip_suffix(" WITH GRANT OPTION").or_else(|| item.strip_suffix(" WITH ADMIN OPTION"));
        let word = plain.unwrap_or(&item);
        if !matches!(word, "USAGE" | "MEMBER") {
            return Err(unrecognized(&item, false));
        }
        if let (Some(user), Some(role)) = (user, role) {
            any |= match (plain.is_some(), user == role) {
                (false, _) => info.view.is_admin(user) || info.view.acts_as(user, role),
                (true, true) => info.actor.session == role,
                (true, false) => info.view.is_admin(user) || info.view.admin_option(user, role),
            };
        }
    }
    Ok(if user.is_some() && role.is_some() { boolean(any) } else { Value::Null })
}
