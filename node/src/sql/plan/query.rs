//! SELECT, VALUES, set operations, WITH.

use grantd_catalog::name::Name;
use sqlparser::ast;

use crate::sql::error::{SqlError, state};
use crate::sql::parse::name_of;
use crate::sql::translate::{Form, Typed, cast, enums, introspect};
use crate::sql::value::{ColumnInfo, SqlType};

use super::combine::output_order;
use super::expression::{contents, output_name};
use super::from::renamed;
use super::scope::{Aggregates, Scope, WithItem};
use super::stored::once;
use super::{Origin, Plan, Planner, empty, none, unset, written};

/// The most columns of a result.
const COLUMNS_MAX: usize = 1_600;

/// A query of the row store: its columns are called `k1`, `k2`, ….
#[derive(Clone, Debug)]
pub(super) struct Bound {
    pub(super) sql: String,
    pub(super) columns: Vec<OutputColumn>,
}

/// A column of a query.
#[derive(Clone, Debug)]
pub(super) struct OutputColumn {
    pub(super) name: Name,
    /// `Unknown`: nothing but NULL.
    pub(super) sql_type: SqlType,
}

impl OutputColumn {
    /// The expression that `sql` makes of the column.
    pub(super) fn typed(&self, sql: String) -> Typed {
        match self.sql_type {
            SqlType::Unknown => Typed { sql, ..Typed::null() },
            known => Typed::computed(sql, known),
        }
    }

    /// What a client is shown of `sql`: of an enum type the label, of an OID that has a name the name.
    pub(super) fn shown(&self, sql: &str) -> String {
        match self.sql_type {
            SqlType::Enum(id) => enums::output(sql, id),
            SqlType::Reg(reg) => introspect::reg_text(sql, reg),
            _ => sql.to_owned(),
        }
    }

    /// Its type inside of the statement, where nothing but NULL is text.
    pub(super) fn settled_type(&self) -> SqlType {
        if self.sql_type == SqlType::Unknown { SqlType::Text } else { self.sql_type }
    }

    /// The column as a client sees it.
    pub(super) fn info(&self) -> ColumnInfo {
        let sql_type = match self.settled_type() {
            SqlType::Reg(_) => SqlType::Text,
            settled => settled,
        };
        ColumnInfo { name: self.name.as_str().to_owned(), sql_type }
    }
}

/// Plans a query.
pub fn select(origin: Origin<'_>, query: &ast::Query, hints: &[Option<SqlType>]) -> Result<Plan, SqlError> {
    let mut planner = Planner::new(origin, hints);
    let root = planner.scope();
    let bound = planner.query(query, &root)?;
    let columns = bound.columns.iter().map(OutputColumn::info).collect();
    Ok(planner.finish(shown(bound), Some(columns), "SELECT"))
}

/// The query with labels in place of positions, and names in place of OIDs that have one. They are made around it: its
/// ORDER BY is that of positions.
fn shown(bound: Bound) -> String {
    let changes = |column: &OutputColumn| matches!(column.sql_type, SqlType::Enum(_) | SqlType::Reg(_));
    if !bound.columns.iter().any(changes) {
        return bound.sql;
    }
    let list: Vec<_> = bound
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let name = format!("k{}", at + 1);
            format!("{} AS {name}", column.shown(&name))
        })
        .collect();
    format!("SELECT {} FROM ({})", list.join(", "), bound.sql)
}

impl Planner<'_> {
    /// A query inside an expression.
    pub(super) fn subquery(&mut self, query: &ast::Query, outer: &Scope<'_>) -> Result<Bound, SqlError> {
        if !self.allows_subquery {
            return Err(SqlError::unsupported("a subquery at this place"));
        }
        self.query(query, outer)
    }

    /// A query. `outer` is what its expressions may also name.
    pub(super) fn query(&mut self, query: &ast::Query, outer: &Scope<'_>) -> Result<Bound, SqlError> {
        self.deeper(|planner| {
            let known = planner.with.len();
            let bound = planner.query_here(query, outer);
            planner.with.truncate(known);
            bound
        })
    }

    fn query_here(&mut self, query: &ast::Query, outer: &Scope<'_>) -> Result<Bound, SqlError> {
        let ast::Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        none(fetch, "FETCH FIRST")?;
        empty(locks, "FOR UPDATE and FOR SHARE")?;
        none(for_clause, "FOR XML and FOR JSON")?;
        none(settings, "SETTINGS")?;
        none(format_clause, "FORMAT")?;
        empty(pipe_operators, "|>")?;
        let with = match with {
            Some(with) => self.with_items(with, outer)?,
            None => String::new(),
        };
        let order = order_expressions(order_by.as_ref())?;
        let mut bound = match body.as_ref() {
            ast::SetExpr::Select(select) => self.select(select, order, outer)?,
            other => {
                let mut bound = self.set_expression(other, outer)?;
                let items = order
                    .iter()
                    .map(|item| output_order(item, &bound.columns))
                    .collect::<Result<Vec<_>, _>>()?;
                if !items.is_empty() {
                    bound.sql = format!("SELECT * FROM ({}) ORDER BY {}", bound.sql, items.join(", "));
                }
                bound
            }
        };
        if let Some(clause) = limit_clause {
            let limit = self.limit(clause)?;
            let wrapped = !matches!(body.as_ref(), ast::SetExpr::Select(_)) && order.is_empty();
            bound.sql = if wrapped {
                format!("SELECT * FROM ({}){limit}", bound.sql)
            } else {
                format!("{}{limit}", bound.sql)
            };
        }
        bound.sql = format!("{with}{}", bound.sql);
        Ok(bound)
    }

    fn with_items(&mut self, with: &ast::With, outer: &Scope<'_>) -> Result<String, SqlError> {
        unset(with.recursive, "WITH RECURSIVE")?;
        let mut items = Vec::with_capacity(with.cte_tables.len());
        let first = self.with.len();
        for item in &with.cte_tables {
            let ast::Cte { alias, query, from, materialized, closing_paren_token: _ } = item;
            none(from, "WITH … FROM")?;
            none(materialized, "MATERIALIZED")?;
            let name = name_of(&alias.name);
            if self.with[first..].iter().any(|known| known.name == name) {
                return Err(SqlError::new(
                    state::DUPLICATE_ALIAS,
                    format!("WITH query name {name} specified more than once"),
                ));
            }
            let bound = self.query(query, outer)?;
            let names = renamed(alias, bound.columns.iter().map(|column| column.name.clone()).collect())?;
            let columns = names.into_iter().zip(bound.columns.iter().map(|column| column.sql_type)).collect();
            let sql_name = self.fresh_with();
            items.push(format!("{sql_name} AS ({})", once(bound.sql)));
            self.with.push(WithItem { name, sql_name, columns });
        }
        Ok(format!("WITH {} ", items.join(", ")))
    }

    /// `LIMIT` and `OFFSET`, checked when they run: SQLite takes a negative number for none.
    fn limit(&mut self, clause: &ast::LimitClause) -> Result<String, SqlError> {
        let ast::LimitClause::LimitOffset { limit, offset, limit_by } = clause else {
            return Err(SqlError::unsupported("LIMIT a, b"));
        };
        empty(limit_by, "LIMIT BY")?;
        let scope = self.scope().without_aggregates("LIMIT");
        let mut sql = match limit {
            Some(limit) => {
                format!(" LIMIT g_limit({})", self.typed(limit, SqlType::Int8, "argument of LIMIT", &scope)?)
            }
            None => " LIMIT -1".to_owned(),
        };
        if let Some(offset) = offset {
            let offset = self.typed(&offset.value, SqlType::Int8, "argument of OFFSET", &scope)?;
            sql.push_str(&format!(" OFFSET g_offset({offset})"));
        }
        Ok(sql)
    }

    pub(super) fn select(
        &mut self,
        select: &ast::Select,
        order: &[ast::OrderByExpr],
        outer: &Scope<'_>,
    ) -> Result<Bound, SqlError> {
        check_select(select)?;
        let distinct = match &select.distinct {
            None | Some(ast::Distinct::All) => false,
            Some(ast::Distinct::Distinct) => true,
            Some(ast::Distinct::On(_)) => return Err(SqlError::unsupported("DISTINCT ON")),
        };
        let around = self.lateral.take();
        let mut scope = Scope::within(outer);
        let from = self.from(&select.from, &mut scope)?;
        let filter = match &select.selection {
            Some(filter) => {
                let scope = scope.without_aggregates("WHERE");
                format!(" WHERE {}", self.typed(filter, SqlType::Bool, "argument of WHERE", &scope)?)
            }
            None => String::new(),
        };
        let groups = self.groups(select, order, &scope)?;
        let grouping = match &groups {
            Some(groups) if !groups.is_empty() => format!(" GROUP BY {}", groups.join(", ")),
            _ => String::new(),
        };
        let scope = Scope { groups, aggregates: Aggregates::Allowed, ..scope };
        let is_grouped = scope.groups.is_some();
        self.begin_lateral();
        let output = self.projection(&select.projection, &scope)?;
        let from = self.end_lateral(around, from, is_grouped)?;
        let having = match &select.having {
            Some(having) => {
                format!(" HAVING {}", self.typed(having, SqlType::Bool, "argument of HAVING", &scope)?)
            }
            None => String::new(),
        };
        let mut items = Vec::with_capacity(order.len());
        for item in order {
            items.extend(self.order_item(item, &output, distinct, &scope)?);
        }
        let ordering =
            if items.is_empty() { String::new() } else { format!(" ORDER BY {}", items.join(", ")) };
        let list: Vec<_> = output
            .iter()
            .enumerate()
            .map(|(at, (_, typed))| format!("{} AS k{}", typed.sql, at + 1))
            .collect();
        let distinct = if distinct { "DISTINCT " } else { "" };
        Ok(Bound {
            sql: format!("SELECT {distinct}{}{from}{filter}{grouping}{having}{ordering}", list.join(", ")),
            columns: output
                .into_iter()
                .map(|(name, typed)| OutputColumn { name, sql_type: typed.sql_type })
                .collect(),
        })
    }

    /// What rows are grouped by; none: they are not.
    fn groups(
        &mut self,
        select: &ast::Select,
        order: &[ast::OrderByExpr],
        scope: &Scope<'_>,
    ) -> Result<Option<Vec<String>>, SqlError> {
        let ast::GroupByExpr::Expressions(keys, modifiers) = &select.group_by else {
            return Err(SqlError::unsupported("GROUP BY ALL"));
        };
        empty(modifiers, "GROUP BY WITH")?;
        let aggregates = select.projection.iter().filter_map(projected).any(|item| contents(item).aggregate)
            || order.iter().any(|item| contents(&item.expr).aggregate);
        if keys.is_empty() && select.having.is_none() && !aggregates {
            return Ok(None);
        }
        let scope = scope.without_aggregates("GROUP BY");
        let mut groups = Vec::with_capacity(keys.len());
        for key in keys {
            let key = match ordinal(key) {
                Some(position) => position
                    .checked_sub(1)
                    .and_then(|at| select.projection.get(at))
                    .and_then(projected)
                    .ok_or_else(|| position_error("GROUP BY", position))?,
                None => aliased(key, &select.projection, &scope).unwrap_or(key),
            };
            let typed = self.expression(key, &scope)?;
            let typed = cast::settled(typed, &mut self.parameters)?;
            // Each call is planned under names of its own, so the select list would not be found among the groups.
            if typed.sql.contains(" AS MATERIALIZED ") {
                return Err(SqlError::unsupported("a function of the user's in GROUP BY")
                    .with_hint("Compute it in a subquery in FROM."));
            }
            if is_constant(&typed.sql) {
                return Err(SqlError::unsupported("a constant in GROUP BY"));
            }
            groups.push(typed.sql);
        }
        Ok(Some(groups))
    }

    /// The select list: names and typed expressions.
    pub(super) fn projection(
        &mut self,
        items: &[ast::SelectItem],
        scope: &Scope<'_>,
    ) -> Result<Vec<(Name, Typed)>, SqlError> {
        let mut output = Vec::with_capacity(items.len());
        for item in items {
            let star = match item {
                ast::SelectItem::UnnamedExpr(expression) => {
                    output
                        .push((Name::normalize(&output_name(expression)), self.settled(expression, scope)?));
                    continue;
                }
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    output.push((name_of(alias), self.settled(expr, scope)?));
                    continue;
                }
                ast::SelectItem::ExprWithAliases { .. } => {
                    return Err(SqlError::unsupported("several aliases of an expression"));
                }
                ast::SelectItem::Wildcard(options) => {
                    check_wildcard(options)?;
                    if scope.relations.is_empty() {
                        return Err(SqlError::syntax("cannot use \"*\" without a FROM clause"));
                    }
                    self.write_columns(options.wildcard_token.0.span, &scope.all_written());
                    scope.all()
                }
                ast::SelectItem::QualifiedWildcard(
                    ast::SelectItemQualifiedWildcardKind::ObjectName(object_name),
                    options,
                ) => {
                    check_wildcard(options)?;
                    match super::object_name(object_name)?.parts.as_slice() {
                        [name] => {
                            let span = written::span(object_name).union(&options.wildcard_token.0.span);
                            self.write_columns(span, &scope.written_of(name));
                            scope.all_of(name)?
                        }
                        _ => return Err(SqlError::unsupported("* after a name of several parts")),
                    }
                }
                ast::SelectItem::QualifiedWildcard(ast::SelectItemQualifiedWildcardKind::Expr(_), _) => {
                    return Err(SqlError::unsupported("* after an expression"));
                }
            };
            for column in star {
                let grouped = scope.groups.as_ref().is_some_and(|groups| !groups.contains(&column.sql));
                if grouped {
                    return Err(SqlError::new(
                        state::GROUPING_ERROR,
                        format!(
                            "column \"{}\" must appear in the GROUP BY clause or be used in an aggregate function",
                            column.name
                        ),
                    ));
                }
                output.push((column.name.clone(), Typed::computed(column.sql.clone(), column.sql_type)));
            }
        }
        if output.is_empty() || output.len() > COLUMNS_MAX {
            return Err(SqlError::too_large(format!("a result has 1 to {COLUMNS_MAX} columns")));
        }
        Ok(output)
    }

    /// An expression of the select list; a bare NULL stays without a type.
    fn settled(&mut self, expression: &ast::Expr, scope: &Scope<'_>) -> Result<Typed, SqlError> {
        let typed = self.expression(expression, scope)?;
        if typed.form == Form::Null { Ok(typed) } else { cast::settled(typed, &mut self.parameters) }
    }

    /// One item of ORDER BY: a position, a name of the result, or an expression. None: a constant.
    fn order_item(
        &mut self,
        item: &ast::OrderByExpr,
        output: &[(Name, Typed)],
        distinct: bool,
        scope: &Scope<'_>,
    ) -> Result<Option<String>, SqlError> {
        let suffix = direction(item)?;
        if let Some(position) = ordinal(&item.expr) {
            return match position {
                1.. if position <= output.len() => Ok(Some(format!("k{position}{suffix}"))),
                _ => Err(position_error("ORDER BY", position)),
            };
        }
        if let ast::Expr::Identifier(ident) = &item.expr {
            let name = name_of(ident);
            let named: Vec<_> = (0..output.len()).filter(|at| output[*at].0 == name).collect();
            match named.as_slice() {
                [] => {}
                [at, rest @ ..] if rest.iter().all(|other| output[*other].1.sql == output[*at].1.sql) => {
                    return Ok(Some(format!("k{}{suffix}", at + 1)));
                }
                _ => {
                    return Err(SqlError::new(
                        state::AMBIGUOUS_COLUMN,
                        format!("ORDER BY \"{name}\" is ambiguous"),
                    ));
                }
            }
        }
        let typed = self.expression(&item.expr, scope)?;
        let typed = cast::settled(typed, &mut self.parameters)?;
        if let Some(at) = output.iter().position(|(_, known)| known.sql == typed.sql) {
            return Ok(Some(format!("k{}{suffix}", at + 1)));
        }
        if distinct {
            return Err(SqlError::new(
                state::INVALID_COLUMN_REFERENCE,
                "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
            ));
        }
        Ok((!is_constant(&typed.sql)).then(|| format!("{}{suffix}", typed.sql)))
    }
}

fn order_expressions(order: Option<&ast::OrderBy>) -> Result<&[ast::OrderByExpr], SqlError> {
    let Some(order) = order else { return Ok(&[]) };
    none(&order.interpolate, "INTERPOLATE")?;
    match &order.kind {
        ast::OrderByKind::Expressions(items) => Ok(items),
        ast::OrderByKind::All(_) => Err(SqlError::unsupported("ORDER BY ALL")),
    }
}

/// ` DESC NULLS LAST`. NULL sorts before everything unless it is said, as in CockroachDB and SQLite.
pub(super) fn direction(item: &ast::OrderByExpr) -> Result<String, SqlError> {
    none(&item.with_fill, "WITH FILL")?;
    let mut suffix = match &item.options.sort {
        None | Some(ast::OrderBySort::Asc) => String::new(),
        Some(ast::OrderBySort::Desc) => " DESC".to_owned(),
        Some(ast::OrderBySort::Using(_)) => return Err(SqlError::unsupported("ORDER BY USING")),
    };
    match item.options.nulls_first {
        Some(true) => suffix.push_str(" NULLS FIRST"),
        Some(false) => suffix.push_str(" NULLS LAST"),
        None => {}
    }
    Ok(suffix)
}

/// A position in the select list, as ORDER BY and GROUP BY take a bare integer.
pub(super) fn ordinal(expression: &ast::Expr) -> Option<usize> {
    match expression {
        ast::Expr::Value(value) => match &value.value {
            ast::Value::Number(digits, false) => digits.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

pub(super) fn position_error(clause: &str, position: usize) -> SqlError {
    SqlError::new(
        state::INVALID_COLUMN_REFERENCE,
        format!("{clause} position {position} is not in select list"),
    )
}

/// A text that SQLite would read as a position, or that orders and groups nothing.
fn is_constant(sql: &str) -> bool {
    let bare = sql.trim_matches(['(', ')', '-']);
    bare == "NULL" || bare.starts_with('\'') || bare.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

fn projected(item: &ast::SelectItem) -> Option<&ast::Expr> {
    match item {
        ast::SelectItem::UnnamedExpr(expression)
        | ast::SelectItem::ExprWithAlias { expr: expression, .. } => Some(expression),
        ast::SelectItem::ExprWithAliases { .. }
        | ast::SelectItem::QualifiedWildcard(..)
        | ast::SelectItem::Wildcard(_) => None,
    }
}

/// GROUP BY may name a result column where no column of FROM has that name.
fn aliased<'a>(
    key: &ast::Expr,
    projection: &'a [ast::SelectItem],
    scope: &Scope<'_>,
) -> Option<&'a ast::Expr> {
    let ast::Expr::Identifier(ident) = key else { return None };
    if scope.column(std::slice::from_ref(ident)).is_ok() {
        return None;
    }
    let name = name_of(ident);
    projection.iter().find_map(|item| match item {
        ast::SelectItem::ExprWithAlias { expr, alias } if name_of(alias) == name => Some(expr),
        _ => None,
    })
}

fn check_wildcard(options: &ast::WildcardAdditionalOptions) -> Result<(), SqlError> {
    let ast::WildcardAdditionalOptions {
        wildcard_token: _,
        opt_ilike,
        opt_exclude,
        opt_except,
        opt_replace,
        opt_rename,
        opt_alias,
    } = options;
    none(opt_ilike, "* ILIKE")?;
    none(opt_exclude, "* EXCLUDE")?;
    none(opt_except, "* EXCEPT")?;
    none(opt_replace, "* REPLACE")?;
    none(opt_rename, "* RENAME")?;
    none(opt_alias, "an alias of *")
}

/// Refuses every clause that is not translated, field by field, so that a new one cannot be missed.
fn check_select(select: &ast::Select) -> Result<(), SqlError> {
    let ast::Select {
        select_token: _,
        optimizer_hints,
        distinct: _,
        select_modifiers,
        top,
        top_before_distinct: _,
        projection: _,
        exclude,
        into,
        from: _,
        lateral_views,
        prewhere,
        selection: _,
        connect_by,
        group_by: _,
        cluster_by,
        distribute_by,
        sort_by,
        having: _,
        named_window,
        qualify,
        window_before_qualify: _,
        value_table_mode,
        flavor,
    } = select;
    let _ = optimizer_hints;
    none(select_modifiers, "a modifier of SELECT")?;
    none(top, "TOP")?;
    none(exclude, "EXCLUDE")?;
    none(into, "SELECT INTO")?;
    empty(lateral_views, "LATERAL VIEW")?;
    none(prewhere, "PREWHERE")?;
    empty(connect_by, "CONNECT BY")?;
    empty(cluster_by, "CLUSTER BY")?;
    empty(distribute_by, "DISTRIBUTE BY")?;
    empty(sort_by, "SORT BY")?;
    empty(named_window, "WINDOW")?;
    none(qualify, "QUALIFY")?;
    none(value_table_mode, "SELECT AS VALUE")?;
    unset(!matches!(flavor, ast::SelectFlavor::Standard), "FROM before SELECT")
}
