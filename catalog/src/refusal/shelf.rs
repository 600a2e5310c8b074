//! What RESTORE refuses where it is applied. Source: cloud-jobs spec, B.7.4 and C.8; what is about steps is ours.

use std::fmt::Display;

use crate::job::JobId;
use crate::name::{Name, RoleName};
use crate::refusal::{Refusal, state};
use crate::role::RoleOption;

/// A cluster restore, or one of its users, by who is no admin and has no system privilege RESTORE.
pub fn may_not_restore_cluster() -> Refusal {
    Refusal::new(
        state::INSUFFICIENT_PRIVILEGE,
        "only users with the admin role or the RESTORE system privilege are allowed to perform a cluster restore",
    )
}

/// A restore of databases by who has neither the system privilege RESTORE nor CREATEDB.
pub fn may_not_restore_databases() -> Refusal {
    Refusal::new(
        state::INSUFFICIENT_PRIVILEGE,
        "only users with the CREATEDB privilege can restore databases",
    )
    .with_hint("GRANT SYSTEM RESTORE TO … gives the right to restore, and no other.")
}

/// A user that is restored would belong to a role that who restores may not grant.
pub fn may_not_restore_member(role: &impl Display) -> Refusal {
    Refusal::new(
        state::INSUFFICIENT_PRIVILEGE,
        format!("RESTORE SYSTEM USERS brings members of role {role}, which who restores may not grant"),
    )
    .with_hint("Somebody with ADMIN OPTION on that role, or an admin, can restore them.")
}

/// A user that is restored would have an option, and who restores may not make users.
pub fn may_not_restore_option(name: &RoleName, option: RoleOption) -> Refusal {
    Refusal::new(
        state::INSUFFICIENT_PRIVILEGE,
        format!("RESTORE SYSTEM USERS brings user {name} with {}, which takes CREATEROLE", option.word()),
    )
    .with_hint("Somebody with CREATEROLE, or an admin, can restore them.")
}

/// A cluster restore where there is something already.
pub fn cluster_not_empty(found: &[Name]) -> Refusal {
    let names: Vec<_> = found.iter().map(Name::as_str).collect();
    Refusal::new(
        state::NOT_IN_PREREQUISITE_STATE,
        format!(
            "full cluster restore can only be run on a cluster with no tables or databases but found {} descriptors: [{}]",
            names.len(),
            names.join(" ")
        ),
    )
    .with_hint("Restore into a new cluster, or restore databases or tables of the backup.")
}

/// A step of a job that is no restore.
pub fn not_a_restore(id: JobId) -> Refusal {
    Refusal::new(state::NOT_IN_PREREQUISITE_STATE, format!("job {id} is no RESTORE"))
}

/// A step that is not the next one.
pub fn shelf_out_of_step(id: JobId, number: u64, next: u64) -> Refusal {
    Refusal::new(
        state::NOT_IN_PREREQUISITE_STATE,
        format!("step {number} of job {id} is not the next one, which is {next}"),
    )
}

/// What the backup says cannot be.
pub fn shelf_malformed(what: impl Display) -> Refusal {
    Refusal::new(state::DATA_EXCEPTION, format!("the backup cannot be restored: {what}"))
        .with_hint("Nothing of it was used. Restore an earlier one.")
}

/// More than one restore may bring.
pub fn shelf_too_large(what: &str, most: usize) -> Refusal {
    Refusal::new(state::PROGRAM_LIMIT_EXCEEDED, format!("a RESTORE cannot have more than {most} {what}"))
}

/// A job that would end while there is something on its shelf.
pub fn shelf_not_empty(id: JobId) -> Refusal {
    Refusal::new(
        state::NOT_IN_PREREQUISITE_STATE,
        format!("job {id} cannot end: what it brought is not taken away yet"),
    )
}
