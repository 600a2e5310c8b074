//! The table of times; and timelines of virtual time that are against the machine: clouds that fail in every way, are slow, lie
//! about ends, give the same again; machines that sleep; services that refuse; users that come and go. Each rule is left out
//! once, by a driver that does not keep it, to see that it would be missed.

mod sim;

use std::time::Duration;

use self::sim::{Rule, Sim, Tally};
use super::timing;
use super::*;

/// How many runs each rule gets until one shows that it is missed.
const RUNS_MAX: u64 = 600;
/// Runs of the whole machine in an ordinary test; more with `GRANTD_SEEDS`.
const RUNS: u64 = 600;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: u64) -> Moment {
    Moment { nanos: seconds * 1_000_000_000 }
}

fn seeds() -> u64 {
    std::env::var("GRANTD_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(RUNS)
}

#[test]
fn the_promise_is_kept_on_every_timeline() {
    let mut sum = Tally::default();
    for seed in 0..seeds() {
        let tally = Sim::new(seed, None).run();
        assert_eq!(tally.broken, None, "seed {seed}: {tally:?}");
        sum.add(&tally);
    }
    println!("{} runs: {sum:?}", seeds());
    // It is about something.
    let n = seeds();
    assert!(sum.calls > 20 * n && sum.renewals > 5 * n && sum.requests > 100 * n, "{sum:?}");
    assert!(sum.failures > 3 * n && sum.rejections > n / 2 && sum.sleeps > n / 2, "{sum:?}");
    assert!(sum.alarms > n / 2 && sum.told > n / 20 && sum.same > n / 2, "{sum:?}");
}

macro_rules! missed {
    ($($name:ident: $rule:ident $($promise:literal)|+;)*) => {$(
        #[test]
        fn $name() {
            let broken = (0..RUNS_MAX).find_map(|seed| {
                Sim::new(seed, Some(Rule::$rule)).run().broken.filter(|broken| [$($promise),+].contains(broken))
            });
            assert!(broken.is_some(), "{:?} was left out for {RUNS_MAX} runs and nobody noticed", Rule::$rule);
        }
    )*};
}

missed! {
    k1_a_lease_that_lives_from_when_it_came: SinceAsked "served after its end";
    k2_a_lease_that_is_not_taken_back: Withdrawn "served after its end";
    k3_a_second_call_for_who_is_impatient: SingleFlight "two calls at once";
    k4_a_lease_that_is_dropped_when_its_renewal_failed: StaticStability "a working lease was taken back";
    k5_a_late_refusal_that_hits_the_successor: ThatGeneration "a working lease was taken back";
    k6_an_end_that_is_believed: Clamped "served after its end";
    k7_a_failure_that_is_tried_again_at_once: Backoff "too many calls";
    k8_a_failure_that_is_the_last: NeverTheLast "no fresh lease though one could be had";
    k9_new_credentials_for_each_access_denied: ForcedRarely "a working lease was taken back" | "too many calls";
    k10_a_clock_that_sleeps_with_the_machine: SleepCounts "served after its end";
    k11_an_alarm_for_each_failure: AlarmOnce "an alarm twice";
    k12_the_same_credentials_taken_for_new_ones: SameIsNotNew "served though refused";
    k13_a_service_that_is_not_listened_to: RetryAfter "asked before its time";
    k14_a_child_that_outlives_its_parent: WithParent "served after its end";
    k15_a_step_that_nobody_uses_and_that_asks_on: Idle "asked for nobody";
    k16_an_answer_from_before_the_question: FreshAnswer "told by an old call";
}

/// F.8.3.
#[test]
fn leases_are_renewed_and_late_as_the_table_says() {
    let table = [
        (3, 1_000, 300, 30),
        (60, 20_000, 6_000, 600),
        (599, 199_666, 59_900, 1_000),
        (600, 300_000, 120_000, 1_000),
        (900, 300_000, 120_000, 1_000),
        (1_200, 300_000, 120_000, 1_000),
        (1_201, 900_000, 120_000, 1_000),
        (3_600, 900_000, 120_000, 1_000),
        (5_400, 900_000, 120_000, 1_000),
        (5_401, 3_600_000, 120_000, 1_000),
        (43_200, 3_600_000, 120_000, 1_000),
    ];
    for (lifetime, window, late, guard) in table {
        let lifetime = secs(lifetime);
        let own = (timing::window(lifetime), timing::late(lifetime), timing::guard(lifetime));
        assert_eq!((own.0.as_millis(), own.1.as_millis(), own.2.as_millis()), (window, late, guard));
        assert_eq!(timing::renewal(lifetime, 0.0), own.0);
        assert_eq!(timing::renewal(lifetime, 1.0), own.0 + own.0 / 5);
    }
}

/// F.8.4.
#[test]
fn waits_grow_by_class_to_their_most_and_are_shorter_for_short_leases() {
    let table = [
        (Class::Network, [1, 2, 4, 8, 16, 30, 30]),
        (Class::Throttled, [5, 10, 20, 40, 80, 120, 120]),
        (Class::AlreadyExpired, [5, 10, 20, 40, 80, 120, 120]),
        (Class::Denied, [30, 60, 120, 240, 300, 300, 300]),
        (Class::SourceDead, [0, 60, 120, 240, 300, 300, 300]),
        (Class::ParentExpired, [0, 60, 120, 240, 300, 300, 300]),
        (Class::ClockSkew, [0, 60, 120, 240, 300, 300, 300]),
        (Class::Config, [600; 7]),
    ];
    let counts = [1, 2, 3, 4, 5, 6, 40];
    for (class, expected) in table {
        for life in [None, Some(secs(3_600))] {
            assert_eq!(
                counts.map(|count| timing::ceiling(class, count, life).as_secs()),
                expected,
                "{class:?}"
            );
        }
        for (count, seconds) in counts.into_iter().zip(expected) {
            let short = timing::ceiling(class, count, Some(secs(3)));
            assert_eq!(short, Duration::from_millis(5 * seconds).max(Duration::from_millis(10)), "{class:?}");
            let waits = [0.0, 0.5, 1.0].map(|dice| timing::wait(class, count, None, dice));
            let most = timing::ceiling(class, count, None);
            assert_eq!(waits, [most / 10, most / 2, most].map(|wait| wait.max(Duration::from_millis(10))));
        }
    }
}

/// A step that is used since the beginning, with its first lease.
fn used(terms: Terms, lifetime: u64) -> Refresher {
    let mut step = Refresher::new(terms, at(0));
    assert_eq!(step.on(Event::Opened, &sight(0)), [Action::Call]);
    let actions = step.on(came(0, lifetime), &sight(0));
    assert!(matches!(actions[..], [Action::Publish { generation: 1, .. }]), "{actions:?}");
    step
}

fn sight(seconds: u64) -> Sight {
    Sight { now: at(seconds), dice: 0.0, parent: Parent::Unneeded }
}

fn came(asked: u64, lifetime: u64) -> Event {
    let answer = Answer { lifetime: Some(secs(lifetime)), is_same: false, bound: None };
    Event::Ended { asked: at(asked), outcome: Ok(answer) }
}

fn failed(asked: u64, class: Class) -> Event {
    Event::Ended { asked: at(asked), outcome: Err(Fault { class, retry_after: None }) }
}

/// Case 79.
#[test]
fn twelve_hours_of_a_chained_role_are_one() {
    let end = |is_chained, lifetime| {
        let step = used(Terms { is_chained, asked: None }, lifetime);
        (step.next_call(), step.next_wake(Parent::Unneeded))
    };
    assert_eq!(end(true, 12 * 3_600).0, Some(at(2_700)));
    assert_eq!(end(false, 12 * 3_600).0, Some(at(11 * 3_600)));
    assert_eq!(end(false, 30 * 3_600).0, Some(at(11 * 3_600)));
}

#[test]
fn an_end_that_is_past_or_far_ahead_is_a_failure() {
    for (lifetime, class) in [(0, Class::AlreadyExpired), (36 * 3_600 + 1, Class::ClockSkew)] {
        let mut step = Refresher::new(Terms::default(), at(0));
        step.on(Event::Opened, &sight(0));
        assert_eq!(step.on(came(0, lifetime), &sight(1)).first(), Some(&Action::Alarm(class)));
        assert_eq!(step.failing(), Some(class));
    }
}

/// Cases 68, 70.
#[test]
fn a_role_that_is_denied_is_served_until_its_end_then_waits_then_says_so_and_comes_back() {
    let mut step = used(Terms::default(), 3_600);
    assert_eq!(step.on(Event::Woke, &sight(2_700)), [Action::Call]);
    assert_eq!(step.on(failed(2_700, Class::Denied), &sight(2_701)), [Action::Alarm(Class::Denied)]);
    assert_eq!(step.state(at(2_701)), State::Degraded);
    assert_eq!(step.verdict(secs(60), 0, at(2_701)), Verdict::Take);
    assert_eq!(step.state(at(3_500)), State::Late);
    assert_eq!(
        step.verdict(secs(600), 0, at(3_500)),
        Verdict::TakeLate,
        "what there is, as no more is to be had"
    );
    assert_eq!(step.on(Event::Woke, &sight(3_599)), [Action::Withdraw, Action::Call]);
    let before = step.ended();
    assert_eq!(step.verdict(secs(1), before, at(3_599)), Verdict::Wait);
    assert_eq!(step.on(failed(3_599, Class::Denied), &sight(3_600)), [], "no second alarm");
    assert_eq!(step.state(at(3_600)), State::Denied);
    assert_eq!(step.verdict(secs(1), before, at(3_658)), Verdict::Wait);
    assert_eq!(step.verdict(secs(1), before, at(3_659)), Verdict::Failed);
    assert_eq!(
        step.verdict(secs(1), step.ended(), at(3_659)),
        Verdict::Wait,
        "who comes later has a new look"
    );
    assert_eq!(step.on(Event::Wanted(secs(1)), &sight(3_659)), [Action::Call]);
    let actions = step.on(came(3_659, 3_600), &sight(3_660));
    assert!(matches!(actions[..], [Action::Settled, Action::Publish { generation: 2, .. }]), "{actions:?}");
}

/// Case 71.
#[test]
fn who_was_never_allowed_is_told_at_once() {
    let mut step = Refresher::new(Terms::default(), at(0));
    step.on(Event::Opened, &sight(0));
    assert_eq!(step.verdict(secs(1), 0, at(0)), Verdict::Wait);
    step.on(failed(0, Class::Denied), &sight(1));
    assert_eq!(step.verdict(secs(1), 0, at(1)), Verdict::Failed);
}

/// Case 67.
#[test]
fn who_waits_for_a_cloud_that_is_down_waits() {
    let mut step = used(Terms::default(), 900);
    step.on(Event::Woke, &sight(600));
    step.on(failed(600, Class::Network), &sight(601));
    let mut now = 602;
    while now < 90_000 {
        if step.on(Event::Woke, &sight(now)).contains(&Action::Call) {
            step.on(failed(now, Class::Network), &sight(now));
        }
        assert_ne!(step.verdict(secs(1), 0, at(now)), Verdict::Failed);
        now += 30;
    }
    assert_eq!(step.state(at(now)), State::Expired);
}

/// Case 86.
#[test]
fn a_metadata_server_that_gives_the_same_again_is_asked_four_minutes_before_the_end() {
    let mut step = used(Terms::default(), 3_600);
    assert_eq!(step.on(Event::Woke, &sight(2_700)), [Action::Call]);
    let same = Answer { lifetime: Some(secs(900)), is_same: true, bound: None };
    assert_eq!(step.on(Event::Ended { asked: at(2_700), outcome: Ok(same) }, &sight(2_700)), []);
    assert_eq!(step.next_call(), Some(at(3_600 - 240)));
}

/// Cases 76, 77.
#[test]
fn a_refusal_ends_a_generation_and_access_denied_does_not() {
    let mut step = used(Terms::default(), 3_600);
    assert_eq!(step.on(Event::Rejected(1, Reject::AccessDenied), &sight(10)), [Action::Call]);
    assert!(matches!(step.on(came(10, 3_600), &sight(11))[..], [Action::Publish { generation: 2, .. }]));
    for now in [20, 100, 309] {
        assert_eq!(step.on(Event::Rejected(2, Reject::AccessDenied), &sight(now)), []);
    }
    assert_eq!(step.on(Event::Rejected(2, Reject::AccessDenied), &sight(310)), [Action::Call]);
    assert!(matches!(step.on(came(310, 3_600), &sight(311))[..], [Action::Publish { generation: 3, .. }]));
    assert_eq!(step.on(Event::Rejected(2, Reject::Dead), &sight(312)), []);
    assert_eq!(step.on(Event::Rejected(3, Reject::Dead), &sight(312)), [Action::Withdraw, Action::Call]);
    assert_eq!(step.on(Event::Rejected(3, Reject::Dead), &sight(312)), []);
    let actions = step.on(came(312, 3_600), &sight(312));
    assert!(matches!(actions[..], [Action::Publish { generation: 4, .. }]), "{actions:?}");
    assert_eq!(step.on(Event::Rejected(4, Reject::Dead), &sight(312)), [Action::Withdraw], "now it waits");
}

#[test]
fn a_parent_that_was_over_is_renewed_and_the_child_goes_on_with_the_next() {
    let mut step = Refresher::new(Terms::default(), at(0));
    let with = |parent, now| Sight { now: at(now), dice: 1.0, parent };
    assert_eq!(step.on(Event::Opened, &with(Parent::Missing, 0)), []);
    assert!(step.is_blocked(Parent::Missing));
    assert_eq!(step.on(Event::Woke, &with(Parent::Has(4), 1)), [Action::Call]);
    let actions = step.on(failed(1, Class::ParentExpired), &with(Parent::Has(4), 2));
    assert_eq!(actions, [Action::RenewParent(4), Action::Alarm(Class::ParentExpired)]);
    assert_eq!(step.verdict(secs(1), 0, at(2)), Verdict::Wait, "the parent is renewed, and it goes on");
    assert_eq!(step.on(Event::Woke, &with(Parent::Missing, 3)), []);
    assert_eq!(step.on(Event::Woke, &with(Parent::Has(4), 3)), []);
    assert_eq!(step.on(Event::Woke, &with(Parent::Has(5), 3)), [Action::Call]);
    step.on(failed(3, Class::ParentExpired), &with(Parent::Has(5), 4));
    assert_eq!(step.verdict(secs(1), 0, at(4)), Verdict::Failed, "it came again");
    assert_eq!(step.on(Event::Woke, &with(Parent::Has(6), 63)), [], "the second time it waits");
    assert_eq!(step.on(Event::Woke, &with(Parent::Has(6), 64)), [Action::Call]);
}

#[test]
fn who_asks_for_a_day_has_the_cloud_asked_once_in_half_a_life() {
    let mut step = used(Terms::default(), 3_600);
    assert_eq!(step.on(Event::Wanted(secs(86_400)), &sight(1_700)), []);
    assert_eq!(step.verdict(secs(86_400), 0, at(1_700)), Verdict::Take);
    assert_eq!(step.on(Event::Wanted(secs(86_400)), &sight(1_900)), [Action::Call]);
    assert_eq!(step.verdict(secs(86_400), step.ended(), at(1_900)), Verdict::Wait);
    assert_eq!(step.verdict(secs(60), step.ended(), at(1_900)), Verdict::Take);
}

#[test]
fn what_has_no_end_is_asked_for_once() {
    let mut step = Refresher::new(Terms::default(), at(0));
    step.on(Event::Opened, &sight(0));
    let answer = Answer { lifetime: None, is_same: false, bound: None };
    step.on(Event::Ended { asked: at(0), outcome: Ok(answer) }, &sight(0));
    assert_eq!((step.next_call(), step.next_wake(Parent::Unneeded)), (None, None));
    assert_eq!(step.verdict(secs(86_400), 0, at(1_000_000)), Verdict::Take);
}

#[test]
fn a_step_that_nobody_uses_keeps_its_lease_for_ten_minutes_and_ends() {
    let mut step = used(Terms::default(), 900);
    step.on(Event::Closed, &sight(595));
    assert_eq!((step.next_call(), step.state(at(601))), (None, State::Idle));
    assert_eq!(step.next_wake(Parent::Unneeded), Some(at(780)), "when it is late");
    assert_eq!(step.on(Event::Woke, &sight(1_194)), [Action::Withdraw]);
    assert_eq!(step.on(Event::Woke, &sight(1_195)), [Action::End]);
    assert_eq!(step.on(Event::Opened, &sight(1_196)), [Action::Call]);
}

#[test]
fn a_lease_is_ready_until_it_is_late_and_that_is_a_time_to_wake() {
    for (lifetime, late) in [(100, 90), (900, 780), (3_600, 3_480)] {
        let mut step = used(Terms::default(), lifetime);
        assert!(step.is_ready());
        let mut woken = Vec::new();
        while let Some(wake) = step.next_wake(Parent::Unneeded).filter(|wake| *wake <= at(lifetime)) {
            step.on(Event::Woke, &Sight { now: wake, ..sight(0) });
            woken.push((wake, step.is_ready()));
        }
        assert!(woken.contains(&(at(late), false)), "{woken:?}");
        assert!(woken.iter().all(|(wake, ready)| *ready == (*wake < at(late))), "{woken:?}");
        // Whoever was earlier and comes later does not make it ready again.
        step.on(Event::Woke, &sight(1));
        assert!(!step.is_ready());
    }
}
