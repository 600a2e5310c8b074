//! The manifest of a layer, and the checkpoint of one that is being written, which is the same as far as it got: JSON, compressed,
//! encrypted if the backup is. Others read it, so names in it are not changed.

use grantd_catalog::id::{ObjectId, Timestamp};
use grantd_catalog::object::Object;
use grantd_catalog::record::Record;
use grantd_catalog::refusal::state;
use grantd_catalog::wire;
use std::io::Read;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use grantd_raft::rows::{Place, Value};
use serde::{Deserialize, Serialize};

use super::{BackupError, names};

/// What a layer says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Of this structure, and of all that it names.
    pub format: u32,
    /// Whether it says everything, or what happened since another one.
    pub kind: Kind,
    /// The cluster's identity.
    pub cluster: String,
    /// Which node wrote it last.
    pub node: u64,
    /// Its release.
    pub release: String,
    /// Which job.
    pub job: String,
    /// For an incremental one: the end of the layer before.
    pub start: Option<Time>,
    /// All commits up to this are in it.
    pub end: Time,
    /// When grants, roles and settings were read: never before `end`.
    pub catalog_time: Time,
    /// Whether each time between start and end can be restored, not only the end.
    pub revision_history: bool,
    /// What it is of.
    pub targets: Targets,
    /// Whether its files are encrypted.
    pub encrypted: bool,
    /// Files of records of the catalog.
    pub catalog: Vec<CatalogFile>,
    /// Tables and sequences.
    pub tables: Vec<TableEntry>,
    /// Their files, by table and in the order in which they are read.
    pub files: Vec<DataFile>,
    /// Where a checkpoint stands. None: it is finished.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<Next>,
}

/// Full or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the words of the format")]
pub enum Kind {
    Full,
    Incremental,
}

/// What a backup is of. Ids; an incremental one has those of its full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// All there is.
    pub cluster: bool,
    /// Databases, with what comes into them later.
    pub databases: Vec<u32>,
    /// Tables, views, sequences.
    pub tables: Vec<u32>,
}

/// A table or sequence in a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableEntry {
    /// Of the cluster that was backed up.
    pub id: u32,
    /// `table` or `sequence`.
    pub kind: String,
    /// Where it was.
    pub database: String,
    /// Where it was.
    pub schema: String,
    /// What it was called.
    pub name: String,
    /// Its record of the catalog without grants: of a full at the end, of an incremental one at the start. None: it was not there.
    pub shape: Option<String>,
    /// What became of it in an incremental layer, in order.
    pub shapes: Vec<ShapeEntry>,
    /// Rows, or changes of rows, in this layer.
    pub rows: u64,
    /// Bytes of their values.
    pub bytes: u64,
}

/// That a table became another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShapeEntry {
    /// When.
    pub time: Time,
    /// Orders what one commit did.
    pub number: u32,
    /// Its record of the catalog from then on. None: it was dropped.
    pub shape: Option<String>,
    /// For each stored column which one it was before; -1: it is new and NULL. None: all rows went, and came in the new shape.
    pub kept: Option<Vec<i32>>,
}

/// A file of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Below the folder of the layer.
    pub name: String,
    /// Whose rows.
    pub table: u32,
    /// Which shape they have: 0 is that of [`TableEntry::shape`], others are of [`TableEntry::shapes`], from 1 on.
    pub shape: u32,
    /// `rows` or `changes`.
    pub content: Content,
    /// How many.
    pub rows: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// Of rows: the key of the first and of the last.
    pub keys: Option<(Vec<Typed>, Vec<Typed>)>,
    /// Of changes: the time of the first and of the last.
    pub times: Option<(Time, Time)>,
    /// What is stored.
    #[serde(flatten)]
    pub stored: Stored,
}

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the words of the format")]
pub enum Content {
    Rows,
    Changes,
}

/// A file of lines of the catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogFile {
    /// Below the folder of the layer.
    pub name: String,
    /// How many lines.
    pub records: u64,
    /// What is stored.
    #[serde(flatten)]
    pub stored: Stored,
}

/// The bytes of a file, as they are in the bucket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// How many.
    pub file_bytes: u64,
    /// Their SHA-256, in hexadecimal.
    pub sha256: String,
}

/// Where a checkpoint goes on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// The place in [`Manifest::tables`].
    pub table: usize,
    /// Of rows: behind this key. None: from the first on.
    pub key: Option<Vec<Typed>>,
    /// Of changes: behind this.
    pub change: Option<(Time, u32)>,
}

/// A time as a text of seconds nobody has to guess at: nanoseconds since 1970, a point, ten digits of a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Timestamp);

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}.{:010}", self.0.nanos, self.0.logical))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parsed = text.split_once('.').and_then(|(nanos, logical)| {
            Some(Timestamp { nanos: nanos.parse().ok()?, logical: logical.parse().ok()? })
        });
        parsed.map(Self).ok_or_else(|| serde::de::Error::custom("no time"))
    }
}

/// A value of a key with its storage class.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the storage classes of the row store")]
pub enum Typed {
    Null,
    Integer(i64),
    /// The bits of a double, in hexadecimal.
    Real(String),
    Text(String),
    /// In base64.
    Bytes(String),
}

impl From<&Value> for Typed {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Integer(value) => Self::Integer(*value),
            Value::Real(value) => Self::Real(format!("{:016x}", value.to_bits())),
            Value::Text(value) => Self::Text(value.clone()),
            Value::Blob(value) => Self::Bytes(BASE64.encode(value)),
        }
    }
}

impl Typed {
    /// The value.
    pub fn value(&self) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Integer(value) => Value::Integer(*value),
            Self::Real(bits) => Value::Real(f64::from_bits(u64::from_str_radix(bits, 16).ok()?)),
            Self::Text(value) => Value::Text(value.clone()),
            Self::Bytes(value) => Value::Blob(BASE64.decode(value).ok()?),
        })
    }
}

/// A key as the manifest has it.
pub fn typed(key: &[Value]) -> Vec<Typed> {
    key.iter().map(Typed::from).collect()
}

/// A key of the manifest.
pub fn key(file: &str, typed: &[Typed]) -> Result<Vec<Value>, BackupError> {
    let values = typed.iter().map(Typed::value).collect::<Option<Vec<_>>>();
    values.ok_or_else(|| BackupError::damaged(file, "a key in it is no value"))
}

/// An object as a manifest has it: the bytes of its record.
pub fn shape(object: &Arc<Object>) -> Result<String, BackupError> {
    let bare = Object { acl: grantd_catalog::grant::Acl::default(), ..Object::clone(object) };
    let bytes = wire::encode_record(&Record::Object(Arc::new(bare)));
    let bytes = bytes.map_err(|error| BackupError::new(state::PROGRAM_LIMIT_EXCEEDED, error.to_string()))?;
    Ok(BASE64.encode(bytes))
}

/// The object of a shape.
pub fn object(file: &str, shape: &str) -> Result<Arc<Object>, BackupError> {
    let bytes = BASE64.decode(shape).map_err(|error| BackupError::damaged(file, error))?;
    match wire::decode_record(&bytes) {
        Ok(Record::Object(object)) => Ok(object),
        Ok(_) => Err(BackupError::damaged(file, "a shape in it is not of an object")),
        Err(error @ wire::WireError::NewerFormat { .. }) => Err(newer(file, &error)),
        Err(error) => Err(BackupError::damaged(file, error)),
    }
}

/// Written by a release that comes after this one.
pub fn newer(file: &str, what: &dyn std::fmt::Display) -> BackupError {
    BackupError::new(state::FEATURE_NOT_SUPPORTED, format!("{file}: {what}"))
        .hint("Restore it with the release that wrote it, or a newer one.")
}

impl Manifest {
    /// Its bytes, compressed.
    pub fn to_bytes(&self) -> Result<Vec<u8>, BackupError> {
        let internal = |error: &dyn std::fmt::Display| {
            BackupError::new(crate::error::state::INTERNAL, format!("a manifest cannot be written: {error}"))
        };
        let mut out = zstd::Encoder::new(Vec::new(), LEVEL).map_err(|error| internal(&error))?;
        serde_json::to_writer(&mut out, self).map_err(|error| internal(&error))?;
        out.finish().map_err(|error| internal(&error))
    }

    /// What the bytes say. `file`: what they are of.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, BackupError> {
        let text = decompressed(file, bytes)?;
        let head: Head = serde_json::from_slice(&text).map_err(|error| BackupError::damaged(file, error))?;
        if head.format != FORMAT {
            return Err(newer(file, &format_args!("format {} is not known to this release", head.format)));
        }
        let manifest: Self =
            serde_json::from_slice(&text).map_err(|error| BackupError::damaged(file, error))?;
        let catalog = manifest.catalog.iter().map(|file| &file.name);
        let mut named = catalog.chain(manifest.files.iter().map(|file| &file.name));
        // Whoever writes the bucket must not lead a node anywhere else.
        match named.find(|name| !names::is_data(name)) {
            None => Ok(manifest),
            Some(_) => Err(BackupError::damaged(file, "it names a file that is not of its layer")),
        }
    }

    /// Files of one table, in the order in which they are read.
    pub fn files_of(&self, table: ObjectId) -> impl Iterator<Item = &DataFile> {
        self.files.iter().filter(move |file| file.table == table.0)
    }

    /// The table of this id.
    pub fn table(&self, id: ObjectId) -> Option<&TableEntry> {
        self.tables.iter().find(|table| table.id == id.0)
    }

    /// The sizes of all its files.
    pub fn file_bytes(&self) -> u64 {
        let catalog = self.catalog.iter().map(|file| file.stored.file_bytes);
        catalog.chain(self.files.iter().map(|file| file.stored.file_bytes)).sum()
    }
}

impl ShapeEntry {
    /// Where it stands.
    pub fn place(&self) -> Place {
        Place { time: self.time.0, number: self.number }
    }
}

/// What is read before the rest.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

/// The bytes before compression, if they are no more than is taken into memory.
pub fn decompressed(file: &str, bytes: &[u8]) -> Result<Vec<u8>, BackupError> {
    let decoder = zstd::Decoder::new(bytes).map_err(|error| BackupError::damaged(file, error))?;
    let mut text = Vec::new();
    let read = decoder.take(TEXT_BYTES_MAX + 1).read_to_end(&mut text);
    read.map_err(|error| BackupError::damaged(file, error))?;
    if text.len() as u64 > TEXT_BYTES_MAX {
        return Err(BackupError::new(
            state::PROGRAM_LIMIT_EXCEEDED,
            format!("{file} has more than {TEXT_BYTES_MAX} bytes without compression"),
        ));
    }
    Ok(text)
}

/// Of the manifest and what it names.
pub const FORMAT: u32 = 1;
/// A little slower than the fastest, and a third smaller.
pub const LEVEL: i32 = 3;
/// 100,000 files and 10,000 tables take some 60 MiB.
const TEXT_BYTES_MAX: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// What was written once is read for ever: names and forms of all that a manifest may have.
    #[test]
    fn a_manifest_of_the_first_format_is_read_and_written_as_it_was() {
        let text = r#"{"format":1,"kind":"incremental","cluster":"0a1b","node":2,"release":"0.1.0","job":"7",
            "start":"1795370359056000000.0000000001","end":"1795370360056000000.0000000000",
            "catalog_time":"1795370361056000000.0000000000","revision_history":true,
            "targets":{"cluster":false,"databases":[104],"tables":[]},"encrypted":false,
            "catalog":[{"name":"data/a.jsonl.zst","records":3,"file_bytes":350,"sha256":"de45"}],
            "tables":[{"id":106,"kind":"table","database":"shop","schema":"public","name":"t","shape":"AAA=",
                "shapes":[{"time":"1795370359056000001.0000000000","number":4,"shape":null,"kept":[0,-1]},
                    {"time":"1795370359056000002.0000000000","number":0,"shape":"AAA=","kept":null}],"rows":2,"bytes":16}],
            "files":[{"name":"data/b.parquet","table":106,"shape":1,"content":"changes","rows":2,"bytes":16,"keys":null,
                "times":["1795370359056000001.0000000000","1795370359056000001.0000000009"],"file_bytes":512,"sha256":"ab12"},
                {"name":"data/c.parquet","table":106,"shape":0,"content":"rows","rows":1,"bytes":8,
                "keys":[[{"integer":1},{"text":"a"}],[{"real":"3ff0000000000000"},{"bytes":"AAA="}]],"times":null,
                "file_bytes":512,"sha256":"ab13"}],
            "next":{"table":1,"key":["null"],"change":["1795370359056000001.0000000000",4]}}"#;
        let manifest = Manifest::parse("m", &zstd::encode_all(text.as_bytes(), 0).unwrap()).unwrap();
        let squeezed: String = text.lines().map(str::trim_start).collect();
        assert_eq!(serde_json::to_string(&manifest).unwrap(), squeezed);
        assert_eq!(Manifest::parse("m", &manifest.to_bytes().unwrap()).unwrap(), manifest);
        let keys = manifest.files[1].keys.clone().unwrap();
        assert_eq!(key("m", &keys.1).unwrap(), [Value::Real(1.0), Value::Blob(vec![0, 0])]);
        let elsewhere = text.replace("data/b.parquet", "data/../../b.parquet");
        let error = Manifest::parse("m", &zstd::encode_all(elsewhere.as_bytes(), 0).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "backup file m is damaged: it names a file that is not of its layer");
        let newer = text.replace("\"format\":1", "\"format\":2");
        let error = Manifest::parse("m", &zstd::encode_all(newer.as_bytes(), 0).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "m: format 2 is not known to this release");
    }
}
