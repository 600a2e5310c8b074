//! A client of the check socket: what an application on a node's host links to ask it.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use grantd_node::check::Check;
//! use grantd_node::check::client::{Client, Freshness, ObjectKind, Privilege};
//!
//! let mut client = Client::connect("/var/lib/grantd/check.sock", "app").await?;
//! let app = client.principal("app").await?.ok_or("no role app")?;
//! let orders = client.object(ObjectKind::Table, "shop.public.orders").await?.ok_or("no table orders")?;
//! let check = Check::Holds { subject: app, privilege: Privilege::Select, object: orders };
//! let may = client.check(Freshness::Local, check).await?.answer;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Client`] is one connection and does one thing at a time; tasks that ask at once have one each, or share batches. It
//! does not connect again by itself: [`ClientError`] says when that helps. Dropping the future of a question gives the
//! question up, and the client goes on. Ids are kept as long as one likes: they are never used again.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use grantd_catalog::refusal::Refusal;
use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;

use super::protocol::{
    Answer, FRAME_BYTES_MAX, Frame, LENGTH_BYTES, Malformed, PROTOCOL_MAX, PROTOCOL_MIN, Request, TooLarge,
    UNKNOWN, YES, encode_checks, split,
};
use super::{Answered, Check};

pub use super::protocol::{CHECKS_MAX, Changed, NAMES_MAX};
pub use super::question::{Question, ResourceKind};
pub use crate::gate::Freshness;
pub use grantd_catalog::id::{ObjectId, PrincipalId, Version};
pub use grantd_catalog::privilege::{ObjectKind, Privilege};

/// The most batches that are sent and not received yet: their answers are kept by this side while it still sends.
pub const PIPELINED_MAX: usize = 64;
/// Room for what comes, to begin with.
const INPUT_BYTES: usize = 16 << 10;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// There is no node, or this process may not reach its socket.
    #[error("cannot connect to the check socket `{path}`: is the node running, and may this user enter its directory?", path = path.display())]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The node says no. 57P03: it is cut off, try again or ask another node. 28000: another role. 42501: a right is
    /// missing, which the message names.
    #[error("{} (SQLSTATE {})", .0.message, .0.code.as_str())]
    Refused(Refusal),
    /// The connection is gone. Connect again, and ask again: a question changes nothing.
    #[error("the connection to the check socket is lost: connect again")]
    Lost(#[source] io::Error),
    /// What came is not of this protocol.
    #[error("the node answered in another protocol: use a client of its release")]
    Malformed(#[from] Malformed),
    /// Too much for one request.
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    /// Batches were sent whose answers were not received.
    #[error("{0} batches were sent and not received: receive them first")]
    Waiting(usize),
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// The node at the other end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its number.
    pub node: u64,
    /// Its cluster; empty: it is in none yet.
    pub cluster: String,
    /// Its release.
    pub release: String,
    /// What it had applied when it said so.
    pub version: Version,
}

/// A connection to a node's check socket.
#[derive(Debug)]
pub struct Client {
    stream: UnixStream,
    server: Server,
    input: Vec<u8>,
    /// What of `input` was understood.
    begin: usize,
    output: Vec<u8>,
    /// What of `output` was sent.
    sent: usize,
    next_id: u32,
    /// Batches that were sent and are to be received, in their order.
    pipelined: VecDeque<u32>,
}

impl Client {
    /// Connects and asks as `role`; empty: as the role that is called like the user of this process.
    pub async fn connect(path: impl AsRef<Path>, role: &str) -> Result<Self, ClientError> {
        let path = path.as_ref();
        let stream = UnixStream::connect(path)
            .await
            .map_err(|source| ClientError::Connect { path: path.to_path_buf(), source })?;
        let server =
            Server { node: 0, cluster: String::new(), release: String::new(), version: Version::default() };
        let mut client = Self {
            stream,
            server,
            input: Vec::with_capacity(INPUT_BYTES),
            begin: 0,
            output: Vec::new(),
            sent: 0,
            next_id: 1,
            pipelined: VecDeque::new(),
        };
        let (protocol_min, protocol_max) = (PROTOCOL_MIN, PROTOCOL_MAX);
        let hello = Request::Hello { protocol_min, protocol_max, role };
        client.server = client
            .request(&hello, |answer| match answer {
                Answer::Hello { node, version, cluster, release, .. } => {
                    Some(Server { node, cluster: cluster.to_owned(), release: release.to_owned(), version })
                }
                _ => None,
            })
            .await?;
        Ok(client)
    }

    /// The node at the other end.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The id of a user or role, or of `public`; none: there is none of this name.
    pub async fn principal(&mut self, name: &str) -> Result<Option<PrincipalId>, ClientError> {
        let names = vec![(ResourceKind::Role, name.to_owned())];
        Ok(self.resolve(Freshness::Local, names).await?.answer.into_iter().flatten().next().map(PrincipalId))
    }

    /// The id of an object by its full name, as SQL writes it: `database.schema.table`; none: there is none.
    pub async fn object(&mut self, kind: ObjectKind, name: &str) -> Result<Option<ObjectId>, ClientError> {
        let names = vec![(ResourceKind::Object(kind), name.to_owned())];
        Ok(self.resolve(Freshness::Local, names).await?.answer.into_iter().flatten().next().map(ObjectId))
    }

    /// The ids of many names, in their order: of a role [`PrincipalId`], of anything else [`ObjectId`]. At most
    /// [`NAMES_MAX`].
    pub async fn resolve(
        &mut self,
        freshness: Freshness,
        names: Vec<(ResourceKind, String)>,
    ) -> Result<Answered<Vec<Option<u32>>>, ClientError> {
        let count = names.len();
        let request = Request::Resolve { freshness, names };
        self.request(&request, |answer| match answer {
            Answer::Resolved { version, ids } if ids.len() == count => {
                Some(Answered { version, answer: ids })
            }
            _ => None,
        })
        .await
    }

    /// One check by id.
    pub async fn check(&mut self, freshness: Freshness, check: Check) -> Result<Answered<bool>, ClientError> {
        let id = self.begin_request()?;
        encode_checks(id, freshness, [check].iter(), &mut self.output)?;
        self.finish(id, |answer| match answer {
            Answer::Checked { version, answers: [one] } => Some(Answered { version, answer: *one == YES }),
            _ => None,
        })
        .await
    }

    /// Checks by id, decided on one version. `answers` is cleared and has one for each, in their order. At most
    /// [`CHECKS_MAX`].
    pub async fn check_batch(
        &mut self,
        freshness: Freshness,
        checks: &[Check],
        answers: &mut Vec<bool>,
    ) -> Result<Version, ClientError> {
        let id = self.begin_request()?;
        encode_checks(id, freshness, checks.iter(), &mut self.output)?;
        self.finish(id, |answer| checked(&answer, answers).filter(|_| answers.len() == checks.len())).await
    }

    /// Questions in names, decided on one version; none: it names what is not there. At most [`NAMES_MAX`].
    pub async fn ask(
        &mut self,
        freshness: Freshness,
        questions: Vec<Question>,
    ) -> Result<Answered<Vec<Option<bool>>>, ClientError> {
        let count = questions.len();
        let request = Request::Ask { freshness, questions };
        let said = |byte: &u8| (*byte != UNKNOWN).then_some(*byte == YES);
        self.request(&request, |answer| match answer {
            Answer::Checked { version, answers } if answers.len() == count => {
                Some(Answered { version, answer: answers.iter().map(said).collect() })
            }
            _ => None,
        })
        .await
    }

    /// A question in names, with the reason of its answer in words for people. What is not there is refused, with the name.
    pub async fn explain(
        &mut self,
        freshness: Freshness,
        question: Question,
    ) -> Result<Answered<(bool, String)>, ClientError> {
        let request = Request::Explain { freshness, question };
        self.request(&request, |answer| match answer {
            Answer::Explained { version, allowed, reason } => {
                Some(Answered { version, answer: (allowed, reason.to_owned()) })
            }
            _ => None,
        })
        .await
    }

    /// Sends a batch without waiting for its answers: [`Self::receive`] has them, batch by batch, in the order in which they
    /// were sent. At most [`PIPELINED_MAX`] wait.
    pub async fn send(&mut self, freshness: Freshness, checks: &[Check]) -> Result<(), ClientError> {
        if self.pipelined.len() >= PIPELINED_MAX {
            return Err(ClientError::Waiting(self.pipelined.len()));
        }
        let id = self.next();
        encode_checks(id, freshness, checks.iter(), &mut self.output)?;
        self.pipelined.push_back(id);
        self.flush().await
    }

    /// The answers to the oldest batch that was sent and not received. None: there is none. A refusal is that batch's.
    pub async fn receive(&mut self, answers: &mut Vec<bool>) -> Result<Option<Version>, ClientError> {
        let Some(id) = self.pipelined.front().copied() else { return Ok(None) };
        self.flush().await?;
        let bytes = self.arrived(id).await?;
        self.pipelined.pop_front();
        self.taken(bytes, |answer| checked(&answer, answers)).map(Some)
    }

    /// Is told from now on what changes: after a version that was seen here or at another node, or after now. The connection
    /// is for nothing else from then on.
    pub async fn watch(mut self, after: Option<Version>) -> Result<Watch, ClientError> {
        let id = self.begin_request()?;
        Request::Watch { after }.encode(id, &mut self.output)?;
        self.flush().await?;
        Ok(Watch { client: self, id, position: after, part: Vec::new() })
    }

    async fn request<T>(
        &mut self,
        request: &Request<'_>,
        read: impl FnOnce(Answer<'_>) -> Option<T>,
    ) -> Result<T, ClientError> {
        let id = self.begin_request()?;
        request.encode(id, &mut self.output)?;
        self.finish(id, read).await
    }

    /// A number for a request whose answer is waited for. What is waited for by nobody may still come, and is passed over.
    fn begin_request(&mut self) -> Result<u32, ClientError> {
        match self.pipelined.len() {
            0 => Ok(self.next()),
            waiting => Err(ClientError::Waiting(waiting)),
        }
    }

    /// Never 0, which is the connection's own.
    fn next(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id = id.checked_add(1).unwrap_or(1);
        id
    }

    async fn finish<T>(
        &mut self,
        id: u32,
        read: impl FnOnce(Answer<'_>) -> Option<T>,
    ) -> Result<T, ClientError> {
        self.flush().await?;
        let bytes = self.arrived(id).await?;
        self.taken(bytes, read)
    }

    /// Sends what is to be sent. What comes meanwhile is read, or both sides would wait for each other.
    async fn flush(&mut self) -> Result<(), ClientError> {
        while self.sent < self.output.len() {
            match self.stream.try_write(&self.output[self.sent..]) {
                Ok(written) => self.sent += written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let ready = self.stream.ready(Interest::READABLE | Interest::WRITABLE).await?;
                    if ready.is_readable() {
                        match self.stream.try_read_buf(&mut self.input) {
                            Ok(0) => return Err(closed()),
                            Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                                return Err(error.into());
                            }
                            Ok(_) | Err(_) => {}
                        }
                    }
                }
                // The node has closed. Why may be there to be read.
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                Err(error) => return Err(error.into()),
            }
        }
        self.output.clear();
        self.sent = 0;
        Ok(())
    }

    /// Waits for the answer with this number, and says how long its frame is, which is first in `input` then.
    async fn arrived(&mut self, id: u32) -> Result<usize, ClientError> {
        loop {
            match split(&self.input[self.begin..], FRAME_BYTES_MAX)? {
                Some(frame) if frame.id == id || frame.id == 0 => return Ok(frame.bytes),
                // Of a question that was given up.
                Some(frame) => self.begin += frame.bytes,
                None => {
                    self.input.drain(..self.begin);
                    self.begin = 0;
                    self.input.reserve(LENGTH_BYTES + INPUT_BYTES);
                    if self.stream.read_buf(&mut self.input).await? == 0 {
                        return Err(closed());
                    }
                }
            }
        }
    }

    /// Reads the first frame of `input` and takes it off.
    fn taken<T>(
        &mut self,
        bytes: usize,
        read: impl FnOnce(Answer<'_>) -> Option<T>,
    ) -> Result<T, ClientError> {
        let Some(frame) = split(&self.input[self.begin..], FRAME_BYTES_MAX)? else { return Err(closed()) };
        let answer = answer(&frame, read);
        self.begin += bytes;
        answer
    }
}

fn answer<T>(frame: &Frame<'_>, read: impl FnOnce(Answer<'_>) -> Option<T>) -> Result<T, ClientError> {
    match Answer::decode(frame)? {
        Answer::Refused(refusal) => Err(ClientError::Refused(refusal)),
        answer => read(answer).ok_or(ClientError::Malformed(Malformed("an answer is not of its request"))),
    }
}

fn checked(answer: &Answer<'_>, into: &mut Vec<bool>) -> Option<Version> {
    let Answer::Checked { version, answers } = answer else { return None };
    into.clear();
    into.extend(answers.iter().map(|byte| *byte == YES));
    Some(*version)
}

fn closed() -> ClientError {
    ClientError::Lost(io::Error::new(io::ErrorKind::UnexpectedEof, "the node closed the connection"))
}

/// What a watch tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A version changed these records.
    Changes {
        /// Which.
        version: Version,
        /// Whether somebody may be allowed less than before.
        tightens: bool,
        /// What was changed; answers that depend on it may be others.
        records: Vec<Changed>,
    },
    /// All changes up to here were told, and when the node looked, just before it sent this, none that takes rights away had
    /// been reported that is not among them. Comes at least twice a second; without it what was kept can be as old as the silence is long.
    Progress(Version),
    /// What changed up to here is not known any more: everything that was kept may be another.
    Resync(Version),
}

/// A connection that is told what changes.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    id: u32,
    position: Option<Version>,
    /// Of a version whose last frame has not come.
    part: Vec<Changed>,
}

impl Watch {
    /// Waits for what is told next. Dropping the future loses nothing. After an error: connect again, to this node or
    /// another, and watch after [`Self::position`].
    pub async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            let bytes = self.client.arrived(self.id).await?;
            let part = &mut self.part;
            let event = self.client.taken(bytes, |answer| match answer {
                Answer::Changes { version, tightens, more, records } => {
                    part.extend(records);
                    let whole = |part| Event::Changes { version, tightens, records: std::mem::take(part) };
                    Some((!more).then(|| whole(part)))
                }
                Answer::Progress { version } => Some(Some(Event::Progress(version))),
                Answer::Resync { version } => Some(Some(Event::Resync(version))),
                _ => None,
            })?;
            if let Some(event) = event {
                let (Event::Changes { version, .. } | Event::Progress(version) | Event::Resync(version)) =
                    event;
                self.position = Some(version);
                return Ok(event);
            }
        }
    }

    /// Up to where everything was told; none: nothing yet.
    pub fn position(&self) -> Option<Version> {
        self.position
    }
}
