//! The Raft that the barrier is tried on. Not the product's: small, and without any protection by timing.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use grantd_raft::lease::{
    Asked, Barrier, BootId, Grantor, Holder, Lease, LeaseGrant, LeaseRequest, Moment, Roster, Terms,
};

use super::parts::{Dice, Entry, Members, Role, Rule, Tally, seconds};

/// All nodes that ever are.
const NODES: u64 = 12;
const LEASE: Duration = Duration::from_secs(2);
/// What the setting is changed to, in milliseconds.
const LEASES: [u64; 4] = [300, 1_000, 2_000, 6_000];
const DRIFT_PPM: u32 = 10_000;
/// How long a run is.
const END: u64 = seconds(60.0);

/// A grant that waits for a quorum.
struct Round {
    leader: u64,
    to: u64,
    grant: LeaseGrant,
    confirmed: BTreeSet<u64>,
    answered: bool,
}

#[derive(Clone)]
enum Message {
    Vote { term: u64, last: (u64, usize) },
    Voted { term: u64 },
    Append { term: u64, log: Vec<Entry>, commit: usize, round: Option<usize> },
    Appended { term: u64, length: usize, round: Option<usize> },
    Applied { term: u64, boot: BootId, applied: u64 },
    Ask(LeaseRequest),
    Grant { grant: LeaseGrant, told: Moment },
    ClockOff { term: u64, told: Moment },
}

#[derive(Clone)]
enum Event {
    Receive { from: u64, to: u64, message: Message },
    Timeout(u64),
    Beat { node: u64, term: u64, boot: BootId },
    Apply { node: u64, boot: BootId },
    Renew { node: u64, boot: BootId },
    Propose,
    ChangeMembers,
    ChangeLength,
    Shorten { node: u64, term: u64, boot: BootId, length: Duration },
    Poll { node: u64, term: u64, boot: BootId, barrier: Barrier },
    Check(u64),
    Decide { node: u64, boot: BootId, view: u64, lease: Lease },
    Fault,
    Heal,
    Restart(u64),
}

struct Node {
    rate_ppm: u64,
    offset: u64,
    term: u64,
    voted: Option<u64>,
    log: Vec<Entry>,
    commit: usize,
    applied: usize,
    role: Role,
    is_alive: bool,
    boot: BootId,
    paused_until: u64,
    side: u64,
    heard: u64,
    votes: BTreeSet<u64>,
    matched: BTreeMap<u64, usize>,
    holder: Holder,
    lease: Option<Lease>,
    grantor: Option<Grantor>,
    /// Of its process.
    roster: Roster,
    /// Who was a member in what is applied, and is none there any more.
    removed: BTreeSet<u64>,
    /// A shorter lease of its is on its way to the log.
    resizing: bool,
}

impl Node {
    fn last(&self) -> (u64, usize) {
        (self.log.last().map_or(0, Entry::term), self.log.len())
    }

    /// The members after so many entries.
    fn members(&self, entries: usize) -> Arc<Members> {
        let found = self.log[..entries].iter().rev().find_map(|entry| match entry {
            Entry::Members { members, .. } => Some(Arc::clone(members)),
            Entry::First { .. } | Entry::Revoke { .. } | Entry::Length { .. } => None,
        });
        found.unwrap_or_else(|| Arc::new(Members::first()))
    }

    fn effective(&self) -> Arc<Members> {
        self.members(self.log.len())
    }

    fn length(&self) -> Duration {
        let found = self.log[..self.applied].iter().rev().find_map(|entry| match entry {
            Entry::Length { length, .. } => Some(*length),
            Entry::First { .. } | Entry::Revoke { .. } | Entry::Members { .. } => None,
        });
        found.unwrap_or(LEASE)
    }

    fn view(&self) -> u64 {
        self.applied as u64
    }

    fn step_down(&mut self) {
        self.role = Role::Follower;
        self.grantor = None;
    }
}

pub struct Sim {
    dice: Dice,
    without: Option<Rule>,
    drift_ppm: u32,
    /// Whether leaders look at the clocks of others.
    looks: bool,
    now: u64,
    sequence: u64,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    nodes: Vec<Node>,
    rounds: Vec<Round>,
    /// Until then what is not committed is replicated late: disks are slow.
    stuck_until: u64,
    /// The newest change that was reported.
    reported: u64,
    tally: Tally,
}

impl Sim {
    pub fn new(seed: u64, without: Option<Rule>) -> Self {
        Self::make(seed, without, DRIFT_PPM, true)
    }

    /// Clocks that are so wrong, while the protocol allows for [`DRIFT_PPM`]; `looks`: whether leaders look at them.
    pub fn with_drift(seed: u64, drift_ppm: u32, looks: bool) -> Self {
        Self::make(seed, None, drift_ppm, looks)
    }

    fn make(seed: u64, without: Option<Rule>, drift_ppm: u32, looks: bool) -> Self {
        let mut dice = Dice(seed);
        let drift = u64::from(drift_ppm);
        let margin = if without == Some(Rule::DriftMargin) { 0 } else { DRIFT_PPM };
        let node = |dice: &mut Dice| Node {
            rate_ppm: match dice.below(3) {
                0 => 1_000_000 - drift,
                1 => 1_000_000 + drift,
                _ => 1_000_000 - drift + dice.below(2 * drift),
            },
            offset: dice.below(seconds(10_000.0)),
            term: 0,
            voted: None,
            log: Vec::new(),
            commit: 0,
            applied: 0,
            role: Role::Follower,
            is_alive: true,
            boot: BootId(1),
            paused_until: 0,
            side: 0,
            heard: 0,
            votes: BTreeSet::new(),
            matched: BTreeMap::new(),
            holder: Holder::new(BootId(1)),
            lease: None,
            grantor: None,
            roster: Roster::default(),
            removed: BTreeSet::new(),
            resizing: false,
        };
        let nodes = (0..NODES).map(|_| node(&mut dice)).collect();
        let mut sim = Self {
            dice,
            without,
            drift_ppm: margin,
            looks: looks && without != Some(Rule::DriftMargin),
            now: 0,
            sequence: 0,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            nodes,
            rounds: Vec::new(),
            stuck_until: 0,
            reported: 0,
            tally: Tally { is_excused: drift_ppm > DRIFT_PPM, ..Tally::default() },
        };
        for node in 0..NODES {
            let (renew, check) = (sim.dice.between(0.0, 0.3), sim.dice.between(0.0, 0.1));
            sim.at(renew, Event::Renew { node, boot: BootId(1) });
            sim.at(check, Event::Check(node));
            let timeout = sim.dice.between(0.1, 1.0);
            sim.at(timeout, Event::Timeout(node));
        }
        sim.at(seconds(1.0), Event::Propose);
        sim.at(seconds(2.0), Event::Fault);
        sim.at(seconds(3.0), Event::ChangeMembers);
        sim.at(seconds(4.0), Event::ChangeLength);
        sim
    }

    pub fn run(mut self) -> Tally {
        while let Some(Reverse((time, sequence))) = self.queue.pop() {
            if time > END {
                break;
            }
            self.now = time;
            if let Some(event) = self.events.remove(&sequence) {
                self.happen(event);
            }
        }
        self.tally
    }

    fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((time, self.sequence)));
        self.events.insert(self.sequence, event);
    }

    fn is_without(&self, rule: Rule) -> bool {
        self.without == Some(rule)
    }

    fn node(&mut self, id: u64) -> &mut Node {
        &mut self.nodes[usize::try_from(id).expect("a node")]
    }

    fn see(&self, id: u64) -> &Node {
        &self.nodes[usize::try_from(id).expect("a node")]
    }

    fn clock(&self, id: u64) -> Moment {
        let node = self.see(id);
        let run = u128::from(self.now) * u128::from(node.rate_ppm) / 1_000_000;
        Moment { nanos: node.offset + u64::try_from(run).expect("a minute") }
    }

    fn send(&mut self, from: u64, to: u64, message: Message) {
        if from != to && (self.see(from).side != self.see(to).side || self.dice.chance(3)) {
            return;
        }
        let delay = match self.dice.below(5) {
            _ if from == to => 0,
            0 => self.dice.between(0.01, 0.8),
            _ => self.dice.between(0.0005, 0.01),
        };
        let entries = matches!(message, Message::Append { round: None, .. });
        let slow = if entries && self.now < self.stuck_until { self.dice.between(0.5, 3.0) } else { 0 };
        let delay = delay + slow;
        self.at(self.now + delay, Event::Receive { from, to, message });
    }

    fn happen(&mut self, event: Event) {
        // What a paused node would do it does when it goes on.
        let who = match &event {
            Event::Receive { to: node, .. }
            | Event::Timeout(node)
            | Event::Beat { node, .. }
            | Event::Apply { node, .. }
            | Event::Renew { node, .. }
            | Event::Shorten { node, .. }
            | Event::Poll { node, .. }
            | Event::Check(node)
            | Event::Decide { node, .. } => Some(*node),
            Event::Propose
            | Event::ChangeMembers
            | Event::ChangeLength
            | Event::Fault
            | Event::Heal
            | Event::Restart(_) => None,
        };
        if let Some(until) = who.map(|node| self.see(node).paused_until).filter(|until| *until > self.now) {
            return self.at(until, event);
        }
        match event {
            Event::Receive { from, to, message } => self.receive(from, to, message),
            Event::Timeout(node) => self.time_out(node),
            Event::Beat { node, term, boot } => self.beat(node, term, boot),
            Event::Apply { node, boot } => self.apply(node, boot),
            Event::Renew { node, boot } => self.renew(node, boot),
            Event::Propose => self.propose(),
            Event::ChangeMembers => self.change_members(),
            Event::ChangeLength => self.change_length(),
            Event::Shorten { node, term, boot, length } => self.shorten(node, term, boot, length),
            Event::Poll { node, term, boot, barrier } => self.poll(node, term, boot, barrier),
            Event::Check(node) => self.check(node),
            Event::Decide { node, boot, view, lease } => self.decide(node, boot, view, lease),
            Event::Fault => self.fault(),
            Event::Heal => self.nodes.iter_mut().for_each(|node| node.side = 0),
            Event::Restart(node) => self.restart(node),
        }
    }

    fn is_running(&self, id: u64, boot: BootId) -> bool {
        self.see(id).is_alive && self.see(id).boot == boot
    }

    fn leads(&self, id: u64, term: u64) -> bool {
        self.see(id).role == Role::Leader && self.see(id).term == term
    }

    fn receive(&mut self, from: u64, to: u64, message: Message) {
        if !self.see(to).is_alive || (from != to && self.see(from).side != self.see(to).side) {
            return;
        }
        match message {
            // The product talks no more with who was taken out.
            Message::Vote { .. } if self.see(to).removed.contains(&from) => {}
            Message::Vote { term, last } => {
                self.newer(to, term);
                let node = self.node(to);
                if term == node.term && node.voted.is_none_or(|voted| voted == from) && last >= node.last() {
                    node.voted = Some(from);
                    self.send(to, from, Message::Voted { term });
                }
            }
            Message::Voted { term } => {
                let node = self.node(to);
                if node.role == Role::Candidate && term == node.term {
                    node.votes.insert(from);
                    if node.effective().majority(&node.votes) {
                        self.lead(to);
                    }
                }
            }
            Message::Append { term, log, commit, round } => self.append(from, to, term, log, commit, round),
            Message::Appended { term, length, round } => self.appended(from, to, term, length, round),
            Message::Applied { term, boot, applied } => {
                if self.leads(to, term)
                    && let Some(grantor) = &mut self.node(to).grantor
                {
                    grantor.report(from, boot, applied);
                }
            }
            Message::Ask(request) => self.asked(from, to, request),
            Message::ClockOff { term, told } => {
                let now = self.clock(to);
                self.node(to).holder.hear(term, told, now);
            }
            Message::Grant { grant, told } => {
                let received = self.clock(to);
                let late = self.is_without(Rule::SendTime);
                let grant = if late { LeaseGrant { sent: received, ..grant } } else { grant };
                let node = self.node(to);
                if grant.boot == node.boot {
                    node.holder.hear(grant.term, told, received);
                }
                if let Some(lease) = node.holder.take(&grant) {
                    node.lease = Some(lease);
                }
            }
        }
    }

    fn newer(&mut self, id: u64, term: u64) {
        let node = self.node(id);
        if term > node.term {
            node.term = term;
            node.voted = None;
            node.step_down();
        }
    }

    fn time_out(&mut self, id: u64) {
        let next = self.now + self.dice.between(0.5, 2.5);
        self.at(next, Event::Timeout(id));
        let quiet = self.now.saturating_sub(self.see(id).heard) > seconds(0.6);
        let stands = quiet || self.dice.chance(3);
        let node = self.see(id);
        let votes = node.effective().voters.contains(&id);
        if node.is_alive && node.role != Role::Leader && votes && stands {
            self.elect(id);
        }
    }

    fn elect(&mut self, id: u64) {
        let node = self.node(id);
        node.term += 1;
        node.voted = Some(id);
        node.role = Role::Candidate;
        node.votes = BTreeSet::from([id]);
        let message = Message::Vote { term: node.term, last: node.last() };
        for other in (0..NODES).filter(|other| *other != id) {
            self.send(id, other, message.clone());
        }
    }

    /// Takes note of the members, as the product does: now and then, and before it grants or reports.
    fn observe(&mut self, id: u64) -> Roster {
        let now = self.clock(id);
        let (coming, left) = (self.is_without(Rule::OnlyCommittedMembers), self.is_without(Rule::WhoLeft));
        let node = self.node(id);
        let in_log = node.effective().all();
        let applied = if coming || left { in_log.clone() } else { node.members(node.applied).all() };
        let removed = if left { BTreeSet::new() } else { node.removed.clone() };
        node.roster.observe(in_log, applied, removed, now);
        node.roster.clone()
    }

    fn terms(&self, id: u64) -> Terms {
        Terms { length: self.see(id).length(), drift_ppm: self.drift_ppm }
    }

    /// The grantor, told of the members and the terms.
    fn grantor(&mut self, id: u64) -> Option<&mut Grantor> {
        let (roster, terms) = (self.observe(id), self.terms(id));
        let grantor = self.node(id).grantor.as_mut()?;
        grantor.observe(roster, terms);
        Some(grantor)
    }

    fn lead(&mut self, id: u64) {
        self.tally.elections += 1;
        let (now, terms, roster) = (self.clock(id), self.terms(id), self.observe(id));
        let (waits, ready) = (!self.is_without(Rule::NewLeaderWaits), self.is_without(Rule::FirstEntry));
        let node = self.node(id);
        node.resizing = false;
        node.role = Role::Leader;
        node.log.push(Entry::First { term: node.term });
        let length = node.log.len();
        node.matched = BTreeMap::from([(id, length)]);
        let elected = if waits { now } else { Moment { nanos: 0 } };
        let mut grantor = Grantor::new(node.term, roster, elected);
        if ready {
            grantor.first_applied(0, terms);
        }
        node.grantor = Some(grantor);
        let (term, boot) = (node.term, node.boot);
        self.beat(id, term, boot);
    }

    fn beat(&mut self, id: u64, term: u64, boot: BootId) {
        if self.is_running(id, boot) && self.leads(id, term) {
            self.broadcast(id, None);
            self.at(self.now + seconds(0.1), Event::Beat { node: id, term, boot });
        }
    }

    fn broadcast(&mut self, id: u64, round: Option<usize>) {
        let node = self.see(id);
        // A round that confirms a leader carries no entry that is not committed.
        let entries = if round.is_some() { node.commit } else { node.log.len() };
        let log = node.log[..entries].to_vec();
        let message = Message::Append { term: node.term, log, commit: node.commit, round };
        // Who left may hear of it or not: sometimes it goes on to what it was sent before.
        let members = node.effective().all();
        for other in members.into_iter().filter(|other| *other != id) {
            self.send(id, other, message.clone());
        }
    }

    fn append(
        &mut self,
        from: u64,
        to: u64,
        term: u64,
        log: Vec<Entry>,
        commit: usize,
        round: Option<usize>,
    ) {
        self.newer(to, term);
        let now = self.now;
        let node = self.node(to);
        if term < node.term {
            return;
        }
        node.heard = now;
        if node.role != Role::Follower {
            node.step_down();
        }
        let length = log.len();
        // Raft's consistency rule, idealised: a longer log that begins with the message's is kept.
        if !node.log.starts_with(&log) {
            node.log = log;
        }
        node.commit = node.commit.max(commit.min(length));
        let boot = node.boot;
        self.send(to, from, Message::Appended { term, length, round });
        let delay = match self.dice.below(3) {
            0 => seconds(0.0001),
            1 => seconds(0.001),
            _ => self.dice.between(0.0, 0.4),
        };
        self.at(self.now + delay, Event::Apply { node: to, boot });
    }

    fn appended(&mut self, from: u64, to: u64, term: u64, length: usize, round: Option<usize>) {
        self.newer(to, term);
        if !self.leads(to, term) {
            return;
        }
        if let Some(place) = round {
            let members = self.see(to).effective();
            let round = &mut self.rounds[place];
            round.confirmed.insert(from);
            if members.majority(&round.confirmed) && !round.answered && round.grant.term == term {
                round.answered = true;
                let (leader, holder, grant) = (round.leader, round.to, round.grant);
                if self.grantor(leader).is_some_and(|grantor| grantor.may_hold(holder)) {
                    let told = self.clock(leader);
                    self.send(leader, holder, Message::Grant { grant, told });
                }
            }
        }
        let matched = self.node(to).matched.entry(from).or_insert(0);
        *matched = (*matched).max(length);
        self.advance(to);
    }

    fn advance(&mut self, id: u64) {
        let node = self.node(id);
        let voters = node.effective().voters.clone();
        let mut matched: Vec<usize> =
            voters.iter().map(|voter| node.matched.get(voter).copied().unwrap_or(0)).collect();
        matched.sort_unstable();
        let held = matched[(matched.len() - 1) / 2];
        if held > node.commit && node.log[held - 1].term() == node.term {
            node.commit = held;
            let boot = node.boot;
            self.at(self.now + seconds(0.0001), Event::Apply { node: id, boot });
            self.broadcast(id, None);
        }
    }

    fn apply(&mut self, id: u64, boot: BootId) {
        if !self.is_running(id, boot) {
            return;
        }
        let without = self.without;
        while self.see(id).applied < self.see(id).commit {
            let node = self.node(id);
            let entry = node.log[node.applied].clone();
            if let Entry::Members { members, .. } = &entry {
                let gone: Vec<u64> =
                    node.members(node.applied).all().difference(&members.all()).copied().collect();
                node.removed.extend(gone);
            }
            node.applied += 1;
            let (index, term) = (node.applied as u64, node.term);
            if node.role != Role::Leader || entry.term() != term {
                continue;
            }
            match entry {
                Entry::First { .. } => {
                    let terms = self.terms(id);
                    let grants_already = without == Some(Rule::FirstEntry);
                    if let Some(grantor) = self.node(id).grantor.as_mut().filter(|_| !grants_already) {
                        grantor.first_applied(index, terms);
                    }
                }
                Entry::Members { .. } => self.tally.members += 1,
                Entry::Length { .. } => {
                    self.tally.lengths += 1;
                    self.node(id).resizing = false;
                    if let Some(grantor) = self.grantor(id) {
                        grantor.lift();
                    }
                }
                Entry::Revoke { .. } => {
                    let now = self.clock(id);
                    if let Some(grantor) = self.grantor(id) {
                        let barrier = grantor.begin(index, now);
                        self.poll(id, term, boot, barrier);
                    }
                }
            }
        }
        let (view, term) = (self.see(id).view(), self.see(id).term);
        if let Some(grantor) = &mut self.node(id).grantor {
            grantor.report(id, boot, view);
        }
        for leader in (0..NODES).filter(|other| *other != id) {
            if self.leads(leader, term) {
                self.send(id, leader, Message::Applied { term, boot, applied: view });
            }
        }
    }

    fn renew(&mut self, id: u64, boot: BootId) {
        if !self.is_running(id, boot) {
            return;
        }
        self.observe(id);
        let request = self.see(id).holder.request(self.clock(id), self.see(id).view());
        // Whoever says that it leads is asked: the worst that a holder may believe.
        for leader in 0..NODES {
            if self.see(leader).role == Role::Leader {
                self.send(id, leader, Message::Ask(request));
            }
        }
        let third = self.terms(id).renewal().as_secs_f64();
        let next = self.now + self.dice.between(0.7 * third, 1.3 * third);
        self.at(next, Event::Renew { node: id, boot });
    }

    fn asked(&mut self, from: u64, to: u64, request: LeaseRequest) {
        let now = self.clock(to);
        let all = self.is_without(Rule::Floor);
        let request = if self.looks { request } else { LeaseRequest { heard: None, ..request } };
        let Some(grantor) = self.grantor(to) else { return };
        let asked = match grantor.request(from, &request, now) {
            Asked::NotBefore { applied } if all => {
                grantor.request(from, &LeaseRequest { applied, ..request }, now)
            }
            asked => asked,
        };
        if let Asked::Clock(off) = asked {
            self.tally.clock_off += 1;
            assert_ne!(off.ppm, 0);
            let term = self.see(to).term;
            return self.send(to, from, Message::ClockOff { term, told: now });
        }
        let Asked::Confirm(grant) = asked else { return };
        if self.is_without(Rule::Quorum) {
            return self.send(to, from, Message::Grant { grant, told: now });
        }
        let round = Round { leader: to, to: from, grant, confirmed: BTreeSet::from([to]), answered: false };
        self.rounds.push(round);
        self.broadcast(to, Some(self.rounds.len() - 1));
    }

    /// One of those that say that they lead.
    fn some_leader(&mut self) -> Option<u64> {
        let leads = |id: &u64| {
            let node = self.see(*id);
            node.role == Role::Leader && node.is_alive && node.paused_until <= self.now
        };
        let leaders: Vec<u64> = (0..NODES).filter(leads).collect();
        if leaders.is_empty() {
            return None;
        }
        let count = leaders.len() as u64;
        Some(leaders[usize::try_from(self.dice.below(count)).expect("a node")])
    }

    fn propose(&mut self) {
        let next = self.now + self.dice.wait(1.5);
        self.at(next, Event::Propose);
        let Some(id) = self.some_leader() else { return };
        self.tally.proposed += 1;
        let number = self.tally.proposed;
        let term = self.see(id).term;
        self.enter(id, Entry::Revoke { term, number });
    }

    /// As leader: writes an entry.
    fn enter(&mut self, id: u64, entry: Entry) {
        let node = self.node(id);
        node.log.push(entry);
        let length = node.log.len();
        node.matched.insert(id, length);
        self.broadcast(id, None);
        self.advance(id);
    }

    /// One member comes, goes, or is promoted, as the leader's log has it: one at a time, when the change before is committed
    /// and the leader's own first entry too.
    fn change_members(&mut self) {
        let next = self.now + self.dice.wait(0.5);
        self.at(next, Event::ChangeMembers);
        let Some(id) = self.some_leader() else { return };
        let node = self.see(id);
        let (term, mut members) = (node.term, node.effective().as_ref().clone());
        let is_own = |entry: &Entry| matches!(entry, Entry::First { term: first } if *first == term);
        let settled = node.log[..node.commit].iter().any(is_own);
        let pending = |entry: &Entry| matches!(entry, Entry::Members { .. });
        if !settled || node.log[node.commit..].iter().any(pending) {
            return;
        }
        let used: BTreeSet<u64> = node.log.iter().fold(Members::first().all(), |mut used, entry| {
            if let Entry::Members { members, .. } = entry {
                used.extend(members.all());
            }
            used
        });
        match self.dice.below(3) {
            0 => match (0..NODES).find(|new| !used.contains(new)) {
                Some(new) => drop(members.learners.insert(new)),
                None => return,
            },
            1 => match members.learners.pop_first() {
                Some(learner) => drop(members.voters.insert(learner)),
                None => return,
            },
            _ => {
                let all: Vec<u64> = members.all().into_iter().filter(|member| *member != id).collect();
                let gone = all[usize::try_from(self.dice.below(all.len() as u64)).expect("a member")];
                if members.voters.contains(&gone) && members.voters.len() <= 3 {
                    return;
                }
                members.voters.remove(&gone);
                members.learners.remove(&gone);
            }
        }
        self.enter(id, Entry::Members { term, members: Arc::new(members) });
    }

    fn change_length(&mut self) {
        let next = self.now + self.dice.wait(0.2);
        self.at(next, Event::ChangeLength);
        let length = Duration::from_millis(LEASES[usize::try_from(self.dice.below(4)).expect("one of four")]);
        let Some(id) = self.some_leader() else { return };
        let node = self.node(id);
        if !std::mem::replace(&mut node.resizing, true) {
            let (term, boot) = (node.term, node.boot);
            self.shorten(id, term, boot, length);
        }
    }

    fn shorten(&mut self, id: u64, term: u64, boot: BootId, length: Duration) {
        if !self.is_running(id, boot) || !self.leads(id, term) {
            return;
        }
        let (now, at_once) = (self.clock(id), self.is_without(Rule::LongerFirst));
        let Some(grantor) = self.grantor(id) else { return };
        let ready = if at_once { Some(now) } else { grantor.shorten(length, now) };
        if ready.is_some_and(|ready| ready <= now) {
            self.enter(id, Entry::Length { term, length });
        } else {
            self.at(self.now + seconds(0.05), Event::Shorten { node: id, term, boot, length });
        }
    }

    fn poll(&mut self, id: u64, term: u64, boot: BootId, barrier: Barrier) {
        if !self.is_running(id, boot) || !self.leads(id, term) {
            return;
        }
        let now = self.clock(id);
        let at_once = self.is_without(Rule::AllApplied);
        let Some(grantor) = self.grantor(id) else { return };
        if at_once || grantor.is_over(&barrier, now).is_some() {
            self.reported = self.reported.max(barrier.index());
            self.tally.reported += 1;
        } else {
            self.at(self.now + seconds(0.01), Event::Poll { node: id, term, boot, barrier });
        }
    }

    fn check(&mut self, id: u64) {
        let next = self.now + self.dice.wait(25.0);
        self.at(next, Event::Check(id));
        let now = self.clock(id);
        let node = self.see(id);
        let Some(lease) = node.lease.filter(|lease| node.is_alive && lease.is_held(now)) else { return };
        let (boot, view) = (node.boot, node.view());
        let delay = match self.dice.below(3) {
            0 => 1_000,
            1 => seconds(0.0001),
            _ => self.dice.between(0.0, 0.5),
        };
        self.at(self.now + delay, Event::Decide { node: id, boot, view, lease });
    }

    fn decide(&mut self, id: u64, boot: BootId, view: u64, lease: Lease) {
        if !self.is_running(id, boot) {
            return;
        }
        if self.see(id).view() != view && !self.is_without(Rule::NewestView) {
            return;
        }
        if !lease.is_held(self.clock(id)) && !self.is_without(Rule::ClockLast) {
            return;
        }
        self.tally.decided += 1;
        if view < self.reported {
            self.tally.broken += 1;
        }
    }

    fn fault(&mut self) {
        let next = self.now + self.dice.wait(1.0 / 1.2);
        self.at(next, Event::Fault);
        let id = self.dice.below(NODES);
        match self.dice.below(10) {
            0..=2 => {
                let pause = match self.dice.below(4) {
                    0 => 0.3,
                    1 => 1.0,
                    2 => 2.4,
                    _ => 5.0,
                };
                let until = self.now + seconds(pause);
                self.node(id).paused_until = until;
            }
            3..=5 => {
                for id in 0..NODES {
                    if self.dice.chance(80) {
                        self.node(id).side = u64::from(self.dice.below(3) == 0);
                    }
                }
                let heal = self.now + self.dice.between(0.3, 5.0);
                self.at(heal, Event::Heal);
            }
            6 | 7 => {
                let leads = |id: &u64| self.see(*id).role == Role::Leader && self.see(*id).is_alive;
                let leader = (0..NODES).find(leads);
                let hit = leader.filter(|_| self.dice.chance(60)).unwrap_or(id);
                if self.see(hit).is_alive {
                    self.node(hit).is_alive = false;
                    let after = [0.02, 0.2, 1.0, 3.0];
                    let after = after[usize::try_from(self.dice.below(4)).expect("one of four")];
                    self.at(self.now + seconds(after), Event::Restart(hit));
                }
            }
            8 => {
                let node = self.see(id);
                let votes = node.effective().voters.contains(&id);
                let stands = votes && node.is_alive && node.role != Role::Leader;
                if stands && node.paused_until <= self.now {
                    self.elect(id);
                }
            }
            _ => self.stuck_until = self.now + self.dice.between(1.0, 4.0),
        }
    }

    fn restart(&mut self, id: u64) {
        let (now, terms) = (self.clock(id), self.terms(id));
        let (keeps, restores) = (self.is_without(Rule::LeaseEnds), self.is_without(Rule::NoLeaderRestore));
        let node = self.node(id);
        node.is_alive = true;
        node.boot = BootId(node.boot.0 + 1);
        node.holder = Holder::new(node.boot);
        node.lease = keeps.then(|| Lease { expires: now.after(terms.length) });
        node.roster = Roster::default();
        node.resizing = false;
        let (term, boot) = (node.term, node.boot);
        let roster = self.observe(id);
        let node = self.node(id);
        if restores && node.role == Role::Leader {
            let mut grantor = Grantor::new(term, roster, Moment { nanos: 0 });
            grantor.first_applied(0, terms);
            node.grantor = Some(grantor);
            self.beat(id, term, boot);
        } else {
            node.step_down();
        }
        self.at(self.now, Event::Renew { node: id, boot });
    }
}
