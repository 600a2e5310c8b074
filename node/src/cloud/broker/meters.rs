//! What the broker counts and measures, by the names of `node::metrics`.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use crate::cloud::chain::{Chain, Source, Step};
use crate::cloud::lease::Class;

/// Of one node.
pub struct Meters {
    node: String,
}

impl Meters {
    pub(super) fn new(node: u64) -> Self {
        Self { node: node.to_string() }
    }

    /// A call ended.
    pub(super) fn refreshed(&self, chain: &Chain, failed: Option<Class>) {
        let (node, provider) = (self.node.clone(), provider(chain));
        let hop = (chain.steps().len() - 1).to_string();
        if is_role(chain) {
            counter!("grantd_credential_sts_calls_total", "node" => node.clone(), "provider" => provider)
                .increment(1);
        }
        let result = failed.map_or("ok", word);
        counter!(
            "grantd_credential_refresh_total",
            "node" => node, "provider" => provider, "hop" => hop, "result" => result
        )
        .increment(1);
    }

    /// Somebody was given a late lease.
    pub(super) fn served_late(&self) {
        counter!("grantd_credential_served_stale_total", "node" => self.node.clone()).increment(1);
    }

    /// Somebody waited.
    pub(super) fn waited(&self, time: Duration) {
        histogram!("grantd_credential_wait_seconds", "node" => self.node.clone()).record(time.as_secs_f64());
    }

    /// How long the lease of a cloud that ends first is good yet.
    pub(super) fn expiry(&self, provider: &'static str, least: Duration) {
        gauge!("grantd_credential_seconds_to_expiry", "node" => self.node.clone(), "provider" => provider)
            .set(least.as_secs_f64());
    }
}

/// Whose cloud it is.
pub(super) fn provider(chain: &Chain) -> &'static str {
    match chain.steps().first() {
        Some(Step::Source(Source::GcpNode | Source::GcpKey(_) | Source::GcpToken(_))) => "gcp",
        _ => "aws",
    }
}

/// Whether the last step is a call to the cloud's service for roles.
pub(super) fn is_role(chain: &Chain) -> bool {
    !matches!(chain.last(), Step::Source(_))
}

/// A class in a word.
pub fn word(class: Class) -> &'static str {
    match class {
        Class::Network => "network",
        Class::Throttled => "throttled",
        Class::Denied => "denied",
        Class::SourceDead => "source",
        Class::ParentExpired => "parent",
        Class::ClockSkew => "clock",
        Class::Config => "config",
        Class::AlreadyExpired => "over",
    }
}
