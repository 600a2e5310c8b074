//! The change history, behind the gate: who reads changes of tables needs a permit, as for their rows.

use std::sync::{Arc, Mutex, PoisonError};

use grantd_catalog::id::{Timestamp, Version};
use grantd_catalog::refusal::{Refusal, SqlState, state};
use grantd_catalog::view::View;
use grantd_raft::handle::Unavailable;
use grantd_raft::rows::{Past, PastError};

use super::{Gate, INTERNAL, Permit, ReadOutcome, no_answer, still_allowed, unavailable};

/// A read of the change history, told the version of its snapshot.
pub type PastRead = Box<dyn FnOnce(Version, &Past<'_>) + Send>;

/// What PostgreSQL says of what is too old to be read.
const SNAPSHOT_TOO_OLD: SqlState = SqlState::new("72000");
/// How often time and catalog are asked for until they are of one version. They are unless something is applied in the few
/// microseconds between.
const MOMENT_ATTEMPTS_MAX: u32 = 50;

impl Gate {
    /// Reads the change history as this node has applied it. The permit is for every table that `read` asks about. As for
    /// rows it is decided again where they are newer than the permit.
    pub async fn past<T: Send + 'static>(
        &self,
        permit: Permit,
        read: impl FnOnce(&Past<'_>) -> Result<T, PastError> + Send + 'static,
    ) -> Result<ReadOutcome<T>, Refusal> {
        let answer = Arc::new(Mutex::new(None));
        let (slot, replica) = (Arc::clone(&answer), Arc::clone(&self.replica));
        let guarded = move |version: Version, past: &Past<'_>| {
            let outcome = match still_allowed(&permit, version, &replica) {
                Ok(true) => read(past).map(ReadOutcome::Done).map_err(refused),
                Ok(false) => Ok(ReadOutcome::Behind(version.max(permit.version))),
                Err(refusal) => Err(refusal),
            };
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        };
        self.replica.past(Box::new(guarded)).await.map_err(unavailable)?;
        let outcome = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        outcome.unwrap_or_else(|| Err(no_answer()))
    }

    /// The catalog of one version, as fresh as all that was acknowledged before the call, and the time up to which that version
    /// knows all. Nothing of rows.
    pub async fn moment(&self) -> Result<(Arc<View>, Timestamp), Refusal> {
        self.view().await?;
        for _ in 0..MOMENT_ATTEMPTS_MAX {
            let told = Arc::new(Mutex::new(None));
            let slot = Arc::clone(&told);
            let read: PastRead = Box::new(move |version, past| {
                *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some((version, past.resolved()));
            });
            self.replica.past(read).await.map_err(unavailable)?;
            let told = told.lock().unwrap_or_else(PoisonError::into_inner).take();
            let (version, time) = told.ok_or_else(no_answer)?;
            let view = self.at_least(version).await?;
            if view.version() == version {
                return Ok((view, time));
            }
        }
        Err(unavailable(Unavailable::Busy))
    }
}

/// What a client is told when the history does not tell.
fn refused(error: PastError) -> Refusal {
    match error {
        PastError::Collected { asked, floor, .. } => Refusal::new(
            SNAPSHOT_TOO_OLD,
            format!("batch timestamp {} must be after replica GC threshold {}", clock(asked), clock(floor)),
        )
        .with_hint("Changes are kept for as long as kv.history.gc.ttlseconds and kv.history.max_bytes say."),
        PastError::Future { asked, .. } => Refusal::new(
            state::INVALID_PARAMETER_VALUE,
            format!("cannot specify timestamp in the future ({})", clock(asked)),
        ),
        PastError::NoTable(id) => {
            Refusal::new(state::UNDEFINED_TABLE, format!("relation with ID {id} did not exist at that time"))
        }
        PastError::TooMuch => {
            Refusal::new(state::PROGRAM_LIMIT_EXCEEDED, error.to_string()).with_hint("Ask for a later time.")
        }
        PastError::Rows(error) => Refusal::new(INTERNAL, error.to_string()),
    }
}

/// A time as CockroachDB's texts have it: seconds, nanoseconds, logical.
fn clock(time: Timestamp) -> String {
    let (seconds, nanos) = (time.nanos / 1_000_000_000, time.nanos % 1_000_000_000);
    format!("{seconds}.{nanos:09},{}", time.logical)
}

#[cfg(test)]
mod tests {
    use grantd_catalog::id::ObjectId;

    use super::*;

    #[test]
    fn what_was_collected_is_refused_in_the_originals_words() {
        let time = |nanos| Timestamp { nanos, logical: 3 };
        let (asked, floor) = (time(1_669_000_000_000_000_005), time(1_669_000_001_000_000_000));
        let refusal = refused(PastError::Collected { table: ObjectId(104), asked, floor });
        assert_eq!(
            (refusal.code.as_str(), refusal.message.as_str()),
            (
                "72000",
                "batch timestamp 1669000000.000000005,3 must be after replica GC threshold 1669000001.000000000,3"
            )
        );
    }
}
