//! What happens to nodes and links while rights come and go. Which, where and for how long is a matter of the seed.

use std::time::Duration;

use grantd_cluster_tests::dice::Dice;
use grantd_cluster_tests::process::{Cluster, until};
use grantd_node::admin::{Answer, Request};
use tokio::time::sleep;

use crate::net::Net;
use crate::world::World;

/// Longer than a lease and the time after which a node says that it finds no leader, together.
const LONG_MS: u64 = 4_000;
/// Longer than an election.
const SOME_MS: u64 = 1_500;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A follower reaches nobody, for long.
    FollowerCutOff,
    /// The leader reaches nobody, for long.
    LeaderCutOff,
    /// Two nodes do not hear each other.
    LinkCut,
    /// One node does not hear another one.
    OneWay,
    /// A follower stands still for less than a lease.
    FollowerPaused,
    /// A follower stands still for longer.
    FollowerStopped,
    /// The leader stands still for less than a lease.
    LeaderPaused,
    /// The leader stands still for longer.
    LeaderStopped,
    /// A follower is killed, and begins again.
    FollowerKilled,
    /// The leader is killed, and begins again.
    LeaderKilled,
    /// Another node leads.
    Transfer,
    /// Packets are late, in another order, or lost.
    Weather,
    /// A node that is cut off is removed, somebody else leads at once, and a new node takes its place.
    Replaced,
}

/// All of them.
pub const FAULTS: [Fault; 13] = [
    Fault::FollowerCutOff,
    Fault::LeaderCutOff,
    Fault::LinkCut,
    Fault::OneWay,
    Fault::FollowerPaused,
    Fault::FollowerStopped,
    Fault::LeaderPaused,
    Fault::LeaderStopped,
    Fault::FollowerKilled,
    Fault::LeaderKilled,
    Fault::Transfer,
    Fault::Weather,
    Fault::Replaced,
];

/// What happened, where, and when.
#[derive(Clone, Debug)]
pub struct Episode {
    pub fault: Fault,
    /// Whom it hit first.
    pub seat: usize,
    pub begun: Duration,
    pub ended: Duration,
}

impl Episode {
    /// Whether the node reached no other one, and runs.
    pub fn cuts_off(&self) -> bool {
        matches!(self.fault, Fault::FollowerCutOff | Fault::LeaderCutOff | Fault::Replaced)
    }

    /// Whether one node gave no answer to a leader that stayed.
    pub fn takes_a_follower(&self) -> bool {
        matches!(
            self.fault,
            Fault::FollowerCutOff | Fault::FollowerPaused | Fault::FollowerStopped | Fault::FollowerKilled
        )
    }

    /// Whether the leader gave no answer.
    pub fn takes_the_leader(&self) -> bool {
        matches!(
            self.fault,
            Fault::LeaderCutOff | Fault::LeaderPaused | Fault::LeaderStopped | Fault::LeaderKilled
        )
    }
}

/// Everything in an order of the seed's, each once.
pub fn shuffled(dice: &mut Dice) -> Vec<Fault> {
    let mut rest = FAULTS.to_vec();
    let mut order = Vec::new();
    while !rest.is_empty() {
        order.push(rest.swap_remove(dice.below(rest.len())));
    }
    order
}

/// Lets one happen, mends it, and waits until every node is back.
pub async fn happen(
    fault: Fault,
    cluster: &mut Cluster,
    net: &Net,
    world: &World,
    dice: &mut Dice,
) -> Episode {
    let leader_id = cluster.leader().await;
    let leader = cluster.nodes.iter().position(|node| node.id == leader_id).expect("a node of this cluster");
    let follower = (leader + 1 + dice.below(cluster.nodes.len() - 1)) % cluster.nodes.len();
    let other = cluster.nodes.len() - leader - follower;
    let short = Duration::from_millis(200 + dice.below(600) as u64);
    let some = Duration::from_millis(SOME_MS + dice.below(1_000) as u64);
    let long = Duration::from_millis(LONG_MS + dice.below(500) as u64);
    let begun = world.now();
    let mut seat = follower;
    match fault {
        Fault::FollowerCutOff => cut_off(net, follower, long).await,
        Fault::LeaderCutOff => {
            seat = leader;
            cut_off(net, leader, long).await;
        }
        Fault::LinkCut | Fault::OneWay => {
            let to = *dice.pick(&[leader, leader, other]);
            let (from, to) = if dice.one_in(2) { (follower, to) } else { (to, follower) };
            net.cut(from, to, true);
            net.cut(to, from, fault == Fault::LinkCut);
            sleep(some).await;
            net.cut(from, to, false);
            net.cut(to, from, false);
        }
        Fault::FollowerPaused => pause(cluster, follower, short).await,
        Fault::FollowerStopped => pause(cluster, follower, some).await,
        Fault::LeaderPaused | Fault::LeaderStopped => {
            seat = leader;
            pause(cluster, leader, if fault == Fault::LeaderPaused { short } else { some }).await;
        }
        Fault::FollowerKilled => kill(cluster, follower, some).await,
        Fault::LeaderKilled => {
            seat = leader;
            kill(cluster, leader, *dice.pick(&[Duration::ZERO, some])).await;
        }
        Fault::Transfer => {
            // Refused if somebody else leads already.
            let _ = cluster.nodes[leader].admin(&Request::Transfer).await;
            sleep(short).await;
        }
        Fault::Weather => {
            net.weather(20 + dice.below(60) as u64, 20 + dice.below(60) as u64);
            sleep(some).await;
            net.weather(0, 0);
        }
        Fault::Replaced => {
            cut_and_remove(cluster, net, leader, follower).await;
            sleep(long).await;
        }
    }
    let ended = world.now();
    if fault == Fault::Replaced {
        replace(cluster, net, follower).await;
    }
    cluster.until_all_vote().await;
    cluster.until_all_caught_up().await;
    Episode { fault, seat, begun, ended }
}

async fn cut_off(net: &Net, seat: usize, time: Duration) {
    net.isolate(seat, true);
    sleep(time).await;
    net.isolate(seat, false);
}

async fn pause(cluster: &Cluster, seat: usize, time: Duration) {
    cluster.nodes[seat].pause();
    sleep(time).await;
    cluster.nodes[seat].resume();
}

async fn kill(cluster: &mut Cluster, seat: usize, down: Duration) {
    cluster.nodes[seat].kill();
    sleep(down).await;
    cluster.nodes[seat].start();
}

/// The node still holds a lease of a leader who knows that it was removed, but leads no more.
async fn cut_and_remove(cluster: &Cluster, net: &Net, leader: usize, seat: usize) {
    net.isolate(seat, true);
    let node = cluster.nodes[seat].id;
    let removed = cluster.nodes[leader].admin(&Request::Remove { node }).await;
    if removed == Some(Answer::Done) {
        // Whatever comes of it: the run goes on with either.
        let _ = cluster.nodes[leader].admin(&Request::Transfer).await;
    }
}

/// A new node, with the addresses of one that was removed.
async fn replace(cluster: &mut Cluster, net: &Net, seat: usize) {
    let gone = cluster.nodes[seat].id;
    // It may have been refused, or its outcome unknown.
    until("the node is removed", async || {
        let Some(status) = cluster.leader_status().await else { return false };
        if status.members.iter().all(|member| member.id != gone) {
            return true;
        }
        let leader =
            cluster.nodes.iter().find(|node| node.id == status.node_id).expect("a node of this cluster");
        let _ = leader.admin(&Request::Remove { node: gone }).await;
        false
    })
    .await;
    cluster.nodes[seat].kill();
    cluster.add_node();
    let mut node = cluster.nodes.pop().expect("just added");
    let old = &cluster.nodes[seat];
    (node.raft_port, node.sql_port) = (old.raft_port, old.sql_port);
    (node.arguments, node.join) = (old.arguments.clone(), join(net, cluster.nodes.len(), seat));
    net.isolate(seat, false);
    node.start();
    cluster.nodes[seat] = node;
}

/// The addresses of the nodes in all seats but this one.
pub fn join(net: &Net, seats: usize, own: usize) -> String {
    (0..seats).filter(|seat| *seat != own).map(|seat| net.address(seat)).collect::<Vec<_>>().join(",")
}
