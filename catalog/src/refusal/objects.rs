//! The texts about views, sequences, types, functions and external connections, and about what depends on what.
//!
//! Where v22.2 has two texts for one case (its two schema changers differ), the one that names the dependent stands
//! here.

use crate::name::{Name, RoleName};
use crate::refusal::{Refusal, admin_only, state};
use crate::setting::Setting;

// What depends on what.

/// Which statement a dependent object stands in the way of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// DROP.
    Drop,
    /// RENAME TO.
    Rename,
    /// SET SCHEMA.
    SetSchema,
}

impl Blocked {
    const fn words(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Rename => "rename",
            Self::SetSchema => "set schema on",
        }
    }
}

/// A view, or another kind that `kind` is the word for, names the relation.
pub fn relation_has_dependent(blocked: Blocked, relation: &Name, kind: &str, dependent: &str) -> Refusal {
    let words = blocked.words();
    depends(format!("cannot {words} relation \"{relation}\" because {kind} \"{dependent}\" depends on it"))
        .with_hint(format!("you can drop {dependent} instead."))
}

/// A default of another table uses a sequence that would go with the table, or the table itself.
pub fn table_has_dependents(table: &Name) -> Refusal {
    depends(format!("cannot drop table {table} because other objects depend on it"))
}

/// A default, view or function uses the sequence.
pub fn sequence_has_dependents(sequence: &Name) -> Refusal {
    depends(format!("cannot drop sequence {sequence} because other objects depend on it"))
}

/// Columns or arguments are of the type, or a query or body names it; `dependents` in full.
pub fn type_has_dependents(blocked: Blocked, name: &Name, dependents: &[String]) -> Refusal {
    let word = match blocked {
        Blocked::Drop => "drop",
        Blocked::Rename => "rename",
        Blocked::SetSchema => "set schema on",
    };
    depends(format!(
        "cannot {word} type \"{name}\" because other objects ([{}]) still depend on it",
        dependents.join(" ")
    ))
}

/// Views, functions or defaults call the function; `dependents` in full.
pub fn function_has_dependents(blocked: Blocked, name: &Name, dependents: &[String]) -> Refusal {
    let words = match blocked {
        Blocked::Drop => "drop function",
        Blocked::Rename => "rename function",
        Blocked::SetSchema => "set schema for function",
    };
    depends(format!(
        "cannot {words} \"{name}\" because other objects ([{}]) still depend on it",
        dependents.join(", ")
    ))
}

/// A view or function writes the name of the database or schema that is to be renamed; all names in full.
pub fn name_has_dependents(what: &str, dependent: &str, relation: &str) -> Refusal {
    depends(format!(
        "cannot rename {what} because relation \"{dependent}\" depends on relation \"{relation}\""
    ))
    .with_hint(format!("you can drop \"{dependent}\" instead"))
}

/// DROP OWNED BY: what would go is used by what would stay.
pub fn owned_has_dependents() -> Refusal {
    depends("cannot drop desired object(s) because other objects depend on them".to_owned())
}

fn depends(message: String) -> Refusal {
    Refusal::new(state::DEPENDENT_OBJECTS, message)
}

/// A new body that would need itself.
pub fn circular(kind: &str, name: &str) -> Refusal {
    Refusal::new(state::INVALID_OBJECT_DEFINITION, format!("cyclic {kind} dependency for relation {name}"))
}

/// What is referred to cannot be referred to there: a column whose type is a table, a view of a type.
pub fn misplaced_reference(name: &Name) -> Refusal {
    Refusal::new(state::WRONG_OBJECT_TYPE, format!("\"{name}\" cannot be used here"))
}

/// CASCADE where the original has none.
pub fn no_cascade(what: &str) -> Refusal {
    Refusal::new(state::FEATURE_NOT_SUPPORTED, format!("unimplemented: {what}"))
}

// DROP OWNED BY.

/// Of `root`, `admin` or `node`.
pub fn owned_by_system(role: &RoleName) -> Refusal {
    Refusal::new(
        state::DEPENDENT_OBJECTS,
        format!(
            "cannot drop objects owned by role \"{role}\" because they are required by the database system"
        ),
    )
}

/// By somebody who is not the role, not a member of it, and not an admin.
pub fn may_not_drop_owned() -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, "permission denied to drop objects")
}

/// The role holds privileges that no object in a database has.
pub fn owned_has_system_privileges(role: &RoleName) -> Refusal {
    Refusal::new(
        state::FEATURE_NOT_SUPPORTED,
        format!(
            "cannot perform drop owned by if role has synthetic privileges; {role} has entries in \
             system.privileges"
        ),
    )
    .with_hint(format!(
        "perform REVOKE SYSTEM ... for the relevant privileges {role} has in system.privileges"
    ))
}

// GRANT on relations.

/// Tables of both sorts in one list.
pub fn mixed_virtual() -> Refusal {
    Refusal::new(state::FEATURE_NOT_SUPPORTED, "cannot mix grants between virtual and non-virtual tables")
}

/// A notice: a virtual table was named with a database.
pub fn virtual_in_every_database() -> Refusal {
    notice("virtual table privileges are not database specific".to_owned())
}

/// A notice: privileges that tables have and sequences do not were left out; `words` sorted.
pub fn no_effect_on_sequences(words: &[&str]) -> Refusal {
    notice(format!("some privileges have no effect on sequences: [{}]", words.join(" ")))
}

fn notice(message: String) -> Refusal {
    Refusal::new(state::SUCCESSFUL_COMPLETION, message)
}

// Names that are taken, and schemas that are fixed.

/// The name is that of a type.
pub fn type_exists(name: &str) -> Refusal {
    Refusal::new(state::DUPLICATE_OBJECT, format!("type \"{name}\" already exists"))
}

/// CREATE FUNCTION of a signature that is taken.
pub fn function_exists(name: &Name) -> Refusal {
    Refusal::new(
        state::DUPLICATE_FUNCTION,
        format!("function \"{name}\" already exists with same argument types"),
    )
}

/// RENAME or SET SCHEMA of a function to a signature that is taken.
pub fn function_exists_in(signature: &str, schema: &Name) -> Refusal {
    Refusal::new(
        state::DUPLICATE_FUNCTION,
        format!("function {signature} already exists in schema \"{schema}\""),
    )
}

/// The name is taken.
pub fn external_connection_exists(name: &Name) -> Refusal {
    Refusal::new(
        state::DUPLICATE_OBJECT,
        format!("external connection with connection name {name} already exists"),
    )
}

/// CREATE in a schema that is computed.
pub fn schema_is_virtual(name: &Name) -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, format!("schema cannot be modified: \"{name}\""))
}

/// RENAME of `public`.
pub fn schema_keeps_name(name: &Name) -> Refusal {
    Refusal::new(state::UNDEFINED_SCHEMA, format!("cannot rename schema \"{name}\""))
}

/// RENAME or COMMENT of a schema that is computed.
pub fn schema_is_fixed(name: &Name) -> Refusal {
    Refusal::new(state::UNDEFINED_SCHEMA, format!("cannot modify schema \"{name}\""))
}

/// SET SCHEMA of or to what is computed.
pub fn virtual_schemas_stay() -> Refusal {
    Refusal::new(state::FEATURE_NOT_SUPPORTED, "cannot move objects into or out of virtual schemas")
}

/// SET SCHEMA to another database's.
pub fn database_stays() -> Refusal {
    Refusal::new(state::FEATURE_NOT_SUPPORTED, "cannot move objects between databases")
}

/// SET SCHEMA of what is in no schema.
pub fn not_in_a_schema(word: &str) -> Refusal {
    Refusal::new(state::WRONG_OBJECT_TYPE, format!("a {word} has no schema to set"))
}

/// RENAME DATABASE without CREATEDB.
pub fn may_not_rename_database() -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, "permission denied to rename database")
}

/// CREATE EXTERNAL CONNECTION without the system privilege.
pub fn may_not_create_external_connection() -> Refusal {
    Refusal::new(
        state::INSUFFICIENT_PRIVILEGE,
        "only users with the EXTERNALCONNECTION system privilege are allowed to CREATE EXTERNAL CONNECTION",
    )
}

/// What only nodes reach, or what is reached as a node, without the system privilege.
pub fn may_not_go_outside(provider: &str) -> Refusal {
    let message = format!(
        "only users with the admin role or the EXTERNALIOIMPLICITACCESS system privilege are allowed to access the \
         specified {provider} URI"
    );
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, message)
}

/// The same, where the cluster is set to ask for USAGE on each role, and the URI names none.
pub fn may_not_go_without_role(provider: &str) -> Refusal {
    admin_only(&format!("access the specified {provider} URI, which names no role"))
        .with_hint(hint_of_setting())
}

/// What else is enough for a URI.
pub fn hint_of_role(role: &Name, user: &RoleName) -> String {
    format!("USAGE on each role that it names is enough too: GRANT USAGE ON IAM ROLE '{role}' TO {user}.")
}

/// Why EXTERNALIOIMPLICITACCESS is not enough.
pub fn hint_of_setting() -> String {
    format!("The cluster setting {} asks for USAGE on each role.", Setting::IamRolesRequireUsage)
}

/// How a role comes to be.
pub fn hint_to_create(role: &Name) -> String {
    format!("An admin makes it known: CREATE IAM ROLE '{role}'.")
}

/// No such role of a cloud.
pub fn no_such_iam_role(name: &Name) -> Refusal {
    Refusal::new(state::UNDEFINED_OBJECT, format!("IAM role '{name}' does not exist"))
        .with_hint(hint_to_create(name))
}

/// The name is taken.
pub fn iam_role_exists(name: &Name) -> Refusal {
    Refusal::new(state::DUPLICATE_OBJECT, format!("IAM role '{name}' already exists"))
}

/// What is no name of a role of a cloud.
pub fn not_an_iam_role(name: &Name) -> Refusal {
    Refusal::new(state::INVALID_NAME, format!("'{name}' is not the name of an IAM role")).with_hint(
        "Write the ARN of a role, 'arn:aws:iam::123456789012:role/name', or the e-mail address of a service account.",
    )
}

/// RENAME of a role of a cloud.
pub fn iam_role_keeps_name(name: &Name) -> Refusal {
    Refusal::new(state::FEATURE_NOT_SUPPORTED, format!("cannot rename IAM role '{name}'"))
        .with_hint("Its name is what the cloud calls it. Drop it and create the other.")
}

/// COMMENT ON COLUMN.
pub fn no_such_column(column: &Name) -> Refusal {
    Refusal::new(state::UNDEFINED_COLUMN, format!("column \"{column}\" does not exist"))
}

// Shapes.

/// A list inside an object that is longer than the catalog takes; `what` in the plural.
pub fn too_many(what: &str, count: usize, most: usize) -> Refusal {
    Refusal::new(state::PROGRAM_LIMIT_EXCEEDED, format!("{count} {what}; at most {most} are allowed"))
}

/// A text that is longer than the catalog takes.
pub fn text_too_long(what: &str, bytes: usize, most: usize) -> Refusal {
    Refusal::new(
        state::PROGRAM_LIMIT_EXCEEDED,
        format!("the {what} has {bytes} bytes; at most {most} are allowed"),
    )
}

/// OR REPLACE VIEW with fewer columns.
pub fn view_loses_columns() -> Refusal {
    Refusal::new(state::INVALID_TABLE_DEFINITION, "cannot drop columns from view")
}

/// OR REPLACE VIEW with another name of a column.
pub fn view_column_renamed(before: &Name, now: &Name) -> Refusal {
    Refusal::new(
        state::INVALID_TABLE_DEFINITION,
        format!("cannot change name of view column \"{before}\" to \"{now}\""),
    )
}

/// OR REPLACE VIEW with another type of a column.
pub fn view_column_retyped(column: &Name, before: &str, now: &str) -> Refusal {
    Refusal::new(
        state::INVALID_TABLE_DEFINITION,
        format!("cannot change type of view column \"{column}\" from {before} to {now}"),
    )
}

/// OR REPLACE FUNCTION with another type of its result.
pub fn function_returns_other(name: &Name) -> Refusal {
    Refusal::new(state::INVALID_FUNCTION_DEFINITION, "cannot change return type of existing function")
        .with_hint(format!("Use DROP FUNCTION {name} first."))
}

/// The same argument name twice.
pub fn duplicate_argument(name: &Name) -> Refusal {
    Refusal::new(state::INVALID_FUNCTION_DEFINITION, format!("parameter name \"{name}\" used more than once"))
}

/// The same label twice in CREATE TYPE.
pub fn duplicate_label(label: &str) -> Refusal {
    Refusal::new(
        state::INVALID_OBJECT_DEFINITION,
        format!("enum definition contains duplicate value \"{label}\""),
    )
}

/// ADD VALUE of a label that there is.
pub fn label_exists(label: &str) -> Refusal {
    Refusal::new(state::DUPLICATE_OBJECT, format!("enum value \"{label}\" already exists"))
}

/// RENAME VALUE to a label that there is: not quoted, as in the original.
pub fn renamed_label_exists(label: &str) -> Refusal {
    Refusal::new(state::DUPLICATE_OBJECT, format!("enum value {label} already exists"))
}

/// ADD VALUE beside a label that there is not.
pub fn no_such_neighbour(label: &str) -> Refusal {
    Refusal::new(state::INVALID_PARAMETER_VALUE, format!("\"{label}\" is not an existing enum value"))
}

/// RENAME VALUE of a label that there is not: not quoted, as in the original.
pub fn no_such_label(label: &str) -> Refusal {
    Refusal::new(state::INVALID_PARAMETER_VALUE, format!("{label} is not an existing enum value"))
}

/// Rows hold the positions of labels, and none is left where the new label should be.
pub fn no_position_left(label: &str) -> Refusal {
    Refusal::new(
        state::PROGRAM_LIMIT_EXCEEDED,
        format!("no position is left for enum value \"{label}\" beside that one"),
    )
    .with_hint("Put it in another place.")
}

/// Labels of a type that is not sorted by position.
pub fn labels_unsorted() -> Refusal {
    Refusal::new(state::INVALID_OBJECT_DEFINITION, "the labels of an enum type must be sorted by position")
}

/// INCREMENT BY 0.
pub fn increment_zero() -> Refusal {
    Refusal::new(state::INVALID_PARAMETER_VALUE, "INCREMENT must not be zero")
}

/// Bounds of a sequence the wrong way round.
pub fn sequence_bounds(min: i64, max: i64) -> Refusal {
    Refusal::new(
        state::INVALID_PARAMETER_VALUE,
        format!("MINVALUE ({min}) must be less than MAXVALUE ({max})"),
    )
}

/// A START above MAXVALUE.
pub fn start_above(start: i64, max: i64) -> Refusal {
    Refusal::new(
        state::INVALID_PARAMETER_VALUE,
        format!("START value ({start}) cannot be greater than MAXVALUE ({max})"),
    )
}

/// A START below MINVALUE.
pub fn start_below(start: i64, min: i64) -> Refusal {
    Refusal::new(
        state::INVALID_PARAMETER_VALUE,
        format!("START value ({start}) cannot be less than MINVALUE ({min})"),
    )
}
