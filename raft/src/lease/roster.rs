//! Who may hold a lease, by membership.

use std::collections::{BTreeMap, BTreeSet};

use super::Moment;
use crate::config::NodeId;

/// Who may hold a lease, as one process knows it from its start to its end, whoever leads.
///
/// A change of the members counts for a leader as soon as it is in its log, and may still be taken back. So who is only
/// coming has no lease yet (B12: the next leader might not know of it), and who is only going may have one still. When a
/// leaving was seen applied, every leader from then on has it in its log, and what was granted before was asked for before:
/// so it is over a lease later (B13).
#[derive(Clone, Debug, Default)]
pub struct Roster {
    /// In the log and in what is applied.
    members: BTreeSet<NodeId>,
    /// In one of the two.
    perhaps: BTreeSet<NodeId>,
    /// Who was taken out, and when this process saw that applied. Never shrinks, as numbers are not used again.
    left: BTreeMap<NodeId, Moment>,
}

impl Roster {
    /// Takes note of the members, voters or not: as the log says, as what is applied says, and who was ever taken out.
    pub fn observe(
        &mut self,
        in_log: impl IntoIterator<Item = NodeId>,
        applied: impl IntoIterator<Item = NodeId>,
        removed: impl IntoIterator<Item = NodeId>,
        now: Moment,
    ) {
        let (in_log, applied): (BTreeSet<_>, BTreeSet<_>) =
            (in_log.into_iter().collect(), applied.into_iter().collect());
        self.members = in_log.intersection(&applied).copied().collect();
        self.perhaps = in_log.union(&applied).copied().collect();
        for id in removed {
            self.left.entry(id).or_insert(now);
        }
    }

    /// Whether it may be granted a lease.
    pub(super) fn may_ask(&self, id: NodeId) -> bool {
        self.members.contains(&id)
    }

    /// All who may hold a lease, of whatever leader; `since`: what was seen applied before this moment is over.
    pub(super) fn may_hold(&self, over: impl Fn(Moment) -> bool) -> BTreeSet<NodeId> {
        let left = self.left.iter().filter(|(_, seen)| !over(**seen)).map(|(id, _)| *id);
        self.perhaps.iter().copied().chain(left).collect()
    }
}
