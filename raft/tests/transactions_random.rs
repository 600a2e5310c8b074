//! Transactions of many clients while leaders change: what was promised is there, and all replicas are equal.
//!
//! Each client moves an amount between two rows, writes down that it did, and does so with savepoints, tables of its own
//! and privileges that change meanwhile. The sum stays, and the notes are those of the transactions that were committed.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "shared with the other tests of clusters")]
#[path = "cluster/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use grantd_catalog::command::Outcome;
use grantd_catalog::privilege::Privilege;
use grantd_raft::handle::{Handle, OpenTransaction, Ran, Unavailable};
use grantd_raft::rows::{PastChange, PastRecord, Place, Value};

use world::{Cluster, TestTable, Write, create_role, create_table, grant, proposal, revoke, root};

const CLIENTS: u64 = 4;
const ROWS: u64 = 8;
const AMOUNT: i64 = 1_000;
/// How long the clients run.
const RUN_TIME: Duration = Duration::from_secs(6);
/// How often the leader changes.
const LEADER_CHANGES: u32 = 5;

/// A generator that needs no crate: xorshift.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What a client was told of its transactions, by the number that it noted.
#[derive(Default)]
struct Told {
    committed: BTreeSet<i64>,
    refused: BTreeSet<i64>,
    /// Nobody could say.
    unknown: BTreeSet<i64>,
}

struct Client {
    handles: Vec<Handle>,
    amounts: Arc<TestTable>,
    notes: Arc<TestTable>,
    dice: Dice,
    next: i64,
    told: Told,
}

impl Client {
    async fn run_until(mut self, stop: Arc<AtomicBool>) -> Told {
        while !stop.load(Ordering::Relaxed) {
            let Some(leader) = self.leader() else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            if let Ok(Ok(transaction)) = leader.begin(None).await {
                self.next += 1;
                let number = self.next;
                self.transact(transaction, number).await;
            }
        }
        self.told
    }

    fn leader(&self) -> Option<Handle> {
        self.handles.iter().find(|handle| handle.status().server_state == "leader").cloned()
    }

    /// Notes `number` and moves an amount, or not.
    async fn transact(&mut self, mut transaction: OpenTransaction, number: i64) {
        self.told.refused.insert(number);
        let (from, to) = (self.dice.below(ROWS), self.dice.below(ROWS));
        let amounts = Arc::clone(&self.amounts);
        let notes = Arc::clone(&self.notes);
        let mut statements = vec![
            (
                &amounts,
                format!("UPDATE {{t}} SET v = CAST(CAST(v AS INTEGER) - 7 AS TEXT) WHERE id = {from}"),
            ),
            (&notes, format!("INSERT INTO {{t}} VALUES ({number}, 'done')")),
        ];
        if self.dice.below(2) == 0 {
            statements.swap(0, 1);
        }
        for (table, sql) in statements {
            if run(&mut transaction, table, &sql).await != Some(true) {
                return;
            }
            if self.dice.below(4) == 0 && self.detour(&mut transaction, &amounts, number).await.is_none() {
                return;
            }
        }
        let give = format!("UPDATE {{t}} SET v = CAST(CAST(v AS INTEGER) + 7 AS TEXT) WHERE id = {to}");
        if run(&mut transaction, &amounts, &give).await != Some(true) || self.dice.below(10) == 0 {
            return;
        }
        match transaction.commit().await {
            Ok(receipt) if matches!(receipt.outcomes[..], [Outcome::Done(_)]) => {
                self.told.refused.remove(&number);
                self.told.committed.insert(number);
            }
            Err(Unavailable::Unknown(_)) => {
                self.told.refused.remove(&number);
                self.told.unknown.insert(number);
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Does something, and takes it back or, if it is a table, keeps it perhaps.
    async fn detour(
        &mut self,
        transaction: &mut OpenTransaction,
        amounts: &TestTable,
        number: i64,
    ) -> Option<()> {
        let mark = transaction.mark().await.ok()?;
        let table = create_table(&format!("made_{number}"));
        transaction.propose(proposal(root(), vec![table])).await.ok()?;
        run(transaction, amounts, "UPDATE {t} SET v = '0'").await?;
        transaction.roll_back_to(&mark).await.ok()?;
        if self.dice.below(2) == 0 {
            let table = create_table(&format!("kept_{number}"));
            transaction.propose(proposal(root(), vec![table])).await.ok()?;
        }
        Some(())
    }
}

/// Some: whether it ran.
async fn run(transaction: &mut OpenTransaction, table: &TestTable, sql: &str) -> Option<bool> {
    let (_, ran) = transaction.run(Box::new(Write::new(root(), table, Privilege::Update, sql))).await;
    ran.ok().map(|ran| ran == Ran::Done { changed: true })
}

/// GRANT and REVOKE in turns, without end.
async fn change_rights(handle: Handle, stop: Arc<AtomicBool>) -> u32 {
    let mut done = 0;
    while !stop.load(Ordering::Relaxed) {
        for command in
            [grant(Privilege::Select, "amounts", "amy"), revoke(Privilege::Select, "amounts", "amy")]
        {
            // Without a leader there is no answer for a while.
            done += u32::from(handle.propose(proposal(root(), vec![command])).await.is_ok());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    done
}

async fn change_leaders(cluster: &Cluster) {
    for change in 0..LEADER_CHANGES {
        tokio::time::sleep(RUN_TIME / (LEADER_CHANGES + 1)).await;
        let leader = cluster.leader().await;
        if change % 2 == 0 {
            // Refused when another change is under way; then the next one counts.
            let _ = leader.handle.transfer_leadership().await;
        } else {
            let id = leader.id();
            cluster.hub.cut(id);
            tokio::time::sleep(Duration::from_millis(1_200)).await;
            cluster.hub.heal(id);
        }
    }
    tokio::time::sleep(RUN_TIME / (LEADER_CHANGES + 1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_is_there_whole_and_nothing_else_on_every_node_while_leaders_change() {
    let mut cluster = Cluster::of_three_with(|tuning| tuning.snapshot_entries = 300).await;
    let amounts = Arc::new(cluster.node(1).make_table("amounts").await);
    let notes = Arc::new(cluster.node(1).make_table("notes").await);
    cluster.node(1).ok(create_role("amy")).await;
    let fill = format!(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {}) \
         INSERT INTO {{t}} SELECT i, '{AMOUNT}' FROM n",
        ROWS - 1
    );
    let filled = cluster.leader().await.write(Write::new(root(), &amounts, Privilege::Insert, &fill)).await;
    filled.1.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let handles: Vec<Handle> = cluster.nodes().map(|node| node.handle.clone()).collect();
    let rights = tokio::spawn(change_rights(handles[0].clone(), Arc::clone(&stop)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|at| {
            let client = Client {
                handles: handles.clone(),
                amounts: Arc::clone(&amounts),
                notes: Arc::clone(&notes),
                dice: Dice(0x9E37_79B9_7F4A_7C15 ^ (at + 1)),
                next: i64::try_from(at).unwrap() * 1_000_000,
                told: Told::default(),
            };
            tokio::spawn(client.run_until(Arc::clone(&stop)))
        })
        .collect();
    change_leaders(&cluster).await;
    stop.store(true, Ordering::Relaxed);
    assert!(rights.await.unwrap() > 10, "rights changed");
    let mut told = Told::default();
    for client in clients {
        let of_one = client.await.unwrap();
        told.committed.extend(of_one.committed);
        told.refused.extend(of_one.refused);
        told.unknown.extend(of_one.unknown);
    }
    cluster.equal_checksums().await;
    let leader = cluster.leader().await;
    let noted: BTreeSet<i64> = leader.rows(&notes).await.iter().map(|row| integer(&row[0])).collect();
    assert!(told.committed.len() > 20, "only {} were committed", told.committed.len());
    assert!(told.committed.is_subset(&noted), "lost: {:?}", told.committed.difference(&noted));
    assert!(told.refused.is_disjoint(&noted), "refused and there: {:?}", told.refused.intersection(&noted));
    assert!(noted.iter().all(|note| told.committed.contains(note) || told.unknown.contains(note)));
    let sum: i64 = leader.rows(&amounts).await.iter().map(|row| integer(&row[1])).sum();
    assert_eq!(sum, AMOUNT * i64::try_from(ROWS).unwrap());
    // Tables that were taken back are not there, and those that were kept are those of committed transactions.
    let view = leader.handle.view();
    for (_, object) in view.state().objects() {
        assert!(!object.name.as_str().starts_with("made_"), "{}", object.name);
        if let Some(number) = object.name.as_str().strip_prefix("kept_") {
            assert!(noted.contains(&number.parse().unwrap()), "{}", object.name);
        }
    }
    same_history(&cluster, &notes, &noted).await;
    println!(
        "{} committed, {} not, {} unknown",
        told.committed.len(),
        told.refused.len(),
        told.unknown.len()
    );
    cluster.shutdown().await;
}

/// Every node tells the same history, in the order of commits, and it leads to the rows that are there.
async fn same_history(cluster: &Cluster, notes: &TestTable, noted: &BTreeSet<i64>) {
    for node in cluster.nodes() {
        let table = notes.id;
        let changes = node.handle.past(move |_, past| {
            past.changes(&[table], Place::default(), Place::END, usize::MAX).unwrap().changes
        });
        let changes = changes.await.unwrap();
        let made = |change: &PastChange| match &change.what {
            PastRecord::Row(row) => Some(integer(&row.after.as_ref().unwrap()[0])),
            PastRecord::Shape(_) => None,
        };
        assert_eq!(changes.iter().filter_map(made).collect::<BTreeSet<_>>(), *noted);
        assert!(changes.is_sorted_by_key(|change| change.place));
    }
}

fn integer(value: &Value) -> i64 {
    match value {
        Value::Integer(integer) => *integer,
        Value::Text(text) => text.parse().unwrap(),
        other => panic!("{other:?}"),
    }
}
