//! ALTER BACKUP SCHEDULE: of a pair, whichever of the two is named.

use grantd_catalog::command::Command;
use grantd_catalog::id::{ScheduleId, Timestamp};
use grantd_catalog::refusal::no_such_schedule;
use grantd_catalog::schedule::{Schedule, ScheduleAlteration, ScheduleControl};
use grantd_catalog::view::View;

use super::{Chosen, Order, backup_of, cadences, session_of};
use crate::cloud::redact;
use crate::error::SqlError;
use crate::gate::log_now;
use crate::schedule::details::Details;
use crate::session::Session;
use crate::sql::execute::Engine;
use crate::sql::execute::backup_statement::done_all_the_same;
use crate::sql::parse::backup::{Backup, Opened};
use crate::sql::parse::schedule::{FullBackup, Recurring, ScheduleChange};
use crate::sql::system::schedule as listed;
use crate::value::Datum;

/// A pair as it is to be.
struct Altered {
    label: String,
    backup: Backup,
    chosen: Chosen,
    recurring: Recurring,
    full: FullBackup,
    /// Whether it goes elsewhere, or is opened in another way.
    opened_anew: bool,
    /// Whether there is more to do than to execute.
    changed: bool,
    /// The commands that follow: which one is due now.
    executed: Vec<bool>,
}

impl Engine {
    /// Gives the rows of the pair.
    pub(super) async fn alter_schedule(
        &self,
        session: &mut Session,
        id: ScheduleId,
        changes: &[ScheduleChange],
    ) -> Result<Vec<Vec<Datum>>, SqlError> {
        let now = log_now();
        let view = self.view_if(session, true).await?;
        view.state().may_control_schedule(session.actor.current, id)?;
        let named = view.state().schedule(id).ok_or_else(|| no_such_schedule(id))?;
        let full_id = named.full.unwrap_or(id);
        let full = view.state().schedule(full_id).ok_or_else(|| no_such_schedule(full_id))?;
        let incremental = view.state().incremental_of(full_id).map(|(id, schedule)| (id, schedule.as_ref()));
        let stored = Details::decode(&full.asked.details)?;
        let mut altered = Altered::of(full, incremental.map(|(_, schedule)| schedule), backup_of(&stored)?);
        for change in changes {
            altered.take(change, now)?;
        }
        let executed = altered.executed.clone();
        let (mut commands, mut told) = (Vec::new(), Vec::new());
        if altered.changed {
            altered.chosen.permitted(&view, session)?;
            let asking =
                Session { cancelled: session.cancelled.clone(), ..session_of(session.actor, &view, &stored) };
            let (to, notices) = self.alteration(&asking, &view, full, altered, now).await?;
            commands.push(Command::AlterSchedules { id: full_id, to: Box::new(to) });
            told = notices;
        }
        for of_full in executed {
            let id = incremental.map(|(id, _)| id).filter(|_| !of_full).unwrap_or(full_id);
            commands.push(Command::ControlSchedule { id, control: ScheduleControl::Execute });
        }
        self.commands(session, commands, "ALTER BACKUP SCHEDULE").await?;
        session.notices.extend(told.into_iter().map(done_all_the_same));
        Ok(listed::made(&self.gate.applied_view(), full_id))
    }

    async fn alteration(
        &self,
        asking: &Session,
        view: &View,
        full: &Schedule,
        altered: Altered,
        now: Timestamp,
    ) -> Result<(ScheduleAlteration, Vec<String>), SqlError> {
        let Altered { label, backup, chosen, recurring, full: cadence, opened_anew, .. } = altered;
        let backup = self.pinned_backup(&backup);
        let mut allowed = self.allowed(asking, view, &backup)?;
        let cadences = cadences(&recurring, Some(&cadence), now)?;
        if opened_anew {
            let same_place = allowed.place == full.asked.place;
            self.try_place(asking, &backup, chosen.ignore_existing || same_place).await?;
        }
        let told = std::mem::take(&mut allowed.told);
        let context = asking.name_context();
        let order = Order { label, backup, context, allowed, chosen, cadences };
        let (asked, incremental) = order.pair()?;
        let ignore_existing = chosen.ignore_existing;
        Ok((ScheduleAlteration { as_of: full.modified, full: asked, incremental, ignore_existing }, told))
    }
}

impl Altered {
    fn of(full: &Schedule, incremental: Option<&Schedule>, backup: Backup) -> Self {
        let asked = &full.asked;
        let recurring = |schedule: &Schedule| match &schedule.asked.cadence {
            Some(crontab) => Recurring::Crontab(crontab.clone()),
            None => Recurring::Never,
        };
        let cadence = match (incremental, &asked.cadence) {
            (Some(_), Some(crontab)) => FullBackup::Crontab(crontab.clone()),
            (Some(_) | None, _) => FullBackup::Always,
        };
        let chosen = Chosen {
            first_run: asked.first_run,
            on_failure: asked.on_failure,
            on_previous: asked.on_previous,
            ignore_existing: false,
            updates_metric: asked.updates_metric,
        };
        Self {
            label: asked.label.clone(),
            backup,
            chosen,
            recurring: recurring(incremental.unwrap_or(full)),
            full: cadence,
            opened_anew: false,
            changed: false,
            executed: Vec::new(),
        }
    }

    fn take(&mut self, change: &ScheduleChange, now: Timestamp) -> Result<(), SqlError> {
        self.changed |= !matches!(change, ScheduleChange::Execute { .. });
        match change {
            ScheduleChange::Into(collection) => {
                self.backup.collection.clone_from(collection);
                self.opened_anew = true;
            }
            ScheduleChange::Label(label) => self.label = redact::repeated(label).into_owned(),
            ScheduleChange::Recurring(recurring) => self.recurring = recurring.clone(),
            ScheduleChange::Full(full) => self.full = full.clone(),
            ScheduleChange::With(options) => {
                if let Some(revisions) = options.revision_history {
                    self.backup.revision_history = revisions;
                }
                let Opened { passphrase, kms, incremental_location } = options.opened.clone();
                let opened = &mut self.backup.opened;
                self.opened_anew |=
                    passphrase.is_some() || !kms.is_empty() || !incremental_location.is_empty();
                // One takes the other's place.
                if passphrase.is_some() {
                    opened.kms.clear();
                    opened.passphrase = passphrase;
                }
                if !kms.is_empty() {
                    opened.passphrase = None;
                    opened.kms = kms;
                }
                if !incremental_location.is_empty() {
                    opened.incremental_location = incremental_location;
                }
            }
            ScheduleChange::Option(option) => self.chosen.take(option, now)?,
            ScheduleChange::Execute { full } => self.executed.push(*full),
        }
        Ok(())
    }
}
