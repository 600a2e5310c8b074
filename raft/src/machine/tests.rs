//! The machine on hand-made entries: what a well-behaved leader never proposes, too.

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock};

use futures::stream;
use grantd_catalog::command::{
    Actor, Command, Done, DropBehavior, NameContext, ObjectName, Outcome, RoleSpec,
};
use grantd_catalog::id::{ObjectId, PrincipalId, Timestamp};
use grantd_catalog::name::{Name, RoleName};
use grantd_catalog::object::{Column, ColumnType, Object, Sequence, Table};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::require::{Need, Requirement};
use openraft::storage::RaftStateMachine;
use openraft::{EntryPayload, RaftSnapshotBuilder};

use crate::codec::{self, Kind};
use crate::entry::{Body, Entry, Proposal, Reply, RowChange};
use crate::machine::core::{Core, MachineError};
use crate::machine::{Machine, MachineParts, OnFatal};
use crate::rows::{Captured, Extensions, Store, Value};
use crate::snapshot::{Pinned, SnapshotFile, SnapshotHeaderV1, Snapshots};
use crate::types::{
    ClusterId, EntryBytes, LeaderId, LogEntry, LogId, Membership, NodeInfo, Payload, StoredMembershipV1,
};

mod history;
mod pages;
mod shelf;
mod transaction;

struct World {
    directory: tempfile::TempDir,
    core: Core,
    next: u64,
}

fn load(directory: &Path) -> Core {
    let store = Store::open(&directory.join("state.db"), &Extensions::default()).unwrap();
    let snapshots = Arc::new(Snapshots::open(directory.join("snapshots"), &Extensions::default()).unwrap());
    Core::load(store, snapshots, &OnceLock::new()).unwrap()
}

fn id(index: u64) -> LogId {
    LogId { leader_id: LeaderId { term: 1, node_id: 1 }, index }
}

fn log_entry(index: u64, payload: Payload) -> LogEntry {
    LogEntry { log_id: id(index), payload }
}

fn sealed(nanos: u64, body: Body) -> Payload {
    EntryPayload::Normal(EntryBytes::seal(&Entry { time: Timestamp { nanos, logical: 0 }, body }))
}

fn catalog(command: Command) -> Body {
    let context =
        NameContext { database: Some(Name::from("defaultdb")), search_path: vec![Name::from("public")] };
    Body::Catalog(vec![Proposal { actor: Actor::of(PrincipalId::ROOT), context, commands: vec![command] }])
}

fn create_role(name: &str) -> Command {
    let name = RoleSpec::Name(RoleName::normalize(name));
    Command::CreateRole { name, is_role: true, if_not_exists: false, options: Vec::new() }
}

fn create_table() -> Command {
    let name = Name::from("id");
    let key = Column {
        name,
        column_type: ColumnType::Int8,
        nullable: false,
        default: None,
        hidden: false,
        comment: None,
        computed: None,
        identity: None,
    };
    let table = Table {
        columns: vec![key],
        primary_key: vec![0],
        unique: Vec::new(),
        checks: Vec::new(),
        key_name: Name::from("t_pkey"),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
    };
    Command::CreateTable {
        name: ObjectName { parts: vec![Name::from("item")] },
        table,
        foreign_keys: Vec::new(),
        identities: Vec::new(),
        if_not_exists: false,
    }
}

impl World {
    /// Entry 0 is a membership, entry 1 makes a table, entry 2 a role without privileges.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let core = load(directory.path());
        let mut world = Self { directory, core, next: 0 };
        world.members(&[1]);
        world.apply(catalog(create_table())).unwrap();
        world.apply(catalog(create_role("amy"))).unwrap();
        world
    }

    /// A copy of it as it is now.
    fn copied(&mut self) -> SnapshotFile {
        let (source, (last, membership)) = self.core.pin().unwrap();
        let snapshots =
            Snapshots::open(self.directory.path().join("copies"), &Extensions::default()).unwrap();
        let snapshots = Arc::new(snapshots);
        Pinned { source, cluster: ClusterId(1), last, membership, snapshots }.copy().unwrap()
    }

    fn members(&mut self, ids: &[u64]) {
        let info = |id: &u64| NodeInfo {
            raft_address: format!("node-{id}:1"),
            sql_address: format!("node-{id}:2"),
            directory: u128::from(*id),
        };
        let nodes = ids.iter().map(|id| (*id, info(id))).collect::<std::collections::BTreeMap<_, _>>();
        let membership = Membership::new(vec![ids.iter().copied().collect()], nodes).unwrap();
        self.apply_payload(EntryPayload::Membership(membership)).unwrap();
    }

    fn apply(&mut self, body: Body) -> Result<Reply, MachineError> {
        self.apply_payload(sealed(self.next + 1, body))
    }

    fn apply_payload(&mut self, payload: Payload) -> Result<Reply, MachineError> {
        let applied = self.core.apply(&[log_entry(self.next, payload)]);
        self.next += 1;
        applied.map(|mut replies| replies.remove(0))
    }

    fn table(&self) -> ObjectId {
        let state = self.core.view().state();
        let schema = ObjectId::DEFAULT_PUBLIC_SCHEMA;
        state.children(schema).next().unwrap().0
    }

    fn amy(&self) -> PrincipalId {
        self.core.view().state().principal_id(&RoleName::normalize("amy")).unwrap()
    }

    fn capture(&mut self, sql: &str) -> Vec<u8> {
        let sql = sql.replace("item", &format!("t{}", self.table()));
        let store = self.core.store();
        store.begin().unwrap();
        let captured = store.capture(|rows| rows.run(&sql, &[]).map(drop)).unwrap();
        store.rollback().unwrap();
        let Captured::Changed((), changeset) = captured else { panic!("{captured:?}") };
        changeset
    }

    fn insert(&mut self, by: PrincipalId, row: u32) -> RowChange {
        let changeset = self.capture(&format!("INSERT INTO item VALUES ({row})"));
        let mut requirement = Requirement::default();
        requirement.privilege(self.table(), Privilege::Insert);
        RowChange { actor: Actor::of(by), requirement, changeset }
    }

    fn rows(&self) -> u64 {
        let store = Store::open(&self.directory.path().join("state.db"), &Extensions::default()).unwrap();
        store.checksum().unwrap().1[0].rows
    }
}

fn codes(reply: &Reply) -> Vec<&str> {
    let code = |outcome: &'_ Outcome| -> &'static str {
        match outcome {
            Outcome::Done(_) => "done",
            Outcome::Refused(refusal) if refusal.code.as_str() == "42501" => "42501",
            Outcome::Refused(refusal) if refusal.code.as_str() == "40001" => "40001",
            Outcome::Refused(_) => "other",
        }
    };
    reply.iter().flatten().map(code).collect()
}

#[test]
fn a_write_is_decided_where_it_is_applied_and_what_was_captured_after_a_refused_one_is_refused_too() {
    let mut world = World::new();
    let (amy, root) = (world.amy(), PrincipalId::ROOT);
    let items = vec![world.insert(root, 1), world.insert(amy, 2), world.insert(root, 3)];
    let reply = world.apply(Body::Rows { base: 1, items }).unwrap();
    assert_eq!(codes(&reply), ["done", "42501", "40001"]);
    assert_eq!(world.rows(), 1);
}

#[test]
fn a_write_that_was_captured_upon_another_state_changes_nothing() {
    let mut world = World::new();
    let item = world.insert(PrincipalId::ROOT, 1);
    // Entries that change nothing of tables leave what a capture is made upon: a new role, a membership, a refusal.
    world.members(&[1, 2]);
    let refused = world.apply(catalog(create_role("amy"))).unwrap();
    assert_eq!(codes(&refused), ["other"]);
    assert_eq!(world.core.last_data(), 1);
    world.apply(catalog(create_sequence(1))).unwrap();
    assert_eq!(world.core.last_data(), 5);
    let reply = world.apply(Body::Rows { base: 1, items: vec![item.clone()] }).unwrap();
    assert_eq!((codes(&reply), world.rows()), (vec!["40001"], 0));
    let reply = world.apply(Body::Rows { base: 5, items: vec![item] }).unwrap();
    assert_eq!((codes(&reply), world.rows()), (vec!["done"], 1));
    assert_eq!(world.core.last_data(), 7);
}

#[test]
fn a_row_write_in_the_batch_of_a_grant_is_decided_after_it() {
    let mut world = World::new();
    let amy = world.amy();
    let item = world.insert(amy, 1);
    let grant = Command::Grant {
        privileges: vec![Privilege::Insert],
        on: grantd_catalog::command::Targets::Tables(vec![grantd_catalog::command::TablePattern::Table(
            ObjectName { parts: vec![Name::from("item")] },
        )]),
        to: vec![RoleSpec::Name(RoleName::normalize("amy"))],
        grant_option: false,
    };
    let entries = [
        log_entry(3, sealed(10, catalog(grant))),
        log_entry(4, sealed(11, Body::Rows { base: 1, items: vec![item] })),
    ];
    let replies = world.core.apply(&entries).unwrap();
    assert_eq!(codes(&replies[0]), ["done"]);
    assert_eq!(replies[1], vec![vec![Outcome::Done(Done { changed: true, ..Done::default() })]]);
    assert_eq!(world.core.view().version().0, 4);
}

#[test]
fn what_cannot_be_applied_is_an_error_and_leaves_the_file_as_it_was() {
    let newer = codec::seal(Kind::Entry, 2, b"of a later release");
    type Make = Box<dyn Fn(&mut World) -> Payload>;
    let bad: [(&str, Make); 4] = [
        ("NewerFormat", Box::new(move |_| EntryPayload::Normal(EntryBytes(newer.clone().into())))),
        ("Length", Box::new(|_| EntryPayload::Normal(EntryBytes(b"\xA7".as_slice().into())))),
        ("Invariant", Box::new(|_| sealed(1, catalog(create_role("late"))))),
        (
            "Changeset",
            Box::new(|world| {
                let mut item = world.insert(PrincipalId::ROOT, 1);
                item.changeset.truncate(item.changeset.len() / 2);
                sealed(9, Body::Rows { base: 1, items: vec![item] })
            }),
        ),
    ];
    for (what, payload) in bad {
        let mut world = World::new();
        let payload = payload(&mut world);
        let good = log_entry(3, sealed(8, catalog(create_role("ben"))));
        let error = world.core.apply(&[good, log_entry(4, payload)]).unwrap_err();
        assert!(format!("{error:?}").contains(what), "{what}: {error:?}");
        let directory = world.directory;
        drop(world.core);
        let reloaded = load(directory.path());
        assert_eq!(reloaded.applied(), Some(id(2)), "{what}");
        assert!(reloaded.view().state().principal_id(&RoleName::normalize("ben")).is_none(), "{what}");
    }
}

#[tokio::test]
async fn after_an_error_the_machine_applies_nothing_more_and_says_so_once() {
    let world = World::new();
    let World { directory, core, .. } = world;
    drop(core);
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&reasons);
    let on_fatal: OnFatal = Arc::new(move |reason| told.lock().unwrap().push(reason.to_owned()));
    let parts = MachineParts {
        store: Store::open(&directory.path().join("state.db"), &Extensions::default()).unwrap(),
        snapshots: Arc::new(
            Snapshots::open(directory.path().join("snapshots"), &Extensions::default()).unwrap(),
        ),
        cluster: Arc::default(),
        on_fatal,
        transaction_time: crate::config::TRANSACTION_TIME_MAX,
    };
    let (machine, mut state_machine, thread) = Machine::start(parts).unwrap();
    let stray = log_entry(7, EntryPayload::Blank);
    let next = log_entry(3, EntryPayload::Blank);
    for entry in [stray, next] {
        let applied = state_machine.apply(stream::iter(vec![Ok((entry, None))])).await;
        assert!(applied.unwrap_err().to_string().contains("entry 7: it follows entry Some(2)"));
    }
    assert_eq!(machine.published().view().version().0, 2);
    assert_eq!(reasons.lock().unwrap().len(), 1);
    machine.stop();
    thread.join().unwrap();
}

#[test]
fn who_left_is_remembered_across_a_restart() {
    let mut world = World::new();
    world.members(&[1, 2, 3]);
    world.members(&[1, 3]);
    world.members(&[3]);
    let World { directory, core, .. } = world;
    drop(core);
    let members = load(directory.path()).published().members();
    assert_eq!(members.removed, [1, 2].into());
    assert_eq!(members.stored.voter_ids().collect::<Vec<_>>(), [3]);
}

#[tokio::test]
async fn a_snapshot_replaces_everything_and_a_bad_one_nothing() {
    let mut source = World::new();
    source.apply(catalog(create_role("ben"))).unwrap();
    let file = source.copied();
    let last = file.header().last;
    let bytes = std::fs::read(file.path()).unwrap();

    let mut target = World::new();
    let received =
        Snapshots::open(target.directory.path().join("snapshots"), &Extensions::default()).unwrap();
    let receive = async |bytes: &[u8], last| {
        let header = SnapshotHeaderV1 {
            cluster: ClusterId(1),
            last,
            membership: StoredMembershipV1::default(),
            length: bytes.len() as u64,
            crc: crc32c::crc32c(bytes),
        };
        received.receive(header, bytes).await.unwrap()
    };
    // Another position than the header's, a page of zeros, another program's bytes: a sender that is wrong about what
    // it has, so the checksum fits.
    let mut holed = bytes.clone();
    holed[4096..8192].fill(0);
    for (what, bytes, last) in [
        ("position", &bytes, Some((&id(9)).into())),
        ("hole", &holed, last),
        ("text", &b"text".to_vec(), last),
    ] {
        let file = receive(bytes, last).await;
        assert!(target.core.install(&file).is_err(), "{what}");
        assert_eq!(target.core.applied(), Some(id(2)), "{what}");
        assert_eq!(load(target.directory.path()).applied(), Some(id(2)), "{what}");
    }
    let file = receive(&bytes, last).await;
    target.core.install(&file).unwrap();
    assert_eq!(target.core.applied(), Some(id(3)));
    assert!(target.core.published().view().state().principal_id(&RoleName::normalize("ben")).is_some());
    assert_eq!(load(target.directory.path()).applied(), Some(id(3)));
}

#[tokio::test]
async fn a_snapshot_that_is_taken_copies_nothing_and_one_that_is_sent_is_of_the_state_then() {
    let directory = tempfile::tempdir().unwrap();
    let snapshots =
        Arc::new(Snapshots::open(directory.path().join("snapshots"), &Extensions::default()).unwrap());
    let parts = MachineParts {
        store: Store::open(&directory.path().join("state.db"), &Extensions::default()).unwrap(),
        snapshots,
        cluster: Arc::new(OnceLock::from(ClusterId(1))),
        on_fatal: Arc::new(|reason| panic!("{reason}")),
        transaction_time: crate::config::TRANSACTION_TIME_MAX,
    };
    let (machine, mut state_machine, thread) = Machine::start(parts).unwrap();
    assert!(state_machine.get_current_snapshot().await.unwrap().is_none());
    let membership =
        Membership::new(vec![[1].into()], std::collections::BTreeMap::from([(1, NodeInfo::default())]))
            .unwrap();
    let mut entries = vec![EntryPayload::Membership(membership)];
    entries.extend(["amy", "ben", "cat"].map(|name| sealed(1, catalog(create_role(name)))));
    let mut entries = (0..).zip(entries).map(|(index, payload)| Ok((log_entry(index, payload), None)));
    state_machine.apply(stream::iter(entries.by_ref().take(2).collect::<Vec<_>>())).await.unwrap();

    let mut builder = state_machine.get_snapshot_builder().await;
    state_machine.apply(stream::iter(entries.by_ref().take(1).collect::<Vec<_>>())).await.unwrap();
    let taken = builder.build_snapshot().await.unwrap();
    assert_eq!(taken.meta.last_log_id, Some(id(1)));
    assert_eq!(std::fs::read_dir(directory.path().join("snapshots")).unwrap().count(), 0);

    let sent = state_machine.get_current_snapshot().await.unwrap().unwrap();
    state_machine.apply(stream::iter(entries.collect::<Vec<_>>())).await.unwrap();
    assert_eq!(sent.meta.last_log_id, Some(id(2)));
    let file = sent.snapshot.into_file().unwrap();
    assert_eq!(file.header().meta().unwrap(), sent.meta);
    let target = tempfile::tempdir().unwrap();
    let mut target = load(target.path());
    target.install(&file).unwrap();
    let view = target.published().view();
    let names = |name| view.state().principal_id(&RoleName::normalize(name)).is_some();
    assert_eq!(["amy", "ben", "cat"].map(names), [true, true, false]);
    drop(file);
    assert_eq!(std::fs::read_dir(directory.path().join("snapshots")).unwrap().count(), 0);
    machine.stop();
    thread.join().unwrap();
}

fn create_sequence(start: i64) -> Command {
    let sequence = Sequence { start, increment: 1, min: 1, max: i64::MAX, owned_by: None };
    let name = ObjectName { parts: vec![Name::from("ticket")] };
    Command::CreateSequence { name, sequence, owned_by: None, if_not_exists: false }
}

fn last_value(core: &mut Core, sequence: ObjectId) -> Vec<Vec<Value>> {
    let sql = format!("SELECT last_value, is_called FROM t{sequence}");
    let store = core.store();
    store.begin().unwrap();
    let captured = store.capture(|rows| rows.run(&sql, &[])).unwrap();
    store.rollback().unwrap();
    let Captured::Changed(result, _) = captured else { panic!("{captured:?}") };
    result.rows
}

#[test]
fn a_sequence_begins_where_the_catalog_says_and_moves_with_the_rows_through_restart_and_snapshot() {
    let mut world = World::new();
    world.apply(catalog(create_sequence(5))).unwrap();
    let state = world.core.view().state();
    let is_sequence = |object: &Object| object.name.as_str() == "ticket";
    let (sequence, _) = state.objects().find(|(_, object)| is_sequence(object)).unwrap();
    let at = |last, called| vec![vec![Value::Integer(last), Value::Integer(called)]];
    assert_eq!(last_value(&mut world.core, sequence), at(5, 0));

    let (root, amy) = (PrincipalId::ROOT, world.amy());
    let take = |world: &mut World, by, last: i64| {
        let sql = format!("UPDATE t{sequence} SET last_value = {last}, is_called = 1");
        let changeset = world.capture(&sql);
        let mut requirement = Requirement::default();
        let privileges = vec![Privilege::Update, Privilege::Usage];
        requirement.need(Need::AnyOf { object: sequence, privileges });
        RowChange { actor: Actor::of(by), requirement, changeset }
    };
    let items = vec![take(&mut world, root, 6), take(&mut world, amy, 7)];
    let reply = world.apply(Body::Rows { base: 3, items }).unwrap();
    assert_eq!(codes(&reply), ["done", "42501"]);
    assert_eq!(last_value(&mut world.core, sequence), at(6, 1));

    let file = world.copied();
    let World { directory, core, .. } = world;
    drop(core);
    assert_eq!(last_value(&mut load(directory.path()), sequence), at(6, 1));
    let mut other = World::new();
    other.core.install(&file).unwrap();
    assert_eq!(last_value(&mut other.core, sequence), at(6, 1));
    other.next = 5;
    let names = vec![ObjectName { parts: vec![Name::from("ticket")] }];
    let drop_it = Command::DropSequences { names, if_exists: false, behavior: DropBehavior::Default };
    assert_eq!(codes(&other.apply(catalog(drop_it)).unwrap()), ["done"]);
    assert!(
        other.core.store().checksum().unwrap().1.iter().all(|table| table.name != format!("t{sequence}"))
    );
}
