//! `has_…_privilege` and `pg_has_role` (authorization spec H.5).

use std::sync::Arc;

use grantd_catalog::command::{FunctionName, ObjectName, SchemaName, TypeName};
use grantd_catalog::decide::{holds, holds_grant_option};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::Body;
use grantd_catalog::privilege::{ObjectKind, Privilege};
use grantd_catalog::refusal::state;
use grantd_raft::rows::{Function, Value};
use sqlparser::ast::{self, Expr};

use super::catalog;
use super::context::{StatementInfo, info};
use crate::sql::error::SqlError;
use crate::sql::parse::{name_of, parse_expression, parse_signature};
use crate::sql::translate::column_type;
use crate::sql::translate::scalar::raise;

type Answer = fn(&StatementInfo, &[Value]) -> Result<Value, SqlError>;

const TABLE: [(&str, Answer); 14] = [
    ("g_has_table_privilege", |info, values| on_object(info, values, ObjectKind::Table)),
    ("g_has_any_column_privilege", on_any_column),
    ("g_has_column_privilege", on_column),
    ("g_has_sequence_privilege", |info, values| on_object(info, values, ObjectKind::Sequence)),
    ("g_has_schema_privilege", |info, values| on_object(info, values, ObjectKind::Schema)),
    ("g_has_database_privilege", |info, values| on_object(info, values, ObjectKind::Database)),
    ("g_has_type_privilege", |info, values| on_object(info, values, ObjectKind::Type)),
    ("g_has_function_privilege", |info, values| on_object(info, values, ObjectKind::Function)),
    ("g_has_system_privilege", on_system),
    ("g_has_language_privilege", |info, values| on_nothing(info, values, "language")),
    ("g_has_server_privilege", |info, values| on_nothing(info, values, "server")),
    ("g_has_foreign_data_wrapper_privilege", |info, values| on_nothing(info, values, "foreign-data wrapper")),
    ("g_has_tablespace_privilege", on_tablespace),
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
    use ObjectKind as K;
    match (kind, word) {
        (K::Table, "SELECT" | "REFERENCES") => Some(Privilege::Select),
        (K::Table, "INSERT") => Some(Privilege::Insert),
        (K::Table, "UPDATE") => Some(Privilege::Update),
        (K::Table, "DELETE" | "TRUNCATE") => Some(Privilege::Delete),
        (K::Table, "TRIGGER") => Some(Privilege::Create),
        (K::Table, "RULE") => Some(Privilege::Rule),
        (K::Sequence, "USAGE") => Some(Privilege::Usage),
        (K::Sequence, "SELECT") => Some(Privilege::Select),
        (K::Sequence, "UPDATE") => Some(Privilege::Update),
        (K::Database, "CREATE" | "TEMP" | "TEMPORARY") => Some(Privilege::Create),
        (K::Database, "CONNECT") => Some(Privilege::Connect),
        (K::Schema, "CREATE") => Some(Privilege::Create),
        (K::Schema, "USAGE") => Some(Privilege::Usage),
        (K::Type, "USAGE") => Some(Privilege::Usage),
        (K::Function, "EXECUTE") => Some(Privilege::Execute),
        (K::Cluster, word) => {
            Privilege::from_word(word).filter(|privilege| privilege.is_legal_on(ObjectKind::Cluster))
        }
        _ => None,
    }
}

/// The privileges of a text, each with whether its grant option is asked for. One bad item fails them all.
fn asked_all(kind: ObjectKind, written: &str) -> Result<Vec<(Privilege, bool)>, SqlError> {
    items(written)
        .map(|(word, option)| {
            let privilege = asked(kind, &word).ok_or_else(|| unrecognized(&word, option))?;
            Ok((privilege, option))
        })
        .collect()
}

/// The user who is asked about, and the rest of the arguments, of which there are `rest`.
fn with_user<'v>(
    info: &StatementInfo,
    values: &'v [Value],
    rest: usize,
) -> Result<(Option<PrincipalId>, &'v [Value]), SqlError> {
    match values.len().checked_sub(rest) {
        Some(0) => Ok((Some(info.actor.current), values)),
        Some(1) => Ok((principal(info, &values[0])?, &values[1..])),
        Some(_) | None => Err(wrong()),
    }
}

/// Whether any of `wanted` holds.
fn any_holds(
    info: &StatementInfo,
    user: PrincipalId,
    object: ObjectId,
    wanted: &[(Privilege, bool)],
) -> bool {
    // Nobody can hold RULE, not even an owner.
    wanted.iter().filter(|(privilege, _)| *privilege != Privilege::Rule).any(|(privilege, option)| {
        if *option {
            holds_grant_option(&info.view, user, object, *privilege)
        } else {
            holds(&info.view, user, object, *privilege)
        }
    })
}

/// What a call is about.
enum Found {
    /// An OID that no object of this kind has.
    Nothing,
    Object(ObjectId),
    /// A type or function of PostgreSQL's own: everybody may use it, and nobody grant it.
    BuiltIn,
}

fn answer(
    info: &StatementInfo,
    user: Option<PrincipalId>,
    found: &Found,
    wanted: &[(Privilege, bool)],
) -> Value {
    match (user, found) {
        (None, _) | (_, Found::Nothing) => Value::Null,
        (Some(_), Found::BuiltIn) => boolean(wanted.iter().any(|(_, option)| !option)),
        (Some(user), Found::Object(object)) => boolean(any_holds(info, user, *object, wanted)),
    }
}

/// `([user,] object, privileges)`.
fn on_object(info: &StatementInfo, values: &[Value], kind: ObjectKind) -> Result<Value, SqlError> {
    let (user, rest) = with_user(info, values, 2)?;
    let wanted = asked_all(kind, text(&rest[1])?)?;
    Ok(answer(info, user, &find(info, &rest[0], kind)?, &wanted))
}

/// `([user,] privileges)`, on the cluster.
fn on_system(info: &StatementInfo, values: &[Value]) -> Result<Value, SqlError> {
    let (user, rest) = with_user(info, values, 1)?;
    let wanted = asked_all(ObjectKind::Cluster, text(&rest[0])?)?;
    Ok(answer(info, user, &Found::Object(ObjectId::CLUSTER), &wanted))
}

/// `([user,] table, privileges)`, of which only those of columns are known.
fn on_any_column(info: &StatementInfo, values: &[Value]) -> Result<Value, SqlError> {
    let (user, rest) = with_user(info, values, 2)?;
    let wanted = of_columns(text(&rest[1])?)?;
    Ok(answer(info, user, &find(info, &rest[0], ObjectKind::Table)?, &wanted))
}

fn of_columns(written: &str) -> Result<Vec<(Privilege, bool)>, SqlError> {
    let known = |word: &str| matches!(word, "SELECT" | "INSERT" | "UPDATE" | "REFERENCES");
    if let Some((word, option)) = items(written).find(|(word, _)| !known(word)) {
        return Err(unrecognized(&word, option));
    }
    asked_all(ObjectKind::Table, written)
}

/// `([user,] table, column, privileges)`: a column has the privileges of its table.
fn on_column(info: &StatementInfo, values: &[Value]) -> Result<Value, SqlError> {
    let (user, rest) = with_user(info, values, 3)?;
    let wanted = of_columns(text(&rest[2])?)?;
    let found = find(info, &rest[0], ObjectKind::Table)?;
    if let Found::Object(id) = found {
        let columns = catalog::item::columns(info, id);
        let code = crate::sql::error::state::UNDEFINED_COLUMN;
        let missing = match &rest[1] {
            Value::Text(name) => {
                let name = Name::normalize(name);
                let known = columns.iter().any(|column| column.is_called(&name));
                (!known).then(|| format!("column \"{name}\" does not exist"))
            }
            Value::Integer(at) => {
                let known = usize::try_from(*at).is_ok_and(|at| (1..=columns.len()).contains(&at));
                let table = info.view.state().object(id).map(|object| object.name.to_string());
                (!known)
                    .then(|| format!("column {at} of relation {} does not exist", table.unwrap_or_default()))
            }
            Value::Null | Value::Real(_) | Value::Blob(_) => return Err(wrong()),
        };
        if let Some(message) = missing {
            return Err(SqlError::new(code, message));
        }
    }
    Ok(answer(info, user, &found, &wanted))
}

/// Languages, servers and foreign-data wrappers: there are none to have a privilege on.
fn on_nothing(info: &StatementInfo, values: &[Value], kind: &str) -> Result<Value, SqlError> {
    let (_, rest) = with_user(info, values, 2)?;
    if let Some((word, option)) = items(text(&rest[1])?).find(|(word, _)| word != "USAGE") {
        return Err(unrecognized(&word, option));
    }
    match &rest[0] {
        Value::Text(name) => {
            Err(SqlError::new(state::UNDEFINED_OBJECT, format!("{kind} '{name}' does not exist")))
        }
        _ => Ok(Value::Null),
    }
}

/// The one tablespace is everybody's.
fn on_tablespace(info: &StatementInfo, values: &[Value]) -> Result<Value, SqlError> {
    let (user, rest) = with_user(info, values, 2)?;
    if let Some((word, option)) = items(text(&rest[1])?).find(|(word, _)| word != "CREATE") {
        return Err(unrecognized(&word, option));
    }
    match &rest[0] {
        Value::Text(name) if name != "pg_default" => {
            Err(SqlError::new(state::UNDEFINED_OBJECT, format!("tablespace '{name}' does not exist")))
        }
        Value::Text(_) | Value::Integer(1663) => Ok(user.map_or(Value::Null, |_| boolean(true))),
        _ => Ok(Value::Null),
    }
}

/// An object by name or OID.
fn find(info: &StatementInfo, value: &Value, kind: ObjectKind) -> Result<Found, SqlError> {
    match value {
        Value::Integer(oid) => {
            Ok(u32::try_from(*oid).map_or(Found::Nothing, |oid| with_oid(info, oid, kind)))
        }
        Value::Text(written) => named(info, written, kind),
        Value::Null | Value::Real(_) | Value::Blob(_) => Err(wrong()),
    }
}

fn with_oid(info: &StatementInfo, oid: u32, kind: ObjectKind) -> Found {
    let id = match kind {
        ObjectKind::Type if catalog::types::is_built_in(oid) => return Found::BuiltIn,
        ObjectKind::Type | ObjectKind::Function => catalog::oid::below(oid),
        _ => Some(ObjectId(oid)),
    };
    let is_such = |id: &ObjectId| match info.view.state().kind(*id) {
        // Whatever has rows or shows them.
        Some(ObjectKind::Sequence | ObjectKind::VirtualTable) if kind == ObjectKind::Table => true,
        found => *id != ObjectId::CLUSTER && found == Some(kind),
    };
    id.filter(is_such).map_or(Found::Nothing, Found::Object)
}

fn named(info: &StatementInfo, written: &str, kind: ObjectKind) -> Result<Found, SqlError> {
    let state = info.view.state();
    let found = match kind {
        ObjectKind::Database => state.resolve_database(&Name::normalize(written))?,
        ObjectKind::Schema => {
            let name = SchemaName { database: None, schema: Name::normalize(written) };
            return state.resolve_schema(&info.context, &name).map(Found::Object).map_err(|_| {
                SqlError::new(
                    grantd_catalog::refusal::state::UNDEFINED_SCHEMA,
                    format!("unknown schema \"{written}\""),
                )
            });
        }
        ObjectKind::Type => {
            let oid = catalog::functions::type_oid(info, written)?;
            return Ok(with_oid(info, oid, kind));
        }
        ObjectKind::Function => return function(info, written),
        ObjectKind::Sequence => {
            let name = ObjectName { parts: parts(written)? };
            state.resolve_relation_that(&info.context, &name, "sequence", |body| {
                matches!(body, Body::Sequence(_))
            })?
        }
        _ => state.resolve_relation(&info.context, &ObjectName { parts: parts(written)? })?,
    };
    Ok(Found::Object(found))
}

/// A function by its signature, `f(int)`. One of PostgreSQL's own is everybody's.
fn function(info: &StatementInfo, written: &str) -> Result<Found, SqlError> {
    let bare = written.split('(').next().unwrap_or_default().trim();
    let unknown =
        || SqlError::new(crate::sql::error::state::UNDEFINED_FUNCTION, format!("unknown function: {bare}()"));
    if !written.contains('(') {
        return Err(unknown());
    }
    if let Some(name) = signature(written)
        && let Ok(id) = info.view.state().resolve_function(&info.context, &name)
    {
        return Ok(Found::Object(id));
    }
    let lower = bare.to_lowercase();
    let name = lower.strip_prefix("pg_catalog.").unwrap_or(&lower);
    if crate::sql::translate::function::is_built_in(name) { Ok(Found::BuiltIn) } else { Err(unknown()) }
}

/// A function's name with the types of its arguments. None: the text is none such.
pub(super) fn signature(written: &str) -> Option<FunctionName> {
    let (name, types) = parse_signature(written).ok()?;
    let parts = |name: &ast::ObjectName| {
        let parts = name.0.iter().map(|part| part.as_ident().map(name_of));
        Some(ObjectName { parts: parts.collect::<Option<Vec<_>>>()? })
    };
    let argument = |data_type: &ast::DataType| match (column_type(data_type), data_type) {
        (Ok(known), _) => Some(TypeName::Known(known)),
        (Err(_), ast::DataType::Custom(name, _)) => parts(name).map(TypeName::Named),
        (Err(_), _) => None,
    };
    let arguments = types.iter().map(argument).collect::<Option<Vec<_>>>()?;
    Some(FunctionName { name: parts(&name)?, arguments: Some(arguments) })
}

/// The parts of a name in a text, folded as in a statement.
pub(super) fn parts(written: &str) -> Result<Vec<Name>, SqlError> {
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
