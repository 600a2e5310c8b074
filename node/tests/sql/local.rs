//! A node without a cluster: catalog and rows in this process, no log. It stands in for the handle in tests only.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use grantd_catalog::command::{Outcome, StorageChange};
use grantd_catalog::id::{Timestamp, Version};
use grantd_catalog::object::Body;
use grantd_catalog::state::State;
use grantd_catalog::view::View;
use grantd_node::gate::{Replica, RowRead};
use grantd_node::sql::system;
use grantd_raft::entry::Proposal;
use grantd_raft::handle::{ForwardHandler, Receipt, RowWrite, Unavailable};
use grantd_raft::rows::{Captured, MetaKey, Readers, Store};

pub struct Local {
    inner: Mutex<Inner>,
    readers: Arc<Readers>,
    handler: Mutex<Option<Arc<dyn ForwardHandler>>>,
    follows: Mutex<bool>,
    before_read: Mutex<Option<BoxFuture<'static, ()>>>,
    rounds: AtomicUsize,
}

struct Inner {
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
            inner: Mutex::new(Inner { view, store }),
            readers,
            handler: Mutex::new(None),
            follows: Mutex::new(false),
            before_read: Mutex::new(None),
            rounds: AtomicUsize::new(0),
        }
    }

    /// How often the newest view was asked for since this was last called.
    pub fn rounds(&self) -> usize {
        self.rounds.swap(0, Ordering::Relaxed)
    }

    pub fn current(&self) -> Arc<View> {
        Arc::clone(&self.inner.lock().unwrap().view)
    }

    /// From now on it does not lead; who forwards reaches it all the same.
    pub fn follow(&self) {
        *self.follows.lock().unwrap() = true;
    }

    /// What happens after the next reader has decided and before it reads.
    pub fn before_next_read(&self, act: BoxFuture<'static, ()>) {
        *self.before_read.lock().unwrap() = Some(act);
    }

    fn write(&self, mut write: Box<dyn RowWrite>) -> Receipt {
        let mut inner = self.inner.lock().unwrap();
        let inner = &mut *inner;
        let version = Version(inner.view.version().0 + 1);
        inner.store.begin().unwrap();
        let captured = inner.store.capture(|rows| write.run(&inner.view, rows)).unwrap();
        inner.store.rollback().unwrap();
        let changeset = match captured {
            Captured::Changed(_, changeset) => changeset,
            Captured::Refused(_) => return Receipt { version: inner.view.version(), outcomes: Vec::new() },
            Captured::Lost(_) => panic!("a statement ended the transaction"),
        };
        inner.store.begin().unwrap();
        inner.store.apply_changeset(&changeset).unwrap();
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

    async fn linearizable(&self) -> Result<Arc<View>, Unavailable> {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        Ok(self.current())
    }

    async fn at_least(&self, version: Version) -> Result<Arc<View>, Unavailable> {
        let view = self.current();
        assert!(view.version() >= version);
        Ok(view)
    }

    async fn propose(&self, proposal: Proposal) -> Result<Receipt, Unavailable> {
        let mut inner = self.inner.lock().unwrap();
        let inner = &mut *inner;
        let version = Version(inner.view.version().0 + 1);
        let time = Timestamp { nanos: version.0, logical: 0 };
        let mut state = inner.view.state().clone();
        let mut outcomes = Vec::new();
        let mut changes = Vec::new();
        for command in &proposal.commands {
            outcomes.push(state.apply(
                version,
                time,
                proposal.actor,
                &proposal.context,
                command,
                &mut changes,
            ));
        }
        inner.store.begin().unwrap();
        for outcome in &outcomes {
            let Outcome::Done(done) = outcome else {
                inner.store.rollback().unwrap();
                return Ok(Receipt { version, outcomes });
            };
            for change in &done.storage {
                match change {
                    StorageChange::Create(id) => match &state.object(*id).unwrap().body {
                        Body::Table(table) => inner.store.create_table(*id, table).unwrap(),
                        Body::Sequence(sequence) => inner.store.create_sequence(*id, sequence).unwrap(),
                        _ => panic!("no table"),
                    },
                    StorageChange::Drop(id) => inner.store.drop_table(*id).unwrap(),
                }
            }
        }
        inner.store.put_meta(MetaKey::Applied, &version.0.to_le_bytes()).unwrap();
        inner.store.commit().unwrap();
        inner.view = Arc::new(inner.view.next(version, state));
        Ok(Receipt { version, outcomes })
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
        Ok(())
    }

    async fn forward(&self, request: Bytes, _timeout: Duration) -> Result<Bytes, Unavailable> {
        let handler = self.handler.lock().unwrap().clone().unwrap();
        *self.follows.lock().unwrap() = false;
        let answer = handler.handle(2, request).await;
        *self.follows.lock().unwrap() = true;
        Ok(answer)
    }

    fn serve_forwards(&self, handler: Arc<dyn ForwardHandler>) {
        *self.handler.lock().unwrap() = Some(handler);
    }
}
