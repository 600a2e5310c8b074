//! The audit log: who was refused what on this node, who changed what others may do, and which logins failed.
//!
//! One JSON object a line, in files that only the node's user reads. Those who record wait for nobody: a line goes into a
//! bounded queue ([`QUEUE_MAX`]), one thread writes it. What the queue or the disk does not take is counted, never
//! waited for, and the next line that is written says how many are missing. A refusal that comes again and again is
//! written once, and then how often ([`REPEAT_WINDOW`]). The lines are handed to the operating system, not synced: they
//! survive the process, and after a power cut the last ones may be missing.
//!
//! A line has names, SQLSTATEs and messages. It has no statement, no value of a row, no password. What a check from outside
//! answered is not recorded: that the answer was no is an answer, and the service that asked knows what it did with it.
//!
//! Next: `audit/words.rs` says which changes are recorded, and in which words; `audit/writer.rs` has the files.

mod words;
mod writer;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use grantd_catalog::command::Command;
use grantd_catalog::id::Version;
use grantd_catalog::refusal::Refusal;
use serde_json::{Value, json};

use self::writer::Writer;
use crate::failure::Failure;

/// Lines that wait for the disk: at most some megabytes.
pub const QUEUE_MAX: usize = 4096;
/// How long the same refusal is counted before its number is written.
pub const REPEAT_WINDOW: Duration = Duration::from_secs(10);
/// The most bytes of a message or of a change in a line; the rest is cut off.
pub const TEXT_BYTES_MAX: usize = 2048;

/// The refusals that are recorded: a privilege or grant option is missing, a login failed, a bound of one's own was reached.
const RECORDED: [&str; 6] = ["42501", "01006", "01007", "28000", "28P01", "53400"];

/// Where it is recorded. Cheap to clone; without a log, of nothing.
#[derive(Clone, Default)]
pub struct Audit {
    shared: Option<Arc<Shared>>,
}

struct Shared {
    node: u64,
    sender: SyncSender<Entry>,
    lost: Arc<AtomicU64>,
}

/// The thread that writes.
pub struct AuditLog {
    audit: Audit,
    thread: JoinHandle<()>,
}

/// Who did it, or tried to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Who {
    /// `sql`, `http`, `socket`, `cloud`, `endpoint`.
    pub interface: &'static str,
    /// The number of the session, if it is in one.
    pub session: Option<String>,
    /// Who logged in.
    pub user: String,
    /// The role that it acts as, if it is another.
    pub role: Option<String>,
    /// From where.
    pub client: Option<String>,
}

/// What was given to a program of this host, or was not. No key, no token.
#[derive(Clone, Debug)]
pub struct Loan<'a> {
    /// What the configuration calls it; empty: there is no such entry.
    pub entry: &'a str,
    /// In whose name.
    pub principal: String,
    /// What it leads to.
    pub to: &'a str,
    /// The roles on the way. None: nothing was given.
    pub chain: Option<String>,
    /// Of the lease, so that the same one again is counted.
    pub generation: u64,
    /// When it ends.
    pub expires: Option<String>,
    /// `ok`, or what kind of refusal.
    pub result: &'static str,
    /// Why not.
    pub message: Option<&'a str>,
    /// From where it was asked for.
    pub client: String,
}

/// What the thread is told.
enum Entry {
    /// A line. Those with a key may be counted instead.
    Line { line: Value, key: Option<String> },
    /// There will be none any more.
    End,
}

impl Audit {
    /// Records a refusal, if it is of those that are recorded. `version`: the newest change that it may rest on.
    pub fn refused(&self, who: &Who, version: Version, refusal: &Refusal) {
        let code = refusal.code.as_str();
        if self.shared.is_none() || !RECORDED.contains(&code) {
            return;
        }
        let kind = if code.starts_with("28") { "login_refused" } else { "refusal" };
        let message = bounded(&refusal.message);
        let key = format!("{code} {} {:?} {message}", who.user, who.role);
        let mut line = self.line(kind, who, Some(version));
        line["sqlstate"] = json!(code);
        line["message"] = json!(message);
        self.send(line, Some(key));
    }

    /// Records what `commands` changed, those of them that change what somebody may do.
    pub fn changed(&self, who: &Who, version: Version, commands: &[Command]) {
        if self.shared.is_none() {
            return;
        }
        for (statement, what) in commands.iter().filter_map(words::of) {
            let mut line = self.line("change", who, Some(version));
            line["statement"] = json!(statement);
            line["what"] = json!(bounded(&what));
            self.send(line, None);
        }
    }

    /// Records that somebody was shown a secret that is kept hidden otherwise. `what`: whose, in the words of the statement.
    pub fn disclosed(&self, who: &Who, version: Version, what: &str) {
        if self.shared.is_none() {
            return;
        }
        let mut line = self.line("disclosure", who, Some(version));
        line["what"] = json!(bounded(what));
        self.send(line, None);
    }

    /// Records that this node asked a cloud for a role: for whom, over which roles, and what came of it (`ok`, or the kind of
    /// failure). The same failure again and again is counted.
    pub fn assumed(&self, chain: &str, users: &str, result: &str, error: Option<&str>) {
        if self.shared.is_none() {
            return;
        }
        let who = Who { interface: "cloud", user: bounded(users).to_owned(), ..Who::default() };
        let mut line = self.line("assumption", &who, None);
        line["chain"] = json!(bounded(chain));
        line["result"] = json!(result);
        let key = error.map(|error| format!("{result} {chain} {users} {}", bounded(error)));
        if let Some(error) = error {
            line["message"] = json!(bounded(error));
        }
        self.send(line, key);
    }

    /// Records that a program of this host asked for credentials, and what came of it. The same again and again is counted.
    pub fn lent(&self, loan: &Loan<'_>, version: Version) {
        if self.shared.is_none() {
            return;
        }
        let client = Some(loan.client.clone());
        let who = Who { interface: "endpoint", user: loan.principal.clone(), client, ..Who::default() };
        let mut line = self.line("credentials", &who, Some(version));
        line["entry"] = json!(loan.entry);
        line["uri"] = json!(bounded(loan.to));
        line["result"] = json!(loan.result);
        let more = [
            ("chain", loan.chain.as_deref()),
            ("expires", loan.expires.as_deref()),
            ("message", loan.message),
        ];
        for (name, text) in more {
            if let Some(text) = text {
                line[name] = json!(bounded(text));
            }
        }
        let message = bounded(loan.message.unwrap_or_default());
        let chain = loan.chain.as_deref().unwrap_or_default();
        let key = format!("{} {} {} {chain} {message}", loan.entry, loan.result, loan.generation);
        self.send(line, Some(key));
    }

    /// Whether anything is recorded: what is only for a record need not be made otherwise.
    pub fn is_on(&self) -> bool {
        self.shared.is_some()
    }

    /// How many lines are missing since the node was started.
    pub fn lost(&self) -> u64 {
        self.shared.as_ref().map_or(0, |shared| shared.lost.load(Ordering::Relaxed))
    }

    fn line(&self, kind: &str, who: &Who, version: Option<Version>) -> Value {
        let mut line = json!({
            "time": now(),
            "node": self.shared.as_ref().map_or(0, |shared| shared.node),
            "kind": kind,
            "interface": who.interface,
            "user": who.user,
        });
        let more = [
            ("role", who.role.clone().map(Value::from)),
            ("session", who.session.clone().map(Value::from)),
            ("client", who.client.clone().map(Value::from)),
            ("version", version.map(|version| Value::from(version.0))),
        ];
        for (name, value) in more {
            if let Some(value) = value {
                line[name] = value;
            }
        }
        line
    }

    fn send(&self, line: Value, key: Option<String>) {
        let Some(shared) = &self.shared else { return };
        match shared.sender.try_send(Entry::Line { line, key }) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                lose(&shared.lost, shared.node);
            }
        }
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Audit").field("is_on", &self.is_on()).finish()
    }
}

impl AuditLog {
    /// Begins to write to files in `directory`, which is made. Errors: no thread, or a directory that cannot be written.
    pub fn start(node: u64, directory: &Path) -> Result<Self, Failure> {
        Self::start_counting(node, directory, REPEAT_WINDOW)
    }

    fn start_counting(node: u64, directory: &Path, window: Duration) -> Result<Self, Failure> {
        let lost = Arc::new(AtomicU64::new(0));
        let mut writer = Writer::new(node, directory, window, Arc::clone(&lost));
        let failed = |error: std::io::Error| {
            Failure::new(format!("cannot write the audit log in `{}`", directory.display()))
                .because(&error)
                .help("name a directory that this user may write with --audit-dir, or set --audit off")
        };
        writer.open().map_err(failed)?;
        let (sender, receiver) = sync_channel(QUEUE_MAX);
        let thread = std::thread::Builder::new().name("audit".to_owned());
        let thread = thread.spawn(move || writer.run(&receiver)).map_err(failed)?;
        let shared = Shared { node, sender, lost };
        Ok(Self { audit: Audit { shared: Some(Arc::new(shared)) }, thread })
    }

    /// Where to record.
    pub fn audit(&self) -> Audit {
        self.audit.clone()
    }

    /// Writes what waits, and ends. What is recorded afterwards is lost.
    pub fn finish(self) {
        if let Some(shared) = &self.audit.shared {
            // Waits for room in the queue, which the thread makes.
            drop(shared.sender.send(Entry::End));
        }
        if self.thread.join().is_err() {
            tracing::warn!("the audit log ended by a bug in this node");
        }
    }
}

/// Counts a line that is missing.
fn lose(lost: &AtomicU64, node: u64) {
    lost.fetch_add(1, Ordering::Relaxed);
    metrics::counter!("grantd_audit_lost_total", "node" => node.to_string()).increment(1);
}

/// As RFC 3339 says it, in UTC.
fn now() -> String {
    let now = time::OffsetDateTime::from(SystemTime::now());
    now.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}

/// What of a text is kept.
fn bounded(text: &str) -> &str {
    if text.len() <= TEXT_BYTES_MAX {
        return text;
    }
    let mut end = TEXT_BYTES_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
