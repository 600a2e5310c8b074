//! What the node says of itself.

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{Instant, ServerState};

use crate::handle::{Member, Node, Status};

impl Node {
    pub(super) fn status(&self) -> Status {
        let published = self.machine.published();
        let metrics = self.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        let leads = metrics.state == ServerState::Leader;
        let member = |(id, info): (&u64, &crate::types::NodeInfo)| {
            let matched = metrics.replication.as_ref().and_then(|all| all.get(id).cloned().flatten());
            let heard = metrics.heartbeat.as_ref().and_then(|all| all.get(id).copied().flatten());
            let own = leads && *id == self.id;
            Member {
                id: *id,
                raft_address: info.raft_address.clone(),
                sql_address: info.sql_address.clone(),
                voter: membership.get_joint_config().iter().all(|voters| voters.contains(id)),
                matched: if own { metrics.last_log_index } else { matched.map(|id| id.index) },
                heard_ms: if own {
                    Some(0)
                } else {
                    heard.map(|at| u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX))
                },
            }
        };
        Status {
            node_id: self.id,
            cluster_id: self.cluster.get().map(ToString::to_string),
            server_state: match metrics.state {
                ServerState::Leader => "leader",
                ServerState::Follower => "follower",
                ServerState::Candidate => "candidate",
                ServerState::Learner => "learner",
                ServerState::Shutdown => "shutdown",
            },
            term: metrics.current_term,
            leader: metrics.current_leader,
            last_log: metrics.last_log_index.unwrap_or(0),
            applied: published.view().version(),
            snapshot: metrics.snapshot.map_or(0, |id| id.index),
            purged: metrics.purged.map_or(0, |id| id.index),
            members: membership.nodes().map(member).collect(),
        }
    }
}
