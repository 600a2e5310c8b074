//! The texts of RESTORE, once more.

use crate::id::PrincipalId;
use crate::job::JobId;
use crate::name::{Name, RoleName};
use crate::refusal::Refusal;
use crate::spec::say::{hinted, no};

pub(in crate::spec) fn may_not_restore_cluster() -> Refusal {
    let text = "only users with the admin role or the RESTORE system privilege are allowed to perform a cluster restore";
    no("42501", text.to_owned())
}

pub(in crate::spec) fn may_not_restore_databases() -> Refusal {
    let refusal = no("42501", "only users with the CREATEDB privilege can restore databases".to_owned());
    hinted(refusal, "GRANT SYSTEM RESTORE TO … gives the right to restore, and no other.".to_owned())
}

pub(in crate::spec) fn may_not_restore_member(role: &RoleName) -> Refusal {
    let text =
        format!("RESTORE SYSTEM USERS brings members of role {role}, which who restores may not grant");
    let hint = "Somebody with ADMIN OPTION on that role, or an admin, can restore them.";
    hinted(no("42501", text), hint.to_owned())
}

pub(in crate::spec) fn may_not_restore_option(name: &RoleName, option: &str) -> Refusal {
    let text = format!("RESTORE SYSTEM USERS brings user {name} with {option}, which takes CREATEROLE");
    hinted(no("42501", text), "Somebody with CREATEROLE, or an admin, can restore them.".to_owned())
}

pub(in crate::spec) fn cluster_is_not_empty(found: &[Name]) -> Refusal {
    let mut names = String::new();
    for (at, name) in found.iter().enumerate() {
        let blank = if at == 0 { "" } else { " " };
        names = format!("{names}{blank}{name}");
    }
    let text = format!(
        "full cluster restore can only be run on a cluster with no tables or databases but found {} descriptors: [{names}]",
        found.len()
    );
    let hint = "Restore into a new cluster, or restore databases or tables of the backup.";
    hinted(no("55000", text), hint.to_owned())
}

pub(in crate::spec) fn not_a_restore(id: JobId) -> Refusal {
    no("55000", format!("job {} is no RESTORE", id.0))
}

pub(in crate::spec) fn out_of_step(id: JobId, number: u64, next: u64) -> Refusal {
    no("55000", format!("step {number} of job {} is not the next one, which is {next}", id.0))
}

pub(in crate::spec) fn backup_is_bad(what: &str) -> Refusal {
    let refusal = no("22000", format!("the backup cannot be restored: {what}"));
    hinted(refusal, "Nothing of it was used. Restore an earlier one.".to_owned())
}

pub(in crate::spec) fn shelf_is_full(id: JobId) -> Refusal {
    no("55000", format!("job {} cannot end: what it brought is not taken away yet", id.0))
}

pub(in crate::spec) fn owner_is_gone(id: JobId, owner: &RoleName, principal: PrincipalId) -> Refusal {
    let text = format!("the owner of job {}, {owner}, does not exist any more (principal {principal})", id.0);
    let hint = "ALTER JOB … OWNER TO gives it another, and RESUME JOB lets it go on.";
    hinted(no("42501", text), hint.to_owned())
}
