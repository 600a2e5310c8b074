//! What keeping credentials costs a node: 1,000 users of 50 chains of three hops on one broker. Calls to the cloud an hour, in
//! virtual time, on the refreshers alone; then all of it on the clock, with leases of three seconds; memory; and what the lease of
//! a request costs (`Credentials::ready`, which storage calls for each), beside an atomic load of a pointer and nothing else.
//!
//! The cloud is a function in this process that answers after some milliseconds: what is measured is ours.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use grantd_node::audit::Audit;
use grantd_node::cloud::broker::{Broker, Credentials};
use grantd_node::cloud::chain::{AssumeRole, Chain, Source, Step};
use grantd_node::cloud::lease::{AwsSession, Fetch, FetchError, Fetched, Lease, Material, Moment};
use grantd_node::cloud::refresher::{Action, Answer, Event, Parent, Refresher, Sight, Terms};
use grantd_node::secret::Secret;

use crate::figure::Goal;
use crate::report::{Line, Report, Table};
use crate::workload::Dice;

/// Who uses chains at once.
const USERS: usize = 1_000;
const CHAINS: usize = 50;
/// Roles in the middle: each is shared by some chains. The first is everybody's.
const TEAMS: usize = 10;
/// How long each answer of the cloud takes.
const LATENCY: Duration = Duration::from_millis(40);
/// What leases live on the clock: the shortest that the tests use.
const LIFE: Duration = Duration::from_secs(3);
/// How often each user makes a request.
const REQUEST_EVERY: Duration = Duration::from_millis(50);
/// Readings in one round.
const READINGS: usize = 1 << 18;
/// What one reading shall cost, in nanoseconds.
const GOAL: f64 = 20.0;
const HOUR: u64 = 3_600_000_000_000;

type Failed = Box<dyn std::error::Error>;

/// How much.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Seconds on the clock.
    pub seconds: u64,
    /// Rounds of readings.
    pub rounds: usize,
}

/// A cloud that always answers.
struct Cloud {
    calls: AtomicU64,
}

#[async_trait]
impl Fetch for Cloud {
    async fn fetch(&self, _: &Chain, _: Option<&Lease>) -> Result<Fetched, FetchError> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(LATENCY).await;
        let material = Material::Aws(AwsSession {
            access_key_id: format!("ASIA{number:016}"),
            secret_access_key: Secret::new(format!("{number:040}")),
            // As long as those of AWS.
            session_token: Some(Secret::new(format!("{number:0>800}"))),
            identity: Some("arn:aws:sts::000000000000:assumed-role/role/session".to_owned()),
        });
        Ok(Fetched { material, lifetime: Some(LIFE), not_after: None })
    }
}

/// Measures and reports.
pub async fn run(load: Load, report: &mut Report) -> Result<(), Failed> {
    report.heading(&format!("Credentials: {USERS} users of {CHAINS} chains of three hops on one node"));
    calls_an_hour(report);
    let before = resident_bytes()?;
    let cloud = Arc::new(Cloud { calls: AtomicU64::new(0) });
    let broker = Broker::start(Arc::clone(&cloud) as Arc<dyn Fetch>, 1, Audit::default());
    let mut users = Vec::with_capacity(USERS);
    for user in 0..USERS {
        users.push(broker.open(&chain(user % CHAINS), &format!("job {user} of user {user}"))?);
    }
    for user in &users {
        user.lease(Duration::ZERO).await?;
    }
    let bytes = resident_bytes()?.saturating_sub(before);
    let steps = broker.report().len();
    report.line(&format!(
        "memory     {} KiB for {steps} steps with their leases and {USERS} users, calls under way included",
        bytes / 1_024
    ));
    stream(load, &cloud, users.clone(), report).await?;
    // Where nothing else runs: neither this runtime's tasks between two readings, nor readings between its tasks.
    let costs = thread::scope(|scope| scope.spawn(|| read(load, &users)).join());
    tell(costs.map_err(|_panicked| "the thread that reads ended early")?, report);
    Ok(())
}

/// A functional role in front, a team's, one of its own.
fn chain(number: usize) -> Chain {
    let roles = ["functional".to_owned(), format!("team{}", number % TEAMS), format!("bucket{number}")];
    let step = |role| {
        Step::AssumeRole(AssumeRole {
            role: format!("arn:aws:iam::000000000000:role/{role}"),
            external_id: None,
            session_name: "grantd-00000000-1".to_owned(),
            source_identity: None,
            policy: None,
            duration: Duration::from_secs(3_600),
        })
    };
    Chain::new(Source::AwsNode, roles.map(step))
}

/// A day of virtual time on the refreshers: every step renews by itself, whoever reads.
fn calls_an_hour(report: &mut Report) {
    let mut table = Table::new(&["leases live", "steps", "calls to the cloud an hour", "without sharing"]);
    for (words, life) in [("15 min", 900), ("1 h", 3_600)] {
        let steps = 1 + 1 + TEAMS + CHAINS;
        let calls = |steps: usize| {
            let all: u64 = (0..steps).map(|seed| calls_of(Duration::from_secs(life), seed as u64)).sum();
            all / 24
        };
        // Each user with a chain of its own: what nested providers without a cache make.
        let alone = calls(USERS) * 4;
        table.row([words.to_owned(), steps.to_string(), calls(steps).to_string(), alone.to_string()]);
    }
    report.table(&table);
}

/// Calls of one step in a day.
fn calls_of(life: Duration, seed: u64) -> u64 {
    let (mut dice, mut calls, mut now) = (Dice::new(seed), 0, Moment::default());
    let mut step = Refresher::new(Terms { is_chained: true, asked: Some(life) }, now);
    let mut event = Event::Opened;
    while now.nanos < 24 * HOUR {
        let sight = Sight { now, dice: dice.share(), parent: Parent::Unneeded };
        let is_called = step.on(event, &sight).contains(&Action::Call);
        event = Event::Woke;
        if is_called {
            calls += 1;
            let answer = Answer { lifetime: Some(life), is_same: false, bound: None };
            event = Event::Ended { asked: now, outcome: Ok(answer) };
            now = now.after(LATENCY);
        } else if let Some(wake) = step.next_wake(Parent::Unneeded) {
            now = wake;
        } else {
            break;
        }
    }
    calls
}

/// Everybody makes requests, for some lives of the leases.
async fn stream(
    load: Load,
    cloud: &Cloud,
    users: Vec<Credentials>,
    report: &mut Report,
) -> Result<(), Failed> {
    let (calls, begun) = (cloud.calls.load(Ordering::Relaxed), Instant::now());
    let stop = Arc::new(AtomicBool::new(false));
    let tasks: Vec<_> = users
        .into_iter()
        .map(|user| {
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                let (mut requests, mut without, mut generations) = (0_u64, 0_u64, BTreeMap::new());
                while !stop.load(Ordering::Relaxed) {
                    requests += 1;
                    match &*user.ready() {
                        Some(lease) => drop(generations.insert(lease.generation, ())),
                        None => without += 1,
                    }
                    tokio::time::sleep(REQUEST_EVERY).await;
                }
                (requests, without, generations.len())
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(load.seconds)).await;
    stop.store(true, Ordering::Relaxed);
    let (mut requests, mut without, mut least) = (0, 0, usize::MAX);
    for task in tasks {
        let (own, own_without, generations) = task.await?;
        requests += own;
        without += own_without;
        least = least.min(generations);
    }
    let calls = cloud.calls.load(Ordering::Relaxed) - calls;
    report.line(&format!(
        "on the clock, leases of {LIFE:?}: {requests} requests in {:.1?}, {without} had to wait for their lease; each user saw at least \
         {least} leases; {calls} calls",
        begun.elapsed(),
    ));
    Ok(())
}

/// What one reading costs in each round, in nanoseconds.
#[derive(Default)]
struct Costs {
    /// For a request of one user.
    one: Vec<f64>,
    /// Of another user each time, kept by who reads.
    kept: Vec<f64>,
    /// A pointer, and nothing else.
    floor: Vec<f64>,
    /// Readings that found no lease.
    without: usize,
}

fn read(load: Load, users: &[Credentials]) -> Costs {
    let target = Box::new(1_u64);
    let bare = AtomicPtr::new(std::ptr::from_ref(&*target).cast_mut());
    let (mut costs, without) = (Costs::default(), Cell::new(0));
    let Some(one) = users.first() else { return costs };
    let note = |found: bool| without.set(without.get() + usize::from(!found));
    for _ in 0..load.rounds {
        costs.one.push(nanos_each(|_| note(black_box(one).ready().is_some())));
        costs.floor.push(nanos_each(|_| {
            black_box(black_box(&bare).load(Ordering::Acquire));
        }));
        costs
            .kept
            .push(nanos_each(|at| note(black_box(Option::clone(&users[at % USERS].ready())).is_some())));
    }
    costs.without = without.get();
    costs
}

fn tell(mut costs: Costs, report: &mut Report) {
    report.rounds(Line::Credentials, "the current lease", Goal::AtMost(GOAL), "ns", &costs.one);
    let median = |all: &mut Vec<f64>| {
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    };
    report.line(&format!(
        "the lease of a request {:.1} ns of one user; {:.1} ns kept, of another user each time; a bare atomic load {:.1} ns; {} of \
         {} readings found none",
        median(&mut costs.one),
        median(&mut costs.kept),
        median(&mut costs.floor),
        costs.without,
        2 * READINGS * costs.one.len(),
    ));
}

#[expect(clippy::cast_precision_loss, reason = "some milliseconds of nanoseconds")]
fn nanos_each(act: impl Fn(usize)) -> f64 {
    let begun = Instant::now();
    for at in 0..READINGS {
        act(at);
    }
    begun.elapsed().as_nanos() as f64 / READINGS as f64
}

fn resident_bytes() -> std::io::Result<usize> {
    let status = fs::read_to_string("/proc/self/status")?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = resident.and_then(|rest| rest.split_whitespace().next()?.parse::<usize>().ok());
    Ok(kilobytes.unwrap_or(0) * 1_024)
}
