//! What schedules refuse. Source: cloud-jobs spec, C.7 and B.7.3; authorization spec, F.5; most texts are ours.

use crate::id::ScheduleId;
use crate::job::JobId;
use crate::name::RoleName;
use crate::refusal::{Refusal, state};

/// No schedule has this id, or it was dropped.
pub fn no_such_schedule(id: ScheduleId) -> Refusal {
    Refusal::new(state::UNDEFINED_OBJECT, format!("schedule with ID {id} does not exist"))
}

/// CREATE SCHEDULE IF NOT EXISTS of a label that is there.
pub fn schedule_exists(label: &str) -> Refusal {
    Refusal::new(state::DUPLICATE_OBJECT, format!("schedule \"{label}\" already exists"))
}

/// A schedule whose layers would go where those of another one go.
pub fn schedule_of_the_same_place(id: ScheduleId, label: &str) -> Refusal {
    Refusal::new(
        state::DUPLICATE_OBJECT,
        format!("schedule {id} \"{label}\" makes backups in the same collection"),
    )
    .with_hint("Name another collection; or say ignore_existing_backups, and both make theirs in this one.")
}

/// An admin's schedule, asked for by somebody who is none.
pub fn schedule_of_an_admin() -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, "only admins can control schedules owned by other admins")
}

/// Neither admin nor its owner.
pub fn may_not_control_schedule(user: &RoleName, id: ScheduleId) -> Refusal {
    Refusal::new(
        state::INSUFFICIENT_PRIVILEGE,
        format!("user {user} is neither an admin nor the owner of schedule {id}"),
    )
}

/// A run by somebody else than its owner.
pub fn runs_as_owner(id: ScheduleId, owner: &RoleName) -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, format!("schedule {id} is run as its owner, {owner}"))
}

/// One schedule more than there may be.
pub fn too_many_schedules(most: usize) -> Refusal {
    Refusal::new(
        state::PROGRAM_LIMIT_EXCEEDED,
        format!("the cluster has {most} schedules, and can have no more"),
    )
    .with_hint("DROP SCHEDULE takes away those that nobody needs.")
}

/// A record that says too much.
pub fn schedule_too_large(what: &str, most: usize) -> Refusal {
    Refusal::new(
        state::PROGRAM_LIMIT_EXCEEDED,
        format!("the {what} of a schedule cannot have more than {most} bytes"),
    )
}

/// One that needs more than a command can say.
pub fn schedule_needs_too_much(most: usize) -> Refusal {
    Refusal::new(
        state::PROGRAM_LIMIT_EXCEEDED,
        format!("what a schedule runs cannot need more than {most} privileges"),
    )
}

/// What was planned upon a schedule that was changed since.
pub fn schedule_changed(id: ScheduleId) -> Refusal {
    Refusal::new(state::NOT_IN_PREREQUISITE_STATE, format!("schedule {id} was changed meanwhile"))
        .with_hint("Run the statement again.")
}

/// ALTER BACKUP SCHEDULE of an incremental one.
pub fn not_a_full_schedule(id: ScheduleId, full: ScheduleId) -> Refusal {
    Refusal::new(
        state::WRONG_OBJECT_TYPE,
        format!("schedule {id} makes the incremental layers of schedule {full}"),
    )
    .with_hint(format!("Alter schedule {full}: it says what becomes of both."))
}

/// A run of one that stands still.
pub fn schedule_paused(id: ScheduleId) -> Refusal {
    Refusal::new(state::NOT_IN_PREREQUISITE_STATE, format!("schedule {id} is paused"))
        .with_hint("RESUME SCHEDULE lets it go on.")
}

/// A run before its time.
pub fn schedule_rests(id: ScheduleId) -> Refusal {
    Refusal::new(state::NOT_IN_PREREQUISITE_STATE, format!("schedule {id} is not to be run yet"))
}

/// A run beside one that has not ended.
pub fn schedule_runs(id: ScheduleId, job: JobId) -> Refusal {
    Refusal::new(state::OBJECT_IN_USE, format!("job {job} of schedule {id} has not ended"))
}

/// DROP ROLE of one that owns schedules.
pub fn role_owns_schedules(name: &RoleName, count: usize) -> Refusal {
    Refusal::new(
        state::DEPENDENT_OBJECTS,
        format!("cannot drop role/user {name}; it owns {count} scheduled jobs."),
    )
    .with_hint("DROP SCHEDULE takes them away; SHOW SCHEDULES names them.")
}
