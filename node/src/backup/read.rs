//! Reading a backup at a time: its layers, whether they are whole, its catalog, and the rows of a table.
//!
//! Rows come in the order of the key, whatever the layers: a window takes from all changes those of the rows with the smallest
//! keys, as many as fit ([`WINDOW_BYTES`]), and is merged with that part of the full backup's files, which are in that order and
//! say which keys they have. What did not fit is a window of its own: for each the changes are read once more, and the full's
//! files only those that it touches. So memory is bounded, nothing is written to a disk, and changes of some tens of megabytes
//! are read once.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use grantd_catalog::id::{ObjectId, Timestamp};
use grantd_catalog::object::Object;
use grantd_catalog::refusal::{Refusal, state};
use grantd_raft::rows::{Collation, KeyOrder, Place, Value, Window};

use super::catalog::Line;
use super::cipher::{self, Keys};
use super::collection::{Collection, Layer, Which};
use super::data::{Change, Columns, File, Op, stored};
use super::manifest::{self, Content, DataFile, TableEntry};
use super::{BackupError, Job, Progress, names};

/// The most bytes of changes that are held while rows are merged.
pub const WINDOW_BYTES: usize = 32 << 20;

/// A backup as of a time.
pub struct Backup {
    /// The folder of its full.
    pub full: String,
    /// The full, and the incremental layers that are needed.
    pub layers: Vec<Layer>,
    /// As of when.
    pub time: Timestamp,
    collations: Vec<Collation>,
    window_bytes: usize,
}

/// Who takes rows.
#[async_trait]
pub trait RowSink: Send {
    /// Some rows of the table: the stored columns of its shape, in the order of the key.
    async fn rows(&mut self, rows: Vec<Vec<Value>>) -> Result<(), Refusal>;
}

/// A table of a backup, as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its number in the cluster that was backed up.
    pub id: ObjectId,
    /// Its record of the catalog, without grants.
    pub shape: Arc<Object>,
}

impl Backup {
    /// Opens a backup. `as_of`: none: its newest time.
    pub async fn open(
        collection: &Collection,
        which: &Which,
        as_of: Option<Timestamp>,
        keys: &Keys,
    ) -> Result<Self, BackupError> {
        let full = collection.resolve(which).await?;
        let key = collection.key(&full, keys).await?;
        let mut layers = collection.layers(&full, key.as_ref()).await?;
        let time = match as_of {
            Some(time) => {
                let needed = needed(&layers, time)?;
                layers.truncate(needed);
                time
            }
            None => layers.last().map(|layer| layer.manifest.end.0).unwrap_or_default(),
        };
        Ok(Self { full, layers, time, collations: crate::value::collations(), window_bytes: WINDOW_BYTES })
    }

    /// The same with another bound of memory.
    #[must_use]
    pub fn with_window(self, bytes: usize) -> Self {
        Self { window_bytes: bytes, ..self }
    }

    /// Reads every file of every layer, and compares it with what the manifest says was written. Cost: the whole backup once.
    pub async fn verify(&self, job: &dyn Job) -> Result<Progress, BackupError> {
        let files = self.layers.iter().map(|layer| layer.manifest.catalog.len() + layer.manifest.files.len());
        let mut progress = Progress { tables_expected: files.sum::<usize>() as u64, ..Progress::default() };
        for layer in &self.layers {
            let catalog = layer.manifest.catalog.iter().map(|file| (&file.name, &file.stored, 0));
            let data = layer.manifest.files.iter().map(|file| (&file.name, &file.stored, file.rows));
            for (name, stored, rows) in catalog.chain(data) {
                job.step(&progress).await?;
                layer.folder.checked(name, stored).await?;
                progress.tables += 1;
                progress.files += 1;
                progress.rows += rows;
                progress.file_bytes += stored.file_bytes;
            }
        }
        Ok(progress)
    }

    /// The records of the catalog, of the newest layer, a file at a time.
    pub async fn catalog(
        &self,
        mut seen: impl FnMut(Line) -> Result<(), BackupError> + Send,
    ) -> Result<(), BackupError> {
        let Some(layer) = self.layers.last() else { return Ok(()) };
        for file in &layer.manifest.catalog {
            let shown = layer.folder.shown(&file.name);
            let bytes = layer.folder.checked(&file.name, &file.stored).await?;
            let text = manifest::decompressed(&shown, &bytes)?;
            for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let line =
                    serde_json::from_slice(line).map_err(|error| BackupError::damaged(&shown, error))?;
                seen(line)?;
            }
        }
        Ok(())
    }

    /// The tables and sequences that were there, in the order of their numbers.
    pub fn tables(&self) -> Result<Vec<Table>, BackupError> {
        let mut shapes: BTreeMap<ObjectId, Option<&str>> = BTreeMap::new();
        for layer in &self.layers {
            for table in &layer.manifest.tables {
                shapes.insert(ObjectId(table.id), shape_at(table, self.time));
            }
        }
        let there = shapes.into_iter().filter_map(|(id, shape)| Some((id, shape?)));
        there.map(|(id, shape)| Ok(Table { id, shape: manifest::object(names::MANIFEST, shape)? })).collect()
    }

    /// The rows of a table.
    pub async fn rows(&self, table: &Table, sink: &mut dyn RowSink) -> Result<(), BackupError> {
        let Some((_, key)) = stored(&table.shape) else { return Ok(()) };
        let Some(order) = KeyOrder::of(&table.shape, &self.collations) else { return Ok(()) };
        let (base, changes) = self.parts(table)?;
        let mut after: Option<Vec<Value>> = None;
        loop {
            let mut window = Window::new(order.clone(), after.take(), self.window_bytes);
            for part in &changes {
                self.take_changes(part, &key, &mut window).await?;
            }
            for part in &base {
                let (first, last) = part.keys()?;
                // Its rows are before or behind the window.
                if window.is_behind(&last) || window.is_before(&first) {
                    continue;
                }
                let file = part.open().await?;
                for group in 0..file.groups() {
                    let rows = merged(part.group(&file, group)?, part, &key, &mut window);
                    if !rows.is_empty() {
                        sink.rows(rows).await?;
                    }
                }
            }
            let mut rest = Vec::new();
            while let Some(row) = window.take_before(None) {
                rest.extend(row);
            }
            if !rest.is_empty() {
                sink.rows(rest).await?;
            }
            match window.last() {
                Some(last) => after = Some(last.to_vec()),
                None => return Ok(()),
            }
        }
    }

    async fn take_changes(
        &self,
        part: &Part<'_>,
        key: &[usize],
        window: &mut Window,
    ) -> Result<(), BackupError> {
        let file = part.open().await?;
        for group in 0..file.groups() {
            for Change { op, time, row } in part.group(&file, group)? {
                if time > self.time {
                    continue;
                }
                let row = part.mapped(row);
                let key = key_of(key, &row);
                window.put(key, (op != Op::Delete).then_some(row));
            }
        }
        Ok(())
    }

    /// What is read of a table: files of rows, and files of what came after, each with the way to the table's last shape.
    fn parts(&self, table: &Table) -> Result<(Vec<Part<'_>>, Vec<Part<'_>>), BackupError> {
        let (mut base, mut changes): (Vec<Part<'_>>, Vec<Part<'_>>) = (Vec::new(), Vec::new());
        for layer in &self.layers {
            let Some(entry) = layer.manifest.table(table.id) else { continue };
            let shapes = entry.shapes.iter().filter(|shape| shape.time.0 <= self.time);
            let mut files = layer.manifest.files_of(table.id).peekable();
            let end = shapes.clone().count();
            for (number, shape) in (0..=end).zip(shapes.map(Some).chain([None])) {
                while let Some(file) = files.next_if(|file| file.shape as usize == number) {
                    let part = Part { layer, entry, file, columns: columns(entry, file)?, maps: Vec::new() };
                    match file.content {
                        Content::Rows => base.push(part),
                        Content::Changes => changes.push(part),
                    }
                }
                match shape.map(|shape| &shape.kept) {
                    None => {}
                    Some(Some(kept)) => {
                        for part in base.iter_mut().chain(&mut changes) {
                            part.maps.push(kept);
                        }
                    }
                    // All that was before is gone.
                    Some(None) => {
                        base.clear();
                        changes.clear();
                    }
                }
            }
        }
        Ok((base, changes))
    }
}

/// A file of a table.
struct Part<'b> {
    layer: &'b Layer,
    entry: &'b TableEntry,
    file: &'b DataFile,
    columns: Columns,
    /// What became of its columns since: see [`manifest::ShapeEntry::kept`].
    maps: Vec<&'b [i32]>,
}

impl Part<'_> {
    fn shown(&self) -> String {
        self.layer.folder.shown(&self.file.name)
    }

    async fn open(&self) -> Result<File, BackupError> {
        let bytes: Bytes = self.layer.folder.checked(&self.file.name, &self.file.stored).await?;
        let columns = self.columns.clone();
        let opened = tokio::task::spawn_blocking(move || File::open(&columns, bytes)).await;
        // Whoever writes the bucket may write what makes a decoder panic: that ends the read, and not the node.
        let opened = opened.unwrap_or_else(|_| Err("it cannot be decoded".to_owned()));
        opened
            .map_err(|what| BackupError::damaged(&self.shown(), format_args!("{what} ({})", self.entry.name)))
    }

    fn group(&self, file: &File, at: usize) -> Result<Vec<Change>, BackupError> {
        let decode = std::panic::AssertUnwindSafe(|| file.group(at));
        let rows =
            std::panic::catch_unwind(decode).unwrap_or_else(|_| Err("it cannot be decoded".to_owned()));
        rows.map_err(|what| BackupError::damaged(&self.shown(), what))
    }

    fn keys(&self) -> Result<(Vec<Value>, Vec<Value>), BackupError> {
        let Some((first, last)) = &self.file.keys else {
            return Err(BackupError::damaged(&self.shown(), "the manifest does not say which keys it has"));
        };
        let shown = self.layer.folder.shown(names::MANIFEST);
        Ok((manifest::key(&shown, first)?, manifest::key(&shown, last)?))
    }

    fn mapped(&self, row: Vec<Value>) -> Vec<Value> {
        self.maps.iter().fold(row, |row, kept| {
            let value = |was: &i32| usize::try_from(*was).ok().and_then(|was| row.get(was).cloned());
            kept.iter().map(|was| value(was).unwrap_or(Value::Null)).collect()
        })
    }
}

/// Rows of a full backup with what became of them, and of rows between them.
fn merged(group: Vec<Change>, part: &Part<'_>, key: &[usize], window: &mut Window) -> Vec<Vec<Value>> {
    let mut rows = Vec::new();
    for Change { row, .. } in group {
        let row = part.mapped(row);
        let key = key_of(key, &row);
        if !window.covers(&key) {
            continue;
        }
        while let Some(before) = window.take_before(Some(&key)) {
            rows.extend(before);
        }
        match window.take(&key) {
            Some(changed) => rows.extend(changed),
            None => rows.push(row),
        }
    }
    rows
}

fn columns(entry: &TableEntry, file: &DataFile) -> Result<Columns, BackupError> {
    let shape = match file.shape.checked_sub(1) {
        None => entry.shape.as_deref(),
        Some(at) => entry.shapes.get(at as usize).and_then(|shape| shape.shape.as_deref()),
    };
    let missing = || BackupError::damaged(&file.name, "the manifest does not say which columns it has");
    let shape = manifest::object(names::MANIFEST, shape.ok_or_else(missing)?)?;
    Columns::of(&shape, file.content, |_| None)?.ok_or_else(missing)
}

fn key_of(places: &[usize], row: &[Value]) -> Vec<Value> {
    places.iter().filter_map(|at| row.get(*at).cloned()).collect()
}

/// What a table was at a time in a layer or behind it.
fn shape_at(table: &TableEntry, time: Timestamp) -> Option<&str> {
    let before = table.shapes.iter().rev().find(|shape| shape.place() <= Place::after(time));
    before.map_or(table.shape.as_deref(), |shape| shape.shape.as_deref())
}

/// How many layers are needed for a time.
fn needed(layers: &[Layer], time: Timestamp) -> Result<usize, BackupError> {
    let at = layers.iter().position(|layer| layer.manifest.end.0 >= time);
    let covered = || format!("Covered: {}.", covered(layers));
    let refused = |message: &str| {
        BackupError::Refused(Refusal::new(state::INVALID_PARAMETER_VALUE, message).with_detail(covered()))
    };
    let Some(at) = at else { return Err(refused("supplied backups do not cover requested time")) };
    let layer = &layers[at].manifest;
    if layer.end.0 == time {
        return Ok(at + 1);
    }
    match layer.start {
        Some(_) if layer.revision_history => Ok(at + 1),
        Some(_) => Err(refused(
            "invalid RESTORE timestamp: restoring to arbitrary time requires that BACKUP for requested time be created with \
             'revision_history' option.",
        )),
        None => Err(refused("supplied backups do not cover requested time")),
    }
}

/// The times that can be restored, in words.
fn covered(layers: &[Layer]) -> String {
    let text = |layer: &Layer| match layer.manifest.start {
        Some(start) if layer.manifest.revision_history => {
            format!("{} to {}", start.0, layer.manifest.end.0)
        }
        _ => layer.manifest.end.0.to_string(),
    };
    layers.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Whether a collection's backup is encrypted, for who has to say so before anything is opened.
pub async fn is_encrypted(collection: &Collection, full: &str) -> Result<bool, BackupError> {
    match collection.key(full, &Keys::None).await {
        Ok(key) => Ok(key.is_some()),
        Err(error) if error == cipher::encrypted() => Ok(true),
        Err(error) => Err(error),
    }
}
