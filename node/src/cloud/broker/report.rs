//! What is told: to who waits, to operators.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::cloud::chain::Chain;
use crate::cloud::lease::Class;

/// Why there is no lease for who waits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// A step gave nothing, and waiting does not help.
    #[error("{0}")]
    Trouble(Arc<Trouble>),
    /// The time was over before the lease was there; with what is wrong, if anything is known to be.
    #[error("no credentials of {chain} in time{}", .trouble.as_ref().map(|t| format!(": {t}")).unwrap_or_default())]
    TimedOut {
        /// The chain, as it is shown.
        chain: String,
        /// What is wrong with it.
        trouble: Option<Arc<Trouble>>,
    },
    /// Too many wait.
    #[error(
        "{0} requests wait for credentials on this node, and no more may; try again when the cloud answers"
    )]
    TooMany(usize),
}

/// What is wrong with a step.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", edge(*.hop, *.hops, .from, .to))]
pub struct Trouble {
    /// Which: 0 is the source.
    pub hop: usize,
    /// Of how many.
    pub hops: usize,
    /// Who asked.
    pub from: String,
    /// For what.
    pub to: String,
    /// What kind.
    pub class: Class,
    /// The cloud's code.
    pub code: Option<String>,
    /// In words.
    pub message: String,
}

/// The edge of the chain that is broken, in words.
fn edge(hop: usize, hops: usize, from: &str, to: &str) -> String {
    if hop == 0 { format!("the source, {to}") } else { format!("hop {hop} of {hops}, {from} → {to}") }
}

/// One step that this node keeps, as an operator sees it. No secret.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// The steps up to this one.
    pub chain: Chain,
    /// Which: 0 is the source.
    pub hop: usize,
    /// Of how many, in the longest chain that uses it.
    pub hops: usize,
    /// `fresh`, `refreshing`, `degraded`, `late`, `expired`, `denied`, `empty`, `idle`.
    pub state: &'static str,
    /// The end of the lease, as the cloud said it.
    pub not_after: Option<SystemTime>,
    /// How long the lease is good yet. None: there is none, or it has no end.
    pub remaining: Option<Duration>,
    /// How long ago the lease was asked for.
    pub age: Option<Duration>,
    /// In how long the cloud is asked again. None: not by itself.
    pub next: Option<Duration>,
    /// Of the lease: how many there were.
    pub generation: u64,
    /// What went wrong since the last success.
    pub trouble: Option<Arc<Trouble>>,
    /// Who uses it: some of the labels given to `Broker::open`.
    pub users: Vec<Arc<str>>,
    /// How many use it, chains that begin with it included.
    pub users_count: usize,
}

/// This node holds as many steps as it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this node keeps credentials of {0} cloud roles and no more at once; end what uses others, and try again"
)]
pub struct TooMany(pub usize);
