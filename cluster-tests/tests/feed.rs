//! Changefeeds of a real node, in this process, into each kind of sink: stopped and begun again, refused and let in again, and at
//! the end the reader has exactly the history.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "feed/reader.rs"]
mod reader;
#[path = "feed/tls.rs"]
mod tls;
#[path = "feed/world.rs"]
mod world;

use std::process::Command;
use std::time::{Duration, Instant};

use grantd_cluster_tests::cloud::aws::Aws;
use grantd_cluster_tests::cloud::fault::{Fault, Trouble};
use grantd_cluster_tests::cloud::google::Google;
use grantd_cluster_tests::cloud::tansu::Tansu;
use grantd_cluster_tests::cloud::world::{ACCOUNT, World as AwsWorld, user_arn};
use grantd_node::config::cloud::GcpNodeSource;
use grantd_node::feed::plan::End;
use grantd_node::feed::run::Ended;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rskafka::client::ClientBuilder;

use reader::{files_below, kafka_messages, pubsub_messages, read};
use world::{Clouds, World, lines_of};

const OPTIONS: &[(&str, Option<&str>)] =
    &[("updated", None), ("resolved", Some("0s")), ("min_checkpoint_frequency", Some("200ms"))];

/// Prints the rows of all files below a directory, in the order of their names, as messages of the other format.
const PARQUET: &str = r#"
import duckdb, json, pathlib, sys
for path in sorted(str(path) for path in pathlib.Path(sys.argv[1]).rglob("*") if path.is_file()):
    if path.endswith(".RESOLVED"):
        print(open(path).read())
        continue
    for k, v, event, updated in duckdb.sql(f"SELECT k, v, __crdb__event_type, __crdb__updated FROM read_parquet({path!r})").fetchall():
        print(json.dumps({"key": [k], "after": None if event == "d" else {"k": k, "v": v}, "updated": updated}))
"#;

/// Writes go on while the feed is stopped three times and begun again from what was kept.
async fn stopped_and_begun_again(world: &mut World, clouds: &Clouds, sink: &str) {
    for round in 0..3 {
        let stop = Duration::from_millis(300 + 200 * round);
        world.write_while_fed(clouds, sink, 60, Some(stop)).await;
    }
    world.write_while_fed(clouds, sink, 60, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_a_directory_hold_exactly_the_history() {
    let mut world = World::start(OPTIONS).await;
    let sink = "nodelocal://self/feed?file_size=2KB";
    stopped_and_begun_again(&mut world, &Clouds::none(), sink).await;
    let messages = files_below(&world.files());
    assert_eq!(read(&messages), world.expected, "{} messages", messages.len());
    assert!(messages.iter().any(|message| message.contains("resolved")), "and it was told");
}

/// As DuckDB reads them, which knows Parquet and nothing of us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_parquet_hold_it_for_another_program() {
    let python = std::env::var("GRANTD_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python).args(["-c", "import duckdb"]).output();
    if !has.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("GRANTD_REQUIRE_DRIVERS").is_none(), "{python} has no duckdb");
        eprintln!("left out: {python} has no duckdb");
        return;
    }
    let options = [OPTIONS, &[("format", Some("parquet")), ("compression", Some("zstd"))]].concat();
    let mut world = World::start(&options).await;
    stopped_and_begun_again(&mut world, &Clouds::none(), "nodelocal://self/feed?file_size=2KB").await;
    let output = Command::new(&python).arg("-c").arg(PARQUET).arg(world.files()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages: Vec<String> =
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(read(&messages), world.expected, "{} messages", messages.len());
    assert!(messages.iter().any(|message| message.contains("resolved")), "and it was told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_a_bucket_hold_it_under_credentials_of_three_seconds_and_refusals() {
    let (aws_world, chained) = AwsWorld::chain("chain", 3, "feeds");
    let (aws, keys) = Aws::of(&aws_world).await;
    let keys = &keys[&user_arn(ACCOUNT, "chain")];
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let sink = format!(
        "s3://feeds/t?AWS_ACCESS_KEY_ID={}&AWS_SECRET_ACCESS_KEY={}&AWS_ENDPOINT={}&AWS_REGION=us-east-1&ASSUME_ROLE={}",
        keys.access_key_id,
        encoded(&keys.secret_access_key),
        encoded(&aws.endpoint()),
        encoded(&chained.roles.join(",")),
    );
    let clouds = Clouds::aws(&aws.endpoint());
    let mut world = World::start(OPTIONS).await;
    stopped_and_begun_again(&mut world, &clouds, &sink).await;
    // Case 145: it says no for some time, and nothing is lost.
    aws.inject(Fault::s3(Trouble::Deny).lasting(Duration::from_millis(1_500)));
    world.write_while_fed(&clouds, &sink, 60, None).await;
    assert!(world.retries() > 0, "it was refused");
    let messages = lines_of(&clouds, &sink).await;
    assert_eq!(read(&messages), world.expected, "{} messages", messages.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_kafka_hold_it_in_the_order_of_each_key() {
    let Some(tansu) = Tansu::start().await else { return };
    let mut world = World::start(OPTIONS).await;
    let sink = format!("kafka://{}?topic_prefix=x_", tansu.address());
    let began = Instant::now();
    stopped_and_begun_again(&mut world, &Clouds::none(), &sink).await;
    println!("Tansu: 4 runs in {:?}", began.elapsed());
    let messages = kafka_messages(ClientBuilder::new(vec![tansu.address().to_string()]), "x_t").await;
    assert_eq!(read(&messages), world.expected, "{} messages", messages.len());
    assert!(messages.iter().any(|message| message.contains("resolved")), "and it was told");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_kafka_are_reached_over_tls_by_who_trusts_it() {
    let front = tls::Front::start().await;
    let Some(tansu) = Tansu::start_behind(Some(&front.host())).await else { return };
    front.lead_to(tansu.address());
    let mut world = World::start(OPTIONS).await;
    let stranger = format!("kafka://{}?tls_enabled=true", front.host());
    assert!(!world.is_let_in(&stranger, Duration::from_secs(2)).await, "it has no CA that the system trusts");
    let careless = format!("{stranger}&insecure_tls_skip_verify=true");
    assert!(world.is_let_in(&careless, Duration::from_secs(20)).await);
    let encoded = utf8_percent_encode(&front.ca_base64(), NON_ALPHANUMERIC).to_string();
    let sink = format!("{stranger}&ca_cert={encoded}&topic_name=all");
    world.write_while_fed(&Clouds::none(), &sink, 40, None).await;
    let brokers = ClientBuilder::new(vec![front.host()]).tls_config(front.client());
    assert_eq!(read(&kafka_messages(brokers, "all").await), world.expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_pubsub_hold_it_under_tokens_of_three_seconds_and_refusals() {
    let google = Google::start().await;
    google.machine(Some("node@p.iam"));
    google.lifetime(Duration::from_secs(3));
    let clouds = Clouds::google(google.settings(GcpNodeSource::Metadata));
    let mut world = World::start(OPTIONS).await;
    let sink = "gcpubsub://p?region=eu-west1&topic_name=orders&AUTH=implicit&ASSUME_ROLE=feeds%40p.iam.gserviceaccount.com";
    google.allow("node@p.iam", "feeds@p.iam.gserviceaccount.com");
    google.publisher("feeds@p.iam.gserviceaccount.com", Some(true));
    stopped_and_begun_again(&mut world, &clouds, sink).await;
    google.publisher("feeds@p.iam.gserviceaccount.com", None);
    let again = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        google.publisher("feeds@p.iam.gserviceaccount.com", Some(false));
    };
    tokio::join!(world.write_while_fed(&clouds, sink, 60, None), again);
    assert!(world.retries() > 0, "it was refused");
    let messages = pubsub_messages(google.published());
    assert_eq!(read(&messages), world.expected, "{} messages", messages.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_sends_all_rows_again_where_the_table_gets_another_shape() {
    let mut world = World::start(OPTIONS).await;
    let (sink, clouds) = ("nodelocal://self/feed", Clouds::none());
    world.write_while_fed(&clouds, sink, 20, Some(Duration::from_millis(400))).await;
    world.run("ALTER TABLE t ADD COLUMN w INT DEFAULT 7").await;
    world.all_again();
    world.write_while_fed(&clouds, sink, 20, None).await;
    let messages = files_below(&world.files());
    assert_eq!(read(&messages), world.expected);
    let last = messages.iter().rev().find(|message| message.contains("\"w\": 7"));
    assert!(last.is_some(), "with the column that came");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_feed_ends_where_its_owner_may_not_read_any_more() {
    let mut world = World::start(OPTIONS).await;
    world.run("CREATE USER amy").await;
    world.run("GRANT CHANGEFEED ON t TO amy").await;
    world.becomes("amy").await;
    world.write_while_fed(&Clouds::none(), "nodelocal://self/feed", 10, None).await;
    world.run("REVOKE CHANGEFEED ON t FROM amy").await;
    let ended = world.feed(&Clouds::none(), "nodelocal://self/feed", Some(Duration::from_secs(20))).await;
    let Some(Ended::Feed(End::Failed(refusal))) = ended else { panic!("{ended:?}") };
    assert_eq!(refusal.code.as_str(), "42501", "{}", refusal.message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scan_alone_ends_and_csv_has_the_rows() {
    let options = [("initial_scan", Some("only")), ("format", Some("csv"))];
    let mut world = World::start(&options).await;
    let ended = world.feed(&Clouds::none(), "nodelocal://self/feed", Some(Duration::from_secs(20))).await;
    assert_eq!(ended, Some(Ended::Feed(End::Succeeded)));
    let mut lines = files_below(&world.files());
    lines.sort();
    let expected: Vec<String> = (0..20).map(|key| format!("{key},0")).collect();
    let mut expected = expected;
    expected.sort();
    assert_eq!(lines, expected);
}
