//! SHOW CLUSTER SETTING and SETTINGS; external connections.

use grantd_catalog::command::Actor;
use grantd_catalog::list;
use grantd_catalog::name::Name;
use grantd_catalog::setting::{Setting, SettingType, SettingValue};
use grantd_catalog::view::View;

use super::super::connection::{kind, redacted};
use super::super::name::{literal, quoted};
use super::text;
use crate::sql::error::SqlError;
use crate::sql::value::{Datum, SqlType};

/// The type of a setting's value.
pub(super) fn type_of(setting: Setting) -> SqlType {
    match setting.row().setting_type {
        SettingType::Bool => SqlType::Bool,
        SettingType::Int(..) => SqlType::Int8,
        SettingType::Bytes(..) | SettingType::Duration(..) | SettingType::Word(_) | SettingType::Text => {
            SqlType::Text
        }
    }
}

pub(super) fn setting(view: &View, actor: Actor, setting: Setting) -> Result<Vec<Vec<Datum>>, SqlError> {
    let state = view.state();
    state.may_show(actor.current, setting)?;
    Ok(vec![vec![match state.setting_value(setting) {
        SettingValue::Bool(value) => Datum::Bool(value),
        SettingValue::Int(value) => Datum::Int(value),
        SettingValue::Bytes(_) | SettingValue::Milliseconds(_) | SettingValue::Text(_) => {
            text(state.setting(setting))
        }
    }]])
}

pub(super) fn settings(view: &View, actor: Actor, all: bool) -> Result<Vec<Vec<Datum>>, SqlError> {
    let rows = list::cluster_settings(view, actor)?;
    let cells = |row: list::SettingRow| {
        let mut cells = vec![text(row.variable), Datum::Text(row.value), text(row.setting_type)];
        // Every setting is public.
        cells.extend(all.then_some(Datum::Bool(true)));
        cells.push(text(row.description));
        cells
    };
    Ok(rows.into_iter().map(cells).collect())
}

/// SHOW CREATE [ALL] EXTERNAL CONNECTION(S). Who may is the requirement's.
pub(super) fn create_connections(
    view: &View,
    actor: Actor,
    name: Option<&Name>,
) -> Result<Vec<Vec<Datum>>, SqlError> {
    let cells = |row: list::ExternalConnectionRow| {
        let uri = literal(&redacted(&row.uri));
        let name = quoted(row.connection_name.as_str());
        vec![text(row.connection_name), Datum::Text(format!("CREATE EXTERNAL CONNECTION {name} AS {uri}"))]
    };
    Ok(connections(view, actor, name)?.into_iter().map(cells).collect())
}

/// SHOW EXTERNAL CONNECTIONS.
pub(super) fn external_connections(
    view: &View,
    actor: Actor,
    name: Option<&Name>,
) -> Result<Vec<Vec<Datum>>, SqlError> {
    let cells = |row: list::ExternalConnectionRow| {
        let uri = Datum::Text(redacted(&row.uri));
        vec![text(row.connection_name), uri, text(kind(&row.uri))]
    };
    Ok(connections(view, actor, name)?.into_iter().map(cells).collect())
}

/// One external connection, or all, of those that `actor` sees.
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
    Ok(rows)
}
