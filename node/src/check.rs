//! Checks from outside: "may this one do that?", asked by services over HTTP, a Unix socket, SQL and the command line.
//!
//! A question comes in names ([`question::Question`]) and is resolved, on the view that it is decided on, into a
//! [`Check`] of ids, which costs nanoseconds to decide. Whoever asks often keeps the ids: they are never used again, so a
//! check of what is gone says no. Answers are decided as fresh as the client asks for ([`Freshness`]); none of them lacks
//! what was taken away and reported before it was asked.

pub mod authzen;
pub mod question;
pub mod rate;
pub mod protocol;
pub mod socket;
pub mod client;
#[cfg(test)]
mod tests;

use grantd_catalog::decide::{holds, holds_grant_option};
use grantd_catalog::id::{ObjectId, PrincipalId, Version};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::refusal::Refusal;
use grantd_catalog::state::Activity;
use grantd_catalog::view::View;

use crate::gate::{Freshness, Gate};

/// One question, in ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Whether `subject` holds `privilege` on `object`.
    Holds {
        /// Who.
        subject: PrincipalId,
        /// What it would do.
        privilege: Privilege,
        /// On what.
        object: ObjectId,
    },
    /// Whether `subject` may grant `privilege` on `object` to others.
    HoldsGrantOption {
        /// Who.
        subject: PrincipalId,
        /// What it would grant.
        privilege: Privilege,
        /// On what.
        object: ObjectId,
    },
    /// Whether `subject` belongs to `role`, directly or not; an administrator belongs to all.
    Member {
        /// Who.
        subject: PrincipalId,
        /// The role.
        role: PrincipalId,
    },
    /// Whether `subject` may give `role` to others.
    AdminOption {
        /// Who.
        subject: PrincipalId,
        /// The role.
        role: PrincipalId,
    },
}

/// An answer, and the version that it was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered<T> {
    /// The newest change of the catalog that was taken into account.
    pub version: Version,
    /// What was decided.
    pub answer: T,
}

impl Check {
    /// Whom it is about.
    pub const fn subject(&self) -> PrincipalId {
        match *self {
            Self::Holds { subject, .. }
            | Self::HoldsGrantOption { subject, .. }
            | Self::Member { subject, .. }
            | Self::AdminOption { subject, .. } => subject,
        }
    }

    /// Decides it on `view`. What is gone, or never was, is held by nobody.
    pub fn decide(&self, view: &View) -> bool {
        match *self {
            Self::Holds { subject, privilege, object } => holds(view, subject, object, privilege),
            Self::HoldsGrantOption { subject, privilege, object } => {
                holds_grant_option(view, subject, object, privilege)
            }
            Self::Member { subject, role } => {
                view.state().principal(role).is_some()
                    && (view.is_admin(subject) || view.acts_as(subject, role))
            }
            Self::AdminOption { subject, role } => {
                view.state().principal(role).is_some()
                    && (view.is_admin(subject) || view.admin_option(subject, role))
            }
        }
    }
}

/// That `asker` may ask about `subject`: about itself and the roles that it belongs to it may; about others whoever sees
/// their activity.
///
/// Errors: 42501.
pub fn may_ask(view: &View, asker: PrincipalId, subject: PrincipalId) -> Result<(), Refusal> {
    view.state().may_ask_about(asker, subject)
}

/// Whether `asker` may ask about everybody: one question instead of one for each subject of a batch.
pub fn may_ask_about_all(view: &View, asker: PrincipalId) -> bool {
    view.state().activity_visibility(asker) != Activity::Own
}

/// Decides for `asker` all of `checks` on one view.
///
/// Errors: 42501, naming nothing of the subject; 57P03 where nobody can say what is newest.
pub async fn decide_all(
    gate: &Gate,
    freshness: Freshness,
    asker: PrincipalId,
    checks: &[Check],
) -> Result<Answered<Vec<bool>>, Refusal> {
    let decided = gate.decide(freshness, |view| {
        let all = may_ask_about_all(view, asker);
        let answers = checks.iter().map(|check| {
            if !all {
                may_ask(view, asker, check.subject())?;
            }
            Ok(check.decide(view))
        });
        Ok(Answered { version: view.version(), answer: answers.collect::<Result<_, _>>()? })
    });
    decided.await?
}
