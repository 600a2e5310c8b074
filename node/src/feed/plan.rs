//! What a feed does next: a state machine without I/O and without a clock of its own.
//!
//! Its promises:
//!
//! | | |
//! |---|---|
//! | F1 | every version that a row had at the end of a commit after the start is handed out, once more where the feed began again |
//! | F2 | of a key, an older version is never handed out for the first time after a newer one |
//! | F3 | of one commit a row is handed out once, as it was at its end. A commit of more than [`COMMIT_BYTES_MAX`] may be handed out in steps |
//! | F4 | what is kept was flushed, and what is told was kept: nothing that was told is contradicted, also where the feed begins again from what was kept |
//! | F5 | memory: one page of the history, and one commit up to [`COMMIT_BYTES_MAX`] |
//!
//! The driver does the [`Step`]s one after another and says of each that it is done. Where something fails it throws the plan away
//! and makes another from the [`Progress`] that was kept.

mod commit;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use grantd_catalog::id::{ObjectId, Timestamp};
use grantd_catalog::object::Object;
use grantd_catalog::refusal::{Refusal, state};
use grantd_raft::rows::{PastChange, PastRecord, Place, RowsKept, ShapeRecord, Value};

use self::commit::Commit;
use super::options::{InitialScan, Options, SchemaEvents, SchemaPolicy};
use super::shape::{Shape, Types};
use super::topic::Target;

/// What a feed was made as. It never changes while it runs.
#[derive(Clone, Debug)]
pub struct Feed {
    /// What is fed.
    pub targets: Vec<Target>,
    /// How.
    pub options: Options,
    /// The time of the statement, or its `cursor`: what is scanned first is scanned as of it, and changes come after it.
    pub start: Timestamp,
}

/// What is kept of a feed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// All up to here is at the sink. None: not even the first scan is.
    pub high_water: Option<Timestamp>,
}

/// A row at the end of a commit.
#[derive(Clone, Debug)]
pub struct RowVersion {
    /// What the table was then.
    pub shape: Arc<Shape>,
    /// Its values.
    pub row: Vec<Value>,
}

/// What became of a row.
#[derive(Clone, Debug)]
pub struct Change {
    /// Which of the targets.
    pub target: usize,
    /// None: there was none.
    pub before: Option<RowVersion>,
    /// None: it is gone.
    pub after: Option<RowVersion>,
    /// When.
    pub updated: Timestamp,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Step {
    /// Send every row that a table had at a time; then [`Plan::scanned`].
    Scan(Scan),
    /// Read a page of changes; then [`Plan::read`], and send what it gives.
    Read {
        /// After this place.
        after: Place,
        /// Of commits up to this time.
        up_to: Timestamp,
    },
    /// Make sure that the sink has all that was sent, which is all up to this time; then [`Plan::flushed`].
    Flush(Timestamp),
    /// Keep this; then [`Plan::kept`].
    Keep(Progress),
    /// Tell the sink that nothing more comes up to this time; then [`Plan::told`].
    Resolve(Timestamp),
    /// Nothing, for at most so long; then [`Plan::look_again`].
    Wait(Duration),
    /// Nothing more.
    End(End),
}

/// A scan of a table.
#[derive(Clone, Debug)]
pub struct Scan {
    /// Which of the targets.
    pub target: usize,
    /// As of when.
    pub at: Timestamp,
    /// What it was then.
    pub shape: Arc<Shape>,
}

/// How a feed ends by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All that was asked for is at the sink.
    Succeeded,
    /// It cannot go on.
    Failed(Refusal),
}

/// What a read of the history gave.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The changes.
    pub changes: Vec<PastChange>,
    /// Where the next page begins. None: up to what was asked for, or is known, there is nothing more.
    pub next: Option<Place>,
    /// The time up to which all is known.
    pub known: Timestamp,
    /// The enum types of the tables. None: as they were.
    pub types: Option<Types>,
}

/// One table of the feed.
struct Fed {
    name: String,
    object: Arc<Object>,
    shape: Arc<Shape>,
}

/// See the module.
pub struct Plan {
    events: SchemaEvents,
    policy: SchemaPolicy,
    only_scan: bool,
    end_time: Option<Timestamp>,
    resolved: Option<Duration>,
    checkpoint_every: Duration,
    start: Timestamp,
    tables: Vec<Fed>,
    by_id: HashMap<ObjectId, usize>,
    types: Types,
    place: Place,
    commit: Commit,
    scans: VecDeque<Scan>,
    /// All up to here was handed out.
    frontier: Timestamp,
    flushed: Timestamp,
    kept: Option<Timestamp>,
    kept_at: Option<Duration>,
    told: Option<Timestamp>,
    told_at: Option<Duration>,
    caught_up: bool,
    /// Something was read since it was last kept: who only kept would never get on.
    looked: bool,
    end: Option<End>,
}

impl Plan {
    /// Begins, or goes on from what was kept. `objects` are the targets' tables as of [`Feed::tables_at`].
    ///
    /// Refusals: a table that cannot be fed.
    pub fn new(
        feed: &Feed,
        progress: Progress,
        objects: Vec<Arc<Object>>,
        types: Types,
        now: Duration,
    ) -> Result<Self, Refusal> {
        let Options { initial_scan, .. } = feed.options;
        let tables = feed.targets.iter().zip(objects).map(|(target, object)| {
            let name = target.name[2].clone();
            let shape = Arc::new(Shape::of(&name, &object, &types)?);
            Ok(Fed { name, object, shape })
        });
        let tables = tables.collect::<Result<Vec<_>, Refusal>>()?;
        let at = feed.tables_at(progress);
        let scans = progress.high_water.is_none() && initial_scan != InitialScan::No;
        let scan = |(target, table): (usize, &Fed)| Scan { target, at, shape: Arc::clone(&table.shape) };
        let scans: VecDeque<Scan> =
            if scans { tables.iter().enumerate().map(scan).collect() } else { VecDeque::new() };
        let frontier = if scans.is_empty() { at } else { before(at) };
        let only_scan = initial_scan == InitialScan::Only;
        // Its scan is kept: what was to end has ended.
        let end = (only_scan && scans.is_empty()).then_some(End::Succeeded);
        Ok(Self {
            events: feed.options.schema_change_events,
            policy: feed.options.schema_change_policy,
            only_scan,
            end_time: feed.options.end_time,
            resolved: feed.options.resolved,
            checkpoint_every: feed.options.min_checkpoint_frequency.max(KEEP_EVERY_MIN),
            start: feed.start,
            by_id: feed.targets.iter().enumerate().map(|(at, target)| (target.table, at)).collect(),
            tables,
            types,
            place: Place::after(at),
            commit: Commit::default(),
            scans,
            frontier,
            flushed: frontier,
            kept: progress.high_water,
            kept_at: progress.high_water.map(|_| now),
            told: None,
            told_at: None,
            caught_up: false,
            looked: false,
            end,
        })
    }

    /// What is to be done. `now`: since any moment, always the same one.
    pub fn next(&self, now: Duration) -> Step {
        if let Some(scan) = self.scans.front() {
            return Step::Scan(scan.clone());
        }
        let reached = self.end.is_some() || self.end_time.is_some_and(|end| end <= self.frontier);
        if reached || self.keep_due_in(now).is_zero() {
            if self.flushed < self.frontier {
                return Step::Flush(self.frontier);
            }
            // Also where nothing happened, if somebody waits for it: it is an entry of the log, and moves the cluster's time on.
            if self.kept != Some(self.flushed) || self.keep_due_in(now).is_zero() {
                return Step::Keep(Progress { high_water: Some(self.flushed) });
            }
        }
        if let Some(kept) = self.kept
            && self.told < self.kept
            && (reached && self.resolved.is_some() || self.tell_due_in(now).is_zero())
        {
            return Step::Resolve(kept);
        }
        match &self.end {
            Some(end) => return Step::End(end.clone()),
            None if reached => return Step::End(End::Succeeded),
            None => {}
        }
        if self.caught_up {
            let untold = if self.told < self.kept { self.tell_due_in(now) } else { Duration::MAX };
            return Step::Wait(LOOK_EVERY.min(self.keep_due_in(now)).min(untold).max(WAIT_MIN));
        }
        Step::Read { after: self.place, up_to: self.end_time.unwrap_or(Place::END) }
    }

    /// When something is to be kept.
    fn keep_due_in(&self, now: Duration) -> Duration {
        let Some(at) = self.kept_at else { return Duration::ZERO };
        if self.kept == Some(self.frontier) && !(self.looked && self.resolved.is_some()) {
            return Duration::MAX;
        }
        (at + self.checkpoint_every).saturating_sub(now)
    }

    fn tell_due_in(&self, now: Duration) -> Duration {
        match (self.resolved, self.told_at) {
            (None, _) => Duration::MAX,
            (Some(_), None) => Duration::ZERO,
            (Some(every), Some(at)) => (at + every).saturating_sub(now),
        }
    }

    /// All rows of the scan were handed to the sink.
    pub fn scanned(&mut self) {
        let Some(done) = self.scans.pop_front() else { return };
        if self.scans.is_empty() {
            self.frontier = done.at;
            if self.only_scan {
                self.end = Some(End::Succeeded);
            }
        }
    }

    /// A page was read. Gives what is to be sent, in this order.
    pub fn read(&mut self, page: Page) -> Vec<Change> {
        self.looked = true;
        if let Some(types) = page.types
            && types != self.types
        {
            self.types = types;
            self.reshape_all();
        }
        let mut out = Vec::with_capacity(page.changes.len());
        for PastChange { table, place, what } in page.changes {
            if place.time != self.commit.time {
                self.end_commit(&mut out);
                if !self.scans.is_empty() || self.end.is_some() {
                    return out;
                }
                self.commit.time = place.time;
            }
            let Some(target) = self.by_id.get(&table).copied() else { continue };
            match what {
                PastRecord::Row(record) => {
                    self.commit.put(target, &self.tables[target].shape, record);
                }
                PastRecord::Shape(record) => self.reshape(target, &record),
            }
        }
        match page.next {
            Some(next) => {
                self.place = next;
                if self.commit.bytes > COMMIT_BYTES_MAX && !self.commit.is_boundary() {
                    self.commit.hand_out(&mut out);
                }
            }
            None => {
                self.end_commit(&mut out);
                if self.scans.is_empty() && self.end.is_none() {
                    let all = self.end_time.map_or(page.known, |end| end.min(page.known));
                    self.frontier = self.frontier.max(all);
                    self.place = self.place.max(Place::after(self.frontier));
                    self.caught_up = true;
                }
            }
        }
        out
    }

    /// The commit has no more changes.
    fn end_commit(&mut self, out: &mut Vec<Change>) {
        let commit = std::mem::take(&mut self.commit);
        let time = commit.time;
        if time <= self.frontier {
            return;
        }
        if let Some(end) = commit.end {
            self.frontier = before(time);
            self.end = Some(End::Failed(end));
            return;
        }
        let scans: BTreeSet<usize> = commit.scans.clone();
        commit.end(out);
        self.place = Place::after(time);
        if scans.is_empty() {
            self.frontier = time;
            return;
        }
        self.frontier = before(time);
        let scan = |target| Scan { target, at: time, shape: Arc::clone(&self.tables[target].shape) };
        self.scans = scans.into_iter().map(scan).collect();
    }

    /// The table got another shape, or is gone.
    fn reshape(&mut self, target: usize, record: &ShapeRecord) {
        let time = self.commit.time;
        let fed = &mut self.tables[target];
        let Some(after) = &record.after else {
            self.commit.end.get_or_insert(dropped(&fed.name));
            return;
        };
        match Shape::of(&fed.name, after, &self.types) {
            Ok(shape) => fed.shape = Arc::new(shape),
            Err(refusal) => {
                self.commit.end.get_or_insert(refusal);
                return;
            }
        }
        let was = std::mem::replace(&mut fed.object, Arc::clone(after));
        if !counts(self.events, &was, &record.rows) {
            return;
        }
        match self.policy {
            SchemaPolicy::Stop => {
                self.commit.end.get_or_insert(stopped(time));
            }
            SchemaPolicy::Backfill if record.rows == RowsKept::Rewritten => {
                self.commit.backfilled.insert(target);
            }
            SchemaPolicy::Backfill => {
                self.commit.scans.insert(target);
            }
            SchemaPolicy::Nobackfill | SchemaPolicy::Ignore => {}
        }
    }

    /// Labels of enum types are others.
    fn reshape_all(&mut self) {
        for fed in &mut self.tables {
            // It could be fed before, and only labels changed.
            if let Ok(shape) = Shape::of(&fed.name, &fed.object, &self.types) {
                fed.shape = Arc::new(shape);
            }
        }
    }

    /// The sink has all up to where it was flushed.
    pub fn flushed(&mut self) {
        self.flushed = self.frontier;
    }

    /// It was kept.
    pub fn kept(&mut self, now: Duration) {
        self.kept = Some(self.flushed);
        self.kept_at = Some(now);
        self.looked = false;
    }

    /// It was told.
    pub fn told(&mut self, now: Duration) {
        self.told = self.kept;
        self.told_at = Some(now);
    }

    /// There may be more.
    pub fn look_again(&mut self) {
        self.caught_up = false;
    }

    /// From when on the history is needed.
    pub fn needs_history_after(&self) -> Timestamp {
        self.kept.unwrap_or(self.start)
    }

    /// All up to here was handed out.
    pub fn frontier(&self) -> Timestamp {
        self.frontier
    }

    /// The tables as they are where the plan is: what pages ask the types of.
    pub fn enum_types(&self) -> BTreeSet<ObjectId> {
        self.tables.iter().flat_map(|fed| Shape::types(&fed.object)).collect()
    }
}

impl Feed {
    /// Of these tables, made by a statement of this time.
    pub fn new(targets: Vec<Target>, options: Options, now: Timestamp) -> Self {
        let start = options.cursor.unwrap_or(now);
        Self { targets, options, start }
    }

    /// As of when a plan wants the tables.
    pub fn tables_at(&self, progress: Progress) -> Timestamp {
        progress.high_water.unwrap_or(self.start)
    }

    /// After when messages come: what names of files begin from.
    pub fn sent_up_to(&self, progress: Progress) -> Timestamp {
        let scans = self.options.initial_scan != InitialScan::No;
        progress.high_water.unwrap_or(if scans { before(self.start) } else { self.start })
    }
}

/// Whether a change of a table's shape is one that the policy is of.
fn counts(events: SchemaEvents, was: &Object, rows: &RowsKept) -> bool {
    let columns = match &was.body {
        grantd_catalog::object::Body::Table(table) => table.columns.len(),
        _ => 0,
    };
    match rows {
        RowsKept::Rewritten => true,
        RowsKept::Kept(kept) => {
            let there = kept.iter().flatten().count();
            there < columns || events == SchemaEvents::ColumnChanges && there < kept.len()
        }
    }
}

fn dropped(name: &str) -> Refusal {
    Refusal::new(state::NOT_IN_PREREQUISITE_STATE, format!("\"{name}\" was dropped"))
        .with_hint("what was changed before is at the sink; make a changefeed of the tables that are left")
}

fn stopped(time: Timestamp) -> Refusal {
    Refusal::new(
        state::NOT_IN_PREREQUISITE_STATE,
        format!("schema change occurred at {}", super::encode::shown(time)),
    )
    .with_hint(
        "what was changed before is at the sink; make another changefeed, with this time as its cursor",
    )
}

/// The last time before this one.
pub fn before(time: Timestamp) -> Timestamp {
    match time.logical.checked_sub(1) {
        Some(logical) => Timestamp { logical, ..time },
        None => Timestamp { nanos: time.nanos.saturating_sub(1), logical: u32::MAX },
    }
}

/// The first time after this one.
pub fn after(time: Timestamp) -> Timestamp {
    match time.logical.checked_add(1) {
        Some(logical) => Timestamp { logical, ..time },
        None => Timestamp { nanos: time.nanos.saturating_add(1), logical: 0 },
    }
}

/// The most bytes of a commit that is put together: the history does the same up to 16 MiB, so that only larger ones are handed
/// out in steps.
pub const COMMIT_BYTES_MAX: usize = 32 << 20;
/// What is kept is an entry of the log, and moves what is known: without this a feed that keeps as often as it can would be busy
/// with that alone.
const KEEP_EVERY_MIN: Duration = Duration::from_millis(100);
/// How often is looked whether something happened. A look is a read of one row.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// So that a wait is one.
const WAIT_MIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests;
