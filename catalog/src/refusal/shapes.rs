//! The texts about what tables are made of: columns, constraints, indexes.
//!
//! What rows that there are do not satisfy is said in PostgreSQL's words; the rest in those of v22.2.

use crate::name::Name;
use crate::refusal::{Refusal, state};

// Columns.

/// ADD or RENAME COLUMN to a name that is taken.
pub fn column_exists(column: &Name, table: &Name) -> Refusal {
    Refusal::new(
        state::DUPLICATE_COLUMN,
        format!("column \"{column}\" of relation \"{table}\" already exists"),
    )
}

/// DROP or SET NULL of a column of the primary key.
pub fn column_in_primary_key(column: &Name) -> Refusal {
    Refusal::new(
        state::INVALID_COLUMN_REFERENCE,
        format!("column \"{column}\" is referenced by the primary key"),
    )
}

/// A computed column reads the one that is to be dropped or get another type.
pub fn column_is_computed_from(column: &Name, computed: &Name) -> Refusal {
    Refusal::new(
        state::INVALID_COLUMN_REFERENCE,
        format!("column \"{column}\" is referenced by computed column \"{computed}\""),
    )
}

/// A view or function, `kind` is the word, reads the column; `verb` is what cannot be done.
pub fn column_has_dependent(verb: &str, column: &Name, kind: &str, dependent: &str) -> Refusal {
    Refusal::new(
        state::DEPENDENT_OBJECTS,
        format!("cannot {verb} column \"{column}\" because {kind} \"{dependent}\" depends on it"),
    )
    .with_hint(format!("you can drop {dependent} instead."))
}

/// A computed column with a DEFAULT.
pub fn computed_with_default(column: &Name) -> Refusal {
    Refusal::new(
        state::SYNTAX_ERROR,
        format!("computed column \"{column}\" cannot also have a DEFAULT expression"),
    )
}

/// A computed column in a primary key: the row store does not have that.
pub fn computed_in_primary_key(column: &Name) -> Refusal {
    Refusal::new(
        state::FEATURE_NOT_SUPPORTED,
        format!("the computed column \"{column}\" in a primary key is not supported"),
    )
}

/// A column that is to count its rows, and has values from elsewhere.
pub fn identity_with_default(column: &Name) -> Refusal {
    Refusal::new(state::SYNTAX_ERROR, format!("both default and identity specified for column \"{column}\""))
}

/// A column that is to count its rows, and has no such type.
pub fn identity_of_other_type() -> Refusal {
    Refusal::new(
        state::INVALID_PARAMETER_VALUE,
        "identity column type must be smallint, integer, or bigint".to_owned(),
    )
}

/// ADD GENERATED … AS IDENTITY of a column that has it.
pub fn already_identity(column: &Name, table: &Name) -> Refusal {
    Refusal::new(
        state::NOT_IN_PREREQUISITE_STATE,
        format!("column \"{column}\" of relation \"{table}\" is already an identity column"),
    )
}

/// DROP IDENTITY of one that is none.
pub fn not_identity(column: &Name, table: &Name) -> Refusal {
    Refusal::new(
        state::NOT_IN_PREREQUISITE_STATE,
        format!("column \"{column}\" of relation \"{table}\" is not an identity column"),
    )
}

/// DROP NOT NULL of an identity column.
pub fn is_identity(column: &Name, table: &Name) -> Refusal {
    Refusal::new(
        state::SYNTAX_ERROR,
        format!("column \"{column}\" of relation \"{table}\" is an identity column"),
    )
}

/// SET and DROP DEFAULT of an identity column.
pub fn default_of_identity(column: &Name, table: &Name) -> Refusal {
    is_identity(column, table).with_hint("Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead.")
}

/// ALTER SEQUENCE … OWNED BY of an identity column's.
pub fn identity_sequence_stays(sequence: &Name) -> Refusal {
    Refusal::new(
        state::FEATURE_NOT_SUPPORTED,
        format!("cannot change ownership of identity sequence \"{sequence}\""),
    )
}

/// ALTER COLUMN TYPE of a computed column.
pub fn computed_retyped(column: &Name) -> Refusal {
    Refusal::new(
        state::FEATURE_NOT_SUPPORTED,
        format!("another type for the computed column \"{column}\" is not supported"),
    )
}

/// ALTER COLUMN TYPE beside actions that change which columns there are.
pub fn retyped_among_others() -> Refusal {
    Refusal::new(
        state::FEATURE_NOT_SUPPORTED,
        "ALTER COLUMN TYPE is not supported in one statement with ADD, DROP or RENAME COLUMN",
    )
    .with_hint("Use a statement for each.")
}

/// RENAME COLUMN without the new text of an expression that the table has by now.
pub fn expressions_changed() -> Refusal {
    Refusal::new(
        state::SERIALIZATION_FAILURE,
        "restart transaction: the table changed before its column was renamed",
    )
    .with_hint("Run the statement again.")
}

// Constraints and indexes.

/// DROP or RENAME of a constraint that there is not.
pub fn no_such_constraint(constraint: &Name, table: &Name) -> Refusal {
    Refusal::new(
        state::UNDEFINED_OBJECT,
        format!("constraint \"{constraint}\" of relation \"{table}\" does not exist"),
    )
}

/// A second primary key.
pub fn two_primary_keys(table: &Name) -> Refusal {
    Refusal::new(
        state::INVALID_TABLE_DEFINITION,
        format!("multiple primary keys for table \"{table}\" are not allowed"),
    )
}

/// A table is never without a primary key.
pub fn primary_key_stays() -> Refusal {
    Refusal::new(state::FEATURE_NOT_SUPPORTED, "DROP CONSTRAINT of a primary key is not supported")
}

/// DROP INDEX of the primary key's.
pub fn primary_index_stays() -> Refusal {
    Refusal::new(state::FEATURE_NOT_SUPPORTED, "cannot drop the primary index of a table using DROP INDEX")
}

/// DROP INDEX of a UNIQUE constraint's.
pub fn index_is_constraint(index: &Name) -> Refusal {
    Refusal::new(state::DEPENDENT_OBJECTS, format!("index \"{index}\" is in use as unique constraint"))
        .with_hint("use CASCADE if you really want to drop it.")
}

/// COMMENT ON INDEX of a constraint's.
pub fn comment_on_constraint(index: &Name) -> Refusal {
    Refusal::new(
        state::FEATURE_NOT_SUPPORTED,
        format!("a comment on \"{index}\", the index of a constraint, is not supported"),
    )
}

/// No index of that name.
pub fn no_such_index(index: &impl std::fmt::Display) -> Refusal {
    Refusal::new(state::UNDEFINED_OBJECT, format!("index \"{index}\" does not exist"))
}

/// Several tables have one of that name.
pub fn ambiguous_index(index: &impl std::fmt::Display) -> Refusal {
    Refusal::new(state::AMBIGUOUS_PARAMETER, format!("index name \"{index}\" is ambiguous"))
        .with_hint("Write table@index.")
}

/// The table has an index or constraint of that name.
pub fn index_exists(index: &Name) -> Refusal {
    Refusal::new(state::DUPLICATE_RELATION, format!("index with name \"{index}\" already exists"))
}

// Foreign keys.

/// Something that is to go is, or is needed by, a key that a foreign key refers to.
pub fn referenced_by_foreign_key(what: &Name, table: &Name) -> Refusal {
    Refusal::new(
        state::DEPENDENT_OBJECTS,
        format!("\"{what}\" is referenced by foreign key from table \"{table}\""),
    )
}

/// As many columns here as there.
pub fn foreign_key_counts(here: usize, there: usize) -> Refusal {
    Refusal::new(
        state::SYNTAX_ERROR,
        format!("{here} columns must reference exactly {here} columns in referenced table (found {there})"),
    )
}

/// Rows of the target are not told apart by those columns.
pub fn no_key_for_foreign_key(table: &Name) -> Refusal {
    Refusal::new(
        state::INVALID_FOREIGN_KEY,
        format!("there is no unique constraint matching given keys for referenced table {table}"),
    )
}

/// The types of both ends differ; types are written as signatures write them.
pub fn foreign_key_types(column: &Name, here: &str, target: &Name, there: &str) -> Refusal {
    Refusal::new(
        state::DATATYPE_MISMATCH,
        format!("type of \"{column}\" ({here}) does not match foreign key \"{target}\" ({there})"),
    )
}

/// The target is in another database.
pub fn foreign_key_across_databases() -> Refusal {
    Refusal::new(state::FEATURE_NOT_SUPPORTED, "foreign references between databases are not allowed")
}

/// SET NULL of a column that takes no NULL; `action` in SQL.
pub fn action_needs_null(action: &str, column: &Name) -> Refusal {
    Refusal::new(
        state::INVALID_FOREIGN_KEY,
        format!(
            "cannot add a {action} cascading action on column \"{column}\" which has a NOT NULL constraint"
        ),
    )
}

/// An action that would write a computed column.
pub fn action_on_computed(column: &Name) -> Refusal {
    Refusal::new(
        state::INVALID_FOREIGN_KEY,
        format!("a foreign key of the computed column \"{column}\" cannot change it"),
    )
}

// Rows that there are.

/// Two rows have the same key.
pub fn rows_not_unique(constraint: &Name) -> Refusal {
    Refusal::new(state::UNIQUE_VIOLATION, format!("could not create unique index \"{constraint}\""))
        .with_detail("Some rows have the same key.")
}

/// A row has no value.
pub fn rows_have_null(column: &Name, table: &Name) -> Refusal {
    Refusal::new(
        state::NOT_NULL_VIOLATION,
        format!("column \"{column}\" of relation \"{table}\" contains null values"),
    )
}

/// A row is not as the constraint says.
pub fn rows_fail_check(constraint: &Name, table: &Name) -> Refusal {
    Refusal::new(
        state::CHECK_VIOLATION,
        format!("check constraint \"{constraint}\" of relation \"{table}\" is violated by some row"),
    )
}

/// A row refers to none.
pub fn rows_lack_target(constraint: &Name, table: &Name) -> Refusal {
    Refusal::new(
        state::FOREIGN_KEY_VIOLATION,
        format!("insert or update on table \"{table}\" violates foreign key constraint \"{constraint}\""),
    )
}

/// A row's value does not fit the new type.
pub fn rows_do_not_fit(table: &Name, reason: &str) -> Refusal {
    Refusal::new(state::DATA_EXCEPTION, format!("the rows of \"{table}\" do not fit the new shape: {reason}"))
}

/// The row store refuses a table for its text or size, in its own words.
pub fn table_not_taken(reason: &str) -> Refusal {
    Refusal::new(state::PROGRAM_LIMIT_EXCEEDED, format!("the row store does not take the table: {reason}"))
        .with_hint("Use fewer columns, or smaller expressions in CHECK and DEFAULT.")
}
