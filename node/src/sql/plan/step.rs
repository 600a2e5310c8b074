//! What the row store does one after the other for one statement of a client: the later steps read what the earlier
//! ones gave.
//!
//! All parts of a statement see the rows as they were when it began. So what depends on no change runs before all changes.
//! What must run after one and reads the table that was changed is given the rows that were there, made of those that are
//! there and of what the change says ([`Past`]); where that cannot be done it is refused.

use std::collections::{BTreeMap, BTreeSet};

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::{Body, Table};

use super::dml::Changed;
use super::foreign_key::{self, Kept};
use super::{Planner, Source, Usage};
use crate::error::SqlError;
use crate::sql::system::foreign_key::referring;
use crate::sql::translate::{function, order, quote};
use crate::value::SqlType;

/// A statement of the row store that runs before the last one.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its text.
    pub sql: String,
    /// The number under which its rows are kept; none: nobody reads them.
    pub keeps: Option<usize>,
    /// As in [`super::Plan`].
    pub source: Option<Source>,
    /// As in [`super::Plan`].
    pub gone: Option<Source>,
}

impl Step {
    /// One that gives nothing.
    pub(super) fn plain(sql: String) -> Self {
        Self { sql, keeps: None, source: None, gone: None }
    }
}

/// A step, and what its place among the others depends on.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) step: Step,
    /// The tables that it reads.
    pub(super) reads: BTreeSet<ObjectId>,
    /// The table that it changes.
    pub(super) changes: Option<(ObjectId, Usage)>,
    /// The kept rows that it reads.
    pub(super) named: BTreeSet<usize>,
    /// Whether it shows the rows that the part before it changed.
    pub(super) follows: bool,
}

/// What a table held when the statement began.
#[derive(Clone, Debug)]
pub(super) enum Past {
    /// It will be asked for.
    Wanted,
    /// The query, and the kept rows that it reads.
    Known(String, BTreeSet<usize>),
}

/// How the parts of a statement may run.
pub(super) enum Arranged {
    /// In this order.
    Steps(Vec<Step>),
    /// If what this table held is known.
    Wants(ObjectId),
}

/// The kept rows as a table in FROM. They are looked up once, whatever is joined with them.
pub(super) fn kept_rows(number: usize, types: &[SqlType]) -> String {
    let cell = |(at, sql_type): (usize, &SqlType)| {
        let value = format!("g_kept({number}, key, {at})");
        format!("{} AS k{}", order::listed_as(&value, *sql_type), at + 1)
    };
    let mut list: Vec<_> = types.iter().enumerate().map(cell).collect();
    if list.is_empty() {
        list.push("NULL AS k1".to_owned());
    }
    format!("(SELECT {} FROM json_each(g_kept_rows({number})) LIMIT -1 OFFSET 0)", list.join(", "))
}

/// The columns of the primary key as `q1."a", q1."b"`.
pub(super) fn key_list(table: &Table, sql_name: &str) -> Vec<String> {
    let column = |at: &u16| quote(table.columns[usize::from(*at)].name.as_str());
    table.primary_key.iter().map(|at| format!("{sql_name}.{}", column(at))).collect()
}

/// The types of the primary key's columns.
pub(super) fn key_types(table: &Table) -> Vec<SqlType> {
    let of = |at: &u16| SqlType::of_column(table.columns[usize::from(*at)].column_type);
    table.primary_key.iter().map(of).collect()
}

/// `k3, k4`: so many columns behind the first ones.
pub(super) fn numbered(first: usize, count: usize) -> String {
    (first + 1..=first + count).map(|at| format!("k{at}")).collect::<Vec<_>>().join(", ")
}

impl<'a> Planner<'a> {
    pub(super) fn table_of(&self, id: ObjectId) -> Result<&'a Table, SqlError> {
        match &self.object(id)?.body {
            Body::Table(table) => Ok(table),
            _ => Err(SqlError::internal("a change of what is no table")),
        }
    }

    /// A number for rows that are to be kept.
    pub(super) fn number(&mut self) -> usize {
        self.numbers += 1;
        self.numbers
    }

    /// A query whose rows are kept; gives their number. What it reads is what was planned since the statement's last part.
    pub(super) fn keep(&mut self, sql: String) -> usize {
        let number = self.number();
        let step = Step { keeps: Some(number), ..Step::plain(sql) };
        let (reads, named) = (self.read.clone(), self.named.clone());
        self.parts.push(Part { step, reads, changes: None, named, follows: false });
        number
    }

    /// What a change does to tables: its own, and those that follow by foreign keys.
    fn touched(&self, (id, usage): (ObjectId, Usage)) -> BTreeSet<ObjectId> {
        let changed =
            |(id, kept): (&ObjectId, &Kept)| (kept.deletes || !kept.updates.is_empty()).then_some(*id);
        self.kept_by(id, usage).iter().filter_map(changed).chain([id]).collect()
    }

    fn kept_by(&self, id: ObjectId, usage: Usage) -> BTreeMap<ObjectId, Kept> {
        foreign_key::kept(self.origin.view.state(), &BTreeMap::from([(id, usage)]))
    }

    /// Whether a change touches what was read.
    pub(super) fn disturbs(&self, change: (ObjectId, Usage), reads: &BTreeSet<ObjectId>) -> bool {
        !self.touched(change).is_disjoint(reads)
    }

    /// Remembers what a table held before a change whose parts begin at `first`, if that is wanted. `number`: where the
    /// keys are kept of the rows that it left, behind so many columns.
    pub(super) fn remember(
        &mut self,
        (changed, first): (&Changed, usize),
        (id, usage): (ObjectId, Usage),
        (number, width): (usize, usize),
    ) -> Result<(), SqlError> {
        if !self.is_wanted(id) {
            return Ok(());
        }
        let table = self.table_of(id)?;
        let names: Vec<_> = table.columns.iter().map(|column| quote(column.name.as_str())).collect();
        let names = names.join(", ");
        let mut named = BTreeSet::new();
        let mut sql = format!("SELECT {names} FROM t{id}");
        if usage.inserts || usage.updates {
            let mut types = vec![SqlType::Text; width];
            types.extend(key_types(table));
            let (key, rows) = (key_list(table, &format!("t{id}")).join(", "), kept_rows(number, &types));
            let new = numbered(width, table.primary_key.len());
            sql.push_str(&format!(" WHERE ({key}) NOT IN (SELECT {new} FROM {rows})"));
            named.insert(number);
        }
        if let Some(gone) = changed.gone.as_ref().filter(|_| !usage.inserts) {
            if function::is_volatile(&gone.sql) {
                return Err(self.other_reads(id));
            }
            let types: Vec<_> =
                table.columns.iter().map(|column| SqlType::of_column(column.column_type)).collect();
            // One that is joined with several is changed once.
            let key: Vec<_> = table.primary_key.iter().map(|at| format!("k{}", at + 1)).collect();
            let rows = self.keep(format!("SELECT * FROM ({}) GROUP BY {}", gone.sql, key.join(", ")));
            self.move_before_change(first);
            sql.push_str(&format!(
                " UNION ALL SELECT {} FROM {}",
                numbered(0, types.len()),
                kept_rows(rows, &types)
            ));
            named.insert(rows);
        }
        self.past.insert(id, Past::Known(format!("({sql})"), named));
        Ok(())
    }

    /// The last part becomes the one before the change whose parts begin at `first`.
    fn move_before_change(&mut self, first: usize) {
        let Some(mut part) = self.parts.pop() else { return };
        let change = self.parts[first..].iter().position(|part| part.changes.is_some());
        let at = change.map_or(self.parts.len(), |after| first + after);
        let behind: Vec<_> = self.parts[at..].iter().filter_map(|part| part.step.keeps).collect();
        part.named.retain(|number| !behind.contains(number));
        self.parts.insert(at, part);
    }

    /// Whether a step wants to read what the table held before the change that is being planned.
    pub(super) fn is_wanted(&self, id: ObjectId) -> bool {
        self.returns_raw && matches!(self.past.get(&id), Some(Past::Wanted))
    }

    fn other_reads(&self, id: ObjectId) -> SqlError {
        let name = self.origin.view.state().object(id).map(|object| object.name.to_string());
        SqlError::unsupported(format!(
            "a statement that reads table \"{}\" after an item of WITH changed it",
            name.unwrap_or_default()
        ))
    }

    /// The order in which the parts of a statement run before its last one.
    pub(super) fn arrange(&mut self, last: Part) -> Result<Arranged, SqlError> {
        let last_named = last.named.clone();
        let mut parts = self.needed(&last_named);
        let mut dependent = BTreeSet::new();
        let (mut first, mut then) = (Vec::new(), Vec::new());
        for part in parts.drain(..) {
            if part.changes.is_some() || part.follows || !part.named.is_disjoint(&dependent) {
                dependent.extend(part.step.keeps);
                then.push(part);
            } else {
                first.push(part);
            }
        }
        first.append(&mut then);
        first.push(last);
        if let Some(id) = self.conflict_among(&first)? {
            return Ok(Arranged::Wants(id));
        }
        first.pop();
        Ok(Arranged::Steps(first.into_iter().map(|part| part.step).collect()))
    }

    /// A query that nothing names is not run, as in PostgreSQL.
    fn needed(&mut self, last: &BTreeSet<usize>) -> Vec<Part> {
        let mut named = last.clone();
        let mut needed = Vec::with_capacity(self.parts.len());
        for part in std::mem::take(&mut self.parts).into_iter().rev() {
            let is_named = part.step.keeps.is_some_and(|number| named.contains(&number));
            if is_named || part.changes.is_some() {
                named.extend(&part.named);
                needed.push(part);
            }
        }
        needed.reverse();
        needed
    }

    /// A table whose past a part wants to read; refuses what would see what it must not.
    fn conflict_among(&self, parts: &[Part]) -> Result<Option<ObjectId>, SqlError> {
        let mut changed: BTreeMap<ObjectId, Option<Usage>> = BTreeMap::new();
        for (at, part) in parts.iter().enumerate() {
            let target = part.changes.map(|(id, _)| id);
            if let Some(id) = target.filter(|id| changed.contains_key(id)) {
                let name = self.origin.view.state().object(id).map(|object| object.name.to_string());
                return Err(SqlError::unsupported(format!(
                    "a statement that changes table \"{}\" twice",
                    name.unwrap_or_default()
                )));
            }
            for id in &part.reads {
                let Some(by) = changed.get(id) else { continue };
                let is_told = by.is_some_and(|usage| !(usage.inserts && usage.updates))
                    && self.tables.get(id).is_some_and(|usage| usage.reads)
                    && !self.past.contains_key(id);
                return if is_told { Ok(Some(*id)) } else { Err(self.other_reads(*id)) };
            }
            let Some((id, usage)) = part.changes else { continue };
            if let Some(later) =
                parts[at + 1..].iter().find_map(|later| self.is_checked_too_early(id, usage, later))
            {
                return Err(later);
            }
            for touched in self.touched((id, usage)) {
                changed.insert(touched, (touched == id).then_some(usage));
            }
        }
        Ok(None)
    }

    /// PostgreSQL looks at foreign keys when all is done, the row store after each step.
    fn is_checked_too_early(&self, id: ObjectId, usage: Usage, later: &Part) -> Option<SqlError> {
        let (other, then) = later.changes?;
        let state = self.origin.view.state();
        let refers = |child: ObjectId, to: ObjectId| referring(state, to).any(|(from, _)| from == child);
        let adds_first =
            (usage.inserts || usage.updates) && (then.inserts || then.updates) && refers(id, other);
        let takes_first =
            (usage.deletes || usage.updates) && (then.deletes || then.updates) && refers(other, id);
        (adds_first || takes_first).then(|| {
            SqlError::unsupported(
                "a WITH that changes tables against the order of a foreign key between them",
            )
            .with_hint("Add to the table that is referred to first, and take from it last.")
        })
    }
}
