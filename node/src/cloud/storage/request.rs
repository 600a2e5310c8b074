//! One request with all its tries: does what `retry` decides, and says in the end what was wrong.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{Notes, noted};
use super::error::{Kind, Operation, Provider, StorageError};
use super::remote::Client;
use super::retry::{Next, Retries};
use super::{Remote, Storage, TRY_TIMEOUT, filtered};
use crate::cloud::broker::Reject;

/// A request that failed for good.
pub(super) struct Failed {
    pub error: StorageError,
    /// The answer to one of the tries was lost: it may have been done.
    pub uncertain: bool,
}

impl Storage {
    /// Has `work` done, each time with the client and the lease of the moment.
    pub(super) async fn request<T, F>(
        &self,
        remote: &Remote,
        operation: Operation,
        path: &str,
        work: impl Fn(Arc<dyn Client>) -> F,
    ) -> Result<T, Failed>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let (node, provider) = (&self.0.node, self.0.provider);
        let deadline = Instant::now() + (node.settings)().timeout;
        let mut retries = Retries::new(self.0.patience);
        let mut uncertain = false;
        loop {
            let at = remote.at();
            let began = Instant::now();
            let (outcome, mut notes) =
                noted(tokio::time::timeout(TRY_TIMEOUT, work(at.client.clone()))).await;
            let succeeded = matches!(outcome, Ok(Ok(_)));
            node.meter.tried(provider, operation, succeeded, began.elapsed());
            let said = match outcome {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) => error.to_string(),
                Err(_) => {
                    notes.answer = None;
                    format!("no answer within {} s", TRY_TIMEOUT.as_secs())
                }
            };
            uncertain |= is_uncertain(&notes);
            let over = notes
                .lease
                .as_ref()
                .is_some_and(|lease| lease.deadline.is_some_and(|end| end <= node.broker.now()));
            let region = at.guessed.then_some(&*at.region);
            let next = retries.next(&notes, operation, region, over);
            let (pause, kind) = match next {
                Next::Again(at_most, kind) => (share(at_most), kind),
                Next::After(pause, kind) => (pause, kind),
                Next::Reissue => {
                    reject(remote, &notes, Reject::Dead);
                    (Duration::ZERO, Kind::Rejected)
                }
                Next::Move(to) => match remote.move_to(to) {
                    Ok(()) => (Duration::ZERO, Kind::Refused),
                    Err(error) => {
                        let error = self.error(Kind::Refused, operation, path, filtered(&error.to_string()));
                        return Err(Failed { error, uncertain });
                    }
                },
                Next::Stop(kind) => {
                    if kind == Kind::Denied {
                        reject(remote, &notes, Reject::AccessDenied);
                    }
                    let error = self.describe(remote, kind, operation, path, &notes, &said);
                    return Err(Failed { error, uncertain });
                }
            };
            if Instant::now() + pause >= deadline {
                let mut error = self.describe(remote, kind, operation, path, &notes, &said);
                error
                    .cause
                    .push_str(&format!(", {} tries within cloudstorage.timeout", retries.failed() + 1));
                return Err(Failed { error, uncertain });
            }
            node.meter.retried(provider, operation);
            tracing::debug!(
                operation = operation.as_str(),
                ?kind,
                pause_ms = pause.as_millis(),
                "storage tries again"
            );
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    }

    /// What was wrong, as an operator wants to read it.
    fn describe(
        &self,
        remote: &Remote,
        kind: Kind,
        operation: Operation,
        path: &str,
        notes: &Notes,
        said: &str,
    ) -> StorageError {
        let (cause, hint) = match kind {
            Kind::NoCredentials => {
                let cause = notes.no_lease.as_ref().map(ToString::to_string).unwrap_or_default();
                (
                    cause,
                    Some(
                        "SHOW CREDENTIALS lists the chains of each node, and what is wrong with them"
                            .to_owned(),
                    ),
                )
            }
            Kind::Denied => {
                let action = action(self.0.provider, operation);
                (answered(notes, said), Some(format!("allow {action} there to {}", remote.who)))
            }
            Kind::ClockSkew => {
                let ahead = notes.answer.as_ref().and_then(|answer| answer.ahead_seconds).unwrap_or(0);
                let side = if ahead >= 0 { "behind" } else { "before" };
                let cause =
                    format!("the clock of this node is {} s {side} that of the cloud", ahead.unsigned_abs());
                (cause, Some("set the clock of this node, as with NTP".to_owned()))
            }
            Kind::Refused => {
                let region = notes.answer.as_ref().and_then(|answer| answer.region.as_ref());
                let wrong =
                    notes.answer.as_ref().is_some_and(|answer| matches!(answer.status, 301 | 307 | 400));
                let hint = region
                    .filter(|_| wrong)
                    .map(|region| format!("the bucket says that it is in {region}: see AWS_REGION"));
                (answered(notes, said), hint)
            }
            Kind::NotFound if !is_bucket(notes) => (String::new(), None),
            Kind::AlreadyExists => ("there is an object of that name".to_owned(), None),
            Kind::Changed => {
                ("it was replaced while it was read".to_owned(), Some("read it again".to_owned()))
            }
            Kind::Rejected => {
                let hint = "the place takes no credentials of this chain: it may not know the account's sessions yet";
                (answered(notes, said), Some(hint.to_owned()))
            }
            Kind::NotFound
            | Kind::Unavailable
            | Kind::SlowDown
            | Kind::Invalid
            | Kind::TooLarge
            | Kind::Disabled
            | Kind::Unsupported => (answered(notes, said), None),
        };
        StorageError { hint, ..self.error(kind, operation, path, cause) }
    }
}

fn reject(remote: &Remote, notes: &Notes, reject: Reject) {
    if let Some(lease) = &notes.lease {
        remote.credentials.rejected(lease.generation, reject);
    }
}

/// Whether a try that failed may have been done all the same.
fn is_uncertain(notes: &Notes) -> bool {
    match (&notes.no_lease, &notes.answer) {
        (Some(_), _) => false,
        (None, None) => true,
        (None, Some(answer)) => answer.status >= 500 || answer.status < 300,
    }
}

/// Whether it is the bucket that is not there.
fn is_bucket(notes: &Notes) -> bool {
    notes.answer.as_ref().is_some_and(|answer| answer.code == "NoSuchBucket")
}

/// Code and text of the cloud; else what broke; else what `object_store` made of it.
fn answered(notes: &Notes, said: &str) -> String {
    let text = match (&notes.answer, &notes.network) {
        (Some(answer), _) if !answer.code.is_empty() => match answer.message.as_str() {
            "" => format!("{} ({})", answer.code, answer.status),
            message => format!("{} ({}): {message}", answer.code, answer.status),
        },
        (Some(answer), _) if answer.status >= 300 => format!("status {}", answer.status),
        (_, Some(network)) => network.clone(),
        (_, None) => said.to_owned(),
    };
    filtered(&text)
}

/// What has to be allowed for it.
fn action(provider: Provider, operation: Operation) -> &'static str {
    match (provider, operation) {
        (Provider::S3, Operation::Get | Operation::Head) => "s3:GetObject",
        (Provider::S3, Operation::List | Operation::Open) => "s3:ListBucket",
        (Provider::S3, Operation::Delete) => "s3:DeleteObject",
        (Provider::S3, Operation::Abort) => "s3:AbortMultipartUpload",
        (Provider::S3, _) => "s3:PutObject",
        (_, Operation::Get | Operation::Head) => "storage.objects.get",
        (_, Operation::List | Operation::Open) => "storage.objects.list",
        (_, Operation::Delete) => "storage.objects.delete",
        (_, Operation::Abort) => "storage.multipartUploads.abort",
        (_, _) => "storage.objects.create",
    }
}

/// Somewhere between nothing and all of it, so that those who failed together do not come back together.
fn share(of: Duration) -> Duration {
    let mut dice = [0; 4];
    // Without random bytes everybody waits the whole.
    if getrandom::fill(&mut dice).is_err() {
        return of;
    }
    of.mul_f64(f64::from(u32::from_le_bytes(dice)) / f64::from(u32::MAX))
}
