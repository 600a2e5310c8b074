//! What replication counts and measures, under the names that operators read. Values go to whatever recorder the process
//! has (`node::metrics`); without one they go nowhere and cost nothing.
//!
//! Each value has the label `node`: one process may run several nodes.

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::config::NodeId;

/// What sort of value it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Counter,
    /// It is what it is now.
    Gauge,
    /// How often which value was seen.
    Histogram,
}

/// One row of a table of metrics.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// `grantd_<what>_<unit>`.
    pub name: &'static str,
    /// Its sort.
    pub kind: Kind,
    /// Its labels beside `node`, as operators read them; empty: none.
    pub labels: &'static str,
    /// What it says, in one line.
    pub help: &'static str,
}

/// A row of a table of metrics.
pub const fn metric(name: &'static str, kind: Kind, labels: &'static str, help: &'static str) -> Metric {
    Metric { name, kind, labels, help }
}

/// Sorted by name. The same rows stand in `docs/operating.md`.
pub const TABLE: [Metric; 9] = [
    metric(
        "grantd_barrier_wait_seconds",
        Kind::Histogram,
        "end: reported, expired, new_leader, deposed",
        "how long a change that takes rights away waited, on the leader, until nobody could decide without it",
    ),
    metric(
        "grantd_lease_clock_drift_ppm",
        Kind::Gauge,
        "of: a node",
        "on the leader: by how many millionths the clock of a node runs faster than its own, at the most cautious",
    ),
    metric(
        "grantd_lease_held",
        Kind::Gauge,
        "",
        "1: this node may decide from its own view; 0: it asks the leader",
    ),
    metric(
        "grantd_lease_requests_total",
        Kind::Counter,
        "result: granted, behind, clock, never, unconfirmed, not_leader",
        "requests for a read lease that this node answered",
    ),
    metric(
        "grantd_lease_seconds",
        Kind::Gauge,
        "",
        "for how much longer this node may decide without hearing of the leader",
    ),
    metric(
        "grantd_read_index_rounds_total",
        Kind::Counter,
        "result: confirmed, failed",
        "rounds in which this node, as leader, had a quorum confirm it",
    ),
    metric(
        "grantd_view_lag_seconds",
        Kind::Gauge,
        "",
        "for how long the view has been behind what the leader named",
    ),
    metric(
        "grantd_view_lag_versions",
        Kind::Gauge,
        "",
        "how far the view is behind the newest version that the leader named",
    ),
    metric("grantd_view_version", Kind::Gauge, "", "the version of the view that this node decides on"),
];

/// The values of one node. Made once: a handle costs an atomic operation, a look by name much more.
pub(crate) struct Metrics {
    node: String,
    pub(crate) lease_held: Gauge,
    pub(crate) lease_seconds: Gauge,
    pub(crate) lag_seconds: Gauge,
    pub(crate) lag_versions: Gauge,
    pub(crate) view_version: Gauge,
    pub(crate) rounds_confirmed: Counter,
    pub(crate) rounds_failed: Counter,
}

impl Metrics {
    pub(crate) fn new(node: NodeId) -> Self {
        let node = node.to_string();
        let rounds = |result: &'static str| counter!("grantd_read_index_rounds_total", "node" => node.clone(), "result" => result);
        Self {
            lease_held: gauge!("grantd_lease_held", "node" => node.clone()),
            lease_seconds: gauge!("grantd_lease_seconds", "node" => node.clone()),
            lag_seconds: gauge!("grantd_view_lag_seconds", "node" => node.clone()),
            lag_versions: gauge!("grantd_view_lag_versions", "node" => node.clone()),
            view_version: gauge!("grantd_view_version", "node" => node.clone()),
            rounds_confirmed: rounds("confirmed"),
            rounds_failed: rounds("failed"),
            node,
        }
    }

    /// What became of a request for a lease.
    pub(crate) fn lease_request(&self, result: &'static str) {
        counter!("grantd_lease_requests_total", "node" => self.node.clone(), "result" => result).increment(1);
    }

    /// How long a change that takes rights away waited, and how that ended.
    pub(crate) fn barrier(&self, end: &'static str) -> Histogram {
        histogram!("grantd_barrier_wait_seconds", "node" => self.node.clone(), "end" => end)
    }

    /// What was measured of a node's clock.
    pub(crate) fn drift(&self, of: NodeId) -> Gauge {
        gauge!("grantd_lease_clock_drift_ppm", "node" => self.node.clone(), "of" => of.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted() {
        assert!(TABLE.iter().map(|metric| metric.name).is_sorted_by(|a, b| a < b));
    }
}
