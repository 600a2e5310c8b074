//! Jobs: made and controlled by clients, claimed and reported by nodes. Source: cloud-jobs spec, B.7.6, E.3, E.4.

use std::sync::Arc;

use crate::command::{LIST_MAX, RoleSpec};
use crate::id::{PrincipalId, ScheduleId, Timestamp};
use crate::job::{
    Alteration, CHECKPOINT_BYTES_MAX, COLLECT_MAX, Claim, ClaimLease, Control, DETAILS_BYTES_MAX,
    ExecutionError, FRACTION_PPM_MAX, FinalError, JOBS_MAX, Job, JobId, JobKind, JobStatus, JobToken, NewJob,
    Opaque, Progress, Report, Requested, STATUS_BYTES_MAX, TEXT_BYTES_MAX, cut, reported, request,
    retry_delay_ms,
};
use crate::privilege::Privilege;
use crate::protection::{Protection, ProtectionId};
use crate::record::RecordKey;
use crate::refusal::{self, Refusal};
use crate::require::NEEDS_MAX;
use crate::role::RoleOption;
use crate::setting::{Setting, SettingValue};
use crate::state::{State, Work};

impl State {
    /// The job of this id.
    pub fn job(&self, id: JobId) -> Option<&Arc<Job>> {
        self.jobs.get(&id)
    }

    /// All of them, sorted by id.
    pub fn jobs(&self) -> impl DoubleEndedIterator<Item = (JobId, &Arc<Job>)> {
        self.jobs.iter().map(|(id, job)| (*id, job))
    }

    /// Whether the jobs, and who has claimed them, are the same in `other`, a state before or after it. Cost: as of
    /// [`Self::is_unchanged_from`].
    pub fn has_jobs_of(&self, other: &Self) -> bool {
        self.jobs.ptr_eq(&other.jobs) && self.claim_leases.ptr_eq(&other.claim_leases)
    }

    /// The job that was made with this token. Cost: linear in the jobs; the newest are looked at first.
    pub fn job_of(&self, token: JobToken) -> Option<(JobId, &Arc<Job>)> {
        self.jobs().rev().find(|(_, job)| job.asked.token == token)
    }

    /// Whether a job or a schedule was made with this token.
    pub(super) fn is_token_taken(&self, token: JobToken) -> bool {
        self.job_of(token).is_some() || self.schedule_of(token).is_some()
    }

    /// The keys of everything about jobs, sorted.
    pub(super) fn job_keys(&self) -> impl Iterator<Item = RecordKey> {
        let jobs = self.jobs.keys().map(|id| RecordKey::Job(*id));
        let leases = self.claim_leases.keys().map(|node| RecordKey::ClaimLease { node: *node });
        std::iter::once(RecordKey::NextJob).chain(jobs).chain(leases)
    }

    /// The id of the next job.
    pub fn next_job(&self) -> JobId {
        self.next_job
    }

    /// Until when a node holds its claims.
    pub fn claim_lease(&self, node: u64) -> Option<ClaimLease> {
        self.claim_leases.get(&node).copied()
    }

    /// Until when the claim of a job holds; none: nobody has it, or its node runs anew.
    pub fn claimed_until(&self, job: &Job) -> Option<Timestamp> {
        let claim = job.claim?;
        let lease = self.claim_leases.get(&claim.node)?;
        (lease.boot == claim.boot).then_some(lease.until)
    }

    /// That `principal` may pause, resume, cancel and see a job; if not, what the client is told. An admin may; others only
    /// jobs that no admin owns: whoever has CONTROLJOB, whoever is or belongs to the owner, and of a changefeed whoever has
    /// CHANGEFEED on all its tables.
    pub fn may_control_job(&self, principal: PrincipalId, id: JobId) -> Result<(), Refusal> {
        let job = self.job(id).ok_or_else(|| refusal::no_such_job(id))?;
        if principal == PrincipalId::NODE || self.index.is_admin(principal) {
            return Ok(());
        }
        if job.owner == PrincipalId::NODE || self.index.is_admin(job.owner) {
            return Err(refusal::job_of_an_admin());
        }
        let tables = &job.asked.tables;
        let feeds_all = job.asked.kind == JobKind::Changefeed
            && !tables.is_empty()
            && tables.iter().all(|table| self.index.holds(principal, *table, Privilege::Changefeed));
        let may = self.has_option(principal, RoleOption::ControlJob)
            || self.index.acts_as(principal, job.owner)
            || feeds_all;
        may.then_some(()).ok_or_else(|| refusal::may_not_control_job(&self.principal_name(principal), id))
    }

    /// That the owner of a job still may do what it was made for; if not, why the job has to stand still.
    pub fn may_run_job(&self, id: JobId) -> Result<(), Refusal> {
        let job = self.job(id).ok_or_else(|| refusal::no_such_job(id))?;
        if job.owner != PrincipalId::NODE && self.principal(job.owner).is_none() {
            return Err(refusal::job_owner_gone(id, &job.owner_name, job.owner));
        }
        job.asked.requirement.needs.iter().try_for_each(|need| self.check(job.owner, need))
    }

    /// A setting that is a duration.
    pub fn setting_ms(&self, setting: Setting) -> u64 {
        match self.setting_value(setting) {
            SettingValue::Milliseconds(ms) => ms,
            SettingValue::Bool(_) | SettingValue::Int(_) | SettingValue::Bytes(_) | SettingValue::Text(_) => {
                0
            }
        }
    }
}

impl Work<'_> {
    pub(super) fn create_job(&mut self, asked: &NewJob) -> Result<(), Refusal> {
        self.make_job(asked, None)
    }

    /// Makes one for who acts, and for the schedule that asked for it if one did.
    pub(super) fn make_job(&mut self, asked: &NewJob, schedule: Option<ScheduleId>) -> Result<(), Refusal> {
        let by_node = self.actor.current == PrincipalId::NODE;
        if asked.kind.is_automatic() && !by_node {
            return Err(refusal::job_kind_is_the_clusters(asked.kind.word()));
        }
        for need in &asked.requirement.needs {
            self.state.check(self.actor.current, need)?;
        }
        if self.state.is_token_taken(asked.token) {
            return Ok(());
        }
        check_size(asked)?;
        if self.state.jobs.len() >= JOBS_MAX {
            return Err(refusal::too_many_jobs(JOBS_MAX));
        }
        let id = self.new_job_id()?;
        let mut asked = NewJob { schedule, ..asked.clone() };
        if let Some(protects) = asked.protects.take() {
            let protection =
                Protection { since: protects.since, tables: protects.tables, holder: format!("job {id}") };
            self.keep_history(protection_of(asked.token), &protection)?;
        }
        let job = Job {
            asked,
            owner: self.actor.current,
            owner_name: self.user(),
            status: JobStatus::Pending,
            created: self.time,
            started: None,
            finished: None,
            modified: self.time,
            epoch: 0,
            claim: None,
            progress: Progress::default(),
            error: None,
            execution_errors: Vec::new(),
            pause_reason: None,
            num_runs: 0,
            last_run: None,
            next_run: None,
            retries: 0,
            credential_waits: 0,
            waiting_since: None,
        };
        self.put_job(id, Some(Arc::new(job)));
        Ok(())
    }

    /// What nobody works on is paused at once: there is nobody who would have to stop.
    pub(super) fn control_job(&mut self, id: JobId, control: &Control) -> Result<(), Refusal> {
        self.state.may_control_job(self.actor.current, id)?;
        let mut job = self.job_to_change(id)?;
        let came = request(control, job.status, job.error.is_some(), job.asked.cancelable);
        let status = match came {
            Requested::Now(JobStatus::PauseRequested) if !self.is_claimed(&job) => JobStatus::Paused,
            Requested::Now(status) => status,
            Requested::Already => return Ok(()),
            Requested::Illegal => return Err(refusal::job_status(control, job.status)),
            Requested::NotCancelable => return Err(refusal::job_not_cancelable(id)),
            Requested::MustRevert => {
                let error = job.error.as_ref().map_or("", FinalError::text);
                return Err(refusal::job_must_revert(id, error));
            }
        };
        let changed = Arc::make_mut(&mut job);
        changed.status = status;
        changed.next_run = None;
        match control {
            Control::Pause { reason } => {
                changed.pause_reason =
                    reason.as_deref().map(|reason| cut(reason, STATUS_BYTES_MAX).to_owned());
            }
            Control::Resume => {
                changed.pause_reason = None;
                changed.retries = 0;
                changed.waiting_since = None;
            }
            Control::Cancel => changed.pause_reason = None,
            Control::Alter(to) => self.alter_job(id, changed, to)?,
        }
        if status == JobStatus::Paused {
            changed.claim = None;
        }
        self.put_changed(id, job);
        Ok(())
    }

    /// Who asks needs what the job is to need.
    fn alter_job(&mut self, id: JobId, job: &mut Job, to: &Alteration) -> Result<(), Refusal> {
        if job.modified != to.as_of {
            return Err(refusal::job_changed(id));
        }
        for need in &to.requirement.needs {
            self.state.check(self.actor.current, need)?;
        }
        let asked = &mut job.asked;
        asked.description.clone_from(&to.description);
        asked.details = to.details.clone();
        asked.requirement = to.requirement.clone();
        asked.tables.clone_from(&to.tables);
        check_size(asked)?;
        let protection = protection_of(asked.token);
        if let Some(kept) = self.state.protection(protection).cloned() {
            self.keep_history(protection, &Protection { tables: Some(to.tables.clone()), ..kept })?;
        }
        Ok(())
    }

    /// Who is no admin gives away only what is its own, and only to whom it could act as.
    pub(super) fn alter_job_owner(&mut self, id: JobId, owner: &RoleSpec) -> Result<(), Refusal> {
        let mut job = self.job_to_change(id)?;
        let caller = self.actor.current;
        if !self.is_admin() {
            if job.owner == PrincipalId::NODE || self.state.index.is_admin(job.owner) {
                return Err(refusal::job_of_an_admin());
            }
            if !self.state.index.acts_as(caller, job.owner) {
                return Err(refusal::not_job_owner(id));
            }
        }
        if job.owner == PrincipalId::NODE {
            return Err(refusal::job_of_the_cluster(id));
        }
        let owner = self.state.resolve_role(self.actor, owner)?;
        let owner_name = self.state.principal_name(owner);
        if !self.is_admin() && !self.state.index.acts_as(caller, owner) {
            return Err(refusal::not_member(&owner_name));
        }
        if job.owner != owner {
            let changed = Arc::make_mut(&mut job);
            changed.owner = owner;
            changed.owner_name = owner_name;
            self.put_changed(id, job);
        }
        Ok(())
    }

    /// Of a job that nobody has: nobody claimed it, the lease of who did is over, or its node runs anew. What the node held
    /// when it ran before is free from then on.
    pub(super) fn claim_job(&mut self, id: JobId, node: u64, boot: u64) -> Result<(), Refusal> {
        self.require_node()?;
        let mut job = self.job_to_change(id)?;
        if !job.status.is_claimable() {
            return Err(refusal::job_not_claimable(id, job.status));
        }
        let anew = |claim: Claim| claim.node == node && claim.boot != boot;
        if let Some(claim) = job.claim.filter(|claim| self.is_claimed(&job) && !anew(*claim)) {
            return Err(refusal::job_claimed(id, claim.node));
        }
        if !job.status.is_requested() && job.next_run.is_some_and(|at| at > self.time) {
            return Err(refusal::job_rests(id));
        }
        self.renew_lease(node, boot);
        let now = self.time;
        let changed = Arc::make_mut(&mut job);
        changed.epoch += 1;
        changed.claim = Some(Claim { node, boot });
        if !changed.status.is_requested() {
            changed.num_runs = changed.num_runs.saturating_add(1);
            changed.last_run = Some(now);
        }
        if changed.status == JobStatus::Pending {
            changed.status = JobStatus::Running;
        }
        changed.started = changed.started.or(Some(now));
        changed.next_run = None;
        self.put_changed(id, job);
        Ok(())
    }

    pub(super) fn renew_claims(&mut self, node: u64, boot: u64) -> Result<(), Refusal> {
        self.require_node()?;
        match self.state.claim_lease(node) {
            Some(lease) if lease.boot == boot => {
                self.renew_lease(node, boot);
                Ok(())
            }
            Some(_) | None => Err(refusal::no_claims(node)),
        }
    }

    /// J1: a report changes a job only under the newest epoch of its claim. That the lease is over changes nothing as long as
    /// nobody else has claimed the job.
    pub(super) fn report_job(&mut self, id: JobId, epoch: u64, report: &Report) -> Result<(), Refusal> {
        self.require_node()?;
        let mut job = self.job_to_change(id)?;
        if job.claim.is_none() || job.epoch != epoch {
            return Err(refusal::stale_claim(id, epoch, job.epoch));
        }
        let Some(status) = reported(report, job.status, job.error.as_ref()) else {
            return Err(refusal::report_out_of_place(id, job.status));
        };
        // What nobody takes away any more would stay for ever.
        if status.is_terminal() && status != JobStatus::RevertFailed && self.state.shelf(id).is_some() {
            return Err(refusal::shelf_not_empty(id));
        }
        let changed = Arc::make_mut(&mut job);
        changed.status = status;
        self.take_report(changed, report)?;
        if status.is_terminal() {
            self.end(id, changed);
        }
        self.put_changed(id, job);
        Ok(())
    }

    fn take_report(&mut self, job: &mut Job, report: &Report) -> Result<(), Refusal> {
        let now = self.time;
        match report {
            Report::Progress { .. } => return self.take_progress(job, report),
            Report::WaitsForCredentials { running_status } => {
                running_status_is(job, running_status);
                if job.waiting_since.is_none() {
                    job.waiting_since = Some(now);
                    job.credential_waits = job.credential_waits.saturating_add(1);
                }
            }
            Report::Retry { error, delay_ms } => {
                job.retries = job.retries.saturating_add(1);
                self.keep_error(job, error);
                running_status_is(job, error);
                let most = self.state.setting_ms(Setting::JobsRetryMost);
                let usual =
                    retry_delay_ms(self.state.setting_ms(Setting::JobsRetryInitial), most, job.retries);
                let_go(job, Some(now.later_ms(delay_ms.unwrap_or(usual).min(most))));
            }
            Report::Rest { delay_ms } => {
                job.retries = 0;
                let_go(job, Some(now.later_ms(*delay_ms)));
            }
            Report::HandOver => let_go(job, None),
            Report::Paused { reason } => {
                if let Some(reason) = reason {
                    job.pause_reason = Some(cut(reason, STATUS_BYTES_MAX).to_owned());
                }
                job.waiting_since = None;
                let_go(job, None);
            }
            Report::Failed { error } => {
                job.error = Some(FinalError::Failed(cut(error, STATUS_BYTES_MAX).to_owned()));
                job.retries = 0;
                job.waiting_since = None;
            }
            Report::Canceling => {
                job.error = Some(FinalError::Canceled);
                job.retries = 0;
                job.waiting_since = None;
            }
            Report::RevertFailed { error } => {
                let first = job.error.as_ref().map_or("", FinalError::text);
                let text = format!("{first}; what it did could not be taken back: {error}");
                job.error = Some(FinalError::Failed(cut(&text, STATUS_BYTES_MAX).to_owned()));
            }
            Report::Succeeded => {
                if job.progress.fraction_ppm.is_some() || job.progress.high_water.is_none() {
                    job.progress.fraction_ppm = Some(FRACTION_PPM_MAX);
                }
            }
            Report::Reverted => {}
        }
        Ok(())
    }

    fn take_progress(&mut self, job: &mut Job, report: &Report) -> Result<(), Refusal> {
        let Report::Progress { fraction_ppm, high_water, running_status, checkpoint, protect_since } = report
        else {
            return Ok(());
        };
        if fraction_ppm.is_some() || high_water.is_some() || checkpoint.is_some() {
            job.retries = 0;
        }
        job.waiting_since = None;
        let progress = &mut job.progress;
        progress.fraction_ppm = fraction_ppm.map(|ppm| ppm.min(FRACTION_PPM_MAX)).max(progress.fraction_ppm);
        progress.high_water = progress.high_water.max(*high_water);
        if let Some(text) = running_status {
            running_status_is(job, text);
        }
        if let Some(checkpoint) = checkpoint {
            if checkpoint.expose().len() > CHECKPOINT_BYTES_MAX {
                return Err(refusal::job_too_large("checkpoint", CHECKPOINT_BYTES_MAX));
            }
            job.progress.checkpoint = checkpoint.clone();
        }
        let protection = protection_of(job.asked.token);
        if let (Some(since), Some(kept)) = (protect_since, self.state.protection(protection).cloned())
            && *since > kept.since
        {
            self.put_protection(protection, Some(Protection { since: *since, ..kept }));
        }
        Ok(())
    }

    /// Nothing of an ended job holds anything up any more. What it was to do is kept of a feed only, which is shown by it:
    /// that of the others has the keys of what they wrote and read.
    pub(super) fn end(&mut self, id: JobId, job: &mut Job) {
        job.finished = Some(self.time);
        job.waiting_since = None;
        job.progress.checkpoint = Opaque::default();
        job.progress.running_status = String::new();
        if job.asked.kind != JobKind::Changefeed {
            job.asked.details = Opaque::default();
        }
        let_go(job, None);
        self.note_end_of_run(id, job);
        let protection = protection_of(job.asked.token);
        if self.state.protection(protection).is_some() {
            self.put_protection(protection, None);
        }
    }

    /// Appends an error to those that were tried again after; the oldest go.
    fn keep_error(&self, job: &mut Job, text: &str) {
        let most = match self.state.setting_value(Setting::JobsErrorsMax) {
            SettingValue::Int(most) => usize::try_from(most).unwrap_or(0),
            _ => 0,
        };
        let bytes = match self.state.setting_value(Setting::JobsErrorBytesMax) {
            SettingValue::Bytes(bytes) => usize::try_from(bytes).unwrap_or(usize::MAX),
            _ => 0,
        };
        let text = cut(text, bytes).to_owned();
        job.execution_errors.push(ExecutionError { at: self.time, run: job.num_runs, text });
        let over = job.execution_errors.len().saturating_sub(most);
        job.execution_errors.drain(..over);
    }

    /// At most so many at once; and the leases that are over and that no claim names.
    pub(super) fn collect_jobs(&mut self) -> Result<(), Refusal> {
        self.require_node()?;
        let kept_ms = self.state.setting_ms(Setting::JobsRetention);
        let over = |id: &JobId, job: &Job| {
            job.finished.is_some_and(|at| at.later_ms(kept_ms) < self.time) && self.state.shelf(*id).is_none()
        };
        let ended: Vec<_> =
            self.state.jobs().filter(|(id, job)| over(id, job)).map(|(id, _)| id).take(COLLECT_MAX).collect();
        for id in ended {
            self.put_job(id, None);
        }
        let named =
            |node| self.state.jobs().any(|(_, job)| job.claim.is_some_and(|claim| claim.node == node));
        let leases: Vec<_> = self
            .state
            .claim_leases
            .iter()
            .filter(|(node, lease)| lease.until < self.time && !named(**node))
            .map(|(node, _)| *node)
            .collect();
        for node in leases {
            self.put_claim_lease(node, None);
        }
        Ok(())
    }

    pub(super) fn require_node(&self) -> Result<(), Refusal> {
        if self.actor.current == PrincipalId::NODE {
            return Ok(());
        }
        Err(refusal::only_nodes_run_jobs(&self.user()))
    }

    pub(super) fn job_to_change(&self, id: JobId) -> Result<Arc<Job>, Refusal> {
        self.state.job(id).cloned().ok_or_else(|| refusal::no_such_job(id))
    }

    pub(super) fn put_changed(&mut self, id: JobId, mut job: Arc<Job>) {
        Arc::make_mut(&mut job).modified = self.time;
        self.put_job(id, Some(job));
    }

    fn is_claimed(&self, job: &Job) -> bool {
        self.state.claimed_until(job).is_some_and(|until| self.time < until)
    }

    fn renew_lease(&mut self, node: u64, boot: u64) {
        let until = self.time.later_ms(self.state.setting_ms(Setting::JobsClaimLease));
        self.put_claim_lease(node, Some(ClaimLease { boot, until }));
    }
}

/// The protection of the job of this token.
pub const fn protection_of(token: JobToken) -> ProtectionId {
    ProtectionId(token.0)
}

fn running_status_is(job: &mut Job, text: &str) {
    cut(text, STATUS_BYTES_MAX).clone_into(&mut job.progress.running_status);
}

fn let_go(job: &mut Job, next_run: Option<Timestamp>) {
    job.claim = None;
    job.next_run = next_run;
}

fn check_size(asked: &NewJob) -> Result<(), Refusal> {
    for (what, length, most) in [
        ("description", asked.description.len(), TEXT_BYTES_MAX),
        ("statement", asked.statement.len(), TEXT_BYTES_MAX),
        ("details", asked.details.expose().len(), DETAILS_BYTES_MAX),
    ] {
        if length > most {
            return Err(refusal::job_too_large(what, most));
        }
    }
    if asked.tables.len() > LIST_MAX || asked.requirement.needs.len() > NEEDS_MAX {
        return Err(refusal::protection_too_large(&format!("more than {LIST_MAX} tables")));
    }
    Ok(())
}
