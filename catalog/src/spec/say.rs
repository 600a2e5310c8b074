//! Every text, once more. Where the spec gives the words, they are those; the rest are CockroachDB's own.

use crate::defaults::DefaultClass;
use crate::id::{ObjectId, PrincipalId};
use crate::name::{Name, RoleName, RoleNameFault};
use crate::privilege::{ObjectKind, Privilege};
use crate::refusal::{Refusal, SqlState};
use crate::setting::Row;

mod jobs;
mod schedules;
mod shapes;
mod shelf;

pub(super) use self::jobs::*;
pub(super) use self::schedules::*;
pub(super) use self::shapes::*;
pub(super) use self::shelf::*;

fn no(code: &str, message: String) -> Refusal {
    Refusal { code: SqlState::new(code), message, detail: None, hint: None }
}

fn hinted(refusal: Refusal, hint: String) -> Refusal {
    Refusal { hint: Some(hint), ..refusal }
}

// Permission.

pub(super) fn no_privilege(user: &RoleName, privilege: Privilege, kind: ObjectKind, name: &str) -> Refusal {
    if kind == ObjectKind::Cluster {
        return no("42501", format!("user {user} does not have {privilege} system privilege"));
    }
    let kind = relation_word(kind);
    no("42501", format!("user {user} does not have {privilege} privilege on {kind} {name}"))
}

/// `words`: the privileges, any of which would do, with `or` between them.
pub(super) fn no_privilege_of(user: &RoleName, words: &str, kind: ObjectKind, name: &str) -> Refusal {
    let kind = relation_word(kind);
    no("42501", format!("user {user} does not have {words} privilege on {kind} {name}"))
}

pub(super) fn no_privileges(user: &RoleName, kind: ObjectKind, name: &str) -> Refusal {
    if kind == ObjectKind::Cluster {
        return no("42501", format!("user {user} has no system privileges"));
    }
    no("42501", format!("user {user} has no privileges on {} {name}", relation_word(kind)))
}

pub(super) fn no_option(user: &RoleName, word: &str) -> Refusal {
    no("42501", format!("user {user} does not have {word} privilege"))
}

pub(super) fn no_login(user: &RoleName) -> Refusal {
    no("28000", format!("{user} does not have login privilege"))
}

pub(super) fn admin_only(action: &str) -> Refusal {
    no("42501", format!("only users with the admin role are allowed to {action}"))
}

pub(super) fn must_own(kind: ObjectKind, name: &str) -> Refusal {
    no("42501", format!("must be owner of {}", owned(kind, name)))
}

pub(super) fn must_be_member(role: &RoleName) -> Refusal {
    no("42501", format!("must be member of role \"{role}\""))
}

fn owned(kind: ObjectKind, name: &str) -> String {
    match kind {
        ObjectKind::Schema => format!("schema \"{name}\""),
        other => format!("{} {name}", plain_word(other)),
    }
}

/// In what is missing, whatever can be selected from is a relation.
fn relation_word(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Table | ObjectKind::Sequence | ObjectKind::VirtualTable => "relation",
        other => plain_word(other),
    }
}

fn plain_word(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Cluster => "global",
        ObjectKind::Database => "database",
        ObjectKind::Schema => "schema",
        ObjectKind::Table => "table",
        ObjectKind::Sequence => "sequence",
        ObjectKind::Type => "type",
        ObjectKind::Function => "function",
        ObjectKind::ExternalConnection => "external_connection",
        ObjectKind::VirtualTable => "virtual_table",
        ObjectKind::IamRole => "iam_role",
    }
}

// Principals.

pub(super) fn actor_is_gone(id: PrincipalId) -> Refusal {
    hinted(
        no("42704", format!("role with id {id} was concurrently dropped")),
        "Log in again as another role.".to_owned(),
    )
}

pub(super) fn unknown_role(name: &RoleName) -> Refusal {
    no("42704", format!("role/user \"{name}\" does not exist"))
}

pub(super) fn unknown_role_that_is_an_option(name: &RoleName) -> Refusal {
    let word = name.as_str().to_uppercase();
    hinted(
        unknown_role(name),
        format!("{word} is a role option, try using ALTER ROLE to change a role's options."),
    )
}

pub(super) fn bad_role_name(name: &RoleName, fault: RoleNameFault) -> Refusal {
    let what = match fault {
        RoleNameFault::Reserved => return no("42939", format!("role name \"{name}\" is reserved")),
        RoleNameFault::Invalid => "invalid",
        RoleNameFault::TooLong => "too long",
        RoleNameFault::Empty => "empty",
    };
    hinted(
        no("42602", format!("\"{name}\": username is {what}")),
        "Usernames are case insensitive, must start with a letter, digit or underscore, may contain letters, \
         digits, dashes, periods, or underscores, and must not exceed 63 characters."
            .to_owned(),
    )
}

pub(super) fn special_as_new_name(word: &str) -> Refusal {
    no("42939", format!("{word} cannot be used as a role name here"))
}

pub(super) fn special_in_drop_role() -> Refusal {
    no("22023", "cannot use special role specifier in DROP ROLE".to_owned())
}

pub(super) fn role_exists(name: &RoleName) -> Refusal {
    no("42710", format!("a role/user named {name} already exists"))
}

pub(super) fn redundant_options() -> Refusal {
    no("42601", "redundant role options".to_owned())
}

pub(super) fn conflicting_options() -> Refusal {
    no("42601", "conflicting role options".to_owned())
}

pub(super) fn admin_is_not_edited() -> Refusal {
    no("42501", "cannot edit admin role".to_owned())
}

pub(super) fn superusers_drop_superusers() -> Refusal {
    no("42501", "must be superuser to drop superusers".to_owned())
}

pub(super) fn grants_still_exist(names: &[RoleName], on: &[String]) -> Refusal {
    let (s, list) = match names {
        [one] => ("", one.to_string()),
        several => ("s", several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    };
    no("2BP01", format!("cannot drop role{s}/user{s} {list}: grants still exist on {}", on.join(", ")))
}

pub(super) fn objects_depend(name: &RoleName, lines: &[String], hints: &[String]) -> Refusal {
    let mut text = format!("role {name} cannot be dropped because some objects depend on it");
    for line in lines {
        text.push('\n');
        text.push_str(line);
    }
    if hints.is_empty() { no("2BP01", text) } else { hinted(no("2BP01", text), hints.join("\n")) }
}

/// What default privileges of a class are on, in those lines.
pub(super) fn new_things(class: DefaultClass) -> &'static str {
    match class {
        DefaultClass::Tables => "relations",
        // The original leaves the word out.
        DefaultClass::Functions => "functions",
        DefaultClass::Schemas => "schemas",
        DefaultClass::Sequences => "sequences",
        DefaultClass::Types => "types",
    }
}

pub(super) fn special_role(name: &RoleName) -> Refusal {
    match name.as_str() {
        "root" => no("22023", "cannot drop special user root".to_owned()),
        other => no("22023", format!("cannot drop special role {other}")),
    }
}

// Memberships.

pub(super) fn not_role_admin(user: &RoleName, role: &RoleName) -> Refusal {
    if role.as_str() == "admin" {
        return no("42501", format!("{user} is not a role admin for role admin"));
    }
    no("42501", format!("{user} is not a superuser or role admin for role {role}"))
}

pub(super) fn self_member(role: &RoleName) -> Refusal {
    no("0LP01", format!("{role} cannot be a member of itself"))
}

pub(super) fn cycle(member: &RoleName, role: &RoleName) -> Refusal {
    no("0LP01", format!("making {member} a member of {role} would create a cycle"))
}

pub(super) fn root_stays_admin() -> Refusal {
    no("55006", "role/user root cannot be removed from role admin or lose the ADMIN OPTION".to_owned())
}

// Grants.

pub(super) fn invalid_privilege(privilege: Privilege, kind: ObjectKind) -> Refusal {
    no("0LP01", format!("invalid privilege type {privilege} for {}", plain_word(kind)))
}

pub(super) fn no_options_for_public() -> Refusal {
    no("0LP01", "grant options cannot be granted to \"public\" role".to_owned())
}

pub(super) fn system_object(verb: &str) -> Refusal {
    no("42501", format!("cannot {verb} on system object"))
}

pub(super) fn no_grant_option(code: &str, user: &RoleName, list: &[Privilege]) -> Refusal {
    let words: Vec<_> = list.iter().map(ToString::to_string).collect();
    let which = match words.as_slice() {
        [one] => one.clone(),
        several => format!("one or more of {}", several.join(", ")),
    };
    no(code, format!("user {user} missing WITH GRANT OPTION privilege on {which}"))
}

pub(super) fn superuser_must_have_all(user: &str, kind: ObjectKind, name: &str) -> Refusal {
    no("0LP01", format!("user {user} must have exactly ALL privileges on {} \"{name}\"", plain_word(kind)))
}

pub(super) fn superuser_has_nothing(user: &str, kind: ObjectKind, name: &str) -> Refusal {
    no("0LP01", format!("user {user} does not have privileges over {} \"{name}\"", plain_word(kind)))
}

pub(super) fn no_effect_on_sequences(list: &[Privilege]) -> Refusal {
    let mut words: Vec<_> = list.iter().map(|privilege| privilege.word()).collect();
    words.sort_unstable();
    no("00000", format!("some privileges have no effect on sequences: [{}]", words.join(" ")))
}

pub(super) fn virtual_and_real_tables() -> Refusal {
    no("0A000", "cannot mix grants between virtual and non-virtual tables".to_owned())
}

pub(super) fn virtual_tables_are_everywhere() -> Refusal {
    no("00000", "virtual table privileges are not database specific".to_owned())
}

pub(super) fn no_objects_matched() -> Refusal {
    no("42704", "no objects matched".to_owned())
}

// Objects.

pub(super) fn no_database() -> Refusal {
    hinted(
        no("42602", "no database specified".to_owned()),
        "Choose one with USE, or write the database before the name.".to_owned(),
    )
}

pub(super) fn no_schema_selected() -> Refusal {
    hinted(
        no("3F000", "no schema has been selected to create in".to_owned()),
        "Write the schema before the name, or set search_path.".to_owned(),
    )
}

pub(super) fn unknown_database(name: &str) -> Refusal {
    no("3D000", format!("database \"{name}\" does not exist"))
}

pub(super) fn unknown_schema(name: &str) -> Refusal {
    no("3F000", format!("unknown schema \"{name}\""))
}

pub(super) fn unknown_relation(name: &str) -> Refusal {
    no("42P01", format!("relation \"{name}\" does not exist"))
}

pub(super) fn may_not_create_database() -> Refusal {
    no("42501", "permission denied to create database".to_owned())
}

pub(super) fn database_exists(name: &str) -> Refusal {
    no("42P04", format!("database \"{name}\" already exists"))
}

pub(super) fn schema_exists(name: &str) -> Refusal {
    no("42P06", format!("schema \"{name}\" already exists"))
}

pub(super) fn schema_name_is_reserved(name: &str) -> Refusal {
    let detail = "The prefix \"pg_\" is reserved for system schemas.".to_owned();
    Refusal { detail: Some(detail), ..no("42939", format!("unacceptable schema name \"{name}\"")) }
}

pub(super) fn relation_exists(name: &str) -> Refusal {
    no("42P07", format!("relation \"{name}\" already exists"))
}

/// The notice of IF NOT EXISTS: the refusal that it stands for, and `, skipping`.
pub(super) fn skipping(refusal: &Refusal) -> Refusal {
    no("00000", format!("{}, skipping", refusal.message))
}

pub(super) fn database_not_empty(name: &str) -> Refusal {
    no("2BP01", format!("database \"{name}\" is not empty and RESTRICT was specified"))
}

pub(super) fn schema_not_empty(name: &str) -> Refusal {
    no("2BP01", format!("schema \"{name}\" is not empty and CASCADE was not specified"))
}

pub(super) fn schema_is_not_dropped(name: &str) -> Refusal {
    no("3F000", format!("cannot drop schema \"{name}\""))
}

pub(super) fn may_not_drop_schema(name: &str) -> Refusal {
    no("42501", format!("permission denied to drop schema \"{name}\""))
}

pub(super) fn may_not_reassign(hint: &str) -> Refusal {
    hinted(no("42501", "permission denied to reassign objects".to_owned()), hint.to_owned())
}

pub(super) fn unknown_type(name: &str) -> Refusal {
    no("42704", format!("type \"{name}\" does not exist"))
}

pub(super) fn unknown_function(signature: &str) -> Refusal {
    no("42883", format!("unknown function: {signature}"))
}

pub(super) fn ambiguous_function(name: &str) -> Refusal {
    hinted(
        no("42725", format!("function name \"{name}\" is not unique")),
        "Write the types of its arguments: f(INT8, TEXT).".to_owned(),
    )
}

pub(super) fn unknown_external_connection(name: &str) -> Refusal {
    no(
        "42704",
        format!("failed to resolve External Connection: external connection with name {name} does not exist"),
    )
}

pub(super) fn unknown_column(name: &str) -> Refusal {
    no("42703", format!("column \"{name}\" does not exist"))
}

pub(super) fn not_such_a_relation(name: &str, word: &str) -> Refusal {
    no("42809", format!("\"{name}\" is not a {word}"))
}

pub(super) fn protection_too_large(what: &str) -> Refusal {
    no("54000", format!("a protection of the change history cannot have {what}"))
}

pub(super) fn too_many_protections() -> Refusal {
    let hint = "crdb_internal.kv_protected_ts_records lists them with who holds them.".to_owned();
    hinted(no("54000", "the change history has 1000 protections, and can have no more".to_owned()), hint)
}

pub(super) fn object_is_gone(id: ObjectId) -> Refusal {
    hinted(
        no("42704", format!("object {id} was concurrently dropped")),
        "Run the statement again.".to_owned(),
    )
}

pub(super) fn type_exists(name: &str) -> Refusal {
    no("42710", format!("type \"{name}\" already exists"))
}

pub(super) fn function_exists(name: &str) -> Refusal {
    no("42723", format!("function \"{name}\" already exists with same argument types"))
}

pub(super) fn external_connection_exists(name: &str) -> Refusal {
    no("42710", format!("external connection with connection name {name} already exists"))
}

pub(super) fn may_not_create_external_connection() -> Refusal {
    admin_like("the EXTERNALCONNECTION system privilege", "CREATE EXTERNAL CONNECTION")
}

pub(super) fn unknown_iam_role(name: &str) -> Refusal {
    hinted(no("42704", format!("IAM role '{name}' does not exist")), to_create(name))
}

fn to_create(name: &str) -> String {
    format!("An admin makes it known: CREATE IAM ROLE '{name}'.")
}

pub(super) fn iam_role_exists(name: &str) -> Refusal {
    no("42710", format!("IAM role '{name}' already exists"))
}

pub(super) fn iam_role_is_not_renamed(name: &str) -> Refusal {
    hinted(
        no("0A000", format!("cannot rename IAM role '{name}'")),
        "Its name is what the cloud calls it. Drop it and create the other.".to_owned(),
    )
}

pub(super) fn may_not_go_outside(provider: &str) -> Refusal {
    admin_like(
        "the admin role or the EXTERNALIOIMPLICITACCESS system privilege",
        &format!("access the specified {provider} URI"),
    )
}

pub(super) fn may_not_go_outside_but_by(provider: &str, role: &Name, user: &RoleName) -> Refusal {
    let grant = format!("GRANT USAGE ON IAM ROLE '{role}' TO {user}");
    hinted(may_not_go_outside(provider), format!("USAGE on each role that it names is enough too: {grant}."))
}

const EACH_ROLE: &str =
    "The cluster setting cloud.iam_roles.require_usage.enabled asks for USAGE on each role.";

pub(super) fn may_not_go_without_role(provider: &str) -> Refusal {
    let action = format!("access the specified {provider} URI, which names no role");
    hinted(admin_only(&action), EACH_ROLE.to_owned())
}

pub(super) fn lacks_iam_role(user: &RoleName, role: &Name, known: bool) -> Refusal {
    let hint = if known { EACH_ROLE.to_owned() } else { to_create(role.as_str()) };
    hinted(no_privilege(user, Privilege::Usage, ObjectKind::IamRole, role.as_str()), hint)
}

pub(super) fn feeds(but: &str, user: &RoleName, word: &str, what: &str) -> Refusal {
    no(
        "42501",
        format!(
            "user {user}{but} requires the {word} privilege on all target tables to be able to run {what} changefeed"
        ),
    )
}

pub(super) fn feeds_connections_only() -> Refusal {
    let told = "the CHANGEFEED privilege on all tables can only be used with external connection sinks. \
                see cluster setting changefeed.permissions.require_external_connection_sink.enabled";
    hinted(
        no("42501", told.to_owned()),
        "Name an external connection: INTO 'external://…'. Whoever made it was asked for what its URI needs."
            .to_owned(),
    )
}

pub(super) fn may_not_set(setting: &str) -> Refusal {
    admin_like("the MODIFYCLUSTERSETTING privilege", &format!("set cluster setting '{setting}'"))
}

fn admin_like(what: &str, action: &str) -> Refusal {
    no("42501", format!("only users with {what} are allowed to {action}"))
}

pub(super) fn not_edited(what: &str) -> Refusal {
    no("42501", format!("cannot edit {what}"))
}

pub(super) fn not_a_value(row: &Row, value: &str) -> Refusal {
    hinted(
        no("22023", format!("invalid value for cluster setting '{}': \"{value}\"", row.name)),
        format!("It takes {}.", row.setting_type),
    )
}

pub(super) fn label_twice(label: &str) -> Refusal {
    no("42P17", format!("enum definition contains duplicate value \"{label}\""))
}

pub(super) fn label_exists(label: &str) -> Refusal {
    no("42710", format!("enum value \"{label}\" already exists"))
}

pub(super) fn no_such_neighbour(label: &str) -> Refusal {
    no("22023", format!("\"{label}\" is not an existing enum value"))
}

/// RENAME VALUE does not quote, ADD VALUE does.
pub(super) fn no_such_label(label: &str) -> Refusal {
    no("22023", format!("{label} is not an existing enum value"))
}

pub(super) fn renamed_label_exists(label: &str) -> Refusal {
    no("42710", format!("enum value {label} already exists"))
}

pub(super) fn no_increment() -> Refusal {
    no("22023", "INCREMENT must not be zero".to_owned())
}

pub(super) fn min_above_max(min: i64, max: i64) -> Refusal {
    no("22023", format!("MINVALUE ({min}) must be less than MAXVALUE ({max})"))
}

pub(super) fn start_above_max(start: i64, max: i64) -> Refusal {
    no("22023", format!("START value ({start}) cannot be greater than MAXVALUE ({max})"))
}

pub(super) fn start_below_min(start: i64, min: i64) -> Refusal {
    no("22023", format!("START value ({start}) cannot be less than MINVALUE ({min})"))
}

pub(super) fn other_return_type(name: &str) -> Refusal {
    hinted(
        no("42P13", "cannot change return type of existing function".to_owned()),
        format!("Use DROP FUNCTION {name} first."),
    )
}

pub(super) fn view_in_itself(name: &str) -> Refusal {
    no("42P17", format!("cyclic view dependency for relation {name}"))
}

pub(super) fn function_in_itself(name: &str) -> Refusal {
    no("42P17", format!("cyclic function dependency for relation {name}"))
}

pub(super) fn relation_is_needed(verb: &str, name: &str, word: &str, by: &str) -> Refusal {
    hinted(
        no("2BP01", format!("cannot {verb} relation \"{name}\" because {word} \"{by}\" depends on it")),
        format!("you can drop {by} instead."),
    )
}

pub(super) fn table_is_needed(name: &str) -> Refusal {
    no("2BP01", format!("cannot drop table {name} because other objects depend on it"))
}

pub(super) fn sequence_is_needed(name: &str) -> Refusal {
    no("2BP01", format!("cannot drop sequence {name} because other objects depend on it"))
}

pub(super) fn type_is_needed(name: &str, by: &[String]) -> Refusal {
    let by = by.join(" ");
    no("2BP01", format!("cannot drop type \"{name}\" because other objects ([{by}]) still depend on it"))
}

pub(super) fn function_is_needed(verb: &str, name: &str, by: &[String]) -> Refusal {
    let by = by.join(", ");
    no("2BP01", format!("cannot {verb} \"{name}\" because other objects ([{by}]) still depend on it"))
}

pub(super) fn name_is_needed(what: &str, by: &str, name: &str) -> Refusal {
    hinted(
        no("2BP01", format!("cannot rename {what} because relation \"{by}\" depends on relation \"{name}\"")),
        format!("you can drop \"{by}\" instead"),
    )
}

pub(super) fn cannot_be_used_here(name: &str) -> Refusal {
    no("42809", format!("\"{name}\" cannot be used here"))
}

pub(super) fn columns_are_lost() -> Refusal {
    no("42P16", "cannot drop columns from view".to_owned())
}

pub(super) fn column_is_renamed(before: &str, now: &str) -> Refusal {
    no("42P16", format!("cannot change name of view column \"{before}\" to \"{now}\""))
}

pub(super) fn column_is_retyped(name: &str, before: &str, now: &str) -> Refusal {
    no("42P16", format!("cannot change type of view column \"{name}\" from {before} to {now}"))
}

pub(super) fn schema_is_not_modified(name: &str) -> Refusal {
    no("42501", format!("schema cannot be modified: \"{name}\""))
}

pub(super) fn virtual_schema_is_fixed(name: &str) -> Refusal {
    no("3F000", format!("cannot modify schema \"{name}\""))
}

pub(super) fn virtual_schemas_stay() -> Refusal {
    no("0A000", "cannot move objects into or out of virtual schemas".to_owned())
}

pub(super) fn function_exists_in(signature: &str, schema: &str) -> Refusal {
    no("42723", format!("function {signature} already exists in schema \"{schema}\""))
}

pub(super) fn no_cascade_of_types() -> Refusal {
    no("0A000", "unimplemented: DROP TYPE CASCADE is not yet supported".to_owned())
}

pub(super) fn no_cascade_of_functions() -> Refusal {
    no("0A000", "unimplemented: drop function cascade not supported".to_owned())
}

pub(super) fn may_not_rename_database() -> Refusal {
    no("42501", "permission denied to rename database".to_owned())
}

pub(super) fn schema_is_not_renamed(name: &str) -> Refusal {
    no("3F000", format!("cannot rename schema \"{name}\""))
}

pub(super) fn other_database() -> Refusal {
    no("0A000", "cannot move objects between databases".to_owned())
}

// DROP OWNED.

pub(super) fn systems_objects_stay(role: &str) -> Refusal {
    no(
        "2BP01",
        format!(
            "cannot drop objects owned by role \"{role}\" because they are required by the database system"
        ),
    )
}

pub(super) fn may_not_drop_owned() -> Refusal {
    no("42501", "permission denied to drop objects".to_owned())
}

pub(super) fn has_system_privileges(role: &RoleName) -> Refusal {
    hinted(
        no(
            "0A000",
            format!(
                "cannot perform drop owned by if role has synthetic privileges; {role} has entries in \
                 system.privileges"
            ),
        ),
        format!("perform REVOKE SYSTEM ... for the relevant privileges {role} has in system.privileges"),
    )
}

pub(super) fn no_cascade_of_owned() -> Refusal {
    no("0A000", "unimplemented: DROP OWNED BY CASCADE is not yet supported".to_owned())
}

pub(super) fn others_depend() -> Refusal {
    no("2BP01", "cannot drop desired object(s) because other objects depend on them".to_owned())
}

// Default privileges.

pub(super) fn must_be_a_member(role: &RoleName) -> Refusal {
    no("42501", format!("must be a member of {role}"))
}

pub(super) fn schemas_in_schema() -> Refusal {
    no("0LP01", "cannot use IN SCHEMA clause when using GRANT/REVOKE ON SCHEMAS".to_owned())
}

pub(super) fn not_a_physical_schema(name: &str) -> Refusal {
    no("3F000", format!("{name} is not a physical schema"))
}

pub(super) fn no_defaults_in_system() -> Refusal {
    no("42501", "cannot alter default privileges of the system database".to_owned())
}

// What tables are made of.

pub(super) fn column_exists(column: &str, table: &str) -> Refusal {
    no("42701", format!("column \"{column}\" of relation \"{table}\" already exists"))
}
