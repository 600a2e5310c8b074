//! The change history: what each commit did is kept in the transaction that does it, and collected by the time of the log.
//!
//! Everything here follows from the entries and the file alone, so replicas keep the same and collect the same; nothing is
//! collected while nothing is applied.
//!
//! H1: what a commit did to rows and tables is in the history of the same SQLite transaction, whole, under its own time, and
//! times grow from commit to commit.
//! H2: what is after a table's floor is all there; a floor never falls.
//! H3: but for want of room, nothing younger than the setting says is collected, and nothing that is protected.
//! H4: each entry collects a bounded number of rows, and more than it adds.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bincode::{Decode, Encode};
use grantd_catalog::command::ColumnSource;
use grantd_catalog::grant::Acl;
use grantd_catalog::id::{ObjectId, Timestamp};
use grantd_catalog::object::{Body, Object, Table};
use grantd_catalog::protection::Protection;
use grantd_catalog::setting::{Setting, SettingValue};
use grantd_catalog::state::State;

use crate::codec::{self, Kind};
use crate::machine::catalog::Tried;
use crate::machine::core::{FORMAT, MachineError};
use crate::rows::{
    Alteration, CHUNK_BYTES, Cause, HistoryFile, MetaKey, Place, RowDelta, RowRecord, RowsError, RowsKept,
    ShapeRecord, StorageStep, Store, Value, encode_key, encode_row,
};

/// The most bytes of changes that a transaction of several statements holds in memory to tell what came of each row. In a
/// larger one a row that changes again after so many others is kept twice, in order.
const NET_BYTES_MAX: usize = 16 << 20;
/// The most bytes of rows of a table that are kept when it is dropped or its rows get another shape. The history of a
/// larger one begins anew.
const TABLE_BYTES_MAX: u64 = 64 << 20;
/// Rows of the history that an entry may collect beside twice of what it adds.
const COLLECT_ROWS: usize = 64;
/// Rows that are collected of one table before others have their turn, while there is too much in all.
const COLLECT_TURN: usize = 16;

/// What is known of the history as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
struct HistoryV1 {
    /// What it takes, as it is counted.
    bytes: u64,
    /// There is none of the time before.
    from: Timestamp,
}

/// From where on a file has a history, by its [`MetaKey::History`].
pub fn history_from_record(record: Option<&[u8]>) -> Timestamp {
    let known = record.map(|bytes| codec::open_value::<HistoryV1>(Kind::History, FORMAT, bytes));
    known.map_or_else(Timestamp::default, |known| {
        known.expect("this node wrote it in the format that it reads").from
    })
}

/// What one commit did, on its way into the file.
pub(super) struct Commit {
    time: Timestamp,
    number: u32,
    /// Whether several statements may change one row.
    is_net: bool,
    /// What came of rows so far, by table and key.
    net: BTreeMap<(ObjectId, Vec<u8>), RowRecord>,
    net_bytes: usize,
    /// Records of one table that are not in the file yet.
    chunk: Option<(ObjectId, Vec<u8>)>,
    /// What is in the file.
    tables: BTreeSet<ObjectId>,
    bytes: u64,
    /// Tables whose history begins anew.
    forgotten: BTreeSet<ObjectId>,
}

impl Commit {
    /// `is_net`: of several statements.
    pub(super) fn new(time: Timestamp, is_net: bool) -> Self {
        Self {
            time,
            number: 0,
            is_net,
            net: BTreeMap::new(),
            net_bytes: 0,
            chunk: None,
            tables: BTreeSet::new(),
            bytes: 0,
            forgotten: BTreeSet::new(),
        }
    }

    /// Notes a row that a statement changed, until [`Self::flush`].
    fn row(&mut self, delta: RowDelta, key: &[usize]) {
        let RowDelta { table, before, after } = delta;
        let Some(said) = before.as_ref().or(after.as_ref()) else { return };
        let bytes = said.iter().map(Value::bytes).sum::<usize>();
        let key = encode_key(key.iter().filter_map(|at| said.get(*at)));
        self.net_bytes += 2 * bytes + key.len();
        let net = self.net.entry((table, key));
        net.and_modify(|known| known.after.clone_from(&after)).or_insert(RowRecord {
            cause: Cause::Changed,
            before,
            after,
        });
    }

    fn push(&mut self, file: &HistoryFile<'_>, table: ObjectId, record: RowRecord) -> Result<(), RowsError> {
        let Some(bytes) = encode_row(record) else { return Ok(()) };
        if self.chunk.as_ref().is_some_and(|(of, chunk)| *of != table || chunk.len() >= CHUNK_BYTES) {
            self.write_chunk(file)?;
        }
        match &mut self.chunk {
            Some((_, chunk)) => chunk.extend_from_slice(&bytes),
            None => self.chunk = Some((table, bytes)),
        }
        Ok(())
    }

    fn write_chunk(&mut self, file: &HistoryFile<'_>) -> Result<(), RowsError> {
        let Some((table, records)) = self.chunk.take() else { return Ok(()) };
        let place = Place { time: self.time, number: self.number };
        let (next, bytes) = file.put(table, place, &records)?;
        self.number = next;
        self.bytes += bytes;
        self.tables.insert(table);
        Ok(())
    }

    /// Puts into the file what is held back.
    fn flush(&mut self, file: &HistoryFile<'_>) -> Result<(), RowsError> {
        self.net_bytes = 0;
        for ((table, _), record) in std::mem::take(&mut self.net) {
            self.push(file, table, record)?;
        }
        self.write_chunk(file)
    }

    fn shape(
        &mut self,
        file: &HistoryFile<'_>,
        table: ObjectId,
        shape: &ShapeRecord,
    ) -> Result<(), RowsError> {
        self.flush(file)?;
        let place = Place { time: self.time, number: self.number };
        self.bytes += file.put_shape(table, place, shape)?;
        self.number += 1;
        self.tables.insert(table);
        Ok(())
    }

    /// Keeps all rows of a table that go, or that came. Too many: its history begins anew.
    fn whole_table(
        &mut self,
        file: &HistoryFile<'_>,
        table: ObjectId,
        cause: Cause,
        goes: bool,
    ) -> Result<(), RowsError> {
        self.flush(file)?;
        if self.forgotten.contains(&table) {
            return Ok(());
        }
        let before = self.bytes;
        let mut failed = Ok(());
        file.scan(table, &mut |row| {
            let (before_row, after) = if goes { (Some(row), None) } else { (None, Some(row)) };
            failed = self.push(file, table, RowRecord { cause, before: before_row, after });
            Ok(failed.is_ok() && self.bytes - before <= TABLE_BYTES_MAX)
        })?;
        failed?;
        if self.bytes - before > TABLE_BYTES_MAX {
            self.forgotten.insert(table);
        }
        self.write_chunk(file)
    }
}

/// The history as a whole, as far as collecting it needs.
pub(super) struct History {
    known: HistoryV1,
    /// Whether the file has another `known`.
    is_dirty: bool,
    floors: BTreeMap<ObjectId, Timestamp>,
    /// For each table that has a history its oldest commit, and the same the other way round.
    oldest: BTreeMap<ObjectId, Timestamp>,
    queue: BTreeSet<(Timestamp, ObjectId)>,
    /// None: to be read from the catalog.
    limits: Option<Limits>,
    /// Nothing is due by age before.
    idle_until_nanos: u64,
    /// Rows that the entry has added.
    added: usize,
    /// What the operator was told.
    is_full: bool,
    is_broken: bool,
}

/// How much is collected of one table.
struct Share {
    up_to: Timestamp,
    rows: usize,
    bytes: u64,
}

/// What the catalog says of collecting.
struct Limits {
    ttl_nanos: u64,
    bytes_max: u64,
    protections: Vec<Protection>,
}

impl Limits {
    fn of(state: &State) -> Self {
        let number = |setting| match state.setting_value(setting) {
            SettingValue::Int(number) => number.cast_unsigned(),
            SettingValue::Bytes(bytes) => bytes,
            SettingValue::Bool(_) | SettingValue::Milliseconds(_) | SettingValue::Text(_) => u64::MAX,
        };
        Self {
            ttl_nanos: number(Setting::HistoryTtl).saturating_mul(1_000_000_000),
            bytes_max: number(Setting::HistoryBytesMax),
            protections: state.protections().map(|(_, protection)| protection.clone()).collect(),
        }
    }

    /// Changes of a table after this are protected.
    fn protected_since(&self, table: ObjectId) -> Option<Timestamp> {
        let covering = self.protections.iter().filter(|protection| protection.covers(table));
        covering.map(|protection| protection.since).min()
    }
}

impl History {
    /// Reads what the file knows. One of an earlier layout begins its history at `last`.
    pub(super) fn load(store: &mut Store, last: Timestamp) -> Result<Self, MachineError> {
        let known = super::read_meta::<HistoryV1>(store, MetaKey::History, Kind::History)?;
        let mut history = Self {
            known: known.unwrap_or(HistoryV1 { bytes: 0, from: last }),
            is_dirty: known.is_none(),
            floors: store.history_floors()?.into_iter().collect(),
            oldest: BTreeMap::new(),
            queue: BTreeSet::new(),
            limits: None,
            idle_until_nanos: 0,
            added: 0,
            is_full: false,
            is_broken: false,
        };
        let mut next = store.next_history(None)?;
        while let Some((table, oldest)) = next {
            history.set_oldest(table, Some(oldest));
            next = store.next_history(Some(table))?;
        }
        Ok(history)
    }

    /// Settings or protections changed, or may have.
    pub(super) fn limits_changed(&mut self) {
        self.limits = None;
    }

    pub(super) fn save(&mut self, store: &mut Store) -> Result<(), RowsError> {
        if !std::mem::take(&mut self.is_dirty) {
            return Ok(());
        }
        store.put_meta(MetaKey::History, &codec::seal_value(Kind::History, FORMAT, &self.known))
    }

    /// Takes in a commit that took effect.
    pub(super) fn absorb(&mut self, store: &mut Store, mut commit: Commit) -> Result<(), RowsError> {
        commit.flush(&store.history_file())?;
        for table in &commit.tables {
            if !self.oldest.contains_key(table) {
                self.set_oldest(*table, Some(commit.time));
            }
        }
        for table in commit.forgotten {
            tracing::warn!(
                object = table.0,
                "the history of a large table begins anew: its rows got another shape or went"
            );
            self.raise_floor(store, table, commit.time)?;
        }
        self.is_dirty |= commit.bytes > 0;
        self.known.bytes += commit.bytes;
        self.added += usize::try_from(commit.number).unwrap_or(usize::MAX);
        Ok(())
    }

    fn set_oldest(&mut self, table: ObjectId, oldest: Option<Timestamp>) {
        let before = match oldest {
            Some(oldest) => self.oldest.insert(table, oldest),
            None => self.oldest.remove(&table),
        };
        if let Some(before) = before {
            self.queue.remove(&(before, table));
        }
        self.queue.extend(oldest.map(|oldest| (oldest, table)));
    }

    fn raise_floor(&mut self, store: &mut Store, table: ObjectId, to: Timestamp) -> Result<(), RowsError> {
        let floor = self.floors.entry(table).or_insert(to);
        *floor = to.max(*floor);
        store.put_floor(table, Some(*floor))
    }

    /// Collects what is due by `now`, or for want of room. H3, H4.
    pub(super) fn collect(
        &mut self,
        store: &mut Store,
        state: &State,
        now: Timestamp,
    ) -> Result<(), RowsError> {
        let mut budget = COLLECT_ROWS.saturating_add(std::mem::take(&mut self.added).saturating_mul(2));
        if self.limits.is_none() {
            self.idle_until_nanos = 0;
        }
        let limits = self.limits.take().unwrap_or_else(|| Limits::of(state));
        if now.nanos >= self.idle_until_nanos {
            self.collect_old(store, state, &limits, now, &mut budget)?;
        }
        self.collect_excess(store, state, &limits, &mut budget)?;
        self.limits = Some(limits);
        Ok(())
    }

    fn collect_old(
        &mut self,
        store: &mut Store,
        state: &State,
        limits: &Limits,
        now: Timestamp,
        budget: &mut usize,
    ) -> Result<(), RowsError> {
        let edge = Timestamp { nanos: now.nanos.saturating_sub(limits.ttl_nanos), logical: u32::MAX };
        let mut from = None;
        loop {
            let after = from
                .map_or((Timestamp::default(), ObjectId(0)), |(time, ObjectId(id))| (time, ObjectId(id + 1)));
            let Some((oldest, table)) = self.queue.range(after..).next().copied() else {
                self.idle_until_nanos = now.nanos.saturating_add(limits.ttl_nanos);
                return Ok(());
            };
            if oldest > edge {
                self.idle_until_nanos = oldest.nanos.saturating_add(limits.ttl_nanos);
                return Ok(());
            }
            if *budget == 0 {
                return Ok(());
            }
            let limit = limits.protected_since(table).map_or(edge, |since| since.min(edge));
            if oldest <= limit {
                let most = Share { up_to: limit, rows: *budget, bytes: u64::MAX };
                *budget = budget.saturating_sub(self.take(store, state, table, most)?);
            }
            from = Some((oldest, table));
        }
    }

    /// The oldest first; what is protected when there is nothing else.
    fn collect_excess(
        &mut self,
        store: &mut Store,
        state: &State,
        limits: &Limits,
        budget: &mut usize,
    ) -> Result<(), RowsError> {
        if self.known.bytes <= limits.bytes_max {
            (self.is_full, self.is_broken) = (false, false);
            return Ok(());
        }
        if !std::mem::replace(&mut self.is_full, true) {
            tracing::warn!(
                bytes = self.known.bytes,
                most = limits.bytes_max,
                "the change history is full: the oldest changes go before their time"
            );
        }
        while self.known.bytes > limits.bytes_max && *budget > 0 {
            let free = |(oldest, table): &&(Timestamp, ObjectId)| {
                limits.protected_since(*table).is_none_or(|since| *oldest <= since)
            };
            let next =
                self.queue.iter().find(free).map(|(_, table)| (*table, limits.protected_since(*table)));
            let (table, limit) = match next {
                Some((table, since)) => (table, since.unwrap_or(Place::END)),
                None => {
                    let Some((_, table)) = self.queue.first().copied() else { return Ok(()) };
                    if !std::mem::replace(&mut self.is_broken, true) {
                        tracing::warn!(
                            object = table.0,
                            "the change history is full of protected changes: the oldest go, and a job that needs them fails"
                        );
                    }
                    (table, Place::END)
                }
            };
            let bytes = self.known.bytes - limits.bytes_max;
            let most = Share { up_to: limit, rows: COLLECT_TURN.min(*budget), bytes };
            *budget = budget.saturating_sub(self.take(store, state, table, most)?);
        }
        Ok(())
    }

    /// Collects of one table. Gives the rows.
    fn take(
        &mut self,
        store: &mut Store,
        state: &State,
        table: ObjectId,
        most: Share,
    ) -> Result<usize, RowsError> {
        let taken = store.take_history(table, most.up_to, most.rows, most.bytes)?;
        self.known.bytes = self.known.bytes.saturating_sub(taken.bytes);
        self.is_dirty = true;
        self.set_oldest(table, taken.oldest);
        if let Some(newest) = taken.newest {
            self.raise_floor(store, table, newest)?;
        }
        if taken.oldest.is_none() && state.object(table).is_none() {
            // Ids are never used again: nobody can ask for it.
            self.floors.remove(&table);
            store.put_floor(table, None)?;
        }
        // Never without end, whatever the file says.
        Ok(taken.rows.max(1))
    }
}

impl super::Core {
    /// Applies the changes of a statement and keeps them.
    pub(super) fn change_rows(
        &mut self,
        index: u64,
        commit: &mut Commit,
        changeset: &[u8],
    ) -> Result<(), MachineError> {
        let (changes, state) = (&mut self.changes, self.catalog.state());
        let mut key: Option<(ObjectId, Vec<usize>)> = None;
        let applied = self.store.apply_and_keep(changeset, &mut |file, row| {
            let table = row.table;
            changes.row(table, index);
            if !commit.is_net {
                let RowDelta { before, after, .. } = row;
                return commit.push(file, table, RowRecord { cause: Cause::Changed, before, after });
            }
            if key.as_ref().is_none_or(|(of, _)| *of != table) {
                key = Some((table, key_places(state, table)));
            }
            commit.row(row, key.as_ref().map_or(&[], |(_, places)| places.as_slice()));
            if commit.net_bytes > NET_BYTES_MAX { commit.flush(file) } else { Ok(()) }
        });
        applied.map_err(|source| MachineError::Changeset { index, source })?;
        self.last.index = index;
        Ok(())
    }

    /// Does what a proposal does to tables, and keeps what went and came.
    pub(super) fn change_tables(
        &mut self,
        index: u64,
        commit: &mut Commit,
        tried: &Tried,
    ) -> Result<(), MachineError> {
        for (at, step) in tried.storage.iter().enumerate() {
            let store = &mut self.store;
            let rows = match step {
                StorageStep::Create(_)
                | StorageStep::CreateSequence(..)
                | StorageStep::Shelve(_)
                | StorageStep::Fill(_)
                | StorageStep::Clear(_) => RowsKept::Rewritten,
                // Its rows came before anybody could ask for them: they are in no history.
                StorageStep::Publish(id) => {
                    self.history.raise_floor(store, *id, commit.time)?;
                    RowsKept::Rewritten
                }
                StorageStep::Drop(id) => {
                    commit.whole_table(&store.history_file(), *id, Cause::Dropped, true)?;
                    RowsKept::Rewritten
                }
                StorageStep::Alter(alteration) => {
                    if alteration.rewrites() {
                        commit.whole_table(
                            &store.history_file(),
                            alteration.after.id,
                            Cause::Reshaped,
                            true,
                        )?;
                        RowsKept::Rewritten
                    } else {
                        RowsKept::Kept(kept(alteration))
                    }
                }
            };
            step.perform(store).map_err(|source| MachineError::Step { index, source })?;
            if let Some(change) = tried.shapes.iter().find(|change| change.step == Some(at)) {
                let (before, after) = (change.before.clone(), change.after.clone());
                commit.shape(
                    &store.history_file(),
                    change.id,
                    &ShapeRecord { before, after, rows: rows.clone() },
                )?;
            }
            if let (StorageStep::Alter(alteration), RowsKept::Rewritten) = (step, &rows) {
                commit.whole_table(&store.history_file(), alteration.after.id, Cause::Reshaped, false)?;
            }
            if let StorageStep::CreateSequence(id, _) = step {
                commit.whole_table(&store.history_file(), *id, Cause::Changed, false)?;
            }
        }
        for change in tried.shapes.iter().filter(|change| change.step.is_none()) {
            let (before, after) = (change.before.clone(), change.after.clone());
            let columns = change.after.as_deref().and_then(table_of).map_or(0, |table| stored(table).count());
            let rows = RowsKept::Kept((0..columns).map(|at| u16::try_from(at).ok()).collect());
            commit.shape(&self.store.history_file(), change.id, &ShapeRecord { before, after, rows })?;
        }
        Ok(())
    }
}

/// What one command made of an object that has rows or says what values mean.
pub(in crate::machine) struct ShapeChange {
    id: ObjectId,
    before: Option<Arc<Object>>,
    after: Option<Arc<Object>>,
    /// Which of the steps does it in the row store.
    step: Option<usize>,
}

impl ShapeChange {
    /// None: nothing that rows or their values depend upon. `steps` are all so far, those of the command from `first` on.
    pub(in crate::machine) fn of(
        id: ObjectId,
        before: &State,
        after: &State,
        steps: &[StorageStep],
        first: usize,
    ) -> Option<Self> {
        let shape = |state: &State| {
            let object = state.object(id)?;
            let has_shape = matches!(object.body, Body::Table(_) | Body::Sequence(_) | Body::Type(_));
            has_shape.then(|| Arc::new(Object { acl: Acl::default(), ..object.clone() }))
        };
        let (before, after) = (shape(before), shape(after));
        let of_it = |step: &StorageStep| match step {
            StorageStep::Create(shape) => shape.id == id,
            StorageStep::CreateSequence(made, _) => *made == id,
            StorageStep::Drop(dropped) => *dropped == id,
            StorageStep::Alter(alteration) => alteration.after.id == id,
            StorageStep::Publish(published) => *published == id,
            // What is on a shelf has no history.
            StorageStep::Shelve(_) | StorageStep::Fill(_) | StorageStep::Clear(_) => false,
        };
        let step = steps.iter().skip(first).position(of_it).map(|at| first + at);
        (before != after || step.is_some()).then_some(Self { id, before, after, step })
    }
}

fn table_of(object: &Object) -> Option<&Table> {
    match &object.body {
        Body::Table(table) => Some(table),
        _ => None,
    }
}

/// The columns that are stored, with their positions in the catalog.
fn stored(table: &Table) -> impl Iterator<Item = u16> {
    (0..).zip(&table.columns).filter(|(_, column)| column.computed.is_none()).map(|(at, _)| at)
}

/// Where the columns of a table's key are among those stored.
fn key_places(state: &State, table: ObjectId) -> Vec<usize> {
    match state.object(table).map(|object| &object.body) {
        Some(Body::Table(table)) => {
            table.primary_key.iter().filter_map(|key| stored(table).position(|at| at == *key)).collect()
        }
        // Its one row has one key.
        _ => Vec::new(),
    }
}

/// For each column that is stored now which of those stored before it was.
fn kept(alteration: &Alteration) -> Vec<Option<u16>> {
    let (before, after) = (&alteration.before.table, &alteration.after.table);
    let source = |at: u16| match alteration.sources.get(usize::from(at))? {
        ColumnSource::Kept(was) => {
            stored(before).position(|stored| stored == *was).and_then(|at| u16::try_from(at).ok())
        }
        ColumnSource::Value(_) => None,
    };
    stored(after).map(source).collect()
}
