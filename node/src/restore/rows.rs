//! Whether rows of a backup are rows of their table. The row store looks after storage classes, lengths, small integers, CHECKs and
//! keys; of what a type's own texts and numbers may be it knows nothing, and what it holds every reader believes.

use std::collections::BTreeSet;

use grantd_catalog::object::{Body, ColumnType, Object};
use grantd_catalog::refusal::{Refusal, shelf_malformed};
use grantd_raft::rows::Value;

use crate::backup::data::stored;
use crate::restore::content::Content;
use crate::value::decimal::Decimal;
use crate::value::interval::Interval;
use crate::value::json::Json;
use crate::value::{Datum, SqlType, text};

/// The stored columns of a table, and what may be in them.
pub struct Fitting {
    table: String,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    column_type: ColumnType,
    /// Of an enum: the numbers of its labels.
    labels: BTreeSet<i64>,
}

impl Fitting {
    /// Of a table of the backup.
    pub fn of(object: &Object, content: &Content) -> Self {
        let column = |column: grantd_catalog::object::Column| {
            let labels = match column.column_type {
                ColumnType::Enum(id) => match content.objects.get(&id).map(|object| &object.body) {
                    Some(Body::Type(found)) => found.labels.iter().map(|label| label.position).collect(),
                    _ => BTreeSet::new(),
                },
                _ => BTreeSet::new(),
            };
            Column { name: column.name.to_string(), column_type: column.column_type, labels }
        };
        let columns = stored(object).map(|(table, _)| table.columns).unwrap_or_default();
        Self { table: object.name.to_string(), columns: columns.into_iter().map(column).collect() }
    }

    /// 22000, if a value is none of its column.
    pub fn check(&self, row: &[Value]) -> Result<(), Refusal> {
        match self.columns.iter().zip(row).find(|(column, value)| !column.holds(value)) {
            None => Ok(()),
            Some((column, _)) => Err(shelf_malformed(format_args!(
                "a row of table {} has in column {} what is no {}",
                self.table,
                column.name,
                SqlType::of_column(column.column_type).word()
            ))),
        }
    }
}

impl Column {
    fn holds(&self, value: &Value) -> bool {
        match (self.column_type, value) {
            (ColumnType::Enum(_), Value::Integer(number)) => self.labels.contains(number),
            (
                ColumnType::Date | ColumnType::Time | ColumnType::Timestamp | ColumnType::TimestampTz,
                Value::Integer(_),
            ) => {
                let sql_type = SqlType::of_column(self.column_type);
                let written =
                    Datum::from_row(value.clone(), sql_type).ok().and_then(|datum| text::format(&datum));
                let read = written.and_then(|written| text::parse(&written, sql_type).ok());
                read.and_then(|datum| datum.to_row(sql_type).ok()).as_ref() == Some(value)
            }
            (ColumnType::Text { .. } | ColumnType::Char { .. }, Value::Text(text)) => !text.contains('\0'),
            (ColumnType::Decimal { bound }, Value::Text(text)) => {
                let fits = |decimal: &Decimal| match bound {
                    Some(bound) => decimal.fitted(bound).is_ok_and(|fitted| fitted.to_string() == *text),
                    None => decimal.to_string() == *text,
                };
                matches!(Decimal::parse(text), Ok(Some(decimal)) if fits(&decimal))
            }
            (ColumnType::Interval, Value::Text(text)) => {
                Interval::from_canonical(text).is_ok_and(|interval| interval.to_string() == *text)
            }
            (ColumnType::Jsonb, Value::Text(text)) => {
                Json::parse(text).is_ok_and(|json| json.to_string() == *text)
            }
            // The row store does the rest.
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use grantd_catalog::object::DecimalBound;

    use super::*;

    fn holds(column_type: ColumnType, value: &Value) -> bool {
        let labels = [1, 7].into_iter().collect();
        Column { name: "c".to_owned(), column_type, labels }.holds(value)
    }

    #[test]
    fn what_a_statement_would_not_have_stored_is_no_value() {
        let text = |text: &str| Value::Text(text.to_owned());
        let bound = Some(DecimalBound { precision: 4, scale: 2 });
        let number = ColumnType::Enum(grantd_catalog::id::ObjectId(104));
        for (column_type, value, fits) in [
            (ColumnType::Decimal { bound: None }, text("1.50"), true),
            (ColumnType::Decimal { bound: None }, text("1e3"), false),
            (ColumnType::Decimal { bound: None }, text("zero"), false),
            (ColumnType::Decimal { bound }, text("12.50"), true),
            (ColumnType::Decimal { bound }, text("12.5"), false),
            (ColumnType::Decimal { bound }, text("123.00"), false),
            (ColumnType::Jsonb, text(r#"{"a": 1}"#), true),
            (ColumnType::Jsonb, text(r#"{"a":1"#), false),
            (ColumnType::Interval, text("1 day"), true),
            (ColumnType::Interval, text("24 moons"), false),
            (ColumnType::Text { chars_max: None }, text("a\0"), false),
            (ColumnType::Date, Value::Integer(20_000), true),
            (ColumnType::Date, Value::Integer(i64::from(i32::MIN)), false),
            (ColumnType::Time, Value::Integer(-1), false),
            (ColumnType::Time, Value::Integer(90_000_000_000), false),
            (ColumnType::TimestampTz, Value::Integer(1_795_370_359_000_000), true),
            (number, Value::Integer(7), true),
            (number, Value::Integer(8), false),
            (number, Value::Null, true),
        ] {
            assert_eq!(holds(column_type, &value), fits, "{column_type:?} {value:?}");
        }
    }
}
