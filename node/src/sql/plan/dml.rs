//! Changes of rows: what they have in common, and the rows of an INSERT. `conflict` has ON CONFLICT, `update` has UPDATE,
//! DELETE and RETURNING.

use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Column, Table};
use grantd_catalog::privilege::Privilege;
use sqlparser::ast;

use crate::sql::error::{SqlError, state};
use crate::sql::parse::name_of;
use crate::sql::translate::{Typed, cast, quote};
use crate::sql::value::{ColumnInfo, SqlType};

use super::conflict::Action;
use super::from::{plain_table, table_scope};
use super::scope::Scope;
use super::stored::once;
use super::{Origin, Plan, Planner, Source, distinct, empty, no_column, none, unset};

/// A change of rows.
#[derive(Clone, Copy)]
pub enum Change<'s> {
    /// INSERT.
    Insert(&'s ast::Insert),
    /// UPSERT.
    Upsert(&'s ast::Insert),
    /// UPDATE.
    Update(&'s ast::Update),
    /// DELETE.
    Delete(&'s ast::Delete),
}

/// Plans a change of rows, with what WITH holds before it.
pub fn change(
    origin: Origin<'_>,
    with: Option<&ast::With>,
    change: Change<'_>,
    hints: &[Option<SqlType>],
) -> Result<Plan, SqlError> {
    let mut planner = Planner::new(origin, hints);
    let prefix = match with {
        Some(with) => {
            let root = planner.scope();
            planner.with_items(with, &root)?
        }
        None => String::new(),
    };
    let (changed, tag) = match change {
        Change::Insert(insert) => (planner.insert(insert, false)?, "INSERT 0"),
        Change::Upsert(insert) => (planner.insert(insert, true)?, "INSERT 0"),
        Change::Update(update) => (planner.update(update)?, "UPDATE"),
        Change::Delete(delete) => (planner.delete(delete)?, "DELETE"),
    };
    let Changed { sql, columns, source, gone } = changed;
    let mut plan = planner.finish(format!("{prefix}{sql}"), columns, tag);
    // What WITH holds is not in sight of the source alone.
    plan.source = source.filter(|_| with.is_none());
    plan.gone = gone.filter(|_| with.is_none());
    Ok(plan)
}

/// A change of rows in the row store's SQL, and the columns that it returns.
pub(super) struct Changed {
    pub(super) sql: String,
    pub(super) columns: Option<Vec<ColumnInfo>>,
    /// The rows as they are to be.
    pub(super) source: Option<Source>,
    /// The rows as they were.
    pub(super) gone: Option<Source>,
}

/// The table that a change is of.
pub(super) struct Target<'a> {
    pub(super) id: ObjectId,
    /// Its own name, without an alias.
    pub(super) name: Name,
    pub(super) table: &'a Table,
    /// Its columns.
    pub(super) scope: Scope<'static>,
}

/// The columns that an INSERT fills, as positions.
fn targets(table: &Table, insert: &ast::Insert) -> Result<Vec<usize>, SqlError> {
    if insert.columns.is_empty() {
        return Ok((0..table.columns.len()).filter(|at| !table.columns[*at].hidden).collect());
    }
    let mut positions = Vec::with_capacity(insert.columns.len());
    for name in &insert.columns {
        positions.push(position(table, name)?);
    }
    distinct(positions.iter().map(|at| table.columns[*at].name.as_str()))?;
    Ok(positions)
}

pub(super) fn position(table: &Table, name: &ast::ObjectName) -> Result<usize, SqlError> {
    let parts = super::object_name(name)?.parts;
    let [name] = parts.as_slice() else {
        return Err(SqlError::unsupported("a qualified name of a column here"));
    };
    table.columns.iter().position(|column| column.name == *name).ok_or_else(|| no_column(name.as_str()))
}

pub(super) fn is_default(expression: &ast::Expr) -> bool {
    matches!(expression, ast::Expr::Identifier(ident)
        if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

impl<'a> Planner<'a> {
    fn insert(&mut self, insert: &ast::Insert, upsert: bool) -> Result<Changed, SqlError> {
        check_insert(insert)?;
        let ast::TableObject::TableName(name) = &insert.table else {
            return Err(SqlError::unsupported("INSERT INTO anything but a table"));
        };
        let action = Action::of(insert, upsert)?;
        let (id, table) = self.table(name, action.privileges(insert.returning.is_some()))?;
        let sql_name = self.fresh('q');
        let shown = super::object_name(name)?.parts.pop().unwrap_or_else(|| Name::normalize(""));
        let alias = insert.table_alias.as_ref().map_or_else(|| shown.clone(), |alias| name_of(&alias.alias));
        let targets = targets(table, insert)?;
        let (source, rows) = self.source(insert, table, &targets)?;
        let mut scope = self.scope();
        scope.add(table_scope(table, &sql_name, alias))?;
        let target = Target { id, name: shown, table, scope };
        let conflict = self.conflict(&action, &target, (insert, &targets), rows)?;
        let (returning, columns) = self.returning(insert.returning.as_deref(), &target, None)?;
        let given = table.columns.iter().enumerate().filter(|(_, column)| column.computed.is_none());
        let (names, ks): (Vec<_>, Vec<_>) =
            given.map(|(at, column)| (quote(column.name.as_str()), format!("k{}", at + 1))).unzip();
        let from = match &conflict.once {
            // What counts its calls must be called once for each row: not before the rows are joined and filtered.
            Some(test) => format!("SELECT * FROM ({source}) LIMIT -1 OFFSET 0) WHERE {test}"),
            None => format!("{source}) WHERE 1"),
        };
        let sql = format!(
            "INSERT INTO t{id} AS {sql_name} ({}) SELECT {} FROM ({from}{}{returning}",
            names.join(", "),
            ks.join(", "),
            conflict.sql,
        );
        Ok(Changed { sql, columns, source: Some(Source { sql: source, table: id }), gone: None })
    }

    /// The one table of an UPDATE or DELETE.
    pub(super) fn target(
        &mut self,
        table: &ast::TableWithJoins,
        privileges: &[Privilege],
    ) -> Result<(Target<'a>, String), SqlError> {
        empty(&table.joins, "a join as the target of a change")?;
        let (name, alias) = plain_table(&table.relation)?;
        let sql_name = self.fresh('q');
        let (id, found) = self.table(name, privileges)?;
        let shown = match alias {
            Some(alias) => {
                empty(&alias.columns, "an alias with columns here")?;
                name_of(&alias.name)
            }
            None => super::object_name(name)?.parts.pop().unwrap_or_else(|| Name::normalize("")),
        };
        self.shown.insert(sql_name.clone(), shown.to_string());
        let mut scope = self.scope();
        scope.add(table_scope(found, &sql_name, shown.clone()))?;
        Ok((Target { id, name: shown, table: found, scope }, sql_name))
    }

    /// What a column holds where nothing was said.
    fn default_of(&mut self, table: &Table, column: &Column) -> String {
        let Some(default) = &column.default else { return "NULL".to_owned() };
        self.takes_by_default(table, &default.stored);
        format!("({})", default.stored)
    }

    fn defaults(&mut self, table: &Table, given: &[usize]) -> Vec<String> {
        let each = table.columns.iter().enumerate();
        each.map(|(at, column)| match given.contains(&at) {
            true => "NULL".to_owned(),
            false => self.default_of(table, column),
        })
        .collect()
    }

    pub(super) fn filter(
        &mut self,
        filter: Option<&ast::Expr>,
        scope: &Scope<'_>,
    ) -> Result<String, SqlError> {
        let Some(filter) = filter else { return Ok(String::new()) };
        let scope = scope.without_aggregates("WHERE");
        Ok(format!(" WHERE {}", self.typed(filter, SqlType::Bool, "argument of WHERE", &scope)?))
    }

    /// The value of a column in INSERT or UPDATE.
    pub(super) fn stored(
        &mut self,
        value: &ast::Expr,
        table: &Table,
        column: &Column,
        scope: &Scope<'_>,
    ) -> Result<String, SqlError> {
        if is_default(value) {
            return Ok(self.default_of(table, column));
        }
        if column.computed.is_some() {
            return Err(generated(column, "can only be updated to DEFAULT"));
        }
        let typed = self.expression(value, scope)?;
        let name = column.name.as_str();
        cast::assign(typed, name, column.column_type, &mut self.parameters).map(|typed| typed.sql)
    }

    /// A query of the row store whose `k<n>` is the n-th column of the table, and the number of its rows, if known.
    fn source(
        &mut self,
        insert: &ast::Insert,
        table: &Table,
        targets: &[usize],
    ) -> Result<(String, Option<usize>), SqlError> {
        let Some(query) = &insert.source else {
            let defaults = self.defaults(table, &[]);
            return Ok((values_query(&[defaults]), Some(1)));
        };
        if let Some(values) = bare_values(query) {
            let scope = self.scope().without_aggregates("VALUES");
            let mut rows = Vec::with_capacity(values.rows.len());
            for row in &values.rows {
                self.width(insert, targets.len(), row.content.len())?;
                let given = &targets[..row.content.len().min(targets.len())];
                let mut cells = self.defaults(table, given);
                for (at, value) in targets.iter().zip(&row.content) {
                    not_generated(&table.columns[*at], is_default(value))?;
                    cells[*at] = self.stored(value, table, &table.columns[*at], &scope)?;
                }
                rows.push(cells);
            }
            let count = rows.len();
            return Ok((values_query(&rows), Some(count)));
        }
        let root = self.scope();
        let bound = self.query(query, &root)?;
        self.width(insert, targets.len(), bound.columns.len())?;
        let sql_name = self.fresh('q');
        let given = &targets[..bound.columns.len().min(targets.len())];
        let mut cells = self.defaults(table, given);
        for (from, at) in targets.iter().enumerate().take(bound.columns.len()) {
            let column = &table.columns[*at];
            not_generated(column, false)?;
            let typed: Typed = bound.columns[from].typed(format!("{sql_name}.k{}", from + 1));
            let name = column.name.as_str();
            cells[*at] = cast::assign(typed, name, column.column_type, &mut self.parameters)?.sql;
        }
        let list: Vec<_> =
            cells.iter().enumerate().map(|(at, cell)| format!("{cell} AS k{}", at + 1)).collect();
        Ok((format!("SELECT {} FROM ({}) AS {sql_name}", list.join(", "), once(bound.sql)), None))
    }

    /// With a column list the numbers must agree; without one, columns at the end may be left out.
    fn width(&self, insert: &ast::Insert, targets: usize, given: usize) -> Result<(), SqlError> {
        let named = !insert.columns.is_empty();
        if given == targets || (given < targets && !named) {
            return Ok(());
        }
        let more = if given > targets {
            "expressions than target columns"
        } else {
            "target columns than expressions"
        };
        Err(SqlError::syntax(format!("INSERT has more {more}, {given} expressions for {targets} targets")))
    }
}

/// 428C9.
fn generated(column: &Column, what: &str) -> SqlError {
    SqlError::new(state::GENERATED_ALWAYS, format!("column \"{}\" {what}", column.name))
        .with_detail(format!("Column \"{}\" is a generated column.", column.name))
}

fn not_generated(column: &Column, is_default: bool) -> Result<(), SqlError> {
    if column.computed.is_none() || is_default {
        return Ok(());
    }
    let SqlError { mut body, position } = generated(column, "");
    body.message = format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name);
    Err(SqlError { body, position })
}

/// The rows of `INSERT … VALUES` without any clause around them: only there DEFAULT stands for a value.
fn bare_values(query: &ast::Query) -> Option<&ast::Values> {
    let ast::Query {
        with: None,
        body,
        order_by: None,
        limit_clause: None,
        fetch: None,
        locks,
        for_clause: None,
        settings: None,
        format_clause: None,
        pipe_operators,
    } = query
    else {
        return None;
    };
    match body.as_ref() {
        ast::SetExpr::Values(ast::Values { explicit_row: false, rows, value_keyword: false })
            if locks.is_empty() && pipe_operators.is_empty() && !rows.is_empty() =>
        {
            if let ast::SetExpr::Values(values) = body.as_ref() {
                Some(values)
            } else {
                None
            }
        }
        _ => None,
    }
}

fn values_query(rows: &[Vec<String>]) -> String {
    let width = rows.first().map_or(0, Vec::len);
    let names: Vec<_> = (1..=width).map(|at| format!("column{at} AS k{at}")).collect();
    let tuples: Vec<_> = rows.iter().map(|cells| format!("({})", cells.join(", "))).collect();
    format!("SELECT {} FROM (VALUES {})", names.join(", "), tuples.join(", "))
}

/// Refuses every clause that is not translated, field by field.
fn check_insert(insert: &ast::Insert) -> Result<(), SqlError> {
    let ast::Insert {
        insert_token: _,
        optimizer_hints: _,
        or,
        ignore,
        into: _,
        table: _,
        table_alias: _,
        columns: _,
        overwrite,
        source: _,
        assignments,
        partitioned,
        after_columns,
        has_table_keyword,
        on: _,
        returning: _,
        output,
        replace_into,
        priority,
        insert_alias,
        settings,
        format_clause,
        multi_table_insert_type,
        multi_table_into_clauses,
        multi_table_when_clauses,
        multi_table_else_clause,
    } = insert;
    none(or, "INSERT OR")?;
    unset(*ignore, "INSERT IGNORE")?;
    unset(*overwrite, "INSERT OVERWRITE")?;
    empty(assignments, "INSERT … SET")?;
    none(partitioned, "PARTITION")?;
    empty(after_columns, "PARTITION")?;
    unset(*has_table_keyword, "INSERT INTO TABLE")?;
    none(output, "OUTPUT")?;
    unset(*replace_into, "REPLACE INTO")?;
    none(priority, "a priority of INSERT")?;
    none(insert_alias, "an alias of the inserted row")?;
    none(settings, "SETTINGS")?;
    none(format_clause, "FORMAT")?;
    none(multi_table_insert_type, "INSERT into several tables")?;
    empty(multi_table_into_clauses, "INSERT into several tables")?;
    empty(multi_table_when_clauses, "INSERT into several tables")?;
    none(multi_table_else_clause, "INSERT into several tables")
}
