//! What a table is to a feed: the columns that the history holds, and the key.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use grantd_catalog::id::ObjectId;
use grantd_catalog::object::{Body, EnumLabel, Object, Table};
use grantd_catalog::refusal::{Refusal, state};

use super::encode::push_string;
use crate::value::SqlType;

/// The enum types that tables name, as they are.
pub type Types = BTreeMap<ObjectId, Arc<Object>>;

/// A table as it was for some time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// Tells one shape of a table from another, in names of files: made of its columns, so that every node has the same.
    pub id: u32,
    /// The columns, in the order of the table and of rows of the history.
    pub columns: Vec<Column>,
    /// Where the columns of the key are among them.
    pub key: Vec<usize>,
    /// Where the columns are in the order of their names, as JSON has them.
    pub(super) by_name: Vec<usize>,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub sql_type: SqlType,
    /// `"name": `.
    pub(super) member: String,
    /// Of an enum type.
    labels: Vec<EnumLabel>,
}

impl Shape {
    /// Of a table, called `name` in refusals.
    pub fn of(name: &str, object: &Object, types: &Types) -> Result<Self, Refusal> {
        let table = table(name, object)?;
        let column = |column: &grantd_catalog::object::Column| {
            let sql_type = SqlType::of_column(column.column_type);
            let mut member = String::new();
            push_string(column.name.as_str(), &mut member);
            member.push_str(": ");
            let labels = match sql_type {
                SqlType::Enum(id) => match types.get(&id).map(|object| &object.body) {
                    Some(Body::Type(enum_type)) => enum_type.labels.clone(),
                    Some(_) | None => Vec::new(),
                },
                _ => Vec::new(),
            };
            Column { name: column.name.to_string(), sql_type, member, labels }
        };
        let columns: Vec<Column> = table.columns.iter().map(column).collect();
        let mut by_name: Vec<usize> = (0..columns.len()).collect();
        by_name.sort_by(|a, b| columns[*a].name.cmp(&columns[*b].name));
        let key: Vec<usize> = table.primary_key.iter().map(|at| usize::from(*at)).collect();
        let id = id(&columns, &key);
        Ok(Self { id, columns, key, by_name })
    }

    /// The enum types that it names.
    pub fn types(object: &Object) -> impl Iterator<Item = ObjectId> {
        let table = match &object.body {
            Body::Table(table) => Some(table),
            _ => None,
        };
        table.into_iter().flat_map(|table| &table.columns).filter_map(|column| column.column_type.enum_type())
    }
}

impl Column {
    /// What is written for a position of an enum type.
    pub(super) fn label(&self, position: i64) -> Option<&str> {
        let found = self.labels.binary_search_by_key(&position, |label| label.position);
        found.ok().map(|at| self.labels[at].label.as_str())
    }
}

/// The table of an object, if it can be fed.
fn table<'o>(name: &str, object: &'o Object) -> Result<&'o Table, Refusal> {
    let Body::Table(table) = &object.body else {
        let kind = match object.body {
            Body::View(_) => "view".to_owned(),
            Body::VirtualTable => "virtual table".to_owned(),
            _ => format!("{:?}", object.kind()).to_lowercase(),
        };
        let message = format!("CHANGEFEED cannot target {kind}: {name}");
        return Err(Refusal::new(state::WRONG_OBJECT_TYPE, message).with_hint("a changefeed is of tables"));
    };
    if let Some(computed) = table.columns.iter().find(|column| column.computed.is_some()) {
        let message = format!(
            "CHANGEFEED for \"{name}\" is not supported: its column \"{}\" is computed",
            computed.name
        );
        return Err(Refusal::new(state::FEATURE_NOT_SUPPORTED, message)
            .with_detail("the change history holds no computed columns")
            .with_hint("drop the column, and compute it where the messages are read"));
    }
    Ok(table)
}

/// FNV-1a of names, types and key.
fn id(columns: &[Column], key: &[usize]) -> u32 {
    let mut text = String::new();
    for column in columns {
        // A String takes everything.
        let _ = write!(text, "{}\0{}\0", column.name, column.sql_type.oid());
    }
    let _ = write!(text, "{key:?}");
    super::encode::fnv1a(text.as_bytes())
}
