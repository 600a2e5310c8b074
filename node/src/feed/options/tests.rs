//! Each text of the specification's D.2, and what is without words.

use super::*;

const NOW: Timestamp = Timestamp { nanos: 1_700_000_000_000_000_000, logical: 0 };

fn given(text: &str) -> Vec<(String, Option<String>)> {
    let each = text.split(';').filter(|part| !part.is_empty());
    each.map(|part| match part.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (part.to_owned(), None),
    })
    .collect()
}

fn parse(text: &str) -> Options {
    Options::parse(&given(text), NOW).unwrap()
}

fn refused(text: &str) -> String {
    let refusal = Options::parse(&given(text), NOW).unwrap_err();
    format!("{} {}", refusal.code.as_str(), refusal.message)
}

#[test]
fn what_is_not_said_is_as_in_the_original() {
    let options = parse("");
    assert_eq!(options.initial_scan, InitialScan::Yes);
    assert_eq!(options.min_checkpoint_frequency, Duration::from_secs(30));
    assert_eq!((options.resolved, options.cursor, options.end_time), (None, None, None));
    assert_eq!(options.message.envelope, Envelope::Wrapped);
    assert_eq!(options.schema_change_policy, SchemaPolicy::Backfill);
    assert_eq!(options.webhook.retry, Retry { max: Some(3), backoff: Duration::from_millis(500) });
    assert_eq!(options.webhook_timeout, Duration::from_secs(3));
    assert_eq!(options.on_error, OnError::Fail);
}

/// Case 140.
#[test]
fn a_cursor_means_no_scan_unless_one_is_asked_for() {
    let cursor = "cursor=1532377312562986715.0000000002";
    let options = parse(cursor);
    assert_eq!(options.initial_scan, InitialScan::No);
    assert_eq!(options.cursor, Some(Timestamp { nanos: 1_532_377_312_562_986_715, logical: 2 }));
    assert_eq!(parse(&format!("{cursor};initial_scan=yes")).initial_scan, InitialScan::Yes);
    assert_eq!(parse("initial_scan").initial_scan, InitialScan::Yes);
    assert_eq!(parse("initial_scan_only").initial_scan, InitialScan::Only);
    assert_eq!(parse("no_initial_scan").initial_scan, InitialScan::No);
}

#[test]
fn times_are_written_in_several_ways() {
    assert_eq!(
        parse("cursor=-10s").cursor,
        Some(Timestamp { nanos: NOW.nanos - 10_000_000_000, logical: 0 })
    );
    assert_eq!(
        parse("end_time=2023-11-14 22:13:20+00").end_time,
        Some(Timestamp { nanos: 1_700_000_000_000_000_000, logical: 0 })
    );
    let expected = "22023 problem parsing option cursor: \"soon\" is no time";
    assert_eq!(refused("cursor=soon"), expected);
}

/// Case 149.
#[test]
fn durations_are_those_of_go() {
    for (text, millis) in [("1h2m3.5s", 3_723_500), ("500ms", 500), ("0", 0), ("1.5m", 90_000), ("0s", 0)] {
        assert_eq!(duration("resolved", text).unwrap(), Duration::from_millis(millis), "{text}");
    }
    assert_eq!(duration("resolved", "1µs").unwrap(), Duration::from_micros(1));
    for text in ["", "5", "s", "1y", "1..5s", "1s2"] {
        assert!(duration("resolved", text).is_err(), "{text}");
    }
    assert_eq!(refused("resolved=-1s"), "22023 negative durations are not accepted: resolved='-1s'");
    assert_eq!(
        refused("webhook_client_timeout=0s"),
        "22023 option webhook_client_timeout must be a duration greater than 0"
    );
}

/// Cases 139, 148.
#[test]
fn what_does_not_go_together_is_refused() {
    for other in ["resolved", "end_time=1", "diff", "updated", "mvcc_timestamp"] {
        let name = other.split('=').next().unwrap();
        assert_eq!(
            refused(&format!("initial_scan=only;{other}")),
            format!("22023 cannot specify both initial_scan='only' and {name}")
        );
    }
    assert_eq!(refused("format=csv"), "22023 format=csv is only usable with initial_scan_only");
    assert_eq!(parse("format=csv;initial_scan=only").message.format, Format::Csv);
    assert_eq!(
        refused("initial_scan=yes;no_initial_scan"),
        "22023 cannot specify both initial_scan and no_initial_scan"
    );
    assert_eq!(refused("diff;envelope=row"), "22023 diff is only usable with envelope=wrapped");
    assert_eq!(refused("updated;envelope=key_only"), "22023 updated is only usable with envelope=wrapped");
    assert_eq!(refused("unordered;resolved"), "22023 resolved is not supported with unordered");
    assert_eq!(refused("mvcc_timestamp"), "0A000 mvcc_timestamp is not supported where rows are scanned");
    assert!(parse("mvcc_timestamp;initial_scan=no").message.mvcc_timestamp);
}

#[test]
fn words_that_are_none_are_listed_with_those_that_are() {
    assert_eq!(
        refused("envelope=box"),
        "22023 unknown envelope: box, valid values are 'row', 'key_only', 'wrapped', and 'bare'"
    );
    assert_eq!(refused("on_error=cry"), "22023 unknown on_error: cry, valid values are 'pause' and 'fail'");
    assert_eq!(refused("nonsense"), "22023 invalid option \"nonsense\"");
    assert_eq!(refused("updated=x"), "22023 option \"updated\" does not take a value");
    assert_eq!(refused("format"), "22023 option \"format\" requires a value");
}

#[test]
fn what_is_not_served_is_named() {
    for name in UNSUPPORTED {
        assert_eq!(refused(name), format!("0A000 the option {name} of CHANGEFEED is not supported"));
    }
    assert_eq!(refused("format=avro"), "0A000 format=avro of CHANGEFEED is not supported");
    assert_eq!(refused("format=avro"), "0A000 format=avro of CHANGEFEED is not supported");
    assert_eq!(refused("envelope=enriched"), "0A000 envelope=enriched of CHANGEFEED is not supported");
}

#[test]
fn sinks_say_in_json_how_they_send() {
    let text = "webhook_sink_config={\"Flush\": {\"Messages\": 5, \"Frequency\": \"1s\"}, \"Retry\": {\"Max\": \"inf\"}}";
    let options = parse(text);
    assert_eq!(
        (options.webhook.flush.messages, options.webhook.flush.frequency),
        (5, Duration::from_secs(1))
    );
    assert_eq!(options.webhook.retry.max, None);
    assert_eq!(
        refused("webhook_sink_config={\"Flush\": {\"Bytes\": 5}}"),
        "22023 error unmarshalling json of option webhook_sink_config: Flush.Frequency is not set, messages may never be sent"
    );
    let kafka = "kafka_sink_config={\"Flush\": {\"MaxMessages\": 7}, \"Version\": \"2.8.0\", \"RequiredAcks\": \"ONE\", \
                 \"Compression\": \"ZSTD\"}";
    assert_eq!(parse(kafka).kafka.compressed, Compressed::Zstd);
    assert_eq!(parse(kafka).kafka.flush.messages_max, Some(7));
    assert_eq!(
        refused("kafka_sink_config={\"Colour\": 1}"),
        "22023 error unmarshalling json of option kafka_sink_config: unknown field \"Colour\""
    );
    assert_eq!(
        refused("kafka_sink_config={\"Compression\": \"LZ4\"}"),
        "0A000 Compression LZ4 of kafka_sink_config is not supported"
    );
}

#[test]
fn a_sink_adds_what_it_needs_and_refuses_what_it_cannot_take() {
    use crate::cloud::settings::NodeSettings;
    use crate::cloud::uri::Purpose;

    let settings = NodeSettings { external_io_dir: Some("/files".into()), ..NodeSettings::nowhere() };
    let sink = |text: &str| Uri::parse(text, Purpose::Sink { unordered: false }, &settings).unwrap();
    let (files, hook) = (sink("nodelocal://self/x"), sink("webhook-https://h/x"));
    let kafka = sink("kafka://h:9092");
    let message = |sink| parse("").for_sink(sink).unwrap().message;
    assert!(message(&files).key_in_value && !message(&files).topic_in_value);
    assert!(message(&hook).key_in_value && message(&hook).topic_in_value);
    assert!(!message(&kafka).key_in_value && !message(&kafka).topic_in_value);
    let incompatible = |text: &str, sink| parse(text).for_sink(sink).unwrap_err().message;
    assert_eq!(incompatible("compression=gzip", &kafka), "this sink is incompatible with option compression");
    assert_eq!(incompatible("envelope=row", &files), "this sink is incompatible with envelope=row");
    assert_eq!(incompatible("envelope=key_only", &hook), "this sink is incompatible with envelope=key_only");
    assert_eq!(
        incompatible("webhook_auth_header=Basic x", &files),
        "this sink is incompatible with option webhook_auth_header"
    );
    // The header is a secret.
    let shown = format!("{:?}", parse("webhook_auth_header=Basic hunter2"));
    assert!(!shown.contains("hunter2"), "{shown}");
}
