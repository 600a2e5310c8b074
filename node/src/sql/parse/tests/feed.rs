//! CREATE and ALTER CHANGEFEED.

use super::super::feed::{FeedChange, FeedStatement};
use super::super::job::JobStatement;
use super::*;

fn feed(text: &str) -> FeedStatement {
    match parse(text) {
        Ok(Statement::Job(statement)) => match *statement {
            JobStatement::Feed(feed) => feed,
            other => panic!("{text}: {other:?}"),
        },
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn changefeeds_are_read_and_keep_their_secrets() {
    let text = "CREATE CHANGEFEED FOR TABLE a, d.public.\"B\" INTO 'webhook-https://h/sesame' \
                WITH updated, resolved = '10s', format = json, webhook_auth_header = 'sesame'";
    let FeedStatement::Create { tables, sink, options } = feed(text) else { panic!() };
    let names: Vec<_> = tables.iter().map(ToString::to_string).collect();
    assert_eq!(names.len(), 2);
    assert_eq!(sink.expose(), "webhook-https://h/sesame");
    assert_eq!((options.value("resolved"), options.value("format")), (Some("10s"), Some("json")));
    assert!(!format!("{:?}", parse(text)).contains("sesame"));
    let FeedStatement::Create { options, .. } =
        feed("CREATE CHANGEFEED FOR t INTO 'null://' WITH OPTIONS (diff)")
    else {
        panic!()
    };
    assert_eq!(options.0, [("diff".to_owned(), None)]);
    let text = "ALTER CHANGEFEED 7 ADD a, b WITH no_initial_scan DROP c SET sink = 'null://', diff UNSET updated, resolved";
    let FeedStatement::Alter { id, changes } = feed(text) else { panic!() };
    assert_eq!(id.0, 7);
    assert!(matches!(
        &changes[..],
        [FeedChange::Add(added, with), FeedChange::Drop(dropped), FeedChange::Set(set), FeedChange::Unset(unset)]
            if added.len() == 2 && with.0.len() == 1 && dropped.len() == 1 && set.0.len() == 2 && unset.len() == 2
    ));
}

#[test]
fn what_is_no_changefeed_or_not_served_is_refused_by_name() {
    for (text, said) in [
        (
            "CREATE CHANGEFEED INTO 'null://' AS SELECT 1",
            "0A000 CREATE CHANGEFEED … AS SELECT is not supported",
        ),
        ("CREATE CHANGEFEED AS SELECT 1", "0A000 CREATE CHANGEFEED … AS SELECT is not supported"),
        (
            "CREATE CHANGEFEED FOR t FAMILY f INTO 'null://'",
            "0A000 a changefeed of a column family is not supported",
        ),
        (
            "CREATE CHANGEFEED FOR DATABASE d INTO 'null://'",
            "0A000 a changefeed of a database is not supported",
        ),
        ("CREATE CHANGEFEED FOR t INTO ''", "42601 omit the SINK clause for inline results"),
        ("ALTER CHANGEFEED 7", "42601 at or near \"EOF\": syntax error"),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(format!("{} {}", error.body.code.as_str(), error.body.message), said, "{text}");
    }
}

#[test]
fn without_into_a_feed_goes_to_the_client() {
    for text in
        ["CREATE CHANGEFEED FOR t, u WITH updated", "EXPERIMENTAL CHANGEFEED FOR TABLE t, u WITH updated"]
    {
        let FeedStatement::Stream { tables, options } = feed(text) else { panic!("{text}") };
        assert_eq!(tables.len(), 2);
        assert_eq!(options.0, [("updated".to_owned(), None)]);
    }
}
