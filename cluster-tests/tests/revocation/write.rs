//! Rights come and go: one client each, that asks another node each time and writes down what it was told.

use std::sync::Arc;
use std::time::Duration;

use grantd_cluster_tests::dice::Dice;
use grantd_node::pgclient;
use tokio::time::{sleep, timeout};
use tokio_postgres::Client;

use crate::history::{Change, Told, Turn};
use crate::world::{Kind, Subject, World};

/// Without an answer for so long the outcome is unknown.
const ANSWER_WITHIN: Duration = Duration::from_secs(6);
/// Nothing was sent to a node that lets nobody in for so long.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// The longest that a right is there, or is not.
const PAUSE_MS_MAX: usize = 60;
/// The pause after what did not work.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// A change, of what, and where it was asked for.
#[derive(Clone, Debug)]
pub struct Act {
    pub subject: Subject,
    pub seat: usize,
    pub change: Change,
}

/// Gives and takes one right until the run is over.
pub async fn to_and_fro(world: Arc<World>, right: usize, seed: u64) -> Vec<Act> {
    let mut hand = Hand::new(&world, seed);
    for generation in 0.. {
        if world.is_over() {
            break;
        }
        let subject = Subject { right, generation };
        if !hand.has_prepared(subject).await {
            sleep(RETRY_PAUSE).await;
            continue;
        }
        world.show(subject);
        while !world.is_over() && hand.give(subject).await != Told::Unknown {
            hand.pause().await;
            hand.take(subject).await;
            hand.pause().await;
        }
    }
    hand.acts
}

/// Root's connections to all nodes.
struct Hand {
    world: Arc<World>,
    dice: Dice,
    connections: Vec<Option<Client>>,
    acts: Vec<Act>,
}

impl Hand {
    fn new(world: &Arc<World>, seed: u64) -> Self {
        let connections = world.roots.iter().map(|_| None).collect();
        Self { world: Arc::clone(world), dice: Dice::new(seed), connections, acts: Vec::new() }
    }

    async fn has_prepared(&mut self, subject: Subject) -> bool {
        if subject.kind() == Kind::Login {
            self.world.certify(&subject.role());
        }
        for statement in subject.prepare() {
            let mut told = Told::Refused;
            while told == Told::Refused && !self.world.is_over() {
                let seat = self.dice.below(self.connections.len());
                told = self.run(seat, &statement).await;
            }
            if told != Told::Done {
                return false;
            }
        }
        true
    }

    /// Gives the right, or not; what is known of that.
    async fn give(&mut self, subject: Subject) -> Told {
        let seat = self.dice.below(self.connections.len());
        let invoked = self.world.now();
        let mut told = Told::Refused;
        for statement in subject.loosen() {
            told = self.run(seat, &statement).await;
            if told != Told::Done {
                break;
            }
        }
        self.record(subject, seat, Turn::Loosen, told, invoked);
        told
    }

    /// Takes the right away, again and again until that is done.
    async fn take(&mut self, subject: Subject) {
        while !self.world.is_over() {
            let seat = self.dice.below(self.connections.len());
            let invoked = self.world.now();
            let told = self.run(seat, &subject.tighten()).await;
            self.record(subject, seat, Turn::Tighten, told, invoked);
            if told == Told::Done {
                return;
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    fn record(&mut self, subject: Subject, seat: usize, turn: Turn, told: Told, invoked: Duration) {
        let change = Change { turn, invoked, returned: self.world.now(), told };
        self.acts.push(Act { subject, seat, change });
    }

    async fn pause(&mut self) {
        sleep(Duration::from_millis(self.dice.below(PAUSE_MS_MAX) as u64)).await;
    }

    async fn run(&mut self, seat: usize, statement: &str) -> Told {
        if self.connections[seat].as_ref().is_none_or(Client::is_closed) {
            let connected = timeout(CONNECT_WITHIN, pgclient::connect(&self.world.roots[seat])).await;
            self.connections[seat] = connected.ok().and_then(Result::ok);
        }
        let Some(connection) = &self.connections[seat] else {
            sleep(RETRY_PAUSE).await;
            return Told::Refused;
        };
        let told = match timeout(ANSWER_WITHIN, connection.batch_execute(statement)).await {
            Ok(Ok(())) => Told::Done,
            Ok(Err(error)) => error.code().map_or(Told::Unknown, |code| outcome(code.code())),
            Err(_elapsed) => Told::Unknown,
        };
        if told == Told::Unknown {
            self.connections[seat] = None;
        }
        told
    }
}

/// What an error says of a statement's outcome.
fn outcome(code: &str) -> Told {
    // Not now, too much at once, refused by what is there: nothing was proposed, or it was refused where it was applied.
    let is_refusal = ["57P03", "40001"].contains(&code) || code.starts_with("42") || code.starts_with("53");
    if is_refusal { Told::Refused } else { Told::Unknown }
}
