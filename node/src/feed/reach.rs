//! The sink of a changefeed that is a job: resolved anew at each beginning, so that it follows its external connection, and tried
//! once before the job is made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use grantd_catalog::id::Timestamp;
use grantd_catalog::refusal::{Refusal, state};
use grantd_catalog::view::View;

use super::details::Details;
use super::meters::Meters;
use super::options::Options;
use super::sink::{Class, Message, Opener, Sink, SinkError, open};
use crate::cloud::connection::Target;
use crate::cloud::outside::Outside;
use crate::cloud::route::{Operation, Who, route};
use crate::cloud::settings::ChainSettings;
use crate::cloud::storage::StorageSettings;
use crate::cloud::uri::Uri;
use crate::gate::log_now;

/// How long a sink is tried before the job is made: a chain that is new, a connection, topics that are made. Whoever makes the
/// feed waits for it.
pub const CANARY_TIME_MAX: Duration = Duration::from_secs(60);
/// What the try is called in the cloud's audit log and in SHOW CREDENTIALS.
const CANARY: &str = "create";

/// What a feed's details come to on a view: the ways to its sink, and its options there.
pub fn resolve(outside: &Outside, view: &View, details: &Details) -> Result<(Target, Options), Refusal> {
    let options = Options::parse(&details.options.0, details.made_at)?;
    let target = outside.sink(view, details.sink.expose(), options.unordered)?;
    let options = options.for_sink(first(&target)?)?;
    Ok((target, options))
}

/// The way by which topics and options are what they are.
pub fn first(target: &Target) -> Result<&Uri, Refusal> {
    target.ways.first().ok_or_else(no_way)
}

fn no_way() -> Refusal {
    Refusal::new(state::INVALID_PARAMETER_VALUE, "the external connection has no URI")
}

/// Opens a sink and throws it away: what is wrong with credentials, address or topics is told at once. By the second way if the
/// first does not work.
pub async fn canary(outside: &Outside, view: &View, user: &str, details: &Details) -> Result<(), Refusal> {
    let (target, options) = resolve(outside, view, details)?;
    if outside.storages().is_none() {
        return Ok(());
    }
    let topics: Vec<Arc<str>> = details.topics.iter().map(|topic| topic.as_str().into()).collect();
    let mut refused = None;
    for way in &target.ways {
        let tried = try_way(outside, view, (CANARY, user), way, &options, &topics, details.made_at);
        match tokio::time::timeout(CANARY_TIME_MAX, tried).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => {
                refused.get_or_insert(error.refusal());
            }
            Err(_elapsed) => {
                let late = format!("the sink did not answer within {} s", CANARY_TIME_MAX.as_secs());
                refused.get_or_insert(SinkError::new(Class::Retryable, &late).refusal());
            }
        }
    }
    refused.map_or(Ok(()), Err)
}

async fn try_way(
    outside: &Outside,
    view: &View,
    (task, user): (&str, &str),
    way: &Uri,
    options: &Options,
    topics: &[Arc<str>],
    after: Timestamp,
) -> Result<(), SinkError> {
    // A bucket is asked nothing before there is something to write: but its credentials are there or not.
    let cluster = outside.cluster();
    let who = Who { cluster: &cluster, node: outside.gate().node_id(), task, user };
    let routed = route(way, Operation::Changefeed, &who, &ChainSettings::of(view)).map_err(unusable)?;
    if let (Some(route), Some(broker)) = (&routed, outside.broker()) {
        let failed = |text: String| SinkError::new(Class::Credential, &text);
        let credentials = broker.open(&route.chain, "a changefeed that is made");
        let credentials = credentials.map_err(|error| failed(error.to_string()))?;
        let lease = credentials.lease_within(Duration::ZERO, CANARY_TIME_MAX).await;
        lease.map_err(|error| failed(error.to_string()))?;
    }
    let mut sink = open_way(outside, view, (task, user), way, options, topics).await?;
    sink.begin(after).await
}

async fn open_way(
    outside: &Outside,
    view: &View,
    (task, user): (&str, &str),
    way: &Uri,
    options: &Options,
    topics: &[Arc<str>],
) -> Result<Box<dyn Sink>, SinkError> {
    let (Some(storages), Some(broker)) = (outside.storages(), outside.broker()) else {
        return Err(SinkError::new(Class::Retryable, "this node reaches nothing outside"));
    };
    let cluster = outside.cluster();
    let opener = Opener {
        storages,
        broker,
        of_node: outside.settings(),
        chains: &ChainSettings::of(view),
        custom_ca: &StorageSettings::of(view).custom_ca,
        who: Who { cluster: &cluster, node: outside.gate().node_id(), task, user },
    };
    open(way, options, topics, &opener).await
}

/// The sink of a job. Whatever is in its way is waited out: an external connection that is gone or leads elsewhere may come back.
pub struct Followed<'f> {
    /// What this node reaches.
    pub outside: &'f Outside,
    /// What the feed was made as.
    pub details: &'f Details,
    /// Where its messages go.
    pub topics: &'f [Arc<str>],
    /// How the messages of this run look.
    pub options: &'f Options,
    /// The scheme of the sink of this run.
    pub scheme: &'static str,
    /// The job, as clouds and operators read it.
    pub task: String,
    /// As whom.
    pub user: String,
    /// What it counts.
    pub meters: &'f Meters,
    /// None: nothing is open.
    pub open: Option<Box<dyn Sink>>,
    /// How often something was wrong: the next way is taken then.
    pub troubles: usize,
    /// The commit of the oldest message that was not flushed.
    pub oldest: Option<Timestamp>,
}

impl Followed<'_> {
    async fn reopen(&mut self) -> Result<Box<dyn Sink>, SinkError> {
        let view = self.outside.gate().pinned_view().await.map_err(waits)?;
        let (target, options) = resolve(self.outside, &view, self.details).map_err(waits)?;
        let turn = self.troubles % target.ways.len().max(1);
        let Some(way) = target.ways.get(turn) else { return Err(waits(no_way())) };
        if way.scheme() != self.scheme || options != *self.options {
            let message =
                format!("the sink is of type {} now, and was of type {}", way.scheme(), self.scheme);
            return Err(SinkError::new(Class::Retryable, &message)
                .with_hint("PAUSE JOB and RESUME JOB take the new one"));
        }
        let opened =
            open_way(self.outside, &view, (&self.task, &self.user), way, &options, self.topics).await;
        opened.map_err(|error| SinkError { class: Class::Retryable, ..error })
    }

    fn sink(&mut self) -> Result<&mut Box<dyn Sink>, SinkError> {
        self.open.as_mut().ok_or_else(|| SinkError::new(Class::Retryable, "the sink was not opened"))
    }

    /// What came of a request to the sink.
    fn came<T>(&mut self, came: Result<T, SinkError>) -> Result<T, SinkError> {
        if came.is_err() {
            self.troubles += 1;
        }
        came
    }
}

#[async_trait]
impl Sink for Followed<'_> {
    async fn begin(&mut self, after: Timestamp) -> Result<(), SinkError> {
        self.open = None;
        self.oldest = None;
        let opened = self.reopen().await;
        let mut sink = self.came(opened)?;
        let begun = sink.begin(after).await;
        self.came(begun)?;
        self.open = Some(sink);
        Ok(())
    }

    async fn emit(&mut self, messages: Vec<Message>) -> Result<(), SinkError> {
        let bytes =
            messages.iter().map(|message| message.key.len() + message.value.as_ref().map_or(0, Vec::len));
        let (count, bytes) = (messages.len() as u64, bytes.sum::<usize>() as u64);
        let first = messages.first().map(|message| message.updated);
        let emitted = self.sink()?.emit(messages).await;
        self.came(emitted)?;
        self.meters.emitted(count, bytes);
        self.oldest = self.oldest.or(first);
        Ok(())
    }

    async fn flush(&mut self, frontier: Timestamp) -> Result<(), SinkError> {
        let began = Instant::now();
        let flushed = self.sink()?.flush(frontier).await;
        self.came(flushed)?;
        let since = |oldest: Timestamp| {
            Duration::from_nanos(log_now().nanos.saturating_sub(oldest.nanos)).max(began.elapsed())
        };
        self.meters.flushed(self.oldest.take().map(since));
        Ok(())
    }

    async fn resolved(&mut self, time: Timestamp, message: &[u8]) -> Result<(), SinkError> {
        let told = self.sink()?.resolved(time, message).await;
        self.came(told)
    }

    fn linger(&self) -> Option<Duration> {
        self.open.as_ref().and_then(|sink| sink.linger())
    }
}

/// What may be right again later.
fn waits(refusal: Refusal) -> SinkError {
    SinkError { class: Class::Retryable, message: refusal.message, hint: refusal.hint }
}

fn unusable(refusal: Refusal) -> SinkError {
    SinkError { class: Class::Terminal, message: refusal.message, hint: refusal.hint }
}
