//! What an operator says about clouds: of this node by its configuration, of the cluster by its settings.

use std::time::Duration;

use grantd_catalog::setting::{Setting, SettingValue};
use grantd_catalog::view::View;

pub use crate::config::cloud::{AwsNodeSource, Endpoint, GcpNodeSource, NodeSettings, Recipient};

/// How the cluster wants chains to be, by its settings at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainSettings {
    /// Roles that are put in front of a URI's, by class of operation. Empty: none.
    pub aws_functional: Functional,
    /// The same, service accounts.
    pub gcp_functional: Functional,
    /// Whether what a job gets is confined to its bucket and prefix.
    pub session_policy: bool,
    /// Whether AWS is told the SQL user (`SourceIdentity`). Each role must allow `sts:SetSourceIdentity`.
    pub source_identity: bool,
    /// How long credentials are asked for.
    pub duration: Duration,
}

/// One chain of roles for each class of operation, as `ASSUME_ROLE` has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Functional {
    /// BACKUP, RESTORE, and checks of connections to storage.
    pub storage: String,
    /// CHANGEFEED.
    pub changefeed: String,
    /// Keys of encrypted backups.
    pub kms: String,
}

impl Default for ChainSettings {
    fn default() -> Self {
        Self {
            aws_functional: Functional::default(),
            gcp_functional: Functional::default(),
            session_policy: true,
            source_identity: false,
            duration: Duration::from_secs(3_600),
        }
    }
}

impl ChainSettings {
    /// As the cluster's settings say at this version.
    pub fn of(view: &View) -> Self {
        let state = view.state();
        let text = |setting| state.setting(setting).to_owned();
        let duration = match state.setting_value(Setting::CloudCredentialsDuration) {
            SettingValue::Milliseconds(ms) => Duration::from_millis(ms),
            SettingValue::Bool(_) | SettingValue::Int(_) | SettingValue::Bytes(_) | SettingValue::Text(_) => {
                Self::default().duration
            }
        };
        Self {
            aws_functional: Functional {
                storage: text(Setting::AwsRoleStorage),
                changefeed: text(Setting::AwsRoleChangefeed),
                kms: text(Setting::AwsRoleKms),
            },
            gcp_functional: Functional {
                storage: text(Setting::GcpRoleStorage),
                changefeed: text(Setting::GcpRoleChangefeed),
                kms: text(Setting::GcpRoleKms),
            },
            session_policy: state.setting_is_on(Setting::CloudSessionPolicy),
            source_identity: state.setting_is_on(Setting::CloudSourceIdentity),
            duration,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use grantd_catalog::state::State;

    #[test]
    fn a_cluster_that_was_told_nothing_has_the_defaults() {
        let view = View::build(grantd_catalog::id::Version(1), State::bootstrap());
        assert_eq!(ChainSettings::of(&view), ChainSettings::default());
    }
}
