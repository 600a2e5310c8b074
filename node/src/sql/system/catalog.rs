//! What the virtual tables of [`grantd_catalog::system`] hold: columns, and rows computed from the statement's view.
//!
//! Each column stands beside the function that computes it, so that a row cannot be longer or shorter than its table.
//! Rows are made one at a time, and of each row the values that are asked for. A table says by which columns it finds rows without looking
//! at all of them; the row store then asks for those.
//!
//! Whoever may read a table is decided elsewhere, as for every table. What its rows show of a database needs CONNECT on
//! it, as SHOW does (authorization spec, H.7).
//!
//! Submodules: `item` what rows are made of · `oid` numbers for what has no id of its own · `acl` privileges as texts ·
//! `types` · then the tables, by schema · `own_session` what only the session knows · `activity` what only running nodes know · `functions` that go with them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use grantd_catalog::id::ObjectId;
use grantd_catalog::system;
use grantd_raft::rows::{self, Value, VirtualRow, VirtualTable};

use crate::sql::system::context::StatementInfo;
use crate::value::SqlType;

pub mod item;
pub mod oid;
pub mod types;
pub mod acl;
mod pg_roles;
mod pg_class;
mod pg_constraint;
mod pg_type;
mod pg_depend;
mod pg_empty;
mod information_schema;
mod information_privileges;
mod crdb_internal;
mod system_tables;
mod own_session;
pub mod activity;
pub mod functions;

/// A look at a table: the statement, and the one value of a key whose rows are wanted.
pub struct Look {
    info: Arc<StatementInfo>,
    key: Option<(&'static str, Value)>,
}

impl Look {
    /// The OID that is wanted in `column`, if the look is by that column. What is no OID is 0, which nothing has.
    fn wanted(&self, column: &str) -> Option<u32> {
        match &self.key {
            Some((name, Value::Integer(oid))) if *name == column => Some(u32::try_from(*oid).unwrap_or(0)),
            Some((name, _)) if *name == column => Some(0),
            Some(_) | None => None,
        }
    }
}

/// What a row is made from, one for each row.
type Items<T> = Box<dyn Iterator<Item = T>>;

/// A table whose rows are made from `T`.
struct Of<T: 'static> {
    schema: &'static str,
    name: &'static str,
    /// Columns of OIDs by which `items` finds its own.
    keys: &'static [&'static str],
    items: fn(&Look) -> Items<T>,
    columns: &'static [Column<T>],
}

/// Name, type, and how the value is computed.
type Column<T> = (&'static str, SqlType, fn(&T) -> Value);

/// A table without rows: what it would list is not there, and clients look nevertheless.
struct Empty {
    schema: &'static str,
    name: &'static str,
    columns: &'static [(&'static str, SqlType)],
}

/// A table, whatever its rows are made from.
trait Computed: Sync {
    fn place(&self) -> (&'static str, &'static str);
    fn keys(&self) -> &'static [&'static str];
    fn columns(&self) -> Vec<(&'static str, SqlType)>;
    fn rows(&'static self, look: &Look) -> rows::Scan;
}

impl<T: 'static> Computed for Of<T> {
    fn place(&self) -> (&'static str, &'static str) {
        (self.schema, self.name)
    }

    fn keys(&self) -> &'static [&'static str] {
        self.keys
    }

    fn columns(&self) -> Vec<(&'static str, SqlType)> {
        self.columns.iter().map(|(name, sql_type, _)| (*name, *sql_type)).collect()
    }

    fn rows(&'static self, look: &Look) -> rows::Scan {
        let columns = self.columns;
        Box::new((self.items)(look).map(|item| Ok(Box::new(Row { item, columns }) as Box<dyn VirtualRow>)))
    }
}

/// An item with what is computed of it.
struct Row<T: 'static> {
    item: T,
    columns: &'static [Column<T>],
}

impl<T: 'static> VirtualRow for Row<T> {
    fn value(&self, column: usize) -> Option<Value> {
        self.columns.get(column).map(|(_, _, value)| value(&self.item))
    }
}

impl Computed for Empty {
    fn place(&self) -> (&'static str, &'static str) {
        (self.schema, self.name)
    }

    fn keys(&self) -> &'static [&'static str] {
        &[]
    }

    fn columns(&self) -> Vec<(&'static str, SqlType)> {
        self.columns.to_vec()
    }

    fn rows(&'static self, _look: &Look) -> rows::Scan {
        Box::new([].into_iter())
    }
}

/// A virtual table as a plan and the catalog itself see it.
#[derive(Clone)]
pub struct Shape {
    /// Its columns, in order.
    pub columns: Vec<(&'static str, SqlType)>,
    computed: &'static dyn Computed,
}

/// Every virtual table, by its object.
fn shapes() -> &'static BTreeMap<ObjectId, Shape> {
    static SHAPES: LazyLock<BTreeMap<ObjectId, Shape>> = LazyLock::new(|| {
        let groups: [&[&'static dyn Computed]; 12] = [
            pg_roles::TABLES,
            pg_class::TABLES,
            pg_constraint::TABLES,
            pg_type::TABLES,
            pg_depend::TABLES,
            pg_empty::TABLES,
            information_schema::TABLES,
            information_privileges::TABLES,
            crdb_internal::TABLES,
            system_tables::TABLES,
            own_session::TABLES,
            activity::TABLES,
        ];
        let named: BTreeMap<_, _> =
            groups.into_iter().flatten().map(|computed| (computed.place(), *computed)).collect();
        let schema_name = |id: ObjectId| match system::object(id) {
            Some(schema) => schema.name.to_string(),
            None => "system".to_owned(),
        };
        let shape = |(id, object): &(ObjectId, grantd_catalog::object::Object)| {
            let schema = schema_name(object.parent);
            let computed = *named.get(&(schema.as_str(), object.name.as_str()))?;
            Some((*id, Shape { columns: computed.columns(), computed }))
        };
        system::objects().iter().filter_map(shape).collect()
    });
    &SHAPES
}

/// The shape of a virtual table. None: the object is none, or this release computes no rows for it.
pub fn shape(id: ObjectId) -> Option<&'static Shape> {
    shapes().get(&id)
}

/// Every virtual table, for the row store.
pub fn tables() -> Vec<VirtualTable> {
    let table = |(id, shape): (&ObjectId, &'static Shape)| {
        let computed = shape.computed;
        let keys = computed.keys();
        let position = |key: &&str| shape.columns.iter().position(|(name, _)| name == key);
        VirtualTable {
            name: format!("t{id}"),
            columns: shape.columns.iter().map(|(name, _)| (*name).to_owned()).collect(),
            keys: keys.iter().filter_map(position).collect(),
            rows: Arc::new(move |context, key| {
                let info = context.cloned().and_then(|context| context.downcast::<StatementInfo>().ok());
                let info =
                    info.ok_or_else(|| "a virtual table was read outside of a statement".to_owned())?;
                let key = key.and_then(|(at, value)| Some((shape.columns.get(at)?.0, value.clone())));
                Ok(computed.rows(&Look { info, key }))
            }),
        }
    };
    shapes().iter().map(table).collect()
}

/// A text.
fn text(text: impl Into<String>) -> Value {
    Value::Text(text.into())
}

/// A text that may be missing.
fn maybe(text: Option<impl Into<String>>) -> Value {
    text.map_or(Value::Null, |text| Value::Text(text.into()))
}

/// An OID.
fn number(oid: impl Into<i64>) -> Value {
    Value::Integer(oid.into())
}

fn truth(value: bool) -> Value {
    Value::Integer(i64::from(value))
}

/// `YES` or `NO`, as information_schema says it.
fn yes(value: bool) -> Value {
    text(if value { "YES" } else { "NO" })
}

/// How many, where a column holds a number.
fn count(items: usize) -> Value {
    Value::Integer(i64::try_from(items).unwrap_or(i64::MAX))
}

/// An array in the form in which the row store holds it.
fn array<I: Into<String>>(items: impl IntoIterator<Item = I>) -> Value {
    let items: Vec<_> = items.into_iter().map(|item| Some(item.into())).collect();
    Value::Text(crate::value::text::array_text(&items))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_virtual_table_has_columns_and_none_is_without_its_object() {
        let missing: Vec<_> = system::objects()
            .iter()
            .filter(|(id, object)| {
                object.body == grantd_catalog::object::Body::VirtualTable && shape(*id).is_none()
            })
            .map(|(_, object)| object.name.to_string())
            .collect();
        assert_eq!(missing, Vec::<String>::new());
        for (id, shape) in shapes() {
            let mut names: Vec<_> = shape.columns.iter().map(|(name, _)| name).collect();
            let width = names.len();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), width, "table {id} names a column twice");
            assert!(shape.computed.keys().iter().all(|key| names.contains(&key)), "table {id} has its keys");
        }
    }
}
