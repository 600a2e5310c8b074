//! Others that decide who may do what, with the same catalog and the same questions as grantd, in the same run.
//!
//! Each one is told the world in the way that suits it best: grants are data for Cedar, not policies; for Rego the closure
//! of memberships is computed beforehand; of casbin's rules and of etcd's keys there are as few as the questions need. What
//! a question needs is made before it is timed. All answers of a sample are compared with grantd's: **one that differs
//! fails the run.**

#[cfg(feature = "peers")]
pub mod casbin;
#[cfg(feature = "peers")]
pub mod cedar;
pub mod etcd;
pub mod grantd;
pub mod postgres;
#[cfg(feature = "peers")]
pub mod regorus;

use std::path::Path;
use std::time::Instant;

use futures::future::LocalBoxFuture;

use crate::figure::{Figure, Goal, digits};
use crate::load::{Plan, Rounds, Subject, interleave};
use crate::noise::Calibration;
use crate::peers::grantd::Grantd;
use crate::plot;
use crate::report::{Line, Measured, Report, Table};
use crate::workload::{Draw, Question, Size, World};

type Failed = Box<dyn std::error::Error>;

/// The seeds of world and questions.
const WORLD_SEED: u64 = 1;
const QUESTIONS_SEED: u64 = 2;
/// Questions that grantd is asked in turn; the others are asked the first of them.
const QUESTIONS: usize = 200_000;
/// What is made ready for a peer: enough that none of its caches holds all of it.
const PEER_QUESTIONS: usize = 10_000;
/// Answers that are compared with grantd's; of slow peers as many as they give.
const SAMPLE: usize = 2_000;
/// Somebody who was told a world, and is asked about it.
pub trait Peer: Subject {
    /// The answers to the first `count` of its questions, or to all if they are fewer.
    fn answers(&mut self, count: usize) -> LocalBoxFuture<'_, Result<Vec<bool>, Failed>>;

    /// How many times as long as grantd it shall take at least, if that is a goal.
    fn goal(&self) -> Option<f64>;
}

/// Starts all peers, compares their answers with grantd's, and measures all of them in turn.
pub async fn run(report: &mut Report, plan: Plan, calibration: &mut Calibration) -> Result<(), Failed> {
    report.heading("Beside others that decide");
    let begun = Instant::now();
    let world = World::generate(Size::ONE, WORLD_SEED);
    let questions = world.questions(QUESTIONS, Draw::Uniform, QUESTIONS_SEED);
    let asked = &questions[..PEER_QUESTIONS];
    let mut checked = Checked { report, subjects: Vec::new(), goals: Vec::new() };
    add_engines(&mut checked, &world, asked).await?;
    let postgres = postgres::start(&world).await?;
    if let Some(server) = &postgres {
        for kind in postgres::Kind::ALL {
            let peer = postgres::Asked::new(server, &world, asked, kind).await?;
            let questions = peer.questions().to_vec();
            checked.add(peer, &world, &questions, SAMPLE).await?;
        }
    } else {
        checked.report.missing("PostgreSQL: it is not installed (apt-get install postgresql)".to_owned());
    }
    let few = etcd::choose(&world, &questions);
    match etcd::Etcd::start(&world, &few).await? {
        Some(peer) => checked.add(peer, &world, &few, SAMPLE).await?,
        None => checked.report.missing("etcd: it is not installed (apt-get install etcd-server)".to_owned()),
    }
    let mut subjects: Vec<Box<dyn Subject>> = vec![Box::new(Grantd::new(&world, &questions)?)];
    subjects.append(&mut checked.subjects);
    let goals = [vec![None], checked.goals].concat();
    report.say(&format!("\nAll are told and agree after {:.0} s.\n", begun.elapsed().as_secs_f64()));
    let rounds = interleave(&mut subjects, plan, calibration).await?;
    tell(report, &rounds, &goals)
}

/// The engines that this program links to.
#[cfg(feature = "peers")]
async fn add_engines(checked: &mut Checked<'_>, world: &World, asked: &[Question]) -> Result<(), Failed> {
    checked.add(cedar::Cedar::new(world, asked)?, world, asked, SAMPLE).await?;
    checked.add(regorus::Regorus::new(world, asked)?, world, asked, SAMPLE).await?;
    for (name, size) in [(casbin::NAME_1K, casbin::RULES_1K), (casbin::NAME_10K, casbin::RULES_10K)] {
        let world = World::generate(size, WORLD_SEED);
        let questions = world.questions(PEER_QUESTIONS, Draw::Uniform, QUESTIONS_SEED);
        let peer = casbin::Casbin::new(name, &world, &questions).await?;
        checked.add(peer, &world, &questions, casbin::SAMPLE).await?;
    }
    Ok(())
}

#[cfg(not(feature = "peers"))]
async fn add_engines(checked: &mut Checked<'_>, _: &World, _: &[Question]) -> Result<(), Failed> {
    let missing = "Cedar, casbin and regorus: the bench was built without its feature `peers`";
    checked.report.missing(missing.to_owned());
    Ok(())
}

/// Peers whose answers were compared.
struct Checked<'r> {
    report: &'r mut Report,
    subjects: Vec<Box<dyn Subject>>,
    /// Of each subject.
    goals: Vec<Option<f64>>,
}

impl Checked<'_> {
    async fn add(
        &mut self,
        mut peer: impl Peer + 'static,
        world: &World,
        questions: &[Question],
        sample: usize,
    ) -> Result<(), Failed> {
        let answers = peer.answers(sample).await?;
        let expected = Grantd::new(world, questions)?.answers(answers.len());
        let differ: Vec<_> =
            answers.iter().zip(&expected).enumerate().filter(|(_, (one, two))| one != two).collect();
        if let Some((at, (answer, expected))) = differ.first() {
            return Err(format!(
                "{} and grantd disagree on {} of {} questions; the first is {:?}: {answer}, grantd says {expected}",
                peer.name(),
                differ.len(),
                answers.len(),
                questions[*at],
            )
            .into());
        }
        let allowed = expected.iter().filter(|answer| **answer).count();
        self.report.line(&format!(
            "{:<44} 0 of {} answers differ from grantd's ({allowed} allow)",
            peer.name(),
            answers.len()
        ));
        self.goals.push(peer.goal());
        self.subjects.push(Box::new(peer));
        Ok(())
    }
}

/// The table, the goals and the plots. The first of `rounds` is grantd.
fn tell(report: &mut Report, rounds: &[Rounds], goals: &[Option<f64>]) -> Result<(), Failed> {
    let Some(ours) = rounds.first() else { return Ok(()) };
    let mut table = Table::new(&["decides", "p50 µs", "p99 µs", "checks/s", "× grantd's p50"]);
    for (peer, goal) in rounds.iter().zip(goals) {
        let cell = |figure: Option<Figure>| figure.map(|figure| figure.to_string()).unwrap_or_default();
        let (p50, ratio) = (peer.each(0.5), Figure::ratio(&peer.each(0.5), &ours.each(0.5)));
        table.row([
            peer.name.clone(),
            cell(Figure::of(&p50)),
            cell(peer.at(0.99)),
            cell(peer.rate()),
            cell(ratio),
        ]);
        if let (Some(times), Some(ratio), Some(figure)) = (goal, ratio, Figure::of(&p50)) {
            report.measured(Measured {
                line: Line::Peers,
                what: peer.name.clone(),
                goal: Goal::AtLeast(*times),
                unit: "×",
                figure: ratio,
                beside: format!("{} µs", digits(figure.value)),
            });
        }
    }
    report.table(&table);
    report.say(
        "A closed loop of one client each. What is in one process is timed without its transport; a check inside one query \
         of PostgreSQL is the query's time divided by its rows; etcd is asked over its HTTP gateway, whose JSON and second \
         hop are part of what is timed, and knows only the users, roles and tables of its questions.",
    );
    let bars: Vec<_> =
        rounds.iter().filter_map(|peer| Some((peer.name.clone(), peer.at(0.5)?.value))).collect();
    report.plot("engines", |path: &Path| plot::bars(path, "One check, p50, logarithmic", "µs", &bars))?;
    let lines: Vec<_> = rounds.iter().map(|peer| (peer.name.clone(), peer.all())).collect();
    report.plot("engines-latency", |path: &Path| plot::percentiles(path, "One check", &lines))
}
