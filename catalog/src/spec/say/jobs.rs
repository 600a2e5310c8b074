//! The texts of jobs, once more.

use crate::job::JobId;
use crate::name::RoleName;
use crate::refusal::Refusal;
use crate::spec::say::{hinted, no};

pub(in crate::spec) fn no_such_job(id: JobId) -> Refusal {
    no("42704", format!("job with ID {} does not exist", id.0))
}

pub(in crate::spec) fn job_of_an_admin() -> Refusal {
    no("42501", "only admins can control jobs owned by other admins".to_owned())
}

pub(in crate::spec) fn no_authorization(user: &RoleName, id: JobId) -> Refusal {
    no("42501", format!("user {user} does not have CONTROLJOB authorization for job {}", id.0))
}

pub(in crate::spec) fn not_job_owner(id: JobId) -> Refusal {
    no("42501", format!("must be owner of job {}", id.0))
}

pub(in crate::spec) fn job_is_the_clusters(id: JobId) -> Refusal {
    no("55000", format!("job {} is the cluster's own and has no other owner", id.0))
}

pub(in crate::spec) fn job_cannot(status: &str, what: &str) -> Refusal {
    no("55000", format!("job with status {status} cannot {what}"))
}

pub(in crate::spec) fn job_changed(id: JobId) -> Refusal {
    hinted(no("55000", format!("job {} was changed meanwhile", id.0)), "Run the statement again.".to_owned())
}

pub(in crate::spec) fn not_cancelable(id: JobId) -> Refusal {
    let refusal = no("55000", format!("job {}: not cancelable", id.0));
    hinted(refusal, "PAUSE JOB stops it until RESUME JOB.".to_owned())
}

pub(in crate::spec) fn must_revert(id: JobId, error: &str) -> Refusal {
    let refusal = no(
        "55000",
        format!("job {} is paused while it is reverted, hence cannot be canceled: {error}", id.0),
    );
    hinted(refusal, "RESUME JOB lets it go on reverting.".to_owned())
}

pub(in crate::spec) fn only_the_cluster_makes(word: &str) -> Refusal {
    no("42501", format!("only the cluster itself makes jobs of type {word}"))
}

pub(in crate::spec) fn only_nodes(user: &RoleName) -> Refusal {
    no("42501", format!("user {user} is not a node, and only nodes run jobs"))
}

pub(in crate::spec) fn not_claimable(id: JobId, status: &str) -> Refusal {
    no("55000", format!("job {} with status {status} cannot be claimed", id.0))
}

pub(in crate::spec) fn claimed(id: JobId, node: u64) -> Refusal {
    no("55006", format!("job {} is claimed by node {node}", id.0))
}

pub(in crate::spec) fn job_rests(id: JobId) -> Refusal {
    no("55000", format!("job {} is not to be run yet", id.0))
}

pub(in crate::spec) fn stale_claim(id: JobId, epoch: u64, now: u64) -> Refusal {
    let refusal =
        no("55006", format!("the claim of job {} with epoch {epoch} is over: its epoch is {now}", id.0));
    hinted(refusal, "Another node works on it, or it stands still. Nothing was changed.".to_owned())
}

pub(in crate::spec) fn out_of_place(id: JobId, status: &str) -> Refusal {
    no("55000", format!("job {} with status {status} does not take this report", id.0))
}

pub(in crate::spec) fn no_claims(node: u64) -> Refusal {
    no("55000", format!("node {node} has no claims of this boot to renew"))
}
