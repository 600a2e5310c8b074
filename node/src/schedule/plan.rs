//! What a node does about schedules: what it sees goes in, acts come out. No I/O; time is told.
//!
//! Only the node that leads acts. That two might, while leadership moves, does no harm, by
//! J3: each time that a schedule is due there is one job of it, whoever of the nodes sees it first. Each act names the schedule as it
//! was seen, and the catalog takes one. A schedule that was due several times while nobody led is run once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use grantd_catalog::id::{ScheduleId, Timestamp};
use grantd_catalog::schedule::{OnPrevious, Schedule};

/// The most runs that are prepared at once: each opens a place outside. What is more waits.
pub const RUNS_AT_ONCE: usize = 8;
/// What was not taken is tried again after this.
pub const AGAIN: Duration = Duration::from_secs(2);
/// What waits for credentials or a place outside is tried again after this, longer from time to time.
pub const OUTSIDE_AGAIN: Duration = Duration::from_secs(15);
/// And after this at the latest.
pub const OUTSIDE_AGAIN_MOST: Duration = Duration::from_secs(5 * 60);

/// A schedule, as the newest view has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which.
    pub id: ScheduleId,
    /// When something about it changed last.
    pub as_of: Timestamp,
    /// When it is due; none: it is not.
    pub due: Option<Timestamp>,
    /// Whether somebody is to say when it is due.
    pub wants_next_run: bool,
    /// What is done while a job of it has not ended, if one has not; none: it may be run.
    pub busy: Option<OnPrevious>,
}

impl Seen {
    /// Of a record. `runs`: whether a job of it has not ended.
    pub fn of(id: ScheduleId, schedule: &Schedule, runs: bool) -> Self {
        let previous = if schedule.full.is_some() { OnPrevious::Wait } else { schedule.asked.on_previous };
        let busy = (runs && schedule.runs_alone()).then_some(previous);
        Self {
            id,
            as_of: schedule.modified,
            due: schedule.next_run.filter(|_| schedule.paused.is_none()),
            wants_next_run: schedule.wants_next_run(),
            busy,
        }
    }
}

/// What the driver is to do. It tells what came of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Say when it is due next: nobody has, or this time is left out as the job before has not ended.
    Advance {
        /// Which.
        id: ScheduleId,
        /// As it was seen.
        as_of: Timestamp,
        /// Whether a time is left out.
        skips: bool,
    },
    /// Make its job.
    Run {
        /// Which.
        id: ScheduleId,
        /// As it was seen.
        as_of: Timestamp,
    },
    /// Nothing: it waits for the job before. Said once for each time that it is due.
    Waits {
        /// Which.
        id: ScheduleId,
    },
}

/// What came of an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// The catalog has it, or has something newer.
    Done,
    /// Nobody took it.
    NotTaken,
    /// Something outside does not let it.
    Outside,
}

/// The state machine of one node.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    at_work: BTreeSet<ScheduleId>,
    /// What is left alone until then, and how often it was in a row.
    shy: BTreeMap<ScheduleId, (Duration, u32)>,
    /// Which due time of a schedule was said to wait.
    waits: BTreeMap<ScheduleId, Timestamp>,
}

impl Plan {
    /// What came of an act of this schedule. `steady`: the node's own steady clock.
    pub fn came(&mut self, steady: Duration, id: ScheduleId, came: Came) {
        self.at_work.remove(&id);
        match came {
            Came::Done => {
                self.shy.remove(&id);
            }
            Came::NotTaken => {
                let times = self.shy.get(&id).map_or(0, |(_, times)| *times);
                self.shy.insert(id, (steady + AGAIN, times));
            }
            Came::Outside => {
                let times = self.shy.get(&id).map_or(0, |(_, times)| *times);
                let wait =
                    OUTSIDE_AGAIN.saturating_mul(1 << times.min(DOUBLINGS_MAX)).min(OUTSIDE_AGAIN_MOST);
                self.shy.insert(id, (steady + wait, times.saturating_add(1)));
            }
        }
    }

    /// What is to be done now. `now`: as the log might have it. `seen`: all schedules, of the newest view.
    pub fn step(&mut self, steady: Duration, now: Timestamp, leads: bool, seen: &[Seen]) -> Vec<Act> {
        let is_there = |id: &ScheduleId| seen.iter().any(|schedule| schedule.id == *id);
        self.shy.retain(|id, _| leads && is_there(id));
        self.waits.retain(|id, _| leads && is_there(id));
        if !leads {
            return Vec::new();
        }
        let mut acts = Vec::new();
        for schedule in seen {
            if let Some(act) = self.act(steady, now, schedule) {
                if !matches!(act, Act::Waits { .. }) {
                    self.at_work.insert(schedule.id);
                }
                acts.push(act);
            }
        }
        acts
    }

    fn act(&mut self, steady: Duration, now: Timestamp, seen: &Seen) -> Option<Act> {
        let Seen { id, as_of, .. } = *seen;
        let rests = self.shy.get(&id).is_some_and(|(until, _)| *until > steady);
        if rests || self.at_work.contains(&id) || self.at_work.len() >= RUNS_AT_ONCE {
            return None;
        }
        if seen.wants_next_run {
            return Some(Act::Advance { id, as_of, skips: false });
        }
        let due = seen.due.filter(|due| *due <= now)?;
        match seen.busy {
            None | Some(OnPrevious::Start) => Some(Act::Run { id, as_of }),
            Some(OnPrevious::Skip) => Some(Act::Advance { id, as_of, skips: true }),
            Some(OnPrevious::Wait) => {
                let is_new = self.waits.insert(id, due) != Some(due);
                is_new.then_some(Act::Waits { id })
            }
        }
    }
}

/// So often a wait is doubled at most: beyond it is the most anyway.
const DOUBLINGS_MAX: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ScheduleId = ScheduleId(1);

    const fn at(nanos: u64) -> Timestamp {
        Timestamp { nanos, logical: 0 }
    }

    fn seen(due: u64) -> Seen {
        Seen { id: ID, as_of: at(1), due: Some(at(due)), wants_next_run: false, busy: None }
    }

    const RUN: Act = Act::Run { id: ID, as_of: at(1) };

    fn seconds(plan: &mut Plan, steady: u64, seen: &Seen) -> Vec<Act> {
        plan.step(Duration::from_secs(steady), at(20), true, std::slice::from_ref(seen))
    }

    #[test]
    fn what_is_due_is_run_once_by_who_leads() {
        let mut plan = Plan::default();
        let due = [seen(10)];
        assert_eq!(plan.step(Duration::ZERO, at(20), false, &due), []);
        assert_eq!(plan.step(Duration::ZERO, at(9), true, &due), []);
        assert_eq!(plan.step(Duration::ZERO, at(10), true, &due), [RUN]);
        assert_eq!(plan.step(Duration::ZERO, at(20), true, &due), [], "it is under way");
        plan.came(Duration::ZERO, ID, Came::Done);
        let next = Seen { as_of: at(2), ..seen(30) };
        assert_eq!(plan.step(Duration::ZERO, at(20), true, std::slice::from_ref(&next)), []);
        assert_eq!(plan.step(Duration::ZERO, at(30), true, &[next]), [Act::Run { id: ID, as_of: at(2) }]);
    }

    #[test]
    fn who_was_not_heard_says_it_again_and_who_is_denied_waits_longer() {
        let mut plan = Plan::default();
        let due = seen(10);
        assert_eq!(seconds(&mut plan, 0, &due), [RUN]);
        plan.came(Duration::ZERO, ID, Came::NotTaken);
        assert_eq!(seconds(&mut plan, 1, &due), []);
        assert_eq!(seconds(&mut plan, 2, &due), [RUN]);
        let mut steady = 2;
        for wait in [15, 30, 60, 120, 240, 300, 300] {
            plan.came(Duration::from_secs(steady), ID, Came::Outside);
            assert_eq!(seconds(&mut plan, steady + wait - 1, &due), [], "{wait}");
            assert_eq!(seconds(&mut plan, steady + wait, &due), [RUN], "{wait}");
            steady += wait;
        }
        plan.came(Duration::from_secs(steady), ID, Came::Done);
        assert_eq!(seconds(&mut plan, steady, &due), [RUN]);
        plan.came(Duration::from_secs(steady), ID, Came::Outside);
        assert_eq!(seconds(&mut plan, steady + 15, &due), [RUN], "from the beginning again");
    }

    #[test]
    fn the_run_before_is_waited_for_or_this_one_is_left_out() {
        let busy = |busy| Seen { busy: Some(busy), ..seen(10) };
        let mut plan = Plan::default();
        let waits = busy(OnPrevious::Wait);
        assert_eq!(seconds(&mut plan, 0, &waits), [Act::Waits { id: ID }]);
        assert_eq!(seconds(&mut plan, 1, &waits), [], "it was said");
        assert_eq!(seconds(&mut plan, 2, &seen(10)), [RUN]);
        let skips = busy(OnPrevious::Skip);
        let left_out = Act::Advance { id: ID, as_of: at(1), skips: true };
        assert_eq!(seconds(&mut Plan::default(), 0, &skips), [left_out]);
        assert_eq!(seconds(&mut Plan::default(), 0, &busy(OnPrevious::Start)), [RUN]);
    }

    #[test]
    fn who_has_no_next_time_is_told_one() {
        let wants = Seen { due: None, wants_next_run: true, ..seen(0) };
        let said = Act::Advance { id: ID, as_of: at(1), skips: false };
        assert_eq!(seconds(&mut Plan::default(), 0, &wants), [said]);
    }

    #[test]
    fn no_more_are_prepared_at_once_than_may_be() {
        let many: Vec<_> = (0..20).map(|id| Seen { id: ScheduleId(id), ..seen(10) }).collect();
        let mut plan = Plan::default();
        assert_eq!(plan.step(Duration::ZERO, at(20), true, &many).len(), RUNS_AT_ONCE);
        plan.came(Duration::ZERO, ScheduleId(0), Came::Done);
        assert_eq!(plan.step(Duration::ZERO, at(20), true, &many).len(), 1);
    }
}
