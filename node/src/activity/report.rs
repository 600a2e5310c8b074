//! What a node tells of its sessions, to its own clients and to other nodes. The structs go over the wire: a change is a
//! new format.

use bincode::{Decode, Encode};
use grantd_catalog::id::PrincipalId;
use grantd_catalog::name::Name;

use super::{Activity, Id, Live, redact};

/// The most bytes of texts that one node tells at once; sessions beyond it are counted and left out.
pub const TEXTS_BYTES_MAX: usize = 24 << 20;
/// Longer addresses, names of applications and databases are cut, for the same bound.
const NAME_BYTES_MAX: usize = 256;

/// One session.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct SessionReport {
    /// Its number.
    pub id: Id,
    /// The node that it is on.
    pub node: u64,
    /// Who logged in.
    pub principal: PrincipalId,
    /// Its name then: the principal may be gone.
    pub user: String,
    /// Who it acts as now.
    pub role: PrincipalId,
    /// Where its client is.
    pub client_address: String,
    /// As the client gave it.
    pub application_name: String,
    /// The current database.
    pub database: Option<String>,
    /// When it began, in microseconds since the Unix epoch.
    pub began_micros: i64,
    /// What it runs now.
    pub running: Option<QueryReport>,
    /// What it ran last. Without secrets; bounded.
    pub last_query: Option<String>,
    /// Transactions that were begun in it, each statement outside of a block being one.
    pub transactions: u64,
    /// The block that is open in it.
    pub block: Option<BlockReport>,
}

/// An open transaction block.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct BlockReport {
    /// Its number, which tells when it began.
    pub id: Id,
    /// Statements that have ended in it.
    pub statements: u64,
}

/// A running statement.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct QueryReport {
    /// Its number.
    pub id: Id,
    /// When it began, in microseconds since the Unix epoch.
    pub began_micros: i64,
    /// Its text. Without secrets; bounded.
    pub text: String,
}

/// The sessions of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Sessions {
    /// Sorted by number, so by when they began.
    pub sessions: Vec<SessionReport>,
    /// How many more there are.
    pub left_out: u64,
}

/// How a node is: its place in Raft, its release, its age.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[allow(missing_docs, reason = "the fields of `grantd_raft::handle::Status`")]
pub struct NodeReport {
    pub server_state: String,
    pub term: u64,
    pub leader: Option<u64>,
    pub last_log: u64,
    pub applied: u64,
    pub snapshot: u64,
    pub purged: u64,
    /// The release of its binary.
    pub release: String,
    /// Since its process began to serve.
    pub uptime_ms: u64,
}

impl Activity {
    /// The sessions of this node; of one principal only, if it is named. Cost: a copy of each text.
    pub fn sessions(&self, only: Option<PrincipalId>) -> Sessions {
        let wanted = |live: &Live| only.is_none_or(|principal| live.newcomer.principal == principal);
        let mut sessions: Vec<_> = self
            .inner
            .sessions
            .iter()
            .filter(|live| wanted(live))
            .map(|live| live.report(self.inner.node))
            .collect();
        sessions.sort_by_key(|session| session.id);
        let mut bytes = 0;
        let fitting = sessions.iter().take_while(|session| {
            bytes += session.bytes();
            bytes <= TEXTS_BYTES_MAX
        });
        let kept = fitting.count();
        let left_out = (sessions.len() - kept) as u64;
        sessions.truncate(kept);
        Sessions { sessions, left_out }
    }
}

impl SessionReport {
    /// The same with the constants of its statements hidden.
    #[must_use]
    pub fn redacted(mut self) -> Self {
        if let Some(running) = &mut self.running {
            running.text = redact::redacted(&running.text);
        }
        self.last_query = self.last_query.map(|text| redact::redacted(&text));
        self
    }

    fn bytes(&self) -> usize {
        let texts = [Some(&self.user), Some(&self.client_address), Some(&self.application_name)];
        let more =
            [self.database.as_ref(), self.last_query.as_ref(), self.running.as_ref().map(|it| &it.text)];
        texts.into_iter().chain(more).flatten().map(String::len).sum::<usize>() + size_of::<Self>()
    }
}

impl Live {
    fn report(&self, node: u64) -> SessionReport {
        let doing = self.doing();
        // Texts are taken under the lock and worked on behind it: the session waits for no scanner.
        let running =
            doing.running.as_ref().map(|running| (running.id, std::sync::Arc::clone(&running.text)));
        let last = doing.last.clone();
        let (role, transactions, block) = (doing.role, doing.transactions, doing.block.clone());
        let application_name = cut(&doing.application_name);
        let database = doing.database.as_ref().map(Name::as_str).map(cut);
        drop(doing);
        SessionReport {
            id: self.id,
            node,
            principal: self.newcomer.principal,
            user: cut(self.newcomer.user.as_str()),
            role,
            client_address: cut(&self.newcomer.client_address),
            application_name,
            database,
            began_micros: self.id.began_micros(),
            running: running.map(|(id, text)| QueryReport {
                id,
                began_micros: id.began_micros(),
                text: redact::shown(&text),
            }),
            last_query: last.map(|text| redact::shown(&text)),
            transactions,
            block,
        }
    }
}

fn cut(text: &str) -> String {
    let mut end = text.len().min(NAME_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}
