//! UPDATE … FROM, DELETE … USING, and RETURNING of every change.
//!
//! A statement sees the rows as they were when it began. SQLite computes the new values of an UPDATE row by row, unless
//! it has a FROM; then all of them first. `joined` has RETURNING of what FROM and USING hold.

use sqlparser::ast::{self, Expr};

use super::dml::{Changed, Target, position};
use super::joined::Joined;
use super::query::OutputColumn;
use super::row::row_items;
use super::scope::Scope;
use super::step::key_list;
use super::{Planner, Source, Usage, distinct, empty, none};
use crate::error::SqlError;
use crate::sql::translate::{Typed, cast, function, quote};
use grantd_catalog::name::Name;
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
pub(super) fn cells(target: &Target<'_>, sql_name: &str, assigned: &[(usize, String)]) -> String {
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
        let usage = Usage { updates: true, ..Usage::default() };
        if let (Some(list), false) = (returning.as_deref(), items.is_empty()) {
            let joined = Joined { target: &target, sql_name: &sql_name, all: &all, usage };
            let rest =
                format!("FROM t{} AS {sql_name}{}{filter}", target.id, from.replacen(" FROM ", ", ", 1));
            return self.update_in_steps(joined, &assigned, &rest, list);
        }
        let (returning, columns) = self.returning(returning.as_deref(), &target, usage)?;
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
        let (source, gone) = (rows(&assigned), rows(&[]));
        Ok(Changed { sql, columns, source, gone, change: Some((id, usage)), shows: None })
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
        let (id, usage) = (target.id, Usage { deletes: true, ..Usage::default() });
        let rest = match from.is_empty() {
            true => format!(" FROM t{id} AS {sql_name}{filter}"),
            false => format!("{from}, t{id} AS {sql_name}{filter}"),
        };
        let key = key_list(target.table, &sql_name).join(", ");
        if let Some(list) = returning.as_deref() {
            let seen = all.without_aggregates("RETURNING");
            let (output, reads) = self.reading(|planner| planner.projection(list, &seen));
            // What it shows of other rows is what was there before.
            if !items.is_empty() || self.disturbs((id, usage), &reads) {
                let joined = Joined { target: &target, sql_name: &sql_name, all: &all, usage };
                let grouped = if from.is_empty() { String::new() } else { format!(" GROUP BY {key}") };
                return Ok(self.delete_in_steps(joined, &format!("{rest}{grouped}"), output?));
            }
        }
        if !from.is_empty() {
            // SQLite has no USING: the keys of what goes are found by a query.
            filter = format!(" WHERE ({key}) IN (SELECT {key}{rest})");
        }
        let (returning, columns) = self.returning(returning.as_deref(), &target, usage)?;
        let sql = format!("DELETE FROM t{id} AS {sql_name}{filter}{returning}");
        let list = cells(&target, &sql_name, &[]);
        let gone = Some(Source { sql: format!("SELECT {list} FROM t{id} AS {sql_name}{filter}"), table: id });
        Ok(Changed { sql, columns, source: None, gone, change: Some((id, usage)), shows: None })
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

    /// RETURNING: of the rows as they are after the change; of what is deleted, before it.
    pub(super) fn returning(
        &mut self,
        items: Option<&[ast::SelectItem]>,
        target: &Target<'_>,
        usage: Usage,
    ) -> Result<(String, Option<Vec<OutputColumn>>), SqlError> {
        let mut scope = target.scope.without_aggregates("RETURNING");
        // SQLite takes no alias there, but the name of the table.
        for column in scope.relations.iter_mut().flat_map(|relation| &mut relation.columns) {
            if let Some((_, name)) = column.sql.split_once('.') {
                column.sql = format!("t{}.{name}", target.id);
            }
        }
        let (output, reads) =
            self.reading(|planner| items.map(|items| planner.projection(items, &scope)).transpose());
        let output = output?;
        // SQLite would show it between two changed rows, PostgreSQL as it was before.
        if self.disturbs((target.id, usage), &reads) {
            return Err(SqlError::unsupported("a subquery on what is changed in RETURNING"));
        }
        let (mut list, columns) = match output {
            Some(output) => {
                let (list, columns) = self.listed(output);
                (list, Some(columns))
            }
            None => (Vec::new(), None),
        };
        if self.is_wanted(target.id) {
            list.extend(key_list(target.table, &format!("t{}", target.id)));
        }
        let list: Vec<_> = list.iter().enumerate().map(|(at, sql)| format!("{sql} AS k{}", at + 1)).collect();
        match list.is_empty() {
            true => Ok((String::new(), columns)),
            false => Ok((format!(" RETURNING {}", list.join(", ")), columns)),
        }
    }

    /// What RETURNING lists, as the client sees it or as another step takes it.
    pub(super) fn listed(&self, output: Vec<(Name, Typed)>) -> (Vec<String>, Vec<OutputColumn>) {
        let one = |(name, typed): (Name, Typed)| {
            let column = OutputColumn { name, sql_type: typed.sql_type };
            let sql = if self.returns_raw { typed.sql } else { column.shown(&typed.sql) };
            (sql, column)
        };
        output.into_iter().map(one).unzip()
    }
}
