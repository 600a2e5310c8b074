//! Reading: an index that is fresh enough, and a state that has reached it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use grantd_catalog::id::Version;
use grantd_catalog::view::View;
use openraft::ReadPolicy;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use openraft::raft::linearizable_read::LinearizerOption;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use crate::handle::{Checksum, Node, lock};
use crate::machine::{history_from_record, time_of_record, version_of_record};
use crate::message::{self, NoAnswerV1, ReadIndexedV1};
use crate::rows::{Past, Transaction};
use crate::transport::{RequestKind, TransportError};
use crate::write::Unavailable;

/// How long a leader waits for a quorum before it says that it has none.
const ROUND_TIMEOUT: Duration = Duration::from_secs(1);
/// The pause before a leader is asked again, when nothing changed.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// ReadIndex rounds, shared by whoever came in before one began.
#[derive(Default)]
pub(super) struct Rounds {
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    running: bool,
    waiting: Vec<oneshot::Sender<Result<u64, NoAnswerV1>>>,
}

impl Node {
    pub(super) async fn linearizable_until(
        self: &Arc<Self>,
        deadline: Instant,
    ) -> Result<Arc<View>, Unavailable> {
        let index = self.read_index(deadline).await?;
        self.at_least(Version(index), deadline).await
    }

    pub(super) async fn at_least(
        &self,
        version: Version,
        deadline: Instant,
    ) -> Result<Arc<View>, Unavailable> {
        let published = self.machine.published();
        let view = published.view();
        if view.version() >= version {
            return Ok(view);
        }
        let mut versions = published.watch();
        match timeout_at(deadline, versions.wait_for(|reached| *reached >= version)).await {
            Ok(Ok(_)) => Ok(published.view()),
            Ok(Err(_)) => Err(Unavailable::Stopping),
            Err(_) => Err(Unavailable::NoLeader(self.tuning.request_timeout)),
        }
    }

    /// An index that contains everything that was acknowledged before the call.
    async fn read_index(self: &Arc<Self>, deadline: Instant) -> Result<u64, Unavailable> {
        loop {
            if self.is_stopping() {
                return Err(Unavailable::Stopping);
            }
            if self.cluster.get().is_none() {
                return Err(Unavailable::NotInitialized);
            }
            let answer = match self.leader() {
                Some(leader) if leader == self.id => {
                    let confirmed = timeout_at(deadline, self.confirmed_index()).await;
                    confirmed.unwrap_or(Err(NoAnswerV1::NoQuorum))
                }
                Some(leader) => self.ask_index(leader, deadline).await,
                None => Err(NoAnswerV1::NotLeader { leader: None }),
            };
            match answer {
                Ok(index) => return Ok(index),
                Err(NoAnswerV1::Stopping) if self.is_stopping() => return Err(Unavailable::Stopping),
                // A read may be asked for again whatever happened to it.
                Err(_) => self.pause_for_leader(deadline).await?,
            }
        }
    }

    /// Waits for another leader, a little, or until `deadline`.
    pub(super) async fn pause_for_leader(&self, deadline: Instant) -> Result<(), Unavailable> {
        let mut metrics = self.raft.server_metrics();
        metrics.borrow_and_update();
        let pause = (Instant::now() + RETRY_PAUSE).min(deadline);
        // Whatever ends the pause, the caller looks again.
        let _ = timeout_at(pause, metrics.changed()).await;
        if Instant::now() >= deadline {
            return Err(Unavailable::NoLeader(self.tuning.request_timeout));
        }
        Ok(())
    }

    async fn ask_index(&self, leader: u64, deadline: Instant) -> Result<u64, NoAnswerV1> {
        let info = self.member(leader).ok_or(NoAnswerV1::NotLeader { leader: None })?;
        let timeout = deadline.saturating_duration_since(Instant::now());
        let asked = self.call_leader(leader, info, RequestKind::ReadIndex, message::encode(&()), timeout);
        let bytes = asked.await.map_err(|error: TransportError| NoAnswerV1::Unknown(error.to_string()))?;
        let answer: ReadIndexedV1 =
            message::decode(&bytes).map_err(|error| NoAnswerV1::Unknown(error.to_string()))?;
        answer
    }

    /// As leader: the index of a round that begins after the call.
    pub(super) async fn confirmed_index(self: &Arc<Self>) -> Result<u64, NoAnswerV1> {
        let (sender, receiver) = oneshot::channel();
        let begin = {
            let mut queue = lock(&self.rounds.queue);
            queue.waiting.push(sender);
            !std::mem::replace(&mut queue.running, true)
        };
        if begin {
            // A task of its own: a caller that gives up must not take the others with it.
            tokio::spawn(Arc::clone(self).run_rounds());
        }
        receiver.await.unwrap_or(Err(NoAnswerV1::Stopping))
    }

    async fn run_rounds(self: Arc<Self>) {
        loop {
            let waiting = {
                let mut queue = lock(&self.rounds.queue);
                queue.running = !queue.waiting.is_empty();
                std::mem::take(&mut queue.waiting)
            };
            if waiting.is_empty() {
                return;
            }
            let answer = self.round().await;
            let rounds =
                if answer.is_ok() { &self.metrics.rounds_confirmed } else { &self.metrics.rounds_failed };
            rounds.increment(1);
            for sender in waiting {
                // Who gave up is gone.
                let _ = sender.send(answer.clone());
            }
        }
    }

    async fn round(&self) -> Result<u64, NoAnswerV1> {
        // Never `LeaseRead`: a follower that restarts quickly votes at once, and the old leader would go on serving.
        let option = LinearizerOption::from(ReadPolicy::ReadIndex).with_wait_timeout(ROUND_TIMEOUT);
        match self.raft.get_read_linearizer(option).await {
            Ok(linearizer) => Ok(linearizer.read_log_id().index()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(NoAnswerV1::NotLeader { leader: forward.leader_id })
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => Err(NoAnswerV1::NoQuorum),
            Err(RaftError::Fatal(_)) => Err(NoAnswerV1::Stopping),
        }
    }

    pub(super) async fn read_rows<T: Send + 'static>(
        &self,
        read: impl FnOnce(Version, &mut dyn Transaction) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let unread = |error: String| Unavailable::Unknown(format!("the row store cannot be read: {error}"));
        // All readers may be taken for long; who waits for one is told so, and may ask another node.
        let acquired = timeout_at(self.deadline(), self.machine.readers().acquire()).await;
        let reader = acquired.map_err(|_| Unavailable::Busy)?;
        let mut reader = reader.map_err(|error| unread(error.to_string()))?;
        let run = move || reader.read(|applied, rows| read(version_of_record(applied.as_deref()), rows));
        match tokio::task::spawn_blocking(run).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(unread(error.to_string())),
            Err(panicked) => Err(unread(panicked.to_string())),
        }
    }

    pub(super) async fn past<T: Send + 'static>(
        &self,
        read: impl FnOnce(Version, &Past<'_>) -> T + Send + 'static,
    ) -> Result<T, Unavailable> {
        let unread = |error: String| Unavailable::Unknown(format!("the row store cannot be read: {error}"));
        let acquired = timeout_at(self.deadline(), self.machine.readers().acquire()).await;
        let reader = acquired.map_err(|_| Unavailable::Busy)?;
        let mut reader = reader.map_err(|error| unread(error.to_string()))?;
        let times = |last: Option<Vec<u8>>, history: Option<Vec<u8>>| {
            (time_of_record(last.as_deref()), history_from_record(history.as_deref()))
        };
        let run =
            move || reader.past(times, |applied, past| read(version_of_record(applied.as_deref()), past));
        match tokio::task::spawn_blocking(run).await {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(error)) => Err(unread(error.to_string())),
            Err(panicked) => Err(unread(panicked.to_string())),
        }
    }

    pub(super) async fn checksum(&self) -> Result<Checksum, Unavailable> {
        let unread = |error: String| Unavailable::Unknown(format!("the row store cannot be read: {error}"));
        let reader = self.machine.readers().acquire().await;
        let mut reader = reader.map_err(|error| unread(error.to_string()))?;
        let read = tokio::task::spawn_blocking(move || reader.checksum()).await;
        let (applied, catalog, tables) =
            read.map_err(|error| unread(error.to_string()))?.map_err(|error| unread(error.to_string()))?;
        let tables = tables.into_iter().map(|table| (table.name, table.rows, table.crc)).collect();
        Ok(Checksum { version: version_of_record(applied.as_deref()), catalog, tables })
    }
}
