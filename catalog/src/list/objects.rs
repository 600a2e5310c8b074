//! SHOW DATABASES, SCHEMAS, TABLES, SEQUENCES, TYPES, ENUMS, FUNCTIONS and EXTERNAL CONNECTIONS. Source: authorization
//! spec, A.5.3, H.7; cloud-jobs spec, A.8.
//!
//! With CONNECT on a database everything in it is listed, whatever is held on it; without it nothing is, but for
//! sequences, for which v22.2 asks nothing. What `node` owns is listed without an owner, databases apart.

use crate::command::{Actor, NameContext};
use crate::decide::{holds, holds_any};
use crate::id::{ObjectId, PrincipalId};
use crate::name::{Name, RoleName};
use crate::object::{Body, ConnectionUri, Object, Volatility};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{self, Refusal};
use crate::state::State;
use crate::system;
use crate::view::View;

/// A row of SHOW DATABASES.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW DATABASES")]
pub struct DatabaseRow {
    pub database_name: Name,
    pub owner: RoleName,
}

/// A row of SHOW SCHEMAS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW SCHEMAS")]
pub struct SchemaRow {
    pub schema_name: Name,
    pub owner: Option<RoleName>,
}

/// A row of SHOW TABLES.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW TABLES")]
pub struct TableRow {
    pub schema_name: Name,
    pub table_name: Name,
    /// `table`, `view` or `sequence`.
    pub table_type: &'static str,
    pub owner: Option<RoleName>,
}

/// A row of SHOW SEQUENCES.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW SEQUENCES")]
pub struct SequenceRow {
    pub sequence_schema: Name,
    pub sequence_name: Name,
}

/// A row of SHOW TYPES, and of SHOW ENUMS, which has the labels too.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW ENUMS")]
pub struct TypeRow {
    pub schema: Name,
    pub name: Name,
    /// In their order.
    pub values: Vec<String>,
    pub owner: Option<RoleName>,
}

/// A row of SHOW FUNCTIONS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the columns of SHOW FUNCTIONS")]
pub struct FunctionRow {
    pub schema_name: Name,
    pub function_name: Name,
    /// Names, where there are any, and types: `a int8, public.mood`.
    pub argument_data_types: String,
    pub result_data_type: String,
    pub volatility: &'static str,
    pub function: ObjectId,
}

/// A row of SHOW EXTERNAL CONNECTIONS. Who prints the URI takes its secrets out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the columns of SHOW EXTERNAL CONNECTIONS")]
pub struct ExternalConnectionRow {
    pub connection_name: Name,
    pub uri: ConnectionUri,
    pub owner: RoleName,
}

/// A row of SHOW IAM ROLES.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the columns of SHOW IAM ROLES")]
pub struct IamRoleRow {
    pub iam_role: Name,
    pub owner: RoleName,
}

/// SHOW DATABASES: those that `actor` may connect to, by name.
pub fn databases(view: &View, actor: Actor) -> Vec<DatabaseRow> {
    let state = view.state();
    state
        .children(ObjectId::CLUSTER)
        .filter(|(id, object)| object.kind() == ObjectKind::Database && may_connect(view, actor, *id))
        .map(|(_, database)| DatabaseRow {
            database_name: database.name.clone(),
            owner: state.principal_name(database.owner),
        })
        .collect()
}

/// SHOW SCHEMAS [FROM database]: by name, those that every database has among them. Nothing without CONNECT. Errors:
/// 3D000, 42602.
pub fn schemas(
    view: &View,
    actor: Actor,
    context: &NameContext,
    database: Option<&Name>,
) -> Result<Vec<SchemaRow>, Refusal> {
    let state = view.state();
    let database = written_or_current(state, context, database)?;
    if !may_connect(view, actor, database) {
        return Ok(Vec::new());
    }
    let computed = system::VIRTUAL_SCHEMAS.iter().filter_map(|name| state.object(system::schema_id(name)?));
    let mut rows: Vec<_> = state
        .children(database)
        .map(|(_, schema)| schema)
        .chain(computed)
        .map(|schema| SchemaRow { schema_name: schema.name.clone(), owner: owner(state, schema) })
        .collect();
    rows.sort();
    Ok(rows)
}

/// SHOW TABLES [FROM …]: tables, views and sequences by schema and name. `from` is empty for the current database, else
/// `schema` or `database`, or `database, schema`. Nothing without CONNECT. Errors: 3D000, 3F000, 42602, 42601.
pub fn tables(
    view: &View,
    actor: Actor,
    context: &NameContext,
    from: &[Name],
) -> Result<Vec<TableRow>, Refusal> {
    let state = view.state();
    let row = |schema: &Name, _: ObjectId, object: &Object| {
        let table_type = match object.body {
            Body::Table(_) | Body::VirtualTable => "table",
            Body::View(_) => "view",
            Body::Sequence(_) => "sequence",
            Body::Database
            | Body::Schema
            | Body::Type(_)
            | Body::Function(_)
            | Body::ExternalConnection(_)
            | Body::IamRole => return None,
        };
        let (schema_name, table_name) = (schema.clone(), object.name.clone());
        Some(TableRow { schema_name, table_name, table_type, owner: owner(state, object) })
    };
    in_schemas(view, actor, context, from, row)
}

/// SHOW SEQUENCES [FROM database]: by schema and name; needs nothing. Errors: 3D000, 42602.
pub fn sequences(
    view: &View,
    context: &NameContext,
    database: Option<&Name>,
) -> Result<Vec<SequenceRow>, Refusal> {
    let state = view.state();
    let mut rows = Vec::new();
    for (id, schema) in state.children(written_or_current(state, context, database)?) {
        let children = state.children(id).filter(|(_, object)| object.kind() == ObjectKind::Sequence);
        rows.extend(children.map(|(_, sequence)| SequenceRow {
            sequence_schema: schema.name.clone(),
            sequence_name: sequence.name.clone(),
        }));
    }
    rows.sort();
    Ok(rows)
}

/// SHOW TYPES and SHOW ENUMS [FROM …]: by schema and name; `from` as for [`tables`]. Nothing without CONNECT. Errors:
/// 3D000, 3F000, 42602, 42601.
pub fn types(
    view: &View,
    actor: Actor,
    context: &NameContext,
    from: &[Name],
) -> Result<Vec<TypeRow>, Refusal> {
    let state = view.state();
    let row = |schema: &Name, _: ObjectId, object: &Object| {
        let Body::Type(enum_type) = &object.body else { return None };
        let values = enum_type.labels.iter().map(|label| label.label.clone()).collect();
        let (schema, name) = (schema.clone(), object.name.clone());
        Some(TypeRow { schema, name, values, owner: owner(state, object) })
    };
    in_schemas(view, actor, context, from, row)
}

/// SHOW FUNCTIONS [FROM …]: by schema, name and arguments; `from` as for [`tables`]. Nothing without CONNECT. Errors:
/// 3D000, 3F000, 42602, 42601.
pub fn functions(
    view: &View,
    actor: Actor,
    context: &NameContext,
    from: &[Name],
) -> Result<Vec<FunctionRow>, Refusal> {
    let state = view.state();
    let row = |schema: &Name, id: ObjectId, object: &Object| {
        let Body::Function(function) = &object.body else { return None };
        let arguments = function.arguments.iter().map(|argument| {
            let argument_type = state.type_text(argument.argument_type);
            match &argument.name {
                Some(name) => format!("{name} {argument_type}"),
                None => argument_type,
            }
        });
        Some(FunctionRow {
            schema_name: schema.clone(),
            function_name: object.name.clone(),
            argument_data_types: arguments.collect::<Vec<_>>().join(", "),
            result_data_type: state.type_text(function.returns),
            volatility: match function.volatility {
                Volatility::Volatile => "volatile",
                Volatility::Stable => "stable",
                Volatility::Immutable => "immutable",
            },
            function: id,
        })
    };
    in_schemas(view, actor, context, from, row)
}

/// SHOW IAM ROLES: by name; admins see all, others those on which they hold something.
pub fn iam_roles(view: &View, actor: Actor) -> Vec<IamRoleRow> {
    let state = view.state();
    let sees = |id| view.is_admin(actor.current) || holds_any(view, actor.current, id);
    let all = state.children(ObjectId::CLUSTER).filter(|(_, object)| object.body == Body::IamRole);
    all.filter(|(id, _)| sees(*id))
        .map(|(_, object)| IamRoleRow {
            iam_role: object.name.clone(),
            owner: state.principal_name(object.owner),
        })
        .collect()
}

/// SHOW EXTERNAL CONNECTIONS: by name; admins see all, others those that they own.
pub fn external_connections(view: &View, actor: Actor) -> Vec<ExternalConnectionRow> {
    let state = view.state();
    let sees = |id| view.is_admin(actor.current) || view.owns(actor.current, id);
    let all = state.children(ObjectId::CLUSTER).filter(|(id, _)| sees(*id));
    all.filter_map(|(_, object)| match &object.body {
        Body::ExternalConnection(connection) => Some(ExternalConnectionRow {
            connection_name: object.name.clone(),
            uri: connection.uri.clone(),
            owner: state.principal_name(object.owner),
        }),
        _ => None,
    })
    .collect()
}

/// The rows of everything in some schemas, sorted. Nothing without CONNECT.
fn in_schemas<R: Ord>(
    view: &View,
    actor: Actor,
    context: &NameContext,
    from: &[Name],
    row: impl Fn(&Name, ObjectId, &Object) -> Option<R>,
) -> Result<Vec<R>, Refusal> {
    let state = view.state();
    let all_of = |database| state.children(database).map(|(id, _)| id).collect();
    let (database, schemas): (_, Vec<_>) = match from {
        [] => {
            let database = state.current_database(context)?;
            (Some(database), all_of(database))
        }
        [one] => match state.resolve_schema_or_database(context, one)? {
            (schema, ObjectKind::Schema) => (state.current_database(context).ok(), vec![schema]),
            (database, _) => (Some(database), all_of(database)),
        },
        [database, _] => (Some(state.resolve_database(database)?), vec![state.resolve_star(context, from)?]),
        parts => return Err(refusal::name_parts(parts.len())),
    };
    if database.is_some_and(|database| !may_connect(view, actor, database)) {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    for schema in schemas {
        let Some(name) = state.object(schema).map(|object| &object.name) else { continue };
        rows.extend(state.children(schema).filter_map(|(id, object)| row(name, id, object)));
    }
    rows.sort();
    Ok(rows)
}

fn written_or_current(
    state: &State,
    context: &NameContext,
    database: Option<&Name>,
) -> Result<ObjectId, Refusal> {
    match database {
        Some(name) => state.resolve_database(name),
        None => state.current_database(context),
    }
}

fn owner(state: &State, object: &Object) -> Option<RoleName> {
    (object.owner != PrincipalId::NODE).then(|| state.principal_name(object.owner))
}

fn may_connect(view: &View, actor: Actor, database: ObjectId) -> bool {
    holds(view, actor.current, database, Privilege::Connect)
}
