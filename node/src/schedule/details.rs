//! What a schedule runs: its statement, and what the names in it mean. Bytes of ours in the record that nobody prints.
//!
//! The statement is whole, with what keys and passphrases its URIs and options have: each run opens the place anew, and nobody is
//! there to ask.

use grantd_catalog::command::NameContext;
use grantd_catalog::job::Opaque;
use grantd_catalog::name::Name;
use grantd_catalog::refusal::{Refusal, state};
use serde::{Deserialize, Serialize};

/// What is stored. It may hold secrets: it has no `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Details {
    format: u32,
    /// BACKUP, as for a full one.
    pub statement: String,
    database: Option<String>,
    search_path: Vec<String>,
}

impl Details {
    /// Of a statement, and what its names meant where the schedule was made.
    pub fn new(statement: String, context: &NameContext) -> Self {
        Self {
            format: FORMAT,
            statement,
            database: context.database.as_ref().map(ToString::to_string),
            search_path: context.search_path.iter().map(|name| name.as_str().to_owned()).collect(),
        }
    }

    /// The database in which names are looked up.
    pub fn database(&self) -> Option<Name> {
        self.database.as_deref().map(Name::normalize)
    }

    /// The schemas in which they are.
    pub fn search_path(&self) -> Vec<Name> {
        self.search_path.iter().map(|name| Name::normalize(name)).collect()
    }

    /// For the record.
    pub fn encode(&self) -> Result<Opaque, Refusal> {
        let bytes = serde_json::to_vec(self);
        bytes.map(Opaque::new).map_err(|_| unreadable("cannot be written"))
    }

    /// Of a record.
    pub fn decode(record: &Opaque) -> Result<Self, Refusal> {
        // What the parser says repeats what it read.
        let found: Self =
            serde_json::from_slice(record.expose()).map_err(|_| unreadable("cannot be read"))?;
        match found.format {
            FORMAT => Ok(found),
            other => Err(unreadable(&format!("has format {other}, which this release does not know"))),
        }
    }
}

fn unreadable(what: &str) -> Refusal {
    Refusal::new(state::INVALID_PARAMETER_VALUE, format!("the record of a schedule {what}"))
        .with_hint("It was made by another release of grantd: drop it, and make it again.")
}

/// Of the record. It is in the log: a change of it is a new number.
const FORMAT: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn details() -> Details {
        let context = NameContext {
            database: Some(Name::normalize("d")),
            search_path: vec![Name::normalize("public")],
        };
        Details::new("BACKUP INTO 'c' WITH detached".to_owned(), &context)
    }

    /// Nodes of several releases read the record: these are its bytes.
    #[test]
    fn a_record_is_these_bytes() {
        let record = details().encode().unwrap();
        let golden = r#"{"format":1,"statement":"BACKUP INTO 'c' WITH detached","database":"d","search_path":["public"]}"#;
        assert_eq!(std::str::from_utf8(record.expose()).unwrap(), golden);
        let again = Details::decode(&record).unwrap();
        assert!(again == details());
        assert_eq!(
            (again.database(), again.search_path()),
            (Some(Name::normalize("d")), vec![Name::normalize("public")])
        );
    }

    #[test]
    fn a_record_of_another_format_is_refused_and_repeats_nothing() {
        let other = br#"{"format":2,"statement":"s3://b?KEY=k","database":null,"search_path":[]}"#;
        for bytes in [&other[..], b"s3://b?KEY=k", b""] {
            let refused = Details::decode(&Opaque::new(bytes.to_vec())).err().unwrap();
            assert!(!refused.message.contains("KEY"), "{}", refused.message);
        }
    }
}
