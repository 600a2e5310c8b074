//! Functions of the system catalog: what `translate::introspect` renders.
//!
//! Each is strict unless it says otherwise: NULL in, NULL out. What a caller may not see reads as what is not there.

use std::sync::Arc;

use grantd_catalog::command::{FunctionName, ObjectName, SchemaName};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::{Body, Object};
use grantd_catalog::privilege::ObjectKind;
use grantd_catalog::refusal::{SqlState, state};
use grantd_raft::rows::{Function, StatementContext, Value};

use super::item::{self, Item, Relation};
use super::types::{self, TypeRef};
use super::{Look, acl, maybe, number, oid, pg_class, pg_constraint, pg_type, text, truth};
use crate::error::SqlError;
use crate::sql::system::context::StatementInfo;
use crate::sql::system::inquiry::{self, Asking};
use crate::sql::translate::scalar::{joined, raise};
use crate::sql::translate::{pattern, quote_ident, string};
use crate::value::text::{ARRAY_ITEMS_MAX, array_text, parse_array};

/// Variables that nobody sets, and that clients look for in `pg_settings`.
pub(super) const FIXED_SETTINGS: [(&str, &str); 3] =
    [("default_table_access_method", "heap"), ("default_tablespace", ""), ("max_index_keys", "32")];

type Answer = fn(&Arc<StatementInfo>, &[Value]) -> Result<Value, SqlError>;
type Plain = fn(&[Value]) -> Result<Value, SqlError>;

/// Those that need the statement's view: name, number of arguments, answer.
const ANSWERS: [(&str, i32, Answer); 26] = [
    ("g_pg_get_userbyid", 1, |info, v| Ok(text(user_by_id(info, int(&v[0])?)))),
    ("g_pg_get_constraintdef", -1, |info, v| constraint_definition(info, v)),
    ("g_pg_get_indexdef", -1, index_definition),
    ("g_pg_get_viewdef", -1, view_definition),
    ("g_pg_get_serial_sequence", 2, serial_sequence),
    ("g_pg_get_function_arguments", 1, |info, v| {
        Ok(maybe(function(info, v)?.map(|item| pg_type::arguments(info, pg_type::function(&item)))))
    }),
    ("g_pg_get_function_result", 1, |info, v| {
        Ok(maybe(function(info, v)?.map(|item| pg_type::result(info, pg_type::function(&item)))))
    }),
    ("g_pg_get_functiondef", 1, |info, v| {
        Ok(maybe(function(info, v)?.map(|item| pg_type::definition(&item))))
    }),
    ("g_format_type", -1, format_type),
    ("g_pg_table_is_visible", 1, |info, v| visible(info, v, item::is_relation, |oid| Some(ObjectId(oid)))),
    ("g_pg_type_is_visible", 1, type_is_visible),
    ("g_pg_function_is_visible", 1, |info, v| visible(info, v, item::is_function, oid::below)),
    ("g_obj_description", -1, object_description),
    ("g_col_description", 2, column_description),
    ("g_current_schemas", 1, current_schemas),
    ("g_to_regclass", 1, |info, v| Ok(oid_or_null(reg_oid(info, "class", string_of(&v[0])?)))),
    ("g_to_regtype", 1, |info, v| Ok(oid_or_null(reg_oid(info, "type", string_of(&v[0])?)))),
    ("g_to_regrole", 1, |info, v| Ok(oid_or_null(reg_oid(info, "role", string_of(&v[0])?)))),
    ("g_to_regnamespace", 1, |info, v| Ok(oid_or_null(reg_oid(info, "namespace", string_of(&v[0])?)))),
    ("g_reg_oid", 2, |info, v| reg_oid(info, string_of(&v[0])?, string_of(&v[1])?).map(number)),
    ("g_reg_text", 2, |info, v| Ok(text(reg_text(info, string_of(&v[0])?, int(&v[1])?)))),
    ("g_procedure_oid", 1, |info, v| procedure_oid(info, string_of(&v[0])?)),
    ("g_procedure_of", 1, |info, v| {
        Ok(text(function(info, v)?.map_or_else(|| "-".to_owned(), |item| item.name())))
    }),
    ("g_current_setting", -1, current_setting),
    ("g_acldefault", 2, acl_default),
    ("g_aclexplode", 1, |info, v| {
        let rows = acl::exploded(info, &items(&v[0])?);
        Ok(text(serde_json::Value::from_iter(rows.into_iter().map(json_of_acl)).to_string()))
    }),
];

/// Those that depend on nothing but their arguments.
const PLAIN: [(&str, i32, Plain); 30] = [
    ("g_array_position", 2, |v| {
        // `=` before what is looked for; nothing for NULL.
        let wanted = string_of(&v[1])?.strip_prefix('=');
        let at = items(&v[0])?.iter().position(|item| item.as_deref() == wanted);
        Ok(at.map_or(Value::Null, |at| super::count(at + 1)))
    }),
    ("g_nothing", -1, |_| Ok(Value::Null)),
    ("g_one", -1, |_| Ok(Value::Integer(1))),
    ("g_array_cat", 2, |v| {
        let (mut left, right) = (items(&v[0])?, items(&v[1])?);
        left.extend(right);
        bounded(&left)
    }),
    ("g_pg_char_to_encoding", 1, |v| {
        let utf8 = ["utf8", "unicode", "utf-8"].contains(&string_of(&v[0])?.to_lowercase().as_str());
        Ok(Value::Integer(if utf8 { 6 } else { -1 }))
    }),
    ("g_array_remove", 2, |v| {
        let gone = string_of(&v[1])?;
        let mut left = items(&v[0])?;
        left.retain(|item| item.as_deref() != Some(gone));
        bounded(&left)
    }),
    ("g_zero", -1, |_| Ok(Value::Integer(0))),
    ("g_utf8", 0, |_| Ok(text("UTF8"))),
    ("g_empty_text", -1, |_| Ok(text(""))),
    ("g_pg_get_expr", -1, |v| Ok(v[0].clone())),
    ("g_array_to_string", -1, array_to_string),
    ("g_array_length", 2, |v| Ok(length(v)?.map_or(Value::Null, Value::Integer))),
    ("g_array_lower", 2, |v| Ok(length(v)?.map_or(Value::Null, |_| Value::Integer(1)))),
    ("g_cardinality", 1, |v| Ok(super::count(items(&v[0])?.len()))),
    ("g_array_json", 2, |v| json_of(&items(&v[0])?, int(&v[1])? != 0)),
    ("g_array_item", 4, array_item),
    ("g_array_text", 1, |v| Ok(text(array_text(&items(&v[0])?)))),
    ("g_json_array", 1, |v| array_of_json(string_of(&v[0])?)),
    ("g_json_array_or_null", 1, |v| match array_of_json(string_of(&v[0])?)? {
        Value::Text(empty) if empty == "{}" => Ok(Value::Null),
        array => Ok(array),
    }),
    ("g_string_to_array", 2, string_to_array),
    ("g_series", -1, series),
    ("g_zip", -1, zip),
    ("g_field", 2, field),
    ("g_pair", 2, |v| Ok(text(format!("({},{})", shown(&v[0]), shown(&v[1]))))),
    ("g_regexp", 3, matches),
    ("g_pg_encoding_to_char", 1, |v| Ok(text(if int(&v[0])? == 6 { "UTF8" } else { "" }))),
    ("g_pg_size_pretty", 1, |v| Ok(text(size(int(&v[0])?)))),
    ("g_quote_ident", 1, |v| Ok(text(quote_ident(string_of(&v[0])?)))),
    ("g_quote_literal", 1, |v| Ok(text(string(string_of(&v[0])?)))),
    ("g_procedure_name", 1, |v| {
        let name = string_of(&v[0])?;
        Ok(text(name.strip_prefix("pg_catalog.").unwrap_or(name)))
    }),
];

/// The functions, for the row store.
pub fn functions() -> Vec<Function> {
    let answers = ANSWERS.iter().map(|&(name, arguments, answer)| Function {
        name,
        arguments,
        deterministic: false,
        body: Arc::new(move |context, values| {
            if values.first() == Some(&Value::Null)
                || (values.contains(&Value::Null) && name != "g_format_type")
            {
                return Ok(Value::Null);
            }
            statement(context).and_then(|info| answer(&info, values)).map_err(|error| raise(&error))
        }),
    });
    let plain = PLAIN.iter().map(|&(name, arguments, body)| Function {
        name,
        arguments,
        deterministic: true,
        body: Arc::new(move |_, values| {
            let lenient = matches!(name, "g_zip" | "g_pair" | "g_zero" | "g_utf8" | "g_empty_text");
            if values.contains(&Value::Null) && !lenient {
                return Ok(Value::Null);
            }
            body(values).map_err(|error| raise(&error))
        }),
    });
    answers.chain(plain).collect()
}

fn statement(context: Option<&StatementContext>) -> Result<Arc<StatementInfo>, SqlError> {
    context
        .cloned()
        .and_then(|context| context.downcast::<StatementInfo>().ok())
        .ok_or_else(|| SqlError::internal("a function was called outside of a statement"))
}

fn wrong() -> SqlError {
    SqlError::internal("a function of the catalog was called with a value of another type")
}

fn int(value: &Value) -> Result<i64, SqlError> {
    if let Value::Integer(value) = value { Ok(*value) } else { Err(wrong()) }
}

/// An OID; what is none is 0, which nothing has.
fn oid_of(value: &Value) -> Result<u32, SqlError> {
    Ok(u32::try_from(int(value)?).unwrap_or(0))
}

fn string_of(value: &Value) -> Result<&str, SqlError> {
    if let Value::Text(value) = value { Ok(value) } else { Err(wrong()) }
}

fn user_by_id(info: &StatementInfo, oid: i64) -> String {
    let id = PrincipalId(u32::try_from(oid).unwrap_or(0));
    match id {
        PrincipalId::NODE => "node".to_owned(),
        id => match info.view.state().principal(id) {
            Some(principal) => principal.name.to_string(),
            None => format!("unknown (OID={oid})"),
        },
    }
}

/// A look at one key of a table.
fn look(info: &Arc<StatementInfo>, column: &'static str, oid: u32) -> Look {
    Look { info: Arc::clone(info), key: Some((column, Value::Integer(i64::from(oid)))) }
}

fn constraint_definition(info: &Arc<StatementInfo>, values: &[Value]) -> Result<Value, SqlError> {
    let oid = oid_of(&values[0])?;
    let found = pg_constraint::with_oid(&look(info, "oid", oid), oid).next();
    Ok(maybe(found.map(|constraint| constraint.definition())))
}

/// The whole index, or the name of one of its columns.
fn index_definition(info: &Arc<StatementInfo>, values: &[Value]) -> Result<Value, SqlError> {
    let relation = item::relations(&look(info, "oid", oid_of(&values[0])?), "oid").next();
    let Some(relation) = relation.filter(|relation| relation.index.is_some()) else { return Ok(Value::Null) };
    let column = values.get(1).map(int).transpose()?.unwrap_or(0);
    if column == 0 {
        return Ok(maybe(pg_constraint::index_definition(&relation)));
    }
    Ok(text(pg_constraint::key_of(&relation, column).unwrap_or_default()))
}

/// The sequence that a column counts with: that of an identity column, or one that the table owns and the DEFAULT names.
fn serial_sequence(info: &Arc<StatementInfo>, values: &[Value]) -> Result<Value, SqlError> {
    let table = reg_oid(info, "class", string_of(&values[0])?)?;
    let column = string_of(&values[1])?;
    let state = info.view.state();
    let Some(Body::Table(found)) = state.object(ObjectId(table)).map(|object| &object.body) else {
        return Ok(Value::Null);
    };
    let Some(column) = found.columns.iter().find(|known| known.name.as_str() == column) else {
        return Err(SqlError::new(
            state::UNDEFINED_COLUMN,
            format!("column \"{column}\" of relation \"{}\" does not exist", string_of(&values[0])?),
        ));
    };
    let owned = |id: &ObjectId| match state.object(*id).map(|object| &object.body) {
        Some(Body::Sequence(sequence)) => sequence.owned_by == Some(ObjectId(table)),
        _ => false,
    };
    let by_default = column.default.iter().flat_map(|default| &default.references).copied();
    let mut sequences = column.identity.map(|identity| identity.sequence).into_iter().chain(by_default);
    let sequence = sequences.find(owned).and_then(|id| state.object(id));
    Ok(maybe(sequence.map(|object| {
        let schema =
            state.object(object.parent).map_or(String::new(), |schema| quote_ident(schema.name.as_str()));
        format!("{schema}.{}", quote_ident(object.name.as_str()))
    })))
}

fn view_definition(info: &Arc<StatementInfo>, values: &[Value]) -> Result<Value, SqlError> {
    let oid = match &values[0] {
        Value::Text(name) => reg_oid(info, "class", name)?,
        other => oid_of(other)?,
    };
    let found = item::child(info, ObjectId(oid), item::is_view).next();
    Ok(maybe(found.and_then(|item| pg_class::definition(&item))))
}

fn function(info: &Arc<StatementInfo>, values: &[Value]) -> Result<Option<Item>, SqlError> {
    Ok(pg_type::function_with(info, oid_of(&values[0])?).next())
}

fn format_type(info: &Arc<StatementInfo>, values: &[Value]) -> Result<Value, SqlError> {
    let modifier = match values.get(1) {
        Some(Value::Integer(modifier)) => *modifier,
        _ => -1,
    };
    let found = types::formatted(info, TypeRef { oid: oid_of(&values[0])?, modifier });
    Ok(text(found.unwrap_or_else(|| "???".to_owned())))
}

fn visible(
    info: &Arc<StatementInfo>,
    values: &[Value],
    is_such: fn(&Object) -> bool,
    id: fn(u32) -> Option<ObjectId>,
) -> Result<Value, SqlError> {
    let oid = oid_of(&values[0])?;
    // An index is as visible as its table.
    let id = oid::part_of(oid).map(|(table, _)| table).or_else(|| id(oid));
    let found = id.filter(|id| info.view.state().object(*id).is_some_and(is_such));
    Ok(found.map_or(Value::Null, |id| truth(item::is_visible(info, id))))
}

fn type_is_visible(info: &Arc<StatementInfo>, values: &[Value]) -> Result<Value, SqlError> {
    let known = TypeRef::plain(oid_of(&values[0])?);
    if known.built_in().is_some() || known.element().is_some() {
        return Ok(truth(true));
    }
    Ok(types::enum_type(info, known.oid).map_or(Value::Null, |(id, _)| truth(item::is_visible(info, id))))
}

/// `obj_description(oid[, catalog])`.
fn object_description(info: &Arc<StatementInfo>, values: &[Value]) -> Result<Value, SqlError> {
    let oid = oid_of(&values[0])?;
    let catalog = values.get(1).map(string_of).transpose()?;
    let id = match catalog {
        Some("pg_type" | "pg_proc") => oid::below(oid),
        _ => Some(ObjectId(oid)),
    };
    let id = id.filter(|id| item::is_here(info, *id));
    let object = id.and_then(|id| info.view.state().object(id));
    let fits = |object: &&Object| match catalog {
        None => true,
        Some("pg_database") => object.kind() == ObjectKind::Database,
        Some("pg_namespace") => object.kind() == ObjectKind::Schema,
        Some("pg_class") => item::is_relation(object),
        Some("pg_type") => item::is_type(object),
        Some("pg_proc") => item::is_function(object),
        Some(_) => false,
    };
    Ok(maybe(object.filter(fits).and_then(|object| object.comment.clone())))
}

fn column_description(info: &Arc<StatementInfo>, values: &[Value]) -> Result<Value, SqlError> {
    let (table, column) = (ObjectId(oid_of(&values[0])?), int(&values[1])?);
    let columns =
        if item::is_here(info, table) { item::columns(info.view.state(), table) } else { Vec::new() };
    Ok(maybe(columns.into_iter().find(|facts| facts.number == column).and_then(|facts| facts.comment)))
}

/// The schemas of the search path that exist; with the implied `pg_catalog` if asked.
fn current_schemas(info: &Arc<StatementInfo>, values: &[Value]) -> Result<Value, SqlError> {
    let implied = int(&values[0])? != 0;
    let pg_catalog = Name::from("pg_catalog");
    let first = (implied && !info.context.search_path.contains(&pg_catalog)).then_some(&pg_catalog);
    let path = first.into_iter().chain(&info.context.search_path);
    let exists = |name: &&Name| {
        let name = SchemaName { database: None, schema: (*name).clone() };
        info.view.state().resolve_schema(&info.context, &name).is_ok()
    };
    Ok(super::array(path.filter(exists).map(Name::as_str)))
}

fn oid_or_null(found: Result<u32, SqlError>) -> Value {
    found.map_or(Value::Null, number)
}

/// What `'name'::regclass` and its kin are.
fn reg_oid(info: &StatementInfo, kind: &str, written: &str) -> Result<u32, SqlError> {
    let written = written.trim();
    if written == "-" {
        return Ok(0);
    }
    if !written.is_empty() && written.bytes().all(|byte| byte.is_ascii_digit()) {
        return written.parse().map_err(|_| crate::value::out_of_range(crate::value::SqlType::Oid));
    }
    let catalog = info.view.state();
    match kind {
        "class" => {
            let name = ObjectName { parts: inquiry::parts(written)? };
            Ok(catalog.resolve_relation(&info.context, &name)?.0)
        }
        "type" => type_oid(Asking::of(info), written),
        "role" => {
            let name = RoleName::normalize(written.trim_matches('"'));
            let missing =
                || SqlError::new(state::UNDEFINED_OBJECT, format!("role \"{name}\" does not exist"));
            catalog.principal_id(&name).map(|id| id.0).ok_or_else(missing)
        }
        _ => {
            let parts = inquiry::parts(written)?;
            let [schema] = parts.as_slice() else { return Err(wrong_name()) };
            let name = SchemaName { database: None, schema: schema.clone() };
            Ok(catalog.resolve_schema(&info.context, &name)?.0)
        }
    }
}

/// The OID of the type that a text names.
pub(in crate::sql::system) fn type_oid(asking: Asking<'_>, written: &str) -> Result<u32, SqlError> {
    if let Some(oid) = types::built_in_named(&written.to_lowercase()) {
        return Ok(oid);
    }
    let missing = || SqlError::new(state::UNDEFINED_OBJECT, format!("type '{written}' does not exist"));
    let name = ObjectName { parts: inquiry::parts(written).map_err(|_| missing())? };
    asking.view.state().resolve_type(asking.context, &name).map(oid::above).map_err(|_| missing())
}

/// The OID of the one function of this name, or of this signature.
fn procedure_oid(info: &StatementInfo, written: &str) -> Result<Value, SqlError> {
    let name = match inquiry::signature(written) {
        Some(signature) => signature,
        None => FunctionName { name: ObjectName { parts: inquiry::parts(written)? }, arguments: None },
    };
    Ok(number(oid::above(info.view.state().resolve_function(&info.context, &name)?)))
}

fn wrong_name() -> SqlError {
    SqlError::new(SqlState::new("42602"), "invalid name syntax")
}

/// The name of an OID, with its schema where the name alone means another; its digits if nothing has it.
fn reg_text(info: &Arc<StatementInfo>, kind: &str, oid: i64) -> String {
    let number = u32::try_from(oid).unwrap_or(0);
    if number == 0 {
        return "-".to_owned();
    }
    let qualified = |id: ObjectId, name: String| {
        let schema = Item { info: Arc::clone(info), id }.parent_name();
        if item::is_visible(info, id) { name } else { format!("{}.{name}", quote_ident(&schema)) }
    };
    let found = match kind {
        "class" => {
            let relation = item::relations(&look(info, "oid", number), "oid").next();
            relation.map(|relation: Relation| qualified(relation.item.id, quote_ident(&relation.name())))
        }
        "type" => types::formatted(info, TypeRef::plain(number)),
        "role" => {
            info.view.state().principal(PrincipalId(number)).map(|found| quote_ident(found.name.as_str()))
        }
        _ => {
            let object = info.view.state().object(ObjectId(number));
            object
                .filter(|object| matches!(object.body, Body::Schema))
                .map(|object| quote_ident(object.name.as_str()))
        }
    };
    found.unwrap_or_else(|| oid.to_string())
}

/// `current_setting(name[, missing_ok])`.
fn current_setting(info: &Arc<StatementInfo>, values: &[Value]) -> Result<Value, SqlError> {
    let name = string_of(&values[0])?.to_lowercase();
    // What nobody can set here, and reflection compares with.
    if let Some((_, fixed)) = FIXED_SETTINGS.iter().find(|(known, _)| *known == name) {
        return Ok(text(*fixed));
    }
    match (info.variable(&name), values.get(1)) {
        (Err(_), Some(Value::Integer(1))) => Ok(Value::Null),
        (found, _) => found.map(text),
    }
}

/// What an owner holds by owning, and nobody else anything.
fn acl_default(info: &Arc<StatementInfo>, values: &[Value]) -> Result<Value, SqlError> {
    let kind = match string_of(&values[0])? {
        "r" => ObjectKind::Table,
        "s" => ObjectKind::Sequence,
        "d" => ObjectKind::Database,
        "f" => ObjectKind::Function,
        "n" => ObjectKind::Schema,
        "T" => ObjectKind::Type,
        _ => return Ok(Value::Null),
    };
    Ok(super::array([acl::owner_item(info, PrincipalId(oid_of(&values[1])?), kind)]))
}

fn json_of_acl((grantor, grantee, privilege, option): acl::Exploded) -> serde_json::Value {
    serde_json::json!([grantor, grantee, privilege, i64::from(option)])
}

/// The items of an array as the row store holds it.
fn items(value: &Value) -> Result<Vec<Option<String>>, SqlError> {
    let written = string_of(value)?;
    parse_array(written).ok_or_else(|| {
        let code = crate::error::state::INVALID_TEXT_REPRESENTATION;
        SqlError::new(code, "malformed array literal")
    })
}

fn array_to_string(values: &[Value]) -> Result<Value, SqlError> {
    let (items, separator) = (items(&values[0])?, string_of(&values[1])?);
    let null = values.get(2).map(string_of).transpose()?;
    let shown: Vec<_> = items.iter().filter_map(|item| item.as_deref().or(null)).collect();
    Ok(text(joined(&shown, separator)?))
}

/// The length in the one dimension that there is; an empty array has none.
fn length(values: &[Value]) -> Result<Option<i64>, SqlError> {
    let items = items(&values[0])?;
    let first = int(&values[1])? == 1;
    Ok((first && !items.is_empty()).then(|| i64::try_from(items.len()).unwrap_or(i64::MAX)))
}

/// JSON of the items: numbers, or texts.
fn json_of(items: &[Option<String>], numbers: bool) -> Result<Value, SqlError> {
    let one = |item: &Option<String>| match item {
        None => Ok(serde_json::Value::Null),
        Some(item) if numbers => item.parse::<i64>().map(Into::into).map_err(|_| {
            let code = crate::error::state::INVALID_TEXT_REPRESENTATION;
            SqlError::new(code, format!("could not parse \"{item}\" as type int"))
        }),
        Some(item) => Ok(item.as_str().into()),
    };
    let items = items.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(text(serde_json::Value::Array(items).to_string()))
}

fn bounded(items: &[Option<String>]) -> Result<Value, SqlError> {
    if items.len() > ARRAY_ITEMS_MAX {
        return Err(SqlError::too_large(format!("an array of more than {ARRAY_ITEMS_MAX} items")));
    }
    Ok(text(array_text(items)))
}

fn parsed(written: &str) -> Result<Vec<serde_json::Value>, SqlError> {
    match serde_json::from_str(written) {
        Ok(serde_json::Value::Array(items)) => Ok(items),
        _ => Err(wrong()),
    }
}

fn array_of_json(written: &str) -> Result<Value, SqlError> {
    let items: Vec<_> = parsed(written)?
        .into_iter()
        .map(|item| match item {
            serde_json::Value::Null => None,
            serde_json::Value::String(item) => Some(item),
            other => Some(other.to_string()),
        })
        .collect();
    bounded(&items)
}

/// `(array, index, first index, whether items are numbers)`.
fn array_item(values: &[Value]) -> Result<Value, SqlError> {
    let items = items(&values[0])?;
    let at = usize::try_from(int(&values[1])? - int(&values[2])?).ok();
    let Some(item) = at.and_then(|at| items.into_iter().nth(at)).flatten() else { return Ok(Value::Null) };
    if int(&values[3])? == 0 {
        return Ok(Value::Text(item));
    }
    Ok(item.parse().map_or(Value::Null, Value::Integer))
}

fn string_to_array(values: &[Value]) -> Result<Value, SqlError> {
    let (written, separator) = (string_of(&values[0])?, string_of(&values[1])?);
    if written.is_empty() {
        return Ok(text("{}"));
    }
    if separator.is_empty() {
        return Ok(super::array([written]));
    }
    if written.matches(separator).count() >= ARRAY_ITEMS_MAX {
        return Err(SqlError::too_large(format!("an array of more than {ARRAY_ITEMS_MAX} items")));
    }
    Ok(super::array(written.split(separator)))
}

/// The numbers from one to another, as JSON.
fn series(values: &[Value]) -> Result<Value, SqlError> {
    let (first, last) = (int(&values[0])?, int(&values[1])?);
    let step = values.get(2).map(int).transpose()?.unwrap_or(1);
    if step == 0 {
        return Err(SqlError::new(state::INVALID_PARAMETER_VALUE, "step cannot be 0"));
    }
    let mut numbers = Vec::new();
    let mut next = Some(first);
    while let Some(number) = next.filter(|number| if step > 0 { *number <= last } else { *number >= last }) {
        if numbers.len() == ARRAY_ITEMS_MAX {
            return Err(SqlError::too_large(format!("a series of more than {ARRAY_ITEMS_MAX} numbers")));
        }
        numbers.push(number.to_string());
        next = number.checked_add(step);
    }
    Ok(text(format!("[{}]", numbers.join(","))))
}

/// Several JSON arrays as one of tuples, as long as the longest.
fn zip(values: &[Value]) -> Result<Value, SqlError> {
    let mut columns = Vec::with_capacity(values.len());
    for value in values {
        columns.push(match value {
            Value::Null => Vec::new(),
            value => parsed(string_of(value)?)?,
        });
    }
    let length = columns.iter().map(Vec::len).max().unwrap_or(0);
    let row = |at: usize| {
        columns
            .iter()
            .map(|column| column.get(at).cloned().unwrap_or_default())
            .collect::<serde_json::Value>()
    };
    Ok(text((0..length).map(row).collect::<serde_json::Value>().to_string()))
}

fn shown(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Null | Value::Real(_) | Value::Blob(_) => String::new(),
    }
}

/// The field of a pair that `g_pair` wrote, as a number.
fn field(values: &[Value]) -> Result<Value, SqlError> {
    let inner = string_of(&values[0])?.trim_start_matches('(').trim_end_matches(')');
    let at = usize::try_from(int(&values[1])?).unwrap_or(0);
    Ok(inner.split(',').nth(at).and_then(|field| field.parse().ok()).map_or(Value::Null, Value::Integer))
}

fn size(bytes: i64) -> String {
    let mut size = bytes;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if size.unsigned_abs() < 10 * 1024 {
            return format!("{size} {unit}");
        }
        size = (size + 512 * size.signum()) / 1024;
    }
    format!("{size} TB")
}

/// `(text, pattern, whether case is ignored)`.
fn matches(values: &[Value]) -> Result<Value, SqlError> {
    let (written, wanted) = (string_of(&values[0])?, string_of(&values[1])?);
    let insensitive = int(&values[2])? != 0;
    let regex = pattern::compiled(wanted, if insensitive { "i" } else { "" })?;
    Ok(truth(regex.is_match(pattern::bounded(written)?)))
}

#[cfg(test)]
mod tests {
    use super::super::pg_depend;
    use super::*;

    #[test]
    fn a_regular_expression_is_compared_within_bounds() {
        let ask = |text_: &str, pattern: &str| matches(&[text(text_), text(pattern), Value::Integer(0)]);
        let most = "a".repeat(pattern::TEXT_BYTES_MAX);
        let code =
            |answer: Result<Value, SqlError>| answer.map_err(|error| error.body.code.as_str().to_owned());
        assert_eq!(code(ask(&format!("{most}a"), "b")), Err("54000".to_owned()));
        // The largest sort of expression there is: seconds at worst, where the bounds before this one gave hours.
        assert_eq!(code(ask(&most, "[^b]*a{1,255}b")), Ok(truth(false)));
        assert_eq!(code(ask(&most, "((a{100}){100}){100}")), Err("54000".to_owned()));
    }

    #[test]
    fn sizes_series_and_patterns_are_postgresqls() {
        assert_eq!(size(10_239), "10239 bytes");
        assert_eq!(size(10_240), "10 kB");
        assert_eq!(
            series(&[Value::Integer(3), Value::Integer(1), Value::Integer(-1)]).unwrap(),
            text("[3,2,1]")
        );
        let large = series(&[Value::Integer(1), Value::Integer(i64::MAX)]).unwrap_err();
        assert_eq!(large.body.code.as_str(), "54000");
        assert_eq!(pg_depend::class("pg_class"), pg_depend::class("pg_class"));
        assert_ne!(pg_depend::class("pg_class"), 0);
    }
}
