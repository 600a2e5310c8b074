//! Transactions as the leader runs them and as every node applies them.

use std::sync::Arc;

use grantd_catalog::view::View;
use tokio::sync::Mutex;

use super::{
    Actor, Body, Command, EntryPayload, LeaderId, LogId, ObjectId, Outcome, PrincipalId, Privilege, Proposal,
    Reply, Requirement, World, catalog, codes, create_role, create_sequence, create_table, load, sealed,
};
use crate::config::TRANSACTION_BYTES_MAX;
use crate::entry::{Part, Transaction};
use crate::machine::SharedWrite;
use crate::machine::open::Open;
use crate::rows::Transaction as Rows;
use crate::types::{LogEntry, Payload};
use crate::write::{Ran, RowWrite, TransactionError, WriteRefused};

const LEADER: LeaderId = LeaderId { term: 1, node_id: 1 };

/// A statement that is not decided before it runs, like one whose privilege is gone when it is applied.
struct Plain {
    actor: Actor,
    table: ObjectId,
    sql: String,
}

impl RowWrite for Plain {
    fn run(&mut self, _view: &Arc<View>, rows: &mut dyn Rows) -> Result<(Actor, Requirement), WriteRefused> {
        rows.run(&self.sql, &[]).map_err(|_| WriteRefused)?;
        let mut requirement = Requirement::default();
        requirement.privilege(self.table, Privilege::Insert);
        Ok((self.actor, requirement))
    }
}

/// A leader's transaction, on the world's core.
struct Running {
    open: Open,
}

impl Running {
    fn begin(world: &World) -> Self {
        Self { open: Open::new(7, LEADER, world.core.last_data()) }
    }

    fn run_as(&mut self, world: &mut World, by: PrincipalId, table: ObjectId, sql: &str) -> Ran {
        let sql = sql.replace("{t}", &format!("t{table}"));
        let write: Box<dyn RowWrite> = Box::new(Plain { actor: Actor::of(by), table, sql });
        let write: SharedWrite = Arc::new(Mutex::new(Some(write)));
        self.open.run(&mut world.core, &write).unwrap().unwrap()
    }

    fn insert(&mut self, world: &mut World, by: PrincipalId, table: ObjectId, id: u32) {
        let ran = self.run_as(world, by, table, &format!("INSERT INTO {{t}} VALUES ({id})"));
        assert_eq!(ran, Ran::Done { changed: true });
    }

    fn propose(&mut self, world: &mut World, command: Command) -> Vec<Outcome> {
        self.open.propose(&mut world.core, proposal(command)).unwrap().unwrap()
    }

    /// The newest table that the transaction knows.
    fn newest(&mut self, world: &mut World) -> ObjectId {
        newest(&self.open.view(&mut world.core).unwrap().unwrap())
    }

    fn entries(self, world: &mut World) -> Vec<Body> {
        world.core.suspend().unwrap();
        self.open.into_entries().unwrap().unwrap()
    }
}

pub(super) fn newest(view: &View) -> ObjectId {
    let state = view.state();
    state.children(ObjectId::DEFAULT_PUBLIC_SCHEMA).map(|(id, _)| id).max().unwrap()
}

fn proposal(command: Command) -> Proposal {
    let Body::Catalog(mut proposals) = catalog(command) else { unreachable!("it makes one") };
    proposals.remove(0)
}

fn named(name: &str) -> Command {
    let mut command = create_table();
    if let Command::CreateTable { name: of, .. } = &mut command {
        of.parts = vec![name.into()];
    }
    command
}

impl World {
    fn apply_of(&mut self, leader: LeaderId, payload: Payload) -> Reply {
        let log_id = LogId { leader_id: leader, index: self.next };
        self.next += 1;
        self.core.apply(&[LogEntry { log_id, payload }]).unwrap().remove(0)
    }

    fn apply_all(&mut self, entries: Vec<Body>) -> Reply {
        entries.into_iter().map(|entry| self.apply(entry).unwrap()).last().unwrap()
    }

    /// Without the history, which has the times of entries in it.
    pub(super) fn sums(&mut self) -> (u32, Vec<crate::rows::TableChecksum>, u32) {
        let (catalog, mut tables) = self.core.store().checksum().unwrap();
        tables.retain(|table| !table.name.starts_with("grantd_"));
        (catalog, tables, self.core.store().stages().unwrap())
    }
}

/// Parts of every kind: rows, a table, rows in it, a role, and rows of someone.
fn mixed(world: &mut World, last_by: PrincipalId) -> Vec<Body> {
    let (root, item) = (PrincipalId::ROOT, world.table());
    let mut running = Running::begin(world);
    running.insert(world, root, item, 1);
    assert!(matches!(running.propose(world, named("own"))[..], [Outcome::Done(_)]));
    let own = running.newest(world);
    running.insert(world, root, own, 2);
    running.propose(world, create_role("ben"));
    running.insert(world, root, item, 3);
    running.insert(world, last_by, own, 4);
    running.entries(world)
}

#[test]
fn every_node_applies_a_transaction_to_the_same_and_the_leader_too() {
    let (mut leader, mut follower) = (World::new(), World::new());
    let before = leader.sums();
    let entries = mixed(&mut leader, PrincipalId::ROOT);
    assert_eq!(entries.len(), 1);
    assert_eq!(leader.sums(), before, "what runs is not in the file");
    assert_eq!(codes(&leader.apply_all(entries.clone())), ["done"]);
    assert_eq!(codes(&follower.apply_all(entries)), ["done"]);
    assert_eq!(leader.sums(), follower.sums());
    let (_, tables, _) = leader.sums();
    assert_eq!(tables.iter().map(|table| table.rows).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(leader.core.last_data(), 3);
    assert_eq!(load(leader.directory.path()).last_data(), 3);
}

#[test]
fn a_refusal_in_its_middle_undoes_all_of_it() {
    let mut world = World::new();
    let amy = world.amy();
    let (before, base) = (world.sums(), world.core.last_data());
    let entries = mixed(&mut world, amy);
    assert_eq!(codes(&world.apply_all(entries)), ["42501"]);
    assert_eq!((world.sums(), world.core.last_data()), (before, base));
    let state = world.core.view().state();
    assert!(state.principals().all(|(_, principal)| principal.name.as_str() != "ben"));
    // And the next one is made and applied as if nothing had been.
    let entries = mixed(&mut world, PrincipalId::ROOT);
    assert_eq!(codes(&world.apply_all(entries)), ["done"]);
}

#[test]
fn upon_another_base_it_is_refused_and_upon_other_rights_only_decided_again() {
    let mut world = World::new();
    let entries = mixed(&mut world, PrincipalId::ROOT);
    world.apply(catalog(create_role("cat"))).unwrap();
    let mut other = World::new();
    other.apply(catalog(create_sequence(1))).unwrap();
    assert_eq!(codes(&other.apply_all(entries.clone())), ["40001"]);
    assert_eq!(codes(&world.apply_all(entries)), ["done"]);
}

#[test]
fn what_comes_between_its_statements_finds_nothing_of_it_and_it_goes_on() {
    let mut world = World::new();
    let (root, item) = (PrincipalId::ROOT, world.table());
    let before = world.sums().1;
    let mut running = Running::begin(&world);
    running.insert(&mut world, root, item, 1);
    running.propose(&mut world, named("own"));
    let own = running.newest(&mut world);
    running.insert(&mut world, root, own, 5);
    world.apply(catalog(create_role("cat"))).unwrap();
    assert_eq!(world.sums().1, before);
    world.members(&[1, 2]);
    world.core.pin().unwrap();
    assert_eq!(world.sums().1, before);
    // Its key is taken by its own row, which was replayed.
    assert_eq!(running.run_as(&mut world, root, own, "INSERT INTO {t} VALUES (5)"), Ran::Refused);
    running.insert(&mut world, root, own, 6);
    let entries = running.entries(&mut world);
    assert_eq!(codes(&world.apply_all(entries)), ["done"]);
    assert_eq!(world.sums().1.iter().map(|table| table.rows).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn when_tables_change_under_it_it_is_lost() {
    let mut world = World::new();
    let item = world.table();
    let mut running = Running::begin(&world);
    running.insert(&mut world, PrincipalId::ROOT, item, 1);
    world.apply(catalog(create_sequence(1))).unwrap();
    let view = running.open.view(&mut world.core).unwrap();
    assert!(matches!(view, Err(TransactionError::Lost(refusal)) if refusal.code.as_str() == "40001"));
}

#[test]
fn a_statement_that_makes_it_too_large_is_refused_and_the_rest_of_it_stays() {
    let mut world = World::new();
    let item = world.table();
    let mut running = Running::begin(&world);
    running.insert(&mut world, PrincipalId::ROOT, item, 1);
    running.open.pretend(TRANSACTION_BYTES_MAX - 10);
    let sql = format!("INSERT INTO t{item} VALUES (2)");
    let write: Box<dyn RowWrite> = Box::new(Plain { actor: Actor::of(PrincipalId::ROOT), table: item, sql });
    let write: SharedWrite = Arc::new(Mutex::new(Some(write)));
    let refused = running.open.run(&mut world.core, &write).unwrap();
    assert!(matches!(refused, Err(TransactionError::Refused(refusal)) if refusal.code.as_str() == "54000"));
    running.open.pretend(0);
    running.insert(&mut world, PrincipalId::ROOT, item, 2);
    assert_eq!(
        running.run_as(&mut world, PrincipalId::ROOT, item, "INSERT INTO {t} VALUES (1)"),
        Ran::Refused
    );
    let entries = running.entries(&mut world);
    assert_eq!(codes(&world.apply_all(entries)), ["done"]);
    assert_eq!(world.rows(), 2);
}

/// The entries of [`mixed`], cut as those of a transaction that is too large for one.
fn staged(world: &mut World, number: u64) -> Vec<Body> {
    let Some(Body::Transaction(whole)) = mixed(world, PrincipalId::ROOT).pop() else { unreachable!("one") };
    let cut = |part: Part| match part {
        Part::Rows { by, changeset, .. } => {
            let (first, second) = changeset.split_at(changeset.len() / 2);
            let piece = |bytes: &[u8], ends| Part::Rows { by, changeset: bytes.to_vec(), ends };
            vec![piece(first, false), piece(second, true)]
        }
        other @ Part::Catalog(_) => vec![other],
    };
    let pieces: Vec<Part> = whole.parts.iter().cloned().flat_map(cut).collect();
    let stages = u32::try_from(pieces.len()).unwrap();
    let mut entries: Vec<Body> =
        (0..).zip(pieces).map(|(stage, part)| Body::Stage { number, stage, parts: vec![part] }).collect();
    entries.push(Body::Transaction(Transaction { number, stages, parts: Vec::new(), ..whole }));
    entries
}

#[test]
fn stages_have_no_effect_before_their_transaction_and_are_gone_after_it() {
    let (mut plain, mut world) = (World::new(), World::new());
    let entries = mixed(&mut plain, PrincipalId::ROOT);
    plain.apply_all(entries);
    let before = world.sums();
    let mut entries = staged(&mut world, 7);
    let last = entries.pop().unwrap();
    let stages = u32::try_from(entries.len()).unwrap();
    world.apply_all(entries);
    assert_eq!(world.sums(), (before.0, before.1, stages));
    // Through a snapshot and a restart.
    let file = world.copied();
    let mut copied = World::new();
    copied.core.install(&file).unwrap();
    copied.next = world.next;
    let World { directory, core, next } = world;
    drop(core);
    let core = load(directory.path());
    let mut world = World { directory, core, next };
    for world in [&mut world, &mut copied] {
        assert_eq!(codes(&world.apply(last.clone()).unwrap()), ["done"]);
        assert_eq!(world.sums(), plain.sums());
    }
}

#[test]
fn stages_of_another_leader_or_transaction_never_take_effect() {
    let mut world = World::new();
    let before = world.sums();
    let mut entries = staged(&mut world, 7);
    let last = entries.pop().unwrap();
    // The leader changes: whatever is its first entry.
    world.apply_all(entries.clone());
    world.apply_of(LeaderId { term: 2, node_id: 2 }, EntryPayload::Blank);
    assert_eq!(world.sums(), before);
    world.apply_all(entries.clone());
    // The term of `apply_all` is another one again, as for any change of leaders.
    assert_ne!(world.sums().2, 0);
    // Another transaction of the same leader begins its own.
    world.apply(Body::Stage { number: 8, stage: 0, parts: Vec::new() }).unwrap();
    assert_eq!(world.sums().2, 1);
    assert_eq!(codes(&world.apply(last.clone()).unwrap()), ["40001"]);
    assert_eq!(world.sums(), before);
    // Not all are there.
    entries.remove(1);
    world.apply_all(entries);
    assert_eq!(codes(&world.apply(last).unwrap()), ["40001"]);
    assert_eq!(world.sums(), before);
}

#[test]
fn a_transaction_that_is_refused_for_its_base_leaves_no_stages() {
    let mut world = World::new();
    let entries = staged(&mut world, 7);
    world.apply(catalog(create_sequence(1))).unwrap();
    assert_eq!(codes(&world.apply_all(entries)), ["40001"]);
    assert_eq!(world.sums().2, 0);
}

#[test]
fn the_bytes_of_a_transaction_s_entries_never_change() {
    let actor = Actor::of(PrincipalId::ROOT);
    let mut requirement = Requirement::default();
    requirement.privilege(ObjectId(104), Privilege::Insert);
    let parts = vec![
        Part::Rows { by: 0, changeset: vec![1, 2], ends: false },
        Part::Rows { by: 0, changeset: vec![3], ends: true },
    ];
    let transaction =
        Transaction { number: 7, base: 300, by: vec![(actor, requirement)], stages: 2, parts: parts.clone() };
    let mut catalog_part = parts.clone();
    catalog_part.push(Part::Catalog(proposal(create_role("amy"))));
    for (body, expected) in [
        (Body::Stage { number: 7, stage: 1, parts: catalog_part }, STAGE),
        (Body::Transaction(transaction), TRANSACTION),
    ] {
        let EntryPayload::Normal(bytes) = sealed(5, body.clone()) else { unreachable!("it seals one") };
        let hex: String = bytes.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, expected);
        assert_eq!(bytes.open().unwrap().body, body);
    }
}

const STAGE: &str = "a70100010031000000981767670500020701030100020102000100010301000101010964656661756c74646201\
    067075626c696301000003616d79010000";
const TRANSACTION: &str = "a7010001001b000000e1f02e4a05000307fb2c010101010100680602020100020102000100010301";
