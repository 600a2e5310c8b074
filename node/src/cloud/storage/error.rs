//! Why storage did not do what was asked: what, where, the cause in words, the way out. No secret: places are bucket and path,
//! causes are codes and messages that went through the filter.

use std::fmt;

use grantd_catalog::refusal::{Refusal, SqlState, state};

/// What is done with a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Making the client.
    Open,
    /// An object in one piece.
    Put,
    /// The same, if there is none of that name.
    PutAbsent,
    /// Reading.
    Get,
    /// Size and date of an object.
    Head,
    /// One page of names.
    List,
    /// Taking away.
    Delete,
    /// Beginning an object of several parts.
    Begin,
    /// One part.
    Part,
    /// Making an object of its parts.
    Complete,
    /// Forgetting the parts.
    Abort,
}

/// Which kind of place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Provider {
    /// S3, or what speaks like it.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// A directory of this node.
    Nodelocal,
    /// None that is served.
    Other,
}

/// Kinds of failures, by what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// There is no such object.
    NotFound,
    /// There is one, and there was to be none.
    AlreadyExists,
    /// The object was replaced while it was read.
    Changed,
    /// The place said no: the role may not do that.
    Denied,
    /// There were no credentials.
    NoCredentials,
    /// Credentials that should be good were not taken, and neither were newer ones.
    Rejected,
    /// The clocks of this node and of the cloud differ too much.
    ClockSkew,
    /// Nobody was reached, or the service was in trouble, for as long as it was tried.
    Unavailable,
    /// Too many requests, for as long as it was tried.
    SlowDown,
    /// The place does not take such a request, or what came back makes no sense.
    Refused,
    /// What was asked for cannot be: a name, a range.
    Invalid,
    /// More than a bound.
    TooLarge,
    /// Not allowed by this node's configuration.
    Disabled,
    /// Not served.
    Unsupported,
}

/// A failed operation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct StorageError {
    /// What kind.
    pub kind: Kind,
    /// In what.
    pub operation: Operation,
    /// Of what provider.
    pub provider: Provider,
    /// Where, as `s3://bucket/path`: no parameters.
    pub place: String,
    /// In words.
    pub cause: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl StorageError {
    /// Its SQLSTATE.
    pub fn code(&self) -> SqlState {
        match self.kind {
            Kind::NotFound => UNDEFINED_FILE,
            Kind::AlreadyExists => DUPLICATE_FILE,
            Kind::Changed => state::OBJECT_IN_USE,
            Kind::Denied | Kind::Disabled => state::INSUFFICIENT_PRIVILEGE,
            Kind::NoCredentials | Kind::Rejected => state::INVALID_AUTHORIZATION,
            Kind::ClockSkew | Kind::Refused => IO_ERROR,
            Kind::Unavailable | Kind::SlowDown => CONNECTION_FAILURE,
            Kind::Invalid => state::INVALID_PARAMETER_VALUE,
            Kind::TooLarge => state::PROGRAM_LIMIT_EXCEEDED,
            Kind::Unsupported => state::FEATURE_NOT_SUPPORTED,
        }
    }

    /// Whether somebody said no: another way in may help, and waiting does not.
    pub fn is_denied(&self) -> bool {
        matches!(self.kind, Kind::Denied | Kind::NoCredentials | Kind::Rejected)
    }

    /// As a client reads it.
    pub fn refusal(&self) -> Refusal {
        let refusal = Refusal::new(self.code(), self.to_string());
        match &self.hint {
            Some(hint) => refusal.with_hint(hint.clone()),
            None => refusal,
        }
    }

    /// CockroachDB's words for it, where it has some. Source: cloud-jobs specification, A.1, A.3.
    fn opening(&self) -> &'static str {
        if self.kind == Kind::NotFound && self.operation != Operation::List {
            return match self.provider {
                Provider::S3 => "s3 object does not exist",
                Provider::Gs => "gcs object does not exist",
                Provider::Nodelocal | Provider::Other => "nodelocal storage file does not exist",
            };
        }
        match (self.provider, self.operation) {
            (Provider::S3, Operation::Open) => "new aws session",
            (Provider::S3, Operation::Get) => "failed to get s3 object",
            (Provider::S3, Operation::Head) => "failed to get s3 object headers",
            (Provider::S3, Operation::List) => "failed to list s3 bucket",
            (Provider::Gs, Operation::Open) => "failed to create google cloud client",
            (Provider::Gs, Operation::List) => "unable to list files in gcs bucket",
            (Provider::Nodelocal, Operation::Open) => "nodelocal cannot be used",
            (Provider::Other, Operation::Open) => "cannot be used as storage",
            (Provider::Nodelocal | Provider::Other, Operation::List) => "failed to list nodelocal files",
            (Provider::Gs | Provider::Nodelocal | Provider::Other, Operation::Get) => "failed to read",
            (Provider::Gs | Provider::Nodelocal | Provider::Other, Operation::Head) => "failed to look up",
            (_, Operation::Delete) => "failed to delete",
            (
                _,
                Operation::Put
                | Operation::PutAbsent
                | Operation::Begin
                | Operation::Part
                | Operation::Complete
                | Operation::Abort,
            ) => "upload failed",
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.opening(), self.place)?;
        if self.cause.is_empty() { Ok(()) } else { write!(f, ": {}", self.cause) }
    }
}

impl Operation {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Put => "put",
            Self::PutAbsent => "put_absent",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Begin => "begin",
            Self::Part => "part",
            Self::Complete => "complete",
            Self::Abort => "abort",
        }
    }
}

impl Provider {
    /// Its name in metrics and settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Nodelocal => "nodelocal",
            Self::Other => "other",
        }
    }
}

/// PostgreSQL's name for it.
const UNDEFINED_FILE: SqlState = SqlState::new("58P01");
/// PostgreSQL's name for it.
const DUPLICATE_FILE: SqlState = SqlState::new("58P02");
/// PostgreSQL's name for it.
const IO_ERROR: SqlState = SqlState::new("58030");
/// PostgreSQL's name for it.
const CONNECTION_FAILURE: SqlState = SqlState::new("08006");
