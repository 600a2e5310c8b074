//! Files of this node, and what is refused before anything is asked. Clouds: `cluster-tests/tests/cloud_stream.rs`.

use std::path::Path;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::audit::Audit;
use crate::cloud::broker::Broker;
use crate::cloud::chain::{Chain, Source};
use crate::cloud::lease::{AwsSession, Fetch, FetchError, Fetched, Lease, Material};
use crate::cloud::settings::NodeSettings;
use crate::cloud::uri::{Purpose, Uri};

/// Keys of a user, for everybody.
struct Keys;

#[async_trait]
impl Fetch for Keys {
    async fn fetch(&self, _: &Chain, _: Option<&Lease>) -> Result<Fetched, FetchError> {
        let material = Material::Aws(AwsSession {
            access_key_id: "AKIAEXAMPLE".to_owned(),
            secret_access_key: "example".to_owned().into(),
            session_token: None,
            identity: None,
        });
        Ok(Fetched { material, lifetime: None, not_after: None })
    }
}

fn storages(settings: NodeSettings) -> Arc<Storages> {
    let broker = Broker::start(Arc::new(Keys), 1, Audit::default());
    Storages::new(1, settings, broker, StorageSettings::default)
}

async fn open(settings: NodeSettings, uri: &str) -> Result<Storage, StorageError> {
    // Read by a node that has files, as another node's view of an external connection may be.
    let elsewhere = NodeSettings { external_io_dir: Some("/elsewhere".into()), ..NodeSettings::nowhere() };
    let uri = Uri::parse(uri, Purpose::Storage, &elsewhere).unwrap();
    let chain = Chain::new(Source::AwsNode, []);
    storages(settings).open(&uri, Some(&chain), "a test", Patience::Statement).await
}

async fn files(root: &Path, uri: &str) -> Storage {
    let settings = NodeSettings { external_io_dir: Some(root.to_path_buf()), ..NodeSettings::nowhere() };
    open(settings, uri).await.unwrap()
}

async fn read(storage: &Storage, path: &str) -> Bytes {
    storage.get(path, None).await.unwrap().bytes(1 << 20).await.unwrap()
}

#[tokio::test]
async fn files_are_written_once_read_in_part_and_taken_away() {
    let directory = TempDir::new().unwrap();
    let storage = files(directory.path(), "nodelocal://self/backups").await;
    storage.put_absent("a/b", Bytes::from_static(b"0123456789")).await.unwrap();
    let error = storage.put_absent("a/b", Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!((error.kind, error.code().as_str()), (Kind::AlreadyExists, "58P02"), "{error}");
    assert_eq!(read(&storage, "a/b").await, "0123456789");
    storage.put("a/b", Bytes::from_static(b"9876543210")).await.unwrap();
    let part = storage.get("a/b", Some(2..5)).await.unwrap();
    assert_eq!((part.size(), part.bytes(100).await.unwrap()), (10, Bytes::from_static(b"765")));
    assert_eq!(storage.head("a/b").await.unwrap().size, 10);
    assert_eq!(std::fs::read(directory.path().join("backups/a/b")).unwrap(), b"9876543210");
    storage.delete("a/b").await.unwrap();
    storage.delete("a/b").await.unwrap();
    let error = storage.get("a/b", None).await.err().unwrap();
    assert_eq!(error.to_string(), "nodelocal storage file does not exist: nodelocal://1/backups/a/b");
}

#[tokio::test]
async fn a_stream_to_a_file_is_there_at_its_end_and_not_before() {
    let directory = TempDir::new().unwrap();
    let storage = files(directory.path(), "nodelocal://self/backups").await;
    let piece = Bytes::from(vec![7; 3 << 20]);
    let mut writer = storage.writer("large");
    for _ in 0..4 {
        writer.write(piece.clone()).await.unwrap();
    }
    assert_eq!(storage.list("", None).await.unwrap().found, []);
    assert_eq!(writer.finish().await.unwrap(), 12 << 20);
    assert_eq!(storage.head("large").await.unwrap().size, 12 << 20);
    let mut writer = storage.writer("given up");
    writer.write(Bytes::from(vec![7; 9 << 20])).await.unwrap();
    writer.abort().await.unwrap();
    let names: Vec<_> = std::fs::read_dir(directory.path().join("backups"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["large"]);
}

#[tokio::test]
async fn no_path_and_no_link_leads_out_of_the_directory() {
    let directory = TempDir::new().unwrap();
    let outside = TempDir::new().unwrap();
    std::fs::write(outside.path().join("secret"), b"secret").unwrap();
    let storage = files(directory.path(), "nodelocal://self").await;
    storage.put("folder/inside", Bytes::from_static(b"inside")).await.unwrap();
    std::os::unix::fs::symlink(outside.path(), directory.path().join("folder/out")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), directory.path().join("file")).unwrap();
    std::os::unix::fs::symlink(directory.path().join("folder"), directory.path().join("within")).unwrap();
    for path in ["folder/out/secret", "file", "within/inside", "folder/out/new/file"] {
        for outcome in [
            storage.get(path, None).await.map(drop),
            storage.head(path).await.map(drop),
            storage.put(path, Bytes::from_static(b"x")).await,
            storage.put_absent(path, Bytes::from_static(b"x")).await,
            storage.delete(path).await,
        ] {
            let error = outcome.unwrap_err();
            assert_eq!((error.kind, error.code().as_str()), (Kind::Denied, "42501"), "{path}: {error}");
            assert!(
                error
                    .to_string()
                    .contains("local file access to paths outside of external-io-dir is not allowed")
            );
        }
        let mut writer = storage.writer(path);
        assert_eq!(writer.write(Bytes::from(vec![0; 9 << 20])).await.unwrap_err().kind, Kind::Denied);
    }
    for path in ["../secret", "folder/../../secret", "/etc/passwd", ".", "folder/./inside"] {
        assert_eq!(
            storage.get(path, None).await.err().map(|error| error.kind),
            Some(Kind::Invalid),
            "{path}"
        );
    }
    let names: Vec<_> =
        storage.list("", None).await.unwrap().found.into_iter().map(|found| found.name).collect();
    assert_eq!(names, ["folder/inside"]);
    assert_eq!(storage.list("folder/out/", None).await.unwrap().found, []);
    assert_eq!(std::fs::read(outside.path().join("secret")).unwrap(), b"secret");
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn files_are_listed_in_pages_in_order() {
    let directory = TempDir::new().unwrap();
    for number in 0..2_500 {
        let folder = directory.path().join(format!("many/{}", number % 7));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{number}")), b"").unwrap();
    }
    std::fs::write(directory.path().join("many/unfinished#1"), b"").unwrap();
    let storage = files(directory.path(), "nodelocal://1/many").await;
    let (mut names, mut token, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = storage.list("", token.as_ref()).await.unwrap();
        assert!(page.found.len() <= PAGE_NAMES_MAX);
        names.extend(page.found.into_iter().map(|found| found.name));
        pages += 1;
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    let mut expected: Vec<_> = (0..2_500).map(|number| format!("{}/{number}", number % 7)).collect();
    expected.sort();
    assert_eq!((pages, names), (3, expected));
}

#[tokio::test]
async fn what_is_not_served_is_said_with_the_way_out() {
    let nowhere = || NodeSettings::nowhere();
    let table = [
        ("nodelocal://self/a", Kind::Disabled, "external_io_dir"),
        ("nodelocal://2/a", Kind::Unsupported, "node 2"),
        (
            "azure-blob://c/a?AZURE_ACCOUNT_NAME=n&AZURE_ACCOUNT_KEY=QUJDREVGR0g%3D",
            Kind::Unsupported,
            "nodelocal",
        ),
        ("external://name/a", Kind::Unsupported, ""),
    ];
    for (uri, kind, hint) in table {
        let error = open(nowhere(), uri).await.err().unwrap();
        assert_eq!(error.kind, kind, "{uri}: {error}");
        assert!(error.hint.clone().unwrap_or_default().contains(hint), "{uri}: {:?}", error.hint);
        assert!(!format!("{error} {error:?}").contains("QUJDREVGR0g"), "{error}");
    }
}

/// A server that answers each request with this, and gives back the heads of the requests.
async fn answering(answer: &'static str) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heads = tokio::spawn(async move {
        let mut heads = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 8_192];
            let length = stream.read(&mut head).await.unwrap();
            let head = String::from_utf8_lossy(&head[..length]).to_ascii_lowercase();
            let last = head.contains("last");
            heads.push(head);
            stream.write_all(answer.as_bytes()).await.unwrap();
            if last {
                break;
            }
        }
        heads
    });
    (url, heads)
}

#[tokio::test]
async fn s3_is_asked_without_credentials_where_a_bucket_is() {
    let answer = "HTTP/1.1 403 Forbidden\r\nx-amz-bucket-region: eu-central-1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (url, heads) = answering(answer).await;
    let uri = format!("s3://last?AUTH=implicit&AWS_ENDPOINT={}", url.replace(':', "%3A").replace('/', "%2F"));
    let Uri::S3(uri) = Uri::parse(&uri, Purpose::Storage, &NodeSettings::nowhere()).unwrap() else {
        panic!("s3")
    };
    let broker = Broker::start(Arc::new(Keys), 1, Audit::default());
    let credentials = broker.open(&Chain::new(Source::AwsNode, []), "a test").unwrap();
    let recipe = Recipe::s3(&uri, credentials, "").unwrap();
    assert_eq!(recipe.region(&url).await, Ok(Some("eu-central-1".to_owned())));
    let heads = heads.await.unwrap();
    assert!(heads[0].starts_with("head /last http/1.1"), "{heads:?}");
    assert!(!heads[0].contains("authorization"), "{heads:?}");
}

#[tokio::test]
async fn what_the_uri_says_of_objects_is_in_the_requests() {
    let answer = "HTTP/1.1 200 OK\r\netag: \"1\"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let (url, heads) = answering(answer).await;
    let endpoint = url.replace(':', "%3A").replace('/', "%2F");
    let common = format!("s3://bucket/p?AUTH=implicit&AWS_ENDPOINT={endpoint}");
    for parameters in [
        "&S3_STORAGE_CLASS=STANDARD_IA&AWS_SERVER_ENC_MODE=AES256",
        "&AWS_REGION=eu-west-3&AWS_SERVER_ENC_MODE=aws%3Akms&AWS_SERVER_KMS_ID=key-1",
    ] {
        let storage = open(NodeSettings::nowhere(), &format!("{common}{parameters}")).await.unwrap();
        storage.put("object", Bytes::new()).await.unwrap();
    }
    let gs = "gs://bucket/p?AUTH=implicit&GOOGLE_BILLING_PROJECT=payer";
    let settings = NodeSettings { gcs_endpoint: Some(url.clone()), ..NodeSettings::nowhere() };
    let error = open(settings, gs).await.unwrap().put("last", Bytes::new()).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Refused | Kind::Unavailable), "keys of AWS are no token: {error}");
    open(NodeSettings::nowhere(), &common).await.unwrap().put("last", Bytes::new()).await.unwrap();
    let heads = heads.await.unwrap();
    assert_eq!(heads.len(), 3, "{heads:?}");
    for expected in [
        "put /bucket/p/object",
        "x-amz-storage-class: standard_ia",
        "x-amz-server-side-encryption: aes256",
        "/default-region/s3/",
    ] {
        assert!(heads[0].contains(expected), "{expected}: {}", heads[0]);
    }
    for expected in [
        "x-amz-server-side-encryption: aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id: key-1",
        "/eu-west-3/s3/",
    ] {
        assert!(heads[1].contains(expected), "{expected}: {}", heads[1]);
    }
    assert!(
        !heads[2].contains("x-amz-server-side-encryption") && !heads[2].contains("storage-class"),
        "{}",
        heads[2]
    );
}
