//! RETURNING of what FROM or USING holds, and of rows that the change itself takes away.
//!
//! SQLite returns nothing but the changed table. So a query first finds the rows that are to be changed, with all that is
//! needed of what stands beside them; its rows are kept, the change goes by them, and what is shown is made of them.

use std::collections::BTreeSet;

use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use sqlparser::ast;

use super::dml::{Changed, Target};
use super::scope::Scope;
use super::step::{Part, Step, kept_rows, key_list, key_types, numbered};
use super::update::{cells, set_clause};
use super::{Planner, Source, Usage, unset};
use crate::error::SqlError;
use crate::sql::translate::{Typed, order};
use crate::value::SqlType;

/// A change of a table with others beside it.
#[derive(Clone, Copy)]
pub(super) struct Joined<'j> {
    pub(super) target: &'j Target<'j>,
    pub(super) sql_name: &'j str,
    /// Everything in sight.
    pub(super) all: &'j Scope<'j>,
    pub(super) usage: Usage,
}

impl Planner<'_> {
    /// `rest`: FROM and what follows it, which gives each row once. `output`: what RETURNING lists.
    pub(super) fn delete_in_steps(
        &mut self,
        joined: Joined<'_>,
        rest: &str,
        output: Vec<(Name, Typed)>,
    ) -> Changed {
        let Joined { target, sql_name, usage, .. } = joined;
        let (id, key) = (target.id, key_list(target.table, sql_name));
        let mut types = key_types(target.table);
        let (list, columns) = self.listed(output);
        let width = list.len();
        types.extend(columns.iter().map(|column| column.sql_type));
        let cells = key.iter().chain(&list).enumerate();
        let cells: Vec<_> = cells.map(|(at, sql)| format!("{sql} AS k{}", at + 1)).collect();
        let number = self.keep(format!("SELECT {}{rest}", cells.join(", ")));
        let rows = kept_rows(number, &types);
        let found = numbered(0, key.len());
        let filter = format!(" WHERE ({}) IN (SELECT {found} FROM {rows})", key.join(", "));
        let gone = format!(
            "SELECT {} FROM t{id} AS {sql_name}{filter}",
            super::update::cells(target, sql_name, &[])
        );
        let gone = Some(Source { sql: gone, table: id });
        let sql = format!("DELETE FROM t{id} AS {sql_name}{filter}");
        self.change_by(number, Step { gone: gone.clone(), ..Step::plain(sql) }, (id, usage));
        let shown = (1..=width).map(|at| format!("k{} AS k{at}", key.len() + at));
        let sql = format!("SELECT {} FROM {rows}", shown.collect::<Vec<_>>().join(", "));
        let shows = Some(BTreeSet::new());
        Changed { sql, columns: Some(columns), source: None, gone, change: Some((id, usage)), shows }
    }

    /// `rest`: FROM and what follows it. `assigned`: what SET makes of columns.
    pub(super) fn update_in_steps(
        &mut self,
        joined: Joined<'_>,
        assigned: &[(usize, String)],
        rest: &str,
        items: &[ast::SelectItem],
    ) -> Result<Changed, SqlError> {
        let Joined { target, sql_name, all, usage } = joined;
        let (id, table) = (target.id, target.table);
        let key = key_list(table, sql_name);
        let kept = self.fresh('q');
        let mut found: Vec<_> = key.clone();
        let mut types = key_types(table);
        for (at, value) in assigned {
            found.push(value.clone());
            types.push(SqlType::of_column(table.columns[*at].column_type));
        }
        // What stands beside the target, as it was kept.
        let mut after = all.without_aggregates("RETURNING");
        let (own, beside) = after.relations.split_at_mut(1);
        let _ = own;
        let columns = beside.iter_mut().flat_map(|relation| &mut relation.columns).chain(&mut after.merged);
        for column in columns {
            types.push(column.sql_type);
            found.push(std::mem::take(&mut column.sql));
            column.sql = format!("{kept}.k{}", found.len());
        }
        let is_star = |item: &ast::SelectItem| matches!(item, ast::SelectItem::Wildcard(_));
        unset(!after.merged.is_empty() && items.iter().any(is_star), "RETURNING * beside a join with USING")?;
        let list = found.iter().zip(&types).enumerate();
        let list =
            list.map(|(at, (sql, sql_type))| format!("{} AS k{}", order::listed_as(sql, *sql_type), at + 1));
        let list = list.collect::<Vec<_>>().join(", ");
        let number = self.keep(format!("SELECT {list} {rest} GROUP BY {}", key.join(", ")));
        let rows = format!("{} AS {kept}", kept_rows(number, &types));
        let new = |at: usize| format!("{kept}.k{}", key.len() + at + 1);
        let set: Vec<_> = assigned.iter().enumerate().map(|(n, (at, _))| (*at, new(n))).collect();
        let same = |to: &[String]| {
            let pairs = key.iter().zip(to).map(|(column, value)| format!("{column} = {value}"));
            pairs.collect::<Vec<_>>().join(" AND ")
        };
        let old: Vec<_> = (1..=key.len()).map(|at| format!("{kept}.k{at}")).collect();
        let moved = table.primary_key.iter().enumerate().map(|(n, at)| {
            let assigned = set.iter().find(|(position, _)| *position == usize::from(*at));
            assigned.map_or_else(|| old[n].clone(), |(_, value)| value.clone())
        });
        let moved: Vec<_> = moved.collect();
        let from = format!("FROM t{id} AS {sql_name}, {rows} WHERE {}", same(&old));
        let source = |assigned: &[(usize, String)]| {
            Some(Source { sql: format!("SELECT {} {from}", cells(target, sql_name, assigned)), table: id })
        };
        let (source, gone) = (source(&set), source(&[]));
        let set = set_clause(&set, table);
        let sql = format!("UPDATE t{id} AS {sql_name} SET {set} FROM {rows} WHERE {}", same(&old));
        let step = Step { source: source.clone(), gone: gone.clone(), ..Step::plain(sql) };
        self.change_by(number, step, (id, usage));
        let (output, reads) = self.reading(|planner| planner.projection(items, &after));
        let output = output?;
        if self.disturbs((id, usage), &reads) {
            return Err(SqlError::unsupported("a subquery on what is changed in RETURNING"));
        }
        let (mut list, columns) = self.listed(output);
        if self.is_wanted(id) {
            list.extend(key.iter().cloned());
        }
        let list: Vec<_> = list.iter().enumerate().map(|(at, sql)| format!("{sql} AS k{}", at + 1)).collect();
        let sql =
            format!("SELECT {} FROM t{id} AS {sql_name}, {rows} WHERE {}", list.join(", "), same(&moved));
        Ok(Changed {
            sql,
            columns: Some(columns),
            source,
            gone,
            change: Some((id, usage)),
            shows: Some(reads),
        })
    }

    /// A change that goes by kept rows.
    fn change_by(&mut self, number: usize, step: Step, change: (ObjectId, Usage)) {
        let named = BTreeSet::from([number]);
        self.named.insert(number);
        self.parts.push(Part { step, reads: BTreeSet::new(), changes: Some(change), named, follows: false });
    }
}
