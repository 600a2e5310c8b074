//! INSERT, UPSERT, UPDATE, DELETE.

use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Column, Table};
use grantd_catalog::privilege::Privilege;
use sqlparser::ast;

use crate::sql::error::{SqlError, state};
use crate::sql::parse::name_of;
use crate::sql::translate::{Typed, cast, quote};
use crate::sql::value::{ColumnInfo, SqlType};

use super::from::{plain_table, table_scope};
use super::query::OutputColumn;
use super::scope::Scope;
use super::stored::once;
use super::{Origin, Plan, Planner, Source, distinct, empty, no_column, none, unset};

/// Plans an INSERT, or an UPSERT.
pub fn insert(
    origin: Origin<'_>,
    insert: &ast::Insert,
    upsert: bool,
    hints: &[Option<SqlType>],
) -> Result<Plan, SqlError> {
    check_insert(insert)?;
    let ast::TableObject::TableName(name) = &insert.table else {
        return Err(SqlError::unsupported("INSERT INTO anything but a table"));
    };
    let mut planner = Planner::new(origin, hints);
    let action = action(insert, upsert)?;
    let privileges: &[Privilege] = match (&action, insert.returning.is_some()) {
        (Action::Insert, false) => &[Privilege::Insert],
        (Action::Insert, true) | (Action::Nothing(_), _) => &[Privilege::Insert, Privilege::Select],
        (Action::Update { .. } | Action::Upsert, _) => {
            &[Privilege::Insert, Privilege::Select, Privilege::Update]
        }
    };
    let (id, table) = planner.table(name, privileges)?;
    let sql_name = planner.fresh('q');
    let table_name = match &insert.table_alias {
        Some(alias) => name_of(&alias.alias),
        None => super::object_name(name)?.parts.pop().unwrap_or_else(|| Name::normalize("")),
    };
    let targets = targets(table, insert)?;
    let (source, rows) = planner.source(insert, table, &targets)?;
    let mut scope = planner.scope();
    scope.add(table_scope(table, &sql_name, table_name))?;
    let conflict = planner.conflict(&action, table, insert, &targets, rows, &scope)?;
    let (returning, columns) = planner.returning(insert.returning.as_deref(), &scope)?;
    let names: Vec<_> = table.columns.iter().map(|column| quote(column.name.as_str())).collect();
    let ks: Vec<_> = (1..=names.len()).map(|at| format!("k{at}")).collect();
    let sql = format!(
        "INSERT INTO t{id} AS {sql_name} ({}) SELECT {} FROM ({source}) WHERE 1{conflict}{returning}",
        names.join(", "),
        ks.join(", ")
    );
    let mut plan = planner.finish(sql, columns, "INSERT 0");
    plan.source = Some(Source { sql: source, table: id });
    Ok(plan)
}

/// Plans an UPDATE.
pub fn update(origin: Origin<'_>, update: &ast::Update, hints: &[Option<SqlType>]) -> Result<Plan, SqlError> {
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
    none(from, "UPDATE … FROM")?;
    none(output, "OUTPUT")?;
    none(or, "UPDATE OR")?;
    empty(order_by, "UPDATE … ORDER BY")?;
    none(limit, "UPDATE … LIMIT")?;
    let mut planner = Planner::new(origin, hints);
    let mut scope = planner.scope();
    let privileges = [Privilege::Update, Privilege::Select];
    let (id, table, sql_name) = planner.target(table, &privileges, &mut scope)?;
    let set = planner.assignments(assignments, table, &scope)?;
    let filter = planner.filter(selection.as_ref(), &scope)?;
    let (returning, columns) = planner.returning(returning.as_deref(), &scope)?;
    let sql = format!("UPDATE t{id} AS {sql_name} SET {set}{filter}{returning}");
    Ok(planner.finish(sql, columns, "UPDATE"))
}

/// Plans a DELETE.
pub fn delete(origin: Origin<'_>, delete: &ast::Delete, hints: &[Option<SqlType>]) -> Result<Plan, SqlError> {
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
    none(using, "DELETE … USING")?;
    none(output, "OUTPUT")?;
    empty(order_by, "DELETE … ORDER BY")?;
    none(limit, "DELETE … LIMIT")?;
    let (ast::FromTable::WithFromKeyword(tables) | ast::FromTable::WithoutKeyword(tables)) = from;
    let [table] = tables.as_slice() else {
        return Err(SqlError::unsupported("DELETE from several tables"));
    };
    let mut planner = Planner::new(origin, hints);
    let mut scope = planner.scope();
    let privileges = [Privilege::Delete, Privilege::Select];
    let (id, _, sql_name) = planner.target(table, &privileges, &mut scope)?;
    let filter = planner.filter(selection.as_ref(), &scope)?;
    let (returning, columns) = planner.returning(returning.as_deref(), &scope)?;
    let sql = format!("DELETE FROM t{id} AS {sql_name}{filter}{returning}");
    Ok(planner.finish(sql, columns, "DELETE"))
}

/// Plans a TRUNCATE: all rows go, for who holds DROP.
pub fn truncate(origin: Origin<'_>, name: &ast::ObjectName) -> Result<Plan, SqlError> {
    let mut planner = Planner::new(origin, &[]);
    let (id, _) = planner.table(name, &[Privilege::Drop])?;
    Ok(planner.finish(format!("DELETE FROM t{id}"), None, "TRUNCATE"))
}

/// What an INSERT does with a row whose key exists.
enum Action<'a> {
    Insert,
    Nothing(Option<&'a ast::ConflictTarget>),
    Update {
        target: Option<&'a ast::ConflictTarget>,
        set: &'a [ast::Assignment],
        filter: Option<&'a ast::Expr>,
    },
    Upsert,
}

fn action(insert: &ast::Insert, upsert: bool) -> Result<Action<'_>, SqlError> {
    match (&insert.on, upsert) {
        (None, false) => Ok(Action::Insert),
        (None, true) => Ok(Action::Upsert),
        (Some(_), true) => Err(SqlError::syntax("UPSERT takes no ON CONFLICT")),
        (Some(ast::OnInsert::OnConflict(conflict)), false) => {
            let target = conflict.conflict_target.as_ref();
            match &conflict.action {
                ast::OnConflictAction::DoNothing => Ok(Action::Nothing(target)),
                ast::OnConflictAction::DoUpdate(update) => {
                    let ast::DoUpdate { assignments, selection } = update;
                    Ok(Action::Update { target, set: assignments, filter: selection.as_ref() })
                }
            }
        }
        (Some(_), false) => Err(SqlError::unsupported("ON DUPLICATE KEY UPDATE")),
    }
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

fn position(table: &Table, name: &ast::ObjectName) -> Result<usize, SqlError> {
    let parts = super::object_name(name)?.parts;
    let [name] = parts.as_slice() else {
        return Err(SqlError::unsupported("a qualified name of a column here"));
    };
    table.columns.iter().position(|column| column.name == *name).ok_or_else(|| no_column(name.as_str()))
}

fn is_default(expression: &ast::Expr) -> bool {
    matches!(expression, ast::Expr::Identifier(ident)
        if ident.quote_style.is_none() && ident.value.eq_ignore_ascii_case("default"))
}

impl<'a> Planner<'a> {
    /// The one table of an UPDATE or DELETE.
    fn target(
        &mut self,
        table: &ast::TableWithJoins,
        privileges: &[Privilege],
        scope: &mut Scope<'_>,
    ) -> Result<(ObjectId, &'a Table, String), SqlError> {
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
        scope.add(table_scope(found, &sql_name, shown))?;
        Ok((id, found, sql_name))
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

    fn filter(&mut self, filter: Option<&ast::Expr>, scope: &Scope<'_>) -> Result<String, SqlError> {
        let Some(filter) = filter else { return Ok(String::new()) };
        let scope = scope.without_aggregates("WHERE");
        Ok(format!(" WHERE {}", self.typed(filter, SqlType::Bool, "argument of WHERE", &scope)?))
    }

    fn assignments(
        &mut self,
        assignments: &[ast::Assignment],
        table: &Table,
        scope: &Scope<'_>,
    ) -> Result<String, SqlError> {
        let scope = scope.without_aggregates("UPDATE SET");
        let mut names = Vec::with_capacity(assignments.len());
        let mut items = Vec::with_capacity(assignments.len());
        for assignment in assignments {
            let ast::AssignmentTarget::ColumnName(name) = &assignment.target else {
                return Err(SqlError::unsupported("SET (a, b) = …"));
            };
            let column = &table.columns[position(table, name)?];
            let sql = self.stored(&assignment.value, table, column, &scope)?;
            names.push(column.name.as_str());
            items.push(format!("{} = {sql}", quote(column.name.as_str())));
        }
        distinct(names.into_iter())?;
        Ok(items.join(", "))
    }

    /// The value of a column in INSERT or UPDATE.
    fn stored(
        &mut self,
        value: &ast::Expr,
        table: &Table,
        column: &Column,
        scope: &Scope<'_>,
    ) -> Result<String, SqlError> {
        if is_default(value) {
            return Ok(self.default_of(table, column));
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

    fn conflict(
        &mut self,
        action: &Action<'_>,
        table: &Table,
        insert: &ast::Insert,
        targets: &[usize],
        rows: Option<usize>,
        scope: &Scope<'_>,
    ) -> Result<String, SqlError> {
        if matches!(action, Action::Update { .. } | Action::Upsert) && rows != Some(1) {
            // SQLite would change a row twice where PostgreSQL refuses.
            return Err(SqlError::unsupported("UPSERT or ON CONFLICT DO UPDATE of more than one row")
                .with_hint("Send one row a statement."));
        }
        match action {
            Action::Insert => Ok(String::new()),
            Action::Nothing(target) => {
                Ok(format!(" ON CONFLICT{} DO NOTHING", conflict_target(*target, table)?))
            }
            Action::Update { target: None, .. } => Err(SqlError::syntax(
                "ON CONFLICT DO UPDATE requires inference specification or constraint name",
            )),
            Action::Update { target, set, filter } => {
                let mut scope = scope.clone();
                scope.add(table_scope(table, "excluded", Name::normalize("excluded")))?;
                let set = self.assignments(set, table, &scope)?;
                let filter = self.filter(*filter, &scope)?;
                Ok(format!(" ON CONFLICT{} DO UPDATE SET {set}{filter}", conflict_target(*target, table)?))
            }
            Action::Upsert => {
                let key: Vec<_> = table.primary_key.iter().map(|at| usize::from(*at)).collect();
                let all = insert.columns.is_empty();
                let set: Vec<_> = (0..table.columns.len())
                    .filter(|at| !key.contains(at) && (targets.contains(at) || all))
                    .map(|at| quote(table.columns[at].name.as_str()))
                    .map(|name| format!("{name} = excluded.{name}"))
                    .collect();
                let names: Vec<_> = key.iter().map(|at| quote(table.columns[*at].name.as_str())).collect();
                // A table of nothing but its key: the row is there already, and stays.
                let set = match set.is_empty() {
                    true => names.iter().map(|name| format!("{name} = excluded.{name}")).collect(),
                    false => set,
                };
                Ok(format!(" ON CONFLICT ({}) DO UPDATE SET {}", names.join(", "), set.join(", ")))
            }
        }
    }

    fn returning(
        &mut self,
        items: Option<&[ast::SelectItem]>,
        scope: &Scope<'_>,
    ) -> Result<(String, Option<Vec<ColumnInfo>>), SqlError> {
        let Some(items) = items else { return Ok((String::new(), None)) };
        let mut scope = scope.without_aggregates("RETURNING");
        // SQLite takes no alias there; the table's columns are all that is in sight.
        for column in scope.relations.iter_mut().flat_map(|relation| &mut relation.columns) {
            if let Some((_, name)) = column.sql.split_once('.') {
                column.sql = name.to_owned();
            }
        }
        self.allows_subquery = false;
        let output = self.projection(items, &scope)?;
        self.allows_subquery = true;
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

/// ` ("a", "b")`: columns that are a key of the table, or nothing.
fn conflict_target(target: Option<&ast::ConflictTarget>, table: &Table) -> Result<String, SqlError> {
    let columns = match target {
        None => return Ok(String::new()),
        Some(ast::ConflictTarget::OnConstraint(_)) => {
            return Err(SqlError::unsupported("ON CONFLICT ON CONSTRAINT"));
        }
        Some(ast::ConflictTarget::Columns(columns)) => columns,
    };
    let mut positions = Vec::with_capacity(columns.len());
    for column in columns {
        let name = name_of(column);
        let at = table.columns.iter().position(|known| known.name == name);
        positions.push(at.ok_or_else(|| no_column(name.as_str()))?);
    }
    let key = |columns: &[u16]| {
        columns.len() == positions.len() && columns.iter().all(|at| positions.contains(&usize::from(*at)))
    };
    if !key(&table.primary_key) && !table.unique.iter().any(|unique| key(&unique.columns)) {
        return Err(SqlError::new(
            state::INVALID_COLUMN_REFERENCE,
            "there is no unique or exclusion constraint matching the ON CONFLICT specification",
        ));
    }
    let names: Vec<_> = positions.iter().map(|at| quote(table.columns[*at].name.as_str())).collect();
    Ok(format!(" ({})", names.join(", ")))
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
