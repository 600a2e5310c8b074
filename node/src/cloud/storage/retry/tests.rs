//! Every class of failure, and that nothing is tried for ever.

use std::sync::Arc;

use super::*;
use crate::cloud::broker::Trouble;

fn answered(status: u16, code: &str) -> Notes {
    let answer = Answer { status, code: code.to_owned(), ..Answer::default() };
    Notes { answer: Some(answer), ..Notes::default() }
}

fn next(notes: &Notes, operation: Operation) -> Next {
    Retries::new(Patience::Statement).next(notes, operation, Some("us-east-1"), false)
}

fn troubled(class: Class) -> Notes {
    let trouble = Trouble {
        hop: 1,
        hops: 3,
        from: "a".to_owned(),
        to: "b".to_owned(),
        class,
        code: None,
        message: "no".to_owned(),
    };
    Notes { no_lease: Some(WaitError::Trouble(Arc::new(trouble))), ..Notes::default() }
}

/// Case 76.
#[test]
fn rejected_credentials_are_followed_by_one_request_with_newer_ones() {
    for (status, code) in
        [(400, "ExpiredToken"), (400, "InvalidToken"), (403, "InvalidAccessKeyId"), (401, "")]
    {
        let mut retries = Retries::new(Patience::Job);
        let notes = answered(status, code);
        assert_eq!(retries.next(&notes, Operation::Put, None, false), Next::Reissue, "{code}");
        assert_eq!(retries.next(&notes, Operation::Put, None, false), Next::Stop(Kind::Rejected), "{code}");
    }
}

#[test]
fn a_lease_that_ended_on_its_way_is_no_rejected_one() {
    let mut retries = Retries::new(Patience::Job);
    let notes = answered(400, "ExpiredToken");
    assert_eq!(
        retries.next(&notes, Operation::Part, None, true),
        Next::Again(Duration::ZERO, Kind::Rejected)
    );
    assert_eq!(retries.next(&notes, Operation::Part, None, false), Next::Reissue);
}

/// Case 77.
#[test]
fn who_may_not_do_it_is_told_at_once() {
    for operation in [Operation::Put, Operation::Get, Operation::List, Operation::Part] {
        assert_eq!(next(&answered(403, "AccessDenied"), operation), Next::Stop(Kind::Denied));
    }
}

#[test]
fn each_answer_has_its_meaning() {
    use Operation::{Complete, Get, Put, PutAbsent};
    let table = [
        (404, "NoSuchKey", Get, Next::Stop(Kind::NotFound)),
        (412, "PreconditionFailed", PutAbsent, Next::Stop(Kind::AlreadyExists)),
        (409, "ConditionalRequestConflict", PutAbsent, Next::Again(FIRST_PAUSE, Kind::Unavailable)),
        (412, "PreconditionFailed", Get, Next::Stop(Kind::Changed)),
        (416, "InvalidRange", Get, Next::Stop(Kind::Invalid)),
        (503, "SlowDown", Put, Next::Again(SLOW_DOWN_PAUSE, Kind::SlowDown)),
        (429, "", Put, Next::Again(SLOW_DOWN_PAUSE, Kind::SlowDown)),
        (500, "InternalError", Put, Next::Again(FIRST_PAUSE, Kind::Unavailable)),
        (200, "", Complete, Next::Again(FIRST_PAUSE, Kind::Refused)),
        (400, "EntityTooSmall", Complete, Next::Stop(Kind::Refused)),
    ];
    for (status, code, operation, expected) in table {
        assert_eq!(next(&answered(status, code), operation), expected, "{status} {code}");
    }
    assert_eq!(next(&Notes::default(), Put), Next::Again(FIRST_PAUSE, Kind::Unavailable));
}

#[test]
fn a_service_that_says_how_long_is_asked_then() {
    let mut notes = answered(503, "SlowDown");
    let mut wait = |seconds| {
        if let Some(answer) = &mut notes.answer {
            answer.retry_after = Some(Duration::from_secs(seconds));
        }
        next(&notes, Operation::Put)
    };
    assert_eq!(wait(7), Next::After(Duration::from_secs(7), Kind::SlowDown));
    assert_eq!(wait(86_400), Next::After(RETRY_AFTER_MAX, Kind::SlowDown));
}

#[test]
fn a_wrong_clock_is_said_after_the_second_time() {
    let mut retries = Retries::new(Patience::Job);
    let notes = answered(403, "RequestTimeTooSkewed");
    assert_eq!(retries.next(&notes, Operation::Put, None, false), Next::Again(FIRST_PAUSE, Kind::ClockSkew));
    assert_eq!(retries.next(&notes, Operation::Put, None, false), Next::Stop(Kind::ClockSkew));
}

#[test]
fn a_bucket_elsewhere_is_followed_once_and_only_where_the_region_was_a_guess() {
    let mut notes = answered(301, "PermanentRedirect");
    if let Some(answer) = &mut notes.answer {
        answer.region = Some("eu-west-1".to_owned());
    }
    let mut retries = Retries::new(Patience::Statement);
    let mut next = |region| retries.next(&notes, Operation::List, region, false);
    assert_eq!(next(None), Next::Stop(Kind::Refused));
    assert_eq!(next(Some("us-east-1")), Next::Move("eu-west-1".to_owned()));
    assert_eq!(next(Some("us-east-1")), Next::Stop(Kind::Refused));
}

/// A job waits for a role to be given back, and a statement says at once that it is not there.
#[test]
fn who_has_no_credentials_waits_if_it_is_a_job_and_waiting_can_help() {
    let denied = troubled(Class::Denied);
    assert_eq!(next(&denied, Operation::Put), Next::Stop(Kind::NoCredentials));
    let mut job = Retries::new(Patience::Job);
    for _ in 0..10_000 {
        let next = job.next(&denied, Operation::Put, None, false);
        assert_eq!(next, Next::After(CREDENTIALS_PAUSE, Kind::NoCredentials));
    }
    assert_eq!(
        job.next(&troubled(Class::Config), Operation::Put, None, false),
        Next::Stop(Kind::NoCredentials)
    );
}

#[test]
fn nothing_is_tried_for_ever() {
    for patience in [Patience::Statement, Patience::Job] {
        for notes in [Notes::default(), answered(503, "SlowDown"), answered(500, ""), answered(200, "")] {
            let mut retries = Retries::new(patience);
            let tries =
                (1..).find(|_| matches!(retries.next(&notes, Operation::Part, None, false), Next::Stop(_)));
            assert!(tries.is_some_and(|tries| tries <= JOB_TRIES_MAX), "{notes:?}");
        }
    }
}
