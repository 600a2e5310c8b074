//! The options that are JSON: how a sink puts messages together and tries again.

use std::time::Duration;

use grantd_catalog::refusal::Refusal;
use serde_json::{Map, Value};

use super::{duration, invalid, unsupported};

/// `kafka_sink_config`. All replicas are waited for, whatever `RequiredAcks` says: with less a resolved message could be wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KafkaConfig {
    /// When messages go, and how many at once.
    pub flush: Flush,
    /// How they are made smaller.
    pub compressed: Compressed,
}

/// How messages of Kafka are made smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "Kafka's own names")]
pub enum Compressed {
    #[default]
    None,
    Gzip,
    Snappy,
    Zstd,
}

/// `webhook_sink_config`, `pubsub_sink_config`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendConfig {
    /// When messages go, and how many at once.
    pub flush: Flush,
    /// How often a request is sent again.
    pub retry: Retry,
}

/// Until when messages wait for others. All zero: they wait for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flush {
    /// The most messages of one request. None: the sink's own bound.
    pub messages_max: Option<usize>,
    /// Go when so many wait.
    pub messages: usize,
    /// Go when so many bytes wait.
    pub bytes: usize,
    /// Go after so long.
    pub frequency: Duration,
}

/// How often a request is sent again, before the feed begins again from what it kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// None: for ever.
    pub max: Option<u32>,
    /// The first wait; each is twice as long as the one before.
    pub backoff: Duration,
}

impl Default for Retry {
    /// As the original.
    fn default() -> Self {
        Self { max: Some(3), backoff: Duration::from_millis(500) }
    }
}

impl KafkaConfig {
    pub(super) fn read(written: Option<&str>) -> Result<Self, Refusal> {
        const NAME: &str = "kafka_sink_config";
        let Some(written) = written else { return Ok(Self::default()) };
        let mut object = object(NAME, written)?;
        let flush = Flush::take(NAME, &mut object)?;
        if let Some(version) = object.remove("Version") {
            let version = version.as_str().unwrap_or_default().to_owned();
            let is_version = !version.is_empty()
                && version
                    .split('.')
                    .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
            if !is_version {
                return Err(wrong(NAME, &format!("invalid Version {version}")));
            }
        }
        match object.remove("RequiredAcks").as_ref().map(Value::as_str) {
            None | Some(Some("ONE" | "NONE" | "ALL")) => {}
            Some(_) => return Err(wrong(NAME, "RequiredAcks must be ONE, NONE or ALL")),
        }
        let compressed = match object.remove("Compression").as_ref().map(Value::as_str) {
            None | Some(Some("NONE")) => Compressed::None,
            Some(Some("GZIP")) => Compressed::Gzip,
            Some(Some("SNAPPY")) => Compressed::Snappy,
            Some(Some("ZSTD")) => Compressed::Zstd,
            Some(Some("LZ4")) => {
                return Err(unsupported("Compression LZ4 of kafka_sink_config").with_hint("take ZSTD"));
            }
            Some(_) => return Err(wrong(NAME, "Compression must be NONE, GZIP, SNAPPY, LZ4 or ZSTD")),
        };
        nothing_left(NAME, &object)?;
        Ok(Self { flush, compressed })
    }
}

impl SendConfig {
    pub(super) fn read(name: &str, written: Option<&str>) -> Result<Self, Refusal> {
        let Some(written) = written else { return Ok(Self::default()) };
        let mut object = object(name, written)?;
        let flush = Flush::take(name, &mut object)?;
        let mut retry = Retry::default();
        if let Some(Value::Object(mut said)) = object.remove("Retry") {
            match said.remove("Max") {
                None => {}
                Some(Value::String(word)) if word == "inf" => retry.max = None,
                Some(max) => {
                    let max = max.as_u64().and_then(|max| u32::try_from(max).ok());
                    retry.max =
                        Some(max.ok_or_else(|| {
                            wrong(name, "Retry.Max must be either a positive int or 'inf'")
                        })?);
                }
            }
            if let Some(backoff) = said.remove("Backoff") {
                retry.backoff = duration(name, backoff.as_str().unwrap_or_default())?;
            }
            nothing_left(name, &said)?;
        }
        nothing_left(name, &object)?;
        Ok(Self { flush, retry })
    }
}

impl Flush {
    fn take(name: &str, object: &mut Map<String, Value>) -> Result<Self, Refusal> {
        let mut said = match object.remove("Flush") {
            None => return Ok(Self::default()),
            Some(Value::Object(said)) => said,
            Some(_) => return Err(wrong(name, "Flush must be an object")),
        };
        let mut number = |field: &str| match said.remove(field) {
            None => Ok(0),
            Some(value) => {
                let number = value.as_u64().and_then(|number| usize::try_from(number).ok());
                number.ok_or_else(|| wrong(name, &format!("Flush.{field} must be a number, 0 or more")))
            }
        };
        let (messages_max, messages, bytes) = (number("MaxMessages")?, number("Messages")?, number("Bytes")?);
        let frequency = match said.remove("Frequency") {
            None => Duration::ZERO,
            Some(value) => duration(name, value.as_str().unwrap_or_default())?,
        };
        nothing_left(name, &said)?;
        if frequency.is_zero() && (messages > 0 || bytes > 0) {
            return Err(wrong(name, "Flush.Frequency is not set, messages may never be sent"));
        }
        Ok(Self { messages_max: Some(messages_max).filter(|max| *max > 0), messages, bytes, frequency })
    }

    /// Whether what waits goes now.
    pub fn is_due(&self, messages: usize, bytes: usize) -> bool {
        self.frequency.is_zero()
            || self.messages > 0 && messages >= self.messages
            || self.bytes > 0 && bytes >= self.bytes
    }
}

fn object(name: &str, written: &str) -> Result<Map<String, Value>, Refusal> {
    match serde_json::from_str(written) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(wrong(name, "it is no object")),
        // What is wrong with it, and where: nothing secret stands there.
        Err(error) => Err(wrong(name, &error.to_string())),
    }
}

fn nothing_left(name: &str, object: &Map<String, Value>) -> Result<(), Refusal> {
    match object.keys().next() {
        None => Ok(()),
        Some(field) => Err(wrong(name, &format!("unknown field \"{field}\""))),
    }
}

fn wrong(name: &str, what: &str) -> Refusal {
    invalid(format!("error unmarshalling json of option {name}: {what}"))
}
