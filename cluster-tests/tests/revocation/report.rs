//! What a run showed: faults of the promise, how long REVOKE took, what a node that was cut off said.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::ask::Asked;
use crate::faults::Episode;
use crate::history::{Answer, Change, Reply, Told, Turn, broken};
use crate::world::{KINDS, Subject};
use crate::write::Act;

/// How long a lease is, as configured by default.
pub const LEASE: Duration = Duration::from_secs(1);
/// A REVOKE with one node gone: a lease and a tenth.
const REVOKE_WITHIN: Duration = Duration::from_millis(1_100);
/// A node that was cut off answers again so soon after that is over.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);
/// What a debug build may add to any time on two cores that twenty others want; what counts are the figures that are printed.
const SLACK: Duration = Duration::from_secs(4);
/// After a fault REVOKE may still be slow for so long.
const SETTLED_AFTER: Duration = Duration::from_secs(1);

/// All that was recorded.
pub struct Recorded {
    pub acts: Vec<Act>,
    pub asked: Vec<Asked>,
    pub episodes: Vec<Episode>,
}

impl Recorded {
    /// Every answer that was given by a right that was gone, in words.
    pub fn violations(&self) -> Vec<String> {
        let mut rights: BTreeMap<Subject, (Vec<Change>, Vec<Answer>)> = BTreeMap::new();
        for act in &self.acts {
            rights.entry(act.subject).or_default().0.push(act.change.clone());
        }
        for (subject, answer) in &self.asked {
            rights.entry(*subject).or_default().1.push(answer.clone());
        }
        let mut faults = Vec::new();
        for (subject, (changes, answers)) in &rights {
            for answer in broken(changes, answers) {
                let before = changes.iter().rfind(|change| change.returned <= answer.begun);
                let during: Vec<_> = self.episodes.iter().filter(|e| e.begun <= answer.ended).collect();
                faults.push(format!(
                    "{:?}: {answer:?} though {before:?}; last fault: {:?}",
                    KINDS[subject.right],
                    during.last()
                ));
            }
        }
        faults
    }

    /// What a node said that reached nobody, and whose lease was over: it must refuse, with 57P03.
    pub fn said_without_a_lease(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for episode in self.episodes.iter().filter(|episode| episode.cuts_off()) {
            let mut refused = 0;
            for (subject, answer) in self.at(episode.seat) {
                // The cut is complete a moment after `begun` was read, and before the next statement of that task.
                let without = answer.begun > episode.begun + LEASE + Duration::from_millis(20)
                    && answer.ended < episode.ended;
                match &answer.reply {
                    _ if !without => {}
                    Reply::Refused(code) if code == "57P03" => refused += 1,
                    _ => faults.push(format!("{subject:?}: {answer:?} in {episode:?}")),
                }
            }
            if refused == 0 {
                faults.push(format!("nobody was refused in {episode:?}"));
            }
        }
        faults
    }

    /// How long after a cut was healed the first question was answered, of those nodes that stayed members.
    pub fn answers_again(&self) -> Vec<Duration> {
        let healed =
            self.episodes.iter().filter(|e| e.cuts_off() && e.fault != crate::faults::Fault::Replaced);
        let first = |episode: &Episode| {
            let answered = self.at(episode.seat).filter(|(_, answer)| {
                answer.begun > episode.begun + LEASE
                    && answer.ended > episode.ended
                    && matches!(answer.reply, Reply::Yes | Reply::No)
            });
            answered.map(|(_, answer)| answer.ended.saturating_sub(episode.ended)).min()
        };
        healed.map(|episode| first(episode).unwrap_or(Duration::MAX)).collect()
    }

    /// Answers by a right, given by a node that reached nobody: by its lease and nothing else.
    pub fn yes_from_leases(&self) -> usize {
        let cuts = self.episodes.iter().filter(|episode| episode.cuts_off());
        cuts.map(|episode| {
            let own = self.at(episode.seat).filter(|(_, answer)| {
                answer.begun > episode.begun + Duration::from_millis(20) && answer.ended < episode.ended
            });
            own.filter(|(_, answer)| answer.reply == Reply::Yes).count()
        })
        .sum()
    }

    /// How long those took that took a right away, and were done: when nothing was wrong, with a follower gone, with the
    /// leader gone.
    pub fn revokes(&self) -> [Vec<Duration>; 3] {
        let mut times: [Vec<Duration>; 3] = Default::default();
        for act in &self.acts {
            let change = &act.change;
            if change.turn != Turn::Tighten || change.told != Told::Done {
                continue;
            }
            let took = change.returned - change.invoked;
            let near = |e: &&Episode| change.invoked < e.ended + SETTLED_AFTER && e.begun < change.returned;
            let during =
                |e: &&Episode| e.begun <= change.invoked && change.invoked < e.ended && act.seat != e.seat;
            if self.episodes.iter().find(near).is_none() {
                times[0].push(took);
            } else if let Some(episode) = self.episodes.iter().find(during) {
                if episode.takes_a_follower() {
                    times[1].push(took);
                } else if episode.takes_the_leader() {
                    times[2].push(took);
                }
            }
        }
        times.iter_mut().for_each(|times| times.sort());
        times
    }

    fn at(&self, seat: usize) -> impl Iterator<Item = &Asked> {
        self.asked.iter().filter(move |(_, answer)| answer.seat == seat)
    }

    /// Prints the figures.
    pub fn print(&self) {
        let done = |turn| {
            let of = self.acts.iter().filter(|act| act.change.turn == turn);
            let told = |told| of.clone().filter(|act| act.change.told == told).count();
            format!(
                "{} done, {} refused, {} unknown",
                told(Told::Done),
                told(Told::Refused),
                told(Told::Unknown)
            )
        };
        println!("given: {}; taken away: {}", done(Turn::Loosen), done(Turn::Tighten));
        let mut ways: BTreeMap<&str, BTreeMap<String, usize>> = BTreeMap::new();
        for (_, answer) in &self.asked {
            let reply = match &answer.reply {
                Reply::Refused(code) => code.clone(),
                Reply::Yes | Reply::No => format!("{:?}", answer.reply).to_lowercase(),
            };
            *ways.entry(answer.way).or_default().entry(reply).or_default() += 1;
        }
        for (way, replies) in ways {
            println!("  {way:<18} {replies:?}");
        }
        println!("yes by a node that reached nobody: {}", self.yes_from_leases());
        for (when, times) in
            ["nothing wrong", "a follower gone", "the leader gone"].iter().zip(self.revokes())
        {
            println!("  taken away, {when:<16} {}", line(&times));
        }
        let mut again = self.answers_again();
        again.sort();
        println!("  answered again after a cut {}", line(&again));
    }

    /// Everything but the promise itself that must be so.
    pub fn assert_in_time(&self) {
        let unwanted = self.said_without_a_lease();
        assert!(unwanted.is_empty(), "{} of a node without a lease: {:#?}", unwanted.len(), first(&unwanted));
        let again = self.answers_again();
        let late = again.iter().filter(|time| **time > ANSWERS_WITHIN).count();
        assert!(late * 2 <= again.len(), "answered again after {again:?}");
        assert!(again.iter().all(|time| *time <= ANSWERS_WITHIN + SLACK), "answered again after {again:?}");
        let [_, follower, _] = self.revokes();
        let late: Vec<_> = follower.iter().filter(|time| **time > REVOKE_WITHIN + SLACK).collect();
        assert!(late.is_empty(), "with one node gone a REVOKE took {late:?}");
    }
}

/// So many as people read.
pub fn first(faults: &[String]) -> &[String] {
    &faults[..faults.len().min(10)]
}

fn line(times: &[Duration]) -> String {
    let Some(longest) = times.last() else { return "never".to_owned() };
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    format!("p50 {:.1?}, p99 {:.1?}, longest {longest:.1?} (n {})", at(50), at(99), times.len())
}
