//! FROM: tables, WITH items, subqueries and joins.

use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Body, Table};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::state::FEATURE_NOT_SUPPORTED;
use grantd_raft::rows::ddl;
use sqlparser::ast;

use crate::error::{SqlError, state};
use crate::sql::parse::name_of;
use crate::sql::translate::{Typed, cast, operator, quote};
use crate::value::{Family, SqlType};

use super::introspect::virtual_scope;
use super::query::OutputColumn;
use super::scope::{Readable, Relation, Scope, ScopeColumn, WithItem};
use super::step::Past;
use super::stored::once;
use super::{Planner, empty, no_column, none, not_a_table, unset, with};

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
            let mut own = Scope { outer: scope.outer, before: scope.relations.clone(), ..Scope::root() };
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
        let is_lateral = matches!(join.relation, ast::TableFactor::Derived { lateral: true, .. });
        unset(outer_right && is_lateral, "RIGHT or FULL JOIN LATERAL")?;
        // SQLite has no precedence between a comma and a join.
        unset(outer_right && !first_item, "RIGHT or FULL JOIN after a comma")?;
        let before = scope.relations.len();
        let relation = self.relation(&join.relation, scope)?;
        let condition = match constraint {
            ast::JoinConstraint::On(condition) => {
                let scope = scope.without_aggregates("JOIN conditions");
                format!(" ON {}", self.typed(condition, SqlType::Bool, "argument of JOIN/ON", &scope)?)
            }
            ast::JoinConstraint::Using(names) => {
                let mut common = Vec::with_capacity(names.len());
                for name in names {
                    match super::object_name(name)?.parts.as_slice() {
                        [name] => common.push(name.clone()),
                        _ => return Err(SqlError::syntax("USING takes plain names")),
                    }
                }
                self.using(&common, (before, word), scope)?
            }
            ast::JoinConstraint::Natural => {
                let common = common_names(&scope.relations, before);
                self.using(&common, (before, word), scope)?
            }
            ast::JoinConstraint::None if word == "CROSS JOIN" => String::new(),
            ast::JoinConstraint::None => return Err(SqlError::syntax("JOIN needs ON or USING")),
        };
        Ok(format!(" {word} {relation}{condition}"))
    }

    /// The condition of USING; its columns are one column each from here on: that of the side which always has a row.
    fn using(
        &mut self,
        names: &[Name],
        (before, word): (usize, &str),
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        if names.is_empty() {
            return Ok(" ON 1".to_owned());
        }
        let mut conditions = Vec::with_capacity(names.len());
        for name in names {
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
            let merged = scope.merged.iter().position(|column| column.name == *name);
            let left = match merged {
                Some(at) => scope.merged[at].clone(),
                None => find(&scope.relations[..before])?,
            };
            let right = find(&scope.relations[before..])?;
            let condition = operator::comparison(
                "=",
                Typed::computed(left.sql.clone(), left.sql_type),
                Typed::computed(right.sql.clone(), right.sql_type),
                &mut self.parameters,
            )?;
            conditions.push(condition.sql);
            let column = match word {
                "RIGHT JOIN" => right,
                "FULL JOIN" => {
                    let sides = [&left, &right].map(|c| Typed::computed(c.sql.clone(), c.sql_type));
                    let (sides, sql_type) = cast::unify(sides.to_vec(), "USING", &mut self.parameters)?;
                    let sql = format!("coalesce({}, {})", sides[0].sql, sides[1].sql);
                    ScopeColumn { sql, sql_type, ..left }
                }
                _ => left,
            };
            match merged {
                Some(at) => scope.merged[at] = column,
                None => scope.merged.push(column),
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
                none(sample, "TABLESAMPLE")?;
                let name = alias.as_ref().map_or_else(|| Name::normalize(""), |alias| name_of(&alias.name));
                if !self.allows_subquery {
                    return Err(SqlError::unsupported("a subquery at this place"));
                }
                if *lateral {
                    return self.with_locking_of(&name, |planner| {
                        planner.lateral_relation(subquery, alias.as_ref(), scope)
                    });
                }
                let outer = scope.outer.cloned().unwrap_or_else(Scope::root);
                let bound = self.with_locking_of(&name, |planner| planner.query(subquery, &outer))?;
                let sql_name = self.fresh('q');
                let mut relation = query_scope(&bound.columns, &sql_name, Name::normalize(""));
                if let Some(alias) = alias {
                    rename(&mut relation, alias)?;
                }
                self.shown.insert(sql_name.clone(), relation.name.to_string());
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
            && let Some(item) = self.with_item(single)?
        {
            let names = item.columns.iter().map(|(name, _)| name.clone()).collect();
            let (name, names) = match alias {
                Some(alias) => (name_of(&alias.name), renamed(alias, names)?),
                None => (item.name, names),
            };
            self.shown.insert(sql_name.clone(), name.to_string());
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
            scope.add(Relation { name, schema: None, columns, key: Vec::new() })?;
            // PostgreSQL locks no rows of a WITH item.
            return Ok(format!("{} AS {sql_name}", item.sql_name));
        }
        let shown = parts.last().cloned().unwrap_or_else(|| Name::normalize(""));
        let (id, object) = self.relation_object(name)?;
        let (sql, mut relation) = match &object.body {
            Body::Table(table) => {
                let sql = self.stored_rows(id);
                (sql, table_scope(table, &sql_name, shown))
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
        self.shown.insert(sql_name.clone(), relation.name.to_string());
        self.locked(&relation.name, matches!(object.body, Body::Table(_)).then_some(id))?;
        scope.add(relation)?;
        Ok(format!("{sql} AS {sql_name}"))
    }

    /// The rows of a table: as they are, or as they were when the statement began.
    fn stored_rows(&mut self, id: ObjectId) -> String {
        let is_read = self.read.contains(&id);
        self.uses(id, &[Privilege::Select]);
        let Some(Past::Known(sql, named)) = self.past.get(&id) else { return format!("t{id}") };
        self.named.extend(named);
        if !is_read {
            self.read.remove(&id);
        }
        sql.clone()
    }

    /// The WITH item of this name, to be read.
    fn with_item(&mut self, name: &Name) -> Result<Option<WithItem>, SqlError> {
        let Some(item) = self.with.iter_mut().rev().find(|item| item.name == *name) else { return Ok(None) };
        match &mut item.readable {
            Readable::Yes => {}
            Readable::Once { used } if !*used => *used = true,
            Readable::Once { .. } | Readable::No => return Err(with::unsupported()),
            Readable::Nothing => {
                let message = format!("WITH query \"{name}\" does not have a RETURNING clause");
                return Err(SqlError::new(FEATURE_NOT_SUPPORTED, message));
            }
        }
        self.named.extend(item.kept);
        Ok(Some(item.clone()))
    }

    /// A subquery that sees what stands to its left. SQLite has none; but a table of JSON does see it: the rows of the
    /// subquery become one, and its items rows again.
    fn lateral_relation(
        &mut self,
        subquery: &ast::Query,
        alias: Option<&ast::TableAlias>,
        scope: &mut Scope<'_>,
    ) -> Result<String, SqlError> {
        let relations = [scope.before.as_slice(), scope.relations.as_slice()].concat();
        let merged = scope.merged.clone();
        let seen = Scope { outer: scope.outer, relations, merged, ..Scope::root() };
        let bound = self.query(subquery, &seen)?;
        let sql_name = self.fresh('q');
        let mut relation = query_scope(&bound.columns, &sql_name, Name::normalize(""));
        let mut items = Vec::with_capacity(bound.columns.len());
        for (at, column) in relation.columns.iter_mut().enumerate() {
            let k = format!("k{}", at + 1);
            let value = format!("json_extract({sql_name}.value, '$[{at}]')");
            // JSON has no bytes and rounds numbers.
            let (inside, outside) = match column.sql_type.family() {
                Family::Float => (format!("g_float_text({k})"), format!("g_text_float({value})")),
                Family::Bytes => (format!("g_bytes_text({k})"), format!("g_text_bytes({value})")),
                Family::Text | Family::TextArray => (format!("({k} || '')"), value),
                _ => (k, value),
            };
            items.push(inside);
            column.sql = outside;
        }
        if let Some(alias) = alias {
            rename(&mut relation, alias)?;
        }
        scope.add(relation)?;
        let rows =
            format!("(SELECT json_group_array(json_array({})) FROM ({}))", items.join(", "), bound.sql);
        Ok(format!("json_each({rows}) AS {sql_name}"))
    }
}

/// The names that columns on both sides of a join have, in the order of the left side.
fn common_names(relations: &[Relation], before: usize) -> Vec<Name> {
    let visible = |relations: &[Relation]| -> Vec<Name> {
        let columns = relations.iter().flat_map(|relation| &relation.columns);
        columns.filter(|column| !column.hidden).map(|column| column.name.clone()).collect()
    };
    let right = visible(&relations[before..]);
    let mut common = Vec::new();
    for name in visible(&relations[..before]) {
        if right.contains(&name) && !common.contains(&name) {
            common.push(name);
        }
    }
    common
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
    Relation { name, schema: None, columns, key: Vec::new() }
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
    let columns: Vec<_> = table
        .columns
        .iter()
        .map(|column| ScopeColumn {
            name: column.name.clone(),
            sql: format!("{sql_name}.{}", quote(column.name.as_str())),
            sql_type: SqlType::of_column(column.column_type),
            hidden: column.hidden,
        })
        .collect();
    let key = table.primary_key.iter().map(|at| columns[usize::from(*at)].sql.clone()).collect();
    Relation { name, schema: None, columns, key }
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
