//! Where a token comes from, whom it becomes, to what it is confined.

use std::path::{Path, PathBuf};

use grantd_cluster_tests::cloud::google::Service;
use grantd_node::cloud::lease::Class;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

/// A node whose GOOGLE_APPLICATION_CREDENTIALS names this file.
fn with_file(google: &Google, source: GcpNodeSource, path: PathBuf) -> Gcp {
    let environment = Environment { credentials: Some(path), metadata_host: None };
    Gcp::new(google.settings(source), environment, "").expect("settings that fit")
}

fn written(directory: &TempDir, content: &Value) -> PathBuf {
    let path = directory.path().join("credentials.json");
    std::fs::write(&path, content.to_string()).expect("a file of a test");
    path
}

fn node() -> Chain {
    Chain::new(Source::GcpNode, [])
}

#[tokio::test]
async fn a_file_with_a_key_gives_a_token_of_its_account() {
    let google = Google::start().await;
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("key.json");
    google.key_file(&account("file"), &path);
    for source in [GcpNodeSource::File, GcpNodeSource::Auto] {
        let fetched = with_file(&google, source, path.clone()).fetch(&node(), None).await.expect("a token");
        assert_eq!((whose(&fetched), fetched.lifetime), (Some(account("file").as_str()), Some(HOUR)));
    }
    // It is read again for each token: who replaces it need not restart the node.
    let gcp = with_file(&google, GcpNodeSource::File, path.clone());
    google.key_file(&account("rotated"), &path);
    let fetched = gcp.fetch(&node(), None).await.expect("a token");
    assert_eq!(whose(&fetched), Some(account("rotated").as_str()));
}

#[tokio::test]
async fn a_key_in_a_uri_gives_a_token_and_ends_when_it_is_deleted() {
    let google = Google::start().await;
    let gcp = Gcp::new(google.settings(GcpNodeSource::None), Environment::default(), "")
        .expect("settings that fit");
    let chain = Chain::new(Source::GcpKey(hashed(&google.key(&account("uri")))), []);
    let fetched = gcp.fetch(&chain, None).await.expect("a token");
    assert_eq!(whose(&fetched), Some(account("uri").as_str()));
    google.delete_key(&account("uri"));
    let error = gcp.fetch(&chain, None).await.expect_err("the key is deleted");
    assert_eq!((error.class, error.code.as_deref()), (Class::SourceDead, Some("invalid_grant")));
    assert!(error.message.contains(&account("uri")), "{error}");
}

#[tokio::test]
async fn a_uri_brings_keys_only_and_they_are_shown_to_google_only() {
    let google = Google::start().await;
    let gcp = machine(&google);
    let mut elsewhere: Value = serde_json::from_str(&google.key(&account("uri"))).expect("a key");
    elsewhere["token_uri"] = json!("http://127.0.0.1:1/token");
    // One parser drops the tab and reads Google's host; `gcp_auth` has another parser.
    let mut two_ways = elsewhere.clone();
    two_ways["token_uri"] = json!("https://oauth2.goo\tgleapis.com/token");
    // A URI is written by whoever may write SQL: it must not name files and hosts of the node.
    let reads_a_file = json!({
        "type": "external_account", "audience": "a", "subject_token_type": "t",
        "token_url": format!("{}/v1/token", google.endpoint()), "credential_source": {"file": "/etc/hostname"},
    });
    for (key, told) in
        [(elsewhere, "`token_uri`"), (two_ways, "`token_uri`"), (reads_a_file, "`service_account` only")]
    {
        let chain = Chain::new(Source::GcpKey(hashed(&key.to_string())), []);
        let error = gcp.fetch(&chain, None).await.expect_err("refused");
        assert_eq!(error.class, Class::Config);
        assert!(error.message.contains(told), "{error}");
    }
    assert!(google.calls(Service::Exchange).is_empty() && google.calls(Service::Token).is_empty());
}

#[tokio::test]
async fn a_token_in_a_uri_has_no_end_and_cannot_be_had_again() {
    let google = Google::start().await;
    let gcp = machine(&google);
    let given = google.token(&account("uri"), HOUR);
    let source = Source::GcpToken(hashed(&given));
    let fetched = gcp.fetch(&Chain::new(source.clone(), []), None).await.expect("the token");
    assert_eq!((token(&fetched), fetched.lifetime), (given.as_str(), None));
    google.end_all_tokens();
    let Step::Impersonate(step) = chain(&["writer"], HOUR).last().clone() else { panic!("an impersonation") };
    let error =
        walk(&gcp, &Chain::new(source, [Step::Impersonate(step)])).await.expect_err("the token is over");
    assert_eq!(error.class, Class::SourceDead);
    assert!(error.message.contains("cannot be refreshed") && !error.message.contains(&given), "{error}");
}

#[tokio::test]
async fn the_metadata_server_gives_the_machines_account() {
    let google = Google::start().await;
    let gcp = machine(&google);
    let fetched = gcp.fetch(&node(), None).await.expect("a token");
    assert_eq!(whose(&fetched), Some(account("node").as_str()));
    assert!(fetched.lifetime.is_some_and(|lifetime| lifetime <= HOUR && lifetime > HOUR / 2));
    // GCE_METADATA_HOST does what the configuration key does.
    let mut settings = google.settings(GcpNodeSource::Auto);
    let metadata_host = settings.gcp_metadata_host.take();
    let environment = Environment { credentials: None, metadata_host };
    let gcp = Gcp::new(settings, environment, "").expect("settings that fit");
    gcp.fetch(&node(), None).await.expect("a token");
    google.machine(None);
    let error = gcp.fetch(&node(), None).await.expect_err("the machine has no account");
    assert_eq!(error.class, Class::SourceDead);
    assert!(error.message.contains("no service account"), "{error}");
}

/// Case 86, the step: who asks early gets the same token again, and is told what is left of it, not an hour.
#[tokio::test]
async fn the_same_token_again_comes_with_what_is_left_of_it() {
    let google = Google::start().await;
    google.lifetime(Duration::from_secs(5));
    google.machine_token_replaced(Duration::from_secs(1));
    let gcp = machine(&google);
    let first = gcp.fetch(&node(), None).await.expect("a token");
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let again = gcp.fetch(&node(), None).await.expect("a token");
    assert_eq!(token(&first), token(&again));
    assert!(again.lifetime.is_some_and(|left| left <= Duration::from_millis(3_800)), "{:?}", again.lifetime);
    tokio::time::sleep(Duration::from_secs(3)).await;
    let next = gcp.fetch(&node(), None).await.expect("a token");
    assert_ne!(token(&first), token(&next));
}

#[tokio::test]
async fn a_file_of_a_person_and_of_another_issuer_and_of_who_becomes_another() {
    let google = Google::start().await;
    google.accept("refresh-token", "alice@example.com");
    google.accept("foreign-token", "principal://pool/subject/s");
    for by in ["alice@example.com", "principal://pool/subject/s"] {
        google.allow(by, &account("target"));
    }
    let directory = TempDir::new().expect("a directory");
    let foreign = directory.path().join("token");
    std::fs::write(&foreign, "{\"jwt\": \"foreign-token\"}\n").expect("a file of a test");
    let endpoint = google.endpoint();
    let target =
        format!("{endpoint}/v1/projects/-/serviceAccounts/{}:generateAccessToken", account("target"));
    let person = json!({
        "type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "refresh-token",
        "token_uri": format!("{endpoint}/token"),
    });
    let federated = json!({
        "type": "external_account", "audience": "//iam/pool", "token_url": format!("{endpoint}/v1/token"),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "credential_source": {"file": foreign, "format": {"type": "json", "subject_token_field_name": "jwt"}},
        "service_account_impersonation_url": target,
    });
    let becomes = json!({
        "type": "impersonated_service_account", "source_credentials": person,
        "service_account_impersonation_url": target, "delegates": [],
    });
    for (content, expected) in [(person, None), (federated, Some("target")), (becomes, Some("target"))] {
        let gcp = with_file(&google, GcpNodeSource::File, written(&directory, &content));
        let fetched = gcp.fetch(&node(), None).await.unwrap_or_else(|error| panic!("{content}: {error}"));
        assert_eq!(whose(&fetched).map(str::to_owned), expected.map(account));
    }
}

#[tokio::test]
async fn what_is_not_there_is_named_with_what_helps() {
    let google = Google::start().await;
    let directory = TempDir::new().expect("a directory");
    let settings = |source| google.settings(source);
    let plain = |source| Gcp::new(settings(source), Environment::default(), "").expect("settings that fit");
    let file = |content: Value| with_file(&google, GcpNodeSource::File, written(&directory, &content));
    let cases = [
        (plain(GcpNodeSource::None), Class::Config, "`gcp_source` is `none`"),
        (plain(GcpNodeSource::File), Class::SourceDead, "GOOGLE_APPLICATION_CREDENTIALS is not set"),
        (
            with_file(&google, GcpNodeSource::File, Path::new("/nowhere/key.json").to_owned()),
            Class::SourceDead,
            "cannot be read",
        ),
    ];
    for (gcp, class, told) in cases {
        let error = gcp.fetch(&node(), None).await.expect_err("there is none");
        assert_eq!(error.class, class);
        assert!(error.message.contains(told), "{error}");
    }
    // The same file is written anew for each, so one after the other.
    let program = json!({
        "type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": "http://127.0.0.1:1/",
        "credential_source": {"executable": {"command": "/bin/true"}},
    });
    let spoiled = json!({
        "type": "service_account", "client_email": account("n"), "private_key": "planted-secret",
        "token_uri": format!("{}/token", google.endpoint()),
    });
    let nowhere = |token_uri: &str| {
        let mut key: Value = serde_json::from_str(&google.key(&account("n"))).expect("a key is JSON");
        key["token_uri"] = json!(token_uri);
        key
    };
    let files = [
        (nowhere("no address, and gcp_auth would panic"), Class::Config, "`token_uri`"),
        (nowhere("file:///etc/passwd"), Class::Config, "`token_uri`"),
        (json!({"type": "gdch_service_account"}), Class::Config, "`gdch_service_account`"),
        (json!({"type": 1}), Class::Config, "a field is missing"),
        (program, Class::Config, "programs"),
        (spoiled, Class::SourceDead, "not an RSA key"),
    ];
    for (content, class, told) in files {
        let error = file(content).fetch(&node(), None).await.expect_err("it does not fit");
        assert_eq!(error.class, class, "{error}");
        assert!(error.message.contains(told) && !error.message.contains("planted-secret"), "{error}");
    }
}

/// Case 17.
#[tokio::test]
async fn a_chain_is_one_call_on_its_last_account_with_the_others_as_delegates() {
    let google = Google::start().await;
    google.chain(&[&account("node"), &account("a"), &account("b")], BUCKET);
    let gcp = machine(&google);
    let fetched = walk(&gcp, &chain(&["a", "b"], HOUR)).await.expect("a token");
    assert_eq!((whose(&fetched), fetched.lifetime), (Some(account("b").as_str()), Some(HOUR)));
    let calls = google.calls(Service::Iam);
    assert_eq!(calls.len(), 1);
    assert_eq!(calls[0].account, Some(account("node")));
    assert_eq!((&calls[0].subject, &calls[0].delegates), (&account("b"), &vec![account("a")]));
}

#[tokio::test]
async fn life_counts_by_googles_clock_and_is_never_longer_than_asked_for() {
    let google = Google::start().await;
    google.chain(&[&account("node"), &account("b")], BUCKET);
    let gcp = machine(&google);
    for skew in [-7_200, 0, 7_200] {
        google.skew(skew);
        let fetched = walk(&gcp, &chain(&["b"], Duration::from_secs(3))).await.expect("a token");
        assert_eq!(fetched.lifetime, Some(Duration::from_secs(3)));
        // More than Google gives is not asked for.
        let fetched = walk(&gcp, &chain(&["b"], HOUR * 12)).await.expect("a token");
        assert_eq!(fetched.lifetime, Some(HOUR));
    }
    // What a key signs says the time: it is signed again by Google's clock. `gcp_auth` signs by this machine's, five times
    // over, and does not say what was wrong; the sixth time it is asked by hand, and the seventh by Google's clock.
    let chain = Chain::new(Source::GcpKey(hashed(&google.key(&account("uri")))), []);
    gcp.fetch(&chain, None).await.expect("a token");
    let statuses: Vec<_> = google.calls(Service::Token).iter().map(|call| call.status).collect();
    assert_eq!(statuses, [400, 400, 400, 400, 400, 400, 200]);
}

#[tokio::test]
async fn a_confined_token_ends_with_its_parent() {
    let google = Google::start().await;
    google.chain(&[&account("node"), &account("b")], BUCKET);
    let gcp = machine(&google);
    let chain = then(&chain(&["b"], Duration::from_secs(5)), confined(BUCKET, "p/", true));
    let fetched = walk(&gcp, &chain).await.expect("a token");
    assert!(
        fetched.lifetime.is_some_and(|lifetime| lifetime <= Duration::from_secs(5)),
        "{:?}",
        fetched.lifetime
    );
    assert_eq!(whose(&fetched), Some(account("b").as_str()));
}
