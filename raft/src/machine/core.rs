//! Applying: what the entries of the log do to catalog, rows and members. Everything here is the same on every node.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, OnceLock};

use bincode::{Decode, Encode};
use grantd_catalog::command::{Command, Done, Outcome};
use grantd_catalog::decide::{Decision, decide};
use grantd_catalog::id::{Timestamp, Version};
use grantd_catalog::refusal::{self, Refusal, SqlState};
use grantd_catalog::view::View;
use openraft::EntryPayload;
use rusqlite::ffi;

use crate::codec::{self, CodecError, Kind};
use crate::config::NodeId;
use crate::entry::{Body, Entry, Proposal, Reply, RowChange};
use crate::machine::catalog::{Catalog, CatalogError, Tried};
use crate::machine::recent::{CatalogChange, Pending};
use crate::machine::{Members, Position, Published};
use crate::rows::{ApplyError, MetaKey, RowsError, SnapshotSource, StepError, StorageStep, Store};
use crate::snapshot::{SnapshotFile, Snapshots};
use crate::types::{
    BadMembership, ClusterId, LogEntry, LogId, LogIdV1, Membership, StoredMembership, StoredMembershipV1,
};
use crate::write::ReadSet;

mod changes;
mod history;
mod transaction;

use self::changes::Changes;
pub(super) use self::history::ShapeChange;
pub use self::history::history_from_record;
use self::history::{Commit, History};

/// The format of the machine's own records in `state.db`.
const FORMAT: u16 = 1;
/// The state of a write that must be made again because what it was made upon changed.
pub(super) const RETRY: SqlState = SqlState::new("40001");

/// The state of what the leader's disk has no room for.
const DISK_FULL: SqlState = SqlState::new("53100");

/// Entries after which debug builds check the catalog less often.
const CHECK_ALWAYS_BELOW: u64 = 128;
/// How often then.
const CHECK_INTERVAL: u64 = 64;

/// The version of a [`MetaKey::Applied`] record; 0 if there is none. What a reader of the row store is at.
pub fn version_of_record(applied: Option<&[u8]>) -> Version {
    let id = applied.map(|bytes| codec::open_value::<LogIdV1>(Kind::LogId, FORMAT, bytes));
    Version(id.map_or(0, |id| id.expect("this node wrote it in the format that it reads").index))
}

/// The time of a [`MetaKey::LastData`] record: that of the last applied entry.
pub fn time_of_record(last: Option<&[u8]>) -> Timestamp {
    let last = last.map(|bytes| codec::open_value::<LastDataV1>(Kind::LogId, FORMAT, bytes));
    last.map_or_else(Timestamp::default, |last| {
        last.expect("this node wrote it in the format that it reads").time
    })
}

/// Why the machine stops; see M3.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The row store failed.
    #[error("`state.db` cannot be read or written: {0} (code {code}){hint}", code = .0.code, hint = way_out(.0))]
    Rows(#[from] RowsError),
    /// A changeset does not apply: this replica is not what the proposer was.
    #[error("the changes of entry {index} do not apply: {source}")]
    Changeset {
        /// The entry.
        index: u64,
        /// Why.
        source: ApplyError,
    },
    /// A change of a table does not apply: this replica is not what the proposer was.
    #[error("the change of a table in entry {index} does not apply: {source}")]
    Step {
        /// The entry.
        index: u64,
        /// Why.
        source: StepError,
    },
    /// An entry or record does not decode.
    #[error("entry {index} cannot be read: {source}")]
    Entry {
        /// The entry.
        index: u64,
        /// Why.
        source: CodecError,
    },
    /// A record of the file does not decode.
    #[error("`state.db` cannot be read: {0}")]
    Record(#[from] CodecError),
    /// The catalog's records do not make a catalog.
    #[error("the catalog cannot be loaded: {0}")]
    Catalog(#[from] CatalogError),
    /// A membership that openraft does not take.
    #[error(transparent)]
    Membership(#[from] BadMembership),
    /// Something that always holds does not.
    #[error("entry {index}: {what}")]
    Invariant {
        /// The entry.
        index: u64,
        /// What does not hold.
        what: String,
    },
    /// A snapshot's file failed.
    #[error("the snapshot cannot be used: {0}")]
    Snapshot(io::Error),
}

/// What an operator can do about a row store that failed; nothing is known for most errors.
fn way_out(error: &RowsError) -> &'static str {
    match error.code & 0xff {
        ffi::SQLITE_FULL | ffi::SQLITE_IOERR => {
            "; make room on its disk, or repair it, then start the node again"
        }
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => {
            "; remove the node from the cluster, and join again with an empty directory and a new id"
        }
        _ => "",
    }
}

/// Why the machine does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenMachineError {
    /// What the file holds cannot be used.
    #[error(transparent)]
    Load(#[from] MachineError),
    /// The file is of another cluster than the directory.
    #[error("`state.db` is of cluster {found}, the directory of cluster {expected}")]
    OtherCluster {
        /// Whose file it is.
        found: ClusterId,
        /// Whose directory.
        expected: ClusterId,
    },
    /// The thread cannot be started.
    #[error("the machine's thread cannot be started: {0}")]
    Thread(io::Error),
}

/// The last entry that changed rows or what they are made of, and the last time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Encode, Decode)]
struct LastDataV1 {
    index: u64,
    time: Timestamp,
}

/// The members, and who is none any more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
struct MembersV1 {
    stored: StoredMembershipV1,
    removed: Vec<u64>,
}

/// The replicated state and its file.
pub(super) struct Core {
    store: Store,
    catalog: Catalog,
    applied: Option<LogId>,
    members: Members,
    last: LastDataV1,
    changes: Changes,
    history: History,
    /// Of the newest state that somebody needed a view of; `catalog` may be ahead of it within a batch.
    view: Arc<View>,
    view_is_stale: bool,
    /// Whether what is not published yet takes rights away.
    tightened: bool,
    /// Which records of the catalog changed, of what is not published yet.
    pending: Pending,
    published: Arc<Published>,
    snapshots: Arc<Snapshots>,
}

impl Core {
    /// Loads what the file holds; an empty file becomes that of a new cluster's catalog.
    pub(super) fn load(
        mut store: Store,
        snapshots: Arc<Snapshots>,
        cluster: &OnceLock<ClusterId>,
    ) -> Result<Self, OpenMachineError> {
        check_cluster(&store, cluster)?;
        let loaded = Loaded::read(&mut store)?;
        let view = View::build(version_of(loaded.applied), loaded.catalog.state().clone());
        let published = Arc::new(Published::new(view, loaded.members.clone()));
        let view = published.view();
        Ok(Self {
            store,
            catalog: loaded.catalog,
            applied: loaded.applied,
            members: loaded.members,
            last: loaded.last,
            changes: Changes::none_since(loaded.last.index),
            history: loaded.history,
            view,
            view_is_stale: false,
            tightened: false,
            pending: Pending::default(),
            published,
            snapshots,
        })
    }

    pub(super) fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// The row store, for captures: nothing that is done there may be committed.
    pub(super) fn store(&mut self) -> &mut Store {
        &mut self.store
    }

    /// The view of exactly the applied state.
    pub(super) fn view(&self) -> &Arc<View> {
        debug_assert!(!self.view_is_stale, "between batches the view is current");
        &self.view
    }

    pub(super) fn applied(&self) -> Option<LogId> {
        self.applied
    }

    /// What a capture's `base` is.
    pub(super) fn last_data(&self) -> u64 {
        self.last.index
    }

    /// Whether nothing of what `read` read has changed since.
    pub(super) fn is_unchanged(&self, read: &ReadSet) -> bool {
        self.changes.is_unchanged(read)
    }

    /// The catalog and the row store, to run an open transaction in.
    pub(super) fn parts(&mut self) -> (&Catalog, &mut Store) {
        (&self.catalog, &mut self.store)
    }

    pub(super) fn last_time(&self) -> Timestamp {
        self.last.time
    }

    pub(super) fn state(&self) -> (Option<LogId>, StoredMembership) {
        (self.applied, self.members.stored.clone())
    }

    /// Whether the row store takes what a proposal does to it upon the applied state. What it does not take must not reach
    /// the log: it would end every node that applies it, each time it starts.
    ///
    /// A table that is made is tried alone. What changes a table is done on its rows and taken back. What is dropped is
    /// there, and the table of a sequence is always the same.
    pub(super) fn try_storage(&mut self, proposal: &Proposal) -> Result<Option<Refusal>, MachineError> {
        let version = Version(self.applied.map_or(0, |applied| applied.index) + 1);
        let steps = self.catalog.tried(version, self.last.time, proposal)?;
        let tried = if steps.iter().any(StorageStep::depends_on_rows) {
            // A transaction may be open: what changes no table of anybody waits for none.
            self.suspend()?;
            self.store.begin()?;
            let tried = steps.iter().try_for_each(|step| step.perform(&mut self.store));
            self.store.rollback()?;
            tried
        } else {
            steps.iter().try_for_each(|step| step.try_alone(&self.store))
        };
        match tried {
            Ok(()) => Ok(None),
            Err(error) => not_done(error).map(Some),
        }
    }

    /// Takes the row store back from an open transaction, whose parts are replayed when it goes on: nothing of what is
    /// not committed may be in the file when something else is done to it. T1.
    pub(super) fn suspend(&mut self) -> Result<(), RowsError> {
        if self.store.is_open() {
            self.store.rollback()?;
        }
        Ok(())
    }

    /// Applies the entries in one transaction and publishes what they come to. M1, M2.
    pub(super) fn apply(&mut self, entries: &[LogEntry]) -> Result<Vec<Reply>, MachineError> {
        self.suspend()?;
        self.store.begin()?;
        let mut replies = Vec::with_capacity(entries.len());
        let mut members_changed = false;
        for entry in entries {
            let index = entry.log_id.index;
            if self.applied.is_some_and(|applied| applied.index + 1 != index) {
                let what = format!("it follows entry {:?}", self.applied.map(|applied| applied.index));
                return Err(MachineError::Invariant { index, what });
            }
            // T2: what a leader staged takes effect by its own entry or never.
            if self.applied.is_some_and(|applied| applied.leader_id != entry.log_id.leader_id) {
                self.store.clear_stages()?;
            }
            replies.push(match &entry.payload {
                EntryPayload::Blank => Reply::new(),
                EntryPayload::Membership(membership) => {
                    self.apply_membership(entry.log_id, membership.clone());
                    members_changed = true;
                    Reply::new()
                }
                EntryPayload::Normal(bytes) => {
                    let entry = bytes.open().map_err(|source| MachineError::Entry { index, source })?;
                    self.apply_entry(index, entry)?
                }
            });
            self.applied = Some(entry.log_id);
        }
        self.check_now_and_then()?;
        self.save_position(members_changed)?;
        self.store.commit()?;
        let changes = self.pending.take();
        self.publish(members_changed, Some(changes));
        Ok(replies)
    }

    /// In debug builds, where tests run: that the catalog is whole, each time while it is small, then now and then,
    /// because the check is linear in the catalog.
    fn check_now_and_then(&self) -> Result<(), MachineError> {
        let index = self.applied.map_or(0, |applied| applied.index);
        let due = index < CHECK_ALWAYS_BELOW || index.is_multiple_of(CHECK_INTERVAL);
        if cfg!(debug_assertions) && due {
            self.catalog.check()?;
        }
        Ok(())
    }

    fn apply_membership(&mut self, log_id: LogId, membership: Membership) {
        let before: BTreeSet<NodeId> = self.members.stored.nodes().map(|(id, _)| *id).collect();
        let gone = before.into_iter().filter(|id| membership.get_node(id).is_none());
        self.members.removed.extend(gone);
        self.members.stored = StoredMembership::new(Some(log_id), membership);
    }

    fn apply_entry(&mut self, index: u64, entry: Entry) -> Result<Reply, MachineError> {
        if entry.time.nanos < self.last.time.nanos {
            let what = format!("its time {} is not after {}", entry.time, self.last.time);
            return Err(MachineError::Invariant { index, what });
        }
        // Each of its commits has a time of its own. A leader of an earlier release did not count them.
        let time = entry.time.max(self.last.time.plus(1));
        let commits = match &entry.body {
            Body::Catalog(proposals) => proposals.len(),
            Body::Rows { items, .. } => items.len(),
            Body::Stage { .. } | Body::Transaction(_) => 1,
        };
        self.last.time = time.plus(u32::try_from(commits.saturating_sub(1)).unwrap_or(u32::MAX));
        let reply = match entry.body {
            Body::Catalog(proposals) => {
                let each = (0..).zip(&proposals);
                each.map(|(at, proposal)| self.apply_proposal(index, time.plus(at), proposal)).collect()
            }
            Body::Rows { base, items } => self.apply_rows(index, time, base, &items),
            Body::Stage { number, stage, parts } => self.apply_stage(number, stage, &parts),
            Body::Transaction(transaction) => {
                Ok(vec![vec![self.apply_transaction(index, time, &transaction)?]])
            }
        }?;
        self.history.collect(&mut self.store, self.catalog.state(), self.last.time)?;
        Ok(reply)
    }

    /// Whole or not at all: the first refusal refuses all.
    fn apply_proposal(
        &mut self,
        index: u64,
        time: Timestamp,
        proposal: &Proposal,
    ) -> Result<Vec<Outcome>, MachineError> {
        let tried = self.catalog.apply(Version(index), time, proposal)?;
        let mut commit = Commit::new(time, false);
        self.change_catalog(index, &mut commit, proposal, &tried)?;
        self.history.absorb(&mut self.store, commit)?;
        Ok(tried.outcomes)
    }

    /// Writes what a proposal came to. Only what changes the shape of things moves the base of captures: who may do
    /// what is decided again where they are applied.
    fn change_catalog(
        &mut self,
        index: u64,
        commit: &mut Commit,
        proposal: &Proposal,
        tried: &Tried,
    ) -> Result<(), MachineError> {
        if tried.records.is_empty() && tried.storage.is_empty() {
            return Ok(());
        }
        self.view_is_stale = true;
        self.tightened |= proposal.tightens();
        self.pending.push(Version(index), proposal.tightens(), tried.keys.clone());
        if proposal.commands.iter().any(Command::changes_shape) {
            self.last.index = index;
            self.changes.shape(index);
        }
        if tried.moves_history {
            self.history.limits_changed();
        }
        self.store.write_records(&tried.records)?;
        self.change_tables(index, commit, tried)
    }

    fn apply_rows(
        &mut self,
        index: u64,
        time: Timestamp,
        base: u64,
        items: &[RowChange],
    ) -> Result<Reply, MachineError> {
        if base != self.last.index {
            return Ok(items.iter().map(|_| vec![Outcome::Refused(retry())]).collect());
        }
        self.refresh_view(index);
        let mut reply = Reply::with_capacity(items.len());
        let mut refused = false;
        for (at, item) in (0..).zip(items) {
            let outcome = if refused {
                // It was captured upon what was just refused.
                Outcome::Refused(retry())
            } else {
                match decide(&self.view, item.actor.current, &item.requirement) {
                    Decision::Deny(refusal) => {
                        refused = true;
                        Outcome::Refused(refusal)
                    }
                    Decision::Allow => {
                        let mut commit = Commit::new(time.plus(at), false);
                        self.change_rows(index, &mut commit, &item.changeset)?;
                        self.history.absorb(&mut self.store, commit)?;
                        Outcome::Done(Done { changed: true, ..Done::default() })
                    }
                }
            };
            reply.push(vec![outcome]);
        }
        Ok(reply)
    }

    /// Makes the view that of all entries before `index`.
    fn refresh_view(&mut self, index: u64) {
        if self.view_is_stale {
            let version = Version(index.saturating_sub(1));
            self.view = Arc::new(self.view.next(version, self.catalog.state().clone()));
            self.view_is_stale = false;
        }
    }

    fn save_position(&mut self, members_changed: bool) -> Result<(), MachineError> {
        if let Some(applied) = &self.applied {
            let bytes = codec::seal_value(Kind::LogId, FORMAT, &LogIdV1::from(applied));
            self.store.put_meta(MetaKey::Applied, &bytes)?;
        }
        self.history.save(&mut self.store)?;
        self.store.put_meta(MetaKey::LastData, &codec::seal_value(Kind::LogId, FORMAT, &self.last))?;
        if members_changed {
            let members = MembersV1 {
                stored: (&self.members.stored).into(),
                removed: self.members.removed.iter().copied().collect(),
            };
            let bytes = codec::seal_value(Kind::Membership, FORMAT, &members);
            self.store.put_meta(MetaKey::Membership, &bytes)?;
        }
        Ok(())
    }

    /// `changes`: of the catalog, since the last call; none: nobody knows.
    fn publish(&mut self, members_changed: bool, changes: Option<Vec<CatalogChange>>) {
        // Every entry moves the version, also one that changed nothing: readers wait for indexes.
        let version = version_of(self.applied);
        // Entry 0, always a membership, has the version of an empty log, and the same catalog.
        if version > self.view.version() {
            self.view = Arc::new(self.view.next(version, self.catalog.state().clone()));
        }
        self.view_is_stale = false;
        let members = members_changed.then(|| self.members.clone());
        self.published.remember(changes, version);
        self.published.publish(Arc::clone(&self.view), members, std::mem::take(&mut self.tightened));
    }

    /// A view of the file as of now, and where it stands. All of it survives a crash: the log before it may go.
    pub(super) fn pin(&mut self) -> Result<(SnapshotSource, Position), MachineError> {
        self.suspend()?;
        self.store.make_durable()?;
        let position = (self.applied.as_ref().map(LogIdV1::from), (&self.members.stored).into());
        Ok((self.store.snapshot_source()?, position))
    }

    /// Replaces everything by a snapshot, after all of it was checked: damaged bytes, damaged pages, records that
    /// make no catalog, or a position that is not the header's leave the node as it was, stopped.
    pub(super) fn install(&mut self, file: &SnapshotFile) -> Result<(), MachineError> {
        self.suspend()?;
        let file = &self.snapshots.check(file).map_err(MachineError::Snapshot)?;
        let contents = self.snapshots.contents(file).map_err(MachineError::Snapshot)?;
        Catalog::restore(&contents.records)?;
        let position =
            contents.applied.map(|bytes| codec::open_value::<LogIdV1>(Kind::LogId, FORMAT, &bytes));
        if position.transpose()? != file.header().last {
            let what = "the snapshot's header and content are of different positions".to_owned();
            return Err(MachineError::Snapshot(io::Error::other(what)));
        }
        self.store.install(file.path())?;
        let loaded = Loaded::read(&mut self.store)?;
        self.catalog = loaded.catalog;
        self.applied = loaded.applied;
        self.members = loaded.members;
        self.last = loaded.last;
        self.changes = Changes::none_since(self.last.index);
        self.history = loaded.history;
        // Nobody knows what it brought.
        self.tightened = true;
        self.publish(true, None);
        tracing::info!(version = version_of(self.applied).0, "installed a snapshot of the leader's");
        Ok(())
    }

    pub(super) fn set_cluster(&mut self, cluster: ClusterId) -> Result<(), RowsError> {
        self.suspend()?;
        self.store.begin()?;
        self.store.put_meta(MetaKey::Identity, &codec::seal_value(Kind::Identity, FORMAT, &cluster))?;
        self.store.commit()?;
        self.store.make_durable()
    }
}

/// What a file holds.
struct Loaded {
    catalog: Catalog,
    applied: Option<LogId>,
    members: Members,
    last: LastDataV1,
    history: History,
}

impl Loaded {
    fn read(store: &mut Store) -> Result<Self, MachineError> {
        let applied = read_meta::<LogIdV1>(store, MetaKey::Applied, Kind::LogId)?.map(LogId::from);
        let members =
            read_meta::<MembersV1>(store, MetaKey::Membership, Kind::Membership)?.unwrap_or_default();
        let last = read_meta::<LastDataV1>(store, MetaKey::LastData, Kind::LogId)?.unwrap_or_default();
        let records = store.records()?;
        let catalog = if applied.is_none() && records.is_empty() {
            Self::bootstrap(store)?
        } else {
            Catalog::restore(&records)?
        };
        let members =
            Members { stored: members.stored.try_into()?, removed: members.removed.into_iter().collect() };
        let history = History::load(store, last.time)?;
        Ok(Self { catalog, applied, members, last, history })
    }

    fn bootstrap(store: &mut Store) -> Result<Catalog, MachineError> {
        let catalog = Catalog::bootstrap();
        store.begin()?;
        let records: Vec<_> = catalog.records()?.into_iter().map(|(key, value)| (key, Some(value))).collect();
        store.write_records(&records)?;
        store.commit()?;
        Ok(catalog)
    }
}

fn read_meta<T: Decode<()>>(store: &Store, key: MetaKey, kind: Kind) -> Result<Option<T>, MachineError> {
    let bytes = store.meta(key)?;
    Ok(bytes.map(|bytes| codec::open_value(kind, FORMAT, &bytes)).transpose()?)
}

fn check_cluster(store: &Store, expected: &OnceLock<ClusterId>) -> Result<(), OpenMachineError> {
    let found: Option<ClusterId> = read_meta(store, MetaKey::Identity, Kind::Identity)?;
    match (found, expected.get()) {
        (Some(found), Some(expected)) if found != *expected => {
            Err(OpenMachineError::OtherCluster { found, expected: *expected })
        }
        (Some(_) | None, Some(_) | None) => Ok(()),
    }
}

fn version_of(applied: Option<LogId>) -> Version {
    Version(applied.map_or(0, |applied| applied.index))
}

/// Why the row store does not take a change of a table: what its rows say against it, its size, or the disk.
pub(super) fn not_done(error: StepError) -> Result<Refusal, MachineError> {
    let error = match error {
        StepError::Refused(refusal) => return Ok(refusal),
        StepError::Failed(error) if error.is_fatal() && !error.is_full() => return Err(error.into()),
        StepError::Failed(error) => error,
    };
    Ok(if error.is_full() { disk_full() } else { refusal::table_not_taken(&error.message) })
}

/// What the client is told for whose changes the leader has no room.
pub(super) fn disk_full() -> Refusal {
    Refusal::new(DISK_FULL, "the disk of the leader is full").with_hint("Make room on it.")
}

pub(super) fn retry() -> Refusal {
    Refusal::new(RETRY, "restart transaction: rows or privileges changed before the write took effect")
        .with_hint("Run the statement again.")
}
