//! The work of a changefeed that is a job: it reads as the job's owner, keeps how far it is in the job's record, and waits out
//! whatever is wrong with its sink.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use grantd_catalog::command::Actor;
use grantd_catalog::job::{Job, JobId};
use grantd_catalog::refusal::{Refusal, no_such_job, state};
use grantd_catalog::require::Requirement;
use grantd_catalog::view::View;
use tokio::sync::watch;
use tokio::time::sleep;

use super::details::Details;
use super::encode::shown;
use super::meters::{self, Meters};
use super::options::OnError;
use super::plan::{End, Feed, Progress};
use super::reach::{Followed, first, resolve};
use super::run::{Ended, Keeper, NotKept, Pace, Report, Run};
use super::source::{May, Source};
use crate::cloud::outside::Outside;
use crate::jobs::{Advance, Running, Stopped, Work};

/// How often a job's record says what is in its way, at most: each is an entry of the log.
const STATUS_EVERY: Duration = Duration::from_secs(5);
/// How long a feed waits whose sink cannot even be found out.
const UNRESOLVED_AGAIN: Duration = Duration::from_secs(30);

/// What a node does of changefeeds.
pub struct Changefeeds {
    outside: Outside,
    meters: Meters,
}

impl Changefeeds {
    /// Into what this node reaches.
    pub fn new(outside: Outside) -> Self {
        let meters = Meters::of(outside.gate().node_id());
        Self { outside, meters }
    }

    async fn feed(&self, running: &Running) -> Result<(), Stopped> {
        let id = running.id();
        let (view, _permit) = running.permit(&Requirement::NOTHING).await?;
        let Some(details) = Details::open(&running.job().asked.details) else {
            return Err(Stopped::Paused(
                "another release of grantd made this job; RESUME it there".to_owned(),
            ));
        };
        let resolved = resolve(&self.outside, &view, &details)
            .and_then(|(target, options)| Ok((first(&target)?.scheme(), options)));
        let (scheme, options) = resolved
            .map_err(|refusal| Stopped::Retry { error: refusal.message, after: Some(UNRESOLVED_AGAIN) })?;
        let on_error = options.on_error;
        let topics: Vec<Arc<str>> = details.topics.iter().map(|topic| topic.as_str().into()).collect();
        let feed = Feed::new(details.targets.clone(), options, details.made_at);
        let tables = feed.targets.iter().map(|target| target.table);
        let source = Source::new(running.gate().clone(), as_owner(id), tables);
        let high_water = running.job().progress.high_water;
        let (said, saying) = watch::channel(None);
        let keeper = Kept { running, meters: self.meters.begin(id, high_water), said };
        let mut sink = Followed {
            outside: &self.outside,
            details: &details,
            topics: &topics,
            options: &feed.options,
            scheme,
            task: format!("job{id}"),
            user: running.job().owner_name.to_string(),
            meters: &self.meters,
            open: None,
            troubles: 0,
            oldest: None,
        };
        let progress = Progress { high_water };
        let run = Run::new(&feed, progress, topics.clone(), &source, &keeper, Pace::default());
        let ended = tokio::select! {
            ended = run.into(&mut sink) => ended,
            stopped = tell(running, saying) => return Err(stopped),
        };
        match ended {
            Ended::Feed(End::Succeeded) => Ok(()),
            Ended::Lost => Err(Stopped::Asked),
            Ended::Feed(End::Failed(refusal)) => Err(self.failed(running, on_error, refusal)),
        }
    }

    /// Who may not any more waits for somebody to give the right back.
    fn failed(&self, running: &Running, on_error: OnError, refusal: Refusal) -> Stopped {
        let denied = running.gate().applied_view().state().may_run_job(running.id());
        if let Err(denied) = denied {
            return Stopped::Paused(denied.message);
        }
        let Refusal { code, message, .. } = refusal;
        if code == state::INSUFFICIENT_PRIVILEGE || on_error == OnError::Pause {
            return Stopped::Paused(message);
        }
        self.meters.failed();
        Stopped::Failed(message)
    }
}

#[async_trait]
impl Work for Changefeeds {
    async fn run(&self, running: &Running) -> Result<(), Stopped> {
        tokio::select! {
            ended = self.feed(running) => ended,
            // What was kept holds, and whoever goes on begins there.
            () = running.stopped() => Err(Stopped::Asked),
        }
    }

    /// What was sent cannot be taken back.
    async fn revert(&self, _running: &Running) -> Result<(), Stopped> {
        Ok(())
    }

    fn lacks(&self, view: &View, job: &Job) -> Option<String> {
        let details = Details::open(&job.asked.details)?;
        let (target, _options) = resolve(&self.outside, view, &details).ok()?;
        self.outside.lacks(&[target])
    }
}

/// As whom, and with which right: as the job's record says when it is asked, which is at every page.
fn as_owner(id: JobId) -> May {
    Arc::new(move |view: &View| {
        view.state().may_run_job(id)?;
        let job = view.state().job(id).ok_or_else(|| no_such_job(id))?;
        Ok((Actor::of(job.owner), job.asked.requirement.clone()))
    })
}

/// Keeps in the job's record.
struct Kept<'k> {
    running: &'k Running,
    meters: meters::Running,
    /// What is in the way.
    said: watch::Sender<Option<String>>,
}

#[async_trait]
impl Keeper for Kept<'_> {
    async fn keep(&self, progress: Progress) -> Result<(), NotKept> {
        let high_water = progress.high_water;
        let kept = self.running.report(Advance {
            high_water,
            running_status: high_water.map(|time| format!("running: resolved={}", shown(time))),
            protect_since: high_water,
            ..Advance::default()
        });
        // It says why itself: somebody else has the job, or it is gone.
        kept.await.map_err(|_stopped| NotKept::Lost)?;
        self.meters.kept(high_water);
        Ok(())
    }

    fn report(&self, report: Report<'_>) {
        self.meters.is(report.behind_nanos, report.retries);
        let trouble = report.trouble.map(str::to_owned);
        self.said.send_if_modified(|said| {
            let is_new = *said != trouble;
            *said = trouble;
            is_new
        });
    }
}

/// Writes into the job's record what is in its way. Returns when the job is not this node's any more.
async fn tell(running: &Running, mut saying: watch::Receiver<Option<String>>) -> Stopped {
    loop {
        if saying.changed().await.is_err() {
            return Stopped::Asked;
        }
        let trouble = saying.borrow_and_update().clone();
        // What was kept says by itself that it goes on.
        let Some(trouble) = trouble else { continue };
        let advance = Advance { running_status: Some(trouble), ..Advance::default() };
        if let Err(stopped) = running.report(advance).await {
            return stopped;
        }
        sleep(STATUS_EVERY).await;
    }
}
