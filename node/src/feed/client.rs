//! A changefeed whose messages go to the client that made it: it lives as long as somebody takes them, and nothing of it is kept.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use grantd_catalog::id::Timestamp;
use grantd_catalog::refusal::{Refusal, SqlState};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::plan::{End, Feed, Progress};
use super::run::{Ended, Keeper, NotKept, Pace, Report, Run};
use super::sink::{Class, Message, Sink, SinkError};
use super::source::Source;

/// One row for the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The table. None: it is a resolved message.
    pub table: Option<Arc<str>>,
    /// The key, as JSON.
    pub key: Option<Vec<u8>>,
    /// None: there is none.
    pub value: Option<Vec<u8>>,
}

/// Messages on their way to a client. Dropped, the feed ends.
#[derive(Debug)]
pub struct Stream {
    batches: mpsc::Receiver<Vec<Sent>>,
    feed: JoinHandle<Ended>,
}

impl Stream {
    /// Begins one. `tables`: what each target is called.
    pub fn start(feed: Feed, tables: Vec<Arc<str>>, source: Source) -> Self {
        let (sender, batches) = mpsc::channel(BATCHES_MAX);
        let feed = tokio::spawn(async move {
            let mut sink = ToClient(sender);
            let run = Run::new(&feed, Progress::default(), tables, &source, &Forgets, PACE);
            run.into(&mut sink).await
        });
        Self { batches, feed }
    }

    /// The next messages, once there are some. None: all that was asked for came. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Vec<Sent>>, Refusal> {
        if let Some(batch) = self.batches.recv().await {
            return Ok(Some(batch));
        }
        match (&mut self.feed).await {
            Ok(Ended::Feed(End::Succeeded) | Ended::Lost) => Ok(None),
            Ok(Ended::Feed(End::Failed(refusal))) => Err(refusal),
            Err(_panic) => Err(Refusal::new(INTERNAL, "the changefeed met a bug in this node")),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

/// Waits where the client does not read.
struct ToClient(mpsc::Sender<Vec<Sent>>);

impl ToClient {
    async fn send(&self, batch: Vec<Sent>) -> Result<(), SinkError> {
        let gone = |_| SinkError::new(Class::Terminal, "the client is gone");
        self.0.send(batch).await.map_err(gone)
    }
}

#[async_trait]
impl Sink for ToClient {
    async fn begin(&mut self, _after: Timestamp) -> Result<(), SinkError> {
        Ok(())
    }

    async fn emit(&mut self, messages: Vec<Message>) -> Result<(), SinkError> {
        let sent = |message: Message| Sent {
            table: Some(message.topic),
            key: Some(message.key),
            value: message.value,
        };
        self.send(messages.into_iter().map(sent).collect()).await
    }

    /// What was taken stands before all that comes.
    async fn flush(&mut self, _frontier: Timestamp) -> Result<(), SinkError> {
        Ok(())
    }

    async fn resolved(&mut self, _time: Timestamp, message: &[u8]) -> Result<(), SinkError> {
        self.send(vec![Sent { table: None, key: None, value: Some(message.to_vec()) }]).await
    }
}

/// What the client has it has.
struct Forgets;

#[async_trait]
impl Keeper for Forgets {
    async fn keep(&self, _progress: Progress) -> Result<(), NotKept> {
        Ok(())
    }

    fn report(&self, _report: Report<'_>) {}
}

/// Batches between the history and the client, each at most a page of it: the rest waits where it is.
const BATCHES_MAX: usize = 2;
/// Only the cluster can be in trouble here, and a client waits.
const PACE: Pace = Pace { first: Duration::from_millis(500), most: Duration::from_secs(10) };
const INTERNAL: SqlState = SqlState::new("XX000");
