//! Pages of the rows that a table had at a time, in the order of its key: for who reads a large table for minutes while others
//! write, and keeps nothing open meanwhile.
//!
//! Each page is a read of its own, of whatever the newest state is, with all undone that came after the time. What came is gone
//! through once and kept for the pages that follow: a [`Window`] of the rows with the smallest keys, so that what is held in memory is
//! bounded however much changes. Past its end it is begun anew.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use grantd_catalog::id::{ObjectId, Timestamp};
use grantd_catalog::object::{Body, Object};

use crate::rows::history::{
    self, Content, Place, RowRecord, RowsKept, ShapeRecord, decode_rows, decode_shape,
};
use crate::rows::past::{Past, PastError, PastRecord, key_places, map_back, stored};
use crate::rows::{Collation, Compare, Value, ddl, encode_key};

/// The order of a table's rows by their key, as the row store keeps them.
#[derive(Clone)]
pub struct KeyOrder(Arc<[Option<Compare>]>);

impl KeyOrder {
    /// Of a table or sequence; none: it is neither. `collations`: those that its columns may be declared with.
    pub fn of(object: &Object, collations: &[Collation]) -> Option<Self> {
        let sequence;
        let table = match &object.body {
            Body::Table(table) => &**table,
            Body::Sequence(_) => {
                sequence = ddl::sequence_table();
                &sequence
            }
            _ => return None,
        };
        let order = |at: &u16| {
            let column = table.columns.get(usize::from(*at))?;
            let name = ddl::collation(column.column_type)?;
            collations.iter().find(|collation| collation.name == name).map(|found| Arc::clone(&found.compare))
        };
        Some(Self(table.primary_key.iter().map(order).collect()))
    }

    /// Which of two keys comes first. Keys that the row store takes for equal and that are written in different ways differ here.
    pub fn compare(&self, left: &[Value], right: &[Value]) -> Ordering {
        self.compare_values(left.iter(), right.iter())
    }

    /// The same of values that stand anywhere: a row's key is compared without a copy of it.
    fn compare_values<'l, 'r>(
        &self,
        left: impl Iterator<Item = &'l Value> + Clone,
        right: impl Iterator<Item = &'r Value> + Clone,
    ) -> Ordering {
        let compared =
            left.clone().zip(right.clone()).zip(self.0.iter()).map(|((left, right), order)| {
                match (left, right, order) {
                    (Value::Text(left), Value::Text(right), Some(order)) => order(left, right),
                    (Value::Text(left), Value::Text(right), None) => left.cmp(right),
                    (Value::Blob(left), Value::Blob(right), _) => left.cmp(right),
                    (Value::Integer(left), Value::Integer(right), _) => left.cmp(right),
                    (Value::Real(left), Value::Real(right), _) => {
                        left.partial_cmp(right).unwrap_or(Ordering::Equal)
                    }
                    (left, right, _) => class(left).cmp(&class(right)),
                }
            });
        let mut different = compared.filter(|order| order.is_ne());
        different.next().unwrap_or_else(|| encode_key(left).cmp(&encode_key(right)))
    }
}

impl fmt::Debug for KeyOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyOrder({})", self.0.len())
    }
}

/// As SQLite sorts values of different classes.
fn class(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Integer(_) | Value::Real(_) => 1,
        Value::Text(_) => 2,
        Value::Blob(_) => 3,
    }
}

/// A key with its order.
struct Ordered {
    order: KeyOrder,
    key: Vec<Value>,
}

impl PartialEq for Ordered {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered {}

impl PartialOrd for Ordered {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Ordered {
    fn cmp(&self, other: &Self) -> Ordering {
        self.order.compare(&self.key, &other.key)
    }
}

/// What became of the rows with the smallest keys after one: as many as fit into so many bytes. Whoever puts everything into it
/// in turn, and begins again behind [`Window::last`] until there is none, has seen all in the order of the key, however much it
/// was.
pub struct Window {
    order: KeyOrder,
    after: Option<Vec<Value>>,
    /// Keys behind it do not fit. None: all do.
    last: Option<Vec<Value>>,
    rows: BTreeMap<Ordered, Option<Vec<Value>>>,
    bytes: usize,
    bytes_max: usize,
}

impl Window {
    /// Of keys behind `after`; none: from the first on.
    pub fn new(order: KeyOrder, after: Option<Vec<Value>>, bytes_max: usize) -> Self {
        Self { order, after, last: None, rows: BTreeMap::new(), bytes: 0, bytes_max }
    }

    /// Whether a key is one of those that it keeps.
    pub fn covers(&self, key: &[Value]) -> bool {
        let after = self.after.as_deref().is_none_or(|after| self.order.compare(key, after).is_gt());
        after && self.last.as_deref().is_none_or(|last| self.order.compare(key, last).is_le())
    }

    /// Whether all that it keeps is behind this key.
    pub fn is_behind(&self, key: &[Value]) -> bool {
        self.after.as_deref().is_some_and(|after| self.order.compare(key, after).is_le())
    }

    /// Whether all that it keeps is before this key.
    pub fn is_before(&self, key: &[Value]) -> bool {
        self.last.as_deref().is_some_and(|last| self.order.compare(key, last).is_gt())
    }

    /// The row of this key, whatever it was before; none: there is no such.
    pub fn put(&mut self, key: Vec<Value>, row: Option<Vec<Value>>) {
        if self.covers(&key) {
            let key = Ordered { order: self.order.clone(), key };
            if let Some(before) = self.rows.remove(&key) {
                self.bytes = self.bytes.saturating_sub(taken(&key, before.as_ref()));
            }
            self.keep(key, row);
        }
    }

    /// The same, of a key that nothing was put for.
    fn put_first(&mut self, key: Vec<Value>, row: Option<Vec<Value>>) {
        if self.covers(&key) {
            let key = Ordered { order: self.order.clone(), key };
            if !self.rows.contains_key(&key) {
                self.keep(key, row);
            }
        }
    }

    fn keep(&mut self, key: Ordered, row: Option<Vec<Value>>) {
        self.bytes += taken(&key, row.as_ref());
        self.rows.insert(key, row);
        // One stays, however large: or nobody would ever get past it.
        while self.bytes > self.bytes_max && self.rows.len() > 1 {
            let Some((key, row)) = self.rows.pop_last() else { break };
            self.bytes = self.bytes.saturating_sub(taken(&key, row.as_ref()));
            self.last = self.rows.last_key_value().map(|(last, _)| last.key.clone());
        }
    }

    /// Whether there is nothing that it could keep any more.
    fn is_over(&self) -> bool {
        let order = |(after, last): (&Vec<Value>, &Vec<Value>)| self.order.compare(after, last);
        self.after.as_ref().zip(self.last.as_ref()).is_some_and(|both| order(both).is_ge())
    }

    /// What was put for a key; it is forgotten.
    pub fn take(&mut self, key: &[Value]) -> Option<Option<Vec<Value>>> {
        self.rows.remove(&Ordered { order: self.order.clone(), key: key.to_vec() })
    }

    /// The row with the smallest key, if that is smaller than this one; it is forgotten. Without a key: the smallest.
    pub fn take_before(&mut self, key: Option<&[Value]>) -> Option<Option<Vec<Value>>> {
        let first = self.rows.first_entry()?;
        let is_before = key.is_none_or(|key| self.order.compare(&first.key().key, key).is_lt());
        is_before.then(|| first.remove())
    }

    /// What it keeps, and beside it each of `here` that it says nothing of, in the order of the key, as `here` is: up to `end`, the
    /// key of the last of them if more follow, and some `bytes_max` bytes. What was taken is forgotten, and it keeps what is behind
    /// that from now on. `places`: of the key in a row.
    fn page(
        &mut self,
        mut here: Vec<Vec<Value>>,
        mut end: Option<Vec<Value>>,
        places: &[usize],
        bytes_max: usize,
    ) -> RowsPage {
        if let Some(last) = &self.last {
            let within = here.partition_point(|row| {
                self.order.compare_values(values_at(places, row), last.iter()).is_le()
            });
            if within < here.len() || end.is_none() {
                here.truncate(within);
                end = Some(last.clone());
            }
        }
        let (mut rows, mut bytes): (Vec<Vec<Value>>, _) = (Vec::with_capacity(here.len()), 0);
        let mut here = here.into_iter().peekable();
        let next = loop {
            if let Some(last) = rows.last().filter(|_| bytes >= bytes_max) {
                break Some(key_of(places, last));
            }
            let is_within =
                |first: &&Ordered| end.as_ref().is_none_or(|end| self.order.compare(&first.key, end).is_le());
            let undone = self.rows.first_key_value().map(|(first, _)| first).filter(is_within);
            let order = match (undone, here.peek()) {
                (None, None) => break end,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(first), Some(row)) => {
                    self.order.compare_values(first.key.iter(), values_at(places, row))
                }
            };
            let undone = if order.is_le() { self.pop_first() } else { None };
            let left = if order.is_ge() { here.next() } else { None };
            if let Some(row) = if order.is_gt() { left } else { undone } {
                bytes += size(&row);
                rows.push(row);
            }
        };
        self.after.clone_from(&next);
        RowsPage { rows, next }
    }

    fn pop_first(&mut self) -> Option<Vec<Value>> {
        let (key, row) = self.rows.pop_first()?;
        self.bytes = self.bytes.saturating_sub(taken(&key, row.as_ref()));
        row
    }

    /// The last key of what was kept; none: everything was.
    pub fn last(&self) -> Option<&[Value]> {
        self.last.as_deref()
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window").field("rows", &self.rows.len()).field("bytes", &self.bytes).finish()
    }
}

/// What values take, and the places that they are held in.
fn size(values: &[Value]) -> usize {
    values.iter().map(Value::memory).sum::<usize>() + ENTRY_BYTES
}

/// What a window counts for one row.
fn taken(key: &Ordered, row: Option<&Vec<Value>>) -> usize {
    size(&key.key) + row.map_or(0, |row| size(row))
}

/// What a list and a place in a tree take.
const ENTRY_BYTES: usize = 64;

/// Some rows of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct RowsPage {
    /// In the order of the key. Perhaps none, and more to come.
    pub rows: Vec<Vec<Value>>,
    /// The key behind which the next page begins; none: this was the last.
    pub next: Option<Vec<Value>>,
}

impl Past<'_> {
    /// How many rows tables have now, from `from` on: at most `most`, and where the count goes on; none: that was all. What is no table
    /// any more has none. Cost: once through as many keys.
    pub fn count_from(
        &self,
        tables: &[ObjectId],
        from: Counted,
        most: u64,
    ) -> Result<(u64, Option<Counted>), PastError> {
        let (mut rows, mut after) = (0, from.after);
        for (at, table) in tables.iter().enumerate().skip(from.table) {
            if rows >= most {
                return Ok((rows, Some(Counted { table: at, after })));
            }
            if self.object_now(*table)?.as_deref().and_then(key_places).is_none() {
                after = None;
                continue;
            }
            let (counted, last) = history::count_after(self.sqlite(), *table, after.as_deref(), most - rows)?;
            rows += counted;
            if last.is_some() {
                return Ok((rows, Some(Counted { table: at, after: last })));
            }
            after = None;
        }
        Ok((rows, None))
    }

    /// Those of these tables that had a row at a time, or whose history since does not tell that they had none. Cost: a look at each.
    pub fn not_empty_at(&self, tables: &[ObjectId], time: Timestamp) -> Result<Vec<ObjectId>, PastError> {
        let mut found = Vec::new();
        for table in tables {
            let is_empty = match self.object_at(*table, time)?.as_deref().and_then(key_places) {
                None => true,
                Some(_) => {
                    self.changed_within(&[*table], time, Place::END)?.is_empty()
                        && history::count_after(self.sqlite(), *table, None, 1)?.0 == 0
                }
            };
            found.extend((!is_empty).then_some(*table));
        }
        Ok(found)
    }

    /// The next rows. Any state will do, of this node or another. Cost: the page, and what happened to the table since the page
    /// before; of the first, and whenever more has changed than is kept, all that happened since the time.
    pub fn next_page(&self, of: &mut RowsAt) -> Result<RowsPage, PastError> {
        let known = match of.undone.take() {
            Some(undone) => self.go_on(of, undone)?,
            None => None,
        };
        let mut undone = known.map_or_else(|| self.undone(of), Ok)?;
        let (mut here, mut bytes) = (Vec::new(), 0);
        if undone.is_here {
            history::scan_after(self.sqlite(), of.table, of.after.as_deref(), &mut |row| {
                let row = map_to(row, undone.map.as_deref());
                bytes += size(&row);
                here.push(row);
                Ok(bytes < of.bytes_max)
            })?;
        }
        let end = here.last().filter(|_| bytes >= of.bytes_max).map(|last| key_of(&undone.key, last));
        let page = undone.rows.page(here, end, &undone.key, of.bytes_max);
        of.after.clone_from(&page.next);
        of.undone = Some(undone);
        Ok(page)
    }

    /// What was kept, with what happened since; none: that must be looked for from the begin.
    fn go_on(&self, of: &RowsAt, mut undone: Undone) -> Result<Option<Undone>, PastError> {
        if self.resolved() < undone.up_to || undone.rows.is_over() {
            return Ok(None);
        }
        let mut next = Some(Place::after(undone.up_to));
        while let Some(after) = next {
            let page = self.changes(&[of.table], after, self.resolved(), of.bytes_max)?;
            for change in page.changes {
                match change.what {
                    PastRecord::Row(record) => undone.row(record),
                    // The rows that are kept, and those that are here, have another shape now.
                    PastRecord::Shape(_) => return Ok(None),
                }
            }
            next = page.next;
        }
        undone.up_to = self.resolved();
        Ok(Some(undone))
    }

    /// What is to be undone, of rows that were not asked for yet.
    fn undone(&self, of: &RowsAt) -> Result<Undone, PastError> {
        let RowsAt { table, time, .. } = *of;
        let shape = self.object_at(table, time)?.ok_or(PastError::NoTable(table))?;
        let key = key_places(&shape).ok_or(PastError::NoTable(table))?;
        let order = KeyOrder::of(&shape, self.collations()).ok_or(PastError::NoTable(table))?;
        let mut undo = Undo::of(&shape, key, self.shapes_after(table, time)?);
        let (is_here, map) = (undo.is_here(), undo.map());
        let mut rows = Window::new(order, of.after.clone(), of.bytes_max.saturating_mul(UNDONE_PAGES));
        self.each_after(table, time, &mut |content, body| undo.record(content, body, &mut rows))?;
        Ok(Undone { key: undo.key, is_here, map, up_to: self.resolved(), rows })
    }
}

/// Where a count of the rows of tables goes on.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    /// Among the tables.
    table: usize,
    /// In it, behind this key.
    after: Option<Vec<Value>>,
}

/// The rows that a table had at a time, which [`Past::next_page`] reads in the order of its key, page by page.
#[derive(Debug)]
pub struct RowsAt {
    table: ObjectId,
    time: Timestamp,
    /// What was read ends here.
    after: Option<Vec<Value>>,
    bytes_max: usize,
    undone: Option<Undone>,
}

impl RowsAt {
    /// From behind `after` on; none: from the first on. In pages of some `bytes_max` bytes; what is undone has twice as much in memory.
    pub fn new(table: ObjectId, time: Timestamp, after: Option<Vec<Value>>, bytes_max: usize) -> Self {
        Self { table, time, after, bytes_max: bytes_max.max(1), undone: None }
    }
}

/// How many pages of what is undone are held in memory.
const UNDONE_PAGES: usize = 2;

/// What happened between a time and a state: what its rows were before.
#[derive(Debug)]
struct Undone {
    /// Places among the columns of then.
    key: Vec<usize>,
    /// Whether the rows of the state are those of then, but for these.
    is_here: bool,
    /// For each column of then the one of the state; none: they are the same.
    map: Option<Vec<usize>>,
    /// The state.
    up_to: Timestamp,
    rows: Window,
}

impl Undone {
    /// What happened to a row after all that is known: the first time tells what it was.
    fn row(&mut self, record: RowRecord) {
        let is_new = record.before.is_none();
        let Some(row) = record.before.or(record.after).filter(|_| self.is_here) else { return };
        let row = map_to(row, self.map.as_deref());
        self.rows.put_first(key_of(&self.key, &row), (!is_new).then_some(row));
    }
}

/// The way back from the newest state to a time.
struct Undo {
    /// Places among the columns of then.
    key: Vec<usize>,
    /// How often all rows were made anew, of what is not undone yet.
    rewritten: usize,
    /// For the state after each further alteration that is not undone yet, the newest last: for each column of then the one there.
    maps: Vec<Option<Vec<usize>>>,
}

impl Undo {
    /// `shapes`: what became of the table since, the oldest first.
    fn of(then: &Object, key: Vec<usize>, shapes: Vec<ShapeRecord>) -> Self {
        let rewritten = shapes.iter().filter(|shape| shape.rows == RowsKept::Rewritten).count();
        let mut maps: Vec<Option<Vec<usize>>> = Vec::new();
        for shape in shapes {
            let known = maps.last().and_then(Option::as_ref);
            let next = match (&shape.rows, &shape.after, &then.body) {
                // A sequence has the same columns always.
                (RowsKept::Kept(kept), Some(after), Body::Table(_)) if stored(after).next().is_some() => {
                    let now =
                        |at: usize| kept.iter().position(|was| was.is_some_and(|was| usize::from(was) == at));
                    let columns = known.map_or_else(|| (0..stored(then).count()).collect(), Vec::clone);
                    Some(columns.into_iter().filter_map(now).collect())
                }
                _ => known.cloned(),
            };
            maps.push(next);
        }
        Self { key, rewritten, maps }
    }

    /// Whether the rows of the state that is reached are those of then, but for changes of single ones.
    fn is_here(&self) -> bool {
        self.rewritten == 0
    }

    fn map(&self) -> Option<Vec<usize>> {
        self.maps.last().cloned().flatten()
    }

    fn record(&mut self, content: Content, body: &[u8], window: &mut Window) -> Result<(), PastError> {
        if content == Content::Shape {
            let shape = decode_shape(body)?;
            self.rewritten -= usize::from(shape.rows == RowsKept::Rewritten && self.rewritten > 0);
            self.maps.pop();
        } else if self.is_here() {
            for record in decode_rows(body)?.into_iter().rev() {
                self.row(record, window);
            }
        }
        Ok(())
    }

    fn row(&self, record: RowRecord, window: &mut Window) {
        let map = self.maps.last().and_then(Option::as_deref);
        let is_new = record.before.is_none();
        let Some(row) = record.before.or(record.after) else { return };
        let row = map_to(row, map);
        window.put(key_of(&self.key, &row), (!is_new).then_some(row));
    }
}

fn map_to(row: Vec<Value>, map: Option<&[usize]>) -> Vec<Value> {
    match map {
        Some(map) => map_back(&row, map),
        None => row,
    }
}

/// The values of a key, where they stand in the row.
fn values_at<'r>(places: &'r [usize], row: &'r [Value]) -> impl Iterator<Item = &'r Value> + Clone {
    places.iter().filter_map(|at| row.get(*at))
}

fn key_of(places: &[usize], row: &[Value]) -> Vec<Value> {
    values_at(places, row).cloned().collect()
}
