//! Applying: what the entries of the log do to catalog, rows and members. Everything here is the same on every node.

use std::collections::BTreeSet;
use std::io;
use std::sync::{Arc, OnceLock};

use bincode::{Decode, Encode};
use grantd_catalog::command::{Done, Outcome};
use grantd_catalog::decide::{Decision, decide};
use grantd_catalog::id::{Timestamp, Version};
use grantd_catalog::refusal::{Refusal, SqlState, state as sqlstate};
use grantd_catalog::view::View;
use openraft::EntryPayload;
use rusqlite::ffi;

use crate::codec::{self, CodecError, Kind};
use crate::config::NodeId;
use crate::entry::{Body, Entry, Proposal, Reply, RowChange};
use crate::machine::catalog::{Catalog, CatalogError, StorageStep};
use crate::machine::{Members, Position, Published};
use crate::rows::{ApplyError, MetaKey, RowsError, SnapshotSource, Store};
use crate::snapshot::{SnapshotFile, Snapshots};
use crate::types::{
    BadMembership, ClusterId, LogEntry, LogId, LogIdV1, Membership, StoredMembership, StoredMembershipV1,
};

/// The format of the machine's own records in `state.db`.
const FORMAT: u16 = 1;
/// The state of a write that must be made again because what it was made upon changed.
pub(super) const RETRY: SqlState = SqlState::new("40001");

/// Entries after which debug builds check the catalog less often.
const CHECK_ALWAYS_BELOW: u64 = 128;
/// How often then.
const CHECK_INTERVAL: u64 = 64;

/// The version of a [`MetaKey::Applied`] record; 0 if there is none. What a reader of the row store is at.
pub fn version_of_record(applied: Option<&[u8]>) -> Version {
    let id = applied.map(|bytes| codec::open_value::<LogIdV1>(Kind::LogId, FORMAT, bytes));
    Version(id.map_or(0, |id| id.expect("this node wrote it in the format that it reads").index))
}

/// Why the machine stops; see M3.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The row store failed.
    #[error("`state.db` cannot be read or written: {0}{hint}", hint = way_out(.0))]
    Rows(#[from] RowsError),
    /// A changeset does not apply: this replica is not what the proposer was.
    #[error("the changes of entry {index} do not apply: {source}")]
    Changeset {
        /// The entry.
        index: u64,
        /// Why.
        source: ApplyError,
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

/// The last entry that changed catalog or rows, and the last time.
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
    /// Of the newest state that somebody needed a view of; `catalog` may be ahead of it within a batch.
    view: Arc<View>,
    view_is_stale: bool,
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
            view,
            view_is_stale: false,
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

    pub(super) fn last_time(&self) -> Timestamp {
        self.last.time
    }

    pub(super) fn state(&self) -> (Option<LogId>, StoredMembership) {
        (self.applied, self.members.stored.clone())
    }

    /// Whether the row store takes the tables that a proposal makes upon the applied state. What it does not take must
    /// not reach the log: it would end every node that applies it, each time it starts. What is dropped is there, and the
    /// table of a sequence is always the same.
    pub(super) fn try_tables(&mut self, proposal: &Proposal) -> Result<Option<Refusal>, MachineError> {
        let version = Version(self.applied.map_or(0, |applied| applied.index) + 1);
        let storage = self.catalog.tried(version, self.last.time, proposal)?;
        let made = storage.iter().try_for_each(|step| match step {
            StorageStep::Create(id, table) => self.store.try_table(*id, table),
            StorageStep::CreateSequence(..) | StorageStep::Drop(_) => Ok(()),
        });
        match made {
            Ok(()) => Ok(None),
            Err(error) if error.is_of_statement() => Ok(Some(table_not_taken(&error))),
            Err(error) => Err(error.into()),
        }
    }

    /// Applies the entries in one transaction and publishes what they come to. M1, M2.
    pub(super) fn apply(&mut self, entries: &[LogEntry]) -> Result<Vec<Reply>, MachineError> {
        self.store.begin()?;
        let mut replies = Vec::with_capacity(entries.len());
        let mut members_changed = false;
        for entry in entries {
            let index = entry.log_id.index;
            if self.applied.is_some_and(|applied| applied.index + 1 != index) {
                let what = format!("it follows entry {:?}", self.applied.map(|applied| applied.index));
                return Err(MachineError::Invariant { index, what });
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
        self.publish(members_changed);
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
        if entry.time <= self.last.time {
            let what = format!("its time {} is not after {}", entry.time, self.last.time);
            return Err(MachineError::Invariant { index, what });
        }
        self.last.time = entry.time;
        match entry.body {
            Body::Catalog(proposals) => {
                proposals.iter().map(|proposal| self.apply_proposal(index, entry.time, proposal)).collect()
            }
            Body::Rows { base, items } => self.apply_rows(index, base, &items),
        }
    }

    /// Whole or not at all: the first refusal refuses all.
    fn apply_proposal(
        &mut self,
        index: u64,
        time: Timestamp,
        proposal: &Proposal,
    ) -> Result<Vec<Outcome>, MachineError> {
        let tried = self.catalog.apply(Version(index), time, proposal)?;
        if !tried.records.is_empty() || !tried.storage.is_empty() {
            self.last.index = index;
            self.view_is_stale = true;
        }
        self.store.write_records(&tried.records)?;
        for step in tried.storage {
            match step {
                StorageStep::Create(id, table) => self.store.create_table(id, &table)?,
                StorageStep::CreateSequence(id, sequence) => self.store.create_sequence(id, &sequence)?,
                StorageStep::Drop(id) => self.store.drop_table(id)?,
            }
        }
        Ok(tried.outcomes)
    }

    fn apply_rows(&mut self, index: u64, base: u64, items: &[RowChange]) -> Result<Reply, MachineError> {
        if base != self.last.index {
            return Ok(items.iter().map(|_| vec![Outcome::Refused(retry())]).collect());
        }
        self.refresh_view(Version(base));
        let mut reply = Reply::with_capacity(items.len());
        let mut refused = false;
        for item in items {
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
                        self.store
                            .apply_changeset(&item.changeset)
                            .map_err(|source| MachineError::Changeset { index, source })?;
                        self.last.index = index;
                        Outcome::Done(Done { changed: true, ..Done::default() })
                    }
                }
            };
            reply.push(vec![outcome]);
        }
        Ok(reply)
    }

    fn refresh_view(&mut self, version: Version) {
        if self.view_is_stale {
            self.view = Arc::new(self.view.next(version, self.catalog.state().clone()));
            self.view_is_stale = false;
        }
    }

    fn save_position(&mut self, members_changed: bool) -> Result<(), MachineError> {
        if let Some(applied) = &self.applied {
            let bytes = codec::seal_value(Kind::LogId, FORMAT, &LogIdV1::from(applied));
            self.store.put_meta(MetaKey::Applied, &bytes)?;
        }
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

    fn publish(&mut self, members_changed: bool) {
        // Every entry moves the version, also one that changed nothing: readers wait for indexes.
        let version = version_of(self.applied);
        // Entry 0, always a membership, has the version of an empty log, and the same catalog.
        if version > self.view.version() {
            self.view = Arc::new(self.view.next(version, self.catalog.state().clone()));
        }
        self.view_is_stale = false;
        self.published.publish(Arc::clone(&self.view), members_changed.then(|| self.members.clone()));
    }

    /// A view of the file as of now, and where it stands.
    pub(super) fn snapshot_source(&self) -> Result<(SnapshotSource, Position), MachineError> {
        let position = (self.applied.as_ref().map(LogIdV1::from), (&self.members.stored).into());
        Ok((self.store.snapshot_source()?, position))
    }

    /// Replaces everything by a snapshot, after all of it was checked: damaged bytes, damaged pages, records that
    /// make no catalog, or a position that is not the header's leave the node as it was, stopped.
    pub(super) fn install(&mut self, file: &SnapshotFile) -> Result<(), MachineError> {
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
        self.snapshots.keep(file).map_err(MachineError::Snapshot)?;
        self.publish(true);
        Ok(())
    }

    pub(super) fn make_durable(&mut self) -> Result<(), RowsError> {
        self.store.make_durable()
    }

    pub(super) fn set_cluster(&mut self, cluster: ClusterId) -> Result<(), RowsError> {
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
        Ok(Self { catalog, applied, members, last })
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

fn table_not_taken(error: &RowsError) -> Refusal {
    Refusal::new(
        sqlstate::PROGRAM_LIMIT_EXCEEDED,
        format!("the row store does not take the table: {}", error.message),
    )
    .with_hint("Use fewer columns, or smaller expressions in CHECK and DEFAULT.")
}

fn retry() -> Refusal {
    Refusal::new(RETRY, "restart transaction: rows or privileges changed before the write took effect")
        .with_hint("Run the statement again.")
}
