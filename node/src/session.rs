//! One client's session: who it is, what its unqualified names mean, its settings, its notices, and how it is
//! cancelled.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grantd_catalog::command::{Actor, NameContext};
use grantd_catalog::name::Name;
use grantd_catalog::refusal::Refusal;

/// What a session is and remembers between statements. Owned by its connection; no lock.
#[derive(Clone, Debug)]
pub struct Session {
    /// Who logged in, and who it acts as.
    pub actor: Actor,
    /// The current database.
    pub database: Option<Name>,
    /// Schemas in which unqualified names are looked up.
    pub search_path: Vec<Name>,
    /// `application_name`, as the client gave it.
    pub application_name: String,
    /// Other variables that were set, by name; what is not here has its default.
    pub settings: BTreeMap<&'static str, String>,
    /// Whether SET ROLE was used: SHOW role says `none` until then.
    pub role_was_set: bool,
    /// What the client is told after the current statement, in order (NOTICE, WARNING).
    pub notices: Vec<Notice>,
    /// Set by a cancel request; looked at by everything that runs long; cleared before each statement.
    pub cancelled: Cancelled,
}

/// A flag that another task raises to cancel the running statement (57014).
#[derive(Clone, Debug, Default)]
pub struct Cancelled(Arc<AtomicBool>);

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
            search_path: vec![Name::normalize("public")],
            application_name: String::new(),
            settings: BTreeMap::new(),
            role_was_set: false,
            notices: Vec::new(),
            cancelled: Cancelled::default(),
        }
    }

    /// What unqualified names mean in this session.
    pub fn name_context(&self) -> NameContext {
        NameContext { database: self.database.clone(), search_path: self.search_path.clone() }
    }
}

impl Cancelled {
    /// Cancels the running statement.
    pub fn raise(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Starts a new statement: an older cancel request no longer counts.
    pub fn clear(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// Whether the running statement is to stop.
    pub fn is_raised(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
