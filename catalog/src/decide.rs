//! The one function that answers "may u do k on o?".
//!
//! The predicate itself is in [`crate::index`], so that commands that are being applied, and readers of a view, ask
//! the same code. Why it says so is worked out a second time, from the records: `catalog/src/decide/explain.rs`.

mod explain;

pub use explain::{Explanation, Missing, Reason, explain, explain_grant_option};

use crate::id::{ObjectId, PrincipalId};
use crate::index::Question;
use crate::privilege::{Privilege, PrivilegeSet};
use crate::refusal::Refusal;
use crate::require::Requirement;
use crate::view::View;

/// An answer with its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Every need holds.
    Allow,
    /// The first need that does not hold, in the client's words.
    Deny(Refusal),
}

/// Decides whether `principal` holds everything that an act needs.
///
/// Order: needs are checked as listed. Cost: see [`holds`]; texts are made only for a denial.
pub fn decide(view: &View, principal: PrincipalId, requirement: &Requirement) -> Decision {
    let denied = requirement.needs.iter().find_map(|need| view.state().check(principal, need).err());
    denied.map_or(Decision::Allow, Decision::Deny)
}

/// Whether `principal` holds `privilege` on `object`: the predicate of the authorization spec's A.4.
pub fn holds(view: &View, principal: PrincipalId, object: ObjectId, privilege: Privilege) -> bool {
    view.index().holds(principal, object, privilege)
}

/// The answers of [`holds`] to each question, appended in their order and decided on this one view. Cost: less for each than
/// alone, because they do not wait for memory one after the other.
pub fn holds_each(view: &View, questions: &[Question], answers: &mut Vec<bool>) {
    view.index().holds_each(questions, answers);
}

/// Whether `principal` may grant `privilege` on `object` (E.4).
pub fn holds_grant_option(
    view: &View,
    principal: PrincipalId,
    object: ObjectId,
    privilege: Privilege,
) -> bool {
    view.index().holds_grant_options(principal, object, PrivilegeSet::of(privilege))
}

/// Whether `principal` may grant all of `listed` on `object` in one statement: one role must have the option for the
/// whole list (T-28).
pub fn holds_grant_options(
    view: &View,
    principal: PrincipalId,
    object: ObjectId,
    listed: PrivilegeSet,
) -> bool {
    view.index().holds_grant_options(principal, object, listed)
}

/// Whether `principal` holds anything on `object`, or owns it.
pub fn holds_any(view: &View, principal: PrincipalId, object: ObjectId) -> bool {
    view.index().holds_any(principal, object)
}
