//! SHOW CLUSTER SETTING and SETTINGS.

use grantd_catalog::command::Actor;
use grantd_catalog::list;
use grantd_catalog::setting::{Setting, SettingType, SettingValue};
use grantd_catalog::view::View;

use super::text;
use crate::error::SqlError;
use crate::value::{Datum, SqlType};

/// The type of a setting's value.
pub(super) fn type_of(setting: Setting) -> SqlType {
    match setting.row().setting_type {
        SettingType::Bool => SqlType::Bool,
        SettingType::Int(..) => SqlType::Int8,
        SettingType::Bytes(..)
        | SettingType::Duration(..)
        | SettingType::Word(_)
        | SettingType::Text
        | SettingType::Certificates => SqlType::Text,
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
