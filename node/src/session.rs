//! One client's session: who it is, what its unqualified names mean, its settings, its notices, how it is cancelled,
//! and its transaction: `block` is where that stands, [`Held`] what it holds.

pub mod block;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use grantd_catalog::command::{Actor, NameContext};
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::Name;
use grantd_catalog::refusal::Refusal;
use grantd_catalog::view::View;
use grantd_raft::rows::{Share, Value};

pub use crate::activity::Cancelled;
use crate::activity::{Activity, Id, Newcomer, Registration, Running};
use crate::gate::Pinned;

use self::block::{Before, Block, Holding, Status};

/// What a session is and remembers between statements. Owned by its connection; no lock.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who logged in, and who it acts as.
    pub actor: Actor,
    /// The current database.
    pub database: Option<Name>,
    /// Schemas in which unqualified names are looked up; `$user` stands for `user`.
    pub search_path: Vec<Name>,
    /// The name of the effective user.
    pub user: Option<Name>,
    /// Variables that it began with, by name: what RESET goes back to.
    pub defaults: BTreeMap<String, String>,
    /// `application_name`, as the client gave it.
    pub application_name: String,
    /// Other variables that were set, by name; what is not here has its default.
    pub settings: BTreeMap<&'static str, String>,
    /// Whether SET ROLE was used: SHOW role says `none` until then.
    pub role_was_set: bool,
    /// What it remembers of sequences.
    pub sequences: SequenceValues,
    /// What the client is told after the current statement, in order (NOTICE, WARNING).
    pub notices: Vec<Notice>,
    /// Set by a cancel request; looked at by everything that runs long; cleared before each statement.
    pub cancelled: Cancelled,
    /// The statements that PREPARE named.
    pub statements: Arc<BTreeMap<Name, NamedText>>,
    /// The statements that the protocol prepared under a name.
    pub protocol_statements: Arc<BTreeMap<String, NamedText>>,
    /// Which of them DEALLOCATE took away, for the protocol to forget; none: all.
    pub deallocated: Vec<Option<Name>>,
    /// The cursors of its transaction, which end with it.
    pub cursors: Arc<BTreeMap<Name, Cursor>>,
    /// Its place among the node's sessions, where others see what it does; none: it is in no list.
    pub registration: Option<Arc<Registration>>,
    /// A view that was asked for when all that the client has sent so far was here, and after which the session has
    /// executed nothing: the next statement is decided on it, unless it comes later.
    pub newest: Option<Arc<View>>,
    /// What inquiries are answered from that have come together.
    pub together: Option<Together>,
    /// Room for the answers of one, so that none is made for each.
    pub answers: Vec<Option<bool>>,
    /// Its transaction.
    pub block: Block,
    /// What its transaction holds.
    pub held: Held,
}

/// A view that was asked for when all that the client has sent so far was here, and what the names in it mean. It is good
/// for the inquiries among that, as each came before and is answered after: until the session executes something else, sends,
/// or waits for its client.
#[derive(Clone, Debug)]
pub struct Together {
    /// The view.
    pub view: Arc<View>,
    /// Whether it is only good while the node's read lease says so, which is looked at behind each decision.
    pub by_lease: bool,
    /// What unqualified names mean.
    pub context: NameContext,
    /// The text of the statement that whoever lists sessions was told of last; none: they were told of none.
    pub told: Option<Arc<str>>,
}

/// What SET changes, and a rollback puts back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variables {
    current: PrincipalId,
    database: Option<Name>,
    search_path: Vec<Name>,
    user: Option<Name>,
    application_name: String,
    settings: BTreeMap<&'static str, String>,
    role_was_set: bool,
}

/// What a session's transaction holds; let go when it is dropped. A copy of a session, as its statements see it, holds
/// nothing.
#[derive(Debug, Default)]
pub enum Held {
    /// Nothing.
    #[default]
    Nothing,
    /// A snapshot of this node's rows.
    Snapshot(Box<Pinned>),
    /// The leader's writer.
    Writer(Ticket),
}

impl Clone for Held {
    fn clone(&self) -> Self {
        Self::Nothing
    }
}

/// The number of a transaction at the leader. It is rolled back there when this is dropped.
pub struct Ticket {
    id: Id,
    roll_back: Option<RollBack>,
}

/// Tells the leader that a transaction is over.
pub type RollBack = Box<dyn FnOnce() + Send + Sync>;

impl Ticket {
    /// Of the transaction `id`.
    pub fn new(id: Id, roll_back: RollBack) -> Self {
        Self { id, roll_back: Some(roll_back) }
    }

    /// The transaction.
    pub fn id(&self) -> Id {
        self.id
    }

    /// The leader knows that it is over.
    pub fn used(mut self) {
        self.roll_back = None;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(roll_back) = self.roll_back.take() {
            roll_back();
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Ticket").field(&self.id).finish()
    }
}

/// What nextval() and setval() left in a session, for currval() and lastval().
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SequenceValues {
    /// The last value, by sequence.
    pub values: BTreeMap<ObjectId, i64>,
    /// The sequence of the last nextval().
    pub latest: Option<ObjectId>,
}

/// A statement that PREPARE named. It is planned at each execution, so its text is all there is to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedText {
    /// What it says.
    pub text: Arc<str>,
    /// The OIDs of its parameters' types.
    pub types: Vec<u32>,
    /// When it was made, in microseconds since the Unix epoch.
    pub since_micros: i64,
}

/// A cursor: the rows of a query, read when it was declared, and a place among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Cursor {
    /// The query.
    pub text: Arc<str>,
    /// When it was declared, in microseconds since the Unix epoch.
    pub since_micros: i64,
    /// Names of its columns, the OIDs of their types, and the length of a CHAR.
    pub columns: Vec<(String, u32, u32)>,
    /// Its rows.
    pub rows: Arc<[Vec<Value>]>,
    /// How many bytes they have, roughly.
    pub bytes: usize,
    /// Their share of what all results may have.
    pub held: Share,
    /// Whether it may go back.
    pub scrolls: bool,
    /// The number of the row where it is, from 1; 0: before the first; one more than there are: behind the last.
    pub at: usize,
}

/// Something that a client is told beside its result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// `NOTICE` or `WARNING`.
    pub severity: &'static str,
    /// Code, message, detail and hint.
    pub body: Refusal,
}

impl Session {
    /// A session of `actor` in `database`.
    pub fn new(actor: Actor, database: Option<Name>) -> Self {
        Self {
            actor,
            database,
            search_path: Self::default_search_path(),
            user: None,
            defaults: BTreeMap::new(),
            application_name: String::new(),
            settings: BTreeMap::new(),
            role_was_set: false,
            sequences: SequenceValues::default(),
            notices: Vec::new(),
            cancelled: Cancelled::default(),
            statements: Arc::default(),
            protocol_statements: Arc::default(),
            deallocated: Vec::new(),
            cursors: Arc::default(),
            registration: None,
            newest: None,
            together: None,
            answers: Vec::new(),
            block: Block::Idle,
            held: Held::Nothing,
        }
    }

    /// What SET has made of it.
    pub fn variables(&self) -> Variables {
        Variables {
            current: self.actor.current,
            database: self.database.clone(),
            search_path: self.search_path.clone(),
            user: self.user.clone(),
            application_name: self.application_name.clone(),
            settings: self.settings.clone(),
            role_was_set: self.role_was_set,
        }
    }

    /// Puts back what SET made of it.
    pub fn set_variables(&mut self, variables: Variables) {
        let Variables { current, database, search_path, user, application_name, settings, role_was_set } =
            variables;
        self.actor.current = current;
        self.database = database;
        self.search_path = search_path;
        self.user = user;
        self.application_name = application_name;
        self.settings = settings;
        self.role_was_set = role_was_set;
    }

    /// What a rollback would put back if a transaction began now.
    pub fn before(&self) -> Before {
        let cursors = self.cursors.iter().map(|(name, cursor)| (name.clone(), cursor.since_micros));
        Before { variables: self.variables(), sequences: self.sequences.clone(), cursors: cursors.collect() }
    }

    /// Puts back what was before.
    pub fn put_back(&mut self, before: Before) {
        self.set_variables(before.variables);
        self.sequences = before.sequences;
        // Those that were declared since end. Where the others are is not taken back, as in PostgreSQL.
        if !self.cursors.is_empty() {
            let was = |name: &Name, cursor: &Cursor| before.cursors.get(name) == Some(&cursor.since_micros);
            Arc::make_mut(&mut self.cursors).retain(|name, cursor| was(name, cursor));
        }
    }

    /// A statement failed: its transaction is over, or waits for its end.
    pub fn fail(&mut self) {
        let (before, held) = self.block.fail();
        if held == Holding::Release {
            self.held = Held::Nothing;
        }
        if let Some(before) = before {
            self.put_back(before);
        }
        self.describe();
    }

    /// Puts the session into a node's list, where it stays as long as it lives.
    pub fn register(&mut self, activity: &Activity, newcomer: Newcomer) {
        self.registration = Some(Arc::new(activity.register(newcomer)));
        self.describe();
    }

    /// Tells whoever lists sessions what the session is now: its role, its application, its database.
    pub fn describe(&self) {
        if let Some(registration) = &self.registration {
            registration.describe(self.actor, &self.application_name, self.database.as_ref());
            registration.in_block(self.block.status() != Status::Idle);
        }
    }

    /// Tells whoever lists sessions that a statement begins; it ends when what is returned is dropped.
    pub fn begin(&self, text: &Arc<str>) -> Option<Running> {
        let registration = self.registration.as_ref()?;
        Some(registration.begin(self.actor, &self.application_name, self.database.as_ref(), text))
    }

    /// The search path of a session that set none.
    pub fn default_search_path() -> Vec<Name> {
        ["$user", "public"].map(Name::normalize).to_vec()
    }

    /// What unqualified names mean in this session.
    pub fn name_context(&self) -> NameContext {
        let place = |name: &Name| match name.as_str() {
            "$user" => self.user.clone(),
            _ => Some(name.clone()),
        };
        let search_path = self.search_path.iter().filter_map(place).collect();
        NameContext { database: self.database.clone(), search_path }
    }
}
