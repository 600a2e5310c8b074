//! One SELECT: its clauses in the order in which they mean something.

use grantd_catalog::name::Name;
use sqlparser::ast;

use super::group::Groups;
use super::query::{
    Bound, OutputColumn, bare, check_select, direction, is_constant, ordinal, position_error,
};
use super::scope::{Aggregates, Scope};
use super::window::named_windows;
use super::{Planner, unset};
use crate::error::{SqlError, state};
use crate::sql::parse::name_of;
use crate::sql::translate::{Typed, cast, function, order};
use crate::value::SqlType;

/// Names and expressions of a result.
type Output = Vec<(Name, Typed)>;

/// One item of ORDER BY.
struct Ordered {
    /// The column of the result that it is, counted from 0.
    at: Option<usize>,
    sql: String,
    /// ` DESC NULLS LAST`.
    suffix: String,
}

impl Ordered {
    /// As it stands behind a select list whose columns are `k1`, `k2`, ….
    fn listed(&self) -> String {
        match self.at {
            Some(at) => format!("k{}{}", at + 1, self.suffix),
            None => format!("{}{}", term(&self.sql), self.suffix),
        }
    }
}

/// An expression of GROUP BY or ORDER BY. SQLite makes 0 of `a AND 0`, and would take that for a position.
fn term(sql: &str) -> String {
    let is_plain = !sql.contains(" AND ") && !is_constant(sql);
    if is_plain { sql.to_owned() } else { format!("coalesce({sql}, NULL)") }
}

/// What stands behind the select list.
struct Parts {
    from: String,
    filter: String,
    grouping: String,
    having: String,
}

impl Planner<'_> {
    pub(super) fn select(
        &mut self,
        select: &ast::Select,
        order: &[ast::OrderByExpr],
        outer: &Scope<'_>,
    ) -> Result<Bound, SqlError> {
        check_select(select)?;
        // It is of this select list, and of none within it.
        let wanted = std::mem::take(&mut self.wanted);
        let around = self.lateral.take();
        let mut scope = Scope::within(outer);
        let from = self.from(&select.from, &mut scope)?;
        let locking = self.locking.take();
        if let Some(locking) = &locking {
            locking.check(&scope)?;
        }
        scope.windows = named_windows(&select.named_window)?;
        let filter = match &select.selection {
            Some(filter) => {
                let scope = scope.without_aggregates("WHERE");
                format!(" WHERE {}", self.typed(filter, SqlType::Bool, "argument of WHERE", &scope)?)
            }
            None => String::new(),
        };
        let mut sets = self.groups(select, order, &scope)?;
        if locking.is_some() && (!sets.is_empty() || select.distinct.is_some()) {
            return Err(SqlError::unsupported("FOR UPDATE or FOR SHARE with GROUP BY or DISTINCT"));
        }
        let parts = Parts { from, filter, grouping: String::new(), having: String::new() };
        if sets.len() > 1 {
            self.lateral = around;
            return self.grouping_sets(select, order, (sets, parts), &scope);
        }
        let set = sets.pop();
        let is_grouped = set.is_some();
        let scope = grouped(&scope, set);
        self.begin_lateral();
        self.wanted = wanted;
        let output = self.projection(&select.projection, &scope)?;
        let from = self.end_lateral(around, parts.from, is_grouped)?;
        let (grouping, having) = self.grouping(select, &scope)?;
        let parts = Parts { from, filter: parts.filter, grouping, having };
        let bound = self.assembled(select, order, (&output, &parts), &scope)?;
        if locking.is_some() && bound.sql.contains(" OVER (") {
            return Err(SqlError::unsupported("FOR UPDATE or FOR SHARE with window functions"));
        }
        Ok(bound)
    }

    /// ` GROUP BY …` and ` HAVING …`.
    fn grouping(&mut self, select: &ast::Select, scope: &Scope<'_>) -> Result<(String, String), SqlError> {
        let grouping = match &scope.groups {
            Some(groups) if !groups.is_empty() => {
                let keys: Vec<_> = groups.iter().map(|key| term(&self.collated(key))).collect();
                format!(" GROUP BY {}", keys.join(", "))
            }
            _ => String::new(),
        };
        let having = match &select.having {
            Some(having) => {
                let scope = Scope { aggregates: Aggregates::WithoutWindows("HAVING"), ..scope.clone() };
                format!(" HAVING {}", self.typed(having, SqlType::Bool, "argument of HAVING", &scope)?)
            }
            None => String::new(),
        };
        Ok((grouping, having))
    }

    fn assembled(
        &mut self,
        select: &ast::Select,
        order: &[ast::OrderByExpr],
        (output, parts): (&Output, &Parts),
        scope: &Scope<'_>,
    ) -> Result<Bound, SqlError> {
        let distinct = match &select.distinct {
            None | Some(ast::Distinct::All) => "",
            Some(ast::Distinct::Distinct) => "DISTINCT ",
            Some(ast::Distinct::On(keys)) => return self.distinct_on(keys, order, (output, parts), scope),
        };
        let mut items = Vec::with_capacity(order.len());
        for item in order {
            let Some(item) = self.order_item(item, output, scope)? else { continue };
            if !distinct.is_empty() && item.at.is_none() {
                return Err(SqlError::new(
                    state::INVALID_COLUMN_REFERENCE,
                    "for SELECT DISTINCT, ORDER BY expressions must appear in select list",
                ));
            }
            items.push(item.listed());
        }
        let ordering =
            if items.is_empty() { String::new() } else { format!(" ORDER BY {}", items.join(", ")) };
        let Parts { from, filter, grouping, having } = parts;
        let sql = match grouping.is_empty() && !having.is_empty() {
            // One group. SQLite takes it for one only if its select list has an aggregate.
            true => format!(
                "SELECT {} FROM (SELECT {}, count(*) AS kn{from}{filter}{having})",
                names(output),
                list(output)
            ),
            false => format!("SELECT {distinct}{}{from}{filter}{grouping}{having}{ordering}", list(output)),
        };
        Ok(Bound { sql, columns: columns(output) })
    }

    /// DISTINCT ON: the first row of each group, as a window counts them.
    fn distinct_on(
        &mut self,
        keys: &[ast::Expr],
        order: &[ast::OrderByExpr],
        (output, parts): (&Output, &Parts),
        scope: &Scope<'_>,
    ) -> Result<Bound, SqlError> {
        let mut on = Vec::with_capacity(keys.len());
        for key in keys {
            let key = ast::OrderByExpr {
                expr: key.clone(),
                options: ast::OrderByOptions { sort: None, nulls_first: None },
                with_fill: None,
            };
            on.extend(self.order_item(&key, output, scope)?.map(|key| key.sql));
        }
        let mut items = Vec::with_capacity(order.len());
        for item in order {
            items.extend(self.order_item(item, output, scope)?);
        }
        let mut open: Vec<_> = on.iter().collect();
        for item in &items {
            let known = open.len();
            open.retain(|key| **key != item.sql);
            if open.len() == known && known > 0 && !on.contains(&item.sql) {
                return Err(SqlError::new(
                    state::INVALID_COLUMN_REFERENCE,
                    "SELECT DISTINCT ON expressions must match initial ORDER BY expressions",
                ));
            }
        }
        let within: Vec<_> = items.iter().map(|item| format!("{}{}", item.sql, item.suffix)).collect();
        let mut window =
            if on.is_empty() { String::new() } else { format!("PARTITION BY {}", on.join(", ")) };
        if !within.is_empty() {
            window.push_str(&format!(" ORDER BY {}", within.join(", ")));
        }
        let kept: String =
            items.iter().enumerate().map(|(at, item)| format!(", {} AS o{}", item.sql, at + 1)).collect();
        let outside: Vec<_> =
            items.iter().enumerate().map(|(at, item)| format!("o{}{}", at + 1, item.suffix)).collect();
        let ordering =
            if outside.is_empty() { String::new() } else { format!(" ORDER BY {}", outside.join(", ")) };
        let Parts { from, filter, grouping, having } = parts;
        let sql = format!(
            "SELECT {} FROM (SELECT {}, row_number() OVER ({window}) AS kr{kept}{from}{filter}{grouping}{having}) \
             WHERE kr = 1{ordering}",
            names(output),
            list(output)
        );
        Ok(Bound { sql, columns: columns(output) })
    }

    /// One query for each set of keys, one after the other.
    fn grouping_sets(
        &mut self,
        select: &ast::Select,
        order: &[ast::OrderByExpr],
        (sets, parts): (Vec<Groups>, Parts),
        scope: &Scope<'_>,
    ) -> Result<Bound, SqlError> {
        let Parts { from, filter, .. } = &parts;
        unset(function::is_volatile(from) || function::is_volatile(filter), "GROUPING SETS of such a query")?;
        let mut arms = Vec::with_capacity(sets.len());
        let mut first = None;
        for set in sets {
            let scope = grouped(scope, Some(set));
            let output = self.projection(&select.projection, &scope)?;
            let (grouping, having) = self.grouping(select, &scope)?;
            // Counted, so that the set of no keys is one row.
            arms.push(format!("SELECT {}, count(*) AS kg{from}{filter}{grouping}{having}", list(&output)));
            first.get_or_insert((output, scope));
        }
        let (output, scope) = first.ok_or_else(|| SqlError::internal("no grouping set"))?;
        if arms.iter().any(|arm| arm.contains(" OVER (")) {
            return Err(SqlError::unsupported("a window function with GROUPING SETS"));
        }
        let distinct = match &select.distinct {
            None | Some(ast::Distinct::All) => "",
            Some(ast::Distinct::Distinct) => "DISTINCT ",
            Some(ast::Distinct::On(_)) => {
                return Err(SqlError::unsupported("DISTINCT ON with GROUPING SETS"));
            }
        };
        let mut items = Vec::with_capacity(order.len());
        for item in order {
            let Some(item) = self.order_item(item, &output, &scope)? else { continue };
            unset(item.at.is_none(), "ORDER BY of what is not in the select list, with GROUPING SETS")?;
            items.push(item.listed());
        }
        let ordering =
            if items.is_empty() { String::new() } else { format!(" ORDER BY {}", items.join(", ")) };
        let sql =
            format!("SELECT {distinct}{} FROM ({}){ordering}", names(&output), arms.join(" UNION ALL "));
        Ok(Bound { sql, columns: columns(&output) })
    }

    /// One item of ORDER BY: a position, a name of the result, or an expression. None: a constant.
    fn order_item(
        &mut self,
        item: &ast::OrderByExpr,
        output: &[(Name, Typed)],
        scope: &Scope<'_>,
    ) -> Result<Option<Ordered>, SqlError> {
        let suffix = direction(item)?;
        let of = |at: usize| {
            Some(Ordered { at: Some(at), sql: order::listed(&output[at].1), suffix: suffix.clone() })
        };
        if let Some(position) = ordinal(&item.expr) {
            return match position {
                1.. if position <= output.len() => Ok(of(position - 1)),
                _ => Err(position_error("ORDER BY", position)),
            };
        }
        if let ast::Expr::Identifier(ident) = bare(&item.expr) {
            let name = name_of(ident);
            let named: Vec<_> = (0..output.len()).filter(|at| output[*at].0 == name).collect();
            match named.as_slice() {
                [] => {}
                [at, rest @ ..] if rest.iter().all(|other| output[*other].1.sql == output[*at].1.sql) => {
                    return Ok(of(*at));
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
            return Ok(of(at));
        }
        Ok((!is_constant(&typed.sql)).then(|| Ordered { at: None, sql: order::listed(&typed), suffix }))
    }
}

/// What is in sight where the rows are the groups of one set.
fn grouped<'s>(scope: &Scope<'s>, set: Option<Groups>) -> Scope<'s> {
    let (groups, absent) = match set {
        Some(Groups { keys, absent }) => (Some(keys), absent),
        None => (None, Vec::new()),
    };
    Scope { groups, absent, aggregates: Aggregates::Allowed, ..scope.clone() }
}

fn list(output: &Output) -> String {
    if output.is_empty() {
        return "NULL AS k0".to_owned();
    }
    let each =
        output.iter().enumerate().map(|(at, (_, typed))| format!("{} AS k{}", order::listed(typed), at + 1));
    each.collect::<Vec<_>>().join(", ")
}

fn names(output: &Output) -> String {
    if output.is_empty() {
        return "k0".to_owned();
    }
    (1..=output.len()).map(|at| format!("k{at}")).collect::<Vec<_>>().join(", ")
}

fn columns(output: &Output) -> Vec<OutputColumn> {
    let each = output.iter();
    each.map(|(name, typed)| OutputColumn { name: name.clone(), sql_type: typed.sql_type }).collect()
}
