//! The change history: what is kept, what is told of it, and what is collected.

use std::collections::BTreeMap;

use grantd_catalog::command::TableAction;
use grantd_catalog::name::Name;
use grantd_catalog::object::{Body as ObjectBody, ColumnType};
use grantd_catalog::protection::{Protection, ProtectionId};
use grantd_catalog::setting::Setting;

use super::{
    Actor, Body, Command, DropBehavior, ObjectId, ObjectName, PrincipalId, Privilege, Requirement, RowChange,
    Timestamp, World, catalog, create_table, load, sealed,
};
use crate::codec::{self, Kind};
use crate::entry::{Part, Proposal, Transaction};
use crate::machine::{history_from_record, time_of_record};
use crate::rows::{
    Captured, Cause, Extensions, KeyOrder, MetaKey, Past, PastChange, PastError, PastRecord, Place, RowsAt,
    RowsKept, Store, TableChecksum, Value,
};

const SECOND: u64 = 1_000_000_000;

/// A generator that needs no crate: xorshift.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn at(nanos: u64) -> Timestamp {
    Timestamp { nanos, logical: 0 }
}

pub(super) fn name(text: &str) -> Name {
    Name::from(text)
}

fn item() -> ObjectName {
    ObjectName { parts: vec![name("item")] }
}

fn alter(action: TableAction) -> Command {
    Command::AlterTable { name: item(), if_exists: false, actions: vec![action] }
}

fn add_column(column: &str, fill: Option<&str>) -> Command {
    let Command::CreateTable { table, .. } = create_table() else { unreachable!("it is one") };
    let mut added = table.columns[0].clone();
    (added.name, added.nullable, added.column_type) =
        (name(column), true, ColumnType::Text { chars_max: None });
    let fill = fill.map(str::to_owned);
    alter(TableAction::AddColumn { column: added, if_not_exists: false, fill, constraints: Vec::new() })
}

fn rename_column(from: &str, to: &str) -> Command {
    alter(TableAction::RenameColumn { column: name(from), to: name(to), expressions: Vec::new() })
}

fn drop_column(column: &str) -> Command {
    let behavior = DropBehavior::Default;
    alter(TableAction::DropColumn { column: name(column), if_exists: false, behavior })
}

fn drop_table() -> Command {
    Command::DropTables { names: vec![item()], if_exists: false, behavior: DropBehavior::Default }
}

fn proposal(command: Command) -> Proposal {
    let Body::Catalog(mut proposals) = catalog(command) else { unreachable!("it makes one") };
    proposals.remove(0)
}

fn set(setting: Setting, value: u64) -> Command {
    Command::SetClusterSetting { setting, value: Some(value.to_string()) }
}

fn protect(id: u128, since: Timestamp, tables: Option<Vec<ObjectId>>) -> Command {
    let protection = Protection { since, tables, holder: "job 7".to_owned() };
    Command::ProtectHistory { id: ProtectionId(id), protection }
}

impl World {
    fn all_sums(&mut self) -> (u32, Vec<TableChecksum>) {
        self.core.store().checksum().unwrap()
    }

    pub(super) fn at(&mut self, nanos: u64, body: Body) {
        let reply = self.apply_payload(sealed(nanos, body)).unwrap();
        let done = reply.iter().flatten().all(|outcome| matches!(outcome, super::Outcome::Done(_)));
        assert!(done, "{reply:?}");
    }

    pub(super) fn change(&mut self, nanos: u64, statements: &[&str]) {
        let base = self.core.last_data();
        let changesets = self.captures(statements);
        let table = self.table();
        let item = |changeset| {
            let mut requirement = Requirement::default();
            requirement.privilege(table, Privilege::Insert);
            RowChange { actor: Actor::of(PrincipalId::ROOT), requirement, changeset }
        };
        self.at(nanos, Body::Rows { base, items: changesets.into_iter().map(item).collect() });
    }

    /// What each statement changes upon those before it.
    fn captures(&mut self, statements: &[&str]) -> Vec<Vec<u8>> {
        let table = self.table();
        let store = self.core.store();
        store.begin().unwrap();
        let mut changesets = Vec::new();
        for sql in statements {
            let sql = sql.replace("item", &format!("t{table}"));
            let captured = store.capture(|rows| rows.run(&sql, &[]).map(drop)).unwrap();
            let Captured::Changed((), changeset) = captured else { panic!("{sql}: {captured:?}") };
            changesets.push(changeset);
        }
        store.rollback().unwrap();
        changesets
    }

    /// A transaction of these statements.
    fn transact(&mut self, nanos: u64, statements: &[&str]) {
        let base = self.core.last_data();
        let changesets = self.captures(statements).into_iter().filter(|changeset| !changeset.is_empty());
        let parts = changesets.map(|changeset| Part::Rows { by: 0, changeset, ends: true }).collect();
        self.transact_parts(nanos, base, parts);
    }

    fn transact_parts(&mut self, nanos: u64, base: u64, parts: Vec<Part>) {
        let mut requirement = Requirement::default();
        requirement.privilege(self.table(), Privilege::Insert);
        let by = vec![(Actor::of(PrincipalId::ROOT), requirement)];
        self.at(nanos, Body::Transaction(Transaction { number: 1, base, by, stages: 0, parts }));
    }

    pub(super) fn past<T>(&self, read: impl FnOnce(&Past<'_>) -> T) -> T {
        past_of(&self.directory.path().join("state.db"), read)
    }

    fn changes(&self, after: Timestamp, up_to: Timestamp) -> Result<Vec<PastChange>, PastError> {
        let tables = [self.table()];
        self.past(|past| Ok(past.changes(&tables, Place::after(after), up_to, usize::MAX)?.changes))
    }

    /// What is kept of the table, as text.
    fn told(&self, after: u64) -> Vec<String> {
        let changes = self.changes(Timestamp { nanos: after, logical: u32::MAX }, Place::END).unwrap();
        changes.iter().map(told).collect()
    }
}

pub(super) fn past_of<T>(file: &std::path::Path, read: impl FnOnce(&Past<'_>) -> T) -> T {
    let store = Store::open(file, &Extensions::default()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut reader = runtime.block_on(store.readers().acquire()).unwrap();
    let times = |last: Option<Vec<u8>>, history: Option<Vec<u8>>| {
        (time_of_record(last.as_deref()), history_from_record(history.as_deref()))
    };
    reader.past(times, |_, past| read(past)).unwrap()
}

pub(super) fn row(row: &Option<Vec<Value>>) -> String {
    let value = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::Integer(integer) => integer.to_string(),
        Value::Text(text) => text.clone(),
        other => format!("{other:?}"),
    };
    row.as_ref().map_or("none".to_owned(), |row| row.iter().map(value).collect::<Vec<_>>().join(" "))
}

fn told(change: &PastChange) -> String {
    let Timestamp { nanos, logical } = change.place.time;
    match &change.what {
        PastRecord::Row(record) => {
            let cause = match record.cause {
                Cause::Changed => "",
                Cause::Reshaped => " reshaped",
                Cause::Dropped => " dropped",
            };
            format!("{nanos}.{logical}: {} -> {}{cause}", row(&record.before), row(&record.after))
        }
        PastRecord::Shape(shape) => {
            let columns = |object: &Option<std::sync::Arc<super::Object>>| match object.as_deref() {
                None => "none".to_owned(),
                Some(object) => match &object.body {
                    ObjectBody::Table(table) => {
                        let names = table.columns.iter().map(|column| column.name.to_string());
                        format!("({})", names.collect::<Vec<_>>().join(" "))
                    }
                    other => format!("{other:?}"),
                },
            };
            let rows = match &shape.rows {
                RowsKept::Kept(_) => "kept",
                RowsKept::Rewritten => "rewritten",
            };
            format!("{nanos}.{logical}: {} -> {}, rows {rows}", columns(&shape.before), columns(&shape.after))
        }
    }
}

#[test]
fn each_transaction_has_a_time_of_its_own_and_says_what_came_of_each_row() {
    let mut world = World::new();
    world.at(10, catalog(add_column("v", None)));
    world.change(20, &["INSERT INTO item VALUES (1, 'a'), (2, 'b')", "UPDATE item SET v = 'c' WHERE id = 1"]);
    // In one transaction: changed twice, made and gone, changed and changed back.
    world.transact(
        30,
        &[
            "UPDATE item SET v = 'd' WHERE id = 1",
            "INSERT INTO item VALUES (3, 'x')",
            "UPDATE item SET v = 'y' WHERE id = 2",
            "UPDATE item SET v = 'e' WHERE id = 1",
            "DELETE FROM item WHERE id = 3",
            "UPDATE item SET v = 'b' WHERE id = 2",
        ],
    );
    world.change(40, &["UPDATE item SET id = 9 WHERE id = 2"]);
    assert_eq!(
        world.told(0),
        [
            "2.0: none -> (id), rows rewritten",
            "10.0: (id) -> (id v), rows kept",
            "20.0: none -> 1 a",
            "20.0: none -> 2 b",
            "20.1: 1 a -> 1 c",
            "30.0: 1 c -> 1 e",
            "40.0: none -> 9 b",
            "40.0: 2 b -> none",
        ]
    );
}

#[test]
fn what_is_refused_leaves_no_history() {
    let mut world = World::new();
    let amy = world.amy();
    let base = world.core.last_data();
    let changesets = world.captures(&["INSERT INTO item VALUES (1)"]);
    let mut requirement = Requirement::default();
    requirement.privilege(world.table(), Privilege::Insert);
    let parts = vec![
        Part::Catalog(proposal(add_column("v", Some("'w'")))),
        Part::Rows { by: 0, changeset: changesets[0].clone(), ends: true },
    ];
    let by = vec![(Actor::of(amy), requirement)];
    let before = world.all_sums();
    let body = Body::Transaction(Transaction { number: 1, base, by, stages: 0, parts });
    let reply = world.apply(body).unwrap();
    assert_eq!(super::codes(&reply), ["42501"]);
    assert_eq!(world.all_sums(), before);
    assert_eq!(world.told(2), [] as [String; 0]);
}

#[test]
fn a_table_that_gets_another_shape_or_goes_says_what_becomes_of_its_rows() {
    let mut world = World::new();
    let table = world.table();
    world.change(10, &["INSERT INTO item VALUES (1), (2)"]);
    world.at(20, catalog(add_column("v", Some("'w'"))));
    world.at(30, catalog(rename_column("v", "w")));
    world.at(40, catalog(drop_table()));
    let all = world.past(|past| past.changes(&[table], Place::default(), Place::END, usize::MAX).unwrap());
    let all: Vec<_> = all.changes.iter().map(told).collect();
    assert_eq!(
        all[1..],
        [
            "10.0: none -> 1",
            "10.0: none -> 2",
            "20.0: 1 -> none reshaped",
            "20.0: 2 -> none reshaped",
            "20.0: (id) -> (id v), rows rewritten",
            "20.0: none -> 1 w reshaped",
            "20.0: none -> 2 w reshaped",
            "30.0: (id v) -> (id w), rows kept",
            "40.0: 1 w -> none dropped",
            "40.0: 2 w -> none dropped",
            "40.0: (id w) -> none, rows rewritten",
        ]
    );
    // It can still be asked what was in it.
    let mut found = Vec::new();
    world.past(|past| {
        past.rows_at(table, at(35), &mut |row| {
            found.push(row);
            Ok(())
        })
        .unwrap();
    });
    let text = |id| vec![Value::Integer(id), Value::Text("w".to_owned())];
    assert_eq!(found, [text(1), text(2)]);
    let gone = world.past(|past| past.rows_at(table, at(40), &mut |_| Ok(())));
    assert_eq!(gone, Err(PastError::NoTable(table)));
}

#[test]
fn history_is_collected_by_the_time_of_the_log_and_what_was_collected_is_refused() {
    let mut world = World::new();
    let table = world.table();
    world.at(SECOND, catalog(set(Setting::HistoryTtl, 10)));
    for second in 2..=20 {
        world.change(second * SECOND, &[&format!("INSERT INTO item VALUES ({second})")]);
    }
    // At 20 s what is older than 10 s is gone.
    let floor = world.past(|past| past.floor(table).unwrap());
    assert_eq!(floor, at(10 * SECOND));
    let asked = at(10 * SECOND - 1);
    assert_eq!(world.changes(asked, Place::END), Err(PastError::Collected { table, asked, floor }));
    assert_eq!(
        world.past(|past| past.rows_at(table, asked, &mut |_| Ok(()))).unwrap_err(),
        PastError::Collected { table, asked, floor }
    );
    assert_eq!(world.changes(floor, Place::END).unwrap().len(), 10);
    let future = world.past(|past| past.rows_at(table, at(21 * SECOND), &mut |_| Ok(())));
    assert_eq!(future, Err(PastError::Future { asked: at(21 * SECOND), resolved: at(20 * SECOND) }));
    // One that is gone for as long as its history has no trace left.
    world.at(21 * SECOND, catalog(drop_table()));
    world.at(40 * SECOND, catalog(super::create_role("late")));
    let left = world.core.store().next_history(Some(ObjectId(table.0 - 1))).unwrap();
    assert!(left.is_none_or(|(left, _)| left != table));
    assert_eq!(world.core.store().history_floors().unwrap(), []);
}

#[test]
fn what_is_protected_is_kept_until_it_is_released_and_others_are_not() {
    let mut world = World::new();
    let table = world.table();
    world.at(SECOND, catalog(set(Setting::HistoryTtl, 10)));
    world.at(2 * SECOND, catalog(protect(7, at(5 * SECOND), Some(vec![table]))));
    world.at(2 * SECOND + 1, catalog(protect(8, at(7 * SECOND), None)));
    for second in 3..=40 {
        world.change(second * SECOND, &[&format!("INSERT INTO item VALUES ({second})")]);
    }
    let floor = |world: &World| world.past(|past| past.floor(table).unwrap());
    assert_eq!(floor(&world), at(5 * SECOND));
    assert_eq!(world.changes(at(5 * SECOND), Place::END).unwrap().len(), 35);
    world.at(41 * SECOND, catalog(Command::ReleaseHistory { id: ProtectionId(7) }));
    assert_eq!(floor(&world), at(7 * SECOND));
    world.at(42 * SECOND, catalog(Command::ReleaseHistory { id: ProtectionId(8) }));
    assert_eq!(floor(&world), at(32 * SECOND));
}

#[test]
fn a_full_history_gives_up_the_oldest_and_what_is_protected_last() {
    let mut world = World::new();
    world.at(10, catalog(add_column("v", None)));
    world.at(20, catalog(set(Setting::HistoryBytesMax, 1 << 20)));
    let table = world.table();
    world.at(21, catalog(protect(7, at(100), Some(vec![table]))));
    let insert = |world: &mut World, time: u64| {
        world.change(time, &[&format!("INSERT INTO item VALUES ({time}, hex(zeroblob(50000)))")]);
    };
    insert(&mut world, 50);
    for time in 101..105 {
        insert(&mut world, time);
    }
    let floor = |world: &World| world.past(|past| past.floor(table).unwrap());
    assert_eq!(floor(&world), at(0), "there is room");
    for time in 105..120 {
        insert(&mut world, time);
    }
    // What was not protected went first; then the oldest of what was.
    assert!(floor(&world) > at(100), "{}", floor(&world));
    let bytes: usize = world.changes(floor(&world), Place::END).unwrap().len() * 100_000;
    assert!((500_000..=1 << 20).contains(&bytes), "{bytes}");
}

#[test]
fn each_entry_collects_a_bounded_part() {
    let mut world = World::new();
    let table = world.table();
    for time in 0..300 {
        world.change(SECOND + time, &[&format!("INSERT INTO item VALUES ({time})")]);
    }
    world.at(2 * SECOND, catalog(set(Setting::HistoryTtl, 1)));
    let floor = |world: &World| world.past(|past| past.floor(table).unwrap());
    let before = floor(&world);
    world.at(4 * SECOND, catalog(super::create_role("one")));
    let after = floor(&world);
    assert!(before < after && after < at(SECOND + 100), "{after}");
    for turn in 5..10 {
        world.at(turn * SECOND, catalog(super::create_role(&format!("r{turn}"))));
    }
    assert_eq!(floor(&world), at(SECOND + 299));
}

#[test]
fn a_large_commit_is_cut_and_a_reader_holds_a_part_of_it() {
    let mut world = World::new();
    world.at(10, catalog(add_column("v", None)));
    let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
        INSERT INTO item SELECT i, hex(zeroblob(100)) FROM n";
    world.transact(20, &[many, "UPDATE item SET v = v || 'x' WHERE id = 5"]);
    // One change that is larger than a row of the history may be.
    world.change(30, &["INSERT INTO item VALUES (0, hex(zeroblob(5000000)))"]);
    world.change(31, &["UPDATE item SET v = 'small' WHERE id = 0"]);
    let table = world.table();
    let (mut pages, mut found, mut from) = (0, Vec::new(), Place::after(at(10)));
    loop {
        let page = world.past(|past| past.changes(&[table], from, Place::END, 100_000).unwrap());
        pages += 1;
        found.extend(page.changes);
        let Some(next) = page.next else { break };
        from = next;
    }
    assert!(pages > 4, "{pages} pages");
    assert_eq!(found.len(), 2_002);
    assert_eq!(found, world.changes(at(10), Place::END).unwrap());
    let mut rows = 0;
    world.past(|past| {
        past.rows_at(table, at(30), &mut |row| {
            rows += 1;
            if row[0] == Value::Integer(0) {
                assert!(matches!(&row[1], Value::Text(text) if text.len() == 10_000_000));
            }
            Ok(())
        })
        .unwrap();
    });
    assert_eq!(rows, 2_001);
}

/// A table as it was: its columns, and its rows in the order of their text.
type Recorded = (Vec<String>, Vec<String>);

pub(super) fn sorted(mut rows: Vec<String>) -> Vec<String> {
    rows.sort();
    rows
}

impl World {
    pub(super) fn now(&mut self) -> Option<(ObjectId, Recorded)> {
        let state = self.core.view().state();
        let (table, object) = state.children(ObjectId::DEFAULT_PUBLIC_SCHEMA).next()?;
        let ObjectBody::Table(shape) = &object.body else { panic!("a table") };
        let columns = shape.columns.iter().map(|column| column.name.to_string()).collect();
        let mut rows = Vec::new();
        let file = self.core.store().history_file();
        file.scan(table, &mut |values| {
            rows.push(row(&Some(values)));
            Ok(true)
        })
        .unwrap();
        Some((table, (columns, sorted(rows))))
    }

    pub(super) fn random_step(&mut self, dice: &mut Dice, nanos: u64) {
        let Some((_, (columns, _))) = self.now() else {
            return self.at(nanos, catalog(create_table()));
        };
        let spare: Vec<&String> = columns.iter().skip(1).collect();
        let statement = |dice: &mut Dice| {
            let (id, value) = (dice.below(12), dice.below(1_000));
            let set = |column: &String| format!("\"{column}\" = 'v{value}'");
            match (dice.below(5), spare.first()) {
                (0, _) => format!("DELETE FROM item WHERE id = {id}"),
                (1, Some(column)) => format!("UPDATE item SET {} WHERE id >= {id}", set(column)),
                (2, _) => format!("UPDATE OR IGNORE item SET id = id + 20 WHERE id = {id}"),
                _ => format!("INSERT OR IGNORE INTO item (id) VALUES ({id}), ({id} + 3)"),
            }
        };
        match dice.below(12) {
            0 => self.at(nanos, catalog(add_column(&format!("c{nanos}"), None))),
            1 => self.at(nanos, catalog(add_column(&format!("c{nanos}"), Some("'filled'")))),
            2 if !spare.is_empty() => self.at(nanos, catalog(rename_column(spare[0], &format!("r{nanos}")))),
            3 if !spare.is_empty() => self.at(nanos, catalog(drop_column(spare[0]))),
            4 if dice.below(3) == 0 => self.at(nanos, catalog(drop_table())),
            5..8 => {
                let statements: Vec<String> = (0..=dice.below(4)).map(|_| statement(dice)).collect();
                self.transact(nanos, &statements.iter().map(String::as_str).collect::<Vec<_>>());
            }
            8 => {
                // Rows, another shape, and rows again, in one transaction.
                let base = self.core.last_data();
                let one = statement(dice);
                let mut changesets = self.captures(&[&one]);
                let mut parts = Vec::new();
                if !changesets[0].is_empty() {
                    parts.push(Part::Rows { by: 0, changeset: changesets.remove(0), ends: true });
                }
                parts.push(Part::Catalog(proposal(add_column(&format!("t{nanos}"), Some("'made'")))));
                self.transact_parts(nanos, base, parts);
            }
            _ => {
                let changeset = statement(dice);
                if !self.captures(&[&changeset])[0].is_empty() {
                    self.change(nanos, &[&changeset]);
                }
            }
        }
    }
}

/// Rows after some changes, by applying them; keyed by the whole row, since a table may get another key.
fn replay(mut rows: BTreeMap<String, u32>, changes: &[PastChange]) -> BTreeMap<String, u32> {
    for change in changes {
        match &change.what {
            PastRecord::Row(record) => {
                if record.before.is_some() {
                    let count = rows.get_mut(&row(&record.before)).expect("the row is there");
                    *count -= 1;
                }
                if record.after.is_some() {
                    *rows.entry(row(&record.after)).or_default() += 1;
                }
            }
            PastRecord::Shape(shape) => match &shape.rows {
                RowsKept::Rewritten => assert!(rows.values().all(|count| *count == 0), "{rows:?}"),
                RowsKept::Kept(kept) => {
                    let was = std::mem::take(&mut rows);
                    for (text, count) in was.into_iter().filter(|(_, count)| *count > 0) {
                        let values: Vec<&str> = text.split(' ').collect();
                        let place = |kept: &Option<u16>| kept.map_or("-", |at| values[usize::from(at)]);
                        let now = kept.iter().map(place).collect::<Vec<_>>().join(" ");
                        *rows.entry(now).or_default() += count;
                    }
                }
            },
        }
    }
    rows.retain(|_, count| *count > 0);
    rows
}

fn counted(rows: &[String]) -> BTreeMap<String, u32> {
    let mut counted = BTreeMap::new();
    for row in rows {
        *counted.entry(row.clone()).or_default() += 1;
    }
    counted
}

/// The rows of a table at a time, of pages of so many bytes, which are in the order of the key.
fn pages_at(past: &Past<'_>, table: ObjectId, time: Timestamp, bytes: usize) -> Vec<String> {
    let shape = past.object_at(table, time).unwrap().expect("it was there");
    let order = KeyOrder::of(&shape, &[]).expect("it is a table");
    let (mut found, mut after): (_, Option<Vec<Value>>) = (Vec::new(), None);
    let mut pages = RowsAt::new(table, time, None, bytes);
    loop {
        let page = past.next_page(&mut pages).unwrap();
        found.extend(page.rows.into_iter().map(|values| row(&Some(values))));
        let Some(next) = page.next else { return found };
        assert!(after.is_none_or(|after| order.compare(&after, &next).is_lt()), "the pages go on");
        after = Some(next);
    }
}

/// rows(T1) + changes(T1, T2] = rows(T2), and rows(T2) - changes(T1, T2] = rows(T1), for any two times.
#[test]
fn the_history_leads_from_each_time_to_each_later_one_and_back() {
    for seed in 1..=12_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut world = World::new();
        let mut recorded: BTreeMap<ObjectId, Vec<(Timestamp, Recorded)>> = BTreeMap::new();
        for step in 0..60 {
            world.random_step(&mut dice, 100 + step * 10);
            if let Some((table, now)) = world.now() {
                recorded.entry(table).or_default().push((world.core.last_time(), now));
            }
        }
        // What another node has that applied the same, in other batches and after a start, is the same.
        let sums = world.all_sums();
        world.core = load(world.directory.path());
        assert_eq!(world.all_sums(), sums);
        let file = world.directory.path().join("state.db");
        past_of(&file, |past| {
            for (table, moments) in &recorded {
                for (time, (columns, rows)) in moments {
                    let object = past.object_at(*table, *time).unwrap().expect("it was there");
                    let ObjectBody::Table(shape) = &object.body else { panic!("a table") };
                    let names: Vec<_> = shape.columns.iter().map(|column| column.name.to_string()).collect();
                    assert_eq!(&names, columns, "seed {seed}, {time}");
                    let mut found = Vec::new();
                    past.rows_at(*table, *time, &mut |values| {
                        found.push(row(&Some(values)));
                        Ok(())
                    })
                    .unwrap();
                    assert_eq!(&sorted(found), rows, "seed {seed}, {table} at {time}");
                    for bytes in [1, 500, 1 << 20] {
                        let paged = pages_at(past, *table, *time, bytes);
                        assert_eq!(&sorted(paged), rows, "seed {seed}, {table} at {time} in {bytes} bytes");
                    }
                }
                for (first, second) in [(0, moments.len() - 1), (moments.len() / 3, moments.len() / 2)] {
                    let ((from, (_, before)), (to, (_, after))) = (&moments[first], &moments[second]);
                    let mut changes = Vec::new();
                    let mut next = Some(Place::after(*from));
                    while let Some(place) = next {
                        // One row of the history in each page.
                        let page = past.changes(&[*table], place, *to, 1).unwrap();
                        changes.extend(page.changes);
                        next = page.next;
                    }
                    assert_eq!(
                        replay(counted(before), &changes),
                        counted(after),
                        "seed {seed}, {from} to {to}"
                    );
                }
            }
        });
    }
}

#[test]
fn a_file_of_an_earlier_layout_gets_a_history_that_begins_where_it_stands() {
    let mut world = World::new();
    let table = world.table();
    world.change(10, &["INSERT INTO item VALUES (1)"]);
    let file = world.directory.path().join("state.db");
    let World { directory, core, next } = world;
    drop(core);
    let sqlite = rusqlite::Connection::open(&file).unwrap();
    sqlite
        .execute_batch(
            "DROP TABLE grantd_history; DROP TABLE grantd_history_floor;
             DELETE FROM grantd_meta WHERE key = 'history'; PRAGMA user_version = 2",
        )
        .unwrap();
    drop(sqlite);
    let core = load(directory.path());
    let mut world = World { directory, core, next };
    world.change(20, &["INSERT INTO item VALUES (2)"]);
    assert_eq!(world.told(10), ["20.0: none -> 2"]);
    let asked = at(9);
    let floor = at(10);
    assert_eq!(world.changes(asked, Place::END), Err(PastError::Collected { table, asked, floor }));
    assert!(world.core.store().meta(MetaKey::History).unwrap().is_some());
    let version: i64 = rusqlite::Connection::open(&file)
        .unwrap()
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, 3);
}

#[test]
fn a_snapshot_brings_the_history_along() {
    let mut world = World::new();
    world.change(10, &["INSERT INTO item VALUES (1)", "INSERT INTO item VALUES (2)"]);
    let told = world.told(0);
    let file = world.copied();
    let mut other = World::new();
    other.core.install(&file).unwrap();
    other.next = world.next;
    assert_eq!(other.told(0), told);
    other.change(20, &["INSERT INTO item VALUES (3)"]);
    world.change(20, &["INSERT INTO item VALUES (3)"]);
    assert_eq!(other.told(0), world.told(0));
    assert_eq!(other.all_sums(), world.all_sums());
}

#[test]
fn the_bytes_of_the_history_never_change() {
    let mut world = World::new();
    world.at(10, catalog(add_column("v", None)));
    world.change(20, &["INSERT INTO item VALUES (1, 'a')", "UPDATE item SET v = NULL", "DELETE FROM item"]);
    let sqlite = rusqlite::Connection::open(world.directory.path().join("state.db")).unwrap();
    let mut read = sqlite
        .prepare("SELECT nanos, logical, number, content, bytes FROM grantd_history ORDER BY 1, 2, 3")
        .unwrap();
    let rows = read.query_map([], |row| {
        let place: (i64, i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok((place, row.get::<_, Vec<u8>>(4)?))
    });
    let rows: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
    let body = |at: usize| {
        let (place, bytes) = &rows[at];
        let (format, body) = codec::open(Kind::History, bytes).unwrap();
        assert_eq!(format, 1);
        (*place, body.to_vec())
    };
    // Inserted, because it changed: 1 (as bincode writes a signed integer) and a text of one byte.
    assert_eq!(body(2), ((20, 0, 0, 0), vec![0, 0, 2, 1, 2, 3, 1, b'a']));
    // Updated: the row before; of the row after only the second column, which is NULL.
    assert_eq!(body(3), ((20, 1, 0, 0), vec![2, 2, 1, 2, 3, 1, b'a', 2, 0, 1, 0]));
    // Deleted, because it changed.
    assert_eq!(body(4), ((20, 2, 0, 0), vec![1, 0, 2, 1, 2, 0]));
    // A shape: before, after, rows kept, the new column is none of those before.
    let (place, shape) = body(1);
    assert_eq!((place, &shape[shape.len() - 5..]), ((10, 0, 0, 2), &[0, 2, 1, 0, 0][..]));
}
