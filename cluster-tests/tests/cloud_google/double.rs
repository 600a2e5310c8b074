//! The double is strict: what Google refuses, it refuses. And `object_store` works with it.

use std::sync::Arc;

use futures::TryStreamExt;
use grantd_cluster_tests::cloud::google::Access;
use object_store::gcp::{GcpCredential, GoogleCloudStorage, GoogleCloudStorageBuilder};
use object_store::path::Path;
use object_store::{
    ClientOptions, Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig,
    StaticCredentialProvider,
};

use super::*;

/// A bucket, seen with a token.
fn store(google: &Google, token: &str) -> GoogleCloudStorage {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let credential = GcpCredential { bearer: token.to_owned() };
    GoogleCloudStorageBuilder::new()
        .with_bucket_name(BUCKET)
        .with_base_url(&google.endpoint())
        .with_client_options(ClientOptions::new().with_allow_http(true))
        .with_credentials(Arc::new(StaticCredentialProvider::new(credential)))
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() })
        .build()
        .expect("a client")
}

async fn names(store: &GoogleCloudStorage, prefix: &str) -> Result<Vec<String>, Error> {
    let prefix = Path::from(prefix);
    let found: Vec<_> = store.list(Some(&prefix)).try_collect().await?;
    Ok(found.into_iter().map(|found| found.location.to_string()).collect())
}

#[tokio::test]
async fn objects_come_back_as_they_were_put() {
    let google = Google::start().await;
    google.chain(&[&account("writer")], BUCKET);
    let store = store(&google, &google.token(&account("writer"), HOUR));
    let odd = Path::from("t/a b+c=%&é.txt");
    store.put(&odd, "hello".into()).await.expect("put");
    assert_eq!(store.get(&odd).await.expect("get").bytes().await.expect("bytes"), "hello");
    assert_eq!(store.get_range(&odd, 1..3).await.expect("a range"), "el");
    assert_eq!(store.head(&odd).await.expect("head").size, 5);
    assert_eq!(names(&store, "t").await.expect("a list"), [odd.to_string()]);
    let again = store.put_opts(&odd, "other".into(), PutMode::Create.into()).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    store.delete(&odd).await.expect("delete");
    let gone = store.get(&odd).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    store.put_opts(&odd, "other".into(), PutMode::Create.into()).await.expect("it is gone");
}

#[tokio::test]
async fn lists_have_pages_and_folders() {
    let google = Google::start().await;
    google.chain(&[&account("writer")], BUCKET);
    let store = store(&google, &google.token(&account("writer"), HOUR));
    for n in 0..1_100 {
        store.put(&Path::from(format!("many/{n:04}")), PutPayload::new()).await.expect("put");
    }
    store.put(&Path::from("one/a/b"), PutPayload::new()).await.expect("put");
    assert_eq!(names(&store, "many").await.expect("a list").len(), 1_100);
    let top = store.list_with_delimiter(None).await.expect("a list");
    let folders: Vec<_> = top.common_prefixes.iter().map(ToString::to_string).collect();
    assert_eq!((folders, top.objects.len()), (vec!["many".to_owned(), "one".to_owned()], 0));
}

#[tokio::test]
async fn parts_make_an_object_and_small_ones_do_not() {
    let google = Google::start().await;
    google.chain(&[&account("writer")], BUCKET);
    let store = store(&google, &google.token(&account("writer"), HOUR));
    let path = Path::from("big");
    for (size, fits) in [(5 << 20, true), (1 << 20, false)] {
        let mut upload = store.put_multipart(&path).await.expect("an upload");
        upload.put_part(vec![1_u8; size].into()).await.expect("a part");
        upload.put_part(vec![2_u8; 7].into()).await.expect("a part");
        let done = upload.complete().await;
        assert_eq!(done.is_ok(), fits, "{done:?}");
    }
    assert_eq!(google.object(BUCKET, "big").expect("the first").len(), (5 << 20) + 7);
}

#[tokio::test]
async fn each_request_needs_a_token_that_is_good_and_an_account_that_may() {
    let google = Google::start().await;
    google.chain(&[&account("writer")], BUCKET);
    google.grant(BUCKET, &account("reader"), Some(Access::Read));
    let path = Path::from("o");
    let short = google.token(&account("writer"), Duration::from_millis(600));
    store(&google, &short).put(&path, "x".into()).await.expect("put");
    tokio::time::sleep(Duration::from_millis(700)).await;
    for bad in [short.as_str(), "ya29.invented", ""] {
        let put = store(&google, bad).put(&path, "x".into()).await;
        assert!(matches!(put, Err(Error::Unauthenticated { .. })), "{put:?}");
    }
    let reader = store(&google, &google.token(&account("reader"), HOUR));
    assert_eq!(reader.head(&path).await.expect("read").size, 1);
    let stranger = store(&google, &google.token(&account("stranger"), HOUR));
    for (store, what) in [(&reader, "reader"), (&stranger, "stranger")] {
        let put = store.put(&path, "y".into()).await;
        assert!(matches!(put, Err(Error::PermissionDenied { .. })), "{what}: {put:?}");
    }
    assert!(stranger.head(&path).await.is_err());
    let writer = store(&google, &google.token(&account("writer"), HOUR));
    google.grant(BUCKET, &account("writer"), None);
    assert!(matches!(writer.put(&path, "y".into()).await, Err(Error::PermissionDenied { .. })));
}

#[tokio::test]
async fn a_boundary_holds_whatever_the_account_may() {
    let google = Google::start().await;
    google.chain(&[&account("node"), &account("writer")], BUCKET);
    let gcp = machine(&google);
    let whole = store(&google, &google.token(&account("writer"), HOUR));
    for name in ["mine'/a", "yours/a"] {
        whole.put(&Path::from(name), "x".into()).await.expect("put");
    }
    let only = |write| then(&chain(&["writer"], HOUR), confined(BUCKET, "mine'/", write));
    let reading = walk(&gcp, &only(false)).await.expect("a token");
    let writing = walk(&gcp, &only(true)).await.expect("a token");
    let (reading, writing) = (store(&google, token(&reading)), store(&google, token(&writing)));
    let (mine, yours) = (Path::from("mine'/a"), Path::from("yours/a"));
    for store in [&reading, &writing] {
        store.head(&mine).await.expect("within");
        assert_eq!(names(store, "mine'").await.expect("within"), ["mine'/a"]);
        assert!(store.head(&yours).await.is_err());
        assert!(names(store, "yours").await.is_err());
        assert!(store.put(&yours, "y".into()).await.is_err());
    }
    writing.put(&mine, "y".into()).await.expect("within");
    assert!(reading.put(&mine, "z".into()).await.is_err());
    assert_eq!(google.object(BUCKET, "yours/a").expect("as it was"), "x");
}

#[tokio::test]
async fn a_key_must_have_signed_and_the_metadata_server_must_be_asked_by_its_name() {
    let google = Google::start().await;
    let client = {
        let _ = rustls::crypto::ring::default_provider().install_default();
        reqwest::Client::builder().no_proxy().build().expect("a client")
    };
    google.machine(Some(&account("node")));
    let path = "computeMetadata/v1/instance/service-accounts/default/token";
    let bare = client.get(format!("{}/{path}", google.endpoint())).send().await.expect("an answer");
    assert_eq!(bare.status(), 403);
    let _ = google.key(&account("uri"));
    // {"alg":"none"} and claims that nobody signed.
    let jwt = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJ1cmlAcC5pYW0uZ3NlcnZpY2VhY2NvdW50LmNvbSJ9.c2lnbmVk";
    let form = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={jwt}");
    let forged =
        client.post(format!("{}/token", google.endpoint())).body(form).send().await.expect("an answer");
    assert_eq!(forged.status(), 400);
    assert!(forged.text().await.expect("a text").contains("Invalid JWT Signature"));
}
