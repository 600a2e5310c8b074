//! Values of every type there and back, and files that somebody changed.

use std::panic::{AssertUnwindSafe, catch_unwind};

use grantd_catalog::grant::Acl;
use grantd_catalog::id::PrincipalId;
use grantd_catalog::name::Name;
use grantd_catalog::object::DecimalBound;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const MOOD: ObjectId = ObjectId(130);

/// Every type, the first of which is the key.
const TYPES: [ColumnType; 21] = [
    ColumnType::Int8,
    ColumnType::Bool,
    ColumnType::Int2,
    ColumnType::Int4,
    ColumnType::Int8,
    ColumnType::Float8,
    ColumnType::Text { chars_max: None },
    ColumnType::Text { chars_max: Some(9) },
    ColumnType::Bytes,
    ColumnType::Uuid,
    ColumnType::TimestampTz,
    ColumnType::Enum(MOOD),
    ColumnType::Float4,
    ColumnType::Timestamp,
    ColumnType::Date,
    ColumnType::Time,
    ColumnType::Interval,
    ColumnType::Decimal { bound: None },
    ColumnType::Decimal { bound: Some(DecimalBound { precision: 5, scale: 2 }) },
    ColumnType::Jsonb,
    ColumnType::Char { chars: 3 },
];

fn object() -> Object {
    let column = |(at, column_type): (usize, &ColumnType)| grantd_catalog::object::Column {
        name: Name::from(&*format!("c{at}")),
        column_type: *column_type,
        nullable: true,
        default: None,
        hidden: false,
        comment: None,
        computed: None,
        identity: None,
    };
    let table = Table {
        columns: TYPES.iter().enumerate().map(column).collect(),
        primary_key: vec![0],
        key_name: Name::from("t_pkey"),
        unique: Vec::new(),
        checks: Vec::new(),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
    };
    Object {
        name: Name::from("t"),
        parent: ObjectId(100),
        owner: PrincipalId::ROOT,
        acl: Acl::default(),
        body: Body::Table(Arc::new(table)),
        comment: None,
    }
}

fn columns(content: Content) -> Columns {
    let labels = |id| (id == MOOD).then(|| BTreeMap::from([(1 << 32, "happy".to_owned())]));
    Columns::of(&object(), content, labels).unwrap().unwrap()
}

/// A value as the row store may hold it in a column of this type.
fn value(of: ColumnType) -> BoxedStrategy<Value> {
    let integer = |values: BoxedStrategy<i64>| values.prop_map(Value::Integer).boxed();
    let present = match of {
        ColumnType::Bool => integer((0..=1_i64).boxed()),
        ColumnType::Int2 => integer(any::<i16>().prop_map(i64::from).boxed()),
        ColumnType::Int4 | ColumnType::Date => integer(any::<i32>().prop_map(i64::from).boxed()),
        ColumnType::Int8
        | ColumnType::TimestampTz
        | ColumnType::Timestamp
        | ColumnType::Time
        | ColumnType::Enum(_) => integer(any::<i64>().boxed()),
        ColumnType::Float4 | ColumnType::Float8 => {
            any::<f64>().prop_filter("not a number", |value| !value.is_nan()).prop_map(Value::Real).boxed()
        }
        ColumnType::Uuid => any::<[u8; 16]>().prop_map(|uuid| Value::Text(text::uuid(&uuid))).boxed(),
        ColumnType::Bytes => vec(any::<u8>(), 0..40).prop_map(Value::Blob).boxed(),
        ColumnType::Text { .. }
        | ColumnType::Char { .. }
        | ColumnType::Interval
        | ColumnType::Decimal { .. }
        | ColumnType::Jsonb => ".{0,40}".prop_map(Value::Text).boxed(),
    };
    prop_oneof![1 => Just(Value::Null), 5 => present].boxed()
}

fn row() -> impl Strategy<Value = Vec<Value>> {
    TYPES.map(value).to_vec()
}

fn change() -> impl Strategy<Value = Change> {
    let op = prop_oneof![Just(Op::Insert), Just(Op::Update), Just(Op::Delete)];
    let time = (any::<u64>().prop_map(|nanos| nanos >> 1), any::<u32>());
    (op, time, row()).prop_map(|(op, (nanos, logical), row)| Change {
        op,
        time: Timestamp { nanos, logical },
        row,
    })
}

fn written(columns: &Columns, changes: &[Change]) -> Bytes {
    let mut writer = FileWriter::new(columns, 1_024);
    for (at, change) in changes.iter().enumerate() {
        writer.add(change.clone()).unwrap();
        if at % 7 == 6 {
            writer.group().unwrap();
        }
    }
    assert_eq!(writer.count, changes.len() as u64);
    writer.finish().unwrap().into()
}

fn read(columns: &Columns, bytes: Bytes) -> Result<Vec<Change>, String> {
    let file = File::open(columns, bytes)?;
    (0..file.groups()).map(|at| file.group(at)).collect::<Result<Vec<_>, _>>().map(|groups| groups.concat())
}

/// Two zeros are different here.
fn told(changes: &[Change]) -> String {
    format!("{changes:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn values_of_every_type_come_back_as_they_were(changes in vec(change(), 0..30)) {
        let of_changes = columns(Content::Changes);
        let back = read(&of_changes, written(&of_changes, &changes)).unwrap();
        prop_assert_eq!(told(&back), told(&changes));
        let of_rows = columns(Content::Rows);
        let back = read(&of_rows, written(&of_rows, &changes)).unwrap();
        let rows = |of: &[Change]| format!("{:?}", of.iter().map(|change| &change.row).collect::<Vec<_>>());
        prop_assert_eq!(rows(&back), rows(&changes));
    }

    /// Who could change the manifest too: what comes out is an error, or rows; the caller catches a panic of the library.
    #[test]
    fn a_file_with_a_byte_changed_ends_in_rows_or_an_error(
        changes in vec(change(), 1..10),
        flips in vec((any::<prop::sample::Index>(), 0..8_u32), 20),
    ) {
        let columns = columns(Content::Changes);
        let whole = written(&columns, &changes);
        for (at, bit) in flips {
            let mut bytes = whole.to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let _ = catch_unwind(AssertUnwindSafe(|| read(&columns, bytes.into())));
        }
    }
}

/// Nothing is made of a value that does not fit: better no backup than another value.
#[test]
fn a_value_of_another_type_is_refused_with_its_column() {
    for (at, wrong) in [
        (1, Value::Integer(2)),
        (3, Value::Integer(1 << 40)),
        (9, Value::Text("F".repeat(36))),
        (6, Value::Integer(1)),
    ] {
        let mut writer = FileWriter::new(&columns(Content::Rows), 1_024);
        let mut row = vec![Value::Null; TYPES.len()];
        row[at] = wrong;
        writer.add(Change { op: Op::Insert, time: Timestamp::default(), row }).unwrap();
        let error = writer.finish().unwrap_err();
        assert_eq!(error.to_string(), format!("column c{at} holds a value that is not of its type"));
    }
}

/// A dictionary of values that are all different makes a file larger, and takes as long as what is compressed.
#[test]
fn values_that_come_again_have_a_dictionary_and_others_none() {
    let changes: Vec<Change> = (0..2_000)
        .map(|number| {
            let mut row = vec![Value::Null; TYPES.len()];
            row[0] = Value::Integer(number);
            row[2] = Value::Integer(number % 3);
            row[6] = Value::Text(format!("customer {number}"));
            row[8] = Value::Blob(vec![7; 40]);
            Change { op: Op::Insert, time: Timestamp::default(), row }
        })
        .collect();
    let of_rows = columns(Content::Rows);
    let mut writer = FileWriter::new(&of_rows, 1_024);
    changes.iter().for_each(|change| writer.add(change.clone()).unwrap());
    let file = File::open(&of_rows, writer.finish().unwrap().into()).unwrap();
    let group = file.reader.metadata().row_group(0);
    let has = |at: usize| group.column(at).dictionary_page_offset().is_some();
    assert_eq!([0, 2, 6, 8].map(has), [false, true, false, true]);
    assert_eq!(file.group(0).unwrap(), changes);
}
