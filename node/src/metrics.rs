//! Metrics: one recorder for the process, and its values as Prometheus reads them.
//!
//! Whoever measures names its value `grantd_<what>_<unit>`, gives it the label `node`, and adds a row to the table of its
//! crate, [`TABLE`] here or `raft::metrics`; the same row stands in `docs/operating.md`. What only is at a moment, and is not
//! counted, is measured when somebody looks: see [`measure_when_read`].

use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::time::Duration;

use grantd_raft::metrics::{Kind, Metric, TABLE as OF_RAFT, metric};
use metrics::{Counter, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Sorted by name.
pub const TABLE: [Metric; 30] = [
    metric(
        "grantd_audit_lost_total",
        Kind::Counter,
        "",
        "lines that the audit log lacks: more came than wait, or the disk did not take them",
    ),
    metric(
        "grantd_changefeed_checkpoint_progress_seconds",
        Kind::Gauge,
        "",
        "the oldest time, since 1970, that changefeeds of this node have kept; 0: none has kept any",
    ),
    metric(
        "grantd_changefeed_commit_latency_seconds",
        Kind::Histogram,
        "",
        "from the commit of the oldest row of a flush to the end of the flush",
    ),
    metric(
        "grantd_changefeed_emitted_bytes_total",
        Kind::Counter,
        "",
        "bytes of messages that were handed to sinks",
    ),
    metric(
        "grantd_changefeed_emitted_messages_total",
        Kind::Counter,
        "",
        "messages that were handed to sinks",
    ),
    metric(
        "grantd_changefeed_error_retries_total",
        Kind::Counter,
        "",
        "how often a changefeed began again after trouble with its sink, its credentials or the cluster",
    ),
    metric(
        "grantd_changefeed_failures_total",
        Kind::Counter,
        "",
        "changefeeds that ended as nothing could help them",
    ),
    metric("grantd_changefeed_flushes_total", Kind::Counter, "", "flushes of sinks"),
    metric(
        "grantd_changefeed_max_behind_seconds",
        Kind::Gauge,
        "",
        "by how much the changefeed of this node that is behind most is behind what the node knows",
    ),
    metric("grantd_changefeed_running", Kind::Gauge, "", "changefeeds that run on this node"),
    metric(
        "grantd_credential_refresh_total",
        Kind::Counter,
        "provider: aws, gcp; hop: 0 is the source; result: ok, network, throttled, denied, source, parent, clock, config, over",
        "calls that were to give or renew credentials of a step of a chain, and what came of them",
    ),
    metric(
        "grantd_credential_seconds_to_expiry",
        Kind::Gauge,
        "provider: aws, gcp",
        "how long the lease in use that ends first is good yet; SHOW CREDENTIALS has each",
    ),
    metric(
        "grantd_credential_served_stale_total",
        Kind::Counter,
        "",
        "requests that got a lease shortly before its end, as no newer one was to be had",
    ),
    metric(
        "grantd_credential_sts_calls_total",
        Kind::Counter,
        "provider: aws, gcp",
        "of these calls those to the cloud's service for roles, not to the node's own source",
    ),
    metric(
        "grantd_credential_wait_seconds",
        Kind::Histogram,
        "",
        "how long who found no lease that was good for long enough waited for one",
    ),
    metric(
        "grantd_decisions_total",
        Kind::Counter,
        "freshness: local, asked, refused",
        "checks, and queries with grantd.read: decided under the read lease, after asking the leader, or not at all",
    ),
    metric(
        "grantd_endpoint_requests_total",
        Kind::Counter,
        "entry: of cloud_endpoints; result: ok, denied, unauthenticated, unavailable, limited, malformed",
        "requests of programs of this host for credentials, and what came of them",
    ),
    metric(
        "grantd_jobs_currently_paused",
        Kind::Gauge,
        "type: backup, restore, changefeed, auto_collect_jobs",
        "jobs of the cluster that stand still until somebody resumes them",
    ),
    metric("grantd_jobs_currently_running", Kind::Gauge, "type", "jobs that this node works on"),
    metric(
        "grantd_jobs_ended_total",
        Kind::Counter,
        "type; phase: resume, fail_or_cancel; result: completed, failed, retry_error, credentials, rest, stopped",
        "how work on jobs ended on this node; it may begin again",
    ),
    metric(
        "grantd_schedules_backup_failed_total",
        Kind::Counter,
        "",
        "runs of schedules that came to nothing: by the node that led when no job was made, or that worked on the job",
    ),
    metric(
        "grantd_schedules_backup_last_completed_time_seconds",
        Kind::Gauge,
        "",
        "when, since 1970, a backup of a schedule with updates_cluster_last_backup_time_metric was done last",
    ),
    metric(
        "grantd_schedules_backup_started_total",
        Kind::Counter,
        "",
        "jobs that schedules made while this node led",
    ),
    metric(
        "grantd_schedules_backup_succeeded_total",
        Kind::Counter,
        "",
        "jobs of schedules that this node ended well",
    ),
    metric(
        "grantd_schedules_round_reschedule_skip_total",
        Kind::Counter,
        "",
        "times that a schedule left out, as its job before had not ended",
    ),
    metric(
        "grantd_schedules_round_reschedule_wait_total",
        Kind::Counter,
        "",
        "times that a schedule waited for its job before",
    ),
    metric(
        "grantd_storage_bytes_total",
        Kind::Counter,
        "provider: s3, gs, nodelocal; direction: read, write",
        "bytes of objects outside; each once, however often it was sent",
    ),
    metric(
        "grantd_storage_request_seconds",
        Kind::Histogram,
        "provider; operation: put, put_absent, get, head, list, delete, begin, part, complete, abort",
        "one try of a request to a cloud, with the wait for credentials",
    ),
    metric(
        "grantd_storage_requests_total",
        Kind::Counter,
        "provider; operation; result: ok, failed",
        "tries of requests to clouds",
    ),
    metric(
        "grantd_storage_retries_total",
        Kind::Counter,
        "provider; operation",
        "requests to clouds that were sent again",
    ),
];

/// The bounds of all histograms, in seconds: from a check to a statement that waited for everything.
const BUCKETS: [f64; 16] = [
    0.000_01, 0.000_025, 0.000_1, 0.000_25, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 10.0,
];
/// How often values that came in are summed up, whether somebody looks or not: they take memory until then.
const UPKEEP: Duration = Duration::from_secs(5);

/// None: the process has a recorder of somebody else's, and nothing is rendered.
static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
/// What measures when somebody looks. As many as nodes of this process are up.
static MEASURED: Mutex<Vec<Weak<Measure>>> = Mutex::new(Vec::new());

type Measure = dyn Fn() + Send + Sync;

/// Keeps what measures; dropped, it measures no more.
pub struct Measured {
    _measure: Arc<Measure>,
}

/// On whose word decisions were made, of one node. Counted once for a batch that was decided on one view.
#[derive(Clone)]
pub struct Decisions {
    /// The node's own, which holds a read lease.
    pub local: Counter,
    /// The leader's.
    pub asked: Counter,
    /// Nobody's: they were refused.
    pub refused: Counter,
}

impl Decisions {
    /// Those of the node with this number.
    pub fn of(node: u64) -> Self {
        let counter = |freshness: &'static str| metrics::counter!("grantd_decisions_total", "node" => node.to_string(), "freshness" => freshness);
        Self { local: counter("local"), asked: counter("asked"), refused: counter("refused") }
    }

    /// Counts what came of asking the leader.
    pub fn asked<T, E>(&self, answer: &Result<T, E>) {
        if answer.is_ok() { self.asked.increment(1) } else { self.refused.increment(1) }
    }
}

/// Starts recording for the whole process. Once: a later call changes nothing. To be called before anything is measured.
pub fn install() {
    recorder();
}

/// All values, in the text format of Prometheus 0.0.4: `Content-Type: text/plain; version=0.0.4`.
pub fn render() -> String {
    let measured: Vec<_> = {
        let mut known = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|measure| measure.strong_count() > 0);
        known.iter().filter_map(Weak::upgrade).collect()
    };
    for measure in measured {
        measure();
    }
    recorder().map(PrometheusHandle::render).unwrap_or_default()
}

/// Calls `measure` before each look at the values, until what this returns is dropped. It is to set gauges, and to be quick.
pub fn measure_when_read(measure: impl Fn() + Send + Sync + 'static) -> Measured {
    let measure: Arc<Measure> = Arc::new(measure);
    let mut known = MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|measure| measure.strong_count() > 0);
    known.push(Arc::downgrade(&measure));
    Measured { _measure: measure }
}

/// Sums up what came in, again and again, until it is aborted.
pub fn keep_up() -> JoinHandle<()> {
    tokio::spawn(async {
        loop {
            sleep(UPKEEP).await;
            if let Some(recorder) = recorder() {
                recorder.run_upkeep();
            }
        }
    })
}

fn recorder() -> Option<&'static PrometheusHandle> {
    let installed = RECORDER.get_or_init(|| {
        let seconds = Matcher::Suffix("_seconds".to_owned());
        let builder = PrometheusBuilder::new().set_buckets_for_metric(seconds, &BUCKETS).ok()?;
        let handle = builder.install_recorder().ok()?;
        for metric in OF_RAFT.iter().chain(&TABLE) {
            match metric.kind {
                Kind::Counter => describe_counter!(metric.name, metric.help),
                Kind::Gauge => describe_gauge!(metric.name, metric.help),
                Kind::Histogram => describe_histogram!(metric.name, metric.help),
            }
        }
        Some(handle)
    });
    installed.as_ref()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn operators_read_of_every_metric_what_the_tables_say() {
        let page = include_str!("../../docs/operating.md");
        let written: Vec<_> = page.lines().filter(|line| line.starts_with("| `grantd_")).collect();
        let mut rows: Vec<&Metric> = OF_RAFT.iter().chain(&TABLE).collect();
        rows.sort_by_key(|metric| metric.name);
        let expected: Vec<_> = rows
            .iter()
            .map(|metric| {
                let kind = match metric.kind {
                    Kind::Counter => "counter",
                    Kind::Gauge => "gauge",
                    Kind::Histogram => "histogram",
                };
                let labels =
                    if metric.labels.is_empty() { String::new() } else { format!(" {}", metric.labels) };
                format!("| `{}` | {kind} |{labels} | {} |", metric.name, metric.help)
            })
            .collect();
        assert_eq!(written, expected);
    }

    #[test]
    fn what_is_counted_and_measured_is_rendered_with_its_meaning() {
        install();
        metrics::counter!("grantd_decisions_total", "node" => "90", "freshness" => "local").increment(3);
        let looks = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&looks);
        let measured = measure_when_read(move || {
            let look = counted.fetch_add(1, Ordering::Relaxed) + 1;
            metrics::gauge!("grantd_view_version", "node" => "90").set(u32::try_from(look).unwrap());
        });
        let text = render();
        assert!(text.contains("# TYPE grantd_decisions_total counter"), "{text}");
        assert!(text.contains("# HELP grantd_decisions_total checks, and queries"), "{text}");
        assert!(text.contains(r#"grantd_decisions_total{node="90",freshness="local"} 3"#), "{text}");
        assert!(text.contains(r#"grantd_view_version{node="90"} 1"#), "{text}");
        assert!(render().contains(r#"grantd_view_version{node="90"} 2"#));
        drop(measured);
        assert!(render().contains(r#"grantd_view_version{node="90"} 2"#));
        assert_eq!(looks.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn times_are_counted_in_buckets() {
        install();
        metrics::histogram!("grantd_barrier_wait_seconds", "node" => "91", "end" => "reported").record(0.004);
        let text = render();
        let bucket = r#"grantd_barrier_wait_seconds_bucket{node="91",end="reported",le="0.005"} 1"#;
        assert!(text.contains(bucket), "{text}");
        assert!(text.contains(r#"grantd_barrier_wait_seconds_count{node="91",end="reported"} 1"#), "{text}");
    }
}
