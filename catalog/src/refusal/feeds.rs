//! What changefeeds refuse. Source: cloud-jobs spec, B.7.5.

use crate::name::RoleName;
use crate::refusal::{Refusal, state};
use crate::setting::Setting;

/// Into a sink, without CHANGEFEED on all tables.
pub fn may_not_feed(user: &RoleName) -> Refusal {
    no(format!(
        "user {user} requires the CHANGEFEED privilege on all target tables to be able to run an enterprise changefeed"
    ))
}

/// The same for who has CONTROLCHANGEFEED, without SELECT on all tables.
pub fn controls_and_may_not_feed(user: &RoleName) -> Refusal {
    no(format!(
        "user {user} with CONTROLCHANGEFEED role option requires the SELECT privilege on all target tables to be able to run an enterprise changefeed"
    ))
}

/// To the client, with neither on all tables.
pub fn may_not_feed_client(user: &RoleName) -> Refusal {
    no(format!(
        "user {user} requires the SELECT privilege on all target tables to be able to run a core changefeed"
    ))
}

/// Into a URI, where the cluster wants external connections.
pub fn may_feed_connections_only() -> Refusal {
    let setting = Setting::FeedsRequireConnection.row().name;
    no(format!(
        "the CHANGEFEED privilege on all tables can only be used with external connection sinks. see cluster setting {setting}"
    ))
    .with_hint("Name an external connection: INTO 'external://…'. Whoever made it was asked for what its URI needs.")
}

fn no(message: String) -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, message)
}
