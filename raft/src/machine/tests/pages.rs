//! Pages: of the rows that a table had at a time, read while it changes, and of what happened to several tables.

use super::history::{Dice, name, past_of, row, sorted};
use super::{Command, ObjectId, World, catalog, create_table};
use crate::rows::{Counted, Place, RowsAt};

/// Whoever reads a table page by page while it changes has the rows of one time: whatever became of them, or of the table, between
/// two pages, and however little of it is kept.
#[test]
fn pages_are_of_one_time_though_the_table_changes_between_them() {
    let mut changed_between = 0;
    for seed in 1..=100_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut world = World::new();
        let file = world.directory.path().join("state.db");
        for step in 0..30 {
            world.random_step(&mut dice, 100 + step * 10);
        }
        let Some((table, (_, rows))) = world.now() else { continue };
        let (time, mut nanos) = (world.core.last_time(), 1_000);
        let mut readers: Vec<_> = [1, 150, 600, 1 << 20]
            .into_iter()
            .map(|bytes| (RowsAt::new(table, time, None, bytes), Vec::new(), false))
            .collect();
        while readers.iter().any(|(_, _, over)| !over) {
            for (pages, found, over) in readers.iter_mut().filter(|(_, _, over)| !over) {
                // Some read now, some later.
                if dice.below(3) > 0 {
                    let page = past_of(&file, |past| past.next_page(pages)).unwrap();
                    found.extend(page.rows.into_iter().map(|values| row(&Some(values))));
                    *over = page.next.is_none();
                }
            }
            // Later each time reads only, or a table that is made again and again would never be read to its end.
            if nanos < 1_400 {
                world.random_step(&mut dice, nanos);
                nanos += 10;
                changed_between += 1;
            }
        }
        for (pages, found, _) in readers {
            assert_eq!(sorted(found), rows, "seed {seed}, {pages:?}");
        }
        let is_told = past_of(&file, |past| past.not_empty_at(&[table], time)).unwrap() == [table];
        assert!(is_told || rows.is_empty(), "seed {seed}: there were rows");
    }
    assert!(changed_between > 1_000, "{changed_between}");
}

#[test]
fn tables_without_rows_are_told_from_those_that_had_some() {
    let mut world = World::new();
    let table = world.table();
    let file = world.directory.path().join("state.db");
    let told = |time| past_of(&file, |past| past.not_empty_at(&[table], time)).unwrap();
    let changed = |after, up_to| past_of(&file, |past| past.changed_within(&[table], after, up_to)).unwrap();
    let empty = world.core.last_time();
    assert_eq!(told(empty), []);
    world.change(10, &["INSERT INTO item VALUES (1)"]);
    let one = world.core.last_time();
    assert_eq!((told(empty), told(one)), (vec![table], vec![table]), "the first by what came since");
    world.change(20, &["DELETE FROM item"]);
    let gone = world.core.last_time();
    assert_eq!((told(one), told(gone)), (vec![table], vec![]));
    assert_eq!((changed(empty, empty), changed(empty, one)), (vec![], vec![table]));
    assert_eq!((changed(one, gone), changed(gone, gone)), (vec![table], vec![]));
}

#[test]
fn rows_of_tables_are_counted_piece_by_piece() {
    let mut world = World::new();
    let (first, none) = (world.table(), ObjectId(9_999));
    world.change(10, &["INSERT INTO item VALUES (1), (2), (3), (4), (5)"]);
    let second = world.other(20);
    let file = world.directory.path().join("state.db");
    for most in [1, 2, 3, 5, 6, 1_000] {
        let (mut found, mut pieces, mut from) = (0, 0, Some(Counted::default()));
        while let Some(at) = from {
            let tables = [second, first, none, first];
            let (rows, next) = past_of(&file, |past| past.count_from(&tables, at, most)).unwrap();
            assert!(rows <= most);
            (found, pieces, from) = (found + rows, pieces + 1, next);
        }
        assert_eq!(found, 10, "by {most}");
        assert!(pieces >= 10 / most, "{pieces} pieces of {most}");
    }
}

#[test]
fn pages_of_several_tables_are_in_the_order_of_commits() {
    let mut world = World::new();
    let first = world.table();
    world.change(10, &["INSERT INTO item VALUES (1)"]);
    let second = world.other(20);
    world.change(30, &["INSERT INTO item VALUES (2)"]);
    let page =
        world.past(|past| past.changes(&[second, first], Place::default(), Place::END, usize::MAX).unwrap());
    let order: Vec<_> = page.changes.iter().map(|change| (change.table, change.place.time.nanos)).collect();
    assert_eq!(order, [(first, 2), (first, 10), (second, 20), (first, 30)]);
    assert!(page.changes.is_sorted_by_key(|change| change.place));
}

impl World {
    /// A second table, without rows.
    fn other(&mut self, nanos: u64) -> ObjectId {
        let mut other = create_table();
        if let Command::CreateTable { name: of, .. } = &mut other {
            of.parts = vec![name("other")];
        }
        self.at(nanos, catalog(other));
        super::transaction::newest(self.core.view())
    }
}
