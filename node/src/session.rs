//! One client's session: who it is, what its unqualified names mean, its settings, its notices, and how it is
//! cancelled.

use std::collections::BTreeMap;
use std::sync::Arc;

use grantd_catalog::command::{Actor, NameContext};
use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::refusal::Refusal;

pub use crate::activity::Cancelled;
use crate::activity::{Activity, Newcomer, Registration, Running};

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
    /// Its place among the node's sessions, where others see what it does; none: it is in no list.
    pub registration: Option<Arc<Registration>>,
}

/// What nextval() and setval() left in a session, for currval() and lastval().
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SequenceValues {
    /// The last value, by sequence.
    pub values: BTreeMap<ObjectId, i64>,
    /// The sequence of the last nextval().
    pub latest: Option<ObjectId>,
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
            registration: None,
        }
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
