//! WITH. An item is a WITH item of the row store; MATERIALIZED and its opposite change nothing that a client could see.
//!
//! WITH RECURSIVE is SQLite's where its rules and PostgreSQL's are the same: the item names itself once, in FROM of what
//! stands behind UNION.

use sqlparser::ast;

use super::contents::contents;
use super::from::renamed;
use super::query::{Bound, OutputColumn, projected};
use super::scope::{Readable, Scope, WithItem};
use super::stored::once;
use super::{Planner, none, unset};
use crate::error::{SqlError, state};
use crate::sql::parse::name_of;
use crate::value::SqlType;
use grantd_catalog::name::Name;

impl Planner<'_> {
    /// `WITH … `; the items are in sight until the caller takes them away.
    pub(super) fn with_items(&mut self, with: &ast::With, outer: &Scope<'_>) -> Result<String, SqlError> {
        let first = self.with.len();
        let items = item_names(with)?;
        unset(
            with.cte_tables.iter().any(|item| changes_rows(&item.query)),
            "a WITH that changes rows anywhere but at the top of a statement",
        )?;
        if with.recursive {
            // All are in sight of all: none must be taken for a table of that name.
            for name in &items {
                self.with.push(WithItem::unreadable(name.clone()));
            }
        }
        let mut texts = Vec::with_capacity(items.len());
        for (at, (item, name)) in with.cte_tables.iter().zip(items).enumerate() {
            let at = first + at;
            let sql_name = self.fresh_with();
            let arms = if with.recursive { recursive_arms(&item.query, &name) } else { None };
            let (columns, text) = match arms {
                Some(arms) => self.recursive_item((item, at, &sql_name), arms, outer)?,
                None => {
                    let bound = self.query(&item.query, outer)?;
                    let text = format!("{sql_name} AS ({})", once(bound.sql.clone()));
                    (named(&item.alias, &bound)?, text)
                }
            };
            texts.push(text);
            let known = WithItem { name, sql_name, columns, readable: Readable::Yes, kept: None };
            match self.with.get_mut(at) {
                Some(place) => *place = known,
                None => self.with.push(known),
            }
        }
        let word = if with.recursive { "WITH RECURSIVE" } else { "WITH" };
        Ok(format!("{word} {} ", texts.join(", ")))
    }

    /// An item that is a query of its own, and what it is called by those behind it.
    pub(super) fn with_query(
        &mut self,
        (item, at): (&ast::Cte, usize),
        is_recursive: bool,
        outer: &Scope<'_>,
    ) -> Result<(String, Vec<(Name, SqlType)>), SqlError> {
        let name = name_of(&item.alias.name);
        let arms = if is_recursive { recursive_arms(&item.query, &name) } else { None };
        let Some(arms) = arms else {
            let bound = self.query(&item.query, outer)?;
            let columns = named(&item.alias, &bound)?;
            return Ok((bound.sql, columns));
        };
        let sql_name = self.fresh_with();
        let (columns, text) = self.recursive_item((item, at, &sql_name), arms, outer)?;
        Ok((format!("WITH RECURSIVE {text} SELECT * FROM {sql_name}"), columns))
    }

    fn recursive_item(
        &mut self,
        (item, at, sql_name): (&ast::Cte, usize, &str),
        (word, left, right): (&str, &ast::SetExpr, &ast::Select),
        outer: &Scope<'_>,
    ) -> Result<(Vec<(Name, SqlType)>, String), SqlError> {
        let start = self.set_expression(left, outer)?;
        let columns = named(&item.alias, &start)?;
        let name = name_of(&item.alias.name);
        let readable = Readable::Once { used: false };
        self.with[at] = WithItem {
            name: name.clone(),
            sql_name: sql_name.to_owned(),
            columns: columns.clone(),
            readable,
            kept: None,
        };
        let step = self.select(right, &[], outer)?;
        if step.columns.len() != start.columns.len() {
            return Err(SqlError::syntax(format!("each {word} query must have the same number of columns")));
        }
        for (n, (before, after)) in columns.iter().zip(&step.columns).enumerate() {
            let (before, after) = (settled(before.1), after.sql_type);
            if after != SqlType::Unknown && before.family() != after.family() {
                return Err(SqlError::new(
                    state::DATATYPE_MISMATCH,
                    format!(
                        "recursive query \"{name}\" column {} has type {} in non-recursive term but type {} overall",
                        n + 1,
                        before.word(),
                        after.word()
                    ),
                ));
            }
        }
        let aggregates = right.projection.iter().filter_map(projected).any(|item| contents(item).aggregate);
        let is_plain = right.distinct.is_none()
            && right.having.is_none()
            && !aggregates
            && !step.sql.contains(" OVER (")
            && !step.sql.contains(" GROUP BY ")
            && right.from.iter().all(|item| item.joins.iter().all(is_inner));
        if !is_plain {
            return Err(unsupported());
        }
        let names: Vec<_> = (1..=columns.len()).map(|n| format!("k{n}")).collect();
        let names = names.join(", ");
        let text =
            format!("{sql_name}({names}) AS (SELECT {names} FROM ({}) {word} {})", once(start.sql), step.sql);
        Ok((columns, text))
    }
}

pub(super) fn unsupported() -> SqlError {
    SqlError::unsupported("this form of WITH RECURSIVE")
}

fn settled(sql_type: SqlType) -> SqlType {
    if sql_type == SqlType::Unknown { SqlType::Text } else { sql_type }
}

fn named(alias: &ast::TableAlias, bound: &Bound) -> Result<Vec<(Name, SqlType)>, SqlError> {
    named_as(alias, &bound.columns)
}

/// The columns of an item under the names that its alias gives them.
pub(super) fn named_as(
    alias: &ast::TableAlias,
    columns: &[OutputColumn],
) -> Result<Vec<(Name, SqlType)>, SqlError> {
    let names = renamed(alias, columns.iter().map(|column| column.name.clone()).collect())?;
    Ok(names.into_iter().zip(columns.iter().map(|column| column.sql_type)).collect())
}

/// The names of the items; 42712 for one that comes twice.
pub(super) fn item_names(with: &ast::With) -> Result<Vec<Name>, SqlError> {
    let mut names = Vec::with_capacity(with.cte_tables.len());
    for item in &with.cte_tables {
        none(&item.from, "WITH … FROM")?;
        let name = name_of(&item.alias.name);
        if names.contains(&name) {
            return Err(SqlError::new(
                state::DUPLICATE_ALIAS,
                format!("WITH query name {name} specified more than once"),
            ));
        }
        names.push(name);
    }
    Ok(names)
}

/// Whether an item of WITH changes rows.
pub(super) fn changes_rows(query: &ast::Query) -> bool {
    use ast::SetExpr as E;
    matches!(query.body.as_ref(), E::Insert(_) | E::Update(_) | E::Delete(_) | E::Merge(_))
}

/// What a recursive item begins with, and its next step, if it is plainly one: it names itself in FROM of the second.
fn recursive_arms<'q>(
    query: &'q ast::Query,
    name: &Name,
) -> Option<(&'static str, &'q ast::SetExpr, &'q ast::Select)> {
    let is_bare = query.with.is_none()
        && query.order_by.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && query.locks.is_empty();
    let ast::SetExpr::SetOperation { op: ast::SetOperator::Union, set_quantifier, left, right } =
        query.body.as_ref()
    else {
        return None;
    };
    let word = match set_quantifier {
        ast::SetQuantifier::All => "UNION ALL",
        ast::SetQuantifier::None | ast::SetQuantifier::Distinct => "UNION",
        _ => return None,
    };
    let right = match right.as_ref() {
        ast::SetExpr::Select(select) => select,
        ast::SetExpr::Query(inner) if inner.with.is_none() && inner.order_by.is_none() => {
            match (inner.body.as_ref(), &inner.limit_clause) {
                (ast::SetExpr::Select(select), None) => select,
                _ => return None,
            }
        }
        _ => return None,
    };
    let is_own = |factor: &ast::TableFactor| {
        matches!(factor, ast::TableFactor::Table { name: named, .. }
            if super::object_name(named).is_ok_and(|named| named.parts == [name.clone()]))
    };
    let names_itself = right
        .from
        .iter()
        .any(|item| is_own(&item.relation) || item.joins.iter().any(|join| is_own(&join.relation)));
    (is_bare && names_itself).then_some((word, left.as_ref(), right.as_ref()))
}

/// A join that adds no row of NULLs: an outer one is refused beside the item itself, in PostgreSQL too.
fn is_inner(join: &ast::Join) -> bool {
    use ast::JoinOperator as J;
    matches!(join.join_operator, J::Join(_) | J::Inner(_) | J::CrossJoin(_))
}
