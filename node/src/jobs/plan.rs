//! What a node does about jobs: events and what it sees go in, acts come out. No I/O; time is told.
//!
//! A job without a claim is taken by the node that was told of it at once, by others after a while that differs from node to
//! node. A node renews its claims three times in the life of one, and counts that life by its own clock from before it
//! asked: when it may be over the node stops its work at once, whatever it sees. When it sees that it has lost a claim, too.
//! Somebody's wish, a right that is gone, and the node's own end stop work gently: it is reported when it has ended.
//!
//! A node that lacks what a job needs, its identity in a cloud, leaves the job to others: it claims it later than they would, and
//! hands over what it has. What nobody takes it keeps for a while, and says why it waits, so that a job that no node can do
//! does not go from hand to hand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use grantd_catalog::id::Timestamp;
use grantd_catalog::job::{Claim, JobId, JobKind, JobStatus, Report};

use crate::jobs::work::Stopped;

/// The most jobs that a node works on at once. What is more waits for another node, or for one to end.
pub const JOBS_AT_ONCE: usize = 64;
/// A sixth of a claim's life is given up for clocks that differ between one leader and the next.
const MARGIN_PARTS: u32 = 6;
/// A claim is renewed so many times in its life.
const RENEWALS: u32 = 3;
/// A node that lacks what a job needs waits so many times as long as others may before it claims it.
const LEAVES_PARTS: u32 = 5;
/// It keeps a job for so long that it handed over before, or that nobody took.
const KEEPS: Duration = Duration::from_secs(120);
/// A report, or a renewal, that no leader took is tried again after this.
const AGAIN: Duration = Duration::from_millis(500);

/// A moment: by the node's own steady clock, and by the one that it shares, more or less, with the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since the node began.
    pub steady: Duration,
    /// As the log might have it.
    pub log: Timestamp,
}

/// What the cluster and its settings say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The life of a claim.
    pub lease: Duration,
    /// How long a node leaves a job to who was told of it.
    pub adopt: Duration,
    /// How often ended jobs are collected.
    pub collect: Duration,
    /// How long credentials are waited for.
    pub grace: Duration,
    /// Whether there is no other node.
    pub alone: bool,
}

/// A job that has not ended, as the newest view has it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of the job's record")]
pub struct Seen {
    pub id: JobId,
    pub kind: JobKind,
    pub status: JobStatus,
    pub epoch: u64,
    pub claim: Option<Claim>,
    /// Until when the claim holds.
    pub claimed_until: Option<Timestamp>,
    pub next_run: Option<Timestamp>,
    pub waiting_since: Option<Timestamp>,
    /// Why its owner may not do it; none: it may.
    pub denied: Option<String>,
    /// What this node lacks for it, and others may have; none: nothing that is known.
    pub lacks: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Nothing but that time passed, or that there is a new view.
    Looked,
    /// A job was made or resumed by this node.
    Told(JobId),
    /// Work ended.
    Ended {
        /// Of which job.
        id: JobId,
        /// Under which claim.
        epoch: u64,
        /// How.
        came: Result<(), Stopped>,
    },
    /// A proposal was answered.
    Answered {
        /// Which.
        asked: Asked,
        /// When it was sent, by the steady clock.
        sent: Duration,
        /// What came of it.
        outcome: Outcome,
    },
    /// The node will stop.
    Drain,
}

/// A proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the acts of the same names")]
pub enum Asked {
    Claim(JobId),
    Renew,
    Report { id: JobId, epoch: u64 },
    Collector,
}

/// What came of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words say it")]
pub enum Outcome {
    Done,
    Refused,
    Unknown,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Propose a claim.
    Claim(JobId),
    /// Propose to hold the claims for longer.
    Renew,
    /// Begin to work.
    Start {
        /// On what.
        id: JobId,
        /// Under which claim.
        epoch: u64,
        /// Whether what was done is to be taken back.
        revert: bool,
    },
    /// End the work.
    Stop {
        /// On what.
        id: JobId,
        /// Without waiting for it: the claim may be lost.
        at_once: bool,
    },
    /// Propose a report.
    Report {
        /// Of what.
        id: JobId,
        /// Under which claim.
        epoch: u64,
        /// What is said.
        report: Report,
    },
    /// Propose the cluster's own job that collects ended ones.
    Collector,
}

/// What a node does about one job that it has.
#[derive(Clone, Debug)]
struct Mine {
    epoch: u64,
    phase: Phase,
}

#[derive(Clone, Debug)]
enum Phase {
    Working {
        revert: bool,
        stopping: bool,
    },
    /// For credentials, until then.
    Waiting {
        until: Duration,
    },
    Reporting {
        report: Report,
        sent: bool,
        not_before: Duration,
        then: Then,
    },
}

/// What follows when a report was taken.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// The job is not this node's any more.
    Gone,
    /// It is tried again after this long.
    Again(Duration),
    /// It is handed over.
    HandOver,
}

/// The state machine of one node.
#[derive(Clone, Debug)]
pub struct Plan {
    me: Claim,
    kinds: BTreeSet<JobKind>,
    mine: BTreeMap<JobId, Mine>,
    /// Claims on their way.
    claiming: BTreeSet<JobId>,
    /// What is left alone until then: a claim or a report of it was refused.
    shy: BTreeMap<JobId, Duration>,
    /// Since when nobody has what could be worked on.
    free_since: BTreeMap<JobId, Duration>,
    told: BTreeSet<JobId>,
    /// What was left to others, and until when it is not again.
    kept: BTreeMap<JobId, Duration>,
    /// Until when this node has what it claimed, by its own clock.
    held_until: Option<Duration>,
    renewing: bool,
    renew_at: Duration,
    collector_at: Option<Duration>,
    draining: bool,
}

impl Plan {
    /// That of the node and the run of its process that `me` names, which can do jobs of `kinds`.
    pub fn new(me: Claim, kinds: impl IntoIterator<Item = JobKind>) -> Self {
        Self {
            me,
            kinds: kinds.into_iter().collect(),
            mine: BTreeMap::new(),
            claiming: BTreeSet::new(),
            shy: BTreeMap::new(),
            free_since: BTreeMap::new(),
            told: BTreeSet::new(),
            kept: BTreeMap::new(),
            held_until: None,
            renewing: false,
            renew_at: Duration::ZERO,
            collector_at: None,
            draining: false,
        }
    }

    /// Whether nothing is left to be handed over.
    pub fn is_idle(&self) -> bool {
        self.mine.is_empty() && self.claiming.is_empty()
    }

    /// What is to be done now. `seen`: all jobs that have not ended, sorted by id, of a view that has whatever was answered.
    pub fn step(&mut self, now: Now, rules: Rules, seen: &[Seen], event: Event) -> Vec<Act> {
        let mut acts = Vec::new();
        match event {
            Event::Looked => {}
            Event::Told(id) => {
                self.told.insert(id);
            }
            Event::Drain => self.draining = true,
            Event::Ended { id, epoch, came } => self.ended(now, rules, find(seen, id), (id, epoch), came),
            Event::Answered { asked, sent, outcome } => self.answered(now, rules, asked, sent, outcome),
        }
        self.shy.retain(|_, until| *until > now.steady);
        self.kept.retain(|_, until| *until > now.steady);
        self.tend(now, rules, seen, &mut acts);
        self.take_up(now, rules, seen, &mut acts);
        self.claim_free(now, rules, seen, &mut acts);
        self.renew(now, seen, &mut acts);
        self.collector(now, rules, seen, &mut acts);
        acts
    }

    fn has(&self, seen: &Seen) -> bool {
        seen.claim == Some(self.me)
    }

    /// Whether the claims may be over by this node's clock.
    fn is_over(&self, now: Now) -> bool {
        self.held_until.is_none_or(|until| now.steady >= until)
    }

    fn ended(
        &mut self,
        now: Now,
        rules: Rules,
        seen: Option<&Seen>,
        (id, epoch): (JobId, u64),
        came: Result<(), Stopped>,
    ) {
        let Some(Mine { epoch: mine, phase: Phase::Working { revert, .. } }) = self.mine.get(&id) else {
            return;
        };
        if *mine != epoch {
            return;
        }
        let revert = *revert;
        let Some(seen) = seen.filter(|seen| self.has(seen) && seen.epoch == epoch) else {
            self.mine.remove(&id);
            return;
        };
        let mut then = Then::Gone;
        let report = match (self.wish(rules, seen), came) {
            (_, Ok(())) if revert => Some(Report::Reverted),
            (Some((Report::Canceling, _)), Ok(())) => Some(Report::Canceling),
            (_, Ok(())) => Some(Report::Succeeded),
            (Some((wish, after)), Err(_)) => {
                then = after;
                Some(wish)
            }
            (None, Err(Stopped::Asked)) => None,
            (None, Err(Stopped::Retry { error, after })) => {
                Some(Report::Retry { error, delay_ms: after.map(milliseconds) })
            }
            (None, Err(Stopped::Credentials { status, after })) => {
                let waited = seen.waiting_since.map_or(0, |since| now.log.nanos.saturating_sub(since.nanos));
                if u128::from(waited) >= rules.grace.as_nanos() && seen.waiting_since.is_some() {
                    Some(Report::Paused { reason: Some(status) })
                } else {
                    then = Then::Again(after);
                    Some(Report::WaitsForCredentials { running_status: status })
                }
            }
            (None, Err(Stopped::Rest(rest))) => Some(Report::Rest { delay_ms: milliseconds(rest) }),
            (None, Err(Stopped::Paused(reason))) => Some(Report::Paused { reason: Some(reason) }),
            (None, Err(Stopped::Failed(error))) if revert => Some(Report::RevertFailed { error }),
            (None, Err(Stopped::Failed(error))) => Some(Report::Failed { error }),
        };
        match report {
            Some(report) => self.will_report(now, (id, epoch), report, then),
            None => {
                self.mine.remove(&id);
            }
        }
    }

    /// What somebody, or something, wants of a job that this node has, and what follows.
    fn wish(&self, rules: Rules, seen: &Seen) -> Option<(Report, Then)> {
        let gone = |report| Some((report, Then::Gone));
        match (seen.status, &seen.denied) {
            (JobStatus::PauseRequested, _) => gone(Report::Paused { reason: None }),
            (JobStatus::CancelRequested, _) => gone(Report::Canceling),
            (_, Some(reason)) => gone(Report::Paused { reason: Some(reason.clone()) }),
            (_, None) if self.draining => gone(Report::HandOver),
            (_, None) => {
                let lacks = seen.lacks.as_ref().filter(|_| self.may_leave(rules, seen))?;
                let node = self.me.node;
                let running_status =
                    format!("waiting for credentials: {lacks}; node {node} leaves the job to others");
                Some((Report::WaitsForCredentials { running_status }, Then::HandOver))
            }
        }
    }

    /// Whether a job may be left to other nodes now, if this one lacks something for it.
    fn may_leave(&self, rules: Rules, seen: &Seen) -> bool {
        let is_work = matches!(seen.status, JobStatus::Pending | JobStatus::Running);
        is_work && !rules.alone && !self.kept.contains_key(&seen.id)
    }

    fn will_report(&mut self, now: Now, (id, epoch): (JobId, u64), report: Report, then: Then) {
        if matches!(then, Then::HandOver) {
            self.kept.insert(id, now.steady + KEEPS);
        }
        let phase = Phase::Reporting { report, sent: false, not_before: Duration::ZERO, then };
        self.mine.insert(id, Mine { epoch, phase });
    }

    fn answered(&mut self, now: Now, rules: Rules, asked: Asked, sent: Duration, outcome: Outcome) {
        let life = rules.lease - rules.lease / MARGIN_PARTS;
        match (asked, outcome) {
            (Asked::Claim(id), Outcome::Done) => {
                self.claiming.remove(&id);
                self.free_since.remove(&id);
                self.told.remove(&id);
                self.hold(sent, life, rules);
            }
            (Asked::Claim(id), Outcome::Refused | Outcome::Unknown) => {
                self.claiming.remove(&id);
                self.told.remove(&id);
                self.shy.insert(id, now.steady + rules.adopt);
            }
            (Asked::Renew, Outcome::Done) => {
                self.renewing = false;
                self.hold(sent, life, rules);
            }
            (Asked::Renew, Outcome::Refused) => {
                self.renewing = false;
                self.held_until = None;
                self.renew_at = now.steady + rules.lease / RENEWALS;
            }
            (Asked::Renew, Outcome::Unknown) => {
                self.renewing = false;
                self.renew_at = now.steady + AGAIN;
            }
            (Asked::Report { id, epoch }, outcome) => self.report_answered(now, rules, (id, epoch), outcome),
            (Asked::Collector, _) => {}
        }
    }

    /// The life of a claim counts from before it was asked for: it began later than that.
    fn hold(&mut self, sent: Duration, life: Duration, rules: Rules) {
        self.held_until = self.held_until.max(Some(sent + life));
        self.renew_at = self.renew_at.max(sent + rules.lease / RENEWALS);
    }

    fn report_answered(&mut self, now: Now, rules: Rules, (id, epoch): (JobId, u64), outcome: Outcome) {
        let Some(mine) = self.mine.get_mut(&id).filter(|mine| mine.epoch == epoch) else { return };
        let Phase::Reporting { sent, not_before, then, .. } = &mut mine.phase else { return };
        match (outcome, *then) {
            (Outcome::Done, Then::Again(after)) => mine.phase = Phase::Waiting { until: now.steady + after },
            (Outcome::Done, Then::Gone) => {
                self.mine.remove(&id);
            }
            (Outcome::Done, Then::HandOver) => {
                self.will_report(now, (id, epoch), Report::HandOver, Then::Gone);
            }
            (Outcome::Refused, _) => {
                self.mine.remove(&id);
                self.shy.insert(id, now.steady + rules.adopt);
            }
            (Outcome::Unknown, _) => {
                *sent = false;
                *not_before = now.steady + AGAIN;
            }
        }
    }

    /// What this node does already.
    fn tend(&mut self, now: Now, rules: Rules, seen: &[Seen], acts: &mut Vec<Act>) {
        let over = self.is_over(now);
        let ids: Vec<_> = self.mine.keys().copied().collect();
        for id in ids {
            let Some(mut mine) = self.mine.remove(&id) else { continue };
            let job = find(seen, id).filter(|seen| self.has(seen) && seen.epoch == mine.epoch);
            match (&mut mine.phase, job) {
                (Phase::Working { .. }, None) => acts.push(Act::Stop { id, at_once: true }),
                (Phase::Working { .. }, Some(_)) if over => acts.push(Act::Stop { id, at_once: true }),
                (Phase::Working { stopping, .. }, Some(job)) => {
                    if !*stopping && self.wish(rules, job).is_some() {
                        *stopping = true;
                        acts.push(Act::Stop { id, at_once: false });
                    }
                    self.mine.insert(id, mine);
                }
                (Phase::Waiting { .. } | Phase::Reporting { .. }, None) => {}
                (Phase::Waiting { until }, Some(job)) => match self.wish(rules, job) {
                    Some((wish, then)) => self.will_report(now, (id, mine.epoch), wish, then),
                    None if now.steady < *until => drop(self.mine.insert(id, mine)),
                    // It is taken up again below.
                    None => {}
                },
                (Phase::Reporting { .. }, Some(_)) => drop(self.mine.insert(id, mine)),
            }
        }
        self.say(now, acts);
    }

    /// Reports that are due.
    fn say(&mut self, now: Now, acts: &mut Vec<Act>) {
        for (id, mine) in &mut self.mine {
            if let Phase::Reporting { report, sent, not_before, .. } = &mut mine.phase
                && !*sent
                && now.steady >= *not_before
            {
                *sent = true;
                acts.push(Act::Report { id: *id, epoch: mine.epoch, report: report.clone() });
            }
        }
    }

    /// What this node has claimed and does not do yet.
    fn take_up(&mut self, now: Now, rules: Rules, seen: &[Seen], acts: &mut Vec<Act>) {
        if self.is_over(now) {
            return;
        }
        for job in seen {
            let (id, epoch) = (job.id, job.epoch);
            if !self.has(job) || self.mine.contains_key(&id) || self.shy.contains_key(&id) {
                continue;
            }
            if let Some((report, then)) = self.wish(rules, job) {
                self.will_report(now, (id, epoch), report, then);
                self.say(now, acts);
                continue;
            }
            let revert = job.status == JobStatus::Reverting;
            acts.push(Act::Start { id, epoch, revert });
            self.mine.insert(id, Mine { epoch, phase: Phase::Working { revert, stopping: false } });
        }
    }

    /// What nobody has.
    fn claim_free(&mut self, now: Now, rules: Rules, seen: &[Seen], acts: &mut Vec<Act>) {
        let is_free = |job: &&Seen| {
            let anew =
                job.claim.is_some_and(|claim| claim.node == self.me.node && claim.boot != self.me.boot);
            let claimed = job.claimed_until.is_some_and(|until| now.log < until) && !anew;
            let rests = job.next_run.is_some_and(|at| now.log < at) && !job.status.is_requested();
            job.status.is_claimable()
                && !claimed
                && !rests
                && !self.has(job)
                && self.kinds.contains(&job.kind)
        };
        let free: BTreeSet<_> = seen.iter().filter(is_free).map(|job| job.id).collect();
        self.free_since.retain(|id, _| free.contains(id));
        self.told.retain(|id| find(seen, *id).is_some());
        if self.draining {
            return;
        }
        for id in free {
            let since = *self.free_since.entry(id).or_insert(now.steady);
            let leaves = find(seen, id)
                .is_some_and(|job| job.lacks.is_some() && !rules.alone && !job.status.is_requested());
            let due = match leaves {
                true => now.steady >= since + rules.adopt * LEAVES_PARTS,
                false => self.told.contains(&id) || now.steady >= since + wait(rules.adopt, self.me.node, id),
            };
            let has_place = self.mine.len() + self.claiming.len() < JOBS_AT_ONCE;
            if due && has_place && !self.shy.contains_key(&id) && self.claiming.insert(id) {
                if leaves {
                    // Nobody else took it: it is not handed over at once.
                    self.kept.insert(id, now.steady + KEEPS);
                }
                acts.push(Act::Claim(id));
            }
        }
    }

    fn renew(&mut self, now: Now, seen: &[Seen], acts: &mut Vec<Act>) {
        let has_any = seen.iter().any(|job| self.has(job));
        if has_any && !self.renewing && now.steady >= self.renew_at {
            self.renewing = true;
            acts.push(Act::Renew);
        }
    }

    /// The first time a while after the node began: a cluster in which nothing happens needs none.
    fn collector(&mut self, now: Now, rules: Rules, seen: &[Seen], acts: &mut Vec<Act>) {
        let there = seen.iter().any(|job| job.kind == JobKind::AutoCollectJobs);
        if there || self.draining || !self.kinds.contains(&JobKind::AutoCollectJobs) {
            return;
        }
        let last = self.collector_at.unwrap_or(Duration::ZERO);
        if now.steady >= last + rules.collect {
            self.collector_at = Some(now.steady);
            acts.push(Act::Collector);
        }
    }
}

/// Between half of it and all of it, so that nodes come one after the other.
fn wait(adopt: Duration, node: u64, id: JobId) -> Duration {
    let mixed =
        node.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ id.0.unsigned_abs().wrapping_mul(0xC2B2_AE3D_27D4_EB4F);
    let part = u32::try_from((mixed >> 32) % 1_000).unwrap_or(0);
    adopt / 2 + adopt / 2 * part / 1_000
}

fn find(seen: &[Seen], id: JobId) -> Option<&Seen> {
    seen.binary_search_by_key(&id, |job| job.id).ok().map(|at| &seen[at])
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
