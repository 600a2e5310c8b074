//! The plan against a slow model: histories, pages, crashes and refusals as they come, and what a consumer has in the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use grantd_catalog::object::{Body, ColumnType};
use grantd_raft::rows::{Cause, RowRecord};
use proptest::prelude::*;

use super::*;
use crate::feed::encode::tests::table;

const START: Timestamp = Timestamp { nanos: 100, logical: 0 };

/// What happens to the tables at one time.
#[derive(Clone, Debug)]
enum Act {
    /// Rows of a table are put (some value) or deleted, in one transaction; a key may come more than once.
    Write(Vec<(usize, i64, Option<i64>)>),
    /// A column comes that is NULL everywhere.
    AddNull(usize),
    /// A column comes that is 7 everywhere: the rows are made anew. Before it, in the same transaction, a row is put.
    AddFilled(usize, Option<(i64, i64)>),
    /// A column goes, if there is more than one beside the key: the rows are made anew.
    DropColumn(usize),
    /// Time goes on, and nothing happens.
    Nothing,
}

/// The rows of a table, by their keys.
type Rows = BTreeMap<i64, Vec<Value>>;

/// Each table's object and rows, from a time on.
type Moment = (Timestamp, Vec<Arc<Object>>, Vec<Rows>);

/// The truth: each table's object and rows, and all changes.
struct World {
    objects: Vec<Arc<Object>>,
    rows: Vec<Rows>,
    history: Vec<PastChange>,
    /// What each table was, and had, after each commit.
    states: Vec<Moment>,
    known: Timestamp,
}

const TABLES: [ObjectId; 2] = [ObjectId(104), ObjectId(105)];

impl World {
    fn new() -> Self {
        let object = Arc::new(table(&[("id", ColumnType::Int8), ("v", ColumnType::Int8)], &[0]));
        let mut world = Self {
            objects: vec![Arc::clone(&object), object],
            rows: vec![BTreeMap::new(), BTreeMap::new()],
            history: Vec::new(),
            states: Vec::new(),
            known: Timestamp { nanos: 50, logical: 0 },
        };
        for key in 0..3 {
            world.rows[0].insert(key, vec![Value::Integer(key), Value::Integer(-1)]);
        }
        world.states.push((world.known, world.objects.clone(), world.rows.clone()));
        world
    }

    fn width(&self, target: usize) -> usize {
        match &self.objects[target].body {
            Body::Table(table) => table.columns.len(),
            _ => unreachable!("it is a table"),
        }
    }

    /// As the history says it: of one commit, what came of each row in all, once before and once after another shape.
    fn net(&mut self, was: &[Rows], number: &mut u32, time: Timestamp) {
        for (target, was) in was.iter().enumerate() {
            let keys: BTreeSet<i64> = was.keys().chain(self.rows[target].keys()).copied().collect();
            for key in keys {
                let (before, after) = (was.get(&key).cloned(), self.rows[target].get(&key).cloned());
                if before != after {
                    let record = RowRecord { cause: Cause::Changed, before, after };
                    self.note(target, number, time, PastRecord::Row(record));
                }
            }
        }
    }

    fn note(&mut self, target: usize, number: &mut u32, time: Timestamp, what: PastRecord) {
        self.history.push(PastChange { table: TABLES[target], place: Place { time, number: *number }, what });
        *number += 1;
    }

    fn alter(&mut self, target: usize, add: Option<Value>, rewrite: bool, number: &mut u32, time: Timestamp) {
        let before = Arc::clone(&self.objects[target]);
        let width = self.width(target);
        let names: Vec<String> = (0..width + 1)
            .map(|at| if at == 0 { "id".to_owned() } else { format!("c{at}_{}", time.nanos) })
            .collect();
        let wanted = if add.is_some() { width + 1 } else { width - 1 };
        let columns: Vec<(&str, ColumnType)> =
            names.iter().take(wanted).map(|name| (name.as_str(), ColumnType::Int8)).collect();
        let object = Arc::new(table(&columns, &[0]));
        let old = self.rows[target].clone();
        let new: Rows = old
            .iter()
            .map(|(key, row)| {
                let mut row = row.clone();
                match &add {
                    Some(value) => row.push(value.clone()),
                    None => drop(row.pop()),
                }
                (*key, row)
            })
            .collect();
        let reshaped = |before: Option<&Vec<Value>>, after: Option<&Vec<Value>>| {
            PastRecord::Row(RowRecord {
                cause: Cause::Reshaped,
                before: before.cloned(),
                after: after.cloned(),
            })
        };
        if rewrite {
            for row in old.values() {
                self.note(target, number, time, reshaped(Some(row), None));
            }
        }
        let kept = (0..wanted).map(|at| u16::try_from(at).ok().filter(|_| at < width)).collect();
        let rows = if rewrite { RowsKept::Rewritten } else { RowsKept::Kept(kept) };
        let shape = ShapeRecord { before: Some(before), after: Some(Arc::clone(&object)), rows };
        self.note(target, number, time, PastRecord::Shape(shape));
        if rewrite {
            for row in new.values() {
                self.note(target, number, time, reshaped(None, Some(row)));
            }
        }
        self.objects[target] = object;
        self.rows[target] = new;
    }

    fn put(&mut self, target: usize, key: i64, value: Option<i64>) {
        let width = self.width(target);
        match value {
            None => drop(self.rows[target].remove(&key)),
            Some(value) => {
                let mut row = vec![Value::Integer(value); width];
                row[0] = Value::Integer(key);
                self.rows[target].insert(key, row);
            }
        }
    }

    fn act(&mut self, act: &Act, time: Timestamp) {
        let (was, mut number) = (self.rows.clone(), 0);
        match act {
            Act::Write(writes) => {
                for (target, key, value) in writes {
                    self.put(*target, *key, *value);
                }
                self.net(&was, &mut number, time);
            }
            Act::AddNull(target) => self.alter(*target, Some(Value::Null), false, &mut number, time),
            Act::AddFilled(target, put) => {
                if let Some((key, value)) = put {
                    self.put(*target, *key, Some(*value));
                    self.net(&was, &mut number, time);
                }
                self.alter(*target, Some(Value::Integer(7)), true, &mut number, time);
            }
            Act::DropColumn(target) if self.width(*target) > 2 => {
                self.alter(*target, None, true, &mut number, time);
            }
            Act::DropColumn(_) | Act::Nothing => {}
        }
        self.known = time;
        self.states.push((time, self.objects.clone(), self.rows.clone()));
    }

    fn at(&self, time: Timestamp) -> &Moment {
        self.states.iter().rev().find(|(at, ..)| *at <= time).unwrap()
    }

    /// A page of so many changes, of what is known at `known`.
    fn page(&self, after: Place, up_to: Timestamp, length: usize, known: Timestamp) -> Page {
        let up_to = up_to.min(known);
        let from = self.history.partition_point(|change| change.place <= after);
        let mut rest = self.history[from..].iter().take_while(|change| change.place.time <= up_to);
        let changes: Vec<PastChange> = rest.by_ref().take(length).cloned().collect();
        let next = rest.next().and_then(|_| changes.last().map(|change| change.place));
        Page { changes, next, known, types: None }
    }
}

/// What is told to the consumer.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    /// Target, key, the row after, when.
    Row(usize, i64, Option<Vec<Value>>, Timestamp),
    Resolved(Timestamp),
}

/// By target, key and time, the row after.
type History = BTreeMap<(usize, i64, Timestamp), Option<Vec<Value>>>;

/// What a consumer is to have: each row as it was at the end of each commit that changed it, and where all rows are sent again.
fn expected(world: &World, feed: &Feed) -> History {
    let mut all = History::new();
    let options = &feed.options;
    if options.initial_scan != InitialScan::No {
        let (_, _, rows) = world.at(feed.start);
        for (target, rows) in rows.iter().enumerate() {
            all.extend(rows.iter().map(|(key, row)| ((target, *key, feed.start), Some(row.clone()))));
        }
    }
    let end = options.end_time.unwrap_or(Place::END);
    for pair in world.states.windows(2) {
        let ((_, objects, _), (time, new_objects, rows)) = (&pair[0], &pair[1]);
        if *time <= feed.start || *time > end {
            continue;
        }
        for target in 0..2 {
            let reshaped = !Arc::ptr_eq(&objects[target], &new_objects[target]);
            let records = || {
                world
                    .history
                    .iter()
                    .filter(|change| change.place.time == *time && change.table == TABLES[target])
            };
            let rewritten = records().any(|change| {
                matches!(&change.what, PastRecord::Shape(shape) if shape.rows == RowsKept::Rewritten)
            });
            let counts = rewritten || reshaped && options.schema_change_events == SchemaEvents::ColumnChanges;
            if counts && options.schema_change_policy == SchemaPolicy::Backfill {
                all.extend(rows[target].iter().map(|(key, row)| ((target, *key, *time), Some(row.clone()))));
            }
            // What a statement changed.
            for change in records() {
                let PastRecord::Row(RowRecord { cause: Cause::Changed, before, after }) = &change.what else {
                    continue;
                };
                let row = before.as_ref().or(after.as_ref()).unwrap();
                let Value::Integer(key) = row[0] else { unreachable!("it is a number") };
                all.insert((target, key, *time), rows[target].get(&key).cloned());
            }
        }
    }
    all
}

fn row_of(change: Change) -> Told {
    let version = change.after.as_ref().or(change.before.as_ref()).unwrap();
    let Value::Integer(key) = version.row[0] else { unreachable!("it is a number") };
    if let Some(after) = &change.after {
        assert_eq!(after.shape.columns.len(), after.row.len());
    }
    Told::Row(change.target, key, change.after.map(|after| after.row), change.updated)
}

/// A run: crashes and refusals where the dice say so. Gives what the consumer was told, in order.
fn run(world: &World, feed: &Feed, dice: &mut dyn FnMut(u32) -> u32) -> Vec<Told> {
    let (mut told, mut progress) = (Vec::new(), Progress::default());
    let mut now = Duration::ZERO;
    let goal = world.known;
    'again: for attempt in 0..200 {
        // It was kept, and that was not heard: nothing is left to be kept again.
        if progress.high_water >= Some(goal) {
            return told;
        }
        // In the end nothing goes wrong any more.
        let fails = |dice: &mut dyn FnMut(u32) -> u32| attempt < 20 && dice(25) == 0;
        let objects = world.at(feed.tables_at(progress)).1.clone();
        let mut plan = Plan::new(feed, progress, objects, Types::new(), now).unwrap();
        let mut held: Vec<Told> = Vec::new();
        let mut known = if dice(2) == 0 { START } else { goal };
        loop {
            now += Duration::from_millis(u64::from(if dice(3) == 0 { dice(2_000) } else { dice(50) }));
            if fails(dice) {
                // Some of what was sent arrived.
                let arrived = dice(u32::try_from(held.len()).unwrap() + 1) as usize;
                told.extend(held.drain(..arrived));
                continue 'again;
            }
            match plan.next(now) {
                Step::Scan(scan) => {
                    for (key, row) in &world.at(scan.at).2[scan.target] {
                        held.push(Told::Row(scan.target, *key, Some(row.clone()), scan.at));
                    }
                    plan.scanned();
                }
                Step::Read { after, up_to } => {
                    let page = world.page(after, up_to, 1 + dice(4) as usize, known);
                    held.extend(plan.read(page).into_iter().map(row_of));
                }
                Step::Flush(_) => {
                    told.append(&mut held);
                    plan.flushed();
                }
                Step::Keep(new) => {
                    assert!(held.is_empty() || new == progress, "kept and not flushed");
                    assert!(new.high_water >= progress.high_water, "it went back");
                    progress = new;
                    // The answer is lost.
                    if fails(dice) {
                        continue 'again;
                    }
                    plan.kept(now);
                    if progress.high_water >= Some(goal) {
                        return told;
                    }
                }
                Step::Resolve(time) => {
                    assert!(progress.high_water >= Some(time), "told and not kept");
                    told.push(Told::Resolved(time));
                    plan.told(now);
                }
                Step::Wait(time) => {
                    assert!(time > Duration::ZERO);
                    now += time;
                    // Several commits may come at once.
                    let mut later = world.states.iter().map(|(at, ..)| *at).filter(|at| *at > known);
                    known = later.nth(dice(4) as usize).unwrap_or(goal).max(START);
                    plan.look_again();
                }
                Step::End(end) => {
                    assert_eq!(end, End::Succeeded);
                    return told;
                }
            }
        }
    }
    panic!("it never ended");
}

/// What a consumer makes of it.
fn consumed(told: &[Told]) -> History {
    let mut all = History::new();
    let mut newest: HashMap<(usize, i64), Timestamp> = HashMap::new();
    let mut resolved = None;
    for what in told {
        match what {
            Told::Resolved(time) => resolved = resolved.max(Some(*time)),
            Told::Row(target, key, after, updated) => {
                let known = all.insert((*target, *key, *updated), after.clone());
                if let Some(known) = known {
                    assert_eq!(known, *after, "told twice, and differently");
                    continue;
                }
                assert!(resolved < Some(*updated), "{what:?} after resolved {resolved:?}");
                let newest = newest.entry((*target, *key)).or_insert(*updated);
                assert!(*newest <= *updated, "{what:?} for the first time after {newest:?}");
                *newest = *updated;
            }
        }
    }
    all
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let write = (0..2_usize, 0..4_i64, prop::option::of(0..9_i64));
    let act = prop_oneof![
        6 => prop::collection::vec(write, 1..5).prop_map(Act::Write),
        1 => (0..2_usize).prop_map(Act::AddNull),
        1 => (0..2_usize, prop::option::of((0..4_i64, 0..9_i64))).prop_map(|(target, put)| Act::AddFilled(target, put)),
        1 => (0..2_usize).prop_map(Act::DropColumn),
        1 => Just(Act::Nothing),
    ];
    prop::collection::vec(act, 1..25)
}

fn feed(options: &str) -> Feed {
    let given: Vec<_> = options
        .split_whitespace()
        .map(|option| match option.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (option.to_owned(), None),
        })
        .collect();
    let target =
        |table| Target { table, name: ["d".to_owned(), "public".to_owned(), format!("t{}", table.0)] };
    Feed {
        targets: TABLES.map(target).to_vec(),
        options: Options::parse(&given, START).unwrap(),
        start: START,
    }
}

fn world(acts: &[Act]) -> World {
    let mut world = World::new();
    // Some before the feed, some of one entry of the log.
    for (at, act) in acts.iter().enumerate() {
        let nanos = 60 + at as u64 * 10;
        world.act(act, Timestamp { nanos, logical: u32::try_from(at % 3).unwrap() });
    }
    world.act(&Act::Nothing, Timestamp { nanos: 1_000, logical: 0 });
    world
}

const OPTIONS: [&str; 8] = [
    "resolved=1500ms min_checkpoint_frequency=1s",
    "resolved",
    "resolved=1s min_checkpoint_frequency=0s",
    "initial_scan=no resolved=0s min_checkpoint_frequency=200ms",
    "schema_change_policy=nobackfill min_checkpoint_frequency=100ms",
    "schema_change_events=column_changes resolved=0s min_checkpoint_frequency=1s",
    "end_time=170.0000000001 resolved min_checkpoint_frequency=100ms",
    "initial_scan=only",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// F1 to F4, whatever happens.
    #[test]
    fn a_consumer_has_exactly_the_history(acts in acts(), option in 0..OPTIONS.len(), seed in any::<u64>()) {
        let (world, feed) = (world(&acts), feed(OPTIONS[option]));
        let mut state = seed | 1;
        // Xorshift: any dice will do, if they are the same again.
        let mut dice = |sides: u32| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            u32::try_from((state >> 33) % u64::from(sides)).unwrap()
        };
        let told = run(&world, &feed, &mut dice);
        let mut expected = expected(&world, &feed);
        if feed.options.initial_scan == InitialScan::Only {
            expected.retain(|(_, _, time), _| *time == START);
        }
        prop_assert_eq!(consumed(&told), expected, "{}", OPTIONS[option]);
        if feed.options.resolved.is_some() {
            prop_assert!(told.iter().any(|what| matches!(what, Told::Resolved(_))));
        }
    }
}

fn quiet(world: &World, feed: &Feed) -> Vec<Told> {
    // Nothing fails, and something happens whenever it is looked.
    run(world, feed, &mut |sides| if sides == 2 { 0 } else { sides - 1 })
}

/// Case 137: two updates in one transaction.
#[test]
fn of_one_transaction_the_last_counts() {
    let mut world = World::new();
    let time = Timestamp { nanos: 200, logical: 0 };
    world.act(&Act::Write(vec![(0, 1, Some(5)), (0, 1, Some(6)), (0, 9, Some(1)), (0, 9, None)]), time);
    let told = quiet(&world, &feed("initial_scan=no"));
    let row = vec![Value::Integer(1), Value::Integer(6)];
    assert_eq!(told, [Told::Row(0, 1, Some(row), time)]);
}

fn ends(options: &str, act: impl FnOnce(&mut World)) -> (End, Vec<Change>) {
    let mut world = World::new();
    world.act(&Act::Write(vec![(0, 1, Some(5))]), Timestamp { nanos: 200, logical: 0 });
    act(&mut world);
    let feed = feed(options);
    let mut plan =
        Plan::new(&feed, Progress::default(), world.at(START).1.clone(), Types::new(), Duration::ZERO)
            .unwrap();
    let (mut changes, mut kept) = (Vec::new(), None);
    for millis in 0..10_000 {
        let now = Duration::from_millis(millis * 10);
        match plan.next(now) {
            Step::Read { after, up_to } => {
                changes.extend(plan.read(world.page(after, up_to, 3, world.known)));
            }
            Step::Flush(_) => plan.flushed(),
            Step::Keep(progress) => {
                kept = progress.high_water;
                plan.kept(now);
            }
            Step::End(end) => {
                assert_eq!(kept, Some(plan.frontier()), "what was before is kept");
                return (end, changes);
            }
            Step::Resolve(_) => plan.told(now),
            Step::Wait(_) => plan.look_again(),
            Step::Scan(_) => plan.scanned(),
        }
    }
    panic!("it never ended");
}

#[test]
fn a_feed_ends_where_it_is_told_to_with_all_before() {
    let time = Timestamp { nanos: 300, logical: 0 };
    let (end, changes) = ends("initial_scan=no schema_change_policy=stop", |world| {
        world.act(&Act::AddFilled(0, None), time);
    });
    let End::Failed(refusal) = end else { panic!("it ended well") };
    assert_eq!(refusal.message, "schema change occurred at 300.0000000000");
    assert_eq!(changes.len(), 1);
    let (end, changes) = ends("initial_scan=no", |world| {
        let (before, mut number) = (Arc::clone(&world.objects[0]), 0);
        for row in world.rows[0].clone().into_values() {
            let record = RowRecord { cause: Cause::Dropped, before: Some(row), after: None };
            world.note(0, &mut number, time, PastRecord::Row(record));
        }
        let shape = ShapeRecord { before: Some(before), after: None, rows: RowsKept::Rewritten };
        world.note(0, &mut number, time, PastRecord::Shape(shape));
        world.known = time;
    });
    let End::Failed(refusal) = end else { panic!("it ended well") };
    assert_eq!((refusal.code.as_str(), refusal.message.as_str()), ("55000", "\"t104\" was dropped"));
    assert_eq!(changes.len(), 1, "rows that went with the table are no deletions");
    let (end, _) = ends("initial_scan=no end_time=250", |world| world.act(&Act::Nothing, time));
    assert_eq!(end, End::Succeeded);
}

#[test]
fn the_row_before_comes_with_the_shape_that_it_had() {
    let (_, changes) = ends("initial_scan=no end_time=400", |world| {
        world.act(&Act::AddFilled(0, None), Timestamp { nanos: 300, logical: 0 });
        world.act(&Act::Nothing, Timestamp { nanos: 400, logical: 0 });
    });
    let again = changes.iter().find(|change| change.updated.nanos == 300).unwrap();
    let widths =
        [again.before.as_ref(), again.after.as_ref()].map(|version| version.unwrap().shape.columns.len());
    assert_eq!(widths, [2, 3]);
}

#[test]
fn what_is_kept_is_not_kept_more_often_than_asked_and_history_is_held_from_there() {
    let feed = feed("initial_scan=no min_checkpoint_frequency=30s resolved=10s");
    let mut world = World::new();
    let mut plan =
        Plan::new(&feed, Progress::default(), world.objects.clone(), Types::new(), Duration::ZERO).unwrap();
    assert_eq!(plan.needs_history_after(), START);
    let (mut keeps, mut tells) = (0, 0);
    for second in 0..300_u64 {
        world.act(&Act::Nothing, Timestamp { nanos: 1_000 + second, logical: 0 });
        for part in 0..10 {
            let now = Duration::from_millis(second * 1_000 + part * 100);
            match plan.next(now) {
                Step::Read { after, up_to } => drop(plan.read(world.page(after, up_to, 9, world.known))),
                Step::Flush(_) => plan.flushed(),
                Step::Keep(_) => {
                    keeps += 1;
                    plan.kept(now);
                }
                Step::Resolve(_) => {
                    tells += 1;
                    plan.told(now);
                }
                Step::Wait(_) => plan.look_again(),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!((10..=11).contains(&keeps), "{keeps} in 300 s");
    assert!((10..=11).contains(&tells), "{tells} in 300 s");
    assert!(plan.needs_history_after() > START);
}
