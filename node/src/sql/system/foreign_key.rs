//! Which foreign keys refer to a table.

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::{Body, ForeignKey};
use grantd_catalog::state::State;

/// The foreign keys that refer to a table, with the table that each is of.
pub fn referring(state: &State, target: ObjectId) -> impl Iterator<Item = (ObjectId, &ForeignKey)> {
    // A table that refers to itself is not among those that refer to it.
    let others = state.referrers(target).map(|(id, _)| id).filter(move |id| *id != target);
    others.chain([target]).flat_map(move |id| {
        let keys = match state.object(id).map(|object| &object.body) {
            Some(Body::Table(table)) => table.foreign_keys.as_slice(),
            _ => &[],
        };
        keys.iter().filter(move |key| key.target == target).map(move |key| (id, key))
    })
}
