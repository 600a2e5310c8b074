//! What CREATE CHANGEFEED … WITH says, checked once. Source of names, defaults and texts: cloud-jobs specification, D.2.

use std::collections::BTreeMap;
use std::time::Duration;

use grantd_catalog::id::Timestamp;
use grantd_catalog::refusal::{Refusal, state};

use crate::cloud::chain::Hashed;
use crate::cloud::uri::Uri;
use crate::secret::Secret;

mod configured;
mod time;

pub use configured::{Compressed, Flush, KafkaConfig, Retry, SendConfig};
pub use time::{duration, moment};

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How messages look.
    pub message: Message,
    /// Whether the rows that are there already are sent first.
    pub initial_scan: InitialScan,
    /// Changes after this time. None: after the statement's own.
    pub cursor: Option<Timestamp>,
    /// Changes up to this time, and no further.
    pub end_time: Option<Timestamp>,
    /// How often resolved messages come, at most. None: never; zero: each time that something is kept.
    pub resolved: Option<Duration>,
    /// How often what was sent is made sure of, and kept.
    pub min_checkpoint_frequency: Duration,
    /// Which changes of a table's shape count.
    pub schema_change_events: SchemaEvents,
    /// What such a change leads to.
    pub schema_change_policy: SchemaPolicy,
    /// What an error leads to that cannot be tried again.
    pub on_error: OnError,
    /// Whether history is held while the feed is paused.
    pub protect_on_pause: bool,
    /// How old what is held may become.
    pub gc_protect_expires_after: Option<Duration>,
    /// Of files.
    pub compression: Option<Codec>,
    /// Whether the order of a key's changes does not matter.
    pub unordered: bool,
    /// `kafka_sink_config`.
    pub kafka: KafkaConfig,
    /// `webhook_sink_config`.
    pub webhook: SendConfig,
    /// `pubsub_sink_config`.
    pub pubsub: SendConfig,
    /// `webhook_auth_header`.
    pub webhook_auth_header: Option<Hashed>,
    /// `webhook_client_timeout`.
    pub webhook_timeout: Duration,
}

/// How messages look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// What is around a row.
    pub envelope: Envelope,
    /// How it is written.
    pub format: Format,
    /// With the time of the commit.
    pub updated: bool,
    /// With the time at which the row was written.
    pub mvcc_timestamp: bool,
    /// With the row before.
    pub diff: bool,
    /// With the key in the value.
    pub key_in_value: bool,
    /// With the topic in the value.
    pub topic_in_value: bool,
    /// Topics are `database.schema.table`.
    pub full_table_name: bool,
}

/// `envelope`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement")]
pub enum Envelope {
    Wrapped,
    Row,
    KeyOnly,
    Bare,
}

/// `format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement")]
pub enum Format {
    Json,
    Csv,
    Parquet,
}

/// `initial_scan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement")]
pub enum InitialScan {
    Yes,
    No,
    Only,
}

/// `schema_change_events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaEvents {
    /// Those that write the rows of the table anew.
    Default,
    /// Columns that come or go.
    ColumnChanges,
}

/// `schema_change_policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaPolicy {
    /// All rows are sent again.
    Backfill,
    /// It goes on with the new shape.
    Nobackfill,
    /// The feed ends there.
    Stop,
    /// As `Nobackfill`.
    Ignore,
}

/// `on_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement")]
pub enum OnError {
    Fail,
    Pause,
}

/// `compression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the statement")]
pub enum Codec {
    Gzip,
    Zstd,
}

/// What was written, each name once.
struct Given(BTreeMap<String, Option<String>>);

impl Options {
    /// Reads what stands behind WITH. `now`: the time of the statement, for times that are relative to it.
    pub fn parse(given: &[(String, Option<String>)], now: Timestamp) -> Result<Self, Refusal> {
        let given = Given::new(given)?;
        let initial_scan = given.initial_scan()?;
        let message = given.message()?;
        let options = Self {
            message,
            initial_scan,
            cursor: given.moment("cursor", now)?,
            end_time: given.moment("end_time", now)?,
            resolved: match given.0.get("resolved") {
                None => None,
                Some(None) => Some(Duration::ZERO),
                Some(Some(_)) => given.duration("resolved")?,
            },
            min_checkpoint_frequency: given.duration("min_checkpoint_frequency")?.unwrap_or(CHECKPOINT_EVERY),
            schema_change_events: given
                .word(
                    "schema_change_events",
                    &[("column_changes", SchemaEvents::ColumnChanges), ("default", SchemaEvents::Default)],
                )?
                .unwrap_or(SchemaEvents::Default),
            schema_change_policy: given
                .word(
                    "schema_change_policy",
                    &[
                        ("backfill", SchemaPolicy::Backfill),
                        ("nobackfill", SchemaPolicy::Nobackfill),
                        ("stop", SchemaPolicy::Stop),
                        ("ignore", SchemaPolicy::Ignore),
                    ],
                )?
                .unwrap_or(SchemaPolicy::Backfill),
            on_error: given
                .word("on_error", &[("pause", OnError::Pause), ("fail", OnError::Fail)])?
                .unwrap_or(OnError::Fail),
            protect_on_pause: given.flag("protect_data_from_gc_on_pause")?,
            gc_protect_expires_after: given.positive("gc_protect_expires_after")?,
            compression: given.word("compression", &[("gzip", Codec::Gzip), ("zstd", Codec::Zstd)])?,
            unordered: given.flag("unordered")?,
            kafka: KafkaConfig::read(given.value("kafka_sink_config")?)?,
            webhook: SendConfig::read("webhook_sink_config", given.value("webhook_sink_config")?)?,
            pubsub: SendConfig::read("pubsub_sink_config", given.value("pubsub_sink_config")?)?,
            webhook_auth_header: given
                .value("webhook_auth_header")?
                .map(|header| Hashed::new(Secret::new(header.to_owned()))),
            webhook_timeout: given.positive("webhook_client_timeout")?.unwrap_or(WEBHOOK_TIMEOUT),
        };
        // Known to fit the grammar of later releases or not: it has to be one of the two in any case.
        given.word("virtual_columns", &[("omitted", ()), ("null", ())])?;
        options.agree(&given)?;
        Ok(options)
    }

    /// What does not go together.
    fn agree(&self, given: &Given) -> Result<(), Refusal> {
        let Message { envelope, format, .. } = self.message;
        if self.initial_scan == InitialScan::Only {
            for other in ["end_time", "resolved", "diff", "mvcc_timestamp", "updated"] {
                if given.has(other) {
                    return Err(invalid(format!("cannot specify both initial_scan='only' and {other}")));
                }
            }
        } else if format == Format::Csv {
            return Err(invalid("format=csv is only usable with initial_scan_only"));
        }
        for (name, is_set, fits) in [
            ("diff", self.message.diff, envelope == Envelope::Wrapped),
            ("updated", self.message.updated, envelope != Envelope::KeyOnly),
            ("mvcc_timestamp", self.message.mvcc_timestamp, envelope != Envelope::KeyOnly),
            ("key_in_value", self.message.key_in_value, envelope != Envelope::KeyOnly),
            ("topic_in_value", self.message.topic_in_value, envelope != Envelope::KeyOnly),
        ] {
            if is_set && !fits {
                return Err(invalid(format!("{name} is only usable with envelope=wrapped")));
            }
        }
        if format == Format::Parquet {
            if envelope != Envelope::Wrapped {
                return Err(invalid(format!(
                    "envelope={} is not supported with format=parquet",
                    envelope.word()
                )));
            }
            if self.message.topic_in_value {
                return Err(invalid("topic_in_value is not supported with format=parquet"));
            }
        }
        if self.unordered && self.resolved.is_some() {
            return Err(invalid("resolved is not supported with unordered"));
        }
        if let (Some(cursor), Some(end)) = (self.cursor, self.end_time)
            && end < cursor
        {
            return Err(invalid("end_time must be after cursor"));
        }
        let scans = self.initial_scan == InitialScan::Yes
            || (self.schema_change_events, self.schema_change_policy)
                == (SchemaEvents::ColumnChanges, SchemaPolicy::Backfill);
        if self.message.mvcc_timestamp && scans {
            let message = "mvcc_timestamp is not supported where rows are scanned";
            return Err(Refusal::new(state::FEATURE_NOT_SUPPORTED, message).with_detail(
                "the row store does not keep when a row that is there already was written",
            ).with_hint(
                "write initial_scan='no', without schema_change_events='column_changes' or with schema_change_policy='nobackfill'",
            ));
        }
        Ok(())
    }

    /// What the sink takes, and what it adds by itself. Refusals: what it does not take.
    pub fn for_sink(mut self, sink: &Uri) -> Result<Self, Refusal> {
        let Message { envelope, format, .. } = self.message;
        let files =
            matches!(sink, Uri::S3(_) | Uri::Gs(_) | Uri::Nodelocal(_) | Uri::Azure(_) | Uri::Http(_));
        let kind = Self::only_of(sink);
        self.fit(kind, files)?;

        if kind != "kafka" && kind != "null" {
            if !matches!(envelope, Envelope::Wrapped | Envelope::Bare) {
                return Err(invalid(format!("this sink is incompatible with envelope={}", envelope.word())));
            }
            if format == Format::Json {
                self.message.key_in_value = true;
            }
        }
        self.message.topic_in_value |= kind == "webhook" && format == Format::Json;
        Ok(self)
    }

    /// Whether all of it makes sense where messages are rows of the client's.
    pub fn for_client(self) -> Result<Self, Refusal> {
        self.fit("client", false)?;
        Ok(self)
    }

    /// That there is no option of another kind of sink.
    fn fit(&self, kind: &str, files: bool) -> Result<(), Refusal> {
        let own = [
            ("compression", self.compression.is_some(), files),
            ("format=parquet", self.message.format == Format::Parquet, files),
            ("kafka_sink_config", self.kafka != KafkaConfig::default(), kind == "kafka"),
            ("pubsub_sink_config", self.pubsub != SendConfig::default(), kind == "gcpubsub"),
            ("webhook_sink_config", self.webhook != SendConfig::default(), kind == "webhook"),
            ("webhook_auth_header", self.webhook_auth_header.is_some(), kind == "webhook"),
            ("webhook_client_timeout", self.webhook_timeout != WEBHOOK_TIMEOUT, kind == "webhook"),
        ];
        match own.iter().find(|(_, is_set, fits)| *is_set && !fits) {
            Some((name, ..)) => Err(invalid(format!("this sink is incompatible with option {name}"))),
            None => Ok(()),
        }
    }

    fn only_of(sink: &Uri) -> &'static str {
        match sink {
            Uri::Kafka(_) => "kafka",
            Uri::PubSub(_) => "gcpubsub",
            Uri::Webhook(_) => "webhook",
            Uri::Null => "null",
            _ => "files",
        }
    }
}

impl Envelope {
    /// Its word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Wrapped => "wrapped",
            Self::Row => "row",
            Self::KeyOnly => "key_only",
            Self::Bare => "bare",
        }
    }
}

impl Given {
    fn new(given: &[(String, Option<String>)]) -> Result<Self, Refusal> {
        let mut all = BTreeMap::new();
        for (name, value) in given {
            if UNSUPPORTED.contains(&name.as_str()) {
                return Err(unsupported(format!("the option {name} of CHANGEFEED")));
            }
            if !KNOWN.contains(&name.as_str()) {
                return Err(invalid(format!("invalid option \"{name}\"")));
            }
            if all.insert(name.clone(), value.clone()).is_some() {
                return Err(invalid(format!("option \"{name}\" is given more than once")));
            }
        }
        Ok(Self(all))
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.0.get(name) {
            None => Ok(false),
            Some(None) => Ok(true),
            Some(Some(_)) => Err(invalid(format!("option \"{name}\" does not take a value"))),
        }
    }

    fn value(&self, name: &str) -> Result<Option<&str>, Refusal> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err(invalid(format!("option \"{name}\" requires a value"))),
        }
    }

    fn word<T: Copy>(&self, name: &str, words: &[(&str, T)]) -> Result<Option<T>, Refusal> {
        let Some(value) = self.value(name)? else { return Ok(None) };
        match words.iter().find(|(word, _)| *word == value) {
            Some((_, means)) => Ok(Some(*means)),
            None => Err(invalid(format!("unknown {name}: {value}, {}", listed(words)))),
        }
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, Refusal> {
        self.value(name)?.map(|value| duration(name, value)).transpose()
    }

    fn positive(&self, name: &str) -> Result<Option<Duration>, Refusal> {
        match self.duration(name)? {
            Some(Duration::ZERO) => Err(invalid(format!("option {name} must be a duration greater than 0"))),
            other => Ok(other),
        }
    }

    fn moment(&self, name: &str, now: Timestamp) -> Result<Option<Timestamp>, Refusal> {
        self.value(name)?.map(|value| moment(name, value, now)).transpose()
    }

    fn initial_scan(&self) -> Result<InitialScan, Refusal> {
        let (no, only) = (self.flag("no_initial_scan")?, self.flag("initial_scan_only")?);
        let both = |one, other| Err(invalid(format!("cannot specify both {one} and {other}")));
        match (self.has("initial_scan"), no, only) {
            (true, true, _) => return both("initial_scan", "no_initial_scan"),
            (true, _, true) => return both("initial_scan", "initial_scan_only"),
            (_, true, true) => return both("initial_scan_only", "no_initial_scan"),
            (_, true, _) => return Ok(InitialScan::No),
            (_, _, true) => return Ok(InitialScan::Only),
            (_, false, false) => {}
        }
        if let Some(None) = self.0.get("initial_scan") {
            return Ok(InitialScan::Yes);
        }
        let words = [("yes", InitialScan::Yes), ("no", InitialScan::No), ("only", InitialScan::Only)];
        let without = if self.has("cursor") { InitialScan::No } else { InitialScan::Yes };
        Ok(self.word("initial_scan", &words)?.unwrap_or(without))
    }

    fn message(&self) -> Result<Message, Refusal> {
        if let Some(format @ ("avro" | "experimental_avro")) = self.value("format")? {
            return Err(
                unsupported(format!("format={format} of CHANGEFEED")).with_hint("json, csv and parquet are")
            );
        }
        if let Some(envelope @ ("enriched" | "deprecated_row")) = self.value("envelope")? {
            return Err(unsupported(format!("envelope={envelope} of CHANGEFEED"))
                .with_hint("wrapped, row, key_only and bare are"));
        }
        let envelopes = [
            ("row", Envelope::Row),
            ("key_only", Envelope::KeyOnly),
            ("wrapped", Envelope::Wrapped),
            ("bare", Envelope::Bare),
        ];
        Ok(Message {
            envelope: self.word("envelope", &envelopes)?.unwrap_or(Envelope::Wrapped),
            format: self
                .word(
                    "format",
                    &[("json", Format::Json), ("csv", Format::Csv), ("parquet", Format::Parquet)],
                )?
                .unwrap_or(Format::Json),
            updated: self.flag("updated")?,
            mvcc_timestamp: self.flag("mvcc_timestamp")?,
            diff: self.flag("diff")?,
            key_in_value: self.flag("key_in_value")?,
            topic_in_value: self.flag("topic_in_value")?,
            full_table_name: self.flag("full_table_name")?,
        })
    }
}

/// As the original lists what may be written.
fn listed<T>(words: &[(&str, T)]) -> String {
    match words {
        [(only, _)] => format!("the only valid value is '{only}'"),
        [(one, _), (other, _)] => format!("valid values are '{one}' and '{other}'"),
        many => {
            let last = many.len() - 1;
            let mut text = "valid values are".to_owned();
            for (at, (word, _)) in many.iter().enumerate() {
                let before = if at == 0 { "" } else { "," };
                let and = if at == last { " and" } else { "" };
                text.push_str(&format!("{before}{and} '{word}'"));
            }
            text
        }
    }
}

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(state::INVALID_PARAMETER_VALUE, message)
}

fn unsupported(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(state::FEATURE_NOT_SUPPORTED, format!("{what} is not supported"))
}

/// As the original: also how much is sent again after a restart.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(30);
/// As the original.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(3);

const KNOWN: &[&str] = &[
    "compression",
    "cursor",
    "diff",
    "end_time",
    "envelope",
    "format",
    "full_table_name",
    "gc_protect_expires_after",
    "initial_scan",
    "initial_scan_only",
    "kafka_sink_config",
    "key_in_value",
    "min_checkpoint_frequency",
    "mvcc_timestamp",
    "no_initial_scan",
    "on_error",
    "protect_data_from_gc_on_pause",
    "pubsub_sink_config",
    "resolved",
    "schema_change_events",
    "schema_change_policy",
    "topic_in_value",
    "unordered",
    "updated",
    "virtual_columns",
    "webhook_auth_header",
    "webhook_client_timeout",
    "webhook_sink_config",
];
/// The original has them.
const UNSUPPORTED: &[&str] = &[
    "avro_schema_prefix",
    "confluent_schema_registry",
    "encode_json_value_null_as_object",
    "enriched_properties",
    "execution_locality",
    "headers_json_column_name",
    "ignore_disable_changefeed_replication",
    "key_column",
    "lagging_ranges_polling_interval",
    "lagging_ranges_threshold",
    "metrics_label",
    "split_column_families",
];

#[cfg(test)]
mod tests;
