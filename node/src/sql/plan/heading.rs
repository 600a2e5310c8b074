//! What a column of a result is called that has no alias: as PostgreSQL chooses it.

use sqlparser::ast::{self, Expr};

use crate::sql::parse::name_of;

/// What a column is called that nothing gives a name.
const NAMELESS: &str = "?column?";

/// A name that an expression gives to its column.
enum Heading {
    /// Also through a cast or CASE around it.
    Firm(String),
    /// Of the outermost cast or CASE, if nothing in it has a name.
    Weak(String),
}

/// The name of a result column that has no alias.
pub(super) fn output_name(expression: &Expr) -> String {
    match heading(expression) {
        Some(Heading::Firm(name) | Heading::Weak(name)) => name,
        None => NAMELESS.to_owned(),
    }
}

fn heading(expression: &Expr) -> Option<Heading> {
    let firm = |name: &str| Some(Heading::Firm(name.to_owned()));
    match expression {
        Expr::Identifier(ident) => firm(name_of(ident).as_str()),
        Expr::CompoundIdentifier(idents) => firm(name_of(idents.last()?).as_str()),
        Expr::Nested(inner) | Expr::Collate { expr: inner, .. } => heading(inner),
        Expr::Function(call) => firm(super::object_name(&call.name).ok()?.parts.last()?.as_str()),
        Expr::Cast { expr, data_type, .. } => or_weak(heading(expr), &type_word(data_type)),
        Expr::Case { else_result, .. } => or_weak(else_result.as_deref().and_then(heading), "case"),
        Expr::Array(_) => firm("array"),
        Expr::CompoundFieldAccess { root, access_chain } => {
            let field = access_chain.iter().rev().find_map(|access| match access {
                ast::AccessExpr::Dot(Expr::Identifier(field)) => Some(name_of(field)),
                _ => None,
            });
            field.map_or_else(|| heading(root), |field| firm(field.as_str()))
        }
        Expr::Exists { negated: false, .. } => firm("exists"),
        Expr::Subquery(query) => Some(Heading::Firm(first_column(&query.body))),
        Expr::Substring { shorthand, .. } => firm(if *shorthand { "substr" } else { "substring" }),
        Expr::Trim { trim_where, .. } => firm(match trim_where {
            Some(ast::TrimWhereField::Leading) => "ltrim",
            Some(ast::TrimWhereField::Trailing) => "rtrim",
            Some(ast::TrimWhereField::Both) | None => "btrim",
        }),
        Expr::Position { .. } => firm("position"),
        Expr::Extract { .. } => firm("extract"),
        Expr::Overlay { .. } => firm("overlay"),
        Expr::Ceil { .. } => firm("ceil"),
        Expr::Floor { .. } => firm("floor"),
        Expr::AtTimeZone { .. } => firm("timezone"),
        Expr::Value(value) if matches!(value.value, ast::Value::Boolean(_)) => {
            Some(Heading::Weak("bool".to_owned()))
        }
        Expr::TypedString(typed) => Some(Heading::Weak(type_word(&typed.data_type))),
        Expr::Interval(_) => Some(Heading::Weak("interval".to_owned())),
        _ => None,
    }
}

fn or_weak(inner: Option<Heading>, outer: &str) -> Option<Heading> {
    match inner {
        Some(Heading::Firm(name)) => Some(Heading::Firm(name)),
        Some(Heading::Weak(_)) | None => Some(Heading::Weak(outer.to_owned())),
    }
}

/// What the first column of a query is called.
fn first_column(body: &ast::SetExpr) -> String {
    match body {
        ast::SetExpr::Select(select) => match select.projection.first() {
            Some(ast::SelectItem::UnnamedExpr(first)) => output_name(first),
            Some(ast::SelectItem::ExprWithAlias { alias, .. }) => name_of(alias).as_str().to_owned(),
            _ => NAMELESS.to_owned(),
        },
        ast::SetExpr::SetOperation { left, .. } => first_column(left),
        ast::SetExpr::Query(query) => first_column(&query.body),
        ast::SetExpr::Values(_) => "column1".to_owned(),
        _ => NAMELESS.to_owned(),
    }
}

/// The catalog's own word for a type, however it was written.
fn type_word(data_type: &ast::DataType) -> String {
    let written = data_type.to_string().to_lowercase();
    // An array is called what its elements are.
    let written = written.split('[').next().unwrap_or_default();
    let zoned = written.ends_with("with time zone");
    let plain = written.split('(').next().unwrap_or_default().trim();
    let word = plain.rsplit('.').next().unwrap_or_default().trim_matches('"');
    let known = match word {
        "boolean" => "bool",
        "smallint" => "int2",
        "int" | "integer" | "bigint" | "int64" => "int8",
        "double precision" | "float" | "double" => "float8",
        "real" => "float4",
        "decimal" | "dec" => "numeric",
        "character varying" | "char varying" => "varchar",
        // `"char"` is another type.
        "char" | "character" if !plain.ends_with('"') => "bpchar",
        "string" => "text",
        "bytes" => "bytea",
        "timestamp" | "timestamp with time zone" if zoned => "timestamptz",
        "timestamp without time zone" => "timestamp",
        "time without time zone" => "time",
        other => other,
    };
    known.to_owned()
}
