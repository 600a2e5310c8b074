//! Schedules: statements that are run again and again, each time as a job. A record says what is run, as whom, and when next;
//! `state` changes it.
//!
//! The catalog reads no crontab and no statement: a node computes when a schedule is due next, plans its statement anew when it
//! is due, and says so under what it has seen of the schedule, so that of several nodes one makes the job.
//!
//! Source: cloud-jobs spec, C.7.

use bincode::{Decode, Encode};

use crate::id::{PrincipalId, ScheduleId, Timestamp};
use crate::job::{JobId, JobToken, Opaque};
use crate::name::RoleName;
use crate::require::Requirement;

/// The most schedules: each is looked at where schedules are listed and run.
pub const SCHEDULES_MAX: usize = 1_000;
/// The most bytes of a label.
pub const LABEL_BYTES_MAX: usize = 1024;
/// The most bytes of a crontab.
pub const CADENCE_BYTES_MAX: usize = 256;

/// What comes of a run that ends without success. Appended to, never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum OnFailure {
    /// It is run again after a while: longer from time to time, and no later than it would be due anyway.
    Retry,
    /// It is run when it is due next.
    Reschedule,
    /// It stands still until somebody resumes it.
    Pause,
}

/// What comes of a schedule that is due while a job of it has not ended. An incremental one always waits. Appended to, never
/// reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum OnPrevious {
    /// It is run beside that.
    Start,
    /// It is run when it is due the next time.
    Skip,
    /// It is run when that has ended.
    Wait,
}

/// A schedule that is to be made. Its label and statement are redacted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NewSchedule {
    /// What it is called; several may be called the same.
    pub label: String,
    /// What is run, as it is shown.
    pub statement: String,
    /// What is run, as whoever runs it needs it: with its secrets, and with what its names mean.
    pub details: Opaque,
    /// What that needs: decided where the schedule is made or altered. Each job has its own.
    pub requirement: Requirement,
    /// How often, as a crontab; none: only when somebody asks for it.
    pub cadence: Option<String>,
    /// When it is due first; none: as the crontab says.
    pub first_run: Option<Timestamp>,
    /// After a run without success.
    pub on_failure: OnFailure,
    /// While a job of it has not ended.
    pub on_previous: OnPrevious,
    /// A fingerprint of where its layers go: two pairs that have the same would mix theirs. An incremental one has that of its
    /// full one.
    pub place: [u8; 32],
    /// Whether the time of its last success is what the metric of the cluster's last backup says.
    pub updates_metric: bool,
}

/// A schedule.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Schedule {
    /// Chosen at random, as a job's is: the id is found by it. An incremental one has that of its full one, and keeps what its
    /// next layer needs of the history by the record of this number.
    pub token: JobToken,
    /// What was asked for.
    pub asked: NewSchedule,
    /// As whom its jobs are made. A role that owns schedules is not dropped.
    pub owner: PrincipalId,
    /// What the owner was called.
    pub owner_name: RoleName,
    /// When it was made.
    pub created: Timestamp,
    /// When something about it changed last. Whoever runs or alters it names what it has seen.
    pub modified: Timestamp,
    /// Of one that makes incremental layers: the one that makes the full ones.
    pub full: Option<ScheduleId>,
    /// When it is due; none: a node is to say when, or it is paused, or only runs when somebody asks for it.
    pub next_run: Option<Timestamp>,
    /// Why it stands still; none: it does not.
    pub paused: Option<Paused>,
    /// The first of its jobs that says something of it: what was made before the place was changed goes elsewhere.
    pub first_job: JobId,
    /// When a job of it succeeded last.
    pub succeeded: Option<Timestamp>,
    /// What its last run failed with; none: it did not.
    pub failed: Option<String>,
    /// How many of its runs failed since one succeeded, or somebody resumed it.
    pub failures: u32,
}

impl Schedule {
    /// Whether it is due at `now`.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.paused.is_none() && self.next_run.is_some_and(|at| at <= now)
    }

    /// Whether a node is to say when it is due: after it was made, resumed, or given another crontab.
    pub fn wants_next_run(&self) -> bool {
        self.paused.is_none() && self.next_run.is_none() && self.asked.cadence.is_some()
    }

    /// Whether it is never run beside a job of its own.
    pub fn runs_alone(&self) -> bool {
        self.full.is_some() || self.asked.on_previous != OnPrevious::Start
    }
}

/// Why a schedule stands still. Appended to, never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Paused {
    /// Somebody asked for it.
    Asked,
    /// An incremental one: there is no full layer in its place yet. The first one resumes it.
    WaitsForFull,
    /// A run failed, and it was to stand still then.
    Failed,
}

impl Paused {
    /// In words; empty: there is nothing to say.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Asked => "",
            Self::WaitsForFull => "Waiting for initial backup to complete",
            Self::Failed => "a run failed",
        }
    }
}

/// What somebody asks of a schedule. Appended to, never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum ScheduleControl {
    /// PAUSE SCHEDULE.
    Pause,
    /// RESUME SCHEDULE.
    Resume,
    /// ALTER BACKUP SCHEDULE … EXECUTE IMMEDIATELY: it is due now.
    Execute,
    /// DROP SCHEDULE; the incremental one of a full one goes with it.
    Drop,
}

/// What a pair of schedules is from now on.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ScheduleAlteration {
    /// When something about the full one changed last, as whoever asks has seen it: what is newer is not overwritten.
    pub as_of: Timestamp,
    /// The full one.
    pub full: NewSchedule,
    /// The incremental one: made if there is none; none: dropped if there is one.
    pub incremental: Option<NewSchedule>,
    /// Whether another one of the same place is no reason to refuse.
    pub ignore_existing: bool,
}
