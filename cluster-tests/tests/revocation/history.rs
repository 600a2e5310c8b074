//! What clients did and saw, on one clock, and what of it breaks the promise. Pure: records in, faults out.
//!
//! The promise: what was asked after a change that takes rights away had returned is not answered by a right that it took.
//! An outcome that is unknown takes part as what it may be: a REVOKE that may have been done promises nothing, a GRANT that
//! may have been done excuses for ever.

use std::time::Duration;

/// Which way a right goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Somebody may do more.
    Loosen,
    /// Somebody may do less.
    Tighten,
}

/// What the client was told of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is done.
    Done,
    /// It was not done, and never will be.
    Refused,
    /// It is done, will be done, or never.
    Unknown,
}

/// One change of one right.
#[derive(Clone, Debug)]
pub struct Change {
    pub turn: Turn,
    pub invoked: Duration,
    pub returned: Duration,
    pub told: Told,
}

/// What somebody was answered who asked for a right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It is held.
    Yes,
    /// It is not.
    No,
    /// The node cannot say: the SQLSTATE, or what the client noticed.
    Refused(String),
}

/// One question, where it was asked, and its answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub seat: usize,
    /// Through what.
    pub way: &'static str,
    pub begun: Duration,
    pub ended: Duration,
    pub reply: Reply,
}

/// The answers that no right allowed any more when they were asked for. `changes` are of one right.
pub fn broken<'a>(changes: &[Change], answers: &'a [Answer]) -> Vec<&'a Answer> {
    let is_broken = |answer: &&Answer| {
        let took = changes.iter().filter(|change| {
            change.turn == Turn::Tighten && change.told == Told::Done && change.returned <= answer.begun
        });
        let Some(took) = took.max_by_key(|change| change.invoked) else { return false };
        answer.reply == Reply::Yes && !changes.iter().any(|change| gave_back(change, took, answer))
    };
    answers.iter().filter(is_broken).collect()
}

/// Whether this change may be why there is a right again, or still: it may have taken effect after `took` did and before
/// the answer.
fn gave_back(change: &Change, took: &Change, answer: &Answer) -> bool {
    let after = match change.told {
        Told::Done => change.returned > took.invoked,
        Told::Unknown => true,
        Told::Refused => false,
    };
    change.turn == Turn::Loosen && after && change.invoked < answer.ended
}

fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn change(turn: Turn, told: Told, invoked: u64, returned: u64) -> Change {
    Change { turn, invoked: at(invoked), returned: at(returned), told }
}

fn verdict(changes: &[Change], begun: u64, ended: u64, reply: Reply) -> bool {
    let answer = Answer { seat: 0, way: "planted", begun: at(begun), ended: at(ended), reply };
    !broken(changes, &[answer]).is_empty()
}

/// A right that is given at 0 to 10, taken at 20 to 30, given at 50 to 60, taken at 70 to 80.
fn to_and_fro() -> Vec<Change> {
    vec![
        change(Turn::Loosen, Told::Done, 0, 10),
        change(Turn::Tighten, Told::Done, 20, 30),
        change(Turn::Loosen, Told::Done, 50, 60),
        change(Turn::Tighten, Told::Done, 70, 80),
    ]
}

#[test]
fn a_yes_that_was_asked_for_after_the_revoke_returned_is_caught() {
    for (begun, ended) in [(30, 31), (40, 45), (80, 90), (200, 201)] {
        assert!(verdict(&to_and_fro(), begun, ended, Reply::Yes), "{begun} to {ended}");
    }
}

#[test]
fn what_a_right_may_have_allowed_is_no_fault() {
    // Asked before the REVOKE returned; answered after the next GRANT began; asked between GRANT and REVOKE.
    for (begun, ended) in [(12, 14), (15, 40), (29, 49), (40, 51), (55, 56), (62, 69), (79, 200)] {
        assert!(!verdict(&to_and_fro(), begun, ended, Reply::Yes), "{begun} to {ended}");
    }
    for reply in [Reply::No, Reply::Refused("57P03".to_owned())] {
        assert!(!verdict(&to_and_fro(), 40, 45, reply));
    }
}

#[test]
fn a_revoke_of_unknown_outcome_promises_nothing_until_it_is_repeated() {
    for told in [Told::Unknown, Told::Refused] {
        let mut changes = vec![change(Turn::Loosen, Told::Done, 0, 10), change(Turn::Tighten, told, 20, 30)];
        assert!(!verdict(&changes, 40, 45, Reply::Yes), "{told:?}");
        changes.push(change(Turn::Tighten, Told::Done, 50, 60));
        assert!(!verdict(&changes, 55, 65, Reply::Yes), "{told:?}");
        assert!(verdict(&changes, 60, 65, Reply::Yes), "{told:?}");
    }
}

#[test]
fn a_revoke_of_unknown_outcome_does_not_hide_the_one_before() {
    let mut changes = to_and_fro();
    changes.push(change(Turn::Tighten, Told::Unknown, 90, 100));
    assert!(verdict(&changes, 95, 96, Reply::Yes));
}

#[test]
fn a_grant_of_unknown_outcome_excuses_and_a_refused_one_does_not() {
    for (told, caught) in [(Told::Unknown, false), (Told::Refused, true), (Told::Done, true)] {
        let changes = vec![
            change(Turn::Loosen, Told::Done, 0, 10),
            change(Turn::Loosen, told, 12, 15),
            change(Turn::Tighten, Told::Done, 20, 30),
        ];
        assert_eq!(verdict(&changes, 40, 45, Reply::Yes), caught, "{told:?}");
    }
}

#[test]
fn a_grant_beside_the_revoke_excuses() {
    let changes = vec![change(Turn::Loosen, Told::Done, 15, 25), change(Turn::Tighten, Told::Done, 20, 30)];
    assert!(!verdict(&changes, 40, 45, Reply::Yes));
    // Invoked before the answer ended is enough, invoked after is not.
    let mut changes = to_and_fro();
    changes.push(change(Turn::Loosen, Told::Unknown, 100, 400));
    assert!(!verdict(&changes, 95, 101, Reply::Yes));
    assert!(verdict(&changes, 90, 100, Reply::Yes));
}
