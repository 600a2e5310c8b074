use super::*;

mod cluster;

const JOB: JobId = JobId(7);
const ME: Claim = Claim { node: 1, boot: 11 };
const RULES: Rules = Rules {
    lease: Duration::from_secs(6),
    adopt: Duration::from_secs(2),
    collect: Duration::from_secs(3_600),
    grace: Duration::from_secs(60),
    alone: false,
};

fn at(seconds: u64) -> Now {
    let log = Timestamp { nanos: (1_000 + seconds) * 1_000_000_000, logical: 0 };
    Now { steady: Duration::from_secs(seconds), log }
}

fn free() -> Seen {
    Seen {
        id: JOB,
        kind: JobKind::Backup,
        status: JobStatus::Running,
        epoch: 0,
        claim: None,
        claimed_until: None,
        next_run: None,
        waiting_since: None,
        denied: None,
        lacks: None,
    }
}

fn held(epoch: u64) -> Seen {
    Seen { epoch, claim: Some(ME), claimed_until: Some(at(600).log), ..free() }
}

fn done(asked: Asked, seconds: u64) -> Event {
    Event::Answered { asked, sent: Duration::from_secs(seconds), outcome: Outcome::Done }
}

fn plan() -> Plan {
    Plan::new(ME, [JobKind::Backup])
}

/// A node that works on the job under epoch 1, since second 0.
fn working() -> Plan {
    let mut plan = plan();
    assert_eq!(plan.step(at(0), RULES, &[free()], Event::Told(JOB)), [Act::Claim(JOB)]);
    let acts = plan.step(at(0), RULES, &[held(1)], done(Asked::Claim(JOB), 0));
    assert_eq!(acts, [Act::Start { id: JOB, epoch: 1, revert: false }]);
    plan
}

fn ended(came: Result<(), Stopped>) -> Event {
    Event::Ended { id: JOB, epoch: 1, came }
}

fn report(report: Report) -> Vec<Act> {
    vec![Act::Report { id: JOB, epoch: 1, report }]
}

#[test]
fn who_is_told_of_a_job_takes_it_at_once_and_others_wait() {
    let mut told = plan();
    assert_eq!(told.step(at(0), RULES, &[free()], Event::Told(JOB)), [Act::Claim(JOB)]);
    let mut other = plan();
    assert_eq!(other.step(at(0), RULES, &[free()], Event::Looked), []);
    assert_eq!(other.step(at(2), RULES, &[free()], Event::Looked), [Act::Claim(JOB)]);
    assert_eq!(other.step(at(3), RULES, &[free()], Event::Looked), [], "once, until it is answered");
}

#[test]
fn what_another_node_has_is_taken_when_its_claim_is_over() {
    let theirs = |until| Seen {
        claim: Some(Claim { node: 2, boot: 5 }),
        claimed_until: Some(at(until).log),
        epoch: 3,
        ..free()
    };
    let mut plan = plan();
    assert_eq!(plan.step(at(0), RULES, &[theirs(10)], Event::Looked), []);
    assert_eq!(plan.step(at(9), RULES, &[theirs(10)], Event::Looked), []);
    assert_eq!(plan.step(at(10), RULES, &[theirs(10)], Event::Looked), [], "it waits its own while");
    assert_eq!(plan.step(at(12), RULES, &[theirs(10)], Event::Looked), [Act::Claim(JOB)]);
    let rests = Seen { next_run: Some(at(50).log), ..free() };
    let mut plan = self::plan();
    assert_eq!(plan.step(at(0), RULES, std::slice::from_ref(&rests), Event::Told(JOB)), []);
    let cancelled = Seen { status: JobStatus::CancelRequested, ..rests };
    assert_eq!(plan.step(at(1), RULES, &[cancelled], Event::Looked), [Act::Claim(JOB)]);
}

#[test]
fn claims_are_renewed_and_work_ends_when_they_may_be_over() {
    let mut plan = working();
    assert_eq!(plan.step(at(1), RULES, &[held(1)], Event::Looked), []);
    assert_eq!(plan.step(at(2), RULES, &[held(1)], Event::Looked), [Act::Renew]);
    assert_eq!(plan.step(at(4), RULES, &[held(1)], Event::Looked), []);
    // It was asked for at 2; five sixths of six seconds later it may be over, whatever the view says.
    assert_eq!(plan.step(at(4), RULES, &[held(1)], done(Asked::Renew, 2)), [Act::Renew]);
    assert_eq!(plan.step(at(6), RULES, &[held(1)], Event::Looked), []);
    assert_eq!(plan.step(at(7), RULES, &[held(1)], Event::Looked), [Act::Stop { id: JOB, at_once: true }]);
    // The renewal came through after all: it goes on.
    let acts = plan.step(at(8), RULES, &[held(1)], done(Asked::Renew, 7));
    assert_eq!(acts, [Act::Start { id: JOB, epoch: 1, revert: false }]);
}

#[test]
fn a_lost_claim_ends_the_work_at_once() {
    for lost in [
        Seen { claim: Some(Claim { node: 2, boot: 1 }), ..held(2) },
        Seen { claim: None, ..held(1) },
        Seen { claim: Some(Claim { boot: 99, ..ME }), ..held(2) },
    ] {
        let acts = working().step(at(1), RULES, &[lost], Event::Looked);
        assert_eq!(acts, [Act::Stop { id: JOB, at_once: true }]);
    }
    assert_eq!(working().step(at(1), RULES, &[], Event::Looked), [Act::Stop { id: JOB, at_once: true }]);
}

#[test]
fn what_somebody_asks_stops_the_work_and_is_said_when_it_has_stopped() {
    let denied = Seen { denied: Some("no right".to_owned()), ..held(1) };
    for (seen, said) in [
        (Seen { status: JobStatus::PauseRequested, ..held(1) }, Report::Paused { reason: None }),
        (Seen { status: JobStatus::CancelRequested, ..held(1) }, Report::Canceling),
        (denied, Report::Paused { reason: Some("no right".to_owned()) }),
    ] {
        let mut plan = working();
        let seen = [seen];
        assert_eq!(plan.step(at(1), RULES, &seen, Event::Looked), [Act::Stop { id: JOB, at_once: false }]);
        assert_eq!(plan.step(at(1), RULES, &seen, Event::Looked), []);
        assert_eq!(plan.step(at(1), RULES, &seen, ended(Err(Stopped::Asked))), report(said.clone()));
        // Also when it ended of something else meanwhile.
        let mut plan = working();
        plan.step(at(1), RULES, &seen, Event::Looked);
        let retry = Stopped::Retry { error: "e".to_owned(), after: None };
        assert_eq!(plan.step(at(1), RULES, &seen, ended(Err(retry))), report(said));
    }
}

#[test]
fn a_node_that_stops_hands_over_and_claims_nothing() {
    let mut plan = working();
    let acts = plan.step(at(1), RULES, &[held(1)], Event::Drain);
    assert_eq!(acts, [Act::Stop { id: JOB, at_once: false }]);
    let acts = plan.step(at(1), RULES, &[held(1)], ended(Err(Stopped::Asked)));
    assert_eq!(acts, report(Report::HandOver));
    assert!(!plan.is_idle());
    let gone = Seen { claim: None, ..held(1) };
    let acts =
        plan.step(at(1), RULES, std::slice::from_ref(&gone), done(Asked::Report { id: JOB, epoch: 1 }, 1));
    assert_eq!(acts, []);
    assert!(plan.is_idle());
    assert_eq!(plan.step(at(60), RULES, &[gone], Event::Told(JOB)), []);
}

#[test]
fn each_end_of_work_has_its_report() {
    let text = || "e".to_owned();
    let minute = Duration::from_secs(60);
    for (came, said) in [
        (Ok(()), Report::Succeeded),
        (
            Err(Stopped::Retry { error: text(), after: Some(minute) }),
            Report::Retry { error: text(), delay_ms: Some(60_000) },
        ),
        (Err(Stopped::Rest(minute)), Report::Rest { delay_ms: 60_000 }),
        (Err(Stopped::Paused(text())), Report::Paused { reason: Some(text()) }),
        (Err(Stopped::Failed(text())), Report::Failed { error: text() }),
    ] {
        assert_eq!(working().step(at(1), RULES, &[held(1)], ended(came)), report(said));
    }
    let reverting = [Seen { status: JobStatus::Reverting, ..held(1) }];
    for (came, said) in
        [(Ok(()), Report::Reverted), (Err(Stopped::Failed(text())), Report::RevertFailed { error: text() })]
    {
        let mut plan = plan();
        plan.step(at(0), RULES, &[free()], Event::Told(JOB));
        let acts = plan.step(at(0), RULES, &reverting, done(Asked::Claim(JOB), 0));
        assert_eq!(acts, [Act::Start { id: JOB, epoch: 1, revert: true }]);
        assert_eq!(plan.step(at(1), RULES, &reverting, ended(came)), report(said));
    }
}

#[test]
fn a_report_that_nobody_took_is_said_again_until_the_claim_is_lost() {
    let mut plan = working();
    let said = report(Report::Succeeded);
    assert_eq!(plan.step(at(1), RULES, &[held(1)], ended(Ok(()))), said);
    let asked = Asked::Report { id: JOB, epoch: 1 };
    let unknown = Event::Answered { asked, sent: Duration::from_secs(1), outcome: Outcome::Unknown };
    assert_eq!(plan.step(at(1), RULES, &[held(1)], unknown.clone()), []);
    let again = plan.step(at(2), RULES, &[held(1)], Event::Looked);
    assert!(again.contains(&said[0]), "{again:?}");
    plan.step(at(2), RULES, &[held(1)], unknown);
    let lost = Seen { claim: None, ..held(1) };
    assert_eq!(plan.step(at(3), RULES, &[lost], Event::Looked), []);
}

#[test]
fn work_without_credentials_is_tried_again_and_paused_after_the_grace() {
    let trouble = || Stopped::Credentials { status: "hop 2/3".to_owned(), after: Duration::from_secs(40) };
    let rules = Rules { lease: Duration::from_secs(600), ..RULES };
    let mut plan = plan();
    plan.step(at(0), rules, &[free()], Event::Told(JOB));
    plan.step(at(0), rules, &[held(1)], done(Asked::Claim(JOB), 0));
    let waits = report(Report::WaitsForCredentials { running_status: "hop 2/3".to_owned() });
    assert_eq!(plan.step(at(1), rules, &[held(1)], ended(Err(trouble()))), waits);
    let waiting = Seen { waiting_since: Some(at(1).log), ..held(1) };
    let asked = Asked::Report { id: JOB, epoch: 1 };
    assert_eq!(plan.step(at(1), rules, std::slice::from_ref(&waiting), done(asked, 1)), []);
    assert_eq!(plan.step(at(40), rules, std::slice::from_ref(&waiting), Event::Looked), []);
    let acts = plan.step(at(41), rules, std::slice::from_ref(&waiting), Event::Looked);
    assert_eq!(acts, [Act::Start { id: JOB, epoch: 1, revert: false }]);
    let paused = report(Report::Paused { reason: Some("hop 2/3".to_owned()) });
    assert_eq!(plan.step(at(61), rules, &[waiting], ended(Err(trouble()))), paused);
}

const NOBODY: &str = "the source: there is none";

fn lacking(seen: Seen) -> Seen {
    Seen { lacks: Some(NOBODY.to_owned()), ..seen }
}

/// Case 94.
#[test]
fn who_lacks_what_a_job_needs_comes_after_all_others() {
    let free = [lacking(free())];
    let mut plan = plan();
    assert_eq!(plan.step(at(0), RULES, &free, Event::Told(JOB)), [], "although it was told");
    assert_eq!(plan.step(at(9), RULES, &free, Event::Looked), []);
    assert_eq!(plan.step(at(10), RULES, &free, Event::Looked), [Act::Claim(JOB)], "nobody took it");
    let held = [lacking(held(1))];
    let acts = plan.step(at(10), RULES, &held, done(Asked::Claim(JOB), 10));
    assert_eq!(acts, [Act::Start { id: JOB, epoch: 1, revert: false }], "and it is not handed over at once");
    // Nobody else is there; somebody waits for its end; it has it by now.
    let alone = Rules { alone: true, ..RULES };
    assert_eq!(self::plan().step(at(0), alone, &free, Event::Told(JOB)), [Act::Claim(JOB)]);
    let asked = [Seen { status: JobStatus::CancelRequested, ..free[0].clone() }];
    assert_eq!(self::plan().step(at(0), RULES, &asked, Event::Told(JOB)), [Act::Claim(JOB)]);
    let mut plan = self::plan();
    assert_eq!(plan.step(at(0), RULES, &free, Event::Told(JOB)), []);
    assert_eq!(plan.step(at(1), RULES, &[self::free()], Event::Looked), [Act::Claim(JOB)]);
}

/// Case 94.
#[test]
fn who_has_lost_what_a_job_needs_says_so_and_hands_it_over_once_in_a_while() {
    let rules = Rules { lease: Duration::from_secs(6_000), ..RULES };
    let mut plan = plan();
    plan.step(at(0), rules, &[free()], Event::Told(JOB));
    plan.step(at(0), rules, &[held(1)], done(Asked::Claim(JOB), 0));
    let lost = [lacking(held(1))];
    assert_eq!(plan.step(at(1), rules, &lost, Event::Looked), [Act::Stop { id: JOB, at_once: false }]);
    let running_status = format!("waiting for credentials: {NOBODY}; node 1 leaves the job to others");
    let says = report(Report::WaitsForCredentials { running_status });
    assert_eq!(plan.step(at(1), rules, &lost, ended(Err(Stopped::Asked))), says);
    let asked = Asked::Report { id: JOB, epoch: 1 };
    assert_eq!(plan.step(at(1), rules, &lost, done(asked, 1)), report(Report::HandOver));
    let gone = [lacking(Seen { epoch: 1, ..free() })];
    assert_eq!(plan.step(at(1), rules, &gone, done(asked, 1)), []);
    // It comes back to this node, which keeps it now, for two minutes.
    assert_eq!(plan.step(at(11), rules, &gone, Event::Looked), [Act::Claim(JOB)]);
    let back = [lacking(held(2))];
    let acts = plan.step(at(11), rules, &back, done(Asked::Claim(JOB), 11));
    assert_eq!(acts, [Act::Start { id: JOB, epoch: 2, revert: false }]);
    assert_eq!(plan.step(at(130), rules, &back, Event::Looked), []);
    assert_eq!(plan.step(at(131), rules, &back, Event::Looked), [Act::Stop { id: JOB, at_once: false }]);
    // What comes to its end meanwhile has ended.
    let ended = Event::Ended { id: JOB, epoch: 2, came: Ok(()) };
    let acts = plan.step(at(131), rules, &back, ended);
    assert_eq!(acts, [Act::Report { id: JOB, epoch: 2, report: Report::Succeeded }]);
}

#[test]
fn a_node_works_on_a_bounded_number_of_jobs() {
    let jobs: Vec<_> = (1..=100).map(|id| Seen { id: JobId(id), ..free() }).collect();
    let mut plan = plan();
    plan.step(at(0), RULES, &jobs, Event::Looked);
    assert_eq!(plan.step(at(2), RULES, &jobs, Event::Looked).len(), JOBS_AT_ONCE);
}

#[test]
fn the_clusters_own_job_is_made_a_while_after_the_node_began() {
    let mut plan = Plan::new(ME, [JobKind::AutoCollectJobs]);
    assert_eq!(plan.step(at(3_599), RULES, &[], Event::Looked), []);
    assert_eq!(plan.step(at(3_600), RULES, &[], Event::Looked), [Act::Collector]);
    assert_eq!(plan.step(at(3_601), RULES, &[], Event::Looked), []);
    let there = Seen { kind: JobKind::AutoCollectJobs, next_run: Some(at(9_999).log), ..free() };
    assert_eq!(plan.step(at(9_000), RULES, &[there], Event::Looked), []);
}
