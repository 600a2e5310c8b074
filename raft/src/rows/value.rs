//! Values and errors, as they come from SQLite and go to it.

use rusqlite::ffi;
use rusqlite::types::ValueRef;

use crate::rows::{RowsError, Value};

impl Value {
    /// SQLite stores NULL for NaN and says nothing.
    pub(super) fn refuse_nan(&self) -> Result<(), RowsError> {
        match self {
            Self::Real(real) if real.is_nan() => {
                Err(RowsError { code: ffi::SQLITE_MISMATCH, message: "NaN cannot be stored".to_owned() })
            }
            Self::Null | Self::Integer(_) | Self::Real(_) | Self::Text(_) | Self::Blob(_) => Ok(()),
        }
    }

    /// What it takes in memory.
    pub(super) fn memory(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Null | Self::Integer(_) | Self::Real(_) => 0,
                Self::Text(text) => text.len(),
                Self::Blob(blob) => blob.len(),
            }
    }

    /// What it takes, roughly.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Null | Self::Integer(_) | Self::Real(_) => 8,
            Self::Text(text) => 8 + text.len(),
            Self::Blob(blob) => 8 + blob.len(),
        }
    }
}

impl rusqlite::ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<rusqlite::types::ToSqlOutput<'_>> {
        Ok(rusqlite::types::ToSqlOutput::Borrowed(self.into()))
    }
}

impl<'v> From<&'v Value> for ValueRef<'v> {
    fn from(value: &'v Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(integer) => Self::Integer(*integer),
            Value::Real(real) => Self::Real(*real),
            Value::Text(text) => Self::Text(text.as_bytes()),
            Value::Blob(blob) => Self::Blob(blob),
        }
    }
}

impl TryFrom<ValueRef<'_>> for Value {
    type Error = RowsError;

    fn try_from(value: ValueRef<'_>) -> Result<Self, RowsError> {
        Ok(match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(integer) => Self::Integer(integer),
            ValueRef::Real(real) => Self::Real(real),
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => Self::Text(text.to_owned()),
                Err(_) => {
                    let message = "a text is not valid UTF-8".to_owned();
                    return Err(RowsError { code: ffi::SQLITE_MISMATCH, message });
                }
            },
            ValueRef::Blob(blob) => Self::Blob(blob.to_vec()),
        })
    }
}

impl From<Value> for rusqlite::types::Value {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(integer) => Self::Integer(integer),
            Value::Real(real) => Self::Real(real),
            Value::Text(text) => Self::Text(text),
            Value::Blob(blob) => Self::Blob(blob),
        }
    }
}

impl From<rusqlite::Error> for RowsError {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::SqliteFailure(failure, message) => {
                Self { code: failure.extended_code, message: message.unwrap_or_else(|| failure.to_string()) }
            }
            rusqlite::Error::SqlInputError { error, msg, .. } => {
                Self { code: error.extended_code, message: msg }
            }
            other => Self { code: ffi::SQLITE_MISUSE, message: other.to_string() },
        }
    }
}
