//! What privileges are held on: the tree cluster → database → schema → relations, types and functions, each with an
//! owner and an ACL.
//!
//! A kind that a later release adds is a new [`Body`] variant and rows in the privilege table; nothing else here
//! knows the list.

use std::fmt;
use std::sync::Arc;

use bincode::{Decode, Encode};

use crate::grant::Acl;
use crate::id::{ObjectId, PrincipalId};
use crate::name::Name;
use crate::privilege::ObjectKind;

/// The most columns of a table or view.
pub const COLUMNS_MAX: usize = 500;
/// The most labels of an enum type.
pub const LABELS_MAX: usize = 10_000;
/// The most arguments of a function.
pub const ARGUMENTS_MAX: usize = 100;
/// The most bytes of a comment, of a function's body, of a view's query, of an external connection's URI.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;

/// One object. Its id never changes and is never reused, so rename and move leave grants and rows alone.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Object {
    /// What it is called in `parent`.
    pub name: Name,
    /// The object that contains it: the cluster for a database, a database for a schema, a schema for the rest.
    pub parent: ObjectId,
    /// Holds every privilege and grant option implicitly; no REVOKE takes that away (T-5).
    pub owner: PrincipalId,
    /// What was granted on it.
    pub acl: Acl,
    /// What it is.
    pub body: Body,
    /// COMMENT ON.
    pub comment: Option<String>,
}

/// What an object is, and what only its kind has.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Body {
    /// A database.
    Database,
    /// A schema that a user made, or `public`.
    Schema,
    /// A table. Its rows are in the row store under the name `t<object id>`. Shared: a grant changes an object and not
    /// its columns.
    Table(Arc<Table>),
    /// A view: a query under a name. Nothing of it is in the row store.
    View(View),
    /// A sequence. Its position is in the row store under the name `t<object id>`, as one row.
    Sequence(Sequence),
    /// An enum type.
    Type(EnumType),
    /// A function whose body is SQL.
    Function(Function),
    /// Where cloud storage or a sink is, and how it is reached. Its parent is the cluster.
    ExternalConnection(ExternalConnection),
    /// A table of `pg_catalog`, `information_schema` or `crdb_internal`, which are computed. See [`crate::system`].
    VirtualTable,
}

impl Object {
    /// The kind that decides which privileges are legal.
    pub fn kind(&self) -> ObjectKind {
        match self.body {
            Body::Database => ObjectKind::Database,
            Body::Schema => ObjectKind::Schema,
            Body::Table(_) | Body::View(_) => ObjectKind::Table,
            Body::Sequence(_) => ObjectKind::Sequence,
            Body::Type(_) => ObjectKind::Type,
            Body::Function(_) => ObjectKind::Function,
            Body::ExternalConnection(_) => ObjectKind::ExternalConnection,
            Body::VirtualTable => ObjectKind::VirtualTable,
        }
    }

    /// The kind of object that contains such.
    pub const fn container(&self) -> ObjectKind {
        match self.body {
            Body::Database | Body::ExternalConnection(_) => ObjectKind::Cluster,
            Body::Schema => ObjectKind::Database,
            Body::Table(_)
            | Body::View(_)
            | Body::Sequence(_)
            | Body::Type(_)
            | Body::Function(_)
            | Body::VirtualTable => ObjectKind::Schema,
        }
    }

    /// The objects that this one cannot be without, sorted, each once: the types of its columns and arguments, and what
    /// its query, body and defaults name.
    pub fn references(&self) -> Vec<ObjectId> {
        let mut found: Vec<ObjectId> = match &self.body {
            Body::Table(table) => {
                let types = table.columns.iter().filter_map(|column| column.column_type.enum_type());
                types.chain(table.references.iter().copied()).collect()
            }
            Body::View(view) => {
                let types = view.columns.iter().filter_map(|column| column.column_type.enum_type());
                types.chain(view.references.iter().copied()).collect()
            }
            Body::Function(function) => {
                let arguments = function.arguments.iter().map(|argument| argument.argument_type);
                let types = arguments.chain([function.returns]).filter_map(ColumnType::enum_type);
                types.chain(function.references.iter().copied()).collect()
            }
            Body::Sequence(sequence) => sequence.owned_by.into_iter().collect(),
            Body::Database
            | Body::Schema
            | Body::Type(_)
            | Body::ExternalConnection(_)
            | Body::VirtualTable => Vec::new(),
        };
        found.sort_unstable();
        found.dedup();
        found
    }
}

/// The shape of a table. Columns keep the order of CREATE TABLE; a hidden primary key comes last.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Table {
    /// At least one; at most [`COLUMNS_MAX`]; names unique without regard to case.
    pub columns: Vec<Column>,
    /// Positions in `columns`; never empty: changesets need a key to find a row by.
    pub primary_key: Vec<u16>,
    /// UNIQUE constraints beside the primary key.
    pub unique: Vec<Unique>,
    /// CHECK constraints.
    pub checks: Vec<Check>,
    /// Sequences and functions that defaults and checks use.
    pub references: Vec<ObjectId>,
}

/// One column.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Column {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub column_type: ColumnType,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// The DEFAULT.
    pub default: Option<Expression>,
    /// Left out of `SELECT *` and INSERT without a column list: the `rowid` of a table without a primary key.
    pub hidden: bool,
    /// COMMENT ON COLUMN.
    pub comment: Option<String>,
}

/// A UNIQUE constraint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Unique {
    /// Its name, unique in the table.
    pub name: Name,
    /// Positions in [`Table::columns`].
    pub columns: Vec<u16>,
}

/// A CHECK constraint.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Check {
    /// Its name, unique in the table.
    pub name: Name,
    /// What must not be false.
    pub expression: Expression,
}

/// An expression that is stored with a table: as it was written, and as the row store runs it.
///
/// The catalog does not read either; `node::sql` made them and checked that nothing but the row's own columns
/// and functions occurs in them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Expression {
    /// PostgreSQL text, for SHOW CREATE.
    pub sql: String,
    /// The row store's text.
    pub stored: String,
}

/// The type of a column. Appended to, never reordered: the position is in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[allow(missing_docs, reason = "the SQL type of the same name")]
pub enum ColumnType {
    Bool,
    Int2,
    Int4,
    Int8,
    Float8,
    /// STRING, TEXT, or VARCHAR(n): at most `n` characters.
    Text {
        /// The most characters, if bounded.
        chars_max: Option<u32>,
    },
    Bytes,
    Uuid,
    /// Microseconds since the Unix epoch.
    TimestampTz,
    /// An enum type: a [`Body::Type`].
    Enum(ObjectId),
}

impl ColumnType {
    /// The enum type that it is, if it is one.
    pub const fn enum_type(self) -> Option<ObjectId> {
        match self {
            Self::Enum(id) => Some(id),
            _ => None,
        }
    }
}

impl fmt::Display for ColumnType {
    /// The SQL word, as v22.2 prints it in signatures; an enum type as its id, which who knows the catalog replaces.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int2 => f.write_str("int2"),
            Self::Int4 => f.write_str("int4"),
            Self::Int8 => f.write_str("int8"),
            Self::Float8 => f.write_str("float8"),
            Self::Text { chars_max: None } => f.write_str("string"),
            Self::Text { chars_max: Some(chars) } => write!(f, "varchar({chars})"),
            Self::Bytes => f.write_str("bytes"),
            Self::Uuid => f.write_str("uuid"),
            Self::TimestampTz => f.write_str("timestamptz"),
            Self::Enum(id) => write!(f, "[{id}]"),
        }
    }
}

/// A query under a name.
///
/// Who reads a view needs SELECT on the view, not on what the query reads: that its creator needed.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct View {
    /// What the query returns; at least one column.
    pub columns: Vec<ViewColumn>,
    /// The query, every name in it written in full.
    pub query: String,
    /// The tables, views, sequences and functions that it names.
    pub references: Vec<ObjectId>,
}

/// One column of a view.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ViewColumn {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub column_type: ColumnType,
}

/// What a sequence counts.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Sequence {
    /// The first value.
    pub start: i64,
    /// From one value to the next; never 0.
    pub increment: i64,
    /// The least value.
    pub min: i64,
    /// The greatest value.
    pub max: i64,
    /// The table with whose column it is dropped (OWNED BY, SERIAL).
    pub owned_by: Option<ObjectId>,
}

/// An enum type. Rows hold positions, not labels, so a label can be renamed and one be put between two.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EnumType {
    /// Sorted by position; labels unique.
    pub labels: Vec<EnumLabel>,
}

/// One label.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct EnumLabel {
    /// What stands for it in rows; orders the labels; never changes.
    pub position: i64,
    /// What is written.
    pub label: String,
}

/// How far apart the positions of a new type's labels are, so that later ones fit between.
pub const LABEL_GAP: i64 = 1 << 32;

/// A function of the client's, in SQL.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Function {
    /// At most [`ARGUMENTS_MAX`].
    pub arguments: Vec<Argument>,
    /// The type of its result.
    pub returns: ColumnType,
    /// One SELECT, every name in it written in full, arguments by name or `$n`.
    pub body: String,
    /// What a planner may assume.
    pub volatility: Volatility,
    /// Whether it is NULL when an argument is (STRICT, RETURNS NULL ON NULL INPUT).
    pub is_strict: bool,
    /// The tables, views, sequences and functions that it names.
    pub references: Vec<ObjectId>,
}

impl Function {
    /// The types of the arguments.
    pub fn argument_types(&self) -> impl Iterator<Item = ColumnType> {
        self.arguments.iter().map(|argument| argument.argument_type)
    }
}

/// One argument of a function.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Argument {
    /// Its name, if it has one.
    pub name: Option<Name>,
    /// Its type.
    pub argument_type: ColumnType,
}

/// What a planner may assume of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Volatility {
    /// Nothing.
    Volatile,
    /// The same result for the same arguments in one statement.
    Stable,
    /// The same result for the same arguments, always.
    Immutable,
}

/// Where something outside is.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct ExternalConnection {
    /// The URI, which may hold secrets.
    pub uri: ConnectionUri,
}

/// The URI of an external connection. Never printed.
#[derive(Clone, PartialEq, Eq, Encode, Decode)]
pub struct ConnectionUri(String);

impl ConnectionUri {
    /// Wraps a URI. The form is the caller's to check.
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text. For using the connection, and for encodings; for nothing that prints.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ConnectionUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionUri(…)")
    }
}
