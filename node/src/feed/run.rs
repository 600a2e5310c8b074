//! Does what the plan says, until the feed ends. Dropped, it stops: what was kept holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use grantd_catalog::id::Timestamp;
use grantd_catalog::refusal::{Refusal, state};

use super::encode::{Encoder, Row};
use super::plan::{Change, End, Feed, Plan, Progress, RowVersion, Step};
use super::sink::{Class, Message, Sink, SinkError, share};
use super::source::Source;

/// Where a feed's progress is kept, and who is told how it is.
#[async_trait]
pub trait Keeper: Send + Sync {
    /// Keeps how far the feed is, for good. Who is not the feed's owner any more must not succeed.
    async fn keep(&self, progress: Progress) -> Result<(), NotKept>;
    /// How it is, after each page and each trouble.
    fn report(&self, report: Report<'_>);
}

/// Why progress was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// Somebody else runs the feed.
    Lost,
    /// It may be kept later.
    Later(Refusal),
}

/// How a feed is.
#[derive(Clone, Copy, Debug)]
pub struct Report<'r> {
    /// All up to here was handed to the sink.
    pub frontier: Timestamp,
    /// By how much that is behind what this node knows, in nanoseconds.
    pub behind_nanos: u64,
    /// Messages since the run began.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How often it began again.
    pub retries: u64,
    /// Why it waits. None: it does not.
    pub trouble: Option<&'r str>,
    /// From when on the history is to be held for it.
    pub needs_history_after: Timestamp,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself.
    Feed(End),
    /// Somebody else runs it.
    Lost,
}

/// How long is waited before it begins again. Source: cloud-jobs specification, D.8.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// After the first trouble; then twice as long each time.
    pub first: Duration,
    /// At most. After so long without trouble it is the first again.
    pub most: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first: Duration::from_secs(5), most: Duration::from_secs(600) }
    }
}

/// A feed that runs.
pub struct Run<'r> {
    feed: &'r Feed,
    topics: Vec<Arc<str>>,
    encoder: Encoder,
    source: &'r Source,
    keeper: &'r dyn Keeper,
    pace: Pace,
    progress: Progress,
    messages: u64,
    bytes: u64,
    retries: u64,
}

/// Why a try ended.
enum Fault {
    /// It begins again.
    Again(String),
    /// It does not.
    Ended(Ended),
}

impl<'r> Run<'r> {
    /// A feed that goes on from what was kept. `topics`: of each target.
    pub fn new(
        feed: &'r Feed,
        progress: Progress,
        topics: Vec<Arc<str>>,
        source: &'r Source,
        keeper: &'r dyn Keeper,
        pace: Pace,
    ) -> Self {
        let encoder = Encoder::new(feed.options.message);
        Self { feed, topics, encoder, source, keeper, pace, progress, messages: 0, bytes: 0, retries: 0 }
    }

    /// Runs it into a sink. Trouble of the sink, of credentials and of the cluster is waited out.
    pub async fn into(mut self, sink: &mut dyn Sink) -> Ended {
        let mut pause = self.pace.first;
        loop {
            let began = Instant::now();
            let trouble = match self.once(sink).await {
                Ok(end) => return Ended::Feed(end),
                Err(Fault::Ended(ended)) => return ended,
                Err(Fault::Again(trouble)) => trouble,
            };
            if began.elapsed() >= self.pace.most {
                pause = self.pace.first;
            }
            self.retries += 1;
            tracing::warn!(trouble, retries = self.retries, "a changefeed begins again");
            let frontier = self.feed.tables_at(self.progress);
            self.report(frontier, frontier, frontier, Some(&trouble));
            tokio::time::sleep(share(pause)).await;
            pause = pause.saturating_mul(2).min(self.pace.most);
        }
    }

    /// From what was kept to the next trouble.
    async fn once(&mut self, sink: &mut dyn Sink) -> Result<End, Fault> {
        let (objects, types) = self.source.tables(self.feed.tables_at(self.progress)).await?;
        let began = Instant::now();
        let plan = Plan::new(self.feed, self.progress, objects, types, Duration::ZERO);
        let mut plan = plan.map_err(|refusal| Fault::Ended(Ended::Feed(End::Failed(refusal))))?;
        sink.begin(self.feed.sent_up_to(self.progress)).await?;
        let mut held_since: Option<Instant> = None;
        loop {
            if let (Some(linger), Some(since)) = (sink.linger(), held_since)
                && since.elapsed() >= linger
            {
                sink.flush(plan.frontier()).await?;
                held_since = None;
            }
            match plan.next(began.elapsed()) {
                Step::Scan(scan) => {
                    let topic = Arc::clone(&self.topics[scan.target]);
                    let mut spool = self.source.scan(&scan, self.encoder, topic).await?;
                    loop {
                        let batch = spool.batch().map_err(|error| Fault::Again(error.to_string()))?;
                        if batch.is_empty() {
                            break;
                        }
                        held_since.get_or_insert_with(Instant::now);
                        self.emit(sink, batch).await?;
                    }
                    plan.scanned();
                }
                Step::Read { after, up_to } => {
                    let page = self.source.page(after, up_to, plan.enum_types()).await?;
                    let known = page.known;
                    let changes = plan.read(page);
                    if !changes.is_empty() {
                        held_since.get_or_insert_with(Instant::now);
                        let messages = self.messages_of(&changes)?;
                        self.emit(sink, messages).await?;
                    }
                    self.report(plan.frontier(), known, plan.needs_history_after(), None);
                }
                Step::Flush(frontier) => {
                    sink.flush(frontier).await?;
                    held_since = None;
                    plan.flushed();
                }
                Step::Keep(progress) => {
                    self.keep(progress).await?;
                    plan.kept(began.elapsed());
                }
                Step::Resolve(time) => {
                    sink.resolved(time, &self.encoder.resolved(time)).await?;
                    plan.told(began.elapsed());
                }
                Step::Wait(most) => {
                    tokio::time::sleep(most).await;
                    plan.look_again();
                }
                Step::End(end) => return Ok(end),
            }
        }
    }

    fn messages_of(&self, changes: &[Change]) -> Result<Vec<Message>, Fault> {
        let shape = |version: &Option<RowVersion>| version.as_ref().map(|version| Arc::clone(&version.shape));
        let each = changes.iter().map(|change| {
            let topic = &self.topics[change.target];
            let row = Row {
                before: change.before.as_ref().map(|version| (&*version.shape, version.row.as_slice())),
                after: change.after.as_ref().map(|version| (&*version.shape, version.row.as_slice())),
                updated: change.updated,
                topic,
            };
            Ok(Message {
                topic: Arc::clone(topic),
                key: self.encoder.key(&row)?,
                value: self.encoder.value(&row)?,
                updated: change.updated,
                shape: shape(&change.after).or_else(|| shape(&change.before)).unwrap_or_default(),
            })
        });
        each.collect::<Result<_, Refusal>>().map_err(Fault::from)
    }

    async fn emit(&mut self, sink: &mut dyn Sink, messages: Vec<Message>) -> Result<(), Fault> {
        let length = |message: &Message| message.key.len() + message.value.as_ref().map_or(0, Vec::len);
        let (count, bytes) = (messages.len() as u64, messages.iter().map(length).sum::<usize>() as u64);
        sink.emit(messages).await?;
        self.messages += count;
        self.bytes += bytes;
        Ok(())
    }

    async fn keep(&mut self, progress: Progress) -> Result<(), Fault> {
        match self.keeper.keep(progress).await {
            Ok(()) => {
                self.progress = progress;
                Ok(())
            }
            Err(NotKept::Lost) => Err(Fault::Ended(Ended::Lost)),
            Err(NotKept::Later(refusal)) => Err(Fault::from(refusal)),
        }
    }

    fn report(
        &self,
        frontier: Timestamp,
        known: Timestamp,
        needs_history_after: Timestamp,
        trouble: Option<&str>,
    ) {
        self.keeper.report(Report {
            frontier,
            behind_nanos: known.nanos.saturating_sub(frontier.nanos),
            messages: self.messages,
            bytes: self.bytes,
            retries: self.retries,
            trouble,
            needs_history_after,
        });
    }
}

impl From<SinkError> for Fault {
    fn from(error: SinkError) -> Self {
        match error.class {
            Class::Retryable | Class::Credential => Self::Again(error.message),
            Class::Terminal => Self::Ended(Ended::Feed(End::Failed(error.refusal()))),
        }
    }
}

impl From<Refusal> for Fault {
    /// Of the history and the cluster. What stays so ends the feed: who may not any more, a table that is gone, history that is.
    fn from(refusal: Refusal) -> Self {
        let stays = [
            state::INSUFFICIENT_PRIVILEGE,
            state::UNDEFINED_TABLE,
            state::UNDEFINED_OBJECT,
            state::FEATURE_NOT_SUPPORTED,
            state::PROGRAM_LIMIT_EXCEEDED,
        ];
        if stays.contains(&refusal.code) || refusal.code.as_str() == SNAPSHOT_TOO_OLD {
            return Self::Ended(Ended::Feed(End::Failed(refusal)));
        }
        Self::Again(refusal.message)
    }
}

/// PostgreSQL's code for history that was collected.
const SNAPSHOT_TOO_OLD: &str = "72000";
