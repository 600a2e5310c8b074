//! What the cluster says about storage.

use std::time::Duration;

use grantd_catalog::setting::{Setting, SettingValue};
use grantd_catalog::view::View;

use super::rates::{Limit, Limits};

/// By the cluster's settings at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageSettings {
    /// Certificates that are trusted beside the system's, as PEM. Looked at when a place is opened.
    pub custom_ca: String,
    /// How long a request may take with all its tries.
    pub timeout: Duration,
    /// How fast bytes may go.
    pub limits: Limits,
}

impl StorageSettings {
    /// As the cluster's settings say at this version.
    pub fn of(view: &View) -> Self {
        let state = view.state();
        let bytes = |setting| match state.setting_value(setting) {
            SettingValue::Bytes(bytes) => bytes,
            SettingValue::Bool(_)
            | SettingValue::Int(_)
            | SettingValue::Milliseconds(_)
            | SettingValue::Text(_) => 0,
        };
        let limit = |rate, burst| Limit { rate: bytes(rate), burst: bytes(burst) };
        let timeout = match state.setting_value(Setting::StorageTimeout) {
            SettingValue::Milliseconds(ms) => Duration::from_millis(ms),
            SettingValue::Bool(_) | SettingValue::Int(_) | SettingValue::Bytes(_) | SettingValue::Text(_) => {
                Self::default().timeout
            }
        };
        use Setting as S;
        Self {
            custom_ca: state.setting(S::StorageCustomCa).to_owned(),
            timeout,
            limits: Limits {
                s3: [limit(S::S3ReadRate, S::S3ReadBurst), limit(S::S3WriteRate, S::S3WriteBurst)],
                gs: [limit(S::GsReadRate, S::GsReadBurst), limit(S::GsWriteRate, S::GsWriteBurst)],
                nodelocal: [
                    limit(S::NodelocalReadRate, S::NodelocalReadBurst),
                    limit(S::NodelocalWriteRate, S::NodelocalWriteBurst),
                ],
            },
        }
    }
}

impl Default for StorageSettings {
    fn default() -> Self {
        Self { custom_ca: String::new(), timeout: Duration::from_secs(600), limits: Limits::default() }
    }
}

#[cfg(test)]
mod tests {
    use grantd_catalog::state::State;

    use super::*;

    #[test]
    fn a_cluster_that_was_told_nothing_has_the_defaults() {
        let view = View::build(grantd_catalog::id::Version(1), State::bootstrap());
        assert_eq!(StorageSettings::of(&view), StorageSettings::default());
    }
}
