//! Jobs: work that outlives the statement and the node that began it. A record says what is to be done, for whom, how far it
//! is and who does it; this module has the records and the legal changes of their status, `state` applies them.
//!
//! A node claims a job, which raises the job's epoch, and holds its claims for as long as its lease of claims lasts, which it
//! renews; every report names the epoch, so that who has lost a claim can say nothing more. The time of all that is the
//! log's.
//!
//! Source: cloud-jobs spec, E.

use std::fmt;

use bincode::{Decode, Encode};

use crate::id::{ObjectId, PrincipalId, ScheduleId, Timestamp};
use crate::name::RoleName;
use crate::require::Requirement;

/// The most jobs that are kept, ended ones included: each is looked at where jobs are listed and claimed.
pub const JOBS_MAX: usize = 10_000;
/// The most bytes of a description or statement: what is longer is cut by who made it.
pub const TEXT_BYTES_MAX: usize = 16 * 1024;
/// The most bytes of what a kind of job stores of what it is to do.
pub const DETAILS_BYTES_MAX: usize = 256 * 1024;
/// The most bytes of where it goes on from. It is written anew with each report that has one.
pub const CHECKPOINT_BYTES_MAX: usize = 256 * 1024;
/// The most bytes of a status in words, an error, or the reason of a pause. What is longer is cut.
pub const STATUS_BYTES_MAX: usize = 4 * 1024;
/// All of it, in millionths.
pub const FRACTION_PPM_MAX: u32 = 1_000_000;
/// The most jobs that one command collects: one entry of the log stays small.
pub const COLLECT_MAX: usize = 100;

/// Names a job. Handed out in log order, and never again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct JobId(pub i64);

impl JobId {
    /// The first one.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Chosen at random by whoever makes a job: the id is found by it, and a job can be made again when the outcome was unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct JobToken(pub u128);

/// What a job does. Appended to, never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum JobKind {
    /// BACKUP.
    Backup,
    /// RESTORE.
    Restore,
    /// CREATE CHANGEFEED.
    Changefeed,
    /// Takes away what ended long ago. The cluster's own; there is one, and it never ends.
    AutoCollectJobs,
}

impl JobKind {
    /// All of them.
    pub const EACH: [Self; 4] = [Self::Backup, Self::Restore, Self::Changefeed, Self::AutoCollectJobs];

    /// The word of the column `job_type`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Backup => "BACKUP",
            Self::Restore => "RESTORE",
            Self::Changefeed => "CHANGEFEED",
            Self::AutoCollectJobs => "AUTO COLLECT JOBS",
        }
    }

    /// Whether it is the cluster's own work, which SHOW JOBS leaves out.
    pub const fn is_automatic(self) -> bool {
        matches!(self, Self::AutoCollectJobs)
    }
}

/// Bytes of `node`'s own: what is to be done, or where to go on. They may hold URIs, and are never printed.
#[derive(Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Opaque(Vec<u8>);

impl Opaque {
    /// Wraps bytes.
    pub const fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The bytes. For whoever made them, and for encodings; for nothing that prints.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opaque({} bytes)", self.0.len())
    }
}

/// Where a job is in its life. Source: cloud-jobs spec, E.3. Appended to, never reordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[allow(missing_docs, reason = "the words that SHOW JOBS prints")]
pub enum JobStatus {
    Pending,
    Running,
    PauseRequested,
    Paused,
    CancelRequested,
    Reverting,
    Succeeded,
    Canceled,
    Failed,
    RevertFailed,
}

impl JobStatus {
    /// All of them.
    pub const EACH: [Self; 10] = [
        Self::Pending,
        Self::Running,
        Self::PauseRequested,
        Self::Paused,
        Self::CancelRequested,
        Self::Reverting,
        Self::Succeeded,
        Self::Canceled,
        Self::Failed,
        Self::RevertFailed,
    ];

    /// As the original writes it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::PauseRequested => "pause-requested",
            Self::Paused => "paused",
            Self::CancelRequested => "cancel-requested",
            Self::Reverting => "reverting",
            Self::Succeeded => "succeeded",
            Self::Canceled => "canceled",
            Self::Failed => "failed",
            Self::RevertFailed => "revert-failed",
        }
    }

    /// Whether nothing follows it.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Succeeded | Self::Canceled | Self::Failed | Self::RevertFailed)
    }

    /// Whether some node has work to do in it.
    pub const fn is_claimable(self) -> bool {
        matches!(
            self,
            Self::Pending | Self::Running | Self::PauseRequested | Self::CancelRequested | Self::Reverting
        )
    }

    /// Whether somebody waits for the job to stop.
    pub const fn is_requested(self) -> bool {
        matches!(self, Self::PauseRequested | Self::CancelRequested)
    }
}

impl fmt::Display for JobStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Why a job ends, or has ended, without success.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum FinalError {
    /// Somebody cancelled it.
    Canceled,
    /// Its work said so, in these words.
    Failed(String),
}

impl FinalError {
    /// What SHOW JOBS prints.
    pub fn text(&self) -> &str {
        match self {
            Self::Canceled => "job canceled by user",
            Self::Failed(text) => text,
        }
    }
}

/// Who does the work. Valid while the node's lease of claims is of the same boot and not over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Claim {
    /// The node.
    pub node: u64,
    /// Which run of its process.
    pub boot: u64,
}

/// Until when a node holds what it has claimed: one record for all its claims, so that renewing costs one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ClaimLease {
    /// Which run of the node's process.
    pub boot: u64,
    /// By the time of the log.
    pub until: Timestamp,
}

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Progress {
    /// Millionths of the work; none: it has no end.
    pub fraction_ppm: Option<u32>,
    /// Everything up to this is done, for good.
    pub high_water: Option<Timestamp>,
    /// In words; empty: nothing to say.
    pub running_status: String,
    /// Where to go on from.
    pub checkpoint: Opaque,
}

/// An error that was tried again after.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ExecutionError {
    /// When it was reported.
    pub at: Timestamp,
    /// In which run.
    pub run: u32,
    /// In words, redacted.
    pub text: String,
}

/// What a job keeps of the history of rows from being collected, as long as it lives. The record's id is its token's number.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Protects {
    /// Changes after this.
    pub since: Timestamp,
    /// Of which tables; none: of all.
    pub tables: Option<Vec<ObjectId>>,
}

/// A job that is to be made. Its texts are redacted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NewJob {
    /// Chosen at random.
    pub token: JobToken,
    /// What it does.
    pub kind: JobKind,
    /// In words.
    pub description: String,
    /// The statement that asked for it.
    pub statement: String,
    /// What the kind needs to know.
    pub details: Opaque,
    /// What it needs: decided where the job is made, and again by whoever runs it, before each step.
    pub requirement: Requirement,
    /// The tables that it is about.
    pub tables: Vec<ObjectId>,
    /// The schedule that asked for it. Said where the job is made.
    pub schedule: Option<ScheduleId>,
    /// Whether it can be cancelled.
    pub cancelable: bool,
    /// What it keeps from being collected.
    pub protects: Option<Protects>,
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Job {
    /// What was asked for. What it protects is a record of its own by now, and none here.
    pub asked: NewJob,
    /// As whom it acts. The role may be gone; then nothing is allowed to the job any more.
    pub owner: PrincipalId,
    /// What the owner was called.
    pub owner_name: RoleName,
    /// Where it is in its life.
    pub status: JobStatus,
    /// When it was made.
    pub created: Timestamp,
    /// When it was claimed first.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// When something about it changed last.
    pub modified: Timestamp,
    /// Raised by each claim, and named by each report.
    pub epoch: u64,
    /// Who does it; none: nobody.
    pub claim: Option<Claim>,
    /// How far it is.
    pub progress: Progress,
    /// Why it ends without success; set before what it did is taken back.
    pub error: Option<FinalError>,
    /// The last errors that were tried again after, oldest first.
    pub execution_errors: Vec<ExecutionError>,
    /// Why it is paused, if that was said.
    pub pause_reason: Option<String>,
    /// How often it was claimed to be run.
    pub num_runs: u32,
    /// When it was claimed last.
    pub last_run: Option<Timestamp>,
    /// Not before this; none: at once.
    pub next_run: Option<Timestamp>,
    /// How often it was to be tried again since it last came forward.
    pub retries: u32,
    /// How often it began to wait for credentials.
    pub credential_waits: u32,
    /// Since when it waits for credentials; none: it does not.
    pub waiting_since: Option<Timestamp>,
}

/// What somebody asks of a job.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Control {
    /// PAUSE JOB.
    Pause {
        /// WITH REASON.
        reason: Option<String>,
    },
    /// RESUME JOB.
    Resume,
    /// CANCEL JOB.
    Cancel,
    /// ALTER CHANGEFEED: of a job that is paused, and that has not begun to take back what it did.
    Alter(Box<Alteration>),
}

/// What a job is to do from now on. Its texts are redacted.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Alteration {
    /// When something about the job changed last, as whoever asks has seen it: what is newer is not overwritten.
    pub as_of: Timestamp,
    /// In words.
    pub description: String,
    /// What the kind needs to know.
    pub details: Opaque,
    /// What it needs: of who asks, and of its owner where it runs.
    pub requirement: Requirement,
    /// The tables that it is about, and of which it keeps history if it keeps any.
    pub tables: Vec<ObjectId>,
}

/// What comes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requested {
    /// It is in this status from now on.
    Now(JobStatus),
    /// It is so already.
    Already,
    /// It cannot be, because of its status.
    Illegal,
    /// No such job can ever be.
    NotCancelable,
    /// It is paused while what it did is taken back.
    MustRevert,
}

/// What a request makes of a job in `status`; `reverting`: the reason for which it will end is stored already. Total: each
/// status has an answer to each request. Source: cloud-jobs spec, E.3.
pub const fn request(control: &Control, status: JobStatus, reverting: bool, cancelable: bool) -> Requested {
    use JobStatus as S;
    match control {
        Control::Pause { .. } => match status {
            S::PauseRequested | S::Paused => Requested::Already,
            S::Pending | S::Running | S::Reverting => Requested::Now(S::PauseRequested),
            S::CancelRequested | S::Succeeded | S::Canceled | S::Failed | S::RevertFailed => {
                Requested::Illegal
            }
        },
        Control::Resume => match status {
            S::Running | S::Reverting => Requested::Already,
            S::Paused if reverting => Requested::Now(S::Reverting),
            S::Paused => Requested::Now(S::Running),
            S::Pending
            | S::PauseRequested
            | S::CancelRequested
            | S::Succeeded
            | S::Canceled
            | S::Failed
            | S::RevertFailed => Requested::Illegal,
        },
        Control::Alter(_) => match status {
            S::Paused if !reverting => Requested::Now(S::Paused),
            S::Pending
            | S::Running
            | S::PauseRequested
            | S::Paused
            | S::CancelRequested
            | S::Reverting
            | S::Succeeded
            | S::Canceled
            | S::Failed
            | S::RevertFailed => Requested::Illegal,
        },
        Control::Cancel if !cancelable => Requested::NotCancelable,
        Control::Cancel => match status {
            S::CancelRequested | S::Canceled => Requested::Already,
            S::Paused if reverting => Requested::MustRevert,
            S::Pending | S::Running | S::Paused => Requested::Now(S::CancelRequested),
            S::PauseRequested | S::Reverting | S::Succeeded | S::Failed | S::RevertFailed => {
                Requested::Illegal
            }
        },
    }
}

/// What the node that does the work says of it. Each names the epoch of its claim.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Report {
    /// It came forward. What is none is as before; nothing goes back.
    Progress {
        /// Millionths of the work.
        fraction_ppm: Option<u32>,
        /// Everything up to this is done.
        high_water: Option<Timestamp>,
        /// In words.
        running_status: Option<String>,
        /// Where to go on from.
        checkpoint: Option<Opaque>,
        /// Only changes after this are needed from now on.
        protect_since: Option<Timestamp>,
    },
    /// It waits for credentials of a cloud, in these words. No try is used up.
    WaitsForCredentials {
        /// In words: which hop, why, and until when.
        running_status: String,
    },
    /// It is to be tried again, by anybody, after a while. The claim is given up.
    Retry {
        /// What went wrong, redacted.
        error: String,
        /// After how long; none: as the settings say, longer from time to time.
        delay_ms: Option<u64>,
    },
    /// Nothing is to be done before this much time. The claim is given up.
    Rest {
        /// For how long.
        delay_ms: u64,
    },
    /// Its node stops: anybody may go on at once. The claim is given up.
    HandOver,
    /// It stands still until somebody resumes it: because that was asked for, or for this reason.
    Paused {
        /// Why, if nobody asked for it.
        reason: Option<String>,
    },
    /// It will end with this error; what it did is to be taken back.
    Failed {
        /// What went wrong, redacted.
        error: String,
    },
    /// It was stopped because somebody cancelled it; what it did is to be taken back.
    Canceling,
    /// What it did is taken back: it has ended.
    Reverted,
    /// What it did cannot be taken back: it has ended, and somebody must look.
    RevertFailed {
        /// What went wrong, redacted.
        error: String,
    },
    /// All is done.
    Succeeded,
}

/// The status that a report leads to; none: it cannot be said in `status`. `error`: the reason for which it will end.
pub const fn reported(report: &Report, status: JobStatus, error: Option<&FinalError>) -> Option<JobStatus> {
    use JobStatus as S;
    match (report, status) {
        (
            Report::Progress { .. }
            | Report::WaitsForCredentials { .. }
            | Report::Retry { .. }
            | Report::Rest { .. }
            | Report::HandOver,
            S::Running | S::PauseRequested | S::CancelRequested | S::Reverting,
        ) => Some(status),
        (Report::Paused { reason: None }, S::PauseRequested) => Some(S::Paused),
        (Report::Paused { reason: Some(_) }, S::Running | S::Reverting | S::PauseRequested) => {
            Some(S::Paused)
        }
        (Report::Failed { .. }, S::Running | S::PauseRequested) if error.is_none() => Some(S::Reverting),
        (Report::Canceling, S::CancelRequested) => Some(S::Reverting),
        (Report::Reverted, S::Reverting | S::PauseRequested) => match error {
            Some(FinalError::Canceled) => Some(S::Canceled),
            Some(FinalError::Failed(_)) => Some(S::Failed),
            None => None,
        },
        (Report::RevertFailed { .. }, S::Reverting | S::PauseRequested) if error.is_some() => {
            Some(S::RevertFailed)
        }
        (Report::Succeeded, S::Running | S::PauseRequested) if error.is_none() => Some(S::Succeeded),
        _ => None,
    }
}

/// The most characters of `text` that fit in `most` bytes.
pub fn cut(text: &str, most: usize) -> &str {
    let mut end = most.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// How long a job waits before it is tried again for the `n`th time: the first wait, doubled each time, up to the most.
pub fn retry_delay_ms(initial_ms: u64, most_ms: u64, n: u32) -> u64 {
    let doublings = n.saturating_sub(1).min(u64::BITS - 1);
    initial_ms.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX)).min(most_ms)
}

impl Timestamp {
    /// The moment this much later.
    #[must_use]
    pub const fn later_ms(self, ms: u64) -> Self {
        Self { nanos: self.nanos.saturating_add(ms.saturating_mul(1_000_000)), logical: self.logical }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("aé", 2), "a");
        assert_eq!(cut("aé", 3), "aé");
        assert_eq!(cut("aé", 9), "aé");
    }

    #[test]
    fn waits_double_up_to_the_most() {
        let waits: Vec<_> = (1..=6).map(|n| retry_delay_ms(30_000, 300_000, n)).collect();
        assert_eq!(waits, [30_000, 60_000, 120_000, 240_000, 300_000, 300_000]);
        assert_eq!(retry_delay_ms(30_000, u64::MAX, 1_000), u64::MAX);
    }

    #[test]
    fn nothing_follows_what_has_ended() {
        let pause = Control::Pause { reason: None };
        for status in JobStatus::EACH.into_iter().filter(|status| status.is_terminal()) {
            for control in [&pause, &Control::Resume, &Control::Cancel] {
                let came = request(control, status, true, true);
                assert!(!matches!(came, Requested::Now(_)), "{control:?} of {status}: {came:?}");
            }
            for report in [Report::HandOver, Report::Succeeded, Report::Reverted, Report::Canceling] {
                assert_eq!(reported(&report, status, Some(&FinalError::Canceled)), None, "{report:?}");
            }
        }
    }

    #[test]
    fn what_may_hold_secrets_is_not_printed() {
        let details = Opaque::new(b"s3://b?AWS_SECRET_ACCESS_KEY=k".to_vec());
        assert_eq!(format!("{details:?}"), "Opaque(30 bytes)");
    }
}
