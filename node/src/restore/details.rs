//! What a job that restores was asked for: its record, as bytes of ours that nobody prints.
//!
//! Which backup, up to when and with which key the statement found out: whoever goes on with the job restores the same. The
//! passphrase is not in it; the key of the backup is. URIs are as they were written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use grantd_catalog::job::Opaque;
use grantd_catalog::refusal::{Refusal, state};
use serde::{Deserialize, Serialize};

use crate::backup::BackupError;
use crate::backup::cipher::{DataKey, Keys};
use crate::backup::manifest::Time;
use crate::restore::choice::Wanted;

/// What was asked for. It may hold secrets: it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Details {
    format: u32,
    /// What.
    pub asked: Asked,
    /// In base64. None: it is not encrypted.
    key: Option<String>,
}

/// What is said of a restore beside its key.
#[derive(Clone, Serialize, Deserialize)]
pub struct Asked {
    /// The place of the collection.
    pub collection: String,
    /// Where incremental layers are, if elsewhere.
    pub incremental_location: Option<String>,
    /// The folder of the full backup.
    pub full: String,
    /// As of when.
    pub time: Time,
    /// What of it, and where to.
    pub wanted: Wanted,
    /// How much of the work is done.
    pub extent: Extent,
}

/// How much of a restore is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// All.
    All,
    /// The objects come without their rows, and nothing of those is read.
    Schema,
    /// The objects come without their rows, which are read all the same.
    SchemaVerified,
    /// Everything is read, and nothing comes.
    Verified,
}

impl Extent {
    /// Whether all files are read before anything comes.
    pub const fn verifies(self) -> bool {
        !matches!(self, Self::Schema)
    }
}

impl Details {
    /// Of what was asked.
    pub fn new(asked: Asked, key: Option<&DataKey>) -> Self {
        Self { format: FORMAT, asked, key: key.map(|key| BASE64.encode(key.expose())) }
    }

    /// For the record.
    pub fn encode(&self) -> Result<Opaque, Refusal> {
        let bytes = serde_json::to_vec(self);
        bytes.map(Opaque::new).map_err(|_| unreadable("cannot be written"))
    }

    /// Of a record.
    pub fn decode(record: &Opaque) -> Result<Self, Refusal> {
        // What the parser says repeats what it read.
        let read = |_| unreadable("cannot be read");
        let format: Format = serde_json::from_slice(record.expose()).map_err(read)?;
        if format.format != FORMAT {
            let what = format!("has format {}, which this release does not know", format.format);
            return Err(unreadable(&what));
        }
        serde_json::from_slice(record.expose()).map_err(read)
    }

    /// With what it is read.
    pub fn keys(&self) -> Result<Keys, BackupError> {
        let Some(key) = &self.key else { return Ok(Keys::None) };
        let bytes = BASE64.decode(key).map_err(|_| unreadable("has a damaged key"))?;
        Ok(Keys::Known(DataKey::of(&bytes)?, None))
    }
}

/// What every format of it has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

fn unreadable(what: &str) -> Refusal {
    Refusal::new(state::INVALID_PARAMETER_VALUE, format!("the record of a restore's job {what}"))
        .with_hint("It was made by another release of grantd: resume the job on a node of that one.")
}

/// Of the record. It is in the log: a change of it is a new number.
const FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    use grantd_catalog::id::Timestamp;

    use super::*;
    use crate::restore::choice::{Pattern, WantedTargets};

    fn asked() -> Asked {
        let pattern = Pattern { within: vec!["shop".to_owned()], table: None };
        let targets = WantedTargets::Tables {
            patterns: vec![pattern],
            database: Some("defaultdb".to_owned()),
            search_path: vec!["public".to_owned()],
        };
        Asked {
            collection: "nodelocal://1/b".to_owned(),
            incremental_location: None,
            full: "2026/11/22-181239.05".to_owned(),
            time: Time(Timestamp { nanos: 7, logical: 1 }),
            wanted: Wanted { targets, skip_views: true, ..Wanted::default() },
            extent: Extent::SchemaVerified,
        }
    }

    /// Nodes of several releases read the record: these are its bytes.
    #[test]
    fn a_record_is_these_bytes() {
        let record = Details::new(asked(), None).encode().unwrap();
        let golden = r#"{"format":1,"asked":{"collection":"nodelocal://1/b","incremental_location":null,"full":"2026/11/22-181239.05","time":"7.0000000001","wanted":{"targets":{"Tables":{"patterns":[{"within":["shop"],"table":null}],"database":"defaultdb","search_path":["public"]}},"into_db":null,"new_db_name":null,"skip_foreign_keys":false,"skip_sequences":false,"skip_sequence_owners":false,"skip_views":true},"extent":"schema_verified"},"key":null}"#;
        assert_eq!(std::str::from_utf8(record.expose()).unwrap(), golden);
        let again = Details::decode(&record).unwrap();
        assert!(again.encode().unwrap() == record);
        assert!(matches!(again.keys().unwrap(), Keys::None));
    }

    #[test]
    fn the_key_goes_with_the_record_and_another_format_repeats_nothing() {
        let key = DataKey::random().unwrap();
        let record = Details::new(asked(), Some(&key)).encode().unwrap();
        let Keys::Known(again, None) = Details::decode(&record).unwrap().keys().unwrap() else {
            panic!("it has a key")
        };
        assert!(again.expose() == key.expose());
        for bytes in [&b"{\"format\":2,\"collection\":\"s3://b?KEY=k\"}"[..], b"s3://b?KEY=k", b""] {
            let refused = Details::decode(&Opaque::new(bytes.to_vec())).err().unwrap();
            assert!(!refused.message.contains("KEY"), "{}", refused.message);
        }
    }
}
