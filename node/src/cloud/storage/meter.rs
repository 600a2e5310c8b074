//! What storage counts and measures.

use std::time::Duration;

use super::error::{Operation, Provider};
use super::rates::Direction;

/// Of one node.
#[derive(Clone, Debug)]
pub(super) struct Meter {
    node: String,
}

impl Meter {
    pub(super) fn new(node: u64) -> Self {
        Self { node: node.to_string() }
    }

    /// A try came to its end.
    pub(super) fn tried(&self, provider: Provider, operation: Operation, succeeded: bool, took: Duration) {
        let (provider, operation) = (provider.as_str(), operation.as_str());
        let result = if succeeded { "ok" } else { "failed" };
        metrics::counter!("grantd_storage_requests_total",
            "node" => self.node.clone(), "provider" => provider, "operation" => operation, "result" => result)
        .increment(1);
        metrics::histogram!("grantd_storage_request_seconds",
            "node" => self.node.clone(), "provider" => provider, "operation" => operation)
        .record(took.as_secs_f64());
    }

    /// A request is tried again.
    pub(super) fn retried(&self, provider: Provider, operation: Operation) {
        metrics::counter!("grantd_storage_retries_total",
            "node" => self.node.clone(), "provider" => provider.as_str(), "operation" => operation.as_str())
        .increment(1);
    }

    /// Bytes went.
    pub(super) fn moved(&self, provider: Provider, direction: Direction, bytes: u64) {
        metrics::counter!("grantd_storage_bytes_total",
            "node" => self.node.clone(), "provider" => provider.as_str(), "direction" => direction.as_str())
        .increment(bytes);
    }
}
