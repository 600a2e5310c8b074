//! What a reader makes of messages: without those that came twice, in the order in which they came first.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use grantd_cluster_tests::cloud::google::Published;
use rskafka::client::ClientBuilder;
use rskafka::client::partition::UnknownTopicHandling;
use serde_json::Value;

/// Of each key, the value `v` of each version, in order; none: it was deleted.
pub type History = BTreeMap<i64, Vec<Option<i64>>>;

/// A time, that compares.
type Time = (u64, u64);

fn time(value: &Value) -> Time {
    let text = value.as_str().expect("a time");
    let (nanos, logical) = text.split_once('.').unwrap();
    (nanos.parse().unwrap(), logical.parse().unwrap())
}

/// Reads messages in their order.
pub fn read(messages: &[String]) -> History {
    let (mut history, mut seen) = (History::new(), HashSet::new());
    let (mut newest, mut resolved): (HashMap<i64, Time>, Time) = (HashMap::new(), (0, 0));
    for text in messages {
        let message: Value = serde_json::from_str(text).unwrap_or_else(|_| panic!("no JSON: {text}"));
        if !message["resolved"].is_null() {
            resolved = resolved.max(time(&message["resolved"]));
            continue;
        }
        let updated = time(&message["updated"]);
        let key = message["key"][0].as_i64().or_else(|| message["after"]["k"].as_i64());
        let key = key.expect("a key");
        if !seen.insert((key, updated)) {
            continue;
        }
        assert!(updated > resolved, "{text} after resolved {resolved:?}");
        let before = newest.insert(key, updated);
        assert!(before < Some(updated), "{text} for the first time after {before:?}");
        history.entry(key).or_default().push(message["after"]["v"].as_i64());
    }
    history
}

/// The lines of all files below, in the order of their names.
pub fn files_below(root: &Path) -> Vec<String> {
    fn walk(at: &Path, found: &mut Vec<std::path::PathBuf>) {
        for entry in std::fs::read_dir(at).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut files = Vec::new();
    walk(root, &mut files);
    // As strings: a path compares by its parts.
    files.sort_by_key(|path| path.to_str().unwrap().to_owned());
    let lines = |path: &std::path::PathBuf| {
        std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    };
    files.iter().flat_map(lines).collect()
}

/// The messages of a topic, by partition: order is of keys alone, and a key is in one of them.
pub async fn kafka_partitions(brokers: ClientBuilder, topic: &str) -> Vec<Vec<String>> {
    let client = brokers.build().await.unwrap();
    let topics = client.list_topics().await.unwrap();
    let found = topics.into_iter().find(|known| known.name == topic).expect("the topic was made");
    let mut partitions = Vec::new();
    for number in found.partitions {
        let partition = client.partition_client(topic, number, UnknownTopicHandling::Retry).await.unwrap();
        let (mut messages, mut offset, mut empty) = (Vec::new(), 0, 0);
        while empty < 3 {
            let (records, _) = partition.fetch_records(offset, 1..1_000_000, 200).await.unwrap();
            if records.is_empty() {
                empty += 1;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            for record in records {
                offset = record.offset + 1;
                let text = String::from_utf8(record.record.value.unwrap_or_default()).unwrap();
                if text.starts_with("{\"resolved\"") {
                    messages.push(text);
                    continue;
                }
                let key: Value = serde_json::from_slice(&record.record.key.expect("a key")).unwrap();
                let mut message: Value = serde_json::from_str(&text).unwrap();
                message["key"] = key;
                messages.push(message.to_string());
            }
        }
        partitions.push(messages);
    }
    partitions
}

/// All messages of a topic, partition after partition.
#[allow(dead_code, reason = "not every test reads so")]
pub async fn kafka_messages(brokers: ClientBuilder, topic: &str) -> Vec<String> {
    let (mut messages, mut resolved) = (Vec::new(), None);
    for partition in kafka_partitions(brokers, topic).await {
        // Of one partition it holds for all before it in that partition: here it stands behind all.
        read(&partition);
        let (told, rest): (Vec<_>, Vec<_>) =
            partition.into_iter().partition(|message| message.starts_with("{\"resolved\""));
        assert!(!told.is_empty(), "a partition was told nothing");
        resolved = resolved.max(told.into_iter().max());
        messages.extend(rest);
    }
    messages.extend(resolved);
    messages
}

/// All messages of Pub/Sub, in the order in which they were published.
pub fn pubsub_messages(published: Vec<Published>) -> Vec<String> {
    let message = |published: Published| {
        let data: Value = serde_json::from_str(&published.data).unwrap();
        if !data["key"].is_array() {
            return published.data;
        }
        assert_eq!(published.ordering_key, data["key"].to_string());
        data["value"].to_string()
    };
    published.into_iter().map(message).collect()
}
