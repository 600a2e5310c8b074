//! Schedules: a few, in two places, run often, so that layers meet.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use crate::command::Command;
use crate::id::{ObjectId, ScheduleId, Timestamp};
use crate::job::{JobKind, JobToken, NewJob, Opaque, Protects, Report};
use crate::privilege::Privilege;
use crate::require::{Need, Requirement};
use crate::schedule::{NewSchedule, OnFailure, OnPrevious, ScheduleAlteration, ScheduleControl};
use crate::spec::Model;
use crate::spec::generate::Step;
use crate::spec::generate::jobs::NEWEST_EPOCH;
use crate::spec::generate::shelf::{NEWEST_JOB, by};

/// None of them is that of a protection that somebody puts; two are those of jobs.
const TOKENS: std::ops::Range<u128> = 14..24;

/// None of them is the id of a protection, or the token of another job.
const LIVES: std::ops::Range<u128> = 1_000_000..2_000_000;

/// Stands for the schedule of full layers that was made last.
const NEWEST_FULL: ScheduleId = ScheduleId(-1);

/// Stands for the one of incremental layers.
const NEWEST_INCREMENTAL: ScheduleId = ScheduleId(-2);

/// Stands for when the schedule was changed last.
const NEWEST: Timestamp = Timestamp { nanos: u64::MAX, logical: 0 };

pub(super) fn asked() -> impl Strategy<Value = Command> {
    let incremental = || prop::option::weighted(0.7, new_schedule());
    prop_oneof![
        4 => (token(), new_schedule(), incremental(), prop::bool::weighted(0.2), prop::bool::weighted(0.3)).prop_map(
            |(token, full, incremental, if_not_exists, ignore_existing)| Command::CreateSchedules {
                token,
                full: Box::new(full),
                incremental: incremental.map(Box::new),
                if_not_exists,
                ignore_existing,
            }
        ),
        3 => (id(), seen(), new_schedule(), incremental(), prop::bool::weighted(0.5)).prop_map(
            |(id, as_of, full, incremental, ignore_existing)| {
                let to = ScheduleAlteration { as_of, full, incremental, ignore_existing };
                Command::AlterSchedules { id, to: Box::new(to) }
            }
        ),
        3 => (id(), control()).prop_map(|(id, control)| Command::ControlSchedule { id, control }),
        3 => runs(),
    ]
}

pub(super) fn runs() -> impl Strategy<Value = Command> {
    (id(), seen(), next(), new_job()).prop_map(|(id, as_of, next, job)| Command::RunSchedule {
        id,
        as_of,
        next,
        job: Box::new(job),
    })
}

pub(super) fn said_by_nodes() -> impl Strategy<Value = Command> {
    let failed = prop::option::weighted(0.3, Just("why".to_owned()));
    (id(), seen(), next(), failed).prop_map(|(id, as_of, next, failed)| Command::AdvanceSchedule {
        id,
        as_of,
        next,
        failed,
    })
}

/// A pair from its making through a full layer and an incremental one, each of which may fail, with something in between.
pub(super) fn life() -> BoxedStrategy<Vec<Step>> {
    let owner = select(vec!["root", "root", "amy", "ben"]);
    let between = prop::option::weighted(0.6, (0_usize..14, asked()));
    let made = (LIVES, new_schedule(), new_schedule()).prop_map(|(token, full, incremental)| {
        let due = Some(Timestamp { nanos: 1, logical: 0 });
        Command::CreateSchedules {
            token: JobToken(token),
            full: Box::new(NewSchedule { first_run: due, ..full }),
            incremental: Some(Box::new(incremental)),
            if_not_exists: false,
            ignore_existing: true,
        }
    });
    (owner, made, run(), run(), run(), between)
        .prop_map(|(owner, made, first, second, third, between)| {
            let advance = |id| {
                let next = Some(Timestamp { nanos: 1, logical: 0 });
                ("node", Command::AdvanceSchedule { id, as_of: NEWEST, next, failed: None })
            };
            let mut steps = vec![(owner, made)];
            for (id, (job, ends)) in
                [(NEWEST_FULL, first), (NEWEST_INCREMENTAL, second), (NEWEST_FULL, third)]
            {
                steps.push(advance(id));
                steps.push((
                    owner,
                    Command::RunSchedule { id, as_of: NEWEST, next: None, job: Box::new(job) },
                ));
                steps.extend(ends.into_iter().map(|end| ("node", end)));
            }
            if let Some((at, command)) = between {
                steps.insert(at.min(steps.len()), (owner, command));
            }
            steps.into_iter().map(|(who, command)| by(who, command)).collect()
        })
        .boxed()
}

/// A job, and what its node says until it has ended.
fn run() -> impl Strategy<Value = (NewJob, Vec<Command>)> {
    let report = |report| Command::ReportJob { id: NEWEST_JOB, epoch: NEWEST_EPOCH, report };
    let end = select(vec![true, true, true, false]);
    (LIVES, new_job(), end).prop_map(move |(token, job, ends_well)| {
        let mut said = vec![Command::ClaimJob { id: NEWEST_JOB, node: 1, boot: 1 }];
        if ends_well {
            let high_water = Some(Timestamp { nanos: 2, logical: 0 });
            let (fraction_ppm, running_status, checkpoint, protect_since) = (None, None, None, None);
            let far =
                Report::Progress { fraction_ppm, high_water, running_status, checkpoint, protect_since };
            said.extend([report(far), report(Report::Succeeded)]);
        } else {
            said.extend([report(Report::Failed { error: "why".to_owned() }), report(Report::Reverted)]);
        }
        (NewJob { token: JobToken(token), ..job }, said)
    })
}

/// The schedule that is meant: one that is there, mostly.
pub(super) fn bind(model: &Model, id: &mut ScheduleId, as_of: Option<&mut Timestamp>) {
    let newest = |is_full: bool| {
        model.schedules.iter().rev().find(|(_, known)| known.full.is_none() == is_full).cloned()
    };
    let found = match *id {
        NEWEST_FULL => newest(true),
        NEWEST_INCREMENTAL => newest(false),
        ScheduleId(place) => {
            usize::try_from(place).ok().and_then(|place| model.schedules.get(place).cloned())
        }
    };
    let Some((known, schedule)) = found else { return };
    *id = known;
    if let Some(as_of) = as_of.filter(|as_of| **as_of == NEWEST) {
        *as_of = schedule.modified;
    }
}

fn token() -> impl Strategy<Value = JobToken> {
    TOKENS.prop_map(JobToken)
}

/// A place among those that are there, mostly.
fn id() -> impl Strategy<Value = ScheduleId> {
    select(vec![0, 0, 0, 1, 1, 1, 2, 3, 99]).prop_map(ScheduleId)
}

fn seen() -> impl Strategy<Value = Timestamp> {
    prop_oneof![9 => Just(NEWEST), 1 => Just(Timestamp::default())]
}

fn next() -> impl Strategy<Value = Option<Timestamp>> {
    prop_oneof![
        4 => Just(Some(Timestamp { nanos: 1, logical: 0 })),
        1 => Just(Some(Timestamp { nanos: 1 << 62, logical: 0 })),
        1 => Just(None),
    ]
}

fn control() -> impl Strategy<Value = ScheduleControl> {
    prop_oneof![
        2 => Just(ScheduleControl::Pause),
        3 => Just(ScheduleControl::Resume),
        2 => Just(ScheduleControl::Execute),
        1 => Just(ScheduleControl::Drop),
    ]
}

fn needs() -> impl Strategy<Value = Requirement> {
    let need = Need::Privilege { object: ObjectId::CLUSTER, privilege: Privilege::Backup };
    select(vec![Vec::new(), Vec::new(), Vec::new(), vec![need]]).prop_map(|needs| Requirement { needs })
}

fn new_schedule() -> impl Strategy<Value = NewSchedule> {
    let failures = vec![OnFailure::Retry, OnFailure::Reschedule, OnFailure::Pause];
    let previous = vec![OnPrevious::Start, OnPrevious::Skip, OnPrevious::Wait];
    let label = select(vec!["a", "b", "c"]).prop_map(str::to_owned);
    let cadence = select(vec![None, Some("@daily"), Some("@hourly")]).prop_map(|it| it.map(str::to_owned));
    let place = (0_u8..3).prop_map(|place| [place; 32]);
    (label, cadence, next(), select(failures), select(previous), place, needs()).prop_map(
        |(label, cadence, first_run, on_failure, on_previous, place, requirement)| NewSchedule {
            label,
            statement: "s".to_owned(),
            details: Opaque::default(),
            requirement,
            cadence,
            first_run,
            on_failure,
            on_previous,
            place,
            updates_metric: false,
        },
    )
}

fn new_job() -> impl Strategy<Value = NewJob> {
    let moment = (0_u64..3).prop_map(|nanos| Timestamp { nanos, logical: 0 });
    let tables = prop::option::weighted(0.2, vec((105_u32..115).prop_map(ObjectId), 0..2));
    let protects = (moment, tables).prop_map(|(since, tables)| Protects { since, tables });
    (token(), prop::option::weighted(0.8, protects), needs()).prop_map(|(token, protects, requirement)| {
        NewJob {
            token,
            kind: JobKind::Backup,
            description: "d".to_owned(),
            statement: "s".to_owned(),
            details: Opaque::new(vec![1]),
            requirement,
            tables: Vec::new(),
            schedule: None,
            cancelable: true,
            protects,
        }
    })
}
