//! Who is connected and what runs: the sessions of this node, their statements, and how others stop them.
//!
//! A session registers when it begins ([`Activity::register`]) and tells what it runs ([`Registration::begin`]): one
//! lock that nobody else holds, and no copy of the text. Whoever lists looks in from outside. `report` is what others
//! are told, `redact` takes constants out of texts, `cluster` asks the other nodes, decides who sees what and who may
//! stop whom. What is not here: the statements that show it (`sql::execute`), the proof of a PostgreSQL cancel request
//! (`pgwire::registry`).

pub mod redact;
pub mod report;
pub mod cluster;
pub mod logins;

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bincode::{Decode, Encode};
use dashmap::DashMap;
use grantd_catalog::command::Actor;
use grantd_catalog::id::PrincipalId;
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::refusal::{Refusal, SqlState};
use grantd_raft::config::NodeId;
use tokio::sync::Notify;

use self::report::BlockReport;

/// FATAL: an administrator ended the session.
pub const ADMIN_SHUTDOWN: SqlState = SqlState::new("57P01");

/// The number of a session or of a statement, unlike any other in the cluster: when it began in nanoseconds since the
/// Unix epoch (64 bits), a counter (32) and the node (32, the low bits of its number).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Id(pub u128);

impl Id {
    /// The low 32 bits of the number of the node that gave it out.
    pub fn node_bits(self) -> u64 {
        u64::try_from(self.0 & u128::from(u32::MAX)).unwrap_or_default()
    }

    /// The number that [`fmt::Display`] printed: 1 to 32 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits || text.is_empty() || text.len() > 32 {
            return None;
        }
        u128::from_str_radix(text, 16).ok().map(Self)
    }

    /// When it began, in microseconds since the Unix epoch.
    pub fn began_micros(self) -> i64 {
        i64::try_from((self.0 >> 64) / 1_000).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A flag that another task raises to cancel the running statement (57014).
#[derive(Clone, Debug, Default)]
pub struct Cancelled(Arc<Signal>);

/// Why a statement is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Somebody asked for it.
    Cancelled = 1,
    /// It ran for longer than it may.
    StatementTimeout = 2,
    /// Its transaction did.
    TransactionTimeout = 3,
}

/// No reason to stop.
const GO_ON: u8 = 0;

#[derive(Debug, Default)]
struct Signal {
    /// A [`Stop`], or [`GO_ON`].
    raised: AtomicU8,
    woken: Notify,
}

impl Cancelled {
    /// Cancels the running statement.
    pub fn raise(&self) {
        self.raise_for(Stop::Cancelled);
    }

    /// Stops the running statement. The first reason stays.
    pub fn raise_for(&self, stop: Stop) {
        // Sequentially consistent, here and below: a write tells by two such flags whether it was stopped in time.
        let _ = self.0.raised.compare_exchange(GO_ON, stop as u8, Ordering::SeqCst, Ordering::SeqCst);
        self.0.woken.notify_waiters();
    }

    /// Starts a new statement: an older cancel request no longer counts.
    pub fn clear(&self) {
        self.clear_of(Stop::Cancelled);
    }

    /// The statement that was stopped for this reason is over.
    pub fn clear_of(&self, stop: Stop) {
        let _ = self.0.raised.compare_exchange(stop as u8, GO_ON, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Whether the running statement is to stop.
    pub fn is_raised(&self) -> bool {
        self.0.raised.load(Ordering::SeqCst) != GO_ON
    }

    /// Whether it is to stop for this reason.
    pub fn is_raised_for(&self, stop: Stop) -> bool {
        self.0.raised.load(Ordering::SeqCst) == stop as u8
    }

    /// Waits until it is raised. Nothing is lost if the future is dropped.
    pub async fn raised(&self) {
        let mut woken = std::pin::pin!(self.0.woken.notified());
        loop {
            // Listening first: a raise between the look and the wait must not be missed.
            woken.as_mut().enable();
            if self.is_raised() {
                return;
            }
            woken.as_mut().await;
            woken.set(self.0.woken.notified());
        }
    }
}

/// The sessions of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Activity {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    node: NodeId,
    began: Instant,
    next: AtomicU32,
    sessions: DashMap<Id, Arc<Live>>,
    /// Statements of other nodes' sessions that run here: their flags.
    forwarded: DashMap<Id, Cancelled>,
}

/// How a session proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// A certificate: good until it expires, VALID UNTIL or not.
    Certificate,
    /// A password.
    Password,
}

/// Who begins a session.
#[derive(Clone, Debug)]
pub struct Newcomer {
    /// Its name.
    pub user: RoleName,
    /// Who that is.
    pub principal: PrincipalId,
    /// How it proved that.
    pub proof: Proof,
    /// Where its client is: `address:port`.
    pub client_address: String,
    /// What stops its running statement.
    pub cancelled: Cancelled,
}

/// A session as others see it.
#[derive(Debug)]
struct Live {
    id: Id,
    newcomer: Newcomer,
    doing: Mutex<Doing>,
    ended: OnceLock<Refusal>,
    told: Notify,
}

/// What changes in a session.
#[derive(Debug)]
struct Doing {
    role: PrincipalId,
    application_name: String,
    database: Option<Name>,
    running: Option<Statement>,
    last: Option<Arc<str>>,
    transactions: u64,
    block: Option<BlockReport>,
}

#[derive(Debug)]
struct Statement {
    id: Id,
    text: Arc<str>,
    cancelled: bool,
}

impl Live {
    fn doing(&self) -> MutexGuard<'_, Doing> {
        self.doing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, reason: Refusal) {
        // Who was told twice goes for the first reason.
        let _ = self.ended.set(reason);
        self.newcomer.cancelled.raise();
        self.told.notify_waiters();
    }
}

impl Activity {
    /// Of `node`, without sessions.
    pub fn new(node: NodeId) -> Self {
        let (next, sessions, forwarded) = (AtomicU32::new(0), DashMap::new(), DashMap::new());
        Self { inner: Arc::new(Inner { node, began: Instant::now(), next, sessions, forwarded }) }
    }

    /// The node that it is of.
    pub fn node(&self) -> NodeId {
        self.inner.node
    }

    /// Since the node began, in milliseconds.
    pub fn uptime_ms(&self) -> u64 {
        u64::try_from(self.inner.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A number that was never given out.
    pub fn next_id(&self) -> Id {
        let began = since_epoch().as_nanos() & u128::from(u64::MAX);
        let count = u128::from(self.inner.next.fetch_add(1, Ordering::Relaxed));
        Id(began << 64 | count << 32 | u128::from(self.inner.node & u64::from(u32::MAX)))
    }

    /// Adds a session. It is in the list until what is returned is dropped.
    pub fn register(&self, newcomer: Newcomer) -> Registration {
        let doing = Doing {
            role: newcomer.principal,
            application_name: String::new(),
            database: None,
            running: None,
            last: None,
            transactions: 0,
            block: None,
        };
        let live = Arc::new(Live {
            id: self.next_id(),
            newcomer,
            doing: Mutex::new(doing),
            ended: OnceLock::new(),
            told: Notify::new(),
        });
        self.inner.sessions.insert(live.id, Arc::clone(&live));
        Registration { activity: self.clone(), live }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.inner.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.inner.sessions.is_empty()
    }

    /// Lets another node stop a statement that it sent here, until what is returned is dropped.
    pub fn forwarded(&self, id: Id) -> Forwarded {
        let cancelled = Cancelled::default();
        self.inner.forwarded.insert(id, cancelled.clone());
        Forwarded { activity: self.clone(), id, cancelled }
    }

    /// Stops a statement that another node sent here, if it is here.
    fn interrupt(&self, id: Id) {
        if let Some(cancelled) = self.inner.forwarded.get(&id) {
            cancelled.raise();
        }
    }

    /// The session that this is, or that runs this.
    fn find(&self, target: Target, id: Id) -> Option<Arc<Live>> {
        match target {
            Target::Session => self.inner.sessions.get(&id).map(|live| Arc::clone(live.value())),
            Target::Query => {
                let runs =
                    |live: &Live| live.doing().running.as_ref().is_some_and(|running| running.id == id);
                self.inner.sessions.iter().find(|live| runs(live)).map(|live| Arc::clone(live.value()))
            }
        }
    }

    /// Stops what `id` names in `live`; false: it has ended meanwhile.
    fn stop(live: &Live, target: Target, id: Id) -> bool {
        match target {
            Target::Session => {
                let refusal =
                    Refusal::new(ADMIN_SHUTDOWN, "terminating connection due to administrator command");
                live.end(refusal.with_detail("The session was ended by CANCEL SESSION."));
                true
            }
            Target::Query => {
                let mut doing = live.doing();
                let Some(running) = doing.running.as_mut().filter(|running| running.id == id) else {
                    return false;
                };
                running.cancelled = true;
                live.newcomer.cancelled.raise();
                true
            }
        }
    }
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// What is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Target {
    /// A session, and what it runs.
    Session,
    /// A statement; its session goes on.
    Query,
}

impl Target {
    /// The word in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Query => "query",
        }
    }
}

/// A session's place in the list; it leaves when this is dropped.
#[derive(Debug)]
pub struct Registration {
    activity: Activity,
    live: Arc<Live>,
}

impl Registration {
    /// The session's number.
    pub fn id(&self) -> Id {
        self.live.id
    }

    /// What the session is now, beside what it runs: for sessions that have run nothing yet.
    pub fn describe(&self, actor: Actor, application_name: &str, database: Option<&Name>) {
        self.live.doing().describe(actor, application_name, database);
    }

    /// Whether the session is in a transaction block now: told behind each statement that may begin or end one.
    pub fn in_block(&self, is_open: bool) {
        let mut doing = self.live.doing();
        if is_open != doing.block.is_some() {
            // BEGIN ended before it was said that it began one: it is the first of it.
            let block = || BlockReport { id: self.activity.next_id(), statements: 1 };
            doing.block = is_open.then(block);
        }
    }

    /// A statement begins; it ends when what is returned is dropped. Cost: a lock that is free as a rule, two clocks
    /// and no copy, unless the session's description has changed.
    pub fn begin(
        &self,
        actor: Actor,
        application_name: &str,
        database: Option<&Name>,
        text: &Arc<str>,
    ) -> Running {
        let statement = Statement { id: self.activity.next_id(), text: Arc::clone(text), cancelled: false };
        let mut doing = self.live.doing();
        doing.describe(actor, application_name, database);
        doing.running = Some(statement);
        drop(doing);
        Running { live: Arc::clone(&self.live) }
    }

    /// Why the session is to end, if it is.
    pub fn end_reason(&self) -> Option<&Refusal> {
        self.live.ended.get()
    }

    /// Waits until the session is to end, and says why. Nothing is lost if the future is dropped.
    pub async fn ended(&self) -> Refusal {
        let mut told = std::pin::pin!(self.live.told.notified());
        loop {
            told.as_mut().enable();
            if let Some(reason) = self.live.ended.get() {
                return reason.clone();
            }
            told.as_mut().await;
            told.set(self.live.told.notified());
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.activity.inner.sessions.remove(&self.live.id);
    }
}

impl Doing {
    fn describe(&mut self, actor: Actor, application_name: &str, database: Option<&Name>) {
        self.role = actor.current;
        if self.application_name != application_name {
            application_name.clone_into(&mut self.application_name);
        }
        if self.database.as_ref() != database {
            self.database = database.cloned();
        }
    }
}

/// A statement that runs, for others to see; it has ended when this is dropped.
#[derive(Debug)]
pub struct Running {
    live: Arc<Live>,
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut doing = self.live.doing();
        let Some(ended) = doing.running.take() else { return };
        doing.last = Some(ended.text);
        match &mut doing.block {
            Some(block) => block.statements += 1,
            None => doing.transactions += 1,
        }
        if ended.cancelled {
            // It was for this statement, which may have ended before it saw it: the next one is not meant.
            self.live.newcomer.cancelled.clear();
        }
    }
}

/// A statement that another node sent here.
#[derive(Debug)]
pub struct Forwarded {
    activity: Activity,
    id: Id,
    cancelled: Cancelled,
}

impl Forwarded {
    /// What stops it.
    pub fn cancelled(&self) -> &Cancelled {
        &self.cancelled
    }
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        self.activity.inner.forwarded.remove(&self.id);
    }
}

#[cfg(test)]
mod tests;
