//! Messages byte for byte, in each envelope, of every type.

use grantd_catalog::grant::Acl;
use grantd_catalog::id::{ObjectId, PrincipalId};
use grantd_catalog::name::Name;
use grantd_catalog::object::{Body, Column as TableColumn, ColumnType, EnumLabel, EnumType, Object, Table};
use std::sync::Arc;

use super::*;
use crate::feed::options::Options;
use crate::feed::shape::Types;

pub(in crate::feed) fn object(name: &str, body: Body) -> Object {
    Object {
        name: Name::normalize(name),
        parent: ObjectId(1),
        owner: PrincipalId::ROOT,
        acl: Acl::default(),
        body,
        comment: None,
    }
}

pub(in crate::feed) fn table(columns: &[(&str, ColumnType)], key: &[u16]) -> Object {
    let column = |(name, column_type): &(&str, ColumnType)| TableColumn {
        name: Name::normalize(name),
        column_type: *column_type,
        nullable: true,
        default: None,
        hidden: false,
        comment: None,
        computed: None,
        identity: None,
    };
    let table = Table {
        columns: columns.iter().map(column).collect(),
        primary_key: key.to_vec(),
        key_name: Name::normalize("t_pkey"),
        unique: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
    };
    object("t", Body::Table(Arc::new(table)))
}

const TIME: Timestamp = Timestamp { nanos: 1_532_377_312_562_986_715, logical: 2 };
const TEXT: ColumnType = ColumnType::Text { chars_max: None };

fn shape() -> Shape {
    Shape::of("t", &table(&[("name", TEXT), ("id", ColumnType::Int8)], &[1]), &Types::new()).unwrap()
}

fn encoder(options: &str) -> Encoder {
    let given: Vec<_> = options
        .split_whitespace()
        .map(|option| match option.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (option.to_owned(), None),
        })
        .collect();
    Encoder::new(Options::parse(&given, TIME).unwrap().message)
}

fn value(options: &str, before: Option<&[Value]>, after: Option<&[Value]>) -> Option<String> {
    let shape = shape();
    let with = |values| (&shape, values);
    let row = Row { before: before.map(with), after: after.map(with), updated: TIME, topic: "t" };
    encoder(options).value(&row).unwrap().map(|value| String::from_utf8(value).unwrap())
}

fn row(name: &str) -> Vec<Value> {
    vec![Value::Text(name.to_owned()), Value::Integer(1)]
}

/// Case 136.
#[test]
fn a_wrapped_message_has_its_members_in_order() {
    let (old, new) = (row("Petee"), row("Petee H"));
    let of = |options: &str| value(options, Some(&old), Some(&new)).unwrap();
    assert_eq!(of(""), r#"{"after": {"id": 1, "name": "Petee H"}}"#);
    assert_eq!(
        of("updated key_in_value"),
        r#"{"after": {"id": 1, "name": "Petee H"}, "key": [1], "updated": "1532377312562986715.0000000002"}"#
    );
    assert_eq!(
        of("updated diff mvcc_timestamp topic_in_value key_in_value initial_scan=no"),
        r#"{"after": {"id": 1, "name": "Petee H"}, "before": {"id": 1, "name": "Petee"}, "key": [1], "mvcc_timestamp": "1532377312562986715.0000000002", "topic": "t", "updated": "1532377312562986715.0000000002"}"#
    );
    assert_eq!(value("key_in_value", Some(&old), None).unwrap(), r#"{"after": null, "key": [1]}"#);
    assert_eq!(
        value("diff", None, Some(&new)).unwrap(),
        r#"{"after": {"id": 1, "name": "Petee H"}, "before": null}"#
    );
}

#[test]
fn other_envelopes_hold_the_row_alone_or_the_key_alone() {
    let new = row("a");
    let of = |options: &str| value(options, None, Some(&new));
    assert_eq!(of("envelope=row").unwrap(), r#"{"id": 1, "name": "a"}"#);
    assert_eq!(value("envelope=row", Some(&new), None), None);
    assert_eq!(of("envelope=key_only"), None);
    assert_eq!(
        of("envelope=bare updated key_in_value").unwrap(),
        r#"{"__crdb__": {"key": [1], "updated": "1532377312562986715.0000000002"}, "id": 1, "name": "a"}"#
    );
    assert_eq!(value("envelope=bare", Some(&new), None).unwrap(), "{}");
    let shape = shape();
    let about = Row { before: Some((&shape, &new)), after: None, updated: TIME, topic: "t" };
    assert_eq!(encoder("").key(&about).unwrap(), b"[1]");
}

#[test]
fn a_resolved_message_is_as_the_envelope_has_it() {
    let of = |options: &str| String::from_utf8(encoder(options).resolved(TIME)).unwrap();
    assert_eq!(of(""), r#"{"resolved":"1532377312562986715.0000000002"}"#);
    assert_eq!(of("envelope=bare"), r#"{"__crdb__":{"resolved":"1532377312562986715.0000000002"}}"#);
}

#[test]
fn every_type_is_written_as_the_original_does() {
    let mood = ObjectId(900);
    let labels = vec![
        EnumLabel { position: -5, label: "sad".to_owned() },
        EnumLabel { position: 7, label: "o\"k".to_owned() },
    ];
    let types = Types::from([(mood, Arc::new(object("mood", Body::Type(EnumType { labels }))))]);
    let text = |text: &str| Value::Text(text.to_owned());
    let cases = [
        (ColumnType::Bool, Value::Integer(1), "true"),
        (ColumnType::Int2, Value::Integer(-7), "-7"),
        (ColumnType::Int8, Value::Integer(i64::MIN), "-9223372036854775808"),
        (ColumnType::Float8, Value::Real(1.5), "1.5"),
        (ColumnType::Float8, Value::Real(1e21), "1e+21"),
        (ColumnType::Float8, Value::Real(f64::INFINITY), "\"Infinity\""),
        (ColumnType::Float4, Value::Real(f64::from(0.1_f32)), "0.1"),
        (TEXT, text("a\"\\\n\u{1}\u{2028}ü"), r#""a\"\\\n\u0001\u2028ü""#),
        (ColumnType::Bytes, Value::Blob(vec![0, 255]), r#""\\x00ff""#),
        (
            ColumnType::Uuid,
            text("00000000-0000-4000-8000-000000000001"),
            "\"00000000-0000-4000-8000-000000000001\"",
        ),
        (ColumnType::TimestampTz, Value::Integer(1_500_000), "\"1970-01-01T00:00:01.5Z\""),
        (ColumnType::Timestamp, Value::Integer(0), "\"1970-01-01T00:00:00\""),
        (ColumnType::Date, Value::Integer(19_000), "\"2022-01-08\""),
        (ColumnType::Time, Value::Integer(3_661_000_000), "\"01:01:01\""),
        (ColumnType::Decimal { bound: None }, text("10.50"), "10.50"),
        (ColumnType::Decimal { bound: None }, text("NaN"), "\"NaN\""),
        (ColumnType::Jsonb, text(r#"{"a": [1, null]}"#), r#"{"a": [1, null]}"#),
        (ColumnType::Char { chars: 3 }, text("ab"), "\"ab\""),
        (ColumnType::Enum(mood), Value::Integer(7), r#""o\"k""#),
        (ColumnType::Enum(mood), Value::Null, "null"),
    ];
    for (column_type, stored, expected) in cases {
        let shape = Shape::of("t", &table(&[("c", column_type)], &[0]), &types).unwrap();
        let values = [stored];
        let row = Row { before: None, after: Some((&shape, &values)), updated: TIME, topic: "t" };
        let value = String::from_utf8(encoder("envelope=row").value(&row).unwrap().unwrap()).unwrap();
        assert_eq!(value, format!("{{\"c\": {expected}}}"));
        assert!(serde_json::from_str::<serde_json::Value>(&value).is_ok(), "{value}");
    }
}

#[test]
fn csv_is_a_line_in_the_order_of_the_table() {
    let of = |name: &str| value("format=csv initial_scan=only", None, Some(&row(name))).unwrap();
    assert_eq!(of("plain"), "plain,1");
    assert_eq!(of("a,\"b\""), "\"a,\"\"b\"\"\",1");
    assert_eq!(of(" x"), "\" x\",1");
    let null = [Value::Null, Value::Integer(2)];
    assert_eq!(value("format=csv initial_scan=only", None, Some(&null)).unwrap(), ",2");
}

#[test]
fn what_cannot_be_fed_is_refused_by_name() {
    use grantd_catalog::object::Expression;
    let mut with = table(&[("id", ColumnType::Int8), ("twice", ColumnType::Int8)], &[0]);
    let Body::Table(inner) = &mut with.body else { unreachable!("it is a table") };
    let expression =
        Expression { sql: "id * 2".to_owned(), stored: "id * 2".to_owned(), references: Vec::new() };
    Arc::make_mut(inner).columns[1].computed = Some(expression);
    let refusal = Shape::of("t", &with, &Types::new()).unwrap_err();
    assert_eq!(refusal.code.as_str(), "0A000");
    assert_eq!(refusal.message, "CHANGEFEED for \"t\" is not supported: its column \"twice\" is computed");
    let refusal = Shape::of("s", &object("s", Body::Schema), &Types::new()).unwrap_err();
    assert_eq!(refusal.message, "CHANGEFEED cannot target schema: s");
}

#[test]
fn partitions_are_chosen_as_by_the_peers() {
    // Test vectors of the algorithm: http://www.isthe.com/chongo/tech/comp/fnv/
    assert_eq!(fnv1a(b""), 0x811c_9dc5);
    assert_eq!(fnv1a(b"a"), 0xe40c_292c);
    assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
}
