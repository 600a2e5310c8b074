//! Session variables: SET, RESET, SHOW name.
//!
//! A variable that PostgreSQL knows and whose value cannot change what this node does takes any value; one whose
//! value would change it takes only the value that is true, and says so.

use std::time::Duration;

use grantd_catalog::command::{Actor, VariableChange};
use grantd_catalog::id::{PrincipalId, Version};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::refusal::{Refusal, SqlState, state};
use grantd_catalog::setting::{STATEMENT_MEMORY, SettingValue};
use grantd_catalog::view::View;
use grantd_raft::config::PIN_TIME_MAX;
use grantd_raft::memory::STATEMENT_BYTES;

use crate::error::SqlError;
use crate::session::block::{Phase, Status, Transaction, code};
use crate::session::{Notice, SequenceValues, Session};
use crate::sql::parse::session::SetStatement;
use crate::sql::system::name::quoted;
use crate::sql::translate::function::VERSION;

/// The longest value that is kept.
const VALUE_BYTES_MAX: usize = 4_096;

/// What values a variable takes.
enum Rule {
    /// Any.
    Free,
    /// One of these, in any case.
    One(&'static [&'static str]),
    /// On or off.
    Switch,
    /// A level of isolation: all are served as the strongest.
    Isolation,
    /// Milliseconds, or a number with a unit.
    Duration,
    /// Which rows queries read.
    Reading,
    /// Bytes, or a number with a unit: what the memory of a statement may be set to.
    Memory,
    /// A number, or 0 for none.
    Count,
    /// None: it tells a fact.
    Fact,
}

/// Name, default, what it takes. Sorted by name.
const TABLE: [(&str, &str, Rule); 34] = [
    ("bytea_output", "hex", Rule::One(&["hex"])),
    ("client_encoding", "UTF8", Rule::One(&["utf8", "utf-8", "unicode"])),
    ("client_min_messages", "notice", Rule::Free),
    ("datestyle", "ISO, MDY", Rule::One(&["iso", "iso,mdy", "iso, mdy"])),
    ("default_transaction_isolation", "serializable", Rule::Isolation),
    ("default_transaction_read_only", "off", Rule::Switch),
    ("distsql_workmem", "64 MiB", Rule::Memory),
    ("extra_float_digits", "1", Rule::Free),
    ("grantd.read", "linearizable", Rule::Reading),
    ("idle_in_transaction_session_timeout", "5s", Rule::Duration),
    ("integer_datetimes", "on", Rule::Fact),
    ("intervalstyle", "postgres", Rule::One(&["postgres"])),
    ("lock_timeout", "0", Rule::Duration),
    ("max_identifier_length", "63", Rule::Fact),
    ("options", "", Rule::Free),
    ("row_security", "off", Rule::Free),
    ("server_encoding", "UTF8", Rule::Fact),
    ("server_version", "13.0.0", Rule::Fact),
    ("server_version_num", "130000", Rule::Fact),
    ("ssl_renegotiation_limit", "0", Rule::Free),
    ("standard_conforming_strings", "on", Rule::One(&["on", "true", "1"])),
    ("statement_timeout", "0", Rule::Duration),
    ("synchronous_commit", "on", Rule::Free),
    ("tcp_keepalives_idle", "0", Rule::Free),
    ("timezone", "UTC", Rule::One(&["utc", "gmt", "etc/utc", "zulu", "z", "0"])),
    ("tracing", "off", Rule::One(&["off"])),
    ("transaction_isolation", "serializable", Rule::Isolation),
    ("transaction_read_only", "off", Rule::Switch),
    // What a query reads beside what it returns is not counted.
    ("transaction_rows_read_err", "0", Rule::One(&["0"])),
    ("transaction_rows_written_err", "0", Rule::Count),
    ("transaction_status", "NoTxn", Rule::Fact),
    ("transaction_timeout", "0", Rule::Duration),
    ("version", VERSION, Rule::Fact),
    ("work_mem", "64MB", Rule::Free),
];

/// Variables that are fields of the session or facts of the catalog.
const OWN: [&str; 8] = [
    "application_name",
    "database",
    "grantd.version",
    "is_superuser",
    "role",
    "search_path",
    "session_authorization",
    "session_user",
];

/// Applies SET, RESET, USE or SET ROLE.
pub fn set(session: &mut Session, view: &View, statement: &SetStatement) -> Result<(), SqlError> {
    match statement {
        SetStatement::Local(local) => {
            let before = session.variables();
            if let Some(open) = session.block.open_mut() {
                open.keep(&before);
                return set_here(session, view, local);
            }
            // The transaction is this statement: it is judged, and nothing is left of it.
            set_here(&mut session.clone(), view, local)?;
            let body = only_in_blocks("SET LOCAL");
            session.notices.push(Notice { severity: "WARNING", body });
            Ok(())
        }
        other => {
            set_here(session, view, other)?;
            // What SET LOCAL hides is changed too: it is there again when the transaction ends.
            let Some(kept) = session.block.open_mut().and_then(|open| open.kept_mut().cloned()) else {
                return Ok(());
            };
            let mut lasting = session.clone();
            lasting.set_variables(kept);
            set_here(&mut lasting, view, other)?;
            let kept = session.block.open_mut().and_then(Transaction::kept_mut);
            if let Some(kept) = kept {
                *kept = lasting.variables();
            }
            Ok(())
        }
    }
}

/// 25P01, a warning: it had no effect.
pub fn only_in_blocks(what: &str) -> Refusal {
    let message = format!("{what} can only be used in transaction blocks");
    Refusal::new(code::NO_ACTIVE_TRANSACTION, message)
}

fn set_here(session: &mut Session, view: &View, statement: &SetStatement) -> Result<(), SqlError> {
    match statement {
        SetStatement::Nothing => Ok(()),
        SetStatement::Local(local) => set_here(session, view, local),
        SetStatement::Role(role) => set_role(session, view, role.as_ref()),
        SetStatement::All => reset_all(session, view),
        SetStatement::Discard => {
            reset_all(session, view)?;
            session.sequences = SequenceValues::default();
            session.statements = Default::default();
            session.deallocated.push(None);
            session.cursors = Default::default();
            set_role(session, view, None)
        }
        SetStatement::Variable { name, values } => set_variable(session, view, name, values.as_deref()),
    }
}

/// Whether what [`set`] does depends on the catalog.
pub fn set_reads_catalog(statement: &SetStatement) -> bool {
    match statement {
        SetStatement::Local(local) => set_reads_catalog(local),
        SetStatement::Nothing | SetStatement::Role(None) => false,
        SetStatement::Role(Some(_)) => true,
        // What a session begins with may be set for its role.
        SetStatement::All | SetStatement::Discard | SetStatement::Variable { values: None, .. } => true,
        // `$user` in a search path is a name of the catalog.
        SetStatement::Variable { name, .. } => matches!(name.as_str(), "database" | "search_path"),
    }
}

/// Whether what [`show`] tells depends on the catalog.
pub fn show_reads_catalog(name: &str) -> bool {
    matches!(name, "is_superuser" | "session_user" | "session_authorization" | "role")
}

/// Applies a setting that came with the connection, in a startup packet or its `options`.
///
/// As in CockroachDB: what is known is set as SET would, or refuses the connection as SET would; what is not known is
/// ignored, because drivers send many. `TimeZone` stays UTC, whatever is asked: drivers send their machine's unasked,
/// every time is shown with its offset, and the client is told the one in force.
pub fn set_at_start(session: &mut Session, view: &View, name: &str, value: &str) -> Result<(), SqlError> {
    let values = [value.to_owned()];
    match name {
        "timezone" => Ok(()),
        "role" => {
            let role = RoleName::normalize(value);
            set_role(session, view, (role.as_str() != "none").then_some(&role))
        }
        name if names().contains(&name) => set_variable(session, view, name, Some(&values)),
        _ => {
            let shown: String = name.chars().take(100).collect();
            tracing::debug!(name = shown, "a setting that is not known came with a connection");
            Ok(())
        }
    }
}

/// All but the role, which only DISCARD ALL and RESET ROLE put back (authorization spec H.8).
fn reset_all(session: &mut Session, view: &View) -> Result<(), SqlError> {
    session.settings.clear();
    session.application_name.clear();
    session.search_path = Session::default_search_path();
    let begun: Vec<_> = session.defaults.keys().cloned().collect();
    begun.iter().try_for_each(|name| set_variable(session, view, name, None))
}

/// Without a role, back to who logged in.
fn set_role(session: &mut Session, view: &View, role: Option<&RoleName>) -> Result<(), SqlError> {
    session.actor.current = view.state().set_role(session.actor.session, role)?;
    session.role_was_set = true;
    note_user(session, view);
    Ok(())
}

/// What `$user` in the search path stands for: the effective user.
fn note_user(session: &mut Session, view: &View) {
    let name = view.state().principal_name(session.actor.current);
    session.user = Some(Name::normalize(name.as_str()));
}

/// What a session begins with: ALTER ROLE … SET, and cluster settings that are defaults of variables. What this
/// release does not know, or does not take, is left out, so that nobody is shut out by it.
pub fn begin(session: &mut Session, view: &View) {
    note_user(session, view);
    let database = session.database.as_ref().and_then(|name| view.state().resolve_database(name).ok());
    let defaults = view.state().session_defaults(session.actor.session, database);
    for (name, value) in defaults {
        match set_variable(session, view, name, Some(&[value.to_owned()])) {
            Ok(()) => {
                session.defaults.insert(name.to_owned(), value.to_owned());
            }
            Err(error) => {
                tracing::warn!(name, %error, "a variable of a role is not set");
            }
        }
    }
}

/// Whether ALTER ROLE … SET may make such a value the default of sessions to come.
pub fn check_change(view: &View, change: &VariableChange) -> Result<(), SqlError> {
    let (name, value) = match change {
        VariableChange::Set(name, value) => (name.as_str(), Some(value)),
        VariableChange::Reset(name) => (name.as_str(), None),
        VariableChange::ResetAll => return Ok(()),
    };
    // The defaults are held by database, and a session begins as who logged in.
    if matches!(name, "database" | "role") {
        return Err(read_only(name));
    }
    let mut session = Session::new(Actor::of(PrincipalId::ROOT), None);
    set_variable(&mut session, view, name, value.map(std::slice::from_ref))
}

fn set_variable(
    session: &mut Session,
    view: &View,
    name: &str,
    values: Option<&[String]>,
) -> Result<(), SqlError> {
    if values.iter().copied().flatten().map(String::len).sum::<usize>() > VALUE_BYTES_MAX {
        return Err(SqlError::too_large(format!(
            "the value of {name} is longer than {VALUE_BYTES_MAX} bytes"
        )));
    }
    // RESET puts back what the session began with.
    let begun = session.defaults.get(name).map(|value| vec![value.clone()]);
    let values = values.or(begun.as_deref());
    match name {
        "application_name" => {
            session.application_name = values.map(|values| values.join(", ")).unwrap_or_default();
            return Ok(());
        }
        "database" => return set_database(session, view, values),
        "search_path" => {
            session.search_path = match values {
                None => Session::default_search_path(),
                Some(values) => search_path(values),
            };
            return Ok(());
        }
        "transaction_read_only" => return set_read_only(session, values),
        _ if OWN.contains(&name) => return Err(read_only(name)),
        _ => {}
    }
    let Some((name, _, rule)) = TABLE.iter().find(|row| row.0 == name) else { return Err(unknown(name)) };
    if matches!(rule, Rule::Fact) {
        return Err(read_only(name));
    }
    let Some(values) = values else {
        session.settings.remove(name);
        return Ok(());
    };
    let value = values.join(", ");
    let fits = match rule {
        Rule::Free => true,
        Rule::Switch => switch(&value).is_some(),
        Rule::Isolation => LEVELS.contains(&value.to_lowercase().as_str()),
        Rule::One(known) => known.contains(&value.to_lowercase().as_str()),
        Rule::Duration => duration(&value).is_some(),
        Rule::Reading => reading_of(&value).is_some(),
        Rule::Memory => STATEMENT_MEMORY.canonical(&value).is_some(),
        Rule::Count => value.trim().parse::<u64>().is_ok_and(|count| i64::try_from(count).is_ok()),
        Rule::Fact => false,
    };
    if !fits {
        return Err(invalid(name, &value, rule));
    }
    // One of several spellings of the same: SHOW tells the one that PostgreSQL tells.
    match rule {
        Rule::One(_) | Rule::Isolation => drop(session.settings.remove(name)),
        Rule::Switch => {
            let word = if switch(&value) == Some(true) { "on" } else { "off" };
            session.settings.insert(name, word.to_owned());
        }
        Rule::Reading => drop(session.settings.insert(name, value.to_lowercase())),
        Rule::Memory => {
            let value = STATEMENT_MEMORY.canonical(&value).unwrap_or(value);
            session.settings.insert(name, value);
        }
        Rule::Free | Rule::Duration | Rule::Count | Rule::Fact => drop(session.settings.insert(name, value)),
    }
    Ok(())
}

/// The levels of isolation that PostgreSQL and CockroachDB know.
const LEVELS: [&str; 5] =
    ["serializable", "repeatable read", "read committed", "read uncommitted", "snapshot"];

/// What PostgreSQL reads as true or false.
fn switch(value: &str) -> Option<bool> {
    match value.to_lowercase().as_str() {
        "on" | "true" | "yes" | "1" | "t" | "y" => Some(true),
        "off" | "false" | "no" | "0" | "f" | "n" => Some(false),
        _ => None,
    }
}

/// Of the transaction that the session is in; outside of one it changes nothing, as in PostgreSQL.
fn set_read_only(session: &mut Session, values: Option<&[String]>) -> Result<(), SqlError> {
    let value = values.map_or_else(|| "off".to_owned(), |values| values.join(", "));
    let Some(read_only) = switch(&value) else {
        return Err(invalid("transaction_read_only", &value, &Rule::Switch));
    };
    match session.block.open_mut() {
        Some(open) => Ok(open.set_read_only(read_only)?),
        None => Ok(()),
    }
}

fn invalid(name: &str, value: &str, rule: &Rule) -> SqlError {
    let shown: String = value.chars().take(100).collect();
    let error = SqlError::new(
        state::INVALID_PARAMETER_VALUE,
        format!("invalid value for parameter \"{name}\": \"{shown}\""),
    );
    match rule {
        Rule::One(known) => error.with_hint(format!("Only {} is supported.", known.join(", "))),
        Rule::Memory => error.with_hint(format!("Write {STATEMENT_MEMORY}.")),
        Rule::Count => error.with_hint("Write a number, or 0 for no limit."),
        Rule::Duration => error.with_hint("Write milliseconds, or a number with ms, s or min."),
        Rule::Reading => error.with_hint("Write linearizable, local, or at_least(VERSION)."),
        Rule::Switch => error.with_hint("Write on or off."),
        Rule::Isolation => error.with_hint(format!("Known are {}.", LEVELS.join(", "))),
        Rule::Free | Rule::Fact => error,
    }
}

fn set_database(session: &mut Session, view: &View, values: Option<&[String]>) -> Result<(), SqlError> {
    let name = match values {
        None => Name::normalize("defaultdb"),
        Some([value]) if value.is_empty() => {
            session.database = None;
            return Ok(());
        }
        Some([value]) => Name::normalize(value),
        Some(_) => return Err(SqlError::syntax("set database: takes one name")),
    };
    view.state().resolve_database(&name)?;
    session.database = Some(name);
    Ok(())
}

fn search_path(values: &[String]) -> Vec<Name> {
    // A client may send the whole list as one string.
    let names = values.iter().flat_map(|value| value.split(','));
    names
        .map(|name| name.trim().trim_matches('"'))
        .filter(|name| !name.is_empty())
        .map(Name::normalize)
        .collect()
}

/// The search path, as SHOW prints it and clients are told it.
pub fn search_path_text(path: &[Name]) -> String {
    path.iter().map(|name| quoted(name.as_str())).collect::<Vec<_>>().join(", ")
}

fn read_only(name: &str) -> SqlError {
    SqlError::new(SqlState::new("55P02"), format!("parameter \"{name}\" cannot be changed"))
}

fn unknown(name: &str) -> SqlError {
    SqlError::new(state::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
}

/// The value of a variable, as SHOW prints it.
pub fn show(session: &Session, view: &View, name: &str) -> Result<String, SqlError> {
    let principal = |id| view.state().principal_name(id).to_string();
    Ok(match name {
        "application_name" => session.application_name.clone(),
        "database" => session.database.as_ref().map(ToString::to_string).unwrap_or_default(),
        "search_path" => search_path_text(&session.search_path),
        "grantd.version" => version(session, view).to_string(),
        "is_superuser" => if view.is_admin(session.actor.current) { "on" } else { "off" }.to_owned(),
        "session_user" | "session_authorization" => principal(session.actor.session),
        "role" if !session.role_was_set => "none".to_owned(),
        "role" => principal(session.actor.current),
        "transaction_read_only" => {
            let by_default = || is_read_only_by_default(session);
            if session.block.is_read_only().unwrap_or_else(by_default) { "on" } else { "off" }.to_owned()
        }
        "transaction_status" => match session.block.status() {
            Status::Idle => "NoTxn",
            Status::Implicit | Status::Open => "Open",
            Status::Failed => "Aborted",
        }
        .to_owned(),
        _ => {
            let (name, default, _) = TABLE.iter().find(|row| row.0 == name).ok_or_else(|| unknown(name))?;
            session.settings.get(name).map_or_else(|| (*default).to_owned(), Clone::clone)
        }
    })
}

/// Every variable, by name.
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = TABLE.iter().map(|row| row.0).chain(OWN).collect();
    names.sort_unstable();
    names
}

/// The value of a variable in a session that never set it. None: there is none such, or it is the session's own.
pub fn default_of(name: &str) -> Option<&'static str> {
    TABLE.iter().find(|row| row.0 == name).map(|row| row.1)
}

/// Which rows a query reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Those that contain everything acknowledged before the query.
    Linearizable,
    /// The newest ones that its node has.
    Local,
    /// The same, once the node has this version.
    AtLeast(Version),
}

/// `grantd.read`.
pub fn reading(session: &Session) -> Reading {
    session.settings.get("grantd.read").and_then(|value| reading_of(value)).unwrap_or(Reading::Linearizable)
}

fn reading_of(value: &str) -> Option<Reading> {
    let value = value.trim().to_lowercase();
    match value.as_str() {
        "linearizable" => Some(Reading::Linearizable),
        "local" => Some(Reading::Local),
        other => {
            let number = other.strip_prefix("at_least(")?.strip_suffix(')')?;
            number.trim().parse().ok().map(Version).map(Reading::AtLeast)
        }
    }
}

/// `grantd.version`: one that contains everything that the session has seen acknowledged. A transaction's changes of the
/// catalog have none before they are committed.
fn version(session: &Session, view: &View) -> u64 {
    let changed = match session.block.open().map(|open| &open.phase) {
        Some(Phase::Writing { proposals, .. }) => !proposals.is_empty(),
        Some(Phase::Fresh | Phase::Reading(_) | Phase::Lost) | None => false,
    };
    view.version().0 - u64::from(changed)
}

/// How long a statement may run; none: as long as it takes.
pub fn statement_timeout(session: &Session) -> Option<Duration> {
    limit(session, "statement_timeout")
}

/// How long a transaction may last; none: as long as the writer lets it.
pub fn transaction_timeout(session: &Session) -> Option<Duration> {
    limit(session, "transaction_timeout")
}

fn limit(session: &Session, name: &str) -> Option<Duration> {
    session.settings.get(name).and_then(|value| duration(value)).filter(|limit| !limit.is_zero())
}

/// What bounds a statement of this session, wherever it runs.
pub fn bounds(session: &Session) -> Bounds {
    let memory = session.settings.get("distsql_workmem").and_then(|value| STATEMENT_MEMORY.value(value));
    let memory = match memory {
        Some(SettingValue::Bytes(bytes)) => usize::try_from(bytes).unwrap_or(usize::MAX),
        Some(_) | None => STATEMENT_BYTES,
    };
    let most =
        session.settings.get("transaction_rows_written_err").and_then(|value| value.trim().parse().ok());
    Bounds {
        memory,
        lock_timeout: limit(session, "lock_timeout"),
        rows_written: session.block.open().map_or(0, |open| open.rows_written),
        rows_written_most: most.filter(|most| *most > 0),
    }
}

/// What bounds a statement, beside its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// How many bytes it may hold in memory at once.
    pub memory: usize,
    /// How long it waits for the writer; none: as long as anybody does.
    pub lock_timeout: Option<Duration>,
    /// How many rows its transaction has changed before it.
    pub rows_written: u64,
    /// How many it may change; none: any number.
    pub rows_written_most: Option<u64>,
}

impl Bounds {
    /// 54000, with the original's text, if so many rows more are too many for the transaction.
    pub fn check_written(&self, changes: u64) -> Result<(), SqlError> {
        let written = self.rows_written.saturating_add(changes);
        match self.rows_written_most {
            Some(most) if changes > 0 && written > most => {
                Err(SqlError::too_large(format!("txn has written {written} rows, which is above the limit"))
                    .with_hint(format!("The session variable transaction_rows_written_err is {most}.")))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Whether a transaction that does not say takes no changes.
pub fn is_read_only_by_default(session: &Session) -> bool {
    session.settings.get("default_transaction_read_only").is_some_and(|value| value == "on")
}

/// How long a session may say nothing in a transaction. Who holds the writer keeps others waiting, so for those there is
/// a maximum, which is also what 0 means, PostgreSQL's word for none.
pub fn idle_limit(session: &Session, writes: bool) -> Duration {
    let set = session.settings.get("idle_in_transaction_session_timeout").and_then(|value| duration(value));
    let (default, most) = match writes {
        true => (WRITER_IDLE, WRITER_IDLE_MAX),
        false => (SNAPSHOT_IDLE, SNAPSHOT_IDLE_MAX),
    };
    match set {
        None => default,
        Some(Duration::ZERO) => most,
        Some(limit) => limit.min(most),
    }
}

/// How long a transaction that has written may say nothing. Long enough for a program between two statements.
const WRITER_IDLE: Duration = Duration::from_secs(5);
/// The most that it can be set to: nobody else writes meanwhile.
const WRITER_IDLE_MAX: Duration = Duration::from_secs(60);
/// The same of one that has only read, and hinders nobody: long enough for a person.
const SNAPSHOT_IDLE: Duration = Duration::from_secs(60);
/// The most that it can be set to: what it has read is kept on disk meanwhile.
const SNAPSHOT_IDLE_MAX: Duration = PIN_TIME_MAX;

fn duration(value: &str) -> Option<Duration> {
    let value = value.trim();
    let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
    let number: u64 = value[..digits].parse().ok()?;
    match value[digits..].trim() {
        "" | "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "min" => Some(Duration::from_secs(number.checked_mul(60)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use grantd_catalog::state::State;

    use super::*;

    fn started(name: &str, value: &str) -> Result<Session, String> {
        let view = View::build(Version(1), State::bootstrap());
        let actor = Actor { session: PrincipalId::ROOT, current: PrincipalId::ROOT };
        let mut session = Session::new(actor, None);
        match set_at_start(&mut session, &view, name, value) {
            Ok(()) => Ok(session),
            Err(error) => Err(error.body.code.as_str().to_owned()),
        }
    }

    #[test]
    fn settings_of_a_connection_are_set_as_by_set_and_unknown_ones_are_ignored() {
        assert_eq!(
            statement_timeout(&started("statement_timeout", "2s").unwrap()),
            Some(Duration::from_secs(2))
        );
        assert_eq!(started("application_name", "Tool, new").unwrap().application_name, "Tool, new");
        assert_eq!(started("role", "admin").unwrap().actor.current, PrincipalId::ADMIN);
        for (name, value) in [("timezone", "Europe/Vienna"), ("geqo", "off"), ("datestyle", "ISO")] {
            assert!(started(name, value).unwrap().settings.is_empty(), "{name}");
        }
        assert_eq!(reading(&started("grantd.read", "LOCAL").unwrap()), Reading::Local);
        assert_eq!(
            reading(&started("grantd.read", "at_least( 12 )").unwrap()),
            Reading::AtLeast(Version(12))
        );
        let refused = [
            ("statement_timeout", "soon", "22023"),
            ("lock_timeout", "soon", "22023"),
            ("distsql_workmem", "1 B", "22023"),
            ("transaction_rows_written_err", "-1", "22023"),
            ("transaction_rows_read_err", "7", "22023"),
            ("datestyle", "German", "22023"),
            ("grantd.read", "at_least(x)", "22023"),
            ("grantd.version", "7", "55P02"),
            ("server_version", "18", "55P02"),
            ("session_authorization", "admin", "55P02"),
            ("role", "nobody", "22023"),
            ("database", "nowhere", "3D000"),
        ];
        for (name, value, code) in refused {
            assert_eq!(started(name, value).unwrap_err(), code, "{name}");
        }
    }
}
