//! CREATE SCHEDULE FOR BACKUP, and what is asked of schedules; [`alter`] them; [`run`] what is due. Source: cloud-jobs spec, C.7.
//!
//! Who may is asked first, then the place is opened: what is wrong with it or its credentials is told here and now, and not in the
//! night. What is stored is the statement as it is written, secrets and all, where nothing prints it.

use grantd_catalog::command::{Actor, Command, NameContext};
use grantd_catalog::id::{ScheduleId, Timestamp};
use grantd_catalog::job::{Opaque, TEXT_BYTES_MAX, cut};
use grantd_catalog::name::Name;
use grantd_catalog::object::ConnectionUri;
use grantd_catalog::refusal::{schedule_exists, skipped, state};
use grantd_catalog::require::Requirement;
use grantd_catalog::schedule::{NewSchedule, OnFailure, OnPrevious, ScheduleControl};
use grantd_catalog::view::View;
use grantd_raft::rows::Share;

use super::{done_all_the_same, invalid, one_of_localities, refused, said, token};
use crate::backup::cipher::{DataKey, Keys};
use crate::cloud::redact;
use crate::cloud::uri::Purpose;
use crate::error::SqlError;
use crate::feed::options;
use crate::gate::log_now;
use crate::schedule::crontab::{Crontab, full_of};
use crate::schedule::details;
use crate::schedule::place::fingerprint;
use crate::session::block::code;
use crate::session::{Notice, Session};
use crate::sql::execute::{Engine, Response, Rows, unless_cancelled};
use crate::sql::parse::Statement;
use crate::sql::parse::backup::{Backup, BackupStatement, Named, Secrets};
use crate::sql::parse::schedule::{
    self as parsed, FIRST_RUN, FullBackup, IGNORE_EXISTING, ON_FAILURE, ON_RUNNING, Recurring,
    SCHEDULE_IDS_MAX, ScheduleOption, ScheduleStatement, Schedules, UPDATES_METRIC,
};
use crate::sql::system::schedule as listed;
use crate::value::Datum;

mod alter;
mod run;

/// What a schedule's statement needs, and where it goes.
struct Allowed {
    requirement: Requirement,
    place: [u8; 32],
    /// What the client is told besides.
    told: Vec<String>,
}

/// The options of a schedule, read.
#[derive(Clone, Copy, Debug)]
struct Chosen {
    first_run: Option<Timestamp>,
    on_failure: OnFailure,
    on_previous: OnPrevious,
    ignore_existing: bool,
    updates_metric: bool,
}

/// How often, of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cadences {
    /// None: never again.
    full: Option<String>,
    /// None: there is no incremental one.
    incremental: Option<String>,
    /// Nobody said how often a full one is made.
    picked: bool,
}

/// All that a pair is made of.
struct Order {
    label: String,
    backup: Backup,
    context: NameContext,
    allowed: Allowed,
    chosen: Chosen,
    cadences: Cadences,
}

impl Engine {
    pub(in crate::sql::execute) async fn schedules(
        &self,
        session: &mut Session,
        statement: &ScheduleStatement,
    ) -> Result<Response, SqlError> {
        if let (Some(word), Some(_)) = (statement.changing(), session.block.open()) {
            let message = format!("{word} cannot run inside a transaction block");
            return Err(SqlError::new(code::ACTIVE_TRANSACTION, message)
                .with_hint("Everybody's changes would wait for its place. Run it by itself."));
        }
        let rows = match statement {
            ScheduleStatement::Create(asked) => self.create_schedule(session, asked).await?,
            ScheduleStatement::Alter { id, changes } => self.alter_schedule(session, *id, changes).await?,
            ScheduleStatement::Control { control, which } => {
                return self.control_schedules(session, *control, which).await;
            }
            ScheduleStatement::Show { shown, for_backup } => {
                let view = self.view_if(session, true).await?;
                listed::rows(&view, session.actor.current, *shown, *for_backup)
            }
            ScheduleStatement::ShowCreate(id) => {
                let view = self.view_if(session, true).await?;
                create_statements(&view, session, *id)?
            }
        };
        let columns = listed::columns(statement).unwrap_or_default();
        let tag = match statement {
            ScheduleStatement::Show { .. } => format!("SHOW SCHEDULES {}", rows.len()),
            ScheduleStatement::ShowCreate(_) => format!("SHOW CREATE SCHEDULES {}", rows.len()),
            changing => changing.changing().unwrap_or_default().to_owned(),
        };
        Ok(Response { tag, rows: Some(Rows { columns, rows, held: Share::default() }), copy: None })
    }

    async fn create_schedule(
        &self,
        session: &mut Session,
        asked: &parsed::NewSchedule,
    ) -> Result<Vec<Vec<Datum>>, SqlError> {
        let now = log_now();
        let label = match &asked.label {
            Some(label) => redact::repeated(label).into_owned(),
            None => format!("BACKUP {}", now.nanos / 1_000_000_000),
        };
        let view = self.view_if(session, true).await?;
        let backup = self.pinned_backup(&asked.backup);
        let mut allowed = self.allowed(session, &view, &backup)?;
        let is_there = view.state().schedules().any(|(_, schedule)| schedule.asked.label == label);
        if asked.if_not_exists && is_there {
            let body = skipped(&schedule_exists(&label));
            session.notices.push(Notice { severity: "NOTICE", body });
            return Ok(Vec::new());
        }
        let mut chosen = Chosen::default();
        for option in &asked.options {
            chosen.take(option, now)?;
        }
        chosen.permitted(&view, session)?;
        let cadences = cadences(&asked.recurring, asked.full.as_ref(), now)?;
        self.try_place(session, &backup, chosen.ignore_existing).await?;
        let first_run = chosen.first_run.or_else(|| cadences.first(now));
        let told = std::mem::take(&mut allowed.told);
        let context = session.name_context();
        let chosen = Chosen { first_run, ..chosen };
        let order = Order { label, backup, context, allowed, chosen, cadences };
        let (full, incremental) = order.pair()?;
        let token = token()?;
        let command = Command::CreateSchedules {
            token,
            full: Box::new(full),
            incremental: incremental.map(Box::new),
            if_not_exists: asked.if_not_exists,
            ignore_existing: chosen.ignore_existing,
        };
        self.command(session, command, "CREATE SCHEDULE").await?;
        session.notices.extend(told.into_iter().map(done_all_the_same));
        let view = self.gate.applied_view();
        let made = view.state().schedule_of(token).map(|(id, _)| id);
        Ok(made.map(|id| listed::made(&view, id)).unwrap_or_default())
    }

    /// `self` is this node, whoever runs it.
    fn pinned_backup(&self, backup: &Backup) -> Backup {
        let pinned = |uris: &[ConnectionUri]| -> Vec<ConnectionUri> {
            uris.iter().map(|uri| ConnectionUri::new(self.pinned(uri.expose()))).collect()
        };
        let mut backup = backup.clone();
        backup.collection = pinned(&backup.collection);
        backup.opened.incremental_location = pinned(&backup.opened.incremental_location);
        backup
    }

    /// What a schedule's statement needs of who asks for it, or runs it. Nothing outside is reached.
    fn allowed(&self, session: &Session, view: &View, backup: &Backup) -> Result<Allowed, SqlError> {
        let backed = self.backed(session, view, &backup.of)?;
        let mut requirement = backed.requirement;
        let mut told: Vec<String> = backed.notice.into_iter().collect();
        let uri = one_of_localities(&backup.collection)?;
        let elsewhere = match backup.opened.incremental_location.is_empty() {
            true => None,
            false => Some(one_of_localities(&backup.opened.incremental_location)?),
        };
        let places = std::iter::once(uri).chain(elsewhere).map(|uri| (uri, Purpose::Storage));
        let keys = backup.opened.kms.iter().map(|uri| (uri.expose(), Purpose::Kms));
        let mut place = None;
        for (uri, purpose) in places.chain(keys) {
            let target = self.outside.approved_for(view, session.actor, uri, purpose)?;
            place = place.or_else(|| Some(fingerprint(&target, self.gate.node_id())));
            told.extend(target.notices());
            if target.connection.is_some() {
                target.requirement().needs.into_iter().for_each(|need| requirement.need(need));
            }
        }
        told.dedup();
        Ok(Allowed { requirement, place: place.unwrap_or_default(), told })
    }

    /// Opens the place, looks whether somebody's backups are there, and asks for the keys.
    async fn try_place(
        &self,
        session: &Session,
        backup: &Backup,
        ignore_existing: bool,
    ) -> Result<(), SqlError> {
        let keys = self.keys(session, &backup.opened).await?;
        let place = self.backup_place(session, &backup.collection, &backup.opened, true).await?;
        let there = unless_cancelled(session, said(place.collection.fulls())).await?;
        if !ignore_existing && !there.is_empty() {
            let message = format!(
                "backups already created in {}; to ignore existing backups, the schedule can be created with the \
                 'ignore_existing_backups' option",
                redact::uri(&place.uri)
            );
            return Err(SqlError::new(state::DUPLICATE_OBJECT, message).with_hint(
                "Name another collection; or say ignore_existing_backups, and the schedule makes its own among them.",
            ));
        }
        if matches!(keys, Keys::Services(_)) {
            let key = DataKey::random().map_err(refused)?;
            unless_cancelled(session, said(key.wrapped(&keys))).await?;
        }
        Ok(())
    }

    /// One after the other in one change: the first that is refused refuses all.
    async fn control_schedules(
        &self,
        session: &mut Session,
        control: parsed::ScheduleControl,
        which: &Schedules,
    ) -> Result<Response, SqlError> {
        let ids = self.schedule_ids(session, which).await?;
        let tag = format!("{} {}", control.tag(), ids.len());
        if ids.is_empty() {
            return Ok(Response { tag, rows: None, copy: None });
        }
        let asked = match control {
            parsed::ScheduleControl::Pause => ScheduleControl::Pause,
            parsed::ScheduleControl::Resume => ScheduleControl::Resume,
            parsed::ScheduleControl::Drop => ScheduleControl::Drop,
        };
        let mut ids = ids;
        if asked == ScheduleControl::Drop {
            // The incremental one goes with its full one; that both are named is no mistake.
            let view = self.view_if(session, true).await?;
            let full = |id: &ScheduleId| view.state().schedule(*id).and_then(|schedule| schedule.full);
            let named = ids.clone();
            ids.retain(|id| full(id).is_none_or(|full| !named.contains(&full)));
        }
        let command = |id: &ScheduleId| Command::ControlSchedule { id: *id, control: asked };
        self.commands(session, ids.iter().map(command).collect(), &tag).await
    }

    /// The numbers of schedules, each once.
    pub(in crate::sql::execute) async fn schedule_ids(
        &self,
        session: &mut Session,
        which: &Schedules,
    ) -> Result<Vec<ScheduleId>, SqlError> {
        let mut ids = match which {
            Schedules::One(id) => vec![*id],
            Schedules::Query(query) => {
                let cells = self.queried(session, query, "SCHEDULES").await?;
                let id = |cell| match cell {
                    Datum::Int(id) => Some(Ok(ScheduleId(id))),
                    Datum::Null => None,
                    _ => {
                        Some(Err(SqlError::syntax("SCHEDULES takes a query of one column of whole numbers")))
                    }
                };
                cells.into_iter().filter_map(id).collect::<Result<Vec<_>, _>>()?
            }
        };
        ids.sort_unstable();
        ids.dedup();
        match ids.len() > SCHEDULE_IDS_MAX {
            true => {
                Err(SqlError::too_large(format!("more than {SCHEDULE_IDS_MAX} schedules in one statement")))
            }
            false => Ok(ids),
        }
    }
}

impl Default for Chosen {
    fn default() -> Self {
        Self {
            first_run: None,
            on_failure: OnFailure::Reschedule,
            on_previous: OnPrevious::Wait,
            ignore_existing: false,
            updates_metric: false,
        }
    }
}

impl Chosen {
    fn take(&mut self, option: &ScheduleOption, now: Timestamp) -> Result<(), SqlError> {
        let ScheduleOption { name, value } = option;
        match *name {
            FIRST_RUN => self.first_run = Some(first_run(value.as_deref(), now)?),
            ON_FAILURE => {
                let each = [OnFailure::Retry, OnFailure::Reschedule, OnFailure::Pause];
                self.on_failure = word(option, each.map(|each| (listed::failure_word(each), each)))?;
            }
            ON_RUNNING => {
                let each = [OnPrevious::Start, OnPrevious::Skip, OnPrevious::Wait];
                self.on_previous = word(option, each.map(|each| (listed::previous_word(each), each)))?;
            }
            IGNORE_EXISTING => self.ignore_existing = flag(option)?,
            _ => self.updates_metric = flag(option)?,
        }
        Ok(())
    }

    /// The metric is the cluster's.
    fn permitted(&self, view: &View, session: &Session) -> Result<(), SqlError> {
        if !self.updates_metric || view.is_admin(session.actor.current) {
            return Ok(());
        }
        let message = format!("only users with the admin role are allowed to set option {UPDATES_METRIC}");
        Err(SqlError::new(state::INSUFFICIENT_PRIVILEGE, message)
            .with_hint("Leave it out, or ask an admin to make the schedule."))
    }
}

impl Cadences {
    /// When it is due first, if nobody says: at once where the cadence was chosen for them, so that incremental ones need not wait.
    fn first(&self, now: Timestamp) -> Option<Timestamp> {
        match &self.full {
            Some(crontab) if !self.picked => {
                Crontab::parse(crontab).ok().and_then(|crontab| crontab.next(now))
            }
            _ => Some(now),
        }
    }
}

impl Order {
    /// The full one, and the incremental one.
    fn pair(&self) -> Result<(NewSchedule, Option<NewSchedule>), SqlError> {
        let full = self.one(None, self.cadences.full.as_ref())?;
        let incremental = self.cadences.incremental.as_ref();
        let incremental =
            incremental.map(|crontab| self.one(Some(Named::Latest), Some(crontab))).transpose()?;
        Ok((full, incremental))
    }

    fn one(&self, upon: Option<Named>, cadence: Option<&String>) -> Result<NewSchedule, SqlError> {
        let is_full = upon.is_none();
        let shown = Backup { upon, ..self.backup.clone() };
        Ok(NewSchedule {
            label: self.label.clone(),
            statement: cut(&shown.written(Secrets::Hidden), TEXT_BYTES_MAX).to_owned(),
            details: self.details()?,
            requirement: self.allowed.requirement.clone(),
            cadence: cadence.cloned(),
            first_run: self.chosen.first_run.filter(|_| is_full),
            on_failure: self.chosen.on_failure,
            on_previous: self.chosen.on_previous,
            place: self.allowed.place,
            updates_metric: self.chosen.updates_metric,
        })
    }

    fn details(&self) -> Result<Opaque, SqlError> {
        Ok(details::Details::new(self.backup.written(Secrets::Whole), &self.context).encode()?)
    }
}

/// What the crontabs come to.
fn cadences(recurring: &Recurring, full: Option<&FullBackup>, now: Timestamp) -> Result<Cadences, SqlError> {
    let only = |full| Cadences { full, incremental: None, picked: false };
    let crontab = match recurring {
        Recurring::Crontab(crontab) => crontab,
        Recurring::Never if matches!(full, Some(FullBackup::Crontab(_))) => {
            return Err(invalid("FULL BACKUP takes no crontab of a schedule that is RECURRING NEVER")
                .with_hint("Write RECURRING and a crontab, or FULL BACKUP ALWAYS."));
        }
        Recurring::Never => return Ok(only(None)),
    };
    let period = Crontab::parse(crontab)?.period(now);
    let (word, picked) = match full {
        Some(FullBackup::Always) => (None, false),
        Some(FullBackup::Crontab(full)) => {
            if Crontab::parse(full)?.period(now) < period {
                return Err(invalid("incremental backups must occur more often than full backups")
                    .with_hint(
                        "Exchange the crontabs of RECURRING and FULL BACKUP, or write FULL BACKUP ALWAYS.",
                    ));
            }
            (Some(full.clone()), false)
        }
        None => (full_of(period).map(ToOwned::to_owned), true),
    };
    Ok(match word {
        Some(full) => Cadences { full: Some(full), incremental: Some(crontab.clone()), picked },
        None => only(Some(crontab.clone())),
    })
}

/// `now`, or a moment.
fn first_run(value: Option<&str>, now: Timestamp) -> Result<Timestamp, SqlError> {
    let wrong = || {
        // The value may be anything: it is not repeated.
        invalid(format!("{FIRST_RUN} takes a time"))
            .with_hint("Write 'now', a date with a time, or as '+10m' how much later.")
    };
    let value = value.ok_or_else(wrong)?;
    match value.trim().eq_ignore_ascii_case("now") {
        true => Ok(now),
        false => options::moment(FIRST_RUN, value, now).map_err(|_| wrong()),
    }
}

fn word<T: Copy, const N: usize>(option: &ScheduleOption, words: [(&str, T); N]) -> Result<T, SqlError> {
    let found = option
        .value
        .as_deref()
        .and_then(|value| words.iter().find(|(word, _)| word.eq_ignore_ascii_case(value.trim())));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        invalid(format!("{} takes one of {}", option.name, known.join(", ")))
    })
}

fn flag(option: &ScheduleOption) -> Result<bool, SqlError> {
    if option.value.is_none() {
        return Ok(true);
    }
    word(option, [("true", true), ("on", true), ("false", false), ("off", false)])
}

/// SHOW CREATE is for administrators: of all that belong together one row, or the one that is named.
fn create_statements(
    view: &View,
    session: &Session,
    id: Option<ScheduleId>,
) -> Result<Vec<Vec<Datum>>, SqlError> {
    if !view.is_admin(session.actor.current) {
        let message = "only users with the admin role are allowed to SHOW CREATE SCHEDULE";
        return Err(SqlError::new(state::INSUFFICIENT_PRIVILEGE, message)
            .with_hint("SHOW SCHEDULES lists those of one's own."));
    }
    match id {
        Some(id) => {
            let row = listed::create_row(view, id);
            Ok(vec![row.ok_or_else(|| grantd_catalog::refusal::no_such_schedule(id))?])
        }
        None => {
            let fulls = view.state().schedules().filter(|(_, schedule)| schedule.full.is_none());
            Ok(fulls.filter_map(|(id, _)| listed::create_row(view, id)).collect())
        }
    }
}

/// A session as which a stored statement means what it meant.
fn session_of(actor: Actor, view: &View, stored: &details::Details) -> Session {
    let mut session = Session::new(actor, stored.database());
    session.search_path = stored.search_path();
    session.user = Some(Name::normalize(view.state().principal_name(actor.current).as_str()));
    session
}

/// The stored statement.
fn backup_of(stored: &details::Details) -> Result<Backup, SqlError> {
    match crate::sql::parse::parse(&stored.statement) {
        Ok(Statement::Backup(statement)) => match *statement {
            BackupStatement::Backup(backup) => Ok(backup),
            BackupStatement::Restore(_) | BackupStatement::List { .. } | BackupStatement::Show { .. } => {
                Err(SqlError::internal("a schedule has another statement than BACKUP"))
            }
        },
        // What it says may repeat the statement.
        Ok(_) | Err(_) => Err(SqlError::internal("the statement of a schedule cannot be read")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp { nanos: 1_795_401_010_000_000_000, logical: 0 };

    fn of(recurring: &str, full: Option<FullBackup>) -> Result<Cadences, String> {
        let recurring = match recurring {
            "NEVER" => Recurring::Never,
            crontab => Recurring::Crontab(crontab.to_owned()),
        };
        cadences(&recurring, full.as_ref(), NOW).map_err(|error| error.body.message)
    }

    /// Case 130, and its kin.
    #[test]
    fn the_full_one_is_as_often_as_seems_good() {
        let pair = |full: &str, incremental: &str, picked| {
            Ok(Cadences { full: Some(full.to_owned()), incremental: Some(incremental.to_owned()), picked })
        };
        let only = |full: Option<&str>| {
            Ok(Cadences { full: full.map(ToOwned::to_owned), incremental: None, picked: false })
        };
        let crontab = |text: &str| Some(FullBackup::Crontab(text.to_owned()));
        assert_eq!(of("@hourly", None), pair("@daily", "@hourly", true));
        assert_eq!(of("@daily", None), pair("@weekly", "@daily", true));
        assert_eq!(of("@weekly", None), only(Some("@weekly")));
        assert_eq!(of("@hourly", Some(FullBackup::Always)), only(Some("@hourly")));
        assert_eq!(of("@hourly", crontab("@weekly")), pair("@weekly", "@hourly", false));
        assert_eq!(of("NEVER", None), only(None));
        assert_eq!(of("NEVER", Some(FullBackup::Always)), only(None));
        assert!(of("NEVER", crontab("@daily")).is_err());
        assert!(of("@daily", crontab("@hourly")).unwrap_err().contains("more often"));
        assert!(of("@often", None).unwrap_err().starts_with("invalid crontab"));
    }

    #[test]
    fn options_are_of_their_kinds_and_repeat_nothing() {
        let take = |name, value: Option<&str>| {
            let mut chosen = Chosen::default();
            let option = ScheduleOption { name, value: value.map(ToOwned::to_owned) };
            chosen.take(&option, NOW).map(|()| chosen).map_err(|error| error.body.message)
        };
        assert_eq!(take(FIRST_RUN, Some("now")).unwrap().first_run, Some(NOW));
        assert_eq!(take(FIRST_RUN, Some("+1s")).unwrap().first_run, Some(NOW.later_ms(1_000)));
        assert_eq!(take(ON_FAILURE, Some("RETRY")).unwrap().on_failure, OnFailure::Retry);
        assert_eq!(take(ON_RUNNING, Some("skip")).unwrap().on_previous, OnPrevious::Skip);
        assert!(take(IGNORE_EXISTING, None).unwrap().ignore_existing);
        assert!(!take(UPDATES_METRIC, Some("false")).unwrap().updates_metric);
        for name in parsed::SCHEDULE_OPTIONS {
            let said = take(name, Some("S3CR3T")).unwrap_err();
            assert!(said.starts_with(name) && !said.contains("S3CR3T"), "{said}");
        }
    }
}
