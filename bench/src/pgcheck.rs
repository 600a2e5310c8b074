//! Checks over the PostgreSQL protocol: `SELECT has_table_privilege($1, $2, $3)`, prepared; one at a time, and 128 before
//! each Sync. A client of a node reads by its lease (`grantd.read = 'local'`), and as new as all that was acknowledged.
//!
//! Beside it the floor: the server of the `pgwire` crate, which answers every statement with `true`, under the same TLS,
//! asked by the same client in turn. The client writes and reads bytes by itself and looks at nothing but how many rows
//! came, so that what is measured is the server.

mod raw;

use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use grantd_node::demo::cluster::{Cluster, NODES};
use grantd_node::pgclient::{self, Login};

use self::raw::Raw;
use crate::echo::certificates::Certificates;
use crate::echo::sql::SqlEcho;
use crate::figure::{Figure, Goal, digits};
use crate::load::{Plan, Round, Subject, interleave};
use crate::noise::Calibration;
use crate::report::{Line, Measured, Report, Table};

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Checks before each Sync.
const BATCH: usize = 128;
/// Batches that are under way at once.
const AHEAD: usize = 4;
/// Users, and tables, of which each user holds SELECT on every third.
const USERS: usize = 100;
const TABLES: usize = 200;
/// Different questions that are asked in turn.
const QUESTIONS: usize = 1_024;
const STATEMENT: &str = "SELECT has_table_privilege($1, $2, $3)";
/// What a session says before it asks.
const LOCAL: &str = "SET grantd.read = 'local'";
const NEWEST: &str = "";
/// The goals: p50 of one check ≤ this × that of the floor, and checks a second.
const ONE_GOAL: f64 = 1.15;
const PIPELINED_GOAL: f64 = 500_000.0;

/// How a connection asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    /// The next check is sent when the last one is answered.
    OneByOne,
    /// [`AHEAD`] batches are on their way.
    Pipelined,
}

/// A connection with what it sends.
struct Asking {
    name: String,
    pace: Pace,
    /// None only while a round has it.
    raw: Option<Raw>,
    messages: Vec<Vec<u8>>,
}

/// Runs each turn as `plan` says, and reports.
pub async fn run(
    report: &mut Report,
    plan: Plan,
    calibration: &mut Calibration,
) -> Result<(), Box<dyn std::error::Error>> {
    report.heading("Checks over the PostgreSQL protocol, TLS, one connection to a follower");
    let mut cluster = Cluster::start(None).await.map_err(|failure| failure.to_string())?;
    let leader = cluster.leader().ok_or("nobody leads")?;
    let follower = (1..=NODES).find(|id| *id != leader).ok_or("one node only")?;
    let node = cluster.target(follower, "root").login();
    prepare(&node).await?;
    let certificates = Certificates::make()?;
    let echo = SqlEcho::start(&certificates).await?;
    let sides = [
        ("pgwire crate, answers true", echo.login(&certificates), NEWEST),
        ("grantd, local", node.clone(), LOCAL),
        ("grantd, linearizable", node, NEWEST),
    ];
    for pace in [Pace::OneByOne, Pace::Pipelined] {
        let mut subjects: Vec<Box<dyn Subject>> = Vec::new();
        for (name, login, first) in sides.clone() {
            subjects.push(Box::new(Asking::connect(name, login, first, pace).await.map_err(whole)?));
        }
        let rounds = interleave(&mut subjects, plan, calibration).await?;
        tell(report, pace, &rounds);
    }
    cluster.stop().await;
    Ok(())
}

async fn prepare(login: &Login) -> Result<(), Box<dyn std::error::Error>> {
    let client = pgclient::connect(login).await?;
    client.batch_execute("CREATE SCHEMA app").await?;
    for user in 0..USERS {
        client.batch_execute(&format!("CREATE USER user_{user}")).await?;
    }
    for table in 0..TABLES {
        let holders = (0..USERS).filter(|user| (user + table) % 3 == 0).map(|user| format!("user_{user}"));
        let grant =
            format!("GRANT SELECT ON app.table_{table} TO {}", holders.collect::<Vec<_>>().join(", "));
        client.batch_execute(&format!("CREATE TABLE app.table_{table} (k INT PRIMARY KEY)")).await?;
        client.batch_execute(&grant).await?;
    }
    Ok(())
}

/// Questions that follow no order which a cache could know.
fn questions() -> Vec<[String; 3]> {
    let question = |at: usize| {
        let (user, table) = (at * 7_919 % USERS, at * 104_729 % TABLES);
        [format!("user_{user}"), format!("app.table_{table}"), "SELECT".to_owned()]
    };
    (0..QUESTIONS).map(question).collect()
}

impl Asking {
    async fn connect(name: &str, login: Login, first: &'static str, pace: Pace) -> Result<Self, Failed> {
        let raw = tokio::task::spawn_blocking(move || {
            let mut raw = Raw::connect(&login)?;
            if !first.is_empty() {
                raw.query(first)?;
            }
            raw.prepare("check", STATEMENT)?;
            Ok::<_, Failed>(raw)
        });
        let raw = raw.await??;
        let of_a_message = if pace == Pace::Pipelined { BATCH } else { 1 };
        let messages = questions().chunks(of_a_message).map(|part| raw::batch("check", part)).collect();
        Ok(Self { name: name.to_owned(), pace, raw: Some(raw), messages })
    }
}

impl Subject for Asking {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn round(&mut self, length: Duration) -> LocalBoxFuture<'_, Result<Round, Box<dyn std::error::Error>>> {
        Box::pin(async move {
            let mut raw = self.raw.take().ok_or("an earlier round has failed")?;
            let (messages, pace) = (std::mem::take(&mut self.messages), self.pace);
            let turn = tokio::task::spawn_blocking(move || {
                let round = match pace {
                    Pace::OneByOne => one_by_one(&mut raw, &messages, length),
                    Pace::Pipelined => pipelined(&mut raw, &messages, length),
                };
                (round, raw, messages)
            });
            let (round, raw, messages) = turn.await?;
            (self.raw, self.messages) = (Some(raw), messages);
            round.map_err(whole)
        })
    }
}

/// An error that stays in its thread from here on.
fn whole(error: Failed) -> Box<dyn std::error::Error> {
    error
}

fn one_by_one(raw: &mut Raw, messages: &[Vec<u8>], length: Duration) -> Result<Round, Failed> {
    let mut round = Round::default();
    let begun = Instant::now();
    for message in messages.iter().cycle() {
        let asked = Instant::now();
        if asked - begun >= length && round.operations > 0 {
            break;
        }
        raw.send(message)?;
        if raw.until_ready()? != 1 {
            return Err("no row".into());
        }
        round.latencies.record(asked.elapsed());
        round.operations += 1;
    }
    round.took = begun.elapsed();
    Ok(round)
}

/// Latencies are those of a batch, from its sending to its last row, others before it included.
fn pipelined(raw: &mut Raw, batches: &[Vec<u8>], length: Duration) -> Result<Round, Failed> {
    let mut round = Round::default();
    let begun = Instant::now();
    let mut sent = Vec::new();
    let mut answered = 0;
    while begun.elapsed() < length || sent.len() > answered {
        while sent.len() < answered + AHEAD && begun.elapsed() < length {
            sent.push(Instant::now());
            raw.send(&batches[sent.len() % batches.len()])?;
        }
        if raw.until_ready()? != BATCH {
            return Err("another number of rows than of questions".into());
        }
        round.latencies.record(sent[answered].elapsed());
        answered += 1;
    }
    round.took = begun.elapsed();
    round.operations = (answered * BATCH) as u64;
    Ok(round)
}

/// The first of `rounds` is the floor, the second is grantd as its clients read by default.
fn tell(report: &mut Report, pace: Pace, rounds: &[crate::load::Rounds]) {
    let Some(floor) = rounds.first() else { return };
    report.say(&match pace {
        Pace::OneByOne => "One check at a time, a closed loop.\n".to_owned(),
        Pace::Pipelined => format!(
            "\n{BATCH} checks before each Sync, {AHEAD} of those on their way: a closed loop, latency of a batch.\n"
        ),
    });
    let mut table = Table::new(&["", "p50 µs", "p99 µs", "checks/s", "× the floor's p50"]);
    let cell = |figure: Option<Figure>| figure.map(|figure| figure.to_string()).unwrap_or_default();
    for side in rounds {
        let ratio = Figure::ratio(&side.each(0.5), &floor.each(0.5));
        table.row([
            side.name.clone(),
            cell(side.at(0.5)),
            cell(side.at(0.99)),
            cell(side.rate()),
            cell(ratio),
        ]);
    }
    report.table(&table);
    let Some(local) = rounds.get(1) else { return };
    let (what, goal, unit, figure, beside) = match pace {
        Pace::OneByOne => (
            "p50 of one",
            Goal::AtMost(ONE_GOAL),
            "×",
            Figure::ratio(&local.each(0.5), &floor.each(0.5)),
            floor.at(0.5).map(|figure| format!("{} {} µs", floor.name, digits(figure.value))),
        ),
        Pace::Pipelined => (
            "pipelined",
            Goal::AtLeast(PIPELINED_GOAL),
            "/s",
            local.rate(),
            floor.rate().map(|figure| format!("{} {} /s", floor.name, digits(figure.value))),
        ),
    };
    if let Some(figure) = figure {
        let (line, what, beside) = (Line::Pgwire, what.to_owned(), beside.unwrap_or_default());
        report.measured(Measured { line, what, goal, unit, figure, beside });
    }
}
