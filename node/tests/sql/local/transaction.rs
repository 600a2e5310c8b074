//! Transactions of the node without a cluster: the parts so far are applied before each statement and taken back after
//! it, as a leader does when something else came between.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantd_catalog::command::Outcome;
use grantd_catalog::id::Version;
use grantd_catalog::view::View;
use grantd_node::gate::{PinnedRead, Snapshot, Writer};
use grantd_raft::entry::Proposal;
use grantd_raft::handle::{Receipt, RowWrite, TransactionError, Unavailable};
use grantd_raft::rows::{Captured, MetaKey, Reader};

use super::{Inner, applied};

pub struct Open {
    pub inner: Arc<Mutex<Inner>>,
    pub parts: Vec<Part>,
    pub marks: Vec<usize>,
}

pub enum Part {
    Catalog(Proposal),
    Rows(Vec<u8>),
}

impl Open {
    /// Begins an SQLite transaction with all parts applied.
    fn replay(&self, inner: &mut Inner) -> Arc<View> {
        inner.store.begin().unwrap();
        let mut view = Arc::clone(&inner.view);
        for part in &self.parts {
            match part {
                Part::Rows(changeset) => {
                    inner.store.apply_changeset(changeset, &mut |_| Ok(())).unwrap();
                }
                Part::Catalog(proposal) => {
                    let version = Version(view.version().0 + 1);
                    let state = applied(&mut inner.store, &view, proposal).1.unwrap();
                    view = Arc::new(view.next(version, state));
                }
            }
        }
        view
    }
}

#[async_trait]
impl Writer for Open {
    fn base(&self) -> Version {
        self.inner.lock().unwrap().view.version()
    }

    async fn view(&mut self) -> Result<Arc<View>, TransactionError> {
        let mut inner = self.inner.lock().unwrap();
        let view = self.replay(&mut inner);
        inner.store.rollback().unwrap();
        Ok(view)
    }

    async fn run(&mut self, mut write: Box<dyn RowWrite>) -> Result<(), TransactionError> {
        let mut inner = self.inner.lock().unwrap();
        let view = self.replay(&mut inner);
        let captured = inner.store.capture(|rows| write.run(&view, rows)).unwrap();
        inner.store.rollback().unwrap();
        match captured {
            Captured::Changed(_, changeset) => {
                if !changeset.is_empty() {
                    self.parts.push(Part::Rows(changeset));
                }
                Ok(())
            }
            Captured::Refused(_) => Ok(()),
            Captured::Lost(_) => panic!("a statement ended the transaction"),
        }
    }

    async fn propose(&mut self, proposal: Proposal) -> Result<Vec<Outcome>, TransactionError> {
        let mut inner = self.inner.lock().unwrap();
        let view = self.replay(&mut inner);
        let (outcomes, state) = applied(&mut inner.store, &view, &proposal);
        inner.store.rollback().unwrap();
        if state.is_some() {
            self.parts.push(Part::Catalog(proposal));
        }
        Ok(outcomes)
    }

    async fn mark(&mut self) -> Result<u32, TransactionError> {
        self.marks.push(self.parts.len());
        Ok(u32::try_from(self.marks.len()).unwrap())
    }

    async fn roll_back_to(&mut self, mark: u32) -> Result<(), TransactionError> {
        let parts = mark.checked_sub(1).map_or(0, |at| self.marks[at as usize]);
        self.parts.truncate(parts);
        Ok(())
    }

    async fn commit(self: Box<Self>) -> Result<Receipt, Unavailable> {
        let mut inner = self.inner.lock().unwrap();
        let view = self.replay(&mut inner);
        let version = Version(inner.view.version().0 + 1);
        inner.store.put_meta(MetaKey::Applied, &version.0.to_le_bytes()).unwrap();
        inner.store.commit().unwrap();
        inner.view = Arc::new(inner.view.next(version, view.state().clone()));
        Ok(Receipt { version, outcomes: vec![Outcome::Done(Default::default())] })
    }
}

pub struct Kept {
    pub view: Arc<View>,
    pub reader: Arc<Mutex<Reader>>,
}

#[async_trait]
impl Snapshot for Kept {
    fn view(&self) -> Arc<View> {
        Arc::clone(&self.view)
    }

    async fn read(&mut self, read: PinnedRead) -> Result<(), Unavailable> {
        let reader = Arc::clone(&self.reader);
        let run = move || reader.lock().unwrap().read_pinned(read);
        tokio::task::spawn_blocking(run).await.unwrap();
        Ok(())
    }
}
