//! UPDATE … FROM, DELETE … USING, and RETURNING of every change.
//!
//! A statement sees the rows as they were when it began. SQLite computes the new values of an UPDATE row by row, unless
//! it has a FROM; then all of them first.

use sqlparser::ast::{self, Expr};

use super::dml::{Changed, Target, position};
use super::query::OutputColumn;
use super::row::row_items;
use super::scope::Scope;
use super::{Planner, Source, distinct, empty, none};
use crate::sql::error::{SqlError, state};
use crate::sql::translate::{cast, function, quote};
use crate::sql::value::ColumnInfo;
use grantd_catalog::object::{Column, Table};
use grantd_catalog::privilege::Privilege;

/// `a = 1, b = 2` of SET. Where nothing is left to set, the key becomes what it is.
pub(super) fn set_clause(assigned: &[(usize, String)], table: &Table) -> String {
    let name = |at: usize| quote(table.columns[at].name.as_str());
    let items: Vec<_> = assigned.iter().map(|(at, value)| format!("{} = {value}", name(*at))).collect();
    match (items.is_empty(), table.primary_key.first()) {
        (true, Some(at)) => format!("{0} = {0}", name(usize::from(*at))),
        _ => items.join(", "),
    }
}

/// The columns of a row as `k<n>`, those of SET with their new values.
fn cells(target: &Target<'_>, sql_name: &str, assigned: &[(usize, String)]) -> String {
    let cell = |(at, column): (usize, &Column)| {
        let value = assigned.iter().find(|(position, _)| *position == at).map(|(_, value)| value.clone());
        let value = value.unwrap_or_else(|| format!("{sql_name}.{}", quote(column.name.as_str())));
        format!("{value} AS k{}", at + 1)
    };
    target.table.columns.iter().enumerate().map(cell).collect::<Vec<_>>().join(", ")
}

impl Planner<'_> {
    pub(super) fn update(&mut self, update: &ast::Update) -> Result<Changed, SqlError> {
        let ast::Update {
            update_token: _,
            optimizer_hints: _,
            table,
            assignments,
            from,
            selection,
            returning,
            output,
            or,
            order_by,
            limit,
        } = update;
        none(output, "OUTPUT")?;
        none(or, "UPDATE OR")?;
        empty(order_by, "UPDATE … ORDER BY")?;
        none(limit, "UPDATE … LIMIT")?;
        let items = match from {
            None => &[][..],
            Some(ast::UpdateTableFromKind::AfterSet(items)) => items,
            Some(ast::UpdateTableFromKind::BeforeSet(_)) => {
                return Err(SqlError::unsupported("UPDATE … FROM before SET"));
            }
        };
        let (target, sql_name) = self.target(table, &[Privilege::Update, Privilege::Select])?;
        let (from, all) = self.beside(&target, items)?;
        // SQLite has no precedence between a comma and a join, and puts the target before the rest.
        if [" RIGHT JOIN ", " FULL JOIN "].iter().any(|join| from.contains(join)) {
            return Err(SqlError::unsupported("RIGHT or FULL JOIN in UPDATE … FROM")
                .with_hint("Write it as a subquery in FROM."));
        }
        let assigned = self.assignments(assignments, target.table, &all)?;
        let set = set_clause(&assigned, target.table);
        let filter = self.filter(selection.as_ref(), &all)?;
        let beside = (!items.is_empty()).then_some(&all);
        let (returning, columns) = self.returning(returning.as_deref(), &target, beside)?;
        let from = match from.is_empty() && set.contains("SELECT ") {
            true => " FROM (SELECT 1)",
            false => from.as_str(),
        };
        let id = target.id;
        let sql = format!("UPDATE t{id} AS {sql_name} SET {set}{from}{filter}{returning}");
        let rest = format!("FROM t{id} AS {sql_name}{}{filter}", from.replacen(" FROM ", ", ", 1));
        let rows = |assigned: &[(usize, String)]| {
            Some(Source { sql: format!("SELECT {} {rest}", cells(&target, &sql_name, assigned)), table: id })
        };
        Ok(Changed { sql, columns, source: rows(&assigned), gone: rows(&[]) })
    }

    pub(super) fn delete(&mut self, delete: &ast::Delete) -> Result<Changed, SqlError> {
        let ast::Delete {
            delete_token: _,
            optimizer_hints: _,
            tables,
            from,
            using,
            selection,
            returning,
            output,
            order_by,
            limit,
        } = delete;
        empty(tables, "DELETE from several tables")?;
        none(output, "OUTPUT")?;
        empty(order_by, "DELETE … ORDER BY")?;
        none(limit, "DELETE … LIMIT")?;
        let (ast::FromTable::WithFromKeyword(tables) | ast::FromTable::WithoutKeyword(tables)) = from;
        let [table] = tables.as_slice() else {
            return Err(SqlError::unsupported("DELETE from several tables"));
        };
        let (target, sql_name) = self.target(table, &[Privilege::Delete, Privilege::Select])?;
        let items = using.as_deref().unwrap_or_default();
        let (from, all) = self.beside(&target, items)?;
        let mut filter = self.filter(selection.as_ref(), &all)?;
        let id = target.id;
        if !from.is_empty() {
            // SQLite has no USING: the keys of what goes are found by a query.
            let key = target.table.primary_key.iter().map(|at| &target.table.columns[usize::from(*at)]);
            let key: Vec<_> =
                key.map(|column| format!("{sql_name}.{}", quote(column.name.as_str()))).collect();
            let key = key.join(", ");
            filter = format!(" WHERE ({key}) IN (SELECT {key}{from}, t{id} AS {sql_name}{filter})");
        }
        let beside = (!items.is_empty()).then_some(&all);
        let (returning, columns) = self.returning(returning.as_deref(), &target, beside)?;
        let sql = format!("DELETE FROM t{id} AS {sql_name}{filter}{returning}");
        let list = cells(&target, &sql_name, &[]);
        let gone = Source { sql: format!("SELECT {list} FROM t{id} AS {sql_name}{filter}"), table: id };
        Ok(Changed { sql, columns, source: None, gone: Some(gone) })
    }

    /// What stands beside the target, and everything in sight. What stands there does not see the target.
    fn beside(
        &mut self,
        target: &Target<'_>,
        items: &[ast::TableWithJoins],
    ) -> Result<(String, Scope<'static>), SqlError> {
        let mut around = self.scope();
        let from = self.from(items, &mut around)?;
        let mut all = target.scope.clone();
        for relation in around.relations {
            all.add(relation)?;
        }
        all.merged = around.merged;
        Ok((from, all))
    }

    /// The columns of SET, and what each becomes. DEFAULT leaves a generated column as it is computed.
    pub(super) fn assignments(
        &mut self,
        assignments: &[ast::Assignment],
        table: &Table,
        scope: &Scope<'_>,
    ) -> Result<Vec<(usize, String)>, SqlError> {
        let scope = scope.without_aggregates("UPDATE SET");
        let mut names = Vec::with_capacity(assignments.len());
        let mut items = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            let columns = match &assignment.target {
                ast::AssignmentTarget::ColumnName(name) => std::slice::from_ref(name),
                ast::AssignmentTarget::Tuple(names) => names,
            };
            let mut positions = Vec::with_capacity(columns.len());
            for name in columns {
                positions.push(position(table, name)?);
            }
            let values = match &assignment.target {
                ast::AssignmentTarget::ColumnName(_) => {
                    vec![self.stored(&assignment.value, table, &table.columns[positions[0]], &scope)?]
                }
                ast::AssignmentTarget::Tuple(_) => self.row(&assignment.value, table, &positions, &scope)?,
            };
            for (at, value) in positions.into_iter().zip(values) {
                names.push(table.columns[at].name.as_str());
                if table.columns[at].computed.is_none() {
                    items.push((at, value));
                }
            }
        }
        distinct(names.into_iter())?;
        Ok(items)
    }

    /// The values of `(a, b) = …`.
    fn row(
        &mut self,
        value: &Expr,
        table: &Table,
        positions: &[usize],
        scope: &Scope<'_>,
    ) -> Result<Vec<String>, SqlError> {
        let wrong = || SqlError::syntax("number of columns does not match number of values");
        if let Expr::Subquery(query) = value {
            let bound = self.subquery(query, scope)?;
            if bound.columns.len() != positions.len() {
                return Err(wrong());
            }
            if function::is_volatile(&bound.sql) {
                return Err(SqlError::unsupported(
                    "SET (a, b) = a subquery whose value differs at each call",
                ));
            }
            let each = bound.columns.iter().zip(positions).enumerate();
            return each
                .map(|(at, (column, position))| {
                    let k = format!("k{}", at + 1);
                    let one = format!(
                        "(SELECT g_single(count(*), max({k})) FROM (SELECT {k} FROM ({}) LIMIT 2))",
                        bound.sql
                    );
                    let to = &table.columns[*position];
                    let typed = column.typed(one);
                    cast::assign(typed, to.name.as_str(), to.column_type, &mut self.parameters)
                        .map(|typed| typed.sql)
                })
                .collect();
        }
        let items = match (row_items(value)?, value) {
            (Some(items), _) => items,
            (None, Expr::Nested(inner)) => vec![inner.as_ref()],
            (None, _) => {
                return Err(SqlError::syntax(
                    "source for a multiple-column UPDATE item must be a sub-SELECT or ROW() expression",
                ));
            }
        };
        if items.len() != positions.len() {
            return Err(wrong());
        }
        let mut values = Vec::with_capacity(items.len());
        for (item, at) in items.into_iter().zip(positions) {
            values.push(self.stored(item, table, &table.columns[*at], scope)?);
        }
        Ok(values)
    }

    /// RETURNING: of the rows as they are after the change; of what is deleted, before it. `all`: what else is in sight,
    /// which SQLite does not return.
    pub(super) fn returning(
        &mut self,
        items: Option<&[ast::SelectItem]>,
        target: &Target<'_>,
        all: Option<&Scope<'_>>,
    ) -> Result<(String, Option<Vec<ColumnInfo>>), SqlError> {
        let Some(items) = items else { return Ok((String::new(), None)) };
        let beside = || {
            SqlError::unsupported("RETURNING of what FROM or USING holds")
                .with_hint("Name columns of the table that is changed.")
        };
        if let Some(all) = all {
            self.projection(items, &all.without_aggregates("RETURNING"))?;
            if items.iter().any(|item| matches!(item, ast::SelectItem::Wildcard(_))) {
                return Err(beside());
            }
        }
        let mut scope = target.scope.without_aggregates("RETURNING");
        // SQLite takes no alias there, but the name of the table.
        for column in scope.relations.iter_mut().flat_map(|relation| &mut relation.columns) {
            if let Some((_, name)) = column.sql.split_once('.') {
                column.sql = format!("t{}.{name}", target.id);
            }
        }
        let (output, reads) = self.reading(|planner| planner.projection(items, &scope));
        let output = output.map_err(|error| match all {
            Some(_) if error.body.code == state::UNDEFINED_COLUMN => beside(),
            _ => error,
        })?;
        // SQLite would show it between two changed rows, PostgreSQL as it was before.
        if reads.contains(&target.id) {
            return Err(SqlError::unsupported("a subquery on the table itself in RETURNING"));
        }
        let list: Vec<_> = output
            .iter()
            .enumerate()
            .map(|(at, (name, typed))| {
                let column = OutputColumn { name: name.clone(), sql_type: typed.sql_type };
                format!("{} AS k{}", column.shown(&typed.sql), at + 1)
            })
            .collect();
        let columns = output
            .into_iter()
            .map(|(name, typed)| OutputColumn { name, sql_type: typed.sql_type }.info())
            .collect();
        Ok((format!(" RETURNING {}", list.join(", ")), Some(columns)))
    }
}
