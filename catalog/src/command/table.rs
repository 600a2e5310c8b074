//! What CREATE and ALTER TABLE say of a table, in names.

use bincode::{Decode, Encode};

use crate::command::{DropBehavior, ObjectName};
use crate::name::Name;
use crate::object::{Column, ColumnType, Expression, KeyPart, ReferentialAction, Sequence};

/// One action of an ALTER TABLE. Columns are named; what an action does is seen by those after it.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum TableAction {
    /// ADD COLUMN, at the end.
    AddColumn {
        /// The column.
        column: Column,
        /// IF NOT EXISTS: with the column its constraints are left out too.
        if_not_exists: bool,
        /// What the rows that there are get, in the row store's text: a constant. None: NULL, or what it is computed from.
        fill: Option<String>,
        /// The constraints that stand with it.
        constraints: Vec<NewConstraint>,
    },
    /// DROP COLUMN: the constraints and indexes that use it go with it.
    DropColumn {
        /// The column.
        column: Name,
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE drops also views, functions and the foreign keys of other tables that use it.
        behavior: DropBehavior,
    },
    /// RENAME COLUMN.
    RenameColumn {
        /// The column.
        column: Name,
        /// Its new name.
        to: Name,
        /// Each expression of the table, as it is and as it is to be: the catalog reads none of them.
        expressions: Vec<(Expression, Expression)>,
    },
    /// ALTER COLUMN SET DEFAULT; DROP DEFAULT is none.
    SetDefault {
        /// The column.
        column: Name,
        /// The DEFAULT.
        default: Option<Expression>,
    },
    /// ALTER COLUMN DROP NOT NULL (`true`) or SET NOT NULL (`false`).
    SetNullable {
        /// The column.
        column: Name,
        /// Whether NULL is allowed.
        nullable: bool,
    },
    /// ALTER COLUMN TYPE.
    SetType {
        /// The column.
        column: Name,
        /// Its new type.
        column_type: ColumnType,
        /// The new value of a row, in the row store's text, from its old ones. None: the old one.
        using: Option<String>,
        /// The CHECKs and expressions of indexes that read the column, as they are and as they are to be.
        expressions: Vec<(Expression, Expression)>,
    },
    /// ADD CONSTRAINT.
    AddConstraint {
        /// What is added.
        constraint: NewConstraint,
        /// IF NOT EXISTS.
        if_not_exists: bool,
    },
    /// DROP CONSTRAINT.
    DropConstraint {
        /// Its name.
        constraint: Name,
        /// IF EXISTS.
        if_exists: bool,
        /// CASCADE drops also the foreign keys of other tables that refer to it.
        behavior: DropBehavior,
    },
    /// RENAME CONSTRAINT.
    RenameConstraint {
        /// Its name.
        constraint: Name,
        /// Its new name.
        to: Name,
    },
    /// ALTER COLUMN ADD GENERATED … AS IDENTITY.
    AddIdentity(NewIdentity),
    /// ALTER COLUMN DROP IDENTITY: the sequence goes.
    DropIdentity {
        /// The column.
        column: Name,
        /// IF EXISTS.
        if_exists: bool,
    },
}

/// A column that is to count its rows.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NewIdentity {
    /// The column.
    pub column: Name,
    /// GENERATED ALWAYS; else BY DEFAULT.
    pub always: bool,
    /// What it counts; `owned_by` is none here.
    pub sequence: Sequence,
}

/// A constraint that is to be.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NewConstraint {
    /// Its name; none: one is made.
    pub name: Option<Name>,
    /// What it demands.
    pub rule: Rule,
}

/// What a constraint that is to be demands.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Rule {
    /// PRIMARY KEY, in place of a hidden one. The columns become NOT NULL.
    PrimaryKey(Vec<Name>),
    /// UNIQUE.
    Unique(Vec<Name>),
    /// CHECK.
    Check(Expression),
    /// FOREIGN KEY.
    ForeignKey(NewForeignKey),
}

/// A FOREIGN KEY that is to be.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NewForeignKey {
    /// Columns of the table.
    pub columns: Vec<Name>,
    /// The table that has the keys; may be the same, by its name or, in CREATE TABLE, the name to be.
    pub target: ObjectName,
    /// Columns of the target; empty: those of its primary key.
    pub target_columns: Vec<Name>,
    /// ON DELETE.
    pub on_delete: ReferentialAction,
    /// ON UPDATE.
    pub on_update: ReferentialAction,
}

/// One column or expression of an index that is to be.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct NewIndexKey {
    /// What it is of.
    pub part: KeyPart<Name>,
    /// DESC.
    pub descending: bool,
}
