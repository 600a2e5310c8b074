//! Changes of rows: what they have in common, and the rows of an INSERT. `conflict` has ON CONFLICT, `update` has UPDATE,
//! DELETE and RETURNING.

use std::collections::BTreeSet;

use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Column, Identity, Table};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::Refusal;
use sqlparser::ast;

use crate::error::{SqlError, state};
use crate::sql::parse::{Overriding, name_of};
use crate::sql::translate::{Typed, cast, quote};
use crate::value::SqlType;

use super::conflict::Action;
use super::from::{plain_table, table_scope};
use super::query::OutputColumn;
use super::scope::Scope;
use super::stored::once;
use super::{Planner, Source, Usage, distinct, empty, no_column, none, unset};

/// A change of rows.
#[derive(Clone, Copy)]
pub enum Change<'s> {
    /// INSERT.
    Insert(&'s ast::Insert, Option<Overriding>),
    /// UPSERT.
    Upsert(&'s ast::Insert),
    /// UPDATE.
    Update(&'s ast::Update),
    /// DELETE.
    Delete(&'s ast::Delete),
}

impl Change<'_> {
    /// The command tag without its count.
    pub(super) fn tag(&self) -> &'static str {
        match self {
            Self::Insert(..) | Self::Upsert(_) => "INSERT 0",
            Self::Update(_) => "UPDATE",
            Self::Delete(_) => "DELETE",
        }
    }
}

/// A change of rows in the row store's SQL, and the columns that it returns.
pub(super) struct Changed {
    pub(super) sql: String,
    pub(super) columns: Option<Vec<OutputColumn>>,
    /// The rows as they are to be.
    pub(super) source: Option<Source>,
    /// The rows as they were.
    pub(super) gone: Option<Source>,
    /// The table and what happens to it; none: it is a query.
    pub(super) change: Option<(ObjectId, Usage)>,
    /// Set if a step before it changed the rows, and this shows them: the tables that it reads beside.
    pub(super) shows: Option<BTreeSet<ObjectId>>,
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
    pub(super) fn changed(&mut self, change: Change<'_>) -> Result<Changed, SqlError> {
        match change {
            Change::Insert(insert, overriding) => self.insert(insert, overriding, false),
            Change::Upsert(insert) => self.insert(insert, None, true),
            Change::Update(update) => self.update(update),
            Change::Delete(delete) => self.delete(delete),
        }
    }

    fn insert(
        &mut self,
        insert: &ast::Insert,
        overriding: Option<Overriding>,
        upsert: bool,
    ) -> Result<Changed, SqlError> {
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
        let (source, rows) = self.source((insert, overriding), table, &targets)?;
        let mut scope = self.scope();
        scope.add(table_scope(table, &sql_name, alias))?;
        let target = Target { id, name: shown, table, scope };
        let conflict = self.conflict(&action, &target, (insert, &targets), rows)?;
        let is_updated = matches!(action, Action::Update { .. } | Action::Upsert);
        let usage = Usage { inserts: true, updates: is_updated, ..Usage::default() };
        let (returning, columns) = self.returning(insert.returning.as_deref(), &target, usage)?;
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
        let source = Some(Source { sql: source, table: id });
        Ok(Changed { sql, columns, source, gone: None, change: Some((id, usage)), shows: None })
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
        if let Some(Identity { sequence, .. }) = column.identity {
            self.takes_from(sequence);
            return format!("(g_nextval({sequence}))");
        }
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
        if column.identity.is_some_and(|identity| identity.always) {
            return Err(always(column, "can only be updated to DEFAULT"));
        }
        self.assigned(value, column, scope)
    }

    fn assigned(
        &mut self,
        value: &ast::Expr,
        column: &Column,
        scope: &Scope<'_>,
    ) -> Result<String, SqlError> {
        let typed = self.expression(value, scope)?;
        let name = column.name.as_str();
        let assigned = cast::assign(typed, name, column.column_type, &mut self.parameters)?;
        Ok(assigned.sql)
    }

    /// A query of the row store whose `k<n>` is the n-th column of the table, and the number of its rows, if known.
    fn source(
        &mut self,
        (insert, overriding): (&ast::Insert, Option<Overriding>),
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
                    let column = &table.columns[*at];
                    if is_default(value) || counts_anyway(column, overriding)? {
                        cells[*at] = self.default_of(table, column);
                    } else {
                        cells[*at] = self.assigned(value, column, &scope)?;
                    }
                }
                rows.push(cells);
            }
            let count = rows.len();
            return Ok((values_query(&rows), Some(count)));
        }
        let root = self.scope();
        if query.with.is_none() && matches!(*query.body, ast::SetExpr::Select(_)) {
            let types = targets.iter().map(|at| SqlType::of_column(table.columns[*at].column_type));
            self.wanted = types.collect();
        }
        let bound = self.query(query, &root)?;
        self.width(insert, targets.len(), bound.columns.len())?;
        let sql_name = self.fresh('q');
        let given = &targets[..bound.columns.len().min(targets.len())];
        let mut cells = self.defaults(table, given);
        for (from, at) in targets.iter().enumerate().take(bound.columns.len()) {
            let column = &table.columns[*at];
            if counts_anyway(column, overriding)? {
                cells[*at] = self.default_of(table, column);
                continue;
            }
            let typed: Typed = bound.columns[from].typed(format!("{sql_name}.k{}", from + 1));
            let name = column.name.as_str();
            let assigned = cast::assign(typed, name, column.column_type, &mut self.parameters)?;
            cells[*at] = assigned.sql;
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

/// 428C9.
fn always(column: &Column, what: &str) -> SqlError {
    SqlError::new(state::GENERATED_ALWAYS, format!("column \"{}\" {what}", column.name))
        .with_detail(format!("Column \"{}\" is an identity column defined as GENERATED ALWAYS.", column.name))
}

/// Whether a column that a value is given for takes its sequence's instead; 428C9 where it takes no value.
fn counts_anyway(column: &Column, overriding: Option<Overriding>) -> Result<bool, SqlError> {
    let refused = |error: SqlError| {
        let message = format!("cannot insert a non-DEFAULT value into column \"{}\"", column.name);
        let SqlError { body, position } = error;
        SqlError { body: Refusal { message, ..body }, position }
    };
    match (column.identity, overriding) {
        _ if column.computed.is_some() => Err(refused(generated(column, ""))),
        (Some(_), Some(Overriding::User)) => Ok(true),
        (Some(Identity { always: true, .. }), None) => {
            Err(refused(always(column, "")).with_hint("Use OVERRIDING SYSTEM VALUE to override."))
        }
        (Some(_), Some(Overriding::System) | None) | (None, _) => Ok(false),
    }
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
