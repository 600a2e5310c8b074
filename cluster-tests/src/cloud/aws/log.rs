//! What came in.

use std::collections::VecDeque;
use std::time::SystemTime;

use crate::cloud::fault::Service;

/// The most requests that are remembered; older ones are forgotten. A minute of a busy test is a tenth.
pub const RECORDS_MAX: usize = 100_000;

/// One request.
#[derive(Clone, Debug)]
pub struct Record {
    /// When it began, by the clock of the cloud.
    pub at: SystemTime,
    /// To whom.
    pub service: Service,
    /// As `AssumeRole`, `UploadPart`.
    pub operation: String,
    /// Who asked, by ARN. None: that was not found out.
    pub who: Option<String>,
    /// With which key.
    pub access_key_id: Option<String>,
    /// Which role, or which object.
    pub resource: String,
    /// How the session is to be called.
    pub session_name: Option<String>,
    /// The source identity that was said, or that the caller's session has.
    pub source_identity: Option<String>,
    /// SHA-256 of the external id that was said, in hex.
    pub external_id_sha256: Option<String>,
    /// The session policy that was said.
    pub session_policy: Option<String>,
    /// For how many seconds the session was asked for.
    pub duration_seconds: Option<u64>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is not answered yet.
    Open,
    /// It was done, with this status.
    Done(u16),
    /// It was refused, with this status and code. The code of an answer to HEAD goes nowhere, but is here.
    Refused(u16, String),
    /// The connection was cut.
    Cut,
}

impl Record {
    /// A request of which little is known yet.
    pub(super) fn new(at: SystemTime, service: Service, operation: &str, resource: &str) -> Self {
        Self {
            at,
            service,
            operation: operation.to_owned(),
            who: None,
            access_key_id: None,
            resource: resource.to_owned(),
            session_name: None,
            source_identity: None,
            external_id_sha256: None,
            session_policy: None,
            duration_seconds: None,
            outcome: Outcome::Open,
        }
    }

    /// Whether it was done.
    pub fn is_done(&self) -> bool {
        matches!(self.outcome, Outcome::Done(_))
    }

    /// The code that it was refused with.
    pub fn code(&self) -> Option<&str> {
        match &self.outcome {
            Outcome::Refused(_, code) => Some(code),
            Outcome::Open | Outcome::Done(_) | Outcome::Cut => None,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Log(VecDeque<Record>);

impl Log {
    pub(super) fn push(&mut self, record: Record) {
        if self.0.len() == RECORDS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(record);
    }

    pub(super) fn all(&self) -> Vec<Record> {
        self.0.iter().cloned().collect()
    }

    pub(super) fn count(&self, operation: &str) -> usize {
        self.0.iter().filter(|record| record.operation == operation).count()
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
