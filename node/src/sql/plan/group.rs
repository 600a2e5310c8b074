//! GROUP BY, with GROUPING SETS, ROLLUP and CUBE: one query for each set of keys, of which the other keys are NULL.

use sqlparser::ast::{self, Expr};

use super::contents::{contents, within_window};
use super::expression::plain_argument;
use super::query::{aliased, bare, is_constant, ordinal, position_error, projected};
use super::scope::Scope;
use super::{Planner, empty, unset};
use crate::error::{SqlError, state};
use crate::sql::translate::{Typed, cast, order};
use crate::value::SqlType;

/// The most sets that one GROUP BY makes.
const GROUPING_SETS_MAX: usize = 64;
/// The most arguments of `grouping()`, as PostgreSQL has it.
const GROUPING_ARGUMENTS_MAX: usize = 31;

/// One set of keys, in the row store's SQL.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    pub(super) keys: Vec<String>,
    /// Keys of other sets, NULL in this one.
    pub(super) absent: Vec<String>,
}

impl Planner<'_> {
    /// What rows are grouped by: none if they are not, several for GROUPING SETS.
    pub(super) fn groups(
        &mut self,
        select: &ast::Select,
        order: &[ast::OrderByExpr],
        scope: &Scope<'_>,
    ) -> Result<Vec<Groups>, SqlError> {
        let ast::GroupByExpr::Expressions(keys, modifiers) = &select.group_by else {
            return Err(SqlError::unsupported("GROUP BY ALL"));
        };
        empty(modifiers, "GROUP BY WITH")?;
        let aggregates = select.projection.iter().filter_map(projected).any(|item| contents(item).aggregate)
            || order.iter().any(|item| contents(&item.expr).aggregate)
            || scope.windows.iter().flat_map(|(_, spec)| within_window(spec)).any(|e| contents(e).aggregate)
            || matches!(&select.distinct, Some(ast::Distinct::On(keys))
                if keys.iter().any(|key| contents(key).aggregate));
        if keys.is_empty() && select.having.is_none() && !aggregates {
            return Ok(Vec::new());
        }
        let scope = scope.without_aggregates("GROUP BY");
        let mut sets = Vec::new();
        let all = grouping_sets(keys)?;
        let is_only = all.len() == 1;
        for set in all {
            let mut groups = Vec::with_capacity(set.len());
            for key in set {
                let key = self.group_by(key, select, &scope)?;
                // In a set without it the select list has NULL for an equal constant.
                unset(!is_only && is_constant(&key), "a constant in GROUPING SETS")?;
                if !groups.contains(&key) {
                    groups.push(key);
                }
            }
            sets.push(groups);
        }
        let all: Vec<_> = sets.iter().flatten().cloned().collect();
        Ok(sets
            .into_iter()
            .map(|keys| {
                let mut absent = all.clone();
                absent.retain(|key| !keys.contains(key));
                Groups { keys, absent }
            })
            .collect())
    }

    /// `grouping(a, b)`: a bit for each, set if it is no key of this set.
    pub(super) fn grouping_of(
        &mut self,
        arguments: &[ast::FunctionArg],
        scope: &Scope<'_>,
    ) -> Result<Typed, SqlError> {
        let plain = Scope { groups: None, absent: Vec::new(), ..scope.clone() };
        let mut bits = 0_i64;
        for argument in arguments {
            let key = self.expression(plain_argument(argument)?, &plain)?.sql;
            let is_absent = scope.absent.contains(&key);
            if !is_absent && !scope.groups.as_ref().is_some_and(|groups| groups.contains(&key)) {
                return Err(SqlError::new(
                    state::GROUPING_ERROR,
                    "arguments to GROUPING must be grouping expressions of the associated query level",
                ));
            }
            bits = bits << 1 | i64::from(is_absent);
        }
        if arguments.is_empty() || arguments.len() > GROUPING_ARGUMENTS_MAX {
            return Err(SqlError::too_large("GROUPING must have fewer than 32 arguments"));
        }
        Ok(Typed::computed(bits.to_string(), SqlType::Int4))
    }

    fn group_by(&mut self, key: &Expr, select: &ast::Select, scope: &Scope<'_>) -> Result<String, SqlError> {
        if let Expr::Value(value) = bare(key)
            && !matches!(value.value, ast::Value::Number(..) | ast::Value::Placeholder(_))
        {
            return Err(SqlError::syntax("non-integer constant in GROUP BY"));
        }
        let key = match ordinal(key) {
            Some(position) => position
                .checked_sub(1)
                .and_then(|at| select.projection.get(at))
                .and_then(projected)
                .ok_or_else(|| position_error("GROUP BY", position))?,
            None => aliased(key, &select.projection, scope).unwrap_or(key),
        };
        let typed = self.expression(key, scope)?;
        let typed = cast::settled(typed, &mut self.parameters)?;
        // Each call is planned under names of its own, so the select list would not be found among the groups.
        if typed.sql.contains(" AS MATERIALIZED ") {
            return Err(SqlError::unsupported("a function of the user's in GROUP BY")
                .with_hint("Compute it in a subquery in FROM."));
        }
        if let Some(collation) = order::collation(typed.sql_type).filter(|_| !order::is_column(&typed.sql)) {
            self.collations.insert(typed.sql.clone(), collation);
        }
        Ok(typed.sql)
    }

    /// A key as GROUP BY takes it. What the select list is compared with has no COLLATE.
    pub(super) fn collated(&self, key: &str) -> String {
        match self.collations.get(key) {
            Some(collation) => format!("{key} COLLATE {collation}"),
            None => key.to_owned(),
        }
    }
}

/// The sets of keys that the items of GROUP BY make together: each of one with each of the next.
fn grouping_sets(items: &[Expr]) -> Result<Vec<Vec<&Expr>>, SqlError> {
    let mut sets: Vec<Vec<&Expr>> = vec![Vec::new()];
    for item in items {
        let of_item = sets_of(item)?;
        if sets.len() * of_item.len() > GROUPING_SETS_MAX {
            return Err(SqlError::too_large(format!("more than {GROUPING_SETS_MAX} grouping sets")));
        }
        let mut both = Vec::with_capacity(sets.len() * of_item.len());
        for set in &sets {
            both.extend(of_item.iter().map(|more| [set.as_slice(), more.as_slice()].concat()));
        }
        sets = both;
    }
    Ok(sets)
}

fn sets_of(item: &Expr) -> Result<Vec<Vec<&Expr>>, SqlError> {
    Ok(match item {
        Expr::GroupingSets(sets) => sets.iter().map(|set| set.iter().collect()).collect(),
        Expr::Rollup(parts) => {
            (0..=parts.len()).rev().map(|n| parts[..n].iter().flatten().collect()).collect()
        }
        Expr::Cube(parts) => {
            let count = 1_usize.checked_shl(u32::try_from(parts.len()).unwrap_or(u32::MAX));
            let count = count
                .filter(|count| *count <= GROUPING_SETS_MAX)
                .ok_or_else(|| SqlError::too_large(format!("more than {GROUPING_SETS_MAX} grouping sets")))?;
            let subset = |bits: usize| {
                let chosen = parts.iter().enumerate().filter(move |(at, _)| bits >> at & 1 == 0);
                chosen.flat_map(|(_, part)| part).collect()
            };
            (0..count).map(subset).collect()
        }
        Expr::Tuple(items) => vec![items.iter().collect()],
        plain => vec![vec![plain]],
    })
}
