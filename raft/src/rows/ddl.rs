//! The SQLite table behind a catalog table.
//!
//! Every table is `STRICT, WITHOUT ROWID` and named `t<object id>`. Without rowids there is nothing in a row that a
//! changeset does not carry, NULL in a key is refused instead of lost or numbered, and a scan is in key order.
//! Constraints are named so that a violation can be told to a client: `bool:c`, `range:c`, `length:c`, `uuid:c` for
//! a column `c`, `check:name` for a CHECK of the user. SQLite reports UNIQUE and NOT NULL by table and columns.
//! A UNIQUE constraint is a unique index, so that one can come and go without its table being made anew.

use std::collections::BTreeMap;
use std::fmt::Write;

use grantd_catalog::id::ObjectId;
use grantd_catalog::name::Name;
use grantd_catalog::object::{
    Body, Column, ColumnType, Expression, ForeignKey, IndexKey, KeyPart, ReferentialAction, Sequence, Table,
};
use grantd_catalog::state::State;

/// The name of an object's table in the row store.
pub fn table_name(id: ObjectId) -> String {
    format!("t{id}")
}

/// The object of a table of the row store: [`table_name`] the other way round.
pub fn object_of_table(name: &str) -> Option<ObjectId> {
    name.strip_prefix('t')?.parse().ok().map(ObjectId)
}

/// A table as the row store makes it: what the catalog says of it, and what it does not say of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Whose it is.
    pub id: ObjectId,
    /// What the catalog says.
    pub table: Table,
    /// For each foreign key the names of the columns that it refers to.
    pub targets: Vec<Vec<Name>>,
}

impl Shape {
    /// That of a table without foreign keys.
    pub fn alone(id: ObjectId, table: &Table) -> Self {
        Self { id, table: table.clone(), targets: Vec::new() }
    }

    /// That of an object of a catalog. None: it is no table, or a foreign key points nowhere.
    pub fn of(id: ObjectId, state: &State) -> Option<Self> {
        let table = table_of(id, state)?;
        let named = |key: &ForeignKey| {
            let target = table_of(key.target, state)?;
            let name = |at: &u16| Some(target.columns.get(usize::from(*at))?.name.clone());
            key.target_columns.iter().map(name).collect()
        };
        let targets = table.foreign_keys.iter().map(named).collect::<Option<_>>()?;
        Some(Self { id, table: table.clone(), targets })
    }

    /// The name of its table.
    pub fn name(&self) -> String {
        table_name(self.id)
    }

    /// The columns at these positions, quoted and with commas.
    pub fn columns(&self, positions: &[u16]) -> String {
        let name = |at: &u16| quote(self.column(*at).name.as_str());
        positions.iter().map(name).collect::<Vec<_>>().join(", ")
    }

    /// Panics on a position that points nowhere: the catalog checks them before they are committed.
    pub(super) fn column(&self, at: u16) -> &Column {
        &self.table.columns[usize::from(at)]
    }

    /// The statement that makes the table, under a name of the caller's.
    pub(super) fn create_as(&self, name: &str) -> String {
        let mut sql = format!("CREATE TABLE {} (\n", quote(name));
        for column in &self.table.columns {
            define_column(&mut sql, column);
            sql.push_str(",\n");
        }
        for check in &self.table.checks {
            let name = quote(&format!("check:{}", check.name.as_str()));
            writeln!(sql, "  CONSTRAINT {name} CHECK ({}),", check.expression.stored)
                .expect("a string grows");
        }
        for key in self.foreign_keys() {
            writeln!(sql, "  {key},").expect("a string grows");
        }
        writeln!(sql, "  PRIMARY KEY ({})", self.columns(&self.table.primary_key)).expect("a string grows");
        sql.push_str(") STRICT, WITHOUT ROWID");
        sql
    }

    /// The clauses of its foreign keys. They have no names: SQLite does not say which one is violated.
    pub(super) fn foreign_keys(&self) -> Vec<String> {
        let clause = |(key, target): (&ForeignKey, &Vec<Name>)| {
            let there = target.iter().map(|name| quote(name.as_str())).collect::<Vec<_>>().join(", ");
            format!(
                "FOREIGN KEY ({}) REFERENCES {} ({there}) ON DELETE {} ON UPDATE {}",
                self.columns(&key.columns),
                quote(&table_name(key.target)),
                action(key.on_delete),
                action(key.on_update)
            )
        };
        self.table.foreign_keys.iter().zip(&self.targets).map(clause).collect()
    }

    /// Its indexes, those of UNIQUE constraints too, by the name that each has in the row store, with the statement that
    /// makes it. The name says all that the statement does, but for the names of columns, so another name in the catalog
    /// changes nothing here, and two of the same kind are one.
    pub(super) fn indexes(&self) -> BTreeMap<String, IndexStatement> {
        let unique = self.table.unique.iter().map(|unique| {
            let keys = unique.columns.iter().map(|column| IndexKey::ascending(*column));
            (&unique.name, keys.collect(), true, None)
        });
        let others = self
            .table
            .indexes
            .iter()
            .map(|index| (&index.name, index.keys.clone(), index.unique, index.predicate.as_ref()));
        let mut indexes = BTreeMap::new();
        for (name, keys, is_unique, predicate) in unique.chain(others) {
            let stored = self.index_name(&keys, is_unique, predicate);
            let sql = self.create_index(&stored, &keys, is_unique, predicate);
            indexes.entry(stored).or_insert_with(|| IndexStatement { name: name.clone(), sql });
        }
        indexes
    }

    fn index_name(&self, keys: &[IndexKey], is_unique: bool, predicate: Option<&Expression>) -> String {
        let kind = if is_unique { "unique" } else { "index" };
        let place = |key: &IndexKey| {
            let what = match &key.part {
                KeyPart::Column(column) => column.to_string(),
                KeyPart::Expression(expression) => format!("({})", expression.stored),
            };
            format!("{what}{}", if key.descending { "-" } else { "" })
        };
        let places = keys.iter().map(place).collect::<Vec<_>>().join(",");
        let rows = predicate.map(|predicate| format!(":{}", predicate.stored)).unwrap_or_default();
        format!("{}:{kind}:{places}{rows}", self.name())
    }

    fn create_index(
        &self,
        name: &str,
        keys: &[IndexKey],
        is_unique: bool,
        predicate: Option<&Expression>,
    ) -> String {
        let kind = if is_unique { "UNIQUE INDEX" } else { "INDEX" };
        let key = |key: &IndexKey| {
            let what = match &key.part {
                KeyPart::Column(column) => quote(self.column(*column).name.as_str()),
                KeyPart::Expression(expression) => format!("({})", expression.stored),
            };
            format!("{what}{}", if key.descending { " DESC" } else { "" })
        };
        let keys = keys.iter().map(key).collect::<Vec<_>>().join(", ");
        let rows = predicate.map(|predicate| format!(" WHERE {}", predicate.stored)).unwrap_or_default();
        format!("CREATE {kind} {} ON {} ({keys}){rows}", quote(name), quote(&self.name()))
    }

    /// What the catalog calls the index that the row store calls `stored`.
    pub fn index_called(&self, stored: &str) -> Option<Name> {
        self.indexes().remove(stored).map(|index| index.name)
    }

    /// The statements that make the table with all that belongs to it.
    pub fn create(&self) -> String {
        let mut sql = self.create_as(&self.name());
        for index in self.indexes().values() {
            sql.push_str(";\n");
            sql.push_str(&index.sql);
        }
        sql
    }
}

/// The statement that makes an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IndexStatement {
    /// Its name in the catalog; the first one's if several are the same.
    pub(super) name: Name,
    pub(super) sql: String,
}

fn table_of(id: ObjectId, state: &State) -> Option<&Table> {
    match &state.object_with_rows(id)?.body {
        Body::Table(table) => Some(table),
        _ => None,
    }
}

const fn action(action: ReferentialAction) -> &'static str {
    match action {
        ReferentialAction::NoAction => "NO ACTION",
        ReferentialAction::Restrict => "RESTRICT",
        ReferentialAction::Cascade => "CASCADE",
        ReferentialAction::SetNull => "SET NULL",
        ReferentialAction::SetDefault => "SET DEFAULT",
    }
}

/// The table behind a sequence: `last_value` and `is_called` as PostgreSQL shows them, and a hidden key, because a
/// changeset finds a row by its key. It has one row: [`sequence_row`].
pub fn sequence_table() -> Table {
    let column = |name: &str, column_type, hidden| Column {
        name: Name::from(name),
        column_type,
        nullable: false,
        default: None,
        hidden,
        comment: None,
        computed: None,
        identity: None,
    };
    Table {
        columns: vec![
            column("last_value", ColumnType::Int8, false),
            column("log_cnt", ColumnType::Int8, false),
            column("is_called", ColumnType::Bool, false),
            column("rowid", ColumnType::Int8, true),
        ],
        primary_key: vec![3],
        unique: Vec::new(),
        checks: Vec::new(),
        key_name: Name::from("t_pkey"),
        indexes: Vec::new(),
        foreign_keys: Vec::new(),
    }
}

/// The statement that gives the sequence of `id` its row: its next value is the first one.
pub fn sequence_row(id: ObjectId, sequence: &Sequence) -> String {
    let start = sequence.start;
    format!("INSERT INTO {} VALUES ({start}, 0, 0, 0)", quote(&table_name(id)))
}

/// The statement that drops the table of `id`.
pub fn drop_table(id: ObjectId) -> String {
    format!("DROP TABLE {}", quote(&table_name(id)))
}

/// An identifier in SQLite's quotes.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What stands for a column in CREATE TABLE and ADD COLUMN.
pub(super) fn define_column(sql: &mut String, column: &Column) {
    let name = quote(column.name.as_str());
    write!(sql, "  {name} {}", storage_class(column.column_type)).expect("a string grows");
    if let Some(computed) = &column.computed {
        write!(sql, " GENERATED ALWAYS AS ({}) STORED", computed.stored).expect("a string grows");
    }
    // A key column is NOT NULL in PostgreSQL, and a changeset silently loses a row with NULL in its key; WITHOUT
    // ROWID makes SQLite refuse it even where the descriptor says nullable.
    if !column.nullable {
        sql.push_str(" NOT NULL");
    }
    if let Some(default) = &column.default {
        write!(sql, " DEFAULT ({})", default.stored).expect("a string grows");
    }
    let text = column.name.as_str();
    let mut check = |kind: &str, condition: String| {
        let constraint = quote(&format!("{kind}:{text}"));
        write!(sql, " CONSTRAINT {constraint} CHECK ({condition})").expect("a string grows");
    };
    match column.column_type {
        ColumnType::Bool => check("bool", format!("{name} IN (0, 1)")),
        ColumnType::Int2 => check("range", format!("{name} BETWEEN {} AND {}", i16::MIN, i16::MAX)),
        ColumnType::Int4 => check("range", format!("{name} BETWEEN {} AND {}", i32::MIN, i32::MAX)),
        ColumnType::Text { chars_max: Some(max) } | ColumnType::Char { chars: max } => {
            check("length", format!("length({name}) <= {max}"));
        }
        ColumnType::Uuid => {
            let hex = |count: usize| "[0-9a-f]".repeat(count);
            let shape = [8, 4, 4, 4, 12].map(hex).join("-");
            check("uuid", format!("{name} GLOB '{shape}'"));
        }
        ColumnType::Int8
        | ColumnType::Float8
        | ColumnType::Text { chars_max: None }
        | ColumnType::Bytes
        | ColumnType::TimestampTz
        | ColumnType::Timestamp
        | ColumnType::Date
        | ColumnType::Time
        | ColumnType::Interval
        | ColumnType::Decimal { .. }
        | ColumnType::Jsonb
        | ColumnType::Float4
        | ColumnType::Enum(_) => {}
    }
}

fn storage_class(column_type: ColumnType) -> &'static str {
    match column_type {
        ColumnType::Bool
        | ColumnType::Int2
        | ColumnType::Int4
        | ColumnType::Int8
        | ColumnType::TimestampTz
        | ColumnType::Timestamp
        | ColumnType::Date
        | ColumnType::Time
        | ColumnType::Enum(_) => "INTEGER",
        ColumnType::Float4 | ColumnType::Float8 => "REAL",
        // See `collation`.
        ColumnType::Decimal { .. } => "TEXT COLLATE decimal",
        ColumnType::Interval => "TEXT COLLATE interval",
        ColumnType::Jsonb => "TEXT COLLATE jsonb",
        ColumnType::Text { .. } | ColumnType::Char { .. } | ColumnType::Uuid => "TEXT",
        ColumnType::Bytes => "BLOB",
    }
}

/// The order of a type whose equal values may be written in several ways: with more or fewer zeros, as a month or as thirty days.
/// None: it has that of its bytes.
pub(super) const fn collation(column_type: ColumnType) -> Option<&'static str> {
    match column_type {
        ColumnType::Decimal { .. } => Some("decimal"),
        ColumnType::Interval => Some("interval"),
        ColumnType::Jsonb => Some("jsonb"),
        ColumnType::Bool
        | ColumnType::Int2
        | ColumnType::Int4
        | ColumnType::Int8
        | ColumnType::TimestampTz
        | ColumnType::Timestamp
        | ColumnType::Date
        | ColumnType::Time
        | ColumnType::Enum(_)
        | ColumnType::Float4
        | ColumnType::Float8
        | ColumnType::Text { .. }
        | ColumnType::Char { .. }
        | ColumnType::Uuid
        | ColumnType::Bytes => None,
    }
}
