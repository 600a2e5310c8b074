//! What privileges are held on: the tree cluster → database → schema → table, each with an owner and an ACL.
//!
//! A kind that a later release adds is a new [`Body`] variant and rows in the privilege table; nothing else here
//! knows the list.

use bincode::{Decode, Encode};

use crate::grant::Acl;
use crate::id::{ObjectId, PrincipalId};
use crate::name::Name;
use crate::privilege::ObjectKind;

/// The most columns of a table.
pub const COLUMNS_MAX: usize = 500;

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
}

/// What an object is, and what only its kind has.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Body {
    /// A database.
    Database,
    /// A schema that a user made, or `public`.
    Schema,
    /// A table. Its rows are in the row store under the name `t<object id>`.
    Table(Table),
}

impl Object {
    /// The kind that decides which privileges are legal.
    pub fn kind(&self) -> ObjectKind {
        match self.body {
            Body::Database => ObjectKind::Database,
            Body::Schema => ObjectKind::Schema,
            Body::Table(_) => ObjectKind::Table,
        }
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
}
