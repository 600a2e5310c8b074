use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::sql::execute::{CopyOut, Rows};
use crate::sql::parse::copy::{ColumnSet, CopyOptions};
use crate::value::ColumnInfo;

fn options(format: CopyFormat) -> CopyOptions {
    let is_csv = format == CopyFormat::Csv;
    CopyOptions {
        format,
        delimiter: if is_csv { b',' } else { b'\t' },
        null: if is_csv { "" } else { "\\N" }.to_owned(),
        header: Header::Off,
        quote: b'"',
        escape: b'"',
        force_quote: ColumnSet::None,
        force_not_null: ColumnSet::None,
        force_null: ColumnSet::None,
    }
}

fn columns(types: &[SqlType]) -> Vec<ColumnInfo> {
    let column =
        |(at, sql_type): (usize, &SqlType)| ColumnInfo { name: format!("c{at}"), sql_type: *sql_type };
    types.iter().enumerate().map(column).collect()
}

fn decoder(options: &CopyOptions, types: &[SqlType]) -> Decoder {
    let relation = "t".to_owned();
    Decoder::new(CopyIn { relation, columns: columns(types), options: options.clone() })
}

/// What comes of `data`, one byte a message; as text, and as the error's code, message and detail.
fn read_with(options: &CopyOptions, types: &[SqlType], data: &[u8]) -> Result<Vec<Datum>, String> {
    let mut decoder = decoder(options, types);
    let pushed = data.chunks(1).try_for_each(|bytes| decoder.push(bytes)).and_then(|()| decoder.finish());
    match pushed {
        Ok(()) => Ok(decoder.take().values),
        Err(error) => {
            let detail = error.body.detail.unwrap_or_default();
            Err(format!("{} {} | {detail}", error.body.code.as_str(), error.body.message))
        }
    }
}

fn text(data: &[u8]) -> Result<Vec<Datum>, String> {
    read_with(&options(CopyFormat::Text), &[SqlType::Text], data)
}

fn csv(data: &[u8]) -> Result<Vec<Datum>, String> {
    read_with(&options(CopyFormat::Csv), &[SqlType::Text], data)
}

fn texts(items: &[&str]) -> Result<Vec<Datum>, String> {
    Ok(items.iter().map(|item| Datum::Text((*item).to_owned())).collect())
}

fn fault(message: &str) -> Result<Vec<Datum>, String> {
    Err(message.to_owned())
}

#[test]
fn lines_end_as_the_first_one_does() {
    assert_eq!(text(b"a\nb"), texts(&["a", "b"]));
    assert_eq!(text(b"a\r\nb\r\n"), texts(&["a", "b"]));
    assert_eq!(text(b"a\rb\r"), texts(&["a", "b"]));
    assert_eq!(text(b"a\n\nb\n"), texts(&["a", "", "b"]));
    assert_eq!(text(b""), texts(&[]));
    assert_eq!(csv(b"\"a\nb\"\r\n\"c\rd\"\r\n"), texts(&["a\nb", "c\rd"]));
    let mixed = "22P04 literal carriage return found in data | COPY t, line 2";
    assert_eq!(text(b"a\nb\r\n"), fault(mixed));
    assert_eq!(text(b"a\r\nb\n"), fault("22P04 literal newline found in data | COPY t, line 2"));
    assert_eq!(csv(b"a\nb\r\n"), fault("22P04 unquoted carriage return found in data | COPY t, line 2"));
}

#[test]
fn escapes_of_the_text_format_are_those_of_postgresql() {
    assert_eq!(text(br"\b\f\n\r\t\v\\\q\101\x4a\x4az\0601"), texts(&["\x08\x0c\n\r\t\x0b\\qAJJz01"]));
    assert_eq!(text(b"a\\\nb\n"), texts(&["a\nb"]));
    assert_eq!(text(b"\\N\n\\\\N\n"), Ok(vec![Datum::Null, Datum::Text("\\N".to_owned())]));
    assert_eq!(text(b"a\n\\.\nb\n"), texts(&["a"]));
    assert_eq!(text(b"\\\\.\n"), texts(&["\\."]));
    let corrupt = "22P04 end-of-copy marker is not alone on its line | COPY t, line 1: \"a\\.\"";
    assert_eq!(text(b"a\\.\n"), fault(corrupt));
}

#[test]
fn bytes_that_are_no_text_are_refused_with_their_place() {
    let expected =
        "22021 invalid byte sequence for encoding \"UTF8\" | COPY t, line 2, column c0: \"x\u{fffd}\"";
    assert_eq!(text(b"a\nx\xff\n"), fault(expected));
    assert!(text(br"\x00").unwrap_err().starts_with("22021"));
    assert!(csv(b"a\0b\n").unwrap_err().starts_with("22021"));
    assert!(text(br"\377").unwrap_err().starts_with("22021"));
}

#[test]
fn lines_within_quotes_count() {
    let numbers = |data: &[u8]| read_with(&options(CopyFormat::Csv), &[SqlType::Int8], data);
    let expected = "22P02 could not parse \"x\ny\" as type int | COPY t, line 3, column c0: \"x\ny\"";
    assert_eq!(numbers(b"1\n\"x\ny\"\n"), fault(expected));
    let expected = "22P02 could not parse \"\" as type int | COPY t, line 4, column c0: \"\"";
    assert_eq!(numbers(b"1\n\"2\n\"\n\"\"\n"), fault(expected));
}

#[test]
fn a_quote_may_stand_anywhere_in_a_value() {
    assert_eq!(csv(b"a\"b,\"\"c\"d\n"), texts(&["ab,\"cd"]));
    assert_eq!(csv(b"\"\\.\"\n\\.\nx\n"), texts(&["\\."]));
    let other = CopyOptions { escape: b'\\', quote: b'\'', ..options(CopyFormat::Csv) };
    let read = |data: &[u8]| read_with(&other, &[SqlType::Text], data);
    assert_eq!(
        read(b"'it\\'s \\\\',\n"),
        fault("22P04 extra data after last expected column | COPY t, line 1: \"'it\\'s \\\\',\"")
    );
    assert_eq!(read(b"'it\\'s \\\\\n\\x'\n"), texts(&["it's \\\n\\x"]));
}

#[test]
fn a_long_value_is_cut_in_messages() {
    let data = "é".repeat(100);
    let error = read_with(&options(CopyFormat::Text), &[SqlType::Int8], data.as_bytes()).unwrap_err();
    assert!(error.ends_with(&format!("column c0: \"{}...\"", "é".repeat(50))), "{error}");
}

#[test]
fn a_row_is_bounded() {
    let mut decoder = decoder(&options(CopyFormat::Text), &[SqlType::Text]);
    let part = vec![b'x'; ROW_BYTES_MAX / 2];
    decoder.push(&part).unwrap();
    decoder.push(&part).unwrap();
    let error = decoder.push(b"x").unwrap_err();
    assert_eq!(error.body.code.as_str(), "54000");
}

#[test]
fn rows_are_handed_on_in_batches() {
    let mut many = decoder(&options(CopyFormat::Text), &[SqlType::Int8]);
    for _ in 0..BATCH_ROWS {
        assert!(!many.is_full());
        many.push(b"1\n").unwrap();
    }
    assert!(many.is_full());
    assert_eq!(many.take().lines, (1..=BATCH_ROWS as u64).collect::<Vec<_>>());
    assert!(!many.is_full());
    let mut large = decoder(&options(CopyFormat::Text), &[SqlType::Text]);
    large.push(&vec![b'x'; BATCH_BYTES]).unwrap();
    assert!(large.is_full());
}

/// A file of the binary format whose tuples are `tuples`.
fn file(flags: u32, extension: &[u8], tuples: &[u8]) -> Vec<u8> {
    let length = u32::try_from(extension.len()).unwrap();
    [b"PGCOPY\n\xff\r\n\0", &flags.to_be_bytes()[..], &length.to_be_bytes(), extension, tuples].concat()
}

#[test]
fn the_binary_format_is_read_strictly() {
    let read = |data: &[u8]| read_with(&options(CopyFormat::Binary), &[SqlType::Int4], data);
    let seven = b"\0\x01\0\0\0\x04\0\0\0\x07";
    let end = b"\xff\xff";
    let whole = [&seven[..], end].concat();
    assert_eq!(read(&file(0, b"", &whole)), Ok(vec![Datum::Int(7)]));
    assert_eq!(read(&file(1, b"later", &whole)), Ok(vec![Datum::Int(7)]));
    assert_eq!(read(&file(0, b"", seven)), Ok(vec![Datum::Int(7)]));
    assert_eq!(read(&file(0, b"", b"\0\x01\xff\xff\xff\xff\xff\xff")), Ok(vec![Datum::Null]));
    assert_eq!(read(&file(0, b"", end)), Ok(vec![]));
    let cases: [(Vec<u8>, &str); 9] = [
        (b"PGCOPX".to_vec(), "22P04 COPY file signature not recognized"),
        (Vec::new(), "22P04 COPY file signature not recognized"),
        (file(1 << 16, b"", end), "22P04 invalid COPY file header (WITH OIDS)"),
        (file(1 << 20, b"", end), "22P04 unrecognized critical flags in COPY file header"),
        (file(0, b"", b"\0\x02\0\0\0\x04"), "22P04 row field count is 2, expected 1 | COPY t, line 1"),
        (file(0, b"", &seven[..7]), "22P04 unexpected EOF in COPY data | COPY t, line 1"),
        (file(0, b"", b"\0\x01\xff\xff\xff\xfe"), "22P04 invalid field size | COPY t, line 1"),
        (
            file(0, b"", b"\0\x01\0\0\0\x02\0\x07"),
            "22P03 invalid binary data for type int4 | COPY t, line 1, column c0",
        ),
        (file(0, b"", &[&whole[..], b"x"].concat()), "22P04 received copy data after EOF marker"),
    ];
    for (data, expected) in cases {
        let error = read(&data).unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

/// Options that differ as much as they may.
fn any_options() -> impl Strategy<Value = CopyOptions> {
    let format = prop::sample::select(vec![CopyFormat::Text, CopyFormat::Csv, CopyFormat::Binary]);
    let marks = prop::sample::select(vec![b',', b'\t', b'|', b';', b' ']);
    let nulls = prop::sample::select(vec!["", "NULL", "\\N", "x"]);
    let quotes = prop::sample::select(vec![(b'"', b'"'), (b'\'', b'\\'), (b'"', b'\\')]);
    (format, marks, nulls, quotes, any::<(bool, bool, bool)>()).prop_map(
        |(format, delimiter, null, (quote, escape), (header, matched, forced))| {
            let is_binary = format == CopyFormat::Binary;
            CopyOptions {
                delimiter,
                null: null.to_owned(),
                header: match (header && !is_binary, matched) {
                    (false, _) => Header::Off,
                    (true, false) => Header::On,
                    (true, true) => Header::Match,
                },
                quote,
                escape,
                force_quote: if forced { ColumnSet::All } else { ColumnSet::None },
                ..options(format)
            }
        },
    )
}

fn any_row() -> impl Strategy<Value = Vec<Datum>> {
    let word = "[ a-zN\\\\\"'.,;|\t\r\n\u{7}\u{8}\u{b}\u{c}é]{0,6}";
    (
        prop::option::of(any::<i64>().prop_map(Datum::Int)),
        prop::option::of(word.prop_map(Datum::Text)),
        prop::option::of(any::<bool>().prop_map(Datum::Bool)),
        prop::option::of(any::<Vec<u8>>().prop_map(Datum::Bytes)),
        prop::option::of(word.prop_map(Datum::Text)),
    )
        .prop_map(|(a, b, c, d, e)| [a, b, c, d, e].map(|value| value.unwrap_or(Datum::Null)).to_vec())
}

proptest! {
    #[test]
    fn what_is_written_is_read_as_the_same_rows(
        options in any_options(),
        rows in prop::collection::vec(any_row(), 0..6),
        pieces in 1_usize..40,
    ) {
        let types = [SqlType::Int8, SqlType::Text, SqlType::Bool, SqlType::Bytea, SqlType::Text];
        // A value that is not NULL and reads like it: only CSV tells the two apart. What is written for t or f, a
        // number or bytes is never the word for NULL.
        let null = Datum::Text(options.null.clone());
        prop_assume!(options.format != CopyFormat::Text || !rows.iter().flatten().any(|value| *value == null));
        let copy = CopyOut {
            options: options.clone(),
            rows: Rows { columns: columns(&types), rows: rows.clone(), ..Rows::default() },
        };
        let mut bytes = BytesMut::new();
        let mut encoder = Encoder::new(copy);
        while encoder.next(&mut bytes).unwrap() {}
        let mut decoder = decoder(&options, &types);
        for part in bytes.chunks(pieces) {
            decoder.push(part).unwrap();
        }
        decoder.finish().unwrap();
        prop_assert_eq!(decoder.take().values, rows.concat());
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(options in any_options(), data: Vec<u8>, shape in "[ab\"'\\\\.,\r\n\t0x]{0,30}") {
        let types = [SqlType::Text, SqlType::Int8];
        for data in [data, shape.into_bytes()] {
            let _ = read_with(&options, &types, &data);
            let _ = read_with(&options, &types, &file(0, b"", &data));
        }
    }

    #[test]
    fn where_messages_end_means_nothing(options in any_options(), data in "[ab\"'\\\\.,\r\n\t0x]{0,30}") {
        let types = [SqlType::Text, SqlType::Text];
        let mut whole = decoder(&options, &types);
        let outcome = whole.push(data.as_bytes()).and_then(|()| whole.finish()).is_ok();
        let parts = read_with(&options, &types, data.as_bytes());
        prop_assert_eq!(outcome, parts.is_ok());
        if let Ok(values) = parts {
            prop_assert_eq!(whole.take().values, values);
        }
    }
}
