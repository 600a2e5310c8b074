//! WITH whose items change rows, and the statement behind it.
//!
//! SQLite has no such thing: each item is a step, whose rows are kept for the steps behind it. The items that are queries
//! are steps too, so that each is run once, and before the changes where it can be.

use std::collections::BTreeSet;

use sqlparser::ast;

use super::dml::{Change, Changed};
use super::query::{self, OutputColumn, shown};
use super::scope::{Readable, WithItem};
use super::step::{Arranged, Part, Past, Step, kept_rows};
use super::with::{changes_rows, item_names, named_as};
use super::{Origin, Plan, Planner, none};
use crate::error::SqlError;
use crate::value::SqlType;

/// Plans a statement behind what WITH holds, until it is known what its steps need of each other: first as SQLite would
/// take it, then in steps.
fn planned(
    origin: Origin<'_>,
    with: Option<&ast::With>,
    hints: &[Option<SqlType>],
    last: impl Fn(&mut Planner<'_>) -> Result<(Changed, &'static str), SqlError>,
) -> Result<Plan, SqlError> {
    let mut stepwise = with.is_some_and(changes);
    let mut wanted = BTreeSet::new();
    loop {
        let mut planner = Planner::new(origin, hints);
        planner.past = wanted.iter().map(|id| (*id, Past::Wanted)).collect();
        let root = planner.scope();
        let prefix = match with {
            Some(with) if stepwise => planner.steps(with).map(|()| String::new())?,
            Some(with) => planner.with_items(with, &root)?,
            None => String::new(),
        };
        planner.read.clear();
        planner.named.clear();
        let (changed, tag) = last(&mut planner)?;
        if with.is_some() && !stepwise && !planner.parts.is_empty() {
            stepwise = true;
            continue;
        }
        let part = planner.part_of(&changed, None);
        let steps = match planner.arrange(part)? {
            Arranged::Steps(steps) => steps,
            Arranged::Wants(id) => {
                wanted.insert(id);
                continue;
            }
        };
        let columns = changed.columns.map(|columns| columns.iter().map(OutputColumn::info).collect());
        let plan = planner.finish(format!("{prefix}{}", changed.sql), columns, tag);
        // What WITH holds is not in sight of the source alone.
        let alone = prefix.is_empty();
        return Ok(Plan {
            before: steps,
            source: changed.source.filter(|_| alone),
            gone: changed.gone.filter(|_| alone),
            ..plan
        });
    }
}

/// Whether an item of WITH changes rows.
pub fn changes(with: &ast::With) -> bool {
    with.cte_tables.iter().any(|item| changes_rows(&item.query))
}

/// Plans a query, with what WITH changes before it.
pub fn select(origin: Origin<'_>, query: &ast::Query, hints: &[Option<SqlType>]) -> Result<Plan, SqlError> {
    if !query.with.as_ref().is_some_and(changes) {
        return query::select(origin, query, hints);
    }
    let rest = ast::Query { with: None, ..query.clone() };
    planned(origin, query.with.as_ref(), hints, |planner| {
        let root = planner.scope();
        let bound = planner.query(&rest, &root)?;
        let columns = Some(bound.columns.clone());
        let rows =
            Changed { sql: shown(bound), columns, source: None, gone: None, change: None, shows: None };
        Ok((rows, "SELECT"))
    })
}

/// Plans a change of rows, with what WITH holds before it.
pub fn change(
    origin: Origin<'_>,
    with: Option<&ast::With>,
    change: Change<'_>,
    hints: &[Option<SqlType>],
) -> Result<Plan, SqlError> {
    planned(origin, with, hints, |planner| Ok((planner.changed(change)?, change.tag())))
}

impl Planner<'_> {
    /// The items of WITH as steps. They are in sight from here on.
    fn steps(&mut self, with: &ast::With) -> Result<(), SqlError> {
        let names = item_names(with)?;
        if with.recursive {
            self.with.extend(names.iter().cloned().map(WithItem::unreadable));
        }
        for (at, (item, name)) in with.cte_tables.iter().zip(names).enumerate() {
            self.read.clear();
            self.named.clear();
            let known = match changes_rows(&item.query) {
                true => self.change_step(item)?,
                false => {
                    let root = self.scope();
                    let (sql, columns) = self.with_query((item, at), with.recursive, &root)?;
                    let number = self.keep(sql);
                    WithItem::kept(name.clone(), columns, number)
                }
            };
            let known = WithItem { name, ..known };
            match self.with.get_mut(at) {
                Some(place) => *place = known,
                None => self.with.push(known),
            }
        }
        Ok(())
    }

    fn change_step(&mut self, item: &ast::Cte) -> Result<WithItem, SqlError> {
        none(&item.query.with, "WITH in an item of WITH that changes rows")?;
        let first = self.parts.len();
        self.returns_raw = true;
        let changed = match item.query.body.as_ref() {
            ast::SetExpr::Insert(ast::Statement::Insert(insert)) => {
                self.changed(Change::Insert(insert, None))
            }
            ast::SetExpr::Update(ast::Statement::Update(update)) => self.changed(Change::Update(update)),
            ast::SetExpr::Delete(ast::Statement::Delete(delete)) => self.changed(Change::Delete(delete)),
            _ => Err(SqlError::unsupported("MERGE")),
        };
        let changed = changed?;
        let number = self.number();
        let part = self.part_of(&changed, Some(number));
        self.parts.push(part);
        let shown = changed.columns.as_deref().unwrap_or_default();
        if let Some(change) = changed.change {
            self.remember((&changed, first), change, (number, shown.len()))?;
        }
        self.returns_raw = false;
        let mut known =
            WithItem::kept(super::name_of(&item.alias.name), named_as(&item.alias, shown)?, number);
        if changed.columns.is_none() {
            known.readable = Readable::Nothing;
        }
        Ok(known)
    }

    /// A change as a part: what was planned since the part before it is what it reads.
    fn part_of(&self, changed: &Changed, keeps: Option<usize>) -> Part {
        let step = Step {
            sql: changed.sql.clone(),
            keeps,
            source: changed.source.clone(),
            gone: changed.gone.clone(),
        };
        let (reads, follows) = match &changed.shows {
            Some(reads) => (reads.clone(), true),
            None => (self.read.clone(), false),
        };
        let changes = changed.change.filter(|_| !follows);
        let named = self.named.clone();
        Part { step, reads, changes, named, follows }
    }
}

impl WithItem {
    /// An item whose rows are kept.
    fn kept(
        name: grantd_catalog::name::Name,
        columns: Vec<(grantd_catalog::name::Name, SqlType)>,
        number: usize,
    ) -> Self {
        let types: Vec<_> = columns.iter().map(|(_, sql_type)| *sql_type).collect();
        let sql_name = kept_rows(number, &types);
        Self { name, sql_name, columns, readable: Readable::Yes, kept: Some(number) }
    }
}
