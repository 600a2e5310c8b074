//! Queries: what stands around a SELECT, VALUES or a set operation, and lists of columns.

use grantd_catalog::name::Name;
use sqlparser::ast;

use crate::error::{SqlError, state};
use crate::sql::parse::name_of;
use crate::sql::translate::{Form, Typed, cast, enums, introspect};
use crate::value::{ColumnInfo, SqlType};

use super::combine::output_order;
use super::heading::output_name;
use super::scope::Scope;
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
pub(super) fn shown(bound: Bound) -> String {
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
        // FOR UPDATE is of FROM, not of what expressions look into.
        let locking = self.locking.take();
        let bound = self.query(query, outer);
        self.locking = locking;
        bound
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
        none(for_clause, "FOR XML and FOR JSON")?;
        none(settings, "SETTINGS")?;
        none(format_clause, "FORMAT")?;
        empty(pipe_operators, "|>")?;
        let around = self.locking.take();
        let with = match with {
            Some(with) => self.with_items(with, outer)?,
            None => String::new(),
        };
        let order = order_expressions(order_by.as_ref())?;
        let locking = if locks.is_empty() { around } else { Some(self.locking(locks)?) };
        let mut bound = match body.as_ref() {
            ast::SetExpr::Select(select) => {
                self.locking = locking;
                self.select(select, order, outer)?
            }
            _ if locking.is_some() => {
                return Err(SqlError::unsupported("FOR UPDATE or FOR SHARE of anything but a SELECT"));
            }
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
        if let Some(limit) = self.limit(limit_clause.as_ref(), fetch.as_ref())? {
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

    /// `LIMIT` and `OFFSET`, checked when they run: SQLite takes a negative number for none.
    fn limit(
        &mut self,
        clause: Option<&ast::LimitClause>,
        fetch: Option<&ast::Fetch>,
    ) -> Result<Option<String>, SqlError> {
        let (mut limit, mut offset) = (None, None);
        if let Some(clause) = clause {
            let ast::LimitClause::LimitOffset { limit: most, offset: skipped, limit_by } = clause else {
                return Err(SqlError::unsupported("LIMIT a, b"));
            };
            empty(limit_by, "LIMIT BY")?;
            (limit, offset) = (most.as_ref(), skipped.as_ref());
        }
        let one = ast::Expr::value(ast::Value::Number("1".to_owned(), false));
        if let Some(ast::Fetch { with_ties, percent, quantity }) = fetch {
            unset(*with_ties, "FETCH FIRST … WITH TIES")?;
            unset(*percent, "FETCH FIRST … PERCENT")?;
            if limit.replace(quantity.as_ref().unwrap_or(&one)).is_some() {
                return Err(SqlError::syntax("multiple LIMIT clauses not allowed"));
            }
        }
        if limit.is_none() && offset.is_none() {
            return Ok(None);
        }
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
        Ok(Some(sql))
    }

    /// The select list: names and typed expressions.
    pub(super) fn projection(
        &mut self,
        items: &[ast::SelectItem],
        scope: &Scope<'_>,
    ) -> Result<Vec<(Name, Typed)>, SqlError> {
        let wanted = std::mem::take(&mut self.wanted);
        let mut output: Vec<(Name, Typed)> = Vec::with_capacity(items.len());
        for item in items {
            let wanted = wanted.get(output.len()).copied();
            let star = match item {
                ast::SelectItem::UnnamedExpr(expression) => {
                    let name = Name::normalize(&output_name(expression));
                    output.push((name, self.settled(expression, wanted, scope)?));
                    continue;
                }
                ast::SelectItem::ExprWithAlias { expr, alias } => {
                    output.push((name_of(alias), self.settled(expr, wanted, scope)?));
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
                scope.check_grouped(column)?;
                output.push((column.name.clone(), scope.typed(column)));
            }
        }
        if output.len() > COLUMNS_MAX {
            return Err(SqlError::too_large(format!("a result has at most {COLUMNS_MAX} columns")));
        }
        Ok(output)
    }

    /// An expression of the select list; a bare NULL stays without a type. What has no type of its own gets the one
    /// that is wanted.
    fn settled(
        &mut self,
        expression: &ast::Expr,
        wanted: Option<SqlType>,
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        let typed = self.expression(expression, scope)?;
        match (&typed.form, wanted) {
            (Form::Null, _) => Ok(typed),
            (Form::Text(_) | Form::Parameter(_), Some(wanted)) => {
                cast::expect(typed, wanted, "value", &mut self.parameters)
            }
            _ => cast::settled(typed, &mut self.parameters),
        }
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

/// An expression without the parentheses around it, which mean nothing where a position or a name may stand.
pub(super) fn bare(mut expression: &ast::Expr) -> &ast::Expr {
    while let ast::Expr::Nested(inner) = expression {
        expression = inner;
    }
    expression
}

/// A position in the select list, as ORDER BY and GROUP BY take a bare integer.
pub(super) fn ordinal(expression: &ast::Expr) -> Option<usize> {
    match bare(expression) {
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
pub(super) fn is_constant(sql: &str) -> bool {
    let bare = sql.trim_matches(['(', ')', '-']);
    bare == "NULL" || is_literal(bare) || bare.bytes().all(|b| b.is_ascii_digit() || b == b'.')
}

/// One string and nothing behind it: each quote within is doubled.
fn is_literal(sql: &str) -> bool {
    let inner = sql.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
    inner.is_some_and(|inner| !inner.replace("''", "").contains('\''))
}

pub(super) fn projected(item: &ast::SelectItem) -> Option<&ast::Expr> {
    match item {
        ast::SelectItem::UnnamedExpr(expression)
        | ast::SelectItem::ExprWithAlias { expr: expression, .. } => Some(expression),
        ast::SelectItem::ExprWithAliases { .. }
        | ast::SelectItem::QualifiedWildcard(..)
        | ast::SelectItem::Wildcard(_) => None,
    }
}

/// GROUP BY may name a result column where no column of FROM has that name.
pub(super) fn aliased<'a>(
    key: &ast::Expr,
    projection: &'a [ast::SelectItem],
    scope: &Scope<'_>,
) -> Option<&'a ast::Expr> {
    let ast::Expr::Identifier(ident) = bare(key) else { return None };
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
pub(super) fn check_select(select: &ast::Select) -> Result<(), SqlError> {
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
        named_window: _,
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
    none(qualify, "QUALIFY")?;
    none(value_table_mode, "SELECT AS VALUE")?;
    unset(!matches!(flavor, ast::SelectFlavor::Standard), "FROM before SELECT")
}
