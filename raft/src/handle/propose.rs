//! Writing: to the machine's writer if this node leads, else to the leader.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use grantd_catalog::command::Outcome;
use grantd_catalog::id::Version;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::ClientWriteError;
use openraft::raft::ClientWriteResult;
use tokio::sync::{Mutex, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::config::{NodeId, TURN_TIME_MAX};
use crate::entry::Proposal;
use crate::handle::grant::asked_length;
use crate::handle::{Node, Raft};
use crate::machine::{Leadership, Proposer, Settle, Settled, SharedWrite, Submission, Work};
use crate::message::{self, NoAnswerV1, ProposeV1, ProposedV1};
use crate::transport::{Peer, RequestKind, TransportError};
use crate::types::{Callback, CommittedLeaderId, EntryBytes, NodeInfo, TypeConfig};
use crate::write::{Receipt, RowWrite, Unavailable};

/// The machine's way into openraft.
pub(super) struct RaftProposer(pub(super) Raft);

impl Proposer for RaftProposer {
    fn leadership(&self) -> Leadership {
        match self.0.as_leader() {
            Ok(leader) => Leadership::Leads(leader.to_committed_leader_id()),
            Err(forward) => Leadership::Follows(forward.leader_id),
        }
    }

    fn propose(&self, leader: CommittedLeaderId, entry: EntryBytes, settle: Settle) -> bool {
        let callback = Callback::new(move |result: ClientWriteResult<TypeConfig>| {
            settle.tell(match result {
                Ok(written) => Settled::Applied { index: written.log_id.index, reply: written.data.0 },
                // Only what was never appended is answered so.
                Err(ClientWriteError::ForwardToLeader(forward)) => {
                    Settled::NotLeader { leader: forward.leader_id }
                }
                Err(error) => Settled::Unknown(error.to_string()),
            });
        });
        let sent = self.0.write(entry).responder(callback).with_leader(leader).into_future().now_or_never();
        // None: openraft's queue of 65,536 requests is full, and the request was not put into it.
        matches!(sent, Some(Ok(())))
    }
}

impl Node {
    pub(super) async fn propose(self: &Arc<Self>, proposal: Proposal) -> Result<Receipt, Unavailable> {
        let deadline = self.deadline();
        loop {
            if self.is_stopping() {
                return Err(Unavailable::Stopping);
            }
            if self.cluster.get().is_none() {
                return Err(Unavailable::NotInitialized);
            }
            let answer = match self.leader() {
                Some(leader) if leader == self.id => self.propose_here(proposal.clone(), deadline).await,
                Some(leader) => self.propose_there(leader, &proposal, deadline).await,
                None => Err(NoAnswerV1::NotLeader { leader: None }),
            };
            match answer {
                Ok(receipt) => {
                    // If it takes too long here, it is still done; the next read waits for it.
                    let _ = self.at_least(receipt.version, deadline).await;
                    return Ok(receipt);
                }
                Err(NoAnswerV1::Unknown(reason)) => return Err(Unavailable::Unknown(reason)),
                Err(NoAnswerV1::Busy) => return Err(Unavailable::Busy),
                // Nothing was proposed.
                Err(NoAnswerV1::NotLeader { .. } | NoAnswerV1::NoQuorum | NoAnswerV1::Stopping) => {
                    self.pause_for_leader(deadline).await?;
                }
            }
        }
    }

    /// On the leader: queues the proposal for the writer and waits.
    pub(super) async fn propose_here(
        &self,
        proposal: Proposal,
        deadline: Instant,
    ) -> Result<Receipt, NoAnswerV1> {
        let answer = self.submit(Work::Catalog(proposal), deadline).await;
        answer.map_err(|unavailable| match unavailable {
            Unavailable::NotLeader { leader } => NoAnswerV1::NotLeader { leader },
            Unavailable::NotInitialized => NoAnswerV1::NotLeader { leader: None },
            Unavailable::NoLeader(_) => NoAnswerV1::NoQuorum,
            Unavailable::Busy | Unavailable::Expired(_) => NoAnswerV1::Busy,
            Unavailable::Unknown(reason) => NoAnswerV1::Unknown(reason),
            Unavailable::Stopping => NoAnswerV1::Stopping,
        })
    }

    async fn propose_there(
        &self,
        leader: NodeId,
        proposal: &Proposal,
        deadline: Instant,
    ) -> Result<Receipt, NoAnswerV1> {
        let Some(info) = self.member(leader) else { return Err(NoAnswerV1::NotLeader { leader: None }) };
        let mut timeout = deadline.saturating_duration_since(Instant::now());
        if proposal.tightens() {
            // The leader holds the answer back for as long as somebody may decide without it.
            timeout += self.terms().wait();
        }
        if asked_length(proposal).is_some() {
            timeout += self.terms().wait();
        }
        let body = message::encode(&ProposeV1 { proposal: proposal.clone() });
        let asked = self.call_leader(leader, info, RequestKind::Propose, body, timeout).await;
        let bytes = asked.map_err(|error| match error {
            TransportError::Unreachable { .. } | TransportError::Refused { .. } => {
                NoAnswerV1::NotLeader { leader: None }
            }
            TransportError::Lost { .. } => NoAnswerV1::Unknown(error.to_string()),
        })?;
        let answer: ProposedV1 =
            message::decode(&bytes).map_err(|error| NoAnswerV1::Unknown(error.to_string()))?;
        answer.map(|(version, outcomes)| Receipt { version: Version(version), outcomes })
    }

    pub(super) async fn write_rows(
        self: &Arc<Self>,
        write: Box<dyn RowWrite>,
    ) -> (Box<dyn RowWrite>, Result<Receipt, Unavailable>) {
        let shared: SharedWrite = Arc::new(Mutex::new(Some(write)));
        let answer = self.submit(Work::Rows(Arc::clone(&shared)), self.deadline()).await;
        // If the writer runs it just now, until it has: the writer holds it for one run at a time.
        let write = shared.lock().await.take();
        (write.expect("only this call takes it"), self.confirmed(answer).await)
    }

    /// What a write was told that changed nothing and so went through no log: it says what the rows are, as a read does,
    /// and counts only if this node leads still.
    pub(super) async fn confirmed(
        self: &Arc<Self>,
        answer: Result<Receipt, Unavailable>,
    ) -> Result<Receipt, Unavailable> {
        let proposed = |receipt: &Receipt| {
            receipt.outcomes.iter().any(|outcome| matches!(outcome, Outcome::Done(done) if done.changed))
        };
        match answer {
            Ok(receipt) if !proposed(&receipt) => match self.confirmed_index().await {
                Ok(_) => Ok(receipt),
                Err(_) => Err(Unavailable::NotLeader { leader: None }),
            },
            answer => answer,
        }
    }

    pub(super) async fn submit(&self, work: Work, deadline: Instant) -> Result<Receipt, Unavailable> {
        let length = match &work {
            Work::Catalog(proposal) => asked_length(proposal),
            Work::Rows(_) | Work::Begin { .. } => None,
        };
        let Some(length) = length else { return self.submit_fenced(work, deadline, None).await };
        let _one_at_a_time = self.leases.resizing.lock().await;
        // What is waited for first takes as long as the longer lease is.
        let waited = deadline + self.terms().wait();
        let leading = self.make_leases_shorter(length, waited).await?;
        let answer = self.submit_fenced(
            work,
            deadline.max(Instant::now() + self.tuning.request_timeout),
            Some(leading.leader),
        );
        let answer = answer.await;
        self.resized(&leading, &answer);
        answer
    }

    /// `fence`: who is to propose it, if not just whoever leads here then.
    async fn submit_fenced(
        &self,
        work: Work,
        deadline: Instant,
        fence: Option<CommittedLeaderId>,
    ) -> Result<Receipt, Unavailable> {
        if self.is_stopping() {
            return Err(Unavailable::Stopping);
        }
        // Behind a transaction it would wait for longer than a proposal does, and nobody could stop it: who asks takes
        // a turn of its own, as a transaction.
        if self.machine.is_held() && work.takes_turns() {
            return Err(Unavailable::Busy);
        }
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else { return Err(Unavailable::Busy) };
        let (answer, mut receiver) = oneshot::channel();
        let taken = Arc::new(AtomicBool::new(false));
        // A proposal may come from another node, which does not wait for longer.
        let patience = match &work {
            Work::Catalog(_) => deadline,
            Work::Rows(_) | Work::Begin { .. } => Instant::now() + TURN_TIME_MAX,
        };
        let tightens = matches!(&work, Work::Catalog(proposal) if proposal.tightens());
        self.machine.submit(Submission { work, answer, taken: Arc::clone(&taken), permit, fence });
        let mut deadline = deadline;
        let answered = loop {
            let answered = timeout_at(deadline, &mut receiver).await;
            let waits_its_turn = !taken.load(Ordering::Acquire) && self.machine.is_held();
            if answered.is_ok() || !waits_its_turn || deadline >= patience {
                break answered;
            }
            deadline = (deadline + self.tuning.request_timeout).min(patience);
        };
        if let Ok(Ok(answer)) = answered {
            if let Ok(receipt) = &answer
                && tightens
                && receipt.is_done()
            {
                self.enforce(receipt.version).await;
            }
            return answer;
        }
        // Nobody answered in time, or the machine has stopped. Whoever takes it first decides what it became.
        match (taken.swap(true, Ordering::AcqRel), answered.is_err()) {
            (false, true) if self.machine.is_held() => Err(Unavailable::Busy),
            (false, true) => Err(Unavailable::NoLeader(self.tuning.request_timeout)),
            (false, false) => Err(Unavailable::Stopping),
            (true, true) => {
                let waited = self.tuning.request_timeout;
                Err(Unavailable::Unknown(format!("no quorum answered within {waited:?}")))
            }
            (true, false) => Err(Unavailable::Unknown("the node stopped before it was applied".to_owned())),
        }
    }

    /// Asks `leader`, and gives up as soon as another node is known to lead: a leader that died does not answer, and
    /// who waits for it must not wait for the transport to notice.
    pub(super) async fn call_leader(
        &self,
        leader: NodeId,
        info: NodeInfo,
        kind: RequestKind,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, TransportError> {
        let to = Peer::Member(leader, info);
        let mut metrics = self.raft.server_metrics();
        let another_leads =
            metrics.wait_until(|metrics| metrics.current_leader.is_some_and(|known| known != leader));
        tokio::select! {
            biased;
            answer = self.transport.call(&to, kind, body, timeout) => answer,
            _ = another_leads => Err(TransportError::Lost {
                peer: to.to_string(),
                cause: "another node leads now".to_owned(),
            }),
        }
    }

    pub(super) async fn forward(&self, request: Bytes, timeout: Duration) -> Result<Bytes, Unavailable> {
        match self.leader() {
            None => Err(Unavailable::NotLeader { leader: None }),
            Some(leader) => self.send(leader, request, timeout).await,
        }
    }

    pub(super) async fn send(
        &self,
        node: NodeId,
        request: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Unavailable> {
        if node == self.id {
            return match self.forward_handler() {
                None => Err(Unavailable::NotInitialized),
                Some(handler) => match tokio::time::timeout(timeout, handler.handle(node, request)).await {
                    Ok(answer) => Ok(answer),
                    Err(_) => Err(Unavailable::Unknown(format!("no answer within {timeout:?}"))),
                },
            };
        }
        let Some(info) = self.member(node) else { return Err(Unavailable::NotLeader { leader: None }) };
        let asked = if self.leader() == Some(node) {
            self.call_leader(node, info, RequestKind::Forward, request, timeout).await
        } else {
            self.transport.call(&Peer::Member(node, info), RequestKind::Forward, request, timeout).await
        };
        asked.map_err(|error| match error {
            TransportError::Unreachable { .. } | TransportError::Refused { .. } => {
                Unavailable::NotLeader { leader: None }
            }
            TransportError::Lost { .. } => Unavailable::Unknown(error.to_string()),
        })
    }
}
