//! What to do after a try that failed. Pure: what was noted goes in, what comes next comes out.
//!
//! Each try is a request of its own, signed with the lease of its moment: what `object_store` would do by itself, sending the same
//! signed request again, loses against credentials that are shorter than its patience. Source: cloud-jobs specification, F.8.4.

use std::time::Duration;

use super::answer::{Answer, Notes};
use super::error::{Kind, Operation};
use crate::cloud::broker::WaitError;
use crate::cloud::lease::Class;

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// A statement: what does not get better soon is said.
    Statement,
    /// A job: it waits for credentials and services as long as `cloudstorage.timeout` says, for each request.
    Job,
}

/// What was done already for one request.
#[derive(Debug)]
pub(super) struct Retries {
    patience: Patience,
    /// Failures that were nobody's fault.
    failed: u32,
    /// Newer credentials were tried.
    reissued: bool,
    /// Another region was tried.
    moved: bool,
    /// The time was not right once.
    skewed: bool,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The same again, after a pause of at most so long: the caller rolls dice for less. The kind is what to say when there is no
    /// time for that.
    Again(Duration, Kind),
    /// The same again, after a pause of just so long.
    After(Duration, Kind),
    /// The same again at once, with newer credentials: these were rejected.
    Reissue,
    /// The same again at once, in this region.
    Move(String),
    /// Say so.
    Stop(Kind),
}

impl Retries {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, failed: 0, reissued: false, moved: false, skewed: false }
    }

    /// How often it was tried in vain.
    pub(super) fn failed(&self) -> u32 {
        self.failed
    }

    /// After a failed try. `region`: in which it was sent; `over`: the lease that signed it is over by now.
    pub(super) fn next(
        &mut self,
        notes: &Notes,
        operation: Operation,
        region: Option<&str>,
        over: bool,
    ) -> Next {
        if let Some(error) = &notes.no_lease {
            return self.without_lease(error);
        }
        let Some(answer) = &notes.answer else { return self.again(Kind::Unavailable, FIRST_PAUSE) };
        if let (Some(right), Some(wrong)) = (&answer.region, region)
            && right != wrong
            && matches!(answer.status, 301 | 307 | 308 | 400)
        {
            return if std::mem::replace(&mut self.moved, true) {
                Next::Stop(Kind::Refused)
            } else {
                Next::Move(right.clone())
            };
        }
        self.after(answer, operation, over)
    }

    fn without_lease(&mut self, error: &WaitError) -> Next {
        let patient = self.patience == Patience::Job;
        match error {
            // The broker says so when waiting does not help, but somebody may give the role back meanwhile.
            WaitError::Trouble(trouble) if patient && !matches!(trouble.class, Class::Config) => {
                Next::After(CREDENTIALS_PAUSE, Kind::NoCredentials)
            }
            WaitError::TimedOut { .. } | WaitError::TooMany(_) if patient => {
                Next::After(CREDENTIALS_PAUSE, Kind::NoCredentials)
            }
            WaitError::TimedOut { .. } | WaitError::Trouble(_) | WaitError::TooMany(_) => {
                Next::Stop(Kind::NoCredentials)
            }
        }
    }

    fn after(&mut self, answer: &Answer, operation: Operation, over: bool) -> Next {
        match (answer.status, answer.code.as_str()) {
            (401, _)
            | (_, "ExpiredToken" | "InvalidToken" | "InvalidAccessKeyId" | "TokenRefreshRequired") => {
                // A lease that ended on its way is not a rejected one: the next try has the next.
                if over {
                    return self.again(Kind::Rejected, Duration::ZERO);
                }
                if std::mem::replace(&mut self.reissued, true) {
                    Next::Stop(Kind::Rejected)
                } else {
                    Next::Reissue
                }
            }
            (_, "RequestTimeTooSkewed") => {
                // A request that waited long on its way looks so as well: once more, with the time of now.
                if std::mem::replace(&mut self.skewed, true) {
                    Next::Stop(Kind::ClockSkew)
                } else {
                    Next::Again(FIRST_PAUSE, Kind::ClockSkew)
                }
            }
            (429, _) | (_, "SlowDown" | "Throttling" | "ThrottlingException" | "RequestLimitExceeded") => {
                match (answer.retry_after, self.again(Kind::SlowDown, SLOW_DOWN_PAUSE)) {
                    (Some(after), Next::Again(_, kind)) => Next::After(after.min(RETRY_AFTER_MAX), kind),
                    (_, next) => next,
                }
            }
            (_, "RequestTimeout" | "OperationAborted" | "ConditionalRequestConflict" | "InternalError")
            | (408, _) => self.again(Kind::Unavailable, FIRST_PAUSE),
            (404, _) => Next::Stop(Kind::NotFound),
            (409 | 412 | 304, _) if operation == Operation::PutAbsent => Next::Stop(Kind::AlreadyExists),
            (412, _) if operation == Operation::Get => Next::Stop(Kind::Changed),
            (416, _) => Next::Stop(Kind::Invalid),
            (403, _) => Next::Stop(Kind::Denied),
            (500.., _) => match (answer.retry_after, self.again(Kind::Unavailable, FIRST_PAUSE)) {
                (Some(after), Next::Again(_, kind)) => Next::After(after.min(RETRY_AFTER_MAX), kind),
                (_, next) => next,
            },
            // The head was a success, and what followed broke off or made no sense.
            (200..=299, _) => self.again(Kind::Refused, FIRST_PAUSE),
            _ => Next::Stop(Kind::Refused),
        }
    }

    /// Twice as long as the last time.
    fn again(&mut self, kind: Kind, first: Duration) -> Next {
        let tries = match self.patience {
            Patience::Statement => STATEMENT_TRIES_MAX,
            Patience::Job => JOB_TRIES_MAX,
        };
        self.failed += 1;
        if self.failed >= tries {
            return Next::Stop(kind);
        }
        Next::Again(first.saturating_mul(1 << (self.failed - 1).min(16)).min(PAUSE_MAX), kind)
    }
}

/// A lost connection is made anew at once; ten of these are 51 s at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// S3 asks for fewer requests, not for the same a moment later.
const SLOW_DOWN_PAUSE: Duration = Duration::from_secs(1);
/// Nobody waits longer between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(20);
/// A service that says more is asked again all the same: it may have said it to everybody.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// Between two questions for credentials that were refused: the broker asks the cloud by a plan of its own, and answers at once.
const CREDENTIALS_PAUSE: Duration = Duration::from_millis(250);
/// At most 0.1 + 0.2 + 0.4 + 0.8 s of pauses, or 15 s where the service is busy.
const STATEMENT_TRIES_MAX: u32 = 5;
/// More than `cloudstorage.timeout` lets happen in its ten minutes.
const JOB_TRIES_MAX: u32 = 60;

#[cfg(test)]
mod tests;
