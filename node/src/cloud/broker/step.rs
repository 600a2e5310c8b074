//! One step: its refresher with its lease, its users, and its place among the others.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use subtle::ConstantTimeEq;
use tokio::sync::watch;

use super::lock;
use super::report::{StepReport, Trouble};
use crate::cloud::chain::{Chain, Step};
use crate::cloud::lease::{Class, FetchError, Fetched, Lease, Material, Moment};
use crate::cloud::refresher::{Action, Answer, Event, Fault, Parent, Refresher, Sight, Terms, Verdict};

/// The most labels of users that are listed of a step; the others are counted.
const LABELS_MAX: usize = 16;
/// The most bytes of a label that are kept.
const LABEL_BYTES_MAX: usize = 256;

/// A step of the chains that begin with `chain`.
pub(super) struct StepCell {
    pub(super) chain: Chain,
    pub(super) parent: Option<Arc<StepCell>>,
    pub(super) current: ArcSwapOption<Lease>,
    /// The same before it is late.
    pub(super) ready: ArcSwapOption<Lease>,
    /// Something happened to it.
    pub(super) changed: watch::Sender<()>,
    children: Mutex<Vec<Weak<StepCell>>>,
    inner: Mutex<Inner>,
}

struct Inner {
    refresher: Refresher,
    users: BTreeMap<u64, Arc<str>>,
    /// How many use it, steps after it included.
    count: usize,
    /// Of the longest chain that it is part of.
    hops: usize,
    trouble: Option<Trouble>,
    /// What came last, to know it again.
    last: Option<Arc<Lease>>,
}

/// What a call brought, but for what the refresher may know.
pub(super) enum News {
    Came(Material, Option<SystemTime>),
    Failed(Trouble),
}

impl StepCell {
    pub(super) fn new(chain: Chain, parent: Option<Arc<Self>>, now: Moment) -> Self {
        let asked = match chain.last() {
            Step::AssumeRole(role) => Some(role.duration),
            Step::Impersonate(account) => Some(account.lifetime),
            Step::Source(_) | Step::Confine(_) => None,
        };
        let terms = Terms { is_chained: chain.is_chained(), asked };
        Self {
            chain,
            parent,
            current: ArcSwapOption::empty(),
            ready: ArcSwapOption::empty(),
            changed: watch::Sender::new(()),
            children: Mutex::default(),
            inner: Mutex::new(Inner {
                refresher: Refresher::new(terms, now),
                users: BTreeMap::new(),
                count: 0,
                hops: 0,
                trouble: None,
                last: None,
            }),
        }
    }

    /// From the source to this.
    pub(super) fn path(self: &Arc<Self>) -> Vec<Arc<Self>> {
        let mut path = vec![Arc::clone(self)];
        while let Some(parent) = path.last().and_then(|step| step.parent.clone()) {
            path.push(parent);
        }
        path.reverse();
        path
    }

    pub(super) fn adopt(&self, child: &Arc<Self>) {
        let mut children = lock(&self.children);
        children.retain(|child| child.strong_count() > 0);
        children.push(Arc::downgrade(child));
    }

    pub(super) fn children(&self) -> Vec<Arc<Self>> {
        lock(&self.children).iter().filter_map(Weak::upgrade).collect()
    }

    pub(super) fn is_part_of(&self, hops: usize) {
        let mut inner = lock(&self.inner);
        inner.hops = inner.hops.max(hops);
    }

    pub(super) fn add_user(&self, number: u64, label: &str) {
        let end = (0..=label.len().min(LABEL_BYTES_MAX)).rev().find(|end| label.is_char_boundary(*end));
        lock(&self.inner).users.insert(number, label[..end.unwrap_or(0)].into());
    }

    pub(super) fn remove_user(&self, number: u64) {
        lock(&self.inner).users.remove(&number);
    }

    pub(super) fn is_used(&self) -> bool {
        lock(&self.inner).count > 0
    }

    pub(super) fn labels(&self) -> Vec<Arc<str>> {
        let mut labels: Vec<_> = lock(&self.inner).users.values().take(LABELS_MAX).cloned().collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    pub(super) fn ended(&self) -> u64 {
        lock(&self.inner).refresher.ended()
    }

    /// What the parent gives. Read under this step's lock, so that an older answer never follows a newer one.
    fn parent_gives(&self) -> Parent {
        match &self.parent {
            None => Parent::Unneeded,
            Some(parent) => {
                parent.current.load().as_ref().map_or(Parent::Missing, |lease| Parent::Has(lease.generation))
            }
        }
    }

    /// Hands an event to the refresher, and makes its word about the lease true.
    pub(super) fn on(&self, event: Event, news: Option<News>, now: Moment, dice: f64) -> Vec<Action> {
        let mut inner = lock(&self.inner);
        match event {
            Event::Opened => inner.count += 1,
            Event::Closed => inner.count = inner.count.saturating_sub(1),
            _ => {}
        }
        let sight = Sight { now, dice, parent: self.parent_gives() };
        let actions = inner.refresher.on(event, &sight);
        let mut came = None;
        match news {
            Some(News::Came(material, not_after)) => {
                inner.trouble = inner.refresher.failing().map(|class| self.disbelieved(class, inner.hops));
                came = Some((material, not_after));
            }
            Some(News::Failed(trouble)) => inner.trouble = Some(trouble),
            None => {}
        }
        for action in &actions {
            match action {
                Action::Publish { generation, obtained, deadline } => {
                    let Some((material, not_after)) = came.take() else { continue };
                    let (generation, obtained, deadline) = (*generation, *obtained, *deadline);
                    let lease = Arc::new(Lease { material, obtained, deadline, not_after, generation });
                    inner.last = Some(Arc::clone(&lease));
                    self.current.store(Some(lease));
                }
                Action::Withdraw => self.current.store(None),
                Action::RenewParent(_) | Action::Alarm(_) | Action::Settled | Action::Call | Action::End => {}
            }
        }
        self.ready.store(self.current.load_full().filter(|_| inner.refresher.is_ready()));
        actions
    }

    /// It is not kept any more.
    pub(super) fn end(&self) {
        self.current.store(None);
        self.ready.store(None);
    }

    /// What came, and is not taken for credentials.
    fn disbelieved(&self, class: Class, hops: usize) -> Trouble {
        let message = match class {
            Class::ClockSkew => {
                "the credentials that came end more than 36 hours from now: look at the clocks"
            }
            _ => "the credentials that came were over, or are those that a service refused",
        };
        self.trouble_of(class, message.to_owned(), None, hops)
    }

    fn trouble_of(&self, class: Class, message: String, code: Option<String>, hops: usize) -> Trouble {
        let identity = self.parent.as_ref().and_then(|parent| {
            let lease = parent.current.load();
            lease.as_ref().and_then(|lease| match &lease.material {
                Material::Aws(session) => session.identity.clone(),
                Material::Bearer(bearer) => bearer.account.clone(),
            })
        });
        let before = || self.chain.parent().map(|parent| parent.last().to_string()).unwrap_or_default();
        Trouble {
            hop: self.chain.steps().len() - 1,
            hops,
            from: identity.unwrap_or_else(before),
            to: self.chain.last().to_string(),
            class,
            code,
            message,
        }
    }

    /// What a call brought, as the refresher is told it.
    pub(super) fn news(
        &self,
        asked: Moment,
        parent: Option<&Lease>,
        outcome: Result<Fetched, FetchError>,
    ) -> (Event, News) {
        match outcome {
            Ok(Fetched { material, lifetime, not_after }) => {
                let is_same =
                    lock(&self.inner).last.as_ref().is_some_and(|last| is_same(&last.material, &material));
                let bound = parent.and_then(|parent| parent.deadline);
                let bound = bound.filter(|_| matches!(self.chain.last(), Step::Confine(_)));
                let answer = Answer { lifetime, is_same, bound };
                (Event::Ended { asked, outcome: Ok(answer) }, News::Came(material, not_after))
            }
            Err(FetchError { class, message, code, retry_after }) => {
                let hops = lock(&self.inner).hops;
                let fault = Fault { class, retry_after };
                let trouble = self.trouble_of(class, message, code, hops);
                (Event::Ended { asked, outcome: Err(fault) }, News::Failed(trouble))
            }
        }
    }

    pub(super) fn verdict(
        &self,
        min_ttl: Duration,
        ended: u64,
        now: Moment,
    ) -> (Verdict, Option<Arc<Lease>>) {
        let inner = lock(&self.inner);
        (inner.refresher.verdict(min_ttl, ended, now), self.current.load_full())
    }

    pub(super) fn is_blocked(&self) -> bool {
        lock(&self.inner).refresher.is_blocked(self.parent_gives())
    }

    /// What is wrong with it, as a hop of a chain of so many; 0: of the longest.
    pub(super) fn trouble(&self, hops: usize) -> Option<Arc<Trouble>> {
        let trouble = lock(&self.inner).trouble.clone()?;
        let hops = if hops == 0 { trouble.hops } else { hops };
        Some(Arc::new(Trouble { hops, ..trouble }))
    }

    pub(super) fn next_wake(&self) -> Option<Moment> {
        lock(&self.inner).refresher.next_wake(self.parent_gives())
    }

    pub(super) fn remaining(&self, now: Moment) -> Option<Duration> {
        self.current.load().as_ref()?.deadline.map(|deadline| deadline.since(now))
    }

    pub(super) fn report(&self, now: Moment) -> StepReport {
        let users = self.labels();
        let inner = lock(&self.inner);
        let lease = self.current.load();
        let lease = lease.as_ref();
        StepReport {
            chain: self.chain.clone(),
            hop: self.chain.steps().len() - 1,
            hops: inner.hops,
            state: inner.refresher.state(now).word(),
            not_after: lease.and_then(|lease| lease.not_after),
            remaining: lease.and_then(|lease| lease.deadline).map(|deadline| deadline.since(now)),
            age: lease.map(|lease| now.since(lease.obtained)),
            next: inner.refresher.next_call().map(|at| at.since(now)),
            generation: lease.map_or(0, |lease| lease.generation),
            trouble: inner.trouble.clone().map(Arc::new),
            users,
            users_count: inner.count,
        }
    }
}

/// Whether two materials are the same secret. In constant time, as for all secrets.
fn is_same(one: &Material, other: &Material) -> bool {
    let equal = |one: &str, other: &str| bool::from(one.as_bytes().ct_eq(other.as_bytes()));
    match (one, other) {
        (Material::Aws(one), Material::Aws(other)) => {
            let is_same_token = match (&one.session_token, &other.session_token) {
                (Some(one), Some(other)) => equal(one.expose(), other.expose()),
                (one, other) => one.is_none() && other.is_none(),
            };
            is_same_token
                && one.access_key_id == other.access_key_id
                && equal(one.secret_access_key.expose(), other.secret_access_key.expose())
        }
        (Material::Bearer(one), Material::Bearer(other)) => equal(one.token.expose(), other.token.expose()),
        (Material::Aws(_), Material::Bearer(_)) | (Material::Bearer(_), Material::Aws(_)) => false,
    }
}
