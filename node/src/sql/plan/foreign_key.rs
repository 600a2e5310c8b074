//! What SQLite touches to keep foreign keys: nobody needs a privilege for it, as in CockroachDB (authorization spec, A.5.1:
//! a change needs what it names). It is part of the second check, which would otherwise refuse it.

use std::collections::{BTreeMap, BTreeSet};

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::{Body, ForeignKey, ReferentialAction, Table};
use grantd_catalog::state::State;

use super::Usage;
use crate::sql::system::foreign_key::referring;

/// What foreign keys make SQLite do with one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The columns that are compared.
    pub reads: BTreeSet<String>,
    /// The columns that follow a key, or lose it.
    pub updates: BTreeSet<String>,
    /// Whether rows go with a key.
    pub deletes: bool,
}

/// What happens to the rows of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// They come, or get other values.
    Written,
    /// They get other values.
    Updated,
    /// They go.
    Deleted,
}

/// What foreign keys make of a statement that uses tables so.
pub(super) fn kept(state: &State, tables: &BTreeMap<ObjectId, Usage>) -> BTreeMap<ObjectId, Kept> {
    let mut ahead = Vec::new();
    for (id, usage) in tables {
        let Usage { reads: _, inserts, updates, deletes, truncates } = *usage;
        ahead.extend((inserts || updates).then_some((*id, Event::Written)));
        ahead.extend(updates.then_some((*id, Event::Updated)));
        ahead.extend((deletes || truncates).then_some((*id, Event::Deleted)));
    }
    let mut kept: BTreeMap<ObjectId, Kept> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    while let Some((id, event)) = ahead.pop() {
        if !seen.insert((id, event)) {
            continue;
        }
        let Some(table) = table(state, id) else { continue };
        // Also of a row that goes: one that had no key to refer to would be a violation less.
        if matches!(event, Event::Written | Event::Deleted) {
            for key in &table.foreign_keys {
                kept.entry(key.target).or_default().reads.extend(target_names(state, key));
            }
        }
        for (child, key) in referring(state, id) {
            kept.entry(id).or_default().reads.extend(target_names(state, key));
            let own = kept.entry(child).or_default();
            own.reads.extend(names(state, child, &key.columns));
            let action = match event {
                Event::Written => ReferentialAction::NoAction,
                Event::Updated => key.on_update,
                Event::Deleted => key.on_delete,
            };
            match action {
                ReferentialAction::NoAction | ReferentialAction::Restrict => {}
                ReferentialAction::Cascade if event == Event::Deleted => {
                    own.deletes = true;
                    ahead.push((child, Event::Deleted));
                }
                ReferentialAction::Cascade | ReferentialAction::SetNull | ReferentialAction::SetDefault => {
                    own.updates.extend(names(state, child, &key.columns));
                    ahead.extend([(child, Event::Written), (child, Event::Updated)]);
                }
            }
        }
    }
    kept
}

fn table(state: &State, id: ObjectId) -> Option<&Table> {
    match &state.object(id)?.body {
        Body::Table(table) => Some(table),
        _ => None,
    }
}

fn names(state: &State, id: ObjectId, positions: &[u16]) -> Vec<String> {
    let columns = table(state, id).map_or(&[][..], |table| table.columns.as_slice());
    let name = |at: &u16| Some(columns.get(usize::from(*at))?.name.to_string());
    positions.iter().filter_map(name).collect()
}

fn target_names(state: &State, key: &ForeignKey) -> Vec<String> {
    names(state, key.target, &key.target_columns)
}
