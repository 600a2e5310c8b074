//! Schedules, as the cloud-jobs spec says it in C.7.

use crate::command::{Actor, Command};
use crate::id::{PrincipalId, ScheduleId, Timestamp};
use crate::job::{FinalError, Job, JobId, JobStatus, JobToken, NewJob};
use crate::protection::{Protection, ProtectionId};
use crate::refusal::Refusal;
use crate::schedule::{
    NewSchedule, OnFailure, OnPrevious, Paused, Schedule, ScheduleAlteration, ScheduleControl,
};
use crate::setting::Setting;
use crate::spec::{Model, Told, say};

impl Model {
    pub(super) fn attempt_on_schedules(&mut self, actor: Actor, command: &Command) -> Result<Told, Refusal> {
        match command {
            Command::CreateSchedules { token, full, incremental, if_not_exists, ignore_existing } => {
                let ways = (*if_not_exists, *ignore_existing);
                self.create_schedules(actor, *token, (full, incremental.as_deref()), ways)
            }
            Command::AlterSchedules { id, to } => self.alter_schedules(actor, *id, to),
            Command::ControlSchedule { id, control } => self.control_schedule(actor, *id, *control),
            Command::AdvanceSchedule { id, as_of, next, failed } => {
                self.advance_schedule(actor, *id, (*as_of, *next), failed.as_deref())
            }
            Command::RunSchedule { id, as_of, next, job } => {
                self.run_schedule(actor, *id, (*as_of, *next), job)
            }
            other => unreachable!("{other:?} is about no schedule"),
        }
    }

    fn create_schedules(
        &mut self,
        actor: Actor,
        token: JobToken,
        (full, incremental): (&NewSchedule, Option<&NewSchedule>),
        (if_not_exists, ignore_existing): (bool, bool),
    ) -> Result<Told, Refusal> {
        for need in &full.requirement.needs {
            self.check(actor.current, need)?;
        }
        for need in incremental.iter().flat_map(|asked| &asked.requirement.needs) {
            self.check(actor.current, need)?;
        }
        if self.is_known(token) {
            return Ok(Told::default());
        }
        if if_not_exists && self.schedules.iter().any(|(_, known)| known.asked.label == full.label) {
            return Ok(Told { notices: vec![say::schedule_is_there(&full.label)], ..Told::default() });
        }
        if !ignore_existing {
            self.alone_in_its_place(full, None)?;
        }
        let id = self.new_schedule(actor, token, full.clone(), None);
        if let Some(asked) = incremental {
            self.new_schedule(actor, token, NewSchedule { place: full.place, ..asked.clone() }, Some(id));
        }
        Ok(Told::default())
    }

    fn new_schedule(
        &mut self,
        actor: Actor,
        token: JobToken,
        asked: NewSchedule,
        full: Option<ScheduleId>,
    ) -> ScheduleId {
        let id = ScheduleId(self.next_job);
        self.next_job += 1;
        let next_run = if full.is_some() { None } else { asked.first_run };
        let schedule = Schedule {
            token,
            asked,
            owner: actor.current,
            owner_name: self.principal_name(actor.current),
            created: self.now,
            modified: self.now,
            full,
            next_run,
            paused: if full.is_some() { Some(Paused::WaitsForFull) } else { None },
            first_job: JobId(self.next_job),
            succeeded: None,
            failed: None,
            failures: 0,
        };
        self.schedules.push((id, schedule));
        id
    }

    fn alter_schedules(
        &mut self,
        actor: Actor,
        id: ScheduleId,
        to: &ScheduleAlteration,
    ) -> Result<Told, Refusal> {
        let mut full = self.schedule_for(actor, id)?;
        if let Some(other) = full.full {
            return Err(say::not_a_full_schedule(id, other));
        }
        if full.modified != to.as_of {
            return Err(say::schedule_changed(id));
        }
        for need in &to.full.requirement.needs {
            self.check(actor.current, need)?;
        }
        for need in to.incremental.iter().flat_map(|asked| &asked.requirement.needs) {
            self.check(actor.current, need)?;
        }
        let moved = to.full.place != full.asked.place;
        if moved && !to.ignore_existing {
            self.alone_in_its_place(&to.full, Some(id))?;
        }
        let (token, owner, owner_name) = (full.token, full.owner, full.owner_name.clone());
        self.reshape_schedule(&mut full, &to.full, moved);
        self.replace_schedule(id, full);
        let below = self.schedules.iter().find(|(_, known)| known.full == Some(id)).cloned();
        match (below, &to.incremental) {
            (None, None) => {}
            (Some((other, _)), None) => self.remove_schedule(other),
            (None, Some(asked)) => {
                let asked = NewSchedule { place: to.full.place, ..asked.clone() };
                self.new_schedule(actor, token, asked, Some(id));
                if let Some((_, made)) = self.schedules.last_mut() {
                    (made.owner, made.owner_name) = (owner, owner_name);
                }
            }
            (Some((other, mut incremental)), Some(asked)) => {
                let asked = NewSchedule { place: to.full.place, ..asked.clone() };
                self.reshape_schedule(&mut incremental, &asked, moved);
                if moved {
                    incremental.next_run = None;
                    if incremental.paused.is_none() {
                        incremental.paused = Some(Paused::WaitsForFull);
                    }
                    self.protections.retain(|(known, _)| known.0 != token.0);
                }
                self.replace_schedule(other, incremental);
            }
        }
        Ok(Told::default())
    }

    fn reshape_schedule(&self, schedule: &mut Schedule, asked: &NewSchedule, moved: bool) {
        if schedule.asked.cadence != asked.cadence {
            schedule.next_run = None;
        }
        if schedule.asked.first_run != asked.first_run {
            schedule.next_run = if schedule.paused.is_none() { asked.first_run } else { None };
        }
        if moved {
            schedule.first_job = JobId(self.next_job);
        }
        schedule.asked = asked.clone();
    }

    fn control_schedule(
        &mut self,
        actor: Actor,
        id: ScheduleId,
        control: ScheduleControl,
    ) -> Result<Told, Refusal> {
        let before = self.schedule_for(actor, id)?;
        let mut schedule = before.clone();
        match control {
            ScheduleControl::Drop => {
                let below = self.schedules.iter().find(|(_, known)| known.full == Some(id));
                if let Some(other) = below.map(|(other, _)| *other) {
                    self.remove_schedule(other);
                }
                self.remove_schedule(id);
                return Ok(Told::default());
            }
            ScheduleControl::Pause => {
                schedule.next_run = None;
                schedule.paused = Some(Paused::Asked);
            }
            ScheduleControl::Resume => {
                if schedule.paused.is_some() {
                    schedule.failures = 0;
                }
                schedule.paused = None;
            }
            ScheduleControl::Execute => {
                if schedule.paused.is_some() {
                    return Err(say::schedule_paused(id));
                }
                schedule.next_run = Some(self.now);
            }
        }
        if schedule != before {
            self.replace_schedule(id, schedule);
        }
        Ok(Told::default())
    }

    fn advance_schedule(
        &mut self,
        actor: Actor,
        id: ScheduleId,
        (as_of, next): (Timestamp, Option<Timestamp>),
        failed: Option<&str>,
    ) -> Result<Told, Refusal> {
        self.only_nodes(actor)?;
        let mut schedule = self.schedule_seen(id, as_of)?;
        schedule.next_run = next;
        if let Some(error) = failed {
            self.fail_schedule(&mut schedule, error);
        }
        self.replace_schedule(id, schedule);
        Ok(Told::default())
    }

    fn run_schedule(
        &mut self,
        actor: Actor,
        id: ScheduleId,
        (as_of, next): (Timestamp, Option<Timestamp>),
        job: &NewJob,
    ) -> Result<Told, Refusal> {
        let known = self.find_schedule(id)?;
        if known.owner != actor.current {
            return Err(say::runs_as_owner(id, &known.owner_name));
        }
        if self.is_known(job.token) {
            return Ok(Told::default());
        }
        let mut schedule = self.schedule_seen(id, as_of)?;
        match schedule.next_run {
            Some(due) if due <= self.now => {}
            _ => return Err(say::schedule_rests(id)),
        }
        let runs = self
            .jobs
            .iter()
            .find(|(_, job)| job.asked.schedule == Some(id) && job.finished.is_none())
            .map(|(running, _)| *running);
        if let Some(running) = runs
            && (schedule.full.is_some() || schedule.asked.on_previous != OnPrevious::Start)
        {
            return Err(say::schedule_runs(id, running));
        }
        let told = self.make_job(actor, job, Some(id))?;
        schedule.next_run = next;
        self.replace_schedule(id, schedule);
        Ok(told)
    }

    /// What a schedule makes of the end of its job, before the job lets its history go.
    pub(super) fn run_ended(&mut self, id: JobId, job: &Job) {
        let Some(of) = job.asked.schedule else { return };
        let Ok(mut schedule) = self.find_schedule(of) else { return };
        if id < schedule.first_job {
            return;
        }
        if job.status != JobStatus::Succeeded {
            let error = match &job.error {
                Some(FinalError::Failed(text)) => text.clone(),
                Some(FinalError::Canceled) => "job canceled by user".to_owned(),
                None => String::new(),
            };
            self.fail_schedule(&mut schedule, &error);
            self.replace_schedule(of, schedule);
            return;
        }
        schedule.failures = 0;
        schedule.failed = None;
        schedule.succeeded = Some(self.now);
        let full = schedule.full;
        let token = schedule.token;
        self.replace_schedule(of, schedule);
        let keeper = match full {
            None => {
                let below = self.schedules.iter().find(|(_, known)| known.full == Some(of)).cloned();
                let Some((other, mut incremental)) = below else { return };
                if incremental.paused == Some(Paused::WaitsForFull) {
                    incremental.paused = None;
                }
                self.replace_schedule(other, incremental);
                other
            }
            Some(full) => {
                let newest = self.find_schedule(full).ok().and_then(|full| full.succeeded);
                if newest.is_some_and(|newest| newest >= job.created) {
                    return;
                }
                of
            }
        };
        let kept = self.protections.iter().find(|(known, _)| known.0 == job.asked.token.0).cloned();
        if let (Some(end), Some((_, kept))) = (job.progress.high_water, kept) {
            self.protections.retain(|(known, _)| known.0 != token.0);
            let holder = format!("schedule {}", keeper.0);
            self.protections.push((ProtectionId(token.0), Protection { since: end, holder, ..kept }));
            self.protections.sort_by_key(|(known, _)| *known);
        }
    }

    fn fail_schedule(&self, schedule: &mut Schedule, error: &str) {
        schedule.failures += 1;
        schedule.failed = Some(error.to_owned());
        if schedule.paused.is_some() {
            return;
        }
        match schedule.asked.on_failure {
            OnFailure::Reschedule => {}
            OnFailure::Pause => {
                schedule.next_run = None;
                schedule.paused = Some(Paused::Failed);
            }
            OnFailure::Retry => {
                let most = self.duration(Setting::JobsRetryMost);
                let mut wait = self.duration(Setting::JobsRetryInitial);
                for _ in 1..schedule.failures {
                    wait = (wait * 2).min(most);
                }
                let again = self.after(wait.min(most));
                if schedule.next_run.is_none_or(|next| again < next) {
                    schedule.next_run = Some(again);
                }
            }
        }
    }

    fn alone_in_its_place(&self, asked: &NewSchedule, full: Option<ScheduleId>) -> Result<(), Refusal> {
        for (id, known) in &self.schedules {
            if known.full.is_none() && Some(*id) != full && known.asked.place == asked.place {
                return Err(say::same_place(*id, &known.asked.label));
            }
        }
        Ok(())
    }

    /// Whether a job or a schedule was made with it.
    pub(super) fn is_known(&self, token: JobToken) -> bool {
        self.jobs.iter().any(|(_, job)| job.asked.token == token)
            || self.schedules.iter().any(|(_, known)| known.token == token)
    }

    pub(super) fn owns_schedules(&self, owner: PrincipalId) -> usize {
        self.schedules.iter().filter(|(_, known)| known.owner == owner).count()
    }

    fn schedule_for(&self, actor: Actor, id: ScheduleId) -> Result<Schedule, Refusal> {
        let schedule = self.find_schedule(id)?;
        if self.is_admin(actor.current) {
            return Ok(schedule);
        }
        if self.is_admin(schedule.owner) {
            return Err(say::schedule_of_an_admin());
        }
        if !self.acts_as(actor.current).contains(&schedule.owner) {
            return Err(say::may_not_control_schedule(&self.principal_name(actor.current), id));
        }
        Ok(schedule)
    }

    fn schedule_seen(&self, id: ScheduleId, as_of: Timestamp) -> Result<Schedule, Refusal> {
        let schedule = self.find_schedule(id)?;
        if as_of != schedule.modified {
            return Err(say::schedule_changed(id));
        }
        if schedule.paused.is_some() {
            return Err(say::schedule_paused(id));
        }
        Ok(schedule)
    }

    fn find_schedule(&self, id: ScheduleId) -> Result<Schedule, Refusal> {
        let found = self.schedules.iter().find(|(known, _)| *known == id);
        found.map(|(_, schedule)| schedule.clone()).ok_or_else(|| say::no_such_schedule(id))
    }

    fn replace_schedule(&mut self, id: ScheduleId, mut schedule: Schedule) {
        schedule.modified = self.now;
        for (known, old) in &mut self.schedules {
            if *known == id {
                *old = schedule.clone();
            }
        }
    }

    fn remove_schedule(&mut self, id: ScheduleId) {
        for (known, schedule) in &self.schedules {
            if *known == id && schedule.full.is_some() {
                self.protections.retain(|(known, _)| known.0 != schedule.token.0);
            }
        }
        self.schedules.retain(|(known, _)| *known != id);
    }
}
