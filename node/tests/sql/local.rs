//! A node without a cluster: catalog and rows in this process, no log. It stands in for the handle in tests only.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use grantd_catalog::command::Outcome;
use grantd_catalog::id::{Timestamp, Version};
use grantd_catalog::refusal::Refusal;
use grantd_catalog::state::State;
use grantd_catalog::view::View;
use grantd_node::gate::{Replica, RowRead, Snapshot, Writer, restart};
use grantd_node::sql::system;
use grantd_raft::entry::Proposal;
use grantd_raft::handle::{ForwardHandler, ReadSet, Receipt, RowWrite, Unavailable};
use grantd_raft::rows::{Captured, MetaKey, Readers, StepError, StorageStep, Store};

#[path = "local/transaction.rs"]
mod transaction;

pub struct Local {
    inner: Arc<Mutex<Inner>>,
    readers: Arc<Readers>,
    handler: Mutex<Option<Arc<dyn ForwardHandler>>>,
    follows: Mutex<bool>,
    before_read: Mutex<Option<BoxFuture<'static, ()>>>,
    rounds: AtomicUsize,
    before_round: Mutex<Option<BoxFuture<'static, ()>>>,
    reads: AtomicUsize,
    loses_answers: AtomicBool,
    has_lease: AtomicBool,
}

pub struct Inner {
    view: Arc<View>,
    store: Store,
}

impl Local {
    pub fn new(directory: &Path) -> Self {
        let mut store = Store::open(&directory.join("state.db"), &system::extensions()).unwrap();
        let version = Version(1);
        store.begin().unwrap();
        store.put_meta(MetaKey::Applied, &version.0.to_le_bytes()).unwrap();
        store.commit().unwrap();
        let readers = store.readers();
        let view = Arc::new(View::build(version, State::bootstrap()));
        Self {
            inner: Arc::new(Mutex::new(Inner { view, store })),
            readers,
            handler: Mutex::new(None),
            follows: Mutex::new(false),
            before_read: Mutex::new(None),
            rounds: AtomicUsize::new(0),
            before_round: Mutex::new(None),
            reads: AtomicUsize::new(0),
            loses_answers: AtomicBool::new(false),
            has_lease: AtomicBool::new(false),
        }
    }

    /// How often the newest view was asked for since this was last called.
    pub fn rounds(&self) -> usize {
        self.rounds.swap(0, Ordering::Relaxed)
    }

    /// How many reads of rows have ended.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// What happens while it is next asked for the newest view.
    pub fn before_next_round(&self, act: BoxFuture<'static, ()>) {
        *self.before_round.lock().unwrap() = Some(act);
    }

    pub fn current(&self) -> Arc<View> {
        Arc::clone(&self.inner.lock().unwrap().view)
    }

    /// From now on it does not lead; who forwards reaches it all the same.
    pub fn follow(&self) {
        *self.follows.lock().unwrap() = true;
    }

    /// From now on what is forwarded is done, and its answer is lost; or not any more.
    pub fn lose_answers(&self, loses: bool) {
        self.loses_answers.store(loses, Ordering::Relaxed);
    }

    /// Whether it may decide by itself from now on.
    pub fn lease(&self, has: bool) {
        self.has_lease.store(has, Ordering::Relaxed);
    }

    /// What happens after the next reader has decided and before it reads.
    pub fn before_next_read(&self, act: BoxFuture<'static, ()>) {
        *self.before_read.lock().unwrap() = Some(act);
    }

    fn write(&self, mut write: Box<dyn RowWrite>) -> Receipt {
        let mut inner = self.inner.lock().unwrap();
        let inner = &mut *inner;
        let version = Version(inner.view.version().0 + 1);
        inner.store.begin_captures().unwrap();
        let captured = inner.store.capture(|rows| write.run(&inner.view, rows)).unwrap();
        inner.store.rollback().unwrap();
        let changeset = match captured {
            Captured::Changed(_, changeset) => changeset,
            Captured::Refused(_) => return Receipt { version: inner.view.version(), outcomes: Vec::new() },
            Captured::Lost(_) => panic!("a statement ended the transaction"),
        };
        inner.store.begin().unwrap();
        inner.store.apply_changeset(&changeset, &mut |_| Ok(())).unwrap();
        inner.store.put_meta(MetaKey::Applied, &version.0.to_le_bytes()).unwrap();
        inner.store.commit().unwrap();
        let state = inner.view.state().clone();
        inner.view = Arc::new(inner.view.next(version, state));
        Receipt { version, outcomes: vec![Outcome::Done(Default::default())] }
    }
}

#[async_trait]
impl Replica for Local {
    fn node_id(&self) -> u64 {
        1
    }

    fn view(&self) -> Arc<View> {
        self.current()
    }

    fn is_current(&self, view: &View) -> bool {
        self.current().state() == view.state() && self.has_lease.load(Ordering::Relaxed)
    }

    async fn linearizable(&self) -> Result<Arc<View>, Unavailable> {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        let act = self.before_round.lock().unwrap().take();
        if let Some(act) = act {
            act.await;
        }
        Ok(self.current())
    }

    async fn at_least(&self, version: Version) -> Result<Arc<View>, Unavailable> {
        let view = self.current();
        match view.version() >= version {
            true => Ok(view),
            false => Err(Unavailable::NoLeader(Duration::ZERO)),
        }
    }

    async fn propose(&self, proposal: Proposal) -> Result<Receipt, Unavailable> {
        let mut inner = self.inner.lock().unwrap();
        let inner = &mut *inner;
        let version = Version(inner.view.version().0 + 1);
        inner.store.begin().unwrap();
        let (outcomes, state) = applied(&mut inner.store, &inner.view, &proposal);
        let Some(state) = state else {
            inner.store.rollback().unwrap();
            return Ok(Receipt { version, outcomes });
        };
        inner.store.put_meta(MetaKey::Applied, &version.0.to_le_bytes()).unwrap();
        inner.store.commit().unwrap();
        inner.view = Arc::new(inner.view.next(version, state));
        Ok(Receipt { version, outcomes })
    }

    async fn pin(&self) -> Result<Box<dyn Snapshot>, Unavailable> {
        let mut reader = self.readers.acquire().await.unwrap();
        reader.pin().unwrap();
        let reader = Arc::new(Mutex::new(reader));
        Ok(Box::new(transaction::Kept { view: self.current(), reader }))
    }

    async fn begin(&self, read: Option<ReadSet>) -> Result<Result<Box<dyn Writer>, Refusal>, Unavailable> {
        if *self.follows.lock().unwrap() {
            return Err(Unavailable::NotLeader { leader: None });
        }
        if read.is_some_and(|read| read.version != self.current().version()) {
            return Ok(Err(restart("what it read has changed")));
        }
        let inner = Arc::clone(&self.inner);
        Ok(Ok(Box::new(transaction::Open { inner, parts: Vec::new(), marks: Vec::new() })))
    }

    async fn write_rows(&self, write: Box<dyn RowWrite>) -> Result<Receipt, Unavailable> {
        if *self.follows.lock().unwrap() {
            return Err(Unavailable::NotLeader { leader: None });
        }
        Ok(self.write(write))
    }

    async fn read_rows(&self, read: RowRead) -> Result<(), Unavailable> {
        let act = self.before_read.lock().unwrap().take();
        if let Some(act) = act {
            act.await;
        }
        let mut reader = self.readers.acquire().await.unwrap();
        tokio::task::spawn_blocking(move || {
            reader
                .read(|applied, rows| {
                    let bytes = applied.unwrap().try_into().unwrap();
                    read(Version(u64::from_le_bytes(bytes)), rows);
                })
                .unwrap();
        })
        .await
        .unwrap();
        self.reads.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn forward(&self, request: Bytes, _timeout: Duration) -> Result<Bytes, Unavailable> {
        let handler = self.handler.lock().unwrap().clone().unwrap();
        *self.follows.lock().unwrap() = false;
        let answer = handler.handle(2, request).await;
        *self.follows.lock().unwrap() = true;
        match self.loses_answers.load(Ordering::Relaxed) {
            true => Err(Unavailable::Unknown("the answer was lost".to_owned())),
            false => Ok(answer),
        }
    }

    fn serve_forwards(&self, handler: Arc<dyn ForwardHandler>) {
        *self.handler.lock().unwrap() = Some(handler);
    }
}

/// Applies commands in the SQLite transaction that is open; no state: one was refused.
fn applied(store: &mut Store, view: &View, proposal: &Proposal) -> (Vec<Outcome>, Option<State>) {
    let version = Version(view.version().0 + 1);
    let time = Timestamp { nanos: version.0, logical: 0 };
    let mut state = view.state().clone();
    let mut outcomes = Vec::new();
    let mut changes = Vec::new();
    for command in &proposal.commands {
        let outcome = state.apply(version, time, proposal.actor, &proposal.context, command, &mut changes);
        let Outcome::Done(done) = &outcome else {
            outcomes.push(outcome);
            return (outcomes, None);
        };
        for step in StorageStep::list(command, done, &state, view.state()).unwrap() {
            match step.perform(store) {
                Ok(()) => {}
                Err(StepError::Refused(refusal)) => return (vec![Outcome::Refused(refusal)], None),
                Err(error) => panic!("{error}"),
            }
        }
        outcomes.push(outcome);
    }
    (outcomes, Some(state))
}
