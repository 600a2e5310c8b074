//! Schedules, for the golden bytes.

use grantd_catalog::command::Command;
use grantd_catalog::id::{PrincipalId, ScheduleId, Timestamp};
use grantd_catalog::job::{JobId, JobToken, NewJob, Opaque};
use grantd_catalog::name::RoleName;
use grantd_catalog::require::Requirement;
use grantd_catalog::schedule::{
    NewSchedule, OnFailure, OnPrevious, Paused, Schedule, ScheduleAlteration, ScheduleControl,
};

fn new_schedule(on_failure: OnFailure, on_previous: OnPrevious) -> NewSchedule {
    NewSchedule {
        label: "nightly".to_owned(),
        statement: "BACKUP INTO 's3://b'".to_owned(),
        details: Opaque::new(vec![1, 2]),
        requirement: Requirement::NOTHING,
        cadence: Some("@daily".to_owned()),
        first_run: Some(Timestamp { nanos: 1 << 60, logical: 7 }),
        on_failure,
        on_previous,
        place: [9; 32],
        updates_metric: true,
    }
}

/// The record.
pub fn schedule() -> Schedule {
    let at = |nanos| Timestamp { nanos, logical: 7 };
    Schedule {
        token: JobToken(1 << 100),
        asked: new_schedule(OnFailure::Reschedule, OnPrevious::Wait),
        owner: PrincipalId(300),
        owner_name: RoleName::from("amy"),
        created: at(1),
        modified: at(2),
        full: Some(ScheduleId(3)),
        next_run: Some(at(3)),
        paused: Some(Paused::WaitsForFull),
        first_job: JobId(7),
        succeeded: Some(at(4)),
        failed: Some("e".to_owned()),
        failures: 300,
    }
}

/// Those of schedules, of which the newest command is one.
pub fn commands_of_schedules(job: NewJob) -> Vec<(&'static str, Command)> {
    let id = ScheduleId(7);
    let at = Timestamp { nanos: 1, logical: 2 };
    let full = new_schedule(OnFailure::Retry, OnPrevious::Start);
    let incremental = Some(new_schedule(OnFailure::Pause, OnPrevious::Skip));
    let create = Command::CreateSchedules {
        token: JobToken(1 << 100),
        full: Box::new(full.clone()),
        incremental: incremental.clone().map(Box::new),
        if_not_exists: true,
        ignore_existing: false,
    };
    let to = ScheduleAlteration { as_of: at, full, incremental, ignore_existing: true };
    let mut all = vec![
        ("CreateSchedules", create),
        ("AlterSchedules", Command::AlterSchedules { id, to: Box::new(to) }),
    ];
    let controls =
        [ScheduleControl::Pause, ScheduleControl::Resume, ScheduleControl::Execute, ScheduleControl::Drop];
    all.extend(controls.map(|control| ("ControlSchedule", Command::ControlSchedule { id, control })));
    let failed = Some("e".to_owned());
    all.push(("AdvanceSchedule", Command::AdvanceSchedule { id, as_of: at, next: Some(at), failed }));
    let job = Box::new(job);
    all.push(("RunSchedule", Command::RunSchedule { id, as_of: at, next: None, job }));
    all
}
