//! Pages of the rows that a table had at a time, in the order of its key: for who reads a large table for minutes while others
//! write, and keeps nothing open meanwhile.
//!
//! Each page is a read of its own, of whatever the newest state is, with all undone that came after the time. What is held in
//! memory is the page: a [`Window`] keeps of what is undone the rows with the smallest keys only.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use grantd_catalog::id::{ObjectId, Timestamp};
use grantd_catalog::object::{Body, Object};

use crate::rows::history::{self, Content, RowRecord, RowsKept, ShapeRecord, decode_rows, decode_shape};
use crate::rows::past::{Past, PastError, key_places, map_back, stored};
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
        if !self.covers(&key) {
            return;
        }
        self.bytes += size(&key) + row.as_deref().map_or(0, size);
        let key = Ordered { order: self.order.clone(), key };
        if let Some(before) = self.rows.remove(&key) {
            self.bytes = self.bytes.saturating_sub(size(&key.key) + before.as_deref().map_or(0, size));
        }
        self.rows.insert(key, row);
        // One stays, however large: or nobody would ever get past it.
        while self.bytes > self.bytes_max && self.rows.len() > 1 {
            let Some((key, row)) = self.rows.pop_last() else { break };
            self.bytes = self.bytes.saturating_sub(size(&key.key) + row.as_deref().map_or(0, size));
            self.last = self.rows.last_key_value().map(|(last, _)| last.key.clone());
        }
    }

    /// Nothing behind this key is kept any more.
    pub fn end_at(&mut self, key: Vec<Value>) {
        if self.last.as_deref().is_none_or(|last| self.order.compare(&key, last).is_lt()) {
            let end = Ordered { order: self.order.clone(), key };
            let mut behind = self.rows.split_off(&end);
            if let Some((key, row)) = behind.remove_entry(&end) {
                self.rows.insert(key, row);
            }
            let taken =
                |(key, row): (&Ordered, &Option<Vec<Value>>)| size(&key.key) + row.as_deref().map_or(0, size);
            self.bytes = self.bytes.saturating_sub(behind.iter().map(taken).sum());
            self.last = Some(end.key);
        }
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
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

    /// What was kept, and beside it each of `here` that it says nothing of and that is not behind it: in the order of the key, as
    /// `here` is. All of it is forgotten. `places`: of the key in a row.
    fn merge(&mut self, here: Vec<Vec<Value>>, places: &[usize]) -> Vec<Vec<Value>> {
        let mut rows = Vec::with_capacity(here.len() + self.rows.len());
        for row in here {
            let key = || places.iter().filter_map(|at| row.get(*at));
            if self.last.as_deref().is_some_and(|last| self.order.compare_values(key(), last.iter()).is_gt())
            {
                break;
            }
            let mut said = false;
            while let Some(first) = self.rows.first_entry() {
                let order = self.order.compare_values(first.key().key.iter(), key());
                if order.is_gt() {
                    break;
                }
                rows.extend(first.remove());
                said |= order.is_eq();
            }
            if !said {
                rows.push(row);
            }
        }
        rows.extend(std::mem::take(&mut self.rows).into_values().flatten());
        rows
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
    /// How many rows these tables have now, together; none: more than `most`. What is no table any more has none. Cost: once
    /// through as many keys.
    pub fn count_now(&self, tables: &[ObjectId], most: u64) -> Result<Option<u64>, PastError> {
        let mut counted = 0;
        for table in tables {
            let shape = self.object_now(*table)?;
            if shape.as_deref().and_then(key_places).is_none() {
                continue;
            }
            let left = i64::try_from(most - counted).unwrap_or(i64::MAX);
            let name = ddl::quote(&ddl::table_name(*table));
            let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {name} LIMIT ?1)");
            let found: i64 = self.sqlite().query_row(&sql, [left.saturating_add(1)], |row| row.get(0))?;
            counted += found.unsigned_abs();
            if counted > most {
                return Ok(None);
            }
        }
        Ok(Some(counted))
    }

    /// The rows that a table had at a time, in the order of its key, from behind `after` on, some `bytes_max` bytes of them. Each
    /// page may be asked of another state, later or earlier, of this node or another. Cost: the page, and once through what
    /// happened to the table since.
    pub fn page_at(
        &self,
        table: ObjectId,
        time: Timestamp,
        after: Option<&[Value]>,
        bytes_max: usize,
    ) -> Result<RowsPage, PastError> {
        let shape = self.object_at(table, time)?.ok_or(PastError::NoTable(table))?;
        let key = key_places(&shape).ok_or(PastError::NoTable(table))?;
        let order = KeyOrder::of(&shape, self.collations()).ok_or(PastError::NoTable(table))?;
        let mut undo = Undo::of(&shape, key, self.shapes_after(table, time)?);
        let mut window = Window::new(order, after.map(<[Value]>::to_vec), bytes_max);
        let mut here = Vec::new();
        if undo.is_here() {
            let map = undo.map();
            let mut bytes = 0;
            history::scan_after(self.sqlite(), table, after, &mut |row| {
                let row = map_to(row, map.as_deref());
                bytes += size(&row);
                here.push(row);
                Ok(bytes < bytes_max)
            })?;
            if let Some(last) = here.last().filter(|_| bytes >= bytes_max) {
                window.end_at(key_of(&undo.key, last));
            }
        }
        self.each_after(table, time, &mut |content, body| undo.record(content, body, &mut window))?;
        // Mostly nothing of it was changed since.
        let rows = if window.is_empty() { here } else { window.merge(here, &undo.key) };
        Ok(RowsPage { rows, next: window.last().map(<[Value]>::to_vec) })
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

fn key_of(places: &[usize], row: &[Value]) -> Vec<Value> {
    places.iter().filter_map(|at| row.get(*at).cloned()).collect()
}
