//! Where changes come from: the history, through the gate. Who may read it is decided again at every page.

mod spool;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grantd_catalog::command::Actor;
use grantd_catalog::id::{ObjectId, Timestamp};
use grantd_catalog::object::Object;
use grantd_catalog::refusal::{Refusal, SqlState};
use grantd_catalog::require::Requirement;
use grantd_catalog::view::View;
use grantd_raft::rows::{Past, PastError, PastRecord, Place, RowsError};

pub use spool::Spool;

use super::encode::{Encoder, Row};
use super::plan::{Page, Scan};
use super::shape::{Shape, Types};
use crate::gate::{Gate, ReadOutcome};

/// Who reads, and what that takes, on a view: the owner of the job as it is now.
pub type May = Arc<dyn Fn(&View) -> Result<(Actor, Requirement), Refusal> + Send + Sync>;

/// The history of some tables.
#[derive(Clone)]
pub struct Source {
    gate: Gate,
    may: May,
    tables: Arc<[ObjectId]>,
}

impl Source {
    /// Of these tables, for who may.
    pub fn new(gate: Gate, may: May, tables: impl IntoIterator<Item = ObjectId>) -> Self {
        Self { gate, may, tables: tables.into_iter().collect() }
    }

    /// What the tables were at a time, and the enum types that they name. Waits until this node knows that time.
    pub async fn tables(&self, at: Timestamp) -> Result<(Vec<Arc<Object>>, Types), Refusal> {
        self.known(at).await?;
        let tables = Arc::clone(&self.tables);
        self.past(move |past| {
            let mut objects = Vec::with_capacity(tables.len());
            for table in tables.iter() {
                objects.push(past.object_at(*table, at)?.ok_or(PastError::NoTable(*table))?);
            }
            let named = objects.iter().flat_map(|object| Shape::types(object)).collect();
            Ok((objects, types(past, &named)?))
        })
        .await
    }

    /// A page of changes, and the enum types as they are now. `named`: those that the tables name.
    pub async fn page(
        &self,
        after: Place,
        up_to: Timestamp,
        named: BTreeSet<ObjectId>,
    ) -> Result<Page, Refusal> {
        let tables = Arc::clone(&self.tables);
        self.past(move |past| {
            let page = past.changes(&tables, after, up_to, PAGE_BYTES)?;
            let mut named = named.clone();
            for change in &page.changes {
                if let PastRecord::Shape(shape) = &change.what {
                    named.extend(shape.after.iter().flat_map(|object| Shape::types(object)));
                }
            }
            let types = if named.is_empty() { None } else { Some(types(past, &named)?) };
            Ok(Page { changes: page.changes, next: page.next, known: past.resolved(), types })
        })
        .await
    }

    /// Messages of all rows of a table at a time. They wait in a file, so that a slow sink does not hold the rows' snapshot.
    pub async fn scan(&self, scan: &Scan, encoder: Encoder, topic: Arc<str>) -> Result<Spool, Refusal> {
        self.known(scan.at).await?;
        let (table, at, shape) = (self.tables[scan.target], scan.at, Arc::clone(&scan.shape));
        self.past(move |past| {
            let mut spool = Spool::new(Arc::clone(&topic), at, Arc::clone(&shape));
            past.rows_at(table, at, &mut |values| {
                let row = Row { before: None, after: Some((&shape, &values)), updated: at, topic: &topic };
                let key = encoder.key(&row).map_err(unencoded)?;
                let value = encoder.value(&row).map_err(unencoded)?;
                spool.put(&key, value.as_deref()).map_err(|error| RowsError {
                    code: CANT_WRITE,
                    message: format!("rows that wait for a sink cannot be kept in a file: {error}"),
                })
            })?;
            Ok(spool)
        })
        .await
    }

    /// The time up to which this node knows all, with everything that was acknowledged before the call: that of a statement.
    pub async fn now(&self) -> Result<Timestamp, Refusal> {
        self.gate.view().await?;
        self.past(|past| Ok(past.resolved())).await
    }

    /// Waits until this node knows all up to a time.
    async fn known(&self, at: Timestamp) -> Result<(), Refusal> {
        while self.past(|past| Ok(past.resolved())).await? < at {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// Reads as who may. Waits out that the cluster chooses another leader, which is no reason to send again what was sent.
    async fn past<T: Send + 'static>(
        &self,
        read: impl Fn(&Past<'_>) -> Result<T, PastError> + Clone + Send + 'static,
    ) -> Result<T, Refusal> {
        let deadline = Instant::now() + ELECTION_MAX;
        loop {
            match self.past_once(&read).await {
                Err(refusal) if refusal.code == CANNOT_CONNECT_NOW && Instant::now() < deadline => {
                    tokio::time::sleep(ASK_AGAIN).await;
                }
                outcome => return outcome,
            }
        }
    }

    async fn past_once<T: Send + 'static>(
        &self,
        read: &(impl Fn(&Past<'_>) -> Result<T, PastError> + Clone + Send + 'static),
    ) -> Result<T, Refusal> {
        let mut view = self.gate.pinned_view().await?;
        for _ in 0..PERMITS_MAX {
            let (actor, requirement) = (self.may)(&view)?;
            let permit = self.gate.permit(&view, actor, &requirement)?;
            match self.gate.past(permit, read.clone()).await? {
                ReadOutcome::Done(done) => return Ok(done),
                ReadOutcome::Behind(version) => view = self.gate.at_least(version).await?,
            }
        }
        Err(Refusal::new(CANNOT_CONNECT_NOW, "the catalog changes faster than the history is read"))
    }
}

fn types(past: &Past<'_>, named: &BTreeSet<ObjectId>) -> Result<Types, PastError> {
    let mut types = Types::new();
    for id in named {
        if let Some(object) = past.object_at(*id, past.resolved())? {
            types.insert(*id, object);
        }
    }
    Ok(types)
}

fn unencoded(refusal: Refusal) -> RowsError {
    RowsError { code: CANT_WRITE, message: refusal.message }
}

/// SQLite's code for what is wrong here: an error of the caller's.
const CANT_WRITE: i32 = 1;
const CANNOT_CONNECT_NOW: SqlState = SqlState::new("57P03");
/// Some thousand rows: enough for a sink's batches, and little to hold in memory.
const PAGE_BYTES: usize = 1 << 20;
/// Each needs a change of the catalog between two looks.
const PERMITS_MAX: usize = 16;
/// Elections end sooner. After it the feed says what is wrong.
const ELECTION_MAX: Duration = Duration::from_secs(20);
/// A node without a leader says so at once.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// How often is looked whether this node has come so far.
const LOOK_EVERY: Duration = Duration::from_millis(20);
