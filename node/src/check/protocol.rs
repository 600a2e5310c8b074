//! The bytes on the check socket, without I/O: frames, requests and answers. `docs/checks-socket.md` has them byte by byte.
//!
//! Nothing here changes once released: a new fact gets a new kind of frame or a new protocol version. Numbers are
//! little-endian. What is decoded borrows from the buffer, so a batch of checks is read where it lies.
//!
//! S1: a length is checked before anything is read or reserved by it.
//! S2: no bytes make a decoder panic.
//! S3: what has no meaning yet (reserved bytes, bytes left over) is an error, so that it can get one.

mod bytes;
#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use grantd_catalog::id::{ObjectId, PrincipalId, Version};
use grantd_catalog::privilege::{ObjectKind, Privilege};
use grantd_catalog::record::RecordKey;
use grantd_catalog::refusal::{Refusal, SqlState, state};

use self::bytes::{Reader, Writer};
use super::Check;
use super::question::{Question, ResourceKind};
use crate::gate::Freshness;

pub use self::bytes::Malformed;

/// The oldest protocol version that is spoken here.
pub const PROTOCOL_MIN: u16 = 1;
/// The newest one.
pub const PROTOCOL_MAX: u16 = 1;
/// What a hello begins with: whoever talks something else to this socket is told at once.
pub const MAGIC: [u8; 8] = *b"grantd-c";
/// Bytes of the length that each frame begins with.
pub const LENGTH_BYTES: usize = 4;
/// The most bytes of a frame after its length. Holds the largest batch, and is small enough to be kept per connection.
pub const FRAME_BYTES_MAX: usize = 64 << 10;
/// The most bytes of a hello after its length: a stranger reserves no more.
pub const HELLO_BYTES_MAX: usize = 512;
/// The most checks by id in a frame: a fraction of a millisecond, for which others on the thread wait.
pub const CHECKS_MAX: usize = 4_096;
/// The most questions or names in a frame. Each name is parsed and looked up.
pub const NAMES_MAX: usize = 1_024;
/// The most bytes of a name or an action.
pub const NAME_BYTES_MAX: usize = 1_024;
/// The most bytes of a text in an answer; a longer one is cut.
pub const TEXT_BYTES_MAX: usize = 8 << 10;
/// The most records in a frame of changes; more of one version follow in further ones.
pub const RECORDS_MAX: usize = 4_096;
/// Bytes of a check by id.
pub const CHECK_BYTES: usize = 12;

/// An answer to a check: no.
pub const NO: u8 = 0;
/// Yes.
pub const YES: u8 = 1;
/// What was asked in names means nothing: there is no such role or object, or no such privilege on it.
pub const UNKNOWN: u8 = 2;

/// A client asks more than a frame takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request has {what} {given}; at most {most} fit in one")]
pub struct TooLarge {
    /// Of what there is too much.
    pub what: &'static str,
    /// How much.
    pub given: usize,
    /// How much would do.
    pub most: usize,
}

/// A frame that is there as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The client's number for the request; an answer has that of its request.
    pub id: u32,
    /// What it is.
    pub kind: u8,
    /// The rest.
    pub body: &'a [u8],
    /// The bytes of all of it, its length included.
    pub bytes: usize,
}

/// Takes the first frame off `buffer`. None: it is not there as a whole yet.
///
/// Errors: it says that it is longer than `most` bytes, or shorter than its head.
pub fn split(buffer: &[u8], most: usize) -> Result<Option<Frame<'_>>, Malformed> {
    let Some((length, rest)) = buffer.split_first_chunk() else { return Ok(None) };
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > most {
        return Err(Malformed("a frame is longer than is allowed"));
    }
    if length < HEAD_BYTES {
        return Err(Malformed("a frame is shorter than its head"));
    }
    let Some(frame) = rest.get(..length) else { return Ok(None) };
    let mut head = Reader::new(frame);
    let (id, kind) = (head.u32()?, head.u8()?);
    Ok(Some(Frame { id, kind, body: &frame[HEAD_BYTES..], bytes: LENGTH_BYTES + length }))
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// The first frame: which versions it speaks, and as whom it asks.
    Hello {
        /// The oldest version.
        protocol_min: u16,
        /// The newest.
        protocol_max: u16,
        /// As whom; empty: as the role that is called as the operating system's user.
        role: &'a str,
    },
    /// Checks by id.
    Check {
        /// How fresh.
        freshness: Freshness,
        /// Which.
        checks: Checks<'a>,
    },
    /// Questions in names.
    Ask {
        /// How fresh.
        freshness: Freshness,
        /// Which.
        questions: Vec<Question>,
    },
    /// Names to be turned into ids.
    Resolve {
        /// How fresh.
        freshness: Freshness,
        /// Which: of a role, or of an object of a kind.
        names: Vec<(ResourceKind, String)>,
    },
    /// A question with the reason of its answer.
    Explain {
        /// How fresh.
        freshness: Freshness,
        /// Which.
        question: Question,
    },
    /// To be told from now on what changes. It is a connection's last request.
    Watch {
        /// From there on; none: from now on.
        after: Option<Version>,
    },
}

/// Checks as they lie in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks<'a>(&'a [[u8; CHECK_BYTES]]);

/// What a node says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<'a> {
    /// To a hello.
    Hello {
        /// The version that is spoken from here on.
        protocol: u16,
        /// The node's number.
        node: u64,
        /// What it has applied.
        version: Version,
        /// Its cluster; empty: it is in none yet.
        cluster: &'a str,
        /// Its release.
        release: &'a str,
    },
    /// To checks and questions: one byte each, in their order.
    Checked {
        /// What they were decided on.
        version: Version,
        /// [`NO`], [`YES`] or [`UNKNOWN`].
        answers: &'a [u8],
    },
    /// To names: one each, in their order; none: there is nothing of this name.
    Resolved {
        /// Of which they are the ids.
        version: Version,
        /// The ids of principals and objects.
        ids: Vec<Option<u32>>,
    },
    /// To an explain.
    Explained {
        /// What it was decided on.
        version: Version,
        /// The answer.
        allowed: bool,
        /// The reason, for people.
        reason: &'a str,
    },
    /// To a watch: what a version changed, or a part of it.
    Changes {
        /// Which.
        version: Version,
        /// Whether somebody may be allowed less than before.
        tightens: bool,
        /// Whether more of the same version follows.
        more: bool,
        /// What was changed.
        records: Vec<Changed>,
    },
    /// To a watch: all changes up to here were told, and when the node looked, just before it sent this, none that takes
    /// rights away had been reported that is not among them.
    Progress {
        /// Up to where.
        version: Version,
    },
    /// To a watch: what changed before is not known any more. Everything may be another.
    Resync {
        /// From where on changes are told again.
        version: Version,
    },
    /// Why there is no answer.
    Refused(Refusal),
}

/// What a change was of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Changed {
    /// A user or role: it was made, altered or dropped.
    Principal(PrincipalId),
    /// That `member` belongs to `role`.
    Membership {
        /// What it belongs to.
        role: PrincipalId,
        /// Who.
        member: PrincipalId,
    },
    /// An object, with its owner and what was granted on it; of the cluster, the system privileges.
    Object(ObjectId),
    /// Variables that sessions begin with.
    Variables {
        /// In sessions of this database.
        database: ObjectId,
        /// Of this role.
        role: PrincipalId,
    },
    /// Default privileges: what new objects begin with.
    Defaults {
        /// The database or schema.
        holder: ObjectId,
        /// Who makes them.
        creator: PrincipalId,
    },
    /// A cluster setting.
    Setting,
    /// A protection of the change history.
    Protection,
}

const HEAD_BYTES: usize = 5;

const HELLO: u8 = 1;
const CHECK: u8 = 2;
const ASK: u8 = 3;
const RESOLVE: u8 = 4;
const EXPLAIN: u8 = 5;
const WATCH: u8 = 6;

const HELLO_OK: u8 = 129;
const CHECKED: u8 = 130;
const RESOLVED: u8 = 132;
const EXPLAINED: u8 = 133;
const CHANGES: u8 = 134;
const PROGRESS: u8 = 135;
const RESYNC: u8 = 136;
const REFUSED: u8 = 255;

/// The number of a kind is its place here.
const KINDS: [ResourceKind; 10] = [
    ResourceKind::Object(ObjectKind::Cluster),
    ResourceKind::Object(ObjectKind::Database),
    ResourceKind::Object(ObjectKind::Schema),
    ResourceKind::Object(ObjectKind::Table),
    ResourceKind::Object(ObjectKind::Sequence),
    ResourceKind::Object(ObjectKind::Type),
    ResourceKind::Object(ObjectKind::Function),
    ResourceKind::Object(ObjectKind::ExternalConnection),
    ResourceKind::Role,
    ResourceKind::Object(ObjectKind::IamRole),
];

/// Privileges by their number: a batch looks up one for each check.
static PRIVILEGES: LazyLock<[Option<Privilege>; 256]> = LazyLock::new(|| {
    let mut table = [None; 256];
    for privilege in Privilege::each() {
        table[usize::from(privilege as u8)] = Some(privilege);
    }
    table
});

impl<'a> Checks<'a> {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each in its turn, or 22023: it asks for what this release does not know.
    pub fn iter(&self) -> impl Iterator<Item = Result<Check, Refusal>> + use<'a> {
        self.0.iter().enumerate().map(|(at, bytes)| check_of(bytes).ok_or_else(|| not_a_check(at)))
    }
}

/// The bytes of a check by id.
pub fn check_bytes(check: &Check) -> [u8; CHECK_BYTES] {
    let (subject, object, privilege, form) = match *check {
        Check::Holds { subject, privilege, object } => (subject, object.0, privilege as u8, 0),
        Check::HoldsGrantOption { subject, privilege, object } => (subject, object.0, privilege as u8, 1),
        Check::Member { subject, role } => (subject, role.0, 0, 2),
        Check::AdminOption { subject, role } => (subject, role.0, 0, 3),
    };
    let (a, b) = (subject.0.to_le_bytes(), object.to_le_bytes());
    [a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3], privilege, form, 0, 0]
}

#[inline]
fn check_of(bytes: &[u8; CHECK_BYTES]) -> Option<Check> {
    let [a0, a1, a2, a3, b0, b1, b2, b3, privilege, form, 0, 0] = *bytes else { return None };
    let subject = PrincipalId(u32::from_le_bytes([a0, a1, a2, a3]));
    let on = u32::from_le_bytes([b0, b1, b2, b3]);
    let (object, role) = (ObjectId(on), PrincipalId(on));
    match (form, PRIVILEGES[usize::from(privilege)], privilege) {
        (0, Some(privilege), _) => Some(Check::Holds { subject, privilege, object }),
        (1, Some(privilege), _) => Some(Check::HoldsGrantOption { subject, privilege, object }),
        (2, _, 0) => Some(Check::Member { subject, role }),
        (3, _, 0) => Some(Check::AdminOption { subject, role }),
        _ => None,
    }
}

fn not_a_check(at: usize) -> Refusal {
    Refusal::new(
        state::INVALID_PARAMETER_VALUE,
        format!("check {at} of the batch asks for what is not known here"),
    )
    .with_hint("Its privilege or form has a number that this release does not have. Nothing was decided.")
}

impl<'a> Request<'a> {
    /// What a frame says.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, Malformed> {
        let mut reader = Reader::new(frame.body);
        let request = match frame.kind {
            HELLO => {
                if reader.array()? != MAGIC {
                    return Err(Malformed("the first frame is not a hello of this protocol"));
                }
                let (protocol_min, protocol_max) = (reader.u16()?, reader.u16()?);
                Self::Hello { protocol_min, protocol_max, role: reader.text(NAME_BYTES_MAX)? }
            }
            CHECK => {
                let freshness = reader.freshness()?;
                let count = reader.count(CHECKS_MAX)?;
                Self::Check { freshness, checks: Checks(reader.arrays(count)?) }
            }
            ASK => {
                let freshness = reader.freshness()?;
                let count = reader.count(NAMES_MAX)?;
                let questions = (0..count).map(|_| reader.question()).collect::<Result<_, _>>()?;
                Self::Ask { freshness, questions }
            }
            RESOLVE => {
                let freshness = reader.freshness()?;
                let count = reader.count(NAMES_MAX)?;
                let name =
                    |reader: &mut Reader<'_>| Ok((reader.kind()?, reader.text(NAME_BYTES_MAX)?.to_owned()));
                let names = (0..count).map(|_| name(&mut reader)).collect::<Result<_, _>>()?;
                Self::Resolve { freshness, names }
            }
            EXPLAIN => Self::Explain { freshness: reader.freshness()?, question: reader.question()? },
            WATCH => Self::Watch { after: Some(Version(reader.u64()?)).filter(|after| after.0 > 0) },
            _ => return Err(Malformed("a frame has a kind that is not known")),
        };
        reader.end()?;
        Ok(request)
    }

    /// Appends it as a frame. Too large: nothing is appended.
    pub fn encode(&self, id: u32, out: &mut Vec<u8>) -> Result<(), TooLarge> {
        self.check_size()?;
        match self {
            Self::Hello { protocol_min, protocol_max, role } => {
                let mut writer = Writer::begin(out, id, HELLO);
                writer.bytes(&MAGIC).u16(*protocol_min).u16(*protocol_max).text(role);
                writer.end_within(HELLO_BYTES_MAX)
            }
            Self::Check { freshness, checks } => {
                let mut writer = Writer::begin(out, id, CHECK);
                writer.freshness(*freshness).count(checks.len()).bytes(checks.0.as_flattened());
                writer.end_within(FRAME_BYTES_MAX)
            }
            Self::Ask { freshness, questions } => {
                let mut writer = Writer::begin(out, id, ASK);
                writer.freshness(*freshness).count(questions.len());
                for question in questions {
                    writer.question(question);
                }
                writer.end_within(FRAME_BYTES_MAX)
            }
            Self::Resolve { freshness, names } => {
                let mut writer = Writer::begin(out, id, RESOLVE);
                writer.freshness(*freshness).count(names.len());
                for (kind, name) in names {
                    writer.kind(*kind).text(name);
                }
                writer.end_within(FRAME_BYTES_MAX)
            }
            Self::Explain { freshness, question } => {
                let mut writer = Writer::begin(out, id, EXPLAIN);
                writer.freshness(*freshness).question(question);
                writer.end_within(FRAME_BYTES_MAX)
            }
            Self::Watch { after } => {
                let mut writer = Writer::begin(out, id, WATCH);
                writer.u64(after.map_or(0, |after| after.0));
                writer.end_within(FRAME_BYTES_MAX)
            }
        }
    }

    fn check_size(&self) -> Result<(), TooLarge> {
        let within =
            |what, given, most| if given > most { Err(TooLarge { what, given, most }) } else { Ok(()) };
        let name = |text: &str| within("a name of bytes:", text.len(), NAME_BYTES_MAX);
        let of = |question: &Question| {
            [&question.subject, &question.action, &question.name].into_iter().try_for_each(|text| name(text))
        };
        match self {
            Self::Hello { role, .. } => name(role),
            Self::Check { checks, .. } => within("checks:", checks.len(), CHECKS_MAX),
            Self::Ask { questions, .. } => {
                within("questions:", questions.len(), NAMES_MAX)?;
                questions.iter().try_for_each(of)
            }
            Self::Resolve { names, .. } => {
                within("names:", names.len(), NAMES_MAX)?;
                names.iter().try_for_each(|(_, text)| name(text))
            }
            Self::Explain { question, .. } => of(question),
            Self::Watch { .. } => Ok(()),
        }
    }
}

/// Appends a frame of checks by id, without a copy of them in between.
pub fn encode_checks<'c>(
    id: u32,
    freshness: Freshness,
    checks: impl ExactSizeIterator<Item = &'c Check>,
    out: &mut Vec<u8>,
) -> Result<(), TooLarge> {
    let given = checks.len();
    if given > CHECKS_MAX {
        return Err(TooLarge { what: "checks:", given, most: CHECKS_MAX });
    }
    let mut writer = Writer::begin(out, id, CHECK);
    writer.freshness(freshness).count(given);
    for check in checks {
        writer.bytes(&check_bytes(check));
    }
    writer.end_within(FRAME_BYTES_MAX)
}

impl<'a> Answer<'a> {
    /// What a frame says.
    pub fn decode(frame: &Frame<'a>) -> Result<Self, Malformed> {
        let mut reader = Reader::new(frame.body);
        let answer = match frame.kind {
            HELLO_OK => Self::Hello {
                protocol: reader.u16()?,
                node: reader.u64()?,
                version: reader.version()?,
                cluster: reader.text(TEXT_BYTES_MAX)?,
                release: reader.text(TEXT_BYTES_MAX)?,
            },
            CHECKED => {
                let version = reader.version()?;
                let count = reader.count(CHECKS_MAX)?;
                let answers = reader.take(count)?;
                if answers.iter().any(|answer| *answer > UNKNOWN) {
                    return Err(Malformed("an answer is none of no, yes and unknown"));
                }
                Self::Checked { version, answers }
            }
            RESOLVED => {
                let version = reader.version()?;
                let count = reader.count(NAMES_MAX)?;
                let ids = (0..count).map(|_| reader.optional_id()).collect::<Result<_, _>>()?;
                Self::Resolved { version, ids }
            }
            EXPLAINED => Self::Explained {
                version: reader.version()?,
                allowed: reader.boolean()?,
                reason: reader.text(TEXT_BYTES_MAX)?,
            },
            CHANGES => {
                let version = reader.version()?;
                let flags = reader.u8()?;
                if flags > TIGHTENS | MORE {
                    return Err(Malformed("a flag of a change is not known"));
                }
                let (tightens, more) = (flags & TIGHTENS != 0, flags & MORE != 0);
                let count = reader.count(RECORDS_MAX)?;
                let records = (0..count).map(|_| reader.changed()).collect::<Result<_, _>>()?;
                Self::Changes { version, tightens, more, records }
            }
            PROGRESS => Self::Progress { version: reader.version()? },
            RESYNC => Self::Resync { version: reader.version()? },
            REFUSED => {
                let code = reader.array::<5>()?;
                let code = std::str::from_utf8(&code).ok().filter(|code| is_state(code));
                let code = SqlState::new(code.ok_or(Malformed("a refusal has no SQLSTATE"))?);
                let mut refusal = Refusal::new(code, reader.text(TEXT_BYTES_MAX)?);
                refusal.detail =
                    Some(reader.text(TEXT_BYTES_MAX)?.to_owned()).filter(|text| !text.is_empty());
                refusal.hint = Some(reader.text(TEXT_BYTES_MAX)?.to_owned()).filter(|text| !text.is_empty());
                Self::Refused(refusal)
            }
            _ => return Err(Malformed("an answer has a kind that is not known")),
        };
        reader.end()?;
        Ok(answer)
    }

    /// Appends it as a frame. Texts are cut at [`TEXT_BYTES_MAX`], so that it fits.
    pub fn encode(&self, id: u32, out: &mut Vec<u8>) {
        match self {
            Self::Hello { protocol, node, version, cluster, release } => {
                let mut writer = Writer::begin(out, id, HELLO_OK);
                writer.u16(*protocol).u64(*node).u64(version.0).text(cluster).text(release);
            }
            Self::Checked { version, answers } => {
                let mut writer = Writer::begin(out, id, CHECKED);
                writer.u64(version.0).count(answers.len()).bytes(answers);
            }
            Self::Resolved { version, ids } => {
                let mut writer = Writer::begin(out, id, RESOLVED);
                writer.u64(version.0).count(ids.len());
                for found in ids {
                    writer.u8(u8::from(found.is_some())).u32(found.unwrap_or(0));
                }
            }
            Self::Explained { version, allowed, reason } => {
                let mut writer = Writer::begin(out, id, EXPLAINED);
                writer.u64(version.0).u8(u8::from(*allowed)).text(reason);
            }
            Self::Changes { version, tightens, more, records } => {
                let mut writer = Writer::begin(out, id, CHANGES);
                let flags = if *tightens { TIGHTENS } else { 0 } | if *more { MORE } else { 0 };
                writer.u64(version.0).u8(flags).count(records.len());
                for record in records {
                    let (kind, a, b) = record.parts();
                    writer.u8(kind).u32(a).u32(b);
                }
            }
            Self::Progress { version } => {
                Writer::begin(out, id, PROGRESS).u64(version.0);
            }
            Self::Resync { version } => {
                Writer::begin(out, id, RESYNC).u64(version.0);
            }
            Self::Refused(refusal) => {
                let mut writer = Writer::begin(out, id, REFUSED);
                writer.bytes(refusal.code.as_str().as_bytes()).text(&refusal.message);
                writer
                    .text(refusal.detail.as_deref().unwrap_or(""))
                    .text(refusal.hint.as_deref().unwrap_or(""));
            }
        }
    }
}

const TIGHTENS: u8 = 1;
const MORE: u8 = 2;

fn is_state(code: &str) -> bool {
    code.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

impl Changed {
    /// What a record is to those outside; none: nothing of theirs.
    pub fn of(key: RecordKey) -> Option<Self> {
        match key {
            RecordKey::Counters => None,
            RecordKey::Principal(id) => Some(Self::Principal(id)),
            RecordKey::Membership { role, member } => Some(Self::Membership { role, member }),
            RecordKey::SystemPrivileges => Some(Self::Object(ObjectId::CLUSTER)),
            RecordKey::Object(id) => Some(Self::Object(id)),
            RecordKey::RoleSettings { database, role } => Some(Self::Variables { database, role }),
            RecordKey::DefaultPrivileges { holder, creator } => Some(Self::Defaults { holder, creator }),
            RecordKey::Setting(_) => Some(Self::Setting),
            RecordKey::Protection(_) => Some(Self::Protection),
            // Jobs and schedules hold no rights, and nobody any on what is on a shelf.
            RecordKey::NextJob
            | RecordKey::Job(_)
            | RecordKey::ClaimLease { .. }
            | RecordKey::Shelf(_)
            | RecordKey::Shelved { .. }
            | RecordKey::Schedule(_) => None,
        }
    }

    fn parts(self) -> (u8, u32, u32) {
        match self {
            Self::Principal(id) => (1, id.0, 0),
            Self::Membership { role, member } => (2, role.0, member.0),
            Self::Object(id) => (3, id.0, 0),
            Self::Variables { database, role } => (4, database.0, role.0),
            Self::Defaults { holder, creator } => (5, holder.0, creator.0),
            Self::Setting => (6, 0, 0),
            Self::Protection => (7, 0, 0),
        }
    }

    fn from_parts(kind: u8, a: u32, b: u32) -> Option<Self> {
        match (kind, b) {
            (1, 0) => Some(Self::Principal(PrincipalId(a))),
            (2, _) => Some(Self::Membership { role: PrincipalId(a), member: PrincipalId(b) }),
            (3, 0) => Some(Self::Object(ObjectId(a))),
            (4, _) => Some(Self::Variables { database: ObjectId(a), role: PrincipalId(b) }),
            (5, _) => Some(Self::Defaults { holder: ObjectId(a), creator: PrincipalId(b) }),
            (6, 0) if a == 0 => Some(Self::Setting),
            (7, 0) if a == 0 => Some(Self::Protection),
            _ => None,
        }
    }
}
