//! What the server sends, encoded by the `pgwire` crate's messages, but for those that come by the hundred thousand: what
//! answers Bind and Execute is written straight into the buffer. No I/O, no state.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::data::{DataRow, FieldDescription, NoData, ParameterDescription, RowDescription};
use pgwire::messages::extendedquery::{CloseComplete, ParseComplete, PortalSuspended};
use pgwire::messages::response::{
    EmptyQueryResponse, ErrorResponse, NoticeResponse, ReadyForQuery, TransactionStatus,
};
use pgwire::messages::startup::{
    Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey,
};

use grantd_catalog::refusal::{Refusal, SqlState};

use crate::cloud::redact;
use crate::error::SqlError;
use crate::pgwire::datum::{Format, wire_oid, wire_size};
use crate::session::Notice;
use crate::session::block::Status;
use crate::value::{ColumnInfo, SqlType};

/// States that only the protocol uses.
#[allow(missing_docs, reason = "PostgreSQL's condition names")]
pub mod state {
    use super::SqlState;

    pub const PROTOCOL_VIOLATION: SqlState = SqlState::new("08P01");
    pub const CHARACTER_NOT_IN_REPERTOIRE: SqlState = SqlState::new("22021");
    pub const NUMERIC_OUT_OF_RANGE: SqlState = SqlState::new("22003");
    pub const DATETIME_OVERFLOW: SqlState = SqlState::new("22008");
    pub const INVALID_BINARY_REPRESENTATION: SqlState = SqlState::new("22P03");
    pub const INVALID_STATEMENT_NAME: SqlState = SqlState::new("26000");
    pub const INVALID_CURSOR_NAME: SqlState = SqlState::new("34000");
    pub const DUPLICATE_CURSOR: SqlState = SqlState::new("42P03");
    pub const DUPLICATE_STATEMENT: SqlState = SqlState::new("42P05");
    pub const TOO_MANY_CONNECTIONS: SqlState = SqlState::new("53300");
    pub const NOT_IN_PREREQUISITE_STATE: SqlState = SqlState::new("55000");
    pub const ADMIN_SHUTDOWN: SqlState = SqlState::new("57P01");
    pub const CANNOT_CONNECT_NOW: SqlState = SqlState::new("57P03");
    pub const IDLE_SESSION_TIMEOUT: SqlState = SqlState::new("57P05");
    pub const QUERY_CANCELED: SqlState = SqlState::new("57014");
    pub const INTERNAL: SqlState = SqlState::new("XX000");
}

/// Whether an error ends the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The statement failed; the session goes on.
    Error,
    /// The connection is closed after it.
    Fatal,
}

/// Encodes replies at the end of a buffer.
#[derive(Debug, Default)]
pub struct Replies {
    /// What is to be sent.
    pub bytes: BytesMut,
}

impl Replies {
    /// AuthenticationSASL with the mechanisms, best first.
    pub fn sasl(&mut self, mechanisms: &[&str]) {
        let mechanisms = mechanisms.iter().map(|name| (*name).to_owned()).collect();
        self.push(PgWireBackendMessage::Authentication(Authentication::SASL(mechanisms)));
    }

    /// AuthenticationSASLContinue.
    pub fn sasl_continue(&mut self, data: String) {
        self.push(PgWireBackendMessage::Authentication(Authentication::SASLContinue(data.into())));
    }

    /// AuthenticationSASLFinal.
    pub fn sasl_final(&mut self, data: String) {
        self.push(PgWireBackendMessage::Authentication(Authentication::SASLFinal(data.into())));
    }

    /// AuthenticationOk.
    pub fn authenticated(&mut self) {
        self.push(PgWireBackendMessage::Authentication(Authentication::Ok));
    }

    /// NegotiateProtocolVersion: the newest version that is spoken here, and the options that are not known.
    pub fn negotiate(&mut self, version: i32, unknown: Vec<String>) {
        let message = NegotiateProtocolVersion::new(version, unknown);
        self.push(PgWireBackendMessage::NegotiateProtocolVersion(message));
    }

    /// ParameterStatus.
    pub fn parameter(&mut self, name: &str, value: &str) {
        let message = ParameterStatus::new(name.to_owned(), clean(value).into_owned());
        self.push(PgWireBackendMessage::ParameterStatus(message));
    }

    /// BackendKeyData.
    pub fn key(&mut self, process: i32, secret: &[u8]) {
        let secret = SecretKey::Bytes(bytes::Bytes::copy_from_slice(secret));
        self.push(PgWireBackendMessage::BackendKeyData(BackendKeyData::new(process, secret)));
    }

    /// ReadyForQuery.
    pub fn ready(&mut self, block: Status) {
        let status = match block {
            Status::Idle | Status::Implicit => TransactionStatus::Idle,
            Status::Open => TransactionStatus::Transaction,
            Status::Failed => TransactionStatus::Error,
        };
        self.push(PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status)));
    }

    /// ParseComplete.
    pub fn parse_complete(&mut self) {
        self.push(PgWireBackendMessage::ParseComplete(ParseComplete::new()));
    }

    /// BindComplete.
    pub fn bind_complete(&mut self) {
        self.bytes.put_slice(b"2\0\0\0\x04");
    }

    /// CloseComplete.
    pub fn close_complete(&mut self) {
        self.push(PgWireBackendMessage::CloseComplete(CloseComplete::new()));
    }

    /// PortalSuspended.
    pub fn portal_suspended(&mut self) {
        self.push(PgWireBackendMessage::PortalSuspended(PortalSuspended::new()));
    }

    /// ParameterDescription.
    pub fn parameters(&mut self, types: &[SqlType]) {
        let message = ParameterDescription::new(types.iter().copied().map(wire_oid).collect());
        self.push(PgWireBackendMessage::ParameterDescription(message));
    }

    /// RowDescription, or NoData for a statement that returns no rows. `formats`: as Bind gives them.
    pub fn description(&mut self, columns: Option<&[ColumnInfo]>, formats: &[Format]) {
        let Some(columns) = columns else {
            self.push(PgWireBackendMessage::NoData(NoData::new()));
            return;
        };
        let field = |(index, column): (usize, &ColumnInfo)| {
            let (oid, size) = (wire_oid(column.sql_type), wire_size(column.sql_type));
            let format = Format::of(formats, index).code();
            FieldDescription::new(clean(&column.name).into_owned(), 0, 0, oid, size, -1, format)
        };
        let fields = columns.iter().enumerate().map(field).collect();
        self.push(PgWireBackendMessage::RowDescription(RowDescription::new(fields)));
    }

    /// DataRow, of values that are already encoded and have their lengths.
    pub fn row(&mut self, values: BytesMut, count: usize) {
        let count = i16::try_from(count).expect("a statement has at most COLUMNS_MAX columns");
        self.push(PgWireBackendMessage::DataRow(DataRow::new(values, count)));
    }

    /// DataRow of truth values; none: NULL.
    pub fn truths(&mut self, values: &[Option<bool>], formats: &[Format]) {
        let start = self.begin(b'D');
        self.bytes.put_u16(u16::try_from(values.len()).expect("a statement has at most COLUMNS_MAX columns"));
        for (index, value) in values.iter().enumerate() {
            let Some(value) = *value else {
                self.bytes.put_i32(-1);
                continue;
            };
            self.bytes.put_i32(1);
            self.bytes.put_u8(match (Format::of(formats, index), value) {
                (Format::Text, true) => b't',
                (Format::Text, false) => b'f',
                (Format::Binary, value) => u8::from(value),
            });
        }
        self.end(start);
    }

    /// Begins a message; [`Self::end`] writes its length.
    fn begin(&mut self, tag: u8) -> usize {
        self.bytes.put_u8(tag);
        let start = self.bytes.len();
        self.bytes.put_u32(0);
        start
    }

    fn end(&mut self, start: usize) {
        let length = u32::try_from(self.bytes.len() - start).expect("a reply is bounded by its values");
        self.bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// CopyInResponse: rows of so many columns may come.
    pub fn copy_in(&mut self, format: Format, columns: usize) {
        self.copy_begins(b'G', format, columns);
    }

    /// CopyOutResponse.
    pub fn copy_out(&mut self, format: Format, columns: usize) {
        self.copy_begins(b'H', format, columns);
    }

    fn copy_begins(&mut self, tag: u8, format: Format, columns: usize) {
        let columns = u16::try_from(columns).expect("a table has at most COLUMNS_MAX columns");
        self.bytes.put_u8(tag);
        self.bytes.put_u32(4 + 1 + 2 + 2 * u32::from(columns));
        self.bytes.put_i8(i8::try_from(format.code()).expect("a code is 0 or 1"));
        self.bytes.put_u16(columns);
        for _ in 0..columns {
            self.bytes.put_i16(format.code());
        }
    }

    /// CopyData with what `write` appends, unless it says that there is none.
    ///
    /// # Errors
    /// Those of `write`; then nothing was appended.
    pub fn copy_data<E>(&mut self, write: impl FnOnce(&mut BytesMut) -> Result<bool, E>) -> Result<bool, E> {
        let start = self.bytes.len();
        self.bytes.put_u8(b'd');
        self.bytes.put_u32(0);
        let written = write(&mut self.bytes);
        if !matches!(written, Ok(true)) {
            self.bytes.truncate(start);
            return written;
        }
        let length = u32::try_from(self.bytes.len() - start - 1).expect("a row is bounded by the engine");
        self.bytes[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
        written
    }

    /// CopyDone.
    pub fn copy_done(&mut self) {
        self.bytes.put_u8(b'c');
        self.bytes.put_u32(4);
    }

    /// CommandComplete, or EmptyQueryResponse for the empty tag.
    pub fn complete(&mut self, tag: &str) {
        if tag.is_empty() {
            self.push(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new()));
        } else {
            let start = self.begin(b'C');
            self.bytes.put_slice(clean(tag).as_bytes());
            self.bytes.put_u8(0);
            self.end(start);
        }
    }

    /// NoticeResponse.
    pub fn notice(&mut self, notice: &Notice) {
        let message = NoticeResponse::new(fields(notice.severity, &notice.body, None));
        self.push(PgWireBackendMessage::NoticeResponse(message));
    }

    /// ErrorResponse.
    pub fn error(&mut self, severity: Severity, error: &SqlError) {
        let severity = match severity {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        };
        let message = ErrorResponse::new(fields(severity, &error.body, error.position));
        self.push(PgWireBackendMessage::ErrorResponse(message));
    }

    fn push(&mut self, message: PgWireBackendMessage) {
        // Encoding fails only above the crate's bounds, the smallest of which is 30,000 bytes: `clean` cuts what a
        // user can make long in those messages, and rows are bounded by the engine far below theirs.
        message.encode(&mut self.bytes).expect("every reply is below the protocol's bounds");
    }
}

/// The most columns of a result: the protocol counts them in 16 bits. Source: PostgreSQL's MaxTupleAttributeNumber.
pub const COLUMNS_MAX: usize = 1_664;
/// The most bytes of one text in a reply that is not a value.
const TEXT_BYTES_MAX: usize = 8_192;

/// A text as the protocol can carry it: without zero bytes, and not too long.
fn clean(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_BYTES_MAX && !text.contains('\0') {
        return Cow::Borrowed(text);
    }
    let mut end = text.len().min(TEXT_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace('\0', "\u{fffd}").into()
}

fn fields(severity: &str, body: &Refusal, position: Option<u32>) -> Vec<(u8, String)> {
    let mut fields = vec![
        (b'S', severity.to_owned()),
        (b'V', severity.to_owned()),
        (b'C', body.code.as_str().to_owned()),
        (b'M', clean(&redact::repeated(&body.message)).into_owned()),
    ];
    fields.extend(body.detail.as_ref().map(|detail| (b'D', clean(&redact::repeated(detail)).into_owned())));
    fields.extend(body.hint.as_ref().map(|hint| (b'H', clean(hint).into_owned())));
    fields.extend(position.map(|position| (b'P', position.to_string())));
    fields
}
