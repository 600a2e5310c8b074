//! The transaction that holds the writer: opened in its turn, asked, committed, or ended from here.

use std::collections::VecDeque;
use std::time::Instant;

use grantd_catalog::command::{Done, Outcome};
use grantd_catalog::id::{Timestamp, Version};
use grantd_catalog::refusal::Refusal;
use tokio::sync::oneshot;

use crate::machine::core::{Core, MachineError, RETRY, retry};
use crate::machine::open::{Answer, Open, leader_lost, open_too_long, over};
use crate::machine::writer::{Act, Committing, Flight, Holder, Leadership, Settled, Waiting, Work, Writer};
use crate::types::CommittedLeaderId;
use crate::write::{Receipt, TransactionError, Unavailable};

impl Writer {
    /// When the machine must look at the transaction again, if nothing else makes it.
    pub(in crate::machine) fn deadline(&self) -> Option<Instant> {
        match &self.holder {
            Holder::Open(open) => open.began().checked_add(self.transaction_time),
            Holder::Nobody | Holder::Committing(_) => None,
        }
    }

    /// Opens the transaction that is first in the queue.
    pub(super) fn open(&mut self, core: &mut Core, leader: CommittedLeaderId) {
        let Some(waiting) = self.queue.pop_front() else { return };
        if !waiting.take() {
            return;
        }
        let Work::Begin { number, read } = &waiting.work else { return };
        let version = core.view().version();
        if read.as_ref().is_some_and(|read| !core.is_unchanged(read)) {
            waiting.done(version, vec![Outcome::Refused(read_changed())]);
            return;
        }
        let open = Open::new(*number, leader, core.last_data());
        self.hand_to(Holder::Open(Box::new(open)));
        waiting.done(version, vec![Outcome::Done(Done::default())]);
    }

    /// Ends a transaction that cannot go on: this node does not lead any more, or it was open for too long.
    pub(super) fn check_holder(&mut self, core: &mut Core) -> Result<(), MachineError> {
        let Some(proposer) = &self.proposer else { return Ok(()) };
        let leads = |leader| proposer.leadership() == Leadership::Leads(leader);
        match &self.holder {
            Holder::Open(open) if !leads(open.leader()) => self.end(core, leader_lost()),
            Holder::Open(open) if open.began().elapsed() >= self.transaction_time => {
                self.end(core, open_too_long(self.transaction_time))
            }
            // What is in flight of it is settled by itself.
            Holder::Committing(committing) if self.flight.is_none() && !leads(committing.leader) => {
                self.answer_commit(Err(Unavailable::NotLeader { leader: None }));
                Ok(())
            }
            Holder::Nobody | Holder::Open(_) | Holder::Committing(_) => Ok(()),
        }
    }

    fn end(&mut self, core: &mut Core, why: Refusal) -> Result<(), MachineError> {
        if let Holder::Open(open) = self.hand_to(Holder::Nobody) {
            self.ended = Some((open.number(), why));
            core.suspend()?;
        }
        Ok(())
    }

    /// Does what is asked of transaction `number`.
    pub(in crate::machine) fn act(
        &mut self,
        core: &mut Core,
        number: u64,
        act: Act,
    ) -> Result<(), MachineError> {
        self.check_holder(core)?;
        let open = match &mut self.holder {
            Holder::Open(open) if open.number() == number => open,
            Holder::Nobody | Holder::Open(_) | Holder::Committing(_) => {
                self.refuse(number, act);
                return Ok(());
            }
        };
        // Who asked and is gone does not want the answer.
        let lost = match act {
            Act::Run(write, answer) => tell(answer, open.run(core, &write)?),
            Act::Propose(proposal, answer) => tell(answer, open.propose(core, proposal)?),
            Act::View(answer) => tell(answer, open.view(core)?),
            Act::Mark(answer) => tell(answer, Ok(open.mark())),
            Act::RollBackTo(mark, answer) => tell(answer, open.roll_back_to(core, &mark)?),
            Act::Bytes(answer) => tell(answer, Ok(open.bytes())),
            Act::Commit(answer) => return self.commit(core, answer),
            Act::RollBack => Some(over()),
        };
        match lost {
            None => Ok(()),
            Some(why) => self.end(core, why),
        }
    }

    /// Answers what is asked of a transaction that is not open.
    fn refuse(&mut self, number: u64, act: Act) {
        let why = match &self.ended {
            Some((ended, why)) if *ended == number => why.clone(),
            Some(_) | None => over(),
        };
        let lost = || TransactionError::Lost(why.clone());
        match act {
            Act::Run(_, answer) => drop(answer.send(Err(lost()))),
            Act::Propose(_, answer) => drop(answer.send(Err(lost()))),
            Act::View(answer) => drop(answer.send(Err(lost()))),
            Act::Mark(answer) => drop(answer.send(Err(lost()))),
            Act::RollBackTo(_, answer) => drop(answer.send(Err(lost()))),
            Act::Bytes(answer) => drop(answer.send(Err(lost()))),
            Act::Commit(answer) => {
                let outcomes = vec![Outcome::Refused(why.clone())];
                drop(answer.send(Ok(Receipt { version: Version(0), outcomes })));
            }
            // Perhaps it was never opened.
            Act::RollBack => {
                let is_it = |waiting: &Waiting| matches!(waiting.work, Work::Begin { number: waits, .. } if waits == number);
                self.queue.retain(|waiting| !is_it(waiting));
            }
        }
    }

    fn commit(
        &mut self,
        core: &mut Core,
        answer: oneshot::Sender<Result<Receipt, Unavailable>>,
    ) -> Result<(), MachineError> {
        let Holder::Open(open) = self.hand_to(Holder::Nobody) else { return Ok(()) };
        core.suspend()?;
        let (version, leader) = (core.view().version(), open.leader());
        let entries = if core.last_data() == open.base() { open.into_entries() } else { Err(retry()) };
        let outcome = match entries {
            Ok(Some(entries)) => {
                let (entries, turn) = (VecDeque::from(entries), self.turn());
                self.hand_to(Holder::Committing(Committing { entries, turn, answer, leader }));
                return Ok(());
            }
            Ok(None) => Outcome::Done(Done::default()),
            Err(refusal) => Outcome::Refused(refusal),
        };
        let _ = answer.send(Ok(Receipt { version, outcomes: vec![outcome] }));
        Ok(())
    }

    /// Proposes the next entry of the transaction that is committing.
    pub(super) fn propose_commit(&mut self, last: Timestamp) {
        let Holder::Committing(committing) = &mut self.holder else { return };
        let Some(body) = committing.entries.pop_front() else { return };
        let leader = committing.leader;
        self.flight = Some(Flight::Transaction);
        if !self.send(leader, body, last) {
            self.flight = None;
            self.answer_commit(Err(Unavailable::Busy));
        }
    }

    pub(super) fn settled_transaction(&mut self, settled: Settled) {
        let turn = self.turn();
        let Holder::Committing(committing) = &mut self.holder else { return };
        let was_last = committing.entries.is_empty();
        match settled {
            Settled::Applied { index, mut reply } if was_last => {
                let outcomes = reply.pop().unwrap_or_default();
                self.answer_commit(Ok(Receipt { version: Version(index), outcomes }));
            }
            // What waited for longer goes first.
            Settled::Applied { .. } => committing.turn = turn,
            Settled::NotLeader { leader } => self.answer_commit(Err(Unavailable::NotLeader { leader })),
            Settled::Unknown(reason) if was_last => self.answer_commit(Err(Unavailable::Unknown(reason))),
            // A stage has no effect by itself.
            Settled::Unknown(_) => self.answer_commit(Err(Unavailable::NotLeader { leader: None })),
        }
    }

    fn answer_commit(&mut self, answer: Result<Receipt, Unavailable>) {
        if let Holder::Committing(committing) = self.hand_to(Holder::Nobody) {
            let _ = committing.answer.send(answer);
        }
    }
}

/// Sends the answer. Some: the transaction cannot go on, and why.
fn tell<T>(to: oneshot::Sender<Answer<T>>, answer: Answer<T>) -> Option<Refusal> {
    let lost = match &answer {
        Err(TransactionError::Lost(why)) => Some(why.clone()),
        Ok(_) | Err(TransactionError::Refused(_) | TransactionError::Unavailable(_)) => None,
    };
    let _ = to.send(answer);
    lost
}

fn read_changed() -> Refusal {
    Refusal::new(RETRY, "restart transaction: what it read was changed before its first write")
        .with_hint("Run the transaction again.")
}
