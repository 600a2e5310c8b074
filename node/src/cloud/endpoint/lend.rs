//! What is lent to one entry: decided at each request, taken from leases that are kept young while somebody asks.
//!
//! What is decided is told at once, or decided again: waiting for a cloud may take a second, in which a REVOKE may return.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use grantd_catalog::command::Actor;
use grantd_catalog::name::RoleName;
use grantd_catalog::refusal::{Refusal, state};
use grantd_catalog::view::View;
use metrics::Counter;

use super::answer::{Kind, No};
use super::aws;
use crate::audit::{Audit, Loan};
use crate::authn::{Login, decide_console_login};
use crate::cloud::broker::{Broker, Credentials, WaitError};
use crate::cloud::chain::{Chain, Step};
use crate::cloud::lease::{Class, Lease};
use crate::cloud::outside::Outside;
use crate::cloud::route::{Operation, Route, Who, route};
use crate::cloud::settings::{ChainSettings, Endpoint, NodeSettings};
use crate::cloud::uri::{AwsAuth, GcpAuth, Gs, Purpose, S3, Uri};
use crate::failure::Failure;
use crate::gate::{Freshness, Gate};

/// How many requests a second each entry is answered, and how many at once. A library whose credentials have less than ten minutes
/// left asks before each of its own requests.
pub const RATE: u32 = 1_000;
/// Chains are kept for so long after the last request: as long as credentials live by default, so that whoever asks again before
/// they end finds younger ones.
pub const IDLE_MAX: Duration = Duration::from_secs(3_600);
/// How long what is given should be good yet; of what lives shorter than two minutes, half its life.
const TTL_MIN: Duration = Duration::from_secs(60);
/// How long a request waits for a cloud: libraries wait for two seconds, and try again.
const LEASE_WAIT_MAX: Duration = Duration::from_millis(1_500);
/// How often a request begins anew when what it asks for becomes something else meanwhile.
const TURNS_MAX: usize = 3;

/// One entry.
pub(super) struct Lender {
    name: String,
    principal: RoleName,
    uri: String,
    /// How the cloud's audit log and SHOW CREDENTIALS call it.
    task: String,
    label: String,
    outside: Outside,
    broker: Broker,
    cluster: OnceLock<String>,
    kept: Mutex<Kept>,
    rate: Mutex<Bucket>,
}

/// The chains that somebody asked for.
struct Kept {
    open: Vec<Credentials>,
    used: Instant,
}

/// Requests that may come at once yet.
struct Bucket {
    left: f64,
    at: Instant,
}

/// What is given.
pub(super) struct Lent {
    pub(super) chain: Chain,
    pub(super) lease: Arc<Lease>,
    /// For so long, from now.
    pub(super) good_for: Duration,
}

impl Lender {
    /// Errors: a URI that is none, is of another kind, or has keys: a file of the configuration is no place for them.
    pub(super) fn new(entry: &Endpoint, settings: &NodeSettings, outside: &Outside) -> Result<Self, Failure> {
        let parsed = Uri::parse(&entry.uri, Purpose::Storage, settings);
        let parsed = parsed.map_err(|refusal| Failure::usage(refusal.message))?;
        match parsed {
            Uri::External(_)
            | Uri::S3(S3 { auth: AwsAuth::Implicit, .. })
            | Uri::Gs(Gs { auth: GcpAuth::Implicit, .. }) => {}
            Uri::S3(_) | Uri::Gs(_) => {
                return Err(Failure::usage("the URI has keys in it")
                    .help("keep them in the catalog: CREATE EXTERNAL CONNECTION, and name it as `uri=external://NAME`"));
            }
            other => {
                let scheme = other.scheme();
                return Err(Failure::usage(format!(
                    "a URI of `{scheme}` leads to no credentials that can be given"
                ))
                .help("name an external connection (`uri=external://NAME`), or a URI of s3 or gs"));
            }
        }
        let Some(broker) = outside.broker() else {
            return Err(Failure::new("this node reaches nothing outside"));
        };
        let principal = RoleName::normalize(&entry.principal);
        let now = Instant::now();
        Ok(Self {
            task: format!("endpoint-{}", entry.name),
            label: format!("endpoint {} of {principal}", entry.name),
            name: entry.name.clone(),
            principal,
            uri: entry.uri.clone(),
            broker: broker.clone(),
            outside: outside.clone(),
            cluster: OnceLock::new(),
            kept: Mutex::new(Kept { open: Vec::new(), used: now }),
            rate: Mutex::new(Bucket { left: f64::from(RATE), at: now }),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Decides, takes a lease, and decides again.
    pub(super) async fn lend(&self) -> Result<Lent, No> {
        if !lock(&self.rate).take(Instant::now()) {
            return Err(No::new(
                Kind::Limited,
                format!("more than {RATE} requests a second; ask again in a second"),
            ));
        }
        let mut chains = self.allowed().await?;
        for _ in 0..TURNS_MAX {
            let lent = self.take(&chains).await?;
            chains = self.allowed().await?;
            if chains.contains(&lent.chain) {
                return Ok(lent);
            }
        }
        Err(No::new(Kind::Unavailable, "what this entry leads to is being changed; ask again"))
    }

    /// The chains that lead there, if the principal may go there now. What nobody may use is not kept.
    async fn allowed(&self) -> Result<Vec<Chain>, No> {
        let gate = self.outside.gate();
        let cluster = self.cluster();
        match gate.decide(Freshness::Local, |view| self.chains(view, &cluster)).await {
            Ok(Ok(chains)) => Ok(chains),
            Ok(Err(refusal)) => {
                lock(&self.kept).open.clear();
                Err(No::of(Kind::Denied, &refusal))
            }
            Err(refusal) => Err(No::of(Kind::Unavailable, &refusal)),
        }
    }

    fn chains(&self, view: &View, cluster: &str) -> Result<Vec<Chain>, Refusal> {
        let user = self.principal.to_string();
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_us = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        let principal = match decide_console_login(view, &self.principal, now_us) {
            Login::Allowed(candidate) => candidate.principal,
            Login::Forbidden(refusal) => return Err(refusal),
            Login::Unknown => {
                let message = format!("role \"{user}\" does not exist");
                return Err(Refusal::new(state::INVALID_AUTHORIZATION, message)
                    .with_hint("Make it with CREATE USER, and grant it USAGE on the external connection."));
            }
        };
        let target = self.outside.approved(view, Actor::of(principal), &self.uri)?;
        let who = Who { cluster, node: self.outside.gate().node_id(), task: &self.task, user: &user };
        let settings = ChainSettings::of(view);
        let chain = |way| route(way, Operation::Storage { write: true }, &who, &settings).and_then(lendable);
        target.ways.iter().map(chain).collect()
    }

    /// A lease of the first way, or of the next one if the cloud denies that.
    async fn take(&self, chains: &[Chain]) -> Result<Lent, No> {
        let patience = LEASE_WAIT_MAX / u32::try_from(chains.len().max(1)).unwrap_or(u32::MAX);
        let mut denied = None;
        for chain in chains {
            match self.from(&self.keep(chain, chains)?, patience).await {
                Err(no) if no.kind == Kind::Denied => drop(denied.get_or_insert(no)),
                given => return given,
            }
        }
        Err(denied.unwrap_or_else(|| No::new(Kind::Unavailable, "this entry leads nowhere")))
    }

    async fn from(&self, credentials: &Credentials, patience: Duration) -> Result<Lent, No> {
        let waited = credentials.lease_within(TTL_MIN, patience).await;
        // One that ends soon is better than none.
        let lease = match waited.as_ref().ok().cloned().or_else(|| credentials.current()) {
            Some(lease) => lease,
            None => return Err(waited.err().map_or_else(nothing_yet, |error| no_lease(&error))),
        };
        let Some(deadline) = lease.deadline else {
            return Err(No::new(
                Kind::Denied,
                "these are credentials without an end, which are not given out",
            ));
        };
        let good_for = deadline.since(self.broker.now());
        if good_for.is_zero() {
            return Err(nothing_yet());
        }
        Ok(Lent { chain: credentials.chain().clone(), lease, good_for })
    }

    /// The chain, kept from now on; others of before are not.
    fn keep(&self, chain: &Chain, chains: &[Chain]) -> Result<Credentials, No> {
        let mut kept = lock(&self.kept);
        kept.used = Instant::now();
        kept.open.retain(|credentials| chains.contains(credentials.chain()));
        if let Some(known) = kept.open.iter().find(|credentials| credentials.chain() == chain) {
            return Ok(known.clone());
        }
        let opened = self.broker.open(chain, &self.label);
        let opened = opened.map_err(|many| No::new(Kind::Unavailable, many.to_string()))?;
        kept.open.push(opened.clone());
        Ok(opened)
    }

    /// Lets go of chains that nobody asked for lately, or that the principal may not use any more.
    pub(super) fn sweep(&self, now: Instant) {
        if lock(&self.kept).open.is_empty() {
            return;
        }
        let cluster = self.cluster();
        let is_over = now.saturating_duration_since(lock(&self.kept).used) > IDLE_MAX;
        let decided = self.outside.gate().decide_here(|view| self.chains(view, &cluster).is_ok());
        if is_over || decided == Some(false) {
            lock(&self.kept).open.clear();
        }
    }

    fn cluster(&self) -> String {
        if let Some(known) = self.cluster.get() {
            return known.clone();
        }
        let known = self.outside.gate().status().and_then(|status| status.cluster_id);
        known.map(|id| self.cluster.get_or_init(|| id).clone()).unwrap_or_default()
    }
}

/// A chain whose credentials may leave this node: those that a role or a confinement gave.
fn lendable(routed: Option<Route>) -> Result<Chain, Refusal> {
    let refused = |message: &str| Refusal::new(state::INSUFFICIENT_PRIVILEGE, message);
    let Some(Route { chain, notice }) = routed else {
        return Err(refused(
            "this URI is used without credentials of AWS or Google, so there are none to give",
        ));
    };
    if let Some(notice) = notice {
        return Err(refused(notice).with_hint("Credentials that leave the node are confined, or not given."));
    }
    match chain.last() {
        Step::AssumeRole(_) | Step::Impersonate(_) | Step::Confine(_) => Ok(chain),
        Step::Source(_) => {
            Err(refused("what the node itself is, and keys of a URI, are not given to other programs")
                .with_hint("Name a role in the URI of the external connection: ASSUME_ROLE=…"))
        }
    }
}

fn no_lease(error: &WaitError) -> No {
    let class = match error {
        WaitError::Trouble(trouble) => Some(trouble.class),
        WaitError::TimedOut { trouble, .. } => trouble.as_ref().map(|trouble| trouble.class),
        WaitError::TooMany(_) => None,
    };
    let kind = match class {
        Some(Class::Denied | Class::Config) => Kind::Denied,
        _ => Kind::Unavailable,
    };
    No::new(kind, error.to_string())
}

fn nothing_yet() -> No {
    No::new(Kind::Unavailable, "there are no credentials yet; ask again")
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let rate = f64::from(RATE);
        let more = now.saturating_duration_since(self.at).as_secs_f64() * rate;
        self.left = (self.left + more).min(rate);
        self.at = now;
        if self.left < 1.0 {
            return false;
        }
        self.left -= 1.0;
        true
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where it is counted and recorded what was given, and what was not.
#[derive(Clone)]
pub(super) struct Record {
    gate: Gate,
    audit: Audit,
}

impl Record {
    pub(super) fn new(gate: &Gate, audit: &Audit) -> Self {
        Self { gate: gate.clone(), audit: audit.clone() }
    }

    /// Of the entry, if it is one.
    pub(super) fn note(&self, lender: Option<&Lender>, client: SocketAddr, came_of_it: &Result<Lent, No>) {
        let result = came_of_it.as_ref().map_or_else(|no| no.kind.word(), |_| "ok");
        let entry = lender.map_or("", Lender::name);
        self.counter(entry, result).increment(1);
        if !self.audit.is_on() {
            return;
        }
        let lent = came_of_it.as_ref().ok();
        let loan = Loan {
            entry,
            principal: lender.map_or_else(String::new, |lender| lender.principal.to_string()),
            // Without what is behind the `?`.
            to: lender.map_or("", |lender| lender.uri.split('?').next().unwrap_or_default()),
            chain: lent.map(|lent| lent.chain.to_string()),
            generation: lent.map_or(0, |lent| lent.lease.generation),
            expires: lent.map(|lent| aws::expiration(SystemTime::now(), lent.good_for)),
            result,
            message: came_of_it.as_ref().err().map(|no| no.message.as_str()),
            client: client.ip().to_string(),
        };
        self.audit.lent(&loan, self.gate.applied_view().version());
    }

    fn counter(&self, entry: &str, result: &'static str) -> Counter {
        metrics::counter!(
            "grantd_endpoint_requests_total",
            "node" => self.gate.node_id().to_string(), "entry" => entry.to_owned(), "result" => result
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::chain::{AssumeRole, Confine, Source};

    #[test]
    fn a_second_has_so_many_requests_and_the_next_one_again() {
        let start = Instant::now();
        let mut bucket = Bucket { left: f64::from(RATE), at: start };
        let taken = (0..2 * RATE).filter(|_| bucket.take(start)).count();
        assert_eq!(taken, RATE as usize);
        assert!(!bucket.take(start + Duration::from_micros(500)));
        assert!(bucket.take(start + Duration::from_millis(3)));
        let later = start + Duration::from_secs(60);
        assert_eq!((0..2 * RATE).filter(|_| bucket.take(later)).count(), RATE as usize);
    }

    #[test]
    fn what_the_node_is_and_keys_are_not_lent() {
        let role = || AssumeRole {
            role: "arn:aws:iam::111122223333:role/r".to_owned(),
            external_id: None,
            session_name: "s".to_owned(),
            source_identity: None,
            policy: None,
            duration: Duration::from_secs(900),
        };
        let of = |source, steps: Vec<Step>, notice| {
            lendable(Some(Route { chain: Chain::new(source, steps), notice }))
        };
        assert!(of(Source::AwsNode, vec![Step::AssumeRole(role())], None).is_ok());
        let confine = Confine { bucket: "b".to_owned(), prefix: String::new(), write: true };
        assert!(of(Source::GcpNode, vec![Step::Confine(confine)], None).is_ok());
        for source in [Source::AwsNode, Source::GcpNode] {
            let refusal = of(source, vec![], None).unwrap_err();
            assert!(refusal.hint.is_some_and(|hint| hint.contains("ASSUME_ROLE")));
        }
        let unconfined = of(Source::AwsNode, vec![Step::AssumeRole(role())], Some("not confined"));
        assert_eq!(unconfined.unwrap_err().message, "not confined");
        assert!(lendable(None).is_err());
    }
}
