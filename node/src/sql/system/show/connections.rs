//! SHOW [CREATE] EXTERNAL CONNECTION(S). Who may is the requirement's.

use grantd_catalog::command::Actor;
use grantd_catalog::list;
use grantd_catalog::name::Name;
use grantd_catalog::view::View;

use super::super::name::{literal, quoted};
use super::text;
use crate::cloud::{connection, uri};
use crate::error::SqlError;
use crate::value::Datum;

/// SHOW CREATE [ALL] EXTERNAL CONNECTION(S): what a URI hides only if that was asked for, which is for admins and audited.
pub(super) fn create(
    view: &View,
    actor: Actor,
    name: Option<&Name>,
    secrets: bool,
) -> Result<Vec<Vec<Datum>>, SqlError> {
    let shown = |uri: &str| literal(&if secrets { uri.to_owned() } else { connection::redacted(uri) });
    let cells = |row: list::ExternalConnectionRow| {
        let (first, secondary) = connection::split(&row.uri);
        let name = quoted(row.connection_name.as_str());
        let mut statement = format!("CREATE EXTERNAL CONNECTION {name} AS {}", shown(first));
        if let Some(secondary) = secondary {
            statement += &format!(" WITH SECONDARY {}", shown(secondary));
        }
        vec![text(row.connection_name), Datum::Text(statement)]
    };
    Ok(connections(view, actor, name)?.into_iter().map(cells).collect())
}

/// SHOW EXTERNAL CONNECTION(S).
pub(super) fn external(view: &View, actor: Actor, name: Option<&Name>) -> Result<Vec<Vec<Datum>>, SqlError> {
    let cells = |row: list::ExternalConnectionRow| {
        let (first, secondary) = connection::split(&row.uri);
        let redacted = |uri: &str| Datum::Text(connection::redacted(uri));
        let kind = text(uri::kind(first));
        vec![text(row.connection_name), redacted(first), kind, secondary.map_or(Datum::Null, redacted)]
    };
    Ok(connections(view, actor, name)?.into_iter().map(cells).collect())
}

/// One external connection, or all, of those that `actor` sees, by name.
fn connections(
    view: &View,
    actor: Actor,
    name: Option<&Name>,
) -> Result<Vec<list::ExternalConnectionRow>, SqlError> {
    if let Some(name) = name {
        view.state().resolve_external_connection(name)?;
    }
    let mut rows = list::external_connections(view, actor);
    rows.retain(|row| name.is_none_or(|name| *name == row.connection_name));
    rows.sort_by(|a, b| a.connection_name.cmp(&b.connection_name));
    Ok(rows)
}
