//! Session variables: SET, RESET, SHOW name.
//!
//! A variable that PostgreSQL knows and whose value cannot change what this node does takes any value; one whose
//! value would change it takes only the value that is true, and says so.

use std::time::Duration;

use grantd_catalog::command::{Actor, VariableChange};
use grantd_catalog::id::PrincipalId;
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::refusal::{Refusal, SqlState, state};
use grantd_catalog::view::View;

use crate::session::{Notice, SequenceValues, Session};
use crate::sql::error::SqlError;
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
    /// Milliseconds, or a number with a unit.
    Duration,
    /// None: it tells a fact.
    Fact,
}

/// Name, default, what it takes. Sorted by name.
const TABLE: [(&str, &str, Rule); 29] = [
    ("bytea_output", "hex", Rule::One(&["hex"])),
    ("client_encoding", "UTF8", Rule::One(&["utf8", "utf-8", "unicode"])),
    ("client_min_messages", "notice", Rule::Free),
    ("datestyle", "ISO, MDY", Rule::One(&["iso", "iso,mdy", "iso, mdy"])),
    ("default_transaction_isolation", "serializable", Rule::One(&["serializable"])),
    ("default_transaction_read_only", "off", Rule::One(&["off", "false"])),
    ("extra_float_digits", "1", Rule::Free),
    ("grantd.read", "linearizable", Rule::One(&["linearizable"])),
    ("idle_in_transaction_session_timeout", "0", Rule::Free),
    ("integer_datetimes", "on", Rule::Fact),
    ("intervalstyle", "postgres", Rule::One(&["postgres"])),
    ("lock_timeout", "0", Rule::Free),
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
    ("transaction_isolation", "serializable", Rule::Fact),
    ("transaction_read_only", "off", Rule::One(&["off", "false"])),
    ("tracing", "off", Rule::One(&["off"])),
    ("version", VERSION, Rule::Fact),
    ("work_mem", "64MB", Rule::Free),
];

/// Variables that are fields of the session or facts of the catalog.
const OWN: [&str; 7] = [
    "application_name",
    "database",
    "is_superuser",
    "role",
    "search_path",
    "session_authorization",
    "session_user",
];

/// Applies SET, RESET, USE or SET ROLE.
pub fn set(session: &mut Session, view: &View, statement: &SetStatement) -> Result<(), SqlError> {
    match statement {
        SetStatement::Nothing => Ok(()),
        SetStatement::Role(role) => set_role(session, view, role.as_ref()),
        SetStatement::LocalRole(role) => {
            // The transaction is this statement: it is judged, and nothing is left of it.
            set_role(&mut session.clone(), view, role.as_ref())?;
            let body =
                Refusal::new(SqlState::new("25P01"), "SET LOCAL can only be used in transaction blocks");
            session.notices.push(Notice { severity: "WARNING", body });
            Ok(())
        }
        SetStatement::All => reset_all(session, view),
        SetStatement::Discard => {
            reset_all(session, view)?;
            session.sequences = SequenceValues::default();
            set_role(session, view, None)
        }
        SetStatement::Variable { name, values } => set_variable(session, view, name, values.as_deref()),
    }
}

/// Whether what [`set`] does depends on the catalog.
pub fn set_reads_catalog(statement: &SetStatement) -> bool {
    match statement {
        SetStatement::Nothing | SetStatement::Role(None) | SetStatement::LocalRole(None) => false,
        SetStatement::Role(Some(_)) | SetStatement::LocalRole(Some(_)) => true,
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
        Rule::One(known) => known.contains(&value.to_lowercase().as_str()),
        Rule::Duration => duration(&value).is_some(),
        Rule::Fact => false,
    };
    if !fits {
        return Err(invalid(name, &value, rule));
    }
    // One of several spellings of the same: SHOW tells the one that PostgreSQL tells.
    if matches!(rule, Rule::One(_)) {
        session.settings.remove(name);
    } else {
        session.settings.insert(name, value);
    }
    Ok(())
}

fn invalid(name: &str, value: &str, rule: &Rule) -> SqlError {
    let shown: String = value.chars().take(100).collect();
    let error = SqlError::new(
        state::INVALID_PARAMETER_VALUE,
        format!("invalid value for parameter \"{name}\": \"{shown}\""),
    );
    match rule {
        Rule::One(known) => error.with_hint(format!("Only {} is supported.", known.join(", "))),
        Rule::Duration => error.with_hint("Write milliseconds, or a number with ms, s or min."),
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
        "is_superuser" => if view.is_admin(session.actor.current) { "on" } else { "off" }.to_owned(),
        "session_user" | "session_authorization" => principal(session.actor.session),
        "role" if !session.role_was_set => "none".to_owned(),
        "role" => principal(session.actor.current),
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

/// How long a statement may run; none: as long as it takes.
pub fn statement_timeout(session: &Session) -> Option<Duration> {
    session
        .settings
        .get("statement_timeout")
        .and_then(|value| duration(value))
        .filter(|limit| !limit.is_zero())
}

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
    use grantd_catalog::id::Version;
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
        let refused = [
            ("statement_timeout", "soon", "22023"),
            ("datestyle", "German", "22023"),
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
