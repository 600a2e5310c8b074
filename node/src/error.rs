//! What a client sees when a statement fails.

use grantd_catalog::refusal::{Refusal, SqlState};

use crate::activity::Stop;

/// SQLSTATEs that only SQL uses. The catalog's own are in `grantd_catalog::refusal::state`.
#[allow(missing_docs, reason = "PostgreSQL's condition names")]
pub mod state {
    use super::SqlState;

    pub const CARDINALITY_VIOLATION: SqlState = SqlState::new("21000");
    pub const STRING_DATA_RIGHT_TRUNCATION: SqlState = SqlState::new("22001");
    pub const NUMERIC_VALUE_OUT_OF_RANGE: SqlState = SqlState::new("22003");
    pub const INVALID_DATETIME: SqlState = SqlState::new("22007");
    pub const DATETIME_OVERFLOW: SqlState = SqlState::new("22008");
    pub const DIVISION_BY_ZERO: SqlState = SqlState::new("22012");
    pub const CHARACTER_NOT_IN_REPERTOIRE: SqlState = SqlState::new("22021");
    pub const INVALID_ESCAPE_SEQUENCE: SqlState = SqlState::new("22025");
    pub const SEQUENCE_LIMIT_EXCEEDED: SqlState = SqlState::new("2200H");
    pub const INVALID_TEXT_REPRESENTATION: SqlState = SqlState::new("22P02");
    pub const INVALID_LIMIT: SqlState = SqlState::new("2201W");
    pub const NOT_NULL_VIOLATION: SqlState = SqlState::new("23502");
    pub const NO_ACTIVE_SQL_TRANSACTION: SqlState = SqlState::new("25P01");
    pub const INVALID_STATEMENT_NAME: SqlState = SqlState::new("26000");
    pub const INVALID_CURSOR_NAME: SqlState = SqlState::new("34000");
    pub const DUPLICATE_CURSOR: SqlState = SqlState::new("42P03");
    pub const DUPLICATE_PREPARED_STATEMENT: SqlState = SqlState::new("42P05");
    pub const FOREIGN_KEY_VIOLATION: SqlState = SqlState::new("23503");
    pub const GENERATED_ALWAYS: SqlState = SqlState::new("428C9");
    pub const SERIALIZATION_FAILURE: SqlState = SqlState::new("40001");
    pub const UNIQUE_VIOLATION: SqlState = SqlState::new("23505");
    pub const CHECK_VIOLATION: SqlState = SqlState::new("23514");
    pub const DUPLICATE_COLUMN: SqlState = SqlState::new("42701");
    pub const AMBIGUOUS_COLUMN: SqlState = SqlState::new("42702");
    pub const UNDEFINED_COLUMN: SqlState = SqlState::new("42703");
    pub const DUPLICATE_ALIAS: SqlState = SqlState::new("42712");
    pub const WINDOWING_ERROR: SqlState = SqlState::new("42P20");
    pub const GROUPING_ERROR: SqlState = SqlState::new("42803");
    pub const DATATYPE_MISMATCH: SqlState = SqlState::new("42804");
    pub const UNDEFINED_FUNCTION: SqlState = SqlState::new("42883");
    pub const UNDEFINED_PARAMETER: SqlState = SqlState::new("42P02");
    pub const AMBIGUOUS_PARAMETER: SqlState = SqlState::new("42P08");
    pub const INVALID_COLUMN_REFERENCE: SqlState = SqlState::new("42P10");
    pub const INVALID_TABLE_DEFINITION: SqlState = SqlState::new("42P16");
    pub const INVALID_FUNCTION_DEFINITION: SqlState = SqlState::new("42P13");
    pub const OBJECT_NOT_IN_PREREQUISITE_STATE: SqlState = SqlState::new("55000");
    pub const LOCK_NOT_AVAILABLE: SqlState = SqlState::new("55P03");
    pub const OUT_OF_MEMORY: SqlState = SqlState::new("53200");
    pub const QUERY_CANCELED: SqlState = SqlState::new("57014");
    pub const CANNOT_CONNECT_NOW: SqlState = SqlState::new("57P03");
    pub const INTERNAL: SqlState = SqlState::new("XX000");
}

/// An error as PostgreSQL's protocol carries it. Severity is ERROR, or FATAL where the connection ends with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", body.message)]
pub struct SqlError {
    /// Code, message, detail and hint.
    pub body: Refusal,
    /// Where in the statement, counted in characters from 1.
    pub position: Option<u32>,
}

impl SqlError {
    /// An error without detail, hint and position.
    pub fn new(code: SqlState, message: impl Into<String>) -> Self {
        Self { body: Refusal::new(code, message), position: None }
    }

    /// 0A000 with the feature's name: what cannot be done faithfully is never done otherwise.
    pub fn unsupported(feature: impl std::fmt::Display) -> Self {
        Self::new(
            grantd_catalog::refusal::state::FEATURE_NOT_SUPPORTED,
            format!("{feature} is not supported"),
        )
    }

    /// 42601.
    pub fn syntax(message: impl Into<String>) -> Self {
        Self::new(grantd_catalog::refusal::state::SYNTAX_ERROR, message)
    }

    /// 54000.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::new(grantd_catalog::refusal::state::PROGRAM_LIMIT_EXCEEDED, message)
    }

    /// XX000: a bug of ours, never the client's fault.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(state::INTERNAL, message).with_hint("This is a bug in grantd; the node's log says more.")
    }

    /// 42P02: a statement that comes without values has a parameter.
    pub fn no_parameter() -> Self {
        Self::new(state::UNDEFINED_PARAMETER, "there is no parameter $1")
    }

    /// 57014.
    pub fn cancelled() -> Self {
        Self::new(state::QUERY_CANCELED, "query execution canceled")
    }

    /// Of a statement that was stopped for this reason: 57014.
    pub fn stopped(stop: Stop) -> Self {
        let message = match stop {
            Stop::Cancelled => return Self::cancelled(),
            Stop::StatementTimeout => "query execution canceled due to statement timeout",
            Stop::TransactionTimeout => "query execution canceled due to transaction timeout",
        };
        Self::new(state::QUERY_CANCELED, message)
    }

    /// 55P03: the writer was not free in time.
    pub fn lock_timeout() -> Self {
        Self::new(state::LOCK_NOT_AVAILABLE, "canceling statement due to lock timeout")
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { body: self.body.with_hint(hint), ..self }
    }

    /// The same with a detail.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { body: self.body.with_detail(detail), ..self }
    }
}

impl From<Refusal> for SqlError {
    fn from(body: Refusal) -> Self {
        Self { body, position: None }
    }
}
