//! COPY within a session: while rows come, only their messages count; while they go, they are sent in parts.
//!
//! A COPY FROM that has failed is over for the server at once. What the client still sends of it is ignored: in a simple
//! query as COPY's messages are outside of COPY, in the extended protocol up to Sync (P1).

use super::{Machine, Next, Pending, frame_error};
use crate::error::SqlError;
use crate::pgwire::copy::{Decoder, Encoder};
use crate::pgwire::datum::Format;
use crate::pgwire::frame::{FrameError, Message};
use crate::pgwire::machine::portal::CHUNK_BYTES;
use crate::pgwire::reply::state;
use crate::session::block::Status;
use crate::sql::execute::{CopyIn, CopyOut, Place, RowSink};
use crate::sql::parse::copy::CopyFormat;

/// A COPY that has begun.
#[derive(Debug)]
pub(super) enum Copying {
    /// Rows come. The sink is away while it takes some.
    In { decoder: Decoder, sink: Option<Box<dyn RowSink>> },
    /// Rows go.
    Out(Encoder),
}

/// How sending rows went.
pub(super) enum Sent {
    /// Enough is encoded to be sent first.
    Part,
    /// There are no more.
    All,
}

impl<P> Machine<P> {
    /// Whether the client is to send rows.
    pub fn is_copying_in(&self) -> bool {
        matches!(self.copying, Some(Copying::In { .. }))
    }

    /// The client pauses: rows of a COPY that are here are handed on.
    pub fn paused(&mut self) -> Option<Next<P>> {
        let Some(Copying::In { decoder, sink }) = &mut self.copying else { return None };
        let rows = decoder.take();
        match rows.values.is_empty() {
            true => None,
            false => Some(Next::CopyRows { sink: sink.take().expect("one message at a time"), rows }),
        }
    }

    /// The rows were taken.
    pub fn copied(&mut self, taken: Box<dyn RowSink>) -> Next<P> {
        match &mut self.copying {
            Some(Copying::In { sink, .. }) => *sink = Some(taken),
            Some(Copying::Out(_)) | None => unreachable!("no rows were to be taken"),
        }
        Next::Read
    }

    pub(super) fn begin_copy_in(&mut self, into: CopyIn, sink: Box<dyn RowSink>) -> Next<P> {
        let format = match into.options.format {
            CopyFormat::Text | CopyFormat::Csv => Format::Text,
            CopyFormat::Binary => Format::Binary,
        };
        self.replies.copy_in(format, into.columns.len());
        self.copying = Some(Copying::In { decoder: Decoder::new(into), sink: Some(sink) });
        Next::Read
    }

    pub(super) fn begin_copy_out(&mut self, from: CopyOut) {
        let encoder = Encoder::new(from);
        self.replies.copy_out(encoder.format(), encoder.width());
        self.copying = Some(Copying::Out(encoder));
    }

    /// A message while rows come.
    pub(super) fn receive_copy(&mut self, tag: u8, message: Result<Message, FrameError>) -> Next<P> {
        let message = match message {
            Ok(message) => message,
            Err(error @ FrameError::NotUtf8) => return Next::CopyFailed(frame_error(&error)),
            Err(error) => return self.fatal(&frame_error(&error)),
        };
        let Some(Copying::In { decoder, sink }) = &mut self.copying else {
            unreachable!("rows come");
        };
        let decoded = match &message {
            Message::CopyData(data) => decoder.push(data),
            Message::CopyDone => decoder.finish(),
            // A client may have sent them before it knew of the COPY.
            Message::Flush | Message::Sync => return Next::Read,
            Message::Terminate => return Next::Close,
            Message::CopyFail(reason) => {
                Err(SqlError::new(state::QUERY_CANCELED, format!("COPY from stdin failed: {reason}")))
            }
            _ => {
                let message = format!("unexpected message type 0x{tag:02X} during COPY from stdin");
                return self.fatal(&SqlError::new(state::PROTOCOL_VIOLATION, message));
            }
        };
        if let Err(error) = decoded {
            return Next::CopyFailed(error);
        }
        let done = matches!(message, Message::CopyDone);
        if !done && !decoder.is_full() {
            return Next::Read;
        }
        if done {
            return match &self.pending {
                Pending::Simple { place, .. } => self.end_copy_in(*place),
                _ if self.block == Status::Idle => Next::Look,
                _ => self.end_copy_in(Place::Inner),
            };
        }
        Next::CopyRows { rows: decoder.take(), sink: sink.take().expect("one message at a time") }
    }

    /// The last rows are here, and it is known what follows.
    pub(super) fn end_copy_in(&mut self, place: Place) -> Next<P> {
        let Some(Copying::In { mut decoder, sink }) = self.copying.take() else {
            unreachable!("rows come");
        };
        Next::CopyEnd { sink: sink.expect("one message at a time"), rows: decoder.take(), place }
    }

    /// Sends rows of a COPY until they end or enough is encoded to be sent.
    pub(super) fn send_copy(&mut self) -> Result<Sent, SqlError> {
        let Some(Copying::Out(encoder)) = &mut self.copying else { return Ok(Sent::All) };
        while self.replies.bytes.len() < CHUNK_BYTES {
            if !self.replies.copy_data(|out| encoder.next(out))? {
                self.copying = None;
                self.replies.copy_done();
                return Ok(Sent::All);
            }
        }
        Ok(Sent::Part)
    }
}
