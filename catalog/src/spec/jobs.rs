//! Jobs, as the cloud-jobs spec says it in B.7.6, E.3 and E.4.

use std::sync::Arc;

use crate::command::{Actor, RoleSpec};
use crate::id::{ObjectId, PrincipalId, ScheduleId, Timestamp};
use crate::job::{
    Alteration, Claim, ClaimLease, Control, ExecutionError, FinalError, Job, JobId, JobKind, JobStatus,
    NewJob, Opaque, Progress, Report,
};
use crate::privilege::Privilege;
use crate::protection::{Protection, ProtectionId};
use crate::refusal::Refusal;
use crate::role::RoleOption;
use crate::setting::{Setting, SettingValue};
use crate::spec::{Model, Told, say};

impl Model {
    pub(super) fn create_job(&mut self, actor: Actor, asked: &NewJob) -> Result<Told, Refusal> {
        self.make_job(actor, asked, None)
    }

    pub(super) fn make_job(
        &mut self,
        actor: Actor,
        asked: &NewJob,
        schedule: Option<ScheduleId>,
    ) -> Result<Told, Refusal> {
        if asked.kind == JobKind::AutoCollectJobs && actor.current != PrincipalId::NODE {
            return Err(say::only_the_cluster_makes("AUTO COLLECT JOBS"));
        }
        for need in &asked.requirement.needs {
            self.check(actor.current, need)?;
        }
        if self.is_known(asked.token) {
            return Ok(Told::default());
        }
        let id = JobId(self.next_job);
        self.next_job += 1;
        let mut asked = asked.clone();
        asked.schedule = schedule;
        if let Some(protects) = asked.protects.take() {
            let protection = Protection {
                since: protects.since,
                tables: protects.tables,
                holder: format!("job {}", id.0),
            };
            let node = Actor::of(PrincipalId::NODE);
            self.protect_history(node, ProtectionId(asked.token.0), &protection)?;
        }
        let job = Job {
            asked,
            owner: actor.current,
            owner_name: self.principal_name(actor.current),
            status: JobStatus::Pending,
            created: self.now,
            started: None,
            finished: None,
            modified: self.now,
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
        self.jobs.push((id, job));
        Ok(Told::default())
    }

    pub(super) fn control_job(
        &mut self,
        actor: Actor,
        id: JobId,
        control: &Control,
    ) -> Result<Told, Refusal> {
        let mut job = self.find_job(id)?;
        self.may_control(actor.current, id, &job)?;
        let status = match control {
            Control::Alter(to) => {
                if job.status.word() != "paused" || job.error.is_some() {
                    return Err(say::job_cannot(job.status.word(), "be altered: it is not paused"));
                }
                return self.alter_job(actor, id, job, to);
            }
            Control::Pause { .. } => match job.status.word() {
                "paused" | "pause-requested" => return Ok(Told::default()),
                "pending" | "running" | "reverting" if self.is_held(&job) => JobStatus::PauseRequested,
                "pending" | "running" | "reverting" => JobStatus::Paused,
                other => return Err(say::job_cannot(other, "be requested to be paused")),
            },
            Control::Resume => match job.status.word() {
                "running" | "reverting" => return Ok(Told::default()),
                "paused" if job.error.is_none() => JobStatus::Running,
                "paused" => JobStatus::Reverting,
                other => return Err(say::job_cannot(other, "be resumed")),
            },
            Control::Cancel => match job.status.word() {
                _ if !job.asked.cancelable => return Err(say::not_cancelable(id)),
                "cancel-requested" | "canceled" => return Ok(Told::default()),
                "paused" if job.error.is_some() => {
                    return Err(say::must_revert(id, &error_text(job.error.as_ref())));
                }
                "pending" | "running" | "paused" => JobStatus::CancelRequested,
                other => return Err(say::job_cannot(other, "be requested to be canceled")),
            },
        };
        job.status = status;
        job.next_run = None;
        job.pause_reason = None;
        match control {
            Control::Pause { reason } => job.pause_reason = reason.clone(),
            Control::Resume => {
                job.retries = 0;
                job.waiting_since = None;
            }
            Control::Cancel | Control::Alter(_) => {}
        }
        if status == JobStatus::Paused {
            job.claim = None;
        }
        self.replace_job(id, job)
    }

    fn alter_job(&mut self, actor: Actor, id: JobId, mut job: Job, to: &Alteration) -> Result<Told, Refusal> {
        if job.modified != to.as_of {
            return Err(say::job_changed(id));
        }
        for need in &to.requirement.needs {
            self.check(actor.current, need)?;
        }
        let held = self.protections.iter().find(|(known, _)| known.0 == job.asked.token.0).cloned();
        if let Some((protection, kept)) = held {
            let node = Actor::of(PrincipalId::NODE);
            let kept = Protection { tables: Some(to.tables.clone()), ..kept };
            self.protect_history(node, protection, &kept)?;
        }
        job.next_run = None;
        job.claim = None;
        job.asked.description = to.description.clone();
        job.asked.details = to.details.clone();
        job.asked.requirement = to.requirement.clone();
        job.asked.tables = to.tables.clone();
        self.replace_job(id, job)
    }

    pub(super) fn alter_job_owner(
        &mut self,
        actor: Actor,
        id: JobId,
        owner: &RoleSpec,
    ) -> Result<Told, Refusal> {
        let mut job = self.find_job(id)?;
        let admin = self.is_admin(actor.current);
        if !admin && self.is_admin(job.owner) {
            return Err(say::job_of_an_admin());
        }
        if !admin && !self.acts_as(actor.current).contains(&job.owner) {
            return Err(say::not_job_owner(id));
        }
        if job.owner == PrincipalId::NODE {
            return Err(say::job_is_the_clusters(id));
        }
        let owner = self.principal(actor, owner)?;
        if !admin && !self.acts_as(actor.current).contains(&owner) {
            return Err(say::must_be_member(&self.principal_name(owner)));
        }
        if job.owner == owner {
            return Ok(Told::default());
        }
        job.owner = owner;
        job.owner_name = self.principal_name(owner);
        self.replace_job(id, job)
    }

    pub(super) fn claim_job(
        &mut self,
        actor: Actor,
        id: JobId,
        node: u64,
        boot: u64,
    ) -> Result<Told, Refusal> {
        self.only_nodes(actor)?;
        let mut job = self.find_job(id)?;
        let asked_to_stop = ["pause-requested", "cancel-requested"].contains(&job.status.word());
        if !asked_to_stop && !["pending", "running", "reverting"].contains(&job.status.word()) {
            return Err(say::not_claimable(id, job.status.word()));
        }
        if self.is_held(&job)
            && let Some(claim) = job.claim
            && (claim.node != node || claim.boot == boot)
        {
            return Err(say::claimed(id, claim.node));
        }
        if job.next_run.is_some_and(|next| next > self.now) && !asked_to_stop {
            return Err(say::job_rests(id));
        }
        self.lease(node, boot);
        job.epoch += 1;
        job.claim = Some(Claim { node, boot });
        job.next_run = None;
        if job.started.is_none() {
            job.started = Some(self.now);
        }
        if !asked_to_stop {
            job.num_runs += 1;
            job.last_run = Some(self.now);
        }
        if job.status == JobStatus::Pending {
            job.status = JobStatus::Running;
        }
        self.replace_job(id, job)
    }

    pub(super) fn renew_claims(&mut self, actor: Actor, node: u64, boot: u64) -> Result<Told, Refusal> {
        self.only_nodes(actor)?;
        if !self.claim_leases.iter().any(|(known, lease)| *known == node && lease.boot == boot) {
            return Err(say::no_claims(node));
        }
        self.lease(node, boot);
        Ok(Told::default())
    }

    pub(super) fn report_job(
        &mut self,
        actor: Actor,
        id: JobId,
        epoch: u64,
        report: &Report,
    ) -> Result<Told, Refusal> {
        self.only_nodes(actor)?;
        let mut job = self.find_job(id)?;
        if job.claim.is_none() || job.epoch != epoch {
            return Err(say::stale_claim(id, epoch, job.epoch));
        }
        if !fits(&job, report) {
            return Err(say::out_of_place(id, job.status.word()));
        }
        let ends = matches!(report, Report::Succeeded | Report::Reverted);
        if ends && self.shelves.iter().any(|shelf| shelf.job == id) {
            return Err(say::shelf_is_full(id));
        }
        match report {
            Report::Progress { .. } => self.come_forward(&mut job, report),
            Report::Reverted | Report::RevertFailed { .. } | Report::Succeeded => {
                self.come_to_end(id, &mut job, report);
            }
            _ => self.stop(&mut job, report),
        }
        self.replace_job(id, job)
    }

    fn come_forward(&mut self, job: &mut Job, report: &Report) {
        let Report::Progress { fraction_ppm, high_water, running_status, checkpoint, protect_since } = report
        else {
            return;
        };
        let forward = fraction_ppm.is_some() || high_water.is_some() || checkpoint.is_some();
        if forward {
            job.retries = 0;
        }
        job.waiting_since = None;
        if let Some(ppm) = fraction_ppm {
            let before = job.progress.fraction_ppm.unwrap_or(0);
            job.progress.fraction_ppm = Some(before.max((*ppm).min(1_000_000)));
        }
        if job.progress.high_water < *high_water {
            job.progress.high_water = *high_water;
        }
        if let Some(text) = running_status {
            job.progress.running_status = text.clone();
        }
        if let Some(bytes) = checkpoint {
            job.progress.checkpoint = bytes.clone();
        }
        for (known, protection) in &mut self.protections {
            if known.0 == job.asked.token.0 {
                protection.since = protection.since.max(protect_since.unwrap_or(protection.since));
            }
        }
    }

    fn stop(&self, job: &mut Job, report: &Report) {
        match report {
            Report::WaitsForCredentials { running_status } => {
                job.progress.running_status = running_status.clone();
                if job.waiting_since.is_none() {
                    job.credential_waits += 1;
                    job.waiting_since = Some(self.now);
                }
            }
            Report::Retry { error, delay_ms } => {
                job.retries += 1;
                job.progress.running_status = error.clone();
                self.remember_error(job, error);
                let most = self.duration(Setting::JobsRetryMost);
                let mut wait = self.duration(Setting::JobsRetryInitial);
                for _ in 1..job.retries {
                    wait = (wait * 2).min(most);
                }
                job.next_run = Some(self.after(delay_ms.unwrap_or(wait).min(most)));
                job.claim = None;
            }
            Report::Rest { delay_ms } => {
                job.retries = 0;
                job.next_run = Some(self.after(*delay_ms));
                job.claim = None;
            }
            Report::HandOver => {
                job.claim = None;
                job.next_run = None;
            }
            Report::Paused { reason } => {
                job.status = JobStatus::Paused;
                job.waiting_since = None;
                job.claim = None;
                job.next_run = None;
                if reason.is_some() {
                    job.pause_reason = reason.clone();
                }
            }
            Report::Failed { error } => self.begin_to_revert(job, FinalError::Failed(error.clone())),
            Report::Canceling => self.begin_to_revert(job, FinalError::Canceled),
            other => unreachable!("{other:?} stops nothing"),
        }
    }

    fn come_to_end(&mut self, id: JobId, job: &mut Job, report: &Report) {
        match report {
            Report::Reverted => {
                let canceled = job.error == Some(FinalError::Canceled);
                self.finish(id, job, if canceled { JobStatus::Canceled } else { JobStatus::Failed });
            }
            Report::RevertFailed { error } => {
                let first = error_text(job.error.as_ref());
                let text = format!("{first}; what it did could not be taken back: {error}");
                job.error = Some(FinalError::Failed(text));
                self.finish(id, job, JobStatus::RevertFailed);
            }
            Report::Succeeded => {
                let endless = job.progress.fraction_ppm.is_none() && job.progress.high_water.is_some();
                if !endless {
                    job.progress.fraction_ppm = Some(1_000_000);
                }
                self.finish(id, job, JobStatus::Succeeded);
            }
            other => unreachable!("{other:?} is no end"),
        }
    }

    /// A hundred at most are not reached by any history.
    pub(super) fn collect_jobs(&mut self, actor: Actor) -> Result<Told, Refusal> {
        self.only_nodes(actor)?;
        let kept = self.duration(Setting::JobsRetention) * 1_000_000;
        let now = self.now;
        let shelves: Vec<_> = self.shelves.iter().map(|shelf| shelf.job).collect();
        self.jobs.retain(|(id, job)| match job.finished {
            Some(_) if shelves.contains(id) => true,
            Some(at) => Timestamp { nanos: at.nanos + kept, ..at } >= now,
            None => true,
        });
        let holders: Vec<_> =
            self.jobs.iter().filter_map(|(_, job)| job.claim).map(|claim| claim.node).collect();
        self.claim_leases.retain(|(node, lease)| lease.until >= now || holders.contains(node));
        Ok(Told::default())
    }

    fn begin_to_revert(&self, job: &mut Job, error: FinalError) {
        job.status = JobStatus::Reverting;
        job.error = Some(error);
        job.retries = 0;
        job.waiting_since = None;
    }

    pub(super) fn finish(&mut self, id: JobId, job: &mut Job, status: JobStatus) {
        job.status = status;
        job.finished = Some(self.now);
        job.claim = None;
        job.next_run = None;
        job.waiting_since = None;
        job.progress.running_status = String::new();
        job.progress.checkpoint = Opaque::default();
        // A feed is shown by what it was to do; of the others that has secrets.
        if job.asked.kind != JobKind::Changefeed {
            job.asked.details = Opaque::default();
        }
        self.run_ended(id, job);
        self.protections.retain(|(known, _)| known.0 != job.asked.token.0);
    }

    fn remember_error(&self, job: &mut Job, text: &str) {
        let most = match Setting::JobsErrorsMax.row().setting_type.value(self.value(Setting::JobsErrorsMax)) {
            Some(SettingValue::Int(most)) => most,
            _ => 0,
        };
        let bytes = Setting::JobsErrorBytesMax.row().setting_type;
        let short = match bytes.value(self.value(Setting::JobsErrorBytesMax)) {
            Some(SettingValue::Bytes(bytes)) => {
                text.chars().take(usize::try_from(bytes).unwrap_or(usize::MAX)).collect()
            }
            _ => String::new(),
        };
        job.execution_errors.push(ExecutionError { at: self.now, run: job.num_runs, text: short });
        while i64::try_from(job.execution_errors.len()).is_ok_and(|count| count > most) {
            job.execution_errors.remove(0);
        }
    }

    /// B.7.6.
    fn may_control(&self, user: PrincipalId, id: JobId, job: &Job) -> Result<(), Refusal> {
        if self.is_admin(user) {
            return Ok(());
        }
        if self.is_admin(job.owner) {
            return Err(say::job_of_an_admin());
        }
        if self.has_option(user, RoleOption::ControlJob) || self.acts_as(user).contains(&job.owner) {
            return Ok(());
        }
        let may_feed = |table: &ObjectId| self.holds(user, *table, Privilege::Changefeed);
        let tables = &job.asked.tables;
        if job.asked.kind == JobKind::Changefeed && !tables.is_empty() && tables.iter().all(may_feed) {
            return Ok(());
        }
        Err(say::no_authorization(&self.principal_name(user), id))
    }

    pub(super) fn only_nodes(&self, actor: Actor) -> Result<(), Refusal> {
        if actor.current != PrincipalId::NODE {
            return Err(say::only_nodes(&self.principal_name(actor.current)));
        }
        Ok(())
    }

    /// Whether a node that still has its lease works on it.
    fn is_held(&self, job: &Job) -> bool {
        let Some(claim) = job.claim else { return false };
        self.claim_leases
            .iter()
            .any(|(node, lease)| *node == claim.node && lease.boot == claim.boot && self.now < lease.until)
    }

    fn lease(&mut self, node: u64, boot: u64) {
        let until = self.after(self.duration(Setting::JobsClaimLease));
        self.claim_leases.retain(|(known, _)| *known != node);
        self.claim_leases.push((node, ClaimLease { boot, until }));
        self.claim_leases.sort_by_key(|(node, _)| *node);
    }

    pub(super) fn after(&self, ms: u64) -> Timestamp {
        Timestamp { nanos: self.now.nanos + ms * 1_000_000, logical: self.now.logical }
    }

    pub(super) fn duration(&self, setting: Setting) -> u64 {
        match setting.row().setting_type.value(self.value(setting)) {
            Some(SettingValue::Milliseconds(ms)) => ms,
            _ => 0,
        }
    }

    fn value(&self, setting: Setting) -> &str {
        let set = self.settings.iter().find(|(known, _)| *known == setting);
        set.map_or(setting.row().default, |(_, value)| value.as_str())
    }

    pub(super) fn find_job(&self, id: JobId) -> Result<Job, Refusal> {
        let found = self.jobs.iter().find(|(known, _)| *known == id);
        found.map(|(_, job)| job.clone()).ok_or_else(|| say::no_such_job(id))
    }

    pub(super) fn replace_job(&mut self, id: JobId, mut job: Job) -> Result<Told, Refusal> {
        job.modified = self.now;
        for (known, old) in &mut self.jobs {
            if *known == id {
                *old = job.clone();
            }
        }
        Ok(Told::default())
    }

    /// The jobs as records.
    pub(super) fn job_records(&self) -> Vec<(JobId, Arc<Job>)> {
        self.jobs.iter().map(|(id, job)| (*id, Arc::new(job.clone()))).collect()
    }
}

fn error_text(error: Option<&FinalError>) -> String {
    match error {
        Some(FinalError::Canceled) => "job canceled by user".to_owned(),
        Some(FinalError::Failed(text)) => text.clone(),
        None => String::new(),
    }
}

/// Whether a job takes a report.
fn fits(job: &Job, report: &Report) -> bool {
    let working = ["running", "pause-requested", "cancel-requested", "reverting"];
    // What came to be final is stored before anything is taken back.
    let reverts = job.error.is_some() && ["reverting", "pause-requested"].contains(&job.status.word());
    let goes_on = job.error.is_none() && ["running", "pause-requested"].contains(&job.status.word());
    match report {
        Report::Paused { reason: None } => job.status == JobStatus::PauseRequested,
        Report::Paused { reason: Some(_) } => reverts || goes_on,
        Report::Failed { .. } | Report::Succeeded => goes_on,
        Report::Canceling => job.status == JobStatus::CancelRequested,
        Report::Reverted | Report::RevertFailed { .. } => reverts,
        Report::Progress { .. }
        | Report::WaitsForCredentials { .. }
        | Report::Retry { .. }
        | Report::Rest { .. }
        | Report::HandOver => working.contains(&job.status.word()),
    }
}
