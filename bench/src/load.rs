//! How load is put on what is measured.
//!
//! *Open loop*: operations have an intended start on a schedule that waits for nobody, and a latency counts from there. A
//! stall delays all that was due meanwhile, and all of it is counted: nothing is omitted because the client waited, too.
//! *Closed loop*: the next operation begins when the last one has ended, "as fast as possible". That gives throughput and
//! the latency of an undisturbed answer, and hides how long others would have waited in a stall. Each report says which.
//!
//! What is compared is run in short rounds, in turn, after a round that does not count.

use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use tokio::runtime::Handle;

use crate::figure::Figure;
use crate::noise::Calibration;
use crate::report::Latencies;
use crate::workload::Dice;

type Failed = Box<dyn std::error::Error>;

/// A start that is further away than this is slept for; what is nearer is waited for awake, because a timer wakes late.
const SLEEP_FROM: Duration = Duration::from_millis(2);
/// How much of it is left to be waited for awake.
const AWAKE: Duration = Duration::from_millis(1);
/// Pairs of looks at the clock from which it is known what one costs.
const CLOCK_LOOKS: usize = 2_000;

/// The seed of arrivals: all clients of a run meet the same ones.
const SEED: u64 = 5;

/// When operations are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrivals {
    /// At equal distances.
    Constant,
    /// As many independent clients make them: distances are distributed exponentially.
    Poisson,
}

/// The intended starts of an open loop, counted from its begin. It does not end.
#[derive(Clone, Debug)]
pub struct Schedule {
    arrivals: Arrivals,
    /// Seconds.
    distance: f64,
    next: f64,
    dice: Dice,
}

impl Schedule {
    /// `rate` operations a second, the same for the same seed.
    pub fn new(arrivals: Arrivals, rate: f64, seed: u64) -> Self {
        Self { arrivals, distance: 1.0 / rate, next: 0.0, dice: Dice::new(seed) }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let at = Duration::from_secs_f64(self.next);
        self.next += match self.arrivals {
            Arrivals::Constant => self.distance,
            Arrivals::Poisson => -(1.0 - self.dice.share()).ln() * self.distance,
        };
        Some(at)
    }
}

/// What one round has seen.
#[derive(Default)]
pub struct Round {
    /// Of single operations.
    pub latencies: Latencies,
    /// How many there were, in batches too.
    pub operations: u64,
    /// How long they took together.
    pub took: Duration,
}

impl Round {
    /// Operations a second.
    #[allow(clippy::cast_precision_loss, reason = "counts of one run are far below 2^53")]
    pub fn rate(&self) -> f64 {
        self.operations as f64 / self.took.as_secs_f64()
    }
}

/// What is measured, in rounds.
pub trait Subject {
    /// What it is called in the report.
    fn name(&self) -> String;

    /// Runs for about `length`, and at least one operation.
    fn round(&mut self, length: Duration) -> LocalBoxFuture<'_, Result<Round, Failed>>;
}

/// How operations begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// When the last one has ended.
    Closed,
    /// At their times, so many a second as independent clients would.
    Open(f64),
}

/// A subject that is a connection and what one client does with it.
pub struct Client<C, O> {
    name: String,
    connection: C,
    operation: O,
    pace: Pace,
    /// How many checks an operation is.
    batch: u64,
}

impl<C, O> Client<C, O>
where
    O: AsyncFnMut(&mut C) -> Result<(), Failed>,
{
    /// A client that does one thing after the other.
    pub fn new(name: impl Into<String>, connection: C, operation: O) -> Self {
        Self { name: name.into(), connection, operation, pace: Pace::Closed, batch: 1 }
    }

    /// The same, each operation being so many of what is counted.
    #[must_use]
    pub fn in_batches_of(self, batch: u64) -> Self {
        Self { batch, ..self }
    }

    /// The same at another pace.
    #[must_use]
    pub fn at(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }
}

impl<C, O> Subject for Client<C, O>
where
    O: AsyncFnMut(&mut C) -> Result<(), Failed>,
{
    fn name(&self) -> String {
        self.name.clone()
    }

    fn round(&mut self, length: Duration) -> LocalBoxFuture<'_, Result<Round, Failed>> {
        Box::pin(async move {
            let (connection, operation) = (&mut self.connection, &mut self.operation);
            let once = async || operation(connection).await;
            let mut round = match self.pace {
                Pace::Closed => closed(length, once).await?,
                Pace::Open(rate) => open(Schedule::new(Arrivals::Poisson, rate, SEED), length, once).await?,
            };
            round.operations *= self.batch;
            Ok(round)
        })
    }
}

/// All rounds of one subject.
pub struct Rounds {
    /// What it is called.
    pub name: String,
    /// In order.
    pub rounds: Vec<Round>,
}

impl Rounds {
    /// For each round the latency that `share` of its operations are not above, in microseconds.
    pub fn each(&self, share: f64) -> Vec<f64> {
        self.rounds.iter().map(|round| round.latencies.at(share)).collect()
    }

    /// For each round its operations a second.
    pub fn rates(&self) -> Vec<f64> {
        self.rounds.iter().map(Round::rate).collect()
    }

    /// The latency that `share` are not above, in microseconds.
    pub fn at(&self, share: f64) -> Option<Figure> {
        Figure::of(&self.each(share))
    }

    /// Operations a second.
    pub fn rate(&self) -> Option<Figure> {
        Figure::of(&self.rates())
    }

    /// The latencies of all rounds.
    pub fn all(&self) -> Latencies {
        let mut all = Latencies::default();
        for round in &self.rounds {
            all.merge(&round.latencies);
        }
        all
    }
}

/// How often, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rounds of each subject that count. One before them does not.
    pub rounds: usize,
    /// Of each round.
    pub length: Duration,
}

/// Runs all of `subjects` in turn, A B C A B C …, with the machine measured between them.
pub async fn interleave(
    subjects: &mut [Box<dyn Subject + '_>],
    plan: Plan,
    calibration: &mut Calibration,
) -> Result<Vec<Rounds>, Failed> {
    let mut all: Vec<Rounds> =
        subjects.iter().map(|subject| Rounds { name: subject.name(), rounds: Vec::new() }).collect();
    for number in 0..=plan.rounds {
        for (subject, rounds) in subjects.iter_mut().zip(&mut all) {
            calibration.once();
            let round =
                subject.round(plan.length).await.map_err(|error| format!("{}: {error}", rounds.name))?;
            // The first one warms caches, connections and branch predictors up.
            if number > 0 {
                rounds.rounds.push(round);
            }
        }
    }
    Ok(all)
}

/// Runs a client as a program does that is not the server: on one thread, with a runtime of its own.
pub fn on_a_thread<T, E>(work: impl Future<Output = Result<T, E>>) -> Result<T, E>
where
    E: From<std::io::Error>,
{
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

/// The same, for work that cannot leave its thread, which begins there. Servers go on in the runtime that this is called
/// from, whose handle the work is given.
pub fn apart<T, W>(work: W) -> Result<T, Failed>
where
    T: Send,
    W: AsyncFnOnce(&Handle) -> Result<T, Failed> + Send,
{
    let servers = Handle::current();
    let run = || on_a_thread::<T, Failed>(work(&servers)).map_err(|error| error.to_string());
    // Waiting stops no server: this thread is not one of the runtime's workers.
    let done = std::thread::scope(|scope| scope.spawn(run).join());
    Ok(done.map_err(|_| "the client's thread has panicked")??)
}

/// A closed loop of one client: each operation begins when the last one has ended.
pub async fn closed(
    length: Duration,
    mut operation: impl AsyncFnMut() -> Result<(), Failed>,
) -> Result<Round, Failed> {
    let mut round = Round::default();
    let begun = Instant::now();
    while round.operations == 0 || begun.elapsed() < length {
        let from = Instant::now();
        operation().await?;
        round.latencies.record(from.elapsed());
        round.operations += 1;
    }
    round.took = begun.elapsed();
    Ok(round)
}

/// A closed loop over operations of microseconds and more, in this thread.
pub fn closed_in_process(
    length: Duration,
    mut operation: impl FnMut() -> Result<(), Failed>,
) -> Result<Round, Failed> {
    let mut round = Round::default();
    let begun = Instant::now();
    while round.operations == 0 || begun.elapsed() < length {
        let from = Instant::now();
        operation()?;
        round.latencies.record(from.elapsed());
        round.operations += 1;
    }
    round.took = begun.elapsed();
    Ok(round)
}

/// An open loop of one connection: each operation begins at its time on `schedule`, or when the one before it has ended if
/// that is later; its latency counts from its time on the schedule.
pub async fn open(
    schedule: Schedule,
    length: Duration,
    mut operation: impl AsyncFnMut() -> Result<(), Failed>,
) -> Result<Round, Failed> {
    let mut round = Round::default();
    let begun = Instant::now();
    for due in schedule.take_while(|due| *due < length) {
        let intended = begun + due;
        wait(intended).await;
        operation().await?;
        round.latencies.record(intended.elapsed());
        round.operations += 1;
    }
    round.took = begun.elapsed();
    Ok(round)
}

async fn wait(until: Instant) {
    let left = until.saturating_duration_since(Instant::now());
    if left > SLEEP_FROM {
        tokio::time::sleep(left.saturating_sub(AWAKE)).await;
    }
    while Instant::now() < until {
        tokio::task::yield_now().await;
    }
}

/// A closed loop over operations of nanoseconds, in this thread. Each one is timed, and what a look at the clock costs is
/// taken off; then as many are run without a clock between them, from which comes the rate.
pub fn closed_nanoseconds(length: Duration, clock: Duration, mut operation: impl FnMut()) -> Round {
    let mut round = Round::default();
    let begun = Instant::now();
    while begun.elapsed() < length / 2 {
        let from = Instant::now();
        operation();
        round.latencies.record(from.elapsed().saturating_sub(clock));
    }
    let begun = Instant::now();
    while round.operations == 0 || begun.elapsed() < length / 2 {
        for _ in 0..OPERATIONS_BETWEEN_LOOKS {
            operation();
        }
        round.operations += OPERATIONS_BETWEEN_LOOKS;
    }
    round.took = begun.elapsed();
    round
}

/// So many that looking at the clock after them is no part of what they cost.
const OPERATIONS_BETWEEN_LOOKS: u64 = 1_000;

/// An open loop over operations of nanoseconds, in this thread, which never sleeps.
pub fn open_nanoseconds(
    schedule: Schedule,
    length: Duration,
    clock: Duration,
    mut operation: impl FnMut(),
) -> Round {
    let mut round = Round::default();
    let begun = Instant::now();
    for due in schedule.take_while(|due| *due < length) {
        let intended = begun + due;
        while Instant::now() < intended {
            std::hint::spin_loop();
        }
        operation();
        round.latencies.record(intended.elapsed().saturating_sub(clock));
        round.operations += 1;
    }
    round.took = begun.elapsed();
    round
}

/// What two looks at the clock with nothing between them are apart: the median of many.
pub fn clock_cost() -> Duration {
    let mut looks: Vec<Duration> = (0..CLOCK_LOOKS).map(|_| Instant::now().elapsed()).collect();
    looks.sort();
    looks[CLOCK_LOOKS / 2]
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const RATE: f64 = 1_000.0;

    #[test]
    fn a_schedule_is_the_same_for_the_same_seed_and_keeps_its_rate() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let starts: Vec<_> = Schedule::new(arrivals, RATE, 1).take(10_000).collect();
            assert_eq!(starts, Schedule::new(arrivals, RATE, 1).take(10_000).collect::<Vec<_>>());
            assert!(starts.is_sorted());
            let seconds = starts.last().expect("10,000 of them").as_secs_f64();
            assert!(
                (9.5..10.5).contains(&seconds),
                "{arrivals:?}: 10,000 at 1,000 a second took {seconds} s"
            );
        }
    }

    #[tokio::test]
    async fn a_stall_is_counted_for_all_that_was_due_in_it() {
        let calls = Cell::new(0);
        let stalls_once = async || {
            calls.set(calls.get() + 1);
            if calls.get() == 10 {
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        };
        let schedule = Schedule::new(Arrivals::Constant, RATE, 1);
        let open = open(schedule, Duration::from_millis(200), stalls_once).await.expect("nothing fails");
        assert_eq!(open.operations, 200);
        // A hundred were due while one stalled: half of those waited 50 ms or longer.
        assert!(open.latencies.at(0.8) > 40_000.0, "p80 is {} µs", open.latencies.at(0.8));

        calls.set(0);
        let closed = closed(Duration::from_millis(200), stalls_once).await.expect("nothing fails");
        assert!(closed.latencies.at(0.8) < 40_000.0, "a closed loop sees the stall once");
    }

    struct Noting<'a>(&'static str, &'a std::cell::RefCell<String>);

    impl Subject for Noting<'_> {
        fn name(&self) -> String {
            self.0.to_owned()
        }

        fn round(&mut self, _: Duration) -> LocalBoxFuture<'_, Result<Round, Failed>> {
            self.1.borrow_mut().push_str(self.0);
            Box::pin(async { Ok(Round::default()) })
        }
    }

    #[tokio::test]
    async fn rounds_are_run_in_turn_and_the_first_one_does_not_count() {
        let order = std::cell::RefCell::new(String::new());
        let mut subjects: Vec<Box<dyn Subject>> =
            ["a", "b", "c"].map(|name| Box::new(Noting(name, &order)) as Box<dyn Subject>).into();
        let mut calibration = Calibration::new().expect("/proc is there");
        let plan = Plan { rounds: 2, length: Duration::ZERO };
        let all = interleave(&mut subjects, plan, &mut calibration).await.expect("nothing fails");
        drop(subjects);
        assert_eq!(order.into_inner(), "abcabcabc");
        assert!(all.iter().all(|rounds| rounds.rounds.len() == 2));
    }
}
