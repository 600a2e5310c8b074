//! What jobs refuse. Source: cloud-jobs spec, B.7.6 and E.3; the texts of claims and reports are ours.

use crate::id::PrincipalId;
use crate::job::{Control, JobId, JobStatus};
use crate::name::RoleName;
use crate::refusal::{Refusal, state};

/// No job has this id, or it was collected.
pub fn no_such_job(id: JobId) -> Refusal {
    Refusal::new(state::UNDEFINED_OBJECT, format!("job with ID {id} does not exist"))
}

/// An admin's job, asked for by somebody who is none.
pub fn job_of_an_admin() -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, "only admins can control jobs owned by other admins")
}

/// Neither admin, nor CONTROLJOB, nor its owner, nor CHANGEFEED on all that it is about.
pub fn may_not_control_job(user: &RoleName, id: JobId) -> Refusal {
    Refusal::new(
        state::INSUFFICIENT_PRIVILEGE,
        format!("user {user} does not have CONTROLJOB authorization for job {id}"),
    )
}

/// ALTER JOB … OWNER TO by somebody who neither is nor belongs to its owner.
pub fn not_job_owner(id: JobId) -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, format!("must be owner of job {id}"))
}

/// ALTER JOB … OWNER TO of one of the cluster's own.
pub fn job_of_the_cluster(id: JobId) -> Refusal {
    Refusal::new(
        state::NOT_IN_PREREQUISITE_STATE,
        format!("job {id} is the cluster's own and has no other owner"),
    )
}

/// PAUSE, RESUME or CANCEL of a job that has no such future.
pub fn job_status(control: &Control, status: JobStatus) -> Refusal {
    let cannot = match control {
        Control::Pause { .. } => "be requested to be paused",
        Control::Resume => "be resumed",
        Control::Cancel => "be requested to be canceled",
        Control::Alter(_) => "be altered: it is not paused",
    };
    Refusal::new(state::NOT_IN_PREREQUISITE_STATE, format!("job with status {status} cannot {cannot}"))
}

/// ALTER of a job that changed since whoever asks has seen it.
pub fn job_changed(id: JobId) -> Refusal {
    Refusal::new(state::NOT_IN_PREREQUISITE_STATE, format!("job {id} was changed meanwhile"))
        .with_hint("Run the statement again.")
}

/// CANCEL of a job that must go on.
pub fn job_not_cancelable(id: JobId) -> Refusal {
    Refusal::new(state::NOT_IN_PREREQUISITE_STATE, format!("job {id}: not cancelable"))
        .with_hint("PAUSE JOB stops it until RESUME JOB.")
}

/// CANCEL of a job that is paused while what it did is taken back.
pub fn job_must_revert(id: JobId, error: &str) -> Refusal {
    Refusal::new(
        state::NOT_IN_PREREQUISITE_STATE,
        format!("job {id} is paused while it is reverted, hence cannot be canceled: {error}"),
    )
    .with_hint("RESUME JOB lets it go on reverting.")
}

/// A job of a kind that only the cluster makes.
pub fn job_kind_is_the_clusters(word: &str) -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, format!("only the cluster itself makes jobs of type {word}"))
}

/// One job more than are kept.
pub fn too_many_jobs(most: usize) -> Refusal {
    Refusal::new(state::PROGRAM_LIMIT_EXCEEDED, format!("the cluster has {most} jobs, and can have no more"))
        .with_hint("Set jobs.retention_time lower: then those that ended are taken away sooner.")
}

/// A record that says too much.
pub fn job_too_large(what: &str, most: usize) -> Refusal {
    Refusal::new(
        state::PROGRAM_LIMIT_EXCEEDED,
        format!("the {what} of a job cannot have more than {most} bytes"),
    )
}

/// What only nodes say, said by somebody else.
pub fn only_nodes_run_jobs(user: &RoleName) -> Refusal {
    Refusal::new(state::INSUFFICIENT_PRIVILEGE, format!("user {user} is not a node, and only nodes run jobs"))
}

/// A claim of a job that nobody can work on now.
pub fn job_not_claimable(id: JobId, status: JobStatus) -> Refusal {
    Refusal::new(state::NOT_IN_PREREQUISITE_STATE, format!("job {id} with status {status} cannot be claimed"))
}

/// A claim of a job that a node has.
pub fn job_claimed(id: JobId, node: u64) -> Refusal {
    Refusal::new(state::OBJECT_IN_USE, format!("job {id} is claimed by node {node}"))
}

/// A claim before its time.
pub fn job_rests(id: JobId) -> Refusal {
    Refusal::new(state::NOT_IN_PREREQUISITE_STATE, format!("job {id} is not to be run yet"))
}

/// A report by who has the claim no more, or under a status that does not take it.
pub fn stale_claim(id: JobId, epoch: u64, now: u64) -> Refusal {
    Refusal::new(
        state::OBJECT_IN_USE,
        format!("the claim of job {id} with epoch {epoch} is over: its epoch is {now}"),
    )
    .with_hint("Another node works on it, or it stands still. Nothing was changed.")
}

/// A report that the status of the job does not take.
pub fn report_out_of_place(id: JobId, status: JobStatus) -> Refusal {
    Refusal::new(
        state::NOT_IN_PREREQUISITE_STATE,
        format!("job {id} with status {status} does not take this report"),
    )
}

/// A renewal by who has no lease.
pub fn no_claims(node: u64) -> Refusal {
    Refusal::new(state::NOT_IN_PREREQUISITE_STATE, format!("node {node} has no claims of this boot to renew"))
}

/// An owner that is not there any more.
pub fn job_owner_gone(id: JobId, owner: &RoleName, principal: PrincipalId) -> Refusal {
    Refusal::new(
        state::INSUFFICIENT_PRIVILEGE,
        format!("the owner of job {id}, {owner}, does not exist any more (principal {principal})"),
    )
    .with_hint("ALTER JOB … OWNER TO gives it another, and RESUME JOB lets it go on.")
}
