//! What changefeeds count. Source of the names: cloud-jobs specification, D.8.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use grantd_catalog::id::Timestamp;
use grantd_catalog::job::JobId;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

/// Those of one node. Cheap to clone.
#[derive(Clone)]
pub struct Meters(Arc<Inner>);

struct Inner {
    messages: Counter,
    bytes: Counter,
    flushes: Counter,
    retries: Counter,
    failures: Counter,
    latency: Histogram,
    running: Gauge,
    behind: Gauge,
    kept: Gauge,
    /// Of each feed that runs here, how far it is.
    feeds: Mutex<BTreeMap<JobId, Far>>,
}

#[derive(Clone, Copy, Default)]
struct Far {
    behind_nanos: u64,
    kept: Option<Timestamp>,
    retries: u64,
}

/// A feed that runs; dropped, it does not.
pub(super) struct Running {
    meters: Meters,
    id: JobId,
}

impl Meters {
    /// Those of the node with this number.
    pub fn of(node: u64) -> Self {
        let labels = [("node", node.to_string())];
        Self(Arc::new(Inner {
            messages: counter!("grantd_changefeed_emitted_messages_total", &labels),
            bytes: counter!("grantd_changefeed_emitted_bytes_total", &labels),
            flushes: counter!("grantd_changefeed_flushes_total", &labels),
            retries: counter!("grantd_changefeed_error_retries_total", &labels),
            failures: counter!("grantd_changefeed_failures_total", &labels),
            latency: histogram!("grantd_changefeed_commit_latency_seconds", &labels),
            running: gauge!("grantd_changefeed_running", &labels),
            behind: gauge!("grantd_changefeed_max_behind_seconds", &labels),
            kept: gauge!("grantd_changefeed_checkpoint_progress_seconds", &labels),
            feeds: Mutex::default(),
        }))
    }

    pub(super) fn emitted(&self, messages: u64, bytes: u64) {
        self.0.messages.increment(messages);
        self.0.bytes.increment(bytes);
    }

    /// `latency`: since the commit of the oldest message that was flushed.
    pub(super) fn flushed(&self, latency: Option<Duration>) {
        self.0.flushes.increment(1);
        if let Some(latency) = latency {
            self.0.latency.record(latency);
        }
    }

    pub(super) fn failed(&self) {
        self.0.failures.increment(1);
    }

    /// A feed runs here.
    pub(super) fn begin(&self, id: JobId, kept: Option<Timestamp>) -> Running {
        self.change(|feeds| {
            feeds.insert(id, Far { kept, ..Far::default() });
        });
        Running { meters: self.clone(), id }
    }

    fn change(&self, change: impl FnOnce(&mut BTreeMap<JobId, Far>)) {
        let mut feeds = self.0.feeds.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut feeds);
        let behind = feeds.values().map(|far| far.behind_nanos).max().unwrap_or(0);
        let kept = feeds.values().filter_map(|far| far.kept).min().unwrap_or_default();
        self.0.running.set(u32::try_from(feeds.len()).unwrap_or(u32::MAX));
        self.0.behind.set(Duration::from_nanos(behind).as_secs_f64());
        self.0.kept.set(Duration::from_nanos(kept.nanos).as_secs_f64());
    }
}

impl Running {
    /// How far behind it is, and how often it began again.
    pub(super) fn is(&self, behind_nanos: u64, retries: u64) {
        let id = self.id;
        let mut more = 0;
        self.meters.change(|feeds| {
            if let Some(far) = feeds.get_mut(&id) {
                more = retries.saturating_sub(far.retries);
                *far = Far { behind_nanos, retries, ..*far };
            }
        });
        self.meters.0.retries.increment(more);
    }

    /// What it kept.
    pub(super) fn kept(&self, kept: Option<Timestamp>) {
        let id = self.id;
        self.meters.change(|feeds| {
            if let Some(far) = feeds.get_mut(&id) {
                far.kept = kept;
            }
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let id = self.id;
        self.meters.change(|feeds| {
            feeds.remove(&id);
        });
    }
}
