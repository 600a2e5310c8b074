//! Schedules: made, altered and controlled by clients, run and advanced by nodes. Source: cloud-jobs spec, C.7 and B.7.3.

use std::sync::Arc;

use crate::id::{PrincipalId, ScheduleId, Timestamp};
use crate::job::{
    DETAILS_BYTES_MAX, FinalError, Job, JobId, JobStatus, JobToken, NewJob, STATUS_BYTES_MAX, TEXT_BYTES_MAX,
    cut, retry_delay_ms,
};
use crate::protection::Protection;
use crate::refusal::{self, Refusal};
use crate::require::{NEEDS_MAX, Requirement};
use crate::schedule::{
    CADENCE_BYTES_MAX, LABEL_BYTES_MAX, NewSchedule, OnFailure, Paused, SCHEDULES_MAX, Schedule,
    ScheduleAlteration, ScheduleControl,
};
use crate::setting::Setting;
use crate::state::jobs::protection_of;
use crate::state::{State, Work};

/// What CREATE SCHEDULE makes.
pub(super) struct NewSchedules<'a> {
    pub(super) token: JobToken,
    pub(super) full: &'a NewSchedule,
    pub(super) incremental: Option<&'a NewSchedule>,
}

impl State {
    /// The schedule of this id.
    pub fn schedule(&self, id: ScheduleId) -> Option<&Arc<Schedule>> {
        self.schedules.get(&id)
    }

    /// All of them, sorted by id.
    pub fn schedules(&self) -> impl DoubleEndedIterator<Item = (ScheduleId, &Arc<Schedule>)> {
        self.schedules.iter().map(|(id, schedule)| (*id, schedule))
    }

    /// The schedule of full layers that was made with this token. Cost: linear in the schedules.
    pub fn schedule_of(&self, token: JobToken) -> Option<(ScheduleId, &Arc<Schedule>)> {
        self.schedules().find(|(_, schedule)| schedule.token == token && schedule.full.is_none())
    }

    /// The schedule of the incremental layers upon those of `full`. Cost: linear in the schedules.
    pub fn incremental_of(&self, full: ScheduleId) -> Option<(ScheduleId, &Arc<Schedule>)> {
        self.schedules().find(|(_, schedule)| schedule.full == Some(full))
    }

    /// The jobs that a schedule asked for and that are kept, sorted by id. Cost: linear in the jobs.
    pub fn jobs_of(&self, schedule: ScheduleId) -> impl DoubleEndedIterator<Item = (JobId, &Arc<Job>)> {
        self.jobs().filter(move |(_, job)| job.asked.schedule == Some(schedule))
    }

    /// A job of a schedule that has not ended, if there is one.
    pub fn running_job_of(&self, schedule: ScheduleId) -> Option<JobId> {
        self.jobs_of(schedule).find(|(_, job)| !job.status.is_terminal()).map(|(id, _)| id)
    }

    /// Whether the schedules are the same in `other`, a state before or after it. Cost: as of [`Self::is_unchanged_from`].
    pub fn has_schedules_of(&self, other: &Self) -> bool {
        self.schedules.ptr_eq(&other.schedules)
    }

    /// That `principal` may pause, resume, alter, drop and see a schedule; if not, what the client is told. An admin may; others
    /// only what no admin owns: whoever is or belongs to the owner.
    pub fn may_control_schedule(&self, principal: PrincipalId, id: ScheduleId) -> Result<(), Refusal> {
        let schedule = self.schedule(id).ok_or_else(|| refusal::no_such_schedule(id))?;
        if principal == PrincipalId::NODE || self.index.is_admin(principal) {
            return Ok(());
        }
        if schedule.owner == PrincipalId::NODE || self.index.is_admin(schedule.owner) {
            return Err(refusal::schedule_of_an_admin());
        }
        let may = self.index.acts_as(principal, schedule.owner);
        may.then_some(())
            .ok_or_else(|| refusal::may_not_control_schedule(&self.principal_name(principal), id))
    }
}

impl Work<'_> {
    /// The full one, and its incremental one, which waits for it.
    pub(super) fn create_schedules(
        &mut self,
        new: &NewSchedules<'_>,
        if_not_exists: bool,
        ignore_existing: bool,
    ) -> Result<(), Refusal> {
        for asked in std::iter::once(new.full).chain(new.incremental) {
            self.require_all(&asked.requirement)?;
        }
        if self.state.is_token_taken(new.token) {
            return Ok(());
        }
        let label = &new.full.label;
        if if_not_exists && self.state.schedules().any(|(_, known)| known.asked.label == *label) {
            self.done.notices.push(refusal::skipped(&refusal::schedule_exists(label)));
            return Ok(());
        }
        if !ignore_existing {
            self.require_own_place(new.full, None)?;
        }
        let full = self.create_schedule(new.token, new.full, None)?;
        if let Some(asked) = new.incremental {
            self.create_schedule(
                new.token,
                &NewSchedule { place: new.full.place, ..asked.clone() },
                Some(full),
            )?;
        }
        Ok(())
    }

    fn create_schedule(
        &mut self,
        token: JobToken,
        asked: &NewSchedule,
        full: Option<ScheduleId>,
    ) -> Result<ScheduleId, Refusal> {
        check_size(asked)?;
        if self.state.schedules.len() >= SCHEDULES_MAX {
            return Err(refusal::too_many_schedules(SCHEDULES_MAX));
        }
        let id = ScheduleId(self.new_job_id()?.0);
        let paused = full.map(|_| Paused::WaitsForFull);
        let schedule = Schedule {
            token,
            asked: asked.clone(),
            owner: self.actor.current,
            owner_name: self.user(),
            created: self.time,
            modified: self.time,
            full,
            next_run: asked.first_run.filter(|_| paused.is_none()),
            paused,
            first_job: self.state.next_job,
            succeeded: None,
            failed: None,
            failures: 0,
        };
        self.put_schedule(id, Some(Arc::new(schedule)));
        Ok(id)
    }

    /// Says what becomes of a pair. Where its place is another one, the incremental one waits for a full layer there, and what
    /// it kept of the history for the old one is let go.
    pub(super) fn alter_schedules(&mut self, id: ScheduleId, to: &ScheduleAlteration) -> Result<(), Refusal> {
        let old = self.schedule_to_control(id)?;
        if let Some(full) = old.full {
            return Err(refusal::not_a_full_schedule(id, full));
        }
        if old.modified != to.as_of {
            return Err(refusal::schedule_changed(id));
        }
        for asked in std::iter::once(&to.full).chain(&to.incremental) {
            self.require_all(&asked.requirement)?;
            check_size(asked)?;
        }
        let moved = old.asked.place != to.full.place;
        if moved && !to.ignore_existing {
            self.require_own_place(&to.full, Some(id))?;
        }
        let mut full = Schedule::clone(&old);
        self.give(&mut full, to.full.clone(), moved);
        self.put_changed_schedule(id, full);
        let owner = (old.owner, old.owner_name.clone());
        let incremental = to.incremental.clone().map(|asked| NewSchedule { place: to.full.place, ..asked });
        match (self.state.incremental_of(id).map(|(id, known)| (id, Arc::clone(known))), incremental) {
            (Some((other, known)), Some(asked)) => {
                let mut changed = Schedule::clone(&known);
                self.give(&mut changed, asked, moved);
                if moved {
                    changed.paused = changed.paused.or(Some(Paused::WaitsForFull));
                    changed.next_run = None;
                    self.let_history_go(changed.token);
                }
                self.put_changed_schedule(other, changed);
            }
            (Some((other, _)), None) => self.drop_schedule(other),
            (None, Some(asked)) => {
                let other = self.create_schedule(old.token, &asked, Some(id))?;
                if let Some(made) = self.state.schedule(other).cloned() {
                    let (owner, owner_name) = owner;
                    self.put_changed_schedule(
                        other,
                        Schedule { owner, owner_name, ..Schedule::clone(&made) },
                    );
                }
            }
            (None, None) => {}
        }
        Ok(())
    }

    /// What is asked of it from now on. It is due as it was, unless that is what was changed.
    fn give(&self, schedule: &mut Schedule, asked: NewSchedule, moved: bool) {
        if asked.first_run != schedule.asked.first_run {
            schedule.next_run = asked.first_run.filter(|_| schedule.paused.is_none());
        } else if asked.cadence != schedule.asked.cadence {
            schedule.next_run = None;
        }
        schedule.asked = asked;
        if moved {
            schedule.first_job = self.state.next_job;
        }
    }

    pub(super) fn control_schedule(
        &mut self,
        id: ScheduleId,
        control: ScheduleControl,
    ) -> Result<(), Refusal> {
        let old = self.schedule_to_control(id)?;
        let mut changed = Schedule::clone(&old);
        match control {
            ScheduleControl::Pause => {
                changed.paused = Some(Paused::Asked);
                changed.next_run = None;
            }
            ScheduleControl::Resume => {
                if changed.paused.take().is_some() {
                    changed.failures = 0;
                }
            }
            ScheduleControl::Execute if changed.paused.is_some() => {
                return Err(refusal::schedule_paused(id));
            }
            ScheduleControl::Execute => changed.next_run = Some(self.time),
            ScheduleControl::Drop => {
                if let Some(incremental) = self.state.incremental_of(id).map(|(id, _)| id) {
                    self.drop_schedule(incremental);
                }
                self.drop_schedule(id);
                return Ok(());
            }
        }
        if changed != *old {
            self.put_changed_schedule(id, changed);
        }
        Ok(())
    }

    fn drop_schedule(&mut self, id: ScheduleId) {
        let Some(schedule) = self.state.schedule(id).cloned() else { return };
        if schedule.full.is_some() {
            self.let_history_go(schedule.token);
        }
        self.put_schedule(id, None);
    }

    pub(super) fn advance_schedule(
        &mut self,
        id: ScheduleId,
        as_of: Timestamp,
        next: Option<Timestamp>,
        failed: Option<&str>,
    ) -> Result<(), Refusal> {
        self.require_node()?;
        let seen = self.schedule_as_of(id, as_of)?;
        let mut changed = Schedule::clone(&seen);
        changed.next_run = next;
        if let Some(failed) = failed {
            self.run_failed(&mut changed, failed);
        }
        self.put_changed_schedule(id, changed);
        Ok(())
    }

    /// J3: makes the job, and says when the next one is due: both or neither, so that each time it is due there is one job.
    pub(super) fn run_schedule(
        &mut self,
        id: ScheduleId,
        as_of: Timestamp,
        next: Option<Timestamp>,
        job: &NewJob,
    ) -> Result<(), Refusal> {
        let schedule = self.schedule_to_change(id)?;
        if self.actor.current != schedule.owner {
            return Err(refusal::runs_as_owner(id, &schedule.owner_name));
        }
        if self.state.is_token_taken(job.token) {
            return Ok(());
        }
        let schedule = self.schedule_as_of(id, as_of)?;
        if !schedule.is_due(self.time) {
            return Err(refusal::schedule_rests(id));
        }
        if let Some(running) = self.state.running_job_of(id).filter(|_| schedule.runs_alone()) {
            return Err(refusal::schedule_runs(id, running));
        }
        self.make_job(job, Some(id))?;
        self.put_changed_schedule(id, Schedule { next_run: next, ..Schedule::clone(&schedule) });
        Ok(())
    }

    /// A job has ended, and still protects what it did: what its schedule makes of that. What it kept of the history the
    /// incremental schedule keeps on, from the end of the new layer.
    pub(super) fn note_end_of_run(&mut self, id: JobId, job: &Job) {
        let Some(of) = job.asked.schedule else { return };
        let Some(schedule) = self.state.schedule(of).cloned().filter(|schedule| schedule.first_job <= id)
        else {
            return;
        };
        let mut changed = Schedule::clone(&schedule);
        if job.status != JobStatus::Succeeded {
            self.run_failed(&mut changed, job.error.as_ref().map_or("", FinalError::text));
            self.put_changed_schedule(of, changed);
            return;
        }
        changed.succeeded = Some(self.time);
        changed.failed = None;
        changed.failures = 0;
        self.put_changed_schedule(of, changed);
        match schedule.full {
            None => {
                let Some((other, known)) = self.state.incremental_of(of) else { return };
                let mut incremental = Schedule::clone(known);
                if incremental.paused == Some(Paused::WaitsForFull) {
                    incremental.paused = None;
                }
                // Also where nothing else is changed: what was planned of it before is upon another layer.
                self.put_changed_schedule(other, incremental);
                self.keep_for_next_layer(other, job);
            }
            Some(full) => {
                // Made before the newest full layer was done, it may be upon an older one.
                let newest = self.state.schedule(full).and_then(|full| full.succeeded);
                if newest.is_none_or(|newest| job.created > newest) {
                    self.keep_for_next_layer(of, job);
                }
            }
        }
    }

    /// What a layer that was written kept of the history, from its end on, for the one that comes after it. The record is as
    /// large as that of the job was, which goes: no bound is passed.
    fn keep_for_next_layer(&mut self, incremental: ScheduleId, job: &Job) {
        let kept = self.state.protection(protection_of(job.asked.token)).cloned();
        let (Some(end), Some(kept)) = (job.progress.high_water, kept) else { return };
        let holder = format!("schedule {incremental}");
        if let Some(schedule) = self.state.schedule(incremental) {
            let id = protection_of(schedule.token);
            self.put_protection(id, Some(Protection { since: end, holder, ..kept }));
        }
    }

    /// A run came to nothing. What stands still goes on standing still.
    fn run_failed(&self, schedule: &mut Schedule, error: &str) {
        schedule.failed = Some(cut(error, STATUS_BYTES_MAX).to_owned());
        schedule.failures = schedule.failures.saturating_add(1);
        if schedule.paused.is_some() {
            return;
        }
        match schedule.asked.on_failure {
            OnFailure::Retry => {
                let first = self.state.setting_ms(Setting::JobsRetryInitial);
                let most = self.state.setting_ms(Setting::JobsRetryMost);
                let again = self.time.later_ms(retry_delay_ms(first, most, schedule.failures));
                schedule.next_run = Some(schedule.next_run.map_or(again, |next| next.min(again)));
            }
            OnFailure::Reschedule => {}
            OnFailure::Pause => {
                schedule.paused = Some(Paused::Failed);
                schedule.next_run = None;
            }
        }
    }

    fn let_history_go(&mut self, token: JobToken) {
        let id = protection_of(token);
        if self.state.protection(id).is_some() {
            self.put_protection(id, None);
        }
    }

    fn require_all(&self, requirement: &Requirement) -> Result<(), Refusal> {
        requirement.needs.iter().try_for_each(|need| self.state.check(self.actor.current, need))
    }

    /// That no pair but that of `full` makes its layers where `asked` would.
    fn require_own_place(&self, asked: &NewSchedule, full: Option<ScheduleId>) -> Result<(), Refusal> {
        let is_other = |id: ScheduleId, known: &Schedule| Some(id) != full && known.full.is_none();
        let mut others = self.state.schedules().filter(|(id, known)| is_other(*id, known));
        match others.find(|(_, known)| known.asked.place == asked.place) {
            Some((id, known)) => Err(refusal::schedule_of_the_same_place(id, &known.asked.label)),
            None => Ok(()),
        }
    }

    fn schedule_to_change(&self, id: ScheduleId) -> Result<Arc<Schedule>, Refusal> {
        self.state.schedule(id).cloned().ok_or_else(|| refusal::no_such_schedule(id))
    }

    fn schedule_to_control(&self, id: ScheduleId) -> Result<Arc<Schedule>, Refusal> {
        self.state.may_control_schedule(self.actor.current, id)?;
        self.schedule_to_change(id)
    }

    /// As it was seen, and not paused.
    fn schedule_as_of(&self, id: ScheduleId, as_of: Timestamp) -> Result<Arc<Schedule>, Refusal> {
        let schedule = self.schedule_to_change(id)?;
        if schedule.modified != as_of {
            return Err(refusal::schedule_changed(id));
        }
        if schedule.paused.is_some() {
            return Err(refusal::schedule_paused(id));
        }
        Ok(schedule)
    }

    fn put_changed_schedule(&mut self, id: ScheduleId, schedule: Schedule) {
        self.put_schedule(id, Some(Arc::new(Schedule { modified: self.time, ..schedule })));
    }
}

fn check_size(asked: &NewSchedule) -> Result<(), Refusal> {
    for (what, length, most) in [
        ("label", asked.label.len(), LABEL_BYTES_MAX),
        ("statement", asked.statement.len(), TEXT_BYTES_MAX),
        ("details", asked.details.expose().len(), DETAILS_BYTES_MAX),
        ("crontab", asked.cadence.as_ref().map_or(0, String::len), CADENCE_BYTES_MAX),
    ] {
        if length > most {
            return Err(refusal::schedule_too_large(what, most));
        }
    }
    if asked.requirement.needs.len() > NEEDS_MAX {
        return Err(refusal::schedule_needs_too_much(NEEDS_MAX));
    }
    Ok(())
}
