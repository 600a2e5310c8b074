//! The revocation barrier, on a small Raft that is against it: elections begin at any time, leaders that are deposed do not
//! know it, messages are late, lost and overtaken, nodes pause, crash and start again, and clocks run as wrong as they may.
//! Time is simulated; the same seed makes the same run.
//!
//! No decision may be made on a view older than a change that was reported before. And each rule of the protocol is left out
//! once, to see that it would be missed.

use std::time::Duration;

use grantd_raft::lease::{Asked, BootId, Grantor, Holder, LeaseRequest, Moment, Terms};

#[path = "lease/sim.rs"]
mod sim;

use self::sim::{Rule, Sim, Tally};

/// How many runs each rule gets until one shows that it is missed. The rarest is seen in one of some fifteen.
const RUNS_MAX: u64 = 400;

/// Runs of a whole protocol in an ordinary test; more with `GRANTD_SEEDS`.
const RUNS: u64 = 60;

fn seeds() -> u64 {
    std::env::var("GRANTD_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS)
}

#[test]
fn no_decision_is_older_than_a_change_that_was_reported() {
    let mut sum = Tally::default();
    for seed in 0..seeds() {
        let tally = Sim::new(seed, None).run();
        assert_eq!(tally.broken, 0, "seed {seed}: {tally:?}");
        sum.add(&tally);
    }
    println!("{} runs: {sum:?}", seeds());
    // It is about something: leaders changed, changes were reported, decisions were made.
    assert!(
        sum.elections > seeds() && sum.reported > 10 * seeds() && sum.decided > 1_000 * seeds(),
        "{sum:?}"
    );
}

#[test]
fn a_clock_that_is_more_wrong_than_agreed_is_seen() {
    let broken = (0..RUNS_MAX).find(|seed| Sim::with_drift(*seed, 60_000).run().broken > 0);
    assert!(broken.is_some(), "no run noticed clocks that are 6 % off");
}

macro_rules! missed {
    ($($name:ident: $rule:expr;)*) => {$(
        #[test]
        fn $name() {
            let broken = (0..RUNS_MAX).find(|seed| Sim::new(*seed, Some($rule)).run().broken > 0);
            assert!(broken.is_some(), "{:?} was left out for {RUNS_MAX} runs and nobody noticed", $rule);
        }
    )*};
}

missed! {
    b1_a_lease_that_counts_from_when_the_answer_came: Rule::SendTime;
    b2_a_clock_that_is_read_before_the_decision: Rule::ClockLast;
    b3_a_view_that_is_not_looked_at_again: Rule::NewestView;
    b4_a_lease_that_outlives_its_process: Rule::LeaseEnds;
    b5_a_leader_that_does_not_allow_for_clocks: Rule::DriftMargin;
    b6_a_grant_without_a_quorum: Rule::Quorum;
    b7_a_leader_that_grants_before_its_first_entry: Rule::FirstEntry;
    b8_a_new_leader_that_does_not_wait: Rule::NewLeaderWaits;
    b9_a_grant_to_who_is_behind: Rule::Floor;
    b10_a_change_that_is_reported_when_committed: Rule::AllApplied;
    b11_a_leader_that_leads_on_after_a_restart: Rule::NoLeaderRestore;
}

const TERMS: Terms = Terms { length: Duration::from_secs(2), drift_ppm: 10_000 };

fn at(millis: u64) -> Moment {
    Moment { nanos: millis * 1_000_000 }
}

fn request(boot: u64, sent: Moment, applied: u64) -> LeaseRequest {
    LeaseRequest { boot: BootId(boot), sent, applied }
}

/// A leader of nodes 1 to 3 whose first entry was 10, long after its election.
fn leader() -> Grantor {
    let mut leader = Grantor::new(TERMS, 7, [1, 2, 3], at(0));
    leader.first_applied(10);
    leader
}

#[test]
fn a_leader_waits_longer_than_the_lease_by_what_two_clocks_may_differ() {
    assert_eq!(TERMS.wait(), Duration::from_nanos(2_040_404_041));
    assert_eq!(Terms { drift_ppm: 0, ..TERMS }.wait(), TERMS.length);
}

#[test]
fn a_lease_counts_from_its_request_and_only_gets_longer() {
    let mut holder = Holder::new(TERMS, BootId(4));
    let grant = |sent, term| grantd_raft::lease::LeaseGrant { boot: BootId(4), sent, term };
    let lease = holder.take(&grant(at(100), 7)).unwrap();
    assert!(lease.is_held(at(2_099)) && !lease.is_held(at(2_100)));
    assert_eq!(holder.take(&grant(at(50), 7)), None, "an answer that was overtaken");
    assert_eq!(holder.take(&grant(at(500), 6)), None, "a leader that was followed by another");
    let of_another = grantd_raft::lease::LeaseGrant { boot: BootId(3), ..grant(at(900), 7) };
    assert_eq!(holder.take(&of_another), None, "what the process before asked for");
    assert!(holder.take(&grant(at(600), 8)).is_some());
}

#[test]
fn a_change_is_reported_when_all_have_it_or_their_leases_are_over() {
    let mut leader = leader();
    let long_after = 10_000;
    for node in [1, 2, 3] {
        assert!(matches!(leader.request(node, &request(1, at(5), 10), at(long_after)), Asked::Confirm(_)));
    }
    let barrier = leader.begin(11, at(long_after + 100));
    leader.report(1, BootId(1), 11);
    leader.report(2, BootId(1), 12);
    assert!(!leader.is_over(&barrier, at(long_after + 200)));
    assert_eq!(leader.waits_for(&barrier, at(long_after + 200)), [3]);
    let end = at(long_after).after(TERMS.wait());
    assert_eq!(leader.ends(&barrier), end);
    assert!(leader.is_over(&barrier, end), "its lease is over");
    leader.report(3, BootId(1), 11);
    assert!(leader.is_over(&barrier, at(long_after + 200)));
}

#[test]
fn who_holds_no_lease_holds_nothing_up() {
    let mut leader = leader();
    assert!(matches!(leader.request(1, &request(1, at(5), 10), at(10_000)), Asked::Confirm(_)));
    let barrier = leader.begin(11, at(13_000));
    assert!(leader.is_over(&barrier, at(13_000)));
}

#[test]
fn nobody_gets_a_lease_who_is_behind() {
    let mut leader = leader();
    assert_eq!(leader.request(2, &request(1, at(5), 9), at(10_000)), Asked::NotBefore { applied: 10 });
    leader.begin(12, at(10_000));
    assert_eq!(leader.request(2, &request(1, at(5), 11), at(10_000)), Asked::NotBefore { applied: 12 });
    assert!(matches!(leader.request(2, &request(1, at(5), 12), at(10_000)), Asked::Confirm(_)));
    assert_eq!(leader.request(9, &request(1, at(5), 12), at(10_000)), Asked::Never);
}

#[test]
fn until_its_predecessors_leases_are_over_a_leader_reports_only_what_all_have() {
    let mut leader = leader();
    let barrier = leader.begin(11, at(1_000));
    for node in [1, 2] {
        leader.report(node, BootId(1), 11);
    }
    assert!(!leader.is_over(&barrier, at(2_000)));
    assert_eq!(leader.waits_for(&barrier, at(2_000)), [3]);
    assert!(leader.is_over(&barrier, at(0).after(TERMS.wait())));
    leader.report(3, BootId(1), 11);
    assert!(leader.is_over(&barrier, at(2_000)));
}

#[test]
fn a_member_that_left_may_decide_until_its_lease_is_over() {
    let mut leader = leader();
    assert!(matches!(leader.request(3, &request(1, at(5), 10), at(10_000)), Asked::Confirm(_)));
    leader.set_members([1, 2], at(10_100));
    let barrier = leader.begin(11, at(10_200));
    for node in [1, 2] {
        leader.report(node, BootId(1), 11);
    }
    assert!(!leader.is_over(&barrier, at(10_300)));
    assert!(leader.is_over(&barrier, at(10_100).after(TERMS.wait())));
}

#[test]
fn what_a_process_said_that_has_ended_counts_no_more() {
    let mut leader = leader();
    assert!(matches!(leader.request(3, &request(2, at(5), 10), at(10_000)), Asked::Confirm(_)));
    let barrier = leader.begin(11, at(10_000));
    // It was further, and died; the one after it lost that with its machine.
    leader.report(3, BootId(1), 11);
    assert!(!leader.is_over(&barrier, at(10_100)));
    assert_eq!(leader.request(3, &request(1, at(5), 11), at(10_100)), Asked::Never);
}
