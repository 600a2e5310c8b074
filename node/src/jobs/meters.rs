//! What jobs count.

use std::collections::BTreeMap;

use grantd_catalog::job::{JobKind, JobStatus};
use metrics::{counter, gauge};

use crate::jobs::plan::Seen;
use crate::jobs::work::Stopped;

/// Those of one node.
#[derive(Clone)]
pub(super) struct Meters {
    node: String,
}

impl Meters {
    pub(super) fn of(node: u64) -> Self {
        Self { node: node.to_string() }
    }

    /// How many jobs this node works on, and how many of the cluster's stand still.
    pub(super) fn set(&self, seen: &[Seen], node: u64) {
        let mut counts: BTreeMap<JobKind, (u32, u32)> =
            JobKind::EACH.into_iter().map(|kind| (kind, (0, 0))).collect();
        for job in seen {
            let (running, paused) = counts.entry(job.kind).or_default();
            *running += u32::from(job.claim.is_some_and(|claim| claim.node == node));
            *paused += u32::from(job.status == JobStatus::Paused);
        }
        for (kind, (running, paused)) in counts {
            let labels = [("node", self.node.clone()), ("type", label(kind))];
            gauge!("grantd_jobs_currently_running", &labels).set(running);
            gauge!("grantd_jobs_currently_paused", &labels).set(paused);
        }
    }

    /// How work ended.
    pub(super) fn ended(&self, kind: JobKind, revert: bool, came: &Result<(), Stopped>) {
        let result = match came {
            Ok(()) => "completed",
            Err(Stopped::Failed(_)) => "failed",
            Err(Stopped::Retry { .. }) => "retry_error",
            Err(Stopped::Credentials { .. }) => "credentials",
            Err(Stopped::Rest(_)) => "rest",
            Err(Stopped::Asked | Stopped::Paused(_)) => "stopped",
        };
        let phase = if revert { "fail_or_cancel" } else { "resume" };
        let labels = [
            ("node", self.node.clone()),
            ("type", label(kind)),
            ("phase", phase.to_owned()),
            ("result", result.to_owned()),
        ];
        counter!("grantd_jobs_ended_total", &labels).increment(1);
    }

    /// How work ended that a schedule asked for.
    pub(super) fn scheduled_ended(&self, came: &Result<(), Stopped>) {
        let name = match came {
            Ok(()) => "grantd_schedules_backup_succeeded_total",
            Err(Stopped::Failed(_)) => "grantd_schedules_backup_failed_total",
            Err(
                Stopped::Retry { .. }
                | Stopped::Credentials { .. }
                | Stopped::Rest(_)
                | Stopped::Asked
                | Stopped::Paused(_),
            ) => return,
        };
        counter!(name, "node" => self.node.clone()).increment(1);
    }
}

fn label(kind: JobKind) -> String {
    kind.word().to_ascii_lowercase().replace(' ', "_")
}
