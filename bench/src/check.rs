//! The check path in process: what one answer costs, timed alone and in a stream, by id and by name, in batches, on two
//! threads, and while changes are published; and what the catalog needs in memory.
//!
//! All ways to ask take turns in short rounds on the same questions, and a figure is the median of its rounds, so that a
//! neighbour on the machine disturbs all of them alike. A stream is measured by the thread's own time on the processor; an
//! answer alone by the clock, less what two readings of it cost with nothing between them.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::thread;
use std::time::{Duration, Instant};

use grantd_catalog::command::{
    Actor, Command, NameContext, ObjectName, Outcome, RoleSpec, TablePattern, Targets,
};
use grantd_catalog::id::{PrincipalId, Timestamp, Version};
use grantd_catalog::index::Question as Asked;
use grantd_catalog::live::{Live, Reader};
use grantd_catalog::name::Name;
use grantd_catalog::privilege::Privilege;
use grantd_catalog::state::State;
use grantd_catalog::view::View;
use rustix::time::{ClockId, clock_gettime};

use crate::figure::{Figure, Goal};
use crate::memory::{self, SEED};
use crate::plot;
use crate::report::{self, Latencies, Line, Report};
use crate::workload::{Dice, Draw, Size, World};

/// Questions of each kind.
const QUESTIONS: usize = 1 << 20;
/// Questions of one round.
const ROUND: usize = 1 << 15;
/// The ways to ask that have goals.
const PINNED: &str = "by id, pinned view";
const LEASED: &str = "by id, newest view, lease and clock";
const NAMED: &str = "from four names";
const BATCHES: &str = "batches of 1,024";
/// Questions of one batch.
const BATCH: usize = 1 << 10;
/// Questions that fit into the first cache.
const HOT: usize = 64;
/// How long one load is while changes are published.
const PUBLISHING: Duration = Duration::from_secs(3);
/// Changes a second that are published meanwhile.
const RATES: [u32; 3] = [0, GOAL_RATE, 10_000];
/// That which has goals.
const GOAL_RATE: u32 = 1_000;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// The largest world: so many times 100,000 grants; those of 1, 10 and 100 up to it are measured.
    pub scale: usize,
    /// Rounds of each way to ask.
    pub rounds: usize,
}

/// Measures and reports.
pub fn run(load: Load, report: &mut Report) -> Result<(), Box<dyn std::error::Error>> {
    for scale in [1, 10, 100].into_iter().filter(|scale| *scale <= load.scale) {
        measure_world(scale, load.rounds, report)?;
    }
    Ok(())
}

fn measure_world(scale: usize, rounds: usize, report: &mut Report) -> Result<(), Box<dyn std::error::Error>> {
    let world = World::generate(Size::ONE.times(scale), SEED);
    let Size { users, roles, tables, grants } = world.size;
    report.heading(&format!("In process: {users} users, {roles} roles, {tables} tables, {grants} grants"));
    let parts = memory::breakdown(scale)?;
    let all = parts.principals + parts.tables + parts.grants;
    let begun = Instant::now();
    let state = world.state()?;
    let built = begun.elapsed();
    let (closures, objects) = state.index().heap_bytes();
    report.line(&format!(
        "memory     index {:.1} B/grant ({:.1} of closures, {:.1} of objects; {:.0} B/user); restored in {built:.1?}",
        per(closures + objects, grants),
        per(closures, grants),
        per(objects, grants),
        per(closures, users),
    ));
    report.line(&format!(
        "           all {:.0} B/grant: {:.0} B a principal, {:.0} B a table with its columns, {:.0} B a grant itself",
        per(all, grants),
        per(parts.principals, users + roles),
        per(parts.tables, tables),
        per(parts.grants, grants),
    ));
    let mut bytes = |what: &str, limit, count: f64| {
        report.rounds(Line::Memory, &format!("{grants} grants, {what}"), Goal::AtMost(limit), "B", &[count]);
    };
    bytes("a grant, hot", 10.0, per(closures + objects, grants));
    bytes("a grant, in all", 64.0, per(all, grants));
    bytes("a user", 200.0, per(closures, users));
    let live = Live::new(View::build(Version(1), state));
    for draw in [Draw::Uniform, Draw::Zipf] {
        let questions = asked(&world, draw);
        let allowed = questions.iter().filter(|asked| by_id(&live.load(), asked)).count();
        report.line(&format!(
            "{draw:?}: {:.1} % of the questions are answered with yes",
            100.0 * per(allowed, QUESTIONS)
        ));
        let scale = (draw == Draw::Uniform).then_some(scale);
        in_turn(&world, &live, &questions, rounds, scale, report);
        if draw == Draw::Uniform {
            two_threads(&live, &questions, rounds, scale, report);
        }
    }
    publishing(&world, &live, scale == 1, report)?;
    Ok(())
}

fn asked(world: &World, draw: Draw) -> Vec<Asked> {
    let questions = world.questions(QUESTIONS, draw, SEED);
    questions.iter().map(|q| (world.principal(q.who), world.object(q.table), q.privilege)).collect()
}

fn by_id(view: &View, (principal, object, privilege): &Asked) -> bool {
    view.index().holds(*principal, *object, *privilege)
}

/// As `Decider` in `raft` decides: the lease, the view, the answer, the view again, the clock.
fn under_lease(expires: &AtomicU64, reader: &mut Reader, asked: &Asked) -> bool {
    let expires = expires.load(Ordering::Acquire);
    let view = reader.view();
    let (version, answer) = (view.version(), by_id(view, asked));
    fence(Ordering::Acquire);
    let now = clock_gettime(ClockId::Boottime);
    let nanos =
        u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0);
    answer && reader.view().version() == version && nanos < expires
}

/// By the names of the user, the database, the schema and the table.
fn by_name<'a>(world: &World, view: &'a View) -> impl Way + use<'a> {
    let users: Vec<_> = (0..world.size.users).map(|who| world.name(who)).collect();
    let tables: Vec<_> = (0..world.size.tables).map(World::table_name).collect();
    let (first_user, first_table) = (world.principal(0).0, world.object(0).0);
    move |(principal, object, privilege): &Asked| {
        let state = view.state();
        let who = state.principal_called(&users[(principal.0 - first_user) as usize]);
        let table = &tables[(object.0 - first_table) as usize];
        let table = state.relation_called(["defaultdb", "public", table]);
        who.zip(table).is_some_and(|(who, table)| view.index().holds(who, table, *privilege))
    }
}

/// One way to ask.
trait Way {
    fn answer(&mut self, asked: &Asked) -> bool;
}

impl<F: FnMut(&Asked) -> bool> Way for F {
    fn answer(&mut self, asked: &Asked) -> bool {
        self(asked)
    }
}

/// A way to ask, compiled with the loops around it.
trait Measured {
    /// How many yes.
    fn stream(&mut self, questions: &[Asked]) -> usize;
    /// What each takes, in nanoseconds by the clock.
    fn alone(&mut self, questions: &[Asked], taken: &mut Vec<u32>);
}

impl<W: Way> Measured for W {
    fn stream(&mut self, questions: &[Asked]) -> usize {
        questions.iter().filter(|asked| self.answer(asked)).count()
    }

    fn alone(&mut self, questions: &[Asked], taken: &mut Vec<u32>) {
        taken.clear();
        for asked in questions {
            let begun = Instant::now();
            black_box(self.answer(asked));
            taken.push(u32::try_from(begun.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
    }
}

/// Answers [`BATCH`] questions at once.
struct Batches<'a> {
    live: &'a Live,
    answers: Vec<bool>,
}

impl Measured for Batches<'_> {
    fn stream(&mut self, questions: &[Asked]) -> usize {
        let view = self.live.load();
        questions
            .chunks(BATCH)
            .map(|batch| {
                self.answers.clear();
                view.index().holds_each(batch, &mut self.answers);
                self.answers.iter().filter(|yes| **yes).count()
            })
            .sum()
    }

    fn alone(&mut self, _: &[Asked], taken: &mut Vec<u32>) {
        taken.clear();
    }
}

/// The figures of one way to ask, one for each round.
#[derive(Default)]
struct Figures {
    stream: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    p999: Vec<f64>,
}

impl Figures {
    /// Takes one round's latencies over.
    fn record(&mut self, taken: &mut [u32], overhead: f64) {
        if taken.is_empty() {
            return;
        }
        taken.sort_unstable();
        let at = |thousandths: usize| f64::from(taken[(taken.len() - 1) * thousandths / 1_000]) - overhead;
        self.p50.push(at(500));
        self.p99.push(at(990));
        self.p999.push(at(999));
    }

    fn line(&mut self, name: &str) -> String {
        let stream = median(&mut self.stream);
        let mut line = format!("    {name:<34} {stream:>6.1} ns = {:>5.1} M/s", 1_000.0 / stream);
        if !self.p50.is_empty() {
            let [p50, p99, p999] = [&mut self.p50, &mut self.p99, &mut self.p999].map(|all| median(all));
            line += &format!("   alone p50 {p50:>6.0}  p99 {p99:>6.0}  p99.9 {p999:>6.0} ns");
        }
        line
    }
}

fn in_turn(
    world: &World,
    live: &Live,
    questions: &[Asked],
    rounds: usize,
    scale: Option<usize>,
    report: &mut Report,
) {
    let pinned = live.load_full();
    let view = &*pinned;
    let (mut reader, mut leased) = (live.reader(), live.reader());
    let (closures, objects) = view.state().index().heap_bytes();
    let expires = AtomicU64::new(u64::MAX);
    let mut ways: Vec<(&str, Box<dyn Measured + '_>)> = vec![
        ("pointer chase in 1 MB (calibration)", Box::new(chase(1 << 20))),
        ("pointer chase in the index's bytes", Box::new(chase(closures + objects))),
        (PINNED, Box::new(|asked: &Asked| by_id(view, asked))),
        ("by id, newest view each time", Box::new(move |asked: &Asked| by_id(reader.view(), asked))),
        (LEASED, Box::new(move |asked: &Asked| under_lease(&expires, &mut leased, asked))),
        ("by id, guard each time", Box::new(|asked: &Asked| by_id(&live.load(), asked))),
        ("by id, counted reference each time", Box::new(|asked: &Asked| by_id(&live.load_full(), asked))),
        (NAMED, Box::new(by_name(world, view))),
        (BATCHES, Box::new(Batches { live, answers: Vec::new() })),
    ];
    let mut figures: Vec<_> = ways.iter().map(|_| Figures::default()).collect();
    let (mut hot, mut taken) = (Figures::default(), Vec::with_capacity(ROUND));
    for round in 0..rounds {
        let begin = round * ROUND % questions.len();
        let some = &questions[begin..begin + ROUND];
        for ((_, way), figures) in ways.iter_mut().zip(&mut figures) {
            figures.stream.push(nanos_each(some.len(), || way.stream(some)));
            way.alone(some, &mut taken);
            figures.record(&mut taken, overhead());
        }
        let mut way = |asked: &Asked| by_id(view, asked);
        let few = &some[..HOT];
        let repeat = || (0..ROUND / HOT).map(|_| way.stream(black_box(few))).sum();
        hot.stream.push(nanos_each(ROUND, repeat));
    }
    for ((name, _), figures) in ways.iter().zip(&mut figures) {
        report.line(&figures.line(name));
        if let Some(scale) = scale {
            goals_of(name, figures, scale, report);
        }
    }
    report.line(&hot.line("by id, 64 questions again and again"));
}

/// What is a goal for this way to ask, in a world of so many times 100,000 grants.
fn goals_of(name: &str, figures: &Figures, scale: usize, report: &mut Report) {
    let rates: Vec<f64> = figures.stream.iter().map(|nanos| 1_000.0 / nanos).collect();
    let mut at_most = |line, what: &str, nanos, rounds: &[f64]| {
        report.rounds(line, what, Goal::AtMost(nanos), "ns", rounds);
    };
    match (name, scale) {
        (PINNED, 1) => {
            at_most(Line::Check, "p50", 50.0, &figures.p50);
            at_most(Line::Check, "p99", 150.0, &figures.p99);
            at_most(Line::Check, "p99.9", 400.0, &figures.p999);
            report.rounds(Line::Check, "a thread", Goal::AtLeast(18.0), "M/s", &rates);
        }
        (LEASED, 1) => at_most(Line::Check, "p50 with lease and clock", 100.0, &figures.p50),
        (NAMED, 1) => at_most(Line::Check, "p50 from names", 130.0, &figures.p50),
        (PINNED, 10) => {
            at_most(Line::Size, "1 M, p50", 150.0, &figures.p50);
            at_most(Line::Size, "1 M, p99", 450.0, &figures.p99);
        }
        (BATCHES, 10) => at_most(Line::Size, "1 M, in batches, each", 70.0, &figures.stream),
        (PINNED, 100) => {
            at_most(Line::Size, "10 M, p50", 300.0, &figures.p50);
            at_most(Line::Size, "10 M, p99", 900.0, &figures.p99);
        }
        (BATCHES, 100) => at_most(Line::Size, "10 M, in batches, each", 140.0, &figures.stream),
        (_, _) => {}
    }
}

/// Nanoseconds of this thread's own time for each of `count`.
fn nanos_each(count: usize, act: impl FnOnce() -> usize) -> f64 {
    let begun = thread_time();
    black_box(act());
    (thread_time() - begun).as_secs_f64() * 1e9 / per(count, 1)
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// What two readings of the clock cost with nothing between them, in nanoseconds.
fn overhead() -> f64 {
    let mut taken = Vec::with_capacity(1_001);
    for _ in 0..1_001 {
        let begun = Instant::now();
        taken.push(begun.elapsed().as_secs_f64() * 1e9);
    }
    median(&mut taken)
}

/// Follows one random cycle through so many bytes, a step for each question: what one load costs that waits for the one before,
/// with what the other ways leave in the caches.
fn chase(bytes: usize) -> impl Way {
    let steps = bytes / 64;
    let mut order: Vec<usize> = (0..steps).collect();
    let mut dice = Dice::new(SEED);
    for at in (1..steps).rev() {
        order.swap(at, dice.below(at));
    }
    // One cache line each.
    let mut next = vec![[0_usize; 8]; steps];
    for (at, to) in order.iter().zip(order.iter().cycle().skip(1)) {
        next[*at][0] = *to;
    }
    let mut at = 0;
    move |_: &Asked| {
        at = next[at][0];
        at == 0
    }
}

/// The same stream on one thread and on two at once, each with a reader of its own: what they share would cost processor
/// time.
fn two_threads(live: &Live, questions: &[Asked], rounds: usize, scale: Option<usize>, report: &mut Report) {
    let stream = |half: usize| {
        let mut reader = live.reader();
        let some = &questions[half * ROUND..(half + 1) * ROUND];
        nanos_each(some.len(), || some.iter().filter(|asked| by_id(reader.view(), asked)).count())
    };
    let counted = |half: usize| {
        let some = &questions[half * ROUND..(half + 1) * ROUND];
        nanos_each(some.len(), || some.iter().filter(|asked| by_id(&live.load_full(), asked)).count())
    };
    let pair = |act: &(dyn Fn(usize) -> f64 + Sync)| {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            one.push(act(0));
            thread::scope(|scope| {
                let others = [0, 1].map(|half| scope.spawn(move || act(half)));
                two.extend(others.into_iter().filter_map(|thread| thread.join().ok()));
            });
        }
        let rates: Vec<f64> = two.iter().map(|nanos| 2_000.0 / nanos).collect();
        let (one, two) = (median(&mut one), median(&mut two));
        let text = format!(
            "{one:>6.1} ns on one, {two:>6.1} ns each on two = {:.1} M/s on two processors, {:.2} x",
            2_000.0 / two,
            2.0 * one / two
        );
        (text, rates)
    };
    let (text, rates) = pair(&stream);
    report.line(&format!("{:<34} {text}", "two threads, a reader each"));
    if scale == Some(1) {
        report.rounds(Line::Check, "two threads", Goal::AtLeast(33.0), "M/s", &rates);
    }
    report.line(&format!("{:<34} {}", "two threads, counted references", pair(&counted).0));
}

/// Answers alone while another thread grants and revokes.
fn publishing(
    world: &World,
    live: &Live,
    has_goals: bool,
    report: &mut Report,
) -> Result<(), Box<dyn std::error::Error>> {
    let questions = asked(world, Draw::Uniform);
    report.line("GRANT and REVOKE in turn, applied and published by another thread:");
    let mut version = Version(live.load().version().0);
    let (mut quiet, mut lines) = (None, Vec::new());
    for rate in RATES {
        let mut latencies = Latencies::default();
        let stop = AtomicBool::new(false);
        let begun = Instant::now();
        let mut figures = Figures::default();
        let mut costs = thread::scope(|scope| {
            let writer = scope.spawn(|| write(world, live, version, rate, &stop));
            let mut reader = live.reader();
            let mut way = |asked: &Asked| by_id(reader.view(), asked);
            let mut taken = Vec::with_capacity(ROUND);
            for round in 0_usize.. {
                if begun.elapsed() > PUBLISHING {
                    break;
                }
                let from = round * ROUND % questions.len();
                let some = &questions[from..from + ROUND];
                figures.stream.push(nanos_each(some.len(), || way.stream(some)));
                way.alone(some, &mut taken);
                let clock = overhead();
                figures.record(&mut taken, clock);
                for nanos in &taken {
                    latencies.record(Duration::from_secs_f64((f64::from(*nanos) - clock).max(0.0) / 1e9));
                }
            }
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap_or_default()
        });
        version = live.load().version();
        report.line(&figures.line(&format!("{rate} a second wanted")));
        lines.push((format!("{rate} changes a second"), latencies));
        let now = Figure::of(&figures.p50).zip(Figure::of(&figures.p99));
        match (quiet, now) {
            (None, now) => quiet = now,
            (Some((p50, p99)), Some((p50_now, p99_now))) if rate == GOAL_RATE && has_goals => {
                beside_quiet(report, "p50", 1.1, p50_now.over(p50), p50);
                beside_quiet(report, "p99", 1.5, p99_now.over(p99), p99);
            }
            (Some(_), _) => {}
        }
        if !costs.is_empty() {
            let count = costs.len();
            if rate == GOAL_RATE {
                let micros: Vec<f64> = costs.iter().map(|cost| cost / 1e3).collect();
                let what = format!("one change, {} grants", world.size.grants);
                report.rounds(Line::Publishing, &what, Goal::AtMost(5.0), "µs", &micros);
            }
            report.line(&format!(
                "{count} changes, p50 {:.2} µs each of the thread's time",
                median(&mut costs) / 1e3
            ));
        }
    }
    if has_goals {
        let caption = "One check in process, closed loop, while changes are published";
        report.plot("publishing", |path| plot::percentiles(path, caption, &lines))?;
    }
    Ok(())
}

fn beside_quiet(report: &mut Report, what: &str, limit: f64, figure: Figure, quiet: Figure) {
    report.measured(report::Measured {
        line: Line::Publishing,
        what: what.to_owned(),
        goal: Goal::AtMost(limit),
        unit: "×",
        figure,
        beside: format!("quiet {quiet} ns"),
    });
}

/// Grants and revokes until it is told to stop. The thread's time for each, in nanoseconds: applied, published, and the view
/// before given up.
fn write(world: &World, live: &Live, mut version: Version, rate: u32, stop: &AtomicBool) -> Vec<f64> {
    let mut costs = Vec::new();
    if rate == 0 {
        return costs;
    }
    let (begun, mut dice) = (Instant::now(), Dice::new(SEED));
    let context =
        NameContext { database: Some(Name::from("defaultdb")), search_path: vec![Name::from("public")] };
    let mut changes = Vec::new();
    let mut last = None;
    while !stop.load(Ordering::Relaxed) {
        let due = begun + Duration::from_secs_f64(per(costs.len(), 1) / f64::from(rate));
        if let Some(rest) = due.checked_duration_since(Instant::now()) {
            thread::sleep(rest);
        }
        let command = match last.take() {
            Some((table, who)) => change(world, table, who, false),
            None => {
                let picked = (dice.below(world.size.tables), dice.below(world.size.users));
                last = Some(picked);
                change(world, picked.0, picked.1, true)
            }
        };
        let before = thread_time();
        let view = live.load_full();
        let mut state: State = view.state().clone();
        version = Version(version.0 + 1);
        changes.clear();
        let outcome = state.apply(
            version,
            Timestamp::default(),
            Actor::of(PrincipalId::ROOT),
            &context,
            &command,
            &mut changes,
        );
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        live.publish(Arc::new(view.next(version, state)));
        drop(view);
        costs.push((thread_time() - before).as_secs_f64() * 1e9);
    }
    costs
}

fn change(world: &World, table: usize, who: usize, grants: bool) -> Command {
    let privileges = vec![Privilege::Select];
    let name = ObjectName { parts: vec![Name::from(World::table_name(table).as_str())] };
    let on = Targets::Tables(vec![TablePattern::Table(name)]);
    let grantee = vec![RoleSpec::Name(world.name(who).as_str().into())];
    if grants {
        Command::Grant { privileges, on, to: grantee, grant_option: false }
    } else {
        Command::Revoke { privileges, on, from: grantee, grant_option_only: false }
    }
}

fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "counts of one run are far below 2^53")]
fn per(amount: usize, count: usize) -> f64 {
    amount as f64 / count as f64
}
