//! nextval(), setval(), currval(), lastval(): what a statement does to sequences.
//!
//! The rows of the sequences that a statement may move are read before it runs, moved here while it runs, and written
//! when it is done, all in the transaction that is captured: a value reaches a client only when the cluster has agreed
//! on the row that says it is taken. What a session remembers of its own values travels with its statement.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::Sequence;

use crate::error::{SqlError, state};
use crate::session::SequenceValues;

/// The most sequences whose last values a session remembers.
pub const REMEMBERED_MAX: usize = 1_000;

/// Sequences while a statement runs.
#[derive(Debug, Default)]
pub struct Sequences(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    positions: BTreeMap<ObjectId, Position>,
    session: SequenceValues,
}

/// The row of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The last value, or the next one where none was taken yet.
    pub last: i64,
    /// Whether `last` was taken.
    pub is_called: bool,
    /// Whether it differs from what is in the row.
    pub is_changed: bool,
}

impl Sequences {
    /// With what the session remembers.
    pub fn of(session: SequenceValues) -> Self {
        Self(Mutex::new(Inner { positions: BTreeMap::new(), session }))
    }

    /// Makes the row of a sequence known, before the statement runs.
    pub fn load(&self, id: ObjectId, position: Position) {
        self.lock().positions.insert(id, position);
    }

    /// nextval(): the value that it is. 2200H at the end.
    pub fn next(&self, id: ObjectId, name: &Name, sequence: &Sequence) -> Result<i64, SqlError> {
        let mut inner = self.lock();
        let position = inner.position(id)?;
        let value = next(sequence, *position).ok_or_else(|| exhausted(name, sequence))?;
        *position = Position { last: value, is_called: true, is_changed: true };
        inner.remember(id, value)?;
        inner.session.latest = Some(id);
        Ok(value)
    }

    /// setval(): moves the sequence to `value`, which is taken or the next one. 22003 beyond the bounds.
    pub fn set(
        &self,
        id: ObjectId,
        (name, sequence): (&Name, &Sequence),
        value: i64,
        is_called: bool,
    ) -> Result<i64, SqlError> {
        let (min, max) = (sequence.min, sequence.max);
        if !(min..=max).contains(&value) {
            return Err(SqlError::new(
                state::NUMERIC_VALUE_OUT_OF_RANGE,
                format!("value {value} is out of bounds for sequence \"{name}\" ({min}..{max})"),
            ));
        }
        let mut inner = self.lock();
        *inner.position(id)? = Position { last: value, is_called, is_changed: true };
        if is_called {
            inner.remember(id, value)?;
        }
        Ok(value)
    }

    /// currval(): 55000 before the session took a value.
    pub fn current(&self, id: ObjectId, name: &Name) -> Result<i64, SqlError> {
        let value = self.lock().session.values.get(&id).copied();
        value.ok_or_else(|| {
            not_yet(format!("currval of sequence \"{name}\" is not yet defined in this session"))
        })
    }

    /// lastval(): the same of any sequence.
    pub fn latest(&self) -> Result<i64, SqlError> {
        let inner = self.lock();
        let value = inner.session.latest.and_then(|id| inner.session.values.get(&id).copied());
        value.ok_or_else(|| not_yet("lastval is not yet defined in this session".to_owned()))
    }

    /// What must be written when the statement has run.
    pub fn changed(&self) -> Vec<(ObjectId, Position)> {
        let inner = self.lock();
        inner.positions.iter().filter(|(_, at)| at.is_changed).map(|(id, at)| (*id, *at)).collect()
    }

    /// What the session remembers from now on.
    pub fn session(&self) -> SequenceValues {
        self.lock().session.clone()
    }

    /// A panic elsewhere does not make it wrong: the statement that met it is not run to its end.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn position(&mut self, id: ObjectId) -> Result<&mut Position, SqlError> {
        self.positions
            .get_mut(&id)
            .ok_or_else(|| SqlError::internal("a sequence was moved that the plan does not name"))
    }

    fn remember(&mut self, id: ObjectId, value: i64) -> Result<(), SqlError> {
        let values = &mut self.session.values;
        if values.len() >= REMEMBERED_MAX && !values.contains_key(&id) {
            return Err(SqlError::too_large(format!("a session uses at most {REMEMBERED_MAX} sequences")));
        }
        values.insert(id, value);
        Ok(())
    }
}

/// The value after a position; none: there is none within the bounds.
fn next(sequence: &Sequence, position: Position) -> Option<i64> {
    let value = match position.is_called {
        true => position.last.checked_add(sequence.increment)?,
        false => position.last,
    };
    (sequence.min..=sequence.max).contains(&value).then_some(value)
}

/// 2200H.
fn exhausted(name: &Name, sequence: &Sequence) -> SqlError {
    let (word, bound) =
        if sequence.increment > 0 { ("maximum", sequence.max) } else { ("minimum", sequence.min) };
    SqlError::new(
        state::SEQUENCE_LIMIT_EXCEEDED,
        format!("reached {word} value of sequence \"{name}\" ({bound})"),
    )
}

/// 55000.
fn not_yet(message: String) -> SqlError {
    SqlError::new(state::OBJECT_NOT_IN_PREREQUISITE_STATE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_within_the_bounds_in_both_directions_and_end_without_overflow() {
        let up = Sequence { start: 1, increment: 3, min: 1, max: 5, owned_by: None };
        let at = |last, is_called| Position { last, is_called, is_changed: false };
        assert_eq!(next(&up, at(1, false)), Some(1));
        assert_eq!(next(&up, at(1, true)), Some(4));
        assert_eq!(next(&up, at(4, true)), None);
        assert_eq!(next(&up, at(9, false)), None);
        let down = Sequence { increment: i64::MIN, min: i64::MIN, max: -1, ..up };
        assert_eq!(next(&down, at(-1, true)), None);
        assert_eq!(next(&down, at(-1, false)), Some(-1));
    }

    #[test]
    fn a_session_remembers_a_bounded_number_of_sequences() {
        let mut inner = Inner::default();
        let count = u32::try_from(REMEMBERED_MAX).unwrap_or(u32::MAX);
        assert!((0..count).all(|id| inner.remember(ObjectId(id), 1).is_ok()));
        assert!(inner.remember(ObjectId(7), 2).is_ok());
        let refused = inner.remember(ObjectId(count), 1).map_err(|error| error.body.code.as_str().to_owned());
        assert_eq!(refused, Err("54000".to_owned()));
    }
}
