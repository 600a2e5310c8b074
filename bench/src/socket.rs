//! Checks over the Unix socket: one by one and in batches, by id and by name, and as many as possible from one client and
//! from two. The pairs of checks and echoes are made here for [`crate::transports`], which measures them in turn.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use grantd_node::check::Check;
use grantd_node::check::client::{
    Client, ClientError, Freshness, ObjectId, ObjectKind, PrincipalId, Privilege, Question, ResourceKind,
};
use grantd_node::pgclient::{self, Login};

use crate::echo::Sizes;
use crate::listing::make;
use crate::load::{Round, Subject, on_a_thread};
use crate::workload::Dice;

type Failed = Box<dyn std::error::Error>;
/// What may go from one thread to another.
type ClientFailed = Box<dyn std::error::Error + Send + Sync>;

/// Users of the catalog: `u0`, `u1`, …
pub const USERS: usize = 1_000;
const ROLES: usize = 200;
/// Its tables: `defaultdb.big.t0`, …
pub const TABLES: usize = 1_000;
/// Tables that each role may read.
const TABLES_PER_ROLE: usize = 50;
/// Batches under way at once where throughput is measured.
const PIPELINED: usize = 8;
/// Checks of a large batch.
pub const BATCH: usize = 1_024;
/// Checks that are asked in turn: more than the caches of a core hold.
const CHECKS: usize = 64 * BATCH;
const SEED: u64 = 3;
/// Bytes of a batch's request and answer beside the checks. Source: docs/checks-socket.md.
const REQUEST_BYTES: usize = 20;
const CHECK_BYTES: usize = 12;
/// A check by name, about.
const NAMED_BYTES: usize = 36;
const ANSWER_BYTES: usize = 19;
/// What is asked for the ids of as many names at once.
const NAMES_AT_ONCE: usize = 500;

/// The bytes of so many checks by id and of their answers.
pub const fn sizes(batch: usize) -> Sizes {
    Sizes { request: REQUEST_BYTES + batch * CHECK_BYTES, answer: ANSWER_BYTES + batch }
}

/// The bytes of a check by name.
pub const fn named_sizes() -> Sizes {
    Sizes { request: REQUEST_BYTES + NAMED_BYTES, answer: ANSWER_BYTES + 1 }
}

/// A connection, and what it asks.
pub struct Asking {
    client: Client,
    checks: Vec<Check>,
    answers: Vec<bool>,
    next: usize,
}

impl Asking {
    /// Connects as `root`.
    pub async fn connect(socket: &Path) -> Result<Self, ClientError> {
        let mut client = Client::connect(socket, "root").await?;
        let checks = checks(&mut client).await?;
        Ok(Self { client, checks, answers: Vec::new(), next: 0 })
    }

    /// Asks `size` checks by id, at most [`BATCH`].
    pub async fn batch(&mut self, size: usize) -> Result<(), Failed> {
        if self.next + size > self.checks.len() {
            self.next = 0;
        }
        let batch = &self.checks[self.next..self.next + size];
        self.next += size;
        self.client.check_batch(Freshness::Local, batch, &mut self.answers).await?;
        Ok(())
    }

    /// Asks one check by name.
    pub async fn named(&mut self) -> Result<(), Failed> {
        self.next += 1;
        let question = Question {
            subject: format!("u{}", self.next * 31 % USERS),
            action: "SELECT".to_owned(),
            kind: ResourceKind::Object(ObjectKind::Table),
            name: format!("defaultdb.big.t{}", self.next * 17 % TABLES),
        };
        self.client.ask(Freshness::Local, vec![question]).await?;
        Ok(())
    }
}

/// As many checks as possible: clients on threads of their own, each with `PIPELINED` batches under way.
pub struct Many {
    socket: PathBuf,
    clients: usize,
}

impl Many {
    /// So many clients of the node with this socket.
    pub fn new(socket: &Path, clients: usize) -> Self {
        Self { socket: socket.to_path_buf(), clients }
    }
}

impl Subject for Many {
    fn name(&self) -> String {
        let clients =
            if self.clients == 1 { "1 client".to_owned() } else { format!("{} clients", self.clients) };
        format!("Unix socket, batches of {BATCH}, {clients}")
    }

    fn round(&mut self, length: Duration) -> LocalBoxFuture<'_, Result<Round, Failed>> {
        let tasks: Vec<_> = (0..self.clients)
            .map(|_| {
                let socket = self.socket.clone();
                tokio::task::spawn_blocking(move || on_a_thread(flood(&socket, length)))
            })
            .collect();
        Box::pin(async move {
            let mut all = Round::default();
            for task in tasks {
                let round = task.await?.map_err(|error: ClientFailed| -> Failed { error })?;
                all.latencies.merge(&round.latencies);
                all.operations += round.operations;
                all.took = all.took.max(round.took);
            }
            Ok(all)
        })
    }
}

/// Keeps batches under way for `length`. Latencies are those of batches, from their sending to their last answer.
async fn flood(socket: &Path, length: Duration) -> Result<Round, ClientFailed> {
    let Asking { mut client, checks, mut answers, .. } = Asking::connect(socket).await?;
    let mut batches = checks.chunks_exact(BATCH).cycle();
    let (mut round, mut sent) = (Round::default(), std::collections::VecDeque::new());
    let begun = Instant::now();
    loop {
        while sent.len() < PIPELINED && begun.elapsed() < length {
            let batch = batches.next().unwrap_or(&checks);
            sent.push_back(Instant::now());
            client.send(Freshness::Local, batch).await?;
        }
        let Some(from) = sent.pop_front() else { break };
        client.receive(&mut answers).await?;
        round.latencies.record(from.elapsed());
        round.operations += answers.len() as u64;
    }
    round.took = begun.elapsed();
    Ok(round)
}

/// Makes the catalog that is asked about.
pub async fn fill(login: &Login) -> Result<(), Box<dyn std::error::Error>> {
    let sql = pgclient::connect(login).await?;
    sql.batch_execute("CREATE SCHEMA big").await?;
    make(login, (0..USERS).map(|at| format!("CREATE USER u{at}")).collect()).await?;
    make(login, (0..ROLES).map(|at| format!("CREATE ROLE r{at}")).collect()).await?;
    make(login, (0..TABLES).map(|at| format!("CREATE TABLE big.t{at} (k INT8 PRIMARY KEY)")).collect())
        .await?;
    let grant = |role: usize| {
        let tables: Vec<_> =
            (0..TABLES_PER_ROLE).map(|nth| format!("big.t{}", (role * 7 + nth * 19) % TABLES)).collect();
        format!("GRANT SELECT ON {} TO r{role}", tables.join(", "))
    };
    make(login, (0..ROLES).map(grant).collect()).await?;
    let join = |user: usize| format!("GRANT r{}, r{} TO u{user}", user % ROLES, (user * 13 + 7) % ROLES);
    make(login, (0..USERS).map(join).collect()).await?;
    Ok(())
}

/// Checks of random users on random tables, of which some are allowed.
async fn checks(client: &mut Client) -> Result<Vec<Check>, ClientError> {
    let mut ids = Vec::new();
    for first in (0..USERS).step_by(NAMES_AT_ONCE) {
        let names = (first..first + NAMES_AT_ONCE).map(|at| (ResourceKind::Role, format!("u{at}"))).collect();
        ids.extend(client.resolve(Freshness::Linearizable, names).await?.answer);
    }
    let users: Vec<_> = ids.drain(..).flatten().map(PrincipalId).collect();
    let kind = ResourceKind::Object(ObjectKind::Table);
    for first in (0..TABLES).step_by(NAMES_AT_ONCE) {
        let names = (first..first + NAMES_AT_ONCE).map(|at| (kind, format!("defaultdb.big.t{at}"))).collect();
        ids.extend(client.resolve(Freshness::Local, names).await?.answer);
    }
    let tables: Vec<_> = ids.into_iter().flatten().map(ObjectId).collect();
    if (users.len(), tables.len()) != (USERS, TABLES) {
        let missing = std::io::Error::other("a user or table of the catalog has no id");
        return Err(ClientError::Lost(missing));
    }
    let mut dice = Dice::new(SEED);
    let check = |_| {
        let (subject, object) = (users[dice.below(USERS)], tables[dice.below(TABLES)]);
        Check::Holds { subject, privilege: Privilege::Select, object }
    };
    Ok((0..CHECKS).map(check).collect())
}
