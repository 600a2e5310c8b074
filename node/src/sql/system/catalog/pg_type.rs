//! Types, labels of enum types, and functions of clients.

use std::sync::Arc;

use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::object::{Body, EnumLabel, Function, Volatility};
use grantd_raft::rows::Value;

use super::item::{self, Item};
use super::types::{BUILT_IN, BuiltIn, TypeRef};
use super::{Computed, Items, Look, Of, acl, array, count, number, oid, text, truth};
use crate::sql::system::context::StatementInfo;
use crate::value::{Element, SqlType};
use SqlType::{Array, Bool, Float8, Int2, Int4, Name, Oid, Text, TextArray};

pub(super) const TABLES: &[&dyn Computed] = &[&PG_TYPE, &PG_ENUM, &PG_PROC];

/// A type: built in, an array of built-in ones, or a client's.
enum Type {
    BuiltIn(&'static BuiltIn),
    Array(&'static BuiltIn),
    Enum(Item),
}

impl Type {
    fn oid(&self) -> u32 {
        match self {
            Self::BuiltIn(known) => known.oid,
            Self::Array(element) => element.array,
            Self::Enum(item) => oid::above(item.id),
        }
    }

    fn namespace(&self) -> u32 {
        match self {
            Self::BuiltIn(_) | Self::Array(_) => pg_catalog(),
            Self::Enum(item) => item.object().parent.0,
        }
    }

    fn owner(&self) -> u32 {
        match self {
            Self::BuiltIn(_) | Self::Array(_) => PrincipalId::NODE.0,
            Self::Enum(item) => item.owner().0,
        }
    }

    fn name(&self) -> String {
        match self {
            Self::BuiltIn(known) => known.name.to_owned(),
            Self::Array(element) => format!("_{}", element.name),
            Self::Enum(item) => item.name(),
        }
    }

    fn category(&self) -> &'static str {
        match self {
            Self::BuiltIn(known) => known.category,
            Self::Array(_) => "A",
            Self::Enum(_) => "E",
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::BuiltIn(known) if known.category == "P" => "p",
            Self::BuiltIn(_) | Self::Array(_) => "b",
            Self::Enum(_) => "e",
        }
    }

    fn input(&self) -> String {
        match self {
            Self::BuiltIn(known) => format!("{}in", known.name),
            Self::Array(_) => "array_in".to_owned(),
            Self::Enum(_) => "enum_in".to_owned(),
        }
    }
}

fn pg_catalog() -> u32 {
    grantd_catalog::system::schema_id("pg_catalog").map_or(0, |id| id.0)
}

fn all_types(look: &Look) -> Items<Type> {
    let arrays = BUILT_IN.iter().filter(|known| known.array != 0).map(Type::Array);
    let own = item::children(&look.info, item::is_type).map(Type::Enum);
    Box::new(BUILT_IN.iter().map(Type::BuiltIn).chain(arrays).chain(own))
}

fn types(look: &Look) -> Items<Type> {
    let Some(wanted) = look.wanted("oid") else { return all_types(look) };
    let known = TypeRef::plain(wanted);
    if let Some(found) = known.built_in().map(Type::BuiltIn).or_else(|| known.element().map(Type::Array)) {
        return Box::new([found].into_iter());
    }
    match oid::below(wanted) {
        Some(id) => Box::new(item::child(&look.info, id, item::is_type).map(Type::Enum)),
        None => Box::new([].into_iter()),
    }
}

static PG_TYPE: Of<Type> = Of {
    schema: "pg_catalog",
    name: "pg_type",
    keys: &["oid"],
    items: types,
    columns: &[
        ("oid", Oid, |t| number(t.oid())),
        ("typname", Name, |t| text(t.name())),
        ("typnamespace", Oid, |t| number(t.namespace())),
        ("typowner", Oid, |t| number(t.owner())),
        ("typlen", Int2, |t| Value::Integer(TypeRef::plain(t.oid()).bytes())),
        ("typbyval", Bool, |_| truth(false)),
        ("typtype", Text, |t| text(t.kind())),
        ("typcategory", Text, |t| text(t.category())),
        ("typispreferred", Bool, |_| truth(false)),
        ("typisdefined", Bool, |_| truth(true)),
        ("typdelim", Text, |_| text(",")),
        ("typrelid", Oid, |_| number(0)),
        ("typelem", Oid, |t| number(if let Type::Array(element) = t { element.oid } else { 0 })),
        ("typarray", Oid, |t| number(if let Type::BuiltIn(known) = t { known.array } else { 0 })),
        ("typinput", Text, |t| text(t.input())),
        ("typoutput", Text, |t| text(t.input().replace("in", "out"))),
        ("typreceive", Text, |t| text(t.input().replace("in", "recv"))),
        ("typsend", Text, |t| text(t.input().replace("in", "send"))),
        ("typmodin", Oid, |_| number(0)),
        ("typmodout", Oid, |_| number(0)),
        ("typanalyze", Oid, |_| number(0)),
        ("typalign", Text, |_| text("i")),
        ("typstorage", Text, |_| text("p")),
        ("typnotnull", Bool, |_| truth(false)),
        ("typbasetype", Oid, |_| number(0)),
        ("typtypmod", Int4, |_| Value::Integer(-1)),
        ("typndims", Int4, |_| number(0)),
        ("typcollation", Oid, |t| {
            number(if t.category() == "S" { super::pg_empty::DEFAULT_COLLATION } else { 0 })
        }),
        ("typdefaultbin", Text, |_| Value::Null),
        ("typdefault", Text, |_| Value::Null),
        ("typacl", Array(Element::AclItem), |t| match t {
            Type::Enum(item) => array(acl::items(&item.info, item.id)),
            Type::BuiltIn(_) | Type::Array(_) => Value::Null,
        }),
    ],
};

/// A label, with its place among its type's.
struct Label {
    of: ObjectId,
    at: u16,
    label: EnumLabel,
}

static PG_ENUM: Of<Label> = Of {
    schema: "pg_catalog",
    name: "pg_enum",
    keys: &["enumtypid"],
    items: |look| {
        let types: Items<Item> = match look.wanted("enumtypid") {
            Some(wanted) => match oid::below(wanted) {
                Some(id) => item::child(&look.info, id, item::is_type),
                None => Box::new([].into_iter()),
            },
            None => item::children(&look.info, item::is_type),
        };
        Box::new(types.flat_map(|item| {
            let labels = match &item.object().body {
                Body::Type(enum_type) => enum_type.labels.clone(),
                _ => Vec::new(),
            };
            (1..).zip(labels).map(move |(at, label)| Label { of: item.id, at, label })
        }))
    },
    columns: &[
        ("oid", Oid, |label| number(oid::part(label.of, label.at))),
        ("enumtypid", Oid, |label| number(oid::above(label.of))),
        ("enumsortorder", Float8, |label| Value::Real(f64::from(label.at))),
        ("enumlabel", Name, |label| text(label.label.label.as_str())),
    ],
};

/// What a function is.
pub(super) fn function(item: &Item) -> &Function {
    match &item.object().body {
        Body::Function(function) => function,
        _ => unreachable!("the items of pg_proc are functions"),
    }
}

fn type_name(info: &StatementInfo, of: TypeRef) -> String {
    super::types::formatted(info, of).unwrap_or_default()
}

/// The arguments, as `pg_get_function_arguments` prints them.
pub(super) fn arguments(info: &StatementInfo, function: &Function) -> String {
    let argument = |argument: &grantd_catalog::object::Argument| {
        let words = type_name(info, TypeRef::of(argument.argument_type));
        match &argument.name {
            Some(name) => format!("{} {words}", crate::sql::translate::quote_ident(name.as_str())),
            None => words,
        }
    };
    function.arguments.iter().map(argument).collect::<Vec<_>>().join(", ")
}

/// The result's type.
pub(super) fn result(info: &StatementInfo, function: &Function) -> String {
    type_name(info, TypeRef::of(function.returns))
}

/// `volatile` and its kin.
fn volatility(function: &Function) -> (&'static str, &'static str) {
    match function.volatility {
        Volatility::Volatile => ("v", "VOLATILE"),
        Volatility::Stable => ("s", "STABLE"),
        Volatility::Immutable => ("i", "IMMUTABLE"),
    }
}

/// CREATE FUNCTION.
pub(super) fn definition(item: &Item) -> String {
    let function = function(item);
    let strict = if function.is_strict { " STRICT" } else { "" };
    format!(
        "CREATE FUNCTION {}.{}({})\n RETURNS {}\n LANGUAGE sql\n {}{strict}\nAS $function${}$function$\n",
        crate::sql::translate::quote_ident(&item.parent_name()),
        crate::sql::translate::quote_ident(&item.name()),
        arguments(&item.info, function),
        result(&item.info, function),
        volatility(function).1,
        function.body,
    )
}

/// Functions of clients, or the one with the OID that is wanted in `column`.
pub(super) fn functions(look: &Look, column: &str) -> Items<Item> {
    match look.wanted(column) {
        Some(wanted) => function_with(&look.info, wanted),
        None => item::children(&look.info, item::is_function),
    }
}

/// The function with this OID.
pub(super) fn function_with(info: &Arc<StatementInfo>, wanted: u32) -> Items<Item> {
    match oid::below(wanted) {
        Some(id) => item::child(info, id, item::is_function),
        None => Box::new([].into_iter()),
    }
}

fn argument_types(item: &Item) -> impl Iterator<Item = u32> {
    function(item).argument_types().map(|argument| TypeRef::of(argument).oid)
}

static PG_PROC: Of<Item> = Of {
    schema: "pg_catalog",
    name: "pg_proc",
    keys: &["oid"],
    items: |look| functions(look, "oid"),
    columns: &[
        ("oid", Oid, |item| number(oid::above(item.id))),
        ("proname", Name, |item| text(item.name())),
        ("pronamespace", Oid, |item| number(item.object().parent.0)),
        ("proowner", Oid, |item| number(item.owner().0)),
        ("prolang", Oid, |_| number(super::pg_empty::SQL_LANGUAGE)),
        ("procost", Float8, |_| Value::Real(100.0)),
        ("prorows", Float8, |_| Value::Real(0.0)),
        ("provariadic", Oid, |_| number(0)),
        ("prosupport", Text, |_| text("-")),
        ("prokind", Text, |_| text("f")),
        ("prosecdef", Bool, |_| truth(false)),
        ("proleakproof", Bool, |_| truth(false)),
        ("proisstrict", Bool, |item| truth(function(item).is_strict)),
        ("proretset", Bool, |_| truth(false)),
        ("provolatile", Text, |item| text(volatility(function(item)).0)),
        ("proparallel", Text, |_| text("u")),
        ("pronargs", Int2, |item| count(function(item).arguments.len())),
        ("pronargdefaults", Int2, |_| number(0)),
        ("prorettype", Oid, |item| number(TypeRef::of(function(item).returns).oid)),
        ("proargtypes", Array(Element::OidVector), |item| {
            array(argument_types(item).map(|oid| oid.to_string()))
        }),
        ("proallargtypes", Array(Element::Oid), |_| Value::Null),
        ("proargmodes", TextArray, |_| Value::Null),
        ("proargnames", TextArray, |item| {
            let names = function(item).arguments.iter();
            array(names.map(|argument| argument.name.as_ref().map(ToString::to_string).unwrap_or_default()))
        }),
        ("proargdefaults", Text, |_| Value::Null),
        ("protrftypes", Array(Element::Oid), |_| Value::Null),
        ("prosrc", Text, |item| text(function(item).body.as_str())),
        ("probin", Text, |_| Value::Null),
        ("proconfig", TextArray, |_| Value::Null),
        ("proacl", Array(Element::AclItem), |item| array(acl::items(&item.info, item.id))),
        ("proisagg", Bool, |_| truth(false)),
        ("proiswindow", Bool, |_| truth(false)),
    ],
};
