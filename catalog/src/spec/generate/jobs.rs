//! Jobs: what clients ask of them, and what nodes say, about a few jobs and two nodes, so that claims meet.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::command::Command;
use crate::id::{ObjectId, Timestamp};
use crate::job::{Control, JobId, JobKind, JobToken, NewJob, Opaque, Protects, Report};
use crate::privilege::Privilege;
use crate::require::{Need, Requirement};
use crate::spec::generate::names::role;

/// None of them is the id of a protection that somebody puts.
const TOKENS: std::ops::Range<u128> = 10..16;

/// Stands for the newest epoch of the job, which [`super::bind`] puts there.
pub(super) const NEWEST_EPOCH: u64 = u64::MAX;

/// Is most often no job's.
pub(super) const NO_JOB: JobId = JobId(3);

/// Stands for a node that has claims, and for its boot.
pub(super) const NEWEST_BOOT: u64 = u64::MAX;

pub(super) fn asked() -> impl Strategy<Value = Command> {
    prop_oneof![
        3 => new_job().prop_map(|job| Command::CreateJob { job: Box::new(job) }),
        4 => (id(), control()).prop_map(|(id, control)| Command::ControlJob { id, control }),
        3 => (id(), role()).prop_map(|(id, owner)| Command::AlterJobOwner { id, owner }),
        1 => said_by_nodes(),
    ]
}

pub(super) fn said_by_nodes() -> impl Strategy<Value = Command> {
    let node = || 1_u64..3;
    let epoch = prop_oneof![5 => Just(NEWEST_EPOCH), 1 => 0_u64..3];
    prop_oneof![
        1 => new_job().prop_map(|job| Command::CreateJob { job: Box::new(job) }),
        6 => (id(), node(), node()).prop_map(|(id, node, boot)| Command::ClaimJob { id, node, boot }),
        6 => (node(), prop_oneof![3 => Just(NEWEST_BOOT), 1 => node()])
            .prop_map(|(node, boot)| Command::RenewClaims { node, boot }),
        9 => (id(), epoch, report()).prop_map(|(id, epoch, report)| Command::ReportJob { id, epoch, report }),
        1 => id().prop_map(|id| Command::ControlJob { id, control: Control::Resume }),
        1 => Just(Command::CollectJobs),
    ]
}

fn id() -> impl Strategy<Value = JobId> {
    (1_i64..4).prop_map(JobId)
}

fn control() -> impl Strategy<Value = Control> {
    prop_oneof![
        2 => prop::option::of(text()).prop_map(|reason| Control::Pause { reason }),
        3 => Just(Control::Resume),
        1 => Just(Control::Cancel),
    ]
}

fn text() -> impl Strategy<Value = String> {
    select(vec!["", "why", "because"]).prop_map(str::to_owned)
}

fn moment() -> impl Strategy<Value = Timestamp> {
    (0_u64..3).prop_map(|nanos| Timestamp { nanos, logical: 0 })
}

fn new_job() -> impl Strategy<Value = NewJob> {
    let kind = select(vec![
        JobKind::Backup,
        JobKind::Restore,
        JobKind::Changefeed,
        JobKind::Changefeed,
        JobKind::AutoCollectJobs,
    ]);
    let tables = || vec((105_u32..115).prop_map(ObjectId), 0..2);
    let protects =
        (moment(), prop::option::of(tables())).prop_map(|(since, tables)| Protects { since, tables });
    let need = Need::Privilege { object: ObjectId::CLUSTER, privilege: Privilege::Backup };
    let needs = select(vec![Vec::new(), Vec::new(), vec![need]]);
    (TOKENS, kind, tables(), prop::option::weighted(0.3, protects), needs, prop::bool::weighted(0.8))
        .prop_map(|(token, kind, tables, protects, needs, cancelable)| NewJob {
            token: JobToken(token),
            kind,
            description: "d".to_owned(),
            statement: "s".to_owned(),
            details: Opaque::new(vec![2]),
            requirement: Requirement { needs },
            tables,
            schedule: None,
            cancelable,
            protects,
        })
}

fn report() -> impl Strategy<Value = Report> {
    let progress = (
        prop::option::of(select(vec![0, 7, 2_000_000])),
        prop::option::of(moment()),
        prop::option::of(text()),
        prop::option::of(Just(Opaque::new(vec![1]))),
        prop::option::of(moment()),
    );
    let delay = || select(vec![0_u64, 2_000, 1 << 40]);
    prop_oneof![
        4 => progress.prop_map(|(fraction_ppm, high_water, running_status, checkpoint, protect_since)| {
            Report::Progress { fraction_ppm, high_water, running_status, checkpoint, protect_since }
        }),
        1 => text().prop_map(|running_status| Report::WaitsForCredentials { running_status }),
        2 => (text(), prop::option::of(delay())).prop_map(|(error, delay_ms)| Report::Retry { error, delay_ms }),
        1 => (0_u64..3_000).prop_map(|delay_ms| Report::Rest { delay_ms }),
        1 => Just(Report::HandOver),
        2 => prop::option::of(text()).prop_map(|reason| Report::Paused { reason }),
        2 => text().prop_map(|error| Report::Failed { error }),
        2 => Just(Report::Canceling),
        2 => Just(Report::Reverted),
        1 => text().prop_map(|error| Report::RevertFailed { error }),
        1 => Just(Report::Succeeded),
    ]
}
