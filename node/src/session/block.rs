//! A session's transaction block, as a state machine without I/O: what statements may run, where the next one runs, and
//! what is put back when it ends. `sql::execute` does what follows from it, `pgwire` tells its status.
//!
//! A transaction is fresh, then reads on a snapshot of its node, and from its first write on runs at the leader. After
//! an error it takes nothing but its end, or a way back to a savepoint. Texts and codes are PostgreSQL's.

use std::collections::{BTreeMap, BTreeSet};

use grantd_catalog::id::{ObjectId, Version};
use grantd_catalog::name::Name;
use grantd_catalog::refusal::{Refusal, SqlState, state};
use grantd_raft::entry::Proposal;

use super::{SequenceValues, Variables};
use crate::gate::restart;

/// The most savepoints of a transaction at a time: each holds a copy of the session's variables.
pub const SAVEPOINTS_MAX: usize = 1_000;

/// States that only transactions have.
#[allow(missing_docs, reason = "PostgreSQL's condition names")]
pub mod code {
    use super::SqlState;

    pub const ACTIVE_TRANSACTION: SqlState = SqlState::new("25001");
    pub const READ_ONLY_TRANSACTION: SqlState = SqlState::new("25006");
    pub const NO_ACTIVE_TRANSACTION: SqlState = SqlState::new("25P01");
    pub const IN_FAILED_TRANSACTION: SqlState = SqlState::new("25P02");
    pub const IDLE_IN_TRANSACTION_TIMEOUT: SqlState = SqlState::new("25P03");
    pub const INVALID_SAVEPOINT: SqlState = SqlState::new("3B001");
}

/// What clients are told with ReadyForQuery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// Not in a transaction block.
    #[default]
    Idle,
    /// In a transaction that nobody began: it ends with its text, or at Sync. Clients never see it.
    Implicit,
    /// In one.
    Open,
    /// In one that waits for its end.
    Failed,
}

/// Who began a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// BEGIN.
    Explicit,
    /// Several statements in one text, or before one Sync.
    Implicit,
}

/// What a rollback puts back in the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// The variables.
    pub variables: Variables,
    /// What it remembers of sequences.
    pub sequences: SequenceValues,
    /// The cursors that there were, and when each was declared.
    pub cursors: BTreeMap<Name, i64>,
}

/// How far a transaction is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It has seen nothing and changed nothing.
    Fresh,
    /// It has read the rows of these tables on its snapshot.
    Reading(BTreeSet<ObjectId>),
    /// It runs at the leader.
    Writing {
        /// The version that it was begun upon there.
        base: Version,
        /// The changes of the catalog that it has made, for names that later statements use.
        proposals: Vec<Proposal>,
    },
    /// Nothing of it is left but its end.
    Lost,
}

/// The way back that a savepoint remembers.
#[derive(Clone, Debug)]
enum Point {
    /// The transaction had seen nothing: it begins anew.
    Fresh,
    /// It had only read.
    Reading,
    /// The leader's number of the place, and the changes of the catalog that were made before.
    Writing { mark: u32, proposals: usize },
}

#[derive(Clone, Debug)]
struct Savepoint {
    name: Name,
    point: Point,
    before: Before,
    kept: Option<Variables>,
}

/// An open transaction.
#[derive(Clone, Debug)]
pub struct Transaction {
    kind: Kind,
    /// When it began, in microseconds since the Unix epoch: what now() tells in it.
    pub began_micros: i64,
    /// How far it is.
    pub phase: Phase,
    /// How many rows its statements changed; a way back takes none of them off, as in CockroachDB.
    pub rows_written: u64,
    read_only: bool,
    savepoints: Vec<Savepoint>,
    before: Before,
    /// The variables without what SET LOCAL did, from the first SET LOCAL on.
    kept: Option<Variables>,
}

/// A session's transaction, if it is in one.
#[derive(Clone, Debug, Default)]
pub enum Block {
    /// It is in none: each statement is a transaction of its own.
    #[default]
    Idle,
    /// Statements run in it.
    Open(Box<Transaction>),
    /// A statement of it failed.
    Failed(Box<Transaction>),
}

/// What follows from ROLLBACK TO.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayBack {
    /// What is put back in the session.
    pub before: Before,
    /// What is done with what the transaction holds.
    pub held: Holding,
}

/// What is done with what a transaction holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holding {
    /// It is kept as it is.
    Keep,
    /// It is let go.
    Release,
    /// The leader goes back to this place.
    RollBackTo(u32),
}

/// The place at the leader of a transaction that has changed nothing there yet.
pub const START: u32 = 0;

impl Block {
    /// What the client is told.
    pub fn status(&self) -> Status {
        match self {
            Self::Idle => Status::Idle,
            Self::Open(open) if open.kind == Kind::Implicit => Status::Implicit,
            Self::Open(_) => Status::Open,
            Self::Failed(_) => Status::Failed,
        }
    }

    /// The transaction that statements run in.
    pub fn open(&self) -> Option<&Transaction> {
        match self {
            Self::Open(transaction) => Some(transaction),
            Self::Idle | Self::Failed(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn open_mut(&mut self) -> Option<&mut Transaction> {
        match self {
            Self::Open(transaction) => Some(transaction),
            Self::Idle | Self::Failed(_) => None,
        }
    }

    /// Begins one. What is returned is a warning.
    pub fn begin(
        &mut self,
        kind: Kind,
        read_only: bool,
        before: Before,
        began_micros: i64,
    ) -> Option<Refusal> {
        match (&mut *self, kind) {
            (Self::Idle, _) => {
                *self = Self::Open(Box::new(Transaction {
                    kind,
                    began_micros,
                    phase: Phase::Fresh,
                    rows_written: 0,
                    read_only,
                    savepoints: Vec::new(),
                    before,
                    kept: None,
                }));
                None
            }
            // As in PostgreSQL: what stood before BEGIN in the same text, or since the last Sync, becomes part of the
            // block.
            (Self::Open(open), Kind::Explicit) if open.kind == Kind::Implicit => {
                open.kind = Kind::Explicit;
                open.read_only |= read_only;
                None
            }
            (Self::Open(_) | Self::Failed(_), Kind::Explicit) => {
                Some(Refusal::new(code::ACTIVE_TRANSACTION, "there is already a transaction in progress"))
            }
            (Self::Open(_) | Self::Failed(_), Kind::Implicit) => None,
        }
    }

    /// Whether a statement that does not end the block may run: 25P02 after an error.
    pub fn allow(&self) -> Result<(), Refusal> {
        match self {
            Self::Idle | Self::Open(_) => Ok(()),
            Self::Failed(_) => Err(Refusal::new(
                code::IN_FAILED_TRANSACTION,
                "current transaction is aborted, commands ignored until end of transaction block",
            )),
        }
    }

    /// Ends the block, whatever it is.
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// A statement failed. What is put back in the session now, if the block is over with it; and whether what it holds
    /// is of no use any more.
    pub fn fail(&mut self) -> (Option<Before>, Holding) {
        match self.take() {
            Self::Idle => (None, Holding::Keep),
            Self::Open(open) if open.kind == Kind::Implicit => (Some(open.before), Holding::Release),
            Self::Open(mut open) => {
                // Nobody waits for what can only be rolled back.
                let held = match open.savepoints.is_empty() {
                    true => {
                        open.phase = Phase::Lost;
                        Holding::Release
                    }
                    false => Holding::Keep,
                };
                *self = Self::Failed(open);
                (None, held)
            }
            failed @ Self::Failed(_) => {
                *self = failed;
                (None, Holding::Keep)
            }
        }
    }

    /// Whether changes are refused (25006).
    pub fn is_read_only(&self) -> Option<bool> {
        self.open().map(|open| open.read_only)
    }

    /// Whether it ends with its text, or at Sync.
    pub fn is_implicit(&self) -> bool {
        self.open().is_some_and(|open| open.kind == Kind::Implicit)
    }

    /// SAVEPOINT. `mark`: where the leader is, of a transaction that writes.
    pub fn savepoint(&mut self, name: Name, mark: u32, before: Before) -> Result<(), Refusal> {
        self.allow()?;
        let Some(open) = self.explicit() else { return Err(only_in_blocks("SAVEPOINT")) };
        if open.savepoints.len() == SAVEPOINTS_MAX {
            return Err(Refusal::new(
                state::PROGRAM_LIMIT_EXCEEDED,
                format!("a transaction has at most {SAVEPOINTS_MAX} savepoints"),
            )
            .with_hint("Release the ones that are not used any more."));
        }
        let point = match &open.phase {
            Phase::Fresh => Point::Fresh,
            Phase::Reading(_) => Point::Reading,
            Phase::Writing { proposals, .. } => Point::Writing { mark, proposals: proposals.len() },
            Phase::Lost => return Err(lost()),
        };
        let kept = open.kept.clone();
        open.savepoints.push(Savepoint { name, point, before, kept });
        Ok(())
    }

    /// RELEASE SAVEPOINT: it and those after it are forgotten.
    pub fn release(&mut self, name: &Name) -> Result<(), Refusal> {
        self.allow()?;
        let Some(open) = self.explicit() else { return Err(only_in_blocks("RELEASE SAVEPOINT")) };
        let at = open.find(name)?;
        open.savepoints.truncate(at);
        Ok(())
    }

    /// ROLLBACK TO SAVEPOINT: those after it are forgotten, and the block is as it was there.
    pub fn roll_back_to(&mut self, name: &Name) -> Result<WayBack, Refusal> {
        let (Self::Open(open) | Self::Failed(open)) = &mut *self else {
            return Err(only_in_blocks("ROLLBACK TO SAVEPOINT"));
        };
        if open.kind == Kind::Implicit {
            return Err(only_in_blocks("ROLLBACK TO SAVEPOINT"));
        }
        let at = open.find(name)?;
        let savepoint = &open.savepoints[at];
        let held = match (&savepoint.point, &mut open.phase) {
            (Point::Fresh, phase) => {
                *phase = Phase::Fresh;
                Holding::Release
            }
            (Point::Reading, Phase::Reading(_)) => Holding::Keep,
            (Point::Reading, Phase::Writing { proposals, .. }) => {
                proposals.clear();
                Holding::RollBackTo(START)
            }
            (Point::Writing { mark, proposals: count }, Phase::Writing { proposals, .. }) => {
                proposals.truncate(*count);
                Holding::RollBackTo(*mark)
            }
            (Point::Reading | Point::Writing { .. }, Phase::Fresh | Phase::Lost)
            | (Point::Writing { .. }, Phase::Reading(_)) => return Err(lost()),
        };
        let before = savepoint.before.clone();
        open.kept.clone_from(&savepoint.kept);
        open.savepoints.truncate(at + 1);
        *self = match self.take() {
            Self::Failed(open) | Self::Open(open) => Self::Open(open),
            Self::Idle => Self::Idle,
        };
        Ok(WayBack { before, held })
    }

    fn explicit(&mut self) -> Option<&mut Transaction> {
        self.open_mut().filter(|open| open.kind == Kind::Explicit)
    }
}

impl Transaction {
    /// SET TRANSACTION. 25001: it is too late to allow changes again.
    pub fn set_read_only(&mut self, read_only: bool) -> Result<(), Refusal> {
        if self.read_only && !read_only && self.phase != Phase::Fresh {
            return Err(Refusal::new(
                code::ACTIVE_TRANSACTION,
                "transaction read-write mode must be set before any query",
            ));
        }
        self.read_only = read_only;
        Ok(())
    }

    /// The variables that outlive the transaction, to be changed by SET; none: the session's own, as there was no
    /// SET LOCAL.
    pub fn kept_mut(&mut self) -> Option<&mut Variables> {
        self.kept.as_mut()
    }

    /// SET LOCAL: from now on the session's own variables are this transaction's.
    pub fn keep(&mut self, variables: &Variables) {
        self.kept.get_or_insert_with(|| variables.clone());
    }

    /// What COMMIT puts back, if there was a SET LOCAL.
    pub fn kept(self) -> Option<Variables> {
        self.kept
    }

    /// What ROLLBACK puts back.
    pub fn before(self) -> Before {
        self.before
    }

    fn find(&self, name: &Name) -> Result<usize, Refusal> {
        self.savepoints.iter().rposition(|savepoint| savepoint.name == *name).ok_or_else(|| {
            Refusal::new(code::INVALID_SAVEPOINT, format!("savepoint \"{name}\" does not exist"))
        })
    }
}

fn only_in_blocks(what: &str) -> Refusal {
    Refusal::new(code::NO_ACTIVE_TRANSACTION, format!("{what} can only be used in transaction blocks"))
}

fn lost() -> Refusal {
    restart("what came before the savepoint is lost")
}

/// 25P01, a warning.
pub fn none_in_progress() -> Refusal {
    Refusal::new(code::NO_ACTIVE_TRANSACTION, "there is no transaction in progress")
}

/// 25006.
pub fn read_only(word: &str) -> Refusal {
    Refusal::new(code::READ_ONLY_TRANSACTION, format!("cannot execute {word} in a read-only transaction"))
}

#[cfg(test)]
mod tests {
    use grantd_catalog::command::{Actor, NameContext};
    use grantd_catalog::id::PrincipalId;

    use super::*;
    use crate::session::Session;

    fn before(label: &str) -> Before {
        let mut session = Session::new(Actor::of(PrincipalId::ROOT), None);
        label.clone_into(&mut session.application_name);
        session.before()
    }

    fn begun(kind: Kind) -> Block {
        let mut block = Block::default();
        assert_eq!(block.begin(kind, false, before("begin"), 7), None);
        block
    }

    fn name(text: &str) -> Name {
        Name::normalize(text)
    }

    fn writing(proposals: usize) -> Phase {
        let proposal = Proposal {
            actor: Actor::of(PrincipalId::ROOT),
            context: NameContext { database: None, search_path: Vec::new() },
            commands: Vec::new(),
        };
        Phase::Writing { base: Version(3), proposals: vec![proposal; proposals] }
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>) -> String {
        result.unwrap_err().code.as_str().to_owned()
    }

    #[test]
    fn a_second_begin_warns_and_changes_nothing() {
        let mut block = begun(Kind::Explicit);
        let warning = block.begin(Kind::Explicit, true, before("again"), 9).unwrap();
        assert_eq!(warning.code.as_str(), "25001");
        assert_eq!(block.is_read_only(), Some(false));
        assert_eq!(block.open().unwrap().began_micros, 7);
    }

    #[test]
    fn an_error_leaves_a_block_that_takes_only_its_end() {
        let mut block = begun(Kind::Explicit);
        assert_eq!(block.status(), Status::Open);
        assert_eq!(block.fail(), (None, Holding::Release));
        assert_eq!(block.status(), Status::Failed);
        assert_eq!(refused(block.allow()), "25P02");
        assert_eq!(refused(block.savepoint(name("a"), START, before("a"))), "25P02");
        assert_eq!(refused(block.release(&name("a"))), "25P02");
        let Block::Failed(failed) = block.take() else { panic!("it is not failed") };
        assert_eq!(failed.before(), before("begin"));
        assert_eq!(block.status(), Status::Idle);
    }

    #[test]
    fn an_error_in_a_text_of_several_statements_is_its_end() {
        let mut block = begun(Kind::Implicit);
        assert!(block.is_implicit());
        assert_eq!(block.fail(), (Some(before("begin")), Holding::Release));
        assert_eq!(block.status(), Status::Idle);
    }

    #[test]
    fn begin_takes_what_stood_before_it_in_its_text() {
        let mut block = begun(Kind::Implicit);
        assert_eq!(block.begin(Kind::Explicit, true, before("later"), 9), None);
        assert!(!block.is_implicit());
        assert_eq!(block.is_read_only(), Some(true));
        let Block::Open(open) = block.take() else { panic!("it is not open") };
        assert_eq!(open.before(), before("begin"));
    }

    #[test]
    fn savepoints_are_of_blocks() {
        for mut block in [Block::Idle, begun(Kind::Implicit)] {
            assert_eq!(refused(block.savepoint(name("a"), START, before("a"))), "25P01");
            assert_eq!(refused(block.release(&name("a"))), "25P01");
            assert_eq!(refused(block.roll_back_to(&name("a"))), "25P01");
        }
        let mut block = begun(Kind::Explicit);
        assert_eq!(refused(block.release(&name("a"))), "3B001");
        assert_eq!(refused(block.roll_back_to(&name("a"))), "3B001");
    }

    #[test]
    fn the_way_back_leads_out_of_an_error_any_number_of_times() {
        let mut block = begun(Kind::Explicit);
        block.open_mut().unwrap().phase = writing(1);
        block.savepoint(name("a"), 4, before("a")).unwrap();
        for _ in 0..2 {
            block.open_mut().unwrap().phase = writing(3);
            block.savepoint(name("later"), 5, before("later")).unwrap();
            assert_eq!(block.fail(), (None, Holding::Keep));
            let way = block.roll_back_to(&name("a")).unwrap();
            assert_eq!(way, WayBack { before: before("a"), held: Holding::RollBackTo(4) });
            assert_eq!(block.status(), Status::Open);
            assert_eq!(block.open().unwrap().phase, writing(1));
            assert_eq!(refused(block.roll_back_to(&name("later"))), "3B001");
        }
        block.release(&name("a")).unwrap();
        assert_eq!(refused(block.roll_back_to(&name("a"))), "3B001");
    }

    #[test]
    fn the_newest_of_two_savepoints_of_one_name_is_meant() {
        let mut block = begun(Kind::Explicit);
        block.open_mut().unwrap().phase = writing(0);
        block.savepoint(name("a"), 1, before("first")).unwrap();
        block.savepoint(name("a"), 2, before("second")).unwrap();
        assert_eq!(block.roll_back_to(&name("a")).unwrap().held, Holding::RollBackTo(2));
        block.release(&name("a")).unwrap();
        assert_eq!(block.roll_back_to(&name("a")).unwrap().held, Holding::RollBackTo(1));
    }

    #[test]
    fn a_savepoint_that_saw_nothing_begins_anew_even_after_the_transaction_was_lost() {
        let mut block = begun(Kind::Explicit);
        block.savepoint(name("cockroach_restart"), START, before("a")).unwrap();
        block.open_mut().unwrap().phase = Phase::Lost;
        block.fail();
        assert_eq!(block.roll_back_to(&name("cockroach_restart")).unwrap().held, Holding::Release);
        assert_eq!(block.open().unwrap().phase, Phase::Fresh);
    }

    #[test]
    fn what_came_before_a_savepoint_may_be_lost() {
        let mut block = begun(Kind::Explicit);
        block.open_mut().unwrap().phase = Phase::Reading(BTreeSet::new());
        block.savepoint(name("reading"), START, before("a")).unwrap();
        block.open_mut().unwrap().phase = writing(2);
        assert_eq!(block.roll_back_to(&name("reading")).unwrap().held, Holding::RollBackTo(START));
        assert_eq!(block.open().unwrap().phase, writing(0));
        block.open_mut().unwrap().phase = Phase::Lost;
        block.fail();
        assert_eq!(refused(block.roll_back_to(&name("reading"))), "40001");
        assert_eq!(block.status(), Status::Failed);
    }

    #[test]
    fn savepoints_are_bounded() {
        let mut block = begun(Kind::Explicit);
        for _ in 0..SAVEPOINTS_MAX {
            block.savepoint(name("a"), START, before("a")).unwrap();
        }
        assert_eq!(refused(block.savepoint(name("a"), START, before("a"))), "54000");
        block.release(&name("a")).unwrap();
        block.savepoint(name("a"), START, before("a")).unwrap();
    }

    #[test]
    fn a_read_only_transaction_that_has_read_stays_so() {
        let mut block = begun(Kind::Explicit);
        let open = block.open_mut().unwrap();
        open.set_read_only(true).unwrap();
        open.set_read_only(false).unwrap();
        open.set_read_only(true).unwrap();
        open.phase = Phase::Reading(BTreeSet::new());
        assert_eq!(refused(open.set_read_only(false)), "25001");
    }

    #[test]
    fn set_local_keeps_what_was_and_a_savepoint_knows_both() {
        let mut block = begun(Kind::Explicit);
        block.savepoint(name("a"), START, before("a")).unwrap();
        let kept = before("kept").variables;
        block.open_mut().unwrap().keep(&kept);
        block.open_mut().unwrap().keep(&before("not the first").variables);
        assert_eq!(block.open_mut().unwrap().kept_mut(), Some(&mut kept.clone()));
        block.roll_back_to(&name("a")).unwrap();
        assert_eq!(block.open_mut().unwrap().kept_mut(), None);
    }
}
