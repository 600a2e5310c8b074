//! What a changefeed was made as, in the record of its job. It holds secrets, and prints none.

use std::fmt;

use bincode::{Decode, Encode};
use grantd_catalog::id::{ObjectId, Timestamp};
use grantd_catalog::job::Opaque;
use grantd_catalog::object::ConnectionUri;
use grantd_raft::codec::{Kind, open_value, seal_value};

use super::topic::Target;
use crate::cloud::redact;

/// What stands behind WITH, as it was written: names, and values, which may be secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Written(pub Vec<(String, Option<String>)>);

/// What a changefeed was made as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Details {
    /// Where it goes, as it was written: an external connection is looked up at each use.
    pub sink: ConnectionUri,
    /// How.
    pub options: Written,
    /// The time of the statement, from which times of options count and the feed begins.
    pub made_at: Timestamp,
    /// What is fed.
    pub targets: Vec<Target>,
    /// The topic of each.
    pub topics: Vec<String>,
}

/// Frozen.
#[derive(Encode, Decode)]
struct DetailsV1 {
    sink: String,
    options: Vec<(String, Option<String>)>,
    made_at: Timestamp,
    targets: Vec<(ObjectId, Vec<String>)>,
    topics: Vec<String>,
}

const FORMAT: u16 = 1;

/// The one option whose value is a secret in all.
const SECRET: &str = "webhook_auth_header";

impl Details {
    /// As the job's record keeps it.
    pub fn seal(&self) -> Opaque {
        let target = |target: &Target| (target.table, target.name.to_vec());
        Opaque::new(seal_value(
            Kind::Job,
            FORMAT,
            &DetailsV1 {
                sink: self.sink.expose().to_owned(),
                options: self.options.0.clone(),
                made_at: self.made_at,
                targets: self.targets.iter().map(target).collect(),
                topics: self.topics.clone(),
            },
        ))
    }

    /// From the job's record. None: another release made it.
    pub fn open(kept: &Opaque) -> Option<Self> {
        let DetailsV1 { sink, options, made_at, targets, topics } =
            open_value(Kind::Job, FORMAT, kept.expose()).ok()?;
        let target =
            |(table, name): (ObjectId, Vec<String>)| Some(Target { table, name: name.try_into().ok()? });
        let targets = targets.into_iter().map(target).collect::<Option<_>>()?;
        Some(Self { sink: ConnectionUri::new(sink), options: Written(options), made_at, targets, topics })
    }

    /// What may be shown of where it goes.
    pub fn shown_sink(&self) -> String {
        redact::uri(self.sink.expose())
    }

    /// The word of its format.
    pub fn format(&self) -> &str {
        self.options.value("format").unwrap_or("json")
    }
}

impl Written {
    /// The value of an option.
    pub fn value(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name)?;
        found.1.as_deref()
    }

    /// Names and what may be shown of values.
    pub fn shown(&self) -> impl Iterator<Item = (&str, Option<String>)> {
        self.0.iter().map(|(name, value)| {
            let shown = |value: &String| match name.as_str() {
                SECRET => redact::REDACTED.to_owned(),
                _ => redact::text(value),
            };
            (name.as_str(), value.as_ref().map(shown))
        })
    }
}

impl fmt::Debug for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details() -> Details {
        Details {
            sink: ConnectionUri::new("s3://b/p?AWS_ACCESS_KEY_ID=i&AWS_SECRET_ACCESS_KEY=sesame".to_owned()),
            options: Written(vec![
                ("updated".to_owned(), None),
                ("webhook_auth_header".to_owned(), Some("Bearer sesame".to_owned())),
            ]),
            made_at: Timestamp { nanos: 7, logical: 1 },
            targets: vec![Target { table: ObjectId(104), name: ["d", "public", "t"].map(str::to_owned) }],
            topics: vec!["t".to_owned()],
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        assert_eq!(Details::open(&details().seal()), Some(details()));
        assert_eq!(Details::open(&Opaque::new(b"{}".to_vec())), None);
    }

    /// Case 104.
    #[test]
    fn nothing_that_is_shown_of_it_is_secret() {
        let details = details();
        let shown: Vec<_> = details.options.shown().collect();
        let text = format!("{details:?} {} {shown:?}", details.shown_sink());
        assert!(!text.contains("sesame"), "{text}");
        assert!(text.contains("updated") && text.contains("s3://b/p"), "{text}");
    }
}
