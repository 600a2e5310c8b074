//! Every "no" that the catalog says: SQLSTATE and text, as CockroachDB v22.2.14 says it.
//!
//! A refusal is an answer, not an error: it is the outcome of a command, the same on every node, and it travels in
//! the log's responses. Each text stands once, in the constructor that is named for the case; tests compare whole texts.

use bincode::{Decode, Encode};

mod feeds;
mod jobs;
mod objects;
mod principals;
mod schedules;
mod shapes;
mod shelf;
mod texts;

pub use feeds::*;
pub use jobs::*;
pub use objects::*;
pub use principals::*;
pub use schedules::*;
pub use shapes::*;
pub use shelf::*;
pub use texts::*;

/// A five-character SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct SqlState([u8; 5]);

impl SqlState {
    /// A state from its five ASCII characters. Panics, at compile time where it is a constant, on anything else.
    pub const fn new(code: &str) -> Self {
        let bytes = code.as_bytes();
        assert!(bytes.len() == 5, "an SQLSTATE has five characters");
        let state = [bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]];
        let mut i = 0;
        while i < state.len() {
            assert!(state[i].is_ascii_alphanumeric(), "an SQLSTATE is letters and digits");
            i += 1;
        }
        Self(state)
    }

    /// The five characters.
    pub fn as_str(&self) -> &str {
        // Only letters and digits get in through `new`; bytes that were decoded may be anything.
        std::str::from_utf8(&self.0).unwrap_or("XX000")
    }
}

/// The states that the catalog uses. Source: authorization spec, section L.
#[allow(missing_docs, reason = "PostgreSQL's condition names")]
pub mod state {
    use super::SqlState;

    pub const SUCCESSFUL_COMPLETION: SqlState = SqlState::new("00000");
    pub const NO_GRANT_OPTION_TO_REVOKE: SqlState = SqlState::new("01006");
    pub const NO_GRANT_OPTION: SqlState = SqlState::new("01007");
    pub const INVALID_GRANT_OPERATION: SqlState = SqlState::new("0LP01");
    pub const FEATURE_NOT_SUPPORTED: SqlState = SqlState::new("0A000");
    pub const DATA_EXCEPTION: SqlState = SqlState::new("22000");
    pub const INVALID_PARAMETER_VALUE: SqlState = SqlState::new("22023");
    pub const NOT_NULL_VIOLATION: SqlState = SqlState::new("23502");
    pub const FOREIGN_KEY_VIOLATION: SqlState = SqlState::new("23503");
    pub const UNIQUE_VIOLATION: SqlState = SqlState::new("23505");
    pub const CHECK_VIOLATION: SqlState = SqlState::new("23514");
    pub const INVALID_AUTHORIZATION: SqlState = SqlState::new("28000");
    pub const INVALID_PASSWORD: SqlState = SqlState::new("28P01");
    pub const DEPENDENT_OBJECTS: SqlState = SqlState::new("2BP01");
    pub const UNDEFINED_DATABASE: SqlState = SqlState::new("3D000");
    pub const UNDEFINED_SCHEMA: SqlState = SqlState::new("3F000");
    pub const SERIALIZATION_FAILURE: SqlState = SqlState::new("40001");
    pub const INSUFFICIENT_PRIVILEGE: SqlState = SqlState::new("42501");
    pub const SYNTAX_ERROR: SqlState = SqlState::new("42601");
    pub const INVALID_NAME: SqlState = SqlState::new("42602");
    pub const UNDEFINED_OBJECT: SqlState = SqlState::new("42704");
    pub const DUPLICATE_FUNCTION: SqlState = SqlState::new("42723");
    pub const AMBIGUOUS_FUNCTION: SqlState = SqlState::new("42725");
    pub const UNDEFINED_FUNCTION: SqlState = SqlState::new("42883");
    pub const DUPLICATE_OBJECT: SqlState = SqlState::new("42710");
    pub const WRONG_OBJECT_TYPE: SqlState = SqlState::new("42809");
    pub const DATATYPE_MISMATCH: SqlState = SqlState::new("42804");
    pub const INVALID_FOREIGN_KEY: SqlState = SqlState::new("42830");
    pub const RESERVED_NAME: SqlState = SqlState::new("42939");
    pub const UNDEFINED_TABLE: SqlState = SqlState::new("42P01");
    pub const DUPLICATE_COLUMN: SqlState = SqlState::new("42701");
    pub const UNDEFINED_COLUMN: SqlState = SqlState::new("42703");
    pub const AMBIGUOUS_PARAMETER: SqlState = SqlState::new("42P08");
    pub const INVALID_COLUMN_REFERENCE: SqlState = SqlState::new("42P10");
    pub const INVALID_FUNCTION_DEFINITION: SqlState = SqlState::new("42P13");
    pub const INVALID_TABLE_DEFINITION: SqlState = SqlState::new("42P16");
    pub const INVALID_OBJECT_DEFINITION: SqlState = SqlState::new("42P17");
    pub const DUPLICATE_DATABASE: SqlState = SqlState::new("42P04");
    pub const DUPLICATE_SCHEMA: SqlState = SqlState::new("42P06");
    pub const DUPLICATE_RELATION: SqlState = SqlState::new("42P07");
    pub const PROGRAM_LIMIT_EXCEEDED: SqlState = SqlState::new("54000");
    pub const TOO_MANY_COLUMNS: SqlState = SqlState::new("54011");
    pub const NOT_IN_PREREQUISITE_STATE: SqlState = SqlState::new("55000");
    pub const OBJECT_IN_USE: SqlState = SqlState::new("55006");
}

/// Why something was refused, in the words that the client sees.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Refusal {
    /// Its class.
    pub code: SqlState,
    /// The primary message: lower case, no full stop.
    pub message: String,
    /// More facts, in sentences.
    pub detail: Option<String>,
    /// The way out, in sentences.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal without detail and hint. For the constructors of this module and for those of `node::sql`.
    pub fn new(code: SqlState, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The same with a detail.
    #[must_use]
    pub fn with_detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }
}
