//! REVOKE on three processes, beside GRANT and the floor in the same run; and how long it takes with a node stopped, with one
//! killed, and with the leader killed: from the fault to the moment when the client was told that it is done.

use std::time::{Duration, Instant};

use grantd_node::pgclient::{self, Login};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use crate::figure::Goal;
use crate::floor::{Quorum, RoundTrip, Sync};
use crate::nodes::Nodes;
use crate::report::{Latencies, Line, Report};

/// The goal: p50 of REVOKE with nothing wrong ≤ this × that of GRANT.
const GOAL: f64 = 1.5;
/// The goal with one node gone: the lease and a tenth.
const GONE_GOAL: Duration = Duration::from_millis(1_100);
/// Clients of the throughput run.
const MANY: usize = 64;
/// How often each fault happens.
pub const ROUNDS: u32 = 9;
/// REVOKEs after the first one, while a node is gone.
const LATER: usize = 20;
/// Before each fault: every node holds a lease, and has nothing to catch up on.
const CALM: Duration = Duration::from_secs(2);
/// The most that a node may take to answer, or to be back.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

type Failed = Box<dyn std::error::Error>;

/// What happens to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// A follower gets SIGSTOP.
    Stopped,
    /// A follower gets SIGKILL.
    Killed,
    /// The leader gets SIGKILL.
    LeaderKilled,
}

/// GRANT and REVOKE in turn, with the floors.
#[derive(Default)]
struct InTurn {
    grant: Latencies,
    revoke: Latencies,
    sync: Latencies,
    quorum: Latencies,
    round_trip: Latencies,
}

/// What one kind of fault did.
#[derive(Default)]
struct Gone {
    /// From the fault to the return of the first REVOKE.
    first: Latencies,
    /// The same, each, in milliseconds.
    each: Vec<f64>,
    /// Of those after it.
    later: Latencies,
    /// From when the node was set going again to its first answer.
    back: Latencies,
}

/// Runs each load for `seconds` and each fault a few times, and prints the report.
pub async fn run(seconds: u64, rounds: u32, report: &mut Report) -> Result<(), Failed> {
    let mut nodes = Nodes::start().await?;
    prepare(&nodes.follower().await?).await?;
    report.heading("REVOKE on three processes, over TLS, each client waiting for its answers");
    for (role, login) in [("leader", nodes.leader_login().await?), ("follower", nodes.follower().await?)] {
        let one = in_turn(&login, seconds).await?;
        one.print(&format!("1 client, {role}"), report);
        report.line(&format!("{:<22} one sync      {}", "", one.sync.line()));
        report.line(&format!("{:<22} 2 of 3 syncs  {}", "", one.quorum.line()));
        report.line(&format!("{:<22} round trip    {}\n", "", one.round_trip.line()));
    }
    many(&nodes.follower().await?, seconds).await?.print(&format!("{MANY} clients, follower"), report);
    report.line("");
    for (fault, what) in [
        (Fault::Stopped, "a follower stopped"),
        (Fault::Killed, "a follower killed"),
        (Fault::LeaderKilled, "the leader killed"),
    ] {
        let gone = disturbed(&mut nodes, fault, rounds).await?;
        report
            .line(&format!("{what:<22} first REVOKE  {}   from the fault to its return", gone.first.line()));
        report.line(&format!("{:<22} later ones    {}", "", gone.later.line()));
        report.line(&format!("{:<22} node is back  {}   until it answers a check", "", gone.back.line()));
        if fault != Fault::LeaderKilled {
            let goal = Goal::AtMost(GONE_GOAL.as_secs_f64() * 1_000.0);
            report.rounds(Line::Revoke, what, goal, "ms", &gone.each);
            let longest = gone.first.at(1.0) / 1_000.0;
            report.line(&format!("{:<22} longest {longest:.0} ms; goal ≤ {} ms", "", GONE_GOAL.as_millis()));
        }
    }
    Ok(())
}

impl InTurn {
    fn print(&self, who: &str, report: &mut Report) {
        report.line(&format!("{who:<22} GRANT         {}", self.grant.line()));
        report.line(&format!("{:<22} REVOKE        {}", "", self.revoke.line()));
        let ratio = |share| self.revoke.at(share) / self.grant.at(share);
        report.line(&format!(
            "{:<22} p50 = {:.2} × GRANT, p99 = {:.2} ×; goal p50 ≤ {GOAL}",
            "",
            ratio(0.5),
            ratio(0.99)
        ));
    }
}

async fn prepare(login: &Login) -> Result<(), Failed> {
    let client = pgclient::connect(login).await?;
    for number in 0..MANY {
        client.batch_execute(&format!("CREATE TABLE bench_{number} (id INT8 PRIMARY KEY)")).await?;
        client.batch_execute(&format!("CREATE USER bench_{number}")).await?;
    }
    Ok(())
}

fn grant(number: usize) -> String {
    format!("GRANT SELECT ON TABLE bench_{number} TO bench_{number}")
}

fn revoke(number: usize) -> String {
    format!("REVOKE SELECT ON TABLE bench_{number} FROM bench_{number}")
}

/// One client, each statement beside its floors: a disk on a shared machine has moods.
async fn in_turn(login: &Login, seconds: u64) -> Result<InTurn, Failed> {
    let directory = TempDir::new()?;
    let mut sync = Sync::allocate(directory.path(), "floor")?;
    let mut quorum = Quorum::allocate(directory.path())?;
    let round_trip = RoundTrip::connect(&Handle::current(), directory.path()).await?;
    let client = pgclient::connect(login).await?;
    let mut measured = InTurn::default();
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        measured.grant.record(timed(&client, &grant(0)).await?);
        measured.sync.record(sync.once()?);
        measured.round_trip.record(round_trip.once().await?);
        measured.revoke.record(timed(&client, &revoke(0)).await?);
        measured.quorum.record(quorum.once()?);
    }
    round_trip.close().await;
    Ok(measured)
}

async fn many(login: &Login, seconds: u64) -> Result<InTurn, Failed> {
    let mut tasks = JoinSet::new();
    let until = Instant::now() + Duration::from_secs(seconds);
    for number in 0..MANY {
        let client = pgclient::connect(login).await?;
        tasks.spawn(async move {
            let mut measured = InTurn::default();
            while Instant::now() < until {
                measured.grant.record(timed(&client, &grant(number)).await?);
                measured.revoke.record(timed(&client, &revoke(number)).await?);
            }
            Ok::<_, tokio_postgres::Error>(measured)
        });
    }
    let mut all = InTurn::default();
    while let Some(done) = tasks.join_next().await {
        let measured = done??;
        all.grant.merge(&measured.grant);
        all.revoke.merge(&measured.revoke);
    }
    Ok(all)
}

async fn timed(client: &Client, statement: &str) -> Result<Duration, tokio_postgres::Error> {
    let begun = Instant::now();
    client.batch_execute(statement).await?;
    Ok(begun.elapsed())
}

/// The same fault a few times, each time to whoever has that part then. The client is on a follower that stays.
async fn disturbed(nodes: &mut Nodes, fault: Fault, rounds: u32) -> Result<Gone, Failed> {
    let mut gone = Gone::default();
    for _ in 0..rounds {
        let leader = nodes.leader_id().await?;
        let [stays, other] = nodes.followers(leader);
        let victim = if fault == Fault::LeaderKilled { leader } else { other };
        let mut client = pgclient::connect(&nodes.login(stays)?).await?;
        client.batch_execute(&grant(0)).await?;
        sleep(CALM).await;
        let begun = Instant::now();
        match fault {
            Fault::Stopped => nodes.pause(victim)?,
            Fault::Killed | Fault::LeaderKilled => nodes.kill(victim)?,
        }
        // What was not acknowledged is said again: the outcome may be unknown when a leader dies.
        while client.batch_execute(&revoke(0)).await.is_err() {
            if begun.elapsed() > PATIENCE {
                return Err("a REVOKE was not done".into());
            }
            if client.is_closed() {
                client = pgclient::connect(&nodes.login(stays)?).await?;
            }
            sleep(LOOK_AGAIN).await;
        }
        gone.first.record(begun.elapsed());
        gone.each.push(begun.elapsed().as_secs_f64() * 1_000.0);
        for _ in 0..LATER {
            client.batch_execute(&grant(0)).await?;
            gone.later.record(timed(&client, &revoke(0)).await?);
        }
        let begun = Instant::now();
        match fault {
            Fault::Stopped => nodes.resume(victim)?,
            Fault::Killed | Fault::LeaderKilled => nodes.restart(victim)?,
        }
        answers(&nodes.login(victim)?).await?;
        gone.back.record(begun.elapsed());
        nodes.until_all_vote().await?;
    }
    Ok(gone)
}

/// Waits until a node answers a check.
async fn answers(login: &Login) -> Result<(), Failed> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let asked = async {
            let client = pgclient::connect(login).await.ok()?;
            client.batch_execute("SELECT has_table_privilege('bench_0', 'bench_0', 'SELECT')").await.ok()
        };
        if let Ok(Some(())) = timeout(Duration::from_secs(1), asked).await {
            return Ok(());
        }
        sleep(LOOK_AGAIN).await;
    }
    Err("a node did not come back".into())
}
