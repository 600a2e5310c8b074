//! The node's own storage over Google's: what it does above `object_store` holds here as well.

use std::sync::Arc;

use bytes::Bytes;
use grantd_cluster_tests::cloud::google::{Service, Trouble};
use grantd_node::audit::Audit;
use grantd_node::cloud::broker::Broker;
use grantd_node::cloud::storage::{Kind, Patience, StorageSettings, Storages};
use grantd_node::cloud::uri::{Purpose, Uri};

use super::*;

/// A part of a stream.
const PART: usize = 8 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_outlives_its_tokens_while_google_is_in_trouble() {
    let google = Google::start().await;
    google.chain(&[&account("node"), &account("hop1"), &account("writer")], BUCKET);
    let gcp = machine(&google);
    let settings = google.settings(GcpNodeSource::Metadata);
    let broker = Broker::start(Arc::new(gcp), 1, Audit::default());
    let storages = Storages::new(1, settings.clone(), broker, StorageSettings::default);
    let roles = format!("{},{}", account("hop1"), account("writer"));
    let uri = format!("gs://{BUCKET}/p?AUTH=implicit&ASSUME_ROLE={roles}");
    let uri = Uri::parse(&uri, Purpose::Storage, &settings).expect("a URI");
    let chain = then(&chain(&["hop1", "writer"], Duration::from_secs(3)), confined(BUCKET, "p/", true));
    let storage = storages.open(&uri, Some(&chain), "a test", Patience::Job).await.expect("it opens");
    google.trouble(Service::Storage, Trouble::Broken(503), 30);
    let mut writer = storage.writer("o");
    for number in 0..5 {
        writer.write(Bytes::from(vec![number; PART])).await.expect("a part");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(writer.finish().await.expect("the end"), 5 * PART as u64);
    google.heal(Service::Storage);
    assert_eq!(google.object(BUCKET, "p/o").expect("the object").len(), 5 * PART);
    assert!(google.calls(Service::Exchange).len() >= 2, "no token was renewed");
    storage.put_absent("once", "1".into()).await.expect("it is not there");
    let again = storage.put_absent("once", "2".into()).await.expect_err("it is there");
    assert_eq!(again.kind, Kind::AlreadyExists);
}
