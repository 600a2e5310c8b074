//! Session variables: SET, RESET, SHOW name.
//!
//! A variable that PostgreSQL knows and whose value cannot change what this node does takes any value; one whose
//! value would change it takes only the value that is true, and says so.

use std::time::Duration;

use grantd_catalog::id::PrincipalId;
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::refusal::{SqlState, state};
use grantd_catalog::view::View;

use crate::session::Session;
use crate::sql::error::SqlError;
use crate::sql::parse::session::SetStatement;
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
        SetStatement::All => {
            reset_all(session);
            Ok(())
        }
        SetStatement::Discard => {
            reset_all(session);
            set_role(session, view, None)
        }
        SetStatement::Variable { name, values } => set_variable(session, view, name, values.as_deref()),
    }
}

/// Whether what [`set`] does depends on the catalog.
pub fn set_reads_catalog(statement: &SetStatement) -> bool {
    match statement {
        SetStatement::Nothing | SetStatement::All | SetStatement::Discard | SetStatement::Role(None) => false,
        SetStatement::Role(Some(_)) => true,
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

fn reset_all(session: &mut Session) {
    session.settings.clear();
    session.application_name.clear();
    session.search_path = vec![Name::normalize("public")];
}

/// SET ROLE is judged by who logged in, not by who it acts as now (H.8).
fn set_role(session: &mut Session, view: &View, role: Option<&RoleName>) -> Result<(), SqlError> {
    let login = session.actor.session;
    let Some(name) = role else {
        session.actor.current = login;
        session.role_was_set = true;
        return Ok(());
    };
    let missing = || SqlError::new(state::INVALID_PARAMETER_VALUE, format!("role {name} does not exist"));
    let target = view.state().principal_id(name).ok_or_else(missing)?;
    let allowed = login == PrincipalId::ROOT || target == login;
    if !allowed && target == PrincipalId::ROOT {
        return Err(SqlError::new(state::INSUFFICIENT_PRIVILEGE, "only root can become root"));
    }
    if !allowed && !view.is_admin(login) && !view.acts_as(login, target) {
        return Err(SqlError::new(
            state::INSUFFICIENT_PRIVILEGE,
            format!("permission denied to set role \"{name}\""),
        ));
    }
    session.actor.current = target;
    session.role_was_set = true;
    Ok(())
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
    match name {
        "application_name" => {
            session.application_name = values.map(|values| values.join(", ")).unwrap_or_default();
            return Ok(());
        }
        "database" => return set_database(session, view, values),
        "search_path" => {
            session.search_path = match values {
                None => vec![Name::normalize("public")],
                Some(values) => search_path(session, view, values),
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

fn search_path(session: &Session, view: &View, values: &[String]) -> Vec<Name> {
    // A client may send the whole list as one string.
    let names = values.iter().flat_map(|value| value.split(','));
    names
        .map(|name| name.trim().trim_matches('"'))
        .filter(|name| !name.is_empty())
        .map(|name| match name {
            "$user" => Name::normalize(view.state().principal_name(session.actor.current).as_str()),
            name => Name::normalize(name),
        })
        .collect()
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
        "search_path" => {
            let names: Vec<_> = session.search_path.iter().map(Name::as_str).collect();
            names.join(", ")
        }
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
    use grantd_catalog::command::Actor;
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
