//! A check over each transport, beside a bare echo on the same transport: grantd's answer shall cost its transport, and
//! little more. SQL has a module of its own: [`crate::pgcheck`].
//!
//! A pair is an echo and a check that are measured in turn. What is asked is a small catalog: what a decision costs is
//! nanoseconds, and what is compared here is microseconds.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use grantd_node::demo::cluster::{Cluster, NODES};
use grantd_node::pgclient::Login;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Handle;

use crate::echo::certificates::{Certificates, client_of};
use crate::echo::http::{Connection, HttpEcho};
use crate::echo::quic::QuicEcho;
use crate::echo::{Echo, Sizes};
use crate::figure::{Figure, Goal, digits};
use crate::floor::{self, RoundTrip};
use crate::load::{Client, Pace, Plan, Rounds, Subject, apart, interleave};
use crate::noise::Calibration;
use crate::plot;
use crate::report::{Line, Measured, Report, Table};
use crate::socket::{self, Asking, Many};

type Failed = Box<dyn std::error::Error>;

/// What nodes hand to each other.
const FORWARD: Sizes = Sizes { request: floor::BYTES, answer: floor::BYTES };
/// Operations a second of the open loop: few enough for the slowest transport.
const OPEN_RATE: f64 = 2_000.0;

/// How many times as long as its echo a check may take.
const UNIX_GOAL: f64 = 1.15;
const NETWORK_GOAL: f64 = 1.2;
/// Checks a second over the Unix socket, and how many clients ask them.
const MANY_GOAL: f64 = 7_000_000.0;
const CLIENTS: [usize; 2] = [1, 2];
/// Different questions that are asked in turn.
const QUESTIONS: usize = 1_000;
const EVALUATION: &str = "/access/v1/evaluation";

/// What is in every name.
pub const EVERYTHING: &str = "";

/// An echo and a check over the same transport.
struct Pair {
    line: Line,
    /// How many times as long as the echo the check may take.
    goal: Option<f64>,
    echo: Box<dyn Subject>,
    check: Option<Box<dyn Subject>>,
}

/// What all pairs need.
struct Servers {
    certificates: Certificates,
    directory: TempDir,
    cluster: Cluster,
    /// A node that does not lead.
    follower: u64,
    /// How `root` logs in there.
    login: Login,
    /// Its check socket.
    socket: PathBuf,
}

/// Measures the transports with `only` in their names in a closed loop, then in an open one, then as many checks as possible.
pub async fn run(
    report: &mut Report,
    plan: Plan,
    only: &str,
    calibration: &mut Calibration,
) -> Result<(), Failed> {
    report.heading("Checks over each transport");
    let mut servers = Servers::start().await?;
    apart(async |handle| measure_all(handle, &servers, report, plan, only, calibration).await)?;
    servers.cluster.stop().await;
    Ok(())
}

async fn measure_all(
    handle: &Handle,
    servers: &Servers,
    report: &mut Report,
    plan: Plan,
    only: &str,
    calibration: &mut Calibration,
) -> Result<(), Failed> {
    report.say("One client, a closed loop: each check begins when the last one was answered.\n");
    let rounds = measure(servers.pairs(handle, Pace::Closed, only).await?, plan, calibration).await?;
    tell(report, &rounds, true);
    report.say(&format!(
        "\nThe same in an open loop: {OPEN_RATE} a second at random times (Poisson), latency counted from the time that a \
         check was due. The client waits awake.\n"
    ));
    let rounds =
        measure(servers.pairs(handle, Pace::Open(OPEN_RATE), only).await?, plan, calibration).await?;
    tell(report, &rounds, false);
    let lines: Vec<_> = rounds
        .iter()
        .flat_map(|pair| std::iter::once(&pair.echo).chain(pair.check.as_ref()))
        .map(|rounds| (rounds.name.clone(), rounds.all()))
        .collect();
    let caption = "Checks over each transport, open loop";
    report.plot("transports", |path: &Path| plot::percentiles(path, caption, &lines))?;
    if only == EVERYTHING { many(servers, report, plan, calibration).await } else { Ok(()) }
}

/// As many checks as possible over the Unix socket.
async fn many(
    servers: &Servers,
    report: &mut Report,
    plan: Plan,
    calibration: &mut Calibration,
) -> Result<(), Failed> {
    report.say("\nAs fast as possible, a closed loop of batches; the latency is that of a batch.\n");
    let mut subjects: Vec<Box<dyn Subject>> = CLIENTS
        .iter()
        .map(|clients| Box::new(Many::new(&servers.socket, *clients)) as Box<dyn Subject>)
        .collect();
    let rounds = interleave(&mut subjects, plan, calibration).await?;
    let mut table = Table::new(&["", "p50 µs", "p99 µs", "checks/s"]);
    let cell = |figure: Option<Figure>| figure.map(|figure| figure.to_string()).unwrap_or_default();
    for each in &rounds {
        table.row([each.name.clone(), cell(each.at(0.5)), cell(each.at(0.99)), cell(each.rate())]);
        if let Some(figure) = each.rate() {
            report.measured(Measured {
                line: Line::UnixSocket,
                what: each.name.clone(),
                goal: Goal::AtLeast(MANY_GOAL),
                unit: "/s",
                figure,
                beside: String::new(),
            });
        }
    }
    report.table(&table);
    Ok(())
}

impl Servers {
    async fn start() -> Result<Self, Failed> {
        let cluster = Cluster::start(None).await.map_err(|failure| failure.to_string())?;
        let leader = cluster.leader().ok_or("nobody leads")?;
        let follower = (1..=NODES).find(|id| *id != leader).ok_or("one node only")?;
        socket::fill(&cluster.target(leader, "root").login()).await?;
        let login = cluster.target(follower, "root").login();
        let socket = cluster.check_socket(follower);
        let (certificates, directory) = (Certificates::make()?, TempDir::new()?);
        Ok(Self { certificates, directory, cluster, follower, login, socket })
    }

    /// The transports, in the order of the report.
    async fn pairs(&self, handle: &Handle, pace: Pace, only: &str) -> Result<Vec<Pair>, Failed> {
        let mut pairs = Vec::new();
        for (batch, goal) in [(1, Some(UNIX_GOAL)), (16, None), (socket::BATCH, None)] {
            let echo = Echo::unix(handle, socket::sizes(batch)).await?;
            let echo =
                Client::new(format!("Unix socket, echo of {batch}"), echo, async |echo| echo.once().await);
            let asking = Asking::connect(&self.socket).await?;
            let name = format!("Unix socket, {batch} by id");
            let check = Client::new(name, asking, async move |asking| asking.batch(batch).await);
            pairs.push(pair(Line::UnixSocket, goal, echo.at(pace), check.at(pace)));
        }
        let echo = Echo::unix(handle, socket::named_sizes()).await?;
        let echo = Client::new("Unix socket, echo of a name", echo, async |echo| echo.once().await);
        let asking = Asking::connect(&self.socket).await?;
        let check = Client::new("Unix socket, 1 by name", asking, async |asking| asking.named().await);
        pairs.push(pair(Line::UnixSocket, None, echo.at(pace), check.at(pace)));
        let tcp = Echo::tcp(handle, socket::sizes(1)).await?;
        let tcp = Client::new("TCP, echo", tcp, async |echo| echo.once().await);
        pairs.push(Pair { line: Line::Network, goal: None, echo: Box::new(tcp.at(pace)), check: None });
        let mut evaluation = Evaluation::connect(self).await?;
        let http = HttpEcho::start(handle, &self.certificates, evaluation.sizes().await?).await?;
        let http = Client::new("HTTPS, echo", http, async |echo| echo.once().await);
        let evaluation =
            Client::new("HTTPS, AuthZEN evaluation", evaluation, async |asked| asked.once().await);
        pairs.push(pair(Line::Network, Some(NETWORK_GOAL), http.at(pace), evaluation.at(pace)));
        let quic = QuicEcho::start(handle, &self.certificates, FORWARD).await?;
        let quic = Client::new("QUIC, echo", quic, async |echo| echo.once().await);
        let trip = RoundTrip::connect(handle, self.directory.path()).await?;
        let trip = Client::new("QUIC, between nodes", trip, async |trip| trip.once().await.map(drop));
        pairs.push(pair(Line::Network, Some(NETWORK_GOAL), quic.at(pace), trip.at(pace)));
        pairs.retain(|pair| pair.echo.name().contains(only));
        Ok(pairs)
    }
}

fn pair(line: Line, goal: Option<f64>, echo: impl Subject + 'static, check: impl Subject + 'static) -> Pair {
    Pair { line, goal, echo: Box::new(echo), check: Some(Box::new(check)) }
}

/// AuthZEN over HTTPS, as `root` by certificate.
struct Evaluation {
    connection: Connection,
    questions: Vec<Bytes>,
    next: usize,
}

impl Evaluation {
    async fn connect(servers: &Servers) -> Result<Self, Failed> {
        let address = servers.cluster.http_address(servers.follower).ok_or("the node has no HTTPS")?;
        let connection = Connection::secured(address, client_of(&servers.login)?).await?;
        let question = |at: usize| {
            json!({
                "subject": { "type": "user", "id": format!("u{}", at * 31 % socket::USERS) },
                "action": { "name": "SELECT" },
                "resource": { "type": "table", "id": format!("defaultdb.big.t{}", at * 17 % socket::TABLES) },
            })
        };
        let questions = (0..QUESTIONS).map(|at| Bytes::from(question(at).to_string())).collect();
        Ok(Self { connection, questions, next: 0 })
    }

    async fn ask(&mut self) -> Result<(usize, Bytes), Failed> {
        self.next = (self.next + 1) % self.questions.len();
        let question = self.questions[self.next].clone();
        let length = question.len();
        let (status, answer) = self.connection.post(EVALUATION, None, question).await?;
        if !status.is_success() {
            return Err(format!("{status}: {}", String::from_utf8_lossy(&answer)).into());
        }
        Ok((length, answer))
    }

    async fn once(&mut self) -> Result<(), Failed> {
        self.ask().await.map(drop)
    }

    /// The sizes of a question, and of its answer.
    async fn sizes(&mut self) -> Result<Sizes, Failed> {
        let (request, answer) = self.ask().await?;
        let said: Value = serde_json::from_slice(&answer)?;
        if !said["decision"].is_boolean() {
            return Err(format!("an evaluation was answered with {said}").into());
        }
        Ok(Sizes { request, answer: answer.len() })
    }
}

/// What came of a pair.
struct Compared {
    line: Line,
    goal: Option<f64>,
    echo: Rounds,
    check: Option<Rounds>,
}

async fn measure(
    pairs: Vec<Pair>,
    plan: Plan,
    calibration: &mut Calibration,
) -> Result<Vec<Compared>, Failed> {
    let (mut subjects, mut kinds) = (Vec::new(), Vec::new());
    for Pair { line, goal, echo, check } in pairs {
        kinds.push((line, goal, check.is_some()));
        subjects.push(echo);
        subjects.extend(check);
    }
    let mut rounds = interleave(&mut subjects, plan, calibration).await?.into_iter();
    let mut compared = Vec::new();
    for (line, goal, is_checked) in kinds {
        let Some(echo) = rounds.next() else { break };
        let check = if is_checked { rounds.next() } else { None };
        compared.push(Compared { line, goal, echo, check });
    }
    Ok(compared)
}

fn tell(report: &mut Report, compared: &[Compared], has_goals: bool) {
    let mut table = Table::new(&["", "p50 µs", "p99 µs", "operations/s", "× the echo's p50"]);
    let cell = |figure: Option<Figure>| figure.map(|figure| figure.to_string()).unwrap_or_default();
    for pair in compared {
        let echo = &pair.echo;
        table.row([
            echo.name.clone(),
            cell(echo.at(0.5)),
            cell(echo.at(0.99)),
            cell(echo.rate()),
            String::new(),
        ]);
        let Some(check) = &pair.check else { continue };
        let ratio = Figure::ratio(&check.each(0.5), &echo.each(0.5));
        table.row([
            check.name.clone(),
            cell(check.at(0.5)),
            cell(check.at(0.99)),
            cell(check.rate()),
            cell(ratio),
        ]);
        if let (true, Some(goal), Some(figure), Some(floor)) = (has_goals, pair.goal, ratio, echo.at(0.5)) {
            report.measured(Measured {
                line: pair.line,
                what: format!("{}, p50", check.name),
                goal: Goal::AtMost(goal),
                unit: "×",
                figure,
                beside: format!("{} {} µs", echo.name, digits(floor.value)),
            });
        }
    }
    report.table(&table);
}
