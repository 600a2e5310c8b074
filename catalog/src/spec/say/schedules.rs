//! The texts of schedules, once more.

use crate::id::ScheduleId;
use crate::job::JobId;
use crate::name::RoleName;
use crate::refusal::Refusal;
use crate::spec::say::{hinted, no};

pub(in crate::spec) fn no_such_schedule(id: ScheduleId) -> Refusal {
    no("42704", format!("schedule with ID {} does not exist", id.0))
}

pub(in crate::spec) fn schedule_is_there(label: &str) -> Refusal {
    no("00000", format!("schedule \"{label}\" already exists, skipping"))
}

pub(in crate::spec) fn same_place(id: ScheduleId, label: &str) -> Refusal {
    let refusal = no("42710", format!("schedule {} \"{label}\" makes backups in the same collection", id.0));
    let hint = "Name another collection; or say ignore_existing_backups, and both make theirs in this one.";
    hinted(refusal, hint.to_owned())
}

pub(in crate::spec) fn schedule_of_an_admin() -> Refusal {
    no("42501", "only admins can control schedules owned by other admins".to_owned())
}

pub(in crate::spec) fn may_not_control_schedule(user: &RoleName, id: ScheduleId) -> Refusal {
    no("42501", format!("user {user} is neither an admin nor the owner of schedule {}", id.0))
}

pub(in crate::spec) fn runs_as_owner(id: ScheduleId, owner: &RoleName) -> Refusal {
    no("42501", format!("schedule {} is run as its owner, {owner}", id.0))
}

pub(in crate::spec) fn schedule_changed(id: ScheduleId) -> Refusal {
    let refusal = no("55000", format!("schedule {} was changed meanwhile", id.0));
    hinted(refusal, "Run the statement again.".to_owned())
}

pub(in crate::spec) fn not_a_full_schedule(id: ScheduleId, full: ScheduleId) -> Refusal {
    let refusal =
        no("42809", format!("schedule {} makes the incremental layers of schedule {}", id.0, full.0));
    hinted(refusal, format!("Alter schedule {}: it says what becomes of both.", full.0))
}

pub(in crate::spec) fn schedule_paused(id: ScheduleId) -> Refusal {
    let refusal = no("55000", format!("schedule {} is paused", id.0));
    hinted(refusal, "RESUME SCHEDULE lets it go on.".to_owned())
}

pub(in crate::spec) fn schedule_rests(id: ScheduleId) -> Refusal {
    no("55000", format!("schedule {} is not to be run yet", id.0))
}

pub(in crate::spec) fn schedule_runs(id: ScheduleId, job: JobId) -> Refusal {
    no("55006", format!("job {} of schedule {} has not ended", job.0, id.0))
}

pub(in crate::spec) fn role_owns_schedules(name: &RoleName, count: usize) -> Refusal {
    let refusal = no("2BP01", format!("cannot drop role/user {name}; it owns {count} scheduled jobs."));
    hinted(refusal, "DROP SCHEDULE takes them away; SHOW SCHEDULES names them.".to_owned())
}
