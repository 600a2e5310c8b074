//! Google: nodes by Workload Identity, and a chain that is one call.

use grantd_cluster_tests::cloud::google::{Access, Google, Service};
use grantd_cluster_tests::process::until;

use super::{Stage, arrived};

const BUCKET: &str = "acme-backups";
const NODE: &str = "grantd-node@prod-1.iam.gserviceaccount.com";
const STORE: &str = "crl-dr-store-user-0123456789ab@prod-1.iam.gserviceaccount.com";
const SINK: &str = "crl-cdc-sink-user-0123456789ab@prod-1.iam.gserviceaccount.com";
const BACKUP: &str = "backup@acme-data.iam.gserviceaccount.com";
const FEED: &str = "feed@acme-data.iam.gserviceaccount.com";

async fn stage(google: &Google) -> Stage {
    let endpoint = google.endpoint();
    let host = endpoint.trim_start_matches("http://").to_owned();
    let arguments = [
        ["--gcp-source", "metadata"],
        ["--gcp-metadata-host", &host],
        ["--gcp-iam-endpoint", &endpoint],
        ["--gcp-sts-endpoint", &endpoint],
        ["--gcs-endpoint", &endpoint],
    ];
    Stage::new(arguments.as_flattened(), &[]).await
}

/// The lines of all objects below, in the order of their names.
fn lines(google: &Google, prefix: &str) -> Vec<String> {
    let text = |name: String| {
        let object = google.object(BUCKET, &name).expect("it was listed");
        String::from_utf8_lossy(&object).into_owned()
    };
    let texts = google.names(BUCKET, prefix).into_iter().map(text);
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

/// Says a statement of a chain in which nobody may become another, grants what the refusal names, and so on, until it is done.
async fn pair_after_pair(google: &Google, stage: &mut Stage, statement: &str, chain: &[&str]) {
    for pair in chain.windows(2) {
        let wanted = format!("{} may not impersonate {}", pair[0], pair[1]);
        stage.until(statement, &wanted).await.expect_err("nobody granted it yet");
        google.allow(pair[0], pair[1]);
    }
    stage.until(statement, "never").await.expect("every grant is there");
}

/// One call in the node's name upon the last account, with the others as delegates in their order; then the last account at the
/// bucket.
fn shows(google: &Google, chain: &[&str], prefix: &str) {
    let ([_, delegates @ .., last], iam) = (chain, google.calls(Service::Iam)) else { panic!("a chain") };
    let delegates: Vec<_> = delegates.iter().map(|account| (*account).to_owned()).collect();
    let call = iam.iter().find(|call| call.status == 200 && call.subject == *last).expect("it was asked");
    assert_eq!((call.account.as_deref(), &call.delegates), (Some(NODE), &delegates));
    let put = google.calls(Service::Storage).into_iter();
    let mut put =
        put.filter(|call| call.operation == "Put" && call.subject.replace("%2F", "/").contains(prefix));
    let put = put.find(|call| call.status == 200).expect("it was written");
    assert_eq!(put.account.as_deref(), Some(*last));
    assert!(call.at < put.at);
}

/// Rows 0.12, 0.16 to 0.20, of Google.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_names_of_accounts_alone_backups_and_feeds_are_made_on_google() {
    let google = Google::start().await;
    google.machine(Some(NODE));
    google.bucket(BUCKET);
    for account in [BACKUP, FEED] {
        google.grant(BUCKET, account, Some(Access::Write));
    }
    let mut stage = stage(&google).await;
    let place = format!("gs://{BUCKET}/managed/backup?AUTH=implicit&ASSUME_ROLE={STORE},{BACKUP}");
    let statement = format!("BACKUP DATABASE shop INTO '{place}'");
    pair_after_pair(&google, &mut stage, &statement, &[NODE, STORE, BACKUP]).await;
    shows(&google, &[NODE, STORE, BACKUP], "managed/backup");
    stage.comes_back(&place, "managed").await;
    let place = format!("gs://{BUCKET}/managed/feed? AUTH=implicit&ASSUME_ROLE={SINK},{FEED}");
    let statement =
        format!("CREATE CHANGEFEED FOR TABLE shop.public.orders INTO '{place}' with updated, resolved");
    pair_after_pair(&google, &mut stage, &statement, &[NODE, SINK, FEED]).await;

    stage.as_root(&format!("SET CLUSTER SETTING cloud.gcp.functional_role.storage = '{STORE}'")).await;
    let place = format!("gs://{BUCKET}/settings/backup?AUTH=implicit&ASSUME_ROLE={BACKUP}");
    stage.run(&format!("BACKUP DATABASE shop INTO '{place}'")).await;
    stage.comes_back(&place, "settings").await;

    until("messages are there", async || arrived(&lines(&google, "managed/feed"))).await;
    shows(&google, &[NODE, SINK, FEED], "managed/feed");
    stage.has_no(&google.tokens()).await;
}
