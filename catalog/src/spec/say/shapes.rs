//! What ALTER TABLE, indexes and foreign keys are refused with.

use crate::refusal::Refusal;

use super::{hinted, no};

pub(in crate::spec) fn column_is_in_key(column: &str) -> Refusal {
    no("42P10", format!("column \"{column}\" is referenced by the primary key"))
}

pub(in crate::spec) fn column_is_computed_from(column: &str, computed: &str) -> Refusal {
    no("42P10", format!("column \"{column}\" is referenced by computed column \"{computed}\""))
}

pub(in crate::spec) fn column_is_read(verb: &str, column: &str, word: &str, by: &str) -> Refusal {
    hinted(
        no("2BP01", format!("cannot {verb} column \"{column}\" because {word} \"{by}\" depends on it")),
        format!("you can drop {by} instead."),
    )
}

pub(in crate::spec) fn computed_has_default(column: &str) -> Refusal {
    no("42601", format!("computed column \"{column}\" cannot also have a DEFAULT expression"))
}

pub(in crate::spec) fn computed_is_key(column: &str) -> Refusal {
    no("0A000", format!("the computed column \"{column}\" in a primary key is not supported"))
}

pub(in crate::spec) fn computed_type(column: &str) -> Refusal {
    no("0A000", format!("another type for the computed column \"{column}\" is not supported"))
}

pub(in crate::spec) fn identity_has_default(column: &str) -> Refusal {
    no("42601", format!("both default and identity specified for column \"{column}\""))
}

pub(in crate::spec) fn identity_is_a_number() -> Refusal {
    no("22023", "identity column type must be smallint, integer, or bigint".to_owned())
}

pub(in crate::spec) fn identity_twice(column: &str, table: &str) -> Refusal {
    no("55000", format!("column \"{column}\" of relation \"{table}\" is already an identity column"))
}

pub(in crate::spec) fn identity_is_missing(column: &str, table: &str) -> Refusal {
    no("55000", format!("column \"{column}\" of relation \"{table}\" is not an identity column"))
}

pub(in crate::spec) fn column_is_identity(column: &str, table: &str) -> Refusal {
    no("42601", format!("column \"{column}\" of relation \"{table}\" is an identity column"))
}

pub(in crate::spec) fn identity_keeps_default(column: &str, table: &str) -> Refusal {
    let hint = "Use ALTER TABLE ... ALTER COLUMN ... DROP IDENTITY instead.";
    hinted(column_is_identity(column, table), hint.to_owned())
}

pub(in crate::spec) fn sequence_is_a_columns(sequence: &str) -> Refusal {
    no("0A000", format!("cannot change ownership of identity sequence \"{sequence}\""))
}

pub(in crate::spec) fn computed_is_written(column: &str) -> Refusal {
    no("42830", format!("a foreign key of the computed column \"{column}\" cannot change it"))
}

pub(in crate::spec) fn retyped_among_others() -> Refusal {
    hinted(
        no(
            "0A000",
            "ALTER COLUMN TYPE is not supported in one statement with ADD, DROP or RENAME COLUMN".to_owned(),
        ),
        "Use a statement for each.".to_owned(),
    )
}

pub(in crate::spec) fn table_changed() -> Refusal {
    hinted(
        no("40001", "restart transaction: the table changed before its column was renamed".to_owned()),
        "Run the statement again.".to_owned(),
    )
}

pub(in crate::spec) fn odd_key() -> Refusal {
    no("42P16", "a key must name columns of the table, each once, and at least one".to_owned())
}

pub(in crate::spec) fn no_constraint(constraint: &str, table: &str) -> Refusal {
    no("42704", format!("constraint \"{constraint}\" of relation \"{table}\" does not exist"))
}

pub(in crate::spec) fn constraint_exists(constraint: &str) -> Refusal {
    no("42710", format!("duplicate constraint name: \"{constraint}\""))
}

pub(in crate::spec) fn second_primary_key(table: &str) -> Refusal {
    no("42P16", format!("multiple primary keys for table \"{table}\" are not allowed"))
}

pub(in crate::spec) fn primary_key_is_needed() -> Refusal {
    no("0A000", "DROP CONSTRAINT of a primary key is not supported".to_owned())
}

pub(in crate::spec) fn primary_index_is_needed() -> Refusal {
    no("0A000", "cannot drop the primary index of a table using DROP INDEX".to_owned())
}

pub(in crate::spec) fn index_of_constraint(index: &str) -> Refusal {
    hinted(
        no("2BP01", format!("index \"{index}\" is in use as unique constraint")),
        "use CASCADE if you really want to drop it.".to_owned(),
    )
}

pub(in crate::spec) fn no_comment_on_constraint(index: &str) -> Refusal {
    no("0A000", format!("a comment on \"{index}\", the index of a constraint, is not supported"))
}

pub(in crate::spec) fn no_index(index: &str) -> Refusal {
    no("42704", format!("index \"{index}\" does not exist"))
}

pub(in crate::spec) fn index_in_several(index: &str) -> Refusal {
    hinted(no("42P08", format!("index name \"{index}\" is ambiguous")), "Write table@index.".to_owned())
}

pub(in crate::spec) fn index_exists(index: &str) -> Refusal {
    no("42P07", format!("index with name \"{index}\" already exists"))
}

pub(in crate::spec) fn key_is_referred_to(what: &str, table: &str) -> Refusal {
    no("2BP01", format!("\"{what}\" is referenced by foreign key from table \"{table}\""))
}

pub(in crate::spec) fn odd_counts(here: usize, there: usize) -> Refusal {
    no(
        "42601",
        format!("{here} columns must reference exactly {here} columns in referenced table (found {there})"),
    )
}

pub(in crate::spec) fn no_such_key(table: &str) -> Refusal {
    no("42830", format!("there is no unique constraint matching given keys for referenced table {table}"))
}

pub(in crate::spec) fn key_of_other_type(column: &str, is: &str, target: &str, wanted: &str) -> Refusal {
    no("42804", format!("type of \"{column}\" ({is}) does not match foreign key \"{target}\" ({wanted})"))
}

pub(in crate::spec) fn key_across_databases() -> Refusal {
    no("0A000", "foreign references between databases are not allowed".to_owned())
}

pub(in crate::spec) fn action_needs_null(action: &str, column: &str) -> Refusal {
    no(
        "42830",
        format!(
            "cannot add a {action} cascading action on column \"{column}\" which has a NOT NULL constraint"
        ),
    )
}
