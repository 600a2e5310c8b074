//! What a job that writes a backup was asked for: its record, as bytes of ours that nobody prints.
//!
//! All that depends on who asked, and when, was found out by the statement: which folder, up to when, the key. So whoever goes on
//! with the job writes the same layer. The passphrase is not in it; the key of the backup is, because a node that takes the job up
//! has nobody to ask. URIs are as they were written, for the same reason.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use grantd_catalog::job::Opaque;
use grantd_catalog::refusal::{Refusal, state};
use serde::{Deserialize, Serialize};

use super::BackupError;
use super::cipher::{DataKey, Keys};
use super::manifest::{Targets, Time};

/// What was asked for. It may hold secrets: it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Details {
    format: u32,
    /// The place of the collection.
    pub collection: String,
    /// Where incremental layers are, if elsewhere.
    pub incremental_location: Option<String>,
    /// The folder of the full backup.
    pub full: String,
    /// Whether it is an incremental layer of that one.
    pub incremental: bool,
    /// All commits up to this.
    pub end: Time,
    /// What it is of.
    pub targets: Targets,
    /// Whether each time in it may be restored.
    pub revision_history: bool,
    /// In base64. None: it is not encrypted.
    key: Option<String>,
    /// ENCRYPTION-INFO of a new one, in base64.
    info: Option<String>,
}

/// What is said of a layer beside its key.
pub struct Asked {
    /// The place of the collection.
    pub collection: String,
    /// Where incremental layers are, if elsewhere.
    pub incremental_location: Option<String>,
    /// The folder of the full backup.
    pub full: String,
    /// Whether it is an incremental layer of that one.
    pub incremental: bool,
    /// All commits up to this.
    pub end: Time,
    /// What it is of.
    pub targets: Targets,
    /// Whether each time in it may be restored.
    pub revision_history: bool,
}

impl Details {
    /// Of what was asked. `key`: of an encrypted one, and of a new one what ENCRYPTION-INFO says of it.
    pub fn new(asked: Asked, key: Option<&(DataKey, Option<Vec<u8>>)>) -> Self {
        let Asked { collection, incremental_location, full, incremental, end, targets, revision_history } =
            asked;
        Self {
            format: FORMAT,
            collection,
            incremental_location,
            full,
            incremental,
            end,
            targets,
            revision_history,
            key: key.map(|(key, _)| BASE64.encode(key.expose())),
            info: key.and_then(|(_, info)| info.as_ref()).map(|info| BASE64.encode(info)),
        }
    }

    /// For the record.
    pub fn encode(&self) -> Result<Opaque, Refusal> {
        let bytes = serde_json::to_vec(self);
        bytes.map(Opaque::new).map_err(|_| unreadable("cannot be written"))
    }

    /// Of a record.
    pub fn decode(record: &Opaque) -> Result<Self, Refusal> {
        // What the parser says repeats what it read.
        let format: Format =
            serde_json::from_slice(record.expose()).map_err(|_| unreadable("cannot be read"))?;
        if format.format != FORMAT {
            return Err(unreadable(&format!(
                "has format {}, which this release does not know",
                format.format
            )));
        }
        serde_json::from_slice(record.expose()).map_err(|_| unreadable("cannot be read"))
    }

    /// With what it is written.
    pub fn keys(&self) -> Result<Keys, BackupError> {
        let bytes = |text: &String| BASE64.decode(text).map_err(|_| unreadable("has a damaged key"));
        let Some(key) = self.key.as_ref().map(bytes).transpose()? else { return Ok(Keys::None) };
        let info = self.info.as_ref().map(bytes).transpose()?;
        Ok(Keys::Known(DataKey::of(&key)?, info))
    }
}

/// What every format of it has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

fn unreadable(what: &str) -> Refusal {
    Refusal::new(state::INVALID_PARAMETER_VALUE, format!("the record of a backup's job {what}"))
        .with_hint("It was made by another release of grantd: resume the job on a node of that one.")
}

/// Of the record. It is in the log: a change of it is a new number.
const FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    use grantd_catalog::id::Timestamp;

    use super::*;

    fn asked() -> Asked {
        Asked {
            collection: "nodelocal://1/b".to_owned(),
            incremental_location: None,
            full: "2026/11/22-181239.05".to_owned(),
            incremental: false,
            end: Time(Timestamp { nanos: 7, logical: 1 }),
            targets: Targets { databases: vec![104], ..Targets::default() },
            revision_history: true,
        }
    }

    /// Nodes of several releases read the record: these are its bytes.
    #[test]
    fn a_record_is_these_bytes() {
        let record = Details::new(asked(), None).encode().unwrap();
        let golden = r#"{"format":1,"collection":"nodelocal://1/b","incremental_location":null,"full":"2026/11/22-181239.05","incremental":false,"end":"7.0000000001","targets":{"cluster":false,"databases":[104],"tables":[]},"revision_history":true,"key":null,"info":null}"#;
        assert_eq!(std::str::from_utf8(record.expose()).unwrap(), golden);
        let again = Details::decode(&record).unwrap();
        assert!(again.encode().unwrap() == record);
        assert!(matches!(again.keys().unwrap(), Keys::None));
    }

    #[test]
    fn a_record_of_another_format_is_refused_and_repeats_nothing() {
        for bytes in [&b"{\"format\":2,\"collection\":\"s3://b?KEY=k\"}"[..], b"s3://b?KEY=k", b""] {
            let refused = Details::decode(&Opaque::new(bytes.to_vec())).err().unwrap();
            assert!(!refused.message.contains("KEY"), "{}", refused.message);
        }
    }

    #[test]
    fn the_key_goes_with_the_record() {
        let key = DataKey::random().unwrap();
        let record = Details::new(asked(), Some(&(key.clone(), Some(vec![1, 2])))).encode().unwrap();
        let Keys::Known(again, info) = Details::decode(&record).unwrap().keys().unwrap() else {
            panic!("it has a key")
        };
        assert!(again.expose() == key.expose());
        assert_eq!(info, Some(vec![1, 2]));
    }
}
