//! Lanes: requests that share a stream, in order, many in flight, each answered when its answer comes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use quinn::{RecvStream, SendStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::dial::{Dialer, Live};
use super::stream::{Outgoing, Outlet, ReadFailure, read_body, read_header};
use super::{CloseCode, LANE_ANSWERS_MAX, LANE_BYTES_MAX, LANE_REQUESTS_MAX, Shared};
use crate::rpc::{AnswerKind, FRAME_BYTES_MAX, FrameHeader, StreamKind};
use crate::transport::{RequestKind, TransportError};

/// The most requests that are written at once.
const BATCH_MAX: usize = 64;

/// The sending end of one lane to one member. Cheap to share.
pub(super) struct Lane {
    requests: mpsc::Sender<Request>,
    queued_bytes: Arc<AtomicUsize>,
}

impl Lane {
    pub(super) fn new(shared: &Arc<Shared>, dialer: &Dialer) -> Self {
        let (requests, queue) = mpsc::channel(LANE_REQUESTS_MAX);
        let queued_bytes = Arc::default();
        shared.spawn(run(Arc::clone(shared), dialer.clone(), queue, Arc::clone(&queued_bytes)));
        Self { requests, queued_bytes }
    }

    /// Queues a request; an error means that the queue is full (Q2).
    pub(super) fn send(&self, request: Request) -> Result<(), ()> {
        let bytes = request.body.len();
        let queued = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        // A lone request may be as long as its kind allows.
        let fits = queued == 0 || queued + bytes <= LANE_BYTES_MAX;
        if fits && self.requests.try_send(request).is_ok() {
            return Ok(());
        }
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
        Err(())
    }
}

/// A request on its way.
pub(super) struct Request {
    kind: RequestKind,
    body: Bytes,
    deadline: Instant,
    progress: Arc<Progress>,
    reply: Reply,
}

/// The side of a [`Request`] that waits.
pub(super) struct Answer {
    deadline: Instant,
    progress: Arc<Progress>,
    reply: oneshot::Receiver<Result<Bytes, TransportError>>,
}

/// How far a request has come: decides between "unreachable" and "lost" when its time runs out (Q3).
#[derive(Default)]
struct Progress {
    state: AtomicU8,
    live: OnceLock<Live>,
}

const QUEUED: u8 = 0;
const SENT: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Progress {
    fn leave(&self, next: u8) -> bool {
        self.state.compare_exchange(QUEUED, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

impl Request {
    pub(super) fn new(kind: RequestKind, body: Bytes, deadline: Instant) -> (Self, Answer) {
        let (reply, answer) = oneshot::channel();
        let progress = Arc::<Progress>::default();
        let request = Self { kind, body, deadline, progress: Arc::clone(&progress), reply };
        (request, Answer { deadline, progress, reply: answer })
    }

    fn fail(self, error: TransportError) {
        // Whoever gave up waiting has its own error already.
        let _ = self.reply.send(Err(error));
    }
}

impl Answer {
    /// The answer, or what became of the request by its deadline.
    pub(super) async fn wait(self, peer: String) -> Result<Bytes, TransportError> {
        match timeout_at(self.deadline, self.reply).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(TransportError::Lost { peer, cause: "the connection was closed".to_owned() }),
            Err(_) if self.progress.leave(GIVEN_UP) => {
                Err(TransportError::Unreachable { peer, cause: "it could not be sent in time".to_owned() })
            }
            Err(_) => {
                if let Some(live) = self.progress.live.get() {
                    live.missed();
                }
                Err(TransportError::Lost { peer, cause: "no answer in time".to_owned() })
            }
        }
    }
}

/// Where an answer goes.
type Reply = oneshot::Sender<Result<Bytes, TransportError>>;
/// Requests that were sent and not answered, by their id.
type Sent = BTreeMap<u64, (RequestKind, Reply)>;
/// The same, of one stream; none once the stream is over.
type Waiting = Arc<Mutex<Option<Sent>>>;

/// A lane's stream on a live connection.
struct Open {
    live: Live,
    send: Outlet,
    waiting: Waiting,
    next_id: u64,
}

async fn run(
    shared: Arc<Shared>,
    dialer: Dialer,
    mut queue: mpsc::Receiver<Request>,
    queued_bytes: Arc<AtomicUsize>,
) {
    let mut open: Option<Open> = None;
    let mut batch = Vec::with_capacity(BATCH_MAX);
    while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
        let bytes: usize = batch.iter().map(|request| request.body.len()).sum();
        if open.as_ref().is_none_or(Open::is_over) {
            open = None;
            // The last of the batch has the most time; the others give up on their own.
            let deadline = batch.iter().map(|request| request.deadline).max().unwrap_or_else(Instant::now);
            match open_stream(&shared, &dialer, deadline).await {
                Ok(opened) => open = Some(opened),
                Err(error) => batch.drain(..).for_each(|request| request.fail(error.clone())),
            }
        }
        if let Some(opened) = &mut open
            && let Err(cause) = opened.write(batch.drain(..)).await
        {
            opened.end(&cause);
            open = None;
        }
        queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
    if let Some(mut opened) = open {
        opened.send.finish();
        opened.end("this node talks with it no more");
    }
}

async fn open_stream(
    shared: &Arc<Shared>,
    dialer: &Dialer,
    deadline: Instant,
) -> Result<Open, TransportError> {
    let live = dialer.live(deadline).await?;
    let opening = async {
        let (mut send, recv) = live.connection.open_bi().await.ok()?;
        send.write_all(&[StreamKind::Requests as u8]).await.ok()?;
        Some((Outlet::new(send), recv))
    };
    let opened = timeout_at(deadline, opening).await.ok().flatten();
    let Some((send, recv)) = opened else { return Err(dialer.unreachable("the connection was lost")) };
    let waiting: Waiting = Arc::new(Mutex::new(Some(BTreeMap::new())));
    shared.spawn(read_answers(live.clone(), recv, Arc::clone(&waiting)));
    Ok(Open { live, send, waiting, next_id: 1 })
}

impl Open {
    fn is_over(&self) -> bool {
        self.live.connection.close_reason().is_some() || lock(&self.waiting).is_none()
    }

    async fn write(&mut self, batch: impl Iterator<Item = Request>) -> Result<(), String> {
        let mut outgoing = Outgoing::default();
        for request in batch {
            self.stage(request, &mut outgoing);
        }
        outgoing.write(&mut self.send.send).await
    }

    fn stage(&mut self, request: Request, outgoing: &mut Outgoing) {
        let mut waiting = lock(&self.waiting);
        let unreachable = |cause: &str| TransportError::Unreachable {
            peer: self.live.peer.to_string(),
            cause: cause.to_owned(),
        };
        let Some(waiting) = waiting.as_mut() else {
            return request.fail(unreachable("the connection was lost"));
        };
        if waiting.len() >= LANE_ANSWERS_MAX {
            // Those that nobody waits for any more make room.
            waiting.retain(|_, (_, reply)| !reply.is_closed());
            if waiting.len() >= LANE_ANSWERS_MAX {
                return request.fail(unreachable("too many requests wait for its answers"));
            }
        }
        // Both before it counts as sent: a time-out looks at the connection.
        let _ = request.progress.live.set(self.live.clone());
        if Instant::now() >= request.deadline || !request.progress.leave(SENT) {
            return request.fail(unreachable("it could not be sent in time"));
        }
        let id = self.next_id;
        self.next_id += 1;
        waiting.insert(id, (request.kind, request.reply));
        outgoing.frame(id, request.kind.number(), request.body);
    }

    fn end(&self, cause: &str) {
        end(&self.waiting, &self.live, cause);
    }
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, Option<Sent>> {
    waiting.lock().expect("no panic while it is held")
}

/// Nothing more comes: whoever waits may have been heard.
fn end(waiting: &Waiting, live: &Live, cause: &str) {
    let left = lock(waiting).take();
    for (_, reply) in left.into_iter().flat_map(BTreeMap::into_values) {
        let _ =
            reply.send(Err(TransportError::Lost { peer: live.peer.to_string(), cause: cause.to_owned() }));
    }
}

async fn read_answers(live: Live, mut recv: RecvStream, waiting: Waiting) {
    let cause = loop {
        match read_answer(&mut recv, &waiting, &live).await {
            Ok(true) => {}
            Ok(false) => break "it ended the stream".to_owned(),
            Err(ReadFailure::Ended(cause)) => break cause,
            Err(ReadFailure::Malformed(cause)) => {
                live.connection.close(CloseCode::Malformed.into(), cause.as_bytes());
                break cause;
            }
        }
    };
    end(&waiting, &live, &cause);
}

async fn read_answer(recv: &mut RecvStream, waiting: &Waiting, live: &Live) -> Result<bool, ReadFailure> {
    let Some(header) = read_header(recv).await? else { return Ok(false) };
    let entry = lock(waiting).as_mut().and_then(|waiting| waiting.remove(&header.id));
    match entry {
        Some((kind, reply)) => {
            let answer = read_rest(recv, header, kind, &live.peer).await?;
            let _ = reply.send(answer);
        }
        // Nobody waits for it any more, or nobody ever did.
        None if header.len as usize > FRAME_BYTES_MAX => {
            return Err(ReadFailure::Malformed("an answer to no request is too long".to_owned()));
        }
        None => drop(read_body(recv, header.len as usize).await?),
    }
    Ok(true)
}

async fn read_rest(
    recv: &mut RecvStream,
    header: FrameHeader,
    kind: RequestKind,
    peer: &str,
) -> Result<Result<Bytes, TransportError>, ReadFailure> {
    let answer = header.answer(kind)?;
    let body = read_body(recv, header.len as usize).await?;
    match answer {
        AnswerKind::Done => Ok(Ok(body)),
        AnswerKind::Refused => Ok(Err(TransportError::Refused {
            peer: peer.to_owned(),
            reason: String::from_utf8_lossy(&body).into_owned(),
        })),
        AnswerKind::Working => {
            Err(ReadFailure::Malformed("only a snapshot may be worked on for long".to_owned()))
        }
    }
}

/// One request on a stream of its own, on the bulk connection. Dropping the future gives up the answer only.
pub(super) fn call_alone(
    shared: &Arc<Shared>,
    dialer: &Dialer,
    kind: RequestKind,
    body: Bytes,
    deadline: Instant,
) -> BoxFuture<'static, Result<Bytes, TransportError>> {
    let (reply, answer) = oneshot::channel();
    let (dialer, given_up) = (dialer.clone(), dialer.unreachable("the transport is closed"));
    shared.spawn(async move {
        let answer = match dialer.live(deadline).await {
            Ok(live) => ask_alone(&live, kind, body, deadline).await,
            Err(error) => Err(error),
        };
        let _ = reply.send(answer);
    });
    async move { answer.await.unwrap_or(Err(given_up)) }.boxed()
}

/// One request on a stream of its own; the stream is reset when the time runs out.
pub(super) async fn ask_alone(
    live: &Live,
    kind: RequestKind,
    body: Bytes,
    deadline: Instant,
) -> Result<Bytes, TransportError> {
    let peer = live.peer.to_string();
    let lost = |cause: String| TransportError::Lost { peer: peer.clone(), cause };
    let opened = timeout_at(deadline, live.connection.open_bi()).await;
    let Ok(Ok((send, mut recv))) = opened else {
        return Err(TransportError::Unreachable {
            peer,
            cause: "no stream could be opened in time".to_owned(),
        });
    };
    let mut send = Outlet::new(send);
    let ask = async {
        write_alone(&mut send.send, kind, body).await.map_err(&lost)?;
        send.finish();
        let header = read_header(&mut recv).await.map_err(|failure| lost(failure.text()))?;
        let header = header.ok_or_else(|| lost("it ended the stream".to_owned()))?;
        read_rest(&mut recv, header, kind, &live.peer).await.map_err(|failure| lost(failure.text()))?
    };
    timeout_at(deadline, ask).await.unwrap_or_else(|_| {
        live.missed();
        Err(lost("no answer in time".to_owned()))
    })
}

async fn write_alone(send: &mut SendStream, kind: RequestKind, body: Bytes) -> Result<(), String> {
    send.write_all(&[StreamKind::Requests as u8]).await.map_err(|error| error.to_string())?;
    let mut outgoing = Outgoing::default();
    outgoing.frame(1, kind.number(), body);
    outgoing.write(send).await
}
