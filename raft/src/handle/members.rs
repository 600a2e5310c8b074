//! Who belongs to the cluster: making one, joining it, leaving it, and who leads it.
//!
//! A node joins as a learner, which only follows, and is made a voter by the leader when it has caught up. An id
//! belongs to one directory for ever: a directory that was lost, or a member that was removed, never comes back under
//! its id, because what it promised (votes, entries) is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use grantd_catalog::id::Version;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ChangeMembershipError, ClientWriteError, RaftError};
use openraft::{ChangeMembers, Instant as _};
use tokio::time::{Instant, sleep, timeout};

use crate::config::NodeId;
use crate::handle::reads::RETRY_PAUSE;
use crate::handle::{AdminError, Node, Raft};
use crate::log;
use crate::message::{self, JoinV1, JoinedV1};
use crate::transport::{Identity, Peer, RequestKind, TransportError};
use crate::types::{ClusterId, Membership, NodeInfo, TypeConfig};

/// A learner that is at most this many entries behind becomes a voter.
const CAUGHT_UP_ENTRIES: u64 = 1_000;
/// How often the leader looks for learners that caught up.
const PROMOTE_INTERVAL: Duration = Duration::from_millis(100);
/// How long one request to be let in waits.
const JOIN_TIMEOUT: Duration = Duration::from_secs(3);
/// The pause before the next address is asked, doubled up to [`JOIN_PAUSE_MAX`].
const JOIN_PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest such pause.
const JOIN_PAUSE_MAX: Duration = Duration::from_secs(2);
/// After so many refusals in a row the next one is final. The first may come from a node that is just stopping.
const REFUSALS_MAX: u32 = 3;
/// How long a snapshot on request may take.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(600);

type WriteError = RaftError<TypeConfig, ClientWriteError<TypeConfig>>;

/// What came of one round of requests to be let in.
enum Joining {
    Member,
    Again,
    Refused(String),
}

impl Node {
    /// The members that this node's log knows.
    fn membership(&self) -> Membership {
        let stored = Arc::clone(&self.raft.metrics().borrow_watched().membership_config);
        stored.membership().clone()
    }

    pub(super) async fn initialize(&self) -> Result<(), AdminError> {
        let _members = self.members.lock().await;
        if let Some(cluster) = self.cluster.get() {
            return Err(AdminError::new(format!("node {} is in cluster {cluster} already", self.id)));
        }
        let first = BTreeMap::from([(self.id, self.info.clone())]);
        self.raft
            .initialize(first)
            .await
            .map_err(|error| AdminError::new(format!("node {} cannot make a cluster: {error}", self.id)))?;
        // A crash here leaves a cluster without a name: the next start gives it one.
        self.name_cluster().await?;
        let leads =
            self.raft.wait(Some(self.tuning.request_timeout)).current_leader(self.id, "initialize").await;
        leads.map_err(|error| AdminError::new(format!("the new cluster has no leader yet: {error}")))?;
        tracing::info!(cluster = %self.identity().cluster_id.map_or_else(String::new, |id| id.to_string()), "made a cluster");
        Ok(())
    }

    /// Gives the cluster that this node has just made its random name.
    pub(super) async fn name_cluster(&self) -> Result<(), AdminError> {
        let random = super::start::random_u128()
            .map_err(|error| AdminError::new(format!("the system gives no random numbers: {error}")))?;
        self.enter_cluster(ClusterId(random)).await
    }

    /// Records, durably, that this directory is of `cluster`.
    async fn enter_cluster(&self, cluster: ClusterId) -> Result<(), AdminError> {
        let failed = |error: std::io::Error| {
            AdminError::new(format!("`{}` cannot be written: {error}", self.directory.display()))
        };
        let identity =
            log::Identity { cluster: Some(cluster), node: self.id, directory: self.info.directory };
        self.machine.set_cluster(cluster).await.map_err(failed)?;
        self.log.set_identity(identity).await.map_err(failed)?;
        if *self.cluster.get_or_init(|| cluster) != cluster {
            return Err(AdminError::new(format!("node {} entered another cluster meanwhile", self.id)));
        }
        Ok(())
    }

    /// Sees to it that this node is a member, at the addresses that it has now: asks those of the configuration and
    /// the members that it knows, until that is done or refused for good.
    pub(super) async fn join_cluster(self: Arc<Self>) {
        if let Some(reason) = self.refused_by_strangers().await {
            self.fail(reason);
            return;
        }
        let (mut pause, mut refusals) = (JOIN_PAUSE_MIN, 0);
        loop {
            let membership = self.membership();
            if membership.get_node(&self.id) == Some(&self.info) {
                return;
            }
            match self.ask_all_to_join(&membership).await {
                Joining::Member => return,
                Joining::Again => refusals = 0,
                Joining::Refused(reason) if refusals < REFUSALS_MAX => {
                    tracing::warn!(%reason, "the cluster does not let this node in; it asks again");
                    refusals += 1;
                }
                Joining::Refused(reason) => {
                    tracing::error!(%reason, "the cluster does not let this node in");
                    self.fail(reason);
                    return;
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(JOIN_PAUSE_MAX);
        }
    }

    /// A node that is in a cluster, and is told to join somebody who is no member of it, has the wrong directory or the
    /// wrong addresses: it must not go on with the one as if the other did not matter. Who does not answer at start
    /// is not waited for.
    async fn refused_by_strangers(&self) -> Option<String> {
        let cluster = self.cluster.get()?;
        let membership = self.membership();
        let strangers = self
            .join
            .iter()
            .filter(|address| membership.nodes().all(|(_, info)| info.raft_address != **address));
        for address in strangers {
            for refusals in 0..=REFUSALS_MAX {
                let Joining::Refused(reason) = self.ask_to_join(address.clone()).await else { break };
                if refusals == REFUSALS_MAX {
                    return Some(format!(
                        "the data directory `{}` is of cluster {cluster}, and `{address}` refuses it: {reason}; take \
                         `{address}` out of --join, or start with an empty data directory and a new id",
                        self.directory.display()
                    ));
                }
                sleep(JOIN_PAUSE_MIN).await;
            }
        }
        None
    }

    async fn ask_all_to_join(self: &Arc<Self>, membership: &Membership) -> Joining {
        if self.leader() == Some(self.id) {
            let identity = self.identity();
            return match self.let_in(&identity, self.info.clone()).await {
                JoinedV1::Member => Joining::Member,
                JoinedV1::Refused(reason) => Joining::Refused(reason),
                JoinedV1::Cluster(_) | JoinedV1::Leader { .. } | JoinedV1::Later(_) => Joining::Again,
            };
        }
        let mut addresses = self.join.clone();
        for (_, info) in membership.nodes().filter(|(id, _)| **id != self.id) {
            if !addresses.contains(&info.raft_address) {
                addresses.push(info.raft_address.clone());
            }
        }
        for address in addresses {
            match self.ask_to_join(address).await {
                Joining::Again => {}
                done @ (Joining::Member | Joining::Refused(_)) => return done,
            }
        }
        Joining::Again
    }

    /// Asks one address, and where it sends us.
    async fn ask_to_join(&self, mut address: String) -> Joining {
        // Twice at the leader: for the name of the cluster, and to be let in; and once for whoever sends us there.
        for _ in 0..4 {
            let request =
                JoinV1 { cluster: self.cluster.get().copied(), node: self.id, info: (&self.info).into() };
            let to = Peer::Address(address.clone());
            let asked = self.transport.call(&to, RequestKind::Join, message::encode(&request), JOIN_TIMEOUT);
            let answer = match asked.await {
                Ok(bytes) => message::decode::<JoinedV1>(&bytes),
                // At the hello already: a lost directory, a removed id, another cluster, no common protocol.
                Err(TransportError::Refused { reason, .. }) => return Joining::Refused(reason),
                Err(error @ (TransportError::Unreachable { .. } | TransportError::Lost { .. })) => {
                    tracing::info!(%address, %error, "no answer to the request to join");
                    return Joining::Again;
                }
            };
            match answer {
                Ok(JoinedV1::Cluster(cluster)) => {
                    let _members = self.members.lock().await;
                    if self.cluster.get().is_none()
                        && let Err(error) = self.enter_cluster(cluster).await
                    {
                        return Joining::Refused(error.message);
                    }
                }
                Ok(JoinedV1::Member) => return Joining::Member,
                Ok(JoinedV1::Leader { address: Some(leader) }) => address = leader,
                Ok(JoinedV1::Leader { address: None }) => return Joining::Again,
                Ok(JoinedV1::Later(reason)) => {
                    tracing::info!(%address, %reason, "the cluster asks this node to try again");
                    return Joining::Again;
                }
                Ok(JoinedV1::Refused(reason)) => return Joining::Refused(reason),
                Err(error) => {
                    return Joining::Refused(format!(
                        "`{address}` answers what this release does not understand: {error}"
                    ));
                }
            }
        }
        Joining::Again
    }

    /// Answers a node that wants to be let in.
    pub(super) async fn answer_join(self: &Arc<Self>, from: &Identity, join: JoinV1) -> JoinedV1 {
        let Some(cluster) = self.cluster.get().copied() else { return JoinedV1::Leader { address: None } };
        let peer = Identity { cluster_id: join.cluster, ..from.clone() };
        if (join.node, join.info.directory) != (from.node_id, from.directory) {
            return JoinedV1::Refused(format!("node {} asks for node {}", from.node_id, join.node));
        }
        if let Some(theirs) = join.cluster.filter(|theirs| *theirs != cluster) {
            return JoinedV1::Refused(format!(
                "the data directory is of cluster {theirs}, this is cluster {cluster}"
            ));
        }
        if let Err(reason) = self.recognize(&peer) {
            return JoinedV1::Refused(reason);
        }
        if join.cluster.is_none() {
            return JoinedV1::Cluster(cluster);
        }
        match self.leader() {
            Some(leader) if leader == self.id => self.let_in(&peer, join.info.into()).await,
            Some(leader) => JoinedV1::Leader { address: self.member(leader).map(|info| info.raft_address) },
            None => JoinedV1::Leader { address: None },
        }
    }

    async fn let_in(self: &Arc<Self>, peer: &Identity, info: NodeInfo) -> JoinedV1 {
        let _members = self.members.lock().await;
        // What was removed by an entry that this node has not applied yet must not come back.
        let Ok(index) = self.confirmed_index().await else { return JoinedV1::Leader { address: None } };
        if self.at_least(Version(index), self.deadline()).await.is_err() {
            return JoinedV1::Later("the leader is busy".to_owned());
        }
        if let Err(reason) = self.recognize(peer) {
            return JoinedV1::Refused(reason);
        }
        let membership = self.membership();
        if membership.get_node(&peer.node_id) == Some(&info) {
            return JoinedV1::Member;
        }
        let mut others = membership.nodes().filter(|(id, _)| **id != peer.node_id);
        if let Some((other, _)) = others.find(|(_, known)| known.raft_address == info.raft_address) {
            return JoinedV1::Refused(format!(
                "node {other} is a member at `{}` already; remove it, or give this node an address of its own",
                info.raft_address
            ));
        }
        let nodes = BTreeMap::from([(peer.node_id, info)]);
        let change = if membership.get_node(&peer.node_id).is_some() {
            tracing::info!(node = peer.node_id, "a member has another address now");
            ChangeMembers::SetNodes(nodes)
        } else {
            tracing::info!(node = peer.node_id, "lets a node in");
            ChangeMembers::AddNodes(nodes)
        };
        match self.change_members(change, Retain::AsLearners).await {
            Ok(()) => JoinedV1::Member,
            Err(error) => JoinedV1::Later(error.message),
        }
    }

    /// While this node leads, makes voters of learners that have caught up.
    pub(super) async fn promote_learners(self: Arc<Self>) {
        loop {
            sleep(PROMOTE_INTERVAL).await;
            let Some(learner) = self.caught_up_learner() else { continue };
            let Ok(_members) = self.members.try_lock() else { continue };
            let change = ChangeMembers::AddVoterIds(BTreeSet::from([learner]));
            match self.change_members(change, Retain::AsLearners).await {
                Ok(()) => tracing::info!(node = learner, "a node has caught up and votes now"),
                Err(error) => {
                    tracing::warn!(node = learner, %error, "a node that has caught up does not vote yet");
                }
            }
        }
    }

    fn caught_up_learner(&self) -> Option<NodeId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let replication = metrics.replication.as_ref()?;
        let last = metrics.last_log_index.unwrap_or(0);
        membership.learner_ids().find(|id| {
            let matched = replication.get(id).cloned().flatten();
            // A voter that is gone again would only make the quorum larger.
            let heard = metrics.heartbeat.as_ref().and_then(|all| all.get(id).copied().flatten());
            let lives = heard.is_some_and(|at| at.elapsed() < self.tuning.election_timeout_min);
            lives && matched.is_some_and(|id| id.index + CAUGHT_UP_ENTRIES >= last)
        })
    }

    pub(super) async fn remove(&self, id: NodeId) -> Result<(), AdminError> {
        self.must_lead("remove a node")?;
        let _members = self.members.lock().await;
        let membership = self.membership();
        if membership.get_node(&id).is_none() {
            return Err(AdminError::new(format!("node {id} is not a member")));
        }
        let voters: BTreeSet<NodeId> = membership.voter_ids().collect();
        let one = BTreeSet::from([id]);
        if voters == one {
            return Err(AdminError::new(format!(
                "node {id} is the last voter; a cluster cannot be without one"
            )));
        }
        let change = if voters.contains(&id) {
            ChangeMembers::RemoveVoters(one)
        } else {
            ChangeMembers::RemoveNodes(one)
        };
        self.change_members(change, Retain::Nothing).await?;
        tracing::info!(node = id, "removed a node");
        Ok(())
    }

    /// Changes the members, again and again while another change is under way.
    async fn change_members(
        &self,
        change: ChangeMembers<NodeId, NodeInfo>,
        retain: Retain,
    ) -> Result<(), AdminError> {
        let deadline = Instant::now() + self.tuning.request_timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let changed = self.raft.change_membership(change.clone(), retain == Retain::AsLearners);
            match timeout(left, changed).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) if is_in_progress(&error) && !left.is_zero() => sleep(RETRY_PAUSE).await,
                Ok(Err(error)) => {
                    return Err(AdminError::new(format!("the members did not change: {error}")));
                }
                Err(_) => {
                    return Err(AdminError::new(
                        "no quorum answered; look at the members again before trying again",
                    ));
                }
            }
        }
    }

    pub(super) async fn transfer_leadership(&self) -> Result<(), AdminError> {
        self.must_lead("hand over leadership")?;
        let target = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let voters: BTreeSet<NodeId> = metrics.membership_config.membership().voter_ids().collect();
            let replication = metrics.replication.clone().unwrap_or_default();
            let others = replication.into_iter().filter(|(id, _)| *id != self.id && voters.contains(id));
            others.max_by_key(|(_, matched)| matched.map(|id| id.index)).map(|(id, _)| id)
        };
        let Some(target) = target else {
            return Err(AdminError::new("there is no other voter to lead"));
        };
        let stopped = |error: openraft::errors::Fatal<TypeConfig>| AdminError::new(error.to_string());
        self.raft.trigger().transfer_leader(target).await.map_err(stopped)?;
        let left = self.raft.wait(Some(self.tuning.request_timeout));
        let left = left
            .metrics(|metrics| metrics.current_leader.is_some_and(|leader| leader != self.id), "transfer")
            .await;
        left.map(drop).map_err(|_| AdminError::new(format!("node {target} did not take over in time")))
    }

    pub(super) async fn snapshot(&self) -> Result<(), AdminError> {
        if self.cluster.get().is_none() {
            return Err(AdminError::new(format!("node {} is part of no cluster yet", self.id)));
        }
        let wanted = self.machine.published().view().version().0;
        let stopped = |error: openraft::errors::Fatal<TypeConfig>| AdminError::new(error.to_string());
        self.raft.trigger().snapshot().await.map_err(stopped)?;
        let taken = self.raft.wait(Some(SNAPSHOT_TIMEOUT));
        let taken =
            taken.metrics(|metrics| metrics.snapshot.is_some_and(|id| id.index >= wanted), "snapshot").await;
        taken.map(drop).map_err(|error| AdminError::new(format!("no snapshot was taken: {error}")))
    }

    fn must_lead(&self, what: &str) -> Result<(), AdminError> {
        match self.leader() {
            Some(leader) if leader == self.id => Ok(()),
            Some(leader) => {
                let at = self
                    .member(leader)
                    .map_or_else(String::new, |info| format!(" at `{}`", info.sql_address));
                Err(AdminError::new(format!("only the leader can {what}; it is node {leader}{at}")))
            }
            None => Err(AdminError::new(format!("only the leader can {what}, and none is known now"))),
        }
    }
}

/// What becomes of voters that are taken out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retain {
    AsLearners,
    Nothing,
}

fn is_in_progress(error: &WriteError) -> bool {
    matches!(
        error,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(
            ChangeMembershipError::InProgress(_) | ChangeMembershipError::UncommittedLeaderLog(_)
        ))
    )
}

/// Keeps the machine's writer informed: what waits must not wait for a leader that this node is not any more.
pub(super) async fn watch_leadership(raft: Raft, machine: crate::machine::Machine) {
    let mut metrics = raft.server_metrics();
    while metrics.changed().await.is_ok() {
        machine.leader_changed();
    }
}
