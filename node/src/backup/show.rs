//! What SHOW BACKUPS and SHOW BACKUP show, as columns and rows. Source: cloud-jobs specification, C.9.

use std::collections::BTreeMap;
use std::sync::Arc;

use grantd_catalog::id::{ObjectId, Timestamp};
use grantd_catalog::object::{Body, Object};
use grantd_catalog::record::{Record, RecordKey};

use super::catalog::{Line, kind};
use super::collection::{Fault, Layer};
use super::read::Backup;
use super::{BackupError, Collection, DATA_CORRUPTED, UNDEFINED_FILE, manifest};
use crate::value::{ColumnInfo, Datum, SqlType};

/// A result.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Its columns.
    pub columns: Vec<ColumnInfo>,
    /// Its rows.
    pub rows: Vec<Vec<Datum>>,
}

/// What is asked for beside the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Grants and owners.
    pub privileges: bool,
    /// Whether each file is there, and how large all are.
    pub check_files: bool,
    /// Numbers of objects.
    pub debug_ids: bool,
    /// The manifests, and nothing else.
    pub as_json: bool,
}

/// The statement that makes an object, of its number and that of all others: for SHOW BACKUP SCHEMAS.
pub type Describe<'d> = &'d (dyn Fn(ObjectId, &BTreeMap<ObjectId, Arc<Object>>) -> Option<String> + Sync);

/// The columns of SHOW BACKUPS IN.
pub fn backups_columns() -> Vec<ColumnInfo> {
    vec![column("path", SqlType::Text)]
}

/// The columns of SHOW BACKUP FROM. `schemas`: of SHOW BACKUP SCHEMAS.
pub fn backup_columns(options: Options, schemas: bool) -> Vec<ColumnInfo> {
    match options.as_json {
        true => vec![column("manifest", SqlType::Jsonb)],
        false => columns(options, schemas),
    }
}

/// SHOW BACKUPS IN.
pub async fn backups(collection: &Collection) -> Result<Shown, BackupError> {
    let columns = backups_columns();
    let rows =
        collection.fulls().await?.into_iter().map(|full| vec![Datum::Text(format!("/{full}"))]).collect();
    Ok(Shown { columns, rows })
}

/// SHOW BACKUP FROM. `describe`: SHOW BACKUP SCHEMAS.
pub async fn backup(
    backup: &Backup,
    options: Options,
    describe: Option<Describe<'_>>,
) -> Result<Shown, BackupError> {
    if options.as_json {
        let json = |layer: &Layer| {
            let text = serde_json::to_string(&layer.manifest).map_err(|error| {
                BackupError::new(
                    crate::error::state::INTERNAL,
                    format!("a manifest cannot be shown: {error}"),
                )
            })?;
            Ok(vec![Datum::Jsonb(text)])
        };
        let rows = backup.layers.iter().map(json).collect::<Result<_, BackupError>>()?;
        return Ok(Shown { columns: backup_columns(options, describe.is_some()), rows });
    }
    if options.check_files {
        check_files(backup).await?;
    }
    let lines = lines(backup).await?;
    let objects: BTreeMap<ObjectId, Arc<Object>> =
        lines.iter().map(|(id, (_, object))| (*id, Arc::clone(object))).collect();
    let mut rows = Vec::new();
    for layer in &backup.layers {
        for (id, (line, object)) in &lines {
            let shown = matches!(
                object.body,
                Body::Database
                    | Body::Schema
                    | Body::Table(_)
                    | Body::View(_)
                    | Body::Sequence(_)
                    | Body::Type(_)
            );
            if shown {
                rows.push(row(layer, *id, line, &objects, options, describe));
            }
        }
    }
    Ok(Shown { columns: columns(options, describe.is_some()), rows })
}

/// The objects of the newest layer.
async fn lines(backup: &Backup) -> Result<BTreeMap<ObjectId, (Line, Arc<Object>)>, BackupError> {
    let mut lines = BTreeMap::new();
    backup
        .catalog(|line| {
            if let (RecordKey::Object(id), Record::Object(object)) = line.decode(&line.name)? {
                lines.insert(id, (line, object));
            }
            Ok(())
        })
        .await?;
    Ok(lines)
}

fn columns(options: Options, schemas: bool) -> Vec<ColumnInfo> {
    let mut columns = Vec::new();
    for (name, id) in [
        ("database_name", "database_id"),
        ("parent_schema_name", "parent_schema_id"),
        ("object_name", "object_id"),
    ] {
        columns.push(column(name, SqlType::Text));
        if options.debug_ids {
            columns.push(column(id, SqlType::Int8));
        }
    }
    columns.extend([
        column("object_type", SqlType::Text),
        column("backup_type", SqlType::Text),
        column("start_time", SqlType::Timestamp),
        column("end_time", SqlType::Timestamp),
        column("size_bytes", SqlType::Int8),
        column("rows", SqlType::Int8),
        column("is_full_cluster", SqlType::Bool),
    ]);
    if schemas {
        columns.push(column("create_statement", SqlType::Text));
    }
    if options.privileges {
        columns.extend([column("privileges", SqlType::Text), column("owner", SqlType::Text)]);
    }
    if options.check_files {
        columns.push(column("file_bytes", SqlType::Int8));
    }
    columns
}

fn row(
    layer: &Layer,
    id: ObjectId,
    line: &Line,
    objects: &BTreeMap<ObjectId, Arc<Object>>,
    options: Options,
    describe: Option<Describe<'_>>,
) -> Vec<Datum> {
    let object = &objects[&id];
    let above =
        |id: ObjectId| objects.get(&id).map(|object| object.parent).filter(|id| objects.contains_key(id));
    let (database, schema) = match object.body {
        Body::Database => (None, None),
        Body::Schema => (above(id), None),
        _ => (above(id).and_then(above), above(id)),
    };
    let mut row = Vec::new();
    for of in [database, schema, Some(id)] {
        let name = of.and_then(|id| objects.get(&id)).map(|object| object.name.to_string());
        row.push(name.map_or(Datum::Null, Datum::Text));
        if options.debug_ids {
            row.push(of.map_or(Datum::Null, |id| Datum::Int(i64::from(id.0))));
        }
    }
    let manifest = &layer.manifest;
    let kind_of_layer = match manifest.kind {
        manifest::Kind::Full => "full",
        manifest::Kind::Incremental => "incremental",
    };
    let table = manifest.table(id);
    let count = |count: fn(&manifest::TableEntry) -> u64| {
        table.map_or(Datum::Null, |table| Datum::Int(i64::try_from(count(table)).unwrap_or(i64::MAX)))
    };
    row.extend([
        Datum::Text(kind(object).to_owned()),
        Datum::Text(kind_of_layer.to_owned()),
        manifest.start.map_or(Datum::Null, |start| moment(start.0)),
        moment(manifest.end.0),
        count(|table| table.bytes),
        count(|table| table.rows),
        Datum::Bool(manifest.targets.cluster),
    ]);
    if let Some(describe) = describe {
        row.push(describe(id, objects).map_or(Datum::Null, Datum::Text));
    }
    if options.privileges {
        row.push(Datum::Text(line.grants.iter().map(|grant| format!("{grant}; ")).collect()));
        row.push(line.owner.clone().map_or(Datum::Null, Datum::Text));
    }
    if options.check_files {
        let bytes: u64 = manifest.files_of(id).map(|file| file.stored.file_bytes).sum();
        row.push(table.map_or(Datum::Null, |_| Datum::Int(i64::try_from(bytes).unwrap_or(i64::MAX))));
    }
    row
}

/// Whether each file is there and is what was written. Cost: reads all of them, one at a time.
async fn check_files(backup: &Backup) -> Result<(), BackupError> {
    let (mut wrong, mut are_missing) = (Vec::new(), true);
    for layer in &backup.layers {
        let catalog = layer.manifest.catalog.iter().map(|file| (&file.name, &file.stored));
        let data = layer.manifest.files.iter().map(|file| (&file.name, &file.stored));
        for (name, stored) in catalog.chain(data) {
            let shown = layer.folder.shown(name);
            match layer.folder.fault(name, stored).await? {
                None => {}
                Some(Fault::Missing) => wrong.push(format!("{shown} (missing)")),
                Some(Fault::Damaged(what)) => {
                    are_missing = false;
                    wrong.push(format!("{shown} ({what})"));
                }
            }
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let count = wrong.len();
    wrong.truncate(SHOWN_MAX);
    let code = if are_missing { UNDEFINED_FILE } else { DATA_CORRUPTED };
    let message =
        format!("{count} files of the backup are missing or not what was written: {}", wrong.join(", "));
    Err(BackupError::new(code, message)
        .hint("Take a full backup anew, or get the files from a copy of the bucket."))
}

fn moment(time: Timestamp) -> Datum {
    Datum::Timestamp(i64::try_from(time.nanos / 1_000).unwrap_or(i64::MAX))
}

fn column(name: &str, sql_type: SqlType) -> ColumnInfo {
    ColumnInfo { name: name.to_owned(), sql_type }
}

/// How many files an error names.
const SHOWN_MAX: usize = 20;
