//! What goes on beside the clients: tables that change their shape, rights that come and go, nodes that die, and one that
//! is down for so long that only a snapshot brings it back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use grantd_cluster_tests::dice::Dice;
use grantd_cluster_tests::process::Cluster;
use grantd_node::admin::Request;
use grantd_node::pgclient;
use tokio_postgres::Client;

use crate::ledger::Told;
use crate::load::World;
use crate::tables::SHARED;

/// Tables that are changed all the time.
pub const SHAPES: usize = 3;
/// What a node logs that has installed a snapshot.
const INSTALLED: &str = "installed a snapshot";
/// Without an acknowledged transaction for so long the load hangs.
const PROGRESS_WITHIN: Duration = Duration::from_secs(90);
/// How often it is tried to make a node need a snapshot: leaders change as they like.
const ATTEMPTS_MAX: usize = 3;
/// How long a right is missing, and between two changes of shape.
const PAUSE: Duration = Duration::from_millis(60);
/// Columns that are added to `things`: as often as rows there are few.
const EXTRAS: usize = 3;
/// The most labels of the enum type beside the three that it begins with.
const LABELS_MAX: u64 = 60;

/// What a change of the shape of something that others change too may be told.
const EXPECTED: [&str; 13] = [
    "42804", "42P01", "42P07", "42703", "42701", "42704", "42710", "22P02", "2BP01", "23502", "23505",
    "25P02", "42846",
];

/// A connection as root to some node, that is made anew when it breaks.
struct Root {
    world: Arc<World>,
    dice: Dice,
    connection: Option<Client>,
}

impl Root {
    fn new(world: &Arc<World>, seed: u64) -> Self {
        Self { world: Arc::clone(world), dice: Dice::new(seed), connection: None }
    }

    /// Runs one transaction; whether it was acknowledged.
    async fn run(&mut self, text: &str, expected: &[&str]) -> bool {
        if self.connection.is_none() {
            let login = self.dice.pick(&self.world.logins);
            self.connection = pgclient::connect(login).await.ok();
        }
        let Some(connection) = &self.connection else { return false };
        let told = self.world.run(connection, text, expected).await;
        if told == Told::Done {
            self.world.count();
            return true;
        }
        if told == Told::Unknown || self.dice.one_in(4) {
            self.connection = None;
        } else {
            // A block may be open, and in error.
            let _ = connection.batch_execute("ROLLBACK").await;
        }
        false
    }
}

/// Tables come, change and go, until all is over. How many such changes were acknowledged.
pub async fn change_shapes(world: Arc<World>, seed: u64) -> u64 {
    let mut root = Root::new(&world, seed);
    let mut done = 0;
    let mut label = seed * 1_000;
    while !world.is_over() {
        {
            let _here = world.gate.read().await;
            let text = change(&mut root.dice, &mut label, seed);
            done += u64::from(root.run(&text, &EXPECTED).await);
        }
        tokio::time::sleep(PAUSE).await;
    }
    done
}

fn change(dice: &mut Dice, label: &mut u64, seed: u64) -> String {
    let shape = dice.below(SHAPES);
    let extra = dice.below(EXTRAS);
    *label += 1;
    let fresh = *label;
    match dice.below(26) {
        0..=4 => format!(
            "CREATE TABLE IF NOT EXISTS shape_{shape} (id INT8 PRIMARY KEY, v TEXT); GRANT ALL ON shape_{shape} TO movers"
        ),
        5 => format!("DROP TABLE shape_{shape}"),
        6 => format!("TRUNCATE shape_{shape}"),
        7 => format!("ALTER TABLE shape_{shape} ADD COLUMN c{} INT8 DEFAULT 7", fresh % 4),
        8 => format!("ALTER TABLE shape_{shape} DROP COLUMN c{}", fresh % 4),
        9 => format!("ALTER TABLE shape_{shape} ALTER COLUMN v TYPE INT8 USING length(v::TEXT)"),
        10 => format!("ALTER TABLE shape_{shape} ALTER COLUMN v TYPE TEXT"),
        11 => format!("ALTER TABLE shape_{shape} RENAME COLUMN c{} TO c{}", fresh % 4, (fresh + 1) % 4),
        12 => format!("CREATE INDEX ON shape_{shape} (v)"),
        13 => {
            format!("ALTER TABLE shape_{shape} ALTER COLUMN v SET DEFAULT 'x', ALTER COLUMN v SET NOT NULL")
        }
        14 => format!("ALTER TABLE shape_{shape} ALTER COLUMN v DROP NOT NULL"),
        15 => format!("ALTER TABLE shape_{shape} RENAME TO shape_{}", (shape + 1) % SHAPES),
        16 => format!(
            "BEGIN; ALTER TABLE shape_{shape} ADD COLUMN c{c} DECIMAL(8,2) DEFAULT 1.5; UPDATE shape_{shape} SET c{c} = id % 1000; \
             SAVEPOINT s; DROP TABLE shape_{shape}; ROLLBACK TO s; INSERT INTO shape_{shape} (id, v) VALUES (-{fresh}, '1'); COMMIT",
            c = fresh % 4
        ),
        17 => format!("CREATE INDEX things_extra_{extra} ON things (word, n)"),
        18 => format!("DROP INDEX things@things_extra_{extra}"),
        19 => format!("ALTER TABLE things ADD COLUMN extra_{extra} INT8 DEFAULT {fresh}"),
        20 => format!("ALTER TABLE things ALTER COLUMN extra_{extra} TYPE TEXT"),
        21 => format!("ALTER TABLE things DROP COLUMN extra_{extra}"),
        22 if fresh % 1_000 < LABELS_MAX => {
            let place = dice.pick(&["", " BEFORE 'glad'", " AFTER 'calm'"]);
            format!("ALTER TYPE mood ADD VALUE 'mood_{fresh}'{place}")
        }
        23 => {
            format!("BEGIN; CREATE TABLE copy_{seed} AS SELECT * FROM marks; DROP TABLE copy_{seed}; COMMIT")
        }
        24 => format!(
            "DROP TABLE IF EXISTS kept_{extra}; CREATE TABLE kept_{extra} AS SELECT key, v FROM marks"
        ),
        _ => format!("UPDATE tree SET spare = {fresh} WHERE id % 2 = 0"),
    }
}

/// Rights of movers go and come back, until all is over; at the end they have all of them.
pub async fn change_rights(world: Arc<World>, movers: usize) -> u64 {
    let mut root = Root::new(&world, 77);
    let mut done = 0;
    while !world.is_over() {
        let table = *root.dice.pick(&SHARED);
        let privilege = *root.dice.pick(&["SELECT", "INSERT", "UPDATE", "DELETE", "ALL"]);
        let mover = root.dice.below(movers);
        let (take, give) = match root.dice.below(4) {
            0 => (format!("REVOKE movers FROM mover_{mover}"), format!("GRANT movers TO mover_{mover}")),
            1 => (
                format!("REVOKE {privilege} ON {table} FROM movers"),
                format!("GRANT ALL ON {table} TO movers"),
            ),
            2 => (
                format!("CREATE ROLE extra_{mover}; GRANT extra_{mover} TO movers"),
                format!("DROP ROLE IF EXISTS extra_{mover}"),
            ),
            _ => (
                "REVOKE USAGE ON SEQUENCE ticket FROM movers".to_owned(),
                "GRANT USAGE ON SEQUENCE ticket TO movers".to_owned(),
            ),
        };
        for text in [take, give] {
            {
                let _here = world.gate.read().await;
                done += u64::from(root.run(&text, &["42710", "42704"]).await);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    done
}

/// What is done to the nodes, in turns.
pub async fn nodes(cluster: &mut Cluster, world: &World, dice: &mut Dice, turn: u64) {
    let leader = cluster.leader().await;
    let follower =
        *dice.pick(&cluster.nodes.iter().map(|n| n.id).filter(|id| *id != leader).collect::<Vec<_>>());
    match turn % 6 {
        0 | 3 => {
            cluster.node(leader).kill();
            progress(world, 30).await;
            cluster.node(leader).start();
        }
        1 => past_the_log(cluster, world, leader, follower).await,
        2 => {
            // No majority for a moment.
            cluster.node(leader).kill();
            cluster.node(follower).kill();
            cluster.node(follower).start();
            cluster.node(leader).start();
        }
        4 => {
            cluster.node(leader).stop().await;
            progress(world, 30).await;
            cluster.node(leader).start();
        }
        _ => {
            let _ = cluster.node(leader).admin(&Request::Transfer).await;
            let _ = cluster.node(follower).admin(&Request::Snapshot).await;
            cluster.node(follower).kill();
            cluster.node(follower).start();
        }
    }
    cluster.until_all_caught_up().await;
}

/// Kills a node and lets it lie until the log of the next leader begins after what it has: then it needs a snapshot.
async fn past_the_log(cluster: &mut Cluster, world: &World, leader: u64, down: u64) {
    let installed = snapshots_installed(cluster, down);
    for _ in 0..ATTEMPTS_MAX {
        let behind = cluster.node(down).status().await.map_or(0, |status| status.last_log);
        cluster.node(down).kill();
        // The log keeps half as many entries before a snapshot as there are between two.
        let enough = behind + world.snapshot_entries;
        let others: Vec<u64> = cluster.nodes.iter().map(|node| node.id).filter(|id| *id != down).collect();
        let mut purged = false;
        while !purged && !world.is_over() {
            progress(world, 10).await;
            purged = true;
            for other in &others {
                purged &= cluster.node(*other).status().await.is_some_and(|status| status.snapshot > enough);
            }
        }
        // A leader keeps entries for as long as it tries to send them, the other one does not.
        let _ = cluster.node(leader).admin(&Request::Transfer).await;
        cluster.node(down).start();
        cluster.until_all_caught_up().await;
        if snapshots_installed(cluster, down) > installed {
            return;
        }
    }
}

/// How often this node has installed a snapshot, by its log.
pub fn snapshots_installed(cluster: &Cluster, id: u64) -> usize {
    let node = cluster.nodes.iter().find(|node| node.id == id).expect("a node of this cluster");
    node.logged().matches(INSTALLED).count()
}

/// Waits until so many more transactions are acknowledged, or all are.
pub async fn progress(world: &World, more: u64) {
    let wanted = world.done.load(Ordering::Relaxed) + more;
    let begun = Instant::now();
    while world.done.load(Ordering::Relaxed) < wanted && !world.is_over() {
        if begun.elapsed() > PROGRESS_WITHIN {
            let (told, faults) = (world.told.lock().await, world.faults.lock().await);
            panic!("the load hangs; told: {told:?}; faults: {faults:#?}");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
