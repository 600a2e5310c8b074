//! Writing a layer.
//!
//! In order: the lock, the key, the catalog, each table page by page, the manifest, its checksum, and of a full the pointer to the
//! newest. What is done is noted in checkpoints; who begins the same layer again goes on behind the last one. A file that was
//! written after it stays, is named by nobody, and does no harm.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use grantd_catalog::id::{ObjectId, Timestamp};
use grantd_catalog::object::{Body, Object};
use grantd_catalog::refusal::state;
use grantd_catalog::state::State;
use grantd_catalog::view::View;
use grantd_raft::rows::{
    Cause, Past, PastChange, PastError, PastRecord, Place, RowsAt, RowsKept, RowsPage, ShapeRecord, Value,
};
use tokio::task::JoinHandle;

use self::lines::catalog_files;
use self::open::Open;
use super::catalog;
use super::cipher::{self, DataKey, Keys};
use super::collection::{Collection, Folder};
use super::data::{self, Columns};
use super::manifest::{
    self, Content, DataFile, Kind, Manifest, Next, ShapeEntry, Stored, TableEntry, Targets, Time,
};
use super::worker::{Begun, Worker, ended};
use super::{BackupError, DUPLICATE_FILE, FILE_BYTES, FILE_BYTES_MAX, Job, PAGE_BYTES, Progress, names};
use crate::gate::{Gate, ReadOutcome};

mod ahead;
mod lines;
mod open;

/// What is to be written. The same again to go on.
pub struct Order {
    /// The folder of the full backup: [`names::full`] of `end`, or that of the one that is continued.
    pub full: String,
    /// Whether it is an incremental layer of that one; [`names::incremental`] of `end` is its folder then.
    pub incremental: bool,
    /// All commits up to this.
    pub end: Timestamp,
    /// When `view` was the newest: [`Gate::moment`].
    pub catalog_time: Timestamp,
    /// Where the catalog is from. Of who goes on it does not count.
    pub view: Arc<View>,
    /// What it is of. Of an incremental one: as its full.
    pub targets: Targets,
    /// Whether each time in it may be restored.
    pub revision_history: bool,
    /// The cluster's identity.
    pub cluster: String,
    /// The job's number.
    pub job: String,
    /// From how many bytes on a file is full; [`FILE_BYTES`] if none is said.
    pub file_bytes: Option<usize>,
    /// How often it is noted what is done.
    pub checkpoint_every: Duration,
}

/// How often a read is tried on a view that is new enough.
const READ_ATTEMPTS_MAX: u32 = 20;
/// How many tables are asked about at once.
const TABLES_AT_ONCE: usize = 200;
/// A minute of work is not much to lose.
pub const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);

/// Writes a layer, or what of it is not written yet. Gives its manifest.
pub async fn write(
    collection: &Collection,
    order: &Order,
    keys: &Keys,
    gate: &Gate,
    job: &dyn Job,
) -> Result<Manifest, BackupError> {
    let layer = order.incremental.then(|| names::incremental(order.end));
    let folder = collection.folder(&order.full, layer.as_deref());
    let (key, info) = key_of(collection, order, keys).await?;
    let folder = folder.with_key(key.clone());
    if let Some(finished) = finished(collection, &folder, order).await? {
        return Ok(finished);
    }
    folder.lock(&order.job).await?;
    if let Some(info) = info {
        folder.put_plain(names::ENCRYPTION_INFO, info).await?;
    }
    let previous = match order.incremental {
        true => previous(collection, order, key.as_ref()).await?,
        false => None,
    };
    let worker = Worker::start()?;
    let draft = match checkpoint(&folder).await? {
        Some(draft) => draft,
        None => begin(&folder, order, previous, gate, job, &worker).await?,
    };
    let mut writer = Writer::new(folder, order, gate, job, draft, worker);
    writer.tables().await?;
    let manifest = Manifest { next: None, node: gate.node_id(), ..writer.manifest };
    writer.folder.finish(&manifest).await?;
    if !order.incremental {
        collection.point_to(&order.full, order.end).await?;
    }
    Ok(manifest)
}

/// The key, and what is to be written of it if it is new.
async fn key_of(
    collection: &Collection,
    order: &Order,
    keys: &Keys,
) -> Result<(Option<DataKey>, Option<Vec<u8>>), BackupError> {
    if let Keys::Known(key, info) = keys {
        return Ok((Some(key.clone()), info.clone()));
    }
    let begun = !collection.folder(&order.full, None).list(names::ENCRYPTION_INFO).await?.is_empty();
    if begun || order.incremental {
        return Ok((collection.key(&order.full, keys).await?, None));
    }
    let key = DataKey::random()?;
    match key.wrapped(keys).await? {
        Some(info) => Ok((Some(key), Some(info.to_bytes()?))),
        None => Ok((None, None)),
    }
}

/// The layer's manifest, if this job had finished it but for the end.
async fn finished(
    collection: &Collection,
    folder: &Folder,
    order: &Order,
) -> Result<Option<Manifest>, BackupError> {
    let Some(bytes) = folder.find_plain(names::MANIFEST).await? else { return Ok(None) };
    let shown = folder.shown(names::MANIFEST);
    let manifest = Manifest::parse(&shown, &folder.opened(names::MANIFEST, bytes)?)?;
    if manifest.job != order.job {
        let full = format!("/{}", order.full);
        let message = match order.incremental {
            true => format!("an incremental backup of {full} up to that time exists already"),
            false => format!(
                "A full backup already exists in {full}. Consider running an incremental backup to this full backup via \
                 `BACKUP INTO '{full}' IN '<collection>'`"
            ),
        };
        return Err(BackupError::new(DUPLICATE_FILE, message));
    }
    folder.finish(&manifest).await?;
    if !order.incremental {
        collection.point_to(&order.full, order.end).await?;
    }
    Ok(Some(manifest))
}

/// The layer before an incremental one, if that fits.
async fn previous(
    collection: &Collection,
    order: &Order,
    key: Option<&DataKey>,
) -> Result<Option<Manifest>, BackupError> {
    let layers = collection.layers(&order.full, key).await?;
    let Some(last) = layers.into_iter().map(|layer| layer.manifest).next_back() else { return Ok(None) };
    let next = NextLayer {
        full: &order.full,
        targets: &order.targets,
        revision_history: order.revision_history,
        cluster: &order.cluster,
        end: order.end,
    };
    next.follows(&last)?;
    Ok(Some(last))
}

/// What an incremental layer is to be, as far as that depends on the layer before.
pub struct NextLayer<'n> {
    /// The folder of the full backup.
    pub full: &'n str,
    /// What it is of.
    pub targets: &'n Targets,
    /// Whether each time in it may be restored.
    pub revision_history: bool,
    /// The cluster's identity.
    pub cluster: &'n str,
    /// All commits up to this.
    pub end: Timestamp,
}

impl NextLayer<'_> {
    /// Whether it can follow `last`, the newest layer that is there.
    pub fn follows(&self, last: &Manifest) -> Result<(), BackupError> {
        let full = self.full;
        let wrong = |message: String| BackupError::new(state::INVALID_PARAMETER_VALUE, message);
        if last.targets != *self.targets {
            return Err(wrong(format!("the targets are not those of the full backup /{full}"))
                .hint("An incremental backup has the targets of its full. Take a full backup of these."));
        }
        if last.revision_history != self.revision_history {
            let message = "every layer of a backup is written with revision_history, or none is";
            return Err(wrong(message.to_owned()));
        }
        if last.cluster != self.cluster {
            return Err(wrong(format!("the full backup /{full} is of another cluster, {}", last.cluster)));
        }
        if last.end.0 >= self.end {
            return Err(wrong(format!("the backup /{full} has all up to that time already")));
        }
        Ok(())
    }
}

/// What a try before had done. A checkpoint that is damaged is as good as none: one before it is taken.
async fn checkpoint(folder: &Folder) -> Result<Option<Manifest>, BackupError> {
    let mut names = folder.list(names::CHECKPOINT).await?;
    names.sort_unstable();
    for name in names {
        let bytes = folder.get_plain(&name).await?;
        let parsed =
            folder.opened(&name, bytes).and_then(|bytes| Manifest::parse(&folder.shown(&name), &bytes));
        match parsed {
            Ok(draft) => return Ok(Some(draft)),
            Err(error) => tracing::warn!(%error, "a checkpoint is left out"),
        }
    }
    Ok(None)
}

/// The catalog, and what there will be of tables.
async fn begin(
    folder: &Folder,
    order: &Order,
    previous: Option<Manifest>,
    gate: &Gate,
    job: &dyn Job,
    worker: &Worker,
) -> Result<Manifest, BackupError> {
    let mut draft = Manifest {
        format: manifest::FORMAT,
        kind: if order.incremental { Kind::Incremental } else { Kind::Full },
        cluster: order.cluster.clone(),
        node: gate.node_id(),
        release: env!("CARGO_PKG_VERSION").to_owned(),
        job: order.job.clone(),
        start: previous.as_ref().map(|previous| previous.end),
        end: Time(order.end),
        catalog_time: Time(order.catalog_time),
        revision_history: order.revision_history,
        targets: order.targets.clone(),
        encrypted: folder.is_encrypted(),
        catalog: Vec::new(),
        tables: Vec::new(),
        files: Vec::new(),
        next: Some(Next { table: 0, key: None, change: None }),
    };
    let state = order.view.state();
    let mut ids: BTreeSet<ObjectId> = catalog::tables(&order.targets, state).into_iter().collect();
    let known: BTreeMap<ObjectId, TableEntry> = previous
        .map(|previous| {
            previous.tables.into_iter().filter(lives).map(|table| (ObjectId(table.id), table)).collect()
        })
        .unwrap_or_default();
    ids.extend(known.keys());
    let ids: Vec<ObjectId> = ids.into_iter().collect();
    let at = draft.start.map_or(order.end, |start| start.0);
    for some in ids.chunks(TABLES_AT_ONCE) {
        job.step(&Progress::default()).await?;
        let asked = some.to_vec();
        let shapes = past(gate, job, some, move |past| {
            asked.iter().map(|id| Ok((*id, past.object_at(*id, at)?))).collect::<Result<Vec<_>, PastError>>()
        })
        .await?;
        for (id, shape) in shapes {
            // A full has what was there; what came in an incremental one tells its history.
            if shape.is_some() || order.incremental {
                draft.tables.push(entry(id, shape, state, known.get(&id))?);
            }
        }
    }
    draft.catalog = catalog_files(folder, order, worker).await?;
    put_checkpoint(folder, &draft).await?;
    Ok(draft)
}

/// Whether a table was there at the end of its layer.
fn lives(table: &TableEntry) -> bool {
    match table.shapes.last() {
        Some(last) => last.shape.is_some(),
        None => table.shape.is_some(),
    }
}

fn entry(
    id: ObjectId,
    shape: Option<Arc<Object>>,
    state: &State,
    known: Option<&TableEntry>,
) -> Result<TableEntry, BackupError> {
    let now = state.object(id);
    let above = |object: &Object| state.object(object.parent);
    let name = |object: Option<&Object>| object.map(|object| object.name.to_string()).unwrap_or_default();
    let schema = now.and_then(above);
    let database = schema.and_then(above);
    let body = shape.as_deref().or(now).map(|object| &object.body);
    let kind = if matches!(body, Some(Body::Sequence(_))) { "sequence" } else { "table" };
    Ok(TableEntry {
        id: id.0,
        kind: known.map_or(kind, |known| &known.kind).to_owned(),
        database: database.map_or_else(
            || known.map(|known| known.database.clone()).unwrap_or_default(),
            |it| name(Some(it)),
        ),
        schema: schema
            .map_or_else(|| known.map(|known| known.schema.clone()).unwrap_or_default(), |it| name(Some(it))),
        name: now
            .map_or_else(|| known.map(|known| known.name.clone()).unwrap_or_default(), |it| name(Some(it))),
        shape: shape.as_ref().map(manifest::shape).transpose()?,
        shapes: Vec::new(),
        rows: 0,
        bytes: 0,
    })
}

async fn put_checkpoint(folder: &Folder, draft: &Manifest) -> Result<(), BackupError> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    folder.put_once(&names::newest_first(names::CHECKPOINT, nanos), draft.to_bytes()?).await.map(drop)
}

/// Reads the history of tables under a permit of now.
async fn past<T: Send + 'static>(
    gate: &Gate,
    job: &dyn Job,
    tables: &[ObjectId],
    read: impl Fn(&Past<'_>) -> Result<T, PastError> + Send + Sync + 'static,
) -> Result<T, BackupError> {
    let read = Arc::new(read);
    for _ in 0..READ_ATTEMPTS_MAX {
        let permit = job.permit(tables).await?;
        let read = Arc::clone(&read);
        match gate.past(permit, move |past| read(past)).await? {
            ReadOutcome::Done(answer) => return Ok(answer),
            ReadOutcome::Behind(version) => drop(gate.at_least(version).await?),
        }
    }
    Err(BackupError::new(
        state::SERIALIZATION_FAILURE,
        "rows could not be read: the catalog changes all the time",
    )
    .hint("Try again."))
}

/// A layer that is being written.
struct Writer<'w> {
    folder: Folder,
    order: &'w Order,
    gate: &'w Gate,
    job: &'w dyn Job,
    manifest: Manifest,
    /// What is on its way to the place.
    upload: Option<(DataFile, JoinHandle<Result<(), BackupError>>)>,
    worker: Worker,
    file_bytes: usize,
    /// When it was last noted what is done.
    noted: Instant,
    progress: Progress,
}

impl<'w> Writer<'w> {
    fn new(
        folder: Folder,
        order: &'w Order,
        gate: &'w Gate,
        job: &'w dyn Job,
        manifest: Manifest,
        worker: Worker,
    ) -> Self {
        let progress = Progress {
            tables: manifest.next.as_ref().map_or(0, |next| next.table as u64),
            tables_expected: manifest.tables.len() as u64,
            rows: manifest.files.iter().map(|file| file.rows).sum(),
            rows_expected: None,
            bytes: manifest.files.iter().map(|file| file.bytes).sum(),
            files: manifest.files.len() as u64,
            file_bytes: manifest.file_bytes(),
        };
        let file_bytes = order.file_bytes.unwrap_or(FILE_BYTES).clamp(1, FILE_BYTES_MAX);
        let noted = Instant::now();
        Self { folder, order, gate, job, manifest, upload: None, worker, file_bytes, noted, progress }
    }

    async fn tables(&mut self) -> Result<(), BackupError> {
        let written = self.each_table().await;
        if written.is_err()
            && let Some((_, upload)) = self.upload.take()
        {
            upload.abort();
        }
        written
    }

    async fn each_table(&mut self) -> Result<(), BackupError> {
        self.count().await?;
        let (mut looked_at, mut busy) = (0, BTreeSet::new());
        while let Some(next) =
            self.manifest.next.clone().filter(|next| next.table < self.manifest.tables.len())
        {
            if next.table >= looked_at {
                looked_at = self.manifest.tables.len().min(next.table + TABLES_AT_ONCE);
                busy = self.busy(next.table..looked_at).await?;
            }
            if busy.contains(&ObjectId(self.manifest.tables[next.table].id)) {
                match self.order.incremental {
                    true => self.changes(&next).await?,
                    false => self.rows(&next).await?,
                }
                self.settle().await?;
            }
            self.progress.tables += 1;
            self.manifest.next = Some(Next { table: next.table + 1, key: None, change: None });
            self.note(false).await?;
        }
        self.settle().await
    }

    /// The rows of a table at the end of the layer.
    async fn rows(&mut self, next: &Next) -> Result<(), BackupError> {
        let table = &self.manifest.tables[next.table];
        let (id, time) = (ObjectId(table.id), self.order.end);
        let Some(shape) = &table.shape else { return Ok(()) };
        let shape = manifest::object(names::MANIFEST, shape)?;
        let Some((columns, key)) = self.columns(&shape, Content::Rows)? else { return Ok(()) };
        let mut after = next.key.as_deref().map(|key| manifest::key(names::CHECKPOINT, key)).transpose()?;
        let pages = Arc::new(Mutex::new(RowsAt::new(id, time, after.clone(), PAGE_BYTES)));
        let mut filling: Option<Begun<Open>> = None;
        loop {
            self.step().await?;
            let pages = Arc::clone(&pages);
            let read = move |past: &Past<'_>| {
                past.next_page(&mut pages.lock().unwrap_or_else(PoisonError::into_inner))
            };
            let RowsPage { rows, next: further } = past(self.gate, self.job, &[id], read).await?;
            self.progress.rows += rows.len() as u64;
            // The page before became part of the file meanwhile.
            let open = match (filling.take(), &after) {
                (Some(filling), Some(after)) => self.filled(id, filling, next, after).await?,
                _ => None,
            };
            let mut open = open.unwrap_or_else(|| Open::new(&columns, 0, self.file_bytes));
            let key = key.clone();
            let fill = self.worker.begin(move || open.rows(rows, &key).map(|()| open)).await;
            match further {
                Some(key) => (after, filling) = (Some(key), Some(fill)),
                None => {
                    let open = fill.end().await?;
                    return if open.file.count > 0 {
                        self.close(id, open, Content::Rows).await
                    } else {
                        Ok(())
                    };
                }
            }
        }
    }

    /// Takes back a file that rows were put into, and sends it on its way if it is full. `behind`: the key that the next rows are
    /// behind.
    async fn filled(
        &mut self,
        id: ObjectId,
        filling: Begun<Open>,
        next: &Next,
        behind: &[Value],
    ) -> Result<Option<Open>, BackupError> {
        let open = filling.end().await?;
        if open.file.count == 0 || !(open.file.written() >= self.file_bytes || self.is_due()) {
            return Ok(Some(open));
        }
        self.close(id, open, Content::Rows).await?;
        self.manifest.next = Some(Next { key: Some(manifest::typed(behind)), ..next.clone() });
        self.note(false).await?;
        Ok(None)
    }

    /// What happened to a table in the layer.
    async fn changes(&mut self, next: &Next) -> Result<(), BackupError> {
        let id = ObjectId(self.manifest.tables[next.table].id);
        let Some(start) = self.manifest.start else { return Ok(()) };
        let end = self.order.end;
        let mut after = match next.change {
            Some((time, number)) => Place { time: time.0, number },
            None => Place::after(start.0),
        };
        let mut shape = Current::of(self, next.table)?;
        let mut open: Option<Open> = None;
        loop {
            match open.is_some() {
                // What the file that is being filled has is noted nowhere yet, and neither is what came before it.
                true => self.job.step(&self.progress).await?,
                false => self.step().await?,
            }
            let read = move |past: &Past<'_>| past.changes(&[id], after, end, PAGE_BYTES);
            let page = past(self.gate, self.job, &[id], read).await?;
            let mut changes = page.changes.into_iter().peekable();
            while let Some(change) = changes.next() {
                match change.what {
                    PastRecord::Row(record) => {
                        let Some((columns, key)) = &shape.columns else { continue };
                        let mut records = vec![(record, change.place.time)];
                        while let Some(PastChange { what: PastRecord::Row(record), place, .. }) =
                            changes.next_if(|change| matches!(change.what, PastRecord::Row(_)))
                        {
                            records.push((record, place.time));
                        }
                        // Those go with the shape.
                        records
                            .retain(|(record, _)| record.cause == Cause::Changed || record.after.is_some());
                        self.progress.rows += records.len() as u64;
                        let mut filled = match open.take() {
                            Some(open) => open,
                            None if records.is_empty() => continue,
                            None => Open::new(columns, shape.number, self.file_bytes),
                        };
                        let key = key.clone();
                        let fill = move || filled.changes(records, &key).map(|()| filled);
                        open = Some(self.worker.run(fill).await?);
                    }
                    PastRecord::Shape(record) => {
                        if let Some(filled) = open.take() {
                            self.close(id, filled, Content::Changes).await?;
                        }
                        let entry = shape_entry(record, change.place)?;
                        self.manifest.tables[next.table].shapes.push(entry);
                        shape = Current::of(self, next.table)?;
                    }
                }
            }
            let is_full = |open: &Open| open.file.written() >= self.file_bytes || self.is_due();
            if let Some(filled) = open.take_if(|open| page.next.is_none() || is_full(open)) {
                self.close(id, filled, Content::Changes).await?;
            }
            let Some(place) = page.next else { return Ok(()) };
            after = place;
            if open.is_none() {
                self.manifest.next =
                    Some(Next { change: Some((Time(place.time), place.number)), ..next.clone() });
                self.note(false).await?;
            }
        }
    }

    fn columns(
        &self,
        shape: &Object,
        content: Content,
    ) -> Result<Option<(Columns, Vec<usize>)>, BackupError> {
        let labels = |id: ObjectId| match self.order.view.state().object(id).map(|object| &object.body) {
            Some(Body::Type(of)) => {
                Some(of.labels.iter().map(|one| (one.position, one.label.clone())).collect())
            }
            _ => None,
        };
        let columns = Columns::of(shape, content, labels)?;
        Ok(columns.zip(data::stored(shape).map(|(_, key)| key)))
    }

    /// Sends a file on its way, when the one before is there.
    async fn close(&mut self, table: ObjectId, open: Open, content: Content) -> Result<(), BackupError> {
        self.settle().await?;
        let name = format!("{}{}.parquet", names::DATA, cipher::unique()?);
        let file = DataFile {
            name: name.clone(),
            table: table.0,
            shape: open.shape,
            content,
            rows: open.file.count,
            bytes: open.file.bytes,
            keys: open.keys.map(|(first, last)| (manifest::typed(&first), manifest::typed(&last))),
            times: open.times.map(|(first, last)| (Time(first), Time(last))),
            stored: Stored { file_bytes: 0, sha256: String::new() },
        };
        let folder = self.folder.clone();
        let prepare = move || {
            let (bytes, stored) = folder.prepared(&name, open.file.finish()?)?;
            Ok((folder, name, bytes, stored))
        };
        let (folder, name, bytes, stored) = self.worker.run(prepare).await?;
        let upload = tokio::spawn(async move { folder.put_prepared(&name, bytes).await });
        self.upload = Some((DataFile { stored, ..file }, upload));
        Ok(())
    }

    /// Waits for what is on its way.
    async fn settle(&mut self) -> Result<(), BackupError> {
        let Some((file, upload)) = self.upload.take() else { return Ok(()) };
        upload.await.map_err(|_| ended())??;
        self.progress.files += 1;
        self.progress.file_bytes += file.stored.file_bytes;
        self.progress.bytes += file.bytes;
        if let Some(table) = self.manifest.tables.iter_mut().find(|table| table.id == file.table) {
            table.rows += file.rows;
            table.bytes += file.bytes;
        }
        self.manifest.files.push(file);
        Ok(())
    }

    /// Tells how far it is. Who is told to stop notes first what is done, so that it goes on from there.
    async fn step(&mut self) -> Result<(), BackupError> {
        let told = self.job.step(&self.progress).await;
        if told.is_err() {
            self.note(true).await?;
        }
        Ok(told?)
    }

    fn is_due(&self) -> bool {
        self.noted.elapsed() >= self.order.checkpoint_every
    }

    /// Notes what is done, if it is time.
    async fn note(&mut self, now: bool) -> Result<(), BackupError> {
        if now || self.is_due() {
            self.settle().await?;
            put_checkpoint(&self.folder, &self.manifest).await?;
            self.noted = Instant::now();
        }
        Ok(())
    }
}

/// What became of a table, as the manifest has it.
fn shape_entry(record: ShapeRecord, place: Place) -> Result<ShapeEntry, BackupError> {
    let kept = match (&record.before, &record.after, record.rows) {
        (Some(_), Some(after), RowsKept::Kept(kept)) => match data::stored(after) {
            // A sequence has the same columns always, and nobody counts them.
            Some((table, _)) if matches!(after.body, Body::Sequence(_)) => {
                Some((0..i32::try_from(table.columns.len()).unwrap_or(0)).collect())
            }
            _ => Some(kept.into_iter().map(|was| was.map_or(-1, i32::from)).collect()),
        },
        _ => None,
    };
    let shape = record.after.as_ref().map(manifest::shape).transpose()?;
    Ok(ShapeEntry { time: Time(place.time), number: place.number, shape, kept })
}

/// The shape that a table has where its history is read.
struct Current {
    columns: Option<(Columns, Vec<usize>)>,
    number: u32,
}

impl Current {
    fn of(writer: &Writer<'_>, table: usize) -> Result<Self, BackupError> {
        let table = &writer.manifest.tables[table];
        let number = u32::try_from(table.shapes.len()).unwrap_or(u32::MAX);
        let shape = table.shapes.last().map_or(table.shape.as_deref(), |last| last.shape.as_deref());
        let columns = match shape {
            Some(shape) => writer.columns(&*manifest::object(names::MANIFEST, shape)?, Content::Changes)?,
            None => None,
        };
        Ok(Self { columns, number })
    }
}
