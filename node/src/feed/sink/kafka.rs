//! Kafka. Source of the options: cloud-jobs specification, A.10.
//!
//! The partition of a message is that which the original's client chooses: FNV-1a, 32 bits, of the key, as a number with a sign,
//! by the number of partitions, without the sign of what is left. Every batch is acknowledged by all replicas before the next of
//! its partition goes, so that order holds and a flush has nothing more to wait for. A resolved message goes to every partition.

mod trust;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use grantd_catalog::id::Timestamp;
use rskafka::BackoffConfig;
use rskafka::chrono::{DateTime, Utc};
use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder, Credentials, SaslConfig};
use rskafka::record::Record;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::batch::Waiting;
use super::{Class, Message, Sink, SinkError};
use crate::cloud::uri::{self, Login, SaslMechanism, Tls};
use crate::feed::encode::fnv1a;
use crate::feed::options::{Compressed, Options};

/// Topics of a cluster of Kafka.
pub struct Kafka {
    connect: Connect,
    compression: Compression,
    topics: Vec<Arc<str>>,
    /// None: not connected yet.
    client: Option<Client>,
    partitions: BTreeMap<Arc<str>, Vec<PartitionClient>>,
    waiting: Waiting,
}

/// How it is reached.
struct Connect {
    brokers: Vec<String>,
    tls: Option<Arc<rustls::ClientConfig>>,
    sasl: Option<SaslConfig>,
}

impl Kafka {
    /// These topics, of the cluster at this URI. Nothing is asked yet.
    pub fn new(uri: &uri::Kafka, topics: &[Arc<str>], options: &Options) -> Result<Self, SinkError> {
        let sasl = uri.sasl.as_ref().map(|sasl| mechanism(&sasl.mechanism)).transpose()?;
        let broker = |broker: &uri::Broker| format!("{}:{}", broker.host, broker.port);
        let mut topics = topics.to_vec();
        topics.sort();
        topics.dedup();
        Ok(Self {
            connect: Connect {
                brokers: uri.brokers.iter().map(broker).collect(),
                tls: uri.tls.as_ref().map(tls).transpose()?,
                sasl,
            },
            compression: match options.kafka.compressed {
                Compressed::None => Compression::NoCompression,
                Compressed::Gzip => Compression::Gzip,
                Compressed::Snappy => Compression::Snappy,
                Compressed::Zstd => Compression::Zstd,
            },
            topics,
            client: None,
            partitions: BTreeMap::new(),
            waiting: Waiting::new(options.kafka.flush, MESSAGES_MAX, BYTES_MAX),
        })
    }

    /// Connects, makes topics that are missing, and finds the partitions.
    async fn prepare(&mut self) -> Result<(), SinkError> {
        if self.client.is_some() && self.topics.iter().all(|topic| self.partitions.contains_key(topic)) {
            return Ok(());
        }
        let mut builder = ClientBuilder::new(self.connect.brokers.clone())
            .client_id("CockroachDB")
            .max_message_size(ANSWER_BYTES_MAX)
            .backoff_config(backoff());
        if let Some(tls) = &self.connect.tls {
            builder = builder.tls_config(Arc::clone(tls));
        }
        if let Some(sasl) = &self.connect.sasl {
            builder = builder.sasl_config(sasl.clone());
        }
        let client = within(builder.build()).await?;
        let mut there = within(client.list_topics()).await?;
        let missing = |there: &[rskafka::topic::Topic]| -> Vec<Arc<str>> {
            let is_there = |topic: &Arc<str>| there.iter().any(|known| *known.name == **topic);
            self.topics.iter().filter(|topic| !is_there(topic)).cloned().collect()
        };
        let absent = missing(&there);
        if !absent.is_empty() {
            let controller = client.controller_client().map_err(failed)?;
            for topic in &absent {
                make(&controller, topic).await?;
            }
            there = within(client.list_topics()).await?;
        }
        if let Some(topic) = missing(&there).first() {
            let text = format!("kafka: topic {topic} is not there, and could not be made yet");
            return Err(SinkError::new(Class::Retryable, &text)
                .with_hint("make it, or allow this user to make topics"));
        }
        let mut partitions = BTreeMap::new();
        for topic in &self.topics {
            let numbers = there.iter().find(|known| *known.name == **topic).map(|known| &known.partitions);
            let mut clients = Vec::new();
            for number in numbers.into_iter().flatten() {
                let partition = client.partition_client(&**topic, *number, UnknownTopicHandling::Error);
                clients.push(within(partition).await?);
            }
            if clients.is_empty() {
                let text = format!("kafka: topic {topic} has no partitions");
                return Err(SinkError::new(Class::Retryable, &text));
            }
            partitions.insert(Arc::clone(topic), clients);
        }
        (self.client, self.partitions) = (Some(client), partitions);
        Ok(())
    }

    async fn send(&mut self, all: bool) -> Result<(), SinkError> {
        for batch in self.waiting.due(all) {
            self.prepare().await?;
            let mut by_partition: BTreeMap<(&Arc<str>, usize), Vec<Record>> = BTreeMap::new();
            for message in &batch {
                let Some((topic, partitions)) = self.partitions.get_key_value(&message.topic) else {
                    return Err(SinkError::new(
                        Class::Terminal,
                        "kafka: a message of a topic that is not fed",
                    ));
                };
                let partition = partition_of(&message.key, partitions.len());
                by_partition.entry((topic, partition)).or_default().push(record(message));
            }
            let sends = by_partition.into_iter().map(|((topic, partition), records)| {
                within(self.partitions[topic][partition].produce(records, self.compression))
            });
            let sent = try_join_all(sends).await;
            if let Err(error) = sent {
                // Partitions may be led by others, or be more than they were.
                self.partitions.clear();
                return Err(error);
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for Kafka {
    async fn begin(&mut self, _after: Timestamp) -> Result<(), SinkError> {
        self.waiting.clear();
        self.prepare().await
    }

    async fn emit(&mut self, messages: Vec<Message>) -> Result<(), SinkError> {
        self.waiting.add(messages);
        self.send(false).await
    }

    async fn flush(&mut self, _frontier: Timestamp) -> Result<(), SinkError> {
        self.send(true).await
    }

    async fn resolved(&mut self, _time: Timestamp, message: &[u8]) -> Result<(), SinkError> {
        self.prepare().await?;
        let record = || Record {
            key: None,
            value: Some(message.to_vec()),
            headers: BTreeMap::new(),
            timestamp: now(),
        };
        let sends = self
            .partitions
            .values()
            .flatten()
            .map(|partition| within(partition.produce(vec![record()], self.compression)));
        try_join_all(sends).await.map(drop)
    }

    fn linger(&self) -> Option<Duration> {
        self.waiting.linger()
    }
}

fn record(message: &Message) -> Record {
    Record {
        key: Some(message.key.clone()),
        value: message.value.clone(),
        headers: BTreeMap::new(),
        timestamp: now(),
    }
}

/// The time that brokers keep messages by.
fn now() -> DateTime<Utc> {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let millis = since.ok().and_then(|since| i64::try_from(since.as_millis()).ok());
    millis.and_then(DateTime::from_timestamp_millis).unwrap_or_default()
}

/// As the original's client chooses it: see the module.
pub(super) fn partition_of(key: &[u8], partitions: usize) -> usize {
    let partitions = i32::try_from(partitions).unwrap_or(i32::MAX).max(1);
    let left = fnv1a(key).cast_signed() % partitions;
    usize::try_from(left.unsigned_abs()).unwrap_or(0)
}

async fn make(
    controller: &rskafka::client::controller::ControllerClient,
    topic: &str,
) -> Result<(), SinkError> {
    // As many partitions and replicas as the brokers are told to make.
    let timeout = i32::try_from(REQUEST_TIME_MAX.as_millis()).unwrap_or(i32::MAX);
    let made = tokio::time::timeout(REQUEST_TIME_MAX, controller.create_topic(topic, -1, -1, timeout)).await;
    match made {
        Ok(Ok(()) | Err(Error::ServerError { protocol_error: ProtocolError::TopicAlreadyExists, .. })) => {
            Ok(())
        }
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => Err(too_slow()),
    }
}

/// The client tries again for ever by itself: the feed is to say what is wrong.
async fn within<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, SinkError> {
    match tokio::time::timeout(REQUEST_TIME_MAX, work).await {
        Ok(done) => done.map_err(failed),
        Err(_) => Err(too_slow()),
    }
}

fn too_slow() -> SinkError {
    let text = format!("kafka: no answer within {} s", REQUEST_TIME_MAX.as_secs());
    SinkError::new(Class::Retryable, &text)
        .with_hint("see whether the brokers, by the names that they advertise, are reached from this node")
}

fn failed(error: Error) -> SinkError {
    let text = format!("kafka: {error}");
    let said = text.to_ascii_lowercase();
    let class = match &error {
        Error::ServerError {
            protocol_error: ProtocolError::SaslAuthenticationFailed | ProtocolError::UnsupportedSaslMechanism,
            ..
        } => Class::Credential,
        _ if said.contains("sasl") => Class::Credential,
        _ => Class::Retryable,
    };
    SinkError::new(class, &text)
}

fn mechanism(mechanism: &SaslMechanism) -> Result<SaslConfig, SinkError> {
    let login = |login: &Login| Credentials::new(login.user.clone(), login.password.expose().to_owned());
    let unsupported = |name: &str| {
        Err(SinkError::new(Class::Terminal, &format!("sasl_mechanism={name} is not supported"))
            .with_hint("PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 are"))
    };
    match mechanism {
        SaslMechanism::Plain(who) => Ok(SaslConfig::Plain(login(who))),
        SaslMechanism::ScramSha256(who) => Ok(SaslConfig::ScramSha256(login(who))),
        SaslMechanism::ScramSha512(who) => Ok(SaslConfig::ScramSha512(login(who))),
        SaslMechanism::OAuth { .. } => unsupported("OAUTHBEARER"),
        SaslMechanism::MskIam { .. } => unsupported("AWS_MSK_IAM"),
    }
}

fn tls(tls: &Tls) -> Result<Arc<rustls::ClientConfig>, SinkError> {
    let unusable = |what: &str| SinkError::new(Class::Terminal, what);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error.to_string()))?;
    let builder = if tls.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(trust::Everybody::new()))
    } else {
        let mut roots = rustls::RootCertStore::empty();
        // Those that cannot be read are not trusted; the others are.
        let _ = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(ca) = &tls.ca_cert {
            for certificate in CertificateDer::pem_slice_iter(ca.expose().as_bytes()) {
                let added = certificate.ok().and_then(|certificate| roots.add(certificate).ok());
                added.ok_or_else(|| unusable("ca_cert holds no certificate in PEM"))?;
            }
        }
        builder.with_root_certificates(roots)
    };
    let config = match &tls.client {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let wrong = || unusable("client_cert and client_key are no certificate and key in PEM");
            let certs = CertificateDer::pem_slice_iter(client.cert.expose().as_bytes());
            let certs = certs.collect::<Result<Vec<_>, _>>().map_err(|_| wrong())?;
            let key = PrivateKeyDer::from_pem_slice(client.key.expose().as_bytes()).map_err(|_| wrong())?;
            builder.with_client_auth_cert(certs, key).map_err(|_| wrong())?
        }
    };
    Ok(Arc::new(config))
}

fn backoff() -> BackoffConfig {
    BackoffConfig {
        init_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(2),
        base: 2.0,
        deadline: Some(REQUEST_TIME_MAX),
    }
}

/// As the original's `MaxMessages`.
const MESSAGES_MAX: usize = 1_000;
/// Brokers take a megabyte in one batch unless told otherwise.
const BYTES_MAX: usize = 900_000;
/// The names and partitions of a large cluster.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// With all tries: a leader is chosen within it.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_chosen_by_the_key_alone() {
        // "foobar" hashes to bf9cf968, which has a sign: -1080231576, and 576 is left of a thousand.
        assert_eq!(partition_of(b"foobar", 1_000), 576);
        assert_eq!(partition_of(b"", 1_000), 35);
        assert_eq!(partition_of(b"[1]", 1), 0);
        for key in 0..1_000_u32 {
            assert!(partition_of(&key.to_le_bytes(), 7) < 7);
        }
    }
}
