//! One client's conversation: hello, then requests in their order, each answered before the next is looked at.

use std::io;

use bytes::BufMut;
use grantd_catalog::id::Version;
use grantd_catalog::refusal::{Refusal, SqlState, state};
use grantd_catalog::view::View;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use tracing::debug;

use super::peer::{self, Asker};
use super::reason::reason;
use super::{HELLO_WAIT_MAX, IDLE_MAX, Shared, WRITE_WAIT_MAX, watch};
use crate::check::may_ask;
use crate::check::protocol::{
    self, Answer, Checks, FRAME_BYTES_MAX, HELLO_BYTES_MAX, LENGTH_BYTES, Malformed, NO, PROTOCOL_MAX,
    PROTOCOL_MIN, Request, UNKNOWN, YES,
};
use crate::check::question::{Question, ResourceKind, resolve_named, resolve_principal};
use crate::check::rate::RetryAfter;
use crate::gate::Freshness;

/// Answers that are kept until all that was read is answered; beyond it they are sent at once.
const OUTPUT_BYTES: usize = FRAME_BYTES_MAX;
/// What is read at once: the largest frame, or many small ones.
const INPUT_BYTES: usize = LENGTH_BYTES + FRAME_BYTES_MAX;
/// What a connection begins with: most never send more at once.
const INPUT_BYTES_FIRST: usize = 4 << 10;

const PROTOCOL_VIOLATION: SqlState = SqlState::new("08P01");

/// Why a conversation is over.
pub(super) enum End {
    /// The client is gone, or does not read.
    Lost(io::Error),
    /// The client is told this, as the answer to that request.
    Refused(u32, Refusal),
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// A refusal, and whether the connection ends with it.
enum No {
    Refused(Refusal),
    Ended(Refusal),
}

impl From<Refusal> for No {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Bytes that came and are not understood yet.
struct Input {
    bytes: Vec<u8>,
    begin: usize,
}

impl Input {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.begin..]
    }

    /// Reads what is there, at least a byte; an error of kind `UnexpectedEof`: the client closed.
    async fn read(&mut self, stream: &mut UnixStream) -> io::Result<()> {
        self.bytes.drain(..self.begin);
        self.begin = 0;
        // It was full: more will come.
        if self.bytes.len() == self.bytes.capacity() {
            self.bytes.reserve_exact(INPUT_BYTES - self.bytes.len());
        }
        let room = self.bytes.capacity().min(INPUT_BYTES) - self.bytes.len();
        match stream.read_buf(&mut (&mut self.bytes).limit(room)).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Serves one connection to its end.
pub(super) async fn converse(mut stream: UnixStream, uid: u32, shared: &Shared) {
    let end = match serve(&mut stream, uid, shared).await {
        Ok(never) => match never {},
        Err(end) => end,
    };
    match end {
        End::Lost(error) => debug!(uid, %error, "check connection closed"),
        End::Refused(id, refusal) => {
            debug!(uid, reason = %refusal.message, "check connection refused");
            let mut bytes = Vec::new();
            Answer::Refused(refusal).encode(id, &mut bytes);
            if let Err(error) = write(&mut stream, &bytes).await {
                debug!(uid, %error, "a check client did not hear why it was refused");
            }
        }
    }
}

/// There is no value of it: a conversation goes on until it ends.
pub(super) enum Never {}

async fn serve(stream: &mut UnixStream, uid: u32, shared: &Shared) -> Result<Never, End> {
    let mut input = Input { bytes: Vec::with_capacity(INPUT_BYTES_FIRST), begin: 0 };
    let mut output = Vec::new();
    let hello = timeout(HELLO_WAIT_MAX, hello(stream, uid, shared, &mut input, &mut output)).await;
    let mut asker = hello.unwrap_or_else(|_| Err(End::Refused(0, late())))?;
    let mut answers = Vec::new();
    let idle = sleep(IDLE_MAX);
    tokio::pin!(idle);
    let mut heard = false;
    loop {
        let handled = answer_all(stream, shared, &mut asker, &mut input, &mut answers, &mut output).await;
        // Also where the conversation ends: what was answered before that is told.
        write(stream, &output).await?;
        output.clear();
        if let Some((id, after)) = handled? {
            return watch::serve(stream, shared, &mut asker, id, after).await;
        }
        tokio::select! {
            biased;
            read = input.read(stream) => {
                read?;
                heard = true;
            }
            () = &mut idle => {
                if !std::mem::take(&mut heard) {
                    return Err(End::Refused(0, idled()));
                }
                idle.as_mut().reset(Instant::now() + IDLE_MAX);
            }
        }
    }
}

/// Answers every request that is there as a whole. Some: the last one is a watch, with this id, after this version.
async fn answer_all(
    stream: &mut UnixStream,
    shared: &Shared,
    asker: &mut Asker,
    input: &mut Input,
    answers: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> Result<Option<(u32, Option<Version>)>, End> {
    while let Some(frame) = protocol::split(input.rest(), FRAME_BYTES_MAX).map_err(|why| malformed(0, why))? {
        let request = Request::decode(&frame).map_err(|why| malformed(frame.id, why))?;
        let (id, bytes) = (frame.id, frame.bytes);
        if let Request::Watch { after } = request {
            return Ok(Some((id, after)));
        }
        match answer(shared, asker, request, id, answers, output).await {
            Ok(()) => {}
            Err(No::Refused(refusal)) => Answer::Refused(refusal).encode(id, output),
            Err(No::Ended(refusal)) => return Err(End::Refused(id, refusal)),
        }
        input.begin += bytes;
        if output.len() >= OUTPUT_BYTES {
            write(stream, output).await?;
            output.clear();
        }
    }
    Ok(None)
}

/// Writes all of it, at once if there is room.
pub(super) async fn write(stream: &mut UnixStream, bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let written = match stream.try_write(bytes) {
        Ok(written) => written,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
        Err(error) => return Err(error),
    };
    match &bytes[written..] {
        [] => Ok(()),
        rest => timeout(WRITE_WAIT_MAX, stream.write_all(rest))
            .await
            .unwrap_or(Err(io::ErrorKind::TimedOut.into())),
    }
}

/// The first frame, and the answer to it.
async fn hello(
    stream: &mut UnixStream,
    uid: u32,
    shared: &Shared,
    input: &mut Input,
    output: &mut Vec<u8>,
) -> Result<Asker, End> {
    let (frame, request) = loop {
        // What follows in the same read may be longer: the bound is of this frame.
        if let Some(frame) =
            protocol::split(input.rest(), HELLO_BYTES_MAX).map_err(|why| malformed(0, why))?
        {
            let request = Request::decode(&frame).map_err(|why| malformed(frame.id, why))?;
            break (frame, request);
        }
        input.read(stream).await?;
    };
    let (id, bytes) = (frame.id, frame.bytes);
    let refused = |refusal| End::Refused(id, refusal);
    let Request::Hello { protocol_min, protocol_max, role } = request else {
        return Err(malformed(id, Malformed("the first frame is not a hello")));
    };
    let protocol = PROTOCOL_MAX.min(protocol_max);
    if protocol < PROTOCOL_MIN.max(protocol_min) {
        return Err(refused(no_common_version(protocol_min, protocol_max)));
    }
    let role = peer::role_of(uid, shared.own_uid, role).await.map_err(refused)?;
    let admitted =
        shared.gate.decide(Freshness::Local, |view| Ok((Asker::admit(view, &role)?, view.version())));
    let (asker, version) = admitted.await.and_then(|admitted| admitted).map_err(refused)?;
    let cluster = shared.gate.status().and_then(|status| status.cluster_id).unwrap_or_default();
    let (node, release) = (shared.gate.node_id(), env!("CARGO_PKG_VERSION"));
    Answer::Hello { protocol, node, version, cluster: &cluster, release }.encode(id, output);
    input.begin += bytes;
    Ok(asker)
}

/// Answers one request into `output`. `answers` is room for a batch.
async fn answer(
    shared: &Shared,
    asker: &mut Asker,
    request: Request<'_>,
    id: u32,
    answers: &mut Vec<u8>,
    output: &mut Vec<u8>,
) -> Result<(), No> {
    let gate = &shared.gate;
    shared
        .rates
        .take(asker.principal, count(&request), std::time::Instant::now())
        .map_err(RetryAfter::refusal)?;
    match request {
        Request::Check { freshness, checks } => {
            let decided = gate.decide(freshness, |view| decide(view, asker, checks, answers));
            let version = decided.await??;
            Answer::Checked { version, answers }.encode(id, output);
        }
        Request::Ask { freshness, questions } => {
            let decided = gate.decide(freshness, |view| decide_named(view, asker, &questions, answers));
            let version = decided.await??;
            Answer::Checked { version, answers }.encode(id, output);
        }
        Request::Resolve { freshness, names } => {
            let found = gate.decide(freshness, |view| {
                asker.sees_all(view).map_err(No::Ended)?;
                Ok::<_, No>((view.version(), resolve(view, &names)))
            });
            let (version, ids) = found.await??;
            Answer::Resolved { version, ids }.encode(id, output);
        }
        Request::Explain { freshness, question } => {
            let explained = gate.decide(freshness, |view| {
                let all = asker.sees_all(view).map_err(No::Ended)?;
                let check = question.resolve(view)?;
                if !all {
                    may_ask(view, asker.principal, check.subject())?;
                }
                let allowed = check.decide(view);
                Ok::<_, No>((view.version(), allowed, reason(view, &check, allowed)))
            });
            let (version, allowed, reason) = explained.await??;
            Answer::Explained { version, allowed, reason: &reason }.encode(id, output);
        }
        Request::Hello { .. } | Request::Watch { .. } => {
            return Err(No::Ended(violation(Malformed("a hello comes first and once"))));
        }
    }
    Ok(())
}

/// How many checks a request counts as.
fn count(request: &Request<'_>) -> usize {
    match request {
        Request::Check { checks, .. } => checks.len(),
        Request::Ask { questions, .. } => questions.len(),
        Request::Resolve { names, .. } => names.len(),
        Request::Explain { .. } | Request::Hello { .. } | Request::Watch { .. } => 1,
    }
}

/// Decides a batch on one view. Nothing is allocated: `answers` is used again and again.
fn decide(view: &View, asker: &mut Asker, checks: Checks<'_>, answers: &mut Vec<u8>) -> Result<Version, No> {
    let all = asker.sees_all(view).map_err(No::Ended)?;
    answers.clear();
    for check in checks.iter() {
        let check = check?;
        if !all {
            may_ask(view, asker.principal, check.subject())?;
        }
        answers.push(u8::from(check.decide(view)));
    }
    Ok(view.version())
}

fn decide_named(
    view: &View,
    asker: &mut Asker,
    questions: &[Question],
    answers: &mut Vec<u8>,
) -> Result<Version, No> {
    let all = asker.sees_all(view).map_err(No::Ended)?;
    answers.clear();
    for question in questions {
        let answer = match question.resolve(view) {
            Err(_) => UNKNOWN,
            Ok(check) => {
                if !all {
                    may_ask(view, asker.principal, check.subject())?;
                }
                if check.decide(view) { YES } else { NO }
            }
        };
        answers.push(answer);
    }
    Ok(view.version())
}

fn resolve(view: &View, names: &[(ResourceKind, String)]) -> Vec<Option<u32>> {
    let id = |(kind, name): &(ResourceKind, String)| match kind {
        ResourceKind::Role => resolve_principal(view, name).ok().map(|id| id.0),
        ResourceKind::Object(kind) => resolve_named(view, *kind, name).ok().map(|id| id.0),
    };
    names.iter().map(id).collect()
}

fn malformed(id: u32, why: Malformed) -> End {
    End::Refused(id, violation(why))
}

fn violation(why: Malformed) -> Refusal {
    Refusal::new(PROTOCOL_VIOLATION, format!("the check socket does not understand: {why}"))
        .with_hint("The connection is closed. docs/checks-socket.md has the protocol.")
}

fn no_common_version(min: u16, max: u16) -> Refusal {
    let message = format!("the client speaks versions {min} to {max} of the check protocol");
    Refusal::new(state::FEATURE_NOT_SUPPORTED, message)
        .with_detail(format!("This node speaks {PROTOCOL_MIN} to {PROTOCOL_MAX}."))
        .with_hint("Use a client of the node's release.")
}

fn late() -> Refusal {
    let seconds = HELLO_WAIT_MAX.as_secs();
    Refusal::new(PROTOCOL_VIOLATION, format!("no hello came within {seconds} s"))
        .with_hint("The connection is closed. docs/checks-socket.md has the protocol.")
}

fn idled() -> Refusal {
    let seconds = IDLE_MAX.as_secs();
    Refusal::new(IDLE_TIMEOUT, format!("nothing was asked for {seconds} s")).with_hint("Connect again.")
}

/// PostgreSQL's idle_session_timeout.
const IDLE_TIMEOUT: SqlState = SqlState::new("57P05");
