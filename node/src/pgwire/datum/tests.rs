use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::value::Element;

fn encoded(datum: &Datum, sql_type: SqlType, format: Format) -> Bytes {
    let mut out = BytesMut::new();
    encode(datum, sql_type, format, &mut out).unwrap();
    out.freeze().slice(4..)
}

fn text_of(datum: Datum) -> String {
    String::from_utf8(encoded(&datum, SqlType::Text, Format::Text).to_vec()).unwrap()
}

fn read(value: &str, sql_type: SqlType) -> Result<Datum, SqlError> {
    parameter(Some(&Bytes::copy_from_slice(value.as_bytes())), sql_type, Format::Text, 0)
}

fn fault(value: &str, sql_type: SqlType) -> String {
    let error = read(value, sql_type).unwrap_err();
    format!("{} {}", error.body.code.as_str(), error.body.message)
}

#[test]
fn numbers_print_as_postgresql_prints_them() {
    let floats = [
        (0.0, "0"),
        (-0.0, "-0"),
        (1.5, "1.5"),
        (0.0001, "0.0001"),
        (0.00001, "1e-05"),
        (123_456_789_012_345.0, "123456789012345"),
        (1e15, "1e+15"),
        (1.234_567_890_123_456_8e17, "1.2345678901234568e+17"),
        (1e300, "1e+300"),
        (f64::NAN, "NaN"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
    ];
    for (value, expected) in floats {
        assert_eq!(text_of(Datum::Float(value)), expected);
    }
    assert_eq!(text_of(Datum::Int(i64::MIN)), "-9223372036854775808");
    assert_eq!(text_of(Datum::Bool(true)), "t");
}

#[test]
fn a_value_of_an_enum_type_is_its_label_in_both_formats() {
    let mood = SqlType::from_oid(100_104).unwrap();
    let happy = Datum::Text("happy".to_owned());
    for format in [Format::Text, Format::Binary] {
        let bytes = encoded(&happy, mood, format);
        assert_eq!(bytes, "happy");
        assert_eq!(parameter(Some(&bytes), mood, format, 0).unwrap(), happy);
    }
    assert_eq!((wire_oid(mood), wire_size(mood)), (100_104, 4));
}

#[test]
fn times_print_as_postgresql_prints_them_in_utc() {
    let time = |micros| text_of(Datum::TimestampTz(micros));
    assert_eq!(time(0), "1970-01-01 00:00:00+00");
    assert_eq!(time(-1), "1969-12-31 23:59:59.999999+00");
    assert_eq!(time(POSTGRES_EPOCH_MICROS + 120_000), "2000-01-01 00:00:00.12+00");
}

#[test]
fn other_values_print_as_postgresql_prints_them() {
    assert_eq!(text_of(Datum::Bytes(vec![0, 0xfe])), "\\x00fe");
    let uuid = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];
    assert_eq!(text_of(Datum::Uuid(uuid)), "00010203-0405-0607-0809-0a0b0c0d0eff");
    let items = ["a", "", "b c", "NULL", "x\"y\\z", "d,e"].map(|item| Some(item.to_owned()));
    let items = items.into_iter().chain([None]).collect();
    assert_eq!(text_of(Datum::TextArray(items)), r#"{a,"","b c","NULL","x\"y\\z","d,e",NULL}"#);
}

#[test]
fn null_is_a_length_of_minus_one() {
    let mut out = BytesMut::new();
    encode(&Datum::Null, SqlType::Int8, Format::Binary, &mut out).unwrap();
    assert_eq!(&out[..], (-1_i32).to_be_bytes());
    assert_eq!(parameter(None, SqlType::Int8, Format::Binary, 0).unwrap(), Datum::Null);
}

#[test]
fn a_value_of_another_type_or_size_is_an_error_and_no_wrong_bytes() {
    let code = |datum: Datum, sql_type| {
        let error = encode(&datum, sql_type, Format::Binary, &mut BytesMut::new()).unwrap_err();
        error.body.code
    };
    assert_eq!(code(Datum::Int(70_000), SqlType::Int2), state::NUMERIC_OUT_OF_RANGE);
    assert_eq!(code(Datum::Text("1".to_owned()), SqlType::Int8), state::INTERNAL);
    assert_eq!(code(Datum::TimestampTz(i64::MIN), SqlType::TimestampTz), state::DATETIME_OVERFLOW);
}

#[test]
fn times_are_read_in_the_forms_that_clients_write() {
    let micros = |value: &str| match read(value, SqlType::TimestampTz) {
        Ok(Datum::TimestampTz(micros)) => micros,
        other => panic!("{value}: {other:?}"),
    };
    let noon = 951_825_600_000_000;
    for value in [
        "2000-02-29 12:00:00+00",
        "2000-02-29T12:00:00Z",
        "2000-02-29 12:00",
        "2000-02-29 17:30:00+05:30",
        "2000-02-29 04:00-0800",
        "2000-02-29 12:00:00.000000000 UTC",
    ] {
        assert_eq!(micros(value), noon, "{value}");
    }
    assert_eq!(micros("2000-02-29 12:00:00.5+00"), noon + 500_000);
    assert_eq!(micros("1969-12-31 23:59:59.999999Z"), -1);
    for value in [
        "2001-02-29",
        "2000-13-01",
        "2000-01-01 25:00",
        "2000-01-01 24:00:01",
        "now",
        "",
        "2000-01-01 12:00+99",
        "é-1-1",
    ] {
        assert!(read(value, SqlType::TimestampTz).is_err(), "{value}");
    }
}

#[test]
fn parameters_that_do_not_fit_name_the_argument() {
    assert_eq!(
        fault("abc", SqlType::Int8),
        "22P02 error in argument for $1: could not parse \"abc\" as type int"
    );
    assert_eq!(
        fault("40000", SqlType::Int2),
        "22003 error in argument for $1: integer out of range for type int2"
    );
    assert_eq!(
        fault("99999999999999999999", SqlType::Int8),
        "22003 error in argument for $1: integer out of range"
    );
    assert_eq!(
        fault("a\0b", SqlType::Text),
        "22021 error in argument for $1: invalid byte sequence for encoding \"UTF8\""
    );
    assert_eq!(
        fault("maybe", SqlType::Bool),
        "22P02 error in argument for $1: could not parse \"maybe\" as type bool"
    );
    assert!(read("1e999", SqlType::Float8).is_err());
    assert!(read("{a", SqlType::TextArray).is_err());
    assert!(read("{a,}", SqlType::TextArray).is_err());
    assert!(read("\\xabc", SqlType::Bytea).is_err());
    let error = parameter(Some(&Bytes::from_static(b"123")), SqlType::Int4, Format::Binary, 6).unwrap_err();
    assert_eq!(error.body.code, state::INVALID_BINARY_REPRESENTATION);
    assert_eq!(error.body.message, "error in argument for $7: invalid binary data for type int4");
}

#[test]
fn binary_arrays_of_numbers_are_read_and_others_are_not_taken_for_them() {
    let mut array = BytesMut::new();
    let items = ["7", "-1"].map(|item| Some(item.to_owned())).into_iter().chain([None]).collect();
    let sent = Datum::TextArray(items);
    encode(&sent, SqlType::Array(Element::Int8), Format::Binary, &mut array).unwrap();
    let bytes = array.split_off(4).freeze();
    let read = |sql_type| parameter(Some(&bytes), sql_type, Format::Binary, 0);
    assert_eq!(read(SqlType::Array(Element::Int8)).unwrap(), sent);
    for other in [SqlType::Array(Element::Int4), SqlType::TextArray] {
        assert_eq!(read(other).unwrap_err().body.code, state::INVALID_BINARY_REPRESENTATION);
    }
    let empty = Bytes::from_static(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20]);
    let empty = parameter(Some(&empty), SqlType::Array(Element::Int8), Format::Binary, 0).unwrap();
    assert_eq!(empty, Datum::TextArray(Vec::new()));
}

#[test]
fn json_in_binary_is_its_text_with_or_without_a_version() {
    let read =
        |bytes: &'static [u8]| parameter(Some(&Bytes::from_static(bytes)), SqlType::Jsonb, Format::Binary, 0);
    assert_eq!(type_of_oid(114).unwrap(), Some(SqlType::Jsonb));
    for bytes in [b"\x01{\"a\":1}".as_slice(), b"{\"a\":1}"] {
        assert_eq!(read(bytes).unwrap(), Datum::Jsonb("{\"a\": 1}".to_owned()));
    }
    for bytes in [b"\x02{}".as_slice(), b"", b"\x01\x01{}"] {
        assert_eq!(read(bytes).unwrap_err().body.code, state::INVALID_BINARY_REPRESENTATION);
    }
}

fn any_value() -> impl Strategy<Value = (SqlType, Datum)> {
    let word = "[^\0]{0,12}";
    prop_oneof![
        any::<bool>().prop_map(|value| (SqlType::Bool, Datum::Bool(value))),
        any::<i16>().prop_map(|value| (SqlType::Int2, Datum::Int(value.into()))),
        any::<i32>().prop_map(|value| (SqlType::Int4, Datum::Int(value.into()))),
        any::<u32>().prop_map(|value| (SqlType::Oid, Datum::Int(value.into()))),
        any::<i64>().prop_map(|value| (SqlType::Int8, Datum::Int(value))),
        any::<f64>().prop_map(|value| (SqlType::Float8, Datum::Float(value))),
        word.prop_map(|value| (SqlType::Text, Datum::Text(value))),
        any::<Vec<u8>>().prop_map(|value| (SqlType::Bytea, Datum::Bytes(value))),
        any::<[u8; 16]>().prop_map(|value| (SqlType::Uuid, Datum::Uuid(value))),
        // From 4712 BC, where PostgreSQL begins, to the last microsecond that has a binary form.
        (-210_866_803_200_000_000..9_223_371_331_199_999_999_i64)
            .prop_map(|value| (SqlType::TimestampTz, Datum::TimestampTz(value))),
        prop::collection::vec(prop::option::of(word), 0..4)
            .prop_map(|value| (SqlType::TextArray, Datum::TextArray(value))),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded_to_the_same_value((sql_type, datum) in any_value()) {
        for format in [Format::Text, Format::Binary] {
            let bytes = encoded(&datum, sql_type, format);
            prop_assert_eq!(&parameter(Some(&bytes), sql_type, format, 0).unwrap(), &datum);
        }
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>, shape in "[-{}\",\\\\a0-9: +.TZ]{0,24}") {
        for sql_type in SqlType::ALL {
            for bytes in [Bytes::from(bytes.clone()), Bytes::from(shape.clone())] {
                let _ = parameter(Some(&bytes), sql_type, Format::Text, 0);
                let _ = parameter(Some(&bytes), sql_type, Format::Binary, 0);
            }
        }
    }
}

/// Bytes of PostgreSQL 15's `*send` functions.
#[test]
fn binary_forms_are_those_of_postgresql() {
    let cases: [(&str, SqlType, &[u8]); 14] = [
        ("1.5", SqlType::Float4, &[0x3f, 0xc0, 0, 0]),
        ("2000-01-02", SqlType::Date, &[0, 0, 0, 1]),
        ("1999-12-31", SqlType::Date, &[0xff, 0xff, 0xff, 0xff]),
        ("2000-01-01 00:00:01", SqlType::Timestamp, &[0, 0, 0, 0, 0, 0x0f, 0x42, 0x40]),
        ("00:00:01", SqlType::Time, &[0, 0, 0, 0, 0, 0x0f, 0x42, 0x40]),
        (
            "1 mon 2 days 00:00:01",
            SqlType::Interval,
            &[0, 0, 0, 0, 0, 0x0f, 0x42, 0x40, 0, 0, 0, 2, 0, 0, 0, 1],
        ),
        ("0", SqlType::Numeric, &[0, 0, 0, 0, 0, 0, 0, 0]),
        ("0.00", SqlType::Numeric, &[0, 0, 0, 0, 0, 0, 0, 2]),
        ("1.5", SqlType::Numeric, &[0, 2, 0, 0, 0, 0, 0, 1, 0, 1, 0x13, 0x88]),
        ("-12345.678", SqlType::Numeric, &[0, 3, 0, 1, 0x40, 0, 0, 3, 0, 1, 0x09, 0x29, 0x1a, 0x7c]),
        ("0.00001", SqlType::Numeric, &[0, 1, 0xff, 0xfe, 0, 0, 0, 5, 0x03, 0xe8]),
        ("100000000", SqlType::Numeric, &[0, 1, 0, 2, 0, 0, 0, 0, 0, 1]),
        ("{\"a\":1}", SqlType::Jsonb, b"\x01{\"a\": 1}"),
        ("ab  ", SqlType::Bpchar(0), b"ab"),
    ];
    for (text, sql_type, expected) in cases {
        let datum = read(text, sql_type).unwrap();
        let bytes = encoded(&datum, sql_type, Format::Binary);
        assert_eq!(&bytes[..], expected, "{text} as {sql_type:?}");
        assert_eq!(parameter(Some(&bytes), sql_type, Format::Binary, 0).unwrap(), datum, "{text}");
    }
    // NaN, and the infinities of PostgreSQL 14.
    for sign in [0xc0, 0xd0, 0xf0] {
        let bytes = Bytes::copy_from_slice(&[0, 0, 0, 0, sign, 0, 0, 0]);
        let error = parameter(Some(&bytes), SqlType::Numeric, Format::Binary, 0).unwrap_err();
        assert_eq!(error.body.code, state::INVALID_BINARY_REPRESENTATION);
    }
}

proptest! {
    #[test]
    fn no_bytes_of_a_value_make_a_decoder_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let bytes = Bytes::from(bytes);
        for sql_type in SqlType::ALL {
            let _ = parameter(Some(&bytes), sql_type, Format::Binary, 0);
            let _ = parameter(Some(&bytes), sql_type, Format::Text, 0);
        }
    }
}

#[test]
fn values_of_char_are_shown_with_the_blanks_that_they_are_held_without() {
    let encoded = |text: &str, chars: u32, format| {
        let mut out = BytesMut::new();
        let result = encode(&Datum::Text(text.to_owned()), SqlType::Bpchar(chars), format, &mut out);
        result.map(|()| out[4..].to_vec()).map_err(|error| error.body.code.as_str().to_owned())
    };
    for format in [Format::Text, Format::Binary] {
        assert_eq!(encoded("\u{f1}", 3, format), Ok("\u{f1}  ".as_bytes().to_vec()));
        assert_eq!(encoded("abc", 3, format), Ok(b"abc".to_vec()));
        assert_eq!(encoded("ab", 0, format), Ok(b"ab".to_vec()));
        let most = u32::try_from(BLANKS_MAX).unwrap();
        assert_eq!(encoded("", most, format).unwrap().len(), BLANKS_MAX);
        assert_eq!(encoded("", most + 1, format), Err("54000".to_owned()));
    }
}
