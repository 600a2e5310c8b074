//! The driver, on tokio's paused clock, with a cloud that does as it is told.

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::SystemTime;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::clock::Readings;
use super::*;
use crate::cloud::chain::{AssumeRole, Source, Step};
use crate::cloud::lease::{AwsSession, Material};
use crate::secret::Secret;

/// Does as it is told, and writes down what it was asked.
struct Cloud {
    lifetime: Mutex<Duration>,
    delay: Mutex<Duration>,
    /// What the step with this name answers instead.
    trouble: Mutex<HashMap<String, FetchError>>,
    panics: AtomicBool,
    /// Steps that were asked for without the lease of the one before.
    orphans: AtomicU64,
    calls: Mutex<Vec<String>>,
    number: AtomicU64,
}

#[async_trait]
impl Fetch for Cloud {
    async fn fetch(&self, chain: &Chain, parent: Option<&Lease>) -> Result<Fetched, FetchError> {
        let name = chain.last().to_string();
        lock(&self.calls).push(name.clone());
        // A panic here would be a failed call: it is looked at in `World::calls`.
        if parent.is_some() != (chain.steps().len() > 1) {
            self.orphans.fetch_add(1, Ordering::Relaxed);
        }
        let delay = *lock(&self.delay);
        sleep(delay).await;
        assert!(!self.panics.swap(false, Ordering::Relaxed), "told to");
        if let Some(error) = lock(&self.trouble).get(&name) {
            return Err(error.clone());
        }
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let lifetime = *lock(&self.lifetime);
        Ok(Fetched {
            material: Material::Aws(AwsSession {
                access_key_id: format!("ASIA{number}"),
                secret_access_key: Secret::new(format!("planted-secret-{number}")),
                session_token: Some(Secret::new(format!("planted-token-{number}"))),
                identity: Some(format!("arn:aws:sts::1:assumed-role/{name}/session")),
            }),
            lifetime: Some(lifetime),
            not_after: Some(SystemTime::UNIX_EPOCH + lifetime),
        })
    }
}

struct World {
    cloud: Arc<Cloud>,
    broker: Broker,
    /// By how much this machine's clocks went on while it slept, and the time of day alone.
    slept: Arc<AtomicU64>,
    frozen: Arc<AtomicU64>,
}

impl World {
    fn new(lifetime_s: u64) -> Self {
        let cloud = Arc::new(Cloud {
            lifetime: Mutex::new(secs(lifetime_s)),
            delay: Mutex::default(),
            trouble: Mutex::default(),
            panics: AtomicBool::new(false),
            orphans: AtomicU64::new(0),
            calls: Mutex::default(),
            number: AtomicU64::new(1),
        });
        let (slept, frozen) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (began, boot, wall) = (Instant::now(), Arc::clone(&slept), Arc::clone(&frozen));
        let clock = Clock::new(move || {
            let nanos = u64::try_from(began.elapsed().as_nanos()).unwrap();
            let boot = 1_000 + nanos + boot.load(Ordering::Relaxed);
            Readings { boot, wall: boot + 1_000_000 + wall.load(Ordering::Relaxed) }
        });
        let fetch = Arc::clone(&cloud) as Arc<dyn Fetch>;
        let broker = Broker::start_with(fetch, 90, Audit::default(), clock, || 0.5);
        Self { cloud, broker, slept, frozen }
    }

    fn calls(&self) -> Vec<String> {
        assert_eq!(self.cloud.orphans.load(Ordering::Relaxed), 0);
        std::mem::take(&mut *lock(&self.cloud.calls))
    }

    fn trouble(&self, role: &str, class: Class) {
        let message = format!("the cloud says no to {role}");
        let error = FetchError { class, message, code: Some("AccessDenied".to_owned()), retry_after: None };
        lock(&self.cloud.trouble).insert(role.to_owned(), error);
    }

    fn well(&self) {
        lock(&self.cloud.trouble).clear();
    }

    fn open(&self, roles: &[&str]) -> Credentials {
        self.broker.open(&chain(roles), "job 1 of alice").unwrap()
    }
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn chain(roles: &[&str]) -> Chain {
    Chain::new(
        Source::AwsNode,
        roles.iter().map(|role| {
            Step::AssumeRole(AssumeRole {
                role: (*role).to_owned(),
                external_id: None,
                session_name: "grantd-0-1".to_owned(),
                source_identity: None,
                policy: None,
                duration: secs(3_600),
            })
        }),
    )
}

/// Case 73.
#[tokio::test(start_paused = true)]
async fn chains_that_begin_alike_share_what_they_begin_with() {
    let world = World::new(3_600);
    let (one, other) = (world.open(&["functional", "a"]), world.open(&["functional", "b"]));
    one.lease(secs(60)).await.unwrap();
    other.lease(secs(60)).await.unwrap();
    let mut calls = world.calls();
    calls.sort_unstable();
    assert_eq!(calls, ["a", "b", "functional", "this node"]);
    let third = world.open(&["functional", "a"]);
    assert!(third.current().is_some(), "it is there at once");
    assert_eq!(world.calls(), [""; 0]);
}

/// Case 74.
#[tokio::test(start_paused = true)]
async fn who_gives_up_waiting_ends_no_call_and_many_who_wait_make_one() {
    let world = World::new(3_600);
    *lock(&world.cloud.delay) = secs(5);
    let credentials = world.open(&["a"]);
    let waiting: Vec<_> = (0..100)
        .map(|_| {
            let credentials = credentials.clone();
            tokio::spawn(async move { credentials.lease(secs(60)).await.map(|lease| lease.generation) })
        })
        .collect();
    sleep(secs(7)).await;
    let first = waiting.into_iter().enumerate().filter_map(|(at, task)| {
        if at % 2 == 0 {
            task.abort();
            None
        } else {
            Some(task)
        }
    });
    for task in first.collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap(), Ok(1));
    }
    assert_eq!(world.calls(), ["this node", "a"]);
    let impatient = world.open(&["b"]);
    let error = impatient.lease_within(secs(1), secs(1)).await.unwrap_err();
    assert_eq!(error.to_string(), "no credentials of this node → b in time");
    sleep(secs(5)).await;
    assert!(impatient.current().is_some(), "the call went on");
    assert_eq!(world.calls(), ["b"]);
}

/// Case 64, in small: the main claim, in virtual time.
#[tokio::test(start_paused = true)]
async fn a_minute_through_three_hops_of_three_seconds_has_a_good_lease_at_every_time() {
    let world = World::new(3);
    *lock(&world.cloud.delay) = Duration::from_millis(40);
    let credentials = world.open(&["a", "b", "c"]);
    credentials.lease(secs(60)).await.unwrap();
    let mut generations = std::collections::BTreeSet::new();
    for _ in 0..6_000 {
        sleep(Duration::from_millis(10)).await;
        let lease = credentials.current().expect("there is one at every time");
        let left = lease.deadline.unwrap().since(world.broker.now());
        assert!(left > Duration::from_millis(300), "{left:?}");
        generations.insert(lease.generation);
    }
    assert!(generations.len() >= 15, "{}", generations.len());
    assert!(world.calls().len() <= 4 * 40, "one in a second and a half, each");
}

/// Case 82: a sleep that CLOCK_BOOTTIME counts, and one that only the time of day knows of.
#[tokio::test(start_paused = true)]
async fn after_a_sleep_of_two_hours_no_old_lease_is_used_and_a_new_one_is_there_within_a_second() {
    let world = World::new(3_600);
    let credentials = world.open(&["a"]);
    credentials.lease(secs(1)).await.unwrap();
    for (clock, generation) in [(&world.slept, 2), (&world.frozen, 3)] {
        clock.fetch_add(7_200 * 1_000_000_000, Ordering::Relaxed);
        let lease = credentials.lease(secs(1)).await.unwrap();
        assert_eq!(lease.generation, generation, "who asks sees the clock");
        sleep(secs(1)).await;
        assert_eq!(credentials.current().unwrap().generation, generation);
    }
    world.slept.fetch_add(7_200 * 1_000_000_000, Ordering::Relaxed);
    world.trouble("a", Class::Network);
    sleep(secs(1)).await;
    assert!(credentials.current().is_none(), "without a question too");
    assert!(world.calls().len() >= 6);
}

/// What each request to storage takes: never one that is late, refused, or of before a sleep that nobody has noticed yet.
#[tokio::test(start_paused = true)]
async fn a_request_takes_a_lease_at_once_while_it_is_not_late() {
    let world = World::new(900);
    let credentials = world.open(&["a"]);
    assert!(credentials.ready().is_none(), "there is none yet");
    credentials.lease(secs(1)).await.unwrap();
    let generation = || (*credentials.ready()).as_ref().map(|lease| lease.generation);
    assert_eq!(generation(), Some(1));
    // The next is asked for at 570 s. It is late 780 s after that.
    sleep(secs(620)).await;
    assert_eq!(generation(), Some(2));
    world.trouble("a", Class::Network);
    sleep(secs(720)).await;
    assert_eq!(generation(), Some(2), "renewing fails, and it is good for a while");
    sleep(secs(20)).await;
    assert_eq!((generation(), credentials.current().map(|lease| lease.generation)), (None, Some(2)), "late");
    assert_eq!(credentials.lease(secs(1)).await.unwrap().generation, 2, "who asks gets it all the same");
    world.well();
    sleep(secs(31)).await;
    assert_eq!(generation(), Some(3));
    credentials.rejected(3, Reject::Dead);
    assert_eq!(generation(), None);
    assert_eq!(credentials.lease(secs(1)).await.unwrap().generation, 4);
    for clock in [&world.slept, &world.frozen] {
        clock.fetch_add(2 * 1_000_000_000, Ordering::Relaxed);
        assert_eq!(generation(), None, "the broker has not looked since");
        sleep(secs(1)).await;
        assert_eq!(generation(), Some(4));
    }
}

/// Case 68.
#[tokio::test(start_paused = true)]
async fn who_waits_is_told_which_hop_may_not_assume_which() {
    let world = World::new(3_600);
    world.trouble("b", Class::Denied);
    let credentials = world.open(&["a", "b", "c"]);
    let error = credentials.lease(secs(1)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "hop 2 of 3, arn:aws:sts::1:assumed-role/a/session → b: the cloud says no to b"
    );
    assert_eq!(world.calls(), ["this node", "a", "b"]);
    let report = world.broker.report();
    let states: Vec<_> = report.iter().map(|step| (step.hop, step.hops, step.state)).collect();
    assert_eq!(states, [(0, 3, "fresh"), (1, 3, "fresh"), (2, 3, "denied"), (3, 3, "empty")]);
    assert_eq!(report[3].users, ["job 1 of alice".into()]);
    let shown = format!("{report:?}");
    assert!(!shown.contains("planted"), "{shown}");
}

/// Cases 70, 88.
#[tokio::test(start_paused = true)]
async fn a_role_that_is_given_back_works_again_by_itself() {
    let world = World::new(900);
    let credentials = world.open(&["a"]);
    credentials.lease(secs(1)).await.unwrap();
    world.trouble("a", Class::Denied);
    sleep(secs(880)).await;
    assert!(credentials.current().is_some(), "served until its end");
    assert_eq!(credentials.trouble().unwrap().class, Class::Denied);
    sleep(secs(100_000)).await;
    assert!(credentials.current().is_none());
    assert!(matches!(credentials.lease(secs(1)).await, Err(WaitError::Trouble(_))));
    world.well();
    sleep(secs(301)).await;
    assert!(credentials.current().is_some(), "within five minutes, though nobody asked");
    assert_eq!(credentials.trouble(), None);
}

/// Case 67.
#[tokio::test(start_paused = true)]
async fn while_the_cloud_is_down_requests_wait_and_then_go_on() {
    let world = World::new(900);
    let credentials = world.open(&["a"]);
    credentials.lease(secs(1)).await.unwrap();
    for step in ["a", "this node"] {
        world.trouble(step, Class::Network);
    }
    sleep(secs(1_000)).await;
    let waiting = tokio::spawn({
        let credentials = credentials.clone();
        async move { credentials.lease(secs(1)).await.map(|lease| lease.generation) }
    });
    sleep(secs(10_000)).await;
    assert!(!waiting.is_finished());
    world.well();
    sleep(secs(62)).await;
    assert_eq!(waiting.await.unwrap(), Ok(2));
}

/// Cases 76, 77.
#[tokio::test(start_paused = true)]
async fn a_refused_lease_is_replaced_once_and_access_denied_makes_no_burst() {
    let world = World::new(3_600);
    let credentials = world.open(&["a"]);
    credentials.lease(secs(1)).await.unwrap();
    world.calls();
    for _ in 0..50 {
        credentials.rejected(1, Reject::Dead);
    }
    assert!(credentials.current().is_none());
    assert_eq!(credentials.lease(secs(1)).await.unwrap().generation, 2);
    credentials.rejected(1, Reject::Dead);
    assert_eq!(world.calls(), ["a"]);
    for second in 0..1_000 {
        let generation = credentials.current().unwrap().generation;
        credentials.rejected(generation, Reject::AccessDenied);
        sleep(secs(1)).await;
        assert!(credentials.current().is_some(), "{second}");
    }
    assert_eq!(world.calls().len(), 4, "one in five minutes");
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_was_over_early_is_renewed_and_the_child_goes_on() {
    let world = World::new(3_600);
    let credentials = world.open(&["a", "b"]);
    credentials.lease(secs(1)).await.unwrap();
    world.calls();
    world.trouble("b", Class::ParentExpired);
    credentials.rejected(1, Reject::Dead);
    let waiting = tokio::spawn(async move { credentials.lease(secs(1)).await.map(|lease| lease.generation) });
    sleep(Duration::from_millis(5)).await;
    world.well();
    assert_eq!(waiting.await.unwrap(), Ok(2));
    assert_eq!(world.calls(), ["b", "a", "b"]);
}

/// Case 83.
#[tokio::test(start_paused = true)]
async fn a_cloud_that_is_asked_too_much_is_asked_slowly_by_all_together() {
    let world = World::new(3_600);
    world.trouble("first", Class::Throttled);
    let first = world.open(&["first"]);
    assert!(first.lease_within(secs(1), secs(1)).await.is_err());
    world.calls();
    let others: Vec<_> = (0..20).map(|role| world.open(&[&format!("r{role}")])).collect();
    sleep(Duration::from_millis(1_100)).await;
    assert!((5..=7).contains(&world.calls().len()), "five a second");
    for other in others {
        other.lease(secs(1)).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_uses_ends_after_ten_minutes_with_the_steps_before_it() {
    let world = World::new(900);
    let credentials = world.open(&["a", "b"]);
    credentials.lease(secs(1)).await.unwrap();
    drop(credentials);
    sleep(secs(599)).await;
    assert_eq!(world.broker.report().len(), 3);
    world.calls();
    sleep(secs(2)).await;
    assert_eq!(world.broker.report().len(), 2, "the last went");
    sleep(secs(1_300)).await;
    assert_eq!(world.broker.report().len(), 0);
    world.open(&["a"]).lease(secs(1)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_node_keeps_so_many_steps_and_no_more() {
    let world = World::new(3_600);
    let open: Vec<_> = (1..STEPS_MAX).map(|role| world.open(&[&format!("r{role}")])).collect();
    let refused = world.broker.open(&chain(&["one more"]), "x").map(|_| ()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "this node keeps credentials of 1024 cloud roles and no more at once; end what uses others, and try again"
    );
    world.open(&["r7"]);
    drop(open);
}

#[tokio::test(start_paused = true)]
async fn so_many_wait_and_no_more() {
    let world = World::new(3_600);
    world.trouble("this node", Class::Network);
    let credentials = world.open(&["a"]);
    let waiting: Vec<_> = (0..WAITERS_MAX)
        .map(|_| {
            let credentials = credentials.clone();
            tokio::spawn(async move { credentials.lease(secs(1)).await.is_ok() })
        })
        .collect();
    sleep(secs(1)).await;
    assert_eq!(credentials.lease(secs(1)).await.unwrap_err(), WaitError::TooMany(WAITERS_MAX));
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
    world.well();
    sleep(secs(60)).await;
    assert!(credentials.lease(secs(1)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_by_a_bug_or_never_is_a_failure_as_others() {
    let world = World::new(3_600);
    world.cloud.panics.store(true, Ordering::Relaxed);
    let credentials = world.open(&[]);
    assert_eq!(credentials.lease(secs(1)).await.unwrap().generation, 1);
    assert_eq!(world.calls().len(), 2);
    *lock(&world.cloud.delay) = secs(1_000_000);
    credentials.rejected(1, Reject::Dead);
    sleep(secs(61)).await;
    assert_eq!(credentials.trouble().unwrap().message, "no answer in a minute");
}

#[tokio::test(start_paused = true)]
async fn with_the_last_handle_everything_ends() {
    let world = World::new(3);
    let credentials = world.open(&["a"]);
    credentials.lease(secs(1)).await.unwrap();
    *lock(&world.cloud.delay) = secs(50);
    sleep(secs(2)).await;
    let World { cloud, broker, .. } = world;
    drop(broker);
    sleep(secs(1)).await;
    assert!(Arc::strong_count(&cloud) > 1, "a chain in use is kept");
    drop(credentials);
    sleep(secs(1)).await;
    assert_eq!(Arc::strong_count(&cloud), 1, "calls that were under way too");
}
