//! A RESTORE in the row store: tables that nobody sees, rows that come with commands, and none of it in the history.

use grantd_catalog::grant::Acl;
use grantd_catalog::job::{Control, JobId, JobKind, JobToken, NewJob, Opaque, Report};
use grantd_catalog::object::Body as ObjectBody;
use grantd_catalog::shelf::{Scope, ShelfStep, Shelved};

use super::history::past_of;
use super::{
    Actor, Arc, Body, Command, Name, NameContext, Object, ObjectId, Outcome, PrincipalId, Proposal,
    Requirement, Sequence, Timestamp, Value, World, catalog, create_table, load, sealed,
};
use crate::rows::{PastError, Place, encode_rows};

const JOB: JobId = JobId(1);
const SECOND: u64 = 1_000_000_000;

fn by_node(command: Command) -> Proposal {
    let context = NameContext { database: None, search_path: Vec::new() };
    Proposal { actor: Actor::of(PrincipalId::NODE), context, commands: vec![command] }
}

fn step(number: u64, step: ShelfStep) -> Command {
    Command::Shelve { job: JOB, epoch: 1, number, position: Opaque::default(), step: Box::new(step) }
}

fn fill(number: u64, table: ObjectId, keys: &[i64]) -> Command {
    let rows = keys.iter().map(|key| vec![Value::Integer(*key)]).collect();
    step(number, ShelfStep::Fill { table, rows: Opaque::new(encode_rows(rows)) })
}

fn thing(id: u32, name: &str, parent: u32, body: ObjectBody) -> Shelved {
    let object = Object {
        name: Name::from(name),
        parent: ObjectId(parent),
        owner: PrincipalId::ROOT,
        acl: Acl::default(),
        body,
        comment: None,
    };
    Shelved::Object { id: ObjectId(id), object: Arc::new(object), is_made: false }
}

impl World {
    fn node(&mut self, command: Command) {
        self.done(Body::Catalog(vec![by_node(command)]));
    }

    fn done(&mut self, body: Body) {
        let reply = self.apply_payload(sealed(self.next * SECOND, body)).unwrap();
        assert!(reply.iter().flatten().all(|outcome| matches!(outcome, Outcome::Done(_))), "{reply:?}");
    }

    /// A claimed RESTORE with a database, a table and a sequence on its shelf, both made: the ids of both.
    fn shelved(&mut self) -> (ObjectId, ObjectId) {
        let job = NewJob {
            token: JobToken(7),
            kind: JobKind::Restore,
            description: "d".to_owned(),
            statement: "s".to_owned(),
            details: Opaque::default(),
            requirement: Requirement::NOTHING,
            tables: Vec::new(),
            schedule: None,
            cancelable: true,
            protects: None,
        };
        self.done(catalog(Command::CreateJob { job: Box::new(job) }));
        self.node(Command::ClaimJob { id: JOB, node: 1, boot: 1 });
        self.node(step(0, ShelfStep::Begin { scope: Scope::Objects, objects: 4, principals: 0 }));
        let first = self.core.view().state().shelf(JOB).unwrap().objects.first;
        let Command::CreateTable { table, .. } = create_table() else { unreachable!("it is one") };
        let sequence = Sequence { start: 1, increment: 1, min: 1, max: 9, owned_by: None };
        self.node(step(
            1,
            ShelfStep::Put(vec![
                thing(first, "back", 0, ObjectBody::Database),
                thing(first + 1, "public", first, ObjectBody::Schema),
                thing(first + 2, "t", first + 1, ObjectBody::Table(Arc::new(table))),
                thing(first + 3, "s", first + 1, ObjectBody::Sequence(sequence)),
            ]),
        ));
        let made = (ObjectId(first + 2), ObjectId(first + 3));
        self.node(step(2, ShelfStep::Make(vec![made.0, made.1])));
        made
    }

    fn keys(&mut self, table: ObjectId) -> Vec<i64> {
        let store = self.core.store();
        store.begin().unwrap();
        let sql = format!("SELECT * FROM t{table}");
        let captured = store.capture(|rows| rows.run(&sql, &[])).unwrap();
        store.rollback().unwrap();
        let crate::rows::Captured::Changed(found, _) = captured else { panic!("{captured:?}") };
        let key =
            |row: Vec<Value>| if let [Value::Integer(key), ..] = row[..] { key } else { panic!("{row:?}") };
        found.rows.into_iter().map(key).collect()
    }

    fn tables(&mut self) -> usize {
        self.core.store().checksum().unwrap().1.len()
    }
}

#[test]
fn rows_come_step_by_step_each_once_and_are_kept_over_a_restart() {
    let mut world = World::new();
    let (table, sequence) = world.shelved();
    world.node(fill(3, table, &[1, 2]));
    world.node(fill(3, table, &[1, 2]));
    world.node(fill(4, table, &[3]));
    let row = [7, 0, 1, 0].map(Value::Integer).to_vec();
    let rows = Opaque::new(encode_rows(vec![row]));
    world.node(step(5, ShelfStep::Fill { table: sequence, rows }));
    world.core = load(world.directory.path());
    assert_eq!(world.keys(table), [1, 2, 3]);
    assert_eq!(world.keys(sequence), [7], "in the place of the row that it began with");
    assert!(world.core.view().state().object(table).is_none());
    world.node(step(6, ShelfStep::Publish));
    assert!(world.core.view().state().object(table).is_some());
    assert_eq!(world.keys(table), [1, 2, 3]);
}

/// What comes by a restore has no history: it is told of from then on, and nobody reads it as of a time before.
#[test]
fn the_history_of_a_table_begins_when_it_is_published() {
    let mut world = World::new();
    let (table, _) = world.shelved();
    world.node(fill(3, table, &[1, 2]));
    let before = Timestamp { nanos: (world.next - 1) * SECOND, logical: 0 };
    let published = Timestamp { nanos: world.next * SECOND, logical: 0 };
    world.node(step(4, ShelfStep::Publish));
    let file = world.directory.path().join("state.db");
    assert_eq!(past_of(&file, |past| past.floor(table).unwrap()), published);
    let rows_at = |time| {
        let mut count = 0;
        let read = past_of(&file, |past| {
            past.rows_at(table, time, &mut |_| {
                count += 1;
                Ok(())
            })
        });
        read.map(|_| count)
    };
    assert_eq!(rows_at(published).unwrap(), 2);
    assert!(matches!(rows_at(before), Err(PastError::Collected { .. })), "{:?}", rows_at(before));
    let told = past_of(&file, |past| {
        past.changes(&[table], Place::after(published), Place::END, usize::MAX).unwrap()
    });
    assert_eq!(told.changes, []);
}

/// Whoever proposes it finds out: in the log it would end every node.
#[test]
fn rows_that_the_table_does_not_take_are_refused_and_never_proposed() {
    let mut world = World::new();
    let (table, sequence) = world.shelved();
    world.node(fill(3, table, &[1]));
    let sums = world.core.store().checksum().unwrap();
    let sealed_rows = |rows: Vec<Vec<Value>>| Opaque::new(encode_rows(rows));
    for (table, rows) in [
        (table, sealed_rows(vec![vec![Value::Integer(2)], vec![Value::Integer(1)]])),
        (table, sealed_rows(vec![vec![Value::Text("a".to_owned())]])),
        (table, sealed_rows(vec![vec![Value::Null]])),
        (table, sealed_rows(vec![vec![Value::Integer(2), Value::Integer(2)]])),
        (table, sealed_rows(vec![vec![Value::Integer(2)], Vec::new()])),
        (table, sealed_rows(vec![vec![Value::Real(f64::NAN)]])),
        (table, Opaque::new(b"no rows".to_vec())),
        (sequence, sealed_rows(vec![vec![Value::Integer(1)]])),
    ] {
        let command = step(4, ShelfStep::Fill { table, rows: rows.clone() });
        let refused = world.core.try_storage(&by_node(command)).unwrap();
        let refused = refused.unwrap_or_else(|| panic!("{rows:?} were taken"));
        assert_eq!(refused.code.as_str(), "22000", "{refused:?}");
    }
    assert_eq!(world.core.store().checksum().unwrap(), sums, "what was tried was taken back");
    assert_eq!(world.core.try_storage(&by_node(fill(4, table, &[2, 3]))).unwrap(), None);
}

#[test]
fn what_was_brought_is_taken_away_when_the_job_is_cancelled() {
    let mut world = World::new();
    let before = world.tables();
    let (table, _) = world.shelved();
    world.node(fill(3, table, &[1]));
    assert_eq!(world.tables(), before + 2);
    world.done(catalog(Command::ControlJob { id: JOB, control: Control::Cancel }));
    world.node(Command::ReportJob { id: JOB, epoch: 1, report: Report::Canceling });
    world.node(step(0, ShelfStep::Clear));
    world.node(step(0, ShelfStep::Clear));
    assert_eq!(world.tables(), before);
    world.node(Command::ReportJob { id: JOB, epoch: 1, report: Report::Reverted });
}
