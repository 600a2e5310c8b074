//! The revocation barrier on whole nodes, on a network in memory: what is decided on each node's own view while rights come
//! and go, nodes are cut off, and leaders change.

#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "shared with the other tests of clusters")]
#[path = "cluster/world.rs"]
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use grantd_catalog::command::Command;
use grantd_catalog::decide::holds;
use grantd_catalog::id::{ObjectId, PrincipalId, Version};
use grantd_catalog::privilege::Privilege;
use grantd_catalog::setting::Setting;
use grantd_raft::handle::{Handle, NoLease, Unavailable};

use world::{Cluster, Node, create_role, create_table, grant, proposal, revoke, root};

const LEASE: Duration = Duration::from_millis(600);
/// What a busy machine may add to any time.
const SLACK: Duration = Duration::from_millis(600);
/// A little more than [`LEASE`]: clocks.
const WAIT: Duration = Duration::from_millis(613);

struct World {
    cluster: Cluster,
    amy: PrincipalId,
    item: ObjectId,
}

impl World {
    async fn new() -> Self {
        let cluster = Cluster::of_three().await;
        let leader = cluster.leader().await;
        leader.ok(lease_of(LEASE)).await;
        leader.ok(create_role("amy")).await;
        let item = leader.make_table("item").await.id;
        let amy = leader.principal("amy");
        let world = Self { cluster, amy, item };
        for node in world.cluster.nodes() {
            world.lease(node).await;
        }
        world
    }

    fn may(&self, node: &Node) -> Result<bool, NoLease> {
        may(&node.handle, self.amy, self.item)
    }

    /// Waits until a node holds a lease.
    async fn lease(&self, node: &Node) {
        let began = Instant::now();
        while self.may(node).is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "node {} gets no lease", node.id());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Who leads, in the eyes of all but one.
    async fn leader_without(&self, cut: u64) -> &Node {
        let began = Instant::now();
        loop {
            let others = || self.cluster.nodes().filter(|node| node.id() != cut);
            let leads = others().find(|node| node.handle.status().server_state == "leader");
            if let Some(leader) = leads
                && others().all(|node| node.handle.status().leader == Some(leader.id()))
            {
                return leader;
            }
            assert!(began.elapsed() < Duration::from_secs(20), "nobody leads without node {cut}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn grant(&self, node: &Node) -> Version {
        node.ok(grant(Privilege::Select, "item", "amy")).await.version
    }

    async fn revoke(&self, node: &Node) -> Version {
        node.ok(revoke(Privilege::Select, "item", "amy")).await.version
    }
}

fn lease_of(length: Duration) -> Command {
    let value = Some(length.as_millis().to_string());
    Command::SetClusterSetting { setting: Setting::LeaseDuration, value }
}

fn may(handle: &Handle, amy: PrincipalId, item: ObjectId) -> Result<bool, NoLease> {
    handle.decide(|view| holds(view, amy, item, Privilege::Select))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_a_revoke_returns_no_node_allows_it_any_more() {
    let mut world = World::new().await;
    let mut deciders: Vec<_> = world.cluster.nodes().map(|node| node.handle.decider()).collect();
    let mut slowest = Duration::ZERO;
    for round in 0..60 {
        let node = world.cluster.node(1 + round % 3);
        let granted = world.grant(node).await;
        for other in world.cluster.nodes() {
            other.handle.at_least(granted).await.unwrap();
            assert_eq!(world.may(other), Ok(true));
        }
        let began = Instant::now();
        world.revoke(node).await;
        slowest = slowest.max(began.elapsed());
        // At once, on each node, without asking anybody.
        for other in world.cluster.nodes() {
            assert_ne!(world.may(other), Ok(true), "node {}", other.id());
        }
        for decider in &mut deciders {
            let may = decider.decide(|view| holds(view, world.amy, world.item, Privilege::Select));
            assert_ne!(may, Ok(true), "a decider that saw the view before");
        }
    }
    assert!(slowest < LEASE, "nothing was wrong, and a REVOKE waited for {slowest:?}");
    world.cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_cut_off_stops_deciding_and_holds_a_revoke_up_for_no_longer() {
    let mut world = World::new().await;
    let cut = world.cluster.follower().await;
    let leader = world.cluster.leader().await;
    let granted = world.grant(leader).await;
    world.cluster.node(cut).handle.at_least(granted).await.unwrap();
    world.lease(world.cluster.node(cut)).await;
    assert_eq!(world.may(world.cluster.node(cut)), Ok(true));

    world.cluster.hub.cut(cut);
    let began = Instant::now();
    world.revoke(leader).await;
    let waited = began.elapsed();
    assert_eq!(world.may(world.cluster.node(cut)), Err(NoLease), "it was not told, and its lease is over");
    assert!(waited <= WAIT + SLACK, "the REVOKE took {waited:?}");
    // The next one has nobody to wait for, and what gives rights waits for nobody ever.
    for _ in 0..3 {
        world.grant(leader).await;
        let began = Instant::now();
        world.revoke(leader).await;
        assert!(began.elapsed() < LEASE, "{:?}", began.elapsed());
    }

    world.cluster.hub.heal(cut);
    let began = Instant::now();
    world.lease(world.cluster.node(cut)).await;
    assert!(began.elapsed() < Duration::from_secs(1) + SLACK, "{:?}", began.elapsed());
    assert_eq!(world.may(world.cluster.node(cut)), Ok(false));
    world.cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_takes_rights_away_is_held_up_too() {
    let mut world = World::new().await;
    let cut = world.cluster.follower().await;
    let leader = world.cluster.leader().await;
    let granted = world.grant(leader).await;
    world.cluster.node(cut).handle.at_least(granted).await.unwrap();
    let mut open = leader.handle.begin(None).await.unwrap().unwrap();
    let took = open.propose(proposal(root(), vec![revoke(Privilege::Select, "item", "amy")])).await;
    took.unwrap();
    world.lease(world.cluster.node(cut)).await;
    world.cluster.hub.cut(cut);
    open.commit().await.unwrap();
    assert_ne!(world.may(world.cluster.node(cut)), Ok(true));
    world.cluster.hub.heal(cut);
    world.cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_leader_keeps_the_promise_of_the_one_before() {
    let mut world = World::new().await;
    for _ in 0..3 {
        let old = world.cluster.leader().await.id();
        let granted = world.grant(world.cluster.node(old)).await;
        for node in world.cluster.nodes() {
            node.handle.at_least(granted).await.unwrap();
            world.lease(node).await;
        }
        // The old leader decides on, until its lease is over: nobody can tell it.
        world.cluster.hub.cut(old);
        let others: Vec<u64> = (1..=3).filter(|id| *id != old).collect();
        world.revoke(world.cluster.node(others[0])).await;
        for node in world.cluster.nodes() {
            assert_ne!(world.may(node), Ok(true), "node {}", node.id());
        }
        world.cluster.hub.heal(old);
        for node in world.cluster.nodes() {
            world.lease(node).await;
        }
    }
    world.cluster.shutdown().await;
}

/// The election included: a leader that is cut off is replaced, and finds the new one when it is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_cut_off_answers_again_within_a_second_whoever_it_is() {
    let mut world = World::new().await;
    world.cluster.leader().await.ok(lease_of(Duration::from_secs(1))).await;
    let mut slowest = Duration::ZERO;
    for round in 0..4 {
        let leader = world.cluster.leader().await.id();
        let cut = if round % 2 == 0 { leader } else { world.cluster.follower().await };
        world.lease(world.cluster.node(cut)).await;
        world.cluster.hub.cut(cut);
        let began = Instant::now();
        while world.may(world.cluster.node(cut)).is_ok() {
            assert!(began.elapsed() <= Duration::from_secs(1) + SLACK, "it decides on, alone");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // It knows, and does not wait for what cannot come.
        tokio::time::sleep(Duration::from_millis(100)).await;
        let asked = Instant::now();
        let refused = world.cluster.node(cut).handle.linearizable_soon().await;
        assert_eq!(refused.unwrap_err(), Unavailable::NoLeader(Duration::from_secs(1)));
        assert!(asked.elapsed() < SLACK, "{:?}", asked.elapsed());
        // Who waits for an election waits for no more than one: two leases since a leader was heard. Counted from the cut:
        // the lease was older than what was heard last.
        let refused = world.cluster.node(cut).handle.linearizable().await;
        assert!(matches!(refused, Err(Unavailable::NoLeader(_))), "{refused:?}");
        assert!(began.elapsed() < Duration::from_secs(2) + SLACK, "{:?}", began.elapsed());
        // The others have elected another one, if it led.
        let other = world.cluster.node(1 + cut % 3);
        other.handle.linearizable().await.unwrap();

        world.cluster.hub.heal(cut);
        let healed = Instant::now();
        world.lease(world.cluster.node(cut)).await;
        slowest = slowest.max(healed.elapsed());
    }
    println!("answers again after at most {slowest:?}");
    assert!(slowest < Duration::from_secs(1) + SLACK, "{slowest:?}");
    world.cluster.shutdown().await;
}

/// And what a REVOKE waits for is the length that holds then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leases_are_made_longer_and_shorter_while_they_are_held() {
    let mut world = World::new().await;
    for (length, asked) in [(3_000, 1), (200, 2), (1_000, 3)] {
        let length = Duration::from_millis(length);
        let before = if length < LEASE { Duration::from_secs(3) } else { LEASE };
        let began = Instant::now();
        world.cluster.node(asked).ok(lease_of(length)).await;
        let waited = began.elapsed();
        assert!(waited <= before + length + SLACK, "{length:?} took {waited:?}");

        let cut = world.cluster.follower().await;
        world.lease(world.cluster.node(cut)).await;
        world.cluster.hub.cut(cut);
        let leader = world.leader_without(cut).await;
        world.grant(leader).await;
        let began = Instant::now();
        world.revoke(leader).await;
        assert!(began.elapsed() <= length.mul_f64(1.1) + SLACK, "{length:?}: {:?}", began.elapsed());
        assert_ne!(world.may(world.cluster.node(cut)), Ok(true));
        world.cluster.hub.heal(cut);
        world.lease(world.cluster.node(cut)).await;
    }
    let within = |ms: &str| {
        let value = Some(ms.to_owned());
        proposal(root(), vec![Command::SetClusterSetting { setting: Setting::LeaseDuration, value }])
    };
    for wrong in ["99", "10001", "0s"] {
        let refused = world.cluster.node(1).handle.propose(within(wrong)).await.unwrap();
        assert!(!refused.is_done(), "{refused:?}");
    }
    let mut open = world.cluster.leader().await.handle.begin(None).await.unwrap().unwrap();
    let refused = open.propose(within("500ms")).await.unwrap_err();
    assert!(refused.to_string().contains("within a transaction"), "{refused}");
    drop(open);
    world.cluster.shutdown().await;
}

/// While rights come and go, links are cut and healed, and everybody decides all the time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_allowed_what_was_taken_away_before() {
    let mut world = World::new().await;
    world.cluster.leader().await.ok(create_table("other")).await;
    // Nanoseconds of one clock, which all share here: until when amy holds it at most. 0: she may hold it.
    let (began, gone, stop) = (Instant::now(), Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let nanos = move || u64::try_from(began.elapsed().as_nanos()).unwrap();
    let checks: Vec<_> = world
        .cluster
        .nodes()
        .map(|node| {
            let (handle, amy, item) = (node.handle.clone(), world.amy, world.item);
            let (gone, stop) = (Arc::clone(&gone), Arc::clone(&stop));
            std::thread::spawn(move || {
                let (mut allowed, mut broken) = (0u64, 0u64);
                while !stop.load(Ordering::SeqCst) {
                    // Read before: a right that was gone then cannot be had by a decision that is made after.
                    let was_gone = gone.load(Ordering::SeqCst);
                    if may(&handle, amy, item) == Ok(true) {
                        allowed += 1;
                        broken += u64::from(was_gone != 0 && gone.load(Ordering::SeqCst) == was_gone);
                    }
                    std::thread::sleep(Duration::from_micros(200));
                }
                (allowed, broken)
            })
        })
        .collect();
    let mut revoked = 0;
    let mut state = 7u64;
    for round in 0..40u64 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let cut = 1 + (state >> 33) % 3;
        let asked = 1 + (state >> 40) % 3;
        gone.store(0, Ordering::SeqCst);
        let granted = world
            .cluster
            .node(asked)
            .handle
            .propose(proposal(root(), vec![grant(Privilege::Select, "item", "amy")]));
        if granted.await.is_err() {
            continue;
        }
        if round % 3 != 0 {
            world.cluster.hub.cut(cut);
        }
        let took = world
            .cluster
            .node(asked)
            .handle
            .propose(proposal(root(), vec![revoke(Privilege::Select, "item", "amy")]));
        // Unknown or never: then nothing is promised.
        if let Ok(Ok(receipt)) = tokio::time::timeout(Duration::from_secs(4), took).await
            && receipt.is_done()
        {
            gone.store(nanos() + 1, Ordering::SeqCst);
            revoked += 1;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        world.cluster.hub.heal(cut);
    }
    stop.store(true, Ordering::SeqCst);
    let mut allowed = 0;
    for check in checks {
        let (yes, broken) = check.join().unwrap();
        assert_eq!(broken, 0);
        allowed += yes;
    }
    assert!(revoked >= 15 && allowed >= 500, "{revoked} revokes, {allowed} answers");
    world.cluster.shutdown().await;
}
