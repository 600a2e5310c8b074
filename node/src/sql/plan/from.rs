//! FROM: tables, WITH items, subqueries and joins.

use grantd_catalog::name::Name;
use grantd_catalog::object::{Body, Table};
use grantd_catalog::privilege::Privilege;
use grantd_raft::rows::ddl;
use sqlparser::ast;

use crate::sql::error::{SqlError, state};
use crate::sql::parse::name_of;
use crate::sql::translate::{Typed, operator, quote};
use crate::sql::value::SqlType;

use super::introspect::virtual_scope;
use super::query::OutputColumn;
use super::scope::{Relation, Scope, ScopeColumn};
use super::stored::once;
use super::{Planner, empty, no_column, none, not_a_table, unset};

impl Planner<'_> {
    pub(super) fn from(
        &mut self,
        items: &[ast::TableWithJoins],
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let mut sql = String::new();
        for (at, item) in items.iter().enumerate() {
            sql.push_str(if at == 0 { " FROM " } else { ", " });
            // ON sees the relations of its own item only.
            let mut own = Scope { outer: scope.outer, ..Scope::root() };
            sql.push_str(&self.first_relation(&item.relation, scope, &mut own)?);
            for join in &item.joins {
                sql.push_str(&self.join(join, at == 0, &mut own)?);
            }
            for relation in own.relations {
                scope.add(relation)?;
            }
            scope.merged.extend(own.merged);
        }
        Ok(sql)
    }

    /// The first relation of an item. A function in it sees the items before.
    fn first_relation(
        &mut self,
        factor: &ast::TableFactor,
        before: &Scope<'_>,
        own: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let mut all = Scope { outer: before.outer, relations: before.relations.clone(), ..Scope::root() };
        let known = all.relations.len();
        if let Some(sql) = self.function_in_from(factor, &mut all)? {
            for relation in all.relations.drain(known..) {
                own.add(relation)?;
            }
            return Ok(sql);
        }
        self.relation(factor, own)
    }

    fn join(
        &mut self,
        join: &ast::Join,
        first_item: bool,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        use ast::JoinOperator as J;
        unset(join.global, "GLOBAL JOIN")?;
        let (word, constraint) = match &join.join_operator {
            J::Join(constraint) | J::Inner(constraint) => ("JOIN", constraint),
            J::Left(constraint) | J::LeftOuter(constraint) => ("LEFT JOIN", constraint),
            J::Right(constraint) | J::RightOuter(constraint) => ("RIGHT JOIN", constraint),
            J::FullOuter(constraint) => ("FULL JOIN", constraint),
            J::CrossJoin(ast::JoinConstraint::None) => ("CROSS JOIN", &ast::JoinConstraint::None),
            _ => return Err(SqlError::unsupported("this kind of JOIN")),
        };
        let outer_right = matches!(word, "RIGHT JOIN" | "FULL JOIN");
        // SQLite has no precedence between a comma and a join.
        unset(outer_right && !first_item, "RIGHT or FULL JOIN after a comma")?;
        let before = scope.relations.len();
        let relation = self.relation(&join.relation, scope)?;
        let condition = match constraint {
            ast::JoinConstraint::On(condition) => {
                let scope = scope.without_aggregates("JOIN conditions");
                format!(" ON {}", self.typed(condition, SqlType::Bool, "argument of JOIN/ON", &scope)?)
            }
            ast::JoinConstraint::Using(_) if outer_right => {
                return Err(SqlError::unsupported("USING with RIGHT or FULL JOIN"));
            }
            ast::JoinConstraint::Using(names) => self.using(names, before, scope)?,
            ast::JoinConstraint::Natural => return Err(SqlError::unsupported("NATURAL JOIN")),
            ast::JoinConstraint::None if word == "CROSS JOIN" => String::new(),
            ast::JoinConstraint::None => return Err(SqlError::syntax("JOIN needs ON or USING")),
        };
        Ok(format!(" {word} {relation}{condition}"))
    }

    /// The condition of USING; its columns are one column each from here on, the left one.
    fn using(
        &mut self,
        names: &[ast::ObjectName],
        before: usize,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let mut conditions = Vec::with_capacity(names.len());
        for name in names {
            let parts = super::object_name(name)?.parts;
            let [name] = parts.as_slice() else { return Err(SqlError::syntax("USING takes plain names")) };
            let find = |relations: &[Relation]| -> Result<ScopeColumn, SqlError> {
                let mut found =
                    relations.iter().flat_map(|relation| &relation.columns).filter(|c| c.name == *name);
                let column = found.next().ok_or_else(|| no_column(name.as_str()))?;
                if found.next().is_some() {
                    return Err(SqlError::new(
                        state::AMBIGUOUS_COLUMN,
                        format!("common column name \"{name}\" appears more than once"),
                    ));
                }
                Ok(column.clone())
            };
            let merged = scope.merged.iter().find(|column| column.name == *name).cloned();
            let left = match &merged {
                Some(column) => column.clone(),
                None => find(&scope.relations[..before])?,
            };
            let right = find(&scope.relations[before..])?;
            let condition = operator::comparison(
                "=",
                Typed::computed(left.sql.clone(), left.sql_type),
                Typed::computed(right.sql, right.sql_type),
                &mut self.parameters,
            )?;
            conditions.push(condition.sql);
            if merged.is_none() {
                scope.merged.push(left);
            }
        }
        Ok(format!(" ON {}", conditions.join(" AND ")))
    }

    fn relation(&mut self, factor: &ast::TableFactor, scope: &mut Scope<'_>) -> Result<String, SqlError> {
        if let Some(sql) = self.function_in_from(factor, scope)? {
            return Ok(sql);
        }
        match factor {
            ast::TableFactor::Table { .. } => {
                let (name, alias) = plain_table(factor)?;
                self.table_relation(name, alias, scope)
            }
            ast::TableFactor::Derived { lateral, subquery, alias, sample } => {
                unset(*lateral, "LATERAL")?;
                none(sample, "TABLESAMPLE")?;
                let outer = scope.outer.cloned().unwrap_or_else(Scope::root);
                let bound = self.subquery(subquery, &outer)?;
                let sql_name = self.fresh('q');
                let mut relation = query_scope(&bound.columns, &sql_name, Name::normalize(""));
                if let Some(alias) = alias {
                    rename(&mut relation, alias)?;
                }
                scope.add(relation)?;
                Ok(format!("({}) AS {sql_name}", once(bound.sql)))
            }
            ast::TableFactor::NestedJoin { table_with_joins, alias } => {
                none(alias, "an alias of a join in parentheses")?;
                let mut sql = self.relation(&table_with_joins.relation, scope)?;
                for join in &table_with_joins.joins {
                    sql.push_str(&self.join(join, true, scope)?);
                }
                Ok(format!("({sql})"))
            }
            _ => Err(SqlError::unsupported("this kind of table in FROM")),
        }
    }

    /// A table or WITH item by name.
    fn table_relation(
        &mut self,
        name: &ast::ObjectName,
        alias: Option<&ast::TableAlias>,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let parts = super::object_name(name)?.parts;
        let sql_name = self.fresh('q');
        if let [single] = parts.as_slice()
            && let Some(item) = self.with.iter().rev().find(|item| item.name == *single).cloned()
        {
            let names = item.columns.iter().map(|(name, _)| name.clone()).collect();
            let (name, names) = match alias {
                Some(alias) => (name_of(&alias.name), renamed(alias, names)?),
                None => (item.name, names),
            };
            let columns = names
                .into_iter()
                .zip(&item.columns)
                .enumerate()
                .map(|(at, (name, (_, sql_type)))| ScopeColumn {
                    name,
                    sql: format!("{sql_name}.k{}", at + 1),
                    sql_type: if *sql_type == SqlType::Unknown { SqlType::Text } else { *sql_type },
                    hidden: false,
                })
                .collect();
            scope.add(Relation { name, schema: None, columns })?;
            return Ok(format!("{} AS {sql_name}", item.sql_name));
        }
        let shown = parts.last().cloned().unwrap_or_else(|| Name::normalize(""));
        let (id, object) = self.relation_object(name)?;
        let (sql, mut relation) = match &object.body {
            Body::Table(table) => {
                self.uses(id, &[Privilege::Select]);
                (format!("t{id}"), table_scope(table, &sql_name, shown))
            }
            Body::VirtualTable => {
                self.uses(id, &[Privilege::Select]);
                (format!("t{id}"), virtual_scope((id, object), &sql_name, shown)?)
            }
            Body::Sequence(_) => {
                self.uses(id, &[Privilege::Select]);
                (format!("t{id}"), table_scope(&ddl::sequence_table(), &sql_name, shown))
            }
            Body::View(view) => {
                let (sql, columns) = self.view_relation(id, object, view)?;
                (sql, query_scope(&columns, &sql_name, shown))
            }
            _ => return Err(not_a_table(object)),
        };
        match alias {
            Some(alias) => rename(&mut relation, alias)?,
            None => {
                let schema = self.origin.view.state().object(object.parent);
                relation.schema = schema.map(|schema| schema.name.clone());
            }
        }
        scope.add(relation)?;
        Ok(format!("{sql} AS {sql_name}"))
    }
}

/// The columns of a query, referred to through `sql_name`.
fn query_scope(columns: &[OutputColumn], sql_name: &str, name: Name) -> Relation {
    let columns = columns
        .iter()
        .enumerate()
        .map(|(at, column)| ScopeColumn {
            name: column.name.clone(),
            sql: format!("{sql_name}.k{}", at + 1),
            sql_type: column.settled_type(),
            hidden: false,
        })
        .collect();
    Relation { name, schema: None, columns }
}

/// The name and alias of a table in FROM, or as the target of a change, without any option.
pub(super) fn plain_table(
    factor: &ast::TableFactor,
) -> Result<(&ast::ObjectName, Option<&ast::TableAlias>), SqlError> {
    let ast::TableFactor::Table {
        name,
        alias,
        args,
        with_hints,
        version,
        with_ordinality,
        partitions,
        json_path,
        sample,
        index_hints,
    } = factor
    else {
        return Err(SqlError::unsupported("anything but a table here"));
    };
    none(args, "a function in FROM")?;
    empty(with_hints, "a hint in FROM")?;
    none(version, "AS OF")?;
    unset(*with_ordinality, "WITH ORDINALITY")?;
    empty(partitions, "PARTITION in FROM")?;
    none(json_path, "a path in FROM")?;
    none(sample, "TABLESAMPLE")?;
    empty(index_hints, "an index hint")?;
    Ok((name, alias.as_ref()))
}

/// The columns of a table, referred to through `sql_name`.
pub(super) fn table_scope(table: &Table, sql_name: &str, name: Name) -> Relation {
    let columns = table
        .columns
        .iter()
        .map(|column| ScopeColumn {
            name: column.name.clone(),
            sql: format!("{sql_name}.{}", quote(column.name.as_str())),
            sql_type: SqlType::of_column(column.column_type),
            hidden: column.hidden,
        })
        .collect();
    Relation { name, schema: None, columns }
}

fn rename(relation: &mut Relation, alias: &ast::TableAlias) -> Result<(), SqlError> {
    relation.name = name_of(&alias.name);
    let names = relation.columns.iter().map(|column| column.name.clone()).collect();
    for (column, name) in relation.columns.iter_mut().zip(renamed(alias, names)?) {
        column.name = name;
    }
    Ok(())
}

/// Column names after `AS alias (a, b)`.
pub(super) fn renamed(alias: &ast::TableAlias, mut names: Vec<Name>) -> Result<Vec<Name>, SqlError> {
    none(&alias.at, "AT in FROM")?;
    if alias.columns.len() > names.len() {
        return Err(SqlError::new(
            state::INVALID_COLUMN_REFERENCE,
            format!("source \"{}\" has {} columns available", name_of(&alias.name), names.len()),
        ));
    }
    for (name, column) in names.iter_mut().zip(&alias.columns) {
        none(&column.data_type, "a type in an alias")?;
        *name = name_of(&column.name);
    }
    Ok(names)
}
