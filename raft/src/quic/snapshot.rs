//! Snapshots: one stream each, in chunks with checksums, and an answer when the receiver has installed it.

use std::convert::Infallible;
use std::fs::File;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use quinn::{RecvStream, SendStream, VarInt};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

use super::accept::stage;
use super::dial::Live;
use super::stream::{Outgoing, Outlet, ReadFailure, read_array, read_body, read_header};
use super::{CloseCode, tls};
use crate::rpc::{AnswerKind, CHUNK_BYTES, ChunkHeader, SnapshotStart, StreamKind};
use crate::transport::{Identity, Service, TransportError};

/// Chunks that wait for the service to read them.
const CHUNKS_WAITING_MAX: usize = 4;
/// How often a receiver that installs shows that it works on it. Less than any sensible `stall`.
const WORKING_INTERVAL: Duration = Duration::from_millis(250);

/// Sends a snapshot and waits for the answer; see `Transport::send_snapshot`.
pub(super) async fn send(
    live: &Live,
    header: &Bytes,
    file: File,
    length: u64,
    stall: Duration,
) -> Result<Bytes, TransportError> {
    let peer = live.peer.to_string();
    let stalled = |_| format!("nothing moved for {stall:?}");
    let opened = timeout(stall, live.connection.open_bi()).await.map_err(stalled);
    let (send, mut recv) = match opened {
        Ok(Ok(streams)) => streams,
        Ok(Err(error)) => return Err(TransportError::Unreachable { peer, cause: tls::explain(&error) }),
        Err(cause) => return Err(TransportError::Unreachable { peer, cause }),
    };
    // Dropping this future resets the stream.
    let mut send = Outlet::new(send);
    let written = write(&mut send.send, header, file, length, stall).await;
    match written {
        Ok(()) => send.finish(),
        // The peer may have said why it wants no more.
        Err(WriteFailure::Stream(_)) => {}
        Err(WriteFailure::File(cause)) => return Err(TransportError::Lost { peer, cause }),
    }
    loop {
        let answer = timeout(stall, answer(&mut recv)).await.map_err(stalled);
        match (answer, &written) {
            (Ok(Ok(None)), _) => {}
            (Ok(Ok(Some(Ok(body)))), Ok(())) => return Ok(body),
            (Ok(Ok(Some(Err(reason)))), _) => return Err(TransportError::Refused { peer, reason }),
            (_, Err(WriteFailure::Stream(cause) | WriteFailure::File(cause))) => {
                return Err(TransportError::Lost { peer, cause: cause.clone() });
            }
            (Ok(Err(cause)) | Err(cause), Ok(())) => return Err(TransportError::Lost { peer, cause }),
        }
    }
}

enum WriteFailure {
    Stream(String),
    File(String),
}

async fn write(
    send: &mut SendStream,
    header: &Bytes,
    file: File,
    length: u64,
    stall: Duration,
) -> Result<(), WriteFailure> {
    let header_len = u32::try_from(header.len()).expect("bounded by the caller");
    let mut start = vec![StreamKind::Snapshot as u8];
    start.extend_from_slice(&SnapshotStart { header_len, length }.encode());
    start.extend_from_slice(header);
    write_within(send, &mut [start.into()], stall).await?;
    let mut file = tokio::fs::File::from_std(file);
    file.set_max_buf_size(CHUNK_BYTES);
    let mut left = length;
    while left > 0 {
        let mut chunk = vec![0; usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES)];
        match timeout(stall, file.read_exact(&mut chunk)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                return Err(WriteFailure::File(format!("the snapshot cannot be read: {error}")));
            }
            Err(_) => return Err(WriteFailure::File(format!("the snapshot was not read in {stall:?}"))),
        }
        left -= chunk.len() as u64;
        let head = Bytes::copy_from_slice(&ChunkHeader::of(&chunk).encode());
        write_within(send, &mut [head, chunk.into()], stall).await?;
    }
    Ok(())
}

async fn write_within(
    send: &mut SendStream,
    chunks: &mut [Bytes],
    stall: Duration,
) -> Result<(), WriteFailure> {
    match timeout(stall, send.write_all_chunks(chunks)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(WriteFailure::Stream(error.to_string())),
        Err(_) => Err(WriteFailure::Stream(format!("nothing moved for {stall:?}"))),
    }
}

/// The next answer; none: the peer works on it.
async fn answer(recv: &mut RecvStream) -> Result<Option<Result<Bytes, String>>, String> {
    let header = read_header(recv).await.map_err(ReadFailure::text)?.ok_or("it ended the stream")?;
    let kind = header.snapshot_answer().map_err(|error| error.to_string())?;
    let body = read_body(recv, header.len as usize).await.map_err(ReadFailure::text)?;
    Ok(match kind {
        AnswerKind::Done => Some(Ok(body)),
        AnswerKind::Refused => Some(Err(String::from_utf8_lossy(&body).into_owned())),
        AnswerKind::Working => None,
    })
}

/// Receives a snapshot and answers. A corrupt chunk is told to the service, as an error of its reader, and to the
/// sender, as a refusal.
pub(super) async fn receive(
    service: &Arc<dyn Service>,
    from: &Identity,
    mut send: Outlet,
    mut recv: RecvStream,
) -> Result<(), ReadFailure> {
    let start = SnapshotStart::decode(read_array(&mut recv).await?)?;
    let header = read_body(&mut recv, start.header_len as usize).await?;
    let (chunks, queue) = mpsc::channel(CHUNKS_WAITING_MAX);
    let file = Box::new(ChunkReader { queue, current: Bytes::new() });
    let handled = service.handle_snapshot(from.clone(), header, start.length, file);
    let pumped = pump(&mut recv, start.length, chunks);
    let both = async {
        let (pumped, handled) = tokio::join!(pumped, handled);
        pumped.and(handled)
    };
    // A frame that is cut off by the end of `both` cannot be: so few bytes never wait for flow control.
    let answer = tokio::select! {
        answer = both => answer,
        never = working(&mut send.send) => match never {},
    };
    let _ = recv.stop(VarInt::from(CloseCode::Bye));
    let mut outgoing = Outgoing::default();
    stage(&mut outgoing, 1, answer);
    if outgoing.write(&mut send.send).await.is_ok() {
        send.finish();
    }
    Ok(())
}

/// Says from time to time that the snapshot is being worked on. When the sender is gone it is quiet, but does not end:
/// an installation that has begun is not broken off.
async fn working(send: &mut SendStream) -> Infallible {
    let mut ticks = interval(WORKING_INTERVAL);
    loop {
        ticks.tick().await;
        let mut outgoing = Outgoing::default();
        outgoing.frame(1, AnswerKind::Working.number(), Bytes::new());
        if outgoing.write(send).await.is_err() {
            return pending().await;
        }
    }
}

/// Moves the chunks from the stream to the reader of the service; an error is what the sender is told.
async fn pump(
    recv: &mut RecvStream,
    length: u64,
    chunks: mpsc::Sender<io::Result<Bytes>>,
) -> Result<(), String> {
    let mut left = length;
    while left > 0 {
        match chunk(recv, length - left, left).await {
            Ok(chunk) => {
                left -= chunk.len() as u64;
                if chunks.send(Ok(chunk)).await.is_err() {
                    // The service has seen enough; its answer says why.
                    return Ok(());
                }
            }
            Err(failure) => {
                let fault = failure.text();
                let _ = chunks.send(Err(io::Error::other(fault.clone()))).await;
                return Err(fault);
            }
        }
    }
    Ok(())
}

async fn chunk(recv: &mut RecvStream, offset: u64, left: u64) -> Result<Bytes, ReadFailure> {
    let header = ChunkHeader::decode(read_array(recv).await?, left)?;
    let chunk = read_body(recv, header.len as usize).await?;
    header.check(&chunk, offset)?;
    Ok(chunk)
}

/// The chunks as one file.
struct ChunkReader {
    queue: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl AsyncRead for ChunkReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.current.is_empty() {
            match ready!(self.queue.poll_recv(cx)) {
                Some(chunk) => self.current = chunk?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let taken = self.current.len().min(buf.remaining());
        buf.put_slice(&self.current[..taken]);
        self.current.advance(taken);
        Poll::Ready(Ok(()))
    }
}
