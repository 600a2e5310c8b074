//! What queries on the system tables are made of beside plain SQL: virtual tables, arrays, functions that return sets,
//! COLLATE.
//!
//! An array is a text in the row store. Where its items are rows, they go through SQLite's `json_each`, which is a
//! table that a query may give what stands to its left: so what returns a set is always lateral.

use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::Object;
use sqlparser::ast::{self, Expr};

use super::expression::{function_name, plain_argument};
use super::from::renamed;
use super::query::direction;
use super::row::Quantifier;
use super::scope::{Relation, Scope, ScopeColumn};
use super::{Planner, empty, none, unset};
use crate::error::SqlError;
use crate::sql::parse::name_of;
use crate::sql::system::catalog;
use crate::sql::translate::{Parameters, Typed, cast, introspect, order};
use crate::value::{Family, Reg, SqlType};

/// The functions with sets among the items of one select list: they advance together, one row for each item of the
/// longest.
#[derive(Debug)]
pub(super) struct Lateral {
    /// What their rows are called.
    sql_name: String,
    /// JSON arrays, each once.
    arrays: Vec<String>,
}

/// A set that a function returns.
struct Set {
    /// A JSON array.
    json: String,
    /// One item: its columns, each read from `value`.
    columns: Vec<(&'static str, String, SqlType)>,
}

impl Planner<'_> {
    /// A function that returns a set, in FROM. `scope` holds what stands to its left.
    pub(super) fn table_function(
        &mut self,
        (name, arguments): (&str, &[&Expr]),
        with_ordinality: bool,
        alias: Option<&ast::TableAlias>,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let sql_name = self.fresh('q');
        let inner = scope.without_aggregates("functions in FROM");
        let set = self.set(name, arguments, &format!("{sql_name}.value"), &inner)?;
        let mut columns: Vec<_> = set.columns;
        if with_ordinality {
            columns.push(("ordinality", format!("({sql_name}.key + 1)"), SqlType::Int8));
        }
        // A column that has a name of its own keeps it: `value` of jsonb_array_elements().
        let single = columns.len() == 1 && columns[0].0 != "value";
        let names = columns.iter().map(|(name, _, _)| Name::from(*name)).collect::<Vec<_>>();
        let (relation, names) = match alias {
            Some(alias) => {
                // `unnest(…) AS x` calls the one column x too.
                let unnamed = single && alias.columns.is_empty();
                let names = if unnamed { vec![name_of(&alias.name)] } else { renamed(alias, names)? };
                (name_of(&alias.name), names)
            }
            None if single => (Name::from(name), vec![Name::from(name)]),
            None => (Name::from(name), names),
        };
        let columns = names.into_iter().zip(columns);
        let columns =
            columns.map(|(name, (_, sql, sql_type))| ScopeColumn { name, sql, sql_type, hidden: false });
        scope.add(Relation { name: relation, schema: None, columns: columns.collect(), key: Vec::new() })?;
        Ok(format!("json_each({}) AS {sql_name}", set.json))
    }

    /// The set that a call returns, its items read from `value`.
    fn set(
        &mut self,
        name: &str,
        arguments: &[&Expr],
        value: &str,
        scope: &Scope<'_>,
    ) -> Result<Set, SqlError> {
        let mut typed = Vec::with_capacity(arguments.len());
        for argument in arguments {
            typed.push(self.expression(argument, scope)?);
        }
        if let Some(set) = set_of_text(name, &typed, value, &mut self.parameters)? {
            return Ok(set);
        }
        let count = typed.len();
        let mut typed = typed.into_iter();
        let what = format!("argument of {name}()");
        let wrong = || SqlError::unsupported(format!("the function {name}() with these arguments"));
        let mut first = || typed.next().ok_or_else(wrong);
        let item = |name, sql_type| vec![(name, value.to_owned(), sql_type)];
        let numbers = |of: SqlType| u8::from(of.family() == Family::Int);
        Ok(match (name, count) {
            ("unnest", 1) => {
                let (sql, of) = introspect::array(first()?, &what, &mut self.parameters)?;
                Set { json: format!("g_array_json({sql}, {})", numbers(of)), columns: item("unnest", of) }
            }
            ("generate_series", 2 | 3) => {
                let mut bounds = Vec::with_capacity(3);
                for _ in 0..count {
                    bounds.push(cast::expect(first()?, SqlType::Int8, &what, &mut self.parameters)?.sql);
                }
                let json = format!("g_series({})", bounds.join(", "));
                Set { json, columns: item("generate_series", SqlType::Int8) }
            }
            ("generate_subscripts", 2) => {
                let array = first()?;
                let is_vector = matches!(array.sql_type, SqlType::Array(element) if element.is_vector());
                let (sql, _) = introspect::array(array, &what, &mut self.parameters)?;
                let dimension = cast::expect(first()?, SqlType::Int8, &what, &mut self.parameters)?.sql;
                let last = format!("g_array_length({sql}, {dimension})");
                let json = if is_vector {
                    format!("g_series(0, g_sub({last}, 1))")
                } else {
                    format!("g_series(1, {last})")
                };
                Set { json, columns: item("generate_subscripts", SqlType::Int8) }
            }
            ("_pg_expandarray", 1) => {
                let (sql, of) = introspect::array(first()?, &what, &mut self.parameters)?;
                let one = format!("g_array_json({sql}, {})", numbers(of));
                let json = format!("g_zip({one}, g_series(1, g_array_length({sql}, 1)))");
                let column =
                    |name, at, sql_type| (name, format!("json_extract({value}, '$[{at}]')"), sql_type);
                Set { json, columns: vec![column("x", 0, of), column("n", 1, SqlType::Int8)] }
            }
            ("aclexplode", 1) => {
                let (sql, _) = introspect::array(first()?, &what, &mut self.parameters)?;
                let column = |(at, (name, sql_type)): (usize, &(&'static str, SqlType))| {
                    (*name, format!("json_extract({value}, '$[{at}]')"), *sql_type)
                };
                let columns = [
                    ("grantor", SqlType::Oid),
                    ("grantee", SqlType::Oid),
                    ("privilege_type", SqlType::Text),
                    ("is_grantable", SqlType::Bool),
                ];
                let columns = columns.iter().enumerate().map(column).collect();
                Set { json: format!("g_aclexplode({sql})"), columns }
            }
            // There are no partitions: psql asks for those of each table.
            ("pg_partition_ancestors", 1) => {
                let _ = first()?;
                Set { json: "'[]'".to_owned(), columns: item("relid", SqlType::Reg(Reg::Class)) }
            }
            _ => return Err(wrong()),
        })
    }

    /// Begins a select list that functions with sets may stand in; gives back what was before.
    pub(super) fn begin_lateral(&mut self) -> Option<Lateral> {
        let sql_name = self.fresh('q');
        self.lateral.replace(Lateral { sql_name, arrays: Vec::new() })
    }

    /// Ends it: FROM with the rows that such functions make.
    pub(super) fn end_lateral(
        &mut self,
        before: Option<Lateral>,
        from: String,
        is_grouped: bool,
    ) -> Result<String, SqlError> {
        let Some(lateral) = std::mem::replace(&mut self.lateral, before) else { return Ok(from) };
        if lateral.arrays.is_empty() {
            return Ok(from);
        }
        unset(is_grouped, "a function that returns a set, in a query with groups")?;
        let rows = format!("json_each(g_zip({})) AS {}", lateral.arrays.join(", "), lateral.sql_name);
        Ok(if from.is_empty() { format!(" FROM {rows}") } else { format!("{from}, {rows}") })
    }

    /// A call of a function that returns a set, in a select list. None: the function is none such.
    pub(super) fn set_in_list(
        &mut self,
        name: &str,
        arguments: &[ast::FunctionArg],
        scope: &Scope<'_>,
    ) -> Result<Option<Typed>, SqlError> {
        if !RETURN_SETS.contains(&name) {
            return Ok(None);
        }
        let Some(sql_name) = self.lateral.as_ref().map(|lateral| lateral.sql_name.clone()) else {
            return Err(SqlError::unsupported(format!("{name}() at this place")));
        };
        let arguments = arguments.iter().map(plain_argument).collect::<Result<Vec<_>, _>>()?;
        // An argument is computed before the rows are made: nothing in it may make rows itself.
        let lateral = self.lateral.take();
        let set = self.set(name, &arguments, "v", scope);
        self.lateral = lateral;
        let set = set?;
        let Some(lateral) = &mut self.lateral else { return Err(SqlError::internal("a set without rows")) };
        let at = match lateral.arrays.iter().position(|known| *known == set.json) {
            Some(at) => at,
            None => {
                lateral.arrays.push(set.json);
                lateral.arrays.len() - 1
            }
        };
        let value = format!("json_extract({sql_name}.value, '$[{at}]')");
        Ok(Some(match set.columns.as_slice() {
            [(_, _, sql_type)] => Typed::computed(value, *sql_type),
            _ if name == "_pg_expandarray" => {
                let part = |field: u8| format!("json_extract({value}, '$[{field}]')");
                Typed::computed(format!("g_pair({}, {})", part(0), part(1)), SqlType::Text)
            }
            _ => return Err(SqlError::unsupported(format!("{name}() in a select list"))),
        }))
    }

    /// Expressions that are none of plain SQL's.
    pub(super) fn introspection(
        &mut self,
        expression: &Expr,
        scope: &Scope<'_>,
    ) -> Result<Option<Typed>, SqlError> {
        Ok(Some(match expression {
            Expr::Collate { expr, collation } => {
                let name = collation.to_string().to_lowercase().replace('"', "");
                let known = ["default", "pg_catalog.default", "c", "pg_catalog.c", "posix"];
                unset(!known.contains(&name.as_str()), "this COLLATE")?;
                self.expression(expr, scope)?
            }
            Expr::AnyOp { left, compare_op: ast::BinaryOperator::Eq, right, is_some: _ } => {
                self.any(false, left, right, scope)?
            }
            Expr::AnyOp { left, compare_op, right, is_some: _ } => {
                self.quantified(Quantifier::Any, (left, compare_op, right), scope)?
            }
            Expr::AllOp { left, compare_op: ast::BinaryOperator::NotEq, right } => {
                self.any(true, left, right, scope)?
            }
            Expr::AllOp { left, compare_op, right } => {
                self.quantified(Quantifier::All, (left, compare_op, right), scope)?
            }
            Expr::Array(array) => {
                let mut items = Vec::with_capacity(array.elem.len());
                for item in &array.elem {
                    items.push(self.expression(item, scope)?);
                }
                introspect::literal(items, &mut self.parameters)?
            }
            Expr::CompoundFieldAccess { root, access_chain } => self.access(root, access_chain, scope)?,
            _ => return Ok(None),
        }))
    }

    fn any(
        &mut self,
        negated: bool,
        left: &Expr,
        right: &Expr,
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        if let Expr::Subquery(query) = right {
            let (expr, subquery) = (Box::new(left.clone()), query.clone());
            return self.membership(&Expr::InSubquery { expr, subquery, negated }, scope);
        }
        let left = self.expression(left, scope)?;
        let right = self.expression(right, scope)?;
        introspect::any(negated, left, right, &mut self.parameters)
    }

    /// `array[1]`, and the fields of the pairs that `_pg_expandarray` makes.
    fn access(
        &mut self,
        root: &Expr,
        chain: &[ast::AccessExpr],
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        // `a.b[1]` is read as a field of `a`.
        let mut name: Vec<_> = match root {
            Expr::Identifier(ident) => vec![ident.clone()],
            Expr::CompoundIdentifier(idents) => idents.clone(),
            _ => Vec::new(),
        };
        let mut chain = chain;
        while let ([ast::AccessExpr::Dot(Expr::Identifier(field)), rest @ ..], false) =
            (chain, name.is_empty())
        {
            name.push(field.clone());
            chain = rest;
        }
        let typed = match name.as_slice() {
            [] => self.expression(root, scope)?,
            name => scope.column(name)?,
        };
        match chain {
            [ast::AccessExpr::Subscript(ast::Subscript::Index { index })] => {
                let index = self.expression(index, scope)?;
                introspect::item(typed, index, &mut self.parameters)
            }
            [ast::AccessExpr::Dot(Expr::Identifier(field))] if typed.sql_type == SqlType::Text => {
                let at = match name_of(field).as_str() {
                    "x" => 0,
                    "n" => 1,
                    _ => return Err(SqlError::unsupported("access to a field")),
                };
                Ok(Typed::computed(format!("g_field({}, {at})", typed.sql), SqlType::Int8))
            }
            _ => Err(SqlError::unsupported("access to a field")),
        }
    }

    /// `ARRAY(SELECT …)`.
    pub(super) fn array_subquery(
        &mut self,
        query: &ast::Query,
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        let bound = self.subquery(query, scope)?;
        let [column] = bound.columns.as_slice() else {
            return Err(SqlError::syntax("subquery must return only one column"));
        };
        let item = introspect::as_item("k1", column.settled_type());
        let sql = format!("(SELECT g_json_array(json_group_array({item})) FROM ({}))", bound.sql);
        Ok(Typed::computed(sql, introspect::array_of(column.settled_type())?))
    }

    /// `ORDER BY …` inside of a call; empty if there is none.
    pub(super) fn order_list(
        &mut self,
        order: &[ast::OrderByExpr],
        scope: &Scope<'_>,
    ) -> Result<String, SqlError> {
        let mut items = Vec::with_capacity(order.len());
        for item in order {
            let typed = self.expression(&item.expr, scope)?;
            let typed = cast::settled(typed, &mut self.parameters)?;
            items.push(format!("{}{}", order::listed(&typed), direction(item)?));
        }
        Ok(if items.is_empty() { String::new() } else { format!("ORDER BY {}", items.join(", ")) })
    }

    /// A function in FROM, in each of the forms that the parser has for it. None: the table is none.
    pub(super) fn function_in_from(
        &mut self,
        factor: &ast::TableFactor,
        scope: &mut Scope<'_>,
    ) -> Result<Option<String>, SqlError> {
        let (name, arguments, ordinality, alias) = match factor {
            ast::TableFactor::UNNEST {
                alias,
                array_exprs,
                with_offset,
                with_offset_alias,
                with_ordinality,
            } => {
                unset(*with_offset, "WITH OFFSET")?;
                none(with_offset_alias, "WITH OFFSET")?;
                ("unnest".to_owned(), array_exprs.iter().collect::<Vec<_>>(), *with_ordinality, alias)
            }
            ast::TableFactor::Function { lateral: _, name, args, with_ordinality, alias } => {
                let arguments = args.iter().map(plain_argument).collect::<Result<Vec<_>, _>>()?;
                (set_name(name)?, arguments, *with_ordinality, alias)
            }
            ast::TableFactor::Table {
                name, alias, args: Some(call), with_ordinality, with_hints, ..
            } => {
                empty(with_hints, "a hint in FROM")?;
                let arguments = call.args.iter().map(plain_argument).collect::<Result<Vec<_>, _>>()?;
                (set_name(name)?, arguments, *with_ordinality, alias)
            }
            _ => return Ok(None),
        };
        self.table_function((&name, &arguments), ordinality, alias.as_ref(), scope).map(Some)
    }
}

/// The columns of a virtual table, referred to through `sql_name`.
pub(super) fn virtual_scope(
    (id, object): (ObjectId, &Object),
    sql_name: &str,
    name: Name,
) -> Result<Relation, SqlError> {
    let shape = catalog::shape(id)
        .ok_or_else(|| SqlError::unsupported(format!("the system table {}", object.name)))?;
    let column = |(name, sql_type): &(&'static str, SqlType)| ScopeColumn {
        name: Name::from(*name),
        sql: format!("{sql_name}.{}", crate::sql::translate::quote(name)),
        sql_type: *sql_type,
        hidden: false,
    };
    let table_oid = ScopeColumn {
        name: Name::from("tableoid"),
        sql: id.to_string(),
        sql_type: SqlType::Oid,
        hidden: true,
    };
    Ok(Relation {
        name,
        schema: None,
        columns: shape.columns.iter().map(column).chain([table_oid]).collect(),
        key: Vec::new(),
    })
}

fn set_name(name: &ast::ObjectName) -> Result<String, SqlError> {
    function_name(name)?.ok_or_else(|| SqlError::unsupported(format!("the function {name}() in FROM")))
}

/// Functions that return sets.
const RETURN_SETS: [&str; 18] = [
    "unnest",
    "generate_series",
    "generate_subscripts",
    "_pg_expandarray",
    "aclexplode",
    "pg_partition_ancestors",
    "regexp_split_to_table",
    "regexp_matches",
    "jsonb_array_elements",
    "jsonb_array_elements_text",
    "jsonb_each",
    "jsonb_each_text",
    "jsonb_object_keys",
    "json_array_elements",
    "json_array_elements_text",
    "json_each",
    "json_each_text",
    "json_object_keys",
];

/// A set that a function makes of JSON or by a regular expression.
fn set_of_text(
    name: &str,
    arguments: &[Typed],
    value: &str,
    parameters: &mut Parameters,
) -> Result<Option<Set>, SqlError> {
    match json_set(name, arguments, value, parameters)? {
        Some(set) => Ok(Some(set)),
        None => regex_set(name, arguments, value, parameters),
    }
}

/// A set that a function makes of one JSON value. What a column holds is read from a JSON array of texts; through a
/// function, because it is no column with a collation.
fn json_set(
    name: &str,
    arguments: &[Typed],
    value: &str,
    parameters: &mut Parameters,
) -> Result<Option<Set>, SqlError> {
    let plain = name.strip_prefix("jsonb_").or_else(|| name.strip_prefix("json_"));
    let (Some(plain), [json]) = (plain, arguments) else { return Ok(None) };
    let json = cast::expect(json.clone(), SqlType::Jsonb, &format!("argument of {name}()"), parameters)?.sql;
    let whole = format!("g_same({value})");
    let part = |at: u8| format!("g_same(json_extract({value}, '$[{at}]'))");
    let keys = if name == "json_object_keys" { "json_object_keys" } else { "jsonb_object_keys" };
    let (function, columns) = match plain {
        "array_elements" => ("g_json_elements", vec![("value", whole, SqlType::Jsonb)]),
        "array_elements_text" => ("g_json_elements_text", vec![("value", whole, SqlType::Text)]),
        "object_keys" => ("g_json_keys", vec![(keys, whole, SqlType::Text)]),
        "each" => ("g_json_each", vec![("key", part(0), SqlType::Text), ("value", part(1), SqlType::Jsonb)]),
        "each_text" => {
            ("g_json_each_text", vec![("key", part(0), SqlType::Text), ("value", part(1), SqlType::Text)])
        }
        _ => return Ok(None),
    };
    Ok(Some(Set { json: format!("{function}({json})"), columns }))
}

/// A set that a regular expression makes of a text.
fn regex_set(
    name: &str,
    arguments: &[Typed],
    value: &str,
    parameters: &mut Parameters,
) -> Result<Option<Set>, SqlError> {
    let (function, name, of) = match (name, arguments.len()) {
        ("regexp_matches", 2 | 3) => ("g_regex_match_rows", "regexp_matches", SqlType::TextArray),
        ("regexp_split_to_table", 2 | 3) => ("g_regex_split_rows", "regexp_split_to_table", SqlType::Text),
        _ => return Ok(None),
    };
    let what = format!("argument of {name}()");
    let texts = arguments
        .iter()
        .map(|argument| {
            cast::expect(argument.clone(), SqlType::Text, &what, parameters).map(|typed| typed.sql)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let json = format!("coalesce({function}({}), '[]')", texts.join(", "));
    Ok(Some(Set { json, columns: vec![(name, value.to_owned(), of)] }))
}
