//! Transactions on whole nodes, on a network in memory.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "shared with the other tests of clusters")]
#[path = "cluster/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use grantd_catalog::command::{Command, NewConstraint, Outcome, Rule, TableAction};
use grantd_catalog::job::{JobKind, JobToken, NewJob, Opaque};
use grantd_catalog::object::Expression;
use grantd_catalog::privilege::Privilege;
use grantd_catalog::require::Requirement;
use grantd_catalog::schedule::{NewSchedule, OnFailure, OnPrevious};
use grantd_raft::handle::{OpenTransaction, Ran, ReadSet, Receipt, TransactionError, Unavailable};
use grantd_raft::rows::Value;

use world::{
    Cluster, Node, TestTable, Write, context, create_role, create_table, grant, object, proposal, revoke,
    root, user,
};

async fn begin(node: &Node) -> OpenTransaction {
    node.handle.begin(None).await.unwrap().unwrap()
}

async fn run(
    transaction: &mut OpenTransaction,
    table: &TestTable,
    sql: &str,
) -> Result<Ran, TransactionError> {
    run_as(transaction, root(), table, sql).await
}

async fn run_as(
    transaction: &mut OpenTransaction,
    actor: grantd_catalog::command::Actor,
    table: &TestTable,
    sql: &str,
) -> Result<Ran, TransactionError> {
    let write = Write::new(actor, table, Privilege::Insert, sql);
    let (write, ran) = transaction.run(Box::new(write)).await;
    assert!(write.is_some());
    ran
}

const CHANGED: Result<Ran, TransactionError> = Ok(Ran::Done { changed: true });

async fn insert(transaction: &mut OpenTransaction, table: &TestTable, id: i64) {
    let ran = run(transaction, table, &format!("INSERT INTO {{t}} VALUES ({id}, 'row')")).await;
    assert_eq!(ran, CHANGED);
}

async fn propose(transaction: &mut OpenTransaction, command: Command) -> Vec<Outcome> {
    transaction.propose(proposal(root(), vec![command])).await.unwrap()
}

async fn ids(node: &Node, table: &TestTable) -> Vec<i64> {
    let rows = node.rows(table).await;
    rows.iter()
        .map(|row| match row[0] {
            Value::Integer(id) => id,
            ref other => panic!("{other:?}"),
        })
        .collect()
}

fn code(receipt: &Receipt) -> &str {
    match receipt.outcomes.as_slice() {
        [Outcome::Done(_)] => "done",
        [Outcome::Refused(refusal)] => refusal.code.as_str(),
        other => panic!("{other:?}"),
    }
}

/// How many stages of transactions a node keeps.
fn stages(cluster: &Cluster, id: u64) -> i64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let state = rusqlite::Connection::open_with_flags(cluster.path(id).join("state.db"), flags).unwrap();
    state.query_row("SELECT count(*) FROM grantd_staged", [], |row| row.get(0)).unwrap()
}

fn lost(answer: Result<Ran, TransactionError>) -> String {
    match answer {
        Err(TransactionError::Lost(refusal)) => refusal.code.as_str().to_owned(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_sees_its_own_changes_nobody_else_does_and_at_commit_everybody() {
    let mut cluster = Cluster::of_three().await;
    let table = cluster.node(1).make_table("item").await;
    let leader = cluster.leader().await;
    let mut transaction = begin(leader).await;
    insert(&mut transaction, &table, 1).await;
    insert(&mut transaction, &table, 2).await;
    let moved = run(&mut transaction, &table, "UPDATE {t} SET id = id + 10 WHERE id = 2").await;
    assert_eq!(moved, CHANGED);
    let nothing = run(&mut transaction, &table, "DELETE FROM {t} WHERE id = 2").await;
    assert_eq!(nothing, Ok(Ran::Done { changed: false }));
    let twice = run(&mut transaction, &table, "INSERT INTO {t} VALUES (12, 'again')").await;
    assert_eq!(twice, Ok(Ran::Refused), "it sees what it moved there");
    assert!(ids(leader, &table).await.is_empty());
    let receipt = transaction.commit().await.unwrap();
    assert_eq!(code(&receipt), "done");
    for node in cluster.nodes() {
        node.handle.at_least(receipt.version).await.unwrap();
        assert_eq!(ids(node, &table).await, [1, 12]);
    }
    cluster.equal_checksums().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_leader_opens_one_and_others_wait_until_it_is_over_however_it_ends() {
    let cluster = Cluster::of_three().await;
    let table = cluster.node(1).make_table("item").await;
    let follower = cluster.follower().await;
    let elsewhere = cluster.node(follower).handle.begin(None).await;
    assert!(matches!(elsewhere, Err(Unavailable::NotLeader { .. })), "{:?}", elsewhere.err());

    let leader = cluster.leader().await;
    let mut first = begin(leader).await;
    insert(&mut first, &table, 1).await;
    let write = Write::new(root(), &table, Privilege::Insert, "INSERT INTO {t} VALUES (2, 'single')");
    let single = leader.write(write);
    let second = leader.handle.begin(None);
    // A change of tables does not wait here: who proposes it takes a turn, as a transaction of its own.
    for node in [leader, cluster.node(follower)] {
        let ddl = node.handle.propose(proposal(root(), vec![create_table("other")])).await;
        assert!(matches!(ddl, Err(Unavailable::Busy)), "{ddl:?}");
    }
    tokio::pin!(single, second);
    for _ in 0..3 {
        let waits = tokio::time::timeout(Duration::from_millis(50), async {
            tokio::select! {
                biased;
                _ = &mut single => "single",
                _ = &mut second => "second",
            }
        });
        assert!(waits.await.is_err(), "they wait for the transaction");
    }
    // Rolled back, as by a client that is gone.
    drop(first);
    let (_, receipt) = single.await;
    receipt.unwrap();
    let mut second = second.await.unwrap().unwrap();
    insert(&mut second, &table, 3).await;
    assert_eq!(code(&second.commit().await.unwrap()), "done");
    leader.ok(create_table("other")).await;
    assert_eq!(ids(leader, &table).await, [2, 3]);
    cluster.equal_checksums().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_begin_that_was_given_up_in_the_queue_does_not_keep_the_writer() {
    let mut cluster = Cluster::new();
    cluster.start(1, &[]).await;
    cluster.node(1).handle.initialize().await.unwrap();
    let node = cluster.node(1);
    let table = node.make_table("item").await;
    let first = begin(node).await;
    let given_up = tokio::time::timeout(Duration::from_millis(50), node.handle.begin(None)).await;
    assert!(given_up.is_err());
    drop(first);
    let mut next = begin(node).await;
    insert(&mut next, &table, 1).await;
    assert_eq!(code(&next.commit().await.unwrap()), "done");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn savepoints_take_back_rows_and_tables_alike() {
    let mut cluster = Cluster::of_three().await;
    let table = cluster.node(1).make_table("item").await;
    let leader = cluster.leader().await;
    let mut transaction = begin(leader).await;
    insert(&mut transaction, &table, 1).await;
    let before = transaction.mark().await.unwrap();
    insert(&mut transaction, &table, 2).await;
    assert!(matches!(propose(&mut transaction, create_table("late")).await[..], [Outcome::Done(_)]));
    let inner = transaction.mark().await.unwrap();
    insert(&mut transaction, &table, 3).await;
    transaction.roll_back_to(&inner).await.unwrap();
    insert(&mut transaction, &table, 4).await;
    let is_there = |view: &grantd_catalog::view::View| {
        view.state().resolve_relation(&context(), &object("late")).is_ok()
    };
    assert!(is_there(&transaction.view().await.unwrap()));
    transaction.roll_back_to(&before).await.unwrap();
    assert!(!is_there(&transaction.view().await.unwrap()));
    transaction.roll_back_to(&before).await.unwrap();
    insert(&mut transaction, &table, 2).await;
    // The id is free again, and the same one is given out.
    assert!(matches!(propose(&mut transaction, create_table("late")).await[..], [Outcome::Done(_)]));
    let view = transaction.view().await.unwrap();
    let id = view.state().resolve_relation(&context(), &object("late")).unwrap();
    let late = TestTable { id, stored: format!("t{id}") };
    insert(&mut transaction, &late, 7).await;
    assert_eq!(code(&transaction.commit().await.unwrap()), "done");
    assert_eq!(ids(leader, &table).await, [1, 2]);
    assert_eq!(ids(leader, &late).await, [7]);
    cluster.equal_checksums().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_does_not_wait_and_the_transaction_goes_on_with_all_it_did() {
    let mut cluster = Cluster::of_three().await;
    let table = cluster.node(1).make_table("item").await;
    let leader = cluster.leader().await;
    leader.ok(create_role("amy")).await;
    leader.ok(grant(Privilege::Insert, "item", "amy")).await;
    let amy = user(leader.principal("amy"));

    let mut transaction = begin(leader).await;
    assert_eq!(run_as(&mut transaction, amy, &table, "INSERT INTO {t} VALUES (1, 'a')").await, CHANGED);
    leader.ok(create_role("ben")).await;
    propose(&mut transaction, create_table("own")).await;
    leader.ok(grant(Privilege::Insert, "item", "ben")).await;
    // Its view has the new role, and its own table.
    let view = transaction.view().await.unwrap();
    assert!(view.state().principals().any(|(_, principal)| principal.name.as_str() == "ben"));
    assert!(view.state().resolve_relation(&context(), &object("own")).is_ok());
    assert_eq!(run_as(&mut transaction, amy, &table, "INSERT INTO {t} VALUES (2, 'b')").await, CHANGED);
    assert_eq!(code(&transaction.commit().await.unwrap()), "done");
    assert_eq!(ids(leader, &table).await, [1, 2]);

    // A privilege that is gone at COMMIT takes all of it.
    let mut transaction = begin(leader).await;
    insert(&mut transaction, &table, 3).await;
    propose(&mut transaction, create_table("never")).await;
    assert_eq!(run_as(&mut transaction, amy, &table, "INSERT INTO {t} VALUES (4, 'd')").await, CHANGED);
    leader.ok(revoke(Privilege::Insert, "item", "amy")).await;
    assert_eq!(
        run_as(&mut transaction, amy, &table, "INSERT INTO {t} VALUES (5, 'e')").await,
        Ok(Ran::Refused),
        "the next statement is decided on the newest view"
    );
    assert_eq!(code(&transaction.commit().await.unwrap()), "42501");
    assert_eq!(ids(leader, &table).await, [1, 2]);
    let view = leader.handle.linearizable().await.unwrap();
    assert!(view.state().resolve_relation(&context(), &object("never")).is_err());
    cluster.equal_checksums().await;
    cluster.shutdown().await;
}

fn create_job(token: u128) -> Command {
    Command::CreateJob {
        job: Box::new(NewJob {
            token: JobToken(token),
            kind: JobKind::Backup,
            description: String::new(),
            statement: String::new(),
            details: Opaque::default(),
            requirement: Requirement::NOTHING,
            tables: Vec::new(),
            schedule: None,
            cancelable: true,
            protects: None,
        }),
    }
}

/// Its number is from where jobs get theirs.
fn create_schedule(token: u128) -> Command {
    let full = NewSchedule {
        label: String::new(),
        statement: String::new(),
        details: Opaque::default(),
        requirement: Requirement::NOTHING,
        cadence: None,
        first_run: None,
        on_failure: OnFailure::Reschedule,
        on_previous: OnPrevious::Wait,
        place: [0; 32],
        updates_metric: false,
    };
    Command::CreateSchedules {
        token: JobToken(token),
        full: Box::new(full),
        incremental: None,
        if_not_exists: false,
        ignore_existing: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_number_of_a_job_that_a_transaction_was_told_is_the_one_that_it_has_after_commit() {
    let cluster = Cluster::of_three().await;
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    let mut transaction = begin(leader).await;
    propose(&mut transaction, create_job(1)).await;
    let told = transaction.view().await.unwrap().state().job_of(JobToken(1)).map(|(id, _)| id);
    for node in [leader, cluster.node(follower)] {
        for other in [create_job(2), create_schedule(3)] {
            let other = node.handle.propose(proposal(root(), vec![other])).await;
            assert!(matches!(other, Err(Unavailable::Busy)), "{other:?}");
        }
    }
    leader.ok(create_role("amy")).await;
    assert_eq!(code(&transaction.commit().await.unwrap()), "done");
    leader.ok(create_job(2)).await;
    let view = leader.handle.linearizable().await.unwrap();
    let [first, second] = [1, 2].map(|token| view.state().job_of(JobToken(token)).map(|(id, _)| id));
    assert!(first == told && first < second, "{told:?}, then {first:?} and {second:?}");
    cluster.equal_checksums().await;
}

/// ALTER TABLE item ADD CONSTRAINT small CHECK (id < limit).
fn at_most(limit: i64) -> Command {
    let text = format!("id < {limit}");
    let rule = Rule::Check(Expression { sql: text.clone(), stored: text, references: Vec::new() });
    let constraint = NewConstraint { name: Some("small".into()), rule };
    let actions = vec![TableAction::AddConstraint { constraint, if_not_exists: false }];
    Command::AlterTable { name: object("item"), if_exists: false, actions }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_altered_upon_the_transaction_s_own_rows_or_refused_by_them() {
    let mut cluster = Cluster::of_three().await;
    let table = cluster.node(1).make_table("item").await;
    let leader = cluster.leader().await;
    let mut transaction = begin(leader).await;
    insert(&mut transaction, &table, 5).await;
    let refused = propose(&mut transaction, at_most(5)).await;
    assert!(matches!(&refused[..], [Outcome::Refused(refusal)] if refusal.code.as_str() == "23514"));
    assert!(matches!(propose(&mut transaction, at_most(6)).await[..], [Outcome::Done(_)]));
    let large = run(&mut transaction, &table, "INSERT INTO {t} VALUES (6, 'large')").await;
    assert_eq!(large, Ok(Ran::Refused));
    // After a replay of rows and table the same.
    leader.ok(create_role("amy")).await;
    let large = run(&mut transaction, &table, "INSERT INTO {t} VALUES (6, 'large')").await;
    assert_eq!(large, Ok(Ran::Refused));
    insert(&mut transaction, &table, 4).await;
    assert_eq!(code(&transaction.commit().await.unwrap()), "done");
    assert_eq!(ids(leader, &table).await, [4, 5]);
    // Alone it is tried upon the rows, too, and does not reach the log.
    let before = leader.handle.status().last_log;
    let Command::AlterTable { name, if_exists, mut actions } = at_most(5) else { unreachable!("it is one") };
    if let [TableAction::AddConstraint { constraint, .. }] = &mut actions[..] {
        constraint.name = Some("smaller".into());
    }
    let alter = Command::AlterTable { name, if_exists, actions };
    let receipt = leader.handle.propose(proposal(root(), vec![alter])).await.unwrap();
    assert_eq!(code(&receipt), "23514");
    assert_eq!(leader.handle.status().last_log, before);
    cluster.equal_checksums().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_before_and_changed_since_cannot_be_built_upon() {
    let mut cluster = Cluster::of_three().await;
    let (read, other) = (cluster.node(1).make_table("read").await, cluster.node(1).make_table("other").await);
    let leader = cluster.leader().await;
    let write = async |table: &TestTable, id: i64| {
        let sql = format!("INSERT INTO {{t}} VALUES ({id}, 'x')");
        leader.write(Write::new(root(), table, Privilege::Insert, &sql)).await.1.unwrap();
    };
    let mut pinned = leader.handle.pin().await.unwrap();
    let set = |pinned: &grantd_raft::handle::PinnedSnapshot| ReadSet {
        version: pinned.view().version(),
        tables: BTreeSet::from([read.id]),
    };
    // Rows of another table, and rights, do not matter.
    write(&other, 1).await;
    leader.ok(create_role("amy")).await;
    drop(leader.handle.begin(Some(set(&pinned))).await.unwrap().unwrap());
    write(&read, 1).await;
    let refused = leader.handle.begin(Some(set(&pinned))).await.unwrap().err().unwrap();
    assert_eq!(refused.code.as_str(), "40001");
    // The snapshot stays as it was.
    let sql = format!("SELECT count(*) FROM {}", read.stored);
    let count = pinned.read(move |rows| rows.run(&sql, &[]).unwrap().rows).await.unwrap();
    assert_eq!(count, [[Value::Integer(0)]]);
    drop(pinned);
    let pinned = leader.handle.pin().await.unwrap();
    // To its end: a change of tables is told that a transaction holds the writer, and does not wait here.
    leader.handle.begin(Some(set(&pinned))).await.unwrap().unwrap().commit().await.unwrap();
    leader.ok(create_table("shape")).await;
    let refused = leader.handle.begin(Some(set(&pinned))).await.unwrap().err().unwrap();
    assert_eq!(refused.code.as_str(), "40001");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_dies_with_its_leader_and_leaves_nothing() {
    let mut cluster = Cluster::of_three().await;
    let table = cluster.node(1).make_table("item").await;
    let leader = cluster.leader().await;
    let mut open = begin(leader).await;
    insert(&mut open, &table, 1).await;
    leader.handle.transfer_leadership().await.unwrap();
    let next = cluster.leader().await;
    assert_eq!(lost(run(&mut open, &table, "INSERT INTO {t} VALUES (2, 'x')").await), "40001");
    let receipt = open.commit().await.unwrap();
    assert_eq!(code(&receipt), "40001");
    let mut open = begin(next).await;
    insert(&mut open, &table, 3).await;
    assert_eq!(code(&open.commit().await.unwrap()), "done");
    assert_eq!(ids(next, &table).await, [3]);
    cluster.equal_checksums().await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_is_larger_than_an_entry_is_staged_and_takes_effect_at_once() {
    let mut cluster = Cluster::of_three().await;
    let table = cluster.node(1).make_table("item").await;
    let leader = cluster.leader().await;
    leader.ok(create_role("amy")).await;
    leader.ok(grant(Privilege::Insert, "item", "amy")).await;
    let amy = user(leader.principal("amy"));
    let many = |from: i64, count: i64, bytes: i64| {
        format!(
            "WITH RECURSIVE n(i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {}) \
             INSERT INTO {{t}} SELECT i, hex(zeroblob({})) FROM n",
            from + count - 1,
            bytes / 2
        )
    };
    let mut transaction = begin(leader).await;
    // One statement that is larger than an entry by itself, and some that are not.
    assert_eq!(run(&mut transaction, &table, &many(0, 110, 100_000)).await, CHANGED);
    for at in 1..=3 {
        assert_eq!(run_as(&mut transaction, amy, &table, &many(at * 1_000, 10, 100_000)).await, CHANGED);
    }
    let receipt = transaction.commit().await.unwrap();
    assert_eq!(code(&receipt), "done");
    assert_eq!(ids(leader, &table).await.len(), 140);
    // The stages are gone, on every node, also when it is refused.
    let mut transaction = begin(leader).await;
    assert_eq!(run(&mut transaction, &table, "DELETE FROM {t} WHERE id < 1000").await, CHANGED);
    assert_eq!(run_as(&mut transaction, amy, &table, &many(5_000, 5, 1_000)).await, CHANGED);
    leader.ok(revoke(Privilege::Insert, "item", "amy")).await;
    let receipt = transaction.commit().await.unwrap();
    assert_eq!(code(&receipt), "42501");
    assert_eq!(ids(leader, &table).await.len(), 140);
    let sums = cluster.equal_checksums().await;
    assert!(sums.version >= receipt.version);
    for node in cluster.nodes() {
        assert_eq!(stages(&cluster, node.id()), 0);
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_for_too_long_is_ended_whoever_forgot_it() {
    let mut cluster = Cluster::of_three_with(|tuning| {
        tuning.transaction_time = Duration::from_millis(400);
        tuning.pin_time = Duration::from_millis(400);
    })
    .await;
    let table = cluster.node(1).make_table("item").await;
    let leader = cluster.leader().await;
    let mut forgotten = begin(leader).await;
    insert(&mut forgotten, &table, 1).await;
    let mut pinned = leader.handle.pin().await.unwrap();
    // It waits for the writer, which nobody gives back.
    let mut next = begin(leader).await;
    insert(&mut next, &table, 1).await;
    assert_eq!(code(&next.commit().await.unwrap()), "done");
    assert_eq!(lost(run(&mut forgotten, &table, "DELETE FROM {t}").await), "40001");
    assert_eq!(code(&forgotten.commit().await.unwrap()), "40001");
    tokio::time::sleep(Duration::from_millis(600)).await;
    let read = pinned.read(|_| ()).await;
    assert!(matches!(read, Err(Unavailable::Expired(_))), "{read:?}");
    assert_eq!(ids(leader, &table).await, [1]);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_snapshots_are_pinned_than_may_be() {
    let mut cluster = Cluster::new();
    cluster.start(1, &[]).await;
    cluster.node(1).handle.initialize().await.unwrap();
    let node = cluster.node(1);
    node.ok(create_role("amy")).await;
    let mut pins = Vec::new();
    for _ in 0..grantd_raft::config::PINS_MAX {
        pins.push(node.handle.pin().await.unwrap());
    }
    // Reads go on; the next pin is refused until one is dropped.
    node.handle.read_rows(|_, _| ()).await.unwrap();
    let more = node.handle.pin().await;
    assert!(matches!(more, Err(Unavailable::Busy)), "{:?}", more.err());
    pins.pop();
    assert_eq!(node.handle.pin().await.unwrap().view().version(), node.handle.view().version());
    cluster.shutdown().await;
}

/// What changes nothing goes through no log, so it is the leader who has to know that it still is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_does_not_say_that_there_was_nothing_to_change() {
    let mut cluster = Cluster::of_three().await;
    let table = cluster.node(1).make_table("item").await;
    let leader = cluster.leader().await;
    let old = leader.id();
    let nothing = || Write::new(root(), &table, Privilege::Insert, "DELETE FROM {t} WHERE id = 7");
    let (_, receipt) = leader.write(nothing()).await;
    assert_eq!(code(&receipt.unwrap()), "done");
    let (mut refused, mut empty) = (begin(leader).await, None);
    cluster.hub.cut(old);
    let other = cluster.nodes().find(|node| node.id() != old).unwrap();
    other.ok(create_role("amy")).await;
    let leader = cluster.node(old);
    // In its turn, and without one.
    let twice = run(&mut refused, &table, "INSERT INTO {t} VALUES (1, 'a'), (1, 'b')").await;
    assert!(matches!(twice, Err(TransactionError::Lost(_))), "{twice:?}");
    drop(refused);
    let (_, receipt) = leader.write(nothing()).await;
    assert!(receipt.is_err(), "{receipt:?}");
    if let Ok(Ok(transaction)) = leader.handle.begin(None).await {
        empty = Some(transaction.commit().await);
    }
    assert!(!matches!(empty, Some(Ok(_))), "{empty:?}");
    cluster.hub.heal(old);
    cluster.shutdown().await;
}
