//! The job that writes a backup: opens the place as this node, writes what is not written yet, and says how far it is.
//!
//! It acts as its owner, who is asked again for each page of rows. Who may use the place was asked when the job was made; of an
//! external connection it is asked again, so that who loses USAGE stops at the next step. Trouble with credentials never fails it:
//! it waits, and is paused after the cluster's grace. What it has written when it is cancelled stays: a folder without a manifest
//! is no backup, and no role needs to be allowed to delete.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use grantd_catalog::id::ObjectId;
use grantd_catalog::job::{self as catalog, FRACTION_PPM_MAX};
use grantd_catalog::refusal::{Refusal, state};
use grantd_catalog::view::View;

use super::details::Details;
use super::write::{CHECKPOINT_EVERY, Order, write};
use super::{BackupError, Collection, Job, Progress};
use crate::cloud::outside::{NotOpened, Outside, Use};
use crate::cloud::storage::{Kind, Patience, StorageError};
use crate::error::state::{CANNOT_CONNECT_NOW, INTERNAL, QUERY_CANCELED};
use crate::gate::Permit;
use crate::jobs::{Advance, Running, Stopped, Work};

/// The work of BACKUP.
pub struct Writing {
    outside: Outside,
}

impl Writing {
    /// By what this node reaches.
    pub fn new(outside: Outside) -> Self {
        Self { outside }
    }

    async fn write(
        &self,
        running: &Running,
        details: &Details,
        steps: &Steps<'_>,
    ) -> Result<(), BackupError> {
        // What nobody may do any more is not begun.
        drop(steps.permit(&[]).await?);
        let (view, time) = running.gate().moment().await?;
        let collection = self.collection(&view, running, details).await?;
        let order = Order {
            full: details.full.clone(),
            incremental: details.incremental,
            end: details.end.0,
            catalog_time: time,
            view,
            targets: details.targets.clone(),
            revision_history: details.revision_history,
            cluster: cluster_of(running),
            job: running.id().to_string(),
            file_bytes: None,
            checkpoint_every: CHECKPOINT_EVERY,
        };
        write(&collection, &order, &details.keys()?, running.gate(), steps).await.map(drop)
    }

    async fn collection(
        &self,
        view: &View,
        running: &Running,
        details: &Details,
    ) -> Result<Collection, BackupError> {
        let user = view.state().principal_name(running.job().owner).to_string();
        let task = format!("job{}", running.id());
        let of = Use { task: &task, user: &user, write: true, patience: Patience::Job };
        let fulls = self.outside.open(view, &details.collection, of).await?;
        let incrementals = match &details.incremental_location {
            Some(elsewhere) => Some(self.outside.open(view, elsewhere, of).await?),
            None => None,
        };
        Ok(Collection::new(fulls, incrementals))
    }
}

#[async_trait]
impl Work for Writing {
    async fn run(&self, running: &Running) -> Result<(), Stopped> {
        // Another release may have made it: somebody has to look.
        let details = Details::decode(&running.job().asked.details);
        let details = details.map_err(|refusal| Stopped::Paused(refusal.message))?;
        let steps = Steps { running, noted: Mutex::default() };
        let written = Box::pin(self.write(running, &details, &steps)).await;
        let spent = Stopped::Failed;
        written.map_err(|error| {
            steps.stopped().unwrap_or_else(|| stopped(&error, running.job().retries, spent))
        })?;
        // Up to here the schedule that asked for it has everything: what it keeps of the history begins here.
        running.report(Advance { high_water: Some(details.end.0), ..Advance::default() }).await
    }

    async fn revert(&self, _running: &Running) -> Result<(), Stopped> {
        Ok(())
    }

    fn lacks(&self, view: &View, job: &catalog::Job) -> Option<String> {
        let details = Details::decode(&job.asked.details).ok()?;
        let places: Vec<_> = [Some(&*details.collection), details.incremental_location.as_deref()]
            .into_iter()
            .flatten()
            .collect();
        self.outside.lacks_storage(view, &places)
    }
}

/// The cluster's identity, as manifests have it.
fn cluster_of(running: &Running) -> String {
    running.gate().status().and_then(|status| status.cluster_id).unwrap_or_default()
}

/// What the writer asks of the job at each step.
struct Steps<'r> {
    running: &'r Running,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    /// Why it stopped, if it was not the place.
    stopped: Option<Stopped>,
    /// When it was last said how far it is, and how many files there were when this run began.
    told: Option<(Instant, u64)>,
}

impl Steps<'_> {
    fn stop(&self, why: Stopped) -> Refusal {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).stopped = Some(why);
        Refusal::new(QUERY_CANCELED, "the job was stopped")
    }

    fn stopped(&self) -> Option<Stopped> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner).stopped.take()
    }

    /// How many files there were when this run began, if it is time to say how far it is.
    fn due(&self, files: u64) -> Option<u64> {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.told.is_some_and(|(at, _)| at.elapsed() < TELL_EVERY) {
            return None;
        }
        let first = noted.told.map_or(files, |(_, first)| first);
        noted.told = Some((Instant::now(), first));
        Some(first)
    }
}

#[async_trait]
impl Job for Steps<'_> {
    /// Of what the job was made for: that names the tables, or what they are in.
    async fn permit(&self, _tables: &[ObjectId]) -> Result<Permit, Refusal> {
        let permitted = self.running.permit(&self.running.job().asked.requirement).await;
        permitted.map(|(_, permit)| permit).map_err(|why| self.stop(why))
    }

    async fn step(&self, progress: &Progress) -> Result<(), Refusal> {
        if self.running.is_stopped() {
            return Err(self.stop(Stopped::Asked));
        }
        let Some(first) = self.due(progress.files) else { return Ok(()) };
        let advance = Advance {
            // What has written nothing did not come forward, and its tries are counted on.
            fraction_ppm: (progress.files > first).then_some(part(progress)),
            running_status: Some(status(progress)),
            ..Advance::default()
        };
        self.running.report(advance).await.map_err(|why| self.stop(why))
    }
}

/// How much of it is done, in millionths: not all before the manifest is there.
fn part(progress: &Progress) -> u32 {
    let (done, all) = progress.done();
    let part = done.saturating_mul(FRACTION_PPM_MAX.into()).checked_div(all).unwrap_or_default();
    u32::try_from(part).unwrap_or(FRACTION_PPM_MAX).min(FRACTION_PPM_MAX - 1)
}

fn status(progress: &Progress) -> String {
    let Progress { tables, tables_expected, rows, rows_expected, files, file_bytes, .. } = progress;
    let expected = rows_expected.map(|expected| format!(" of about {expected}")).unwrap_or_default();
    format!(
        "{tables} of {tables_expected} tables, {rows}{expected} rows read; {files} files of {file_bytes} bytes written"
    )
}

/// What trouble means for a job that writes or reads a backup. `spent`: and if it was tried often enough.
pub fn stopped(error: &BackupError, retries: u32, spent: fn(String) -> Stopped) -> Stopped {
    let Refusal { code, message, .. } = error.refusal();
    let again = |message: String| match retries < TRIES_MAX {
        true => Stopped::Retry { error: message, after: None },
        false => spent(format!("exhausted retries: {message}")),
    };
    match error {
        BackupError::Storage(StorageError { kind, .. }) => match kind {
            Kind::Denied | Kind::NoCredentials | Kind::Rejected | Kind::ClockSkew => {
                let status = format!("waiting for credentials: {message}");
                Stopped::Credentials { status, after: CREDENTIALS_AGAIN }
            }
            // Another node may reach what this one does not.
            Kind::Unavailable | Kind::SlowDown | Kind::Refused | Kind::Disabled | Kind::Unsupported => {
                again(message)
            }
            Kind::NotFound | Kind::AlreadyExists | Kind::Changed | Kind::Invalid | Kind::TooLarge => {
                Stopped::Failed(message)
            }
        },
        BackupError::Refused(_) => {
            let passing = [
                CANNOT_CONNECT_NOW.as_str(),
                state::SERIALIZATION_FAILURE.as_str(),
                INTERNAL.as_str(),
                // No room now; the outcome is not known.
                "53000",
                "40003",
            ];
            if passing.contains(&code.as_str()) { again(message) } else { Stopped::Failed(message) }
        }
    }
}

impl From<NotOpened> for BackupError {
    fn from(error: NotOpened) -> Self {
        match error {
            NotOpened::Storage(error) => Self::Storage(error),
            NotOpened::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

/// How often it is said how far it is: each time is an entry of the log.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How soon credentials are asked for again. The broker has its own pace towards the cloud.
const CREDENTIALS_AGAIN: Duration = Duration::from_secs(15);
/// How often it is tried without coming forward. With the settings as they are these are hours: the next one of a schedule can go
/// on then.
const TRIES_MAX: u32 = 10;

#[cfg(test)]
mod tests {
    use crate::cloud::storage::{Operation, Provider};

    use super::*;

    #[test]
    fn not_all_is_done_before_the_manifest_is_there() {
        let of = |rows, rows_expected| {
            part(&Progress { tables: 1, tables_expected: 4, rows, rows_expected, ..Progress::default() })
        };
        assert_eq!([of(10, Some(40)), of(30, Some(40))], [250_000, 750_000]);
        // Rows that came since it was counted.
        assert_eq!([of(40, Some(40)), of(60, Some(40))], [FRACTION_PPM_MAX - 1; 2]);
        assert_eq!([of(10, Some(0)), of(10, None)], [250_000; 2], "of tables, where rows were not counted");
    }

    fn storage(kind: Kind) -> BackupError {
        BackupError::Storage(StorageError {
            kind,
            operation: Operation::Put,
            provider: Provider::S3,
            place: "s3://b/x".to_owned(),
            cause: "it said so".to_owned(),
            hint: None,
        })
    }

    #[test]
    fn credentials_wait_however_often_and_other_trouble_ends_at_last() {
        for kind in [Kind::Denied, Kind::NoCredentials, Kind::Rejected, Kind::ClockSkew] {
            let came = stopped(&storage(kind), u32::MAX, Stopped::Failed);
            assert!(matches!(came, Stopped::Credentials { .. }), "{kind:?}: {came:?}");
        }
        assert!(matches!(stopped(&storage(Kind::Unavailable), 0, Stopped::Failed), Stopped::Retry { .. }));
        let Stopped::Failed(text) = stopped(&storage(Kind::Unavailable), TRIES_MAX, Stopped::Failed) else {
            panic!("it goes on for ever")
        };
        assert!(text.starts_with("exhausted retries: "), "{text}");
        assert!(matches!(stopped(&storage(Kind::AlreadyExists), 0, Stopped::Failed), Stopped::Failed(_)));
        let gone = BackupError::Refused(Refusal::new(CANNOT_CONNECT_NOW, "no leader"));
        assert!(matches!(stopped(&gone, 0, Stopped::Failed), Stopped::Retry { .. }));
        let wrong = BackupError::Refused(Refusal::new(state::INVALID_PARAMETER_VALUE, "no"));
        assert_eq!(stopped(&wrong, 0, Stopped::Failed), Stopped::Failed("no".to_owned()));
    }
}
